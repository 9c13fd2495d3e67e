/* texts.h - an encoder that is given texts: its folder's tokenizer.json, the
 * model's special tokens, cutting at its longest input, and packing.
 *
 * Of a text only so much is tokenized as the model can see: a piece, up to white
 * space, that should give enough tokens, and a longer one when it did not. (Tokenizers
 * of encoders part words at white space, so what is behind changes nothing before.)
 *
 * Thread-safety: open ones are read-only; each thread has a worker.
 */
#ifndef KJ_CLASSIFY_TEXTS_H
#define KJ_CLASSIFY_TEXTS_H

#include "base/mem.h"
#include "classify/encoder.h"

/* How text becomes ids. The tokenizer's room is a sibling, so whoever may include
 * both fills this table in (commands/encoder_words.c); stages take the global one. */
struct kj_words {
    /* *ids: the largest id + 1 */
    int (*open)(void **tok, const char *path, uint32_t *ids, struct kj_err *err);
    void (*close)(void *tok);
    void *(*begin)(const void *tok); /* one thread's state */
    void (*end)(void *state);
    /* The ids, valid until the state's next call; special: with the special tokens
     * that the file's post-processor adds. KJ_BAD_RECORD: not to be encoded. */
    int (*encode)(void *state, const char *p, size_t n, bool special,
                  const uint32_t **ids, size_t *n_ids, struct kj_err *err);
};
extern const struct kj_words kj_encoder_words;

struct kj_texts;        /* encoder and tokenizer */
struct kj_texts_worker; /* one thread's */

/* What the folder's config.json does not decide; zero leaves all as it says. */
struct kj_texts_opts {
    bool head;          /* the folder must have one */
    const char *prefix; /* NULL: the folder's */
    int pool;           /* 0: the folder's; 1 + enum kj_pool */
    int64_t max_tokens; /* 0: the folder's */
    const char *device; /* a back end's name; NULL: cpu */
};
int kj_texts_open(struct kj_texts **out, const char *dir, const struct kj_words *w,
                  const struct kj_texts_opts *o, struct kj_err *err);
void kj_texts_free(struct kj_texts *t);
const struct kj_encoder *kj_texts_encoder(const struct kj_texts *t);
/* In force: as the folder says, or as the options did. */
const struct kj_encoder_config *kj_texts_config(const struct kj_texts *t);

int kj_texts_begin(struct kj_texts_worker **out, const struct kj_texts *t,
                   unsigned threads, struct kj_err *err);
void kj_texts_end(struct kj_texts_worker *w);

/* The pooled vectors of n texts, rows of hidden; a row of NAN where a text cannot
 * be encoded. *tokens, if not NULL, grows by what was computed. */
int kj_texts_features(const struct kj_texts *t, struct kj_texts_worker *w,
                      const struct kj_str *texts, size_t n, float *out,
                      uint64_t *tokens, struct kj_err *err);

/* What the head says of n texts, rows of its outputs as of kj_texts_outputs. On a GPU
 * the head is computed there, in float32. */
int kj_texts_scores(const struct kj_texts *t, struct kj_texts_worker *w,
                    const struct kj_str *texts, size_t n, double *out, uint64_t *tokens,
                    struct kj_err *err);
/* Do all workers share one device, and so give it the more to choose from the more
 * texts they come with? Else a worker sorts what it is given. */
bool kj_texts_shared(const struct kj_texts *t);

/* The outputs of the head for one vector: the number of a regression, or the
 * probabilities of the labels. NAN for a row of NAN. */
void kj_texts_outputs(const struct kj_head_weights *h, const float *x, double *y);

#endif
