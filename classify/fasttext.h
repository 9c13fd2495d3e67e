/* fasttext.h - fastText's supervised models: read, applied, trained, written.
 *
 * Files are those of fastText 0.9 (`.bin`, format versions 11 and 12, and
 * quantised `.ftz`), with each of its losses (softmax, hierarchical softmax,
 * negative sampling, one-vs-all), word n-grams, character n-grams, pruning,
 * and product quantisation of input and output with or without norms.
 * Method: Joulin et al., "Bag of Tricks for Efficient Text Classification"
 * (arXiv 1607.01759) and "FastText.zip" (arXiv 1612.03651).
 *
 * Reading. The file is mapped, not read: a large model starts at once, and its
 * pages are shared by all processes that use it. Every count, size and index
 * is checked against the file before it is used. Besides the mapping a model
 * takes at most KJ_FT_MEM_FACTOR times the file's size, plus 1 MiB. An input matrix of
 * 64 MB or more is asked for in large pages; where the system maps it in small ones it is
 * copied into large ones, piece by piece by the threads that score, when 24 times its rows
 * have been read and as long as a quarter of the memory left is more than what is missing.
 *
 * Applying gives the labels, their order, and the probabilities of
 * `fasttext predict-prob`: arithmetic is done in the same order and in the
 * same precision. That includes the fact that a printed probability is
 * p + 1e-5 (it may exceed 1), and that hierarchical softmax leaves out labels
 * with p < 1e-5.
 *
 * Thread-safety: a loaded model is read-only and may be used by any number of
 * threads; each needs a scratch of its own.
 */
#ifndef KJ_CLASSIFY_FASTTEXT_H
#define KJ_CLASSIFY_FASTTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;

#define KJ_FT_MEM_FACTOR 6

/* Loss functions, numbered as in the file. */
enum kj_ft_loss { KJ_FT_HS = 1, KJ_FT_NS, KJ_FT_SOFTMAX, KJ_FT_OVA };

/* What the file says about how the model was made. */
struct kj_ft_args {
    int32_t dim, ws, epoch, min_count, neg, word_ngrams;
    int32_t loss;  /* enum kj_ft_loss */
    int32_t model; /* 3: supervised, the only kind that is taken */
    int32_t bucket, minn, maxn, lr_update_rate;
    double t;
};

struct kj_ft;         /* a model */
struct kj_ft_scratch; /* one thread's working memory */

/* Map a model file. KJ_FAIL with the reason and the offset when it is damaged,
 * of another kind, or holds weights that are not finite (the weights of a
 * dense input matrix over 256 MiB are checked when they are used). */
int kj_ft_open(struct kj_ft **out, const char *path, struct kj_err *err);
/* The same from memory, which stays the caller's and must outlive the model. */
int kj_ft_open_mem(struct kj_ft **out, const void *p, size_t n, const char *name,
                   struct kj_err *err);
void kj_ft_free(struct kj_ft *m);

const struct kj_ft_args *kj_ft_get_args(const struct kj_ft *m);
bool kj_ft_quantised(const struct kj_ft *m);
int32_t kj_ft_labels(const struct kj_ft *m);
/* Label i as it stands in the file ("__label__ko"); lives as long as m. */
struct kj_str kj_ft_label(const struct kj_ft *m, int32_t i);
/* Its number, or -1. The prefix "__label__" may be left out, and white space stands
 * for the '_' that training from documents made of it. */
int32_t kj_ft_label_find(const struct kj_ft *m, const char *name);
/* Bytes of the input matrix, whose rows every text reads; 0 where it is quantised. */
size_t kj_ft_matrix_bytes(const struct kj_ft *m);
/* Bytes held besides the mapping. */
size_t kj_ft_memory(const struct kj_ft *m);

/* max_rows caps how many features one text may have (words and n-grams, 4
 * bytes each); 0: 16 million. */
struct kj_ft_scratch *kj_ft_scratch_new(const struct kj_ft *m, size_t max_rows);
void kj_ft_scratch_free(struct kj_ft_scratch *s);

struct kj_ft_hit {
    int32_t label;
    float prob; /* as fastText prints it: p + 1e-5 */
};

/* Score one line of text. It ends at p+n, at the first \n, or behind a word
 * "</s>", whichever is first. eol: an end of line follows the text (what
 * fastText's command line sees for each line of a file, and its Python module
 * always adds); a \n inside counts as one. Up to k best labels with p >= threshold
 * go to hits, best first; k < 0: all of them. hits has room for min(k, labels).
 * *n_hits is 0 for a text without known features. *used, if not NULL, is set
 * to the bytes consumed. KJ_BAD_RECORD: over max_rows. KJ_FAIL: the model gave
 * a number that is not finite. */
int kj_ft_predict(const struct kj_ft *m, struct kj_ft_scratch *s, const char *p,
                  size_t n, bool eol, int32_t k, float threshold,
                  struct kj_ft_hit *hits, int32_t *n_hits, size_t *used,
                  struct kj_err *err);

/* Did the line last predicted from hold anything that the model knows? */
bool kj_ft_known(const struct kj_ft_scratch *s);
/* The true labels of the line last predicted from (known ones only): for
 * testing. Valid until the next call on s. */
size_t kj_ft_true_labels(const struct kj_ft_scratch *s, const int32_t **labels);

/* The score of label `target` for one line of text, 0..1, as the published users
 * of fastText take it: of a model with two labels, the probability of target if
 * it comes out on top, else one minus that of the other (DCLM's rule;
 * fastText's probabilities are p + 1e-5, so near the published cut of 0.018112
 * this is not the same as asking for the label's own); of other models, the
 * label's own probability. A text of which the model knows nothing scores 0.
 * hits: room for every label. Results as of kj_ft_predict. */
int kj_ft_score(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t target,
                const char *p, size_t n, struct kj_ft_hit *hits, float *score,
                struct kj_err *err);
/* The same rule on what kj_ft_predict gave: the best label alone of a model with two,
 * else all. */
float kj_ft_score_of(const struct kj_ft *m, int32_t target,
                     const struct kj_ft_hit *hits, int32_t found);

/* ---- training ---- */

struct kj_ft_train {
    double lr, t;
    int64_t dim, ws, epoch, min_count, min_count_label, neg, word_ngrams, bucket;
    int64_t minn, maxn, lr_update_rate, threads, seed;
    int loss;                 /* enum kj_ft_loss */
    const char *label_prefix; /* "__label__" */
    int64_t memory;           /* most bytes that the matrices may take */
    /* Called now and then from the first thread; may be NULL. */
    void (*progress)(void *ctx, double share, double lr, double loss);
    void *ctx;
};

/* fastText's defaults for `supervised`, one thread. */
void kj_ft_train_defaults(struct kj_ft_train *o);

struct kj_ft_train_stats {
    int64_t tokens; /* of the text, labels and line ends included */
    int32_t words, labels;
    double loss; /* mean over all examples of all epochs */
    int64_t examples;
};

/* Train on p[0..n), text in fastText's format (labels and words on a line),
 * and append the model file to out. With one thread the result is a function
 * of text and options alone, and that of `fasttext supervised -thread 1` up to
 * the order of words of equal frequency. More threads update shared weights
 * without locks (Hogwild), so results differ a little from run to run. */
int kj_ft_train(const struct kj_ft_train *o, const char *p, size_t n,
                struct kj_buf *out, struct kj_ft_train_stats *stats,
                struct kj_err *err);

struct kj_ft_quantize {
    int64_t cutoff; /* words and n-grams to keep; 0: all */
    int64_t dsub;   /* length of a sub-vector; 2 */
    bool qnorm;     /* norms apart */
    bool qout;      /* also the output matrix */
    /* Train the kept rows again on this text; NULL: no. */
    const struct kj_ft_train *retrain;
    const char *text;
    size_t text_n;
};

/* Compress the dense model m; the file is appended to out. Deterministic. */
int kj_ft_quantise(const struct kj_ft *m, const struct kj_ft_quantize *o,
                   struct kj_buf *out, struct kj_err *err);

#endif
