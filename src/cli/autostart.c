// The daily form: `skiff run ...` as root on a machine where no engine runs starts one, and says so. Only at
// the default address: an address that somebody named is never second-guessed.
#include "cli/cli.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_PATH "/run/skiff/skiffd.log"

enum { START_DEADLINE_MS = 15000, RETRY_MS = 5 };

// skiffd beside this program, else by PATH.
static char *engine_path(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        char *beside = xasprintf("%.*s/skiffd", (int)(slash ? slash - self : 0), self);
        if (access(beside, X_OK) == 0)
            return beside;
        free(beside);
    }
    return xstrdup("skiffd");
}

static int spawn_engine(pid_t *ret_pid, struct error *err)
{
    extern char **environ;
    char *path CLEANUP(cleanup_free) = engine_path();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int r = dir_make_all("/run/skiff", 0711);
    if (r < 0)
        return error_errno(err, r, "make /run/skiff");
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, LOG_PATH, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    r = posix_spawnp(ret_pid, path, &actions, &attributes, (char *const[]){ path, NULL }, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r == 0 ? 0 : error_errno(err, r, "start %s", path);
}

static int start_engine(struct cli *cli, struct error *err)
{
    pid_t pid = -1;
    if (spawn_engine(&pid, err) < 0)
        return -1;
    int64_t deadline = time_monotonic_ns() + START_DEADLINE_MS * NS_PER_MS;
    for (bool runs = true;;) {
        struct error ignored;
        if (client_connect(&cli->client, &ignored) == 0)
            break;
        if (!runs || time_monotonic_ns() > deadline)
            return error_set(err, ERROR_UNAVAILABLE, "skiffd %s, see %s",
                             runs ? "was started but does not answer" : "could not be started", LOG_PATH);
        runs = waitpid(pid, NULL, WNOHANG) ==
               0; // it may have lost to another one: connect once more before giving up
        (void)poll(NULL, 0, RETRY_MS);
    }
    cli_complain("skiff: started skiffd (pid %d), log %s", (int)pid, LOG_PATH);
    return 0;
}

int cli_connect(struct cli *cli, struct error *err)
{
    if (client_connect(&cli->client, err) == 0)
        return 0;
    if (!cli->client.unreachable || !cli->host_is_default || geteuid() != 0)
        return -1;
    return start_engine(cli, err);
}
