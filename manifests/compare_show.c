/* compare_show.c - what differs between two runs, as text and as JSON. */
#include "manifests/compare_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define ROWS_MAX 20 /* rules, languages, sources of the text */

static const char *const kinds[] = {"lost", "gained", "other_rule"};

/* Documents by what dropped them in one run and in the other. */
static const char by_rule[] = "SELECT kind, was, now, count(*) AS n, sum(bytes), "
                              "sum(tokens) FROM changes GROUP BY"
                              " kind, was, now ORDER BY kind, n DESC, was, now";

static const char by_name[] =
    "SELECT %s, sum(kind = 1) AS g, sum((kind = 1) * bytes), sum((kind = 1) * tokens),"
    " sum(kind = 0) AS l, sum((kind = 0) * bytes), sum((kind = 0) * tokens) FROM "
    "changes"
    " WHERE kind < 2 GROUP BY 1 ORDER BY g + l DESC, 1 LIMIT %d";

static const char settings[] =
    "SELECT stage, key, max(CASE side WHEN 0 THEN value END) AS a,"
    " max(CASE side WHEN 1 THEN value END) AS b FROM settings GROUP BY stage, key"
    " HAVING a IS NOT b AND (%d OR (stage IN (SELECT stage FROM settings WHERE side = "
    "0)"
    " AND stage IN (SELECT stage FROM settings WHERE side = 1))) ORDER BY min(rowid)";

static const char levels[] =
    "SELECT name, max(CASE side WHEN 0 THEN docs END), max(CASE side WHEN 1 THEN docs"
    " END), max(CASE side WHEN 0 THEN bytes END), max(CASE side WHEN 1 THEN bytes END)"
    " FROM levels GROUP BY name, nth ORDER BY max(at), name";

static struct kj_amount sum_of(struct kj_diff *d, int kind)
{
    struct kj_amount a = {0};
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "SELECT count(*), total(bytes), total(tokens) FROM changes WHERE kind = %d",
        kind);
    sqlite3_stmt *st = kj_rep_query(&d->side[0], sql);
    while (kj_rep_next(&d->side[0], st))
        a = (struct kj_amount){kj_rep_num(st, 0), kj_rep_num(st, 1), kj_rep_num(st, 2)};
    return a;
}

/* ---------------------------------------------------------------------- text */

static void put_number(struct kj_buf *b, double v, int width, bool bytes)
{
    struct kj_buf t;
    kj_buf_init(&t, 64);
    if (isnan(v))
        kj_buf_addc(&t, '-');
    else if (bytes)
        kj_put_bytes(&t, v);
    else
        kj_put_count(&t, (int64_t)llround(v));
    for (size_t i = t.n; (int)i < width; i++)
        kj_buf_addc(b, ' ');
    kj_buf_add(b, t.p, t.n);
    kj_buf_release(&t);
}

static void put_amount(struct kj_buf *b, double docs, double bytes, double tokens)
{
    put_number(b, docs, 14, false);
    put_number(b, bytes, 12, true);
    put_number(b, tokens, 16, false);
}

static void put_totals(struct kj_diff *d, struct kj_buf *b)
{
    static const char *const names[] = {"kept before", "kept now", "kept by both",
                                        "gained", "lost"};
    struct kj_amount a[] = {d->kept[0], d->kept[1], d->both, sum_of(d, 1),
                            sum_of(d, 0)};
    kj_buf_printf(b, "\n%-26s%14s%12s%16s\n", "", "documents", "text", "tokens");
    for (size_t i = 0; i < 5; i++) {
        kj_buf_printf(b, "%-26s", names[i]);
        put_amount(b, a[i].docs, a[i].bytes, a[i].tokens);
        kj_buf_addc(b, '\n');
    }
    for (int i = 0; i < 2; i++)
        if (!d->counted[i])
            kj_buf_printf(b, "tokens %s: text at 4 bytes a token, none were counted\n",
                          i ? "now" : "before");
    if (d->other_text > 0) {
        kj_put_count(b, (int64_t)d->other_text);
        kj_buf_addz(b, " documents kept by both have texts of other lengths\n");
    }
    for (int i = 0; i < 2; i++)
        if (d->only[i] > 0) {
            kj_put_count(b, (int64_t)d->only[i]);
            kj_buf_addz(b, " of ");
            kj_put_count(b, (int64_t)d->read[i]);
            kj_buf_printf(b, " documents read %s were not read %s: %s\n",
                          i ? "now" : "before", i ? "before" : "now",
                          "the inputs are not the same");
        }
}

static void put_settings(struct kj_diff *d, struct kj_buf *b)
{
    char sql[600];
    int n = 0;
    snprintf(sql, sizeof sql, settings, 0);
    sqlite3_stmt *st = kj_rep_query(&d->side[0], sql);
    while (kj_rep_next(&d->side[0], st)) {
        if (n++ == 0)
            kj_buf_addz(b, "\nset otherwise\n");
        struct kj_buf name;
        kj_buf_init(&name, 4096);
        kj_buf_printf(&name, "%s: %s", kj_rep_text(st, 0), kj_rep_text(st, 1));
        kj_buf_addz(b, "  ");
        kj_put_cell(b, kj_buf_z(&name), 48);
        kj_buf_release(&name);
        for (int i = 0; i < 2; i++) {
            const char *v = sqlite3_column_type(st, 2 + i) == SQLITE_NULL
                                ? "none"
                                : kj_rep_text(st, 2 + i);
            kj_buf_addz(b, i ? " -> " : " ");
            for (size_t k = 0; k < 60 && v[k]; k++)
                kj_buf_addc(b, (unsigned char)v[k] < 0x20 ? ' ' : v[k]);
        }
        kj_buf_addc(b, '\n');
    }
}

static void put_levels(struct kj_diff *d, struct kj_buf *b)
{
    kj_buf_printf(b, "\n%-26s%14s%14s%14s\n", "stage leaves", "before", "now",
                  "difference");
    sqlite3_stmt *st = kj_rep_query(&d->side[0], levels);
    while (kj_rep_next(&d->side[0], st)) {
        double was = kj_rep_num(st, 1), now = kj_rep_num(st, 2);
        kj_put_cell(b, kj_rep_text(st, 0), 26);
        put_number(b, was, 14, false);
        put_number(b, now, 14, false);
        put_number(b, now - was, 14, false);
        kj_buf_addc(b, '\n');
    }
}

/* What stands for the rule of a document that was kept, or not read. */
static const char *rule_name(sqlite3_stmt *st, int col)
{
    return sqlite3_column_type(st, col) == SQLITE_NULL ? "kept"
           : *kj_rep_text(st, col)                     ? kj_rep_text(st, col)
                                                       : "(not read)";
}

static void put_rules(struct kj_diff *d, struct kj_buf *b)
{
    static const char *const titles[] = {
        "lost, now dropped by", "gained, before dropped by", "dropped by another rule"};
    int last = -1, rows = 0, left = 0;
    sqlite3_stmt *st = kj_rep_query(&d->side[0], by_rule);
    while (kj_rep_next(&d->side[0], st)) {
        int kind = sqlite3_column_int(st, 0);
        if (kind != last) {
            if (left)
                kj_buf_printf(b, "... and %d more\n", left);
            kj_buf_printf(b, "\n%-44s%12s%12s%16s\n", titles[kind], "documents", "text",
                          "tokens");
            rows = left = 0;
        }
        last = kind;
        if (rows++ >= ROWS_MAX) {
            left++;
            continue;
        }
        struct kj_buf name;
        kj_buf_init(&name, 4096);
        if (kind == 2)
            kj_buf_printf(&name, "%s -> ", rule_name(st, 1));
        kj_buf_addz(&name, rule_name(st, kind == 1 ? 1 : 2));
        kj_put_cell(b, kj_buf_z(&name), 42);
        kj_buf_release(&name);
        put_amount(b, kj_rep_num(st, 3), kj_rep_num(st, 4), kj_rep_num(st, 5));
        kj_buf_addc(b, '\n');
    }
    if (left)
        kj_buf_printf(b, "... and %d more\n", left);
}

static void put_names(struct kj_diff *d, const char *what, struct kj_buf *b)
{
    char sql[500];
    int n = 0;
    snprintf(sql, sizeof sql, by_name, what, ROWS_MAX + 1);
    sqlite3_stmt *st = kj_rep_query(&d->side[0], sql);
    while (kj_rep_next(&d->side[0], st)) {
        if (n++ == 0)
            kj_buf_printf(b, "\n%-26s%12s%12s%14s%12s%12s%14s\n", what, "gained",
                          "text", "tokens", "lost", "text", "tokens");
        if (n > ROWS_MAX) {
            kj_buf_addz(b, "...\n");
            continue;
        }
        kj_put_cell(b, *kj_rep_text(st, 0) ? kj_rep_text(st, 0) : "(none)", 26);
        for (int k = 0; k < 2; k++) {
            put_number(b, kj_rep_num(st, 1 + 3 * k), 12, false);
            put_number(b, kj_rep_num(st, 2 + 3 * k), 12, true);
            put_number(b, kj_rep_num(st, 3 + 3 * k), 14, false);
        }
        kj_buf_addc(b, '\n');
    }
}

/* Picked by the hash of the id, so that the same ones are shown again. */
static void put_examples(struct kj_diff *d, size_t n, struct kj_buf *b)
{
    static const char *const titles[] = {"lost, for example", "gained, for example"};
    for (int kind = 1; kind >= 0; kind--) {
        char sql[300];
        bool first = true;
        snprintf(
            sql, sizeof sql,
            "SELECT coalesce(url, id), was, now, value, language FROM changes WHERE"
            " kind = %d ORDER BY hash, copy LIMIT %zu",
            kind, n);
        sqlite3_stmt *st = kj_rep_query(&d->side[0], sql);
        while (kj_rep_next(&d->side[0], st)) {
            if (first)
                kj_buf_printf(b, "\n%s\n", titles[kind]);
            first = false;
            kj_buf_addz(b, "  ");
            kj_put_cell(b, rule_name(st, kind ? 1 : 2), 32);
            size_t at = b->n;
            if (!isnan(kj_rep_num(st, 3)))
                kj_put_value(b, kj_rep_num(st, 3));
            for (size_t k = b->n - at; k < 11; k++)
                kj_buf_addc(b, ' ');
            kj_put_cell(b, kj_rep_text(st, 4), 4);
            kj_put_cell(b, kj_rep_text(st, 0), 100);
            while (b->n && b->p[b->n - 1] == ' ')
                b->n--;
            kj_buf_addc(b, '\n');
        }
    }
}

static void put_head(struct kj_diff *d, struct kj_buf *b)
{
    for (int i = 0; i < 2; i++) {
        struct kj_rep *r = &d->side[i];
        kj_buf_printf(b, "%s %s\n", i ? "now:   " : "before:", r->l->path);
        sqlite3_stmt *st =
            kj_rep_query(r, "SELECT r.run, r.version, r.started, r.status, r.command"
                            " FROM runs r JOIN scope c USING (run) ORDER BY c.depth,"
                            " r.run");
        while (kj_rep_next(r, st)) {
            kj_buf_printf(b, "  run %s  %.19s  %s  ", kj_rep_text(st, 0),
                          kj_rep_text(st, 2), kj_rep_text(st, 3));
            kj_put_cell(b, kj_rep_text(st, 4), (int)strnlen(kj_rep_text(st, 4), 120));
            kj_buf_addc(b, '\n');
        }
        if (!r->balanced)
            kj_buf_printf(b, "  BOOKS DO NOT BALANCE: %s\n", r->why);
    }
}

/* ---------------------------------------------------------------------- JSON */

static void put_value(struct kj_buf *b, sqlite3_stmt *st, int col)
{
    int type = sqlite3_column_type(st, col);
    if (type == SQLITE_NULL)
        kj_buf_addz(b, "null");
    else if (type == SQLITE_TEXT)
        kj_json_put_str(b, kj_rep_text(st, col), strlen(kj_rep_text(st, col)));
    else
        kj_json_put_real(b, sqlite3_column_double(st, col));
}

/* Each document that changed, for whoever asked for them. */
static int give_each(struct kj_diff *d, const struct kj_compare *ask,
                     struct kj_err *err)
{
    static const char *const keys[] = {"id",     "url", "language", "source",
                                       "change", "was", "now",      "value"};
    struct kj_buf b;
    int rc = KJ_OK;
    if (!ask->each)
        return KJ_OK;
    kj_buf_init(&b, 1 << 20);
    sqlite3_stmt *st = kj_rep_query(
        &d->side[0], "SELECT id, url, language, source, kind, was, now, value FROM"
                     " changes ORDER BY rowid");
    while (kj_rep_next(&d->side[0], st)) {
        kj_buf_reset(&b);
        for (int k = 0; k < 8; k++) {
            kj_buf_printf(&b, "%s\"%s\":", k ? "," : "{", keys[k]);
            if (k == 4)
                kj_buf_printf(&b, "\"%s\"", kinds[sqlite3_column_int(st, k)]);
            else
                put_value(&b, st, k);
        }
        kj_buf_addz(&b, "}\n");
        rc = ask->each(ask->ctx, b.p, b.n, err);
        if (rc) {
            sqlite3_finalize(st);
            break;
        }
    }
    kj_buf_release(&b);
    return rc ? rc : d->side[0].rc;
}

/* Rows of a query as objects; keys[k] is column k. */
static void put_rows(struct kj_diff *d, const char *name, const char *sql,
                     const char *const *keys, struct kj_buf *b)
{
    int n = 0;
    kj_buf_printf(b, ",\"%s\":[", name);
    sqlite3_stmt *st = kj_rep_query(&d->side[0], sql);
    while (kj_rep_next(&d->side[0], st)) {
        kj_buf_addz(b, n++ ? ",{" : "{");
        for (int k = 0; keys[k]; k++) {
            kj_buf_printf(b, "%s\"%s\":", k ? "," : "", keys[k]);
            if (strcmp(keys[k], "change") == 0)
                kj_buf_printf(b, "\"%s\"", kinds[sqlite3_column_int(st, k)]);
            else
                put_value(b, st, k);
        }
        kj_buf_addc(b, '}');
    }
    kj_buf_addc(b, ']');
}

static void put_object(struct kj_buf *b, const char *name, struct kj_amount a)
{
    kj_buf_printf(b, "%s\"%s\":{\"documents\":%.0f,\"bytes\":%.0f,\"tokens\":%.0f}",
                  b->n > 1 ? "," : "", name, a.docs, a.bytes, a.tokens);
}

int kj_compare_json(struct kj_ledger *was, struct kj_ledger *now,
                    const struct kj_compare *ask, struct kj_buf *out,
                    struct kj_err *err)
{
    static const char *const rule_keys[] = {"change", "was",    "now", "documents",
                                            "bytes",  "tokens", NULL};
    static const char *const name_keys[] = {"name",          "gained", "gained_bytes",
                                            "gained_tokens", "lost",   "lost_bytes",
                                            "lost_tokens",   NULL};
    static const char *const set_keys[] = {"stage", "key", "was", "now", NULL};
    static const char *const level_keys[] = {"stage",     "was",       "now",
                                             "was_bytes", "now_bytes", NULL};
    struct kj_diff d;
    int rc = kj_diff_open(&d, was, now, err);
    if (rc == KJ_OK) {
        char sql[600];
        kj_buf_addc(out, '{');
        put_object(out, "before", d.kept[0]);
        put_object(out, "now", d.kept[1]);
        put_object(out, "both", d.both);
        put_object(out, "gained", sum_of(&d, 1));
        put_object(out, "lost", sum_of(&d, 0));
        kj_buf_printf(out,
                      ",\"other_text\":%.0f,\"read\":[%.0f,%.0f],\"only_read\":"
                      "[%.0f,%.0f]",
                      d.other_text, d.read[0], d.read[1], d.only[0], d.only[1]);
        put_rows(&d, "rules", by_rule, rule_keys, out);
        snprintf(sql, sizeof sql, by_name, "language", 1000);
        put_rows(&d, "languages", sql, name_keys, out);
        snprintf(sql, sizeof sql, by_name, "source", 1000);
        put_rows(&d, "sources", sql, name_keys, out);
        put_rows(&d, "stages", levels, level_keys, out);
        snprintf(sql, sizeof sql, settings, 1);
        put_rows(&d, "settings", sql, set_keys, out);
        kj_buf_addz(out, "}\n");
        rc = d.side[0].rc ? d.side[0].rc : d.side[1].rc;
    }
    rc = rc ? rc : give_each(&d, ask, err);
    kj_diff_close(&d);
    return rc;
}

int kj_compare_text(struct kj_ledger *was, struct kj_ledger *now,
                    const struct kj_compare *ask, struct kj_buf *out,
                    struct kj_err *err)
{
    struct kj_diff d;
    int rc = kj_diff_open(&d, was, now, err);
    if (rc == KJ_OK) {
        put_head(&d, out);
        put_totals(&d, out);
        put_settings(&d, out);
        put_levels(&d, out);
        put_rules(&d, out);
        put_names(&d, "language", out);
        put_names(&d, "source", out);
        put_examples(&d, ask->examples, out);
        rc = d.side[0].rc ? d.side[0].rc : d.side[1].rc;
    }
    rc = rc ? rc : give_each(&d, ask, err);
    kj_diff_close(&d);
    return rc;
}
