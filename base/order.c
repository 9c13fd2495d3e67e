/* order.c - maps an order and looks through it at its shards. */
#include "base/order.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/shards.h"

#define JSON_MAX ((size_t)256 << 20)

struct set {
    struct kj_shards *s;
    char *manifest;
    uint64_t first; /* number of its first document in the order */
};

struct kj_order {
    struct kj_arena arena;
    char *folder, *bin;
    struct set *sets;
    size_t n_sets;
    struct kj_order_part *parts;
    size_t n_parts;
    const char *hash;
    struct kj_map map;
    uint64_t entries, documents;
};

static uint64_t word(const struct kj_order *o, uint64_t entry, unsigned k)
{
    uint64_t v;
    memcpy(&v, o->map.p + KJ_ORDER_HEAD + 16 * entry + 8 * k, 8);
    return v;
}

static char *join(const char *dir, const char *name)
{
    return name[0] == '/' ? kj_xstrdup(name) : kj_xprintf("%s/%s", dir, name);
}

/* The path of order.json, or NULL when path is no order. */
static char *json_of(const char *path)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) != 0)
        return NULL;
    if (!S_ISDIR(st.st_mode))
        return strcmp(slash ? slash + 1 : path, "order.json") == 0 ? kj_xstrdup(path)
                                                                   : NULL;
    char *p = join(path, "order.json");
    if (stat(p, &st) == 0 && S_ISREG(st.st_mode))
        return p;
    free(p);
    return NULL;
}

bool kj_order_is(const char *path)
{
    char *p = json_of(path);
    free(p);
    return p != NULL;
}

/* ---- order.json ---- */

static const char *get_str(struct kj_order *o, const struct kj_jval *v, const char *key,
                           struct kj_err *err)
{
    struct kj_str z = kj_jstr(kj_jget(v, key));
    const char *c = z.p ? kj_arena_dup(&o->arena, z.p, z.n) : NULL;
    if (!c || strlen(c) != z.n) {
        kj_err_set(err, KJ_FAIL, "%s: missing, or no string", key);
        return "";
    }
    return c;
}

static uint64_t get_num(const struct kj_jval *v, const char *key, struct kj_err *err)
{
    int64_t i = kj_jint(kj_jget(v, key), -1);
    if (i < 0)
        kj_err_set(err, KJ_FAIL, "%s: missing, or no number", key);
    return i < 0 ? 0 : (uint64_t)i;
}

static int set_open(struct kj_order *o, const struct kj_jval *v, struct kj_err *err)
{
    struct set *s = &o->sets[o->n_sets];
    char hash[40];
    int64_t bytes;
    const char *name = get_str(o, v, "manifest", err);
    const char *want = get_str(o, v, "hash", err);
    if (err->rc)
        return err->rc;
    *s = (struct set){.manifest = join(o->folder, name), .first = o->documents};
    o->n_sets++;
    int rc = kj_hash_file(s->manifest, hash, &bytes, err);
    if (rc == KJ_OK && strcmp(hash, want) != 0)
        rc = kj_err_set(err, KJ_FAIL, "content is %s, by the order %s", hash, want);
    if (rc == KJ_OK)
        rc = kj_shards_open(&s->s, s->manifest, err);
    if (rc == KJ_OK && o->n_sets > 1) {
        const struct kj_shards *a = o->sets[0].s;
        if (strcmp(kj_shards_tokenizer_hash(a), kj_shards_tokenizer_hash(s->s)) != 0 ||
            kj_shards_eos(a) != kj_shards_eos(s->s))
            rc = kj_err_set(err, KJ_FAIL, "another tokenizer or EOS than in %s",
                            o->sets[0].manifest);
    }
    if (rc == KJ_OK)
        o->documents += kj_shards_documents(s->s);
    else
        kj_err_where(err, s->manifest, -1);
    return rc;
}

static int read_json(struct kj_order *o, const struct kj_jval *v, struct kj_err *err)
{
    const struct kj_jval *sets = kj_jget(v, "sets"), *parts = kj_jget(v, "parts");
    if (!kj_str_is(kj_jstr(kj_jget(v, "format")), "kijil-order") ||
        kj_jint(kj_jget(v, "version"), 0) != 1)
        return kj_err_set(err, KJ_FAIL, "not an order of version 1");
    if (!sets || sets->kind != KJ_J_ARRAY || !sets->n || !parts ||
        parts->kind != KJ_J_ARRAY || !parts->n || parts->n > KJ_ORDER_PARTS)
        return kj_err_set(err, KJ_FAIL, "sets or parts: missing, or no list");
    o->hash = get_str(o, v, "order_hash", err);
    o->entries = get_num(v, "entries", err);
    o->parts = kj_xcalloc(parts->n, sizeof *o->parts);
    for (; o->n_parts < parts->n && !err->rc; o->n_parts++) {
        const struct kj_jval *p = &parts->items[o->n_parts];
        o->parts[o->n_parts] = (struct kj_order_part){get_str(o, p, "name", err),
                                                      get_num(p, "tokens", err),
                                                      get_num(p, "entries", err)};
    }
    o->sets = kj_xcalloc(sets->n, sizeof *o->sets);
    for (size_t i = 0; i < sets->n && !err->rc; i++)
        set_open(o, &sets->items[i], err);
    return err->rc;
}

/* ---- order.bin ---- */

static int map_bin(struct kj_order *o, struct kj_err *err)
{
    int rc = kj_map_open(&o->map, o->bin, err);
    if (rc == KJ_OK && (o->entries > (UINT64_C(1) << 48) ||
                        o->map.n != KJ_ORDER_HEAD + 16 * (o->entries + 1)))
        rc =
            kj_err_set(err, KJ_FAIL, "not the size of %" PRIu64 " entries", o->entries);
    return rc;
}

int kj_order_check(const void *bytes, size_t n, uint64_t entries, uint64_t documents,
                   size_t parts, struct kj_err *err)
{
    const unsigned char *p = bytes;
    uint64_t told = 0, at, what, next;
    if (n >= KJ_ORDER_HEAD)
        memcpy(&told, p + 8, 8);
    if (entries == 0 || entries > (UINT64_C(1) << 48) || told != entries ||
        n != KJ_ORDER_HEAD + 16 * (entries + 1) || memcmp(p, KJ_ORDER_MAGIC, 8) != 0)
        return kj_err_set(err, KJ_FAIL, "not an order of %" PRIu64 " entries", entries);
    p += KJ_ORDER_HEAD;
    memcpy(&next, p, 8);
    if (next != 0)
        return kj_err_set(err, KJ_FAIL, "the order does not begin at token 0");
    for (uint64_t i = 0; i < entries; i++, p += 16) {
        at = next;
        memcpy(&what, p + 8, 8);
        memcpy(&next, p + 16, 8);
        if (at >= next || KJ_ORDER_DOC(what) >= documents ||
            what >> KJ_ORDER_PART >= parts)
            return kj_err_set(err, KJ_FAIL, "entry %" PRIu64 " is not possible", i);
    }
    return KJ_OK;
}

/* Read order.json, which ends with its own hash. */
static int load_json(struct kj_json *j, const char *path, const struct kj_jval **v,
                     struct kj_err *err)
{
    struct kj_buf b;
    char want[KJ_ORDER_TAIL_N + 1];
    kj_buf_init(&b, JSON_MAX);
    int rc = kj_input_slurp(path, &b, err);
    size_t n = b.n > KJ_ORDER_TAIL_N ? b.n - KJ_ORDER_TAIL_N : 0;
    if (rc == KJ_OK) {
        snprintf(want, sizeof want, KJ_ORDER_TAIL, kj_hash64(b.p, n, 0));
        if (n == 0 || memcmp(b.p + n, want, KJ_ORDER_TAIL_N) != 0)
            rc =
                kj_err_set(err, KJ_FAIL, "the hash at its end is not that of the file");
    }
    if (rc == KJ_OK)
        rc = kj_json_parse(j, b.p, b.n, v, err);
    kj_buf_release(&b);
    return rc;
}

int kj_order_open(struct kj_order **out, const char *path, struct kj_err *err)
{
    struct kj_err own = KJ_ERR_INIT;
    struct kj_order *o = kj_xcalloc(1, sizeof *o);
    struct kj_json *j = kj_json_new();
    const struct kj_jval *v;
    kj_arena_init(&o->arena, JSON_MAX);
    char *json = json_of(path);
    int rc = json ? load_json(j, json, &v, &own)
                  : kj_err_set(&own, KJ_FAIL, "%s: no order is here", path);
    if (rc == KJ_OK) {
        const char *slash = strrchr(json, '/');
        o->folder = slash ? kj_xstrndup(json, (size_t)(slash - json)) : kj_xstrdup(".");
        o->bin = join(o->folder, "order.bin");
        rc = read_json(o, v, &own);
    }
    if (rc != KJ_OK && json)
        kj_err_where(&own, json, -1);
    if (rc == KJ_OK)
        rc = map_bin(o, &own);
    if (rc == KJ_OK)
        rc = kj_order_check(o->map.p, o->map.n, o->entries, o->documents, o->n_parts,
                            &own);
    if (rc != KJ_OK && o->bin)
        kj_err_where(&own, o->bin, -1);
    free(json);
    kj_json_free(j);
    if (rc != KJ_OK) {
        if (err && err->rc == KJ_OK)
            *err = own;
        kj_order_close(o);
        return KJ_FAIL;
    }
    *out = o;
    return KJ_OK;
}

void kj_order_close(struct kj_order *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n_sets; i++) {
        kj_shards_close(o->sets[i].s);
        free(o->sets[i].manifest);
    }
    kj_map_close(&o->map);
    free(o->sets);
    free(o->parts);
    free(o->folder);
    free(o->bin);
    kj_arena_release(&o->arena);
    free(o);
}

/* ---- looking ---- */

size_t kj_order_sets(const struct kj_order *o)
{
    return o->n_sets;
}

const struct kj_shards *kj_order_set(const struct kj_order *o, size_t i)
{
    return o->sets[i].s;
}

const char *kj_order_manifest(const struct kj_order *o, size_t i)
{
    return o->sets[i].manifest;
}

size_t kj_order_parts(const struct kj_order *o)
{
    return o->n_parts;
}

const struct kj_order_part *kj_order_part(const struct kj_order *o, size_t i)
{
    return &o->parts[i];
}

const char *kj_order_hash(const struct kj_order *o)
{
    return o->hash;
}

uint64_t kj_order_tokens(const struct kj_order *o)
{
    return word(o, o->entries, 0);
}

uint64_t kj_order_entries(const struct kj_order *o)
{
    return o->entries;
}

uint64_t kj_order_start(const struct kj_order *o, uint64_t entry)
{
    return word(o, entry < o->entries ? entry : o->entries, 0);
}

uint64_t kj_order_at(const struct kj_order *o, uint64_t token)
{
    uint64_t lo = 0, hi = o->entries;
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (word(o, mid, 0) <= token)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

unsigned kj_order_part_of(const struct kj_order *o, uint64_t entry)
{
    return (unsigned)(word(o, entry, 1) >> KJ_ORDER_PART);
}

uint64_t kj_order_doc(const struct kj_order *o, uint64_t entry, size_t *set)
{
    uint64_t d = KJ_ORDER_DOC(word(o, entry, 1));
    size_t i = o->n_sets - 1;
    while (o->sets[i].first > d)
        i--;
    *set = i;
    return d - o->sets[i].first;
}

size_t kj_order_read(const struct kj_order *o, uint64_t at, uint32_t *out, size_t n)
{
    size_t done = 0;
    if (at >= kj_order_tokens(o))
        return 0;
    for (uint64_t e = kj_order_at(o, at); e < o->entries && done < n; e++) {
        size_t set;
        uint64_t d = kj_order_doc(o, e, &set), skip = at + done - word(o, e, 0);
        uint64_t k = word(o, e + 1, 0) - word(o, e, 0) - skip;
        if (k > n - done)
            k = n - done;
        uint64_t from = kj_shards_doc_start(o->sets[set].s, d) + skip;
        size_t got = kj_shards_read(o->sets[set].s, from, out + done, (size_t)k);
        done += got;
        if (got != k)
            break;
    }
    return done;
}

int kj_order_verify(const struct kj_order *o, struct kj_err *err)
{
    char hash[40];
    int64_t bytes;
    uint64_t *tokens = kj_xcalloc(2 * o->n_parts, sizeof *tokens);
    uint64_t *entries = tokens + o->n_parts;
    int rc = kj_hash_file(o->bin, hash, &bytes, err);
    if (rc == KJ_OK && strcmp(hash, o->hash) != 0)
        rc = kj_err_set(err, KJ_FAIL, "content is %s, by order.json %s", hash, o->hash);
    for (uint64_t e = 0; e < o->entries && rc == KJ_OK; e++) {
        size_t set;
        uint64_t d = kj_order_doc(o, e, &set), n = word(o, e + 1, 0) - word(o, e, 0);
        const struct kj_shards *s = o->sets[set].s;
        if (n != kj_shards_doc_start(s, d + 1) - kj_shards_doc_start(s, d))
            rc = kj_err_set(err, KJ_FAIL,
                            "entry %" PRIu64 " has not the length of its document", e);
        tokens[kj_order_part_of(o, e)] += n;
        entries[kj_order_part_of(o, e)]++;
    }
    for (size_t i = 0; i < o->n_parts && rc == KJ_OK; i++)
        if (tokens[i] != o->parts[i].tokens || entries[i] != o->parts[i].entries)
            rc = kj_err_set(err, KJ_FAIL,
                            "part %s: not as many tokens as order.json says",
                            o->parts[i].name);
    free(tokens);
    if (rc != KJ_OK)
        kj_err_where(err, o->bin, -1);
    return rc;
}
