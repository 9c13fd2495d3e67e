/* bench_tokenize.c - bench_tokenize TOKENIZER FILE.jsonl...: MB of text a second on
 * one thread, by CPU time, tab-separated: how long loading took; for each file its
 * name, its first 20 MB with an empty cache, and all of it again with a full one, the
 * median of five, each with an empty cache of its own; then the worst cases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "tokenize/tokenizer.h"

#define ROUNDS 5
#define COLD   20000000 /* bytes */

struct texts {
    char **p;
    size_t *n, count, bytes;
};

static int die(const struct kj_err *err)
{
    char text[1024];
    fprintf(stderr, "bench_tokenize: %s\n", kj_err_text(err, text, sizeof text));
    return 1;
}

static int load(struct texts *t, const char *path, struct kj_err *err)
{
    struct kj_input *in;
    struct kj_json *j = kj_json_new();
    const char *p;
    size_t n;
    int64_t member, at;
    int rc = kj_input_open(&in, path, err);
    if (rc != KJ_OK)
        return rc;
    struct kj_lines *l = kj_lines_new(in, 64u << 20);
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, err)) == KJ_OK) {
        const struct kj_jval *v;
        if ((rc = kj_json_parse(j, p, n, &v, err)) != KJ_OK)
            break;
        struct kj_str s = kj_jstr(kj_jget(v, "text"));
        t->p = kj_xrealloc(t->p, (t->count + 1) * sizeof *t->p);
        t->n = kj_xrealloc(t->n, (t->count + 1) * sizeof *t->n);
        t->p[t->count] = kj_xstrndup(s.p ? s.p : "", s.n);
        t->n[t->count++] = s.n;
        t->bytes += s.n;
    }
    kj_lines_free(l);
    kj_input_close(in);
    kj_json_free(j);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* MB/s of the first documents, up to most bytes. */
static double pass(const struct kj_tok *t, struct kj_tok_state *s,
                   const struct texts *x, size_t most)
{
    struct kj_tok_ids ids = {0};
    size_t bytes = 0;
    double start = kj_seconds(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < x->count && bytes < most; i++) {
        ids.n = 0;
        if (kj_tok_encode(t, s, x->p[i], x->n[i], 0, &ids, NULL) == KJ_OK)
            bytes += x->n[i];
    }
    double took = kj_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
    kj_tok_ids_release(&ids);
    return (double)bytes / 1e6 / took;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void worst(const struct kj_tok *t, const char *name, const char *const *parts,
                  size_t n_parts)
{
    size_t size = 1 << 20, n = 0;
    uint64_t seed = 1;
    char *p = kj_xmalloc(size);
    while (n + 4 < size) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const char *z = parts[(seed >> 33) % n_parts];
        memcpy(p + n, z, strlen(z));
        n += strlen(z);
    }
    struct texts x = {&p, &n, 1, n};
    struct kj_tok_state *s = kj_tok_state_new(t);
    printf("1 MB of %s\t%.1f\n", name, pass(t, s, &x, size));
    kj_tok_state_free(s);
    free(p);
}

int main(int argc, char **argv)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok *t;
    if (argc < 3)
        return 2;
    double start = kj_seconds(CLOCK_THREAD_CPUTIME_ID);
    if (kj_tok_load(&t, argv[1], &err) != KJ_OK)
        return die(&err);
    printf("loading, ms\t%.0f\n", 1e3 * (kj_seconds(CLOCK_THREAD_CPUTIME_ID) - start));
    for (int i = 2; i < argc; i++) {
        struct texts x = {0};
        if (load(&x, argv[i], &err) != KJ_OK)
            return die(&err);
        double cold[ROUNDS], warm[ROUNDS];
        for (int k = 0; k < ROUNDS; k++) {
            struct kj_tok_state *s = kj_tok_state_new(t);
            cold[k] = pass(t, s, &x, COLD);
            warm[k] = pass(t, s, &x, SIZE_MAX);
            kj_tok_state_free(s);
        }
        qsort(cold, ROUNDS, sizeof *cold, by_size);
        qsort(warm, ROUNDS, sizeof *warm, by_size);
        const char *base = strrchr(argv[i], '/');
        printf("%s\t%.1f\t%.1f\n", base ? base + 1 : argv[i], cold[ROUNDS / 2],
               warm[ROUNDS / 2]);
        for (size_t k = 0; k < x.count; k++)
            free(x.p[k]);
        free(x.p);
        free(x.n);
    }
    worst(t, "one letter", (const char *const[]){"a"}, 1);
    worst(t, "spaces", (const char *const[]){" "}, 1);
    worst(t, "random jamo",
          (const char *const[]){"ᄀ", "ᄂ", "ᄃ", "ᄅ", "ᅡ", "ᅢ", "ᅣ", "ᆨ", "ᆫ",
                                "ᄒ", "ᅵ"},
          11);
    worst(t, "random syllables",
          (const char *const[]){"가", "뷁", "힣", "는", "궮", "다", "쌰", "읔", "뜨"},
          9);
    kj_tok_free(t);
    return 0;
}
