/* weights.c - the files of a model's folder. */
#include "trainer/weights.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/st_set.h"

#define EMBEDDING "model.embed_tokens.weight"

struct kj_weights {
    struct kj_st_set *files;
};

const struct kj_st_tensor *kj_weights_find(const struct kj_weights *w, const char *name)
{
    return kj_st_set_find(w->files, name);
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
    for (size_t i = 0; i < kj_st_set_files(w->files); i++) {
        const struct kj_st *f = kj_st_set_file(w->files, i);
        for (size_t k = 0; k < kj_st_count(f) && rc == KJ_OK; k++) {
            const struct kj_st_tensor *t = kj_st_get(f, k);
            if (!known(w, s, p, n, t))
                rc = kj_err_set(err, KJ_FAIL, "tensor %.200s has no place in a Llama",
                                t->name);
        }
    }
    free(p);
    return rc;
}

char *kj_weights_dir(const char *dir)
{
    char *own = kj_xprintf("%s/config.json", dir);
    char *run = kj_xprintf("%s/model/config.json", dir);
    bool inside = access(own, F_OK) != 0 && access(run, F_OK) == 0;
    free(own);
    free(run);
    return inside ? kj_xprintf("%s/model", dir) : kj_xstrdup(dir);
}

int kj_weights_open(struct kj_weights **out, const char *dir,
                    const struct kj_shape *shape, struct kj_err *err)
{
    struct kj_weights *w = kj_xcalloc(1, sizeof *w);
    char *own = kj_weights_dir(dir);
    int rc = kj_st_set_open(&w->files, own, err);
    free(own);
    if (rc == KJ_OK)
        rc = check(w, shape, err);
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
    if (w)
        kj_st_set_close(w->files);
    free(w);
}
