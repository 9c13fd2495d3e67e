/* cmd_mix.c - kijil mix: a plan over shards to an order to train on. */
#include "commands/commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/order.h"
#include "base/output.h"
#include "manifests/mix.h"

struct mix_cfg {
    const char *output, *tokens;
    int64_t seed, memory;
    bool json;
    bool force, quiet;
};

#define F(x) offsetof(struct mix_cfg, x)
static const struct kj_opt mix_opts[] = {
    {"output", 'o', KJ_OPT_STR, F(output), "DIR",
     "folder of the order; without it only the table is printed", 0, 0, 0},
    {"tokens", 0, KJ_OPT_STR, F(tokens), "N", "budget, instead of the plan's", 0, 0, 0},
    {"seed", 0, KJ_OPT_INT, F(seed), "N", "instead of the plan's", "-1", -1, 0x1p53},
    {"memory", 0, KJ_OPT_SIZE, F(memory), "SIZE", "memory of the sort", "256M", 1 << 20,
     0x1p60},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "the table as one JSON object", 0, 0, 0},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "write over an order that is there", 0, 0,
     0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no table when an order is written", 0, 0,
     0},
    {0},
};
#undef F

static int write_order(const struct kj_mix *m, const struct mix_cfg *cfg,
                       struct kj_err *err)
{
    if (kj_order_is(cfg->output) && !cfg->force)
        return kj_err_set(err, KJ_USAGE,
                          "%s holds an order already; --force writes over it",
                          cfg->output);
    int rc = kj_output_mkdirs(cfg->output, err);
    if (rc == KJ_OK)
        rc = kj_mix_write(m, cfg->output, cfg->memory, "kijil " KJ_VERSION, err);
    return rc;
}

static int mix(const struct kj_mix *m, const struct mix_cfg *cfg, struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, (size_t)1 << 28);
    if (cfg->json)
        kj_mix_json(m, &b);
    else
        kj_mix_text(m, &b);
    if (!cfg->quiet || !cfg->output)
        fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
    return cfg->output ? write_order(m, cfg, err) : KJ_OK;
}

static int run_mix(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct mix_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_mix m = {0};
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status >= 0)
        return status;
    double tokens = 0;
    int rc = KJ_OK;
    if (cfg.tokens)
        rc = kj_mix_tokens("--tokens", cfg.tokens, &tokens, &err);
    if (rc == KJ_OK && !pos.n)
        rc = kj_err_set(&err, KJ_USAGE, "a plan is needed");
    if (rc == KJ_OK)
        rc = kj_mix_load(&m, pos.v[0], &err);
    if (rc == KJ_OK && pos.n > 1)
        m.sets.n = 0;
    for (size_t i = 1; i < pos.n && rc == KJ_OK; i++)
        kj_strs_add(&m.sets, pos.v[i]);
    if (rc == KJ_OK && cfg.tokens)
        m.tokens = tokens;
    if (rc == KJ_OK && cfg.seed >= 0)
        m.seed = cfg.seed;
    if (rc == KJ_OK)
        rc = kj_mix_solve(&m, &err);
    if (rc == KJ_OK)
        rc = mix(&m, &cfg, &err);
    kj_mix_release(&m);
    kj_strs_release(&pos);
    return rc == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
}

const struct kj_cmd kj_cmd_mix = {
    .name = "mix",
    .synopsis = "PLAN.yaml [SHARDS...] [-o DIR]",
    .about = "budgets by source, language and band: an order over shards to train on",
    .details =
        "Divides a budget of tokens among the parts of a plan, each a set of sources, "
        "languages and quality bands, and prints what each has, gives, repeats and "
        "lacks. worth is what its tokens are worth once repetition is counted "
        "(arXiv 2305.16264). SHARDS stand for the plan's sets.\n\n"
        "With -o it writes an order: which documents stand in training, how often, "
        "shuffled. Tokens are not copied; kijil train --data DIR reads the order. The "
        "same plan, shards and seed give the same bytes. recipes/kanana-stage1.yaml "
        "and "
        "recipes/kanana-stage2.yaml are plans; docs/formats/shards.md lists their "
        "keys.",
    .examples =
        "kijil mix recipes/kanana-stage1.yaml shards/ web/  # what would it take?\n"
        "kijil mix plan.yaml shards/ --tokens 10B -o order/  # an order\n"
        "kijil train run.yaml --data order/ -o model/  # trained on\n",
    .opts = (const struct kj_opt *const[]){mix_opts, NULL},
    .run = run_mix,
};
