/* section.cu - runs of operations that come again, as CUDA graphs.
 *
 * A section is known by its key. The first time it runs as it is: memory grows, plans
 * are made. The second time the stream is captured, and what was captured is launched
 * as one graph; from then on the graph is launched again, and the caller does not
 * even issue the operations. So a key stands for the operands too (nn/backend.h).
 *
 * (llama.cpp and others capture each time and update the graph that they have. For that
 * the host does for each operation what it does without graphs, and the device
 * starts only behind the last one; it gains where the device's gaps between kernels
 * count, not where the host is late, as with one token at a time.)
 *
 * What a graph cannot hold (memory that grows, a wait, a copy from or to the host)
 * calls kj_cuda_leave first: what was captured so far is launched once, and
 * the section goes on as it is. After TRIES such times its key is not captured
 * again. Graphs hold addresses; when memory that they might use is given back, all are
 * dropped (kj_cuda_forget).
 */
#include "nn/cuda/cuda.cuh"

#include <cstdlib>
#include <cstring>

#define SECTIONS 64 /* the one that was used longest ago makes room */
#define TRIES    3

struct section {
    uint64_t key, used;
    unsigned seen, left;
    cudaGraphExec_t graph;
};

struct kj_sections {
    bool off, capturing;
    unsigned depth; /* begun and not ended */
    struct section *now, all[SECTIONS];
    uint64_t clock;
};

bool kj_cuda_section_open(struct kj_cuda *c)
{
    const char *s = getenv("KIJIL_CUDA_GRAPHS");
    c->sections = (struct kj_sections *)calloc(1, sizeof *c->sections);
    if (!c->sections) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    c->sections->off = c->each || (s && strcmp(s, "0") == 0);
    return true;
}

static void drop(struct section *s)
{
    if (s->graph) /* one that is at work is freed when it is done */
        cudaGraphExecDestroy(s->graph);
    memset(s, 0, sizeof *s);
}

void kj_cuda_section_close(struct kj_cuda *c)
{
    for (int i = 0; c->sections && i < SECTIONS; i++)
        drop(&c->sections->all[i]);
    free(c->sections);
    c->sections = NULL;
}

bool kj_cuda_capturing(const struct kj_cuda *c)
{
    return c->sections && c->sections->capturing;
}

/* Ends the capture and launches it; the graph is kept in *keep, unless that is NULL. */
static void finish(struct kj_cuda *c, cudaGraphExec_t *keep)
{
    cudaGraph_t g = NULL;
    cudaGraphExec_t e = NULL;
    c->sections->capturing = false;
    cudaError_t rc = cudaStreamEndCapture(c->stream, &g);
    if (c->base.fault.rc) {
        cudaGetLastError(); /* what spoilt it is told already */
    } else if (kj_cuda_good(c, rc, "cudaStreamEndCapture") &&
               KJ_CUDA(c, cudaGraphInstantiate(&e, g, 0)) &&
               KJ_CUDA(c, cudaGraphLaunch(e, c->stream)) && keep) {
        *keep = e;
        e = NULL;
    }
    if (e)
        cudaGraphExecDestroy(e);
    if (g)
        cudaGraphDestroy(g);
}

void kj_cuda_leave(struct kj_cuda *c)
{
    if (!kj_cuda_capturing(c))
        return;
    c->sections->now->left++;
    finish(c, NULL);
}

void kj_cuda_forget(struct kj_cuda *c)
{
    kj_cuda_leave(c);
    for (int i = 0; c->sections && i < SECTIONS; i++)
        if (&c->sections->all[i] != c->sections->now)
            drop(&c->sections->all[i]);
    kj_cuda_attn_forget(c);
    if (c->sections && c->sections->now) /* under way: it begins again */
        c->sections->now->seen = 0;
}

static struct section *find(struct kj_sections *t, uint64_t key)
{
    struct section *old = &t->all[0];
    for (int i = 0; i < SECTIONS; i++) {
        struct section *s = &t->all[i];
        if (s->used && s->key == key)
            return s;
        old = s->used < old->used ? s : old;
    }
    drop(old);
    old->key = key;
    return old;
}

bool kj_cuda_section_begin(struct kj_backend *b, uint64_t key)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_sections *t = c->sections;
    if (t->depth++ || t->off || !kj_cuda_op(c, "section", 0))
        return true;
    struct section *s = t->now = find(t, key);
    s->used = ++t->clock;
    if (s->graph) {
        KJ_CUDA(c, cudaGraphLaunch(s->graph, c->stream));
        t->now = NULL;
        t->depth--;
        return false;
    }
    if (s->seen++ && s->left < TRIES)
        t->capturing = KJ_CUDA(
            c, cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
    return true;
}

void kj_cuda_section_end(struct kj_backend *b)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_sections *t = c->sections;
    if (--t->depth)
        return;
    if (t->capturing)
        finish(c, &t->now->graph);
    t->now = NULL;
}
