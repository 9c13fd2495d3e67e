/* stages.c - the table of stages: what can stand in a pipeline. */
#include "base/stage.h"

#include "classify/stages.h"
#include "dedup/dedup.h"
#include "extract/stage.h"
#include "filter/decontam.h"
#include "filter/filter.h"
#include "filter/url.h"
#include "tokenize/shards.h"

#include <string.h>

const struct kj_stage *const kj_stages[] = {
    &kj_stage_extract,       &kj_stage_lid,
    &kj_stage_urls,          &kj_stage_filter,
    &kj_stage_decontaminate, &kj_stage_dedup,
    &kj_stage_classify,      &kj_stage_bands,
    &kj_stage_tokenize,      NULL,
};

const struct kj_stage *kj_stage_find(const char *name)
{
    for (size_t i = 0; kj_stages[i]; i++)
        if (strcmp(kj_stages[i]->name, name) == 0)
            return kj_stages[i];
    return NULL;
}
