/* recipe.h - filter recipes, compiled: one list of rules with their conditions.
 *
 * The format is in filter.h. Whatever is wrong in a file is KJ_USAGE with file
 * and line, before any document is read. Read-only once compiled.
 */
#ifndef KJ_FILTER_RECIPE_H
#define KJ_FILTER_RECIPE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "filter/facts.h"
#include "filter/filter.h"

struct kj_doc;
struct kj_err;
struct kj_yaml;
struct kj_ynode;

#define KJ_STOP_WORDS_MAX 64

enum kj_filter_field {
    KJ_ON_ALL,
    KJ_ON_LANGUAGE,
    KJ_ON_SCRIPT,
    KJ_ON_SOURCE,
    KJ_ON_DUMP
};

/* Documents for which rules hold, and the settings of those rules. */
struct kj_filter_scope {
    const struct kj_filter_scope *parent; /* holds only where this one does */
    size_t number;                        /* index in the recipe's list */
    const char *text; /* all conditions: "language=ko"; "" = every document */
    enum kj_filter_field field;
    bool unless;
    const char **values;
    size_t n_values;
    /* settings */
    enum kj_word_unit words;
    size_t short_line;
    const char **stop_words;
    uint64_t *stop_hash;
    size_t n_stop;
};

enum { KJ_MASK_COUNT = 1, KJ_MASK_REWRITE };

struct kj_filter_item {
    const struct kj_filter_rule *rule;
    const struct kj_filter_scope *scope;
    bool off;
    double threshold;    /* MASK: KJ_MASK_*; LIST: 1 */
    const char **values; /* LIST */
    size_t n_values;
};

struct kj_filter_recipe {
    struct kj_filter_item *items;
    size_t n, cap;
    struct kj_filter_scope **scopes; /* a parent comes before its children */
    size_t n_scopes;
    struct kj_arena arena; /* scopes, values, names */
    const char *dir;       /* --recipes-dir; borrowed */
};

void kj_filter_recipe_init(struct kj_filter_recipe *r, const char *dir);
void kj_filter_recipe_release(struct kj_filter_recipe *r);

/* Add a recipe by name or path; or one that stands in a file already read. */
int kj_filter_recipe_add(struct kj_filter_recipe *r, const char *name,
                         struct kj_err *err);
int kj_filter_recipe_add_node(struct kj_filter_recipe *r, const struct kj_ynode *map,
                              struct kj_err *err);
/* Add the rules of `more` (whose memory must outlive r). */
int kj_filter_recipe_append(struct kj_filter_recipe *r,
                            const struct kj_filter_recipe *more, struct kj_err *err);
/* "RULE=VALUE": in every place of the rule, or as a new one at the end. */
int kj_filter_recipe_set(struct kj_filter_recipe *r, const char *word,
                         struct kj_err *err);

/* The file of a recipe: a path, or a name that is looked up beside another recipe
 * (a file, or NULL), in dir (or NULL) and where filter.h says. */
bool kj_filter_recipe_find(const char *beside, const char *dir, const char *name,
                           char path[PATH_MAX], struct stat *st);

/* Which scopes hold for d: on[scope.number], r->n_scopes entries. */
void kj_filter_recipe_scopes(const struct kj_filter_recipe *r, const struct kj_doc *d,
                             bool *on);

#endif
