/* modes_table.c - the modes in tables (13.2.6.4.9 to 15); see modes.h. */
#include "extract/modes.h"

/* ---- tables ---- */

static void reset_mode(struct kj_builder *b)
{
    static const struct {
        uint8_t tag, mode;
    } rows[] = {
        {KJ_TAG_td, KJ_M_IN_CELL},         {KJ_TAG_th, KJ_M_IN_CELL},
        {KJ_TAG_tr, KJ_M_IN_ROW},          {KJ_TAG_tbody, KJ_M_IN_TBODY},
        {KJ_TAG_thead, KJ_M_IN_TBODY},     {KJ_TAG_tfoot, KJ_M_IN_TBODY},
        {KJ_TAG_caption, KJ_M_IN_CAPTION}, {KJ_TAG_colgroup, KJ_M_IN_COLGROUP},
        {KJ_TAG_table, KJ_M_IN_TABLE},     {KJ_TAG_template, KJ_M_IN_BODY},
    };
    uint32_t top = 0;
    b->mode = KJ_M_IN_BODY;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (b->open[rows[i].tag] > top) {
            top = b->open[rows[i].tag];
            b->mode = (enum kj_mode)rows[i].mode;
        }
}

/* Pop to one of these, which stays. */
static void clear_to(struct kj_builder *b, enum kj_tag x, enum kj_tag y, enum kj_tag z)
{
    while (b->n > 1 && !kj_top_is(b, x) && !kj_top_is(b, y) && !kj_top_is(b, z) &&
           !kj_top_is(b, KJ_TAG_template))
        kj_pop(b);
}

static void end_table(struct kj_builder *b)
{
    if (!kj_in_scope(b, KJ_TAG_table, KJ_SCOPE_TABLE))
        return;
    kj_pop_until(b, KJ_TAG_table);
    reset_mode(b);
}

/* "Anything else": as in the body, but in front of the table. */
static bool foster(struct kj_builder *b)
{
    b->foster = true;
    bool again = kj_mode_body(b);
    b->foster = false;
    return again;
}

static bool text_in_table(struct kj_builder *b)
{
    for (size_t i = 0; i < b->tok.text.n; i++)
        if (!kj_is_space(b->tok.text.p[i]))
            return foster(b);
    if (!kj_top_is(b, KJ_TAG_table) &&
        !kj_tag_is((enum kj_tag)kj_top(b)->tag, KJ_P_TABLE))
        return foster(b);
    kj_build_text(b, b->tok.text);
    return false;
}

/* caption, col, colgroup, tbody, tfoot, thead, tr, td, th. */
static bool open_part(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    clear_to(b, KJ_TAG_table, KJ_TAG_table, KJ_TAG_table);
    if (t == KJ_TAG_caption) {
        kj_format_mark(b);
        kj_insert(b);
        b->mode = KJ_M_IN_CAPTION;
        return false;
    }
    b->mode =
        t == KJ_TAG_colgroup || t == KJ_TAG_col ? KJ_M_IN_COLGROUP : KJ_M_IN_TBODY;
    if (t == KJ_TAG_colgroup || kj_is_rows(t)) {
        kj_insert(b);
        return false;
    }
    kj_build_html(b, t == KJ_TAG_col ? KJ_TAG_colgroup : KJ_TAG_tbody, NULL);
    return true;
}

static bool open_in_table(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (kj_tag_is(t, KJ_P_TABLE))
        return open_part(b);
    switch (t) {
    case KJ_TAG_table:
        if (!kj_in_scope(b, t, KJ_SCOPE_TABLE))
            return false;
        end_table(b);
        return true;
    case KJ_TAG_style:
    case KJ_TAG_script:
    case KJ_TAG_template:
        kj_pass_head(b, KJ_NO_NODE);
        return false;
    case KJ_TAG_input: {
        static const struct kj_str hidden = {"hidden", 6};
        if (!b->tok.attr || !kj_str_eq(b->tok.attr->type, hidden))
            return foster(b);
        kj_insert_void(b);
        return false;
    }
    case KJ_TAG_form:
        if (b->form)
            return false;
        kj_insert(b);
        b->form = kj_top(b)->id;
        kj_pop(b);
        return false;
    default:
        return foster(b);
    }
}

bool kj_mode_table(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    switch (b->tok.kind) {
    case KJ_TOK_TEXT:
        return text_in_table(b);
    case KJ_TOK_OPEN:
        return open_in_table(b);
    case KJ_TOK_CLOSE:
        if (t == KJ_TAG_table)
            end_table(b);
        else if (!kj_tag_is(t, KJ_P_TABLE) && t != KJ_TAG_body && t != KJ_TAG_html)
            return foster(b);
        return false;
    default:
        return false;
    }
}

bool kj_mode_caption(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    bool open = b->tok.kind == KJ_TOK_OPEN, close = b->tok.kind == KJ_TOK_CLOSE;
    bool own = close && t == KJ_TAG_caption;
    if (own || (open && kj_tag_is(t, KJ_P_TABLE)) || (close && t == KJ_TAG_table)) {
        if (!kj_in_scope(b, KJ_TAG_caption, KJ_SCOPE_TABLE))
            return false;
        kj_pop_until(b, KJ_TAG_caption);
        kj_format_clear(b);
        b->mode = KJ_M_IN_TABLE;
        return !own;
    }
    if (close && (kj_tag_is(t, KJ_P_TABLE) || t == KJ_TAG_body || t == KJ_TAG_html))
        return false;
    return kj_mode_body(b);
}

bool kj_mode_colgroup(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    if (b->tok.kind == KJ_TOK_TEXT) {
        if (!kj_build_blanks(b, true))
            return false;
    } else if (b->tok.kind == KJ_TOK_OPEN && t == KJ_TAG_col) {
        kj_insert_void(b);
        return false;
    } else if (t == KJ_TAG_template && b->tok.kind == KJ_TOK_OPEN) {
        kj_pass_template(b);
        return false;
    } else if (b->tok.kind == KJ_TOK_CLOSE && t == KJ_TAG_col) {
        return false;
    }
    if (!kj_top_is(b, KJ_TAG_colgroup))
        return false;
    kj_pop(b);
    b->mode = KJ_M_IN_TABLE;
    return !(b->tok.kind == KJ_TOK_CLOSE && t == KJ_TAG_colgroup);
}

bool kj_mode_tbody(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    bool open = b->tok.kind == KJ_TOK_OPEN, close = b->tok.kind == KJ_TOK_CLOSE;
    if (open && (t == KJ_TAG_tr || kj_is_cell(t))) {
        clear_to(b, KJ_TAG_tbody, KJ_TAG_tfoot, KJ_TAG_thead);
        b->mode = KJ_M_IN_ROW;
        if (t == KJ_TAG_tr)
            kj_insert(b);
        else
            kj_build_html(b, KJ_TAG_tr, NULL);
        return t != KJ_TAG_tr;
    }
    if (close && kj_is_rows(t)) {
        if (!kj_in_scope(b, t, KJ_SCOPE_TABLE))
            return false;
        clear_to(b, KJ_TAG_tbody, KJ_TAG_tfoot, KJ_TAG_thead);
        kj_pop(b);
        b->mode = KJ_M_IN_TABLE;
        return false;
    }
    if ((open && kj_tag_is(t, KJ_P_TABLE)) || (close && t == KJ_TAG_table)) {
        if (!kj_in_scope(b, KJ_TAG_tbody, KJ_SCOPE_TABLE) &&
            !kj_in_scope(b, KJ_TAG_thead, KJ_SCOPE_TABLE) &&
            !kj_in_scope(b, KJ_TAG_tfoot, KJ_SCOPE_TABLE))
            return false;
        clear_to(b, KJ_TAG_tbody, KJ_TAG_tfoot, KJ_TAG_thead);
        kj_pop(b);
        b->mode = KJ_M_IN_TABLE;
        return true;
    }
    return kj_mode_table(b);
}

bool kj_mode_row(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    bool open = b->tok.kind == KJ_TOK_OPEN, close = b->tok.kind == KJ_TOK_CLOSE;
    const enum kj_tag tr = KJ_TAG_tr;
    if (open && kj_is_cell(t)) {
        clear_to(b, tr, tr, tr);
        kj_insert(b);
        b->mode = KJ_M_IN_CELL;
        kj_format_mark(b);
        return false;
    }
    bool own = close && t == tr, rows = close && kj_is_rows(t);
    if (own || rows || (open && kj_tag_is(t, KJ_P_TABLE)) ||
        (close && t == KJ_TAG_table)) {
        if ((rows && !kj_in_scope(b, t, KJ_SCOPE_TABLE)) ||
            !kj_in_scope(b, tr, KJ_SCOPE_TABLE))
            return false;
        clear_to(b, tr, tr, tr);
        kj_pop(b);
        b->mode = KJ_M_IN_TBODY;
        return !own;
    }
    return kj_mode_table(b);
}

static void close_cell(struct kj_builder *b)
{
    for (bool last = false; !last && b->n > 1; kj_pop(b))
        last = kj_top(b)->ns == KJ_NS_HTML && kj_is_cell((enum kj_tag)kj_top(b)->tag);
    kj_format_clear(b);
    b->mode = KJ_M_IN_ROW;
}

bool kj_mode_cell(struct kj_builder *b)
{
    enum kj_tag t = kj_tok_tag(b);
    bool open = b->tok.kind == KJ_TOK_OPEN, close = b->tok.kind == KJ_TOK_CLOSE;
    if (close && kj_is_cell(t)) {
        if (kj_in_scope(b, t, KJ_SCOPE_TABLE)) {
            kj_pop_until(b, t);
            kj_format_clear(b);
            b->mode = KJ_M_IN_ROW;
        }
        return false;
    }
    if (open && kj_tag_is(t, KJ_P_TABLE)) {
        if (!kj_in_scope(b, KJ_TAG_td, KJ_SCOPE_TABLE) &&
            !kj_in_scope(b, KJ_TAG_th, KJ_SCOPE_TABLE))
            return false;
        close_cell(b);
        return true;
    }
    if (close && (t == KJ_TAG_table || kj_is_rows(t) || t == KJ_TAG_tr)) {
        if (!kj_in_scope(b, t, KJ_SCOPE_TABLE))
            return false;
        close_cell(b);
        return true;
    }
    if (close && (kj_tag_is(t, KJ_P_TABLE) || t == KJ_TAG_body || t == KJ_TAG_html))
        return false;
    return kj_mode_body(b);
}
