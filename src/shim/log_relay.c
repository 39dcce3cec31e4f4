// A program of its own: the monitor is static and small, and one that links a TLS library is neither.
#include "shim/log_relay.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// It stands beside us, whatever became of our own file since.
static char *program_path(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    return xasprintf("%.*s/skiff-logtls", slash ? (int)(slash - self) : 0, self);
}

static void push_option(char ***argv, const char *option, const char *value)
{
    if (!value)
        return;
    strv_push(argv, option);
    strv_push(argv, value);
}

static char **arguments(const char *program, const char *address, const struct shim_log_tls *tls)
{
    char **argv = NULL;
    const char *colon = strrchr(address, ':');
    bool is_bracketed = address[0] == '[';
    char *host CLEANUP(cleanup_free) =
        xstrndup(address + is_bracketed, (size_t)(colon - address) - 2u * is_bracketed);
    strv_push(&argv, program);
    push_option(&argv, "--host", host);
    push_option(&argv, "--port", colon + 1);
    push_option(&argv, "--name", tls->server_name);
    push_option(&argv, "--ca", tls->ca);
    push_option(&argv, "--cert", tls->cert);
    push_option(&argv, "--key", tls->key);
    if (tls->skips_verify)
        strv_push(&argv, "--skip-verify");
    return argv;
}

// Nothing of the monitor's may be open in it: clients wait for their sockets to close.
static int spawn(char *const *argv, int input)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *environment[] = { NULL };
    sigset_t none;
    pid_t pid;
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    if ((r = posix_spawnattr_init(&attributes)) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if ((r = posix_spawn_file_actions_adddup2(&actions, input, 0)) == 0 &&
        (r = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, 1, 2)) == 0 &&
        (r = posix_spawn_file_actions_addclosefrom_np(&actions, 3)) == 0)
        r = posix_spawn(&pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int log_relay_start(const char *address, const struct shim_log_tls *tls)
{
    int pair[2];
    if (!strrchr(address, ':'))
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    int ours CLEANUP(cleanup_close) = pair[0], theirs CLEANUP(cleanup_close) = pair[1];
    char *program CLEANUP(cleanup_free) = program_path();
    char **argv CLEANUP(strv_freep) = arguments(program, address, tls);
    int r = spawn(argv, theirs);
    return r < 0 ? r : TAKE_FD(ours);
}
