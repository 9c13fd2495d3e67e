/* pii_net.c - addresses as people write them: IPv6, IPv4 that stands alone, e-mail
 * glued to other letters. */
#define _GNU_SOURCE /* memmem */
#include "filter/pii_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/doc.h"

bool kj_pii_said(const char *p, size_t i, size_t back, const char *const *words,
                 size_t n_words)
{
    size_t from = i > back ? i - back : 0;
    for (size_t k = i; k > from; k--)
        if (p[k - 1] == '\n')
            from = k;
    for (size_t w = 0; w < n_words; w++)
        if (memmem(p + from, i - from, words[w], strlen(words[w])))
            return true;
    return false;
}

/* ---- IPv6 ---- */

static bool hex_or_colon(char c)
{
    return digit(c) || (unsigned char)((c | 32) - 'a') < 6 || c == ':';
}

/* Global unicast (2000::/3) but the blocks for documentation. */
static bool public6(const unsigned char a[16])
{
    if (a[0] >> 5 != 1)
        return false;
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0D && a[3] == 0xB8)
        return false;
    return !(a[0] == 0x3F && a[1] == 0xFF && a[2] >> 4 == 0);
}

bool kj_pii_ipv6(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    size_t floor = at;
    const char *q;
    while (at < n && (q = memchr(p + at, ':', n - at))) {
        size_t i = (size_t)(q - p), lo = i, hi = i;
        while (lo > floor && i - lo < 40 && hex_or_colon(p[lo - 1]))
            lo--;
        while (hi < n && hi - lo < 64 && hex_or_colon(p[hi]))
            hi++;
        at = hi > i ? hi : i + 1;
        size_t end = hi;
        while (end > lo && p[end - 1] == ':' && (end < lo + 2 || p[end - 2] != ':'))
            end--; /* a colon behind the address */
        char z[48];
        unsigned char a[16];
        if (end - lo < 6 || end - lo >= sizeof z ||
            (lo && (alnum(p[lo - 1]) || p[lo - 1] == '_' || p[lo - 1] == '.')) ||
            (hi < n && (alnum(p[hi]) || p[hi] == '_')))
            continue;
        memcpy(z, p + lo, end - lo);
        z[end - lo] = 0;
        if (inet_pton(AF_INET6, z, a) != 1 || !public6(a))
            continue;
        *from = lo;
        *len = end - lo;
        return true;
    }
    return false;
}

/* ---- IPv4 that stands alone ---- */

/* No part of a longer number: what touches it is neither a letter nor a joint. */
static bool alone(const char *p, size_t n, size_t from, size_t end)
{
    char l = from ? p[from - 1] : ' ', r = end < n ? p[end] : ' ';
    if (alnum(l) || strchr("_+#$%", l) || alnum(r) || r == '_' || r == '%')
        return false;
    if (strchr("-.,:/", l) && from >= 2 &&
        (digit(p[from - 2]) || (l == '/' && alnum(p[from - 2]))))
        return false;
    return !(strchr("-.,/", r) && end + 1 < n && digit(p[end + 1]));
}

/* 3.11.4.1: a first number below 20 and none of three digits is what versions and
 * sections look like. */
static bool like_version(const char *p, size_t from, size_t len)
{
    size_t first = 0, run = 0;
    for (size_t i = 0; i < len; i++) {
        run = digit(p[from + i]) ? run + 1 : 0;
        first += i == first && run;
        if (run == 3)
            return false;
    }
    return first == 1 || p[from] == '1';
}

bool kj_pii_ipv4_alone(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    static const char *const versions[] = {"버전",    "버젼",    "version",
                                           "Version", "ver.",    "Ver.",
                                           "릴리스",  "release", "Release"};
    static const char *const hosts[] = {
        "IP",     "ip",     "접속", "주소", "서버", "차단",   "작성자",
        "글쓴이", "ping",   "Ping", "host", "Host", "server", "from",
        "From",   "ddress", "DNS",  "dns",  "://",  "onnect", "네임서버"};
    while (kj_pii_ipv4(p, n, at, from, len)) {
        at = *from + *len;
        if (alone(p, n, *from, at) && !SAID(p, *from, 24, versions) &&
            strtoul(p + *from, NULL, 10) < 224 && /* multicast is nobody's */
            (!like_version(p, *from, *len) || SAID(p, *from, 40, hosts)))
            return true;
    }
    return false;
}

/* ---- e-mail, glued or not ---- */

/* Is the last label of a host the end of a file name, as in icon@2x.png? */
static bool file_end(struct kj_str label)
{
    static const char *const ends[] = {"png", "jpg", "jpeg", "gif", "svg", "webp",
                                       "js",  "css", "html", "php", "pdf", "txt"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (kj_str_is(label, ends[i]))
            return true;
    return false;
}

static bool local(char c)
{
    return alnum(c) || c == '.' || c == '_' || c == '+' || c == '-' || c == '%';
}

/* The apostrophe of O'Neil, and not one that quotes. */
static bool in_name(const char *p, size_t floor, size_t k, size_t at)
{
    return p[k] == '\'' && k > floor && k + 1 < at && alnum(p[k - 1]) &&
           !digit(p[k - 1]) && p[k + 1] >= 'A' && p[k + 1] <= 'Z';
}

bool kj_pii_email_any(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    size_t floor = at;
    const char *q;
    while (at < n && (q = memchr(p + at, '@', n - at))) {
        size_t i = (size_t)(q - p), lo = i, end = i + 1, last = 0;
        at = i + 1;
        while (lo > floor && (local(p[lo - 1]) || in_name(p, floor, lo - 1, i)))
            lo--;
        while (lo < i && !alnum(p[lo]))
            lo++;
        while (end < n && (alnum(p[end]) || p[end] == '-' || p[end] == '.')) {
            if (p[end] == '.' && (end == i + 1 || p[end - 1] == '.'))
                break;
            end++;
        }
        while (end > i + 1 && !alnum(p[end - 1]))
            end--;
        for (size_t k = i + 1; k < end; k++)
            last = p[k] == '.' ? k : last;
        bool letters = last && end - last >= 3 && end - last <= 13;
        for (size_t k = last + 1; letters && k < end; k++)
            letters = !digit(p[k]) && p[k] != '-';
        if (lo == i || !letters || p[i - 1] == '.' || p[i + 1] == '-')
            continue;
        if (end + 1 < n && p[end] == ':' && (alnum(p[end + 1]) || p[end + 1] == '/'))
            continue; /* git@host:path, ssh and the like */
        struct kj_str host = {p + i + 1, end - i - 1};
        static const char *const ours[] = {"example.com", "example.org", "example.net"};
        bool example = file_end((struct kj_str){p + last + 1, end - last - 1});
        for (int k = 0; k < 3; k++)
            example |= kj_str_is(host, ours[k]);
        if (example)
            continue;
        *from = lo;
        *len = end - lo;
        return true;
    }
    return false;
}
