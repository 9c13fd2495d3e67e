/* tokenizer.h - tokenizers read from Hugging Face's tokenizer.json.
 *
 * The ids are those of Hugging Face's `tokenizers` for the same file and text.
 * Models: byte-level BPE (merges as pairs or as "a b" strings, ignore_merges); BPE
 * over characters (unk_token, fuse_unk, byte_fallback), which is what
 * SentencePiece's models are converted to (Llama 2, Mistral, Gemma); for encoders
 * WordPiece, and Unigram (byte_fallback). A BPE is byte-level when its pre-tokenizer
 * has ByteLevel. Normalizers: NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents,
 * BertNormalizer, Prepend, Replace, Precompiled, Nmt. Pre-tokenizers: Split (any
 * regular expression or string, all behaviours), Digits, Metaspace, Whitespace,
 * WhitespaceSplit, Punctuation, BertPreTokenizer; ByteLevel with BPE, alone or last.
 * Sequences of both; added tokens with all their flags. Post-processors, applied
 * only when asked for: TemplateProcessing, BertProcessing, RobertaProcessing.
 * Decoders: ByteLevel, WordPiece, Metaspace, Replace, ByteFallback, Fuse, Strip,
 * Sequence. Everything else in the file is refused by name and JSON path, never
 * approximated; a decoder when it is asked to decode.
 *
 * A name that ends in ".tiktoken" is a file of ranks (base64 and rank a line). Its
 * pattern and special tokens follow from how the name begins (gpt2, r50k_base,
 * p50k_base, cl100k_base, o200k_base), or are given; the ids are tiktoken's, which
 * leaves out text that the pattern does not match.
 *
 * The patterns of GPT-2, Llama 3 (= cl100k), Qwen 2/3, GPT-4o (o200k) and Mistral's
 * Tekken are scanned by hand, 64 bytes at a time; every other one by PCRE2 with
 * JIT. Words longer than KJ_TOK_WORD_MAX are refused (KJ_BAD_RECORD): merging is
 * O(n log n) in time, but not free in memory.
 *
 * Thread-safety: a struct kj_tok is read-only once loaded and is shared by
 * all threads; each thread has its own struct kj_tok_state, which holds a
 * cache of words of fixed size (10 MiB) and scratch memory.
 */
#ifndef KJ_TOKENIZE_TOKENIZER_H
#define KJ_TOKENIZE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_buf;
struct kj_err;
struct kj_tok;
struct kj_tok_state;

/* Largest word (pre-token), bytes. */
#define KJ_TOK_WORD_MAX ((size_t)16 << 20)
/* Largest tokenizer.json that is read, bytes; largest id. */
#define KJ_TOK_FILE_MAX ((size_t)256 << 20)
#define KJ_TOK_ID_MAX   ((1u << 20) - 2)

/* Ids that grow as needed; owned by the caller. */
struct kj_tok_ids {
    uint32_t *v;
    size_t n, cap;
};
void kj_tok_ids_release(struct kj_tok_ids *ids);

/* Load a file, or parse its text (`name` stands in messages). KJ_FAIL with
 * JSON path and reason. */
int kj_tok_load(struct kj_tok **out, const char *path, struct kj_err *err);
/* What a file of ranks does not say. */
struct kj_tok_ranks {
    const char *pattern; /* gpt2, llama3 (= cl100k), qwen2, o200k, tekken, or a regular
                            expression; NULL: by the name of the file */
    const char *const *special; /* "NAME=ID", beside those that the name tells, or in
                                   place of those of the same name */
    size_t n_special;
};
/* The same; KJ_USAGE when something is given and the file has no ranks. What is
 * given enters kj_tok_hash. r may be NULL. */
int kj_tok_load_ranks(struct kj_tok **out, const char *path,
                      const struct kj_tok_ranks *r, struct kj_err *err);
int kj_tok_parse(struct kj_tok **out, const char *p, size_t n, const char *name,
                 struct kj_err *err);
void kj_tok_free(struct kj_tok *t);

/* Largest id + 1. */
uint32_t kj_tok_vocab_size(const struct kj_tok *t);
/* Base name of the file, and "xxh128:HEX" of its bytes (and of kj_tok_ranks). */
const char *kj_tok_name(const struct kj_tok *t);
const char *kj_tok_hash(const struct kj_tok *t);
/* The id of an added token by its content, or -1. */
int64_t kj_tok_added_id(const struct kj_tok *t, const char *content);
/* The end-of-text id: that of `content`, or when NULL the first of the usual
 * names that the file has (<|end_of_text|>, <|endoftext|>, </s>, <eos>).
 * KJ_USAGE when there is none. */
int kj_tok_eos(const struct kj_tok *t, const char *content, uint32_t *id,
               struct kj_err *err);

struct kj_tok_state *kj_tok_state_new(const struct kj_tok *t);
void kj_tok_state_free(struct kj_tok_state *s);

enum kj_tok_flags {
    KJ_TOK_TEMPLATE = 1 << 0,  /* add the post-processor's special tokens */
    KJ_TOK_NO_SPECIAL = 1 << 1 /* special tokens written in text are plain text */
};

/* Append the ids of UTF-8 text. KJ_BAD_RECORD: text is not UTF-8 (position in
 * err->pos), a word is too long, or a pattern gave up; out is as before. */
int kj_tok_encode(const struct kj_tok *t, struct kj_tok_state *s, const char *p,
                  size_t n, unsigned flags, struct kj_tok_ids *out, struct kj_err *err);

/* Append the text of ids. Of a byte-level BPE these are the tokens' bytes, which
 * need not be whole characters; else what the file's decoder makes of the tokens,
 * which depends on their neighbours. KJ_FAIL when the decoder is not supported;
 * KJ_BAD_RECORD when an id is not in the vocabulary, or at the buffer's cap. */
int kj_tok_decode(const struct kj_tok *t, const uint32_t *ids, size_t n,
                  bool skip_special, struct kj_buf *out, struct kj_err *err);

#endif
