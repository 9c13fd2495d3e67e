/* whatif_json.c - the answer as one JSON object (docs/formats/ledger.md). */
#include "manifests/whatif_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define ROWS_MAX 1000 /* languages, sources: those with most changes */

struct answer {
    struct kj_replay *r;
    struct kj_buf *out;
    double scale; /* documents for each one with values */
};

static void put_key(struct answer *a, const char *key)
{
    char last = a->out->n ? a->out->p[a->out->n - 1] : '{';
    if (last != '{' && last != '[')
        kj_buf_addc(a->out, ',');
    if (key)
        kj_buf_printf(a->out, "\"%s\":", key);
}

static void put_text(struct answer *a, const char *key, const char *z)
{
    put_key(a, key);
    kj_json_put_str(a->out, z ? z : "", z ? strlen(z) : 0);
}

static void put_real(struct answer *a, const char *key, double v)
{
    put_key(a, key);
    kj_json_put_real(a->out, v);
}

static void put_whole(struct answer *a, const char *key, double v)
{
    put_key(a, key);
    kj_buf_printf(a->out, "%lld", (long long)llround(v * a->scale));
}

static void put_total(struct answer *a, const char *key, const struct kj_total *t)
{
    put_key(a, key);
    kj_buf_addc(a->out, '{');
    put_whole(a, "documents", t->docs);
    put_whole(a, "bytes", t->bytes);
    put_whole(a, "tokens", t->tokens);
    kj_buf_addc(a->out, '}');
}

static void put_changes(struct answer *a)
{
    struct kj_replay *r = a->r;
    put_key(a, "changes");
    kj_buf_addc(a->out, '[');
    for (size_t i = 0; i < r->ask->n; i++) {
        put_key(a, NULL);
        kj_buf_addc(a->out, '{');
        put_text(a, "rule", r->changes[i].name);
        put_key(a, "now");
        if (r->ask->changes[i].off)
            kj_buf_addz(a->out, "null");
        else
            kj_json_put_real(a->out, r->ask->changes[i].threshold);
        put_key(a, "uncovered");
        kj_buf_printf(a->out, "%zu}", r->changes[i].uncovered);
    }
    kj_buf_addc(a->out, ']');
}

/* [{name, gained, lost}], the most changes first. */
struct place {
    int64_t id;
    double docs;
};

static int by_docs(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->docs != b->docs)
        return a->docs < b->docs ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

static void put_places(struct answer *a, const char *key, const char *sql, int64_t n,
                       struct kj_total *const side[2])
{
    struct kj_replay *r = a->r;
    struct place *p = kj_xcalloc((size_t)n + 1, sizeof *p);
    size_t k = 0;
    for (int64_t i = 0; i <= n; i++)
        if (side[0][i].docs + side[1][i].docs > 0)
            p[k++] = (struct place){i, side[0][i].docs + side[1][i].docs};
    qsort(p, k, sizeof *p, by_docs);
    put_key(a, key);
    kj_buf_addc(a->out, '[');
    for (size_t i = 0; i < k && i < ROWS_MAX; i++) {
        sqlite3_stmt *st = NULL;
        const char *name = NULL;
        if (kj_db_query(r->l, &st, r->err, sql, "i", p[i].id) == KJ_OK &&
            sqlite3_step(st) == SQLITE_ROW)
            name = (const char *)sqlite3_column_text(st, 0);
        put_key(a, NULL);
        kj_buf_addc(a->out, '{');
        put_text(a, "name", name);
        put_total(a, "gained", &side[0][p[i].id]);
        put_total(a, "lost", &side[1][p[i].id]);
        kj_buf_addc(a->out, '}');
        sqlite3_finalize(st);
    }
    kj_buf_addc(a->out, ']');
    free(p);
}

static void put_row(struct answer *a, const char *key, const struct kj_wrow *w)
{
    put_key(a, key);
    kj_buf_addc(a->out, '{');
    put_real(a, "cut", w->cut);
    if (w->now)
        kj_buf_addz(a->out, ",\"now\":true");
    put_total(a, "kept", &w->kept);
    kj_buf_addc(a->out, '}');
}

static void put_curve(struct answer *a)
{
    struct kj_replay *r = a->r;
    struct kj_wrow rows[KJ_CURVE_ROWS_MAX], fits;
    char op[2] = {r->sweep_op, 0};
    size_t n = kj_whatif_curve(r, rows);
    put_key(a, "sweep");
    kj_buf_addc(a->out, '{');
    put_text(a, "rule", r->ask->sweep);
    put_text(a, "drops", op);
    put_key(a, "curve");
    kj_buf_addc(a->out, '[');
    for (size_t i = 0; i < n; i++)
        put_row(a, NULL, &rows[i]);
    kj_buf_addc(a->out, ']');
    if (r->ask->budget > 0) {
        const char *why = kj_whatif_budget(r, r->ask->budget / a->scale, &fits);
        put_real(a, "budget", r->ask->budget);
        if (why)
            put_text(a, "no_cut", why);
        else
            put_row(a, "within", &fits);
    }
    kj_buf_addc(a->out, '}');
}

int kj_whatif_json(struct kj_ledger *l, const struct kj_whatif *ask, struct kj_buf *out,
                   struct kj_err *err)
{
    struct kj_replay r;
    int rc = kj_replay_open(&r, l, ask, err);
    if (rc == KJ_OK)
        rc = kj_replay_run(&r);
    if (rc == KJ_OK) {
        struct answer a = {&r, out,
                           r.valued ? 1 + (double)r.unvalued / (double)r.valued : 1};
        kj_buf_addc(out, '{');
        put_text(&a, "stage", r.stage_name);
        put_key(&a, "run");
        kj_buf_printf(out, "%lld", (long long)r.run);
        put_key(&a, "estimate");
        kj_buf_addz(out, r.unvalued ? "true" : "false");
        put_real(&a, "bytes_per_token", r.ratio_all);
        put_changes(&a);
        put_total(&a, "before", &r.before);
        put_total(&a, "now", &r.after);
        put_total(&a, "gained", &r.gained);
        put_total(&a, "lost", &r.lost);
        put_total(&a, "lost_later_anyway", &r.lost_later);
        put_places(&a, "languages", "SELECT code FROM languages WHERE language = ?",
                   r.n_languages, r.by_language);
        put_places(&a, "sources", "SELECT name FROM sources WHERE source = ?",
                   r.n_sources, r.by_source);
        if (ask->sweep)
            put_curve(&a);
        kj_buf_addz(out, "}\n");
        rc = err->rc;
    }
    kj_replay_release(&r);
    return rc;
}
