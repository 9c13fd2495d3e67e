/* utf8.c - validation and counting, with a fast path over ASCII words. */
#include "base/utf8.h"

#include <string.h>

size_t kj_utf8_valid(const char *p, size_t n)
{
    size_t i = 0, len;
    if (n >= 32 && kj_utf8_is_valid(p, n))
        return n;
    while (i < n) {
        uint64_t w;
        if (n - i >= 8) {
            memcpy(&w, p + i, 8);
            if (!(w & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        /* U+FFFD itself is valid: only its three real bytes may stand for it. */
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (c == KJ_UTF8_BAD && !(len == 3 && memcmp(p + i, "\xEF\xBF\xBD", 3) == 0))
            return i;
        i += len;
    }
    return n;
}

size_t kj_utf8_count(const char *p, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)p[i] & 0xC0) != 0x80;
    return count;
}

size_t kj_utf8_cut(const char *p, size_t n, size_t max)
{
    if (max >= n)
        return n;
    while (max > 0 && ((unsigned char)p[max] & 0xC0) == 0x80)
        max--;
    return max;
}
