/* pii_ko.c - numbers of people in Korea, and card numbers.
 *
 * All finders work alike: go to the next digit, see whether
 * it begins a number of the wanted shape, and then ask for what chance does not
 * give: a check digit, a real date, a word before it that says what it is. A
 * number that goes on to the left or right is another number. Shapes are short,
 * and the look back for a word is bounded, so the work is linear.
 *
 * Replacements are never found again: their digits are zeros.
 */
#include "filter/pii_internal.h"

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
    bool said = SAID(p, i, 48, words), hyphen = len;
    if (!len && said)
        len = joined ? joined : shape(p, n, i, two, 2, ' ');
    if (!len || !open_right(p, n, i + len))
        return 0;
    only_digits(p + i, len, d, 13);
    /* Numbers given since October 2020 have no check digit. */
    return real_date(d) && (rrn_check(d) || (said && hyphen)) ? len : 0;
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
    if (at + 1 < n && p[at] == '-' && alnum(p[at + 1]))
        return 0; /* 010-3456-7890-X is a part */
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
    static const char *const words[] = {"전화",  "TEL",    "Tel", "tel", "팩스",
                                        "FAX",   "Fax",    "fax", "☎",   "Phone",
                                        "phone", "연락처", "문의"};
    size_t a = run >= 9 && run <= 11 ? area(p + i, run) : 0;
    if (a && run - a >= 7 && run - a <= 8 && SAID(p, i, 24, words))
        return subscriber(p, n, i + a, true) ? run : 0;
    if (run == 3 && mobile(p + i, run))
        code = behind_area(p, n, i + 3);
    else if (run == 4 && memcmp(p + i, "050", 3) == 0 && p[i + 3] >= '2')
        code = behind_area(p, n, i + 4); /* personal numbers of all carriers */
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
    static const char *const words[] = {"사업자", "등록번호", "Business", "business",
                                        "Biz"};
    size_t len = shape(p, n, i, groups, 3, '-');
    if (!len && run_len(p, n, i) == 10 && SAID(p, i, 32, words))
        len = 10;
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

/* 4000 3000 2000 1000: a row of round numbers. */
static bool round_groups(const char *d)
{
    return d[2] == '0' && d[3] == '0' && d[6] == '0' && d[7] == '0' && d[10] == '0' &&
           d[11] == '0' && d[14] == '0' && d[15] == '0';
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
    return issued(d, k) && luhn(d, k) && !(k == 16 && round_groups(d)) ? len : 0;
}

bool kj_pii_card(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    return scan(p, n, at, from, len, try_card);
}

/* ---- bank accounts ---- */

/* Groups of digits joined by sep from i on; the end, and how many of both. */
static size_t groups_of(const char *p, size_t n, size_t i, char sep, size_t *groups,
                        size_t *digits)
{
    size_t end = i, k;
    *groups = *digits = 0;
    while ((k = run_len(p, n, end)) && k <= 14 && *groups < 5) {
        *digits += k;
        ++*groups;
        end += k;
        if (end + 1 >= n || p[end] != sep || !digit(p[end + 1]))
            break;
        end++;
    }
    return end;
}

/* Does one of the words end right before i, but for blanks and a colon? */
static bool right_behind(const char *p, size_t i, const char *const *words, size_t n)
{
    while (i && (p[i - 1] == ' ' || p[i - 1] == ':'))
        i--;
    for (size_t w = 0; w < n; w++) {
        size_t m = strlen(words[w]);
        if (i >= m && memcmp(p + i - m, words[w], m) == 0)
            return true;
    }
    return false;
}

static size_t try_account(const char *p, size_t n, size_t i)
{
    static const char *const banks[] = {
        "은행",           "농협",          "수협",         "신협",       "새마을금고",
        "우체국",         "카카오뱅크",    "토스뱅크",     "케이뱅크",   "계좌",
        "입금처",         "Bank",          "bank account", "account no", "Account No",
        "account number", "Account number"};
    /* Words of all kinds: only right before a number in three groups. */
    static const char *const shorts[] = {"국민", "신한", "우리", "하나",
                                         "기업", "카뱅", "부산", "대구",
                                         "제일", "외환", "씨티", "토스"};
    static const char *const accounts[] = {"계좌", "계좌번호"};
    char d[16];
    size_t groups, digits, first = run_len(p, n, i);
    size_t end = groups_of(p, n, i, '-', &groups, &digits);
    bool named =
        groups >= 3 && right_behind(p, i, shorts, sizeof shorts / sizeof *shorts);
    if (groups == 1 && first <= 4 &&
        right_behind(p, i, accounts, sizeof accounts / sizeof *accounts)) {
        end = groups_of(p, n, i, ' ', &groups, &digits);
        named = groups >= 3;
    }
    if (digits < 10 || digits > 14 || !open_right(p, n, end) || try_phone(p, n, i) ||
        (groups == 1 && digits < 11) || (groups > 1 && first > 6))
        return 0;
    if (only_digits(p + i, end - i, d, 14) != digits || zeros(d, digits))
        return 0;
    if (named || !SAID(p, i, 40, banks))
        return named ? end - i : 0;
    /* Another number between the word and this one: it says something else. */
    for (size_t b = i; b > 0 && i - b < 40 && p[b - 1] != '\n'; b--) {
        if (digit(p[b - 1]))
            return 0;
        for (size_t w = 0; w < sizeof banks / sizeof *banks; w++) {
            size_t m = strlen(banks[w]);
            if (b >= m && memcmp(p + b - m, banks[w], m) == 0)
                return end - i;
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
