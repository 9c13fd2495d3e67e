/* stages.h - the stages of this room: language, scores by a classifier, their bands. */
#ifndef KJ_CLASSIFY_STAGES_H
#define KJ_CLASSIFY_STAGES_H

#include <stddef.h>
#include <stdint.h>

#include "base/stage.h"

/* Adds language, language_score, language_script; drops by them on demand. */
extern const struct kj_stage kj_stage_lid;
/* Adds the probability of one label as a field; drops by it on demand. */
extern const struct kj_stage kj_stage_classify;
/* Adds the band of each score in the corpus, and one of all scores together. */
extern const struct kj_stage kj_stage_bands;

/* Their option tables, for the commands. */
extern const struct kj_opt kj_lid_opts[], kj_classify_opts[], kj_bands_opts[];

/* The built-in language model: a quantised fastText file (scripts/make_lid_model). */
extern const unsigned char kj_lid_data[];
extern const uint64_t kj_lid_size;

#endif
