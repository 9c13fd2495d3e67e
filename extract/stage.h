/* stage.h - the stage "extract": raw documents of extract/archive.h to text.
 *
 * HTTP message, body codings, charset, HTML; adds text, enc{declared,
 * detected, used, replaced} and metadata{title, lang, ...}. What is no text is
 * dropped with a rule: "extract.http_status" (not 2xx), "extract.not_html"
 * (neither HTML nor plain text), "extract.empty" (less text than min_chars).
 * Pages that hit a cap are damage. Documents that have no raw bytes pass. */
#ifndef KJ_EXTRACT_STAGE_H
#define KJ_EXTRACT_STAGE_H

#include "base/stage.h"

extern const struct kj_opt kj_extract_opts[];
extern const struct kj_stage kj_stage_extract;

#endif
