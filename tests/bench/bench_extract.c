/* bench_extract - MB of raw HTML per CPU second on one core, phase by phase.
 *
 * usage: bench_extract FILE.warc.gz...
 *
 * Each line adds one phase to those above it: reading the archive, HTTP and
 * charset, the parser into the flat tree, and all of it to text. */
#include "base/err.h"
#include "base/input.h"
#include "extract/charset.h"
#include "extract/html.h"
#include "extract/http.h"
#include "extract/tree.h"
#include "extract/warc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum phase { READ, DECODE, PARSE, TEXT, N_PHASES };
static const char *const names[] = {"read archive", "+ HTTP, charset", "+ parse",
                                    "+ main text (all)"};

struct bench {
    struct kj_charset *charset;
    struct kj_html *html;
    struct kj_tree tree;
    struct kj_html_limits limits;
    struct kj_buf a, b, decoded, text;
    size_t pages, bytes, out;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void page(struct bench *x, struct kj_str block, enum phase last)
{
    struct kj_http h;
    struct kj_charset_result r;
    struct kj_html_page meta;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_str none = {NULL, 0};
    unsigned flags;
    x->pages++;
    x->bytes += block.n;
    if (last == READ)
        return;
    kj_http_parse(block.p, block.n, &h);
    struct kj_str body = kj_http_body(&h, &x->a, &x->b, &flags);
    kj_buf_reset(&x->decoded);
    if (kj_charset_decode(x->charset, body.p, body.n, none, true, &x->decoded, &r,
                          &err) < 0)
        return;
    if (last == PARSE) {
        kj_tree_parse(&x->tree, r.text.p, r.text.n, &x->limits, &err);
    } else if (last == TEXT) {
        kj_buf_reset(&x->text);
        kj_html_extract(x->html, r.text.p, r.text.n, false, false, &x->text, &meta,
                        &err);
        x->out += x->text.n;
    }
}

static int run(struct bench *x, const char *path, enum phase last)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_warc_rec rec;
    int rc = kj_input_open(&in, path, &err);
    if (rc < 0) {
        fprintf(stderr, "bench_extract: %s\n", err.msg);
        return 1;
    }
    struct kj_warc *w = kj_warc_new(in);
    do {
        struct kj_err e = KJ_ERR_INIT;
        rc = kj_warc_next(w, &rec, &e);
        if (rc == KJ_OK && strcmp(rec.type, "response") == 0)
            page(x, rec.block, last);
    } while (rc == KJ_OK || rc == KJ_BAD_RECORD);
    kj_warc_free(w);
    return rc != KJ_EOF;
}

int main(int argc, char **argv)
{
    struct bench x = {.limits = KJ_HTML_LIMITS};
    int rc = argc < 2;
    if (rc)
        fprintf(stderr, "usage: bench_extract FILE.warc.gz...\n");
    x.charset = kj_charset_new();
    x.html = kj_html_new();
    kj_tree_init(&x.tree);
    kj_buf_init(&x.a, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x.b, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x.decoded, 3 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&x.text, 3 * KJ_HTTP_BODY_MAX);
    for (int last = READ; last < N_PHASES && rc == 0; last++) {
        x.pages = x.bytes = x.out = 0;
        double t = now();
        for (int i = 1; i < argc && rc == 0; i++)
            rc = run(&x, argv[i], (enum phase)last);
        t = now() - t + 1e-9;
        printf("extract %-18s %8.1f MB/s %8.0f pages/s\n", names[last],
               (double)x.bytes / 1e6 / t, (double)x.pages / t);
    }
    kj_charset_free(x.charset);
    kj_html_free(x.html);
    kj_tree_release(&x.tree);
    kj_buf_release(&x.a);
    kj_buf_release(&x.b);
    kj_buf_release(&x.decoded);
    kj_buf_release(&x.text);
    return rc;
}
