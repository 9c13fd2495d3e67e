/* fuzz_input.c - any bytes as a file, as one unpacked ahead, and as a pipe:
 * reading ends, chunks lie where they say, the first two agree in everything, and
 * the third on what a whole file holds (but for zip, which is read by its
 * directory where that can be reached). */
#define _GNU_SOURCE /* memfd_create, memmem */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Order of bytes matters, the cut into chunks does not. */
static int digest(const char *path, struct kj_sha1 *sum, size_t n, unsigned ahead)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_chunk c;
    int damage = 0, rc;
    size_t total = 0;
    if (kj_input_open(&in, path, &err))
        return -1;
    kj_input_ahead(in, ahead);
    kj_sha1_init(sum);
    while ((rc = kj_input_chunk(in, &c, &err)) != KJ_EOF) {
        if (rc == KJ_OK) {
            if (c.n == 0 && !c.last)
                abort();
            if (!c.entry && (c.member < 0 || c.member > (int64_t)n))
                abort();
            kj_sha1_add(sum, c.p, c.n);
            total += c.n;
        } else if (rc == KJ_BAD_RECORD) {
            if (err.rc != KJ_BAD_RECORD || (size_t)damage > n)
                abort();
            damage++;
        } else {
            abort();
        }
        kj_err_reset(&err);
        if (total > (64u << 20)) /* a bomb: long enough */
            break;
    }
    kj_input_close(in);
    return damage;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_sha1 a, b;
    unsigned char da[20], db[20];
    char path[64];
    int fd[2], file = memfd_create("fuzz", 0);
    if (file < 0 || write(file, p, n) != (ssize_t)n)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int bad = digest(path, &a, n, 0);
    int bad1 = digest(path, &b, n, 1);
    kj_sha1_end(&a, da);
    kj_sha1_end(&b, db);
    if (bad != bad1 || memcmp(da, db, 20) != 0)
        abort();
    close(file);
    /* What fits a pipe's buffer needs no second thread. */
    if (n > 60000 || pipe(fd))
        return 0;
    if (write(fd[1], p, n) == (ssize_t)n) {
        close(fd[1]);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd[0]);
        int bad2 = digest(path, &b, n, 0);
        kj_sha1_end(&b, db);
        /* A zip's directory may stand behind bytes of another kind. */
        bool zip = memmem(p, n, "PK\5\6", 4) != NULL;
        if (!zip && bad == 0 && bad2 == 0 && memcmp(da, db, 20) != 0)
            abort();
    } else {
        close(fd[1]);
    }
    close(fd[0]);
    return 0;
}
