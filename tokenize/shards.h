/* shards.h - documents to token shards: the stage that encodes, and the sink
 * that writes them with manifest and document index.
 *
 * kj_stage_tokenize gives each kept document its ids (struct kj_tok_doc in
 * doc->aux, in the batch's arena, for the sink behind it) and token_count,
 * without EOS. Documents without text are dropped (tokenize.empty); what
 * cannot be encoded is damage (tokenize.word).
 *
 * The writer takes kept documents in order, appends EOS to each, and begins a
 * new shard before the document that would pass shard_tokens; a document is
 * never cut, so a shard may hold one document that is longer. The bytes depend
 * on documents, tokenizer and options alone. Layout: docs/formats/shards.md.
 * With shuffle they are written by XXH64(id, seed), equal ids in the order in
 * which they came: the same order however the corpus was cut into files. They
 * wait in a base/sorter.h until commit, so memory stays bounded.
 * The reader is base/shards.h.
 *
 * With a struct kj_shard_restart the writer saves its state at some batches, and a
 * writer that is opened alike takes the newest up again, also after a kill: the
 * caller then gives it the documents from that place on, and the bytes are those
 * of a run that was never interrupted. Not with shuffle.
 */
#ifndef KJ_TOKENIZE_SHARDS_H
#define KJ_TOKENIZE_SHARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/flow.h"
#include "base/stage.h"
#include "tokenize/tokenizer.h"

/* doc->aux behind the stage. */
struct kj_tok_doc {
    const uint32_t *ids;
    size_t n;
};

/* Configuration of the stage. */
struct kj_tokenize {
    const char *tokenizer;  /* path of tokenizer.json */
    const char *eos;        /* content of the end-of-text token; NULL: by name */
    bool no_special;        /* special tokens written in text are plain text */
    const char *pattern;    /* of a .tiktoken file; NULL: by its name */
    struct kj_strs special; /* NAME=ID of such */
    /* set by callers, not by options: */
    bool use_template; /* add the post-processor's special tokens */
    bool keep_empty;   /* documents without text are kept, with no ids */
    /* set by open: */
    struct kj_tok *tok;
    uint32_t eos_id;
};
extern const struct kj_opt kj_tokenize_opts[];
/* The same but for pattern and special, for a command that has such already. */
extern const struct kj_opt kj_tokenize_core_opts[];
/* Load cfg->tokenizer with pattern and special. */
int kj_tokenize_load(struct kj_tokenize *cfg, struct kj_err *err);
extern const struct kj_stage kj_stage_tokenize;

/* Where a saved state stands in the input: next, next_at and next_doc are those of
 * the batch behind which it was saved (base/doc.h). */
struct kj_shard_place {
    struct kj_pos next;
    int64_t next_at;
    uint64_t next_doc;
    uint64_t damaged; /* documents up to there */
    uint64_t number;  /* of the state */
    char name[40];    /* its file in the folder */
};

struct kj_shard_restart {
    const char *identity; /* what the documents depend on, to be equal */
    int64_t every;        /* bytes of documents between states */
    /* For callers with books of their own, which say what state holds: its name, or
     * "" for none (NULL: the newest), and whom to tell of a new one. The one before
     * is removed when saved() is back; the last stays behind commit. May be NULL. */
    const char *from;
    int (*saved)(void *ctx, const struct kj_shard_place *at, struct kj_err *err);
    void *ctx;
};

/* Options of the writer. */
struct kj_shard_opts {
    int64_t shard_tokens; /* most tokens in a shard, EOS included */
    int format;           /* enum kj_shard_format */
    int64_t shuffle;      /* seed of the order of documents; -1: as they come */
    const char *band;     /* field with the quality band; NULL: none */
    struct kj_strs band_cuts;
    /* set by callers, not by options: */
    int64_t memory;                         /* of the shuffle; 0: 256 MiB */
    const struct kj_shard_restart *restart; /* NULL: none; borrowed */
};
extern const struct kj_opt kj_shard_opts_table[];

/* What was written. */
struct kj_shard_totals {
    uint64_t shards, documents, tokens;
};

struct kj_shard_writer;

/* Begin a set in the folder dir, which is made if it is not there, for the
 * documents that the open stage c encodes. KJ_USAGE when the folder holds a
 * manifest and force is not set. Shards without a manifest are what a killed
 * run left, and are removed. tool is "kijil 0.1.0". c and the strings are
 * borrowed until commit or abort. */
int kj_shard_writer_open(struct kj_shard_writer **out, const struct kj_tokenize *c,
                         const struct kj_shard_opts *o, const char *dir,
                         const char *tool, bool force, struct kj_err *err);
/* Whether it took a state up, and where the input goes on. */
bool kj_shard_writer_resumed(const struct kj_shard_writer *w,
                             struct kj_shard_place *at);
/* The sink of a flow whose last stage is kj_stage_tokenize. */
struct kj_sink kj_shard_writer_sink(struct kj_shard_writer *w);
/* One document, outside of a flow. */
int kj_shard_writer_add(struct kj_shard_writer *w, const struct kj_doc *d,
                        const uint32_t *ids, size_t n, struct kj_err *err);
/* Finish the last shard and the document index, then write the manifest: its
 * presence says that the set is whole. Frees w in every case; on failure
 * nothing of it stays behind. KJ_FAIL also when there was no document. */
int kj_shard_writer_commit(struct kj_shard_writer *w, struct kj_shard_totals *t,
                           struct kj_err *err);
/* Remove a folder's states: all but the one in `keep`, or all (NULL). */
void kj_shard_states_forget(const char *dir, const char *keep);
/* Remove what was written, or with a saved state leave it to a later writer; frees
 * w. NULL is fine. */
void kj_shard_writer_abort(struct kj_shard_writer *w);

#endif
