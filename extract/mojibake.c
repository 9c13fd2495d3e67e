/* mojibake.c - see mojibake.h.
 *
 * Nearly every text is sound, so the first look must be cheap: a run that was
 * UTF-8 begins with a lead byte C2..F4, which is now U+00C2..F4 and so the bytes
 * C3 82..B4, followed by what a continuation byte became. memchr finds the C3s;
 * in Korean text there are none.
 */
#include "extract/mojibake.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

/* Pairs of neighbours in U+00C0..FF that make a text worth a closer look; words
 * of real languages have few. */
enum { NEIGHBOURS = 8 };
/* So many sequences of EUC make a text worth the caller's look. */
enum { BYTES_MIN = 10 };

/* The byte that a character was, if it came out of windows-1252 or ISO-8859-1;
 * -1 none. */
static int to_byte(uint32_t c)
{
    static const uint16_t high[32] = {
        0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
        0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
        0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
        0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    if (c < 0x100)
        return (int)c;
    for (int i = 0; i < 32; i++)
        if (high[i] == c)
            return 0x80 + i;
    return -1;
}

static bool worth_it(const char *p, size_t n)
{
    size_t neighbours = 0;
    if (n < 4)
        return false;
    const char *end = p + n;
    while ((p = memchr(p, 0xC3, (size_t)(end - p)))) {
        size_t len = 0;
        if (end - p < 4)
            return false;
        unsigned char c = (unsigned char)p[1];
        p += 2;
        if (!(*p & 0x80))
            continue;
        int b = to_byte(kj_utf8_next(p, (size_t)(end - p), &len));
        if ((c >= 0x82 && c <= 0xB4 && b >= 0x80 && b < 0xC0) ||
            (b >= 0xC0 && ++neighbours >= NEIGHBOURS))
            return true;
    }
    return false;
}

/* Is c what texts are made of? No private characters, none of the scripts and
 * letters that chance hits first when two bytes are put together. */
static bool plausible(uint32_t c)
{
    if (c >= 0x0180 && c < 0x0218) /* Vietnamese has four of these */
        return c == 0x01A0 || c == 0x01A1 || c == 0x01AF || c == 0x01B0;
    return !(c >= 0x021C && c < 0x0250) && !(c >= 0x0700 && c < 0x0900) &&
           !(c >= 0x2E00 && c < 0x3000) && !(c >= 0xD7FC && c < 0xF900) &&
           !(c >= 0xFFF0 && c < 0x1F000) && c < 0x30000;
}

/* Typographic marks that programs put into text by themselves. */
static bool mark(uint32_t c)
{
    return (c >= 0x2010 && c <= 0x2026) || c == 0x2039 || c == 0x203A || c == 0x20AC ||
           c == 0x2122 || (c >= 0x1F300 && c < 0x1FB00);
}

/* What the bytes of one run are. */
struct verdict {
    size_t seq2, seq3; /* sequences of two, and of more bytes */
    size_t odd;        /* of them not plausible */
    bool utf8, strong;
};

static struct verdict judge(const char *p, size_t n)
{
    struct verdict v = {0};
    uint32_t c = 0;
    if (n < 2 || kj_utf8_valid(p, n) != n)
        return v;
    v.utf8 = true;
    for (size_t i = 0, len; i < n; i += len) {
        c = kj_utf8_next(p + i, n - i, &len);
        v.seq2 += len == 2;
        v.seq3 += len > 2;
        v.odd += !plausible(c);
    }
    v.strong = !v.odd && v.seq2 == 0 && (v.seq3 >= 2 || mark(c));
    return v;
}

/* One run at p: appends its bytes to out; how long it is in p. *mapped: all of
 * its characters stand for bytes. */
static size_t take_run(const char *p, size_t n, struct kj_buf *out, bool *mapped)
{
    size_t i = 0, len;
    *mapped = true;
    while (i < n && (p[i] & 0x80)) {
        int b = to_byte(kj_utf8_next(p + i, n - i, &len));
        i += len;
        *mapped = *mapped && b >= 0;
        if (*mapped)
            kj_buf_addc(out, (char)b);
    }
    return i;
}

struct totals {
    size_t runs, good; /* runs in all; those whose bytes are UTF-8 */
    size_t seq2, seq3, odd;
    size_t even, mapped; /* runs of whole pairs A1..FE; runs that stand for bytes */
    size_t pairs, strong;
};

static bool euc_like(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0xA1)
            return false;
    return n % 2 == 0;
}

enum mode { EVERY, GOOD, STRONG };

/* Undo what `mode` says; false at out's cap. */
static bool pass(const char *p, size_t n, enum mode mode, struct kj_buf *out,
                 struct totals *t)
{
    memset(t, 0, sizeof *t);
    kj_buf_reset(out);
    for (size_t i = 0; i < n;) {
        size_t a = i;
        while (i < n && !(p[i] & 0x80))
            i++;
        if (kj_buf_add(out, p + a, i - a) < 0)
            return false;
        if (i == n)
            break;
        size_t start = out->n;
        bool mapped;
        size_t len = take_run(p + i, n - i, out, &mapped);
        size_t m = out->n - start;
        struct verdict v = {0};
        if (mapped)
            v = judge(out->p + start, m);
        t->runs++;
        t->mapped += mapped;
        t->good += v.utf8;
        t->strong += v.strong;
        t->seq2 += v.seq2;
        t->seq3 += v.seq3;
        t->odd += v.odd;
        if (mapped && !v.utf8 && euc_like(out->p + start, m)) {
            t->even++;
            t->pairs += m / 2;
        }
        bool undo = mode == EVERY ? mapped : mode == GOOD ? v.utf8 : v.strong;
        if (!undo) {
            out->n = start;
            if (kj_buf_add(out, p + i, len) < 0)
                return false;
        }
        i += len;
    }
    return true;
}

enum kj_mojibake kj_mojibake_undo(const char *p, size_t n, struct kj_buf *out)
{
    struct totals t;
    if (n > out->cap || !worth_it(p, n) || !pass(p, n, EVERY, out, &t))
        return KJ_MOJIBAKE_NONE;
    size_t weight = t.seq2 + 3 * t.seq3;
    bool fine = weight >= 3 && t.odd * 20 <= t.seq2 + t.seq3;
    if (t.good == t.runs && fine)
        return KJ_MOJIBAKE_WHOLE;
    if (t.mapped == t.runs && t.pairs >= BYTES_MIN && t.even * 10 >= t.runs * 9)
        return KJ_MOJIBAKE_BYTES;
    /* Twenty runs that round-trip beside a few that do not: a text that was
     * stored wrongly in a template that was not. */
    enum mode mode = fine && t.good >= 20 && t.good * 10 >= t.runs * 9 ? GOOD : STRONG;
    if ((mode == STRONG && !t.strong) || !pass(p, n, mode, out, &t))
        return KJ_MOJIBAKE_NONE;
    return KJ_MOJIBAKE_RUNS;
}
