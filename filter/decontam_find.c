/* decontam_find.c - the search for benchmark parts (decontam.h tells the method).
 *
 * Windows of the document come from prefix sums of the polynomial; each that is
 * in the index is expanded both ways along its part, once for each place. */
#include "filter/decontam_internal.h"

#include <stdlib.h>
#include <string.h>

#define COMMON      64 /* more parts than that: no evidence */
#define GAP         8
#define SURE_WORDS  14.0
#define WHOLE_WORDS 4.0

/* Units of the part that were found so far in one neighbourhood. */
struct candidate {
    uint32_t part, matched;
    size_t first, last; /* units of the document */
    size_t marks;       /* offset in marks */
    double best;        /* and where */
    size_t bfirst, blast;
};

struct kj_decontam_state {
    const struct kj_decontam *d;
    struct units u;
    uint64_t *prefix, *power;
    size_t cap;
    uint32_t *slot; /* by part: 1 + candidate */
    struct candidate *cands;
    size_t n_cands, cap_cands;
    char *marks;
    size_t n_marks, cap_marks;
};

struct kj_decontam_state *kj_decontam_state_new(const struct kj_decontam *d)
{
    struct kj_decontam_state *s = kj_xcalloc(1, sizeof *s);
    s->d = d;
    s->slot = kj_xcalloc(d->n_parts + 1, sizeof *s->slot);
    return s;
}

void kj_decontam_state_free(struct kj_decontam_state *s)
{
    if (!s)
        return;
    free(s->u.v);
    free(s->prefix);
    free(s->power);
    free(s->slot);
    free(s->cands);
    free(s->marks);
    free(s);
}

static double score_of(const struct part *p, uint32_t matched)
{
    double overlap = (double)matched / p->weight,
           words = (double)p->weight / KJ_UNIT_WORD;
    if (words >= SURE_WORDS || matched == p->weight)
        return overlap;
    if (words <= WHOLE_WORDS)
        return 0;
    /* What is lacking counts more, without bound towards WHOLE_WORDS. */
    double lack = (1 - overlap) * (SURE_WORDS - WHOLE_WORDS) / (words - WHOLE_WORDS);
    return lack < 1 ? 1 - lack : 0;
}

static struct candidate *candidate_of(struct kj_decontam_state *s, uint32_t part,
                                      size_t at)
{
    const struct part *p = &s->d->parts[part];
    struct candidate *c;
    if (!s->slot[part]) {
        s->cands =
            kj_decontam_room(s->cands, s->n_cands, &s->cap_cands, sizeof *s->cands);
        c = &s->cands[s->n_cands++];
        *c = (struct candidate){
            .part = part, .first = at, .last = at, .marks = s->n_marks};
        s->slot[part] = (uint32_t)s->n_cands;
        s->n_marks += p->n;
        if (s->n_marks > s->cap_marks) {
            s->cap_marks = 2 * s->n_marks;
            s->marks = kj_xrealloc(s->marks, s->cap_marks);
        }
        memset(s->marks + c->marks, 0, p->n);
        return c;
    }
    c = &s->cands[s->slot[part] - 1];
    if (at > c->first + 3 * p->n + 64) { /* another place of the document */
        memset(s->marks + c->marks, 0, p->n);
        c->matched = 0;
        c->first = c->last = at;
    }
    return c;
}

/* Does the alignment go on at (i, j)? Two units in a row, the last one, or one
 * alone behind a single foreign word: the letters before choices. */
static bool resumes(const struct unit *doc, size_t n, const struct unit *item, size_t m,
                    long i, long j, long step, bool alone)
{
    if (i < 0 || j < 0 || (size_t)i >= n || (size_t)j >= m ||
        doc[i].hash != item[j].hash)
        return false;
    long i2 = i + step, j2 = j + step;
    if (alone || j2 < 0 || (size_t)j2 >= m)
        return true;
    return i2 >= 0 && (size_t)i2 < n && doc[i2].hash == item[j2].hash;
}

/* Walk from (i, j) along both, over small gaps; mark what agrees. */
static void expand(struct kj_decontam_state *s, struct candidate *c, long i, long j,
                   long step)
{
    const struct part *p = &s->d->parts[c->part];
    const struct unit *doc = s->u.v, *item = s->d->pool.v + p->first;
    char *mark = s->marks + c->marks;
    while (i >= 0 && j >= 0 && (size_t)i < s->u.n && (size_t)j < p->n) {
        if (doc[i].hash == item[j].hash) {
            if (!mark[j])
                c->matched += item[j].weight;
            mark[j] = 1;
            c->first = (size_t)i < c->first ? (size_t)i : c->first;
            c->last = (size_t)i > c->last ? (size_t)i : c->last;
            i += step;
            j += step;
            continue;
        }
        bool found = false;
        for (long sum = 1; sum <= 2 * GAP && !found; sum++)
            for (long dj = sum < GAP ? 0 : sum - GAP; dj <= sum && dj <= GAP; dj++)
                if (resumes(doc, s->u.n, item, p->n, i + step * (sum - dj),
                            j + step * dj, step, sum == 1 && dj == 0)) {
                    i += step * (sum - dj);
                    j += step * dj;
                    found = true;
                    break;
                }
        if (!found)
            return;
    }
}

static void hit(struct kj_decontam_state *s, const struct posting *p, size_t at)
{
    struct candidate *c = candidate_of(s, p->part, at);
    /* Seen on the way from an earlier window. */
    if (s->marks[c->marks + p->at] && at <= c->last)
        return;
    expand(s, c, (long)at, p->at, 1);
    expand(s, c, (long)at - 1, (long)p->at - 1, -1);
    double score = score_of(&s->d->parts[c->part], c->matched);
    if (score > c->best) {
        c->best = score;
        c->bfirst = c->first;
        c->blast = c->last;
    }
}

static void scan(struct kj_decontam_state *s)
{
    const struct kj_decontam *d = s->d;
    const struct unit *u = s->u.v;
    size_t n = s->u.n, end = 0;
    uint32_t w = 0;
    if (n >= s->cap) {
        s->cap = n + n / 2 + 64;
        s->prefix = kj_xrealloc(s->prefix, s->cap * sizeof *s->prefix);
    }
    if (!s->power) {
        s->power = kj_xmalloc((KJ_WINDOW + 1) * sizeof *s->power);
        s->power[0] = 1;
        for (int i = 1; i <= KJ_WINDOW; i++)
            s->power[i] = s->power[i - 1] * KJ_POLY;
    }
    s->prefix[0] = 0;
    for (size_t i = 0; i < n; i++)
        s->prefix[i + 1] = s->prefix[i] * KJ_POLY + u[i].hash;
    for (size_t i = 0; i < n; i++) {
        while (end < n && w < KJ_WINDOW)
            w += u[end++].weight;
        if (w < KJ_WINDOW)
            break;
        uint64_t h =
            kj_decontam_spread(s->prefix[end] - s->prefix[i] * s->power[end - i]);
        w -= u[i].weight;
        if (!kj_decontam_maybe(d, h))
            continue;
        const struct posting *p = kj_decontam_head(d, h);
        if (!p || p->count > COMMON)
            continue;
        for (;; p = &d->posts[p->next - 1]) {
            hit(s, p, i);
            if (!p->next)
                break;
        }
    }
}

/* Units that touch are one word: neither edge of a short part may split one. */
static bool edge(const struct units *u, size_t i)
{
    return i == 0 || i >= u->n || u->v[i - 1].end != u->v[i].start;
}

/* Parts below a window count as a whole, between edges of words. */
static void scan_short(struct kj_decontam_state *s)
{
    const struct kj_decontam *d = s->d;
    const struct unit *u = s->u.v;
    for (size_t i = 0; i < s->u.n; i++) {
        uint32_t w = 0;
        if (!edge(&s->u, i))
            continue;
        for (size_t end = i; end < s->u.n && (w += u[end].weight) < KJ_WINDOW;) {
            ++end;
            if (w < KJ_SHORT_MIN || !edge(&s->u, end))
                continue;
            uint64_t h =
                kj_decontam_spread(s->prefix[end] - s->prefix[i] * s->power[end - i]);
            const struct posting *p =
                kj_decontam_maybe(d, h) ? kj_decontam_head(d, h) : NULL;
            if (p && p->count <= COMMON)
                for (;; p = &d->posts[p->next - 1]) {
                    hit(s, p, i);
                    if (!p->next)
                        break;
                }
        }
    }
}

size_t kj_decontam_find(struct kj_decontam_state *s, const char *p, size_t n,
                        double threshold, struct kj_decontam_hit *hits, size_t max,
                        double *best)
{
    size_t k = 0;
    s->u.n = 0;
    *best = 0;
    kj_decontam_units(&s->u, p, n);
    scan(s);
    if (s->d->any_short)
        scan_short(s);
    for (size_t i = 0; i < s->n_cands; i++) {
        const struct candidate *c = &s->cands[i];
        const struct item *it = &s->d->items[s->d->parts[c->part].item];
        s->slot[c->part] = 0;
        *best = c->best > *best ? c->best : *best;
        if (c->best < threshold || c->best <= 0)
            continue;
        size_t at = k < max ? k++ : max;
        for (; at && hits[at - 1].score < c->best; at--)
            if (at < max)
                hits[at] = hits[at - 1];
        if (at < max)
            hits[at] =
                (struct kj_decontam_hit){it->name, it->id, c->best,
                                         s->u.v[c->bfirst].start, s->u.v[c->blast].end};
    }
    s->n_cands = 0;
    s->n_marks = 0;
    return k;
}
