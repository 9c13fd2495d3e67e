/* render.c - see render.h.
 *
 * One walk over the range of the root. Text goes into the current line with
 * white space collapsed; elements that are blocks end it. The state that a
 * line depends on (list depth, quotation, cell) is kept on a small stack of
 * open elements that matter, popped when the walk passes their end.
 */
#include "extract/render.h"

#include <string.h>

#include "base/utf8.h"
#include "extract/content.h"

#define MAX_OPEN 64

struct open {
    uint32_t end;
    uint8_t tag;
    uint32_t number; /* ol: items so far; table: rows */
    bool row;        /* tr: written as one line */
};

struct render {
    const struct kj_tree *t;
    struct kj_buf *out;
    bool md;
    struct open stack[MAX_OPEN];
    size_t depth;
    size_t line;    /* offset in out at which the current line's text starts */
    bool fresh;     /* nothing on the line yet */
    bool space;     /* white space is due before the next word */
    bool pre;       /* inside pre */
    unsigned cells; /* cells begun in the row */
    unsigned lists, quotes;
    bool item;   /* a list item has begun and has no text yet */
    int heading; /* 1..6 inside one */
    bool row;
    bool blank; /* Markdown: a blank line is due */
    bool failed;
};

static void put(struct render *r, const char *p, size_t n)
{
    if (kj_buf_add(r->out, p, n) < 0)
        r->failed = true;
}

static void end_line(struct render *r)
{
    if (r->row)
        return;
    if (!r->fresh)
        put(r, "\n", 1);
    r->fresh = true;
    r->space = false;
}

/* What stands in front of a line's first word. */
static void begin_line(struct render *r)
{
    r->fresh = false;
    r->space = false;
    if (r->md && r->blank && r->out->n > 0)
        put(r, "\n", 1);
    r->blank = false;
    if (r->md)
        for (unsigned i = 0; i < r->quotes; i++)
            put(r, "> ", 2);
    if (r->heading && r->md) {
        put(r, "######", (size_t)r->heading);
        put(r, " ", 1);
    }
    if (r->lists && !r->heading) {
        unsigned deep = r->lists - (r->item ? 1 : 0);
        for (unsigned i = 0; r->md && i < deep; i++)
            put(r, "  ", 2);
        if (r->item) {
            struct open *list = NULL;
            for (size_t k = r->depth; k-- > 0 && !list;)
                if (r->stack[k].tag == KJ_TAG_ol || r->stack[k].tag == KJ_TAG_ul)
                    list = &r->stack[k];
            if (list && list->tag == KJ_TAG_ol) {
                kj_buf_printf(r->out, "%u. ", list->number);
            } else {
                put(r, "- ", 2);
            }
        }
    }
    r->item = false;
}

/* Characters that are never text: controls, zero-width marks, soft hyphen. */
static bool is_void(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x200B ||
           c == 0x200E || c == 0x200F || c == 0x2060 || c == 0xFEFF ||
           (c >= 0x202A && c <= 0x202E);
}

static bool is_white(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0xA0 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000 ||
           c == 0x85 || c == 0x2028 || c == 0x2029;
}

static void put_char(struct render *r, const char *p, size_t n)
{
    if (r->fresh)
        begin_line(r);
    else if (r->space)
        put(r, " ", 1);
    r->space = false;
    put(r, p, n);
}

static void flow_text(struct render *r, struct kj_str s)
{
    for (size_t i = 0; i < s.n && !r->failed;) {
        /* Runs of plain ASCII go in one piece. */
        size_t a = i;
        while (i < s.n && s.p[i] > ' ' && s.p[i] < 127)
            i++;
        if (i > a) {
            put_char(r, s.p + a, i - a);
            continue;
        }
        size_t len;
        uint32_t c = kj_utf8_next(s.p + i, s.n - i, &len);
        if (is_white(c))
            r->space = !r->fresh;
        else if (!is_void(c))
            put_char(r, s.p + i, len);
        i += len;
    }
}

static void pre_text(struct render *r, struct kj_str s)
{
    for (size_t i = 0; i < s.n && !r->failed; i++) {
        if (s.p[i] == '\r')
            continue;
        if (s.p[i] == '\n')
            put(r, "\n", 1), r->fresh = true;
        else if (s.p[i] == '\t' || (unsigned char)s.p[i] >= ' ')
            put(r, s.p + i, 1), r->fresh = false;
    }
}

/* A row is one line when its cells are: no blocks in them beyond one p or div
 * each, and little text. */
static bool plain_row(const struct kj_tree *t, uint32_t i)
{
    size_t text = 0;
    unsigned cells = 0;
    for (uint32_t k = i + 1; k < t->nodes[i].end; k++) {
        const struct kj_node *x = &t->nodes[k];
        switch (x->tag) {
        case KJ_TAG_TEXT:
            text += x->text.n;
            break;
        case KJ_TAG_td:
        case KJ_TAG_th:
            cells++;
            break;
        case KJ_TAG_table:
        case KJ_TAG_ul:
        case KJ_TAG_ol:
        case KJ_TAG_pre:
        case KJ_TAG_h1:
        case KJ_TAG_h2:
        case KJ_TAG_h3:
        case KJ_TAG_blockquote:
            return false;
        default:
            break;
        }
    }
    return cells > 1 && text < 2000;
}

/* Markdown wants a line of dashes under a table's first row. */
static void rule_row(struct render *r)
{
    for (size_t k = r->depth; k-- > 0;) {
        if (r->stack[k].tag != KJ_TAG_table)
            continue;
        if (r->stack[k].number++ == 0) {
            for (unsigned i = 0; i < r->cells; i++)
                put(r, i ? " --- |" : "| --- |", i ? 6 : 7);
            put(r, "\n", 1);
        }
        return;
    }
}

static void close_top(struct render *r)
{
    struct open o = r->stack[--r->depth];
    switch (o.tag) {
    case KJ_TAG_pre:
    case KJ_TAG_listing:
    case KJ_TAG_xmp:
        r->pre = false;
        while (r->out->n > r->line && strchr(" \t\n", r->out->p[r->out->n - 1]))
            r->out->n--;
        r->fresh = r->out->n == 0 || r->out->p[r->out->n - 1] == '\n';
        end_line(r);
        if (r->md)
            put(r, "```\n", 4);
        break;
    case KJ_TAG_ul:
    case KJ_TAG_ol:
        end_line(r);
        r->lists--;
        break;
    case KJ_TAG_li:
        end_line(r);
        r->item = false;
        break;
    case KJ_TAG_blockquote:
        end_line(r);
        r->quotes--;
        break;
    case KJ_TAG_tr:
        if (o.row) {
            if (r->md && !r->fresh)
                put(r, " |", 2);
            r->row = false;
        }
        end_line(r);
        if (o.row && r->md)
            rule_row(r);
        break;
    case KJ_TAG_code:
    case KJ_TAG_kbd:
        if (r->md && !r->pre && !r->fresh)
            put(r, "`", 1);
        break;
    default:
        end_line(r);
        if (kj_tag_class(o.tag) & KJ_TC_HEADING)
            r->heading = 0;
    }
    if (r->md && (kj_tag_class(o.tag) & KJ_TC_BLOCK) && o.tag != KJ_TAG_li &&
        o.tag != KJ_TAG_tr && o.tag != KJ_TAG_td && o.tag != KJ_TAG_th &&
        o.tag != KJ_TAG_thead && o.tag != KJ_TAG_tbody && !r->row && r->lists == 0)
        r->blank = true;
}

static struct open *push(struct render *r, uint32_t i)
{
    while (r->depth == MAX_OPEN) /* deeper nesting has no more meaning */
        close_top(r);
    r->stack[r->depth] =
        (struct open){.end = r->t->nodes[i].end, .tag = r->t->nodes[i].tag};
    return &r->stack[r->depth++];
}

static void open_in_row(struct render *r, const struct kj_node *x)
{
    r->space = !r->fresh;
    if (x->tag != KJ_TAG_td && x->tag != KJ_TAG_th)
        return;
    if (r->fresh && r->md)
        put_char(r, "|", 1), r->space = true;
    else if (r->cells)
        put(r, " |", 2), r->space = true;
    r->cells++;
}

static void open_block(struct render *r, uint32_t i)
{
    const struct kj_node *x = &r->t->nodes[i];
    end_line(r);
    if (r->md && x->tag != KJ_TAG_li && x->tag != KJ_TAG_tr && r->lists == 0)
        r->blank = r->out->n > 0 && (x->tag != KJ_TAG_td && x->tag != KJ_TAG_th &&
                                     x->tag != KJ_TAG_tbody && x->tag != KJ_TAG_thead);
    struct open *o = push(r, i);
    switch (x->tag) {
    case KJ_TAG_pre:
    case KJ_TAG_listing:
    case KJ_TAG_xmp:
        if (r->md) {
            if (r->blank && r->out->n)
                put(r, "\n", 1);
            r->blank = false;
            put(r, "```\n", 4);
        }
        r->line = r->out->n;
        r->pre = true;
        break;
    case KJ_TAG_ul:
    case KJ_TAG_ol:
        r->lists++;
        break;
    case KJ_TAG_li:
        r->item = true;
        for (size_t k = r->depth; k-- > 0;)
            if (r->stack[k].tag == KJ_TAG_ol || r->stack[k].tag == KJ_TAG_ul) {
                r->stack[k].number++;
                break;
            }
        break;
    case KJ_TAG_blockquote:
        r->quotes++;
        break;
    case KJ_TAG_tr:
        o->row = r->row = plain_row(r->t, i);
        r->cells = 0;
        break;
    default:
        if (kj_tag_class(x->tag) & KJ_TC_HEADING)
            r->heading = x->tag - KJ_TAG_h1 + 1;
    }
}

static void open_element(struct render *r, uint32_t i)
{
    const struct kj_node *x = &r->t->nodes[i];
    if (x->tag == KJ_TAG_br) {
        if (r->pre)
            put(r, "\n", 1);
        else if (r->row)
            r->space = true;
        else
            end_line(r);
        return;
    }
    if (x->tag == KJ_TAG_code || x->tag == KJ_TAG_kbd) {
        if (r->md && !r->pre && x->end > i + 1) {
            put_char(r, "`", 1);
            push(r, i);
        }
        return;
    }
    if (!(kj_tag_class(x->tag) & KJ_TC_BLOCK))
        return;
    if (r->row)
        open_in_row(r, x);
    else
        open_block(r, i);
}

int kj_render(const struct kj_tree *t, uint32_t root, bool markdown, struct kj_buf *out)
{
    struct render r = {.t = t, .out = out, .md = markdown, .fresh = true};
    for (uint32_t i = root; i < t->nodes[root].end && !r.failed;) {
        const struct kj_node *x = &t->nodes[i];
        while (r.depth && r.stack[r.depth - 1].end <= i)
            close_top(&r);
        if (x->flags & KJ_NF_SKIP) {
            i = x->end;
            continue;
        }
        if (x->tag != KJ_TAG_TEXT)
            open_element(&r, i);
        else if (r.pre)
            pre_text(&r, x->text);
        else
            flow_text(&r, x->text);
        i++;
    }
    while (r.depth)
        close_top(&r);
    r.row = false;
    end_line(&r);
    while (out->n && out->p[out->n - 1] == '\n')
        out->n--;
    return r.failed ? -1 : 0;
}
