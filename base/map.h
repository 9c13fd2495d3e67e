/* map.h - a file's bytes in the address space, read only.
 *
 * Mapped pages are shared between processes and can be dropped by the kernel:
 * a large model or shard starts at once and counts once. A file must not be cut
 * short while it is mapped (SIGBUS); what this program writes is renamed into
 * place and never shortened.
 *
 * Thread-safety: a map may be read by any number of threads.
 */
#ifndef KJ_BASE_MAP_H
#define KJ_BASE_MAP_H

#include <stddef.h>

struct kj_err;

struct kj_map {
    const unsigned char *p; /* NULL for an empty file */
    size_t n;
};

/* KJ_FAIL, with the path in err, when it cannot be opened or is not a regular
 * file; m is then empty. */
int kj_map_open(struct kj_map *m, const char *path, struct kj_err *err);
/* p .. p+n of a map has been read and is not needed soon: its pages no longer count as
 * this process's memory. Reading them again is still right. */
void kj_map_pass(const void *p, size_t n);
/* Also of an empty map; leaves it empty. */
void kj_map_close(struct kj_map *m);

#endif
