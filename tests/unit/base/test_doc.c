/* test_doc.c - one line in, the same line out; verdicts, shards, checksums. */
#include "base/doc.h"
#include "base/err.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static void round_trip(const char *in, const char *want)
{
    struct kj_batch b;
    struct kj_err err = KJ_ERR_INIT;
    kj_batch_init(&b);
    struct kj_doc *d = kj_batch_add(&b);
    CHECK_INT(kj_doc_parse(d, b.json, &b.arena, in, strlen(in), &err), KJ_OK);
    CHECK_INT(kj_doc_write(d, "s", true, &b.out, &err), KJ_OK);
    CHECK_STR(b.out.p, b.out.n, want);
    kj_batch_release(&b);
}

static void test_lines(void)
{
    round_trip("{\"text\":\"a\\nb\",\"id\":\"x\"}",
               "{\"id\":\"x\",\"text\":\"a\\nb\"}\n");
    /* Unknown fields keep their bytes and their order. */
    round_trip("{\"zeta\": [1, 2.50 ,\"\\u00e9\"], \"id\":\"x\",\"text\":\"\","
               "\"al\\\"pha\":1e300}",
               "{\"id\":\"x\",\"text\":\"\",\"zeta\":[1, 2.50 ,\"\\u00e9\"],"
               "\"al\\\"pha\":1e300}\n");
}

static void test_known(void)
{
    round_trip("{\"id\":7,\"text\":\"t\",\"big\":12345678901234567890123,"
               "\"language_score\":0.75,\"token_count\":12,\"source\":\"s\","
               "\"url\":\"u\",\"signals\":{\"a.b\":1,\"c\":0.1},"
               "\"warc\":{\"file\":\"f\",\"offset\":5,\"length\":6}}",
               "{\"id\":\"7\",\"text\":\"t\",\"url\":\"u\",\"language_score\":0.75,"
               "\"token_count\":12,\"source\":\"s\","
               "\"warc\":{\"file\":\"f\",\"offset\":5,\"length\":6},"
               "\"big\":12345678901234567890123,\"signals\":{\"a.b\":1,\"c\":0.1}}\n");
    /* A known name with another kind of value passes through. */
    round_trip("{\"id\":\"i\",\"text\":\"t\",\"date\":20240101}",
               "{\"id\":\"i\",\"text\":\"t\",\"date\":20240101}\n");
    /* id is always set. */
    round_trip("{\"id\":\"\",\"text\":\"t\",\"x\":1,\"id\":\"i\"}",
               "{\"id\":\"i\",\"text\":\"t\",\"x\":1}\n");
}

/* What a stage sets stands alone, whatever kind of value came in. */
static void test_replaced(void)
{
    static const char in[] =
        "{\"id\":null,\"text\":\"t\",\"language\":null,\"language_score\":\"x\","
        "\"token_count\":-1,\"signals\":[1],\"warc\":7,\"drop\":{\"stage\":\"x\"},"
        "\"url\":null}";
    static const char out[] =
        "{\"id\":\"i\",\"text\":\"t\",\"language\":\"ko\",\"language_score\":0.5,"
        "\"token_count\":3,\"warc\":{\"file\":\"f\",\"offset\":9},\"url\":null,"
        "\"signals\":{\"s\":1},\"drop\":{\"stage\":\"lid\",\"rule\":\"a.b\"}}\n";
    struct kj_batch b;
    struct kj_err err = KJ_ERR_INIT;
    kj_batch_init(&b);
    struct kj_doc *d = kj_batch_add(&b);
    CHECK_INT(kj_doc_parse(d, b.json, &b.arena, in, strlen(in), &err), KJ_OK);
    d->id = KJ_STR("i");
    d->language = KJ_STR("ko");
    d->language_score = 0.5;
    d->token_count = 3;
    d->warc.file = KJ_STR("f");
    d->warc.offset = 9;
    kj_doc_signal(d, &b.arena, "s", 1);
    kj_doc_drop(d, "a.b", NAN, NAN);
    CHECK_INT(kj_doc_write(d, "lid", true, &b.out, &err), KJ_OK);
    CHECK_MEM(b.out.p, b.out.n, out, strlen(out));
    kj_batch_release(&b);
}

/* Fields are looked up one by one: a line of many is refused, not endless. */
static void test_many_fields(void)
{
    for (int signals = 0; signals < 2; signals++)
        for (size_t n = KJ_DOC_FIELDS_MAX - 2; n < KJ_DOC_FIELDS_MAX + 3; n++) {
            struct kj_batch b;
            struct kj_err err = KJ_ERR_INIT;
            kj_batch_init(&b);
            kj_buf_addz(&b.in, signals ? "{\"signals\":{" : "{");
            for (size_t i = 0; i < n; i++)
                kj_buf_printf(&b.in, "%s\"k%zu\":%zu", i ? "," : "", i, i);
            kj_buf_addz(&b.in, signals ? "}}" : "}");
            CHECK_INT(
                kj_doc_parse(kj_batch_add(&b), b.json, &b.arena, b.in.p, b.in.n, &err),
                n > KJ_DOC_FIELDS_MAX ? KJ_BAD_RECORD : KJ_OK);
            kj_batch_release(&b);
        }
}

static void test_bad_lines(void)
{
    static const char *const bad[] = {"",         "[]",          "{\"text\":1}",
                                      "{\"a\":1", "{\"a\":1} x", "{\"text\":\"\xFF\"}",
                                      "{a:1}",    "{\"t\":01}",  "nul"};
    struct kj_batch b;
    kj_batch_init(&b);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kj_err err = KJ_ERR_INIT;
        struct kj_doc *d = kj_batch_add(&b);
        CHECK_INT(kj_doc_parse(d, b.json, &b.arena, bad[i], strlen(bad[i]), &err),
                  KJ_BAD_RECORD);
        CHECK(err.msg[0]);
    }
    kj_batch_release(&b);
}

static void test_fields(void)
{
    struct kj_batch b;
    kj_batch_init(&b);
    struct kj_doc *d = kj_batch_add(&b);
    d->text = KJ_STR("hello");
    kj_doc_content_id(d, &b.arena);
    CHECK_INT(d->id.n, 39);
    for (int i = 0; i < 100; i++)
        kj_doc_signal(d, &b.arena, kj_arena_printf(&b.arena, "s%d", i), i);
    kj_doc_signal(d, &b.arena, "s7", 70);
    CHECK_INT(d->n_signals, 100);
    CHECK_NEAR(kj_doc_signal_get(d, "s7"), 70, 0);
    CHECK(isnan(kj_doc_signal_get(d, "none")));
    kj_doc_set(d, &b.arena, "score", KJ_STR("0.25"));
    kj_doc_set(d, &b.arena, "score", KJ_STR("0.5"));
    CHECK_NEAR(kj_doc_number(d, "score"), 0.5, 0);
    CHECK_NEAR(kj_doc_number(d, "s3"), 3, 0);
    CHECK(isnan(kj_doc_number(d, "token_count")));
    kj_doc_drop(d, "a.b", 1, 2);
    kj_doc_damage(d, "later", "note"); /* the first verdict stands */
    CHECK(!kj_doc_kept(d) && !d->out.damaged && strcmp(d->out.rule, "a.b") == 0);
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_doc_write(d, "filter", true, &b.out, &err), KJ_OK);
    const char *tail = "\"drop\":{\"stage\":\"filter\",\"rule\":\"a.b\",\"value\":1,"
                       "\"threshold\":2}}\n";
    CHECK_MEM(b.out.p + b.out.n - strlen(tail), strlen(tail), tail, strlen(tail));
    kj_batch_release(&b);
}

/* Every document is in exactly one shard, whatever n is, and about evenly. */
static void test_shards(void)
{
    struct kj_batch b;
    kj_batch_init(&b);
    size_t count[7] = {0};
    for (int i = 0; i < 7000; i++) {
        struct kj_doc *d = kj_batch_add(&b);
        d->id = kj_str_z(kj_arena_printf(&b.arena, "id%d", i));
        int in = 0;
        for (unsigned s = 0; s < 7; s++)
            if (kj_doc_in_shard(d, s, 7)) {
                count[s]++;
                in++;
            }
        if (in != 1)
            CHECK_INT(in, 1);
    }
    for (int s = 0; s < 7; s++)
        CHECK(count[s] > 850 && count[s] < 1150);
    struct kj_doc x = b.docs[0], y = b.docs[1];
    CHECK(kj_doc_checksum(&x) != kj_doc_checksum(&y));
    x.text = KJ_STR("1");
    CHECK(kj_doc_checksum(&x) != kj_doc_checksum(&b.docs[0]));
    kj_batch_release(&b);
}

int main(void)
{
    test_lines();
    test_known();
    test_replaced();
    test_many_fields();
    test_bad_lines();
    test_fields();
    test_shards();
    return test_end();
}
