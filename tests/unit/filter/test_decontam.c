/* The index of benchmark items: what makes no difference, what short items ask
 * for, phrases that all items share, spans, and time on hostile text. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "filter/decontam.h"
#include "tests/unit/test.h"

static const char bench[] =
    "{\"id\":\"long\",\"question\":\"The miller of the third village ground seven "
    "sacks "
    "of barley before noon and nine after it; how many sacks of flour did he carry to "
    "the market on Saturday?\"}\n"
    "{\"id\":\"five\",\"question\":\"purple herons seldom whistle twice\"}\n"
    "{\"id\":\"ko\",\"question\":\"곡식을 까부르는 키질은 어느 계절에 주로 하던 일이며 "
    "그 "
    "까닭은 무엇인가?\"}\n"
    "{\"id\":\"tiny\",\"question\":\"too short\"}\n";

static char path[64];

static struct kj_decontam *build(const char *text)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_decontam *d = kj_decontam_new(NULL);
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(text, 1, strlen(text), f) == strlen(text) && !fclose(f));
    CHECK_INT(kj_decontam_add_file(d, path, &err), KJ_OK);
    CHECK_INT(kj_decontam_build(d, &err), KJ_OK);
    return d;
}

static double score(struct kj_decontam *d, const char *text, struct kj_decontam_hit *h)
{
    struct kj_decontam_state *s = kj_decontam_state_new(d);
    double best;
    size_t n = kj_decontam_find(s, text, strlen(text), 0.01, h, 1, &best);
    CHECK_INT(n, best > 0);
    if (n)
        CHECK_NEAR(h->score, best, 0);
    /* The state is as new. */
    double again;
    kj_decontam_find(s, text, strlen(text), 0.01, h, 1, &again);
    CHECK_NEAR(again, best, 0);
    kj_decontam_state_free(s);
    return best;
}

static void test_same(void)
{
    static const char *const ko[] = {
        "곡식을 까부르는 키질은 어느 계절에 주로 하던 일이며 그 까닭은 무엇인가?",
        "곡식을까부르는키질은어느계절에주로하던일이며그까닭은무엇인가",
        "곡식 을 까부르는\n키질 은 어느 계절 에, 주로 하던 일이며 그 까닭은 무엇 인가",
        /* jamo: the first two words */
        "\u1100\u1169\u11a8\u1109\u1175\u11a8\u110b\u1173\u11af "
        "\u1101\u1161\u1107\u116e"
        "\u1105\u1173\u1102\u1173\u11ab 키질은 어느 계절에 주로 하던 일이며 그 까닭은 "
        "무엇인가"};
    static const char *const en[] = {"PURPLE herons, seldom -- whistle\n\n> twice!",
                                     "Ｐｕｒｐｌｅ herons seldom whistle twice",
                                     "pu\u0301rple herons seldom whistle twice"};
    struct kj_decontam *d = build(bench);
    struct kj_decontam_hit h;
    CHECK_INT(kj_decontam_items(d), 3);
    CHECK_INT(kj_decontam_too_short(d), 1);
    for (size_t i = 0; i < 4; i++) {
        CHECK_NEAR(score(d, ko[i], &h), 1, 0);
        CHECK_STR(h.id, strlen(h.id), "\"ko\"");
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_NEAR(score(d, en[i], &h), 1, 0);
        CHECK_STR(h.id, strlen(h.id), "\"five\"");
    }
    kj_decontam_free(d);
}

static void test_scores(void)
{
    struct kj_decontam *d = build(bench);
    struct kj_decontam_hit h;
    /* 30 words: the share itself. 26 of them, with foreign ones between. */
    CHECK_NEAR(
        score(d,
              "x x The miller of the third village ground seven sacks of barley "
              "before ADVERTISEMENT HERE noon and nine after it; how many sacks of "
              "flour did he carry to",
              &h),
        26.0 / 30, 1e-9);
    CHECK_INT(h.start, 4);
    /* A word replaced in the middle. */
    CHECK(
        score(
            d,
            "The miller of the third village ground seven sacks of wheat before noon "
            "and nine after it; how many sacks of flour did he carry to the market on "
            "Saturday?",
            &h) > 0.95);
    /* Five words: four of them are not enough, and score little. */
    CHECK(score(d, "purple herons seldom whistle once", &h) < 0.3);
    CHECK_NEAR(score(d, "miller village sacks barley noon seven purple whistle", &h), 0,
               0);
    CHECK_NEAR(score(d, "", &h), 0, 0);
    kj_decontam_free(d);
}

/* What more than 64 items begin with is no evidence; their ends are. */
static void test_common(void)
{
    char text[100 * 200], *p = text;
    for (int i = 0; i < 100; i++)
        p += sprintf(
            p,
            "{\"q\":\"which of the following statements about the topic below is "
            "always correct w%d x%d y%d z%d\"}\n",
            i, i, i, i);
    struct kj_decontam *d = build(text);
    struct kj_decontam_hit h;
    CHECK_NEAR(
        score(d,
              "which of the following statements about the topic below is always "
              "correct",
              &h),
        0, 0);
    CHECK_NEAR(
        score(d,
              "which of the following statements about the topic below is always "
              "correct w7 x7 y7 z7",
              &h),
        1, 0);
    kj_decontam_free(d);
}

/* Text that begins items over and over costs no more than a bound. */
static void test_time(void)
{
    enum { N = 1 << 20 };
    struct kj_decontam *d = build(bench);
    struct kj_decontam_state *s = kj_decontam_state_new(d);
    struct kj_decontam_hit h[8];
    double best;
    char *p = malloc(N);
    static const char *const unit[] = {"the miller of the third village ", "a ",
                                       "키질은", "purple herons seldom whistle "};
    for (size_t k = 0; k < 4; k++) {
        size_t m = strlen(unit[k]);
        for (size_t i = 0; i < N; i++)
            p[i] = unit[k][i % m];
        clock_t t = clock();
        kj_decontam_find(s, p, N, 0.5, h, 8, &best);
        CHECK(best < 0.75);
        CHECK((double)(clock() - t) / CLOCKS_PER_SEC < 5);
    }
    free(p);
    kj_decontam_state_free(s);
    kj_decontam_free(d);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/kj-decontam-%d.jsonl", (int)getpid());
    test_same();
    test_scores();
    test_common();
    test_time();
    unlink(path);
    return test_end();
}
