/* filter.h - rules on one document: what they are, and the stage that runs them.
 *
 * A rule measures one number of a document and compares it with a threshold
 * from a recipe (recipes/NAME.yaml). Rules are rows of one table: adding one is
 * a function (filter/measure.c) and a row (filter/rules.c). All rules of the
 * recipe that apply to a document are measured, and every value goes into the
 * document's signals, whether it stays or not; the first rule in recipe order
 * that fails is the reason why it goes. With `first` those behind it are not
 * measured: recipes whose cheap rules come first are then quick where most
 * documents go. So it is without `first` where nobody sees the values of what
 * goes (stage.h, only_kept).
 *
 * Recipes. A mapping of
 *
 *   about:     what it is, for people
 *   include:   recipes whose rules come first: a name or a list
 *   words:     uax29 | whitespace | morpheme - what counts as a word (default
 *              uax29); morpheme is for Korean (filter/morph.h)
 *   stop_words: [the, be, ...]   for gopher.stop_words
 *   short_line: 30               for fineweb.short_lines, in characters
 *   rules:     in order, each one of
 *                - gopher.min_words: 50         threshold, as NUMBER or N%
 *                - lang.keep: [ko, en]          a list, where the rule takes one
 *                - pii.email: mask              or count
 *                - c4.citations: clean          or count
 *                - gopher.min_words: off        takes it out
 *                - {when: {language: ko}, rules: [...]}       a group, which may
 *                - {unless: {language: [ko, ja]}, rules: ...} have its own words,
 *                                               stop_words and short_line
 *                - include: NAME                rules of another recipe, here
 *
 * Cleaning rules (filter/clean.h) rewrite the text at their place in the recipe
 * and drop nothing; their value is what they removed. Rules behind them measure
 * the text that they left. Masks run behind all others.
 *
 * Conditions compare language, language_script, source or dump. Where a rule
 * stands more than once, the last one whose conditions hold for a document
 * counts (so an include is overridden by naming the rule again); one that has
 * the same conditions as an earlier one takes over its place. Settings given
 * beside an include win over those in the included file.
 *
 * A name is looked up as a path, then as NAME.yaml beside the including file,
 * in the folder of --recipes-dir, in that of KIJIL_RECIPES, in ./recipes, and
 * in the recipes of the program (../../recipes and ../share/kijil/recipes from
 * where it lies).
 */
#ifndef KJ_FILTER_H
#define KJ_FILTER_H

#include <stddef.h>

#include "base/mem.h"
#include "base/stage.h"

struct kj_facts;
struct kj_filter_item;

enum kj_filter_kind {
    KJ_FILTER_COUNT = 1, /* whole number >= 0 */
    KJ_FILTER_NUMBER,    /* >= 0 */
    KJ_FILTER_SHARE,     /* 0..1 */
    KJ_FILTER_LIST,      /* words; the value is 1 when the document's is one */
    KJ_FILTER_MASK,      /* mask | count: rewrites the text, drops nothing */
    KJ_FILTER_CLEAN      /* clean | count: likewise, at its place in the recipe */
};

struct kj_filter_rule {
    const char *name;
    const char *op; /* what is dropped: "<" or ">" */
    enum kj_filter_kind kind;
    unsigned arg; /* for measure: the n of n-grams */
    const char *unit;
    const char *about; /* the definition, in one line */
    double (*measure)(struct kj_facts *f, const struct kj_filter_item *it);
    /* Set for cleaning rules (clean.h), whatever they take. */
    int (*clean)(const struct kj_filter_item *it, struct kj_str text,
                 struct kj_buf *out, size_t *count);
};

enum { KJ_FILTER_RULES_MAX = 256 };

/* All rules, ended by a zero row; and the row of a name, or NULL. */
extern const struct kj_filter_rule kj_filter_rules[];
const struct kj_filter_rule *kj_filter_rule_find(const char *name);

extern const struct kj_opt kj_filter_opts[];
extern const struct kj_stage kj_stage_filter;

#endif
