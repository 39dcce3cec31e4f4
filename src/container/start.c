// Theory of operation. A start is: reserve an address, spawn the shim with the document made at create, plug
// the network while the shim mounts, hand over the clients that attached early, say go. Nothing is written to
// the database; what a later engine must know of this run (its endpoint) goes into one small file on the exec
// root. Whatever fails, everything before it is undone and the container is left stopped with Docker's exit
// code and message, so that clients can tell 126, 127 and 128 apart.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/hostfiles.h"
#include "container/links.h"
#include "container/log_options.h"
#include "container/networks.h"
#include "container/shim_client.h"
#include "container/view.h"
#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- the document
static int open_root(struct container *c, struct rootfs *root, struct error *err)
{
    CLEANUP(cleanup_free) char *upper = xasprintf("%s/upper", c->directory);
    int r = rootfs_add(root, upper);
    for (size_t i = strv_len(c->diff_ids); r == 0 && i > 0; i--) { // topmost first
        CLEANUP(cleanup_free) char *relative = layer_relative_path(c->diff_ids[i - 1]);
        CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", layer_directory(c->service->store), relative);
        r = rootfs_add(root, path);
    }
    return r < 0 ? error_errno(err, r, "open a layer of image %s", c->image_id) : 0;
}

static int check_ids(const struct user_identity *user, struct error *err)
{
    uint32_t highest = user->uid > user->gid ? user->uid : user->gid;
    for (size_t i = 0; i < user->additional_gid_count; i++)
        highest = user->additional_gids[i] > highest ? user->additional_gids[i] : highest;
    if (highest >= USERNS_RANGE_SIZE)
        return error_set(err, ERROR_INVALID,
                         "user or group id %u is outside the container's own range of %u ids: use "
                         "--userns=host for higher ones",
                         highest, USERNS_RANGE_SIZE);
    return 0;
}

// --- namespaces of other containers
bool container_joins_another(const struct container *c)
{
    return c->config.network.kind == NS_MODE_CONTAINER || c->config.pid.kind == NS_MODE_CONTAINER ||
           c->config.ipc.kind == NS_MODE_CONTAINER;
}

struct join_paths {
    char userns[64], netns[64], pidns[64], ipcns[64], shm[64];
};

static int running_pid(struct container *other, const char *what, pid_t *ret, struct error *err)
{
    pthread_mutex_lock(&other->lock);
    bool is_running = other->state.status == CONTAINER_RUNNING || other->state.status == CONTAINER_PAUSED;
    *ret = other->state.pid;
    pthread_mutex_unlock(&other->lock);
    return is_running ? 0
                      : error_set(err, ERROR_CONFLICT, "cannot join %s of a non running container: %s", what,
                                  other->id);
}

// The first joined container with a user namespace of its own brings it along: over what it owns the new container's processes
// have their capabilities, as in Docker. Over the namespaces of a further container with another one they have none (the runtime
// joins them with the host's privileges). The process is asked: it may have its user namespace from a third container itself.
static int take_userns(struct spec_inputs *in, const struct container *other, pid_t pid,
                       struct join_paths *paths, struct error *err)
{
    struct archive_ids ids;
    if (in->userns_first_id)
        return 0;
    int r = container_view_ids(pid, &ids);
    if (r < 0)
        return error_errno(err, r, "join namespaces of container %s", other->id);
    in->userns_first_id = ids.first;
    if (!in->userns_first_id)
        return 0;
    snprintf(paths->userns, sizeof paths->userns, "/proc/%d/ns/user", pid);
    in->userns_path = paths->userns;
    return 0;
}

static int join_others(struct container *c, struct spec_inputs *in, struct join_paths *paths,
                       struct error *err)
{
    const struct {
        const struct namespace_mode *mode;
        const char *what, *file;
        char *text;
        const char **path;
    } joins[] = {
        { &c->config.pid, "PID namespace", "pid", paths->pidns, &in->pidns_path },
        { &c->config.network, "network namespace", "net", paths->netns, &in->netns_path },
        { &c->config.ipc, "IPC", "ipc", paths->ipcns, &in->ipcns_path },
    };
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        CLEANUP(container_unrefp) struct container *other = NULL;
        pid_t pid;
        if (joins[i].mode->kind != NS_MODE_CONTAINER)
            continue;
        if (container_find(c->service, joins[i].mode->container, &other, err) < 0 ||
            running_pid(other, joins[i].what, &pid, err) < 0 || take_userns(in, other, pid, paths, err) < 0)
            return -1;
        if (joins[i].mode == &c->config.ipc && !other->config.has_shareable_ipc)
            return error_set(
                err, ERROR_INVALID,
                "cannot join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the "
                "donor container)",
                joins[i].mode->container);
        snprintf(joins[i].text, sizeof paths->netns, "/proc/%d/ns/%s", pid, joins[i].file);
        *joins[i].path = joins[i].text;
        if (joins[i].mode == &c->config.ipc) {
            snprintf(paths->shm, sizeof paths->shm, "/proc/%d/root/dev/shm", pid);
            in->shm_path = paths->shm;
        }
    }
    return 0;
}

// Who joins another's network is on the network under its names: the files and the host name are the other's; or of whom that one
// has joined. There is an end to it, because each was made after the one it joins.
static int network_owner(struct container *c, struct container **ret, struct error *err)
{
    CLEANUP(container_unrefp) struct container *owner = container_ref(c);
    while (owner->config.network.kind == NS_MODE_CONTAINER) {
        struct container *next = NULL;
        if (container_find(c->service, owner->config.network.container, &next, err) < 0)
            return -1;
        container_unref(owner);
        owner = next;
    }
    *ret = TAKE_PTR(owner);
    return 0;
}

// As in Docker, only where the container's first process is process 1.
static const char *init_path(const struct container *c)
{
    const struct container_options *options = &c->service->options;
    bool is_wanted = c->config.init == INIT_YES || (c->config.init == INIT_DEFAULT && options->has_init);
    return is_wanted && c->config.pid.kind == NS_MODE_PRIVATE ? options->init_program : NULL;
}

int container_build_spec(struct container *c, json_t **ret, struct error *err)
{
    CLEANUP(rootfs_done) struct rootfs root = { 0 };
    CLEANUP(user_identity_done) struct user_identity user = { 0 };
    CLEANUP(container_unrefp) struct container *named = NULL;
    if (network_owner(c, &named, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *hosts = container_host_file(named, "hosts");
    CLEANUP(cleanup_free) char *hostname = container_host_file(named, "hostname");
    CLEANUP(cleanup_free) char *resolv_conf = container_host_file(named, "resolv.conf");
    CLEANUP(links_done) struct links links = { 0 };
    CLEANUP(strv_freep) char **link_env = NULL;
    if (links_resolve(c, &links, err) < 0)
        return -1;
    links_environment(&links, c->name, &link_env);
    struct join_paths paths;
    struct spec_inputs in = { .config = &c->config,
                              .user = &user,
                              .id = c->id,
                              .hostname = named->config.hostname,
                              .hosts_path = hosts,
                              .hostname_path = hostname,
                              .resolv_conf_path = resolv_conf,
                              .cgroup_path = c->cgroup_path,
                              .layers_dir = layer_directory(c->service->store),
                              .init_path = init_path(c),
                              .userns_first_id = c->userns_first_id,
                              .extra_env = link_env,
                              .cdi_directories = c->service->options.cdi_directories };
    if (open_root(c, &root, err) < 0 ||
        user_lookup_in_root(&root, c->config.user, c->config.group_add, &user, err) < 0)
        return -1;
    if (join_others(c, &in, &paths, err) < 0)
        return -1;
    if (in.userns_first_id && check_ids(&user, err) < 0)
        return -1;
    struct oci_runtime_config spec;
    if (spec_build(&in, &spec, err) < 0)
        return -1;
    *ret = oci_runtime_config_emit(&spec);
    oci_runtime_config_done(&spec);
    return 0;
}

// --- hostname, hosts, resolv.conf
char *container_host_file(const struct container *c, const char *name)
{
    return xasprintf("%s/%s", c->service->keeps_host_files_in_data ? c->directory : c->state_directory, name);
}

// Rewritten in place: it may be mounted by a container that joined this one's network. `keeps`: what is there stays (the user
// may have changed it).
static int write_host_file(struct container *c, const char *name, const struct str *text, bool keeps,
                           struct error *err)
{
    CLEANUP(cleanup_free) char *path = container_host_file(c, name);
    struct stat st;
    if (keeps && stat(path, &st) == 0 && st.st_size > 0)
        return 0;
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int r = fd < 0 ? -errno : fd_write_all(fd, text->ptr, text->len);
    return r < 0 ? error_errno(err, r, "write %s of the container", name) : 0;
}

// Whom the container asks: name servers of the outside, skiff-netd at the default bridge's gateway, or in its own namespace.
enum resolver_kind { ASKS_SERVERS, ASKS_GATEWAY, ASKS_INSIDE, RESOLVER_KINDS };

static void resolv_conf_text(const struct container *c, enum resolver_kind kind, struct str *out)
{
    CLEANUP(str_done) struct str host = STR_INIT;
    bool has_host_network = c->config.network.kind == NS_MODE_HOST;
    char gateway[IP_TEXT_MAX];
    str_clear(out);
    if (has_host_network || kind == ASKS_INSIDE)
        file_read_at(AT_FDCWD, "/etc/resolv.conf", 1 << 20, &host);
    else
        hostfile_read_resolv_conf(&host);
    if (kind == ASKS_INSIDE)
        hostfile_resolv_conf_of_names(&c->config, host.ptr, NETWORK_RESOLVER_ADDRESS, out);
    else if (kind == ASKS_GATEWAY && network_bridge_gateway(c->service->networks, gateway))
        hostfile_resolv_conf_of_bridge(&c->config, host.ptr, gateway, out);
    else
        hostfile_resolv_conf(&c->config, host.ptr, has_host_network, out);
}

static enum resolver_kind resolver_kind(const struct container *c)
{
    struct ip_address upstreams[NETWORK_UPSTREAMS_MAX];
    CLEANUP(str_done) struct str host = STR_INIT;
    if (networks_have_names(c))
        return ASKS_INSIDE;
    if (!networks_have_bridge_names(c))
        return ASKS_SERVERS;
    hostfile_read_resolv_conf(&host);
    size_t n = hostfile_upstreams(&c->config, host.ptr, upstreams, NETWORK_UPSTREAMS_MAX);
    return network_bridge_resolver(c->service->networks, upstreams, n) ? ASKS_GATEWAY : ASKS_SERVERS;
}

// What the user has made of it stays; what we made of it changes with the networks.
static int write_resolv_conf(struct container *c, struct error *err)
{
    CLEANUP(str_done) struct str now = STR_INIT, text = STR_INIT;
    CLEANUP(cleanup_free) char *path = container_host_file(c, "resolv.conf");
    bool is_ours = file_read_at(AT_FDCWD, path, 1 << 20, &now) < 0 || now.len == 0;
    for (int kind = 0; !is_ours && kind < RESOLVER_KINDS; kind++) {
        resolv_conf_text(c, (enum resolver_kind)kind, &text);
        is_ours = streq(now.ptr, text.ptr);
    }
    if (!is_ours)
        return 0;
    resolv_conf_text(c, resolver_kind(c), &text);
    return write_host_file(c, "resolv.conf", &text, false, err);
}

static int hosts_text(struct container *c, struct str *out, struct error *err)
{
    CLEANUP(strv_freep) char **addresses = networks_addresses(c);
    CLEANUP(links_done) struct links links = { 0 };
    if (links_resolve(c, &links, err) < 0)
        return -1;
    hostfile_hosts(&c->config, c->config.hostname, addresses, networks_gateway(c), out);
    links_hosts(&links, out);
    return 0;
}

int container_write_hosts(struct container *c, struct error *err)
{
    CLEANUP(str_done) struct str hosts = STR_INIT;
    if (hosts_text(c, &hosts, err) < 0 || write_host_file(c, "hosts", &hosts, false, err) < 0)
        return -1;
    return write_resolv_conf(c, err);
}

// At each start, when the addresses are known.
static int write_host_files(struct container *c, struct error *err)
{
    if (c->config.network.kind == NS_MODE_CONTAINER)
        return 0;
    CLEANUP(str_done) struct str hostname = STR_INIT;
    str_appendf(&hostname, "%s\n", c->config.hostname);
    if (write_host_file(c, "hostname", &hostname, true, err) < 0)
        return -1;
    return container_write_hosts(c, err);
}

// --- the record of this run
// Owned.
static char *run_text(struct container *c)
{
    CLEANUP(json_cleanup) json_t *run = json_object();
    pthread_mutex_lock(&c->lock);
    json_set_int(run, "restartCount", c->state.restart_count);
    json_set_int(run, "shimPid", c->state.shim_pid);
    json_set_int(run, "seccompCaps", (int64_t)c->seccomp_caps);
    json_object_set_new(run, "endpoints", networks_endpoints_document(c));
    if (c->process)
        json_object_set(run, "process", c->process);
    pthread_mutex_unlock(&c->lock);
    return json_text(run);
}

int container_replace_run_file(struct container *c)
{
    CLEANUP(cleanup_free) char *text = run_text(c);
    CLEANUP(cleanup_free) char *path = xasprintf("%s/run.json", c->state_directory);
    return file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false);
}

int container_write_run_file(struct container *c)
{
    CLEANUP(cleanup_free) char *text = run_text(c);
    CLEANUP(cleanup_free) char *path = xasprintf("%s/run.json", c->state_directory);
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

// --- start
int container_seccomp_program(struct container *c, int *ret_fd, struct error *err)
{
    const struct container_config *k = &c->config;
    *ret_fd = FD_NONE;
    c->seccomp_caps = k->capabilities;
    if (k->is_seccomp_unconfined ||
        (!k->has_seccomp_profile && (k->is_privileged || c->service->is_seccomp_unconfined)))
        return 0;
    const json_t *profile = k->seccomp_profile       ? k->seccomp_profile
                            : k->has_seccomp_profile ? NULL
                                                     : c->service->seccomp_profile;
    return seccomp_cache_get(c->service->seccomp, profile, k->capabilities, ret_fd, err);
}

char **container_lower_directories(const struct container *c)
{
    char **lower = NULL;
    strv_push(&lower, layer_init_relative_path());
    for (size_t i = strv_len(c->diff_ids); i > 0; i--)
        strv_take(&lower, layer_relative_path(c->diff_ids[i - 1]));
    return lower;
}

// Where hooks look the container up: what an OCI runtime is given as a directory. The root file system is shown on "rootfs" to
// those that run in the container's mount namespace. Readable for them, who may be nobody on the host.
static int make_bundle(const struct container *c, const json_t *spec, struct error *err)
{
    const json_t *map = json_array_get(json_get_array(json_get_object(spec, "linux"), "uidMappings"), 0);
    uid_t owner = (uid_t)json_get_int(map, "hostID", 0);
    CLEANUP(cleanup_free) char *path = xasprintf("%s/config.json", c->state_directory);
    CLEANUP(cleanup_free) char *root = xasprintf("%s/rootfs", c->state_directory);
    CLEANUP(cleanup_free) char *text = json_text(spec);
    int r = mkdir(root, 0755) < 0 && errno != EEXIST ? -errno : 0;
    if (r == 0)
        r = file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false);
    if (r == 0 && chown(path, owner, owner) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "make a bundle for hooks") : 0;
}

static int spawn(struct container *c, json_t *spec, const struct shim_log_options *log,
                 struct shim_start *ret, struct error *err)
{
    int seccomp_fd;
    if (container_seccomp_program(c, &seccomp_fd, err) < 0 ||
        (json_object_get(spec, "hooks") && make_bundle(c, spec, err) < 0))
        return -1;
    char **lower = container_lower_directories(c);
    CLEANUP(cleanup_free) char *layers = xstrdup(layer_directory(c->service->store));
    const struct shim_create create = { .id = c->id,
                                        .socket_path = c->socket_path,
                                        .state_dir = c->state_directory,
                                        .cgroup_path = c->cgroup_path,
                                        .layers_dir = layers,
                                        .lower = lower,
                                        .upper_parent = c->directory,
                                        .is_volatile = c->config.is_auto_remove,
                                        .has_stdin = c->config.has_stdin,
                                        .is_stdin_once = c->config.is_stdin_once,
                                        .log = *log,
                                        .oci_config = spec };
    const struct shim_program program = container_shim_program(c->service);
    struct shim_spare spare = spares_take_shim(c->service->spares);
    int r = shim_spawn(&program, &spare, &create, seccomp_fd, ret, err);
    strv_free(lower);
    return r;
}

// Docker's words for what the runtime reports; clients tell 126 from 127 by them.
static int explain(struct error *err)
{
    bool is_command = err->kind == ERROR_NOT_FOUND || err->kind == ERROR_DENIED || err->kind == ERROR_INVALID;
    struct error inner = *err;
    const char *where = is_command ? "unable to start container process: error during container init: " : "";
    error_set(err, is_command ? ERROR_INVALID : inner.kind,
              "failed to create task for container: failed to create shim task: OCI runtime create failed: "
              "runc create failed: "
              "%s%s: unknown",
              where, inner.message);
    err->errnum = inner.errnum;
    return -1;
}

static int exit_code_of_failure(const struct error *err)
{
    const char *m = err->message;
    if (strstr(m, "executable file not found") || strcasestr(m, "no such file or directory") ||
        strcasestr(m, "not a directory"))
        return 127;
    if (strcasestr(m, "permission denied") || strcasestr(m, "exec format error"))
        return 126;
    return 128;
}

static void start_failed(struct container *c, const struct error *err)
{
    container_release_network(c);
    mounts_end_run(c);
    attach_drop_pending(c);
    pthread_mutex_lock(&c->lock);
    c->state.status = c->state.started_ns ? CONTAINER_EXITED : CONTAINER_CREATED;
    c->state.pid = 0;
    c->state.exit_code = exit_code_of_failure(err);
    free_and_strdup(&c->state.error, err->message);
    waiters_notify(c, CONTAINER_WAIT_NEXT_EXIT, c->state.exit_code);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->config.is_auto_remove) {
        container_destroy_locked(c);
    } else {
        struct error ignored;
        if (container_save_state(c, &ignored) < 0)
            log_warn("container %s: %s", c->id, ignored.message);
    }
}

static void set_running(struct container *c, struct shim_start *start)
{
    pthread_mutex_lock(&c->lock);
    struct container_state *st = &c->state;
    st->status = CONTAINER_RUNNING;
    st->pid = start->container_pid;
    st->shim_pid = start->shim_pid;
    st->started_ns = start->started_ns ? start->started_ns : time_now_ns();
    st->finished_ns = 0;
    st->exit_code = 0;
    st->was_oom_killed = st->is_stop_requested = false;
    st->run++;
    free(TAKE_PTR(st->error));
    c->control_fd = start->control_fd;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void forget_exit_record(struct container *c)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/exit", c->state_directory);
    unlink(path);
}

static bool has_policy(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool has_policy = c->restart.kind != RESTART_NO;
    pthread_mutex_unlock(&c->lock);
    return has_policy;
}

// A reboot empties the exec root: that this container ran has to be known from the database then.
static void save_run(struct container *c)
{
    struct error err;
    if (container_save_state(c, &err) < 0)
        log_warn("container %s: %s", c->id, err.message);
}

// Without a policy a note beside its data is enough, and cheaper than the record.
static void note_run(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t started_ns = c->state.started_ns;
    pthread_mutex_unlock(&c->lock);
    int r = directories_note_run(c->directory, started_ns);
    if (r < 0 && r != -ENOENT) // removed meanwhile
        log_warn("container %s: note its run: %s", c->id, strerror(-r));
}

static int launch(struct container *c, struct error *err)
{
    CLEANUP(json_cleanup) json_t *spec = NULL;
    struct shim_start start = { .control_fd = FD_NONE };
    pthread_mutex_lock(&c->lock);
    spec = TAKE_PTR(c->prepared);
    pthread_mutex_unlock(&c->lock);
    // From the second start on the root file system may hold other users than the image: the document is made
    // anew.
    if (!spec && container_build_spec(c, &spec, err) < 0)
        return -1;
    if (c->state.run > 0) // a former run's exit record must not pass for this one's
        forget_exit_record(c);
    CLEANUP(shim_log_options_done) struct shim_log_options log = { 0 };
    if (log_options_for_start(c, &log, err) < 0)
        return -1;
    if (networks_reserve(c, err) < 0 || write_host_files(c, err) < 0)
        return -1;
    if (mounts_begin_run(c, err) < 0)
        return -1;
    if (spawn(c, spec, &log, &start, err) < 0)
        return explain(err);
    json_decref(c->process);
    c->process = json_incref(json_object_get(spec, "process"));
    int plugged = networks_plug(c, start.container_pid, err);
    if (plugged == -ENOENT && shim_go(&start, err) < 0)
        return explain(err);
    if (plugged < 0) {
        shim_abandon(&start);
        return -1;
    }
    pthread_mutex_lock(&c->lock);
    c->state.shim_pid = start.shim_pid;
    pthread_mutex_unlock(&c->lock);
    int r = container_write_run_file(c);
    if (r < 0) {
        shim_abandon(&start);
        return error_errno(err, r, "write run record");
    }
    attach_await_expected(c);
    attach_pending(c, &start);
    if (shim_go(&start, err) < 0)
        return explain(err);
    set_running(c, &start);
    attach_pending(c, NULL); // those that came between the first look and now
    container_event(c, "start", NULL, NULL);
    if (monitor_watch(c, err) < 0)
        return -1;
    health_start(c);
    if (has_policy(c))
        janitor_add(c, save_run);
    else if (!c->config.is_auto_remove)
        janitor_add(c, note_run);
    return 0;
}

int container_start_locked(struct container *c, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    bool is_gone = c->is_gone;
    pthread_mutex_unlock(&c->lock);
    if (is_gone)
        return error_set(err, ERROR_NOT_FOUND, "No such container: %s", c->id);
    if (status == CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT, "cannot start a paused container, try unpause instead");
    if (status == CONTAINER_RUNNING || status == CONTAINER_RESTARTING)
        return error_set(err, ERROR_NOT_MODIFIED, "container %s is already running", c->id);
    if (status == CONTAINER_REMOVING || status == CONTAINER_DEAD)
        return error_set(err, ERROR_CONFLICT, "container is marked for removal and cannot be started");
    pthread_mutex_lock(&c->lock);
    c->state.restart_count = 0;
    c->state.restart_delay_ns = 0;
    c->state.was_stopped = false;
    pthread_mutex_unlock(&c->lock);
    return container_start_again_locked(c, err);
}

int container_start_again_locked(struct container *c, struct error *err)
{
    container_views_await(c);
    if (launch(c, err) == 0) {
        image_note_use(c->service->images, c->image_id);
        return 0;
    }
    start_failed(c, err);
    return -1;
}

int container_start(struct container_service *s, const char *name, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = container_start_locked(c, err);
    pthread_mutex_unlock(&c->operation);
    return r;
}
