/* test_opt.c - option tables: words, recipes, texts. */
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/yaml.h"
#include "tests/unit/test.h"

#include <stddef.h>

struct cfg {
    bool flag;
    int64_t n, size, count;
    double score, absent;
    const char *name;
    struct kj_strs list;
    int mode;
};

#define F(x) offsetof(struct cfg, x)
static const struct kj_opt opts[] = {
    {"keep_all", 'k', KJ_OPT_FLAG, F(flag), 0, "a flag", 0, 0, 0},
    {"number", 'n', KJ_OPT_INT, F(n), "N", "a number", "5", 1, 10},
    {"part_size", 0, KJ_OPT_SIZE, F(size), "SIZE", "a size", "2K", 0, 0},
    {"tokens", 0, KJ_OPT_COUNT, F(count), "N", "a count", "2K", 1, 0x1p60},
    {"score", 0, KJ_OPT_REAL, F(score), "S", "a real", "0.5", 0, 1},
    {"absent", 0, KJ_OPT_REAL, F(absent), "S", "not given", "nan", 0, 0},
    {"name", 0, KJ_OPT_STR, F(name), "NAME", "a name", 0, 0, 0},
    {"list", 0, KJ_OPT_LIST, F(list), "A,B", "words", "x,y", 0, 0},
    {"mode", 0, KJ_OPT_ENUM, F(mode), "fast|slow|none", "a choice", "slow", 0, 0},
    {0},
};

static int parse(struct cfg *c, struct kj_strs *pos, struct kj_err *err, size_t argc,
                 char **argv)
{
    bool help;
    memset(c, 0, sizeof *c);
    kj_err_reset(err);
    kj_strs_release(pos);
    const struct kj_optset sets[] = {{opts, c}, {NULL, NULL}};
    CHECK_INT(kj_opt_defaults(opts, c, err), KJ_OK);
    return kj_opt_parse(sets, (int)argc, argv, pos, &help, err);
}

#define PARSE(...)                                                                     \
    parse(&c, &pos, &err, sizeof((const char *[]){"t", __VA_ARGS__}) / sizeof(char *), \
          (char **)(const char *[]){"t", __VA_ARGS__})

static void test_words(void)
{
    struct cfg c;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(PARSE("in"), KJ_OK);
    CHECK(!c.flag && c.n == 5 && c.size == 2048 && c.count == 2000 && c.score == 0.5 &&
          isnan(c.absent));
    CHECK(c.list.n == 2 && c.mode == 1 && pos.n == 1);
    kj_opt_release(opts, &c);
    CHECK_INT(PARSE("-kn7", "--part-size=1.5M", "--list", "a", "--score", "10%", "-",
                    "--list", "b,c", "--mode", "none", "--", "--name"),
              KJ_OK);
    CHECK(c.flag && c.n == 7 && c.size == 3 << 19 && c.mode == 2);
    CHECK_NEAR(c.score, 0.1, 1e-15);
    CHECK(c.list.n == 3 && strcmp(c.list.v[1], "b") == 0); /* defaults replaced */
    CHECK(pos.n == 2 && strcmp(pos.v[1], "--name") == 0);
    kj_opt_release(opts, &c);
    CHECK_INT(PARSE("--keep_all", "--no-keep-all"), KJ_OK);
    CHECK(!c.flag);
    kj_opt_release(opts, &c);

    CHECK_INT(PARSE("--scroe", "1"), KJ_USAGE);
    CHECK(strstr(err.msg, "did you mean --score") != NULL);
    kj_opt_release(opts, &c);
    static const char *const bad[][2] = {
        {"--number", "11"},    {"--number", "5x"},  {"--number", ""},
        {"--score", "nan"},    {"--mode", "quick"}, {"--part-size", "3Q"},
        {"--part-size", "-1"}, {"--tokens", "4k"},  {"--tokens", "0"},
        {"--tokens", "1MB"},   {"--tokens", "-1M"}, {"--tokens", "inf"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(PARSE(bad[i][0], bad[i][1]), KJ_USAGE);
        CHECK(strstr(err.msg, bad[i][0]) == err.msg);
        kj_opt_release(opts, &c);
    }
    CHECK_INT(PARSE("-z"), KJ_USAGE);
    kj_opt_release(opts, &c);
    kj_strs_release(&pos);
}

/* What is said of a value that is none: the option as typed, what it takes, an
 * example that it does take, and what was given. */
static void test_messages(void)
{
    struct cfg c;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
#define SAYS(text, ...)                                                                \
    do {                                                                               \
        CHECK_INT(PARSE(__VA_ARGS__), KJ_USAGE);                                       \
        CHECK_STR(err.msg, strlen(err.msg), text);                                     \
        kj_opt_release(opts, &c);                                                      \
    } while (0)
    SAYS("--number takes a whole number from 1 to 10 (like 5), not '11'", "--number",
         "11");
    SAYS("-n takes a whole number from 1 to 10 (like 5), not 'x'", "-nx");
    SAYS("-n takes a whole number from 1 to 10 (like 5), not ''", "-kn", "");
    SAYS("--part-size takes a size (like 2K), not '3Q'", "--part-size=3Q");
    SAYS("--part_size takes a size (like 2K), not '-1'", "--part_size", "-1");
    SAYS("--tokens takes a count of at least 1 (like 2K), not '0'", "--tokens", "0");
    SAYS("--score takes a number from 0 to 1 (like 0.5), not '120%'", "--score",
         "120%");
    SAYS("--absent takes a number (like 0.5), not 'a'", "--absent", "a");
    SAYS("--mode takes fast, slow or none, not 'quick'", "--mode=quick");
    SAYS("--keep-all takes true or false, not 'maybe'", "--keep-all=maybe");
    SAYS("--name needs a value: NAME", "--name");
    SAYS("-n needs a value: a whole number from 1 to 10 (like 5)", "-n");
    SAYS("--mode needs a value: fast, slow or none", "--mode");
#undef SAYS
    kj_strs_release(&pos);
}

/* Examples are taken by the options that they stand for. */
static void test_examples(void)
{
    static const double ranges[][2] = {
        {0, 0}, {1, 3}, {7, 9}, {0x1p20, 0x1p60}, {0, 1}};
    static const enum kj_opt_kind kinds[] = {KJ_OPT_INT, KJ_OPT_SIZE, KJ_OPT_COUNT,
                                             KJ_OPT_REAL};
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
            union {
                int64_t n;
                double v;
            } field;
            struct kj_err err = KJ_ERR_INIT;
            const struct kj_opt o = {"x", 0,   kinds[k],     0,           "N",
                                     "",  "0", ranges[i][0], ranges[i][1]};
            char like[64] = "";
            CHECK_INT(kj_opt_set(&o, &field, "--x", "?", &err), KJ_USAGE);
            const char *at = strstr(err.msg, "(like ");
            CHECK(at && sscanf(at, "(like %63[^)]", like) == 1);
            CHECK_INT(kj_opt_set(&o, &field, "--x", like, NULL), KJ_OK);
        }
}

static int from_yaml(struct cfg *c, const char *text, struct kj_yaml **y,
                     struct kj_err *err)
{
    memset(c, 0, sizeof *c);
    kj_err_reset(err);
    kj_opt_defaults(opts, c, err);
    int rc = kj_yaml_parse(y, text, strlen(text), "t.yaml", err);
    return rc ? rc : kj_opt_yaml(opts, c, kj_yaml_root(*y), NULL, err);
}

static void test_recipe(void)
{
    struct cfg c;
    struct kj_yaml *y = NULL;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(
        from_yaml(&c, "number: 3\nlist: [p, q]\nkeep_all: true\nname: n\n", &y, &err),
        KJ_OK);
    CHECK(c.n == 3 && c.list.n == 2 && c.flag && strcmp(c.name, "n") == 0);
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "number: 3\nnubmer: 4\n", &y, &err), KJ_USAGE);
    CHECK_INT(err.pos, 2); /* the line */
    CHECK(strcmp(err.msg, "unknown key 'nubmer'; did you mean 'number'?") == 0);
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "name: null\nlist: ~\n", &y, &err), KJ_OK);
    CHECK(!c.name && c.list.n == 2); /* the default's */
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "name: 'null'\nlist: ['~']\n", &y, &err), KJ_OK);
    CHECK(strcmp(c.name, "null") == 0 && strcmp(c.list.v[0], "~") == 0);
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "number: null\n", &y, &err), KJ_USAGE);
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "zzz: 4\n", &y, &err), KJ_USAGE);
    CHECK(strcmp(err.msg, "unknown key 'zzz'") == 0);
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
    CHECK_INT(from_yaml(&c, "\nnumber: 77\n", &y, &err), KJ_USAGE);
    CHECK_INT(err.pos, 2);
    CHECK_STR(err.msg, strlen(err.msg),
              "number takes a whole number from 1 to 10 (like 5), not '77'");
    kj_opt_release(opts, &c);
    kj_yaml_free(y);
}

static void test_texts(void)
{
    static const struct kj_opt *const tables[] = {opts, NULL};
    static const struct kj_cmd cmd = {.name = "thing",
                                      .synopsis = "[FILE...]",
                                      .about = "does a thing",
                                      .details = ".dots and \\ are text",
                                      .opts = tables};
    static const struct kj_cmd *const cmds[] = {&cmd, NULL};
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    kj_opt_help(&cmd, &b);
    kj_buf_z(&b);
    CHECK(strstr(b.p, "--part-size SIZE") && strstr(b.p, "a size [2K]"));
    CHECK(!strstr(b.p, "[nan]"));
    kj_buf_reset(&b);
    kj_opt_man(&cmd, "1", &b);
    kj_buf_z(&b);
    CHECK(strstr(b.p, "\n\\&.dots and \\e are"));
    CHECK(strstr(b.p, "\\-\\-part\\-size"));
    kj_buf_reset(&b);
    CHECK_INT(kj_opt_completion(cmds, "bash", &b), KJ_OK);
    CHECK(strstr(kj_buf_z(&b), "thing) words=' --keep-all"));
    CHECK_INT(kj_opt_completion(cmds, "tcsh", &b), KJ_USAGE);
    kj_buf_reset(&b);
    struct cfg c = {0};
    struct kj_err err = KJ_ERR_INIT;
    kj_opt_defaults(opts, &c, &err);
    kj_opt_dump(opts, &c, &b);
    CHECK(strstr(kj_buf_z(&b), "list: [\"x\", \"y\"]\nmode: slow\n"));
    CHECK(strstr(b.p, "absent: null\n"));
    kj_opt_release(opts, &c);
    kj_buf_release(&b);
}

int main(void)
{
    test_words();
    test_messages();
    test_examples();
    test_recipe();
    test_texts();
    return test_end();
}
