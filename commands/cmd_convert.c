/* cmd_convert.c - kijil convert: a model in another format. */
#include "commands/commands.h"

#include <stdio.h>

#include "trainer/gguf.h"

struct options {
    const char *output;
    int to, type;
    bool quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt convert_opts[] = {
    {"to", 0, KJ_OPT_ENUM, F(to), "gguf", "the format", "gguf", 0, 0},
    {"type", 0, KJ_OPT_ENUM, F(type), "f16|f32",
     "of matrices; norms are float32 always", "f16", 0, 0},
    {"output", 'o', KJ_OPT_STR, F(output), "FILE",
     "where to; a file that is there is replaced", 0, 0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

static int convert(const char *dir, const struct options *o, struct kj_err *err)
{
    struct kj_parent p;
    const char *why = NULL;
    if (!o->output)
        return kj_err_set(err, KJ_USAGE, "where to? give -o FILE.gguf");
    int rc = kj_parent_open(&p, dir, err);
    if (rc)
        return rc;
    rc = kj_gguf_write(&p, o->output, o->type == 0, &why, err);
    if (rc == KJ_OK && !o->quiet)
        fprintf(stderr, "kijil " KJ_VERSION " convert: %s%s%s\n", o->output,
                why ? ", without its tokenizer: " : " with its tokenizer",
                why ? why : "");
    kj_parent_close(&p);
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
    int rc = pos.n == 1
                 ? convert(pos.v[0], &o, &err)
                 : kj_err_set(&err, KJ_USAGE, "one folder with a model is needed");
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_convert = {
    .name = "convert",
    .synopsis = "MODELDIR --to gguf -o FILE",
    .about = "a model as GGUF, for llama.cpp and its kin",
    .details =
        "GGUF version 3, architecture llama. The tokenizer goes along when it is a "
        "byte-level BPE that cuts words as Llama 3, Qwen 2 or GPT-2 do; else the line "
        "at the end says why not. Values too large for f16 are an error. kijil check "
        "FILE.gguf reads the file back.",
    .examples = "kijil convert out/m -o m.gguf && kijil check m.gguf  # in half the "
                "bytes\n"
                "kijil convert out/m --type f32 -o m.gguf  # the same values\n",
    .opts = (const struct kj_opt *const[]){convert_opts, NULL},
    .run = run,
};
