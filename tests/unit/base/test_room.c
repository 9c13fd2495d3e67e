/* test_room.c - what a machine's files say of the memory that a process may take. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/room.h"

static char root[] = "/tmp/kijil-room-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *s = strchr(path + strlen(root) + 1, '/'); s; s = strchr(s + 1, '/')) {
        *s = 0;
        mkdir(path, 0777);
        *s = '/';
    }
    FILE *f = fopen(path, "w");
    if (CHECK(f != NULL)) {
        fputs(text, f);
        fclose(f);
    }
}

static void tells(int64_t left_kb, int64_t all_kb)
{
    int64_t left = -1, all = -1;
    kj_room_find(root, &left, &all);
    CHECK_INT(left, 1024 * left_kb);
    CHECK_INT(all, 1024 * all_kb);
}

static void machine(void)
{
    tells(0, 0);
    put("/proc/meminfo", "MemTotal:        8000 kB\nMemFree: 9 kB\n"
                         "MemAvailable:    5000 kB\n");
    tells(5000, 8000);
}

static void version_2(void)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    tells(5000, 8000); /* no files there */
    put("/sys/fs/cgroup/memory.max", "max\n");
    put("/sys/fs/cgroup/memory.current", "4096000\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    tells(5000, 8000);
    put("/sys/fs/cgroup/a/memory.max", "4096000\n");
    put("/sys/fs/cgroup/a/memory.current", "2048000\n");
    tells(2000, 4000);
    put("/sys/fs/cgroup/a/memory.stat",
        "anon 1\ninactive_file 512000\nx 2\nactive_file 512000\n");
    tells(3000, 4000); /* files that are cached are given back */
    put("/sys/fs/cgroup/a/memory.current", "512000\n");
    tells(4000, 4000);
    put("/sys/fs/cgroup/a/b/memory.max", "1024000\n");
    put("/sys/fs/cgroup/a/b/memory.current", "2048000\n");
    tells(0, 1000); /* over its limit */
    put("/sys/fs/cgroup/a/b/memory.max", "99999999999\n");
    tells(4000, 4000);
    put("/sys/fs/cgroup/a/memory.max", "7000000000\n"); /* more than there is */
    tells(5000, 8000);
}

static void version_1(void)
{
    put("/proc/self/cgroup", "5:cpu:/\n4:memory:/docker/x\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file 1024000\nhierarchical_memory_limit 3072000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "2048000\n");
    tells(2000, 3000); /* a container's own root */
    put("/sys/fs/cgroup/memory/docker/x/memory.stat",
        "hierarchical_memory_limit 2048000\n");
    put("/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "1024000\n");
    tells(1000, 2000);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void of_this_one(void)
{
    struct rlimit old, r = {(rlim_t)7 << 30, (rlim_t)7 << 30};
    int64_t left = 0, all = 0, less = 0, total = 0;
    kj_room_find("", &left, &all);
    CHECK(left > 0 && left <= all);
    put("/proc/meminfo", "MemTotal: 80000000 kB\nMemAvailable: 70000000 kB\n");
    put("/proc/self/cgroup", "");
    put("/proc/self/status", "Name: x\nVmSize:\t 1048576 kB\n");
    getrlimit(RLIMIT_AS, &old);
    r.rlim_max = old.rlim_max;
    if (old.rlim_cur == RLIM_INFINITY && setrlimit(RLIMIT_AS, &r) == 0) {
        kj_room_find(root, &less, &total);
        setrlimit(RLIMIT_AS, &old);
        CHECK_INT(less, (int64_t)6 << 30);
        CHECK_INT(total, (int64_t)7 << 30);
    }
}
#else
static void of_this_one(void)
{
    SKIP("sanitizers map terabytes");
}
#endif

int main(void)
{
    char cmd[64];
    if (!CHECK(mkdtemp(root) != NULL))
        return test_end();
    machine();
    version_2();
    version_1();
    of_this_one();
    snprintf(cmd, sizeof cmd, "rm -r %s", root);
    CHECK_INT(system(cmd), 0);
    return test_end();
}
