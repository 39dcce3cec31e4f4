// Engine figures have dockerd's names, so that its dashboards work; containers' have names of our own, in base units, as Prometheus
// wants them. Spec: Prometheus text exposition format.
#include "api/metrics.h"

#include "api/host.h"
#include "api/prometheus.h"
#include "base/clock.h"
#include "base/mem.h"
#include "container/stats.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void put_engine(struct str *out, const struct engine *engine)
{
    struct utsname host;
    uname(&host);
    const struct prometheus_label info[] = { { "version", SKIFF_VERSION },
                                             { "architecture", host.machine },
                                             { "kernel", host.release },
                                             { "daemon_id", engine->id },
                                             { "os_type", "linux" },
                                             { "graphdriver", "overlay2" },
                                             { NULL, NULL } };
    prometheus_family(out, "engine_daemon_engine_info", "gauge", "The engine and the host it runs on");
    prometheus_sample(out, "engine_daemon_engine_info", info, 1);
    prometheus_family(out, "engine_daemon_engine_cpus_cpus", "gauge", "Processors of the host");
    prometheus_sample(out, "engine_daemon_engine_cpus_cpus", NULL, (double)sysconf(_SC_NPROCESSORS_ONLN));
    prometheus_family(out, "engine_daemon_engine_memory_bytes", "gauge", "Memory of the host");
    prometheus_sample(out, "engine_daemon_engine_memory_bytes", NULL,
                      (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
    prometheus_family(out, "process_start_time_seconds", "gauge",
                      "When the engine was started, in seconds since 1970");
    prometheus_sample(out, "process_start_time_seconds", NULL, (double)engine->started_ns / (double)NS_PER_S);
}

static void put_states(struct str *out, const struct engine *engine)
{
    static const char *const names[] = { "running", "paused", "stopped" };
    unsigned counts[3] = { 0 };
    container_counts(engine->containers, &counts[0], &counts[1], &counts[2]);
    prometheus_family(out, "engine_daemon_container_states_containers", "gauge", "Containers by state");
    for (size_t i = 0; i < 3; i++)
        prometheus_sample(out, "engine_daemon_container_states_containers",
                          (const struct prometheus_label[]){ { "state", names[i] }, { NULL, NULL } },
                          counts[i]);
}

// --- containers
struct reading {
    const struct container_info *info;
    struct container_stats stats;
};

static double sum_of(const struct stats_blkio *blkio, char op)
{
    double sum = 0;
    for (size_t i = 0; i < blkio->count; i++)
        sum += (blkio->items[i].op[0] | 0x20) == op ? (double)blkio->items[i].value : 0;
    return sum;
}

static double cpu_seconds(const struct container_stats *s)
{
    return (double)s->cpu_ns / (double)NS_PER_S;
}
static double throttled_seconds(const struct container_stats *s)
{
    return (double)s->throttled_ns / (double)NS_PER_S;
}
static double memory_usage(const struct container_stats *s)
{
    return (double)s->memory_bytes;
}
static double memory_limit(const struct container_stats *s)
{
    return (double)s->memory_limit_bytes;
}
static double processes(const struct container_stats *s)
{
    return (double)s->pids;
}
static double block_read(const struct container_stats *s)
{
    return sum_of(&s->io_bytes, 'r');
}
static double block_written(const struct container_stats *s)
{
    return sum_of(&s->io_bytes, 'w');
}

static const struct family {
    const char *name, *type, *help;
    double (*value)(const struct container_stats *stats);
} families[] = {
    { "skiff_container_cpu_usage_seconds_total", "counter", "Processor time used", cpu_seconds },
    { "skiff_container_cpu_throttled_seconds_total", "counter", "Time kept from running by a limit",
      throttled_seconds },
    { "skiff_container_memory_usage_bytes", "gauge", "Memory charged, page cache included", memory_usage },
    { "skiff_container_memory_limit_bytes", "gauge", "Memory limit, or the host's memory", memory_limit },
    { "skiff_container_processes", "gauge", "Processes and threads", processes },
    { "skiff_container_block_read_bytes_total", "counter", "Bytes read from block devices", block_read },
    { "skiff_container_block_written_bytes_total", "counter", "Bytes written to block devices",
      block_written },
};

static void put_networks(struct str *out, const struct reading *readings, size_t count, bool is_receive)
{
    const char *name = is_receive ? "skiff_container_network_receive_bytes_total"
                                  : "skiff_container_network_transmit_bytes_total";
    prometheus_family(out, name, "counter", is_receive ? "Bytes received" : "Bytes sent");
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < readings[i].stats.interface_count; k++) {
            const struct stats_interface *n = &readings[i].stats.interfaces[k];
            const struct prometheus_label labels[] = { { "id", readings[i].info->id },
                                                       { "name", readings[i].info->name },
                                                       { "image", readings[i].info->image_name },
                                                       { "interface", n->name },
                                                       { NULL, NULL } };
            prometheus_sample(out, name, labels, (double)(is_receive ? n->rx_bytes : n->tx_bytes));
        }
}

static void put_families(struct str *out, const struct reading *readings, size_t count)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        prometheus_family(out, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < count; i++) {
            const struct prometheus_label labels[] = { { "id", readings[i].info->id },
                                                       { "name", readings[i].info->name },
                                                       { "image", readings[i].info->image_name },
                                                       { NULL, NULL } };
            prometheus_sample(out, families[f].name, labels, families[f].value(&readings[i].stats));
        }
    }
    put_networks(out, readings, count, true);
    put_networks(out, readings, count, false);
}

static void put_containers(struct str *out, struct engine *engine)
{
    struct container_info **list = container_list(engine->containers, false);
    size_t n = 0, count = 0;
    while (list[n])
        n++;
    struct reading *readings = xcalloc(n + 1, sizeof *readings);
    for (size_t i = 0; i < n; i++) {
        struct error ignored; // removed meanwhile
        readings[count].info = list[i];
        if (container_stats_read(engine->containers, list[i]->id, &readings[count].stats, &ignored) < 0)
            continue;
        if (readings[count].stats.read_ns)
            count++;
        else
            container_stats_done(&readings[count].stats);
    }
    put_families(out, readings, count);
    for (size_t i = 0; i < count; i++)
        container_stats_done(&readings[i].stats);
    free(readings);
    container_list_free(list);
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct engine *engine = context;
    const char *method = http_exchange_method(exchange);
    if (!streq(http_exchange_path(exchange), "/metrics") ||
        (!streq(method, "GET") && !streq(method, "HEAD"))) {
        static const char text[] = "404 page not found\n";
        http_reply(exchange, 404, "text/plain; charset=utf-8", text, sizeof text - 1);
        return;
    }
    CLEANUP(str_done) struct str out = STR_INIT;
    put_engine(&out, engine);
    put_states(&out, engine);
    put_containers(&out, engine);
    http_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", out.ptr, out.len);
}

struct http_handler metrics_handler(struct engine *engine)
{
    return (struct http_handler){ .handle = handle, .context = engine };
}
