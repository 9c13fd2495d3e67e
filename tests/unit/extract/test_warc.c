/* Framing of records: every kind of damage, and the records of real archives
 * against an independent count. */
#include "extract/warc.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "base/input.h"
#include "extract/http.h"
#include "tests/unit/test.h"

#define REC(type, len, body)                                                           \
    "WARC/1.0\r\nWARC-Type: " type "\r\nWARC-Record-ID: <urn:x:" type ">\r\n"          \
    "WARC-Target-URI: http://a.example/\r\nContent-Length: " len "\r\n\r\n" body

static char path[64];

static void put_file(const char *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    fwrite(p, 1, n, f);
    fclose(f);
}

/* Appends one gzip member. */
static size_t gzip(const char *p, size_t n, char *out, size_t cap)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    deflate(&z, Z_FINISH);
    size_t k = cap - z.avail_out;
    deflateEnd(&z);
    return k;
}

static struct kj_warc *open_warc(const char *name, int64_t at)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    if (kj_input_open(&in, name, &err) < 0)
        return NULL;
    if (at > 0 && kj_input_seek(in, at, &err) < 0)
        printf("FAIL seek to %lld: %s\n", (long long)at, err.msg);
    return kj_warc_new(in);
}

/* The whole file as one line: "type:bytes" for records, "!rule" for damage. */
static const char *story_from(int64_t at)
{
    static char out[4096];
    struct kj_warc *w = open_warc(path, at);
    size_t n = 0;
    for (;;) {
        struct kj_warc_rec r;
        struct kj_err err = KJ_ERR_INIT;
        int rc = kj_warc_next(w, &r, &err);
        if (rc == KJ_OK)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s:%zu", n ? " " : "",
                                  r.type, r.block.n);
        else if (rc == KJ_BAD_RECORD)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s!%s", n ? " " : "",
                                  kj_warc_rule(w) + strlen("extract.warc_"));
        else
            break;
    }
    kj_warc_free(w);
    out[n] = 0;
    return out;
}

static void check_story(const char *file, size_t n, const char *want)
{
    put_file(file, n);
    const char *got = story_from(0);
    CHECK_STR(got, strlen(got), want);
}
#define STORY(text, want) check_story(text, sizeof(text) - 1, want)

static void test_framing(void)
{
    STORY(REC("a", "3", "xyz\r\n\r\n") REC("b", "0", "\r\n\r\n"), "a:3 b:0");
    STORY(REC("a", "3", "xyz\n\n") REC("b", "1", "q"), "a:3 b:1");
    /* missing line ends behind the block are no damage */
    STORY(REC("a", "3", "xyz") REC("b", "1", "q\r\n"), "a:3 b:1");
    STORY(REC("a", "3", "xyz\r\n") REC("b", "1", "q\r\n"), "a:3 b:1");
    STORY("WARC/1.0\nWARC-Type: a\nContent-Length: 2\n\nok\n\n", "a:2");
    STORY("WARC/1.0\r\r\nWARC-Type: a\r\r\nContent-Length: 2\r\r\n\r\r\nok\r\r\n\r\r\n",
          "a:2");
    STORY("", "");
    STORY("\r\n\r\n", "");
}

static void test_damage(void)
{
    /* too long: the next version line ends the block */
    STORY(REC("a", "30", "xyz\r\n\r\n") REC("b", "1", "q\r\n\r\n"), "!length a:7 b:1");
    /* too short: what follows is garbage */
    STORY(REC("a", "1", "xyz\r\n\r\n") REC("b", "1", "q\r\n\r\n"),
          "!length a:1 !garbage b:1");
    STORY(REC("a", "9", "xyz"), "!cut a:3");
    STORY(REC("a", "9223372036854775807", "xyz\r\n") REC("b", "1", "q"),
          "!cut a:5 b:1");
    STORY(REC("a", "99999999999999999999999", "xyz\r\n") REC("b", "1", "q"),
          "!cut a:5 b:1");
    STORY("junk\n" REC("a", "1", "q\r\n\r\n") "more junk", "!garbage a:1 !garbage");
    STORY("WARC/1.0\r\nWARC-Type: a\r\n\r\nbody" REC("b", "1", "q"), "!length a:4 b:1");
    STORY("WARC/1.0\r\nContent-Length: many\r\n\r\n", "!length (none):0");
    STORY("WARC/1.0\r\nWARC-Type: a", "!head !length a:0");
    STORY("no archive at all", "!none");
}

static void test_fields(void)
{
    static const char file[] =
        "WARC/1.1\r\nwarc-TYPE: Response\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
        "WARC-Target-URI: <http://a.example/x>\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        "X-Long: one\r\n  two\r\n\tthree\r\nX-Long: second\r\nWARC-Payload-Digest: "
        "sha1:Q\r\n"
        "Content-Type: application/http\r\nContent-Length: 2\r\n\r\nok\r\n\r\n";
    struct kj_err err = KJ_ERR_INIT;
    struct kj_warc_rec r;
    put_file(file, sizeof file - 1);
    struct kj_warc *w = open_warc(path, 0);
    CHECK_INT(kj_warc_next(w, &r, &err), KJ_OK);
    CHECK_STR(r.version.p, r.version.n, "WARC/1.1");
    CHECK_STR(r.type, strlen(r.type), "response");
    CHECK_STR(r.id.p, r.id.n, "<urn:uuid:1>");
    CHECK_STR(r.uri.p, r.uri.n, "http://a.example/x");
    CHECK_STR(r.date.p, r.date.n, "2020-01-02T03:04:05Z");
    CHECK_STR(r.digest.p, r.digest.n, "sha1:Q");
    CHECK_STR(r.block.p, r.block.n, "ok");
    struct kj_str v = kj_warc_get(&r, "x-long");
    CHECK_STR(v.p, v.n, "one two three");
    CHECK_INT(r.offset, 0);
    CHECK_INT(r.length, sizeof file - 1);
    CHECK_INT(kj_warc_next(w, &r, &err), KJ_EOF);
    kj_warc_free(w);
}

static void test_large(void)
{
    /* A block beyond the cap is passed over, and the next record is found. */
    size_t len = KJ_WARC_BLOCK_MAX + 1000, cap = len + 1024;
    char *p = malloc(cap);
    int head = snprintf(p, cap,
                        "WARC/1.0\r\nWARC-Type: a\r\nContent-Length: %zu\r\n\r\n", len);
    memset(p + head, 'x', len);
    size_t n = (size_t)head + len;
    static const char next[] = "\r\n\r\n" REC("b", "1", "q\r\n\r\n");
    memcpy(p + n, next, sizeof next - 1);
    n += sizeof next - 1;
    check_story(p, n, "!large b:1");
    char *z = malloc(cap);
    size_t m = gzip(p, n, z, cap);
    check_story(z, m, "!large b:1");
    free(z);
    free(p);
}

static void test_members(void)
{
    static const char a[] = REC("a", "3", "xyz\r\n\r\n"),
                      b[] = REC("b", "5", "12345\r\n\r\n"),
                      c[] = REC("c", "1", "q\r\n\r\n");
    char z[4096], raw[1024];
    size_t at[4] = {0};
    /* one record a member: each has the address and length of its member */
    at[1] = gzip(a, sizeof a - 1, z, sizeof z);
    at[2] = at[1] + gzip(b, sizeof b - 1, z + at[1], sizeof z - at[1]);
    at[3] = at[2] + gzip(c, sizeof c - 1, z + at[2], sizeof z - at[2]);
    put_file(z, at[3]);
    struct kj_warc *w = open_warc(path, 0);
    for (int i = 0; i < 3; i++) {
        struct kj_err err = KJ_ERR_INIT;
        struct kj_warc_rec r;
        CHECK_INT(kj_warc_next(w, &r, &err), KJ_OK);
        CHECK_INT(r.offset, at[i]);
        CHECK_INT(r.length, at[i + 1] - at[i]);
        CHECK_INT(kj_warc_restart(w), at[i + 1]);
    }
    kj_warc_free(w);
    CHECK_STR(story_from((int64_t)at[1]), strlen(story_from((int64_t)at[1])),
              "b:5 c:1");
    /* all in one member: one address, no length, no way to start inside */
    memcpy(raw, a, sizeof a - 1);
    memcpy(raw + sizeof a - 1, b, sizeof b - 1);
    size_t n = sizeof a + sizeof b - 2, m = gzip(raw, n, z, sizeof z);
    put_file(z, m);
    w = open_warc(path, 0);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_warc_rec r;
    CHECK_INT(kj_warc_next(w, &r, &err), KJ_OK);
    CHECK_INT(r.length, -1);
    CHECK_INT(kj_warc_restart(w), -1);
    CHECK_INT(kj_warc_next(w, &r, &err), KJ_OK);
    CHECK_INT(r.offset, 0);
    CHECK_INT(kj_warc_restart(w), m);
    kj_warc_free(w);
    /* a record over several members, cut anywhere */
    for (size_t cut = 1; cut < n; cut += 7) {
        m = gzip(raw, cut, z, sizeof z);
        m += gzip(raw + cut, n - cut, z + m, sizeof z - m);
        check_story(z, m, "a:3 b:5");
    }
    /* a member cut short, and the next file position still found */
    m = gzip(a, sizeof a - 1, z, sizeof z) - 12;
    size_t k = m + gzip(b, sizeof b - 1, z + m, sizeof z - m);
    put_file(z, k);
    const char *s = story_from(0);
    CHECK(strstr(s, "!member") != NULL);
    CHECK(strstr(s, "b:5") != NULL);
}

static void test_arc(void)
{
    STORY("filedesc://x.arc 0.0.0.0 20200102030405 text/plain 10\n0123456789\n\n"
          "http://a.example/ 1.2.3.4 20200102030405 text/html 5\nhello\n\n"
          "http://a.example/a b 1.2.3.4 20200102030405 text/html 2\nok\n",
          "filedesc:10 arc:5 arc:2");
    STORY(
        "filedesc://x.arc 0.0.0.0 20200102030405 text/plain 3\nabc\njunk\nand more\n"
        "http://a.example/ 1.2.3.4 20200102030405 text/html 200 - - 0 x.arc 50\nhello",
        "filedesc:3 !garbage !cut arc:5");
}

/* ---- real archives ---- */

#define DATA "../shared/data/warc/"

struct tally {
    char type[32];
    int n;
};

static int by_type(const void *a, const void *b)
{
    return strcmp(((const struct tally *)a)->type, ((const struct tally *)b)->type);
}

static bool is_html(const struct kj_warc_rec *r)
{
    if (strcmp(r->type, "response") != 0 && strcmp(r->type, "arc") != 0)
        return false;
    struct kj_http h;
    struct kj_str type, charset;
    kj_http_parse(r->block.p, r->block.n, &h);
    kj_http_type(kj_http_get(&h, "content-type"), &type, &charset);
    return (type.n >= 9 && strncasecmp(type.p, "text/html", 9) == 0) ||
           (type.n >= 17 && strncasecmp(type.p, "application/xhtml", 17) == 0);
}

static void count_file(const char *file, char *types, size_t cap, int *html)
{
    char name[512];
    struct tally t[64];
    size_t n = 0;
    snprintf(name, sizeof name, DATA "%s", file);
    struct kj_warc *w = open_warc(name, 0);
    *html = 0;
    for (;;) {
        struct kj_err err = KJ_ERR_INIT;
        struct kj_warc_rec r;
        int rc = kj_warc_next(w, &r, &err);
        if (rc == KJ_BAD_RECORD)
            continue;
        if (rc != KJ_OK)
            break;
        size_t i = 0;
        while (i < n && strcmp(t[i].type, r.type) != 0)
            i++;
        if (i == n && n < 64) {
            strcpy(t[n].type, r.type);
            t[n++].n = 0;
        }
        t[i].n++;
        *html += is_html(&r);
    }
    kj_warc_free(w);
    qsort(t, n, sizeof *t, by_type);
    size_t k = 0;
    types[0] = 0;
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(types + k, cap - k, "%s%s:%d", i ? " " : "", t[i].type,
                              t[i].n);
    if (n == 0)
        strcpy(types, "-");
}

static void test_real(void)
{
    FILE *f = fopen(DATA "MANIFEST.tsv", "r");
    char line[8192];
    int files = 0, same = 0, html_same = 0, html_files = 0;
    if (!f) {
        SKIP("no archives in ../shared/data/warc");
        return;
    }
    if (!fgets(line, sizeof line, f))
        line[0] = 0;
    while (fgets(line, sizeof line, f)) {
        char *col[13] = {0}, types[1024];
        int n = 0, html;
        for (char *p = strtok(line, "\t"); p && n < 13; p = strtok(NULL, "\t"))
            col[n++] = p;
        if (n < 12 || strcmp(col[0], "file") == 0)
            continue;
        count_file(col[0], types, sizeof types, &html);
        files++;
        same += strcmp(types, col[9]) == 0;
        if (!CHECK(strcmp(types, col[9]) == 0))
            printf("     %s\n     got  %s\n     want %s\n", col[0], types, col[9]);
        if (strcmp(col[10], "-") != 0 && strcmp(col[10], "None") != 0) {
            html_files++;
            html_same += atoi(col[10]) == html;
            if (!CHECK_INT(html, atoi(col[10])))
                printf("     %s\n", col[0]);
        }
    }
    fclose(f);
    printf("real archives: %d of %d files with the same records by type, %d of %d with "
           "the "
           "same number of HTML responses\n",
           same, files, html_same, html_files);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/kijil-test-warc-%d", (int)getpid());
    test_framing();
    test_damage();
    test_fields();
    test_large();
    test_members();
    test_arc();
    test_real();
    unlink(path);
    return test_end();
}
