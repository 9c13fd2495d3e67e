/* fuzz_warc - any bytes as an archive, compressed or not; every record is read
 * through, and what it holds must lie inside of what was given. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/input.h"
#include "extract/warc.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    char name[64];
    uint64_t sum = 0;
    int fd = memfd_create("fuzz", 0), rc, steps = 0;
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (kj_input_open(&in, name, &err) == 0) {
        struct kj_warc *w = kj_warc_new(in);
        struct kj_warc_rec r;
        do {
            struct kj_err e = KJ_ERR_INIT;
            rc = kj_warc_next(w, &r, &e);
            for (size_t i = 0; rc == KJ_OK && i < r.block.n; i++)
                sum += (unsigned char)r.block.p[i];
            for (size_t i = 0; rc == KJ_OK && i < r.n_fields; i++)
                sum += r.fields[i].name.n + r.fields[i].value.n;
            if (++steps > 1000000) /* it must come to an end */
                abort();
        } while (rc == KJ_OK || rc == KJ_BAD_RECORD);
        kj_warc_free(w);
    }
    close(fd);
    return sum == 1;
}
