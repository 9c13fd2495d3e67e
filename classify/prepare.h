/* prepare.h - a document as the one line of text that a classifier sees. */
#ifndef KJ_CLASSIFY_PREPARE_H
#define KJ_CLASSIFY_PREPARE_H

#include <stddef.h>

struct kj_buf;

/* Set b to p[0..n) without white space at its ends, every line end a space:
 * Python's " ".join(text.strip().splitlines()), as the published classifiers
 * were trained and applied, but for CR LF, which gives two spaces (words are
 * the same). Lines end as Python has it: \n \r \v \f, 1C, 1D, 1E, U+0085,
 * U+2028, U+2029. KJ_OK, or KJ_BAD_RECORD at b's cap. */
int kj_classify_flatten(struct kj_buf *b, const char *p, size_t n);

/* Letters of each script of a text. Kana of both kinds count as "Kana". At most
 * KJ_CLASSIFY_SCRIPTS are told apart; rarer ones beyond are not counted. */
#define KJ_CLASSIFY_SCRIPTS 64
struct kj_letters {
    const char *code; /* ISO 15924; static */
    size_t n;
};
/* Fill t, room for KJ_CLASSIFY_SCRIPTS, with the scripts found; how many. */
size_t kj_classify_tally(struct kj_letters *t, const char *p, size_t n);
/* The script with most letters, as below. */
const char *kj_classify_main_script(const struct kj_letters *t, size_t kinds);

/* The script that most letters are in, as an ISO 15924 code, or NULL when
 * there are none. Text with kana and Han together is "Jpan". */
const char *kj_classify_script(const char *p, size_t n);

#endif
