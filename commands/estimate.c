/* estimate.c - what a job will take, from doing the first of it.
 *
 * Time per byte differs between pages, machines and rules by a factor of ten,
 * so there is no table of speeds here. The steps run on the first documents,
 * on one thread and into nothing, and what that took is scaled by the share of
 * the input that it read. A stage that surveys the corpus surveys the same
 * documents, and says itself what memory and disk it will take of all of them
 * (kj_stage.needs) if it can. The time is then divided by the threads, which is the
 * best case.
 */
#include "commands/commands.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* The documents of one trial, or its seconds; but some batches in any case, for
 * the reader is up to one ahead of what was done, and the share counts that. */
enum { TRIAL_DOCS = 4000, TRIAL_BATCHES = 4 };
#define TRIAL_SECONDS 3.0

struct trial {
    struct kj_flow flow;
    atomic_bool stop;
    double start, share;
    uint64_t bytes, tokens, batches;
    uint64_t lines; /* bytes of the documents' lines */
};

static double peak_memory(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return 1024.0 * (double)ru.ru_maxrss;
}

static int trial_encode(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = kj_doc_write(&b->docs[i], "", false, &b->out, err);
    return rc;
}

static int trial_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct trial *t = self;
    (void)err;
    t->bytes += b->out.n;
    for (size_t i = 0; i < b->n; i++) {
        t->lines += b->docs[i].raw.n + 1;
        if (kj_doc_kept(&b->docs[i]) && b->docs[i].token_count > 0)
            t->tokens += (uint64_t)b->docs[i].token_count;
    }
    t->share =
        t->flow.source.progress ? t->flow.source.progress(t->flow.source.self) : NAN;
    if (++t->batches >= TRIAL_BATCHES &&
        (t->flow.docs_in >= TRIAL_DOCS || kj_now() - t->start > TRIAL_SECONDS))
        atomic_store(&t->stop, true);
    return KJ_OK;
}

static void print(const struct kj_common *c, const struct trial *t, double took,
                  double before, double surveyed, double after)
{
    double share = t->share > 0 && t->share < 1 ? t->share : 1;
    double docs = (double)t->flow.docs_in, factor = 1 / share;
    if (c->limit && docs * factor > (double)c->limit && docs > 0)
        factor = (double)c->limit / docs;
    double parts = c->shard_n > 1 ? c->shard_n : 1;
    double jobs = (double)c->jobs, window = jobs > 1 ? 8 * jobs : 1;
    double index = (surveyed - before) * factor;
    if (index > (double)c->memory)
        index = (double)c->memory;
    double memory = before + index + (after - surveyed) * window;
    printf("estimate_from: %.0f documents, %.1f %% of the input, in %.2f s\n", docs,
           100 * share, took);
    printf("estimate_documents: %.0f\n", docs * factor);
    printf("estimate_kept: %.0f\n", (double)t->flow.docs_kept * factor / parts);
    printf("estimate_seconds: %.1f\n", took * factor / jobs);
    struct kj_needs needs = {.memory = NAN, .disk = NAN};
    const struct kj_step *first = &t->flow.steps[0];
    if (first->stage->needs)
        first->stage->needs(first->cfg, factor, (unsigned)c->jobs, c->memory, &needs);
    if (!isnan(needs.memory))
        memory = needs.memory;
    printf("estimate_memory: %.0f MB at most\n", memory / 1e6);
    if (!isnan(needs.disk))
        printf("estimate_disk: %.1f MB of temporary files at most%s\n",
               needs.disk / 1e6, needs.always_disk ? "" : ", if there are any");
    printf("estimate_output: %.1f MB of JSONL\n",
           (double)t->bytes * factor / parts / 1e6);
    if (t->tokens)
        printf("estimate_tokens: %.0f\n", (double)t->tokens * factor / parts);
}

/* A sample of a given number of documents ends within a batch, and the reader is
 * ahead of it. Files of plain text need no guess: lines and sizes are known. */
static void sharpen(struct trial *t, const struct kj_strs *files)
{
    struct stat st;
    double size = 0;
    for (size_t i = 0; i < files->n; i++) {
        unsigned char head[4] = {0};
        FILE *f = fopen(files->v[i], "rb");
        bool plain =
            f && fread(head, 1, 4, f) == 4 && (head[0] == '{' || head[0] == ' ');
        if (f)
            fclose(f);
        if (!plain || stat(files->v[i], &st)) {
            size = 0;
            break;
        }
        size += (double)st.st_size;
    }
    if (size > 0)
        t->share = (double)t->lines / size;
    else if (t->flow.bytes_in > 0)
        t->share *= (double)t->lines / (double)t->flow.bytes_in;
}

static bool all_files(const struct kj_strs *files)
{
    struct stat st;
    for (size_t i = 0; i < files->n; i++)
        if (stat(files->v[i], &st) != 0 || !S_ISREG(st.st_mode))
            return false;
    return files->n > 0;
}

int kj_cmd_estimate(const struct kj_common *c, struct kj_step *steps, size_t n,
                    struct kj_corpus_inputs inputs, const struct kj_strs *files,
                    struct kj_err *err)
{
    if (!all_files(files)) {
        printf("estimate: none, for it needs files\n");
        return KJ_OK;
    }
    struct trial t = {.start = kj_now()};
    double before = peak_memory();
    struct kj_corpus corpus = {.self = &inputs,
                               .threads = 1,
                               .memory = c->memory,
                               .seed = (uint64_t)c->seed,
                               .tmp_dir = ".",
                               .pass = kj_corpus_pass,
                               .limit = TRIAL_DOCS,
                               .trial = true};
    const struct kj_stage *first = steps[0].stage;
    bool surveys = kj_stage_surveys(first, steps[0].cfg);
    int rc = surveys ? first->survey(steps[0].cfg, &corpus, err) : KJ_OK;
    double surveyed = peak_memory();
    t.flow = (struct kj_flow){.steps = steps,
                              .n_steps = n,
                              .sink = {&t, trial_encode, trial_write},
                              .threads = 1,
                              .limit = surveys ? TRIAL_DOCS : 0,
                              .stop = &t.stop};
    if (rc == KJ_OK)
        rc = inputs.reopen(inputs.self, &t.flow.source, err);
    if (rc == KJ_OK)
        rc = kj_flow_run(&t.flow, err);
    if (rc == KJ_OK && surveys)
        sharpen(&t, files);
    if (rc == KJ_OK)
        print(c, &t, kj_now() - t.start, before, surveyed, peak_memory());
    if (t.flow.source.close)
        t.flow.source.close(t.flow.source.self);
    kj_flow_release(&t.flow);
    return rc;
}
