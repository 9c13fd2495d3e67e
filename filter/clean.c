/* clean.c - the cleaning rules. Most ask of each line whether it stays. */
#include "filter/clean.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "filter/facts.h"
#include "filter/recipe.h"
#include "filter/text.h"

struct want {
    double n;
    unsigned arg;
};

/* The next line of t at *at, which goes behind its newline (to t.n + 1 at the
 * end); false when there is none. An empty text is one empty line. */
static bool next_line(struct kj_str t, size_t *at, struct kj_str *line)
{
    if (*at > t.n)
        return false;
    const char *e = *at < t.n ? memchr(t.p + *at, '\n', t.n - *at) : NULL;
    size_t end = e ? (size_t)(e - t.p) : t.n;
    *line = (struct kj_str){t.p + *at, end - *at};
    *at = end + 1;
    return true;
}

/* One more line of out. */
static int put_line(struct kj_buf *out, bool first, struct kj_str line)
{
    int rc = first ? KJ_OK : kj_buf_addc(out, '\n');
    return rc || !line.n ? rc : kj_buf_add(out, line.p, line.n);
}

static int keep_lines(const struct kj_filter_item *it, struct kj_str t,
                      bool (*keep)(struct kj_str, struct want), struct kj_buf *out,
                      size_t *count)
{
    const struct want w = {it->threshold, it->rule->arg};
    struct kj_str line;
    bool first = true;
    int rc = KJ_OK;
    for (size_t at = 0; rc == KJ_OK && next_line(t, &at, &line);) {
        if (keep(line, w)) {
            rc = put_line(out, first, line);
            first = false;
        } else {
            ++*count;
        }
    }
    return rc;
}

/* str.strip on what was written. */
static void strip_out(struct kj_buf *b)
{
    struct kj_str s = kj_text_strip((struct kj_str){b->p, b->n});
    if (s.n && s.p != b->p)
        memmove(b->p, s.p, s.n);
    b->n = s.n;
}

static int untouched(struct kj_str t, struct kj_buf *out)
{
    return t.n ? kj_buf_add(out, t.p, t.n) : KJ_OK;
}

/* ---- white space ---- */

/* Length of the line break at p (str.splitlines), 0 when there is none. */
static size_t any_break(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c == '\r')
        return n > 1 && p[1] == '\n' ? 2 : 1;
    if ((c >= 0x0A && c <= 0x0C) || (c >= 0x1C && c <= 0x1E))
        return 1;
    if (c == 0xC2)
        return n > 1 && (unsigned char)p[1] == 0x85 ? 2 : 0;
    return c == 0xE2 && n > 2 && (unsigned char)p[1] == 0x80 &&
                   ((unsigned char)p[2] & 0xFE) == 0xA8
               ? 3
               : 0;
}

KJ_CLEAN(split_lines)
{
    int rc = KJ_OK;
    bool first = true;
    (void)it;
    for (size_t i = 0; i < text.n && rc == KJ_OK; first = false) {
        size_t end = i, len = 0;
        while (end < text.n && !(len = any_break(text.p + end, text.n - end)))
            end++;
        struct kj_str line = {text.p + i, end - i}, s = kj_text_strip(line);
        *count += s.n != line.n;
        rc = put_line(out, first, s);
        i = end + len;
    }
    return rc;
}

KJ_CLEAN(strip)
{
    struct kj_str s = kj_text_strip(text);
    (void)it;
    *count = s.n != text.n;
    return untouched(s, out);
}

KJ_CLEAN(max_newlines)
{
    size_t most = (size_t)it->threshold;
    int rc = KJ_OK;
    for (size_t i = 0; i < text.n && rc == KJ_OK;) {
        const char *e = memchr(text.p + i, '\n', text.n - i);
        size_t end = e ? (size_t)(e - text.p) : text.n, run = end;
        while (run < text.n && text.p[run] == '\n')
            run++;
        size_t kept = run - end > most ? most : run - end;
        *count += run - end > most;
        rc = kj_buf_add(out, text.p + i, end + kept - i);
        i = run;
    }
    return rc;
}

/* ---- lines, both families ---- */

static bool words_short(struct kj_str line, struct want w)
{
    struct kj_str word;
    if ((double)line.n <= w.n) /* bytes: no fewer than characters */
        return true;
    for (size_t at = 0; kj_text_word(line, &at, &word);)
        if ((double)word.n > w.n && (double)kj_utf8_count(word.p, word.n) > w.n)
            return false;
    return true;
}

KJ_CLEAN(max_word_len)
{
    return keep_lines(it, text, words_short, out, count);
}

static bool words_enough(struct kj_str line, struct want w)
{
    struct kj_str word;
    double k = 0;
    if (!line.n)
        return w.arg || w.n <= 0;
    for (size_t at = 0; k < w.n && kj_text_word(line, &at, &word);)
        k++;
    return k >= w.n;
}

KJ_CLEAN(min_line_words)
{
    return keep_lines(it, text, words_enough, out, count);
}

/* Length of "[12]", "[edit]" or "[citation needed]" at p. */
static size_t citation(const char *p, size_t n)
{
    static const char *const fixed[] = {"[edit]", "[citation needed]"};
    for (int k = 0; k < 2; k++) {
        size_t m = strlen(fixed[k]);
        if (n >= m && memcmp(p, fixed[k], m) == 0)
            return m;
    }
    size_t i = 1, len = 0;
    while (i < n && p[i] != ']' &&
           kj_uni_category(kj_utf8_next(p + i, n - i, &len)) == KJ_GC_ND)
        i += len;
    return i < n && p[i] == ']' ? i + 1 : 0;
}

KJ_CLEAN(citations)
{
    size_t from = 0;
    int rc = KJ_OK;
    (void)it;
    for (size_t at = 0; rc == KJ_OK && at < text.n;) {
        const char *b = memchr(text.p + at, '[', text.n - at);
        if (!b)
            break;
        at = (size_t)(b - text.p);
        size_t len = citation(b, text.n - at);
        if (len) {
            rc = at > from ? kj_buf_add(out, text.p + from, at - from) : KJ_OK;
            from = at + len;
            ++*count;
        }
        at += len ? len : 1;
    }
    if (rc == KJ_OK && from < text.n)
        rc = kj_buf_add(out, text.p + from, text.n - from);
    return rc;
}

static bool ends(struct kj_str s, const char *z)
{
    size_t m = strlen(z);
    return s.n >= m && memcmp(s.p + s.n - m, z, m) == 0;
}

static bool punct_end(struct kj_str line, struct want w)
{
    size_t len;
    if (!w.arg)
        return line.n && memchr(".?!\"'", line.p[line.n - 1], 5) && !ends(line, "...");
    if (!line.n)
        return true;
    while (line.n && kj_uni_py_space(kj_text_last(line.p, line.n, &len)))
        line.n -= len;
    return line.n && memchr(".?!\"", line.p[line.n - 1], 4) && !ends(line, "...");
}

KJ_CLEAN(terminal_punct)
{
    return keep_lines(it, text, punct_end, out, count);
}

static enum kj_fold fold_of(unsigned arg)
{
    return arg ? KJ_FOLD_RE : KJ_FOLD_LOWER;
}

static bool no_javascript(struct kj_str line, struct want w)
{
    size_t at, len;
    return !kj_text_find(line, "javascript", fold_of(w.arg), &at, &len);
}

KJ_CLEAN(javascript)
{
    if (no_javascript(text, (struct want){0, it->rule->arg}))
        return untouched(text, out);
    return keep_lines(it, text, no_javascript, out, count);
}

static bool no_policy(struct kj_str line, struct want w)
{
    static const char *const phrases[] = {"terms of use",   "privacy policy",
                                          "cookie policy",  "uses cookies",
                                          "use of cookies", "use cookies"};
    size_t at, len;
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (kj_text_find(line, phrases[i], fold_of(w.arg), &at, &len))
            return false;
    return true;
}

KJ_CLEAN(policy)
{
    if (no_policy(text, (struct want){0, it->rule->arg}))
        return untouched(text, out);
    return keep_lines(it, text, no_policy, out, count);
}

/* ---- DCLM's ---- */

/* A table of the lines seen: their lower-cased text, hashed. */
struct seen {
    uint64_t *keys;
    size_t mask;
    struct kj_buf lower;
};

static int stood_before(struct seen *s, struct kj_str line, bool *before)
{
    kj_buf_reset(&s->lower);
    *before = false;
    if (!line.n)
        return KJ_OK;
    int rc = kj_uni_lower_str(&s->lower, line.p, line.n);
    uint64_t key = kj_hash64(s->lower.p, s->lower.n, 0);
    key += key == 0;
    size_t i = key & s->mask;
    while (s->keys[i] && s->keys[i] != key)
        i = (i + 1) & s->mask;
    *before = s->keys[i] == key;
    s->keys[i] = key;
    return rc;
}

KJ_CLEAN(repeated_lines)
{
    size_t n = 16, lines = 1, at = 0;
    struct kj_str line;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    (void)it;
    while (n < 2 * lines)
        n *= 2;
    struct seen s = {calloc(n, sizeof *s.keys), n - 1, {0}};
    if (!s.keys)
        return KJ_BAD_RECORD;
    kj_buf_init(&s.lower, 3 * text.n + 16);
    int rc = KJ_OK;
    for (bool first = true, before; rc == KJ_OK && next_line(text, &at, &line);) {
        rc = stood_before(&s, kj_text_strip(line), &before);
        *count += before;
        if (rc || before)
            continue;
        rc = put_line(out, first, line);
        first = false;
    }
    kj_buf_release(&s.lower);
    free(s.keys);
    return rc;
}

/* Is the share of characters of a kind at most w.n? */
static bool few(struct kj_str line, double most, bool (*is)(uint32_t))
{
    size_t k = 0, chars = 0;
    for (size_t i = 0, len; i < line.n; i += len, chars++)
        k += is(kj_utf8_next(line.p + i, line.n - i, &len));
    return !chars || (double)k / (double)chars <= most;
}

static bool few_upper(struct kj_str line, struct want w)
{
    return few(line, w.n, kj_char_upper);
}

static bool few_digits(struct kj_str line, struct want w)
{
    return few(line, w.n, kj_char_digit);
}

KJ_CLEAN(upper_lines)
{
    int rc = keep_lines(it, text, few_upper, out, count);
    strip_out(out);
    return rc;
}

KJ_CLEAN(digit_lines)
{
    int rc = keep_lines(it, text, few_digits, out, count);
    strip_out(out);
    return rc;
}

static bool word_char(uint32_t c)
{
    return c == '_' || kj_uni_alnum(c);
}

/* ^\W*\d[,.\d]*[kmb]?\s+(likes|...)\W*$ of a lower-cased line */
static bool no_counter(struct kj_str s, struct want w)
{
    static const char *const things[] = {
        "likes",     "shares",  "comments",  "retweets",  "reposts", "quotes",
        "bookmarks", "upvotes", "downvotes", "downloads", "views",   "followers"};
    size_t i = 0, len = 0, m = 0;
    (void)w;
    while (i < s.n && !word_char(kj_utf8_next(s.p + i, s.n - i, &len)))
        i += len;
    if (i >= s.n || kj_uni_category(kj_utf8_next(s.p + i, s.n - i, &len)) != KJ_GC_ND)
        return true;
    while (i < s.n &&
           (s.p[i] == ',' || s.p[i] == '.' ||
            kj_uni_category(kj_utf8_next(s.p + i, s.n - i, &len)) == KJ_GC_ND))
        i += s.p[i] == ',' || s.p[i] == '.' ? 1 : len;
    struct kj_str rest = {s.p + i, s.n - i};
    static const char *const units[] = {"k", "m", "b"};
    for (int k = 0; k < 3 && !m; k++)
        m = kj_text_begins(rest, units[k], KJ_FOLD_LOWER);
    i += m;
    size_t space = i;
    while (i < s.n && (len = kj_text_space(s.p + i, s.n - i)))
        i += len;
    if (i == space)
        return true;
    rest = (struct kj_str){s.p + i, s.n - i};
    m = 0;
    for (size_t k = 0; k < sizeof things / sizeof *things && !m; k++)
        m = kj_text_begins(rest, things[k], KJ_FOLD_LOWER);
    if (!m)
        return true;
    for (i += m; i < s.n; i += len)
        if (word_char(kj_utf8_next(s.p + i, s.n - i, &len)))
            return true;
    return false;
}

KJ_CLEAN(counter_lines)
{
    int rc = keep_lines(it, text, no_counter, out, count);
    strip_out(out);
    return rc;
}

/* Cut places of a line: where the next one is, at or behind `at`. */
static bool find_cart(struct kj_str s, size_t at, size_t *from, size_t *to)
{
    size_t place, len;
    if (at >= s.n || !kj_text_find((struct kj_str){s.p + at, s.n - at}, "items in cart",
                                   KJ_FOLD_RE, &place, &len))
        return false;
    *from = at + place;
    *to = *from + len;
    if (place && kj_uni_py_space(kj_text_last(s.p + at, place, &len)))
        *from -= len;
    return true;
}

/* "Read more" and three characters of any kind at the end. */
static bool find_more(struct kj_str s, size_t at, size_t *from, size_t *to)
{
    size_t end = s.n, len;
    for (int k = 0; k < 12; k++) {
        if (end <= at)
            return false;
        kj_text_last(s.p + at, end - at, &len);
        end -= len;
    }
    if (!kj_text_begins((struct kj_str){s.p + end, s.n - end}, "read more", KJ_FOLD_RE))
        return false;
    *from = end;
    *to = s.n;
    if (end > at && kj_uni_py_space(kj_text_last(s.p + at, end - at, &len)))
        *from -= len;
    return true;
}

static bool find_sign_in(struct kj_str s, size_t at, size_t *from, size_t *to)
{
    size_t m = at ? 0 : kj_text_begins(s, "sign-in", KJ_FOLD_RE);
    *from = 0;
    *to = m + (m && m < s.n ? kj_text_space(s.p + m, s.n - m) : 0);
    return m > 0;
}

static bool at_most_ten(struct kj_str line)
{
    struct kj_str word;
    int k = 0;
    for (size_t at = 0; k < 11 && kj_text_word(line, &at, &word);)
        k++;
    return k <= 10;
}

struct cut {
    bool (*find)(struct kj_str, size_t, size_t *, size_t *);
    bool any; /* may there be a place to cut? */
    struct kj_buf left;
};

/* What is left of a line of at most ten words. */
static int cut_line(struct cut *c, struct kj_str *line, size_t *count)
{
    size_t done = 0, from, to;
    int rc = KJ_OK;
    kj_buf_reset(&c->left);
    while (rc == KJ_OK && c->find(*line, done, &from, &to)) {
        rc = from > done ? kj_buf_add(&c->left, line->p + done, from - done) : KJ_OK;
        done = to;
        ++*count;
    }
    if (!done || rc)
        return rc;
    if (done < line->n)
        rc = kj_buf_add(&c->left, line->p + done, line->n - done);
    *line = (struct kj_str){c->left.p, c->left.n};
    return rc;
}

/* A line of which nothing but white space is left goes, even if that is all
 * that it was; an empty one stays. */
static int cut(struct kj_str t, bool (*find)(struct kj_str, size_t, size_t *, size_t *),
               const char *z, struct kj_buf *out, size_t *count)
{
    struct cut c = {.find = find};
    struct kj_str line;
    size_t at, len;
    int rc = KJ_OK;
    bool first = true;
    c.any = kj_text_find(t, z, KJ_FOLD_RE, &at, &len);
    kj_buf_init(&c.left, t.n + 1);
    for (at = 0; rc == KJ_OK && next_line(t, &at, &line);) {
        bool empty = !line.n;
        if (c.any && at_most_ten(line))
            rc = cut_line(&c, &line, count);
        if (rc || (!empty && kj_text_blank(line)))
            continue;
        rc = put_line(out, first, line);
        first = false;
    }
    kj_buf_release(&c.left);
    strip_out(out);
    return rc;
}

KJ_CLEAN(cart)
{
    (void)it;
    return cut(text, find_cart, "items in cart", out, count);
}

KJ_CLEAN(read_more)
{
    (void)it;
    return cut(text, find_more, "read more", out, count);
}

KJ_CLEAN(sign_in)
{
    (void)it;
    return cut(text, find_sign_in, "sign-in", out, count);
}
