/* normal.h - the normal form of a text in which copies are looked for.
 *
 * In this order, as FineWeb's MinHash has it:
 *   1. lower case (simple mappings; the final sigma as Python's str.lower has it)
 *   2. each run of decimal digits (Nd), with one more run behind a full stop,
 *      becomes "0" (only with KJ_NORMAL_NUMBERS)
 *   3. punctuation (categories P*), the ASCII symbols, and control characters
 *      become a space
 *   4. white space is squeezed to one space, and stripped at both ends
 *   5. NFD, and nonspacing marks (Mn) are dropped (a mark between two spaces
 *      leaves one space)
 * NFD takes Hangul syllables apart into jamo, which are letters and stay; with
 * KJ_NORMAL_COMPOSED the marks go in the same way, but syllables are put
 * together, so that a character is a syllable however it was encoded.
 *
 * Idempotent but for step 2's full stop. Pure; thread-safe.
 */
#ifndef KJ_DEDUP_NORMAL_H
#define KJ_DEDUP_NORMAL_H

#include <stddef.h>

struct kj_buf;

enum kj_normal_flags {
    KJ_NORMAL_NUMBERS = 1 << 0,  /* step 2 */
    KJ_NORMAL_COMPOSED = 1 << 1, /* Hangul stays in syllables */
};

/* Append the normal form of p[0..n) to out; run is scratch. Bytes that are not
 * UTF-8 count as U+FFFD. KJ_OK or KJ_BAD_RECORD at the buffers' caps. */
int kj_dedup_normalize(struct kj_buf *out, struct kj_buf *run, unsigned flags,
                       const char *p, size_t n);

/* Append the normal form of a URL: without scheme, "www." and fragment, the
 * host in lower case without default port, no slash at the end of the path;
 * path and query as they stand. KJ_OK or KJ_BAD_RECORD. */
int kj_dedup_normalize_url(struct kj_buf *out, const char *p, size_t n);

#endif
