/* cmd_merge.c - kijil merge: one model between several. */
#include "commands/commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "commands/model.h"
#include "trainer/derive.h"

struct options {
    const char *output;
    struct kj_strs weights;
    double slerp;
    bool force, quiet;
};

#define NO_SLERP (-1.0)

#define F(x) offsetof(struct options, x)
static const struct kj_opt merge_opts[] = {
    {"weights", 'w', KJ_OPT_LIST, F(weights), "X,Y,...",
     "weight of each model, divided by their sum; default: all the same", 0, 0, 0},
    {"slerp", 0, KJ_OPT_REAL, F(slerp), "T",
     "two models: along the great circle, 0 is the first and 1 the second; -1: "
     "straight",
     "-1", -1, 1},
    {"output", 'o', KJ_OPT_STR, F(output), "DIR", "folder of the new model", 0, 0, 0},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "replace a model that is there already", 0,
     0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no closing line", 0, 0, 0},
    {0},
};
#undef F

static int linear(const struct options *o, const struct kj_strs *models,
                  struct kj_err *err)
{
    double *w = kj_xcalloc(models->n, sizeof *w);
    int rc = KJ_OK;
    if (o->weights.n && o->weights.n != models->n)
        rc = kj_err_set(err, KJ_USAGE, "--weights: %zu for %zu models", o->weights.n,
                        models->n);
    for (size_t i = 0; i < o->weights.n && rc == KJ_OK; i++) {
        char *end;
        w[i] = strtod(o->weights.v[i], &end);
        if (*end || end == o->weights.v[i] || !isfinite(w[i]))
            rc = kj_err_set(err, KJ_USAGE,
                            "--weights takes numbers (like 0.7,0.3), not '%s'",
                            o->weights.v[i]);
    }
    if (rc == KJ_OK)
        rc = kj_merge_linear(models->v, models->n, o->weights.n ? w : NULL, o->output,
                             err);
    free(w);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&o}, &common, &pos);
    if (status >= 0)
        return status;
    bool slerp = o.slerp > NO_SLERP;
    int rc = KJ_OK;
    if (pos.n < 2)
        rc = kj_err_set(&err, KJ_USAGE, "two or more folders with models are needed");
    else if (slerp && (pos.n != 2 || o.weights.n || o.slerp < 0))
        rc = kj_err_set(&err, KJ_USAGE,
                        "--slerp is for two models, from 0 to 1, without --weights");
    if (rc == KJ_OK)
        rc = kj_model_output(o.output, o.force, &err);
    if (rc == KJ_OK)
        rc = slerp ? kj_merge_slerp(pos.v[0], pos.v[1], o.slerp, o.output, &err)
                   : linear(&o, &pos, &err);
    if (rc == KJ_OK && !o.quiet)
        fprintf(stderr, "kijil " KJ_VERSION " merge: %zu models in %s\n", pos.n,
                o.output);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    kj_opt_release(merge_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_merge = {
    .name = "merge",
    .synopsis = "MODELDIR MODELDIR... -o DIR",
    .about = "one model between several of the same shape",
    .details =
        "The weighted mean of the models' weights, or, with --slerp, the point between "
        "two of them on the great circle of each tensor, which keeps their length. "
        "Tensors are read one at a time. Configuration and tokenizer are the first "
        "model's.",
    .examples =
        "kijil merge out/a out/b -o out/ab  # the mean\n"
        "kijil merge out/a out/b out/c -w 2,1,1 -o out/abc  # a half of the first\n"
        "kijil merge out/a out/b --slerp 0.3 -o out/ab  # nearer to the first\n",
    .opts = (const struct kj_opt *const[]){merge_opts, NULL},
    .run = run,
};
