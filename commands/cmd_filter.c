/* cmd_filter.c - `kijil filter`: the filter stage from JSONL to JSONL, and the
 * list of its rules. */
#include "commands/commands.h"
#include "filter/filter.h"

#include <stdio.h>
#include <string.h>

static const char *takes(const struct kj_filter_rule *r)
{
    switch (r->kind) {
    case KJ_FILTER_COUNT:
        return "whole number";
    case KJ_FILTER_SHARE:
        return "0..1 or N%";
    case KJ_FILTER_LIST:
        return "list of words";
    case KJ_FILTER_MASK:
        return "mask or count";
    case KJ_FILTER_CLEAN:
        return "clean or count";
    default:
        return "number";
    }
}

static int list(void)
{
    printf("%-26s %-14s %-4s %s\n", "rule", "takes", "drop", "what is measured (unit)");
    for (const struct kj_filter_rule *r = kj_filter_rules; r->name; r++)
        printf("%-26s %-14s %-4s %s%s%s%s\n", r->name, takes(r), r->op[0] ? r->op : "-",
               r->about, r->unit[0] ? " (" : "", r->unit, r->unit[0] ? ")" : "");
    return 0;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--list") == 0)
            return list();
    return kj_cmd_stage(cmd, argc, argv);
}

const struct kj_cmd kj_cmd_filter = {
    .name = "filter",
    .synopsis = "-r RECIPE[,RECIPE...] [--set RULE=VALUE] [--mark] [FILE...]",
    .about = "drop or mark documents by rules; mask addresses",
    .details =
        "Every rule of the recipes that applies to a document is measured, and its "
        "value is put into the document's signals, whether it stays or goes. A "
        "document goes by the first rule, in recipe order, that it fails; --rejects "
        "keeps it with that rule, the value and the threshold. Without --rejects, "
        "--ledger and --mark nobody sees the values of documents that go: behind the "
        "first rule that one fails, nothing is measured for it. What stays, and the "
        "counts by rule, are the same.\n\n"
        "A recipe is a name (gopher, c4, c4-dclm, fineweb, refinedweb, dclm-baseline, "
        "fineweb2-kor, fineweb-ko-eojeol, kanana-en, kanana-ko, pii, pii-ko) or a YAML "
        "file; filter/filter.h tells the format. It may hold groups of rules for some "
        "languages, so that one pass treats each language by its own thresholds.\n\n"
        "--set changes a threshold wherever the rule stands; where it stands nowhere, "
        "the rule is added. Cleaning rules (c4.citations: clean) rewrite the text at "
        "their "
        "place in the recipe. E-mail and IP masks run behind all measures.",
    .examples =
        "kijil filter --list  # every rule with its definition\n"
        "kijil filter -r fineweb in.jsonl --rejects out.jsonl  # FineWeb's rules\n"
        "kijil filter -r gopher,pii --set gopher.min_words=100  # another threshold\n"
        "kijil filter -r gopher --mark in.jsonl  # keep all, record the verdicts\n",
    .opts = (const struct kj_opt *const[]){kj_filter_opts, kj_common_opts, NULL},
    .run = run,
    .stage = &kj_stage_filter,
};
