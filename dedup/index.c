/* index.c - segments of earlier corpora. */
#include "dedup/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/output.h"

enum { INDEX = 0x58444E49, SET = 0x54455349 }; /* INDX, ISET */
/* Words in front of a stored document: lengths of id and set, same, number, tie,
 * length of the word. */
enum { HEAD = 7 };

static void path_of(const struct kj_index *x, size_t no, const char *end,
                    char out[4096])
{
    if (end[0] == '.')
        snprintf(out, 4096, "%s/%06zu%s", x->dir, no + 1, end);
    else
        snprintf(out, 4096, "%s/%s", x->dir, end);
}

/* Files of segments are bound to their place and their corpus: one that was put
 * in the place of another is of other parameters. */
static struct kj_spill_params bound(const struct kj_index *x, size_t no,
                                    const uint64_t *row, uint32_t kind)
{
    struct kj_spill_params p = x->params;
    uint64_t v[3] = {no, row[0], row[1]};
    p.kind = kind;
    p.v[0] = x->params.v[0] + 1; /* the last column: where the set is */
    p.v[7] = x->params.v[7] | kj_hash64(v, sizeof v, 0) << 8;
    return p;
}

/* ---- opening ---- */

static int take_lock(struct kj_index *x, struct kj_err *err)
{
    char path[4096];
    path_of(x, 0, "lock", path);
    x->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (x->lock < 0)
        return kj_err_errno(err, KJ_FATAL, "cannot open %s", path);
    if (flock(x->lock, LOCK_EX))
        return kj_err_errno(err, KJ_FATAL, "cannot lock %s", path);
    return KJ_OK;
}

/* What a process left that was killed while it wrote: nobody else writes now. */
static void sweep(const struct kj_index *x)
{
    char path[4096];
    DIR *d = opendir(x->dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (strstr(e->d_name, ".tmp-") && strlen(e->d_name) < 64) {
            path_of(x, 0, e->d_name, path);
            unlink(path);
        }
    if (d)
        closedir(d);
}

static int read_rows(struct kj_index *x, struct kj_err *err)
{
    char path[4096];
    struct kj_spill f;
    struct kj_spill_params params = x->params;
    path_of(x, 0, "index", path);
    params.kind = INDEX;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return KJ_OK;
    int rc = kj_spill_open(&f, path, &params, err);
    if (rc)
        return KJ_FATAL;
    uint64_t n = f.count[0];
    size_t bytes = 0;
    rc = kj_spill_length(&f, KJ_SPILL_HEADER, &bytes, err);
    if (!rc && (n >= UINT32_MAX || bytes != n * KJ_INDEX_ROW * 8))
        rc = kj_err_set(err, KJ_FATAL, "%s: its counts do not fit its size", path);
    if (!rc) {
        x->n = (size_t)n;
        x->rows = kj_xmalloc(bytes + 1);
        rc = kj_spill_read(&f, KJ_SPILL_HEADER, x->rows, bytes, err);
    }
    kj_spill_release(&f);
    return rc ? KJ_FATAL : KJ_OK;
}

int kj_index_open(struct kj_index *x, const char *dir,
                  const struct kj_spill_params *params, struct kj_err *err)
{
    *x = (struct kj_index){.dir = dir, .params = *params, .lock = -1};
    x->keys.file.fd = x->sets.fd = -1;
    if (strlen(dir) > 4000)
        return kj_err_set(err, KJ_USAGE, "index: too long a name");
    int rc = kj_output_mkdirs(dir, err);
    if (!rc)
        rc = take_lock(x, err);
    if (!rc)
        sweep(x);
    return rc ? rc : read_rows(x, err);
}

void kj_index_know(struct kj_index *x, uint64_t sum, uint64_t docs)
{
    x->sum = sum;
    x->docs = docs;
    x->known = false;
    x->n_use = 0;
    for (x->use = 0; x->use < x->n; x->use++) {
        const uint64_t *row = x->rows + x->use * KJ_INDEX_ROW;
        x->known = row[0] == sum && row[1] == docs;
        if (x->known)
            break;
        x->n_use += row[2];
    }
}

/* ---- reading ---- */

struct segment {
    struct kj_sigs keys;
    struct kj_spill sets;
    uint64_t *columns;
};

static void close_segment(struct segment *g)
{
    kj_sigs_release(&g->keys);
    kj_spill_release(&g->sets);
    free(g->columns);
}

static int open_segment(const struct kj_index *x, size_t no, struct segment *g,
                        struct kj_err *err)
{
    char path[4096];
    const uint64_t *row = x->rows + no * KJ_INDEX_ROW;
    *g = (struct segment){.keys.file.fd = -1, .sets.fd = -1};
    struct kj_spill_params p = bound(x, no, row, KJ_SIGS_KIND);
    path_of(x, no, ".keys", path);
    int rc = kj_sigs_open(&g->keys, path, &p, err);
    if (!rc && g->keys.n_docs != row[2])
        rc = kj_err_set(err, KJ_FATAL, "%s: has %llu documents, not %llu", path,
                        (unsigned long long)g->keys.n_docs, (unsigned long long)row[2]);
    p.kind = SET;
    path_of(x, no, ".sets", path);
    if (!rc)
        rc = kj_spill_open(&g->sets, path, &p, err);
    if (rc) {
        close_segment(g);
        return KJ_FATAL;
    }
    g->columns = kj_xcalloc(g->keys.cap * (g->keys.bands + 1), 8);
    return KJ_OK;
}

static int
segment_keys(const struct kj_index *x, const struct segment *g, uint64_t first,
             int (*take)(void *, uint64_t, const uint64_t *, struct kj_err *),
             void *ctx, struct kj_err *err)
{
    size_t cap = g->keys.cap, bands = (size_t)x->params.v[0];
    uint64_t *row = kj_xcalloc(bands, 8);
    int rc = KJ_OK;
    for (uint64_t k = 0; k < kj_sigs_chunks(&g->keys) && !rc; k++) {
        /* not needed, but a file that was changed is not to be trusted */
        rc = kj_sigs_column(&g->keys, k, 0, g->columns, err);
        for (unsigned b = 0; b < bands && !rc; b++)
            rc = kj_sigs_column(&g->keys, k, 1 + b, g->columns + b * cap, err);
        for (size_t i = 0; i < cap && k * cap + i < g->keys.n_docs && !rc; i++) {
            for (size_t b = 0; b < bands; b++)
                row[b] = g->columns[b * cap + i];
            rc = take(ctx, first + k * cap + i, row, err);
        }
    }
    free(row);
    return rc;
}

int kj_index_keys(const struct kj_index *x,
                  int (*take)(void *ctx, uint64_t no, const uint64_t *keys,
                              struct kj_err *err),
                  void *ctx, struct kj_err *err)
{
    uint64_t first = 0;
    int rc = KJ_OK;
    for (size_t no = 0; no < x->use && !rc; no++) {
        struct segment g;
        rc = open_segment(x, no, &g, err);
        if (rc)
            return rc;
        rc = segment_keys(x, &g, first, take, ctx, err);
        first += g.keys.n_docs;
        close_segment(&g);
    }
    return rc;
}

/* Of all that compares equal by number, greatest words come first: earlier
 * segments, and in a segment the order that its corpus had. */
static void put_order(char word[16], size_t segment, double number)
{
    uint64_t bits, v[2];
    number += 0.0;
    memcpy(&bits, &number, 8);
    v[0] = segment;
    v[1] = bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
    for (int i = 0; i < 16; i++)
        word[i] = (char)(~v[i / 8] >> (56 - i % 8 * 8));
}

struct stored {
    uint64_t *v;
    char *word;
};

static int read_set(const struct segment *g, size_t segment, uint64_t pos,
                    struct stored *buf, struct kj_candidate *c, struct kj_err *err)
{
    size_t n;
    int rc = kj_spill_length(&g->sets, pos, &n, err);
    if (rc)
        return rc;
    buf->v = kj_xrealloc(buf->v, n + 8);
    rc = kj_spill_read(&g->sets, pos, buf->v, n, err);
    if (rc)
        return rc;
    const uint64_t *v = buf->v;
    if (n < HEAD * 8 || v[0] > n || v[1] > n / 8 || v[6] > n ||
        HEAD * 8 + v[1] * 8 + v[0] + v[6] != n)
        return kj_err_set(err, KJ_FATAL, "%s: a document is damaged", g->sets.path);
    const char *id = (const char *)(v + HEAD + v[1]);
    double number;
    memcpy(&number, &v[4], 8);
    buf->word = kj_xrealloc(buf->word, 16 + v[6]);
    put_order(buf->word, segment, number);
    memcpy(buf->word + 16, id + v[0], v[6]);
    *c = (struct kj_candidate){.number = -HUGE_VAL,
                               .word = {buf->word, 16 + (size_t)v[6]},
                               .id = {id, (size_t)v[0]},
                               .tie = v[5],
                               .weight = 1,
                               .same = {v[2], v[3]},
                               .set = v[1] ? v + HEAD : NULL,
                               .n = (size_t)v[1]};
    return KJ_OK;
}

int kj_index_candidates(const struct kj_index *x,
                        bool (*wanted)(void *ctx, uint64_t no),
                        int (*take)(void *ctx, struct kj_candidate *c,
                                    struct kj_err *err),
                        void *ctx, struct kj_err *err)
{
    struct stored buf = {NULL, NULL};
    uint64_t first = 0;
    int rc = KJ_OK;
    for (size_t no = 0; no < x->use && !rc; no++) {
        struct segment g;
        rc = open_segment(x, no, &g, err);
        if (rc)
            break;
        size_t cap = g.keys.cap;
        for (uint64_t k = 0; k < kj_sigs_chunks(&g.keys) && !rc; k++) {
            rc = kj_sigs_column(&g.keys, k, g.keys.bands, g.columns, err);
            for (size_t i = 0; i < cap && k * cap + i < g.keys.n_docs && !rc; i++) {
                uint64_t at = first + k * cap + i;
                struct kj_candidate c = {0};
                if (!wanted(ctx, at))
                    continue;
                rc = read_set(&g, no, g.columns[i], &buf, &c, err);
                c.doc = at;
                if (!rc)
                    rc = take(ctx, &c, err);
            }
        }
        first += g.keys.n_docs;
        close_segment(&g);
    }
    free(buf.v);
    free(buf.word);
    return rc;
}

/* ---- writing ---- */

int kj_index_begin(struct kj_index *x, struct kj_err *err)
{
    char name[32];
    x->rows = kj_xrealloc(x->rows, (x->n + 1) * KJ_INDEX_ROW * 8);
    x->row = x->rows + x->n * KJ_INDEX_ROW;
    memset(x->row, 0, KJ_INDEX_ROW * 8);
    x->row[0] = x->sum;
    x->row[1] = x->docs;
    x->writing = true;
    x->kept = 0;
    struct kj_spill_params p = bound(x, x->n, x->row, KJ_SIGS_KIND);
    snprintf(name, sizeof name, "%06zu.keys", x->n + 1);
    int rc = kj_sigs_create(&x->keys, x->dir, name, &p, err);
    p.kind = SET;
    snprintf(name, sizeof name, "%06zu.sets", x->n + 1);
    return rc ? rc : kj_spill_create(&x->sets, x->dir, name, &p, err);
}

int kj_index_add(struct kj_index *x, const uint64_t *keys, const struct kj_candidate *k,
                 struct kj_err *err)
{
    uint64_t row[4097], pos;
    size_t bands = (size_t)x->params.v[0];
    size_t n = HEAD * 8 + k->n * 8 + k->id.n + k->word.n;
    if (bands + 1 > sizeof row / 8)
        return kj_err_set(err, KJ_FATAL, "too many bands for an index");
    if (n > x->cap_buf) {
        x->buf = kj_xrealloc(x->buf, n);
        x->cap_buf = n;
    }
    uint64_t head[HEAD] = {k->id.n, k->n, k->same.hi, k->same.lo, 0, k->tie, k->word.n};
    memcpy(&head[4], &k->number, 8);
    char *p = x->buf;
    memcpy(p, head, sizeof head);
    p += sizeof head;
    if (k->n)
        memcpy(p, k->set, k->n * 8);
    p += k->n * 8;
    if (k->id.n)
        memcpy(p, k->id.p, k->id.n);
    if (k->word.n)
        memcpy(p + k->id.n, k->word.p, k->word.n);
    int rc = kj_spill_add(&x->sets, x->buf, n, &pos, err);
    memcpy(row, keys, bands * 8);
    row[bands] = pos;
    return rc ? rc : kj_sigs_add(&x->keys, x->kept++, 1, row, err);
}

int kj_index_commit(struct kj_index *x, struct kj_err *err)
{
    struct kj_spill f;
    struct kj_spill_params params = x->params;
    params.kind = INDEX;
    x->row[2] = x->kept;
    int rc = kj_sigs_finish(&x->keys, err);
    if (!rc)
        rc = kj_spill_finish(&x->sets, err);
    if (rc)
        return rc;
    rc = kj_spill_create(&f, x->dir, "index", &params, err);
    if (rc)
        return rc;
    f.count[0] = x->n + 1;
    for (size_t i = 0; i <= x->n; i++)
        f.count[1] += x->rows[i * KJ_INDEX_ROW + 2];
    rc = kj_spill_add(&f, x->rows, (x->n + 1) * KJ_INDEX_ROW * 8, NULL, err);
    if (!rc)
        rc = kj_spill_finish(&f, err);
    kj_spill_release(&f);
    x->n += !rc;
    x->writing = false;
    return rc;
}

void kj_index_release(struct kj_index *x)
{
    if (!x->dir)
        return;
    kj_sigs_release(&x->keys);
    kj_spill_release(&x->sets);
    free(x->rows);
    free(x->buf);
    if (x->lock >= 0)
        close(x->lock);
    *x = (struct kj_index){.lock = -1};
}
