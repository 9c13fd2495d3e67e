/* test_lines.c - lines over members and chunks: where they stand, which are too long,
 * and which are lost to damage. */
#include "tests/unit/base/input_fixture.h"

static void check_lines(const char *path, const char *want, size_t max)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_buf got;
    const char *p;
    size_t n;
    int64_t member, at;
    buf_init(&got);
    CHECK_INT(kj_input_open(&in, path, &err), KJ_OK);
    struct kj_lines *l = kj_lines_new(in, max);
    int rc;
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, &err)) != KJ_EOF) {
        if (rc == KJ_OK)
            kj_buf_printf(&got, "%lld+%lld[%.*s]", (long long)member, (long long)at,
                          (int)n, p);
        else
            kj_buf_printf(&got, "BAD@%lld;", (long long)err.pos);
        kj_err_reset(&err);
        if (rc <= KJ_FAIL)
            break;
    }
    CHECK_STR(got.p, got.n, want);
    kj_lines_free(l);
    kj_input_close(in);
    kj_buf_release(&got);
}

static void test_lines(void)
{
    struct kj_buf b;
    char path[128], want[256];
    buf_init(&b);
    kj_buf_addz(&b, "one\n\ntwo\r\n12345678\n12345678\r\n123456789\n123\n123456789");
    put_file("lines", &b, path);
    check_lines(
        path,
        "0+0[one]4+0[]5+0[two]10+0[12345678]19+0[12345678]BAD@29;39+0[123]BAD@43;", 8);
    /* the same over members that cut lines, addressed by member and offset */
    kj_buf_reset(&b);
    add_gzip(&b, "one\n\ntw", 7);
    long long a = (long long)b.n;
    add_gzip(&b, "o\r\n123", 6);
    long long c = (long long)b.n;
    add_gzip(&b, "45678", 5);
    long long d = (long long)b.n;
    add_gzip(&b, "\r\n1234567890\nx", 14);
    put_file("lines", &b, path);
    sprintf(want, "0+0[one]0+4[]0+5[two]%lld+3[12345678]BAD@%lld;%lld+13[x]", a, d, d);
    check_lines(path, want, 8);
    /* damage takes the line that it interrupted, and no other */
    b.p[c + 10] ^= 0x55;
    put_file("lines", &b, path);
    struct kj_err err = KJ_ERR_INIT;
    sprintf(want, "0+0[one]0+4[]0+5[two]BAD@%lld;%lld+0[]BAD@%lld;%lld+13[x]", c, d, d,
            d);
    check_lines(path, want, 8);
    kj_err_reset(&err);
    kj_buf_release(&b);
}

/* Long lines over many chunks against a plain splitter. */
static void test_lines_long(void)
{
    struct kj_buf b, gz;
    char path[128];
    buf_init(&b);
    buf_init(&gz);
    for (int i = 0; i < 60; i++) {
        size_t n = rnd() % 300000;
        for (size_t k = 0; k < n; k++)
            kj_buf_addc(&b, (char)('a' + k % 23));
        kj_buf_addc(&b, '\n');
    }
    for (size_t i = 0; i < b.n; i += 77777)
        add_gzip(&gz, b.p + i, b.n - i < 77777 ? b.n - i : 77777);
    for (int form = 0; form < 2; form++) {
        struct kj_err err = KJ_ERR_INIT;
        struct kj_input *in;
        const char *p, *w = b.p;
        size_t n;
        int64_t member, at;
        put_file("long", form ? &gz : &b, path);
        CHECK_INT(kj_input_open(&in, path, &err), KJ_OK);
        struct kj_lines *l = kj_lines_new(in, 1 << 20);
        int count = 0;
        bool same = true;
        while (kj_lines_next(l, &p, &n, &member, &at, &err) == KJ_OK) {
            size_t len = (size_t)((char *)memchr(w, '\n', b.n) - w);
            same = same && n == len && memcmp(p, w, n) == 0;
            w += len + 1;
            count++;
        }
        CHECK(same);
        CHECK_INT(count, 60);
        kj_lines_free(l);
        kj_input_close(in);
    }
    kj_buf_release(&b);
    kj_buf_release(&gz);
}

int main(void)
{
    if (!make_dir())
        return 2;
    test_lines();
    test_lines_long();
    if (!remove_dir())
        return 2;
    return test_end();
}
