/* measure.h - what rules measure: a function for each; rules.c has the table.
 *
 * Each gives one number of the text that f stands at, by the settings of the rule's
 * scope and its arg. Definitions: facts.h, and the rules' own lines in the table.
 * Whatever is counted is kept in f, so that rules share it.
 */
#ifndef KJ_FILTER_MEASURE_H
#define KJ_FILTER_MEASURE_H

struct kj_facts;
struct kj_filter_item;

/* language */
double kj_measure_lang_keep(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_lang_score(struct kj_facts *f, const struct kj_filter_item *it);

/* Gopher quality */
double kj_measure_n_words(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_mean_word_len(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_hash_ratio(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_ellipsis_ratio(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_bullet_lines(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_ellipsis_lines(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_alpha_words(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_stop_words(struct kj_facts *f, const struct kj_filter_item *it);

/* Gopher repetition */
double kj_measure_dup_lines(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_dup_line_chars(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_dup_paras(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_dup_para_chars(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_top_gram(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_dup_gram(struct kj_facts *f, const struct kj_filter_item *it);

/* FineWeb */
double kj_measure_line_punct(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_short_lines(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_char_dup(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_newlines(struct kj_facts *f, const struct kj_filter_item *it);

/* C4 */
double kj_measure_max_chars(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_lorem_ipsum(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_curly(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_sentences(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_long_lines(struct kj_facts *f, const struct kj_filter_item *it);

/* DCLM */
double kj_measure_d_tokens(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_removed(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_mean_len(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_symbols(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_bullets(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_ellipses(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_non_alpha(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_stop_words(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_copies(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_d_gram(struct kj_facts *f, const struct kj_filter_item *it);

/* Korean */
double kj_measure_k_hangul(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_hanja(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_latin(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_lone(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_odd(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_laughs(struct kj_facts *f, const struct kj_filter_item *it);
double kj_measure_k_spam(struct kj_facts *f, const struct kj_filter_item *it);

#endif
