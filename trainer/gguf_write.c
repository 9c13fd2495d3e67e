/* gguf_write.c - a model of the hub's layout as one GGUF file.
 *
 * Rows of q and k are put in another order: the hub's rotary pairs are elements i
 * and i + d/2 of a head, GGUF's for "llama" are 2i and 2i + 1. Llama 3.1's rope scaling is
 * a tensor there, the number that each pair's speed is divided by.
 */
#include "trainer/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/output.h"
#include "trainer/rope.h"

#define ALIGN      32u
#define HEADER_MAX ((size_t)1 << 30)

void kj_gguf_put_le(struct kj_buf *b, uint64_t v, unsigned bytes)
{
    char x[8];
    for (unsigned i = 0; i < bytes; i++)
        x[i] = (char)(v >> (8 * i));
    kj_buf_add(b, x, bytes);
}

void kj_gguf_put_text(struct kj_buf *b, const char *p, size_t n)
{
    kj_gguf_put_le(b, n, 8);
    kj_buf_add(b, p, n);
}

void kj_gguf_put_key(struct kj_buf *b, const char *key, enum kj_gguf_kind kind)
{
    kj_gguf_put_text(b, key, strlen(key));
    kj_gguf_put_le(b, kind, 4);
}

static uint32_t bits(double v)
{
    float f = (float)v;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Keys of the model; how many. */
static uint64_t put_keys(struct kj_buf *b, const struct kj_parent *p, bool f16)
{
    const struct kj_shape *s = &p->config.shape;
    const struct {
        const char *key;
        int64_t v;
    } ints[] = {{"general.file_type", f16},
                {"llama.block_count", s->layers},
                {"llama.context_length", s->max_positions},
                {"llama.embedding_length", s->hidden},
                {"llama.feed_forward_length", s->ffn},
                {"llama.attention.head_count", s->heads},
                {"llama.attention.head_count_kv", s->kv_heads},
                {"llama.attention.key_length", s->head_dim},
                {"llama.attention.value_length", s->head_dim},
                {"llama.rope.dimension_count", s->head_dim},
                {"llama.vocab_size", s->vocab_size}};
    const struct {
        const char *key;
        double v;
    } reals[] = {{"llama.attention.layer_norm_rms_epsilon", s->norm_eps},
                 {"llama.rope.freq_base", s->rope_theta},
                 {"llama.rope.scaling.factor", s->rope_factor},
                 {"llama.rope.scaling.yarn_beta_fast", s->rope_beta_fast},
                 {"llama.rope.scaling.yarn_beta_slow", s->rope_beta_slow}};
    const char *slash = strrchr(p->dir, '/'), *name = slash ? slash + 1 : p->dir;
    bool scaled = s->rope_factor > 1, yarn = scaled && s->rope_type == KJ_ROPE_YARN,
         linear = scaled && s->rope_type == KJ_ROPE_LINEAR;
    size_t n_ints = sizeof ints / sizeof *ints, n_reals = yarn ? 5 : linear ? 3 : 2;
    kj_gguf_put_key(b, "general.architecture", KJ_GGUF_STR);
    kj_gguf_put_text(b, "llama", 5);
    kj_gguf_put_key(b, "general.name", KJ_GGUF_STR);
    kj_gguf_put_text(b, name, strlen(name));
    for (size_t i = 0; i < n_ints; i++) {
        kj_gguf_put_key(b, ints[i].key, KJ_GGUF_U32);
        kj_gguf_put_le(b, (uint64_t)ints[i].v, 4);
    }
    for (size_t i = 0; i < n_reals; i++) {
        kj_gguf_put_key(b, reals[i].key, KJ_GGUF_F32);
        kj_gguf_put_le(b, bits(reals[i].v), 4);
    }
    if (yarn || linear) {
        const char *type = yarn ? "yarn" : "linear";
        kj_gguf_put_key(b, "llama.rope.scaling.type", KJ_GGUF_STR);
        kj_gguf_put_text(b, type, strlen(type));
    }
    if (yarn) {
        kj_gguf_put_key(b, "llama.rope.scaling.original_context_length", KJ_GGUF_U32);
        kj_gguf_put_le(b, (uint64_t)s->rope_original, 4);
    }
    return 2 + n_ints + n_reals + yarn + (yarn || linear);
}

/* The format's name of a parameter. */
static void name_of(const struct kj_param *p, char *out, size_t n)
{
    static const char *const names[][2] = {{"embed_tokens", "token_embd"},
                                           {"model.norm", "output_norm"},
                                           {"lm_head", "output"},
                                           {"input_layernorm", "attn_norm"},
                                           {"q_proj", "attn_q"},
                                           {"k_proj", "attn_k"},
                                           {"v_proj", "attn_v"},
                                           {"o_proj", "attn_output"},
                                           {"post_attention_layernorm", "ffn_norm"},
                                           {"gate_proj", "ffn_gate"},
                                           {"up_proj", "ffn_up"},
                                           {"down_proj", "ffn_down"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(p->name, names[i][0])) {
            if (p->layer >= 0)
                snprintf(out, n, "blk.%d.%s.weight", p->layer, names[i][1]);
            else
                snprintf(out, n, "%s.weight", names[i][1]);
            return;
        }
}

static uint64_t padded(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t bytes_of(const struct kj_param *p, bool f16)
{
    return (uint64_t)p->rows * p->cols * (f16 && !p->vector ? 2 : 4);
}

/* speeds: how many; 0: the model has no such tensor. It comes last. */
static void put_tensors(struct kj_buf *b, const struct kj_param *p, size_t n, bool f16,
                        size_t speeds)
{
    static const char rope[] = "rope_freqs.weight";
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        char name[64] = "";
        name_of(&p[i], name, sizeof name);
        kj_gguf_put_text(b, name, strlen(name));
        kj_gguf_put_le(b, p[i].vector ? 1 : 2, 4);
        kj_gguf_put_le(b, p[i].cols, 8);
        if (!p[i].vector)
            kj_gguf_put_le(b, p[i].rows, 8);
        kj_gguf_put_le(b, f16 && !p[i].vector ? KJ_GGUF_F16_T : KJ_GGUF_F32_T, 4);
        kj_gguf_put_le(b, at, 8);
        at += padded(bytes_of(&p[i], f16));
    }
    if (speeds) {
        kj_gguf_put_text(b, rope, sizeof rope - 1);
        kj_gguf_put_le(b, 1, 4);
        kj_gguf_put_le(b, speeds, 8);
        kj_gguf_put_le(b, KJ_GGUF_F32_T, 4);
        kj_gguf_put_le(b, at, 8);
    }
}

/* Round to nearest even; false when it is too large. */
static bool to_half(float f, uint16_t *out)
{
    uint32_t u, sign, half, rest, mid;
    memcpy(&u, &f, sizeof u);
    sign = u >> 16 & 0x8000u;
    int e = (int)(u >> 23 & 255) - 112;
    uint32_t m = u & 0x7FFFFFu;
    if (e >= 31)
        return false;
    if (e < -10) {
        half = rest = 0;
        mid = 1;
    } else if (e <= 0) { /* below the least normal number */
        unsigned shift = (unsigned)(14 - e);
        m |= 0x800000u;
        half = m >> shift;
        mid = 1u << (shift - 1);
        rest = m & (2 * mid - 1);
    } else {
        half = (uint32_t)e << 10 | m >> 13;
        rest = m & 0x1FFFu;
        mid = 0x1000u;
    }
    half += rest > mid || (rest == mid && (half & 1));
    *out = (uint16_t)(sign | half);
    return half < 0x7C00u;
}

static int put_row(struct kj_output *o, const struct kj_param *p, float *x, bool f16,
                   struct kj_err *err)
{
    size_t n = p->cols;
    if (f16 && !p->vector) {
        unsigned char *to = (unsigned char *)x; /* half as long: never ahead */
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            float f = x[i];
            if (!to_half(f, &h))
                return kj_err_set(err, KJ_FAIL, "%s holds %g, which no f16 can hold",
                                  p->name, (double)f);
            to[2 * i] = (unsigned char)h;
            to[2 * i + 1] = (unsigned char)(h >> 8);
        }
        return kj_output_write(o, (char *)x, 2 * n, err);
    }
    return kj_output_write(o, (char *)x, 4 * n, err);
}

static int put_data(struct kj_output *o, const struct kj_parent *p,
                    const struct kj_param *q, bool f16, struct kj_err *err)
{
    static const char zeros[ALIGN] = {0};
    const struct kj_st_tensor *t = kj_weights_find(p->weights, q->name);
    bool turn = strstr(q->name, "q_proj") || strstr(q->name, "k_proj");
    size_t d = (size_t)p->config.shape.head_dim;
    float *x = kj_xmalloc(q->cols * sizeof *x);
    int rc = KJ_OK;
    for (size_t r = 0; r < q->rows && rc == KJ_OK; r++) {
        size_t i = r % d, from = turn ? r - i + i % 2 * (d / 2) + i / 2 : r;
        rc = kj_st_floats(t, (uint64_t)from * q->cols, x, q->cols, err);
        if (rc == KJ_OK)
            rc = put_row(o, q, x, f16, err);
    }
    free(x);
    uint64_t n = bytes_of(q, f16);
    return rc ? rc : kj_output_write(o, zeros, (size_t)(padded(n) - n), err);
}

static int put_speeds(struct kj_output *o, const struct kj_shape *s, size_t n,
                      struct kj_err *err)
{
    static const char zeros[ALIGN] = {0};
    double *speed = kj_xcalloc(n, sizeof *speed);
    float *x = kj_xcalloc(n, sizeof *x);
    kj_rope_speeds(s, speed);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(pow(s->rope_theta, -(double)i / (double)n) / speed[i]);
    int rc = kj_output_write(o, (char *)x, n * sizeof *x, err);
    free(x);
    free(speed);
    return rc ? rc
              : kj_output_write(o, zeros, padded(n * sizeof *x) - n * sizeof *x, err);
}

int kj_gguf_write(const struct kj_parent *p, const char *path, bool f16,
                  const char **why, struct kj_err *err)
{
    size_t n;
    const struct kj_shape *s = &p->config.shape;
    struct kj_param *q = kj_llama_params(s, &n, NULL);
    size_t speeds = s->rope_factor > 1 && s->rope_type == KJ_ROPE_LLAMA3
                        ? (size_t)s->head_dim / 2
                        : 0;
    struct kj_buf b, keys;
    struct kj_output *o = NULL;
    uint64_t more = 0;
    kj_buf_init(&b, HEADER_MAX);
    kj_buf_init(&keys, HEADER_MAX);
    uint64_t count = put_keys(&keys, p, f16);
    int rc = kj_gguf_put_tokenizer(p, &keys, &more, why, err);
    kj_buf_addz(&b, "GGUF");
    kj_gguf_put_le(&b, 3, 4);
    kj_gguf_put_le(&b, n + (speeds > 0), 8);
    kj_gguf_put_le(&b, count + more, 8);
    kj_buf_add(&b, keys.p, keys.n);
    put_tensors(&b, q, n, f16, speeds);
    while (b.n % ALIGN && kj_buf_addc(&b, 0) == KJ_OK)
        ;
    if (rc == KJ_OK && (b.n % ALIGN || b.n + 64 > HEADER_MAX))
        rc = kj_err_set(err, KJ_FAIL, "the tokenizer is too large for one header");
    if (rc == KJ_OK)
        rc = kj_output_open(&o, path, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, b.p, b.n, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = put_data(o, p, &q[i], f16, err);
    if (rc == KJ_OK && speeds)
        rc = put_speeds(o, s, speeds, err);
    if (rc == KJ_OK)
        rc = kj_output_commit(o, err);
    else
        kj_output_abort(o);
    kj_buf_release(&b);
    kj_buf_release(&keys);
    free(q);
    return rc;
}
