/* json.h - reading JSON (simdjson behind one small C face) and writing it.
 *
 * Reading gives a tree in the parser's own memory, valid until the next parse
 * or free. Input is validated in full: UTF-8, numbers, escapes, nesting.
 * Integers outside int64 become KJ_J_REAL when they are finite, else the text
 * is refused.
 *
 * Thread-safety: one parser per thread.
 */
#ifndef KJ_BASE_JSON_H
#define KJ_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;

#ifdef __cplusplus
extern "C" {
#endif

enum kj_jkind {
    KJ_J_NULL = 1,
    KJ_J_BOOL,
    KJ_J_INT,
    KJ_J_REAL,
    KJ_J_STR,
    KJ_J_ARRAY,
    KJ_J_OBJECT
};

struct kj_jval {
    enum kj_jkind kind;
    union {
        bool b;
        int64_t i;
        double r;
        struct kj_str s; /* unescaped UTF-8, may hold NUL */
        struct {
            struct kj_jval *items; /* children, contiguous */
            struct kj_str *keys;   /* OBJECT: their keys; ARRAY: NULL */
            size_t n;
        };
    };
};

struct kj_json; /* a reusable parser */

struct kj_json *kj_json_new(void);
void kj_json_free(struct kj_json *j);

/* Parse one value that fills [p,n) but for white space. KJ_BAD_RECORD with the
 * reason when it is not valid JSON. */
int kj_json_parse(struct kj_json *j, const char *p, size_t n,
                  const struct kj_jval **root, struct kj_err *err);
/* Read and parse a whole file (at most max bytes). KJ_FAIL on any fault. */
int kj_json_load(struct kj_json *j, const char *path, size_t max,
                 const struct kj_jval **root, struct kj_err *err);

/* Member of an object, or NULL (also when v is NULL or no object). */
const struct kj_jval *kj_jget(const struct kj_jval *v, const char *key);
/* Typed getters with a fallback for what is absent or of another kind. */
int64_t kj_jint(const struct kj_jval *v, int64_t other);
double kj_jnum(const struct kj_jval *v, double other); /* INT or REAL */
bool kj_jbool(const struct kj_jval *v, bool other);
struct kj_str kj_jstr(const struct kj_jval *v); /* {NULL,0} when no string */

/* For VALID JSON text only: walk the members of the top-level object, giving
 * key (still escaped, without quotes) and value (raw text). *pos starts at 0.
 * KJ_OK per member, KJ_EOF behind the last, KJ_BAD_RECORD if it is no object. */
int kj_json_member(const char *p, size_t n, size_t *pos, struct kj_str *key,
                   struct kj_str *value);

/* ---- writing: appended to a buffer; KJ_OK or KJ_BAD_RECORD at its cap ---- */

/* A string with quotes. Escapes only what JSON demands; the bytes must be
 * UTF-8 (malformed sequences become U+FFFD, so the output is always valid). */
int kj_json_put_str(struct kj_buf *b, const char *p, size_t n);
/* Shortest text that reads back to the same double; null for NaN and
 * infinities. Integral values below 1e15 are written without a point. */
int kj_json_put_real(struct kj_buf *b, double v);
/* Shortest text that reads back to the same float. */
int kj_json_put_float(struct kj_buf *b, float v);
int kj_json_put_int(struct kj_buf *b, int64_t v);
/* A tree, on one line. */
int kj_json_put_val(struct kj_buf *b, const struct kj_jval *v);

#ifdef __cplusplus
}
#endif

#endif
