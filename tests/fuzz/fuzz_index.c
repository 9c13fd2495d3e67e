/* Any bytes as a stored document of an index, and as its list of segments, with
 * repaired checksums: read through, or refused with a reason. */
#include "base/err.h"
#include "base/hash.h"
#include "dedup/index.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kj_spill_params params = {KJ_SIGS_KIND, {4000, 8, 0, 0, 1}};

static void must(int ok)
{
    if (!ok)
        abort();
}

static void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Put one block of these bytes into a finished file. */
static void replace(const char *path, const uint8_t *data, size_t size, int count)
{
    uint8_t h[KJ_SPILL_HEADER], head[KJ_SPILL_BLOCK];
    int fd = open(path, O_RDWR);
    must(fd >= 0 && pread(fd, h, sizeof h, 0) == sizeof h);
    put64(head, size);
    put64(head + 8, kj_hash64(data, size, KJ_SPILL_HEADER));
    if (count >= 0)
        put64(h + 80, (uint64_t)count);
    put64(h + 96, sizeof h + sizeof head + size);
    put64(h + sizeof h - 8, kj_hash64(h, sizeof h - 8, 0));
    must(pwrite(fd, h, sizeof h, 0) == sizeof h);
    must(pwrite(fd, head, sizeof head, sizeof h) == sizeof head);
    must(pwrite(fd, data, size, sizeof h + sizeof head) == (ssize_t)size);
    must(ftruncate(fd, (off_t)(sizeof h + sizeof head + size)) == 0);
    close(fd);
}

static bool wanted(void *ctx, uint64_t no)
{
    (void)ctx;
    (void)no;
    return true;
}

static int take(void *ctx, struct kj_candidate *c, struct kj_err *err)
{
    uint64_t *sum = ctx;
    (void)err;
    *sum += kj_hash64(c->id.p, c->id.n, 0) + kj_hash64(c->set, c->n * 8, 0) +
            kj_hash64(c->word.p, c->word.n, 0);
    return KJ_OK;
}

static int take_keys(void *ctx, uint64_t no, const uint64_t *keys, struct kj_err *err)
{
    uint64_t *sum = ctx;
    (void)err;
    *sum += no + keys[0] + keys[3999];
    return KJ_OK;
}

static void read_through(const char *dir)
{
    struct kj_index x;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t sum = 0;
    int rc = kj_index_open(&x, dir, &params, &err);
    if (!rc) {
        kj_index_know(&x, 1, 1);
        rc = kj_index_keys(&x, take_keys, &sum, &err);
    }
    if (!rc)
        rc = kj_index_candidates(&x, wanted, take, &sum, &err);
    must(!rc || err.msg[0]); /* refused without a reason */
    kj_index_release(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/tmp/kijil-fuzz-XXXXXX", path[64];
    static const char *const files[] = {"000001.sets", "000001.keys", "index", "lock"};
    static uint64_t keys[4000];
    struct kj_index x;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t set[3] = {1, 2, 3};
    struct kj_candidate k = {.id = {"id", 2}, .set = set, .n = 3};
    must(mkdtemp(dir) != NULL);
    must(kj_index_open(&x, dir, &params, &err) == KJ_OK);
    kj_index_know(&x, 5, 1);
    must(kj_index_begin(&x, &err) == KJ_OK);
    must(kj_index_add(&x, keys, &k, &err) == KJ_OK);
    must(kj_index_commit(&x, &err) == KJ_OK);
    kj_index_release(&x);
    read_through(dir);
    snprintf(path, sizeof path, "%s/000001.sets", dir);
    replace(path, data, size, -1);
    read_through(dir);
    snprintf(path, sizeof path, "%s/index", dir);
    replace(path, data, size, (int)(size / 8 / KJ_INDEX_ROW));
    read_through(dir);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    must(rmdir(dir) == 0);
    return 0;
}
