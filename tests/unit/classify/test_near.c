/* test_near.c - the matrix in large pages: the same scores from either place, while
 * threads copy it; none where memory is short. */
#include "classify/ft_internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/room.h"
#include "tests/unit/classify/ft_help.h"
#include "tests/unit/test.h"

#define THREADS 4
#define ROUNDS  6

static struct kj_buf text;
static char path[] = "/tmp/kijil-near-XXXXXX";

static void save(const struct kj_buf *model)
{
    FILE *f = fopen(path, "w");
    if (CHECK(f != NULL)) {
        CHECK_INT(fwrite(model->p, 1, model->n, f), model->n);
        fclose(f);
    }
}

/* A model of three pieces, or quantised and small. */
static void make(bool quantised)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft_train o;
    struct kj_ft_train_stats st;
    struct kj_buf model;
    kj_ft_train_defaults(&o);
    o.epoch = 1;
    o.word_ngrams = 2;
    o.dim = quantised ? 21 : 100;
    o.bucket = quantised ? 4000 : 50000;
    kj_buf_init(&model, 64u << 20);
    CHECK_INT(kj_ft_train(&o, text.p, text.n, &model, &st, &err), KJ_OK);
    if (quantised) {
        struct kj_ft_quantize q = {.dsub = 2, .qnorm = true};
        struct kj_ft *m;
        struct kj_buf small;
        kj_buf_init(&small, 64u << 20);
        if (CHECK_INT(kj_ft_open_mem(&m, model.p, model.n, "m", &err), KJ_OK))
            CHECK_INT(kj_ft_quantise(m, &q, &small, &err), KJ_OK);
        kj_ft_free(m);
        kj_buf_release(&model);
        model = small;
    }
    save(&model);
    kj_buf_release(&model);
}

/* The bits of every line's best score, folded. */
static uint64_t scores(const struct kj_ft *m)
{
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    struct kj_err err = KJ_ERR_INIT;
    uint64_t sum = 0;
    size_t used = 0;
    for (size_t at = 0; at < text.n; at += used) {
        struct kj_ft_hit hit = {0};
        int32_t n;
        uint32_t bits;
        if (kj_ft_predict(m, s, text.p + at, text.n - at, false, 1, 0, &hit, &n, &used,
                          &err) != KJ_OK)
            break;
        memcpy(&bits, &hit.prob, sizeof bits);
        sum = sum * 31 + bits + (uint64_t)hit.label;
    }
    kj_ft_scratch_free(s);
    return sum;
}

/* The file in small pages: where a mapping does not begin as a large page would, none is
 * to be had, also where the file is in large pieces in the system's memory. */
static void *map_askew(size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (!CHECK(fd >= 0 && fstat(fd, &st) == 0))
        return NULL;
    *n = (size_t)st.st_size;
    char *p =
        mmap(NULL, *n + (4u << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p = (char *)(((size_t)p | ((2u << 20) - 1)) + 1) + 4096;
    void *at = mmap(p, *n, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    close(fd);
    return CHECK(at == (void *)p) ? at : NULL;
}

struct share {
    const struct kj_ft *m;
    uint64_t want;
    int wrong;
};

static void *score_rounds(void *ctx)
{
    struct share *s = ctx;
    for (int i = 0; i < ROUNDS; i++)
        s->wrong += scores(s->m) != s->want;
    return NULL;
}

static bool system_has_large_pages(void)
{
    char *p = kj_pages_new(4u << 20);
    bool have = p != NULL;
    if (have) {
        CHECK_INT((size_t)p % (2u << 20), 0);
        CHECK_INT(p[(4u << 20) - 1], 0);
        memset(p, 1, 4u << 20);
        have = kj_pages_large(p + 5) >= 2u << 20;
        kj_pages_drop(p, 4u << 20);
        CHECK_INT(kj_pages_large(p), 0);
        CHECK_INT(p[7], 0);
    }
    kj_pages_free(p, 4u << 20);
    return have;
}

static void copied_by_threads(bool quantised, bool large)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    pthread_t t[THREADS];
    struct share s[THREADS];
    size_t n;
    make(quantised);
    void *file = map_askew(&n);
    if (!file || !CHECK_INT(kj_ft_open_mem(&m, file, n, path, &err), KJ_OK))
        return;
    uint64_t want = scores(m);
    const unsigned char *mapped = ft_near_rows(m, 0);
    ft_near_new(m, 1);
    ft_near_after(m, 1000);
    CHECK(ft_near_open(m));
    CHECK(ft_near_rows(m, 0) == mapped);
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct share){m, want, 0};
        pthread_create(&t[i], NULL, score_rounds, &s[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(s[i].wrong, 0);
    }
    CHECK(!ft_near_open(m));
    CHECK_INT(scores(m), want);
    if (large)
        CHECK(ft_near_rows(m, 0) != mapped && kj_pages_large(ft_near_rows(m, 0)) > 0);
    else
        CHECK(ft_near_rows(m, 0) == mapped);
    kj_ft_free(m);
    munmap(file, n);
}

/* Small models are left alone; others are asked for in large pages, and copied only if
 * they are not. */
static void opened(bool large)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    make(false);
    if (!CHECK_INT(kj_ft_open(&m, path, &err), KJ_OK))
        return;
    CHECK(!ft_near_open(m));
    uint64_t want = scores(m);
    const unsigned char *mapped = ft_near_rows(m, 0);
    ft_near_new(m, 1);
    ft_near_after(m, 1000);
    CHECK_INT(scores(m), want);
    bool had = kj_pages_large(mapped) >= 10u << 20;
    CHECK_INT(scores(m), want);
    CHECK(!ft_near_open(m));
    if (large)
        CHECK_INT(ft_near_rows(m, 0) == mapped, had);
    kj_ft_free(m);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* With 40 MB of address space to go, a copy of 20 MB is more than a quarter. */
static void not_where_memory_is_short(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct rlimit old, r;
    struct kj_ft *m;
    int64_t size = 0;
    char line[256];
    size_t n;
    make(false);
    void *from = map_askew(&n);
    if (!from || !CHECK_INT(kj_ft_open_mem(&m, from, n, path, &err), KJ_OK))
        return;
    uint64_t want = scores(m);
    const unsigned char *mapped = ft_near_rows(m, 0);
    ft_near_new(m, 1);
    ft_near_after(m, 0);
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmSize: %" SCNd64, &size) == 1)
            break;
    if (f)
        fclose(f);
    getrlimit(RLIMIT_AS, &old);
    r = old;
    r.rlim_cur = (rlim_t)(size * 1024 + (40 << 20));
    if (old.rlim_cur == RLIM_INFINITY && size > 0 && setrlimit(RLIMIT_AS, &r) == 0) {
        CHECK_INT(scores(m), want);
        setrlimit(RLIMIT_AS, &old);
        CHECK(!ft_near_open(m));
        CHECK(ft_near_rows(m, 0) == mapped);
    } else {
        SKIP("no limit of the address space to be set");
    }
    kj_ft_free(m);
    munmap(from, n);
}
#endif

int main(void)
{
    int64_t left, all;
    int fd = mkstemp(path);
    if (!CHECK(fd >= 0))
        return test_end();
    close(fd);
    kj_buf_init(&text, 16u << 20);
    help_text(&text, 5, 3000);
    bool large = system_has_large_pages();
    kj_room_find("", &left, &all);
    if (!large)
        SKIP("the system gives no large pages");
    if (left < 512 << 20) {
        large = false;
        SKIP("little memory is left");
    }
    copied_by_threads(false, large);
    copied_by_threads(true, large);
    opened(large);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    not_where_memory_is_short(); /* sanitizers map terabytes */
#endif
    kj_buf_release(&text);
    unlink(path);
    return test_end();
}
