/* bench_base.c - the ground under every stage, as programs that tests/bench/run
 * can time: input FILE (unpack), lines FILE, doc FILE (parse and write every
 * document), sha1 FILE, xxh FILE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"

static struct kj_err err = KJ_ERR_INIT;

static int fail(const char *what)
{
    char line[1024];
    fprintf(stderr, "%s: %s\n", what, kj_err_text(&err, line, sizeof line));
    return 1;
}

static int do_chunks(const char *path, struct kj_sha1 *sum)
{
    struct kj_input *in;
    struct kj_chunk c;
    int rc;
    size_t total = 0;
    if (kj_input_open(&in, path, &err))
        return fail(path);
    while ((rc = kj_input_chunk(in, &c, &err)) == KJ_OK) {
        total += c.n;
        if (sum)
            kj_sha1_add(sum, c.p, c.n);
    }
    kj_input_close(in);
    printf("%zu bytes\n", total);
    return rc == KJ_EOF ? 0 : fail(path);
}

/* Lines; with j, each is parsed as a document and written again. */
static int do_lines(const char *path, struct kj_json *j)
{
    struct kj_input *in;
    struct kj_batch b;
    const char *p;
    size_t n, count = 0, written = 0;
    int64_t member, at;
    int rc;
    if (kj_input_open(&in, path, &err))
        return fail(path);
    struct kj_lines *l = kj_lines_new(in, KJ_DOC_LINE_MAX);
    kj_batch_init(&b);
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, &err)) == KJ_OK) {
        count++;
        if (!j)
            continue;
        struct kj_doc *d = kj_batch_add(&b);
        if (kj_doc_parse(d, j, &b.arena, p, n, &err) ||
            kj_doc_write(d, NULL, false, &b.out, &err))
            return fail(path);
        if (b.out.n > KJ_BATCH_BYTES) {
            written += b.out.n;
            kj_batch_reset(&b);
        }
    }
    written += b.out.n;
    kj_batch_release(&b);
    kj_lines_free(l);
    kj_input_close(in);
    printf("%zu lines, %zu bytes written\n", count, written);
    return rc == KJ_EOF ? 0 : fail(path);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const char *what = argv[1], *path = argv[2];
    if (strcmp(what, "input") == 0)
        return do_chunks(path, NULL);
    if (strcmp(what, "lines") == 0)
        return do_lines(path, NULL);
    if (strcmp(what, "doc") == 0) {
        struct kj_json *j = kj_json_new();
        int rc = do_lines(path, j);
        kj_json_free(j);
        return rc;
    }
    if (strcmp(what, "sha1") == 0) {
        struct kj_sha1 s;
        kj_sha1_init(&s);
        return do_chunks(path, &s);
    }
    if (strcmp(what, "xxh") == 0) {
        char hex[40];
        if (kj_hash_file(path, hex, NULL, &err))
            return fail(path);
        return puts(hex) < 0;
    }
    return 2;
}
