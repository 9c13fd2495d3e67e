/* gemm.cu - operations that are matrix products.
 *
 * By cuBLASLt (gemm_plan.cu), or where it has no algorithm by a plain kernel
 * (gemm_own.cu).
 *
 * A linear map's bias, and an activation that the library has, are its epilogues: added
 * in float32 before the one rounding. Its GELU is the approximation by tanh.
 *
 * FP8 comes in the one layout that Hopper has: both operands' rows along k (A B', so the
 * library's "TN"). Their scales lie in device memory.
 */
#include "nn/cuda/dev.cuh"
#include "nn/cuda/gemm.cuh"

#include <cstring>

static uint32_t alignment(const void *p)
{
    uintptr_t x = (uintptr_t)p;
    uint32_t low = (uint32_t)(x & (~x + 1) & 511u);
    return low == 0 || low > 256 ? 256 : low;
}

static const char *place(struct kj_mat m)
{
    return (const char *)m.t->p + m.at * kj_width(m.t->type);
}

/* Operands of KJ_MM_BF16 as bfloat16, in buffers of their own: rows of a multiple of
 * 8, so that what follows is aligned. */
static bool rounded(struct kj_cuda *c, struct kj_mat *a, size_t ra, size_t ca,
                    struct kj_mat *b, size_t rb, size_t cb, struct kj_tensor t[2])
{
    size_t sa = kj_ceil(ca, 8) * 8, sb = kj_ceil(cb, 8) * 8;
    struct kj_bf16 *p = (struct kj_bf16 *)kj_cuda_scratch(
        c, &c->rounded, (ra * sa + rb * sb) * sizeof *p);
    if (!p)
        return false;
    kj_cuda_round(c, p, sa, *a, ra, ca);
    kj_cuda_round(c, p + ra * sa, sb, *b, rb, cb);
    t[0] = {KJ_BF16, ra * sa, p, false};
    t[1] = {KJ_BF16, rb * sb, p + ra * sa, false};
    *a = kj_mat(&t[0], 0, sa);
    *b = kj_mat(&t[1], 0, sb);
    return !c->base.fault.rc;
}

/* The rest of the key: alignments; then by its plan. */
static void product_as_is(struct kj_cuda *c, struct kj_gemm_key *key, struct kj_mat cc,
                          struct kj_mat a, struct kj_mat bb, const float *sa,
                          const float *sb)
{
    struct kj_gemm_operands o = {
        place(a), place(bb), place(cc), (void *)(uintptr_t)place(cc), sa, sb, NULL};
    key->type = a.t->type;
    key->type_b = bb.t->type;
    key->type_c = cc.t->type;
    key->align[0] = alignment(o.a);
    key->align[1] = alignment(o.b);
    key->align[2] = alignment(o.to);
    if (!kj_gemm_library(c, key, &o))
        kj_gemm_own(c, key, &o);
}

/* Floats of a product that waits to be added by chance: 16 MB, which plans do not count
 * (they keep more in reserve). */
#if defined(KJ_CUDA_EMU)
#define CHANCE_FLOATS ((size_t)1 << 10)
#else
#define CHANCE_FLOATS ((size_t)4 << 20)
#endif

/* The same; but what is added to bfloat16 by chance is made in float32 first, as many
 * rows at a time as lie in little memory. */
static void product(struct kj_cuda *c, struct kj_gemm_key *key, struct kj_mat cc,
                    struct kj_mat a, struct kj_mat bb, const float *sa, const float *sb)
{
    if (!(key->flags & KJ_MM_ADD) || cc.t->type != KJ_BF16 || !c->base.chance) {
        product_as_is(c, key, cc, a, bb, sa, sb);
        return;
    }
    size_t m = key->m, wide = kj_ceil(key->n, 16) * 16;
    size_t most = CHANCE_FLOATS / wide / 16 * 16, per = most < 16 ? 16 : most;
    per = per < m ? per : m;
    struct kj_tensor t = {KJ_F32, per * wide, NULL, false};
    t.p = kj_cuda_scratch(c, &c->scratch, per * wide * sizeof(float));
    key->flags &= ~(uint32_t)KJ_MM_ADD;
    key->ldc = wide;
    for (size_t i = 0; t.p && i < m && !c->base.fault.rc; i += per) {
        key->m = m - i < per ? m - i : per;
        product_as_is(c, key, kj_mat(&t, 0, wide), a, bb, sa, sb);
        kj_cuda_add_by_chance(c, kj_mat(cc.t, cc.at + i * cc.stride, cc.stride),
                              (const float *)t.p, wide, key->m, key->n);
        a.at += per * (key->flags & KJ_MM_TA ? 1 : a.stride);
    }
}

void kj_cuda_matmul(struct kj_backend *b, struct kj_mat cc, struct kj_mat a,
                    struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags)
{
    struct kj_cuda *c = kj_cuda_of(b);
    bool ta = flags & KJ_MM_TA, tb = flags & KJ_MM_TB;
    enum kj_dtype type = kj_cuda_type(a), type_c = kj_cuda_type(cc);
    if (m == 0 || n == 0 || !kj_cuda_op(c, "matmul", m, n, k) ||
        !kj_cuda_inside(c, cc, type_c, m, n) ||
        !kj_cuda_inside(c, a, type, ta ? k : m, ta ? m : k) ||
        !kj_cuda_inside(c, bb, type, tb ? n : k, tb ? k : n))
        return;
    if (type == KJ_F32 && type_c != KJ_F32) {
        kj_cuda_fault(c, "float32 operands give a float32 product");
        return;
    }
    for (size_t i = 0; k == 0 && !(flags & KJ_MM_ADD) && i < m; i++)
        c->base.ops->zero(b, kj_mat(cc.t, cc.at + i * cc.stride, n), n);
    if (k == 0)
        return;
    struct kj_tensor t[2];
    if ((flags & KJ_MM_BF16) && type == KJ_F32 &&
        !rounded(c, &a, ta ? k : m, ta ? m : k, &bb, tb ? n : k, tb ? k : n, t))
        return;
    struct kj_gemm_key key;
    memset(&key, 0, sizeof key); /* padding takes part in the comparison */
    key.m = m;
    key.n = n;
    key.k = k;
    /* The stride of a single row may be anything. */
    key.lda = (ta ? k : m) == 1 ? (ta ? m : k) : a.stride;
    key.ldb = (tb ? n : k) == 1 ? (tb ? k : n) : bb.stride;
    key.ldc = m == 1 ? n : cc.stride;
    key.flags = flags & (KJ_MM_TA | KJ_MM_TB | KJ_MM_ADD);
    product(c, &key, cc, a, bb, NULL, NULL);
}

/* The library's epilogue for that; 0: it has none. */
static uint32_t epilogue(enum kj_act act)
{
    return act == KJ_ACT_NONE        ? CUBLASLT_EPILOGUE_BIAS
           : act == KJ_ACT_RELU      ? CUBLASLT_EPILOGUE_RELU_BIAS
           : act == KJ_ACT_GELU_TANH ? CUBLASLT_EPILOGUE_GELU_BIAS
                                     : 0;
}

/* False: there is no algorithm, and nothing was done. */
static bool with_epilogue(struct kj_cuda *c, struct kj_mat y, struct kj_mat x,
                          struct kj_mat w, struct kj_mat bias, size_t n, size_t out,
                          size_t in, enum kj_act act)
{
    struct kj_gemm_key key;
    memset(&key, 0, sizeof key);
    key.epilogue = epilogue(act);
    if (!key.epilogue)
        return false;
    struct kj_gemm_operands o = {
        place(x), place(w), place(y),   (void *)(uintptr_t)place(y),
        NULL,     NULL,     place(bias)};
    key.m = n;
    key.n = out;
    key.k = in;
    key.lda = n == 1 ? in : x.stride;
    key.ldb = out == 1 ? in : w.stride;
    key.ldc = n == 1 ? out : y.stride;
    key.flags = KJ_MM_TB;
    key.type = key.type_b = key.type_c = y.t->type;
    key.align[0] = alignment(o.a);
    key.align[1] = alignment(o.b);
    key.align[2] = alignment(o.to);
    key.align[3] = alignment(o.bias);
    return kj_gemm_library(c, &key, &o);
}

void kj_cuda_linear(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                    struct kj_mat w, struct kj_mat bias, size_t n, size_t out,
                    size_t in, enum kj_act act)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (n == 0 || out == 0 || in == 0 || !kj_cuda_op(c, "linear", n, out, in) ||
        !kj_cuda_inside(c, y, type, n, out) || !kj_cuda_inside(c, x, type, n, in) ||
        !kj_cuda_inside(c, w, type, out, in) ||
        !kj_cuda_inside(c, bias, type, 1, out) ||
        with_epilogue(c, y, x, w, bias, n, out, in, act))
        return;
    kj_cuda_matmul(b, y, x, w, n, out, in, KJ_MM_TB);
    kj_cuda_bias_act(b, y, bias, n, out, act);
}

void kj_cuda_matmul_f8(struct kj_backend *b, struct kj_mat cc, struct kj_mat a,
                       struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                       size_t n, size_t k, unsigned flags)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (m == 0 || n == 0 || k == 0 || !kj_cuda_op(c, "matmul_f8", m, n, k) ||
        !kj_cuda_inside(c, cc, kj_cuda_type(cc), m, n) ||
        !kj_cuda_f8_inside(c, a, m, k) || !kj_cuda_f8_inside(c, bb, n, k) ||
        !kj_cuda_inside(c, sa, KJ_F32, 1, 1) || !kj_cuda_inside(c, sb, KJ_F32, 1, 1))
        return;
    if (a.t->type == KJ_E5M2 && bb.t->type == KJ_E5M2) {
        kj_cuda_fault(c, "one operand must be E4M3");
        return;
    }
    struct kj_gemm_key key;
    memset(&key, 0, sizeof key);
    key.m = m;
    key.n = n;
    key.k = kj_ceil(k, 16) * 16;
    key.lda = m == 1 ? key.k : a.stride;
    key.ldb = n == 1 ? key.k : bb.stride;
    key.ldc = m == 1 ? kj_ceil(n, 16) * 16 : cc.stride;
    key.flags = KJ_MM_TB | (flags & (KJ_MM_ADD | KJ_MM_FAST));
    product(c, &key, cc, a, bb, kj_ptr<float>(sa), kj_ptr<float>(sb));
}
