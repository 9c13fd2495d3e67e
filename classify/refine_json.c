/* refine_json.c - a round of refine as one line of JSON, and back. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "classify/refine_internal.h"

#define GROUPS_SHOWN  20
#define EXAMPLE_BYTES 300

/* Member `key` and a number behind it, with the comma in front. */
static void num(struct kj_buf *b, const char *key, double v)
{
    kj_buf_printf(b, ",\"%s\":", key);
    kj_json_put_real(b, v);
}

/* Six digits are more than a sample of any size has; they make lines short. */
static double rounded(double v)
{
    return round(v * 1e6) / 1e6;
}

static void put_cut(struct kj_buf *b, const char *key, const struct kj_eval_cut *c)
{
    kj_buf_printf(b, ",\"%s\":{\"cut\":", key);
    kj_json_put_real(b, isfinite(c->cut) ? rounded(c->cut) : 1);
    num(b, "precision", rounded(c->precision));
    num(b, "recall", rounded(c->recall));
    num(b, "f1", rounded(c->f1));
    kj_buf_addc(b, '}');
}

static void put_group(struct kj_buf *b, const struct refine_pool *p,
                      const struct refine_group *g, size_t seen)
{
    double share = (double)g->harvest / (double)p->n_harvest;
    kj_buf_addz(b, "{\"group\":");
    kj_json_put_str(b, g->name, g->n);
    num(b, "pool", (double)g->pool);
    num(b, "harvest", (double)g->harvest);
    num(b, "share", rounded(share));
    num(b, "taken", rounded((double)g->harvest / (double)g->pool));
    num(b, "lift", rounded(share / ((double)g->pool / (double)seen)));
    kj_buf_addc(b, '}');
}

static void put_example(struct kj_buf *b, const struct refine_pool *p,
                        const struct refine_pick *k)
{
    const struct refine_group *g = &p->groups[k->group];
    const char *t = p->text.p + k->at;
    size_t n = k->n < EXAMPLE_BYTES ? k->n : EXAMPLE_BYTES;
    while (n > 0 && n < k->n && ((unsigned char)t[n] & 0xC0) == 0x80)
        n--;
    kj_buf_addz(b, "{\"id\":");
    kj_json_put_str(b, p->text.p + k->id_at, k->id_n);
    kj_buf_addz(b, ",\"score\":");
    kj_json_put_float(b, k->key.score);
    kj_buf_addz(b, ",\"group\":");
    kj_json_put_str(b, g->name, g->n);
    kj_buf_addz(b, ",\"text\":");
    kj_json_put_str(b, t, n);
    kj_buf_addc(b, '}');
}

/* The best, and those that came in last: there the doubtful ones are. */
static void put_examples(struct kj_buf *b, const struct kj_refine *o,
                         const struct refine_pool *p)
{
    size_t n = p->n_harvest, show = (size_t)o->examples;
    kj_buf_addz(b, ",\"best\":[");
    for (size_t i = 0; i < show && i < n; i++) {
        if (i)
            kj_buf_addc(b, ',');
        put_example(b, p, &p->picks[i]);
    }
    kj_buf_addz(b, "],\"border\":[");
    for (size_t i = n > show ? n - show : 0; i < n && show; i++) {
        if (i > (n > show ? n - show : 0))
            kj_buf_addc(b, ',');
        put_example(b, p, &p->picks[i]);
    }
    kj_buf_addc(b, ']');
}

int refine_round_json(const struct kj_refine *o, const struct kj_refine_round *r,
                      const struct refine_pool *p, struct kj_buf *b)
{
    size_t seen = 0;
    kj_buf_printf(b, "{\"round\":%lld,\"train\":{\"seed_positives\":%zu",
                  (long long)r->number, r->seed_positives);
    num(b, "seed_negatives", (double)r->seed_negatives);
    num(b, "harvested", (double)r->harvested);
    num(b, "drawn", (double)r->drawn);
    num(b, "epoch", (double)r->epoch);
    num(b, "words", (double)r->words);
    num(b, "loss", rounded(r->loss));
    kj_buf_addc(b, '}');
    if (r->held) {
        kj_buf_printf(b, ",\"held\":{\"docs\":%zu", r->held);
        num(b, "positives", (double)r->held_positives);
        num(b, "average_precision", rounded(r->average_precision));
        put_cut(b, "at", &r->at);
        put_cut(b, "best", &r->best);
        kj_buf_addc(b, '}');
    }
    kj_buf_printf(b, ",\"pool\":{\"docs\":%zu", r->pool);
    num(b, "positive_share", rounded(r->positive_share));
    kj_buf_printf(b, "},\"harvest\":{\"docs\":%zu", r->harvest);
    num(b, "cut", isfinite(r->cut) ? r->cut : NAN);
    num(b, "lowest", r->lowest);
    num(b, "kept", rounded(r->kept));
    kj_buf_addz(b, ",\"groups\":[");
    for (size_t i = 0; i < p->n_groups; i++)
        seen += p->groups[i].pool;
    for (size_t i = 0; i < p->n_groups && i < GROUPS_SHOWN; i++) {
        if (p->groups[i].harvest == 0)
            break;
        if (i)
            kj_buf_addc(b, ',');
        put_group(b, p, &p->groups[i], seen);
    }
    kj_buf_addc(b, ']');
    put_examples(b, o, p);
    kj_buf_addz(b, "},\"stop\":");
    if (r->stop)
        kj_json_put_str(b, r->stop, strlen(r->stop));
    else
        kj_buf_addz(b, "null");
    return kj_buf_addz(b, "}\n");
}

static size_t size_of(const struct kj_jval *v, const char *key)
{
    int64_t n = kj_jint(kj_jget(v, key), 0);
    return n > 0 ? (size_t)n : 0;
}

static struct kj_eval_cut cut_of(const struct kj_jval *v)
{
    return (struct kj_eval_cut){.cut = kj_jnum(kj_jget(v, "cut"), 0),
                                .precision = kj_jnum(kj_jget(v, "precision"), 0),
                                .recall = kj_jnum(kj_jget(v, "recall"), 0),
                                .f1 = kj_jnum(kj_jget(v, "f1"), 0)};
}

int refine_round_load(struct kj_refine_round *r, const char *path, struct kj_err *err)
{
    const struct kj_jval *v;
    struct kj_json *json = kj_json_new();
    int rc = kj_json_load(json, path, (size_t)64 << 20, &v, err);
    if (rc == KJ_OK && !kj_jget(v, "round")) {
        rc = kj_err_set(err, KJ_FAIL, "this is no round of refine");
        kj_err_where(err, path, -1);
    }
    if (rc == KJ_OK) {
        const struct kj_jval *train = kj_jget(v, "train"), *held = kj_jget(v, "held");
        const struct kj_jval *pool = kj_jget(v, "pool"),
                             *harvest = kj_jget(v, "harvest");
        *r = (struct kj_refine_round){
            .number = kj_jint(kj_jget(v, "round"), 0),
            .seed_positives = size_of(train, "seed_positives"),
            .seed_negatives = size_of(train, "seed_negatives"),
            .harvested = size_of(train, "harvested"),
            .drawn = size_of(train, "drawn"),
            .epoch = kj_jint(kj_jget(train, "epoch"), 0),
            .words = kj_jint(kj_jget(train, "words"), 0),
            .loss = kj_jnum(kj_jget(train, "loss"), 0),
            .held = size_of(held, "docs"),
            .held_positives = size_of(held, "positives"),
            .average_precision = kj_jnum(kj_jget(held, "average_precision"), 0),
            .at = cut_of(kj_jget(held, "at")),
            .best = cut_of(kj_jget(held, "best")),
            .pool = size_of(pool, "docs"),
            .positive_share = kj_jnum(kj_jget(pool, "positive_share"), 0),
            .harvest = size_of(harvest, "docs"),
            .cut = kj_jnum(kj_jget(harvest, "cut"), INFINITY),
            .lowest = kj_jnum(kj_jget(harvest, "lowest"), NAN),
            .kept = kj_jnum(kj_jget(harvest, "kept"), NAN),
            .restored = true};
    }
    kj_json_free(json);
    return rc;
}

int refine_harvest_json(const struct refine_pool *p, struct kj_buf *out)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < p->n_harvest && rc == KJ_OK; i++) {
        const struct refine_pick *k = &p->picks[i];
        const struct refine_group *g = &p->groups[k->group];
        rc = kj_buf_addz(out, "{\"id\":");
        if (rc == KJ_OK)
            rc = kj_json_put_str(out, p->text.p + k->id_at, k->id_n);
        if (rc == KJ_OK)
            rc = kj_buf_addz(out, ",\"score\":");
        if (rc == KJ_OK)
            rc = kj_json_put_float(out, k->key.score);
        if (rc == KJ_OK)
            rc = kj_buf_addz(out, ",\"group\":");
        if (rc == KJ_OK)
            rc = kj_json_put_str(out, g->name, g->n);
        if (rc == KJ_OK)
            rc = kj_buf_addz(out, "}\n");
    }
    return rc;
}
