/* lex.h - the few pieces of text that framing and headers are made of.
 * Internal to extract/. All take bytes and never read beyond n. */
#ifndef KJ_EXTRACT_LEX_H
#define KJ_EXTRACT_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* Length of a version line at p: WARC/d.d, blanks, CRs, LF; 0 if none. */
size_t kj_lex_version(const char *p, size_t n);
/* Offset of the first version line in p[from..n), or n. */
size_t kj_lex_find(const char *p, size_t from, size_t n);
/* Length of \r*\n\r*\n at p, or 0. */
size_t kj_lex_blank_line(const char *p, size_t n);
/* End of the header that starts at p (behind the empty line), or 0. */
size_t kj_lex_head_end(const char *p, size_t from, size_t n);
bool kj_lex_is_blank(char c);
struct kj_str kj_lex_trim(const char *p, size_t n);
bool kj_lex_same(struct kj_str a, const char *z);
/* Content-Length: 1 a number, 0 absent or none. Huge ones saturate. */
int kj_lex_number(struct kj_str s, uint64_t *out);

#endif
