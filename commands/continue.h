/* continue.h - a text continued by a model. */
#ifndef KJ_COMMANDS_CONTINUE_H
#define KJ_COMMANDS_CONTINUE_H

#include <stdint.h>

#include "base/mem.h"
#include "trainer/llama.h"
#include "trainer/sample.h"

struct kj_tok;

struct kj_continue {
    struct kj_llama *m;
    const struct kj_tok *tok;
    uint32_t begin; /* token that a text begins with */
    int64_t end;    /* and the one that it ends with */
    struct kj_sampler sampler;
    int64_t most; /* new tokens */
    void *ctx;
    /* Gets the bytes that each token adds, which need not be whole characters;
     * false ends it there. */
    bool (*piece)(void *ctx, const char *p, size_t n);
    /* set: */
    size_t given, made; /* tokens of the prompt, new tokens */
    double seconds;     /* for both */
};

/* The prompt itself is not told. KJ_FAIL when it does not fit the context. The
 * weights are only read. */
int kj_continue(struct kj_continue *c, struct kj_str prompt, struct kj_err *err);

#endif
