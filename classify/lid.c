/* lid.c - the language of a text: what is shown to the model, and what its
 * answer means.
 *
 * A long text is sampled: PIECES pieces from all over it, not its beginning,
 * since pages begin with menus, often in English. fastText averages over all
 * words, so the answer is settled after some hundred of them, and time goes in
 * proportion to the bytes. From 2 KiB in place of 16, 9 in place of 4 of 6,565
 * Korean texts are called English (manuals full of code), none of 3,595 English
 * ones changes, and it takes half the time.
 */
#include "classify/lid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "classify/fasttext.h"
#include "classify/lid_codes.h"
#include "classify/prepare.h"
#include "classify/stages.h"

#define PIECES    8
#define PIECE_MIN 256 /* bytes; smaller ones cut too many words */
#define WORD_MAX  64  /* how far a cut moves to reach white space */
/* How much likelier English is than the model thinks. Two fifths of the web's pages
 * are in it, and 6 % of the model's lines. Of 1,000 English sentences 999 are found
 * (997 at 1, 1,000 at 8), and of 73,141 others 483 are called English (347, 954). */
#define ENGLISH 2.0

struct kj_lid {
    struct kj_ft *ft;
    int32_t n;
    struct kj_str *code;
    uint64_t *scripts;
    struct kj_arena names;
    bool by_script;
    int32_t english; /* its label; -1: none */
    size_t max_bytes;
};

struct kj_lid_scratch {
    struct kj_ft_scratch *ft;
    struct kj_ft_hit *hits; /* one a label */
    struct kj_buf sample, plain, line;
};

int kj_lid_open(struct kj_lid **out, const struct kj_lid_options *o, struct kj_err *err)
{
    struct kj_lid *m = kj_xcalloc(1, sizeof *m);
    kj_arena_init(&m->names, 16 << 20);
    *out = m;
    m->by_script = o->by_script || !o->model;
    m->max_bytes = o->max_bytes;
    int rc = o->model ? kj_ft_open(&m->ft, o->model, err)
                      : kj_ft_open_mem(&m->ft, kj_lid_data, (size_t)kj_lid_size,
                                       "built-in language model", err);
    if (rc != KJ_OK) {
        kj_lid_free(m);
        *out = NULL;
        return rc;
    }
    m->n = kj_ft_labels(m->ft);
    m->code = kj_xcalloc((size_t)m->n, sizeof *m->code);
    m->scripts = kj_xcalloc((size_t)m->n, sizeof *m->scripts);
    m->english = -1;
    for (int32_t i = 0; i < m->n; i++) {
        m->code[i] = kj_lid_code(kj_ft_label(m->ft, i), &m->scripts[i], &m->names);
        if (kj_str_is(m->code[i], "en"))
            m->english = i;
    }
    return KJ_OK;
}

void kj_lid_free(struct kj_lid *m)
{
    if (!m)
        return;
    kj_ft_free(m->ft);
    free(m->code);
    free(m->scripts);
    kj_arena_release(&m->names);
    free(m);
}

int32_t kj_lid_labels(const struct kj_lid *m)
{
    return m->n;
}

struct kj_str kj_lid_language(const struct kj_lid *m, int32_t label)
{
    return label < 0 ? KJ_STR("und") : m->code[label];
}

bool kj_lid_written_in(const struct kj_lid *m, int32_t label, uint64_t present)
{
    return label >= 0 && (m->scripts[label] & present);
}

struct kj_lid_scratch *kj_lid_scratch_new(const struct kj_lid *m)
{
    struct kj_lid_scratch *s = kj_xcalloc(1, sizeof *s);
    s->ft = kj_ft_scratch_new(m->ft, 0);
    s->hits = kj_xcalloc((size_t)m->n, sizeof *s->hits);
    kj_buf_init(&s->sample, m->max_bytes + PIECES + 64);
    /* The longest NFC of one character has three (U+0390 and its like), and
     * NFKC of full-width and half-width forms grows no more than that. */
    kj_buf_init(&s->plain, (m->max_bytes + PIECES) * 3 + 64);
    kj_buf_init(&s->line, (m->max_bytes + PIECES) * 3 + 64);
    return s;
}

void kj_lid_scratch_free(struct kj_lid_scratch *s)
{
    if (!s)
        return;
    kj_ft_scratch_free(s->ft);
    free(s->hits);
    kj_buf_release(&s->sample);
    kj_buf_release(&s->plain);
    kj_buf_release(&s->line);
    free(s);
}

/* ---- what the model sees ---- */

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Piece [at, end) of p[0..n), narrowed to whole words where white space is
 * near, else to whole characters. */
static struct kj_str piece(const char *p, size_t n, size_t at, size_t end)
{
    size_t a = at, e = end;
    if (at > 0) {
        while (a < end && a < at + WORD_MAX && !blank(p[a - 1]))
            a++;
        if (a == end || a == at + WORD_MAX)
            for (a = at; a < end && ((unsigned char)p[a] & 0xC0) == 0x80; a++)
                ;
    }
    if (end < n) {
        while (e > a && e + WORD_MAX > end && !blank(p[e]))
            e--;
        if (e == a || e + WORD_MAX == end)
            for (e = end; e > a && ((unsigned char)p[e] & 0xC0) == 0x80; e--)
                ;
    }
    return (struct kj_str){p + a, e - a};
}

static int sample(struct kj_buf *b, size_t max, const char **p, size_t *n)
{
    size_t pieces = max / PIECE_MIN, rc = KJ_OK;
    if (*n <= max)
        return KJ_OK;
    pieces = pieces < 1 ? 1 : pieces > PIECES ? PIECES : pieces;
    size_t size = max / pieces;
    kj_buf_reset(b);
    for (size_t i = 0; i < pieces && rc == KJ_OK; i++) {
        size_t at = i == 0 ? 0 : (*n - size) / (pieces - 1) * i;
        struct kj_str s = piece(*p, *n, at, at + size);
        rc = (size_t)kj_buf_add(b, s.p, s.n);
        if (rc == KJ_OK)
            rc = (size_t)kj_buf_addc(b, '\n');
    }
    *p = b->p;
    *n = b->n;
    return (int)rc;
}

/* U+FFA1..FFDC as jamo that NFC composes: a consonant behind a vowel that no
 * vowel follows is a final. Filler and other characters: 0. */
static uint32_t jamo(uint32_t c, bool final)
{
    static const unsigned char initials[] = {1,  2,  0,  3,  0,  0,  4,  5,  6,  0,
                                             0,  0,  0,  0,  0,  0,  7,  8,  9,  0,
                                             10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
    static const unsigned char finals[] = {1,  2,  3,  4,  5,  6,  7,  0,  8,  9,
                                           10, 11, 12, 13, 14, 15, 16, 17, 0,  18,
                                           19, 20, 21, 22, 0,  23, 24, 25, 26, 27};
    if (c >= 0xFFA1 && c <= 0xFFBE) {
        if (final && finals[c - 0xFFA1])
            return 0x11A7u + finals[c - 0xFFA1];
        return initials[c - 0xFFA1] ? 0x10FFu + initials[c - 0xFFA1] : 0;
    }
    if (c >= 0xFFC2 && c <= 0xFFDC && (c & 7) >= 2) /* four runs of six */
        return 0x1161u + (c - 0xFFC2) / 8 * 6 + (c - 0xFFC2) % 8;
    return 0;
}

static uint32_t next(const char *p, size_t n, size_t at)
{
    size_t len;
    return at < n ? kj_utf8_next(p + at, n - at, &len) : 0;
}

static bool half_vowel(uint32_t c)
{
    return c >= 0xFFC2 && c <= 0xFFDC;
}

/* Half-width Hangul to jamo, full-width ASCII to ASCII; the rest stays. */
static int widen(struct kj_buf *b, const char *p, size_t n)
{
    bool vowel = false;
    int rc = KJ_OK;
    for (size_t i = 0, len; i < n && rc == KJ_OK; i += len) {
        if ((unsigned char)p[i] != 0xEF) {
            len = 1;
            vowel = false;
            rc = kj_buf_addc(b, p[i]);
            continue;
        }
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        uint32_t to = c >= 0xFF01 && c <= 0xFF5E ? c - 0xFEE0 : 0;
        if (!to)
            to = jamo(c, vowel && !half_vowel(next(p, n, i + len)));
        vowel = half_vowel(c);
        char out[4];
        rc = to ? kj_buf_add(b, out, kj_utf8_put(to, out)) : kj_buf_add(b, p + i, len);
    }
    return rc;
}

static bool has_width_forms(const char *p, size_t n)
{
    for (const char *q = p; (q = memchr(q, 0xEF, n - (size_t)(q - p))); q++)
        if ((size_t)(q - p) + 1 < n && (unsigned char)q[1] >= 0xBC)
            return true;
    return false;
}

/* Does the word hold a web or mail address? */
static bool address(const char *p, size_t n)
{
    if (n > 4 && (memcmp(p, "www.", 4) == 0 || memcmp(p, "WWW.", 4) == 0))
        return true;
    for (size_t i = 1; i + 2 < n; i++)
        if (p[i] == '@' || (p[i] == ':' && p[i + 1] == '/' && p[i + 2] == '/'))
            return true;
    return false;
}

static void blank_addresses(char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t e = i;
        bool ascii = false; /* does a mark of an address occur at all? */
        for (; e < n && !blank(p[e]); e++)
            ascii |= p[e] == '@' || p[e] == '/' || p[e] == '.';
        /* An address begins at the word's last character that is not ASCII:
         * in Korean and Japanese it follows without a space. */
        if (ascii) {
            size_t a = i;
            for (size_t k = i; k < e; k++)
                if ((unsigned char)p[k] >= 0x80)
                    a = k + 1 < e && (unsigned char)p[k + 1] < 0x80 ? k + 1 : a;
            if (address(p + a, e - a))
                for (size_t k = a; k < e && (unsigned char)p[k] < 0x80; k++)
                    p[k] = ' ';
        }
        i = e + 1;
    }
}

static int prepare(const struct kj_lid *m, struct kj_lid_scratch *s, const char *p,
                   size_t n)
{
    int rc = sample(&s->sample, m->max_bytes, &p, &n);
    if (rc != KJ_OK || !m->by_script)
        return rc == KJ_OK ? kj_classify_flatten(&s->line, p, n) : rc;
    bool wide = has_width_forms(p, n);
    if (wide) {
        kj_buf_reset(&s->line);
        if ((rc = widen(&s->line, p, n)) != KJ_OK)
            return rc;
        p = s->line.p;
        n = s->line.n;
    }
    if (wide || !kj_uni_is_nfc(p, n)) {
        kj_buf_reset(&s->plain);
        if ((rc = kj_uni_normalize(&s->plain, KJ_NFC, p, n)) != KJ_OK)
            return rc;
        p = s->plain.p;
        n = s->plain.n;
    }
    if ((rc = kj_classify_flatten(&s->line, p, n)) == KJ_OK && s->line.n > 0)
        blank_addresses(s->line.p, s->line.n);
    return rc;
}

/* ---- what its answer means ---- */

static uint64_t present(const struct kj_letters *t, size_t kinds, size_t *letters)
{
    const uint64_t hang = kj_lid_script("Hang", 4), kana = kj_lid_script("Kana", 4);
    uint64_t set = 0;
    size_t sum = 0;
    for (size_t i = 0; i < kinds; i++)
        sum += t[i].n;
    *letters = sum;
    double decides = sum < KJ_LID_LONG ? KJ_LID_HANGUL : KJ_LID_HANGUL_LONG;
    bool korean = false;
    for (size_t i = 0; i < kinds; i++) {
        uint64_t script = kj_lid_script(t[i].code, strlen(t[i].code));
        double share = (double)t[i].n / (double)sum;
        if (share >= KJ_LID_PRESENT)
            set |= script;
        korean |= script == hang && share >= decides;
    }
    if (set & (hang | kana))
        set &= ~kj_lid_script("Hani", 4);
    return korean ? set & (hang | kana) : set;
}

/* The best of the languages that compete, and its share of their probability.
 * Where the model knows nothing of the text (n is 0), or leaves a language out
 * as too unlikely, the only one that competes still is the answer. */
static void choose(const struct kj_lid *m, const struct kj_ft_hit *hits, int32_t n,
                   struct kj_lid_answer *a)
{
    double sum = 0;
    int32_t rivals = 0, only = -1;
    for (int32_t l = 0; l < m->n; l++)
        if (m->scripts[l] & a->present) {
            rivals++;
            only = l;
        }
    a->alone = rivals == 1;
    a->label = a->alone ? only : -1;
    a->score = a->alone ? 1 : 0;
    for (int32_t i = 0; i < n && !a->alone; i++) {
        if (!(m->scripts[hits[i].label] & a->present))
            continue;
        double p = (double)hits[i].prob * (hits[i].label == m->english ? ENGLISH : 1);
        if (p > a->score) {
            a->label = hits[i].label;
            a->score = p;
        }
        sum += p;
    }
    if (sum > 0)
        a->score /= sum;
}

int kj_lid_ask(const struct kj_lid *m, struct kj_lid_scratch *s, const char *p,
               size_t n, struct kj_lid_answer *a, struct kj_err *err)
{
    struct kj_letters t[KJ_CLASSIFY_SCRIPTS];
    int32_t found = 0;
    *a = (struct kj_lid_answer){.label = -1};
    int rc = prepare(m, s, p, n);
    if (rc == KJ_OK) {
        size_t kinds = kj_classify_tally(t, s->line.p, s->line.n);
        a->script = kj_classify_main_script(t, kinds);
        a->present = present(t, kinds, &a->letters);
        if (!a->script) /* text without a letter has no language */
            return KJ_OK;
        rc = kj_ft_predict(m->ft, s->ft, s->line.p, s->line.n, true,
                           m->by_script ? -1 : 1, 0, s->hits, &found, NULL, err);
    }
    if (rc == KJ_BAD_RECORD) { /* more than memory allows: not a language */
        kj_err_reset(err);
        return KJ_OK;
    }
    if (rc != KJ_OK)
        return rc;
    if (m->by_script) {
        choose(m, s->hits, found, a);
    } else if (found > 0) {
        a->label = s->hits[0].label;
        a->score = fmin((double)s->hits[0].prob, 1);
    }
    a->score = round(a->score * 1e6) / 1e6;
    return KJ_OK;
}
