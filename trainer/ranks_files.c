/* ranks_files.c - the files of a run of whose numbers each rank has a part.
 *
 * Where all ranks see the folder of rank 0 each writes its part itself: rank 0 lays a
 * file out, tells which elements of the model it holds and where, and each rank puts
 * what it has there and syncs it. When all have, the file is whole. Elsewhere their
 * parts come to rank 0 over TCP, which writes all of them: the same bytes.
 *
 * Whether they see it is tried before each file, with a small one beside it that is
 * handled in the same way: each rank looks for a number of rank 0's there and puts an
 * answer behind it, and rank 0 looks for all of them. (A folder of this name may be
 * another one on another machine, or one of a network whose clients keep what they have
 * read for a while, or pages that others wrote to.)
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "nn/backend.h"
#include "nn/comm.h"
#include "trainer/ranks.h"

#define COPY_FLOATS ((size_t)1 << 18)

/* What rank 0 asks for; n 0: nothing more. Of a file: n tensors of type `at`. */
struct request {
    uint64_t at, n;
    int32_t what, pad;
};
enum { WRITE_FILE = KJ_KEPT_WEIGHTS + 1 };

static bool is_cut(const struct kj_ranks *k)
{
    return k->comm && !k->whole;
}

/* A part of a span of this rank's, or none where the moments are not given. */
static struct kj_mat kept(const struct kj_ranks *k, struct kj_tensor *const moments[2],
                          enum kj_kept what, const struct kj_span *s)
{
    return what == KJ_KEPT_WEIGHTS ? kj_llama_master(k->m, s)
                                   : kj_mat(moments[what], s->at, 1);
}

/* ---- over TCP ---- */

/* This rank's elements of at .. at+n, read from the device. */
static int own(struct kj_ranks *k, struct kj_tensor *const moments[2],
               enum kj_kept what, size_t at, size_t n, float *out, struct kj_err *err)
{
    struct kj_span s;
    for (size_t i = 0; i < k->m->n_spans; i++)
        if (kj_llama_span(k->m, i, at, at + n, &s)) {
            struct kj_mat x = kept(k, moments, what, &s);
            k->b->ops->read(k->b, x.t, x.at, out, s.to - s.from);
            out += s.to - s.from;
        }
    return k->b->ops->sync(k->b, err);
}

/* Elements at .. at+n from all ranks' to rank 0's `to`; mine: this rank's of them. */
static int collect(struct kj_ranks *k, const float *mine, size_t at, size_t n,
                   float *to, struct kj_err *err)
{
    struct kj_span s;
    int rc = KJ_OK;
    for (size_t i = 0; i < k->m->n_spans && rc == KJ_OK; i++) {
        size_t unit = kj_llama_unit(k->m, i), all = kj_llama_unit(k->m, i + 1) - unit;
        size_t from = unit > at ? unit : at;
        size_t end = unit + all < at + n ? unit + all : at + n;
        if (from >= end)
            continue;
        rc = kj_comm_collect(k->comm, mine, all, from - unit, end - from,
                             to ? to + (from - at) : NULL, err);
        if (kj_llama_span(k->m, i, from, end, &s))
            mine += s.to - s.from;
    }
    return rc;
}

int kj_ranks_read(struct kj_ranks *k, struct kj_tensor *const moments[2],
                  enum kj_kept what, size_t at, float *out, size_t n,
                  struct kj_err *err)
{
    struct request q = {at, n, what, 0};
    if (what == KJ_KEPT_WEIGHTS && !kj_llama_masters_cut(k->m)) {
        k->b->ops->read(k->b, k->m->w, at, out, n);
        return k->b->ops->sync(k->b, err);
    }
    if (!is_cut(k))
        return own(k, moments, what, at, n, out, err);
    float *mine = kj_xmalloc((n + 1) * sizeof *mine);
    int rc = kj_ranks_tell(k, &q, sizeof q, err);
    if (rc == KJ_OK)
        rc = own(k, moments, what, at, n, mine, err);
    if (rc == KJ_OK)
        rc = collect(k, mine, at, n, out, err);
    free(mine);
    return rc;
}

/* ---- whether all see the folder ---- */

struct trial {
    unsigned char number[16];
    char name[240]; /* of the file, in the run's folder */
};
struct answer {
    unsigned char hash[8];
};

static char *trial_path(const struct kj_ranks *k, const struct trial *t)
{
    return kj_xprintf("%s/%s.trial", k->dir, t->name);
}

static struct answer answer_of(const struct trial *t, int rank)
{
    struct answer a;
    uint64_t h = kj_hash64(t->number, sizeof t->number, (uint64_t)rank);
    memcpy(a.hash, &h, sizeof a.hash);
    return a;
}

static off_t place_of(int rank)
{
    return (off_t)(sizeof((struct trial *)0)->number +
                   (size_t)rank * sizeof(struct answer));
}

static bool pose(const struct kj_ranks *k, struct trial *t)
{
    char *path = trial_path(k, t);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    free(path);
    bool ok = fd >= 0 && getentropy(t->number, sizeof t->number) == 0 &&
              write(fd, t->number, sizeof t->number) == (ssize_t)sizeof t->number &&
              ftruncate(fd, place_of(k->size)) == 0;
    return fd >= 0 && kj_st_leave(fd, NULL) == KJ_OK && ok;
}

/* Rank 0 answers, too: the files to come it writes to like the others. */
static bool answer(const struct kj_ranks *k, const struct trial *t)
{
    struct answer a = answer_of(t, k->rank);
    unsigned char seen[sizeof t->number];
    char *path = trial_path(k, t);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, seen, sizeof seen) == (ssize_t)sizeof seen &&
              memcmp(seen, t->number, sizeof seen) == 0;
    if (fd >= 0)
        close(fd);
    if (ok && (ok = kj_st_join(&fd, path, NULL) == KJ_OK)) {
        ok = pwrite(fd, &a, sizeof a, place_of(k->rank)) == (ssize_t)sizeof a;
        ok = kj_st_leave(fd, NULL) == KJ_OK && ok;
    }
    free(path);
    return ok;
}

static bool all_answered(const struct kj_ranks *k, const struct trial *t)
{
    char *path = trial_path(k, t);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0;
    for (int r = 0; r < k->size && ok; r++) {
        struct answer want = answer_of(t, r), got;
        ok = pread(fd, &got, sizeof got, place_of(r)) == (ssize_t)sizeof got &&
             memcmp(&got, &want, sizeof got) == 0;
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    free(path);
    return ok;
}

/* *yes: it is so on all ranks. */
static int agree(struct kj_ranks *k, bool *yes, struct kj_err *err)
{
    double no = !*yes;
    int rc = kj_ranks_add(k, &no, 1, err);
    *yes = rc == KJ_OK && no < 0.5;
    return rc;
}

/* All ranks call it; t->name is rank 0's to give. */
static int try_folder(struct kj_ranks *k, struct trial *t, bool *shared,
                      struct kj_err *err)
{
    *shared = k->rank || pose(k, t);
    int rc = kj_ranks_tell(k, t, sizeof *t, err);
    *shared = rc == KJ_OK && answer(k, t) && *shared;
    rc = rc ? rc : agree(k, shared, err);
    if (k->rank == 0)
        *shared = all_answered(k, t) && *shared;
    return rc ? rc : agree(k, shared, err);
}

/* ---- each its part ---- */

/* n elements of the model from `at` on go to byte `place` of the file. */
struct piece {
    uint64_t at, n, place;
    int32_t what, pad;
};

static int put_piece(struct kj_ranks *k, struct kj_tensor *const moments[2], int fd,
                     const struct piece *p, enum kj_st_type type, float *x,
                     struct kj_err *err)
{
    struct kj_span s;
    int rc = KJ_OK;
    for (size_t i = 0; i < k->m->n_spans && rc == KJ_OK; i++) {
        if (!kj_llama_span(k->m, i, p->at, p->at + p->n, &s))
            continue;
        struct kj_mat from = kept(k, moments, (enum kj_kept)p->what, &s);
        for (size_t at = s.from, n; at < s.to && rc == KJ_OK; at += n) {
            n = s.to - at < COPY_FLOATS ? s.to - at : COPY_FLOATS;
            k->b->ops->read(k->b, from.t, from.at + (at - s.from), x, n);
            rc = k->b->ops->sync(k->b, err);
            if (rc == KJ_OK)
                rc = kj_st_put(fd, p->place + (at - p->at) * kj_st_size(type), type, x,
                               n, err);
        }
    }
    return rc;
}

static int put_pieces(struct kj_ranks *k, struct kj_tensor *const moments[2],
                      const char *path, const struct piece *p, size_t n,
                      enum kj_st_type type, struct kj_err *err)
{
    int fd, rc = kj_st_join(&fd, path, err);
    if (rc)
        return rc;
    float *x = kj_xmalloc(COPY_FLOATS * sizeof *x);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = put_piece(k, moments, fd, &p[i], type, x, err);
    if (rc == KJ_OK)
        rc = kj_st_leave(fd, err);
    else
        close(fd);
    free(x);
    kj_err_where(rc ? err : NULL, path, -1);
    return rc;
}

/* Rank 0's file, which it has laid out: all ranks' numbers, until all have put theirs. */
static int write_parts(struct kj_ranks *k, struct kj_tensor *const moments[2],
                       const char *path, struct piece *p, size_t n,
                       enum kj_st_type type, struct kj_err *err)
{
    bool done = true;
    int rc = kj_ranks_tell(k, p, n * sizeof *p, err);
    rc = rc ? rc : put_pieces(k, moments, path, p, n, type, err);
    return rc ? rc : agree(k, &done, err);
}

/* Another rank's side of kj_ranks_write. */
static int help_write(struct kj_ranks *k, struct kj_tensor *const moments[2],
                      const struct request *q, struct kj_err *err)
{
    struct trial t;
    bool shared;
    int rc = try_folder(k, &t, &shared, err);
    if (rc || !shared)
        return rc;
    struct piece *p = kj_xcalloc(q->n, sizeof *p);
    char *path = kj_xprintf("%s/%s", k->dir, t.name);
    rc = write_parts(k, moments, path, p, q->n, (enum kj_st_type)q->at, err);
    free(path);
    free(p);
    return rc;
}

/* Of a file in the run's folder: its name there, if other ranks can be told of it. */
static bool name_in(const struct kj_ranks *k, const char *path, struct trial *t)
{
    size_t n = k->dir ? strlen(k->dir) : 0;
    return n && strncmp(path, k->dir, n) == 0 && path[n] == '/' &&
           snprintf(t->name, sizeof t->name, "%s", path + n + 1) < (int)sizeof t->name;
}

struct source {
    struct kj_ranks *k;
    struct kj_tensor *const *moments;
    const struct kj_ranks_part *from;
};

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    const struct source *s = ctx;
    return kj_ranks_read(s->k, s->moments, s->from[i].what, s->from[i].at + at, out, n,
                         err);
}

static int write_shared(struct kj_ranks *k, struct kj_tensor *const moments[2],
                        const char *path, const struct kj_st_out *t,
                        const struct kj_ranks_part *from, size_t n,
                        enum kj_st_type type, struct kj_err *err)
{
    uint64_t *place = kj_xcalloc(n, sizeof *place);
    struct piece *p = kj_xcalloc(n, sizeof *p);
    int rc = kj_st_lay_out(path, t, n, type, place, err);
    for (size_t i = 0; i < n; i++) {
        p[i] = (struct piece){from[i].at, 1, place[i], from[i].what, 0};
        for (unsigned j = 0; j < t[i].rank; j++)
            p[i].n *= t[i].shape[j];
    }
    rc = rc ? rc : write_parts(k, moments, path, p, n, type, err);
    free(place);
    free(p);
    return rc;
}

int kj_ranks_write(struct kj_ranks *k, struct kj_tensor *const moments[2],
                   const char *path, const struct kj_st_out *t,
                   const struct kj_ranks_part *from, size_t n, enum kj_st_type type,
                   struct kj_err *err)
{
    struct source s = {k, moments, from};
    struct request q = {type, n, WRITE_FILE, 0};
    struct trial where = {0};
    bool shared = false;
    if (is_cut(k) && n && name_in(k, path, &where)) {
        int rc = kj_ranks_tell(k, &q, sizeof q, err);
        rc = rc ? rc : try_folder(k, &where, &shared, err);
        if (rc)
            return rc;
        k->apart = !shared;
    }
    return shared ? write_shared(k, moments, path, t, from, n, type, err)
                  : kj_st_write(path, t, n, type, fill, &s, err);
}

/* ---- */

static int write_weights(void *ctx, const char *path, const struct kj_st_out *t,
                         size_t n, enum kj_st_type type, struct kj_err *err)
{
    struct kj_ranks *k = ctx;
    struct kj_ranks_part *from = kj_xcalloc(n, sizeof *from);
    for (size_t i = 0; i < n; i++)
        from[i] = (struct kj_ranks_part){KJ_KEPT_WEIGHTS, k->m->params[i].at};
    int rc = kj_ranks_write(k, NULL, path, t, from, n, type, err);
    free(from);
    return rc;
}

struct kj_hf_source kj_ranks_weights(struct kj_ranks *k)
{
    return (struct kj_hf_source){&k->m->shape, NULL, k, write_weights};
}

int kj_ranks_done(struct kj_ranks *k, struct kj_err *err)
{
    struct request q = {0};
    return k->whole ? KJ_OK : kj_ranks_tell(k, &q, sizeof q, err);
}

int kj_ranks_lend(struct kj_ranks *k, struct kj_tensor *const moments[2],
                  struct kj_err *err)
{
    struct request q = {0};
    float *mine = NULL;
    int rc = KJ_OK;
    while (!k->whole && (rc = kj_ranks_tell(k, &q, sizeof q, err)) == KJ_OK && q.n) {
        if (q.what == WRITE_FILE) {
            rc = help_write(k, moments, &q, err);
        } else {
            mine = kj_xrealloc(mine, (q.n + 1) * sizeof *mine);
            rc = own(k, moments, (enum kj_kept)q.what, q.at, q.n, mine, err);
            if (rc == KJ_OK)
                rc = collect(k, mine, q.at, q.n, NULL, err);
        }
        if (rc)
            break;
    }
    free(mine);
    return rc;
}
