// What makes a process a daemon: its sockets and its pid file.
#pragma once

#include "base/error.h"

#include <stddef.h>

// Listen at "unix:///path" (mode 0660, root:group) or "tcp://host:port". group NULL: skiff or docker where there is such a group,
// else root. A dead socket file is replaced; one that answers is ERROR_CONFLICT. *ret_fd is non-blocking, the caller's.
int daemon_listen(const char *address, const char *group, int *ret_fd, struct error *err);
// Remove the socket file of a unix:// address.
void daemon_unlisten(const char *address);
// Write our pid. ERROR_CONFLICT while another skiffd that wrote it is still running.
int daemon_pidfile_write(const char *path, struct error *err);
void daemon_pidfile_remove(const char *path);
