/* feed.c - stages, sources and weights to rows. */
#include "trainer/feed.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/stages.h"

struct kj_feed_stage {
    uint64_t first; /* global row */
    uint64_t *base; /* [set]: rows that earlier stages took */
    /* With several sources: source of each row of the pattern, and how many rows
     * before it are the same source's; [n_sources]: in a whole pattern. */
    uint8_t *turn;
    uint16_t *nth;
    uint64_t share[KJ_SOURCES_MAX];
};

static void weave(struct kj_feed_stage *st, const struct kj_run_stage *s)
{
    double sum = 0;
    st->turn = kj_xcalloc(KJ_FEED_PATTERN, sizeof *st->turn);
    st->nth = kj_xcalloc(KJ_FEED_PATTERN, sizeof *st->nth);
    for (size_t k = 0; k < s->n_sources; k++)
        sum += s->sources[k].weight;
    for (size_t i = 0; i < KJ_FEED_PATTERN; i++) {
        size_t best = 0;
        double most = -1;
        for (size_t k = 0; k < s->n_sources; k++) {
            double behind =
                (double)(i + 1) * s->sources[k].weight / sum - (double)st->share[k];
            if (behind > most) {
                most = behind;
                best = k;
            }
        }
        st->turn[i] = (uint8_t)best;
        st->nth[i] = (uint16_t)st->share[best]++;
    }
}

/* Rows that source k has among the first `rows` of the stage. */
static uint64_t turns(const struct kj_feed_stage *st, size_t k, uint64_t rows)
{
    uint64_t n = rows / KJ_FEED_PATTERN * st->share[k];
    for (size_t i = 0; i < rows % KJ_FEED_PATTERN; i++)
        n += st->turn[i] == k;
    return n;
}

uint64_t kj_feed_taken(const struct kj_feed *f, size_t stage, size_t set, uint64_t rows)
{
    const struct kj_run_stage *s = &f->run->stages[stage];
    const struct kj_feed_stage *st = &f->stages[stage];
    uint64_t n = 0;
    for (size_t k = 0; k < s->n_sources; k++)
        if (s->sources[k].set == set)
            n += st->turn ? turns(st, k, rows) : rows;
    return n;
}

/* Two sources of a stage may be one set; their rows then alternate in it, so a
 * set's rows are counted by set, not by source. */
static int no_twins(const struct kj_run_stage *s, struct kj_err *err)
{
    for (size_t k = 0; k < s->n_sources; k++)
        for (size_t i = 0; i < k; i++)
            if (s->sources[i].set == s->sources[k].set)
                return kj_err_set(err, KJ_USAGE, "stage %s names the same data twice",
                                  s->name);
    return KJ_OK;
}

static int open_stages(struct kj_feed *f, struct kj_err *err)
{
    const struct kj_run *r = f->run;
    int rc = KJ_OK;
    f->stages = kj_xcalloc(r->n_stages, sizeof *f->stages);
    for (size_t i = 0; i < r->n_stages && rc == KJ_OK; i++) {
        const struct kj_run_stage *s = &r->stages[i];
        struct kj_feed_stage *st = &f->stages[i];
        rc = no_twins(s, err);
        st->base = kj_xcalloc(f->n_sets, sizeof *st->base);
        st->first = (uint64_t)(s->begin * r->data.batch);
        for (size_t k = 0; k < f->n_sets && i; k++) {
            uint64_t before = st->first - f->stages[i - 1].first;
            st->base[k] = f->stages[i - 1].base[k] + kj_feed_taken(f, i - 1, k, before);
        }
        if (s->n_sources > 1)
            weave(st, s);
    }
    return rc;
}

static unsigned group_named(struct kj_feed *f, const char *name)
{
    for (size_t i = 0; i < f->n_groups; i++)
        if (strcmp(f->groups[i], name) == 0)
            return (unsigned)i;
    f->groups = kj_xrealloc(f->groups, (f->n_groups + 1) * sizeof *f->groups);
    f->groups[f->n_groups] = name;
    return (unsigned)f->n_groups++;
}

int kj_feed_open(struct kj_feed *f, const struct kj_run *run,
                 const struct kj_docs *docs, size_t n_docs, struct kj_err *err)
{
    *f = (struct kj_feed){.run = run};
    int rc = n_docs == run->n_sets
                 ? KJ_OK
                 : kj_err_set(err, KJ_FATAL, "%zu sets of documents, the run has %zu",
                              n_docs, run->n_sets);
    f->loaders = kj_xcalloc(n_docs + 1, sizeof *f->loaders);
    f->group_of = kj_xcalloc(n_docs + 1, sizeof *f->group_of);
    for (size_t i = 0; i < n_docs && rc == KJ_OK; i++) {
        const struct kj_docs *d = &docs[i];
        size_t n = d->group ? d->groups : 1;
        rc = kj_loader_init(&f->loaders[i], d, (uint64_t)run->seed, run->data.shuffle,
                            err);
        f->n_sets++;
        if (rc == KJ_OK && run->data.packing == KJ_PACK_BESTFIT)
            kj_loader_bestfit(&f->loaders[i], (size_t)run->data.seq_len);
        f->group_of[i] = kj_xcalloc(n, sizeof **f->group_of);
        for (size_t k = 0; k < n; k++)
            f->group_of[i][k] = group_named(f, d->group  ? d->group_name(d->self, k)
                                               : d->name ? d->name
                                                         : "");
    }
    if (rc == KJ_OK)
        rc = open_stages(f, err);
    if (rc == KJ_OK)
        f->seen = kj_xcalloc(kj_feed_cells(f), sizeof *f->seen);
    return rc;
}

void kj_feed_close(struct kj_feed *f)
{
    for (size_t i = 0; i < f->n_sets; i++) {
        kj_loader_release(&f->loaders[i]);
        free(f->group_of[i]);
    }
    for (size_t i = 0; f->stages && i < f->run->n_stages; i++) {
        free(f->stages[i].base);
        free(f->stages[i].turn);
        free(f->stages[i].nth);
    }
    free(f->loaders);
    free(f->group_of);
    free(f->stages);
    free(f->groups);
    free(f->seen);
    memset(f, 0, sizeof *f);
}

size_t kj_feed_cells(const struct kj_feed *f)
{
    return f->run->n_stages * f->n_groups;
}

struct kj_feed_place kj_feed_place(const struct kj_feed *f, uint64_t g)
{
    const struct kj_run *r = f->run;
    struct kj_feed_place p = {0};
    while (p.stage + 1 < r->n_stages && g >= f->stages[p.stage + 1].first)
        p.stage++;
    const struct kj_run_stage *s = &r->stages[p.stage];
    const struct kj_feed_stage *st = &f->stages[p.stage];
    uint64_t at = g - st->first;
    size_t k = st->turn ? st->turn[at % KJ_FEED_PATTERN] : 0;
    p.set = s->sources[k].set;
    if (st->turn)
        at = at / KJ_FEED_PATTERN * st->share[k] + st->nth[at % KJ_FEED_PATTERN];
    p.row = st->base[p.set] + at;
    p.token =
        kj_loader_place(&f->loaders[p.set], p.row, (size_t)r->data.seq_len, &p.epoch);
    return p;
}

int kj_feed_rows(struct kj_feed *f, uint64_t g, size_t rows, struct kj_packed *p,
                 struct kj_err *err)
{
    size_t len = (size_t)f->run->data.seq_len;
    int rc = KJ_OK;
    kj_packed_clear(p);
    for (size_t i = 0; i < rows && rc == KJ_OK; i++) {
        struct kj_feed_place at = kj_feed_place(f, g + i);
        rc = kj_loader_row(&f->loaders[at.set], at.row, len, p, err);
    }
    return rc;
}

void kj_feed_count(const struct kj_feed *f, uint64_t from, uint64_t to, uint64_t *seen)
{
    size_t len = (size_t)f->run->data.seq_len;
    for (uint64_t g = from; g < to; g++) {
        struct kj_feed_place at = kj_feed_place(f, g);
        const struct kj_loader *l = &f->loaders[at.set];
        kj_loader_seen(l, at.row, at.row + 1, len, f->group_of[at.set],
                       seen + at.stage * f->n_groups);
    }
}
