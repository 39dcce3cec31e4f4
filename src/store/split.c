// Theory of operation. A layer is kept once: unpacked. What its tar held besides the files' contents (headers, padding,
// end mark, payload of entries that are no files) is kept in `split`, a zstd stream of records, with a mark where each
// file's contents belong. Replaying the records rebuilds the stream bit for bit; a digest at the end proves it.
//
//   "skiffsp1"
//   'R' u32 n, n bytes                                        bytes of the stream
//   'F' u32 path_n, path, u64 payload, u32 count, count * (u64 offset, u64 length)    payload, from the file at path;
//                                                             count 0: its first `payload` bytes, else these pieces
//   'E'                                                       end; the caller checks the whole stream's digest
//
// Numbers are little-endian. Files are numbered from 0 in the order of their 'F'; when extra/<number> exists the payload is
// there instead (the tar replaced or removed that file later on).
#include "store/store_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/compress.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RAW_BYTES = 32 * 1024, COPY_BYTES = 128 * 1024, PATH_BYTES_MAX = 8192 };
static const char magic[] = "skiffsp1";

struct split_writer {
    int fd;
    struct encoder *encoder;
    struct str raw; // not yet written
    uint32_t files;
};

static int put(struct split_writer *s, const void *bytes, size_t n)
{
    struct writer w = encoder_writer(s->encoder);
    return w.write(w.context, bytes, n);
}

static int put_u32(struct split_writer *s, uint32_t v)
{
    v = htole32(v);
    return put(s, &v, sizeof v);
}

static int put_u64(struct split_writer *s, uint64_t v)
{
    v = htole64(v);
    return put(s, &v, sizeof v);
}

static int flush_raw(struct split_writer *s)
{
    if (s->raw.len == 0)
        return 0;
    int r = put(s, "R", 1);
    if (r == 0)
        r = put_u32(s, (uint32_t)s->raw.len);
    if (r == 0)
        r = put(s, s->raw.ptr, s->raw.len);
    str_clear(&s->raw);
    return r;
}

static int take_raw(void *context, const void *bytes, size_t n)
{
    struct split_writer *s = context;
    const char *p = bytes;
    while (n > 0) {
        size_t room = RAW_BYTES - s->raw.len, k = n < room ? n : room;
        str_append_n(&s->raw, p, k);
        p += k;
        n -= k;
        if (s->raw.len == RAW_BYTES) {
            int r = flush_raw(s);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int split_writer_new(int dirfd, const char *name, struct split_writer **ret)
{
    struct split_writer *s CLEANUP(split_writer_freep) = NEW(struct split_writer);
    s->raw = STR_INIT;
    s->fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0)
        return -errno;
    s->encoder = encoder_new(COMPRESSION_ZSTD, writer_to_fd(&s->fd));
    int r = put(s, magic, strlen(magic));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

struct writer split_raw(struct split_writer *s)
{
    return (struct writer){ take_raw, s };
}

int split_file(struct split_writer *s, const char *path, const struct tar_entry *entry, uint32_t *ret_number)
{
    size_t count = entry->is_sparse ? entry->extent_count : 0;
    int r = flush_raw(s);
    if (r < 0 || (r = put(s, "F", 1)) < 0 || (r = put_u32(s, (uint32_t)strlen(path))) < 0 ||
        (r = put(s, path, strlen(path))) < 0 || (r = put_u64(s, entry->payload)) < 0 ||
        (r = put_u32(s, (uint32_t)count)) < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if ((r = put_u64(s, entry->extents[i].offset)) < 0 || (r = put_u64(s, entry->extents[i].length)) < 0)
            return r;
    *ret_number = s->files++;
    return 0;
}

int split_finish(struct split_writer *s)
{
    int r = flush_raw(s);
    if (r == 0)
        r = put(s, "E", 1);
    return r < 0 ? r : encoder_finish(s->encoder);
}

void split_writer_free(struct split_writer *s)
{
    if (!s)
        return;
    encoder_free(s->encoder);
    str_done(&s->raw);
    fd_close(s->fd);
    free(s);
}

void split_writer_freep(struct split_writer **s)
{
    split_writer_free(*s);
}

// --- replay
struct replay {
    struct reader from;
    int fs_fd, extra_fd; // extra_fd: FD_NONE when there is none
    struct writer to;
    char *buffer;
    uint32_t number;
    bool receiver_failed; // the error is the writer's, not the store's
    bool only_looks;      // at what is there: no payload is read, nothing is written
};

static int get(struct replay *p, void *bytes, size_t n)
{
    for (char *at = bytes; n > 0;) {
        ssize_t k = p->from.read(p->from.context, at, n);
        if (k <= 0)
            return k < 0 ? (int)k : -EBADMSG;
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

static int get_u32(struct replay *p, uint32_t *ret)
{
    int r = get(p, ret, sizeof *ret);
    *ret = le32toh(*ret);
    return r;
}

static int get_u64(struct replay *p, uint64_t *ret)
{
    int r = get(p, ret, sizeof *ret);
    *ret = le64toh(*ret);
    return r;
}

static int emit(struct replay *p, size_t n)
{
    if (p->only_looks)
        return 0;
    int r = p->to.write(p->to.context, p->buffer, n);
    p->receiver_failed = r < 0;
    return r;
}

static int replay_raw(struct replay *p)
{
    uint32_t n;
    int r = get_u32(p, &n);
    if (r < 0)
        return r;
    if (n > RAW_BYTES)
        return -EBADMSG;
    r = get(p, p->buffer, n);
    return r < 0 ? r : emit(p, n);
}

static int copy_piece(struct replay *p, int fd, uint64_t offset, uint64_t length)
{
    struct stat st;
    if (p->only_looks)
        return fstat(fd, &st) < 0 ? -errno : (uint64_t)st.st_size < offset + length ? -EBADMSG : 0;
    while (length > 0) {
        size_t want = length < COPY_BYTES ? (size_t)length : COPY_BYTES;
        ssize_t k = pread(fd, p->buffer, want, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EBADMSG;
        int r = emit(p, (size_t)k);
        if (r < 0)
            return r;
        offset += (uint64_t)k;
        length -= (uint64_t)k;
    }
    return 0;
}

static int open_payload(struct replay *p, const char *path)
{
    char number[16];
    snprintf(number, sizeof number, "%u", p->number++);
    int fd = p->extra_fd >= 0 ? openat(p->extra_fd, number, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : FD_NONE;
    if (fd < 0)
        fd = open_beneath(p->fs_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        fd_close(fd);
        return -EBADMSG;
    }
    return fd;
}

static int replay_file(struct replay *p)
{
    char path[PATH_BYTES_MAX + 1];
    uint32_t path_n, count;
    uint64_t payload;
    int r = get_u32(p, &path_n);
    if (r < 0 || path_n > PATH_BYTES_MAX)
        return r < 0 ? r : -EBADMSG;
    path[path_n] = 0;
    if ((r = get(p, path, path_n)) < 0 || (r = get_u64(p, &payload)) < 0 || (r = get_u32(p, &count)) < 0)
        return r;
    int fd CLEANUP(cleanup_close) = open_payload(p, path);
    if (fd < 0)
        return fd;
    if (count == 0)
        return copy_piece(p, fd, 0, payload);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset, length;
        if ((r = get_u64(p, &offset)) < 0 || (r = get_u64(p, &length)) < 0 ||
            (r = copy_piece(p, fd, offset, length)) < 0)
            return r;
    }
    return 0;
}

static int replay_records(struct replay *p)
{
    char head[sizeof magic - 1];
    int r = get(p, head, sizeof head);
    if (r == 0 && memcmp(head, magic, sizeof head) != 0)
        r = -EBADMSG;
    while (r == 0) {
        char type;
        r = get(p, &type, 1);
        if (r < 0)
            break;
        if (type == 'E')
            return 0;
        r = type == 'R' ? replay_raw(p) : type == 'F' ? replay_file(p) : -EBADMSG;
    }
    return r;
}

static int replay(int layer_fd, struct writer to, bool only_looks, struct error *err)
{
    int fd CLEANUP(cleanup_close) = openat(layer_fd, "split", O_RDONLY | O_CLOEXEC);
    int fs CLEANUP(cleanup_close) = openat(layer_fd, "fs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int extra CLEANUP(cleanup_close) = openat(layer_fd, "extra", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *buffer CLEANUP(cleanup_free) = xmalloc(COPY_BYTES);
    struct decoder *decoder CLEANUP(decoder_freep) = NULL;
    if (fd < 0 || fs < 0)
        return error_errno(err, errno, "open layer");
    int r = decoder_new(reader_from_fd(&fd), &decoder);
    if (r < 0)
        return error_errno(err, r, "read layer");
    struct replay p = { .from = decoder_reader(decoder),
                        .fs_fd = fs,
                        .extra_fd = extra,
                        .to = to,
                        .buffer = buffer,
                        .only_looks = only_looks };
    r = replay_records(&p);
    if (r == 0)
        return 0;
    if (p.receiver_failed)
        return error_errno(err, r, "write layer");
    return r == -EBADMSG || r == -ENOENT ? error_set(err, ERROR_IO, "layer is damaged")
                                         : error_errno(err, r, "read layer");
}

int split_replay(int layer_fd, struct writer to, struct error *err)
{
    return replay(layer_fd, to, false, err);
}

int split_check(int layer_fd, struct error *err)
{
    return replay(layer_fd, (struct writer){ 0 }, true, err);
}
