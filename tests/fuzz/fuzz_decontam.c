/* Any bytes as a document: spans lie inside it, scores in 0..1. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "filter/decontam.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct kj_decontam_state *state(void)
{
    static struct kj_decontam_state *s;
    char path[64];
    struct kj_err err = KJ_ERR_INIT;
    if (s)
        return s;
    snprintf(path, sizeof path, "/tmp/kj-fuzz-decontam-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    if (!f)
        abort();
    fputs(
        "{\"q\":\"one two three four five six seven eight nine ten\"}\n"
        "{\"q\":\"키질은 바람에 곡식을 까부는 일이다\",\"a\":[\"one two\",\"키질\"]}\n",
        f);
    fclose(f);
    static struct kj_decontam *d;
    d = kj_decontam_new(NULL);
    if (kj_decontam_add_file(d, path, &err) || kj_decontam_build(d, &err))
        abort();
    unlink(path);
    return s = kj_decontam_state_new(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_decontam_hit hits[4];
    double best;
    size_t k = kj_decontam_find(state(), (const char *)p, n, 0.1, hits, 4, &best);
    if (!(best >= 0 && best <= 1))
        abort();
    for (size_t i = 0; i < k; i++)
        if (hits[i].start > hits[i].end || hits[i].end > n ||
            !(hits[i].score >= 0.1 && hits[i].score <= best))
            abort();
    return 0;
}
