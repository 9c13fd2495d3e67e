/* tok_scan.c - the published split patterns as scanners over UTF-8.
 *
 * The three patterns are alternations tried from left to right at each place,
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
 * Back-tracking happens only in white space, and is answered by one look at
 * the whole run. A run is read at most twice (up to its last line end, and
 * what is behind it), so scanning is linear.
 *
 * (?i:'s) is case folding over all of Unicode: U+017F, the long s, matches s.
 */
#include "tokenize/tok_internal.h"

#include <pthread.h>
#include <string.h>

enum { O, L, N, S }; /* other, letter, number, white space */

static unsigned char bmp[0x10000];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned char classify(uint32_t c)
{
    if (kj_uni_letter(c))
        return L;
    if (kj_uni_number(c))
        return N;
    return kj_uni_space(c) ? S : O;
}

static void fill(void)
{
    for (uint32_t c = 0; c < 0x10000; c++)
        bmp[c] = classify(c);
}

void tok_scan_init(void)
{
    pthread_once(&once, fill);
}

/* Class of the character at p[0], which is valid UTF-8, and its length. */
static inline unsigned class_at(const unsigned char *p, size_t *len)
{
    unsigned c = p[0];
    if (c < 0x80) {
        *len = 1;
        return bmp[c];
    }
    if (c < 0xE0) {
        *len = 2;
        return bmp[(c & 0x1F) << 6 | (p[1] & 0x3F)];
    }
    if (c < 0xF0) {
        *len = 3;
        return bmp[(c & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3F)];
    }
    *len = 4;
    return classify((c & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 |
                    (p[3] & 0x3F));
}

/* End of the run of characters of a class. */
static inline size_t run(const unsigned char *p, size_t n, size_t at, unsigned cls)
{
    size_t len;
    while (at < n && class_at(p + at, &len) == cls)
        at += len;
    return at;
}

/* Length of 's 't 're 've 'm 'll 'd behind the apostrophe at p[at], or 0. */
static size_t contraction(const unsigned char *p, size_t n, size_t at, bool fold)
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
    while (end < n && class_at(p + end, &len) == S) {
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
    unsigned cls = class_at(p + at, &len);
    if (cls == L)
        return run(p, n, at + len, L);
    if (p[at] == '\'') {
        size_t k = contraction(p, n, at, true);
        if (k)
            return at + k;
    }
    if (cls == N) {
        size_t end = at + len;
        for (unsigned i = 1; i < digits && end < n && class_at(p + end, &len) == N; i++)
            end += len;
        return end;
    }
    size_t to = at + len;
    bool line = p[at] == '\n' || p[at] == '\r';
    unsigned cls2 = to < n ? class_at(p + to, &len2) : S;
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

static size_t next_gpt2(const unsigned char *p, size_t n, size_t at)
{
    size_t len;
    if (p[at] == '\'') {
        size_t k = contraction(p, n, at, false);
        if (k)
            return at + k;
    }
    size_t from = p[at] == ' ' && at + 1 < n ? at + 1 : at;
    unsigned cls = class_at(p + from, &len);
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
    case TOK_SCAN_NONE:
        break;
    }
    return n;
}

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
    case TOK_SCAN_NONE:
        break;
    }
    return NULL;
}

enum tok_scan tok_scan_known(const char *pattern, size_t n)
{
    static const enum tok_scan all[] = {TOK_SCAN_LLAMA3, TOK_SCAN_QWEN2, TOK_SCAN_GPT2};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *z = tok_scan_pattern(all[i]);
        if (strlen(z) == n && memcmp(z, pattern, n) == 0)
            return all[i];
    }
    return TOK_SCAN_NONE;
}
