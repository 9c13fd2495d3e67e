/* shards_write.h - a shard writer from the inside: what shards_open.c begins,
 * shards_write.c fills and shards_state.c saves. Inside of tokenize/. */
#ifndef KJ_TOKENIZE_SHARDS_WRITE_H
#define KJ_TOKENIZE_SHARDS_WRITE_H

#include "base/mem.h"
#include "tokenize/shards.h"
#include "tokenize/shards_file.h"

/* Triples of source, language and band counted by name in a shard; further ones are
 * counted as source "(other)". */
#define KJ_SHARD_COUNTS_MAX 4096

struct kj_shard_tally {
    char *source, *language, *band;
    uint64_t documents, tokens;
};

struct kj_shard_writer {
    const struct kj_tokenize *c;
    const char *tool, *band;
    double *cuts;
    size_t n_cuts;
    uint64_t shard_tokens;
    int64_t shuffle; /* -1: no */
    struct kj_sorter *sorter;
    char config_hash[40];
    struct kj_output *docs;
    struct kj_buf manifest, line, rest, ids, packed;
    size_t shard; /* number of the one being written, or the next */
    struct kj_shard_file file;
    int64_t docs_offset;
    uint64_t chain, sum; /* over its lines of the document index; its documents */
    char *first_id, *last_id;
    struct kj_shard_tally *tallies;
    size_t n_tallies, last_tally;
    struct kj_shard_totals totals;
    /* Restart: */
    const struct kj_shard_restart *restart; /* NULL: none */
    struct kj_shard_place at;               /* where the last saved state is */
    uint64_t damaged, input;                /* so far; bytes since the last state */
    bool saved;                             /* a state is there */
};

/* Free w, as it is. */
void kj_shard_writer_free(struct kj_shard_writer *w);
/* No tallies: they are a shard's. */
void kj_shard_tallies_forget(struct kj_shard_writer *w);
/* Remove that file from the folder. */
void kj_shard_forget(const struct kj_shard_writer *w, const char *name);

/* Save the state behind a batch. */
int kj_shard_state_save(struct kj_shard_writer *w, const struct kj_batch *b,
                        struct kj_err *err);
/* Take the state up again: the files are cut back to it and open. KJ_EOF when
 * there is none that fits; w may then be half filled. */
int kj_shard_state_load(struct kj_shard_writer *w);

#endif
