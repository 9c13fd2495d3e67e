/* faults.c - the first damaged inputs of a run, with file, place and reason, for
 * the closing lines: who has no --rejects must still see what was wrong. */
#include "commands/commands.h"

#include <string.h>

static int fault_batch(void *self, const struct kj_flow *flow, const struct kj_batch *b,
                       struct kj_err *err)
{
    struct kj_faults *f = self;
    (void)flow;
    (void)err;
    for (size_t i = 0; i < b->n && f->n < KJ_FAULTS; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (kj_doc_kept(d) || !d->out.damaged)
            continue;
        struct kj_str file = d->warc.file.n ? d->warc.file : d->file_path;
        char *to = f->text[f->n++];
        size_t cap = sizeof f->text[0];
        int at = snprintf(to, cap, "%.*s", (int)(file.n < 160 ? file.n : 160),
                          file.n ? file.p : "");
        if (d->warc.offset >= 0)
            at += snprintf(to + at, cap - (size_t)at, "%sat %lld", at ? " " : "",
                           (long long)d->warc.offset);
        snprintf(to + at, cap - (size_t)at, "%s%s", at ? ": " : "",
                 d->out.note ? d->out.note : d->out.rule);
    }
    return KJ_OK;
}

struct kj_watch kj_faults_watch(struct kj_faults *f)
{
    f->n = 0;
    return (struct kj_watch){.self = f, .batch = fault_batch};
}

/* Names and reasons come from the input: nothing that a terminal obeys. */
static void print_clean(const char *s)
{
    for (; *s; s++)
        fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, stderr);
    fputc('\n', stderr);
}

void kj_faults_print(const struct kj_faults *f, const struct kj_common *c,
                     uint64_t damaged)
{
    if (!damaged)
        return;
    fprintf(stderr, "%llu damaged input%s stepped over; ", (unsigned long long)damaged,
            damaged == 1 ? " was" : "s were");
    if (c->rejects)
        fprintf(stderr, "%s has %s:\n", c->rejects, damaged == 1 ? "it" : "them");
    else
        fprintf(stderr, "--rejects FILE keeps %s:\n", damaged == 1 ? "it" : "them");
    for (size_t i = 0; i < f->n; i++) {
        fputs("  ", stderr);
        print_clean(f->text[i]);
    }
    if (damaged > f->n && f->n)
        fprintf(stderr, "  and %llu more\n", (unsigned long long)(damaged - f->n));
}
