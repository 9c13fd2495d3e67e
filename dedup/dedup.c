/* dedup.c - the stage: its options, and a verdict per document. What the
 * verdicts are made of is found by dedup_survey.c.
 */
#include "dedup/dedup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/opt.h"
#include "base/stage.h"
#include "dedup/dedup_internal.h"
#include "dedup/identity.h"

/* What a worker of the run holds. */
struct state {
    struct kj_external_reader reader;
    struct kj_units_reader units;
    struct kj_substring_reader passages;
};

#define OFF(f) offsetof(struct dedup, f)
const struct kj_opt kj_dedup_opts[] = {
    {"method", 0, KJ_OPT_ENUM, OFF(method), "minhash|exact|bloom|substring",
     "how copies are found", "minhash", 0, 0},
    {"threshold", 0, KJ_OPT_REAL, OFF(threshold), "S",
     "minhash: least similarity of a copy to its keeper; bloom: share of known "
     "n-grams beyond which text goes",
     "0.8", 0.01, 1},
    {"measure", 0, KJ_OPT_ENUM, OFF(measure), "jaccard|containment",
     "minhash: the similarity; containment: share of a document's n-grams that its "
     "keeper has",
     "jaccard", 0, 0},
    {"bands", 0, KJ_OPT_INT, OFF(bands), "N", "minhash: bands of the signature", "14",
     1, 4096},
    {"rows", 0, KJ_OPT_INT, OFF(rows), "N", "minhash: rows of a band", "8", 1, 64},
    {"unit", 0, KJ_OPT_ENUM, OFF(unit), "auto|word|eojeol|syllable",
     "minhash: what n-grams are made of; auto: syllables for Korean, else words",
     "auto", 0, 0},
    {"ngram", 0, KJ_OPT_INT, OFF(ngram), "N",
     "units in a shingle; 0: minhash 8 syllables, 5 of the others; bloom 13 words", "0",
     0, 100},
    {"max_compare", 0, KJ_OPT_INT, OFF(max_compare), "N",
     "minhash: most kept documents to compare with in one bucket", "256", 1, 1e9},
    {"scope", 0, KJ_OPT_ENUM, OFF(scope), "document|paragraph|line",
     "exact: what is a copy; paragraphs and lines are cut out of their documents",
     "document", 0, 0},
    {"key", 0, KJ_OPT_ENUM, OFF(key), "text|url", "exact: what must be equal", "text",
     0, 0},
    {"normalize", 0, KJ_OPT_FLAG, OFF(normalize), NULL,
     "exact: compare lower-cased text without marks, punctuation, extra space", NULL, 0,
     0},
    {"keep", 0, KJ_OPT_STR, OFF(keep), "POLICY",
     "which copy stays: longest, first (by id), newest (date), best=FIELD", "longest",
     0, 0},
    {"index", 0, KJ_OPT_STR, OFF(index), "DIR",
     "minhash, exact: what earlier corpora kept; copies of it go, and what stays is "
     "added",
     NULL, 0, 0},
    {"expected", 0, KJ_OPT_INT, OFF(expected), "N",
     "bloom: different n-grams to be expected, about as many as words", "100000000", 1,
     1e13},
    {"fpr", 0, KJ_OPT_REAL, OFF(fpr), "P",
     "bloom: share of new n-grams that may be taken for known", "0.01", 1e-12, 0.5},
    {"min_bytes", 0, KJ_OPT_INT, OFF(min_bytes), "N",
     "substring: bytes of the shortest passage that goes", "500", 8, 1 << 20},
    {"min_words", 0, KJ_OPT_INT, OFF(min_words), "N",
     "substring: words of it, whatever stands between them; 0: bytes count", "0", 0,
     1 << 20},
    {"cut", 0, KJ_OPT_ENUM, OFF(cut), "char|sentence|line",
     "substring: between what passages are cut out", "char", 0, 0},
    {"min_left", 0, KJ_OPT_INT, OFF(min_left), "N",
     "substring: a document that keeps fewer bytes goes as a whole", "1", 1, 1e9},
    {"alarm", 0, KJ_OPT_REAL, OFF(alarm), "SHARE",
     "warn of every source that loses more than this share of its documents", "0.5", 0,
     1},
    {"spill", 0, KJ_OPT_ENUM, OFF(spill), "auto|always|never",
     "work in temporary files; auto: when --memory would not do", "auto", 0, 0},
    {0},
};

/* What the rule says about who is kept: reports ask it. */
static void say_policy(struct dedup *c)
{
    static const char *const stays[] = {"the longest", "the first by id", "the newest"};
    if (c->policy == KJ_KEEP_BEST)
        snprintf(c->about, sizeof c->about, "%s; the best by %.80s stays",
                 c->rule.about, c->field);
    else
        snprintf(c->about, sizeof c->about, "%s; %s stays", c->rule.about,
                 stays[c->policy]);
    c->rule.about = c->about;
}

static int dedup_open(void *cfg, struct kj_err *err)
{
    struct dedup *c = cfg;
    static const char *const words[] = {"longest", "first", "newest"};
    int policy = -1;
    for (int i = 0; i < 3; i++)
        if (strcmp(c->keep, words[i]) == 0)
            policy = i;
    if (strncmp(c->keep, "best=", 5) == 0 && c->keep[5]) {
        policy = KJ_KEEP_BEST;
        c->field = c->keep + 5;
    }
    if (policy < 0)
        return kj_err_set(err, KJ_USAGE,
                          "--keep takes longest, first, newest or best=FIELD, not '%s'",
                          c->keep);
    c->policy = (enum kj_keep)policy;
    if (c->bands * c->rows > KJ_MINHASH_MAX)
        return kj_err_set(err, KJ_USAGE, "--bands times --rows is at most %d, not %lld",
                          KJ_MINHASH_MAX, (long long)(c->bands * c->rows));
    if (c->scope && (c->method != METHOD_EXACT || c->key != KEY_TEXT))
        return kj_err_set(err, KJ_USAGE,
                          "--scope paragraph and line go with exact only");
    if (c->index &&
        (c->scope || c->method == METHOD_BLOOM || c->method == METHOD_SUBSTRING))
        return kj_err_set(err, KJ_USAGE,
                          "--index goes with whole documents, exact or minhash");
    if (c->index && !*c->index)
        return kj_err_set(err, KJ_USAGE, "--index takes a folder, not ''");
    if (c->method == METHOD_BLOOM) {
        c->rule = (struct kj_rule){"dedup.bloom", ">=", 1, "share of bytes",
                                   "nearly all of its n-grams came before"};
    } else if (c->method == METHOD_SUBSTRING) {
        c->rule = (struct kj_rule){"dedup.substring", "<", (double)c->min_left, "bytes",
                                   "little is left without its repeated passages"};
    } else if (c->scope) {
        c->rule = (struct kj_rule){
            c->scope == SCOPE_LINE ? "dedup.lines" : "dedup.paragraphs", ">=", 1,
            "share of bytes", "all of its text stands in other documents"};
    } else if (c->method == METHOD_MINHASH) {
        c->rule = (struct kj_rule){"dedup.minhash", ">=", c->threshold,
                                   c->measure ? "containment" : "Jaccard similarity",
                                   "shares that much of its n-grams with a kept copy"};
    } else if (c->key == KEY_URL) {
        c->rule = (struct kj_rule){"dedup.url", "", NAN, "", "a kept copy has its URL"};
    } else {
        c->rule =
            (struct kj_rule){"dedup.exact", "", NAN, "", "a kept copy has its text"};
    }
    if (!c->scope && c->method != METHOD_BLOOM)
        say_policy(c);
    return KJ_OK;
}

double kj_dedup_alarm(const void *cfg)
{
    return ((const struct dedup *)cfg)->alarm;
}

static void dedup_close(void *cfg)
{
    kj_dedup_forget(cfg);
}

static size_t dedup_rules(const void *cfg, const struct kj_rule **out)
{
    *out = &((const struct dedup *)cfg)->rule;
    return 1;
}

/* ---- run ---- */

/* The cluster field, from the batch's arena; {NULL,0} when it is full. */
static struct kj_str cluster_json(const struct kj_fate *f, struct kj_arena *a)
{
    struct kj_buf b;
    kj_buf_init(&b, (size_t)1 << 26);
    int rc = kj_buf_printf(&b, "{\"id\":\"%016llx\",\"size\":%llu,\"keeper\":",
                           (unsigned long long)f->cluster, (unsigned long long)f->size);
    if (!rc)
        rc = kj_json_put_str(&b, f->keeper.p, f->keeper.n);
    if (!rc)
        rc = kj_buf_addz(&b, ",\"similarity\":");
    if (!rc)
        rc = kj_json_put_real(&b, f->similarity);
    if (!rc)
        rc = kj_buf_addc(&b, '}');
    struct kj_str s = {rc ? NULL : kj_arena_dup(a, b.p, b.n), b.n};
    kj_buf_release(&b);
    return s.p ? s : (struct kj_str){NULL, 0};
}

int kj_dedup_fate(const struct dedup *c, struct kj_external_reader *r, uint64_t doc,
                  uint32_t *check, struct kj_fate *f, bool *found, struct kj_err *err)
{
    if (c->in_files) {
        int rc = kj_external_check(&c->external, r, doc, check, err);
        return rc ? rc : kj_external_find(&c->external, r, doc, f, found, err);
    }
    *check = doc < c->n_checks ? c->checks[doc] : 0;
    *found = kj_clusters_find(&c->clusters, doc, f);
    return KJ_OK;
}

static int judge(const struct dedup *c, struct state *st, struct kj_batch *b,
                 struct kj_doc *d, struct kj_err *err)
{
    struct kj_fate f;
    uint32_t check;
    bool found;
    int rc = kj_dedup_fate(c, st ? &st->reader : NULL, kj_dedup_number(c, d->serial),
                           &check, &f, &found, err);
    if (rc)
        return rc;
    if (check != kj_dedup_check(d)) {
        kj_err_set(err, KJ_FATAL,
                   "the input changed since it was first read: this document is new");
        kj_err_doc(err, d->id.p, d->id.n);
        return KJ_FATAL;
    }
    if (!found)
        return KJ_OK;
    if (f.unchecked)
        kj_doc_signal(d, &b->arena, "dedup.unchecked", f.unchecked);
    if (f.size < 2 || (!f.dropped && f.size == kj_dedup_weight(d, b)))
        return KJ_OK;
    struct kj_str json = cluster_json(&f, &b->arena);
    if (!json.p)
        return kj_dedup_too_large(d, err);
    kj_doc_set(d, &b->arena, "cluster", json);
    if (f.dropped)
        kj_doc_drop(d, c->rule.name, f.similarity, c->rule.threshold);
    return KJ_OK;
}

/* Scope paragraph, line; bloom. */
static int cut_units(const struct dedup *c, struct state *st, struct kj_batch *b,
                     struct kj_doc *d, struct kj_err *err)
{
    size_t before = d->text.n, cut;
    int rc = kj_units_cut(&c->units, &st->units, b, d, &cut, err);
    if (rc || !cut)
        return rc;
    double share = d->text.n ? (double)cut / (double)before : 1;
    kj_doc_signal(d, &b->arena, "dedup.cut", share);
    if (!d->text.n)
        kj_doc_drop(d, c->rule.name, share, c->rule.threshold);
    return KJ_OK;
}

/* ---- passages ---- */

/* "substring": what was cut out, for whoever asks why. */
static struct kj_str substring_json(const struct kj_substring_reader *r, size_t cut,
                                    struct kj_arena *a)
{
    struct kj_buf b;
    kj_buf_init(&b, (size_t)1 << 28);
    int rc = kj_buf_printf(&b, "{\"removed_bytes\":%zu,\"spans\":[", cut);
    for (size_t i = 0; i < r->n && !rc; i++) {
        const struct kj_removed *m = &r->v[i];
        rc = kj_buf_printf(&b, "%s{\"at\":%zu,\"bytes\":%zu,\"keeper\":", i ? "," : "",
                           m->at, m->n);
        if (!rc)
            rc = kj_json_put_str(&b, m->keeper.p, m->keeper.n);
        if (!rc)
            rc = kj_buf_printf(&b, ",\"offset\":%llu}", (unsigned long long)m->offset);
    }
    if (!rc)
        rc = kj_buf_addz(&b, "]}");
    struct kj_str s = {rc ? NULL : kj_arena_dup(a, b.p, b.n), b.n};
    kj_buf_release(&b);
    return s.p ? s : (struct kj_str){NULL, 0};
}

static size_t without_ends(struct kj_str s)
{
    while (s.n && strchr(" \t\n\v\f\r", s.p[s.n - 1]) && s.p[s.n - 1])
        s.n--;
    while (s.n && strchr(" \t\n\v\f\r", *s.p) && *s.p) {
        s.p++;
        s.n--;
    }
    return s.n;
}

static int cut_passages(const struct dedup *c, struct state *st, struct kj_batch *b,
                        struct kj_doc *d, struct kj_err *err)
{
    struct kj_str left;
    size_t cut;
    int rc = kj_substring_cut(&c->passages, &st->passages, b, d, &left, &cut, err);
    if (rc || !cut)
        return rc;
    struct kj_str json = substring_json(&st->passages, cut, &b->arena);
    if (!json.p)
        return kj_dedup_too_large(d, err);
    kj_doc_set(d, &b->arena, "substring", json);
    kj_doc_signal(d, &b->arena, "dedup.cut", (double)cut / (double)d->text.n);
    size_t n = without_ends(left);
    if (n < (size_t)c->min_left) /* its text stays, for the rejects */
        kj_doc_drop(d, c->rule.name, (double)n, c->rule.threshold);
    else
        d->text = left;
    return KJ_OK;
}

static int dedup_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    const struct dedup *c = cfg;
    if (!c->surveyed)
        return kj_err_set(err, KJ_FATAL, "dedup must read its input twice");
    int (*each)(const struct dedup *, struct state *, struct kj_batch *,
                struct kj_doc *, struct kj_err *) = judge;
    if (c->method == METHOD_SUBSTRING)
        each = cut_passages;
    else if (c->scope || c->method == METHOD_BLOOM)
        each = cut_units;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = each(c, state, b, &b->docs[i], err);
    return rc;
}

static void dedup_end(const void *cfg, void *state)
{
    (void)cfg;
    struct state *st = state;
    kj_external_reader_release(&st->reader);
    kj_units_reader_release(&st->units);
    kj_substring_reader_release(&st->passages);
}

static bool dedup_textless(const void *cfg)
{
    const struct dedup *c = cfg;
    return c->method == METHOD_EXACT && c->key == KEY_URL;
}

const struct kj_stage kj_stage_dedup = {
    .name = "dedup",
    .about = "take out exact and near copies of documents",
    .opts = kj_dedup_opts,
    .cfg_size = sizeof(struct dedup),
    .state_size = sizeof(struct state),
    .open = dedup_open,
    .survey = kj_dedup_survey,
    .run = dedup_run,
    .end = dedup_end,
    .close = dedup_close,
    .rules = dedup_rules,
    .needs = kj_dedup_needs,
    .textless = dedup_textless,
};
