/* stats.h - what vocabularies make of a text, side by side.
 *
 * Fertility by language and source: tokens a word (in Korean an eojeol, the
 * run between white space), bytes and characters a token. Coverage of Hangul,
 * which byte-level BPE decides: how many of the 11,172 syllables, and of the
 * 2,350 of KS X 1001, encode alone as one token; what share of the syllables of
 * the text are such; and what share lies whole inside one token, whatever else
 * that token holds. Tokens that the text never needed are counted.
 *
 * Use: fill tok and n, run kj_stage_tok_stats with &struct kj_tok_stats as
 * its cfg, pass each batch to kj_tok_stats_gather in order, then finish. The
 * sums do not depend on threads.
 */
#ifndef KJ_TOKENIZE_STATS_H
#define KJ_TOKENIZE_STATS_H

#include "base/flow.h"
#include "base/stage.h"
#include "tokenize/tokenizer.h"

#define KJ_TOK_STATS_MAX 16
#define KJ_HANGUL_FIRST  0xAC00u
#define KJ_HANGUL_N      11172u
#define KJ_KSX1001_N     2350u
/* Pairs of language and source that are told apart; the rest is one group. */
#define KJ_TOK_GROUPS_MAX 1024

struct kj_tok_group {
    char *language, *source; /* owned; "" where documents have none */
    uint64_t documents, bytes, characters, words;
    uint64_t tokens[KJ_TOK_STATS_MAX];
};

struct kj_tok_vocab_stats {
    uint32_t size;          /* tokens that the vocabulary has */
    uint32_t used;          /* of them in the text */
    bool hangul;            /* the rest is known: a byte-level BPE */
    uint32_t syllables;     /* of KJ_HANGUL_N, that alone are one token */
    uint32_t ksx1001;       /* of KJ_KSX1001_N; of none if iconv lacks EUC-KR */
    uint64_t text;          /* syllables in the text, as normalized */
    uint64_t text_one;      /* of these, such as alone are one token */
    uint64_t text_whole;    /* of these, such as lie in one token here */
    unsigned char *one;     /* [KJ_HANGUL_N] */
    uint16_t *inside;       /* [ids]: whole syllables in the bytes of a token */
    unsigned char *present; /* [ids] */
};

struct kj_tok_stats {
    struct kj_tok *tok[KJ_TOK_STATS_MAX]; /* borrowed */
    size_t n;
    bool no_special;
    bool ksx1001; /* iconv knows EUC-KR */
    struct kj_tok_vocab_stats v[KJ_TOK_STATS_MAX];
    struct kj_tok_group *groups; /* behind finish: by language, then source */
    size_t n_groups;
};

extern const struct kj_stage kj_stage_tok_stats;
/* A sink's write. self is the struct kj_tok_stats. */
int kj_tok_stats_gather(void *self, struct kj_batch *b, struct kj_err *err);
void kj_tok_stats_finish(struct kj_tok_stats *s);
void kj_tok_stats_release(struct kj_tok_stats *s);

/* Runs of characters that are not white space. */
uint64_t kj_tok_count_words(const char *p, size_t n);

#endif
