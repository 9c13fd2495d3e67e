/* err.h - one scale of results and one error object for the whole program.
 *
 * Every function that can fail returns an int on this scale: 0 is good, a
 * positive value is a normal event, a negative one is graded by what can
 * still be used afterwards. The error object is owned by the caller and is
 * filled where the fault is first seen; code further up may add context but
 * never loses the original. Library code never prints and never exits:
 * commands/ does both, once.
 *
 * Thread-safety: an object belongs to one thread at a time.
 */
#ifndef KJ_BASE_ERR_H
#define KJ_BASE_ERR_H

#include <stddef.h>
#include <stdint.h>

enum kj_rc {
    KJ_OK = 0,
    KJ_DROP = 1,        /* this document is out */
    KJ_EOF = 2,         /* no more input */
    KJ_BAD_RECORD = -1, /* this record is unusable; the next one may be fine */
    KJ_FAIL = -2,       /* this file is unusable */
    KJ_FATAL = -3,      /* stop the run */
    KJ_USAGE = -4       /* stop before anything is read: options or recipe are wrong */
};

struct kj_err {
    int rc;         /* enum kj_rc; KJ_OK while nothing has gone wrong */
    int err_no;     /* errno at the fault, or 0 */
    int64_t pos;    /* byte offset in file (line number for recipes), -1 unknown */
    char file[256]; /* "" unknown; longer names keep their end */
    char doc[128];  /* document id, "" unknown */
    char msg[512];
};

/* An error object with nothing in it. */
#define KJ_ERR_INIT                                                                    \
    {                                                                                  \
        .rc = KJ_OK, .pos = -1                                                         \
    }

void kj_err_reset(struct kj_err *e);

/* Record a fault and return rc, so that `return kj_err_set(err, KJ_FAIL, ...)`
 * is the usual line. The first fault wins: when *e already holds one, the
 * call changes nothing and returns rc. e may be NULL. */
int kj_err_set(struct kj_err *e, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with errno's text behind the message. */
int kj_err_errno(struct kj_err *e, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Add the place, where the callee did not know it. Existing values stay. */
void kj_err_where(struct kj_err *e, const char *file, int64_t pos);
void kj_err_doc(struct kj_err *e, const char *id, size_t n);

/* Put "context: " in front of the message. */
void kj_err_context(struct kj_err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One line for a person: "FILE:POS: message (document ID)". Returns buf. */
const char *kj_err_text(const struct kj_err *e, char *buf, size_t n);

#endif
