/* mix.c - settles what each part of a plan gives, and writes the order.
 *
 * All that is needed of a document afterwards is in 8 bytes: its tokens, its
 * part, and which of the plan's weights it has. The rest is arithmetic on that
 * table in fixed point, so that every machine comes to the same order: passes
 * count in 2^-32, weights in 2^-12, so their product, and the draw u, in 2^-44.
 * The number of passes is found by halving the interval 42 times, for all parts
 * at once: the tokens of a part never fall as its passes rise.
 */
#include "manifests/mix.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/output.h"
#include "base/shards.h"
#include "base/sorter.h"
#include "base/yaml.h"
#include "manifests/mix_internal.h"

#define PASS_ONE     (UINT64_C(1) << 32)
#define WEIGHT_ONE   4096.0
#define DRAW_BITS    44
#define NO_PART      UINT16_MAX
#define DOC_LINE_MAX ((size_t)1 << 20)

/* ---- the sets, and the table of their documents ---- */

void kj_mix_release(struct kj_mix *m)
{
    struct kj_mix_table *t = m->table;
    for (size_t i = 0; t && i < t->n_sets; i++) {
        kj_shards_close(t->sets[i].shards);
        free(t->sets[i].manifest);
    }
    if (t) {
        free(t->sets);
        free(t->v);
        free(t->weights);
    }
    free(t);
    for (size_t i = 0; i < m->n; i++) {
        kj_strs_release(&m->parts[i].source);
        kj_strs_release(&m->parts[i].language);
        kj_strs_release(&m->parts[i].band);
        free(m->parts[i].weights.v);
    }
    free(m->parts);
    free(m->weights.v);
    kj_strs_release(&m->sets);
    kj_yaml_free(m->yaml);
    memset(m, 0, sizeof *m);
}

static bool matches(const struct kj_strs *patterns, struct kj_str s)
{
    char z[512];
    if (!patterns->n)
        return true;
    if (s.n >= sizeof z)
        return false;
    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    for (size_t i = 0; i < patterns->n; i++)
        if (fnmatch(patterns->v[i], z, 0) == 0)
            return true;
    return false;
}

/* The weight by the size of the cluster, in the table's list of weights. */
static uint16_t weight_of(struct kj_mix_table *t, const struct kj_mix *m,
                          const struct kj_mix_part *p, uint64_t cluster)
{
    const struct kj_mix_weights *w = p->weights.v ? &p->weights : &m->weights;
    double v = 1;
    for (size_t i = 0; i < w->n && w->v[i].size <= cluster; i++)
        v = w->v[i].weight;
    uint32_t q = (uint32_t)(v * WEIGHT_ONE + 0.5);
    for (size_t i = 0; i < t->n_weights; i++)
        if (t->weights[i] == q)
            return (uint16_t)i;
    t->weights = kj_xrealloc(t->weights, (t->n_weights + 1) * sizeof *t->weights);
    t->weights[t->n_weights] = q;
    return (uint16_t)t->n_weights++;
}

static void add_doc(struct kj_mix *m, const struct kj_jval *v, uint32_t tokens)
{
    struct kj_mix_table *t = m->table;
    struct kj_str source = kj_jstr(kj_jget(v, "source"));
    struct kj_str language = kj_jstr(kj_jget(v, "language"));
    struct kj_str band = kj_jstr(kj_jget(v, "band"));
    int64_t cluster = kj_jint(kj_jget(v, "cluster"), 1);
    struct kj_mix_doc d = {.tokens = tokens, .part = NO_PART};
    size_t i = 0;
    while (i < m->n && !(matches(&m->parts[i].source, source) &&
                         matches(&m->parts[i].language, language) &&
                         matches(&m->parts[i].band, band)))
        i++;
    if (i < m->n) {
        d.part = (uint16_t)i;
        d.weight = weight_of(t, m, &m->parts[i], cluster > 0 ? (uint64_t)cluster : 1);
        m->parts[i].documents++;
        m->parts[i].available += tokens;
    } else {
        m->left_documents++;
        m->left_tokens += tokens;
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap + t->cap / 2 : 4096;
        t->v = kj_xrealloc(t->v, t->cap * sizeof *t->v);
    }
    t->v[t->n++] = d;
}

/* The lines of the document index are what the manifest has the hash of, and
 * each has as many tokens as the shard's own index says. */
static int read_docs(struct kj_mix *m, const struct kj_shards *s, struct kj_lines *l,
                     struct kj_json *j, struct kj_err *err)
{
    const char *p;
    size_t n, k = 0;
    int64_t member, at;
    uint64_t h = 0, d = 0;
    int rc = KJ_OK;
    for (; k < kj_shards_count(s); k++, d = h = 0) {
        const struct kj_shard *r = kj_shards_get(s, k);
        char got[40];
        for (; d < r->documents; d++) {
            const struct kj_jval *v;
            rc = kj_lines_next(l, &p, &n, &member, &at, err);
            if (rc == KJ_EOF)
                return kj_err_set(err, KJ_FAIL, "cut short in the lines of %s",
                                  r->path);
            if (rc == KJ_OK)
                rc = kj_json_parse(j, p, n, &v, err);
            if (rc != KJ_OK)
                return rc;
            uint64_t tokens =
                kj_idx_doc_start(&r->idx, d + 1) - kj_idx_doc_start(&r->idx, d);
            if ((uint64_t)kj_jint(kj_jget(v, "tokens"), -1) != tokens)
                return kj_err_set(err, KJ_FAIL,
                                  "document %" PRIu64 " of %s: not its tokens", d,
                                  r->path);
            h = kj_hash64(p, n, h);
            add_doc(m, v, (uint32_t)tokens);
        }
        snprintf(got, sizeof got, "xxh64-chain:%016" PRIx64, h);
        if (strcmp(got, r->docs_hash) != 0)
            return kj_err_set(err, KJ_FAIL,
                              "lines of %s hash to %s, by the manifest %s", r->path,
                              got, r->docs_hash);
    }
    return KJ_OK;
}

static int read_set(struct kj_mix *m, const char *path, struct kj_err *err)
{
    struct kj_mix_table *t = m->table;
    struct kj_mix_set *set = &t->sets[t->n_sets];
    struct kj_input *in = NULL;
    int rc = kj_shards_open(&set->shards, path, err);
    if (rc != KJ_OK)
        return rc;
    t->n_sets++;
    const struct kj_shards *a = t->sets[0].shards, *s = set->shards;
    char *docs = kj_shards_path(s, "docs.jsonl.zst");
    /* Where kj_shards_open found it: the path itself, or the folder's. */
    set->manifest = access(path, F_OK) == 0 && !kj_mix_is_folder(path)
                        ? kj_xstrdup(path)
                        : kj_shards_path(s, "manifest.jsonl");
    if (strcmp(kj_shards_tokenizer_hash(a), kj_shards_tokenizer_hash(s)) != 0 ||
        kj_shards_eos(a) != kj_shards_eos(s)) {
        rc = kj_err_set(err, KJ_FAIL, "another tokenizer or EOS than in %s",
                        t->sets[0].manifest);
        kj_err_where(err, set->manifest, -1);
    }
    if (rc == KJ_OK)
        rc = kj_input_open(&in, docs, err);
    if (rc == KJ_OK) {
        struct kj_lines *l = kj_lines_new(in, DOC_LINE_MAX);
        struct kj_json *j = kj_json_new();
        rc = read_docs(m, s, l, j, err);
        kj_json_free(j);
        kj_lines_free(l);
    }
    kj_input_close(in);
    if (rc != KJ_OK)
        kj_err_where(err, docs, -1);
    free(docs);
    return rc;
}

/* ---- how much ---- */

static uint64_t draw(const struct kj_mix *m, uint64_t doc)
{
    return kj_hash64((const char *)&doc, sizeof doc, (uint64_t)m->seed) >>
           (64 - DRAW_BITS);
}

static uint64_t copies(const struct kj_mix *m, uint64_t doc, uint64_t passes)
{
    const struct kj_mix_table *t = m->table;
    return (passes * t->weights[t->v[doc].weight] + draw(m, doc)) >> DRAW_BITS;
}

/* Tokens of each part with so many passes. */
static void measure(const struct kj_mix *m, const uint64_t *passes, uint64_t *tokens)
{
    const struct kj_mix_table *t = m->table;
    memset(tokens, 0, m->n * sizeof *tokens);
    for (uint64_t d = 0; d < t->n; d++)
        if (t->v[d].part != NO_PART)
            tokens[t->v[d].part] += copies(m, d, passes[t->v[d].part]) * t->v[d].tokens;
}

/* Each part's share of the budget in tokens. */
static int ask(struct kj_mix *m, struct kj_err *err)
{
    double shares = 0, fixed = 0, total = m->tokens;
    for (size_t i = 0; i < m->n; i++) {
        shares += isnan(m->parts[i].share) ? 0 : m->parts[i].share;
        fixed += isnan(m->parts[i].tokens) ? 0 : m->parts[i].tokens;
    }
    if (isnan(total)) { /* the most for which no part falls short */
        total = INFINITY;
        for (size_t i = 0; i < m->n; i++)
            if (m->parts[i].share > 0 && m->parts[i].most < 1)
                return kj_err_set(err, KJ_FAIL,
                                  "part %s has no documents: no budget keeps the "
                                  "proportions",
                                  m->parts[i].name);
            else if (m->parts[i].share > 0)
                total = fmin(total, m->parts[i].most * shares / m->parts[i].share);
        total = (shares > 0 ? total : 0) + fixed;
    }
    if (total < fixed)
        return kj_err_set(err, KJ_USAGE,
                          "the parts ask for %.0f tokens, the budget is %.0f", fixed,
                          total);
    for (size_t i = 0; i < m->n; i++) {
        struct kj_mix_part *p = &m->parts[i];
        p->asked = isnan(p->share) ? p->tokens
                   : p->share > 0  ? (total - fixed) * p->share / shares
                                   : 0;
        p->budget = p->asked;
    }
    return KJ_OK;
}

/* What parts that have too little lack goes to the others by their budgets, until
 * nothing is left or nobody has room. */
static void fill(struct kj_mix *m)
{
    for (size_t round = 0; round <= m->n; round++) {
        double lack = 0, room = 0;
        for (size_t i = 0; i < m->n; i++) {
            struct kj_mix_part *p = &m->parts[i];
            if (p->budget > p->most) {
                lack += p->budget - p->most;
                p->budget = p->most;
            } else if (p->budget < p->most) {
                room += p->budget;
            }
        }
        if (lack < 1 || room <= 0)
            return;
        for (size_t i = 0; i < m->n; i++)
            if (m->parts[i].budget < m->parts[i].most)
                m->parts[i].budget *= 1 + lack / room;
    }
}

static int settle(struct kj_mix *m, struct kj_err *err)
{
    double scale = 1;
    for (size_t i = 0; i < m->n; i++) {
        struct kj_mix_part *p = &m->parts[i];
        /* A budget is a whole number of tokens: half of one is no shortfall. */
        if (p->asked < p->most + 1)
            continue;
        if (m->shortfall == KJ_MIX_FAIL)
            return kj_err_set(err, KJ_FAIL,
                              "part %s has %.0f tokens in %g epochs, the plan asks for "
                              "%.0f",
                              p->name, p->most, p->epochs, p->asked);
        scale = fmin(scale, p->most / p->asked);
    }
    if (m->shortfall == KJ_MIX_FILL)
        fill(m);
    for (size_t i = 0; i < m->n; i++) {
        struct kj_mix_part *p = &m->parts[i];
        if (m->shortfall == KJ_MIX_SCALE)
            p->budget *= scale;
        p->budget = floor(fmin(p->budget, p->most) + 0.5);
    }
    return KJ_OK;
}

/* The most passes that stay within each part's budget. */
static void find_passes(struct kj_mix *m)
{
    uint64_t *v = kj_xcalloc(4 * m->n, sizeof *v);
    uint64_t *lo = v, *hi = v + m->n, *mid = v + 2 * m->n, *tokens = v + 3 * m->n;
    for (size_t i = 0; i < m->n; i++)
        hi[i] = (uint64_t)(m->parts[i].epochs * (double)PASS_ONE) + 1;
    for (int step = 0; step < 43; step++) {
        for (size_t i = 0; i < m->n; i++)
            mid[i] = lo[i] + (hi[i] - lo[i]) / 2;
        measure(m, mid, tokens);
        for (size_t i = 0; i < m->n; i++)
            if ((double)tokens[i] <= m->parts[i].budget)
                lo[i] = mid[i];
            else
                hi[i] = mid[i];
    }
    for (size_t i = 0; i < m->n; i++)
        m->parts[i].passes = lo[i];
    free(v);
}

static void tally(struct kj_mix *m)
{
    const struct kj_mix_table *t = m->table;
    for (uint64_t d = 0; d < t->n; d++) {
        if (t->v[d].part == NO_PART)
            continue;
        struct kj_mix_part *p = &m->parts[t->v[d].part];
        uint64_t k = copies(m, d, p->passes);
        p->entries += k;
        p->given += k * t->v[d].tokens;
        p->unique += k ? t->v[d].tokens : 0;
        p->unique_documents += k > 0;
    }
    for (size_t i = 0; i < m->n; i++) {
        m->given += m->parts[i].given;
        m->entries += m->parts[i].entries;
    }
}

int kj_mix_solve(struct kj_mix *m, struct kj_err *err)
{
    int rc = m->sets.n ? KJ_OK
                       : kj_err_set(err, KJ_USAGE, "the plan names no sets of shards");
    m->table = kj_xcalloc(1, sizeof *m->table);
    m->table->sets = kj_xcalloc(m->sets.n + 1, sizeof *m->table->sets);
    for (size_t i = 0; i < m->sets.n && rc == KJ_OK; i++)
        rc = read_set(m, m->sets.v[i], err);
    if (rc != KJ_OK)
        return rc;
    uint64_t *v = kj_xcalloc(2 * m->n, sizeof *v);
    for (size_t i = 0; i < m->n; i++)
        v[i] = (uint64_t)(m->parts[i].epochs * (double)PASS_ONE);
    measure(m, v, v + m->n);
    for (size_t i = 0; i < m->n; i++)
        m->parts[i].most = (double)v[m->n + i];
    free(v);
    rc = ask(m, err);
    if (rc == KJ_OK)
        rc = settle(m, err);
    if (rc == KJ_OK) {
        find_passes(m);
        tally(m);
    }
    if (rc == KJ_OK && !m->entries)
        rc = kj_err_set(err, KJ_FAIL, "the plan takes no document");
    return rc;
}

double kj_mix_worth(double d, double u)
{
    const double r = 15.39;
    return d <= u || u <= 0 ? d : u + u * r * (1 - exp(-(d / u - 1) / r));
}

/* ---- the order ---- */

static int put_entries(const struct kj_mix *m, struct kj_sorter *s, struct kj_output *o,
                       struct kj_err *err)
{
    uint64_t head = m->entries, entry[2] = {0, 0}, key;
    const char *p;
    size_t n;
    int rc = kj_output_write(o, KJ_ORDER_MAGIC, 8, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, (const char *)&head, 8, err);
    while (rc == KJ_OK && (rc = kj_sorter_next(s, &key, &p, &n, err)) == KJ_OK) {
        memcpy(&entry[1], p, 8);
        rc = kj_output_write(o, (const char *)entry, 16, err);
        entry[0] += m->table->v[KJ_ORDER_DOC(entry[1])].tokens;
    }
    entry[1] = 0;
    return rc == KJ_EOF ? kj_output_write(o, (const char *)entry, 16, err) : rc;
}

static int write_bin(const struct kj_mix *m, const char *dir, const char *path,
                     int64_t memory, struct kj_err *err)
{
    const struct kj_mix_table *t = m->table;
    struct kj_sorter *s = kj_sorter_new(dir, (size_t)memory);
    struct kj_output *o = NULL;
    int rc = KJ_OK;
    for (uint64_t d = 0; d < t->n && rc == KJ_OK; d++) {
        if (t->v[d].part == NO_PART)
            continue;
        uint64_t k = copies(m, d, m->parts[t->v[d].part].passes);
        uint64_t word = d | (uint64_t)t->v[d].part << KJ_ORDER_PART;
        for (uint64_t i = 0; i < k && rc == KJ_OK; i++) {
            const uint64_t what[2] = {d, i};
            rc = kj_sorter_add(
                s, kj_hash64((const char *)what, sizeof what, ~(uint64_t)m->seed),
                &word, 8, err);
        }
    }
    if (rc == KJ_OK)
        rc = kj_output_open(&o, path, err);
    if (rc == KJ_OK)
        rc = put_entries(m, s, o, err);
    if (rc == KJ_OK)
        rc = kj_output_commit(o, err);
    else
        kj_output_abort(o);
    kj_sorter_free(s);
    return rc;
}

int kj_mix_write(const struct kj_mix *m, const char *dir, int64_t memory,
                 const char *tool, struct kj_err *err)
{
    struct kj_buf bin, json;
    char hash[40];
    int64_t bytes;
    kj_buf_init(&bin, 1 << 16);
    kj_buf_init(&json, (size_t)1 << 28);
    kj_buf_printf(&bin, "%s/order.json", dir);
    unlink(kj_buf_z(&bin));
    kj_buf_reset(&bin);
    kj_buf_printf(&bin, "%s/order.bin", dir);
    int rc = write_bin(m, dir, kj_buf_z(&bin), memory, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(kj_buf_z(&bin), hash, &bytes, err);
    if (rc == KJ_OK)
        rc = kj_mix_order_json(m, dir, hash, tool, &json, err);
    if (rc == KJ_OK) {
        kj_buf_reset(&bin);
        kj_buf_printf(&bin, "%s/order.json", dir);
        rc = kj_output_file(kj_buf_z(&bin), json.p, json.n, err);
    }
    kj_buf_release(&bin);
    kj_buf_release(&json);
    return rc;
}
