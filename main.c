/* main.c - the table of commands: the table of contents of the program. */
#include "commands/commands.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUP(heading)                                                                 \
    &(const struct kj_cmd)                                                             \
    {                                                                                  \
        .group = (heading)                                                             \
    }

/* Rows stand in the order in which data flows. */
const struct kj_cmd *const kj_commands[] = {
    GROUP("Curation"),
    &kj_cmd_pack,
    &kj_cmd_extract,
    &kj_cmd_lid,
    &kj_cmd_urls,
    &kj_cmd_filter,
    &kj_cmd_decontaminate,
    &kj_cmd_dedup,
    &kj_cmd_classify,
    &kj_cmd_bands,
    &kj_cmd_tokenizer,
    &kj_cmd_tokenize,
    &kj_cmd_mix,
    &kj_cmd_model,
    &kj_cmd_run,

    GROUP("Looking"),
    &kj_cmd_report,
    &kj_cmd_why,
    &kj_cmd_whatif,
    &kj_cmd_diff,
    &kj_cmd_check,
    &kj_cmd_trace,
    &kj_cmd_cat,

    GROUP("Models"),
    &kj_cmd_plan,
    &kj_cmd_train,
    &kj_cmd_eval,
    &kj_cmd_generate,
    &kj_cmd_upscale,
    &kj_cmd_prune,
    &kj_cmd_merge,
    &kj_cmd_convert,
    &kj_cmd_device,

    GROUP("Help"),
    &kj_cmd_help_row,
    &kj_cmd_completion,

    NULL,
};

static int list_commands(FILE *to)
{
    fprintf(to, "kijil " KJ_VERSION " - from web archives to a trained model\n\n"
                "usage: kijil COMMAND [OPTION...] [FILE...]\n");
    for (size_t i = 0; kj_commands[i]; i++) {
        const struct kj_cmd *c = kj_commands[i];
        if (c->group)
            fprintf(to, "\n%s\n", c->group);
        else
            fprintf(to, "  %-12s %s\n", c->name, c->about);
    }
    fprintf(to,
            "\nkijil help COMMAND explains one; kijil --version tells the version.\n");
    return to == stderr ? 2 : 0;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return list_commands(stderr);
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2))
        return list_commands(stdout);
    if (strcmp(name, "--version") == 0) {
        printf("kijil " KJ_VERSION "\n");
        return 0;
    }
    for (size_t i = 0; kj_commands[i]; i++)
        if (kj_commands[i]->name && strcmp(kj_commands[i]->name, name) == 0)
            return kj_commands[i]->run(kj_commands[i], argc - 1, argv + 1);
    fprintf(stderr, "kijil: there is no command '%s'; kijil --help lists them\n", name);
    return 2;
}

/* A reader who had enough (| head) is no fault. errno no longer tells it when
 * an earlier flush failed. */
static bool reader_left(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* What was printed must have arrived. */
int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file too large is an error like a full disk */
    /* A text that fits is written by the flush below, where errno tells why not. */
    static char printed[1 << 16];
    if (!isatty(STDOUT_FILENO))
        setvbuf(stdout, printed, _IOFBF, sizeof printed);
    int status = dispatch(argc, argv);
    errno = 0;
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (lost && status == 0 && !reader_left()) {
        fprintf(stderr, "kijil: cannot write standard output: %s\n",
                errno ? strerror(errno) : "output error");
        return 1;
    }
    return status;
}
