/* st_set.c - a folder's safetensors files as one set of tensors. */
#include "nn/st_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#define INDEX_MAX ((size_t)256 << 20)
#define FILES_MAX 4096

struct kj_st_set {
    size_t n;
    char *names[FILES_MAX];
    struct kj_st *st[FILES_MAX];
};

void kj_st_set_close(struct kj_st_set *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++) {
        free(w->names[i]);
        kj_st_close(w->st[i]);
    }
    free(w);
}

static int add(struct kj_st_set *w, const char *dir, struct kj_str name,
               struct kj_err *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (kj_str_is(name, w->names[i]))
            return KJ_OK;
    if (w->n == FILES_MAX || name.n == 0 || memchr(name.p, '/', name.n) ||
        memchr(name.p, 0, name.n))
        return kj_err_set(err, KJ_FAIL, "the index names an impossible file");
    w->names[w->n] = kj_xstrndup(name.p, name.n);
    w->st[w->n] = NULL;
    char *path = kj_xprintf("%s/%s", dir, w->names[w->n]);
    int rc = kj_st_open(&w->st[w->n], path, err);
    w->n++;
    free(path);
    return rc;
}

static int add_indexed(struct kj_st_set *w, const char *dir, const char *index,
                       struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root, *map = NULL;
    int rc = kj_json_load(j, index, INDEX_MAX, &root, err);
    if (rc == KJ_OK)
        map = kj_jget(root, "weight_map");
    if (rc == KJ_OK && (!map || map->kind != KJ_J_OBJECT))
        rc = kj_err_set(err, KJ_FAIL, "%s has no weight_map", index);
    for (size_t i = 0; rc == KJ_OK && i < map->n; i++)
        rc = add(w, dir, kj_jstr(&map->items[i]), err);
    kj_json_free(j);
    return rc;
}

int kj_st_set_open(struct kj_st_set **out, const char *dir, struct kj_err *err)
{
    struct kj_st_set *w = kj_xcalloc(1, sizeof *w);
    char *single = kj_xprintf("%s/model.safetensors", dir);
    char *index = kj_xprintf("%s/model.safetensors.index.json", dir);
    int rc = access(single, F_OK) == 0 || access(index, F_OK) != 0
                 ? add(w, dir, KJ_STR("model.safetensors"), err)
                 : add_indexed(w, dir, index, err);
    free(single);
    free(index);
    if (rc)
        kj_st_set_close(w);
    else
        *out = w;
    return rc;
}

size_t kj_st_set_files(const struct kj_st_set *w)
{
    return w->n;
}

const struct kj_st *kj_st_set_file(const struct kj_st_set *w, size_t i)
{
    return w->st[i];
}

const char *kj_st_set_name(const struct kj_st_set *w, size_t i)
{
    return w->names[i];
}

const struct kj_st_tensor *kj_st_set_find(const struct kj_st_set *w, const char *name)
{
    const struct kj_st_tensor *t = NULL;
    for (size_t i = 0; i < w->n && !t; i++)
        t = kj_st_find(w->st[i], name);
    return t;
}
