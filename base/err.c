/* err.c - the error object: the first fault wins. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kj_err_reset(struct kj_err *e)
{
    memset(e, 0, sizeof *e);
    e->pos = -1;
}

static void fill(struct kj_err *e, int rc, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void fill(struct kj_err *e, int rc, const char *fmt, va_list ap)
{
    e->rc = rc;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
}

int kj_err_set(struct kj_err *e, int rc, const char *fmt, ...)
{
    if (!e || e->rc < 0)
        return rc;
    va_list ap;
    va_start(ap, fmt);
    fill(e, rc, fmt, ap);
    va_end(ap);
    return rc;
}

int kj_err_errno(struct kj_err *e, int rc, const char *fmt, ...)
{
    int no = errno;
    if (!e || e->rc < 0)
        return rc;
    va_list ap;
    va_start(ap, fmt);
    fill(e, rc, fmt, ap);
    va_end(ap);
    e->err_no = no;
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(no));
    return rc;
}

void kj_err_where(struct kj_err *e, const char *file, int64_t pos)
{
    if (!e)
        return;
    if (file && !e->file[0]) {
        size_t n = strlen(file), room = sizeof e->file - 1;
        snprintf(e->file, sizeof e->file, "%s", n > room ? file + (n - room) : file);
    }
    if (e->pos < 0)
        e->pos = pos;
}

void kj_err_doc(struct kj_err *e, const char *id, size_t n)
{
    if (e && !e->doc[0])
        snprintf(e->doc, sizeof e->doc, "%.*s", (int)(n < 120 ? n : 120), id);
}

void kj_err_context(struct kj_err *e, const char *fmt, ...)
{
    if (!e)
        return;
    char head[sizeof e->msg], all[2 * sizeof e->msg + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    snprintf(all, sizeof all, "%s: %s", head, e->msg);
    all[sizeof e->msg - 1] = 0;
    memcpy(e->msg, all, sizeof e->msg);
}

const char *kj_err_text(const struct kj_err *e, char *buf, size_t n)
{
    char where[sizeof e->file + 32] = "";
    if (e->file[0] && e->pos >= 0)
        snprintf(where, sizeof where, "%s:%lld: ", e->file, (long long)e->pos);
    else if (e->file[0])
        snprintf(where, sizeof where, "%s: ", e->file);
    snprintf(buf, n, "%s%s%s%s%s", where, e->msg[0] ? e->msg : "unknown fault",
             e->doc[0] ? " (document " : "", e->doc, e->doc[0] ? ")" : "");
    return buf;
}
