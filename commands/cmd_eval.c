/* cmd_eval.c - kijil eval: how well a model predicts documents. */
#include "commands/commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "commands/model.h"
#include "tokenize/tokenizer.h"
#include "trainer/score.h"

struct options {
    struct kj_strs tasks;
    const char *tokenizer, *device;
    int64_t limit, context, jobs;
    bool json, quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt eval_opts[] = {
    {"task", 't', KJ_OPT_LIST, F(tasks), "TASK",
     "what to measure: ppl (perplexity, and bits per byte of text)", "ppl", 0, 0},
    {"context", 0, KJ_OPT_INT, F(context), "N",
     "longest piece of a document; 0: the model's max_position_embeddings", "0", 0,
     1 << 24},
    {"limit", 0, KJ_OPT_INT, F(limit), "N", "only the first N documents; 0: all", "0",
     0, 0x1p53},
    {"tokenizer", 0, KJ_OPT_STR, F(tokenizer), "FILE",
     "tokenizer.json; default: the model's own", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu, cuda",
     "auto", 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "one JSON object per source", 0, 0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

#define LINE_MAX_BYTES ((size_t)256 << 20)
#define PASS_TOKENS    2048
#define SOURCES_MAX    1000

struct source {
    char *name;
    uint64_t docs, tokens, bytes;
    double nats;
};

struct eval {
    struct kj_opened m;
    const struct options *o;
    struct kj_scorer *scorer;
    struct kj_tok_state *st;
    struct kj_tok_ids ids;
    struct kj_json *json;
    struct source src[SOURCES_MAX + 1]; /* the last: all the others */
    size_t n_src;
    size_t *of; /* source of each document that is not reported yet */
    uint64_t done, added, cap, damaged;
};

static size_t source_of(struct eval *e, struct kj_str name)
{
    if (!name.n)
        name = KJ_STR("(none)");
    for (size_t i = 0; i < e->n_src; i++)
        if (kj_str_is(name, e->src[i].name))
            return i;
    if (e->n_src == SOURCES_MAX && e->src[SOURCES_MAX].name)
        return SOURCES_MAX;
    if (e->n_src == SOURCES_MAX)
        name = KJ_STR("(others)");
    e->src[e->n_src].name = kj_xstrndup(name.p, name.n);
    return e->n_src < SOURCES_MAX ? e->n_src++ : e->n_src;
}

static void got(void *ctx, uint64_t doc, uint64_t tokens, double nats)
{
    struct eval *e = ctx;
    struct source *s = &e->src[e->of[doc]];
    s->docs++;
    s->tokens += tokens;
    s->nats += nats;
    e->done = doc + 1;
}

static int one_doc(struct eval *e, const char *p, size_t n, struct kj_err *err)
{
    const struct kj_jval *v;
    if (kj_json_parse(e->json, p, n, &v, NULL) != KJ_OK || !kj_jget(v, "text") ||
        kj_jget(v, "text")->kind != KJ_J_STR) {
        e->damaged++;
        return KJ_OK;
    }
    struct kj_str text = kj_jstr(kj_jget(v, "text"));
    size_t src = source_of(e, kj_jstr(kj_jget(v, "source")));
    e->ids.n = 0;
    if (kj_tok_encode(e->m.tok, e->st, text.p, text.n, KJ_TOK_NO_SPECIAL, &e->ids,
                      NULL) != KJ_OK) {
        e->damaged++;
        return KJ_OK;
    }
    e->src[src].bytes += text.n;
    if (e->added == e->cap) {
        e->cap = e->cap ? 2 * e->cap : 1024;
        e->of = kj_xrealloc(e->of, e->cap * sizeof *e->of);
    }
    e->of[e->added++] = src;
    return kj_scorer_add(e->scorer, e->ids.v, e->ids.n, err);
}

static int one_file(struct eval *e, const char *path, struct kj_err *err)
{
    struct kj_input *in;
    const char *p;
    size_t n;
    int64_t member, at;
    int rc = kj_input_open(&in, path, err);
    if (rc)
        return rc;
    struct kj_lines *l = kj_lines_new(in, LINE_MAX_BYTES);
    while (!atomic_load(&kj_interrupted) &&
           (!e->o->limit || e->added < (uint64_t)e->o->limit)) {
        struct kj_err line = KJ_ERR_INIT;
        rc = kj_lines_next(l, &p, &n, &member, &at, &line);
        if (rc == KJ_BAD_RECORD)
            e->damaged++;
        else if (rc < 0)
            *err = line;
        else if (rc == KJ_OK && n > 0)
            rc = one_doc(e, p, n, err);
        if (rc != KJ_OK && rc != KJ_BAD_RECORD)
            break;
    }
    kj_lines_free(l);
    kj_input_close(in);
    return rc == KJ_EOF || rc == KJ_BAD_RECORD ? KJ_OK : rc;
}

static void row(const struct source *s, bool json)
{
    double t = s->tokens ? (double)s->tokens : NAN,
           b = s->bytes ? (double)s->bytes : NAN;
    double nll = s->nats / t, bits = s->nats / (b * 0.69314718055994531);
    if (!json) {
        printf("%-24.24s %9llu %12llu %9.4f %12.3f %9.4f\n", s->name,
               (unsigned long long)s->docs, (unsigned long long)s->tokens, nll,
               exp(nll), bits);
        return;
    }
    struct kj_buf o;
    kj_buf_init(&o, 1 << 20);
    kj_buf_addz(&o, "{\"task\":\"ppl\",\"source\":");
    kj_json_put_str(&o, s->name, strlen(s->name));
    kj_buf_printf(&o, ",\"documents\":%llu,\"tokens\":%llu,\"bytes\":%llu",
                  (unsigned long long)s->docs, (unsigned long long)s->tokens,
                  (unsigned long long)s->bytes);
    kj_buf_addz(&o, ",\"nats_per_token\":");
    kj_json_put_real(&o, nll);
    kj_buf_addz(&o, ",\"perplexity\":");
    kj_json_put_real(&o, exp(nll));
    kj_buf_addz(&o, ",\"bits_per_byte\":");
    kj_json_put_real(&o, bits);
    kj_buf_addz(&o, "}\n");
    fwrite(o.p, 1, o.n, stdout);
    kj_buf_release(&o);
}

static void print(struct eval *e)
{
    char all_name[] = "(all)";
    struct source all = {.name = all_name};
    size_t n = e->n_src + (e->src[SOURCES_MAX].name != NULL);
    if (!e->o->json)
        printf("%-24s %9s %12s %9s %12s %9s\n", "source", "documents", "tokens",
               "nats/tok", "perplexity", "bits/byte");
    for (size_t i = 0; i < n; i++) {
        row(&e->src[i], e->o->json);
        all.docs += e->src[i].docs;
        all.tokens += e->src[i].tokens;
        all.bytes += e->src[i].bytes;
        all.nats += e->src[i].nats;
    }
    if (n != 1)
        row(&all, e->o->json);
}

static int eval(struct eval *e, const struct kj_strs *pos, unsigned threads,
                struct kj_err *err)
{
    const struct options *o = e->o;
    int rc = kj_model_open(&e->m, pos->v[0], o->tokenizer, o->device, threads,
                           PASS_TOKENS, err);
    if (rc)
        return rc;
    size_t most = (size_t)e->m.config.shape.max_positions;
    size_t context =
        o->context && (size_t)o->context < most ? (size_t)o->context : most;
    e->st = kj_tok_state_new(e->m.tok);
    rc = kj_scorer_new(&e->scorer, e->m.m, most < PASS_TOKENS ? most : PASS_TOKENS,
                       context, e->m.begin, got, e, err);
    for (size_t i = 1; i < pos->n && rc == KJ_OK; i++)
        rc = one_file(e, pos->v[i], err);
    if (pos->n == 1 && rc == KJ_OK)
        rc = one_file(e, "-", err);
    if (rc == KJ_OK)
        rc = kj_scorer_flush(e->scorer, err);
    if (rc == KJ_OK)
        print(e);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    kj_cmd_signals();
    struct eval *e = kj_xcalloc(1, sizeof *e);
    e->o = &o;
    e->json = kj_json_new();
    int rc =
        pos.n ? KJ_OK : kj_err_set(&err, KJ_USAGE, "a folder with a model is needed");
    for (size_t i = 0; i < o.tasks.n && rc == KJ_OK; i++)
        if (strcmp(o.tasks.v[i], "ppl") != 0)
            rc = kj_err_set(&err, KJ_USAGE, "there is no task '%s' (there is: ppl)",
                            o.tasks.v[i]);
    if (rc == KJ_OK)
        rc = eval(e, &pos, (unsigned)(o.jobs ? o.jobs : common.jobs), &err);
    if (rc == KJ_OK && e->damaged)
        fprintf(stderr, "kijil eval: %llu lines are no documents with text\n",
                (unsigned long long)e->damaged);
    status = rc                             ? kj_cmd_fail(cmd, &err)
             : atomic_load(&kj_interrupted) ? 130
             : e->damaged                   ? 3
                                            : 0;
    kj_scorer_free(e->scorer);
    kj_tok_state_free(e->st);
    kj_tok_ids_release(&e->ids);
    kj_json_free(e->json);
    kj_model_close(&e->m);
    for (size_t i = 0; i <= SOURCES_MAX; i++)
        free(e->src[i].name);
    free(e->of);
    free(e);
    kj_strs_release(&pos);
    kj_opt_release(eval_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_eval = {
    .name = "eval",
    .synopsis = "MODELDIR [-t ppl] [FILE.jsonl...]",
    .about = "perplexity and bits per byte of documents, by source",
    .details =
        "Reads documents {\"text\", \"source\"}. Every token of a text is predicted "
        "from "
        "those before it, the first from the begin token; a document longer than the "
        "context is cut into pieces. Bits per byte compare models with different "
        "tokenizers.",
    .examples = "kijil eval out/m -t ppl held-out.jsonl.zst  # a table by source\n",
    .opts = (const struct kj_opt *const[]){eval_opts, NULL},
    .run = run,
};
