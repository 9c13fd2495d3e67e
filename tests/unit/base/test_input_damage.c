/* test_input_damage.c - what survives damage in a compressed file: members before and
 * behind it, and it costs no more than its own. Mapped and through a pipe. */
#include "tests/unit/base/input_fixture.h"

static void test_gzip_tail(void)
{
    struct kj_buf text, gz;
    struct seen s;
    buf_init(&text);
    buf_init(&gz);
    add_text(&text, 5000);
    add_gzip(&gz, text.p, text.n);
    size_t end = gz.n;
    for (int i = 0; i < 700; i++)
        kj_buf_addc(&gz, 0);
    read_buf(&gz, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 0);
    SAME(s, text);
    kj_buf_release(&s.text);

    kj_buf_addz(&gz, "this is no gzip");
    read_buf(&gz, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 1);
    CHECK_INT(s.bad[0], end + 700);
    SAME(s, text);
    kj_buf_release(&s.text);

    /* A member behind the junk is found. */
    size_t was = text.n;
    add_text(&text, 3000);
    add_gzip(&gz, text.p + was, text.n - was);
    read_buf(&gz, &s);
    CHECK_INT(s.n_bad, 1);
    SAME(s, text);
    kj_buf_release(&s.text);
    kj_buf_release(&text);
    kj_buf_release(&gz);
}

/* Members 0..k-1 came, then at most a part of k, then all from k+1 on. */
static void check_hole(const struct many *m, const struct seen *s, int k)
{
    size_t before = m->text_at[k], after = m->text.n - m->text_at[k + 1];
    CHECK_INT(s->rc, KJ_EOF);
    CHECK_INT(s->n_bad, 1);
    CHECK_INT(s->bad[0], m->file_at[k]);
    if (!CHECK(s->text.n >= before + after))
        return;
    CHECK(memcmp(s->text.p, m->text.p, before) == 0);
    CHECK(memcmp(s->text.p + s->text.n - after, m->text.p + m->text_at[k + 1], after) ==
          0);
}

static void damage_all_over(void (*add)(struct kj_buf *, const char *, size_t))
{
    struct many m;
    struct seen s;
    make_many(&m, add);
    for (int k = 0; k < N; k += 3) {
        size_t len = m.file_at[k + 1] - m.file_at[k];
        /* head, early, middle, near the end, the checksum */
        size_t spots[] = {20, 60, len / 2, len - 12, len - 2};
        for (size_t i = k == 0; i < 5; i++) {
            flip(&m, k, spots[i]);
            read_buf(&m.file, &s);
            check_hole(&m, &s, k);
            /* what stood before the damage came; a zstd block is all or nothing */
            if (spots[i] > len / 3 && add == add_gzip)
                CHECK(s.text.n > m.text.n - (m.text_at[k + 1] - m.text_at[k]));
            kj_buf_release(&s.text);
            flip(&m, k, spots[i]);
        }
    }
    free_many(&m);
}

/* A member cut short in the middle, the next one following at once; and a
 * file cut short. */
static void cut_short(void (*add)(struct kj_buf *, const char *, size_t))
{
    struct many m;
    struct seen s;
    make_many(&m, add);
    for (int k = 1; k < N; k += 2) {
        struct kj_buf b;
        buf_init(&b);
        size_t half = (m.file_at[k] + m.file_at[k + 1]) / 2;
        kj_buf_add(&b, m.file.p, half);
        kj_buf_add(&b, m.file.p + m.file_at[k + 1], m.file.n - m.file_at[k + 1]);
        read_buf(&b, &s);
        check_hole(&m, &s, k);
        kj_buf_release(&s.text);
        b.n = half;
        read_buf(&b, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_bad, 1);
        CHECK_INT(s.bad[0], m.file_at[k]);
        CHECK(s.text.n >= m.text_at[k]);
        CHECK(memcmp(s.text.p, m.text.p, s.text.n) == 0);
        kj_buf_release(&s.text);
        kj_buf_release(&b);
    }
    free_many(&m);
}

static void test_damage(void)
{
    damage_all_over(add_gzip);
    damage_all_over(zstd_sized);
    damage_all_over(zstd_unsized);
    cut_short(add_gzip);
    cut_short(zstd_sized);
}

/* A page that was sent as gzip lies uncompressed in its member. When the
 * member's own checksum is wrong, the inner stream must not pass for one. */
static void test_inner_gzip(void)
{
    struct kj_buf page, inner, rec, gz, want;
    struct seen s;
    buf_init(&page);
    buf_init(&inner);
    buf_init(&rec);
    buf_init(&gz);
    buf_init(&want);
    add_text(&page, 9000);
    add_gzip(&inner, page.p, page.n);
    add_noise(&rec, 300);
    kj_buf_add(&rec, inner.p, inner.n);
    add_noise(&rec, 3000);
    add_gzip(&gz, rec.p, rec.n);
    gz.p[gz.n - 6] ^= 1;
    add_gzip(&gz, "next member", 11);
    kj_buf_add(&want, rec.p, rec.n);
    kj_buf_addz(&want, "next member");
    read_buf(&gz, &s);
    CHECK_INT(s.n_bad, 1);
    SAME(s, want);
    kj_buf_release(&s.text);
    kj_buf_release(&page);
    kj_buf_release(&inner);
    kj_buf_release(&rec);
    kj_buf_release(&gz);
    kj_buf_release(&want);
}

int main(void)
{
    if (!make_dir())
        return 2;
    for (streamed = 0; streamed < 2; streamed++) {
        test_gzip_tail();
        test_damage();
        test_inner_gzip();
    }
    if (!remove_dir())
        return 2;
    return test_end();
}
