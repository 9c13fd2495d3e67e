/* coding.h - undoing one HTTP content coding; internal to http.c. */
#ifndef KJ_EXTRACT_CODING_H
#define KJ_EXTRACT_CODING_H

#include <stdbool.h>

#include "base/mem.h"

enum kj_coding {
    KJ_CODING_NONE,
    KJ_CODING_GZIP,
    KJ_CODING_DEFLATE, /* zlib, or raw deflate as many servers send it */
    KJ_CODING_BR,
    KJ_CODING_ZSTD
};

enum kj_coding_result {
    KJ_CODING_OK,
    KJ_CODING_CUT,   /* damaged or cut short; out has what came before */
    KJ_CODING_LARGE, /* out's cap was reached; out is full */
    KJ_CODING_NOT    /* not coded this way; out is empty */
};

/* Append the decoded bytes to out. */
enum kj_coding_result kj_coding_undo(enum kj_coding c, struct kj_str in,
                                     struct kj_buf *out);

#endif
