/* The source over dumps: reading starts again behind every batch, what is too
 * large or cut is damage, and XML's escapes. */
#include "extract/wikidump.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "tests/unit/test.h"

static char path[64];

static void head(FILE *f)
{
    fputs("<mediawiki xml:lang=\"en\"><siteinfo><dbname>simplewiki</dbname>"
          "<base>https://s.example/wiki/Main</base></siteinfo>\n",
          f);
}

static void put_page(FILE *f, int id, int ns, bool redirect, size_t size)
{
    fprintf(f, "<page><title>P %d?</title><ns>%d</ns><id>%d</id>%s<revision><id>1</id>",
            id, ns, id, redirect ? "<redirect title=\"x\" />" : "");
    fputs("<text>old</text></revision><revision><id>2</id><text bytes=\"3\">", f);
    for (size_t k = 0; k < size; k++)
        fputc('a' + (int)((k * 7 + (size_t)id * 13) % 26), f);
    fputs("</text></revision></page>\n", f);
}

static void make(void)
{
    FILE *f = fopen(path, "wb");
    head(f);
    for (int i = 0; i < 60; i++)
        put_page(f, i, i % 7 == 3, i % 5 == 4, 100000 + (size_t)i * 1000);
    fputs("</mediawiki>", f);
    fclose(f);
}

struct trace {
    uint64_t sums[64];
    struct kj_pos next[64];
    size_t n, docs, damaged;
};

static void follow(struct kj_pos start, struct trace *t, struct kj_archive_counts *c)
{
    const char *const files[] = {path, path};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    struct kj_batch b;
    memset(t, 0, sizeof *t);
    CHECK_INT(kj_archive_source(&s, files, 2, KJ_ARCHIVE_WIKIPEDIA, start, c, &err),
              KJ_OK);
    kj_batch_init(&b);
    while (kj_batch_reset(&b), s.read(s.self, &b, &err) == KJ_OK && t->n < 64) {
        uint64_t sum = b.n;
        for (size_t i = 0; i < b.n; i++) {
            const struct kj_doc *d = &b.docs[i];
            sum = sum * 31 + kj_hash64(d->id.p, d->id.n, 1) +
                  kj_hash64(d->raw.p, d->raw.n, 2) + (uint64_t)d->warc.offset * 7;
            t->damaged += d->out.damaged;
        }
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
    CHECK_INT(whole.docs, 2 * 41);
    CHECK_INT(whole.damaged, 0);
    CHECK_INT(counts.records, 120);
    CHECK_STR(counts.types[0].type, strlen(counts.types[0].type), "article");
    CHECK_INT(counts.types[0].n, 82);
    CHECK(whole.n > 6);
    for (size_t i = 0; i + 1 < whole.n; i++) {
        CHECK(whole.next[i].offset >= 0);
        follow(whole.next[i], &part, NULL);
        CHECK_INT(part.n, whole.n - i - 1);
        for (size_t k = 0; k < part.n; k++)
            CHECK(part.sums[k] == whole.sums[i + 1 + k]);
    }
}

/* One batch, which holds all. */
static struct kj_source open_one(struct kj_batch *b)
{
    const char *const files[] = {path};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_source s;
    kj_wikidump_source(&s, files, 1, (struct kj_pos){0, 0}, NULL, &err);
    kj_batch_init(b);
    CHECK_INT(s.read(s.self, b, &err), KJ_OK);
    return s;
}

static void test_fields(void)
{
    struct kj_batch b;
    FILE *f = fopen(path, "wb");
    head(f);
    put_page(f, 5, 0, false, 3);
    fputs("<page><title>no text</title><ns>0</ns><id>9</id></page><page><title>cut", f);
    fclose(f);
    struct kj_source s = open_one(&b);
    CHECK_INT(b.n, 3);
    const struct kj_doc *d = b.docs;
    CHECK_STR(d->id.p, d->id.n, "wikipedia-simple:5:2");
    CHECK_STR(d->url.p, d->url.n, "https://s.example/wiki/P_5%3F");
    CHECK_STR(d->language.p, d->language.n, "en");
    CHECK_STR(d->source.p, d->source.n, "wikipedia-simple");
    CHECK_INT(d->raw.n, 3);
    CHECK_STR(b.docs[1].out.rule, strlen(b.docs[1].out.rule), "extract.wiki_page");
    CHECK_STR(b.docs[2].out.rule, strlen(b.docs[2].out.rule), "extract.wiki_cut");
    s.close(s.self);
    kj_batch_release(&b);
}

/* A page beyond the cap costs itself. */
static void test_large(void)
{
    struct kj_batch b;
    FILE *f = fopen(path, "wb");
    head(f);
    put_page(f, 1, 0, false, 10);
    put_page(f, 2, 0, false, KJ_WIKIDUMP_PAGE_MAX + 5000000);
    put_page(f, 3, 0, false, 10);
    fclose(f);
    struct kj_source s = open_one(&b);
    CHECK_INT(b.n, 3);
    CHECK(!b.docs[0].out.rule && !b.docs[2].out.rule);
    CHECK_STR(b.docs[1].out.rule, strlen(b.docs[1].out.rule), "extract.wiki_bytes");
    s.close(s.self);
    kj_batch_release(&b);
}

static void test_unescape(void)
{
    struct kj_buf b;
    const char *in =
        "&lt;a&gt; &amp;lt; &quot;&apos;&#39; &#xAC00; &#44032; &none; &#xD800;"
        " &#99999999999; &a\001b\tc&";
    kj_buf_init(&b, 1 << 12);
    CHECK_INT(kj_wikidump_unescape(in, strlen(in), &b), KJ_OK);
    CHECK_STR(b.p, b.n, "<a> &lt; \"'' 가 가 &none; &#xD800; &#99999999999; &ab c&");
    kj_buf_release(&b);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/test_wikidump-%d.xml", (int)getpid());
    test_restart();
    test_fields();
    test_large();
    test_unescape();
    unlink(path);
    return test_end();
}
