#include "api/stats_document.h"

#include "base/clock.h"
#include "codec/json.h"

// Members that Docker leaves out at zero.
static void set_nonzero(json_t *object, const char *key, uint64_t value)
{
    if (value)
        json_set_int(object, key, (int64_t)value);
}

static void set_time(json_t *object, const char *key, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    time_format_rfc3339(ns, text);
    json_set_string(object, key, text);
}

static json_t *cpu_document(const struct container_stats *s)
{
    json_t *cpu = json_object(), *usage = json_object(), *throttling = json_object();
    json_set_int(usage, "total_usage", s ? (int64_t)s->cpu_ns : 0);
    if (s && s->cpu_each_count) {
        json_t *each = json_array();
        for (size_t i = 0; i < s->cpu_each_count; i++)
            json_array_append_new(each, json_integer((json_int_t)s->cpu_each_ns[i]));
        json_object_set_new(usage, "percpu_usage", each);
    }
    json_set_int(usage, "usage_in_kernelmode", s ? (int64_t)s->cpu_kernel_ns : 0);
    json_set_int(usage, "usage_in_usermode", s ? (int64_t)s->cpu_user_ns : 0);
    json_object_set_new(cpu, "cpu_usage", usage);
    set_nonzero(cpu, "system_cpu_usage", s ? s->system_ns : 0);
    set_nonzero(cpu, "online_cpus", s ? s->online_cpus : 0);
    json_set_int(throttling, "periods", s ? (int64_t)s->throttle_periods : 0);
    json_set_int(throttling, "throttled_periods", s ? (int64_t)s->throttled_periods : 0);
    json_set_int(throttling, "throttled_time", s ? (int64_t)s->throttled_ns : 0);
    json_object_set_new(cpu, "throttling_data", throttling);
    return cpu;
}

static json_t *memory_document(const struct container_stats *s)
{
    json_t *memory = json_object();
    set_nonzero(memory, "usage", s->memory_bytes);
    set_nonzero(memory, "max_usage", s->memory_max_bytes);
    if (s->memory.count) {
        json_t *values = json_object();
        for (size_t i = 0; i < s->memory.count; i++)
            json_set_int(values, s->memory.items[i].key, (int64_t)s->memory.items[i].value);
        json_object_set_new(memory, "stats", values);
    }
    set_nonzero(memory, "failcnt", s->memory_failures);
    set_nonzero(memory, "limit", s->memory_limit_bytes);
    return memory;
}

static json_t *entries_document(const struct stats_blkio *blkio)
{
    if (!blkio->count)
        return json_null();
    json_t *entries = json_array();
    for (size_t i = 0; i < blkio->count; i++) {
        const struct stats_blkio_entry *e = &blkio->items[i];
        json_array_append_new(entries,
                              json_pack("{s:I, s:I, s:s, s:I}", "major", (json_int_t)e->major, "minor",
                                        (json_int_t)e->minor, "op", e->op, "value", (json_int_t)e->value));
    }
    return entries;
}

static json_t *blkio_document(const struct container_stats *s)
{
    // Only the multi-queue-less schedulers of old kernels kept the others.
    static const char *const absent[] = { "io_queue_recursive",     "io_service_time_recursive",
                                          "io_wait_time_recursive", "io_merged_recursive",
                                          "io_time_recursive",      "sectors_recursive" };
    json_t *blkio = json_object();
    json_object_set_new(blkio, "io_service_bytes_recursive", entries_document(&s->io_bytes));
    json_object_set_new(blkio, "io_serviced_recursive", entries_document(&s->io_operations));
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        json_object_set_new(blkio, absent[i], json_null());
    return blkio;
}

static json_t *networks_document(const struct container_stats *s)
{
    json_t *networks = json_object();
    for (size_t i = 0; i < s->interface_count; i++) {
        const struct stats_interface *n = &s->interfaces[i];
        json_object_set_new(networks, n->name,
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_bytes",
                                      (json_int_t)n->rx_bytes, "rx_packets", (json_int_t)n->rx_packets,
                                      "rx_errors", (json_int_t)n->rx_errors, "rx_dropped",
                                      (json_int_t)n->rx_dropped, "tx_bytes", (json_int_t)n->tx_bytes,
                                      "tx_packets", (json_int_t)n->tx_packets, "tx_errors",
                                      (json_int_t)n->tx_errors, "tx_dropped", (json_int_t)n->tx_dropped));
    }
    return networks;
}

json_t *stats_document(const char *id, const char *name, int version, const struct container_stats *now,
                       const struct container_stats *previous)
{
    json_t *document = json_object(), *pids = json_object();
    json_set_string(document, "id", id);
    json_object_set_new(document, "name", json_sprintf("/%s", name));
    if (version >= 152)
        json_set_string(document, "os_type", "linux");
    set_time(document, "read", now->read_ns);
    set_time(document, "preread", previous ? previous->read_ns : 0);
    set_nonzero(pids, "current", now->pids);
    set_nonzero(pids, "limit", now->pids_limit);
    json_object_set_new(document, "pids_stats", pids);
    json_object_set_new(document, "blkio_stats", blkio_document(now));
    json_set_int(document, "num_procs", 0);
    json_object_set_new(document, "storage_stats", json_object());
    json_object_set_new(document, "cpu_stats", cpu_document(now));
    json_object_set_new(document, "precpu_stats", cpu_document(previous));
    json_object_set_new(document, "memory_stats", memory_document(now));
    if (now->interface_count)
        json_object_set_new(document, "networks", networks_document(now));
    return document;
}
