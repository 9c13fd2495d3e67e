/* The hand-worked finders against PCRE2 with the expressions that define them,
 * on random texts, and on what people write. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/err.h"
#include "filter/pii.h"
#include "tests/unit/test.h"

/* FineWeb's definitions. */
#define ATOM  "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
static const char EMAIL[] =
    "\\b" ATOM "(?:\\." ATOM ")*@(?:(?:" LABEL "\\.)+" LABEL "|\\[(?:" OCTET
    "\\.){3}(?:" OCTET "|[A-Za-z0-9-]*[A-Za-z0-9]:)\\])";
static const char IPV4[] = "(?:" OCTET "\\.){3}" OCTET;

static pcre2_code *compile(const char *re)
{
    int code;
    PCRE2_SIZE at;
    return pcre2_compile((PCRE2_SPTR)re, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                         &code, &at, NULL);
}

/* All matches as "from+len " words. */
static void list_regex(pcre2_code *re, bool public_only, const char *p, size_t n,
                       char *out, size_t size)
{
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(re, NULL);
    size_t at = 0, used = 0;
    out[0] = 0;
    while (at <= n && pcre2_match(re, (PCRE2_SPTR)p, n, at, 0, m, NULL) > 0) {
        PCRE2_SIZE *v = pcre2_get_ovector_pointer(m);
        if (!public_only || kj_pii_ipv4_public(p + v[0], v[1] - v[0]))
            used += (size_t)snprintf(out + used, size - used, "%zu+%zu ", v[0],
                                     v[1] - v[0]);
        at = v[1];
    }
    pcre2_match_data_free(m);
}

static void list_ours(enum kj_pii_kind k, const char *p, size_t n, char *out,
                      size_t size)
{
    size_t from, len, used = 0;
    out[0] = 0;
    for (size_t at = 0;
         (k == KJ_PII_EMAIL ? kj_pii_email : kj_pii_ipv4)(p, n, at, &from, &len);
         at = from + len)
        used += (size_t)snprintf(out + used, size - used, "%zu+%zu ", from, len);
}

static void test_random(void)
{
    static const char *const part[] = {"a",          "b",
                                       "Z",          "9",
                                       "0",          "1",
                                       "25",         "255",
                                       "256",        "10.",
                                       "8.8.8.8",    "1.2.3.4",
                                       ".",          ".",
                                       "..",         "@",
                                       "@",          "-",
                                       "_",          "+",
                                       "!",          " ",
                                       "\n",         "한",
                                       "é",          "[",
                                       "]",          ":",
                                       "com",        ".com",
                                       "@x.org",     "a.b@c.de",
                                       "127.0.0.1",  "01",
                                       "099",        "224.1.1.1",
                                       "@[1.2.3.4]", "@[1.2.3.x-y:]",
                                       "192.168.",   "가",
                                       "/",          "a-.b",
                                       "--"};
    pcre2_code *email = compile(EMAIL), *ipv4 = compile(IPV4);
    unsigned seed = 7;
    int bad = 0;
    for (int round = 0; round < 20000 && bad < 5; round++) {
        char text[1024], want[2048], got[2048];
        size_t n = 0;
        for (int k = 1 + round % 40; k > 0; k--) {
            seed = seed * 1664525u + 1013904223u;
            const char *s = part[(seed >> 8) % (sizeof part / sizeof *part)];
            memcpy(text + n, s, strlen(s));
            n += strlen(s);
        }
        list_regex(email, false, text, n, want, sizeof want);
        list_ours(KJ_PII_EMAIL, text, n, got, sizeof got);
        bad += !CHECK_STR(got, strlen(got), want);
        list_regex(ipv4, true, text, n, want, sizeof want);
        list_ours(KJ_PII_IPV4, text, n, got, sizeof got);
        bad += !CHECK_STR(got, strlen(got), want);
    }
    pcre2_code_free(email);
    pcre2_code_free(ipv4);
}

static void check_mask(enum kj_pii_kind k, const char *in, size_t count,
                       const char *want)
{
    struct kj_arena a;
    struct kj_str out = kj_str_z(in);
    size_t got;
    kj_arena_init(&a, 1 << 20);
    CHECK_INT(kj_pii_mask(k, in, strlen(in), &got, &a, &out), KJ_OK);
    CHECK_INT(got, count);
    CHECK_STR(out.p, out.n, want);
    size_t again;
    kj_pii_mask(k, in, strlen(in), &again, NULL, NULL);
    CHECK_INT(again, count);
    kj_arena_release(&a);
}

static void test_known(void)
{
    check_mask(KJ_PII_EMAIL, "", 0, "");
    check_mask(KJ_PII_EMAIL, "문의: gildong.hong@kijil.kr, b@c.de! d-e@f.g-h.io.", 3,
               "문의: email@example.com, firstname.lastname@example.org! "
               "email@example.com.");
    check_mask(KJ_PII_EMAIL, "@user a@b a@.com no@host- x @ y.com", 0,
               "@user a@b a@.com no@host- x @ y.com");
    /* A Hangul letter right before it belongs to the address's word. */
    check_mask(KJ_PII_EMAIL, "메일a@b.com", 0, "메일a@b.com");
    check_mask(KJ_PII_IPV4, "host 8.8.8.8:53 and 1.1.1.1", 2,
               "host 22.214.171.124:53 and 126.96.36.199");
    check_mask(KJ_PII_IPV4, "10.0.0.1 127.0.0.1 192.168.1.1 172.31.0.9 169.254.1.1", 0,
               "10.0.0.1 127.0.0.1 192.168.1.1 172.31.0.9 169.254.1.1");
    check_mask(KJ_PII_IPV4, "v1.2.3 1.2.3 3.14 300.1.2 08.8.8.8", 0,
               "v1.2.3 1.2.3 3.14 300.1.2 08.8.8.8");
    check_mask(KJ_PII_IPV4, "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7",
               7,
               "22.214.171.124 126.96.36.199 188.8.131.52 184.108.40.206 "
               "220.127.116.11 18.104.22.168 22.214.171.124");
    CHECK(kj_pii_ipv4_public("192.0.0.9", 9) && !kj_pii_ipv4_public("192.0.0.8", 9));
    CHECK(!kj_pii_ipv4_public("100.64.0.1", 10) &&
          kj_pii_ipv4_public("100.128.0.1", 11));
    CHECK(!kj_pii_ipv4_public("255.255.255.255", 15) &&
          kj_pii_ipv4_public("224.0.0.1", 9));
    struct kj_arena a;
    struct kj_str out;
    size_t n;
    kj_arena_init(&a, 8);
    CHECK_INT(kj_pii_mask(KJ_PII_EMAIL, "a@b.cc", 6, &n, &a, &out), KJ_BAD_RECORD);
    kj_arena_release(&a);
}

static void test_korean(void)
{
    check_mask(KJ_PII_EMAIL_ANY, "메일kim@a.co.kr으로 icon@2x.png a@example.com", 1,
               "메일email@example.com으로 icon@2x.png a@example.com");
    check_mask(KJ_PII_IPV4_ALONE, "IP 8.8.8.8 1.8.8.8.8 v8.8.8.8 버전 8.8.8.8", 1,
               "IP 22.214.171.124 1.8.8.8.8 v8.8.8.8 버전 8.8.8.8");
    check_mask(KJ_PII_IPV4_ALONE, "16.4.1.2 설치, 224.0.0.251 211.4.1.2:80 x=59.6.1.2",
               2, "16.4.1.2 설치, 224.0.0.251 22.214.171.124:80 x=126.96.36.199");
    check_mask(KJ_PII_IPV6, "[2400:cb00::1]:80 2001:db8::1 fe80::1 a::b 1:2:3", 1,
               "[2001:db8::1]:80 2001:db8::1 fe80::1 a::b 1:2:3");
    /* Check digits by hand: 900101-123456x sums to 124, 124 mod 11 = 3, 11 - 3 = 8;
     * for foreigners, 900101-523456x: 156 mod 11 = 2, 13 - 2 = 11, so 1. */
    check_mask(KJ_PII_RRN, "900101-1234568, 900101-5234561", 2,
               "000000-0000000, 000000-0000000");
    check_mask(KJ_PII_RRN, "900101-1234567, 901301-5234561", 0,
               "900101-1234567, 901301-5234561");
    check_mask(KJ_PII_RRN, "주민등록번호 210315-3000000, 211315-3000000", 1,
               "주민등록번호 000000-0000000, 211315-3000000");
    /* A published test number of each scheme. */
    check_mask(KJ_PII_CARD,
               "4111-1111-1111-1111, 5555 5555 5555 4444 카드 378282246310005", 3,
               "0000-0000-0000-0000, 0000-0000-0000-0000 카드 0000-0000-0000-0000");
    check_mask(KJ_PII_CARD, "4111-1111-1111-1112 1234-5678-9012-3452 4111111111111111",
               0, "4111-1111-1111-1112 1234-5678-9012-3452 4111111111111111");
    /* 120-81-4752x: 1 + 6 + 0 + 8 + 3 + 28 + 7 + 15 + 10 + 1 = 79, so 1. */
    check_mask(KJ_PII_BUSINESS, "120-81-47521 120-81-47522 1120-81-47521", 1,
               "000-00-00000 120-81-47522 1120-81-47521");
    check_mask(KJ_PII_DRIVER, "11-90-123456-78 10-90-123456-78", 1,
               "00-00-000000-00 10-90-123456-78");
    check_mask(KJ_PII_PHONE, "010-2345-6789 (02) 345-6789 +82 10-2345-6789 01023456789",
               4, "010-0000-0000 010-0000-0000 010-0000-0000 010-0000-0000");
    check_mask(KJ_PII_PHONE,
               "2010-2345-6789 1588-2345 02-2345 08-345-6789 010-234-56789", 0,
               "2010-2345-6789 1588-2345 02-2345 08-345-6789 010-234-56789");
    check_mask(KJ_PII_ACCOUNT, "국민은행 123-45-678901, 계좌 1588-1234 123-45-678901",
               1, "국민은행 000-0000-0000-00, 계좌 1588-1234 123-45-678901");
    check_mask(KJ_PII_PASSPORT, "여권 M12345678 M123A4567\nM12345678", 2,
               "여권 M00000000 M00000000\nM12345678");
}

/* Where two kinds find the same place, the first has it. */
static void test_spans(void)
{
    static const char text[] = "국민은행 010-2345-6789 a@b.kr 110-234-567890";
    struct kj_pii_spans s = {0};
    struct kj_arena a;
    struct kj_str out;
    kj_arena_init(&a, 4096);
    CHECK_INT(kj_pii_spans_add(&s, KJ_PII_EMAIL, text, sizeof text - 1), 1);
    CHECK_INT(kj_pii_spans_add(&s, KJ_PII_PHONE, text, sizeof text - 1), 1);
    CHECK_INT(kj_pii_spans_add(&s, KJ_PII_EMAIL_ANY, text, sizeof text - 1), 0);
    CHECK_INT(s.n, 2);
    CHECK_INT(kj_pii_spans_mask(&s, text, sizeof text - 1, &a, &out), KJ_OK);
    CHECK_STR(out.p, out.n, "국민은행 010-0000-0000 email@example.com 110-234-567890");
    CHECK_INT(s.v[1].from, 27);
    CHECK_INT(s.v[1].was, 6);
    kj_pii_spans_release(&s);
    kj_arena_release(&a);
}

/* Texts on which a backtracking search is quadratic. */
static void test_linear(void)
{
    enum { N = 2 << 20 };
    static const char *const unit[] = {"a!", "a.", "a@", "1.", "@a.", "1.1.1.",
                                       "a-", "1",  "1-", "a:", "010-"};
    char *p = malloc(N);
    for (size_t k = 0; k < sizeof unit / sizeof *unit; k++) {
        size_t m = strlen(unit[k]), count;
        for (size_t i = 0; i < N; i++)
            p[i] = unit[k][i % m];
        CHECK_INT(kj_pii_mask(KJ_PII_EMAIL, p, N, &count, NULL, NULL), KJ_OK);
        for (int kind = KJ_PII_IPV4; kind < KJ_PII_KINDS; kind++)
            CHECK_INT(kj_pii_mask((enum kj_pii_kind)kind, p, N, &count, NULL, NULL),
                      KJ_OK);
    }
    free(p);
}

int main(void)
{
    test_known();
    test_korean();
    test_spans();
    test_random();
    test_linear();
    return test_end();
}
