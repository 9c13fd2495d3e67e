/* head_save.c - the folder of an encoder with a new head. */
#include "classify/head.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/st_set.h"

#define CONFIG_MAX ((size_t)16 << 20)
#define HEAD_FILE  "head.safetensors"

static int copy(const char *from, const char *to, struct kj_err *err)
{
    struct kj_output *o;
    char *block = kj_xmalloc(1 << 20);
    int rc = kj_output_open(&o, to, err), fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (rc == KJ_OK && fd < 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot read %s", from);
    while (rc == KJ_OK && (n = read(fd, block, 1 << 20)) > 0)
        rc = kj_output_write(o, block, (size_t)n, err);
    if (rc == KJ_OK && n < 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot read %s", from);
    if (fd >= 0)
        close(fd);
    free(block);
    if (rc == KJ_OK)
        return kj_output_commit(o, err);
    kj_output_abort(o);
    return rc;
}

/* model.safetensors would be taken for the whole model. */
static const char *name_here(const char *name)
{
    return strcmp(name, "model.safetensors") == 0 ? "encoder.safetensors" : name;
}

static int bring(const char *from, const char *name, const char *dir, const char *as,
                 struct kj_err *err)
{
    char *a = kj_xprintf("%s/%s", from, name), *b = kj_xprintf("%s/%s", dir, as);
    int rc = link(a, b) == 0 ? KJ_OK : copy(a, b, err);
    free(a);
    free(b);
    return rc;
}

static bool of_head(const char *name)
{
    return strncmp(name, "classifier.", 11) == 0;
}

/* ---- the tensors ---- */

struct tensors {
    struct kj_st_out t[4];
    const float *x[4];
    size_t n;
};

static void tensors_of(struct tensors *o, const struct kj_head_weights *h)
{
    bool deep = h->width > 0;
    size_t last = deep ? h->width : h->in;
    memset(o, 0, sizeof *o);
    if (deep) {
        o->t[0] = (struct kj_st_out){"classifier.dense.weight", 2, {h->width, h->in}};
        o->x[0] = h->w1;
        o->t[1] = (struct kj_st_out){"classifier.dense.bias", 1, {h->width}};
        o->x[1] = h->b1;
        o->n = 2;
    }
    o->t[o->n] = (struct kj_st_out){
        deep ? "classifier.out_proj.weight" : "classifier.weight", 2, {h->out, last}};
    o->x[o->n++] = h->w2;
    o->t[o->n] = (struct kj_st_out){
        deep ? "classifier.out_proj.bias" : "classifier.bias", 1, {h->out}};
    o->x[o->n++] = h->b2;
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    const struct tensors *o = ctx;
    (void)err;
    memcpy(out, o->x[i] + at, n * sizeof *out);
    return KJ_OK;
}

static void put_entry(struct kj_buf *b, const char *name, const char *file)
{
    kj_buf_addz(b, b->n > 40 ? ",\n    " : "\n    ");
    kj_json_put_str(b, name, strlen(name));
    kj_buf_addz(b, ": ");
    kj_json_put_str(b, file, strlen(file));
}

/* The head's file comes first, so its tensors win over an older head's. */
static int write_tensors(const struct kj_head_save *s, const char *from,
                         const char *dir, struct kj_err *err)
{
    struct tensors o;
    struct kj_st_set *set;
    struct kj_buf b;
    int rc = kj_st_set_open(&set, from, err);
    if (rc)
        return rc;
    char *path = kj_xprintf("%s/%s", dir, HEAD_FILE);
    tensors_of(&o, s->head);
    rc = kj_st_write(path, o.t, o.n, KJ_ST_F32, fill, &o, err);
    free(path);
    kj_buf_init(&b, (size_t)256 << 20);
    kj_buf_addz(&b, "{\n  \"metadata\": {},\n  \"weight_map\": {");
    for (size_t i = 0; i < o.n; i++)
        put_entry(&b, o.t[i].name, HEAD_FILE);
    for (size_t i = 0; i < kj_st_set_files(set) && rc == KJ_OK; i++) {
        const struct kj_st *f = kj_st_set_file(set, i);
        const char *name = kj_st_set_name(set, i);
        size_t used = 0;
        for (size_t k = 0; k < kj_st_count(f); k++)
            if (!of_head(kj_st_get(f, k)->name)) {
                put_entry(&b, kj_st_get(f, k)->name, name_here(name));
                used++;
            }
        if (used)
            rc = bring(from, name, dir, name_here(name), err);
    }
    kj_buf_addz(&b, "\n  }\n}\n");
    path = kj_xprintf("%s/model.safetensors.index.json", dir);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    kj_st_set_close(set);
    return rc;
}

/* ---- config.json ---- */

static void put_labels(struct kj_buf *b, const struct kj_head_save *s)
{
    for (int back = 0; back < 2; back++) {
        kj_buf_addz(b, back ? "},\n  \"label2id\": {" : "  \"id2label\": {");
        for (size_t i = 0; i < s->head->out; i++) {
            const char *l = s->labels ? s->labels[i] : "LABEL_0";
            kj_buf_addz(b, i ? ", " : "");
            if (!back)
                kj_buf_printf(b, "\"%zu\": ", i);
            kj_json_put_str(b, l, strlen(l));
            if (back)
                kj_buf_printf(b, ": %zu", i);
        }
    }
    kj_buf_printf(b, "},\n  \"problem_type\": \"%s\",\n",
                  s->labels ? "single_label_classification" : "regression");
}

static int write_config(const struct kj_head_save *s, const char *from, const char *dir,
                        struct kj_err *err)
{
    static const char *const ours[] = {"id2label",     "label2id", "num_labels",
                                       "problem_type", "kijil",    "architectures"};
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    struct kj_buf b;
    char *path = kj_xprintf("%s/config.json", from);
    kj_buf_init(&b, CONFIG_MAX);
    kj_buf_addz(&b, "{\n");
    int rc = kj_json_load(j, path, CONFIG_MAX, &root, err);
    for (size_t i = 0; rc == KJ_OK && i < root->n; i++) {
        bool skip = false;
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
            skip |= kj_str_is(root->keys[i], ours[k]);
        if (skip)
            continue;
        kj_buf_addz(&b, "  ");
        kj_json_put_str(&b, root->keys[i].p, root->keys[i].n);
        kj_buf_addz(&b, ": ");
        kj_json_put_val(&b, &root->items[i]);
        kj_buf_addz(&b, ",\n");
    }
    free(path);
    kj_json_free(j);
    put_labels(&b, s);
    kj_buf_printf(
        &b,
        "  \"kijil\": {\"head\": \"%s\", \"pooling\": \"%s\", \"pooler\": "
        "false, \"activation\": \"%s\", \"max_tokens\": %lld, \"prefix\": ",
        s->head->width ? "dense" : "linear", s->pool == KJ_POOL_MEAN ? "mean" : "cls",
        s->head->act == KJ_ACT_RELU ? "relu" : "tanh", (long long)s->max_tokens);
    kj_json_put_str(&b, s->prefix, strlen(s->prefix));
    kj_buf_addz(&b, "}\n}\n");
    path = kj_xprintf("%s/config.json", dir);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

static void discard(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = kj_xprintf("%s/%s", dir, e->d_name);
        unlink(path); /* "." and ".." stay */
        free(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

int kj_head_publish(const struct kj_head_save *s, const char *from, const char *dir,
                    struct kj_err *err)
{
    size_t n = strlen(dir) + 32;
    char *tmp = kj_xmalloc(n);
    snprintf(tmp, n, "%s.tmp.%ld", dir, (long)getpid());
    int rc = kj_output_mkdirs(tmp, err);
    if (rc == KJ_OK)
        rc = write_tensors(s, from, tmp, err);
    if (rc == KJ_OK)
        rc = bring(from, "tokenizer.json", tmp, "tokenizer.json", err);
    if (rc == KJ_OK)
        rc = write_config(s, from, tmp, err);
    if (rc == KJ_OK && rename(tmp, dir) != 0)
        rc = errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR
                 ? kj_err_set(err, KJ_USAGE, "%s exists already", dir)
                 : kj_err_errno(err, KJ_FAIL, "cannot make %s", dir);
    if (rc == KJ_OK)
        rc = kj_output_sync_dir(dir, err);
    else
        discard(tmp);
    free(tmp);
    return rc;
}
