/* gguf_check.c - is a GGUF file a whole Llama? */
#include "trainer/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define COPY_FLOATS ((size_t)1 << 16)

static int read_shape(const struct kj_gguf *g, struct kj_shape *s, struct kj_err *err)
{
    if (!kj_str_is(kj_gguf_text(g, "general.architecture"), "llama"))
        return kj_err_set(err, KJ_FAIL, "general.architecture is not llama");
    const struct kj_gguf_tensor *e = kj_gguf_find(g, "token_embd.weight");
    *s = (struct kj_shape){
        .vocab_size =
            e && e->rank == 2 && e->dims[1] <= INT32_MAX ? (int64_t)e->dims[1] : 0,
        .hidden = kj_gguf_int(g, "llama.embedding_length", 0),
        .ffn = kj_gguf_int(g, "llama.feed_forward_length", 0),
        .layers = kj_gguf_int(g, "llama.block_count", 0),
        .heads = kj_gguf_int(g, "llama.attention.head_count", 0),
        .max_positions = kj_gguf_int(g, "llama.context_length", 0),
        .norm_eps = kj_gguf_real(g, "llama.attention.layer_norm_rms_epsilon", 0),
        .rope_theta = kj_gguf_real(g, "llama.rope.freq_base", 10000),
        .tied = !kj_gguf_find(g, "output.weight"),
    };
    s->kv_heads = kj_gguf_int(g, "llama.attention.head_count_kv", s->heads);
    s->head_dim = kj_gguf_int(g, "llama.attention.key_length",
                              s->heads > 0 ? s->hidden / s->heads : 0);
    if (!(s->norm_eps > 0))
        return kj_err_set(err, KJ_FAIL,
                          "llama.attention.layer_norm_rms_epsilon is missing");
    if (kj_gguf_int(g, "llama.rope.dimension_count", s->head_dim) != s->head_dim ||
        kj_gguf_int(g, "llama.attention.value_length", s->head_dim) != s->head_dim)
        return kj_err_set(err, KJ_FAIL, "heads of several widths are not supported");
    return kj_shape_check(s, err);
}

static int check_tensor(const struct kj_gguf *g, const char *name, uint64_t cols,
                        uint64_t rows, float *x, struct kj_err *err)
{
    const struct kj_gguf_tensor *t = kj_gguf_find(g, name);
    if (!t)
        return kj_err_set(err, KJ_FAIL, "tensor %s is missing", name);
    if (t->dims[0] != cols ||
        (rows ? t->rank != 2 || t->dims[1] != rows : t->rank != 1))
        return kj_err_set(err, KJ_FAIL, "tensor %s should be %llu x %llu", name,
                          (unsigned long long)cols, (unsigned long long)rows);
    bool plain = t->type == KJ_GGUF_F32_T || t->type == KJ_GGUF_F16_T ||
                 t->type == KJ_GGUF_BF16_T;
    for (uint64_t at = 0; at < t->elements && plain; at += COPY_FLOATS) {
        uint64_t left = t->elements - at;
        size_t n = left < COPY_FLOATS ? (size_t)left : COPY_FLOATS;
        int rc = kj_gguf_floats(t, at, x, n, err);
        for (size_t i = 0; i < n && rc == KJ_OK; i++)
            if (!isfinite(x[i]))
                rc = kj_err_set(err, KJ_FAIL, "tensor %s holds %g", name, (double)x[i]);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

static int check_tensors(const struct kj_gguf *g, const struct kj_shape *s,
                         struct kj_err *err)
{
    uint64_t h = (uint64_t)s->hidden, f = (uint64_t)s->ffn, v = (uint64_t)s->vocab_size;
    uint64_t q = (uint64_t)(s->heads * s->head_dim);
    uint64_t kv = (uint64_t)(s->kv_heads * s->head_dim);
    const struct {
        const char *name;
        uint64_t cols, rows;
    } block[] = {{"attn_norm", h, 0}, {"attn_q", h, q},      {"attn_k", h, kv},
                 {"attn_v", h, kv},   {"attn_output", q, h}, {"ffn_norm", h, 0},
                 {"ffn_gate", h, f},  {"ffn_up", h, f},      {"ffn_down", f, h}};
    const size_t per = sizeof block / sizeof *block;
    float *x = kj_xmalloc(COPY_FLOATS * sizeof *x);
    int rc = check_tensor(g, "token_embd.weight", h, v, x, err);
    if (rc == KJ_OK)
        rc = check_tensor(g, "output_norm.weight", h, 0, x, err);
    if (rc == KJ_OK && !s->tied)
        rc = check_tensor(g, "output.weight", h, v, x, err);
    for (int l = 0; l < (int)s->layers && rc == KJ_OK; l++)
        for (size_t i = 0; i < per && rc == KJ_OK; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, block[i].name);
            rc = check_tensor(g, name, block[i].cols, block[i].rows, x, err);
        }
    bool speeds = kj_gguf_find(g, "rope_freqs.weight"); /* Llama 3.1's scaling */
    if (rc == KJ_OK && speeds)
        rc = check_tensor(g, "rope_freqs.weight", (uint64_t)s->head_dim / 2, 0, x, err);
    free(x);
    /* All of ours are there and no name is double: equal counts, equal sets. */
    size_t want = 2 + speeds + !s->tied + (size_t)s->layers * per;
    if (rc == KJ_OK && kj_gguf_tensors(g) != want)
        rc = kj_err_set(err, KJ_FAIL, "%zu tensors have no place in a Llama",
                        kj_gguf_tensors(g) - want);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    const struct kj_str *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* Each merge is two tokens with a space between. */
static int check_merges(const struct kj_gguf_value *merges, const struct kj_str *sorted,
                        size_t n, struct kj_err *err)
{
    struct kj_str m;
    for (size_t at = 0; kj_gguf_next_text(merges, &at, &m);) {
        const char *sp = m.n ? memchr(m.p, ' ', m.n) : NULL;
        struct kj_str half[2] = {{m.p, sp ? (size_t)(sp - m.p) : 0}, {NULL, 0}};
        if (sp)
            half[1] = (struct kj_str){sp + 1, m.n - half[0].n - 1};
        for (int i = 0; i < 2; i++)
            if (!sp || !bsearch(&half[i], sorted, n, sizeof *sorted, by_text))
                return kj_err_set(err, KJ_FAIL, "merge \"%.*s\" is not of two tokens",
                                  (int)(m.n < 80 ? m.n : 80), m.p);
    }
    return KJ_OK;
}

static int check_tokenizer(const struct kj_gguf *g, const struct kj_shape *s,
                           struct kj_err *err)
{
    const struct kj_gguf_value *tokens = kj_gguf_value(g, "tokenizer.ggml.tokens"),
                               *types = kj_gguf_value(g, "tokenizer.ggml.token_type"),
                               *merges = kj_gguf_value(g, "tokenizer.ggml.merges");
    if (!tokens)
        return KJ_OK;
    uint64_t n = (uint64_t)s->vocab_size;
    if (tokens->kind != KJ_GGUF_ARRAY || tokens->item != KJ_GGUF_STR ||
        tokens->count != n)
        return kj_err_set(err, KJ_FAIL, "tokenizer.ggml.tokens is not %llu texts",
                          (unsigned long long)n);
    if (types && (types->kind != KJ_GGUF_ARRAY || types->item != KJ_GGUF_I32 ||
                  types->count != n))
        return kj_err_set(err, KJ_FAIL, "tokenizer.ggml.token_type is not %llu i32",
                          (unsigned long long)n);
    if (!merges)
        return KJ_OK;
    struct kj_str *sorted = kj_xcalloc((size_t)n, sizeof *sorted);
    size_t k = 0;
    for (size_t at = 0; k < n && kj_gguf_next_text(tokens, &at, &sorted[k]);)
        k++;
    qsort(sorted, k, sizeof *sorted, by_text);
    int rc = check_merges(merges, sorted, k, err);
    free(sorted);
    return rc;
}

int kj_gguf_check(const struct kj_gguf *g, struct kj_shape *s, struct kj_err *err)
{
    int rc = read_shape(g, s, err);
    if (rc == KJ_OK)
        rc = check_tensors(g, s, err);
    if (rc == KJ_OK)
        rc = check_tokenizer(g, s, err);
    if (rc && err)
        err->rc = KJ_FAIL;
    return rc ? KJ_FAIL : KJ_OK;
}
