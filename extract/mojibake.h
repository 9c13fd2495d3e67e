/* mojibake.h - text that was read in the wrong encoding before it was stored.
 *
 * A page is UTF-8 and says so, but somebody before took its bytes for
 * windows-1252 or ISO-8859-1 and encoded them a second time: "don't" became
 * "donâ€™t", "한" became "í•œ". Nothing is lost by that, so it can be
 * undone, when it can be proved:
 *
 *  - The whole text. Every run of characters beyond ASCII stands for bytes, the
 *    bytes of every run are UTF-8, there is more evidence than chance gives (one
 *    sequence of three bytes, or three of two), and what they decode to are
 *    letters and marks that texts are made of.
 *  - Single runs in a text that is otherwise sound: at least two sequences of
 *    three bytes and nothing else, or a typographic mark or a pictograph alone.
 *  - The bytes of every run are no UTF-8: they may be text of another encoding
 *    that was taken for ISO-8859-1 ("ÇÑ±¹" is "한국" in EUC-KR). The caller
 *    decides whether they are.
 *
 * Why a sound text is safe: such a run is one of Â..ô, followed by symbols or
 * controls (U+0080..BF and the like). In running text of any language a letter
 * with a mark stands alone between ASCII letters, or beside another letter.
 * Measured: docs/benchmarks.md.
 *
 * Thread-safety: functions without state.
 */
#ifndef KJ_EXTRACT_MOJIBAKE_H
#define KJ_EXTRACT_MOJIBAKE_H

#include <stddef.h>

#include "base/mem.h"

enum kj_mojibake {
    KJ_MOJIBAKE_NONE,  /* the text is sound, or not to be saved; out is undefined */
    KJ_MOJIBAKE_WHOLE, /* every run was undone */
    KJ_MOJIBAKE_RUNS,  /* some runs were undone, the others stand as they were */
    KJ_MOJIBAKE_BYTES  /* every run became bytes, which are no UTF-8 */
};

/* Look at [p,n), valid UTF-8, and undo once; out receives the result, which is
 * shorter. NONE also where n is beyond out's cap. */
enum kj_mojibake kj_mojibake_undo(const char *p, size_t n, struct kj_buf *out);

#endif
