/* trace.h - from a token to its document and archive record, and back.
 *
 * A place is a path and a number: a shard's file (the token's number in it), a
 * set of shards (in the whole set), or an order (in the order; then the document
 * is that of the entry). The way back goes through the document index of a set,
 * or of all sets of an order. docs/formats/shards.md has the layouts.
 *
 * A token costs opening the set and reading the lines of one shard; an id costs
 * reading the whole index.
 */
#ifndef KJ_MANIFESTS_TRACE_H
#define KJ_MANIFESTS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_jval;

/* A document that was found. All is borrowed and valid during the call. */
struct kj_trace {
    const char *shard;      /* path of the shard's file */
    uint64_t number;        /* of the document in the shard */
    uint64_t first, tokens; /* its place there; EOS counts */
    bool by_token;
    uint64_t token;            /* number in the shard */
    struct kj_str line;        /* its line of the document index */
    const struct kj_jval *doc; /* the same, read */
};

typedef int kj_trace_fn(void *ctx, const struct kj_trace *t, struct kj_err *err);

/* where: "shards/shard-00000.bin:1234", "shards/:5678", "order/:9". KJ_USAGE when
 * it is none of these, KJ_FAIL when the token is not there, or the index does
 * not describe its document. */
int kj_trace_token(const char *where, kj_trace_fn *fn, void *ctx, struct kj_err *err);
/* Every document of that id; *found is their number. */
int kj_trace_doc(const char *path, const char *id, kj_trace_fn *fn, void *ctx,
                 uint64_t *found, struct kj_err *err);

#endif
