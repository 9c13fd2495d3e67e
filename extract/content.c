/* content.c - the main text of a page by the density of its blocks.
 *
 * Everything is decided on sums over ranges of the flat tree: text[i] is the
 * weight of the visible text in front of node i, so that text[end] - text[i]
 * is that of a subtree, and link[] the same for text inside links. A letter
 * weighs 1, a syllable or ideograph 2, which makes Korean and English pages
 * comparable.
 *
 * 1. What can never be text goes: forms, menus by element or role, hidden
 *    subtrees; page headers and footers; and, by the names of classes and ids
 *    (hints.c), adverts, sharing, sidebars. A subtree with half of the page's
 *    text, or with the <main> element or the only <h1> in it, is not believed
 *    to be any of these.
 * 2. The root: <main> or role=main if it has text; in it the one <article>, or
 *    the element that bears a name only texts bear, if it has most of the
 *    text; then down as long as one child has nearly all text outside links.
 * 3. Under the root, blocks that are mostly links go (unless the whole page is
 *    a list of links), comments of readers go (unless the page is a forum),
 *    and tails that only ask to share or to read on.
 */
#include "extract/content.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "extract/hints.h"
#include "extract/phrases.h"

void kj_content_release(struct kj_content *c)
{
    free(c->text);
    free(c->link);
    free(c->hint);
    free(c->weight);
    free(c->memo);
    memset(c, 0, sizeof *c);
}

static bool is_drop(const struct kj_node *x)
{
    return x->tag != KJ_TAG_TEXT && (kj_tag_class(x->tag) & KJ_TC_DROP);
}

/* Weight of a run of text; white space is nothing. */
static uint32_t weight(struct kj_str s)
{
    uint32_t w = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x80)
            w += c > ' ';
        else if (c >= 0xE1 && c <= 0xEE) /* from Hangul jamo to the syllables */
            w += 2;
        else
            w += c >= 0xC0;
    }
    return w;
}

/* Fill the sums; skipped subtrees weigh nothing. */
static void sum_up(struct kj_content *c, const struct kj_tree *t)
{
    uint32_t text = 0, link = 0;
    size_t a_end = 0;
    for (size_t i = 0; i < t->n;) {
        const struct kj_node *x = &t->nodes[i];
        size_t next = i + 1;
        c->text[i] = text;
        c->link[i] = link;
        if (x->flags & KJ_NF_SKIP) {
            next = x->end;
        } else if (x->tag == KJ_TAG_TEXT) {
            uint32_t w = c->weight[i];
            text += w;
            if (i < a_end)
                link += w;
        } else if (x->tag == KJ_TAG_a && i >= a_end && x->attr && x->attr->href.p) {
            a_end = x->end;
        }
        for (i++; i < next; i++) {
            c->text[i] = text;
            c->link[i] = link;
        }
    }
    c->text[t->n] = text;
    c->link[t->n] = link;
}

static uint32_t text_of(const struct kj_content *c, const struct kj_tree *t, size_t i)
{
    return c->text[t->nodes[i].end] - c->text[i];
}

static uint32_t link_of(const struct kj_content *c, const struct kj_tree *t, size_t i)
{
    return c->link[t->nodes[i].end] - c->link[i];
}

/* Text outside links. */
static uint32_t plain_of(const struct kj_content *c, const struct kj_tree *t, size_t i)
{
    return text_of(c, t, i) - link_of(c, t, i);
}

static bool skipped(const struct kj_tree *t, size_t i)
{
    return t->nodes[i].flags & KJ_NF_SKIP;
}

bool kj_content_style_hides(struct kj_str s)
{
    for (size_t i = 0; i + 12 <= s.n; i++) {
        if (s.p[i] != 'd' && s.p[i] != 'v')
            continue;
        size_t k = strncmp(s.p + i, "display", 7) == 0                        ? 7
                   : s.n - i >= 17 && strncmp(s.p + i, "visibility", 10) == 0 ? 10
                                                                              : 0;
        if (!k)
            continue;
        i += k;
        while (i < s.n && (s.p[i] == ' ' || s.p[i] == ':'))
            i++;
        if (s.n - i >= 4 && k == 7 && strncmp(s.p + i, "none", 4) == 0)
            return true;
        if (s.n - i >= 6 && k == 10 && strncmp(s.p + i, "hidden", 6) == 0)
            return true;
    }
    return false;
}

static bool role_is(const struct kj_node *x, const char *const *list)
{
    if (!x->attr || !x->attr->role.n)
        return false;
    for (; *list; list++)
        if (kj_str_is(x->attr->role, *list))
            return true;
    return false;
}

/* The nearest enclosing element of one of two kinds, or 0. */
static uint32_t within(const struct kj_tree *t, size_t i, enum kj_tag a, enum kj_tag b)
{
    for (uint32_t p = t->nodes[i].parent; p; p = t->nodes[p].parent)
        if (t->nodes[p].tag == a || t->nodes[p].tag == b)
            return p;
    return 0;
}

static bool holds(const struct kj_tree *t, size_t i, enum kj_tag a, enum kj_tag b)
{
    for (size_t k = i + 1; k < t->nodes[i].end; k++)
        if ((t->nodes[k].tag == a || t->nodes[k].tag == b) && !skipped(t, k))
            return true;
    return false;
}

/* ---- 1: what can never be text ---- */

/* Buttons are for scripts, but the questions of folded answers are buttons in
 * headings, or headings in buttons, ... */
static bool is_asked(const struct kj_tree *t, size_t i)
{
    const struct kj_node *x = &t->nodes[i];
    if (kj_tag_class(t->nodes[x->parent].tag) & KJ_TC_HEADING)
        return true;
    for (size_t k = i + 1; k < x->end; k++)
        if (kj_tag_class(t->nodes[k].tag) & KJ_TC_HEADING)
            return true;
    return false;
}

/* ... or just buttons that unfold something, as menus are too. */
static bool may_be_question(const struct kj_tree *t, size_t i)
{
    const struct kj_node *x = &t->nodes[i];
    return x->tag == KJ_TAG_button &&
           ((x->attr && x->attr->expanded) || is_asked(t, i));
}

static void drop_hard(struct kj_content *c, struct kj_tree *t)
{
    for (size_t i = 1; i < t->n; i++) {
        struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT) {
            c->weight[i] = weight(x->text);
            continue;
        }
        c->hint[i] = kj_hints(c->memo, x->attr);
        if (is_drop(x) && !may_be_question(t, i))
            x->flags |= KJ_NF_SKIP | KJ_NF_HARD;
    }
}

/* What stands in for scripts: normally a request to turn them on, or an image;
 * but some forums keep their whole text there. */
static void drop_noscript(struct kj_content *c, struct kj_tree *t)
{
    uint32_t inside = 0, all = c->text[t->n];
    for (size_t i = 1; i < t->n; i++)
        if (t->nodes[i].tag == KJ_TAG_noscript && !skipped(t, i))
            inside += text_of(c, t, i);
    bool keep = inside > 400 && inside * 2 > all;
    for (size_t i = 1; i < t->n; i++)
        if (t->nodes[i].tag == KJ_TAG_noscript && !(keep && text_of(c, t, i) > 200))
            t->nodes[i].flags |= KJ_NF_SKIP | KJ_NF_HARD;
}

static void drop_hidden(struct kj_content *c, struct kj_tree *t)
{
    uint32_t all = c->text[t->n];
    for (size_t i = 1; i < t->n; i++) {
        struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT || !x->attr || x->tag == KJ_TAG_body ||
            x->tag == KJ_TAG_html)
            continue;
        bool hidden = x->attr->hidden ||
                      (x->attr->style.n && kj_content_style_hides(x->attr->style));
        /* React streams parts of a page into hidden boxes named S:0, S:1, ... that
         * a script puts in their place. */
        if (hidden && x->attr->id.n > 2 && memcmp(x->attr->id.p, "S:", 2) == 0)
            continue;
        /* Tabs and folded answers are hidden until they are asked for, and spans
         * stand for what fits the reader's system: text, where it is long. */
        uint32_t w = text_of(c, t, i);
        bool folded = x->tag == KJ_TAG_span ||
                      (!x->attr->hidden && w > 200 && link_of(c, t, i) * 10 < w &&
                       !(c->hint[i] & KJ_HINTS & ~(unsigned)KJ_HINT_CONTENT));
        if (hidden && !folded && w * 3 < all)
            x->flags |= KJ_NF_SKIP | KJ_NF_HIDDEN;
    }
}

/* Is this element, by its kind, role or names, not the page's text? */
static bool is_chrome(const struct kj_content *c, const struct kj_tree *t, size_t i)
{
    static const char *const roles[] = {
        "navigation", "banner", "contentinfo", "search",  "menu",          "menubar",
        "toolbar",    "dialog", "alertdialog", "tablist", "complementary", NULL};
    const struct kj_node *x = &t->nodes[i];
    unsigned h = c->hint[i] & KJ_HINTS;
    switch (x->tag) {
    case KJ_TAG_nav:
    case KJ_TAG_dialog:
    case KJ_TAG_search:
    case KJ_TAG_menu:
    case KJ_TAG_aside:
    case KJ_TAG_footer:
        return true;
    case KJ_TAG_header:
        return !within(t, i, KJ_TAG_article, KJ_TAG_main) &&
               !holds(t, i, KJ_TAG_h1, KJ_TAG_h1);
    case KJ_TAG_body:
    case KJ_TAG_html:
    case KJ_TAG_main:
    case KJ_TAG_article:
        return false;
    case KJ_TAG_label:
    case KJ_TAG_figcaption:
        return true;
    case KJ_TAG_button: /* few questions are shorter */
        return !is_asked(t, i) && text_of(c, t, i) < 24;
    default:
        break;
    }
    if (role_is(x, roles))
        return true;
    if (h & (KJ_HINT_BODY))
        return false;
    if (h & (KJ_HINT_CHROME | KJ_HINT_FOOTER))
        return true;
    if (h & KJ_HINT_SIDE) /* boxes beside the text of a book are text */
        return !(text_of(c, t, i) > 300 && link_of(c, t, i) * 10 < text_of(c, t, i) &&
                 holds(t, i, KJ_TAG_p, KJ_TAG_p));
    if ((h & KJ_HINT_META) && text_of(c, t, i) < 200 &&
        !holds(t, i, KJ_TAG_h1, KJ_TAG_h2))
        return true;
    if (h & KJ_HINT_HEADER)
        return !(h & KJ_HINT_CONTENT) && link_of(c, t, i) * 2 > text_of(c, t, i);
    return false;
}

static void drop_chrome(struct kj_content *c, struct kj_tree *t)
{
    uint32_t all = c->text[t->n], plain = all - c->link[t->n];
    for (size_t i = 1; i < t->n;) {
        struct kj_node *x = &t->nodes[i];
        size_t next = i + 1;
        if (x->flags & KJ_NF_SKIP) {
            next = x->end;
        } else if (x->tag != KJ_TAG_TEXT && is_chrome(c, t, i)) {
            uint32_t w = text_of(c, t, i), p = plain_of(c, t, i);
            bool big = w * 2 > all || p * 3 > plain;
            if (x->tag == KJ_TAG_nav && w * 3 < all * 2)
                big = false;
            if (!big && !holds(t, i, KJ_TAG_main, KJ_TAG_main)) {
                x->flags |= KJ_NF_SKIP | KJ_NF_CHROME;
                next = x->end;
            }
        }
        i = next;
    }
}

/* ---- 2: the root ---- */

static uint32_t
best_of(const struct kj_content *c, const struct kj_tree *t, uint32_t scope,
        bool (*is)(const struct kj_content *, const struct kj_node *, size_t))
{
    uint32_t best = 0, best_w = 0;
    for (size_t i = scope; i < t->nodes[scope].end; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT || skipped(t, i) || !is(c, x, i))
            continue;
        uint32_t w = plain_of(c, t, i);
        if (w > best_w) {
            best_w = w;
            best = (uint32_t)i;
        }
    }
    return best;
}

static bool is_main(const struct kj_content *c, const struct kj_node *x, size_t i)
{
    (void)c;
    (void)i;
    return x->tag == KJ_TAG_main || (x->attr && kj_str_is(x->attr->role, "main"));
}

static bool is_article(const struct kj_content *c, const struct kj_node *x, size_t i)
{
    (void)c;
    (void)i;
    return x->tag == KJ_TAG_article || (x->attr && kj_str_is(x->attr->role, "article"));
}

static bool is_body(const struct kj_content *c, const struct kj_node *x, size_t i)
{
    (void)x;
    return c->hint[i] & KJ_HINT_BODY;
}

static uint32_t find_root(struct kj_content *c, const struct kj_tree *t)
{
    uint32_t scope = 0, i;
    for (i = 0; i < t->n; i++)
        if (t->nodes[i].tag == KJ_TAG_body)
            break;
    if (i < t->n && plain_of(c, t, i) * 2 > plain_of(c, t, 0))
        scope = i;
    i = best_of(c, t, scope, is_main);
    if (i && plain_of(c, t, i) * 10 > plain_of(c, t, scope) * 4)
        scope = i;
    i = best_of(c, t, scope, is_article);
    if (i && !c->forum && plain_of(c, t, i) * 10 > plain_of(c, t, scope) * 5)
        scope = i;
    i = best_of(c, t, scope, is_body);
    if (i && !c->forum && plain_of(c, t, i) * 10 > plain_of(c, t, scope) * 6)
        scope = i;
    /* Down, while one child has nearly everything. */
    for (;;) {
        uint32_t all = plain_of(c, t, scope), down = 0;
        for (size_t k = scope + 1; k < t->nodes[scope].end; k = t->nodes[k].end)
            if (t->nodes[k].tag != KJ_TAG_TEXT && !skipped(t, k) &&
                plain_of(c, t, k) * 100 > all * 97)
                down = (uint32_t)k;
        if (!down || t->nodes[down].tag == KJ_TAG_p || t->nodes[down].tag == KJ_TAG_tr)
            return scope;
        scope = down;
    }
}

/* ---- 3: under the root ---- */

static bool is_listing(const struct kj_content *c, const struct kj_tree *t)
{
    return link_of(c, t, c->root) * 10 > text_of(c, t, c->root) * 6;
}

/* Blocks that are mostly links. */
static void drop_links(struct kj_content *c, struct kj_tree *t)
{
    const struct kj_node *root = &t->nodes[c->root];
    for (size_t i = c->root + 1; i < root->end;) {
        struct kj_node *x = &t->nodes[i];
        size_t next = i + 1;
        if (x->flags & KJ_NF_SKIP) {
            i = x->end;
            continue;
        }
        unsigned cls = x->tag == KJ_TAG_TEXT ? 0 : kj_tag_class(x->tag);
        if ((cls & KJ_TC_BLOCK) && !(cls & KJ_TC_HEADING) && x->tag != KJ_TAG_li &&
            x->tag != KJ_TAG_td && x->tag != KJ_TAG_tr && x->tag != KJ_TAG_p) {
            uint32_t w = text_of(c, t, i), l = link_of(c, t, i);
            if (w > 0 && l * 10 > w * 7) {
                x->flags |= KJ_NF_SKIP | KJ_NF_LINKS;
                next = x->end;
            }
        }
        i = next;
    }
}

static void drop_comments(struct kj_content *c, struct kj_tree *t)
{
    const struct kj_node *root = &t->nodes[c->root];
    uint32_t all = plain_of(c, t, c->root), in_comments = 0;
    for (size_t i = c->root + 1; i < root->end;) {
        const struct kj_node *x = &t->nodes[i];
        bool comment = x->tag != KJ_TAG_TEXT && !skipped(t, i) &&
                       (c->hint[i] & KJ_HINT_COMMENT) &&
                       plain_of(c, t, i) * 10 < all * 9;
        if (comment)
            in_comments += plain_of(c, t, i);
        i = comment || skipped(t, i) ? x->end : i + 1;
    }
    /* A page that is mostly comments is about them. */
    if (in_comments * 10 > all * 7)
        return;
    for (size_t i = c->root + 1; i < root->end; i++) {
        struct kj_node *x = &t->nodes[i];
        if (x->tag != KJ_TAG_TEXT && (c->hint[i] & KJ_HINT_COMMENT) &&
            plain_of(c, t, i) * 10 < all * 7)
            x->flags |= KJ_NF_SKIP | KJ_NF_COMMENT;
    }
}

/* The words of a block without blocks in it, if there are few; else 0. */
static size_t short_text(const struct kj_tree *t, size_t i, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t k = i + 1; k < t->nodes[i].end; k++) {
        const struct kj_node *x = &t->nodes[k];
        if (x->tag != KJ_TAG_TEXT) {
            if (kj_tag_class(x->tag) & KJ_TC_BLOCK)
                return 0;
            continue;
        }
        if (skipped(t, k))
            continue;
        if (n + x->text.n > cap)
            return 0;
        memcpy(out + n, x->text.p, x->text.n);
        n += x->text.n;
    }
    return n;
}

/* A heading over a list of other pages, and what it heads: its box if it opens
 * it, else what follows up to the next heading, as long as that is links. */
static void drop_related(struct kj_content *c, struct kj_tree *t, size_t i)
{
    size_t p = t->nodes[i].parent;
    uint32_t all = text_of(c, t, c->root);
    while (p > c->root && c->text[i] == c->text[p] && text_of(c, t, p) * 4 < all) {
        i = p;
        p = t->nodes[i].parent;
    }
    t->nodes[i].flags |= KJ_NF_SKIP | KJ_NF_PHRASE;
    if (p < c->root)
        return;
    for (size_t k = t->nodes[i].end; k < t->nodes[p].end; k = t->nodes[k].end) {
        struct kj_node *x = &t->nodes[k];
        if (x->tag == KJ_TAG_TEXT)
            continue;
        if ((kj_tag_class(x->tag) & KJ_TC_HEADING) ||
            link_of(c, t, k) * 2 < text_of(c, t, k))
            return;
        x->flags |= KJ_NF_SKIP | KJ_NF_PHRASE;
    }
}

static void drop_phrases(struct kj_content *c, struct kj_tree *t)
{
    char text[400];
    for (size_t i = c->root + 1; i < t->nodes[c->root].end;) {
        struct kj_node *x = &t->nodes[i];
        if (skipped(t, i)) {
            i = x->end;
            continue;
        }
        uint32_t w = x->tag != KJ_TAG_TEXT && (kj_tag_class(x->tag) & KJ_TC_BLOCK)
                         ? text_of(c, t, i)
                         : 0;
        if (w > 0 && w < 160) {
            size_t n = short_text(t, i, text, sizeof text);
            enum kj_phrase ph = n ? kj_phrase_of(text, n) : KJ_PHRASE_NONE;
            if (ph == KJ_PHRASE_CHROME)
                x->flags |= KJ_NF_SKIP | KJ_NF_PHRASE;
            else if (ph == KJ_PHRASE_RELATED)
                drop_related(c, t, i);
        }
        i++;
    }
}

static bool contains(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.p + i, z, n) == 0)
            return true;
    return false;
}

static bool looks_like_forum(const struct kj_content *c, const struct kj_tree *t)
{
    unsigned posts = 0;
    for (size_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT)
            continue;
        if (x->attr && x->attr->itemtype.n &&
            (contains(x->attr->itemtype, "QAPage") ||
             contains(x->attr->itemtype, "Discussion")))
            return true;
        if (x->tag == KJ_TAG_body && (c->hint[i] & KJ_HINT_FORUM))
            return true;
        posts += (c->hint[i] & KJ_HINT_FORUM) && x->tag != KJ_TAG_a;
    }
    return posts >= 6;
}

void kj_content_begin(struct kj_content *c, struct kj_tree *t)
{
    if (!c->memo)
        c->memo = kj_xcalloc(1, sizeof *c->memo);
    if (t->n + 1 > c->cap) {
        c->cap = t->n + 1 + t->n / 2;
        c->text = kj_xrealloc(c->text, c->cap * sizeof *c->text);
        c->link = kj_xrealloc(c->link, c->cap * sizeof *c->link);
        c->weight = kj_xrealloc(c->weight, c->cap * sizeof *c->weight);
        c->hint = kj_xrealloc(c->hint, c->cap * sizeof *c->hint);
    }
    memset(c->hint, 0, (t->n + 1) * sizeof *c->hint);
    drop_hard(c, t);
    sum_up(c, t);
    drop_noscript(c, t);
    sum_up(c, t);
}

void kj_content_find(struct kj_content *c, struct kj_tree *t)
{
    uint32_t visible = c->text[t->n];
    drop_hidden(c, t);
    sum_up(c, t);
    drop_chrome(c, t);
    sum_up(c, t);
    c->forum = looks_like_forum(c, t);
    c->root = find_root(c, t);
    if (!c->forum)
        drop_comments(c, t);
    sum_up(c, t);
    if (!is_listing(c, t))
        drop_links(c, t);
    sum_up(c, t);
    drop_phrases(c, t);
    sum_up(c, t);
    c->share = visible ? (double)text_of(c, t, c->root) / (double)visible : 0;
}

void kj_content_settle(struct kj_content *c, struct kj_tree *t, const uint32_t *seen)
{
    sum_up(c, t);
    for (size_t i = 1; i < t->n; i++) {
        struct kj_node *x = &t->nodes[i];
        if (x->tag != KJ_TAG_TEXT && text_of(c, t, i) == 0 && seen[x->end] > seen[i])
            x->flags |= KJ_NF_SKIP;
    }
    c->root = 0;
    c->share = seen[t->n] ? (double)c->text[t->n] / seen[t->n] : 0;
}
