/* checkpoint.h - the whole state of training in a folder, whole or not there.
 *
 * Layout: docs/formats/checkpoint.md. DIR/step-00000100/ holds the model in
 * Hugging Face's layout, optimizer.safetensors with the moments of every parameter
 * (float32, or bfloat16 where the run holds them so), and checkpoint.json, which is
 * written last and carries the step, the place in the data, and size and hash of every
 * other file. The folder is filled under another name and renamed when all is synced.
 */
#ifndef KJ_TRAINER_CHECKPOINT_H
#define KJ_TRAINER_CHECKPOINT_H

#include <stdint.h>

#include "trainer/data.h"
#include "trainer/hf.h"
#include "trainer/llama.h"
#include "trainer/ranks.h"
#include "trainer/spike.h"

/* The moments as this rank keeps them: elements of its spans. With
 * `seconds` (kj_muon_seconds) the second moments are those of some parameters
 * only, one behind the other. */
struct kj_moments {
    struct kj_ranks *ranks;
    struct kj_tensor *t[2];
    size_t *seconds; /* one per parameter, or NULL: all, where the weights are */
};

struct kj_checkpoint {
    int64_t step;           /* steps done */
    int64_t tokens;         /* predictions trained on */
    uint64_t row;           /* the loader's next row */
    int64_t skipped;        /* steps whose update was left out */
    struct kj_spike spikes; /* what tells them */
    uint64_t *seen;         /* tokens by stage and group (feed.h), borrowed; */
    size_t n_seen;          /* cells: loading fills them or sets n_seen to 0 */
    char run[40], data[40]; /* hashes of configuration and of the data's
                               tokenizer and size: a run only goes on with equal
                               ones */
};

/* Save, then remove the oldest beyond `keep`. On rank 0, while the others lend it
 * their spans (kj_ranks_lend). */
int kj_checkpoint_save(const char *dir, const struct kj_checkpoint *c,
                       struct kj_llama *m, const struct kj_moments *moments,
                       const struct kj_hf_save *hf, int64_t keep, struct kj_err *err);

/* The steps that have a checkpoint in DIR, falling; *n of them (none when DIR
 * does not exist). The caller frees. */
int64_t *kj_checkpoint_list(const char *dir, size_t *n);

/* Read and check one. KJ_FAIL when a file is missing or its hash differs.
 * moments NULL: only *c is read, whose seen and n_seen the caller has set. */
int kj_checkpoint_load(const char *dir, int64_t step, struct kj_checkpoint *c,
                       struct kj_llama *m, const struct kj_moments *moments,
                       struct kj_err *err);
int kj_checkpoint_remove(const char *dir, int64_t step, struct kj_err *err);

#endif
