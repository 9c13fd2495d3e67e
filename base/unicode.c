/* unicode.c - properties, case, scripts. */
#include "base/unicode.h"

#include "base/err.h"
#include "base/unicode_internal.h"
#include "base/utf8.h"

enum kj_gc kj_uni_category(uint32_t c)
{
    return (enum kj_gc)(kj_ud_of(c) & 31);
}

bool kj_uni_space(uint32_t c)
{
    return kj_ud_of(c) & KJ_UD_SPACE;
}

bool kj_uni_py_space(uint32_t c)
{
    return kj_ud_of(c) & KJ_UD_PYSPACE;
}

bool kj_uni_alnum(uint32_t c)
{
    return kj_ud_of(c) & KJ_UD_ALNUM;
}

bool kj_uni_alpha(uint32_t c)
{
    return kj_uni_letter(c);
}

/* ---- case ---- */

uint32_t kj_uni_lower(uint32_t c)
{
    if (c < 0x80)
        return c - 'A' < 26 ? c + 32 : c;
    if (c > KJ_UD_MAX)
        return c;
    return c + (uint32_t)kj_ud_delta[2 * KJ_UD_LOOK(kj_ud_case, c)];
}

uint32_t kj_uni_upper(uint32_t c)
{
    if (c < 0x80)
        return c - 'a' < 26 ? c - 32 : c;
    if (c > KJ_UD_MAX)
        return c;
    return c + (uint32_t)kj_ud_delta[2 * KJ_UD_LOOK(kj_ud_case, c) + 1];
}

/* Is the sigma at p[at..at+2) final: a cased letter before it and none after
 * it, ignorable characters skipped on both sides (Final_Sigma)? `cased` tells
 * whether the last character before it that is not ignorable is cased. */
static bool final_sigma(const char *p, size_t n, size_t at, bool cased)
{
    if (!cased)
        return false;
    for (size_t i = at + 2, len; i < n; i += len) {
        unsigned w = kj_ud_of(kj_utf8_next(p + i, n - i, &len));
        if (!(w & KJ_UD_IGNORABLE))
            return !(w & KJ_UD_CASED);
    }
    return true;
}

int kj_uni_lower_str(struct kj_buf *b, const char *p, size_t n)
{
    size_t start = b->n;
    bool cased = false; /* the last character that is not ignorable is cased */
    for (size_t i = 0, len; i < n; i += len) {
        if (kj_buf_reserve(b, 4) != KJ_OK)
            goto full;
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (c < 0x80) {
            cased = c - 'A' < 26 || c - 'a' < 26 ||
                    (cased && kj_ud_of(c) & KJ_UD_IGNORABLE);
            b->p[b->n++] = (char)kj_uni_lower(c);
            continue;
        }
        unsigned w = kj_ud_of(c);
        if (c == 0x3A3) {
            /* Linear: a sigma is not ignorable itself, so each stretch of
             * ignorable characters is looked through for one sigma only. */
            c = final_sigma(p, n, i, cased) ? 0x3C2 : 0x3C3;
        } else if (c == 0x130) {
            /* The one unconditional full mapping of more than one character. */
            if (kj_buf_add(b, "i\xCC\x87", 3) != KJ_OK)
                goto full;
            cased = true;
            continue;
        } else {
            c = kj_uni_lower(c);
        }
        if (!(w & KJ_UD_IGNORABLE))
            cased = w & KJ_UD_CASED;
        b->n += kj_utf8_put(c, b->p + b->n);
    }
    return KJ_OK;
full:
    b->n = start;
    return KJ_BAD_RECORD;
}

/* ---- scripts ---- */

const char *kj_uni_script(uint32_t c)
{
    if (c > KJ_UD_MAX)
        return "Zzzz";
    size_t lo = 0, hi = kj_ud_runs; /* run[lo] starts at or before c */
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (kj_ud_run[mid] >> 8 <= c)
            lo = mid;
        else
            hi = mid;
    }
    return kj_ud_script[kj_ud_run[lo] & 0xFF];
}
