/* names.c - the files of a command, looked at before hours of work: all inputs are
 * there, and no output is an input or another output.
 *
 * Outputs take their final names by a rename at the end, so a second output of the
 * same name, or one that is an input, would take that away without a word; and a
 * shell's `>> docs.jsonl` lets a command read for ever what it writes itself. */
#include "commands/commands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stdin(const char *name)
{
    return strcmp(name, "-") == 0;
}

/* Two names of one regular file. Devices and pipes may be read and written. */
static bool same_file(const struct stat *a, const struct stat *b)
{
    return S_ISREG(a->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int check_inputs(const struct kj_common *c, struct kj_err *err)
{
    size_t stdins = 0;
    for (size_t i = 0; i < c->n_inputs; i++) {
        const char *name = c->inputs[i];
        struct stat st;
        if (is_stdin(name)) {
            if (++stdins == 2)
                return kj_err_set(err, KJ_USAGE,
                                  "standard input (-) is named twice; it can be read "
                                  "once");
            continue;
        }
        if (stat(name, &st) && strstr(name, "://"))
            return kj_err_set(err, KJ_FAIL,
                              "addresses are not fetched; curl -sfL '%s' | kijil ... "
                              "reads it",
                              name);
        if (stat(name, &st) || access(name, R_OK))
            return kj_err_errno(err, KJ_FAIL, "cannot open %s", name);
        if (S_ISDIR(st.st_mode))
            return kj_err_set(err, KJ_FAIL, "%s is a folder; name its files: %s%s*",
                              name, name, name[strlen(name) - 1] == '/' ? "" : "/");
    }
    return KJ_OK;
}

/* Is this output, known by st, one of the inputs? */
static int check_against(const struct kj_common *c, const char *what,
                         const struct stat *out, struct kj_err *err)
{
    struct stat st;
    static const char *const standard_input[] = {"-"};
    const char *const *v = c->n_inputs ? c->inputs : standard_input;
    size_t n = c->n_inputs ? c->n_inputs : 1;
    for (size_t i = 0; i < n; i++) {
        int r = is_stdin(v[i]) ? fstat(STDIN_FILENO, &st) : stat(v[i], &st);
        if (r == 0 && same_file(&st, out))
            return kj_err_set(err, KJ_USAGE, "%s is an input too (%s); name another",
                              what, is_stdin(v[i]) ? "standard input" : v[i]);
    }
    return KJ_OK;
}

void kj_cmd_warn_empty(const struct kj_cmd *cmd, const struct kj_common *c)
{
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < c->n_inputs; i++) {
        struct stat st;
        if (is_stdin(c->inputs[i]) || stat(c->inputs[i], &st) || !S_ISREG(st.st_mode) ||
            st.st_size)
            continue;
        first = n++ ? first : c->inputs[i];
    }
    if (n && !c->quiet)
        fprintf(stderr, "kijil %s: warning: %zu of %zu input files %s 0 bytes: %s%s\n",
                cmd->name, n, c->n_inputs, n == 1 ? "has" : "have", first,
                n > 1 ? ", ..." : "");
}

int kj_cmd_check_names(const struct kj_common *c, struct kj_err *err)
{
    const struct {
        const char *option, *name;
    } out[] = {
        {"--output", c->output}, {"--rejects", c->rejects}, {"--ledger", c->ledger}};
    const size_t n = sizeof out / sizeof *out;
    int rc = check_inputs(c, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct stat st;
        bool to_stdout = i == 0 && (!out[i].name || is_stdin(out[i].name));
        if (!out[i].name && !to_stdout)
            continue;
        for (size_t k = i + 1; k < n && !to_stdout; k++)
            if (out[k].name && strcmp(out[i].name, out[k].name) == 0 &&
                (stat(out[i].name, &st) || S_ISREG(st.st_mode)))
                return kj_err_set(err, KJ_USAGE, "%s and %s are the same file, %s",
                                  out[i].option, out[k].option, out[i].name);
        if (to_stdout ? fstat(STDOUT_FILENO, &st) == 0 : stat(out[i].name, &st) == 0)
            rc = check_against(c, to_stdout ? "standard output" : out[i].option, &st,
                               err);
    }
    return rc;
}
