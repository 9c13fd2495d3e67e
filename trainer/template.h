/* template.h - texts with {{ expressions }} over the fields of a JSON object: the
 * part of Jinja 2 that prompts of evaluation tasks use. What is accepted gives
 * the bytes that Jinja gives (strict about what is undefined, trailing newline
 * kept); everything else is refused, never approximated.
 *
 *     text      bytes as they stand; {{ E }}; {{- E -}} takes white space with it
 *     E         A if C else B (C: any value, or two of them with == or !=)
 *     A         sums: X + Y, X - Y of whole numbers, X + Y of strings or of lists,
 *               X ~ Y: both as text
 *     X         field, 12, "text", 'text', true, false, none, [E, ...],
 *               {"key": E, ...}, (E), -X, each followed by any of
 *               .key  [E]  .strip() .lstrip() .rstrip() .lower()
 *               .replace("a", "b")  |trim |lower |string |int |length
 *               |replace("a", "b")
 *
 * Statements {% %}, numbers with a fraction, and lists or objects as text are
 * not in it. White space is Python's, lower case that of Python's str.lower.
 *
 * Thread-safety: a parsed template is read-only.
 */
#ifndef KJ_TRAINER_TEMPLATE_H
#define KJ_TRAINER_TEMPLATE_H

#include <stddef.h>

#include "base/json.h"
#include "base/mem.h"

struct kj_err;
struct kj_template;

/* KJ_USAGE with the place (byte, from 1) of what is wrong. The text is copied. */
int kj_template_parse(struct kj_template **out, const char *p, size_t n,
                      struct kj_err *err);
void kj_template_free(struct kj_template *t);
/* The text itself when it has no expression, else NULL. */
const char *kj_template_plain(const struct kj_template *t);

/* Append the text for the object doc. Memory for values is taken from a.
 * KJ_BAD_RECORD names what is undefined or of the wrong kind. */
int kj_template_render(const struct kj_template *t, const struct kj_jval *doc,
                       struct kj_arena *a, struct kj_buf *out, struct kj_err *err);
/* The value of a template that is one expression and nothing else; of any other
 * its text as a string. Valid as long as doc and a. */
int kj_template_value(const struct kj_template *t, const struct kj_jval *doc,
                      struct kj_arena *a, struct kj_jval *out, struct kj_err *err);

/* A value as text, as Python's str says it. KJ_BAD_RECORD for what is not in it. */
int kj_template_put(const struct kj_jval *v, struct kj_buf *out, struct kj_err *err);
/* [p,n) without Python's white space at its ends. */
struct kj_str kj_template_strip(struct kj_str s, int left, int right);

#endif
