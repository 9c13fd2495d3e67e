/* whatif_text.c - the answer of kj_whatif_text: what changes, where, the
 * examples nearest the cut, and the curve of a rule. */
#include "manifests/whatif_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "manifests/report_internal.h"

#define ROWS_MAX 20 /* languages, sources */
#define BAR      24 /* columns */

struct answer {
    struct kj_replay *r;
    struct kj_buf *out;
    double scale; /* documents for each one with values */
};

static void put_right(struct kj_buf *b, const char *z, size_t n, int width)
{
    for (int k = width - (int)n; k > 0; k--)
        kj_buf_addc(b, ' ');
    kj_buf_add(b, z, n);
}

static void put_cell(struct answer *a, double v, int width, bool bytes)
{
    struct kj_buf t;
    kj_buf_init(&t, 64);
    if (bytes)
        kj_put_bytes(&t, v * a->scale);
    else
        kj_put_count(&t, (int64_t)llround(v * a->scale));
    put_right(a->out, t.p, t.n, width);
    kj_buf_release(&t);
}

/* Documents, text, tokens. */
static void put_total(struct answer *a, const struct kj_total *t)
{
    put_cell(a, t->docs, 14, false);
    put_cell(a, t->bytes, 12, true);
    put_cell(a, t->tokens, 16, false);
}

static void put_name(struct answer *a, const char *z, int width)
{
    struct kj_buf *b = a->out;
    size_t chars = 0;
    for (; *z && (int)chars < width; z++) {
        unsigned char c = (unsigned char)*z;
        if ((c & 0xC0) != 0x80)
            chars++;
        kj_buf_addc(b, c < 0x20 || c == 0x7f ? ' ' : *z);
    }
    while ((unsigned char)*z && ((unsigned char)*z & 0xC0) == 0x80)
        kj_buf_addc(b, *z++);
    for (; (int)chars < width; chars++)
        kj_buf_addc(b, ' ');
}

/* ------------------------------------------------------------------- heading */

static void put_change(struct answer *a, size_t i)
{
    struct kj_replay *r = a->r;
    const struct kj_whatif_change *c = &r->ask->changes[i];
    const struct kj_wchange *w = &r->changes[i];
    const char *op = "";
    kj_buf_printf(a->out, "  %s: dropped", w->name);
    for (size_t k = 0, n = 0; k < r->n_cuts; k++) {
        const struct kj_wcut *x = &r->cuts[k];
        bool known = x->change != (int)i;
        for (size_t p = 0; p < k && !known; p++) /* shards have the same cuts */
            known =
                r->cuts[p].change == (int)i &&
                (r->cuts[p].was == x->was || (isnan(r->cuts[p].was) && isnan(x->was)));
        if (known)
            continue;
        op = x->op;
        kj_buf_addz(a->out, n++ ? ", " : " ");
        if (isnan(x->was)) {
            kj_buf_addz(a->out, "none");
            continue;
        }
        kj_buf_printf(a->out, "%s ", x->op);
        kj_json_put_real(a->out, x->was);
    }
    if (c->off) {
        kj_buf_addz(a->out, "; now off\n");
    } else {
        kj_buf_printf(a->out, "; now %s ", op);
        kj_json_put_real(a->out, c->threshold);
        kj_buf_addc(a->out, '\n');
    }
    if (w->uncovered)
        kj_buf_printf(
            a->out,
            "    %zu documents belong to no group that measured it, and the"
            " recipe has it off\n    in some group: filter --set would measure"
            " and cut them too, here they stay as they are\n",
            w->uncovered);
}

static void put_head(struct answer *a)
{
    struct kj_replay *r = a->r;
    kj_buf_printf(a->out, "stage %s of run %lld (", r->stage_name, (long long)r->run);
    put_name(a, r->command, (int)strnlen(r->command, 100));
    kj_buf_addz(a->out, ")\n");
    for (size_t i = 0; i < r->ask->n; i++)
        put_change(a, i);
    if (r->mark)
        kj_buf_addz(a->out, "  it ran with --mark: \"kept\" is what it marked so\n");
    if (r->unvalued)
        kj_buf_printf(a->out,
                      "  ESTIMATE: values were kept of %llu of %llu documents; numbers"
                      " are scaled up\n",
                      (unsigned long long)r->valued, (unsigned long long)r->n_docs);
    if (r->fixed)
        kj_buf_printf(
            a->out,
            "  %llu documents were dropped before all was measured (damaged or"
            " too large): they stay out\n",
            (unsigned long long)r->fixed);
}

static void put_tokens_note(struct answer *a)
{
    struct kj_replay *r = a->r;
    const char *how = r->ask->bytes_per_token > 0 ? "as given"
                      : r->measured               ? "as counted on others, by language"
                                                  : "assumed; nothing has been counted";
    kj_buf_printf(a->out, "tokens: as counted, else text at %.3g bytes a token (%s)\n",
                  r->ratio_all, how);
}

static void put_later(struct answer *a)
{
    struct kj_replay *r = a->r;
    struct kj_buf names;
    sqlite3_stmt *st = NULL;
    kj_buf_init(&names, 4096);
    if (kj_db_query(r->l, &st, r->err,
                    "SELECT stage, name FROM stages WHERE ordinal > 0 ORDER BY stage",
                    "") == KJ_OK)
        while (sqlite3_step(st) == SQLITE_ROW)
            if (r->role[sqlite3_column_int64(st, 0)] > KJ_ROLE_STAGE)
                kj_buf_printf(&names, "%s%s", names.n ? ", " : "",
                              (const char *)sqlite3_column_text(st, 1));
    sqlite3_finalize(st);
    if (names.n) {
        kj_buf_printf(a->out, "later stages (%s) are not replayed. Of the lost, ",
                      kj_buf_z(&names));
        kj_put_count(a->out, (int64_t)llround(r->lost_later.docs * a->scale));
        kj_buf_addz(a->out,
                    " had been dropped there anyway;\nwhat they would do with the"
                    " gained is not known, and where a lost document was the keeper of"
                    "\nnear duplicates, another of them would stay instead.\n");
    }
    kj_buf_release(&names);
}

/* -------------------------------------------------------------------- tables */

static void put_rows(struct answer *a, const char *title, const char *sql, int64_t n,
                     struct kj_total *const side[2])
{
    struct kj_replay *r = a->r;
    int64_t *top = kj_xcalloc(ROWS_MAX, sizeof *top);
    size_t rows = 0, all = 0;
    for (int64_t i = 0; i <= n; i++) {
        double d = side[0][i].docs + side[1][i].docs;
        if (!(d > 0))
            continue;
        all++;
        size_t k = rows < ROWS_MAX ? rows++ : ROWS_MAX;
        for (; k && d > side[0][top[k - 1]].docs + side[1][top[k - 1]].docs; k--)
            if (k < ROWS_MAX)
                top[k] = top[k - 1];
        if (k < ROWS_MAX)
            top[k] = i;
    }
    if (rows)
        kj_buf_printf(a->out, "\n%-26s%12s%12s%14s%12s%12s%14s\n", title, "gained",
                      "text", "tokens", "lost", "text", "tokens");
    for (size_t k = 0; k < rows; k++) {
        sqlite3_stmt *st = NULL;
        const char *name = "";
        if (kj_db_query(r->l, &st, r->err, sql, "i", top[k]) == KJ_OK &&
            sqlite3_step(st) == SQLITE_ROW)
            name = (const char *)sqlite3_column_text(st, 0);
        put_name(a, name && *name ? name : "-", 26);
        for (int s = 0; s < 2; s++) {
            put_cell(a, side[s][top[k]].docs, 12, false);
            put_cell(a, side[s][top[k]].bytes, 12, true);
            put_cell(a, side[s][top[k]].tokens, 14, false);
        }
        kj_buf_addc(a->out, '\n');
        sqlite3_finalize(st);
    }
    if (all > rows)
        kj_buf_printf(a->out, "... and %zu more\n", all - rows);
    free(top);
}

static void put_example(struct answer *a, const struct kj_wexample *e)
{
    struct kj_replay *r = a->r;
    sqlite3_stmt *st = NULL;
    static const char *const states[] = {"stays out", "gained", "lost", "stays"};
    kj_buf_addz(a->out, "    ");
    size_t at = a->out->n;
    kj_json_put_real(a->out, e->value);
    for (size_t k = a->out->n - at; k < 22; k++)
        kj_buf_addc(a->out, ' ');
    kj_buf_printf(a->out, "%-10s", states[2 * e->was + e->now]);
    if (kj_db_query(r->l, &st, r->err,
                    "SELECT coalesce(l.code, '-'), coalesce(d.url, d.id), (SELECT"
                    " excerpt FROM samples s WHERE s.id = d.id LIMIT 1) FROM documents"
                    " d LEFT JOIN languages l USING (language) WHERE doc = ?",
                    "i", e->doc) == KJ_OK &&
        sqlite3_step(st) == SQLITE_ROW) {
        put_name(a, (const char *)sqlite3_column_text(st, 0), 5);
        const char *z = (const char *)sqlite3_column_text(st, 1);
        put_name(a, z, (int)strnlen(z, 100));
        z = (const char *)sqlite3_column_text(st, 2);
        if (z) {
            kj_buf_addz(a->out, "\n        ");
            put_name(a, z, (int)strnlen(z, 90));
        }
    }
    while (a->out->n && a->out->p[a->out->n - 1] == ' ')
        a->out->n--;
    kj_buf_addc(a->out, '\n');
    sqlite3_finalize(st);
}

static void put_examples(struct answer *a)
{
    struct kj_replay *r = a->r;
    for (size_t i = 0; i < r->ask->n; i++) {
        const struct kj_wchange *w = &r->changes[i];
        if (!w->n_near[0] && !w->n_near[1])
            continue;
        kj_buf_printf(a->out,
                      "\nnearest the cut on %s, of documents that pass all other "
                      "rules\n",
                      w->name);
        for (int side = 1; side >= 0; side--)
            for (size_t k = 0; k < w->n_near[side]; k++)
                put_example(a, &w->near[side][k]);
    }
}

/* --------------------------------------------------------------------- curve */

/* A cut, what it keeps, and that as a bar. */
static void put_row(struct answer *a, const struct kj_wrow *w, const char *note)
{
    double all = a->r->base.docs + (double)a->r->n_points;
    double share = all > 0 ? w->kept.docs / all : 1;
    size_t at = a->out->n;
    kj_buf_printf(a->out, "  %c ", a->r->sweep_op);
    kj_json_put_real(a->out, w->cut);
    for (size_t k = a->out->n - at; k < 26; k++)
        kj_buf_addc(a->out, ' ');
    put_total(a, &w->kept);
    kj_buf_printf(a->out, "%8.2f %% ", 100 * share);
    kj_put_bar(a->out, share, *note ? BAR : -BAR);
    kj_buf_addz(a->out, note);
    kj_buf_addc(a->out, '\n');
}

static void put_curve(struct answer *a)
{
    struct kj_replay *r = a->r;
    struct kj_wrow rows[KJ_CURVE_ROWS_MAX], fits;
    size_t n = kj_whatif_curve(r, rows);
    kj_buf_printf(a->out, "\n%-26s%14s%12s%16s%10s\n", r->ask->sweep, "kept", "text",
                  "tokens", "kept");
    for (size_t i = 0; i < n; i++)
        put_row(a, &rows[i], rows[i].now ? " <- now" : "");
    if (!n)
        kj_buf_addz(a->out, "  no document is decided by this rule\n");
    if (r->ask->budget <= 0)
        return;
    kj_buf_addz(a->out, "\nbudget of ");
    kj_put_count(a->out, (int64_t)llround(r->ask->budget));
    kj_buf_addz(a->out, " tokens: ");
    const char *why = kj_whatif_budget(r, r->ask->budget / a->scale, &fits);
    kj_buf_printf(a->out, "%s\n", why ? why : "the loosest cut within it is");
    if (!why)
        put_row(a, &fits, " <- budget");
}

/* Without a question: how documents fared with each cut, of this stage and of all that
 * its documents came through before. */
static void put_cuts(struct answer *a)
{
    struct kj_replay *r = a->r;
    sqlite3_stmt *st = NULL;
    int64_t stage = 0;
    if (kj_db_query(
            r->l, &st, r->err,
            "SELECT u.name, c.op, c.threshold, c.alone, c.failed, CASE WHEN (SELECT"
            " count(*) FROM cuts k WHERE k.stage = c.stage AND k.rule = c.rule AND"
            " k.op != 'off') > 1 THEN (SELECT sum(dropped) FROM histograms h WHERE "
            "h.rule"
            " = c.rule AND h.cut = c.cut) ELSE x.docs END, c.stage, s.name FROM cuts c "
            "JOIN stages s"
            " USING (stage) JOIN run_order o USING (run) JOIN rules u USING (rule) LEFT"
            " JOIN reasons x USING (stage, rule) WHERE c.op IN ('<','>','<=','>=') AND"
            " s.run IN (WITH RECURSIVE up(run) AS (SELECT ?1 UNION SELECT parent FROM"
            " runs JOIN up USING (run) WHERE parent IS NOT NULL) SELECT run FROM up)"
            " ORDER BY o.depth, c.stage, c.ordinal",
            "i", r->run) == KJ_OK)
        while (sqlite3_step(st) == SQLITE_ROW) {
            struct kj_buf t;
            if (sqlite3_column_int64(st, 6) != stage) {
                stage = sqlite3_column_int64(st, 6);
                kj_buf_printf(a->out, "\n%-32s%-14s%12s%12s%12s\n",
                              (const char *)sqlite3_column_text(st, 7), "drops",
                              "first", "alone", "failed");
            }
            kj_buf_init(&t, 256);
            if (sqlite3_column_type(st, 2) == SQLITE_NULL) {
                kj_buf_addz(&t, "none");
            } else {
                kj_buf_printf(&t, "%s ", (const char *)sqlite3_column_text(st, 1));
                kj_json_put_real(&t, sqlite3_column_double(st, 2));
            }
            put_name(a, (const char *)sqlite3_column_text(st, 0), 32);
            put_name(a, kj_buf_z(&t), 14);
            kj_buf_release(&t);
            kj_buf_printf(a->out, "%12lld", (long long)sqlite3_column_int64(st, 5));
            kj_buf_printf(a->out, "%12lld%12lld\n",
                          (long long)sqlite3_column_int64(st, 3),
                          (long long)sqlite3_column_int64(st, 4));
        }
    sqlite3_finalize(st);
    kj_buf_addz(a->out, "\nfirst: dropped by this rule before any other; alone: passing"
                        " all others of its stage\n");
}

int kj_whatif_text(struct kj_ledger *l, const struct kj_whatif *ask, struct kj_buf *out,
                   struct kj_err *err)
{
    struct kj_replay r;
    int rc = kj_replay_open(&r, l, ask, err);
    if (rc == KJ_OK)
        rc = kj_replay_run(&r);
    struct answer a = {&r, out,
                       r.valued ? 1 + (double)r.unvalued / (double)r.valued : 1};
    if (rc == KJ_OK) {
        put_head(&a);
        kj_buf_printf(out, "\n%-26s%14s%12s%16s\n", "", "documents", "text", "tokens");
        static const char *const names[] = {"kept before", "kept now", "gained",
                                            "lost"};
        const struct kj_total *const rows[] = {&r.before, &r.after, &r.gained, &r.lost};
        for (size_t i = 0; i < (ask->n ? 4 : 1); i++) {
            kj_buf_printf(out, "%-26s", names[i]);
            put_total(&a, rows[i]);
            kj_buf_addc(out, '\n');
        }
        put_tokens_note(&a);
        if (ask->n)
            put_later(&a);
        put_rows(&a, "language", "SELECT code FROM languages WHERE language = ?",
                 r.n_languages, r.by_language);
        put_rows(&a, "source", "SELECT name FROM sources WHERE source = ?", r.n_sources,
                 r.by_source);
        put_examples(&a);
        if (ask->sweep)
            put_curve(&a);
        else if (!ask->n)
            put_cuts(&a);
        rc = err->rc;
    }
    kj_replay_release(&r);
    return rc;
}
