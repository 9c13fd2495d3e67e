/* input_ahead.h - unpack the members of a mapped file before they are asked for,
 * in threads of their own.
 *
 * Where a member starts is known only when the one before it was unpacked. So
 * the file is cut into ranges; a thread looks for the first place in its range
 * that has the magic number and unpacks whole, and goes on from there member by
 * member until it leaves the range. The reader asks for the member at the place
 * where it stands: what was unpacked there is what it would have unpacked itself,
 * and if nothing was (damage, a member too large, a range that began with bytes
 * that only looked like a member), it does it itself. So the chunks are the same
 * with and without.
 *
 * Not for use outside base/input*.c. One reader per object.
 */
#ifndef KJ_BASE_INPUT_AHEAD_H
#define KJ_BASE_INPUT_AHEAD_H

#include <stdbool.h>
#include <stddef.h>

/* How members of one form are unpacked. */
struct kj_ahead_form {
    const char *magic;
    size_t magic_n;
    size_t room;          /* most members fit in */
    void *(*begin)(void); /* a thread's decoder; NULL: none to be had */
    void (*end)(void *dec);
    /* The whole member at p[0..n) into out[room]. 0 good: *used stored bytes were
     * *made; 1: the room is too small; -1: it does not decode. */
    int (*unpack)(void *dec, const char *p, size_t n, char *out, size_t room,
                  size_t *used, size_t *made);
};

struct kj_ahead_member {
    const char *p; /* KJ_BUF_PAD readable bytes behind p[n-1] */
    size_t n;
    size_t used; /* stored bytes */
};

struct kj_ahead;

/* Over p[0..n) from `from` on. NULL when no thread could be started. */
struct kj_ahead *kj_ahead_new(const struct kj_ahead_form *form, const char *p, size_t n,
                              size_t from, unsigned threads);
void kj_ahead_free(struct kj_ahead *a);

/* The member that starts at `at`, if it was unpacked; waits for whoever is at it.
 * `at` never goes back. m is valid until the next call. */
bool kj_ahead_take(struct kj_ahead *a, size_t at, struct kj_ahead_member *m);

#endif
