/* memory.h - what a run takes of a device's memory, counted before it is started, what
 * of it layers should make again so that it fits, and what else would make it fit.
 *
 * Tensors are counted by the table that models are made from (kj_llama_needs), so the
 * count of them is exact; on top comes what operations need for themselves
 * (KJ_MEM_WORK), which on a GPU is an upper bound.
 *
 * Thread-safety: functions of their arguments only.
 */
#ifndef KJ_TRAINER_MEMORY_H
#define KJ_TRAINER_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/config.h"
#include "trainer/hf.h"
#include "trainer/llama.h"

struct kj_backend;
struct kj_err;

/* Where a run is trained. */
struct kj_machine {
    bool gpu;
    bool bf16;        /* activations are bfloat16 where the run says so */
    int64_t left;     /* bytes that a run may take; 0: not known */
    unsigned threads; /* of a CPU */
    int ranks;        /* that train together */
};
/* The one that is open. A GPU keeps 1 % of its memory for kernels that are loaded at
 * their first use, and for CUDA graphs, half of that at most (an assumption: no GPU has
 * told how much it is). */
void kj_machine_open(struct kj_machine *m, struct kj_backend *b, int ranks);
/* A GPU that is not there, of so many bytes (0: not known), of which it and its driver
 * keep 2 %. */
void kj_machine_gpu(struct kj_machine *m, int64_t bytes, int ranks);
/* A CPU with so many bytes left. */
void kj_machine_cpu(struct kj_machine *m, int64_t bytes, unsigned threads, int ranks);

struct kj_memory_plan {
    enum kj_recompute recompute; /* never AUTO */
    int64_t deeper;              /* so many layers take the next level, too */
    int64_t bytes[KJ_MEM_KINDS], all;
    bool fits; /* into what is left, or that is not known */
};

/* run must be resolved. Where it says `auto`, the first level that fits is taken, in no
 * more layers than needed, or the last if none does. Its teacher is counted when its
 * config.json can be read. */
void kj_memory_plan(const struct kj_run *run, const struct kj_machine *m,
                    struct kj_memory_plan *p);

/* Put the plan's level into the run. KJ_USAGE when it does not fit, with what would:
 * "needs 93.1 of 80.0 GB: 13.1 too many. Fits with optim.recompute: ffn (78.2), or
 * ...". */
int kj_memory_settle(struct kj_run *run, const struct kj_machine *m,
                     struct kj_err *err);
/* That message, of a plan that does not fit. */
void kj_memory_advice(const struct kj_run *run, const struct kj_machine *m, char *buf,
                      size_t n);

/* The words of optim.recompute. */
const char *kj_recompute_name(enum kj_recompute r);
/* "norm, and ffn in 13 of 32 layers"; buf of 64. Returns buf. */
const char *kj_memory_recompute(const struct kj_memory_plan *p, int64_t layers,
                                char *buf);

#endif
