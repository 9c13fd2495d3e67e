/* weights.h - the weights of a Hugging Face folder, tensor by tensor: mapped
 * files, nothing in memory that is not looked at.
 *
 * Thread-safety: read-only once open.
 */
#ifndef KJ_TRAINER_WEIGHTS_H
#define KJ_TRAINER_WEIGHTS_H

#include "nn/safetensors.h"
#include "trainer/llama.h"

struct kj_err;
struct kj_weights;

/* The folder of the model itself, to be freed: DIR, or DIR/model where DIR is that of a
 * training run. Where a model's folder is taken here and in hf.h, either will do. */
char *kj_weights_dir(const char *dir);

/* Map model.safetensors, or the shards of model.safetensors.index.json.
 * KJ_FAIL names what is not as the shape says: a missing, misshapen or unknown
 * tensor (old files' rotary frequencies may be there, and a head equal to the
 * embedding that it is tied to). */
int kj_weights_open(struct kj_weights **out, const char *dir,
                    const struct kj_shape *shape, struct kj_err *err);
void kj_weights_close(struct kj_weights *w);
/* NULL when there is none. Parameters of the shape are always there. */
const struct kj_st_tensor *kj_weights_find(const struct kj_weights *w,
                                           const char *name);
/* Whether the embedding is stored as bf16: what a copy should be, too. */
bool kj_weights_bf16(const struct kj_weights *w);

#endif
