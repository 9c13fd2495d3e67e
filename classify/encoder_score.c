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
    const struct kj_encoder *e = kj_texts_encoder(s->texts);
    size_t h = (size_t)kj_encoder_get_config(e)->hidden;
    int rc = kj_texts_begin(&w->w, s->texts, 1, err);
    if (rc)
        return rc;
    w->texts = kj_xcalloc(ENCODER_WINDOW, sizeof *w->texts);
    w->which = kj_xcalloc(ENCODER_WINDOW, sizeof *w->which);
    w->rows = kj_xcalloc(ENCODER_WINDOW * h, sizeof *w->rows);
    w->outputs = kj_xcalloc(kj_encoder_head(e)->out, sizeof *w->outputs);
    return KJ_OK;
}

void encoder_worker_end(struct encoder_worker *w)
{
    kj_texts_end(w->w);
    free(w->texts);
    free(w->which);
    free(w->rows);
    free(w->outputs);
    memset(w, 0, sizeof *w);
}

static int window(const struct encoder_scorer *s, struct encoder_worker *w, size_t n,
                  float *scores, struct kj_err *err)
{
    const struct kj_head_weights *head = kj_encoder_head(kj_texts_encoder(s->texts));
    int rc = kj_texts_features(s->texts, w->w, w->texts, n, w->rows, NULL, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        kj_texts_outputs(head, w->rows + i * head->in, w->outputs);
        scores[w->which[i]] = (float)w->outputs[s->target];
    }
    return rc;
}

int encoder_score_batch(const struct encoder_scorer *s, struct encoder_worker *w,
                        const struct kj_batch *b, const bool *want, float *scores,
                        struct kj_err *err)
{
    size_t n = 0;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        if (!want[i] || !kj_doc_kept(&b->docs[i]))
            continue;
        w->texts[n] = b->docs[i].text;
        w->which[n++] = i;
        if (n == ENCODER_WINDOW) {
            rc = window(s, w, n, scores, err);
            n = 0;
        }
    }
    return rc == KJ_OK && n ? window(s, w, n, scores, err) : rc;
}
