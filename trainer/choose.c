/* choose.c - scores of choices, packed.
 *
 * A question is taken apart into rows (inputs) and picks (a token behind a place
 * of a row). The longest inputs come first, so that a shorter one that begins
 * like one of them finds its row there. A pass runs when the next row does not
 * fit; a question whose last pick is done is reported.
 */
#include "trainer/choose.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/data.h"

#define CHOICES_MAX 64

/* A question that waits for some of its picks. */
struct waiting {
    uint64_t number;
    size_t n, left; /* choices; picks that are not done */
    bool whole;     /* all of its rows were added */
    double scores[CHOICES_MAX];
};

struct pick {
    uint64_t question; /* index from the first that waits */
    size_t choice;
};

struct kj_chooser {
    struct kj_llama *m;
    size_t room, at, segs, max;
    void (*got)(void *ctx, uint64_t question, const double *scores, size_t n);
    void *ctx;
    struct kj_packed p;
    struct waiting *w;
    size_t n_w, cap_w;
    struct pick *picks;
    int32_t *rows, *tokens;
    float *nats;
    size_t n_picks, cap_picks;
    uint64_t added;
};

int kj_chooser_new(struct kj_chooser **out, struct kj_llama *m, size_t tokens,
                   void (*got)(void *ctx, uint64_t question, const double *scores,
                               size_t n),
                   void *ctx, struct kj_err *err)
{
    if (tokens == 0)
        return kj_err_set(err, KJ_FATAL, "no room to score in");
    struct kj_chooser *c = kj_xcalloc(1, sizeof *c);
    c->m = m;
    c->room = tokens;
    c->max = (size_t)m->shape.max_positions;
    c->max = c->max < tokens ? c->max : tokens;
    c->got = got;
    c->ctx = ctx;
    kj_packed_init(&c->p, tokens);
    *out = c;
    return KJ_OK;
}

void kj_chooser_free(struct kj_chooser *c)
{
    if (!c)
        return;
    kj_packed_release(&c->p);
    free(c->w);
    free(c->picks);
    free(c->rows);
    free(c->tokens);
    free(c->nats);
    free(c);
}

static void report(struct kj_chooser *c)
{
    size_t k = 0;
    for (; k < c->n_w && c->w[k].whole && c->w[k].left == 0; k++)
        c->got(c->ctx, c->w[k].number, c->w[k].scores, c->w[k].n);
    c->n_w -= k;
    memmove(c->w, c->w + k, c->n_w * sizeof *c->w);
}

static int pass(struct kj_chooser *c, struct kj_err *err)
{
    if (c->at == 0)
        return KJ_OK;
    c->p.cu[c->segs] = (int32_t)c->at;
    c->p.rows =
        (struct kj_rows){c->at, c->p.ids, c->p.pos, c->p.targets, c->segs, c->p.cu};
    int rc =
        kj_llama_pick(c->m, &c->p.rows, c->rows, c->tokens, c->n_picks, c->nats, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < c->n_picks; i++) {
        struct waiting *w = &c->w[c->picks[i].question];
        w->scores[c->picks[i].choice] -= (double)c->nats[i];
        w->left--;
    }
    c->at = c->segs = c->n_picks = 0;
    report(c);
    return KJ_OK;
}

static void add_pick(struct kj_chooser *c, size_t row, uint32_t token, size_t choice)
{
    if (c->n_picks == c->cap_picks) {
        size_t n = c->cap_picks = c->cap_picks ? 2 * c->cap_picks : 4096;
        c->picks = kj_xrealloc(c->picks, n * sizeof *c->picks);
        c->rows = kj_xrealloc(c->rows, n * sizeof *c->rows);
        c->tokens = kj_xrealloc(c->tokens, n * sizeof *c->tokens);
        c->nats = kj_xrealloc(c->nats, n * sizeof *c->nats);
    }
    struct waiting *w = &c->w[c->n_w - 1];
    c->picks[c->n_picks] = (struct pick){c->n_w - 1, choice};
    c->rows[c->n_picks] = (int32_t)row;
    c->tokens[c->n_picks++] = (int32_t)token;
    w->left++;
}

/* What is read of a choice: all but its last token, from the right. */
static size_t input(const struct kj_chooser *c, const struct kj_choice *x,
                    const uint32_t **ids)
{
    size_t n = x->n - 1, cut = n > c->max ? n - c->max : 0;
    *ids = x->ids + cut;
    return n - cut;
}

/* Add row `ids` of n tokens; *at is where it begins. */
static int add_row(struct kj_chooser *c, const uint32_t *ids, size_t n, size_t *at,
                   struct kj_err *err)
{
    if (n > c->room - c->at) {
        int rc = pass(c, err);
        if (rc)
            return rc;
    }
    *at = c->at;
    c->p.cu[c->segs++] = (int32_t)c->at;
    for (size_t i = 0; i < n; i++) {
        c->p.ids[c->at + i] = (int32_t)ids[i];
        c->p.pos[c->at + i] = (int32_t)i;
        c->p.targets[c->at + i] = -1;
    }
    c->at += n;
    return KJ_OK;
}

static int add_choices(struct kj_chooser *c, const struct kj_choice *x, size_t n,
                       struct kj_err *err)
{
    bool done[CHOICES_MAX] = {false};
    for (size_t i = 0; i < n; i++) {
        const uint32_t *row = NULL, *ids;
        size_t longest = n, len = 0, at;
        for (size_t k = 0; k < n; k++)
            if (!done[k] && input(c, &x[k], &ids) > len) {
                len = input(c, &x[k], &row);
                longest = k;
            }
        if (longest == n)
            break;
        int rc = add_row(c, row, len, &at, err);
        if (rc)
            return rc;
        for (size_t k = 0; k < n; k++) {
            size_t mine = input(c, &x[k], &ids), tail = x[k].n - x[k].prompt;
            if (done[k] || mine > len || memcmp(ids, row, mine * sizeof *ids) != 0)
                continue;
            done[k] = true;
            for (size_t j = 0; j < tail; j++)
                add_pick(c, at + mine - tail + j, x[k].ids[x[k].prompt + j], k);
        }
    }
    return KJ_OK;
}

int kj_chooser_add(struct kj_chooser *c, const struct kj_choice *x, size_t n,
                   struct kj_err *err)
{
    uint64_t number = c->added++;
    if (n == 0 || n > CHOICES_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "%zu choices", n);
    for (size_t i = 0; i < n; i++) {
        if (x[i].prompt == 0 || x[i].prompt >= x[i].n)
            return kj_err_set(err, KJ_BAD_RECORD, "choice %zu has no token of its own",
                              i + 1);
        if (x[i].n - x[i].prompt > c->max)
            return kj_err_set(err, KJ_BAD_RECORD,
                              "choice %zu has more tokens than the context", i + 1);
    }
    if (c->n_w == c->cap_w) {
        c->cap_w = c->cap_w ? 2 * c->cap_w : 64;
        c->w = kj_xrealloc(c->w, c->cap_w * sizeof *c->w);
    }
    c->w[c->n_w++] = (struct waiting){.number = number, .n = n};
    int rc = add_choices(c, x, n, err);
    if (rc)
        return rc;
    c->w[c->n_w - 1].whole = true;
    return KJ_OK;
}

int kj_chooser_flush(struct kj_chooser *c, struct kj_err *err)
{
    return pass(c, err);
}
