// Theory of operation. The changed members are laid over the container's HostConfig and the result is parsed as a create
// request's is, so an update accepts nothing that a create refuses. Limits, mounts, devices and ports move over to the container's
// configuration, which is read by the next start under the operation lock that is held here; the rest never changes. A running
// container's shim is given the limits as it was given them at the start, and what it refuses changes nothing. Ports, devices and
// mounts of a running container (update_live.c) come before the limits, and everything before the record: a request is carried out
// as a whole or not at all, and update_recover.c keeps that promise for an engine that is killed in the middle.
#include "container/update.h"
#include "container/container_internal.h"
#include "container/networks.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

static const char *const changeable[] = {
    "BlkioWeight",        "CpuShares", "NanoCpus",   "CpuPeriod",         "CpuQuota",  "CpusetCpus",
    "CpusetMems",         "Memory",    "MemorySwap", "MemoryReservation", "PidsLimit", "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
};
// Of skiff's own: Docker changes no size. Not the shim's business.
static const char *const storage_member = "StorageOpt";

static bool is_given(const json_t *v)
{
    return v && !json_is_null(v) && !json_is_false(v) &&
           !(json_is_integer(v) && json_integer_value(v) == 0) &&
           !(json_is_string(v) && !*json_string_value(v)) && !(json_is_array(v) && json_array_size(v) == 0) &&
           !(json_is_object(v) && json_object_size(v) == 0);
}

// A limit of 0 processes is a wish too: there is no bound any more.
static bool is_change(const char *key, const json_t *v)
{
    return streq(key, "PidsLimit") ? json_is_integer(v) : is_given(v);
}

static int check_members(const json_t *document, struct error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)document, key, v)
    {
        bool is_known =
            streq(key, "RestartPolicy") || streq(key, storage_member) || update_wish_is_member(key);
        for (size_t i = 0; i < sizeof changeable / sizeof *changeable; i++)
            is_known |= streq(key, changeable[i]);
        // Docker's client sends -1 for what it does not know of.
        bool is_open = !is_given(v) || (streq(key, "MemorySwappiness") && json_integer_value(v) == -1);
        if (!is_known && !is_open)
            return error_set(err, ERROR_UNSUPPORTED, "%s cannot be updated", key);
    }
    return 0;
}

// The two ways to say how much processor time exclude each other, also over time.
static int check_cpu(const json_t *now, const json_t *change, struct error *err)
{
    static const struct {
        const char *changed, *set, *message;
    } rules[] = {
        { "NanoCpus", "CpuPeriod",
          "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set" },
        { "NanoCpus", "CpuQuota",
          "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set" },
        { "CpuPeriod", "NanoCpus",
          "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set" },
        { "CpuQuota", "NanoCpus",
          "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (json_get_int(change, rules[i].changed, 0) > 0 && json_get_int(now, rules[i].set, 0) > 0)
            return error_set(err, ERROR_CONFLICT, "%s", rules[i].message);
    return 0;
}

static int check_change(const json_t *now, const json_t *change, const struct restart_policy *policy,
                        struct error *err)
{
    int64_t memory = json_get_int(change, "Memory", 0), swap = json_get_int(change, "MemorySwap", 0);
    if (check_cpu(now, change, err) < 0)
        return -1;
    if (memory != 0 && swap == 0 && memory > json_get_int(now, "MemorySwap", 0))
        return error_set(err, ERROR_CONFLICT,
                         "Memory limit should be smaller than already set memoryswap limit, update the "
                         "memoryswap at the same time");
    if (policy->kind != RESTART_NO && json_get_bool(now, "AutoRemove", false))
        return error_set(err, ERROR_CONFLICT,
                         "Restart policy cannot be updated because AutoRemove is enabled for the container");
    return 0;
}

static json_t *merge(const json_t *now, const json_t *change)
{
    json_t *merged = json_deep_copy(now);
    for (size_t i = 0; i < sizeof changeable / sizeof *changeable; i++) {
        json_t *v = json_object_get(change, changeable[i]);
        if (is_change(changeable[i], v))
            json_object_set(merged, changeable[i], v);
    }
    if (is_given(json_object_get(change, storage_member)))
        json_object_set(merged, storage_member, json_object_get(change, storage_member));
    json_t *policy = json_get_object(change, "RestartPolicy");
    if (!str_is_empty(json_get_string(policy, "Name", NULL)))
        json_object_set(merged, "RestartPolicy", policy);
    return merged;
}

// The limits of `from` become those of `to`, and the other way round.
static void swap_limits(struct container_config *to, struct container_config *from)
{
    const struct container_config old = *to;
#define SWAP(member) (to->member = from->member, from->member = old.member)
    SWAP(memory_bytes);
    SWAP(memory_reservation_bytes);
    SWAP(memory_swap_bytes);
    SWAP(nano_cpus);
    SWAP(cpu_shares);
    SWAP(cpu_period_us);
    SWAP(cpu_quota_us);
    SWAP(cpu_rt_period_us);
    SWAP(cpu_rt_runtime_us);
    SWAP(cpuset_cpus);
    SWAP(cpuset_mems);
    SWAP(pids_limit);
    SWAP(blkio_weight);
    SWAP(storage_size_bytes);
#undef SWAP
}

// The same for what a container has besides limits. c->lock is held.
static void swap_parts(struct container_config *to, struct container_config *from)
{
    const struct container_config old = *to;
#define SWAP(member) (to->member = from->member, from->member = old.member)
    SWAP(binds);
    SWAP(bind_count);
    SWAP(tmpfs);
    SWAP(tmpfs_count);
    SWAP(devices);
    SWAP(device_count);
    SWAP(ports);
    SWAP(port_count);
#undef SWAP
}

// What an update makes of a container, and after `exchange` what it was.
struct version {
    json_t *host_config, *mounts; // owned
    struct restart_policy restart;
    struct container_config *config; // limits, binds, tmpfs, devices, ports
};

// It comes into force, and the document made ahead for the first start is void. Done again, it is taken back.
static void exchange(struct container *c, struct version *v)
{
    pthread_mutex_lock(&c->lock);
    struct version old = { c->host_config_document, c->mounts_document, c->restart, v->config };
    c->host_config_document = v->host_config;
    c->mounts_document = v->mounts;
    c->restart = v->restart;
    swap_limits(&c->config, v->config);
    swap_parts(&c->config, v->config);
    json_t *prepared = TAKE_PTR(c->prepared);
    pthread_mutex_unlock(&c->lock);
    *v = old;
    json_decref(prepared);
}

// The whole set, limits that are gone included: what is not given stays as it is in the kernel.
static int apply_limits(struct container *c, const struct container_config *config, const json_t *change,
                        struct error *err)
{
    CLEANUP(json_cleanup) json_t *document = NULL;
    const struct shim_message m = { .type = SHIM_UPDATE };
    if (spec_resources_document(config, &document, err) < 0)
        return -1;
    if (json_is_integer(json_object_get(change, "PidsLimit")) && config->pids_limit == 0) {
        json_t *resources = json_get_object(json_get_object(document, "linux"), "resources");
        if (resources)
            json_object_set_new(resources, "pids", json_pack("{s:i}", "limit", -1));
        else
            json_object_set_new(document, "linux",
                                json_pack("{s:{s:{s:i}}}", "resources", "pids", "limit", -1));
    }
    CLEANUP(cleanup_free) char *text = json_text(document);
    CLEANUP(cleanup_close) int fd = fd_from_bytes("update", text, strlen(text));
    if (fd < 0)
        return error_errno(err, fd, "update");
    return shim_call(c->socket_path, &m, &fd, 1, NULL, err);
}

static bool has_limits(const json_t *change)
{
    for (size_t i = 0; i < sizeof changeable / sizeof *changeable; i++)
        if (is_change(changeable[i], json_object_get(change, changeable[i])))
            return true;
    return false;
}

// Everything that the running container itself has to notice. Undone on failure.
static int apply(struct container *c, const struct version *next, const struct update_wish *wish,
                 const json_t *change, struct error *err)
{
    const struct update_live live = { .container = c, .from = &c->config, .to = next->config, .wish = wish };
    const struct update_live back = {
        .container = c, .from = next->config, .to = &c->config, .is_repeated = true
    };
    struct error ignored;
    int r = wish->has_any ? update_intent_write(c, next->host_config, next->mounts) : 0;
    if (r < 0)
        return error_errno(err, r, "note what is to be changed");
    if (wish->has_any && update_live_apply(&live, err) < 0)
        return -1;
    if (!has_limits(change) || apply_limits(c, next->config, change, err) == 0)
        return 0;
    if (wish->has_any)
        (void)update_live_apply(&back, &ignored);
    return -1;
}

// The record, after everything else.
static int commit(struct container *c, struct version *next, const struct update_wish *wish,
                  const json_t *change, bool is_running, struct error *err)
{
    struct error ignored;
    exchange(c, next);
    if (container_save(c, err) == 0)
        return 0;
    exchange(c, next);
    const struct update_live back = {
        .container = c, .from = next->config, .to = &c->config, .is_repeated = true
    };
    if (is_running && has_limits(change))
        (void)apply_limits(c, &c->config, change, &ignored);
    if (is_running && wish->has_any)
        (void)update_live_apply(&back, &ignored);
    return -1;
}

// The file of this run has the endpoint. What is not known to have ended one way or the other is left for the next engine to settle.
static void end_live(struct container *c, bool is_changed, const struct error *err)
{
    int r = is_changed ? container_replace_run_file(c) : 0;
    if (r < 0)
        log_warn("container %s: write run record: %s", c->id, strerror(-r));
    if (r == 0 && (is_changed || err->kind != ERROR_UNAVAILABLE))
        update_intent_forget(c);
}

static int carry_out(struct container *c, struct version *next, struct update_wish *wish,
                     const json_t *change, struct error *err)
{
    bool is_running = container_is_running(c);
    int r = update_mounts_resolve(c, wish, next->config, err);
    if (r == 0)
        next->mounts = update_mounts_document(next->config);
    if (r == 0 && is_running)
        r = apply(c, next, wish, change, err);
    if (r == 0)
        r = commit(c, next, wish, change, is_running, err);
    if (is_running && wish->has_any)
        end_live(c, r == 0, err);
    // next->config holds the side that is not in force now.
    update_mounts_settle(c, next->config, &c->config, wish, r < 0);
    return r;
}

static int parse_and_carry_out(struct container *c, const json_t *now, const json_t *change, char ***warnings,
                               struct error *err)
{
    struct container_config fresh;
    struct update_wish wish;
    struct version next = { .config = &fresh, .host_config = merge(now, change) };
    const struct network_endpoint *endpoint = networks_port_endpoint(c);
    int r = update_wish_parse(change, &c->config, endpoint, next.host_config, &wish, err);
    if (r == 0 &&
        (r = container_config_parse(c->config_document, next.host_config, &fresh, warnings, err)) == 0) {
        const uint64_t former_size = c->config.storage_size_bytes, size = fresh.storage_size_bytes;
        next.restart = fresh.restart;
        r = storage_resize(c, former_size, size, err);
        if (r == 0 && (r = carry_out(c, &next, &wish, change, err)) < 0) {
            struct error ignored;
            (void)storage_resize(c, size, former_size, &ignored);
        }
        container_config_done(&fresh);
    }
    update_wish_done(&wish);
    json_decref(next.host_config);
    json_decref(next.mounts);
    return r;
}

static int update_locked(struct container *c, const json_t *change, char ***warnings, struct error *err)
{
    struct restart_policy policy;
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    CLEANUP(json_cleanup) json_t *now = json_incref(c->host_config_document);
    pthread_mutex_unlock(&c->lock);
    if (status == CONTAINER_REMOVING || status == CONTAINER_DEAD)
        return error_set(err, ERROR_CONFLICT, "container is marked for removal and cannot be \"update\"");
    if (restart_policy_parse(json_get_object(change, "RestartPolicy"), &policy, err) < 0)
        return -1;
    if (check_change(now, change, &policy, err) < 0 || parse_and_carry_out(c, now, change, warnings, err) < 0)
        return error_wrap(err, "Cannot update container %s", c->id);
    return 0;
}

int container_update(struct container_service *s, const char *name, const json_t *document,
                     char ***ret_warnings, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct error ignored;
    if (container_find(s, name, &c, err) < 0 || check_members(document, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = update_locked(c, document, ret_warnings, err);
    pthread_mutex_lock(&c->lock);
    c->limits_version++; // also when it failed: some may have been written
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->operation);
    if (r < 0)
        return r;
    // Whether it runs now matters to a policy that it did not have when it was started.
    if (container_save_state(c, &ignored) < 0)
        log_warn("container %s: %s", c->id, ignored.message);
    container_event(c, "update", NULL, NULL);
    return 0;
}
