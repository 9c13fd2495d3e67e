/* validate.c - see validate.h. */
#include "trainer/validate.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/config.h"
#include "trainer/llama.h"
#include "trainer/ranks.h"

/* Not the run's: other runs look at the same rows. */
#define SEED 0x68656c64u

/* How many rows of the set there are to look at, and what they predict. */
static void count(struct kj_validation *v, size_t set, int64_t most)
{
    const struct kj_loader *l = &v->loaders[set];
    uint64_t epoch, g = 0;
    for (; !most || g < (uint64_t)most; g++) {
        kj_loader_place(l, g, v->len, &epoch);
        if (epoch > 0)
            break;
        v->predictions[set] += (double)kj_loader_predictions(l, g, v->len);
    }
    v->rows[set] = g;
}

int kj_validation_open(struct kj_validation *v, const struct kj_run *run,
                       const struct kj_docs *docs, size_t n, struct kj_err *err)
{
    *v = (struct kj_validation){.len = (size_t)run->data.seq_len,
                                .micro = (size_t)run->data.micro};
    if (n == 0)
        return KJ_OK;
    v->loaders = kj_xcalloc(n, sizeof *v->loaders);
    v->rows = kj_xcalloc(n, sizeof *v->rows);
    v->predictions = kj_xcalloc(n, sizeof *v->predictions);
    v->loss = kj_xcalloc(n, sizeof *v->loss);
    kj_packed_init(&v->packed, v->len * v->micro);
    for (; v->n < n; v->n++) {
        int rc = kj_loader_init(&v->loaders[v->n], &docs[v->n], SEED, true, err);
        if (rc) {
            kj_err_context(err, "validation.data %s",
                           docs[v->n].name ? docs[v->n].name : "");
            return rc;
        }
        if (run->data.packing == KJ_PACK_BESTFIT)
            kj_loader_bestfit(&v->loaders[v->n], v->len);
        count(v, v->n, run->validation.rows);
    }
    return KJ_OK;
}

void kj_validation_close(struct kj_validation *v)
{
    for (size_t i = 0; i < v->n; i++)
        kj_loader_release(&v->loaders[i]);
    free(v->loaders);
    free(v->rows);
    free(v->predictions);
    free(v->loss);
    kj_packed_release(&v->packed);
    memset(v, 0, sizeof *v);
}

bool kj_validation_due(const struct kj_validation *v, const struct kj_run *run,
                       int64_t step)
{
    return v->n > 0 &&
           (step % run->validation.every == 0 || step == run->schedule.steps);
}

/* A pass's rows, behind the first `at` of the set. */
static int pass(struct kj_validation *v, size_t set, uint64_t at, struct kj_llama *m,
                struct kj_err *err)
{
    uint64_t end = v->rows[set] - at < v->micro ? v->rows[set] : at + v->micro;
    double sum = 0;
    int rc = KJ_OK;
    kj_packed_clear(&v->packed);
    for (uint64_t g = at; g < end && rc == KJ_OK; g++)
        rc = kj_loader_row(&v->loaders[set], g, v->len, &v->packed, err);
    if (rc == KJ_OK)
        rc = kj_llama_loss(m, &v->packed.rows, false, 0, 0, &sum, NULL, err);
    v->loss[set] += sum;
    return rc;
}

int kj_validation_look(struct kj_validation *v, struct kj_llama *m,
                       struct kj_ranks *ranks, struct kj_err *err)
{
    uint64_t number = 0;
    double sum = 0, all = 0;
    int rc = KJ_OK;
    memset(v->loss, 0, v->n * sizeof *v->loss);
    for (size_t i = 0; i < v->n && rc == KJ_OK; i++)
        for (uint64_t at = 0; at < v->rows[i] && rc == KJ_OK; at += v->micro)
            if (number++ % (uint64_t)ranks->size == (uint64_t)ranks->rank)
                rc = pass(v, i, at, m, err);
    rc = rc ? rc : kj_ranks_add(ranks, v->loss, v->n, err);
    for (size_t i = 0; i < v->n; i++) {
        sum += v->loss[i];
        all += v->predictions[i];
        v->loss[i] /= v->predictions[i];
    }
    v->mean = sum / all;
    return rc;
}
