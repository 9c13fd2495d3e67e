/* cmd_generate.c - kijil generate: text from a model. */
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/input.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "commands/model.h"
#include "tokenize/tokenizer.h"
#include "trainer/sample.h"

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

static int next_tokens(struct kj_opened *m, const struct options *o,
                       struct kj_cache *cache, struct kj_tok_ids *ids, int64_t *made,
                       struct kj_err *err)
{
    size_t v = (size_t)m->config.shape.vocab_size;
    struct kj_sampler s = {o->temperature, o->top_p, (uint64_t)o->seed};
    float *z = kj_xcalloc(v, sizeof *z);
    uint32_t *order = kj_xcalloc(v, sizeof *order), *feed = ids->v;
    uint32_t known = kj_tok_vocab_size(m->tok), token;
    size_t n = ids->n, room = (size_t)m->config.shape.max_positions;
    struct kj_buf text;
    int rc = KJ_OK;
    kj_buf_init(&text, 1 << 20);
    for (*made = 0; *made < o->max_tokens && !atomic_load(&kj_interrupted);) {
        rc = kj_cache_feed(cache, feed, n, z, err);
        if (rc)
            break;
        /* Rows of the embedding beyond the tokenizer have no text. */
        token = kj_sample(&s, (uint64_t)*made, z, known < v ? known : v, order);
        if (token == m->config.eos || (int64_t)token == m->config.eos)
            break;
        rc = kj_tok_decode(m->tok, &token, 1, true, &text, err);
        if (rc)
            break;
        print(&text, false);
        ++*made;
        feed = &token;
        n = 1;
        if (kj_cache_used(cache) >= room)
            break;
    }
    if (rc == KJ_OK && text.n)
        print(&text, true);
    if (rc == KJ_OK)
        printf("\n");
    kj_buf_release(&text);
    free(z);
    free(order);
    return rc;
}

static int generate(struct kj_opened *m, const struct options *o, const char *prompt,
                    size_t n, struct kj_err *err)
{
    struct kj_tok_state *st = kj_tok_state_new(m->tok);
    struct kj_tok_ids ids = {0};
    struct kj_cache *cache = NULL;
    struct timespec t0, t1;
    int64_t made = 0;
    size_t room = (size_t)m->config.shape.max_positions;
    int rc = kj_tok_encode(m->tok, st, prompt, n, KJ_TOK_NO_SPECIAL, &ids, err);
    if (rc == KJ_OK) {
        ids.v = kj_xrealloc(ids.v, (ids.n + 1) * sizeof *ids.v);
        memmove(ids.v + 1, ids.v, ids.n * sizeof *ids.v);
        ids.v[0] = m->begin;
        ids.cap = ++ids.n;
        if (ids.n >= room)
            rc = kj_err_set(err, KJ_FAIL, "the prompt has %zu tokens, the context %zu",
                            ids.n, room);
    }
    if (rc == KJ_OK) {
        size_t want = ids.n + (size_t)o->max_tokens;
        rc = kj_cache_new(&cache, m->m, want < room ? want : room, err);
    }
    if (rc == KJ_OK) {
        if (o->echo)
            fwrite(prompt, 1, n, stdout);
        clock_gettime(CLOCK_MONOTONIC, &t0);
        rc = next_tokens(m, o, cache, &ids, &made, err);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        double s =
            (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
        if (rc == KJ_OK && !o->quiet)
            fprintf(stderr,
                    "kijil " KJ_VERSION " generate: %zu tokens in, %lld out, "
                    "%.0f tokens/s\n",
                    ids.n, (long long)made, (double)made / s);
    }
    kj_cache_free(cache);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(st);
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
        rc = generate(&m, &o, in.p ? in.p : "", in.n, &err);
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
