/* judge.h - which blocks of a page are its text, learned from pages whose text
 * is known. Internal to extract/.
 *
 * A network of four small layers over the numbers of blocks.h. Each block is
 * seen with its neighbours near and far and with the whole page, so that what
 * is kept are stretches of a page rather than single blocks. The weights are
 * data, made by scripts/train_blocks.
 *
 * The arithmetic is single precision in a fixed order: the same page gives the
 * same text on every machine that this program is built for in the same way.
 */
#ifndef KJ_EXTRACT_JUDGE_H
#define KJ_EXTRACT_JUDGE_H

#include "extract/blocks.h"

struct kj_judge {
    float *h, *g;   /* layers' outputs, a row per block */
    double *sums;   /* over the rows in front of each */
    float *kinds;   /* a row per kind of block, then their counts */
    float *verdict; /* per block: > 0 is text */
    const struct kj_block **copies;
    size_t cap;
    bool any;    /* one block at least may be text */
    double sure; /* F1 of the text kept that is to be expected, 0 to 1 */
};

void kj_judge_release(struct kj_judge *j);

/* Fill verdict[] for the blocks of k. */
void kj_judge_blocks(struct kj_judge *j, const struct kj_blocks *k,
                     const struct kj_content *c, const struct kj_tree *t);

/* Make the marks of the tree and the root of c agree with the verdicts. */
void kj_judge_apply(const struct kj_judge *j, const struct kj_blocks *k,
                    struct kj_content *c, struct kj_tree *t);

#endif
