/* work.h - how much memory operations of the CUDA back end take for themselves: asked by
 * the operations, and by who counts before a run (kj_cuda_work).
 *
 * C and CUDA C++; pure functions. */
#ifndef KJ_NN_CUDA_WORK_H
#define KJ_NN_CUDA_WORK_H

#include <stddef.h>
#include <stdint.h>

/* cuBLASLt's: NVIDIA's advice for Hopper. */
#define KJ_CUDA_WORKSPACE ((size_t)32 << 20)

/* Long copies from the host come into a ring of so many pieces of so many bytes. */
#define KJ_CUDA_SLOTS 8
#define KJ_CUDA_SLOT  ((size_t)1 << 20)

/* Lists of documents that attention keeps on the device. */
#define KJ_CUDA_TABLES 8

/* Plans of attention go by the number of documents and the longest of them, both rounded
 * up so that few serve all calls: to powers of 4 from 16 on, and of 2 from 128 on. */
static inline size_t kj_cuda_round_segs(size_t n)
{
    size_t to = 16;
    while (to < n)
        to *= 4;
    return to;
}
static inline size_t kj_cuda_round_longest(size_t n)
{
    size_t to = 128;
    while (to < n)
        to *= 2;
    return to;
}

/* Device memory of a node of a graph, at most, and the part of a device's memory that
 * graphs may take: half of the hundredth that plans leave (kj_machine_open). NVIDIA
 * counts about 10 KB a node (cccl, its cache of graphs); no GPU has been asked. */
#define KJ_CUDA_NODE_BYTES ((size_t)16 << 10)
#define KJ_CUDA_GRAPH_PART 200

/* Rows that a block of the norms' backward pass takes, rows that a sum over rows takes
 * at a time, elements of a piece of a sum of squares. */
#define KJ_CUDA_NORM_ROWS 16
#define KJ_CUDA_SUM_ROWS  128
#define KJ_CUDA_SUM_PIECE 16384

static inline size_t kj_cuda_parts(size_t n, size_t per)
{
    return (n + per - 1) / per;
}

/* Floats for sums over n rows of h; h of them for a sum that is added by chance. */
static inline size_t kj_cuda_colsum_ws(size_t n, size_t h)
{
    size_t floats = h;
    for (n = kj_cuda_parts(n, KJ_CUDA_SUM_ROWS); n > 1;
         n = kj_cuda_parts(n, KJ_CUDA_SUM_ROWS))
        floats += n * h;
    return floats;
}

/* Floats for the gradients of norms. */
static inline size_t kj_cuda_norm_ws(size_t n, size_t h)
{
    size_t parts = kj_cuda_parts(n, KJ_CUDA_NORM_ROWS);
    return parts * h + kj_cuda_colsum_ws(parts, h);
}

/* Elements that come from each other rank before they are summed: 16 MB of float32, so
 * that a group's start is small beside its transfer. Not measured yet. */
#define KJ_CUDA_EXCHANGE ((size_t)1 << 22)

/* And between ranks that share n elements. */
static inline size_t kj_cuda_apart(size_t n, size_t ranks)
{
    size_t part = n / ranks + 32; /* the largest, at least */
    return part < KJ_CUDA_EXCHANGE ? (part + 15) / 16 * 16 : KJ_CUDA_EXCHANGE;
}

/* Tokens on which cuDNN's attention is tried before it is used. */
#define KJ_SDPA_TRIAL_TOKENS 278
/* Bytes behind its scratch that it must leave alone meanwhile. */
#define KJ_SDPA_GUARD ((size_t)1 << 16)

/* Bytes of cuDNN's attention, backward, without its own workspace. */
struct kj_sdpa_parts {
    size_t rowsum, dq_sum, dk_heads, dv_heads;
};
static inline size_t kj_sdpa_part(size_t n)
{
    return (n + 255) / 256 * 256;
}
static inline struct kj_sdpa_parts kj_sdpa_parts_of(size_t tokens, size_t heads,
                                                    size_t kv_heads, size_t dim)
{
    size_t rows = tokens * heads, one = heads == kv_heads ? 0 : 2 * rows * dim;
    struct kj_sdpa_parts t = {kj_sdpa_part(4 * rows), kj_sdpa_part(4 * rows * dim),
                              kj_sdpa_part(one), kj_sdpa_part(one)};
    return t;
}

#endif
