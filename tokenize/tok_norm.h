/* tok_norm.h - normalizers of tokenizer.json. */
#ifndef KJ_TOKENIZE_TOK_NORM_H
#define KJ_TOKENIZE_TOK_NORM_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/unicode.h"

struct kj_err;
struct kj_jval;

enum tok_norm_kind {
    TOK_NORM_FORM,
    TOK_NORM_LOWER,
    TOK_NORM_STRIP,
    TOK_NORM_ACCENTS,
    TOK_NORM_BERT,
    TOK_NORM_PREPEND,
    TOK_NORM_REPLACE,
    TOK_NORM_CHARSMAP,
    TOK_NORM_NMT
};

/* SentencePiece's map: a double-array trie and the texts that its values
 * point at, each ended by a zero byte. */
struct tok_charsmap {
    const uint32_t *units;
    size_t n_units;
    const char *text;
    size_t n_text;
};

struct tok_norm {
    enum tok_norm_kind kind;
    enum kj_nf form;
    bool clean, chinese, accents, lower; /* BERT: what it does */
    bool left, right;                    /* STRIP */
    struct kj_str from, to;              /* REPLACE, PREPEND (to) */
    void *re;                            /* REPLACE by a pattern: pcre2_code */
    struct tok_charsmap map;
};

#define TOK_NORMS_MAX 16
struct tok_norms {
    struct tok_norm v[TOK_NORMS_MAX];
    size_t n;
};

/* Read `normalizer`; KJ_FAIL with the path of what is not supported. Strings
 * go to the arena. */
int tok_norms_load(struct tok_norms *l, const struct kj_jval *v, struct kj_arena *a,
                   struct kj_err *err);
void tok_norms_release(struct tok_norms *l);
/* The same for one Replace, which is a decoder too. */
int tok_norm_replace(struct tok_norm *m, const struct kj_jval *v, const char *path,
                     struct kj_arena *a, struct kj_err *err);
void tok_norm_release(struct tok_norm *m);
/* Append what one normalizer makes of VALID UTF-8. KJ_OK, or KJ_BAD_RECORD at
 * out's cap or when a pattern gave up. */
int tok_norm_run(const struct tok_norm *m, struct kj_buf *out, const char *p, size_t n);
/* Whether the text is certainly left as it is. */
bool tok_norm_idle(const struct tok_norm *m, const char *p, size_t n);

/* ---- tok_reference.c: properties as the reference has them ---- */
bool tok_ref_mark(uint32_t c);
bool tok_ref_nonspacing(uint32_t c);
bool tok_ref_dropped(uint32_t c); /* by BERT's cleaning */
bool tok_ref_punct(uint32_t c);   /* ASCII signs too */
bool tok_ref_word(uint32_t c);    /* \w */
bool tok_ref_number(uint32_t c);
uint32_t tok_ref_lower(uint32_t c);
int tok_ref_normalize(struct kj_buf *b, enum kj_nf form, const char *p, size_t n);

/* ---- tok_charsmap.c ---- */
/* Decode base64 into the arena and check it. False: not a map. */
bool tok_charsmap_load(struct tok_charsmap *m, struct kj_str base64,
                       struct kj_arena *a);
int tok_charsmap_run(const struct tok_charsmap *m, struct kj_buf *out, const char *p,
                     size_t n);
/* Bytes of base64 (padding may miss), or NULL. */
char *tok_base64(struct kj_str s, struct kj_arena *a, size_t *n);

#endif
