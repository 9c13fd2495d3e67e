/* test_task.c - templates, Python's draws, accuracies and the scoring of choices,
 * without a command around them (eval.sh has the other hand). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "nn/backend.h"
#include "tests/unit/test.h"
#include "trainer/accuracy.h"
#include "trainer/choose.h"
#include "trainer/pyrandom.h"
#include "trainer/template.h"

static void render(const char *text, const char *doc, const char *want)
{
    struct kj_template *t = NULL;
    struct kj_json *j = kj_json_new();
    const struct kj_jval *v;
    struct kj_arena a;
    struct kj_buf b;
    struct kj_err err = KJ_ERR_INIT;
    kj_arena_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 20);
    CHECK_INT(kj_json_parse(j, doc, strlen(doc), &v, NULL), KJ_OK);
    int rc = kj_template_parse(&t, text, strlen(text), &err);
    if (rc == KJ_OK)
        rc = kj_template_render(t, v, &a, &b, &err);
    if (want) {
        CHECK_INT(rc, KJ_OK);
        CHECK_STR(b.p ? b.p : "", b.n, want);
    } else {
        CHECK(rc == KJ_USAGE || rc == KJ_BAD_RECORD);
        CHECK(err.msg[0] != 0);
    }
    kj_template_free(t);
    kj_json_free(j);
    kj_arena_release(&a);
    kj_buf_release(&b);
}

static void test_template(void)
{
    const char *doc = "{\"q\":\" a\\u3000\",\"n\":3,\"c\":[\"x\",\"y\"],\"b\":true}";
    render("{{q.strip()}}\nA. {{c[0]}}\nAnswer:", doc, "a\nA. x\nAnswer:");
    render("{{n-1}} {{c[-1]}} {{b}}", doc, "2 y True");
    render("{{ {'k': ' v'}['k'] }}", doc, " v");
    render("plain }} text", doc, "plain }} text");
    render("", doc, "");
    render("{{missing}}", doc, NULL);
    render("{{c}}", doc, NULL);
    render("{{n * 2}}", doc, NULL);
    render("{{ q", doc, NULL);
    render("{% if b %}{% endif %}", doc, NULL);
    char deep[400];
    memset(deep, '(', sizeof deep);
    memcpy(deep, "{{", 2);
    deep[399] = 0;
    render(deep, doc, NULL);
    memset(deep + 2, '-', 390);
    render(deep, doc, NULL);
}

/* python3 -c "import random; r = random.Random(1234); print(r.getrandbits(32), ...)" */
static void test_pyrandom(void)
{
    static const uint32_t words[] = {4150886329u, 3342196574u, 1892932127u};
    static const uint32_t few[] = {3, 0, 4, 2, 1};
    struct kj_pyrandom r;
    uint32_t out[40];
    kj_pyrandom_seed(&r, 1234);
    for (size_t i = 0; i < 3; i++)
        CHECK_INT(kj_pyrandom_next(&r), words[i]);
    kj_pyrandom_seed(&r, 1234);
    kj_pyrandom_sample(&r, 5, 5, out);
    for (size_t i = 0; i < 5; i++)
        CHECK_INT(out[i], few[i]);
    /* All of them, in some order, on both paths. */
    kj_pyrandom_sample(&r, 40, 40, out);
    uint64_t seen = 0;
    for (size_t i = 0; i < 40; i++)
        seen |= 1ull << out[i];
    CHECK(seen == (1ull << 40) - 1);
    kj_pyrandom_sample(&r, 1000000, 30, out);
    for (size_t i = 0; i < 30; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(out[i] != out[k] && out[i] < 1000000);
}

static void test_accuracy(void)
{
    struct kj_str choices[] = {KJ_STR("\xea\xb0\x80\xeb\x82\x98"), KJ_STR("abcd")};
    struct kj_question q = {.choices = choices, .n_choices = 2};
    struct kj_accuracy a = {0}, b = {0};
    /* -3 / 2 characters is less than -4 / 4; a tie takes the first. */
    CHECK_INT(kj_accuracy_add(&a, &q, (const double[]){-3, -4}), 0);
    CHECK_INT(kj_accuracy_add(&a, &q, (const double[]){-4, -4}), 0);
    CHECK_INT(kj_accuracy_add(&a, &q, (const double[]){-5, -4}), 1);
    CHECK_INT(a.right, 2);
    CHECK_INT(a.right_norm, 0);
    const struct kj_accuracy *one[] = {&a, &b};
    struct kj_accuracy_value v = kj_accuracy_mean(one, 1, KJ_ACCURACY_ACC);
    CHECK_NEAR(v.value, 2.0 / 3, 1e-12);
    CHECK_NEAR(v.stderr_, sqrt(2.0 / 9 / 2), 1e-12);
    /* Labels 0 and 1: f1 0.8 and 0 (taken once, never right). */
    CHECK_NEAR(kj_accuracy_mean(one, 1, KJ_ACCURACY_F1).value, 0.4, 1e-12);
    CHECK(isnan(kj_accuracy_mean(one, 1, KJ_ACCURACY_F1).stderr_));
    /* One without questions does not count. */
    CHECK_NEAR(kj_accuracy_mean(one, 2, KJ_ACCURACY_ACC).macro, 2.0 / 3, 1e-12);
    q.gold = 1;
    kj_accuracy_add(&b, &q, (const double[]){-5, -4});
    v = kj_accuracy_mean(one, 2, KJ_ACCURACY_ACC);
    CHECK_NEAR(v.value, 0.75, 1e-12);
    CHECK_NEAR(v.macro, (2.0 / 3 + 1) / 2, 1e-12);
    CHECK(isnan(v.stderr_)); /* one question has no error */
}

struct seen {
    double score[8][4];
    uint64_t order[8];
    size_t n;
};

static void got(void *ctx, uint64_t question, const double *scores, size_t n)
{
    struct seen *s = ctx;
    s->order[s->n++] = question;
    memcpy(s->score[question], scores, n * sizeof *scores);
}

/* Choices packed and shared score as each does alone, at any room. */
static void test_choose(void)
{
    enum { N = 24 };
    static const struct kj_shape shape = {.vocab_size = 40,
                                          .hidden = 16,
                                          .ffn = 24,
                                          .layers = 2,
                                          .heads = 2,
                                          .kv_heads = 1,
                                          .head_dim = 8,
                                          .max_positions = N,
                                          .rope_theta = 100,
                                          .norm_eps = 1e-5,
                                          .tied = true,
                                          .init_range = 0.3};
    uint32_t ids[4][N + 9];
    struct kj_backend *b;
    struct kj_llama *m;
    struct kj_chooser *c;
    struct seen packed = {0}, alone = {0};
    CHECK_INT(kj_backend_open(&b, "cpu", 1, NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&m, b, &shape, 60, 16, false, NULL), KJ_OK);
    kj_llama_init(m, 5);
    CHECK_INT(kj_chooser_new(&c, m, 60, got, &packed, NULL), KJ_OK);
    for (size_t q = 0; q < 6; q++) {
        /* 0 and 1 differ in the last token, 2 is a beginning of 3's row; 4 and 5
         * are longer than the context. */
        size_t len = q < 4 ? 6 + q : N + 5;
        struct kj_choice x[4];
        for (size_t k = 0; k < 4; k++) {
            for (size_t i = 0; i < N + 9; i++)
                ids[k][i] = (uint32_t)((7 * i + 11 * q + i * i) % 40);
            size_t own = k < 2 ? 1 : k;
            x[k] = (struct kj_choice){ids[k], len + own, len};
        }
        ids[1][len] = 39;
        CHECK_INT(kj_chooser_add(c, x, 4, NULL), KJ_OK);
        for (size_t k = 0; k < 4; k++) {
            struct kj_chooser *one;
            struct seen s = {0};
            CHECK_INT(kj_chooser_new(&one, m, 30, got, &s, NULL), KJ_OK);
            CHECK_INT(kj_chooser_add(one, &x[k], 1, NULL), KJ_OK);
            CHECK_INT(kj_chooser_flush(one, NULL), KJ_OK);
            CHECK_INT(s.n, 1);
            alone.score[q][k] = s.score[0][0];
            kj_chooser_free(one);
        }
    }
    CHECK_INT(kj_chooser_add(c, &(struct kj_choice){ids[0], 4, 4}, 1, NULL),
              KJ_BAD_RECORD);
    CHECK_INT(kj_chooser_add(c, &(struct kj_choice){ids[0], N + 6, 5}, 1, NULL),
              KJ_BAD_RECORD);
    CHECK_INT(kj_chooser_flush(c, NULL), KJ_OK);
    CHECK_INT(packed.n, 6);
    for (size_t q = 0; q < 6; q++) {
        CHECK_INT(packed.order[q], q);
        for (size_t k = 0; k < 4; k++)
            CHECK_NEAR(packed.score[q][k], alone.score[q][k], 1e-4);
        CHECK(packed.score[q][0] != packed.score[q][1]);
    }
    kj_chooser_free(c);
    kj_llama_free(m);
    kj_backend_close(b);
}

int main(void)
{
    test_template();
    test_pyrandom();
    test_accuracy();
    test_choose();
    return test_end();
}
