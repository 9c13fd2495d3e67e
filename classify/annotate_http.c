/* annotate_http.c - many requests at once over libcurl's multi interface.
 *
 * A slot holds one document until it is done: it waits for its turn (the rate
 * limit, a server's Retry-After, its own back-off), is under way, or is free.
 * Time is monotonic. The delay before try k is backoff * 2^(k-1), times 0.5 to
 * 1.5 by the slot's number, so that slots that failed together do not come back
 * together; no delay is over a minute, but for a Retry-After.
 */
#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "classify/annotate.h"

#define BODY_MAX     ((size_t)4 << 20) /* of a response */
#define DELAY_MAX    60.0
#define RETRY_MAX    3600.0 /* longest Retry-After that is obeyed */
#define POLL_MS      100    /* how late a stop may be noticed */
#define FAILURES_MAX 25     /* documents without any answer, one after another */

struct slot {
    enum { FREE, WAITING, ASKING } state;
    struct kj_annotate_doc doc;
    int tries; /* begun */
    double not_before;
    CURL *easy;
    struct kj_buf request, body;
};

struct pump {
    const struct kj_annotate *o;
    struct kj_annotate_counts *counts;
    CURLM *multi;
    struct curl_slist *headers;
    struct kj_json *json;
    struct slot *slots;
    char *address;
    bool drained;      /* no more documents */
    double gate;       /* no request before: the server said so */
    double turn;       /* no request before: the rate limit */
    unsigned failures; /* in a row */
    struct kj_err *err;
};

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct slot *s = ctx;
    return kj_buf_add(&s->body, p, size * n) == KJ_OK ? size * n : 0;
}

static int begin(struct pump *p, struct slot *s)
{
    const struct kj_annotate *o = p->o;
    struct kj_annotate_ask ask = {o->model, o->prompt[s->doc.korean], o->max_chars,
                                  o->max_tokens, s->tries};
    kj_buf_reset(&s->request);
    kj_buf_reset(&s->body);
    if (kj_annotate_request(&s->request, &ask, s->doc.text, s->doc.n) != KJ_OK)
        return kj_err_set(p->err, KJ_FATAL, "a request is too large");
    if (!s->easy && !(s->easy = curl_easy_init()))
        return kj_err_set(p->err, KJ_FATAL, "libcurl cannot begin a request");
    curl_easy_reset(s->easy);
    curl_easy_setopt(s->easy, CURLOPT_URL, p->address);
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, p->headers);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->request.n);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->request.p);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)(o->timeout * 1000));
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (curl_multi_add_handle(p->multi, s->easy) != CURLM_OK)
        return kj_err_set(p->err, KJ_FATAL, "libcurl cannot take a request");
    s->state = ASKING;
    s->tries++;
    p->counts->requests++;
    p->counts->retries += s->tries > 1;
    return KJ_OK;
}

static int finish(struct pump *p, struct slot *s, const struct kj_annotate_answer *a)
{
    s->state = FREE;
    p->counts->kinds[a->kind]++;
    p->failures = a->kind == KJ_ANNOTATE_FAILED ? p->failures + 1 : 0;
    int rc = p->o->done(p->o->ctx, &s->doc, a, s->tries, p->err);
    free(s->doc.text);
    s->doc = (struct kj_annotate_doc){0};
    if (rc == KJ_OK && p->failures >= FAILURES_MAX)
        rc = kj_err_set(p->err, KJ_FAIL,
                        "%u documents in a row had no answer from %s; what is done is "
                        "kept, and the same command goes on",
                        p->failures, p->address);
    return rc;
}

/* Again later, or what it is when there is no try left. */
static int again(struct pump *p, struct slot *s, const struct kj_annotate_answer *a,
                 double retry_after)
{
    if (s->tries >= p->o->tries)
        return finish(p, s, a);
    double jitter = 0.5 + fmod((double)(s - p->slots) * 0.618, 1);
    double delay = fmin(p->o->backoff * pow(2, s->tries - 1) * jitter, DELAY_MAX);
    s->state = WAITING;
    s->not_before = kj_now() + fmax(delay, fmin(retry_after, RETRY_MAX));
    return KJ_OK;
}

static bool worth_retrying(long status)
{
    return status == 408 || status == 409 || status == 425 || status == 429 ||
           status >= 500;
}

static int refused_all(struct pump *p, const struct slot *s, long status)
{
    return kj_err_set(p->err, KJ_FAIL, "%s answers %ld: %.*s", p->address, status,
                      (int)(s->body.n < 200 ? s->body.n : 200),
                      s->body.n ? s->body.p : "");
}

static int answered(struct pump *p, struct slot *s, CURLcode code)
{
    struct kj_annotate_answer a = {.kind = KJ_ANNOTATE_FAILED};
    curl_off_t wait = 0;
    long status = 0;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &wait);
    curl_multi_remove_handle(p->multi, s->easy);
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
        return kj_err_set(p->err, KJ_USAGE, "%s: %s", p->address,
                          curl_easy_strerror(code));
    if (code != CURLE_OK)
        return again(p, s, &a, 0);
    if (status == 401 || status == 403 || status == 404)
        return refused_all(p, s, status);
    if (worth_retrying(status)) {
        if (status == 429) {
            p->counts->limited++;
            p->gate = fmax(p->gate, kj_now() + fmin((double)wait, RETRY_MAX));
        }
        return again(p, s, &a, (double)wait);
    }
    if (status != 200) {
        a.kind = KJ_ANNOTATE_REJECTED;
        a.reason = (struct kj_str){s->body.p, s->body.n < 300 ? s->body.n : 300};
        return finish(p, s, &a);
    }
    a = kj_annotate_read(p->json, s->body.p ? s->body.p : "", s->body.n);
    p->counts->tokens_in += a.tokens_in;
    p->counts->tokens_out += a.tokens_out;
    return a.kind == KJ_ANNOTATE_SCORE ? finish(p, s, &a) : again(p, s, &a, 0);
}

/* Take documents into free slots, and begin what may begin. */
static int feed(struct pump *p)
{
    double t = kj_now();
    int rc = KJ_OK;
    for (int64_t i = 0; i < p->o->concurrency && rc == KJ_OK; i++) {
        struct slot *s = &p->slots[i];
        if (s->state == FREE && !p->drained) {
            rc = p->o->next(p->o->ctx, &s->doc, p->err);
            p->drained = rc == KJ_EOF;
            if (rc == KJ_OK) {
                s->state = WAITING;
                s->tries = 0;
                s->not_before = t;
            }
            rc = rc == KJ_EOF ? KJ_OK : rc;
        }
        if (rc == KJ_OK && s->state == WAITING && s->not_before <= t && p->gate <= t &&
            p->turn <= t) {
            rc = begin(p, s);
            if (p->o->rpm > 0) /* no catching up after a pause */
                p->turn = fmax(p->turn + 60 / p->o->rpm, t);
        }
    }
    return rc;
}

static bool busy(const struct pump *p)
{
    for (int64_t i = 0; i < p->o->concurrency; i++)
        if (p->slots[i].state != FREE)
            return true;
    return !p->drained;
}

static int turn(struct pump *p)
{
    int running, left, rc = feed(p);
    CURLMsg *m;
    if (rc == KJ_OK && curl_multi_perform(p->multi, &running) != CURLM_OK)
        rc = kj_err_set(p->err, KJ_FATAL, "libcurl has failed");
    while (rc == KJ_OK && (m = curl_multi_info_read(p->multi, &left)) != NULL) {
        struct slot *s = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
        rc = answered(p, s, code);
    }
    if (rc == KJ_OK && busy(p)) {
        double t = kj_now(), wait = POLL_MS / 1e3;
        for (int64_t i = 0; i < p->o->concurrency; i++)
            if (p->slots[i].state == WAITING)
                wait = fmin(wait,
                            fmax(p->slots[i].not_before, fmax(p->gate, p->turn)) - t);
        curl_multi_poll(p->multi, NULL, 0, wait > 0 ? (int)ceil(wait * 1e3) : 0, NULL);
    }
    return rc;
}

static int open_pump(struct pump *p)
{
    const struct kj_annotate *o = p->o;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    size_t n = strlen(o->url);
    while (n > 0 && o->url[n - 1] == '/')
        n--;
    kj_buf_printf(&b, "%.*s/chat/completions", (int)n, o->url);
    p->address = kj_xstrdup(kj_buf_z(&b));
    p->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (o->key) {
        kj_buf_reset(&b);
        kj_buf_printf(&b, "Authorization: Bearer %s", o->key);
        p->headers = curl_slist_append(p->headers, kj_buf_z(&b));
    }
    kj_buf_release(&b);
    p->slots = kj_xcalloc((size_t)o->concurrency, sizeof *p->slots);
    for (int64_t i = 0; i < o->concurrency; i++) {
        kj_buf_init(&p->slots[i].request, (size_t)1 << 30);
        kj_buf_init(&p->slots[i].body, BODY_MAX);
    }
    p->json = kj_json_new();
    p->multi = curl_global_init(CURL_GLOBAL_DEFAULT) == 0 ? curl_multi_init() : NULL;
    return p->multi ? KJ_OK : kj_err_set(p->err, KJ_FATAL, "libcurl cannot start");
}

static void close_pump(struct pump *p)
{
    for (int64_t i = 0; i < p->o->concurrency; i++) {
        struct slot *s = &p->slots[i];
        if (s->state == ASKING)
            curl_multi_remove_handle(p->multi, s->easy);
        if (s->state != FREE)
            p->o->drop(p->o->ctx, &s->doc);
        if (s->easy)
            curl_easy_cleanup(s->easy);
        free(s->doc.text);
        kj_buf_release(&s->request);
        kj_buf_release(&s->body);
    }
    curl_multi_cleanup(p->multi);
    curl_slist_free_all(p->headers);
    kj_json_free(p->json);
    free(p->slots);
    free(p->address);
}

int kj_annotate_run(const struct kj_annotate *o, struct kj_annotate_counts *counts,
                    struct kj_err *err)
{
    struct pump p = {.o = o, .counts = counts, .err = err};
    *counts = (struct kj_annotate_counts){0};
    int rc = open_pump(&p);
    while (rc == KJ_OK && busy(&p))
        rc = o->stop && atomic_load(o->stop) ? KJ_EOF : turn(&p);
    close_pump(&p);
    return rc;
}
