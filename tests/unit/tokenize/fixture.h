/* fixture.h - a small tokenizer.json made on the spot: the 256 bytes as ids 0
 * to 255 in byte order, then the given merges from 256 on. */
#ifndef KJ_TESTS_TOKENIZE_FIXTURE_H
#define KJ_TESTS_TOKENIZE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "tests/unit/test.h"
#include "tokenize/tok_internal.h"
#include "tokenize/tokenizer.h"

struct fixture {
    const char *const *merges; /* "a b" in the alphabet; NULL-terminated; NULL: none */
    const char *pre;           /* JSON of pre_tokenizer; NULL: ByteLevel alone */
    const char *normalizer;    /* JSON */
    const char *added;         /* JSON items of added_tokens */
    const char *post;          /* JSON */
    const char *extra;         /* more members of model, with comma in front */
    const char *vocab;         /* more entries of vocab, with comma in front */
    bool pairs;                /* merges as pairs, not as strings */
    bool ignore_merges;
};

static inline void fixture_token(struct kj_buf *b, const char *p, size_t n)
{
    struct kj_buf t;
    kj_buf_init(&t, 1 << 16);
    tok_map(&t, p, n);
    kj_json_put_str(b, t.p, t.n);
    kj_buf_release(&t);
}

/* Whether merge i makes the bytes of an earlier one. */
static inline bool fixture_again(const struct fixture *f, size_t i)
{
    char made[2][256];
    for (size_t k = 0; k <= i; k++) {
        const char *sp = strchr(f->merges[k], ' ');
        snprintf(made[0], sizeof made[0], "%.*s%s", (int)(sp - f->merges[k]),
                 f->merges[k], sp + 1);
        sp = strchr(f->merges[i], ' ');
        snprintf(made[1], sizeof made[1], "%.*s%s", (int)(sp - f->merges[i]),
                 f->merges[i], sp + 1);
        if (k < i && strcmp(made[0], made[1]) == 0)
            return true;
    }
    return false;
}

/* Free b when done. */
static inline void fixture_text(const struct fixture *f, struct kj_buf *b)
{
    unsigned id = 256;
    kj_buf_init(b, 1 << 24);
    kj_buf_printf(b,
                  "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                  "\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,"
                  "\"post_processor\":%s,\"decoder\":{\"type\":\"ByteLevel\"},"
                  "\"model\":{\"type\":\"BPE\",\"unk_token\":null,"
                  "\"ignore_merges\":%s%s,\"vocab\":{",
                  f->added ? f->added : "", f->normalizer ? f->normalizer : "null",
                  f->pre ? f->pre
                         : "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                           "\"use_regex\":false}",
                  f->post ? f->post : "null", f->ignore_merges ? "true" : "false",
                  f->extra ? f->extra : "");
    for (unsigned i = 0; i < 256; i++) {
        char c = (char)i;
        if (i)
            kj_buf_addc(b, ',');
        fixture_token(b, &c, 1);
        kj_buf_printf(b, ":%u", i);
    }
    for (size_t i = 0; f->merges && f->merges[i]; i++) {
        const char *sp = strchr(f->merges[i], ' ');
        if (fixture_again(f, i))
            continue;
        kj_buf_printf(b, ",\"%.*s%s\":%u", (int)(sp - f->merges[i]), f->merges[i],
                      sp + 1, id++);
    }
    kj_buf_addz(b, f->vocab ? f->vocab : "");
    kj_buf_addz(b, "},\"merges\":[");
    for (size_t i = 0; f->merges && f->merges[i]; i++) {
        const char *sp = strchr(f->merges[i], ' ');
        if (f->pairs)
            kj_buf_printf(b, "%s[\"%.*s\",\"%s\"]", i ? "," : "",
                          (int)(sp - f->merges[i]), f->merges[i], sp + 1);
        else
            kj_buf_printf(b, "%s\"%s\"", i ? "," : "", f->merges[i]);
    }
    kj_buf_addz(b, "]}}");
}

/* NULL with a message in msg[256] when it is refused. */
static inline struct kj_tok *fixture_load(const struct fixture *f, char *msg)
{
    struct kj_buf b;
    struct kj_tok *t = NULL;
    struct kj_err err = KJ_ERR_INIT;
    fixture_text(f, &b);
    if (kj_tok_parse(&t, b.p, b.n, "fixture/tokenizer.json", &err) != KJ_OK)
        t = NULL;
    snprintf(msg, 256, "%.255s", err.msg);
    kj_buf_release(&b);
    return t;
}

/* Encode and compare with ids, ended by -1. */
static inline void fixture_is(const struct kj_tok *t, const char *text, unsigned flags,
                              const int *want, const char *file, int line)
{
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_ids ids = {0};
    size_t n = 0;
    while (want[n] >= 0)
        n++;
    for (int round = 0; round < 2; round++) { /* the second is from the cache */
        ids.n = 0;
        int rc = kj_tok_encode(t, s, text, strlen(text), flags, &ids, &err);
        bool ok = rc == KJ_OK && ids.n == n;
        for (size_t i = 0; ok && i < n; i++)
            ok = ids.v[i] == (uint32_t)want[i];
        if (!test_check(ok, file, line, text)) {
            printf("     %s: got", err.msg);
            for (size_t i = 0; i < ids.n; i++)
                printf(" %u", ids.v[i]);
            printf("\n");
        }
    }
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
}
#define IS(t, text, flags, ...)                                                        \
    fixture_is(t, text, flags, (const int[]){__VA_ARGS__, -1}, __FILE__, __LINE__)

/* A small generator: tests must not depend on the C library's. */
static inline uint32_t fixture_random(uint64_t *s, uint32_t n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*s >> 33) % n);
}

/* Random text that visits what patterns look at. */
static inline void fixture_words(struct kj_buf *b, uint64_t *s, unsigned n)
{
    static const char *const bits[] = {" ",         "  ",       "\n",
                                       "\r\n",      "\t",       "'",
                                       "'s",        "'LL",      "'rE",
                                       "'\xC5\xBF", "\xC2\xA0", "a",
                                       "B",         "z",        "7",
                                       "42",        ".",        "!?",
                                       "-",         "\xC2\x85", "\xE3\x80\x80",
                                       "é",         "ß",        "한",
                                       "국",        "어",       "는",
                                       "ᄒ",        "ᅡ",       "中",
                                       "か",        "🙂",     "²",
                                       "٣",         "̈",         "\xE2\x80\xA8",
                                       "ǅ",         "𝟘",        "the",
                                       " the",      "...\n",    "\n\n",
                                       " \n ",      "/",        "\n/",
                                       "ABC",       "É",        "<|x|>"};
    kj_buf_reset(b);
    for (unsigned i = 0; i < n; i++)
        kj_buf_addz(b, bits[fixture_random(s, sizeof bits / sizeof *bits)]);
}

/* pre_tokenizer: a Split, then the bytes. */
#define THEN_BYTES                                                                     \
    ",{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define SPLIT(pattern, behavior, invert)                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","                   \
    "\"pattern\":" pattern ",\"behavior\":\"" behavior "\",\"invert\":" invert         \
    "}" THEN_BYTES

#endif
