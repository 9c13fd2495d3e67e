/* whatif_curve.c - the curve of a rule: what stays at every cut.
 *
 * Each document that the swept rule decides is a point: it stays at every cut
 * from its own value on, whatever else is changed. Sorted, with running totals,
 * the points are the curve; a cut's row is found by bisection. */
#include "manifests/whatif_internal.h"

#include <math.h>
#include <stdlib.h>

#define CURVE_ROWS 20

static int by_value(const void *a, const void *b)
{
    const struct kj_wpoint *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Sort so that looser cuts come later; totals become running ones. */
static void accumulate(struct kj_replay *r)
{
    struct kj_total t = r->base;
    if (r->n_points) /* else there is no array */
        qsort(r->points, r->n_points, sizeof *r->points, by_value);
    if (r->sweep_op == '<') /* keeps values from the cut up: the largest first */
        for (size_t i = 0, k = r->n_points; i + 1 < k; i++) {
            struct kj_wpoint p = r->points[i];
            r->points[i] = r->points[--k];
            r->points[k] = p;
        }
    for (size_t i = 0; i < r->n_points; i++) {
        r->points[i].bytes = t.bytes += r->points[i].bytes;
        r->points[i].tokens = t.tokens += r->points[i].tokens;
    }
}

/* What stays at cut t. */
static struct kj_wrow row_at(const struct kj_replay *r, double t, bool now)
{
    size_t lo = 0, hi = r->n_points;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        double v = r->points[mid].value;
        if (r->sweep_op == '<' ? v >= t : v <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (struct kj_wrow){.cut = t,
                            .now = now,
                            .kept = {r->base.docs + (double)lo,
                                     lo ? r->points[lo - 1].bytes : r->base.bytes,
                                     lo ? r->points[lo - 1].tokens : r->base.tokens}};
}

/* The rule's cuts as they are now. */
static size_t now_cuts(const struct kj_replay *r, double *t, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_cuts; i++) {
        bool known = !r->cuts[i].swept || r->cuts[i].off || isnan(r->cuts[i].now);
        for (size_t k = 0; k < n && !known; k++)
            known = t[k] == r->cuts[i].now;
        if (!known && n < max)
            t[n++] = r->cuts[i].now;
    }
    return n;
}

static int by_cut(const void *a, const void *b)
{
    const struct kj_wrow *x = a, *y = b;
    return (x->cut > y->cut) - (x->cut < y->cut);
}

size_t kj_whatif_curve(struct kj_replay *r, struct kj_wrow *rows)
{
    double now[KJ_CURVE_ROWS_MAX - CURVE_ROWS - 1];
    size_t n = now_cuts(r, now, sizeof now / sizeof *now), k = 0;
    accumulate(r);
    if (!r->n_points)
        return 0;
    for (size_t i = 0; i < n; i++)
        rows[k++] = row_at(r, now[i], true);
    for (size_t i = 0; i <= CURVE_ROWS; i++) { /* at equal shares of documents */
        double t = r->points[i * (r->n_points - 1) / CURVE_ROWS].value;
        bool known = false;
        for (size_t m = 0; m < k && !known; m++)
            known = rows[m].cut == t;
        if (!known)
            rows[k++] = row_at(r, t, false);
    }
    qsort(rows, k, sizeof *rows, by_cut);
    if (r->sweep_op == '<') /* from the strictest to the loosest */
        for (size_t i = 0, j = k; i + 1 < j; i++) {
            struct kj_wrow x = rows[i];
            rows[i] = rows[--j];
            rows[j] = x;
        }
    return k;
}

const char *kj_whatif_budget(const struct kj_replay *r, double tokens,
                             struct kj_wrow *row)
{
    size_t lo = 0, n = r->n_points;
    if (r->base.tokens > tokens)
        return "documents that this rule does not touch have more";
    if (!n || r->points[n - 1].tokens <= tokens)
        return "not reached, not even with the rule off";
    while (lo < n && r->points[lo].tokens <= tokens)
        lo++;
    /* Equal values stand or fall together. */
    while (lo && r->points[lo - 1].value == r->points[lo].value)
        lo--;
    if (!lo)
        return "even the documents at the far end of the rule have more";
    *row = row_at(r, r->points[lo - 1].value, false);
    return NULL;
}
