/* ft_near.c - the input matrix copied into large pages, once that pays.
 *
 * A model's file is mapped: scoring starts at once, and processes share its pages. But
 * every row of a matrix of hundreds of megabytes lies in another page of 4 KB, and finding
 * the page takes as long as the row. Of 840 MB (2 M buckets of 100 numbers) rows cost 28 ns
 * more each than from pages of 2 MB, a third of the whole score. kj_ft_open therefore asks
 * for the file in large pages; where the system does not give them, the matrix is copied.
 *
 * When. A copy costs up to 0.66 us a row (where the machine is a guest whose memory
 * was never touched; less elsewhere), which is got back when each row was read 24
 * times. Texts to come are not known, so the copy is made when so many rows HAVE been
 * read: whatever number of texts comes, no more is spent than twice the best that could
 * be done knowing it. A run of some thousand pages never copies.
 *
 * How. No thread of its own and no pause: each text that is scored copies one piece
 * first, by all threads of the pass, until the last one says that it is there. Rows are the
 * same bytes in both places, so scores do not depend on where they come from.
 *
 * Not at any price. What is still to be copied must be at most a quarter of the memory
 * that this process may take (base/room.h), which is looked up before every piece: of
 * many processes that begin at the same time some give up, and the mapping stays good.
 */
#include "classify/ft_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/pages.h"
#include "base/room.h"

/* Smaller matrices gain 4 % or less (22 MB: 4 %, by pairs of runs). */
#define NEAR_MIN   ((size_t)64 << 20)
#define NEAR_AFTER 24
#define NEAR_PART  4 /* of the memory left */
#define PIECE      ((size_t)8 << 20)

enum { WAITING, CHOOSING, COPYING, THERE, NEVER };

struct ft_near {
    const unsigned char *from; /* the mapping */
    unsigned char *to;
    size_t n, pieces;
    uint64_t enough; /* rows */
    _Atomic uint64_t seen;
    _Atomic size_t next, done; /* pieces */
    _Atomic int state;
};

void ft_near_new(struct kj_ft *m, size_t min)
{
    const struct ft_mat *a = &m->in;
    size_t n = (size_t)a->rows * (a->quant ? (size_t)a->pq.nsubq : (size_t)a->cols * 4);
    if (n < (min ? min : NEAR_MIN))
        return;
    m->near = kj_xcalloc(1, sizeof *m->near);
    m->near->from = a->quant ? a->codes : a->data;
    m->near->n = n;
    m->near->pieces = (n + PIECE - 1) / PIECE;
    m->near->enough = (uint64_t)a->rows * NEAR_AFTER;
    kj_pages_ask(m->near->from, n);
}

void ft_near_free(struct kj_ft *m)
{
    if (m->near)
        kj_pages_free(m->near->to, m->near->n);
    free(m->near);
    m->near = NULL;
}

void ft_near_after(struct kj_ft *m, uint64_t rows)
{
    if (m->near)
        m->near->enough = rows;
}

bool ft_near_open(const struct kj_ft *m)
{
    int state = m->near ? atomic_load(&m->near->state) : NEVER;
    return state != THERE && state != NEVER;
}

static bool room_for(size_t n)
{
    int64_t left, all;
    kj_room_find("", &left, &all);
    return left > 0 && n <= (uint64_t)left / NEAR_PART;
}

/* By the one thread that found that it pays. */
static void choose(struct ft_near *c)
{
    if (kj_pages_large(c->from) < c->n / 2 && room_for(c->n))
        c->to = kj_pages_new(c->n);
    atomic_store(&c->state, c->to ? COPYING : NEVER);
}

/* Threads in the middle of a piece may still fill it; the model's end frees that. */
static void give_up(struct ft_near *c)
{
    atomic_store(&c->state, NEVER);
    kj_pages_drop(c->to, c->n);
}

static void copy_piece(struct ft_near *c)
{
    size_t i = atomic_fetch_add(&c->next, 1);
    if (i >= c->pieces)
        return;
    size_t at = i * PIECE, n = c->n - at < PIECE ? c->n - at : PIECE;
    if (!room_for(c->n - at)) {
        give_up(c);
        return;
    }
    memcpy(c->to + at, c->from + at, n);
    if (i == 0 && kj_pages_large(c->to) == 0) {
        give_up(c); /* small pages again: nothing is gained */
        return;
    }
    if (atomic_fetch_add(&c->done, 1) + 1 == c->pieces) {
        atomic_store(&c->state, THERE);
        kj_map_pass(c->from, c->n);
    }
}

const unsigned char *ft_near_rows(const struct kj_ft *m, size_t n_rows)
{
    struct ft_near *c = m->near;
    if (!c)
        return m->in.quant ? m->in.codes : m->in.data;
    int state = atomic_load_explicit(&c->state, memory_order_acquire);
    if (state == THERE)
        return c->to;
    if (state == COPYING) {
        copy_piece(c);
    } else if (state == WAITING && atomic_fetch_add(&c->seen, n_rows) >= c->enough &&
               atomic_compare_exchange_strong(&c->state, &state, CHOOSING)) {
        choose(c);
    }
    return c->from;
}
