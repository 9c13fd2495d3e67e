/* weights.c - the files of a model's folder. */
#include "trainer/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#define INDEX_MAX ((size_t)256 << 20)
#define FILES_MAX 4096
#define EMBEDDING "model.embed_tokens.weight"

struct kj_weights {
    const char *dir; /* during opening */
    size_t n;
    char *names[FILES_MAX];
    struct kj_st *st[FILES_MAX];
};

static char *path_of(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/%s", dir, name);
    return p;
}

static int add(struct kj_weights *f, struct kj_str name, struct kj_err *err)
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

static int open_files(struct kj_weights *f, struct kj_err *err)
{
    char *single = path_of(f->dir, "model.safetensors");
    char *index = path_of(f->dir, "model.safetensors.index.json");
    int rc = KJ_OK;
    if (access(single, F_OK) == 0 || access(index, F_OK) != 0) {
        rc = add(f, KJ_STR("model.safetensors"), err);
    } else {
        struct kj_json *j = kj_json_new();
        const struct kj_jval *root, *map = NULL;
        rc = kj_json_load(j, index, INDEX_MAX, &root, err);
        if (rc == KJ_OK)
            map = kj_jget(root, "weight_map");
        if (rc == KJ_OK && (!map || map->kind != KJ_J_OBJECT))
            rc = kj_err_set(err, KJ_FAIL, "%s has no weight_map", index);
        for (size_t i = 0; rc == KJ_OK && i < map->n; i++)
            rc = add(f, kj_jstr(&map->items[i]), err);
        kj_json_free(j);
    }
    free(single);
    free(index);
    return rc;
}

const struct kj_st_tensor *kj_weights_find(const struct kj_weights *w, const char *name)
{
    const struct kj_st_tensor *t = NULL;
    for (size_t i = 0; i < w->n && !t; i++)
        t = kj_st_find(w->st[i], name);
    return t;
}

bool kj_weights_bf16(const struct kj_weights *w)
{
    return kj_weights_find(w, EMBEDDING)->type == KJ_ST_BF16;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

static int check_param(const struct kj_weights *w, const struct kj_param *p,
                       struct kj_err *err)
{
    const struct kj_st_tensor *t = kj_weights_find(w, p->name);
    if (!t)
        return kj_err_set(err, KJ_FAIL, "tensor %s is missing", p->name);
    bool fits = p->vector
                    ? t->rank == 1 && t->shape[0] == p->cols
                    : t->rank == 2 && t->shape[0] == p->rows && t->shape[1] == p->cols;
    if (!fits)
        return kj_err_set(err, KJ_FAIL, "tensor %s should be %zu x %zu", p->name,
                          p->rows, p->cols);
    return KJ_OK;
}

static bool known(const struct kj_weights *w, const struct kj_shape *s,
                  const struct kj_param *p, size_t n, const struct kj_st_tensor *t)
{
    if (ends_with(t->name, "rotary_emb.inv_freq"))
        return true;
    for (size_t i = 0; i < n; i++)
        if (strcmp(p[i].name, t->name) == 0)
            return true;
    const struct kj_st_tensor *e = kj_weights_find(w, EMBEDDING);
    return s->tied && strcmp(t->name, "lm_head.weight") == 0 && e &&
           e->bytes == t->bytes && memcmp(e->p, t->p, t->bytes) == 0;
}

static int check(const struct kj_weights *w, const struct kj_shape *s,
                 struct kj_err *err)
{
    size_t n;
    struct kj_param *p = kj_llama_params(s, &n, NULL);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = check_param(w, &p[i], err);
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < kj_st_count(w->st[i]) && rc == KJ_OK; k++) {
            const struct kj_st_tensor *t = kj_st_get(w->st[i], k);
            if (!known(w, s, p, n, t))
                rc = kj_err_set(err, KJ_FAIL, "tensor %.200s has no place in a Llama",
                                t->name);
        }
    free(p);
    return rc;
}

int kj_weights_open(struct kj_weights **out, const char *dir,
                    const struct kj_shape *shape, struct kj_err *err)
{
    struct kj_weights *w = kj_xcalloc(1, sizeof *w);
    w->dir = dir;
    int rc = open_files(w, err);
    if (rc == KJ_OK)
        rc = check(w, shape, err);
    w->dir = NULL;
    if (rc) {
        kj_weights_close(w);
        kj_err_where(err, dir, -1);
        return rc;
    }
    *out = w;
    return KJ_OK;
}

void kj_weights_close(struct kj_weights *w)
{
    for (size_t i = 0; w && i < w->n; i++) {
        free(w->names[i]);
        kj_st_close(w->st[i]);
    }
    free(w);
}
