/* cmd_decontaminate.c - kijil decontaminate: benchmark items in documents. */
#include "commands/commands.h"

#include "filter/decontam.h"

const struct kj_cmd kj_cmd_decontaminate = {
    .name = "decontaminate",
    .synopsis = "-b BENCH.jsonl[,BENCH.jsonl...] [--threshold S] [--mark] [FILE...]",
    .about = "drop or mark documents that hold benchmark items",
    .details =
        "Looks for the items of local benchmarks, JSON lines of any shape (MMLU, "
        "KMMLU, "
        "HAE-RAE, KoBEST, GSM8K, HumanEval, ...): every text field, or a question with "
        "its choices where it is short. Line breaks, punctuation, case, and Korean "
        "spacing make no difference; light editing and insertions are bridged. What "
        "counts is the share of the item that the document holds, however long the "
        "document is. filter/decontam.h tells the method and its thresholds.\n\n"
        "A document goes, or with --mark stays, with the field \"contamination\": for "
        "each item its file and line, its id, the score, and where in the text (bytes) "
        "it was found. --rejects keeps it with them.",
    .examples = "kijil decontaminate -b mmlu.jsonl,kmmlu.jsonl in.jsonl --rejects "
                "hits.jsonl -o "
                "out.jsonl\n"
                "kijil decontaminate -b gsm8k.jsonl --mark in.jsonl  # keep all, "
                "record spans\n",
    .opts = (const struct kj_opt *const[]){kj_decontam_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_decontaminate,
};
