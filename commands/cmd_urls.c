/* cmd_urls.c - kijil urls: block lists, take-downs, consent. */
#include "commands/commands.h"

#include "filter/url.h"

const struct kj_cmd kj_cmd_urls = {
    .name = "urls",
    .synopsis = "[--blocklist DIR] [--takedown FILE] [--respect robots,tdm,noai] "
                "[FILE...]",
    .about = "drop documents by address, take-down lists and consent",
    .details =
        "Block lists lie in a folder of yours in the layout of UT1: CATEGORY/domains "
        "and "
        "CATEGORY/urls. The word rules are FineWeb's: a banned word among the words of "
        "the address, two different soft ones, or a banned string anywhere in its "
        "letters and digits; the lists are files, one entry a line. A take-down list "
        "holds URLs and document ids.\n\n"
        "--respect leaves out pages that asked for it when they were fetched: robots "
        "(noindex or none in robots meta or X-Robots-Tag), noai, tdm (W3C TDMRep). "
        "extract keeps these in the field metadata. filter/url.h tells how addresses "
        "are compared.",
    .examples =
        "kijil urls --blocklist ut1/adult --respect robots,noai,tdm in.jsonl\n"
        "kijil urls --takedown removed.txt in.jsonl --rejects gone.jsonl  # URLs "
        "and ids\n",
    .opts = (const struct kj_opt *const[]){kj_urls_opts, kj_common_opts, NULL},
    .run = kj_cmd_stage,
    .stage = &kj_stage_urls,
};
