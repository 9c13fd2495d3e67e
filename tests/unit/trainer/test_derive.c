/* test_derive.c - a pruned model computes what the large one does with the same
 * parts zeroed; ranges of layers; scores through their file. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "trainer/prune.h"

static const struct kj_shape large = {.vocab_size = 37,
                                      .hidden = 20,
                                      .ffn = 28,
                                      .layers = 3,
                                      .heads = 6,
                                      .kv_heads = 2,
                                      .head_dim = 6,
                                      .max_positions = 64,
                                      .rope_theta = 100,
                                      .norm_eps = 1e-5,
                                      .init_range = 0.25};

enum { N = 24, V = 37 };
static int32_t ids[N], pos[N], targets[N];
static const int32_t cu[] = {0, 10, N};
static char dir[64], path[128];

static struct kj_rows rows(void)
{
    for (int i = 0; i < N; i++) {
        ids[i] = (i * 7 + 3) % V;
        pos[i] = i < cu[1] ? i : i - cu[1];
        targets[i] = (i * 11 + 5) % V;
    }
    return (struct kj_rows){N, ids, pos, targets, 2, cu};
}

static const char *in(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static bool among(const int64_t *v, int64_t n, int64_t x)
{
    for (int64_t i = 0; i < n; i++)
        if (v[i] == x)
            return true;
    return false;
}

/* Zero or scale one element of each row or column of a parameter. */
static void scale_part(struct kj_llama *m, const char *part, int layer, bool rows_too,
                       int64_t which, float f)
{
    for (size_t i = 0; i < m->n_params; i++) {
        const struct kj_param *p = &m->params[i];
        if (!strstr(p->name, part) || (layer >= 0 && p->layer != layer))
            continue;
        float *x = malloc(p->rows * p->cols * sizeof *x);
        m->b->ops->read(m->b, m->w, p->at, x, p->rows * p->cols);
        if (rows_too)
            for (size_t k = 0; k < p->cols; k++)
                x[(size_t)which * p->cols + k] *= f;
        else
            for (size_t k = 0; k < p->rows; k++)
                x[k * p->cols + (size_t)which] *= f;
        m->b->ops->write(m->b, m->w, p->at, x, p->rows * p->cols);
        free(x);
    }
}

/* Neurons and heads that are not kept: their way back into the stream. Channels:
 * no one writes them; the norms get sqrt(kept / all), by which the small model's
 * mean of squares is larger. */
static void zero_the_rest(struct kj_llama *m, const struct kj_kept *k,
                          const struct kj_shape *to)
{
    double share = (double)to->hidden / (double)large.hidden;
    for (int l = 0; l < (int)to->layers; l++) {
        for (int64_t i = 0; i < large.ffn; i++)
            if (!among(k->neuron + l * to->ffn, to->ffn, i))
                scale_part(m, "down_proj", l, false, i, 0);
        for (int64_t i = 0; i < large.heads * large.head_dim; i++)
            if (!among(k->head + l * to->heads, to->heads, i / large.head_dim))
                scale_part(m, "o_proj", l, false, i, 0);
    }
    for (int64_t i = 0; i < large.hidden; i++) {
        bool kept = among(k->channel, to->hidden, i);
        if (!kept) {
            scale_part(m, "embed_tokens", -1, false, i, 0);
            scale_part(m, "o_proj", -1, true, i, 0);
            scale_part(m, "down_proj", -1, true, i, 0);
        }
        scale_part(m, "norm.weight", -1, false, i, kept ? (float)sqrt(share) : 0);
    }
    m->shape.norm_eps = large.norm_eps * share;
}

static void pruned_equals_zeroed(void)
{
    struct kj_backend *b = NULL;
    struct kj_shape to = large;
    struct kj_llama *m, *small, *zeroed;
    struct kj_scores s = {.hidden = 20, .ffn = 28, .heads = 6, .layers = 3};
    struct kj_kept k;
    struct kj_parent p;
    struct kj_hf_save save = {.bos = -1, .eos = -1};
    struct kj_rows r = rows();
    static float want[N * V], got[N * V];
    double channel[20], neuron[84], head[18], block[3] = {1, 2, 3};
    for (int i = 0; i < 84; i++)
        neuron[i] = sin(i);
    for (int i = 0; i < 20; i++)
        channel[i] = cos(i);
    for (int i = 0; i < 18; i++)
        head[i] = i * 5 % 7;
    s.channel = channel;
    s.neuron = neuron;
    s.head = head;
    s.block = block;
    to.hidden = 13;
    to.ffn = 11;
    to.heads = 4;
    CHECK_INT(kj_backend_open(&b, "cpu", 1, NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&m, b, &large, N, N, false, NULL), KJ_OK);
    kj_llama_init(m, 3);
    CHECK_INT(kj_hf_publish(m, in("large"), &save, NULL), KJ_OK);
    CHECK_INT(kj_parent_open(&p, path, NULL), KJ_OK);
    CHECK_INT(kj_prune_shape(&large, &to, NULL), KJ_OK);
    CHECK_INT(kj_prune_choose(&k, &s, &large, &to, NULL), KJ_OK);
    CHECK_INT(k.head[0], 1); /* of the scores 0 5 3, two */
    CHECK_INT(k.head[1], 2);
    CHECK_INT(k.head[2], 4); /* of 1 6 4 */
    CHECK_INT(kj_prune_write(&p, &to, &k, in("small"), NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&small, b, &to, N, N, false, NULL), KJ_OK);
    CHECK_INT(kj_hf_load(small, path, NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&zeroed, b, &large, N, N, false, NULL), KJ_OK);
    kj_llama_init(zeroed, 3);
    zero_the_rest(zeroed, &k, &to);
    CHECK_INT(kj_llama_logits(zeroed, &r, want, NULL), KJ_OK);
    CHECK_INT(kj_llama_logits(small, &r, got, NULL), KJ_OK);
    for (int i = 0; i < N * V; i++)
        CHECK_NEAR(got[i], want[i], 2e-5);
    CHECK_INT(kj_llama_logits(m, &r, want, NULL), KJ_OK); /* not what it was */
    CHECK(fabs((double)got[0] - (double)want[0]) > 1e-3);
    kj_kept_release(&k);
    kj_parent_close(&p);
    kj_llama_free(m);
    kj_llama_free(small);
    kj_llama_free(zeroed);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
    kj_hf_remove(in("large"), NULL);
    kj_hf_remove(in("small"), NULL);
}

static void ranges(void)
{
    struct kj_layers *v;
    size_t n;
    CHECK_INT(kj_layers_parse("0:20,12:32", 32, &v, &n, NULL), KJ_OK);
    CHECK_INT(n, 2);
    CHECK_INT(v[0].to + v[1].to - v[0].from - v[1].from, 40);
    free(v);
    CHECK_INT(kj_layers_parse(":,3:", 5, &v, &n, NULL), KJ_OK);
    CHECK_INT(v[0].from + v[1].from, 3);
    CHECK_INT(v[0].to + v[1].to, 10);
    free(v);
    static const char *const bad[] = {"",     "1",       "2:2",
                                      "0:33", "3:1",     "0:1,",
                                      ",0:1", "0:1;1:2", "0:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(kj_layers_parse(bad[i], 32, &v, &n, NULL), KJ_USAGE);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kijil-derive-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    pruned_equals_zeroed();
    ranges();
    rmdir(dir);
    return test_end();
}
