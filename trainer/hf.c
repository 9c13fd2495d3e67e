/* hf.c - models in Hugging Face's layout. */
#define _GNU_SOURCE /* memmem */
#include "trainer/hf.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/safetensors.h"
#include "trainer/weights.h"

#define CONFIG_MAX    ((size_t)16 << 20)
#define TOKENIZER_MAX ((size_t)256 << 20)
#define COPY_FLOATS   ((size_t)1 << 18)

/* ---- config.json ---- */

static bool given(const struct kj_jval *v)
{
    return v && v->kind != KJ_J_NULL;
}

/* As enum kj_rope. */
static const char *const rope_types[] = {"yarn", "llama3", "linear"};

/* What YaRN has besides that we have not. */
static int check_yarn(const struct kj_jval *v, double usual, struct kj_err *err)
{
    static const char *const not_ours[] = {"mscale", "mscale_all_dim"};
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++)
        if (given(kj_jget(v, not_ours[i])))
            return kj_err_set(err, KJ_FAIL, "rope_scaling with %s is not supported",
                              not_ours[i]);
    if (!kj_jbool(kj_jget(v, "truncate"), true))
        return kj_err_set(err, KJ_FAIL,
                          "rope_scaling with truncate false is not "
                          "supported");
    double factor = kj_jnum(kj_jget(v, "attention_factor"), usual);
    if (fabs(factor - usual) > 1e-6)
        return kj_err_set(err, KJ_FAIL,
                          "rope_scaling with attention_factor %g instead of %g is not "
                          "supported",
                          factor, usual);
    return KJ_OK;
}

static int read_scaling(const struct kj_jval *v, struct kj_str type, struct kj_shape *s,
                        struct kj_err *err)
{
    bool llama3 = kj_str_is(type, "llama3");
    size_t i = 0;
    while (i < 3 && !kj_str_is(type, rope_types[i]))
        i++;
    s->rope_type = (enum kj_rope)i;
    if (i == 3)
        return kj_err_set(err, KJ_FAIL, "rope_scaling of type %.*s is not supported",
                          (int)(type.n < 40 ? type.n : 40), type.p);
    s->rope_factor = kj_jnum(kj_jget(v, "factor"), 0);
    if (!(s->rope_factor >= 1 && s->rope_factor <= 1e6))
        return kj_err_set(err, KJ_FAIL, "rope_scaling has an impossible factor");
    s->rope_original =
        kj_jint(kj_jget(v, "original_max_position_embeddings"), s->max_positions);
    s->rope_beta_fast =
        kj_jnum(kj_jget(v, llama3 ? "high_freq_factor" : "beta_fast"), 32);
    s->rope_beta_slow =
        kj_jnum(kj_jget(v, llama3 ? "low_freq_factor" : "beta_slow"), 1);
    return s->rope_type == KJ_ROPE_YARN
               ? check_yarn(v, 0.1 * log(s->rope_factor) + 1, err)
               : KJ_OK;
}

/* Rotary base and scaling, in the old or the nested form. */
static int read_rope(const struct kj_jval *c, struct kj_shape *s, struct kj_err *err)
{
    const struct kj_jval *nested = kj_jget(c, "rope_parameters");
    const struct kj_jval *scaling = kj_jget(c, "rope_scaling");
    if (given(nested))
        scaling = nested;
    s->rope_theta = kj_jnum(kj_jget(c, "rope_theta"),
                            kj_jnum(kj_jget(nested, "rope_theta"), 10000));
    if (given(scaling)) {
        const struct kj_jval *t = kj_jget(scaling, "rope_type");
        struct kj_str type = kj_jstr(t ? t : kj_jget(scaling, "type"));
        int rc = type.n && !kj_str_is(type, "default")
                     ? read_scaling(scaling, type, s, err)
                     : KJ_OK;
        if (rc)
            return rc;
    }
    if (!(s->rope_theta >= 1 && s->rope_theta <= 1e12))
        return kj_err_set(err, KJ_FAIL, "impossible rope_theta");
    return KJ_OK;
}

static int read_shape(const struct kj_jval *c, struct kj_shape *s, struct kj_err *err)
{
    struct kj_str type = kj_jstr(kj_jget(c, "model_type"));
    struct kj_str act = kj_jstr(kj_jget(c, "hidden_act"));
    if (!kj_str_is(type, "llama"))
        return kj_err_set(err, KJ_FAIL, "model_type is \"%.*s\", not llama",
                          (int)(type.n < 40 ? type.n : 40), type.p ? type.p : "");
    if (act.n && !kj_str_is(act, "silu"))
        return kj_err_set(err, KJ_FAIL, "hidden_act %.*s is not supported",
                          (int)(act.n < 40 ? act.n : 40), act.p);
    if (kj_jbool(kj_jget(c, "attention_bias"), false) ||
        kj_jbool(kj_jget(c, "mlp_bias"), false))
        return kj_err_set(err, KJ_FAIL, "models with biases are not supported");
    s->vocab_size = kj_jint(kj_jget(c, "vocab_size"), 0);
    s->hidden = kj_jint(kj_jget(c, "hidden_size"), 0);
    s->ffn = kj_jint(kj_jget(c, "intermediate_size"), 0);
    s->layers = kj_jint(kj_jget(c, "num_hidden_layers"), 0);
    s->heads = kj_jint(kj_jget(c, "num_attention_heads"), 0);
    s->kv_heads = kj_jint(kj_jget(c, "num_key_value_heads"), s->heads);
    s->head_dim =
        kj_jint(kj_jget(c, "head_dim"), s->heads > 0 ? s->hidden / s->heads : 0);
    s->max_positions = kj_jint(kj_jget(c, "max_position_embeddings"), 2048);
    s->norm_eps = kj_jnum(kj_jget(c, "rms_norm_eps"), 1e-6);
    s->tied = kj_jbool(kj_jget(c, "tie_word_embeddings"), false);
    s->init_range = kj_jnum(kj_jget(c, "initializer_range"), 0.02);
    if (!(s->norm_eps > 0 && s->norm_eps < 1))
        return kj_err_set(err, KJ_FAIL, "impossible rms_norm_eps");
    int rc = read_rope(c, s, err);
    return rc ? rc : kj_shape_check(s, err);
}

/* An id, or the first of a list of them. */
static int64_t token_id(const struct kj_jval *v)
{
    if (v && v->kind == KJ_J_ARRAY && v->n > 0)
        v = &v->items[0];
    return kj_jint(v, -1);
}

int kj_hf_config(const char *dir, struct kj_hf_config *c, struct kj_err *err)
{
    char *own = kj_weights_dir(dir), *path = kj_xprintf("%s/config.json", own);
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    free(own);
    memset(c, 0, sizeof *c);
    int rc = kj_json_load(j, path, CONFIG_MAX, &root, err);
    if (rc == KJ_OK)
        rc = read_shape(root, &c->shape, err);
    if (rc == KJ_OK) {
        c->bos = token_id(kj_jget(root, "bos_token_id"));
        c->eos = token_id(kj_jget(root, "eos_token_id"));
    } else {
        rc = KJ_FAIL;
        if (err)
            err->rc = KJ_FAIL;
        kj_err_where(err, path, -1);
    }
    kj_json_free(j);
    free(path);
    return rc;
}

/* ---- weights in ---- */

static int load_one(struct kj_llama *m, const struct kj_param *p,
                    const struct kj_st_tensor *t, struct kj_err *err)
{
    size_t n = p->rows * p->cols;
    float *x = kj_xmalloc(COPY_FLOATS * sizeof *x);
    int rc = KJ_OK;
    for (size_t at = 0; at < n && rc == KJ_OK; at += COPY_FLOATS) {
        size_t k = n - at < COPY_FLOATS ? n - at : COPY_FLOATS;
        rc = kj_st_floats(t, at, x, k, err);
        if (rc == KJ_OK)
            kj_llama_write(m, p->at + at, x, k);
    }
    kj_st_pass(t);
    free(x);
    return rc;
}

int kj_hf_load(struct kj_llama *m, const char *dir, struct kj_err *err)
{
    struct kj_weights *w;
    int rc = kj_weights_open(&w, dir, &m->shape, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < m->n_params && rc == KJ_OK; i++)
        rc = load_one(m, &m->params[i], kj_weights_find(w, m->params[i].name), err);
    kj_weights_close(w);
    kj_err_where(rc ? err : NULL, dir, -1);
    return rc ? rc : m->b->ops->sync(m->b, err);
}

/* ---- out ---- */

static int put_id(struct kj_buf *b, const char *key, int64_t id)
{
    return id < 0 ? kj_buf_printf(b, "  \"%s\": null,\n", key)
                  : kj_buf_printf(b, "  \"%s\": %lld,\n", key, (long long)id);
}

static int put_int(struct kj_buf *b, const char *key, int64_t v)
{
    return kj_buf_printf(b, "  \"%s\": %lld,\n", key, (long long)v);
}

static int put_real(struct kj_buf *b, const char *key, double v)
{
    int rc = kj_buf_printf(b, "  \"%s\": ", key) | kj_json_put_real(b, v);
    /* Readers of these files take 10000 for an integer where they want a real. */
    if (v == floor(v) && fabs(v) < 1e15)
        rc |= kj_buf_addz(b, ".0");
    return rc | kj_buf_addz(b, ",\n");
}

static void put_scaling(struct kj_buf *b, const struct kj_shape *h)
{
    bool llama3 = h->rope_type == KJ_ROPE_LLAMA3;
    if (h->rope_factor <= 1) {
        kj_buf_addz(b, "  \"rope_scaling\": null,\n");
        return;
    }
    kj_buf_addz(b, "  \"rope_scaling\": {\n");
    if (h->rope_type != KJ_ROPE_LINEAR) {
        kj_buf_addz(b, "  ");
        put_real(b, llama3 ? "high_freq_factor" : "beta_fast", h->rope_beta_fast);
        kj_buf_addz(b, "  ");
        put_real(b, llama3 ? "low_freq_factor" : "beta_slow", h->rope_beta_slow);
    }
    kj_buf_addz(b, "  ");
    put_real(b, "factor", h->rope_factor);
    if (h->rope_type != KJ_ROPE_LINEAR) {
        kj_buf_addz(b, "  ");
        put_int(b, "original_max_position_embeddings", h->rope_original);
    }
    kj_buf_printf(b, "    \"rope_type\": \"%s\"\n  },\n", rope_types[h->rope_type]);
}

static int write_config(const struct kj_shape *h, const char *dir,
                        const struct kj_hf_save *s, struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    kj_buf_addz(&b, "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n"
                    "  \"attention_bias\": false,\n  \"attention_dropout\": 0.0,\n");
    put_id(&b, "bos_token_id", s->bos);
    put_id(&b, "eos_token_id", s->eos);
    put_int(&b, "head_dim", h->head_dim);
    kj_buf_addz(&b, "  \"hidden_act\": \"silu\",\n");
    put_int(&b, "hidden_size", h->hidden);
    put_real(&b, "initializer_range", h->init_range);
    put_int(&b, "intermediate_size", h->ffn);
    put_int(&b, "max_position_embeddings", h->max_positions);
    kj_buf_addz(&b, "  \"mlp_bias\": false,\n  \"model_type\": \"llama\",\n");
    put_int(&b, "num_attention_heads", h->heads);
    put_int(&b, "num_hidden_layers", h->layers);
    put_int(&b, "num_key_value_heads", h->kv_heads);
    kj_buf_addz(&b, "  \"pretraining_tp\": 1,\n");
    put_real(&b, "rms_norm_eps", h->norm_eps);
    put_scaling(&b, h);
    put_real(&b, "rope_theta", h->rope_theta);
    kj_buf_printf(&b, "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\",\n",
                  h->tied ? "true" : "false", s->bf16 ? "bfloat16" : "float32");
    kj_buf_addz(&b, "  \"use_cache\": true,\n");
    kj_buf_printf(&b, "  \"vocab_size\": %lld\n}\n", (long long)h->vocab_size);
    char *path = kj_xprintf("%s/config.json", dir);
    int rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_reset(&b);
    kj_buf_addz(&b, "{\n  \"_from_model_config\": true,\n");
    put_id(&b, "bos_token_id", s->bos);
    put_id(&b, "eos_token_id", s->eos);
    kj_buf_addz(&b, "  \"do_sample\": true\n}\n");
    path = kj_xprintf("%s/generation_config.json", dir);
    rc = rc ? rc : kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

/* The list of added tokens in the text of a tokenizer.json, which may hold a hundred
 * thousand others that are not looked at; n 0: there is none. */
static struct kj_str added_tokens(const struct kj_buf *b)
{
    static const char key[] = "\"added_tokens\"";
    const char *end = b->p + b->n, *p = b->p;
    for (; (p = memmem(p, (size_t)(end - p), key, sizeof key - 1));) {
        p += sizeof key - 1;
        while (p < end && strchr(" \t\r\n:", *p))
            p++;
        if (p == end || *p != '[') /* a word of the vocabulary */
            continue;
        const char *from = p;
        int depth = 0;
        for (bool text = false; p < end; p++) {
            if (text && *p == '\\')
                p++;
            else if (*p == '"')
                text = !text;
            else if (!text && *p == '[')
                depth++;
            else if (!text && *p == ']' && --depth == 0)
                return (struct kj_str){from, (size_t)(p + 1 - from)};
        }
    }
    return (struct kj_str){NULL, 0};
}

static struct kj_str token_text(const struct kj_jval *added, int64_t id)
{
    for (size_t i = 0; added->kind == KJ_J_ARRAY && i < added->n; i++)
        if (kj_jint(kj_jget(&added->items[i], "id"), -1) == id)
            return kj_jstr(kj_jget(&added->items[i], "content"));
    return (struct kj_str){NULL, 0};
}

static void put_token(struct kj_buf *b, const char *key, struct kj_str text)
{
    kj_buf_printf(b, "  \"%s\": ", key);
    if (text.p)
        kj_json_put_str(b, text.p, text.n);
    else
        kj_buf_addz(b, "null");
    kj_buf_addz(b, ",\n");
}

/* Without this file readers of the folder take the class that goes with the model's
 * type, which adds tokens of its own, ids beyond the embedding. */
static int write_tokenizer_config(const struct kj_buf *tokenizer,
                                  const struct kj_shape *h, const char *path,
                                  const struct kj_hf_save *s, struct kj_err *err)
{
    struct kj_str list = added_tokens(tokenizer);
    struct kj_json *j = kj_json_new();
    const struct kj_jval *added;
    struct kj_buf b;
    int rc = KJ_OK;
    if (list.n && kj_json_parse(j, list.p, list.n, &added, NULL) == KJ_OK) {
        kj_buf_init(&b, 1 << 20);
        kj_buf_addz(&b, "{\n");
        put_token(&b, "bos_token", token_text(added, s->bos));
        kj_buf_addz(&b, "  \"clean_up_tokenization_spaces\": false,\n");
        put_token(&b, "eos_token", token_text(added, s->eos));
        put_int(&b, "model_max_length", h->max_positions);
        kj_buf_addz(&b, "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
        rc = kj_output_file(path, b.p, b.n, err);
        kj_buf_release(&b);
    }
    kj_json_free(j);
    return rc;
}

/* The tokenizer, with its tokenizer_config.json (which may hold a chat template), or one
 * made. */
static int copy_tokenizer(const struct kj_shape *h, const char *dir,
                          const struct kj_hf_save *s, struct kj_err *err)
{
    struct kj_buf b, config;
    const char *slash = strrchr(s->tokenizer, '/');
    char *path = kj_xprintf("%s/tokenizer.json", dir);
    char *to = kj_xprintf("%s/tokenizer_config.json", dir);
    char *beside =
        kj_xprintf("%.*stokenizer_config.json",
                   slash ? (int)(slash + 1 - s->tokenizer) : 0, s->tokenizer);
    kj_buf_init(&b, TOKENIZER_MAX);
    kj_buf_init(&config, CONFIG_MAX);
    int rc = kj_input_slurp(s->tokenizer, &b, err);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    if (rc == KJ_OK && access(beside, F_OK) == 0) {
        rc = kj_input_slurp(beside, &config, err);
        rc = rc ? rc : kj_output_file(to, config.p ? config.p : "", config.n, err);
    } else if (rc == KJ_OK) {
        rc = write_tokenizer_config(&b, h, to, s, err);
    }
    kj_buf_release(&config);
    kj_buf_release(&b);
    free(beside);
    free(to);
    free(path);
    return rc;
}

int kj_hf_write_from(const struct kj_hf_source *from, const char *dir,
                     const struct kj_hf_save *s, struct kj_err *err)
{
    size_t n;
    struct kj_param *p = kj_llama_params(from->shape, &n, NULL);
    struct kj_st_out *t = kj_xcalloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        t[i].name = p[i].name;
        t[i].rank = p[i].vector ? 1 : 2;
        t[i].shape[0] = p[i].vector ? p[i].cols : p[i].rows;
        t[i].shape[1] = p[i].cols;
    }
    char *path = kj_xprintf("%s/model.safetensors", dir);
    enum kj_st_type type = s->bf16 ? KJ_ST_BF16 : KJ_ST_F32;
    int rc = from->write ? from->write(from->ctx, path, t, n, type, err)
                         : kj_st_write(path, t, n, type, from->fill, from->ctx, err);
    if (rc == KJ_OK && s->tokenizer)
        rc = copy_tokenizer(from->shape, dir, s, err);
    if (rc == KJ_OK)
        rc = write_config(from->shape, dir, s, err);
    free(path);
    free(t);
    free(p);
    return rc;
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    struct kj_llama *m = ctx;
    m->b->ops->read(m->b, m->w, m->params[i].at + at, out, n);
    return m->b->ops->sync(m->b, err);
}

int kj_hf_remove(const char *dir, struct kj_err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? KJ_OK
                               : kj_err_errno(err, KJ_FAIL, "cannot open %s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        char *path = kj_xprintf("%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(path);
        free(path);
    }
    closedir(d);
    return rmdir(dir) == 0 ? KJ_OK
                           : kj_err_errno(err, KJ_FAIL, "cannot remove %s", dir);
}

int kj_hf_publish_from(const struct kj_hf_source *from, const char *dir,
                       const struct kj_hf_save *s, struct kj_err *err)
{
    size_t n = strlen(dir) + 16;
    char *tmp = kj_xmalloc(n), *old = kj_xmalloc(n);
    snprintf(tmp, n, "%s.tmp", dir);
    snprintf(old, n, "%s.old", dir);
    int rc = kj_hf_remove(tmp, err);
    if (rc == KJ_OK)
        rc = kj_hf_remove(old, err);
    if (rc == KJ_OK)
        rc = kj_output_mkdirs(tmp, err);
    if (rc == KJ_OK)
        rc = kj_hf_write_from(from, tmp, s, err);
    if (rc == KJ_OK && rename(dir, old) != 0 && errno != ENOENT)
        rc = kj_err_errno(err, KJ_FAIL, "cannot replace %s", dir);
    if (rc == KJ_OK && rename(tmp, dir) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot rename %s", tmp);
    if (rc == KJ_OK)
        rc = kj_output_sync_dir(dir, err);
    if (rc == KJ_OK)
        rc = kj_hf_remove(old, err);
    free(tmp);
    free(old);
    return rc;
}

int kj_hf_publish(struct kj_llama *m, const char *dir, const struct kj_hf_save *s,
                  struct kj_err *err)
{
    struct kj_hf_source from = {&m->shape, fill, m, NULL};
    return kj_hf_publish_from(&from, dir, s, err);
}
