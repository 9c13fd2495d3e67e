/* Files of checked blocks, files of keys, and sorting in runs. */
#include "base/err.h"
#include "dedup/extsort.h"
#include "dedup/sigs.h"
#include "dedup/spill.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir[] = "/tmp/kijil-test-XXXXXX";

static uint64_t rng_state = 3;
static uint64_t rng(void)
{
    rng_state += 0x9E3779B97F4A7C15u;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static const struct kj_spill_params params = {KJ_SIGS_KIND, {3, 8, 0, 0, 1}};

/* Files in the folder. */
static int count_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_blocks(void)
{
    struct kj_spill s;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_spill_create(&s, dir, NULL, &params, &err), KJ_OK);
    CHECK_INT(count_files(), 0); /* it has no name */
    static char big[700000], back[700000];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)rng();
    size_t sizes[200];
    uint64_t pos[200];
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = i == 77 ? sizeof big : i % 9 ? rng() % 5000 : 0;
        CHECK_INT(kj_spill_add(&s, big, sizes[i], &pos[i], &err), KJ_OK);
    }
    CHECK_INT(kj_spill_finish(&s, &err), KJ_OK);
    for (size_t i = 200; i-- > 0;) {
        size_t n = 0;
        CHECK_INT(kj_spill_length(&s, pos[i], &n, &err), KJ_OK);
        CHECK_INT(n, sizes[i]);
        CHECK_INT(kj_spill_read(&s, pos[i], back, n, &err), KJ_OK);
        CHECK(memcmp(back, big, n) == 0);
    }
    CHECK_INT(kj_spill_read(&s, pos[3], back, sizes[3] + 1, &err), KJ_FATAL);
    kj_err_reset(&err);
    CHECK_INT(kj_spill_read(&s, pos[3] + 1, back, sizes[3], &err), KJ_FATAL);
    kj_err_reset(&err);
    CHECK_INT(kj_spill_read(&s, s.size, back, 0, &err), KJ_FATAL);
    kj_spill_release(&s);
}

enum { N = 30000 };
static uint64_t keys[N][3];

static int write_sigs(const char *name, struct kj_err *err)
{
    struct kj_sigs s;
    int rc = kj_sigs_create(&s, dir, name, &params, err);
    for (size_t i = 0; i < N && !rc; i++)
        if (i % 7 != 3) /* left out */
            rc = kj_sigs_add(&s, i, (uint32_t)i | 1, i % 5 ? keys[i] : NULL, err);
    if (!rc)
        rc = kj_sigs_finish(&s, err);
    kj_sigs_release(&s);
    return rc;
}

static void test_sigs(void)
{
    char path[64];
    struct kj_err err = KJ_ERR_INIT;
    struct kj_sigs s;
    for (size_t i = 0; i < N; i++)
        for (size_t b = 0; b < 3; b++)
            keys[i][b] = rng();
    CHECK_INT(write_sigs("keys", &err), KJ_OK);
    CHECK_INT(count_files(), 1);
    snprintf(path, sizeof path, "%s/keys", dir);
    if (!CHECK_INT(kj_sigs_open(&s, path, &params, &err), KJ_OK))
        return;
    CHECK_INT(s.n_docs, N);
    uint64_t *v[4];
    for (size_t c = 0; c < 4; c++)
        v[c] = malloc(s.cap * 8);
    size_t wrong = 0, has = 0;
    for (uint64_t k = 0; k < kj_sigs_chunks(&s); k++) {
        for (unsigned c = 0; c < 4; c++)
            CHECK_INT(kj_sigs_column(&s, k, c, v[c], &err), KJ_OK);
        for (size_t r = 0; r < s.cap && k * s.cap + r < N; r++) {
            size_t i = k * s.cap + r;
            uint64_t word = i % 7 == 3 ? 0 : (i | 1) | (i % 5 ? KJ_SIGS_HAS : 0);
            wrong += v[0][r] != word;
            if (!(word & KJ_SIGS_HAS))
                continue;
            has++;
            for (size_t b = 0; b < 3; b++)
                wrong += v[1 + b][r] != keys[i][b];
        }
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(has, s.n_keys);
    for (size_t c = 0; c < 4; c++)
        free(v[c]);
    kj_sigs_release(&s);
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n);
    if (fread(p, 1, *n, f) != *n)
        abort();
    fclose(f);
    return p;
}

static void spit(const char *path, const char *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    fwrite(p, 1, n, f);
    fclose(f);
}

/* Open it and read every column: the worst of it. */
static int read_through(const char *path, const struct kj_spill_params *want,
                        struct kj_err *err)
{
    struct kj_sigs s;
    kj_err_reset(err);
    int rc = kj_sigs_open(&s, path, want, err);
    if (rc)
        return rc;
    uint64_t *v = malloc(s.cap * 8);
    for (uint64_t k = 0; k < kj_sigs_chunks(&s) && !rc; k++)
        for (unsigned c = 0; c <= s.bands && !rc; c++)
            rc = kj_sigs_column(&s, k, c, v, err);
    free(v);
    kj_sigs_release(&s);
    return rc;
}

/* Cut short, from another seed, one bit changed, unfinished: refused by name. */
static void test_refusals(void)
{
    char path[64], bad[64];
    size_t n;
    struct kj_err err = KJ_ERR_INIT;
    snprintf(path, sizeof path, "%s/keys", dir);
    snprintf(bad, sizeof bad, "%s/bad", dir);
    char *p = slurp(path, &n);
    CHECK_INT(read_through(path, &params, &err), KJ_OK);
    struct kj_spill_params other = params;
    other.v[4] = 2;
    CHECK_INT(read_through(path, &other, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "another seed") && strstr(err.msg, "keys"));
    other = params;
    other.kind++;
    CHECK_INT(read_through(path, &other, &err), KJ_FAIL);
    const size_t cuts[] = {0, 8, KJ_SPILL_HEADER - 1, KJ_SPILL_HEADER, n / 2, n - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        spit(bad, p, cuts[i]);
        CHECK_INT(read_through(bad, &params, &err), KJ_FAIL);
        CHECK(strstr(err.msg, "cut short") && strstr(err.msg, "/bad"));
    }
    for (size_t i = 0; i < 60; i++) {
        size_t at = i < 20 ? rng() % KJ_SPILL_HEADER : rng() % n;
        p[at] ^= (char)(1 << i % 8);
        spit(bad, p, n);
        int rc = read_through(bad, &params, &err);
        CHECK(rc == KJ_FAIL || rc == KJ_FATAL);
        CHECK(strstr(err.msg, "/bad") != NULL);
        p[at] ^= (char)(1 << i % 8);
    }
    memset(p, 0, KJ_SPILL_HEADER);
    spit(bad, p, n);
    CHECK_INT(read_through(bad, &params, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "unfinished") != NULL);
    free(p);
    unlink(bad);
    unlink(path);
}

/* A disk that is full (here: a limit on files) leaves nothing behind. */
static void test_full(void)
{
    struct rlimit old, small = {300000, RLIM_INFINITY};
    struct kj_err err = KJ_ERR_INIT;
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = write_sigs("keys", &err);
    struct kj_budget b = {.max = 0, .doing = "testing"};
    struct kj_extsort s;
    kj_extsort_init(&s, 2, 64 << 10, dir, &b);
    struct kj_err err2 = KJ_ERR_INIT;
    int rc2 = KJ_OK;
    for (uint64_t i = 0; i < 100000 && !rc2; i++)
        rc2 = kj_extsort_add(&s, (uint64_t[]){rng(), i}, &err2);
    kj_extsort_release(&s);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_INT(rc, KJ_FATAL);
    CHECK(strstr(err.msg, "cannot write") && err.err_no);
    CHECK_INT(rc2, KJ_FATAL);
    CHECK_INT(count_files(), 0);
    CHECK_INT(b.used, 0);
    kj_err_reset(&err);
    CHECK_INT(write_sigs("keys", &err), KJ_OK); /* space was made */
    CHECK_INT(count_files(), 1);
    char path[64];
    snprintf(path, sizeof path, "%s/keys", dir);
    CHECK_INT(read_through(path, &params, &err), KJ_OK);
    unlink(path);
}

static unsigned words;
static int by_words(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    for (unsigned i = 0; i < words; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* n records with many equal ones, against qsort. */
static void sort_once(unsigned w, size_t n, size_t bytes)
{
    struct kj_budget b = {.max = 16 << 20, .doing = "testing"};
    struct kj_extsort s;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t *v = malloc((n * w + 1) * 8);
    kj_extsort_init(&s, w, bytes, dir, &b);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < n * w; i++)
            v[i] = i % w == 0 ? rng() % (n / 3 + 1) : rng() % 4;
        int rc = KJ_OK;
        for (size_t i = 0; i < n && !rc; i++)
            rc = kj_extsort_add(&s, v + i * w, &err);
        CHECK_INT(rc, KJ_OK);
        CHECK_INT(kj_extsort_sort(&s, &err), KJ_OK);
        words = w;
        qsort(v, n, w * 8, by_words);
        const uint64_t *r;
        size_t k = 0, wrong = 0;
        while (kj_extsort_next(&s, &r, &err) == KJ_OK && k < n)
            wrong += by_words(r, v + k++ * w) != 0;
        CHECK_INT(k, n);
        CHECK_INT(wrong, 0);
        CHECK_INT(kj_extsort_next(&s, &r, &err), KJ_EOF);
        kj_extsort_reset(&s);
    }
    kj_extsort_release(&s);
    CHECK_INT(b.used, 0);
    free(v);
}

static void test_sort(void)
{
    sort_once(2, 0, 4096);
    sort_once(2, 1, 4096);
    sort_once(2, 127, 4096);
    sort_once(2, 128, 4096);
    sort_once(1, 50000, 1 << 20);
    sort_once(2, 50000, 1 << 20);   /* in memory */
    sort_once(2, 50000, 128 << 10); /* in runs */
    sort_once(3, 40001, 256 << 10);
    sort_once(7, 9999, 128 << 10);
    struct kj_budget b = {.doing = "testing"};
    struct kj_extsort s;
    struct kj_err err = KJ_ERR_INIT;
    kj_extsort_init(&s, 2, 16 << 10, dir, &b); /* too many runs: said, not done */
    for (uint64_t i = 0; i < 10000; i++)
        CHECK_INT(kj_extsort_add(&s, (uint64_t[]){i, i}, &err), KJ_OK);
    CHECK_INT(kj_extsort_sort(&s, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "--memory") != NULL);
    kj_extsort_release(&s);
}

int main(void)
{
    if (!mkdtemp(dir)) {
        perror("mkdtemp");
        return 1;
    }
    test_blocks();
    test_sigs();
    test_refusals();
    test_full();
    test_sort();
    CHECK_INT(rmdir(dir), 0);
    return test_end();
}
