#include "cmd/daemon_listen.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128, GROUP_BUFFER = 16384 };

// -1: no such group.
static int find_group(const char *name)
{
    CLEANUP(cleanup_free) char *buffer = xmalloc(GROUP_BUFFER);
    struct group group, *found = NULL;
    uint32_t number;
    if (getgrnam_r(name, &group, buffer, GROUP_BUFFER, &found) == 0 && found)
        return (int)found->gr_gid;
    return parse_u32(name, INT32_MAX, &number) ? (int)number : -1;
}

static int make_parent(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == path)
        return 0;
    CLEANUP(cleanup_free) char *parent = xstrndup(path, (size_t)(slash - path));
    int r = dir_make_all(parent, 0711);
    return r < 0 ? error_errno(err, r, "make %s", parent) : 0;
}

// Only a socket nobody listens on is in the way and of no use.
static int clear_way(const struct sockaddr_un *address, struct error *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERROR_CONFLICT, "%s is there and not a socket", address->sun_path);
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return error_set(err, ERROR_CONFLICT, "another engine listens at %s", address->sun_path);
    return unlink(address->sun_path) < 0 ? error_errno(err, errno, "remove %s", address->sun_path) : 0;
}

static int listen_unix(const char *path, const char *group, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_INVALID, "socket path %s is longer than %zu bytes", path,
                         sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (make_parent(path, err) < 0 || clear_way(&address, err) < 0)
        return -1;
    int gid = group ? find_group(group) : find_group("skiff");
    if (group && gid < 0)
        return error_set(err, ERROR_NOT_FOUND, "group %s does not exist", group);
    if (gid < 0)
        gid = find_group("docker");
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, errno, "socket");
    // The mode is on the descriptor before bind gives it a name, so that there is no moment when others can
    // connect.
    if (fchmod(fd, 0660) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return error_errno(err, errno, "bind %s", path);
    if (chmod(path, 0660) < 0 || chown(path, 0, gid < 0 ? 0 : (gid_t)gid) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, errno, "listen at %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int listen_tcp(const char *text, int *ret_fd, struct error *err)
{
    CLEANUP(cleanup_free) char *host = xstrndup(text, strcspn(text, "/"));
    char *port = strrchr(host, ':'), *bracket = strrchr(host, ']');
    const char *name = host;
    if (port && bracket && port < bracket)
        port = NULL;
    if (port)
        *port++ = 0;
    if (*host == '[' && bracket) {
        *bracket = 0;
        name = host + 1;
    }
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
    int r = getaddrinfo(*name ? name : "127.0.0.1", port && *port ? port : "2375", &hints, &list);
    if (r != 0)
        return error_set(err, ERROR_INVALID, "listen at tcp://%s: %s", text, gai_strerror(r));
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        error_errno(err, errno, "listen at tcp://%s", text);
        fd = fd_close(fd);
    }
    freeaddrinfo(list);
    if (fd < 0)
        return -1;
    *ret_fd = fd;
    return 0;
}

int daemon_listen(const char *address, const char *group, int *ret_fd, struct error *err)
{
    if (strncmp(address, "unix://", 7) == 0)
        return listen_unix(address + 7, group, ret_fd, err);
    return listen_tcp(address + strlen("tcp://"), ret_fd, err);
}

void daemon_unlisten(const char *address)
{
    if (strncmp(address, "unix://", 7) == 0)
        (void)unlink(address + 7);
}

// A skiffd that has not ended: a zombie keeps its name until somebody waits for it.
static bool is_skiffd(pid_t pid)
{
    char path[64];
    CLEANUP(str_done) struct str text = STR_INIT;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read_at(AT_FDCWD, path, 4096, &text) < 0)
        return false;
    const char *name = strchr(text.ptr, '('), *state = strrchr(text.ptr, ')');
    return name && state && str_has_prefix(name, "(skiffd)") && state[1] == ' ' && !strchr("ZX", state[2]);
}

int daemon_pidfile_write(const char *path, struct error *err)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    uint32_t pid;
    if (make_parent(path, err) < 0)
        return -1;
    if (file_read_at(AT_FDCWD, path, 64, &text) == 0) {
        text.ptr[strcspn(text.ptr, "\n")] = 0;
        if (parse_u32(text.ptr, INT32_MAX, &pid) && (pid_t)pid != getpid() && is_skiffd((pid_t)pid))
            return error_set(err, ERROR_CONFLICT, "process with PID %u is still running (pid file %s)", pid,
                             path);
    }
    str_clear(&text);
    str_appendf(&text, "%d\n", (int)getpid());
    int r = file_replace_at(AT_FDCWD, path, 0644, text.ptr, text.len, false);
    return r < 0 ? error_errno(err, r, "write pid file %s", path) : 0;
}

void daemon_pidfile_remove(const char *path)
{
    (void)unlink(path);
}
