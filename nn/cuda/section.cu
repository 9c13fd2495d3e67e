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
 * Documents of a section may be others each time. Of those the graph knows what plans
 * and grids go by: their rounded number, the rounded length of the longest, their
 * tokens, which are part of the key here. Their bounds lie in tables on the device, at
 * places that graphs keep; begin() writes the new ones there, in the stream, so behind
 * what still reads the old (kj_cuda_attn_renew).
 *
 * What a graph cannot hold (memory that grows, a wait, a copy from or to the host)
 * calls kj_cuda_leave first: what was captured so far is launched once, and
 * the section goes on as it is. After TRIES such times its key is not captured
 * again. Graphs hold addresses; when memory that they might use is given back, all are
 * dropped (kj_cuda_forget).
 *
 * Where a call cannot be captured after all (a library that does in one what CUDA
 * refuses there), nothing of the section was done: the caller issues it once more. If
 * that goes well, graphs are left alone from then on, and the note says why; if not, it
 * was no fault of theirs.
 *
 * A graph takes memory of the device, by its nodes. Those that were used longest ago are
 * dropped so that all together stay within their part of it; one that this has hit
 * TRIES times is not made again, since making it costs more than it saves.
 */
#include "nn/arith.h"
#include "nn/cuda/cuda.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

/* Two for each layer and class of documents: 40 layers and a dozen classes. The one that
 * was used longest ago makes room. */
#define SECTIONS 1024
#define BUCKETS  1024
#define TRIES    3

struct section {
    uint64_t key, used;
    struct section *next; /* of its bucket */
    unsigned seen, left;
    cudaGraphExec_t graph;
    size_t nodes;
};

struct kj_sections {
    bool off, capturing;
    unsigned depth;    /* begun and not ended */
    bool lost, repeat; /* a capture has failed; its section is issued once more */
    char why[200];
    struct section *now, *bucket[BUCKETS], all[SECTIONS];
    uint64_t clock;
    size_t nodes, most; /* of all graphs, and that they may have */
};

bool kj_cuda_section_open(struct kj_cuda *c)
{
    const char *s = getenv("KIJIL_CUDA_GRAPHS");
    size_t left = 0, all = 0;
    c->sections = (struct kj_sections *)calloc(1, sizeof *c->sections);
    if (!c->sections) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    c->sections->off = c->each || (s && strcmp(s, "0") == 0);
    if (!KJ_CUDA(c, cudaMemGetInfo(&left, &all)))
        return false;
    c->sections->most = all / KJ_CUDA_GRAPH_PART / KJ_CUDA_NODE_BYTES;
    return true;
}

static void drop(struct kj_sections *t, struct section *s)
{
    if (s->graph) /* one that is at work is freed when it is done */
        cudaGraphExecDestroy(s->graph);
    t->nodes -= s->nodes;
    s->graph = NULL;
    s->nodes = 0;
}

void kj_cuda_section_close(struct kj_cuda *c)
{
    for (int i = 0; c->sections && i < SECTIONS; i++)
        drop(c->sections, &c->sections->all[i]);
    free(c->sections);
    c->sections = NULL;
}

bool kj_cuda_capturing(const struct kj_cuda *c)
{
    return c->sections && c->sections->capturing;
}

/* Room for a graph of n nodes; false: there is none even without all others. */
static bool make_room(struct kj_sections *t, size_t n)
{
    while (t->nodes && t->nodes + n > t->most) {
        struct section *old = NULL;
        for (int i = 0; i < SECTIONS; i++) {
            struct section *s = &t->all[i];
            if (s->graph && (!old || s->used < old->used))
                old = s;
        }
        drop(t, old);
        old->left++;
    }
    return n <= t->most;
}

/* Without memory for it others make room; then no more are made. */
static bool instantiate(struct kj_cuda *c, cudaGraphExec_t *e, cudaGraph_t g)
{
    struct kj_sections *t = c->sections;
    cudaError_t rc = cudaGraphInstantiate(e, g, 0);
    if (rc != cudaErrorMemoryAllocation)
        return kj_cuda_good(c, rc, "cudaGraphInstantiate");
    cudaGetLastError();
    for (int i = 0; i < SECTIONS; i++)
        drop(t, &t->all[i]);
    t->most = 0;
    return KJ_CUDA(c, cudaGraphInstantiate(e, g, 0));
}

/* Ends the capture and launches it; it stays with `keep`, unless that is NULL. */
static void finish(struct kj_cuda *c, struct section *keep)
{
    struct kj_sections *t = c->sections;
    cudaGraph_t g = NULL;
    cudaGraphExec_t e = NULL;
    size_t nodes = 0;
    t->capturing = false;
    t->lost = true;
    cudaError_t rc = cudaStreamEndCapture(c->stream, &g);
    if (c->base.fault.rc) {
        cudaGetLastError(); /* what spoilt it is told already */
    } else if (kj_cuda_good(c, rc, "cudaStreamEndCapture") &&
               KJ_CUDA(c, cudaGraphGetNodes(g, NULL, &nodes)) &&
               instantiate(c, &e, g) && KJ_CUDA(c, cudaGraphLaunch(e, c->stream))) {
        t->lost = false;
        if (keep && make_room(t, nodes)) {
            keep->graph = e;
            keep->nodes = nodes;
            t->nodes += nodes;
            e = NULL;
        } else if (keep) {
            keep->left = TRIES;
        }
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
    struct kj_sections *t = c->sections;
    kj_cuda_leave(c);
    for (int i = 0; t && i < SECTIONS; i++) {
        drop(t, &t->all[i]);
        t->all[i].seen = 0; /* the one under way begins again, too */
        if (&t->all[i] != t->now)
            t->all[i].left = 0;
    }
    kj_cuda_attn_forget(c);
}

static struct section *find(struct kj_sections *t, uint64_t key)
{
    struct section **at = &t->bucket[key % BUCKETS], *old = &t->all[0];
    for (struct section *s = *at; s; s = s->next)
        if (s->key == key)
            return s;
    for (int i = 0; i < SECTIONS; i++)
        old = t->all[i].used < old->used ? &t->all[i] : old;
    if (old->used) { /* it leaves its bucket */
        struct section **p = &t->bucket[old->key % BUCKETS];
        while (*p != old)
            p = &(*p)->next;
        *p = old->next;
        drop(t, old);
    }
    memset(old, 0, sizeof *old);
    old->key = key;
    old->next = *at;
    return *at = old;
}

/* False: documents that no graph is kept for. Else they are part of the key. */
static bool take_docs(struct kj_cuda *c, size_t segs, const int32_t *cu, uint64_t *key)
{
    size_t longest = 0, tokens = (size_t)cu[segs];
    for (size_t i = 0; i < segs; i++) {
        if (cu[i + 1] < cu[i])
            return false; /* told by who goes over them */
        size_t n = (size_t)(cu[i + 1] - cu[i]);
        longest = n > longest ? n : longest;
    }
    if (cu[0] != 0 || segs > tokens)
        return false;
    c->docs = {cu, segs, tokens, kj_cuda_round_segs(segs),
               kj_cuda_round_longest(longest)};
    *key = kj_random64(*key, tokens);
    *key = kj_random64(*key, c->docs.round_segs);
    *key = kj_random64(*key, c->docs.round_longest);
    return true;
}

bool kj_cuda_section_begin(struct kj_backend *b, uint64_t key, size_t segs,
                           const int32_t *cu)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_sections *t = c->sections;
    if (t->depth++ || t->off || !kj_cuda_op(c, "section", segs) ||
        (segs && !take_docs(c, segs, cu, &key)))
        return true;
    struct section *s = t->now = find(t, key);
    s->used = ++t->clock;
    if (c->docs.cu && !kj_cuda_attn_renew(c))
        return true;
    if (s->graph) {
        KJ_CUDA(c, cudaGraphLaunch(s->graph, c->stream));
        kj_cuda_section_end(b);
        return false;
    }
    if (s->seen++ && s->left < TRIES) {
        t->capturing = KJ_CUDA(
            c, cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
        t->lost = !t->capturing;
    }
    return true;
}

/* Once more, without a capture? Behind a fault nothing runs, so nothing did since. */
static bool repeat(struct kj_cuda *c)
{
    struct kj_sections *t = c->sections;
    bool again = t->lost && c->base.fault.rc;
    if (again) {
        snprintf(t->why, sizeof t->why, "%.*s", (int)sizeof t->why - 1,
                 c->base.fault.msg);
        kj_err_reset(&c->base.fault);
        c->base.most = KJ_MAT_NONE; /* left by who stopped there */
        cudaGetLastError();
    } else if (t->repeat && !c->base.fault.rc) {
        t->off = true;
        if (!*c->base.note)
            snprintf(c->base.note, sizeof c->base.note,
                     "no CUDA graphs: %.190s: operations are launched one by one",
                     t->why);
    }
    t->lost = false;
    return t->repeat = again;
}

bool kj_cuda_section_end(struct kj_backend *b)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_sections *t = c->sections;
    if (t->depth > 1) {
        t->depth--;
        return false;
    }
    if (t->capturing)
        finish(c, t->now);
    if (repeat(c))
        return true;
    t->depth = 0;
    t->now = NULL;
    c->docs.cu = NULL;
    return false;
}
