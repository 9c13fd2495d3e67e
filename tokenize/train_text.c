/* train_text.c - plain text as documents: one line each, line end included.
 *
 * This is how the reference's trainer reads files, so that both count the
 * same words.
 */
#include "tokenize/train.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/utf8.h"

/* Documents in a batch, at most: lines may be short. */
#define BATCH_LINES 65536

struct text_source {
    const char *const *files;
    size_t n, at;
    bool ends; /* keep line ends */
    struct kj_input *in;
    struct kj_chunk chunk; /* what was read, used up to `used` */
    size_t used;
    struct kj_buf rest; /* the line that a chunk broke off */
};

static int add_line(const struct text_source *s, struct kj_batch *b, const char *p,
                    size_t n)
{
    char *copy = kj_arena_dup(&b->arena, p, n);
    if (!copy)
        return KJ_BAD_RECORD;
    struct kj_doc *d = kj_batch_add(b);
    b->bytes_in += n;
    if (!s->ends && n && p[n - 1] == '\n')
        n--;
    if (!s->ends && n && p[n - 1] == '\r')
        n--;
    d->text = (struct kj_str){copy, n};
    return KJ_OK;
}

/* Cut lines off the chunk until it or the batch is at its end; what is left
 * of a line waits for the next chunk. */
static int add_lines(struct text_source *s, struct kj_batch *b, struct kj_err *err)
{
    int rc = KJ_OK;
    while (rc == KJ_OK && s->used < s->chunk.n && b->n < BATCH_LINES) {
        const char *p = s->chunk.p + s->used;
        size_t left = s->chunk.n - s->used;
        const char *e = memchr(p, '\n', left);
        size_t n = e ? (size_t)(e - p) + 1 : left;
        s->used += n;
        if (e && !s->rest.n) {
            rc = add_line(s, b, p, n);
            continue;
        }
        rc = kj_buf_add(&s->rest, p, n);
        if (e && rc == KJ_OK) {
            rc = add_line(s, b, s->rest.p, s->rest.n);
            kj_buf_reset(&s->rest);
        }
    }
    if (rc != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "a line is longer than %u bytes",
                          KJ_DOC_LINE_MAX);
    return KJ_OK;
}

/* One more chunk of the current file, or the end of it. */
static int text_step(struct text_source *s, struct kj_batch *b, struct kj_err *err)
{
    struct kj_err own = KJ_ERR_INIT;
    if (s->used < s->chunk.n)
        return add_lines(s, b, err);
    if (!s->in) {
        if (s->at == s->n)
            return KJ_EOF;
        return kj_input_open(&s->in, s->files[s->at++], err);
    }
    s->used = s->chunk.n = 0;
    int rc = kj_input_chunk(s->in, &s->chunk, &own);
    if (rc == KJ_OK)
        return KJ_OK;
    s->chunk.n = 0;
    if (rc == KJ_BAD_RECORD) {
        kj_doc_damage(kj_batch_add(b), "input.damaged", "the stored data is damaged");
        return KJ_OK;
    }
    if (rc == KJ_EOF) {
        if (s->rest.n && add_line(s, b, s->rest.p, s->rest.n) != KJ_OK)
            return kj_err_set(err, KJ_FAIL, "batch too large");
        kj_buf_reset(&s->rest);
        kj_input_close(s->in);
        s->in = NULL;
        return KJ_OK;
    }
    if (err)
        *err = own;
    return rc;
}

static int text_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct text_source *s = self;
    b->next.offset = -1;
    while (b->bytes_in < KJ_BATCH_BYTES && b->n < BATCH_LINES) {
        int rc = text_step(s, b, err);
        if (rc == KJ_EOF)
            return b->n ? KJ_OK : KJ_EOF;
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

static int text_decode(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        if (kj_doc_kept(d) && kj_utf8_valid(d->text.p, d->text.n) < d->text.n)
            kj_doc_damage(d, "input.invalid_utf8", "a line that is not UTF-8");
        kj_doc_content_id(d, &b->arena);
    }
    return KJ_OK;
}

static void text_close(void *self)
{
    struct text_source *s = self;
    if (s->in)
        kj_input_close(s->in);
    kj_buf_release(&s->rest);
    free(s);
}

int kj_tok_text_source(struct kj_source *out, const char *const *files, size_t n,
                       bool ends, struct kj_err *err)
{
    static const char *const standard[] = {"-"};
    struct text_source *s = kj_xcalloc(1, sizeof *s);
    s->files = n ? files : standard;
    s->n = n ? n : 1;
    s->ends = ends;
    kj_buf_init(&s->rest, KJ_DOC_LINE_MAX);
    int rc = kj_input_open(&s->in, s->files[s->at++], err);
    if (rc != KJ_OK) {
        text_close(s);
        return rc;
    }
    *out = (struct kj_source){
        .self = s, .read = text_read, .decode = text_decode, .close = text_close};
    return KJ_OK;
}
