/* cmd_help.c - `kijil help NAME`, man pages and shell completions, all made
 * from the option tables. */
#include "commands/commands.h"

#include "base/mem.h"
#include "base/output.h"

#include <string.h>

static const struct kj_cmd *find(const char *name)
{
    for (size_t i = 0; kj_commands[i]; i++)
        if (kj_commands[i]->name && strcmp(kj_commands[i]->name, name) == 0)
            return kj_commands[i];
    return NULL;
}

static int run_help(const struct kj_cmd *cmd, int argc, char **argv)
{
    const struct kj_cmd *c = argc > 1 ? find(argv[1]) : cmd;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        c = cmd;
    if (!c) {
        fprintf(stderr,
                "kijil help: there is no command '%s'; kijil --help lists them\n",
                argv[1]);
        return 2;
    }
    return kj_cmd_help(c, stdout);
}

const struct kj_cmd kj_cmd_help_row = {
    .name = "help",
    .synopsis = "COMMAND",
    .about = "explain a command",
    .run = run_help,
};

static int write_man(const char *dir, struct kj_err *err)
{
    int rc = kj_output_mkdirs(dir, err);
    for (size_t i = 0; kj_commands[i] && rc == KJ_OK; i++) {
        const struct kj_cmd *c = kj_commands[i];
        if (!c->name)
            continue;
        struct kj_buf text, path;
        kj_buf_init(&text, 1 << 20);
        kj_buf_init(&path, 4096);
        kj_opt_man(c, KJ_VERSION, &text);
        kj_buf_printf(&path, "%s/kijil-%s.1", dir, c->name);
        rc = kj_output_file(kj_buf_z(&path), text.p, text.n, err);
        kj_buf_release(&path);
        kj_buf_release(&text);
    }
    return rc;
}

static int run_completion(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_err err = KJ_ERR_INIT;
    if (argc == 3 && strcmp(argv[1], "man") == 0) {
        if (write_man(argv[2], &err))
            return kj_cmd_fail(cmd, &err);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return kj_cmd_help(cmd, stdout);
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    int status = 0;
    if (argc != 2 || kj_opt_completion(kj_commands, argv[1], &b)) {
        fprintf(stderr, "usage: kijil completion %s\n", cmd->synopsis);
        status = 2;
    } else {
        fwrite(b.p, 1, b.n, stdout);
    }
    kj_buf_release(&b);
    return status;
}

const struct kj_cmd kj_cmd_completion = {
    .name = "completion",
    .synopsis = "bash|zsh|fish | man DIR",
    .about = "print a shell completion script, or write the man pages",
    .details = "The script is to be sourced by the shell. 'man DIR' writes one page\n"
               "kijil-NAME.1 for each command into DIR.",
    .examples = "  source <(kijil completion bash)   # in the running shell\n"
                "  kijil completion man man/         # all man pages",
    .run = run_completion,
};
