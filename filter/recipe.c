/* recipe.c - reads filter recipes into one list of rules.
 *
 * Settings (words, stop_words, short_line) belong to a place in a file. What
 * a place does not set comes from around it: a group from its file; a file
 * from whoever includes it, and there the includer wins, since overriding is
 * what an include is for. What nobody sets has a default.
 */
#include "filter/recipe.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/yaml.h"

enum { INCLUDE_DEPTH = 16, ITEMS_MAX = 1024, GROUP_DEPTH = 8 };
#define ARENA_CAP ((size_t)16 << 20)

static const char *const stop_words_en[] = {"the", "be",   "to",   "of",
                                            "and", "that", "have", "with"};

struct settings {
    int words;                         /* enum kj_word_unit; -1 = not set */
    long short_line;                   /* -1 = not set */
    const struct kj_ynode *stop_words; /* NULL = not set */
};
static const struct settings nothing_set = {-1, -1, NULL};

/* Where the reader is: a file, or a group in it. */
struct place {
    struct kj_filter_recipe *r;
    const struct place *up;
    const char *path; /* of the file; NULL for rules inside another recipe */
    dev_t dev;        /* its identity, 0 when path is NULL */
    ino_t ino;
    int includes, groups; /* how deep */
    struct settings set;
    const struct kj_filter_scope *scope;
};

void kj_filter_recipe_init(struct kj_filter_recipe *r, const char *dir)
{
    memset(r, 0, sizeof *r);
    r->dir = dir;
    kj_arena_init(&r->arena, ARENA_CAP);
}

void kj_filter_recipe_release(struct kj_filter_recipe *r)
{
    free(r->items);
    free(r->scopes);
    kj_arena_release(&r->arena);
    memset(r, 0, sizeof *r);
}

/* ---- values ---- */

static int too_large(const struct kj_ynode *n, struct kj_err *err)
{
    if (n)
        return kj_ynode_err(n, err, "the recipe is too large");
    return kj_err_set(err, KJ_USAGE, "the recipe is too large");
}

/* A list of words, or one word. */
static int read_list(struct kj_filter_recipe *r, const struct kj_ynode *v, size_t max,
                     const char ***out, size_t *n, struct kj_err *err)
{
    size_t k = v->kind == KJ_Y_SEQ ? v->n : 1;
    if (v->kind == KJ_Y_MAP || k == 0 || k > max)
        return kj_ynode_err(v, err, "%s takes a list of 1 to %zu words",
                            v->key ? v->key : "this", max);
    *out = kj_arena_alloc(&r->arena, k * sizeof **out);
    for (size_t i = 0; *out && i < k; i++) {
        const struct kj_ynode *w = v->kind == KJ_Y_SEQ ? v->items[i] : v;
        if (w->kind != KJ_Y_SCALAR || !w->scalar[0])
            return kj_ynode_err(w, err, "%s takes a list of words",
                                v->key ? v->key : "this");
        (*out)[i] = kj_arena_dup(&r->arena, w->scalar, strlen(w->scalar));
        if (!(*out)[i])
            *out = NULL;
    }
    *n = k;
    return *out ? KJ_OK : too_large(v, err);
}

/* The number in s, "N" or "N%"; false when it is none. */
static bool number(const char *s, double *v, bool *percent)
{
    char *end;
    if (!s[0] || strspn(s, "0123456789.eE+-%") != strlen(s))
        return false;
    *v = strtod(s, &end);
    *percent = *end == '%';
    if (*percent)
        *v /= 100;
    return end != s && end[*percent] == 0;
}

/* A threshold from text; NULL, or what is wrong with it. */
static const char *threshold(struct kj_filter_item *it, const char *s)
{
    double v;
    bool percent;
    it->off = strcmp(s, "off") == 0;
    if (it->off)
        return NULL;
    if (it->rule->kind == KJ_FILTER_MASK) {
        it->threshold = strcmp(s, "mask") == 0    ? KJ_MASK_REWRITE
                        : strcmp(s, "count") == 0 ? KJ_MASK_COUNT
                                                  : 0;
        return it->threshold > 0 ? NULL : "takes mask, count or off";
    }
    if (it->rule->kind == KJ_FILTER_CLEAN) {
        it->threshold = strcmp(s, "clean") == 0   ? KJ_MASK_REWRITE
                        : strcmp(s, "count") == 0 ? KJ_MASK_COUNT
                                                  : 0;
        return it->threshold > 0 ? NULL : "takes clean, count or off";
    }
    if (!number(s, &v, &percent))
        return "takes a number, or off";
    it->threshold = v;
    switch (it->rule->kind) {
    case KJ_FILTER_COUNT:
        if (percent || !(v >= 0 && v <= 1e15) || v != (double)(int64_t)v)
            return "counts: it takes a whole number";
        return NULL;
    case KJ_FILTER_SHARE:
        return v >= 0 && v <= 1 ? NULL : "is a share: it takes 0 to 1, or 0% to 100%";
    default:
        if (percent || !(v >= 0 && v <= 1e15))
            return "takes a number from 0, and no %";
        return NULL;
    }
}

/* ---- items and scopes ---- */

static int add_item(struct kj_filter_recipe *r, struct kj_filter_item it)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->items[i].rule == it.rule &&
            strcmp(r->items[i].scope->text, it.scope->text) == 0) {
            r->items[i] = it; /* an override takes over the place */
            return KJ_OK;
        }
    }
    if (r->n == ITEMS_MAX)
        return KJ_USAGE;
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->items = kj_xrealloc(r->items, r->cap * sizeof *r->items);
    }
    r->items[r->n++] = it;
    return KJ_OK;
}

/* A new scope inside `parent` (NULL at the top); NULL when there are too many. */
static struct kj_filter_scope *new_scope(struct kj_filter_recipe *r,
                                         const struct kj_filter_scope *parent)
{
    struct kj_filter_scope *s = kj_arena_zalloc(&r->arena, sizeof *s);
    if (!s || r->n_scopes == ITEMS_MAX)
        return NULL;
    r->scopes = kj_xrealloc(r->scopes, (r->n_scopes + 1) * sizeof *r->scopes);
    s->parent = parent;
    s->number = r->n_scopes;
    s->text = parent ? parent->text : "";
    r->scopes[r->n_scopes++] = s;
    return s;
}

static int stop_words(struct place *pl, struct kj_filter_scope *s, struct kj_err *err)
{
    const struct kj_ynode *node = pl->set.stop_words;
    struct kj_arena *a = &pl->r->arena;
    if (node) {
        int rc =
            read_list(pl->r, node, KJ_STOP_WORDS_MAX, &s->stop_words, &s->n_stop, err);
        if (rc)
            return rc;
    } else {
        s->n_stop = sizeof stop_words_en / sizeof *stop_words_en;
        s->stop_words = (const char **)(void *)kj_arena_dup(
            a, (const char *)stop_words_en, sizeof stop_words_en);
    }
    s->stop_hash = kj_arena_alloc(a, s->n_stop * sizeof *s->stop_hash);
    if (!s->stop_words || !s->stop_hash)
        return too_large(node, err);
    for (size_t i = 0; i < s->n_stop; i++) {
        s->stop_hash[i] = kj_facts_hash(s->stop_words[i], strlen(s->stop_words[i]));
        for (size_t k = 0; k < i; k++)
            if (s->stop_hash[k] == s->stop_hash[i])
                return kj_ynode_err(node, err, "stop word '%s' stands twice",
                                    s->stop_words[i]);
    }
    return KJ_OK;
}

/* Give the place's scope its settings. */
static int settle(struct place *pl, struct kj_filter_scope *s, struct kj_err *err)
{
    s->words = pl->set.words < 0 ? KJ_WORDS_UAX29 : (enum kj_word_unit)pl->set.words;
    s->short_line = pl->set.short_line < 0 ? 30 : (size_t)pl->set.short_line;
    pl->scope = s;
    return stop_words(pl, s, err);
}

/* One condition, as a scope inside the place's. */
static int add_condition(struct place *pl, const struct kj_ynode *c, bool unless,
                         struct kj_filter_scope **in, struct kj_err *err)
{
    static const struct {
        const char *name;
        enum kj_filter_field field;
    } fields[] = {{"language", KJ_ON_LANGUAGE},
                  {"language_script", KJ_ON_SCRIPT},
                  {"source", KJ_ON_SOURCE},
                  {"dump", KJ_ON_DUMP}};
    struct kj_filter_scope *s = new_scope(pl->r, *in);
    if (!s)
        return too_large(c, err);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, c->key) == 0)
            s->field = fields[i].field;
    if (s->field == KJ_ON_ALL)
        return kj_ynode_err(c, err,
                            "conditions are on language, language_script, source or "
                            "dump, not '%s'",
                            c->key);
    s->unless = unless;
    int rc = read_list(pl->r, c, 1000, &s->values, &s->n_values, err);
    if (rc)
        return rc;
    s->text = kj_arena_printf(&pl->r->arena, "%s%s%s%s=", s->text,
                              s->text[0] ? ";" : "", unless ? "not " : "", c->key);
    for (size_t i = 0; s->text && i < s->n_values; i++)
        s->text = kj_arena_printf(&pl->r->arena, "%s%s%s", s->text, i ? "," : "",
                                  s->values[i]);
    if (!s->text)
        return too_large(c, err);
    *in = s;
    return KJ_OK;
}

/* ---- files ---- */

static int read_body(struct place *pl, const struct kj_ynode *map, struct kj_err *err);

/* The path of the file that the place is in; NULL at the top. */
static const char *file_of(const struct place *p)
{
    while (p && !p->path)
        p = p->up;
    return p ? p->path : NULL;
}

static int include(const struct place *from, struct kj_filter_recipe *r,
                   const char *name, const struct kj_ynode *at, struct kj_err *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (!kj_filter_recipe_find(file_of(from), r->dir, name, path, &st))
        return at ? kj_ynode_err(at, err, "there is no recipe '%s'", name)
                  : kj_err_set(err, KJ_USAGE,
                               "there is no recipe '%s': no such file, and no %s.yaml "
                               "in the folder of recipes (--recipes-dir)",
                               name, name);
    struct place pl = {.r = r,
                       .up = from,
                       .path = path,
                       .dev = st.st_dev,
                       .ino = st.st_ino,
                       .set = nothing_set};
    if (from) {
        pl.includes = from->includes + 1;
        pl.groups = from->groups;
        pl.set = from->set;
        pl.scope = from->scope;
    }
    for (const struct place *p = from; p; p = p->up)
        if (p->path && p->dev == st.st_dev && p->ino == st.st_ino)
            return kj_ynode_err(at, err, "recipe '%s' includes itself", name);
    if (pl.includes > INCLUDE_DEPTH)
        return kj_ynode_err(at, err, "recipes include each other too deeply");
    struct kj_yaml *y = NULL;
    int rc = kj_yaml_load(&y, path, err);
    if (rc == KJ_OK)
        rc = read_body(&pl, kj_yaml_root(y), err);
    kj_yaml_free(y);
    return rc;
}

static int include_all(const struct place *pl, const struct kj_ynode *v,
                       struct kj_err *err)
{
    if (v->kind == KJ_Y_MAP)
        return kj_ynode_err(v, err, "include takes a recipe or a list of recipes");
    for (size_t i = 0; i < (v->kind == KJ_Y_SEQ ? v->n : 1); i++) {
        const struct kj_ynode *w = v->kind == KJ_Y_SEQ ? v->items[i] : v;
        if (w->kind != KJ_Y_SCALAR || !w->scalar[0])
            return kj_ynode_err(w, err, "include takes names of recipes");
        int rc = include(pl, pl->r, w->scalar, w, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

/* ---- bodies: files and groups ---- */

static int read_rule(struct place *pl, const struct kj_ynode *v, struct kj_err *err)
{
    struct kj_filter_item it = {.rule = kj_filter_rule_find(v->key),
                                .scope = pl->scope};
    if (!it.rule)
        return kj_ynode_err(v, err, "there is no rule '%s' (kijil filter --list)",
                            v->key);
    if (it.rule->kind == KJ_FILTER_LIST &&
        !(v->kind == KJ_Y_SCALAR && strcmp(v->scalar, "off") == 0)) {
        int rc = read_list(pl->r, v, 1000, &it.values, &it.n_values, err);
        if (rc)
            return rc;
        it.threshold = 1;
    } else {
        const char *wrong = "takes one value";
        if (v->kind == KJ_Y_SCALAR)
            wrong = threshold(&it, v->scalar);
        if (wrong)
            return kj_ynode_err(v, err, "%s %s%s%s", v->key, wrong,
                                v->kind == KJ_Y_SCALAR ? ", not " : "",
                                v->kind == KJ_Y_SCALAR ? v->scalar : "");
    }
    return add_item(pl->r, it) ? too_large(v, err) : KJ_OK;
}

static int read_rules(struct place *pl, const struct kj_ynode *list, struct kj_err *err)
{
    if (list->kind != KJ_Y_SEQ)
        return kj_ynode_err(list, err, "rules is a list: - RULE: VALUE");
    for (size_t i = 0; i < list->n; i++) {
        const struct kj_ynode *e = list->items[i];
        int rc;
        if (e->kind != KJ_Y_MAP)
            return kj_ynode_err(e, err, "a rule is RULE: VALUE");
        if (kj_ynode_get(e, "rules")) {
            if (pl->groups == GROUP_DEPTH)
                return kj_ynode_err(e, err, "groups are nested too deeply");
            struct place group = *pl;
            group.up = pl;
            group.path = NULL;
            group.groups++;
            rc = read_body(&group, e, err);
        } else if (e->n != 1) {
            rc = kj_ynode_err(e, err, "one rule an entry (groups have rules:)");
        } else if (strcmp(e->items[0]->key, "include") == 0) {
            rc = include_all(pl, e->items[0], err);
        } else {
            rc = read_rule(pl, e->items[0], err);
        }
        if (rc)
            return rc;
    }
    return KJ_OK;
}

/* One setting. In a file what an includer has set already stays. */
static int read_setting(struct place *pl, const struct kj_ynode *v, struct kj_err *err)
{
    bool stays = pl->path && pl->up;
    if (strcmp(v->key, "stop_words") == 0) {
        if (!stays || !pl->set.stop_words)
            pl->set.stop_words = v;
        return KJ_OK;
    }
    if (v->kind != KJ_Y_SCALAR)
        return kj_ynode_err(v, err, "%s takes one value", v->key);
    if (strcmp(v->key, "words") == 0) {
        int w = strcmp(v->scalar, "uax29") == 0        ? KJ_WORDS_UAX29
                : strcmp(v->scalar, "whitespace") == 0 ? KJ_WORDS_SPACE
                : strcmp(v->scalar, "morpheme") == 0   ? KJ_WORDS_MORPHEME
                                                       : -1;
        if (w < 0)
            return kj_ynode_err(
                v, err, "words is uax29, whitespace or morpheme, not '%s'", v->scalar);
        if (!stays || pl->set.words < 0)
            pl->set.words = w;
        return KJ_OK;
    }
    double x;
    bool percent;
    if (!number(v->scalar, &x, &percent) || percent || !(x >= 0 && x <= 1e6) ||
        x != (double)(long)x)
        return kj_ynode_err(v, err, "short_line is a number of characters, not '%s'",
                            v->scalar);
    if (!stays || pl->set.short_line < 0)
        pl->set.short_line = (long)x;
    return KJ_OK;
}

static bool is_one_of(const char *key, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(key, *words) == 0)
            return true;
    return false;
}

static int read_conditions(struct place *pl, const struct kj_ynode *map,
                           struct kj_filter_scope **in, struct kj_err *err)
{
    static const char *const keys[] = {"when", "unless"};
    for (int k = 0; k < 2; k++) {
        const struct kj_ynode *c = kj_ynode_get(map, keys[k]);
        if (c && c->kind != KJ_Y_MAP)
            return kj_ynode_err(c, err, "%s takes conditions: {language: ko}", keys[k]);
        for (size_t i = 0; c && i < c->n; i++) {
            int rc = add_condition(pl, c->items[i], k, in, err);
            if (rc)
                return rc;
        }
    }
    return KJ_OK;
}

/* A recipe file, rules inside another recipe, or a group. */
static int read_body(struct place *pl, const struct kj_ynode *map, struct kj_err *err)
{
    static const char *const settings[] = {"words", "stop_words", "short_line", NULL};
    static const char *const others[] = {"about", "include", "rules", NULL};
    static const char *const group_only[] = {"when", "unless", NULL};
    bool group = !pl->path && pl->up;
    if (!map || map->kind != KJ_Y_MAP)
        return map ? kj_ynode_err(map, err, "a filter recipe is a mapping with rules")
                   : kj_err_set(err, KJ_USAGE, "%s: an empty recipe", pl->path);
    for (size_t i = 0; i < map->n; i++) {
        const struct kj_ynode *v = map->items[i];
        int rc = KJ_OK;
        if (is_one_of(v->key, settings))
            rc = read_setting(pl, v, err);
        else if (!is_one_of(v->key, others) &&
                 !(group && is_one_of(v->key, group_only)))
            rc = kj_ynode_err(v, err, "a filter recipe has no key '%s'", v->key);
        if (rc)
            return rc;
    }
    struct kj_filter_scope *s = new_scope(pl->r, pl->scope);
    if (!s)
        return too_large(map, err);
    int rc = group ? read_conditions(pl, map, &s, err) : KJ_OK;
    if (rc == KJ_OK)
        rc = settle(pl, s, err);
    const struct kj_ynode *inc = kj_ynode_get(map, "include");
    const struct kj_ynode *rules = kj_ynode_get(map, "rules");
    if (rc == KJ_OK && inc)
        rc = include_all(pl, inc, err);
    if (rc == KJ_OK && rules)
        rc = read_rules(pl, rules, err);
    return rc;
}

int kj_filter_recipe_add(struct kj_filter_recipe *r, const char *name,
                         struct kj_err *err)
{
    return include(NULL, r, name, NULL, err);
}

int kj_filter_recipe_add_node(struct kj_filter_recipe *r, const struct kj_ynode *map,
                              struct kj_err *err)
{
    struct place pl = {.r = r, .set = nothing_set};
    return read_body(&pl, map, err);
}

int kj_filter_recipe_append(struct kj_filter_recipe *r,
                            const struct kj_filter_recipe *more, struct kj_err *err)
{
    size_t base = r->n_scopes;
    /* Scopes are copied, since a number is an index in one recipe's list. A
     * parent stands before its children, so its copy is there already. */
    for (size_t i = 0; i < more->n_scopes; i++) {
        const struct kj_filter_scope *from = more->scopes[i];
        struct kj_filter_scope *s =
            new_scope(r, from->parent ? r->scopes[base + from->parent->number] : NULL);
        if (!s)
            return too_large(NULL, err);
        struct kj_filter_scope own = *s;
        *s = *from;
        s->parent = own.parent;
        s->number = own.number;
    }
    for (size_t i = 0; i < more->n; i++) {
        struct kj_filter_item it = more->items[i];
        it.scope = r->scopes[base + it.scope->number];
        if (add_item(r, it))
            return too_large(NULL, err);
    }
    return KJ_OK;
}

/* ---- --set ---- */

static int set_list(struct kj_filter_recipe *r, struct kj_filter_item *it,
                    const char *s, struct kj_err *err)
{
    size_t n = 1, k = 0;
    for (const char *c = s; *c; c++)
        n += *c == ',';
    it->values = kj_arena_alloc(&r->arena, n * sizeof *it->values);
    while (it->values && k < n) {
        size_t len = strcspn(s, ",");
        it->values[k++] = kj_arena_dup(&r->arena, s, len);
        s += len + (s[len] == ',');
    }
    it->n_values = n;
    it->threshold = 1;
    return it->values ? KJ_OK : too_large(NULL, err);
}

int kj_filter_recipe_set(struct kj_filter_recipe *r, const char *word,
                         struct kj_err *err)
{
    const char *eq = strchr(word, '=');
    char name[128];
    if (!eq || eq - word >= (int)sizeof name)
        return kj_err_set(err, KJ_USAGE, "--set takes RULE=VALUE, not '%s'", word);
    memcpy(name, word, (size_t)(eq - word));
    name[eq - word] = 0;
    struct kj_filter_item it = {.rule = kj_filter_rule_find(name)};
    if (!it.rule)
        return kj_err_set(err, KJ_USAGE,
                          "--set: there is no rule '%s' (kijil filter --list)", name);
    if (it.rule->kind == KJ_FILTER_LIST && strcmp(eq + 1, "off") != 0) {
        int rc = set_list(r, &it, eq + 1, err);
        if (rc)
            return rc;
    } else {
        const char *wrong = threshold(&it, eq + 1);
        if (wrong)
            return kj_err_set(err, KJ_USAGE, "--set: %s %s, not '%s'", name, wrong,
                              eq + 1);
    }
    bool found = false;
    for (size_t i = 0; i < r->n; i++) {
        if (r->items[i].rule == it.rule) {
            it.scope = r->items[i].scope;
            r->items[i] = it;
            found = true;
        }
    }
    if (found)
        return KJ_OK;
    struct place pl = {.r = r, .set = nothing_set};
    struct kj_filter_scope *s = new_scope(r, NULL);
    int rc = s ? settle(&pl, s, err) : too_large(NULL, err);
    it.scope = s;
    return rc ? rc : add_item(r, it) ? too_large(NULL, err) : KJ_OK;
}

/* ---- use ---- */

static struct kj_str field_of(const struct kj_doc *d, enum kj_filter_field f)
{
    switch (f) {
    case KJ_ON_LANGUAGE:
        return d->language;
    case KJ_ON_SCRIPT:
        return d->language_script;
    case KJ_ON_SOURCE:
        return d->source;
    default:
        return d->dump;
    }
}

void kj_filter_recipe_scopes(const struct kj_filter_recipe *r, const struct kj_doc *d,
                             bool *on)
{
    for (size_t i = 0; i < r->n_scopes; i++) {
        const struct kj_filter_scope *s = r->scopes[i];
        bool holds = !s->parent || on[s->parent->number];
        if (holds && s->field != KJ_ON_ALL) {
            struct kj_str v = field_of(d, s->field);
            bool in = false;
            for (size_t k = 0; k < s->n_values && !in; k++)
                in = kj_str_is(v, s->values[k]);
            holds = in != s->unless;
        }
        on[i] = holds;
    }
}
