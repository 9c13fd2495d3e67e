/* fuzz_wikidump - any bytes as a dump, compressed or not, read from some
 * offset on; every page is unescaped. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "extract/wikidump.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    struct kj_batch b;
    struct kj_buf text;
    char name[64];
    int fd = memfd_create("fuzz", 0), steps = 0;
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    const char *const files[] = {name};
    struct kj_pos start = {0, n ? p[n - 1] : 0};
    kj_batch_init(&b);
    kj_buf_init(&text, 1 << 24);
    if (kj_wikidump_source(&s, files, 1, start, NULL, &err) == 0) {
        while (kj_batch_reset(&b), s.read(s.self, &b, &err) == KJ_OK) {
            for (size_t i = 0; i < b.n; i++) {
                kj_buf_reset(&text);
                kj_wikidump_unescape(b.docs[i].raw.p, b.docs[i].raw.n, &text);
            }
            if (++steps > 100000)
                abort();
        }
        s.close(s.self);
    }
    kj_buf_release(&text);
    kj_batch_release(&b);
    close(fd);
    return 0;
}
