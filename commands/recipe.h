/* recipe.h - the recipe of `kijil run`: a list of steps, each the name of a
 * stage (or of a corpus step) with its options.
 *
 *     about: one line
 *     steps:
 *       - extract: {format: text}
 *       - lid: {keep: [ko, en]}
 *       - tokenizer: {vocab_size: 8192}
 *       - tokenize: {}
 *
 * Keys are the option names of the command of the same name. What is wrong is
 * KJ_USAGE with file and line, before any document is read.
 */
#ifndef KJ_COMMANDS_RECIPE_H
#define KJ_COMMANDS_RECIPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/stage.h"
#include "base/yaml.h"

struct kj_recipe_step {
    const char *name;             /* key in the recipe */
    const struct kj_stage *stage; /* NULL for `tokenizer` */
    void *cfg;                    /* owned; of the stage or of the corpus step */
    const struct kj_opt *opts;    /* its table */
    void *more;                   /* tokenize: the writer's options; owned */
    const struct kj_opt *more_opts;
    const struct kj_ynode *node;
    bool opened;
};

struct kj_recipe {
    struct kj_yaml *yaml;
    const char *about;
    struct kj_recipe_step *steps;
    size_t n;
};

int kj_recipe_load(struct kj_recipe *r, const char *path, struct kj_err *err);
/* Open every stage: models and rules are read now. */
int kj_recipe_open(struct kj_recipe *r, struct kj_err *err);
/* "key: value" lines of the resolved steps, for the ledger and --dry-run. */
void kj_recipe_dump(const struct kj_recipe *r, struct kj_buf *out);
void kj_recipe_release(struct kj_recipe *r);

#endif
