/* Any bytes as a file of keys, and as one of buckets: opened and read through, or
 * refused. The header is also repaired, so that what lies behind its checksum
 * is reached. */
#include "base/err.h"
#include "base/hash.h"
#include "dedup/match.h"
#include "dedup/sigs.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void read_through(const char *path, const struct kj_spill_params *params)
{
    struct kj_sigs s;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_sigs_open(&s, path, params, &err)) {
        if (!err.msg[0])
            abort(); /* refused without a reason */
        return;
    }
    uint64_t *v = malloc(s.cap * 8);
    int rc = KJ_OK;
    for (uint64_t k = 0; k < kj_sigs_chunks(&s) && !rc; k++)
        for (unsigned c = 0; c <= s.bands && !rc; c++)
            rc = kj_sigs_column(&s, k, c, v, &err);
    size_t n;
    if (kj_spill_length(&s.file, KJ_SPILL_HEADER, &n, &err) == KJ_OK && n > s.file.size)
        abort();
    free(v);
    kj_sigs_release(&s);
}

static int take(void *ctx, uint32_t doc, bool starts, struct kj_err *err)
{
    uint64_t *most = ctx;
    (void)starts;
    (void)err;
    if (doc >= *most)
        abort();
    return KJ_OK;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 8; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* Give all blocks in a row the hashes that they should have. */
static void repair_blocks(uint8_t *p, size_t size)
{
    for (size_t at = KJ_SPILL_HEADER; at + KJ_SPILL_BLOCK <= size;) {
        uint64_t n = get64(p + at);
        if (n > size - at - KJ_SPILL_BLOCK)
            return;
        put64(p + at + 8, kj_hash64(p + at + KJ_SPILL_BLOCK, (size_t)n, at));
        at += KJ_SPILL_BLOCK + (size_t)n;
    }
}

/* The same bytes as buckets, with a header and blocks that fit. */
static void read_buckets(const char *dir, int fd, uint8_t *p, size_t size)
{
    uint64_t id = 7;
    struct kj_pieces pieces = {
        .dir = dir, .params.v = {1}, .ids = &id, .n_files = 1, .per = 9};
    struct kj_spill_params q = kj_pieces_params(&pieces, 0x444E4142, SIZE_MAX, 0);
    put64(p + 8, (uint64_t)1 << 32 | q.kind);
    for (size_t i = 0; i < KJ_SPILL_PARAMS; i++)
        put64(p + 16 + 8 * i, q.v[i]);
    put64(p + KJ_SPILL_HEADER - 8, kj_hash64(p, KJ_SPILL_HEADER - 8, 0));
    repair_blocks(p, size);
    if (pwrite(fd, p, size, 0) != (ssize_t)size)
        abort();
    struct kj_match m;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_match_open(&m, &pieces, 0, &err) == KJ_OK) {
        unsigned char bits[64];
        kj_match_each(&m, &m.n_docs, take, &err);
        if (m.n_docs > 3)
            kj_match_mark(&m, 3, m.n_docs - 3 < 512 ? m.n_docs - 3 : 512, bits, &err);
        kj_match_release(&m);
    } else if (!err.msg[0]) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kj_spill_params params = {KJ_SIGS_KIND, {4000, 8, 0, 0, 1}};
    char dir[] = "/tmp/kijil-fuzz-XXXXXX", path[64];
    if (!mkdtemp(dir))
        abort();
    snprintf(path, sizeof path, "%s/match-0000", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    uint8_t *p = malloc(size + 1);
    if (size)
        memcpy(p, data, size);
    if (write(fd, p, size) != (ssize_t)size)
        abort();
    read_through(path, &params);
    if (size >= KJ_SPILL_HEADER) {
        memcpy(p, "kijilDD", 8);
        put64(p + 8, (uint64_t)1 << 32 | params.kind);
        for (size_t i = 0; i < KJ_SPILL_PARAMS; i++)
            put64(p + 16 + 8 * i, params.v[i]);
        put64(p + 96, size);
        put64(p + KJ_SPILL_HEADER - 8, kj_hash64(p, KJ_SPILL_HEADER - 8, 0));
        if (pwrite(fd, p, size, 0) != (ssize_t)size)
            abort();
        read_through(path, &params);
        read_buckets(dir, fd, p, size);
    }
    close(fd);
    unlink(path);
    rmdir(dir);
    free(p);
    return 0;
}
