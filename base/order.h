/* order.h - reading an order: which documents of which shards a model is
 * trained on, how often, and one behind the other.
 *
 * Layout: docs/formats/shards.md, "Orders". An order is a folder with order.json
 * (the sets of shards that it is over, its parts, hashes) and order.bin (one
 * entry of 16 bytes per document taken). It copies no token. It is seen as one
 * run of tokens, like a set of shards (base/shards.h), in which a document may
 * stand more than once. Both files are small against the shards; order.bin is
 * mapped.
 *
 * Opening compares each manifest with the hash that the order has of it, all
 * sets with one tokenizer, and every entry with the number of documents;
 * kj_order_verify also reads order.bin's hash and each entry's length.
 *
 * Thread-safety: after open all functions but close may be called by many
 * threads at once.
 */
#ifndef KJ_BASE_ORDER_H
#define KJ_BASE_ORDER_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_shards;

#define KJ_ORDER_MAGIC  "KJORDER1" /* 8 bytes, then u64 entries, then the entries */
#define KJ_ORDER_HEAD   16
#define KJ_ORDER_PART   48 /* bits of an entry's second word below the part */
#define KJ_ORDER_PARTS  0xffffu
#define KJ_ORDER_DOC(w) ((w) & ((UINT64_C(1) << KJ_ORDER_PART) - 1))

/* order.json ends so: XXH64 of all before it. */
#define KJ_ORDER_TAIL   ",\n\"hash\":\"xxh64:%016" PRIx64 "\"}\n"
#define KJ_ORDER_TAIL_N 35

/* One part of the mix; strings live until kj_order_close. */
struct kj_order_part {
    const char *name;
    uint64_t tokens, entries;
};

struct kj_order;

/* Check order.bin's bytes: entries that rise, documents and parts below their
 * counts. KJ_FAIL with the reason. */
int kj_order_check(const void *bytes, size_t n, uint64_t entries, uint64_t documents,
                   size_t parts, struct kj_err *err);
/* Is path an order: a folder with order.json, or that file? */
bool kj_order_is(const char *path);
int kj_order_open(struct kj_order **out, const char *path, struct kj_err *err);
void kj_order_close(struct kj_order *o);

size_t kj_order_sets(const struct kj_order *o);
const struct kj_shards *kj_order_set(const struct kj_order *o, size_t i);
const char *kj_order_manifest(const struct kj_order *o, size_t i); /* its path */
size_t kj_order_parts(const struct kj_order *o);
const struct kj_order_part *kj_order_part(const struct kj_order *o, size_t i);
const char *kj_order_hash(const struct kj_order *o); /* of order.bin */

uint64_t kj_order_tokens(const struct kj_order *o);
uint64_t kj_order_entries(const struct kj_order *o);
/* First token of an entry; the number of entries gives that of tokens. */
uint64_t kj_order_start(const struct kj_order *o, uint64_t entry);
/* The entry that holds a token (which must be below the count). */
uint64_t kj_order_at(const struct kj_order *o, uint64_t token);
/* Part of an entry, and its document: *set and the number in it. */
unsigned kj_order_part_of(const struct kj_order *o, uint64_t entry);
uint64_t kj_order_doc(const struct kj_order *o, uint64_t entry, size_t *set);
/* Copy tokens at..at+n; returns how many there were. */
size_t kj_order_read(const struct kj_order *o, uint64_t at, uint32_t *out, size_t n);

/* Everything but the shards themselves: hashes, lengths, sums of the parts. */
int kj_order_verify(const struct kj_order *o, struct kj_err *err);

#endif
