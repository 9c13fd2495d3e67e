/* tok_scan.c - the published split patterns as scanners over UTF-8.
 *
 * The patterns are alternations tried from left to right at each place,
 * and each place is matched by some alternative, so a scanner is a function
 * from a place to the end of its word. Which alternative wins depends on the
 * class of the first character, and of the second one:
 *
 *   Llama 3 = cl100k, Qwen 2 (with \p{N} in place of \p{N}{1,3}):
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)   contraction
 *     |[^\r\n\p{L}\p{N}]?\p{L}+      letters with at most one other in front
 *     |\p{N}{1,3}                    digits
 *     | ?[^\s\p{L}\p{N}]+[\r\n]*     signs
 *     |\s*[\r\n]+                    white space up to its last line end
 *     |\s+(?!\S)                     white space but for its last character
 *     |\s+
 *   GPT-2:
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 *   o200k (GPT-4o, gpt-oss), Mistral's Tekken (no contractions, \p{N}):
 *     [^\r\n\p{L}\p{N}]?U*V+C?        words that end in lower case, or in letters
 *                                    without case
 *     |[^\r\n\p{L}\p{N}]?U+V*C?       words of upper case
 *     |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   where U is [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], V [\p{Ll}\p{Lm}\p{Lo}\p{M}] and C a
 *   contraction as above. U* takes all it can get. If lower case follows, V+ goes on
 *   from there; else V+ needs the last character without case that U* took, and
 *   the word ends with it; if there is none, the word is all upper case. A mark at
 *   the start of a word may be the character in front or a part of the word, with
 *   the same end.
 *
 * Other back-tracking happens only in white space, and is answered by one look at
 * the whole run. A run is read at most twice (up to its last line end, and
 * what is behind it), so scanning is linear.
 *
 * (?i:'s) is case folding over all of Unicode: U+017F, the long s, matches s.
 *
 * The reference reads classes from Unicode 16; base/unicode.h is older, so the
 * letters and numbers that came since are listed here. (PCRE2 has the version
 * that it was built with: on characters newer than that, a pattern that is not
 * scanned by hand may cut otherwise.)
 */
#include "tokenize/tok_block.h"

#include <pthread.h>
#include <string.h>

enum {
    O = TOK_O,
    L = TOK_L,
    N = TOK_N,
    S = TOK_S,
    M = TOK_MARK,
    U = TOK_UPPER,
    W = TOK_LOWER
};

unsigned char tok_scan_bmp[0x10000];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Letters, marks and numbers assigned by Unicode 15.1 and 16.0, in order. */
static const struct {
    uint32_t lo, hi;
    unsigned char kind;
} newer[] = {
    {0x897, 0x897, M},     {0x1C89, 0x1C89, U},   {0x1C8A, 0x1C8A, W},
    {0xA7CB, 0xA7CC, U},   {0xA7CD, 0xA7CD, W},   {0xA7DA, 0xA7DA, U},
    {0xA7DB, 0xA7DB, W},   {0xA7DC, 0xA7DC, U},   {0x105C0, 0x105F3, L},
    {0x10D40, 0x10D49, N}, {0x10D4A, 0x10D4F, L}, {0x10D50, 0x10D65, U},
    {0x10D69, 0x10D6D, M}, {0x10D6F, 0x10D6F, L}, {0x10D70, 0x10D85, W},
    {0x10EC2, 0x10EC4, L}, {0x10EFC, 0x10EFC, M}, {0x11380, 0x11389, L},
    {0x1138B, 0x1138B, L}, {0x1138E, 0x1138E, L}, {0x11390, 0x113B5, L},
    {0x113B7, 0x113B7, L}, {0x113B8, 0x113C0, M}, {0x113C2, 0x113C2, M},
    {0x113C5, 0x113C5, M}, {0x113C7, 0x113CA, M}, {0x113CC, 0x113D0, M},
    {0x113D1, 0x113D1, L}, {0x113D2, 0x113D2, M}, {0x113D3, 0x113D3, L},
    {0x113E1, 0x113E2, M}, {0x116D0, 0x116E3, N}, {0x11BC0, 0x11BE0, L},
    {0x11BF0, 0x11BF9, N}, {0x11F5A, 0x11F5A, M}, {0x13460, 0x143FA, L},
    {0x16100, 0x1611D, L}, {0x1611E, 0x1612F, M}, {0x16130, 0x16139, N},
    {0x16D40, 0x16D6C, L}, {0x16D70, 0x16D79, N}, {0x18CFF, 0x18CFF, L},
    {0x1CCF0, 0x1CCF9, N}, {0x1E5D0, 0x1E5ED, L}, {0x1E5EE, 0x1E5EF, M},
    {0x1E5F0, 0x1E5F0, L}, {0x1E5F1, 0x1E5FA, N}, {0x2EBF0, 0x2EE5D, L},
};

static unsigned char kind_newer(uint32_t c)
{
    for (size_t i = 0; i < sizeof newer / sizeof *newer && newer[i].lo <= c; i++)
        if (c <= newer[i].hi)
            return newer[i].kind;
    return O;
}

unsigned char tok_scan_kind(uint32_t c)
{
    enum kj_gc g = kj_uni_category(c);
    if (g == KJ_GC_LU || g == KJ_GC_LT)
        return U;
    if (g == KJ_GC_LL)
        return W;
    if (kj_uni_letter(c))
        return L;
    if (kj_uni_mark(c))
        return M;
    if (kj_uni_number(c))
        return N;
    return kj_uni_space(c) ? S : kind_newer(c);
}

static void fill(void)
{
    for (uint32_t c = 0; c < 0x10000; c++)
        tok_scan_bmp[c] = tok_scan_kind(c);
    for (int isa = TOK_AVX512; !tok_block_use((enum tok_isa)isa);)
        isa--;
}

void tok_scan_init(void)
{
    pthread_once(&once, fill);
}

/* End of the run of characters of a class. */
static inline size_t run(const unsigned char *p, size_t n, size_t at, unsigned cls)
{
    size_t len;
    while (at < n && tok_class_at(p + at, &len) == cls)
        at += len;
    return at;
}

size_t tok_contraction(const unsigned char *p, size_t n, size_t at, bool fold)
{
    size_t left = n - at - 1;
    const unsigned char *q = p + at + 1;
    if (left == 0)
        return 0;
    if (fold && left >= 2 && q[0] == 0xC5 && q[1] == 0xBF) /* U+017F */
        return 3;
    unsigned char bit = fold ? 0x20 : 0;
    unsigned char a = q[0] | bit, b = left >= 2 ? q[1] | bit : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    return 0;
}

/* White space at p[at]: `\s*[\r\n]+` (with lines), `\s+(?!\S)`, `\s+`. */
static size_t space(const unsigned char *p, size_t n, size_t at, bool lines)
{
    size_t end = at, last = at, line = 0, len;
    while (end < n && tok_class_at(p + end, &len) == S) {
        last = end;
        end += len;
        if (p[last] == '\n' || p[last] == '\r')
            line = end;
    }
    if (lines && line)
        return line;
    /* Something follows, so the last one is left for it; if it is alone, it
     * is a word. */
    if (end < n && last > at)
        return last;
    return end;
}

static size_t next_llama(const unsigned char *p, size_t n, size_t at, unsigned digits)
{
    size_t len, len2;
    unsigned cls = tok_class_at(p + at, &len);
    if (cls == L)
        return run(p, n, at + len, L);
    if (p[at] == '\'') {
        size_t k = tok_contraction(p, n, at, true);
        if (k)
            return at + k;
    }
    if (cls == N) {
        size_t end = at + len;
        for (unsigned i = 1; i < digits && end < n && tok_class_at(p + end, &len) == N;
             i++)
            end += len;
        return end;
    }
    size_t to = at + len;
    bool line = p[at] == '\n' || p[at] == '\r';
    unsigned cls2 = to < n ? tok_class_at(p + to, &len2) : S;
    if (!line && to < n && cls2 == L)
        return run(p, n, to + len2, L);
    if (cls == O || (p[at] == ' ' && to < n && cls2 == O)) {
        size_t end = run(p, n, to, O);
        while (end < n && (p[end] == '\n' || p[end] == '\r'))
            end++;
        return end;
    }
    return space(p, n, at, true);
}

/* Whether a word of letters goes on with it. */
static inline bool wordy(unsigned kind)
{
    return (kind & 3) == L || kind == M;
}

/* End of the letters that start at p[at]: one alternative or the other. */
static size_t cased(const unsigned char *p, size_t n, size_t at)
{
    size_t end = at, caseless = 0, len;
    unsigned kind = U;
    while (end < n && wordy(kind = tok_kind_at(p + end, &len)) && kind != W) {
        end += len;
        caseless = kind == U ? caseless : end;
    }
    if (end == n || kind != W)
        return caseless ? caseless : end;
    while (end < n && wordy(kind = tok_kind_at(p + end, &len)) && kind != U)
        end += len;
    return end;
}

static size_t next_o200k(const unsigned char *p, size_t n, size_t at, bool contractions,
                         unsigned digits)
{
    size_t len, len2, end;
    unsigned kind = tok_kind_at(p + at, &len), cls = kind & 3;
    if (cls == N) {
        end = at + len;
        for (unsigned i = 1; i < digits && end < n && tok_class_at(p + end, &len) == N;
             i++)
            end += len;
        return end;
    }
    size_t to = at + len;
    bool line = p[at] == '\n' || p[at] == '\r';
    unsigned kind2 = to < n ? tok_kind_at(p + to, &len2) : S;
    if (wordy(kind) || (!line && wordy(kind2))) {
        end = cased(p, n, wordy(kind) ? at : to);
        return contractions && end < n && p[end] == '\''
                   ? end + tok_contraction(p, n, end, true)
                   : end;
    }
    if (cls == O || (p[at] == ' ' && (kind2 & 3) == O)) {
        end = run(p, n, to, O);
        while (end < n && (p[end] == '\n' || p[end] == '\r' || p[end] == '/'))
            end++;
        return end;
    }
    return space(p, n, at, true);
}

static size_t next_gpt2(const unsigned char *p, size_t n, size_t at)
{
    size_t len;
    if (p[at] == '\'') {
        size_t k = tok_contraction(p, n, at, false);
        if (k)
            return at + k;
    }
    size_t from = p[at] == ' ' && at + 1 < n ? at + 1 : at;
    unsigned cls = tok_class_at(p + from, &len);
    if (cls != S)
        return run(p, n, from + len, cls);
    return space(p, n, at, false);
}

size_t tok_scan_next(enum tok_scan scan, const char *s, size_t n, size_t at)
{
    const unsigned char *p = (const unsigned char *)s;
    switch (scan) {
    case TOK_SCAN_LLAMA3:
        return next_llama(p, n, at, 3);
    case TOK_SCAN_QWEN2:
        return next_llama(p, n, at, 1);
    case TOK_SCAN_GPT2:
        return next_gpt2(p, n, at);
    case TOK_SCAN_O200K:
        return next_o200k(p, n, at, true, 3);
    case TOK_SCAN_TEKKEN:
        return next_o200k(p, n, at, false, 1);
    case TOK_SCAN_NONE:
        break;
    }
    return n;
}

#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define FRONT "[^\\r\\n\\p{L}\\p{N}]?"
#define SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SIGNS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const char *tok_scan_pattern(enum tok_scan scan)
{
    switch (scan) {
    case TOK_SCAN_LLAMA3:
        return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
               "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    case TOK_SCAN_QWEN2:
        return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
               "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    case TOK_SCAN_GPT2:
        return "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
               "|\\s+(?!\\S)|\\s+";
    case TOK_SCAN_O200K:
        return FRONT UPPER "*" LOWER "+" SHORT "?|" FRONT UPPER "+" LOWER "*" SHORT
                           "?|\\p{N}{1,3}" SIGNS;
    case TOK_SCAN_TEKKEN:
        return FRONT UPPER "*" LOWER "+|" FRONT UPPER "+" LOWER "*|\\p{N}" SIGNS;
    case TOK_SCAN_NONE:
        break;
    }
    return NULL;
}

enum tok_scan tok_scan_named(const char *name)
{
    static const char *const names[TOK_SCANS] = {"gpt2", "llama3", "qwen2", "o200k",
                                                 "tekken"};
    for (unsigned i = 0; i < TOK_SCANS; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum tok_scan)(TOK_SCAN_GPT2 + i);
    return TOK_SCAN_NONE;
}

enum tok_scan tok_scan_known(const char *pattern, size_t n)
{
    for (unsigned i = 0; i < TOK_SCANS; i++) {
        const char *z = tok_scan_pattern((enum tok_scan)(TOK_SCAN_GPT2 + i));
        if (strlen(z) == n && memcmp(z, pattern, n) == 0)
            return (enum tok_scan)(TOK_SCAN_GPT2 + i);
    }
    return TOK_SCAN_NONE;
}
