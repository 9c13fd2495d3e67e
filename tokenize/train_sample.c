/* train_sample.c - a sample of so many bytes, in one pass over a corpus of any size.
 *
 * Documents are ordered by XXH64(id, seed), equal ones as they come; the sample is
 * the shortest beginning of that order that has the bytes. A heap holds what may
 * still belong to it: a document behind the last one of a sample that has enough is
 * passed by, another drives the last ones out. So the sample does not depend on
 * files, their order or threads, and takes no more memory than its bytes and one
 * document.
 */
#include "tokenize/train_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"

/* Documents in a batch, at most: they may be short. */
#define BATCH_DOCS 65536

static bool behind(const struct tok_sampled *a, const struct tok_sampled *b)
{
    return a->hash != b->hash ? a->hash > b->hash : a->order > b->order;
}

static void sink_down(struct tok_sampled *v, size_t n, size_t i)
{
    struct tok_sampled x = v[i];
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && behind(&v[k + 1], &v[k]))
            k++;
        if (!behind(&v[k], &x))
            break;
        v[i] = v[k];
    }
    v[i] = x;
}

static void add(struct tok_sample *s, const struct kj_doc *d)
{
    struct tok_sampled x = {.hash = kj_hash64(d->id.p, d->id.n, s->seed),
                            .order = s->seen++,
                            .n = d->text.n};
    if (s->bytes >= s->want && !behind(&s->v[0], &x))
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->v = kj_xrealloc(s->v, s->cap * sizeof *s->v);
    }
    x.p = kj_xstrndup(d->text.p, d->text.n);
    size_t i = s->n++;
    for (; i > 0 && behind(&x, &s->v[(i - 1) / 2]); i = (i - 1) / 2)
        s->v[i] = s->v[(i - 1) / 2];
    s->v[i] = x;
    s->bytes += x.n;
    while (s->bytes - s->v[0].n >= s->want) {
        s->bytes -= s->v[0].n;
        free(s->v[0].p);
        s->v[0] = s->v[--s->n];
        sink_down(s->v, s->n, 0);
    }
}

int tok_sample_gather(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)err;
    for (size_t i = 0; i < b->n; i++)
        if (kj_doc_kept(&b->docs[i]) && b->docs[i].text.n)
            add(self, &b->docs[i]);
    return KJ_OK;
}

static int by_order(const void *a, const void *b)
{
    return behind(a, b) ? 1 : -1;
}

static int sample_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct tok_sample *s = self;
    (void)err;
    b->next.offset = -1;
    if (!s->at)
        qsort(s->v, s->n, sizeof *s->v, by_order);
    for (; s->at < s->n && b->bytes_in < KJ_BATCH_BYTES && b->n < BATCH_DOCS; s->at++) {
        kj_batch_add(b)->text = (struct kj_str){s->v[s->at].p, s->v[s->at].n};
        b->bytes_in += s->v[s->at].n;
    }
    return b->n ? KJ_OK : KJ_EOF;
}

struct kj_source tok_sample_source(struct tok_sample *s)
{
    return (struct kj_source){.self = s, .read = sample_read};
}

void tok_sample_release(struct tok_sample *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i].p);
    free(s->v);
    s->v = NULL;
    s->n = s->cap = 0;
}
