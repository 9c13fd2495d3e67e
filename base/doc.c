/* doc.c - documents, batches, and one document as one line of JSON. */
#include "base/doc.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/stage.h"

#include <stdlib.h>
#include <string.h>

void kj_batch_init(struct kj_batch *b)
{
    memset(b, 0, sizeof *b);
    kj_arena_init(&b->arena, KJ_BATCH_ARENA_CAP);
    kj_buf_init(&b->in, 2 * (size_t)KJ_DOC_LINE_MAX);
    /* Escaping can make six bytes of one. */
    kj_buf_init(&b->out, 8 * (size_t)KJ_DOC_LINE_MAX);
    b->json = kj_json_new();
}

void kj_batch_reset(struct kj_batch *b)
{
    kj_arena_reset(&b->arena);
    /* One huge line must not pin its memory for the rest of the run. */
    if (b->in.size > 16 * (size_t)KJ_BATCH_BYTES)
        kj_buf_release(&b->in);
    if (b->out.size > 16 * (size_t)KJ_BATCH_BYTES)
        kj_buf_release(&b->out);
    kj_buf_reset(&b->in);
    kj_buf_reset(&b->out);
    b->n = 0;
    b->bytes_in = 0;
    b->next = (struct kj_pos){0, -1};
    b->next_at = 0;
    b->aux = NULL;
}

void kj_batch_release(struct kj_batch *b)
{
    kj_arena_release(&b->arena);
    kj_buf_release(&b->in);
    kj_buf_release(&b->out);
    kj_json_free(b->json);
    free(b->docs);
    memset(b, 0, sizeof *b);
}

struct kj_doc *kj_batch_add(struct kj_batch *b)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 64;
        b->docs = kj_xrealloc(b->docs, b->cap * sizeof *b->docs);
    }
    struct kj_doc *d = &b->docs[b->n++];
    memset(d, 0, sizeof *d);
    d->language_score = NAN;
    d->token_count = -1;
    d->warc.offset = d->warc.length = -1;
    d->out.stage = KJ_BY_NONE;
    d->out.value = d->out.threshold = NAN;
    return d;
}

/* ---- fields and signals ---- */

/* Room for one more element of an array that lives in the arena. */
static void *grow(struct kj_arena *a, void *old, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return old;
    size_t want = *cap ? 2 * *cap : 8;
    void *p = kj_arena_alloc(a, want * size);
    if (!p)
        return NULL;
    if (n)
        memcpy(p, old, n * size);
    *cap = want;
    return p;
}

static void add_signal(struct kj_doc *d, struct kj_arena *a, struct kj_str name,
                       double value, const struct kj_rule *by)
{
    for (size_t i = 0; i < d->n_signals; i++)
        if (kj_str_eq(d->signals[i].name, name)) {
            d->signals[i].value = value;
            d->signals[i].by = by;
            return;
        }
    void *p = grow(a, d->signals, d->n_signals, &d->cap_signals, sizeof *d->signals);
    if (!p)
        return; /* the arena is full: the document is about to be damaged anyway */
    d->signals = p;
    d->signals[d->n_signals++] = (struct kj_signal){name, value, by};
}

void kj_doc_signal(struct kj_doc *d, struct kj_arena *a, const char *name, double value)
{
    add_signal(d, a, kj_str_z(name), value, NULL);
}

void kj_doc_signal_by(struct kj_doc *d, struct kj_arena *a, const struct kj_rule *r,
                      double value)
{
    add_signal(d, a, kj_str_z(r->name), value, r);
}

double kj_doc_signal_get(const struct kj_doc *d, const char *name)
{
    for (size_t i = 0; i < d->n_signals; i++)
        if (kj_str_is(d->signals[i].name, name))
            return d->signals[i].value;
    return NAN;
}

static void add_field(struct kj_doc *d, struct kj_arena *a, struct kj_str key,
                      struct kj_str json)
{
    for (size_t i = 0; i < d->n_fields; i++)
        if (kj_str_eq(d->fields[i].key, key)) {
            d->fields[i].json = json;
            return;
        }
    void *p = grow(a, d->fields, d->n_fields, &d->cap_fields, sizeof *d->fields);
    if (!p)
        return;
    d->fields = p;
    d->fields[d->n_fields++] = (struct kj_field){key, json};
}

void kj_doc_set(struct kj_doc *d, struct kj_arena *a, const char *key,
                struct kj_str json)
{
    add_field(d, a, kj_str_z(key), json);
}

struct kj_str kj_doc_get(const struct kj_doc *d, const char *key)
{
    for (size_t i = 0; i < d->n_fields; i++)
        if (kj_str_is(d->fields[i].key, key))
            return d->fields[i].json;
    return (struct kj_str){NULL, 0};
}

double kj_doc_number(const struct kj_doc *d, const char *key)
{
    if (strcmp(key, "language_score") == 0)
        return d->language_score;
    if (strcmp(key, "token_count") == 0)
        return d->token_count < 0 ? NAN : (double)d->token_count;
    struct kj_str j = kj_doc_get(d, key);
    if (!j.n || j.n > 63)
        return kj_doc_signal_get(d, key);
    char word[64], *end;
    memcpy(word, j.p, j.n);
    word[j.n] = 0;
    double v = strtod(word, &end);
    return end == word || *end ? NAN : v;
}

/* ---- verdicts, identity ---- */

void kj_doc_drop(struct kj_doc *d, const char *rule, double value, double threshold)
{
    if (!d->out.rule)
        d->out = (struct kj_verdict){KJ_BY_NONE, rule, value, threshold, false, NULL};
}

void kj_doc_damage(struct kj_doc *d, const char *rule, const char *note)
{
    if (!d->out.rule)
        d->out = (struct kj_verdict){KJ_BY_NONE, rule, NAN, NAN, true, note};
}

void kj_doc_content_id(struct kj_doc *d, struct kj_arena *a)
{
    char hex[33];
    kj_hash128_hex(kj_hash128(d->text.p, d->text.n), hex);
    char *id = kj_arena_printf(a, "xxh128:%s", hex);
    d->id = kj_str_z(id);
}

uint64_t kj_doc_checksum(const struct kj_doc *d)
{
    return kj_hash64(d->text.p, d->text.n, kj_hash64(d->id.p, d->id.n, 0));
}

bool kj_doc_in_shard(const struct kj_doc *d, unsigned i, unsigned n)
{
    if (n <= 1)
        return true;
    /* Damaged records may have no id: their place stands for it. */
    uint64_t h =
        d->id.n ? kj_hash64(d->id.p, d->id.n, 1)
                : kj_hash64(d->warc.file.p, d->warc.file.n, (uint64_t)d->warc.offset);
    return h % n == i;
}

/* ---- reading ---- */

static bool take_str(struct kj_arena *a, const struct kj_jval *v, struct kj_str *out)
{
    if (v->kind != KJ_J_STR)
        return false;
    out->p = kj_arena_dup(a, v->s.p, v->s.n);
    out->n = out->p ? v->s.n : 0;
    return out->p != NULL;
}

static bool take_place(struct kj_doc *d, struct kj_arena *a, const struct kj_jval *v)
{
    if (v->kind != KJ_J_OBJECT)
        return false;
    const struct kj_jval *file = kj_jget(v, "file"),
                         *dig = kj_jget(v, "payload_digest");
    if (file)
        take_str(a, file, &d->warc.file);
    if (dig)
        take_str(a, dig, &d->warc.digest);
    d->warc.offset = kj_jint(kj_jget(v, "offset"), -1);
    d->warc.length = kj_jint(kj_jget(v, "length"), -1);
    return true;
}

static bool take_signals(struct kj_doc *d, struct kj_arena *a, const struct kj_jval *v)
{
    if (v->kind != KJ_J_OBJECT)
        return false;
    for (size_t i = 0; i < v->n; i++) {
        struct kj_str name = {kj_arena_dup(a, v->keys[i].p, v->keys[i].n),
                              v->keys[i].n};
        if (name.p)
            add_signal(d, a, name, kj_jnum(&v->items[i], NAN), NULL);
    }
    return true;
}

static const struct {
    const char *name;
    size_t off;
} known_strings[] = {
    {"url", offsetof(struct kj_doc, url)},
    {"date", offsetof(struct kj_doc, date)},
    {"dump", offsetof(struct kj_doc, dump)},
    {"file_path", offsetof(struct kj_doc, file_path)},
    {"source", offsetof(struct kj_doc, source)},
    {"language", offsetof(struct kj_doc, language)},
    {"language_script", offsetof(struct kj_doc, language_script)},
};
enum { KNOWN_STRINGS = sizeof known_strings / sizeof *known_strings };

/* A known field of the expected kind: true when it was taken. */
static bool take_known(struct kj_doc *d, struct kj_arena *a, struct kj_str key,
                       const struct kj_jval *v)
{
    if (kj_str_is(key, "id")) {
        if (v->kind == KJ_J_INT) { /* common in other tools' files */
            char *s = kj_arena_printf(a, "%lld", (long long)v->i);
            d->id = kj_str_z(s);
            return s != NULL;
        }
        return take_str(a, v, &d->id);
    }
    for (size_t i = 0; i < KNOWN_STRINGS; i++)
        if (kj_str_is(key, known_strings[i].name))
            return take_str(a, v, (struct kj_str *)((char *)d + known_strings[i].off));
    if (kj_str_is(key, "language_score")) {
        d->language_score = kj_jnum(v, NAN);
        return !isnan(d->language_score);
    }
    if (kj_str_is(key, "token_count") && v->kind == KJ_J_INT && v->i >= 0) {
        d->token_count = v->i;
        return true;
    }
    if (kj_str_is(key, "warc"))
        return take_place(d, a, v);
    if (kj_str_is(key, "signals"))
        return take_signals(d, a, v);
    return false;
}

/* A field of a known name that was not taken, because it was null or of another
 * kind, goes through as it stood; but not beside a value set since then. */
static bool is_replaced(const struct kj_doc *d, struct kj_str key)
{
    for (size_t i = 0; i < KNOWN_STRINGS; i++)
        if (kj_str_is(key, known_strings[i].name))
            return ((const struct kj_str *)((const char *)d + known_strings[i].off))->n;
    return kj_str_is(key, "id") ||
           (kj_str_is(key, "language_score") && !isnan(d->language_score)) ||
           (kj_str_is(key, "token_count") && d->token_count >= 0) ||
           (kj_str_is(key, "warc") && (d->warc.file.n || d->warc.offset >= 0)) ||
           (kj_str_is(key, "signals") && d->n_signals);
}

int kj_doc_parse(struct kj_doc *d, struct kj_json *j, struct kj_arena *a, const char *p,
                 size_t n, struct kj_err *err)
{
    const struct kj_jval *root;
    int rc = kj_json_parse(j, p, n, &root, err);
    if (rc)
        return rc;
    if (root->kind != KJ_J_OBJECT)
        return kj_err_set(err, KJ_BAD_RECORD, "the line is JSON, but not an object");
    if (root->n > KJ_DOC_FIELDS_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "%zu fields are too many", root->n);
    const struct kj_jval *signals = kj_jget(root, "signals");
    if (signals && signals->kind == KJ_J_OBJECT && signals->n > KJ_DOC_FIELDS_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "%zu signals are too many", signals->n);
    size_t pos = 0;
    struct kj_str key, raw;
    for (size_t i = 0; i < root->n; i++) {
        rc = kj_json_member(p, n, &pos, &key, &raw);
        if (rc)
            return kj_err_set(err, KJ_BAD_RECORD,
                              "members of the object do not add up");
        const struct kj_jval *v = &root->items[i];
        if (kj_str_is(root->keys[i], "text")) {
            if (v->kind != KJ_J_STR && v->kind != KJ_J_NULL)
                return kj_err_set(err, KJ_BAD_RECORD, "\"text\" is not a string");
            if (v->kind == KJ_J_NULL)
                d->text = (struct kj_str){"", 0}; /* there, and empty */
            else if (!take_str(a, v, &d->text))
                return kj_err_set(err, KJ_BAD_RECORD, "the document is too large");
        } else if (!take_known(d, a, root->keys[i], v)) {
            add_field(d, a, key, raw);
        }
    }
    if (!d->id.n)
        kj_doc_content_id(d, a);
    return KJ_OK;
}

/* ---- writing ---- */

static void put_key(struct kj_buf *o, const char *key)
{
    kj_buf_addz(o, ",\"");
    kj_buf_addz(o, key);
    kj_buf_addz(o, "\":");
}

static void put_str_field(struct kj_buf *o, const char *key, struct kj_str v)
{
    if (!v.n)
        return;
    put_key(o, key);
    kj_json_put_str(o, v.p, v.n);
}

static void put_place(struct kj_buf *o, const struct kj_place *w)
{
    if (!w->file.n && w->offset < 0)
        return;
    put_key(o, "warc");
    kj_buf_addz(o, "{\"file\":");
    kj_json_put_str(o, w->file.p, w->file.n);
    put_key(o, "offset");
    kj_json_put_int(o, w->offset);
    if (w->length >= 0) {
        put_key(o, "length");
        kj_json_put_int(o, w->length);
    }
    put_str_field(o, "payload_digest", w->digest);
    kj_buf_addc(o, '}');
}

static void put_drop(struct kj_buf *o, const struct kj_verdict *v, const char *stage)
{
    put_key(o, "drop");
    kj_buf_addz(o, "{\"stage\":");
    kj_json_put_str(o, stage, strlen(stage));
    put_str_field(o, "rule", kj_str_z(v->rule));
    if (!isnan(v->value)) {
        put_key(o, "value");
        kj_json_put_real(o, v->value);
    }
    if (!isnan(v->threshold)) {
        put_key(o, "threshold");
        kj_json_put_real(o, v->threshold);
    }
    if (v->damaged) {
        put_key(o, "damaged");
        kj_buf_addz(o, "true");
    }
    put_str_field(o, "note", kj_str_z(v->note));
    kj_buf_addc(o, '}');
}

static void put_signals(struct kj_buf *o, const struct kj_doc *d)
{
    if (!d->n_signals)
        return;
    put_key(o, "signals");
    for (size_t i = 0; i < d->n_signals; i++) {
        kj_buf_addc(o, i ? ',' : '{');
        kj_json_put_str(o, d->signals[i].name.p, d->signals[i].name.n);
        kj_buf_addc(o, ':');
        kj_json_put_real(o, d->signals[i].value);
    }
    kj_buf_addc(o, '}');
}

int kj_doc_write(const struct kj_doc *d, const char *stage_name, bool with_drop,
                 struct kj_buf *o, struct kj_err *err)
{
    size_t start = o->n;
    kj_buf_addz(o, "{\"id\":");
    kj_json_put_str(o, d->id.p, d->id.n);
    if (!d->textless) {
        put_key(o, "text");
        kj_json_put_str(o, d->text.p, d->text.n);
    }
    put_str_field(o, "url", d->url);
    put_str_field(o, "date", d->date);
    put_str_field(o, "dump", d->dump);
    put_str_field(o, "file_path", d->file_path);
    put_str_field(o, "language", d->language);
    if (!isnan(d->language_score)) {
        put_key(o, "language_score");
        kj_json_put_real(o, d->language_score);
    }
    put_str_field(o, "language_script", d->language_script);
    if (d->token_count >= 0) {
        put_key(o, "token_count");
        kj_json_put_int(o, d->token_count);
    }
    put_str_field(o, "source", d->source);
    put_place(o, &d->warc);
    for (size_t i = 0; i < d->n_fields; i++) {
        if (is_replaced(d, d->fields[i].key) ||
            (with_drop && d->out.rule && kj_str_is(d->fields[i].key, "drop")))
            continue;
        kj_buf_addz(o, ",\"");
        kj_buf_add(o, d->fields[i].key.p, d->fields[i].key.n);
        kj_buf_addz(o, "\":");
        kj_buf_add(o, d->fields[i].json.p, d->fields[i].json.n);
    }
    put_signals(o, d);
    if (with_drop && d->out.rule)
        put_drop(o, &d->out, stage_name);
    /* Only the last append is checked: had an earlier one met the cap, a later,
     * smaller one could still succeed, so ask for all of the slack at once. */
    if (o->n + KJ_BUF_PAD > o->cap || kj_buf_addz(o, "}\n")) {
        o->n = start;
        return kj_err_set(err, KJ_BAD_RECORD, "the document does not fit into a batch");
    }
    return KJ_OK;
}
