/* measure.c - the numbers of a text that rules compare. A share of nothing is 0. */
#include "filter/measure.h"

#include <math.h>
#include <string.h>

#include "base/doc.h"
#include "filter/dclm.h"
#include "filter/facts.h"
#include "filter/filter.h"
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

double kj_measure_lang_keep(struct kj_facts *f, const struct kj_filter_item *it)
{
    for (size_t i = 0; i < it->n_values; i++)
        if (kj_str_is(f->doc->language, it->values[i]))
            return 1;
    return 0;
}

double kj_measure_lang_score(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return isnan(f->doc->language_score) ? 0 : f->doc->language_score;
}

/* ---- Gopher quality ---- */

double kj_measure_n_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    return (double)words(f, it)->n_solid;
}

double kj_measure_mean_word_len(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    return share(w->solid_chars, w->n_solid);
}

double kj_measure_hash_ratio(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->hashes, words(f, it)->n);
}

double kj_measure_ellipsis_ratio(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->ellipses, words(f, it)->n);
}

double kj_measure_bullet_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_py_lines(f);
    return share(l->py_bullet, l->py);
}

double kj_measure_ellipsis_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_py_lines(f);
    return share(l->py_ellipsis, l->py);
}

double kj_measure_alpha_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    return share(w->n_alpha, w->n);
}

/* A filter on the top 8 bits of hashes: 1 for those of one in the list. */
static void sift(const uint64_t *hash, size_t n, uint64_t maybe[4])
{
    memset(maybe, 0, 4 * sizeof *maybe);
    for (size_t k = 0; k < n; k++)
        maybe[hash[k] >> 62] |= 1ull << (hash[k] >> 56 & 63);
}

/* Those that were seen leave the list, so the commonest words pass quickly. */
double kj_measure_stop_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = words(f, it);
    size_t all = it->scope->n_stop, left = all;
    uint64_t hash[KJ_STOP_WORDS_MAX] = {0}, maybe[4];
    for (size_t k = 0; k < all; k++)
        hash[k] = it->scope->stop_hash[k];
    sift(hash, left, maybe);
    for (size_t i = 0; i < w->n && left > 0; i++) {
        uint64_t h = w->hash[i];
        if (!(maybe[h >> 62] >> (h >> 56 & 63) & 1))
            continue;
        size_t rest = 0;
        for (size_t k = 0; k < left; k++)
            if (hash[k] != h)
                hash[rest++] = hash[k];
        if (rest == left)
            continue;
        left = rest;
        sift(hash, left, maybe);
    }
    return (double)(all - left);
}

/* ---- Gopher repetition ---- */

double kj_measure_dup_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->dup_pieces, l->pieces);
}

double kj_measure_dup_line_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(lines(f, it)->dup_piece_chars, f->chars);
}

double kj_measure_dup_paras(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    const struct kj_lines *l = kj_facts_paras(f);
    return share(l->dup_paras, l->paras);
}

double kj_measure_dup_para_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_facts_paras(f)->dup_para_chars, f->chars);
}

double kj_measure_top_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(kj_facts_top(f, it->scope->words, it->rule->arg), f->chars);
}

double kj_measure_dup_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(kj_facts_dup(f, it->scope->words, it->rule->arg), f->chars);
}

/* ---- FineWeb ---- */

double kj_measure_line_punct(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->full_punct, l->full);
}

double kj_measure_short_lines(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_lines *l = lines(f, it);
    return share(l->full_short, l->full);
}

double kj_measure_char_dup(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(lines(f, it)->dup_full_chars, f->chars - f->newlines);
}

double kj_measure_newlines(struct kj_facts *f, const struct kj_filter_item *it)
{
    return share(f->newlines, kj_facts_word_count(f, it->scope->words));
}

/* ---- C4 ---- */

double kj_measure_max_chars(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)f->chars;
}

static struct kj_str text(const struct kj_facts *f)
{
    return (struct kj_str){f->p, f->n};
}

double kj_measure_lorem_ipsum(struct kj_facts *f, const struct kj_filter_item *it)
{
    size_t at, len;
    (void)it;
    return kj_text_find(text(f), "lorem ipsum", KJ_FOLD_LOWER, &at, &len);
}

double kj_measure_curly(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return f->n && memchr(f->p, '{', f->n) != NULL;
}

double kj_measure_sentences(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)kj_dclm_sentences(text(f));
}

double kj_measure_long_lines(struct kj_facts *f, const struct kj_filter_item *it)
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

double kj_measure_d_tokens(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return (double)kj_dclm_tokens(text(f));
}

double kj_measure_d_removed(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    size_t came = kj_dclm_tokens(f->came), left = kj_dclm_tokens(text(f));
    return came > left ? share(came - left, came) : 0;
}

double kj_measure_d_mean_len(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_SPACE);
    (void)it;
    return share(w->chars[w->n], w->n);
}

double kj_measure_d_symbols(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_dclm_symbols(f), kj_facts_words(f, KJ_WORDS_SPACE)->n);
}

double kj_measure_d_bullets(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_segments *g = kj_dclm_lines(f);
    (void)it;
    return share(g->bullets, g->n);
}

double kj_measure_d_ellipses(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_segments *g = kj_dclm_lines(f);
    (void)it;
    return share(g->ellipses, g->n);
}

double kj_measure_d_non_alpha(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_SPACE);
    (void)it;
    return share(w->n - w->n_alpha, w->n);
}

double kj_measure_d_stop_words(struct kj_facts *f, const struct kj_filter_item *it)
{
    return (double)kj_dclm_stop_words(text(f), it->scope->stop_words,
                                      it->scope->n_stop);
}

/* arg: 1 paragraphs, 2 characters */
double kj_measure_d_copies(struct kj_facts *f, const struct kj_filter_item *it)
{
    unsigned arg = it->rule->arg;
    const struct kj_segments *g = arg & 1 ? kj_dclm_paras(f) : kj_dclm_lines(f);
    return arg & 2 ? share(g->copy_chars, g->chars) : share(g->copies, g->n);
}

double kj_measure_d_gram(struct kj_facts *f, const struct kj_filter_item *it)
{
    unsigned n = it->rule->arg;
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_ALNUM);
    return share(n < 5 ? kj_dclm_top(f, n) : kj_dclm_dup(f, n), w->chars[w->n]);
}

/* ---- Korean ---- */

double kj_measure_k_hangul(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->hangul, k->letters);
}

double kj_measure_k_hanja(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->hanja, k->letters);
}

double kj_measure_k_latin(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->latin, k->letters);
}

double kj_measure_k_lone(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->lone, k->chars);
}

double kj_measure_k_odd(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    (void)it;
    return share(k->half + k->conjoining, k->chars);
}

double kj_measure_k_laughs(struct kj_facts *f, const struct kj_filter_item *it)
{
    (void)it;
    return share(kj_facts_korean(f)->laughs, kj_facts_words(f, KJ_WORDS_SPACE)->n);
}

double kj_measure_k_spam(struct kj_facts *f, const struct kj_filter_item *it)
{
    const struct kj_korean *k = kj_facts_korean(f);
    unsigned list = it->rule->arg;
    return k->kinds[list] < 4
               ? 0
               : share(k->spam[list], kj_facts_words(f, KJ_WORDS_SPACE)->n);
}
