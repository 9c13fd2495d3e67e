/* build_format.c - formatting elements: the list of those that are open again in
 * the next paragraph, and the "adoption agency" that puts misnested ones right
 * (13.2.4.3, 13.2.6.4.7 of the HTML standard); see build.h. */
#include <string.h>

#include "extract/build.h"

/* ---- the list of active formatting elements ---- */

void kj_format_remove(struct kj_builder *b, size_t at)
{
    memmove(&b->formats[at], &b->formats[at + 1],
            (b->n_formats - at - 1) * sizeof *b->formats);
    b->n_formats--;
}

void kj_format_push(struct kj_builder *b)
{
    const struct kj_open *e = kj_top(b);
    const struct kj_token *t = &b->tok;
    if (b->stopped)
        return;
    size_t same = 0, first = 0; /* three alike are enough */
    for (size_t i = b->n_formats; i-- > 0 && b->formats[i].id;) {
        const struct kj_format *f = &b->formats[i];
        if (f->tag == t->tag && kj_str_eq(f->text, t->text)) {
            same++;
            first = i;
        }
    }
    if (same >= 3)
        kj_format_remove(b, first);
    if (b->n_formats == KJ_FORMATS)
        kj_format_remove(b, 0);
    b->formats[b->n_formats++] =
        (struct kj_format){e->id, t->tag, true, t->attr, t->text};
}

void kj_format_mark(struct kj_builder *b)
{
    if (b->n_formats == KJ_FORMATS)
        kj_format_remove(b, 0);
    b->formats[b->n_formats++] = (struct kj_format){0};
}

void kj_format_clear(struct kj_builder *b)
{
    while (b->n_formats > 0 && b->formats[--b->n_formats].id)
        ;
}

bool kj_format_find(const struct kj_builder *b, enum kj_tag tag, size_t *at)
{
    for (size_t i = b->n_formats; i-- > 0 && b->formats[i].id;)
        if (b->formats[i].tag == tag) {
            *at = i;
            return true;
        }
    return false;
}

void kj_format_again(struct kj_builder *b)
{
    size_t i = b->n_formats;
    while (i > 0 && b->formats[i - 1].id && !b->formats[i - 1].open)
        i--;
    for (; i < b->n_formats && !b->stopped; i++) {
        struct kj_format *f = &b->formats[i];
        kj_build_html(b, (enum kj_tag)f->tag, f->attr);
        f->id = kj_top(b)->id;
        f->open = true;
    }
}

/* ---- the adoption agency ---- */

/* The same element once more, hanging nowhere; it takes the other's place on
 * the stack or in the list. */
static void clone(struct kj_builder *b, struct kj_open *e)
{
    e->id = ++b->last_id;
    if (e->node == KJ_NO_NODE || (e->is & KJ_P_NO_NODE))
        return;
    uint32_t i = kj_node_new(b, (enum kj_tag)e->tag);
    e->node = i ? i : KJ_NO_NODE;
    if (i)
        b->t->nodes[i].attr = e->attr;
}

static bool has_node(const struct kj_open *e)
{
    return e->node != KJ_NO_NODE && !(e->is & KJ_P_NO_NODE);
}

static void move(struct kj_builder *b, const struct kj_open *e, struct kj_place to)
{
    if (!has_node(e) || to.parent == KJ_NO_NODE || b->stopped)
        return;
    kj_node_detach(b, e->node);
    kj_node_attach(b, e->node, to.parent, to.before);
    b->moved = true;
}

static size_t format_of(const struct kj_builder *b, uint32_t id)
{
    size_t i = b->n_formats;
    while (i > 0 && b->formats[i - 1].id != id)
        i--;
    return i; /* behind it; 0: not in the list */
}

/* Steps 11 to 14: what lies between the formatting element, at s of the stack,
 * and the furthest block, at *fb, is opened again inside out around the block.
 * Returns where in the list the formatting element's clone belongs. */
static size_t adopt_between(struct kj_builder *b, size_t s, size_t *fb, size_t bookmark)
{
    size_t last = *fb; /* index on the stack of the "last node" */
    int inner = 0;
    for (size_t i = *fb - 1; i > s; i--) {
        size_t k = format_of(b, b->stack[i].id);
        if (++inner > 3 && k) {
            kj_format_remove(b, k - 1);
            bookmark -= k - 1 < bookmark;
            k = 0;
        }
        if (!k) {
            kj_take_out(b, i);
            last--;
            --*fb;
            continue;
        }
        clone(b, &b->stack[i]);
        b->formats[k - 1].id = b->stack[i].id;
        if (last == *fb)
            bookmark = k;
        move(b, &b->stack[last], (struct kj_place){b->stack[i].node, 0});
        last = i;
    }
    move(b, &b->stack[last], kj_place_in(b, &b->stack[s - 1]));
    return bookmark;
}

/* Steps 15 to 19: a clone of the formatting element takes what is in the block. */
static void adopt_block(struct kj_builder *b, size_t s, size_t fb, size_t bookmark)
{
    struct kj_open copy = b->stack[s];
    struct kj_open *block = &b->stack[fb];
    size_t f = format_of(b, copy.id) - 1;
    if (!has_node(block)) {
        copy.node = block->node;
        copy.is |= block->node == KJ_NO_NODE ? 0 : KJ_P_NO_NODE;
        copy.id = ++b->last_id;
    } else {
        clone(b, &copy);
    }
    if (has_node(&copy) && has_node(block) && !b->stopped) {
        for (uint32_t c; (c = b->links[block->node].first) != 0;) {
            kj_node_detach(b, c);
            kj_node_attach(b, c, copy.node, 0);
        }
        kj_node_attach(b, copy.node, block->node, 0);
        b->moved = true;
    }
    struct kj_format entry = b->formats[f];
    entry.id = copy.id;
    entry.open = true;
    kj_format_remove(b, f);
    bookmark -= f < bookmark;
    memmove(&b->formats[bookmark + 1], &b->formats[bookmark],
            (b->n_formats - bookmark) * sizeof *b->formats);
    b->formats[bookmark] = entry;
    b->n_formats++;
    /* From the stack, and again right below the block. */
    memmove(&b->stack[s], &b->stack[s + 1], (fb - s) * sizeof *b->stack);
    b->stack[fb] = copy;
    kj_relink(b);
}

/* Once; false when there is nothing more to do. */
static bool adopt_once(struct kj_builder *b, enum kj_tag tag)
{
    size_t f, s, fb;
    if (!kj_format_find(b, tag, &f)) {
        kj_any_end(b);
        return false;
    }
    for (s = b->open[tag]; s && b->stack[s - 1].id != b->formats[f].id;)
        s = b->stack[s - 1].same;
    if (s-- == 0) {
        kj_format_remove(b, f);
        return false;
    }
    if (b->scope > s + 1)
        return false;
    for (fb = s + 1; fb < b->n && !(b->stack[fb].is & KJ_P_SPECIAL);)
        fb++;
    if (fb == b->n) {
        kj_pop_to(b, s);
        kj_format_remove(b, f);
        return false;
    }
    size_t bookmark = adopt_between(b, s, &fb, f);
    adopt_block(b, s, fb, bookmark);
    return !b->stopped;
}

void kj_adopt(struct kj_builder *b, enum kj_tag tag)
{
    if (kj_top_is(b, tag) && format_of(b, kj_top(b)->id) == 0) {
        kj_pop(b);
        return;
    }
    for (int i = 0; i < 8 && adopt_once(b, tag); i++)
        ;
}
