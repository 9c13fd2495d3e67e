/* test_order.c - an order over two sets of shards, as the loader sees it: the
 * tokens that training meets are those of the order's entries, part by part. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/output.h"
#include "base/shards.h"
#include "trainer/data.h"

enum { SETS = 2, DOCS = 30, END = 1, LONGEST = 40 };
static char dir[64];

/* Set k, document d: its length with the end mark, and its tokens, which tell
 * where they are from. */
static uint64_t length(int k, uint64_t d)
{
    return 2 + (d * 7 + (uint64_t)k * 3) % (LONGEST - 2);
}

static uint16_t token(int k, uint64_t d)
{
    return (uint16_t)(100 + 1000 * k + (int)d);
}

/* sK and a suffix, or with k < 0 the name itself. */
static char *path(const char *suffix, int k)
{
    static char p[2][200];
    static int i;
    i = !i;
    if (k < 0)
        snprintf(p[i], sizeof p[i], "%s/%s", dir, suffix);
    else
        snprintf(p[i], sizeof p[i], "%s/s%d%s", dir, k, suffix);
    return p[i];
}

/* A set in datatrove's form: one shard. */
static void write_set(int k, char hash[40])
{
    struct kj_buf ids, ends, row;
    char h[4][40], name[120];
    int64_t bytes;
    uint64_t all = 0;
    kj_buf_init(&ids, 1 << 20);
    kj_buf_init(&ends, 1 << 20);
    kj_buf_init(&row, 1 << 20);
    for (uint64_t d = 0; d < DOCS; d++) {
        uint16_t end = END, t = token(k, d);
        for (uint64_t i = 0; i + 1 < length(k, d); i++)
            kj_buf_add(&ids, (const char *)&t, 2);
        kj_buf_add(&ids, (const char *)&end, 2);
        all += length(k, d);
        kj_buf_add(&ends, (const char *)&all, 8);
    }
    CHECK_INT(kj_output_file(path(".ds", k), ids.p, ids.n, NULL), KJ_OK);
    CHECK_INT(kj_output_file(path(".ds.index", k), ends.p, ends.n, NULL), KJ_OK);
    kj_hash_file(path(".ds", k), h[0], &bytes, NULL);
    kj_hash_file(path(".ds.index", k), h[1], &bytes, NULL);
    kj_buf_printf(
        &row,
        "{\"format\":\"ds\",\"path\":\"s%d.ds\",\"index\":\"s%d.ds.index\",\"bytes\":%"
        "zu,"
        "\"index_bytes\":%zu,\"hash\":\"%s\",\"index_hash\":\"%s\",\"metadata\":\"m\","
        "\"metadata_hash\":\"\",\"docs_hash\":\"\",\"docs_offset\":0,\"tokens\":"
        "%" PRIu64
        ",\"documents\":%d,\"dtype\":\"uint16\",\"tokenizer\":\"t\",\"tokenizer_hash\":"
        "\"x\",\"eos\":%d,\"vocab_size\":5000,\"first_id\":\"\",\"last_id\":\"\","
        "\"counts\":[{\"source\":\"\",\"language\":\"\",\"band\":\"\",\"documents\":%d,"
        "\"tokens\":%" PRIu64 "}],\"parents\":[\"documents:0000000000000000\"],"
        "\"config_hash\":\"c\",\"tool\":\"t\"",
        k, k, ids.n, ends.n, h[0], h[1], all, DOCS, END, DOCS, all);
    kj_buf_printf(&row, ",\"row_hash\":\"xxh64:%016" PRIx64 "\"}\n",
                  kj_hash64(row.p, row.n, 0));
    snprintf(name, sizeof name, "%s", path(".jsonl", k));
    CHECK_INT(kj_output_file(name, row.p, row.n, NULL), KJ_OK);
    kj_hash_file(name, hash, &bytes, NULL);
    kj_buf_release(&ids);
    kj_buf_release(&ends);
    kj_buf_release(&row);
}

/* Every second document of set 0 twice (part 0), all of set 1 once (part 1),
 * one after the other from both. */
static void write_order(uint64_t tokens[2])
{
    struct kj_buf b, j;
    char hash[SETS][40], bin[40];
    int64_t bytes;
    uint64_t n = 0, at = 0;
    for (int k = 0; k < SETS; k++)
        write_set(k, hash[k]);
    kj_buf_init(&b, 1 << 20);
    kj_buf_init(&j, 1 << 20);
    tokens[0] = tokens[1] = 0;
    kj_buf_add(&b, KJ_ORDER_MAGIC "........", 16);
    for (uint64_t i = 0; i < 2 * DOCS; i++, n++) {
        int k = i % 2;
        uint64_t d = k ? i / 2 : i % DOCS, len = length(k, d);
        const uint64_t e[2] = {at, (d + (k ? DOCS : 0)) | (uint64_t)k << KJ_ORDER_PART};
        kj_buf_add(&b, (const char *)e, 16);
        at += len;
        tokens[k] += len;
    }
    kj_buf_add(&b, (const char *)(const uint64_t[2]){at, 0}, 16);
    memcpy(b.p + 8, &n, 8);
    CHECK_INT(kj_output_file(path("order.bin", -1), b.p, b.n, NULL), KJ_OK);
    kj_hash_file(path("order.bin", -1), bin, &bytes, NULL);
    kj_buf_printf(
        &j,
        "{\"format\":\"kijil-order\",\"version\":1,\"entries\":%" PRIu64
        ",\"order_hash\":\"%s\",\"sets\":[{\"manifest\":\"s0.jsonl\",\"hash\":\"%s\"}"
        ","
        "{\"manifest\":\"s1.jsonl\",\"hash\":\"%s\"}],\"parts\":[{\"name\":\"a\","
        "\"tokens\":%" PRIu64 ",\"entries\":%d},{\"name\":\"b\",\"tokens\":%" PRIu64
        ",\"entries\":%d}]",
        n, bin, hash[0], hash[1], tokens[0], DOCS, tokens[1], DOCS);
    kj_buf_printf(&j, KJ_ORDER_TAIL, kj_hash64(j.p, j.n, 0));
    CHECK_INT(kj_output_file(path("order.json", -1), j.p, j.n, NULL), KJ_OK);
    kj_buf_release(&b);
    kj_buf_release(&j);
}

/* Rows of one epoch: each prediction is counted where its token is from; an end
 * mark goes with the token before it. */
static void observe(const struct kj_order *o, bool shuffle, const uint64_t want[2])
{
    enum { T = 16 };
    struct kj_docs docs = kj_docs_order(o);
    struct kj_loader l;
    struct kj_packed p;
    uint64_t rows = kj_order_tokens(o) / T, seen[2] = {0}, told[2] = {0};
    uint64_t times[SETS][DOCS] = {{0}};
    CHECK_INT(kj_loader_init(&l, &docs, 11, shuffle, NULL), KJ_OK);
    kj_packed_init(&p, T);
    for (uint64_t g = 0; g < rows; g++) {
        CHECK_INT(kj_loader_next(&l, 1, T, &p, NULL), KJ_OK);
        for (size_t i = 0; i < T; i++) {
            int32_t t = p.targets[i] == END ? p.ids[i] : p.targets[i];
            if (t == END) { /* the row begins with an end mark: not told apart */
                uint64_t epoch, at = kj_loader_place(&l, g, T, &epoch) + i;
                t = 100 + 1000 * (int)kj_order_part_of(
                                     o, kj_order_at(o, at % kj_order_tokens(o)));
            } else if (p.targets[i] != END) {
                times[(t - 100) / 1000][(t - 100) % 1000]++;
            }
            seen[(t - 100) / 1000]++;
        }
    }
    kj_loader_seen(&l, 0, rows, T, (unsigned[]){0, 1}, told);
    CHECK_INT(seen[0], told[0]);
    CHECK_INT(seen[1], told[1]);
    CHECK(seen[0] <= want[0] && seen[1] <= want[1]);
    CHECK(want[0] + want[1] - seen[0] - seen[1] < T);
    uint64_t missing = 0;
    for (uint64_t d = 0; d < DOCS; d++) {
        uint64_t a = d % 2 == 0 ? 2 * (length(0, d) - 1) : 0, b = length(1, d) - 1;
        CHECK(times[0][d] <= a && times[1][d] <= b);
        missing += a - times[0][d] + b - times[1][d];
    }
    CHECK(missing < T);
    kj_packed_release(&p);
    kj_loader_release(&l);
}

int main(void)
{
    struct kj_order *o;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t want[2];
    snprintf(dir, sizeof dir, "/tmp/kijil-test-order-XXXXXX");
    CHECK(mkdtemp(dir));
    write_order(want);
    if (!CHECK_INT(kj_order_open(&o, dir, &err), KJ_OK)) {
        printf("     %s: %s\n", err.file, err.msg);
        return test_end();
    }
    CHECK_INT(kj_order_verify(o, &err), KJ_OK);
    CHECK_INT(kj_order_tokens(o), want[0] + want[1]);
    for (uint64_t t = 0; t < kj_order_tokens(o); t++) {
        uint64_t e = kj_order_at(o, t);
        CHECK(kj_order_start(o, e) <= t && t < kj_order_start(o, e + 1));
    }
    observe(o, false, want);
    observe(o, true, want);
    kj_order_close(o);
    static const char *const names[] = {".ds", ".ds.index", ".jsonl"};
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < SETS; k++)
            unlink(path(names[i], k));
    unlink(path("order.bin", -1));
    unlink(path("order.json", -1));
    rmdir(dir);
    return test_end();
}
