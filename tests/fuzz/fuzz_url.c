/* Any bytes as an address, as metadata, and as lines of every list: no fault. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filter/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char path[64];
    struct kj_err err = KJ_ERR_INIT;
    const struct kj_stage *st = &kj_stage_urls;
    snprintf(path, sizeof path, "/tmp/kj-fuzz-url-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f))
        abort();
    void *cfg = calloc(1, st->cfg_size);
    if (!cfg || kj_opt_defaults(st->opts, cfg, &err))
        abort();
    for (const struct kj_opt *o = st->opts; o->name; o++)
        if (strcmp(o->name, "blocklist") != 0 &&
            kj_opt_set(o, cfg, NULL,
                       strcmp(o->name, "respect") ? path : "robots,tdm,noai", &err))
            abort();
    if (st->open(cfg, &err) == KJ_OK) {
        struct kj_batch b;
        kj_batch_init(&b);
        struct kj_doc *d = kj_batch_add(&b);
        const char *nl = memchr(p, '\n', n);
        d->id = KJ_STR("x");
        d->url =
            (struct kj_str){(const char *)p, nl ? (size_t)(nl - (const char *)p) : n};
        kj_doc_set(d, &b.arena, "metadata", (struct kj_str){(const char *)p, n});
        if (st->run(cfg, NULL, &b, &err) != KJ_OK)
            abort();
        kj_batch_release(&b);
    }
    st->close(cfg);
    kj_opt_release(st->opts, cfg);
    free(cfg);
    unlink(path);
    return 0;
}
