/* shards.h - reading token shards: manifest.jsonl with Megatron .bin/.idx, llm.c
 * .bin or datatrove .ds.
 *
 * Layout: docs/formats/shards.md. A shard set is a folder with manifest.jsonl
 * (one row per shard), the shards that it names, and docs.jsonl.zst (one line
 * per document). The set is seen as one run of tokens 0..tokens, and one run
 * of documents 0..documents, in the order of the manifest; each document ends
 * with its EOS token. The files are mapped, so a set may be larger than
 * memory, and opening costs one pass over each .idx.
 *
 * kj_shards_open believes nothing that it can check cheaply: sizes, headers,
 * lengths and pointers of each .idx against its .bin, counts against the
 * manifest, one tokenizer throughout. kj_shards_verify reads everything:
 * content hashes, token ids below the vocabulary, EOS at each document's end,
 * and the document index against the shards.
 *
 * Thread-safety: after open all functions but close may be called by many
 * threads at once.
 */
#ifndef KJ_BASE_SHARDS_H
#define KJ_BASE_SHARDS_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;

/* ---- one Megatron index, anywhere in memory ---- */

/* Megatron's dtype codes of which these two are token ids. */
enum kj_idx_dtype { KJ_IDX_INT32 = 4, KJ_IDX_UINT16 = 8 };

/* A view of validated index bytes. The arrays are not aligned. Of a list of
 * document ends (llm.c's and datatrove's shards) only ends is there. */
struct kj_idx {
    int dtype;                     /* enum kj_idx_dtype */
    unsigned width;                /* bytes per token: 2 or 4 */
    uint64_t sequences;            /* S */
    uint64_t documents;            /* stored document indices - 1 */
    uint64_t tokens;               /* sum of the lengths */
    const unsigned char *lengths;  /* i32[S] */
    const unsigned char *pointers; /* i64[S], byte positions in the .bin */
    const unsigned char *bounds;   /* i64[documents + 1], sequence numbers */
    const unsigned char *ends;     /* u64[documents], in tokens; NULL: Megatron's */
};

/* Validate index bytes against the size of their .bin. Every length, pointer
 * and bound is checked: sequences lie one behind the other and fill the .bin.
 * KJ_FAIL with the reason. The view borrows bytes. */
int kj_idx_parse(struct kj_idx *x, const void *bytes, size_t n, uint64_t bin_bytes,
                 struct kj_err *err);
/* Validate a list of document ends, u64 each, as datatrove's .ds.index: they do
 * not fall, and the last is the number of tokens. */
int kj_ends_parse(struct kj_idx *x, const void *bytes, size_t n, unsigned width,
                  uint64_t tokens, struct kj_err *err);
/* First token of document d (d == documents: the end), by the index. */
uint64_t kj_idx_doc_start(const struct kj_idx *x, uint64_t d);

/* llm.c's token file: 256 int32, of which the first are magic and version
 * (20240520 and 1: uint16; 20240801 and 7: uint32) and the number of tokens,
 * which is below 2^31; the others are 0. */
#define KJ_LLMC_HEAD 1024
void kj_llmc_head(unsigned char out[KJ_LLMC_HEAD], unsigned width, uint64_t tokens);
/* Validate a whole file's header against its size. KJ_FAIL with the reason. */
int kj_llmc_parse(const void *bytes, size_t n, unsigned *width, uint64_t *tokens,
                  struct kj_err *err);

/* ---- a set of shards ---- */

enum kj_shard_format { KJ_SHARD_MEGATRON, KJ_SHARD_LLMC, KJ_SHARD_DS };
extern const char *const kj_shard_formats[]; /* names, in that order */

/* Documents and tokens (EOS included) of one source, language and band. */
struct kj_shard_count {
    const char *source, *language, *band; /* "" when the documents name none */
    uint64_t documents, tokens;
};

/* One row of the manifest; strings live until kj_shards_close. */
struct kj_shard {
    int format;                    /* enum kj_shard_format */
    const char *path, *index;      /* names as in the manifest */
    const char *hash, *index_hash; /* "xxh128:HEX" of the whole files */
    const char *note, *note_hash;  /* datatrove's .metadata; NULL: none */
    const char *docs_hash;         /* of this shard's lines in docs.jsonl */
    uint64_t bytes, index_bytes, tokens, documents;
    uint64_t docs_offset;  /* stored offset in docs.jsonl.zst of its lines' frame */
    const char *dtype;     /* "uint16", "int32" (Megatron) or "uint32" */
    const char *tokenizer; /* name of the file */
    const char *tokenizer_hash;
    uint32_t eos, vocab_size;
    const char *first_id, *last_id; /* document ids */
    const char *tool, *config_hash;
    uint64_t documents_sum; /* kj_doc_checksum over its documents: its parent */
    struct kj_shard_count *counts;
    size_t n_counts;
    uint64_t first_token, first_document; /* numbers in the whole set */
    struct kj_idx idx;
    const unsigned char *bin; /* mapped; the first token */
};

struct kj_shards;

/* Open a set: a folder, or the path of its manifest.jsonl. KJ_FAIL. */
int kj_shards_open(struct kj_shards **out, const char *path, struct kj_err *err);
void kj_shards_close(struct kj_shards *s);

size_t kj_shards_count(const struct kj_shards *s);
const struct kj_shard *kj_shards_get(const struct kj_shards *s, size_t i);
uint64_t kj_shards_tokens(const struct kj_shards *s);
uint64_t kj_shards_documents(const struct kj_shards *s);
uint32_t kj_shards_vocab_size(const struct kj_shards *s);
uint32_t kj_shards_eos(const struct kj_shards *s);
/* Hash of the tokenizer.json with which all shards were made. */
const char *kj_shards_tokenizer_hash(const struct kj_shards *s);
/* Path of a file of the set by its name in the manifest; free it. */
char *kj_shards_path(const struct kj_shards *s, const char *name);

/* Copy tokens at..at+n of the whole set, across shards and documents; returns
 * how many there were (less than n only at the end of the set). */
size_t kj_shards_read(const struct kj_shards *s, uint64_t at, uint32_t *out, size_t n);
/* First token of document d; d == documents gives the number of tokens. */
uint64_t kj_shards_doc_start(const struct kj_shards *s, uint64_t d);
/* The document that holds a token (which must be below the count). */
uint64_t kj_shards_doc_at(const struct kj_shards *s, uint64_t token);

/* Read everything and compare (see above). KJ_FAIL names the first mismatch
 * with its file. */
int kj_shards_verify(const struct kj_shards *s, struct kj_err *err);

#endif
