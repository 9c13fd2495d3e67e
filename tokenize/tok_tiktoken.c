/* tok_tiktoken.c - files of ranks: a line a token, its bytes in base64 and its rank,
 * which is its id.
 *
 * Of adjacent pairs, the one that makes the token of lowest rank is merged; that
 * is the BPE of tokenizer.json with a merge for every way to cut a token in two
 * tokens, in order of rank (prune_merges leaves the one that can happen). A word
 * that is a token is taken whole. The pattern and the special tokens are not in the
 * file: they are known for the published ones, and the name of the file says
 * which one it is.
 */
#include "tokenize/tok_internal.h"

#include <stdlib.h>

#include "base/err.h"

struct special {
    const char *content;
    uint32_t id;
};

#define KNOWN_SPECIALS 6
static const struct kind {
    const char *name; /* begins the name of the file */
    enum tok_scan scan;
    struct special special[KNOWN_SPECIALS];
} kinds[] = {
    {"gpt2", TOK_SCAN_GPT2, {{"<|endoftext|>", 50256}}},
    {"r50k_base", TOK_SCAN_GPT2, {{"<|endoftext|>", 50256}}},
    {"p50k_base", TOK_SCAN_GPT2, {{"<|endoftext|>", 50256}}},
    {"cl100k_base",
     TOK_SCAN_LLAMA3,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}}},
    {"o200k_base",
     TOK_SCAN_O200K,
     {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
};

bool tok_tiktoken_is(const char *name)
{
    size_t n = strlen(name), k = strlen(".tiktoken");
    return n > k && strcmp(name + n - k, ".tiktoken") == 0;
}

/* ---- lines ---- */

struct rank {
    struct kj_str bytes;
    uint32_t id;
};

static int read_line(struct rank *r, const char *p, size_t n, size_t line,
                     struct kj_arena *a, struct kj_err *err)
{
    const char *sp = memchr(p, ' ', n);
    uint64_t id = 0;
    if (n && p[n - 1] == '\r')
        n--;
    if (!sp || sp + 1 >= p + n)
        REFUSE("line %zu: not a token and a rank", line);
    for (const char *q = sp + 1; q < p + n; q++) {
        if (*q < '0' || *q > '9' || id > KJ_TOK_ID_MAX)
            REFUSE("line %zu: the rank is not an integer in 0..%u", line,
                   KJ_TOK_ID_MAX);
        id = 10 * id + (uint64_t)(*q - '0');
    }
    if (id > KJ_TOK_ID_MAX)
        REFUSE("line %zu: the rank is not an integer in 0..%u", line, KJ_TOK_ID_MAX);
    r->id = (uint32_t)id;
    r->bytes.p = tok_base64((struct kj_str){p, (size_t)(sp - p)}, a, &r->bytes.n);
    if (!r->bytes.p || !r->bytes.n || r->bytes.n > TOK_TOKEN_MAX)
        REFUSE("line %zu: the token is not base64, empty or too long", line);
    return KJ_OK;
}

static int read_lines(struct rank **out, size_t *count, const char *p, size_t n,
                      struct kj_arena *a, struct kj_err *err)
{
    size_t cap = 0, line = 1;
    int rc = KJ_OK;
    for (size_t at = 0; at < n && rc == KJ_OK; line++) {
        const char *nl = memchr(p + at, '\n', n - at);
        size_t end = nl ? (size_t)(nl - p) : n;
        if (*count == cap) {
            cap = cap ? 2 * cap : 1024;
            *out = kj_xrealloc(*out, cap * sizeof **out);
        }
        if (end > at)
            rc = read_line(&(*out)[(*count)++], p + at, end - at, line, a, err);
        at = end + 1;
    }
    return rc;
}

/* ---- vocabulary ---- */

static int add_tokens(struct kj_tok *t, const struct rank *r, size_t n,
                      struct kj_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (t->ids[r[i].id].len)
            REFUSE("rank %u stands there twice", r[i].id);
        uint64_t hash = tok_word_hash(r[i].bytes.p, r[i].bytes.n);
        if (tok_word_hashed(t, hash, r[i].bytes.p, r[i].bytes.n) != TOK_NONE)
            REFUSE("the token of rank %u stands there twice", r[i].id);
        tok_blob_add(t, r[i].id, r[i].bytes.p, r[i].bytes.n);
        tok_word_insert(t, r[i].id, hash);
    }
    return KJ_OK;
}

/* Every way to cut every token in two, in order of rank; with out NULL, how many
 * there are. */
static size_t cuts(const struct kj_tok *t, struct tok_cut *out)
{
    size_t n = 0;
    for (uint32_t id = 0; id < t->n_ids; id++) {
        const char *p = t->blob + t->ids[id].off;
        for (size_t k = 1; k < t->ids[id].len; k++) {
            uint32_t a = tok_word_find(t, p, k), b = TOK_NONE;
            if (a != TOK_NONE)
                b = tok_word_find(t, p + k, t->ids[id].len - k);
            if (b == TOK_NONE)
                continue;
            if (out)
                out[n] = (struct tok_cut){a, b, id};
            n++;
        }
    }
    return n;
}

/* The special tokens that the name of the file tells, then those that are given. */
struct specials {
    struct special *v;
    size_t n;
};

static int want_special(struct special *s, const char *z, struct kj_arena *a,
                        struct kj_err *err)
{
    const char *eq = strrchr(z, '=');
    uint64_t id = 0;
    if (!eq || eq == z || !eq[1] || eq - z > TOK_TOKEN_MAX)
        REFUSE("special token \"%.80s\": not NAME=ID", z);
    for (const char *q = eq + 1; *q; q++) {
        if (*q < '0' || *q > '9' ||
            (id = 10 * id + (uint64_t)(*q - '0')) > KJ_TOK_ID_MAX)
            REFUSE("special token \"%.80s\": the id is not an integer in 0..%u", z,
                   KJ_TOK_ID_MAX);
    }
    *s = (struct special){kj_arena_dup(a, z, (size_t)(eq - z)), (uint32_t)id};
    return KJ_OK;
}

static int gather_special(struct specials *l, const struct kind *k,
                          const struct kj_tok_ranks *given, struct kj_arena *a,
                          struct kj_err *err)
{
    size_t more = given ? given->n_special : 0, known;
    int rc = KJ_OK;
    l->v = kj_xcalloc(KNOWN_SPECIALS + more, sizeof *l->v);
    while (k && l->n < KNOWN_SPECIALS && k->special[l->n].content) {
        l->v[l->n] = k->special[l->n];
        l->n++;
    }
    known = l->n;
    for (size_t i = 0; i < more && rc == KJ_OK; i++) {
        struct special s = {0};
        size_t at = 0;
        rc = want_special(&s, given->special[i], a, err);
        if (rc != KJ_OK)
            break;
        while (at < l->n && strcmp(l->v[at].content, s.content) != 0)
            at++;
        if (at < l->n && at >= known)
            rc = kj_err_set(err, KJ_FAIL, "special token %s is given twice", s.content);
        l->v[at] = s;
        l->n += at == l->n;
    }
    return rc;
}

static int add_special(struct kj_tok *t, const struct specials *l, struct kj_err *err)
{
    t->added = kj_xcalloc(l->n + 1, sizeof *t->added);
    for (size_t i = 0; i < l->n; i++) {
        const struct special *s = &l->v[i];
        struct tok_added *a = &t->added[t->n_added];
        if (t->flags[s->id] & TOK_ADDED)
            REFUSE("special token %s: id %u is that of another", s->content, s->id);
        if (t->ids[s->id].len)
            REFUSE("rank %u is that of %s", s->id, s->content);
        *a = (struct tok_added){
            .content = kj_str_z(s->content), .id = s->id, .special = true};
        tok_blob_add(t, a->id, a->content.p, a->content.n);
        t->flags[a->id] = TOK_ADDED | TOK_SPECIAL;
        tok_trie_add(&t->raw, a->content, (uint32_t)t->n_added++);
    }
    return KJ_OK;
}

static int load_ranks(struct kj_tok *t, const struct specials *l, const struct rank *r,
                      size_t n, struct kj_err *err)
{
    uint32_t top = 0;
    for (size_t i = 0; i < n; i++)
        top = r[i].id >= top ? r[i].id + 1 : top;
    for (size_t i = 0; i < l->n; i++)
        top = l->v[i].id >= top ? l->v[i].id + 1 : top;
    tok_ids_alloc(t, top, n);
    int rc = add_tokens(t, r, n, err);
    if (rc == KJ_OK)
        rc = tok_bpe_bytes(t, err);
    if (rc != KJ_OK)
        return rc;
    size_t m = cuts(t, NULL);
    if (m > TOK_MERGES_MAX)
        REFUSE("too many tokens");
    struct tok_cut *c = kj_xcalloc(m + 1, sizeof *c);
    cuts(t, c);
    tok_bpe_merges(t, c, m);
    free(c);
    t->ignore_merges = true;
    return add_special(t, l, err);
}

static int load_pattern(struct kj_tok *t, const struct kind *k, const char *given,
                        struct kj_err *err)
{
    struct tok_step *st = &t->pre.steps[0];
    enum tok_scan scan = given ? tok_scan_named(given) : k->scan;
    const char *z = scan == TOK_SCAN_NONE ? given : tok_scan_pattern(scan);
    if (strlen(z) > TOK_PATTERN_MAX)
        REFUSE("pattern: too long");
    *st = (struct tok_step){
        .kind = TOK_STEP_SPLIT, .behavior = TOK_REMOVED, .invert = true};
    int rc = tok_pattern_compile(st, TOK_RUST, z, strlen(z), "pattern", err);
    t->pre.n_steps = rc == KJ_OK;
    return rc;
}

int tok_tiktoken_load(struct kj_tok *t, const char *p, size_t n,
                      const struct kj_tok_ranks *given, struct kj_err *err)
{
    const struct kind *k = NULL;
    const char *pattern = given ? given->pattern : NULL;
    struct specials special = {0};
    struct rank *r = NULL;
    size_t count = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(t->name, kinds[i].name, strlen(kinds[i].name)) == 0)
            k = &kinds[i];
    if (!k && !pattern)
        REFUSE(
            "the name says no pattern, and none is given; gpt2, r50k_base, p50k_base, "
            "cl100k_base and o200k_base are known");
    int rc = load_pattern(t, k, pattern, err);
    if (rc == KJ_OK)
        rc = gather_special(&special, k, given, &t->arena, err);
    if (rc == KJ_OK)
        rc = read_lines(&r, &count, p, n, &t->arena, err);
    if (rc == KJ_OK)
        rc = load_ranks(t, &special, r, count, err);
    free(r);
    free(special.v);
    return rc;
}
