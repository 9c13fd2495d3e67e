/* rules.c - the table of rules. Definitions: facts.h. */
#include <string.h>

#include "filter/clean.h"
#include "filter/filter.h"
#include "filter/korean.h"
#include "filter/measure.h"
#include "filter/pii.h"

#define CHARS "share of characters"
#define TOP(N, WORD)                                                                   \
    {                                                                                  \
        "gopher.top_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters of the most frequent " WORD                                    \
            " words, joined by spaces, times its "                                     \
            "count",                                                                   \
            kj_measure_top_gram, NULL                                                  \
    }
#define DUP(N)                                                                         \
    {                                                                                  \
        "gopher.dup_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters in runs of " #N                                                \
            " words that stood before; the scan goes on behind "                       \
            "a hit",                                                                   \
            kj_measure_dup_gram, NULL                                                  \
    }
#define DTOP(N, WORD)                                                                  \
    {                                                                                  \
        "dclm.top_" #N "gram", ">", KJ_FILTER_SHARE, N, WCHARS,                        \
            "characters of the longest of the most frequent " WORD                     \
            " words, times its count; 0 if none repeats",                              \
            kj_measure_d_gram, NULL                                                    \
    }
#define DDUP(N)                                                                        \
    {                                                                                  \
        "dclm.dup_" #N "gram", ">", KJ_FILTER_SHARE, N, WCHARS,                        \
            "characters of words that lie in runs of " #N                              \
            " words which stand more than once, all copies counted",                   \
            kj_measure_d_gram, NULL                                                    \
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
     "1 when the document's language is one of the list, else 0", kj_measure_lang_keep,
     NULL},
    {"lang.min_score", "<", KJ_FILTER_SHARE, 0, "probability",
     "language_score of the document; 0 when it has none", kj_measure_lang_score, NULL},

    {"gopher.min_words", "<", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", kj_measure_n_words, NULL},
    {"gopher.max_words", ">", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", kj_measure_n_words, NULL},
    {"gopher.min_mean_word_len", "<", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation",
     kj_measure_mean_word_len, NULL},
    {"gopher.max_mean_word_len", ">", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation",
     kj_measure_mean_word_len, NULL},
    {"gopher.hash_ratio", ">", KJ_FILTER_NUMBER, 0, "per word", "'#' signs per word",
     kj_measure_hash_ratio, NULL},
    {"gopher.ellipsis_ratio", ">", KJ_FILTER_NUMBER, 0, "per word",
     "'...' and U+2026 per word", kj_measure_ellipsis_ratio, NULL},
    {"gopher.bullet_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that begin with U+2022 or '-', white space aside", kj_measure_bullet_lines,
     NULL},
    {"gopher.ellipsis_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that end with '...' or U+2026, white space aside",
     kj_measure_ellipsis_lines, NULL},
    {"gopher.alpha_words", "<", KJ_FILTER_SHARE, 0, "share of words",
     "words with a letter", kj_measure_alpha_words, NULL},
    {"gopher.stop_words", "<", KJ_FILTER_COUNT, 0, "words",
     "how many different stop words occur, case as it is", kj_measure_stop_words, NULL},

    {"gopher.dup_paras", ">", KJ_FILTER_SHARE, 0, "share of paragraphs",
     "paragraphs (split by two or more newlines) that repeat an earlier one",
     kj_measure_dup_paras, NULL},
    {"gopher.dup_para_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in paragraphs that repeat an earlier one", kj_measure_dup_para_chars,
     NULL},
    {"gopher.dup_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines (split by runs of newlines) that repeat an earlier one",
     kj_measure_dup_lines, NULL},
    {"gopher.dup_line_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines that repeat an earlier one", kj_measure_dup_line_chars, NULL},
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
     kj_measure_line_punct, NULL},
    {"fineweb.short_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines of at most short_line (30) characters, of those not blank",
     kj_measure_short_lines, NULL},
    {"fineweb.char_dup", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines, not blank, that repeat an earlier one; newlines not counted",
     kj_measure_char_dup, NULL},
    {"fineweb.newlines", ">", KJ_FILTER_NUMBER, 0, "per word", "newlines per word",
     kj_measure_newlines, NULL},

    CLEAN("text.split_lines", KJ_FILTER_CLEAN, 0, "lines changed",
          "line breaks of all kinds become newlines, lines are stripped", split_lines),
    CLEAN("text.strip", KJ_FILTER_CLEAN, 0, "texts changed",
          "white space at both ends of the text is removed", strip),
    CLEAN("text.max_newlines", KJ_FILTER_COUNT, 0, "runs cut",
          "runs of more newlines are cut to so many", max_newlines),
    {"text.max_chars", ">", KJ_FILTER_COUNT, 0, "characters", "characters of the text",
     kj_measure_max_chars, NULL},

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
     "1 when the text, lower-cased, holds 'lorem ipsum', else 0",
     kj_measure_lorem_ipsum, NULL},
    {"c4.curly_bracket", ">", KJ_FILTER_COUNT, 0, "",
     "1 when the text holds a '{', else 0", kj_measure_curly, NULL},
    {"c4.min_sentences", "<", KJ_FILTER_COUNT, 0, "sentences",
     "lines not blank, and ends of sentences inside them (. ? ! U+2026 before white "
     "space and no lower-case letter; not behind an abbreviation)",
     kj_measure_sentences, NULL},
    {"c4.long_lines", "<", KJ_FILTER_COUNT, 0, "lines",
     "lines of 200 characters or more", kj_measure_long_lines, NULL},

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
     "words (as in dclm.min_words) that earlier rules have removed",
     kj_measure_d_removed, NULL},
    {"dclm.min_words", "<", KJ_FILTER_COUNT, 0, "words",
     "runs between ASCII white space that begin with a letter or digit",
     kj_measure_d_tokens, NULL},
    {"dclm.max_words", ">", KJ_FILTER_COUNT, 0, "words",
     "runs between ASCII white space that begin with a letter or digit",
     kj_measure_d_tokens, NULL},
    {"dclm.min_mean_word_len", "<", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of words between white space", kj_measure_d_mean_len, NULL},
    {"dclm.max_mean_word_len", ">", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of words between white space", kj_measure_d_mean_len, NULL},
    {"dclm.symbol_ratio", ">", KJ_FILTER_NUMBER, 0, "per word",
     "'#', '...', '. . .' and U+2026 per word between white space",
     kj_measure_d_symbols, NULL},
    {"dclm.bullet_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, not blank, that begin with U+25CF, U+2022, '*' or '-'",
     kj_measure_d_bullets, NULL},
    {"dclm.ellipsis_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, not blank, that end with '...', '. . .' or U+2026", kj_measure_d_ellipses,
     NULL},
    {"dclm.non_alpha_words", ">", KJ_FILTER_SHARE, 0, "share of words",
     "words between white space without a letter", kj_measure_d_non_alpha, NULL},
    {"dclm.stop_words", "<", KJ_FILTER_COUNT, 0, "words",
     "words between white space that, lower-cased, are stop words, each time counted",
     kj_measure_d_stop_words, NULL},
    {"dclm.dup_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines, stripped and not blank, that stand more than once, all copies counted",
     kj_measure_d_copies, NULL},
    {"dclm.dup_paras", ">", KJ_FILTER_SHARE, 1, "share of paragraphs",
     "paragraphs (split by two newlines) that stand more than once, all copies",
     kj_measure_d_copies, NULL},
    {"dclm.dup_line_chars", ">", KJ_FILTER_SHARE, 2, "share of characters of lines",
     "characters in lines that stand more than once, all copies counted",
     kj_measure_d_copies, NULL},
    {"dclm.dup_para_chars", ">", KJ_FILTER_SHARE, 3, "share of characters of lines",
     "characters in paragraphs that stand more than once, all copies",
     kj_measure_d_copies, NULL},
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
     kj_measure_k_hangul, NULL},
    {"ko.latin_share", ">", KJ_FILTER_SHARE, 0, "share of letters", "Latin letters",
     kj_measure_k_latin, NULL},
    {"ko.hanja_share", ">", KJ_FILTER_SHARE, 0, "share of letters", "Han characters",
     kj_measure_k_hanja, NULL},
    {"ko.lone_jamo", ">", KJ_FILTER_SHARE, 0, CHARS,
     "jamo that stand for themselves (U+3131..318E)", kj_measure_k_lone, NULL},
    {"ko.odd_jamo", ">", KJ_FILTER_SHARE, 0, CHARS, "half-width and conjoining jamo",
     kj_measure_k_odd, NULL},
    {"ko.laughs", ">", KJ_FILTER_NUMBER, 0, "per word",
     "runs of two or more of one jamo of laughter and tears, per word between white "
     "space",
     kj_measure_k_laughs, NULL},
    {"ko.spam_gambling", ">", KJ_FILTER_NUMBER, KJ_SPAM_GAMBLING, "per word",
     "words of advertisements for gambling; 0 unless four different ones occur",
     kj_measure_k_spam, NULL},
    {"ko.spam_loan", ">", KJ_FILTER_NUMBER, KJ_SPAM_LOAN, "per word",
     "words of advertisements for loans; 0 unless four different ones occur",
     kj_measure_k_spam, NULL},
    {"ko.spam_adult", ">", KJ_FILTER_NUMBER, KJ_SPAM_ADULT, "per word",
     "words of advertisements for sex; 0 unless four different ones occur",
     kj_measure_k_spam, NULL},
    {"ko.spam_doorway", ">", KJ_FILTER_NUMBER, KJ_SPAM_DOORWAY, "per word",
     "words of doorway pages; 0 unless four different ones occur", kj_measure_k_spam,
     NULL},

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
