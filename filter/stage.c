/* stage.c - the filter stage: measures every rule, drops by the first failing. */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "base/yaml.h"
#include "filter/facts.h"
#include "filter/filter.h"
#include "filter/pii.h"
#include "filter/recipe.h"

struct cfg {
    struct kj_strs recipe, set;
    const char *recipes_dir;
    bool mark, list, first;
    bool only_kept; /* of what goes nobody sees more than the reason */
    /* completed by open */
    struct kj_filter_recipe *inline_rules; /* from a run recipe; NULL: none */
    struct kj_filter_recipe *compiled;
    struct kj_rule *rules;
    char **abouts; /* those of conditional rules */
    size_t n_rules;
    struct counts *counts;
};

/* Added up as workers end. */
struct counts {
    atomic_uint_fast64_t docs, ungoverned; /* no rule applied to these */
    char warning[300];
};

struct state {
    struct kj_facts facts;
    bool *on;                            /* scopes that hold for the document */
    const struct kj_filter_item **items; /* rules that apply to it, in order */
    struct kj_buf text[2];               /* rewritten texts: the last one, the next */
    struct kj_pii_spans spans;
    uint64_t docs, ungoverned;
};

#define F(x) offsetof(struct cfg, x)
const struct kj_opt kj_filter_opts[] = {
    {"recipe", 'r', KJ_OPT_LIST, F(recipe), "RECIPE",
     "recipes whose rules run, one after the other: names or files", 0, 0, 0},
    {"set", 0, KJ_OPT_LIST, F(set), "RULE=VALUE",
     "another threshold, or off, for a rule; it is added where no recipe has it", 0, 0,
     0},
    {"mark", 0, KJ_OPT_FLAG, F(mark), 0,
     "keep every document, and put the verdict into its field \"filter\"", 0, 0, 0},
    {"first", 0, KJ_OPT_FLAG, F(first), 0,
     "stop at the first rule that a document fails: those behind it are not measured "
     "for it, and have no value",
     0, 0, 0},
    {"recipes_dir", 0, KJ_OPT_STR, F(recipes_dir), "DIR",
     "where recipes are looked for first (also KIJIL_RECIPES)", 0, 0, 0},
    {"list", 0, KJ_OPT_FLAG, F(list), 0,
     "print every rule with its definition, and stop", 0, 0, 0},
    {0},
};
#undef F

/* Texts with more words or lines than facts.h allows. */
static const char RULE_OVER[] = "filter.max_words";

static struct kj_filter_recipe *new_recipe(const char *dir)
{
    struct kj_filter_recipe *r = kj_xmalloc(sizeof *r);
    kj_filter_recipe_init(r, dir);
    return r;
}

/* Words of --set: a comma splits them, so a word without '=' goes on with the
 * value of the one before (lang.keep=ko,en). */
static int apply_sets(struct kj_filter_recipe *r, const struct kj_strs *set,
                      struct kj_err *err)
{
    int rc = KJ_OK;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    for (size_t i = 0; i < set->n && rc == KJ_OK;) {
        kj_buf_reset(&b);
        rc = kj_buf_addz(&b, set->v[i++]);
        for (; rc == KJ_OK && i < set->n && !strchr(set->v[i], '='); i++)
            rc = kj_buf_printf(&b, ",%s", set->v[i]);
        rc = rc ? kj_err_set(err, KJ_USAGE, "--set: too long")
                : kj_filter_recipe_set(r, kj_buf_z(&b), err);
    }
    kj_buf_release(&b);
    return rc;
}

/* The rules as the ledger and the report want them: one for each item. */
static void list_rules(struct cfg *c)
{
    const struct kj_filter_recipe *r = c->compiled;
    c->rules = kj_xcalloc(r->n + 1, sizeof *c->rules);
    c->abouts = kj_xcalloc(r->n + 1, sizeof *c->abouts);
    for (size_t i = 0; i < r->n; i++) {
        const struct kj_filter_item *it = &r->items[i];
        const char *about = it->rule->about, *text = it->scope->text;
        if (text[0]) {
            size_t n = strlen(about) + strlen(text) + 16;
            char *z = c->abouts[c->n_rules] = kj_xmalloc(n);
            snprintf(z, n, "%s (where %s)", about, text);
            about = z;
        }
        c->rules[c->n_rules++] = (struct kj_rule){
            .name = it->rule->name,
            .op = it->off ? "off" : it->rule->op,
            .threshold = it->off || !it->rule->op[0] ? NAN : it->threshold,
            .unit = it->rule->unit,
            .about = about,
        };
    }
}

static int filter_open(void *cfg, struct kj_err *err)
{
    struct cfg *c = cfg;
    if (c->list)
        return kj_err_set(err, KJ_USAGE, "--list is for the command line only");
    if (!c->recipe.n && !c->set.n && !c->inline_rules)
        return kj_err_set(err, KJ_USAGE, "no rules: give a recipe (-r gopher)");
    struct kj_filter_recipe *r = c->compiled = new_recipe(c->recipes_dir);
    int rc = KJ_OK;
    for (size_t i = 0; i < c->recipe.n && rc == KJ_OK; i++)
        rc = kj_filter_recipe_add(r, c->recipe.v[i], err);
    if (rc == KJ_OK && c->inline_rules)
        rc = kj_filter_recipe_append(r, c->inline_rules, err);
    if (rc == KJ_OK)
        rc = apply_sets(r, &c->set, err);
    if (rc == KJ_OK && !r->n)
        rc = kj_err_set(err, KJ_USAGE, "the recipe has no rules");
    if (rc == KJ_OK) {
        list_rules(c);
        c->counts = kj_xcalloc(1, sizeof *c->counts);
    }
    return rc;
}

static void filter_close(void *cfg)
{
    struct cfg *c = cfg;
    if (c->compiled)
        kj_filter_recipe_release(c->compiled);
    if (c->inline_rules)
        kj_filter_recipe_release(c->inline_rules);
    for (size_t i = 0; i < c->n_rules; i++)
        free(c->abouts[i]);
    free(c->abouts);
    free(c->rules);
    free(c->compiled);
    free(c->inline_rules);
    free(c->counts);
    c->counts = NULL;
    c->compiled = c->inline_rules = NULL;
    c->rules = NULL;
    c->abouts = NULL;
    c->n_rules = 0;
}

/* In a run recipe the rules may also stand in the step itself. */
static int filter_yaml(void *cfg, const struct kj_ynode *map, struct kj_err *err)
{
    static const char *const ours[] = {"about", "include",    "words", "stop_words",
                                       "rules", "short_line", NULL};
    struct cfg *c = cfg;
    int rc = kj_opt_yaml(kj_filter_opts, cfg, map, ours, err);
    bool any = false;
    for (size_t i = 0; ours[i]; i++)
        any |= kj_ynode_get(map, ours[i]) != NULL;
    if (rc || !any)
        return rc;
    struct kj_ynode part = *map; /* the map without the keys that are options */
    part.items = kj_xcalloc(map->n, sizeof *part.items);
    part.n = 0;
    for (size_t i = 0; i < map->n; i++)
        for (size_t k = 0; ours[k]; k++)
            if (strcmp(map->items[i]->key, ours[k]) == 0)
                part.items[part.n++] = map->items[i];
    c->inline_rules = new_recipe(c->recipes_dir);
    rc = kj_filter_recipe_add_node(c->inline_rules, &part, err);
    free(part.items);
    return rc;
}

static size_t filter_rules(const void *cfg, const struct kj_rule **out)
{
    const struct cfg *c = cfg;
    *out = c->rules;
    return c->n_rules;
}

static int filter_begin(const void *cfg, void *state, struct kj_err *err)
{
    const struct cfg *c = cfg;
    struct state *s = state;
    (void)err;
    kj_facts_init(&s->facts);
    s->on = kj_xcalloc(c->compiled->n_scopes + 1, sizeof *s->on);
    s->items = kj_xcalloc(c->compiled->n + 1, sizeof *s->items);
    for (int i = 0; i < 2; i++)
        kj_buf_init(&s->text[i], KJ_BATCH_ARENA_CAP);
    return KJ_OK;
}

static void filter_end(const void *cfg, void *state)
{
    const struct cfg *c = cfg;
    struct state *s = state;
    atomic_fetch_add(&c->counts->docs, s->docs);
    atomic_fetch_add(&c->counts->ungoverned, s->ungoverned);
    kj_facts_release(&s->facts);
    free(s->on);
    free(s->items);
    for (int i = 0; i < 2; i++)
        kj_buf_release(&s->text[i]);
    kj_pii_spans_release(&s->spans);
}

/* The rules that apply to d, in recipe order: of one that stands more than
 * once, the last whose conditions hold. */
static size_t select_items(const struct kj_filter_recipe *r, struct state *s,
                           const struct kj_doc *d)
{
    bool taken[KJ_FILTER_RULES_MAX] = {false}; /* by row */
    size_t n = 0;
    kj_filter_recipe_scopes(r, d, s->on);
    for (size_t i = r->n; i-- > 0;) {
        const struct kj_filter_item *it = &r->items[i];
        bool *t = &taken[it->rule - kj_filter_rules];
        if (*t || !s->on[it->scope->number])
            continue;
        *t = true;
        if (!it->off)
            s->items[n++] = it;
    }
    for (size_t i = 0; i < n / 2; i++) {
        const struct kj_filter_item *t = s->items[i];
        s->items[i] = s->items[n - 1 - i];
        s->items[n - 1 - i] = t;
    }
    return n;
}

static bool fails(const struct kj_filter_item *it, double v)
{
    if (!it->rule->op[0])
        return false;
    return it->rule->op[0] == '<' ? v < it->threshold : v > it->threshold;
}

/* Where masks stand in the new text, in characters. */
static int put_spans(const struct kj_pii_spans *sp, struct kj_doc *d,
                     const char *const *names, struct kj_arena *a)
{
    struct kj_buf b;
    size_t at = 0, chars = 0;
    int rc = KJ_OK;
    kj_buf_init(&b, KJ_BATCH_ARENA_CAP);
    for (size_t i = 0; i < sp->n && rc == KJ_OK; i++) {
        const struct kj_pii_span *x = &sp->v[i];
        chars += kj_utf8_count(d->text.p + at, x->from - at);
        rc = kj_buf_printf(
            &b, "%s{\"rule\":\"%s\",\"start\":%zu,\"end\":%zu,\"was\":%zu}",
            i ? "," : "[", names[x->kind], chars, chars + x->len, x->was);
        at = x->from + x->len; /* what stands for it is ASCII */
        chars += x->len;
    }
    rc = rc ? rc : kj_buf_addc(&b, ']');
    char *json = rc ? NULL : kj_arena_dup(a, b.p, b.n);
    if (json)
        kj_doc_set(d, a, "pii", (struct kj_str){json, b.n});
    kj_buf_release(&b);
    return json ? KJ_OK : KJ_BAD_RECORD;
}

/* All masks at once; where two find the same place, the earlier rule has it. */
static int mask(struct state *s, size_t n, struct kj_doc *d, struct kj_arena *a)
{
    const char *names[KJ_PII_KINDS];
    s->spans.n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct kj_filter_item *it = s->items[i];
        enum kj_pii_kind kind = (enum kj_pii_kind)it->rule->arg;
        size_t count;
        if (it->rule->kind != KJ_FILTER_MASK)
            continue;
        names[kind] = it->rule->name;
        if (it->threshold == KJ_MASK_REWRITE)
            count = kj_pii_spans_add(&s->spans, kind, d->text.p, d->text.n);
        else
            kj_pii_mask(kind, d->text.p, d->text.n, &count, NULL, NULL);
        kj_doc_signal(d, a, it->rule->name, (double)count);
    }
    if (!s->spans.n)
        return KJ_OK;
    int rc = kj_pii_spans_mask(&s->spans, d->text.p, d->text.n, a, &d->text);
    return rc ? rc : put_spans(&s->spans, d, names, a);
}

/* A cleaning rule at its place: what follows sees the new text. */
static int clean(const struct kj_filter_item *it, struct state *s, double *count)
{
    struct kj_str old = {s->facts.p, s->facts.n};
    struct kj_buf *b = &s->text[old.p == s->text[0].p];
    size_t k = 0;
    kj_buf_reset(b);
    if (it->rule->clean(it, old, b, &k) != KJ_OK)
        return KJ_BAD_RECORD;
    *count = (double)k;
    if (it->rule->kind == KJ_FILTER_CLEAN && it->threshold == KJ_MASK_COUNT)
        return KJ_OK;
    if (b->n != old.n || (old.n && memcmp(b->p, old.p, old.n) != 0))
        kj_facts_text(&s->facts, (struct kj_str){kj_buf_z(b), b->n});
    return KJ_OK;
}

/* Give the document the text that the cleaning rules left. */
static int keep_text(const struct state *s, struct kj_doc *d, struct kj_arena *a)
{
    if (s->facts.p == d->text.p)
        return KJ_OK;
    char *p = kj_arena_dup(a, s->facts.p, s->facts.n);
    d->text = (struct kj_str){p, s->facts.n};
    return p ? KJ_OK : KJ_BAD_RECORD;
}

struct verdict {
    const char *rule;
    double value, threshold;
};

static int put_mark(struct kj_doc *d, struct kj_arena *a, const struct verdict *v,
                    const struct kj_buf *failed)
{
    struct kj_buf b;
    int rc;
    kj_buf_init(&b, 1 << 16);
    if (!v->rule) {
        rc = kj_buf_addz(&b, "{\"keep\":true}");
    } else {
        rc = kj_buf_printf(&b, "{\"keep\":false,\"rule\":\"%s\",\"value\":", v->rule);
        rc = rc ? rc : kj_json_put_real(&b, v->value);
        rc = rc ? rc : kj_buf_addz(&b, ",\"threshold\":");
        rc = rc ? rc : kj_json_put_real(&b, v->threshold);
        rc = rc ? rc
                : kj_buf_printf(&b, ",\"failed\":[%.*s]}", (int)failed->n, failed->p);
    }
    char *json = rc ? NULL : kj_arena_dup(a, b.p, b.n);
    if (json)
        kj_doc_set(d, a, "filter", (struct kj_str){json, b.n});
    kj_buf_release(&b);
    return json ? KJ_OK : KJ_BAD_RECORD;
}

static void filter_only_kept(void *cfg)
{
    struct cfg *c = cfg;
    c->only_kept = !c->mark;
}

/* Stop measuring d behind the first rule that it fails? Where nobody asked for it, a
 * text is measured to its end if it might pass a limit there: that is the reason
 * then, whatever it failed before. Composing is what makes texts longest, three times. */
static bool stops_early(const struct cfg *c, const struct kj_doc *d)
{
    return c->first || (c->only_kept && d->text.n < KJ_FACTS_MAX / 4);
}

static int filter_doc(const struct cfg *c, struct state *s, struct kj_doc *d,
                      struct kj_arena *a)
{
    struct verdict first = {NULL, NAN, NAN};
    bool early = stops_early(c, d);
    size_t n = select_items(c->compiled, s, d);
    s->docs++;
    s->ungoverned += n == 0;
    struct kj_buf failed;
    int rc = KJ_OK;
    kj_buf_init(&failed, 1 << 14);
    kj_facts_set(&s->facts, d);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        const struct kj_filter_item *it = s->items[i];
        if (it->rule->kind == KJ_FILTER_MASK)
            continue;
        double v;
        if (it->rule->clean)
            rc = clean(it, s, &v);
        else
            v = it->rule->measure(&s->facts, it);
        if (rc)
            break;
        if (s->facts.over) {
            first = (struct verdict){RULE_OVER, (double)KJ_FACTS_MAX + 1, KJ_FACTS_MAX};
            break;
        }
        kj_doc_signal_by(d, a, &c->rules[it - c->compiled->items], v);
        if (!fails(it, v))
            continue;
        if (!first.rule)
            first = (struct verdict){it->rule->name, v, it->threshold};
        if (c->mark)
            rc =
                kj_buf_printf(&failed, "%s\"%s\"", failed.n ? "," : "", it->rule->name);
        if (early)
            break;
    }
    if (rc == KJ_OK && first.rule && c->only_kept) {
        kj_buf_release(&failed);
        kj_doc_drop(d, first.rule, first.value, first.threshold);
        return KJ_OK;
    }
    rc = rc ? rc : keep_text(s, d, a);
    /* Behind the measures: what is masked must not change what is measured. */
    rc = rc ? rc : mask(s, n, d, a);
    if (rc == KJ_OK && c->mark)
        rc = put_mark(d, a, &first, &failed);
    else if (rc == KJ_OK && first.rule)
        kj_doc_drop(d, first.rule, first.value, first.threshold);
    kj_buf_release(&failed);
    return rc;
}

static int filter_run(const void *cfg, void *state, struct kj_batch *b,
                      struct kj_err *err)
{
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        if (kj_doc_kept(d) && filter_doc(cfg, state, d, &b->arena) != KJ_OK)
            kj_doc_damage(d, "filter.memory", "the batch's memory is used up");
    }
    return KJ_OK;
}

/* A recipe of groups by language says nothing about documents without one: that looks
 * like a filter that found nothing to drop. */
static const char *filter_warning(const void *cfg)
{
    const struct cfg *c = cfg;
    struct counts *n = c->counts;
    uint64_t docs = atomic_load(&n->docs), none = atomic_load(&n->ungoverned);
    if (!none)
        return NULL;
    snprintf(n->warning, sizeof n->warning,
             "%" PRIu64 " of %" PRIu64 " documents are in no group of the recipe, so no"
             " rule looked at them (a group: where %.100s)",
             none, docs, c->compiled->items[0].scope->text);
    return n->warning;
}

const struct kj_stage kj_stage_filter = {
    .name = "filter",
    .about = "drop or mark documents by the rules of a recipe; mask addresses",
    .opts = kj_filter_opts,
    .cfg_size = sizeof(struct cfg),
    .state_size = sizeof(struct state),
    .open = filter_open,
    .begin = filter_begin,
    .run = filter_run,
    .end = filter_end,
    .close = filter_close,
    .rules = filter_rules,
    .yaml = filter_yaml,
    .only_kept = filter_only_kept,
    .warning = filter_warning,
};
