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

static struct kj_letters *tally_of(struct kj_letters *t, size_t *n, const char *code)
{
    for (size_t i = 0; i < *n; i++)
        if (t[i].code == code || strcmp(t[i].code, code) == 0)
            return &t[i];
    if (*n == KJ_CLASSIFY_SCRIPTS)
        return NULL;
    t[*n] = (struct kj_letters){code, 0};
    return &t[(*n)++];
}

size_t kj_classify_tally(struct kj_letters *t, const char *p, size_t n)
{
    size_t kinds = 0, latin = 0;
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
        if (strcmp(code, "Hira") == 0)
            code = "Kana";
        struct kj_letters *k = tally_of(t, &kinds, code);
        if (k)
            k->n++;
    }
    if (latin > 0) {
        struct kj_letters *k = tally_of(t, &kinds, "Latn");
        if (k)
            k->n += latin;
    }
    return kinds;
}

const char *kj_classify_main_script(const struct kj_letters *t, size_t kinds)
{
    size_t kana = 0, han = 0, best_n = 0;
    const char *best = NULL;
    for (size_t i = 0; i < kinds; i++)
        if (strcmp(t[i].code, "Kana") == 0)
            kana = t[i].n;
        else if (strcmp(t[i].code, "Hani") == 0)
            han = t[i].n;
    for (size_t i = 0; i < kinds; i++) {
        bool is_kana = strcmp(t[i].code, "Kana") == 0;
        const char *code = is_kana ? "Hani" : t[i].code;
        size_t n = strcmp(code, "Hani") == 0 ? kana + han : t[i].n;
        if (!best || n > best_n || (n == best_n && strcmp(code, best) < 0)) {
            best = code;
            best_n = n;
        }
    }
    return best && strcmp(best, "Hani") == 0 && kana * 10 >= best_n ? "Jpan" : best;
}

const char *kj_classify_script(const char *p, size_t n)
{
    struct kj_letters t[KJ_CLASSIFY_SCRIPTS];
    return kj_classify_main_script(t, kj_classify_tally(t, p, n));
}
