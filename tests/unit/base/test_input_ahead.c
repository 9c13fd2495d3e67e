/* Unpacking ahead gives the same chunks and the same damage, in the same order,
 * whatever the file holds and however many threads there are. */
#define _GNU_SOURCE /* memfd_create */
#include <bzlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "tests/unit/test.h"

enum { FILE_MAX = 24 << 20 };

static char *file;
static size_t size;
static int fd;
static char path[64];
static uint64_t seed = 1;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* A member at the end of the file: n bytes that pack by about a half; level 0
 * stores them, so that what looks like a member inside of it can be seen. */
static size_t add(size_t n, int level, const char *inner, size_t inner_n)
{
    char *p = malloc(n + 1);
    size_t at = size;
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(rnd() & 15 ? 'a' + (rnd() & 15) : rnd());
    if (inner_n && inner_n < n)
        memcpy(p + n / 2 - inner_n / 2, inner, inner_n);
    z_stream z;
    memset(&z, 0, sizeof z);
    deflateInit2(&z, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)file + size;
    z.avail_out = (uInt)(FILE_MAX - size);
    deflate(&z, Z_FINISH);
    size = FILE_MAX - z.avail_out;
    deflateEnd(&z);
    free(p);
    return at;
}

/* The same as a bzip2 stream. */
static void add_bzip2(size_t n)
{
    char *p = malloc(n + 1);
    unsigned room = (unsigned)(FILE_MAX - size);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(rnd() & 15 ? 'a' + (rnd() & 15) : rnd());
    CHECK_INT(BZ2_bzBuffToBuffCompress(file + size, &room, p, (unsigned)n, 9, 0, 0),
              BZ_OK);
    size += room;
    free(p);
}

struct sight {
    uint64_t hash;
    size_t chunks, faults, bytes;
};

static struct sight look(unsigned threads, int64_t seek)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_chunk c;
    struct sight s = {0};
    int rc;
    if (!CHECK_INT(kj_input_open(&in, path, &err), KJ_OK))
        return s;
    kj_input_ahead(in, threads);
    if (seek > 0)
        CHECK_INT(kj_input_seek(in, seek, &err), KJ_OK);
    while ((rc = kj_input_chunk(in, &c, &err)) != KJ_EOF) {
        uint64_t v[5] = {s.hash};
        if (rc == KJ_OK) {
            v[1] = kj_hash64(c.p, c.n, 1);
            v[2] = (uint64_t)c.member;
            v[3] = (uint64_t)c.at * 2 + c.last;
            v[4] = (uint64_t)c.stored;
            s.chunks++;
            s.bytes += c.n;
        } else {
            v[1] = (uint64_t)err.pos;
            s.faults++;
            kj_err_reset(&err);
        }
        s.hash = kj_hash64((const char *)v, sizeof v, 2);
        if (s.chunks + s.faults == 40 && seek < 0) /* stop in the middle */
            break;
    }
    kj_input_close(in);
    return s;
}

static void same(const char *what, int64_t seek)
{
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, file, size, 0) == (ssize_t)size);
    struct sight want = look(0, seek);
    for (unsigned t = 1; t <= 3; t += 2) {
        struct sight got = look(t, seek);
        if (!CHECK(got.hash == want.hash))
            printf("     %s, %u threads: %zu chunks, %zu faults, %zu bytes for %zu, "
                   "%zu, %zu\n",
                   what, t, got.chunks, got.faults, got.bytes, want.chunks, want.faults,
                   want.bytes);
    }
}

/* Members of all sizes, some MiB of them; where the middle one starts. */
static size_t make(void)
{
    size_t middle = 0;
    char small[200], inner[4000];
    size_t n;
    size = 0;
    add(sizeof small, 6, NULL, 0);
    n = size;
    memcpy(inner, file, n);
    for (int i = 0; i < 60; i++) {
        if (i == 30)
            middle = size;
        if (i % 7 == 3) /* holds a gzip stream, as it is */
            add(150000, 0, inner, n);
        else
            add(i % 9 == 5 ? 0 : 1000 + rnd() % 250000, 1 + i % 6, NULL, 0);
        if (i % 11 == 4) { /* padding */
            memset(file + size, 0, 1000);
            size += 1000;
        }
    }
    return middle;
}

int main(void)
{
    file = malloc(FILE_MAX);
    fd = memfd_create("ahead", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size_t middle = make();
    CHECK(size > (size_t)3 << 20);
    same("sound", 0);
    same("from the middle", (int64_t)middle);
    same("left early", -1);
    for (int i = 0; i < 4; i++) { /* bytes changed all over it */
        for (int k = 0; k < 5; k++)
            file[rnd() % size] ^= (char)(1 + rnd() % 255);
        same("damaged", 0);
    }
    size = size * 2 / 3;
    same("damaged and cut", 0);
    middle = make();
    memmove(file + middle + 5000, file + middle, size - middle);
    for (size_t i = 0; i < 5000; i++)
        file[middle + i] = (char)rnd();
    size += 5000;
    same("garbage between", 0);
    /* one that is beyond what is unpacked ahead, between small ones */
    size = 0;
    add(3000, 6, NULL, 0);
    add((size_t)20 << 20, 1, NULL, 0);
    for (int i = 0; i < 20; i++)
        add(100000, 6, NULL, 0);
    same("a large member", 0);
    size = 0;
    add((size_t)20 << 20, 1, NULL, 0);
    same("one member", 0);
    /* streams of bzip2, some of exactly one chunk or two */
    size = 0;
    for (int i = 0; i < 10; i++) {
        if (i == 7)
            middle = size;
        add_bzip2(i == 3   ? 0
                  : i == 5 ? (size_t)1 << 20
                  : i == 6 ? (size_t)2 << 20
                           : 1000 + rnd() % 150000);
    }
    same("bzip2", 0);
    same("bzip2, from the middle", (int64_t)middle);
    file[size / 3] ^= 0x10;
    size -= 1000;
    same("damaged and cut bzip2", 0);
    size = 100;
    memset(file, 0, size);
    same("nothing", 0);
    close(fd);
    free(file);
    return test_end();
}
