/* test_hash.c - published vectors, and SHA-1 against the sha1sum program. */
#include "base/hash.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/unit/test.h"

static void hex20(const unsigned char d[20], char out[41])
{
    for (int i = 0; i < 20; i++)
        sprintf(out + 2 * i, "%02x", d[i]);
}

static void sha1(const void *p, size_t n, size_t step, char out[41])
{
    struct kj_sha1 s;
    unsigned char d[20];
    kj_sha1_init(&s);
    for (size_t i = 0; i < n; i += step)
        kj_sha1_add(&s, (const char *)p + i, n - i < step ? n - i : step);
    kj_sha1_end(&s, d);
    hex20(d, out);
}

static void test_sha1(void)
{
    char h[41], g[41];
    /* FIPS 180's examples */
    sha1("abc", 3, 3, h);
    CHECK_STR(h, 40, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1("", 0, 1, h);
    CHECK_STR(h, 40, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    sha1(two, 56, 7, h);
    CHECK_STR(h, 40, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    sha1(a, 1000000, 4093, h);
    CHECK_STR(h, 40, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    /* every length around a block, in every cut */
    for (size_t n = 50; n < 140; n++) {
        sha1(a, n, n, h);
        for (size_t step = 1; step < 70; step += 13) {
            sha1(a, n, step, g);
            CHECK_STR(g, 40, h);
        }
    }
    free(a);
}

static void test_base32(void)
{
    struct kj_sha1 s;
    unsigned char d[20];
    char t[33];
    kj_sha1_init(&s);
    kj_sha1_end(&s, d);
    kj_base32_20(d, t);
    /* the well-known digest of an empty payload in web archives */
    CHECK_STR(t, strlen(t), "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ");
}

/* Values of the xxhsum program, version 0.8. */
static void test_xxh(void)
{
    CHECK_INT(kj_hash64("", 0, 0), (int64_t)0xef46db3751d8e999u);
    CHECK_INT(kj_hash64(NULL, 0, 0), (int64_t)0xef46db3751d8e999u);
    CHECK_INT(kj_hash64("abc", 3, 0), 0x44bc2cf5ad770999);
    CHECK(kj_hash64("abc", 3, 1) != kj_hash64("abc", 3, 0));
    char t[33];
    kj_hash128_hex(kj_hash128("", 0), t);
    CHECK_STR(t, strlen(t), "99aa06d3014798d86001c324468d497f");
    kj_hash128_hex(kj_hash128("abc", 3), t);
    CHECK_STR(t, strlen(t), "06b05ab6733a618578af5f94892f3950");
}

static void test_file(void)
{
    char path[] = "/tmp/kijil-hash-XXXXXX", out[40], want[33];
    int fd = mkstemp(path);
    size_t n = 3000001;
    char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 >> 3);
    CHECK_INT(write(fd, p, n), n);
    close(fd);
    struct kj_err err = KJ_ERR_INIT;
    int64_t bytes = 0;
    CHECK_INT(kj_hash_file(path, out, &bytes, &err), KJ_OK);
    CHECK_INT(bytes, n);
    kj_hash128_hex(kj_hash128(p, n), want);
    CHECK_STR(out, 7, "xxh128:");
    CHECK_STR(out + 7, strlen(out + 7), want);
    unlink(path);
    CHECK_INT(kj_hash_file(path, out, NULL, &err), KJ_FAIL);
    kj_err_reset(&err);
    CHECK_INT(kj_hash_file("/", out, NULL, &err), KJ_FAIL);
    free(p);
}

int main(void)
{
    test_sha1();
    if (kj_sha1_hardware(true)) {
        kj_sha1_hardware(false);
        test_sha1();
        kj_sha1_hardware(true);
    } else {
        SKIP("no instructions for SHA-1");
    }
    test_base32();
    test_xxh();
    test_file();
    return test_end();
}
