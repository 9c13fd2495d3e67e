/* ft_help.h - a small labelled text, made anew in each test, and short cuts. */
#ifndef KJ_TESTS_FT_HELP_H
#define KJ_TESTS_FT_HELP_H

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "classify/fasttext.h"

static uint32_t help_state;

static inline uint32_t help_rand(uint32_t n)
{
    help_state = help_state * 1664525u + 1013904223u;
    return (help_state >> 8) % n;
}

/* Word number k: Latin, Hangul or Cyrillic syllables. */
static inline void help_word(struct kj_buf *b, uint32_t k)
{
    static const char *const part[3][7] = {{"ba", "ke", "lo", "mi", "su", "tor", "x"},
                                           {"가", "나", "힣", "국", "요", "은", "를"},
                                           {"ра", "не", "ст", "ю", "ли", "об", "щ"}};
    uint32_t kind = k % 3;
    for (k = k / 3 + 7; k > 0; k /= 7)
        kj_buf_addz(b, part[kind][k % 7]);
}

/* Lines of text: label l prefers words near 37 * l. */
static inline void help_text(struct kj_buf *b, int labels, int lines)
{
    static const char *const space[4] = {" ", "\t", "  ", " \r "};
    help_state = 7;
    for (int i = 0; i < lines; i++) {
        uint32_t l = i < labels ? (uint32_t)i : help_rand((uint32_t)labels);
        kj_buf_printf(b, "__label__%c%u", (char)('a' + l % 26), l);
        if (help_rand(9) == 0) /* a second one */
            kj_buf_printf(b, " __label__%c%u", (char)('a' + 1), 1);
        for (uint32_t n = help_rand(20); n > 0; n--) {
            kj_buf_addz(b, space[help_rand(4)]);
            help_word(b, help_rand(3) ? l * 37 % 200 + help_rand(15) : help_rand(400));
        }
        kj_buf_addc(b, '\n');
    }
}

/* The frequencies 1, 2, ... of words, and different ones of labels; one label
 * a line. No two words and no two labels are equally frequent. */
static inline void help_distinct(struct kj_buf *b, int words)
{
    size_t n = (size_t)words * ((size_t)words + 1) / 2, k = 0;
    uint32_t *w = malloc(n * sizeof *w);
    for (int i = 1; i <= words; i++)
        for (int j = 0; j < i; j++)
            w[k++] = (uint32_t)i;
    help_state = 11;
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = help_rand((uint32_t)i + 1);
        uint32_t t = w[i];
        w[i] = w[j];
        w[j] = t;
    }
    /* label l stands on 40 + 9 * l lines, more than any word occurs */
    k = 0;
    for (int round = 0; k < n; round++) {
        int l = round % 5;
        kj_buf_printf(b, "__label__L%d", l < 4 && round % (7 - l) == 0 ? 0 : l);
        for (int j = 0; j < 6 && k < n; j++) {
            kj_buf_addc(b, ' ');
            help_word(b, w[k++] * 5);
        }
        kj_buf_addc(b, '\n');
    }
    free(w);
}

static inline struct kj_ft_train help_options(int loss)
{
    struct kj_ft_train o;
    kj_ft_train_defaults(&o);
    o.loss = loss;
    o.dim = 7;
    o.epoch = 2;
    o.lr = 0.5;
    o.bucket = 300;
    return o;
}

#endif
