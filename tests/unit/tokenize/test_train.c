/* test_train.c - the trainer against a naive one, and its properties. */
#include "tests/unit/tokenize/fixture.h"
#include "tokenize/train_internal.h"

#include "tests/unit/test.h"

/* A source over lines in memory, a few in each batch. */
struct lines {
    const char *p;
    size_t n, at;
};

static int lines_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct lines *l = self;
    (void)err;
    b->next.offset = -1;
    if (l->at == l->n)
        return KJ_EOF;
    for (int i = 0; i < 7 && l->at < l->n; i++) {
        const char *e = memchr(l->p + l->at, '\n', l->n - l->at);
        size_t n = e ? (size_t)(e - l->p) + 1 - l->at : l->n - l->at;
        struct kj_doc *d = kj_batch_add(b);
        d->text = (struct kj_str){l->p + l->at, n};
        kj_doc_content_id(d, &b->arena);
        l->at += n;
    }
    return KJ_OK;
}

static int train(const struct kj_tok_train *c, const char *text, size_t n,
                 struct kj_buf *out, struct kj_tok_train_result *r, struct kj_err *err)
{
    struct lines l = {text, n, 0};
    struct kj_source s = {.self = &l, .read = lines_read};
    kj_buf_init(out, 1 << 26);
    return kj_tok_train_source(c, &s, out, r, err);
}

/* ---- the naive trainer: counts everything anew for every merge ---- */

struct naive {
    uint32_t sym[400][64];
    size_t len[400], n;
    int64_t count[400];
};

static uint32_t best_pair(const struct naive *w, const struct tok_vocab *v,
                          uint32_t ids, size_t most, int64_t *count, uint32_t *b)
{
    uint32_t a = 0;
    int64_t *c = calloc((size_t)ids * ids, sizeof *c);
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k + 1 < w->len[i]; k++)
            c[w->sym[i][k] * ids + w->sym[i][k + 1]] += w->count[i];
    *count = 0;
    for (uint32_t x = 0; x < ids; x++)
        for (uint32_t y = 0; y < ids; y++)
            if (c[x * ids + y] > *count &&
                (!most || v->v[x].content.n + v->v[y].content.n <=
                              most)) { /* the first of equal counts: least ids */
                *count = c[x * ids + y];
                a = x;
                *b = y;
            }
    free(c);
    return a;
}

static void merge_all(struct naive *w, uint32_t a, uint32_t b, uint32_t id)
{
    for (size_t i = 0; i < w->n; i++) {
        size_t m = 0;
        for (size_t k = 0; k < w->len[i];) {
            bool hit = k + 1 < w->len[i] && w->sym[i][k] == a && w->sym[i][k + 1] == b;
            w->sym[i][m++] = hit ? id : w->sym[i][k];
            k += hit ? 2 : 1;
        }
        w->len[i] = m;
    }
}

static void test_naive(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static struct naive w;
        struct tok_words words = {0};
        struct tok_vocab v;
        struct kj_strs none = {0};
        uint64_t s = seed;
        memset(&w, 0, sizeof w);
        tok_vocab_init(&v, &none);
        CHECK_INT(v.n, 256);
        uint32_t byte[256];
        for (uint32_t i = 0; i < 256; i++)
            byte[(unsigned char)v.v[i].content.p[0]] = i;
        for (int i = 0; i < 200; i++) {
            char text[32];
            size_t n = 1 + fixture_random(&s, 12);
            for (size_t k = 0; k < n; k++)
                text[k] = (char)('a' + fixture_random(&s, seed % 3 ? 4 : 2));
            uint64_t count = 1 + fixture_random(&s, 9);
            size_t before = words.n;
            tok_words_add(&words, text, (uint32_t)n, tok_hash(text, n), count);
            if (words.n == before) { /* seen: keep both in step */
                for (size_t k = 0; k < words.n; k++)
                    if (words.v[k].len == n &&
                        memcmp(words.blob + words.v[k].off, text, n) == 0)
                        w.count[k] += (int64_t)count;
                continue;
            }
            w.count[w.n] = (int64_t)count;
            w.len[w.n] = n;
            for (size_t k = 0; k < n; k++)
                w.sym[w.n][k] = byte[(unsigned char)text[k]];
            w.n++;
        }
        /* Every other text with a limit of token length. */
        size_t most = seed % 2 ? 3 + seed % 3 : 0;
        const struct tok_until until = {320, 3, most, NULL};
        CHECK_INT(tok_train_merges(&v, &words, &until, NULL), KJ_OK);
        size_t done = 0;
        for (uint32_t id = 256; done < v.n_merges; done++) {
            uint32_t a, b = 0;
            int64_t count;
            a = best_pair(&w, &v, id, most, &count, &b);
            if (count < 3)
                break;
            /* Two ways to the same bytes end the comparison: the naive trainer
             * has no opinion on them. */
            struct kj_str x = v.v[v.merges[done].a].content,
                          y = v.v[v.merges[done].b].content;
            struct kj_str made = v.v[id].content;
            if (made.n != x.n + y.n || memcmp(made.p, x.p, x.n) != 0 ||
                memcmp(made.p + x.n, y.p, y.n) != 0)
                break;
            if (!CHECK(a == v.merges[done].a && b == v.merges[done].b))
                break;
            merge_all(&w, a, b, id++);
        }
        CHECK(done > (most ? 8u : 20u));
        for (size_t i = 0; most && i < v.n; i++)
            CHECK(v.v[i].content.n <= most);
        tok_vocab_release(&v);
        tok_words_release(&words);
    }
}

/* ---- the whole way ---- */

static void make_text(struct kj_buf *b, unsigned lines)
{
    static const char *const stems[] = {"사람", "학교",  "나무", "물",    "people",
                                        "tree", "water", "time", "lower", "lowest"};
    static const char *const ends[] = {"은", "는", "이", "에서", "s", "'s", "", "ing"};
    uint64_t s = 3;
    kj_buf_init(b, 1 << 26);
    for (unsigned i = 0; i < lines; i++) {
        for (unsigned k = fixture_random(&s, 12) + 1; k--;) {
            kj_buf_addz(b, stems[fixture_random(&s, 10) * fixture_random(&s, 10) / 10]);
            kj_buf_addz(b, ends[fixture_random(&s, 8)]);
            kj_buf_addc(b, ' ');
        }
        kj_buf_printf(b, "%u.\n", fixture_random(&s, 5000));
    }
}

static void test_threads_and_round_trip(void)
{
    struct kj_buf text, one, four;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_train_result r;
    struct kj_tok_train c = {
        .vocab_size = 400, .min_frequency = 2, .pattern = "llama3", .threads = 1};
    make_text(&text, 500);
    CHECK_INT(train(&c, text.p, text.n, &one, &r, &err), KJ_OK);
    CHECK_INT(r.documents, 500);
    CHECK_INT(r.bytes, text.n);
    CHECK_INT(r.vocab_size, 400);
    CHECK_INT(r.forgotten, 0);
    c.threads = 4;
    CHECK_INT(train(&c, text.p, text.n, &four, NULL, &err), KJ_OK);
    CHECK_MEM(one.p, one.n, four.p, four.n);

    struct kj_tok *t = NULL;
    if (CHECK_INT(kj_tok_parse(&t, one.p, one.n, "made.json", &err), KJ_OK)) {
        struct kj_tok_state *s = kj_tok_state_new(t);
        struct kj_tok_ids ids = {0};
        struct kj_buf back;
        uint32_t eos;
        kj_buf_init(&back, 1 << 26);
        CHECK_INT(kj_tok_vocab_size(t), 400);
        CHECK_INT(kj_tok_added_id(t, "<|begin_of_text|>"), 0);
        CHECK_INT(kj_tok_eos(t, NULL, &eos, &err), KJ_OK);
        CHECK_INT(eos, 1);
        CHECK_INT(kj_tok_encode(t, s, text.p, text.n, 0, &ids, &err), KJ_OK);
        CHECK(ids.n * 2 < text.n);
        CHECK_INT(kj_tok_decode(t, ids.v, ids.n, false, &back, &err), KJ_OK);
        CHECK_MEM(back.p, back.n, text.p, text.n);
        kj_buf_release(&back);
        kj_tok_ids_release(&ids);
        kj_tok_state_free(s);
        kj_tok_free(t);
    }
    kj_buf_release(&one);
    kj_buf_release(&four);
    kj_buf_release(&text);
}

static void test_limits(void)
{
    struct kj_buf b;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_train_result r;
    const char *special[] = {"<s>", "</s>", "<pad>"};
    struct kj_tok_train c = {.vocab_size = 10000,
                             .min_frequency = 3,
                             .pattern = "gpt2",
                             .special = {special, 3},
                             .threads = 1};
    /* "ab" three times, "cd" twice: one merge. */
    const char text[] = "ab ab ab cd cd\n";
    CHECK_INT(train(&c, text, sizeof text - 1, &b, &r, &err), KJ_OK);
    /* " a", " ab" twice; "ab" three times: a b (3) is all that is left. */
    CHECK_INT(r.vocab_size, 3 + 256 + 1);
    CHECK(strstr(kj_buf_z(&b), "\"ab\": 259"));
    CHECK(strstr(kj_buf_z(&b), "\"</s>\": 1,"));
    kj_buf_release(&b);

    c.vocab_size = 258;
    CHECK_INT(train(&c, text, sizeof text - 1, &b, &r, &err), KJ_USAGE);
    kj_buf_release(&b);
    kj_err_reset(&err);
    c.vocab_size = 300;
    c.pattern = "a(";
    CHECK_INT(train(&c, text, sizeof text - 1, &b, &r, &err), KJ_USAGE);
    kj_buf_release(&b);
    kj_err_reset(&err);
    special[2] = "<s>";
    c.pattern = "gpt2";
    CHECK_INT(train(&c, text, sizeof text - 1, &b, &r, &err), KJ_USAGE);
    kj_buf_release(&b);
}

/* A table under a limit forgets rare words, never frequent ones. */
static void test_memory(void)
{
    struct tok_words w = {.limit = 1 << 20};
    char word[16];
    for (unsigned i = 0; i < 200000; i++) {
        int n = snprintf(word, sizeof word, "w%u", i);
        tok_words_add(&w, word, (uint32_t)n, tok_hash(word, (size_t)n), 1);
        if (i % 4 == 0)
            tok_words_add(&w, "often", 5, tok_hash("often", 5), 1);
    }
    CHECK(w.forgotten > 100000);
    CHECK(w.n < 30000);
    CHECK_INT(w.total, 250000);
    bool found = false;
    for (size_t i = 0; i < w.n; i++)
        if (w.v[i].len == 5 && memcmp(w.blob + w.v[i].off, "often", 5) == 0)
            found = CHECK_INT(w.v[i].count, 50000);
    CHECK(found);
    tok_words_release(&w);
}

int main(void)
{
    test_naive();
    test_threads_and_round_trip();
    test_limits();
    test_memory();
    return test_end();
}
