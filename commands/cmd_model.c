/* cmd_model.c - kijil model train|test|quantize: fastText classifiers. */
#define _GNU_SOURCE /* memmem */
#include "classify/fasttext.h"
#include "classify/prepare.h"
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/input.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"

struct model_cfg {
    struct kj_ft_train t;
    bool jsonl;
    const char *label_field;
    int64_t k;
    double threshold;
    int64_t cutoff, dsub;
    bool qnorm, qout, retrain;
};

#define OFF(f) offsetof(struct model_cfg, f)
static const struct kj_opt model_opts[] = {
    {"jsonl", 0, KJ_OPT_FLAG, OFF(jsonl), NULL,
     "input is documents as JSONL, the label in --label-field", NULL, 0, 0},
    {"label_field", 0, KJ_OPT_STR, OFF(label_field), "F",
     "field with the label: a word, a number, or a list of them", "label", 0, 0},
    {"label_prefix", 0, KJ_OPT_STR, OFF(t.label_prefix), "P",
     "train: what labels begin with in fastText's format", "__label__", 0, 0},
    {"lr", 0, KJ_OPT_REAL, OFF(t.lr), "R", "train: learning rate", "0.1", 1e-6, 1e3},
    {"lr_update_rate", 0, KJ_OPT_INT, OFF(t.lr_update_rate), "N",
     "train: tokens between updates of the rate", "100", 1, 1e9},
    {"dim", 0, KJ_OPT_INT, OFF(t.dim), "N", "train: length of vectors", "100", 1,
     65536},
    {"ws", 0, KJ_OPT_INT, OFF(t.ws), "N",
     "train: window of word vectors; kept in the file, of no effect here", "5", 1, 1e6},
    {"epoch", 0, KJ_OPT_INT, OFF(t.epoch), "N", "train: passes over the text", "5", 1,
     1e6},
    {"min_count", 0, KJ_OPT_INT, OFF(t.min_count), "N",
     "train: words less frequent are left out", "1", 0, 1e18},
    {"min_count_label", 0, KJ_OPT_INT, OFF(t.min_count_label), "N",
     "train: labels less frequent are left out", "0", 0, 1e18},
    {"neg", 0, KJ_OPT_INT, OFF(t.neg), "N", "train: negatives drawn (loss ns)", "5", 0,
     1e6},
    {"word_ngrams", 0, KJ_OPT_INT, OFF(t.word_ngrams), "N",
     "train: longest n-gram of words", "1", 1, 1024},
    {"bucket", 0, KJ_OPT_INT, OFF(t.bucket), "N", "train: rows for n-grams", "2000000",
     0, 2147483647},
    {"minn", 0, KJ_OPT_INT, OFF(t.minn), "N", "train: shortest n-gram of characters",
     "0", 0, 1024},
    {"maxn", 0, KJ_OPT_INT, OFF(t.maxn), "N",
     "train: longest n-gram of characters; 0: none", "0", 0, 1024},
    {"loss", 0, KJ_OPT_ENUM, OFF(t.loss), "hs|ns|softmax|ova", "train: loss", "softmax",
     0, 0},
    {"t", 0, KJ_OPT_REAL, OFF(t.t), "R",
     "train: sampling threshold; kept in the file, of no effect here", "0.0001", 0, 1},
    {"seed", 0, KJ_OPT_INT, OFF(t.seed), "N", "train: seed of the random start", "0", 0,
     2147483647},
    {"jobs", 'j', KJ_OPT_INT, OFF(t.threads), "N",
     "train: threads; with more than one, results differ a little from run to run", "1",
     1, 1024},
    {"k", 'k', KJ_OPT_INT, OFF(k), "N", "test: labels to predict", "1", 1, 1e6},
    {"threshold", 0, KJ_OPT_REAL, OFF(threshold), "P",
     "test: predict labels with at least this probability", "0", 0, 1},
    {"cutoff", 0, KJ_OPT_INT, OFF(cutoff), "N",
     "quantize: words and n-grams to keep; 0: all", "0", 0, 2147483647},
    {"retrain", 0, KJ_OPT_FLAG, OFF(retrain), NULL,
     "quantize: train the kept rows again on the given text", NULL, 0, 0},
    {"dsub", 0, KJ_OPT_INT, OFF(dsub), "N", "quantize: length of sub-vectors", "2", 1,
     65536},
    {"qnorm", 0, KJ_OPT_FLAG, OFF(qnorm), NULL, "quantize: norms apart", NULL, 0, 0},
    {"qout", 0, KJ_OPT_FLAG, OFF(qout), NULL, "quantize: the output matrix too", NULL,
     0, 0},
    {0},
};
#undef OFF

struct job {
    const struct kj_cmd *cmd;
    struct model_cfg c;
    struct kj_common common;
    struct kj_strs pos;
    const char *name; /* of the verb */
    uint64_t damaged; /* lines that were no documents */
    struct timespec start;
};

/* ---- input: fastText's format in one buffer ---- */

/* A label in fastText's format: no white space. */
static int add_label(struct kj_buf *b, const char *prefix, const char *p, size_t n)
{
    int rc = kj_buf_addz(b, prefix);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = kj_buf_addc(b, (unsigned char)p[i] <= ' ' ? '_' : p[i]);
    return rc == KJ_OK ? kj_buf_addc(b, ' ') : rc;
}

static int add_value(struct kj_buf *b, const char *prefix, const struct kj_jval *v)
{
    char number[32];
    switch (v->kind) {
    case KJ_J_STR:
        return v->s.n ? add_label(b, prefix, v->s.p, v->s.n) : KJ_OK;
    case KJ_J_INT:
        snprintf(number, sizeof number, "%lld", (long long)v->i);
        return add_label(b, prefix, number, strlen(number));
    case KJ_J_REAL:
        snprintf(number, sizeof number, "%.15g", v->r);
        return add_label(b, prefix, number, strlen(number));
    case KJ_J_BOOL:
        return add_label(b, prefix, v->b ? "true" : "false", v->b ? 4 : 5);
    case KJ_J_ARRAY: {
        int rc = KJ_OK;
        for (size_t i = 0; i < v->n && rc == KJ_OK; i++)
            if (v->items[i].kind != KJ_J_ARRAY)
                rc = add_value(b, prefix, &v->items[i]);
        return rc;
    }
    default:
        return KJ_OK;
    }
}

static struct kj_str known_field(const struct kj_doc *d, const char *name)
{
    if (strcmp(name, "source") == 0)
        return d->source;
    if (strcmp(name, "language") == 0)
        return d->language;
    if (strcmp(name, "dump") == 0)
        return d->dump;
    return (struct kj_str){NULL, 0};
}

static int add_document(struct job *j, const struct kj_doc *d, struct kj_json *json,
                        struct kj_buf *line, struct kj_buf *out)
{
    const char *prefix = j->c.t.label_prefix;
    const struct kj_jval *v;
    struct kj_err ignored = KJ_ERR_INIT;
    struct kj_str known = known_field(d, j->c.label_field);
    struct kj_str raw = kj_doc_get(d, j->c.label_field);
    int rc = KJ_OK;
    if (known.n)
        rc = add_label(out, prefix, known.p, known.n);
    else if (raw.n && kj_json_parse(json, raw.p, raw.n, &v, &ignored) == KJ_OK)
        rc = add_value(out, prefix, v);
    if (rc == KJ_OK)
        rc = kj_classify_flatten(line, d->text.p, d->text.n);
    if (rc == KJ_OK)
        rc = kj_buf_add(out, line->p, line->n);
    return rc == KJ_OK ? kj_buf_addc(out, '\n') : rc;
}

static int read_documents(struct job *j, const char *const *files, size_t n,
                          struct kj_buf *out, struct kj_err *err)
{
    struct kj_source src;
    struct kj_batch b;
    struct kj_buf line;
    int rc = kj_jsonl_source(&src, files, n, err), full = KJ_OK;
    if (rc != KJ_OK)
        return rc;
    struct kj_json *json = kj_json_new();
    kj_batch_init(&b);
    kj_buf_init(&line, KJ_DOC_LINE_MAX);
    while (rc == KJ_OK && full == KJ_OK) {
        kj_batch_reset(&b);
        rc = src.read(src.self, &b, err);
        if (rc == KJ_OK && src.decode)
            rc = src.decode(src.self, &b, err);
        for (size_t i = 0; i < b.n && rc == KJ_OK && full == KJ_OK; i++) {
            j->damaged += !kj_doc_kept(&b.docs[i]);
            if (kj_doc_kept(&b.docs[i]))
                full = add_document(j, &b.docs[i], json, &line, out);
        }
    }
    src.close(src.self);
    kj_json_free(json);
    kj_batch_release(&b);
    kj_buf_release(&line);
    if (full != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "the text does not fit --memory");
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int read_text(struct job *j, const char *const *files, size_t n,
                     struct kj_buf *out, struct kj_err *err)
{
    static const char *const only_stdin[] = {"-"};
    int rc = KJ_OK;
    kj_buf_init(out, (size_t)j->common.memory);
    if (n == 0) {
        files = only_stdin;
        n = 1;
    }
    if (j->c.jsonl)
        return read_documents(j, files, n, out, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        if (out->n && out->p[out->n - 1] != '\n')
            rc = kj_buf_addc(out, '\n');
        if (rc == KJ_OK)
            rc = kj_input_slurp(files[i], out, err);
    }
    return rc;
}

static int write_model(const struct job *j, const struct kj_buf *b, struct kj_err *err)
{
    struct kj_output *o;
    int rc = kj_output_open(&o, j->common.output, err);
    if (rc != KJ_OK)
        return rc;
    if ((rc = kj_output_write(o, b->p, b->n, err)) != KJ_OK) {
        kj_output_abort(o);
        return rc;
    }
    return kj_output_commit(o, err);
}

static void closing(const struct job *j)
{
    struct timespec end, cpu;
    clock_gettime(CLOCK_MONOTONIC, &end);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    kj_cmd_usage_line((double)(end.tv_sec - j->start.tv_sec) +
                          1e-9 * (double)(end.tv_nsec - j->start.tv_nsec),
                      (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec);
}

/* ---- train ---- */

static void show_progress(void *ctx, double share, double lr, double loss)
{
    static struct timespec last;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const struct kj_common *c = ctx;
    if (share < 1 && now.tv_sec == last.tv_sec)
        return;
    last = now;
    if (c->progress == 2) {
        fprintf(stderr,
                "{\"command\":\"model\",\"share\":%.4f,\"lr\":%.6f,\"loss\":%.6f}\n",
                share, lr, loss);
        return;
    }
    if (c->progress == 1) {
        fprintf(stderr, "kijil model: %3.0f %% lr %.4f, loss %.4f\n", share * 100, lr,
                loss);
        return;
    }
    fprintf(stderr, "\r%5.1f %%  lr %.4f  loss %.4f  %s", share * 100, lr, loss,
            share < 1 ? "" : "\n");
}

/* The trainer speaks of words; here it is known what the input was. */
static int check_labels(const struct job *j, const struct kj_buf *text,
                        struct kj_err *err)
{
    const char *prefix = j->c.t.label_prefix;
    if (text->n == 0)
        return kj_err_set(err, KJ_FAIL, "the input is empty");
    if (memmem(text->p, text->n, prefix, strlen(prefix)))
        return KJ_OK;
    if (j->c.jsonl)
        return kj_err_set(err, KJ_FAIL,
                          "no document has a label in its field '%s'; --label-field "
                          "names another",
                          j->c.label_field);
    return kj_err_set(err, KJ_FAIL, "no line has a label, a word that begins with %s%s",
                      prefix, text->p[0] == '{' ? "; documents need --jsonl" : "");
}

static int train(struct job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf text, model;
    struct kj_ft_train_stats st = {0};
    struct kj_ft_train *t = &j->c.t;
    t->loss += KJ_FT_HS; /* the enum's words stand in the order of the file's codes */
    t->memory = j->common.memory;
    if (kj_progress_wanted(&j->common))
        t->progress = show_progress;
    t->ctx = &j->common;
    kj_buf_init(&model, (size_t)j->common.memory + ((size_t)1 << 30));
    int rc = read_text(j, j->pos.v + 1, j->pos.n - 1, &text, &err);
    if (rc == KJ_OK)
        rc = check_labels(j, &text, &err);
    if (rc == KJ_OK)
        rc = kj_ft_train(t, text.p, text.n, &model, &st, &err);
    if (rc == KJ_OK)
        rc = write_model(j, &model, &err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " model train: %lld tokens, %d words, %d labels, "
                "mean loss %.4f, %.1f MB\n",
                (long long)st.tokens, st.words, st.labels, st.loss,
                (double)model.n / 1e6);
        closing(j);
    }
    kj_buf_release(&text);
    kj_buf_release(&model);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}

/* ---- test ---- */

struct score {
    uint64_t gold, predicted, right;
};

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

/* Count one line's predictions against its labels. */
static void count_line(const int32_t *gold, size_t n_gold, const struct kj_ft_hit *hits,
                       int32_t n_hits, struct score *labels, struct score *all)
{
    for (size_t g = 0; g < n_gold; g++)
        labels[gold[g]].gold++;
    all->gold += n_gold;
    all->predicted += (uint64_t)n_hits;
    for (int32_t h = 0; h < n_hits; h++) {
        bool right = false;
        for (size_t g = 0; g < n_gold && !right; g++)
            right = gold[g] == hits[h].label;
        labels[hits[h].label].predicted++;
        labels[hits[h].label].right += right;
        all->right += right;
    }
}

static int test_text(const struct job *j, const struct kj_ft *m,
                     const struct kj_buf *text, struct score *labels, struct score *all,
                     uint64_t *lines, struct kj_err *err)
{
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    int32_t k = (int32_t)j->c.k < kj_ft_labels(m) ? (int32_t)j->c.k : kj_ft_labels(m);
    struct kj_ft_hit *hits = kj_xcalloc((size_t)k, sizeof *hits);
    int rc = KJ_OK;
    for (size_t at = 0, used = 0; at < text->n && rc == KJ_OK; at += used) {
        const int32_t *gold;
        int32_t n = 0;
        rc = kj_ft_predict(m, s, text->p + at, text->n - at, false, k,
                           (float)j->c.threshold, hits, &n, &used, err);
        size_t n_gold = kj_ft_true_labels(s, &gold);
        if (rc != KJ_OK || n_gold == 0 || !kj_ft_known(s))
            continue;
        (*lines)++;
        count_line(gold, n_gold, hits, n, labels, all);
    }
    free(hits);
    kj_ft_scratch_free(s);
    return rc;
}

static void report(const struct job *j, const struct kj_ft *m,
                   const struct score *labels, const struct score *all, uint64_t lines,
                   struct kj_buf *b)
{
    kj_buf_printf(b, "N\t%llu\nP@%lld\t%.4f\nR@%lld\t%.4f\n\n",
                  (unsigned long long)lines, (long long)j->c.k,
                  ratio(all->right, all->predicted), (long long)j->c.k,
                  ratio(all->right, all->gold));
    kj_buf_addz(b, "label\tprecision\trecall\tF1\ttrue\tpredicted\n");
    for (int32_t i = 0; i < kj_ft_labels(m); i++) {
        struct kj_str name = kj_ft_label(m, i);
        const struct score *s = &labels[i];
        kj_buf_add(b, name.p, name.n);
        kj_buf_printf(b, "\t%.4f\t%.4f\t%.4f\t%llu\t%llu\n",
                      ratio(s->right, s->predicted), ratio(s->right, s->gold),
                      ratio(2 * s->right, s->predicted + s->gold),
                      (unsigned long long)s->gold, (unsigned long long)s->predicted);
    }
}

static int test(struct job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m = NULL;
    struct kj_buf text = {0}, out;
    struct score all = {0}, *labels = NULL;
    uint64_t lines = 0;
    if (j->pos.n < 2) {
        kj_err_set(&err, KJ_USAGE, "which model? (kijil model test MODEL [FILE...])");
        return kj_cmd_fail(j->cmd, &err);
    }
    kj_buf_init(&out, (size_t)1 << 30);
    int rc = kj_ft_open(&m, j->pos.v[1], &err);
    if (rc == KJ_OK)
        rc = read_text(j, j->pos.v + 2, j->pos.n - 2, &text, &err);
    if (rc == KJ_OK) {
        labels = kj_xcalloc((size_t)kj_ft_labels(m), sizeof *labels);
        rc = test_text(j, m, &text, labels, &all, &lines, &err);
    }
    if (rc == KJ_OK && lines == 0)
        rc = kj_err_set(&err, KJ_FAIL,
                        "no line has both a label and words of the model");
    if (rc == KJ_OK) {
        report(j, m, labels, &all, lines, &out);
        rc = write_model(j, &out, &err);
    }
    free(labels);
    kj_buf_release(&text);
    kj_buf_release(&out);
    kj_ft_free(m);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}

/* ---- quantize ---- */

static int quantize(struct job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m = NULL;
    struct kj_buf text = {0}, out;
    struct kj_ft_quantize q = {.cutoff = j->c.cutoff,
                               .dsub = j->c.dsub,
                               .qnorm = j->c.qnorm,
                               .qout = j->c.qout};
    int rc = KJ_OK;
    if (j->pos.n < 2 || (j->c.retrain && j->pos.n < 3) ||
        (!j->c.retrain && j->pos.n > 2))
        rc = kj_err_set(&err, KJ_USAGE,
                        j->c.retrain ? "--retrain needs MODEL and text"
                                     : "one MODEL is needed");
    if (rc == KJ_OK && j->c.retrain && j->c.cutoff == 0)
        rc = kj_err_set(&err, KJ_USAGE, "--retrain goes with --cutoff");
    kj_buf_init(&out, (size_t)j->common.memory + ((size_t)1 << 30));
    if (rc == KJ_OK)
        rc = kj_ft_open(&m, j->pos.v[1], &err);
    if (rc == KJ_OK && j->c.retrain) {
        rc = read_text(j, j->pos.v + 2, j->pos.n - 2, &text, &err);
        q.retrain = &j->c.t;
        q.text = text.p;
        q.text_n = text.n;
        if (kj_progress_wanted(&j->common))
            j->c.t.progress = show_progress;
        j->c.t.ctx = &j->common;
    }
    if (rc == KJ_OK)
        rc = kj_ft_quantise(m, &q, &out, &err);
    if (rc == KJ_OK)
        rc = write_model(j, &out, &err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr, "kijil " KJ_VERSION " model quantize: %.3f MB\n",
                (double)out.n / 1e6);
        closing(j);
    }
    kj_buf_release(&text);
    kj_buf_release(&out);
    kj_ft_free(m);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}

/* ---- the command ---- */

static int run_verb(struct job *j)
{
    static const struct {
        const char *name;
        int (*run)(struct job *j);
        bool model; /* its result is a binary file */
    } verbs[] = {
        {"train", train, true}, {"test", test, false}, {"quantize", quantize, true}};
    struct kj_err err = KJ_ERR_INIT;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && j->pos.n; i++) {
        if (strcmp(j->pos.v[0], verbs[i].name) != 0)
            continue;
        j->name = verbs[i].name;
        if (j->common.dry_run) {
            struct kj_buf b;
            kj_buf_init(&b, 1 << 20);
            kj_opt_dump(model_opts, &j->c, &b);
            fwrite(b.p, 1, b.n, stdout);
            kj_buf_release(&b);
            return 0;
        }
        if (verbs[i].model && !j->common.output && isatty(STDOUT_FILENO)) {
            kj_err_set(&err, KJ_USAGE, "a model goes to a file: -o MODEL");
            return kj_cmd_fail(j->cmd, &err);
        }
        int status = verbs[i].run(j);
        if (status == 0 && j->damaged) {
            fprintf(stderr, "%llu damaged lines were left out\n",
                    (unsigned long long)j->damaged);
            status = 3;
        }
        return status;
    }
    kj_err_set(&err, KJ_USAGE, "say train, test or quantize");
    return kj_cmd_fail(j->cmd, &err);
}

static int run_model(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct job j = {.cmd = cmd};
    void *const cfgs[] = {&j.c, NULL};
    kj_ft_train_defaults(&j.c.t);
    clock_gettime(CLOCK_MONOTONIC, &j.start);
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &j.common, &j.pos);
    if (status < 0)
        status = run_verb(&j);
    kj_strs_release(&j.pos);
    return status;
}

const struct kj_cmd kj_cmd_model = {
    .name = "model",
    .synopsis = "train [FILE...] -o MODEL | test MODEL [FILE...] | quantize MODEL "
                "[FILE...] -o MODEL",
    .about = "train, test and shrink fastText classifiers",
    .details =
        "train: learns a classifier from lines of text with labels (__label__spam buy "
        "now), or with --jsonl from documents whose --label-field holds the label. "
        "Options and defaults are those of `fasttext supervised`, and its programs "
        "read "
        "the file. With one thread (the default) the same text and options give the "
        "same bytes.\n\n"
        "test: precision and recall of the best k labels over the lines, then both and "
        "their harmonic mean for each label, as a table with tabs.\n\n"
        "quantize: keeps the --cutoff words and n-grams of largest norm, and replaces "
        "weights by numbers of centroids. --retrain trains the kept rows again on the "
        "text, which --lr and --epoch govern.\n\n"
        "Inputs may be compressed, and are held in memory (--memory).",
    .examples =
        "kijil model train train.txt -o spam.bin --word-ngrams 2 --epoch 10 --lr 0.5\n"
        "kijil model train --jsonl --label-field source in.jsonl -o source.bin\n"
        "kijil model test spam.bin held-out.txt\n"
        "kijil model quantize spam.bin --cutoff 50000 --qnorm --retrain train.txt -o "
        "spam.ftz\n",
    .opts = (const struct kj_opt *const[]){model_opts, kj_model_common_opts, NULL},
    .run = run_model,
};
