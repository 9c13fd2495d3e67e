/* stage.c - the parallel stage that encodes documents. */
#include "tokenize/shards.h"

#include <string.h>

#define OFF(f) offsetof(struct kj_tokenize, f)
#define CORE                                                                           \
    {"tokenizer",    't',    KJ_OPT_STR,                                               \
     OFF(tokenizer), "FILE", "tokenizer.json, or a .tiktoken file of ranks",           \
     NULL,           0,      0},                                                       \
        {"eos",                                                                        \
         0,                                                                            \
         KJ_OPT_STR,                                                                   \
         OFF(eos),                                                                     \
         "TOKEN",                                                                      \
         "token at the end of each document (default: the file's end-of-text token)",  \
         NULL,                                                                         \
         0,                                                                            \
         0},                                                                           \
    {                                                                                  \
        "no_special", 0, KJ_OPT_FLAG, OFF(no_special), NULL,                           \
            "special tokens written in text are encoded as plain text", NULL, 0, 0     \
    }
const struct kj_opt kj_tokenize_core_opts[] = {CORE, {0}};
const struct kj_opt kj_tokenize_opts[] = {
    CORE,
    {"pattern", 0, KJ_OPT_STR, OFF(pattern), "P",
     "how a .tiktoken file cuts words: gpt2, llama3, qwen2, o200k, tekken, or a "
     "regular "
     "expression (default: by its name)",
     NULL, 0, 0},
    {"special", 0, KJ_OPT_LIST, OFF(special), "NAME=ID",
     "special tokens of a .tiktoken file, beside those that its name tells", NULL, 0,
     0},
    {0},
};
#undef CORE
#undef OFF

struct state {
    struct kj_tok_state *tok;
    struct kj_tok_ids ids;
};

int kj_tokenize_load(struct kj_tokenize *cfg, struct kj_err *err)
{
    const struct kj_tok_ranks r = {cfg->pattern, cfg->special.v, cfg->special.n};
    return kj_tok_load_ranks(&cfg->tok, cfg->tokenizer, &r, err);
}

static int stage_open(void *cfg, struct kj_err *err)
{
    struct kj_tokenize *c = cfg;
    if (!c->tokenizer)
        return kj_err_set(err, KJ_USAGE, "tokenize: no tokenizer is named");
    int rc = kj_tokenize_load(c, err);
    if (rc == KJ_OK)
        rc = kj_tok_eos(c->tok, c->eos, &c->eos_id, err);
    return rc;
}

static void stage_close(void *cfg)
{
    struct kj_tokenize *c = cfg;
    kj_tok_free(c->tok);
    c->tok = NULL;
}

static int stage_begin(const void *cfg, void *state, struct kj_err *err)
{
    (void)err;
    ((struct state *)state)->tok =
        kj_tok_state_new(((const struct kj_tokenize *)cfg)->tok);
    return KJ_OK;
}

static void stage_end(const void *cfg, void *state)
{
    (void)cfg;
    struct state *s = state;
    kj_tok_state_free(s->tok);
    kj_tok_ids_release(&s->ids);
}

static int encode(const struct kj_tokenize *c, struct state *s, struct kj_batch *b,
                  struct kj_doc *d, struct kj_err *err)
{
    struct kj_err own = KJ_ERR_INIT;
    s->ids.n = 0;
    int rc = kj_tok_encode(c->tok, s->tok, d->text.p, d->text.n,
                           (c->no_special ? KJ_TOK_NO_SPECIAL : 0) |
                               (c->use_template ? KJ_TOK_TEMPLATE : 0),
                           &s->ids, &own);
    if (rc == KJ_BAD_RECORD) {
        kj_doc_damage(d, "tokenize.word",
                      kj_arena_dup(&b->arena, own.msg, strlen(own.msg)));
        return KJ_OK;
    }
    if (rc != KJ_OK) {
        if (err)
            *err = own;
        return rc;
    }
    struct kj_tok_doc *t = kj_arena_alloc(&b->arena, sizeof *t);
    uint32_t *ids = kj_arena_alloc(&b->arena, (s->ids.n + 1) * sizeof *ids);
    if (!t || !ids) {
        kj_doc_damage(d, "tokenize.memory", "the batch is too large");
        return KJ_OK;
    }
    if (s->ids.n)
        memcpy(ids, s->ids.v, s->ids.n * sizeof *ids);
    *t = (struct kj_tok_doc){ids, s->ids.n};
    d->aux = t;
    d->token_count = (int64_t)s->ids.n;
    return KJ_OK;
}

static int stage_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        int rc = KJ_OK;
        if (!kj_doc_kept(d))
            continue;
        if (d->text.n == 0 && !((const struct kj_tokenize *)cfg)->keep_empty)
            kj_doc_drop(d, "tokenize.empty", 0, 1);
        else
            rc = encode(cfg, state, b, d, err);
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

static size_t stage_rules(const void *cfg, const struct kj_rule **out)
{
    static const struct kj_rule rules[] = {
        {"tokenize.empty", "<", 1, "bytes", "a document without text"},
    };
    (void)cfg;
    *out = rules;
    return 1;
}

const struct kj_stage kj_stage_tokenize = {
    .name = "tokenize",
    .about = "encode text as token ids",
    .opts = kj_tokenize_opts,
    .cfg_size = sizeof(struct kj_tokenize),
    .state_size = sizeof(struct state),
    .open = stage_open,
    .begin = stage_begin,
    .run = stage_run,
    .end = stage_end,
    .close = stage_close,
    .rules = stage_rules,
};
