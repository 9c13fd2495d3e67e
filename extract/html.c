/* html.c - see html.h. */
#include "extract/html.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "extract/blocks.h"
#include "extract/content.h"
#include "extract/judge.h"
#include "extract/math.h"
#include "extract/meta.h"
#include "extract/render.h"
#include "extract/tree.h"

struct kj_html {
    struct kj_tree tree;
    struct kj_content content;
    struct kj_blocks blocks;
    struct kj_judge judge;
    struct kj_html_limits limits;
    struct kj_json *json;
};

struct kj_html *kj_html_new(void)
{
    struct kj_html *h = kj_xcalloc(1, sizeof *h);
    kj_tree_init(&h->tree);
    h->limits = (struct kj_html_limits)KJ_HTML_LIMITS;
    h->json = kj_json_new();
    return h;
}

void kj_html_free(struct kj_html *h)
{
    if (!h)
        return;
    kj_tree_release(&h->tree);
    kj_content_release(&h->content);
    kj_blocks_release(&h->blocks);
    kj_judge_release(&h->judge);
    kj_json_free(h->json);
    free(h);
}

/* The rules, then the judge, who knows what the rules said. Pages of too few
 * blocks for him are theirs. He may find that nothing is text: most such pages
 * are errors and requests to prove that one is no robot. */
static void find_text(struct kj_html *h, struct kj_html_page *page)
{
    struct kj_content *c = &h->content;
    kj_content_begin(c, &h->tree);
    kj_blocks_begin(&h->blocks, c, &h->tree);
    kj_content_find(c, &h->tree);
    page->confidence = 0.5;
    if (kj_blocks_find(&h->blocks, c, &h->tree)) {
        kj_judge_blocks(&h->judge, &h->blocks, c, &h->tree);
        kj_judge_apply(&h->judge, &h->blocks, c, &h->tree);
        page->confidence = h->judge.sure;
    }
    page->share = c->share;
}

int kj_html_extract(struct kj_html *h, const char *p, size_t n, bool markdown,
                    bool whole, struct kj_buf *out, struct kj_html_page *page,
                    struct kj_err *err)
{
    memset(page, 0, sizeof *page);
    int rc = kj_tree_parse(&h->tree, p, n, &h->limits, err);
    if (rc < 0) {
        page->rule = h->tree.rule;
        return rc;
    }
    kj_meta_read(&h->tree, h->json, page);
    kj_math_resolve(&h->tree);
    if (whole) {
        for (size_t i = 1; i < h->tree.n; i++) {
            struct kj_node *x = &h->tree.nodes[i];
            if ((kj_tag_class(x->tag) & KJ_TC_DROP) || x->tag == KJ_TAG_noscript)
                x->flags |= KJ_NF_SKIP;
        }
        h->content.root = 0;
        page->share = 1;
    } else {
        find_text(h, page);
    }
    if (kj_render(&h->tree, h->content.root, markdown, out) < 0) {
        page->rule = "extract.text_bytes";
        return kj_err_set(err, KJ_BAD_RECORD, "text too large");
    }
    return KJ_OK;
}
