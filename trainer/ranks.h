/* ranks.h - one run trained by several processes.
 *
 * Each rank holds the model and works on its passes of a step: pass i is rank
 * i mod size's. Gradients are summed over ranks, and the optimizer is cut among
 * them (ZeRO-1, Rajbhandari et al. 2020): a rank keeps the moments of its part of
 * the elements, moves the weights of that part, and gets the others'. Muon
 * needs whole matrices: with it every rank keeps and moves all (`whole`).
 *
 * Files are rank 0's affair: the others lend it their moments for a checkpoint,
 * and read their part back from the folder, which all must see.
 *
 * Alone (comm NULL) every function here does what one process needs.
 */
#ifndef KJ_TRAINER_RANKS_H
#define KJ_TRAINER_RANKS_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/backend.h"

struct kj_comm;

struct kj_ranks {
    struct kj_comm *comm;
    struct kj_backend *b;
    int rank, size;
    bool whole;
    size_t n;        /* elements of the model */
    size_t from, to; /* whose moments and moves are this rank's */
};
void kj_ranks_init(struct kj_ranks *k, struct kj_backend *b, struct kj_comm *c,
                   size_t n, bool whole);

/* The gradients' sums over ranks: own part, or all when whole. */
void kj_ranks_sum(struct kj_ranks *k, struct kj_tensor *g);
/* The weights that others have moved. */
void kj_ranks_share(struct kj_ranks *k, struct kj_tensor *w);
/* Norm of the summed gradients, the same bits on all ranks. */
int kj_ranks_norm(struct kj_ranks *k, struct kj_tensor *g, double *norm,
                  struct kj_err *err);
/* x[0..n) summed over ranks */
int kj_ranks_add(struct kj_ranks *k, double *x, size_t n, struct kj_err *err);
/* rank 0's bytes to all */
int kj_ranks_tell(struct kj_ranks *k, void *p, size_t n, struct kj_err *err);

/* Elements at .. at+n of moment `which` (0 or 1) of the whole model, on rank 0;
 * t holds elements from..to of it. Until rank 0 calls kj_ranks_done the others
 * stay in kj_ranks_lend. */
int kj_ranks_read(struct kj_ranks *k, struct kj_tensor *t, int which, size_t at,
                  float *out, size_t n, struct kj_err *err);
int kj_ranks_done(struct kj_ranks *k, struct kj_err *err);
int kj_ranks_lend(struct kj_ranks *k, struct kj_tensor *const t[2], struct kj_err *err);

#endif
