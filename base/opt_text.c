/* opt_text.c - texts made from option tables: help, man page, completions. */
#include "base/opt.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/stage.h"

#include <string.h>

static void add_dashed(struct kj_buf *b, const char *name)
{
    for (; *name; name++)
        kj_buf_addc(b, *name == '_' ? '-' : *name);
}

static void add_opt_word(struct kj_buf *b, const struct kj_opt *o)
{
    if (o->letter)
        kj_buf_printf(b, "-%c, ", o->letter);
    kj_buf_addz(b, "--");
    add_dashed(b, o->name);
    if (o->kind != KJ_OPT_FLAG)
        kj_buf_printf(b, " %s", o->arg ? o->arg : "VALUE");
}

static bool has_default(const struct kj_opt *o)
{
    return o->def && o->kind != KJ_OPT_FLAG && strcmp(o->def, "nan") != 0;
}

/* Long synopses of a column are followed by a new line. */
#define HELP_COLUMN 30

static void help_table(const struct kj_opt *o, struct kj_buf *out)
{
    for (; o->name; o++) {
        size_t start = out->n;
        kj_buf_addz(out, "  ");
        if (!o->letter)
            kj_buf_addz(out, "    ");
        add_opt_word(out, o);
        size_t used = out->n - start;
        if (used + 2 > HELP_COLUMN) {
            kj_buf_addc(out, '\n');
            used = 0;
        }
        kj_buf_printf(out, "%*s%s", (int)(HELP_COLUMN - used), "", o->help);
        if (has_default(o))
            kj_buf_printf(out, " [%s]", o->def);
        kj_buf_addc(out, '\n');
    }
}

/* Paragraphs with lines of at most 80 columns. Lines that begin with a blank
 * stand as they are. */
static void wrap(struct kj_buf *out, const char *s)
{
    while (*s) {
        size_t n = strcspn(s, "\n");
        while (n > 80 && *s != ' ') {
            size_t k = 80;
            while (k > 0 && s[k] != ' ')
                k--;
            if (k == 0)
                break;
            kj_buf_add(out, s, k);
            kj_buf_addc(out, '\n');
            s += k + 1;
            n -= k + 1;
        }
        kj_buf_add(out, s, n);
        kj_buf_addc(out, '\n');
        s += n + (s[n] == '\n');
    }
}

void kj_opt_help(const struct kj_cmd *cmd, struct kj_buf *out)
{
    kj_buf_printf(out, "kijil %s - %s\n\nusage: kijil %s %s\n", cmd->name, cmd->about,
                  cmd->name, cmd->synopsis ? cmd->synopsis : "");
    if (cmd->details) {
        kj_buf_addc(out, '\n');
        wrap(out, cmd->details);
    }
    for (size_t i = 0; cmd->opts && cmd->opts[i]; i++) {
        /* The last table is the one that all commands share. */
        bool shared = i > 0 && !cmd->opts[i + 1];
        if (shared || i == 0)
            kj_buf_addz(out, shared ? "\nCommon options\n" : "\nOptions\n");
        help_table(cmd->opts[i], out);
    }
    if (cmd->examples)
        kj_buf_printf(out, "\nExamples\n%s\n", cmd->examples);
}

/* Roff text: backslashes and leading dots are special, dashes are minus. */
static void roff(struct kj_buf *b, const char *s, bool pre)
{
    bool bol = true;
    for (; *s; s++) {
        if (bol && (*s == '.' || *s == '\''))
            kj_buf_addz(b, "\\&");
        if (*s == '\\')
            kj_buf_addz(b, "\\e");
        else if (*s == '-')
            kj_buf_addz(b, "\\-");
        else if (*s == '\n' && s[1] == '\n' && !pre) {
            kj_buf_addz(b, "\n.PP\n");
            s++;
        } else
            kj_buf_addc(b, *s);
        bol = *s == '\n';
    }
}

void kj_opt_man(const struct kj_cmd *cmd, const char *version, struct kj_buf *out)
{
    kj_buf_printf(out, ".TH KIJIL-%s 1 \"\" \"kijil %s\" \"kijil manual\"\n", cmd->name,
                  version);
    kj_buf_printf(out, ".SH NAME\nkijil\\-%s \\- ", cmd->name);
    roff(out, cmd->about, false);
    kj_buf_printf(out, "\n.SH SYNOPSIS\n.B kijil %s\n", cmd->name);
    roff(out, cmd->synopsis ? cmd->synopsis : "", false);
    if (cmd->details) {
        kj_buf_addz(out, "\n.SH DESCRIPTION\n");
        roff(out, cmd->details, false);
    }
    for (size_t i = 0; cmd->opts && cmd->opts[i]; i++) {
        bool shared = i > 0 && !cmd->opts[i + 1];
        if (shared || i == 0)
            kj_buf_addz(out, shared ? "\n.SH COMMON OPTIONS\n" : "\n.SH OPTIONS\n");
        for (const struct kj_opt *o = cmd->opts[i]; o->name; o++) {
            struct kj_buf w;
            kj_buf_init(&w, 4096);
            add_opt_word(&w, o);
            kj_buf_addz(out, ".TP\n\\fB");
            roff(out, kj_buf_z(&w), false);
            kj_buf_addz(out, "\\fR\n");
            roff(out, o->help, false);
            if (has_default(o)) {
                kj_buf_addz(out, " (default ");
                roff(out, o->def, false);
                kj_buf_addz(out, ")");
            }
            kj_buf_addc(out, '\n');
            kj_buf_release(&w);
        }
    }
    if (cmd->examples) {
        kj_buf_addz(out, ".SH EXAMPLES\n.nf\n");
        roff(out, cmd->examples, true);
        kj_buf_addz(out, "\n.fi\n");
    }
    kj_buf_addz(out,
                ".SH EXIT STATUS\n0 all good, 1 failed, 2 usage, 3 done but some "
                "input was damaged or skipped, 130 interrupted after a clean stop.\n");
}

static void complete_words(const struct kj_cmd *c, struct kj_buf *out)
{
    for (size_t i = 0; c->opts && c->opts[i]; i++)
        for (const struct kj_opt *o = c->opts[i]; o->name; o++) {
            kj_buf_addz(out, " --");
            add_dashed(out, o->name);
        }
}

int kj_opt_completion(const struct kj_cmd *const *cmds, const char *shell,
                      struct kj_buf *out)
{
    bool fish = strcmp(shell, "fish") == 0, zsh = strcmp(shell, "zsh") == 0;
    if (!fish && !zsh && strcmp(shell, "bash") != 0)
        return KJ_USAGE;
    if (fish) {
        for (size_t i = 0; cmds[i]; i++) {
            const struct kj_cmd *c = cmds[i];
            if (!c->name)
                continue;
            kj_buf_printf(out,
                          "complete -c kijil -n __fish_use_subcommand -a %s -d '%s'\n",
                          c->name, c->about);
            for (size_t t = 0; c->opts && c->opts[t]; t++)
                for (const struct kj_opt *o = c->opts[t]; o->name; o++) {
                    kj_buf_printf(
                        out,
                        "complete -c kijil -n '__fish_seen_subcommand_from %s'"
                        " -l ",
                        c->name);
                    add_dashed(out, o->name);
                    kj_buf_addc(out, '\n');
                }
        }
        return KJ_OK;
    }
    if (zsh)
        kj_buf_addz(out, "autoload -U +X bashcompinit && bashcompinit\n");
    kj_buf_addz(out, "_kijil() {\n"
                     "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                     "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (size_t i = 0; cmds[i]; i++)
        if (cmds[i]->name)
            kj_buf_printf(out, "%s ", cmds[i]->name);
    kj_buf_addz(out, "'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; cmds[i]; i++) {
        if (!cmds[i]->name)
            continue;
        kj_buf_printf(out, "        %s) words='", cmds[i]->name);
        complete_words(cmds[i], out);
        kj_buf_addz(out, "' ;;\n");
    }
    kj_buf_addz(out, "        esac\n    fi\n"
                     "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                     "complete -o default -F _kijil kijil\n");
    return KJ_OK;
}

static void dump_value(const struct kj_opt *o, const void *field, struct kj_buf *out)
{
    switch (o->kind) {
    case KJ_OPT_FLAG:
        kj_buf_addz(out, *(const bool *)field ? "true" : "false");
        break;
    case KJ_OPT_INT:
    case KJ_OPT_SIZE:
    case KJ_OPT_COUNT:
        kj_buf_printf(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case KJ_OPT_REAL:
        kj_json_put_real(out, *(const double *)field);
        break;
    case KJ_OPT_STR: {
        const char *s = *(const char *const *)field;
        if (s)
            kj_json_put_str(out, s, strlen(s));
        else
            kj_buf_addz(out, "null");
        break;
    }
    case KJ_OPT_LIST: {
        const struct kj_strs *s = field;
        kj_buf_addc(out, '[');
        for (size_t i = 0; i < s->n; i++) {
            if (i)
                kj_buf_addz(out, ", ");
            kj_json_put_str(out, s->v[i], strlen(s->v[i]));
        }
        kj_buf_addc(out, ']');
        break;
    }
    case KJ_OPT_ENUM: {
        const char *w = o->arg;
        for (int i = *(const int *)field; i > 0 && (w = strchr(w, '|')); i--)
            w++;
        if (w)
            kj_buf_add(out, w, strcspn(w, "|"));
        break;
    }
    }
}

void kj_opt_dump(const struct kj_opt *opts, const void *cfg, struct kj_buf *out)
{
    for (const struct kj_opt *o = opts; o->name; o++) {
        kj_buf_printf(out, "%s: ", o->name);
        dump_value(o, (const char *)cfg + o->off, out);
        kj_buf_addc(out, '\n');
    }
}
