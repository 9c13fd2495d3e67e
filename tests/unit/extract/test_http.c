/* HTTP messages as crawlers write them. */
#include "extract/http.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/test.h"

static struct kj_buf a, b;
static unsigned flags;

static struct kj_str body_of(const char *p, size_t n)
{
    struct kj_http h;
    kj_http_parse(p, n, &h);
    return kj_http_body(&h, &a, &b, &flags);
}

#define BODY(msg, want)                                                                \
    do {                                                                               \
        struct kj_str s_ = body_of(msg, sizeof(msg) - 1);                              \
        CHECK_STR(s_.p, s_.n, want);                                                   \
    } while (0)

static void test_head(void)
{
    static const struct {
        const char *msg;
        int status;
        const char *type, *body;
    } t[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nx", 200, "text/html", "x"},
        {"HTTP/1.0 404\nCONTENT-TYPE:a\n\ny", 404, "a", "y"},
        {"HTTP/2 301 \r\r\nX: 1\r\r\nContent-Type:  b \r\r\n\r\r\nz", 301, "b", "z"},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html;\r\n charset=x\r\n\r\n", 200,
         "text/html;\r\n charset=x", ""},
        {"HTTP/1.1 200 OK\r\nbroken line\r\nContent-Type: c\r\n\r\nq", 200, "c", "q"},
        {"HTTPX/1.1 200 OK\r\nContent-Type: d\r\n\r\nq", 200, "d", "q"},
        {"HTTP/1.1 200 OK\r\nContent-Type: e", 200, "e", ""},
        {"<html>no message</html>", 0, "", "<html>no message</html>"},
        {"HTTP/1.1 abc\r\n\r\nx", 0, "", "HTTP/1.1 abc\r\n\r\nx"},
        {"", 0, "", ""},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct kj_http h;
        kj_http_parse(t[i].msg, strlen(t[i].msg), &h);
        struct kj_str type = kj_http_get(&h, "content-type");
        CHECK_INT(h.status, t[i].status);
        CHECK_STR(type.p, type.n, t[i].type);
        CHECK_STR(h.body.p, h.body.n, t[i].body);
    }
}

static void test_type(void)
{
    static const struct {
        const char *value, *type, *charset;
    } t[] = {
        {"text/html; charset=EUC-KR", "text/html", "EUC-KR"},
        {"text/html;charset=\"utf-8\"", "text/html", "utf-8"},
        {"text/html; CharSet = 'x' ; a=b", "text/html", "x"},
        {"text/html, text/html; charset=y", "text/html", "y"},
        {"text/html; charset=", "text/html", ""},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct kj_str type, charset;
        kj_http_type(kj_str_z(t[i].value), &type, &charset);
        CHECK_STR(type.p, type.n, t[i].type);
        CHECK_STR(charset.p, charset.n, t[i].charset);
    }
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_chunks(void)
{
    BODY(CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n", "abcde");
    CHECK_INT(flags, KJ_HTTP_CHUNKED);
    BODY(CHUNKED "3\nabc\n0\n\n", "abc");
    BODY(CHUNKED "0003  \r\nabc\r\n0\r\n", "abc");
    /* decoded by the crawler already, header left as it was */
    BODY(CHUNKED "<p>hello</p>", "<p>hello</p>");
    CHECK_INT(flags, KJ_HTTP_STALE);
    /* cut short, and framing that breaks off */
    BODY(CHUNKED "3\r\nabc\r\n9\r\nde", "abcde");
    CHECK(flags & KJ_HTTP_BAD_CHUNKS);
    BODY(CHUNKED "3\r\nabc\r\nmore text", "abcmore text");
    CHECK(flags & KJ_HTTP_BAD_CHUNKS);
    BODY(CHUNKED "ffffffffffffffff\r\nabc", "abc");
    BODY(CHUNKED, "");
}

static char text[5000];

/* The message with a coded body, in a static buffer. */
static struct kj_str coded(const char *header, const char *p, size_t n)
{
    static char msg[20000];
    int k = snprintf(msg, sizeof msg, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", header);
    memcpy(msg + k, p, n);
    return body_of(msg, (size_t)k + n);
}

static size_t deflate_as(int bits, const char *p, size_t n, char *out, size_t cap)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    deflate(&z, Z_FINISH);
    size_t k = cap - z.avail_out;
    deflateEnd(&z);
    return k;
}

static void test_codings(void)
{
    char z[8000], zz[8000];
    struct kj_str s;
    unsigned x = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        x = x * 1103515245 + 12345;
        text[i] = (char)('a' + (x >> 16) % 26);
    }
    size_t n = deflate_as(31, text, sizeof text, z, sizeof z);
    s = coded("Content-Encoding: gzip", z, n);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    CHECK_INT(flags, KJ_HTTP_CODED);
    s = coded("Content-Encoding: x-gzip, identity", z, n);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    s = coded("X: no header says so", z, n);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    /* cut: what came before stays */
    s = coded("Content-Encoding: gzip", z, n / 2);
    CHECK(s.n > 1000 && s.n < sizeof text && memcmp(s.p, text, s.n) == 0);
    CHECK(flags & KJ_HTTP_CUT);
    /* twice */
    size_t m = deflate_as(15, z, n, zz, sizeof zz);
    s = coded("Content-Encoding: gzip, deflate", zz, m);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    s = coded("Content-Encoding: gzip\r\nContent-Encoding: deflate", zz, m);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    n = deflate_as(-15, text, sizeof text, z, sizeof z);
    s = coded("Content-Encoding: deflate", z, n);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    n = ZSTD_compress(z, sizeof z, text, sizeof text, 3);
    s = coded("Content-Encoding: zstd", z, n);
    CHECK_MEM(s.p, s.n, text, sizeof text);
    s = coded("Content-Encoding: zstd", z, n - 8);
    CHECK(s.n == 0 || memcmp(s.p, text, s.n) == 0 || s.p[0] == z[0]);
    /* "hello hello hello hello\n" at quality 11 */
    static const char br[] = "\x1b\x17\x00\xf8\x8d\x94\x6e\xde\x44\x55\x86\xd6"
                             "\x0a\x20\x6c\x6f\x4a\x11\x79\xe2\x80\xae\x16";
    s = coded("Content-Encoding: br", br, sizeof br - 1);
    CHECK_STR(s.p, s.n, "hello hello hello hello\n");
    CHECK_INT(flags, KJ_HTTP_CODED);
    /* stale headers */
    static const char page[] = "<html><p>plain</p></html>";
    static const char *const names[] = {"gzip", "deflate", "br", "zstd", "gzip, br"};
    for (size_t i = 0; i < 5; i++) {
        char header[64];
        snprintf(header, sizeof header, "Content-Encoding: %s", names[i]);
        s = coded(header, page, sizeof page - 1);
        CHECK_STR(s.p, s.n, page);
        CHECK_INT(flags, KJ_HTTP_STALE);
    }
}

static void test_bomb(void)
{
    /* 100 MB of zeros: cut at the buffers' cap */
    size_t n = 100u << 20;
    char *zeros = calloc(1, n), *z = malloc(1 << 20);
    size_t m = deflate_as(31, zeros, n, z, 1 << 20);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    memcpy(zeros, head, sizeof head - 1);
    memcpy(zeros + sizeof head - 1, z, m);
    struct kj_str s = body_of(zeros, sizeof head - 1 + m);
    CHECK_INT(s.n, a.cap);
    CHECK(flags & KJ_HTTP_TOO_LARGE);
    free(zeros);
    free(z);
}

int main(void)
{
    kj_buf_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 20);
    test_head();
    test_type();
    test_chunks();
    test_codings();
    test_bomb();
    kj_buf_release(&a);
    kj_buf_release(&b);
    return test_end();
}
