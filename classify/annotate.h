/* annotate.h - documents judged by a language model behind an HTTP server.
 *
 * The server speaks OpenAI's chat completions (POST URL/chat/completions). A
 * document gets 0 to 5 points, added up criterion by criterion, the idea of
 * FineWeb-Edu (arXiv 2406.17557); the prompts, in Korean and English, are in
 * classify/prompt_*.txt. The answer must end with the line "Score: N".
 *
 * One thread drives all requests (libcurl's multi interface). What is worth
 * another try is tried again with exponential back-off, and not before a
 * Retry-After allows: no connection, time-outs, bodies cut short, 408, 409, 425,
 * 429, 5xx, malformed JSON, and answers without a valid score. 401, 403 and 404
 * end the run: no document will fare better. Any other status costs the
 * document.
 */
#ifndef KJ_CLASSIFY_ANNOTATE_H
#define KJ_CLASSIFY_ANNOTATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_json;

/* ---- the texts ---- */

/* The prompts; "{text}" is where the document goes. */
struct kj_str kj_annotate_prompt(bool korean);

struct kj_annotate_ask {
    const char *model;
    struct kj_str prompt;
    int64_t max_chars, max_tokens;
    int attempt; /* from 0: later ones are asked at a higher temperature */
};
/* Append the body of the request. Text beyond max_chars characters is cut. */
int kj_annotate_request(struct kj_buf *b, const struct kj_annotate_ask *ask,
                        const char *text, size_t n);

enum kj_annotate_kind {
    KJ_ANNOTATE_SCORE,     /* a valid score */
    KJ_ANNOTATE_REFUSED,   /* the model or the server's filter would not answer */
    KJ_ANNOTATE_INVALID,   /* an answer without one valid score */
    KJ_ANNOTATE_MALFORMED, /* no chat completion */
    KJ_ANNOTATE_REJECTED,  /* the server would not take the request (4xx) */
    KJ_ANNOTATE_FAILED     /* no answer after all tries */
};
extern const char *const kj_annotate_kinds[];

struct kj_annotate_answer {
    enum kj_annotate_kind kind;
    int score;                     /* 0..5 */
    struct kj_str reason;          /* what stands above the score, or the refusal */
    int64_t tokens_in, tokens_out; /* as the server counted; 0 unknown */
};
/* Read the body of a response with status 200. Strings live until the next use
 * of json. The last line with text must be "Score: N" (or 점수) with N from 0 to 5,
 * with or without "/5", 점, a full stop, or asterisks around it; no other line
 * may give another score. */
struct kj_annotate_answer kj_annotate_read(struct kj_json *json, const char *p,
                                           size_t n);

/* Tokens of a text, roughly: 4.6 bytes of ASCII or 3.6 others each (measured on
 * 25 MB English and 28 MB Korean with Llama 3's tokenizer). */
double kj_annotate_tokens(const char *p, size_t n);

/* ---- the requests ---- */

struct kj_annotate_doc {
    char *text; /* owned; malloc'ed by next, freed here */
    size_t n;
    bool korean; /* which prompt */
    void *user;  /* the caller's */
};

struct kj_annotate {
    const char *url, *model, *key; /* key NULL: none is sent */
    struct kj_str prompt[2];       /* English, Korean */
    int64_t concurrency, tries, max_chars, max_tokens;
    double rpm;              /* requests a minute; 0: no limit */
    double timeout, backoff; /* seconds; of a request, before the second try */
    const atomic_bool *stop;
    /* The next document: KJ_OK, KJ_EOF, negative. */
    int (*next)(void *ctx, struct kj_annotate_doc *d, struct kj_err *err);
    /* What became of one, in the order in which they end; takes over user. */
    int (*done)(void *ctx, struct kj_annotate_doc *d,
                const struct kj_annotate_answer *a, int tries, struct kj_err *err);
    /* Of one that was not asked to the end, after a stop or an error. */
    void (*drop)(void *ctx, struct kj_annotate_doc *d);
    void *ctx;
};

struct kj_annotate_counts {
    uint64_t requests, retries, limited; /* limited: answered 429 */
    uint64_t kinds[KJ_ANNOTATE_FAILED + 1];
    int64_t tokens_in, tokens_out;
};

/* Ask for all documents. KJ_EOF when stopped. */
int kj_annotate_run(const struct kj_annotate *o, struct kj_annotate_counts *counts,
                    struct kj_err *err);

#endif
