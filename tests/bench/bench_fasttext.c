/* bench_fasttext.c - bench_fasttext MODEL LABEL FILE.jsonl: documents a second of one
 * core, by CPU time, the best of ROUNDS, tab-separated: finding words and hashing
 * n-grams alone (what stays with the host when a GPU has the matrix), and the whole
 * score, from the file's mapping and from a copy in large pages where one is made (and what
 * that costs); then numbers of rows a document. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/input.h"
#include "base/json.h"
#include "classify/ft_internal.h"
#include "classify/prepare.h"

#define ROUNDS 5

struct texts {
    char **p;
    size_t *n, count, bytes;
};

static int die(const struct kj_err *err)
{
    char text[1024];
    fprintf(stderr, "bench_fasttext: %s\n", kj_err_text(err, text, sizeof text));
    return 1;
}

static int load(struct texts *t, const char *path, struct kj_err *err)
{
    struct kj_input *in;
    struct kj_json *j = kj_json_new();
    struct kj_buf line;
    const char *p;
    size_t n;
    int64_t member, at;
    int rc = kj_input_open(&in, path, err);
    if (rc != KJ_OK)
        return rc;
    kj_buf_init(&line, 256u << 20);
    struct kj_lines *l = kj_lines_new(in, 64u << 20);
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, err)) == KJ_OK) {
        const struct kj_jval *v;
        if ((rc = kj_json_parse(j, p, n, &v, err)) != KJ_OK)
            break;
        struct kj_str s = kj_jstr(kj_jget(v, "text"));
        if ((rc = kj_classify_flatten(&line, s.p ? s.p : "", s.n)) != KJ_OK)
            break;
        t->p = kj_xrealloc(t->p, (t->count + 1) * sizeof *t->p);
        t->n = kj_xrealloc(t->n, (t->count + 1) * sizeof *t->n);
        t->p[t->count] = kj_xstrndup(line.p ? line.p : "", line.n);
        t->n[t->count++] = line.n;
        t->bytes += line.n;
    }
    kj_lines_free(l);
    kj_input_close(in);
    kj_json_free(j);
    kj_buf_release(&line);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* CPU seconds over all texts; whole: scores, else rows only. */
static double pass(const struct kj_ft *m, struct kj_ft_scratch *s,
                   struct kj_ft_hit *hits, int32_t label, const struct texts *t,
                   bool whole, size_t *rows)
{
    double began = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    *rows = 0;
    for (size_t i = 0; i < t->count; i++) {
        int64_t tokens;
        float score;
        if (whole)
            kj_ft_score(m, s, label, t->p[i], t->n[i], hits, &score, NULL);
        else
            ft_text_line(&m->dict, s, t->p[i], t->n[i], true, NULL, &tokens, NULL);
        *rows += s->n_rows;
    }
    return kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - began;
}

int main(int argc, char **argv)
{
    struct kj_err err = KJ_ERR_INIT;
    struct texts t = {0};
    struct kj_ft *m;
    enum { HOST, WHOLE, NEAR };
    static const char *const names[] = {"host", "whole", "whole, large pages"};
    double copy = 0;
    size_t rows = 0;
    if (argc != 4) {
        fprintf(stderr, "bench_fasttext MODEL LABEL FILE.jsonl\n");
        return 2;
    }
    if (kj_ft_open(&m, argv[1], &err) != KJ_OK || load(&t, argv[3], &err) != KJ_OK)
        return die(&err);
    int32_t label = kj_ft_label_find(m, argv[2]);
    if (label < 0 || !t.count)
        return 2;
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    struct kj_ft_hit *hits = kj_xcalloc((size_t)kj_ft_labels(m), sizeof *hits);
    ft_near_after(m, UINT64_MAX / 2);
    for (int kind = HOST; kind <= NEAR; kind++) {
        if (kind == NEAR) {
            if (!ft_near_open(m))
                break;
            ft_near_after(m, 0);
            copy = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
            while (ft_near_open(m))
                ft_near_rows(m, 0);
            copy = kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - copy;
        }
        double best = 1e9;
        for (int i = 0; i < ROUNDS; i++) {
            double seconds = pass(m, s, hits, label, &t, kind != HOST, &rows);
            best = seconds < best ? seconds : best;
        }
        printf("%s\t%.0f documents/s\t%.1f MB/s\n", names[kind], (double)t.count / best,
               1e-6 * (double)t.bytes / best);
    }
    if (copy > 0)
        printf("copy\t%.2f s\n", copy);
    printf("rows\t%.0f a document\t%.0f bytes a document\n",
           (double)rows / (double)t.count, (double)t.bytes / (double)t.count);
    for (size_t i = 0; i < t.count; i++)
        free(t.p[i]);
    free(t.p);
    free(t.n);
    free(hits);
    kj_ft_scratch_free(s);
    kj_ft_free(m);
    return 0;
}
