/* tokenizer_stats.h - `kijil tokenizer stats`: what it prints. */
#ifndef KJ_COMMANDS_TOKENIZER_STATS_H
#define KJ_COMMANDS_TOKENIZER_STATS_H

#include "base/mem.h"
#include "tokenize/stats.h"

/* A finished count as tables, or as one JSON object. */
int kj_tokenizer_stats_print(const struct kj_tok_stats *s, bool json,
                             struct kj_buf *out);

#endif
