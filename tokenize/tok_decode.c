/* tok_decode.c - ids back to text.
 *
 * Tokens of a byte-level BPE are bytes, and their text is these bytes. For all
 * other models the file's decoder says how the tokens become text: a chain of steps
 * over a list of tokens, which may change, join or replace them; what is left in the
 * end is put together. The steps do what the reference's do, oddities included
 * (a byte in angle brackets may be written "<0x+f>"); where the reference gives up
 * (Strip of more than there is), nothing is left of the token.
 */
#include "tokenize/tok_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"

/* ---- loading ---- */

static int load_meta(struct tok_decoder *s, const struct kj_jval *v, const char *path,
                     struct kj_arena *a, struct kj_err *err)
{
    const struct kj_jval *scheme = kj_jget(v, "prepend_scheme");
    struct kj_str sign = kj_jstr(kj_jget(v, "replacement"));
    bool add;
    size_t len = 0;
    int rc = tok_want_bool(v, path, "add_prefix_space", true, &add, err);
    if (rc != KJ_OK)
        return rc;
    if (sign.n)
        kj_utf8_next(sign.p, sign.n, &len);
    if (!sign.n || len != sign.n)
        REFUSE("%s.replacement: not one character", path);
    s->text = (struct kj_str){kj_arena_dup(a, sign.p, sign.n), sign.n};
    s->front = tok_absent(scheme) ? add : !kj_str_is(kj_jstr(scheme), "never");
    return KJ_OK;
}

static int load_strip(struct tok_decoder *s, const struct kj_jval *v, const char *path,
                      struct kj_arena *a, struct kj_err *err)
{
    struct kj_str z = kj_jstr(kj_jget(v, "content"));
    int64_t start = kj_jint(kj_jget(v, "start"), -1);
    int64_t stop = kj_jint(kj_jget(v, "stop"), -1);
    size_t len = 0;
    if (z.n)
        kj_utf8_next(z.p, z.n, &len);
    if (!z.n || len != z.n)
        REFUSE("%s.content: not one character", path);
    if (start < 0 || stop < 0)
        REFUSE("%s: start or stop is not a number", path);
    s->text = (struct kj_str){kj_arena_dup(a, z.p, z.n), z.n};
    s->start = (size_t)start;
    s->stop = (size_t)stop;
    return KJ_OK;
}

static int load_wordpiece(struct tok_decoder *s, const struct kj_jval *v,
                          const char *path, struct kj_arena *a, struct kj_err *err)
{
    const struct kj_jval *prefix = kj_jget(v, "prefix");
    struct kj_str z = tok_absent(prefix) ? KJ_STR("##") : kj_jstr(prefix);
    if (!z.p)
        REFUSE("%s.prefix: not a string", path);
    s->text = (struct kj_str){kj_arena_dup(a, z.p, z.n), z.n};
    return tok_want_bool(v, path, "cleanup", true, &s->cleanup, err);
}

static int load_step(struct tok_decoders *l, struct kj_str type,
                     const struct kj_jval *v, const char *path, struct kj_arena *a,
                     struct kj_err *err)
{
    static const char *const names[] = {"Replace", "ByteFallback", "Fuse",
                                        "Strip",   "WordPiece",    "Metaspace"};
    unsigned k = 0;
    while (k < sizeof names / sizeof *names && !kj_str_is(type, names[k]))
        k++;
    if (k == sizeof names / sizeof *names)
        return tok_unsupported(type, path, err);
    if (l->n == TOK_DECODERS_MAX)
        REFUSE("%s: more than %d decoders", path, TOK_DECODERS_MAX);
    struct tok_decoder *s = &l->v[l->n++];
    s->kind = (enum tok_decoder_kind)k;
    switch (s->kind) {
    case TOK_DECODE_REPLACE:
        return tok_norm_replace(&s->replace, v, path, a, err);
    case TOK_DECODE_STRIP:
        return load_strip(s, v, path, a, err);
    case TOK_DECODE_WORDPIECE:
        return load_wordpiece(s, v, path, a, err);
    case TOK_DECODE_META:
        return load_meta(s, v, path, a, err);
    case TOK_DECODE_BYTES:
    case TOK_DECODE_FUSE:
        break;
    }
    return KJ_OK;
}

static int load(struct tok_decoders *l, const struct kj_jval *v, const char *path,
                unsigned depth, struct kj_arena *a, struct kj_err *err)
{
    struct kj_str type;
    int rc = tok_type_of(v, path, &type, err);
    if (rc != KJ_OK)
        return rc;
    if (!kj_str_is(type, "Sequence"))
        return load_step(l, type, v, path, a, err);
    const struct kj_jval *list = kj_jget(v, "decoders");
    char sub[256];
    if (!list || list->kind != KJ_J_ARRAY)
        REFUSE("%s.decoders: not an array", path);
    if (depth > 3)
        REFUSE("%s: nested too deep", path);
    for (size_t i = 0; rc == KJ_OK && i < list->n; i++) {
        snprintf(sub, sizeof sub, "%s.decoders[%zu]", path, i);
        rc = load(l, &list->items[i], sub, depth + 1, a, err);
    }
    return rc;
}

int tok_decoder_load(struct kj_tok *t, const struct kj_jval *v, struct kj_err *err)
{
    struct kj_str type = {0};
    struct kj_err own = KJ_ERR_INIT;
    t->decoder.apart = tok_absent(v);
    int rc = tok_absent(v) ? KJ_OK : tok_type_of(v, "decoder", &type, err);
    if (rc != KJ_OK)
        return rc;
    if (t->kind == TOK_BPE && !t->by_chars)
        return !type.p || kj_str_is(type, "ByteLevel")
                   ? KJ_OK
                   : tok_unsupported(type, "decoder", err);
    if (type.p && load(&t->decoder, v, "decoder", 0, &t->arena, &own) != KJ_OK)
        t->decoder_refused = kj_arena_printf(&t->arena, "%s: %s", t->name, own.msg);
    return KJ_OK;
}

void tok_decoder_release(struct tok_decoders *l)
{
    for (size_t i = 0; i < l->n; i++)
        tok_norm_release(&l->v[i].replace);
    l->n = 0;
}

/* ---- lists of tokens ---- */

struct list {
    struct kj_buf text;
    size_t *end; /* of each token, in text */
    size_t n, cap;
};

/* What was added to the text is one more token. */
static void list_end(struct list *l)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->end = kj_xrealloc(l->end, l->cap * sizeof *l->end);
    }
    l->end[l->n++] = l->text.n;
}

static struct kj_str list_at(const struct list *l, size_t i)
{
    size_t from = i ? l->end[i - 1] : 0;
    return (struct kj_str){l->text.p + from, l->end[i] - from};
}

/* ---- steps: from one list to the other ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0xE2>", or -1. */
static int byte_of(struct kj_str s)
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>')
        return -1;
    int a = s.p[3] == '+' ? 0 : hex(s.p[3]), b = hex(s.p[4]);
    return a < 0 || b < 0 ? -1 : 16 * a + b;
}

/* Bytes that stand side by side are text, or each a replacement character. */
static int bytes_put(struct list *to, const unsigned char *v, size_t n)
{
    int rc = KJ_OK;
    if (kj_utf8_valid((const char *)v, n) == n) {
        rc = kj_buf_add(&to->text, (const char *)v, n);
        list_end(to);
        return rc;
    }
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        rc = kj_buf_addz(&to->text, "\xEF\xBF\xBD");
        list_end(to);
    }
    return rc;
}

static int step_bytes(const struct list *from, struct list *to)
{
    unsigned char *v = kj_xmalloc(from->n + 1);
    size_t n = 0;
    int rc = KJ_OK;
    for (size_t i = 0; i <= from->n && rc == KJ_OK; i++) {
        struct kj_str s = {0};
        int b = -1;
        if (i < from->n)
            b = byte_of(s = list_at(from, i));
        if (b >= 0) {
            v[n++] = (unsigned char)b;
            continue;
        }
        if (n)
            rc = bytes_put(to, v, n);
        n = 0;
        if (rc == KJ_OK && i < from->n) {
            rc = kj_buf_add(&to->text, s.p, s.n);
            list_end(to);
        }
    }
    free(v);
    return rc;
}

static int strip(const struct tok_decoder *d, struct kj_str s, struct kj_buf *out)
{
    size_t k = d->text.n;
    for (size_t i = 0; i < d->start && s.n >= k && !memcmp(s.p, d->text.p, k); i++) {
        s.p += k;
        s.n -= k;
    }
    for (size_t i = 0; i < d->stop && s.n >= k && !memcmp(s.p + s.n - k, d->text.p, k);
         i++)
        s.n -= k;
    return kj_buf_add(out, s.p, s.n);
}

/* Signs to spaces; in the first token away with them, if they were put there. */
static int meta(const struct tok_decoder *d, struct kj_str s, bool first,
                struct kj_buf *out)
{
    int rc = KJ_OK;
    for (const char *q; rc == KJ_OK && (q = tok_find(s.p, s.n, d->text));) {
        rc = kj_buf_add(out, s.p, (size_t)(q - s.p));
        if (rc == KJ_OK && !(first && d->front))
            rc = kj_buf_addc(out, ' ');
        s.n -= (size_t)(q - s.p) + d->text.n;
        s.p = q + d->text.n;
    }
    return rc == KJ_OK ? kj_buf_add(out, s.p, s.n) : rc;
}

/* One replacement after the other, each over the whole token. */
static int cleanup(struct list *l, size_t from)
{
    static const struct {
        const char *of, *to;
    } all[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
               {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
               {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t a = strlen(all[i].of), b = strlen(all[i].to); /* b <= a */
        char *p = l->text.p + from, *q = p, *end = l->text.p + l->text.n;
        while (p < end) {
            if ((size_t)(end - p) >= a && memcmp(p, all[i].of, a) == 0) {
                memcpy(q, all[i].to, b);
                p += a;
                q += b;
            } else {
                *q++ = *p++;
            }
        }
        l->text.n = (size_t)(q - l->text.p);
    }
    return KJ_OK;
}

static int wordpiece(const struct tok_decoder *d, struct kj_str s, bool first,
                     struct list *to)
{
    size_t from = to->text.n, k = d->text.n;
    int rc = KJ_OK;
    if (!first && s.n >= k && memcmp(s.p, d->text.p, k) == 0) {
        s.p += k;
        s.n -= k;
    } else if (!first) {
        rc = kj_buf_addc(&to->text, ' ');
    }
    if (rc == KJ_OK)
        rc = kj_buf_add(&to->text, s.p, s.n);
    return rc == KJ_OK && d->cleanup && to->text.n ? cleanup(to, from) : rc;
}

static int step(const struct tok_decoder *d, const struct list *from, struct list *to)
{
    int rc = KJ_OK;
    kj_buf_reset(&to->text);
    to->n = 0;
    if (d->kind == TOK_DECODE_BYTES)
        return step_bytes(from, to);
    if (d->kind == TOK_DECODE_FUSE) {
        rc = kj_buf_add(&to->text, from->text.p, from->text.n);
        list_end(to);
        return rc;
    }
    for (size_t i = 0; i < from->n && rc == KJ_OK; i++) {
        struct kj_str s = list_at(from, i);
        if (d->kind == TOK_DECODE_REPLACE)
            rc = tok_norm_run(&d->replace, &to->text, s.p, s.n);
        else if (d->kind == TOK_DECODE_STRIP)
            rc = strip(d, s, &to->text);
        else if (d->kind == TOK_DECODE_META)
            rc = meta(d, s, i == 0, &to->text);
        else
            rc = wordpiece(d, s, i == 0, to);
        list_end(to);
    }
    return rc;
}

/* ---- all of it ---- */

static int gather(const struct kj_tok *t, const uint32_t *ids, size_t n, bool skip,
                  struct list *l, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        if (ids[i] >= t->n_ids ||
            (!t->ids[ids[i]].len && !(t->flags[ids[i]] & TOK_ADDED)))
            return kj_err_set(err, KJ_BAD_RECORD, "id %u is not in the vocabulary",
                              ids[i]);
        if (skip && (t->flags[ids[i]] & TOK_SPECIAL))
            continue;
        const struct tok_bytes *w = &t->ids[ids[i]];
        if (t->decoder.apart && l->n)
            rc = kj_buf_addc(&l->text, ' ');
        if (rc == KJ_OK)
            rc = kj_buf_add(&l->text, t->blob + w->off, w->len);
        list_end(l);
    }
    return rc == KJ_OK ? rc : kj_err_set(err, KJ_BAD_RECORD, "decoded text too long");
}

static int decode_bytes(const struct kj_tok *t, const uint32_t *ids, size_t n,
                        bool skip, struct kj_buf *out, struct kj_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= t->n_ids ||
            (!t->ids[ids[i]].len && !(t->flags[ids[i]] & TOK_ADDED)))
            return kj_err_set(err, KJ_BAD_RECORD, "id %u is not in the vocabulary",
                              ids[i]);
        if (skip && (t->flags[ids[i]] & TOK_SPECIAL))
            continue;
        const struct tok_bytes *w = &t->ids[ids[i]];
        if (kj_buf_add(out, t->blob + w->off, w->len) != KJ_OK)
            return kj_err_set(err, KJ_BAD_RECORD, "decoded text too long");
    }
    return KJ_OK;
}

int kj_tok_decode(const struct kj_tok *t, const uint32_t *ids, size_t n,
                  bool skip_special, struct kj_buf *out, struct kj_err *err)
{
    struct list l[2] = {0};
    if (t->kind == TOK_BPE && !t->by_chars)
        return decode_bytes(t, ids, n, skip_special, out, err);
    if (t->decoder_refused)
        return kj_err_set(err, KJ_FAIL, "%s", t->decoder_refused);
    kj_buf_init(&l[0].text, out->cap);
    kj_buf_init(&l[1].text, out->cap);
    int rc = gather(t, ids, n, skip_special, &l[0], err), at = 0;
    for (size_t i = 0; i < t->decoder.n && rc == KJ_OK; i++, at = !at)
        if (step(&t->decoder.v[i], &l[at], &l[!at]) != KJ_OK)
            rc = kj_err_set(err, KJ_BAD_RECORD,
                            "decoded text too long, or a pattern gave up");
    if (rc == KJ_OK && kj_buf_add(out, l[at].text.p, l[at].text.n) != KJ_OK)
        rc = kj_err_set(err, KJ_BAD_RECORD, "decoded text too long");
    for (int i = 0; i < 2; i++) {
        kj_buf_release(&l[i].text);
        free(l[i].end);
    }
    return rc;
}
