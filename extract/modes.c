/* modes.c - the modes of the head, math and svg, and the dispatch; see modes.h. */
#include "extract/modes.h"

#include <string.h>

#include "extract/math.h"

/* ---- what is consumed where it begins ---- */

static void keep_ld(struct kj_tree *t, struct kj_str s)
{
    size_t at = t->ld.n;
    if (kj_buf_add(&t->ld, s.p, s.n) == 0)
        kj_buf_addc(&t->ld, '\n');
    /* One line: raw line ends in strings are not JSON, but common. */
    for (size_t i = at; i + 1 < t->ld.n; i++)
        if ((unsigned char)t->ld.p[i] < ' ')
            t->ld.p[i] = ' ';
}

static bool has(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.p + i, z, n) == 0)
            return true;
    return false;
}

void kj_pass_raw(struct kj_builder *b, uint32_t under)
{
    struct kj_str s, attributes = b->tok.text;
    enum kj_tag tag = kj_tok_tag(b);
    bool display;
    if (!kj_lexer_raw(&b->lex, tag, &s))
        return;
    if (tag == KJ_TAG_title) {
        kj_build_leaf(b, under, tag, b->tok.attr,
                      kj_lexer_decode(&b->lex, s, KJ_IN_TEXT));
    } else if (tag == KJ_TAG_xmp) {
        kj_build_leaf(b, KJ_NO_NODE, tag, b->tok.attr,
                      kj_lexer_decode(&b->lex, s, KJ_IN_RAW));
    } else if (tag == KJ_TAG_script && attributes.n) {
        if (has(attributes, "ld+json"))
            keep_ld(b->t, s);
        else if (b->mode >= KJ_M_IN_BODY && kj_math_script(attributes, &display))
            kj_build_text(b, kj_math_tex(&b->t->arena, s, display));
    }
}

static bool is_raw(enum kj_tag t)
{
    return t == KJ_TAG_script || t == KJ_TAG_style || t == KJ_TAG_title ||
           t == KJ_TAG_textarea || t == KJ_TAG_iframe || t == KJ_TAG_noembed ||
           t == KJ_TAG_noframes || t == KJ_TAG_xmp;
}

/* A template, which no reader sees. What declares a shadow tree is shown. */
void kj_pass_template(struct kj_builder *b)
{
    struct kj_str s;
    size_t depth = 1;
    if (b->tok.shadow) {
        kj_insert(b);
        b->t->nodes[kj_top(b)->node == KJ_NO_NODE ? 0 : kj_top(b)->node].tag =
            KJ_TAG_OTHER;
        kj_format_mark(b);
        return;
    }
    while (depth > 0 && kj_build_in_time(b)) {
        kj_lexer_next(&b->lex, &b->tok);
        if (b->tok.kind == KJ_TOK_END)
            return;
        if (b->tok.tag == KJ_TAG_template)
            depth = b->tok.kind == KJ_TOK_OPEN ? depth + 1 : depth - 1;
        else if (b->tok.kind == KJ_TOK_OPEN && is_raw(kj_tok_tag(b)))
            kj_lexer_raw(&b->lex, kj_tok_tag(b), &s);
        if (depth > b->lim->depth_stop)
            kj_build_stop(b, "extract.html_depth");
    }
}

/* A select. True if the token that ended it is to be taken again. */
bool kj_pass_select(struct kj_builder *b)
{
    struct kj_str s;
    bool table = kj_in_scope(b, KJ_TAG_table, KJ_SCOPE_TABLE);
    while (kj_build_in_time(b)) {
        kj_lexer_next(&b->lex, &b->tok);
        enum kj_tag t = kj_tok_tag(b);
        bool tabular = kj_tag_is(t, KJ_P_TABLE) || t == KJ_TAG_table;
        tabular = tabular && table && t != KJ_TAG_col && t != KJ_TAG_colgroup;
        if (b->tok.kind == KJ_TOK_END || t == KJ_TAG_select)
            return false;
        if (b->tok.kind == KJ_TOK_OPEN) {
            if (t == KJ_TAG_input || t == KJ_TAG_keygen || t == KJ_TAG_textarea ||
                tabular)
                return true;
            if (t == KJ_TAG_script)
                kj_lexer_raw(&b->lex, t, &s);
            else if (t == KJ_TAG_template)
                kj_pass_template(b);
        } else if (b->tok.kind == KJ_TOK_CLOSE && tabular &&
                   kj_in_scope(b, t, KJ_SCOPE_TABLE)) {
            return true;
        }
    }
    return false;
}

void kj_build_merge(struct kj_builder *b, uint32_t node)
{
    struct kj_attrs *from = b->tok.attr;
    if (node == 0 || node == KJ_NO_NODE || !from)
        return;
    struct kj_node *x = &b->t->nodes[node];
    struct kj_attrs *to = (struct kj_attrs *)(uintptr_t)x->attr;
    if (!to) {
        x->attr = from;
        return;
    }
    struct kj_str *d = (struct kj_str *)to, *s = (struct kj_str *)from;
    for (size_t i = 0; i < offsetof(struct kj_attrs, hidden) / sizeof *d; i++)
        if (!d[i].p)
            d[i] = s[i];
    to->hidden |= from->hidden;
}

/* ---- the head ---- */

static void open_body(struct kj_builder *b, struct kj_attrs *a)
{
    kj_build_html(b, KJ_TAG_body, a);
    b->body = kj_top(b)->node;
    b->mode = KJ_M_IN_BODY;
}

static void open_head(struct kj_builder *b, struct kj_attrs *a)
{
    kj_build_html(b, KJ_TAG_head, a);
    b->head = kj_top(b)->node;
    b->mode = KJ_M_IN_HEAD;
}

/* base, link, meta, title, script, style, template, noframes. */
void kj_pass_head(struct kj_builder *b, uint32_t under)
{
    if (kj_tag_is(kj_tok_tag(b), KJ_P_VOID)) {
        if (under == KJ_NO_NODE)
            kj_insert_void(b);
        else
            kj_build_leaf(b, under, kj_tok_tag(b), b->tok.attr,
                          (struct kj_str){NULL, 0});
    } else if (kj_tok_tag(b) == KJ_TAG_template) {
        kj_pass_template(b);
    } else {
        kj_pass_raw(b, under);
    }
}

bool kj_build_blanks(struct kj_builder *b, bool keep)
{
    struct kj_str *s = &b->tok.text, blank = *s;
    size_t n = 0;
    while (n < s->n && kj_is_space(s->p[n]))
        n++;
    blank.n = n;
    if (keep)
        kj_build_text(b, blank);
    s->p += n;
    s->n -= n;
    return s->n > 0;
}

static bool before_head(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (b->tok.kind == KJ_TOK_DOCTYPE) {
        if (b->mode == KJ_M_BEFORE_HTML)
            b->quirks = b->tok.quirks;
        return false;
    }
    if (b->tok.kind == KJ_TOK_TEXT && !kj_build_blanks(b, false))
        return false;
    b->mode = KJ_M_BEFORE_HEAD;
    if (b->tok.kind == KJ_TOK_OPEN && t == KJ_TAG_html) {
        kj_build_merge(b, b->html);
        return false;
    }
    if (b->tok.kind == KJ_TOK_OPEN && t == KJ_TAG_head) {
        open_head(b, b->tok.attr);
        return false;
    }
    if (b->tok.kind == KJ_TOK_CLOSE && t != KJ_TAG_head && t != KJ_TAG_body &&
        t != KJ_TAG_html && t != KJ_TAG_br)
        return false;
    open_head(b, NULL);
    return true;
}

static bool in_head(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (b->tok.kind == KJ_TOK_TEXT) {
        if (!kj_build_blanks(b, true))
            return false;
    } else if (b->tok.kind == KJ_TOK_OPEN) {
        if (t == KJ_TAG_html)
            kj_build_merge(b, b->html);
        else if (t == KJ_TAG_noscript) {
            kj_insert(b);
            b->mode = KJ_M_IN_HEAD_NOSCRIPT;
        } else if (kj_tag_is(t, KJ_P_HEAD))
            kj_pass_head(b, KJ_NO_NODE);
        if (t == KJ_TAG_html || t == KJ_TAG_noscript || kj_tag_is(t, KJ_P_HEAD) ||
            t == KJ_TAG_head)
            return false;
    } else {
        if (t == KJ_TAG_template && b->open[KJ_TAG_template])
            kj_pop_until(b, t);
        if (t == KJ_TAG_head) {
            kj_pop(b);
            b->mode = KJ_M_AFTER_HEAD;
            return false;
        }
        if (t != KJ_TAG_body && t != KJ_TAG_html && t != KJ_TAG_br)
            return false;
    }
    kj_pop_until(b, KJ_TAG_head);
    b->mode = KJ_M_AFTER_HEAD;
    return true;
}

static bool in_head_noscript(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (b->tok.kind == KJ_TOK_TEXT) {
        if (!kj_build_blanks(b, true))
            return false;
    } else if (b->tok.kind == KJ_TOK_OPEN) {
        if (t == KJ_TAG_html)
            kj_build_merge(b, b->html);
        if (t == KJ_TAG_basefont || t == KJ_TAG_bgsound || t == KJ_TAG_link ||
            t == KJ_TAG_meta || t == KJ_TAG_noframes || t == KJ_TAG_style)
            kj_pass_head(b, KJ_NO_NODE);
        else if (t != KJ_TAG_html && t != KJ_TAG_head && t != KJ_TAG_noscript)
            goto other;
        return false;
    } else if (t == KJ_TAG_noscript) {
        kj_pop(b);
        b->mode = KJ_M_IN_HEAD;
        return false;
    } else if (t != KJ_TAG_br) {
        return false;
    }
other:
    kj_pop(b);
    b->mode = KJ_M_IN_HEAD;
    return true;
}

static bool after_head(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (b->tok.kind == KJ_TOK_TEXT) {
        if (!kj_build_blanks(b, true))
            return false;
    } else if (b->tok.kind == KJ_TOK_OPEN) {
        if (t == KJ_TAG_html)
            kj_build_merge(b, b->html);
        else if (t == KJ_TAG_body)
            open_body(b, b->tok.attr);
        else if (t == KJ_TAG_frameset)
            b->mode = KJ_M_FRAMESET;
        else if (kj_tag_is(t, KJ_P_HEAD))
            kj_pass_head(b, b->head);
        if (t == KJ_TAG_html || t == KJ_TAG_body || t == KJ_TAG_frameset ||
            kj_tag_is(t, KJ_P_HEAD) || t == KJ_TAG_head)
            return false;
    } else if (t != KJ_TAG_body && t != KJ_TAG_html && t != KJ_TAG_br) {
        return false;
    }
    open_body(b, NULL);
    return true;
}

/* ---- math and svg ---- */

static bool is_foreign(const struct kj_builder *b)
{
    const struct kj_open *e = &b->stack[b->n - 1];
    const struct kj_token *t = &b->tok;
    if (e->ns == KJ_NS_HTML || t->kind == KJ_TOK_DOCTYPE)
        return false;
    bool open = t->kind == KJ_TOK_OPEN, text = t->kind == KJ_TOK_TEXT;
    if ((e->is & KJ_P_TEXT_POINT) &&
        (text || (open && t->tag != KJ_TAG_mglyph && t->tag != KJ_TAG_malignmark)))
        return false;
    if (open && t->tag == KJ_TAG_svg && e->tag == KJ_TAG_annotation_xml)
        return false;
    return !((e->is & KJ_P_HTML_POINT) && (open || text));
}

/* What an element of math or svg is to the parser. */
static unsigned foreign_class(const struct kj_token *t, enum kj_ns ns)
{
    unsigned bounds = KJ_P_SPECIAL | KJ_P_SCOPE;
    switch (t->tag) {
    case KJ_TAG_mi:
    case KJ_TAG_mn:
    case KJ_TAG_mo:
    case KJ_TAG_ms:
    case KJ_TAG_mtext:
        return ns == KJ_NS_MATH ? bounds | KJ_P_TEXT_POINT : 0;
    case KJ_TAG_annotation_xml:
        if (ns == KJ_NS_MATH && t->attr &&
            (kj_str_is(t->attr->type, "text/html") ||
             kj_str_is(t->attr->type, "application/xhtml+xml")))
            bounds |= KJ_P_HTML_POINT;
        return ns == KJ_NS_MATH ? bounds : 0;
    case KJ_TAG_foreignobject:
    case KJ_TAG_desc:
    case KJ_TAG_title:
        return ns == KJ_NS_SVG ? bounds | KJ_P_HTML_POINT : 0;
    default:
        return 0;
    }
}

static bool by_mode(struct kj_builder *b);

static bool in_foreign(struct kj_builder *b)
{
    const struct kj_token *t = &b->tok;
    bool close = t->kind == KJ_TOK_CLOSE;
    if (t->kind == KJ_TOK_TEXT) {
        kj_build_text(b, t->text);
        return false;
    }
    if (close ? t->tag == KJ_TAG_br || t->tag == KJ_TAG_p
              : kj_tag_is((enum kj_tag)t->tag, KJ_P_BREAKOUT) ||
                    (t->tag == KJ_TAG_font && t->styled)) {
        while (kj_top(b)->ns != KJ_NS_HTML &&
               !(kj_top(b)->is & (KJ_P_TEXT_POINT | KJ_P_HTML_POINT)))
            kj_pop(b);
        return by_mode(b);
    }
    if (!close) {
        enum kj_ns ns = (enum kj_ns)kj_top(b)->ns;
        unsigned mute = kj_top(b)->is & KJ_P_MUTE;
        kj_build_element(b, ns, foreign_class(t, ns) | mute);
        if (t->self_closing)
            kj_pop(b);
        return false;
    }
    if (!b->names[t->name % KJ_NAMES]) /* nothing of that name is open */
        return by_mode(b);
    for (size_t i = b->n; i-- > 1;) {
        const struct kj_open *e = &b->stack[i];
        if (e->ns == KJ_NS_HTML)
            return by_mode(b);
        if (e->name == t->name) {
            kj_pop_to(b, i);
            return false;
        }
    }
    return false;
}

/* ---- any token ---- */

static bool by_mode(struct kj_builder *b)
{
    switch (b->mode) {
    case KJ_M_BEFORE_HTML:
    case KJ_M_BEFORE_HEAD:
        return before_head(b);
    case KJ_M_IN_HEAD:
        return in_head(b);
    case KJ_M_IN_HEAD_NOSCRIPT:
        return in_head_noscript(b);
    case KJ_M_AFTER_HEAD:
        return after_head(b);
    case KJ_M_IN_BODY:
        return kj_mode_body(b);
    case KJ_M_IN_TABLE:
        return kj_mode_table(b);
    case KJ_M_IN_CAPTION:
        return kj_mode_caption(b);
    case KJ_M_IN_COLGROUP:
        return kj_mode_colgroup(b);
    case KJ_M_IN_TBODY:
        return kj_mode_tbody(b);
    case KJ_M_IN_ROW:
        return kj_mode_row(b);
    case KJ_M_IN_CELL:
        return kj_mode_cell(b);
    case KJ_M_AFTER_BODY:
        return kj_mode_after_body(b);
    case KJ_M_FRAMESET:
        return false;
    }
    return false;
}

void kj_build_token(struct kj_builder *b)
{
    if (b->skip_newline) {
        b->skip_newline = false;
        if (b->tok.kind == KJ_TOK_TEXT && b->tok.text.n && b->tok.text.p[0] == '\n') {
            b->tok.text.p++;
            if (--b->tok.text.n == 0)
                return;
        }
    }
    if (b->tok.kind == KJ_TOK_DOCTYPE && b->mode != KJ_M_BEFORE_HTML)
        return;
    while (!b->stopped && b->tok.kind != KJ_TOK_END &&
           (is_foreign(b) ? in_foreign(b) : by_mode(b)))
        ;
    b->lex.cdata = kj_top(b)->ns != KJ_NS_HTML;
}
