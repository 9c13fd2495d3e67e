/* korean.h - what the ko. rules look at: letters by kind, jamo, spam words, tails.
 *
 * Shares of letters are of all letters (Unicode L*). "Lone jamo" are letters of
 * the compatibility block (U+3131..318E), as in ㅋㅋ and ㅠㅠ; half-width jamo are
 * U+FFA1..FFDC, conjoining jamo U+1100..11FF, of which decomposed (NFD) text
 * consists. A laugh is a run of two or more equal of ㅋ ㅎ ㅠ ㅜ ㅡ ㄷ ㅇ ㄱ ㅅ ㅉ.
 *
 * The spam lists hold words that are common in advertisements for gambling, loans
 * and sexual services and on doorway pages, and rare elsewhere. One of them says
 * nothing: news write about loans too. So the measure is how often words of a list
 * occur per eojeol, and is 0 unless four different ones occur.
 */
#ifndef KJ_FILTER_KOREAN_H
#define KJ_FILTER_KOREAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "filter/clean.h"

enum kj_spam {
    KJ_SPAM_GAMBLING,
    KJ_SPAM_LOAN,
    KJ_SPAM_ADULT,
    KJ_SPAM_DOORWAY,
    KJ_SPAMS
};

struct kj_korean {
    bool ready;
    size_t chars, letters;
    size_t hangul, hanja, latin;   /* letters */
    size_t lone, half, conjoining; /* of the Hangul letters */
    size_t laughs;
    size_t spam[KJ_SPAMS], kinds[KJ_SPAMS]; /* words of a list; different ones */
};

void kj_korean_count(struct kj_str text, struct kj_korean *k);

KJ_CLEAN(nfc);        /* the text in NFC, where it is not */
KJ_CLEAN(half_jamo);  /* half-width jamo and full-width ASCII in their usual form */
KJ_CLEAN(jamo_runs);  /* longer runs of one lone jamo, cut */
KJ_CLEAN(news_tails); /* lines on copyright, of reporters, and to share */

#endif
