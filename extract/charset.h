/* charset.h - bytes of a page to UTF-8.
 *
 * Candidates in the order of the WHATWG Encoding and HTML standards: byte
 * order mark, HTTP charset, <meta> prescan (1,024 bytes there, 4,096 here),
 * then detection. Labels mean what the standard says they mean: "euc-kr" and
 * "ks_c_5601-1987" are CP949, "iso-8859-1" is windows-1252, "gb2312" is
 * GB18030, "shift_jis" is CP932. Unlike there, a declaration has to prove
 * itself: bytes that are plainly UTF-8, or plainly Korean, overrule it, and a
 * candidate whose decoding fails gives way to the next.
 *
 * Detection: UTF-8 by validity; UTF-16 by its zero bytes; ISO-2022 by its
 * escapes; CP949 and Johab by the share of the commonest Hangul syllables; the
 * rest by uchardet.
 *
 * Text that was decoded wrongly before it was stored is put right where that can
 * be proved; `repaired` says so.
 *
 * Thread-safety: one object per thread; it keeps converters open.
 */
#ifndef KJ_EXTRACT_CHARSET_H
#define KJ_EXTRACT_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_charset; /* converters and scratch of one thread */

struct kj_charset *kj_charset_new(void);
void kj_charset_free(struct kj_charset *c);

struct kj_charset_result {
    struct kj_str text;   /* valid UTF-8, without a byte order mark; a view of
                             the input or of the caller's buffer */
    char declared[48];    /* the label that HTTP or the page states, in lower
                             case; "" none */
    const char *detected; /* name by detection; static; "" when not asked */
    const char *used;     /* name of what it was decoded as; static */
    const char *by;       /* "bom", "http", "meta", "detected", "fallback" */
    uint64_t replaced;    /* malformed sequences that became U+FFFD */
    const char *repaired; /* "UTF-8", "EUC-KR": what text was that had been decoded
                             as windows-1252 before it was stored, and is put right
                             (mojibake.h); NULL: nothing was */
};

/* Decode [p,n). http_label may be empty. markup: look for <meta> and an XML
 * declaration. out: receives the text where it had to be converted (its cap
 * limits it). KJ_OK, or KJ_BAD_RECORD at the cap. */
int kj_charset_decode(struct kj_charset *c, const char *p, size_t n,
                      struct kj_str http_label, bool markup, struct kj_buf *out,
                      struct kj_charset_result *r, struct kj_err *err);

/* ---- parts of it, for tests and other parsers ---- */

/* The standard's name for a label ("EUC-KR" for "ks_c_5601-1987"), or NULL. */
const char *kj_charset_label(struct kj_str label);
/* The label that the first bytes of a page declare, or {NULL,0}. */
struct kj_str kj_charset_prescan(const char *p, size_t n);
/* Append [p,n), which is in the named encoding, as UTF-8; malformed sequences
 * become U+FFFD and are counted. KJ_BAD_RECORD at the cap. */
int kj_charset_convert(struct kj_charset *c, const char *name, const char *p, size_t n,
                       struct kj_buf *out, uint64_t *replaced, struct kj_err *err);

#endif
