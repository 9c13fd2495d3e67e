/* cmd_whatif.c - kijil whatif: other thresholds, tried on what a ledger holds. */
#include "commands/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/output.h"
#include "filter/filter.h"
#include "filter/recipe.h"
#include "manifests/ledger.h"
#include "manifests/whatif.h"

struct whatif_cfg {
    const char *sweep, *budget, *changed;
    double bytes_per_token;
    int64_t examples;
    bool json;
};

#define F(x) offsetof(struct whatif_cfg, x)
static const struct kj_opt whatif_opts[] = {
    {"sweep", 0, KJ_OPT_STR, F(sweep), "RULE",
     "print what stays at every cut of this rule, the other changes applied", 0, 0, 0},
    {"budget", 0, KJ_OPT_STR, F(budget), "TOKENS",
     "the loosest cut of --sweep that keeps at most so many: 500M, 2B, 1.5T", 0, 0, 0},
    {"bytes_per_token", 0, KJ_OPT_REAL, F(bytes_per_token), "R",
     "count tokens as text by this; 0: as counted in the ledger, else 4", "0", 0, 100},
    {"examples", 0, KJ_OPT_INT, F(examples), "N",
     "documents shown on each side of each cut", "4", 0, 20},
    {"changed", 0, KJ_OPT_STR, F(changed), "FILE",
     "write every document whose verdict changes there, as JSONL", 0, 0, 0},
    {"json", 0, KJ_OPT_FLAG, F(json), 0,
     "one JSON object with the counts and the curve, without the documents", 0, 0, 0},
    {0},
};
#undef F

/* "2B" tokens. */
static int parse_budget(const char *s, double *out, struct kj_err *err)
{
    static const char units[] = "kmbt";
    char *end;
    *out = 0;
    if (!s)
        return KJ_OK;
    double v = strtod(s, &end);
    const char *u = *end ? strchr(units, *end | 32) : NULL;
    if (*end && (*end | 32) == 'g')
        u = units + 2;
    for (const char *k = units; u && k <= u; k++)
        v *= 1000;
    if (end == s || (*end && (!u || end[1])) || !(v > 0 && v < 1e18))
        return kj_err_set(
            err, KJ_USAGE,
            "--budget takes a number of tokens (like 500M or 2B), not '%s'", s);
    *out = v;
    return KJ_OK;
}

/* A filter rule takes what filter --set takes, read by the same code. */
static int parse_value(struct kj_whatif_change *c, const char *name, const char *value,
                       struct kj_err *err)
{
    const struct kj_filter_rule *rule = kj_filter_rule_find(name);
    char *end;
    c->off = strcmp(value, "off") == 0;
    if (rule && rule->kind == KJ_FILTER_MASK)
        return kj_err_set(err, KJ_USAGE, "%s rewrites text and drops nothing", name);
    if (rule && rule->clean)
        return kj_err_set(err, KJ_USAGE,
                          "%s rewrites text: the rules behind it would measure another"
                          " one, so that has to be run",
                          name);
    if (rule && rule->kind == KJ_FILTER_LIST && !c->off)
        return kj_err_set(err, KJ_USAGE,
                          "%s: the ledger has only whether the document was on the old"
                          " list; it can be tried off",
                          name);
    if (c->off)
        return KJ_OK;
    c->threshold = strtod(value, &end);
    if (!rule && *end == '%') {
        c->threshold /= 100;
        end++;
    }
    if (!rule)
        return end != value && !*end && isfinite(c->threshold)
                   ? KJ_OK
                   : kj_err_set(err, KJ_USAGE, "%s takes a number or off, not '%s'",
                                name, value);
    struct kj_filter_recipe r;
    struct kj_buf word;
    kj_filter_recipe_init(&r, NULL);
    kj_buf_init(&word, 4096);
    int rc = kj_buf_printf(&word, "%s=%s", name, value);
    rc = rc ? rc : kj_filter_recipe_set(&r, kj_buf_z(&word), err);
    if (rc == KJ_OK)
        c->threshold = r.items[0].threshold;
    kj_buf_release(&word);
    kj_filter_recipe_release(&r);
    return rc;
}

/* "RULE OP VALUE"; the name lies in *copy, which the caller frees. "a.b" may
 * mean the filter's "a.min_b" or "a.max_b". */
static int parse_change(struct kj_whatif_change *c, const char *word, char **copy,
                        struct kj_err *err)
{
    char *z = *copy = kj_xstrdup(word), full[300];
    size_t n = strcspn(z, " <>=");
    char *op = z + n + strspn(z + n, " ");
    if (!n || !*op || !strchr("<>=", *op))
        return kj_err_set(err, KJ_USAGE,
                          "'%s' is not RULE>=VALUE, RULE<=VALUE or RULE=VALUE|off",
                          word);
    c->keep = *op;
    bool equal = op[1] == '=';
    if (c->keep != '=' && !equal)
        return kj_err_set(err, KJ_USAGE,
                          "'%s': a value at the threshold stays, so write %c=", word,
                          c->keep);
    char *value = op + 1 + equal;
    value += strspn(value, " ");
    for (size_t k = strlen(value); k && value[k - 1] == ' ';)
        value[--k] = 0;
    z[n] = 0;
    const char *dot = strchr(z, '.');
    c->rule = z;
    if (!kj_filter_rule_find(z) && dot && c->keep != '=') {
        snprintf(full, sizeof full, "%.*s.%s%s", (int)(dot - z), z,
                 c->keep == '>' ? "min_" : "max_", dot + 1);
        if (kj_filter_rule_find(full))
            return parse_value(c, full, value, err);
    }
    return parse_value(c, z, value, err);
}

static int write_line(void *ctx, const char *line, size_t n, struct kj_err *err)
{
    return kj_output_write(ctx, line, n, err);
}

static int whatif(const struct kj_strs *pos, const struct whatif_cfg *cfg,
                  struct kj_err *err)
{
    size_t n = pos->n ? pos->n - 1 : 0;
    struct kj_whatif_change *changes = kj_xcalloc(n + 1, sizeof *changes);
    char **copies = kj_xcalloc(n + 1, sizeof *copies);
    struct kj_whatif ask = {.changes = changes,
                            .n = n,
                            .sweep = cfg->sweep,
                            .bytes_per_token = cfg->bytes_per_token,
                            .examples = (size_t)cfg->examples};
    struct kj_ledger *l = NULL;
    struct kj_output *o = NULL;
    struct kj_buf out, inside;
    struct stat st;
    kj_buf_init(&out, 64 << 20);
    kj_buf_init(&inside, 1 << 16);
    const char *db = pos->n ? pos->v[0] : NULL;
    if (db && stat(db, &st) == 0 && S_ISDIR(st.st_mode)) { /* the folder of a run */
        kj_buf_printf(&inside, "%s/run.db", db);
        db = kj_buf_z(&inside);
    }
    int rc = pos->n ? KJ_OK : kj_err_set(err, KJ_USAGE, "give a ledger");
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = parse_change(&changes[i], pos->v[i + 1], &copies[i], err);
    if (rc == KJ_OK)
        rc = parse_budget(cfg->budget, &ask.budget, err);
    if (rc == KJ_OK && cfg->budget && !cfg->sweep)
        rc =
            kj_err_set(err, KJ_USAGE, "--budget needs --sweep RULE: which cut to move");
    if (rc == KJ_OK)
        rc = kj_ledger_open(&l, db, KJ_LEDGER_READ, err);
    if (rc == KJ_OK && cfg->changed) {
        rc = kj_output_open(&o, cfg->changed, err);
        ask.each = write_line;
        ask.ctx = o;
    }
    if (rc == KJ_OK)
        rc = cfg->json ? kj_whatif_json(l, &ask, &out, err)
                       : kj_whatif_text(l, &ask, &out, err);
    if (rc == KJ_OK && o)
        rc = kj_output_commit(o, err);
    else if (o)
        kj_output_abort(o);
    if (rc == KJ_OK && (fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout)))
        rc = kj_err_errno(err, KJ_FAIL, "standard output");
    kj_ledger_close(l, NULL);
    kj_buf_release(&out);
    kj_buf_release(&inside);
    for (size_t i = 0; i < n; i++)
        free(copies[i]);
    free(copies);
    free(changes);
    return rc;
}

static int run_whatif(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct whatif_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status < 0)
        status = whatif(&pos, &cfg, &err) == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_whatif = {
    .name = "whatif",
    .synopsis = "DB ['RULE>=VALUE'|'RULE<=VALUE'|RULE=VALUE|RULE=off ...]",
    .about = "try other thresholds on the values that a ledger has stored",
    .details =
        "Says which documents a filter would keep or drop under other thresholds, "
        "without reading a text again: the ledger of a run made with --ledger holds "
        "every value that a rule looked at. The relation is what stays: values from a "
        "threshold up, or up to it. The answer equals a re-run of filter with --set "
        "RULE=VALUE exactly, in every group of the recipe that has the rule.\n\n"
        "It shows documents, text and tokens gained and lost, by language and source, "
        "and the documents nearest the new cut on both sides, of those that pass all "
        "other rules. Documents dropped by earlier stages stay out. Later stages, such "
        "as dedup, cannot be replayed; the answer says how many of the lost they had "
        "dropped anyway. Without a rule it lists the cuts of all stages with the "
        "documents that each dropped first, and alone.\n\n"
        "With values of a sample (--signals sample=P) the numbers are estimates.",
    .examples =
        "kijil whatif run.db  # cuts: dropped first, alone\n"
        "kijil whatif run.db 'fineweb.line_punct>=0.08' 'gopher.max_words<=50000'  # "
        "two "
        "at once\n"
        "kijil whatif run.db 'bands.quality_band>=12'  # also where no cut was made\n"
        "kijil whatif run.db --sweep gopher.min_words  # the whole curve\n"
        "kijil whatif run.db --sweep lang.min_score --budget 2B  # a cut for 2 billion "
        "tokens\n"
        "kijil whatif run.db --sweep lang.min_score --json | jq .sweep.curve  # "
        "for a plot\n",
    .opts = (const struct kj_opt *const[]){whatif_opts, NULL},
    .run = run_whatif,
};
