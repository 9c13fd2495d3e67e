/* ledger_rows.c - the rows of a batch: documents, decisions, signals, clusters.
 *
 * Documents get small numbers in the order of arrival, so that the tables
 * keyed by them grow at their end: about 20 bytes for a signal. Another
 * process of the pipe finds the number by the id. Equal ids in one stream are
 * told apart by `copy`: the first copy that this flow has not decided on yet.
 * Copies are decided on in order, so that copy is found by doubling steps and
 * bisection, also when a page stands a million times in the crawl.
 */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"

/* -------------------------------------------------------------- documents */

static void bind_str(sqlite3_stmt *st, int i, struct kj_str s)
{
    if (s.n)
        sqlite3_bind_text64(st, i, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, i);
}

static void bind_id(sqlite3_stmt *st, int i, int64_t v)
{
    if (v > 0)
        sqlite3_bind_int64(st, i, v);
    else
        sqlite3_bind_null(st, i);
}

static void bind_real(sqlite3_stmt *st, int i, double v)
{
    if (isnan(v))
        sqlite3_bind_null(st, i);
    else
        sqlite3_bind_double(st, i, v);
}

/* The host in a URL, lower case, into out[256]. */
static struct kj_str host_of(struct kj_str url, char out[256])
{
    const char *p = url.p, *end = url.p + url.n;
    size_t i = 0;
    while (i + 2 < url.n && !(p[i] == ':' && p[i + 1] == '/' && p[i + 2] == '/'))
        i++;
    if (i + 2 >= url.n)
        return (struct kj_str){NULL, 0};
    p += i + 3;
    const char *stop = p;
    while (stop < end && *stop != '/' && *stop != '?' && *stop != '#')
        stop++;
    for (const char *q = p; q < stop; q++)
        if (*q == '@')
            p = q + 1;
    size_t n = 0;
    bool bracket = p < stop && *p == '[';
    for (; p < stop && n < 255 && (bracket || *p != ':'); p++) {
        out[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        bracket &= *p != ']';
    }
    return (struct kj_str){out, kj_utf8_cut(out, n, n)};
}

/* What goes into the document's row. */
struct row {
    struct kj_str id;
    int64_t source, language, archive;
    int64_t chars;
};

static int row_names(struct kj_ledger *l, const struct kj_doc *d, struct row *r,
                     struct kj_err *err)
{
    char host[256];
    struct kj_str s = d->source;
    int rc = KJ_OK;
    if (!s.n && d->url.n)
        s = host_of(d->url, host);
    if (!s.n)
        s = d->file_path;
    if (s.n)
        rc = kj_names_row(l, &l->sources, "sources", "source", "name", s.p, s.n,
                          &r->source, err);
    if (rc == KJ_OK && d->language.n)
        rc = kj_names_row(l, &l->languages, "languages", "language", "code",
                          d->language.p, d->language.n, &r->language, err);
    if (rc == KJ_OK && d->warc.file.n)
        rc = kj_names_row(l, &l->archives, "archives", "archive", "name",
                          d->warc.file.p, d->warc.file.n, &r->archive, err);
    return rc;
}

static int doc_insert(struct kj_ledger *l, const struct kj_doc *d, const struct row *r,
                      int64_t copy, int64_t *doc, struct kj_err *err)
{
    sqlite3_stmt *st = l->st[ST_DOC_NEW];
    bind_str(st, 1, r->id);
    sqlite3_bind_int64(st, 2, copy);
    bind_str(st, 3, d->url);
    bind_id(st, 4, r->source);
    bind_id(st, 5, r->language);
    sqlite3_bind_int64(st, 6, (int64_t)d->text.n);
    sqlite3_bind_int64(st, 7, r->chars);
    if (d->token_count >= 0)
        sqlite3_bind_int64(st, 8, d->token_count);
    else
        sqlite3_bind_null(st, 8);
    bind_id(st, 9, r->archive);
    if (d->warc.offset >= 0)
        sqlite3_bind_int64(st, 10, d->warc.offset);
    else
        sqlite3_bind_null(st, 10);
    int rc = kj_db_run(l, st, err);
    *doc = rc == KJ_OK && sqlite3_changes(l->db) ? sqlite3_last_insert_rowid(l->db) : 0;
    return rc;
}

/* The number of a copy, 0 when it is not there; *same: nothing of it changed. */
static int doc_find(struct kj_ledger *l, const struct kj_doc *d, const struct row *r,
                    int64_t copy, int64_t *doc, bool *same, struct kj_err *err)
{
    sqlite3_stmt *st = l->st[ST_DOC_FIND];
    bind_str(st, 1, r->id);
    sqlite3_bind_int64(st, 2, copy);
    int s = sqlite3_step(st), rc = KJ_OK;
    *doc = 0;
    *same = false;
    if (s == SQLITE_ROW) {
        *doc = sqlite3_column_int64(st, 0);
        *same = (!r->language || sqlite3_column_int64(st, 1) == r->language) &&
                sqlite3_column_int64(st, 2) == (int64_t)d->text.n &&
                (d->token_count < 0 || sqlite3_column_int64(st, 3) == d->token_count) &&
                (!r->source || sqlite3_column_int64(st, 4) == r->source);
    } else if (s != SQLITE_DONE) {
        rc = kj_db_fail(l, "ledger", err);
    }
    sqlite3_reset(st);
    return rc;
}

static int decided(struct kj_ledger *l, int64_t doc, bool *yes, struct kj_err *err)
{
    sqlite3_stmt *st = l->st[ST_DECIDED];
    sqlite3_bind_int64(st, 1, doc);
    sqlite3_bind_int64(st, 2, l->stage0);
    sqlite3_bind_int64(st, 3, l->stage0 + (int64_t)l->n_steps);
    int s = sqlite3_step(st);
    *yes = s == SQLITE_ROW;
    int rc = s == SQLITE_ROW || s == SQLITE_DONE ? KJ_OK : kj_db_fail(l, "ledger", err);
    sqlite3_reset(st);
    return rc;
}

/* Is this copy there and decided on by this flow? */
static int taken(struct kj_ledger *l, const struct kj_doc *d, const struct row *r,
                 int64_t copy, int64_t *doc, bool *same, bool *yes, struct kj_err *err)
{
    *yes = false;
    int rc = doc_find(l, d, r, copy, doc, same, err);
    if (rc == KJ_OK && *doc)
        rc = decided(l, *doc, yes, err);
    return rc;
}

/* The number of the document: of the first copy that is not decided on. */
static int doc_number(struct kj_ledger *l, const struct kj_doc *d, const struct row *r,
                      int64_t *doc, struct kj_err *err)
{
    bool same = false, yes = false;
    int64_t lo = -1, hi = 0; /* lo is taken, hi may not be */
    int rc = KJ_OK;
    if (!l->known_first) {
        rc = doc_insert(l, d, r, 0, doc, err);
        if (rc || *doc)
            return rc;
    }
    rc = taken(l, d, r, 0, doc, &same, &yes, err);
    l->known_first = rc == KJ_OK && *doc;
    if (rc == KJ_OK && yes) {
        for (hi = 1; rc == KJ_OK && yes; hi *= 2) {
            rc = taken(l, d, r, hi, doc, &same, &yes, err);
            if (!yes)
                break;
            lo = hi;
        }
        lo = lo < 0 ? 0 : lo;
        while (rc == KJ_OK && hi - lo > 1) {
            int64_t mid = lo + (hi - lo) / 2;
            rc = taken(l, d, r, mid, doc, &same, &yes, err);
            if (yes)
                lo = mid;
            else
                hi = mid;
        }
        if (rc == KJ_OK)
            rc = doc_find(l, d, r, hi, doc, &same, err);
    }
    if (rc)
        return rc;
    if (!*doc)
        return doc_insert(l, d, r, hi, doc, err);
    if (same)
        return KJ_OK;
    sqlite3_stmt *st = l->st[ST_DOC_UPDATE];
    sqlite3_bind_int64(st, 1, *doc);
    bind_id(st, 2, r->language);
    sqlite3_bind_int64(st, 3, (int64_t)d->text.n);
    sqlite3_bind_int64(st, 4, r->chars);
    if (d->token_count >= 0)
        sqlite3_bind_int64(st, 5, d->token_count);
    else
        sqlite3_bind_null(st, 5);
    bind_id(st, 6, r->source);
    return kj_db_run(l, st, err);
}

/* ---------------------------------------------------- decisions and signals */

static int put_decision(struct kj_ledger *l, const struct kj_doc *d, int64_t doc,
                        const struct kj_rule_slot *out, int64_t set, struct kj_err *err)
{
    sqlite3_stmt *st = l->st[ST_DECIDE];
    int64_t last = l->stage0 + (int64_t)l->n_steps;
    bool kept = kj_doc_kept(d);
    sqlite3_bind_int64(st, 1, doc);
    sqlite3_bind_int64(
        st, 2, kept ? last : l->stage0 + (d->out.stage < 0 ? 0 : 1 + d->out.stage));
    sqlite3_bind_int(st, 3, kept);
    bind_id(st, 4, out ? out->id : 0);
    bind_real(st, 5, kept ? NAN : d->out.value);
    bind_real(st, 6, kept ? NAN : d->out.threshold);
    bind_id(st, 7, set);
    return kj_db_run(l, st, err);
}

static int put_signal(struct kj_ledger *l, const struct kj_doc *d, int64_t doc,
                      struct kj_rule_slot *r, const struct kj_rule *by, double v,
                      bool first, uint64_t hash, struct kj_err *err)
{
    int64_t cut = kj_ledger_cut_by(l, by);
    kj_gather_value(r, cut, cut ? by->threshold : NAN, v, first, hash, d);
    if (kj_hash_unit(hash) >= l->signals)
        return KJ_OK;
    sqlite3_stmt *st = l->st[ST_SIGNAL];
    sqlite3_bind_int64(st, 1, doc);
    sqlite3_bind_int64(st, 2, r->id);
    sqlite3_bind_double(st, 3, v);
    return kj_db_run(l, st, err);
}

static int put_signals(struct kj_ledger *l, const struct kj_doc *d, int64_t doc,
                       struct kj_rule_slot **out, struct kj_err *err)
{
    uint64_t hash = kj_hash64(d->id.p, d->id.n, 0);
    bool seen = false;
    int rc = KJ_OK;
    for (size_t i = 0; i < d->n_signals && rc == KJ_OK; i++) {
        const struct kj_signal *g = &d->signals[i];
        struct kj_rule_slot *r;
        if (!isfinite(g->value))
            continue;
        rc = kj_ledger_rule(l, g->name.p, g->name.n, false, &r, err);
        if (rc || !r || !r->ours)
            continue;
        bool first = d->out.rule && kj_str_is(g->name, d->out.rule);
        seen |= first;
        rc = put_signal(l, d, doc, r, g->by ? g->by : r->only, g->value, first, hash,
                        err);
    }
    *out = NULL;
    if (rc == KJ_OK && d->out.rule) {
        rc = kj_ledger_rule(l, d->out.rule, strlen(d->out.rule), true, out, err);
        const struct kj_rule *by = *out ? (*out)->only : NULL;
        if (rc == KJ_OK && *out && !seen && isfinite(d->out.value)) {
            rc = put_signal(l, d, doc, *out, by, d->out.value, true, hash, err);
        } else if (rc == KJ_OK && *out && !seen) { /* a rule without values */
            kj_gather_drop(*out, kj_ledger_cut_by(l, by), hash, d);
        }
    }
    if (kj_doc_kept(d))
        kj_gather_kept(l, hash, d);
    return rc;
}

/* cluster{id, size, keeper, similarity} as dedup leaves it. */
static int put_cluster(struct kj_ledger *l, const struct kj_doc *d, int64_t doc,
                       struct kj_err *err)
{
    struct kj_str raw = kj_doc_get(d, "cluster");
    const struct kj_jval *v;
    if (!raw.n || kj_json_parse(l->json, raw.p, raw.n, &v, NULL) != KJ_OK ||
        v->kind != KJ_J_OBJECT)
        return KJ_OK;
    sqlite3_stmt *st = l->st[ST_CLUSTER];
    const struct kj_jval *id = kj_jget(v, "id");
    sqlite3_bind_int64(st, 1, doc);
    if (id && id->kind == KJ_J_INT)
        sqlite3_bind_int64(st, 2, id->i);
    else
        bind_str(st, 2, kj_jstr(id));
    sqlite3_bind_int64(st, 3, kj_jint(kj_jget(v, "size"), 0));
    bind_str(st, 4, kj_jstr(kj_jget(v, "keeper")));
    bind_real(st, 5, kj_jnum(kj_jget(v, "similarity"), NAN));
    kj_ledger_copies_add(l, d, kj_jstr(id), kj_jint(kj_jget(v, "size"), 0),
                         kj_jstr(kj_jget(v, "keeper")),
                         kj_jnum(kj_jget(v, "similarity"), 0));
    return kj_db_run(l, st, err);
}

/* substring{spans[{at, bytes, keeper, offset}]} as dedup leaves it. */
static int put_passages(struct kj_ledger *l, const struct kj_doc *d, int64_t doc,
                        struct kj_err *err)
{
    struct kj_str raw = kj_doc_get(d, "substring");
    const struct kj_jval *v;
    if (!raw.n || kj_json_parse(l->json, raw.p, raw.n, &v, NULL) != KJ_OK ||
        v->kind != KJ_J_OBJECT)
        return KJ_OK;
    const struct kj_jval *spans = kj_jget(v, "spans");
    if (!spans || spans->kind != KJ_J_ARRAY)
        return KJ_OK;
    sqlite3_stmt *st = l->st[ST_PASSAGE];
    int rc = KJ_OK;
    for (size_t i = 0; i < spans->n && rc == KJ_OK; i++) {
        const struct kj_jval *s = &spans->items[i];
        if (s->kind != KJ_J_OBJECT)
            continue;
        sqlite3_bind_int64(st, 1, doc);
        sqlite3_bind_int64(st, 2, (int64_t)i);
        sqlite3_bind_int64(st, 3, kj_jint(kj_jget(s, "at"), 0));
        sqlite3_bind_int64(st, 4, kj_jint(kj_jget(s, "bytes"), 0));
        bind_str(st, 5, kj_jstr(kj_jget(s, "keeper")));
        sqlite3_bind_int64(st, 6, kj_jint(kj_jget(s, "offset"), 0));
        rc = kj_db_run(l, st, err);
    }
    return rc;
}

static int put_doc(struct kj_ledger *l, const struct kj_doc *d, struct kj_err *err)
{
    struct row r = {.id = d->id};
    struct kj_rule_slot *out;
    char id[300];
    int64_t doc, set = 0;
    if (!r.id.n) { /* damaged beyond an id: its place will do */
        int n = snprintf(id, sizeof id, "%.*s@%lld",
                         (int)(d->warc.file.n < 200 ? d->warc.file.n : 200),
                         d->warc.file.p ? d->warc.file.p : "",
                         d->warc.offset >= 0 ? (long long)d->warc.offset
                                             : (long long)d->serial);
        r.id = (struct kj_str){id, (size_t)n};
    }
    r.chars = (int64_t)kj_utf8_count(d->text.p, d->text.n);
    int rc = row_names(l, d, &r, err);
    if (rc == KJ_OK)
        rc = doc_number(l, d, &r, &doc, err);
    if (rc == KJ_OK)
        rc = put_signals(l, d, doc, &out, err);
    if (rc == KJ_OK)
        rc = kj_ledger_cuts_doc(l, d, &set, err);
    if (rc == KJ_OK)
        rc = put_decision(l, d, doc, out, set, err);
    if (rc == KJ_OK)
        rc = kj_ledger_bands_doc(l, d, r.language, err);
    if (rc == KJ_OK)
        rc = put_cluster(l, d, doc, err);
    if (rc == KJ_OK)
        rc = put_passages(l, d, doc, err);
    if (rc)
        kj_err_doc(err, d->id.p, d->id.n);
    return rc;
}

int kj_ledger_rows(struct kj_ledger *l, const struct kj_batch *b, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        rc = put_doc(l, &b->docs[i], err);
    return rc;
}
