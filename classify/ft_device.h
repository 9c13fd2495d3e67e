/* ft_device.h - fastText models on a compute back end: the rows of many texts at once.
 *
 * A text's score is a mean of rows of a large matrix that lie anywhere in it, and
 * little else. The host cuts texts into row numbers, the device takes the means
 * (its memory is ten times as fast as the host's), the host does the last layer.
 * Rows are added in the same order as kj_ft_score does, so scores are the same
 * numbers.
 *
 * Thread-safety: an opened model is read-only and shared; each thread has a pass of
 * its own, which has a back end of its own.
 */
#ifndef KJ_CLASSIFY_FT_DEVICE_H
#define KJ_CLASSIFY_FT_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_ft;
struct kj_ft_device;
struct kj_ft_pass;

/* Copies m's input matrix, which must be dense (KJ_USAGE: .ftz), to the device. m must
 * outlive it. backend: as of kj_backend_open. */
int kj_ft_device_open(struct kj_ft_device **out, const struct kj_ft *m,
                      const char *backend, struct kj_err *err);
void kj_ft_device_free(struct kj_ft_device *d);

int kj_ft_pass_new(struct kj_ft_pass **out, const struct kj_ft_device *d,
                   struct kj_err *err);
void kj_ft_pass_free(struct kj_ft_pass *p);

/* Add one line of text, to be scored as by kj_ft_score; its score will be in *score,
 * NAN where it cannot be (KJ_BAD_RECORD there). A full pass runs by itself. */
int kj_ft_pass_add(struct kj_ft_pass *p, int32_t target, const char *text, size_t n,
                   float *score, struct kj_err *err);
/* Run what has been added; then all scores are there. KJ_FAIL as of kj_ft_score. */
int kj_ft_pass_run(struct kj_ft_pass *p, struct kj_err *err);

#endif
