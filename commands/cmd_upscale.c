/* cmd_upscale.c - kijil upscale: a deeper model out of copied layers. */
#include "commands/commands.h"

#include <stdio.h>
#include <unistd.h>

#include "commands/model.h"
#include "trainer/derive.h"

struct options {
    const char *keep, *output;
    bool force, quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt upscale_opts[] = {
    {"keep", 'k', KJ_OPT_STR, F(keep), "RANGES",
     "layers FROM:TO (behind the last), one range behind the other: 0:20,12:32", 0, 0,
     0},
    {"output", 'o', KJ_OPT_STR, F(output), "DIR", "folder of the new model", 0, 0, 0},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "replace a model that is there already", 0,
     0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no closing line", 0, 0, 0},
    {0},
};
#undef F

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int64_t layers = 0;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&o}, &common, &pos);
    if (status >= 0)
        return status;
    int rc = KJ_OK;
    if (pos.n != 1)
        rc = kj_err_set(&err, KJ_USAGE, "one folder with a model is needed");
    else if (!o.keep)
        rc = kj_err_set(&err, KJ_USAGE, "which layers? give --keep 0:20,12:32");
    if (rc == KJ_OK)
        rc = kj_model_output(o.output, o.force, &err);
    if (rc == KJ_OK)
        rc = kj_upscale(pos.v[0], o.keep, o.output, &layers, &err);
    if (rc == KJ_OK && !o.quiet)
        fprintf(stderr, "kijil " KJ_VERSION " upscale: %lld layers in %s\n",
                (long long)layers, o.output);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_upscale = {
    .name = "upscale",
    .synopsis = "MODELDIR --keep RANGES -o DIR",
    .about = "a deeper (or shallower) model out of a model's layers",
    .details =
        "Depth up-scaling (SOLAR): ranges of layers are copied one behind the other, "
        "and the result is trained further (init_from in a run file). A model of n "
        "layers that shall have k keeps 0:k/2 and n-k/2:n; the layers in the middle "
        "then occur twice. Embedding, head and last norm are kept. Tensors are copied "
        "one at a time: memory does not grow with the model.",
    .examples =
        "kijil upscale out/8b --keep 0:20,12:32 -o out/essence  # 32 layers to 40\n"
        "kijil upscale out/8b --keep 0:24,28:32 -o out/less  # without four of them\n",
    .opts = (const struct kj_opt *const[]){upscale_opts, NULL},
    .run = run,
};
