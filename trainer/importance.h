/* importance.h - which channels, neurons, heads and blocks of a model matter,
 * by what they do on a few texts.
 *
 * After Minitron (Muralidharan et al. 2024) in the variant that the Kanana
 * report found best: for each activation the mean over a sample's tokens of
 * its size, then the L2 norm over samples;
 *
 *   channel  summed over the outputs of all norms (two a layer, and the last)
 *   neuron   of silu(gate) * up, layer by layer
 *   head     the L2 norm of what o_proj reads of it, layer by layer
 *   block    1 - the mean cosine between the stream before and behind it
 *            (Men et al. 2024, "ShortGPT")
 */
#ifndef KJ_TRAINER_IMPORTANCE_H
#define KJ_TRAINER_IMPORTANCE_H

#include "trainer/data.h"
#include "trainer/llama.h"

struct kj_err;

struct kj_scores {
    int64_t hidden, ffn, heads, layers;
    int64_t samples, length; /* rows that were looked at, tokens of each */
    double *channel;         /* hidden */
    double *neuron;          /* layers x ffn */
    double *head;            /* layers x heads */
    double *block;           /* layers */
};

/* Look at the next `samples` rows of `length` tokens of the loader; m must have
 * room for one. s is overwritten; release it also when this fails. */
int kj_scores_make(struct kj_scores *s, struct kj_llama *m, struct kj_loader *l,
                   int64_t samples, int64_t length, struct kj_err *err);
void kj_scores_release(struct kj_scores *s);

/* As JSON: {"format": "kijil-importance", "version": 1, "samples", "length",
 * "channels": [...], "layers": [{"block", "heads": [...], "neurons": [...]}]}.
 * Reading gives KJ_FAIL when a number is missing. */
int kj_scores_write(const struct kj_scores *s, const char *path, struct kj_err *err);
int kj_scores_read(struct kj_scores *s, const char *path, struct kj_err *err);

#endif
