/* tok_encode.c - text to ids.
 *
 * Text is cut three times, as the reference does it: at added tokens that are
 * matched in text as it stands; then, behind the normalizer, at those that
 * are matched in normalized text; then by the pre-tokenizer into words. A
 * word's ids depend on its bytes alone (tok_words.c).
 */
#include "tokenize/tok_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

void kj_tok_ids_release(struct kj_tok_ids *ids)
{
    free(ids->v);
    *ids = (struct kj_tok_ids){0};
}

struct kj_tok_state *kj_tok_state_new(const struct kj_tok *t)
{
    struct kj_tok_state *s = kj_xcalloc(1, sizeof *s);
    tok_pre_state_init(&s->pre, &t->pre);
    tok_queue_init(s);
    kj_buf_init(&s->norm[0], (size_t)1 << 30);
    kj_buf_init(&s->norm[1], (size_t)1 << 30);
    s->t = t;
    for (size_t i = 0; i < t->pre.n_steps; i++)
        s->copies |= t->pre.steps[i].prefix_space ||
                     (i && t->pre.steps[i].kind == TOK_STEP_META);
    return s;
}

void kj_tok_state_free(struct kj_tok_state *s)
{
    if (!s)
        return;
    tok_pre_state_release(&s->pre);
    tok_queue_free(s);
    kj_buf_release(&s->norm[0]);
    kj_buf_release(&s->norm[1]);
    free(s);
}

/* ---- added tokens ---- */

static uint32_t char_before(const char *p, size_t at, size_t *len)
{
    size_t b = at - 1;
    while (b > 0 && ((unsigned char)p[b] & 0xC0) == 0x80)
        b--;
    return kj_utf8_next(p + b, at - b, len);
}

/* Whether the token may stand at [b,e), and where it begins and ends with the
 * white space that it takes. */
static bool token_fits(const struct tok_added *a, const char *p, size_t n, size_t done,
                       size_t *b, size_t *e)
{
    size_t len;
    if (a->single_word &&
        ((*b > 0 && tok_ref_word(char_before(p, *b, &len))) ||
         (*e < n && tok_ref_word(kj_utf8_next(p + *e, n - *e, &len)))))
        return false;
    while (a->lstrip && *b > done && kj_uni_space(char_before(p, *b, &len)))
        *b -= len;
    while (a->rstrip && *e < n && kj_uni_space(kj_utf8_next(p + *e, n - *e, &len)))
        *e += len;
    return true;
}

typedef int gap_fn(struct kj_tok_state *s, const char *p, size_t n, unsigned flags,
                   struct kj_err *err);

static int split_added(struct kj_tok_state *s, const struct tok_trie *trie,
                       const char *p, size_t n, unsigned flags, gap_fn *gap,
                       struct kj_err *err)
{
    size_t done = 0, at = 0;
    int rc = KJ_OK;
    while (trie->n && at < n) {
        at = tok_trie_skip(trie, p, n, at);
        size_t len = 0;
        uint32_t k = at < n ? tok_trie_longest(trie, p + at, n - at, &len) : TOK_NONE;
        if (k == TOK_NONE) {
            at++;
            continue;
        }
        const struct tok_added *a = &s->t->added[k];
        size_t b = at, e = at + len;
        at = e;
        if ((flags & KJ_TOK_NO_SPECIAL) && a->special)
            continue;
        if (!token_fits(a, p, n, done, &b, &e))
            continue;
        if (done < b)
            rc = gap(s, p + done, b - done, flags, err);
        if (rc != KJ_OK)
            return rc;
        s->at_start = false;
        tok_put(s->out, a->id);
        done = e;
    }
    return done < n ? gap(s, p + done, n - done, flags, err) : KJ_OK;
}

static int gap_words(struct kj_tok_state *s, const char *p, size_t n, unsigned flags,
                     struct kj_err *err)
{
    (void)flags;
    enum tok_scan scan = tok_pre_scan(&s->t->pre);
    if (scan != TOK_SCAN_NONE)
        return tok_queue_scan(s, scan, p, n, err);
    s->pre.begin = s->at_start ? p : NULL;
    s->at_start = false;
    int rc = tok_pre_run(&s->pre, p, n, tok_queue_word, s, err);
    return rc == KJ_OK ? tok_queue_flush(s, err) : rc;
}

static int gap_normalize(struct kj_tok_state *s, const char *p, size_t n,
                         unsigned flags, struct kj_err *err)
{
    const struct kj_tok *t = s->t;
    for (size_t i = 0; i < t->norms.n; i++) {
        if (tok_norm_idle(&t->norms.v[i], p, n))
            continue;
        /* Two buffers in turn: a form reads one and fills the other. */
        struct kj_buf *b = &s->norm[p == s->norm[0].p];
        kj_buf_reset(b);
        if (tok_norm_run(&t->norms.v[i], b, p, n) != KJ_OK)
            return kj_err_set(err, KJ_BAD_RECORD, "text too long to normalize");
        p = b->p;
        n = b->n;
    }
    return split_added(s, &t->normal, p, n, flags, gap_words, err);
}

int kj_tok_encode(const struct kj_tok *t, struct kj_tok_state *s, const char *p,
                  size_t n, unsigned flags, struct kj_tok_ids *out, struct kj_err *err)
{
    size_t n0 = out->n, good = kj_utf8_valid(p, n);
    if (good < n) {
        kj_err_set(err, KJ_BAD_RECORD, "not UTF-8 at byte %zu", good);
        kj_err_where(err, "", (int64_t)good);
        return KJ_BAD_RECORD;
    }
    if ((flags & KJ_TOK_TEMPLATE) && t->template_refused)
        return kj_err_set(err, KJ_FAIL, "%s", t->template_refused);
    s->t = t;
    s->out = out;
    s->queued = 0;
    s->at_start = true;
    for (size_t i = 0; i < t->n_head && (flags & KJ_TOK_TEMPLATE); i++)
        tok_put(out, t->head[i]);
    int rc = split_added(s, &t->raw, p, n, flags, gap_normalize, err);
    if (rc != KJ_OK) {
        out->n = n0;
        return rc;
    }
    for (size_t i = 0; i < t->n_tail && (flags & KJ_TOK_TEMPLATE); i++)
        tok_put(out, t->tail[i]);
    return KJ_OK;
}

/* ---- what is known about a model ---- */

uint32_t kj_tok_vocab_size(const struct kj_tok *t)
{
    return t->n_ids;
}

const char *kj_tok_name(const struct kj_tok *t)
{
    return t->name;
}

const char *kj_tok_hash(const struct kj_tok *t)
{
    return t->hash;
}

int64_t kj_tok_added_id(const struct kj_tok *t, const char *content)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (kj_str_is(t->added[i].content, content))
            return t->added[i].id;
    return -1;
}

int kj_tok_eos(const struct kj_tok *t, const char *content, uint32_t *id,
               struct kj_err *err)
{
    static const char *const usual[] = {"<|end_of_text|>", "<|endoftext|>", "</s>",
                                        "<eos>"};
    int64_t found = content ? kj_tok_added_id(t, content) : -1;
    for (size_t i = 0; !content && found < 0 && i < sizeof usual / sizeof *usual; i++)
        found = kj_tok_added_id(t, usual[i]);
    if (found < 0)
        return kj_err_set(err, KJ_USAGE,
                          content ? "%s: no added token \"%s\""
                                  : "%s: no end-of-text token; name one",
                          t->name, content);
    *id = (uint32_t)found;
    return KJ_OK;
}
