/* tags.c - see tags.h. */
#include "extract/tags.h"

static const char *const names[] = {"", "",
#define NAME(name) #name,
                                    KJ_TAGS(NAME)
#undef NAME
};

const char *kj_tag_name(enum kj_tag t)
{
    return names[t];
}

#define B KJ_TC_BLOCK
#define D KJ_TC_DROP
#define V KJ_TC_VOID
static const unsigned char classes[KJ_N_TAGS] = {
    [KJ_TAG_address] = B,
    [KJ_TAG_article] = B,
    [KJ_TAG_aside] = B,
    [KJ_TAG_blockquote] = B,
    [KJ_TAG_body] = B,
    [KJ_TAG_caption] = B,
    [KJ_TAG_center] = B,
    [KJ_TAG_dd] = B,
    [KJ_TAG_details] = B,
    [KJ_TAG_dialog] = B,
    [KJ_TAG_dir] = B,
    [KJ_TAG_div] = B,
    [KJ_TAG_dl] = B,
    [KJ_TAG_dt] = B,
    [KJ_TAG_fieldset] = B,
    [KJ_TAG_figcaption] = B,
    [KJ_TAG_figure] = B,
    [KJ_TAG_footer] = B,
    [KJ_TAG_form] = B,
    [KJ_TAG_h1] = B | KJ_TC_HEADING,
    [KJ_TAG_h2] = B | KJ_TC_HEADING,
    [KJ_TAG_h3] = B | KJ_TC_HEADING,
    [KJ_TAG_h4] = B | KJ_TC_HEADING,
    [KJ_TAG_h5] = B | KJ_TC_HEADING,
    [KJ_TAG_h6] = B | KJ_TC_HEADING,
    [KJ_TAG_header] = B,
    [KJ_TAG_hgroup] = B,
    [KJ_TAG_hr] = B | V,
    [KJ_TAG_html] = B,
    [KJ_TAG_legend] = B,
    [KJ_TAG_li] = B,
    [KJ_TAG_listing] = B,
    [KJ_TAG_main] = B,
    [KJ_TAG_menu] = B,
    [KJ_TAG_nav] = B,
    [KJ_TAG_ol] = B,
    [KJ_TAG_p] = B,
    [KJ_TAG_plaintext] = B,
    [KJ_TAG_pre] = B,
    [KJ_TAG_search] = B,
    [KJ_TAG_section] = B,
    [KJ_TAG_summary] = B,
    [KJ_TAG_table] = B,
    [KJ_TAG_tbody] = B,
    [KJ_TAG_td] = B,
    [KJ_TAG_tfoot] = B,
    [KJ_TAG_th] = B,
    [KJ_TAG_thead] = B,
    [KJ_TAG_tr] = B,
    [KJ_TAG_ul] = B,
    [KJ_TAG_xmp] = B,
    [KJ_TAG_br] = V,
    [KJ_TAG_img] = V,
    [KJ_TAG_applet] = D,
    [KJ_TAG_audio] = D,
    [KJ_TAG_button] = D,
    [KJ_TAG_canvas] = D,
    [KJ_TAG_datalist] = D,
    [KJ_TAG_embed] = D,
    [KJ_TAG_frame] = D,
    [KJ_TAG_frameset] = D,
    [KJ_TAG_head] = D,
    [KJ_TAG_iframe] = D,
    [KJ_TAG_input] = D,
    [KJ_TAG_map] = D,
    [KJ_TAG_meter] = D,
    [KJ_TAG_noembed] = D,
    [KJ_TAG_noframes] = D,
    [KJ_TAG_object] = D,
    [KJ_TAG_optgroup] = D,
    [KJ_TAG_option] = D,
    [KJ_TAG_output] = D,
    [KJ_TAG_progress] = D,
    [KJ_TAG_rp] = D,
    [KJ_TAG_rt] = D,
    [KJ_TAG_script] = D,
    [KJ_TAG_select] = D,
    [KJ_TAG_style] = D,
    [KJ_TAG_svg] = D,
    [KJ_TAG_template] = D,
    [KJ_TAG_textarea] = D,
    [KJ_TAG_title] = D,
    [KJ_TAG_video] = D,
};

unsigned kj_tag_class(enum kj_tag t)
{
    return classes[t];
}
