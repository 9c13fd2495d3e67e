/* Recipes: what they mean, and that whatever is wrong is refused with its line;
 * and the stage on documents, as a run would use it. */
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/yaml.h"
#include "filter/filter.h"
#include "filter/recipe.h"
#include "tests/unit/test.h"

static char dir[] = "/tmp/kijil-recipe-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.yaml", dir, name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static int load(struct kj_filter_recipe *r, const char *text, struct kj_err *err)
{
    put("main", text);
    kj_filter_recipe_init(r, dir);
    kj_err_reset(err);
    return kj_filter_recipe_add(r, "main", err);
}

static void refused(const char *text, int line, const char *words)
{
    struct kj_filter_recipe r;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(load(&r, text, &err), KJ_USAGE);
    if (!CHECK_INT(err.pos, line) || !CHECK(strstr(err.msg, words)))
        printf("     message: %s (wanted: %s)\n", err.msg, words);
    kj_filter_recipe_release(&r);
}

static void test_errors(void)
{
    refused("rules:\n  - gopher.min_word: 50\n", 2,
            "there is no rule 'gopher.min_word'");
    refused("about: x\nrule:\n  - gopher.min_words: 50\n", 2, "no key 'rule'");
    refused("rules:\n  - gopher.min_words: many\n", 2, "takes a number");
    refused("rules:\n  - gopher.min_words: 10%\n", 2, "whole number");
    refused("rules:\n  - gopher.min_words: 1.5\n", 2, "whole number");
    refused("rules:\n  - gopher.min_words: -1\n", 2, "whole number");
    refused("rules:\n  - gopher.min_words: nan\n", 2, "takes a number");
    refused("rules:\n  - gopher.min_words: [1, 2]\n", 2, "takes one value");
    refused("rules:\n  - fineweb.short_lines: 999\n", 2, "is a share");
    refused("rules:\n  - gopher.hash_ratio: 10%\n", 2, "no %");
    refused("rules:\n  - pii.email: 1\n", 2, "mask, count or off");
    refused("rules:\n  - lang.keep: {a: b}\n", 2, "list");
    refused("rules:\n  - gopher.min_words: 1\n    gopher.max_words: 2\n", 2,
            "one rule");
    refused("rules: 5\n", 1, "rules is a list");
    refused("- a\n", 1, "mapping");
    refused("words: kiwi\n", 1, "uax29, whitespace or morpheme");
    refused("short_line: long\n", 1, "short_line");
    refused("stop_words: [a, a]\n", 1, "twice");
    refused("rules:\n  - when: {tongue: ko}\n    rules: []\n", 2, "conditions are on");
    refused("rules:\n  - when: ko\n    rules: []\n", 2, "takes conditions");
    refused("when: {language: ko}\nrules: []\n", 1, "no key 'when'");
    refused("rules:\n  - gopher.min_words: 1\n\n  - include: nowhere\n", 4,
            "no recipe");
    refused("include: main\n", 1, "includes itself");
    put("loop", "about: x\ninclude: main\n");
    refused("include: loop\n", 2, "includes itself");
    put("broken", "rules:\n  - fineweb.newlines: x\n");
    refused("include: broken\n", 2, "fineweb.newlines takes a number");
}

static const struct kj_filter_item *item(const struct kj_filter_recipe *r,
                                         const char *name, const char *where)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->items[i].rule->name, name) == 0 &&
            strcmp(r->items[i].scope->text, where) == 0)
            return &r->items[i];
    return NULL;
}

static void test_meaning(void)
{
    struct kj_filter_recipe r;
    struct kj_err err = KJ_ERR_INIT;
    put("base", "words: uax29\nshort_line: 20\nrules:\n  - gopher.min_words: 50\n"
                "  - gopher.max_words: 1000\n  - gopher.alpha_words: 80%\n");
    CHECK_INT(load(&r,
                   "words: whitespace\ninclude: base\nrules:\n"
                   "  - gopher.max_words: 9\n  - gopher.alpha_words: off\n"
                   "  - when: {language: ko}\n    words: uax29\n    stop_words: [의]\n"
                   "    rules:\n      - gopher.min_words: 20\n"
                   "      - unless: {source: [a, b]}\n        rules:\n"
                   "          - gopher.stop_words: 1\n",
                   &err),
              KJ_OK);
    CHECK_INT(r.n, 5);
    const struct kj_filter_item *it = item(&r, "gopher.min_words", "");
    /* What the includer sets wins over the included file; the rest stays. */
    CHECK(it && it->threshold == 50 && it->scope->words == KJ_WORDS_SPACE &&
          it->scope->short_line == 20 && it->scope->n_stop == 8);
    CHECK(it == &r.items[0]);
    it = item(&r, "gopher.max_words", "");
    CHECK(it == &r.items[1] && it->threshold == 9 && it->scope->short_line == 30);
    it = item(&r, "gopher.alpha_words", "");
    CHECK(it && it->off);
    it = item(&r, "gopher.min_words", "language=ko");
    CHECK(it && it->threshold == 20 && it->scope->words == KJ_WORDS_UAX29);
    it = item(&r, "gopher.stop_words", "language=ko;not source=a,b");
    CHECK(it && it->scope->n_stop == 1 && it->scope->words == KJ_WORDS_UAX29);

    CHECK_INT(kj_filter_recipe_set(&r, "gopher.min_words=7", &err), KJ_OK);
    CHECK(item(&r, "gopher.min_words", "")->threshold == 7);
    CHECK(item(&r, "gopher.min_words", "language=ko")->threshold == 7);
    CHECK_INT(kj_filter_recipe_set(&r, "fineweb.newlines=0.5", &err), KJ_OK);
    CHECK(item(&r, "fineweb.newlines", "")->threshold == 0.5);
    CHECK_INT(kj_filter_recipe_set(&r, "lang.keep=ko,en", &err), KJ_OK);
    CHECK_INT(item(&r, "lang.keep", "")->n_values, 2);
    CHECK_INT(kj_filter_recipe_set(&r, "gopher.min_words", &err), KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(kj_filter_recipe_set(&r, "gopher.nothing=1", &err), KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(kj_filter_recipe_set(&r, "gopher.min_words=x", &err), KJ_USAGE);
    kj_filter_recipe_release(&r);
}

/* The stage on three documents, configured by the text of a run recipe. */
static void test_stage(void)
{
    static const char text[] =
        "filter:\n  mark: false\n  rules:\n"
        "    - lang.keep: [ko, en]\n    - gopher.min_words: 3\n"
        "    - when: {language: ko}\n      rules:\n"
        "        - gopher.min_words: 2\n"
        "    - gopher.max_mean_word_len: 4\n    - pii.email: mask\n";
    const struct kj_stage *st = &kj_stage_filter;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_yaml *y;
    void *cfg = calloc(1, st->cfg_size), *state = calloc(1, st->state_size);
    CHECK_INT(kj_yaml_parse(&y, text, strlen(text), "run.yaml", &err), KJ_OK);
    CHECK_INT(kj_opt_defaults(st->opts, cfg, &err), KJ_OK);
    CHECK_INT(st->yaml(cfg, kj_ynode_get(kj_yaml_root(y), "filter"), &err), KJ_OK);
    CHECK_INT(st->open(cfg, &err), KJ_OK);
    kj_yaml_free(y); /* nothing is borrowed from it but options */
    CHECK_INT(st->begin(cfg, state, &err), KJ_OK);
    const struct kj_rule *rules;
    CHECK_INT(st->rules(cfg, &rules), 5);

    struct kj_batch b;
    kj_batch_init(&b);
    static const struct {
        const char *language, *text, *rule;
    } docs[] = {{"ko", "두 낱말", NULL},
                {"en", "two words", "gopher.min_words"},
                {"en", "one mail a@b.cc", NULL},
                {"fr", "un deux", "lang.keep"},
                {"en", "lengthy reasonable sentences", "gopher.max_mean_word_len"}};
    for (size_t i = 0; i < 5; i++) {
        struct kj_doc *d = kj_batch_add(&b);
        d->language = kj_str_z(docs[i].language);
        d->text = kj_str_z(docs[i].text);
    }
    CHECK_INT(st->run(cfg, state, &b, &err), KJ_OK);
    for (size_t i = 0; i < 5; i++) {
        const char *rule = b.docs[i].out.rule;
        CHECK_STR(rule ? rule : "kept", rule ? strlen(rule) : 4,
                  docs[i].rule ? docs[i].rule : "kept");
        /* Dropped or not, every value is there. */
        CHECK_INT(b.docs[i].n_signals, 4);
    }
    CHECK_STR(b.docs[2].text.p, b.docs[2].text.n, "one mail email@example.com");
    CHECK(kj_doc_signal_get(&b.docs[2], "pii.email") == 1);
    CHECK(b.docs[1].out.value == 2 && b.docs[1].out.threshold == 3);
    CHECK(kj_doc_signal_get(&b.docs[3], "gopher.min_words") == 2);
    kj_batch_release(&b);
    st->end(cfg, state);
    st->close(cfg);
    kj_opt_release(st->opts, cfg);
    free(cfg);
    free(state);
}

int main(void)
{
    if (!mkdtemp(dir)) {
        SKIP("no folder for files");
        return test_end();
    }
    test_errors();
    test_meaning();
    test_stage();
    static const char *const made[] = {"main", "loop", "broken", "base"};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s.yaml", dir, made[i]);
        unlink(path);
    }
    rmdir(dir);
    return test_end();
}
