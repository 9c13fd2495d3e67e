/* stage.h - the stage "extract": raw documents of extract/archive.h to text.
 *
 * HTTP message, body codings, charset, HTML; adds text, enc{declared,
 * detected, used, replaced} and metadata{title, lang, ...}. What is no text is
 * dropped with a rule: "extract.http_status" (not 2xx), "extract.not_html"
 * (neither HTML nor plain text), "extract.empty" (less text than min_chars).
 * Pages that hit a cap are damage. Documents that have no raw bytes pass.
 *
 * Papers and pages of wikis go through extract/curated.h, with the rules
 * "extract.not_latex", "extract.wiki_redirect", "extract.wiki_disambiguation",
 * and with skip_lists "extract.wiki_list". */
#ifndef KJ_EXTRACT_STAGE_H
#define KJ_EXTRACT_STAGE_H

#include "base/stage.h"
#include "extract/archive.h"

extern const struct kj_opt kj_extract_opts[];
extern const struct kj_stage kj_stage_extract;

/* What the files are, by the option source (cfg is the stage's). */
enum kj_archive_kind kj_extract_source(const void *cfg);

#endif
