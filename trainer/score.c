/* score.c - likelihoods of documents, packed. */
#include "trainer/score.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/data.h"

struct kj_scorer {
    struct kj_llama *m;
    size_t tokens, context, at, segs;
    uint32_t begin;
    void (*got)(void *ctx, uint64_t doc, uint64_t tokens, double nats);
    void *ctx;
    struct kj_packed p;
    uint64_t *doc; /* of each segment */
    float *loss;
    uint64_t docs;    /* added */
    uint64_t open;    /* first document that is not reported */
    double nats;      /* of document `open`, from earlier passes */
    uint64_t counted; /* its tokens so far */
};

int kj_scorer_new(struct kj_scorer **out, struct kj_llama *m, size_t tokens,
                  size_t context, uint32_t begin,
                  void (*got)(void *ctx, uint64_t doc, uint64_t tokens, double nats),
                  void *ctx, struct kj_err *err)
{
    if (tokens == 0 || context == 0)
        return kj_err_set(err, KJ_FATAL, "no room to score in");
    struct kj_scorer *s = kj_xcalloc(1, sizeof *s);
    s->m = m;
    s->tokens = tokens;
    s->context = context < tokens ? context : tokens;
    s->begin = begin;
    s->got = got;
    s->ctx = ctx;
    kj_packed_init(&s->p, tokens);
    s->doc = kj_xcalloc(tokens + 1, sizeof *s->doc);
    s->loss = kj_xcalloc(tokens, sizeof *s->loss);
    *out = s;
    return KJ_OK;
}

void kj_scorer_free(struct kj_scorer *s)
{
    if (!s)
        return;
    kj_packed_release(&s->p);
    free(s->doc);
    free(s->loss);
    free(s);
}

/* Report documents below `upto`. */
static void report(struct kj_scorer *s, uint64_t upto)
{
    while (s->open < upto) {
        s->got(s->ctx, s->open, s->counted, s->nats);
        s->open++;
        s->nats = 0;
        s->counted = 0;
    }
}

/* Run the pass; the last document stays open when it goes on behind it. */
static int pass(struct kj_scorer *s, bool goes_on, struct kj_err *err)
{
    double sum;
    if (s->at == 0)
        return KJ_OK;
    s->p.cu[s->segs] = (int32_t)s->at;
    s->p.rows =
        (struct kj_rows){s->at, s->p.ids, s->p.pos, s->p.targets, s->segs, s->p.cu};
    int rc = kj_llama_loss(s->m, &s->p.rows, false, 0, 0, &sum, s->loss, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->segs; i++) {
        report(s, s->doc[i]);
        for (int32_t k = s->p.cu[i]; k < s->p.cu[i + 1]; k++)
            s->nats += (double)s->loss[k];
        s->counted += (uint64_t)(s->p.cu[i + 1] - s->p.cu[i]);
    }
    s->at = s->segs = 0;
    if (!goes_on)
        report(s, s->docs);
    return KJ_OK;
}

int kj_scorer_add(struct kj_scorer *s, const uint32_t *ids, size_t n,
                  struct kj_err *err)
{
    uint64_t doc = s->docs++;
    for (size_t i = 0; i < n;) {
        size_t k = n - i < s->context ? n - i : s->context;
        /* Start a new pass rather than cut a piece short. */
        if (k > s->tokens - s->at) {
            int rc = pass(s, true, err);
            if (rc)
                return rc;
            report(s, doc);
        }
        s->p.cu[s->segs] = (int32_t)s->at;
        s->doc[s->segs++] = doc;
        for (size_t j = 0; j < k; j++) {
            s->p.ids[s->at + j] = (int32_t)(i + j ? ids[i + j - 1] : s->begin);
            s->p.targets[s->at + j] = (int32_t)ids[i + j];
            s->p.pos[s->at + j] = (int32_t)j;
        }
        s->at += k;
        i += k;
    }
    return KJ_OK;
}

int kj_scorer_flush(struct kj_scorer *s, struct kj_err *err)
{
    int rc = pass(s, false, err);
    if (rc == KJ_OK)
        report(s, s->docs);
    return rc;
}
