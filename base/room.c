/* room.c - see room.h.
 *
 * /proc/meminfo's MemAvailable is the machine's; a container's limit is that of its
 * control groups, where files that the kernel has cached count as used but are given
 * back when needed. In version 2 each group up to the root may have a limit, in
 * version 1 memory.stat tells the least of them. `ulimit -v` is the last one.
 */
#include "base/room.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The number behind `key` in a file of lines "key number"; -1: not there. With key ""
 * the file's first word. */
static int64_t number(const char *key, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int64_t number(const char *key, const char *fmt, ...)
{
    char path[4500], line[256];
    size_t n = strlen(key);
    int64_t v = -1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    while (v < 0 && fgets(line, sizeof line, f)) {
        char *end = line + n;
        if (strncmp(line, key, n) == 0)
            v = strtoll(line + n, &end, 10);
        v = end == line + n ? -1 : v; /* "max" */
    }
    fclose(f);
    return v;
}

/* files: of what is used, what the kernel would give back. */
static void limit(int64_t *left, int64_t *all, int64_t most, int64_t used,
                  int64_t files)
{
    if (most < 0 || used < 0 || most >= *all)
        return;
    used = used > files ? used - files : 0;
    int64_t rest = most > used ? most - used : 0;
    *left = rest < *left ? rest : *left;
    *all = most;
}

static int64_t plus(int64_t a, int64_t b)
{
    return (a > 0 ? a : 0) + (b > 0 ? b : 0);
}

/* Where the process is: the part behind the last colon of the line. */
static bool group(const char *root, const char *mark, char *path, size_t n)
{
    char file[4200], line[4096];
    bool found = false;
    snprintf(file, sizeof file, "%s/proc/self/cgroup", root);
    FILE *f = fopen(file, "r");
    while (f && !found && fgets(line, sizeof line, f)) {
        char *at = strstr(line, mark);
        if (!at)
            continue;
        at += strlen(mark);
        at[strcspn(at, "\n")] = 0;
        snprintf(path, n, "%s", strcmp(at, "/") == 0 ? "" : at);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static void groups(const char *root, int64_t *left, int64_t *all)
{
    char path[4096];
    if (group(root, "0::", path, sizeof path))
        for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
            *slash = 0;
            const char *at = "/sys/fs/cgroup";
            int64_t files =
                plus(number("inactive_file ", "%s%s%s/memory.stat", root, at, path),
                     number("active_file ", "%s%s%s/memory.stat", root, at, path));
            limit(left, all, number("", "%s%s%s/memory.max", root, at, path),
                  number("", "%s%s%s/memory.current", root, at, path), files);
        }
    /* Inside of a container the path may be one of the machine's: then its root. */
    for (int i = 0; i < 2 && group(root, ":memory:", path, sizeof path); i++) {
        const char *at = "/sys/fs/cgroup/memory", *to = i ? "" : path;
        int64_t files =
            plus(number("total_inactive_file ", "%s%s%s/memory.stat", root, at, to),
                 number("total_active_file ", "%s%s%s/memory.stat", root, at, to));
        limit(left, all,
              number("hierarchical_memory_limit ", "%s%s%s/memory.stat", root, at, to),
              number("", "%s%s%s/memory.usage_in_bytes", root, at, to), files);
    }
}

void kj_room_find(const char *root, int64_t *left, int64_t *all)
{
    struct rlimit r;
    *left = 1024 * number("MemAvailable:", "%s/proc/meminfo", root);
    *all = 1024 * number("MemTotal:", "%s/proc/meminfo", root);
    if (*left < 0 || *all < 0) {
        *left = *all = 0;
        return;
    }
    groups(root, left, all);
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY &&
        r.rlim_cur <= INT64_MAX)
        limit(left, all, (int64_t)r.rlim_cur,
              1024 * number("VmSize:", "%s/proc/self/status", root), 0);
}
