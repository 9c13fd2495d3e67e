/* test_llama.c - the whole model: gradients against finite differences, packed
 * documents against single ones, generation with a cache against the whole
 * pass, and a trained model's logits where its file is at hand. */
#include "tests/unit/test.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "trainer/llama.h"
#include "trainer/sample.h"
#include "trainer/score.h"

static struct kj_backend *cpu(unsigned threads)
{
    struct kj_backend *b = NULL;
    CHECK_INT(kj_backend_open(&b, "cpu", threads, NULL), KJ_OK);
    return b;
}

/* head_dim is not hidden / heads on purpose */
static const struct kj_shape tiny = {.vocab_size = 37,
                                     .hidden = 20,
                                     .ffn = 28,
                                     .layers = 3,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 6,
                                     .max_positions = 64,
                                     .rope_theta = 100,
                                     .norm_eps = 1e-5,
                                     .init_range = 0.25};

enum { N = 24 };
static int32_t ids[N], pos[N], targets[N];
static const int32_t cu[] = {0, 1, 10, N};

static struct kj_rows rows(void)
{
    for (int s = 0; s < 3; s++)
        for (int32_t i = cu[s]; i < cu[s + 1]; i++) {
            ids[i] = (i * 7 + 3) % 37;
            pos[i] = i - cu[s];
            targets[i] = i % 5 == 4 ? -1 : (i * 11 + 5) % 37;
        }
    return (struct kj_rows){N, ids, pos, targets, 3, cu};
}

/* Set while gradients() checks those of distillation. */
static struct kj_teacher teacher = {NULL, 0.75, 2};

static double loss_of(struct kj_llama *m, bool back)
{
    struct kj_rows r = rows();
    double sum, kl;
    if (!teacher.m) {
        CHECK_INT(kj_llama_loss(m, &r, back, 1, 0, &sum, NULL, NULL), KJ_OK);
        return sum;
    }
    CHECK_INT(kj_llama_distil(m, &teacher, &r, back, 1, 0, &sum, &kl, NULL), KJ_OK);
    return (1 - teacher.weight) * sum + teacher.weight * kl;
}

static double loss_at(struct kj_llama *m, const struct kj_param *p, const float *w,
                      const float *u, double e)
{
    size_t n = p->rows * p->cols;
    float *x = malloc(n * sizeof *x);
    double sum;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)w[i] + e * (double)u[i]);
    m->b->ops->write(m->b, m->w, p->at, x, n);
    sum = loss_of(m, false);
    m->b->ops->write(m->b, m->w, p->at, w, n);
    free(x);
    return sum;
}

/* Along its own direction the loss must rise by |g| e, for each parameter. */
static void gradients(bool tied, bool taught)
{
    struct kj_backend *b = cpu(2);
    struct kj_shape s = tiny, other = tiny;
    struct kj_llama *m;
    s.tied = tied;
    other.hidden = 14;
    other.layers = 2;
    if (taught) {
        CHECK_INT(kj_llama_new(&teacher.m, b, &other, N, 7, false, NULL), KJ_OK);
        kj_llama_init(teacher.m, 5);
    }
    CHECK_INT(kj_llama_new(&m, b, &s, N, 7, true, NULL), KJ_OK);
    kj_llama_init(m, 3);
    CHECK(loss_of(m, true) > 1);
    for (size_t i = 0; i < m->n_params; i++) {
        const struct kj_param *p = &m->params[i];
        size_t n = p->rows * p->cols;
        float *g = malloc(n * sizeof *g), *w = malloc(n * sizeof *w);
        double q = 0, e = 0.01;
        b->ops->read(b, m->g, p->at, g, n);
        b->ops->read(b, m->w, p->at, w, n);
        for (size_t k = 0; k < n; k++)
            q += (double)g[k] * (double)g[k];
        q = sqrt(q);
        for (size_t k = 0; k < n; k++)
            g[k] = (float)((double)g[k] / q);
        /* Central differences at e and e/2, extrapolated (Richardson). */
        double d1 = (loss_at(m, p, w, g, e) - loss_at(m, p, w, g, -e)) / (2 * e);
        double d2 = (loss_at(m, p, w, g, e / 2) - loss_at(m, p, w, g, -e / 2)) / e;
        if (!CHECK_NEAR((4 * d2 - d1) / 3 / q, 1, 1e-3))
            printf("     %s, |g| %g\n", p->name, q);
        free(g);
        free(w);
    }
    kj_llama_free(m);
    kj_llama_free(teacher.m);
    teacher.m = NULL;
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
}

/* A model taught by itself has nothing to learn. */
static void own_teacher(void)
{
    struct kj_backend *b = cpu(1);
    struct kj_llama *m, *same;
    struct kj_rows r = rows();
    double sum, kl, plain;
    CHECK_INT(kj_llama_new(&m, b, &tiny, N, 7, true, NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&same, b, &tiny, N, 7, false, NULL), KJ_OK);
    kj_llama_init(m, 3);
    kj_llama_init(same, 3);
    struct kj_teacher t = {same, 1, 3};
    CHECK_INT(kj_llama_distil(m, &t, &r, true, 1, 0, &sum, &kl, NULL), KJ_OK);
    CHECK_NEAR(kl, 0, 1e-4);
    CHECK_NEAR(b->ops->sumsq(b, kj_mat(m->g, 0, 1), m->n), 0, 1e-8);
    CHECK_INT(kj_llama_loss(m, &r, false, 0, 0, &plain, NULL, NULL), KJ_OK);
    CHECK_NEAR(sum, plain, 1e-4);
    kj_llama_free(m);
    kj_llama_free(same);
    kj_backend_close(b);
}

/* A packed document has the losses that it has alone. */
static void documents_do_not_see_each_other(void)
{
    struct kj_backend *b = cpu(1);
    struct kj_llama *m;
    struct kj_rows r = rows();
    float packed[N], alone[N];
    double sum;
    CHECK_INT(kj_llama_new(&m, b, &tiny, N, N, false, NULL), KJ_OK);
    kj_llama_init(m, 3);
    CHECK_INT(kj_llama_loss(m, &r, false, 0, 0, &sum, packed, NULL), KJ_OK);
    for (int s = 0; s < 3; s++) {
        int32_t at = cu[s], one[] = {0, cu[s + 1] - at};
        struct kj_rows d = {(size_t)one[1], ids + at, pos + at, targets + at, 1, one};
        CHECK_INT(kj_llama_loss(m, &d, false, 0, 0, &sum, alone, NULL), KJ_OK);
        for (int i = 0; i < one[1]; i++)
            CHECK_NEAR(alone[i], packed[at + i], 1e-5);
    }
    kj_llama_free(m);
    kj_backend_close(b);
}

static void cache_equals_whole_pass(void)
{
    struct kj_backend *b = cpu(2);
    struct kj_llama *m;
    struct kj_cache *c;
    int32_t one[] = {0, N};
    uint32_t u[N];
    float all[N * 37], got[37];
    rows();
    for (int i = 0; i < N; i++) {
        pos[i] = i;
        u[i] = (uint32_t)ids[i];
    }
    struct kj_rows r = {N, ids, pos, targets, 1, one};
    CHECK_INT(kj_llama_new(&m, b, &tiny, N, 5, false, NULL), KJ_OK);
    kj_llama_init(m, 9);
    CHECK_INT(kj_llama_logits(m, &r, all, NULL), KJ_OK);
    CHECK_INT(kj_cache_new(&c, m, N, NULL), KJ_OK);
    for (size_t at = 0, k = 11; at < N; at += k, k = 1) {
        CHECK_INT(kj_cache_feed(c, u + at, k, got, NULL), KJ_OK);
        CHECK_INT(kj_cache_used(c), at + k);
        for (int i = 0; i < 37; i++)
            CHECK_NEAR(got[i], all[(at + k - 1) * 37 + (size_t)i], 2e-5);
    }
    CHECK_INT(kj_cache_feed(c, u, 1, got, NULL), KJ_FAIL); /* full */
    kj_cache_free(c);
    kj_llama_free(m);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
}

/* ---- documents' likelihoods ---- */

struct heard {
    uint64_t n, tokens[8];
    double nats[8];
};

static void got(void *ctx, uint64_t doc, uint64_t tokens, double nats)
{
    struct heard *h = ctx;
    CHECK_INT(doc, h->n);
    h->tokens[h->n] = tokens;
    h->nats[h->n++] = nats;
}

static void scores(void)
{
    static const size_t len[] = {3, 0, 50, 1, 12, 9};
    struct kj_backend *b = cpu(1);
    struct kj_llama *m;
    struct heard packed = {0}, alone = {0};
    uint32_t doc[50];
    CHECK_INT(kj_llama_new(&m, b, &tiny, 20, 8, false, NULL), KJ_OK);
    kj_llama_init(m, 3);
    for (int pass = 0; pass < 2; pass++) {
        struct kj_scorer *s;
        CHECK_INT(kj_scorer_new(&s, m, 20, 16, 0, got, pass ? &alone : &packed, NULL),
                  KJ_OK);
        for (int i = 0; i < 6; i++) {
            for (size_t k = 0; k < len[i]; k++)
                doc[k] = (uint32_t)(k * 5 + (size_t)i) % 37;
            CHECK_INT(kj_scorer_add(s, doc, len[i], NULL), KJ_OK);
            if (pass)
                CHECK_INT(kj_scorer_flush(s, NULL), KJ_OK);
        }
        CHECK_INT(kj_scorer_flush(s, NULL), KJ_OK);
        kj_scorer_free(s);
    }
    CHECK_INT(packed.n, 6);
    CHECK_INT(alone.n, 6);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(packed.tokens[i], len[i]);
        CHECK_INT(alone.tokens[i], len[i]);
        CHECK_NEAR(packed.nats[i], alone.nats[i], 1e-4);
    }
    kj_llama_free(m);
    kj_backend_close(b);
}

/* ---- sampling ---- */

static void sampling(void)
{
    enum { V = 5, DRAWS = 20000 };
    const float z[V] = {0, 1, 3, 2, 1};
    float x[V];
    uint32_t order[V];
    int count[V] = {0};
    struct kj_sampler s = {0, 1, 1};
    memcpy(x, z, sizeof x);
    CHECK_INT(kj_sample(&s, 0, x, V, order), 2);
    s.temperature = 1;
    for (uint64_t i = 0; i < DRAWS; i++) {
        memcpy(x, z, sizeof x);
        count[kj_sample(&s, i, x, V, order)]++;
    }
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)z[i]);
    for (int i = 0; i < V; i++)
        CHECK_NEAR(count[i] / (double)DRAWS, exp((double)z[i]) / sum, 0.015);
    s.top_p = 0.8; /* the two best hold 0.85 */
    for (uint64_t i = 0; i < 1000; i++) {
        memcpy(x, z, sizeof x);
        uint32_t t = kj_sample(&s, i, x, V, order);
        if (t != 2 && t != 3)
            CHECK_INT(t, 2);
    }
    memcpy(x, z, sizeof x);
    uint32_t a = kj_sample(&s, 77, x, V, order);
    memcpy(x, z, sizeof x);
    CHECK_INT(kj_sample(&s, 77, x, V, order), a);
}

/* ---- a trained model ---- */

#define STORIES "../shared/data/model/stories260K.bin"
#define GOLDEN  "../shared/data/model/stories260K.golden.json"

static void put(struct kj_llama *m, const char *name, const float *w)
{
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0) {
            const struct kj_param *p = &m->params[i];
            m->b->ops->write(m->b, m->w, p->at, w, p->rows * p->cols);
            return;
        }
    CHECK(!"a parameter of that name");
}

static void put_layer(struct kj_llama *m, int layer, const char *what, const float *w)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, what);
    put(m, name, w);
}

/* Rows of neighbouring pairs (2i, 2i+1) to pairs (i, i + d/2). */
static void rotate(float *to, const float *w, int heads, int d, int cols)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < d; i++)
            memcpy(to + (h * d + i % 2 * (d / 2) + i / 2) * cols,
                   w + (h * d + i) * cols, (size_t)cols * sizeof *w);
}

static struct kj_llama *stories(struct kj_backend *b)
{
    int32_t h[7];
    FILE *f = fopen(STORIES, "rb");
    struct kj_llama *m;
    if (!f || fread(h, sizeof h, 1, f) != 1)
        return NULL;
    struct kj_shape s = {.vocab_size = h[5],
                         .hidden = h[0],
                         .ffn = h[1],
                         .layers = h[2],
                         .heads = h[3],
                         .kv_heads = h[4],
                         .head_dim = h[0] / h[3],
                         .max_positions = h[6],
                         .rope_theta = 10000,
                         .norm_eps = 1e-5,
                         .tied = true};
    size_t n = 0, kv = (size_t)(h[4] * (h[0] / h[3]));
    CHECK_INT(kj_llama_new(&m, b, &s, 64, 64, false, NULL), KJ_OK);
    float *w = calloc(m->n + 1, sizeof *w), *t = calloc(m->n, sizeof *t), *p = w;
    n = fread(w, sizeof *w, m->n, f);
    CHECK_INT(n, m->n);
    fclose(f);
    size_t d = (size_t)h[0], ffn = (size_t)h[1];
    put(m, "model.embed_tokens.weight", p);
    p += (size_t)h[5] * d;
#define EACH(what, count)                                                              \
    for (int l = 0; l < h[2]; l++, p += (count))                                       \
        put_layer(m, l, what, p);
    EACH("input_layernorm", d)
    for (int l = 0; l < h[2]; l++, p += d * d) {
        rotate(t, p, h[3], h[0] / h[3], h[0]);
        put_layer(m, l, "self_attn.q_proj", t);
    }
    for (int l = 0; l < h[2]; l++, p += d * kv) {
        rotate(t, p, h[4], h[0] / h[3], h[0]);
        put_layer(m, l, "self_attn.k_proj", t);
    }
    EACH("self_attn.v_proj", d * kv)
    EACH("self_attn.o_proj", d * d)
    EACH("post_attention_layernorm", d)
    EACH("mlp.gate_proj", d * ffn)
    EACH("mlp.down_proj", d * ffn)
    EACH("mlp.up_proj", d * ffn)
    put(m, "model.norm.weight", p);
    free(w);
    free(t);
    return m;
}

static void golden_logits(void)
{
    if (!test_have(STORIES) || !test_have(GOLDEN)) {
        SKIP("no " STORIES);
        return;
    }
    struct kj_backend *b = cpu(2);
    struct kj_llama *m = stories(b);
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    float *z = malloc(64 * 512 * sizeof *z);
    CHECK_INT(kj_json_load(j, GOLDEN, 1 << 26, &root, NULL), KJ_OK);
    const struct kj_jval *seqs = kj_jget(root, "sequences");
    CHECK_INT(seqs->n, 4);
    for (size_t s = 0; m && s < seqs->n; s++) {
        const struct kj_jval *t = kj_jget(&seqs->items[s], "tokens");
        const struct kj_jval *want = kj_jget(&seqs->items[s], "logits");
        int32_t id[64], at[64], one[] = {0, 64};
        double worst = 0;
        for (int i = 0; i < 64; i++) {
            id[i] = (int32_t)kj_jint(&t->items[i], 0);
            at[i] = i;
        }
        struct kj_rows r = {64, id, at, NULL, 1, one};
        CHECK_INT(kj_llama_logits(m, &r, z, NULL), KJ_OK);
        for (int i = 0; i < 64; i++)
            for (int v = 0; v < 512; v++)
                worst = fmax(worst, fabs((double)z[i * 512 + v] -
                                         kj_jnum(&want->items[i].items[v], 1e9)));
        CHECK_NEAR(worst, 0, 1e-4);
    }
    free(z);
    kj_json_free(j);
    kj_llama_free(m);
    kj_backend_close(b);
}

int main(void)
{
    gradients(true, false);
    gradients(false, false);
    gradients(true, true);
    gradients(false, true);
    own_teacher();
    documents_do_not_see_each_other();
    cache_equals_whole_pass();
    scores();
    sampling();
    golden_logits();
    return test_end();
}
