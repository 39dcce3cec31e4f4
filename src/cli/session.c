// Theory of operation
//
// One poll loop over the connection, standard input and a signalfd. Output is written as it comes (blocking:
// a slow reader slows the container, as it should). Input is read only while nothing is waiting to be sent,
// and sent without blocking, so that a container that fills its output while we fill its input cannot stop us
// both. The terminal is raw only between session_begin and session_done; an atexit handler and the signals
// that would end the process put it back.
#include "cli/session.h"

#include "base/fd.h"
#include "base/mem.h"
#include "cli/frames.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

static struct termios cooked; // what the terminal was; valid while is_terminal_raw
static bool is_terminal_raw;

static void restore_terminal(void)
{
    if (is_terminal_raw)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
    is_terminal_raw = false;
}

bool terminal_is(int fd)
{
    return isatty(fd) == 1;
}

bool terminal_size(unsigned *rows, unsigned *columns)
{
    struct winsize size;
    if ((ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0) ||
        !size.ws_row)
        return false;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return true;
}

static int key_of(const char *name)
{
    if (strlen(name) == 1)
        return (unsigned char)name[0];
    if (strncasecmp(name, "ctrl-", 5) != 0 || strlen(name) != 6)
        return -1;
    char c = name[5];
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 1;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 1;
    const char *at = strchr("@[\\]^_", c);
    static const unsigned char codes[] = { 0, 27, 28, 29, 30, 31 };
    return at ? codes[at - "@[\\]^_"] : -1;
}

int detach_keys_parse(const char *text, struct detach_keys *ret, struct error *err)
{
    char **names CLEANUP(strv_freep) = strv_split(str_is_empty(text) ? "ctrl-p,ctrl-q" : text, ",", true);
    *ret = (struct detach_keys){ 0 };
    for (size_t i = 0; names && names[i]; i++) {
        int key = key_of(names[i]);
        if (key < 0 || ret->count == sizeof ret->keys)
            return error_set(err, ERROR_INVALID, "invalid detach keys (%s): Unknown character: '%s'", text,
                             names[i]);
        ret->keys[ret->count++] = (unsigned char)key;
    }
    return 0;
}

bool detach_keys_filter(struct detach_keys *keys, const unsigned char *bytes, size_t n, struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        if (keys->count && bytes[i] == keys->keys[keys->matched]) {
            if (++keys->matched == keys->count)
                return true;
            continue;
        }
        str_append_n(out, keys->keys, keys->matched);
        keys->matched = keys->count && bytes[i] == keys->keys[0] ? 1 : 0;
        if (keys->matched == 0)
            str_append_char(out, (char)bytes[i]);
    }
    return false;
}

void session_init(struct session *s, struct cli *cli)
{
    *s = (struct session){ .cli = cli, .fd = FD_NONE, .leading = STR_INIT, .signal_fd = FD_NONE };
}

// Without a terminal: all that can be passed on. With one: a new size, and what would end us with the
// terminal raw.
static void collect_signals(struct session *s)
{
    static const int never[] = { SIGCHLD, SIGPIPE, SIGURG, SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
                                 SIGABRT, SIGTRAP, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU };
    sigset_t set;
    if (s->is_tty) {
        sigemptyset(&set);
        sigaddset(&set, SIGWINCH);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGINT);
    } else if (s->proxies_signals) {
        sigfillset(&set);
        for (size_t i = 0; i < sizeof never / sizeof *never; i++)
            sigdelset(&set, never[i]);
    } else {
        return;
    }
    sigprocmask(SIG_BLOCK, &set, &s->old_mask);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void session_begin(struct session *s)
{
    collect_signals(s);
    if (!s->is_tty || !s->sends_stdin || !terminal_is(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &cooked) < 0)
        return;
    struct termios raw = cooked;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) {
        is_terminal_raw = s->is_raw = true;
        atexit(restore_terminal);
    }
}

void session_resize(struct session *s)
{
    unsigned rows, columns;
    struct error ignored;
    if (!s->resize_path || !terminal_size(&rows, &columns))
        return;
    char *target CLEANUP(cleanup_free) = xasprintf("%s?h=%u&w=%u", s->resize_path, rows, columns);
    (void)cli_call(s->cli, "POST", target, NULL, NULL, &ignored); // the process may have ended meanwhile
}

static void proxy_signal(struct session *s, int number)
{
    const char *name = sigabbrev_np(number);
    struct error err;
    char digits[16];
    if (!s->kill_path || number == SIGWINCH)
        return;
    snprintf(digits, sizeof digits, "%d", number);
    char *target CLEANUP(cleanup_free) = xasprintf("%s?signal=%s", s->kill_path, name ? name : digits);
    (void)cli_call(s->cli, "POST", target, NULL, NULL, &err); // it may have ended meanwhile
}

static void take_signals(struct session *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        if (!s->is_tty) {
            proxy_signal(s, number);
        } else if (number == SIGWINCH) {
            session_resize(s);
        } else { // meant for this program: end by it, with the terminal as it was
            restore_terminal();
            sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
            raise(number);
        }
    }
}

// Streams the session does not show are read and dropped. frames_show has no context, so the choice is by
// function.
static int show_stdout_only(int stream, const char *bytes, size_t n)
{
    return stream == 2 ? 0 : frames_write(stream, bytes, n);
}

static int show_stderr_only(int stream, const char *bytes, size_t n)
{
    return stream == 2 ? frames_write(stream, bytes, n) : 0;
}

static int show_output(const struct session *s, struct frames *f, const char *bytes, size_t n)
{
    if (s->is_tty)
        return frames_write(1, bytes, n);
    return frames_show(f, bytes, n,
                       s->shows_stdout == s->shows_stderr ? frames_write
                       : s->shows_stdout                  ? show_stdout_only
                                                          : show_stderr_only);
}

struct input {
    struct str pending; // read, not yet sent
    bool is_open, has_ended;
};

static void input_done(struct input *in)
{
    str_done(&in->pending);
}

static void read_input(struct session *s, struct input *in)
{
    unsigned char bytes[16384];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        in->is_open = false;
        in->has_ended = true;
        return;
    }
    if (!s->is_tty)
        str_append_n(&in->pending, bytes, (size_t)n);
    else if (detach_keys_filter(&s->detach, bytes, (size_t)n, &in->pending))
        s->is_detached = true;
}

static void send_input(struct session *s, struct input *in)
{
    ssize_t n =
        in->pending.len ? send(s->fd, in->pending.ptr, in->pending.len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN &&
        errno != EINTR) { // the container's side is closed: nothing more can be told
        str_clear(&in->pending);
        in->is_open = in->has_ended = false;
        return;
    }
    if (n > 0)
        str_consume(&in->pending, (size_t)n);
    if (in->has_ended && in->pending.len == 0) {
        (void)shutdown(s->fd, SHUT_WR);
        in->has_ended = false;
    }
}

// 1: go on, 0: the stream ended, -errno.
static int read_output(struct session *s, struct frames *frames)
{
    char bytes[32768];
    ssize_t n = read(s->fd, bytes, sizeof bytes);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 1 : 0; // a reset connection has nothing more to say
    if (n == 0)
        return 0;
    int r = show_output(s, frames, bytes, (size_t)n);
    return r < 0 ? r : 1;
}

int session_run(struct session *s, struct error *err)
{
    struct frames frames = { 0 };
    struct input in CLEANUP(input_done) = { .pending = STR_INIT, .is_open = s->sends_stdin };
    int r = show_output(s, &frames, s->leading.ptr, s->leading.len);
    while (r >= 0 && !s->is_detached) {
        struct pollfd fds[] = {
            { s->fd, (short)(POLLIN | (in.pending.len ? POLLOUT : 0)), 0 },
            { in.is_open && in.pending.len == 0 ? STDIN_FILENO : -1, POLLIN, 0 },
            { s->signal_fd >= 0 ? s->signal_fd : -1, POLLIN, 0 },
        };
        if (poll(fds, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return error_errno(err, errno, "poll");
        }
        if (fds[2].revents)
            take_signals(s);
        if (fds[1].revents)
            read_input(s, &in);
        if (in.pending.len || in.has_ended)
            send_input(s, &in);
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            r = read_output(s, &frames);
            if (r == 0)
                return 0;
        }
    }
    return r < 0 ? error_errno(err, r, "write output") : 0;
}

void session_wait_readable(struct session *s, int fd)
{
    if (s->signal_fd < 0)
        return; // the read that follows waits by itself
    for (;;) {
        struct pollfd fds[] = { { fd, POLLIN, 0 }, { s->signal_fd, POLLIN, 0 } };
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            take_signals(s);
        if (fds[0].revents)
            return;
    }
}

void session_done(struct session *s)
{
    if (s->is_raw)
        restore_terminal();
    if (s->signal_fd >= 0) {
        s->signal_fd = fd_close(s->signal_fd);
        sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    }
    s->fd = fd_close(s->fd);
    str_done(&s->leading);
    free(s->kill_path);
    free(s->resize_path);
    s->kill_path = s->resize_path = NULL;
}
