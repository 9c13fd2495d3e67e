/* st_set.h - the tensors of a model folder in Hugging Face's layout:
 * model.safetensors, or the files that model.safetensors.index.json names.
 *
 * Thread-safety: an open set is read-only and may be shared.
 */
#ifndef KJ_NN_ST_SET_H
#define KJ_NN_ST_SET_H

#include <stddef.h>

#include "nn/safetensors.h"

struct kj_err;
struct kj_st_set;

/* Map and check the files of dir. KJ_FAIL names the fault. */
int kj_st_set_open(struct kj_st_set **out, const char *dir, struct kj_err *err);
void kj_st_set_close(struct kj_st_set *w);

size_t kj_st_set_files(const struct kj_st_set *w);
/* File i, in the order in which the index first names it, and its name within
 * the folder. */
const struct kj_st *kj_st_set_file(const struct kj_st_set *w, size_t i);
const char *kj_st_set_name(const struct kj_st_set *w, size_t i);
/* A tensor by its name, in the first file that has it; or NULL. */
const struct kj_st_tensor *kj_st_set_find(const struct kj_st_set *w, const char *name);

#endif
