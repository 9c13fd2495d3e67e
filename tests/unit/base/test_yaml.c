/* test_yaml.c - recipe files: the tree, line numbers, and what is refused. */
#include "base/yaml.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/unit/test.h"

static struct kj_yaml *parse(const char *s, struct kj_err *err)
{
    struct kj_yaml *y = NULL;
    kj_err_reset(err);
    kj_yaml_parse(&y, s, strlen(s), "r.yaml", err);
    return y;
}

static void test_tree(void)
{
    struct kj_err err;
    struct kj_yaml *y = parse("# a recipe\n"
                              "name: demo\n"
                              "stages:\n"
                              "  - lid: {languages: [ko, en], min_score: 0.65}\n"
                              "  - filter:\n"
                              "      recipe: 'fine''web'\n"
                              "text: |\n"
                              "  one\n"
                              "  두 줄\n"
                              "empty:\n",
                              &err);
    if (!CHECK(y != NULL))
        return;
    const struct kj_ynode *r = kj_yaml_root(y);
    CHECK_INT(r->kind, KJ_Y_MAP);
    CHECK_INT(r->n, 4);
    const struct kj_ynode *name = kj_ynode_get(r, "name");
    CHECK(name && name->kind == KJ_Y_SCALAR);
    CHECK_STR(name->scalar, strlen(name->scalar), "demo");
    CHECK_INT(name->line, 2);
    CHECK_STR(name->key, strlen(name->key), "name");
    const struct kj_ynode *st = kj_ynode_get(r, "stages");
    CHECK_INT(st->kind, KJ_Y_SEQ);
    CHECK_INT(st->n, 2);
    CHECK(st->items[0]->key == NULL);
    const struct kj_ynode *lid = kj_ynode_get(st->items[0], "lid");
    const struct kj_ynode *langs = kj_ynode_get(lid, "languages");
    CHECK_INT(langs->n, 2);
    CHECK_STR(langs->items[1]->scalar, 2, "en");
    CHECK_INT(langs->line, 4);
    const struct kj_ynode *rec =
        kj_ynode_get(kj_ynode_get(st->items[1], "filter"), "recipe");
    CHECK_STR(rec->scalar, strlen(rec->scalar), "fine'web");
    CHECK_INT(rec->line, 6);
    const struct kj_ynode *text = kj_ynode_get(r, "text");
    CHECK_STR(text->scalar, strlen(text->scalar), "one\n두 줄\n");
    CHECK_STR(kj_ynode_get(r, "empty")->scalar, 0, "");
    CHECK(kj_ynode_get(r, "nam") == NULL);
    CHECK(kj_ynode_get(name, "x") == NULL);
    CHECK(kj_ynode_get(NULL, "x") == NULL);

    CHECK_INT(kj_ynode_err(rec, &err, "no %s", "such thing"), KJ_USAGE);
    char line[256];
    kj_err_text(&err, line, sizeof line);
    CHECK_STR(line, strlen(line), "r.yaml:6: no such thing");
    kj_yaml_free(y);
}

static void test_alias(void)
{
    struct kj_err err;
    struct kj_yaml *y = parse("base: &b {x: 1, y: [1, 2]}\n"
                              "one: *b\n"
                              "two: *b\n"
                              "word: &b ko\n"
                              "three: *b\n",
                              &err);
    if (!CHECK(y != NULL))
        return;
    const struct kj_ynode *r = kj_yaml_root(y);
    const struct kj_ynode *two = kj_ynode_get(r, "two");
    CHECK_STR(two->key, 3, "two");
    CHECK_INT(two->line, 3);
    CHECK_INT(kj_ynode_get(two, "y")->n, 2);
    CHECK_STR(kj_ynode_get(two, "x")->scalar, 1, "1");
    CHECK_STR(kj_ynode_get(r, "three")->scalar, 2, "ko");
    kj_yaml_free(y);
}

static void refuse(const char *text, int line, const char *word)
{
    struct kj_err err;
    struct kj_yaml *y = parse(text, &err);
    CHECK(y == NULL);
    CHECK_INT(err.rc, KJ_USAGE);
    if (!CHECK_INT(err.pos, line) || !CHECK(strstr(err.msg, word) != NULL))
        printf("     text [%s], message [%s]\n", text, err.msg);
    CHECK_STR(err.file, strlen(err.file), "r.yaml");
    kj_yaml_free(y);
}

static void test_refused(void)
{
    refuse("a: 1\nb: 2\na: 3\n", 3, "line 1");
    refuse("a: !!str 5\n", 1, "tags");
    refuse("a: 1\nb: !x [1]\n", 2, "tags");
    refuse("a: 1\n---\nb: 2\n", 2, "second document");
    refuse("", 1, "nothing");
    refuse("# only a comment\n", 1, "nothing");
    refuse("a: [1, 2\nb: 3\n", 2, "");
    refuse("a:\n\t- 1\n", 2, "");
    refuse("a: *nowhere\n", 1, "nowhere");
    refuse("a: &a [*a]\n", 1, "anchor");
    refuse("? [1, 2]\n: x\n", 1, "key");
    refuse("a: \"x\\0y\"\n", 1, "NUL");
    refuse("a: \xff\xfe\n", 1, "");
    refuse(
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        1, "nested");
}

/* Nine levels of nine aliases each: 9^9 values from one screen of text. */
static void test_expansion(void)
{
    char text[2048];
    size_t n = 0;
    n += (size_t)snprintf(text, sizeof text, "a0: &a0 x\n");
    for (int i = 1; i < 10; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "*a%d%s", i - 1,
                                  k < 8 ? "," : "]\n");
    }
    refuse(text, 7, "more than");
}

static void test_size(void)
{
    size_t n = (1 << 20) + 1;
    char *big = malloc(n);
    memset(big, '#', n);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_yaml *y = NULL;
    CHECK_INT(kj_yaml_parse(&y, big, n, "r.yaml", &err), KJ_USAGE);
    CHECK(y == NULL);
    free(big);
    kj_err_reset(&err);
    CHECK_INT(kj_yaml_load(&y, "/nowhere/at/all.yaml", &err), KJ_USAGE);
    CHECK(strstr(err.msg, "/nowhere/at/all.yaml") != NULL);
}

int main(void)
{
    test_tree();
    test_alias();
    test_refused();
    test_expansion();
    test_size();
    return test_end();
}
