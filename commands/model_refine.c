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
#include "manifests/ledger.h"

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
                {"precision", c->precision},
                {"updates", (double)c->updates},
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

/* ---- every round told, and into the ledger ---- */

struct telling {
    const struct kj_common *c;
    struct kj_ledger *ledger; /* NULL: none */
    struct kj_err err;        /* the first of the ledger */
};

static void tell(void *ctx, const struct kj_refine_round *r)
{
    struct telling *t = ctx;
    const struct kj_common *c = t->c;
    char path[4096];
    if (t->ledger && t->err.rc == KJ_OK) {
        snprintf(path, sizeof path, "%s/round-%02lld/round.json", c->output,
                 (long long)r->number);
        kj_ledger_refine_round(t->ledger, path, &t->err);
    }
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

/* The settings as "key: value" lines: their JSON is flat but for lists. */
static void config_lines(const struct kj_buf *json, struct kj_buf *out)
{
    struct kj_err ignored = KJ_ERR_INIT;
    struct kj_json *parser = kj_json_new();
    const struct kj_jval *v;
    if (kj_json_parse(parser, json->p, json->n, &v, &ignored) == KJ_OK)
        for (size_t i = 0; i < v->n; i++) {
            const struct kj_jval *x = &v->items[i];
            kj_buf_add(out, v->keys[i].p, v->keys[i].n);
            kj_buf_addz(out, ":");
            for (size_t k = 0; k < (x->kind == KJ_J_ARRAY ? x->n : 1); k++) {
                const struct kj_jval *e = x->kind == KJ_J_ARRAY ? &x->items[k] : x;
                kj_buf_addc(out, ' ');
                if (e->kind == KJ_J_STR)
                    kj_buf_add(out, e->s.p, e->s.n);
                else
                    kj_json_put_real(out, kj_jnum(e, NAN));
            }
            kj_buf_addc(out, '\n');
        }
    kj_buf_addc(out, '\0');
    kj_json_free(parser);
}

static int open_ledger(const struct model_job *j, const struct kj_files *pool,
                       const struct kj_buf *settings, struct kj_ledger **l,
                       struct kj_err *err)
{
    const struct kj_strs *lists[] = {&j->c.seeds, &j->c.held};
    struct kj_buf config;
    if (!j->common.ledger)
        return KJ_OK;
    kj_buf_init(&config, (size_t)64 << 20);
    config_lines(settings, &config);
    struct kj_ledger_info info = {.name = "model refine",
                                  .version = KJ_VERSION,
                                  .command = j->common.command_line,
                                  .config = config.p,
                                  .resume = true};
    int rc = kj_ledger_open(l, j->common.ledger, KJ_LEDGER_WRITE, err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(*l, &info, NULL, err);
    for (size_t i = 0; i < pool->n && rc == KJ_OK; i++)
        rc = kj_ledger_input(*l, pool->v[i], err);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->n && rc == KJ_OK; i++)
            rc = kj_ledger_input(*l, lists[k]->v[i], err);
    kj_buf_release(&config);
    return rc;
}

/* The books of the run; the first error stays. */
static int close_ledger(const struct model_job *j, struct telling *t, int rc,
                        uint64_t damaged, struct kj_err *err)
{
    char path[4096];
    struct kj_err late = KJ_ERR_INIT;
    if (!t->ledger)
        return rc;
    if (rc == KJ_OK && t->err.rc != KJ_OK) {
        *err = t->err;
        rc = t->err.rc;
    }
    snprintf(path, sizeof path, "%s/model.bin", j->common.output);
    if (rc == KJ_OK)
        rc = kj_ledger_output(t->ledger, path, err);
    int status = rc == KJ_EOF ? 130 : rc != KJ_OK ? 1 : damaged ? 3 : 0;
    int r2 = kj_ledger_end(t->ledger, NULL, status, &late);
    int r3 = kj_ledger_close(t->ledger, &late);
    if (rc == KJ_OK && (r2 || r3)) {
        *err = late;
        rc = r2 ? r2 : r3;
    }
    return rc;
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
    struct telling t = {.c = &j->common, .err = KJ_ERR_INIT};
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
                          .precision = c->precision,
                          .updates = c->updates,
                          .margin = fmax(c->margin, c->harvest),
                          .balance = c->balance,
                          .epsilon = c->epsilon,
                          .metric = c->refine_metric,
                          .memory = j->common.memory,
                          .settings = {b.p, b.n},
                          .tell = tell,
                          .ctx = &t};
    if (rc == KJ_OK)
        rc = open_ledger(j, pool, &b, &t.ledger, err);
    if (rc == KJ_OK)
        rc = kj_refine_run(&o, seeds, held, &corpus, result, err);
    rc = close_ledger(j, &t, rc, j->damaged + result->damaged, err);
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
