// Theory of operation. The shim writes the log; we only read it, so a follower can be lost or slow without
// any harm to the container. What is asked for is cut out first (tail: files from the newest back until there
// are enough lines), then streamed, then, when following, awaited with inotify on the container's directory:
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

enum { READ_BLOCK = 65536, LINE_MAX_BYTES = 1 << 20, ROTATED_MAX_BYTES = 256 << 20 };

struct log_stream {
    const struct container_log_query *query;
    struct writer to;
    bool has_tty;
    bool is_past_until;
    int fd;          // current file, FD_NONE: not there yet
    struct str rest; // of a line not yet complete
    struct log_record record;
    struct str frame;
};

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
    str_clear(&s->frame);
    if (!s->has_tty)
        str_append_n(&s->frame, "\0\0\0\0\0\0\0\0", 8);
    if (q->wants_timestamps) {
        time_format_rfc3339_fixed(r->time_ns, time);
        str_appendf(&s->frame, "%s ", time);
    }
    if (q->wants_details)
        str_appendf(&s->frame, "%s ", r->details.ptr);
    str_append_n(&s->frame, r->text.ptr, r->text.len);
    if (!s->has_tty) {
        size_t n = s->frame.len - 8;
        s->frame.ptr[0] = (char)r->stream;
        for (int i = 0; i < 4; i++)
            s->frame.ptr[4 + i] = (char)(n >> (24 - 8 * i));
    }
    return s->to.write(s->to.context, s->frame.ptr, s->frame.len);
}

static int emit_lines(struct log_stream *s, const char *text, size_t n, size_t *ret_used)
{
    size_t at = 0;
    for (const char *newline; !s->is_past_until && (newline = memchr(text + at, '\n', n - at));
         at = (size_t)(newline - text) + 1) {
        if (!log_record_parse(text + at, (size_t)(newline - text) - at, &s->record))
            continue;
        int r = emit(s, &s->record);
        if (r < 0)
            return r;
    }
    *ret_used = at;
    return 0;
}

// Everything from the file's position to its end.
static int drain(struct log_stream *s)
{
    while (s->fd >= 0 && !s->is_past_until) {
        char *to = str_reserve(&s->rest, READ_BLOCK);
        ssize_t n = read(s->fd, to, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        str_added(&s->rest, (size_t)n);
        size_t used;
        int r = emit_lines(s, s->rest.ptr, s->rest.len, &used);
        if (r < 0)
            return r;
        str_consume(&s->rest, used);
        if (s->rest.len > LINE_MAX_BYTES) // no record is that long: what this is, is not a log
            str_clear(&s->rest);
    }
    return 0;
}

// --- the past
static int emit_rotated(struct log_stream *s, const char *path, int64_t tail)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    int64_t lines;
    size_t used;
    int r = log_read_rotated(path, ROTATED_MAX_BYTES, &text);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    size_t from = tail < 0 ? 0 : log_tail_in_memory(text.ptr, text.len, tail, &lines);
    return emit_lines(s, text.ptr + from, text.len - from, &used);
}

// How many lines of each rotated file belong to the tail; -1: all.
static int64_t *rotated_tails(char *const *rotated, int64_t missing)
{
    size_t n = strv_len(rotated);
    int64_t *tails = xcalloc(n + 1, sizeof *tails);
    for (size_t i = n; i > 0 && missing > 0; i--) {
        CLEANUP(str_done) struct str text = STR_INIT;
        if (log_read_rotated(rotated[i - 1], ROTATED_MAX_BYTES, &text) == 0)
            log_tail_in_memory(text.ptr, text.len, missing, &tails[i - 1]);
        missing -= tails[i - 1];
    }
    return tails;
}

static int emit_past(struct log_stream *s, const char *path)
{
    int64_t tail = s->query->tail, found = 0;
    int r = 0;
    CLEANUP(strv_freep) char **rotated = log_rotated_files(path);
    if (tail >= 0 && s->fd >= 0) {
        off_t offset = log_tail_offset(s->fd, tail, &found);
        if (offset < 0)
            return (int)offset;
        if (lseek(s->fd, offset, SEEK_SET) < 0)
            return -errno;
    }
    CLEANUP(cleanup_free) int64_t *tails = tail >= 0 ? rotated_tails(rotated, tail - found) : NULL;
    for (size_t i = 0; r == 0 && rotated && rotated[i] && !s->is_past_until; i++)
        if (!tails || tails[i] > 0)
            r = emit_rotated(s, rotated[i], tails ? tails[i] : -1);
    return r < 0 ? r : drain(s);
}

// --- the future

// The
// file at path is another one than ours: go over to it.
static void follow_rotation(struct log_stream *s, const char *path)
{
    struct stat ours, there;
    if (stat(path, &there) < 0 || (s->fd >= 0 && fstat(s->fd, &ours) == 0 && ours.st_ino == there.st_ino))
        return;
    fd_close(s->fd);
    str_clear(&s->rest);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static int poll_timeout_ms(const struct container_log_query *q)
{
    if (!q->until_ns)
        return -1;
    int64_t left = q->until_ns - time_now_ns();
    return left <= 0 ? 0 : left / NS_PER_MS > 3600000 ? 3600000 : (int)(left / NS_PER_MS) + 1;
}

static int follow(struct log_stream *s, struct container *c, int notify_fd, int waiter_fd, int cancel_fd)
{
    char ignored[4096];
    struct pollfd fds[3] = { { .fd = notify_fd, .events = POLLIN },
                             { .fd = waiter_fd, .events = POLLIN },
                             { .fd = cancel_fd, .events = POLLIN | POLLRDHUP } };
    for (bool is_over = false;;) {
        int r = drain(s);
        if (r < 0)
            return r;
        follow_rotation(s, c->config.log.path);
        if ((r = drain(s)) < 0 || is_over || s->is_past_until ||
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
    return follow(s, c, notify_fd, container_waiter_fd(waiter), cancel_fd);
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
    if (c->config.log.driver == SHIM_LOG_NONE)
        return error_set(err, ERROR_UNSUPPORTED, "configured logging driver does not support reading");
    struct container_waiter *waiter = NULL;
    bool is_following = false;
    if (query->wants_follow) {
        struct error gone;
        if (container_wait_begin(service, c->id, CONTAINER_WAIT_NEXT_EXIT, &waiter, &gone) == 0)
            is_following = container_is_running(c);
    }
    struct log_stream s = { .query = query, .to = to, .has_tty = c->config.has_tty };
    s.rest = s.frame = s.record.text = s.record.details = STR_INIT;
    s.fd = open(c->config.log.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = emit_past(&s, c->config.log.path);
    if (r == 0 && is_following && !s.is_past_until)
        r = follow_container(&s, c, cancel_fd, waiter);
    if (waiter)
        container_waiter_free(waiter);
    fd_close(s.fd);
    str_done(&s.rest);
    str_done(&s.frame);
    log_record_done(&s.record);
    if (r < 0 && r != -EPIPE && r != -ECONNRESET) // a client that went away is no error
        return error_errno(err, r, "read logs of container %s", name);
    return 0;
}
