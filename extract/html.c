/* html.c - see html.h. */
#include "extract/html.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "extract/content.h"
#include "extract/render.h"
#include "extract/tree.h"

struct kj_html {
    struct kj_tree tree;
    struct kj_content content;
    struct kj_html_limits limits;
};

struct kj_html *kj_html_new(void)
{
    struct kj_html *h = kj_xcalloc(1, sizeof *h);
    kj_tree_init(&h->tree);
    h->limits = (struct kj_html_limits)KJ_HTML_LIMITS;
    return h;
}

void kj_html_free(struct kj_html *h)
{
    if (!h)
        return;
    kj_tree_release(&h->tree);
    kj_content_release(&h->content);
    free(h);
}

static struct kj_str first_text(const struct kj_tree *t, size_t i)
{
    for (size_t k = i + 1; k < t->nodes[i].end; k++)
        if (t->nodes[k].tag == KJ_TAG_TEXT && t->nodes[k].text.n)
            return t->nodes[k].text;
    return (struct kj_str){NULL, 0};
}

static void set(struct kj_str *to, struct kj_str v)
{
    if (!to->n)
        *to = v;
}

/* Names of <meta name> or <meta property>, and where their content goes. */
static void read_meta(const struct kj_attrs *a, struct kj_html_page *page,
                      struct kj_str *og_title, struct kj_str *og_url)
{
    const struct {
        const char *name;
        struct kj_str *to;
    } rows[] = {
        {"og:title", og_title},
        {"og:url", og_url},
        {"og:site_name", &page->site},
        {"description", &page->description},
        {"og:description", &page->description},
        {"author", &page->author},
        {"article:author", &page->author},
        {"article:published_time", &page->date},
        {"date", &page->date},
        {"datePublished", &page->date},
        {"pubdate", &page->date},
        {"dc.date", &page->date},
    };
    struct kj_str name = a->property.n ? a->property
                         : a->name.n   ? a->name
                                       : a->itemprop;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kj_str_is(name, rows[i].name))
            set(rows[i].to, a->content);
}

static void read_metadata(const struct kj_tree *t, struct kj_html_page *page)
{
    struct kj_str og_title = {NULL, 0}, og_url = {NULL, 0}, h1 = {NULL, 0};
    for (size_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        const struct kj_attrs *a = x->tag == KJ_TAG_TEXT ? NULL : x->attr;
        switch (x->tag) {
        case KJ_TAG_html:
            if (a)
                set(&page->lang, a->lang);
            break;
        case KJ_TAG_title:
            set(&page->title, first_text(t, i));
            break;
        case KJ_TAG_h1:
            set(&h1, first_text(t, i));
            break;
        case KJ_TAG_link:
            if (a && kj_str_is(a->rel, "canonical"))
                set(&page->canonical, a->href);
            break;
        case KJ_TAG_meta:
            if (a && a->content.n)
                read_meta(a, page, &og_title, &og_url);
            break;
        case KJ_TAG_time:
            if (a)
                set(&page->date, a->datetime);
            break;
        default:
            break;
        }
    }
    set(&page->title, og_title);
    set(&page->title, h1);
    set(&page->canonical, og_url);
}

int kj_html_extract(struct kj_html *h, const char *p, size_t n, bool markdown,
                    bool whole, struct kj_buf *out, struct kj_html_page *page,
                    struct kj_err *err)
{
    memset(page, 0, sizeof *page);
    int rc = kj_tree_parse(&h->tree, p, n, &h->limits, err);
    if (rc < 0) {
        page->rule = h->tree.rule;
        return rc;
    }
    read_metadata(&h->tree, page);
    if (whole) {
        for (size_t i = 1; i < h->tree.n; i++) {
            struct kj_node *x = &h->tree.nodes[i];
            if ((kj_tag_class(x->tag) & KJ_TC_DROP) || x->tag == KJ_TAG_noscript)
                x->flags |= KJ_NF_SKIP;
        }
        h->content.root = 0;
        page->share = 1;
    } else {
        kj_content_find(&h->content, &h->tree);
        page->share = h->content.share;
    }
    if (kj_render(&h->tree, h->content.root, markdown, out) < 0) {
        page->rule = "extract.text_bytes";
        return kj_err_set(err, KJ_BAD_RECORD, "text too large");
    }
    return KJ_OK;
}
