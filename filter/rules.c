/* rules.c - the table of rules. Definitions: facts.h. A share of nothing is 0. */
#include <math.h>
#include <string.h>

#include "base/doc.h"
#include "filter/facts.h"
#include "filter/filter.h"
#include "filter/recipe.h"

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
    uint64_t lengths = 0; /* most words have a length that no stop word has */
    for (size_t k = 0; k < s->n_stop; k++)
        lengths |= 1ull << (strlen(s->stop_words[k]) & 63);
    for (size_t i = 0; i < w->n && seen != all; i++) {
        if (!(lengths >> ((w->bytes[i + 1] - w->bytes[i]) & 63) & 1))
            continue;
        uint64_t h = kj_facts_word_hash(f, w, i);
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
    return share(f->newlines, words(f, it)->n);
}

#define CHARS "share of characters"
#define TOP(N, WORD)                                                                   \
    {                                                                                  \
        "gopher.top_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters of the most frequent " WORD                                    \
            " words, joined by spaces, times its "                                     \
            "count",                                                                   \
            top_gram                                                                   \
    }
#define DUP(N)                                                                         \
    {                                                                                  \
        "gopher.dup_" #N "gram", ">", KJ_FILTER_SHARE, N, CHARS,                       \
            "characters in runs of " #N                                                \
            " words that stood before; the scan goes on behind "                       \
            "a hit",                                                                   \
            dup_gram                                                                   \
    }

const struct kj_filter_rule kj_filter_rules[] = {
    {"lang.keep", "<", KJ_FILTER_LIST, 0, "",
     "1 when the document's language is one of the list, else 0", lang_keep},
    {"lang.min_score", "<", KJ_FILTER_SHARE, 0, "probability",
     "language_score of the document; 0 when it has none", lang_score},

    {"gopher.min_words", "<", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", n_words},
    {"gopher.max_words", ">", KJ_FILTER_COUNT, 0, "words",
     "words with a character that is no punctuation", n_words},
    {"gopher.min_mean_word_len", "<", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation", mean_word_len},
    {"gopher.max_mean_word_len", ">", KJ_FILTER_NUMBER, 0, "characters",
     "mean length of the words with a character that is no punctuation", mean_word_len},
    {"gopher.hash_ratio", ">", KJ_FILTER_NUMBER, 0, "per word", "'#' signs per word",
     hash_ratio},
    {"gopher.ellipsis_ratio", ">", KJ_FILTER_NUMBER, 0, "per word",
     "'...' and U+2026 per word", ellipsis_ratio},
    {"gopher.bullet_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that begin with U+2022 or '-', white space aside", bullet_lines},
    {"gopher.ellipsis_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines that end with '...' or U+2026, white space aside", ellipsis_lines},
    {"gopher.alpha_words", "<", KJ_FILTER_SHARE, 0, "share of words",
     "words with a letter", alpha_words},
    {"gopher.stop_words", "<", KJ_FILTER_COUNT, 0, "words",
     "how many different stop words occur, case as it is", stop_words},

    {"gopher.dup_paras", ">", KJ_FILTER_SHARE, 0, "share of paragraphs",
     "paragraphs (split by two or more newlines) that repeat an earlier one",
     dup_paras},
    {"gopher.dup_para_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in paragraphs that repeat an earlier one", dup_para_chars},
    {"gopher.dup_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines (split by runs of newlines) that repeat an earlier one", dup_lines},
    {"gopher.dup_line_chars", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines that repeat an earlier one", dup_line_chars},
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
     line_punct},
    {"fineweb.short_lines", ">", KJ_FILTER_SHARE, 0, "share of lines",
     "lines of at most short_line (30) characters, of those not blank", short_lines},
    {"fineweb.char_dup", ">", KJ_FILTER_SHARE, 0, CHARS,
     "characters in lines, not blank, that repeat an earlier one; newlines not counted",
     char_dup},
    {"fineweb.newlines", ">", KJ_FILTER_NUMBER, 0, "per word", "newlines per word",
     newlines},

    {"pii.email", "", KJ_FILTER_MASK, 0, "addresses",
     "e-mail addresses; mask: replaced by example addresses in turn", NULL},
    {"pii.ipv4", "", KJ_FILTER_MASK, 0, "addresses",
     "public IPv4 addresses; mask: replaced by six fixed ones in turn", NULL},
    {0},
};

const struct kj_filter_rule *kj_filter_rule_find(const char *name)
{
    for (const struct kj_filter_rule *r = kj_filter_rules; r->name; r++)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}
