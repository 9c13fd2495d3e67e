/* test_moments.c - checkpoints of moments: all of them, or without the second ones of
 * Muon's matrices; a folder with all is read by a run that wants fewer. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "nn/backend.h"
#include "nn/safetensors.h"
#include "trainer/checkpoint.h"
#include "trainer/muon.h"
#include "trainer/ranks.h"

static const struct kj_shape shape = {.vocab_size = 11,
                                      .hidden = 8,
                                      .ffn = 12,
                                      .layers = 2,
                                      .heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 4,
                                      .max_positions = 8,
                                      .rope_theta = 10000,
                                      .norm_eps = 1e-5};

struct state {
    struct kj_llama *m;
    struct kj_ranks ranks;
    struct kj_moments moments;
    size_t n[2];
};

static void state_new(struct state *s, struct kj_backend *b, bool muon)
{
    memset(s, 0, sizeof *s);
    CHECK_INT(kj_llama_new(&s->m, b, &shape, 8, 8, true, NULL), KJ_OK);
    kj_ranks_init(&s->ranks, NULL, s->m);
    s->moments.ranks = &s->ranks;
    s->n[0] = s->n[1] = s->m->n;
    if (muon)
        s->moments.seconds = kj_muon_seconds(s->m->params, s->m->n_params, &s->n[1]);
    for (int i = 0; i < 2; i++)
        s->moments.t[i] = b->ops->tensor_new(b, KJ_F32, s->n[i]);
}

static void state_free(struct state *s)
{
    struct kj_backend *b = s->m->b;
    for (int i = 0; i < 2; i++)
        b->ops->tensor_free(b, s->moments.t[i]);
    free(s->moments.seconds);
    kj_llama_free(s->m);
}

static float *get(const struct state *s, int which)
{
    float *x = malloc(s->n[which] * sizeof *x);
    s->m->b->ops->read(s->m->b, s->moments.t[which], 0, x, s->n[which]);
    return x;
}

/* Element i of the model is i in the first moment, and minus i in the second. */
static void all_saved(struct state *s, const char *dir)
{
    struct kj_checkpoint c = {.step = 3, .run = "r", .data = "d"};
    struct kj_hf_save hf = {.bos = 0, .eos = 0};
    struct kj_err err = KJ_ERR_INIT;
    float *x = malloc(s->m->n * sizeof *x);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < s->m->n; i++)
            x[i] = k ? -(float)i : (float)i;
        s->m->b->ops->write(s->m->b, s->moments.t[k], 0, x, s->m->n);
    }
    free(x);
    CHECK_INT(kj_checkpoint_save(dir, &c, s->m, &s->moments, &hf, 2, &err), KJ_OK);
}

static void fewer_read(struct kj_backend *b, const char *dir, bool saved_by_muon)
{
    struct state s;
    struct kj_checkpoint c = {0};
    struct kj_err err = KJ_ERR_INIT;
    state_new(&s, b, true);
    CHECK(s.n[1] < s.n[0]);
    if (!CHECK_INT(
            kj_checkpoint_load(dir, saved_by_muon ? 4 : 3, &c, s.m, &s.moments, &err),
            KJ_OK))
        printf("     %s\n", err.msg);
    float *first = get(&s, 0), *second = get(&s, 1);
    size_t bad = 0, at = 0;
    for (size_t i = 0; i < s.m->n; i++)
        bad += first[i] != (float)i;
    for (size_t i = 0; i < s.m->n_params; i++) {
        const struct kj_param *p = &s.m->params[i];
        for (size_t k = 0; !kj_muon_takes(p) && k < p->rows * p->cols; k++)
            bad += second[at++] != -(float)(p->at + k);
    }
    CHECK_INT((int64_t)at, (int64_t)s.n[1]);
    CHECK_INT((int64_t)bad, 0);
    if (!saved_by_muon) { /* save what was read, for the next */
        struct kj_hf_save hf = {.bos = 0, .eos = 0};
        c.step = 4;
        CHECK_INT(kj_checkpoint_save(dir, &c, s.m, &s.moments, &hf, 2, &err), KJ_OK);
    }
    free(first);
    free(second);
    state_free(&s);
}

/* The other way round something is missing, and is named. */
static void more_refused(struct kj_backend *b, const char *dir)
{
    struct state s;
    struct kj_checkpoint c = {0};
    struct kj_err err = KJ_ERR_INIT;
    state_new(&s, b, false);
    CHECK_INT(kj_checkpoint_load(dir, 4, &c, s.m, &s.moments, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "v.model.layers.0.self_attn.q_proj.weight") != NULL);
    kj_err_reset(&err);
    state_free(&s);
}

int main(void)
{
    struct kj_backend *b;
    struct state all;
    char dir[] = "/tmp/kijil-moments-XXXXXX";
    if (!CHECK(mkdtemp(dir) != NULL) ||
        !CHECK_INT(kj_backend_open(&b, "cpu", 1, NULL), KJ_OK))
        return test_end();
    state_new(&all, b, false);
    all_saved(&all, dir);
    state_free(&all);
    fewer_read(b, dir, false);
    fewer_read(b, dir, true);
    more_refused(b, dir);
    CHECK_INT(kj_checkpoint_remove(dir, 3, NULL), KJ_OK);
    CHECK_INT(kj_checkpoint_remove(dir, 4, NULL), KJ_OK);
    CHECK_INT(rmdir(dir), 0);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
    return test_end();
}
