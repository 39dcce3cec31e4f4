// Theory of operation. Times of directories are set when all entries have been made, since making them changes the times. Until
// then they wait: in memory as long as they are few, else in a file without a name, so that memory does not grow with the layer.
// A record is its header and the directory's path.
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct record {
    int64_t mtime_ns;
    uint64_t path_n;
};

enum { SPILL_BYTES = 256 * 1024 };
_Static_assert(SPILL_BYTES > 2 * (sizeof(struct record) + PATH_MAX), "a record fits");

static int spill(struct directory_times *times, int staging_fd)
{
    if (times->fd < 0) {
        times->fd = openat(staging_fd, "times", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (times->fd < 0 || unlinkat(staging_fd, "times", 0) < 0)
            return -errno;
    }
    int r = fd_write_all(times->fd, times->waiting.ptr, times->waiting.len);
    str_clear(&times->waiting);
    return r;
}

int directory_times_add(struct directory_times *times, int staging_fd, const char *path, int64_t mtime_ns)
{
    struct record record = { mtime_ns, strlen(path) };
    str_append_n(&times->waiting, (const char *)&record, sizeof record);
    str_append_n(&times->waiting, path, record.path_n);
    bool is_full = times->waiting.len > SPILL_BYTES - sizeof record - PATH_MAX;
    return is_full ? spill(times, staging_fd) : 0;
}

// A directory may be gone or replaced by now: then its time does not matter.
static void set_one(int root_fd, const char *path, int64_t mtime_ns)
{
    struct timespec both[2] = { { .tv_nsec = UTIME_OMIT }, time_to_timespec(mtime_ns) };
    int fd CLEANUP(cleanup_close) = open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd >= 0)
        (void)futimens(fd, both);
}

// Of the whole records; their bytes.
static size_t set_some(int root_fd, const char *bytes, size_t n)
{
    size_t at = 0;
    struct record record;
    while (n - at >= sizeof record) {
        memcpy(&record, bytes + at, sizeof record);
        if (n - at - sizeof record < record.path_n)
            break;
        char *path CLEANUP(cleanup_free) = xstrndup(bytes + at + sizeof record, record.path_n);
        set_one(root_fd, path, record.mtime_ns);
        at += sizeof record + record.path_n;
    }
    return at;
}

int directory_times_set(struct directory_times *times, int root_fd)
{
    size_t have = 0;
    if (times->fd >= 0) {
        char *bytes CLEANUP(cleanup_free) = xmalloc(SPILL_BYTES);
        ssize_t n;
        if (lseek(times->fd, 0, SEEK_SET) < 0)
            return -errno;
        while ((n = fd_read_full(times->fd, bytes + have, SPILL_BYTES - have)) > 0) {
            have += (size_t)n;
            size_t used = set_some(root_fd, bytes, have);
            memmove(bytes, bytes + used, have - used);
            have -= used;
        }
        if (n < 0)
            return (int)n;
    }
    (void)set_some(root_fd, times->waiting.ptr, times->waiting.len);
    return 0;
}

void directory_times_done(struct directory_times *times)
{
    str_done(&times->waiting);
    times->fd = fd_close(times->fd);
}
