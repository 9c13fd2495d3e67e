/* rules.c - the table of rules. Definitions: facts.h. A share of nothing is 0. */
#include <math.h>
#include <string.h>

#include "base/doc.h"
#include "filter/clean.h"
#include "filter/dclm.h"
#include "filter/facts.h"
#include "filter/filter.h"
#include "filter/pii.h"
#include "filter/recipe.h"
#include "filter/text.h"

static double share(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static const struct kj_words *words(struct kj_facts *f, const struct kj_filter_item *it)
{
    return kj_facts_words(f, it->scope->words);
}

static const struct kj_lines *lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    return kj_facts_lines(f, it->scope->short_line);
}

/* ---- language ---- */

static double lang_keep(struct kj_facts *f, const struct kj_filter_item *it)
{
    for (size_t i = 0; i < it->n_values; i++)
        if (kj_str_is(f->doc->language, it->values[i]))
            return 1;
    return 0;
}

static double lang_score(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return isnan(f->doc->language_score) ? 0 : f->doc->language_score;
}

/* ---- Gopher quality ---- */

static double n_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    return (double)words(f, it)->n_solid;
}

static double mean_word_len(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    return share(w->solid_chars, w->n_solid);
}

static double hash_ratio(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->hashes, words(f, it)->n);
}

static double ellipsis_ratio(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->ellipses, words(f, it)->n);
}

static double bullet_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_py_lines(f);
    return share(l->py_bullet, l->py);
}

static double ellipsis_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_py_lines(f);
    return share(l->py_ellipsis, l->py);
}

static double alpha_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    return share(w->n_alpha, w->n);
}

static double stop_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    const struct kj_filter_scope *s = it->scope;
    uint64_t seen = 0, all = s->n_stop == 64 ? ~0ull : (1ull << s->n_stop) - 1;
    uint64_t maybe[4] = {0}; /* most words have top bits that no stop word has */
    for (size_t k = 0; k < s->n_stop; k++)
        maybe[s->stop_hash[k] >> 62] |= 1ull << (s->stop_hash[k] >> 56 & 63);
    for (size_t i = 0; i < w->n && seen != all; i++) {
        uint64_t h = w->hash[i];
        if (!(maybe[h >> 62] >> (h >> 56 & 63) & 1))
            continue;
        for (size_t k = 0; k < s->n_stop; k++)
            seen |= (uint64_t)(s->stop_hash[k] == h) << k;
    }
    return (double)__builtin_popcountll(seen);
}

/* ---- Gopher repetition ---- */

static double dup_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->dup_pieces, l->pieces);
}

static double dup_line_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(lines(f, it)->dup_piece_chars, f->chars);
}

static double dup_paras(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_paras(f);
    return share(l->dup_paras, l->paras);
}

static double dup_para_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_facts_paras(f)->dup_para_chars, f->chars);
}

static double top_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(kj_facts_top(f, it->scope->words, it->rule->arg), f->chars);
}

static double dup_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(kj_facts_dup(f, it->scope->words, it->rule->arg), f->chars);
}

/* ---- FineWeb ---- */

static double line_punct(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->full_punct, l->full);
}

static double short_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->full_short, l->full);
}

static double char_dup(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(lines(f, it)->dup_full_chars, f->chars - f->newlines);
}

static double newlines(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->newlines, kj_facts_word_count(f, it->scope->words));
}

/* ---- C4 ---- */

static double max_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)f->chars;
}

static struct kj_str text(const struct kj_facts *f)
{
    return (struct kj_str){f->p, f->n};
}

static double lorem_ipsum(struct kj_facts *f, const struct kj_filter_item *it)
{
    size_t at, len;
    (void)it;
    return kj_text_find(text(f), "lorem ipsum", KJ_FOLD_LOWER, &at, &len);
}

static double curly(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return f->n && memchr(f->p, '{', f->n) != NULL;
}

static double sentences(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)kj_dclm_sentences(text(f));
}

static double long_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    size_t k = 0;
    (void)it;
    for (size_t i = 0; i < f->n;) {
        const char *e = memchr(f->p + i, '\n', f->n - i);
        size_t end = e ? (size_t)(e - f->p) : f->n;
        k += end - i >= 200 && kj_utf8_count(f->p + i, end - i) >= 200;
        i = end + 1;
    }
    return (double)k;
}

/* ---- DCLM ---- */

static double d_tokens(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)kj_dclm_tokens(text(f));
}

static double d_removed(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    size_t came = kj_dclm_tokens(f->came), left = kj_dclm_tokens(text(f));
    return came > left ? share(came - left, came) : 0;
}

static double d_mean_len(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_SPACE);
    (void)it;
    return share(w->chars[w->n], w->n);
}

static double d_symbols(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_dclm_symbols(f), kj_facts_words(f, KJ_WORDS_SPACE)->n);
}

static double d_bullets(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_segments *g = kj_dclm_lines(f);
    (void)it;
    return share(g->bullets, g->n);
}

static double d_ellipses(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_segments *g = kj_dclm_lines(f);
    (void)it;
    return share(g->ellipses, g->n);
}

static double d_non_alpha(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_SPACE);
    (void)it;
    return share(w->n - w->n_alpha, w->n);
}

static double d_stop_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    return (double)kj_dclm_stop_words(text(f), it->scope->stop_words,
                                      it->scope->n_stop);
}

/* arg: 1 paragraphs, 2 characters */
static double d_copies(struct kj_facts *f, const struct kj_filter_item *it)
{
    unsigned arg = it->rule->arg;
    const struct kj_segments *g = arg & 1 ? kj_dclm_paras(f) : kj_dclm_lines(f);
    return arg & 2 ? share(g->copy_chars, g->chars) : share(g->copies, g->n);
}

static double d_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    unsigned n = it->rule->arg;
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_ALNUM);
    return share(n < 5 ? kj_dclm_top(f, n) : kj_dclm_dup(f, n), w->chars[w->n]);
}

/* ---- Korean ---- */

static double k_hangul(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->hangul, k->letters);
}

static double k_hanja(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->hanja, k->letters);
}

static double k_latin(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->latin, k->letters);
}

static double k_lone(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->lone, k->chars);
}

static double k_odd(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->half + k->conjoining, k->chars);
}

static double k_laughs(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_facts_korean(f)->laughs, kj_facts_words(f, KJ_WORDS_SPACE)->n);
}

static double k_spam(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    unsigned list = it->rule->arg;
    return k->kinds[list] < 4
               ? 0
               : share(k->spam[list], kj_facts_words(f, KJ_WORDS_SPACE)->n);
}

#define CHARS "share of characters"
#define TOP(N, WORD)                                                                   \
    {                                                                                  \
        "gopher.top_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters of the most frequent " WORD                                    \
            " words, joined by spaces, times its "                                     \
            "count",                                                                   \
            top_gram, NULL                                                             \
    }
#define DUP(N)                                                                         \
    {                                                                                  \
        "gopher.dup_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters in runs of " #N                                                \
            " words that stood before; the scan goes on behind "                       \
            "a hit",                                                                   \
            dup_gram, NULL                                                             \
    }
#define DTOP(N, WORD)                                                                  \
    {                                                                                  \
        "dclm.top_" #N "gram", ">", KJ_FILTER_SHARE, N, WCHARS,                        \
            "characters of the longest of the most frequent " WORD                     \
            " words, times its count; 0 if none repeats",                              \
            d_gram, NULL                                                               \
    }
#define DDUP(N)                                                                        \
    {                                                                                  \
        "dclm.dup_" #N "gram", ">", KJ_FILTER_SHARE, N, WCHARS,                        \
            "characters of words that lie in runs of " #N                              \
            " words which stand more than once, all copies counted",                   \
            d_gram, NULL                                                               \
    }
#define MASK(NAME, KIND, UNIT, ABOUT)                                                  \
    {                                                                                  \
        NAME, "", KJ_FILTER_MASK, KIND, UNIT, ABOUT, NULL, NULL                        \
    }
#define WCHARS "share of characters of words"
#define LINES  "lines removed"
#define CLEAN(NAME, KIND, ARG, UNIT, ABOUT, FUNC)                                      \
    {                                                                                  \
        NAME, "", KIND, ARG, UNIT, ABOUT, NULL, kj_clean_##FUNC                        \
    }

const struct kj_filter_rule kj_filter_rules[] = {
    {"lang.keep", "<", KJ_FILTER_LIST, 0, "",
     "1 when the document's language is one of the list, else 0", lang_keep, NULL},
    {"lang.min_score", "<", KJ_FILTER_SHARE, 0, "probability",
     "language_score of the document; 0 when it has none", lang_score, NULL},

    {"gopher.min_words", "<", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", n_words, NULL},
    {"gopher.max_words", ">", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", n_words, NULL},
    {"gopher.min_mean_word_len", "<", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation", mean_word_len,
     NULL},
    {"gopher.max_mean_word_len", ">", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation", mean_word_len,
     NULL},
    {"gopher.hash_ratio", ">", KJ_FILTER_NUMBER, 0, "per word", "'#' signs per word",
     hash_ratio, NULL},
    {"gopher.ellipsis_ratio", ">", KJ_FILTER_NUMBER, 0, "per word",
     "'...' and U+2026 per word", ellipsis_ratio, NULL},
    {"gopher.bullet_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that begin with U+2022 or '-', white space aside", bullet_lines, NULL},
    {"gopher.ellipsis_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that end with '...' or U+2026, white space aside", ellipsis_lines, NULL},
    {"gopher.alpha_words", "<", KJ_FILTER_SHARE, 0, "share of words",
     "words with a letter", alpha_words, NULL},
    {"gopher.stop_words", "<", KJ_FILTER_COUNT, 0, "words",
     "how many different stop words occur, case as it is", stop_words, NULL},

    {"gopher.dup_paras", ">", KJ_FILTER_SHARE, 0, "share of paragraphs",
     "paragraphs (split by two or more newlines) that repeat an earlier one", dup_paras,
     NULL},
    {"gopher.dup_para_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in paragraphs that repeat an earlier one", dup_para_chars, NULL},
    {"gopher.dup_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines (split by runs of newlines) that repeat an earlier one", dup_lines, NULL},
    {"gopher.dup_line_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines that repeat an earlier one", dup_line_chars, NULL},
    TOP(2, "two"),
    TOP(3, "three"),
    TOP(4, "four"),
    DUP(5),
    DUP(6),
    DUP(7),
    DUP(8),
    DUP(9),
    DUP(10),

    {"fineweb.line_punct", "<", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that end in terminal punctuation of any script, of those not blank",
     line_punct, NULL},
    {"fineweb.short_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines of at most short_line (30) characters, of those not blank", short_lines,
     NULL},
    {"fineweb.char_dup", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines, not blank, that repeat an earlier one; newlines not counted",
     char_dup, NULL},
    {"fineweb.newlines", ">", KJ_FILTER_NUMBER, 0, "per word", "newlines per word",
     newlines, NULL},

    CLEAN("text.split_lines", KJ_FILTER_CLEAN, 0, "lines changed",
          "line breaks of all kinds become newlines, lines are stripped", split_lines),
    CLEAN("text.strip", KJ_FILTER_CLEAN, 0, "texts changed",
          "white space at both ends of the text is removed", strip),
    CLEAN("text.max_newlines", KJ_FILTER_COUNT, 0, "runs cut",
          "runs of more newlines are cut to so many", max_newlines),
    {"text.max_chars", ">", KJ_FILTER_COUNT, 0, "characters", "characters of the text",
     max_chars, NULL},

    CLEAN("c4.max_word_len", KJ_FILTER_COUNT, 0, LINES,
          "lines with a word, between white space, of more characters are removed",
          max_word_len),
    CLEAN("c4.min_line_words", KJ_FILTER_COUNT, 0, LINES,
          "lines of fewer words, between white space, are removed", min_line_words),
    CLEAN("c4.citations", KJ_FILTER_CLEAN, 0, "marks removed",
          "[12], [], [edit] and [citation needed] are removed", citations),
    CLEAN("c4.terminal_punct", KJ_FILTER_CLEAN, 0, LINES,
          "lines that do not end in one of . ? ! \" ' or end in '...' are removed",
          terminal_punct),
    CLEAN("c4.javascript", KJ_FILTER_CLEAN, 0, LINES,
          "lines with 'javascript', lower-cased, are removed", javascript),
    CLEAN("c4.policy", KJ_FILTER_CLEAN, 0, LINES,
          "lines with 'terms of use', 'privacy policy', 'cookie policy', 'uses "
          "cookies', 'use of cookies' or 'use cookies', lower-cased, are removed",
          policy),
    {"c4.lorem_ipsum", ">", KJ_FILTER_COUNT, 0, "",
     "1 when the text, lower-cased, holds 'lorem ipsum', else 0", lorem_ipsum, NULL},
    {"c4.curly_bracket", ">", KJ_FILTER_COUNT, 0, "",
     "1 when the text holds a '{', else 0", curly, NULL},
    {"c4.min_sentences", "<", KJ_FILTER_COUNT, 0, "sentences",
     "lines not blank, and ends of sentences inside them (. ? ! U+2026 before white "
     "space and no lower-case letter; not behind an abbreviation)",
     sentences, NULL},
    {"c4.long_lines", "<", KJ_FILTER_COUNT, 0, "lines",
     "lines of 200 characters or more", long_lines, NULL},

    CLEAN("dclm.min_line_words", KJ_FILTER_COUNT, 1, LINES,
          "lines of fewer words, between white space, are removed; empty ones stay",
          min_line_words),
    CLEAN("dclm.terminal_punct", KJ_FILTER_CLEAN, 1, LINES,
          "lines that do not end in one of . ? ! \" and white space, or end in '...', "
          "are removed; empty ones stay",
          terminal_punct),
    CLEAN("dclm.javascript", KJ_FILTER_CLEAN, 1, LINES,
          "lines with 'javascript' in either case are removed", javascript),
    CLEAN("dclm.policy", KJ_FILTER_CLEAN, 1, LINES,
          "lines with one of the phrases of c4.policy in either case are removed",
          policy),
    CLEAN("dclm.repeated_lines", KJ_FILTER_CLEAN, 0, LINES,
          "lines that, stripped and lower-cased, stood before are removed; blank ones "
          "stay",
          repeated_lines),
    CLEAN("dclm.upper_lines", KJ_FILTER_SHARE, 0, LINES,
          "lines with a larger share of upper-case characters are removed",
          upper_lines),
    CLEAN("dclm.digit_lines", KJ_FILTER_SHARE, 0, LINES,
          "lines with a larger share of digits are removed", digit_lines),
    CLEAN("dclm.counter_lines", KJ_FILTER_CLEAN, 0, LINES,
          "lines like '1.2k likes' are removed (shares, comments, retweets, reposts, "
          "quotes, bookmarks, upvotes, downvotes, downloads, views, followers)",
          counter_lines),
    CLEAN("dclm.cart", KJ_FILTER_CLEAN, 0, "places cut",
          "'items in cart' is cut out of lines of at most ten words", cart),
    CLEAN("dclm.read_more", KJ_FILTER_CLEAN, 0, "places cut",
          "'read more' and three characters are cut from the end of such lines",
          read_more),
    CLEAN("dclm.sign_in", KJ_FILTER_CLEAN, 0, "places cut",
          "'sign-in' is cut from the beginning of such lines", sign_in),
    {"dclm.removed_words", ">", KJ_FILTER_SHARE, 0, "share of words",
     "words (as in dclm.min_words) that earlier rules have removed", d_removed, NULL},
    {"dclm.min_words", "<", KJ_FILTER_COUNT, 0, "words",
     "runs between ASCII white space that begin with a letter or digit", d_tokens,
     NULL},
    {"dclm.max_words", ">", KJ_FILTER_COUNT, 0, "words",
     "runs between ASCII white space that begin with a letter or digit", d_tokens,
     NULL},
    {"dclm.min_mean_word_len", "<", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of words between white space", d_mean_len, NULL},
    {"dclm.max_mean_word_len", ">", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of words between white space", d_mean_len, NULL},
    {"dclm.symbol_ratio", ">", KJ_FILTER_NUMBER, 0, "per word",
     "'#', '...', '. . .' and U+2026 per word between white space", d_symbols, NULL},
    {"dclm.bullet_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, not blank, that begin with U+25CF, U+2022, '*' or '-'", d_bullets, NULL},
    {"dclm.ellipsis_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, not blank, that end with '...', '. . .' or U+2026", d_ellipses, NULL},
    {"dclm.non_alpha_words", ">", KJ_FILTER_SHARE, 0, "share of words",
     "words between white space without a letter", d_non_alpha, NULL},
    {"dclm.stop_words", "<", KJ_FILTER_COUNT, 0, "words",
     "words between white space that, lower-cased, are stop words, each time counted",
     d_stop_words, NULL},
    {"dclm.dup_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, stripped and not blank, that stand more than once, all copies counted",
     d_copies, NULL},
    {"dclm.dup_paras", ">", KJ_FILTER_SHARE, 1, "share of paragraphs",
     "paragraphs (split by two newlines) that stand more than once, all copies",
     d_copies, NULL},
    {"dclm.dup_line_chars", ">", KJ_FILTER_SHARE, 2, "share of characters of lines",
     "characters in lines that stand more than once, all copies counted", d_copies,
     NULL},
    {"dclm.dup_para_chars", ">", KJ_FILTER_SHARE, 3, "share of characters of lines",
     "characters in paragraphs that stand more than once, all copies", d_copies, NULL},
    DTOP(2, "two"),
    DTOP(3, "three"),
    DTOP(4, "four"),
    DDUP(5),
    DDUP(6),
    DDUP(7),
    DDUP(8),
    DDUP(9),
    DDUP(10),

    CLEAN("ko.nfc", KJ_FILTER_CLEAN, 0, "texts changed",
          "text in another form (NFD) is composed (NFC)", nfc),
    CLEAN("ko.half_jamo", KJ_FILTER_CLEAN, 0, "characters changed",
          "half-width jamo and full-width ASCII get their usual form", half_jamo),
    CLEAN("ko.jamo_runs", KJ_FILTER_COUNT, 0, "runs cut",
          "longer runs of one lone jamo, as in laughter, are cut to so many",
          jamo_runs),
    CLEAN("ko.news_tails", KJ_FILTER_CLEAN, 0, LINES,
          "lines that forbid copying, name a reporter and an address, or hold nothing "
          "but names of places to share are removed",
          news_tails),
    {"ko.hangul_share", "<", KJ_FILTER_SHARE, 0, "share of letters", "Hangul letters",
     k_hangul, NULL},
    {"ko.latin_share", ">", KJ_FILTER_SHARE, 0, "share of letters", "Latin letters",
     k_latin, NULL},
    {"ko.hanja_share", ">", KJ_FILTER_SHARE, 0, "share of letters", "Han characters",
     k_hanja, NULL},
    {"ko.lone_jamo", ">", KJ_FILTER_SHARE, 0, CHARS,
     "jamo that stand for themselves (U+3131..318E)", k_lone, NULL},
    {"ko.odd_jamo", ">", KJ_FILTER_SHARE, 0, CHARS, "half-width and conjoining jamo",
     k_odd, NULL},
    {"ko.laughs", ">", KJ_FILTER_NUMBER, 0, "per word",
     "runs of two or more of one jamo of laughter and tears, per word between white "
     "space",
     k_laughs, NULL},
    {"ko.spam_gambling", ">", KJ_FILTER_NUMBER, KJ_SPAM_GAMBLING, "per word",
     "words of advertisements for gambling; 0 unless four different ones occur", k_spam,
     NULL},
    {"ko.spam_loan", ">", KJ_FILTER_NUMBER, KJ_SPAM_LOAN, "per word",
     "words of advertisements for loans; 0 unless four different ones occur", k_spam,
     NULL},
    {"ko.spam_adult", ">", KJ_FILTER_NUMBER, KJ_SPAM_ADULT, "per word",
     "words of advertisements for sex; 0 unless four different ones occur", k_spam,
     NULL},
    {"ko.spam_doorway", ">", KJ_FILTER_NUMBER, KJ_SPAM_DOORWAY, "per word",
     "words of doorway pages; 0 unless four different ones occur", k_spam, NULL},

    {"pii.email", "", KJ_FILTER_MASK, KJ_PII_EMAIL, "addresses",
     "e-mail addresses; mask: replaced by example addresses in turn", NULL, NULL},
    {"pii.ipv4", "", KJ_FILTER_MASK, KJ_PII_IPV4, "addresses",
     "public IPv4 addresses; mask: replaced by six fixed ones in turn", NULL, NULL},
    MASK("pii.email_any", KJ_PII_EMAIL_ANY, "addresses",
         "e-mail addresses, also right behind a Korean letter; example addresses stay"),
    MASK("pii.ipv4_alone", KJ_PII_IPV4_ALONE, "addresses",
         "public IPv4 addresses that are no part of a longer number and stand not "
         "behind a word for version"),
    MASK("pii.ipv6", KJ_PII_IPV6, "addresses", "public IPv6 addresses"),
    MASK("pii.rrn", KJ_PII_RRN, "numbers",
         "Korean resident and foreigner registration numbers, by date and check digit "
         "or a word before them"),
    MASK("pii.card", KJ_PII_CARD, "numbers", "card numbers, by range and check digit"),
    MASK("pii.business", KJ_PII_BUSINESS, "numbers",
         "Korean business registration numbers, by check digit"),
    MASK("pii.driver", KJ_PII_DRIVER, "numbers", "Korean driver's licence numbers"),
    MASK("pii.phone", KJ_PII_PHONE, "numbers",
         "Korean mobile, land-line and 070 numbers, national or with +82"),
    MASK("pii.account", KJ_PII_ACCOUNT, "numbers",
         "account numbers behind the name of a bank or a word for account"),
    MASK("pii.passport", KJ_PII_PASSPORT, "numbers",
         "Korean passport numbers behind a word for passport"),
    {0},
};

const struct kj_filter_rule *kj_filter_rule_find(const char *name)
{
    for (const struct kj_filter_rule *r = kj_filter_rules; r->name; r++)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}
