/* bench_morph - the morpheme splitter alone.
 *
 *   bench_morph FILE          MB/s over the lines of a text, and pieces a second
 *   bench_morph --spans FILE  for each line the slices, FROM,TO in bytes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "filter/morph.h"

static char *load(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    size_t cap = 1 << 20, got;
    char *p = kj_xmalloc(cap);
    *n = 0;
    if (!f) {
        perror(path);
        exit(1);
    }
    while ((got = fread(p + *n, 1, cap - *n, f)) > 0)
        if ((*n += got) == cap)
            p = kj_xrealloc(p, cap *= 2);
    fclose(f);
    return p;
}

/* Pieces of one line; printed if asked for. */
static size_t line(struct kj_morph *m, const char *p, size_t n, int print)
{
    struct kj_morph_piece v[KJ_MORPH_PIECES];
    size_t pieces = 0;
    for (size_t i = 0, end; i < n; i = end) {
        size_t k = kj_morph_next(m, p, n, i, v, &end);
        for (size_t x = 0; print && x < k; x++)
            printf("%s%u,%u", pieces + x ? " " : "", v[x].from, v[x].to);
        pieces += k;
    }
    if (print)
        putchar('\n');
    return pieces;
}

int main(int argc, char **argv)
{
    int print = argc > 2 && strcmp(argv[1], "--spans") == 0;
    size_t n, pieces = 0;
    if (argc != 2 + print)
        return 2;
    char *p = load(argv[argc - 1], &n);
    struct kj_morph *m = kj_morph_new();
    clock_t from = clock();
    for (size_t i = 0; i < n;) {
        const char *e = memchr(p + i, '\n', n - i);
        size_t end = e ? (size_t)(e - p) : n;
        pieces += line(m, p + i, end - i, print);
        i = end + 1;
    }
    double s = (double)(clock() - from) / CLOCKS_PER_SEC;
    if (!print)
        printf("morphemes: %.1f MB/s, %.1f M pieces/s\n", (double)n / 1e6 / s,
               (double)pieces / 1e6 / s);
    kj_morph_free(m);
    free(p);
}
