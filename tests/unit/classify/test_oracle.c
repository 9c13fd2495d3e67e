/* test_oracle.c - the `fasttext` program as the measure: what we train equals
 * its files byte for byte where that is defined, and what we predict equals
 * its output on every line, with its models and with ours. */
#include "classify/fasttext.h"

#include <unistd.h>

#include "base/input.h"
#include "tests/unit/classify/ft_help.h"
#include "tests/unit/test.h"

static char dir[] = "/tmp/kijil-ft-XXXXXX";

static int sh(const char *fmt, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    return system(cmd);
}

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static void write_file(const char *name, const struct kj_buf *b)
{
    FILE *f = fopen(in_dir(name), "wb");
    if (CHECK(f != NULL)) {
        CHECK_INT(fwrite(b->p, 1, b->n, f), b->n);
        fclose(f);
    }
}

static void read_file(const char *path, struct kj_buf *b)
{
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(b, (size_t)1 << 30);
    CHECK_INT(kj_input_slurp(path, b, &err), KJ_OK);
}

/* Our predictions in the form of `predict-prob`. */
static void predict_all(const char *model, const struct kj_buf *text, int k,
                        struct kj_buf *out)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    kj_buf_init(out, (size_t)1 << 30);
    if (!CHECK_INT(kj_ft_open(&m, model, &err), KJ_OK)) {
        printf("     %s\n", err.msg);
        return;
    }
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    struct kj_ft_hit *hits = calloc((size_t)kj_ft_labels(m), sizeof *hits);
    for (size_t at = 0, used; at < text->n; at += used) {
        int32_t n;
        if (kj_ft_predict(m, s, text->p + at, text->n - at, false, k, 0, hits, &n,
                          &used, &err) != KJ_OK) {
            CHECK_STR(err.msg, strlen(err.msg), "no error");
            break;
        }
        for (int32_t i = 0; i < n; i++) {
            struct kj_str l = kj_ft_label(m, hits[i].label);
            kj_buf_printf(out, "%s%.*s %.6g", i ? " " : "", (int)l.n, l.p,
                          (double)hits[i].prob);
        }
        kj_buf_addc(out, '\n');
    }
    free(hits);
    kj_ft_scratch_free(s);
    kj_ft_free(m);
}

/* Labels equal, probabilities within 1e-5 (fasttext prints 6 digits). */
static size_t differing_lines(const struct kj_buf *a, const struct kj_buf *b)
{
    size_t bad = 0;
    const char *p = a->p, *q = b->p, *pe = p + a->n, *qe = q + b->n;
    while (p < pe && q < qe) {
        const char *pn = memchr(p, '\n', (size_t)(pe - p));
        const char *qn = memchr(q, '\n', (size_t)(qe - q));
        bool same = true;
        while (same && p < pn && q < qn) {
            size_t i = strcspn(p, " \n"), j = strcspn(q, " \n");
            same = (i == j && memcmp(p, q, i) == 0) || fabs(atof(p) - atof(q)) <= 1e-5;
            /* a label is never a number near another one: it begins with _ */
            same = same && (*p == '_') == (*q == '_') &&
                   (*p != '_' || (i == j && memcmp(p, q, i) == 0));
            p += i + (p + i < pn);
            q += j + (q + j < qn);
        }
        bad += !same || p < pn || q < qn;
        p = pn + 1;
        q = qn + 1;
    }
    return bad + (size_t)(p < pe) + (size_t)(q < qe);
}

static void compare(const char *model, const char *lines, const struct kj_buf *text,
                    int k)
{
    struct kj_buf ours, theirs;
    CHECK_INT(
        sh("fasttext predict-prob %s %s %d > %s", model, lines, k, in_dir("theirs")),
        0);
    predict_all(model, text, k, &ours);
    read_file(in_dir("theirs"), &theirs);
    if (!CHECK_INT(differing_lines(&ours, &theirs), 0))
        printf("     %s, k %d\n", model, k);
    kj_buf_release(&ours);
    kj_buf_release(&theirs);
}

static const char *const losses[] = {"", "hs", "ns", "softmax", "ova"};
static const struct {
    const char *args;
    int ngrams, bucket, minn, maxn;
} shapes[] = {{"-wordNgrams 1", 1, 0, 0, 0},
              {"-wordNgrams 3 -bucket 700", 3, 700, 0, 0},
              {"-wordNgrams 2 -bucket 900 -minn 2 -maxn 4", 2, 900, 2, 4},
              {"-bucket 900 -minn 1 -maxn 3", 1, 900, 1, 3}};

/* Their models: ours reads them and predicts the same. */
static void predicts_the_same(const struct kj_buf *text)
{
    for (int loss = 1; loss <= 4; loss++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            CHECK_INT(
                sh("cd %s && fasttext supervised -input text -output m -dim 8 -epoch "
                   "2 -loss %s %s -thread 1 -verbose 0 >log 2>&1",
                   dir, losses[loss], shapes[i].args),
                0);
            compare(in_dir("m.bin"), in_dir("text"), text, i % 2 ? -1 : 1);
            if (loss % 2 != (int)i / 2) /* shrinking is the slow part */
                continue;
            CHECK_INT(
                sh("cd %s && fasttext quantize -input text -output m %s >log 2>&1", dir,
                   i == 0   ? ""
                   : i == 1 ? "-qnorm -cutoff 600"
                   : i == 2 ? "-cutoff 800 -dsub 3"
                            : "-qnorm -qout -dsub 4"),
                0);
            compare(in_dir("m.ftz"), in_dir("text"), text, 2);
        }
}

/* Our models: the file is theirs byte for byte where no words tie; and theirs
 * reads what we shrink. */
static void trains_the_same(void)
{
    struct kj_buf text, ours, theirs;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft_train_stats st;
    struct kj_ft *m;
    kj_buf_init(&text, 16u << 20);
    help_distinct(&text, 90);
    write_file("distinct", &text);
    for (int loss = 1; loss <= 4; loss++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            struct kj_ft_train o = help_options(loss);
            o.dim = 11;
            o.seed = (int64_t)i;
            o.word_ngrams = shapes[i].ngrams;
            o.bucket = shapes[i].bucket;
            o.minn = shapes[i].minn;
            o.maxn = shapes[i].maxn;
            kj_buf_init(&ours, 64u << 20);
            CHECK_INT(kj_ft_train(&o, text.p, text.n, &ours, &st, &err), KJ_OK);
            CHECK_INT(
                sh("cd %s && fasttext supervised -input distinct -output d -dim 11 "
                   "-epoch 2 -lr 0.5 -seed %zu -loss %s %s -thread 1 -verbose 0 >log "
                   "2>&1",
                   dir, i, losses[loss], shapes[i].args),
                0);
            read_file(in_dir("d.bin"), &theirs);
            if (!CHECK(ours.n == theirs.n && memcmp(ours.p, theirs.p, ours.n) == 0))
                printf("     loss %s, %s\n", losses[loss], shapes[i].args);
            struct kj_buf small;
            if (loss != KJ_FT_HS + (int)i) { /* one loss for each shape is enough */
                kj_buf_release(&ours);
                kj_buf_release(&theirs);
                continue;
            }
            kj_buf_init(&small, 64u << 20);
            struct kj_ft_quantize q = {.dsub = 1 + (int64_t)i,
                                       .qnorm = i % 2,
                                       .qout = i == 2,
                                       .cutoff = i == 1 ? 500 : 0};
            CHECK_INT(kj_ft_open_mem(&m, ours.p, ours.n, "m", &err), KJ_OK);
            CHECK_INT(kj_ft_quantise(m, &q, &small, &err), KJ_OK);
            write_file("q.ftz", &small);
            compare(in_dir("q.ftz"), in_dir("distinct"), &text, 3);
            kj_ft_free(m);
            kj_buf_release(&small);
            kj_buf_release(&ours);
            kj_buf_release(&theirs);
        }
    kj_buf_release(&text);
}

/* The published language model on real sentences. */
static void lid_176(void)
{
    const char *model = "../shared/data/lid/lid.176.ftz";
    const char *data = "../shared/data/lid/lingua.tsv.zst";
    struct kj_buf all, text;
    if (!test_have(model) || !test_have(data)) {
        SKIP("no lid.176.ftz");
        return;
    }
    read_file(data, &all);
    kj_buf_init(&text, all.n + 1);
    size_t line = 0;
    for (size_t at = 0; at < all.n; line++) {
        const char *p = all.p + at, *nl = memchr(p, '\n', all.n - at);
        size_t n = nl ? (size_t)(nl - p) + 1 : all.n - at;
        const char *tab = memchr(p, '\t', n);
        if (tab && line % 10 == 0) /* a tenth, over all languages */
            kj_buf_add(&text, tab + 1, n - (size_t)(tab + 1 - p));
        at += n;
    }
    CHECK(text.n > 500000);
    write_file("lingua", &text);
    compare(model, in_dir("lingua"), &text, 1);
    compare(model, in_dir("lingua"), &text, 5);
    kj_buf_release(&all);
    kj_buf_release(&text);
}

int main(void)
{
    struct kj_buf text;
    if (sh("command -v fasttext >/dev/null")) {
        test_passed++; /* nothing to compare with */
        SKIP("no fasttext program");
        return test_end();
    }
    CHECK(mkdtemp(dir) != NULL);
    kj_buf_init(&text, 16u << 20);
    help_text(&text, 260, 900); /* 256 labels and more: -qout needs them */
    kj_buf_addz(&text, "\n  \n</s> in the middle\nno line end");
    write_file("text", &text);
    predicts_the_same(&text);
    trains_the_same();
    lid_176();
    kj_buf_release(&text);
    sh("rm -rf %s", dir);
    return test_end();
}
