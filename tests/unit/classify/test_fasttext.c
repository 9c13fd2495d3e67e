/* test_fasttext.c - loading with every check, applying, training, shrinking. */
#include "classify/fasttext.h"
#include "classify/ft_device.h"

#include "tests/unit/classify/ft_help.h"
#include "tests/unit/test.h"

static struct kj_buf text;

static void make(struct kj_buf *model, const struct kj_ft_train *o)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft_train_stats st;
    kj_buf_init(model, 64u << 20);
    CHECK_INT(kj_ft_train(o, text.p, text.n, model, &st, &err), KJ_OK);
    CHECK(st.words > 100 && st.labels > 0 && st.examples > 0 && st.loss > 0);
}

static void shrink(struct kj_buf *model, const struct kj_ft_quantize *q)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    struct kj_buf small;
    kj_buf_init(&small, 64u << 20);
    if (CHECK_INT(kj_ft_open_mem(&m, model->p, model->n, "m", &err), KJ_OK))
        CHECK_INT(kj_ft_quantise(m, q, &small, &err), KJ_OK);
    kj_ft_free(m);
    kj_buf_release(model);
    *model = small;
}

/* Share of lines whose best label is a true one. */
static double right(const struct kj_buf *model)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    size_t lines = 0, good = 0, used;
    if (!CHECK_INT(kj_ft_open_mem(&m, model->p, model->n, "m", &err), KJ_OK))
        return 0;
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    CHECK(kj_ft_memory(m) <= KJ_FT_MEM_FACTOR * model->n + (1 << 20));
    for (size_t at = 0; at < text.n; at += used) {
        struct kj_ft_hit hit;
        const int32_t *gold;
        int32_t n;
        if (kj_ft_predict(m, s, text.p + at, text.n - at, false, 1, 0, &hit, &n, &used,
                          &err) != KJ_OK) {
            CHECK_STR(err.msg, strlen(err.msg), "no error");
            break;
        }
        size_t n_gold = kj_ft_true_labels(s, &gold);
        for (size_t i = 0; i < n_gold; i++)
            if (n == 1 && gold[i] == hit.label) {
                good++;
                break;
            }
        lines++;
    }
    kj_ft_scratch_free(s);
    kj_ft_free(m);
    return (double)good / (double)lines;
}

static void learns_with_every_loss(void)
{
    for (int loss = KJ_FT_HS; loss <= KJ_FT_OVA; loss++) {
        struct kj_ft_train o = help_options(loss);
        struct kj_buf a, b;
        o.epoch = 8;
        o.word_ngrams = 2;
        make(&a, &o);
        make(&b, &o);
        CHECK(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
        CHECK(right(&a) > 0.7);
        kj_buf_release(&b);
        o.threads = 3;
        make(&b, &o);
        CHECK(right(&b) > 0.6);
        kj_buf_release(&b);
        kj_buf_release(&a);
    }
}

/* Scores of many lines through a back end are the bits of one at a time. */
static void scores_in_passes(void)
{
    for (int loss = KJ_FT_HS; loss <= KJ_FT_OVA; loss++) {
        struct kj_ft_train o = help_options(loss);
        struct kj_err err = KJ_ERR_INIT;
        struct kj_buf model;
        struct kj_ft *m;
        struct kj_ft_device *d;
        struct kj_ft_pass *p;
        struct kj_ft_hit hits[16];
        static float many[4000];
        o.word_ngrams = 2;
        kj_buf_init(&model, 1 << 28);
        make(&model, &o);
        CHECK_INT(kj_ft_open_mem(&m, model.p, model.n, "model", &err), KJ_OK);
        CHECK_INT(kj_ft_device_open(&d, m, "cpu", &err), KJ_OK);
        CHECK_INT(kj_ft_pass_new(&p, d, &err), KJ_OK);
        struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
        size_t n = 0, differ = 0, at = 0;
        while (at < text.n && n < 4000) {
            const char *nl = memchr(text.p + at, '\n', text.n - at);
            size_t len = nl ? (size_t)(nl - text.p) - at : text.n - at;
            if (n % 7 == 3) /* nothing known */
                CHECK_INT(kj_ft_pass_add(p, 1, "", 0, &many[n++], &err), KJ_OK);
            else
                CHECK_INT(kj_ft_pass_add(p, 1, text.p + at, len, &many[n++], &err),
                          KJ_OK);
            at += len + 1;
        }
        CHECK_INT(kj_ft_pass_run(p, &err), KJ_OK);
        at = 0;
        for (size_t i = 0; i < n; i++) {
            const char *nl = memchr(text.p + at, '\n', text.n - at);
            size_t len = nl ? (size_t)(nl - text.p) - at : text.n - at;
            float one;
            bool none = i % 7 == 3;
            CHECK_INT(kj_ft_score(m, s, 1, none ? "" : text.p + at, none ? 0 : len,
                                  hits, &one, &err),
                      KJ_OK);
            differ += memcmp(&one, &many[i], sizeof one) != 0;
            at += len + 1;
        }
        CHECK(n > 20);
        CHECK_INT(differ, 0);
        kj_ft_scratch_free(s);
        kj_ft_pass_free(p);
        kj_ft_device_free(d);
        kj_ft_free(m);
        kj_buf_release(&model);
    }
}

static void shrinks(void)
{
    struct kj_ft_train o = help_options(KJ_FT_SOFTMAX);
    o.epoch = 8;
    o.minn = 1;
    o.maxn = 3;
    struct kj_ft_quantize q[] = {
        {.dsub = 2},
        {.dsub = 2, .qnorm = true},
        {.dsub = 3, .qnorm = true, .qout = true},
        {.dsub = 2, .cutoff = 300, .qnorm = true},
        {.dsub = 2, .cutoff = 300, .retrain = &o, .text = text.p, .text_n = text.n},
    };
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
        struct kj_buf a, b;
        make(&a, &o);
        size_t whole = a.n;
        shrink(&a, &q[i]);
        CHECK(a.n < whole);
        CHECK(right(&a) > 0.6);
        make(&b, &o);
        shrink(&b, &q[i]);
        CHECK(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
        kj_buf_release(&a);
        kj_buf_release(&b);
    }
}

/* What the file says and what a caller asks. */
static void tells_about_itself(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf a;
    struct kj_ft *m;
    struct kj_ft_train o = help_options(KJ_FT_OVA);
    o.min_count = 3;
    make(&a, &o);
    CHECK_INT(kj_ft_open_mem(&m, a.p, a.n, "m", &err), KJ_OK);
    const struct kj_ft_args *g = kj_ft_get_args(m);
    CHECK_INT(g->dim, 7);
    CHECK_INT(g->min_count, 3);
    CHECK_INT(g->loss, KJ_FT_OVA);
    CHECK_INT(g->model, 3);
    CHECK_INT(g->bucket, 0); /* no n-grams: none are made */
    CHECK(!kj_ft_quantised(m));
    CHECK_INT(kj_ft_labels(m), 9);
    int32_t c = kj_ft_label_find(m, "__label__c2");
    CHECK(c >= 0 && c == kj_ft_label_find(m, "c2"));
    CHECK_INT(kj_ft_label_find(m, "c"), -1);
    CHECK_INT(kj_ft_label_find(m, "__label__"), -1);
    struct kj_str s = kj_ft_label(m, c);
    CHECK_STR(s.p, s.n, "__label__c2");
    kj_ft_free(m);
    kj_buf_release(&a);
}

static int32_t predict(const struct kj_ft *m, struct kj_ft_scratch *s, const char *p,
                       size_t n, bool eol, struct kj_ft_hit *hits, size_t *used)
{
    struct kj_err err = KJ_ERR_INIT;
    int32_t k;
    CHECK_INT(kj_ft_predict(m, s, p, n, eol, -1, 0, hits, &k, used, &err), KJ_OK);
    return k;
}

/* Where a line ends, and what an empty one gives. */
static void lines_and_ends(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf a;
    struct kj_ft *m;
    struct kj_ft_hit x[16], y[16];
    size_t used;
    struct kj_ft_train o = help_options(KJ_FT_SOFTMAX);
    make(&a, &o);
    CHECK_INT(kj_ft_open_mem(&m, a.p, a.n, "m", &err), KJ_OK);
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    CHECK_INT(predict(m, s, "", 0, false, x, &used), 0);
    CHECK_INT(used, 0);
    CHECK(!kj_ft_known(s));
    CHECK_INT(predict(m, s, "", 0, true, x, &used), 9); /* </s> is a known word */
    CHECK_INT(predict(m, s, "\nbake", 5, false, y, &used), 9);
    CHECK_INT(used, 1);
    CHECK_NEAR(x[0].prob, y[0].prob, 0);
    CHECK_INT(predict(m, s, "nowhere", 7, false, x, &used), 0);
    CHECK_INT(predict(m, s, "kebake </s> loba", 16, false, x, &used), 9);
    CHECK_INT(used, 11); /* the word ends the line */
    CHECK_INT(predict(m, s, "kebake", 6, true, y, &used), 9);
    CHECK_NEAR(x[0].prob, y[0].prob, 0);
    CHECK_INT(predict(m, s, "  kebake\v\f\r\t", 12, true, y, NULL), 9);
    CHECK_NEAR(x[0].prob, y[0].prob, 0);
    /* an unknown label is no word */
    CHECK_INT(predict(m, s, "__label__zz kebake", 18, true, y, NULL), 9);
    CHECK_NEAR(x[0].prob, y[0].prob, 0);
    float sum = 0;
    for (int i = 0; i < 9; i++)
        sum += x[i].prob - 1e-5f;
    CHECK_NEAR(sum, 1, 1e-5);
    for (int i = 1; i < 9; i++)
        CHECK(x[i].prob <= x[i - 1].prob);
    int32_t n;
    CHECK_INT(kj_ft_predict(m, s, "kebake", 6, true, 3, x[1].prob, y, &n, NULL, &err),
              KJ_OK);
    CHECK(n >= 1 && n <= 2);
    kj_ft_scratch_free(s);
    s = kj_ft_scratch_new(m, 10);
    struct kj_buf line;
    kj_buf_init(&line, 1 << 20);
    for (int i = 0; i < 11; i++)
        kj_buf_addz(&line, "kebake ");
    CHECK_INT(kj_ft_predict(m, s, line.p, line.n, true, 1, 0, y, &n, NULL, &err),
              KJ_BAD_RECORD);
    kj_buf_release(&line);
    kj_ft_scratch_free(s);
    kj_ft_free(m);
    kj_buf_release(&a);
}

/* Load, and use what loads: nothing may read outside the memory given. */
static int load(const char *p, size_t n, struct kj_err *err)
{
    struct kj_ft *m;
    char *exact = malloc(n ? n : 1); /* so that a sanitizer sees an overread */
    memcpy(exact, p, n);
    kj_err_reset(err);
    int rc = kj_ft_open_mem(&m, exact, n, "m", err);
    if (rc == KJ_OK) {
        struct kj_err e = KJ_ERR_INIT;
        struct kj_ft_hit hit;
        int32_t k;
        struct kj_ft_scratch *s = kj_ft_scratch_new(m, 10000);
        kj_ft_predict(m, s, text.p, text.n, true, 1, 0, &hit, &k, NULL, &e);
        kj_ft_scratch_free(s);
        if (kj_ft_memory(m) > KJ_FT_MEM_FACTOR * n + (1 << 20))
            CHECK_INT(kj_ft_memory(m), 0);
    }
    kj_ft_free(m);
    free(exact);
    return rc;
}

static void damaged_files(void)
{
    struct kj_err err;
    for (int kind = 0; kind < 3; kind++) {
        struct kj_buf a;
        struct kj_ft_train o = help_options(kind == 2 ? KJ_FT_HS : KJ_FT_SOFTMAX);
        o.dim = 3;
        o.min_count = 4;
        o.bucket = 50;
        o.minn = o.maxn = 2;
        make(&a, &o);
        if (kind > 0)
            shrink(&a, &(struct kj_ft_quantize){
                           .dsub = 2, .cutoff = 90, .qnorm = true, .qout = kind == 2});
        CHECK_INT(load(a.p, a.n, &err), KJ_OK);
        size_t cut_fails = 0;
        for (size_t n = 0; n < a.n; n++)
            cut_fails += load(a.p, n, &err) == KJ_FAIL && err.msg[0] && err.pos >= 0;
        CHECK_INT(cut_fails, a.n);
        help_state = 3;
        for (int i = 0; i < 4000; i++) {
            size_t at = i < 2000 ? help_rand(200) : help_rand((uint32_t)a.n);
            char keep[4];
            size_t w = at + 4 <= a.n && i % 2 ? 4 : 1;
            memcpy(keep, a.p + at, w);
            for (size_t k = 0; k < w; k++)
                a.p[at + k] = (char)(i % 4 == 1 ? 0xFF : help_rand(256));
            load(a.p, a.n, &err);
            memcpy(a.p + at, keep, w);
        }
        float nan = NAN;
        memcpy(a.p + a.n - 4, &nan, 4);
        CHECK_INT(load(a.p, a.n, &err), KJ_FAIL);
        CHECK(strstr(err.msg, "finite") != NULL);
        kj_buf_release(&a);
    }
    struct kj_ft *m;
    kj_err_reset(&err);
    CHECK_INT(kj_ft_open(&m, "/nonexistent/model.bin", &err), KJ_FAIL);
    CHECK(err.err_no != 0 && strstr(err.file, "model.bin") != NULL);
    CHECK_INT(load("not a model, but long enough to hold a header, if it were one: "
                   "................................................................",
                   128, &err),
              KJ_FAIL);
    CHECK(strstr(err.msg, "magic") != NULL);
}

static void refuses_to_train(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft_train_stats st;
    struct kj_buf out;
    struct kj_ft_train o = help_options(KJ_FT_SOFTMAX);
    kj_buf_init(&out, 1 << 20);
    CHECK_INT(kj_ft_train(&o, "", 0, &out, &st, &err), KJ_FAIL);
    kj_err_reset(&err);
    CHECK_INT(kj_ft_train(&o, "words only\n", 11, &out, &st, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "label") != NULL);
    kj_err_reset(&err);
    o.word_ngrams = 2;
    o.bucket = 1000000000;
    CHECK_INT(kj_ft_train(&o, text.p, text.n, &out, &st, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "memory") != NULL);
    kj_err_reset(&err);
    o.bucket = 100;
    o.lr = 1e30;
    CHECK_INT(kj_ft_train(&o, text.p, text.n, &out, &st, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "diverged") != NULL);
    CHECK_INT(out.n, 0);
    kj_buf_release(&out);
}

int main(void)
{
    kj_buf_init(&text, 16u << 20);
    help_text(&text, 9, 1500);
    learns_with_every_loss();
    scores_in_passes();
    shrinks();
    tells_about_itself();
    lines_and_ends();
    damaged_files();
    refuses_to_train();
    kj_buf_release(&text);
    return test_end();
}
