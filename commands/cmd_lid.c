/* cmd_lid.c - kijil lid: the language of each document. */
#include "classify/stages.h"
#include "commands/commands.h"

const struct kj_cmd kj_cmd_lid = {
    .name = "lid",
    .synopsis = "[-m MODEL] [--keep LANG,...] [--keep-lines LANG,...] [--min-score P] "
                "[FILE...]",
    .about = "find the language of each document; keep some languages",
    .details =
        "Adds language, language_score and language_script. The language is a code of "
        "ISO 639-1: the built-in model knows about 90 languages (zh for Chinese in "
        "both "
        "scripts, nb and nn for Norwegian). The score goes from 0 to 1. The script is "
        "an "
        "ISO 15924 code, counted from the letters; Japanese is Jpan. A text without "
        "letters, or in a script of none of the languages, is und.\n\n"
        "The built-in model is asked by script: the text is brought to one form (NFC, "
        "usual widths; web and mail addresses left out), and only languages written in "
        "a "
        "script that a tenth of the letters are in compete; the score is the model's "
        "probability among these. Text in Hangul is ko. With -m the text goes to the "
        "model as it is, and the score is the model's probability, as published "
        "thresholds expect; --by-script treats it like the built-in one. Labels of ISO "
        "639-3 and script, as GlotLID has them, become the same codes: kor_Hang is ko, "
        "zho_Hans and zho_Hant are zh, hin_Latn is hi-Latn, ceb_Latn is ceb.\n\n"
        "Of a text longer than 2 KiB (--max-bytes), eight pieces are looked at that "
        "together are as long and lie evenly from its beginning to its end.\n\n"
        "--per-line adds languages, the share of the characters that lines of each "
        "language have: {\"ko\":0.9,\"en\":0.1}. A line that is short or doubtful has "
        "the "
        "document's language, if that is written in its script, and else und. "
        "--keep-lines takes lines out that are in other languages (never those of und) "
        "and finds the document's language in what stays; a document without any line "
        "to keep is dropped by the rule lid.lines.\n\n"
        "--keep drops documents in other languages by the rule lid.language; "
        "--min-score drops those below it by the rule lid.score. A language that the "
        "model does not know is an error.",
    .examples =
        "kijil lid in.jsonl -o out.jsonl  # add the language\n"
        "kijil lid --keep ko,en --min-score 0.5 in.jsonl  # keep two languages\n"
        "kijil lid --keep-lines ko,en --per-line in.jsonl  # pages in several "
        "languages\n"
        "kijil lid -m lid.176.ftz in.jsonl  # with another fastText model\n",
    .opts = (const struct kj_opt *const[]){kj_lid_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_lid,
};
