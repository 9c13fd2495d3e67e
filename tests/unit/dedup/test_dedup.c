/* The stage as a whole, on corpora in memory: against exact all-pairs and
 * against naive equality, in any order, batches and threads. */
#include "base/doc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/stage.h"
#include "dedup/dedup.h"
#include "dedup/minhash.h"
#include "dedup/shingle.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

static uint64_t rng_state = 7;
static uint64_t rng(void)
{
    rng_state += 0x9E3779B97F4A7C15u;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

struct text {
    char id[16];
    const char *text;
    const char *url, *date, *field; /* field: raw JSON of "cluster" */
};

/* What became of one document. */
struct out {
    bool dropped;
    char keeper[16];
    double value, similarity;
    int64_t size;
};

struct mem_corpus {
    const struct text *v;
    size_t n, per_batch;
    const size_t *order; /* or NULL */
    size_t passes;
    const char *tmp_dir;
};

static void fill(const struct mem_corpus *m, struct kj_batch *b, size_t at, size_t n)
{
    kj_batch_reset(b);
    for (size_t i = 0; i < n; i++) {
        const struct text *t = &m->v[m->order ? m->order[at + i] : at + i];
        struct kj_doc *d = kj_batch_add(b);
        d->id = kj_str_z(t->id);
        d->text = kj_str_z(t->text);
        d->url = kj_str_z(t->url);
        d->date = kj_str_z(t->date);
        d->serial = at + i;
        if (t->field)
            kj_doc_set(d, &b->arena, "cluster", kj_str_z(t->field));
    }
}

static int pass(struct kj_corpus *c, void *ctx,
                int (*work)(void *, unsigned, struct kj_batch *, struct kj_err *),
                int (*collect)(void *, struct kj_batch *, struct kj_err *),
                struct kj_err *err)
{
    struct mem_corpus *m = c->self;
    struct kj_batch b;
    kj_batch_init(&b);
    int rc = KJ_OK;
    m->passes++;
    for (size_t at = 0, k = 0; at < m->n && !rc; at += m->per_batch, k++) {
        fill(m, &b, at, m->n - at < m->per_batch ? m->n - at : m->per_batch);
        rc = work(ctx, (unsigned)(k % c->threads), &b, err);
        if (!rc)
            rc = collect(ctx, &b, err);
    }
    kj_batch_release(&b);
    return rc;
}

static void take(const struct kj_doc *d, struct kj_json *j, struct out *o)
{
    *o = (struct out){.dropped = !kj_doc_kept(d), .value = d->out.value, .size = 1};
    struct kj_str raw = kj_doc_get(d, "cluster");
    const struct kj_jval *v;
    struct kj_err err = KJ_ERR_INIT;
    if (!raw.n)
        return;
    if (!CHECK_INT(kj_json_parse(j, raw.p, raw.n, &v, &err), KJ_OK))
        return;
    struct kj_str keeper = kj_jstr(kj_jget(v, "keeper"));
    snprintf(o->keeper, sizeof o->keeper, "%.*s", (int)keeper.n, keeper.p);
    o->size = kj_jint(kj_jget(v, "size"), -1);
    o->similarity = kj_jnum(kj_jget(v, "similarity"), -1);
}

/* Run the stage with options {"name", "value", ..., NULL}; out by index in v. */
static int run(const char *const *o, struct mem_corpus *m, unsigned threads,
               int64_t memory, struct out *out, struct kj_err *err)
{
    const struct kj_stage *st = &kj_stage_dedup;
    void *cfg = calloc(1, st->cfg_size);
    int rc = kj_opt_defaults(st->opts, cfg, err);
    for (; o && *o && !rc; o += 2)
        for (const struct kj_opt *p = st->opts; p->name; p++)
            if (strcmp(p->name, *o) == 0)
                rc = kj_opt_set(p, cfg, NULL, o[1], err);
    if (!rc)
        rc = st->open(cfg, err);
    struct kj_corpus c = {.self = m,
                          .threads = threads,
                          .memory = memory,
                          .seed = 1,
                          .pass = pass,
                          .tmp_dir = m->tmp_dir};
    void *state = calloc(1, st->state_size);
    if (!rc) {
        rc = st->survey(cfg, &c, err);
        struct kj_batch b;
        kj_batch_init(&b);
        for (size_t at = 0; at < m->n && !rc; at += m->per_batch) {
            fill(m, &b, at, m->n - at < m->per_batch ? m->n - at : m->per_batch);
            rc = st->run(cfg, state, &b, err);
            for (size_t i = 0; i < b.n && !rc; i++)
                take(&b.docs[i], b.json, &out[m->order ? m->order[at + i] : at + i]);
        }
        kj_batch_release(&b);
        st->end(cfg, state);
        st->close(cfg);
    }
    free(state);
    free(cfg);
    return rc;
}

/* Random texts; later ones are often edited copies of earlier ones. */
static struct text *make_corpus(size_t n, bool korean)
{
    struct text *v = calloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        snprintf(v[i].id, sizeof v[i].id, "doc%05zu", (i * 7919) % 100000);
        size_t words = 60 + rng() % 200;
        char *p = malloc(words * 8 + 4000);
        v[i].text = p;
        if (i && rng() % 2) { /* a copy with some words changed */
            strcpy(p, v[rng() % i].text);
            size_t len = strlen(p), edits = rng() % 24;
            for (size_t e = 0; e < edits && len > 8; e++) {
                size_t at = rng() % len;
                if (p[at] >= 'a' && p[at] <= 'z')
                    p[at] = (char)('a' + rng() % 26);
            }
            continue;
        }
        for (size_t w = 0; w < words; w++) {
            uint64_t x = rng() % 3000;
            if (korean) /* syllables GA + x */
                p += sprintf(p, "%c%c%c%s", 0xEA + (int)(x / 1200),
                             0xB0 + (int)(x / 64 % 16), 0x80 + (int)(x % 64),
                             w % 3 == 2 ? " " : "");
            else
                p += sprintf(p, "%c%c%c%c ", (int)('a' + x % 26),
                             (int)('a' + x / 26 % 26), (int)('a' + x / 676), 'x');
        }
    }
    return v;
}

static void free_corpus(struct text *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)v[i].text);
    free(v);
}

struct sets {
    uint64_t **v;
    size_t *n;
};

static struct sets make_sets(const struct text *t, size_t n)
{
    struct sets s = {calloc(n, sizeof *s.v), calloc(n, sizeof *s.n)};
    struct kj_shingler sh;
    kj_shingler_init(&sh);
    struct kj_err err = KJ_ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        kj_shingler_run(&sh, KJ_UNIT_AUTO, 0, t[i].text, strlen(t[i].text), &err);
        kj_shingler_set(&sh, &err);
        s.v[i] = malloc(sh.n * 8 + 1);
        s.n[i] = sh.n;
        if (sh.n)
            memcpy(s.v[i], sh.h, sh.n * 8);
    }
    kj_shingler_release(&sh);
    return s;
}

static void free_sets(struct sets s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(s.v[i]);
    free(s.v);
    free(s.n);
}

static size_t index_of(const struct text *t, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].id, id) == 0)
            return i;
    return n;
}

/* Precision: every dropped document is as similar to its keeper as it says,
 * and its keeper is kept. Recall: kept pairs that are similar are as rare as
 * the curve says. */
static void test_all_pairs(bool korean, unsigned bands, unsigned rows)
{
    enum { N = 700 };
    struct text *t = make_corpus(N, korean);
    struct sets s = make_sets(t, N);
    struct out *o = calloc(N, sizeof *o);
    struct mem_corpus m = {.v = t, .n = N, .per_batch = 37};
    struct kj_err err = KJ_ERR_INIT;
    char b[12], r[12];
    snprintf(b, sizeof b, "%u", bands);
    snprintf(r, sizeof r, "%u", rows);
    const char *const opt[] = {"bands", b, "rows", r, NULL};
    CHECK_INT(run(opt, &m, 3, 0, o, &err), KJ_OK);
    size_t dropped = 0, wrong = 0, missed = 0, near = 0;
    for (size_t i = 0; i < N; i++) {
        if (o[i].dropped) {
            size_t k = index_of(t, N, o[i].keeper);
            double j = kj_shingle_jaccard(s.v[i], s.n[i], s.v[k], s.n[k], 0);
            wrong += j < 0.8 || j != o[i].value || j != o[i].similarity ||
                     o[k].dropped || strcmp(o[k].keeper, t[k].id) != 0 ||
                     o[k].size != o[i].size;
            dropped++;
            near++;
            continue;
        }
        bool miss = false;
        for (size_t k = 0; k < N && !miss; k++)
            miss = k != i && !o[k].dropped &&
                   kj_shingle_jaccard(s.v[i], s.n[i], s.v[k], s.n[k], 0.8) >= 0 &&
                   strlen(t[k].text) >= strlen(t[i].text);
        missed += miss;
        near += miss;
    }
    CHECK_INT(wrong, 0);
    CHECK(dropped > 50);
    /* the curve at .8, below which none of these is: 92, 90 and 99 % */
    CHECK(near > 0 && (double)missed / (double)near <
                          1 - kj_minhash_curve(bands, rows, 0.8) + 0.01);
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < N; i++) {
        total += o[i].dropped ? 0 : (size_t)o[i].size;
        kept += !o[i].dropped;
    }
    CHECK_INT(total, N); /* the clusters' sizes cover the corpus */
    CHECK_INT(kept, N - dropped);
    free(o);
    free_sets(s, N);
    free_corpus(t, N);
}

/* Does the policy put a before b? */
static bool is_better(size_t policy, const struct text *a, const struct text *b)
{
    size_t na = strlen(a->text), nb = strlen(b->text);
    int date = strcmp(a->date ? a->date : "", b->date ? b->date : "");
    if (policy == 0 && na != nb)
        return na > nb;
    if (policy == 2 && date != 0)
        return date > 0;
    return strcmp(a->id, b->id) < 0;
}

/* The outcome per document is the same whatever the order, batches, threads. */
static void test_invariance(void)
{
    enum { N = 500 };
    static const char *const keeps[] = {"longest", "first", "newest"};
    struct text *t = make_corpus(N, false);
    static const char *const dates[] = {"2023-05-01", "2024-01-01T00:00:00Z", NULL};
    for (size_t i = 0; i < N; i++)
        t[i].date = dates[i % 3];
    size_t order[N];
    for (size_t k = 0; k < 3; k++) {
        const char *const opt[] = {"keep", keeps[k], NULL};
        struct out a[N], b[N];
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        struct kj_err err = KJ_ERR_INIT;
        struct mem_corpus m = {.v = t, .n = N, .per_batch = 1000};
        CHECK_INT(run(opt, &m, 1, 0, a, &err), KJ_OK);
        for (size_t i = 0; i < N; i++)
            order[i] = i;
        for (size_t i = N; i-- > 1;) {
            size_t x = rng() % (i + 1), y = order[i];
            order[i] = order[x];
            order[x] = y;
        }
        struct mem_corpus m2 = {.v = t, .n = N, .per_batch = 11, .order = order};
        CHECK_INT(run(opt, &m2, 4, 0, b, &err), KJ_OK);
        size_t differ = 0;
        size_t worse = 0;
        for (size_t i = 0; i < N; i++)
            worse +=
                a[i].dropped && !is_better(k, &t[index_of(t, N, a[i].keeper)], &t[i]);
        CHECK_INT(worse, 0); /* who keeps comes first by the policy */
        for (size_t i = 0; i < N; i++)
            differ += a[i].dropped != b[i].dropped || a[i].size != b[i].size ||
                      a[i].similarity != b[i].similarity ||
                      strcmp(a[i].keeper, b[i].keeper) != 0;
        CHECK_INT(differ, 0);
    }
    free_corpus(t, N);
}

/* In files, and when files are taken up midway, all is as in memory. */
static void test_files(void)
{
    enum { N = 1500 };
    char dir[] = "/tmp/kijil-test-XXXXXX";
    if (!CHECK(mkdtemp(dir) != NULL))
        return;
    struct text *t = make_corpus(N, false);
    for (size_t i = 0; i < N; i += 9)
        t[i].field = "{\"size\":3}";
    static const char *const opts[][5] = {
        {"spill", NULL, "bands", "200", NULL},
        {"spill", NULL, "max_compare", "1", NULL},
        {"spill", NULL, "method", "exact", NULL},
        {"spill", NULL, "threshold", "0.3", NULL},
        {"spill", NULL, "measure", "containment", NULL}};
    static struct out a[N], b[N];
    for (size_t k = 0; k < sizeof opts / sizeof *opts; k++)
        for (size_t mem = 0; mem < 3; mem++) {
            const char *o[5];
            struct kj_err err = KJ_ERR_INIT;
            memcpy(o, opts[k], sizeof o);
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            struct mem_corpus m = {.v = t, .n = N, .per_batch = 23, .tmp_dir = dir};
            o[1] = "never";
            CHECK_INT(run(o, &m, 1, 0, a, &err), KJ_OK);
            o[1] = mem == 2
                       ? "auto"
                       : "always"; /* auto: of 200 bands 18 MB soon holds too many */
            CHECK_INT(
                run(o, &m, 1 + (unsigned)mem, mem ? 18 << 20 : 400 << 20, b, &err),
                KJ_OK);
            size_t differ = 0, dropped = 0;
            for (size_t i = 0; i < N; i++) {
                differ += a[i].dropped != b[i].dropped || a[i].size != b[i].size ||
                          a[i].similarity != b[i].similarity ||
                          strcmp(a[i].keeper, b[i].keeper) != 0;
                dropped += a[i].dropped;
            }
            CHECK_INT(differ, 0);
            CHECK(dropped > 20);
        }
    free_corpus(t, N);
    CHECK_INT(rmdir(dir), 0); /* nothing was left there */
}

static void small(const char *const *opt, struct text *t, size_t n, struct out *o)
{
    struct kj_err err = KJ_ERR_INIT;
    struct mem_corpus m = {.v = t, .n = n, .per_batch = 2};
    if (!CHECK_INT(run(opt, &m, 1, 0, o, &err), KJ_OK))
        printf("     %s\n", err.msg);
}

static void test_exact(void)
{
    struct text t[] = {{"a", "Same text.", "http://x.org/1", NULL, NULL},
                       {"b", "same  TEXT", "https://www.x.org/1/", NULL, NULL},
                       {"c", "Same text.", NULL, NULL, NULL},
                       {"d", "Same text 2", NULL, NULL, NULL},
                       {"e", "Same text 3", "http://x.org/2", NULL, NULL}};
    struct out o[5];
    small((const char *const[]){"method", "exact", NULL}, t, 5, o);
    CHECK(!o[0].dropped && !o[1].dropped && o[2].dropped && !o[3].dropped);
    CHECK_STR(o[2].keeper, strlen(o[2].keeper), "a");
    CHECK_NEAR(o[2].value, 1, 0);
    small((const char *const[]){"method", "exact", "normalize", NULL, NULL}, t, 5, o);
    CHECK(!o[0].dropped && o[1].dropped && o[2].dropped && !o[3].dropped &&
          !o[4].dropped);
    CHECK_INT(o[0].size, 3);
    small((const char *const[]){"method", "exact", "key", "url", NULL}, t, 5, o);
    CHECK(!o[0].dropped && o[1].dropped && !o[2].dropped && !o[3].dropped &&
          !o[4].dropped);
}

/* Lines and paragraphs: documents that lose all of theirs, in any order. */
static void test_scope(void)
{
    char dir[] = "/tmp/kijil-test-XXXXXX";
    if (!CHECK(mkdtemp(dir) != NULL))
        return;
    struct text t[] = {{"a", "one\n\ntwo\n", 0, 0, 0}, {"b", "two", 0, 0, 0},
                       {"c", " two \n", 0, 0, 0},      {"d", "one\ntwo", 0, 0, 0},
                       {"e", " \n\n", 0, 0, 0},        {"f", "", 0, 0, 0}};
    for (size_t k = 0; k < 2; k++) {
        const char *o[] = {"method", "exact", "scope", k ? "paragraph" : "line", NULL};
        const size_t order[] = {3, 5, 1, 0, 4, 2};
        struct out a[6], b[6];
        struct kj_err err = KJ_ERR_INIT;
        struct mem_corpus m = {.v = t, .n = 6, .per_batch = 2, .tmp_dir = dir};
        CHECK_INT(run(o, &m, 1, 0, a, &err), KJ_OK);
        m.order = order;
        CHECK_INT(run(o, &m, 2, 0, b, &err), KJ_OK);
        int gone = 0;
        for (size_t i = 0; i < 6; i++) {
            CHECK_INT(a[i].dropped, b[i].dropped);
            gone += a[i].dropped;
        }
        CHECK(!a[4].dropped && !a[5].dropped); /* blank ones are nobody's copy */
        CHECK(gone >= (k ? 1 : 2) && gone <= 3);
        CHECK(k == 0 || !a[3].dropped); /* a paragraph of its own */
    }
    CHECK_INT(rmdir(dir), 0);
}

/* A text inside another one: of low Jaccard similarity, contained as a whole;
 * and never the other way round. */
static void test_containment(void)
{
    struct text t[] = {{"a", "one two three four five six seven eight", 0, 0, 0},
                       {"b", "one two three four five six", 0, 0, 0}};
    struct out o[2];
    /* one row a band: candidates for sure */
    const char *v[] = {"bands",       "400", "rows", "1", "measure",
                       "containment", NULL,  NULL,   NULL};
    small(v, t, 2, o);
    CHECK(!o[0].dropped && o[1].dropped); /* 2 of 4 shingles, 2 of 2 */
    CHECK_NEAR(o[1].similarity, 1, 0);
    v[5] = "jaccard";
    small(v, t, 2, o);
    CHECK(!o[0].dropped && !o[1].dropped);
    v[5] = "containment"; /* the smaller one first: the larger is not in it */
    v[6] = "keep";
    v[7] = "first";
    strcpy(t[0].id, "z");
    small(v, t, 2, o);
    CHECK(!o[0].dropped && !o[1].dropped);
}

/* Short texts are compared as wholes; wordless ones are never copies. */
static void test_short(void)
{
    struct text t[] = {{"a", "hi", 0, 0, 0},  {"b", "hi!", 0, 0, 0},
                       {"c", "ho", 0, 0, 0},  {"d", "...", 0, 0, 0},
                       {"e", "...", 0, 0, 0}, {"f", "", 0, 0, 0}};
    struct out o[6];
    small(NULL, t, 6, o);
    CHECK(o[0].dropped && !o[1].dropped && !o[2].dropped);
    CHECK_STR(o[0].keeper, strlen(o[0].keeper), "b"); /* the longer one */
    CHECK(!o[3].dropped && !o[4].dropped && !o[5].dropped);
}

/* Sizes from an earlier deduplication are added up. */
static void test_weights(void)
{
    struct text t[] = {{"a", "one two three", 0, 0, "{\"size\":5}"},
                       {"b", "one two three", 0, 0, NULL},
                       {"c", "one two three", 0, 0, "{\"size\":2}"},
                       {"d", "alone", 0, 0, "{\"size\":4,\"keeper\":\"z\"}"}};
    struct out o[4];
    small(NULL, t, 4, o);
    CHECK(!o[0].dropped && o[1].dropped && o[2].dropped && !o[3].dropped);
    CHECK_INT(o[0].size, 8);
    CHECK_INT(o[1].size, 8);
    CHECK_INT(o[3].size, 4); /* left as it came */
    CHECK_STR(o[3].keeper, 1, "z");
}

/* Documents that are alike in all fields: one stays. */
static void test_identical(void)
{
    struct text t[] = {{"a", "the very same", 0, 0, 0},
                       {"a", "the very same", 0, 0, 0},
                       {"a", "the very same", 0, 0, 0}};
    struct out o[3];
    small(NULL, t, 3, o);
    CHECK_INT(o[0].dropped + o[1].dropped + o[2].dropped, 2);
}

static void test_refusals(void)
{
    struct text *t = make_corpus(300, false);
    static struct out o[300];
    struct mem_corpus m = {.v = t, .n = 300, .per_batch = 10};
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(run(NULL, &m, 1, 100000, o, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "--memory") != NULL);
    kj_err_reset(&err);
    CHECK_INT(run((const char *const[]){"keep", "best", NULL}, &m, 1, 0, o, &err),
              KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(run((const char *const[]){"threshold", "1.5", NULL}, &m, 1, 0, o, &err),
              KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(run((const char *const[]){"bands", "4000", "rows", "60", NULL}, &m, 1, 0,
                  o, &err),
              KJ_USAGE);
    free_corpus(t, 300);
}

/* Input that is not the same at the second reading is noticed. */
static void test_changed_input(void)
{
    const struct kj_stage *st = &kj_stage_dedup;
    void *cfg = calloc(1, st->cfg_size);
    struct kj_err err = KJ_ERR_INIT;
    struct text t[] = {{"a", "one two", 0, 0, 0}, {"b", "three", 0, 0, 0}};
    struct mem_corpus m = {.v = t, .n = 2, .per_batch = 2};
    struct kj_corpus c = {.self = &m, .threads = 1, .pass = pass};
    kj_opt_defaults(st->opts, cfg, &err);
    CHECK_INT(st->open(cfg, &err), KJ_OK);
    CHECK_INT(st->survey(cfg, &c, &err), KJ_OK);
    CHECK_INT(m.passes, 1); /* no candidates, no second reading */
    struct kj_batch b;
    kj_batch_init(&b);
    fill(&m, &b, 0, 2);
    CHECK_INT(st->run(cfg, NULL, &b, &err), KJ_OK);
    t[1].text = "four";
    fill(&m, &b, 0, 2);
    CHECK_INT(st->run(cfg, NULL, &b, &err), KJ_FATAL);
    CHECK(strcmp(err.doc, "b") == 0);
    kj_batch_release(&b);
    st->close(cfg);
    free(cfg);
}

int main(void)
{
    static const unsigned recipes[][2] = {{14, 8}, {26, 11}, {450, 20}};
    for (size_t i = 0; i < 3; i++) {
        test_all_pairs(false, recipes[i][0], recipes[i][1]);
        test_all_pairs(true, recipes[i][0], recipes[i][1]);
    }
    test_invariance();
    test_files();
    test_exact();
    test_containment();
    test_scope();
    test_short();
    test_weights();
    test_identical();
    test_refusals();
    test_changed_input();
    return test_end();
}
