/* continue.c - a text continued by a model. */
#include "commands/continue.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "tokenize/tokenizer.h"

static int go_on(struct kj_continue *c, struct kj_cache *cache,
                 const struct kj_tok_ids *ids, struct kj_err *err)
{
    size_t v = (size_t)c->m->shape.vocab_size, n = ids->n;
    size_t room = (size_t)c->m->shape.max_positions;
    float *z = kj_xcalloc(v, sizeof *z);
    uint32_t *order = kj_xcalloc(v, sizeof *order), token;
    const uint32_t *feed = ids->v;
    uint32_t known = kj_tok_vocab_size(c->tok);
    struct kj_buf text;
    int rc = KJ_OK;
    kj_buf_init(&text, 1 << 20);
    while ((int64_t)c->made < c->most) {
        rc = kj_cache_feed(cache, feed, n, z, err);
        if (rc)
            break;
        /* Rows of the embedding beyond the tokenizer have no text. */
        token = kj_sample(&c->sampler, c->made, z, known < v ? known : v, order);
        if ((int64_t)token == c->end)
            break;
        text.n = 0;
        rc = kj_tok_decode(c->tok, &token, 1, true, &text, err);
        if (rc || !c->piece(c->ctx, text.p ? text.p : "", text.n))
            break;
        c->made++;
        feed = &token;
        n = 1;
        if (kj_cache_used(cache) >= room)
            break;
    }
    kj_buf_release(&text);
    free(z);
    free(order);
    return rc;
}

int kj_continue(struct kj_continue *c, struct kj_str prompt, struct kj_err *err)
{
    struct kj_tok_state *st = kj_tok_state_new(c->tok);
    struct kj_tok_ids ids = {0};
    struct kj_cache *cache = NULL;
    size_t room = (size_t)c->m->shape.max_positions;
    c->made = 0;
    int rc =
        kj_tok_encode(c->tok, st, prompt.p, prompt.n, KJ_TOK_NO_SPECIAL, &ids, err);
    if (rc == KJ_OK) {
        ids.v = kj_xrealloc(ids.v, (ids.n + 1) * sizeof *ids.v);
        memmove(ids.v + 1, ids.v, ids.n * sizeof *ids.v);
        ids.v[0] = c->begin;
        ids.cap = ++ids.n;
        if (ids.n >= room)
            rc = kj_err_set(err, KJ_FAIL, "the prompt has %zu tokens, the context %zu",
                            ids.n, room);
    }
    if (rc == KJ_OK) {
        size_t want = ids.n + (size_t)c->most;
        rc = kj_cache_new(&cache, c->m, want < room ? want : room, err);
    }
    double start = kj_now();
    if (rc == KJ_OK)
        rc = go_on(c, cache, &ids, err);
    c->seconds = kj_now() - start;
    c->given = ids.n;
    kj_cache_free(cache);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(st);
    return rc;
}
