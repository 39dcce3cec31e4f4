// Theory of operation. The OCI resources are written in terms of cgroup v1; v1 takes them as they are, v2 by
// the conversions that runtimes agree on (shares to weight, memory+swap to swap alone, throttles to io.max
// lines). A plan is only a list of files and texts, in the order in which the kernel accepts them: memory
// before memory+swap, the period before the quota.
#include "runtime/plan/plan.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct plan_writes *w, const char *controller, const char *file, const char *other_file,
                char *value)
{
    w->items = xreallocarray(w->items, w->count + 1, sizeof *w->items);
    w->items[w->count++] = (struct plan_write){ controller, file, value, other_file };
}

static void add_int(struct plan_writes *w, const char *controller, const char *file, int64_t value)
{
    add(w, controller, file, NULL, xasprintf("%" PRId64, value));
}

// v2 says "max" for "no limit".
static void add_max(struct plan_writes *w, const char *file, int64_t value)
{
    add(w, NULL, file, NULL, value < 0 ? xstrdup("max") : xasprintf("%" PRId64, value));
}

static void add_throttles(struct plan_writes *w, const char *file, const struct oci_throttle_device *t,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(w, "blkio", file, NULL,
            xasprintf("%" PRId64 ":%" PRId64 " %" PRIu64, t[i].major, t[i].minor, t[i].rate));
}

static void blkio_v1(struct plan_writes *w, const struct oci_resources *r)
{
    if (r->blkio_weight)
        add(w, "blkio", "blkio.weight", "blkio.bfq.weight", xasprintf("%u", r->blkio_weight));
    for (size_t i = 0; i < r->weight_device_count; i++) {
        const struct oci_weight_device *d = &r->weight_devices[i];
        add(w, "blkio", "blkio.weight_device", "blkio.bfq.weight_device",
            xasprintf("%" PRId64 ":%" PRId64 " %u", d->major, d->minor, d->weight));
    }
    add_throttles(w, "blkio.throttle.read_bps_device", r->read_bps, r->read_bps_count);
    add_throttles(w, "blkio.throttle.write_bps_device", r->write_bps, r->write_bps_count);
    add_throttles(w, "blkio.throttle.read_iops_device", r->read_iops, r->read_iops_count);
    add_throttles(w, "blkio.throttle.write_iops_device", r->write_iops, r->write_iops_count);
}

struct plan_writes plan_limits_v1(const struct oci_resources *r)
{
    struct plan_writes w = { 0 };
    if (r->memory_limit != INT64_MIN)
        add_int(&w, "memory", "memory.limit_in_bytes", r->memory_limit);
    if (r->memory_swap != INT64_MIN)
        add_int(&w, "memory", "memory.memsw.limit_in_bytes", r->memory_swap);
    if (r->memory_reservation != INT64_MIN)
        add_int(&w, "memory", "memory.soft_limit_in_bytes", r->memory_reservation);
    if (r->has_swappiness)
        add_int(&w, "memory", "memory.swappiness", (int64_t)r->swappiness);
    if (r->disable_oom_killer)
        add_int(&w, "memory", "memory.oom_control", 1);
    if (r->cpu_shares)
        add_int(&w, "cpu", "cpu.shares", (int64_t)r->cpu_shares);
    if (r->cpu_period_us)
        add_int(&w, "cpu", "cpu.cfs_period_us", (int64_t)r->cpu_period_us);
    if (r->cpu_quota_us != INT64_MIN)
        add_int(&w, "cpu", "cpu.cfs_quota_us", r->cpu_quota_us);
    if (r->cpu_rt_period_us)
        add_int(&w, "cpu", "cpu.rt_period_us", (int64_t)r->cpu_rt_period_us);
    if (r->cpu_rt_runtime_us != INT64_MIN)
        add_int(&w, "cpu", "cpu.rt_runtime_us", r->cpu_rt_runtime_us);
    if (r->cpus)
        add(&w, "cpuset", "cpuset.cpus", NULL, xstrdup(r->cpus));
    if (r->mems)
        add(&w, "cpuset", "cpuset.mems", NULL, xstrdup(r->mems));
    if (r->pids_limit != INT64_MIN)
        add(&w, "pids", "pids.max", NULL,
            r->pids_limit <= 0 ? xstrdup("max") : xasprintf("%" PRId64, r->pids_limit));
    blkio_v1(&w, r);
    if (r->unified && r->unified[0])
        w.refused = "unified resources need cgroup v2";
    return w;
}

static void memory_v2(struct plan_writes *w, const struct oci_resources *r)
{
    if (r->memory_limit != INT64_MIN)
        add_max(w, "memory.max", r->memory_limit);
    if (r->memory_reservation != INT64_MIN)
        add_max(w, "memory.low", r->memory_reservation < 0 ? 0 : r->memory_reservation);
    if (r->memory_swap == INT64_MIN)
        return;
    if (r->memory_swap < 0)
        add_max(w, "memory.swap.max", -1);
    else if (r->memory_limit == INT64_MIN || r->memory_limit < 0)
        w->refused = "a memory+swap limit needs a memory limit";
    else if (r->memory_swap < r->memory_limit)
        w->refused = "Minimum memoryswap limit should be larger than memory limit, see usage";
    else
        add_max(w, "memory.swap.max", r->memory_swap - r->memory_limit);
}

static void cpu_v2(struct plan_writes *w, const struct oci_resources *r)
{
    if (r->cpu_shares) { // [2, 262144] to [1, 10000]
        uint64_t shares = r->cpu_shares < 2 ? 2 : r->cpu_shares > 262144 ? 262144 : r->cpu_shares;
        add_int(w, NULL, "cpu.weight", (int64_t)(1 + (shares - 2) * 9999 / 262142));
    }
    if (r->cpu_quota_us != INT64_MIN || r->cpu_period_us) {
        uint64_t period = r->cpu_period_us ? r->cpu_period_us : 100000;
        if (r->cpu_quota_us > 0)
            add(w, NULL, "cpu.max", NULL, xasprintf("%" PRId64 " %" PRIu64, r->cpu_quota_us, period));
        else
            add(w, NULL, "cpu.max", NULL, xasprintf("max %" PRIu64, period));
    }
    if (r->cpu_rt_runtime_us > 0 || r->cpu_rt_period_us)
        w->refused = "real-time cpu limits need cgroup v1";
    if (r->cpus)
        add(w, NULL, "cpuset.cpus", NULL, xstrdup(r->cpus));
    if (r->mems)
        add(w, NULL, "cpuset.mems", NULL, xstrdup(r->mems));
}

static void io_max(struct plan_writes *w, const char *key, const struct oci_throttle_device *t, size_t count)
{
    for (size_t i = 0; i < count; i++) // io.max keeps the keys that a line does not name
        add(w, NULL, "io.max", NULL,
            xasprintf("%" PRId64 ":%" PRId64 " %s=%" PRIu64, t[i].major, t[i].minor, key, t[i].rate));
}

static int io_weight(int weight)
{
    return weight < 10 ? 1 : 1 + (weight - 10) * 9999 / 990; // [10, 1000] to [1, 10000]
}

struct plan_writes plan_limits_v2(const struct oci_resources *r)
{
    struct plan_writes w = { 0 };
    memory_v2(&w, r);
    cpu_v2(&w, r);
    if (r->pids_limit != INT64_MIN)
        add_max(&w, "pids.max", r->pids_limit <= 0 ? -1 : r->pids_limit);
    if (r->blkio_weight)
        add(&w, NULL, "io.weight", NULL, xasprintf("default %d", io_weight(r->blkio_weight)));
    for (size_t i = 0; i < r->weight_device_count; i++) {
        const struct oci_weight_device *d = &r->weight_devices[i];
        add(&w, NULL, "io.weight", NULL,
            xasprintf("%" PRId64 ":%" PRId64 " %d", d->major, d->minor, io_weight(d->weight)));
    }
    io_max(&w, "rbps", r->read_bps, r->read_bps_count);
    io_max(&w, "wbps", r->write_bps, r->write_bps_count);
    io_max(&w, "riops", r->read_iops, r->read_iops_count);
    io_max(&w, "wiops", r->write_iops, r->write_iops_count);
    for (size_t i = 0; r->unified && r->unified[i]; i++) {
        const char *equals = strchr(r->unified[i], '=');
        if (memchr(r->unified[i], '/', (size_t)(equals - r->unified[i])))
            w.refused = "a unified resource must be a plain file name";
        else // "file=value": the file name is what stands in front; the writer cuts it there
            add(&w, NULL, r->unified[i], NULL, xstrdup(equals + 1));
    }
    return w;
}

void plan_writes_done(struct plan_writes *writes)
{
    for (size_t i = 0; i < writes->count; i++)
        free(writes->items[i].value);
    free(writes->items);
    *writes = (struct plan_writes){ 0 };
}
