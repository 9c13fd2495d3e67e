/* tok_load.c - tokenizer.json to a model, refusing what is not understood.
 *
 * Every refusal names the JSON path. Keys that change ids must be known; keys
 * that do not (trim_offsets and the like) are not looked at.
 */
#include "tokenize/tok_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/utf8.h"

bool tok_absent(const struct kj_jval *v)
{
    return !v || v->kind == KJ_J_NULL;
}

/* KJ_OK when key is absent or null. */
static int want_null(const struct kj_jval *o, const char *key, struct kj_err *err)
{
    if (tok_absent(kj_jget(o, key)))
        return KJ_OK;
    REFUSE("%s: only null is supported", key);
}

int tok_want_bool(const struct kj_jval *o, const char *path, const char *key,
                  bool other, bool *out, struct kj_err *err)
{
    const struct kj_jval *v = kj_jget(o, key);
    *out = other;
    if (tok_absent(v))
        return KJ_OK;
    if (v->kind != KJ_J_BOOL)
        REFUSE("%s.%s: not true or false", path, key);
    *out = v->b;
    return KJ_OK;
}

int tok_type_of(const struct kj_jval *v, const char *path, struct kj_str *type,
                struct kj_err *err)
{
    if (v->kind != KJ_J_OBJECT)
        REFUSE("%s: not an object", path);
    *type = kj_jstr(kj_jget(v, "type"));
    if (!type->p)
        REFUSE("%s.type: missing", path);
    return KJ_OK;
}

int tok_unsupported(struct kj_str type, const char *path, struct kj_err *err)
{
    REFUSE("%s.type: \"%.*s\" is not supported", path, (int)(type.n < 80 ? type.n : 80),
           type.p);
}

static int items_of(const struct kj_jval *v, const char *path, const char *key,
                    const struct kj_jval **list, struct kj_err *err)
{
    *list = kj_jget(v, key);
    if (!*list || (*list)->kind != KJ_J_ARRAY)
        REFUSE("%s.%s: not an array", path, key);
    return KJ_OK;
}

/* ---- pre-tokenizer ---- */

static int load_behavior(struct tok_step *st, const struct kj_jval *v, const char *path,
                         struct kj_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous",
                                        "MergedWithPrevious", "MergedWithNext"};
    struct kj_str behavior = kj_jstr(kj_jget(v, "behavior"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (kj_str_is(behavior, names[i])) {
            st->behavior = (enum tok_behavior)i;
            return KJ_OK;
        }
    REFUSE("%s.behavior: \"%.*s\" is not supported", path,
           (int)(behavior.n < 80 ? behavior.n : 80), behavior.p ? behavior.p : "");
}

static int load_split(struct kj_tok *t, struct tok_step *st, const struct kj_jval *v,
                      const char *path, struct kj_err *err)
{
    const struct kj_jval *pat = kj_jget(v, "pattern");
    struct kj_str re = kj_jstr(kj_jget(pat, "Regex"));
    struct kj_str z = kj_jstr(kj_jget(pat, "String"));
    st->kind = TOK_STEP_SPLIT;
    int rc = tok_want_bool(v, path, "invert", false, &st->invert, err);
    if (rc == KJ_OK)
        rc = load_behavior(st, v, path, err);
    if (rc != KJ_OK)
        return rc;
    if (!re.p && !z.p)
        REFUSE("%s.pattern: neither Regex nor String", path);
    if (re.p)
        return tok_pattern_compile(st, TOK_ONIGURUMA, re.p, re.n, path, err);
    st->literal = (struct kj_str){kj_arena_dup(&t->arena, z.p, z.n), z.n};
    return KJ_OK;
}

/* Where the text begins must be known behind the normalizers, or "first" cannot
 * be told as the reference tells it. */
static bool keeps_start(const struct tok_norms *l)
{
    bool yes = true;
    for (size_t i = 0; i < l->n; i++)
        yes &= l->v[i].kind == TOK_NORM_FORM || l->v[i].kind == TOK_NORM_LOWER;
    return yes;
}

static int load_metaspace(struct kj_tok *t, struct tok_step *st,
                          const struct kj_jval *v, const char *path, struct kj_err *err)
{
    static const char *const schemes[] = {"never", "first", "always"};
    const struct kj_jval *scheme = kj_jget(v, "prepend_scheme");
    struct kj_str sign = kj_jstr(kj_jget(v, "replacement")), z = kj_jstr(scheme);
    bool add;
    size_t len = 0, i = 0;
    st->kind = TOK_STEP_META;
    st->behavior = TOK_WITH_NEXT;
    int rc = tok_want_bool(v, path, "add_prefix_space", true, &add, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "split", true, &st->split, err);
    if (rc != KJ_OK)
        return rc;
    if (sign.n)
        kj_utf8_next(sign.p, sign.n, &len);
    if (!sign.n || len != sign.n)
        REFUSE("%s.replacement: not one character", path);
    st->sign = (struct kj_str){kj_arena_dup(&t->arena, sign.p, sign.n), sign.n};
    if (tok_absent(scheme))
        z = add ? KJ_STR("always") : KJ_STR("never");
    while (i < 3 && !kj_str_is(z, schemes[i]))
        i++;
    if (i == 3)
        REFUSE("%s.prepend_scheme: \"%.*s\" is not supported", path,
               (int)(z.n < 80 ? z.n : 80), z.p ? z.p : "");
    st->first = (enum tok_first)i;
    if (st->first == TOK_FIRST_START && !keeps_start(&t->norms))
        REFUSE("%s.prepend_scheme: \"first\" behind such normalizers is not supported",
               path);
    return KJ_OK;
}

static int load_pre(struct kj_tok *t, const struct kj_jval *v, const char *path,
                    unsigned depth, bool *bytes, struct kj_err *err)
{
    struct kj_str type;
    if (tok_absent(v))
        return KJ_OK;
    int rc = tok_type_of(v, path, &type, err);
    if (rc != KJ_OK)
        return rc;
    if (kj_str_is(type, "Sequence")) {
        const struct kj_jval *list;
        char sub[256];
        rc = items_of(v, path, "pretokenizers", &list, err);
        if (rc == KJ_OK && depth > 3)
            REFUSE("%s: nested too deep", path);
        for (size_t i = 0; rc == KJ_OK && i < list->n; i++) {
            snprintf(sub, sizeof sub, "%s.pretokenizers[%zu]", path, i);
            rc = load_pre(t, &list->items[i], sub, depth + 1, bytes, err);
        }
        return rc;
    }
    if (*bytes)
        REFUSE("%s: a step behind ByteLevel is not supported", path);
    if (t->pre.n_steps == TOK_STEPS_MAX)
        REFUSE("%s: more than %d steps", path, TOK_STEPS_MAX);
    struct tok_step *st = &t->pre.steps[t->pre.n_steps];
    memset(st, 0, sizeof *st);
    if (kj_str_is(type, "Split")) {
        rc = load_split(t, st, v, path, err);
    } else if (kj_str_is(type, "Digits")) {
        st->kind = TOK_STEP_DIGITS;
        rc = tok_want_bool(v, path, "individual_digits", false, &st->individual, err);
        st->behavior = TOK_ISOLATED;
    } else if (kj_str_is(type, "ByteLevel")) {
        bool regex = true;
        st->kind = TOK_STEP_BYTES;
        rc = tok_want_bool(v, path, "add_prefix_space", true, &st->prefix_space, err);
        if (rc == KJ_OK)
            rc = tok_want_bool(v, path, "use_regex", true, &regex, err);
        st->scan = regex ? TOK_SCAN_GPT2 : TOK_SCAN_NONE;
        *bytes = true;
    } else if (kj_str_is(type, "Metaspace")) {
        rc = load_metaspace(t, st, v, path, err);
    } else if (kj_str_is(type, "WhitespaceSplit")) {
        st->kind = TOK_STEP_SPACE;
        st->behavior = TOK_REMOVED;
    } else if (kj_str_is(type, "Whitespace")) {
        st->kind = TOK_STEP_WORDS;
        st->behavior = TOK_REMOVED;
        st->invert = true;
    } else if (kj_str_is(type, "Punctuation")) {
        st->kind = TOK_STEP_PUNCT;
        st->behavior = TOK_ISOLATED;
        if (kj_jget(v, "behavior"))
            rc = load_behavior(st, v, path, err);
    } else if (kj_str_is(type, "BertPreTokenizer")) {
        if (t->pre.n_steps + 1 == TOK_STEPS_MAX)
            REFUSE("%s: more than %d steps", path, TOK_STEPS_MAX);
        st->kind = TOK_STEP_SPACE;
        st->behavior = TOK_REMOVED;
        st[1] = (struct tok_step){.kind = TOK_STEP_PUNCT, .behavior = TOK_ISOLATED};
        t->pre.n_steps++;
    } else {
        return tok_unsupported(type, path, err);
    }
    if (rc == KJ_OK)
        t->pre.n_steps++;
    return rc;
}

/* ---- added tokens ---- */

static int normalized_content(const struct kj_tok *t, struct kj_str *s,
                              struct kj_arena *a, struct kj_err *err)
{
    struct kj_buf b;
    int rc = KJ_OK;
    kj_buf_init(&b, (size_t)64 * TOK_TOKEN_MAX);
    for (size_t i = 0; i < t->norms.n && rc == KJ_OK; i++) {
        kj_buf_reset(&b);
        rc = tok_norm_run(&t->norms.v[i], &b, s->p, s->n);
        if (rc == KJ_OK)
            *s = (struct kj_str){kj_arena_dup(a, b.p, b.n), b.n};
    }
    kj_buf_release(&b);
    return rc == KJ_OK ? rc
                       : kj_err_set(err, KJ_FAIL, "added_tokens: content too long");
}

static int load_added_one(struct kj_tok *t, const struct kj_jval *v, size_t i,
                          struct kj_err *err)
{
    struct tok_added *a = &t->added[i];
    struct kj_str content = kj_jstr(kj_jget(v, "content"));
    char path[64];
    snprintf(path, sizeof path, "added_tokens[%zu]", i);
    a->id = (uint32_t)kj_jint(kj_jget(v, "id"), 0);
    a->content =
        (struct kj_str){kj_arena_dup(&t->arena, content.p, content.n), content.n};
    int rc = tok_want_bool(v, path, "single_word", false, &a->single_word, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "lstrip", false, &a->lstrip, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "rstrip", false, &a->rstrip, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "special", false, &a->special, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "normalized", !a->special, &a->normalized, err);
    if (rc != KJ_OK)
        return rc;
    if (t->flags[a->id] & TOK_ADDED)
        REFUSE("%s.id: %u stands there twice", path, a->id);
    const struct tok_bytes *w = &t->ids[a->id];
    char bytes[TOK_TOKEN_MAX];
    size_t n;
    if (w->len &&
        !(w->len == content.n && memcmp(t->blob + w->off, content.p, content.n) == 0) &&
        !(tok_unmap(content.p, content.n, bytes, &n) && n == w->len &&
          memcmp(t->blob + w->off, bytes, n) == 0))
        REFUSE("%s.id: %u is another token in model.vocab", path, a->id);
    if (!w->len && content.n)
        tok_blob_add(t, a->id, content.p, content.n);
    t->flags[a->id] = (unsigned char)(TOK_ADDED | (a->special ? TOK_SPECIAL : 0));
    struct kj_str s = a->content;
    if (a->normalized)
        rc = normalized_content(t, &s, &t->arena, err);
    if (rc == KJ_OK &&
        !tok_trie_add(a->normalized ? &t->normal : &t->raw, s, (uint32_t)i))
        REFUSE("%s.content: stands there twice", path);
    return rc;
}

static int load_added(struct kj_tok *t, const struct kj_jval *list, struct kj_err *err)
{
    if (tok_absent(list))
        return KJ_OK;
    if (list->kind != KJ_J_ARRAY)
        REFUSE("added_tokens: not an array");
    if (list->n > 65536)
        REFUSE("added_tokens: more than 65536");
    t->added = kj_xcalloc(list->n + 1, sizeof *t->added);
    for (size_t i = 0; i < list->n; i++) {
        int rc = load_added_one(t, &list->items[i], i, err);
        if (rc != KJ_OK)
            return rc;
        t->n_added = i + 1;
    }
    return KJ_OK;
}

/* ---- post-processor ---- */

static void refuse_template(struct kj_tok *t, const char *why, struct kj_str what)
{
    if (!t->template_refused)
        t->template_refused =
            kj_arena_printf(&t->arena, "%s \"%.*s\"", why,
                            (int)(what.n < 80 ? what.n : 80), what.p ? what.p : "");
}

/* TemplateProcessing.single: special tokens before and behind $A. What cannot
 * be applied is remembered, and refused when the template is asked for. */
static void load_template(struct kj_tok *t, const struct kj_jval *v)
{
    const struct kj_jval *single = kj_jget(v, "single");
    const struct kj_jval *map = kj_jget(v, "special_tokens");
    bool text = false;
    if (!single || single->kind != KJ_J_ARRAY || t->head || t->tail) {
        refuse_template(t, "post_processor: cannot apply",
                        KJ_STR("TemplateProcessing"));
        return;
    }
    for (size_t i = 0; i < single->n; i++) {
        if (kj_jget(&single->items[i], "Sequence")) {
            text = true;
            continue;
        }
        struct kj_str name =
            kj_jstr(kj_jget(kj_jget(&single->items[i], "SpecialToken"), "id"));
        const struct kj_jval *ids = NULL;
        for (size_t k = 0; map && map->kind == KJ_J_OBJECT && k < map->n; k++)
            if (kj_str_eq(map->keys[k], name))
                ids = kj_jget(&map->items[k], "ids");
        if (!name.p || !ids || ids->kind != KJ_J_ARRAY) {
            refuse_template(t, "post_processor.single: unknown token", name);
            return;
        }
        uint32_t **out = text ? &t->tail : &t->head;
        size_t *n = text ? &t->n_tail : &t->n_head;
        *out = kj_xrealloc(*out, (*n + ids->n + 1) * sizeof **out);
        for (size_t k = 0; k < ids->n; k++) {
            int64_t id = kj_jint(&ids->items[k], -1);
            if (id < 0 || id >= t->n_ids)
                refuse_template(t, "post_processor.special_tokens: bad id of", name);
            else
                (*out)[(*n)++] = (uint32_t)id;
        }
    }
}

/* BertProcessing, RobertaProcessing: one token in front, one behind. */
static void load_pair(struct kj_tok *t, const struct kj_jval *v)
{
    static const char *const keys[] = {"cls", "sep"};
    for (size_t i = 0; i < 2; i++) {
        const struct kj_jval *pair = kj_jget(v, keys[i]);
        int64_t id = -1;
        if (pair && pair->kind == KJ_J_ARRAY && pair->n == 2)
            id = kj_jint(&pair->items[1], -1);
        uint32_t **out = i ? &t->tail : &t->head;
        if (id < 0 || id >= t->n_ids || *out) {
            refuse_template(t, "post_processor: no token", (struct kj_str){keys[i], 3});
            return;
        }
        *out = kj_xmalloc(sizeof **out);
        **out = (uint32_t)id;
    }
    t->n_head = t->n_tail = 1;
}

static void load_post(struct kj_tok *t, const struct kj_jval *v, unsigned depth)
{
    if (tok_absent(v))
        return;
    struct kj_str type = kj_jstr(kj_jget(v, "type"));
    const struct kj_jval *list = kj_jget(v, "processors");
    if (kj_str_is(type, "Sequence") && list && list->kind == KJ_J_ARRAY && depth < 4) {
        for (size_t i = 0; i < list->n; i++)
            load_post(t, &list->items[i], depth + 1);
    } else if (kj_str_is(type, "TemplateProcessing")) {
        load_template(t, v);
    } else if (kj_str_is(type, "BertProcessing") ||
               kj_str_is(type, "RobertaProcessing")) {
        load_pair(t, v);
    } else if (!kj_str_is(type, "ByteLevel")) {
        refuse_template(t, "post_processor: not supported:", type);
    }
}

static int load(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err)
{
    bool bytes = false;
    if (root->kind != KJ_J_OBJECT)
        REFUSE("not an object");
    int rc = want_null(root, "truncation", err);
    if (rc == KJ_OK)
        rc = want_null(root, "padding", err);
    if (rc == KJ_OK)
        rc = tok_model_kind(t, root, err);
    if (rc == KJ_OK)
        rc = tok_norms_load(&t->norms, kj_jget(root, "normalizer"), &t->arena, err);
    if (rc == KJ_OK)
        rc = load_pre(t, kj_jget(root, "pre_tokenizer"), "pre_tokenizer", 0, &bytes,
                      err);
    if (rc == KJ_OK && bytes && t->kind != TOK_BPE)
        REFUSE("pre_tokenizer: ByteLevel: not with this model");
    t->by_chars = t->kind == TOK_BPE && !bytes;
    if (rc == KJ_OK)
        rc = tok_decoder_load(t, kj_jget(root, "decoder"), err);
    if (rc == KJ_OK)
        rc = tok_load_model(t, root, err);
    if (rc == KJ_OK)
        rc = load_added(t, kj_jget(root, "added_tokens"), err);
    if (rc == KJ_OK)
        load_post(t, kj_jget(root, "post_processor"), 0);
    return rc;
}

/* "xxh128:HEX" of the file, and of what was given beside it. */
static void hash_of(char *out, size_t size, const char *p, size_t n,
                    const struct kj_tok_ranks *r)
{
    char hex[33];
    struct kj_hash128 h = kj_hash128(p, n);
    if (r && (r->pattern || r->n_special)) {
        struct kj_buf b;
        kj_buf_init(&b, (size_t)1 << 30);
        kj_hash128_hex(h, hex);
        kj_buf_printf(&b, "%s\n%s\n", hex, r->pattern ? r->pattern : "");
        for (size_t i = 0; i < r->n_special; i++)
            kj_buf_printf(&b, "%s\n", r->special[i]);
        h = kj_hash128(b.p, b.n);
        kj_buf_release(&b);
    }
    kj_hash128_hex(h, hex);
    snprintf(out, size, "xxh128:%s", hex);
}

static int parse(struct kj_tok **out, const char *p, size_t n, const char *name,
                 const struct kj_tok_ranks *given, struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    struct kj_tok *t = kj_xcalloc(1, sizeof *t);
    tok_scan_init();
    kj_arena_init(&t->arena, (size_t)1 << 30);
    const char *base = strrchr(name, '/');
    t->name = kj_xstrdup(base ? base + 1 : name);
    hash_of(t->hash, sizeof t->hash, p, n, given);
    int rc = KJ_OK;
    if (tok_tiktoken_is(t->name))
        rc = tok_tiktoken_load(t, p, n, given, err);
    else if ((rc = kj_json_parse(j, p, n, &root, err)) == KJ_OK)
        rc = load(t, root, err);
    kj_json_free(j);
    if (rc != KJ_OK) {
        if (err)
            err->rc = KJ_FAIL;
        kj_err_where(err, name, -1);
        kj_tok_free(t);
        return KJ_FAIL;
    }
    *out = t;
    return KJ_OK;
}

int kj_tok_parse(struct kj_tok **out, const char *p, size_t n, const char *name,
                 struct kj_err *err)
{
    return parse(out, p, n, name, NULL, err);
}

int kj_tok_load_ranks(struct kj_tok **out, const char *path,
                      const struct kj_tok_ranks *r, struct kj_err *err)
{
    struct kj_buf b;
    if (r && (r->pattern || r->n_special) && !tok_tiktoken_is(path))
        return kj_err_set(err, KJ_USAGE,
                          "%s: a pattern and special tokens can be given for .tiktoken "
                          "files; a tokenizer.json has its own",
                          path);
    kj_buf_init(&b, KJ_TOK_FILE_MAX);
    int rc = kj_input_slurp(path, &b, err);
    if (rc == KJ_OK)
        rc = parse(out, b.p, b.n, path, r, err);
    kj_buf_release(&b);
    return rc;
}

int kj_tok_load(struct kj_tok **out, const char *path, struct kj_err *err)
{
    return kj_tok_load_ranks(out, path, NULL, err);
}

void kj_tok_free(struct kj_tok *t)
{
    if (!t)
        return;
    tok_pre_release(&t->pre);
    tok_norms_release(&t->norms);
    tok_decoder_release(&t->decoder);
    tok_pieces_free(t->pieces);
    tok_trie_release(&t->raw);
    tok_trie_release(&t->normal);
    free(t->name);
    free(t->ids);
    free(t->blob);
    free(t->flags);
    tok_words_free(t);
    tok_pairs_free(t);
    free(t->byte_ranks);
    free(t->chars);
    free(t->side);
    free(t->alone);
    free(t->added);
    free(t->head);
    free(t->tail);
    kj_arena_release(&t->arena);
    free(t);
}
