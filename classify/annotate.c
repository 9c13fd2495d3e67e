/* annotate.c - what is asked for a document, and what is taken for an answer. */
#include "classify/annotate.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

extern const char kj_prompt_en[], kj_prompt_ko[];
extern const uint64_t kj_prompt_en_size, kj_prompt_ko_size;

const char *const kj_annotate_kinds[] = {"scored",    "refused",  "invalid",
                                         "malformed", "rejected", "failed"};

struct kj_str kj_annotate_prompt(bool korean)
{
    return korean ? (struct kj_str){kj_prompt_ko, kj_prompt_ko_size}
                  : (struct kj_str){kj_prompt_en, kj_prompt_en_size};
}

/* Bytes of the first `chars` characters of UTF-8. */
static size_t prefix(const char *p, size_t n, int64_t chars)
{
    size_t i = 0;
    for (; i < n; i++)
        if (((unsigned char)p[i] & 0xC0) != 0x80 && chars-- == 0)
            break;
    return i;
}

static size_t find(const char *p, size_t n, const char *word)
{
    size_t w = strlen(word), i = 0;
    while (i + w <= n && memcmp(p + i, word, w) != 0)
        i++;
    return i + w <= n ? i : n;
}

int kj_annotate_request(struct kj_buf *b, const struct kj_annotate_ask *ask,
                        const char *text, size_t n)
{
    struct kj_buf whole;
    kj_buf_init(&whole, (size_t)1 << 30);
    size_t at = find(ask->prompt.p, ask->prompt.n, "{text}");
    int rc = kj_buf_add(&whole, ask->prompt.p, at);
    if (rc == KJ_OK)
        rc = kj_buf_add(&whole, text, prefix(text, n, ask->max_chars));
    if (rc == KJ_OK && at < ask->prompt.n)
        rc = kj_buf_add(&whole, ask->prompt.p + at + 6, ask->prompt.n - at - 6);
    if (rc == KJ_OK)
        rc = kj_buf_addz(b, "{\"model\":");
    if (rc == KJ_OK)
        rc = kj_json_put_str(b, ask->model, strlen(ask->model));
    if (rc == KJ_OK)
        rc = kj_buf_addz(b, ",\"messages\":[{\"role\":\"user\",\"content\":");
    if (rc == KJ_OK)
        rc = kj_json_put_str(b, whole.p, whole.n);
    /* At temperature 0 a bad answer would come back as it was. */
    if (rc == KJ_OK)
        rc = kj_buf_printf(b, "}],\"max_tokens\":%lld,\"temperature\":%s}",
                           (long long)ask->max_tokens, ask->attempt ? "0.5" : "0");
    kj_buf_release(&whole);
    return rc;
}

/* ---- answers ---- */

static bool skip(const char **p, size_t *n, const char *word)
{
    size_t w = strlen(word);
    if (*n < w || memcmp(*p, word, w) != 0)
        return false;
    *p += w;
    *n -= w;
    return true;
}

static void skip_any(const char **p, size_t *n, const char *set)
{
    while (*n && strchr(set, **p) && **p) {
        (*p)++;
        (*n)--;
    }
}

/* -2: the line gives no score; -1: it means to, and it is not valid. */
static int score_of_line(const char *p, size_t n)
{
    while (n && strchr(" \t\r*_#>", p[n - 1]) && p[n - 1])
        n--;
    skip_any(&p, &n, " \t*_#>");
    if (!skip(&p, &n, "Score") && !skip(&p, &n, "score") && !skip(&p, &n, "점수"))
        return -2;
    skip_any(&p, &n, " *_");
    if (!skip(&p, &n, ":"))
        return -2;
    skip_any(&p, &n, " *_");
    if (n == 0 || *p < '0' || *p > '5')
        return -1;
    int score = *p - '0';
    p++;
    n--;
    skip_any(&p, &n, " ");
    skip(&p, &n, "점");
    if (skip(&p, &n, "/")) {
        skip_any(&p, &n, " ");
        if (!skip(&p, &n, "5"))
            return -1;
        skip(&p, &n, "점");
    }
    skip(&p, &n, ".");
    return n == 0 ? score : -1;
}

static void judge(struct kj_annotate_answer *a, struct kj_str text)
{
    int last = -2;
    size_t score_at = 0;
    bool mixed = false;
    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        size_t blank = 0;
        while (blank < n && strchr(" \t\r", text.p[at + blank]) && text.p[at + blank])
            blank++;
        if (blank < n) {
            int s = score_of_line(text.p + at, n);
            if (last != -2 && s != last)
                mixed = true; /* another score, or words behind it */
            if (s != -2 && last == -2)
                score_at = at;
            last = s == -2 ? last : s;
        }
        at += n + 1;
    }
    a->reason = text;
    a->kind = KJ_ANNOTATE_INVALID;
    if (last < 0 || mixed)
        return;
    a->kind = KJ_ANNOTATE_SCORE;
    a->score = last;
    while (score_at > 0 && strchr(" \t\r\n", text.p[score_at - 1]))
        score_at--;
    a->reason.n = score_at;
}

/* Openings by which models decline; only looked at when there is no score. */
static bool declines(struct kj_str t)
{
    static const char *const words[] = {"I can't",   "I cannot",   "I can’t",
                                        "I'm sorry", "I’m sorry",  "Sorry",
                                        "죄송",      "I'm unable", "I am unable"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (find(t.p, t.n < 200 ? t.n : 200, words[i]) < (t.n < 200 ? t.n : 200))
            return true;
    return false;
}

struct kj_annotate_answer kj_annotate_read(struct kj_json *json, const char *p,
                                           size_t n)
{
    struct kj_annotate_answer a = {.kind = KJ_ANNOTATE_MALFORMED};
    struct kj_err ignored = KJ_ERR_INIT;
    const struct kj_jval *v;
    if (kj_json_parse(json, p, n, &v, &ignored) != KJ_OK)
        return a;
    const struct kj_jval *choices = kj_jget(v, "choices"), *usage = kj_jget(v, "usage");
    int64_t in = kj_jint(kj_jget(usage, "prompt_tokens"), 0);
    int64_t out = kj_jint(kj_jget(usage, "completion_tokens"), 0);
    a.tokens_in = in > 0 && in < INT32_MAX ? in : 0;
    a.tokens_out = out > 0 && out < INT32_MAX ? out : 0;
    if (!choices || choices->kind != KJ_J_ARRAY || choices->n == 0)
        return a;
    const struct kj_jval *message = kj_jget(&choices->items[0], "message");
    struct kj_str finish = kj_jstr(kj_jget(&choices->items[0], "finish_reason"));
    struct kj_str refusal = kj_jstr(kj_jget(message, "refusal"));
    struct kj_str text = kj_jstr(kj_jget(message, "content"));
    if (refusal.n || kj_str_is(finish, "content_filter")) {
        a.kind = KJ_ANNOTATE_REFUSED;
        a.reason = refusal;
        return a;
    }
    if (!text.p)
        return a;
    judge(&a, text);
    if (a.kind == KJ_ANNOTATE_SCORE && kj_str_is(finish, "length"))
        a.kind = KJ_ANNOTATE_INVALID; /* cut off: more might have followed */
    else if (a.kind == KJ_ANNOTATE_INVALID && declines(text))
        a.kind = KJ_ANNOTATE_REFUSED;
    return a;
}

double kj_annotate_tokens(const char *p, size_t n)
{
    size_t ascii = 0;
    for (size_t i = 0; i < n; i++)
        ascii += (unsigned char)p[i] < 0x80;
    return (double)ascii / 4.6 + (double)(n - ascii) / 3.6;
}
