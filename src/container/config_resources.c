// Memory, CPU, pids, blkio, ulimits, devices, capabilities of a create request.
#include "container/config.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MIN_BYTES (6LL << 20)
enum { CPU_PERIOD_MIN_US = 1000, CPU_PERIOD_MAX_US = 1000000, CPU_QUOTA_MIN_US = 1000, CPUSET_LIMIT = 8192 };

static int parse_memory(const json_t *h, struct container_config *c, char ***warnings, struct error *err)
{
    c->memory_bytes = json_get_int(h, "Memory", 0);
    c->memory_reservation_bytes = json_get_int(h, "MemoryReservation", 0);
    c->memory_swap_bytes = json_get_int(h, "MemorySwap", 0);
    c->memory_swappiness = json_get_int(h, "MemorySwappiness", -1);
    if (c->memory_bytes < 0 || (c->memory_bytes > 0 && c->memory_bytes < MEMORY_MIN_BYTES))
        return error_set(err, ERROR_INVALID, "Minimum memory limit allowed is 6MB");
    if (c->memory_reservation_bytes < 0 ||
        (c->memory_reservation_bytes > 0 && c->memory_reservation_bytes < MEMORY_MIN_BYTES))
        return error_set(err, ERROR_INVALID, "Minimum memory reservation allowed is 6MB");
    if (c->memory_swap_bytes < -1)
        return error_set(err, ERROR_INVALID, "invalid memory swap limit: %lld",
                         (long long)c->memory_swap_bytes);
    if (c->memory_bytes > 0 && c->memory_swap_bytes > 0 && c->memory_swap_bytes < c->memory_bytes)
        return error_set(err, ERROR_INVALID,
                         "Minimum memoryswap limit should be larger than memory limit, see usage");
    if (c->memory_bytes == 0 && c->memory_swap_bytes > 0)
        return error_set(err, ERROR_INVALID,
                         "You should always set the Memory limit when using Memoryswap limit, see usage");
    if (c->memory_bytes > 0 && c->memory_reservation_bytes > c->memory_bytes)
        return error_set(err, ERROR_INVALID,
                         "Minimum memory limit can not be less than memory reservation limit, see usage");
    if (c->memory_swappiness < -1 || c->memory_swappiness > 100)
        return error_set(err, ERROR_INVALID, "Invalid value: %lld, valid memory swappiness range is 0-100",
                         (long long)c->memory_swappiness);
    c->disables_oom_killer = json_get_bool(h, "OomKillDisable", false);
    if (c->disables_oom_killer && c->memory_bytes == 0)
        strv_push(warnings, "OOM killer is disabled for the container, but no memory limit is set, this can "
                            "result in the system "
                            "running out of resources.");
    return 0;
}

bool config_cpu_list_is_valid(const char *text, unsigned limit)
{
    CLEANUP(strv_freep) char **ranges = strv_split(text, ",", true);
    for (size_t i = 0; ranges && ranges[i]; i++) {
        CLEANUP(strv_freep) char **ends = strv_split(ranges[i], "-", true);
        uint32_t first, last;
        size_t n = strv_len(ends);
        if (n < 1 || n > 2 || !parse_u32(ends[0], limit - 1, &first))
            return false;
        if (n == 2 && (!parse_u32(ends[1], limit - 1, &last) || last < first))
            return false;
    }
    return true;
}

static int parse_cpuset(const json_t *h, struct container_config *c, struct error *err)
{
    const char *cpus = json_get_string(h, "CpusetCpus", ""), *mems = json_get_string(h, "CpusetMems", "");
    if (*cpus && !config_cpu_list_is_valid(cpus, CPUSET_LIMIT))
        return error_set(err, ERROR_INVALID, "Invalid value %s for cpuset cpus", cpus);
    if (*mems && !config_cpu_list_is_valid(mems, CPUSET_LIMIT))
        return error_set(err, ERROR_INVALID, "Invalid value %s for cpuset mems", mems);
    long online = sysconf(_SC_NPROCESSORS_CONF);
    if (*cpus && online > 0 && !config_cpu_list_is_valid(cpus, (unsigned)online))
        return error_set(err, ERROR_INVALID,
                         "Requested CPUs are not available - requested %s, available: 0-%ld", cpus,
                         online - 1);
    c->cpuset_cpus = *cpus ? xstrdup(cpus) : NULL;
    c->cpuset_mems = *mems ? xstrdup(mems) : NULL;
    return 0;
}

static int parse_cpu(const json_t *h, struct container_config *c, struct error *err)
{
    c->nano_cpus = json_get_int(h, "NanoCpus", 0);
    c->cpu_shares = json_get_int(h, "CpuShares", 0);
    c->cpu_period_us = json_get_int(h, "CpuPeriod", 0);
    c->cpu_quota_us = json_get_int(h, "CpuQuota", 0);
    c->cpu_rt_period_us = json_get_int(h, "CpuRealtimePeriod", 0);
    c->cpu_rt_runtime_us = json_get_int(h, "CpuRealtimeRuntime", 0);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (c->nano_cpus && (c->cpu_period_us || c->cpu_quota_us))
        return error_set(err, ERROR_INVALID, "Conflicting options: Nano CPUs and CPU %s cannot both be set",
                         c->cpu_period_us ? "Period" : "Quota");
    if (c->nano_cpus < 0 || (c->nano_cpus > 0 && cpus > 0 && c->nano_cpus > cpus * 1000000000LL))
        return error_set(err, ERROR_INVALID,
                         "range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus,
                         cpus);
    if (c->nano_cpus > 0 && c->nano_cpus < 10000000)
        return error_set(err, ERROR_INVALID,
                         "range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus,
                         cpus);
    if (c->cpu_shares < 0)
        return error_set(err, ERROR_INVALID, "invalid CPU shares: %lld", (long long)c->cpu_shares);
    if (c->cpu_period_us && (c->cpu_period_us < CPU_PERIOD_MIN_US || c->cpu_period_us > CPU_PERIOD_MAX_US))
        return error_set(
            err, ERROR_INVALID,
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    if (c->cpu_quota_us && c->cpu_quota_us != -1 && c->cpu_quota_us < CPU_QUOTA_MIN_US)
        return error_set(err, ERROR_INVALID, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
    if (c->cpu_rt_period_us < 0 || c->cpu_rt_runtime_us > c->cpu_rt_period_us)
        return error_set(err, ERROR_INVALID,
                         "cpu real-time runtime cannot be higher than cpu real-time period");
    return parse_cpuset(h, c, err);
}

static int parse_pids_and_blkio(const json_t *h, struct container_config *c, struct error *err)
{
    static const char *const lists[] = { "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
                                         "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps" };
    json_t **const to[] = { &c->blkio_weight_devices, &c->blkio_read_bps, &c->blkio_write_bps,
                            &c->blkio_read_iops, &c->blkio_write_iops };
    int64_t pids = json_get_int(h, "PidsLimit", 0), weight = json_get_int(h, "BlkioWeight", 0);
    if (pids < -1)
        return error_set(err, ERROR_INVALID, "invalid pids limit: %lld", (long long)pids);
    if (weight && (weight < 10 || weight > 1000))
        return error_set(err, ERROR_INVALID, "range of blkio weight is from 10 to 1000");
    c->pids_limit = pids > 0 ? pids : 0;
    c->blkio_weight = (unsigned)weight;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        *to[i] = json_incref(json_get_array(h, lists[i]));
    return 0;
}

static int parse_ulimits(const json_t *h, struct container_config *c, struct error *err)
{
    size_t i;
    json_t *u;
    json_array_foreach(json_get_array(h, "Ulimits"), i, u)
    {
        const char *name = json_get_string(u, "Name", "");
        CLEANUP(cleanup_free) char *full = xasprintf("RLIMIT_%s", name);
        for (char *p = full; *p; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        int resource = oci_rlimit_number(full);
        int64_t hard = json_get_int(u, "Hard", 0), soft = json_get_int(u, "Soft", 0);
        if (resource < 0)
            return error_set(err, ERROR_INVALID, "invalid ulimit type: %s", name);
        if (hard < -1 || soft < -1 || (hard != -1 && (soft > hard || soft == -1)))
            return error_set(err, ERROR_INVALID,
                             "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                             (long long)soft, (long long)hard);
        c->rlimits = xreallocarray(c->rlimits, c->rlimit_count + 1, sizeof *c->rlimits);
        c->rlimits[c->rlimit_count++] = (struct oci_rlimit){ .resource = resource,
                                                             .hard = (uint64_t)hard,
                                                             .soft = (uint64_t)soft }; // -1 is RLIM_INFINITY
    }
    return 0;
}

static bool permissions_are_valid(const char *p)
{
    size_t n = strlen(p);
    if (n == 0 || n > 3)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr("rwm", p[i]) || strchr(p + i + 1, p[i]))
            return false;
    return true;
}

static int parse_device_rule(const char *text, struct oci_device_rule *ret, struct error *err)
{
    CLEANUP(strv_freep) char **w = strv_split(text, " ", false);
    CLEANUP(strv_freep) char **numbers = strv_len(w) == 3 ? strv_split(w[1], ":", true) : NULL;
    uint32_t major = 0, minor = 0;
    if (strv_len(w) != 3 || strlen(w[0]) != 1 || !strchr("abc", w[0][0]) || !permissions_are_valid(w[2]) ||
        strv_len(numbers) != 2 || (!streq(numbers[0], "*") && !parse_u32(numbers[0], INT_MAX, &major)) ||
        (!streq(numbers[1], "*") && !parse_u32(numbers[1], INT_MAX, &minor)))
        return error_set(err, ERROR_INVALID, "invalid device cgroup rule format: '%s'", text);
    *ret = (struct oci_device_rule){ .is_allow = true,
                                     .type = w[0][0],
                                     .major = streq(numbers[0], "*") ? -1 : (int64_t)major,
                                     .minor = streq(numbers[1], "*") ? -1 : (int64_t)minor };
    memcpy(ret->access, w[2], strlen(w[2]) + 1);
    return 0;
}

static int parse_devices(const json_t *h, struct container_config *c, struct error *err)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(h, "Devices"), i, v)
    {
        const char *host = json_get_string(v, "PathOnHost", ""),
                   *inside = json_get_string(v, "PathInContainer", "");
        const char *permissions = json_get_string(v, "CgroupPermissions", "");
        struct device_mapping d = { 0 };
        if (!*permissions)
            permissions = "rwm";
        if (host[0] != '/' || (*inside && inside[0] != '/') || !permissions_are_valid(permissions))
            return error_set(err, ERROR_INVALID, "invalid device specification: %s:%s:%s", host, inside,
                             permissions);
        d.host_path = xstrdup(host);
        d.container_path = xstrdup(*inside ? inside : host);
        memcpy(d.permissions, permissions, strlen(permissions) + 1);
        c->devices = xreallocarray(c->devices, c->device_count + 1, sizeof *c->devices);
        c->devices[c->device_count++] = d;
    }
    json_array_foreach(json_get_array(h, "DeviceCgroupRules"), i, v)
    {
        struct oci_device_rule rule;
        if (parse_device_rule(json_is_string(v) ? json_string_value(v) : "", &rule, err) < 0)
            return -1;
        c->device_rules = xreallocarray(c->device_rules, c->device_rule_count + 1, sizeof *c->device_rules);
        c->device_rules[c->device_rule_count++] = rule;
    }
    return 0;
}

#define CAP(n) (1ULL << CAP_##n)
static const oci_capset default_capabilities = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FSETID) | CAP(FOWNER) |
                                               CAP(MKNOD) | CAP(NET_RAW) | CAP(SETGID) | CAP(SETUID) |
                                               CAP(SETFCAP) | CAP(SETPCAP) | CAP(NET_BIND_SERVICE) |
                                               CAP(SYS_CHROOT) | CAP(KILL) | CAP(AUDIT_WRITE);

static oci_capset all_capabilities(void)
{
    oci_capset all = 0;
    for (int n = 0; n < 64 && oci_capability_name(n); n++)
        all |= 1ULL << n;
    return all;
}

// Names of one list as a set; "ALL" is everything.
static int capability_list(const json_t *h, const char *key, oci_capset *ret, struct error *err)
{
    size_t i;
    json_t *v;
    *ret = 0;
    json_array_foreach(json_get_array(h, key), i, v)
    {
        const char *name = json_is_string(v) ? json_string_value(v) : "";
        int n = oci_capability_number(name);
        if (strcasecmp(name, "ALL") == 0 || strcasecmp(name, "CAP_ALL") == 0)
            *ret |= all_capabilities();
        else if (n >= 0)
            *ret |= 1ULL << n;
        else
            return error_set(err, ERROR_INVALID, "invalid %s: unknown capability: \"%s%s\"", key,
                             strncasecmp(name, "CAP_", 4) == 0 ? "" : "CAP_", name);
    }
    return 0;
}

static bool list_has_all(const json_t *h, const char *key)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(h, key), i,
                       v) if (json_is_string(v) &&
                              (strcasecmp(json_string_value(v), "ALL") == 0 ||
                               strcasecmp(json_string_value(v), "CAP_ALL") == 0)) return true;
    return false;
}

int config_parse_capabilities(const json_t *host_config, bool is_privileged, oci_capset *ret,
                              struct error *err)
{
    oci_capset add, drop;
    if (capability_list(host_config, "CapAdd", &add, err) < 0 ||
        capability_list(host_config, "CapDrop", &drop, err) < 0)
        return -1;
    if (is_privileged)
        *ret = all_capabilities();
    else if (list_has_all(host_config, "CapAdd"))
        *ret = list_has_all(host_config, "CapDrop") ? all_capabilities() : all_capabilities() & ~drop;
    else
        *ret = (default_capabilities & ~drop) | add;
    return 0;
}

int config_parse_resources(const json_t *host_config, struct container_config *ret, char ***warnings,
                           struct error *err)
{
    if (parse_memory(host_config, ret, warnings, err) < 0 || parse_cpu(host_config, ret, err) < 0 ||
        parse_pids_and_blkio(host_config, ret, err) < 0 || parse_ulimits(host_config, ret, err) < 0 ||
        parse_devices(host_config, ret, err) < 0)
        return -1;
    return config_parse_capabilities(host_config, ret->is_privileged, &ret->capabilities, err);
}
