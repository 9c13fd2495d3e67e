/* hf.c - models in Hugging Face's layout. */
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
#include "trainer/safetensors.h"

#define CONFIG_MAX    ((size_t)16 << 20)
#define INDEX_MAX     ((size_t)256 << 20)
#define TOKENIZER_MAX ((size_t)256 << 20)
#define COPY_FLOATS   ((size_t)1 << 18)
#define FILES_MAX     4096

static char *path_of(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/%s", dir, name);
    return p;
}

/* ---- config.json ---- */

static bool given(const struct kj_jval *v)
{
    return v && v->kind != KJ_J_NULL;
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
        if (type.n && !kj_str_is(type, "default"))
            return kj_err_set(err, KJ_FAIL,
                              "rope_scaling of type %.*s is not supported",
                              (int)(type.n < 40 ? type.n : 40), type.p);
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
    char *path = path_of(dir, "config.json");
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
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

struct files {
    char *dir;
    size_t n;
    char *names[FILES_MAX];
    struct kj_st *st[FILES_MAX];
};

static void files_close(struct files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->names[i]);
        kj_st_close(f->st[i]);
    }
    f->n = 0;
}

static int files_add(struct files *f, struct kj_str name, struct kj_err *err)
{
    for (size_t i = 0; i < f->n; i++)
        if (kj_str_is(name, f->names[i]))
            return KJ_OK;
    if (f->n == FILES_MAX || name.n == 0 || memchr(name.p, '/', name.n) ||
        memchr(name.p, 0, name.n))
        return kj_err_set(err, KJ_FAIL, "the index names an impossible file");
    f->names[f->n] = kj_xstrndup(name.p, name.n);
    f->st[f->n] = NULL;
    char *path = path_of(f->dir, f->names[f->n]);
    int rc = kj_st_open(&f->st[f->n], path, err);
    f->n++;
    free(path);
    return rc;
}

static int files_open(struct files *f, const char *dir, struct kj_err *err)
{
    char *single = path_of(dir, "model.safetensors");
    char *index = path_of(dir, "model.safetensors.index.json");
    int rc = KJ_OK;
    f->n = 0;
    f->dir = (char *)(uintptr_t)dir;
    if (access(single, F_OK) == 0 || access(index, F_OK) != 0) {
        rc = files_add(f, KJ_STR("model.safetensors"), err);
    } else {
        struct kj_json *j = kj_json_new();
        const struct kj_jval *root, *map = NULL;
        rc = kj_json_load(j, index, INDEX_MAX, &root, err);
        if (rc == KJ_OK)
            map = kj_jget(root, "weight_map");
        if (rc == KJ_OK && (!map || map->kind != KJ_J_OBJECT))
            rc = kj_err_set(err, KJ_FAIL, "%s has no weight_map", index);
        for (size_t i = 0; rc == KJ_OK && i < map->n; i++)
            rc = files_add(f, kj_jstr(&map->items[i]), err);
        kj_json_free(j);
    }
    free(single);
    free(index);
    return rc;
}

static int load_one(struct kj_llama *m, const struct kj_param *p,
                    const struct kj_st_tensor *t, struct kj_err *err)
{
    size_t n = p->rows * p->cols;
    bool fits = p->vector
                    ? t->rank == 1 && t->shape[0] == p->cols
                    : t->rank == 2 && t->shape[0] == p->rows && t->shape[1] == p->cols;
    if (!fits)
        return kj_err_set(err, KJ_FAIL, "tensor %s should be %zu x %zu", p->name,
                          p->rows, p->cols);
    float *x = kj_xmalloc(COPY_FLOATS * sizeof *x);
    int rc = KJ_OK;
    for (size_t at = 0; at < n && rc == KJ_OK; at += COPY_FLOATS) {
        size_t k = n - at < COPY_FLOATS ? n - at : COPY_FLOATS;
        rc = kj_st_floats(t, at, x, k, err);
        if (rc == KJ_OK)
            m->b->ops->write(m->b, m->w, p->at + at, x, k);
    }
    free(x);
    return rc;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* Every tensor of the files must be a parameter, but for old files' rotary
 * frequencies and a head equal to the embedding that it is tied to. */
static int check_extra(const struct kj_llama *m, const struct files *f,
                       struct kj_err *err)
{
    const struct kj_st_tensor *e = NULL;
    for (size_t i = 0; i < f->n && !e; i++)
        e = kj_st_find(f->st[i], "model.embed_tokens.weight");
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < kj_st_count(f->st[i]); k++) {
            const struct kj_st_tensor *t = kj_st_get(f->st[i], k);
            bool known = ends_with(t->name, "rotary_emb.inv_freq");
            for (size_t p = 0; p < m->n_params && !known; p++)
                known = strcmp(m->params[p].name, t->name) == 0;
            if (!known && m->shape.tied && strcmp(t->name, "lm_head.weight") == 0)
                known = e && e->bytes == t->bytes && memcmp(e->p, t->p, t->bytes) == 0;
            if (!known)
                return kj_err_set(err, KJ_FAIL, "tensor %.200s has no place in a Llama",
                                  t->name);
        }
    return KJ_OK;
}

int kj_hf_load(struct kj_llama *m, const char *dir, struct kj_err *err)
{
    struct files f;
    int rc = files_open(&f, dir, err);
    for (size_t i = 0; i < m->n_params && rc == KJ_OK; i++) {
        const struct kj_st_tensor *t = NULL;
        for (size_t k = 0; k < f.n && !t; k++)
            t = kj_st_find(f.st[k], m->params[i].name);
        if (!t)
            rc = kj_err_set(err, KJ_FAIL, "tensor %s is missing", m->params[i].name);
        else
            rc = load_one(m, &m->params[i], t, err);
    }
    if (rc == KJ_OK)
        rc = check_extra(m, &f, err);
    files_close(&f);
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

static int write_config(const struct kj_llama *m, const char *dir,
                        const struct kj_hf_save *s, struct kj_err *err)
{
    const struct kj_shape *h = &m->shape;
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
    kj_buf_addz(&b, "  \"rope_scaling\": null,\n");
    put_real(&b, "rope_theta", h->rope_theta);
    kj_buf_printf(&b, "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\",\n",
                  h->tied ? "true" : "false", s->bf16 ? "bfloat16" : "float32");
    kj_buf_addz(&b, "  \"use_cache\": true,\n");
    kj_buf_printf(&b, "  \"vocab_size\": %lld\n}\n", (long long)h->vocab_size);
    char *path = path_of(dir, "config.json");
    int rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_reset(&b);
    kj_buf_addz(&b, "{\n  \"_from_model_config\": true,\n");
    put_id(&b, "bos_token_id", s->bos);
    put_id(&b, "eos_token_id", s->eos);
    kj_buf_addz(&b, "  \"do_sample\": true\n}\n");
    path = path_of(dir, "generation_config.json");
    rc = rc ? rc : kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

static int copy_tokenizer(const char *from, const char *dir, struct kj_err *err)
{
    struct kj_buf b;
    char *path = path_of(dir, "tokenizer.json");
    kj_buf_init(&b, TOKENIZER_MAX);
    int rc = kj_input_slurp(from, &b, err);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    kj_buf_release(&b);
    free(path);
    return rc;
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    struct kj_llama *m = ctx;
    m->b->ops->read(m->b, m->w, m->params[i].at + at, out, n);
    return m->b->ops->sync(m->b, err);
}

int kj_hf_write(struct kj_llama *m, const char *dir, const struct kj_hf_save *s,
                struct kj_err *err)
{
    struct kj_st_out *t = kj_xcalloc(m->n_params, sizeof *t);
    for (size_t i = 0; i < m->n_params; i++) {
        const struct kj_param *p = &m->params[i];
        t[i].name = p->name;
        t[i].rank = p->vector ? 1 : 2;
        t[i].shape[0] = p->vector ? p->cols : p->rows;
        t[i].shape[1] = p->cols;
    }
    char *path = path_of(dir, "model.safetensors");
    int rc = kj_st_write(path, t, m->n_params, s->bf16 ? KJ_ST_BF16 : KJ_ST_F32, fill,
                         m, err);
    if (rc == KJ_OK && s->tokenizer)
        rc = copy_tokenizer(s->tokenizer, dir, err);
    if (rc == KJ_OK)
        rc = write_config(m, dir, s, err);
    free(path);
    free(t);
    return rc;
}

int kj_hf_remove(const char *dir, struct kj_err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? KJ_OK
                               : kj_err_errno(err, KJ_FAIL, "cannot open %s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        char *path = path_of(dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(path);
        free(path);
    }
    closedir(d);
    return rmdir(dir) == 0 ? KJ_OK
                           : kj_err_errno(err, KJ_FAIL, "cannot remove %s", dir);
}

int kj_hf_publish(struct kj_llama *m, const char *dir, const struct kj_hf_save *s,
                  struct kj_err *err)
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
        rc = kj_hf_write(m, tmp, s, err);
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
