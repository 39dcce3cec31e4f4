// Theory of operation. A container's files are found once a run (where its cgroup lies in each hierarchy), opened once a run as
// long as somebody watches, and read once a tick: opening takes ten times as long as reading. Parsing is separate from reading
// and forgiving: kernels add lines and leave files out, and a figure that is not there is zero. What went over a bridged
// container's link is what the host's end of it has counted, the other way round, and one answer of the kernel tells of all
// links. Other interfaces are read through /proc/<pid>/net/dev, which shows the namespace of that process, so no namespace is
// entered.
#include "container/stats_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "container/container_internal.h"
#include "kernel/netlink/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STATS_RECORD_BYTES = 4096, STATS_FILE_MAX = 1 << 20, VALUES_MAX = 4096, CPUS_MAX = 8192 };

// --- links
enum { LINKS_DUMP_MIN = 8 }; // containers from which it takes less time to hear of all links

static int add_link(const struct link_counters *counters, void *context)
{
    struct stats_links *links = context;
    if ((links->count & (links->count - 1)) == 0) // full: a power of two
        links->items = xreallocarray(links->items, links->count ? 2 * links->count : 1, sizeof *links->items);
    links->items[links->count++] = *counters;
    return 0;
}

static int by_index(const void *a, const void *b)
{
    unsigned x = ((const struct link_counters *)a)->index, y = ((const struct link_counters *)b)->index;
    return (x > y) - (x < y);
}

static void stats_links_read(size_t containers, struct stats_links *ret)
{
    *ret = (struct stats_links){ .fd = netlink_open(NETLINK_ROUTE) };
    if (ret->fd < 0 || containers < LINKS_DUMP_MIN)
        return;
    if (link_counters_each(ret->fd, add_link, ret) == 0) {
        qsort(ret->items, ret->count, sizeof *ret->items, by_index);
        return;
    }
    free(TAKE_PTR(ret->items)); // links came or went: each is asked for
    ret->count = 0;
}

bool stats_links_find(const struct stats_links *links, unsigned index, struct link_counters *ret)
{
    const struct link_counters wanted = { .index = index };
    if (!links->items)
        return links->fd >= 0 && link_counters_get(links->fd, index, ret) == 0;
    const struct link_counters *found =
        bsearch(&wanted, links->items, links->count, sizeof *links->items, by_index);
    if (found)
        *ret = *found;
    return found;
}

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

int stats_host_read(size_t containers, struct stats_host *ret)
{
    CLEANUP(str_done) struct str stat = STR_INIT, memory = STR_INIT;
    *ret = (struct stats_host){ 0 };
    stats_links_read(containers, &ret->links);
    int r = file_read_at(AT_FDCWD, "/proc/stat", STATS_FILE_MAX, &stat);
    if (r == 0)
        r = file_read_at(AT_FDCWD, "/proc/meminfo", STATS_FILE_MAX, &memory);
    stats_parse_host_cpu(stat.ptr, ret);
    ret->memory_bytes = stats_parse_memory_total(memory.ptr);
    return r;
}

void stats_host_done(struct stats_host *host)
{
    fd_close(host->links.fd);
    free(host->links.items);
}

// --- parsers
// What follows a line's end, or the end of the text.
static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

// Digits after spaces; *at moves behind them. False: something else is there, or it does not fit.
static bool take_number(const char **at, uint64_t *ret)
{
    const char *p = *at + strspn(*at, " ");
    uint64_t value = 0;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    *at = p;
    *ret = value;
    return true;
}

void stats_parse_values(const char *text, struct stats_values *ret)
{
    size_t lines = 0;
    *ret = (struct stats_values){ .text = xstrdup(text) };
    for (const char *p = text; *p; p = next_line(p))
        lines++;
    ret->items = xcalloc(lines + 1, sizeof *ret->items);
    char *line = ret->text;
    for (size_t i = 0; i < lines && i < VALUES_MAX; i++) {
        char *end = strchrnul(line, '\n'), *space = memchr(line, ' ', (size_t)(end - line));
        const char *digits = space ? space + 1 : end;
        uint64_t value;
        if (space && *digits != ' ' && take_number(&digits, &value) && digits == end) {
            *space = 0;
            ret->items[ret->count++] = (struct stats_value){ .key = line, .value = value };
        }
        line = end + 1;
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
    free(values->items);
    free(values->text);
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
    for (const char *line = text; *line && ret->count < VALUES_MAX; line = next_line(line)) {
        unsigned major, minor;
        char op[16];
        uint64_t value;
        if (sscanf(line, "%u:%u %15[A-Za-z] %" SCNu64, &major, &minor, op, &value) == 4)
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
    // Eight columns of reception (bytes packets errs drop fifo frame compressed multicast), then of transmission.
    enum { RECEIVED = 0, SENT = 8, COLUMNS = 16 };
    for (const char *line = text; *line && ret->interface_count < VALUES_MAX; line = next_line(line)) {
        struct stats_interface s = { 0 };
        uint64_t column[COLUMNS];
        const char *name = line + strspn(line, " "), *at = name + strcspn(name, ":\n");
        if (*at != ':' || !str_has_prefix(name, "eth") || (size_t)(at - name) >= sizeof s.name)
            continue;
        memcpy(s.name, name, (size_t)(at++ - name));
        size_t n = 0;
        while (n < COLUMNS && take_number(&at, &column[n]))
            n++;
        if (n < SENT + 4)
            continue;
        s.rx_bytes = column[RECEIVED], s.rx_packets = column[RECEIVED + 1];
        s.rx_errors = column[RECEIVED + 2], s.rx_dropped = column[RECEIVED + 3];
        s.tx_bytes = column[SENT], s.tx_packets = column[SENT + 1];
        s.tx_errors = column[SENT + 2], s.tx_dropped = column[SENT + 3];
        ret->interfaces = xreallocarray(ret->interfaces, ret->interface_count + 1, sizeof s);
        ret->interfaces[ret->interface_count++] = s;
    }
}

// --- places
void stats_place_find(const char *cgroup_path, pid_t pid, bool has_network, const char *link_name,
                      struct stats_place *ret)
{
    *ret = (struct stats_place){ .pid = pid,
                                 .has_network = has_network,
                                 .link = *link_name ? if_nametoindex(link_name) : 0 };
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

// Descriptors that all places keep, of the half that they may have of the engine's.
static atomic_uint kept_files;

static bool take_budget(unsigned count)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return false;
    if (atomic_fetch_add(&kept_files, count) + count <= files.rlim_cur / 2)
        return true;
    atomic_fetch_sub(&kept_files, count);
    return false;
}

void stats_place_keep(struct stats_place *place)
{
    char path[32];
    if (place->keeps_files || !take_budget(STATS_FILE_COUNT + 1))
        return;
    for (size_t i = 0; i < STATS_FILE_COUNT; i++)
        place->fds[i] = FD_NONE;
    snprintf(path, sizeof path, "/proc/%d", (int)place->pid);
    place->process_fd = place->has_network ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
    place->keeps_files = true;
}

void stats_place_done(struct stats_place *place)
{
    char *directories[] = { place->cpuacct, place->cpu, place->memory, place->blkio, place->pids };
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        free(directories[i]);
    if (place->keeps_files) {
        for (size_t i = 0; i < STATS_FILE_COUNT; i++)
            fd_close(place->fds[i]);
        fd_close(place->process_fd);
        atomic_fetch_sub(&kept_files, STATS_FILE_COUNT + 1);
    }
    *place = (struct stats_place){ 0 };
}

// --- reading
static int open_file(const struct stats_place *p, enum stats_file file)
{
    const struct {
        const char *directory, *v1, *v2;
    } files[STATS_FILE_COUNT] = {
        [STATS_CPU_EACH] = { p->cpuacct, "cpuacct.usage_percpu", NULL },
        [STATS_CPU_MODES] = { p->cpuacct, "cpuacct.usage_all", NULL },
        [STATS_CPU_STAT] = { p->cpu, "cpu.stat", "cpu.stat" },
        [STATS_CPU_QUOTA] = { p->cpu, "cpu.cfs_quota_us", NULL },
        [STATS_MEMORY_USAGE] = { p->memory, "memory.usage_in_bytes", "memory.current" },
        [STATS_MEMORY_MAX] = { p->memory, "memory.max_usage_in_bytes", NULL },
        [STATS_MEMORY_LIMIT] = { p->memory, "memory.limit_in_bytes", "memory.max" },
        [STATS_MEMORY_FAILURES] = { p->memory, "memory.failcnt", "memory.events" },
        [STATS_MEMORY_STAT] = { p->memory, "memory.stat", "memory.stat" },
        [STATS_IO_BYTES] = { p->blkio, "blkio.throttle.io_service_bytes_recursive", "io.stat" },
        [STATS_IO_OPERATIONS] = { p->blkio, "blkio.throttle.io_serviced_recursive", NULL },
        [STATS_PIDS] = { p->pids, "pids.current", "pids.current" },
        [STATS_PIDS_LIMIT] = { p->pids, "pids.max", "pids.max" },
    };
    char path[PATH_MAX];
    const char *name = p->is_v2 ? files[file].v2 : files[file].v1;
    if (!files[file].directory || !name)
        return -ENOENT;
    int n = snprintf(path, sizeof path, "%s/%s", files[file].directory, name);
    int fd = n < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    return fd < 0 ? -errno : fd;
}

// A control group's file is one record: what one read gives is all of it, unless it fills the room.
static bool read_record(int fd, struct str *text)
{
    for (size_t room = STATS_RECORD_BYTES; room <= STATS_FILE_MAX; room *= 4) {
        ssize_t n = pread(fd, str_reserve(text, room), room, 0);
        if (n < 0)
            return false;
        if ((size_t)n < room) {
            str_added(text, (size_t)n);
            return true;
        }
    }
    return false;
}

// A file's text in *text (emptied first); false when there is none.
static bool slurp(struct stats_place *place, enum stats_file file, struct str *text)
{
    str_clear(text);
    int fd = place->keeps_files ? place->fds[file] : FD_NONE;
    if (fd == FD_NONE)
        fd = open_file(place, file);
    if (place->keeps_files)
        place->fds[file] = fd;
    bool is_read = fd >= 0 && read_record(fd, text);
    if (!place->keeps_files)
        fd_close(fd);
    return is_read;
}

// "max", or no such file: 0.
static uint64_t slurp_number(struct stats_place *place, enum stats_file file, struct str *text)
{
    uint64_t value = 0;
    if (slurp(place, file, text)) {
        const char *at = text->ptr;
        (void)take_number(&at, &value);
    }
    return value;
}

static void slurp_values(struct stats_place *place, enum stats_file file, struct str *text,
                         struct stats_values *ret)
{
    *ret = (struct stats_values){ 0 };
    if (slurp(place, file, text))
        stats_parse_values(text->ptr, ret);
}

// "cpu user system", then a line for each processor.
static void parse_cpu_modes(const char *text, struct container_stats *ret)
{
    for (const char *line = next_line(text); *line; line = next_line(line)) {
        uint64_t cpu, user, kernel;
        const char *at = line;
        if (!take_number(&at, &cpu) || !take_number(&at, &user) || !take_number(&at, &kernel))
            break;
        ret->cpu_user_ns += user;
        ret->cpu_kernel_ns += kernel;
    }
}

static void read_cpu_v1(struct stats_place *p, struct str *text, struct container_stats *ret)
{
    CLEANUP(stats_values_done) struct stats_values throttling = { 0 };
    if (slurp(p, STATS_CPU_EACH, text)) {
        const char *at = text->ptr;
        ret->cpu_each_ns = xcalloc(text->len / 2 + 1, sizeof *ret->cpu_each_ns);
        while (ret->cpu_each_count < CPUS_MAX && take_number(&at, &ret->cpu_each_ns[ret->cpu_each_count]))
            ret->cpu_ns += ret->cpu_each_ns[ret->cpu_each_count++];
    }
    if (slurp(p, STATS_CPU_MODES, text))
        parse_cpu_modes(text->ptr, ret);
    if (p->has_quota)
        slurp_values(p, STATS_CPU_STAT, text, &throttling);
    ret->throttle_periods = stats_value(&throttling, "nr_periods");
    ret->throttled_periods = stats_value(&throttling, "nr_throttled");
    ret->throttled_ns = stats_value(&throttling, "throttled_time");
}

// They change by an update only, and each file less to read is a twelfth of the price.
static void read_limits(struct stats_place *p, struct str *text)
{
    if (p->knows_limits)
        return;
    p->memory_limit_bytes = slurp_number(p, STATS_MEMORY_LIMIT, text);
    p->pids_limit = slurp_number(p, STATS_PIDS_LIMIT, text);
    p->has_quota = !p->is_v2 && slurp_number(p, STATS_CPU_QUOTA, text) > 0;
    p->knows_limits = true;
}

static void read_v1(struct stats_place *p, struct str *text, struct container_stats *ret)
{
    read_cpu_v1(p, text, ret);
    ret->memory_max_bytes = slurp_number(p, STATS_MEMORY_MAX, text);
    ret->memory_failures = slurp_number(p, STATS_MEMORY_FAILURES, text);
    if (slurp(p, STATS_IO_BYTES, text))
        stats_parse_blkio(text->ptr, &ret->io_bytes);
    if (slurp(p, STATS_IO_OPERATIONS, text))
        stats_parse_blkio(text->ptr, &ret->io_operations);
}

static void read_v2(struct stats_place *p, struct str *text, struct container_stats *ret)
{
    CLEANUP(stats_values_done) struct stats_values cpu, events;
    slurp_values(p, STATS_CPU_STAT, text, &cpu);
    ret->cpu_ns = stats_value(&cpu, "usage_usec") * 1000;
    ret->cpu_kernel_ns = stats_value(&cpu, "system_usec") * 1000;
    ret->cpu_user_ns = stats_value(&cpu, "user_usec") * 1000;
    ret->throttle_periods = stats_value(&cpu, "nr_periods");
    ret->throttled_periods = stats_value(&cpu, "nr_throttled");
    ret->throttled_ns = stats_value(&cpu, "throttled_usec") * 1000;
    slurp_values(p, STATS_MEMORY_FAILURES, text, &events);
    ret->memory_failures = stats_value(&events, "oom");
    if (slurp(p, STATS_IO_BYTES, text))
        stats_parse_io(text->ptr, &ret->io_bytes, &ret->io_operations);
}

// Opened each time, because an open one would keep the whole namespace, with its address, beyond the container's end.
static void read_network(const struct stats_place *place, struct str *text, struct container_stats *ret)
{
    char path[64];
    int base = place->keeps_files ? place->process_fd : AT_FDCWD;
    if (base < 0 && base != AT_FDCWD)
        return;
    snprintf(path, sizeof path, "/proc/%d/net/dev", (int)place->pid);
    int fd CLEANUP(cleanup_close) = openat(base, base == AT_FDCWD ? path : "net/dev", O_RDONLY | O_CLOEXEC);
    str_clear(text);
    for (ssize_t n = 1; fd >= 0 && n > 0 && text->len < STATS_FILE_MAX;) {
        n = read(fd, str_reserve(text, STATS_RECORD_BYTES), STATS_RECORD_BYTES);
        str_added(text, n > 0 ? (size_t)n : 0);
    }
    stats_parse_network(text->ptr, ret);
}

static bool read_link(const struct stats_place *place, const struct stats_links *links,
                      struct container_stats *ret)
{
    struct link_counters host;
    if (!place->link || !stats_links_find(links, place->link, &host))
        return false;
    const struct link_direction *rx = &host.sent, *tx = &host.received;
    ret->interfaces = xcalloc(1, sizeof *ret->interfaces);
    ret->interface_count = 1;
    *ret->interfaces = (struct stats_interface){ NETWORK_CONTAINER_INTERFACE,
                                                 rx->bytes,
                                                 rx->packets,
                                                 rx->errors,
                                                 rx->dropped,
                                                 tx->bytes,
                                                 tx->packets,
                                                 tx->errors,
                                                 tx->dropped };
    return true;
}

void stats_read(struct stats_place *place, const struct stats_host *host, struct container_stats *ret)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    *ret = (struct container_stats){ .read_ns = time_now_ns(),
                                     .is_v2 = place->is_v2,
                                     .system_ns = host->system_ns,
                                     .online_cpus = host->online_cpus };
    read_limits(place, &text);
    if (place->is_v2)
        read_v2(place, &text, ret);
    else
        read_v1(place, &text, ret);
    ret->memory_bytes = slurp_number(place, STATS_MEMORY_USAGE, &text);
    slurp_values(place, STATS_MEMORY_STAT, &text, &ret->memory);
    ret->memory_limit_bytes = place->memory_limit_bytes;
    if (ret->memory_limit_bytes == 0 || ret->memory_limit_bytes > host->memory_bytes)
        ret->memory_limit_bytes = host->memory_bytes;
    ret->pids = slurp_number(place, STATS_PIDS, &text);
    ret->pids_limit = place->pids_limit;
    if (place->has_network && !read_link(place, &host->links, ret))
        read_network(place, &text, ret);
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
