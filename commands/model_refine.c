/* model_refine.c - kijil model refine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/json.h"
#include "classify/refine.h"
#include "commands/model_job.h"

static void put_num(struct kj_buf *b, const char *key, double v)
{
    kj_buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", key);
    kj_json_put_real(b, v);
}

static int put_hashes(struct kj_buf *b, const char *key, const struct kj_strs *files,
                      struct kj_err *err)
{
    char hash[40];
    int64_t bytes;
    int rc = KJ_OK;
    kj_buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < files->n && rc == KJ_OK; i++) {
        rc = kj_hash_file(files->v[i], hash, &bytes, err);
        kj_buf_printf(b, "%s\"%s\"", i ? "," : "", hash);
    }
    kj_buf_addc(b, ']');
    return rc;
}

static int compare_size(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    return (a > b) - (a < b);
}

/* The pool may be too large to be read once more: sizes have to do. */
static void put_pool(struct kj_buf *b, const struct kj_files *pool)
{
    int64_t *sizes = kj_xcalloc(pool->n + 1, sizeof *sizes);
    for (size_t i = 0; i < pool->n; i++) {
        struct stat st;
        sizes[i] = stat(pool->v[i], &st) == 0 ? (int64_t)st.st_size : -1;
    }
    qsort(sizes, pool->n, sizeof *sizes, compare_size);
    kj_buf_addz(b, ",\"pool_bytes\":[");
    for (size_t i = 0; i < pool->n; i++)
        kj_buf_printf(b, "%s%lld", i ? "," : "", (long long)sizes[i]);
    kj_buf_addc(b, ']');
    free(sizes);
}

/* What decides the result: another folder is needed when any of it differs. */
static int settings(const struct model_job *j, const struct kj_files *pool,
                    struct kj_buf *b, struct kj_err *err)
{
    const struct model_cfg *c = &j->c;
    const struct kj_ft_train *t = &c->t;
    const struct {
        const char *key;
        double v;
    } nums[] = {{"rounds", (double)c->rounds},
                {"patience", (double)c->patience},
                {"examples", (double)c->examples},
                {"harvest", c->harvest},
                {"growth", c->growth},
                {"min_score", c->min_score},
                {"margin", c->margin},
                {"balance", c->balance},
                {"epsilon", c->epsilon},
                {"positive_min", c->positive_min},
                {"metric", c->refine_metric},
                {"seed", (double)t->seed},
                {"lr", t->lr},
                {"lr_update_rate", (double)t->lr_update_rate},
                {"dim", (double)t->dim},
                {"ws", (double)t->ws},
                {"epoch", (double)t->epoch},
                {"min_count", (double)t->min_count},
                {"min_count_label", (double)t->min_count_label},
                {"neg", (double)t->neg},
                {"word_ngrams", (double)t->word_ngrams},
                {"bucket", (double)t->bucket},
                {"minn", (double)t->minn},
                {"maxn", (double)t->maxn},
                {"loss", t->loss},
                {"t", t->t}};
    kj_buf_addc(b, '{');
    for (size_t i = 0; i < sizeof nums / sizeof *nums; i++)
        put_num(b, nums[i].key, nums[i].v);
    kj_buf_addz(b, ",\"label_field\":");
    kj_json_put_str(b, c->label_field, strlen(c->label_field));
    kj_buf_addz(b, ",\"positive\":[");
    for (size_t i = 0; i < c->positive.n; i++) {
        if (i)
            kj_buf_addc(b, ',');
        kj_json_put_str(b, c->positive.v[i], strlen(c->positive.v[i]));
    }
    kj_buf_addc(b, ']');
    put_pool(b, pool);
    int rc = put_hashes(b, "seeds", &c->seeds, err);
    if (rc == KJ_OK)
        rc = put_hashes(b, "held", &c->held, err);
    return rc == KJ_OK ? kj_buf_addz(b, "}\n") : rc;
}

static void tell(void *ctx, const struct kj_refine_round *r)
{
    const struct kj_common *c = ctx;
    if (c->quiet)
        return;
    fprintf(stderr,
            "round %lld%s: learned from %zu + %zu positives, %zu + %zu negatives",
            (long long)r->number, r->restored ? " (found done)" : "", r->seed_positives,
            r->harvested, r->seed_negatives, r->drawn);
    if (r->held)
        fprintf(stderr,
                "; held out: precision %.3f, recall %.3f, F1 %.3f (best %.3f), average "
                "precision %.4f",
                r->at.precision, r->at.recall, r->at.f1, r->best.f1,
                r->average_precision);
    fprintf(stderr, "; pool: %.2f %% positive, %zu taken\n", 100 * r->positive_share,
            r->harvest);
    if (r->stop)
        fprintf(stderr, "stop: %s\n", r->stop);
}

static int usage(const struct model_job *j, struct kj_err *err)
{
    if (j->pos.n < 2)
        return kj_err_set(err, KJ_USAGE, "which pool? (kijil model refine POOL...)");
    if (!j->common.output)
        return kj_err_set(err, KJ_USAGE, "the rounds go to a folder: -o DIR");
    if (j->c.seeds.n == 0)
        return kj_err_set(err, KJ_USAGE,
                          "which labelled documents? (--seeds FILE.jsonl)");
    if (j->c.harvest <= 0 || j->c.growth <= 1)
        return kj_err_set(err, KJ_USAGE,
                          "nothing can be harvested: --harvest must be "
                          "over 0 and --growth over 1");
    return KJ_OK;
}

static int run_rounds(struct model_job *j, struct kj_files *pool,
                      const struct kj_refine_set *seeds,
                      const struct kj_refine_set *held, struct kj_refine_result *result,
                      struct kj_err *err)
{
    struct kj_buf b;
    struct model_cfg *c = &j->c;
    struct kj_corpus_inputs inputs = {kj_files_source, pool};
    struct kj_corpus corpus = {.self = &inputs,
                               .threads = (unsigned)c->t.threads,
                               .memory = j->common.memory,
                               .pass = kj_corpus_pass,
                               .stop = &kj_interrupted};
    kj_buf_init(&b, (size_t)64 << 20);
    int rc = settings(j, pool, &b, err);
    struct kj_refine o = {.dir = j->common.output,
                          .train = c->t,
                          .rounds = c->rounds,
                          .patience = c->patience,
                          .examples = c->examples,
                          .seed = c->t.seed,
                          .harvest = c->harvest,
                          .growth = c->growth,
                          .min_score = c->min_score,
                          .margin = fmax(c->margin, c->harvest),
                          .balance = c->balance,
                          .epsilon = c->epsilon,
                          .metric = c->refine_metric,
                          .memory = j->common.memory,
                          .settings = {b.p, b.n},
                          .tell = tell,
                          .ctx = &j->common};
    if (rc == KJ_OK)
        rc = kj_refine_run(&o, seeds, held, &corpus, result, err);
    kj_buf_release(&b);
    return rc;
}

int kj_model_refine(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_refine_set seeds = {0}, held = {0};
    struct kj_files pool = {0};
    struct model_cfg *c = &j->c;
    struct kj_refine_rule rule = {c->label_field, c->positive_min, &c->positive};
    struct kj_strs names = {j->pos.v + 1, j->pos.n - 1};
    struct kj_refine_result result = {0};
    c->t.loss += KJ_FT_HS;
    c->t.memory = j->common.memory;
    if (c->positive.n == 0)
        kj_strs_add(&c->positive, "hq");
    int rc = usage(j, &err);
    if (rc != KJ_OK)
        return kj_cmd_fail(j->cmd, &err);
    kj_cmd_signals();
    rc = kj_files_open(&pool, &names, true, &err);
    if (rc == KJ_OK)
        rc = kj_refine_set_read(&seeds, c->seeds.v, c->seeds.n, &rule,
                                (size_t)j->common.memory, &err);
    if (rc == KJ_OK)
        rc = kj_refine_set_read(&held, c->held.v, c->held.n, &rule,
                                (size_t)j->common.memory, &err);
    j->damaged = seeds.damaged + held.damaged;
    if (rc == KJ_OK && seeds.n == 0)
        rc = kj_err_set(&err, KJ_FAIL,
                        "no document of --seeds has a label in its field '%s'; "
                        "--label-field names another",
                        c->label_field);
    if (rc == KJ_OK && c->held.n && held.n == 0)
        rc = kj_err_set(&err, KJ_FAIL, "no document of --held has a label in '%s'",
                        c->label_field);
    if (rc == KJ_OK)
        rc = run_rounds(j, &pool, &seeds, &held, &result, &err);
    j->damaged += result.damaged;
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " model refine: %s/model.bin is of round "
                "%lld\n",
                j->common.output, (long long)result.best);
        kj_model_closing(j);
    }
    kj_refine_set_release(&seeds);
    kj_refine_set_release(&held);
    kj_files_release(&pool);
    if (rc == KJ_EOF || (rc != KJ_OK && atomic_load(&kj_interrupted)))
        return 130;
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}
