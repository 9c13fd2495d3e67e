/* bench_dedup - MB/s of one core: normal form and shingles, signatures with
 * each kernel, and the set for verification.
 *
 * usage: bench_dedup FILE.jsonl...   (plain or compressed JSONL with `text`) */
#include "base/clock.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/jsonl.h"
#include "dedup/minhash.h"
#include "dedup/shingle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct texts {
    struct kj_str *v;
    size_t n, cap, bytes;
};

static int load(struct texts *t, const char *path, struct kj_err *err)
{
    struct kj_source s;
    int rc = kj_jsonl_source(&s, &path, 1, err);
    if (rc)
        return rc;
    struct kj_batch b;
    kj_batch_init(&b);
    while (kj_batch_reset(&b), (rc = s.read(s.self, &b, err)) == KJ_OK) {
        if (s.decode && (rc = s.decode(s.self, &b, err)))
            break;
        for (size_t i = 0; i < b.n; i++) {
            if (t->n == t->cap) {
                t->cap = t->cap ? 2 * t->cap : 1024;
                t->v = kj_xrealloc(t->v, t->cap * sizeof *t->v);
            }
            struct kj_str x = b.docs[i].text;
            t->v[t->n++] = (struct kj_str){kj_xstrndup(x.n ? x.p : "", x.n), x.n};
            t->bytes += x.n;
        }
    }
    kj_batch_release(&b);
    if (s.close)
        s.close(s.self);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* Seconds for all texts; sign: also make signatures; set: also sort. */
static double once(const struct texts *t, const struct kj_minhash *m, int set,
                   size_t *shingles)
{
    struct kj_shingler s;
    kj_shingler_init(&s);
    struct kj_err err = KJ_ERR_INIT;
    uint64_t keys[64], *sig = kj_minhash_alloc(KJ_MINHASH_MAX);
    *shingles = 0;
    double start = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < t->n; i++) {
        if (kj_shingler_run(&s, KJ_UNIT_AUTO, 0, t->v[i].p, t->v[i].n, &err))
            exit(1);
        *shingles += s.n;
        if (m) {
            kj_minhash_sign(m, s.h, s.n, sig);
            kj_minhash_bands(m, sig, keys);
        }
        if (set && kj_shingler_set(&s, &err))
            exit(1);
    }
    double took = kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    kj_shingler_release(&s);
    free(sig);
    return took;
}

static void row(const char *name, const struct texts *t, const struct kj_minhash *m,
                int set)
{
    size_t shingles = 0;
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double took = once(t, m, set, &shingles);
        best = took < best ? took : best;
    }
    printf("  %-28s %8.1f MB/s  %6.1f ns/shingle\n", name,
           (double)t->bytes / 1e6 / best,
           best * 1e9 / (double)(shingles ? shingles : 1));
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"+ signatures, portable", "+ signatures, AVX2",
                                        "+ signatures, AVX-512"};
    for (int a = 1; a < argc; a++) {
        struct texts t = {0};
        struct kj_err err = KJ_ERR_INIT;
        char msg[1024];
        if (load(&t, argv[a], &err)) {
            fprintf(stderr, "%s\n", kj_err_text(&err, msg, sizeof msg));
            return 1;
        }
        printf("%s: %zu documents, %.1f MB of text, one core\n", argv[a], t.n,
               (double)t.bytes / 1e6);
        row("shingles", &t, NULL, 0);
        row("shingles as sets", &t, NULL, 1);
        struct kj_minhash m;
        kj_minhash_init(&m, 14, 8, 1);
        for (int i = 0; i < KJ_ISA_COUNT; i++) {
            m.fold = kj_minhash_kernel((enum kj_minhash_isa)i);
            if (m.fold)
                row(names[i], &t, &m, 0);
        }
        kj_minhash_release(&m);
        for (size_t i = 0; i < t.n; i++)
            free((void *)(uintptr_t)t.v[i].p);
        free(t.v);
    }
    return 0;
}
