/* refine_set.c - labelled documents for refine. */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/jsonl.h"
#include "classify/prepare.h"
#include "classify/refine_internal.h"

#define LABEL "__label__"

int refine_line(struct kj_buf *b, const char *p, size_t n)
{
    int rc = kj_classify_flatten(b, p, n);
    if (rc != KJ_OK || b->n == 0)
        return rc;
    for (char *at = b->p; (at = memmem(at, b->n - (size_t)(at - b->p), LABEL,
                                       sizeof LABEL - 1)) != NULL;)
        *at = ' ';
    return KJ_OK;
}

/* 1 positive, 0 negative, -1 no label. */
static int judge(const struct kj_refine_rule *rule, const struct kj_jval *v)
{
    switch (v->kind) {
    case KJ_J_BOOL:
        return v->b;
    case KJ_J_INT:
    case KJ_J_REAL:
        return kj_jnum(v, 0) >= rule->min;
    case KJ_J_STR:
        for (size_t i = 0; i < rule->words->n; i++)
            if (kj_str_is(v->s, rule->words->v[i]))
                return 1;
        return v->s.n ? 0 : -1;
    default:
        return -1;
    }
}

static int label_of(const struct kj_refine_rule *rule, const struct kj_doc *d,
                    struct kj_json *json)
{
    const struct kj_jval *v;
    struct kj_err ignored = KJ_ERR_INIT;
    struct kj_str raw = kj_doc_get(d, rule->field);
    if (strcmp(rule->field, "source") == 0) {
        struct kj_jval word = {.kind = KJ_J_STR, .s = d->source};
        return judge(rule, &word);
    }
    if (!raw.n || kj_json_parse(json, raw.p, raw.n, &v, &ignored) != KJ_OK)
        return -1;
    return judge(rule, v);
}

static int add(struct kj_refine_set *s, const struct kj_doc *d, bool positive,
               struct kj_buf *line, struct kj_err *err)
{
    int rc = refine_line(line, d->text.p, d->text.n);
    size_t at = s->text.n;
    if (rc == KJ_OK)
        rc = kj_buf_add(&s->text, line->p, line->n);
    if (rc != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "the labelled texts do not fit --memory");
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->v = kj_xrealloc(s->v, s->cap * sizeof *s->v);
    }
    s->v[s->n++] = (struct kj_refine_item){.id = kj_hash64(d->id.p, d->id.n, 1),
                                           .text = kj_hash64(line->p, line->n, 0),
                                           .at = at,
                                           .n = line->n,
                                           .positive = positive};
    s->positives += positive;
    return KJ_OK;
}

static int add_batch(struct kj_refine_set *s, struct kj_batch *b,
                     const struct kj_refine_rule *rule, struct kj_json *json,
                     struct kj_buf *line, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d)) {
            s->damaged++;
            continue;
        }
        int label = label_of(rule, d, json);
        if (label < 0)
            s->unlabelled++;
        else
            rc = add(s, d, label == 1, line, err);
    }
    return rc;
}

int kj_refine_set_read(struct kj_refine_set *s, const char *const *files, size_t n,
                       const struct kj_refine_rule *rule, size_t memory,
                       struct kj_err *err)
{
    struct kj_source src;
    struct kj_batch b;
    struct kj_buf line;
    *s = (struct kj_refine_set){0};
    kj_buf_init(&s->text, memory);
    if (n == 0)
        return KJ_OK;
    int rc = kj_jsonl_source(&src, files, n, err);
    if (rc != KJ_OK)
        return rc;
    struct kj_json *json = kj_json_new();
    kj_batch_init(&b);
    kj_buf_init(&line, KJ_DOC_LINE_MAX);
    while (rc == KJ_OK) {
        kj_batch_reset(&b);
        rc = src.read(src.self, &b, err);
        if (rc == KJ_OK && src.decode)
            rc = src.decode(src.self, &b, err);
        if (rc == KJ_OK)
            rc = add_batch(s, &b, rule, json, &line, err);
    }
    src.close(src.self);
    kj_json_free(json);
    kj_batch_release(&b);
    kj_buf_release(&line);
    return rc == KJ_EOF ? KJ_OK : rc;
}

void kj_refine_set_release(struct kj_refine_set *s)
{
    kj_buf_release(&s->text);
    free(s->v);
    *s = (struct kj_refine_set){0};
}
