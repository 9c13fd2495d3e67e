/* test_shards.c - shards written, read back, and damaged in every way. */
#include "tests/unit/tokenize/fixture.h"

#include "base/output.h"
#include "base/shards.h"
#include "tokenize/shards.h"

#include <unistd.h>

#include "tests/unit/test.h"

static char dir[64];

static char *at(const char *name)
{
    static char path[2][160];
    static int k;
    k = !k;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static void clean(void)
{
    static const char *const names[] = {
        "manifest.jsonl",  "docs.jsonl.zst",  "shard-00000.bin", "shard-00000.idx",
        "shard-00001.bin", "shard-00001.idx", "shard-00002.bin", "shard-00002.idx",
        "shard-00003.bin", "shard-00003.idx"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(at(names[i]));
    rmdir(dir);
}

static size_t slurp(const char *name, unsigned char *p, size_t max)
{
    FILE *f = fopen(at(name), "rb");
    size_t n = f ? fread(p, 1, max, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static void spit(const char *name, const unsigned char *p, size_t n)
{
    FILE *f = fopen(at(name), "wb");
    if (CHECK(f)) {
        fwrite(p, 1, n, f);
        fclose(f);
    }
}

static struct kj_doc doc(const char *id, const char *source, const char *language)
{
    struct kj_doc d = {.warc = {.offset = -1, .length = -1}};
    d.id = kj_str_z(id);
    d.source = kj_str_z(source);
    d.language = kj_str_z(language);
    return d;
}

/* Documents of 3, 5, 0, 12 and 2 ids, eos 300; shards of at most 10 tokens.
 * With EOS: 4 + 6 | 1 | 13 | 3. */
static const size_t sizes[] = {3, 5, 0, 12, 2};
static const uint64_t starts[] = {0, 4, 10, 11, 24, 27};

static int write_set(bool wide, bool force, struct kj_shard_totals *t,
                     struct kj_err *err)
{
    static char msg[256];
    struct fixture f = {.added = "{\"id\":300,\"content\":\"</s>\",\"special\":true}",
                        .vocab = wide ? ",\"zzzz\":70000" : NULL};
    struct kj_tok *tok = fixture_load(&f, msg);
    struct kj_tokenize c = {.tok = tok, .eos_id = 300};
    struct kj_shard_opts o = {.shard_tokens = 10, .shuffle = -1};
    struct kj_shard_writer *w = NULL;
    if (!CHECK(tok))
        return KJ_FAIL;
    int rc = kj_shard_writer_open(&w, &c, &o, dir, "kijil test", force, err);
    for (size_t i = 0; i < 5 && rc == KJ_OK; i++) {
        char id[16];
        uint32_t ids[16];
        snprintf(id, sizeof id, "doc-%zu", i);
        struct kj_doc d = doc(id, i < 3 ? "web" : "book", i == 1 ? "kor" : NULL);
        if (i == 1) {
            d.url = KJ_STR("http://x/\"q\"");
            d.warc.file = KJ_STR("a.warc.gz");
            d.warc.offset = 123;
            d.warc.length = 45;
        }
        for (size_t k = 0; k < sizes[i]; k++)
            ids[k] = (uint32_t)(10 * i + k) +
                     (wide && k == 0 ? 69990 - (uint32_t)i * 10 : 0);
        rc = kj_shard_writer_add(w, &d, ids, sizes[i], err);
    }
    if (rc == KJ_OK)
        rc = kj_shard_writer_commit(w, t, err);
    else
        kj_shard_writer_abort(w);
    kj_tok_free(tok);
    return rc;
}

static void read_set(bool wide)
{
    struct kj_shards *s;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK_INT(kj_shards_open(&s, dir, &err), KJ_OK)) {
        printf("     %s %s\n", err.file, err.msg);
        return;
    }
    CHECK_INT(kj_shards_count(s), 4);
    CHECK_INT(kj_shards_tokens(s), 27);
    CHECK_INT(kj_shards_documents(s), 5);
    CHECK_INT(kj_shards_eos(s), 300);
    CHECK_INT(kj_shards_vocab_size(s), wide ? 70001 : 301);
    for (uint64_t d = 0; d <= 5; d++)
        CHECK_INT(kj_shards_doc_start(s, d), starts[d]);
    for (uint64_t t = 0, d = 0; t < 27; t++) {
        d += t == starts[d + 1];
        CHECK_INT(kj_shards_doc_at(s, t), d);
    }
    uint32_t v[40];
    CHECK_INT(kj_shards_read(s, 0, v, 40), 27);
    CHECK_INT(v[3], 300);
    CHECK_INT(v[5], 11);
    CHECK_INT(v[4], wide ? 69990 : 10);
    CHECK_INT(v[10], 300);                    /* the document without ids */
    CHECK_INT(kj_shards_read(s, 9, v, 5), 5); /* over three shards */
    CHECK_INT(v[0], 300);
    CHECK_INT(v[1], 300);
    CHECK_INT(v[3], 31);
    CHECK_INT(kj_shards_read(s, 27, v, 5), 0);
    const struct kj_shard *r = kj_shards_get(s, 0);
    CHECK_INT(r->idx.width, wide ? 4 : 2);
    CHECK_INT(r->n_counts, 2);
    CHECK_STR(r->counts[1].language, strlen(r->counts[1].language), "kor");
    CHECK_INT(r->counts[1].tokens, 6);
    CHECK_STR(r->last_id, strlen(r->last_id), "doc-1");
    if (!CHECK_INT(kj_shards_verify(s, &err), KJ_OK))
        printf("     %s %s\n", err.file, err.msg);
    kj_shards_close(s);
}

static void test_set(void)
{
    struct kj_shard_totals t;
    struct kj_err err = KJ_ERR_INIT;
    for (int wide = 0; wide < 2; wide++) {
        CHECK_INT(write_set(wide, wide, &t, &err), KJ_OK);
        CHECK_INT(t.shards, 4);
        CHECK_INT(t.documents, 5);
        CHECK_INT(t.tokens, 27);
        read_set(wide);
    }
    /* A folder that holds a set is not written over by chance. */
    CHECK_INT(write_set(false, false, &t, &err), KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(write_set(false, true, &t, &err), KJ_OK);
    read_set(false);
}

/* The published layout, field by field. */
static void test_layout(void)
{
    unsigned char p[512];
    static const unsigned char want[] = {
        'M', 'M', 'I', 'D', 'I', 'D', 'X', 0, 0, /* magic */
        1,   0,   0,   0,   0,   0,   0,   0,    /* version */
        8,                                       /* uint16 */
        2,   0,   0,   0,   0,   0,   0,   0,    /* sequences */
        3,   0,   0,   0,   0,   0,   0,   0,    /* document indices */
        4,   0,   0,   0,   6,   0,   0,   0,    /* lengths */
        0,   0,   0,   0,   0,   0,   0,   0,    /* pointers */
        8,   0,   0,   0,   0,   0,   0,   0,    /* bytes */
        0,   0,   0,   0,   0,   0,   0,   0,    /* documents */
        1,   0,   0,   0,   0,   0,   0,   0, 2, 0, 0, 0, 0, 0, 0, 0};
    size_t n = slurp("shard-00000.idx", p, sizeof p);
    CHECK_INT(n, sizeof want);
    CHECK(n == sizeof want && memcmp(p, want, n) == 0);
    static const unsigned char bin[] = {0,  0, 1,  0, 2,  0, 44, 1, 10, 0,
                                        11, 0, 12, 0, 13, 0, 14, 0, 44, 1};
    n = slurp("shard-00000.bin", p, sizeof p);
    CHECK_INT(n, sizeof bin);
    CHECK(n == sizeof bin && memcmp(p, bin, n) == 0);
}

/* KJ_OK, or the first of open and verify that fails. */
static int check(void)
{
    struct kj_shards *s;
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_shards_open(&s, at("manifest.jsonl"), &err);
    if (rc != KJ_OK)
        return rc;
    rc = kj_shards_verify(s, &err);
    if (rc != KJ_OK && !err.file[0])
        rc = 77; /* damage must be named with its file */
    kj_shards_close(s);
    return rc;
}

static void test_damage(void)
{
    static const char *const names[] = {"shard-00000.bin", "shard-00001.idx",
                                        "docs.jsonl.zst"};
    unsigned char good[4096], bad[4096];
    CHECK_INT(check(), KJ_OK);
    for (size_t f = 0; f < 3; f++) {
        size_t n = slurp(names[f], good, sizeof good);
        CHECK(n > 0 && n < sizeof good);
        for (size_t i = 0; i < n; i++) { /* one bit anywhere */
            memcpy(bad, good, n);
            bad[i] ^= (unsigned char)(1u << i % 8);
            spit(names[f], bad, n);
            /* A bit that the decoder does not use leaves the content whole. */
            if (f < 2 && !CHECK_INT(check(), KJ_FAIL))
                printf("     %s byte %zu\n", names[f], i);
            if (f == 2)
                CHECK(check() == KJ_FAIL || check() == KJ_OK);
        }
        for (size_t k = 1; k <= n; k += 5) { /* cut short */
            spit(names[f], good, n - k);
            CHECK_INT(check(), KJ_FAIL);
        }
        spit(names[f], good, n);
        CHECK_INT(check(), KJ_OK);
    }
    size_t n = slurp("manifest.jsonl", good, sizeof good);
    for (size_t i = 0; i < n; i++) { /* a digit of any number or hash */
        if (good[i] < '0' || good[i] > '8')
            continue;
        memcpy(bad, good, n);
        bad[i]++;
        spit("manifest.jsonl", bad, n);
        if (!CHECK_INT(check(), KJ_FAIL))
            printf("     manifest byte %zu: %.20s\n", i,
                   (char *)bad + (i > 15 ? i - 15 : 0));
    }
    spit("manifest.jsonl", good, n - 1);
    CHECK_INT(check(), KJ_FAIL);
    spit("manifest.jsonl", good, n);
    CHECK_INT(check(), KJ_OK);
}

static void test_nothing(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_shards *s;
    char msg[256];
    struct kj_tok *tok = fixture_load(&(struct fixture){0}, msg);
    struct kj_tokenize c = {.tok = tok, .eos_id = 0};
    struct kj_shard_opts o = {.shard_tokens = 10, .shuffle = -1};
    struct kj_shard_writer *w;
    CHECK_INT(kj_shards_open(&s, dir, &err), KJ_FAIL);
    kj_err_reset(&err);
    CHECK_INT(kj_shard_writer_open(&w, &c, &o, dir, "t", false, &err), KJ_OK);
    CHECK_INT(kj_shard_writer_commit(w, NULL, &err), KJ_FAIL);
    /* An abandoned run leaves nothing behind. */
    kj_err_reset(&err);
    CHECK_INT(kj_shard_writer_open(&w, &c, &o, dir, "t", false, &err), KJ_OK);
    struct kj_doc d = doc("x", NULL, NULL);
    uint32_t ids[20] = {0};
    for (int i = 0; i < 3; i++)
        CHECK_INT(kj_shard_writer_add(w, &d, ids, 8, &err), KJ_OK);
    CHECK(test_have(at("shard-00000.bin")));
    kj_shard_writer_abort(w);
    CHECK(!test_have(at("shard-00000.bin")) && !test_have(at("shard-00000.idx")));
    CHECK_INT(rmdir(dir), 0);
    kj_tok_free(tok);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kijil-test-shards-%ld", (long)getpid());
    test_nothing();
    test_set();
    test_layout();
    test_damage();
    clean();
    return test_end();
}
