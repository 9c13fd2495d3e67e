/* ledger_flow.c - the flow being watched: its stages, its counters.
 *
 * Counters of stages are not counted here but taken from the flow, as the
 * difference to what is already in the file (struct kj_done), so that a flow
 * which spans several parts adds each document once. Checksums wrap around
 * modulo 2^64; SQLite's integers do not, hence they are added in C.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifests/ledger_internal.h"

void kj_ledger_done_release(struct kj_ledger *l)
{
    if (l->done)
        for (size_t i = 0; i <= l->n_steps; i++)
            free(l->done[i].tallies);
    free(l->done);
    l->done = NULL;
}

/* ---------------------------------------------------------------- stages */

static int register_stage(struct kj_ledger *l, size_t ordinal, const char *name,
                          int64_t *id, struct kj_err *err)
{
    *id = 0;
    int rc = kj_db_int(l, id, err,
                       "SELECT stage FROM stages WHERE run = ? AND phase = ? AND"
                       " ordinal = ?",
                       "isi", l->run, l->phase, (int64_t)ordinal);
    if (rc || *id)
        return rc;
    rc = kj_db_do(l, err,
                  "INSERT INTO stages (run, phase, ordinal, name) VALUES (?,?,?,?)",
                  "isis", l->run, l->phase, (int64_t)ordinal, name);
    *id = sqlite3_last_insert_rowid(l->db);
    return rc;
}

static int register_rules(struct kj_ledger *l, size_t step, int64_t stage,
                          const struct kj_step *s, struct kj_err *err)
{
    const struct kj_rule *r = NULL;
    size_t n = s->stage->rules ? s->stage->rules(s->cfg, &r) : 0;
    int64_t *rule = kj_xcalloc(n + 1, sizeof *rule);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_rule_slot *slot;
        rc = kj_ledger_rule(l, r[i].name, strlen(r[i].name), true, &slot, err);
        if (rc || !slot)
            continue;
        rule[i] = slot->id;
        if (strcmp(r[i].op, "off") == 0)
            continue;
        slot->only = slot->declared++ ? NULL : &r[i];
        rc = kj_db_do(l, err, "UPDATE rules SET unit = ?, about = ? WHERE rule = ?",
                      "ssi", r[i].unit, r[i].about, slot->id);
        if (rc == KJ_OK)
            rc = kj_db_do(l, err, "INSERT OR REPLACE INTO thresholds VALUES (?,?,?,?)",
                          "iisd", stage, slot->id, r[i].op, r[i].threshold);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_cuts_register(l, step, stage, r, n, rule, err);
    free(rule);
    return rc;
}

static int register_flow(struct kj_ledger *l, const struct kj_flow *f,
                         struct kj_err *err)
{
    struct kj_buf dump;
    kj_buf_init(&dump, 1 << 20);
    int64_t id;
    int rc = register_stage(l, 0, "input", &l->stage0, err);
    kj_ledger_cuts_release(l);
    for (size_t i = 0; i < l->n_rules; i++) {
        l->rules[i].only = NULL;
        l->rules[i].declared = 0;
    }
    for (size_t i = 0; i < f->n_steps && rc == KJ_OK; i++) {
        const struct kj_step *s = &f->steps[i];
        rc = register_stage(l, i + 1, s->stage->name, &id, err);
        if (rc == KJ_OK && id != l->stage0 + 1 + (int64_t)i)
            rc = kj_err_set(err, KJ_FAIL, "ledger: phase '%s' had other stages before",
                            l->phase);
        kj_buf_reset(&dump);
        if (rc == KJ_OK && s->stage->opts)
            kj_opt_dump(s->stage->opts, s->cfg, &dump);
        if (rc == KJ_OK)
            rc = kj_ledger_put_config(l, id, s->stage->name, dump.p, dump.n, err);
        if (rc == KJ_OK)
            rc = register_rules(l, i, id, s, err);
        if (rc == KJ_OK)
            rc = kj_ledger_bands_register(l, i, s, err);
    }
    kj_buf_release(&dump);
    return rc;
}

static int watch_begin(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_ledger *l = self;
    kj_ledger_done_release(l);
    l->n_steps = f->n_steps;
    l->done = kj_xcalloc(f->n_steps + 1, sizeof *l->done);
    l->open_flow = true;
    l->known_first = false;
    l->own_sum = 0;
    l->spent = (struct kj_spent){0};
    /* Its own transaction, also with parts: registering is idempotent. */
    int rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = register_flow(l, f, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

static int watch_batch(void *self, const struct kj_flow *f, const struct kj_batch *b,
                       struct kj_err *err)
{
    struct kj_ledger *l = self;
    int rc = kj_db_begin(l, err);
    /* A flow without stages does not sum up what passes. */
    for (size_t i = 0; i < b->n && f->n_steps == 0; i++)
        if (kj_doc_kept(&b->docs[i]))
            l->own_sum += kj_doc_checksum(&b->docs[i]);
    if (rc == KJ_OK)
        rc = kj_ledger_rows(l, b, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return l->parts ? KJ_OK : kj_db_commit(l, err);
}

/* --------------------------------------------------------------- counters */

static int add_reasons(struct kj_ledger *l, int64_t stage, const struct kj_tally *t,
                       size_t n, struct kj_done *d, struct kj_err *err)
{
    int rc = KJ_OK;
    if (n > d->n_tallies) {
        d->tallies = kj_xrealloc(d->tallies, n * sizeof *d->tallies);
        memset(d->tallies + d->n_tallies, 0, (n - d->n_tallies) * sizeof *d->tallies);
        d->n_tallies = n;
    }
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_rule_slot *slot;
        if (t[i].docs == d->tallies[i].docs)
            continue;
        rc = kj_ledger_rule(l, t[i].rule, strlen(t[i].rule), true, &slot, err);
        if (rc == KJ_OK && !slot)
            rc = kj_err_set(err, KJ_FAIL, "ledger: more than %d rules",
                            KJ_LEDGER_RULES_MAX);
        if (rc == KJ_OK)
            rc = kj_db_do(l, err,
                          "INSERT INTO reasons VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE"
                          " SET docs = docs + excluded.docs, bytes = bytes +"
                          " excluded.bytes",
                          "iiuui", stage, slot->id, t[i].docs - d->tallies[i].docs,
                          t[i].bytes - d->tallies[i].bytes, (int64_t)t[i].damaged);
        d->tallies[i] = (struct kj_count){t[i].docs, t[i].bytes};
    }
    return rc;
}

static int add_counts(struct kj_ledger *l, int64_t stage, const struct kj_done *now,
                      struct kj_done *was, struct kj_err *err)
{
    int64_t sum_in = 0, sum_kept = 0;
    int rc = kj_db_int(l, &sum_in, err, "SELECT sum_in FROM stages WHERE stage = ?",
                       "i", stage);
    if (rc == KJ_OK)
        rc = kj_db_int(l, &sum_kept, err, "SELECT sum_kept FROM stages WHERE stage = ?",
                       "i", stage);
    if (rc == KJ_OK)
        rc = kj_db_do(
            l, err,
            "UPDATE stages SET docs_in = docs_in + ?, docs_kept = docs_kept + ?,"
            " bytes_in = bytes_in + ?, bytes_kept = bytes_kept + ?, sum_in = ?,"
            " sum_kept = ? WHERE stage = ?",
            "uuuuuui", now->in - was->in, now->kept - was->kept,
            now->bytes_in - was->bytes_in, now->bytes_kept - was->bytes_kept,
            (uint64_t)sum_in + (now->sum_in - was->sum_in),
            (uint64_t)sum_kept + (now->sum_kept - was->sum_kept), stage);
    was->in = now->in;
    was->kept = now->kept;
    was->bytes_in = now->bytes_in;
    was->bytes_kept = now->bytes_kept;
    was->sum_in = now->sum_in;
    was->sum_kept = now->sum_kept;
    return rc;
}

/* The source as a stage of its own: it drops what is damaged. */
static struct kj_done source_counts(const struct kj_ledger *l, const struct kj_flow *f)
{
    struct kj_done d = {.in = f->docs_in, .bytes_in = f->text_in};
    uint64_t lost = 0;
    for (size_t i = 0; i < f->n_source_tallies; i++)
        lost += f->source_tallies[i].docs;
    d.kept = f->docs_in - lost;
    d.bytes_kept = f->n_steps ? f->steps[0].bytes_in : f->bytes_kept;
    d.sum_in = d.sum_kept = f->n_steps ? f->steps[0].sum_in : l->own_sum;
    return d;
}

int kj_ledger_add_run(struct kj_ledger *l, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_spent now = {f->bytes_in, f->text_in, f->wall, f->cpu};
    struct kj_spent was = l->spent;
    l->spent = now;
    return kj_db_do(l, err,
                    "UPDATE runs SET wall = coalesce(wall, 0) + ?1, cpu = coalesce(cpu,"
                    " 0) + ?2, bytes_in = coalesce(bytes_in, 0) + ?3 * first, text_in ="
                    " coalesce(text_in, 0) + ?4 * first FROM (SELECT min(stage) = ?5 AS"
                    " first FROM stages WHERE run = ?6) WHERE run = ?6",
                    "dduuii", now.wall - was.wall, now.cpu - was.cpu,
                    now.bytes - was.bytes, now.text - was.text, l->stage0, l->run);
}

int kj_ledger_flush_flow(struct kj_ledger *l, const struct kj_flow *f,
                         struct kj_err *err)
{
    struct kj_done now = source_counts(l, f);
    uint64_t docs = l->done[l->n_steps].kept, bytes = l->done[l->n_steps].bytes_kept,
             sum = l->done[l->n_steps].sum_kept;
    int rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = add_counts(l, l->stage0, &now, &l->done[0], err);
    if (rc == KJ_OK)
        rc = add_reasons(l, l->stage0, f->source_tallies, f->n_source_tallies,
                         &l->done[0], err);
    for (size_t i = 0; i < f->n_steps && rc == KJ_OK; i++) {
        const struct kj_step *s = &f->steps[i];
        int64_t stage = l->stage0 + 1 + (int64_t)i;
        now = (struct kj_done){.in = s->in,
                               .kept = s->kept,
                               .bytes_in = s->bytes_in,
                               .bytes_kept = s->bytes_kept,
                               .sum_in = s->sum_in,
                               .sum_kept = s->sum_kept};
        rc = add_counts(l, stage, &now, &l->done[i + 1], err);
        if (rc == KJ_OK)
            rc = add_reasons(l, stage, s->tallies, s->n_tallies, &l->done[i + 1], err);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_flush(l, err);
    if (rc == KJ_OK)
        rc = kj_ledger_add_run(l, f, err);
    l->last.docs = l->done[l->n_steps].kept - docs;
    l->last.bytes = l->done[l->n_steps].bytes_kept - bytes;
    l->last_sum = l->done[l->n_steps].sum_kept - sum;
    return rc;
}

static int watch_end(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_ledger *l = self;
    if (l->parts)
        return KJ_OK;
    int rc = kj_ledger_flush_flow(l, f, err);
    l->open_flow = false;
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

struct kj_watch kj_ledger_watch(struct kj_ledger *l)
{
    return (struct kj_watch){l, watch_begin, watch_batch, watch_end};
}
