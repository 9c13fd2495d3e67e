/* opt.h - option tables: parsing, --help, man pages, completions, recipe keys.
 *
 * A table describes the fields of one plain struct. The same row serves the
 * command line (`--min-score 0.65`), a recipe (`min_score: 0.65`), the help
 * text, the man page and the shell completion; there is no second list of
 * options anywhere. In recipes and tables a name is written with underscores;
 * the command line takes dashes and underscores alike.
 *
 * Numbers are strict: the whole word must be a number inside [min,max].
 * Sizes take K, M, G, T (powers of 1024), counts K, M, B or G, T (powers of
 * 1000).
 */
#ifndef KJ_BASE_OPT_H
#define KJ_BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_buf;
struct kj_err;
struct kj_ynode;

enum kj_opt_kind {
    KJ_OPT_FLAG = 1, /* bool: --x, --no-x; in recipes true/false */
    KJ_OPT_INT,      /* int64_t */
    KJ_OPT_SIZE,     /* int64_t, takes K M G T: powers of 1024 */
    KJ_OPT_COUNT,    /* int64_t, takes K M B G T: powers of 1000 */
    KJ_OPT_REAL,     /* double; a trailing % divides by 100; default "nan" means
                        "not given", which a user cannot type */
    KJ_OPT_STR,      /* const char *: borrowed from argv or the recipe tree */
    KJ_OPT_LIST,     /* struct kj_strs: repeatable and comma-separated */
    KJ_OPT_ENUM      /* int: index into the words of arg, "a|b|c" */
};

struct kj_strs {
    const char **v; /* each a borrowed C string; the array is owned */
    size_t n;
};
void kj_strs_add(struct kj_strs *s, const char *z);
void kj_strs_release(struct kj_strs *s);

struct kj_opt {
    const char *name; /* "min_score"; NULL ends the table */
    char letter;      /* 'j' or 0 */
    enum kj_opt_kind kind;
    size_t off;       /* offsetof() into the struct */
    const char *arg;  /* placeholder in help ("N"); the words for ENUM */
    const char *help; /* one line, no full stop */
    const char *def;  /* default as one would type it; NULL: zero */
    double min, max;  /* for numbers; both 0: no limit */
};

/* A table with the struct that it fills. */
struct kj_optset {
    const struct kj_opt *opts;
    void *cfg;
};

/* Fill every field of the table with its default, or zero; what it held is not
 * freed. */
int kj_opt_defaults(const struct kj_opt *opts, void *cfg, struct kj_err *err);

/* Free what the table owns in cfg (the arrays of LISTs). */
void kj_opt_release(const struct kj_opt *opts, void *cfg);

/* Parse argv[1..argc) over several tables (ended by a row with opts == NULL;
 * earlier tables win on equal names). Positional words are appended to *pos,
 * "-" among them; "--" ends options. KJ_USAGE with a message that names the
 * word, and the nearest option where one is close. *help is set and KJ_OK
 * returned at once when -h or --help is met. */
int kj_opt_parse(const struct kj_optset *sets, int argc, char **argv,
                 struct kj_strs *pos, bool *help, struct kj_err *err);

/* Set one option from a word: `value` NULL is a flag's bare form. KJ_USAGE with what
 * the option takes and an example, under the name `as` by which it was called
 * ("--memory", "-j"); NULL: its own name, as in a recipe. */
int kj_opt_set(const struct kj_opt *o, void *cfg, const char *as, const char *value,
               struct kj_err *err);

/* Set options from the mapping `map` of a recipe. Unknown keys are KJ_USAGE
 * with the line. Keys in `skip` (NULL-terminated, may be NULL) are left to
 * the caller. Strings stay borrowed from the tree. A null for a text or a list is as if
 * the key were not there. */
int kj_opt_yaml(const struct kj_opt *opts, void *cfg, const struct kj_ynode *map,
                const char *const *skip, struct kj_err *err);

/* One command of the program. Rows with name NULL and group set start a
 * group in the table that `kijil` alone prints. */
struct kj_stage;
struct kj_watch;
struct kj_cmd {
    const char *name;
    const char *group;    /* heading, on group rows only */
    const char *synopsis; /* "[FILE...]" */
    const char *about;    /* one line */
    const char *details;  /* paragraphs for --help and the man page, or NULL */
    const char *examples; /* lines "command  # what it does", or NULL */
    const struct kj_opt *const *opts; /* NULL-terminated list of tables, or NULL */
    int (*run)(const struct kj_cmd *cmd, int argc, char **argv); /* exit status */
    const struct kj_stage *stage; /* for the generic stage command */
    /* Of the generic stage command, one more watch of the run; cfg is the
     * stage's. May be NULL. */
    void (*watch)(const void *cfg, struct kj_watch *out);
};

/* Texts made from a command's tables. */
void kj_opt_help(const struct kj_cmd *cmd, struct kj_buf *out);
void kj_opt_man(const struct kj_cmd *cmd, const char *version, struct kj_buf *out);
/* Every command with its options, as lines "kijil NAME --a --b ..."; shell is
 * "bash", "zsh" or "fish": a script to be sourced. */
int kj_opt_completion(const struct kj_cmd *const *cmds, const char *shell,
                      struct kj_buf *out);
/* key: value lines of the resolved configuration, for --dry-run and the ledger. */
void kj_opt_dump(const struct kj_opt *opts, const void *cfg, struct kj_buf *out);

/* "2.7T" to 2.7e12; KJ_USAGE when it is not a count. */
int kj_parse_count(const char *s, int64_t *out, struct kj_err *err);

#endif
