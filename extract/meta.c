/* meta.c - see meta.h. */
#include "extract/meta.h"

#include <string.h>

#include "base/err.h"
#include "base/json.h"

enum { LD_DEPTH = 8, LD_VALUES = 20000 };

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

static bool same(struct kj_str a, const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i < n && i < a.n; i++) {
        char c = a.p[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != z[i])
            return false;
    }
    return a.n == n;
}

/* Is word one of the blank-separated words of s? */
static bool names(struct kj_str s, const char *word)
{
    for (size_t i = 0; i < s.n;) {
        while (i < s.n && (unsigned char)s.p[i] <= ' ')
            i++;
        size_t a = i;
        while (i < s.n && (unsigned char)s.p[i] > ' ')
            i++;
        if (i > a && same((struct kj_str){s.p + a, i - a}, word))
            return true;
    }
    return false;
}

/* ---- the head ---- */

struct extra {
    struct kj_str og_title, og_url, h1;
};

/* Crawlers that have a meta of their own: those whose names end in "bot" or
 * "-extended" and those of the list. */
static bool is_crawler(struct kj_str name)
{
    static const char *const others[] = {
        "yeti",       "slurp",        "daum",      "daumoa",  "teoma",
        "bytespider", "anthropic-ai", "cohere-ai", "diffbot", "facebookexternalhit",
        NULL};
    static const char *const ends[] = {"bot", "bot-news", "-extended",
                                       "-externalagent"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (name.n > n && same((struct kj_str){name.p + name.n - n, n}, ends[i]))
            return true;
    }
    for (size_t i = 0; others[i]; i++)
        if (same(name, others[i]))
            return true;
    return false;
}

static void read_robots(struct kj_str name, struct kj_str content,
                        struct kj_html_page *page)
{
    bool all = same(name, "robots");
    if (page->n_robots < KJ_HTML_ROBOTS_MAX && (all || is_crawler(name)))
        page->robots[page->n_robots++] =
            (struct kj_html_robots){all ? (struct kj_str){NULL, 0} : name, content};
}

/* Names of <meta name> or <meta property>, and where their content goes. */
static void read_meta(const struct kj_attrs *a, struct kj_html_page *page,
                      struct extra *e)
{
    const struct {
        const char *name;
        struct kj_str *to;
    } rows[] = {
        {"og:title", &e->og_title},
        {"og:url", &e->og_url},
        {"og:site_name", &page->site},
        {"description", &page->description},
        {"og:description", &page->description},
        {"author", &page->author},
        {"article:author", &page->author},
        {"article:published_time", &page->date},
        {"date", &page->date},
        {"datepublished", &page->date},
        {"pubdate", &page->date},
        {"dc.date", &page->date},
        {"tdm-reservation", &page->tdm},
        {"dc.rights", &page->license},
        {"dcterms.license", &page->license},
    };
    struct kj_str name = a->property.n ? a->property
                         : a->name.n   ? a->name
                                       : a->itemprop;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (same(name, rows[i].name))
            set(rows[i].to, a->content);
    read_robots(name, a->content, page);
}

static void read_element(const struct kj_tree *t, size_t i, struct kj_html_page *page,
                         struct extra *e)
{
    const struct kj_node *x = &t->nodes[i];
    const struct kj_attrs *a = x->attr;
    switch (x->tag) {
    case KJ_TAG_html:
        if (a)
            set(&page->lang, a->lang);
        break;
    case KJ_TAG_title:
        set(&page->title, first_text(t, i));
        break;
    case KJ_TAG_h1:
        set(&e->h1, first_text(t, i));
        break;
    case KJ_TAG_link:
        if (a && names(a->rel, "canonical"))
            set(&page->canonical, a->href);
        if (a && names(a->rel, "license"))
            set(&page->license, a->href);
        break;
    case KJ_TAG_a:
        if (a && a->rel.n && names(a->rel, "license"))
            set(&page->license, a->href);
        break;
    case KJ_TAG_meta:
        if (a && a->content.n)
            read_meta(a, page, e);
        break;
    case KJ_TAG_time:
        if (a)
            set(&page->date, a->datetime);
        break;
    default:
        break;
    }
}

/* ---- JSON-LD ---- */

/* A value that is a string, or an object or list that has one of the names. */
static struct kj_str ld_string(const struct kj_jval *v, const char *const *keys)
{
    struct kj_str s = {NULL, 0};
    if (!v)
        return s;
    if (v->kind == KJ_J_STR)
        return v->s;
    if (v->kind == KJ_J_ARRAY && v->n > 0)
        v = &v->items[0];
    if (v->kind == KJ_J_STR)
        return v->s;
    if (v->kind == KJ_J_OBJECT)
        for (; *keys && !s.n; keys++)
            s = kj_jstr(kj_jget(v, *keys));
    return s;
}

static void ld_object(const struct kj_jval *v, struct kj_html_page *ld)
{
    static const char *const link[] = {"@id", "url", "name", NULL};
    static const char *const person[] = {"name", NULL};
    set(&ld->license, ld_string(kj_jget(v, "license"), link));
    set(&ld->date, ld_string(kj_jget(v, "datePublished"), link));
    set(&ld->author, ld_string(kj_jget(v, "author"), person));
    set(&ld->title, ld_string(kj_jget(v, "headline"), person));
}

static void ld_walk(const struct kj_jval *v, struct kj_html_page *ld, int depth,
                    size_t *left)
{
    if (depth == LD_DEPTH || *left == 0)
        return;
    --*left;
    if (v->kind == KJ_J_OBJECT)
        ld_object(v, ld);
    if (v->kind == KJ_J_OBJECT || v->kind == KJ_J_ARRAY)
        for (size_t i = 0; i < v->n; i++)
            ld_walk(&v->items[i], ld, depth + 1, left);
}

static struct kj_str keep(struct kj_tree *t, struct kj_str s)
{
    char *p = s.n && s.n <= 4000 ? kj_arena_dup(&t->arena, s.p, s.n) : NULL;
    return (struct kj_str){p, p ? s.n : 0};
}

static void read_ld(struct kj_tree *t, struct kj_json *json, struct kj_html_page *page)
{
    for (size_t a = 0; a < t->ld.n;) {
        const char *end = memchr(t->ld.p + a, '\n', t->ld.n - a);
        size_t n = end ? (size_t)(end - t->ld.p) - a : t->ld.n - a, left = LD_VALUES;
        const struct kj_jval *root;
        struct kj_html_page ld;
        memset(&ld, 0, sizeof ld);
        if (kj_json_parse(json, t->ld.p + a, n, &root, NULL) == KJ_OK) {
            ld_walk(root, &ld, 0, &left);
            set(&page->license, keep(t, ld.license));
            set(&page->date, keep(t, ld.date));
            set(&page->author, keep(t, ld.author));
            set(&page->title, keep(t, ld.title));
        }
        a += n + 1;
    }
}

void kj_meta_read(struct kj_tree *t, struct kj_json *json, struct kj_html_page *page)
{
    struct extra e;
    memset(&e, 0, sizeof e);
    for (size_t i = 1; i < t->n; i++)
        if (t->nodes[i].tag != KJ_TAG_TEXT)
            read_element(t, i, page, &e);
    set(&page->title, e.og_title);
    set(&page->canonical, e.og_url);
    read_ld(t, json, page);
    set(&page->title, e.h1);
}
