// What the files of the monitor share: the container's processes, the clients attached to them, the
// connections.
#pragma once

#include "base/str.h"
#include "runtime/runtime.h"
#include "shim/log.h"
#include "shim/loop.h"
#include "shimproto/shimproto.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    READ_SIZE = 32 * 1024, // of a pipe, at once
    CLIENTS_MAX = 128,     // attached at one time, over all processes
    CONNECTIONS_MAX = 128,
    PROCESSES_MAX = 1024, // init and execs that have not ended
    DRAIN_MS = 100, // how long a pipe that somebody else still holds is listened to after its process ended
    DRAIN_BYTES_MAX = 1 << 20, // and how much is taken from it then without regard to slow clients
};

struct shim;
struct process;

// A client attached to a process: the socket is ours. Output that it does not take at once waits in `out`;
// while anything waits, the process's pipes are not read (back-pressure), so `out` holds no more than one
// read and its frame header.
struct client {
    struct client *next;
    struct process *process;
    struct watch watch;
    uint32_t flags; // shim_attach_flags
    struct str out;
    uint8_t detach_keys[SHIM_DETACH_KEYS_MAX];
    uint32_t detach_key_count, detach_matched; // count 0: keys mean nothing here (no terminal)
    bool is_input_closed;                      // it half-closed
    bool is_hung_up;                           // it is gone, but what it sent has not been read yet
    bool is_ending;                            // close once `out` is empty
};

// Init, or an exec. An exec exists from its first ATTACH or EXEC on, until its end is told.
struct process {
    struct process *next;
    struct shim *shim;
    char exec_id[SHIM_EXEC_ID_MAX];             // "": init
    bool has_terminal, has_stdin, closes_stdin; // closes_stdin: with the first client that closes its side
    bool is_started, is_reaped, is_told;        // told: EXIT or EXEC_EXIT went out
    pid_t pid;
    int pidfd; // owned by an exec; init's belongs to struct runtime_container
    int exit_code;
    int64_t drain_deadline_ns; // 0: not draining
    struct watch in;           // stdin pipe; unused with a terminal
    struct watch out;          // stdout pipe, or the terminal's master
    struct watch err;
    struct str pending_in; // what stdin has not taken yet; clients are not read meanwhile
    bool is_in_ending;     // close stdin once pending_in is empty
    struct client *clients;
};

// Somebody who talks the protocol to us.
struct connection {
    struct connection *next;
    struct shim *shim;
    struct watch watch;
    bool is_subscriber;
    bool is_control; // skiffd's end from before the start
};

struct shim {
    struct loop loop;
    struct shim_log log;
    struct runtime_container container;
    char *id, *socket_path, *state_dir;
    struct process init;
    struct process *execs;
    struct connection *connections;
    struct watch listener, children;
    unsigned client_count, connection_count, process_count;
    bool is_exited;                   // init's end is recorded and told
    bool is_released;                 // nobody will ask any more
    bool was_oom_killed, is_oom_told; // told: to an engine, of the last kill
    bool has_memory_limit;
    struct watch oom;   // see oom.c
    uint64_t oom_kills; // v2: that were told
    int64_t started_ns, finished_ns;
};

// --- process.c

// The
// other ends of a process's standard streams, made before it.
struct process_stdio {
    int child[3]; // FD_NONE with a terminal; ours to close after the process has been made
};
// Fills the process's watches (descriptors only). 0 or -errno.
int process_open_stdio(struct process *process, struct process_stdio *ret);
void process_close_child_ends(struct process_stdio *stdio);
// The process runs (or waits at its barrier): begin to listen to its streams. Takes terminal_fd.
void process_listen(struct process *process, int terminal_fd);
// Find init ("" ) or an exec; NULL. / Find or make an exec; NULL: too many.
struct process *process_find(struct shim *shim, const char *exec_id);
struct process *process_obtain(struct shim *shim, const char *exec_id);
// Queue bytes for its stdin; `process_end_input` closes it behind them.
void process_input(struct process *process, const void *bytes, size_t n);
void process_end_input(struct process *process);
bool process_takes_input(const struct process *process);
// Something about its clients or its queue changed: ask the loop for what is wanted now.
void process_update(struct process *process);
// Its end: read what is left. process_is_drained tells when all is read or the time is over.
void process_drain(struct process *process);
bool process_is_drained(const struct process *process, int64_t now_ns);
// Close the streams, let go of the clients as soon as they have their output; an exec is unlinked and freed
// with the last one.
void process_finish(struct process *process);

// --- client.c
// Takes socket, also on failure. 0 or -errno.
int client_attach(struct process *process, int socket, const struct shim_message *request);
// Output of the process on `stream` (1 or 2) for this client.
void client_output(struct client *client, int stream, const char *bytes, size_t n);
// Close when its output is gone.
void client_end(struct client *client);
void client_update(struct client *client);

// --- control.c
// Takes fd.
struct connection *connection_add(struct shim *shim, int fd, bool is_control);
void connection_accept(struct watch *watch, uint32_t events);
void connection_send_error(struct connection *connection, const struct error *err);
// To all subscribers; one that does not read loses its connection (the exit record is on disk).
void shim_tell(struct shim *shim, const struct shim_message *event);
bool shim_has_subscriber(const struct shim *shim);

// --- exit.c
// Learn of children's ends from now on. 0 or -errno.
int children_watch(struct shim *shim);
// Reap what has ended. Not before init has been started: until then its end is runtime_start's to report.
void children_reap(struct shim *shim);
// Processes whose streams are drained: tell their end. Called once a round.
void exits_settle(struct shim *shim);
// Milliseconds until exits_settle has something to do, -1: nothing is due.
int exits_timeout_ms(const struct shim *shim);

// --- oom.c
// Watch for kills from now on; again: nothing. After the start's answer, so that nobody waits for it.
void oom_watch(struct shim *shim);
// Init has ended: no more watching; the kernel's count decides what the record says.
void oom_settle(struct shim *shim);
// Of a kill that no engine has heard of yet.
void oom_tell_missed(struct shim *shim);

// --- shim.c
// GO: let init execve, answer on the control connection. Does not return when that fails.
void shim_start(struct shim *shim, struct connection *control);
// The conversation ended before GO: undo everything and end.
_Noreturn void shim_give_up(struct shim *shim);
