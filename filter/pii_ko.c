/* pii_ko.c - numbers of people in Korea, card numbers, IPv6, glued e-mail.
 *
 * All finders work alike: go to the next digit (or '@', or ':'), see whether
 * it begins a number of the wanted shape, and then ask for what chance does not
 * give: a check digit, a real date, a word before it that says what it is. A
 * number that goes on to the left or right is another number. Shapes are short,
 * and the look back for a word is bounded, so the work is linear.
 *
 * Replacements are never found again: their digits are zeros.
 */
#define _GNU_SOURCE /* memmem */
#include <arpa/inet.h>
#include <string.h>

#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/pii.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool alnum(char c)
{
    return digit(c) || (unsigned char)((c | 32) - 'a') < 26;
}

static int val(char c)
{
    return c - '0';
}

/* Start of the next run of digits at or behind i; n when there is none. */
static size_t next_run(const char *p, size_t n, size_t i)
{
    while (i < n && digit(p[i]) && i && digit(p[i - 1]))
        i++;
    while (i < n && !digit(p[i]))
        i++;
    return i;
}

static size_t run_len(const char *p, size_t n, size_t i)
{
    size_t k = 0;
    while (i + k < n && digit(p[i + k]))
        k++;
    return k;
}

/* May a number begin at i? Not behind a letter, or a number's joint. */
static bool open_left(const char *p, size_t i)
{
    if (i == 0)
        return true;
    char c = p[i - 1];
    if (alnum(c) || c == '_' || c == '+' || c == '=' || c == '/' || c == '#' ||
        c == '$' || c == '%')
        return c == '/' || c == '=' ? i < 2 || !alnum(p[i - 2]) : false;
    return !((c == '-' || c == '.' || c == ',' || c == ':') && i >= 2 &&
             digit(p[i - 2]));
}

/* May a number end before i? */
static bool open_right(const char *p, size_t n, size_t i)
{
    if (i >= n)
        return true;
    if (alnum(p[i]) || p[i] == '_' || p[i] == '%')
        return false;
    return !(
        (p[i] == '-' || p[i] == '.' || p[i] == ',' || p[i] == ':' || p[i] == '/') &&
        i + 1 < n && digit(p[i + 1]));
}

/* Groups of digits of the given lengths from i on, joined by sep; the length of
 * all, 0 when the shape is another. */
static size_t shape(const char *p, size_t n, size_t i, const unsigned char *groups,
                    size_t k, char sep)
{
    size_t at = i;
    for (size_t g = 0; g < k; g++) {
        if (run_len(p, n, at) != groups[g])
            return 0;
        at += groups[g];
        if (g + 1 < k && (at >= n || p[at++] != sep))
            return 0;
    }
    return at - i;
}

/* The digits of p[0..len) alone; their number. */
static size_t only_digits(const char *p, size_t len, char *out, size_t max)
{
    size_t k = 0;
    for (size_t i = 0; i < len && k < max; i++)
        if (digit(p[i]))
            out[k++] = p[i];
    return k;
}

static bool zeros(const char *d, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (d[i] != '0')
            return false;
    return true;
}

/* Does one of the words stand in the `back` bytes before i, on this line? */
static bool said_before(const char *p, size_t i, size_t back, const char *const *words,
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
#define SAID(P, I, BACK, WORDS)                                                        \
    said_before(P, I, BACK, WORDS, sizeof(WORDS) / sizeof *(WORDS))

/* Goes through runs of digits and asks `try` for the length of a number there. */
static bool scan(const char *p, size_t n, size_t at, size_t *from, size_t *len,
                 size_t (*try)(const char *, size_t, size_t))
{
    for (size_t i = next_run(p, n, at); i < n; i = next_run(p, n, i + 1)) {
        if (i < at || !open_left(p, i) || !(*len = try(p, n, i)))
            continue;
        *from = i;
        return true;
    }
    return false;
}

/* ---- resident and foreigner registration numbers ---- */

static bool real_date(const char *d)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int month = 10 * val(d[2]) + val(d[3]), day = 10 * val(d[4]) + val(d[5]);
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

static bool rrn_check(const char *d)
{
    static const int weight[] = {2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5};
    int sum = 0;
    for (int i = 0; i < 12; i++)
        sum += weight[i] * val(d[i]);
    bool foreigner = d[6] >= '5' && d[6] <= '8';
    return ((foreigner ? 13 : 11) - sum % 11) % 10 == val(d[12]);
}

static size_t try_rrn(const char *p, size_t n, size_t i)
{
    static const char *const words[] = {
        "주민",         "외국인등록",   "외국인 등록",         "거소신고",
        "resident reg", "Resident Reg", "registration number", "Registration Number",
        "RRN"};
    static const unsigned char two[] = {6, 7}, one[] = {13};
    char d[13];
    size_t len = shape(p, n, i, two, 2, '-'), joined = shape(p, n, i, one, 1, 0);
    if (!len && run_len(p, n, i) == 6 && i + 9 < n &&
        memcmp(p + i + 6, " - ", 3) == 0 && run_len(p, n, i + 9) == 7)
        len = 16;
    bool said = SAID(p, i, 48, words);
    if (!len && said)
        len = joined;
    if (!len || !open_right(p, n, i + len))
        return 0;
    only_digits(p + i, len, d, 13);
    /* Numbers given since October 2020 have no check digit. */
    return real_date(d) && (rrn_check(d) || (said && len > 13)) ? len : 0;
}

bool kj_pii_rrn(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_rrn);
}

/* ---- telephone ---- */

/* Length of what joins two parts at i: '-' (with blanks on both sides or none),
 * '.' or a blank; 0 when it is something else. */
static size_t joint(const char *p, size_t n, size_t i)
{
    if (n - i >= 3 && memcmp(p + i, " - ", 3) == 0)
        return 3;
    return i < n && (p[i] == '-' || p[i] == '.' || p[i] == ' ');
}

/* "1234-5678" behind a joint at i, or glued; the end, 0 when it is none. */
static size_t subscriber(const char *p, size_t n, size_t i, bool glued)
{
    size_t a = run_len(p, n, i), at = i;
    char d[8];
    if (glued && (a == 7 || a == 8)) {
        at += a;
    } else {
        size_t j = a < 3 || a > 4 ? 0 : joint(p, n, i + a);
        if (!j || run_len(p, n, i + a + j) != 4)
            return 0;
        at += a + j + 4;
    }
    size_t k = only_digits(p + i, at - i, d, 8);
    return !zeros(d, k) && d[0] != '0' && open_right(p, n, at) ? at : 0;
}

/* Length of an area code (with its 0) at d, of a run of `n` digits; 0: none. */
static size_t area(const char *d, size_t n)
{
    if (n < 2 || d[0] != '0')
        return 0;
    if (d[1] == '2')
        return 2;
    if (n < 3)
        return 0;
    if (d[1] == '3' || d[1] == '4' || d[1] == '5' || d[1] == '6') {
        char most = d[1] == '3' ? '3' : d[1] == '5' ? '5' : '4';
        return d[2] >= '1' && d[2] <= most ? 3 : 0;
    }
    return d[1] == '7' && d[2] == '0' ? 3 : 0; /* 070: calls over the Internet */
}

static bool mobile(const char *d, size_t n)
{
    return n >= 3 && d[0] == '0' && d[1] == '1' &&
           (d[2] == '0' || d[2] == '1' || (d[2] >= '6' && d[2] <= '9'));
}

/* Behind an area code that ends at i: a joint, ")" and blanks. */
static size_t behind_area(const char *p, size_t n, size_t i)
{
    if (i < n && p[i] == ')')
        return i + 1 < n && (p[i + 1] == ' ' || p[i + 1] == '-') ? i + 2 : i + 1;
    size_t j = joint(p, n, i);
    return j ? i + j : 0;
}

static size_t try_phone(const char *p, size_t n, size_t i)
{
    size_t run = run_len(p, n, i), code = 0, end = 0;
    if (run == 2 && i && p[i - 1] == '+' && memcmp(p + i, "82", 2) == 0) {
        size_t at = i + 2; /* +82-10-..., +82 (0)10 ..., +82 2 ... */
        char d[4] = "0";
        at += joint(p, n, at);
        if (n - at >= 3 && memcmp(p + at, "(0)", 3) == 0)
            at += 3;
        else
            at += at < n && p[at] == '0';
        size_t k = run_len(p, n, at);
        memcpy(d + 1, p + at, k < 3 ? k : 3);
        if (k <= 2 && (mobile(d, k + 1) || area(d, k + 1) == k + 1))
            code = behind_area(p, n, at + k);
        end = code ? subscriber(p, n, code, true) : 0;
        if (!end && (k == 9 || k == 10) && d[1] == '1' && d[2] == '0')
            end = subscriber(p, n, at + 2, true);
        return end ? end - i : 0;
    }
    if (run == 12 && i && p[i - 1] == '+' && memcmp(p + i, "8210", 4) == 0)
        return p[i + 4] >= '2' && subscriber(p, n, i + 4, true) ? 12 : 0;
    if ((run == 11 && mobile(p + i, run) && p[i + 2] == '0') && p[i + 3] >= '2')
        return subscriber(p, n, i + 3, true) ? 11 : 0;
    if (run == 3 && mobile(p + i, run))
        code = behind_area(p, n, i + 3);
    else if (run <= 3 && area(p + i, run) == run)
        code = behind_area(p, n, i + run);
    end = code ? subscriber(p, n, code, run == 3 && mobile(p + i, run)) : 0;
    return end ? end - i : 0;
}

bool kj_pii_phone(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    for (size_t i = next_run(p, n, at); i < n; i = next_run(p, n, i + 1)) {
        bool plus = i && p[i - 1] == '+' && (i == 1 || !alnum(p[i - 2])) && i - 1 >= at;
        if (i < at || (!plus && !open_left(p, i)) || !(*len = try_phone(p, n, i)))
            continue;
        *from = i - plus;
        *len += plus;
        if (!plus && i > at && p[i - 1] == '(' && memchr(p + i, ')', *len)) {
            --*from; /* "(02) 123-4567" */
            ++*len;
        }
        return true;
    }
    return false;
}

/* ---- business registration numbers ---- */

static size_t try_business(const char *p, size_t n, size_t i)
{
    static const unsigned char groups[] = {3, 2, 5};
    static const int weight[] = {1, 3, 7, 1, 3, 7, 1, 3, 5};
    char d[10];
    size_t len = shape(p, n, i, groups, 3, '-');
    if (!len || !open_right(p, n, i + len))
        return 0;
    only_digits(p + i, len, d, 10);
    int sum = 5 * val(d[8]) / 10;
    for (int k = 0; k < 9; k++)
        sum += weight[k] * val(d[k]);
    /* The first three digits name a tax office: 101 and up. */
    return (10 - sum % 10) % 10 == val(d[9]) && d[0] != '0' ? len : 0;
}

bool kj_pii_business(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_business);
}

/* ---- card numbers ---- */

static bool luhn(const char *d, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        int v = val(d[n - 1 - i]) * (i % 2 ? 2 : 1);
        sum += v > 9 ? v - 9 : v;
    }
    return sum % 10 == 0;
}

/* Ranges that card schemes give out, by length. */
static bool issued(const char *d, size_t n)
{
    int four = 1000 * val(d[0]) + 100 * val(d[1]) + 10 * val(d[2]) + val(d[3]);
    if (n == 15)
        return four / 100 == 34 || four / 100 == 37;
    return four / 1000 == 4 || (four >= 5100 && four < 5600) ||
           (four >= 2221 && four <= 2720) || four == 6011 || four / 100 == 65 ||
           (four >= 3528 && four < 3590) || four / 100 == 62 || four / 100 == 94;
}

static size_t try_card(const char *p, size_t n, size_t i)
{
    static const char *const words[] = {"카드", "card", "Card", "CARD",
                                        "VISA", "Visa", "결제"};
    static const unsigned char four[] = {4, 4, 4, 4}, amex[] = {4, 6, 5},
                               one16[] = {16}, one15[] = {15};
    char d[16];
    size_t len = 0;
    for (int s = 0; s < 2 && !len; s++) {
        char sep = s ? ' ' : '-';
        len = shape(p, n, i, four, 4, sep);
        len = len ? len : shape(p, n, i, amex, 3, sep);
        if (len && sep == ' ' && i + len + 1 < n && p[i + len] == ' ' &&
            digit(p[i + len + 1]))
            return 0; /* a row of numbers */
        if (len && sep == ' ' && i >= 2 && p[i - 1] == ' ' && digit(p[i - 2]))
            return 0;
    }
    if (!len && SAID(p, i, 40, words)) {
        len = shape(p, n, i, one16, 1, 0);
        len = len ? len : shape(p, n, i, one15, 1, 0);
    }
    if (!len || !open_right(p, n, i + len))
        return 0;
    size_t k = only_digits(p + i, len, d, 16);
    return issued(d, k) && luhn(d, k) ? len : 0;
}

bool kj_pii_card(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_card);
}

/* ---- bank accounts ---- */

static size_t try_account(const char *p, size_t n, size_t i)
{
    static const char *const banks[] = {
        "은행",           "농협",          "수협",         "신협",       "새마을금고",
        "우체국",         "카카오뱅크",    "토스뱅크",     "케이뱅크",   "계좌",
        "입금처",         "Bank",          "bank account", "account no", "Account No",
        "account number", "Account number"};
    char d[16];
    size_t end = i, groups = 0, digits = 0, k, first = run_len(p, n, i);
    while ((k = run_len(p, n, end)) && k <= 14 && groups < 5) {
        digits += k;
        groups++;
        end += k;
        if (end + 1 >= n || p[end] != '-' || !digit(p[end + 1]))
            break;
        end++;
    }
    if (digits < 10 || digits > 14 || !open_right(p, n, end) || try_phone(p, n, i) ||
        (groups == 1 && digits < 11) || (groups > 1 && first > 6))
        return 0;
    if (!SAID(p, i, 40, banks) || only_digits(p + i, end - i, d, 14) != digits)
        return 0;
    /* Another number between the word and this one: it says something else. */
    for (size_t b = i; b > 0 && i - b < 40 && p[b - 1] != '\n'; b--) {
        if (digit(p[b - 1]))
            return 0;
        for (size_t w = 0; w < sizeof banks / sizeof *banks; w++) {
            size_t m = strlen(banks[w]);
            if (b >= m && memcmp(p + b - m, banks[w], m) == 0)
                return zeros(d, digits) ? 0 : end - i;
        }
    }
    return 0;
}

bool kj_pii_account(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_account);
}

/* ---- driver's licences and passports ---- */

static size_t try_driver(const char *p, size_t n, size_t i)
{
    static const unsigned char groups[] = {2, 2, 6, 2};
    size_t len = shape(p, n, i, groups, 4, '-');
    int region = len ? 10 * val(p[i]) + val(p[i + 1]) : 0;
    return region >= 11 && region <= 28 && open_right(p, n, i + len) ? len : 0;
}

bool kj_pii_driver(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_driver);
}

/* M12345678 or M123A4567 behind a word for passport: the digit is looked for. */
bool kj_pii_passport(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    static const char *const words[] = {"여권", "passport", "Passport", "PASSPORT"};
    for (size_t i = next_run(p, n, at); i < n; i = next_run(p, n, i + 1)) {
        size_t run = run_len(p, n, i), end = i + run;
        if (i <= at || !strchr("MSRGDO", p[i - 1]) || !p[i - 1] ||
            (i >= 2 && (alnum(p[i - 2]) || p[i - 2] == '_' || p[i - 2] == '-')))
            continue;
        if (run == 3 && end < n && p[end] >= 'A' && p[end] <= 'Z' &&
            run_len(p, n, end + 1) == 4)
            end += 5;
        else if (run != 8)
            continue;
        if (!open_right(p, n, end) || zeros(p + i, run) || !SAID(p, i, 48, words))
            continue;
        *from = i - 1;
        *len = end - i + 1;
        return true;
    }
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

bool kj_pii_ipv4_alone(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    static const char *const words[] = {"버전", "버젼",   "version", "Version", "ver.",
                                        "Ver.", "릴리스", "release", "Release"};
    while (kj_pii_ipv4(p, n, at, from, len)) {
        at = *from + *len;
        if (open_left(p, *from) && open_right(p, n, at) && !SAID(p, *from, 24, words))
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

bool kj_pii_email_any(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    size_t floor = at;
    const char *q;
    while (at < n && (q = memchr(p + at, '@', n - at))) {
        size_t i = (size_t)(q - p), lo = i, end = i + 1, last = 0;
        at = i + 1;
        while (lo > floor && local(p[lo - 1]))
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
