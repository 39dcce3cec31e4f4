// Theory of operation. A record is whole or not there: a short write (disk full) is taken back with ftruncate and the
// batch is lost, the container is not. Rotation renames path.N to path.N+1, the oldest first, then path to path.1, and makes a
// new file; with one file only, that file is replaced by a new one, so that a reader can finish the old. Readers open all
// files of the set under a shared flock of their directory; rotation takes the exclusive one without waiting, and puts
// itself off to the next batch when a reader is just opening. One compressor child at most is at work: it reads the rotated
// file and writes path.gz.<pid>.tmp; whether that takes the rotated file's place is decided here when it has ended, because
// further rotations may have moved the file on meanwhile. Output never waits for it: a file it had no time for stays plain,
// and is compressed next.
#include "shim/log.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "shim/compress.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOG_MODE = 0640 };

int log_file_reopen(struct log_file *file, const struct shim_log_options *options)
{
    file->fd = fd_close(file->fd);
    file->size = 0;
    file->compressed_index = 0;
    file->fd = open(options->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, LOG_MODE);
    if (file->fd < 0)
        return -errno;
    struct stat st;
    if (fstat(file->fd, &st) == 0)
        file->size = st.st_size;
    return 0;
}

// path.1 -> path.2, ... up to max_files - 1; what falls off the end is gone.
static void shift_files(struct log_file *file, const struct shim_log_options *options)
{
    const char *suffixes[] = { "", ".gz" };
    for (int i = options->max_files - 2; i >= 1; i--) {
        for (int s = 0; s < 2; s++) {
            char *from CLEANUP(cleanup_free) = xasprintf("%s.%d%s", options->path, i, suffixes[s]);
            char *to CLEANUP(cleanup_free) = xasprintf("%s.%d%s", options->path, i + 1, suffixes[s]);
            char *other CLEANUP(cleanup_free) = xasprintf("%s.%d%s", options->path, i + 1, suffixes[!s]);
            if (rename(from, to) == 0)
                (void)unlink(other);
        }
    }
    if (file->compressed_index > 0 && ++file->compressed_index >= options->max_files)
        file->compressed_index = 0;
}

static char *temporary_path(const struct shim_log_options *options)
{
    return xasprintf("%s.gz.%d.tmp", options->path, (int)getpid());
}

// The newest rotated file that is still plain.
static void compress_next(struct log_file *file, const struct shim_log_options *options)
{
    if (!options->wants_compression || file->compressor > 0)
        return;
    char *to CLEANUP(cleanup_free) = temporary_path(options);
    for (int i = 1; i < options->max_files; i++) {
        char *from CLEANUP(cleanup_free) = xasprintf("%s.%d", options->path, i);
        int in CLEANUP(cleanup_close) = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (in < 0)
            continue;
        struct stat st;
        if (fstat(in, &st) < 0)
            continue;
        file->compressed_inode = st.st_ino;
        pid_t pid = compress_in_background(in, to);
        file->compressor = pid > 0 ? pid : 0;
        file->compressed_index = pid > 0 ? i : 0;
        return;
    }
}

// The exclusive lock of the set, without waiting; FD_NONE: somebody has it.
static int lock_set(const struct shim_log_options *options)
{
    int lock CLEANUP(cleanup_close) = dir_open_parent(AT_FDCWD, options->path);
    return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 ? TAKE_FD(lock) : FD_NONE;
}

// Not close alone: a child that was forked meanwhile would hold on to it.
static void unlock_set(int lock)
{
    (void)flock(lock, LOCK_UN);
    fd_close(lock);
}

// Put the compressed file in the plain one's place, if that is still what was compressed: the next run of the same container
// has a monitor of its own, which may have rotated already. False: somebody has the set just now.
static bool replace_plain(struct log_file *file, const struct shim_log_options *options,
                          const char *temporary)
{
    char *plain CLEANUP(cleanup_free) = xasprintf("%s.%d", options->path, file->compressed_index);
    char *zipped CLEANUP(cleanup_free) = xasprintf("%s.gz", plain);
    struct stat st;
    int lock = lock_set(options);
    if (lock < 0)
        return false;
    if (stat(plain, &st) == 0 && st.st_ino == file->compressed_inode && rename(temporary, zipped) == 0)
        (void)unlink(plain);
    unlock_set(lock);
    return true;
}

bool log_file_reaped(struct log_file *file, const struct shim_log_options *options, pid_t pid, int status)
{
    if (file->compressor == 0 || file->compressor != pid)
        return false;
    char *temporary CLEANUP(cleanup_free) = temporary_path(options);
    bool goes_on =
        WIFEXITED(status) && WEXITSTATUS(status) == 0; // else the next would fail, too: a full disk
    if (goes_on && file->compressed_index > 0)
        goes_on = replace_plain(file, options, temporary);
    (void)unlink(temporary);
    file->compressor = file->compressed_index = 0;
    if (goes_on)
        compress_next(file, options);
    return true;
}

static void rotate(struct log_file *file, const struct shim_log_options *options)
{
    int lock = lock_set(options);
    if (lock < 0)
        return;
    if (options->max_files > 1) {
        shift_files(file, options);
        char *first CLEANUP(cleanup_free) = xasprintf("%s.1", options->path);
        char *zipped CLEANUP(cleanup_free) = xasprintf("%s.1.gz", options->path);
        (void)unlink(zipped);
        (void)rename(options->path, first);
    } else {
        (void)unlink(options->path);
    }
    int compressed_index = file->compressed_index;
    (void)log_file_reopen(file, options);
    file->compressed_index = compressed_index;
    unlock_set(lock);
    compress_next(file, options);
}

void log_file_append(struct log_file *file, const struct shim_log_options *options, const char *bytes,
                     size_t n)
{
    int64_t max = options->max_size_bytes;
    if (max > 0 && file->size > 0 && file->size + (int64_t)n > max)
        rotate(file, options);
    if (file->fd < 0)
        return;
    if (fd_write_all(file->fd, bytes, n) == 0)
        file->size += (int64_t)n;
    else
        (void)!ftruncate(file->fd, file->size);
}
