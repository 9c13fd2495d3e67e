/* pages.h - memory in large pages.
 *
 * A processor remembers where some thousand pages lie. Data of hundreds of megabytes that
 * is read here and there costs a walk through the page tables at nearly every read while
 * its pages are of 4 KB, and hardly any in pages of 2 MB.
 *
 * Thread-safety: any number of threads, each function.
 */
#ifndef KJ_BASE_PAGES_H
#define KJ_BASE_PAGES_H

#include <stddef.h>

/* Ask for large pages where p .. p+n of a mapping will be read. The system may not follow:
 * of a file it does when it was not in memory before, on a file system that keeps files
 * in large pieces there (XFS, and ext4 since Linux 6.16). They are shared like others. */
void kj_pages_ask(const void *p, size_t n);

/* n bytes of zeros, for which large pages were asked for and which begin at such a page's
 * boundary. NULL: none to be had. */
void *kj_pages_new(size_t n);
/* The same for tables that there must be (base/mem.h's rule); n may be 0. Under a megabyte
 * small pages are used: a large one that is mostly empty costs more than it saves. */
void *kj_pages_xnew(size_t n);
/* The contents are no longer needed; the addresses stay, and read as zeros. */
void kj_pages_drop(void *p, size_t n);
void kj_pages_free(void *p, size_t n); /* NULL is fine */

/* Bytes in large pages of the mapping in which p lies; 0 also where the system does not
 * say (/proc). Takes milliseconds where the mapping has 100,000 pages. */
size_t kj_pages_large(const void *p);

#endif
