/* muon.c - the matrices' optimiser, in operations of the back end. */
#include "trainer/muon.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* The polynomial's slope at 0 is what makes five rounds enough (Jordan 2024). */
#define ROUNDS 5
#define A3     3.4445f
#define B3     (-4.7750f)
#define C3     2.0315f

struct kj_muon {
    struct kj_backend *b;
    struct kj_tensor *x, *y, *a, *c; /* two as the largest matrix, two squares */
};

bool kj_muon_takes(const struct kj_param *p)
{
    return p->layer >= 0 && !p->vector;
}

size_t *kj_muon_seconds(const struct kj_param *p, size_t n, size_t *elements)
{
    size_t *at = kj_xcalloc(n, sizeof *at);
    *elements = 0;
    for (size_t i = 0; i < n; i++) {
        at[i] = kj_muon_takes(&p[i]) ? SIZE_MAX : *elements;
        *elements += kj_muon_takes(&p[i]) ? 0 : p[i].rows * p[i].cols;
    }
    return at;
}

static void largest(const struct kj_shape *s, size_t *matrix, size_t *square)
{
    size_t n;
    struct kj_param *p = kj_llama_params(s, &n, NULL);
    *matrix = *square = 0;
    for (size_t i = 0; i < n; i++) {
        size_t few = p[i].rows < p[i].cols ? p[i].rows : p[i].cols;
        if (!kj_muon_takes(&p[i]))
            continue;
        *matrix = p[i].rows * p[i].cols > *matrix ? p[i].rows * p[i].cols : *matrix;
        *square = few * few > *square ? few * few : *square;
    }
    free(p);
}

size_t kj_muon_floats(const struct kj_shape *s)
{
    size_t matrix, square;
    largest(s, &matrix, &square);
    return 2 * matrix + 2 * square;
}

struct kj_muon *kj_muon_new(struct kj_backend *b, const struct kj_shape *s)
{
    struct kj_muon *u = kj_xcalloc(1, sizeof *u);
    size_t matrix, square;
    largest(s, &matrix, &square);
    u->b = b;
    u->x = b->ops->tensor_new(b, KJ_F32, matrix);
    u->y = b->ops->tensor_new(b, KJ_F32, matrix);
    u->a = b->ops->tensor_new(b, KJ_F32, square);
    u->c = b->ops->tensor_new(b, KJ_F32, square);
    return u;
}

void kj_muon_free(struct kj_muon *u)
{
    if (!u)
        return;
    u->b->ops->tensor_free(u->b, u->x);
    u->b->ops->tensor_free(u->b, u->y);
    u->b->ops->tensor_free(u->b, u->a);
    u->b->ops->tensor_free(u->b, u->c);
    free(u);
}

/* One round on X of rows x cols, from the side that is shorter. */
static void even_out(struct kj_muon *u, size_t rows, size_t cols)
{
    const struct kj_ops *o = u->b->ops;
    bool tall = rows > cols;
    size_t k = tall ? cols : rows;
    struct kj_mat x = kj_mat(u->x, 0, cols), y = kj_mat(u->y, 0, cols),
                  a = kj_mat(u->a, 0, k), c = kj_mat(u->c, 0, k);
    o->matmul(u->b, a, x, x, k, k, tall ? rows : cols, tall ? KJ_MM_TA : KJ_MM_TB);
    o->matmul(u->b, c, a, a, k, k, k, 0);
    o->axpby(u->b, c, a, k * k, B3, C3);
    if (tall)
        o->matmul(u->b, y, x, c, rows, cols, k, 0);
    else
        o->matmul(u->b, y, c, x, rows, cols, k, 0);
    o->axpby(u->b, x, y, rows * cols, 1, A3);
}

void kj_muon_move(struct kj_muon *u, struct kj_llama *m, const struct kj_param *p,
                  struct kj_tensor *moment, const struct kj_muon_step *s)
{
    const struct kj_ops *o = u->b->ops;
    size_t n = p->rows * p->cols, most = p->rows > p->cols ? p->rows : p->cols;
    struct kj_mat g = kj_mat(m->g, p->at, 1), mo = kj_mat(moment, p->at, 1);
    struct kj_mat x = kj_mat(u->x, 0, 1);
    float fresh = (1 - s->momentum) * s->grad_scale;
    o->axpby(u->b, mo, g, n, fresh, s->momentum);
    o->axpby(u->b, x, g, n, fresh, 0);
    o->axpby(u->b, x, mo, n, s->momentum, 1);
    o->scale(u->b, x, n, (float)(1 / (sqrt(o->sumsq(u->b, x, n)) + 1e-7)));
    for (int i = 0; i < ROUNDS; i++)
        even_out(u, p->rows, p->cols);
    o->axpby(u->b, kj_mat(m->w, p->at, 1), x, n, -s->lr * 0.2f * sqrtf((float)most),
             1 - s->decay);
}
