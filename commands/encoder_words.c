/* encoder_words.c - the tokenizer, as classify/ asks for it. */
#include "base/err.h"
#include "base/mem.h"
#include "classify/texts.h"
#include "tokenize/tokenizer.h"

#include <stdlib.h>

struct state {
    const struct kj_tok *tok;
    struct kj_tok_state *s;
    struct kj_tok_ids ids;
};

static int words_open(void **tok, const char *path, uint32_t *ids, struct kj_err *err)
{
    struct kj_tok *t;
    int rc = kj_tok_load(&t, path, err);
    if (rc)
        return rc;
    *ids = kj_tok_vocab_size(t);
    *tok = t;
    return KJ_OK;
}

static void words_close(void *tok)
{
    kj_tok_free(tok);
}

static void *words_begin(const void *tok)
{
    struct state *s = kj_xcalloc(1, sizeof *s);
    s->tok = tok;
    s->s = kj_tok_state_new(tok);
    return s;
}

static void words_end(void *state)
{
    struct state *s = state;
    kj_tok_ids_release(&s->ids);
    kj_tok_state_free(s->s);
    free(s);
}

/* Special tokens in a text are special, as they are for Hugging Face's users: the
 * scores have to be those of the published classifiers. */
static int words_encode(void *state, const char *p, size_t n, bool special,
                        const uint32_t **ids, size_t *n_ids, struct kj_err *err)
{
    struct state *s = state;
    s->ids.n = 0;
    int rc =
        kj_tok_encode(s->tok, s->s, p, n, special ? KJ_TOK_TEMPLATE : 0, &s->ids, err);
    *ids = s->ids.v;
    *n_ids = s->ids.n;
    return rc;
}

const struct kj_words kj_encoder_words = {
    .open = words_open,
    .close = words_close,
    .begin = words_begin,
    .end = words_end,
    .encode = words_encode,
};
