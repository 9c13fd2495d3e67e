/* tags.h - HTML element names as small numbers. Internal to extract/. */
#ifndef KJ_EXTRACT_TAGS_H
#define KJ_EXTRACT_TAGS_H

#include <stddef.h>
#include <stdint.h>

/* The learned features know elements by number: new ones go behind the last.
 * An underscore stands for a hyphen. */
/* clang-format off */
#define KJ_TAGS(X)                                                                     \
    X(a) X(abbr) X(acronym) X(address) X(annotation) X(applet) X(area) X(article)      \
    X(aside) X(audio) X(b) X(base) X(bdi) X(bdo) X(big) X(blockquote) X(body) X(br)    \
    X(button) X(canvas) X(caption) X(center) X(cite) X(code) X(col) X(colgroup)        \
    X(data) X(datalist) X(dd) X(del) X(details) X(dfn) X(dialog) X(dir) X(div) X(dl)   \
    X(dt) X(em) X(embed) X(fieldset) X(figcaption) X(figure) X(font) X(footer)         \
    X(form) X(frame) X(frameset) X(h1) X(h2) X(h3) X(h4) X(h5) X(h6) X(head)           \
    X(header) X(hgroup) X(hr) X(html) X(i) X(iframe) X(img) X(input) X(ins) X(kbd)     \
    X(label) X(legend) X(li) X(link) X(listing) X(main) X(map) X(mark) X(math)         \
    X(menu) X(menuitem) X(meta) X(meter) X(nav) X(nobr) X(noembed) X(noframes)         \
    X(noscript) X(object) X(ol) X(optgroup) X(option) X(output) X(p) X(param)          \
    X(picture) X(plaintext) X(pre) X(progress) X(q) X(rb) X(rp) X(rt) X(rtc) X(ruby)   \
    X(s) X(samp) X(script) X(search) X(section) X(select) X(slot) X(small) X(source)   \
    X(span) X(strike) X(strong) X(style) X(sub) X(summary) X(sup) X(svg) X(table)      \
    X(tbody) X(td) X(template) X(textarea) X(tfoot) X(th) X(thead) X(time) X(title)    \
    X(tr) X(track) X(tt) X(u) X(ul) X(var) X(video) X(wbr) X(xmp)                      \
    X(basefont) X(bgsound) X(desc) X(foreignobject) X(image) X(keygen)                 \
    X(malignmark) X(marquee) X(mglyph) X(mi) X(mn) X(mo) X(ms) X(mtext)                \
    X(annotation_xml)
/* clang-format on */

enum kj_tag {
    KJ_TAG_TEXT = 0, /* a run of text, no element */
    KJ_TAG_OTHER,    /* an element that is not in the list */
#define KJ_TAG_ENUM(name) KJ_TAG_##name,
    KJ_TAGS(KJ_TAG_ENUM)
#undef KJ_TAG_ENUM
        KJ_N_TAGS
};

/* What an element means for the flow of text. */
enum kj_tag_class {
    KJ_TC_BLOCK = 1 << 0,   /* starts and ends a line */
    KJ_TC_DROP = 1 << 1,    /* its content is never text of the page */
    KJ_TC_HEADING = 1 << 2, /* h1..h6 */
    KJ_TC_VOID = 1 << 3     /* has no content */
};

unsigned kj_tag_class(enum kj_tag t);
const char *kj_tag_name(enum kj_tag t);

#endif
