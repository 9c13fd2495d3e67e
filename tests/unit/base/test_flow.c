/* A run: counts that add up at every stage, the same bytes at every number of
 * threads, shards that make up the whole, and passes over the corpus. */
#include "base/err.h"
#include "base/flow.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { DOCS = 700, PER_BATCH = 9 };

/* ---- a source that makes documents ---- */

struct made {
    uint64_t next;
    int fail_at; /* document number, or -1 */
    int *open;   /* sources that are open now */
};

static int made_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct made *m = self;
    for (int i = 0; i < PER_BATCH && m->next < DOCS; i++) {
        if ((int)m->next == m->fail_at)
            return kj_err_set(err, KJ_FAIL, "source broke");
        struct kj_doc *d = kj_batch_add(b);
        char *raw = kj_arena_printf(&b->arena, "%d", (int)m->next++);
        d->raw = kj_str_z(raw);
        b->bytes_in += d->raw.n;
    }
    return b->n ? KJ_OK : KJ_EOF;
}

/* Document i: id "doc-i", its text depends on i; every 50th is damaged. */
static int made_decode(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    (void)err;
    for (size_t k = 0; k < b->n; k++) {
        struct kj_doc *d = &b->docs[k];
        int i = atoi(d->raw.p);
        d->id = kj_str_z(kj_arena_printf(&b->arena, "doc-%d", i));
        if (i % 50 == 49)
            kj_doc_damage(d, "input.bad", "unreadable");
        else
            d->text =
                kj_str_z(kj_arena_printf(&b->arena, "text %d %.*s", i, i % 40,
                                         "........................................"));
    }
    return KJ_OK;
}

static void made_close(void *self)
{
    struct made *m = self;
    if (m->open)
        --*m->open;
    free(m);
}

static struct kj_source made(int fail_at, int *open)
{
    struct made *m = calloc(1, sizeof *m);
    m->fail_at = fail_at;
    m->open = open;
    if (open)
        ++*open;
    return (struct kj_source){
        .self = m, .read = made_read, .decode = made_decode, .close = made_close};
}

/* ---- stages ---- */

struct sieve {
    int modulus, fail_at;
};

/* Drops what its modulus divides, and appends a mark to the text of the rest. */
static int sieve_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    const struct sieve *s = cfg;
    ++*(int *)state;
    for (size_t k = 0; k < b->n; k++) {
        struct kj_doc *d = &b->docs[k];
        if (!kj_doc_kept(d))
            continue;
        int i = atoi(d->raw.p);
        if (i == s->fail_at)
            return kj_err_set(err, KJ_FATAL, "broke at %d", i);
        kj_doc_signal(d, &b->arena, "sieve.rest", i % s->modulus);
        if (i % s->modulus == 0)
            kj_doc_drop(d, i % 2 ? "sieve.odd" : "sieve.even", i, s->modulus);
        else
            d->text = kj_str_z(kj_arena_printf(&b->arena, "%.*s/%d", (int)d->text.n,
                                               d->text.p, s->modulus));
    }
    return KJ_OK;
}

static const struct kj_stage sieve = {
    .name = "sieve", .state_size = sizeof(int), .run = sieve_run};

/* A serial stage: numbers the documents that it sees, in stream order. */
static int number_run(const void *cfg, void *state, struct kj_batch *b,
                      struct kj_err *err)
{
    int *n = state;
    (void)cfg;
    (void)err;
    for (size_t k = 0; k < b->n; k++)
        if (kj_doc_kept(&b->docs[k])) {
            char *s = kj_arena_printf(&b->arena, "%d", (*n)++);
            kj_doc_set(&b->docs[k], &b->arena, "number", kj_str_z(s));
        }
    return KJ_OK;
}

static const struct kj_stage number = {.name = "number",
                                       .flags = KJ_STAGE_SERIAL,
                                       .state_size = sizeof(int),
                                       .run = number_run};

/* ---- a sink into memory, and a watch ---- */

static int sink_encode(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    int rc = KJ_OK;
    for (size_t k = 0; k < b->n && !rc; k++)
        if (kj_doc_kept(&b->docs[k]))
            rc = kj_doc_write(&b->docs[k], NULL, false, &b->out, err);
    return rc;
}

static int sink_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)err;
    return kj_buf_add(self, b->out.p, b->out.n);
}

struct watched {
    int begins, ends;
    uint64_t batches, docs, last;
    bool ordered;
};

static int watch_begin(void *self, const struct kj_flow *f, struct kj_err *err)
{
    (void)f;
    (void)err;
    ((struct watched *)self)->begins++;
    return KJ_OK;
}

static int watch_batch(void *self, const struct kj_flow *f, const struct kj_batch *b,
                       struct kj_err *err)
{
    struct watched *w = self;
    (void)f;
    (void)err;
    w->ordered &= b->serial == w->batches++;
    for (size_t k = 0; k < b->n; k++) {
        w->ordered &= w->docs == 0 || b->docs[k].serial > w->last;
        w->last = b->docs[k].serial;
        w->docs++;
    }
    return KJ_OK;
}

static int watch_end(void *self, const struct kj_flow *f, struct kj_err *err)
{
    (void)f;
    (void)err;
    ((struct watched *)self)->ends++;
    return KJ_OK;
}

/* ---- one run ---- */

struct bed {
    struct sieve three, seven;
    struct kj_step steps[3];
    struct kj_watch watch;
    struct watched seen;
    struct kj_buf out;
    struct kj_flow f;
    struct kj_err err;
};

static void set_up(struct bed *b, unsigned threads)
{
    memset(b, 0, sizeof *b);
    b->err = (struct kj_err)KJ_ERR_INIT;
    b->three = (struct sieve){3, -1};
    b->seven = (struct sieve){7, -1};
    b->steps[0] = (struct kj_step){.stage = &sieve, .cfg = &b->three};
    b->steps[1] = (struct kj_step){.stage = &sieve, .cfg = &b->seven};
    b->steps[2] = (struct kj_step){.stage = &number};
    b->seen.ordered = true;
    b->watch = (struct kj_watch){&b->seen, watch_begin, watch_batch, watch_end};
    kj_buf_init(&b->out, 1 << 24);
    b->f = (struct kj_flow){.source = made(-1, NULL),
                            .steps = b->steps,
                            .n_steps = 3,
                            .sink = {&b->out, sink_encode, sink_write},
                            .watches = &b->watch,
                            .n_watches = 1,
                            .threads = threads,
                            .shards = 1};
}

static void tear_down(struct bed *b)
{
    b->f.source.close(b->f.source.self);
    kj_flow_release(&b->f);
    kj_buf_release(&b->out);
}

static uint64_t tallied(const struct kj_tally *t, size_t n, const char *rule)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].rule, rule) == 0)
            return t[i].docs;
    return 0;
}

/* Every document is somewhere, at every step. */
static void reconcile(const struct bed *b)
{
    const struct kj_flow *f = &b->f;
    uint64_t out = 0, bytes = 0;
    for (size_t i = 0; i < f->n_source_tallies; i++)
        out += f->source_tallies[i].docs;
    CHECK_INT(f->damaged, out);
    CHECK_INT(b->steps[0].in, f->docs_in - out);
    for (size_t k = 0; k < f->n_steps; k++) {
        const struct kj_step *s = &b->steps[k];
        out = bytes = 0;
        for (size_t i = 0; i < s->n_tallies; i++) {
            out += s->tallies[i].docs;
            bytes += s->tallies[i].bytes;
        }
        CHECK_INT(s->in, s->kept + out);
        if (k == 0) { /* later stages rewrite: bytes in are those of before */
            CHECK_INT(s->in - s->kept, out);
        } else {
            CHECK_INT(s->in, s[-1].kept);
            CHECK_INT(s->bytes_in, s[-1].bytes_kept);
            CHECK(s->sum_in == s[-1].sum_kept);
        }
    }
    const struct kj_step *last = &b->steps[f->n_steps - 1];
    CHECK_INT(f->docs_kept, last->kept);
    CHECK_INT(f->bytes_kept, last->bytes_kept);
    CHECK_INT(b->seen.docs, f->docs_in);
    CHECK(b->seen.ordered);
}

static void test_counts(void)
{
    struct bed b;
    set_up(&b, 1);
    CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
    reconcile(&b);
    uint64_t damaged = 0, three = 0, odd = 0, seven = 0, kept = 0;
    for (int i = 0; i < DOCS; i++) {
        if (i % 50 == 49)
            damaged++;
        else if (i % 3 == 0) {
            three++;
            odd += (uint64_t)(i % 2);
        } else if (i % 7 == 0)
            seven++;
        else
            kept++;
    }
    CHECK_INT(b.f.docs_in, DOCS);
    CHECK_INT(b.f.damaged, damaged);
    CHECK_INT(tallied(b.f.source_tallies, b.f.n_source_tallies, "input.bad"), damaged);
    CHECK_INT(tallied(b.steps[0].tallies, b.steps[0].n_tallies, "sieve.odd"), odd);
    CHECK_INT(b.steps[0].in - b.steps[0].kept, three);
    CHECK_INT(b.steps[1].in - b.steps[1].kept, seven);
    CHECK_INT(b.f.docs_kept, kept);
    CHECK(b.seen.begins == 1 && b.seen.ends == 1);
    CHECK_INT(b.seen.batches, (DOCS + PER_BATCH - 1) / PER_BATCH);
    static const char first[] =
        "{\"id\":\"doc-1\",\"text\":\"text 1 ./3/7\",\"number\":0,"
        "\"signals\":{\"sieve.rest\":1}}\n";
    CHECK(b.out.n > sizeof first);
    CHECK_MEM(b.out.p, sizeof first - 1, first, sizeof first - 1);
    tear_down(&b);
}

static void test_threads(void)
{
    struct bed one;
    set_up(&one, 1);
    CHECK_INT(kj_flow_run(&one.f, &one.err), KJ_OK);
    for (unsigned threads = 2; threads <= 8; threads++) {
        struct bed b;
        set_up(&b, threads);
        CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
        reconcile(&b);
        CHECK_INT(b.out.n, one.out.n);
        CHECK(b.out.n == one.out.n && memcmp(b.out.p, one.out.p, b.out.n) == 0);
        for (size_t k = 0; k < 3; k++) {
            CHECK(b.steps[k].sum_kept == one.steps[k].sum_kept);
            CHECK_INT(b.steps[k].n_tallies, one.steps[k].n_tallies);
            for (size_t i = 0; i < b.steps[k].n_tallies; i++)
                CHECK(
                    !strcmp(b.steps[k].tallies[i].rule, one.steps[k].tallies[i].rule));
        }
        tear_down(&b);
    }
    tear_down(&one);
}

/* Bytes of the output of a good run that belong to batches before the one
 * with document i. */
static void test_faults(void)
{
    enum { AT = 401 }; /* 401 = 3 * 133 + 2: reaches both sieves */
    struct bed good;
    set_up(&good, 1);
    good.f.limit = AT / PER_BATCH * PER_BATCH;
    CHECK_INT(kj_flow_run(&good.f, &good.err), KJ_OK);
    for (unsigned threads = 1; threads <= 8; threads += threads == 1 ? 1 : 3)
        for (int role = 0; role < 3; role++) {
            struct bed b;
            set_up(&b, threads);
            if (role == 0)
                b.three.fail_at = AT;
            if (role == 1)
                b.seven.fail_at = AT;
            if (role == 2) {
                b.f.source.close(b.f.source.self);
                b.f.source = made(AT, NULL);
            }
            CHECK_INT(kj_flow_run(&b.f, &b.err), role == 2 ? KJ_FAIL : KJ_FATAL);
            const char *want = role == 2 ? "source broke" : "sieve: broke at 401";
            CHECK_STR(b.err.msg, strlen(b.err.msg), want);
            CHECK_MEM(b.out.p, b.out.n, good.out.p, good.out.n);
            CHECK_INT(b.f.docs_kept, good.f.docs_kept);
            CHECK_INT(b.seen.ends, 0);
            tear_down(&b);
        }
    tear_down(&good);
}

static void test_limit_and_stop(void)
{
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        struct bed b;
        set_up(&b, threads);
        b.f.limit = 100; /* in the middle of a batch */
        CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
        reconcile(&b);
        CHECK_INT(b.f.docs_in, 100);
        tear_down(&b);
        set_up(&b, threads);
        atomic_bool stop = true;
        b.f.stop = &stop;
        CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
        CHECK_INT(b.f.docs_in, 0);
        tear_down(&b);
    }
}

static void test_shards(void)
{
    struct bed whole;
    set_up(&whole, 2);
    CHECK_INT(kj_flow_run(&whole.f, &whole.err), KJ_OK);
    for (unsigned n = 2; n <= 5; n += 3) {
        uint64_t docs = 0, kept = 0, sum = 0;
        for (unsigned i = 0; i < n; i++) {
            struct bed b;
            set_up(&b, 2);
            b.f.shard = i;
            b.f.shards = n;
            CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
            reconcile(&b);
            CHECK(b.f.docs_in > DOCS / n / 2);
            docs += b.f.docs_in;
            kept += b.f.docs_kept;
            sum += b.steps[2].sum_kept;
            tear_down(&b);
        }
        CHECK_INT(docs, DOCS);
        CHECK_INT(kept, whole.f.docs_kept);
        CHECK(sum == whole.steps[2].sum_kept);
    }
    tear_down(&whole);
}

static void test_shapes(void)
{
    struct bed b;
    set_up(&b, 2); /* no stage at all: a copy */
    b.f.n_steps = 0;
    CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
    CHECK_INT(b.f.docs_kept, DOCS - DOCS / 50);
    tear_down(&b);
    set_up(&b, 2); /* a parallel stage behind a serial one */
    b.steps[1] = b.steps[2];
    b.steps[2] = b.steps[0];
    CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_USAGE);
    CHECK(strstr(b.err.msg, "sieve must come before number") != NULL);
    tear_down(&b);
    set_up(&b, 0); /* nobody asked for threads */
    CHECK_INT(kj_flow_run(&b.f, &b.err), KJ_OK);
    reconcile(&b);
    tear_down(&b);
}

/* ---- passes ---- */

struct survey {
    uint64_t docs, batches, sum;
    atomic_ullong worked;
    int fail_at;
    bool ordered;
};

static int survey_work(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err)
{
    struct survey *s = ctx;
    (void)worker;
    uint64_t *sum = kj_arena_zalloc(&b->arena, sizeof *sum);
    for (size_t k = 0; k < b->n; k++) {
        if ((int)b->docs[k].serial == s->fail_at)
            return kj_err_set(err, KJ_FATAL, "survey broke");
        *sum += kj_doc_checksum(&b->docs[k]);
    }
    b->aux = sum;
    atomic_fetch_add(&s->worked, b->n);
    return KJ_OK;
}

static int survey_collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    (void)err;
    s->ordered &= b->serial == s->batches++;
    for (size_t k = 0; k < b->n; k++)
        s->ordered &= b->docs[k].serial == s->docs++;
    s->sum += *(uint64_t *)b->aux;
    return KJ_OK;
}

static int reopen(void *self, struct kj_source *out, struct kj_err *err)
{
    (void)err;
    *out = made(-1, self);
    return KJ_OK;
}

static int refuse(void *self, struct kj_source *out, struct kj_err *err)
{
    (void)self;
    (void)out;
    return kj_err_set(err, KJ_FAIL, "gone");
}

static void test_passes(void)
{
    int open = 0;
    uint64_t sum = 0;
    struct kj_corpus_inputs in = {reopen, &open};
    for (unsigned threads = 0; threads <= 6; threads += 2) {
        struct kj_corpus c = {.self = &in, .threads = threads, .pass = kj_corpus_pass};
        struct kj_err err = KJ_ERR_INIT;
        for (int again = 0; again < 2; again++) {
            struct survey s = {.fail_at = -1, .ordered = true};
            CHECK_INT(c.pass(&c, &s, survey_work, survey_collect, &err), KJ_OK);
            CHECK_INT(s.docs, DOCS);
            CHECK_INT(atomic_load(&s.worked), DOCS);
            CHECK(s.ordered);
            CHECK(sum == 0 || sum == s.sum);
            sum = s.sum;
            CHECK_INT(open, 0);
        }
        struct survey s = {.fail_at = 100, .ordered = true};
        CHECK_INT(c.pass(&c, &s, survey_work, survey_collect, &err), KJ_FATAL);
        CHECK_INT(s.docs, 100 / PER_BATCH * PER_BATCH);
        CHECK_INT(open, 0);
        kj_err_reset(&err);
        CHECK_INT(c.pass(&c, &s, NULL, NULL, &err), KJ_OK);
        c.limit = 100; /* in the middle of a batch */
        s = (struct survey){.fail_at = -1, .ordered = true};
        CHECK_INT(c.pass(&c, &s, survey_work, survey_collect, &err), KJ_OK);
        CHECK_INT(s.docs, 100);
        for (uint64_t skip = 0; skip <= 101; skip += 1 + skip * 2) {
            c.skip = skip;
            s = (struct survey){.fail_at = -1, .ordered = true, .docs = skip};
            CHECK_INT(c.pass(&c, &s, survey_work, survey_collect, &err), KJ_OK);
            CHECK_INT(s.docs, skip > 100 ? skip : 100);
            CHECK(s.ordered);
        }
        c.skip = 0;
        /* Stopped: what was seen is not taken for the corpus. */
        atomic_bool stop = true;
        c.limit = 0;
        c.stop = &stop;
        s = (struct survey){.fail_at = -1, .ordered = true};
        CHECK_INT(c.pass(&c, &s, survey_work, survey_collect, &err), KJ_EOF);
        CHECK(s.docs < DOCS);
        CHECK_INT(open, 0);
        c.self = &(struct kj_corpus_inputs){refuse, NULL};
        CHECK_INT(c.pass(&c, &s, NULL, NULL, &err), KJ_FAIL);
    }
}

int main(void)
{
    test_counts();
    test_threads();
    test_faults();
    test_limit_and_stop();
    test_shards();
    test_shapes();
    test_passes();
    return test_end();
}
