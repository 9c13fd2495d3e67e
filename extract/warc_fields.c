/* warc_fields.c - see warc_fields.h. */
#include "extract/warc_fields.h"

#include <stdio.h>
#include <string.h>

#include "extract/lex.h"

size_t kj_warc_fields_parse(const char *p, size_t n, struct kj_buf *head,
                            struct kj_warc_field *fields)
{
    size_t n_fields = 0;
    kj_buf_reset(head);
    kj_buf_reserve(head, n + 1); /* so that views stay */
    while (n > 0) {
        const char *nl = memchr(p, '\n', n);
        size_t len = nl ? (size_t)(nl - p) : n;
        size_t step = nl ? len + 1 : n;
        struct kj_str line = kj_lex_trim(p, len);
        struct kj_warc_field *last = n_fields ? &fields[n_fields - 1] : NULL;
        if (len && (p[0] == ' ' || p[0] == '\t') && last) {
            kj_buf_addc(head, ' ');
            kj_buf_add(head, line.p, line.n);
            if (last->value.n)
                last->value.n += line.n + 1;
            else
                last->value = kj_lex_trim(head->p + head->n - line.n, line.n);
        } else {
            const char *colon = memchr(p, ':', len);
            if (colon && n_fields < KJ_WARC_FIELDS_MAX) {
                struct kj_str k = kj_lex_trim(p, (size_t)(colon - p));
                struct kj_str v = kj_lex_trim(colon + 1, len - (size_t)(colon + 1 - p));
                struct kj_warc_field *f = &fields[n_fields++];
                kj_buf_add(head, k.p, k.n);
                f->name = (struct kj_str){head->p + head->n - k.n, k.n};
                kj_buf_add(head, v.p, v.n);
                f->value = (struct kj_str){head->p + head->n - v.n, v.n};
            }
        }
        p += step;
        n -= step;
    }
    return n_fields;
}

struct kj_str kj_warc_get(const struct kj_warc_rec *rec, const char *name)
{
    for (size_t i = 0; i < rec->n_fields; i++)
        if (kj_lex_same(rec->fields[i].name, name))
            return rec->fields[i].value;
    return (struct kj_str){NULL, 0};
}

void kj_warc_fields_fill(struct kj_warc_rec *r)
{
    struct kj_str t = kj_warc_get(r, "warc-type");
    if (t.n) {
        size_t n = t.n < sizeof r->type - 1 ? t.n : sizeof r->type - 1;
        for (size_t i = 0; i < n; i++)
            r->type[i] = (char)(t.p[i] >= 'A' && t.p[i] <= 'Z' ? t.p[i] + 32 : t.p[i]);
        r->type[n] = 0;
    } else {
        snprintf(r->type, sizeof r->type, "%s", t.p ? "(empty)" : "(none)");
    }
    r->id = kj_warc_get(r, "warc-record-id");
    r->uri = kj_warc_get(r, "warc-target-uri");
    if (r->uri.n > 2 && r->uri.p[0] == '<' && r->uri.p[r->uri.n - 1] == '>')
        r->uri = (struct kj_str){r->uri.p + 1, r->uri.n - 2}; /* wget writes them */
    r->date = kj_warc_get(r, "warc-date");
    r->digest = kj_warc_get(r, "warc-payload-digest");
    r->content_type = kj_warc_get(r, "content-type");
}
