/* map.c - see map.h. */
#include "base/map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

int kj_map_open(struct kj_map *m, const char *path, struct kj_err *err)
{
    struct stat st;
    int rc = KJ_OK, fd = open(path, O_RDONLY | O_CLOEXEC);
    *m = (struct kj_map){0};
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = kj_err_errno(err, KJ_FAIL, "cannot open");
    } else if (!S_ISREG(st.st_mode)) {
        rc = kj_err_set(err, KJ_FAIL, "not a regular file");
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = kj_err_errno(err, KJ_FAIL, "cannot map");
        else
            *m = (struct kj_map){p, (size_t)st.st_size};
    }
    if (fd >= 0)
        close(fd);
    if (rc != KJ_OK)
        kj_err_where(err, path, -1);
    return rc;
}

void kj_map_pass(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (size_t)p / page * page, end = ((size_t)p + n) / page * page;
    if (from < end)
        madvise((void *)from, end - from, MADV_DONTNEED);
}

void kj_map_close(struct kj_map *m)
{
    if (m->p)
        munmap((void *)(size_t)m->p, m->n);
    *m = (struct kj_map){0};
}
