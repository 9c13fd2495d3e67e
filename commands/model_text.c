/* model_text.c - labelled text for the verbs of kijil model, and their results. */
#define _GNU_SOURCE /* memmem */
#include "commands/model_job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/input.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "base/output.h"
#include "classify/prepare.h"

/* ---- input: fastText's format in one buffer ---- */

/* A label in fastText's format: no white space. */
static int add_label(struct kj_buf *b, const char *prefix, const char *p, size_t n)
{
    int rc = kj_buf_addz(b, prefix);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = kj_buf_addc(b, (unsigned char)p[i] <= ' ' ? '_' : p[i]);
    return rc == KJ_OK ? kj_buf_addc(b, ' ') : rc;
}

static int add_value(struct kj_buf *b, const char *prefix, const struct kj_jval *v)
{
    char number[32];
    switch (v->kind) {
    case KJ_J_STR:
        return v->s.n ? add_label(b, prefix, v->s.p, v->s.n) : KJ_OK;
    case KJ_J_INT:
        snprintf(number, sizeof number, "%lld", (long long)v->i);
        return add_label(b, prefix, number, strlen(number));
    case KJ_J_REAL:
        snprintf(number, sizeof number, "%.15g", v->r);
        return add_label(b, prefix, number, strlen(number));
    case KJ_J_BOOL:
        return add_label(b, prefix, v->b ? "true" : "false", v->b ? 4 : 5);
    case KJ_J_ARRAY: {
        int rc = KJ_OK;
        for (size_t i = 0; i < v->n && rc == KJ_OK; i++)
            if (v->items[i].kind != KJ_J_ARRAY)
                rc = add_value(b, prefix, &v->items[i]);
        return rc;
    }
    default:
        return KJ_OK;
    }
}

static struct kj_str known_field(const struct kj_doc *d, const char *name)
{
    if (strcmp(name, "source") == 0)
        return d->source;
    if (strcmp(name, "language") == 0)
        return d->language;
    if (strcmp(name, "dump") == 0)
        return d->dump;
    return (struct kj_str){NULL, 0};
}

static int add_document(struct model_job *j, const struct kj_doc *d,
                        struct kj_json *json, struct kj_buf *line, struct kj_buf *out)
{
    const char *prefix = j->c.t.label_prefix;
    const struct kj_jval *v;
    struct kj_err ignored = KJ_ERR_INIT;
    struct kj_str known = known_field(d, j->c.label_field);
    struct kj_str raw = kj_doc_get(d, j->c.label_field);
    int rc = KJ_OK;
    if (known.n)
        rc = add_label(out, prefix, known.p, known.n);
    else if (raw.n && kj_json_parse(json, raw.p, raw.n, &v, &ignored) == KJ_OK)
        rc = add_value(out, prefix, v);
    if (rc == KJ_OK)
        rc = kj_classify_flatten(line, d->text.p, d->text.n);
    if (rc == KJ_OK)
        rc = kj_buf_add(out, line->p, line->n);
    return rc == KJ_OK ? kj_buf_addc(out, '\n') : rc;
}

static int read_documents(struct model_job *j, const char *const *files, size_t n,
                          struct kj_buf *out, struct kj_err *err)
{
    struct kj_source src;
    struct kj_batch b;
    struct kj_buf line;
    int rc = kj_jsonl_source(&src, files, n, err), full = KJ_OK;
    if (rc != KJ_OK)
        return rc;
    struct kj_json *json = kj_json_new();
    kj_batch_init(&b);
    kj_buf_init(&line, KJ_DOC_LINE_MAX);
    while (rc == KJ_OK && full == KJ_OK) {
        kj_batch_reset(&b);
        rc = src.read(src.self, &b, err);
        if (rc == KJ_OK && src.decode)
            rc = src.decode(src.self, &b, err);
        for (size_t i = 0; i < b.n && rc == KJ_OK && full == KJ_OK; i++) {
            j->damaged += !kj_doc_kept(&b.docs[i]);
            if (kj_doc_kept(&b.docs[i]))
                full = add_document(j, &b.docs[i], json, &line, out);
        }
    }
    src.close(src.self);
    kj_json_free(json);
    kj_batch_release(&b);
    kj_buf_release(&line);
    if (full != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "the text does not fit --memory");
    return rc == KJ_EOF ? KJ_OK : rc;
}

int kj_model_read_text(struct model_job *j, const char *const *files, size_t n,
                       struct kj_buf *out, struct kj_err *err)
{
    static const char *const only_stdin[] = {"-"};
    int rc = KJ_OK;
    kj_buf_init(out, (size_t)j->common.memory);
    if (n == 0) {
        files = only_stdin;
        n = 1;
    }
    if (j->c.jsonl)
        return read_documents(j, files, n, out, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        if (out->n && out->p[out->n - 1] != '\n')
            rc = kj_buf_addc(out, '\n');
        if (rc == KJ_OK)
            rc = kj_input_slurp(files[i], out, err);
    }
    return rc;
}

int kj_model_write(const struct model_job *j, const struct kj_buf *b,
                   struct kj_err *err)
{
    struct kj_output *o;
    int rc = kj_output_open(&o, j->common.output, err);
    if (rc != KJ_OK)
        return rc;
    if ((rc = kj_output_write(o, b->p, b->n, err)) != KJ_OK) {
        kj_output_abort(o);
        return rc;
    }
    return kj_output_commit(o, err);
}

void kj_model_closing(const struct model_job *j)
{
    kj_cmd_usage_line(kj_now() - j->start, kj_seconds(CLOCK_PROCESS_CPUTIME_ID));
}

void kj_model_progress(void *ctx, double share, double lr, double loss)
{
    static double last;
    double now = floor(kj_now());
    const struct kj_common *c = ctx;
    if (share < 1 && now == last)
        return;
    last = now;
    if (c->progress == 2) {
        fprintf(stderr,
                "{\"command\":\"model\",\"share\":%.4f,\"lr\":%.6f,\"loss\":%.6f}\n",
                share, lr, loss);
        return;
    }
    if (c->progress == 1) {
        fprintf(stderr, "kijil model: %3.0f %% lr %.4f, loss %.4f\n", share * 100, lr,
                loss);
        return;
    }
    fprintf(stderr, "\r%5.1f %%  lr %.4f  loss %.4f  %s", share * 100, lr, loss,
            share < 1 ? "" : "\n");
}

/* The trainer speaks of words; here it is known what the input was. */
int kj_model_check_labels(const struct model_job *j, const struct kj_buf *text,
                          struct kj_err *err)
{
    const char *prefix = j->c.t.label_prefix;
    if (text->n == 0)
        return kj_err_set(err, KJ_FAIL, "the input is empty");
    if (memmem(text->p, text->n, prefix, strlen(prefix)))
        return KJ_OK;
    if (j->c.jsonl)
        return kj_err_set(err, KJ_FAIL,
                          "no document has a label in its field '%s'; --label-field "
                          "names another",
                          j->c.label_field);
    return kj_err_set(err, KJ_FAIL, "no line has a label, a word that begins with %s%s",
                      prefix, text->p[0] == '{' ? "; documents need --jsonl" : "");
}
