/* fault.c - keeping the first fault of a back end. */
#include "nn/backend.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void kj_backend_fault(struct kj_backend *b, const char *op, const char *fmt, ...)
{
    char what[400], step[40] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (b->step > 0)
        snprintf(step, sizeof step, " (step %" PRId64 ")", b->step);
    kj_err_set(&b->fault, KJ_FATAL, "%s: %s%s", op, what, step);
}
