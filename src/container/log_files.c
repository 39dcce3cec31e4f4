// The files of a log: see log_reader.h, and shim/log_file.c for who writes them.
#include "container/log_reader.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { ROTATED_MAX = 1000, GZIP_EXTRA_AT = 10, GZIP_HAS_EXTRA = 4, IDENTITY_SIZE = 12 };

static int lock_directory(const char *path, int operation)
{
    int fd = dir_open_parent(AT_FDCWD, path);
    if (fd < 0)
        return fd;
    while (flock(fd, operation) < 0)
        if (errno != EINTR) {
            int r = -errno;
            fd_close(fd);
            return r;
        }
    return fd;
}

// The inode number that the compressor left in the gzip header's extra field; 0: it is not there.
static uint64_t original_inode(int fd)
{
    unsigned char head[GZIP_EXTRA_AT + 2 + IDENTITY_SIZE];
    if (pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head || !(head[3] & GZIP_HAS_EXTRA) ||
        memcmp(head + GZIP_EXTRA_AT, "\x0c\0SK\x08\0", 6) != 0)
        return 0;
    uint64_t inode = 0;
    for (int i = 7; i >= 0; i--)
        inode = inode << 8 | head[GZIP_EXTRA_AT + 6 + i];
    return inode;
}

static int open_regular(const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        fd_close(fd);
        return -EINVAL;
    }
    return fd;
}

// path.N, or its compressed form: plain first, because it goes only when the other is there.
static int open_one(const char *path, int index, struct log_file_open *ret)
{
    struct stat st;
    CLEANUP(cleanup_free) char *plain = index ? xasprintf("%s.%d", path, index) : xstrdup(path);
    int fd = open_regular(plain, &st);
    if (fd >= 0) {
        *ret = (struct log_file_open){ .fd = fd, .identity = st.st_ino };
        return 0;
    }
    if (fd != -ENOENT || index == 0)
        return fd;
    CLEANUP(cleanup_free) char *zipped = xasprintf("%s.gz", plain);
    fd = open_regular(zipped, &st);
    if (fd < 0)
        return fd;
    *ret = (struct log_file_open){ .fd = fd, .identity = original_inode(fd), .is_compressed = true };
    return 0;
}

int log_files_open(const char *path, uint64_t known, struct log_files *ret)
{
    struct log_files files = { 0 };
    CLEANUP(cleanup_close) int lock = lock_directory(path, LOCK_SH);
    int r = 0;
    *ret = files;
    if (lock < 0)
        return lock == -ENOENT ? 0 : lock;
    for (int i = 0; i <= ROTATED_MAX && r == 0; i++) {
        struct log_file_open file;
        if ((r = open_one(path, i, &file)) < 0)
            break;
        if (known != 0 && file.identity == known) {
            fd_close(file.fd);
            break;
        }
        files.items = xreallocarray(files.items, files.count + 1, sizeof file);
        files.items[files.count++] = file;
    }
    if (r < 0 && r != -ENOENT && r != -ENOTDIR) {
        log_files_done(&files);
        return r;
    }
    *ret = files;
    return 0;
}

void log_files_done(struct log_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        fd_close(files->items[i].fd);
    free(files->items);
    *files = (struct log_files){ 0 };
}

int log_files_remove(const char *path)
{
    CLEANUP(cleanup_close) int lock = lock_directory(path, LOCK_EX);
    if (lock < 0)
        return lock;
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    for (int i = 1; i <= ROTATED_MAX; i++) {
        CLEANUP(cleanup_free) char *plain = xasprintf("%s.%d", path, i);
        CLEANUP(cleanup_free) char *zipped = xasprintf("%s.gz", plain);
        bool was_plain = unlink(plain) == 0, was_zipped = unlink(zipped) == 0;
        if (!was_plain && !was_zipped)
            break;
    }
    return 0;
}

// --- one file's bytes
struct log_file_source {
    gzFile file; // reads plain files as they are
};

struct log_file_source *log_file_source_new(struct log_file_open *file)
{
    struct log_file_source *source = NEW(struct log_file_source);
    source->file = gzdopen(file->fd, "r");
    if (!source->file) {
        free(source);
        return NULL;
    }
    file->fd = FD_NONE;
    return source;
}

ssize_t log_file_source_read(struct log_file_source *source, void *bytes, size_t n)
{
    int got = gzread(source->file, bytes, (unsigned)n);
    return got < 0 ? -EIO : got;
}

int log_file_source_rewind(struct log_file_source *source)
{
    return gzrewind(source->file) < 0 ? -EIO : 0;
}

void log_file_source_free(struct log_file_source *source)
{
    if (!source)
        return;
    (void)gzclose(source->file);
    free(source);
}
