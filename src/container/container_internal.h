// What the files of this folder share: the container object and the service's tables.
//
// Locks, taken in this order, each named with what it guards:
//   container->operation  one start, pause, rename or removal at a time; held across I/O
//   service->lock         the maps (containers, names, execs) and the list order; never held across I/O
//   container->lock       the container's state; never held across I/O
//   the lock of timers    when what is due (timers.c); never held across I/O
// container->root is taken before operation by views, which never wait for operation meanwhile, and after it by a start.
// Stop, kill and wait take no operation lock: they must work while another stop is under way.
#pragma once

#include "base/id.h"
#include "base/map.h"
#include "container/config.h"
#include "container/container.h"
#include "container/directories.h"
#include "container/seccomp.h"
#include "container/shim_client.h"
#include "container/spares.h"
#include "container/spec.h"
#include "container/timers.h"
#include "container/userns.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PENDING_ATTACH_MAX = 64, CGROUP_PATH_MAX = 512 };

// A client that attached before the start: handed to the shim as soon as there is one.
struct pending_attach {
    int socket; // owned
    unsigned flags;
    uint8_t detach_keys[SHIM_DETACH_KEYS_MAX];
    unsigned detach_key_count;
    void *leading;
    size_t leading_size;
};

struct container_state { // guarded by container->lock
    enum container_status status;
    pid_t pid, shim_pid;
    int exit_code;
    bool was_oom_killed;
    bool is_stop_requested;   // this run is to end: its policy is not asked
    bool is_restarting;       // by request: --rm and policy let this end pass
    bool was_stopped;         // somebody stopped or signalled it since it was started
    int64_t restart_delay_ns; // the pause before this run, 0: it was started by request
    char *error;
    int64_t started_ns, finished_ns;
    unsigned restart_count;
    unsigned run; // counts starts, so that a waiter can tell "next exit"
};

// References: the service's map (one), the monitor while it watches the control socket, each pending janitor
// job, and every function between container_find and container_unref.
struct container {
    atomic_uint references;
    struct container_service *service;
    char id[ID_LEN + 1];
    char *directory, *state_directory, *socket_path;
    char *cgroup_path;
    int64_t created_ns;
    char *image_name;
    char image_id[DIGEST_LEN + 1];
    char **diff_ids;                                // the image's layers, bottom first
    json_t *config_document, *host_config_document; // immutable once made
    json_t *networking_document; // immutable value, replaced under lock and operation (networks.h)
    json_t *mounts_document;     // immutable, replaced as a whole (mounts.c); guarded by lock
    bool has_mounted;            // its volumes are mounted; guarded by operation
    bool takes_volumes_along;    // anonymous volumes go with it; guarded by operation
    // Immutable once made but for what an update changes, which it does with operation and lock held: limits, binds, tmpfs,
    // devices, ports. One of the two is enough to read these.
    struct container_config config;
    uint32_t userns_first_id; // own range, 0: none
    uint32_t project_id;      // of its writable layer, 0: not limited (storage.c); immutable once made

    pthread_mutex_t operation;
    pthread_rwlock_t
        root; // the stopped container's root file system is mounted by a view (view.h): shared to read it
    pthread_mutex_t lock;   // everything below
    pthread_cond_t changed; // broadcast at each change of state; CLOCK_MONOTONIC
    char *name;
    struct container_state state;
    struct network_endpoint *endpoints; // of this run, in the order of their interfaces (networks.h)
    size_t endpoint_count;
    int control_fd;          // of the running shim; the monitor's
    atomic_bool is_handling; // the monitor is at work on a message
    bool is_gone;            // out of the tables: removed
    json_t *prepared;        // OCI document made at create for the first start
    json_t *process;         // the process document of the running container, base of its execs
    oci_capset seccomp_caps; // what the running filter was made for
    struct pending_attach *pending;
    size_t pending_count;
    unsigned
        attaches_expected; // clients that have been answered or are about to be, and are not in pending yet
    struct container_waiter *waiters;
    char **exec_ids; // of all execs, running or not
    struct restart_policy restart;
    bool has_health; // a check has been set going since create
    struct health_state health;
    json_t *health_log; // array of the last probes as the API shows them, replaced at each; NULL: none yet
    struct timer timers[TIMER_KIND_COUNT]; // theirs
    unsigned limits_version;               // counts updates
    unsigned networks_version;             // counts networks that came and went while it ran
    struct stats_source *stats;            // while somebody listens; guarded by the sampler's lock
};

struct container_service {
    struct store *store;
    struct image_service *images;
    struct network_service *networks;
    struct container_options options; // strings owned
    struct seccomp_cache *seccomp;
    json_t *seccomp_profile; // the engine's own, NULL: built in
    bool is_seccomp_unconfined;
    struct userns_allocator userns;
    char *containers_directory;
    bool keeps_host_files_in_data;

    pthread_mutex_t lock; // the three maps
    struct map by_id;     // id -> container (one reference)
    struct map by_name;   // name -> container (borrowed; by_id holds it)
    struct map execs;     // exec id -> struct exec

    int epoll_fd, wake_fd;
    pthread_t monitor_thread, janitor_thread;
    bool is_closing;              // guarded by janitor_lock
    pthread_mutex_t janitor_lock; // jobs, watches
    pthread_cond_t janitor_wake;
    struct janitor_job *jobs, **jobs_tail;
    struct monitor_watch *watches; // guarded by janitor_lock

    struct spares *spares; // the next starts' shims
    struct timers *timers; // restarts and probes
    struct stats_sampler *stats;
};

// --- service.c
struct shim_program container_shim_program(const struct container_service *s);
struct container_roots container_roots(const struct container_service *s);

// A
// reference, to be given back with container_unref. ERROR_NOT_FOUND "No such container: x".
int container_find(struct container_service *s, const char *name, struct container **ret, struct error *err);
struct container *container_ref(struct container *c);
void container_unref(struct container *c);
void container_unrefp(struct container **c);
struct container *container_new(struct container_service *s, const char *id);
// All, a reference each, NULL-terminated; newest first.
struct container **container_all(struct container_service *s);
void container_all_free(struct container **all);
struct container_info *container_snapshot(struct container *c);
// Take the container out of the tables: from now on its name is free and it cannot be found.
void container_forget(struct container *c);
// Put it in. ERROR_CONFLICT in Docker's words when the name is taken.
int container_enter(struct container *c, const char *name, struct error *err);
// Emit an event with the container's usual attributes (image, name, labels) and one more pair, if extra_key
// is given.
void container_event(struct container *c, const char *action, const char *extra_key, const char *extra_value);
// The record: everything that does not change with a run / what a run changed.
int container_save(struct container *c, struct error *err);
int container_save_state(struct container *c, struct error *err);
char *container_state_key(const char *id);
// Path of the container's "hostname", "hosts" or "resolv.conf" on the host. Owned.
char *container_host_file(const struct container *c, const char *name);
// Does it join a namespace of another container? Then the other's user namespace comes with it.
bool container_joins_another(const struct container *c);
// Where its log is, when its driver writes files. Owned.
char *container_log_path(const struct container *c);
// The name inside where the client gave none (create.c).
void container_choose_hostname(struct container *c);
bool container_is_running(struct container *c); // running or paused
bool container_is_up(struct container *c);      // or between two runs

// --- start.c
// Of the overlay below the container's own directory, relative to layer_directory(), topmost first. Owned strv.
char **container_lower_directories(const struct container *c);
// The OCI document for the next start. Owned.
int container_build_spec(struct container *c, json_t **ret, struct error *err);
// operation is held. At somebody's request: what its policy knew of former runs is forgotten.
int container_start_locked(struct container *c, struct error *err);
// operation is held. By policy: the container is ended or between two runs.
int container_start_again_locked(struct container *c, struct error *err);
// Give address and ports back, once: whoever comes second finds nothing to release. The caller holds the operation lock.
void container_release_network(struct container *c);
// The filter of the container's processes, FD_NONE for none; borrowed.
int container_seccomp_program(struct container *c, int *ret_fd, struct error *err);
// <state dir>/run.json: what a later engine must know about this run. 0 or -errno.
int container_write_run_file(struct container *c);
// /etc/hosts and resolv.conf, also of a running container: its addresses and networks may have changed.
int container_write_hosts(struct container *c, struct error *err);
// The same while it runs: there is a whole file at any moment.
int container_replace_run_file(struct container *c);

// --- mounts.c: volumes and binds of one container
// At create: everything that config.binds leaves open is settled (volumes made and held, copy-up done, --volumes-from looked up),
// and mounts_document made. What was made on failure is taken back by mounts_release and mounts_discard.
int mounts_resolve(struct container *c, struct error *err);
// Is one of its mounts a view of this image?
bool mounts_use_image(const struct container *c, const char *image_id);
// After a restart of the engine: config.binds from the record's document (NULL: an old record), volumes held.
void mounts_load(struct container *c, json_t *document);
// The container is going: its volumes are no longer in use (memory only, repeats are harmless) / the anonymous ones that
// should go with it are removed.
void mounts_release(struct container *c);
void mounts_discard(struct container *c);
// operation is held: a run begins (volumes mounted, events) / goes on under a new engine / has ended.
int mounts_begin_run(struct container *c, struct error *err);
void mounts_continue_run(struct container *c);
void mounts_end_run(struct container *c);
// Parts of it, for mounts that come later (update_mounts.c): volumes made, held and filled / a mount in the record, owned, and out
// of it / the event of a volume.
int mounts_prepare(struct container *c, struct bind_mount *binds, size_t count, struct error *err);
json_t *mounts_document_of(const struct bind_mount *b);
struct bind_mount mounts_parse(const json_t *document);
void mounts_event(const struct container *c, const struct bind_mount *b, const char *action);

// --- monitor.c
int monitor_start(struct container_service *s, struct error *err);
void monitor_stop(struct container_service *s);
// Watch c->control_fd (set before). Takes a reference of its own.
int monitor_watch(struct container *c, struct error *err);
// The run is over: state, waiters, events, then teardown in the background.
void container_exited(struct container *c, int exit_code, int64_t finished_ns, bool was_oom_killed);
// The shim of a run was killed and left no exit record: end the container's processes, remove its cgroups and
// write the record in the shim's stead (*ret).
void container_shim_was_killed(struct container *c, int64_t started_ns, struct shim_exit_record *ret);
// Run `work` on the janitor thread with a reference to c.
void janitor_add(struct container *c, void (*work)(struct container *c));

// --- wait.c
// c->lock is held.
void waiters_notify(struct container *c, enum container_wait what, int exit_code);
// Wait until the run that is under way ends or until timeout_ms (< 0: for ever). True when it has ended.
// The descriptor that becomes readable when the waiter is satisfied (borrowed) / give it up without asking.
int container_waiter_fd(const struct container_waiter *waiter);
void container_waiter_free(struct container_waiter *waiter);
bool container_wait_stopped(struct container *c, int64_t timeout_ms);

// --- remove.c
// operation is held, the container is not running.
void container_destroy_locked(struct container *c);

// --- attach.c
// operation is held: wait for clients that are just being answered / hand those that came early to the shim (start: the one under
// way, before GO; NULL: it runs) / close them.
void attach_await_expected(struct container *c);
void attach_pending(struct container *c, struct shim_start *start);
void attach_drop_pending(struct container *c);
// "ctrl-p,ctrl-q" -> bytes. ERROR_INVALID.
int detach_keys_parse(const char *text, uint8_t keys[static SHIM_DETACH_KEYS_MAX], unsigned *ret_count,
                      struct error *err);
void attach_fill(struct shim_message *m, const struct container_attach *attach, bool has_tty);

// --- exec.c
void exec_exited(struct container *c, const char *exec_id, int exit_code);
// The container has gone: forget its execs (all), or mark those that ran as ended (false).
void execs_end(struct container *c, bool is_forgotten);

// A command inside that the engine runs for itself: an exec that nobody attaches to, as the container's user.
int exec_prepare(struct container *c, char *const *args, char ret_exec_id[static ID_LEN + 1],
                 struct error *err);
// Run it: its output (both streams, at most output_max bytes) and exit code. After timeout_ns it is killed, *ret says that it was
// late. Ends early when cancel_fd becomes readable (ERROR_CANCELLED). It leaves no exec behind.
struct exec_result {
    int exit_code;
    bool is_late, is_cut; // cut: there was more output
    char *output;         // owned
};
int exec_capture(struct container *c, const char *exec_id, int64_t timeout_ns, size_t output_max,
                 int cancel_fd, struct exec_result *ret, struct error *err);
// SIGKILL to an exec, also to a former engine's. One that is no more is none of our business.
void exec_kill(struct container *c, const char *exec_id);

// --- lifecycle.c
// End the run with these (as container_stop takes them), without a word on who wished it.
int container_end_run(struct container *c, int signal, int timeout_s, struct error *err);
// SIGKILL, likewise, without waiting.
int container_kill_run(struct container *c, struct error *err);

// --- restart.c
// c->lock is held, a run has just ended: does its policy want another? Then the state says so, and restart_schedule is to
// follow without the lock.
bool restart_decide(struct container *c, int exit_code, int64_t finished_ns);
void restart_schedule(struct container *c);
// At the start of the engine, for a container that is found ended.
void restart_recover(struct container *c);
// Somebody does not want the pending restart. False when there was none; a start that had begun is waited for, and is none.
bool restart_cancel(struct container *c);
timer_work restart_due;

// --- health.c
// A run has begun / is found running by a new engine.
void health_start(struct container *c);
void health_recover(struct container *c);
timer_work health_due;
// State.Health as the API shows it, owned; NULL: no check. c->lock is held.
json_t *health_document(const struct container *c);
// --- size.c
// Bytes of the files the container has written, each inode once.
uint64_t container_written_bytes(const struct container *c);

// --- stats.c
struct stats_sampler *stats_sampler_new(struct container_service *service);
// Every listener has ended (their connections are shut before).
void stats_sampler_free(struct stats_sampler *sampler);

// --- recover.c
int recover(struct container_service *s, struct error *err);

// --- update_recover.c: at the start of the engine: an update that the former one has not ended is, where the container runs on
void update_recover(struct container *c);

// --- cgroup.c
// Directory of the hierarchy that has `controller` (NULL: any), for this container. Owned, or NULL.
char *cgroup_directory(const char *cgroup_path, pid_t pid, const char *controller);
// Processes of the container's cgroup. Owned array. -errno.
int cgroup_pids(const char *cgroup_path, pid_t pid, pid_t **ret, size_t *ret_count);
// Freeze or thaw, and wait until it is so (bounded). 0 or -errno.
int cgroup_freeze(const char *cgroup_path, pid_t pid, bool is_frozen);
// Kill whatever is in the cgroup and remove it from every hierarchy, for when no shim does. Missing is
// success. Waits up to two seconds. 0 or -errno.
int cgroup_sweep(const char *cgroup_path);
// Remove what killed spare shims left below this parent.
void cgroup_sweep_spares(const char *parent);
bool cgroup_is_frozen(const char *cgroup_path, pid_t pid);

// --- storage.c: the limit of the writable layer
// At create, while its directories are empty: nothing is done without a limit. ERROR_INVALID in Docker's words where the file system
// has no project quotas.
int storage_limit(struct container *c, struct error *err);
// From one limit to another, 0: none. ERROR_CONFLICT for a container that was made without one. The operation lock is held.
int storage_resize(struct container *c, uint64_t former_bytes, uint64_t size_bytes, struct error *err);
// Its directories are gone (or were never made).
void storage_release(struct container *c);
// A new engine has read its record: the id is taken, and the limit is what the record says.
void storage_recover(struct container *c, const json_t *record);
