/* The source over papers: reading starts again behind every batch; names. */
#include "extract/arxiv.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "tests/unit/test.h"

static char path[64];

static void add(struct archive *a, const char *name, const char *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_write_header(a, e);
    archive_write_data(a, p, n);
    archive_entry_free(e);
}

static struct archive *create(void)
{
    struct archive *a = archive_write_new();
    archive_write_set_format_ustar(a);
    archive_write_open_filename(a, path);
    return a;
}

static void make(void)
{
    struct archive *a = create();
    char name[64], *p = malloc(400000);
    for (int i = 0; i < 24; i++) {
        size_t n = 150000 + (size_t)i * 1000;
        for (size_t k = 0; k < n; k++)
            p[k] = (char)('a' + (k * 7 + (size_t)i * 13) % 26);
        snprintf(name, sizeof name,
                 i % 3 ? "2101/2101.%05d.gz" : "2101/math0101%03d.gz", i);
        add(a, name, p, n);
    }
    free(p);
    archive_write_free(a);
}

struct trace {
    uint64_t sums[64];
    struct kj_pos next[64];
    size_t n, docs;
};

static void follow(struct kj_pos start, struct trace *t, struct kj_archive_counts *c)
{
    const char *const files[] = {path, path};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    struct kj_batch b;
    memset(t, 0, sizeof *t);
    CHECK_INT(kj_archive_source(&s, files, 2, KJ_ARCHIVE_ARXIV, start, c, &err), KJ_OK);
    kj_batch_init(&b);
    while (kj_batch_reset(&b), s.read(s.self, &b, &err) == KJ_OK && t->n < 64) {
        uint64_t sum = b.n;
        for (size_t i = 0; i < b.n; i++)
            sum = sum * 31 + kj_hash64(b.docs[i].id.p, b.docs[i].id.n, 1) +
                  kj_hash64(b.docs[i].raw.p, b.docs[i].raw.n, 2) +
                  (uint64_t)b.docs[i].warc.offset;
        t->docs += b.n;
        t->next[t->n] = b.next;
        t->sums[t->n++] = sum;
    }
    CHECK_INT(err.rc, KJ_OK);
    kj_batch_release(&b);
    s.close(s.self);
}

static void test_restart(void)
{
    struct kj_archive_counts counts;
    struct trace whole, part;
    make();
    follow((struct kj_pos){0, 0}, &whole, &counts);
    CHECK_INT(whole.docs, 48);
    CHECK_INT(counts.records, 48);
    CHECK(whole.n > 5);
    for (size_t i = 0; i + 1 < whole.n; i++) {
        CHECK(whole.next[i].offset >= 0);
        follow(whole.next[i], &part, NULL);
        CHECK_INT(part.n, whole.n - i - 1);
        for (size_t k = 0; k < part.n; k++)
            CHECK(part.sums[k] == whole.sums[i + 1 + k]);
    }
}

static void first(const char *name, const char *id, const char *url)
{
    struct archive *a = create();
    struct kj_err err = KJ_ERR_INIT;
    const char *const files[] = {path};
    struct kj_source s;
    struct kj_batch b;
    add(a, name, "\\section{a}", 11);
    archive_write_free(a);
    CHECK_INT(kj_arxiv_source(&s, files, 1, (struct kj_pos){0, 0}, NULL, &err), KJ_OK);
    kj_batch_init(&b);
    CHECK_INT(s.read(s.self, &b, &err), KJ_OK);
    CHECK_INT(b.n, 1);
    CHECK_STR(b.docs[0].id.p, strlen(id), id);
    CHECK_STR(b.docs[0].url.p, b.docs[0].url.n, url);
    kj_batch_release(&b);
    s.close(s.self);
}

static void test_names(void)
{
    first("2101/2101.00012.gz", "arxiv:2101.00012", "https://arxiv.org/abs/2101.00012");
    first("0704/0704.0012v2.gz", "arxiv:0704.0012", "https://arxiv.org/abs/0704.0012");
    first("hep-th9901001.tar.gz", "arxiv:hep-th/9901001",
          "https://arxiv.org/abs/hep-th/9901001");
    first("paper.tex", "xxh128:", "");
    first("2101.1.gz", "xxh128:", "");
}

static void test_unpack(void)
{
    struct kj_latex_file f[4];
    struct kj_arena a;
    size_t n;
    kj_arena_init(&a, 1 << 20);
    static const char bad[] = "name\0\377\377\377\377\377\377\377\377x";
    CHECK_INT(kj_arxiv_unpack(&a, (struct kj_str){bad, sizeof bad - 1}, true, f, 4, &n),
              KJ_BAD_RECORD);
    static const char one[] = "a.tex\0\2\0\0\0\0\0\0\0xyb.png\0\1\0\0\0\0\0\0\0z";
    CHECK_INT(kj_arxiv_unpack(&a, (struct kj_str){one, sizeof one - 1}, true, f, 4, &n),
              KJ_OK);
    CHECK_INT(n, 1);
    CHECK_STR(f[0].text.p, f[0].text.n, "xy");
    CHECK_INT(kj_arxiv_unpack(&a, KJ_STR("%PDF\0\1"), false, f, 4, &n), KJ_OK);
    CHECK_INT(n, 0);
    kj_arena_release(&a);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/test_arxiv-%d.tar", (int)getpid());
    test_restart();
    test_names();
    test_unpack();
    unlink(path);
    return test_end();
}
