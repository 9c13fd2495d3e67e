/* questions.c - the questions of a task, and their prompts.
 *
 * A question is rendered once, when it is read: its text, its choices and which
 * of them is right. The same text serves as a shot, so a pool costs no second
 * rendering. What lm-evaluation-harness does with a field is kept: a template
 * that is the name of a field stands for the field's value, and a target may be
 * a number, digits, or the choice's text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "trainer/pyrandom.h"
#include "trainer/task.h"
#include "trainer/template.h"

#define LINE_MAX_BYTES ((size_t)16 << 20)
#define QUESTIONS_MAX  ((size_t)4 << 30)
#define PROMPT_MAX     ((size_t)256 << 20)
#define SHOT_SEED      1234 /* lm-evaluation-harness: --seed's fourth number */

void kj_questions_init(struct kj_questions *q)
{
    memset(q, 0, sizeof *q);
    kj_arena_init(&q->arena, QUESTIONS_MAX);
}

void kj_questions_release(struct kj_questions *q)
{
    for (size_t i = 0; i < q->n_subsets; i++)
        free(q->subsets[i]);
    free(q->subsets);
    free(q->v);
    kj_arena_release(&q->arena);
    memset(q, 0, sizeof *q);
}

static size_t subset_named(struct kj_questions *q, const char *p, size_t n)
{
    for (size_t i = q->n_subsets; i-- > 0;)
        if (kj_str_is((struct kj_str){p, n}, q->subsets[i]))
            return i;
    if (q->n_subsets == q->cap_subsets) {
        q->cap_subsets = q->cap_subsets ? 2 * q->cap_subsets : 64;
        q->subsets = kj_xrealloc(q->subsets, q->cap_subsets * sizeof *q->subsets);
    }
    q->subsets[q->n_subsets] = kj_xstrndup(p, n);
    return q->n_subsets++;
}

struct reader {
    struct kj_questions *q;
    const struct kj_task *t;
    struct kj_json *json;
    struct kj_arena scratch;
    struct kj_buf text;
    int64_t limit, *seen; /* of each subset */
    size_t n_seen;
};

static int keep(struct reader *r, struct kj_str *out, struct kj_err *err)
{
    out->p = kj_arena_dup(&r->q->arena, r->text.p ? r->text.p : "", r->text.n);
    out->n = r->text.n;
    r->text.n = 0;
    return out->p ? KJ_OK
                  : kj_err_set(err, KJ_FAIL, "more than %zu bytes of questions",
                               QUESTIONS_MAX);
}

/* The field that a template names, or NULL. */
static const struct kj_jval *field(const struct kj_template *t,
                                   const struct kj_jval *doc)
{
    const char *name = kj_template_plain(t);
    return name ? kj_jget(doc, name) : NULL;
}

static int text(struct reader *r, const struct kj_template *t,
                const struct kj_jval *doc, struct kj_str *out, struct kj_err *err)
{
    const struct kj_jval *f = field(t, doc);
    r->text.n = 0;
    int rc = f ? kj_template_put(f, &r->text, err)
               : kj_template_render(t, doc, &r->scratch, &r->text, err);
    return rc ? rc : keep(r, out, err);
}

static int choices(struct reader *r, const struct kj_jval *doc, struct kj_question *x,
                   struct kj_err *err)
{
    const struct kj_task *t = r->t;
    struct kj_jval v = {.kind = KJ_J_ARRAY};
    int rc = KJ_OK;
    if (t->choices_are_list) {
        const struct kj_jval *f = field(t->choices[0], doc);
        if (f)
            v = *f;
        else
            rc = kj_template_value(t->choices[0], doc, &r->scratch, &v, err);
        if (rc)
            return rc;
        if (v.kind != KJ_J_ARRAY || v.n < 2 || v.n > KJ_CHOICES_MAX)
            return kj_err_set(err, KJ_BAD_RECORD, "the choices are no list of 2 to %d",
                              KJ_CHOICES_MAX);
    }
    x->n_choices = t->choices_are_list ? v.n : t->n_choices;
    x->choices = kj_arena_zalloc(&r->q->arena, x->n_choices * sizeof *x->choices);
    if (!x->choices)
        return kj_err_set(err, KJ_FAIL, "too many questions");
    for (size_t i = 0; i < x->n_choices && rc == KJ_OK; i++) {
        r->text.n = 0;
        if (!t->choices_are_list)
            rc = kj_template_render(t->choices[i], doc, &r->scratch, &r->text, err);
        else if (v.items[i].kind == KJ_J_STR)
            rc = kj_template_put(&v.items[i], &r->text, err);
        else
            rc = kj_err_set(err, KJ_BAD_RECORD, "choice %zu is no string", i + 1);
        if (rc == KJ_OK && r->text.n == 0)
            rc = kj_err_set(err, KJ_BAD_RECORD, "choice %zu is empty", i + 1);
        rc = rc ? rc : keep(r, &x->choices[i], err);
    }
    return rc;
}

/* Digits as Python's isdigit has it, for ASCII. */
static bool digits(struct kj_str s, int64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i > 17)
            return false;
        *v = 10 * *v + (s.p[i] - '0');
    }
    return s.n > 0;
}

static int gold(struct reader *r, const struct kj_jval *doc, struct kj_question *x,
                struct kj_err *err)
{
    const struct kj_jval *f = field(r->t->target, doc);
    struct kj_jval v;
    int64_t i = -1;
    int rc = KJ_OK;
    if (f)
        v = *f;
    else
        rc = kj_template_value(r->t->target, doc, &r->scratch, &v, err);
    if (rc)
        return rc;
    bool number = v.kind == KJ_J_INT || (f && v.kind == KJ_J_BOOL);
    if (number)
        i = v.kind == KJ_J_INT ? v.i : v.b;
    else if (v.kind == KJ_J_STR && !f)
        number = digits(v.s, &i);
    r->text.n = 0;
    if (!number) {
        rc = kj_template_put(&v, &r->text, err);
        if (rc)
            return rc;
        for (i = 0; (size_t)i < x->n_choices; i++)
            if (kj_str_eq(x->choices[i], (struct kj_str){r->text.p, r->text.n}))
                break;
    }
    if (i >= 0 && (size_t)i < x->n_choices) {
        x->gold = (size_t)i;
        return KJ_OK;
    }
    if (number)
        return kj_err_set(err, KJ_BAD_RECORD,
                          "the answer is choice %" PRId64 ", of 0 to %zu", i,
                          x->n_choices - 1);
    return kj_err_set(err, KJ_BAD_RECORD, "the answer \"%.*s\" is none of the choices",
                      (int)(r->text.n < 64 ? r->text.n : 64),
                      r->text.p ? r->text.p : "");
}

static int subset_of(struct reader *r, const struct kj_jval *doc, const char *given,
                     struct kj_question *x, struct kj_err *err)
{
    if (given || !r->t->subset) {
        x->subset = subset_named(r->q, given ? given : "", given ? strlen(given) : 0);
        return KJ_OK;
    }
    const struct kj_jval *f = kj_jget(doc, r->t->subset);
    if (!f || f->kind != KJ_J_STR || !f->s.n)
        return kj_err_set(err, KJ_BAD_RECORD, "there is no field \"%s\" with a name",
                          r->t->subset);
    x->subset = subset_named(r->q, f->s.p, f->s.n);
    return KJ_OK;
}

/* 1: beyond the limit of its subset. */
static int full(struct reader *r, size_t subset)
{
    if (!r->limit)
        return 0;
    if (subset >= r->n_seen) {
        r->seen = kj_xrealloc(r->seen, (subset + 1) * sizeof *r->seen);
        while (r->n_seen <= subset)
            r->seen[r->n_seen++] = 0;
    }
    return ++r->seen[subset] > r->limit;
}

static int one(struct reader *r, const char *p, size_t n, const char *subset,
               struct kj_question *x, struct kj_err *err)
{
    const struct kj_task *t = r->t;
    const struct kj_jval *doc;
    int rc = kj_json_parse(r->json, p, n, &doc, err);
    if (rc == KJ_OK && doc->kind != KJ_J_OBJECT)
        rc = kj_err_set(err, KJ_BAD_RECORD, "not a JSON object");
    rc = rc ? rc : subset_of(r, doc, subset, x, err);
    if (rc)
        return rc;
    if (full(r, x->subset))
        return KJ_DROP;
    kj_arena_reset(&r->scratch);
    if (t->description)
        rc = text(r, t->description, doc, &x->description, err);
    rc = rc ? rc : text(r, t->text, doc, &x->text, err);
    rc = rc ? rc : choices(r, doc, x, err);
    return rc ? rc : gold(r, doc, x, err);
}

static void add(struct kj_questions *q, struct kj_question *x)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 1024;
        q->v = kj_xrealloc(q->v, q->cap * sizeof *q->v);
    }
    q->v[q->n++] = x;
}

/* One line of the file; what cannot be used is told, and KJ_OK. */
static int line(struct reader *r, const char *p, size_t n, const char *file,
                int64_t number, const char *subset,
                void (*bad)(void *, const char *, int64_t, const char *), void *ctx,
                struct kj_err *err)
{
    struct kj_err why = KJ_ERR_INIT;
    struct kj_question *x = kj_arena_zalloc(&r->q->arena, sizeof *x);
    if (!x)
        return kj_err_set(err, KJ_FAIL, "too many questions");
    x->file = file;
    x->line = number;
    x->hash = kj_hash128(p, n);
    x->subset = SIZE_MAX;
    int rc = one(r, p, n, subset, x, &why);
    if (rc == KJ_DROP)
        return KJ_OK;
    if (rc && rc != KJ_BAD_RECORD && rc != KJ_USAGE) {
        *err = why;
        return rc;
    }
    if (rc) {
        x->bad = true;
        r->q->bad++;
        bad(ctx, file, number, why.msg);
    }
    if (x->subset != SIZE_MAX) /* its place in the subset counts for the draws */
        add(r->q, x);
    return KJ_OK;
}

int kj_questions_read(struct kj_questions *q, const struct kj_task *t, const char *path,
                      const char *subset, int64_t limit,
                      void (*bad)(void *ctx, const char *file, int64_t line,
                                  const char *why),
                      void *ctx, struct kj_err *err)
{
    struct reader r = {.q = q, .t = t, .limit = limit};
    struct kj_input *in;
    const char *p, *file = kj_arena_dup(&q->arena, path, strlen(path));
    size_t n;
    int64_t member, at, number = 0;
    int rc = kj_input_open(&in, path, err);
    if (rc)
        return rc;
    if (!file)
        file = "";
    struct kj_lines *l = kj_lines_new(in, LINE_MAX_BYTES);
    r.json = kj_json_new();
    kj_arena_init(&r.scratch, (size_t)256 << 20);
    kj_buf_init(&r.text, (size_t)64 << 20);
    for (;;) {
        struct kj_err why = KJ_ERR_INIT;
        rc = kj_lines_next(l, &p, &n, &member, &at, &why);
        number++;
        if (rc == KJ_BAD_RECORD) {
            q->bad++;
            bad(ctx, file, number, why.msg);
            continue;
        }
        if (rc < 0)
            *err = why;
        if (rc == KJ_OK && n)
            rc = line(&r, p, n, file, number, subset, bad, ctx, err);
        if (rc)
            break;
    }
    kj_lines_free(l);
    kj_input_close(in);
    kj_json_free(r.json);
    kj_arena_release(&r.scratch);
    kj_buf_release(&r.text);
    free(r.seen);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* ---- prompts ---- */

/* The pool of one subset of the questions, and its draws. */
struct pool {
    const struct kj_question **v;
    size_t n, cap;
    struct kj_pyrandom random;
};

static void pool_add(struct pool *p, const struct kj_question *x)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 8;
        p->v = kj_xrealloc(p->v, p->cap * sizeof *p->v);
    }
    p->v[p->n++] = x;
}

static struct pool *pools(const struct kj_questions *q, const struct kj_questions *from)
{
    struct pool *p = kj_xcalloc(q->n_subsets + 1, sizeof *p);
    size_t *to = kj_xcalloc(from->n_subsets + 1, sizeof *to);
    for (size_t i = 0; i < from->n_subsets; i++)
        for (to[i] = 0;
             to[i] < q->n_subsets && strcmp(from->subsets[i], q->subsets[to[i]]) != 0;)
            to[i]++;
    for (size_t i = 0; i < from->n; i++)
        if (!from->v[i]->bad && to[from->v[i]->subset] < q->n_subsets)
            pool_add(&p[to[from->v[i]->subset]], from->v[i]);
    for (size_t i = 0; i < q->n_subsets; i++)
        kj_pyrandom_seed(&p[i].random, SHOT_SEED);
    free(to);
    return p;
}

static bool same(const struct kj_question *a, const struct kj_question *b)
{
    return memcmp(&a->hash, &b->hash, sizeof a->hash) == 0;
}

/* The shots of question x: as many as asked for, or fewer when the pool has no
 * more. */
static size_t choose(struct pool *p, const struct kj_question *x, bool own,
                     bool first_n, size_t shots, const struct kj_question **out)
{
    size_t n = 0;
    if (first_n) {
        for (size_t i = 0; i < p->n && n < shots; i++)
            if (!own || !same(p->v[i], x))
                out[n++] = p->v[i];
        return n;
    }
    uint32_t draw[1024];
    size_t k = shots + own;
    if (k > p->n)
        return 0;
    kj_pyrandom_sample(&p->random, (uint32_t)p->n, (uint32_t)k, draw);
    for (size_t i = 0; i < k && n < shots; i++)
        if (!own || !same(p->v[draw[i]], x))
            out[n++] = p->v[draw[i]];
    return n;
}

static int put(struct kj_buf *b, struct kj_str s)
{
    return s.n ? kj_buf_add(b, s.p, s.n) : KJ_OK;
}

static int prompt(const struct kj_task *t, const struct kj_question *x,
                  const struct kj_question **shots, size_t n, struct kj_buf *b)
{
    b->n = 0;
    int rc = put(b, x->description);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        rc = put(b, shots[i]->text);
        rc = rc ? rc : kj_buf_addz(b, t->target_delimiter);
        rc = rc ? rc : put(b, shots[i]->choices[shots[i]->gold]);
        rc = rc ? rc : kj_buf_addz(b, t->shot_delimiter);
    }
    return rc ? rc : put(b, x->text);
}

int kj_task_prompts(const struct kj_task *t, const struct kj_questions *q,
                    const struct kj_questions *from, bool own, int64_t shots,
                    int (*each)(void *ctx, size_t number, struct kj_str prompt),
                    void *ctx, struct kj_err *err)
{
    const struct kj_question *chosen[1024];
    struct pool *p = shots ? pools(q, from) : NULL;
    struct kj_buf b;
    int rc = KJ_OK;
    kj_buf_init(&b, PROMPT_MAX);
    if (shots < 0 || shots > 1000)
        rc = kj_err_set(err, KJ_USAGE, "the number of shots is 0 to 1000");
    for (size_t i = 0; i < q->n && rc == KJ_OK; i++) {
        const struct kj_question *x = q->v[i];
        size_t n =
            shots ? choose(&p[x->subset], x, own, t->first_n, (size_t)shots, chosen)
                  : 0;
        if (n < (size_t)shots)
            rc = kj_err_set(
                err, KJ_FAIL, "%s: %zu examples%s%s for %" PRId64 " shots%s", t->name,
                p[x->subset].n, *q->subsets[x->subset] ? " of " : "",
                q->subsets[x->subset], shots, own ? " and the question itself" : "");
        else if (!x->bad && prompt(t, x, chosen, n, &b))
            rc = kj_err_set(err, KJ_FAIL, "%s:%" PRId64 ": the prompt is too long",
                            x->file, x->line);
        else if (!x->bad)
            rc = each(ctx, i, (struct kj_str){b.p ? b.p : "", b.n});
    }
    for (size_t i = 0; p && i < q->n_subsets; i++)
        free(p[i].v);
    free(p);
    kj_buf_release(&b);
    return rc;
}
