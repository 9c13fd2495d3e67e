/* test_train.c - the loader's order, and runs: the loss falls, an interrupted
 * run ends with the bytes of an uninterrupted one, damage is survived, and
 * values that are not finite are blamed by name. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "nn/backend.h"
#include "nn/safetensors.h"
#include "trainer/checkpoint.h"
#include "trainer/train.h"

/* ---- documents in memory: of 1 to 40 tokens, with a pattern to learn ---- */

enum { DOCS = 60, VOCAB = 23, END = 0 };
static uint64_t starts[DOCS + 1];
static uint32_t tokens[DOCS * 41];

static uint64_t mem_start(const void *self, uint64_t doc)
{
    (void)self;
    return starts[doc];
}

static uint64_t mem_doc_at(const void *self, uint64_t token)
{
    uint64_t d = 0;
    (void)self;
    while (starts[d + 1] <= token)
        d++;
    return d;
}

static size_t mem_read(const void *self, uint64_t at, uint32_t *out, size_t n)
{
    uint64_t all = starts[DOCS];
    (void)self;
    n = at >= all ? 0 : at + n > all ? (size_t)(all - at) : n;
    memcpy(out, tokens + at, n * sizeof *out);
    return n;
}

static struct kj_docs docs(void)
{
    uint64_t at = 0;
    for (uint32_t d = 0; d < DOCS; d++) {
        uint32_t n = 1 + d * 7 % 40;
        starts[d] = at;
        for (uint32_t i = 0; i + 1 < n; i++)
            tokens[at++] = 1 + (d + i * 3) % (VOCAB - 1);
        tokens[at++] = END;
    }
    starts[DOCS] = at;
    return (struct kj_docs){.documents = DOCS,
                            .end = END,
                            .start = mem_start,
                            .doc_at = mem_doc_at,
                            .read = mem_read};
}

static void permutations(void)
{
    for (uint64_t n = 1; n < 300; n += 7) {
        char seen[300] = {0};
        uint64_t moved = 0;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t x = kj_permute(i, n, n * 3 + 1);
            CHECK(x < n && !seen[x]);
            seen[x] = 1;
            moved += x != i;
        }
        if (n > 20)
            CHECK(moved > n / 2);
    }
}

/* Each prediction at most once an epoch, and all but a row's worth; rows do not
 * depend on how they are asked for; the loader goes on from a row. */
static void loader(bool shuffle)
{
    enum { T = 16, ROWS = 200 };
    struct kj_docs d = docs();
    struct kj_loader a, b;
    struct kj_packed p, q;
    int64_t seen[VOCAB] = {0}, want[VOCAB] = {0}, missing = 0;
    size_t epoch = (size_t)(starts[DOCS] / T);
    kj_packed_init(&p, ROWS * T);
    kj_packed_init(&q, T);
    CHECK_INT(kj_loader_init(&a, &d, 5, shuffle, NULL), KJ_OK);
    CHECK_INT(kj_loader_init(&b, &d, 5, shuffle, NULL), KJ_OK);
    CHECK_INT(kj_loader_next(&a, ROWS, T, &p, NULL), KJ_OK);
    CHECK_INT(p.rows.n, ROWS * T);
    CHECK(epoch < ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        CHECK_INT(kj_loader_next(&b, 1, T, &q, NULL), KJ_OK);
        CHECK_MEM((char *)q.ids, T * 4, (char *)(p.ids + i * T), T * 4);
        CHECK_MEM((char *)q.targets, T * 4, (char *)(p.targets + i * T), T * 4);
        CHECK_MEM((char *)q.pos, T * 4, (char *)(p.pos + i * T), T * 4);
    }
    for (uint64_t i = 0; i < starts[DOCS]; i++)
        want[tokens[i]]++;
    for (size_t i = 0; i < epoch * T; i++)
        seen[p.targets[i]]++;
    for (int i = 0; i < VOCAB; i++) {
        CHECK(seen[i] <= want[i]);
        missing += want[i] - seen[i];
    }
    CHECK(missing < T);
    for (size_t i = 0; i < p.rows.segs; i++) {
        int32_t s = p.cu[i], e = p.cu[i + 1];
        CHECK(e > s && s / T == (e - 1) / T);
        for (int32_t k = s; k < e; k++) {
            CHECK_INT(p.pos[k], k - s);
            if (k > s)
                CHECK_INT(p.ids[k], p.targets[k - 1]);
            if (k < e - 1)
                CHECK(p.targets[k] != END);
        }
    }
    b.row = 77;
    CHECK_INT(kj_loader_next(&b, 1, T, &q, NULL), KJ_OK);
    CHECK_MEM((char *)q.ids, T * 4, (char *)(p.ids + 77 * T), T * 4);
    if (!shuffle)
        CHECK_INT(p.targets[100], tokens[100]);
    /* a set smaller than a row goes round */
    CHECK_INT(kj_loader_next(&b, 1, ROWS * T, &p, NULL), KJ_OK);
    kj_loader_release(&a);
    kj_loader_release(&b);
    kj_packed_release(&p);
    kj_packed_release(&q);
    d.documents = 0;
    CHECK_INT(kj_loader_init(&a, &d, 5, true, NULL), KJ_FAIL);
}

/* ---- runs ---- */

static char dir[64], path[160];

static const char *in(const char *run, const char *name)
{
    snprintf(path, sizeof path, "%s/%s/%s", dir, run, name);
    return path;
}

static struct kj_run config(void)
{
    struct kj_run r;
    kj_run_init(&r, NULL);
    r.model.hidden = 24;
    r.model.ffn = 40;
    r.model.layers = 2;
    r.model.heads = 4;
    r.model.kv_heads = 2;
    r.model.head_dim = 8;
    r.data.seq_len = 16;
    r.data.batch = 6;
    r.data.micro = 4; /* the last pass of a step is smaller */
    r.schedule.steps = 30;
    r.schedule.warmup = 5;
    r.optim.lr = 1e-2;
    r.optim.z_loss = 1e-4;
    r.checkpoint.every = 10;
    CHECK_INT(kj_run_resolve(&r, VOCAB, NULL), KJ_OK);
    return r;
}

static int note_count;
static void note(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
    note_count++;
}

static struct kj_train_result result;
static struct kj_err err;

static int train(const char *name, const struct kj_run *r, unsigned threads,
                 int64_t stop_after, bool force)
{
    struct kj_backend *b;
    char to[128];
    snprintf(to, sizeof to, "%s/%s", dir, name);
    struct kj_docs d[2] = {docs(), docs()};
    struct kj_feed feed;
    d[0].name = "one";
    d[1].name = "two";
    CHECK_INT(kj_feed_open(&feed, r, d, r->n_sets, NULL), KJ_OK);
    struct kj_train t = {.run = r,
                         .dir = to,
                         .feed = &feed,
                         .data_hash = "d",
                         .stop_after = stop_after,
                         .force = force,
                         .on_note = note};
    err = (struct kj_err)KJ_ERR_INIT;
    note_count = 0;
    kj_backend_open(&b, "cpu", threads, NULL);
    int rc = kj_train(&t, b, &result, &err);
    uint64_t seen = 0;
    for (size_t i = 0; i < kj_feed_cells(&feed); i++)
        seen += feed.seen[i];
    CHECK(rc || seen == (uint64_t)result.last.tokens);
    kj_feed_close(&feed);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
    return rc;
}

static const char *hash_of(const char *run)
{
    static char h[2][40];
    static int k;
    int64_t n;
    k = !k;
    h[k][0] = 0;
    kj_hash_file(in(run, "model/model.safetensors"), h[k], &n, NULL);
    return h[k];
}

static void runs(void)
{
    struct kj_run r = config();
    CHECK_INT(train("whole", &r, 1, 0, false), KJ_OK);
    CHECK_INT(result.end, KJ_TRAIN_DONE);
    CHECK_INT(result.ran, 30);
    CHECK(result.last.loss < 0.6 * result.first_loss);
    const char *whole = hash_of("whole");
    CHECK(*whole);

    /* The same at three threads, and when stopped twice. */
    CHECK_INT(train("threads", &r, 3, 0, false), KJ_OK);
    CHECK_STR(hash_of("threads"), 39, whole);
    CHECK_INT(train("cut", &r, 1, 7, false), KJ_OK);
    CHECK_INT(result.end, KJ_TRAIN_STOPPED);
    CHECK_INT(train("cut", &r, 2, 21, false), KJ_OK);
    CHECK_INT(result.ran, 14);
    CHECK_INT(note_count, 1);
    CHECK_INT(train("cut", &r, 1, 0, false), KJ_OK);
    CHECK_INT(result.ran, 9);
    CHECK_STR(hash_of("cut"), 39, whole);
    /* once done, a run has nothing to do */
    CHECK_INT(train("cut", &r, 1, 0, false), KJ_OK);
    CHECK_INT(result.ran, 0);
    CHECK_STR(hash_of("cut"), 39, whole);

    /* The metrics have each step once. */
    FILE *f = fopen(in("cut", "metrics.jsonl"), "r");
    char line[512];
    int n = 0, step;
    while (f && fgets(line, sizeof line, f))
        if (CHECK(sscanf(line, "{\"step\": %d,", &step) == 1))
            CHECK_INT(step, ++n);
    CHECK_INT(n, 30);
    if (f)
        fclose(f);

    /* Another configuration is refused, unless forced. */
    r.optim.lr = 2e-2;
    CHECK_INT(train("cut", &r, 1, 0, false), KJ_USAGE);
    CHECK_INT(train("cut", &r, 1, 0, true), KJ_OK);
    CHECK_INT(result.ran, 30);
    CHECK(strcmp(hash_of("cut"), hash_of("whole")) != 0);
}

/* Whether a tensor of a run's newest checkpoint is stored as bfloat16. */
static bool is_bf16(const char *run, const char *file, const char *tensor)
{
    char to[200];
    struct kj_st *st;
    snprintf(to, sizeof to, "%s/%s/checkpoints/step-00000030/%s", dir, run, file);
    if (!CHECK_INT(kj_st_open(&st, to, NULL), KJ_OK))
        return false;
    const struct kj_st_tensor *t = kj_st_find(st, tensor);
    bool is = t && t->type == KJ_ST_BF16;
    kj_st_close(st);
    return is;
}

/* States in bfloat16: the loss falls, threads and stops change no byte, files are half
 * as large; chance has a part in it; a run does not change its states. */
static void states(void)
{
    struct kj_run r = config();
    struct kj_err why = KJ_ERR_INIT;
    r.optim.states = KJ_STATES_BF16;
    CHECK_INT(kj_run_resolve(&r, VOCAB, &why), KJ_USAGE);
    CHECK(strstr(why.msg, "optim.precision") != NULL);
    kj_err_reset(&why);
    r.optim.precision = KJ_PRECISION_BF16;
    r.optim.kind = KJ_OPTIM_MUON;
    CHECK_INT(kj_run_resolve(&r, VOCAB, &why), KJ_USAGE);
    CHECK(strstr(why.msg, "adamw") != NULL);
    kj_err_reset(&why);
    r.optim.kind = KJ_OPTIM_ADAMW;
    CHECK_INT(kj_run_resolve(&r, VOCAB, NULL), KJ_OK);
    CHECK_INT(train("low", &r, 1, 0, false), KJ_OK);
    CHECK(result.last.loss < 0.6 * result.first_loss);
    CHECK(is_bf16("low", "model.safetensors", "model.norm.weight"));
    CHECK(is_bf16("low", "optimizer.safetensors", "v.model.norm.weight"));
    CHECK(!is_bf16("whole", "optimizer.safetensors", "v.model.norm.weight"));
    CHECK_INT(train("low-cut", &r, 3, 7, false), KJ_OK);
    CHECK_INT(train("low-cut", &r, 2, 0, false), KJ_OK);
    CHECK_INT(result.ran, 23);
    CHECK_STR(hash_of("low-cut"), 39, hash_of("low"));
    r.optim.states = KJ_STATES_F32;
    CHECK_INT(train("low", &r, 1, 0, false), KJ_USAGE);
    r.optim.states = KJ_STATES_BF16; /* so many passes are added up by chance */
    r.data.batch = 129;
    r.data.micro = 1;
    r.schedule.steps = 4;
    CHECK_INT(kj_run_resolve(&r, VOCAB, NULL), KJ_OK);
    CHECK_INT(train("passes", &r, 1, 0, false), KJ_OK);
    CHECK_INT(train("passes-cut", &r, 3, 2, false), KJ_OK);
    CHECK_INT(train("passes-cut", &r, 1, 0, false), KJ_OK);
    CHECK_STR(hash_of("passes-cut"), 39, hash_of("passes"));
}

/* Two stages over two sets, stopped on both sides of the border and on it: the same
 * bytes and the same lines. Stages over one set with the run's own rate: the bytes
 * of a run without stages. */
static void staged(void)
{
    struct kj_run r = config();
    char whole[40];
    snprintf(whole, sizeof whole, "%s", hash_of("whole"));
    r.staged = true;
    r.n_stages = 2;
    for (size_t i = 0; i < 2; i++)
        r.stages[i] = (struct kj_run_stage){.name = i ? "fine" : "broad",
                                            .steps = i ? 17 : 13,
                                            .start_ratio = NAN,
                                            .end_ratio = NAN,
                                            .warmup = -1,
                                            .sources = {{NULL, 1, 0}},
                                            .n_sources = 1};
    CHECK_INT(kj_run_resolve(&r, VOCAB, NULL), KJ_OK);
    CHECK_INT(train("as-one", &r, 1, 0, false), KJ_OK);
    CHECK_STR(hash_of("as-one"), 39, whole);
    r.stages[1].shape = KJ_STAGE_LINEAR;
    r.stages[1].sources[0].path = "other";
    r.stages[1].sources[1] = (struct kj_run_source){NULL, 2, 0};
    r.stages[1].n_sources = 2;
    CHECK_INT(kj_run_resolve(&r, VOCAB, NULL), KJ_OK);
    CHECK_INT(r.n_sets, 2);
    CHECK_INT(train("staged", &r, 1, 0, false), KJ_OK);
    static const int64_t stops[] = {12, 13, 14, 29, 0};
    for (size_t i = 0; i < 5; i++)
        CHECK_INT(train("steps", &r, 1 + i % 2, stops[i], false), KJ_OK);
    CHECK_STR(hash_of("steps"), 39, hash_of("staged"));
    CHECK(strcmp(hash_of("staged"), whole) != 0);
    FILE *f[2] = {fopen(in("steps", "metrics.jsonl"), "r"), NULL};
    f[1] = fopen(in("staged", "metrics.jsonl"), "r");
    char a[512], b[512];
    int n = 0;
    while (f[0] && f[1] && fgets(a, sizeof a, f[0]) && fgets(b, sizeof b, f[1])) {
        char *end = strstr(a, ", \"tokens_per_s");
        CHECK(end && strncmp(a, b, (size_t)(end - a)) == 0);
        CHECK(strstr(a, n++ < 13 ? "\"stage\": \"broad\", \"seen\": {\"one\":"
                                 : "\"stage\": \"fine\", \"seen\": {\"") != NULL);
    }
    CHECK_INT(n, 30);
    CHECK(strstr(a, "\"one\": 1088, \"two\": 544}") != NULL); /* of 17 x 96 */
    for (int i = 0; i < 2; i++)
        if (f[i])
            fclose(f[i]);
}

/* A damaged checkpoint is noticed and the one before it used. */
static void damaged_checkpoint(void)
{
    struct kj_run r = config();
    CHECK_INT(train("hurt", &r, 1, 20, false), KJ_OK);
    FILE *f =
        fopen(in("hurt", "checkpoints/step-00000020/optimizer.safetensors"), "r+");
    if (!CHECK(f != NULL))
        return;
    fseek(f, -5, SEEK_END);
    fputc('x', f);
    fclose(f);
    CHECK_INT(train("hurt", &r, 1, 0, false), KJ_OK);
    CHECK_INT(result.ran, 20);
    CHECK_INT(note_count, 2);
    CHECK_STR(hash_of("hurt"), 39, hash_of("whole"));
    size_t n;
    char to[128];
    snprintf(to, sizeof to, "%s/hurt/checkpoints", dir);
    int64_t *v = kj_checkpoint_list(to, &n);
    CHECK_INT(n, 2); /* keep */
    CHECK_INT(v[0], 30);
    CHECK_INT(v[1], 20);
    free(v);
}

/* The sum of many small passes is the gradient of one large one. */
static void accumulation(void)
{
    struct kj_run r = config();
    CHECK_INT(train("large", &r, 1, 1, false), KJ_OK);
    struct kj_train_step large = result.last;
    r.data.micro = 1;
    CHECK_INT(train("small", &r, 1, 1, false), KJ_OK);
    CHECK_NEAR(result.last.loss, large.loss, 1e-5);
    CHECK_NEAR(result.last.grad_norm / large.grad_norm, 1, 1e-5);
}

static void time_limit(void)
{
    struct kj_run r = config();
    struct kj_backend *b;
    char to[128];
    r.schedule.steps = 1000000;
    snprintf(to, sizeof to, "%s/timed", dir);
    struct kj_docs d = docs();
    struct kj_feed feed;
    CHECK_INT(kj_feed_open(&feed, &r, &d, 1, NULL), KJ_OK);
    struct kj_train t = {
        .run = &r, .dir = to, .feed = &feed, .data_hash = "d", .time_limit = 0.2};
    kj_backend_open(&b, "cpu", 1, NULL);
    CHECK_INT(kj_train(&t, b, &result, &err), KJ_OK);
    CHECK_INT(result.end, KJ_TRAIN_TIME);
    CHECK(result.ran > 0 && result.ran < 1000000);
    CHECK(test_have(in("timed", "model/config.json")));
    kj_feed_close(&feed);
    kj_backend_close(b);
}

static void blame(void)
{
    struct kj_run r = config();
    r.optim.lr = 9;
    r.optim.eps = 1e-16;
    r.model.init_range = 10;
    r.optim.clip = 0;
    r.schedule.warmup = 0;
    r.optim.weight_decay = 10; /* w * (1 - 90): grows beyond float32 */
    r.schedule.shape = KJ_LR_CONSTANT;
    r.schedule.steps = 1000;
    r.checkpoint.every = 0;
    CHECK_INT(train("nan", &r, 1, 0, false), KJ_FATAL);
    CHECK(strstr(err.msg, "is not finite (first of ") != NULL);
    CHECK(strstr(err.msg, ".weight") != NULL);
    CHECK(strstr(err.msg, "epoch") != NULL);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kijil-train-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    permutations();
    loader(true);
    loader(false);
    runs();
    states();
    staged();
    damaged_checkpoint();
    accumulation();
    time_limit();
    blame();
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        printf("could not remove %s\n", dir);
    return test_end();
}
