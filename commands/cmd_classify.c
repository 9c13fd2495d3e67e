/* cmd_classify.c - kijil classify: a score for each document, and a cut. */
#include "classify/stages.h"
#include "commands/commands.h"

const struct kj_cmd kj_cmd_classify = {
    .name = "classify",
    .synopsis = "-m MODEL --as NAME [--label L] [--min S | --keep-top P% [--sample "
                "P%]] [FILE...]",
    .about = "score documents with a classifier, fastText or encoder; cut by the score",
    .details =
        "Adds the probability of one label as the field NAME. The text is given to the "
        "model as one line, as the published filters do. With two labels the score is "
        "that of the label when it wins, and one minus the other's probability when "
        "it does not (DCLM's rule); with more labels it is the label's own. A text in "
        "which the model knows nothing scores 0.\n\n"
        "MODEL may be the folder of a BERT or XLM-R encoder with a head (config.json, "
        "model.safetensors, tokenizer.json), as of FineWeb-Edu. Then the fields are "
        "NAME_score and, of a regression, NAME_int: the score rounded within 0..5. "
        "Texts "
        "are cut at the model's longest input. Of a classifier with several labels the "
        "score is the probability of --label.\n\n"
        "--min drops documents below S. --keep-top keeps the best P percent, exactly: "
        "of n documents ceil(P * n). Of equal scores those stay whose id has the "
        "smaller hash, so the choice does not depend on order, threads or shards. It "
        "reads the input twice; standard input is kept in a temporary file. With "
        "--sample the cut is that of a share of the documents, and is printed (and "
        "kept in the ledger's table quantiles) with the interval in which the exact "
        "cut lies, and that of the share of documents above this one, each with a "
        "confidence of 95 percent.\n\n"
        "The rule is classify.NAME, or classify.NAME_score. The ledger has the values "
        "also without a cut, for kijil whatif to try one.",
    .examples = "kijil classify -m dclm.bin --as dclm_score --label hq --min 0.018112 "
                "in.jsonl\n"
                "kijil classify -m edu.bin --as edu_score --label edu --keep-top 10% "
                "in.jsonl\n"
                "kijil classify -m edu.bin --as edu_score --label edu --keep-top 10% "
                "--sample 1% "
                "in.jsonl  # with a confidence interval\n"
                "kijil classify -m fineweb-edu-classifier --as edu --min 2.5 in.jsonl  "
                "# edu_score, edu_int\n",
    .opts = (const struct kj_opt *const[]){kj_classify_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_classify,
};
