/* stage_lid.c - which language a document is in, and each of its lines.
 *
 * lid.h says how a language is found. The score is rounded to 6 decimals, so
 * that what stands in the stream is what was compared.
 *
 * Lines. Short lines say little by themselves ("Login", a name), so a line's
 * own language counts only when it is sure: LINE_SURE of the probability, and
 * LINE_BYTES long, or in a script that one language alone uses. Otherwise it has
 * the document's language, if that is written in the line's script, else none.
 * Lines that have none are never taken out.
 */
#include "classify/lid.h"
#include "classify/stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#define LINE_SURE  0.5
#define LINE_BYTES 20

struct lid_cfg {
    const char *model;
    bool by_script, per_line;
    struct kj_strs keep, keep_lines;
    double min_score;
    int64_t max_bytes;
    /* made by open */
    struct kj_lid *lid;
    bool *kept, *kept_line; /* per label */
    int32_t *same;          /* per label: the first with its code */
    struct kj_rule rules[3];
    size_t n_rules;
};

struct lid_state {
    struct kj_lid_scratch *s;
    size_t *share;   /* per label, and last for lines of none: characters */
    int32_t *order;  /* labels with a share */
    struct kj_buf b; /* the field, the text that stays */
};

const struct kj_opt kj_lid_opts[] = {
    {"model", 'm', KJ_OPT_STR, offsetof(struct lid_cfg, model), "FILE",
     "fastText model whose labels are languages (default: built in)", NULL, 0, 0},
    {"by_script", 0, KJ_OPT_FLAG, offsetof(struct lid_cfg, by_script), NULL,
     "with -m: only languages written in the text's script compete", NULL, 0, 0},
    {"keep", 0, KJ_OPT_LIST, offsetof(struct lid_cfg, keep), "LANG",
     "drop documents in other languages (rule lid.language)", NULL, 0, 0},
    {"min_score", 0, KJ_OPT_REAL, offsetof(struct lid_cfg, min_score), "P",
     "drop documents whose language has a lower score (rule lid.score)", "0", 0, 1},
    {"per_line", 0, KJ_OPT_FLAG, offsetof(struct lid_cfg, per_line), NULL,
     "add the share of each language among the lines", NULL, 0, 0},
    {"keep_lines", 0, KJ_OPT_LIST, offsetof(struct lid_cfg, keep_lines), "LANG",
     "take out lines in other languages", NULL, 0, 0},
    {"max_bytes", 0, KJ_OPT_SIZE, offsetof(struct lid_cfg, max_bytes), "SIZE",
     "of longer texts, look at pieces of this size in all", "2K", 16, 64 << 20},
    {0},
};

/* Which labels bear one of the codes. */
static int mark(const struct kj_lid *m, const struct kj_strs *codes, bool **out,
                struct kj_err *err)
{
    int32_t n = kj_lid_labels(m);
    *out = kj_xcalloc((size_t)n, sizeof **out);
    for (size_t i = 0; i < codes->n; i++) {
        bool found = false;
        for (int32_t l = 0; l < n; l++)
            if (kj_str_eq(kj_lid_language(m, l), kj_str_z(codes->v[i])))
                (*out)[l] = found = true;
        if (!found)
            return kj_err_set(err, KJ_USAGE, "the model has no language '%s'",
                              codes->v[i]);
    }
    return KJ_OK;
}

static int lid_open(void *cfg_, struct kj_err *err)
{
    struct lid_cfg *c = cfg_;
    int rc = kj_lid_open(
        &c->lid, &(struct kj_lid_options){c->model, c->by_script, (size_t)c->max_bytes},
        err);
    if (rc == KJ_OK)
        rc = mark(c->lid, &c->keep, &c->kept, err);
    if (rc == KJ_OK)
        rc = mark(c->lid, &c->keep_lines, &c->kept_line, err);
    if (rc != KJ_OK)
        return rc;
    int32_t n = kj_lid_labels(c->lid);
    c->same = kj_xcalloc((size_t)n, sizeof *c->same);
    for (int32_t l = 0; l < n; l++)
        while (
            !kj_str_eq(kj_lid_language(c->lid, c->same[l]), kj_lid_language(c->lid, l)))
            c->same[l]++;
    if (c->keep_lines.n > 0)
        c->rules[c->n_rules++] =
            (struct kj_rule){"lid.lines", "", NAN, "share of characters",
                             "no line is in a language to keep"};
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
    size_t n = (size_t)kj_lid_labels(c->lid) + 1;
    (void)err;
    s->s = kj_lid_scratch_new(c->lid);
    s->share = kj_xcalloc(n, sizeof *s->share);
    s->order = kj_xcalloc(n, sizeof *s->order);
    kj_buf_init(&s->b, KJ_DOC_LINE_MAX + (64 << 10));
    return KJ_OK;
}

/* ---- lines ---- */

/* The label of a line, or -1. */
static int32_t line_label(const struct lid_cfg *c, size_t n,
                          const struct kj_lid_answer *line,
                          const struct kj_lid_answer *doc)
{
    bool sure = line->score >= LINE_SURE && (n >= LINE_BYTES || line->alone);
    if (line->label >= 0 && sure)
        return c->same[line->label];
    if (kj_lid_written_in(c->lid, doc->label, line->present))
        return c->same[doc->label];
    return -1;
}

static bool before(const struct lid_cfg *c, const struct lid_state *s, int32_t a,
                   int32_t b)
{
    size_t i = a < 0 ? (size_t)kj_lid_labels(c->lid) : (size_t)a;
    size_t k = b < 0 ? (size_t)kj_lid_labels(c->lid) : (size_t)b;
    if (s->share[i] != s->share[k])
        return s->share[i] > s->share[k];
    struct kj_str x = kj_lid_language(c->lid, a), y = kj_lid_language(c->lid, b);
    int d = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return d ? d < 0 : x.n < y.n;
}

/* The field `languages` from the shares, largest first. */
static int write_shares(const struct lid_cfg *c, struct lid_state *s, struct kj_doc *d,
                        struct kj_arena *a)
{
    int32_t labels = kj_lid_labels(c->lid), n = 0;
    size_t sum = 0;
    for (int32_t l = 0; l <= labels; l++) {
        if (!s->share[l])
            continue;
        sum += s->share[l];
        int32_t v = l == labels ? -1 : l, at = n++;
        for (; at > 0 && before(c, s, v, s->order[at - 1]); at--)
            s->order[at] = s->order[at - 1];
        s->order[at] = v;
    }
    kj_buf_reset(&s->b);
    int rc = kj_buf_addc(&s->b, '{');
    for (int32_t i = 0; i < n && rc == KJ_OK; i++) {
        int32_t l = s->order[i];
        struct kj_str code = kj_lid_language(c->lid, l);
        double share = (double)s->share[l < 0 ? labels : l] / (double)sum;
        if (i > 0)
            rc = kj_buf_addc(&s->b, ',');
        if (rc == KJ_OK)
            rc = kj_json_put_str(&s->b, code.p, code.n);
        if (rc == KJ_OK)
            rc = kj_buf_addc(&s->b, ':');
        if (rc == KJ_OK)
            rc = kj_json_put_real(&s->b, round(share * 1e4) / 1e4);
    }
    if (rc == KJ_OK)
        rc = kj_buf_addc(&s->b, '}');
    if (rc == KJ_OK)
        kj_doc_set(d, a, "languages",
                   (struct kj_str){kj_arena_dup(a, s->b.p, s->b.n), s->b.n});
    return rc;
}

/* Look at every line: shares, and the text without lines in other languages.
 * *stay is the share of the characters that stays. */
static int lines(const struct lid_cfg *c, struct lid_state *s, struct kj_doc *d,
                 const struct kj_lid_answer *doc, struct kj_arena *a, double *stay,
                 struct kj_err *err)
{
    int32_t labels = kj_lid_labels(c->lid);
    size_t all = 0, kept = 0;
    struct kj_str t = d->text;
    memset(s->share, 0, ((size_t)labels + 1) * sizeof *s->share);
    kj_buf_reset(&s->b);
    for (size_t at = 0, end; at < t.n; at = end) {
        const char *nl = memchr(t.p + at, '\n', t.n - at);
        size_t n = nl ? (size_t)(nl - t.p) - at : t.n - at;
        struct kj_lid_answer line;
        end = at + n + (nl ? 1 : 0);
        int rc = kj_lid_ask(c->lid, s->s, t.p + at, n, &line, err);
        if (rc != KJ_OK)
            return rc;
        int32_t l = line.script ? line_label(c, n, &line, doc) : -1;
        bool stays = c->keep_lines.n == 0 || l < 0 || c->kept_line[l];
        if (line.script) {
            size_t chars = kj_utf8_count(t.p + at, n);
            s->share[l < 0 ? labels : l] += chars;
            all += chars;
            kept += stays ? chars : 0;
        }
        if (c->keep_lines.n > 0 && stays &&
            (rc = kj_buf_add(&s->b, t.p + at, end - at)) != KJ_OK)
            return kj_err_set(err, KJ_FATAL, "text too long");
    }
    *stay = all ? (double)kept / (double)all : 1;
    if (c->keep_lines.n > 0 && s->b.n < t.n) {
        size_t n = s->b.n; /* what ended without a line end still does */
        if (n > 0 && s->b.p[n - 1] == '\n' && t.p[t.n - 1] != '\n')
            n--;
        d->text = (struct kj_str){kj_arena_dup(a, n ? s->b.p : "", n), n};
    }
    if (c->per_line && write_shares(c, s, d, a) != KJ_OK)
        return kj_err_set(err, KJ_FATAL, "too many languages");
    return KJ_OK;
}

/* ---- documents ---- */

static void judge(const struct lid_cfg *c, struct kj_doc *d, struct kj_arena *a,
                  const struct kj_lid_answer *ans)
{
    double p = ans->score;
    bool other = c->keep.n > 0 && !(ans->label >= 0 && c->kept[ans->label]);
    if (c->min_score > 0 && !other) /* the score alone decides */
        kj_doc_signal_by(d, a, &c->rules[c->n_rules - 1], p);
    else if (c->keep.n > 0 || c->min_score > 0)
        kj_doc_signal(d, a, "lid.score", p);
    if (other)
        kj_doc_drop(d, "lid.language", p, NAN);
    else if (p < c->min_score)
        kj_doc_drop(d, "lid.score", p, c->min_score);
}

static int lid_document(const struct lid_cfg *c, struct lid_state *s, struct kj_doc *d,
                        struct kj_arena *a, struct kj_err *err)
{
    struct kj_lid_answer ans;
    const struct kj_str whole = d->text;
    double stay = 1;
    int rc = kj_lid_ask(c->lid, s->s, d->text.p, d->text.n, &ans, err);
    if (rc == KJ_OK && (c->per_line || c->keep_lines.n > 0))
        rc = lines(c, s, d, &ans, a, &stay, err);
    if (rc == KJ_OK && d->text.n < whole.n && stay > 0)
        rc = kj_lid_ask(c->lid, s->s, d->text.p, d->text.n, &ans, err);
    if (rc != KJ_OK)
        return rc;
    d->language = kj_lid_language(c->lid, ans.label);
    d->language_score = ans.score;
    d->language_script = kj_str_z(ans.script ? ans.script : "Zyyy");
    if (c->keep_lines.n > 0)
        kj_doc_signal(d, a, "lid.lines", stay);
    if (stay <= 0) {
        d->text = whole; /* rejects show what was there */
        kj_doc_drop(d, "lid.lines", stay, NAN);
    } else {
        judge(c, d, a, &ans);
    }
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
    kj_lid_scratch_free(s->s);
    free(s->share);
    free(s->order);
    kj_buf_release(&s->b);
}

static void lid_close(void *cfg)
{
    struct lid_cfg *c = cfg;
    kj_lid_free(c->lid);
    free(c->kept);
    free(c->kept_line);
    free(c->same);
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
