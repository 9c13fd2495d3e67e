/* decontam.c - the index of benchmark parts, and the search (see the header).
 *
 * A window is hashed as a polynomial over its units, so that one pass over a
 * document gives all of them from prefix sums. Nearly none is in the index: a
 * bit table of 8 bits for each window in the index turns away most before the
 * hash table is touched. Postings of equal windows are chained.
 */
#include "filter/decontam_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/unicode.h"
#include "base/utf8.h"

#define UNITS_MAX     (4u << 20)
#define PART_MIN      KJ_SHORT_MIN
#define ALONE_MIN     (8 * KJ_UNIT_WORD)
#define LINE_MAX_SIZE (64u << 20)

void *kj_decontam_room(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? 2 * *cap : 256;
    return kj_xrealloc(p, *cap * size);
}

/* --------------------------------------------------------------------- units */

static bool single(uint32_t c) /* a unit by itself */
{
    return (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x3400 && c <= 0x9FFF) ||
           (c >= 0x3041 && c <= 0x30FF && c != 0x30FB) ||
           (c >= 0x3131 && c <= 0x318E) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x20000 && c <= 0x3FFFF);
}

/* A syllable from conjoining jamo at p (c is the first); its length. */
static size_t compose(const char *p, size_t n, uint32_t *c, size_t len)
{
    size_t l2, l3;
    if (*c < 0x1100 || *c > 0x1112 || len >= n)
        return len;
    uint32_t v = kj_utf8_next(p + len, n - len, &l2);
    if (v < 0x1161 || v > 0x1175)
        return len;
    *c = 0xAC00 + ((*c - 0x1100) * 21 + (v - 0x1161)) * 28;
    len += l2;
    if (len < n) {
        uint32_t t = kj_utf8_next(p + len, n - len, &l3);
        if (t >= 0x11A8 && t <= 0x11C2) {
            *c += t - 0x11A7;
            len += l3;
        }
    }
    return len;
}

static void put_unit(struct units *u, uint64_t hash, size_t start, size_t end,
                     uint32_t weight)
{
    u->v = kj_decontam_room(u->v, u->n, &u->cap, sizeof *u->v);
    hash ^= hash >> 29;
    hash *= 0xBF58476D1CE4E5B9ull;
    hash ^= hash >> 32;
    u->v[u->n++] = (struct unit){hash, (uint32_t)start, (uint32_t)end, weight};
}

enum { OTHER, LETTER, DIGIT, MARK, SINGLE };

static int class_of(uint32_t *c)
{
    if (*c < 0x80) {
        uint32_t low = *c | 32;
        if (low >= 'a' && low <= 'z') {
            *c = low;
            return LETTER;
        }
        return *c >= '0' && *c <= '9' ? DIGIT : OTHER;
    }
    if (*c >= 0xFF01 && *c <= 0xFF5E) { /* full width */
        *c -= 0xFEE0;
        return class_of(c);
    }
    if (single(*c))
        return SINGLE;
    enum kj_gc g = kj_uni_category(*c);
    if (g >= KJ_GC_LU && g <= KJ_GC_LO) {
        *c = kj_uni_lower(*c);
        return LETTER;
    }
    return g == KJ_GC_ND ? DIGIT : g >= KJ_GC_MN && g <= KJ_GC_ME ? MARK : OTHER;
}

/* Append the units of p[0..n). */
void kj_decontam_units(struct units *u, const char *p, size_t n)
{
    uint64_t h = 0;
    size_t start = 0, end = 0, most = u->n + UNITS_MAX;
    int run = OTHER;
    for (size_t i = 0, len; i < n && u->n < most; i += len) {
        uint32_t c = (unsigned char)p[i];
        len = 1;
        if (c >= 0x80) {
            c = kj_utf8_next(p + i, n - i, &len);
            if (c >= 0x1100 && c <= 0x1112)
                len = compose(p + i, n - i, &c, len);
        }
        int k = class_of(&c);
        if (k == MARK)
            continue;
        if (run != OTHER && k != run) {
            put_unit(u, h, start, end, KJ_UNIT_WORD);
            run = OTHER;
        }
        if (k == SINGLE) {
            put_unit(u, c * KJ_POLY, i, i + len, KJ_UNIT_SINGLE);
        } else if (k != OTHER) {
            if (run == OTHER) {
                h = 0;
                start = i;
                run = k;
            }
            h = (h + c) * 0x100000001B3ull + 1;
            end = i + len;
        }
    }
    if (run != OTHER)
        put_unit(u, h, start, end, KJ_UNIT_WORD);
}

/* ----------------------------------------------------------------- the index */

struct kj_decontam *kj_decontam_new(const struct kj_strs *fields)
{
    struct kj_decontam *d = kj_xcalloc(1, sizeof *d);
    for (size_t i = 0; fields && i < fields->n; i++)
        kj_strs_add(&d->fields, fields->v[i]);
    return d;
}

void kj_decontam_free(struct kj_decontam *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_items; i++) {
        free(d->items[i].name);
        free(d->items[i].id);
    }
    kj_strs_release(&d->fields);
    free(d->pool.v);
    free(d->parts);
    free(d->items);
    free(d->posts);
    free(d->table);
    free(d->bits);
    free(d);
}

size_t kj_decontam_items(const struct kj_decontam *d)
{
    return d->n_items;
}

size_t kj_decontam_too_short(const struct kj_decontam *d)
{
    return d->too_short;
}

static bool is_text(const struct kj_decontam *d, struct kj_str key)
{
    static const char *const names[] = {
        "id",          "task_id",    "subject",    "category",  "label",   "source",
        "split",       "url",        "language",   "lang",      "type",    "level",
        "entry_point", "difficulty", "answer_key", "answerKey", "dataset", "idx",
        "index",       "query_id",   "qid",        "topic",     "license", NULL};
    for (size_t i = 0; i < d->fields.n; i++)
        if (kj_str_is(key, d->fields.v[i]))
            return true;
    for (size_t i = 0; !d->fields.n && names[i]; i++)
        if (kj_str_is(key, names[i]))
            return false;
    return !d->fields.n;
}

/* Append the strings in v, and what is inside it. */
static void cut_value(struct units *u, const struct kj_jval *v, int depth)
{
    if (v->kind == KJ_J_STR)
        kj_decontam_units(u, v->s.p, v->s.n);
    else if ((v->kind == KJ_J_ARRAY || v->kind == KJ_J_OBJECT) && depth < 8)
        for (size_t i = 0; i < v->n; i++)
            cut_value(u, &v->items[i], depth + 1);
}

static uint32_t weigh(const struct units *u, size_t from, size_t to)
{
    uint32_t w = 0;
    for (size_t i = from; i < to; i++)
        w += u->v[i].weight;
    return w;
}

static void add_part(struct kj_decontam *d, size_t from, size_t to)
{
    d->parts = kj_decontam_room(d->parts, d->n_parts, &d->cap_parts, sizeof *d->parts);
    d->parts[d->n_parts++] =
        (struct part){from, to - from, weigh(&d->pool, from, to), (uint32_t)d->n_items};
}

static void add_item(struct kj_decontam *d, const struct kj_jval *v, const char *name,
                     size_t line)
{
    struct units *u = &d->pool;
    size_t first = u->n, parts = d->n_parts;
    bool shorter = false;
    for (size_t i = 0; i < v->n; i++) {
        size_t from = u->n;
        if (!is_text(d, v->keys[i]))
            continue;
        cut_value(u, &v->items[i], 0);
        if (u->n == from)
            continue;
        if (weigh(u, from, u->n) >= ALONE_MIN)
            add_part(d, from, u->n);
        else
            shorter = true;
    }
    if (shorter && weigh(u, first, u->n) >= PART_MIN)
        add_part(d, first, u->n);
    if (d->n_parts == parts) {
        d->too_short++;
        u->n = first;
        return;
    }
    d->items = kj_decontam_room(d->items, d->n_items, &d->cap_items, sizeof *d->items);
    struct item *it = &d->items[d->n_items++];
    size_t n = strlen(name) + 24;
    it->name = kj_xmalloc(n);
    snprintf(it->name, n, "%s:%zu", name, line);
    const struct kj_jval *id = kj_jget(v, "id");
    id = id ? id : kj_jget(v, "task_id");
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    it->id = id && kj_json_put_val(&b, id) == KJ_OK ? kj_xstrndup(b.p, b.n) : NULL;
    kj_buf_release(&b);
}

int kj_decontam_add_file(struct kj_decontam *d, const char *path, struct kj_err *err)
{
    struct kj_input *in;
    int rc = kj_input_open(&in, path, err);
    if (rc)
        return rc;
    const char *slash = strrchr(path, '/'), *p;
    struct kj_lines *lines = kj_lines_new(in, LINE_MAX_SIZE);
    struct kj_json *j = kj_json_new();
    size_t n, line = 0;
    const size_t before = d->n_items + d->too_short;
    int64_t member, at;
    while ((rc = kj_lines_next(lines, &p, &n, &member, &at, err)) == KJ_OK) {
        const struct kj_jval *v;
        line++;
        if (n == 0)
            continue;
        rc = kj_json_parse(j, p, n, &v, err);
        if (rc == KJ_OK && v->kind != KJ_J_OBJECT)
            rc = kj_err_set(err, KJ_FAIL, "an item is a JSON object on a line");
        if (rc)
            break;
        add_item(d, v, slash ? slash + 1 : path, line);
        if (d->n_items > 50000000 || d->pool.n > 0xF0000000u) {
            rc = kj_err_set(err, KJ_FAIL, "too many items");
            break;
        }
    }
    kj_json_free(j);
    kj_lines_free(lines);
    kj_input_close(in);
    /* one of several that looked for nothing would pass for a clean corpus */
    if (rc == KJ_EOF && d->n_items + d->too_short == before)
        return kj_err_set(err, KJ_FAIL, "%s: there is no item in it", path);
    if (rc != KJ_EOF) {
        kj_err_where(err, path, (int64_t)line);
        return KJ_FAIL;
    }
    return KJ_OK;
}

/* The end of the window that starts at unit i of n, or 0 when none does. */
static size_t window_end(const struct unit *u, size_t n, size_t i)
{
    uint32_t w = 0;
    while (i < n && w < KJ_WINDOW)
        w += u[i++].weight;
    return w >= KJ_WINDOW ? i : 0;
}

static uint64_t hash_units(const struct unit *u, size_t from, size_t to)
{
    uint64_t h = 0;
    for (size_t i = from; i < to; i++)
        h = h * KJ_POLY + u[i].hash;
    return h;
}

/* Polynomials have weak low bits. */
uint64_t kj_decontam_spread(uint64_t h)
{
    h ^= h >> 31;
    h *= 0x94D049BB133111EBull;
    return h ^ h >> 30;
}

struct posting *kj_decontam_head(const struct kj_decontam *d, uint64_t hash)
{
    for (uint64_t k = hash;; k++) {
        uint32_t at = d->table[k & d->mask];
        if (!at)
            return NULL;
        if (d->posts[at - 1].hash == hash)
            return &d->posts[at - 1];
    }
}

static void insert(struct kj_decontam *d, uint32_t i)
{
    struct posting *p = &d->posts[i], *head = kj_decontam_head(d, p->hash);
    p->count = 1;
    if (head) { /* of a part that repeats itself the first place will do */
        if (d->posts[head->next ? head->next - 1 : (uint32_t)(head - d->posts)].part ==
            p->part)
            return;
        head->count++;
        p->next = head->next;
        head->next = i + 1;
        return;
    }
    uint64_t k = p->hash;
    while (d->table[k & d->mask])
        k++;
    d->table[k & d->mask] = i + 1;
    uint64_t bit = p->hash >> 20 & d->bit_mask;
    d->bits[bit / 64] |= 1ull << bit % 64;
}

int kj_decontam_build(struct kj_decontam *d, struct kj_err *err)
{
    for (size_t i = 0; i < d->n_parts; i++) {
        const struct unit *u = d->pool.v + d->parts[i].first;
        size_t n = d->parts[i].n, end;
        bool whole = d->parts[i].weight < KJ_WINDOW;
        d->any_short |= whole;
        for (size_t k = 0; (end = whole && !k ? n : window_end(u, n, k)) != 0; k++) {
            d->posts =
                kj_decontam_room(d->posts, d->n_posts, &d->cap_posts, sizeof *d->posts);
            d->posts[d->n_posts++] =
                (struct posting){kj_decontam_spread(hash_units(u, k, end)), (uint32_t)i,
                                 (uint32_t)k, 0, 0};
        }
    }
    if (!d->n_posts)
        return kj_err_set(err, KJ_FAIL,
                          "the benchmarks have no item long enough to look for");
    size_t size = 1024;
    while (size < 2 * d->n_posts)
        size *= 2;
    d->table = kj_xcalloc(size, sizeof *d->table);
    d->mask = size - 1;
    d->bits = kj_xcalloc(size / 8, sizeof *d->bits); /* 8 bits for each slot */
    d->bit_mask = 8 * size - 1;
    for (size_t i = 0; i < d->n_posts; i++)
        insert(d, (uint32_t)i);
    return KJ_OK;
}
