/* Ends a process by SIGKILL at one of its writes to disk; preloaded (LD_PRELOAD) by tests.crash.
 *
 * Counts what changes files: write, pwrite, fsync, fdatasync, ftruncate, rename and unlink, of this process, from the
 * moment it is armed. At the call of the given number the process ends, and of a write only the first half is done.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long done, last;
static atomic_int armed;

/* Count from now on; end at call number `at`, never where it is 0. */
void killer_arm(long at) {
    done = 0;
    last = at;
    armed = 1;
}

/* Calls since then. */
long killer_done(void) { return done; }

static int is_last(void) { return armed && atomic_fetch_add(&done, 1) + 1 == last; }

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n) {
    if (fd > 2 && is_last()) {
        REAL(write)(fd, data, n / 2);
        end();
    }
    return REAL(write)(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    if (is_last()) {
        REAL(pwrite)(fd, data, n / 2, at);
        end();
    }
    return REAL(pwrite)(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    if (is_last()) {
        REAL(pwrite64)(fd, data, n / 2, at);
        end();
    }
    return REAL(pwrite64)(fd, data, n, at);
}

#define BEFORE(name, parameters, ...)      \
    int name parameters {                  \
        if (is_last()) end();              \
        return REAL(name)(__VA_ARGS__);    \
    }

BEFORE(fsync, (int fd), fd)
BEFORE(fdatasync, (int fd), fd)
BEFORE(ftruncate, (int fd, off_t n), fd, n)
BEFORE(ftruncate64, (int fd, off64_t n), fd, n)
BEFORE(rename, (const char *from, const char *to), from, to)
BEFORE(unlink, (const char *path), path)
