/* ranks.h - one run trained by several processes.
 *
 * Each rank works on its passes of a step: pass i is rank i mod size's. Gradients are
 * summed over ranks, and the optimizer is cut among them (ZeRO-1, Rajbhandari et al.
 * 2020): a rank keeps the moments of its spans of the model (kj_llama.spans), moves the
 * weights of these, and gets the others'. Where passes multiply a bfloat16 copy, that is
 * what travels, and the float32 weights are cut like the moments. Muon needs whole
 * matrices: with it every rank keeps and moves all (`whole`).
 *
 * It is cut unit by unit: the embedding, each layer, the last norm with the head
 * (kj_llama_unit). So a unit's gradients are on their way to their owners while those of
 * the layers below are still computed, and its weights come back while the next step's
 * first layers already run, where the back end does exchanges beside its operations.
 *
 * Gradients are whole on each rank until the last pass of a step has them all, or (zero
 * 2) are summed over ranks behind every pass, from a slot that has room for a unit into
 * the span of who owns them. So with zero 1 an element's gradient is the sum over ranks
 * of sums over passes, with zero 2 the sum over passes of sums over ranks; with one pass
 * a rank it is the same. A rank that has a pass less than others exchanges zeros.
 *
 * Files are rank 0's affair: for a checkpoint the others write their spans into its
 * files, or lend them to it where they do not see them (ranks_files.c). They read them
 * back from the folder, so to go on from one all must see it.
 *
 * Alone (comm NULL) every function here does what one process needs.
 */
#ifndef KJ_TRAINER_RANKS_H
#define KJ_TRAINER_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/hf.h"
#include "trainer/llama.h"

struct kj_comm;

struct kj_ranks {
    struct kj_comm *comm;
    struct kj_backend *b;
    struct kj_llama *m;
    int rank, size;
    bool whole;
    size_t
        begun; /* zero 1: units of this step whose sums are under way, from the last */
    size_t
        held[KJ_LLAMA_SLOTS]; /* zero 2: unit + 1 whose sums are in a slot; 0: none */
    /* bfloat16 gradients of zero 2: where not 0, passes are added up by chance, keyed by
     * this and by how many units were added up. */
    uint64_t chance, taken;
    const char *dir; /* this rank's name of the folder of the run, or NULL */
    bool apart;      /* not all ranks saw it when a file was written last */
};
/* m was made as one of c's ranks (kj_llama_how). */
void kj_ranks_init(struct kj_ranks *k, struct kj_comm *c, struct kj_llama *m);

/* A step's gradients. First of all they are zeros. chance: see struct kj_ranks. */
void kj_ranks_begin(struct kj_ranks *k, uint64_t chance);
/* Pass i of `passes`, which is this rank's: sets what the model tells of its units. */
void kj_ranks_pass(struct kj_ranks *k, size_t i, size_t passes);
/* Behind this rank's passes, when the rank that has most of them has `rounds`: what is
 * left to be done so that operations called later find the sums in spans (or, when
 * whole, everywhere). */
void kj_ranks_end(struct kj_ranks *k, size_t passes, size_t rounds);
/* Adds the squares of the summed gradients, as far as they are this rank's, to acc (as
 * kj_ops.add_sum has it), without a wait. */
void kj_ranks_squares(struct kj_ranks *k, struct kj_mat acc);
/* Their norm, the same bits on all ranks, of the own squares. */
int kj_ranks_norm(struct kj_ranks *k, double squares, double *norm, struct kj_err *err);
/* The first parameter whose weights (or gradients) are not all finite, the same on all
 * ranks, and how many there are; NULL: none. */
int kj_ranks_spoiled(struct kj_ranks *k, bool gradients, const struct kj_param **first,
                     size_t *count, struct kj_err *err);

/* The weights that others have moved, as passes multiply them. They may still be coming
 * when this returns: forward passes wait for them unit by unit. */
void kj_ranks_share(struct kj_ranks *k);
/* Until they are there, for whoever reads them; called by all ranks alike. */
int kj_ranks_settle(struct kj_ranks *k, struct kj_err *err);

/* x[0..n) summed over ranks */
int kj_ranks_add(struct kj_ranks *k, double *x, size_t n, struct kj_err *err);
/* rank 0's bytes to all */
int kj_ranks_tell(struct kj_ranks *k, void *p, size_t n, struct kj_err *err);

/* Elements at .. at+n of the whole model's moments (0 or 1), of which `moments` holds
 * those of the spans, or of its weights; on rank 0. Until it calls kj_ranks_done the
 * others stay in kj_ranks_lend. */
enum kj_kept { KJ_KEPT_FIRST, KJ_KEPT_SECOND, KJ_KEPT_WEIGHTS };
int kj_ranks_read(struct kj_ranks *k, struct kj_tensor *const moments[2],
                  enum kj_kept what, size_t at, float *out, size_t n,
                  struct kj_err *err);
/* A file of n tensors, all of whose elements are the model's kj_kept from `at` on, one
 * tensor for each of `from`; on rank 0, likewise. In k->dir each rank writes its part,
 * where all see it; elsewhere, and where they do not (k->apart then), rank 0 all. */
struct kj_ranks_part {
    enum kj_kept what;
    size_t at;
};
int kj_ranks_write(struct kj_ranks *k, struct kj_tensor *const moments[2],
                   const char *path, const struct kj_st_out *t,
                   const struct kj_ranks_part *from, size_t n, enum kj_st_type type,
                   struct kj_err *err);
/* All weights, likewise. */
struct kj_hf_source kj_ranks_weights(struct kj_ranks *k);
int kj_ranks_done(struct kj_ranks *k, struct kj_err *err);
int kj_ranks_lend(struct kj_ranks *k, struct kj_tensor *const moments[2],
                  struct kj_err *err);

#endif
