/* opt_value.c - the value of one option: from a word to its field, and what is said
 * of a word that is none.
 *
 * There is one sentence for all of them: the option as it was written, what it
 * takes with an example, and what was given.
 *
 *     --memory takes a size of at least 1M (like 4G), not '1K'
 *     -j takes a whole number from 0 to 1024 (like 4), not 'many'
 *     --progress takes auto, plain, json or never, not 'x'
 */
#include "base/opt.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "64M" to bytes. */
static bool parse_size(const char *s, int64_t *out)
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
        return false;
    *out = (int64_t)v;
    return true;
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

/* A value as one would type it: 1M, 4G; others as numbers. */
static void put_value(const struct kj_opt *o, double v, struct kj_buf *out)
{
    static const char sizes[] = "KMGTPE", counts[] = "KMBT";
    const char *u = o->kind == KJ_OPT_SIZE    ? sizes
                    : o->kind == KJ_OPT_COUNT ? counts
                                              : "";
    double step = o->kind == KJ_OPT_SIZE ? 1024 : 1000;
    char unit = 0;
    for (; *u && v >= step && fmod(v, step) == 0; u++) {
        v /= step;
        unit = *u;
    }
    kj_buf_printf(out, "%.10g", v);
    if (unit)
        kj_buf_addc(out, unit);
}

static bool in_range(const struct kj_opt *o, double v)
{
    return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

/* Something that the option takes: its default, unless that stands for "none". */
static void put_example(const struct kj_opt *o, struct kj_buf *out)
{
    double v = o->kind == KJ_OPT_SIZE    ? 0x1p26
               : o->kind == KJ_OPT_COUNT ? 1e7
               : o->kind == KJ_OPT_INT   ? 4
                                         : 0.5;
    if (o->def && strcmp(o->def, "0") != 0 && strcmp(o->def, "nan") != 0)
        kj_buf_addz(out, o->def);
    else if (in_range(o, v))
        put_value(o, v, out);
    else
        put_value(o, v < o->min ? o->min : o->max, out);
}

/* "auto, plain, json or never" */
static void put_words(const char *w, struct kj_buf *out)
{
    for (;;) {
        size_t m = strcspn(w, "|");
        kj_buf_add(out, w, m);
        if (!w[m])
            return;
        w += m + 1;
        kj_buf_addz(out, strchr(w, '|') ? ", " : " or ");
    }
}

static void put_number(const struct kj_opt *o, struct kj_buf *out)
{
    kj_buf_addz(out, o->kind == KJ_OPT_SIZE    ? "a size"
                     : o->kind == KJ_OPT_COUNT ? "a count"
                     : o->kind == KJ_OPT_INT   ? "a whole number"
                                               : "a number");
    if (o->max >= 0x1p53) { /* no bound of this option, but of the numbers */
        kj_buf_addz(out, " of at least ");
        put_value(o, o->min, out);
    } else if (o->min != 0 || o->max != 0) {
        kj_buf_addz(out, " from ");
        put_value(o, o->min, out);
        kj_buf_addz(out, " to ");
        put_value(o, o->max, out);
    }
    kj_buf_addz(out, " (like ");
    put_example(o, out);
    kj_buf_addc(out, ')');
}

static void put_takes(const struct kj_opt *o, struct kj_buf *out)
{
    switch (o->kind) {
    case KJ_OPT_FLAG:
        kj_buf_addz(out, "true or false");
        return;
    case KJ_OPT_ENUM:
        put_words(o->arg, out);
        return;
    case KJ_OPT_STR:
    case KJ_OPT_LIST:
        kj_buf_addz(out, o->arg ? o->arg : "a word");
        return;
    case KJ_OPT_INT:
    case KJ_OPT_SIZE:
    case KJ_OPT_COUNT:
    case KJ_OPT_REAL:
        put_number(o, out);
        return;
    }
}

/* value NULL: none was given. */
static int refuse(const struct kj_opt *o, const char *as, const char *value,
                  struct kj_err *err)
{
    struct kj_buf takes;
    kj_buf_init(&takes, 4096);
    put_takes(o, &takes);
    if (value)
        kj_err_set(err, KJ_USAGE, "%s takes %s, not '%s'", as, kj_buf_z(&takes), value);
    else
        kj_err_set(err, KJ_USAGE, "%s needs a value: %s", as, kj_buf_z(&takes));
    kj_buf_release(&takes);
    return KJ_USAGE;
}

static bool set_number(const struct kj_opt *o, void *field, const char *value)
{
    char *end;
    errno = 0;
    if (o->kind == KJ_OPT_SIZE || o->kind == KJ_OPT_COUNT) {
        int64_t n;
        bool good = o->kind == KJ_OPT_SIZE ? parse_size(value, &n)
                                           : kj_parse_count(value, &n, NULL) == KJ_OK;
        if (!good || !in_range(o, (double)n))
            return false;
        *(int64_t *)field = n;
        return true;
    }
    if (o->kind == KJ_OPT_INT) {
        long long n = strtoll(value, &end, 10);
        if (end == value || *end || errno || !in_range(o, (double)n))
            return false;
        *(int64_t *)field = n;
        return true;
    }
    double v = strtod(value, &end);
    if (end != value && *end == '%') {
        v /= 100;
        end++;
    }
    if (end == value || *end || isnan(v) || !in_range(o, v))
        return false;
    *(double *)field = v;
    return true;
}

static bool set_enum(const struct kj_opt *o, int *field, const char *value)
{
    size_t n = strlen(value);
    const char *w = o->arg;
    for (int i = 0; w; i++) {
        size_t m = strcspn(w, "|");
        if (m == n && memcmp(w, value, n) == 0) {
            *field = i;
            return true;
        }
        w = w[m] ? w + m + 1 : NULL;
    }
    return false;
}

static bool set_flag(bool *field, const char *value)
{
    bool yes = !value || strcmp(value, "true") == 0 || strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "false") != 0 && strcmp(value, "no") != 0)
        return false;
    *field = yes;
    return true;
}

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

int kj_opt_set(const struct kj_opt *o, void *cfg, const char *as, const char *value,
               struct kj_err *err)
{
    void *field = (char *)cfg + o->off;
    bool good = true;
    if (!as)
        as = o->name;
    if (!value && o->kind != KJ_OPT_FLAG)
        return refuse(o, as, NULL, err);
    switch (o->kind) {
    case KJ_OPT_FLAG:
        good = set_flag(field, value);
        break;
    case KJ_OPT_STR:
        *(const char **)field = value;
        break;
    case KJ_OPT_LIST:
        set_list(field, value);
        break;
    case KJ_OPT_ENUM:
        good = set_enum(o, field, value);
        break;
    case KJ_OPT_INT:
    case KJ_OPT_SIZE:
    case KJ_OPT_COUNT:
    case KJ_OPT_REAL:
        good = set_number(o, field, value);
        break;
    }
    return good ? KJ_OK : refuse(o, as, value, err);
}
