/* opt.c - option tables to structs: words of a command line, keys of a recipe. */
#include "base/opt.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"

#include <errno.h>
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

/* "64M" to bytes; KJ_USAGE when it is not a size. */
static int parse_size(const char *s, int64_t *out, struct kj_err *err)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    int shift = 0;
    if (end != s && *end) {
        const char *u = strchr(units, *end & ~0x20);
        if (u) {
            shift = 10 * (int)(u - units + 1);
            end++;
            if (*end == 'i')
                end++;
            if (*end == 'B' || *end == 'b')
                end++;
        }
    }
    v = ldexp(v, shift);
    if (end == s || *end || errno || !(v >= 0 && v < 9e18))
        return kj_err_set(err, KJ_USAGE,
                          "'%s' is not a size (a number with K, M, G or T)", s);
    *out = (int64_t)v;
    return KJ_OK;
}

int kj_parse_count(const char *s, int64_t *out, struct kj_err *err)
{
    static const char units[] = "KMBT";
    char *end;
    double v = strtod(s, &end);
    const char *u = *end ? strchr(units, *end == 'G' ? 'B' : *end) : NULL;
    bool good = end != s && s[0] >= '0' && s[0] <= '9' && (!*end || (u && !end[1]));
    for (int k = u ? (int)(u - units) + 1 : 0; k > 0; k--)
        v *= 1000;
    if (!good || !(v >= 0 && v < 9e18))
        return kj_err_set(err, KJ_USAGE, "a number like 5000, 10M, 2.7T, not '%s'", s);
    *out = (int64_t)(v + 0.5);
    return KJ_OK;
}

/* A bound as one would type it: 1M, 4G; others as numbers. */
static const char *put_bound(const struct kj_opt *o, double v, char out[32])
{
    static const char units[] = "KMGTPE";
    const char *u = NULL;
    if (o->kind == KJ_OPT_SIZE)
        for (const char *k = units; *k && v >= 1024 && fmod(v, 1024) == 0; k++) {
            v /= 1024;
            u = k;
        }
    if (u)
        snprintf(out, 32, "%.10g%c", v, *u);
    else
        snprintf(out, 32, "%.10g", v);
    return out;
}

static int check_range(const struct kj_opt *o, double v, struct kj_err *err)
{
    char low[32], high[32], given[32];
    if ((o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max))
        return KJ_OK;
    if (v < o->min && o->max >= 0x1p53) /* the other end is that of the numbers */
        return kj_err_set(err, KJ_USAGE, "%s must be at least %s, not %s", o->name,
                          put_bound(o, o->min, low), put_bound(o, v, given));
    return kj_err_set(err, KJ_USAGE, "%s must be between %s and %s, not %s", o->name,
                      put_bound(o, o->min, low), put_bound(o, o->max, high),
                      put_bound(o, v, given));
}

static int set_number(const struct kj_opt *o, void *field, const char *value,
                      struct kj_err *err)
{
    char *end;
    errno = 0;
    if (o->kind == KJ_OPT_SIZE || o->kind == KJ_OPT_COUNT) {
        int64_t n;
        int rc = o->kind == KJ_OPT_SIZE ? parse_size(value, &n, err)
                                        : kj_parse_count(value, &n, err);
        if (rc == KJ_OK)
            rc = check_range(o, (double)n, err);
        if (rc == KJ_OK)
            *(int64_t *)field = n;
        return rc;
    }
    if (o->kind == KJ_OPT_INT) {
        long long n = strtoll(value, &end, 10);
        if (end == value || *end || errno)
            return kj_err_set(err, KJ_USAGE, "%s takes a whole number, not '%s'",
                              o->name, value);
        if (check_range(o, (double)n, err))
            return KJ_USAGE;
        *(int64_t *)field = n;
        return KJ_OK;
    }
    double v = strtod(value, &end);
    if (end != value && *end == '%') {
        v /= 100;
        end++;
    }
    if (end == value || *end || isnan(v))
        return kj_err_set(err, KJ_USAGE, "%s takes a number, not '%s'", o->name, value);
    if (check_range(o, v, err))
        return KJ_USAGE;
    *(double *)field = v;
    return KJ_OK;
}

static int set_enum(const struct kj_opt *o, int *field, const char *value,
                    struct kj_err *err)
{
    size_t n = strlen(value);
    const char *w = o->arg;
    for (int i = 0; w; i++) {
        size_t m = strcspn(w, "|");
        if (m == n && memcmp(w, value, n) == 0) {
            *field = i;
            return KJ_OK;
        }
        w = w[m] ? w + m + 1 : NULL;
    }
    return kj_err_set(err, KJ_USAGE, "%s is one of %s, not '%s'", o->name, o->arg,
                      value);
}

/* Comma-separated words; the pieces live as long as the program, as the words
 * of a command line and the keys of a recipe do. */
/* A piece of a comma-separated word. Lists borrow their strings, so pieces live
 * as long as the program; the table keeps them reachable. Options are parsed
 * on one thread. */
static const char *piece(const char *p, size_t n)
{
    static struct kj_strs pieces;
    char *z = kj_xstrndup(p, n);
    kj_strs_add(&pieces, z);
    return z;
}

static void set_list(struct kj_strs *s, const char *value)
{
    while (*value) {
        size_t n = strcspn(value, ",");
        if (n && !value[n])
            kj_strs_add(s, value);
        else if (n)
            kj_strs_add(s, piece(value, n));
        value += n + (value[n] == ',');
    }
}

int kj_opt_set(const struct kj_opt *o, void *cfg, const char *value, struct kj_err *err)
{
    void *field = (char *)cfg + o->off;
    if (!value && o->kind != KJ_OPT_FLAG)
        return kj_err_set(err, KJ_USAGE, "%s needs a value", o->name);
    switch (o->kind) {
    case KJ_OPT_FLAG:
        if (!value || strcmp(value, "true") == 0 || strcmp(value, "yes") == 0)
            *(bool *)field = true;
        else if (strcmp(value, "false") == 0 || strcmp(value, "no") == 0)
            *(bool *)field = false;
        else
            return kj_err_set(err, KJ_USAGE, "%s is true or false, not '%s'", o->name,
                              value);
        return KJ_OK;
    case KJ_OPT_STR:
        *(const char **)field = value;
        return KJ_OK;
    case KJ_OPT_LIST:
        set_list(field, value);
        return KJ_OK;
    case KJ_OPT_ENUM:
        return set_enum(o, field, value, err);
    case KJ_OPT_INT:
    case KJ_OPT_SIZE:
    case KJ_OPT_COUNT:
    case KJ_OPT_REAL:
        return set_number(o, field, value, err);
    }
    return kj_err_set(err, KJ_USAGE, "%s has no kind", o->name);
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
        int rc = kj_opt_set(o, cfg, o->def, err);
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

static int set_named(const struct kj_opt *o, void *cfg, const char *value, bool negate,
                     const char *word, struct kj_strs *seen, struct kj_err *err)
{
    clear_list_once(o, cfg, seen);
    int rc = kj_opt_set(o, cfg, negate ? "false" : value, err);
    if (rc && !strstr(err ? err->msg : "", o->name))
        kj_err_context(err, "%s", word);
    return rc;
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
            return set_named(o, cfg, NULL, true, argv[*i], seen, err);
        o = NULL;
    }
    if (!o)
        return unknown(sets, word, n, err);
    const char *value = eq ? eq + 1 : NULL;
    if (!value && o->kind != KJ_OPT_FLAG) {
        if (*i + 1 >= argc)
            return kj_err_set(err, KJ_USAGE, "%s needs a value", argv[*i]);
        value = argv[++*i];
    }
    return set_named(o, cfg, value, false, word, seen, err);
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
        if (o->kind == KJ_OPT_FLAG) {
            if (kj_opt_set(o, cfg, NULL, err))
                return KJ_USAGE;
            continue;
        }
        const char *value = w[1] ? w + 1 : NULL;
        if (!value) {
            if (*i + 1 >= argc)
                return kj_err_set(err, KJ_USAGE, "-%c needs a value", *w);
            value = argv[++*i];
        }
        return set_named(o, cfg, value, false, o->name, seen, err);
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
        return kj_opt_set(o, cfg, v->scalar, err);
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
