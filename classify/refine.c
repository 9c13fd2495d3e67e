/* refine.c - the rounds.
 *
 * What a round learns from is written by the round before, when that one is
 * complete but for its round.json; so whoever was killed reads files that are
 * whole and goes on. Decisions on stopping are made again from the figures of
 * the rounds, rounded as they were written, so they come out the same whether
 * the rounds were run or found.
 *
 * Why the harvest replaces the one before instead of adding to it: what an
 * early, poor model took wrongly is let go by a better one. Why growth is
 * limited: with few seeds the first model ranks well only at the very top, and
 * what is taken below becomes the label of the next round (measured in
 * docs/classifiers.md). Why the cut is one of precision: a fixed score means
 * something else in every round (the first model is sure of nothing, later ones
 * of everything), and once the true ones are used up it takes whatever comes
 * next. Why epochs rise: fastText's count is meant for millions of lines; after 25
 * epochs over 48 lines a model is still near its random start and ranks little
 * better than chance. Why negatives are drawn at random from the pool: they
 * must look like what the model will see, and among rare positives few are
 * wrong; none comes from the best `margin`, where the positives are that were
 * not found yet.
 */
#include "classify/refine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/output.h"
#include "classify/refine_internal.h"

struct run {
    const struct kj_refine *o;
    const struct kj_refine_set *seeds, *held;
    struct refine_pool pool;
    struct kj_refine_round *rounds;
    size_t n;
    struct kj_buf out; /* of a file being made */
    char path[4096];
};

static const char *at_path(struct run *r, int64_t round, const char *file)
{
    if (round > 0)
        snprintf(r->path, sizeof r->path, "%s/round-%02lld%s%s", r->o->dir,
                 (long long)round, *file ? "/" : "", file);
    else
        snprintf(r->path, sizeof r->path, "%s/%s", r->o->dir, file);
    return r->path;
}

static int put_file(struct run *r, int64_t round, const char *file, struct kj_err *err)
{
    return kj_output_file(at_path(r, round, file), r->out.p ? r->out.p : "", r->out.n,
                          err);
}

static void new_file(struct run *r)
{
    kj_buf_release(&r->out);
    kj_buf_init(&r->out, (size_t)r->o->memory + ((size_t)1 << 30));
}

/* ---- what a round learns from ---- */

struct example {
    uint64_t lot; /* its place */
    const char *p;
    size_t n;
    bool positive;
};

static int by_lot(const void *pa, const void *pb)
{
    const struct example *a = pa, *b = pb;
    if (a->lot != b->lot)
        return a->lot < b->lot ? -1 : 1;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    int c = a->n ? memcmp(a->p, b->p, a->n) : 0;
    return c ? c : (a->positive > b->positive) - (a->positive < b->positive);
}

static uint64_t draw_of(const struct run *r, int64_t round)
{
    uint64_t both[2] = {(uint64_t)r->o->seed, (uint64_t)round};
    return kj_hash64(both, sizeof both, 0);
}

static size_t add_seeds(const struct run *r, bool positive, size_t most, uint64_t draw,
                        struct example *to)
{
    size_t n = 0;
    for (size_t i = 0; i < r->seeds->n; i++) {
        const struct kj_refine_item *t = &r->seeds->v[i];
        uint64_t both[2] = {t->id, t->text};
        if (t->positive == positive)
            to[n++] = (struct example){kj_hash64(both, sizeof both, draw),
                                       r->seeds->text.p + t->at, t->n, positive};
    }
    qsort(to, n, sizeof *to, by_lot);
    return n < most ? n : most;
}

/* Write the text of `round`, from the seeds and what was picked of the pool. */
static int write_text(struct run *r, struct kj_refine_round *next, size_t negatives,
                      struct kj_err *err)
{
    const struct refine_pool *p = &r->pool;
    uint64_t draw = draw_of(r, next->number);
    struct example *e = kj_xcalloc(r->seeds->n + p->n_picks + 1, sizeof *e);
    size_t n = add_seeds(r, true, r->seeds->n, draw, e);
    next->seed_positives = n;
    next->seed_negatives = add_seeds(r, false, negatives, draw, e + n);
    n += next->seed_negatives;
    next->harvested = p->n_harvest;
    next->drawn = p->n_picks - p->n_harvest;
    for (size_t i = 0; i < p->n_picks; i++) {
        uint64_t both[2] = {p->picks[i].key.id, p->picks[i].key.text};
        e[n++] = (struct example){kj_hash64(both, sizeof both, draw),
                                  p->text.p + p->picks[i].at, p->picks[i].n,
                                  p->picks[i].positive};
    }
    qsort(e, n, sizeof *e, by_lot);
    new_file(r);
    int rc = kj_output_mkdirs(at_path(r, next->number, ""), err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        rc = kj_buf_addz(&r->out, e[i].positive ? POSITIVE : NEGATIVE);
        if (rc == KJ_OK)
            rc = kj_buf_add(&r->out, e[i].p, e[i].n);
        if (rc == KJ_OK)
            rc = kj_buf_addc(&r->out, '\n');
        if (rc != KJ_OK)
            kj_err_set(err, KJ_FAIL, "the text of a round does not fit --memory");
    }
    free(e);
    return rc == KJ_OK ? put_file(r, next->number, "train.txt", err) : rc;
}

/* How many negatives go with so many positives; the seeds' come first. */
static void negatives_for(const struct run *r, size_t positives, size_t *of_seeds,
                          size_t *of_pool)
{
    size_t have = r->seeds->n - r->seeds->positives;
    size_t want = (size_t)ceil(r->o->balance * (double)positives);
    if (r->o->balance == 0)
        want = have;
    *of_seeds = have < want ? have : want;
    *of_pool = want - *of_seeds;
}

/* The first text: the labels, and random documents where negatives are short. */
static int first_text(struct run *r, struct kj_err *err)
{
    struct kj_refine_round first = {.number = 1};
    size_t of_seeds, of_pool;
    int rc = KJ_OK;
    negatives_for(r, r->seeds->positives, &of_seeds, &of_pool);
    if (of_pool > 0)
        rc = refine_pool_score(&r->pool, NULL, err);
    refine_pool_choose(&r->pool, 0, of_pool, 0, draw_of(r, 1));
    if (rc == KJ_OK && of_pool > 0)
        rc = refine_pool_collect(&r->pool, err);
    return rc == KJ_OK ? write_text(r, &first, of_seeds, err) : rc;
}

/* ---- one round ---- */

static void count_text(struct kj_refine_round *now, const struct run *r,
                       const struct kj_buf *text)
{
    size_t positive = 0, negative = 0;
    for (size_t at = 0; at < text->n;) {
        const char *end = memchr(text->p + at, '\n', text->n - at);
        bool hq = text->n - at >= sizeof POSITIVE - 1 &&
                  memcmp(text->p + at, POSITIVE, sizeof POSITIVE - 1) == 0;
        positive += hq;
        negative += !hq;
        at = end ? (size_t)(end - text->p) + 1 : text->n;
    }
    size_t of_seeds, of_pool;
    now->seed_positives = r->seeds->positives;
    now->harvested = positive - now->seed_positives;
    negatives_for(r, positive, &of_seeds, &of_pool);
    now->seed_negatives = of_seeds;
    now->drawn = negative - of_seeds;
}

static int64_t epochs_of(const struct kj_refine *o, const struct kj_refine_round *x)
{
    size_t lines = x->seed_positives + x->harvested + x->seed_negatives + x->drawn;
    int64_t least = lines ? (o->updates + (int64_t)lines - 1) / (int64_t)lines : 0;
    return least > o->train.epoch ? least : o->train.epoch;
}

static int learn(struct run *r, struct kj_refine_round *now, struct kj_err *err)
{
    struct kj_buf text;
    struct kj_ft_train_stats st;
    struct kj_ft_train t = r->o->train;
    t.threads = 1;
    t.label_prefix = "__label__";
    kj_buf_init(&text, (size_t)r->o->memory + ((size_t)1 << 30));
    new_file(r);
    int rc = kj_input_slurp(at_path(r, now->number, "train.txt"), &text, err);
    if (rc == KJ_OK) {
        count_text(now, r, &text);
        t.epoch = now->epoch = epochs_of(r->o, now);
        rc = kj_ft_train(&t, text.p, text.n, &r->out, &st, err);
    }
    if (rc == KJ_OK) {
        now->loss = st.loss;
        now->words = st.words;
        rc = put_file(r, now->number, "model.bin", err);
    }
    kj_buf_release(&text);
    return rc;
}

/* The lowest score from which on upwards the points have this precision. */
static double cut_at(const struct kj_eval_point *p, size_t n, double precision)
{
    double cut = INFINITY;
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        right += p[i].gold;
        if ((i + 1 == n || p[i + 1].score != p[i].score) &&
            (double)right >= precision * (double)(i + 1))
            cut = (double)p[i].score;
    }
    return cut;
}

static int judge_held(struct run *r, const struct kj_ft *m, struct kj_refine_round *now,
                      struct kj_err *err)
{
    const struct kj_refine_set *h = r->held;
    int rc = KJ_OK;
    if (h->n == 0)
        return KJ_OK;
    struct kj_eval_point *p = kj_xcalloc(h->n, sizeof *p);
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    struct kj_ft_hit *hits = kj_xcalloc((size_t)kj_ft_labels(m), sizeof *hits);
    for (size_t i = 0; i < h->n && rc == KJ_OK; i++) {
        p[i].gold = h->v[i].positive;
        rc = kj_ft_score(m, s, kj_ft_label_find(m, "hq"), h->text.p + h->v[i].at,
                         h->v[i].n, hits, &p[i].score, err);
    }
    kj_eval_sort(p, h->n);
    now->held = h->n;
    now->held_positives = h->positives;
    now->at = kj_eval_at(p, h->n, r->o->min_score);
    now->best = kj_eval_best(p, h->n);
    now->average_precision = kj_eval_average_precision(p, h->n);
    if (r->o->precision > 0)
        now->cut = cut_at(p, h->n, r->o->precision);
    free(p);
    free(hits);
    kj_ft_scratch_free(s);
    return rc;
}

/* Share of the ids in the last round's harvest that are in this one. */
static double share_kept(struct run *r, int64_t last)
{
    struct kj_buf b;
    struct kj_err ignored = KJ_ERR_INIT;
    struct kj_json *json = kj_json_new();
    const struct kj_jval *v;
    size_t kept = 0, n = 0;
    uint64_t *ids = kj_xcalloc(r->pool.n_harvest + 1, sizeof *ids);
    for (size_t i = 0; i < r->pool.n_harvest; i++)
        ids[i] = r->pool.picks[i].key.id;
    qsort(ids, r->pool.n_harvest, sizeof *ids, refine_compare_u64);
    kj_buf_init(&b, (size_t)r->o->memory);
    if (kj_input_slurp(at_path(r, last, "harvest.jsonl"), &b, &ignored) == KJ_OK)
        for (size_t at = 0; at < b.n;) {
            const char *end = memchr(b.p + at, '\n', b.n - at);
            size_t len = end ? (size_t)(end - b.p) - at : b.n - at;
            kj_err_reset(&ignored);
            if (kj_json_parse(json, b.p + at, len, &v, &ignored) == KJ_OK) {
                struct kj_str id = kj_jstr(kj_jget(v, "id"));
                uint64_t h = kj_hash64(id.p, id.n, 1);
                n++;
                kept += bsearch(&h, ids, r->pool.n_harvest, sizeof h,
                                refine_compare_u64) != NULL;
            }
            at += len + 1;
        }
    free(ids);
    kj_buf_release(&b);
    kj_json_free(json);
    return n ? (double)kept / (double)n : NAN;
}

static size_t count_scored(const struct refine_pool *p, double min)
{
    size_t n = 0;
    while (n < p->n && (double)p->keys[n].score >= min)
        n++;
    return n;
}

/* Take the harvest, and with it write what the next round learns from. */
static int harvest(struct run *r, const struct kj_ft *m, struct kj_refine_round *now,
                   struct kj_err *err)
{
    const struct kj_refine *o = r->o;
    struct refine_pool *p = &r->pool;
    struct kj_refine_round next = {.number = now->number + 1};
    int rc = refine_pool_score(p, m, err);
    if (rc != KJ_OK)
        return rc;
    size_t above = count_scored(p, o->min_score), over = count_scored(p, now->cut);
    double positives = (double)(now->seed_positives + now->harvested);
    double most = fmin(ceil(o->harvest * (double)p->n - 1e-9),
                       ceil(positives * o->growth) - (double)now->seed_positives);
    size_t take = most > 0 ? (size_t)most : 0, of_seeds, of_pool;
    take = take < over ? take : over;
    negatives_for(r, now->seed_positives + take, &of_seeds, &of_pool);
    refine_pool_choose(p, take, of_pool, (size_t)ceil(o->margin * (double)p->n),
                       draw_of(r, next.number));
    if ((rc = refine_pool_collect(p, err)) != KJ_OK)
        return rc;
    now->pool = p->n;
    now->positive_share = p->n ? (double)above / (double)p->n : 0;
    now->harvest = take;
    now->lowest = take ? (double)p->picks[take - 1].key.score : NAN;
    now->kept = now->number > 1 ? share_kept(r, now->number - 1) : NAN;
    new_file(r);
    rc = refine_harvest_json(p, &r->out);
    if (rc == KJ_OK)
        rc = put_file(r, now->number, "harvest.jsonl", err);
    return rc == KJ_OK ? write_text(r, &next, of_seeds, err) : rc;
}

/* ---- when to stop ---- */

static double metric(const struct run *r, const struct kj_refine_round *x)
{
    double v = r->o->metric == KJ_REFINE_F1 ? x->at.f1 : x->average_precision;
    return round(v * 1e6) / 1e6;
}

static size_t best_round(const struct run *r, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (r->held->n == 0 || metric(r, &r->rounds[i]) > metric(r, &r->rounds[best]))
            best = i;
    return best;
}

static const char *stop_after(const struct run *r, size_t n)
{
    const struct kj_refine *o = r->o;
    const struct kj_refine_round *x = r->rounds;
    size_t idle = 0;
    if (x[n - 1].harvest == 0)
        return isfinite(x[n - 1].cut)
                   ? "no document of the pool reaches the least score"
                   : "no cut has the precision on the held-out set";
    if (r->held->n) {
        double top = metric(r, &x[0]);
        for (size_t i = 1; i < n; i++) {
            idle = metric(r, &x[i]) < top + o->epsilon ? idle + 1 : 0;
            top = fmax(top, metric(r, &x[i]));
        }
    } else {
        for (size_t i = 1; i < n; i++) {
            double a = round(x[i - 1].positive_share * 1e6) / 1e6;
            double b = round(x[i].positive_share * 1e6) / 1e6;
            idle = fabs(b - a) <= o->epsilon * a ? idle + 1 : 0;
        }
    }
    if (idle >= (size_t)o->patience)
        return r->held->n ? "the held-out set gained less than epsilon"
                          : "the share of positives in the pool is stable";
    return n >= (size_t)o->rounds ? "all rounds are done" : NULL;
}

static int do_round(struct run *r, struct kj_err *err)
{
    struct kj_refine_round *now = &r->rounds[r->n];
    struct kj_ft *m = NULL;
    *now =
        (struct kj_refine_round){.number = (int64_t)r->n + 1, .cut = r->o->min_score};
    int rc = learn(r, now, err);
    if (rc == KJ_OK)
        rc = kj_ft_open(&m, at_path(r, now->number, "model.bin"), err);
    if (rc == KJ_OK)
        rc = judge_held(r, m, now, err);
    if (rc == KJ_OK)
        rc = harvest(r, m, now, err);
    kj_ft_free(m);
    if (rc != KJ_OK)
        return rc;
    now->stop = stop_after(r, r->n + 1);
    new_file(r);
    refine_round_json(r->o, now, &r->pool, &r->out);
    return put_file(r, now->number, "round.json", err);
}

/* ---- all of them ---- */

static int check_settings(struct run *r, struct kj_err *err)
{
    struct kj_buf old;
    const struct kj_refine *o = r->o;
    int rc = kj_output_mkdirs(o->dir, err);
    kj_buf_init(&old, (size_t)64 << 20);
    if (rc == KJ_OK && access(at_path(r, 0, "settings.json"), F_OK) != 0) {
        new_file(r);
        kj_buf_add(&r->out, o->settings.p, o->settings.n);
        rc = put_file(r, 0, "settings.json", err);
    } else if (rc == KJ_OK) {
        rc = kj_input_slurp(r->path, &old, err);
        if (rc == KJ_OK &&
            (old.n != o->settings.n || memcmp(old.p, o->settings.p, old.n) != 0))
            rc = kj_err_set(err, KJ_USAGE,
                            "%s holds rounds of other options or inputs (its "
                            "settings.json says which); another folder?",
                            o->dir);
    }
    kj_buf_release(&old);
    return rc;
}

/* rounds.jsonl and model.bin, from the rounds' own files. */
static int gather(struct run *r, int64_t *best, struct kj_err *err)
{
    int rc = KJ_OK;
    new_file(r);
    for (size_t i = 0; i < r->n && rc == KJ_OK; i++)
        rc = kj_input_slurp(at_path(r, (int64_t)i + 1, "round.json"), &r->out, err);
    if (rc == KJ_OK)
        rc = put_file(r, 0, "rounds.jsonl", err);
    *best = (int64_t)best_round(r, r->n) + 1;
    new_file(r);
    if (rc == KJ_OK)
        rc = kj_input_slurp(at_path(r, *best, "model.bin"), &r->out, err);
    return rc == KJ_OK ? put_file(r, 0, "model.bin", err) : rc;
}

static int all_rounds(struct run *r, struct kj_err *err)
{
    int rc = KJ_OK;
    const char *stop = NULL;
    if (access(at_path(r, 1, "train.txt"), F_OK) != 0)
        rc = first_text(r, err);
    while (rc == KJ_OK && !stop) {
        struct kj_refine_round *now = &r->rounds[r->n];
        if (access(at_path(r, (int64_t)r->n + 1, "round.json"), F_OK) == 0)
            rc = refine_round_load(now, r->path, err);
        else
            rc = do_round(r, err);
        if (rc != KJ_OK)
            break;
        now->stop = stop = stop_after(r, ++r->n);
        if (r->o->tell)
            r->o->tell(r->o->ctx, now);
    }
    return rc;
}

int kj_refine_run(const struct kj_refine *o, const struct kj_refine_set *seeds,
                  const struct kj_refine_set *held, struct kj_corpus *pool,
                  struct kj_refine_result *result, struct kj_err *err)
{
    struct run r = {.o = o, .seeds = seeds, .held = held};
    if (seeds->positives == 0)
        return kj_err_set(err, KJ_FAIL, "no seed is positive");
    if (o->balance == 0 && seeds->positives == seeds->n)
        return kj_err_set(err, KJ_FAIL,
                          "no seed is negative, and --balance 0 draws "
                          "none from the pool");
    if (held->n && (held->positives == 0 || held->positives == held->n))
        return kj_err_set(err, KJ_FAIL, "the held-out set has one class only");
    refine_pool_init(&r.pool, o, pool, seeds, held);
    r.rounds = kj_xcalloc((size_t)o->rounds + 1, sizeof *r.rounds);
    int rc = check_settings(&r, err);
    if (rc == KJ_OK)
        rc = all_rounds(&r, err);
    if (rc == KJ_OK)
        rc = gather(&r, &result->best, err);
    result->damaged = r.pool.damaged;
    refine_pool_release(&r.pool);
    kj_buf_release(&r.out);
    free(r.rounds);
    return rc;
}
