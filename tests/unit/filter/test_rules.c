/* Every rule has a slow twin here, written straight from its definition, over
 * arrays of code points and with quadratic comparisons. Both must agree
 * exactly, on hand-made and on random texts in both languages. */
#include <stdlib.h>

#include "base/doc.h"
#include "base/input.h"
#include "base/json.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/facts.h"
#include "filter/filter.h"
#include "filter/morph.h"
#include "filter/recipe.h"
#include "tests/unit/test.h"

struct span {
    const uint32_t *p;
    size_t n;
};

struct slow {
    uint32_t *c; /* the text */
    size_t n;
    struct span *words, *pieces, *full, *py, *paras;
    size_t n_words, n_pieces, n_full, n_py, n_paras;
};

static bool same(struct span a, struct span b)
{
    return a.n == b.n && (!a.n || memcmp(a.p, b.p, a.n * sizeof *a.p) == 0);
}

static bool blank(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!kj_uni_py_space(s.p[i]))
            return false;
    return true;
}

static struct span strip(struct span s)
{
    while (s.n && kj_uni_py_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && kj_uni_py_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool ends(struct span s, const uint32_t *z, size_t n)
{
    return s.n >= n && memcmp(s.p + s.n - n, z, n * sizeof *z) == 0;
}

/* str.splitlines */
static void slow_py(struct slow *s)
{
    size_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t c = s->c[i];
        bool brk = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                   c == 0x2028 || c == 0x2029;
        if (!brk)
            continue;
        s->py[s->n_py++] = (struct span){s->c + from, i - from};
        if (c == '\r' && i + 1 < s->n && s->c[i + 1] == '\n')
            i++;
        from = i + 1;
    }
    if (from < s->n)
        s->py[s->n_py++] = (struct span){s->c + from, s->n - from};
}

/* Split by runs of `least` or more newlines. */
static size_t slow_split(struct span t, size_t least, struct span *out)
{
    size_t n = 0, from = 0;
    for (size_t i = 0; i < t.n;) {
        size_t k = i;
        while (k < t.n && t.p[k] == '\n')
            k++;
        if (k - i >= least) {
            out[n++] = (struct span){t.p + from, i - from};
            from = k;
        }
        i = k > i ? k : i + 1;
    }
    out[n++] = (struct span){t.p + from, t.n - from};
    return n;
}

/* Where the splitter cuts is test_morph.c's business. */
static void slow_morphemes(struct slow *s, const char *p, size_t n)
{
    struct kj_morph *m = kj_morph_new();
    struct kj_morph_piece v[KJ_MORPH_PIECES];
    for (size_t at = 0, end; at < n; at = end) {
        size_t k = kj_morph_next(m, p, n, at, v, &end);
        for (size_t x = 0; x < k; x++)
            s->words[s->n_words++] =
                (struct span){s->c + kj_utf8_count(p, v[x].from),
                              kj_utf8_count(p + v[x].from, v[x].to - v[x].from)};
    }
    kj_morph_free(m);
}

static void slow_words(struct slow *s, const char *p, size_t n, enum kj_word_unit unit)
{
    if (unit == KJ_WORDS_SPACE) {
        for (size_t i = 0; i < s->n;) {
            size_t k = i;
            while (k < s->n && !kj_uni_py_space(s->c[k]))
                k++;
            if (k > i)
                s->words[s->n_words++] = (struct span){s->c + i, k - i};
            i = k > i ? k : i + 1;
        }
        return;
    }
    if (unit == KJ_WORDS_MORPHEME) {
        slow_morphemes(s, p, n);
        return;
    }
    for (size_t at = 0, cp = 0; at < n;) {
        size_t end = kj_uni_word_next(p, n, at);
        struct span w = {s->c + cp, kj_utf8_count(p + at, end - at)};
        if (unit == KJ_WORDS_ALNUM ? kj_uni_alnum(w.p[0]) : !blank(w))
            s->words[s->n_words++] = w;
        cp += w.n;
        at = end;
    }
}

static void slow_init(struct slow *s, const char *p, size_t n, enum kj_word_unit unit)
{
    memset(s, 0, sizeof *s);
    s->c = calloc(n + 1, sizeof *s->c);
    for (size_t i = 0, len; i < n; i += len)
        s->c[s->n++] = kj_utf8_next(p + i, n - i, &len);
    struct span **all[] = {&s->words, &s->pieces, &s->full, &s->py, &s->paras};
    for (int i = 0; i < 5; i++)
        *all[i] = calloc(3 * n + 2, sizeof **all[i]); /* morphemes overlap */
    struct span t = {s->c, s->n};
    slow_words(s, p, n, unit);
    s->n_pieces = slow_split(t, 1, s->pieces);
    s->n_paras = slow_split(strip(t), 2, s->paras);
    slow_py(s);
    for (size_t i = 0; i < s->n_pieces; i++)
        if (!blank(s->pieces[i]))
            s->full[s->n_full++] = s->pieces[i];
}

static void slow_free(struct slow *s)
{
    free(s->c);
    free(s->words);
    free(s->pieces);
    free(s->full);
    free(s->py);
    free(s->paras);
}

/* Elements equal to an earlier one, and their characters. */
static void repeats(const struct span *v, size_t n, size_t *count, size_t *chars)
{
    *count = *chars = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (same(v[i], v[k])) {
                ++*count;
                *chars += v[i].n;
                break;
            }
}

/* Words i..i+n joined by sep (0: nothing) into out; its length. */
static size_t join(const struct slow *s, size_t i, size_t n, uint32_t sep,
                   uint32_t *out)
{
    size_t len = 0;
    for (size_t k = i; k < i + n; k++) {
        if (sep && k > i)
            out[len++] = sep;
        if (s->words[k].n)
            memcpy(out + len, s->words[k].p, s->words[k].n * sizeof *out);
        len += s->words[k].n;
    }
    return len;
}

/* All n-grams as texts of their own. */
static struct span *grams(const struct slow *s, size_t n, uint32_t sep, uint32_t **pool)
{
    size_t m = s->n_words >= n ? s->n_words - n + 1 : 0, used = 0;
    struct span *g = calloc(m + 1, sizeof *g);
    *pool = calloc((3 * s->n + n + 1) * n + s->n_words * n + 1, sizeof **pool);
    for (size_t i = 0; i < m; i++) {
        g[i] = (struct span){*pool + used, join(s, i, n, sep, *pool + used)};
        used += g[i].n;
    }
    return g;
}

static double slow_top(const struct slow *s, size_t n)
{
    if (s->n_words < n)
        return 0;
    uint32_t *pool;
    struct span *g = grams(s, n, ' ', &pool);
    size_t best = 0, len = 0, m = s->n_words - n + 1;
    for (size_t i = 0; i < m; i++) {
        size_t count = 0;
        for (size_t k = 0; k < m; k++)
            count += same(g[i], g[k]);
        if (count > best) { /* the first of the most frequent */
            best = count;
            len = g[i].n;
        }
    }
    free(g);
    free(pool);
    return (double)(best * len) / (double)s->n;
}

static double slow_dup(const struct slow *s, size_t n)
{
    if (s->n_words < n)
        return 0;
    uint32_t *pool;
    struct span *g = grams(s, n, 0, &pool);
    size_t m = s->n_words - n + 1, chars = 0, n_set = 0;
    size_t *set = calloc(m, sizeof *set);
    for (size_t i = 0; i < m;) {
        bool in = false;
        for (size_t k = 0; k < n_set && !in; k++)
            in = same(g[set[k]], g[i]);
        if (in) {
            chars += g[i].n;
            i += n;
        } else {
            set[n_set++] = i++;
        }
    }
    free(set);
    free(g);
    free(pool);
    return (double)chars / (double)s->n;
}

static double over(size_t a, size_t b)
{
    return b ? (double)a / (double)b : 0;
}

static const char *const stops[] = {"the", "be", "의", "를"};

static size_t count_of(const struct slow *s, uint32_t c)
{
    size_t k = 0;
    for (size_t i = 0; i < s->n; i++)
        k += s->c[i] == c;
    return k;
}

static size_t triple_dots(const struct slow *s)
{
    size_t k = 0;
    for (size_t i = 0; i + 2 < s->n; i++)
        if (s->c[i] == '.' && s->c[i + 1] == '.' && s->c[i + 2] == '.')
            k++, i += 2;
    return k;
}

static double slow_words_rule(const struct slow *s, const char *name)
{
    size_t solid = 0, chars = 0, alpha = 0, found = 0;
    for (size_t i = 0; i < s->n_words; i++) {
        bool is_solid = false, has_alpha = false;
        for (size_t k = 0; k < s->words[i].n; k++) {
            is_solid |= !kj_char_punct(s->words[i].p[k]);
            has_alpha |= kj_uni_alpha(s->words[i].p[k]);
        }
        solid += is_solid;
        chars += is_solid ? s->words[i].n : 0;
        alpha += has_alpha;
    }
    for (size_t k = 0; k < 4; k++) {
        uint32_t w[8];
        size_t n = 0;
        for (size_t i = 0, len; stops[k][i]; i += len)
            w[n++] = kj_utf8_next(stops[k] + i, strlen(stops[k]) - i, &len);
        for (size_t i = 0; i < s->n_words; i++)
            if (same(s->words[i], (struct span){w, n})) {
                found++;
                break;
            }
    }
    if (strstr(name, "_words") && (strstr(name, "min") || strstr(name, "max")))
        return (double)solid;
    if (strstr(name, "mean_word_len"))
        return over(chars, solid);
    if (strstr(name, "alpha_words"))
        return over(alpha, s->n_words);
    if (strstr(name, "stop_words"))
        return (double)found;
    if (strstr(name, "hash_ratio"))
        return over(count_of(s, '#'), s->n_words);
    if (strstr(name, "ellipsis_ratio"))
        return over(triple_dots(s) + count_of(s, 0x2026), s->n_words);
    if (strstr(name, "newlines"))
        return over(count_of(s, '\n'), s->n_words);
    return NAN;
}

static double slow_lines_rule(const struct slow *s, const char *name)
{
    size_t count, chars, hit = 0;
    if (strstr(name, "_paras") || strstr(name, "para_chars")) {
        repeats(s->paras, s->n_paras, &count, &chars);
        return strstr(name, "chars") ? over(chars, s->n) : over(count, s->n_paras);
    }
    if (strstr(name, "dup_line")) {
        repeats(s->pieces, s->n_pieces, &count, &chars);
        return strstr(name, "chars") ? over(chars, s->n) : over(count, s->n_pieces);
    }
    if (strstr(name, "char_dup")) {
        repeats(s->full, s->n_full, &count, &chars);
        return over(chars, s->n - count_of(s, '\n'));
    }
    if (strstr(name, "line_punct") || strstr(name, "short_lines")) {
        for (size_t i = 0; i < s->n_full; i++)
            hit += strstr(name, "short")
                       ? s->full[i].n <= 12
                       : kj_char_terminal(s->full[i].p[s->full[i].n - 1]);
        return over(hit, s->n_full);
    }
    for (size_t i = 0; i < s->n_py; i++) {
        struct span t = strip(s->py[i]);
        if (strstr(name, "bullet"))
            hit += t.n && (t.p[0] == '-' || t.p[0] == 0x2022);
        else
            hit += ends(t, (uint32_t[]){'.', '.', '.'}, 3) ||
                   ends(t, (uint32_t[]){0x2026}, 1);
    }
    return over(hit, s->n_py);
}

static double slow_rule(const struct slow *s, const char *name)
{
    const char *gram = strstr(name, "gram");
    if (strstr(name, ".top_"))
        return slow_top(s, (size_t)atoi(strchr(name, '_') + 1));
    if (gram)
        return slow_dup(s, (size_t)atoi(strchr(name, '_') + 1));
    double v = slow_words_rule(s, name);
    return isnan(v) ? slow_lines_rule(s, name) : v;
}

static void check_text(struct kj_facts *f, const char *p, size_t n)
{
    uint64_t hashes[4];
    struct kj_doc d;
    memset(&d, 0, sizeof d);
    d.text = (struct kj_str){p, n};
    for (int k = 0; k < 4; k++)
        hashes[k] = kj_facts_hash(stops[k], strlen(stops[k]));
    kj_facts_set(f, &d);
    for (int u = 0; u < KJ_WORD_UNITS; u++) {
        struct kj_filter_scope sc = {.text = "",
                                     .words = (enum kj_word_unit)u,
                                     .short_line = 12,
                                     .stop_words = (const char **)(void *)stops,
                                     .stop_hash = hashes,
                                     .n_stop = 4};
        struct slow s;
        slow_init(&s, p, n, (enum kj_word_unit)u);
        CHECK_INT(kj_facts_word_count(f, (enum kj_word_unit)u), s.n_words);
        CHECK_INT(f->chars, s.n);
        for (const struct kj_filter_rule *r = kj_filter_rules; r->name; r++) {
            struct kj_filter_item it = {.rule = r, .scope = &sc};
            if (strncmp(r->name, "gopher", 6) != 0 &&
                strncmp(r->name, "fineweb", 7) != 0)
                continue; /* the others: tests/cli/filter_twins.py */
            double fast = r->measure(f, &it), want = slow_rule(&s, r->name);
            if (!CHECK(fast == want || (n == 0 && isnan(want))))
                printf("     %s unit %d: got %.17g, want %.17g for [%.*s]\n", r->name,
                       u, fast, want, (int)n, p);
        }
        slow_free(&s);
    }
}

static const char *const hand_made[] = {
    "",
    "\n",
    "\n\n\n",
    " \t\n ",
    "word",
    "the be 의 를 the",
    "one two one two one two one two one two one two",
    "ab c a bc ab c a bc d ab c a bc ab c a bc d", /* equal when joined */
    "a b c d e a b c d e a b c d e f",
    "line one.\nline one.\n\nline two!\nline one.\n",
    "\nstarts and ends\n",
    "para one\n\npara two\n\n\npara one\n\npara one",
    "  \n\n padded \n\n padded \n\n  ",
    "- a\n- b\n\t\xE2\x80\xA2 c\n-",
    "so...\nand so…\nso . . .\n....\n......x",
    "# # ## …… ... ....",
    "a\rb\r\nc\x0B d\x0C...\x1C-\xC2\x85- x\xE2\x80\xA8- y...\xE2\x80\xA9z\r",
    "한국어 문장입니다. 이 문장은 의 를 포함한다.\n짧은 줄\n한국어 문장입니다.\n",
    "키질은 곡식을 까부르는 일이다。\n정말?\n그래요…\n\"인용\"\n",
    "１ ％ 、 【】 ！ mixed１ — – “q”",
    "can't 3.14 foo_bar a:b 1,000.5 e.g. x;y it's. end.",
    "e\xCC\x81 cafe\xCC\x81 \xE3\x80\x80 wide\xE3\x80\x80space \xC2\xA0nbsp",
    " \xCC\x88 space with a mark  "
    "\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB",
    "\xF0\x9F\x87\xB0\xF0\x9F\x87\xB7\xF0\x9F\x87\xBA\xF0\x9F\x87\xB8\xF0\x9F\x87\xB0",
    "ㅋㅋㅋ ㅋㅋㅋ ㅠㅠ ㅋㅋㅋ\nㅋㅋㅋ\n",
};

static const char *const pieces[] = {
    "a",
    "b",
    "the",
    "be",
    "의",
    "를",
    "한국",
    "어",
    "cat",
    ".",
    "...",
    "…",
    "#",
    "!",
    "?",
    "。",
    ",",
    "'",
    "\"",
    "-",
    "\n",
    "\n",
    "\n\n",
    " ",
    " ",
    " ",
    " ",
    "  ",
    "\t",
    "\r\n",
    "\xC2\xA0",
    "\xE3\x80\x80",
    "\xE2\x80\xA8",
    "\x1C",
    "\xC2\x85",
    "3",
    "1.5",
    "•",
    "\xCC\x81",
    "\xE2\x80\x8D",
    "word",
    "_",
    "x",
    "다.",
    "같은 줄입니다\n",
    "same line\n",
};

static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void test_random(struct kj_facts *f)
{
    char text[4096];
    for (int round = 0; round < 250; round++) {
        size_t n = 0, parts = rnd() % 160, few = 3 + rnd() % 43, from = rnd();
        for (size_t i = 0; i < parts; i++) {
            const char *s =
                pieces[(from + rnd() % few) % (sizeof pieces / sizeof *pieces)];
            memcpy(text + n, s, strlen(s));
            n += strlen(s);
            if (round % 3)
                text[n++] = ' ';
        }
        check_text(f, text, n);
    }
}

/* A word longer than the table of powers. */
static void test_long(struct kj_facts *f)
{
    char text[5000];
    memset(text, 'x', sizeof text);
    for (size_t i = 1500; i < sizeof text; i += 1501)
        text[i] = ' ';
    check_text(f, text, sizeof text);
}

static void test_limit(struct kj_facts *f)
{
    size_t n = 2 * (size_t)(KJ_FACTS_MAX + 1);
    char *p = malloc(n);
    struct kj_doc d;
    memset(&d, 0, sizeof d);
    d.text = (struct kj_str){p, n};
    for (size_t i = 0; i < n; i++)
        p[i] = i % 2 ? ' ' : 'a';
    kj_facts_set(f, &d);
    CHECK(!f->over);
    kj_facts_words(f, KJ_WORDS_SPACE);
    CHECK(f->over);
    memset(p, '\n', n);
    kj_facts_set(f, &d);
    CHECK(!f->over);
    kj_facts_lines(f, 30);
    CHECK(f->over);
    free(p);
}

/* FineWeb's definitions, known answers. */
static void test_known(struct kj_facts *f)
{
    struct kj_doc d;
    memset(&d, 0, sizeof d);
    d.text = KJ_STR("One line.\nNo end\nOne line.\n\n  \nEnd!");
    kj_facts_set(f, &d);
    const struct kj_lines *l = kj_facts_lines(f, 6);
    CHECK_INT(l->full, 4);
    CHECK_INT(l->full_punct, 3);
    CHECK_INT(l->full_short, 2);
    CHECK_INT(l->dup_full_chars, 9);
    CHECK_INT(kj_facts_lines(f, 9)->full_short, 4);
    CHECK_INT(f->newlines, 5);
    d.text = KJ_STR("x y x y z x y");
    kj_facts_set(f, &d);
    CHECK_INT(kj_facts_top(f, KJ_WORDS_SPACE, 2), 9);
    d.text = KJ_STR("a b c d e a b c d e");
    kj_facts_set(f, &d);
    CHECK_INT(kj_facts_dup(f, KJ_WORDS_SPACE, 5), 5);
    CHECK(kj_char_terminal(0x3002) && !kj_char_terminal('"') && kj_char_punct('"'));
    CHECK(!kj_char_punct(' ') && !kj_char_punct('\t') && !kj_char_punct('a'));
}

/* The vector count against one byte at a time, around the lengths of its blocks. */
static void test_tally(void)
{
    static const size_t lengths[] = {0, 1, 31, 32, 33, 8159, 8160, 8161, 8200, 20000};
    static const char kinds[] = ".#\n\x0B\x1E a\xC2\x85\xE2\x80\xA8";
    char *p = malloc(20000);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 20000; i++)
            p[i] = round ? kinds[rnd() % (sizeof kinds - 1)] : '.';
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            size_t dots = 0, conts = 0, odd = 0, n = lengths[k];
            for (size_t i = 0; i < n; i++) {
                dots += p[i] == '.';
                conts += (p[i] & 0xC0) == 0x80;
                odd += p[i] == 0x0B || p[i] == 0x1E;
            }
            struct kj_facts_bytes t = kj_facts_tally(p, n);
            CHECK_INT(t.dots, dots);
            CHECK_INT(t.conts, conts);
            CHECK_INT(t.odd, odd);
        }
    }
    free(p);
}

/* The texts of a JSONL file named in KIJIL_TEXTS; those too long for loops within
 * loops are cut. */
static void test_given(struct kj_facts *f)
{
    const char *path = getenv("KIJIL_TEXTS"), *p;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    int64_t member, at;
    size_t n;
    if (!path || !*path)
        return;
    if (!CHECK_INT(kj_input_open(&in, path, &err), KJ_OK))
        return;
    struct kj_lines *lines = kj_lines_new(in, 64 << 20);
    struct kj_json *j = kj_json_new();
    while (kj_lines_next(lines, &p, &n, &member, &at, &err) == KJ_OK) {
        const struct kj_jval *v;
        if (!CHECK_INT(kj_json_parse(j, p, n, &v, &err), KJ_OK))
            break;
        struct kj_str t = kj_jstr(kj_jget(v, "text"));
        check_text(f, t.p, kj_utf8_cut(t.p, t.n, 6000));
    }
    kj_json_free(j);
    kj_lines_free(lines);
    kj_input_close(in);
}

int main(void)
{
    test_tally();
    struct kj_facts f;
    kj_facts_init(&f);
    test_known(&f);
    for (size_t i = 0; i < sizeof hand_made / sizeof *hand_made; i++)
        check_text(&f, hand_made[i], strlen(hand_made[i]));
    test_random(&f);
    test_long(&f);
    test_limit(&f);
    test_given(&f);
    kj_facts_release(&f);
    return test_end();
}
