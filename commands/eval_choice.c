/* eval_choice.c - the questions of a task: prompts to tokens to scores.
 *
 * A choice's tokens are found as lm-evaluation-harness finds them: white space at
 * the prompt's end goes to the choice; prompt and choice are encoded together;
 * what is longer than the prompt encoded alone belongs to the choice. The prompts
 * are made twice: first to learn how long the longest is, which says how much
 * room a pass of the model needs.
 */
#include "commands/eval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "commands/commands.h"
#include "tokenize/tokenizer.h"
#include "trainer/accuracy.h"
#include "trainer/choose.h"
#include "trainer/task.h"
#include "trainer/template.h"

struct choosing {
    struct kj_evaluation *e;
    const struct kj_task *t;
    const struct kj_questions *q;
    struct kj_tok_state *st;
    struct kj_tok_ids prompt, whole;
    struct kj_tok_ids ids[KJ_CHOICES_MAX];
    struct kj_choice choices[KJ_CHOICES_MAX];
    struct kj_buf text;
    struct kj_chooser *chooser; /* NULL: only measure */
    size_t longest, cut;        /* input, tokens; prompts over the context */
    size_t *of, added, cap;     /* question of each number that was added */
    struct kj_accuracy *tally;  /* of each subset */
    struct kj_buf *lines;       /* beginnings of --details, of each number */
    uint64_t done;
    double shown;
    struct kj_err *err;
};

/* ---- tokens ---- */

static void push(struct kj_tok_ids *to, const uint32_t *v, size_t n)
{
    if (to->n + n > to->cap) {
        to->cap = 2 * (to->n + n);
        to->v = kj_xrealloc(to->v, to->cap * sizeof *to->v);
    }
    if (n)
        memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
}

static int encode(struct choosing *c, const char *p, size_t n, struct kj_tok_ids *out,
                  struct kj_err *err)
{
    const struct kj_evaluation *e = c->e;
    out->n = 0;
    if (e->o->bos == KJ_BOS_YES)
        push(out, &e->m.begin, 1);
    return kj_tok_encode(e->m.tok, c->st, p, n,
                         e->o->bos == KJ_BOS_AUTO ? KJ_TOK_TEMPLATE : 0, out, err);
}

/* Choice k behind the prompt: ids[k], of which `prompt` are given. */
static int one_choice(struct choosing *c, struct kj_str prompt, struct kj_str choice,
                      size_t k, struct kj_err *err)
{
    struct kj_str head = kj_template_strip(prompt, 0, 1);
    struct kj_tok_ids *out = &c->ids[k];
    size_t given = c->prompt.n;
    c->text.n = out->n = 0;
    int rc = kj_buf_add(&c->text, prompt.p, prompt.n);
    rc = rc ? rc : kj_buf_addz(&c->text, c->t->target_delimiter);
    rc = rc ? rc : kj_buf_add(&c->text, choice.p, choice.n);
    if (rc)
        return kj_err_set(err, KJ_BAD_RECORD, "the prompt is too long");
    if (prompt.n == 0) { /* the begin token is the prompt */
        c->whole.n = 0;
        rc = kj_tok_encode(c->e->m.tok, c->st, c->text.p, c->text.n, 0, &c->whole, err);
        if (rc == KJ_OK && (!c->whole.n || c->whole.v[0] != c->e->m.begin))
            push(out, &c->e->m.begin, 1);
        push(out, c->whole.v, c->whole.n);
        given = 1;
    } else if (head.n == 0) {
        return kj_err_set(err, KJ_BAD_RECORD, "the prompt is nothing but white space");
    } else {
        rc = encode(c, c->text.p, c->text.n, &c->whole, err);
        push(out, c->prompt.v, given);
        if (rc == KJ_OK && c->whole.n > given)
            push(out, c->whole.v + given, c->whole.n - given);
    }
    c->choices[k] = (struct kj_choice){out->v, out->n, given};
    if (rc == KJ_OK && out->n <= given)
        rc = kj_err_set(err, KJ_BAD_RECORD, "choice %zu adds no token", k + 1);
    return rc;
}

static int tokens(struct choosing *c, const struct kj_question *x, struct kj_str prompt,
                  struct kj_err *err)
{
    struct kj_str head = kj_template_strip(prompt, 0, 1);
    int rc = encode(c, head.p, head.n, &c->prompt, err);
    for (size_t k = 0; k < x->n_choices && rc == KJ_OK; k++)
        rc = one_choice(c, prompt, x->choices[k], k, err);
    return rc;
}

/* Tokens of the longest input. */
static size_t longest(const struct choosing *c, const struct kj_question *x)
{
    size_t most = 0;
    for (size_t k = 0; k < x->n_choices; k++)
        most = c->choices[k].n - 1 > most ? c->choices[k].n - 1 : most;
    return most;
}

/* ---- one question ---- */

/* What is known before the scores. */
static void begin_line(struct choosing *c, const struct kj_question *x,
                       struct kj_str prompt, struct kj_buf *b)
{
    kj_buf_init(b, (size_t)1 << 30);
    kj_buf_addz(b, "{\"task\":");
    kj_json_put_str(b, c->t->name, strlen(c->t->name));
    kj_buf_addz(b, ",\"subset\":");
    kj_json_put_str(b, c->q->subsets[x->subset], strlen(c->q->subsets[x->subset]));
    kj_buf_addz(b, ",\"file\":");
    kj_json_put_str(b, x->file, strlen(x->file));
    kj_buf_printf(b, ",\"line\":%" PRId64 ",\"prompt\":", x->line);
    kj_json_put_str(b, prompt.p, prompt.n);
    kj_buf_addz(b, ",\"choices\":[");
    for (size_t i = 0; i < x->n_choices; i++) {
        kj_buf_addz(b, i ? "," : "");
        kj_json_put_str(b, x->choices[i].p, x->choices[i].n);
    }
    kj_buf_addz(b, "],\"prompt_ids\":[");
    for (size_t i = 0; i < c->choices[0].prompt; i++)
        kj_buf_printf(b, i ? ",%u" : "%u", c->choices[0].ids[i]);
    kj_buf_addz(b, "],\"choice_ids\":[");
    for (size_t k = 0; k < x->n_choices; k++) {
        kj_buf_addz(b, k ? ",[" : "[");
        for (size_t i = c->choices[k].prompt; i < c->choices[k].n; i++)
            kj_buf_printf(b, i > c->choices[k].prompt ? ",%u" : "%u",
                          c->choices[k].ids[i]);
        kj_buf_addz(b, "]");
    }
    kj_buf_printf(b, "],\"gold\":%zu", x->gold);
}

static void got(void *ctx, uint64_t number, const double *scores, size_t n)
{
    struct choosing *c = ctx;
    const struct kj_question *x = c->q->v[c->of[number]];
    size_t taken = kj_accuracy_add(&c->tally[x->subset], x, scores);
    c->done++;
    if (c->lines) {
        struct kj_buf *b = &c->lines[number];
        kj_buf_printf(b, ",\"taken\":%zu,\"scores\":[", taken);
        for (size_t i = 0; i < n; i++) {
            kj_buf_addz(b, i ? "," : "");
            kj_json_put_float(b, (float)scores[i]);
        }
        kj_buf_addz(b, "]}\n");
        fwrite(b->p, 1, b->n, c->e->details);
        kj_buf_release(b);
    }
    double t = kj_now();
    if (!c->e->o->quiet && t - c->shown > 10) {
        if (c->shown > 0)
            fprintf(stderr, "kijil eval: %s %" PRIu64 "/%zu questions\n", c->t->name,
                    c->done, c->q->n);
        c->shown = t;
    }
}

static void remember(struct choosing *c, size_t number, struct kj_str prompt)
{
    if (c->added == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 1024;
        c->of = kj_xrealloc(c->of, c->cap * sizeof *c->of);
        if (c->e->details)
            c->lines = kj_xrealloc(c->lines, c->cap * sizeof *c->lines);
    }
    c->of[c->added] = number;
    if (c->lines)
        begin_line(c, c->q->v[number], prompt, &c->lines[c->added]);
    c->added++;
}

static int measure(void *ctx, size_t number, struct kj_str prompt)
{
    struct choosing *c = ctx;
    struct kj_err why = KJ_ERR_INIT;
    struct kj_question *x = c->q->v[number];
    int rc = tokens(c, x, prompt, &why);
    if (rc == KJ_BAD_RECORD) {
        kj_eval_bad(c->e, x->file, x->line, why.msg);
        x->bad = true;
        return KJ_OK;
    }
    size_t n = rc ? 0 : longest(c, x);
    c->longest = n > c->longest ? n : c->longest;
    c->cut += n > (size_t)c->e->m.config.shape.max_positions;
    if (rc)
        *c->err = why;
    return atomic_load(&kj_interrupted) ? KJ_EOF : rc;
}

static int score(void *ctx, size_t number, struct kj_str prompt)
{
    struct choosing *c = ctx;
    struct kj_err why = KJ_ERR_INIT;
    const struct kj_question *x = c->q->v[number];
    int rc = tokens(c, x, prompt, &why);
    if (rc == KJ_OK) {
        remember(c, number, prompt);
        rc = kj_chooser_add(c->chooser, c->choices, x->n_choices, &why);
        if (rc == KJ_BAD_RECORD) {
            kj_eval_bad(c->e, x->file, x->line, why.msg);
            rc = KJ_OK;
        }
    }
    if (rc)
        *c->err = why;
    return rc ? rc : atomic_load(&kj_interrupted) ? KJ_EOF : KJ_OK;
}

/* ---- all of them ---- */

static int choose(struct choosing *c, const struct kj_questions *pool, bool own,
                  int64_t shots, struct kj_err *err)
{
    const struct kj_eval_options *o = c->e->o;
    size_t most = (size_t)c->e->m.config.shape.max_positions;
    int rc = kj_task_prompts(c->t, c->q, pool, own, shots, measure, c, err);
    size_t room = c->longest > (size_t)o->pass ? c->longest : (size_t)o->pass;
    room = room < most ? room : most;
    if (c->cut)
        fprintf(stderr,
                "kijil eval: %s: %zu prompts are longer than the context (%zu) and "
                "lose tokens at their left\n",
                c->t->name, c->cut, most);
    rc = rc ? rc : kj_model_weights(&c->e->m, o->device, c->e->threads, room, err);
    rc = rc ? rc : kj_chooser_new(&c->chooser, c->e->m.m, room, got, c, err);
    rc = rc ? rc : kj_task_prompts(c->t, c->q, pool, own, shots, score, c, err);
    return rc ? rc : kj_chooser_flush(c->chooser, err);
}

int kj_eval_questions(struct kj_evaluation *e, const struct kj_task *t,
                      const struct kj_questions *q, const struct kj_questions *pool,
                      bool own, int64_t shots, struct kj_accuracy *tally,
                      struct kj_err *err)
{
    struct choosing *c = kj_xcalloc(1, sizeof *c);
    c->e = e;
    c->t = t;
    c->q = q;
    c->tally = tally;
    c->err = err;
    c->st = kj_tok_state_new(e->m.tok);
    kj_buf_init(&c->text, (size_t)512 << 20);
    int rc = choose(c, pool, own, shots, err);
    kj_chooser_free(c->chooser);
    for (size_t i = 0; c->lines && i < c->added; i++)
        kj_buf_release(&c->lines[i]);
    free(c->lines);
    free(c->of);
    kj_buf_release(&c->text);
    kj_tok_ids_release(&c->prompt);
    kj_tok_ids_release(&c->whole);
    for (size_t i = 0; i < KJ_CHOICES_MAX; i++)
        kj_tok_ids_release(&c->ids[i]);
    kj_tok_state_free(c->st);
    free(c);
    return rc;
}
