/* prepare.c - text for classifiers, and the script it is in. */
#include "classify/prepare.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

static void strip(const char **p, size_t *n)
{
    size_t len;
    while (*n > 0 && kj_uni_py_space(kj_utf8_next(*p, *n, &len))) {
        *p += len;
        *n -= len;
    }
    while (*n > 0) {
        size_t at = *n - 1;
        while (at > 0 && *n - at < 4 && ((*p)[at] & 0xC0) == 0x80)
            at--;
        if (!kj_uni_py_space(kj_utf8_next(*p + at, *n - at, &len)) || len != *n - at)
            break;
        *n = at;
    }
}

int kj_classify_flatten(struct kj_buf *b, const char *p, size_t n)
{
    kj_buf_reset(b);
    strip(&p, &n);
    int rc = kj_buf_reserve(b, n);
    if (rc != KJ_OK)
        return rc;
    char *o = b->p;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E)) {
            *o++ = ' ';
        } else if (c == 0xC2 && i + 1 < n && (unsigned char)p[i + 1] == 0x85) {
            *o++ = ' ';
            i++;
        } else if (c == 0xE2 && i + 2 < n && (unsigned char)p[i + 1] == 0x80 &&
                   ((unsigned char)p[i + 2] | 1) == 0xA9) {
            *o++ = ' ';
            i += 2;
        } else {
            *o++ = (char)c;
        }
    }
    b->n = n ? (size_t)(o - b->p) : 0;
    return KJ_OK;
}

#define SCRIPTS 64 /* of one text; rarer ones beyond are not counted */

struct tally {
    const char *code;
    size_t n;
};

static struct tally *tally_of(struct tally *t, size_t *n, const char *code)
{
    for (size_t i = 0; i < *n; i++)
        if (t[i].code == code || strcmp(t[i].code, code) == 0)
            return &t[i];
    if (*n == SCRIPTS)
        return NULL;
    t[*n] = (struct tally){code, 0};
    return &t[(*n)++];
}

const char *kj_classify_script(const char *p, size_t n)
{
    struct tally t[SCRIPTS];
    size_t kinds = 0, latin = 0, kana = 0;
    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)p[i];
        len = 1;
        if (c < 0x80) {
            latin += (unsigned char)((c | 32) - 'a') < 26;
            continue;
        }
        const char *code = kj_uni_script(kj_utf8_next(p + i, n - i, &len));
        if (code[0] == 'Z') /* common, inherited, unknown */
            continue;
        if (strcmp(code, "Hira") == 0 || strcmp(code, "Kana") == 0) {
            kana++;
            code = "Hani";
        }
        struct tally *k = tally_of(t, &kinds, code);
        if (k)
            k->n++;
    }
    if (latin > 0) {
        struct tally *k = tally_of(t, &kinds, "Latn");
        if (k)
            k->n += latin;
    }
    const struct tally *best = NULL;
    for (size_t i = 0; i < kinds; i++)
        if (!best || t[i].n > best->n ||
            (t[i].n == best->n && strcmp(t[i].code, best->code) < 0))
            best = &t[i];
    if (!best)
        return NULL;
    return strcmp(best->code, "Hani") == 0 && kana * 10 >= best->n ? "Jpan"
                                                                   : best->code;
}
