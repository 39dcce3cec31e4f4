// Theory of operation. After a restart of the engine the truth lies with the shims and on disk: the database
// says which containers there are, a shim that answers on its socket says that its container runs, an exit
// record says how one ended, and a run record without either says that a shim was killed. Everything in the
// containers' directory that has no record is a create or a removal that was cut short, and goes. Endpoints
// of what runs are handed to the network service, which removes all others.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/networks.h"
#include "container/shim_client.h"
#include "store/meta.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN_FILE_MAX = 1 << 20, EXIT_CODE_UNKNOWN = 255 };

static int rebuild(struct container *c, const json_t *record, struct error *err)
{
    CLEANUP(strv_freep) char **warnings = NULL;
    c->image_name = xstrdup(json_get_string(record, "imageName", ""));
    const char *image_id = json_get_string(record, "imageId", "");
    if (strlen(image_id) < sizeof c->image_id)
        memcpy(c->image_id, image_id, strlen(image_id) + 1);
    c->diff_ids = json_get_strv(record, "layers");
    c->created_ns = json_get_int(record, "createdNs", 0);
    c->userns_first_id = (uint32_t)json_get_int(record, "usernsFirstId", 0);
    c->config_document = json_incref(json_get_object(record, "config"));
    c->host_config_document = json_incref(json_get_object(record, "hostConfig"));
    if (!c->config_document || !c->host_config_document)
        return error_set(err, ERROR_INTERNAL, "its record is damaged");
    if (container_config_parse(c->config_document, c->host_config_document, &c->config, &warnings, err) < 0)
        return -1;
    c->restart = c->config.restart;
    networks_load(c, json_get_object(record, "networkingConfig"));
    mounts_load(c, json_get_array(record, "mounts"));
    container_choose_hostname(c);
    c->config.log.path = container_log_path(c);
    const char *parent =
        c->config.cgroup_parent ? c->config.cgroup_parent : c->service->options.cgroup_parent;
    c->cgroup_path = xasprintf("%s/%s", parent, c->id);
    if (c->userns_first_id && !userns_claim(&c->service->userns, c->userns_first_id))
        return error_set(err, ERROR_INTERNAL, "its range of user ids is another container's");
    return 0;
}

// *ret_was_running: it ran when this was written, or has been started since. The record is written at a start for containers
// with a restart policy only; what else began is noted beside its data, and began after the run that the record tells of.
static void load_state(struct container *c, bool *ret_was_running)
{
    struct error ignored;
    CLEANUP(cleanup_free) char *key = container_state_key(c->id);
    CLEANUP(json_cleanup) json_t *state = NULL;
    c->state.status = CONTAINER_CREATED;
    int64_t noted_ns = directories_noted_run(c->directory);
    *ret_was_running = noted_ns > 0;
    if (meta_get(c->service->store, META_CONTAINERS, key, &state, &ignored) < 0) {
        c->state.started_ns = noted_ns;
        return;
    }
    c->state.exit_code = (int)json_get_int(state, "exitCode", 0);
    c->state.was_oom_killed = json_get_bool(state, "oomKilled", false);
    c->state.error = xstrdup(json_get_string(state, "error", NULL));
    c->state.started_ns = json_get_int(state, "startedNs", 0);
    c->state.finished_ns = json_get_int(state, "finishedNs", 0);
    c->state.restart_count = (unsigned)json_get_int(state, "restartCount", 0);
    if (json_get_bool(state, "isRestarting", false) && c->state.restart_count > 0)
        c->state.restart_count--; // counted, but it did not come to it
    c->state.was_stopped = json_get_bool(state, "wasStopped", false);
    *ret_was_running = json_get_bool(state, "isRunning", false) || noted_ns > c->state.started_ns;
    if (noted_ns > c->state.started_ns)
        c->state.started_ns = noted_ns;
    if (json_get_bool(state, "hasRun", false))
        c->state.status = CONTAINER_EXITED;
}

// The record of the last run; false when there was none on this boot.
static bool load_run(struct container *c)
{
    struct error ignored;
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *run = NULL;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/run.json", c->state_directory);
    if (file_read_at(AT_FDCWD, path, RUN_FILE_MAX, &text) < 0 ||
        json_parse(text.ptr, text.len, &run, &ignored) < 0)
        return false;
    c->state.restart_count = (unsigned)json_get_int(run, "restartCount", 0);
    c->seccomp_caps = (oci_capset)json_get_int(run, "seccompCaps", 0);
    c->process = json_incref(json_get_object(run, "process"));
    networks_endpoints_load(c, run);
    return true;
}

static void set_ended(struct container *c, int exit_code, int64_t started_ns, int64_t finished_ns,
                      bool was_oom_killed)
{
    struct error err;
    c->state.status = CONTAINER_EXITED;
    c->state.exit_code = exit_code;
    c->state.started_ns = started_ns ? started_ns : c->state.started_ns;
    c->state.finished_ns = finished_ns;
    c->state.was_oom_killed = was_oom_killed;
    networks_endpoints_forget(c);
    if (container_save_state(c, &err) < 0)
        log_warn("container %s: %s", c->id, err.message);
}

static bool reconnect(struct container *c)
{
    struct error err;
    const struct shim_message ask = { .type = SHIM_STATE };
    struct shim_message state;
    int fd;
    // Subscribe first: an exit between the two questions then waits in the socket.
    if (shim_subscribe(c->socket_path, &fd, &err) < 0)
        return false;
    if (shim_call(c->socket_path, &ask, NULL, 0, &state, &err) < 0 || !state.is_running) {
        fd_close(fd);
        return false;
    }
    c->state.status = CONTAINER_RUNNING;
    c->state.pid = state.pid;
    c->state.started_ns = state.started_ns;
    c->state.finished_ns = 0;
    c->state.was_oom_killed = state.was_oom_killed;
    c->state.run = 1;
    c->control_fd = fd;
    if (cgroup_is_frozen(c->cgroup_path, state.pid))
        c->state.status = CONTAINER_PAUSED;
    return true;
}

// When the run began, as near as anybody knows: its record is written just before. 0: unknown.
static int64_t file_time_ns(const char *state_directory)
{
    struct stat st;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/run.json", state_directory);
    return stat(path, &st) < 0 ? 0 : (int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
}

// Which of its four ends this container came to.
static void recover_run(struct container *c)
{
    struct shim_exit_record record;
    if (c->state.status == CONTAINER_DEAD)
        return;
    bool was_running;
    load_state(c, &was_running);
    unsigned restart_count = c->state.restart_count;
    if (!load_run(c)) {
        if (was_running) // the machine went down under it
            set_ended(c, EXIT_CODE_UNKNOWN, c->state.started_ns, time_now_ns(), false);
        return;
    }
    if (reconnect(c))
        return;
    bool has_record = shim_exit_record_read(c->state_directory, &record) == 0;
    // A shim that ends takes its socket away, whatever the end; one that was killed leaves it behind.
    int fd = has_record ? -ENOENT : shimproto_connect(c->socket_path);
    if (fd >= 0)
        fd_close(fd);
    // It writes its record before it closes the socket: a second look decides.
    has_record = has_record || shim_exit_record_read(c->state_directory, &record) == 0;
    if (fd == -ECONNREFUSED && !has_record) {
        container_shim_was_killed(c, file_time_ns(c->state_directory), &record);
        has_record = true;
    }
    // Else the start was cut off before go, and the shim has undone it by itself.
    c->state.run = has_record || c->state.finished_ns != 0;
    if (has_record && c->state.finished_ns != record.finished_ns)
        set_ended(c, record.exit_code, record.started_ns, record.finished_ns, record.was_oom_killed);
    else
        c->state.restart_count = restart_count; // an end that the last engine saw, and counted
    networks_endpoints_forget(c);
}

struct recovery {
    struct container_service *service;
    struct map recorded; // every id that has a record, also of those that could not be read: their data stays
};

// A record that this version cannot make sense of: listed as dead, so that it can be looked at and removed.
static struct container *dead_container(struct container_service *s, const char *id, const json_t *record,
                                        const struct error *why)
{
    struct container *c = container_new(s, id);
    json_t *config = json_get_object(record, "config"), *host_config = json_get_object(record, "hostConfig");
    const char *image_id = json_get_string(record, "imageId", "");
    c->image_name = xstrdup(json_get_string(record, "imageName", ""));
    if (strlen(image_id) < sizeof c->image_id)
        memcpy(c->image_id, image_id, strlen(image_id) + 1);
    c->created_ns = json_get_int(record, "createdNs", 0);
    c->config_document = config ? json_incref(config) : json_object();
    c->host_config_document = host_config ? json_incref(host_config) : json_object();
    c->config.args = json_get_strv(config, "Cmd");
    if (strv_len(c->config.args) == 0)
        strv_push(&c->config.args, "");
    c->config.log.path = container_log_path(c);
    c->cgroup_path = xasprintf("%s/%s", s->options.cgroup_parent, id);
    networks_load(c, json_get_object(record, "networkingConfig"));
    mounts_load(c, json_get_array(record, "mounts"));
    c->state.status = CONTAINER_DEAD;
    c->state.error = xstrdup(why->message);
    return c;
}

static int visit(void *context, const char *key, const json_t *document)
{
    struct recovery *recovery = context;
    struct container_service *s = recovery->service;
    struct error err;
    if (!id_is_full(key)) // the state of one
        return 0;
    map_put(&recovery->recorded, key, recovery);
    struct container *c = container_new(s, key);
    if (rebuild(c, document, &err) < 0) {
        log_error("container %s is dead: %s", key, err.message);
        container_unref(c);
        c = dead_container(s, key, document, &err);
    }
    storage_recover(c, document);
    if (container_enter(c, json_get_string(document, "name", key), &err) < 0)
        log_error("container %s is left out: %s", key, err.message);
    container_unref(c);
    return 0;
}

// Directories of creates and removals that were cut short.
static void remove_unknown(struct container_service *s, const struct map *recorded, const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (id_is_full(e->d_name) && !map_get(recorded, e->d_name)) {
            CLEANUP(cleanup_free) char *cgroup = xasprintf("%s/%s", s->options.cgroup_parent, e->d_name);
            cgroup_sweep(cgroup);
            dir_remove_all_at(dirfd(dir), e->d_name);
        }
    if (dir)
        closedir(dir);
}

static int restore_endpoints(struct container_service *s, struct container **all, struct error *err)
{
    size_t count = 0, n = 0;
    for (size_t i = 0; all[i]; i++)
        count += all[i]->endpoint_count;
    CLEANUP(cleanup_free) const struct network_endpoint **endpoints = xcalloc(count + 1, sizeof *endpoints);
    for (size_t i = 0; all[i]; i++)
        for (size_t k = 0; k < all[i]->endpoint_count; k++)
            endpoints[n++] = &all[i]->endpoints[k];
    return network_restore(s->networks, endpoints, n, err);
}

static int resume(struct container *c, struct error *err)
{
    if (c->control_fd >= 0)
        mounts_continue_run(c);
    update_recover(c);
    if (c->control_fd >= 0) {
        networks_resume(c);
        if (monitor_watch(c, err) < 0)
            return -1;
        health_recover(c);
        return 0;
    }
    restart_recover(c);
    if (c->config.is_auto_remove && c->state.status == CONTAINER_EXITED)
        container_destroy_locked(c);
    return 0;
}

int recover(struct container_service *s, struct error *err)
{
    struct recovery recovery = { .service = s, .recorded = MAP_INIT };
    if (meta_each(s->store, META_CONTAINERS, visit, &recovery, err) < 0) {
        map_done(&recovery.recorded);
        return error_wrap(err, "recover containers");
    }
    cgroup_sweep_spares(s->options.cgroup_parent);
    remove_unknown(s, &recovery.recorded, s->containers_directory);
    remove_unknown(s, &recovery.recorded, s->options.exec_root);
    map_done(&recovery.recorded);
    struct container **all = container_all(s);
    for (size_t i = 0; all[i]; i++) {
        bool is_rebooted = mkdir(all[i]->state_directory, 0711) == 0; // a reboot empties the exec root
        if (!is_rebooted && errno != EEXIST)
            log_warn("container %s: make state directory: %s", all[i]->id, strerror(errno));
        recover_run(all[i]);
        if (is_rebooted && all[i]->config.is_auto_remove) // it ran, or its client is gone: resume removes it
            all[i]->state.status = CONTAINER_EXITED;
    }
    int r = restore_endpoints(s, all, err);
    for (size_t i = 0; r == 0 && all[i]; i++)
        r = resume(all[i], err);
    network_resolvers_resumed(s->networks);
    container_all_free(all);
    return r;
}
