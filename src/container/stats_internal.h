// Between the sampler and what reads the files.
#pragma once

#include "container/stats.h"

#include <stddef.h>
#include <sys/types.h>

// Of the host, read once a tick for all containers.
struct stats_host {
    uint64_t system_ns;
    unsigned online_cpus;
    uint64_t memory_bytes;
};
int stats_host_read(struct stats_host *ret);

// Where the files of one run of a container are.
struct stats_place {
    pid_t pid;
    bool is_v2, has_network;                     // has_network: one of its own, or another container's
    char *cpuacct, *cpu, *memory, *blkio, *pids; // directories; NULL: no such controller. All the same on v2.
};
void stats_place_find(const char *cgroup_path, pid_t pid, bool has_network, struct stats_place *ret);
void stats_place_done(struct stats_place *place);
// Read everything there. A file that is missing leaves zeros.
void stats_read(const struct stats_place *place, const struct stats_host *host, struct container_stats *ret);

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
