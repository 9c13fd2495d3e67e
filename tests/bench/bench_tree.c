/* bench_tree - the trees of pages as lines, for html5_oracle.js.
 *
 * usage: bench_tree < NAMES-OF-FILES
 *
 * "=== NAME" before each page; then a line a node: its depth, and its element's
 * name or its text in quotes, line ends written \n. */
#include "base/err.h"
#include "base/input.h"
#include "extract/tree.h"

#include <stdio.h>
#include <string.h>

static void print_text(struct kj_str s)
{
    putchar('"');
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n')
            fputs("\\n", stdout);
        else
            putchar(s.p[i]);
    puts("\"");
}

static void print_tree(const struct kj_tree *t)
{
    for (size_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT && t->nodes[x->parent].tag == KJ_TAG_img)
            continue; /* the alternative text of a formula */
        printf("%u ", x->depth);
        if (x->tag == KJ_TAG_TEXT)
            print_text(x->text);
        else
            puts(x->tag == KJ_TAG_OTHER ? "?" : kj_tag_name((enum kj_tag)x->tag));
    }
}

int main(void)
{
    struct kj_html_limits lim = KJ_HTML_LIMITS;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tree tree;
    struct kj_buf page;
    char name[4096];
    lim.depth = lim.depth_stop; /* nothing dissolved */
    kj_tree_init(&tree);
    kj_buf_init(&page, lim.bytes);
    while (fgets(name, sizeof name, stdin)) {
        name[strcspn(name, "\n")] = 0;
        kj_buf_reset(&page);
        if (kj_input_slurp(name, &page, &err) < 0)
            continue;
        size_t bom = page.n > 2 && memcmp(page.p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
        printf("=== %s\n", name);
        if (kj_tree_parse(&tree, page.p + bom, page.n - bom, &lim, &err) == KJ_OK)
            print_tree(&tree);
    }
    kj_tree_release(&tree);
    kj_buf_release(&page);
    return 0;
}
