/* gguf_tok.c - the tokenizer of a model's folder as keys of a GGUF file.
 *
 * Tokens stand as in tokenizer.json, in GPT-2's byte alphabet. What the format
 * cannot say exactly is left out whole, with the reason: a reader then asks for
 * a tokenizer instead of cutting texts in another way.
 */
#include "trainer/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"

#define FILE_MAX ((size_t)256 << 20)

enum { NORMAL = 1, CONTROL = 3, USER = 4, UNUSED = 5 }; /* the format's token types */

#define WORDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define REST  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2                                                                           \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|"   \
    "\\s+"

/* The format's name for how texts are cut into words, or NULL. */
static const char *pre_of(const struct kj_jval *root)
{
    const struct kj_jval *p = kj_jget(root, "pre_tokenizer"),
                         *list = kj_jget(p, "pretokenizers");
    const struct kj_jval *bytes = p, *split = NULL;
    if (kj_str_is(kj_jstr(kj_jget(p, "type")), "Sequence")) {
        if (!list || list->kind != KJ_J_ARRAY || list->n != 2)
            return NULL;
        split = &list->items[0];
        bytes = &list->items[1];
    }
    if (!kj_str_is(kj_jstr(kj_jget(bytes, "type")), "ByteLevel") ||
        kj_jbool(kj_jget(bytes, "add_prefix_space"), true))
        return NULL;
    bool own = kj_jbool(kj_jget(bytes, "use_regex"), true);
    if (!split)
        return own ? "gpt-2" : NULL;
    struct kj_str re = kj_jstr(kj_jget(kj_jget(split, "pattern"), "Regex"));
    if (own || !kj_str_is(kj_jstr(kj_jget(split, "type")), "Split") ||
        !kj_str_is(kj_jstr(kj_jget(split, "behavior")), "Isolated") ||
        kj_jbool(kj_jget(split, "invert"), false))
        return NULL;
    return kj_str_is(re, WORDS "{1,3}" REST) ? "llama-bpe"
           : kj_str_is(re, WORDS REST)       ? "qwen2"
           : kj_str_is(re, GPT2)             ? "gpt-2"
                                             : NULL;
}

struct token {
    struct kj_str text;
    int type;
};

static bool place(struct token *v, uint64_t n, const struct kj_jval *id,
                  struct kj_str text, int type)
{
    int64_t i = kj_jint(id, -1);
    if (i < 0 || (uint64_t)i >= n || !text.p)
        return false;
    v[i] = (struct token){text, type};
    return true;
}

/* Tokens by id; false when one has no id within the model's vocabulary. */
static bool collect(const struct kj_jval *root, struct token *v, uint64_t n)
{
    const struct kj_jval *vocab = kj_jget(kj_jget(root, "model"), "vocab"),
                         *added = kj_jget(root, "added_tokens");
    if (!vocab || vocab->kind != KJ_J_OBJECT)
        return false;
    for (size_t i = 0; i < vocab->n; i++)
        if (!place(v, n, &vocab->items[i], vocab->keys[i], NORMAL))
            return false;
    for (size_t i = 0; added && added->kind == KJ_J_ARRAY && i < added->n; i++) {
        const struct kj_jval *a = &added->items[i];
        bool special = kj_jbool(kj_jget(a, "special"), false);
        if (!place(v, n, kj_jget(a, "id"), kj_jstr(kj_jget(a, "content")),
                   special ? CONTROL : USER))
            return false;
    }
    return true;
}

static void put_array(struct kj_buf *b, const char *key, enum kj_gguf_kind item,
                      uint64_t n)
{
    kj_gguf_put_key(b, key, KJ_GGUF_ARRAY);
    kj_gguf_put_le(b, item, 4);
    kj_gguf_put_le(b, n, 8);
}

static void put_tokens(struct kj_buf *b, const struct token *v, uint64_t n)
{
    put_array(b, "tokenizer.ggml.tokens", KJ_GGUF_STR, n);
    for (uint64_t i = 0; i < n; i++) {
        char pad[32];
        int len = snprintf(pad, sizeof pad, "[PAD%llu]", (unsigned long long)i);
        if (v[i].type)
            kj_gguf_put_text(b, v[i].text.p, v[i].text.n);
        else
            kj_gguf_put_text(b, pad, (size_t)len);
    }
    put_array(b, "tokenizer.ggml.token_type", KJ_GGUF_I32, n);
    for (uint64_t i = 0; i < n; i++)
        kj_gguf_put_le(b, (uint64_t)(v[i].type ? v[i].type : UNUSED), 4);
}

/* "a b", or ["a", "b"] */
static bool put_merges(struct kj_buf *b, const struct kj_jval *m)
{
    if (!m || m->kind != KJ_J_ARRAY)
        return false;
    put_array(b, "tokenizer.ggml.merges", KJ_GGUF_STR, m->n);
    for (size_t i = 0; i < m->n; i++) {
        const struct kj_jval *v = &m->items[i];
        struct kj_str s = kj_jstr(v);
        if (v->kind == KJ_J_STR) {
            kj_gguf_put_text(b, s.p, s.n);
            continue;
        }
        if (v->kind != KJ_J_ARRAY || v->n != 2 || v->items[0].kind != KJ_J_STR ||
            v->items[1].kind != KJ_J_STR)
            return false;
        struct kj_str x = v->items[0].s, y = v->items[1].s;
        kj_gguf_put_le(b, x.n + y.n + 1, 8);
        kj_buf_add(b, x.p, x.n);
        kj_buf_addc(b, ' ');
        kj_buf_add(b, y.p, y.n);
    }
    return true;
}

/* Why the file cannot be said in the format, or NULL and its name of the words. */
static const char *fits(const struct kj_jval *root, const char **pre)
{
    const struct kj_jval *m = kj_jget(root, "model"),
                         *norm = kj_jget(root, "normalizer");
    if (!kj_str_is(kj_jstr(kj_jget(m, "type")), "BPE") ||
        kj_jbool(kj_jget(m, "byte_fallback"), false))
        return "it is no byte-level BPE";
    if (norm && norm->kind != KJ_J_NULL)
        return "it normalizes, which the format cannot say";
    *pre = pre_of(root);
    return *pre ? NULL : "the format has no name for how it cuts words";
}

static int put_all(const struct kj_parent *p, const struct kj_jval *root,
                   struct kj_buf *b, uint64_t *keys, const char **why)
{
    const char *pre = NULL;
    uint64_t n = (uint64_t)p->config.shape.vocab_size, before = b->n;
    *why = fits(root, &pre);
    if (*why)
        return KJ_OK;
    struct token *v = kj_xcalloc((size_t)n, sizeof *v);
    bool good = collect(root, v, n);
    kj_gguf_put_key(b, "tokenizer.ggml.model", KJ_GGUF_STR);
    kj_gguf_put_text(b, "gpt2", 4);
    kj_gguf_put_key(b, "tokenizer.ggml.pre", KJ_GGUF_STR);
    kj_gguf_put_text(b, pre, strlen(pre));
    if (good)
        put_tokens(b, v, n);
    good = good && put_merges(b, kj_jget(kj_jget(root, "model"), "merges"));
    *keys = 5;
    const int64_t ids[2] = {p->config.bos, p->config.eos};
    for (int i = 0; i < 2; i++)
        if (ids[i] >= 0) {
            kj_gguf_put_key(
                b, i ? "tokenizer.ggml.eos_token_id" : "tokenizer.ggml.bos_token_id",
                KJ_GGUF_U32);
            kj_gguf_put_le(b, (uint64_t)ids[i], 4);
            ++*keys;
        }
    free(v);
    if (!good) {
        b->n = (size_t)before;
        *keys = 0;
        *why = "its vocabulary or merges do not fit the model";
    }
    return KJ_OK;
}

int kj_gguf_put_tokenizer(const struct kj_parent *p, struct kj_buf *b, uint64_t *keys,
                          const char **why, struct kj_err *err)
{
    size_t n = strlen(p->dir) + 32;
    char *path = kj_xmalloc(n);
    int rc = KJ_OK;
    snprintf(path, n, "%s/tokenizer.json", p->dir);
    *keys = 0;
    *why = "there is no tokenizer.json";
    if (access(path, F_OK) == 0) {
        struct kj_json *j = kj_json_new();
        const struct kj_jval *root;
        rc = kj_json_load(j, path, FILE_MAX, &root, err);
        if (rc == KJ_OK)
            rc = put_all(p, root, b, keys, why);
        kj_json_free(j);
    }
    free(path);
    return rc;
}
