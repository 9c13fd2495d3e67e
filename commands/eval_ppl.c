/* eval_ppl.c - how well a model predicts documents. */
#include "commands/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/input.h"
#include "base/json.h"
#include "commands/commands.h"
#include "tokenize/tokenizer.h"
#include "trainer/score.h"

#define LINE_MAX_BYTES ((size_t)256 << 20)
#define PASS_TOKENS    2048
#define SOURCES_MAX    1000

struct source {
    char *name;
    uint64_t docs, tokens, bytes;
    double nats;
};

struct eval {
    struct kj_evaluation *all;
    const struct kj_eval_options *o;
    struct kj_scorer *scorer;
    struct kj_tok_state *st;
    struct kj_tok_ids ids;
    struct kj_json *json;
    struct source src[SOURCES_MAX + 1]; /* the last: all the others */
    size_t n_src;
    size_t *of; /* source of each document that is not reported yet */
    uint64_t done, added, cap;
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
        e->all->damaged++;
        return KJ_OK;
    }
    struct kj_str text = kj_jstr(kj_jget(v, "text"));
    size_t src = source_of(e, kj_jstr(kj_jget(v, "source")));
    e->ids.n = 0;
    if (kj_tok_encode(e->all->m.tok, e->st, text.p, text.n, KJ_TOK_NO_SPECIAL, &e->ids,
                      NULL) != KJ_OK) {
        e->all->damaged++;
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
            e->all->damaged++;
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

static int row(struct eval *e, const struct source *s, bool all, struct kj_err *err)
{
    double t = s->tokens ? (double)s->tokens : NAN,
           b = s->bytes ? (double)s->bytes : NAN;
    double nll = s->nats / t, bits = s->nats / (b * 0.69314718055994531);
    struct kj_eval_row r = {.task = "ppl",
                            .kind = all ? "task" : "source",
                            .part = s->name,
                            .n = s->docs,
                            .shots = -1,
                            .metric = {{"tokens", (double)s->tokens, NAN},
                                       {"bytes", (double)s->bytes, NAN},
                                       {"nats_per_token", nll, NAN},
                                       {"perplexity", exp(nll), NAN},
                                       {"bits_per_byte", bits, NAN}},
                            .n_metrics = 5};
    return kj_eval_put(e->all, &r, err);
}

static int rows(struct eval *e, struct kj_err *err)
{
    char all_name[] = "(all)";
    struct source all = {.name = all_name};
    size_t n = e->n_src + (e->src[SOURCES_MAX].name != NULL);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        rc = row(e, &e->src[i], false, err);
        all.docs += e->src[i].docs;
        all.tokens += e->src[i].tokens;
        all.bytes += e->src[i].bytes;
        all.nats += e->src[i].nats;
    }
    return rc == KJ_OK && n != 1 ? row(e, &all, true, err) : rc;
}

static int score(struct eval *e, const struct kj_strs *files, struct kj_err *err)
{
    const struct kj_eval_options *o = e->o;
    struct kj_opened *m = &e->all->m;
    int rc = kj_model_weights(m, o->device, e->all->threads, PASS_TOKENS, err);
    if (rc)
        return rc;
    size_t most = (size_t)m->config.shape.max_positions;
    size_t context =
        o->context && (size_t)o->context < most ? (size_t)o->context : most;
    rc = kj_scorer_new(&e->scorer, m->m, most < PASS_TOKENS ? most : PASS_TOKENS,
                       context, m->begin, got, e, err);
    for (size_t i = 0; i < files->n && rc == KJ_OK; i++)
        rc = one_file(e, files->v[i], err);
    if (files->n == 0 && rc == KJ_OK)
        rc = one_file(e, "-", err);
    if (rc == KJ_OK)
        rc = kj_scorer_flush(e->scorer, err);
    return rc == KJ_OK ? rows(e, err) : rc;
}

int kj_eval_ppl(struct kj_evaluation *all, const struct kj_strs *files,
                struct kj_err *err)
{
    struct eval *e = kj_xcalloc(1, sizeof *e);
    e->all = all;
    e->o = all->o;
    e->json = kj_json_new();
    e->st = kj_tok_state_new(all->m.tok);
    int rc = score(e, files, err);
    kj_scorer_free(e->scorer);
    kj_tok_state_free(e->st);
    kj_tok_ids_release(&e->ids);
    kj_json_free(e->json);
    for (size_t i = 0; i <= SOURCES_MAX; i++)
        free(e->src[i].name);
    free(e->of);
    free(e);
    return rc;
}
