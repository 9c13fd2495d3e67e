/* bench_extract - where the time of extraction goes, on one core.
 *
 * usage: bench_extract FILE.warc.gz...
 *
 * A row a phase: CPU seconds, share, and MB of raw HTML (HTTP headers included) a
 * second through that phase alone; in the last row, all of it. "main text" in the
 * rows is put together here as html.c does it; that both give the same text is
 * checked on every page. */
#include "base/clock.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "extract/blocks.h"
#include "extract/charset.h"
#include "extract/content.h"
#include "extract/html.h"
#include "extract/http.h"
#include "extract/judge.h"
#include "extract/math.h"
#include "extract/meta.h"
#include "extract/render.h"
#include "extract/tree.h"
#include "extract/warc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum phase {
    GUNZIP,
    WARC,
    CHARSET,
    PARSE,
    META,
    RULES,
    BLOCKS,
    JUDGE,
    RENDER,
    JSON,
    N_PHASES
};
static const char *const names[] = {
    "gunzip", "WARC records",       "HTTP, charset",   "parse",  "metadata, formulas",
    "rules",  "blocks of the page", "judge of blocks", "render", "JSON",
};

struct bench {
    struct kj_charset *charset;
    struct kj_html *html;
    struct kj_tree tree;
    struct kj_content content;
    struct kj_blocks blocks;
    struct kj_judge judge;
    struct kj_json *json;
    struct kj_html_limits limits;
    struct kj_buf a, b, decoded, text, check, line;
    size_t pages, bytes, differ;
    double time[N_PHASES], last;
};

/* What has passed since the last call belongs to this phase. */
static void lap(struct bench *x, enum phase p)
{
    double t = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    x->time[p] += t - x->last;
    x->last = t;
}

static void find_text(struct bench *x)
{
    struct kj_content *c = &x->content;
    kj_content_begin(c, &x->tree);
    kj_blocks_begin(&x->blocks, c, &x->tree);
    kj_content_find(c, &x->tree);
    lap(x, RULES);
    bool any = kj_blocks_find(&x->blocks, c, &x->tree);
    lap(x, BLOCKS);
    if (any) {
        kj_judge_blocks(&x->judge, &x->blocks, c, &x->tree);
        kj_judge_apply(&x->judge, &x->blocks, c, &x->tree);
    }
    lap(x, JUDGE);
}

static void write_json(struct bench *x)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_doc d;
    memset(&d, 0, sizeof d);
    d.id = KJ_STR("<urn:uuid:00000000-0000-0000-0000-000000000000>");
    d.text = (struct kj_str){x->text.p ? x->text.p : "", x->text.n};
    kj_buf_reset(&x->line);
    kj_doc_write(&d, "extract", false, &x->line, &err);
}

static void page(struct bench *x, struct kj_str block)
{
    struct kj_http h;
    struct kj_charset_result r;
    struct kj_html_page meta;
    struct kj_err err = KJ_ERR_INIT;
    unsigned flags;
    x->pages++;
    x->bytes += block.n;
    lap(x, WARC);
    kj_http_parse(block.p, block.n, &h);
    struct kj_str body = kj_http_body(&h, &x->a, &x->b, &flags), type, label;
    kj_http_type(kj_http_get(&h, "content-type"), &type, &label);
    kj_buf_reset(&x->decoded);
    if (kj_charset_decode(x->charset, body.p, body.n, label, true, &x->decoded, &r,
                          &err) < 0)
        return;
    lap(x, CHARSET);
    if (kj_tree_parse(&x->tree, r.text.p, r.text.n, &x->limits, &err) < 0)
        return;
    lap(x, PARSE);
    memset(&meta, 0, sizeof meta);
    kj_meta_read(&x->tree, x->json, &meta);
    kj_math_resolve(&x->tree);
    lap(x, META);
    find_text(x);
    kj_buf_reset(&x->text);
    kj_render(&x->tree, x->content.root, false, &x->text);
    lap(x, RENDER);
    write_json(x);
    lap(x, JSON);
    kj_buf_reset(&x->check);
    kj_html_extract(x->html, r.text.p, r.text.n, false, false, &x->check, &meta, &err);
    x->differ += x->check.n != x->text.n ||
                 (x->text.n && memcmp(x->check.p, x->text.p, x->text.n) != 0);
    x->last = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* Reading alone, and then with all that follows. */
static int run(struct bench *x, const char *path)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_chunk chunk;
    struct kj_warc_rec rec;
    int rc = kj_input_open(&in, path, &err);
    if (rc < 0) {
        fprintf(stderr, "bench_extract: %s\n", err.msg);
        return 1;
    }
    double gunzip = -kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    while (kj_input_chunk(in, &chunk, &err) == KJ_OK)
        ;
    gunzip += kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    kj_input_close(in);
    if (kj_input_open(&in, path, &err) < 0)
        return 1;
    struct kj_warc *w = kj_warc_new(in);
    x->last = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    do {
        struct kj_err e = KJ_ERR_INIT;
        rc = kj_warc_next(w, &rec, &e);
        if (rc == KJ_OK && strcmp(rec.type, "response") == 0)
            page(x, rec.block);
    } while (rc == KJ_OK || rc == KJ_BAD_RECORD);
    kj_warc_free(w);
    x->time[GUNZIP] += gunzip;
    x->time[WARC] -= gunzip;
    return rc != KJ_EOF;
}

static void begin(struct bench *x)
{
    x->charset = kj_charset_new();
    x->html = kj_html_new();
    x->json = kj_json_new();
    kj_tree_init(&x->tree);
    kj_buf_init(&x->a, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x->b, KJ_HTTP_BODY_MAX);
    kj_buf_init(&x->decoded, 3 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&x->text, 3 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&x->check, 3 * KJ_HTTP_BODY_MAX);
    kj_buf_init(&x->line, 6 * KJ_HTTP_BODY_MAX);
}

static void end(struct bench *x)
{
    kj_charset_free(x->charset);
    kj_html_free(x->html);
    kj_json_free(x->json);
    kj_tree_release(&x->tree);
    kj_content_release(&x->content);
    kj_blocks_release(&x->blocks);
    kj_judge_release(&x->judge);
    kj_buf_release(&x->a);
    kj_buf_release(&x->b);
    kj_buf_release(&x->decoded);
    kj_buf_release(&x->text);
    kj_buf_release(&x->check);
    kj_buf_release(&x->line);
}

int main(int argc, char **argv)
{
    struct bench x = {.limits = KJ_HTML_LIMITS};
    int rc = argc < 2;
    double all = 1e-9;
    if (rc)
        fprintf(stderr, "usage: bench_extract FILE.warc.gz...\n");
    begin(&x);
    for (int i = 1; i < argc && rc == 0; i++)
        rc = run(&x, argv[i]);
    for (int i = 0; i < N_PHASES; i++)
        all += x.time[i];
    for (int i = 0; i < N_PHASES && rc == 0; i++)
        printf("extract %-20s %6.2f s %5.1f %% %8.0f MB/s\n", names[i], x.time[i],
               100 * x.time[i] / all, (double)x.bytes / 1e6 / (x.time[i] + 1e-9));
    if (rc == 0)
        printf("extract %-20s %6.2f s %5.1f %% %8.0f MB/s %8.0f pages/s\n", "all", all,
               100.0, (double)x.bytes / 1e6 / all, (double)x.pages / all);
    if (x.differ) {
        fprintf(stderr, "bench_extract: %zu pages differ from html.c\n", x.differ);
        rc = 1;
    }
    end(&x);
    return rc;
}
