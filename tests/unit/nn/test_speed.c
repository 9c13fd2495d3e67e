/* test_speed.c - the operations that are timed are those of a step: what they count adds
 * up to the FLOPs and bytes that a step has by the formulas of its papers. */
#include "tests/unit/test.h"

#include <math.h>

#include "nn/backend.h"
#include "nn/speed.h"

struct sums {
    size_t rows, wrong;
    double matrices, attention, adamw, embed;
};

static void add(void *ctx, const struct kj_speed_row *r)
{
    struct sums *s = ctx;
    s->rows++;
    s->wrong += !(r->seconds > 0) || !(r->share > 0) || !(r->bytes > 0);
    if (strncmp(r->op, "matmul", 6) == 0 || strcmp(r->op, "linear") == 0)
        s->matrices += r->count * r->flops;
    if (strncmp(r->op, "attention", 9) == 0)
        s->attention += r->count * r->flops;
    if (strcmp(r->op, "adamw") == 0)
        s->adamw += r->count * r->bytes;
    if (strcmp(r->op, "embed") == 0)
        s->embed += r->count * r->bytes;
}

static struct sums timed(const struct kj_speed_shape *shape, bool f8)
{
    struct sums s = {0};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_speed_peaks p;
    struct kj_backend *b = NULL;
    CHECK_INT(kj_backend_open(&b, "cpu", 1, &err), KJ_OK);
    CHECK_INT(kj_speed_peaks(b, 64, 0.01, &p, &err), KJ_OK);
    CHECK(p.gflops > 0 && p.gflops_bf16 > 0 && p.gflops_f8 > 0 && p.copy > 0 &&
          p.adamw > 0);
    CHECK_INT(kj_speed_ops(b, shape, f8, &p, 1e-3, add, &s, &err), KJ_OK);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
    CHECK_INT(s.wrong, 0);
    return s;
}

static void a_step_of_training(bool f8)
{
    /* 96 tokens in rows of 40, 40 and 16; logits of 64, then of 32 */
    const struct kj_speed_shape shape = {"x", "",  3,  48, 80, 6, 2,
                                         8,   500, 96, 40, 64, 0};
    double per_layer = 48 * (48 + 2 * 16) + 48 * 48 + 3 * 48 * 80, head = 48 * 500;
    double pairs = 40 * 41 + 16 * 17 / 2.0;
    struct sums s = timed(&shape, f8);
    /* a head's last chunk counts as a whole one */
    CHECK(fabs(s.matrices - 6 * (3 * per_layer * 96 + head * 128)) < 1);
    /* Dao et al. 2022: the backward pass has five products for two */
    CHECK(fabs(s.attention - 3 * 14 * pairs * 48) < 1);
    CHECK(fabs(s.adamw - 28 * (3 * (per_layer + 96) + 2 * head)) < 64 * 28);
    CHECK_INT(s.embed, 2 * 4 * 96 * 48);
}

static void an_encoder(void)
{
    const struct kj_speed_shape shape = {"x", "",  2,   32, 64, 4, 4,
                                         8,   100, 300, 90, 0,  1};
    struct sums s = timed(&shape, false);
    double per_layer = 4 * 32 * 32 + 2 * 32 * 64;
    CHECK(fabs(s.matrices - 2 * 2 * per_layer * 300) < 1);
    /* every key seen: between what documents of 64 and of 90 tokens would have */
    CHECK(s.attention > 2 * 4 * 32 * 300.0 * 40 &&
          s.attention < 2 * 4 * 32 * 300.0 * 90);
}

int main(void)
{
    a_step_of_training(false);
    a_step_of_training(true);
    an_encoder();
    for (const struct kj_speed_shape *s = kj_speed_shapes; s->name; s++)
        CHECK(s->heads % s->kv_heads == 0 && (s->encoder || s->tokens % s->seq == 0));
    return test_end();
}
