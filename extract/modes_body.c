/* modes_body.c - what tags mean in the body (13.2.6.4.7); see modes.h.
 *
 * Two tables name the function for each element whose start or end tag has rules
 * of its own; the many that only end a paragraph, or are void, or are formatting
 * elements, are told by their class.
 */
#include "extract/modes.h"

/* ---- start tags ---- */

static bool pass(struct kj_builder *b)
{
    (void)b;
    return false;
}

static bool open_html(struct kj_builder *b)
{
    kj_build_merge(b, b->html);
    return false;
}

static bool open_body(struct kj_builder *b)
{
    kj_build_merge(b, b->body);
    return false;
}

static bool open_block(struct kj_builder *b)
{
    kj_close_p(b);
    kj_insert(b);
    return false;
}

static bool open_heading(struct kj_builder *b)
{
    kj_close_p(b);
    if (kj_top(b)->ns == KJ_NS_HTML && kj_is_heading((enum kj_tag)kj_top(b)->tag))
        kj_pop(b);
    kj_insert(b);
    return false;
}

static bool open_pre(struct kj_builder *b)
{
    open_block(b);
    b->skip_newline = true;
    return false;
}

static bool open_form(struct kj_builder *b)
{
    if (!b->form) {
        open_block(b);
        b->form = kj_top(b)->id;
    }
    return false;
}

static void open_item(struct kj_builder *b, enum kj_tag x, enum kj_tag y)
{
    for (size_t i = b->n; b->open[x] + b->open[y] && i-- > 1;) {
        const struct kj_open *e = &b->stack[i];
        if (kj_is(e, x) || kj_is(e, y)) {
            kj_pop_to(b, i);
            break;
        }
        if ((e->is & KJ_P_SPECIAL) && !kj_is(e, KJ_TAG_address) &&
            !kj_is(e, KJ_TAG_div) && !kj_is(e, KJ_TAG_p))
            break;
    }
    open_block(b);
}

static bool open_li(struct kj_builder *b)
{
    open_item(b, KJ_TAG_li, KJ_TAG_li);
    return false;
}

static bool open_dd(struct kj_builder *b)
{
    open_item(b, KJ_TAG_dd, KJ_TAG_dt);
    return false;
}

static bool open_plaintext(struct kj_builder *b)
{
    open_block(b);
    struct kj_str rest = {b->lex.p, (size_t)(b->lex.end - b->lex.p)};
    kj_build_text(b, kj_lexer_decode(&b->lex, rest, KJ_IN_RAW));
    b->lex.p = b->lex.end;
    return false;
}

static bool open_button(struct kj_builder *b)
{
    if (kj_in_scope(b, KJ_TAG_button, KJ_SCOPE))
        kj_pop_until(b, KJ_TAG_button);
    kj_format_again(b);
    kj_build_element(b, KJ_NS_HTML, 0);
    return false;
}

static bool open_format(struct kj_builder *b)
{
    kj_format_again(b);
    kj_insert(b);
    kj_format_push(b);
    return false;
}

static bool open_a(struct kj_builder *b)
{
    size_t at;
    if (kj_format_find(b, KJ_TAG_a, &at)) {
        uint32_t id = b->formats[at].id;
        kj_adopt(b, KJ_TAG_a);
        for (size_t i = b->n_formats; i-- > 0;)
            if (b->formats[i].id == id)
                kj_format_remove(b, i);
        for (size_t i = b->n; i-- > 1;)
            if (b->stack[i].id == id)
                kj_remove(b, i);
    }
    return open_format(b);
}

static bool open_nobr(struct kj_builder *b)
{
    kj_format_again(b);
    if (kj_in_scope(b, KJ_TAG_nobr, KJ_SCOPE))
        kj_adopt(b, KJ_TAG_nobr);
    return open_format(b);
}

static bool open_object(struct kj_builder *b)
{
    kj_format_again(b);
    kj_insert(b);
    kj_format_mark(b);
    return false;
}

static bool open_table(struct kj_builder *b)
{
    if (!b->quirks)
        kj_close_p(b);
    kj_insert(b);
    b->mode = KJ_M_IN_TABLE;
    return false;
}

static bool open_void(struct kj_builder *b)
{
    kj_format_again(b);
    kj_insert_void(b);
    return false;
}

static bool open_hr(struct kj_builder *b)
{
    kj_close_p(b);
    kj_insert_void(b);
    return false;
}

static bool open_param(struct kj_builder *b)
{
    kj_insert_void(b);
    return false;
}

static bool open_image(struct kj_builder *b)
{
    b->tok.tag = KJ_TAG_img;
    return true;
}

static bool open_raw(struct kj_builder *b)
{
    if (kj_tok_tag(b) == KJ_TAG_xmp) {
        kj_close_p(b);
        kj_format_again(b);
    }
    kj_pass_raw(b, KJ_NO_NODE);
    return false;
}

static bool open_select(struct kj_builder *b)
{
    kj_format_again(b);
    return kj_pass_select(b);
}

static bool open_option(struct kj_builder *b)
{
    if (kj_top_is(b, KJ_TAG_option))
        kj_pop(b);
    kj_format_again(b);
    kj_insert(b);
    return false;
}

static bool open_ruby(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (kj_in_scope(b, KJ_TAG_ruby, KJ_SCOPE))
        kj_implied(b, t == KJ_TAG_rp || t == KJ_TAG_rt ? KJ_TAG_rtc : KJ_TAG_TEXT);
    kj_insert(b);
    return false;
}

static bool open_foreign(struct kj_builder *b)
{
    kj_format_again(b);
    if (kj_tok_tag(b) == KJ_TAG_svg)
        kj_build_element(b, KJ_NS_SVG, KJ_P_MUTE);
    else
        kj_build_element(b, KJ_NS_MATH, 0);
    if (b->tok.self_closing)
        kj_pop(b);
    return false;
}

typedef bool rule(struct kj_builder *b);

static rule *const opens[KJ_N_TAGS] = {
    [KJ_TAG_html] = open_html,     [KJ_TAG_body] = open_body,
    [KJ_TAG_head] = pass,          [KJ_TAG_frame] = pass,
    [KJ_TAG_frameset] = pass,      [KJ_TAG_p] = open_block,
    [KJ_TAG_h1] = open_heading,    [KJ_TAG_h2] = open_heading,
    [KJ_TAG_h3] = open_heading,    [KJ_TAG_h4] = open_heading,
    [KJ_TAG_h5] = open_heading,    [KJ_TAG_h6] = open_heading,
    [KJ_TAG_pre] = open_pre,       [KJ_TAG_listing] = open_pre,
    [KJ_TAG_form] = open_form,     [KJ_TAG_li] = open_li,
    [KJ_TAG_dd] = open_dd,         [KJ_TAG_dt] = open_dd,
    [KJ_TAG_a] = open_a,           [KJ_TAG_plaintext] = open_plaintext,
    [KJ_TAG_nobr] = open_nobr,     [KJ_TAG_button] = open_button,
    [KJ_TAG_applet] = open_object, [KJ_TAG_marquee] = open_object,
    [KJ_TAG_object] = open_object, [KJ_TAG_table] = open_table,
    [KJ_TAG_hr] = open_hr,         [KJ_TAG_param] = open_param,
    [KJ_TAG_source] = open_param,  [KJ_TAG_track] = open_param,
    [KJ_TAG_image] = open_image,   [KJ_TAG_xmp] = open_raw,
    [KJ_TAG_textarea] = open_raw,  [KJ_TAG_iframe] = open_raw,
    [KJ_TAG_noembed] = open_raw,   [KJ_TAG_select] = open_select,
    [KJ_TAG_option] = open_option, [KJ_TAG_optgroup] = open_option,
    [KJ_TAG_rb] = open_ruby,       [KJ_TAG_rtc] = open_ruby,
    [KJ_TAG_rp] = open_ruby,       [KJ_TAG_rt] = open_ruby,
    [KJ_TAG_math] = open_foreign,  [KJ_TAG_svg] = open_foreign,
};

static bool open_in_body(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    unsigned is = kj_parse_class(t);
    if (opens[t])
        return opens[t](b);
    if (is & KJ_P_TABLE)
        return false;
    if (is & KJ_P_CLOSES_P)
        return open_block(b);
    if (is & KJ_P_FORMAT)
        return open_format(b);
    if (is & KJ_P_HEAD)
        kj_pass_head(b, KJ_NO_NODE);
    else if (is & KJ_P_VOID)
        open_void(b);
    else {
        kj_format_again(b);
        kj_insert(b);
    }
    return false;
}

/* ---- end tags ---- */

static void close_in(struct kj_builder *b, enum kj_scope scope)
{
    if (kj_in_scope(b, kj_tok_tag(b), scope))
        kj_pop_until(b, kj_tok_tag(b));
}

static bool close_block(struct kj_builder *b)
{
    close_in(b, KJ_SCOPE);
    return false;
}

static bool close_li(struct kj_builder *b)
{
    close_in(b, KJ_SCOPE_LIST);
    return false;
}

static bool close_p(struct kj_builder *b)
{
    if (kj_in_scope(b, KJ_TAG_p, KJ_SCOPE_BUTTON))
        kj_pop_until(b, KJ_TAG_p);
    else
        kj_build_void(b, KJ_TAG_p, NULL);
    return false;
}

static bool close_body(struct kj_builder *b)
{
    if (kj_in_scope(b, KJ_TAG_body, KJ_SCOPE))
        b->mode = KJ_M_AFTER_BODY;
    return false;
}

static bool close_form(struct kj_builder *b)
{
    uint32_t id = b->form;
    b->form = 0;
    if (!id || !kj_in_scope(b, KJ_TAG_form, KJ_SCOPE))
        return false;
    kj_implied(b, KJ_TAG_TEXT);
    for (size_t i = b->n; i-- > 1;)
        if (b->stack[i].id == id) {
            kj_remove(b, i);
            break;
        }
    return false;
}

/* The end of any heading ends the one that is open. */
static bool close_heading(struct kj_builder *b)
{
    bool in = false;
    for (int t = KJ_TAG_h1; t <= KJ_TAG_h6; t++)
        in |= kj_in_scope(b, (enum kj_tag)t, KJ_SCOPE);
    for (bool last = !in; !last && b->n > 1; kj_pop(b))
        last =
            kj_top(b)->ns == KJ_NS_HTML && kj_is_heading((enum kj_tag)kj_top(b)->tag);
    return false;
}

static bool close_object(struct kj_builder *b)
{
    if (kj_in_scope(b, kj_tok_tag(b), KJ_SCOPE)) {
        kj_pop_until(b, kj_tok_tag(b));
        kj_format_clear(b);
    }
    return false;
}

static bool close_template(struct kj_builder *b)
{
    if (b->open[KJ_TAG_template]) {
        kj_pop_until(b, KJ_TAG_template);
        kj_format_clear(b);
    }
    return false;
}

static bool close_br(struct kj_builder *b)
{
    kj_format_again(b);
    kj_build_void(b, KJ_TAG_br, NULL);
    return false;
}

static rule *const closes[KJ_N_TAGS] = {
    [KJ_TAG_body] = close_body,
    [KJ_TAG_html] = close_body,
    [KJ_TAG_p] = close_p,
    [KJ_TAG_li] = close_li,
    [KJ_TAG_dd] = close_block,
    [KJ_TAG_dt] = close_block,
    [KJ_TAG_h1] = close_heading,
    [KJ_TAG_h2] = close_heading,
    [KJ_TAG_h3] = close_heading,
    [KJ_TAG_h4] = close_heading,
    [KJ_TAG_h5] = close_heading,
    [KJ_TAG_h6] = close_heading,
    [KJ_TAG_form] = close_form,
    [KJ_TAG_applet] = close_object,
    [KJ_TAG_marquee] = close_object,
    [KJ_TAG_object] = close_object,
    [KJ_TAG_br] = close_br,
    [KJ_TAG_template] = close_template,
};

static bool close_in_body(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    unsigned is = kj_parse_class(t);
    if (closes[t])
        return closes[t](b);
    if (is & KJ_P_BLOCK_END)
        return close_block(b);
    if (is & KJ_P_FORMAT)
        kj_adopt(b, t);
    else
        kj_any_end(b);
    return false;
}

/* ---- the modes ---- */

bool kj_mode_body(struct kj_builder *b)
{
    switch (b->tok.kind) {
    case KJ_TOK_TEXT:
        kj_format_again(b);
        kj_build_text(b, b->tok.text);
        return false;
    case KJ_TOK_OPEN:
        return open_in_body(b);
    case KJ_TOK_CLOSE:
        return close_in_body(b);
    default:
        return false;
    }
}

bool kj_mode_after_body(struct kj_builder *b)
{
    if (b->tok.kind == KJ_TOK_TEXT) {
        size_t n = b->tok.text.n;
        while (n > 0 && kj_is_space(b->tok.text.p[n - 1]))
            n--;
        if (n == 0)
            return kj_mode_body(b);
    } else if (b->tok.kind == KJ_TOK_CLOSE && kj_tok_tag(b) == KJ_TAG_html) {
        return false;
    }
    b->mode = KJ_M_IN_BODY;
    return true;
}
