/* stage_lid.c - which language a document is in.
 *
 * The text goes to a fastText model as one line: line ends become spaces, and
 * the beginning of a long text stands for all of it (max_bytes), since the
 * answer is settled long before and a page costs time in proportion. The score
 * is the probability of the best label, rounded to 6 decimals, so that what
 * stands in the stream is what was compared. The script is counted from the
 * letters, without the model.
 */
#include "classify/fasttext.h"
#include "classify/prepare.h"
#include "classify/stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct lid_cfg {
    const char *model;
    struct kj_strs keep;
    double min_score;
    int64_t max_bytes;
    /* made by open */
    struct kj_ft *ft;
    bool *kept; /* per label */
    struct kj_rule rules[2];
    size_t n_rules;
};

struct lid_state {
    struct kj_ft_scratch *s;
    struct kj_buf line;
};

const struct kj_opt kj_lid_opts[] = {
    {"model", 'm', KJ_OPT_STR, offsetof(struct lid_cfg, model), "FILE",
     "fastText model whose labels are languages (default: built in)", NULL, 0, 0},
    {"keep", 0, KJ_OPT_LIST, offsetof(struct lid_cfg, keep), "LANG",
     "drop documents in other languages (rule lid.language)", NULL, 0, 0},
    {"min_score", 0, KJ_OPT_REAL, offsetof(struct lid_cfg, min_score), "P",
     "drop documents whose language has a lower score (rule lid.score)", "0", 0, 1},
    {"max_bytes", 0, KJ_OPT_SIZE, offsetof(struct lid_cfg, max_bytes), "SIZE",
     "look at the beginning of the text only", "16K", 16, 64 << 20},
    {0},
};

static struct kj_str language(const struct kj_ft *m, int32_t label)
{
    struct kj_str s = kj_ft_label(m, label);
    const size_t n = sizeof "__label__" - 1;
    if (s.n > n && memcmp(s.p, "__label__", n) == 0)
        return (struct kj_str){s.p + n, s.n - n};
    return s;
}

static int lid_open(void *cfg_, struct kj_err *err)
{
    struct lid_cfg *c = cfg_;
    int rc = c->model ? kj_ft_open(&c->ft, c->model, err)
                      : kj_ft_open_mem(&c->ft, kj_lid_data, (size_t)kj_lid_size,
                                       "built-in language model", err);
    if (rc != KJ_OK)
        return rc;
    c->kept = kj_xcalloc((size_t)kj_ft_labels(c->ft), sizeof *c->kept);
    for (size_t i = 0; i < c->keep.n; i++) {
        int32_t l = kj_ft_label_find(c->ft, c->keep.v[i]);
        if (l < 0)
            return kj_err_set(err, KJ_USAGE, "the model has no language '%s'",
                              c->keep.v[i]);
        c->kept[l] = true;
    }
    if (c->keep.n > 0)
        c->rules[c->n_rules++] =
            (struct kj_rule){"lid.language", "", NAN, "probability",
                             "its language is not among those to keep"};
    if (c->min_score > 0)
        c->rules[c->n_rules++] =
            (struct kj_rule){"lid.score", "<", c->min_score, "probability",
                             "the probability of its language is too low"};
    return KJ_OK;
}

static int lid_begin(const void *cfg_, void *state, struct kj_err *err)
{
    const struct lid_cfg *c = cfg_;
    struct lid_state *s = state;
    (void)err;
    s->s = kj_ft_scratch_new(c->ft, 0);
    kj_buf_init(&s->line, (size_t)c->max_bytes + 64);
    return KJ_OK;
}

static int lid_document(const struct lid_cfg *c, struct lid_state *s, struct kj_doc *d,
                        struct kj_arena *a, struct kj_err *err)
{
    struct kj_ft_hit hit;
    int32_t n = 0;
    size_t len = d->text.n;
    if (len > (size_t)c->max_bytes)
        len = kj_utf8_cut(d->text.p, len, (size_t)c->max_bytes);
    int rc = kj_classify_flatten(&s->line, d->text.p, len);
    if (rc == KJ_OK)
        rc = kj_ft_predict(c->ft, s->s, s->line.p, s->line.n, true, 1, 0, &hit, &n,
                           NULL, err);
    if (rc == KJ_BAD_RECORD) {
        kj_err_reset(err); /* more n-grams than memory allows: not a language */
        rc = KJ_OK;
        n = 0;
    }
    if (rc != KJ_OK)
        return rc;
    const char *script = kj_classify_script(s->line.p, s->line.n);
    bool known = n > 0 && script; /* text without a letter has no language */
    double p = known ? round(fmin((double)hit.prob, 1) * 1e6) / 1e6 : 0;
    d->language = known ? language(c->ft, hit.label) : KJ_STR("und");
    d->language_score = p;
    d->language_script = kj_str_z(script ? script : "Zyyy");
    bool other = c->keep.n > 0 && !(known && c->kept[hit.label]);
    if (c->min_score > 0 && !other) /* the score alone decides */
        kj_doc_signal_by(d, a, &c->rules[c->n_rules - 1], p);
    else if (c->n_rules > 0)
        kj_doc_signal(d, a, "lid.score", p);
    if (other)
        kj_doc_drop(d, "lid.language", p, NAN);
    else if (p < c->min_score)
        kj_doc_drop(d, "lid.score", p, c->min_score);
    return KJ_OK;
}

static int lid_run(const void *cfg, void *state, struct kj_batch *b, struct kj_err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        int rc = lid_document(cfg, state, &b->docs[i], &b->arena, err);
        if (rc != KJ_OK) {
            kj_err_doc(err, b->docs[i].id.p, b->docs[i].id.n);
            return KJ_FATAL;
        }
    }
    return KJ_OK;
}

static void lid_end(const void *cfg, void *state)
{
    struct lid_state *s = state;
    (void)cfg;
    kj_ft_scratch_free(s->s);
    kj_buf_release(&s->line);
}

static void lid_close(void *cfg)
{
    struct lid_cfg *c = cfg;
    kj_ft_free(c->ft);
    free(c->kept);
}

static size_t lid_rules(const void *cfg, const struct kj_rule **out)
{
    const struct lid_cfg *c = cfg;
    *out = c->rules;
    return c->n_rules;
}

const struct kj_stage kj_stage_lid = {
    .name = "lid",
    .about = "find the language of each document",
    .opts = kj_lid_opts,
    .cfg_size = sizeof(struct lid_cfg),
    .state_size = sizeof(struct lid_state),
    .open = lid_open,
    .begin = lid_begin,
    .run = lid_run,
    .end = lid_end,
    .close = lid_close,
    .rules = lid_rules,
};
