/* checkpoint.c - saving and restoring the whole state of training. */
#include "trainer/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/safetensors.h"

#define FORMAT      "kijil-checkpoint"
#define VERSION     1
#define MANIFEST    "checkpoint.json"
#define JSON_MAX    ((size_t)64 << 20)
#define COPY_FLOATS ((size_t)1 << 18)

static char *step_dir(const char *dir, int64_t step, const char *tail, const char *file)
{
    size_t n = strlen(dir) + 64 + (file ? strlen(file) : 0);
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/step-%08" PRId64 "%s%s%s", dir, step, tail, file ? "/" : "",
             file ? file : "");
    return p;
}

/* ---- moments: tensors "m.NAME" and "v.NAME" ---- */

struct moments {
    struct kj_llama *m;
    const struct kj_moments *own;
};

/* Where moment `which` of parameter i begins; SIZE_MAX: it has none. */
static size_t moment_at(const struct moments *s, size_t i, size_t which)
{
    return which && s->own->seconds ? s->own->seconds[i] : s->m->params[i].at;
}

static char *moment_name(const struct kj_param *p, size_t which)
{
    size_t n = strlen(p->name) + 3;
    char *name = kj_xmalloc(n);
    snprintf(name, n, "%c.%s", which ? 'v' : 'm', p->name);
    return name;
}

static int save_moments(struct moments *s, const char *path, struct kj_err *err)
{
    size_t most = 2 * s->m->n_params, n = 0;
    struct kj_st_out *t = kj_xcalloc(most, sizeof *t);
    char **names = kj_xcalloc(most, sizeof *names);
    struct kj_ranks_part *from = kj_xcalloc(most, sizeof *from);
    for (size_t i = 0; i < most; i++) {
        const struct kj_param *p = &s->m->params[i / 2];
        size_t at = moment_at(s, i / 2, i % 2);
        if (at == SIZE_MAX)
            continue;
        from[n] = (struct kj_ranks_part){(enum kj_kept)(i % 2), at};
        t[n].name = names[n] = moment_name(p, i % 2);
        t[n].rank = p->vector ? 1 : 2;
        t[n].shape[0] = p->vector ? p->cols : p->rows;
        t[n++].shape[1] = p->cols;
    }
    int rc = kj_ranks_write(s->own->ranks, s->own->t, path, t, from, n,
                            s->m->how.states_bf16 ? KJ_ST_BF16 : KJ_ST_F32, err);
    if (rc == KJ_OK)
        rc = kj_ranks_done(s->own->ranks, err);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(t);
    free(from);
    return rc;
}

/* Elements at .. at+n of the whole model's, as far as this rank keeps them. */
static void keep_own(const struct moments *s, size_t which, size_t at, const float *x,
                     size_t n)
{
    struct kj_llama *m = s->m;
    struct kj_span p;
    for (size_t i = 0; i < m->n_spans; i++)
        if (kj_llama_span(m, i, at, at + n, &p))
            m->b->ops->write(m->b, s->own->t[which], p.at, x + (p.from - at),
                             p.to - p.from);
}

static int load_moments(struct moments *s, const char *path, struct kj_err *err)
{
    struct kj_st *st;
    int rc = kj_st_open(&st, path, err);
    if (rc)
        return rc;
    float *x = kj_xmalloc(COPY_FLOATS * sizeof *x);
    for (size_t i = 0; i < 2 * s->m->n_params && rc == KJ_OK; i++) {
        const struct kj_param *p = &s->m->params[i / 2];
        size_t n = p->rows * p->cols, to = moment_at(s, i / 2, i % 2);
        if (to == SIZE_MAX)
            continue;
        char *name = moment_name(p, i % 2);
        const struct kj_st_tensor *t = kj_st_find(st, name);
        if (!t || t->elements != n)
            rc = kj_err_set(err, KJ_FAIL, "%s: %s is missing or misshapen", path, name);
        for (size_t at = 0; at < n && rc == KJ_OK; at += COPY_FLOATS) {
            size_t k = n - at < COPY_FLOATS ? n - at : COPY_FLOATS;
            rc = kj_st_floats(t, at, x, k, err);
            keep_own(s, i % 2, to + at, x, k);
        }
        if (t)
            kj_st_pass(t);
        free(name);
    }
    free(x);
    kj_st_close(st);
    return rc ? rc : s->m->b->ops->sync(s->m->b, err);
}

/* ---- the manifest ---- */

static int put_files(struct kj_buf *b, const char *dir, struct kj_err *err)
{
    static const char *const names[] = {"model.safetensors", "optimizer.safetensors",
                                        "config.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    int rc = KJ_OK;
    bool first = true;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == KJ_OK; i++) {
        char *path = kj_xprintf("%s/%s", dir, names[i]), hash[40];
        int64_t bytes;
        if (access(path, F_OK) == 0) {
            rc = kj_hash_file(path, hash, &bytes, err);
            if (rc == KJ_OK)
                kj_buf_printf(b,
                              "%s\n    {\"name\": \"%s\", \"bytes\": %" PRId64
                              ", \"hash\": \"%s\"}",
                              first ? "" : ",", names[i], bytes, hash);
            first = false;
        }
        free(path);
    }
    return rc;
}

/* Reals that read back to the same bits: a run goes on with the same decisions. */
static void put_spikes(struct kj_buf *b, const struct kj_checkpoint *c)
{
    const double *v[2] = {c->spikes.loss, c->spikes.norm};
    int64_t n = c->spikes.n < KJ_SPIKE_STEPS ? c->spikes.n : KJ_SPIKE_STEPS;
    kj_buf_printf(b, "  \"skipped\": %" PRId64 ",\n  \"seen\": %" PRId64 ",\n",
                  c->skipped, c->spikes.n);
    for (int k = 0; k < 2; k++) {
        kj_buf_printf(b, "  \"%s\": [", k ? "recent_norms" : "recent_losses");
        for (int64_t i = 0; i < n; i++) {
            kj_buf_addz(b, i ? ", " : "");
            kj_json_put_real(b, v[k][i]);
        }
        kj_buf_addz(b, "],\n");
    }
}

static int get_spikes(struct kj_checkpoint *c, const struct kj_jval *root,
                      struct kj_err *err)
{
    const struct kj_jval *v[2] = {kj_jget(root, "recent_losses"),
                                  kj_jget(root, "recent_norms")};
    c->skipped = kj_jint(kj_jget(root, "skipped"), 0);
    c->spikes.n = kj_jint(kj_jget(root, "seen"), 0);
    int64_t n = c->spikes.n < KJ_SPIKE_STEPS ? c->spikes.n : KJ_SPIKE_STEPS;
    for (int k = 0; k < 2 && n > 0; k++) {
        if (!v[k] || v[k]->kind != KJ_J_ARRAY || v[k]->n != (size_t)n)
            return kj_err_set(err, KJ_FAIL, "the last losses are missing");
        for (int64_t i = 0; i < n; i++)
            (k ? c->spikes.norm : c->spikes.loss)[i] = kj_jnum(&v[k]->items[i], 0);
    }
    return KJ_OK;
}

/* One cell is told by the number of tokens alone. */
static void put_seen(struct kj_buf *b, const struct kj_checkpoint *c)
{
    kj_buf_addz(b, "  \"tokens_seen\": [");
    for (size_t i = 0; i < c->n_seen; i++)
        kj_buf_printf(b, "%s%" PRIu64, i ? ", " : "", c->seen[i]);
    kj_buf_addz(b, "],\n");
}

static void get_seen(struct kj_checkpoint *c, const struct kj_jval *root)
{
    const struct kj_jval *v = kj_jget(root, "tokens_seen");
    if (!v || v->kind != KJ_J_ARRAY || v->n != c->n_seen)
        c->n_seen = 0;
    for (size_t i = 0; i < c->n_seen; i++)
        c->seen[i] = (uint64_t)kj_jint(&v->items[i], 0);
}

static int put_manifest(const char *dir, const struct kj_checkpoint *c,
                        struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, JSON_MAX);
    kj_buf_printf(&b,
                  "{\n  \"format\": \"%s\",\n  \"version\": %d,\n  \"step\": %" PRId64
                  ",\n  \"tokens\": %" PRId64 ",\n  \"row\": %" PRIu64
                  ",\n  \"run_hash\": \"%s\",\n  \"data_hash\": \"%s\",\n",
                  FORMAT, VERSION, c->step, c->tokens, c->row, c->run, c->data);
    if (c->spikes.n)
        put_spikes(&b, c);
    if (c->n_seen > 1)
        put_seen(&b, c);
    kj_buf_addz(&b, "  \"files\": [");
    int rc = put_files(&b, dir, err);
    kj_buf_addz(&b, "\n  ]\n}\n");
    if (rc == KJ_OK) {
        char *path = kj_xprintf("%s/" MANIFEST, dir);
        rc = kj_output_file(path, b.p, b.n, err);
        free(path);
    }
    kj_buf_release(&b);
    return rc;
}

static void copy_text(char *to, size_t size, struct kj_str s)
{
    size_t n = s.n < size ? s.n : size - 1;
    if (n)
        memcpy(to, s.p, n);
    to[n] = 0;
}

static int check_files(const char *dir, const struct kj_jval *files, struct kj_err *err)
{
    if (!files || files->kind != KJ_J_ARRAY)
        return kj_err_set(err, KJ_FAIL, "no list of files");
    for (size_t i = 0; i < files->n; i++) {
        struct kj_str name = kj_jstr(kj_jget(&files->items[i], "name"));
        struct kj_str want = kj_jstr(kj_jget(&files->items[i], "hash"));
        char hash[40], path[4096];
        int64_t bytes;
        if (name.n == 0 || name.n > 64 || memchr(name.p, '/', name.n))
            return kj_err_set(err, KJ_FAIL, "impossible name of a file");
        snprintf(path, sizeof path, "%s/%.*s", dir, (int)name.n, name.p);
        int rc = kj_hash_file(path, hash, &bytes, err);
        if (rc)
            return rc;
        if (!kj_str_is(want, hash) ||
            bytes != kj_jint(kj_jget(&files->items[i], "bytes"), -1))
            return kj_err_set(err, KJ_FAIL, "%s does not have the hash that was saved",
                              path);
    }
    return KJ_OK;
}

static int read_manifest(const char *dir, struct kj_checkpoint *c, bool files,
                         struct kj_err *err)
{
    char *path = kj_xprintf("%s/" MANIFEST, dir);
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    *c = (struct kj_checkpoint){.seen = c->seen, .n_seen = c->n_seen};
    int rc = kj_json_load(j, path, JSON_MAX, &root, err);
    if (rc == KJ_OK && (!kj_str_is(kj_jstr(kj_jget(root, "format")), FORMAT) ||
                        kj_jint(kj_jget(root, "version"), 0) != VERSION))
        rc = kj_err_set(err, KJ_FAIL, "not a checkpoint of format version %d", VERSION);
    if (rc == KJ_OK) {
        int64_t row;
        c->step = kj_jint(kj_jget(root, "step"), -1);
        c->tokens = kj_jint(kj_jget(root, "tokens"), -1);
        row = kj_jint(kj_jget(root, "row"), -1);
        c->row = (uint64_t)row;
        copy_text(c->run, sizeof c->run, kj_jstr(kj_jget(root, "run_hash")));
        copy_text(c->data, sizeof c->data, kj_jstr(kj_jget(root, "data_hash")));
        if (c->step < 0 || c->tokens < 0 || row < 0)
            rc = kj_err_set(err, KJ_FAIL, "step, tokens or row are missing");
    }
    if (rc == KJ_OK)
        rc = get_spikes(c, root, err);
    if (rc == KJ_OK)
        get_seen(c, root);
    if (rc == KJ_OK && files)
        rc = check_files(dir, kj_jget(root, "files"), err);
    kj_err_where(rc ? err : NULL, path, -1);
    kj_json_free(j);
    free(path);
    return rc;
}

/* ---- save, list, load ---- */

static int falling(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int64_t *kj_checkpoint_list(const char *dir, size_t *n)
{
    DIR *d = opendir(dir);
    int64_t *v = NULL;
    *n = 0;
    if (!d)
        return NULL;
    for (struct dirent *e; (e = readdir(d));) {
        int64_t step;
        int end = 0;
        if (sscanf(e->d_name, "step-%" SCNd64 "%n", &step, &end) == 1 && step >= 0 &&
            e->d_name[end] == 0) {
            v = kj_xrealloc(v, (*n + 1) * sizeof *v);
            v[(*n)++] = step;
        }
    }
    closedir(d);
    if (v)
        qsort(v, *n, sizeof *v, falling);
    return v;
}

int kj_checkpoint_remove(const char *dir, int64_t step, struct kj_err *err)
{
    char *path = step_dir(dir, step, "", NULL),
         *manifest = step_dir(dir, step, "", MANIFEST);
    unlink(manifest); /* first, so that half a folder is never taken for one */
    int rc = kj_hf_remove(path, err);
    free(path);
    free(manifest);
    return rc;
}

static int prune(const char *dir, int64_t keep, struct kj_err *err)
{
    size_t n;
    int64_t *v = kj_checkpoint_list(dir, &n);
    int rc = KJ_OK;
    for (size_t i = (size_t)keep; i < n && rc == KJ_OK; i++)
        rc = kj_checkpoint_remove(dir, v[i], err);
    free(v);
    return rc;
}

int kj_checkpoint_save(const char *dir, const struct kj_checkpoint *c,
                       struct kj_llama *m, const struct kj_moments *moments,
                       const struct kj_hf_save *hf, int64_t keep, struct kj_err *err)
{
    char *tmp = step_dir(dir, c->step, ".tmp", NULL);
    char *to = step_dir(dir, c->step, "", NULL);
    char *opt = step_dir(dir, c->step, ".tmp", "optimizer.safetensors");
    struct kj_hf_save exact = *hf;
    struct moments s = {.m = m, .own = moments};
    struct kj_hf_source weights = kj_ranks_weights(moments->ranks);
    exact.bf16 = m->how.states_bf16;
    int rc = kj_hf_remove(tmp, err);
    if (rc == KJ_OK)
        rc = kj_output_mkdirs(tmp, err);
    if (rc == KJ_OK)
        rc = kj_hf_write_from(&weights, tmp, &exact, err);
    if (rc == KJ_OK)
        rc = save_moments(&s, opt, err);
    if (rc == KJ_OK)
        rc = put_manifest(tmp, c, err);
    if (rc == KJ_OK)
        rc = kj_checkpoint_remove(dir, c->step, err); /* a damaged one, if any */
    if (rc == KJ_OK && rename(tmp, to) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot rename %s", tmp);
    if (rc == KJ_OK)
        rc = kj_output_sync_dir(to, err);
    if (rc == KJ_OK)
        rc = prune(dir, keep, err);
    else
        kj_hf_remove(tmp, NULL); /* do not fill the disk further */
    free(tmp);
    free(to);
    free(opt);
    return rc;
}

int kj_checkpoint_load(const char *dir, int64_t step, struct kj_checkpoint *c,
                       struct kj_llama *m, const struct kj_moments *moments,
                       struct kj_err *err)
{
    char *path = step_dir(dir, step, "", NULL);
    char *opt = step_dir(dir, step, "", "optimizer.safetensors");
    struct moments s = {.m = m, .own = moments};
    int rc = read_manifest(path, c, moments != NULL, err);
    if (rc == KJ_OK && moments)
        rc = kj_hf_load(m, path, err);
    if (rc == KJ_OK && moments)
        rc = load_moments(&s, opt, err);
    free(path);
    free(opt);
    return rc;
}
