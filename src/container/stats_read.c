// Theory of operation. A container's files are found once a run (where its cgroup lies in each hierarchy) and read once a
// tick. Parsing is separate from reading and forgiving: kernels add lines and leave files out, and a figure that is not there
// is zero. Interfaces are read through /proc/<pid>/net/dev, which shows the namespace of that process, so no namespace is entered.
#include "container/stats_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "container/container_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STATS_FILE_MAX = 1 << 20, VALUES_MAX = 4096, CPUS_MAX = 8192 };

// --- host
void stats_parse_host_cpu(const char *text, struct stats_host *ret)
{
    long ticks_per_s = sysconf(_SC_CLK_TCK);
    ret->system_ns = 0;
    ret->online_cpus = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        uint64_t t[7];
        if (strncmp(line, "cpu", 3) != 0)
            break;
        if (line[3] != ' ') {
            ret->online_cpus++;
            continue;
        }
        // user nice system idle iowait irq softirq: what the others count is part of these.
        if (sscanf(line + 4,
                   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &t[0],
                   &t[1], &t[2], &t[3], &t[4], &t[5], &t[6]) != 7)
            continue;
        for (size_t i = 0; i < 7; i++)
            ret->system_ns += t[i] * (uint64_t)(NS_PER_S / (ticks_per_s > 0 ? ticks_per_s : 100));
    }
}

uint64_t stats_parse_memory_total(const char *text)
{
    const char *at = strstr(text, "MemTotal:");
    uint64_t kilobytes = 0;
    return at && sscanf(at + strlen("MemTotal:"), "%" SCNu64, &kilobytes) == 1 ? kilobytes * 1024 : 0;
}

int stats_host_read(struct stats_host *ret)
{
    CLEANUP(str_done) struct str stat = STR_INIT, memory = STR_INIT;
    *ret = (struct stats_host){ 0 };
    int r = file_read_at(AT_FDCWD, "/proc/stat", STATS_FILE_MAX, &stat);
    if (r == 0)
        r = file_read_at(AT_FDCWD, "/proc/meminfo", STATS_FILE_MAX, &memory);
    stats_parse_host_cpu(stat.ptr, ret);
    ret->memory_bytes = stats_parse_memory_total(memory.ptr);
    return r;
}

// --- parsers
void stats_parse_values(const char *text, struct stats_values *ret)
{
    *ret = (struct stats_values){ 0 };
    CLEANUP(strv_freep) char **lines = strv_split(text, "\n", false);
    size_t n = strv_len(lines);
    ret->items = xcalloc(n + 1, sizeof *ret->items);
    for (size_t i = 0; i < n && i < VALUES_MAX; i++) {
        char *space = strchr(lines[i], ' ');
        uint64_t value;
        if (!space || !parse_u64(space + 1, UINT64_MAX, &value))
            continue;
        ret->items[ret->count++] =
            (struct stats_value){ .key = xstrndup(lines[i], (size_t)(space - lines[i])), .value = value };
    }
}

uint64_t stats_value(const struct stats_values *values, const char *key)
{
    for (size_t i = 0; i < values->count; i++)
        if (streq(values->items[i].key, key))
            return values->items[i].value;
    return 0;
}

void stats_values_done(struct stats_values *values)
{
    for (size_t i = 0; i < values->count; i++)
        free(values->items[i].key);
    free(values->items);
    *values = (struct stats_values){ 0 };
}

static void blkio_add(struct stats_blkio *to, unsigned major, unsigned minor, const char *op, uint64_t value)
{
    struct stats_blkio_entry entry = { .major = major, .minor = minor, .value = value };
    snprintf(entry.op, sizeof entry.op, "%s", op);
    to->items = xreallocarray(to->items, to->count + 1, sizeof *to->items);
    to->items[to->count++] = entry;
}

void stats_parse_blkio(const char *text, struct stats_blkio *ret)
{
    CLEANUP(strv_freep) char **lines = strv_split(text, "\n", false);
    for (size_t i = 0; lines && lines[i] && i < VALUES_MAX; i++) {
        unsigned major, minor;
        char op[16];
        uint64_t value;
        if (sscanf(lines[i], "%u:%u %15s %" SCNu64, &major, &minor, op, &value) == 4)
            blkio_add(ret, major, minor, op, value);
    }
}

void stats_parse_io(const char *text, struct stats_blkio *bytes, struct stats_blkio *operations)
{
    static const struct {
        const char *key, *op;
        bool is_bytes;
    } members[] = { { "rbytes=", "read", true },
                    { "wbytes=", "write", true },
                    { "rios=", "read", false },
                    { "wios=", "write", false } };
    CLEANUP(strv_freep) char **lines = strv_split(text, "\n", false);
    for (size_t i = 0; lines && lines[i] && i < VALUES_MAX; i++) {
        unsigned major, minor;
        CLEANUP(strv_freep) char **words = strv_split(lines[i], " ", false);
        if (!words || sscanf(words[0], "%u:%u", &major, &minor) != 2)
            continue;
        for (size_t k = 1; words[k]; k++)
            for (size_t m = 0; m < sizeof members / sizeof *members; m++) {
                uint64_t value;
                if (str_has_prefix(words[k], members[m].key) &&
                    parse_u64(words[k] + strlen(members[m].key), UINT64_MAX, &value))
                    blkio_add(members[m].is_bytes ? bytes : operations, major, minor, members[m].op, value);
            }
    }
}

// "eth0" and its like are what an engine plugs in; a tunnel that the kernel makes in every namespace, or one that the container
// makes itself, is not its traffic with the world and is not shown, as in Docker.
void stats_parse_network(const char *text, struct container_stats *ret)
{
    CLEANUP(strv_freep) char **lines = strv_split(text, "\n", false);
    for (size_t i = 0; lines && lines[i] && i < VALUES_MAX; i++) {
        struct stats_interface s = { 0 };
        const char *name = lines[i] + strspn(lines[i], " "), *colon = strchr(name, ':');
        if (!colon || !str_has_prefix(name, "eth") || (size_t)(colon - name) >= sizeof s.name)
            continue;
        memcpy(s.name, name, (size_t)(colon - name));
        // Eight columns of reception (bytes packets errs drop fifo frame compressed multicast), then of transmission.
        if (sscanf(colon + 1,
                   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                   " %" SCNu64 " %" SCNu64,
                   &s.rx_bytes, &s.rx_packets, &s.rx_errors, &s.rx_dropped, &s.tx_bytes, &s.tx_packets,
                   &s.tx_errors, &s.tx_dropped) != 8)
            continue;
        ret->interfaces = xreallocarray(ret->interfaces, ret->interface_count + 1, sizeof s);
        ret->interfaces[ret->interface_count++] = s;
    }
}

// --- places
void stats_place_find(const char *cgroup_path, pid_t pid, bool has_network, struct stats_place *ret)
{
    *ret = (struct stats_place){ .pid = pid, .has_network = has_network };
    struct {
        char **directory;
        const char *controller;
    } wanted[] = { { &ret->cpuacct, "cpuacct" },
                   { &ret->cpu, "cpu" },
                   { &ret->memory, "memory" },
                   { &ret->blkio, "blkio" },
                   { &ret->pids, "pids" } };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        *wanted[i].directory = cgroup_directory(cgroup_path, pid, wanted[i].controller);
    CLEANUP(cleanup_free) char *v1 = ret->memory ? xasprintf("%s/memory.usage_in_bytes", ret->memory) : NULL;
    CLEANUP(cleanup_free) char *v2 = ret->memory ? xasprintf("%s/cgroup.controllers", ret->memory) : NULL;
    ret->is_v2 = v2 && access(v1, F_OK) < 0 && access(v2, F_OK) == 0;
}

void stats_place_done(struct stats_place *place)
{
    char *directories[] = { place->cpuacct, place->cpu, place->memory, place->blkio, place->pids };
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        free(directories[i]);
    *place = (struct stats_place){ 0 };
}

// --- reading
// A file's text in *text (emptied first); false when there is none.
static bool slurp(const char *directory, const char *name, struct str *text)
{
    str_clear(text);
    if (!directory)
        return false;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", directory, name);
    return file_read_at(AT_FDCWD, path, STATS_FILE_MAX, text) == 0;
}

// "max", or no such file: 0.
static uint64_t slurp_number(const char *directory, const char *name, struct str *text)
{
    uint64_t value = 0;
    if (slurp(directory, name, text)) {
        text->ptr[strcspn(text->ptr, "\n")] = 0;
        (void)parse_u64(text->ptr, UINT64_MAX, &value);
    }
    return value;
}

static void slurp_values(const char *directory, const char *name, struct str *text, struct stats_values *ret)
{
    *ret = (struct stats_values){ 0 };
    if (slurp(directory, name, text))
        stats_parse_values(text->ptr, ret);
}

static void read_cpu_v1(const struct stats_place *p, struct str *text, struct container_stats *ret)
{
    CLEANUP(stats_values_done) struct stats_values throttling;
    ret->cpu_ns = slurp_number(p->cpuacct, "cpuacct.usage", text);
    ret->cpu_kernel_ns = slurp_number(p->cpuacct, "cpuacct.usage_sys", text);
    ret->cpu_user_ns = slurp_number(p->cpuacct, "cpuacct.usage_user", text);
    if (slurp(p->cpuacct, "cpuacct.usage_percpu", text)) {
        CLEANUP(strv_freep) char **words = strv_split(text->ptr, " \n", false);
        size_t n = strv_len(words);
        ret->cpu_each_ns = xcalloc(n + 1, sizeof *ret->cpu_each_ns);
        for (; ret->cpu_each_count < n && ret->cpu_each_count < CPUS_MAX; ret->cpu_each_count++)
            (void)parse_u64(words[ret->cpu_each_count], UINT64_MAX, &ret->cpu_each_ns[ret->cpu_each_count]);
    }
    slurp_values(p->cpu, "cpu.stat", text, &throttling);
    ret->throttle_periods = stats_value(&throttling, "nr_periods");
    ret->throttled_periods = stats_value(&throttling, "nr_throttled");
    ret->throttled_ns = stats_value(&throttling, "throttled_time");
}

static void read_v1(const struct stats_place *p, struct str *text, struct container_stats *ret)
{
    read_cpu_v1(p, text, ret);
    ret->memory_bytes = slurp_number(p->memory, "memory.usage_in_bytes", text);
    ret->memory_max_bytes = slurp_number(p->memory, "memory.max_usage_in_bytes", text);
    ret->memory_limit_bytes = slurp_number(p->memory, "memory.limit_in_bytes", text);
    ret->memory_failures = slurp_number(p->memory, "memory.failcnt", text);
    slurp_values(p->memory, "memory.stat", text, &ret->memory);
    if (slurp(p->blkio, "blkio.throttle.io_service_bytes_recursive", text) ||
        slurp(p->blkio, "blkio.throttle.io_service_bytes", text))
        stats_parse_blkio(text->ptr, &ret->io_bytes);
    if (slurp(p->blkio, "blkio.throttle.io_serviced_recursive", text) ||
        slurp(p->blkio, "blkio.throttle.io_serviced", text))
        stats_parse_blkio(text->ptr, &ret->io_operations);
}

static void read_v2(const struct stats_place *p, struct str *text, struct container_stats *ret)
{
    CLEANUP(stats_values_done) struct stats_values cpu, events;
    slurp_values(p->cpu, "cpu.stat", text, &cpu);
    ret->cpu_ns = stats_value(&cpu, "usage_usec") * 1000;
    ret->cpu_kernel_ns = stats_value(&cpu, "system_usec") * 1000;
    ret->cpu_user_ns = stats_value(&cpu, "user_usec") * 1000;
    ret->throttle_periods = stats_value(&cpu, "nr_periods");
    ret->throttled_periods = stats_value(&cpu, "nr_throttled");
    ret->throttled_ns = stats_value(&cpu, "throttled_usec") * 1000;
    ret->memory_bytes = slurp_number(p->memory, "memory.current", text);
    ret->memory_limit_bytes = slurp_number(p->memory, "memory.max", text);
    slurp_values(p->memory, "memory.events", text, &events);
    ret->memory_failures = stats_value(&events, "oom");
    slurp_values(p->memory, "memory.stat", text, &ret->memory);
    if (slurp(p->blkio, "io.stat", text))
        stats_parse_io(text->ptr, &ret->io_bytes, &ret->io_operations);
}

void stats_read(const struct stats_place *place, const struct stats_host *host, struct container_stats *ret)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    char path[64];
    *ret = (struct container_stats){ .read_ns = time_now_ns(),
                                     .is_v2 = place->is_v2,
                                     .system_ns = host->system_ns,
                                     .online_cpus = host->online_cpus };
    if (place->is_v2)
        read_v2(place, &text, ret);
    else
        read_v1(place, &text, ret);
    if (ret->memory_limit_bytes == 0 || ret->memory_limit_bytes > host->memory_bytes)
        ret->memory_limit_bytes = host->memory_bytes;
    ret->pids = slurp_number(place->pids, "pids.current", &text);
    ret->pids_limit = slurp_number(place->pids, "pids.max", &text);
    if (!place->has_network)
        return;
    snprintf(path, sizeof path, "/proc/%d/net", (int)place->pid);
    if (slurp(path, "dev", &text))
        stats_parse_network(text.ptr, ret);
}

void container_stats_done(struct container_stats *stats)
{
    stats_values_done(&stats->memory);
    free(stats->cpu_each_ns);
    free(stats->io_bytes.items);
    free(stats->io_operations.items);
    free(stats->interfaces);
    *stats = (struct container_stats){ 0 };
}
