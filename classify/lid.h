/* lid.h - the language of a text.
 *
 * A fastText model gives each of its languages a probability. Two ways to ask:
 *
 *  - as it stands: the text's beginning and pieces go to the model unchanged,
 *    the score is the model's probability of its best label. Other programs do
 *    the same, so published thresholds apply.
 *  - by script (always so with the built-in model): the text is brought to one
 *    form first (NFC; half-width Hangul and full-width letters become usual
 *    ones; web and mail addresses are left out), and only languages that are
 *    written in a script of the text compete: the score is the model's
 *    probability given that, where English counts twice (it is that much commoner
 *    on the web). Text in Hangul is Korean whatever the model says,
 *    and text in a script that no language of the model uses is "und".
 *
 * A language competes when one of its scripts has KJ_LID_PRESENT of the letters.
 * Han characters speak for Chinese and Japanese only where there is no Hangul,
 * and for Chinese only where there is no kana: Korean and Japanese are written
 * with Han characters, while Chinese is never written with theirs.
 *
 * Thread-safety: a model is read-only and may be shared; each thread needs a
 * scratch of its own. Results are functions of model and text alone.
 */
#ifndef KJ_CLASSIFY_LID_H
#define KJ_CLASSIFY_LID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_lid;         /* a model with the meaning of its labels */
struct kj_lid_scratch; /* one thread's working memory */

/* Share of the letters from which a script counts. Korean pages on technical
 * matters are up to nine tenths Latin letters; a tenth in another script than
 * its own is more than names make of a text. */
#define KJ_LID_PRESENT 0.1

/* Share of the letters at which Hangul leaves only Korean to choose (and Japanese,
 * where kana are present too). Other languages quote it, in short texts up to a
 * third ("BTS (방탄소년단)"), but do not keep it up; Korean text on programming
 * does with Latin letters. Of 6,565 Korean pages 24 were called English before,
 * 20 of them such manuals with 0.1 to 0.3 of Hangul. */
#define KJ_LID_HANGUL      0.3
#define KJ_LID_HANGUL_LONG 0.1 /* in texts of KJ_LID_LONG letters */
#define KJ_LID_LONG        500

struct kj_lid_options {
    const char *model; /* file; NULL: the built-in one */
    bool by_script;    /* also with a file */
    size_t max_bytes;  /* longer texts: so many bytes, in pieces from all of it */
};

/* KJ_FAIL with the reason when the file is no model. */
int kj_lid_open(struct kj_lid **out, const struct kj_lid_options *o,
                struct kj_err *err);
void kj_lid_free(struct kj_lid *m);
/* Labels, and the language of one (lid_codes.h). Several may share a code. */
int32_t kj_lid_labels(const struct kj_lid *m);
struct kj_str kj_lid_language(const struct kj_lid *m, int32_t label);

struct kj_lid_scratch *kj_lid_scratch_new(const struct kj_lid *m);
void kj_lid_scratch_free(struct kj_lid_scratch *s);

struct kj_lid_answer {
    int32_t label;      /* -1: none ("und") */
    double score;       /* 0 to 1, rounded to 6 decimals; 0 for und */
    const char *script; /* ISO 15924, counted from the letters; NULL: no letter */
    bool alone;         /* by script: no other language of the model competed */
    size_t letters;     /* of what was looked at */
    uint64_t present;   /* scripts of KJ_LID_PRESENT of the letters or more */
};

/* KJ_OK, or what kj_ft_predict fails with; too many n-grams for memory give
 * und. Text without letters is und. */
int kj_lid_ask(const struct kj_lid *m, struct kj_lid_scratch *s, const char *p,
               size_t n, struct kj_lid_answer *a, struct kj_err *err);

/* Is the label's language written in one of the scripts? */
bool kj_lid_written_in(const struct kj_lid *m, int32_t label, uint64_t present);

#endif
