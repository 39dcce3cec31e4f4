// Theory of operation. The shim writes the log; we only read it, so a follower can be lost or slow without
// any harm to the container. All files are opened at one moment between two rotations, so that none is missed or met twice
// however they are renamed afterwards. What is asked for is cut out first (tail: files from the newest back until there
// are enough records), then streamed, then, when following, awaited with inotify on the container's directory:
// that sees growth and rotation alike. The end of the run is awaited through an ordinary waiter registered
// before the first read, so that no last line is missed: the shim writes every byte before it tells of the
// exit, and after the exit one more read goes to the end of the file.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BLOCK = 65536, RECORD_MAX_BYTES = 2 << 20, FRAMES_MAX = 32768 };

struct log_stream {
    const struct container_log_query *query;
    struct writer to;
    enum log_format format;
    bool has_tty;
    bool is_past_until;
    const char *path;
    int fd; // current file, FD_NONE: not there yet
    struct log_files
        later; // files that came after it, the newest first; held so that they cannot fall off the end
    size_t later_max;
    struct str rest; // of a line not yet complete
    struct log_record record;
    struct str frames; // made and not sent yet
};

static int send_frames(struct log_stream *s)
{
    int r = s->frames.len ? s->to.write(s->to.context, s->frames.ptr, s->frames.len) : 0;
    str_clear(&s->frames);
    return r;
}

// 0, or -errno of the writer.
static int emit(struct log_stream *s, const struct log_record *r)
{
    const struct container_log_query *q = s->query;
    char time[TIME_TEXT_MAX];
    if (q->until_ns && r->time_ns > q->until_ns) {
        s->is_past_until = true;
        return 0;
    }
    bool is_wanted = r->stream == LOG_READER_STDERR && !s->has_tty ? q->wants_stderr : q->wants_stdout;
    if (!is_wanted || r->time_ns < q->since_ns)
        return 0;
    size_t begin = s->frames.len, head = s->has_tty || q->is_raw ? 0 : 8;
    str_append_n(&s->frames, "\0\0\0\0\0\0\0\0", head);
    if (q->wants_timestamps) {
        time_format_rfc3339_fixed(r->time_ns, time);
        str_appendf(&s->frames, "%s ", time);
    }
    if (q->wants_details)
        str_appendf(&s->frames, "%s ", r->details.ptr);
    str_append_n(&s->frames, r->text.ptr, r->text.len);
    if (head) {
        size_t n = s->frames.len - begin - head;
        s->frames.ptr[begin] = (char)r->stream;
        for (int i = 0; i < 4; i++)
            s->frames.ptr[begin + 4 + (size_t)i] = (char)(n >> (24 - 8 * i));
    }
    return s->frames.len < FRAMES_MAX ? 0 : send_frames(s);
}

// Every complete record of n bytes; `skip` of them are passed over first.
static int emit_records(struct log_stream *s, const char *bytes, size_t n, int64_t *skip, size_t *ret_used)
{
    size_t at = 0, used = 1;
    while (!s->is_past_until && used > 0 && at < n) {
        bool is_record = false;
        if (*skip > 0) {
            used = log_record_skip(s->format, bytes + at, n - at);
            *skip -= used > 0;
        } else {
            used = log_record_take(s->format, bytes + at, n - at, &s->record, &is_record);
        }
        at += used;
        int r = is_record ? emit(s, &s->record) : 0;
        if (r < 0)
            return r;
    }
    *ret_used = at;
    return send_frames(s);
}

// The next piece of a file went to s->rest: emit what is complete, keep what is not.
static int emit_rest(struct log_stream *s, int64_t *skip)
{
    size_t used;
    int r = emit_records(s, s->rest.ptr, s->rest.len, skip, &used);
    if (r < 0)
        return r;
    str_consume(&s->rest, used);
    if (s->rest.len > RECORD_MAX_BYTES) // no record is that long: what this is, is not a log
        str_clear(&s->rest);
    return 0;
}

static int hold_later(struct log_stream *s);

// Everything from the current file's position to its end.
static int drain(struct log_stream *s)
{
    int64_t skip = 0;
    int r = 0;
    while (s->fd >= 0 && !s->is_past_until && r == 0) {
        char *to = str_reserve(&s->rest, READ_BLOCK);
        ssize_t n = read(s->fd, to, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        str_added(&s->rest, (size_t)n);
        if ((r = emit_rest(s, &skip)) == 0 && s->later_max > 0)
            r = hold_later(s);
    }
    return r;
}

// --- the past

// A rotated file, without its first `skip` records.
static int emit_rotated(struct log_stream *s, struct log_file_source *source, int64_t skip)
{
    ssize_t n;
    int r = 0;
    str_clear(&s->rest);
    do {
        char *to = str_reserve(&s->rest, READ_BLOCK);
        if ((n = log_file_source_read(source, to, READ_BLOCK)) <= 0)
            break;
        str_added(&s->rest, (size_t)n);
        if ((r = emit_rest(s, &skip)) == 0 && s->later_max > 0)
            r = hold_later(s);
    } while (r == 0 && !s->is_past_until);
    str_clear(&s->rest);
    return n < 0 ? (int)n : r;
}

static int64_t count_records(struct log_stream *s, struct log_file_source *source)
{
    CLEANUP(str_done) struct str rest = STR_INIT;
    int64_t count = 0;
    for (;;) {
        char *to = str_reserve(&rest, READ_BLOCK);
        ssize_t n = log_file_source_read(source, to, READ_BLOCK);
        if (n <= 0)
            return n < 0 ? n : count;
        str_added(&rest, (size_t)n);
        size_t at = 0, used;
        for (; (used = log_record_skip(s->format, rest.ptr + at, rest.len - at)) > 0; at += used)
            count++;
        str_consume(&rest, at);
    }
}

// Rotated files files->items[newest..oldest], read from the oldest on; `missing` records of them are wanted (-1: all).
static int emit_all_rotated(struct log_stream *s, struct log_files *files, int64_t missing)
{
    size_t count = files->count;
    struct log_file_source **sources = xcalloc(count + 1, sizeof *sources);
    int64_t skip = 0;
    size_t oldest = 0;
    int r = 0;
    for (size_t i = 1; i < count && missing != 0 && r == 0; i++) {
        oldest = i;
        if (!(sources[i] = log_file_source_new(&files->items[i])))
            r = -ENOMEM;
        if (missing < 0 || r < 0)
            continue;
        int64_t records = count_records(s, sources[i]);
        r = records < 0 ? (int)records : log_file_source_rewind(sources[i]);
        skip = records > missing ? records - missing : 0;
        missing -= records > missing ? missing : records;
    }
    for (size_t i = oldest; i >= 1 && r == 0 && !s->is_past_until; i--, skip = 0)
        r = emit_rotated(s, sources[i], skip);
    for (size_t i = 0; i < count; i++)
        log_file_source_free(sources[i]);
    free(sources);
    return r;
}

static int emit_past(struct log_stream *s, const char *path)
{
    CLEANUP(log_files_done) struct log_files files;
    int64_t tail = s->query->tail, found = 0;
    int r = log_files_open(path, 0, &files);
    if (r < 0 || files.count == 0)
        return r;
    s->fd = TAKE_FD(files.items[0].fd);
    if (tail >= 0) {
        off_t offset = log_tail_offset(s->format, s->fd, tail, &found);
        if (offset < 0)
            return (int)offset;
        if (lseek(s->fd, offset, SEEK_SET) < 0)
            return -errno;
    }
    r = emit_all_rotated(s, &files, tail < 0 ? -1 : tail - found);
    return r < 0 ? r : drain(s);
}

// --- the future

// Identity of the newest file that we have.
static uint64_t newest_identity(const struct log_stream *s)
{
    struct stat st;
    if (s->later.count > 0)
        return s->later.items[0].identity;
    return s->fd >= 0 && fstat(s->fd, &st) == 0 ? st.st_ino : 0;
}

// Is the file at path another one than the newest of ours? Then take what has come since into s->later. Ours cannot be missed in
// the set: as long as we hold it, no other file has its inode number. If it has fallen off the end, all that is left is
// newer. No more than later_max are held, so that a slow reader at most doubles the space a log takes.
static int hold_later(struct log_stream *s)
{
    struct stat there;
    uint64_t newest = newest_identity(s);
    if (s->later.count >= s->later_max || stat(s->path, &there) < 0 || there.st_ino == newest)
        return 0;
    CLEANUP(log_files_done) struct log_files files;
    int r = log_files_open(s->path, newest, &files);
    if (r < 0)
        return r;
    size_t at = files.count;
    struct log_files all = { .items = xcalloc(at + s->later.count + 1, sizeof *all.items),
                             .count = at + s->later.count };
    for (size_t i = 0; i < all.count; i++) {
        all.items[i] = i < at ? files.items[i] : s->later.items[i - at];
        if (i < at)
            files.items[i].fd = FD_NONE;
    }
    free(s->later.items);
    s->later = all;
    return 0;
}

// While there is a later file, ours is complete: read it to its end and go over to the next.
static int follow_rotation(struct log_stream *s)
{
    int r = hold_later(s);
    while (r == 0 && s->later.count > 0 && (r = drain(s)) == 0) {
        struct log_file_open *next = &s->later.items[--s->later.count];
        fd_close(s->fd);
        s->fd = FD_NONE;
        str_clear(&s->rest);
        if (next->is_compressed) {
            struct log_file_source *source = log_file_source_new(next);
            r = source ? emit_rotated(s, source, 0) : -ENOMEM;
            log_file_source_free(source);
        } else {
            s->fd = TAKE_FD(next->fd);
        }
        if (r == 0)
            r = hold_later(s);
    }
    return r;
}

static int poll_timeout_ms(const struct container_log_query *q)
{
    if (!q->until_ns)
        return -1;
    int64_t left = q->until_ns - time_now_ns();
    return left <= 0 ? 0 : left / NS_PER_MS > 3600000 ? 3600000 : (int)(left / NS_PER_MS) + 1;
}

static int follow(struct log_stream *s, int notify_fd, int waiter_fd, int cancel_fd)
{
    char ignored[4096];
    struct pollfd fds[3] = { { .fd = notify_fd, .events = POLLIN },
                             { .fd = waiter_fd, .events = POLLIN },
                             { .fd = cancel_fd, .events = POLLIN | POLLRDHUP } };
    for (bool is_over = false;;) {
        int r = drain(s);
        if (r < 0)
            return r;
        if ((r = follow_rotation(s)) < 0 || (r = drain(s)) < 0 || is_over || s->is_past_until ||
            (s->query->until_ns && time_now_ns() >= s->query->until_ns))
            return r;
        r = poll(fds, cancel_fd >= 0 ? 3 : 2, poll_timeout_ms(s->query));
        if (r < 0 && errno != EINTR)
            return -errno;
        if (cancel_fd >= 0 && fds[2].revents)
            return 0;
        is_over = fds[1].revents != 0;
        while (fds[0].revents && read(notify_fd, ignored, sizeof ignored) > 0)
            ;
    }
}

static int follow_container(struct log_stream *s, struct container *c, int cancel_fd,
                            struct container_waiter *waiter)
{
    CLEANUP(cleanup_close) int notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (notify_fd < 0 || inotify_add_watch(notify_fd, c->directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
        return -errno;
    return follow(s, notify_fd, container_waiter_fd(waiter), cancel_fd);
}

int container_logs(struct container_service *service, const char *name,
                   const struct container_log_query *query, int cancel_fd, struct writer to,
                   struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(service, name, &c, err) < 0)
        return -1;
    if (!query->wants_stdout && !query->wants_stderr)
        return error_set(err, ERROR_INVALID, "Bad parameters: you must choose at least one stream");
    enum shim_log_driver driver = c->config.log.driver;
    if (driver != SHIM_LOG_JSON_FILE && driver != SHIM_LOG_LOCAL)
        return error_set(err, ERROR_UNSUPPORTED, "configured logging driver does not support reading");
    struct container_waiter *waiter = NULL;
    bool is_following = false;
    if (query->wants_follow) {
        struct error gone;
        if (container_wait_begin(service, c->id, CONTAINER_WAIT_NEXT_EXIT, &waiter, &gone) == 0)
            is_following = container_is_running(c);
    }
    struct log_stream s = { .query = query, .to = to, .has_tty = c->config.has_tty };
    s.rest = s.frames = s.record.text = s.record.details = STR_INIT;
    s.format = driver == SHIM_LOG_LOCAL ? LOG_FORMAT_LOCAL : LOG_FORMAT_JSON;
    s.path = c->config.log.path;
    s.later_max = is_following ? (size_t)c->config.log.max_files + 1 : 0;
    s.fd = FD_NONE;
    int r = emit_past(&s, c->config.log.path);
    if (r == 0 && is_following && !s.is_past_until)
        r = follow_container(&s, c, cancel_fd, waiter);
    if (waiter)
        container_waiter_free(waiter);
    fd_close(s.fd);
    log_files_done(&s.later);
    str_done(&s.rest);
    str_done(&s.frames);
    log_record_done(&s.record);
    if (r < 0 && r != -EPIPE && r != -ECONNRESET) // a client that went away is no error
        return error_errno(err, r, "read logs of container %s", name);
    return 0;
}

int container_logs_clear(struct container_service *service, const char *name, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(service, name, &c, err) < 0)
        return -1;
    if (c->config.log.driver != SHIM_LOG_JSON_FILE && c->config.log.driver != SHIM_LOG_LOCAL)
        return error_set(err, ERROR_UNSUPPORTED, "configured logging driver does not support clearing");
    int r = log_files_remove(c->config.log.path);
    if (r < 0)
        return error_errno(err, r, "clear logs of container %s", name);
    const struct shim_message reopen = { .type = SHIM_LOGS };
    if (!container_is_running(c))
        return 0;
    r = shim_call(c->socket_path, &reopen, NULL, 0, NULL, err);
    return r < 0 && err->kind == ERROR_NOT_FOUND ? 0 : r; // it has just ended
}

json_t *container_log_driver_names(void)
{
    return config_log_driver_names();
}
