// Preloaded into the engine by test_kill9_images.py: kills it before the n-th call that changes files, whichever thread makes it.
// The test and the engine share a file of three numbers: whether to count, the count so far, the count to die at (0: never).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    _Atomic unsigned is_armed, count, kill_at;
} * shared;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SKIFF_KILL_AT");
    if (!path || strcmp(program_invocation_short_name, "skiffd") != 0)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared = at == MAP_FAILED ? NULL : at;
    close(fd);
}

static void step(void)
{
    if (shared && atomic_load(&shared->is_armed) &&
        atomic_fetch_add(&shared->count, 1) + 1 == atomic_load(&shared->kill_at))
        (void)kill(getpid(), SIGKILL);
}

#define WRAP(type, name, parameters, arguments)                 \
    type name parameters                                        \
    {                                                           \
        static type(*real) parameters;                          \
        if (!real)                                              \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        step();                                                 \
        return real arguments;                                  \
    }

WRAP(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
WRAP(int, renameat, (int from_at, const char *from, int to_at, const char *to), (from_at, from, to_at, to))
WRAP(int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, symlinkat, (const char *target, int at, const char *path), (target, at, path))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, syncfs, (int fd), (fd))
WRAP(int, ftruncate64, (int fd, off64_t length), (fd, length))
WRAP(ssize_t, pwrite64, (int fd, const void *bytes, size_t n, off64_t offset), (fd, bytes, n, offset))
