/* attn.cuh - attention: the paths that compute it, and what they are given.
 *
 * A path says whether it takes a call; the first of the list that does, computes it
 * (attn.cu). All keep to the definition in nn/backend.h; forward and backward
 * of one call may go different ways, since they share only lse.
 */
#ifndef KJ_NN_CUDA_ATTN_CUH
#define KJ_NN_CUDA_ATTN_CUH

#include "nn/cuda/dev.cuh"

/* Segments as kernels see them. */
struct kj_attn_segs {
    const int32_t *cu_q, *cu_k; /* device memory, segs + 1 each */
    unsigned segs;
    bool full;
    /* Segments cut into runs of KJ_ATTN_TILE queries or keys: segment and first row of
     * each, counted from the segment's own first. Some may be of segments of length 0
     * behind the last row, and do nothing. */
    const int32_t *q_tiles, *k_tiles;
    unsigned n_q_tiles, n_k_tiles;
};
#define KJ_ATTN_TILE 64

struct kj_attn_path {
    const char *name;
    bool wants_dsum; /* backward() reads dsum */
    /* g: NULL for a forward pass. May leave a fault, and then does not take it. */
    bool (*takes)(struct kj_cuda *c, const struct kj_attn *a,
                  const struct kj_attn_grad *g, enum kj_dtype type);
    void (*forward)(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_segs *s, enum kj_dtype type);
    /* dsum: for each query and head the sum of d_o times o; NULL unless wanted. */
    void (*backward)(struct kj_cuda *c, const struct kj_attn *a,
                     const struct kj_attn_grad *g, const struct kj_attn_segs *s,
                     const float *dsum, enum kj_dtype type);
};

extern const struct kj_attn_path kj_attn_dnn, kj_attn_mma, kj_attn_any;
void kj_cuda_dnn_close(struct kj_cuda *c);
/* Its part of kj_cuda_attn_renew. */
bool kj_cuda_dnn_renew(struct kj_cuda *c);

/* Whether `theirs` computes what our own kernels do, for calls of that shape
 * (attn_agree.cu): forward, log sums, and where the shape trains and bits may differ,
 * gradients. Takes milliseconds and waits for them. why: what differs and by how much,
 * or that there was no memory to find out. g: NULL for the forward pass. */
struct kj_sdpa_shape;
bool kj_attn_agrees(struct kj_cuda *c, const struct kj_sdpa_shape *s,
                    bool (*theirs)(struct kj_cuda *c, const struct kj_attn *a,
                                   const struct kj_attn_grad *g, struct kj_err *why),
                    struct kj_err *why);

/* The segment of row i: the last one that starts at or before it and is not empty. */
KJ_DEV unsigned kj_segment(const int32_t *cu, unsigned segs, int32_t i)
{
    unsigned lo = 0, hi = segs; /* cu[lo] <= i < cu[hi] */
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (cu[mid] <= i)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

#endif
