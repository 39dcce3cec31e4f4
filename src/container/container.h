// The container service: state machine, configuration, exec, logs. Thread-safe: each container has a lock of its own for
// operations; lists and inspects read immutable snapshots and never wait for a start, stop or removal.
//
// Documents: `config` and `host_config` are JSON as the Docker API's create call has them (Config, HostConfig); they are
// validated and turned into types once (container/config.h) and stored as given.
#pragma once

#include "base/error.h"
#include "base/event.h"
#include "base/stream.h"
#include "image/image.h"
#include "network/network.h"
#include "store/store.h"
#include "volume/volume.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct container_service;

struct container_options {
    const char *exec_root;       // sockets, pids, exit records; on a tmpfs normally
    const char *shim_program;    // absolute path of skiff-shim
    const char *cgroup_parent;   // "/skiff"
    const char *userns_mode;     // "private" (default) or "host"
    const char *seccomp_profile; // file or NULL: built in; "unconfined"
    char **cdi_directories;      // strv; where CDI device files are
    int stop_timeout_s;          // 10
    const char *init_program;    // absolute path of skiff-init
    bool has_init;               // it is process 1 of containers that do not say whether
    const char *log_driver;      // NULL: "json-file"
    char **log_options;          // strv "key=value", for containers that name no other driver
    struct event_sink events;
    struct volume_service *volumes; // borrowed; must outlive the service
};

// Opens and recovers: finds the shims of an earlier skiffd by their sockets, records what exited meanwhile, restarts what
// its policy says, removes half-made ones.
int container_service_open(struct store *store, struct image_service *images,
                           struct network_service *networks, const struct container_options *options,
                           struct container_service **ret, struct error *err);
// Stops watching; containers run on.
void container_service_close(struct container_service *containers);

enum container_status {
    CONTAINER_CREATED,
    CONTAINER_RUNNING,
    CONTAINER_PAUSED,
    CONTAINER_RESTARTING,
    CONTAINER_REMOVING,
    CONTAINER_EXITED,
    CONTAINER_DEAD,
    CONTAINER_STATUS_COUNT
};
const char *container_status_name(enum container_status status); // "created", "running", ...

// An immutable snapshot.
struct container_info {
    char id[65];
    char *name;       // without "/"
    char *image_name; // as given at create
    char image_id[DIGEST_LEN + 1];
    enum container_status status;
    pid_t pid; // 0 unless running
    int exit_code;
    bool was_oom_killed;
    char *error; // start failure, or NULL
    int64_t created_ns, started_ns, finished_ns;
    unsigned restart_count;
    char *path;  // args[0]
    char **args; // the rest, strv
    char *log_path, *hostname_path, *hosts_path, *resolv_conf_path;
    json_t *config, *host_config;       // borrowed from the snapshot
    json_t *mounts;                     // as the API shows them, with members of our own; borrowed, too
    json_t *networks;                   // EndpointsConfig by network name: what it shall be on; borrowed, too
    struct network_endpoint *endpoints; // what it has of them while it is up
    size_t endpoint_count;
    bool has_tty, has_stdin;
    bool has_readable_log; // its log driver keeps files
    char **exec_ids;       // strv of running execs
    json_t *health;        // {"Status","FailingStreak","Log"}, NULL: no health check
};
void container_info_free(struct container_info *info);
void container_info_freep(struct container_info **info);

// Everywhere `name` is a name (with or without leading "/"), a full id, or a unique id prefix.
// ERROR_NOT_FOUND "No such container: x".
int container_get(struct container_service *containers, const char *name, struct container_info **ret,
                  struct error *err);
// NULL-terminated, newest first, running only unless `all`.
struct container_info **container_list(struct container_service *containers, bool all);
void container_list_free(struct container_info **list);
void container_counts(struct container_service *containers, unsigned *ret_running, unsigned *ret_paused,
                      unsigned *ret_stopped);
// For image_options.is_in_use.
bool container_uses_image(void *service, const char *image_id, char container_id[65], bool *ret_is_running);

// name NULL or "": generated. ERROR_NOT_FOUND "No such image: x"; ERROR_CONFLICT name in Docker's words; ERROR_INVALID for
// values out of range; ERROR_UNSUPPORTED naming the option that is not yet honoured. *ret_warnings strv, owned.
int container_create(struct container_service *containers, const char *name, const json_t *config,
                     const json_t *host_config, const json_t *networking_config, char ret_id[static 65],
                     char ***ret_warnings, struct error *err);
// On a network more, or one less; while it runs, too. endpoint_config: an EndpointSettings document or NULL.
// ERROR_NOT_FOUND for the container or network; ERROR_DENIED "endpoint with name x already exists in network y",
// "container x is not connected to network y"; ERROR_INVALID; as network_reserve.
int container_connect(struct container_service *containers, const char *name, const char *network,
                      const json_t *endpoint_config, struct error *err);
int container_disconnect(struct container_service *containers, const char *name, const char *network,
                         struct error *err);
// ERROR_NOT_MODIFIED when running. Start failures keep the container with exit code 127 / 126 / 128 as Docker does.
int container_start(struct container_service *containers, const char *name, struct error *err);
// timeout_s < 0: the container's own (StopTimeout, else the service's); signal 0: its StopSignal.
int container_stop(struct container_service *containers, const char *name, int signal, int timeout_s,
                   struct error *err);
int container_restart(struct container_service *containers, const char *name, int signal, int timeout_s,
                      struct error *err);
int container_kill(struct container_service *containers, const char *name, int signal, struct error *err);
// document: as POST /containers/{id}/update has it, Resources and RestartPolicy; what is 0 or missing stays; and members of our own
// (update_wish.c; docs/update.md) for ports, devices and mounts, which change while the container runs, too: all that a request
// asks for, or nothing. Also of a container that does not run. ERROR_CONFLICT and ERROR_INVALID in Docker's words; ERROR_UNSUPPORTED names a member that cannot be changed.
// *ret_warnings strv, owned.
int container_update(struct container_service *containers, const char *name, const json_t *document,
                     char ***ret_warnings, struct error *err);
int container_pause(struct container_service *containers, const char *name, struct error *err);
int container_unpause(struct container_service *containers, const char *name, struct error *err);
int container_rename(struct container_service *containers, const char *name, const char *new_name,
                     struct error *err);
int container_resize(struct container_service *containers, const char *name, unsigned rows, unsigned columns,
                     struct error *err);
// Remove a link, named "container/alias", and not the container. ERROR_NOT_FOUND, ERROR_INVALID.
int container_unlink(struct container_service *containers, const char *name, struct error *err);
int container_remove(struct container_service *containers, const char *name, bool is_forced,
                     bool with_volumes, struct error *err);
// What it has written, and that with its image's layers. Walks its directory: slow for large ones. ERROR_NOT_FOUND.
int container_size(struct container_service *containers, const char *name, uint64_t *ret_written,
                   uint64_t *ret_all, struct error *err);
// Remove stopped ones for which keep() is false (NULL: all). Ids removed, owned strv.
int container_prune(struct container_service *containers,
                    bool (*keep)(void *context, const struct container_info *info), void *context,
                    char ***ret_ids, uint64_t *ret_bytes, struct error *err);

enum container_wait { CONTAINER_WAIT_NOT_RUNNING, CONTAINER_WAIT_NEXT_EXIT, CONTAINER_WAIT_REMOVED };
// Register interest before answering headers, so that no exit is missed: begin, then end blocks. `cancel_fd` becoming
// readable or hung up ends the wait with ERROR_CANCELLED.
struct container_waiter;
int container_wait_begin(struct container_service *containers, const char *name,
                         enum container_wait condition, struct container_waiter **ret, struct error *err);
int container_wait_end(struct container_waiter *waiter, int cancel_fd, int *ret_exit_code, struct error *err);

struct container_attach {
    bool wants_stdin, wants_stdout, wants_stderr, wants_logs, wants_stream;
    bool is_raw;             // without stream headers, as a terminal's
    const char *detach_keys; // "ctrl-p,ctrl-q" syntax, NULL: default
    const void *leading;     // stdin bytes that came with the request
    size_t leading_size;
};
// Called once everything that can be checked has been: tells the client that its stream begins, gives the socket (borrowed)
// and sets attach->leading (borrowed until container_attach returns).
typedef int container_answer(void *context, struct container_attach *attach, int *ret_socket,
                             struct error *err);
// The shim takes over a duplicate of the socket; returns at once. Works before start, too: then output from the first byte on
// arrives, because a start that comes after the answer waits for this call. ERROR_CONFLICT for a paused container.
int container_attach(struct container_service *containers, const char *name, struct container_attach *attach,
                     container_answer *answer, void *context, struct error *err);

struct container_log_query {
    bool wants_stdout, wants_stderr, wants_follow, wants_timestamps, wants_details;
    bool is_raw;                // without stream headers, as a terminal's
    int64_t since_ns, until_ns; // 0: none
    int64_t tail;               // lines; -1: all
};
// Writes Docker's stream (multiplexed frames, raw for a tty container) until the end, or the exit when following, or until
// cancel_fd hangs up.
int container_logs(struct container_service *containers, const char *name,
                   const struct container_log_query *query, int cancel_fd, struct writer to,
                   struct error *err);
// The names of the log drivers, as /info lists them: an array, owned.
json_t *container_log_driver_names(void);
// Forget the output so far: all files of the log, rotated ones as well. skiff's own. ERROR_UNSUPPORTED for drivers without files.
int container_logs_clear(struct container_service *containers, const char *name, struct error *err);
// {"Titles":[...],"Processes":[[...]]}, computed from the host's /proc, never by a program of the image.
int container_top(struct container_service *containers, const char *name, const char *ps_args, json_t **ret,
                  struct error *err);

// --- exec
// options: JSON as POST /containers/{id}/exec has it.
int container_exec_create(struct container_service *containers, const char *name, const json_t *options,
                          char ret_exec_id[static 65], struct error *err);
// Starts it; `socket` (duplicated) is taken over by the shim unless is_detached. rows/columns 0: unset.
int container_exec_start(struct container_service *containers, const char *exec_id, bool is_detached,
                         int socket, const struct container_attach *attach, unsigned rows, unsigned columns,
                         struct error *err);
// Docker's GET /exec/{id}/json document, owned.
int container_exec_inspect(struct container_service *containers, const char *exec_id, json_t **ret,
                           struct error *err);
int container_exec_resize(struct container_service *containers, const char *exec_id, unsigned rows,
                          unsigned columns, struct error *err);
bool container_exec_has_tty(struct container_service *containers, const char *exec_id);
