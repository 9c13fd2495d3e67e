/* pages.c - see pages.h. */
#include "base/pages.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

#define LARGE ((size_t)2 << 20)

void kj_pages_ask(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = (size_t)p / page * page;
    /* A refusal is as good as a kernel without large pages. */
    (void)madvise((void *)from, (size_t)p + n - from, MADV_HUGEPAGE);
}

static size_t whole(size_t n)
{
    return (n + LARGE - 1) / LARGE * LARGE;
}

static void *pages(size_t n, bool large)
{
    size_t size = whole(n);
    if (n == 0 || size < n || size + LARGE < size)
        return NULL;
    char *p = mmap(NULL, size + LARGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t skip = whole((size_t)p) - (size_t)p;
    if (skip)
        munmap(p, skip);
    munmap(p + skip + size, LARGE - skip);
    if (large)
        kj_pages_ask(p + skip, size);
    return p + skip;
}

void *kj_pages_new(size_t n)
{
    return pages(n, true);
}

void *kj_pages_xnew(size_t n)
{
    void *p = pages(n ? n : 1, n >= LARGE / 2);
    if (!p)
        kj_xfail();
    return p;
}

void kj_pages_drop(void *p, size_t n)
{
    madvise(p, whole(n), MADV_DONTNEED);
}

void kj_pages_free(void *p, size_t n)
{
    if (p)
        munmap(p, whole(n));
}

size_t kj_pages_large(const void *p)
{
    static const char *const kinds[] = {
        "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"};
    char line[512];
    size_t bytes = 0;
    int inside = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && fgets(line, sizeof line, f)) {
        uint64_t from, end, kb;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &end) == 2) {
            if (inside)
                break;
            inside = from <= (size_t)p && (size_t)p < end;
        }
        for (size_t i = 0; i < 3 && inside; i++)
            if (strncmp(line, kinds[i], strlen(kinds[i])) == 0 &&
                sscanf(line + strlen(kinds[i]), "%" SCNu64, &kb) == 1)
                bytes += (size_t)kb * 1024;
    }
    if (f)
        fclose(f);
    return bytes;
}
