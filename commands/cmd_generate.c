/* cmd_generate.c - kijil generate: text from a model. */
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/input.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "commands/continue.h"
#include "commands/model.h"

struct options {
    const char *prompt, *tokenizer, *device;
    int64_t max_tokens, seed, jobs;
    double temperature, top_p;
    bool echo, quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt generate_opts[] = {
    {"prompt", 'p', KJ_OPT_STR, F(prompt), "TEXT",
     "how the text begins; default: standard input", 0, 0, 0},
    {"max_tokens", 'n', KJ_OPT_INT, F(max_tokens), "N",
     "stop behind so many new tokens", "128", 1, 1 << 24},
    {"temperature", 0, KJ_OPT_REAL, F(temperature), "X",
     "0: always the likeliest token; 1: the model's own probabilities", "0.8", 0, 100},
    {"top_p", 0, KJ_OPT_REAL, F(top_p), "X",
     "choose among the likeliest tokens that hold this much probability", "0.95", 1e-6,
     1},
    {"seed", 0, KJ_OPT_INT, F(seed), "N", "seed of the choices", "1", 0, 0x1p53},
    {"tokenizer", 't', KJ_OPT_STR, F(tokenizer), "FILE",
     "tokenizer.json; default: the model's own", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu, cuda",
     "auto", 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"echo", 0, KJ_OPT_FLAG, F(echo), 0,
     "print the prompt before its continuation, which --no-echo leaves out", "true", 0,
     0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no line about speed at the end", 0, 0, 0},
    {0},
};
#undef F

/* Print what is whole: an unfinished character waits for the next token. With
 * `all`, what is left is printed as U+FFFD. */
static void print(struct kj_buf *b, bool all)
{
    size_t i = 0, len;
    while (i < b->n) {
        uint32_t c = kj_utf8_next(b->p + i, b->n - i, &len);
        if (c == KJ_UTF8_BAD && i + len == b->n && !all && b->n - i < 4)
            break;
        char out[4];
        fwrite(out, 1, kj_utf8_put(c, out), stdout);
        i += len;
    }
    memmove(b->p, b->p + i, b->n - i);
    b->n -= i;
    fflush(stdout);
}

struct printing {
    struct kj_str prompt; /* to be printed first; none: NULL */
    struct kj_buf text;
};

static bool piece(void *ctx, const char *p, size_t n)
{
    struct printing *s = ctx;
    if (s->prompt.p)
        fwrite(s->prompt.p, 1, s->prompt.n, stdout);
    s->prompt.p = NULL;
    if (kj_buf_add(&s->text, p, n) != KJ_OK)
        return false;
    print(&s->text, false);
    return !atomic_load(&kj_interrupted);
}

static int generate(struct kj_opened *m, const struct options *o, struct kj_str prompt,
                    struct kj_err *err)
{
    struct printing out = {.prompt = o->echo ? prompt : (struct kj_str){0}};
    struct kj_continue c = {.m = m->m,
                            .tok = m->tok,
                            .begin = m->begin,
                            .end = m->config.eos,
                            .sampler = {o->temperature, o->top_p, (uint64_t)o->seed},
                            .most = o->max_tokens,
                            .ctx = &out,
                            .piece = piece};
    kj_buf_init(&out.text, 1 << 20);
    int rc = kj_continue(&c, prompt, err);
    if (rc == KJ_OK && !c.made)
        piece(&out, "", 0);
    if (rc == KJ_OK && out.text.n)
        print(&out.text, true);
    if (rc == KJ_OK)
        printf("\n");
    if (rc == KJ_OK && !o->quiet)
        fprintf(stderr,
                "kijil " KJ_VERSION " generate: %zu tokens in, %zu out, "
                "%.0f tokens/s\n",
                c.given, c.made, (double)c.made / c.seconds);
    kj_buf_release(&out.text);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_opened m = {0};
    struct kj_buf in;
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    kj_cmd_signals();
    kj_buf_init(&in, 64 << 20);
    int rc = pos.n == 1
                 ? KJ_OK
                 : kj_err_set(&err, KJ_USAGE, "one folder with a model is needed");
    if (rc == KJ_OK && !o.prompt)
        rc = kj_input_slurp("-", &in, &err);
    if (rc == KJ_OK && o.prompt)
        rc = kj_buf_addz(&in, o.prompt);
    if (rc == KJ_OK)
        rc = kj_model_open(&m, pos.v[0], o.tokenizer, o.device,
                           (unsigned)(o.jobs ? o.jobs : common.jobs), 1, &err);
    if (rc == KJ_OK) {
        rc = generate(&m, &o, (struct kj_str){in.p ? in.p : "", in.n}, &err);
        kj_model_close(&m);
    }
    status = rc ? kj_cmd_fail(cmd, &err) : atomic_load(&kj_interrupted) ? 130 : 0;
    kj_buf_release(&in);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_generate = {
    .name = "generate",
    .synopsis = "MODELDIR -p PROMPT",
    .about = "continue a text with a model",
    .details =
        "MODELDIR is a Hugging Face folder of a Llama with its tokenizer.json, or "
        "the folder of a training run. The text ends at the model's end token or "
        "behind --max-tokens. The same seed gives the same text.",
    .examples =
        "kijil generate out/m -p 'The document ' -n 64  # 64 tokens more\n"
        "echo -n '문서는' | kijil generate out/m --temperature 0  # the likeliest\n",
    .opts = (const struct kj_opt *const[]){generate_opts, NULL},
    .run = run,
};
