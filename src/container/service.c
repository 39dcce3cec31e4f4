// Theory of operation. A container is a ref-counted object in one map by id and one by name. Everything that
// says what a container is (its configuration, its image) never changes after create, so it is read without a
// lock; everything that a run changes lies in `state` behind a lock that is held for a few assignments only.
// Lists and inspects copy that state and share the documents by reference count, so they never wait for a
// start, stop or removal. On disk a container is two small records: what it is, written once at create, and
// what its last run left, written at exit; nothing is written between the start request and the execve.
#include "container/container_internal.h"
#include "container/networks.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/rootfs.h"
#include "kernel/version.h"
#include "store/meta.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char *const status_names[] = {
    [CONTAINER_CREATED] = "created",   [CONTAINER_RUNNING] = "running",
    [CONTAINER_PAUSED] = "paused",     [CONTAINER_RESTARTING] = "restarting",
    [CONTAINER_REMOVING] = "removing", [CONTAINER_EXITED] = "exited",
    [CONTAINER_DEAD] = "dead",
};
_Static_assert(sizeof status_names / sizeof *status_names == CONTAINER_STATUS_COUNT,
               "a name for each status");

const char *container_status_name(enum container_status status)
{
    return status < CONTAINER_STATUS_COUNT ? status_names[status] : "unknown";
}

struct container *container_ref(struct container *c)
{
    atomic_fetch_add(&c->references, 1);
    return c;
}

void container_unref(struct container *c)
{
    if (!c || atomic_fetch_sub(&c->references, 1) != 1)
        return;
    attach_drop_pending(c);
    container_config_done(&c->config);
    networks_endpoints_forget(c);
    json_t *documents[] = { c->config_document, c->host_config_document, c->networking_document, c->prepared,
                            c->process,         c->health_log,           c->mounts_document };
    char *texts[] = { c->directory, c->state_directory, c->socket_path, c->cgroup_path, c->image_name,
                      c->name,      c->state.error };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        json_decref(documents[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    strv_free(c->diff_ids);
    strv_free(c->exec_ids);
    fd_close(c->control_fd);
    pthread_mutex_destroy(&c->operation);
    pthread_rwlock_destroy(&c->root);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

void container_unrefp(struct container **c)
{
    container_unref(*c);
}

struct container *container_new(struct container_service *s, const char *id)
{
    struct container *c = NEW(struct container);
    pthread_condattr_t attributes;
    atomic_init(&c->references, 1);
    c->service = s;
    memcpy(c->id, id, sizeof c->id);
    c->directory = xasprintf("%s/%s", s->containers_directory, id);
    c->state_directory = xasprintf("%s/%s", s->options.exec_root, id);
    c->socket_path = xasprintf("%s/shim.sock", c->state_directory);
    c->control_fd = FD_NONE;
    c->created_ns = time_now_ns();
    pthread_mutex_init(&c->operation, NULL);
    pthread_rwlock_init(&c->root, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return c;
}

// --- tables
static struct container *find_by_prefix(struct container_service *s, const char *prefix,
                                        bool *ret_is_ambiguous)
{
    struct container *found = NULL;
    size_t at = 0;
    *ret_is_ambiguous = false;
    for (const struct map_entry *e; (e = map_next(&s->by_id, &at));)
        if (str_has_prefix(e->key, prefix)) {
            *ret_is_ambiguous |= found != NULL;
            found = e->value;
        }
    return found;
}

int container_find(struct container_service *s, const char *name, struct container **ret, struct error *err)
{
    bool is_ambiguous = false;
    const char *key = name[0] == '/' ? name + 1 : name;
    pthread_mutex_lock(&s->lock);
    struct container *c = map_get(&s->by_id, key);
    if (!c)
        c = map_get(&s->by_name, key);
    if (!c && id_is_prefix(key))
        c = find_by_prefix(s, key, &is_ambiguous);
    if (c && !is_ambiguous)
        container_ref(c);
    pthread_mutex_unlock(&s->lock);
    if (is_ambiguous)
        return error_set(err, ERROR_INVALID, "multiple IDs found with provided prefix: %s", key);
    if (!c)
        return error_set(err, ERROR_NOT_FOUND, "No such container: %s", name);
    *ret = c;
    return 0;
}

int container_enter(struct container *c, const char *name, struct error *err)
{
    struct container_service *s = c->service;
    char holder_id[ID_LEN + 1] = "";
    pthread_mutex_lock(&s->lock);
    struct container *holder = map_get(&s->by_name, name);
    if (holder) {
        memcpy(holder_id, holder->id, sizeof holder_id);
    } else {
        free_and_strdup(&c->name, name);
        map_put(&s->by_name, name, c);
        map_put(&s->by_id, c->id, container_ref(c));
    }
    pthread_mutex_unlock(&s->lock);
    if (!holder)
        return 0;
    return error_set(err, ERROR_CONFLICT,
                     "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have "
                     "to remove (or rename) "
                     "that container to be able to reuse that name.",
                     name, holder_id);
}

void container_forget(struct container *c)
{
    struct container_service *s = c->service;
    bool was_there = false;
    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&c->lock);
    if (map_get(&s->by_id, c->id) == c) {
        map_remove(&s->by_id, c->id);
        map_remove(&s->by_name, c->name);
        was_there = true;
    }
    c->is_gone = true;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&s->lock);
    if (was_there)
        container_unref(c);
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = (*(struct container *const *)a)->created_ns, y = (*(struct container *const *)b)->created_ns;
    return x < y ? 1 : x > y ? -1 : 0;
}

struct container **container_all(struct container_service *s)
{
    size_t at = 0, n = 0;
    pthread_mutex_lock(&s->lock);
    struct container **all = xcalloc(s->by_id.len + 1, sizeof(struct container *));
    for (const struct map_entry *e; (e = map_next(&s->by_id, &at));)
        all[n++] = container_ref(e->value);
    pthread_mutex_unlock(&s->lock);
    qsort(all, n, sizeof(struct container *), newest_first);
    return all;
}

void container_all_free(struct container **all)
{
    for (size_t i = 0; all[i]; i++)
        container_unref(all[i]);
    free(all);
}

bool container_is_up(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_up = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED ||
                 c->state.status == CONTAINER_RESTARTING;
    pthread_mutex_unlock(&c->lock);
    return is_up;
}

bool container_is_running(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
    pthread_mutex_unlock(&c->lock);
    return is_running;
}

// --- snapshots
struct container_info *container_snapshot(struct container *c)
{
    struct container_info *info = NEW(struct container_info);
    memcpy(info->id, c->id, sizeof info->id);
    memcpy(info->image_id, c->image_id, sizeof info->image_id);
    info->image_name = xstrdup(c->image_name);
    info->created_ns = c->created_ns;
    info->path = xstrdup(c->config.args[0]);
    info->args = strv_copy(c->config.args + 1);
    if (c->config.log.driver == SHIM_LOG_JSON_FILE)
        info->log_path = xstrdup(c->config.log.path);
    info->hostname_path = container_host_file(c, "hostname");
    info->hosts_path = container_host_file(c, "hosts");
    info->resolv_conf_path = container_host_file(c, "resolv.conf");
    info->config = json_incref(c->config_document);
    info->has_tty = c->config.has_tty;
    info->has_readable_log =
        c->config.log.driver == SHIM_LOG_JSON_FILE || c->config.log.driver == SHIM_LOG_LOCAL;
    info->has_stdin = c->config.has_stdin;
    pthread_mutex_lock(&c->lock);
    const struct container_state *st = &c->state;
    info->name = xstrdup(c->name);
    info->host_config = json_incref(c->host_config_document);
    info->mounts = json_incref(c->mounts_document);
    info->health = health_document(c);
    info->status = st->status;
    info->pid = st->pid;
    info->exit_code = st->exit_code;
    info->was_oom_killed = st->was_oom_killed;
    info->error = xstrdup(st->error);
    info->started_ns = st->started_ns;
    info->finished_ns = st->finished_ns;
    info->restart_count = st->restart_count;
    info->networks = json_incref(json_get_object(c->networking_document, "EndpointsConfig"));
    info->endpoints = xcalloc(c->endpoint_count + 1, sizeof *info->endpoints);
    info->endpoint_count = c->endpoint_count;
    for (size_t i = 0; i < c->endpoint_count; i++)
        info->endpoints[i] = network_endpoint_copy(&c->endpoints[i]);
    info->exec_ids = strv_copy(c->exec_ids);
    pthread_mutex_unlock(&c->lock);
    return info;
}

void container_info_free(struct container_info *info)
{
    if (!info)
        return;
    char *texts[] = { info->name,     info->image_name,    info->error,      info->path,
                      info->log_path, info->hostname_path, info->hosts_path, info->resolv_conf_path };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    strv_free(info->args);
    strv_free(info->exec_ids);
    json_decref(info->config);
    json_decref(info->host_config);
    json_decref(info->health);
    json_decref(info->mounts);
    json_decref(info->networks);
    for (size_t i = 0; i < info->endpoint_count; i++)
        network_endpoint_done(&info->endpoints[i]);
    free(info->endpoints);
    free(info);
}

void container_info_freep(struct container_info **info)
{
    container_info_free(*info);
}

int container_get(struct container_service *s, const char *name, struct container_info **ret,
                  struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    *ret = container_snapshot(c);
    return 0;
}

struct container_info **container_list(struct container_service *s, bool all)
{
    struct container **containers = container_all(s);
    size_t count = 0, n = 0;
    while (containers[count])
        count++;
    struct container_info **list = xcalloc(count + 1, sizeof(struct container_info *));
    for (size_t i = 0; i < count; i++) {
        if (all || container_is_up(containers[i]))
            list[n++] = container_snapshot(containers[i]);
    }
    container_all_free(containers);
    return list;
}

void container_list_free(struct container_info **list)
{
    for (size_t i = 0; list && list[i]; i++)
        container_info_free(list[i]);
    free(list);
}

void container_counts(struct container_service *s, unsigned *ret_running, unsigned *ret_paused,
                      unsigned *ret_stopped)
{
    struct container **all = container_all(s);
    *ret_running = *ret_paused = *ret_stopped = 0;
    for (size_t i = 0; all[i]; i++) {
        pthread_mutex_lock(&all[i]->lock);
        enum container_status status = all[i]->state.status;
        pthread_mutex_unlock(&all[i]->lock);
        ++*(status == CONTAINER_RUNNING || status == CONTAINER_RESTARTING ? ret_running
            : status == CONTAINER_PAUSED                                  ? ret_paused
                                                                          : ret_stopped);
    }
    container_all_free(all);
}

bool container_uses_image(void *service, const char *image_id, char container_id[65], bool *ret_is_running)
{
    struct container_service *s = service;
    struct container *found = NULL;
    size_t at = 0;
    *ret_is_running = false;
    pthread_mutex_lock(&s->lock);
    for (const struct map_entry *e; (e = map_next(&s->by_id, &at));) {
        struct container *c = e->value;
        if (!streq(c->image_id, image_id) && !mounts_use_image(c, image_id))
            continue;
        pthread_mutex_lock(&c->lock);
        bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
        pthread_mutex_unlock(&c->lock);
        if (!found || is_running)
            found = c;
        *ret_is_running |= is_running;
    }
    if (found)
        memcpy(container_id, found->id, sizeof found->id);
    pthread_mutex_unlock(&s->lock);
    return found != NULL;
}

// --- events
void container_event(struct container *c, const char *action, const char *extra_key, const char *extra_value)
{
    const struct event_sink *sink = &c->service->options.events;
    if (!sink->emit)
        return;
    const json_t *labels = json_get_object(c->config_document, "Labels");
    struct event_attribute *a = xcalloc(json_object_size(labels) + 4, sizeof *a);
    unsigned n = 0;
    pthread_mutex_lock(&c->lock);
    CLEANUP(cleanup_free) char *name = xstrdup(c->name);
    pthread_mutex_unlock(&c->lock);
    a[n++] = (struct event_attribute){ "image", c->image_name };
    a[n++] = (struct event_attribute){ "name", name };
    if (extra_key)
        a[n++] = (struct event_attribute){ extra_key, extra_value };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)labels, key, v) if (json_is_string(v)) a[n++] =
        (struct event_attribute){ key, json_string_value(v) };
    const struct event event = {
        .type = "container", .action = action, .actor_id = c->id, .attributes = a, .attribute_count = n
    };
    sink->emit(sink->context, &event);
    free(a);
}

char *container_log_path(const struct container *c)
{
    const char *name = c->config.log.driver == SHIM_LOG_LOCAL ? "local-logs.log" : "json.log";
    return xasprintf("%s/%s-%s", c->directory, c->id, name);
}

// --- records
char *container_state_key(const char *id)
{
    return xasprintf("%s.state", id);
}

int container_save(struct container *c, struct error *err)
{
    CLEANUP(json_cleanup) json_t *record = json_object();
    pthread_mutex_lock(&c->lock);
    json_set_string(record, "name", c->name);
    json_object_set(record, "hostConfig", c->host_config_document);
    if (c->mounts_document)
        json_object_set(record, "mounts", c->mounts_document);
    pthread_mutex_unlock(&c->lock);
    json_set_string(record, "imageName", c->image_name);
    json_set_string(record, "imageId", c->image_id);
    json_object_set_new(record, "layers", json_from_strv(c->diff_ids));
    json_set_int(record, "createdNs", c->created_ns);
    json_set_int(record, "usernsFirstId", c->userns_first_id);
    if (c->project_id)
        json_set_int(record, "projectId", c->project_id);
    json_object_set(record, "config", c->config_document);
    if (c->networking_document)
        json_object_set(record, "networkingConfig", c->networking_document);
    return meta_put(c->service->store, META_CONTAINERS, c->id, record, err);
}

int container_save_state(struct container *c, struct error *err)
{
    CLEANUP(json_cleanup) json_t *record = json_object();
    CLEANUP(cleanup_free) char *key = container_state_key(c->id);
    pthread_mutex_lock(&c->lock);
    const struct container_state *st = &c->state;
    json_set_int(record, "exitCode", st->exit_code);
    json_set_bool(record, "oomKilled", st->was_oom_killed);
    json_set_string(record, "error", st->error);
    json_set_int(record, "startedNs", st->started_ns);
    json_set_int(record, "finishedNs", st->finished_ns);
    json_set_int(record, "restartCount", st->restart_count);
    json_set_bool(record, "hasRun", st->status != CONTAINER_CREATED);
    json_set_bool(record, "isRunning", st->status == CONTAINER_RUNNING || st->status == CONTAINER_PAUSED);
    json_set_bool(record, "isRestarting", st->status == CONTAINER_RESTARTING);
    json_set_bool(record, "wasStopped", st->was_stopped);
    bool is_gone = c->is_gone;
    pthread_mutex_unlock(&c->lock);
    return is_gone ? 0 : meta_put(c->service->store, META_CONTAINERS, key, record, err);
}

// --- the service
static int load_seccomp_profile(struct container_service *s, struct error *err)
{
    const char *path = s->options.seccomp_profile;
    CLEANUP(str_done) struct str text = STR_INIT;
    if (str_is_empty(path) || streq(path, "builtin"))
        return 0;
    if (streq(path, "unconfined")) {
        s->is_seccomp_unconfined = true;
        return 0;
    }
    int r = file_read_at(AT_FDCWD, path, 1 << 20, &text);
    if (r < 0)
        return error_errno(err, r, "seccomp profile %s", path);
    return json_parse(text.ptr, text.len, &s->seccomp_profile, err);
}

static void copy_options(struct container_service *s, const struct container_options *options)
{
    s->options = *options;
    s->options.exec_root = xstrdup(options->exec_root);
    s->options.shim_program = xstrdup(options->shim_program);
    s->options.cgroup_parent = xstrdup(options->cgroup_parent ? options->cgroup_parent : "/skiff");
    s->options.userns_mode = xstrdup(options->userns_mode ? options->userns_mode : "private");
    s->options.seccomp_profile = xstrdup(options->seccomp_profile);
    s->options.cdi_directories = strv_copy(options->cdi_directories);
    s->options.init_program = xstrdup(options->init_program);
    s->options.log_driver = xstrdup(options->log_driver);
    s->options.log_options = strv_copy(options->log_options);
    if (s->options.stop_timeout_s <= 0)
        s->options.stop_timeout_s = 10;
}

struct shim_program container_shim_program(const struct container_service *s)
{
    return (struct shim_program){ s->options.shim_program, s->options.cgroup_parent };
}

struct container_roots container_roots(const struct container_service *s)
{
    return (struct container_roots){ s->containers_directory, s->options.exec_root };
}

// The files are seen through an idmapped mount, which tmpfs, as exec roots are, allows from 6.3 on.
static bool must_keep_host_files_in_data(const struct container_service *s)
{
    struct statfs st;
    return statfs(s->options.exec_root, &st) == 0 && st.f_type == TMPFS_MAGIC && !kernel_is_at_least(6, 3);
}

// Refuse at the engine's start what every create would be refused for.
static int check_log_defaults(const struct container_service *s, struct error *err)
{
    struct container_config c = { 0 };
    CLEANUP(json_cleanup) json_t *host_config = json_pack("{s:{s:{}}}", "LogConfig", "Config");
    config_log_default(host_config, NULL, s->options.log_driver, s->options.log_options);
    int r = config_parse_log(host_config, &c, err);
    config_log_done(&c);
    return r < 0 ? error_wrap(err, "failed to set log opts") : 0;
}

static void service_free(struct container_service *s)
{
    size_t at = 0;
    spares_free(s->spares);
    stats_sampler_free(s->stats);
    for (const struct map_entry *e; (e = map_next(&s->by_id, &at));)
        container_unref(e->value);
    timers_free(s->timers);
    map_done(&s->by_id);
    map_done(&s->by_name);
    map_done(&s->execs);
    seccomp_cache_free(s->seccomp);
    json_decref(s->seccomp_profile);
    const char *texts[] = { s->options.exec_root,   s->options.shim_program,    s->options.cgroup_parent,
                            s->options.userns_mode, s->options.seccomp_profile, s->options.init_program,
                            s->options.log_driver,  s->containers_directory };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((void *)(uintptr_t)texts[i]);
    strv_free(s->options.cdi_directories);
    strv_free(s->options.log_options);
    fd_close(s->epoll_fd);
    fd_close(s->wake_fd);
    free(s);
}

int container_service_open(struct store *store, struct image_service *images,
                           struct network_service *networks, const struct container_options *options,
                           struct container_service **ret, struct error *err)
{
    struct container_service *s = NEW(struct container_service);
    s->store = store;
    s->images = images;
    s->networks = networks;
    s->epoll_fd = s->wake_fd = FD_NONE;
    s->jobs_tail = &s->jobs;
    copy_options(s, options);
    s->containers_directory = xasprintf("%s/containers", store_root(store));
    s->seccomp = seccomp_cache_new();
    const struct shim_program program = container_shim_program(s);
    const struct container_roots roots = container_roots(s);
    s->spares = spares_new(&program, &roots);
    static timer_work *const works[TIMER_KIND_COUNT] = {
        [TIMER_RESTART] = restart_due, [TIMER_HEALTH] = health_due
    };
    s->timers = timers_new(works);
    s->stats = stats_sampler_new(s);
    userns_allocator_init(&s->userns);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->janitor_lock, NULL);
    pthread_cond_init(&s->janitor_wake, NULL);
    int r = dir_make_all(s->containers_directory, 0700);
    if (r == 0)
        r = dir_make_all(s->options.exec_root, 0711);
    s->keeps_host_files_in_data = must_keep_host_files_in_data(s);
    if (r < 0) {
        error_errno(err, r, "make directories for containers");
    } else if (check_log_defaults(s, err) == 0 && load_seccomp_profile(s, err) == 0 &&
               monitor_start(s, err) == 0) {
        if (recover(s, err) == 0) {
            *ret = s;
            return 0;
        }
        timers_stop(s->timers);
        monitor_stop(s);
    }
    service_free(s);
    return -1;
}

void container_service_close(struct container_service *s)
{
    if (!s)
        return;
    timers_stop(s->timers);
    monitor_stop(s);
    struct container **all = container_all(s);
    for (size_t i = 0; all[i]; i++)
        execs_end(all[i], true);
    container_all_free(all);
    service_free(s);
}
