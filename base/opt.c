/* opt.c - option tables to structs: words of a command line, keys of a recipe. */
#include "base/opt.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kj_strs_add(struct kj_strs *s, const char *z)
{
    s->v = kj_xrealloc(s->v, (s->n + 1) * sizeof *s->v);
    s->v[s->n++] = z;
}

void kj_strs_release(struct kj_strs *s)
{
    free(s->v);
    s->v = NULL;
    s->n = 0;
}

static size_t field_size(enum kj_opt_kind kind)
{
    switch (kind) {
    case KJ_OPT_FLAG:
        return sizeof(bool);
    case KJ_OPT_ENUM:
        return sizeof(int);
    case KJ_OPT_LIST:
        return sizeof(struct kj_strs);
    case KJ_OPT_STR:
        return sizeof(char *);
    case KJ_OPT_REAL:
        return sizeof(double);
    case KJ_OPT_INT:
    case KJ_OPT_SIZE:
    case KJ_OPT_COUNT:
        break;
    }
    return sizeof(int64_t);
}

int kj_opt_defaults(const struct kj_opt *opts, void *cfg, struct kj_err *err)
{
    for (const struct kj_opt *o = opts; o->name; o++) {
        if (!o->def) {
            memset((char *)cfg + o->off, 0, field_size(o->kind));
            continue;
        }
        if (o->kind == KJ_OPT_LIST)
            memset((char *)cfg + o->off, 0, sizeof(struct kj_strs));
        if (o->kind == KJ_OPT_REAL && strcmp(o->def, "nan") == 0) {
            *(double *)((char *)cfg + o->off) =
                NAN; /* "not given"; users cannot say it */
            continue;
        }
        int rc = kj_opt_set(o, cfg, NULL, o->def, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

void kj_opt_release(const struct kj_opt *opts, void *cfg)
{
    for (const struct kj_opt *o = opts; o->name; o++)
        if (o->kind == KJ_OPT_LIST)
            kj_strs_release((struct kj_strs *)((char *)cfg + o->off));
}

/* min-score and min_score are one name. */
static bool same_name(const char *name, const char *word, size_t n)
{
    if (strlen(name) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((word[i] == '-' ? '_' : word[i]) != name[i])
            return false;
    return true;
}

static const struct kj_opt *find(const struct kj_optset *sets, const char *word,
                                 size_t n, char letter, void **cfg)
{
    for (; sets->opts; sets++)
        for (const struct kj_opt *o = sets->opts; o->name; o++)
            if (word ? same_name(o->name, word, n) : o->letter == letter) {
                *cfg = sets->cfg;
                return o;
            }
    return NULL;
}

/* Edit distance, small words only: for "did you mean". */
static size_t distance(const char *a, const char *b, size_t nb)
{
    size_t na = strlen(a), row[64];
    if (nb >= 64)
        return 99;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            char cb = b[j - 1] == '-' ? '_' : b[j - 1];
            size_t best = diag + (a[i - 1] != cb);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diag = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

/* Of two names the one that is nearer to the word; *best: how near, NULL *near: none
 * is near so far. */
static void nearer(const char **near, size_t *best, const char *name, const char *word,
                   size_t n)
{
    size_t d = distance(name, word, n);
    if (!*near)
        *best = n > 3 ? 3 : 2; /* two letters of three would be another word */
    if (d < *best) {
        *best = d;
        *near = name;
    }
}

static const char *near_option(const struct kj_optset *sets, const char *word, size_t n)
{
    const char *near = NULL;
    size_t best = 0;
    for (; sets->opts; sets++)
        for (const struct kj_opt *o = sets->opts; o->name; o++)
            nearer(&near, &best, o->name, word, n);
    return near;
}

/* A key of a file, where those of skip may stand, too. */
static int unknown_key(const struct kj_optset *sets, const char *const *skip,
                       const struct kj_ynode *v, struct kj_err *err)
{
    size_t n = strlen(v->key), best = 0;
    const char *near = near_option(sets, v->key, n);
    if (near)
        best = distance(near, v->key, n);
    for (; skip && *skip; skip++)
        nearer(&near, &best, *skip, v->key, n);
    kj_err_set(err, KJ_USAGE, "unknown key '%s'%s%s%s", v->key,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    kj_err_where(err, v->file, v->line);
    return KJ_USAGE;
}

static int unknown(const struct kj_optset *sets, const char *word, size_t n,
                   struct kj_err *err)
{
    const char *near = near_option(sets, word, n);
    if (!near)
        return kj_err_set(err, KJ_USAGE, "there is no option --%.*s; --help lists them",
                          (int)n, word);
    char dashed[64];
    size_t i = 0;
    for (; i < sizeof dashed - 1 && near[i]; i++)
        dashed[i] = near[i] == '_' ? '-' : near[i];
    dashed[i] = 0;
    return kj_err_set(err, KJ_USAGE, "there is no option --%.*s; did you mean --%s?",
                      (int)n, word, dashed);
}

/* A default is replaced by the first explicit value of a list, not extended. */
static void clear_list_once(const struct kj_opt *o, void *cfg, struct kj_strs *seen)
{
    if (o->kind != KJ_OPT_LIST)
        return;
    for (size_t i = 0; i < seen->n; i++)
        if (seen->v[i] == o->name)
            return;
    kj_strs_add(seen, o->name);
    kj_strs_release((struct kj_strs *)((char *)cfg + o->off));
}

static int set_named(const struct kj_opt *o, void *cfg, const char *as,
                     const char *value, struct kj_strs *seen, struct kj_err *err)
{
    clear_list_once(o, cfg, seen);
    return kj_opt_set(o, cfg, as, value, err);
}

/* One "--name", "--name=value", "--no-name"; *i moves over a value word. */
static int parse_long(const struct kj_optset *sets, int argc, char **argv, int *i,
                      struct kj_strs *seen, struct kj_err *err)
{
    const char *word = argv[*i] + 2, *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    void *cfg;
    const struct kj_opt *o = find(sets, word, n, 0, &cfg);
    if (!o && n > 3 && memcmp(word, "no-", 3) == 0) {
        o = find(sets, word + 3, n - 3, 0, &cfg);
        if (o && o->kind == KJ_OPT_FLAG && !eq)
            return set_named(o, cfg, argv[*i], "false", seen, err);
        o = NULL;
    }
    if (!o)
        return unknown(sets, word, n, err);
    char as[80]; /* without what stands behind the = */
    snprintf(as, sizeof as, "--%.*s", (int)(n < 70 ? n : 70), word);
    const char *value = eq ? eq + 1 : NULL;
    if (!value && o->kind != KJ_OPT_FLAG && *i + 1 < argc)
        value = argv[++*i];
    return set_named(o, cfg, as, value, seen, err);
}

static int parse_short(const struct kj_optset *sets, int argc, char **argv, int *i,
                       struct kj_strs *seen, struct kj_err *err)
{
    for (const char *w = argv[*i] + 1; *w; w++) {
        void *cfg;
        const struct kj_opt *o = find(sets, NULL, 0, *w, &cfg);
        if (!o)
            return kj_err_set(err, KJ_USAGE,
                              "there is no option -%c; --help lists them", *w);
        const char as[] = {'-', *w, 0};
        if (o->kind == KJ_OPT_FLAG) {
            if (kj_opt_set(o, cfg, as, NULL, err))
                return KJ_USAGE;
            continue;
        }
        const char *value = w[1] ? w + 1 : NULL;
        if (!value && *i + 1 < argc)
            value = argv[++*i];
        return set_named(o, cfg, as, value, seen, err);
    }
    return KJ_OK;
}

int kj_opt_parse(const struct kj_optset *sets, int argc, char **argv,
                 struct kj_strs *pos, bool *help, struct kj_err *err)
{
    struct kj_strs seen = {0};
    int rc = KJ_OK;
    bool words = false;
    *help = false;
    for (int i = 1; i < argc && rc == KJ_OK; i++) {
        const char *w = argv[i];
        if (words || w[0] != '-' || !w[1]) {
            kj_strs_add(pos, w);
        } else if (strcmp(w, "--") == 0) {
            words = true;
        } else if (strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0) {
            *help = true;
            break;
        } else if (w[1] == '-') {
            rc = parse_long(sets, argc, argv, &i, &seen, err);
        } else {
            rc = parse_short(sets, argc, argv, &i, &seen, err);
        }
    }
    kj_strs_release(&seen);
    return rc;
}

static int set_from_node(const struct kj_opt *o, void *cfg, const struct kj_ynode *v,
                         struct kj_err *err)
{
    if (v->nil && (o->kind == KJ_OPT_STR || o->kind == KJ_OPT_LIST))
        return KJ_OK;
    if (v->kind == KJ_Y_SCALAR) {
        if (o->kind == KJ_OPT_LIST)
            kj_strs_release((struct kj_strs *)((char *)cfg + o->off));
        return kj_opt_set(o, cfg, NULL, v->scalar, err);
    }
    if (v->kind != KJ_Y_SEQ || o->kind != KJ_OPT_LIST)
        return kj_ynode_err(v, err, "%s takes %s here", v->key,
                            o->kind == KJ_OPT_LIST ? "a list of words" : "one value");
    struct kj_strs *list = (struct kj_strs *)((char *)cfg + o->off);
    kj_strs_release(list);
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != KJ_Y_SCALAR)
            return kj_ynode_err(v->items[i], err, "%s takes a list of words", v->key);
        kj_strs_add(list, v->items[i]->scalar);
    }
    return KJ_OK;
}

int kj_opt_yaml(const struct kj_opt *opts, void *cfg, const struct kj_ynode *map,
                const char *const *skip, struct kj_err *err)
{
    const struct kj_optset sets[] = {{opts, cfg}, {NULL, NULL}};
    if (map->kind != KJ_Y_MAP)
        return kj_ynode_err(map, err, "expected keys with values here");
    for (size_t i = 0; i < map->n; i++) {
        const struct kj_ynode *v = map->items[i];
        bool skipped = false;
        for (size_t k = 0; skip && skip[k]; k++)
            skipped |= strcmp(skip[k], v->key) == 0;
        if (skipped)
            continue;
        void *unused;
        const struct kj_opt *o = find(sets, v->key, strlen(v->key), 0, &unused);
        if (!o)
            return unknown_key(sets, skip, v, err);
        int rc = set_from_node(o, cfg, v, err);
        if (rc) {
            kj_err_where(err, v->file, v->line);
            return rc;
        }
    }
    return KJ_OK;
}
