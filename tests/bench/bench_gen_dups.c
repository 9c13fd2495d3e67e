/* bench_gen_dups - a corpus of synthetic documents of which the copies are known.
 *
 * usage: bench_gen_dups N [WORDS [SEED]]   (JSONL to standard output)
 *
 * Documents are random words out of 50,000 (about WORDS of them, default 60).
 * Three in ten are copies of an earlier original, of which one in three is
 * exact, one has a few words changed at its end (Jaccard similarity of 5-grams
 * over 0.85), and one has every eighth word changed (below 0.4: no near copy).
 * "of" is the original's id, "kind" one of original, exact, near, far: so the
 * truth about every document is in it. The same arguments give the same bytes.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t seed;
static unsigned words = 60;

/* Number i of the stream that belongs to document d. */
static uint64_t draw(uint64_t d, uint64_t i)
{
    return mix(mix(mix(seed) ^ d) ^ i);
}

static char *put_word(char *p, uint64_t r)
{
    for (r = r % 50000 + 50000; r; r /= 19)
        *p++ = "etaoinshrdlucmfwypk"[r % 19];
    return p;
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    words = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : words;
    seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (!n || words < 40 || words > 100000) {
        fprintf(stderr, "usage: bench_gen_dups N [WORDS>=40 [SEED]]\n");
        return 2;
    }
    char *text = malloc((size_t)words * 16);
    if (!text)
        return 1;
    static const char *const kinds[] = {"original", "exact", "near", "far"};
    for (uint64_t d = 0; d < n; d++) {
        /* documents 0..6 of ten are originals */
        unsigned kind = d % 10 < 7 ? 0 : (unsigned)(d % 10 - 6);
        uint64_t of = kind ? draw(d, 0) % (d / 10 + 1) * 10 + draw(d, 1) % 7 : d;
        char *p = text;
        unsigned len = words / 2 + (unsigned)(draw(of, 2) % words);
        if (len < 40)
            len = 40;
        for (unsigned w = 0; w < len; w++) {
            uint64_t from =
                (kind == 2 && w + 3 > len) || (kind == 3 && w % 8 == 7) ? d : of;
            p = put_word(p, draw(from, 100 + w));
            *p++ = ' ';
        }
        p[-1] = 0;
        printf("{\"id\":\"d%010" PRIu64 "\",\"text\":\"%s\",\"source\":\"s%u\","
               "\"kind\":\"%s\",\"of\":\"d%010" PRIu64 "\"}\n",
               d, text, (unsigned)(draw(d, 3) % 5), kinds[kind], of);
    }
    free(text);
    return fflush(stdout) ? 1 : 0;
}
