// Between the sampler and what reads the files.
#pragma once

#include "container/stats.h"
#include "kernel/netlink/route.h"

#include <stddef.h>
#include <sys/types.h>

// The host's ends of bridged containers' links.
struct stats_links {
    int fd;                      // rtnetlink; FD_NONE: none
    struct link_counters *items; // of all links, by index; NULL: each is asked for
    size_t count;
};

// Of the host, read once a tick for all containers.
struct stats_host {
    uint64_t system_ns;
    unsigned online_cpus;
    uint64_t memory_bytes;
    struct stats_links links;
};
// For so many containers. *ret needs stats_host_done in any case.
int stats_host_read(size_t containers, struct stats_host *ret);
void stats_host_done(struct stats_host *host);
// False: there is no such link.
bool stats_links_find(const struct stats_links *links, unsigned index, struct link_counters *ret);

// The files of a container's cgroup, of both versions.
enum stats_file {
    STATS_CPU_EACH,
    STATS_CPU_MODES,
    STATS_CPU_STAT,
    STATS_CPU_QUOTA,
    STATS_MEMORY_USAGE,
    STATS_MEMORY_MAX,
    STATS_MEMORY_LIMIT,
    STATS_MEMORY_FAILURES,
    STATS_MEMORY_STAT,
    STATS_IO_BYTES,
    STATS_IO_OPERATIONS,
    STATS_PIDS,
    STATS_PIDS_LIMIT,
    STATS_FILE_COUNT
};

// Where the files of one run of a container are. One that is all zero but for its directories opens each file anew.
struct stats_place {
    pid_t pid;
    bool keeps_files; // fds are in use: each a descriptor, FD_NONE (not opened yet) or -errno (it cannot be)
    int fds[STATS_FILE_COUNT];
    bool knows_limits; // the three below; they are read again when this is false
    uint64_t memory_limit_bytes, pids_limit;
    bool has_quota; // of processor time: without one nothing is throttled
    int process_fd; // of /proc/<pid> when keeps_files: a number that is used again is not taken for this run
    bool is_v2, has_network;                     // has_network: one of its own, or another container's
    unsigned link;                               // index of the host's end of its network, 0: none
    char *cpuacct, *cpu, *memory, *blkio, *pids; // directories; NULL: no such controller. All the same on v2.
};
// link_name: of the host's end of its network, "" when there is none.
void stats_place_find(const char *cgroup_path, pid_t pid, bool has_network, const char *link_name,
                      struct stats_place *ret);
void stats_place_done(struct stats_place *place);
// From now on each file is opened once and read again and again, which takes a tenth of the time. Nothing changes when half the
// descriptors that the engine may have are kept already.
void stats_place_keep(struct stats_place *place);
// Read everything there. A file that is missing leaves zeros.
void stats_read(struct stats_place *place, const struct stats_host *host, struct container_stats *ret);

// --- the parsers, for tests; each takes a file's text and passes over what it does not understand
void stats_parse_host_cpu(const char *text, struct stats_host *ret);      // /proc/stat
uint64_t stats_parse_memory_total(const char *text);                      // /proc/meminfo
void stats_parse_values(const char *text, struct stats_values *ret);      // "key value" lines
uint64_t stats_value(const struct stats_values *values, const char *key); // 0 when absent
void stats_values_done(struct stats_values *values);
void stats_parse_blkio(const char *text, struct stats_blkio *ret); // v1 "8:0 Read 12"
void stats_parse_io(const char *text, struct stats_blkio *bytes,
                    struct stats_blkio *operations);                     // v2 io.stat
void stats_parse_network(const char *text, struct container_stats *ret); // /proc/<pid>/net/dev
