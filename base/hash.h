/* hash.h - the hashes used for identity and checksums. All are xxHash's
 * (XXH64, XXH3) with fixed seeds, equal on every machine, and SHA-1 and
 * SHA-256 for the digests of archives and files. */
#ifndef KJ_BASE_HASH_H
#define KJ_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;

struct kj_hash128 {
    uint64_t hi, lo;
};

uint64_t kj_hash64(const void *p, size_t n, uint64_t seed);
struct kj_hash128 kj_hash128(const void *p, size_t n);
/* 32 lower-case hex digits and a NUL. */
void kj_hash128_hex(struct kj_hash128 h, char out[33]);
/* Content hash of a whole file as "xxh128:HEX" (39 bytes with the NUL), and
 * its size; KJ_FAIL when it cannot be read. */
int kj_hash_file(const char *path, char out[40], int64_t *bytes, struct kj_err *err);

/* SHA-1 (FIPS 180-4), since WARC digests are SHA-1 in base 32. */
struct kj_sha1 {
    uint32_t h[5];
    uint64_t n;
    unsigned char block[64];
};
void kj_sha1_init(struct kj_sha1 *s);
void kj_sha1_add(struct kj_sha1 *s, const void *p, size_t n);
void kj_sha1_end(struct kj_sha1 *s, unsigned char out[20]);
/* With the processor's instructions for it, as is usual, or without, from now on; false:
 * it has none, or on is false. The digests are the same. */
bool kj_sha1_hardware(bool on);
/* 32 characters of base 32 (RFC 4648) and a NUL. */
void kj_base32_20(const unsigned char in[20], char out[33]);

#endif
