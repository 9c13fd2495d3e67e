/* attn_mma.cu - attention on tensor cores: bfloat16, heads of 64 or 128, any GPU from
 * sm_80 on, always the same bits.
 *
 * After FlashAttention-2 (Dao 2023). Forward, a block has 64 queries of a head, a warp
 * 16 of them; blocks of 64 keys pass by in shared memory, two at a time, so that
 * the next one loads while this one is worked on; one barrier a round says both that
 * its block has arrived and that the one before is done with. The probabilities never leave
 * registers: an accumulator of S has just the layout that the next product wants as
 * its left operand.
 *
 * Backward in two passes, so that no sum is shared between blocks. One has 64 keys
 * of a key head and goes over the queries (32 at a time, head by head of the group):
 *     S' = K Q',  P' = exp(S' - lse),  dV += P' dO,
 *     dS' = P' (V dO' - dsum),         dK += dS' Q
 * The other has 64 queries of a head and goes over the keys, 32 at a time:
 *     dS = P (dO V' - dsum),           dQ += dS K
 * That is seven products where a pass with atomics needs five. Five in a fixed order were
 * considered: dQ of each key tile kept apart and added up afterwards is 0.8 MB a token and
 * layer at 4096 tokens and 24 heads of 128, written and read, 0.26 us at 3 TB/s for
 * 0.1 us of products saved; blocks that wait for their turn to add need the order in
 * which a GPU starts blocks, which nothing promises, and half of the gain goes in waiting.
 */
#include "nn/cuda/attn.cuh"

#define TILE    KJ_ATTN_TILE
#define THREADS 128
#define PAD     8 /* elements behind a row: the rows of a matrix lie in other banks */
#define LOG2E   1.44269504f
#define NEVER   -1.0e30f

using bf16 = struct kj_bf16;

struct call {
    const bf16 *q, *k, *v, *d_o;
    bf16 *o, *dq, *dk, *dv;
    float *lse;
    const float *dsum;
    size_t sq, sk, sv, so, sl, sdo, sdq, sdk, sdv;
    unsigned heads, kv_heads;
    float scale;
    struct kj_attn_segs seg;
};

/* ---- one warp's instructions ---- */

#if defined(KJ_CUDA_EMU)
#define mma(c, a, b)   kj_emu_mma(c, a, b)
#define ldm(r, p)      kj_emu_ldmatrix(r, p, false)
#define ldm_t(r, p)    kj_emu_ldmatrix(r, p, true)
#define copy16         kj_emu_copy
#define copies_end     kj_emu_copies_commit
#define copies_wait(n) kj_emu_copies_wait(n)
#else
KJ_DEV void mma(float *c, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
KJ_DEV void ldm(uint32_t *r, const bf16 *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(p))
                 : "memory");
}
KJ_DEV void ldm_t(uint32_t *r, const bf16 *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(p))
                 : "memory");
}
/* 16 bytes, of which the last 16 - bytes become 0 */
KJ_DEV void copy16(void *to, const void *from, unsigned bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes)
                 : "memory");
}
KJ_DEV void copies_end()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
#define copies_wait(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#endif

/* 2^x, 0 where that is below 2^-126: one instruction, where exp2f takes four. */
KJ_DEV float two_to(float x)
{
    float y;
#if defined(__CUDA_ARCH__)
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
#else
    y = exp2f(x);
    y = y < 1.17549435e-38f ? 0.0f : y;
#endif
    return y;
}

KJ_DEV uint32_t pack(float a, float b)
{
    return kj_pair(bf16(), a, b);
}

/* Rows [first, first + ROWS) of a head's matrix; those from `end` on become 0. */
template <int D, int ROWS>
KJ_DEV void tile_load(bf16 *to, const bf16 *x, size_t stride, int32_t first,
                      int32_t end)
{
    for (unsigned i = threadIdx.x; i < ROWS * (D / 8); i += THREADS) {
        int32_t row = (int32_t)(i / (D / 8));
        unsigned col = i % (D / 8) * 8;
        bool in = first + row < end;
        copy16(to + row * (D + PAD) + col,
               x + (size_t)(in ? first + row : first) * stride + col, in ? 16 : 0);
    }
}

/* Where a lane points ldmatrix at, for a 16x16 piece at row, col of a tile: as a left
 * operand (and, transposed, as a right one whose rows are summed over), or as a
 * right operand whose columns are summed over. */
template <int D> KJ_DEV const bf16 *left(const bf16 *tile, unsigned row, unsigned col)
{
    unsigned l = threadIdx.x % 32;
    return tile + (row + l % 16) * (D + PAD) + col + l / 16 * 8;
}
template <int D> KJ_DEV const bf16 *right(const bf16 *tile, unsigned row, unsigned col)
{
    unsigned l = threadIdx.x % 32;
    return tile + (row + l % 8 + l / 16 * 8) * (D + PAD) + col + l / 8 % 2 * 8;
}

/* s[N/8][4] += x, a piece of 16 rows from column k on, times the N rows of b. */
template <int D, int N>
KJ_DEV void add_columns(float (*s)[4], const uint32_t *x, const bf16 *b, unsigned k)
{
    uint32_t y[4];
#pragma unroll
    for (int j = 0; j < N / 16; j++) {
        ldm(y, right<D>(b, (unsigned)j * 16, k));
        mma(s[2 * j], x, y);
        mma(s[2 * j + 1], x, y + 2);
    }
}
template <int N> KJ_DEV void clear(float (*s)[4])
{
#pragma unroll
    for (int j = 0; j < N / 8; j++)
        s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
}

/* s[N/8][4] = 16 rows of a (from arow) times the N rows of b, over D. */
template <int D, int N>
KJ_DEV void rows_by_rows(float (*s)[4], const bf16 *a, unsigned arow, const bf16 *b)
{
    clear<N>(s);
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        uint32_t x[4];
        ldm(x, left<D>(a, arow, (unsigned)k));
        add_columns<D, N>(s, x, b, (unsigned)k);
    }
}

/* The same rows for many b: x are they, in registers. */
template <int D> KJ_DEV void rows_load(uint32_t (*x)[4], const bf16 *a, unsigned arow)
{
#pragma unroll
    for (int k = 0; k < D / 16; k++)
        ldm(x[k], left<D>(a, arow, (unsigned)k * 16));
}
template <int D, int N>
KJ_DEV void rows_by_rows(float (*s)[4], const uint32_t (*x)[4], const bf16 *b)
{
    clear<N>(s);
#pragma unroll
    for (int k = 0; k < D / 16; k++)
        add_columns<D, N>(s, x[k], b, (unsigned)k * 16);
}

/* acc[D/8][4] += s (16 by N, an accumulator, rounded) times the N rows of b. */
template <int D, int N>
KJ_DEV void add_by_rows(float (*acc)[4], const float (*s)[4], const bf16 *b)
{
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        const float *u = s[2 * k], *w = s[2 * k + 1];
        uint32_t x[4] = {pack(u[0], u[1]), pack(u[2], u[3]), pack(w[0], w[1]),
                         pack(w[2], w[3])};
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            uint32_t y[4];
            ldm_t(y, left<D>(b, (unsigned)k * 16, (unsigned)j * 16));
            mma(acc[2 * j], x, y);
            mma(acc[2 * j + 1], x, y + 2);
        }
    }
}

/* Rows g and g + 8 of an accumulator, below `end`, times f[0] and f[1]. */
template <int D>
KJ_DEV void tile_store(bf16 *to, size_t stride, int32_t first, int32_t end,
                       const float (*acc)[4], float f0, float f1)
{
    unsigned l = threadIdx.x % 32;
    for (int h = 0; h < 2; h++) {
        int32_t row = first + (int32_t)(l / 4) + 8 * h;
        if (row >= end)
            continue;
        float f = h ? f1 : f0;
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            *(uint32_t *)(to + (size_t)row * stride + j * 8 + l % 4 * 2) =
                pack(acc[j][2 * h] * f, acc[j][2 * h + 1] * f);
    }
}

/* Sums and maxima over the four lanes that share a row. */
KJ_DEV float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
KJ_DEV float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

/* A segment, from its own first row: lengths, and how far keys reach ahead. */
struct span {
    int32_t q0, k0, lq, lk, row;
};
KJ_DEV struct span span_of(const struct kj_attn_segs &s, const int32_t *tiles,
                           unsigned i)
{
    int32_t seg = tiles[2 * i];
    struct span p = {s.cu_q[seg], s.cu_k[seg], s.cu_q[seg + 1] - s.cu_q[seg],
                     s.cu_k[seg + 1] - s.cu_k[seg], tiles[2 * i + 1]};
    return p;
}

/* ---- forward ---- */

/* How many keys a query sees, of those of its segment. */
KJ_DEV int32_t sees(const struct call &c, const struct span &p, int32_t row)
{
    int32_t n = p.lk - p.lq + row + 1;
    return c.seg.full || n > p.lk ? p.lk : n;
}

/* Scores of 16 queries from `first` on by N keys from b on: NEVER where a query does not
 * see the key. Most pieces are seen whole, which the whole warp knows. */
template <int N>
KJ_DEV void hide(float (*s)[4], const struct call &c, const struct span &p,
                 int32_t first, int32_t b)
{
    unsigned l = threadIdx.x % 32;
    if (b + N <= sees(c, p, first))
        return;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int32_t end = sees(c, p, first + (int32_t)(l / 4) + 8 * h);
        end -= b + (int32_t)(l % 4) * 2;
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                s[j][2 * h + i] = j * 8 + i < end ? s[j][2 * h + i] : NEVER;
    }
}

/* Scores to what they weigh beside the largest so far, of row g (h 0) or g + 8: top, in
 * scores; the sum, a lane's part; and what is added up of values follow. f > 0. */
template <int D>
KJ_DEV void soften(float (*s)[4], float (*acc)[4], float *top, float *sum, int h,
                   float f)
{
    float most = *top, part = 0;
#pragma unroll
    for (int j = 0; j < TILE / 8; j++)
        most = fmaxf(most, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
    most = quad_max(most);
    float fix = two_to((*top - most) * f), base = most * f;
#pragma unroll
    for (int j = 0; j < TILE / 8; j++)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; i++) {
            s[j][i] = two_to(fmaf(s[j][i], f, -base));
            part += s[j][i];
        }
    *sum = *sum * fix + part;
    *top = most;
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
        acc[j][2 * h] *= fix;
        acc[j][2 * h + 1] *= fix;
    }
}

/* Two blocks of long heads are what registers hold, three of short ones; told so, the
 * assembler does not spill for more. Queries stay in registers, since ldmatrix is what
 * bounds a tile (docs/gpu.md), and come by way of what is the second buffer later. */
template <int D>
__global__ void __launch_bounds__(THREADS, D == 64 ? 3 : 2) k_mma_forward(struct call c)
{
    KJ_SHARED(bf16, sm);
    const int size = TILE * (D + PAD);
    bf16 *k = sm, *q = k + size, *v = k + 2 * size;
    unsigned head = blockIdx.x % c.heads, kh = head / (c.heads / c.kv_heads);
    /* The last tiles see the most keys: they go first. */
    struct span p =
        span_of(c.seg, c.seg.q_tiles, c.seg.n_q_tiles - 1 - blockIdx.x / c.heads);
    unsigned warp = threadIdx.x / 32, l = threadIdx.x % 32;
    const bf16 *kp = c.k + (size_t)p.k0 * c.sk + kh * D;
    const bf16 *vp = c.v + (size_t)p.k0 * c.sv + kh * D;
    int32_t first = p.row + (int32_t)warp * 16, end = sees(c, p, p.row + TILE - 1);
    float acc[D / 8][4] = {}, top[2] = {NEVER, NEVER}, sum[2] = {0, 0};
    float f = c.scale * LOG2E;
    uint32_t x[D / 16][4];

    tile_load<D, TILE>(q, c.q + (size_t)p.q0 * c.sq + head * D, c.sq, p.row, p.lq);
    tile_load<D, TILE>(k, kp, c.sk, 0, p.lk);
    tile_load<D, TILE>(v, vp, c.sv, 0, p.lk);
    copies_end();
    copies_wait(0);
    __syncthreads();
    rows_load<D>(x, q, warp * 16);
    for (int32_t b = 0, at = 0; b < end; b += TILE, at ^= 1) {
        float s[TILE / 8][4];
        copies_wait(0);
        __syncthreads();
        if (b + TILE < end) {
            tile_load<D, TILE>(k + (at ^ 1) * size, kp, c.sk, b + TILE, p.lk);
            tile_load<D, TILE>(v + (at ^ 1) * size, vp, c.sv, b + TILE, p.lk);
        }
        copies_end();
        rows_by_rows<D, TILE>(s, x, k + at * size);
        hide<TILE>(s, c, p, first, b);
        soften<D>(s, acc, &top[0], &sum[0], 0, f);
        soften<D>(s, acc, &top[1], &sum[1], 1, f);
        add_by_rows<D, TILE>(acc, s, v + at * size);
    }
    copies_wait(0);
    sum[0] = quad_sum(sum[0]);
    sum[1] = quad_sum(sum[1]);
    tile_store<D>(c.o + (size_t)p.q0 * c.so + head * D, c.so, first, p.lq, acc,
                  1.0f / sum[0], 1.0f / sum[1]);
    for (int h = 0; h < 2; h++) {
        int32_t row = first + (int32_t)(l / 4) + 8 * h;
        if (c.lse && l % 4 == 0 && row < p.lq)
            c.lse[(size_t)(p.q0 + row) * c.sl + head] =
                (top[h] * f + log2f(sum[h])) * 0.693147181f;
    }
}

/* ---- backward ---- */

#define STEP 32 /* queries or keys that pass by at a time */

/* Log sums (times log2 e) and dsum of STEP queries; 0 behind the end. */
KJ_DEV void stats_load(float *to, const struct call &c, const struct span &p, int32_t b,
                       unsigned head)
{
    if (threadIdx.x < STEP) {
        int32_t row = b + (int32_t)threadIdx.x;
        size_t at = (size_t)(p.q0 + row);
        bool in = row < p.lq;
        to[threadIdx.x] = in ? c.lse[at * c.sl + head] * LOG2E : 0.0f;
        to[STEP + threadIdx.x] = in ? c.dsum[at * c.heads + head] : 0.0f;
    }
}

/* Scores of 16 keys from `first` on by STEP queries, of which the first sees the keys up
 * to `last`: NEVER where a query does not see the key. What lies behind an end needs no
 * such: its elements, log sum and dsum are 0, so it adds 0 times 1. */
KJ_DEV void hide_before(float (*s)[4], const struct call &c, int32_t first,
                        int32_t last)
{
    unsigned l = threadIdx.x % 32;
    if (c.seg.full || first + 15 <= last)
        return;
    int32_t key = first + (int32_t)(l / 4) - last - (int32_t)(l % 4) * 2;
#pragma unroll
    for (int j = 0; j < STEP / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[j][i] = key + i / 2 * 8 <= j * 8 + i % 2 ? s[j][i] : NEVER;
}

template <int D> __global__ void __launch_bounds__(THREADS) k_mma_back_k(struct call c)
{
    KJ_SHARED(bf16, sm);
    const int size = TILE * (D + PAD), part = STEP * (D + PAD);
    bf16 *k = sm, *v = k + size, *q = v + size, *go = q + 2 * part;
    float *stats = (float *)(go + 2 * part); /* two times 2 * STEP */
    unsigned kh = blockIdx.x % c.kv_heads, group = c.heads / c.kv_heads;
    struct span p = span_of(c.seg, c.seg.k_tiles, blockIdx.x / c.kv_heads);
    unsigned warp = threadIdx.x / 32, l = threadIdx.x % 32;
    int32_t ahead = p.lk - p.lq, from = 0, first = p.row + (int32_t)warp * 16;
    if (!c.seg.full && p.row > ahead)
        from = (p.row - ahead) / STEP * STEP;
    int32_t steps = p.lq > from ? (p.lq - from + STEP - 1) / STEP : 0;
    float dk[D / 8][4] = {}, dv[D / 8][4] = {}, f = c.scale * LOG2E;

    tile_load<D, TILE>(k, c.k + (size_t)p.k0 * c.sk + kh * D, c.sk, p.row, p.lk);
    tile_load<D, TILE>(v, c.v + (size_t)p.k0 * c.sv + kh * D, c.sv, p.row, p.lk);
    int32_t all = steps * (int32_t)group;
    for (int32_t n = -1, at = 1; n < all; n++, at ^= 1) {
        float s[STEP / 8][4], dp[STEP / 8][4];
        copies_wait(0);
        __syncthreads();
        if (n + 1 < all) { /* the next one loads; the first comes with n = -1 */
            unsigned head = kh * group + (unsigned)((n + 1) / steps);
            int32_t b = from + (n + 1) % steps * STEP;
            tile_load<D, STEP>(q + (at ^ 1) * part,
                               c.q + (size_t)p.q0 * c.sq + head * D, c.sq, b, p.lq);
            tile_load<D, STEP>(go + (at ^ 1) * part,
                               c.d_o + (size_t)p.q0 * c.sdo + head * D, c.sdo, b, p.lq);
            stats_load(stats + (at ^ 1) * 2 * STEP, c, p, b, head);
        }
        copies_end();
        if (n < 0)
            continue;
        int32_t b = from + n % steps * STEP;
        const float *lse = stats + at * 2 * STEP, *dsum = lse + STEP;
        rows_by_rows<D, STEP>(s, k, warp * 16, q + at * part);
        rows_by_rows<D, STEP>(dp, v, warp * 16, go + at * part);
        hide_before(s, c, first, b + ahead);
#pragma unroll
        for (int j = 0; j < STEP / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                unsigned x = (unsigned)j * 8 + l % 4 * 2 + i % 2;
                s[j][i] = two_to(fmaf(s[j][i], f, -lse[x]));
                dp[j][i] = s[j][i] * (dp[j][i] - dsum[x]);
            }
        add_by_rows<D, STEP>(dv, s, go + at * part);
        add_by_rows<D, STEP>(dk, dp, q + at * part);
    }
    copies_wait(0);
    tile_store<D>(c.dk + (size_t)p.k0 * c.sdk + kh * D, c.sdk, first, p.lk, dk, c.scale,
                  c.scale);
    tile_store<D>(c.dv + (size_t)p.k0 * c.sdv + kh * D, c.sdv, first, p.lk, dv, 1.0f,
                  1.0f);
}

template <int D> __global__ void __launch_bounds__(THREADS) k_mma_back_q(struct call c)
{
    KJ_SHARED(bf16, sm);
    const int size = TILE * (D + PAD), part = STEP * (D + PAD);
    bf16 *q = sm, *go = q + size, *k = go + size, *v = k + 2 * part;
    unsigned head = blockIdx.x % c.heads, kh = head / (c.heads / c.kv_heads);
    struct span p =
        span_of(c.seg, c.seg.q_tiles, c.seg.n_q_tiles - 1 - blockIdx.x / c.heads);
    unsigned warp = threadIdx.x / 32, l = threadIdx.x % 32;
    const bf16 *kp = c.k + (size_t)p.k0 * c.sk + kh * D;
    const bf16 *vp = c.v + (size_t)p.k0 * c.sv + kh * D;
    int32_t first = p.row + (int32_t)warp * 16, end = sees(c, p, p.row + TILE - 1);
    float dq[D / 8][4] = {}, lse[2], dsum[2], f = c.scale * LOG2E;
    uint32_t x[D / 16][4], y[D / 16][4];

    tile_load<D, TILE>(q, c.q + (size_t)p.q0 * c.sq + head * D, c.sq, p.row, p.lq);
    tile_load<D, TILE>(go, c.d_o + (size_t)p.q0 * c.sdo + head * D, c.sdo, p.row, p.lq);
    tile_load<D, STEP>(k, kp, c.sk, 0, p.lk);
    tile_load<D, STEP>(v, vp, c.sv, 0, p.lk);
    copies_end();
    for (int h = 0; h < 2; h++) {
        int32_t row = first + (int32_t)(l / 4) + 8 * h;
        bool in = row < p.lq;
        size_t at = (size_t)(p.q0 + row);
        lse[h] = in ? c.lse[at * c.sl + head] * LOG2E : 0.0f;
        dsum[h] = in ? c.dsum[at * c.heads + head] : 0.0f;
    }
    copies_wait(0);
    __syncthreads();
    rows_load<D>(x, q, warp * 16);
    rows_load<D>(y, go, warp * 16);
    for (int32_t b = 0, at = 0; b < end; b += STEP, at ^= 1) {
        float s[STEP / 8][4], dp[STEP / 8][4];
        copies_wait(0);
        __syncthreads();
        if (b + STEP < end) {
            tile_load<D, STEP>(k + (at ^ 1) * part, kp, c.sk, b + STEP, p.lk);
            tile_load<D, STEP>(v + (at ^ 1) * part, vp, c.sv, b + STEP, p.lk);
        }
        copies_end();
        rows_by_rows<D, STEP>(s, x, k + at * part);
        rows_by_rows<D, STEP>(dp, y, v + at * part);
        hide<STEP>(s, c, p, first, b);
#pragma unroll
        for (int j = 0; j < STEP / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                dp[j][i] =
                    two_to(fmaf(s[j][i], f, -lse[i / 2])) * (dp[j][i] - dsum[i / 2]);
        add_by_rows<D, STEP>(dq, dp, k + at * part);
    }
    copies_wait(0);
    tile_store<D>(c.dq + (size_t)p.q0 * c.sdq + head * D, c.sdq, first, p.lq, dq,
                  c.scale, c.scale);
}

/* ---- the path ---- */

static bool takes(struct kj_cuda *, const struct kj_attn *a,
                  const struct kj_attn_grad *g, enum kj_dtype type)
{
    /* The largest product is that of the largest score where the scale is above 0. */
    return type == KJ_BF16 && (a->dim == 64 || a->dim == 128) && a->scale > 1e-6f &&
           kj_all_aligned(8, 8, a->q, a->k, a->v, a->o) &&
           (!g || kj_all_aligned(8, 8, g->d_o, g->dq, g->dk, g->dv));
}

static struct call call_of(const struct kj_attn *a, const struct kj_attn_segs *s)
{
    struct call c = {};
    c.q = kj_ptr<bf16>(a->q);
    c.k = kj_ptr<bf16>(a->k);
    c.v = kj_ptr<bf16>(a->v);
    c.o = kj_ptr<bf16>(a->o);
    c.lse = kj_ptr<float>(a->lse);
    c.sq = a->q.stride;
    c.sk = a->k.stride;
    c.sv = a->v.stride;
    c.so = a->o.stride;
    c.sl = a->lse.stride;
    c.heads = (unsigned)a->heads;
    c.kv_heads = (unsigned)a->kv_heads;
    c.scale = a->scale;
    c.seg = *s;
    return c;
}

static void forward(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_segs *s, enum kj_dtype)
{
    struct call t = call_of(a, s);
    size_t blocks = (size_t)s->n_q_tiles * a->heads;
    size_t shared = 4 * TILE * (a->dim + PAD) * sizeof(bf16);
    kj_launch(c, a->dim == 64 ? k_mma_forward<64> : k_mma_forward<128>, blocks, THREADS,
              shared, t);
}

static void backward(struct kj_cuda *c, const struct kj_attn *a,
                     const struct kj_attn_grad *g, const struct kj_attn_segs *s,
                     const float *dsum, enum kj_dtype)
{
    struct call t = call_of(a, s);
    t.d_o = kj_ptr<bf16>(g->d_o);
    t.dq = kj_ptr<bf16>(g->dq);
    t.dk = kj_ptr<bf16>(g->dk);
    t.dv = kj_ptr<bf16>(g->dv);
    t.sdo = g->d_o.stride;
    t.sdq = g->dq.stride;
    t.sdk = g->dk.stride;
    t.sdv = g->dv.stride;
    t.dsum = dsum;
    size_t shared = (2 * TILE + 4 * STEP) * (a->dim + PAD) * sizeof(bf16);
    kj_launch(c, a->dim == 64 ? k_mma_back_k<64> : k_mma_back_k<128>,
              (size_t)s->n_k_tiles * a->kv_heads, THREADS,
              shared + 4 * STEP * sizeof(float), t);
    kj_launch(c, a->dim == 64 ? k_mma_back_q<64> : k_mma_back_q<128>,
              (size_t)s->n_q_tiles * a->heads, THREADS, shared, t);
}

const struct kj_attn_path kj_attn_mma = {"mma", true, takes, forward, backward};
