/* ranks.h - one run trained by several processes.
 *
 * Each rank holds the model and works on its passes of a step: pass i is rank
 * i mod size's. Gradients are summed over ranks, and the optimizer is cut among
 * them (ZeRO-1, Rajbhandari et al. 2020): a rank keeps the moments of its part of
 * the elements, moves the weights of that part, and gets the others'. Muon
 * needs whole matrices: with it every rank keeps and moves all (`whole`).
 *
 * It is cut unit by unit: the embedding, each layer, the last norm with the head
 * (kj_llama_unit). So a unit's gradients are on their way to their owners while those of
 * the layers below are still computed, and its weights come back while the next step's
 * first layers already run, where the back end does exchanges beside its operations.
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
struct kj_llama;

/* Elements whose moments and moves are this rank's; their moments lie at `moment`
 * of what it keeps of them. */
struct kj_span {
    size_t from, to, moment;
};

struct kj_ranks {
    struct kj_comm *comm;
    struct kj_backend *b;
    int rank, size;
    bool whole;
    size_t own;     /* elements of all spans */
    size_t n_spans; /* alone or whole: one of all elements */
    struct kj_span *spans;
    size_t units, *cut; /* unit i is elements cut[i] .. cut[i + 1] */
    bool behind;        /* others' parts of float32 weights are old */
    size_t begun;       /* units of this step whose sums are under way, from the last */
};
void kj_ranks_init(struct kj_ranks *k, struct kj_backend *b, struct kj_comm *c,
                   const struct kj_llama *m, bool whole);
void kj_ranks_free(struct kj_ranks *k);
/* What of elements at .. end span i has; false: nothing. */
bool kj_ranks_span(const struct kj_ranks *k, size_t i, size_t at, size_t end,
                   struct kj_span *part);

/* The gradients' sums over ranks: own part, or all when whole. kj_ranks_sum_unit may
 * begin them when a unit's gradients are complete, from the last unit to the first
 * on all ranks; kj_ranks_sum does what is left and has operations wait for all. */
void kj_ranks_sum_unit(struct kj_ranks *k, struct kj_tensor *g, size_t unit);
void kj_ranks_sum(struct kj_ranks *k, struct kj_tensor *g);
/* The weights that others have moved, as passes multiply them: where m has those in
 * bfloat16 beside (m->low), only these travel, and m->w keeps old values of the others'
 * parts. They may still be coming when this returns: forward passes wait for them unit by
 * unit. */
void kj_ranks_share(struct kj_ranks *k, struct kj_llama *m);
/* Until all of m->w is there, for whoever reads it; called by all ranks alike. */
int kj_ranks_settle(struct kj_ranks *k, struct kj_llama *m, struct kj_err *err);
/* Adds the squares of the summed gradients, as far as they are this rank's, to acc (as
 * kj_ops.add_sum has it), without a wait. */
void kj_ranks_squares(struct kj_ranks *k, struct kj_tensor *g, struct kj_mat acc);
/* Their norm, the same bits on all ranks, of the own squares. */
int kj_ranks_norm(struct kj_ranks *k, double squares, double *norm, struct kj_err *err);
/* x[0..n) summed over ranks */
int kj_ranks_add(struct kj_ranks *k, double *x, size_t n, struct kj_err *err);
/* rank 0's bytes to all */
int kj_ranks_tell(struct kj_ranks *k, void *p, size_t n, struct kj_err *err);

/* Elements at .. at+n of moment `which` (0 or 1) of the whole model, on rank 0;
 * t holds those of the spans. Until rank 0 calls kj_ranks_done the others
 * stay in kj_ranks_lend. */
int kj_ranks_read(struct kj_ranks *k, struct kj_tensor *t, int which, size_t at,
                  float *out, size_t n, struct kj_err *err);
int kj_ranks_done(struct kj_ranks *k, struct kj_err *err);
int kj_ranks_lend(struct kj_ranks *k, struct kj_tensor *const t[2], struct kj_err *err);

#endif
