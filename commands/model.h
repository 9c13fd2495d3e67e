/* model.h - what the commands on models share. */
#ifndef KJ_COMMANDS_MODEL_H
#define KJ_COMMANDS_MODEL_H

#include "nn/backend.h"
#include "trainer/config.h"
#include "trainer/hf.h"
#include "trainer/llama.h"

struct kj_tok;

/* "90", "90s", "2m", "1h30m" to seconds; KJ_USAGE. */
int kj_model_seconds(const char *text, double *out, struct kj_err *err);

/* Set "section.key=value" or "stages.NAME.key=value" in a run, each of a --set; the
 * texts are borrowed. The first of a list's values takes the place of the file's. */
int kj_model_set(struct kj_run *r, const struct kj_strs *assignments,
                 struct kj_err *err);

/* May a model be written there? KJ_USAGE when no folder is named, or there is
 * something in it and force is not set; force never removes anything but a
 * folder with a config.json. */
int kj_model_output(const char *dir, bool force, struct kj_err *err);

/* A model to run: DIR, or DIR/model where a training run left it. */
struct kj_opened {
    struct kj_backend *b;
    struct kj_hf_config config;
    struct kj_llama *m;
    struct kj_tok *tok;
    uint32_t begin; /* the token that a text begins with */
    char *dir;      /* of the model itself */
    size_t tokens;  /* room of a pass */
};
/* tokens: room of one pass. tokenizer NULL: the folder's own. */
int kj_model_open(struct kj_opened *o, const char *dir, const char *tokenizer,
                  const char *device, unsigned threads, size_t tokens,
                  struct kj_err *err);
/* The same in two steps: what is known without the weights, and these. A later call
 * that needs more room reads them again. */
int kj_model_look(struct kj_opened *o, const char *dir, const char *tokenizer,
                  struct kj_err *err);
int kj_model_weights(struct kj_opened *o, const char *device, unsigned threads,
                     size_t tokens, struct kj_err *err);
void kj_model_close(struct kj_opened *o);

#endif
