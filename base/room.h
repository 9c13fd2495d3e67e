/* room.h - how much memory this process may take.
 *
 * Thread-safety: any number of threads.
 */
#ifndef KJ_BASE_ROOM_H
#define KJ_BASE_ROOM_H

#include <stdint.h>

/* What this process may still take of the machine's memory, and what there is, in bytes:
 * the kernel's estimate of what can be had without swapping, or less where a control
 * group or a limit of the process leaves less. root stands before /proc and /sys (for
 * tests; ""). 0 where nothing can be found out. */
void kj_room_find(const char *root, int64_t *left, int64_t *all);

#endif
