/* cmd_bands.c - kijil bands: scores of several classifiers to one quality band. */
#include "classify/stages.h"
#include "commands/commands.h"

const struct kj_cmd kj_cmd_bands = {
    .name = "bands",
    .synopsis = "--scores FIELD,... [--per-language] [--min N] [FILE...]",
    .about = "rank documents by their scores; of several classifiers make one band",
    .details =
        "Scores of different models cannot be compared, ranks can. Each score is "
        "replaced by the band that the document's rank in the corpus falls into: 0 to "
        "19, each with equally many documents. The field quality_band is the best of "
        "them (--combine max), as in Nemotron-CC; with several scores each has a field "
        "of its own too: dclm_score gives dclm_band, edu_score gives edu_band. The "
        "best "
        "band of several is in more than a twentieth of the documents. quality_level "
        "is a word for it: low, medium-low, medium, medium-high, high (--levels).\n\n"
        "The bands from b up are exactly the documents that classify --keep-top would "
        "keep: with 20 bands, 18 and 19 are the best 10 percent. Equal scores are told "
        "apart by a hash of the id, so what band a document has does not depend on "
        "order, threads or shards. --ties together puts them into one band instead, "
        "and --weight bytes makes bands of equally much text.\n\n"
        "A document with none of the scores has no band; one with some of them has the "
        "band of these. --min N drops documents below band N, and those without one, "
        "by the rule bands.NAME.\n\n"
        "It reads the input twice; standard input is kept in a temporary file. The "
        "first time takes 32 bytes of memory for each score; --sample takes them of a "
        "share of the documents, and the ledger then states how far the edges may be "
        "off. With --per-language a language of which the sample holds no document has "
        "no bands.\n\n"
        "The ledger holds the edges of all bands, and documents and text by band and "
        "language (tables quantiles and bands); kijil whatif tries other cuts: "
        "'bands.quality_band>=12'. kijil tokenize --band quality_band counts tokens by "
        "band for kijil mix.",
    .examples =
        "kijil bands --scores dclm_score,edu_score in.jsonl  # dclm_band, edu_band, "
        "quality_band, quality_level\n"
        "kijil bands --scores edu_score --per-language --min 12 in.jsonl  # the better "
        "two fifths of each language\n"
        "kijil bands --scores dclm_score --weight bytes --ties together --sample 1% "
        "in.jsonl\n",
    .opts = (const struct kj_opt *const[]){kj_bands_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_bands,
};
