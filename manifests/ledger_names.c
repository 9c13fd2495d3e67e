/* ledger_names.c - names to row numbers: rules, languages, sources, archives.
 *
 * The maps are caches: an entry is made when its row is known, and all are
 * thrown away after a rollback. A web crawl names millions of hosts, so a map
 * that has grown too large is emptied and fills again with what is seen now.
 */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"

#define NAMES_MAX      (1u << 17)
#define NAME_BYTES_MAX 512

/* The entry or NULL. */
static struct kj_name *find(const struct kj_names *m, const char *p, size_t n)
{
    if (!m->size)
        return NULL;
    for (size_t i = kj_hash64(p, n, 0);; i++) {
        struct kj_name *e = &m->slots[i & (m->size - 1)];
        if (!e->name)
            return NULL;
        if (e->len == n && memcmp(e->name, p, n) == 0)
            return e;
    }
}

static void grow(struct kj_names *m)
{
    struct kj_names old = *m;
    m->size = old.size ? 2 * old.size : 64;
    m->slots = kj_xcalloc(m->size, sizeof *m->slots);
    for (size_t i = 0; i < old.size; i++) {
        if (!old.slots[i].name)
            continue;
        size_t k = kj_hash64(old.slots[i].name, old.slots[i].len, 0);
        while (m->slots[k & (m->size - 1)].name)
            k++;
        m->slots[k & (m->size - 1)] = old.slots[i];
    }
    free(old.slots);
}

static void enter(struct kj_names *m, const char *p, size_t n, int64_t id)
{
    if (m->n >= NAMES_MAX)
        kj_names_clear(m);
    if (2 * (m->n + 1) > m->size)
        grow(m);
    size_t k = kj_hash64(p, n, 0);
    while (m->slots[k & (m->size - 1)].name)
        k++;
    m->slots[k & (m->size - 1)] = (struct kj_name){kj_xstrndup(p, n), n, id};
    m->n++;
}

void kj_names_clear(struct kj_names *m)
{
    for (size_t i = 0; i < m->size; i++)
        free(m->slots[i].name);
    free(m->slots);
    memset(m, 0, sizeof *m);
}

static int make_row(struct kj_ledger *l, const char *table, const char *key_col,
                    const char *name_col, const char *name, int64_t *id, bool *made,
                    struct kj_err *err)
{
    char sql[160];
    *id = 0;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE %s = ?", key_col, table,
             name_col);
    int rc = kj_db_int(l, id, err, sql, "s", name);
    *made = rc == KJ_OK && !*id;
    if (!*made)
        return rc;
    snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES (?)", table, name_col);
    rc = kj_db_do(l, err, sql, "s", name);
    *id = sqlite3_last_insert_rowid(l->db);
    return rc;
}

int kj_names_row(struct kj_ledger *l, struct kj_names *m, const char *table,
                 const char *key_col, const char *name_col, const char *p, size_t n,
                 int64_t *id, struct kj_err *err)
{
    bool made;
    n = n > NAME_BYTES_MAX ? kj_utf8_cut(p, n, NAME_BYTES_MAX) : n;
    struct kj_name *e = find(m, p, n);
    if (e) {
        *id = e->id;
        return KJ_OK;
    }
    char *name = kj_xstrndup(p, n);
    int rc = make_row(l, table, key_col, name_col, name, id, &made, err);
    if (rc == KJ_OK)
        enter(m, p, n, *id);
    free(name);
    return rc;
}

/* A rule is ours when a stage declares it, or when nobody has named it before:
 * then its values came with the input from a process without a ledger. Values
 * that another process has recorded already are not recorded again. */
int kj_ledger_rule(struct kj_ledger *l, const char *p, size_t n, bool declared,
                   struct kj_rule_slot **out, struct kj_err *err)
{
    *out = NULL;
    n = n > NAME_BYTES_MAX ? kj_utf8_cut(p, n, NAME_BYTES_MAX) : n;
    struct kj_name *e = find(&l->rule_names, p, n);
    if (e) {
        *out = &l->rules[e->id];
        (*out)->ours |= declared;
        return KJ_OK;
    }
    if (l->n_rules >= KJ_LEDGER_RULES_MAX)
        return KJ_OK;
    int64_t id;
    bool made;
    char *name = kj_xstrndup(p, n);
    int rc = make_row(l, "rules", "rule", "name", name, &id, &made, err);
    if (rc) {
        free(name);
        return rc;
    }
    l->rules = kj_xrealloc(l->rules, (l->n_rules + 1) * sizeof *l->rules);
    struct kj_rule_slot *r = &l->rules[l->n_rules];
    memset(r, 0, sizeof *r);
    r->id = id;
    r->name = name;
    r->ours = declared || made;
    enter(&l->rule_names, p, n, (int64_t)l->n_rules++);
    *out = r;
    return KJ_OK;
}

static void sample_release(struct kj_sample *s)
{
    free(s->id);
    free(s->url);
    free(s->language);
    free(s->excerpt);
}

void kj_ledger_unflush(struct kj_ledger *l)
{
    kj_ledger_cuts_unflush(l);
    kj_ledger_copies_release(l);
    for (size_t i = 0; i < l->n_rules; i++) {
        struct kj_rule_slot *r = &l->rules[i];
        for (size_t t = 0; t < r->n_tracks; t++) {
            struct kj_track *k = &r->tracks[t];
            free(k->buckets);
            for (int side = 0; side < KJ_SIDES; side++)
                for (size_t s = 0; s < k->n_samples[side]; s++)
                    sample_release(&k->samples[side][s]);
        }
        free(r->tracks);
        r->tracks = NULL;
        r->n_tracks = 0;
    }
    for (size_t i = 0; i < l->n_kept; i++)
        sample_release(&l->kept[i]);
    l->n_kept = 0;
}

void kj_ledger_rules_release(struct kj_ledger *l)
{
    kj_ledger_unflush(l);
    for (size_t i = 0; i < l->n_rules; i++)
        free(l->rules[i].name);
    free(l->rules);
    l->rules = NULL;
    l->n_rules = 0;
    kj_names_clear(&l->rule_names);
}
