/* cmd_lid.c - kijil lid: the language of each document. */
#include "classify/stages.h"
#include "commands/commands.h"

const struct kj_cmd kj_cmd_lid = {
    .name = "lid",
    .synopsis = "[-m MODEL] [--keep LANG,...] [--min-score P] [FILE...]",
    .about = "find the language of each document; keep some languages",
    .details =
        "Adds language, language_score and language_script. The language is the label "
        "of a fastText model without __label__: the built-in model knows about 90 "
        "languages by their ISO 639-1 codes (zh for Chinese in both scripts, nb and nn "
        "for Norwegian). The score is the model's probability, from 0 to 1. The script "
        "is an ISO 15924 code, counted from the letters; Japanese is Jpan. A text "
        "without letters is und, Zyyy, 0.\n\n"
        "Only the first 16 KiB of a text are looked at (--max-bytes).\n\n"
        "--keep drops documents in other languages by the rule lid.language; "
        "--min-score drops those below it by the rule lid.score. A language that the "
        "model does not know is an error.",
    .examples =
        "kijil lid in.jsonl -o out.jsonl  # add the language\n"
        "kijil lid --keep ko,en --min-score 0.5 in.jsonl  # keep two languages\n"
        "kijil lid -m lid.176.ftz in.jsonl  # with another fastText model\n",
    .opts = (const struct kj_opt *const[]){kj_lid_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_lid,
};
