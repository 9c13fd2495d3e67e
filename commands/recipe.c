/* recipe.c - reads the recipe of `kijil run` into steps with configurations. */
#include "commands/recipe.h"

#include "base/mem.h"
#include "commands/commands.h"
#include "tokenize/shards.h"
#include "tokenize/train.h"

#include <stdlib.h>
#include <string.h>

/* Options of one step: a mapping, or nothing (`- lid:` or `- lid`). */
static int step_options(struct kj_recipe_step *s, const struct kj_ynode *n,
                        struct kj_err *err)
{
    if (!n || (n->kind == KJ_Y_SCALAR && !n->scalar[0]))
        return KJ_OK;
    if (n->kind != KJ_Y_MAP)
        return kj_ynode_err(n, err, "%s takes its options as keys with values",
                            s->name);
    if (s->stage && s->stage->yaml)
        return s->stage->yaml(s->cfg, n, err);
    if (!s->more_opts)
        return kj_opt_yaml(s->opts, s->cfg, n, NULL, err);
    /* Two tables: a key of the second is left out of the first pass, and only
     * such keys are in the second. */
    const char *second[16] = {NULL}, *first[16] = {NULL};
    size_t a = 0, b = 0;
    for (size_t i = 0; i < n->n; i++) {
        bool theirs = false;
        for (const struct kj_opt *o = s->more_opts; o->name; o++)
            theirs |= strcmp(o->name, n->items[i]->key) == 0;
        if (theirs && b < 15)
            second[b++] = n->items[i]->key;
        else if (!theirs && a < 15)
            first[a++] = n->items[i]->key;
    }
    int rc = kj_opt_yaml(s->opts, s->cfg, n, second, err);
    return rc ? rc : kj_opt_yaml(s->more_opts, s->more, n, first, err);
}

static int add_step(struct kj_recipe *r, const struct kj_ynode *at, const char *name,
                    const struct kj_ynode *options, struct kj_err *err)
{
    struct kj_recipe_step *s = &r->steps[r->n];
    *s = (struct kj_recipe_step){.name = name, .node = at};
    size_t size;
    if (strcmp(name, "tokenizer") == 0) {
        s->opts = kj_tok_train_opts;
        size = sizeof(struct kj_tok_train);
    } else {
        s->stage = kj_stage_find(name);
        if (!s->stage)
            return kj_ynode_err(at, err, "there is no step '%s'", name);
        s->opts = s->stage->opts;
        size = s->stage->cfg_size;
    }
    if (s->stage == &kj_stage_tokenize) {
        s->more_opts = kj_shard_opts_table;
        s->more = kj_xcalloc(1, sizeof(struct kj_shard_opts));
    }
    r->n++;
    s->cfg = kj_xcalloc(1, size);
    int rc = s->opts ? kj_opt_defaults(s->opts, s->cfg, err) : KJ_OK;
    if (rc == KJ_OK && s->more_opts)
        rc = kj_opt_defaults(s->more_opts, s->more, err);
    if (rc == KJ_OK)
        rc = step_options(s, options, err);
    if (rc)
        kj_err_where(err, at->file, at->line);
    return rc;
}

static int read_steps(struct kj_recipe *r, const struct kj_ynode *list,
                      struct kj_err *err)
{
    if (list->kind != KJ_Y_SEQ || list->n == 0)
        return kj_ynode_err(list, err, "steps is a list, each item the name of a step");
    r->steps = kj_xcalloc(list->n, sizeof *r->steps);
    for (size_t i = 0; i < list->n; i++) {
        const struct kj_ynode *it = list->items[i], *opt = NULL;
        const char *name = it->scalar;
        if (it->kind == KJ_Y_MAP && it->n == 1) {
            opt = it->items[0];
            name = opt->key;
        } else if (it->kind != KJ_Y_SCALAR) {
            return kj_ynode_err(it, err, "a step is one name with its options");
        }
        int rc = add_step(r, it, name, opt, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

int kj_recipe_load(struct kj_recipe *r, const char *path, struct kj_err *err)
{
    memset(r, 0, sizeof *r);
    int rc = kj_yaml_load(&r->yaml, path, err);
    if (rc)
        return rc;
    const struct kj_ynode *root = kj_yaml_root(r->yaml), *steps = NULL;
    if (root->kind != KJ_Y_MAP)
        return kj_ynode_err(root, err, "a recipe has the keys about and steps");
    for (size_t i = 0; i < root->n; i++) {
        const struct kj_ynode *n = root->items[i];
        if (strcmp(n->key, "about") == 0 && n->kind == KJ_Y_SCALAR)
            r->about = n->scalar;
        else if (strcmp(n->key, "steps") == 0)
            steps = n;
        else
            return kj_ynode_err(
                n, err, "unknown key '%s'; a recipe has about and steps", n->key);
    }
    if (!steps)
        return kj_ynode_err(root, err, "the recipe has no steps");
    return read_steps(r, steps, err);
}

/* The fault may have a place of its own, in a model or in a recipe of rules;
 * the place in this recipe goes before it. */
static int open_failed(const struct kj_recipe_step *s, int rc, struct kj_err *err)
{
    char inner[sizeof err->msg];
    kj_err_text(err, inner, sizeof inner);
    kj_err_reset(err);
    kj_err_set(err, rc, "step %s: %s", s->name, inner);
    kj_err_where(err, s->node->file, s->node->line);
    return rc;
}

int kj_recipe_open(struct kj_recipe *r, struct kj_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        struct kj_recipe_step *s = &r->steps[i];
        /* tokenize opens a tokenizer that a step before it may have to train. */
        if (!s->stage || s->stage == &kj_stage_tokenize)
            continue;
        s->opened = true;
        int rc = s->stage->open ? s->stage->open(s->cfg, err) : KJ_OK;
        if (rc)
            return open_failed(s, rc, err);
    }
    return KJ_OK;
}

void kj_recipe_dump(const struct kj_recipe *r, struct kj_buf *out)
{
    for (size_t i = 0; i < r->n; i++) {
        kj_buf_printf(out, "step: %s\n", r->steps[i].name);
        if (r->steps[i].opts)
            kj_opt_dump(r->steps[i].opts, r->steps[i].cfg, out);
        if (r->steps[i].more_opts)
            kj_opt_dump(r->steps[i].more_opts, r->steps[i].more, out);
        const struct kj_stage *st = r->steps[i].stage;
        const struct kj_rule *rules;
        size_t n = st && st->rules ? st->rules(r->steps[i].cfg, &rules) : 0;
        for (size_t k = 0; k < n; k++)
            kj_buf_printf(out, "rule: %s %s %.17g\n", rules[k].name, rules[k].op,
                          rules[k].threshold);
    }
}

void kj_recipe_release(struct kj_recipe *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct kj_recipe_step *s = &r->steps[i];
        if (s->opened && s->stage->close)
            s->stage->close(s->cfg);
        if (s->opts)
            kj_opt_release(s->opts, s->cfg);
        if (s->more_opts)
            kj_opt_release(s->more_opts, s->more);
        free(s->more);
        free(s->cfg);
    }
    free(r->steps);
    kj_yaml_free(r->yaml);
    memset(r, 0, sizeof *r);
}
