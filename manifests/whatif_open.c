/* whatif_open.c - what is replayed: the stage that is asked about with its twins in other
 * shards, what the other stages are to it, its cuts then and now, the sets of them that
 * documents met, and how many bytes a token has in each language.
 */
#include "manifests/whatif_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kj_replay_step(struct kj_replay *r, sqlite3_stmt *st, bool *row)
{
    int s = sqlite3_step(st);
    *row = s == SQLITE_ROW;
    return s == SQLITE_ROW || s == SQLITE_DONE ? KJ_OK
                                               : kj_db_fail(r->l, "ledger", r->err);
}

static char *text_of(struct kj_replay *r, const char *sql, int64_t a)
{
    sqlite3_stmt *st;
    char *z = NULL;
    bool row;
    if (kj_db_query(r->l, &st, r->err, sql, "i", a) == KJ_OK &&
        kj_replay_step(r, st, &row) == KJ_OK && row && sqlite3_column_text(st, 0))
        z = kj_xstrdup((const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    return z ? z : kj_xstrdup("");
}

/* ---- which stage ---- */

/* The newest stage with a rule of this name. "a.b" also finds "a.min_b" (for
 * what keeps large values) and "a.max_b". */
static int find_rule(struct kj_replay *r, const char *name, char keep, int64_t *rule,
                     int64_t *stage)
{
    const char *dot = strchr(name, '.');
    char other[300];
    for (int k = 0; k < 2; k++) {
        if (k && (!dot || keep == '='))
            break;
        if (k)
            snprintf(other, sizeof other, "%.*s.%s%s", (int)(dot - name), name,
                     keep == '>' ? "min_" : "max_", dot + 1);
        *rule = *stage = 0;
        int rc = kj_db_int(r->l, rule, r->err, "SELECT rule FROM rules WHERE name = ?",
                           "s", k ? other : name);
        if (rc == KJ_OK && *rule)
            rc = kj_db_int(r->l, stage, r->err,
                           "SELECT max(stage) FROM cuts WHERE rule = ? AND op IN"
                           " ('<', '>', '<=', '>=')",
                           "i", *rule);
        if (rc || *stage)
            return rc;
    }
    return kj_err_set(
        r->err, KJ_USAGE,
        "no stage of this ledger has a cut on '%s', so there are no values"
        " to try another one on",
        name);
}

static int choose_stage(struct kj_replay *r)
{
    const struct kj_whatif *a = r->ask;
    int64_t stage;
    r->changes = kj_xcalloc(a->n + 1, sizeof *r->changes);
    for (size_t i = 0; i < a->n + (a->sweep != NULL); i++) {
        bool sweep = i == a->n;
        int64_t *rule = sweep ? &r->sweep_rule : &r->changes[i].rule;
        int rc = find_rule(r, sweep ? a->sweep : a->changes[i].rule,
                           sweep ? '=' : a->changes[i].keep, rule, &stage);
        if (rc)
            return rc;
        if (r->stage && stage != r->stage)
            return kj_err_set(r->err, KJ_USAGE,
                              "'%s' belongs to another stage than the rules before it:"
                              " ask for one stage at a time",
                              sweep ? a->sweep : a->changes[i].rule);
        r->stage = stage;
        for (size_t k = 0; k < i && !sweep; k++)
            if (r->changes[k].rule == *rule)
                return kj_err_set(r->err, KJ_USAGE, "'%s' is asked for twice",
                                  a->changes[i].rule);
    }
    if (!r->stage) /* nothing asked: the newest stage with cuts; of a pipe, whose
                    * processes come in any order, the last that has some */
        return kj_db_int(
            r->l, &r->stage, r->err,
            "WITH RECURSIVE c AS (SELECT stage, run, max(threshold IS NOT NULL) AS at"
            " FROM cuts JOIN stages USING (stage) WHERE op IN ('<','>','<=','>=')"
            " GROUP BY stage), before(run) AS (SELECT r.parent FROM c JOIN runs r USING"
            " (run) WHERE c.at UNION SELECT r.parent FROM before JOIN runs r USING"
            " (run)) SELECT stage FROM c ORDER BY at DESC, run IN (SELECT run FROM"
            " before WHERE run IS NOT NULL), stage DESC LIMIT 1",
            "");
    return KJ_OK;
}

/* What each stage of the ledger is to the one replayed. */
static int load_roles(struct kj_replay *r)
{
    sqlite3_stmt *st;
    bool row = true;
    int rc = kj_db_int(r->l, &r->n_stages, r->err, "SELECT max(stage) FROM stages", "");
    if (rc)
        return rc;
    r->role = kj_xcalloc((size_t)r->n_stages + 1, 1);
    /* me: the stage and, of a sharded run, its twin in each other shard (the
     * last run of that shard); runs behind: those that read the output. */
    rc = kj_db_query(
        r->l, &st, r->err,
        "WITH RECURSIVE s AS (SELECT s.*, r.name AS command, r.shard, r.config_hash,"
        " substr(r.shard, instr(r.shard, '/')) AS of FROM stages s JOIN runs r USING"
        " (run) WHERE stage = ?1), me AS (SELECT max(t.stage) AS stage FROM s, stages t"
        " JOIN runs r ON r.run = t.run WHERE t.phase = s.phase AND t.ordinal ="
        " s.ordinal AND t.name = s.name AND (t.stage = s.stage OR (s.shard IS NOT NULL"
        " AND r.name = s.command AND r.config_hash = s.config_hash AND r.shard !="
        " s.shard AND substr(r.shard, instr(r.shard, '/')) = s.of)) GROUP BY r.shard),"
        " mine AS (SELECT t.* FROM me JOIN stages t USING (stage)),"
        " behind(run) AS (SELECT r.run FROM runs r JOIN mine ON r.parent = mine.run"
        " UNION SELECT r.run FROM runs r JOIN behind b ON r.parent = b.run)"
        " SELECT t.stage, CASE WHEN t.stage IN (SELECT stage FROM me) THEN 1"
        " WHEN m.run IS NOT NULL AND t.phase = m.phase THEN (t.ordinal > m.ordinal) * 2"
        " WHEN m.run IS NOT NULL THEN (t.stage > m.stage) * 3"
        " WHEN t.run IN (SELECT run FROM behind) THEN 3 ELSE 0 END"
        " FROM stages t LEFT JOIN mine m ON m.run = t.run",
        "i", r->stage);
    while (rc == KJ_OK && (rc = kj_replay_step(r, st, &row)) == KJ_OK && row)
        r->role[sqlite3_column_int64(st, 0)] = (char)sqlite3_column_int(st, 1);
    sqlite3_finalize(st);
    return rc;
}

/* ---- its cuts ---- */

static void apply_change(struct kj_replay *r, struct kj_wcut *c)
{
    c->change = -1;
    c->now = c->was;
    c->swept = r->ask->sweep && c->rule == r->sweep_rule && strcmp(c->op, "off") != 0;
    if (c->swept)
        r->sweep_op = c->op[0];
    for (size_t i = 0; i < r->ask->n; i++) {
        struct kj_wchange *w = &r->changes[i];
        if (w->rule != c->rule)
            continue;
        if (strcmp(c->op, "off") == 0) {
            w->off_somewhere |= !r->ask->changes[i].off;
            return;
        }
        c->change = (int)i;
        c->off = r->ask->changes[i].off;
        if (!c->off)
            c->now = r->ask->changes[i].threshold;
        w->places++;
    }
}

static int load_cuts(struct kj_replay *r)
{
    sqlite3_stmt *st;
    bool row = true;
    size_t cap = 0;
    int rc = kj_db_query(r->l, &st, r->err,
                         "SELECT cut, stage, ordinal, rule, op, threshold FROM cuts"
                         " ORDER BY cut",
                         "");
    while (rc == KJ_OK && (rc = kj_replay_step(r, st, &row)) == KJ_OK && row) {
        int64_t stage = sqlite3_column_int64(st, 1);
        if (stage > r->n_stages || r->role[stage] != KJ_ROLE_STAGE)
            continue;
        if (r->n_cuts == cap) {
            cap = cap ? 2 * cap : 64;
            r->cuts = kj_xrealloc(r->cuts, cap * sizeof *r->cuts);
        }
        struct kj_wcut *c = &r->cuts[r->n_cuts++];
        memset(c, 0, sizeof *c);
        c->id = sqlite3_column_int64(st, 0);
        c->ordinal = sqlite3_column_int64(st, 2);
        c->rule = sqlite3_column_int64(st, 3);
        const unsigned char *op = sqlite3_column_text(st, 4);
        snprintf(c->op, sizeof c->op, "%s", op ? (const char *)op : "");
        c->was = sqlite3_column_type(st, 5) == SQLITE_NULL
                     ? NAN
                     : sqlite3_column_double(st, 5);
        apply_change(r, c);
    }
    sqlite3_finalize(st);
    for (size_t i = 0; i < r->n_cuts && rc == KJ_OK; i++) {
        const struct kj_wcut *c = &r->cuts[i];
        const struct kj_whatif_change *a =
            c->change < 0 ? NULL : &r->ask->changes[c->change];
        if (a && a->keep != '=' && (a->keep == '>') != (c->op[0] == '<'))
            rc = kj_err_set(r->err, KJ_USAGE,
                            "%s drops what is %s its cut: write %s%s=VALUE", a->rule,
                            c->op[0] == '<' ? "below" : "above", a->rule,
                            c->op[0] == '<' ? ">" : "<");
    }
    return rc;
}

static struct kj_wcut *cut_of(struct kj_replay *r, int64_t id)
{
    size_t lo = 0, hi = r->n_cuts;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r->cuts[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->n_cuts && r->cuts[lo].id == id ? &r->cuts[lo] : NULL;
}

/* "12-25,27" */
static void read_set(struct kj_replay *r, struct kj_wset *s, const char *z)
{
    while (z && *z) {
        char *end;
        long long a = strtoll(z, &end, 10), b = a;
        if (*end == '-')
            b = strtoll(end + 1, &end, 10);
        for (size_t i = 0; i < r->n_cuts; i++) {
            struct kj_wcut *c = &r->cuts[i];
            if (c->id < a || c->id > b)
                continue;
            s->cuts = kj_xrealloc(s->cuts, (s->n + 1) * sizeof(struct kj_wcut *));
            s->cuts[s->n++] = cut_of(r, c->id);
        }
        z = *end == ',' ? end + 1 : NULL;
    }
}

static int load_sets(struct kj_replay *r)
{
    sqlite3_stmt *st;
    bool row = true;
    int rc = kj_db_int(r->l, &r->n_sets, r->err, "SELECT max(cutset) FROM cutsets", "");
    if (rc)
        return rc;
    r->sets = kj_xcalloc((size_t)r->n_sets + 1, sizeof *r->sets);
    rc = kj_db_query(r->l, &st, r->err, "SELECT cutset, cuts FROM cutsets", "");
    while (rc == KJ_OK && (rc = kj_replay_step(r, st, &row)) == KJ_OK && row)
        read_set(r, &r->sets[sqlite3_column_int64(st, 0)],
                 (const char *)sqlite3_column_text(st, 1));
    sqlite3_finalize(st);
    return rc;
}

/* ---- tokens ---- */

/* Bytes per token, by language, where documents have been counted. */
static int load_ratios(struct kj_replay *r)
{
    sqlite3_stmt *st;
    bool row = true;
    double bytes = 0, tokens = 0;
    int rc = kj_db_int(r->l, &r->n_languages, r->err,
                       "SELECT max(language) FROM languages", "");
    if (rc == KJ_OK)
        rc = kj_db_int(r->l, &r->n_sources, r->err, "SELECT max(source) FROM sources",
                       "");
    if (rc)
        return rc;
    r->ratio = kj_xcalloc((size_t)r->n_languages + 1, sizeof *r->ratio);
    for (int k = 0; k < 2; k++) {
        r->by_language[k] =
            kj_xcalloc((size_t)r->n_languages + 1, sizeof *r->by_language[k]);
        r->by_source[k] = kj_xcalloc((size_t)r->n_sources + 1, sizeof *r->by_source[k]);
    }
    rc = kj_db_query(r->l, &st, r->err,
                     "SELECT coalesce(language, 0), sum(bytes), sum(tokens) FROM"
                     " documents WHERE tokens > 0 GROUP BY 1",
                     "");
    while (rc == KJ_OK && (rc = kj_replay_step(r, st, &row)) == KJ_OK && row) {
        double b = sqlite3_column_double(st, 1), t = sqlite3_column_double(st, 2);
        r->ratio[sqlite3_column_int64(st, 0)] = b / t;
        bytes += b;
        tokens += t;
    }
    sqlite3_finalize(st);
    r->measured = tokens > 0 && !(r->ask->bytes_per_token > 0);
    r->ratio_all = r->ask->bytes_per_token > 0 ? r->ask->bytes_per_token
                   : tokens > 0                ? bytes / tokens
                                               : 4;
    for (int64_t i = 0; i <= r->n_languages; i++)
        if (!r->measured || !(r->ratio[i] > 0))
            r->ratio[i] = r->ratio_all;
    return rc;
}

int kj_replay_open(struct kj_replay *r, struct kj_ledger *l,
                   const struct kj_whatif *ask, struct kj_err *err)
{
    memset(r, 0, sizeof *r);
    r->l = l;
    r->ask = ask;
    r->err = err;
    int rc = KJ_OK;
    if (l->version < 2)
        rc = kj_err_set(err, KJ_FAIL,
                        "the ledger is of version 1, which does not know which cut was"
                        " applied to which document");
    if (rc == KJ_OK)
        rc = choose_stage(r);
    if (rc == KJ_OK && !r->stage)
        rc = kj_err_set(err, KJ_USAGE, "no stage of this ledger has cuts to try");
    if (rc == KJ_OK)
        rc = kj_db_int(l, &r->run, err, "SELECT run FROM stages WHERE stage = ?", "i",
                       r->stage);
    if (rc == KJ_OK)
        rc = load_roles(r);
    if (rc == KJ_OK)
        rc = load_cuts(r);
    if (rc == KJ_OK)
        rc = load_sets(r);
    if (rc == KJ_OK)
        rc = kj_db_int(l, &r->n_rules, err, "SELECT max(rule) FROM rules", "");
    if (rc == KJ_OK)
        rc = load_ratios(r);
    if (rc)
        return rc;
    r->value = kj_xcalloc((size_t)r->n_rules + 1, sizeof *r->value);
    r->stamp = kj_xcalloc((size_t)r->n_rules + 1, sizeof *r->stamp);
    r->stage_name = text_of(r, "SELECT name FROM stages WHERE stage = ?", r->stage);
    r->command = text_of(r, "SELECT command FROM runs WHERE run = ?", r->run);
    char *z = text_of(r, "SELECT value FROM config WHERE number = ? AND key = 'mark'",
                      r->stage);
    r->mark = strcmp(z, "true") == 0;
    free(z);
    z = text_of(r,
                "SELECT value FROM config WHERE run = ? AND stage = '' AND key ="
                " 'signal_share'",
                r->run);
    r->share = *z ? strtod(z, NULL) : 1;
    free(z);
    for (size_t i = 0; i < ask->n; i++)
        r->changes[i].name =
            text_of(r, "SELECT name FROM rules WHERE rule = ?", r->changes[i].rule);
    return err->rc;
}

void kj_replay_release(struct kj_replay *r)
{
    for (int64_t i = 0; r->sets && i <= r->n_sets; i++)
        free(r->sets[i].cuts);
    for (size_t i = 0; r->changes && i < r->ask->n; i++)
        free((char *)(uintptr_t)r->changes[i].name);
    for (int k = 0; k < 2; k++) {
        free(r->by_language[k]);
        free(r->by_source[k]);
    }
    free(r->role);
    free(r->cuts);
    free(r->sets);
    free(r->changes);
    free(r->value);
    free(r->stamp);
    free(r->ratio);
    free(r->points);
    free(r->stage_name);
    free(r->command);
}
