/* texts.c - texts to vectors: tokens, order, packs.
 *
 * On the CPU each worker has activations of its own and packs its own texts, the
 * longest first. On a GPU workers only tokenize: texts go, as they come, into the queue
 * of the one device (encoder_queue.h), which packs them.
 */
#include "classify/texts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "classify/encoder_queue.h"

#define SPECIAL_MAX 16
/* The first piece of a long text has as many bytes as the texts before took for the
 * model's longest input, and a quarter more: that is nearly always enough, and little is
 * tokenized for nothing. */
#define BYTES_PER_TOKEN 6.0
#define AND_MORE        1.25

struct kj_texts {
    struct kj_encoder *e;
    struct kj_encoder_queue *queue; /* NULL on the CPU */
    struct kj_encoder_config c;     /* a copy with the options in force */
    const struct kj_words *words;
    void *tok;
    int32_t head[SPECIAL_MAX], tail[SPECIAL_MAX]; /* around every text */
    size_t n_head, n_tail;
    char *prefix;
};

struct kj_texts_worker {
    const struct kj_words *words;
    void *state;
    struct kj_encoder_run *run;
    struct kj_buf text;
    double per_token; /* bytes, of late */
    int32_t *ids;     /* of all texts of a call */
    size_t n_ids, cap_ids;
    struct item {
        size_t at, n, text;
    } * items;
    size_t cap_items;
    int32_t *pack, *cu;
    float *rows; /* of a pass */
    float *all;  /* of a call: what scores are made of */
    size_t cap_all;
};

/* ---- opening ---- */

/* What the post-processor puts before and behind a text, seen on a short one. */
static int learn_special(struct kj_texts *t, struct kj_err *err)
{
    void *s = t->words->begin(t->tok);
    const uint32_t *ids;
    uint32_t plain[8];
    size_t n, all, at = 0;
    int rc = t->words->encode(s, "a", 1, false, &ids, &n, err);
    if (rc == KJ_OK && (n == 0 || n > 8))
        rc = kj_err_set(err, KJ_FAIL, "the tokenizer makes %zu tokens of \"a\"", n);
    if (rc == KJ_OK) {
        memcpy(plain, ids, n * sizeof *plain);
        rc = t->words->encode(s, "a", 1, true, &ids, &all, err);
    }
    if (rc == KJ_OK) {
        while (at + n <= all && memcmp(ids + at, plain, n * sizeof *plain) != 0)
            at++;
        if (at + n > all || at > SPECIAL_MAX || all - at - n > SPECIAL_MAX)
            rc =
                kj_err_set(err, KJ_FAIL,
                           "the tokenizer's special tokens do not stand around a text");
    }
    if (rc == KJ_OK) {
        t->n_head = at;
        t->n_tail = all - at - n;
        for (size_t i = 0; i < t->n_head; i++)
            t->head[i] = (int32_t)ids[i];
        for (size_t i = 0; i < t->n_tail; i++)
            t->tail[i] = (int32_t)ids[at + n + i];
    }
    t->words->end(s);
    return rc == KJ_OK ? rc : KJ_FAIL;
}

static int apply_options(struct kj_texts *t, const struct kj_texts_opts *o,
                         struct kj_err *err)
{
    t->c = *kj_encoder_get_config(t->e);
    t->prefix = kj_xstrdup(o->prefix ? o->prefix : t->c.prefix);
    t->c.prefix = t->prefix;
    if (o->max_tokens > t->c.max_tokens)
        return kj_err_set(err, KJ_USAGE, "the model takes at most %lld tokens",
                          (long long)t->c.max_tokens);
    if (o->max_tokens)
        t->c.max_tokens = o->max_tokens;
    if (o->pool)
        t->c.pool = (enum kj_pool)(o->pool - 1);
    return KJ_OK;
}

int kj_texts_open(struct kj_texts **out, const char *dir, const struct kj_words *w,
                  const struct kj_texts_opts *o, struct kj_err *err)
{
    struct kj_texts *t = kj_xcalloc(1, sizeof *t);
    size_t len = strlen(dir) + 32;
    char *path = kj_xmalloc(len);
    uint32_t ids = 0;
    t->words = w;
    snprintf(path, len, "%s/tokenizer.json", dir);
    int rc = kj_encoder_open(&t->e, dir, o->head, o->device ? o->device : "cpu", err);
    if (rc == KJ_OK)
        rc = w->open(&t->tok, path, &ids, err);
    if (rc == KJ_OK)
        rc = apply_options(t, o, err);
    if (rc == KJ_OK && (int64_t)ids > t->c.vocab)
        rc = kj_err_set(err, KJ_FAIL,
                        "%s: its tokenizer has %u ids, the model's vocabulary %lld",
                        dir, ids, (long long)t->c.vocab);
    if (rc == KJ_OK)
        rc = learn_special(t, err);
    if (rc == KJ_OK && (int64_t)(t->n_head + t->n_tail) >= t->c.max_tokens)
        rc = kj_err_set(err, KJ_FAIL, "no room for text beside special tokens");
    if (rc == KJ_OK && kj_encoder_gpu(t->e))
        t->queue = kj_encoder_queue_new(t->e, t->c.pool);
    free(path);
    if (rc)
        kj_texts_free(t);
    else
        *out = t;
    return rc;
}

void kj_texts_free(struct kj_texts *t)
{
    if (!t)
        return;
    if (t->tok)
        t->words->close(t->tok);
    kj_encoder_queue_free(t->queue);
    kj_encoder_free(t->e);
    free(t->prefix);
    free(t);
}

const struct kj_encoder *kj_texts_encoder(const struct kj_texts *t)
{
    return t->e;
}

const struct kj_encoder_config *kj_texts_config(const struct kj_texts *t)
{
    return &t->c;
}

int kj_texts_begin(struct kj_texts_worker **out, const struct kj_texts *t,
                   unsigned threads, struct kj_err *err)
{
    struct kj_texts_worker *w = kj_xcalloc(1, sizeof *w);
    size_t room = kj_encoder_pack(t->e);
    int rc = t->queue ? KJ_OK : kj_encoder_run_new(&w->run, t->e, threads, err);
    if (rc) {
        free(w);
        return rc;
    }
    w->words = t->words;
    w->state = t->words->begin(t->tok);
    w->per_token = BYTES_PER_TOKEN;
    kj_buf_init(&w->text, (size_t)1 << 30);
    if (!t->queue) {
        w->pack = kj_xcalloc(room, sizeof *w->pack);
        w->cu = kj_xcalloc(room + 1, sizeof *w->cu);
        w->rows = kj_xcalloc(room * (size_t)t->c.hidden, sizeof *w->rows);
    }
    *out = w;
    return KJ_OK;
}

void kj_texts_end(struct kj_texts_worker *w)
{
    if (!w)
        return;
    w->words->end(w->state);
    kj_encoder_run_free(w->run);
    kj_buf_release(&w->text);
    free(w->ids);
    free(w->items);
    free(w->pack);
    free(w->cu);
    free(w->rows);
    free(w->all);
    free(w);
}

/* ---- tokens ---- */

static void push(struct kj_texts_worker *w, int32_t id)
{
    if (w->n_ids == w->cap_ids) {
        w->cap_ids = w->cap_ids ? 2 * w->cap_ids : 4096;
        w->ids = kj_xrealloc(w->ids, w->cap_ids * sizeof *w->ids);
    }
    w->ids[w->n_ids++] = id;
}

/* Where to cut behind `want` bytes: at the next white space. */
static size_t cut_at(const char *p, size_t n, size_t want)
{
    while (want < n && p[want] != ' ' && p[want] != '\n')
        want++;
    return want < n ? want : n;
}

/* Append the ids of one text. KJ_BAD_RECORD: none. */
static int encode(const struct kj_texts *t, struct kj_texts_worker *w, struct kj_str s,
                  struct item *item, struct kj_err *err)
{
    size_t room = (size_t)t->c.max_tokens - t->n_head - t->n_tail, n = 0;
    const uint32_t *ids;
    size_t end, want = (size_t)((double)room * w->per_token * AND_MORE) + 64;
    item->at = w->n_ids;
    for (;;) {
        end = s.n > want ? cut_at(s.p, s.n, want) : s.n;
        kj_buf_reset(&w->text);
        int rc = kj_buf_addz(&w->text, t->prefix);
        if (rc == KJ_OK && end)
            rc = kj_buf_add(&w->text, s.p, end);
        if (rc == KJ_OK)
            rc = w->words->encode(w->state, w->text.p ? w->text.p : "", w->text.n,
                                  false, &ids, &n, err);
        if (rc != KJ_OK)
            return rc;
        if (n > room || end == s.n)
            break;
        want =
            n > room / 8 ? (size_t)((double)end / (double)n * (double)room) : 4 * end;
        want = (size_t)((double)(want > end ? want : end) * AND_MORE) + 64;
    }
    if (n > room)
        w->per_token += ((double)end / (double)n - w->per_token) / 16;
    for (size_t i = 0; i < t->n_head; i++)
        push(w, t->head[i]);
    for (size_t i = 0; i < n && i < room; i++)
        push(w, (int32_t)ids[i]);
    for (size_t i = 0; i < t->n_tail; i++)
        push(w, t->tail[i]);
    item->n = w->n_ids - item->at;
    return KJ_OK;
}

/* Longest first: the last packs then fill with short ones. */
static int longest(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->text < y->text ? -1 : 1;
}

static int one_pack(const struct kj_texts *t, struct kj_texts_worker *w,
                    const struct item *items, size_t n, float *out, struct kj_err *err)
{
    size_t h = (size_t)t->c.hidden;
    w->cu[0] = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(w->pack + w->cu[i], w->ids + items[i].at, items[i].n * sizeof *w->pack);
        w->cu[i + 1] = w->cu[i] + (int32_t)items[i].n;
    }
    int rc =
        kj_encoder_features(t->e, w->run, t->c.pool, w->pack, w->cu, n, w->rows, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        memcpy(out + items[i].text * h, w->rows + i * h, h * sizeof *out);
    return rc;
}

static void not_a_number(float *row, size_t n)
{
    for (size_t c = 0; c < n; c++)
        row[c] = NAN;
}

/* Sorted and packed here, on this thread's run: rows of hidden. */
static int pack_all(const struct kj_texts *t, struct kj_texts_worker *w,
                    const struct kj_str *texts, size_t n, float *out, uint64_t *tokens,
                    struct kj_err *err)
{
    size_t h = (size_t)t->c.hidden, found = 0;
    int rc = KJ_OK;
    w->n_ids = 0;
    if (n > w->cap_items) {
        w->cap_items = n;
        w->items = kj_xrealloc(w->items, n * sizeof *w->items);
    }
    for (size_t i = 0; i < n; i++) {
        struct kj_err ignored = KJ_ERR_INIT;
        struct item *item = &w->items[found];
        item->text = i;
        /* An encoder has to have something to look at. */
        if (encode(t, w, texts[i], item, &ignored) == KJ_OK && item->n > 0)
            found++;
        else
            not_a_number(out + i * h, h);
    }
    if (found) /* no items at all are no array, which qsort wants */
        qsort(w->items, found, sizeof *w->items, longest);
    for (size_t i = 0, k; i < found && rc == KJ_OK; i = k) {
        size_t sum = w->items[i].n;
        for (k = i + 1; k < found && sum + w->items[k].n <= KJ_ENCODER_PACK; k++)
            sum += w->items[k].n;
        rc = one_pack(t, w, w->items + i, k - i, out, err);
        if (tokens)
            *tokens += sum;
    }
    return rc;
}

/* Into the device's queue one by one: it works while the next is tokenized. */
static int queue_all(const struct kj_texts *t, struct kj_texts_worker *w,
                     const struct kj_str *texts, size_t n, bool outputs, float *out,
                     size_t cols, uint64_t *tokens, struct kj_err *err)
{
    struct kj_encoder_group group = {0};
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_err ignored = KJ_ERR_INIT;
        struct item item;
        w->n_ids = 0;
        if (encode(t, w, texts[i], &item, &ignored) != KJ_OK || item.n == 0) {
            not_a_number(out + i * cols, cols);
            continue;
        }
        if (tokens)
            *tokens += item.n;
        rc = kj_encoder_queue_add(t->queue, &group, w->ids, item.n, outputs,
                                  out + i * cols, err);
    }
    int end = kj_encoder_queue_wait(t->queue, &group, err);
    return rc ? rc : end;
}

int kj_texts_features(const struct kj_texts *t, struct kj_texts_worker *w,
                      const struct kj_str *texts, size_t n, float *out,
                      uint64_t *tokens, struct kj_err *err)
{
    if (t->queue)
        return queue_all(t, w, texts, n, false, out, (size_t)t->c.hidden, tokens, err);
    return pack_all(t, w, texts, n, out, tokens, err);
}

/* Of several outputs the softmax. */
static void probabilities(double *y, size_t n)
{
    double top = y[0], sum = 0;
    if (n == 1)
        return;
    for (size_t i = 1; i < n; i++)
        top = y[i] > top ? y[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += y[i] = exp(y[i] - top);
    for (size_t i = 0; i < n; i++)
        y[i] /= sum;
}

void kj_texts_outputs(const struct kj_head_weights *h, const float *x, double *y)
{
    if (isnan(x[0])) {
        for (size_t i = 0; i < h->out; i++)
            y[i] = NAN;
        return;
    }
    kj_head_apply(h, x, y);
    probabilities(y, h->out);
}

int kj_texts_scores(const struct kj_texts *t, struct kj_texts_worker *w,
                    const struct kj_str *texts, size_t n, double *out, uint64_t *tokens,
                    struct kj_err *err)
{
    const struct kj_head_weights *h = kj_encoder_head(t->e);
    size_t cols = t->queue ? h->out : h->in;
    if (n * cols > w->cap_all) {
        w->cap_all = n * cols;
        w->all = kj_xrealloc(w->all, w->cap_all * sizeof *w->all);
    }
    int rc = t->queue ? queue_all(t, w, texts, n, true, w->all, cols, tokens, err)
                      : pack_all(t, w, texts, n, w->all, tokens, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        const float *x = w->all + i * cols;
        double *y = out + i * h->out;
        if (!t->queue) {
            kj_texts_outputs(h, x, y);
            continue;
        }
        for (size_t c = 0; c < cols; c++)
            y[c] = (double)x[c];
        if (!isnan(y[0]))
            probabilities(y, cols);
    }
    return rc;
}

bool kj_texts_shared(const struct kj_texts *t)
{
    return t->queue != NULL;
}
