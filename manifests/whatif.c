/* whatif.c - replays one stage over the stored values.
 *
 * decisions, signals and documents are all keyed by the document's number, so
 * three cursors in that order are merged: nothing is looked up by key, and the
 * file is read once, in order. A million documents with 27 values each take a
 * few seconds, nearly all of it SQLite stepping through the signals.
 */
#include "manifests/whatif_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* One document, as the three cursors give it. */
struct subject {
    int64_t doc, rule, cutset, language, source;
    bool reached, kept, later_out; /* by the stage; by a later one */
    double bytes, tokens;
};

static void add(struct kj_total *t, const struct subject *s)
{
    t->docs++;
    t->bytes += s->bytes;
    t->tokens += s->tokens;
}

static void near(struct kj_replay *r, const struct kj_wcut *c, const struct subject *s,
                 bool was, bool now)
{
    struct kj_wchange *w = &r->changes[c->change];
    double v = r->value[c->rule], d = fabs(v - c->now);
    size_t max = r->ask->examples < KJ_WHATIF_EXAMPLES_MAX ? r->ask->examples
                                                           : KJ_WHATIF_EXAMPLES_MAX;
    struct kj_wexample *e = w->near[now];
    size_t *n = &w->n_near[now], i;
    if (!max || (*n == max && d >= e[max - 1].distance))
        return;
    for (i = *n < max ? (*n)++ : max - 1; i && d < e[i - 1].distance; i--)
        e[i] = e[i - 1];
    e[i] = (struct kj_wexample){d, v, s->doc, was, now};
}

static void sweep_point(struct kj_replay *r, const struct subject *s, bool measured)
{
    if (!measured) {
        add(&r->base, s);
        return;
    }
    if (r->n_points == r->cap_points) {
        r->cap_points = r->cap_points ? 2 * r->cap_points : 4096;
        r->points = kj_xrealloc(r->points, r->cap_points * sizeof *r->points);
    }
    r->points[r->n_points++] =
        (struct kj_wpoint){r->value[r->sweep_rule], s->bytes, s->tokens};
}

static int tell(struct kj_replay *r, const struct subject *s, const struct kj_wcut *c,
                bool gained)
{
    sqlite3_stmt *st;
    struct kj_buf b;
    bool row = false;
    int rc = kj_db_query(r->l, &st, r->err,
                         "SELECT d.id, d.url, l.code, (SELECT name FROM rules WHERE"
                         " rule = ?2) FROM documents d LEFT JOIN languages l USING"
                         " (language) WHERE doc = ?1",
                         "ii", s->doc, c->rule);
    if (rc == KJ_OK)
        rc = kj_replay_step(r, st, &row);
    kj_buf_init(&b, 1 << 20);
    static const char *const keys[] = {
        "{\"id\":", ",\"url\":", ",\"language\":", ",\"rule\":"};
    for (int i = 0; rc == KJ_OK && row && i < 4; i++) {
        const char *z = (const char *)sqlite3_column_text(st, i);
        if (i == 3)
            kj_buf_addz(&b, gained ? ",\"change\":\"gained\"" : ",\"change\":\"lost\"");
        if (z || i == 0) {
            kj_buf_addz(&b, keys[i]);
            kj_json_put_str(&b, z ? z : "", z ? strlen(z) : 0);
        }
    }
    sqlite3_finalize(st);
    if (rc == KJ_OK) {
        kj_buf_addz(&b, ",\"value\":");
        kj_json_put_real(&b, r->value[c->rule]);
        kj_buf_addz(&b, "}\n");
        rc = r->ask->each(r->ask->ctx, b.p, b.n, r->err);
    }
    kj_buf_release(&b);
    return rc;
}

static void note_mismatch(struct kj_replay *r, const struct subject *s)
{
    if (r->mismatches++ == 0)
        snprintf(r->mismatch, sizeof r->mismatch, "document number %lld",
                 (long long)s->doc);
}

/* The stage's verdict on s, then and now. */
static int judge(struct kj_replay *r, const struct subject *s)
{
    const struct kj_wset *set = &r->sets[s->cutset];
    const struct kj_wcut *was = NULL, *now = NULL, *reason = NULL;
    size_t fails = 0, swept_fails = 0, swept = 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct kj_wcut *c = set->cuts[i];
        double v = r->value[c->rule];
        reason = c->rule == s->rule ? c : reason;
        if (!was && kj_cut_fails(c->op, c->was, v))
            was = c;
        swept += c->swept;
        if (c->off || !kj_cut_fails(c->op, c->now, v))
            continue;
        fails++;
        swept_fails += c->swept;
        now = now ? now : c;
    }
    /* Of values that equal the cut some were dropped: "the best tenth" ends among
     * them. They go as they went, unless there is another cut. */
    if (!was && !s->kept && reason && r->value[reason->rule] == reason->was) {
        was = reason;
        if (reason->change < 0) {
            now = now ? now : reason;
            fails++;
            swept_fails += reason->swept;
        }
    }
    if (!s->kept && !reason) { /* by no cut: damage, or too large to be measured */
        r->fixed++;
        return KJ_OK;
    }
    if (!r->mark && ((was != NULL) == s->kept || (was && was->rule != s->rule)))
        note_mismatch(r, s);
    r->valued++;
    for (size_t i = 0; i < r->ask->n; i++) {
        struct kj_wchange *w = &r->changes[i];
        bool there = false;
        for (size_t k = 0; k < set->n; k++) {
            const struct kj_wcut *c = set->cuts[k];
            if (c->change != (int)i)
                continue;
            there = true;
            bool f = !c->off && kj_cut_fails(c->op, c->now, r->value[c->rule]);
            if (fails == (size_t)f)
                near(r, c, s, !was, !now);
        }
        w->uncovered += !there && w->off_somewhere;
    }
    if (fails == swept_fails && r->ask->sweep)
        sweep_point(r, s, swept > 0);
    if (!was)
        add(&r->before, s);
    if (!now)
        add(&r->after, s);
    if (!was == !now)
        return KJ_OK;
    bool lost = now != NULL;
    add(lost ? &r->lost : &r->gained, s);
    add(&r->by_language[lost][s->language], s);
    add(&r->by_source[lost][s->source], s);
    if (lost && s->later_out)
        add(&r->lost_later, s);
    return r->ask->each ? tell(r, s, lost ? now : was, !lost) : KJ_OK;
}

static bool has_values(const struct kj_replay *r, const struct subject *s)
{
    const struct kj_wset *set = &r->sets[s->cutset];
    for (size_t i = 0; i < set->n; i++)
        if (r->stamp[set->cuts[i]->rule] != s->doc)
            return false;
    return true;
}

/* A row of decisions into the subject. */
static void take_decision(const struct kj_replay *r, sqlite3_stmt *st,
                          struct subject *s)
{
    int64_t stage = sqlite3_column_int64(st, 1);
    bool kept = sqlite3_column_int(st, 2);
    int role = stage <= r->n_stages ? r->role[stage] : KJ_ROLE_NONE;
    if (role == KJ_ROLE_STAGE || role == KJ_ROLE_FLOW) {
        s->reached = true;
        s->kept = role == KJ_ROLE_FLOW || kept;
        s->rule = s->kept ? 0 : sqlite3_column_int64(st, 3);
        s->cutset = sqlite3_column_int64(st, 4);
    }
    s->later_out |= role > KJ_ROLE_STAGE && !kept;
}

struct cursors {
    sqlite3_stmt *decisions, *signals, *documents;
    bool row[3];
};

static int subject_of(struct kj_replay *r, struct cursors *c, struct subject *s)
{
    int rc = KJ_OK;
    *s = (struct subject){.doc = sqlite3_column_int64(c->decisions, 0)};
    while (rc == KJ_OK && c->row[0] &&
           sqlite3_column_int64(c->decisions, 0) == s->doc) {
        take_decision(r, c->decisions, s);
        rc = kj_replay_step(r, c->decisions, &c->row[0]);
    }
    while (rc == KJ_OK && c->row[1] && sqlite3_column_int64(c->signals, 0) <= s->doc) {
        int64_t rule = sqlite3_column_int64(c->signals, 1);
        if (rule >= 0 && rule <= r->n_rules) {
            r->stamp[rule] = sqlite3_column_int64(c->signals, 0);
            r->value[rule] = sqlite3_column_double(c->signals, 2);
        }
        rc = kj_replay_step(r, c->signals, &c->row[1]);
    }
    while (rc == KJ_OK && c->row[2] && sqlite3_column_int64(c->documents, 0) < s->doc)
        rc = kj_replay_step(r, c->documents, &c->row[2]);
    if (rc == KJ_OK && c->row[2] && sqlite3_column_int64(c->documents, 0) == s->doc) {
        s->bytes = sqlite3_column_double(c->documents, 1);
        s->language = sqlite3_column_int64(c->documents, 3);
        s->source = sqlite3_column_int64(c->documents, 4);
        s->tokens = r->ask->bytes_per_token > 0 ||
                            sqlite3_column_type(c->documents, 2) == SQLITE_NULL
                        ? s->bytes / r->ratio[s->language]
                        : sqlite3_column_double(c->documents, 2);
    }
    return rc;
}

static int merge(struct kj_replay *r, struct cursors *c)
{
    struct subject s;
    int rc = kj_replay_step(r, c->decisions, &c->row[0]);
    if (rc == KJ_OK)
        rc = kj_replay_step(r, c->signals, &c->row[1]);
    if (rc == KJ_OK)
        rc = kj_replay_step(r, c->documents, &c->row[2]);
    while (rc == KJ_OK && c->row[0]) {
        rc = subject_of(r, c, &s);
        if (rc || !s.reached)
            continue;
        r->n_docs++;
        if (!has_values(r, &s))
            r->unvalued++;
        else
            rc = judge(r, &s);
    }
    return rc;
}

int kj_replay_run(struct kj_replay *r)
{
    struct cursors c = {0};
    int rc = kj_db_query(r->l, &c.decisions, r->err,
                         "SELECT doc, stage, kept, rule, cutset FROM decisions ORDER BY"
                         " doc, stage",
                         "");
    if (rc == KJ_OK)
        rc = kj_db_query(r->l, &c.signals, r->err,
                         "SELECT doc, rule, value FROM signals ORDER BY doc, rule", "");
    if (rc == KJ_OK)
        rc = kj_db_query(r->l, &c.documents, r->err,
                         "SELECT doc, bytes, tokens, language, source FROM documents"
                         " ORDER BY doc",
                         "");
    if (rc == KJ_OK)
        rc = merge(r, &c);
    sqlite3_finalize(c.decisions);
    sqlite3_finalize(c.signals);
    sqlite3_finalize(c.documents);
    if (rc == KJ_OK && r->unvalued && r->share >= 1)
        rc = kj_err_set(r->err, KJ_FAIL,
                        "%llu of %llu documents lack values that were compared",
                        (unsigned long long)r->unvalued, (unsigned long long)r->n_docs);
    if (rc == KJ_OK && r->n_docs && r->share <= 0)
        rc = kj_err_set(r->err, KJ_FAIL,
                        "the run kept no values (--signals none): nothing to replay");
    if (rc == KJ_OK && r->mismatches)
        rc = kj_err_set(r->err, KJ_FAIL,
                        "the stored values do not give the decisions on %llu documents"
                        " (the first: %s): they were measured again later, by another"
                        " stage or run",
                        (unsigned long long)r->mismatches, r->mismatch);
    return rc;
}
