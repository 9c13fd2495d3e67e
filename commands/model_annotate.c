/* model_annotate.c - kijil model annotate.
 *
 * The output grows by one whole line for each document that is settled, written
 * by one call, so it is what is known at any moment. Started again, the command
 * reads it, cuts off a line that a crash left torn, and passes over the ids in
 * it. A document without any answer is not written: it is asked about again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "classify/annotate.h"
#include "classify/prepare.h"
#include "commands/model_job.h"

struct pending {
    char *line; /* the document as JSON without its closing brace */
    size_t n;
};

struct work {
    struct model_job *j;
    struct kj_source src;
    struct kj_batch batch;
    size_t at; /* next document of the batch */
    bool open, ended;
    uint64_t *ids; /* hashes of those that are done; 0: free */
    size_t n_ids, mask;
    uint64_t seen, passed, empty;
    struct kj_buf prompt, out;
    char field[2][64]; /* of score and reason */
    int fd;
};

/* ---- ids that are done ---- */

static size_t id_slot(const struct work *w, uint64_t h)
{
    size_t at = h & w->mask;
    while (w->ids[at] && w->ids[at] != h)
        at = (at + 1) & w->mask;
    return at;
}

/* false: it was there. */
static bool id_add(struct work *w, struct kj_str id)
{
    uint64_t h = kj_hash64(id.p, id.n, 0) | 1;
    if (2 * (w->n_ids + 1) > w->mask) {
        uint64_t *old = w->ids;
        size_t n = w->mask ? w->mask + 1 : 0;
        w->mask = n ? 2 * n - 1 : 1023;
        w->ids = kj_xcalloc(w->mask + 1, sizeof *w->ids);
        for (size_t i = 0; i < n; i++)
            if (old[i])
                w->ids[id_slot(w, old[i])] = old[i];
        free(old);
    }
    size_t at = id_slot(w, h);
    if (w->ids[at])
        return false;
    w->ids[at] = h;
    w->n_ids++;
    return true;
}

/* Cut a torn line off the end, and learn the ids of the others. */
static int read_done(struct work *w, struct kj_err *err)
{
    const char *path = w->j->common.output;
    struct kj_source src;
    struct kj_batch b;
    struct stat st;
    char c = '\n', head[7] = "";
    if (fstat(w->fd, &st) != 0 || st.st_size == 0)
        return KJ_OK;
    off_t end = st.st_size;
    while (end > 0 && pread(w->fd, &c, 1, end - 1) == 1 && c != '\n')
        end--;
    if (end < st.st_size && (pread(w->fd, head, 6, end) < 0 ||
                             strncmp(head, "{\"id\":", strlen(head)) != 0))
        return kj_err_set(err, KJ_FAIL, "%s is no output of annotate", path);
    if (end < st.st_size && ftruncate(w->fd, end) != 0)
        return kj_err_errno(err, KJ_FAIL, "cannot cut off the torn line of %s", path);
    int rc = kj_jsonl_source(&src, &path, 1, err);
    if (rc != KJ_OK)
        return rc;
    kj_batch_init(&b);
    while (rc == KJ_OK) {
        kj_batch_reset(&b);
        rc = src.read(src.self, &b, err);
        if (rc == KJ_OK && src.decode)
            rc = src.decode(src.self, &b, err);
        for (size_t i = 0; i < b.n && rc == KJ_OK; i++)
            if (!kj_doc_kept(&b.docs[i]))
                rc = kj_err_set(err, KJ_FAIL, "%s is no output of annotate", path);
            else
                id_add(w, b.docs[i].id);
    }
    src.close(src.self);
    kj_batch_release(&b);
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int open_output(struct work *w, struct kj_err *err)
{
    const char *path = w->j->common.output;
    size_t n = strlen(path);
    if (strcmp(path, "-") == 0 || (n > 4 && strcmp(path + n - 4, ".zst") == 0) ||
        (n > 3 && strcmp(path + n - 3, ".gz") == 0))
        return kj_err_set(err, KJ_USAGE,
                          "the output grows line by line: a plain file, not %s", path);
    w->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0)
        return kj_err_set(err, KJ_FAIL, "another process is writing to %s", path);
    return read_done(w, err);
}

/* ---- documents in ---- */

static bool is_korean(const struct work *w, const struct kj_doc *d)
{
    if (w->j->c.prompt_language)
        return w->j->c.prompt_language == 2;
    if (d->language.n)
        return kj_str_is(d->language, "ko");
    const char *script = kj_classify_script(d->text.p, d->text.n);
    return script && (strcmp(script, "Hang") == 0 || strcmp(script, "Kore") == 0);
}

/* The next document that is to be asked about; KJ_EOF. Valid until the next. */
static int next_document(struct work *w, struct kj_doc **out, struct kj_err *err)
{
    while (!w->ended) {
        while (w->at < w->batch.n) {
            struct kj_doc *d = &w->batch.docs[w->at++];
            if (!kj_doc_kept(d)) {
                w->j->damaged++;
                continue;
            }
            w->seen++;
            if (d->text.n == 0)
                w->empty++;
            else if (!id_add(w, d->id))
                w->passed++;
            else {
                *out = d;
                return KJ_OK;
            }
        }
        kj_batch_reset(&w->batch);
        w->at = 0;
        int rc = w->src.read(w->src.self, &w->batch, err);
        if (rc == KJ_OK && w->src.decode)
            rc = w->src.decode(w->src.self, &w->batch, err);
        w->ended = rc == KJ_EOF;
        if (rc < 0)
            return rc;
    }
    return KJ_EOF;
}

static void forget_field(struct kj_doc *d, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_fields; i++)
        if (!kj_str_is(d->fields[i].key, name))
            d->fields[n++] = d->fields[i];
    d->n_fields = n;
}

static int next(void *ctx, struct kj_annotate_doc *out, struct kj_err *err)
{
    struct work *w = ctx;
    struct kj_doc *d;
    int rc = next_document(w, &d, err);
    if (rc != KJ_OK)
        return rc;
    forget_field(d, w->field[0]);
    forget_field(d, w->field[1]);
    kj_buf_reset(&w->out);
    if ((rc = kj_doc_write(d, NULL, false, &w->out, err)) != KJ_OK)
        return rc;
    struct pending *p = kj_xmalloc(sizeof *p);
    p->n = w->out.n - 2; /* "}\n" */
    p->line = kj_xstrndup(w->out.p, p->n);
    *out = (struct kj_annotate_doc){kj_xstrndup(d->text.p, d->text.n), d->text.n,
                                    is_korean(w, d), p};
    return KJ_OK;
}

/* ---- answers out ---- */

static void drop(void *ctx, struct kj_annotate_doc *d)
{
    struct pending *p = d->user;
    (void)ctx;
    if (p)
        free(p->line);
    free(p);
    d->user = NULL;
}

static int append(struct work *w, struct kj_err *err)
{
    ssize_t n = write(w->fd, w->out.p, w->out.n);
    if (n == (ssize_t)w->out.n)
        return KJ_OK;
    if (n >= 0)
        errno = ENOSPC;
    return kj_err_errno(err, KJ_FAIL, "cannot write to %s", w->j->common.output);
}

static int done(void *ctx, struct kj_annotate_doc *d,
                const struct kj_annotate_answer *a, int tries, struct kj_err *err)
{
    struct work *w = ctx;
    const struct pending *p = d->user;
    int rc = KJ_OK;
    if (a->kind != KJ_ANNOTATE_FAILED && a->kind != KJ_ANNOTATE_MALFORMED) {
        const char *kind = kj_annotate_kinds[a->kind], *model = w->j->c.llm;
        kj_buf_reset(&w->out);
        kj_buf_add(&w->out, p->line, p->n);
        kj_buf_printf(&w->out, ",\"%s\":", w->field[0]);
        if (a->kind == KJ_ANNOTATE_SCORE)
            kj_json_put_int(&w->out, a->score);
        else
            kj_buf_addz(&w->out, "null");
        kj_buf_printf(&w->out, ",\"%s\":{\"outcome\":\"%s\",\"by\":", w->field[1],
                      kind);
        kj_json_put_str(&w->out, model, strlen(model));
        kj_buf_printf(&w->out, ",\"prompt\":\"%s\",\"tries\":%d,\"reason\":",
                      w->j->c.prompt ? "own"
                      : d->korean    ? "ko"
                                     : "en",
                      tries);
        kj_json_put_str(&w->out, a->reason.p ? a->reason.p : "", a->reason.n);
        rc = kj_buf_addz(&w->out, "}}\n") == KJ_OK
                 ? append(w, err)
                 : kj_err_set(err, KJ_FAIL, "an answer is too long");
    }
    drop(w, d);
    return rc;
}

/* ---- the verb ---- */

static int open_input(struct work *w, struct kj_err *err)
{
    const struct model_job *j = w->j;
    snprintf(w->field[0], sizeof w->field[0], "%s_score", j->c.as);
    snprintf(w->field[1], sizeof w->field[1], "%s_note", j->c.as);
    if (j->c.prompt) {
        int rc = kj_input_slurp(j->c.prompt, &w->prompt, err);
        if (rc != KJ_OK)
            return rc;
        if (!strstr(kj_buf_z(&w->prompt), "{text}"))
            return kj_err_set(err, KJ_USAGE,
                              "%s has no {text}, where the document goes", j->c.prompt);
    }
    int rc = kj_jsonl_source(&w->src, j->pos.v + 1, j->pos.n - 1, err);
    w->open = rc == KJ_OK;
    return rc;
}

static double money(const struct model_cfg *c, double in, double out)
{
    return (in * c->price_in + out * c->price_out) / 1e6;
}

/* What it will take, without a request. */
static int estimate(struct work *w, struct kj_err *err)
{
    const struct model_cfg *c = &w->j->c;
    double docs = 0, in = 0, out, minutes;
    struct kj_doc *d;
    int rc;
    while ((rc = next_document(w, &d, err)) == KJ_OK) {
        struct kj_str p = w->prompt.n ? (struct kj_str){w->prompt.p, w->prompt.n}
                                      : kj_annotate_prompt(is_korean(w, d));
        size_t n = 0;
        int64_t chars = 0;
        for (; n < d->text.n; n++)
            if (((unsigned char)d->text.p[n] & 0xC0) != 0x80 && chars++ == c->max_chars)
                break;
        docs++;
        in += kj_annotate_tokens(p.p, p.n) + kj_annotate_tokens(d->text.p, n);
    }
    if (rc != KJ_EOF)
        return rc;
    out = docs * (double)c->max_tokens;
    minutes = docs * c->expect_seconds / (double)c->concurrency / 60;
    if (c->rpm > 0 && docs / c->rpm > minutes)
        minutes = docs / c->rpm;
    printf("documents: %llu\ndone_already: %llu\nestimate_requests: %.0f\n"
           "estimate_tokens_in: %.0f\nestimate_tokens_out: at most %.0f\n"
           "estimate_minutes: %.1f\n",
           (unsigned long long)w->seen, (unsigned long long)w->passed, docs, in, out,
           minutes);
    if (c->price_in > 0 || c->price_out > 0)
        printf("estimate_cost: at most %.2f\n", money(c, in, out));
    return KJ_OK;
}

static void closing(const struct work *w, const struct kj_annotate_counts *n)
{
    const struct model_cfg *c = &w->j->c;
    fprintf(stderr,
            "kijil " KJ_VERSION " model annotate: %llu documents, %llu done "
            "before or twice, %llu without text;",
            (unsigned long long)w->seen, (unsigned long long)w->passed,
            (unsigned long long)w->empty);
    for (int k = 0; k <= KJ_ANNOTATE_FAILED; k++)
        fprintf(stderr, " %llu %s%s", (unsigned long long)n->kinds[k],
                kj_annotate_kinds[k], k < KJ_ANNOTATE_FAILED ? "," : "\n");
    fprintf(stderr,
            "%llu requests, %llu of them again, %llu answered 429; tokens: %lld "
            "in, %lld out",
            (unsigned long long)n->requests, (unsigned long long)n->retries,
            (unsigned long long)n->limited, (long long)n->tokens_in,
            (long long)n->tokens_out);
    if (c->price_in > 0 || c->price_out > 0)
        fprintf(stderr, ", %.4f",
                money(c, (double)n->tokens_in, (double)n->tokens_out));
    fputc('\n', stderr);
    kj_model_closing(w->j);
}

static int ask(struct work *w, struct kj_annotate_counts *counts, struct kj_err *err)
{
    const struct model_cfg *c = &w->j->c;
    const char *key = getenv("KIJIL_API_KEY");
    struct kj_str own = {w->prompt.p, w->prompt.n};
    struct kj_annotate o = {.url = c->url,
                            .model = c->llm,
                            .key = key && *key ? key : NULL,
                            .prompt = {own.n ? own : kj_annotate_prompt(false),
                                       own.n ? own : kj_annotate_prompt(true)},
                            .concurrency = c->concurrency,
                            .tries = c->tries,
                            .max_chars = c->max_chars,
                            .max_tokens = c->max_tokens,
                            .rpm = c->rpm,
                            .timeout = c->timeout,
                            .backoff = c->backoff,
                            .stop = &kj_interrupted,
                            .next = next,
                            .done = done,
                            .drop = drop,
                            .ctx = w};
    int rc = kj_annotate_run(&o, counts, err);
    if (!w->j->common.quiet)
        closing(w, counts);
    return rc;
}

static int usage(const struct model_job *j, struct kj_err *err)
{
    if (!j->common.output)
        return kj_err_set(err, KJ_USAGE, "where do the answers go? (-o FILE.jsonl)");
    if (!j->c.as[0] || strlen(j->c.as) > 40 ||
        j->c.as[strspn(j->c.as, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return kj_err_set(err, KJ_USAGE, "'%s' cannot be the name of a score", j->c.as);
    if (!j->common.dry_run && (!j->c.url || !j->c.llm))
        return kj_err_set(err, KJ_USAGE,
                          "which server and model? (--url http://HOST/v1 "
                          "--llm NAME)");
    return KJ_OK;
}

int kj_model_annotate(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct work w = {.j = j, .fd = -1};
    struct kj_annotate_counts counts = {0};
    int rc = usage(j, &err);
    kj_buf_init(&w.prompt, 1 << 20);
    kj_buf_init(&w.out, (size_t)1 << 30);
    kj_batch_init(&w.batch);
    if (rc == KJ_OK)
        rc = open_input(&w, &err);
    if (rc == KJ_OK && (!j->common.dry_run || access(j->common.output, F_OK) == 0))
        rc = open_output(&w, &err);
    kj_cmd_signals();
    if (rc == KJ_OK)
        rc = j->common.dry_run ? estimate(&w, &err) : ask(&w, &counts, &err);
    if (w.open)
        w.src.close(w.src.self);
    if (w.fd >= 0)
        close(w.fd);
    kj_batch_release(&w.batch);
    kj_buf_release(&w.prompt);
    kj_buf_release(&w.out);
    free(w.ids);
    if (rc == KJ_EOF)
        return 130;
    if (rc != KJ_OK)
        return kj_cmd_fail(j->cmd, &err);
    return counts.kinds[KJ_ANNOTATE_FAILED] + counts.kinds[KJ_ANNOTATE_MALFORMED] ? 3
                                                                                  : 0;
}
