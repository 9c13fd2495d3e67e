/* tok_state.h - what one thread encodes with: words, their cache, merging. */
#ifndef KJ_TOKENIZE_TOK_STATE_H
#define KJ_TOKENIZE_TOK_STATE_H

#include "tokenize/tok_internal.h"

/* A word on its way to its ids. */
struct tok_word {
    uint64_t key[2]; /* of words up to 16 bytes: the bytes, then zeros */
    const char *p;
    uint32_t n, slot; /* place in the cache */
};

/* Words queued before the first is looked up, so that its part of the cache has
 * arrived from memory by then. */
#define TOK_QUEUE 512

/* Cache entries: of words up to 16 bytes with up to 4 ids, and of words up to 32
 * bytes with up to 8. ids[0] has the number of ids and the length of the word
 * above its 20 bits; 0: free. */
struct tok_small {
    uint64_t key[2];
    uint32_t ids[4];
};
struct tok_large {
    uint64_t key[4];
    uint32_t ids[8];
};

/* Merging of long words: arrays over the symbols of the word. */
struct tok_long {
    uint32_t *sym, *rank, *next, *prev; /* [cap] */
    size_t cap;
    uint64_t *heap; /* [2 * cap] */
    size_t heap_n;
    /* Lists of the symbols of each rank, and the bits of ranks that have any,
     * of words of these bits, and so on. */
    uint32_t *before, *behind, *first;
    uint64_t *level[4];
    uint32_t *order; /* [2 * cap] */
    uint64_t last;   /* tok_pair_key of the last pair that was merged */
};

struct kj_tok_state {
    struct tok_pre_state pre;
    struct tok_word *queue; /* [TOK_QUEUE] */
    size_t queued;
    const char *end; /* of the text in hand: words may be read up to here */
    bool copies;     /* words do not outlive their callback */
    struct tok_small *small;
    struct tok_large *large;
    char *tables; /* memory of the two */
    struct kj_buf norm[2];
    struct tok_long big;
    struct tok_way {
        double score;
        uint32_t from, id, to;
    } * ways; /* Unigram: the best way to each place of a word */
    size_t ways_cap;
    bool at_start; /* the gap in hand begins the text */
    /* of the call under way */
    const struct kj_tok *t;
    struct kj_tok_ids *out;
};

void tok_ids_grow(struct kj_tok_ids *o, size_t more);
static inline void tok_ids_reserve(struct kj_tok_ids *o, size_t more)
{
    if (o->cap - o->n < more)
        tok_ids_grow(o, more);
}
static inline void tok_put(struct kj_tok_ids *o, uint32_t id)
{
    tok_ids_reserve(o, 1);
    o->v[o->n++] = id;
}

/* ---- tok_merge.c ---- */
/* Words up to here are merged in registers and small arrays. */
#define TOK_SHORT 64
/* Ids of a word of 1..TOK_SHORT bytes; ids has room for n. */
size_t tok_merge_short(const struct kj_tok *t, const char *p, size_t n, uint32_t *ids);
/* Ids of several words of 2..16 bytes of ASCII, their merges taken in turns: the
 * look-ups of one wait for memory while the others go on. */
#define TOK_LANES    12
#define TOK_LANE_MAX 16
struct tok_lane {
    _Alignas(16) int32_t pairs[TOK_LANE_MAX];
    uint32_t sym[TOK_LANE_MAX]; /* at the end the ids */
    const char *p;
    uint32_t n; /* bytes; at the end the number of ids */
    uint32_t alive;
    unsigned at; /* the symbol that was made last; its pairs are to be looked up */
};
void tok_merge_lanes(const struct kj_tok *t, struct tok_lane *v, size_t n);
/* Append the ids of a word of any length. */
void tok_merge_long(const struct kj_tok *t, struct tok_long *l, const char *p, size_t n,
                    struct kj_tok_ids *out);
void tok_long_release(struct tok_long *l);
/* The last merge that makes a token from its own bytes, as tok_pair_key;
 * TOK_PAIR_FREE when they do not become that token. */
uint64_t tok_last_merge(const struct kj_tok *t, struct tok_long *l, uint32_t id);

/* ---- tok_pieces.c ---- */
/* Append the ids of a word; there is room for its bytes. KJ_BAD_RECORD when there
 * is no token for unknown text. */
int tok_pieces_encode(struct kj_tok_state *s, const char *p, size_t n,
                      struct kj_err *err);

/* ---- tok_words.c ---- */
void tok_queue_init(struct kj_tok_state *s);
void tok_queue_free(struct kj_tok_state *s);
/* A word of the pre-tokenizer (tok_word_fn), and the end of its words. */
int tok_queue_word(void *state, const char *p, size_t n, struct kj_err *err);
int tok_queue_flush(struct kj_tok_state *s, struct kj_err *err);
/* Cut text with a scanner and encode its words. */
int tok_queue_scan(struct kj_tok_state *s, enum tok_scan scan, const char *p, size_t n,
                   struct kj_err *err);

#endif
