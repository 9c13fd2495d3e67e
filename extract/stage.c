/* stage.c - see stage.h. */
#include "extract/stage.h"
#include "extract/lex.h"

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "extract/archive.h"
#include "extract/charset.h"
#include "extract/curated.h"
#include "extract/html.h"
#include "extract/http.h"

struct cfg {
    int source; /* enum kj_archive_kind */
    int format; /* 0 text, 1 markdown */
    int64_t min_chars;
    bool whole_page;
    const char *source_name;
    bool skip_lists;
};

/* One worker's. */
struct state {
    struct kj_charset *charset;
    struct kj_html *html;
    struct kj_curated *curated;
    struct kj_buf a, b;    /* bodies */
    struct kj_buf decoded; /* UTF-8 */
    struct kj_buf text;    /* result */
    struct kj_buf json;
};

#define F(x) offsetof(struct cfg, x)
const struct kj_opt kj_extract_opts[] = {
    {"source", 0, KJ_OPT_ENUM, F(source), "auto|warc|wet|html|wikipedia|arxiv",
     "what the files are; auto: told by their content, dumps and papers by that of the "
     "first",
     "auto", 0, 0},
    {"format", 0, KJ_OPT_ENUM, F(format), "text|markdown",
     "text: a line per paragraph; markdown: with headings, lists, code, tables", "text",
     0, 0},
    {"min_chars", 0, KJ_OPT_INT, F(min_chars), "N",
     "drop documents with fewer characters of text", "1", 0, 0x1p31},
    {"whole_page", 0, KJ_OPT_FLAG, F(whole_page), 0,
     "all visible text, menus and all, instead of the main text", 0, 0, 0},
    {"source_name", 0, KJ_OPT_STR, F(source_name), "NAME",
     "what the field source says of every document", 0, 0, 0},
    {"skip_lists", 0, KJ_OPT_FLAG, F(skip_lists), 0,
     "drop lists of articles of an encyclopedia, known by their titles", 0, 0, 0},
    {0},
};
#undef F

static int stage_begin(const void *cfg, void *state, struct kj_err *err)
{
    struct state *s = state;
    (void)cfg;
    (void)err;
    s->charset = kj_charset_new();
    s->html = kj_html_new();
    s->curated = kj_curated_new();
    kj_buf_init(&s->a, KJ_HTTP_BODY_MAX);
    kj_buf_init(&s->b, KJ_HTTP_BODY_MAX);
    kj_buf_init(&s->decoded, 3 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&s->text, 2 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&s->json, 1 << 20);
    return KJ_OK;
}

static void stage_end(const void *cfg, void *state)
{
    struct state *s = state;
    (void)cfg;
    kj_charset_free(s->charset);
    kj_html_free(s->html);
    kj_curated_free(s->curated);
    kj_buf_release(&s->a);
    kj_buf_release(&s->b);
    kj_buf_release(&s->decoded);
    kj_buf_release(&s->text);
    kj_buf_release(&s->json);
}

/* ---- what kind of content it is ---- */

/* What the HTTP header says. */
struct head {
    struct kj_str charset, robots, tdm;
};

enum content { CONTENT_HTML, CONTENT_TEXT, CONTENT_OTHER };

static bool begins(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    if (s.n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 32);
        if (c != z[i])
            return false;
    }
    return true;
}

/* Markup that only a page has, near the start. */
static bool sniff_html(struct kj_str s)
{
    size_t n = s.n < 1024 ? s.n : 1024;
    for (size_t i = 0; i + 5 < n; i++) {
        if (s.p[i] != '<')
            continue;
        struct kj_str rest = {s.p + i, n - i};
        if (begins(rest, "<!doctype html") || begins(rest, "<html") ||
            begins(rest, "<head") || begins(rest, "<body") || begins(rest, "<title"))
            return true;
    }
    return false;
}

static enum content content_of(struct kj_str type, struct kj_str body)
{
    if (begins(type, "text/html") || begins(type, "application/xhtml"))
        return CONTENT_HTML;
    if (begins(type, "text/plain")) /* servers call unknown files so */
        return sniff_html(body) ? CONTENT_HTML : CONTENT_TEXT;
    if (type.n == 0 || begins(type, "unknown") || begins(type, "text/xml") ||
        begins(type, "application/xml") || begins(type, "application/octet-stream"))
        return sniff_html(body) ? CONTENT_HTML : CONTENT_OTHER;
    return CONTENT_OTHER;
}

/* ---- JSON beside the text ---- */

static void put_member(struct kj_buf *b, const char *key, struct kj_str v)
{
    if (!v.n)
        return;
    kj_buf_addz(b, b->n > 1 ? ",\"" : "\"");
    kj_buf_addz(b, key);
    kj_buf_addz(b, "\":");
    kj_json_put_str(b, v.p, v.n);
}

static void set_json(struct kj_doc *d, struct kj_batch *b, const char *key,
                     struct kj_buf *json)
{
    kj_buf_addc(json, '}');
    char *p = json->n > 2 ? kj_arena_dup(&b->arena, json->p, json->n) : NULL;
    if (p)
        kj_doc_set(d, &b->arena, key, (struct kj_str){p, json->n});
}

static void set_enc(struct state *s, struct kj_doc *d, struct kj_batch *b,
                    const struct kj_charset_result *r)
{
    kj_buf_reset(&s->json);
    kj_buf_addc(&s->json, '{');
    put_member(&s->json, "declared", kj_str_z(r->declared));
    put_member(&s->json, "detected", kj_str_z(r->detected));
    put_member(&s->json, "used", kj_str_z(r->used));
    kj_buf_printf(&s->json, ",\"replaced\":%llu", (unsigned long long)r->replaced);
    put_member(&s->json, "repaired", kj_str_z(r->repaired));
    set_json(d, b, "enc", &s->json);
}

/* A value of the page in one line, not longer than max bytes. */
static struct kj_str tidy(struct kj_arena *a, struct kj_str v, size_t max)
{
    char *out = v.n ? kj_arena_alloc(a, v.n) : NULL;
    size_t n = 0;
    for (size_t i = 0; out && i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c <= ' ' || c == 0x7F) {
            if (n && out[n - 1] != ' ')
                out[n++] = ' ';
        } else {
            out[n++] = (char)c;
        }
    }
    while (n && out[n - 1] == ' ')
        n--;
    if (n > max)
        n = kj_utf8_cut(out, n, max);
    return (struct kj_str){out, n};
}

/* x, then y behind `between`; either may be missing. */
static struct kj_str join(struct kj_arena *a, struct kj_str x, const char *between,
                          struct kj_str y)
{
    size_t n = strlen(between);
    char *p = x.n && y.n ? kj_arena_alloc(a, x.n + y.n + n) : NULL;
    if (!p)
        return x.n ? x : y;
    memcpy(p, x.p, x.n);
    memcpy(p + x.n, between, n);
    memcpy(p + x.n + n, y.p, y.n);
    return (struct kj_str){p, x.n + y.n + n};
}

/* All that the page and its headers say to robots: "noai, GPTBot: noindex". */
static struct kj_str robots_of(struct kj_arena *a, const struct kj_html_page *p,
                               struct kj_str header)
{
    struct kj_str all = {NULL, 0};
    for (size_t i = 0; i < p->n_robots; i++)
        all =
            join(a, all, ", ", join(a, p->robots[i].agent, ": ", p->robots[i].content));
    return join(a, all, ", ", header);
}

static void set_metadata(struct state *s, struct kj_doc *d, struct kj_batch *b,
                         const struct kj_html_page *p, const struct head *head)
{
    struct kj_arena *a = &b->arena;
    struct kj_buf *j = &s->json;
    kj_buf_reset(j);
    kj_buf_addc(j, '{');
    put_member(j, "title", tidy(a, p->title, 1000));
    put_member(j, "lang", tidy(a, p->lang, 64));
    put_member(j, "canonical", tidy(a, p->canonical, 4000));
    put_member(j, "description", tidy(a, p->description, 4000));
    put_member(j, "author", tidy(a, p->author, 200));
    put_member(j, "date", tidy(a, p->date, 64));
    put_member(j, "site", tidy(a, p->site, 200));
    put_member(j, "license", tidy(a, p->license, 1000));
    put_member(j, "robots", tidy(a, robots_of(a, p, head->robots), 400));
    put_member(j, "tdm_reservation", tidy(a, p->tdm.n ? p->tdm : head->tdm, 16));
    kj_buf_addz(j, j->n > 1 ? ",\"confidence\":" : "\"confidence\":");
    kj_buf_printf(j, "%.3f", p->confidence);
    set_json(d, b, "metadata", j);
}

/* ---- one document ---- */

static int set_text(const struct cfg *c, struct kj_doc *d, struct kj_batch *b,
                    struct kj_str text, struct kj_err *err)
{
    char *p = kj_arena_dup(&b->arena, text.p ? text.p : "", text.n);
    if (!p)
        return kj_err_set(err, KJ_FATAL, "a batch needs more than its memory");
    d->text = (struct kj_str){p, text.n};
    if (c->source_name)
        d->source = kj_str_z(c->source_name);
    size_t chars = kj_utf8_count(text.p, text.n);
    if (chars < (size_t)c->min_chars)
        kj_doc_drop(d, "extract.empty", (double)chars, (double)c->min_chars);
    return KJ_OK;
}

/* Text as it is: line ends made \n, NULs and blanks at both ends gone. */
static int plain_text(struct state *s, struct kj_str in)
{
    kj_buf_reset(&s->text);
    for (size_t i = 0; i < in.n;) {
        size_t a = i;
        while (i < in.n && in.p[i] != '\r' && in.p[i] != 0)
            i++;
        if (kj_buf_add(&s->text, in.p + a, i - a) < 0)
            return KJ_BAD_RECORD;
        if (i < in.n && in.p[i] == '\r' && (i + 1 == in.n || in.p[i + 1] != '\n') &&
            kj_buf_addc(&s->text, '\n') < 0)
            return KJ_BAD_RECORD;
        i++;
    }
    while (s->text.n && (unsigned char)s->text.p[s->text.n - 1] <= ' ')
        s->text.n--;
    return KJ_OK;
}

static int decode_text(const struct cfg *c, struct state *s, struct kj_batch *b,
                       struct kj_doc *d, struct kj_str body, const struct head *head,
                       enum content what, struct kj_err *err)
{
    struct kj_charset_result r;
    kj_buf_reset(&s->decoded);
    if (kj_charset_decode(s->charset, body.p, body.n, head->charset,
                          what == CONTENT_HTML, &s->decoded, &r, NULL) < 0) {
        kj_doc_damage(d, "extract.html_bytes", "decoded text too large");
        return KJ_OK;
    }
    set_enc(s, d, b, &r);
    kj_buf_reset(&s->text);
    if (what == CONTENT_TEXT) {
        if (plain_text(s, r.text) < 0)
            kj_doc_damage(d, "extract.text_bytes", "text too large");
    } else {
        struct kj_html_page page;
        if (kj_html_extract(s->html, r.text.p, r.text.n, c->format == 1, c->whole_page,
                            &s->text, &page, NULL) < 0) {
            kj_doc_damage(d, page.rule ? page.rule : "extract.html",
                          "page beyond the limits of the parser");
            return KJ_OK;
        }
        set_metadata(s, d, b, &page, head);
        if (!d->url.n && page.canonical.n)
            d->url = tidy(&b->arena, page.canonical, 4000);
    }
    return set_text(c, d, b, (struct kj_str){s->text.p, s->text.n}, err);
}

static int extract_curated(const struct cfg *c, struct state *s, struct kj_batch *b,
                           struct kj_doc *d, struct kj_err *err)
{
    struct kj_str text, meta;
    int rc = kj_curated_text(s->curated, b, d, c->skip_lists, &text, &meta, err);
    if (rc < 0 || !kj_doc_kept(d))
        return rc;
    if (meta.n)
        kj_doc_set(d, &b->arena, "metadata", meta);
    return set_text(c, d, b, text, err);
}

static int extract_one(const struct cfg *c, struct state *s, struct kj_batch *b,
                       struct kj_doc *d, struct kj_err *err)
{
    const struct kj_archive_rec *rec = d->aux;
    if (rec->kind >= KJ_REC_WIKI)
        return extract_curated(c, s, b, d, err);
    struct kj_str body = d->raw, value = rec->content_type, type;
    struct head head;
    memset(&head, 0, sizeof head);
    if (rec->kind == KJ_REC_HTTP) {
        struct kj_http h;
        unsigned flags;
        kj_http_parse(body.p, body.n, &h);
        if (h.status && (h.status < 200 || h.status > 299)) {
            kj_doc_drop(d, "extract.http_status", h.status, 200);
            return KJ_OK;
        }
        body = kj_http_body(&h, &s->a, &s->b, &flags);
        for (size_t i = 0; i < h.n_fields; i++) /* often more than one */
            if (kj_lex_same(h.names[i], "x-robots-tag"))
                head.robots = join(&b->arena, head.robots, ", ", h.values[i]);
        head.tdm = kj_http_get(&h, "tdm-reservation");
        value = h.status ? kj_http_get(&h, "content-type") : (struct kj_str){NULL, 0};
    }
    kj_http_type(value, &type, &head.charset);
    enum content what = rec->kind == KJ_REC_TEXT   ? CONTENT_TEXT
                        : rec->kind == KJ_REC_PAGE ? CONTENT_HTML
                                                   : content_of(type, body);
    if (what == CONTENT_OTHER) {
        kj_doc_drop(d, "extract.not_html", NAN, NAN);
        return KJ_OK;
    }
    return decode_text(c, s, b, d, body, &head, what, err);
}

static int stage_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d) || !d->aux)
            continue;
        rc = extract_one(cfg, state, b, d, err);
        d->aux = NULL;
    }
    return rc;
}

static size_t stage_rules(const void *cfg, const struct kj_rule **out)
{
    static const struct kj_rule rules[] = {
        {"extract.http_status", "", NAN, "status", "HTTP status other than 2xx"},
        {"extract.not_html", "", NAN, "", "neither HTML nor plain text"},
        {"extract.empty", "<", NAN, "characters", "less text than min_chars"},
        {"extract.html_bytes", "", NAN, "bytes", "page too large (damage)"},
        {"extract.html_nodes", "", NAN, "nodes", "too many elements (damage)"},
        {"extract.html_depth", "", NAN, "levels", "nested too deep (damage)"},
        {"extract.not_latex", "", NAN, "", "a paper without LaTeX"},
        {"extract.latex_bytes", "", NAN, "bytes", "paper too large (damage)"},
        {"extract.latex_work", "", NAN, "", "paper too intricate (damage)"},
        {"extract.paper_files", "", NAN, "", "paper that cannot be unpacked (damage)"},
        {"extract.html_time", "", NAN, "seconds", "parsing takes too long (damage)"},
        {"extract.wiki_redirect", "", NAN, "", "a page that names another page"},
        {"extract.wiki_disambiguation", "", NAN, "", "a page that only lists meanings"},
        {"extract.wiki_list", "", NAN, "", "a list of articles (skip_lists)"},
        {"extract.wiki_bytes", "", NAN, "bytes", "wiki page too large (damage)"},
        {"extract.text_bytes", "", NAN, "bytes", "text too large (damage)"},
    };
    (void)cfg;
    *out = rules;
    return sizeof rules / sizeof *rules;
}

enum kj_archive_kind kj_extract_source(const void *cfg)
{
    return (enum kj_archive_kind)((const struct cfg *)cfg)->source;
}

const struct kj_stage kj_stage_extract = {
    .name = "extract",
    .about = "archives to documents: HTTP, charset, main text of HTML",
    .opts = kj_extract_opts,
    .cfg_size = sizeof(struct cfg),
    .state_size = sizeof(struct state),
    .begin = stage_begin,
    .run = stage_run,
    .end = stage_end,
    .rules = stage_rules,
};
