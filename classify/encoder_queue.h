/* encoder_queue.h - one device for the texts of many threads.
 *
 * Threads tokenize and add texts; they are put into windows, each one pass of the
 * encoder, whosever texts they are. A thread of the queue's own has the device: two
 * passes are under way at a time, so that the device goes on while results are
 * fetched and the next pass is brought. While it is busy, windows fill up; when it
 * would stand still, it takes the fullest one as it is. A text's result does not
 * depend on the window that it comes into (encoder_run.c).
 *
 * Memory: 2 runs on the device, from the first text on; 10 windows of ids here.
 * Adding waits when all of them are full.
 *
 * Thread-safety: any number of threads add and wait, each for groups of its own.
 */
#ifndef KJ_CLASSIFY_ENCODER_QUEUE_H
#define KJ_CLASSIFY_ENCODER_QUEUE_H

#include "classify/encoder.h"

struct kj_encoder_queue;

/* Texts that somebody waits for together; zeroed before the first is added. */
struct kj_encoder_group {
    size_t left;
};

/* What the device did so far. */
struct kj_encoder_work {
    uint64_t passes, texts, tokens;
};

/* e must outlive it. Starts nothing yet. */
struct kj_encoder_queue *kj_encoder_queue_new(const struct kj_encoder *e,
                                              enum kj_pool pool);
/* Nobody may be waiting. */
void kj_encoder_queue_free(struct kj_encoder_queue *q);

/* Add one text of n ids, which are copied. Its row of kj_encoder_finish goes to out,
 * which must stay until kj_encoder_queue_wait. Negative, with nothing added, once the
 * device has failed. */
int kj_encoder_queue_add(struct kj_encoder_queue *q, struct kj_encoder_group *g,
                         const int32_t *ids, size_t n, bool outputs, float *out,
                         struct kj_err *err);
/* Until all results of the group are there; the device's failure, if it had one. To be
 * called also when adding failed: what was added before may still be under way. */
int kj_encoder_queue_wait(struct kj_encoder_queue *q, struct kj_encoder_group *g,
                          struct kj_err *err);
struct kj_encoder_work kj_encoder_queue_work(struct kj_encoder_queue *q);

#endif
