#include "api/stats_document.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json_writer.h"

// Members that Docker leaves out at zero.
static void put_nonzero(struct json_writer *w, const char *key, uint64_t value)
{
    if (value)
        json_write_uint(w, key, value);
}

static void put_time(struct json_writer *w, const char *key, int64_t ns)
{
    char text[TIME_TEXT_MAX];
    time_format_rfc3339(ns, text);
    json_write_string(w, key, text);
}

static void put_cpu(struct json_writer *w, const char *key, const struct container_stats *s)
{
    static const struct container_stats none = { 0 };
    if (!s)
        s = &none;
    json_write_open(w, key, '{');
    json_write_open(w, "cpu_usage", '{');
    json_write_uint(w, "total_usage", s->cpu_ns);
    if (s->cpu_each_count) {
        json_write_open(w, "percpu_usage", '[');
        for (size_t i = 0; i < s->cpu_each_count; i++)
            json_write_uint(w, NULL, s->cpu_each_ns[i]);
        json_write_close(w, ']');
    }
    json_write_uint(w, "usage_in_kernelmode", s->cpu_kernel_ns);
    json_write_uint(w, "usage_in_usermode", s->cpu_user_ns);
    json_write_close(w, '}');
    put_nonzero(w, "system_cpu_usage", s->system_ns);
    put_nonzero(w, "online_cpus", s->online_cpus);
    json_write_open(w, "throttling_data", '{');
    json_write_uint(w, "periods", s->throttle_periods);
    json_write_uint(w, "throttled_periods", s->throttled_periods);
    json_write_uint(w, "throttled_time", s->throttled_ns);
    json_write_close(w, '}');
    json_write_close(w, '}');
}

static void put_memory(struct json_writer *w, const struct container_stats *s)
{
    json_write_open(w, "memory_stats", '{');
    put_nonzero(w, "usage", s->memory_bytes);
    put_nonzero(w, "max_usage", s->memory_max_bytes);
    if (s->memory.count) {
        json_write_open(w, "stats", '{');
        for (size_t i = 0; i < s->memory.count; i++)
            json_write_uint(w, s->memory.items[i].key, s->memory.items[i].value);
        json_write_close(w, '}');
    }
    put_nonzero(w, "failcnt", s->memory_failures);
    put_nonzero(w, "limit", s->memory_limit_bytes);
    json_write_close(w, '}');
}

static void put_entries(struct json_writer *w, const char *key, const struct stats_blkio *blkio)
{
    if (!blkio->count) {
        json_write_null(w, key);
        return;
    }
    json_write_open(w, key, '[');
    for (size_t i = 0; i < blkio->count; i++) {
        const struct stats_blkio_entry *e = &blkio->items[i];
        json_write_open(w, NULL, '{');
        json_write_uint(w, "major", e->major);
        json_write_uint(w, "minor", e->minor);
        json_write_string(w, "op", e->op);
        json_write_uint(w, "value", e->value);
        json_write_close(w, '}');
    }
    json_write_close(w, ']');
}

static void put_blkio(struct json_writer *w, const struct container_stats *s)
{
    // Only the multi-queue-less schedulers of old kernels kept the others.
    static const char *const absent[] = { "io_queue_recursive",     "io_service_time_recursive",
                                          "io_wait_time_recursive", "io_merged_recursive",
                                          "io_time_recursive",      "sectors_recursive" };
    json_write_open(w, "blkio_stats", '{');
    put_entries(w, "io_service_bytes_recursive", &s->io_bytes);
    put_entries(w, "io_serviced_recursive", &s->io_operations);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        json_write_null(w, absent[i]);
    json_write_close(w, '}');
}

static void put_networks(struct json_writer *w, const struct container_stats *s)
{
    if (!s->interface_count)
        return;
    json_write_open(w, "networks", '{');
    for (size_t i = 0; i < s->interface_count; i++) {
        const struct stats_interface *n = &s->interfaces[i];
        json_write_open(w, n->name, '{');
        json_write_uint(w, "rx_bytes", n->rx_bytes);
        json_write_uint(w, "rx_packets", n->rx_packets);
        json_write_uint(w, "rx_errors", n->rx_errors);
        json_write_uint(w, "rx_dropped", n->rx_dropped);
        json_write_uint(w, "tx_bytes", n->tx_bytes);
        json_write_uint(w, "tx_packets", n->tx_packets);
        json_write_uint(w, "tx_errors", n->tx_errors);
        json_write_uint(w, "tx_dropped", n->tx_dropped);
        json_write_close(w, '}');
    }
    json_write_close(w, '}');
}

void stats_document_write(struct str *out, const char *id, const char *name, int version,
                          const struct container_stats *now, const struct container_stats *previous)
{
    struct json_writer w = { .out = out };
    CLEANUP(cleanup_free) char *slash_name = xasprintf("/%s", name);
    json_write_open(&w, NULL, '{');
    json_write_string(&w, "id", id);
    json_write_string(&w, "name", slash_name);
    if (version >= 152)
        json_write_string(&w, "os_type", "linux");
    put_time(&w, "read", now->read_ns);
    put_time(&w, "preread", previous ? previous->read_ns : 0);
    json_write_open(&w, "pids_stats", '{');
    put_nonzero(&w, "current", now->pids);
    put_nonzero(&w, "limit", now->pids_limit);
    json_write_close(&w, '}');
    put_blkio(&w, now);
    json_write_uint(&w, "num_procs", 0);
    json_write_open(&w, "storage_stats", '{');
    json_write_close(&w, '}');
    put_cpu(&w, "cpu_stats", now);
    put_cpu(&w, "precpu_stats", previous);
    put_memory(&w, now);
    put_networks(&w, now);
    json_write_close(&w, '}');
}

// The page cache that the kernel gives back as soon as somebody asks; v1 has it for the whole tree.
static void put_idle_memory(struct json_writer *w, const struct container_stats *s)
{
    const char *key = s->is_v2 ? "inactive_file" : "total_inactive_file";
    json_write_open(w, "stats", '{');
    for (size_t i = 0; i < s->memory.count; i++)
        if (streq(s->memory.items[i].key, key))
            json_write_uint(w, key, s->memory.items[i].value);
    json_write_close(w, '}');
}

void stats_summary_write(struct str *out, const char *id, const char *name, const struct container_stats *now)
{
    struct json_writer w = { .out = out };
    CLEANUP(cleanup_free) char *slash_name = xasprintf("/%s", name);
    json_write_open(&w, NULL, '{');
    json_write_string(&w, "id", id);
    json_write_string(&w, "name", slash_name);
    json_write_open(&w, "pids_stats", '{');
    put_nonzero(&w, "current", now->pids);
    json_write_close(&w, '}');
    json_write_open(&w, "blkio_stats", '{');
    put_entries(&w, "io_service_bytes_recursive", &now->io_bytes);
    json_write_close(&w, '}');
    json_write_open(&w, "cpu_stats", '{');
    json_write_open(&w, "cpu_usage", '{');
    json_write_uint(&w, "total_usage", now->cpu_ns);
    json_write_close(&w, '}');
    put_nonzero(&w, "system_cpu_usage", now->system_ns);
    put_nonzero(&w, "online_cpus", now->online_cpus);
    json_write_close(&w, '}');
    json_write_open(&w, "memory_stats", '{');
    put_nonzero(&w, "usage", now->memory_bytes);
    put_nonzero(&w, "limit", now->memory_limit_bytes);
    put_idle_memory(&w, now);
    json_write_close(&w, '}');
    put_networks(&w, now);
    json_write_close(&w, '}');
}
