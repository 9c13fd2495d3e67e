/* test_sorter.c - the same order with any memory, equal to a sort in memory. */
#include "base/sorter.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/unit/test.h"

enum { N = 5000 };

struct rec {
    uint64_t key;
    uint32_t serial;
};

static int stable(const void *a, const void *b)
{
    const struct rec *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->serial < y->serial ? -1 : 1;
}

/* Records of 4 to 700 bytes; few keys, so that many are equal. */
static void order(size_t memory, bool runs)
{
    static struct rec want[N];
    char bytes[800];
    struct kj_sorter *s = kj_sorter_new("/tmp", memory);
    for (uint32_t i = 0; i < N; i++) {
        uint64_t h = kj_hash64((const char *)&i, 4, 7);
        size_t n = 4 + h % 697;
        want[i] = (struct rec){h % 3 ? h >> 40 : h % 7, i};
        memset(bytes, (int)i, n);
        memcpy(bytes, &i, 4);
        CHECK_INT(kj_sorter_add(s, want[i].key, bytes, n, NULL), KJ_OK);
    }
    qsort(want, N, sizeof *want, stable);
    size_t bad = 0;
    for (uint32_t i = 0; i < N; i++) {
        uint64_t key;
        const char *p;
        size_t n;
        uint32_t serial = 0;
        if (!CHECK_INT(kj_sorter_next(s, &key, &p, &n, NULL), KJ_OK))
            break;
        memcpy(&serial, p, 4);
        uint64_t h = kj_hash64((const char *)&serial, 4, 7);
        bad += key != want[i].key || serial != want[i].serial || n != 4 + h % 697 ||
               (n > 4 && (unsigned char)p[n - 1] != (unsigned char)serial);
    }
    CHECK_INT(bad, 0);
    uint64_t key;
    const char *p;
    size_t n;
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, NULL), KJ_EOF);
    CHECK_INT(kj_sorter_runs(s) > 1, runs);
    kj_sorter_free(s);
}

/* A record larger than the memory, an empty one, and none at all. */
static void odd(void)
{
    uint64_t key;
    const char *p;
    size_t n, big = 300000;
    struct kj_err err = KJ_ERR_INIT;
    char *bytes = kj_xcalloc(1, big);
    struct kj_sorter *s = kj_sorter_new("/tmp", 1);
    bytes[big - 1] = 'x';
    CHECK_INT(kj_sorter_add(s, 9, bytes, big, &err), KJ_OK);
    CHECK_INT(kj_sorter_add(s, 1, NULL, 0, &err), KJ_OK);
    CHECK_INT(kj_sorter_add(s, 5, bytes, big, &err), KJ_OK);
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, &err), KJ_OK);
    CHECK(key == 1 && n == 0);
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, &err), KJ_OK);
    CHECK(key == 5 && n == big && p[n - 1] == 'x');
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, &err), KJ_OK);
    CHECK(key == 9 && n == big && p[n - 1] == 'x');
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, &err), KJ_EOF);
    kj_sorter_free(s);
    s = kj_sorter_new("/tmp", 1);
    CHECK_INT(kj_sorter_next(s, &key, &p, &n, &err), KJ_EOF);
    kj_sorter_free(s);
    s = kj_sorter_new("/nowhere", 1);
    CHECK_INT(kj_sorter_add(s, 1, bytes, big, &err), KJ_OK);
    CHECK_INT(kj_sorter_add(s, 2, bytes, big, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "/nowhere"));
    kj_sorter_free(s);
    free(bytes);
}

int main(void)
{
    order((size_t)1 << 30, false);
    order(1 << 20, true);
    order(1, true);
    odd();
    return test_end();
}
