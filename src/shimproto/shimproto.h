// What skiffd and skiff-shim say to each other: the messages, encoded and checked in one place.
//
// Transport: a SOCK_SEQPACKET unix socket, one message a packet, at most SHIM_PACKET_MAX bytes; descriptors by SCM_RIGHTS.
// Documents that can be large (the OCI config, a process) travel as JSON in a sealed memfd. Shims outlive skiffd upgrades,
// so numbers are never reused, unknown message types are answered with SHIM_ERROR (ERROR_UNSUPPORTED), and unknown trailing
// fields are ignored.
//
// Conversation. skiffd spawns the shim with one end of a socket pair as descriptor SHIM_CONTROL_FD and sends CREATE. The
// shim answers NAMESPACES (pid known, network namespace exists) and goes on mounting while skiffd plugs the network; skiffd
// sends GO; the shim answers STARTED or ERROR and, on ERROR, cleans up and exits. From then on that socket is a subscription:
// the shim sends EXIT, OOM, EXEC_EXIT, DETACHED on it. The shim also listens at the path given in CREATE: every connection
// may send requests (one reply each) and SUBSCRIBE. After EXIT has been delivered and every reader is gone, or RELEASE, the
// shim ends; its exit record on disk stays for whoever comes later.
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SHIM_CONTROL_FD = 3, SHIM_PACKET_MAX = 8192, SHIM_FDS_MAX = 4, SHIM_PROTOCOL_VERSION = 1 };

enum shim_message_type {
    // skiffd -> shim
    SHIM_CREATE = 1, // fds: [0] document memfd (struct shim_create as JSON), [1] seccomp BPF (optional)
    SHIM_GO = 2,     // network is ready: execve
    SHIM_SIGNAL = 3, // signal number, to init, or to an exec when exec_id is set
    SHIM_ATTACH =
        4,         // fds: [0] a stream socket the shim takes over; exec_id, flags, detach keys, leading input
    SHIM_EXEC = 5, // fds: [0] document memfd (struct shim_exec as JSON), [1] seccomp BPF (optional)
    SHIM_RESIZE = 6,    // terminal rows, columns; exec_id
    SHIM_STATE = 7,     // ask for STATE_REPLY
    SHIM_SUBSCRIBE = 8, // events from now on also on this connection
    SHIM_RELEASE = 9,   // the container is being removed: end as soon as init is reaped
    SHIM_LOGS = 10,     // flush and reopen the log (rotation on request, clear)
    SHIM_UPDATE =
        11, // fds: [0] memfd with an OCI config of which only linux.resources counts: write these limits
    SHIM_CHANGE =
        12, // fds: [0] document memfd (struct shim_change as JSON): mounts and devices of the running container
    // shim -> skiffd, replies
    SHIM_OK = 100,
    SHIM_ERROR = 101,        // error kind, errno, message
    SHIM_NAMESPACES = 102,   // pid
    SHIM_STARTED = 103,      // pid, started_ns
    SHIM_STATE_REPLY = 104,  // pid, started_ns, is_running, exit code, finished_ns, oom flag
    SHIM_EXEC_STARTED = 105, // pid
    // shim -> skiffd, events
    SHIM_EXIT = 200, // exit code (128 + n for signal n), finished_ns, oom flag
    SHIM_OOM = 201,
    SHIM_EXEC_EXIT = 202, // exec_id, exit code
    SHIM_DETACHED = 203,  // exec_id: a client left by its detach keys
};

enum shim_attach_flags {
    SHIM_ATTACH_STDIN = 1,
    SHIM_ATTACH_STDOUT = 2,
    SHIM_ATTACH_STDERR = 4,
    SHIM_ATTACH_MULTIPLEX = 8, // Docker's 8-byte frame headers; without: raw bytes (terminals)
};

enum { SHIM_EXEC_ID_MAX = 65, SHIM_DETACH_KEYS_MAX = 32, SHIM_LEADING_MAX = 4096 };

// One struct for all: the type says which members count; the others are zero.
struct shim_message {
    uint32_t type;
    char exec_id[SHIM_EXEC_ID_MAX]; // "" : the container itself
    int32_t pid;
    int32_t signal;
    int32_t exit_code;
    uint32_t flags; // shim_attach_flags
    uint16_t rows, columns;
    bool is_running, was_oom_killed;
    int64_t started_ns, finished_ns;
    uint8_t detach_keys[SHIM_DETACH_KEYS_MAX];
    uint32_t detach_key_count;         // 0: the default, ctrl-p ctrl-q
    uint8_t leading[SHIM_LEADING_MAX]; // bytes of stdin that arrived with the HTTP request
    uint32_t leading_size;
    enum error_kind error_kind;
    int32_t error_errno;
    char error_message[ERROR_MESSAGE_MAX];
};

// Send one message with descriptors (borrowed). 0 or -errno (-EPIPE: the peer is gone).
int shimproto_send(int socket, const struct shim_message *message, const int *fds, size_t fd_count);
// Receive one message; descriptors arrive CLOEXEC and are the caller's; *ret_fd_count is at most SHIM_FDS_MAX.
// 1: a message, 0: the peer closed, -EPROTO: malformed (everything received is closed), else -errno.
int shimproto_receive(int socket, struct shim_message *message, int fds[static SHIM_FDS_MAX],
                      size_t *ret_fd_count);
// A listening socket at `path` (mode 0600, non-blocking; a dead socket file there is replaced) / a connection to it. Paths
// longer than sun_path are fine. The descriptor (CLOEXEC), or -errno (connect: -ENOENT, -ECONNREFUSED: nobody is there).
int shimproto_listen(const char *path);
int shimproto_connect(const char *path);
// The codec alone, for tests and fuzzing. Encoded size (<= SHIM_PACKET_MAX), or -EMSGSIZE. Decode: 0 or -EPROTO.
ssize_t shimproto_encode(const struct shim_message *message, uint8_t packet[static SHIM_PACKET_MAX]);
int shimproto_decode(const uint8_t *packet, size_t size, struct shim_message *message);

// --- documents
enum shim_log_driver {
    SHIM_LOG_JSON_FILE,
    SHIM_LOG_LOCAL,
    SHIM_LOG_NONE,
    SHIM_LOG_SYSLOG,
    SHIM_LOG_JOURNALD,
    SHIM_LOG_DRIVER_COUNT
};

// Of a syslog over TLS.
struct shim_log_tls {
    char *server_name;     // as it was given, an address too: for SNI and the certificate
    char *ca, *cert, *key; // files of the host, absolute; or NULL
    bool skips_verify;
};

struct shim_log_options {
    enum shim_log_driver driver;
    char *path;             // absolute: <container dir>/<id>-json.log
    int64_t max_size_bytes; // rotate past this; -1: unbounded
    int max_files;          // files kept in all, >= 1
    bool wants_compression; // gzip rotated files
    char *attributes; // JSON object text for the "attrs" member; journald: fields as it takes them; or NULL
    // syslog and journald; NULL and 0 for the others
    char *address; // "unix:/dev/log", "udp:192.0.2.1:514", "tcp:[::1]:514", "tls:[::1]:6514": numbers only
    struct shim_log_tls tls; // of a "tls:" address
    char *tag;
    char *format; // "rfc3164", "rfc5424", "rfc5424micro"; NULL: as a local syslog has it, without host name
    int facility; // 0 to 23
    bool is_nonblocking;
    int64_t max_buffer_bytes; // of messages waiting, when is_nonblocking
};

struct shim_create {
    char *id;
    char *socket_path; // where to listen
    char *state_dir;   // where the exit record and pid go: files "pid", "exit" (see shim/record.h)
    char *cgroup_path;
    char *layers_dir; // struct runtime_rootfs
    char **lower;
    char *upper_parent;
    bool is_volatile;
    bool has_stdin;     // OpenStdin: keep a stdin pipe (false: /dev/null)
    bool is_stdin_once; // close stdin when the first attached client closes its side
    struct shim_log_options log;
    void *oci_config; // json_t *: the OCI runtime config, owned
};

struct shim_exec {
    char *exec_id;
    bool has_stdin;
    void *process; // json_t *: the OCI process, owned
};

// What a running container gets and loses (runtime.h, struct runtime_change).
struct shim_change {
    bool is_forced, is_repeated;
    char **kept;     // strv: destinations at which the container has mounts afterwards
    void *from, *to; // json_t *: OCI runtime configs, owned
};

void shim_log_options_done(struct shim_log_options *options);
void shim_create_done(struct shim_create *create);
void shim_exec_done(struct shim_exec *exec);
void shim_change_done(struct shim_change *change);
// Owned JSON text / parsed from text. ERROR_INVALID when malformed.
char *shim_create_emit(const struct shim_create *create);
int shim_create_parse(const char *text, size_t size, struct shim_create *ret, struct error *err);
char *shim_exec_emit(const struct shim_exec *exec);
int shim_exec_parse(const char *text, size_t size, struct shim_exec *ret, struct error *err);
char *shim_change_emit(const struct shim_change *change);
int shim_change_parse(const char *text, size_t size, struct shim_change *ret, struct error *err);

// The exit record (file "exit" in state_dir, replaced atomically before EXIT is sent):
// {"exitCode":0,"finishedNs":...,"oomKilled":false,"pid":...,"startedNs":...}. Missing while it runs.
struct shim_exit_record {
    int exit_code;
    pid_t pid;
    int64_t started_ns, finished_ns;
    bool was_oom_killed;
};
int shim_exit_record_write(const char *state_dir, const struct shim_exit_record *record);
// 0, -ENOENT, or -EBADMSG.
int shim_exit_record_read(const char *state_dir, struct shim_exit_record *ret);
