/* The source over archives: batches that can be started again at any member,
 * what becomes a document, and what only counts. */
#include "extract/archive.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "tests/unit/test.h"

static char path[64];

static void gzip_to(FILE *f, const char *p, size_t n)
{
    z_stream z;
    size_t cap = n + 1000;
    char *out = malloc(cap);
    memset(&z, 0, sizeof z);
    deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    deflate(&z, Z_FINISH);
    fwrite(out, 1, cap - z.avail_out, f);
    deflateEnd(&z);
    free(out);
}

static void put_record(FILE *f, const char *type, int i, size_t size, bool gz)
{
    char *p = malloc(size + 1000);
    int n =
        snprintf(p, 1000,
                 "WARC/1.0\r\nWARC-Type: %s\r\nWARC-Record-ID: <urn:x:%d>\r\n"
                 "WARC-Date: 2020-01-02T03:04:05Z\r\n"
                 "WARC-Target-URI: http://a.example/%d\r\nContent-Length: %zu\r\n\r\n",
                 type, i, i, size);
    for (size_t k = 0; k < size; k++)
        p[(size_t)n + k] = (char)('a' + (k * 7 + (size_t)i * 13) % 26);
    memcpy(p + n + size, "\r\n\r\n", 4);
    if (gz)
        gzip_to(f, p, (size_t)n + size + 4);
    else
        fwrite(p, 1, (size_t)n + size + 4, f);
    free(p);
}

/* Forty records of 0.1 MB, some not documents, some garbage between. */
static void make(bool gz)
{
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < 40; i++) {
        put_record(f, i % 5 == 4 ? "request" : "response", i, 100000 + (size_t)i * 1000,
                   gz);
        if (i == 17)
            fputs("garbage between members", f);
    }
    fclose(f);
}

struct trace {
    uint64_t sums[64]; /* of each batch's ids, bytes and verdicts */
    struct kj_pos next[64];
    size_t n, docs, damaged;
};

static void follow(struct kj_pos start, struct trace *t,
                   struct kj_archive_counts *counts)
{
    const char *const files[] = {path, path};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    struct kj_batch b;
    memset(t, 0, sizeof *t);
    CHECK_INT(kj_archive_source(&s, files, 2, KJ_ARCHIVE_AUTO, start, counts, &err),
              KJ_OK);
    kj_batch_init(&b);
    while (kj_batch_reset(&b), s.read(s.self, &b, &err) == KJ_OK && t->n < 64) {
        uint64_t sum = b.n;
        for (size_t i = 0; i < b.n; i++) {
            const struct kj_doc *d = &b.docs[i];
            sum = sum * 31 + kj_hash64(d->id.p, d->id.n, 1) +
                  kj_hash64(d->raw.p, d->raw.n, 2) + (uint64_t)d->warc.offset * 7 +
                  (uint64_t)d->warc.length;
            t->damaged += d->out.damaged;
            CHECK(d->out.damaged || d->aux != NULL);
        }
        t->docs += b.n;
        t->next[t->n] = b.next;
        t->sums[t->n++] = sum;
    }
    CHECK_INT(err.rc, KJ_OK);
    kj_batch_release(&b);
    s.close(s.self);
}

static void test_restart(bool gz)
{
    struct kj_archive_counts counts;
    struct trace whole, part;
    make(gz);
    follow((struct kj_pos){0, 0}, &whole, &counts);
    CHECK_INT(whole.docs, 2 * 33);
    CHECK_INT(whole.damaged, 2);
    CHECK_INT(counts.records, 80);
    CHECK_INT(counts.n, 2);
    CHECK_STR(counts.types[0].type, strlen(counts.types[0].type), "response");
    CHECK_INT(counts.types[0].n, 64);
    CHECK_INT(counts.faults, 2);
    CHECK(whole.n > 6);
    int restartable = 0;
    for (size_t i = 0; i + 1 < whole.n; i++) {
        if (whole.next[i].offset < 0)
            continue;
        restartable++;
        follow(whole.next[i], &part, NULL);
        CHECK_INT(part.n, whole.n - i - 1);
        for (size_t k = 0; k < part.n; k++)
            CHECK(part.sums[k] == whole.sums[i + 1 + k]);
    }
    CHECK(restartable >= 5);
}

static void test_kinds(void)
{
    const char *const files[] = {path};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    struct kj_batch b;
    static const char *const pages[] = {"<html><p>x</html>", "\n <!DOCTYPE html>",
                                        "<?xml ?><a/>"};
    for (size_t i = 0; i < 3; i++) {
        FILE *f = fopen(path, "wb");
        fputs(pages[i], f);
        fclose(f);
        kj_batch_init(&b);
        CHECK_INT(kj_archive_source(&s, files, 1, KJ_ARCHIVE_AUTO,
                                    (struct kj_pos){0, 0}, NULL, &err),
                  KJ_OK);
        CHECK_INT(s.read(s.self, &b, &err), KJ_OK);
        if (CHECK_INT(b.n, 1)) {
            CHECK_STR(b.docs[0].raw.p, b.docs[0].raw.n, pages[i]);
            CHECK_INT(((struct kj_archive_rec *)b.docs[0].aux)->kind, KJ_REC_PAGE);
        }
        kj_batch_reset(&b);
        CHECK_INT(s.read(s.self, &b, &err), KJ_EOF);
        s.close(s.self);
        kj_batch_release(&b);
    }
    CHECK_INT(kj_archive_source(&s, (const char *const[]){"/no/such/file"}, 1,
                                KJ_ARCHIVE_AUTO, (struct kj_pos){0, 0}, NULL, &err),
              KJ_FAIL);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/kijil-test-archive-%d", (int)getpid());
    test_restart(true);
    test_restart(false);
    test_kinds();
    unlink(path);
    return test_end();
}
