/* test_encoder.c - a small encoder against its definition in float64, text by text;
 * packing, pooling, heads; and folders that are refused. */
#include "tests/unit/emulated.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/output.h"
#include "classify/encoder.h"
#include "classify/encoder_queue.h"
#include "classify/texts.h"
#include "nn/safetensors.h"

enum { V = 23, H = 12, F = 20, L = 2, HEADS = 3, P = 19, LABELS = 3, MAX = 80 };

static char dir[64];

/* ---- a folder with random weights, and the weights for the twin ---- */

struct param {
    char name[96];
    unsigned rank;
    size_t rows, cols;
    float *x;
} params[MAX];
static size_t n_params;

static float *want(const char *name)
{
    for (size_t i = 0; i < n_params; i++)
        if (strcmp(params[i].name, name) == 0)
            return params[i].x;
    printf("     no %s\n", name);
    abort();
}

static void add(const char *name, size_t rows, size_t cols)
{
    static uint32_t seed = 9;
    struct param *p = &params[n_params++];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->rank = rows ? 2 : 1;
    p->rows = rows ? rows : 1;
    p->cols = cols;
    p->x = malloc(p->rows * cols * sizeof *p->x);
    for (size_t i = 0; i < p->rows * cols; i++) {
        seed = seed * 1664525u + 1013904223u;
        p->x[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * 0.8f;
    }
}

static void pair(const char *prefix, const char *name, size_t rows, size_t cols)
{
    char s[96];
    snprintf(s, sizeof s, "%s%s.weight", prefix, name);
    add(s, rows, cols);
    snprintf(s, sizeof s, "%s%s.bias", prefix, name);
    add(s, 0, rows ? rows : cols);
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    (void)ctx;
    (void)err;
    memcpy(out, params[i].x + at, n * sizeof *out);
    return KJ_OK;
}

static char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_weights(void)
{
    struct kj_st_out t[MAX];
    for (size_t i = 0; i < n_params; i++)
        t[i] = (struct kj_st_out){
            params[i].name,
            params[i].rank,
            {params[i].rank == 1 ? params[i].cols : params[i].rows, params[i].cols}};
    CHECK_INT(
        kj_st_write(in_dir("model.safetensors"), t, n_params, KJ_ST_F32, fill, 0, NULL),
        KJ_OK);
}

static void write_config(const char *type, const char *more)
{
    char s[1024];
    int n = snprintf(
        s, sizeof s,
        "{\"model_type\":\"%s\",\"vocab_size\":%d,\"hidden_size\":%d,"
        "\"intermediate_size\":%d,\"num_hidden_layers\":%d,\"num_attention_heads\":%d,"
        "\"max_position_embeddings\":%d,\"type_vocab_size\":1,\"pad_token_id\":1,"
        "\"layer_norm_eps\":1e-5%s}",
        type, V, H, F, L, HEADS, P, more);
    CHECK_INT(kj_output_file(in_dir("config.json"), s, (size_t)n, NULL), KJ_OK);
}

static void build(bool roberta)
{
    const char *p = roberta ? "roberta." : "bert.";
    char layer[64];
    while (n_params)
        free(params[--n_params].x);
    snprintf(layer, sizeof layer, "%sembeddings.", p);
    pair(layer, "LayerNorm", 0, H);
    snprintf(layer, sizeof layer, "%sembeddings.word_embeddings.weight", p);
    add(layer, V, H);
    snprintf(layer, sizeof layer, "%sembeddings.position_embeddings.weight", p);
    add(layer, P, H);
    snprintf(layer, sizeof layer, "%sembeddings.token_type_embeddings.weight", p);
    add(layer, 1, H);
    for (int i = 0; i < L; i++) {
        snprintf(layer, sizeof layer, "%sencoder.layer.%d.", p, i);
        pair(layer, "attention.self.query", H, H);
        pair(layer, "attention.self.key", H, H);
        pair(layer, "attention.self.value", H, H);
        pair(layer, "attention.output.dense", H, H);
        pair(layer, "attention.output.LayerNorm", 0, H);
        pair(layer, "intermediate.dense", F, H);
        pair(layer, "output.dense", H, F);
        pair(layer, "output.LayerNorm", 0, H);
    }
    if (roberta) {
        pair("", "classifier.dense", 5, H);
        pair("", "classifier.out_proj", LABELS, 5);
    } else {
        pair(p, "pooler.dense", H, H);
        pair("", "classifier", 1, H);
    }
    write_weights();
    write_config(roberta ? "xlm-roberta" : "bert", "");
}

/* ---- the twin: one text, float64 ---- */

static const char *twin_prefix;

static float *get(int layer, const char *tail)
{
    char s[128];
    if (layer < 0)
        snprintf(s, sizeof s, "%sembeddings.%s", twin_prefix, tail);
    else
        snprintf(s, sizeof s, "%sencoder.layer.%d.%s", twin_prefix, layer, tail);
    return want(s);
}

static void linear(const double *x, const float *w, const float *b, int in, int out,
                   double *y)
{
    for (int i = 0; i < out; i++) {
        y[i] = (double)b[i];
        for (int k = 0; k < in; k++)
            y[i] += (double)w[i * in + k] * x[k];
    }
}

static void norm(double *x, const float *w, const float *b)
{
    double mean = 0, var = 0;
    for (int i = 0; i < H; i++)
        mean += x[i] / H;
    for (int i = 0; i < H; i++)
        var += (x[i] - mean) * (x[i] - mean) / H;
    for (int i = 0; i < H; i++)
        x[i] = (x[i] - mean) / sqrt(var + 1e-5) * (double)w[i] + (double)b[i];
}

static void twin_layer(int l, double (*x)[H], int n)
{
    double q[P][H], k[P][H], v[P][H], o[H], f[F], y[H];
    for (int i = 0; i < n; i++) {
        linear(x[i], get(l, "attention.self.query.weight"),
               get(l, "attention.self.query.bias"), H, H, q[i]);
        linear(x[i], get(l, "attention.self.key.weight"),
               get(l, "attention.self.key.bias"), H, H, k[i]);
        linear(x[i], get(l, "attention.self.value.weight"),
               get(l, "attention.self.value.bias"), H, H, v[i]);
    }
    for (int i = 0; i < n; i++) {
        memset(o, 0, sizeof o);
        for (int h = 0, d = H / HEADS; h < HEADS; h++) {
            double e[P], sum = 0;
            for (int j = 0; j < n; j++) {
                double s = 0;
                for (int c = h * d; c < (h + 1) * d; c++)
                    s += q[i][c] * k[j][c];
                sum += e[j] = exp(s / sqrt(d));
            }
            for (int j = 0; j < n; j++)
                for (int c = h * d; c < (h + 1) * d; c++)
                    o[c] += e[j] / sum * v[j][c];
        }
        linear(o, get(l, "attention.output.dense.weight"),
               get(l, "attention.output.dense.bias"), H, H, y);
        for (int c = 0; c < H; c++)
            x[i][c] += y[c];
        norm(x[i], get(l, "attention.output.LayerNorm.weight"),
             get(l, "attention.output.LayerNorm.bias"));
        linear(x[i], get(l, "intermediate.dense.weight"),
               get(l, "intermediate.dense.bias"), H, F, f);
        for (int c = 0; c < F; c++)
            f[c] = f[c] * 0.5 * erfc(-f[c] * sqrt(0.5));
        linear(f, get(l, "output.dense.weight"), get(l, "output.dense.bias"), F, H, y);
        for (int c = 0; c < H; c++)
            x[i][c] += y[c];
        norm(x[i], get(l, "output.LayerNorm.weight"), get(l, "output.LayerNorm.bias"));
    }
}

static void twin(const int32_t *ids, int n, int first, bool mean, double *out)
{
    double x[P][H];
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < H; c++)
            x[i][c] =
                (double)get(-1, "word_embeddings.weight")[ids[i] * H + c] +
                (double)get(-1, "position_embeddings.weight")[(first + i) * H + c] +
                (double)get(-1, "token_type_embeddings.weight")[c];
        norm(x[i], get(-1, "LayerNorm.weight"), get(-1, "LayerNorm.bias"));
    }
    for (int l = 0; l < L; l++)
        twin_layer(l, x, n);
    for (int c = 0; c < H; c++) {
        out[c] = x[0][c];
        for (int i = 1; i < n && mean; i++)
            out[c] += x[i][c];
        out[c] /= mean ? n : 1;
    }
}

static void twin_head(const double *v, bool roberta, double *y)
{
    double z[H];
    int width = roberta ? 5 : H;
    linear(v, want(roberta ? "classifier.dense.weight" : "bert.pooler.dense.weight"),
           want(roberta ? "classifier.dense.bias" : "bert.pooler.dense.bias"), H, width,
           z);
    for (int i = 0; i < width; i++)
        z[i] = tanh(z[i]);
    linear(z, want(roberta ? "classifier.out_proj.weight" : "classifier.weight"),
           want(roberta ? "classifier.out_proj.bias" : "classifier.bias"), width,
           roberta ? LABELS : 1, y);
}

/* Packs of texts give what each text gives by itself. */
static void equals_twin(bool roberta)
{
    static const int32_t ids[] = {4, 9, 22, 0, 7, 7,  3, 11, 1,  2,  19,
                                  5, 6, 8,  0, 1, 13, 2, 21, 20, 17, 3};
    static const int32_t cu[] = {0, 1, 5, 21, 22};
    struct kj_encoder *e;
    struct kj_encoder_run *r;
    struct kj_err err = KJ_ERR_INIT;
    float got[4 * H];
    build(roberta);
    twin_prefix = roberta ? "roberta." : "bert.";
    if (!CHECK_INT(kj_encoder_open(&e, dir, true, "cpu", &err), KJ_OK)) {
        printf("     %s\n", err.msg);
        return;
    }
    CHECK_INT(kj_encoder_get_config(e)->max_tokens, roberta ? 17 : 19);
    CHECK(kj_encoder_get_config(e)->regression == !roberta);
    for (unsigned threads = 1; threads <= 2; threads++) {
        CHECK_INT(kj_encoder_run_new(&r, e, threads, &err), KJ_OK);
        for (int mean = 0; mean < 2; mean++) {
            CHECK_INT(kj_encoder_features(e, r, mean ? KJ_POOL_MEAN : KJ_POOL_CLS, ids,
                                          cu, 4, got, &err),
                      KJ_OK);
            for (int i = 0; i < 4; i++) {
                double v[H], y[LABELS], a[LABELS];
                twin(ids + cu[i], cu[i + 1] - cu[i], roberta ? 2 : 0, mean, v);
                for (int c = 0; c < H; c++)
                    CHECK(fabs((double)got[i * H + c] - v[c]) < 5e-6);
                twin_head(v, roberta, y);
                kj_head_apply(kj_encoder_head(e), got + i * H, a);
                for (int c = 0; c < (roberta ? LABELS : 1); c++)
                    CHECK(fabs(a[c] - y[c]) < 2e-5);
            }
        }
        static const int32_t long_cu[] = {0, 20}, none[] = {0, 0};
        CHECK_INT(kj_encoder_features(e, r, KJ_POOL_CLS, ids, long_cu, 1, got, &err),
                  KJ_FATAL);
        CHECK_INT(kj_encoder_features(e, r, KJ_POOL_CLS, ids, none, 1, got, NULL),
                  KJ_FATAL);
        kj_encoder_run_free(r);
    }
    kj_encoder_free(e);
}

/* ---- one device for many threads ---- */

/* Sanitizers make the emulated device slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { TEXTS = 4, ADDERS = 3, BRIEF = 1 };
#else
enum { TEXTS = 24, ADDERS = 3, BRIEF = 0 };
#endif

static struct {
    int32_t ids[TEXTS][P];
    size_t n[TEXTS], cols;
    float alone[TEXTS * H]; /* each in a pass of its own */
    struct kj_encoder_queue *q;
    bool outputs;
} many;

/* Every ADDERS-th text from `first`, in groups of 4, backwards in every other one. */
static void *add_some(void *first)
{
    float got[4 * H];
    size_t step = ADDERS, at = *(size_t *)first;
    int wrong = 0;
    while (at < TEXTS) {
        struct kj_encoder_group g = {0};
        struct kj_err err = KJ_ERR_INIT;
        size_t which[4], n = 0;
        for (; n < 4 && at < TEXTS; at += step)
            which[n++] = at;
        for (size_t i = 0; i < n; i++) {
            size_t k = at / step % 2 ? n - 1 - i : i, t = which[k];
            wrong +=
                kj_encoder_queue_add(many.q, &g, many.ids[t], many.n[t], many.outputs,
                                     got + k * many.cols, &err) != KJ_OK;
        }
        wrong += kj_encoder_queue_wait(many.q, &g, &err) != KJ_OK;
        for (size_t i = 0; i < n; i++)
            wrong += memcmp(got + i * many.cols, many.alone + which[i] * many.cols,
                            many.cols * sizeof *got) != 0;
    }
    *(size_t *)first = (size_t)wrong;
    return NULL;
}

/* A text has the same bits alone and among others, whoever adds them. */
static void same_bits(const struct kj_encoder *e, enum kj_pool pool, bool outputs)
{
    struct kj_encoder_run *r;
    pthread_t thread[ADDERS];
    size_t first[ADDERS], tokens = 0;
    many.outputs = outputs;
    many.cols = outputs ? kj_encoder_head(e)->out : H;
    CHECK_INT(kj_encoder_run_new(&r, e, 1, NULL), KJ_OK);
    for (size_t i = 0; i < TEXTS; i++) {
        int32_t cu[2] = {0, (int32_t)many.n[i]};
        tokens += many.n[i];
        CHECK_INT(kj_encoder_start(e, r, pool, outputs, many.ids[i], cu, 1, NULL),
                  KJ_OK);
        CHECK_INT(kj_encoder_finish(e, r, many.alone + i * many.cols, NULL), KJ_OK);
    }
    kj_encoder_run_free(r);
    many.q = kj_encoder_queue_new(e, pool);
    for (size_t i = 0; i < ADDERS; i++) {
        first[i] = i;
        pthread_create(&thread[i], NULL, add_some, &first[i]);
    }
    for (size_t i = 0; i < ADDERS; i++) {
        pthread_join(thread[i], NULL);
        CHECK_INT(first[i], 0);
    }
    struct kj_encoder_work did = kj_encoder_queue_work(many.q);
    CHECK_INT(did.texts, TEXTS);
    CHECK_INT(did.tokens, tokens);
    CHECK(did.passes >= 1 && did.passes <= TEXTS);
    kj_encoder_queue_free(many.q);
}

/* What the device's head says is what the host says of the device's vectors. */
static void same_head(const struct kj_encoder *e, enum kj_pool pool, float *vectors)
{
    const struct kj_head_weights *h = kj_encoder_head(e);
    memcpy(vectors, many.alone, TEXTS * H * sizeof *vectors);
    same_bits(e, pool, true);
    for (size_t i = 0; i < TEXTS; i++) {
        double y[LABELS];
        kj_head_apply(h, vectors + i * H, y);
        for (size_t c = 0; c < h->out; c++)
            CHECK(fabs((double)many.alone[i * h->out + c] - y[c]) < 2e-5);
    }
}

static void failing_device(const struct kj_encoder *e)
{
    struct kj_encoder_queue *q = kj_encoder_queue_new(e, KJ_POOL_CLS);
    struct kj_encoder_group g = {0};
    struct kj_err err = KJ_ERR_INIT;
    int32_t odd[3] = {1, 1 << 20, 2};
    float out[3 * H];
    CHECK_INT(kj_encoder_queue_add(q, &g, odd, 3, false, out, &err), KJ_OK);
    CHECK(kj_encoder_queue_wait(q, &g, &err) < 0);
    CHECK(strstr(err.msg, "token 1048576") != NULL);
    kj_err_reset(&err);
    CHECK(kj_encoder_queue_add(q, &g, odd, 1, false, out, &err) < 0);
    CHECK(strstr(err.msg, "token 1048576") != NULL);
    CHECK_INT(g.left, 0);
    kj_err_reset(&err);
    CHECK_INT(kj_encoder_queue_add(q, &g, odd, 0, false, out, &err), KJ_FATAL);
    kj_encoder_queue_free(q);
    kj_encoder_queue_free(kj_encoder_queue_new(e, KJ_POOL_CLS)); /* never used */
}

static void on_device(const char *device)
{
    static float vectors[TEXTS * H];
    struct kj_encoder *e;
    struct kj_err err = KJ_ERR_INIT;
    uint32_t seed = 5;
    for (size_t i = 0; i < TEXTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        many.n[i] = 1 + (seed >> 8) % 17;
        for (size_t k = 0; k < many.n[i]; k++) {
            seed = seed * 1664525u + 1013904223u;
            many.ids[i][k] = (int32_t)((seed >> 8) % V);
        }
    }
    for (int roberta = 0; roberta < 2; roberta++) {
        build(roberta);
        if (!CHECK_INT(kj_encoder_open(&e, dir, true, device, &err), KJ_OK)) {
            printf("     %s\n", err.msg);
            return;
        }
        for (int pool = KJ_POOL_CLS; pool <= KJ_POOL_MEAN; pool++) {
            if (BRIEF && (pool == KJ_POOL_MEAN) != roberta)
                continue;
            same_bits(e, (enum kj_pool)pool, false);
            same_head(e, (enum kj_pool)pool, vectors);
        }
        if (roberta)
            failing_device(e);
        kj_encoder_free(e);
    }
    setenv("KIJIL_CUDA_WINDOW", "100", 1);
    if (strcmp(device, "cuda") == 0)
        CHECK_INT(kj_encoder_open(&e, dir, true, device, &err), KJ_USAGE);
    CHECK_INT(kj_encoder_open(&e, dir, true, "cpu", NULL), KJ_OK);
    CHECK_INT(kj_encoder_pack(e), KJ_ENCODER_PACK);
    kj_encoder_free(e);
}

/* The emulated GPU, beside this program's folder. */
static void on_gpu(void)
{
    if (!emulated_gpu(false)) {
        SKIP("no emulated GPU was built");
        return;
    }
    setenv("KIJIL_CUDA_WINDOW", "256", 1);
    on_device("cuda");
}

/* ---- refused ---- */

static void refused(const char *what)
{
    struct kj_encoder *e = NULL;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_encoder_open(&e, dir, true, "cpu", &err), KJ_FAIL);
    if (!CHECK(strstr(err.msg, what) != NULL))
        printf("     '%s', not '%s'\n", err.msg, what);
}

static void bad_folders(void)
{
    static const struct {
        const char *type, *more, *message;
    } rows[] = {
        {"llama", "", "model_type \"llama\""},
        {"bert", ",\"is_decoder\":true", "is_decoder"},
        {"bert", ",\"hidden_act\":\"swish\"", "hidden_act \"swish\""},
        {"bert", ",\"position_embedding_type\":\"relative_key\"", "relative_key"},
        {"bert", ",\"id2label\":{\"0\":\"a\",\"1\":\"b\"}", "2 labels, the head 1"},
        {"bert", ",\"id2label\":{\"1\":\"a\"}", "no label 0"},
        {"bert", ",\"kijil\":{\"pooling\":\"max\"}", "kijil.pooling \"max\""},
        {"bert", ",\"kijil\":{\"max_tokens\":99}", "max_tokens"},
        {"bert", ",\"problem_type\":\"multi_label_classification\"", "multi_label"},
    };
    build(false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_config(rows[i].type, rows[i].more);
        refused(rows[i].message);
    }
    write_config("bert", "");
    struct param *p = &params[7];
    float old = p->x[3];
    p->x[3] = NAN;
    write_weights();
    refused("not finite");
    p->x[3] = old;
    char kept[96];
    memcpy(kept, p->name, sizeof kept);
    snprintf(p->name, sizeof p->name, "something.weight");
    write_weights();
    refused("is missing");
    memcpy(p->name, kept, sizeof kept);
    add("bert.encoder.layer.2.output.dense.bias", 0, H);
    write_weights();
    refused("has no place");
    n_params -= 3; /* and the head */
    write_weights();
    refused("no head");
    n_params += 2;
    write_weights();
    truncate(in_dir("model.safetensors"), 4000);
    refused("");
    free(params[n_params].x);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/test_encoder.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    equals_twin(false);
    equals_twin(true);
    on_gpu();
    bad_folders();
    unlink(in_dir("model.safetensors"));
    unlink(in_dir("config.json"));
    rmdir(dir);
    while (n_params)
        free(params[--n_params].x);
    return test_end();
}
