#include "archive/stream.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

// The deepest tree takes 500 kB of stack, and TSan some 700 kB of every thread's.
enum { STACK_SIZE = 3 << 19, PIPE_SIZE = 1 << 20 };

struct archive_stream {
    int read_fd, write_fd; // write_fd is the thread's
    int (*produce)(void *context, struct writer to, struct error *err);
    void *context; // of produce
    int fd;        // of the tree, when it is one
    const struct archive_pack *options;
    pthread_t thread;
    bool is_running;
    int result; // of the thread, with its error
    struct error error;
};

static void *write_archive(void *context)
{
    struct archive_stream *s = context;
    const struct writer to = writer_to_fd(&s->write_fd);
    sigset_t pipe_signal; // a reader that has left is told by EPIPE
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    s->result = s->produce(s->context, to, &s->error);
    if (s->result == 0) {
        int r = tar_write_end(to);
        s->result = r < 0 ? error_errno(&s->error, r, "write archive") : 0;
    }
    s->write_fd = fd_close(s->write_fd);
    return NULL;
}

static void join(struct archive_stream *s)
{
    if (s->is_running)
        pthread_join(s->thread, NULL);
    s->is_running = false;
}

static ssize_t read_archive(void *context, void *buffer, size_t n)
{
    struct archive_stream *s = context;
    for (;;) {
        ssize_t k = read(s->read_fd, buffer, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k != 0)
            return k < 0 ? -errno : k;
        join(s);
        return s->result < 0 ? -EIO : 0;
    }
}

static int start(struct archive_stream *allocated, struct archive_stream **ret, struct error *err)
{
    int pipe_fds[2];
    struct archive_stream *s CLEANUP(archive_stream_freep) = allocated;
    s->read_fd = s->write_fd = FD_NONE;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    s->read_fd = pipe_fds[0];
    s->write_fd = pipe_fds[1];
    (void)fcntl(s->read_fd, F_SETPIPE_SZ, PIPE_SIZE);
    int r = thread_start(&s->thread, STACK_SIZE, write_archive, s);
    if (r < 0)
        return error_errno(err, r, "start a thread");
    s->is_running = true;
    *ret = TAKE_PTR(s);
    return 0;
}

int archive_stream_start(int (*produce)(void *context, struct writer to, struct error *err), void *context,
                         struct archive_stream **ret, struct error *err)
{
    struct archive_stream *s = NEW(struct archive_stream);
    s->produce = produce;
    s->context = context;
    return start(s, ret, err);
}

static int produce_tree(void *context, struct writer to, struct error *err)
{
    const struct archive_stream *s = context;
    return archive_pack(s->fd, s->options, to, err);
}

int archive_stream_new(int fd, const struct archive_pack *options, struct archive_stream **ret,
                       struct error *err)
{
    struct archive_stream *s = NEW(struct archive_stream);
    s->fd = fd;
    s->options = options;
    s->produce = produce_tree;
    s->context = s;
    return start(s, ret, err);
}

struct reader archive_stream_reader(struct archive_stream *stream)
{
    return (struct reader){ read_archive, stream };
}

int archive_stream_end(struct archive_stream *s, struct error *err)
{
    s->read_fd = fd_close(s->read_fd);
    join(s);
    if (s->result == 0 || s->error.errnum == EPIPE)
        return 0;
    *err = s->error;
    return -1;
}

void archive_stream_freep(struct archive_stream **stream)
{
    struct archive_stream *s = *stream;
    if (!s)
        return;
    struct error ignored;
    (void)archive_stream_end(s, &ignored);
    fd_close(s->write_fd);
    free(s);
}
