/* pieces.c - signatures in many files. */
#include "dedup/pieces.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

static char *path_of(const char *dir, const char *name, const char *end)
{
    size_t n = strlen(dir) + strlen(name) + strlen(end) + 2;
    char *s = kj_xmalloc(n);
    snprintf(s, n, "%s/%s%s", dir, name, end);
    return s;
}

struct kj_spill_params kj_pieces_params(const struct kj_pieces *p, uint32_t kind,
                                        size_t file, uint64_t more)
{
    struct kj_spill_params q = p->params;
    uint64_t h = kj_hash64(&more, sizeof more, q.v[7]);
    h = kj_hash64(&p->per, sizeof p->per, h);
    if (file == SIZE_MAX)
        h = kj_hash64(p->ids, p->n_files * sizeof *p->ids, h);
    else
        h = kj_hash64((uint64_t[]){file, p->ids[file]}, 16, h);
    q.kind = kind;
    q.v[7] = h;
    return q;
}

int kj_pieces_file(struct kj_spill *s, const char *dir, const char *name,
                   const struct kj_spill_params *params, struct kj_err *err)
{
    char *path = path_of(dir, name, "");
    int rc = access(path, F_OK) && errno == ENOENT ? KJ_EOF : KJ_OK;
    if (!rc && kj_spill_open(s, path, params, err)) {
        kj_err_context(err, "remove it to have it made again, or take another --work");
        err->rc = rc = KJ_FATAL;
    }
    free(path);
    return rc;
}

void kj_pieces_sweep(const char *dir, const char *name)
{
    char *pattern = path_of(dir, name, ".tmp-*");
    glob_t g;
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
        globfree(&g);
    }
    free(pattern);
}

static struct kj_spill_params piece_params(const struct kj_pieces *p, size_t file,
                                           size_t part)
{
    return kj_pieces_params(p, KJ_SIGS_KIND, file, part);
}

static void piece_name(char out[KJ_PIECES_NAME], size_t file, size_t part)
{
    snprintf(out, KJ_PIECES_NAME, "sigs-%05zu-%04zu", file, part);
}

int kj_pieces_open(const struct kj_pieces *p, size_t file, size_t part,
                   struct kj_sigs *out, struct kj_err *err)
{
    char name[KJ_PIECES_NAME];
    struct kj_spill_params params = piece_params(p, file, part);
    piece_name(name, file, part);
    char *path = path_of(p->dir, name, "");
    int rc = access(path, F_OK) && errno == ENOENT ? KJ_EOF : KJ_OK;
    if (!rc && kj_sigs_open(out, path, &params, err)) {
        kj_err_context(err, "remove it to have it made again, or take another --work");
        err->rc = rc = KJ_FATAL;
    }
    if (!rc && out->n_docs > p->per) {
        rc = kj_err_set(err, KJ_FATAL, "%s holds too many documents", path);
        kj_sigs_release(out);
    }
    free(path);
    return rc;
}

int kj_pieces_create(const struct kj_pieces *p, size_t file, size_t part,
                     struct kj_sigs *out, struct kj_err *err)
{
    char name[KJ_PIECES_NAME];
    struct kj_spill_params params = piece_params(p, file, part);
    piece_name(name, file, part);
    kj_pieces_sweep(p->dir, name);
    return kj_sigs_create(out, p->dir, name, &params, err);
}

static int load_file(struct kj_pieces *p, size_t file, uint64_t *docs,
                     struct kj_err *err)
{
    char name[KJ_PIECES_NAME];
    uint64_t n = p->per;
    for (size_t part = 0; n == p->per; part++) {
        struct kj_sigs s;
        int rc = kj_pieces_open(p, file, part, &s, err);
        piece_name(name, file, part);
        if (rc == KJ_EOF)
            return kj_err_set(err, KJ_FATAL,
                              "%s/%s is missing: first run --step sign (this is of "
                              "input file %zu, counted from 0)",
                              p->dir, name, file);
        if (rc)
            return rc;
        n = s.n_docs;
        kj_sigs_release(&s);
        if (p->n == p->cap) {
            p->cap = p->cap ? 2 * p->cap : 64;
            p->v = kj_xrealloc(p->v, p->cap * sizeof *p->v);
        }
        p->v[p->n++] = (struct kj_piece){(uint32_t)file, (uint32_t)part, *docs, n};
        *docs += n;
    }
    return KJ_OK;
}

int kj_pieces_load(struct kj_pieces *p, struct kj_err *err)
{
    uint64_t docs = 0;
    int rc = KJ_OK;
    kj_pieces_release(p);
    p->first = kj_xcalloc(p->n_files + 1, sizeof *p->first);
    for (size_t f = 0; f < p->n_files && !rc; f++) {
        p->first[f] = docs;
        rc = load_file(p, f, &docs, err);
    }
    p->first[p->n_files] = docs;
    if (!rc && docs >= UINT32_MAX)
        rc = kj_err_set(err, KJ_FATAL,
                        "more than 4 billion documents: deduplicate in parts");
    return rc;
}

size_t kj_pieces_find(const struct kj_pieces *p, uint64_t doc)
{
    size_t lo = 0, hi = p->n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->v[mid].first <= doc)
            lo = mid;
        else
            hi = mid;
    }
    return lo; /* the last to start there, so an empty one is not it */
}

uint64_t kj_pieces_docs(const struct kj_pieces *p)
{
    return p->first ? p->first[p->n_files] : 0;
}

void kj_pieces_shard(struct kj_pieces *p, size_t shard, size_t shards)
{
    p->shard = shard;
    p->shards = shards;
    p->n_mine = shard < p->n_files ? (p->n_files - 1 - shard) / shards + 1 : 0;
    free(p->before);
    p->before = kj_xcalloc(p->n_mine + 1, sizeof *p->before);
    for (size_t i = 0; i < p->n_mine; i++) {
        size_t f = shard + i * shards;
        p->before[i + 1] = p->before[i] + p->first[f + 1] - p->first[f];
    }
}

uint64_t kj_pieces_number(const struct kj_pieces *p, uint64_t serial)
{
    if (serial >= p->before[p->n_mine])
        return UINT64_MAX;
    size_t lo = 0, hi = p->n_mine;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->before[mid] <= serial)
            lo = mid;
        else
            hi = mid;
    }
    return p->first[p->shard + lo * p->shards] + serial - p->before[lo];
}

void kj_pieces_release(struct kj_pieces *p)
{
    free(p->before);
    p->before = NULL;
    free(p->v);
    free(p->first);
    p->v = NULL;
    p->first = NULL;
    p->n = p->cap = 0;
}
