/* build.c - see build.h. */
#include "extract/build.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "extract/math.h"

/* ---- guards ---- */

void kj_build_stop(struct kj_builder *b, const char *rule)
{
    if (!b->t->rule)
        b->t->rule = rule;
    b->stopped = true;
}

bool kj_build_in_time(struct kj_builder *b)
{
    if (b->lex.full)
        kj_build_stop(b, "extract.html_bytes");
    else if (++b->events % 1024 == 0 &&
             kj_seconds(CLOCK_THREAD_CPUTIME_ID) - b->start > b->lim->seconds)
        kj_build_stop(b, "extract.html_time");
    return !b->stopped;
}

/* ---- nodes ---- */

/* A node that hangs nowhere yet; 0 at a cap (no node but the root is 0). */
uint32_t kj_node_new(struct kj_builder *b, enum kj_tag tag)
{
    struct kj_tree *t = b->t;
    if (b->stopped || t->n >= b->lim->nodes) {
        kj_build_stop(b, "extract.html_nodes");
        return 0;
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 1024;
        t->nodes = kj_xrealloc(t->nodes, t->cap * sizeof *t->nodes);
    }
    if (t->n >= b->links_cap) {
        b->links_cap = t->cap;
        b->links = kj_xrealloc(b->links, b->links_cap * sizeof *b->links);
    }
    t->nodes[t->n] = (struct kj_node){.parent = KJ_NO_NODE, .tag = (uint8_t)tag};
    b->links[t->n] = (struct kj_links){0, 0, 0, 0};
    return (uint32_t)t->n++;
}

void kj_node_detach(struct kj_builder *b, uint32_t i)
{
    struct kj_links *l = &b->links[i];
    uint32_t p = b->t->nodes[i].parent;
    if (p == KJ_NO_NODE)
        return;
    *(l->prev ? &b->links[l->prev].next : &b->links[p].first) = l->next;
    *(l->next ? &b->links[l->next].prev : &b->links[p].last) = l->prev;
    l->prev = l->next = 0;
    b->t->nodes[i].parent = KJ_NO_NODE;
}

void kj_node_attach(struct kj_builder *b, uint32_t i, uint32_t parent, uint32_t before)
{
    struct kj_links *l = &b->links[i], *p = &b->links[parent];
    b->t->nodes[i].parent = parent;
    l->next = before;
    l->prev = before ? b->links[before].prev : p->last;
    *(l->prev ? &b->links[l->prev].next : &p->first) = i;
    *(before ? &b->links[before].prev : &p->last) = i;
    b->moved |= before != 0;
}

static bool is_tabular(const struct kj_open *e)
{
    return e->ns == KJ_NS_HTML &&
           (e->tag == KJ_TAG_table || e->tag == KJ_TAG_tbody ||
            e->tag == KJ_TAG_tfoot || e->tag == KJ_TAG_thead || e->tag == KJ_TAG_tr);
}

/* "The appropriate place for inserting a node": in the element, or, for what
 * stands in a table and may not, in front of the table. */
struct kj_place kj_place_in(struct kj_builder *b, const struct kj_open *e)
{
    if (!b->foster || !is_tabular(e))
        return (struct kj_place){e->node, 0};
    size_t i = b->n - 1;
    while (i > 0 && !kj_is(&b->stack[i], KJ_TAG_table))
        i--;
    const struct kj_open *table = &b->stack[i];
    if (i == 0 || table->node == KJ_NO_NODE)
        return (struct kj_place){table->node, 0};
    uint32_t p = b->t->nodes[table->node].parent;
    if ((table->is & KJ_P_NO_NODE) || p == KJ_NO_NODE)
        return (struct kj_place){b->stack[i - 1].node, 0};
    return (struct kj_place){p, table->node};
}

static uint32_t put(struct kj_builder *b, struct kj_place at, enum kj_tag tag,
                    struct kj_attrs *a)
{
    if (at.parent == KJ_NO_NODE)
        return KJ_NO_NODE;
    uint32_t i = kj_node_new(b, tag);
    if (!i)
        return KJ_NO_NODE;
    if (tag != KJ_TAG_TEXT)
        b->t->nodes[i].attr = a;
    kj_node_attach(b, i, at.parent, at.before);
    return i;
}

/* Append s to a text node, in the page itself where it goes on there. */
static void join(struct kj_builder *b, uint32_t i, struct kj_str s)
{
    struct kj_str *x = &b->t->nodes[i].text;
    uint32_t *room = &b->links[i].first;
    if (!*room && x->p + x->n == s.p) {
        x->n += s.n;
        return;
    }
    if (x->n + s.n > *room) {
        size_t want = 2 * (x->n + s.n);
        char *p = kj_arena_alloc(&b->t->arena, want);
        if (!p) {
            kj_build_stop(b, "extract.html_bytes");
            return;
        }
        memcpy(p, x->p, x->n);
        x->p = p;
        *room = (uint32_t)want;
    }
    memcpy((char *)(uintptr_t)x->p + x->n, s.p, s.n);
    x->n += s.n;
}

static void put_text(struct kj_builder *b, struct kj_place at, struct kj_str s)
{
    if (at.parent == KJ_NO_NODE || s.n == 0 || b->stopped)
        return;
    uint32_t prev = at.before ? b->links[at.before].prev : b->links[at.parent].last;
    if (prev && b->t->nodes[prev].tag == KJ_TAG_TEXT) {
        join(b, prev, s);
        return;
    }
    uint32_t i = put(b, at, KJ_TAG_TEXT, NULL);
    if (i != KJ_NO_NODE)
        b->t->nodes[i].text = s;
}

void kj_build_text(struct kj_builder *b, struct kj_str s)
{
    put_text(b, kj_place_in(b, kj_top(b)), s);
}

void kj_build_leaf(struct kj_builder *b, uint32_t under, enum kj_tag tag,
                   struct kj_attrs *a, struct kj_str text)
{
    struct kj_place at = {under, 0};
    if (under == KJ_NO_NODE)
        at = kj_place_in(b, kj_top(b));
    else
        b->moved = true;
    uint32_t i = put(b, at, tag, a);
    if (i != KJ_NO_NODE)
        put_text(b, (struct kj_place){i, 0}, text);
}

/* An image of a formula has its TeX beside it. */
static void put_formula(struct kj_builder *b, uint32_t i, const struct kj_attrs *a)
{
    if (a && a->alt.n && a->cls.n && kj_math_image(a->cls))
        put_text(b, (struct kj_place){i, 0}, kj_math_tex(&b->t->arena, a->alt, false));
}

uint32_t kj_build_void(struct kj_builder *b, enum kj_tag tag, struct kj_attrs *a)
{
    uint32_t i = put(b, kj_place_in(b, kj_top(b)), tag, a);
    if (tag == KJ_TAG_img && i != KJ_NO_NODE)
        put_formula(b, i, a);
    return i;
}

/* ---- the stack of open elements ---- */

/* A page may have thousands of open elements, and an end tag that looks through
 * all of them in vain is cheap to write: so every element knows where the next
 * of its kinds lies below it. at: the index of the topmost plus one. */
static void link_top(struct kj_builder *b, size_t at)
{
    struct kj_open *e = &b->stack[at - 1];
    e->scope = b->scope;
    e->special = b->special;
    if (e->ns == KJ_NS_HTML) {
        e->same = b->open[e->tag];
        b->open[e->tag] = (uint32_t)at;
    }
    if (e->is & KJ_P_SCOPE)
        b->scope = (uint32_t)at;
    if (e->is & KJ_P_SPECIAL)
        b->special = (uint32_t)at;
}

void kj_relink(struct kj_builder *b)
{
    memset(b->open, 0, sizeof b->open);
    b->scope = b->special = 0;
    for (size_t i = 1; i <= b->n; i++)
        link_top(b, i);
}

static void push(struct kj_builder *b, struct kj_open e)
{
    if (b->n >= b->lim->depth_stop) {
        kj_build_stop(b, "extract.html_depth");
        return;
    }
    if (b->n == b->stack_cap) {
        b->stack_cap = b->stack_cap ? 2 * b->stack_cap : 256;
        b->stack = kj_xrealloc(b->stack, b->stack_cap * sizeof *b->stack);
    }
    e.id = ++b->last_id;
    b->stack[b->n++] = e;
    b->names[e.name % KJ_NAMES]++;
    link_top(b, b->n);
}

/* Open an element at its place. */
static void open_element(struct kj_builder *b, struct kj_open e)
{
    struct kj_place at = {0, 0};
    if (b->n)
        at = kj_place_in(b, kj_top(b));
    if (e.is & KJ_P_MUTE) {
        e.node = KJ_NO_NODE;
    } else if (b->n >= b->lim->depth) {
        e.node = at.parent;
        e.is |= KJ_P_NO_NODE;
    } else {
        e.node = put(b, at, (enum kj_tag)e.tag, e.attr);
    }
    push(b, e);
}

void kj_build_element(struct kj_builder *b, enum kj_ns ns, unsigned is)
{
    const struct kj_token *t = &b->tok;
    if (ns == KJ_NS_HTML)
        is |= kj_parse_class((enum kj_tag)t->tag);
    open_element(b, (struct kj_open){.name = t->name,
                                     .is = (uint16_t)is,
                                     .tag = t->tag,
                                     .ns = (uint8_t)ns,
                                     .attr = t->attr});
}

void kj_build_html(struct kj_builder *b, enum kj_tag tag, struct kj_attrs *a)
{
    open_element(b, (struct kj_open){.is = (uint16_t)kj_parse_class(tag),
                                     .tag = (uint8_t)tag,
                                     .attr = a});
}

/* A formatting element that is no longer open may be opened again. */
static void closed(struct kj_builder *b, const struct kj_open *e)
{
    b->names[e->name % KJ_NAMES]--;
    if (e->is & KJ_P_FORMAT)
        for (size_t i = b->n_formats; i-- > 0;)
            if (b->formats[i].id == e->id) {
                b->formats[i].open = false;
                break;
            }
}

void kj_pop(struct kj_builder *b)
{
    if (b->n == 1)
        return;
    struct kj_open *e = &b->stack[--b->n];
    closed(b, e);
    b->scope = e->scope;
    b->special = e->special;
    if (e->ns == KJ_NS_HTML)
        b->open[e->tag] = e->same;
}

void kj_pop_to(struct kj_builder *b, size_t n)
{
    while (b->n > n && b->n > 1)
        kj_pop(b);
}

void kj_pop_until(struct kj_builder *b, enum kj_tag tag)
{
    while (b->n > 1) {
        bool last = kj_top_is(b, tag);
        kj_pop(b);
        if (last)
            break;
    }
}

void kj_take_out(struct kj_builder *b, size_t i)
{
    closed(b, &b->stack[i]);
    memmove(&b->stack[i], &b->stack[i + 1], (b->n - i - 1) * sizeof *b->stack);
    b->n--;
}

void kj_remove(struct kj_builder *b, size_t i)
{
    if (i == b->n - 1) {
        kj_pop(b);
        return;
    }
    kj_take_out(b, i);
    kj_relink(b);
}

void kj_implied(struct kj_builder *b, enum kj_tag but)
{
    while ((kj_top(b)->is & KJ_P_IMPLIED) && kj_top(b)->tag != but)
        kj_pop(b);
}

static uint32_t higher(uint32_t x, uint32_t y)
{
    return x > y ? x : y;
}

bool kj_in_scope(const struct kj_builder *b, enum kj_tag tag, enum kj_scope scope)
{
    uint32_t bound = b->scope;
    if (scope == KJ_SCOPE_TABLE)
        bound = higher(b->open[KJ_TAG_table], b->open[KJ_TAG_template]);
    else if (scope == KJ_SCOPE_BUTTON)
        bound = higher(bound, b->open[KJ_TAG_button]);
    else if (scope == KJ_SCOPE_LIST)
        bound = higher(bound, higher(b->open[KJ_TAG_ol], b->open[KJ_TAG_ul]));
    return b->open[tag] && b->open[tag] >= bound;
}

void kj_close_p(struct kj_builder *b)
{
    if (kj_in_scope(b, KJ_TAG_p, KJ_SCOPE_BUTTON))
        kj_pop_until(b, KJ_TAG_p);
}

void kj_any_end(struct kj_builder *b)
{
    const struct kj_token *t = &b->tok;
    uint32_t at = b->open[t->tag];
    if (t->tag == KJ_TAG_OTHER && !b->names[t->name % KJ_NAMES])
        return;
    while (at > b->special && t->tag == KJ_TAG_OTHER &&
           b->stack[at - 1].name != t->name)
        at = b->stack[at - 1].same;
    /* noscript is special itself */
    if (at && at >= b->special)
        kj_pop_to(b, at - 1);
}

/* ---- begin and end ---- */

void kj_build_begin(struct kj_builder *b, const char *p, size_t n)
{
    b->n = b->n_formats = 0;
    memset(b->open, 0, sizeof b->open);
    memset(b->names, 0, sizeof b->names);
    b->scope = b->special = 0;
    b->last_id = b->form = b->head = b->body = b->html = 0;
    b->mode = KJ_M_BEFORE_HTML;
    b->foster = b->moved = b->skip_newline = b->stopped = false;
    b->quirks = true;
    b->start = kj_seconds(CLOCK_THREAD_CPUTIME_ID);
    kj_lexer_init(&b->lex, p, n, &b->t->arena);
    kj_node_new(b, KJ_TAG_OTHER); /* the root */
    kj_build_html(b, KJ_TAG_html, NULL);
    b->html = b->n ? b->stack[0].node : 0;
}

/* Lay the nodes out in document order. */
static void sort(struct kj_builder *b)
{
    struct kj_tree *t = b->t;
    if (b->sorted_cap < t->cap) {
        b->sorted_cap = t->cap;
        b->sorted = kj_xrealloc(b->sorted, b->sorted_cap * sizeof *b->sorted);
    }
    uint32_t n = 0, i = 0;
    for (;;) {
        const struct kj_links *l = &b->links[i];
        b->sorted[n] = t->nodes[i];
        /* A parent stands before its children, so its new place is known. */
        b->sorted[n].parent = i ? t->nodes[t->nodes[i].parent].end : 0;
        t->nodes[i].end = n++;
        if (t->nodes[i].tag != KJ_TAG_TEXT && l->first) {
            i = l->first;
            continue;
        }
        while (i && !b->links[i].next)
            i = t->nodes[i].parent;
        if (!i)
            break;
        i = b->links[i].next;
    }
    struct kj_node *old = t->nodes;
    size_t cap = t->cap;
    t->nodes = b->sorted;
    t->cap = b->sorted_cap;
    b->sorted = old;
    b->sorted_cap = cap;
    t->n = n;
}

void kj_build_end(struct kj_builder *b)
{
    struct kj_tree *t = b->t;
    if (b->stopped)
        return;
    if (b->mode < KJ_M_IN_BODY) { /* every page has a head and a body */
        kj_pop_to(b, 1);
        if (!b->head)
            kj_build_html(b, KJ_TAG_head, NULL);
        kj_pop_to(b, 1);
        kj_build_html(b, KJ_TAG_body, NULL);
        if (b->stopped)
            return;
    }
    t->nodes[0].parent = 0;
    if (b->moved)
        sort(b);
    unsigned deepest = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct kj_node *x = &t->nodes[i];
        unsigned depth = i ? t->nodes[x->parent].depth + 1u : 0;
        deepest = depth > deepest ? depth : deepest;
        x->depth = (uint16_t)(depth < UINT16_MAX ? depth : UINT16_MAX);
        x->end = (uint32_t)i + 1;
    }
    for (size_t i = t->n; i-- > 1;) {
        struct kj_node *p = &t->nodes[t->nodes[i].parent];
        if (p->end < t->nodes[i].end)
            p->end = t->nodes[i].end;
    }
    if (deepest > b->lim->depth_stop)
        kj_build_stop(b, "extract.html_depth");
}
