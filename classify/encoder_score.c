/* encoder_score.c - batches of documents through an encoder. */
#include "classify/encoder_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int encoder_scorer_open(struct encoder_scorer *s, const char *dir, const char *label,
                        const char *device, struct kj_err *err)
{
    struct kj_texts_opts o = {.head = true, .device = device};
    int rc = kj_texts_open(&s->texts, dir, &kj_encoder_words, &o, err);
    if (rc)
        return rc;
    const struct kj_encoder_config *c = kj_texts_config(s->texts);
    s->regression = c->regression;
    if (s->regression)
        return KJ_OK;
    for (int64_t i = 0; i < c->labels; i++)
        if (strcmp(c->names[i], label) == 0) {
            s->target = (size_t)i;
            return KJ_OK;
        }
    return kj_err_set(err, KJ_USAGE,
                      "the model has no label '%s'; its %lld labels begin with '%s'",
                      label, (long long)c->labels, c->labels ? c->names[0] : "");
}

void encoder_scorer_close(struct encoder_scorer *s)
{
    kj_texts_free(s->texts);
    s->texts = NULL;
}

int encoder_worker_begin(struct encoder_worker *w, const struct encoder_scorer *s,
                         struct kj_err *err)
{
    return kj_texts_begin(&w->w, s->texts, 1, err);
}

void encoder_worker_end(struct encoder_worker *w)
{
    kj_texts_end(w->w);
    free(w->texts);
    free(w->which);
    free(w->outputs);
    memset(w, 0, sizeof *w);
}

static int window(const struct encoder_scorer *s, struct encoder_worker *w, size_t n,
                  float *scores, struct kj_err *err)
{
    size_t out = kj_encoder_head(kj_texts_encoder(s->texts))->out;
    int rc = kj_texts_scores(s->texts, w->w, w->texts, n, w->outputs, NULL, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        scores[w->which[i]] = (float)w->outputs[i * out + s->target];
    return rc;
}

int encoder_score_batch(const struct encoder_scorer *s, struct encoder_worker *w,
                        const struct kj_batch *b, const bool *want, float *scores,
                        struct kj_err *err)
{
    size_t n = 0, room = ENCODER_WINDOW;
    int rc = KJ_OK;
    if (kj_texts_shared(s->texts) && b->n > room)
        room = b->n;
    if (room > w->room) {
        size_t out = kj_encoder_head(kj_texts_encoder(s->texts))->out;
        w->texts = kj_xrealloc(w->texts, room * sizeof *w->texts);
        w->which = kj_xrealloc(w->which, room * sizeof *w->which);
        w->outputs = kj_xrealloc(w->outputs, room * out * sizeof *w->outputs);
        w->room = room;
    }
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        if (!want[i] || !kj_doc_kept(&b->docs[i]))
            continue;
        w->texts[n] = b->docs[i].text;
        w->which[n++] = i;
        if (n == room) {
            rc = window(s, w, n, scores, err);
            n = 0;
        }
    }
    return rc == KJ_OK && n ? window(s, w, n, scores, err) : rc;
}
