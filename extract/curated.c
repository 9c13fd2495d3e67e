/* curated.c - see curated.h. */
#include "extract/curated.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "extract/arxiv.h"
#include "extract/charset.h"
#include "extract/latex.h"
#include "extract/wikidump.h"
#include "extract/wikitext.h"

struct kj_curated {
    struct kj_wikitext *wiki;
    struct kj_latex *latex;
    struct kj_charset *charset;
    struct kj_latex_file *files;
    struct kj_buf in, out, json;
};

struct kj_curated *kj_curated_new(void)
{
    struct kj_curated *c = kj_xcalloc(1, sizeof *c);
    kj_buf_init(&c->in, KJ_WIKIDUMP_PAGE_MAX);
    kj_buf_init(&c->out, 64u << 20);
    kj_buf_init(&c->json, 1 << 16);
    return c;
}

void kj_curated_free(struct kj_curated *c)
{
    if (!c)
        return;
    kj_wikitext_free(c->wiki);
    kj_latex_free(c->latex);
    kj_charset_free(c->charset);
    free(c->files);
    kj_buf_release(&c->in);
    kj_buf_release(&c->out);
    kj_buf_release(&c->json);
    free(c);
}

static void put_member(struct kj_buf *b, const char *key, struct kj_str v)
{
    if (!v.n)
        return;
    kj_buf_addz(b, b->n > 1 ? ",\"" : "\"");
    kj_buf_addz(b, key);
    kj_buf_addz(b, "\":");
    kj_json_put_str(b, v.p, v.n);
}

static struct kj_str end_json(struct kj_curated *c, struct kj_batch *b)
{
    kj_buf_addc(&c->json, '}');
    char *p = c->json.n > 2 ? kj_arena_dup(&b->arena, c->json.p, c->json.n) : NULL;
    return (struct kj_str){p, p ? c->json.n : 0};
}

static bool ends(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p + s.n - n, z, n) == 0;
}

static bool begins(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p, z, n) == 0;
}

static bool is_list(struct kj_str title)
{
    return begins(title, "List of ") || begins(title, "Lists of ") ||
           begins(title, "Index of ") || begins(title, "Outline of ") ||
           ends(title, " 목록") || ends(title, "의 목록") || ends(title, " 일람");
}

static void wiki_text(struct kj_curated *c, struct kj_batch *b, struct kj_doc *d,
                      bool skip_lists, struct kj_str *meta)
{
    const struct kj_wiki_rec *x = d->aux;
    struct kj_wikitext_page page;
    if (!c->wiki)
        c->wiki = kj_wikitext_new();
    kj_buf_reset(&c->json);
    kj_buf_addc(&c->json, '{');
    put_member(&c->json, "title", x->title);
    put_member(&c->json, "lang", d->language);
    *meta = end_json(c, b);
    kj_buf_reset(&c->in);
    bool korean = kj_str_is(d->language, "ko");
    if (kj_wikidump_unescape(d->raw.p, d->raw.n, &c->in) < 0 ||
        kj_wikitext_render(c->wiki, c->in.p, c->in.n, x->title, korean, &c->out,
                           &page) < 0)
        kj_doc_damage(d, "extract.wiki_bytes", "page too large");
    else if (page.redirect)
        kj_doc_drop(d, "extract.wiki_redirect", NAN, NAN);
    else if (page.disambiguation || ends(x->title, "(disambiguation)") ||
             ends(x->title, "(동음이의)"))
        kj_doc_drop(d, "extract.wiki_disambiguation", NAN, NAN);
    else if (skip_lists && is_list(x->title))
        kj_doc_drop(d, "extract.wiki_list", NAN, NAN);
}

/* Old sources are in Latin-1 or EUC-KR and say so, if at all, in a macro. */
static bool to_utf8(struct kj_curated *c, struct kj_batch *b, struct kj_str *s)
{
    struct kj_charset_result r;
    if (kj_utf8_is_valid(s->p, s->n))
        return true;
    if (!c->charset)
        c->charset = kj_charset_new();
    kj_buf_reset(&c->in);
    if (kj_charset_decode(c->charset, s->p, s->n, KJ_STR(""), false, &c->in, &r, NULL) <
        0)
        return false;
    char *p = kj_arena_dup(&b->arena, r.text.p, r.text.n);
    *s = (struct kj_str){p, p ? r.text.n : 0};
    return p != NULL;
}

static void paper_text(struct kj_curated *c, struct kj_batch *b, struct kj_doc *d,
                       struct kj_str *meta)
{
    const struct kj_paper_rec *x = d->aux;
    struct kj_latex_paper paper;
    size_t n;
    if (!c->latex) {
        c->latex = kj_latex_new();
        c->files = kj_xcalloc(KJ_ARXIV_FILES, sizeof *c->files);
    }
    if (kj_arxiv_unpack(&b->arena, d->raw, x->packed, c->files, KJ_ARXIV_FILES, &n) <
        0) {
        kj_doc_damage(d, "extract.paper_files", "the paper's files cannot be unpacked");
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!to_utf8(c, b, &c->files[i].text))
            c->files[i].text.n = 0;
    int rc = n ? kj_latex_render(c->latex, c->files, n, &c->out, &paper) : KJ_DROP;
    if (rc == KJ_DROP) {
        kj_doc_drop(d, "extract.not_latex", NAN, NAN);
        return;
    }
    if (rc < 0) {
        kj_doc_damage(d, paper.rule, "paper beyond the limits of the parser");
        return;
    }
    kj_buf_reset(&c->json);
    kj_buf_addc(&c->json, '{');
    put_member(&c->json, "title", paper.title);
    put_member(&c->json, "main", paper.main);
    if (paper.missing)
        kj_buf_printf(&c->json, "%s\"missing\":%zu", c->json.n > 1 ? "," : "",
                      paper.missing);
    *meta = end_json(c, b);
}

int kj_curated_text(struct kj_curated *c, struct kj_batch *b, struct kj_doc *d,
                    bool skip_lists, struct kj_str *text, struct kj_str *meta,
                    struct kj_err *err)
{
    (void)err;
    *meta = (struct kj_str){NULL, 0};
    kj_buf_reset(&c->out);
    if (((const struct kj_archive_rec *)d->aux)->kind == KJ_REC_PAPER)
        paper_text(c, b, d, meta);
    else
        wiki_text(c, b, d, skip_lists, meta);
    *text = (struct kj_str){c->out.p ? c->out.p : "", c->out.n};
    return KJ_OK;
}
