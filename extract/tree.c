/* tree.c - see tree.h. */
#include "extract/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "extract/build.h"

#define ARENA_CAP ((size_t)192 << 20)

void kj_tree_init(struct kj_tree *t)
{
    memset(t, 0, sizeof *t);
    kj_arena_init(&t->arena, ARENA_CAP);
    kj_buf_init(&t->ld, (size_t)1 << 20);
    t->b = kj_xcalloc(1, sizeof *t->b);
    t->b->t = t;
}

void kj_tree_release(struct kj_tree *t)
{
    if (t->b) {
        free(t->b->links);
        free(t->b->sorted);
        free(t->b->stack);
        free(t->b);
    }
    kj_arena_release(&t->arena);
    kj_buf_release(&t->ld);
    free(t->nodes);
    memset(t, 0, sizeof *t);
}

int kj_tree_parse(struct kj_tree *t, const char *p, size_t n,
                  const struct kj_html_limits *lim, struct kj_err *err)
{
    struct kj_builder *b = t->b;
    kj_arena_reset(&t->arena);
    kj_buf_reset(&t->ld);
    t->n = 0;
    t->rule = NULL;
    if (n > lim->bytes) {
        t->rule = "extract.html_bytes";
        return kj_err_set(err, KJ_BAD_RECORD, "page of %zu bytes", n);
    }
    b->lim = lim;
    kj_build_begin(b, p, n);
    while (kj_build_in_time(b)) {
        kj_lexer_next(&b->lex, &b->tok);
        if (b->tok.kind == KJ_TOK_END)
            break;
        kj_build_token(b);
    }
    kj_build_end(b);
    if (t->rule)
        return kj_err_set(err, KJ_BAD_RECORD, "page goes beyond %s", t->rule);
    return KJ_OK;
}
