/* lid_codes.h - what a language model's labels mean.
 *
 * Models name languages differently: the built-in one and lid.176 by ISO 639-1
 * (`ko`, and three letters where there are no two), GlotLID and NLLB's model
 * by ISO 639-3 and script (`kor_Hang`, `zho_Hant`). Here each becomes the one
 * code that stands in the stream, with the scripts that the language is
 * written in.
 */
#ifndef KJ_CLASSIFY_LID_CODES_H
#define KJ_CLASSIFY_LID_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* A set of scripts. Every script known here has its bit; the others share
 * KJ_SCRIPT_OTHER. */
#define KJ_SCRIPT_OTHER ((uint64_t)1 << 63)
#define KJ_SCRIPT_ANY   UINT64_MAX

/* The bit of an ISO 15924 code. Hira and Kana are one, Hans and Hant are Hani;
 * Jpan and Kore have the bits of their parts. */
uint64_t kj_lid_script(const char *code, size_t n);

/* The code and the scripts of a label (with or without __label__):
 *  - three letters, `_`, script: the two-letter code where there is one, else
 *    the three letters. A script in which the language is not usually written
 *    stays as a suffix: `hin_Latn` is `hi-Latn`. Individual languages that
 *    stand for their macrolanguage on the web go by its code (`cmn` and `zho`
 *    are `zh`, `arb` is `ar`, `pes` is `fa`).
 *  - anything else: as it stands; a suffix `-Latn` says the script.
 * Languages that the table lacks may be in any script.
 * The code is the label's own bytes, static, or from a. */
struct kj_str kj_lid_code(struct kj_str label, uint64_t *set, struct kj_arena *a);

#endif
