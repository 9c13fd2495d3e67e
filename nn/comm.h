/* comm.h - processes that work on one model together.
 *
 * Every process (rank) runs the same program on its part of the rows; sums over
 * ranks and exchanges of parts keep the models equal. This is the host's side: the
 * ranks find each other, and move bytes over TCP, each to each. The CPU's back
 * end sums gradients this way; one on GPUs uses it to start its own library
 * and to hear of ranks that are gone.
 *
 * Sums are taken in the order of ranks, element by element, so they do not depend
 * on timing. All ranks must call the same functions in the same order with the
 * same sizes: a rank that does not is named, not waited for.
 *
 * When a rank's process or machine is gone, the others' calls fail with its number,
 * host and process: at once for a process, within 40 s for a machine or a process
 * that is stopped. A rank that stops by itself says why (kj_comm_abort). A thread
 * of each rank watches the others, so that this is known while a rank does something
 * else (kj_comm_hear); KIJIL_RANK_SILENCE=SECONDS changes the 30 s that a rank may
 * give no sign of life.
 *
 * Thread-safety: one thread at a time.
 */
#ifndef KJ_NN_COMM_H
#define KJ_NN_COMM_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_comm;

struct kj_comm_place {
    int rank, size;
    int local_rank; /* among those of this machine: the number of its GPU */
    char host[256]; /* where rank 0 listens */
    int port;
};
/* As launchers set it: torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
 * MASTER_PORT), Slurm (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; the address
 * from MASTER_ADDR or SLURM_LAUNCH_NODE_IPADDR, the port from MASTER_PORT or the
 * job's number), Open MPI (OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK). None of
 * them: one rank. KJ_USAGE names what is missing or contradictory. */
int kj_comm_place(struct kj_comm_place *p, struct kj_err *err);

/* Wait for all ranks, `seconds` at most. run: any number that is the same for all
 * ranks of this run and differs between runs (the configuration's hash): others
 * are turned away. KJ_FATAL names ranks that did not come. */
int kj_comm_open(struct kj_comm **out, const struct kj_comm_place *p, uint64_t run,
                 int seconds, struct kj_err *err);
void kj_comm_close(struct kj_comm *c);

int kj_comm_rank(const struct kj_comm *c);
int kj_comm_size(const struct kj_comm *c);

/* The elements of n that a rank of so many owns: [*from, *to), cut at multiples of 16.
 * The last rank has the most, to 15 elements. */
void kj_comm_cut(size_t n, int rank, int ranks, size_t *from, size_t *to);
/* The same among the ranks of c. */
void kj_comm_part(const struct kj_comm *c, int rank, size_t n, size_t *from,
                  size_t *to);

/* All return KJ_OK or KJ_FATAL, after which c can only be closed. */
/* root's n bytes to all */
int kj_comm_broadcast(struct kj_comm *c, void *p, size_t n, int root,
                      struct kj_err *err);
/* Own part of x becomes the sum over ranks; the rest of x is left as it was. */
int kj_comm_reduce_scatter(struct kj_comm *c, float *x, size_t n, struct kj_err *err);
/* The others' parts come into x. */
int kj_comm_all_gather(struct kj_comm *c, float *x, size_t n, struct kj_err *err);
/* Elements at .. at+n of an array of `all`, of which each rank has its part, come to
 * rank 0's `to`. mine: this rank's of them, the first that it owns first. */
int kj_comm_collect(struct kj_comm *c, const float *mine, size_t all, size_t at,
                    size_t n, float *to, struct kj_err *err);
/* x[0..n) summed over ranks, the same bits everywhere; for a few numbers */
int kj_comm_sum(struct kj_comm *c, double *x, size_t n, struct kj_err *err);

/* Have hear() called from the watching thread: about once a second with why NULL, and
 * once with who is gone and why; or from kj_comm_abort, with this rank's reason, so that
 * a device does not wait for exchanges that will not end. It must not call the functions
 * here, nor take long. When this returns the function that was set before is not running
 * and will not be called. hear NULL: none. */
void kj_comm_hear(struct kj_comm *c, void (*hear)(void *ctx, const char *why),
                  void *ctx);

/* Tell the others why this rank stops; only the first time counts. Call before
 * kj_comm_close when leaving early. */
void kj_comm_abort(struct kj_comm *c, const char *why);

#endif
