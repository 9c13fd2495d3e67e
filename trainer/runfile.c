/* runfile.c - see runfile.h.
 *
 * Runs are compared as text: both are resolved and dumped without what does not change
 * the result, which gives a line for each key, and stages at the end.
 */
#include "trainer/runfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"
#include "base/output.h"

#define DATA     "# data "
#define FILE_MAX ((size_t)1 << 20)

/* What a run cannot change: the weights and moments that it has would not do. */
static const char *const fixed_keys[] = {"model.", "optim.kind", "optim.states"};

struct lines {
    struct kj_buf text; /* what the keys and values point into */
    struct {
        char key[96]; /* "optim.lr" */
        struct kj_str value;
    } v[200];
    size_t n;
    struct kj_str stages;
};

static void split(struct lines *l)
{
    char section[64] = "";
    for (size_t at = 0; at < l->text.n && l->n < sizeof l->v / sizeof *l->v;) {
        const char *p = l->text.p + at, *nl = memchr(p, '\n', l->text.n - at);
        size_t n = nl ? (size_t)(nl - p) : l->text.n - at;
        const char *colon = memchr(p, ':', n);
        size_t key = colon ? (size_t)(colon - p) : n, in = *p == ' ' ? 2 : 0;
        if (n == 7 && memcmp(p, "stages:", 7) == 0) {
            l->stages = (struct kj_str){p, l->text.n - at};
            return;
        }
        if (!in && key + 1 == n) {
            snprintf(section, sizeof section, "%.*s", (int)key, p);
        } else if (colon) {
            snprintf(l->v[l->n].key, sizeof l->v[l->n].key, "%s%s%.*s",
                     in ? section : "", in ? "." : "", (int)(key - in), p + in);
            size_t from = key + 2 < n ? key + 2 : n;
            l->v[l->n++].value = (struct kj_str){p + from, n - from};
        }
        at += n + 1;
    }
}

static struct lines *lines_of(const struct kj_run *r)
{
    struct lines *l = kj_xcalloc(1, sizeof *l);
    kj_buf_init(&l->text, FILE_MAX);
    kj_run_dump(r, true, &l->text);
    split(l);
    return l;
}

static void lines_free(struct lines *l)
{
    if (l)
        kj_buf_release(&l->text);
    free(l);
}

static const struct kj_str *find(const struct lines *l, const char *key)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i].key, key) == 0)
            return &l->v[i].value;
    return NULL;
}

static bool equal(const struct kj_str *a, const struct kj_str *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

/* One key more that differs; old NULL: it had its default, which is not dumped. */
static void add(struct kj_runfile_diff *d, const char *key, const struct kj_str *now,
                const struct kj_str *old)
{
    size_t n = strlen(d->what);
    char there[64] = "";
    if (old)
        snprintf(there, sizeof there, " (there %.*s)", (int)old->n, old->p);
    snprintf(d->what + n, sizeof d->what - n, "%s%s%s%.*s%s", n ? ", " : "", key,
             now ? " " : "", now ? (int)(now->n < 40 ? now->n : 40) : 0,
             now ? now->p : "", there);
    d->same = false;
    for (size_t i = 0; i < sizeof fixed_keys / sizeof *fixed_keys; i++)
        d->fixed |= strncmp(key, fixed_keys[i], strlen(fixed_keys[i])) == 0;
}

static void compare(const struct lines *now, const struct lines *old,
                    struct kj_runfile_diff *d)
{
    for (size_t i = 0; i < now->n; i++) {
        const struct kj_str *was = find(old, now->v[i].key);
        if (!was || !equal(was, &now->v[i].value))
            add(d, now->v[i].key, &now->v[i].value, was);
    }
    for (size_t i = 0; i < old->n; i++)
        if (!find(now, old->v[i].key))
            add(d, old->v[i].key, NULL, &old->v[i].value);
    if (!equal(&now->stages, &old->stages))
        add(d, "stages", NULL, NULL);
}

/* The hash in the first line, or "". */
static void data_of(const char *path, char hash[40])
{
    char line[80] = "";
    FILE *f = fopen(path, "re");
    *hash = 0;
    if (f && fgets(line, sizeof line, f) && strncmp(line, DATA, strlen(DATA)) == 0)
        snprintf(hash, 40, "%.*s", (int)strcspn(line + strlen(DATA), "\n"),
                 line + strlen(DATA));
    if (f)
        fclose(f);
}

void kj_runfile_compare(const char *dir, const struct kj_run *run,
                        const char *data_hash, struct kj_runfile_diff *out)
{
    char *path = kj_xprintf("%s/run.yaml", dir), data[40];
    struct kj_run there;
    *out = (struct kj_runfile_diff){.same = true};
    int rc = kj_run_load(&there, path, NULL);
    if (rc == KJ_OK) {
        rc = kj_run_resolve(&there, 0, NULL);
        out->known = rc == KJ_OK;
        if (out->known) {
            struct lines *a = lines_of(run), *b = lines_of(&there);
            compare(a, b, out);
            lines_free(a);
            lines_free(b);
            data_of(path, data);
            if (strcmp(data, data_hash) != 0)
                add(out, "the data", NULL, NULL);
        }
        kj_run_release(&there);
    }
    out->same &= out->known;
    free(path);
}

int kj_runfile_keep(const char *dir, const struct kj_run *run, const char *data_hash,
                    int64_t step, struct kj_err *err)
{
    char *path = kj_xprintf("%s/run.yaml", dir);
    char *old = kj_xprintf("%s/run.to-%08" PRId64 ".yaml", dir, step);
    struct kj_runfile_diff d;
    struct kj_buf b;
    int rc = KJ_OK;
    kj_runfile_compare(dir, run, data_hash, &d);
    if (step >= 0 && d.known && !d.same && rename(path, old) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot rename %s", path);
    kj_buf_init(&b, FILE_MAX);
    kj_buf_printf(&b, DATA "%s\n", data_hash);
    if (rc == KJ_OK && kj_run_dump(run, false, &b))
        rc = kj_err_set(err, KJ_FATAL, "configuration is too long");
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    kj_buf_release(&b);
    free(path);
    free(old);
    return rc;
}
