/* backend.c - opening back ends, and what is the same on all of them. */
#include "nn/backend.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nn/comm.h"
#include "nn/cpu/cpu.h"
#include "nn/cuda/open.h"
#include "nn/cuda/work.h"

const char *const kj_backend_names[] = {"cpu", "cuda", NULL};

#define CUDA_SO "kijil-cuda.so"

/* The folder of this program, without a slash at the end; "" when unknown. */
static void program_folder(char *buf, size_t n)
{
    ssize_t got = readlink("/proc/self/exe", buf, n - 1);
    buf[got < 0 ? 0 : got] = 0;
    char *slash = strrchr(buf, '/');
    if (slash)
        *slash = 0;
}

/* Why not: the loader names the file, or a library that the file needs. */
static void *load_file(const char *path, char *why, size_t n)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so)
        return so;
    const char *e = dlerror();
    bool other = strncmp(e, path, strlen(path)) != 0;
    snprintf(why, n, "%s%s", e,
             other ? " (a library of CUDA; LD_LIBRARY_PATH may name its folder)" : "");
    return NULL;
}

static void *load(char *why, size_t n)
{
    static const char *const places[] = {"", "/../lib/kijil"};
    char folder[3800], path[4096];
    const char *set = getenv("KIJIL_CUDA_SO");
    snprintf(why, n, "%s is not there (make cuda builds it)", CUDA_SO);
    if (set && *set)
        return load_file(set, why, n);
    program_folder(folder, sizeof folder);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s%s/%s", folder, places[i], CUDA_SO);
        if (access(path, F_OK) == 0)
            return load_file(path, why, n);
    }
    return NULL;
}

/* The object stays loaded once it has a back end, which may outlive any one caller, or
 * has tried to have a GPU; where there is none it goes again, with the 150 MB of its
 * libraries. */
static int cuda_open(struct kj_backend **out, unsigned threads, struct kj_err *err)
{
    char why[512];
    unsigned (*abi)(void) = NULL;
    int (*open)(struct kj_backend **, unsigned, struct kj_err *) = NULL;
    void *so = load(why, sizeof why);
    if (!so)
        return kj_err_set(err, KJ_USAGE, "no GPU: %s", why);
    /* A data pointer becomes a function's: POSIX wants it so. */
    *(void **)&abi = dlsym(so, "kj_cuda_abi");
    *(void **)&open = dlsym(so, "kj_cuda_open");
    if (!abi || !open || abi() != KJ_BACKEND_ABI) {
        dlclose(so);
        return kj_err_set(err, KJ_USAGE,
                          "no GPU: %s was built with another version of this program",
                          CUDA_SO);
    }
    struct kj_err e = KJ_ERR_INIT;
    int rc = open(out, threads, &e);
    if (rc == KJ_OK)
        return rc;
    dlclose(so);
    return kj_err_set(err, rc, "no GPU: %.400s", e.msg);
}

int kj_backend_open(struct kj_backend **out, const char *name, unsigned threads,
                    struct kj_err *err)
{
    struct kj_err e = KJ_ERR_INIT;
    if (strcmp(name, "cpu") == 0)
        return kj_cpu_open(out, threads, err);
    if (strcmp(name, "cuda") == 0)
        return cuda_open(out, threads, err);
    if (strcmp(name, "auto") != 0)
        return kj_err_set(err, KJ_USAGE,
                          "no compute back end \"%s\" in this program (there are: cpu, "
                          "cuda)",
                          name);
    if (cuda_open(out, threads, &e) == KJ_OK)
        return KJ_OK;
    int rc = kj_cpu_open(out, threads, err);
    if (rc == KJ_OK)
        snprintf((*out)->note, sizeof(*out)->note, "%.255s", e.msg);
    return rc;
}

void kj_backend_close(struct kj_backend *b)
{
    if (b)
        b->ops->close(b);
}

int kj_backend_join(struct kj_backend *b, struct kj_comm *c, struct kj_err *err)
{
    char name[16] = "";
    snprintf(name, sizeof name, "%s", b->ops->name);
    b->comm = c;
    int rc = kj_comm_broadcast(c, name, sizeof name, 0, err);
    if (rc == KJ_OK && strcmp(name, b->ops->name) != 0)
        rc = kj_err_set(err, KJ_USAGE, "rank %d computes on %s, rank 0 on %s",
                        kj_comm_rank(c), b->ops->name, name);
    return rc == KJ_OK && b->ops->join ? b->ops->join(b, c, err) : rc;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t kj_cuda_work(const struct kj_step_shape *s)
{
    size_t norm = sizeof(float) * kj_cuda_norm_ws(s->tokens, s->hidden);
    size_t rows = sizeof(float) * (s->tokens * s->heads + 1);
    size_t order = sizeof(int32_t) * (s->tokens + 1);
    size_t sums = sizeof(double) * (kj_cuda_parts(s->elements, KJ_CUDA_SUM_PIECE) + 1);
    struct kj_sdpa_parts t = kj_sdpa_parts_of(larger(s->tokens, KJ_SDPA_TRIAL_TOKENS),
                                              s->heads, s->kv_heads, s->dim);
    size_t attention = t.rowsum + t.dq_sum + t.dk_heads + t.dv_heads + KJ_SDPA_GUARD;
    /* Lists of documents, were each of one token: of their bounds and tiles, and those
     * of cuDNN's plans, of which the usual ones, with few documents, need little. */
    size_t lists =
        (s->tokens + 8) * (7 * KJ_CUDA_TABLES + (s->bf16 ? 40 : 0)) * sizeof(int32_t);
    return KJ_CUDA_WORKSPACE + KJ_CUDA_SLOTS * KJ_CUDA_SLOT +
           larger(larger(norm, rows), larger(order, sums)) + lists +
           (s->bf16 ? attention : 0) +
           (s->ranks > 1
                ? (s->ranks - 1) * kj_cuda_apart(s->unit, s->ranks) * sizeof(float)
                : 0);
}

static struct kj_mat from(struct kj_mat m, size_t i)
{
    m.at += i * m.stride;
    return m;
}

/* Rows i .. i+n; the student's logits are in p->ws already. */
static void distil(struct kj_backend *b, const struct kj_head *p, size_t i, size_t n)
{
    const struct kj_head_teacher *q = p->teacher;
    struct kj_distil d = {q->weight, q->temperature, p->scale, p->zeta, p->scale_by};
    struct kj_mat z = p->ws, t = q->ws, loss = p->loss, kl = q->kl, y = p->targets;
    z.stride = t.stride = p->v;
    loss.at += i;
    kl.at += i;
    y.at += i;
    b->ops->matmul(b, t, from(q->x, i), q->w, n, p->v, q->h, KJ_MM_TB | p->flags);
    b->ops->distil(b, z, t, loss, kl, y, n, p->v, &d);
}

void kj_head_loss(struct kj_backend *b, const struct kj_head *p)
{
    const struct kj_ops *o = b->ops;
    bool grad = p->dx.t != NULL;
    const uint64_t chance = b->chance;
    struct kj_mat z = p->ws;
    z.stride = p->v;
    for (size_t i = 0; i < p->n; i += p->chunk) {
        size_t n = p->n - i < p->chunk ? p->n - i : p->chunk;
        struct kj_mat loss = p->loss, lse = p->lse, y = p->targets;
        loss.at += i;
        lse.at += i;
        y.at += i;
        o->matmul(b, z, from(p->x, i), p->w, n, p->v, p->h, KJ_MM_TB | p->flags);
        if (p->teacher)
            distil(b, p, i, n);
        else
            o->cross_entropy(b, z, loss, lse, y, n, p->v, p->scale, p->scale_by,
                             p->zeta, grad);
        if (!grad)
            continue;
        o->matmul(b, from(p->dx, i), z, p->w, n, p->h, p->v, p->flags);
        b->chance = chance ? chance + 2 + i : 0; /* the same elements every time */
        o->matmul(b, p->dw, z, from(p->x, i), p->v, p->h, n,
                  KJ_MM_TA | KJ_MM_ADD | p->flags);
    }
    b->chance = chance;
}

uint64_t kj_section_key(const void *what, const uint64_t *more, size_t n)
{
    uint64_t key = (uint64_t)(uintptr_t)what;
    for (size_t i = 0; i <= n; i++) {
        key += i < n ? more[i] : 1;
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9u;
        key = (key ^ key >> 27) * 0x94D049BB133111EBu;
        key ^= key >> 31;
    }
    return key;
}
