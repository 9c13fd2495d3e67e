/* test_feed.c - stages: which rows of which set a run takes, and the rate. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/bestfit.h"
#include "trainer/feed.h"
#include "trainer/stages.h"

/* ---- sets of documents in memory: set k's tokens are 1000 k + 1 and on ---- */

enum { SETS = 3, DOCS = 50, END = 0, T = 16 };
struct mem {
    uint32_t first;
    uint64_t starts[DOCS + 1];
};
static struct mem mems[SETS];

static uint64_t mem_start(const void *self, uint64_t doc)
{
    return ((const struct mem *)self)->starts[doc];
}

static uint64_t mem_doc_at(const void *self, uint64_t token)
{
    const struct mem *m = self;
    uint64_t d = 0;
    while (m->starts[d + 1] <= token)
        d++;
    return d;
}

static size_t mem_read(const void *self, uint64_t at, uint32_t *out, size_t n)
{
    const struct mem *m = self;
    for (size_t i = 0; i < n; i++) {
        if (at + i >= m->starts[DOCS])
            return i;
        uint64_t d = mem_doc_at(m, at + i);
        out[i] = at + i + 1 == m->starts[d + 1] ? END : m->first + (uint32_t)d;
    }
    return n;
}

/* Documents with an even number are of part 0. */
static unsigned mem_group(const void *self, uint64_t doc)
{
    (void)self;
    return doc % 2;
}

static const char *mem_group_name(const void *self, size_t i)
{
    return self == &mems[2] && i == 1 ? "others" : i ? "odd" : "even";
}

static void make_docs(struct kj_docs d[SETS])
{
    static const char *const names[SETS] = {"a", "b", "c"};
    for (uint32_t k = 0; k < SETS; k++) {
        uint64_t at = 0;
        mems[k].first = 1000 * k + 1;
        for (uint32_t i = 0; i < DOCS; i++) {
            mems[k].starts[i] = at;
            at += 1 + (i * 7 + k) % 40;
        }
        mems[k].starts[DOCS] = at;
        d[k] = (struct kj_docs){.self = &mems[k],
                                .documents = DOCS,
                                .end = END,
                                .start = mem_start,
                                .doc_at = mem_doc_at,
                                .read = mem_read,
                                .name = names[k]};
        if (k > 0) {
            d[k].group = mem_group;
            d[k].groups = 2;
            d[k].group_name = mem_group_name;
        }
    }
}

static struct kj_run parse(const char *steps, const char *stages)
{
    struct kj_run r;
    char text[2000], path[64];
    snprintf(path, sizeof path, "/tmp/kijil-test-feed-%ld.yaml", (long)getpid());
    snprintf(text, sizeof text,
             "data: {sequence_length: 16, batch_sequences: 8, micro_sequences: 4, "
             "manifest: a}\nschedule: {%swarmup_steps: 10, min_ratio: 0.1}\n%s",
             steps, stages);
    struct kj_err err = KJ_ERR_INIT;
    FILE *f = fopen(path, "w");
    if (CHECK(f != NULL)) {
        fputs(text, f);
        fclose(f);
    }
    int rc = kj_run_load(&r, path, &err);
    if (rc == KJ_OK)
        rc = kj_run_resolve(&r, 5000, &err);
    if (!CHECK_INT(rc, KJ_OK))
        printf("     %s\n", err.msg);
    remove(path);
    return r;
}

#define TWO_SETS                                                                       \
    "stages:\n"                                                                        \
    "  - {name: one, steps: 700, shape: constant}\n"                                   \
    "  - {name: two, tokens: 90K, shape: linear, end_ratio: 0,\n"                      \
    "     data: [{path: b, weight: 2.5}, {path: a, weight: 1}, {path: c, weight: "     \
    "0.25}]}\n"                                                                        \
    "  - {name: three, steps: 300, data: b, shape: cosine, start_ratio: 0.5,\n"        \
    "     warmup_steps: 20}\n"                                                         \
    "  - {name: four, steps: 1000, data: [a, b]}\n"

/* Each set's rows are taken 0, 1, 2, ... over all stages; in a stage, in the
 * proportion of the weights all along; counts are those of the tokens. */
static void rows(void)
{
    struct kj_docs d[SETS];
    struct kj_run r = parse("", TWO_SETS);
    struct kj_feed f;
    struct kj_packed p;
    uint64_t next[SETS] = {0}, *naive, *told;
    make_docs(d);
    CHECK_INT(r.n_sets, SETS);
    CHECK_INT(kj_feed_open(&f, &r, d, SETS, NULL), KJ_OK);
    CHECK_INT(f.n_groups, 4); /* a, even, odd, others */
    naive = kj_xcalloc(kj_feed_cells(&f), sizeof *naive);
    told = kj_xcalloc(kj_feed_cells(&f), sizeof *told);
    kj_packed_init(&p, T);
    uint64_t all = (uint64_t)(r.schedule.steps * r.data.batch), in[SETS] = {0};
    for (uint64_t g = 0; g < all; g++) {
        struct kj_feed_place at = kj_feed_place(&f, g);
        const struct kj_run_stage *s = &r.stages[at.stage];
        CHECK(s == kj_stage_of(&r, (int64_t)g / r.data.batch));
        CHECK_INT(at.row, next[at.set]++);
        uint64_t first = (uint64_t)(s->begin * r.data.batch);
        if (g == first)
            memset(in, 0, sizeof in);
        in[at.set]++;
        double sum = 0;
        for (size_t k = 0; k < s->n_sources; k++)
            sum += s->sources[k].weight;
        for (size_t k = 0; k < s->n_sources; k++) {
            double want = (double)(g + 1 - first) * s->sources[k].weight / sum;
            /* a weight is met to 1 in 4096 */
            double room = 1 + (double)(g + 1 - first) / KJ_FEED_PATTERN;
            CHECK(fabs((double)in[s->sources[k].set] - want) <= room);
        }
        CHECK_INT(kj_feed_rows(&f, g, 1, &p, NULL), KJ_OK);
        for (size_t seg = 0; seg < p.rows.segs; seg++) {
            int32_t from = p.cu[seg], to = p.cu[seg + 1];
            uint64_t doc = mem_doc_at(d[at.set].self, (at.token + (uint64_t)from) %
                                                          mems[at.set].starts[DOCS]);
            size_t group = f.group_of[at.set][at.set ? doc % 2 : 0];
            naive[at.stage * f.n_groups + group] += (uint64_t)(to - from);
            for (int32_t i = from; i < to; i++)
                CHECK(p.targets[i] == END ||
                      p.targets[i] == (int32_t)(mems[at.set].first + doc));
        }
    }
    kj_feed_count(&f, 0, 1234, told);
    kj_feed_count(&f, 1234, all, told);
    CHECK_MEM((char *)told, kj_feed_cells(&f) * 8, (char *)naive,
              kj_feed_cells(&f) * 8);
    CHECK_INT(told[0], 700 * 8 * T);
    CHECK_INT(kj_feed_taken(&f, 0, 0, 5600), 5600);
    CHECK_INT(kj_feed_taken(&f, 3, 0, 8000), 4000);
    kj_packed_release(&p);
    free(naive);
    free(told);
    kj_feed_close(&f);
    kj_run_release(&r);
}

/* A border without a change changes nothing. */
static void border(void)
{
    struct kj_docs d[SETS];
    struct kj_run r = parse("", "stages: [{name: x, tokens: 6400}, {name: y, tokens: "
                                "6399, data: a}, {name: z, tokens: 1}]\n");
    struct kj_run one = parse("steps: 100, ", "");
    struct kj_feed f, g;
    make_docs(d);
    CHECK_INT(r.n_sets, 1);
    CHECK_INT(r.stages[1].end, 99); /* 12799 tokens are 99 steps of 128 */
    CHECK_INT(r.schedule.steps, 100);
    CHECK_INT(kj_feed_open(&f, &r, d, 1, NULL), KJ_OK);
    CHECK_INT(kj_feed_open(&g, &one, d, 1, NULL), KJ_OK);
    for (uint64_t i = 0; i < 800; i++)
        CHECK_INT(kj_feed_place(&f, i).token, kj_feed_place(&g, i).token);
    for (int64_t i = 0; i < 100; i++)
        CHECK_NEAR(kj_schedule_factor(&r, i), kj_schedule_factor(&one, i), 0);
    kj_feed_close(&f);
    kj_feed_close(&g);
    kj_run_release(&r);
    kj_run_release(&one);
}

static void rates(void)
{
    struct kj_run r = parse("", TWO_SETS);
    int64_t end = r.stages[1].end;
    CHECK_INT(r.stages[1].begin, 700);
    CHECK_INT(end, 700 + 90000 / 128);
    CHECK_NEAR(kj_schedule_factor(&r, 0), 0.1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 9), 1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 699), 1, 0);
    CHECK_NEAR(kj_schedule_factor(&r, 700), 1 - 1.0 / (double)(end - 700), 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, end - 1), 0, 0);
    CHECK_NEAR(kj_schedule_factor(&r, end), 0.5 / 20, 1e-12); /* from 0 */
    CHECK_NEAR(kj_schedule_factor(&r, end + 19), 0.5, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, end + 159), 0.3, 1e-12); /* half way to 0.1 */
    CHECK_NEAR(kj_schedule_factor(&r, end + 299), 0.1, 1e-12);
    /* the last follows the section schedule over the whole run: a cosine */
    double x = (double)(end + 300 - 10) / (double)(r.schedule.steps - 1 - 10);
    CHECK_NEAR(kj_schedule_factor(&r, end + 300),
               0.1 + 0.45 * (1 + cos(3.14159265358979 * x)), 1e-9);
    kj_run_release(&r);
}

/* ---- best fit ---- */

/* The rooms that are left, by best-fit decreasing as one would write it down. */
static size_t naive_fit(const struct mem *m, size_t *fill)
{
    size_t n[4 * DOCS], items = 0, rows = 0;
    for (size_t d = 0; d < DOCS; d++)
        for (uint64_t at = m->starts[d]; at < m->starts[d + 1]; at += T)
            n[items++] =
                (size_t)(m->starts[d + 1] - at < T ? m->starts[d + 1] - at : T);
    for (size_t want = T; want > 0; want--)
        for (size_t i = 0; i < items; i++) {
            size_t best = rows;
            if (n[i] != want)
                continue;
            for (size_t r = 0; r < rows; r++)
                if (fill[r] + want <= T && (best == rows || fill[r] > fill[best]))
                    best = r;
            if (best == rows)
                fill[rows++] = 0;
            fill[best] += want;
        }
    return rows;
}

static int falling(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* Each token of an epoch once, no document cut that fits into a row, rows as full
 * as the naive way has them, and the same in any order of asking. */
static void bestfit(bool shuffle)
{
    struct kj_docs d[SETS];
    struct kj_loader l, back;
    struct kj_packed p, q;
    size_t want[4 * DOCS], got[4 * DOCS];
    make_docs(d);
    size_t rows = naive_fit(&mems[0], want);
    CHECK_INT(kj_loader_init(&l, &d[0], 3, shuffle, NULL), KJ_OK);
    CHECK_INT(kj_loader_init(&back, &d[0], 3, shuffle, NULL), KJ_OK);
    kj_loader_bestfit(&l, T);
    kj_loader_bestfit(&back, T);
    kj_packed_init(&p, T);
    kj_packed_init(&q, T);
    int times[DOCS];
    for (uint64_t g = 0; g < 3 * rows; g++) {
        uint64_t epoch, seen = 0;
        kj_loader_place(&l, g, T, &epoch);
        CHECK_INT(epoch, g / rows);
        if (g % rows == 0)
            memset(times, 0, sizeof times);
        kj_packed_clear(&p);
        CHECK_INT(kj_loader_row(&l, g, T, &p, NULL), KJ_OK);
        CHECK_INT(p.rows.n, T);
        size_t n = kj_loader_predictions(&l, g, T), trained = 0;
        kj_loader_seen(&l, g, g + 1, T, (unsigned[]){0}, &seen);
        CHECK_INT(seen, n);
        for (size_t s = 0; s < p.rows.segs; s++) {
            int32_t from = p.cu[s], to = p.cu[s + 1];
            int32_t doc = -1;
            for (int32_t i = from; i < to; i++) {
                CHECK_INT(p.pos[i], i - from);
                if (p.targets[i] >= 0)
                    trained++;
                if (p.targets[i] > END)
                    doc = p.targets[i] - 1;
                else if (p.targets[i] == END && p.ids[i] != END)
                    doc = p.ids[i] - 1;
            }
            if (p.targets[from] < 0) { /* padding: the last, and all of it */
                CHECK(s + 1 == p.rows.segs && p.targets[to - 1] < 0);
            } else if (doc >= 0) {
                uint64_t len = mems[0].starts[doc + 1] - mems[0].starts[doc];
                times[doc] += to - from;
                CHECK(len > T || (uint64_t)(to - from) == len);
            }
        }
        CHECK_INT(trained, n);
        got[g % rows] = n;
        if (g % rows == rows - 1) {
            qsort(got, rows, sizeof *got, falling);
            qsort(want, rows, sizeof *want, falling);
            CHECK_MEM((char *)got, rows * sizeof *got, (char *)want,
                      rows * sizeof *want);
            for (size_t i = 0; i < DOCS; i++) {
                uint64_t len = mems[0].starts[i + 1] - mems[0].starts[i];
                CHECK_INT(times[i], len == 1 ? 0 : len); /* a lone end has no name */
            }
        }
        uint64_t other = g * 29 % (3 * rows); /* to and fro */
        kj_packed_clear(&q);
        CHECK_INT(kj_loader_row(&back, other, T, &q, NULL), KJ_OK);
        kj_packed_clear(&p);
        CHECK_INT(kj_loader_row(&l, g, T, &p, NULL), KJ_OK);
        if (other == g)
            CHECK_MEM((char *)p.ids, T * 4, (char *)q.ids, T * 4);
    }
    for (uint64_t g = 0; g < rows; g += 7) {
        kj_packed_clear(&p);
        kj_packed_clear(&q);
        kj_loader_row(&back, g + rows, T, &q, NULL);
        kj_loader_row(&l, g + rows, T, &p, NULL);
        CHECK_MEM((char *)p.ids, T * 4, (char *)q.ids, T * 4);
        CHECK_MEM((char *)p.targets, T * 4, (char *)q.targets, T * 4);
    }
    kj_packed_release(&p);
    kj_packed_release(&q);
    kj_loader_release(&l);
    kj_loader_release(&back);
}

/* More documents than a window has: bounded windows, still each token once. */
static void windows(void)
{
    enum { LONG = 40000 };
    static struct mem m;
    struct kj_docs d = {.self = &m,
                        .documents = DOCS,
                        .end = END,
                        .start = mem_start,
                        .doc_at = mem_doc_at,
                        .read = mem_read};
    for (uint32_t i = 0; i <= DOCS; i++) /* one is longer than a window */
        m.starts[i] = (uint64_t)i * 700 + (i > 9 ? LONG : 0);
    struct kj_bestfit *f = kj_bestfit_new(&d, 1, true, T);
    char *seen = kj_xcalloc(m.starts[DOCS], 1);
    uint64_t g = 0, epoch = 0, sum = 0;
    for (; epoch == 0; g++) {
        size_t n;
        const struct kj_piece *p = kj_bestfit_row(f, g, &n, &epoch);
        for (size_t i = 0; i < n && epoch == 0; i++)
            for (uint32_t k = 0; k < p[i].n; k++, sum++)
                CHECK_INT(seen[m.starts[p[i].doc] + p[i].off + k]++, 0);
    }
    CHECK_INT(sum, m.starts[DOCS]);
    CHECK(g > m.starts[DOCS] / T && g < m.starts[DOCS] / T + 40);
    kj_bestfit_free(f);
    free(seen);
}

/* ---- ranks ---- */

/* At any number of ranks, started anywhere, read ahead or not, the ranks' rows
 * together are those of one. */
static void ranks(size_t R, bool fit, int64_t ahead)
{
    struct kj_docs d[SETS];
    struct kj_run r = parse("", TWO_SETS);
    struct kj_feed f, one;
    struct kj_feed_step want;
    int64_t from = 690, to = 720, last = r.schedule.steps;
    r.data.packing = fit ? KJ_PACK_BESTFIT : KJ_PACK_CONCAT;
    r.data.prefetch = ahead;
    r.data.micro = 3;
    make_docs(d);
    CHECK_INT(kj_feed_open(&one, &r, d, SETS, NULL), KJ_OK);
    kj_feed_step_init(&want, &one, 0, 1);
    for (size_t rank = 0; rank < R; rank++) {
        CHECK_INT(kj_feed_open(&f, &r, d, SETS, NULL), KJ_OK);
        struct kj_prefetch *p = kj_prefetch_start(&f, rank, R, from, last);
        for (int64_t s = from; s < to; s++) {
            const struct kj_feed_step *b = kj_prefetch_next(p, NULL);
            size_t own = 0, batch = (size_t)r.data.batch;
            uint64_t *seen = kj_xcalloc(kj_feed_cells(&one), sizeof *seen);
            int64_t count = 0;
            if (!CHECK(b != NULL))
                break;
            CHECK_INT(kj_feed_fill(&one, s, &want, NULL), KJ_OK);
            CHECK_INT(b->step, s);
            CHECK_INT(b->row, s * r.data.batch);
            CHECK_INT(b->at.token, kj_feed_place(&one, b->row).token);
            kj_feed_count(&one, b->row, b->row + batch, seen);
            for (size_t i = 0; i < one.n_groups; i++) {
                CHECK_INT(b->seen[i], seen[b->at.stage * one.n_groups + i]);
                count += (int64_t)seen[b->at.stage * one.n_groups + i];
            }
            CHECK_INT(b->count, count);
            CHECK(fit || count == (int64_t)batch * T);
            for (size_t i = 0; i < batch; i++) {
                if (i / 3 % R != rank)
                    continue;
                const struct kj_packed *x = &want.packs[i / 3],
                                       *y = &b->packs[i / 3 / R];
                const size_t at = i % 3 * T, n = T * sizeof *x->ids;
                CHECK_MEM((char *)(y->ids + at), n, (char *)(x->ids + at), n);
                CHECK_MEM((char *)(y->pos + at), n, (char *)(x->pos + at), n);
                CHECK_MEM((char *)(y->targets + at), n, (char *)(x->targets + at), n);
                own++;
            }
            size_t rows = 0;
            for (size_t i = 0; i < b->passes; i++)
                rows += b->packs[i].rows.n / T;
            CHECK_INT(rows, own);
            free(seen);
        }
        kj_prefetch_stop(p); /* with steps left */
        kj_feed_close(&f);
    }
    kj_feed_step_release(&want);
    kj_feed_close(&one);
    kj_run_release(&r);
}

static size_t short_read(const void *self, uint64_t at, uint32_t *out, size_t n)
{
    return at > 500 ? 0 : mem_read(self, at, out, n);
}

/* A file that ends early is told, by whichever thread reads; the end is, too. */
static void ends(int64_t ahead)
{
    struct kj_docs d[SETS];
    struct kj_run r = parse("steps: 3, ", "");
    struct kj_feed f;
    struct kj_err err = KJ_ERR_INIT;
    r.data.prefetch = ahead;
    make_docs(d);
    CHECK_INT(kj_feed_open(&f, &r, d, 1, NULL), KJ_OK);
    struct kj_prefetch *p = kj_prefetch_start(&f, 0, 1, 0, 3);
    for (int i = 0; i < 3; i++)
        CHECK(kj_prefetch_next(p, &err) != NULL);
    CHECK(kj_prefetch_next(p, &err) == NULL);
    CHECK(strstr(err.msg, "behind the last") != NULL);
    kj_prefetch_stop(p);
    kj_feed_close(&f);
    d[0].read = short_read;
    CHECK_INT(kj_feed_open(&f, &r, d, 1, NULL), KJ_OK);
    p = kj_prefetch_start(&f, 0, 1, 0, 3);
    err = (struct kj_err)KJ_ERR_INIT;
    while (kj_prefetch_next(p, &err))
        ;
    CHECK(strstr(err.msg, "the shards end before") != NULL);
    CHECK_INT(err.rc, KJ_FAIL);
    kj_prefetch_stop(p);
    kj_feed_close(&f);
    kj_run_release(&r);
}

int main(void)
{
    static const size_t counts[] = {1, 2, 3, 4, 8, 11};
    rows();
    bestfit(false);
    bestfit(true);
    windows();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ranks(counts[i], false, i % 3);
        ranks(counts[i], true, 2 - i % 3);
    }
    ends(0);
    ends(2);
    border();
    rates();
    return test_end();
}
