/* kill_at.c - to be preloaded into a program under test: it kills itself with SIGKILL
 * before the KILL_AT-th operation that changes files; half of what a write was to
 * write is written then. So a test's kills fall into the middle of the work on a
 * machine of any speed, and into every place that differs for who comes after.
 * KILL_NAME: only operations by a path with that in it are counted. What goes to
 * stdout and stderr, and sockets, are none. The kill ends all threads; which of them
 * has done what by then is left to chance.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long done;

/* Is this the one? path NULL: an operation by descriptor. */
static bool due(const char *path)
{
    const char *at = getenv("KILL_AT"), *name = getenv("KILL_NAME");
    if (!at || (name && (!path || !strstr(path, name))))
        return false;
    return atomic_fetch_add(&done, 1) + 1 == strtol(at, NULL, 10);
}
static void die(void)
{
    kill(getpid(), SIGKILL);
    pause();
}
static void may_die(const char *path)
{
    if (due(path))
        die();
}
static bool is_file(int fd)
{
    struct stat st;
    return fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* The function that the program would have called. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, int) : 0;
}
int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = mode_of(flags, ap);
    va_end(ap);
    if (flags & (O_CREAT | O_TRUNC))
        may_die(path);
    return NEXT(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = mode_of(flags, ap);
    va_end(ap);
    if (flags & (O_CREAT | O_TRUNC))
        may_die(path);
    return NEXT(open64)(path, flags, mode);
}
ssize_t write(int fd, const void *p, size_t n)
{
    if (is_file(fd) && due(NULL)) {
        ssize_t half = NEXT(write)(fd, p, n / 2);
        (void)half;
        die();
    }
    return NEXT(write)(fd, p, n);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (is_file(fd) && due(NULL)) {
        ssize_t half = NEXT(pwrite)(fd, p, n / 2, at);
        (void)half;
        die();
    }
    return NEXT(pwrite)(fd, p, n, at);
}
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    if (is_file(fd) && due(NULL)) {
        ssize_t half = NEXT(pwrite64)(fd, p, n / 2, at);
        (void)half;
        die();
    }
    return NEXT(pwrite64)(fd, p, n, at);
}
int ftruncate(int fd, off_t n)
{
    may_die(NULL);
    return NEXT(ftruncate)(fd, n);
}
int ftruncate64(int fd, off64_t n)
{
    may_die(NULL);
    return NEXT(ftruncate64)(fd, n);
}
int fsync(int fd)
{
    may_die(NULL);
    return NEXT(fsync)(fd);
}
int fdatasync(int fd)
{
    may_die(NULL);
    return NEXT(fdatasync)(fd);
}
int rename(const char *from, const char *to)
{
    may_die(to);
    return NEXT(rename)(from, to);
}
int link(const char *from, const char *to)
{
    may_die(to);
    return NEXT(link)(from, to);
}
int unlink(const char *path)
{
    may_die(path);
    return NEXT(unlink)(path);
}
int rmdir(const char *path)
{
    may_die(path);
    return NEXT(rmdir)(path);
}
int mkdir(const char *path, mode_t mode)
{
    may_die(path);
    return NEXT(mkdir)(path, mode);
}
