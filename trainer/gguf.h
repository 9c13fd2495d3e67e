/* gguf.h - GGUF, version 3: the file in which llama.cpp and its kin keep a model
 * with its tokenizer.
 *
 * Format (github.com/ggml-org/ggml, docs/gguf.md), little-endian: "GGUF", u32
 * version, u64 tensors, u64 keys; keys as string, u32 type, value; for each tensor
 * its name, u32 rank, u64 lengths (the innermost first), u32 type, u64 offset;
 * padding to general.alignment (32 when not given); the data, each tensor at
 * a multiple of that.
 *
 * The reader refuses what contradicts itself: double names, tensors that overlap
 * or leave the file, unknown types, arrays of arrays. Files are mapped.
 *
 * Thread-safety: an open file is read-only and may be shared.
 */
#ifndef KJ_TRAINER_GGUF_H
#define KJ_TRAINER_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "trainer/derive.h"

struct kj_err;
struct kj_gguf;

enum kj_gguf_kind {
    KJ_GGUF_U8,
    KJ_GGUF_I8,
    KJ_GGUF_U16,
    KJ_GGUF_I16,
    KJ_GGUF_U32,
    KJ_GGUF_I32,
    KJ_GGUF_F32,
    KJ_GGUF_BOOL,
    KJ_GGUF_STR,
    KJ_GGUF_ARRAY,
    KJ_GGUF_U64,
    KJ_GGUF_I64,
    KJ_GGUF_F64
};

struct kj_gguf_value {
    struct kj_str key;
    enum kj_gguf_kind kind, item; /* item: of an array */
    uint64_t count;               /* of an array */
    const unsigned char *p;       /* the value, the array's first item */
    size_t n;                     /* its bytes */
};

enum kj_gguf_type { KJ_GGUF_F32_T = 0, KJ_GGUF_F16_T = 1, KJ_GGUF_BF16_T = 30 };

struct kj_gguf_tensor {
    struct kj_str name;
    uint32_t type; /* enum kj_gguf_type, or one of the quantized ones */
    unsigned rank;
    uint64_t dims[4]; /* the innermost first */
    uint64_t elements, bytes;
    const unsigned char *p; /* not aligned */
};

int kj_gguf_open(struct kj_gguf **out, const char *path, struct kj_err *err);
/* The same over bytes that outlive it; `name` stands in messages. */
int kj_gguf_parse(struct kj_gguf **out, const void *p, size_t n, const char *name,
                  struct kj_err *err);
void kj_gguf_close(struct kj_gguf *g);
size_t kj_gguf_tensors(const struct kj_gguf *g);
const struct kj_gguf_tensor *kj_gguf_tensor(const struct kj_gguf *g, size_t i);
const struct kj_gguf_tensor *kj_gguf_find(const struct kj_gguf *g, const char *name);
const struct kj_gguf_value *kj_gguf_value(const struct kj_gguf *g, const char *key);
/* A whole number, or `fallback` where the key is missing or something else. */
int64_t kj_gguf_int(const struct kj_gguf *g, const char *key, int64_t fallback);
double kj_gguf_real(const struct kj_gguf *g, const char *key, double fallback);
/* The text of a key; p NULL when there is none. */
struct kj_str kj_gguf_text(const struct kj_gguf *g, const char *key);
/* The next text of an array of them: start with *at = 0. false behind the last. */
bool kj_gguf_next_text(const struct kj_gguf_value *v, size_t *at, struct kj_str *out);
/* Elements at..at+n as float32; F32, F16 and BF16, else KJ_FAIL. */
int kj_gguf_floats(const struct kj_gguf_tensor *t, uint64_t at, float *out, size_t n,
                   struct kj_err *err);

/* Is it a whole Llama? Its shape from the keys; every tensor there, of the right
 * lengths, finite where it is not quantized, and no other; the tokenizer's lists
 * as long as the vocabulary, its merges made of its tokens. KJ_FAIL names the
 * fault. */
int kj_gguf_check(const struct kj_gguf *g, struct kj_shape *s, struct kj_err *err);

/* Write a model. Matrices as F32 or F16 (KJ_FAIL when a value does not fit that),
 * norms F32, q and k with the rotary pairs side by side, as the format wants
 * them. With a byte-level BPE in its tokenizer.json whose pattern the format has
 * a name for (Llama 3, Qwen 2, GPT-2), the tokenizer goes along; else *why tells
 * why not (static text; NULL when it went along). The file appears whole. */
int kj_gguf_write(const struct kj_parent *p, const char *path, bool f16,
                  const char **why, struct kj_err *err);

/* For kj_gguf_write: keys of the tokenizer at the end of b, and how many. */
int kj_gguf_put_tokenizer(const struct kj_parent *p, struct kj_buf *b, uint64_t *keys,
                          const char **why, struct kj_err *err);
/* A key with its kind, and a text with its length. */
void kj_gguf_put_key(struct kj_buf *b, const char *key, enum kj_gguf_kind kind);
void kj_gguf_put_text(struct kj_buf *b, const char *p, size_t n);
void kj_gguf_put_le(struct kj_buf *b, uint64_t v, unsigned bytes);

#endif
