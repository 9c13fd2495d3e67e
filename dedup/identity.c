/* identity.c - hashes of documents. */
#include "dedup/identity.h"

#include "base/doc.h"
#include "base/hash.h"

uint32_t kj_dedup_check(const struct kj_doc *d)
{
    return (uint32_t)kj_hash64(d->text.p, d->text.n, 0) | 1;
}

uint64_t kj_dedup_tie(const struct kj_doc *d)
{
    const struct kj_str *s[] = {&d->text,      &d->url,    &d->date,     &d->dump,
                                &d->file_path, &d->source, &d->warc.file};
    uint64_t h = (uint64_t)d->warc.offset;
    for (size_t i = 0; i < sizeof s / sizeof *s; i++)
        h = kj_hash64(s[i]->p, s[i]->n, h + 1);
    for (size_t i = 0; i < d->n_fields; i++) {
        h = kj_hash64(d->fields[i].key.p, d->fields[i].key.n, h);
        h = kj_hash64(d->fields[i].json.p, d->fields[i].json.n, h);
    }
    return h;
}
