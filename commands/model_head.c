/* model_head.c - kijil model train --encoder DIR, and test of what it makes. */
#include "commands/model_job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/jsonl.h"
#include "classify/head.h"
#include "classify/texts.h"

#define OFF(f) offsetof(struct model_head, f)
const struct kj_opt kj_model_head_opts[] = {
    {"encoder", 0, KJ_OPT_STR, OFF(encoder), "DIR",
     "train: a head for this encoder, from JSONL; the encoder itself stays as it is",
     NULL, 0, 0},
    {"task", 0, KJ_OPT_ENUM, OFF(task), "regression|classification",
     "train --encoder: labels are numbers, or words", "regression", 0, 0},
    {"pooling", 0, KJ_OPT_ENUM, OFF(pooling), "cls|mean",
     "train --encoder: the first token's vector, or the mean of all", "cls", 0, 0},
    {"hidden", 0, KJ_OPT_INT, OFF(hidden), "N",
     "train --encoder: width of a hidden layer; 0: none", "0", 0, 65536},
    {"activation", 0, KJ_OPT_ENUM, OFF(activation), "tanh|relu",
     "train --encoder: of the hidden layer", "tanh", 0, 0},
    {"prefix", 0, KJ_OPT_STR, OFF(prefix), "TEXT",
     "train --encoder: put in front of every text ('passage: ')", "", 0, 0},
    {"max_tokens", 0, KJ_OPT_INT, OFF(max_tokens), "N",
     "train --encoder: cut texts there; 0: the model's longest", "0", 0, 1 << 20},
    {"head_lr", 0, KJ_OPT_REAL, OFF(lr), "R", "train --encoder: learning rate", "0.001",
     1e-9, 10},
    {"head_epochs", 0, KJ_OPT_INT, OFF(epochs), "N", "train --encoder: passes", "20", 1,
     1e6},
    {"head_batch", 0, KJ_OPT_INT, OFF(batch), "N", "train --encoder: texts in a step",
     "256", 1, 65536},
    {"head_decay", 0, KJ_OPT_REAL, OFF(decay), "R", "train --encoder: weight decay",
     "0.01", 0, 1},
    {"device", 0, KJ_OPT_STR, OFF(device), "NAME",
     "train --encoder and test of a folder: where the encoder runs: cpu, cuda, or "
     "auto: "
     "a GPU if there is one",
     "auto", 0, 0},
    {0},
};
#undef OFF

/* Vectors of labelled documents. */
struct set {
    struct model_job *j;
    struct kj_texts *texts;
    struct kj_texts_worker *w;
    size_t h, n, cap;
    float *x;
    double *y;    /* NAN: not a number */
    char **words; /* the label as a word; a number as it stands */
    uint64_t tokens, unlabelled;
};

static void set_release(struct set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->words[i]);
    free(s->x);
    free(s->y);
    free(s->words);
    kj_texts_end(s->w);
    kj_texts_free(s->texts);
}

/* The label of a document; NULL: none. */
static char *label_of(const struct kj_doc *d, const char *field, struct kj_json *json,
                      double *number)
{
    struct kj_str raw = kj_doc_get(d, field), word = {NULL, 0};
    const struct kj_jval *v = NULL;
    *number = NAN;
    if (strcmp(field, "source") == 0)
        word = d->source;
    else if (strcmp(field, "language") == 0)
        word = d->language;
    else if (raw.n && kj_json_parse(json, raw.p, raw.n, &v, NULL) == KJ_OK) {
        *number = kj_jnum(v, NAN);
        word = v->kind == KJ_J_STR ? v->s : !isnan(*number) ? raw : word;
    }
    if (!word.n || memchr(word.p, 0, word.n))
        return NULL;
    return kj_xstrndup(word.p, word.n);
}

static int add_batch(struct set *s, const struct kj_batch *b, struct kj_json *json,
                     struct kj_err *err)
{
    struct kj_str *texts = kj_xcalloc(b->n + 1, sizeof *texts);
    size_t n = 0, from = s->n;
    int rc = KJ_OK;
    if (s->n + b->n > s->cap) {
        s->cap = 2 * s->cap + b->n;
        s->x = kj_xrealloc(s->x, s->cap * s->h * sizeof *s->x);
        s->y = kj_xrealloc(s->y, s->cap * sizeof *s->y);
        s->words = kj_xrealloc(s->words, s->cap * sizeof *s->words);
    }
    if (s->cap * s->h * sizeof *s->x > (size_t)s->j->common.memory)
        rc = kj_err_set(err, KJ_FAIL, "the vectors do not fit --memory");
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d)) {
            s->j->damaged++;
            continue;
        }
        char *word = label_of(d, s->j->c.label_field, json, &s->y[from + n]);
        s->unlabelled += !word;
        if (word) {
            s->words[from + n] = word;
            texts[n++] = d->text;
        }
    }
    s->n += n;
    if (rc == KJ_OK)
        rc = kj_texts_features(s->texts, s->w, texts, n, s->x + from * s->h, &s->tokens,
                               err);
    free(texts);
    return rc;
}

static int read_set(struct set *s, const char *const *files, size_t n,
                    struct kj_err *err)
{
    static const char *const only_stdin[] = {"-"};
    struct kj_source src;
    struct kj_batch b;
    int rc = n ? kj_jsonl_source(&src, files, n, err)
               : kj_jsonl_source(&src, only_stdin, 1, err);
    if (rc)
        return rc;
    s->h = (size_t)kj_texts_config(s->texts)->hidden;
    struct kj_json *json = kj_json_new();
    kj_batch_init(&b);
    while (rc == KJ_OK) {
        kj_batch_reset(&b);
        rc = src.read(src.self, &b, err);
        if (rc == KJ_OK && src.decode)
            rc = src.decode(src.self, &b, err);
        if (rc == KJ_OK)
            rc = add_batch(s, &b, json, err);
    }
    src.close(src.self);
    kj_json_free(json);
    kj_batch_release(&b);
    if (rc != KJ_EOF)
        return rc;
    /* Texts without a vector are not examples. */
    size_t to = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (isnan(s->x[i * s->h])) {
            free(s->words[i]);
            continue;
        }
        memmove(s->x + to * s->h, s->x + i * s->h, s->h * sizeof *s->x);
        s->y[to] = s->y[i];
        s->words[to++] = s->words[i];
    }
    s->n = to;
    return s->n ? KJ_OK
                : kj_err_set(err, KJ_FAIL,
                             "no document has a label in its field '%s'; --label-field "
                             "names another",
                             s->j->c.label_field);
}

static int open_set(struct set *s, struct model_job *j, const char *dir,
                    struct kj_texts_opts *o, struct kj_err *err)
{
    char line[300];
    s->j = j;
    o->device = j->h.device;
    int rc = kj_texts_open(&s->texts, dir, &kj_encoder_words, o, err);
    if (rc == KJ_OK && !j->common.quiet) {
        kj_encoder_device(kj_texts_encoder(s->texts), line, sizeof line);
        if (*line)
            fprintf(stderr, "kijil model: on the %s: %s\n",
                    kj_texts_shared(s->texts) ? "GPU, in bfloat16" : "CPU", line);
    }
    return rc ? rc : kj_texts_begin(&s->w, s->texts, (unsigned)j->c.t.threads, err);
}

/* ---- train ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The distinct labels, sorted. */
static const char **distinct(const struct set *s, size_t *n)
{
    const char **all = kj_xcalloc(s->n, sizeof *all);
    memcpy(all, s->words, s->n * sizeof *all);
    qsort(all, s->n, sizeof *all, by_text);
    *n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (*n == 0 || strcmp(all[*n - 1], all[i]) != 0)
            all[(*n)++] = all[i];
    return all;
}

/* The number of a label, or -1. */
static int64_t label_number(const char *const *labels, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(labels[i], word) == 0)
            return (int64_t)i;
    return -1;
}

static int targets(const struct set *s, bool regression, const char *const *labels,
                   size_t n_labels, float *y, struct kj_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        if (regression && isnan(s->y[i]))
            return kj_err_set(err, KJ_FAIL,
                              "the label '%.100s' is no number; --task classification "
                              "takes words",
                              s->words[i]);
        y[i] = regression ? (float)s->y[i]
                          : (float)label_number(labels, n_labels, s->words[i]);
    }
    if (!regression && (n_labels < 2 || n_labels > 10000))
        return kj_err_set(err, KJ_FAIL, "%zu labels cannot be told apart", n_labels);
    return KJ_OK;
}

static int fit(struct model_job *j, struct set *s, struct kj_err *err)
{
    const struct model_head *o = &j->h;
    const struct kj_encoder_config *c = kj_texts_config(s->texts);
    struct kj_head_train t = {.regression = o->task == 0,
                              .width = (size_t)o->hidden,
                              .act = o->activation ? KJ_ACT_RELU : KJ_ACT_TANH,
                              .lr = o->lr,
                              .decay = o->decay,
                              .epochs = o->epochs,
                              .batch = o->batch,
                              .seed = j->c.t.seed,
                              .threads = (unsigned)j->c.t.threads};
    struct kj_head_weights head = {0};
    size_t n_labels = 1;
    double loss = 0;
    float *y = kj_xcalloc(s->n, sizeof *y);
    const char **labels = t.regression ? NULL : distinct(s, &n_labels);
    int rc = targets(s, t.regression, labels, n_labels, y, err);
    if (rc == KJ_OK)
        rc = kj_head_fit(&t, s->x, y, s->n, s->h, t.regression ? 1 : n_labels, &head,
                         &loss, err);
    struct kj_head_save save = {&head, labels, c->pool, c->prefix, c->max_tokens};
    if (rc == KJ_OK)
        rc = kj_head_publish(&save, o->encoder, j->common.output, err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " model train: %zu documents, %llu tokens, %llu "
                "without a label, loss %.4f\n",
                s->n, (unsigned long long)s->tokens, (unsigned long long)s->unlabelled,
                loss);
        kj_model_closing(j);
    }
    kj_head_weights_release(&head);
    free(labels);
    free(y);
    return rc;
}

int kj_model_head_train(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct set s = {0};
    struct kj_texts_opts o = {.prefix = j->h.prefix,
                              .pool = 1 + (j->h.pooling ? KJ_POOL_MEAN : KJ_POOL_CLS),
                              .max_tokens = j->h.max_tokens};
    int rc = KJ_OK;
    if (!j->common.output)
        rc = kj_err_set(&err, KJ_USAGE, "a head goes to a folder: -o DIR");
    /* Said before the documents are read; an empty folder is as good as none. */
    if (rc == KJ_OK && access(j->common.output, F_OK) == 0 &&
        rmdir(j->common.output) != 0)
        rc = kj_err_set(&err, KJ_USAGE,
                        "%s is there already; remove it, or name another folder",
                        j->common.output);
    if (rc == KJ_OK)
        rc = open_set(&s, j, j->h.encoder, &o, &err);
    if (rc == KJ_OK)
        rc = read_set(&s, j->pos.v + 1, j->pos.n - 1, &err);
    if (rc == KJ_OK)
        rc = fit(j, &s, &err);
    set_release(&s);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}

/* ---- test ---- */

struct count {
    uint64_t gold, predicted, right;
};

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static void put_counts(struct kj_buf *b, const char *name, const struct count *c)
{
    kj_buf_printf(b, "%s\t%.4f\t%.4f\t%.4f\t%llu\t%llu\n", name,
                  ratio(c->right, c->predicted), ratio(c->right, c->gold),
                  ratio(2 * c->right, c->predicted + c->gold),
                  (unsigned long long)c->gold, (unsigned long long)c->predicted);
}

static void count(struct count *c, bool gold, bool predicted)
{
    c->gold += gold;
    c->predicted += predicted;
    c->right += gold && predicted;
}

static int whole(double v)
{
    return (int)rint(fmin(fmax(v, 0), 5));
}

/* Errors of the numbers; then as classes, rounded within 0..5; and from 3 on. */
static int report_numbers(const struct set *s, const double *y, struct kj_buf *b,
                          struct kj_err *err)
{
    struct count c[7] = {{0}};
    double n = (double)s->n, sq = 0, ab = 0, mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (isnan(s->y[i]))
            return kj_err_set(err, KJ_FAIL, "the label '%.100s' is no number",
                              s->words[i]);
        mx += s->y[i] / n;
        my += y[i] / n;
    }
    for (size_t i = 0; i < s->n; i++) {
        double d = y[i] - s->y[i], u = s->y[i] - mx, v = y[i] - my;
        sq += d * d / n;
        ab += fabs(d) / n;
        xx += u * u;
        yy += v * v;
        xy += u * v;
        for (int k = 0; k < 6; k++)
            count(&c[k], whole(s->y[i]) == k, whole(y[i]) == k);
        count(&c[6], whole(s->y[i]) >= 3, whole(y[i]) >= 3);
    }
    kj_buf_printf(b, "N\t%zu\nMSE\t%.4f\nMAE\t%.4f\nr\t%.4f\n\n", s->n, sq, ab,
                  xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0);
    kj_buf_addz(b, "label\tprecision\trecall\tF1\ttrue\tpredicted\n");
    for (int k = 0; k < 7; k++) {
        char name[8];
        snprintf(name, sizeof name, k < 6 ? "%d" : ">=3", k);
        put_counts(b, name, &c[k]);
    }
    return KJ_OK;
}

static int report_labels(const struct set *s, const double *y, struct kj_buf *b,
                         struct kj_err *err)
{
    const struct kj_encoder_config *c = kj_texts_config(s->texts);
    size_t n = (size_t)c->labels, right = 0, known = 0;
    struct count *counts = kj_xcalloc(n + 1, sizeof *counts);
    for (size_t i = 0; i < s->n; i++) {
        int64_t gold = label_number((const char *const *)c->names, n, s->words[i]);
        size_t best = 0;
        if (gold < 0)
            continue;
        for (size_t k = 1; k < n; k++)
            best = y[i * n + k] > y[i * n + best] ? k : best;
        for (size_t k = 0; k < n; k++)
            count(&counts[k], (size_t)gold == k, best == k);
        known++;
        right += (size_t)gold == best;
    }
    kj_buf_printf(b, "N\t%zu\nP@1\t%.4f\nR@1\t%.4f\n\n", known, ratio(right, known),
                  ratio(right, known));
    kj_buf_addz(b, "label\tprecision\trecall\tF1\ttrue\tpredicted\n");
    for (size_t k = 0; k < n; k++)
        put_counts(b, c->names[k], &counts[k]);
    free(counts);
    return known ? KJ_OK
                 : kj_err_set(err, KJ_FAIL, "no document has a label of the model");
}

int kj_model_head_test(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct set s = {0};
    struct kj_texts_opts o = {.head = true};
    struct kj_buf out;
    double *y = NULL;
    kj_buf_init(&out, (size_t)1 << 26);
    int rc = open_set(&s, j, j->pos.v[1], &o, &err);
    if (rc == KJ_OK)
        rc = read_set(&s, j->pos.v + 2, j->pos.n - 2, &err);
    if (rc == KJ_OK) {
        const struct kj_head_weights *head = kj_encoder_head(kj_texts_encoder(s.texts));
        y = kj_xcalloc(s.n * head->out, sizeof *y);
        for (size_t i = 0; i < s.n; i++)
            kj_texts_outputs(head, s.x + i * s.h, y + i * head->out);
        rc = head->out == 1 ? report_numbers(&s, y, &out, &err)
                            : report_labels(&s, y, &out, &err);
    }
    if (rc == KJ_OK)
        rc = kj_model_write(j, &out, &err);
    free(y);
    kj_buf_release(&out);
    set_release(&s);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}
