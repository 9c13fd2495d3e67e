/* stages.c - reading, resolving and printing the stages of a run file. */
#include "trainer/stages.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/yaml.h"

/* So that the sum over all stages is a number. */
#define MOST_TOKENS (INT64_MAX / KJ_STAGES_MAX)

#define S(x) offsetof(struct kj_run_stage, x)
const struct kj_opt kj_stage_opts[] = {
    {"name", 0, KJ_OPT_STR, S(name), "WORD", "name of the stage, in metrics and logs",
     0, 0, 0},
    {"steps", 0, KJ_OPT_INT, S(steps), "N", "steps; 0: from tokens", "0", 0, 0x1p40},
    {"tokens", 0, KJ_OPT_COUNT, S(tokens), "N", "tokens (300B), where steps is 0", "0",
     0, 0x1p58},
    {"shape", 0, KJ_OPT_ENUM, S(shape), "as-run|constant|linear|cosine|sqrt",
     "course of the learning rate; as-run: the section schedule's over all stages",
     "as-run", 0, 0},
    {"start_ratio", 0, KJ_OPT_REAL, S(start_ratio), "X",
     "rate over the peak behind the warm-up; nan: where the stage before ended, 1 in "
     "the first",
     "nan", 0, 1},
    {"end_ratio", 0, KJ_OPT_REAL, S(end_ratio), "X",
     "rate over the peak at the last step; nan: schedule.min_ratio", "nan", 0, 1},
    {"warmup_steps", 0, KJ_OPT_INT, S(warmup), "N",
     "steps of linear warm-up; -1: schedule's in the first stage, none in others", "-1",
     -1, 0x1p40},
    {0},
};

/* ---- reading ---- */

static bool good_name(const char *z)
{
    size_t n = strspn(z, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-");
    return n > 0 && n < 32 && !z[n];
}

static const char *text_of(const struct kj_ynode *map, const char *key)
{
    const struct kj_ynode *v = kj_ynode_get(map, key);
    return v && v->kind == KJ_Y_SCALAR ? v->scalar : NULL;
}

/* "path", or {path: ..., weight: ...}. */
static int read_source(struct kj_run_source *s, const struct kj_ynode *n,
                       struct kj_err *err)
{
    s->weight = 1;
    if (n->kind == KJ_Y_SCALAR) {
        s->path = n->scalar;
        return KJ_OK;
    }
    s->path = text_of(n, "path");
    const char *w = text_of(n, "weight");
    if (n->kind != KJ_Y_MAP || !s->path || n->n != (w ? 2u : 1u))
        return kj_ynode_err(n, err,
                            "data is a path, or a list of {path: P, weight: W}");
    if (w) {
        char *end;
        s->weight = strtod(w, &end);
        if (end == w || *end || !(s->weight > 0 && s->weight < 1e12))
            return kj_ynode_err(n, err, "weight is a number over 0, not %s", w);
    }
    return KJ_OK;
}

static int read_data(struct kj_run_stage *s, const struct kj_ynode *n,
                     struct kj_err *err)
{
    int rc = KJ_OK;
    s->n_sources = 0;
    if (n->kind != KJ_Y_SEQ) {
        s->n_sources = 1;
        return read_source(&s->sources[0], n, err);
    }
    if (n->n == 0 || n->n > KJ_SOURCES_MAX)
        return kj_ynode_err(n, err, "data lists 1 to %d sources", KJ_SOURCES_MAX);
    for (size_t i = 0; i < n->n && rc == KJ_OK; i++)
        rc = read_source(&s->sources[s->n_sources++], n->items[i], err);
    return rc;
}

static int read_stage(struct kj_run *r, const struct kj_ynode *n, struct kj_err *err)
{
    static const char *const skip[] = {"data", NULL};
    struct kj_run_stage *s = &r->stages[r->n_stages];
    const struct kj_ynode *data;
    memset(s, 0, sizeof *s);
    if (n->kind != KJ_Y_MAP)
        return kj_ynode_err(n, err, "a stage has name, tokens, data, ...");
    int rc = kj_opt_defaults(kj_stage_opts, s, err);
    if (rc == KJ_OK)
        rc = kj_opt_yaml(kj_stage_opts, s, n, skip, err);
    if (rc)
        return rc;
    if (!s->name || !good_name(s->name))
        return kj_ynode_err(n, err,
                            "a stage has a name of up to 31 letters, digits, - and _");
    for (size_t i = 0; i < r->n_stages; i++)
        if (strcmp(r->stages[i].name, s->name) == 0)
            return kj_ynode_err(n, err, "there are two stages %s", s->name);
    s->sources[0].weight = 1;
    s->n_sources = 1;
    if ((data = kj_ynode_get(n, "data")))
        rc = read_data(s, data, err);
    r->n_stages++;
    return rc;
}

int kj_stages_read(struct kj_run *r, const struct kj_ynode *list, struct kj_err *err)
{
    int rc = KJ_OK;
    r->n_stages = 0;
    r->staged = true;
    if (list->kind != KJ_Y_SEQ || list->n == 0 || list->n > KJ_STAGES_MAX)
        return kj_ynode_err(list, err, "stages is a list of 1 to %d stages",
                            KJ_STAGES_MAX);
    for (size_t i = 0; i < list->n && rc == KJ_OK; i++)
        rc = read_stage(r, list->items[i], err);
    return rc;
}

int kj_stages_set(struct kj_run *r, const char *a, struct kj_err *err)
{
    const char *name = a + strlen("stages."), *eq = strchr(a, '=');
    const char *key = name + strcspn(name, ".=");
    size_t n = (size_t)(key - name);
    struct kj_run_stage *s = NULL;
    for (size_t i = 0; i < r->n_stages && r->staged; i++)
        if (strlen(r->stages[i].name) == n && memcmp(r->stages[i].name, name, n) == 0)
            s = &r->stages[i];
    if (!s)
        return kj_err_set(err, KJ_USAGE, "the run file has no stage '%.*s'", (int)n,
                          name);
    n = eq && *key == '.' ? (size_t)(eq - ++key) : 0;
    if (n == 4 && memcmp(key, "data", 4) == 0) {
        s->sources[0] = (struct kj_run_source){.path = eq + 1, .weight = 1};
        s->n_sources = 1;
        return KJ_OK;
    }
    for (const struct kj_opt *o = kj_stage_opts + 1; o->name && n; o++)
        if (strlen(o->name) == n && memcmp(o->name, key, n) == 0) {
            char as[96];
            snprintf(as, sizeof as, "--set %.*s", (int)(eq - a < 80 ? eq - a : 80), a);
            int rc = kj_opt_set(o, s, as, eq + 1, err);
            /* Whichever of the two is set last holds. */
            if (rc == KJ_OK && o->off == S(steps) && s->steps)
                s->tokens = 0;
            if (rc == KJ_OK && o->off == S(tokens) && s->tokens)
                s->steps = 0;
            return rc;
        }
    return kj_err_set(err, KJ_USAGE, "stages have no key '%.*s'",
                      (int)(eq ? eq - key : 0), key);
}

/* ---- resolving ---- */

int kj_stages_sets(struct kj_run *r, bool needed, struct kj_err *err)
{
    if (!r->staged) {
        struct kj_run_stage *s = &r->stages[0];
        memset(s, 0, sizeof *s);
        s->name = "";
        s->sources[0].weight = 1;
        r->n_stages = s->n_sources = 1;
    }
    r->n_sets = 0;
    for (size_t i = 0; i < r->n_stages; i++)
        for (size_t k = 0; k < r->stages[i].n_sources; k++) {
            struct kj_run_source *s = &r->stages[i].sources[k];
            const char *path = s->path ? s->path : r->data.manifest;
            if (!path && needed)
                return kj_err_set(err, KJ_USAGE,
                                  "no shards are named%s%s; give --data manifest.jsonl",
                                  r->staged ? " for the stage " : "",
                                  r->stages[i].name);
            for (s->set = 0; s->set < r->n_sets; s->set++)
                if (path == r->sets[s->set] ||
                    (path && r->sets[s->set] && strcmp(path, r->sets[s->set]) == 0))
                    break;
            if (s->set == r->n_sets)
                r->sets[r->n_sets++] = path;
        }
    return KJ_OK;
}

static int check_stage(const struct kj_run_stage *s, struct kj_err *err)
{
    bool rate = !isnan(s->start_ratio) || !isnan(s->end_ratio) || s->warmup >= 0;
    if (!s->steps == !s->tokens)
        return kj_err_set(err, KJ_USAGE, "stage %s: either steps or tokens is needed",
                          s->name);
    if (s->shape == KJ_STAGE_AS_RUN && rate)
        return kj_err_set(err, KJ_USAGE,
                          "stage %s: start_ratio, end_ratio and warmup_steps need a "
                          "shape",
                          s->name);
    return KJ_OK;
}

/* Where a stage ends: tokens are summed before they are cut to steps, so that many
 * stages are as long together as one of them all. */
static int borders(struct kj_run *r, struct kj_err *err)
{
    int64_t step_tokens = r->data.batch * r->data.seq_len, tokens = 0, begin = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        struct kj_run_stage *s = &r->stages[i];
        int rc = check_stage(s, err);
        if (rc)
            return rc;
        if (s->steps > MOST_TOKENS / step_tokens)
            return kj_err_set(err, KJ_USAGE, "stage %s: too many steps", s->name);
        tokens += s->tokens ? s->tokens : s->steps * step_tokens;
        s->begin = begin;
        s->end = begin = tokens / step_tokens;
        if (s->end <= s->begin)
            return kj_err_set(err, KJ_USAGE,
                              "stage %s: %" PRId64 " tokens are less than a step's "
                              "%" PRId64,
                              s->name, s->tokens, step_tokens);
        s->steps = s->end - s->begin;
        s->tokens = 0;
    }
    if ((r->schedule.steps && r->schedule.steps != begin) || r->schedule.tokens)
        return kj_err_set(err, KJ_USAGE,
                          "the stages tell the length of the run: leave out "
                          "schedule.steps and schedule.tokens");
    r->schedule.steps = begin;
    return KJ_OK;
}

int kj_stages_resolve(struct kj_run *r, struct kj_err *err)
{
    int rc = kj_stages_sets(r, false, err);
    if (rc == KJ_OK && !r->staged) {
        r->stages[0].end = r->schedule.steps;
        return KJ_OK;
    }
    if (rc == KJ_OK)
        rc = borders(r, err);
    for (size_t i = 0; i < r->n_stages && rc == KJ_OK; i++) {
        struct kj_run_stage *s = &r->stages[i];
        s->before = i ? kj_schedule_factor(r, s->begin - 1) : 0;
        if (s->shape == KJ_STAGE_AS_RUN)
            continue;
        if (isnan(s->start_ratio))
            s->start_ratio = i ? s->before : 1;
        if (isnan(s->end_ratio))
            s->end_ratio =
                s->shape == KJ_STAGE_CONSTANT ? s->start_ratio : r->schedule.min_ratio;
        if (s->warmup < 0)
            s->warmup = i ? 0 : r->schedule.warmup;
    }
    return rc;
}

int kj_stages_dump(const struct kj_run *r, bool identity, struct kj_buf *out)
{
    int rc = kj_buf_addz(out, "stages:\n");
    for (size_t i = 0; i < r->n_stages; i++) {
        const struct kj_run_stage *s = &r->stages[i];
        struct kj_buf text;
        kj_buf_init(&text, 1 << 16);
        kj_opt_dump(kj_stage_opts, s, &text);
        const char *lead = "  - ";
        for (size_t at = 0; at < text.n;) {
            const char *line = text.p + at, *nl = memchr(line, '\n', text.n - at);
            size_t n = nl ? (size_t)(nl - line) + 1 : text.n - at;
            /* What was not given stays so. */
            if (n < 6 || memcmp(line + n - 6, " null\n", 6) != 0) {
                rc |= kj_buf_addz(out, lead) | kj_buf_add(out, line, n);
                lead = "    ";
            }
            at += n;
        }
        kj_buf_release(&text);
        rc |= kj_buf_addz(out, "    data:\n");
        for (size_t k = 0; k < s->n_sources; k++) {
            const char *path = r->sets[s->sources[k].set];
            if (identity)
                kj_buf_printf(out, "      - {set: %zu", s->sources[k].set);
            else {
                kj_buf_addz(out, "      - {path: ");
                kj_json_put_str(out, path ? path : "", path ? strlen(path) : 0);
            }
            kj_buf_addz(out, ", weight: ");
            kj_json_put_real(out, s->sources[k].weight);
            rc |= kj_buf_addz(out, "}\n");
        }
    }
    return rc;
}

/* ---- asking ---- */

const struct kj_run_stage *kj_stage_of(const struct kj_run *r, int64_t step)
{
    size_t i = 0;
    while (i + 1 < r->n_stages && step >= r->stages[i].end)
        i++;
    return &r->stages[i];
}

double kj_stage_factor(const struct kj_run_stage *s, int64_t step)
{
    int64_t k = step - s->begin, w = s->warmup, n = s->end - s->begin;
    if (k < w)
        return s->before + (s->start_ratio - s->before) * (double)(k + 1) / (double)w;
    double x = (double)(k + 1 - w) / (double)(n - w), f = 1;
    x = x > 1 ? 1 : x;
    switch (s->shape) {
    case KJ_STAGE_LINEAR:
        f = 1 - x;
        break;
    case KJ_STAGE_SQRT:
        f = 1 - sqrt(x);
        break;
    case KJ_STAGE_COSINE:
        f = (1 + cos(3.14159265358979323846 * x)) / 2;
        break;
    default:
        return s->start_ratio;
    }
    return s->end_ratio + (s->start_ratio - s->end_ratio) * f;
}
