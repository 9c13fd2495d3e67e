/* bench_blocks - the blocks of the pages of an archive, for scripts/train_blocks.
 *
 * usage: bench_blocks FILE.warc.gz TEXTS NUMBERS GROUPS
 *        bench_blocks --groups
 *
 * TEXTS: per page a line "P<TAB>record id<TAB>blocks", then a line of text per
 * block. NUMBERS: KJ_BLOCK_FEATURES + KJ_PAGE_FEATURES 32-bit floats per block.
 * GROUPS: per block first and last + 1 of the blocks in each box around it, and the
 * kind of its own, its weight, as 32-bit numbers. --groups: how many of the
 * numbers are about what. */
#include "base/err.h"
#include "base/input.h"
#include "extract/blocks.h"
#include "extract/charset.h"
#include "extract/http.h"
#include "extract/warc.h"

#include <stdio.h>
#include <string.h>

struct dump {
    struct kj_charset *charset;
    struct kj_tree tree;
    struct kj_content content;
    struct kj_blocks blocks;
    struct kj_buf a, b, decoded;
    FILE *texts, *numbers, *groups;
};

static void put_block(struct dump *x, size_t i)
{
    const struct kj_block *b = &x->blocks.b[i];
    float row[KJ_BLOCK_FEATURES + KJ_PAGE_FEATURES];
    for (uint32_t k = b->first; k < b->end; k++) {
        const struct kj_node *n = &x->tree.nodes[k];
        if (n->tag != KJ_TAG_TEXT) {
            if (kj_tag_class(n->tag) & KJ_TC_VOID)
                fputc(' ', x->texts);
            continue;
        }
        for (size_t j = 0; j < n->text.n; j++) {
            unsigned char c = (unsigned char)n->text.p[j];
            fputc(c < ' ' ? ' ' : c, x->texts);
        }
    }
    fputc('\n', x->texts);
    size_t n = kj_block_features(&x->blocks, &x->content, &x->tree, i, row);
    memcpy(row + n, x->blocks.page, sizeof x->blocks.page);
    fwrite(row, sizeof row, 1, x->numbers);
    for (int up = 0; up < KJ_BLOCK_BOXES; up++) {
        fwrite(&b->lo[up], sizeof b->lo[up], 1, x->groups);
        fwrite(&b->hi[up], sizeof b->hi[up], 1, x->groups);
    }
    fwrite(&b->like, sizeof b->like, 1, x->groups);
    fwrite(&b->weight, sizeof b->weight, 1, x->groups);
}

static void page(struct dump *x, const struct kj_warc_rec *rec)
{
    struct kj_html_limits lim = KJ_HTML_LIMITS;
    struct kj_http h;
    struct kj_charset_result r;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_str type, charset;
    unsigned flags;
    kj_http_parse(rec->block.p, rec->block.n, &h);
    struct kj_str body = kj_http_body(&h, &x->a, &x->b, &flags);
    kj_http_type(kj_http_get(&h, "content-type"), &type, &charset);
    kj_buf_reset(&x->decoded);
    if (kj_charset_decode(x->charset, body.p, body.n, charset, true, &x->decoded, &r,
                          &err) < 0 ||
        kj_tree_parse(&x->tree, r.text.p, r.text.n, &lim, &err) < 0)
        return;
    kj_content_begin(&x->content, &x->tree);
    kj_blocks_begin(&x->blocks, &x->content, &x->tree);
    kj_content_find(&x->content, &x->tree);
    if (!kj_blocks_find(&x->blocks, &x->content, &x->tree))
        return;
    fprintf(x->texts, "P\t%.*s\t%zu\n", (int)rec->id.n, rec->id.p, x->blocks.n);
    for (size_t i = 0; i < x->blocks.n; i++)
        put_block(x, i);
}

int main(int argc, char **argv)
{
    struct dump x;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_warc_rec rec;
    memset(&x, 0, sizeof x);
    if (argc == 2 && strcmp(argv[1], "--groups") == 0) {
        for (const struct kj_block_group *g = kj_block_groups; g->name; g++)
            printf("%zu\t%s\n", g->n, g->name);
        return 0;
    }
    if (argc != 5 || kj_input_open(&in, argv[1], &err) < 0 ||
        !(x.texts = fopen(argv[2], "w")) || !(x.numbers = fopen(argv[3], "w")) ||
        !(x.groups = fopen(argv[4], "w"))) {
        fprintf(stderr, "usage: bench_blocks FILE.warc.gz TEXTS NUMBERS GROUPS %s\n",
                err.msg);
        return 2;
    }
    x.charset = kj_charset_new();
    kj_tree_init(&x.tree);
    kj_buf_init(&x.a, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x.b, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x.decoded, 3 * KJ_HTTP_BODY_MAX);
    struct kj_warc *w = kj_warc_new(in);
    int rc;
    while ((rc = kj_warc_next(w, &rec, &err)) == KJ_OK || rc == KJ_BAD_RECORD)
        if (rc == KJ_OK && strcmp(rec.type, "response") == 0)
            page(&x, &rec);
    kj_warc_free(w);
    kj_charset_free(x.charset);
    kj_tree_release(&x.tree);
    kj_content_release(&x.content);
    kj_blocks_release(&x.blocks);
    kj_buf_release(&x.a);
    kj_buf_release(&x.b);
    kj_buf_release(&x.decoded);
    return fclose(x.texts) | fclose(x.numbers) | fclose(x.groups) | (rc != KJ_EOF);
}
