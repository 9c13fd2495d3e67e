/* tree.c - libxml2's SAX events into the flat tree of tree.h.
 *
 * libxml2's own tree costs several allocations per node and attribute; its
 * events cost none that we keep. The events are balanced: the parser closes
 * what the page leaves open (htmlAutoClose) before it reports the next tag.
 */
#include "extract/tree.h"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "extract/math.h"

#define ARENA_CAP ((size_t)192 << 20)
#define ATTR_MAX  65536 /* a longer value is of no use and is left out */

/* The parser keeps one copy of every name of a page, so that a name's address
 * tells what it is once it has been looked up. */
struct seen {
    const xmlChar *name;
    uint8_t what;
};
enum { SEEN = 256 };

struct build {
    struct seen tags[SEEN], atts[SEEN];
    struct kj_tree *t;
    const struct kj_html_limits *lim;
    uint32_t open;   /* the node being filled */
    size_t text_cap; /* bytes allocated for the last text node */
    size_t depth;    /* as the parser counts, dissolved ones included */
    htmlParserCtxtPtr ctx;
    unsigned events;
    double start;
    bool stopped;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

void kj_tree_init(struct kj_tree *t)
{
    memset(t, 0, sizeof *t);
    pthread_once(&once, xmlInitParser);
    kj_arena_init(&t->arena, ARENA_CAP);
    kj_buf_init(&t->cut, (size_t)64 << 20);
    kj_buf_init(&t->ld, (size_t)1 << 20);
}

void kj_tree_release(struct kj_tree *t)
{
    kj_arena_release(&t->arena);
    kj_buf_release(&t->cut);
    kj_buf_release(&t->ld);
    free(t->nodes);
    memset(t, 0, sizeof *t);
}

static void stop(struct build *b, const char *rule)
{
    if (!b->t->rule)
        b->t->rule = rule;
    b->stopped = true;
    xmlStopParser(b->ctx);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A node at the end of the array, under the open one; NULL at a cap. */
static struct kj_node *add(struct build *b, enum kj_tag tag)
{
    struct kj_tree *t = b->t;
    /* The parser is linear but for what nobody has found yet. */
    if (++b->events % 1024 == 0 && now() - b->start > b->lim->seconds) {
        stop(b, "extract.html_time");
        return NULL;
    }
    if (t->n >= b->lim->nodes) {
        stop(b, "extract.html_nodes");
        return NULL;
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 1024;
        t->nodes = kj_xrealloc(t->nodes, t->cap * sizeof *t->nodes);
    }
    struct kj_node *x = &t->nodes[t->n];
    memset(x, 0, sizeof *x);
    x->tag = (uint8_t)tag;
    x->parent = b->open;
    x->end = (uint32_t)t->n + 1;
    x->depth = (uint16_t)(t->n ? t->nodes[b->open].depth + 1 : 0);
    t->n++;
    return x;
}

/* Which attribute is kept where. */
static struct kj_str *slot(struct kj_attrs *a, const char *name)
{
    switch (name[0]) {
    case 'a':
        return strcmp(name, "alt") == 0 || strcmp(name, "alttext") == 0 ? &a->alt
                                                                        : NULL;
    case 'c':
        return strcmp(name, "class") == 0     ? &a->cls
               : strcmp(name, "content") == 0 ? &a->content
                                              : NULL;
    case 'd':
        return strcmp(name, "datetime") == 0  ? &a->datetime
               : strcmp(name, "display") == 0 ? &a->rel /* of a formula */
                                              : NULL;
    case 'e': /* of a formula's annotation */
        return strcmp(name, "encoding") == 0 ? &a->type : NULL;
    case 'h':
        return strcmp(name, "href") == 0 ? &a->href : NULL;
    case 'i':
        return strcmp(name, "id") == 0         ? &a->id
               : strcmp(name, "itemprop") == 0 ? &a->itemprop
               : strcmp(name, "itemtype") == 0 ? &a->itemtype
                                               : NULL;
    case 'l':
        return strcmp(name, "lang") == 0 ? &a->lang : NULL;
    case 'n':
        return strcmp(name, "name") == 0 ? &a->name : NULL;
    case 'p':
        return strcmp(name, "property") == 0 ? &a->property : NULL;
    case 'r':
        return strcmp(name, "role") == 0  ? &a->role
               : strcmp(name, "rel") == 0 ? &a->rel
                                          : NULL;
    case 's':
        return strcmp(name, "style") == 0 ? &a->style
               : strcmp(name, "src") == 0 ? &a->src
                                          : NULL;
    case 't':
        return strcmp(name, "type") == 0 ? &a->type : NULL;
    default:
        return NULL;
    }
}

static struct seen *seen(struct seen *table, const xmlChar *name)
{
    uintptr_t h = (uintptr_t)name;
    return &table[(h ^ (h >> 8)) % SEEN];
}

static enum kj_tag tag_of(struct build *b, const xmlChar *name)
{
    struct seen *s = seen(b->tags, name);
    if (s->name != name) {
        s->name = name;
        s->what = (uint8_t)kj_tag_find((const char *)name, strlen((const char *)name));
    }
    return (enum kj_tag)s->what;
}

/* What an attribute is: its place in struct kj_attrs, or one of these. */
enum { ATTR_NONE = 255, ATTR_HIDDEN = 254, ATTR_ARIA = 253, ATTR_XML_LANG = 252 };

static uint8_t attr_of(struct build *b, const xmlChar *xname)
{
    struct seen *s = seen(b->atts, xname);
    if (s->name != xname) {
        const char *name = (const char *)xname;
        struct kj_attrs a;
        const struct kj_str *to = slot(&a, name);
        s->name = xname;
        s->what = strcmp(name, "hidden") == 0        ? ATTR_HIDDEN
                  : strcmp(name, "aria-hidden") == 0 ? ATTR_ARIA
                  : strcmp(name, "xml:lang") == 0    ? ATTR_XML_LANG
                  : to ? (uint8_t)(to - (const struct kj_str *)&a)
                       : ATTR_NONE;
    }
    return s->what;
}

static const struct kj_attrs *keep_attrs(struct build *b, const xmlChar **atts)
{
    struct kj_attrs a;
    bool any = false;
    memset(&a, 0, sizeof a);
    for (; atts && atts[0]; atts += 2) {
        const char *value = (const char *)atts[1];
        uint8_t what = attr_of(b, atts[0]);
        if (what == ATTR_NONE)
            continue;
        if (what == ATTR_HIDDEN) {
            a.hidden = !value || strcmp(value, "until-found") != 0;
            any = true;
        } else if (value && what == ATTR_ARIA) {
            any |= a.hidden |= strcmp(value, "true") == 0;
        }
        struct kj_str *s = !value                  ? NULL
                           : what == ATTR_XML_LANG ? &a.lang
                           : what < ATTR_XML_LANG  ? (struct kj_str *)&a + what
                                                   : NULL;
        size_t n = s && !s->p ? strlen(value) : 0;
        if (!n || n > ATTR_MAX)
            continue;
        char *copy = kj_arena_dup(&b->t->arena, value, n);
        if (!copy) {
            stop(b, "extract.html_bytes");
            return NULL;
        }
        *s = (struct kj_str){copy, n};
        any = true;
    }
    return any ? (const struct kj_attrs *)kj_arena_dup(&b->t->arena, (const char *)&a,
                                                       sizeof a)
               : NULL;
}

static void on_text(void *ctx, const xmlChar *p, int len);

static void on_start(void *ctx, const xmlChar *name, const xmlChar **atts)
{
    struct build *b = ctx;
    if (b->stopped)
        return;
    if (++b->depth > b->lim->depth) {
        if (b->depth > b->lim->depth_stop)
            stop(b, "extract.html_depth");
        return;
    }
    enum kj_tag tag = tag_of(b, name);
    struct kj_node *x = add(b, tag);
    if (!x)
        return;
    uint32_t i = (uint32_t)(b->t->n - 1);
    const struct kj_attrs *a = keep_attrs(b, atts);
    b->t->nodes[i].attr = a;
    b->open = i;
    if (tag == KJ_TAG_img && a && a->alt.n && a->cls.n && !b->stopped &&
        kj_math_image(a->cls)) {
        on_text(ctx, (const xmlChar *)"$", 1);
        on_text(ctx, (const xmlChar *)a->alt.p, (int)a->alt.n);
        on_text(ctx, (const xmlChar *)"$", 1);
    }
}

static void on_end(void *ctx, const xmlChar *name)
{
    struct build *b = ctx;
    (void)name;
    if (b->stopped || b->depth == 0)
        return;
    if (b->depth-- > b->lim->depth)
        return;
    struct kj_node *x = &b->t->nodes[b->open];
    x->end = (uint32_t)b->t->n;
    b->open = x->parent;
}

static void on_text(void *ctx, const xmlChar *p, int len)
{
    struct build *b = ctx;
    if (b->stopped || len <= 0)
        return;
    struct kj_tree *t = b->t;
    size_t n = (size_t)len, had = 0;
    struct kj_node *x = &t->nodes[t->n - 1];
    /* Entities and the parser's buffer split a run: join it again, with room
     * that doubles so that a page of entities costs no more than its size. */
    bool join = x->tag == KJ_TAG_TEXT && x->parent == b->open && t->n > 1;
    if (!join) {
        x = add(b, KJ_TAG_TEXT);
        b->text_cap = 0;
    } else {
        had = x->text.n;
    }
    if (!x)
        return;
    if (had + n > b->text_cap) {
        size_t cap = had ? 2 * (had + n) : n;
        char *both = kj_arena_alloc(&t->arena, cap);
        if (!both) {
            stop(b, "extract.html_bytes");
            return;
        }
        if (had)
            memcpy(both, x->text.p, had);
        x->text.p = both;
        b->text_cap = cap;
    }
    memcpy((char *)(uintptr_t)x->text.p + had, p, n);
    x->text.n = had + n;
}

static void on_cdata(void *ctx, const xmlChar *p, int n)
{
    /* Content of script and style, where the scan left any. */
    (void)ctx;
    (void)p;
    (void)n;
}

static void quiet(void *ctx, const char *fmt, ...)
{
    (void)ctx;
    (void)fmt;
}

int kj_tree_parse(struct kj_tree *t, const char *p, size_t n,
                  const struct kj_html_limits *lim, struct kj_err *err)
{
    kj_arena_reset(&t->arena);
    kj_buf_reset(&t->cut);
    kj_buf_reset(&t->ld);
    t->n = 0;
    t->rule = NULL;
    if (n > lim->bytes || kj_html_cut(p, n, &t->cut, &t->ld) < 0) {
        t->rule = "extract.html_bytes";
        return kj_err_set(err, KJ_BAD_RECORD, "page of %zu bytes", n);
    }
    struct build b = {.t = t, .lim = lim, .start = now()};
    add(&b, KJ_TAG_OTHER); /* the root */
    if (t->cut.n == 0)
        return KJ_OK;
    htmlParserCtxtPtr ctx = htmlCreateMemoryParserCtxt(t->cut.p, (int)t->cut.n);
    if (!ctx)
        return kj_err_set(err, KJ_FATAL, "libxml2: no memory");
    htmlCtxtUseOptions(ctx, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
                                HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
                                HTML_PARSE_IGNORE_ENC);
    xmlSwitchEncoding(ctx, XML_CHAR_ENCODING_UTF8);
    xmlSAXHandler sax;
    memset(&sax, 0, sizeof sax);
    sax.startElement = on_start;
    sax.endElement = on_end;
    sax.characters = on_text;
    sax.ignorableWhitespace = on_text;
    sax.cdataBlock = on_cdata;
    sax.warning = sax.error = sax.fatalError = quiet;
    if (ctx->sax)
        *ctx->sax = sax;
    ctx->userData = &b;
    b.ctx = ctx;
    htmlParseDocument(ctx);
    htmlFreeParserCtxt(ctx);
    for (uint32_t i = b.open; i; i = t->nodes[i].parent)
        t->nodes[i].end = (uint32_t)t->n;
    t->nodes[0].end = (uint32_t)t->n;
    if (t->rule)
        return kj_err_set(err, KJ_BAD_RECORD, "page goes beyond %s", t->rule);
    return KJ_OK;
}
