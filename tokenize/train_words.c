/* train_words.c - counting words, and the whole of a training run. */
#include "tokenize/train_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/output.h"

#define OFF(f) offsetof(struct kj_tok_train, f)
const struct kj_opt kj_tok_train_opts[] = {
    {"vocab_size", 0, KJ_OPT_INT, OFF(vocab_size), "N",
     "tokens in all, special tokens and the 256 bytes included", "32000", 256,
     KJ_TOK_ID_MAX},
    {"min_frequency", 0, KJ_OPT_INT, OFF(min_frequency), "N",
     "least count of a pair that is merged", "2", 0, 0x1p53},
    {"pattern", 0, KJ_OPT_STR, OFF(pattern), "P",
     "how text is cut into words: llama3 (default), qwen2, gpt2, o200k, tekken, or a "
     "regular expression; with a .tiktoken file its pattern",
     NULL, 0, 0},
    {"special", 0, KJ_OPT_LIST, OFF(special), "TOKEN",
     "special tokens, from id 0 on (default: <|begin_of_text|>,<|end_of_text|>); with "
     "a "
     ".tiktoken file NAME=ID of more of them",
     NULL, 0, 0},
    {"max_token_length", 0, KJ_OPT_INT, OFF(max_token_length), "BYTES",
     "longest token that is made; 0: any, else 2 or more", "0", 0, KJ_TOK_WORD_MAX},
    {"digits", 0, KJ_OPT_ENUM, OFF(digits), "pattern|single|three",
     "numbers: as the pattern says, digit by digit, or in threes from the left",
     "pattern", 0, 0},
    {"whitespace", 0, KJ_OPT_ENUM, OFF(whitespace), "pattern|lines|apart",
     "as the pattern says, line ends by themselves, or all of it apart from words",
     "pattern", 0, 0},
    {"sample", 0, KJ_OPT_REAL, OFF(sample), "SHARE",
     "train on this share of the documents, chosen by id and --seed", "1", 1e-6, 1},
    {"sample_bytes", 0, KJ_OPT_SIZE, OFF(sample_bytes), "SIZE",
     "train on so much text, whole documents chosen by id and --seed; held in memory",
     "0", 0, 0x1p60},
    {0},
};
#undef OFF

/* ---- the table of all words ---- */

static size_t words_bytes(const struct tok_words *w)
{
    return w->blob_n + w->n * sizeof *w->v + (w->mask + 1) * sizeof *w->table;
}

static void table_rebuild(struct tok_words *w)
{
    size_t size = 1 << 14;
    while (size < 2 * (w->n + 1))
        size *= 2;
    free(w->table);
    w->table = kj_xcalloc(size, sizeof *w->table);
    w->mask = size - 1;
    for (size_t i = 0; i < w->n; i++) {
        size_t k = w->v[i].hash & w->mask;
        while (w->table[k])
            k = (k + 1) & w->mask;
        w->table[k] = (uint32_t)i + 1;
    }
}

/* Forget the rarest words until half the limit is free. */
static void words_prune(struct tok_words *w)
{
    for (uint64_t least = 1; words_bytes(w) > w->limit / 2 && w->n; least *= 2) {
        size_t n = 0, blob = 0;
        for (size_t i = 0; i < w->n; i++) {
            struct tok_word x = w->v[i];
            if (x.count <= least) {
                w->forgotten++;
                continue;
            }
            memmove(w->blob + blob, w->blob + x.off, x.len);
            x.off = blob;
            blob += x.len;
            w->v[n++] = x;
        }
        w->n = n;
        w->blob_n = blob;
        table_rebuild(w);
    }
}

void tok_words_add(struct tok_words *w, const char *p, uint32_t n, uint64_t hash,
                   uint64_t count)
{
    if (2 * (w->n + 1) > w->mask)
        table_rebuild(w);
    w->total += count;
    size_t k = (uint32_t)hash & w->mask;
    for (; w->table[k]; k = (k + 1) & w->mask) {
        struct tok_word *x = &w->v[w->table[k] - 1];
        if (x->hash == (uint32_t)hash && x->len == n &&
            memcmp(w->blob + x->off, p, n) == 0) {
            x->count += count;
            return;
        }
    }
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1 << 14;
        w->v = kj_xrealloc(w->v, w->cap * sizeof *w->v);
    }
    while (w->blob_n + n > w->blob_cap) {
        w->blob_cap = w->blob_cap ? 2 * w->blob_cap : 1 << 18;
        w->blob = kj_xrealloc(w->blob, w->blob_cap);
    }
    memcpy(w->blob + w->blob_n, p, n);
    w->v[w->n] = (struct tok_word){w->blob_n, count, n, (uint32_t)hash};
    w->blob_n += n;
    w->table[k] = (uint32_t)++w->n;
    if (w->limit && words_bytes(w) > w->limit)
        words_prune(w);
}

void tok_words_release(struct tok_words *w)
{
    free(w->blob);
    free(w->v);
    free(w->table);
    w->blob = NULL;
    w->v = NULL;
    w->table = NULL;
    w->n = w->cap = w->blob_n = w->blob_cap = w->mask = 0;
}

/* ---- counting a batch, in a worker ---- */

struct local_word {
    const char *p;
    uint64_t hash;
    uint32_t n, count;
};
/* Words of a batch in order of first sight; lives in its arena. */
struct local {
    struct kj_arena *arena;
    struct local_word *v;
    size_t n, cap;
    uint32_t *table;
};
struct count_cfg {
    const struct tok_pre *pre;
    double sample;
    uint64_t seed;
};
struct count_state {
    struct tok_pre_state pre;
};

static int local_grow(struct local *l, struct kj_err *err)
{
    size_t cap = l->cap ? 2 * l->cap : 4096;
    struct local_word *v = kj_arena_alloc(l->arena, cap * sizeof *v);
    uint32_t *table = kj_arena_zalloc(l->arena, 2 * cap * sizeof *table);
    if (!v || !table)
        return kj_err_set(err, KJ_FATAL, "too many different words in a batch");
    if (l->n)
        memcpy(v, l->v, l->n * sizeof *v);
    for (size_t i = 0; i < l->n; i++) {
        size_t k = v[i].hash & (2 * cap - 1);
        while (table[k])
            k = (k + 1) & (2 * cap - 1);
        table[k] = (uint32_t)i + 1;
    }
    l->v = v;
    l->table = table;
    l->cap = cap;
    return KJ_OK;
}

static int local_word(void *ctx, const char *p, size_t n, struct kj_err *err)
{
    struct local *l = ctx;
    uint64_t hash = tok_hash(p, n);
    if (n > KJ_TOK_WORD_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "a word of %zu bytes", n);
    if (l->n == l->cap) {
        int rc = local_grow(l, err);
        if (rc != KJ_OK)
            return rc;
    }
    size_t k = hash & (2 * l->cap - 1);
    for (; l->table[k]; k = (k + 1) & (2 * l->cap - 1)) {
        struct local_word *x = &l->v[l->table[k] - 1];
        if (x->hash == hash && x->n == n && memcmp(x->p, p, n) == 0) {
            x->count++;
            return KJ_OK;
        }
    }
    l->v[l->n] = (struct local_word){p, hash, (uint32_t)n, 1};
    l->table[k] = (uint32_t)++l->n;
    return KJ_OK;
}

static int count_begin(const void *cfg, void *state, struct kj_err *err)
{
    (void)err;
    tok_pre_state_init(&((struct count_state *)state)->pre,
                       ((const struct count_cfg *)cfg)->pre);
    return KJ_OK;
}

static void count_end(const void *cfg, void *state)
{
    (void)cfg;
    tok_pre_state_release(&((struct count_state *)state)->pre);
}

/* The hash as a number in [0,1) with 53 bits. */
static bool sampled(const struct count_cfg *c, const struct kj_doc *d)
{
    return c->sample >= 1 ||
           (double)(kj_hash64(d->id.p, d->id.n, c->seed) >> 11) * 0x1p-53 < c->sample;
}

static int count_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    const struct count_cfg *c = cfg;
    struct count_state *s = state;
    struct local *l = kj_arena_zalloc(&b->arena, sizeof *l);
    if (!l)
        return kj_err_set(err, KJ_FATAL, "batch too large");
    l->arena = &b->arena;
    b->aux = l;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        struct kj_err own = KJ_ERR_INIT;
        if (!kj_doc_kept(d))
            continue;
        if (!sampled(c, d)) {
            kj_doc_drop(d, "train.sample", NAN, NAN);
            continue;
        }
        int rc = tok_pre_run(&s->pre, d->text.p, d->text.n, local_word, l, &own);
        if (rc == KJ_BAD_RECORD) {
            kj_doc_damage(d, "tokenize.word",
                          "a word too long, or the pattern gave up");
        } else if (rc != KJ_OK) {
            if (err)
                *err = own;
            return rc;
        }
    }
    return KJ_OK;
}

static const struct kj_stage count_stage = {
    .name = "words",
    .about = "count words",
    .cfg_size = sizeof(struct count_cfg),
    .state_size = sizeof(struct count_state),
    .begin = count_begin,
    .run = count_run,
    .end = count_end,
};

static int sample_run(const void *cfg, void *state, struct kj_batch *b,
                      struct kj_err *err)
{
    (void)state;
    (void)err;
    for (size_t i = 0; i < b->n; i++)
        if (kj_doc_kept(&b->docs[i]) && !sampled(cfg, &b->docs[i]))
            kj_doc_drop(&b->docs[i], "train.sample", NAN, NAN);
    return KJ_OK;
}

static const struct kj_stage sample_stage = {
    .name = "sample",
    .about = "take a share of the documents",
    .cfg_size = sizeof(struct count_cfg),
    .run = sample_run,
};

static int gather(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)err;
    const struct local *l = b->aux;
    for (size_t i = 0; l && i < l->n; i++)
        tok_words_add(self, l->v[i].p, l->v[i].n, l->v[i].hash, l->v[i].count);
    return KJ_OK;
}

/* ---- the run ---- */

static const char *const default_special[] = {"<|begin_of_text|>", "<|end_of_text|>"};

/* What text is cut by: patterns, one after the other. */
struct cuts {
    const char *v[3];
    size_t n;
};

static void cuts_of(const struct kj_tok_train *c, struct cuts *cuts)
{
    const char *p = c->pattern ? c->pattern : "llama3";
    enum tok_scan scan = tok_scan_named(p);
    if (scan == TOK_SCAN_NONE)
        scan = tok_scan_known(p, strlen(p));
    bool either = scan == TOK_SCAN_LLAMA3 || scan == TOK_SCAN_QWEN2;
    if (either && c->digits != KJ_TOK_DIGITS_PATTERN)
        scan = c->digits == KJ_TOK_DIGITS_SINGLE ? TOK_SCAN_QWEN2 : TOK_SCAN_LLAMA3;
    cuts->n = 0;
    if (c->whitespace != KJ_TOK_SPACE_PATTERN)
        cuts->v[cuts->n++] = c->whitespace == KJ_TOK_SPACE_LINES ? "[\\r\\n]" : "\\s+";
    if (!either && c->digits != KJ_TOK_DIGITS_PATTERN)
        cuts->v[cuts->n++] =
            c->digits == KJ_TOK_DIGITS_SINGLE ? "\\p{N}" : "\\p{N}{1,3}";
    cuts->v[cuts->n++] = scan == TOK_SCAN_NONE ? p : tok_scan_pattern(scan);
}

static int check_special(const struct kj_strs *special, struct kj_err *err)
{
    for (size_t i = 0; i < special->n; i++) {
        if (!special->v[i][0])
            return kj_err_set(err, KJ_USAGE, "an empty special token");
        for (size_t k = 0; k < i; k++)
            if (strcmp(special->v[i], special->v[k]) == 0)
                return kj_err_set(err, KJ_USAGE, "special token %s is given twice",
                                  special->v[i]);
    }
    return KJ_OK;
}

static int settings(const struct kj_tok_train *c, struct tok_pre *pre,
                    struct kj_strs *special, struct cuts *cuts, struct kj_err *err)
{
    cuts_of(c, cuts);
    *special = c->special;
    if (!special->n)
        *special = (struct kj_strs){(const char **)default_special, 2};
    memset(pre, 0, sizeof *pre);
    if (check_special(special, err) != KJ_OK)
        return KJ_USAGE;
    if ((uint64_t)c->vocab_size < 256 + special->n)
        return kj_err_set(err, KJ_USAGE,
                          "--vocab-size takes at least %zu (256 bytes and %zu special "
                          "tokens), not %jd",
                          256 + special->n, special->n, (intmax_t)c->vocab_size);
    /* Pairs of bytes are counted from the start, as in the reference. */
    if (c->max_token_length == 1)
        return kj_err_set(err, KJ_USAGE,
                          "--max-token-length takes 0 (no limit) or at least 2, not 1");
    for (size_t i = 0; i < cuts->n; i++) {
        if (tok_pattern_compile(&pre->steps[i], TOK_ONIGURUMA, cuts->v[i],
                                strlen(cuts->v[i]), "pattern", err)) {
            tok_pre_release(pre);
            if (err)
                err->rc = KJ_USAGE;
            return KJ_USAGE;
        }
        pre->n_steps++;
    }
    return KJ_OK;
}

static bool stopped(const struct kj_tok_train *c)
{
    return c->stop && atomic_load(c->stop);
}

/* The sample of c->sample_bytes. */
static int take_sample(const struct kj_tok_train *c, const struct kj_source *src,
                       struct tok_sample *s, struct kj_tok_train_result *r,
                       struct kj_err *err)
{
    struct count_cfg cfg = {NULL, c->sample > 0 ? c->sample : 1, c->seed};
    struct kj_step step = {.stage = &sample_stage, .cfg = &cfg};
    struct kj_flow f = {.source = *src,
                        .steps = &step,
                        .n_steps = 1,
                        .sink = {.self = s, .write = tok_sample_gather},
                        .threads = c->threads ? c->threads : 1,
                        .shard = c->shard,
                        .shards = c->shards ? c->shards : 1,
                        .limit = c->limit,
                        .stop = c->stop};
    *s = (struct tok_sample){.want = (uint64_t)c->sample_bytes, .seed = c->seed};
    if (c->memory > 0 && c->sample_bytes > c->memory / 2)
        return kj_err_set(err, KJ_USAGE,
                          "--sample-bytes %jd is more than half of --memory, %jd",
                          (intmax_t)c->sample_bytes, (intmax_t)c->memory);
    int rc = kj_flow_run(&f, err);
    r->damaged = f.damaged;
    f.source.close = NULL; /* closed by the caller */
    kj_flow_release(&f);
    if (rc == KJ_OK && stopped(c))
        rc = kj_err_set(err, KJ_FAIL, "interrupted");
    return rc;
}

static int count_words(const struct kj_tok_train *c, const struct tok_pre *pre,
                       const struct kj_source *src, struct tok_words *w,
                       struct kj_tok_train_result *r, struct kj_err *err)
{
    bool whole = c->sample_bytes > 0; /* of what is sampled already */
    struct count_cfg cfg = {pre, !whole && c->sample > 0 ? c->sample : 1, c->seed};
    struct kj_step step = {.stage = &count_stage, .cfg = &cfg};
    struct kj_flow f = {.source = *src,
                        .steps = &step,
                        .n_steps = 1,
                        .sink = {.self = w, .write = gather},
                        .threads = c->threads ? c->threads : 1,
                        .shard = whole ? 0 : c->shard,
                        .shards = whole || !c->shards ? 1 : c->shards,
                        .limit = whole ? 0 : c->limit,
                        .stop = c->stop};
    w->limit = c->memory > 0 ? (size_t)c->memory / 4 : 0;
    int rc = kj_flow_run(&f, err);
    r->documents = f.docs_kept;
    r->bytes = f.bytes_kept;
    r->damaged += f.damaged;
    r->words = w->total;
    r->distinct = w->n;
    r->forgotten = w->forgotten;
    f.source.close = NULL; /* closed by the caller */
    kj_flow_release(&f);
    if (rc == KJ_OK && stopped(c))
        rc = kj_err_set(err, KJ_FAIL, "interrupted");
    return rc;
}

/* Count the words of the source, or of a sample of it. */
static int count_source(const struct kj_tok_train *c, const struct tok_pre *pre,
                        const struct kj_source *src, struct tok_words *w,
                        struct kj_tok_train_result *r, struct kj_err *err)
{
    struct tok_sample s = {0};
    if (c->sample_bytes <= 0)
        return count_words(c, pre, src, w, r, err);
    int rc = take_sample(c, src, &s, r, err);
    struct kj_source sample = tok_sample_source(&s);
    if (rc == KJ_OK)
        rc = count_words(c, pre, &sample, w, r, err);
    tok_sample_release(&s);
    return rc;
}

int kj_tok_train_source(const struct kj_tok_train *c, const struct kj_source *src,
                        struct kj_buf *out, struct kj_tok_train_result *r,
                        struct kj_err *err)
{
    struct tok_pre pre;
    struct kj_strs special;
    struct cuts cuts;
    struct tok_words w = {0};
    struct tok_vocab v;
    struct kj_tok_train_result own = {0};
    tok_scan_init();
    int rc = settings(c, &pre, &special, &cuts, err);
    if (rc == KJ_OK) {
        rc = count_source(c, &pre, src, &w, &own, err);
        tok_pre_release(&pre);
    }
    if (src->close)
        src->close(src->self);
    if (rc == KJ_OK) {
        tok_vocab_init(&v, &special);
        const struct tok_until until = {(uint64_t)c->vocab_size,
                                        (uint64_t)c->min_frequency,
                                        (uint64_t)c->max_token_length, c->stop};
        rc = tok_train_merges(&v, &w, &until, err);
        own.vocab_size = v.n;
        own.merges = v.n_merges;
        if (rc == KJ_OK && tok_train_json(&v, cuts.v, cuts.n, out) != KJ_OK)
            rc = kj_err_set(err, KJ_FAIL, "tokenizer.json too large");
        tok_vocab_release(&v);
    }
    tok_words_release(&w);
    if (r)
        *r = own;
    return rc;
}

int kj_tok_train_file(const struct kj_tok_train *c, const struct kj_source *src,
                      const char *path, struct kj_tok_train_result *r,
                      struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, KJ_TOK_FILE_MAX);
    int rc = kj_tok_train_source(c, src, &b, r, err);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    kj_buf_release(&b);
    return rc;
}
