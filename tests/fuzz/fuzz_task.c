/* A task's YAML, a line of three dashes, and its questions as JSONL. */
#define _GNU_SOURCE /* memmem */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "trainer/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void bad(void *ctx, const char *file, int64_t line, const char *why)
{
    (void)ctx;
    if (!file || line < 1 || !why[0])
        abort();
}

static int each(void *ctx, size_t number, struct kj_str prompt)
{
    (void)ctx, (void)number, (void)prompt;
    return KJ_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const uint8_t *cut = n ? memmem(p, n, "\n---\n", 5) : NULL;
    size_t head = cut ? (size_t)(cut - p) : n;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_task *t = NULL;
    int rc = kj_task_parse(&t, n ? (const char *)p : "", head, "fuzz", &err);
    if (rc != KJ_OK) {
        if (rc != KJ_USAGE || !err.msg[0])
            abort();
        return 0;
    }
    char path[] = "/tmp/kijil-fuzz-XXXXXX";
    int fd = cut && !t->n_tasks ? mkstemp(path) : -1;
    if (fd >= 0 && write(fd, cut + 5, n - head - 5) >= 0) {
        struct kj_questions q;
        kj_questions_init(&q);
        rc = kj_questions_read(&q, t, path, NULL, 2, bad, NULL, &err);
        for (size_t i = 0; i < q.n; i++)
            if (!q.v[i]->bad && q.v[i]->gold >= q.v[i]->n_choices)
                abort();
        if (rc == KJ_OK)
            kj_task_prompts(t, &q, &q, true, 1, each, NULL, &err);
        kj_questions_release(&q);
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    kj_task_free(t);
    return 0;
}
