// Limits, devices and networks of a container.
#include "cli/create.h"

#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

#include <string.h>

// Options that are one number in HostConfig.
static const struct number_field {
    const char *option, *field;
} number_fields[] = {
    { "blkio-weight", "BlkioWeight" },
    { "cpu-period", "CpuPeriod" },
    { "cpu-quota", "CpuQuota" },
    { "cpu-rt-period", "CpuRealtimePeriod" },
    { "cpu-rt-runtime", "CpuRealtimeRuntime" },
    { "cpu-shares", "CpuShares" },
    { "cpus", "NanoCpus" },
    { "kernel-memory", "KernelMemory" },
    { "memory", "Memory" },
    { "memory-reservation", "MemoryReservation" },
    { "memory-swap", "MemorySwap" },
    { "memory-swappiness", "MemorySwappiness" },
    { "oom-score-adj", "OomScoreAdj" },
    { "pids-limit", "PidsLimit" },
    { "shm-size", "ShmSize" },
};

static bool is_device_mode(const char *s)
{
    return *s && strspn(s, "rwm") == strlen(s) && strlen(s) <= 3;
}

int create_device(const char *spec, json_t *devices, struct error *err)
{
    char **parts CLEANUP(strv_freep) = strv_split(spec, ":", true);
    size_t n = strv_len(parts);
    const char *inside = parts[0], *mode = "rwm";
    if (n == 2 && is_device_mode(parts[1]))
        mode = parts[1];
    else if (n >= 2)
        inside = *parts[1] ? parts[1] : parts[0];
    if (n == 3)
        mode = parts[2];
    if (n > 3 || !*parts[0] || !is_device_mode(mode))
        return error_set(err, ERROR_INVALID, "invalid device specification: %s", spec);
    json_array_append_new(devices, json_pack("{s:s, s:s, s:s}", "PathOnHost", parts[0], "PathInContainer",
                                             inside, "CgroupPermissions", mode));
    return 0;
}

// "vendor.com/class=name", which no path is.
static bool is_cdi_name(const char *text)
{
    const char *slash = strchr(text, '/'), *equals = strchr(text, '=');
    return slash && equals && slash > text && slash < equals;
}

static void add_cdi_device(const char *name, json_t *host)
{
    json_t *requests = json_object_get(host, "DeviceRequests");
    if (!requests)
        json_object_set_new(host, "DeviceRequests",
                            requests = json_pack("[{s:s, s:[]}]", "Driver", "cdi", "DeviceIDs"));
    json_array_append_new(json_object_get(json_array_get(requests, 0), "DeviceIDs"), json_string(name));
}

// --ulimit name=soft[:hard]; hard defaults to soft.
static int add_ulimit(const struct options *options, const char *spec, json_t *limits, struct error *err)
{
    char **parts CLEANUP(strv_freep) = strv_split(spec, "=:", true);
    int64_t soft = 0, hard = 0;
    size_t n = strv_len(parts);
    if (n < 2 || n > 3 || !strchr(spec, '='))
        return options_invalid(options, "ulimit", spec, err, "invalid ulimit argument: %s", spec);
    if (!parse_i64(parts[1], -1, INT64_MAX, &soft) || !parse_i64(parts[n - 1], -1, INT64_MAX, &hard))
        return options_invalid(options, "ulimit", spec, err,
                               "strconv.ParseInt: parsing \"%s\": invalid syntax", parts[1]);
    if (hard != -1 && (soft > hard || soft == -1))
        return options_invalid(options, "ulimit", spec, err,
                               "ulimit soft limit must be less than or equal to hard limit: %s > %s",
                               parts[1], parts[n - 1]);
    json_array_append_new(limits, json_pack("{s:s, s:I, s:I}", "Name", parts[0], "Hard", (json_int_t)hard,
                                            "Soft", (json_int_t)soft));
    return 0;
}

// "/dev/sda:1mb" of --device-read-bps and its like.
static int add_throttle(const struct options *options, const char *name, const char *field, bool is_bytes,
                        json_t *host, struct error *err)
{
    json_t *list CLEANUP(json_cleanup) = json_array();
    const char *key = streq(name, "blkio-weight-device") ? "Weight" : "Rate";
    for (char *const *v = options_list(options, name); *v; v++) {
        const char *colon = strrchr(*v, ':');
        int64_t rate;
        if (!colon || colon == *v || !str_has_prefix(*v, "/dev/"))
            return options_invalid(options, name, *v, err, "bad format: %s", *v);
        if (is_bytes ? !parse_size_bytes(colon + 1, &rate) : !parse_i64(colon + 1, 0, INT64_MAX, &rate))
            return options_invalid(options, name, *v, err, "invalid rate for device: %s", *v);
        char *path CLEANUP(cleanup_free) = xstrndup(*v, (size_t)(colon - *v));
        json_array_append_new(list, json_pack("{s:s, s:I}", "Path", path, key, (json_int_t)rate));
    }
    if (json_array_size(list))
        json_object_set(host, field, list);
    return 0;
}

static int add_gpus(const struct options *options, json_t *host, struct error *err)
{
    const char *gpus = options_string(options, "gpus", NULL);
    int64_t count = -1;
    if (!gpus)
        return 0;
    const char *number = str_has_prefix(gpus, "count=") ? gpus + strlen("count=") : gpus;
    if (!streq(number, "all") && !parse_i64(number, 1, INT32_MAX, &count))
        return options_invalid(options, "gpus", gpus, err, "count must be an integer or \"all\"");
    if (!json_object_get(host, "DeviceRequests"))
        json_object_set_new(host, "DeviceRequests", json_array());
    json_array_append_new(json_object_get(host, "DeviceRequests"),
                          json_pack("{s:I, s:[[s]]}", "Count", (json_int_t)count, "Capabilities", "gpu"));
    return 0;
}

void create_add_limits(const struct options *options, json_t *host)
{
    static const char *const cpusets[][2] = { { "cpuset-cpus", "CpusetCpus" },
                                              { "cpuset-mems", "CpusetMems" } };
    for (size_t i = 0; i < sizeof number_fields / sizeof *number_fields; i++)
        if (options_has(options, number_fields[i].option))
            json_set_int(host, number_fields[i].field, options_number(options, number_fields[i].option, 0));
    for (size_t i = 0; i < sizeof cpusets / sizeof *cpusets; i++)
        if (options_has(options, cpusets[i][0]))
            json_set_string(host, cpusets[i][1], options_string(options, cpusets[i][0], ""));
}

int create_add_resources(const struct options *options, json_t *host, struct error *err)
{
    json_t *devices CLEANUP(json_cleanup) = json_array(), *limits CLEANUP(json_cleanup) = json_array();
    create_add_limits(options, host);
    for (char *const *v = options_list(options, "device"); *v; v++)
        if (is_cdi_name(*v))
            add_cdi_device(*v, host);
        else if (create_device(*v, devices, err) < 0)
            return -1;
    for (char *const *v = options_list(options, "ulimit"); *v; v++)
        if (add_ulimit(options, *v, limits, err) < 0)
            return -1;
    if (json_array_size(devices))
        json_object_set(host, "Devices", devices);
    if (json_array_size(limits))
        json_object_set(host, "Ulimits", limits);
    if (add_throttle(options, "blkio-weight-device", "BlkioWeightDevice", false, host, err) < 0 ||
        add_throttle(options, "device-read-bps", "BlkioDeviceReadBps", true, host, err) < 0 ||
        add_throttle(options, "device-write-bps", "BlkioDeviceWriteBps", true, host, err) < 0 ||
        add_throttle(options, "device-read-iops", "BlkioDeviceReadIOps", false, host, err) < 0 ||
        add_throttle(options, "device-write-iops", "BlkioDeviceWriteIOps", false, host, err) < 0)
        return -1;
    return add_gpus(options, host, err);
}

static json_t *sub_object(json_t *object, const char *key)
{
    json_t *member = json_object_get(object, key);
    if (!member) {
        member = json_object();
        json_object_set_new(object, key, member);
    }
    return member;
}

static json_t *sub_array(json_t *object, const char *key)
{
    json_t *member = json_object_get(object, key);
    if (!member) {
        member = json_array();
        json_object_set_new(object, key, member);
    }
    return member;
}

// One key of the long form of --network: name=x,alias=y,ip=...
static int set_network_key(json_t *endpoint, const char *key, const char *value, struct error *err)
{
    int64_t priority;
    if (streq(key, "alias")) {
        json_array_append_new(sub_array(endpoint, "Aliases"), json_string(value));
    } else if (streq(key, "ip")) {
        json_set_string(sub_object(endpoint, "IPAMConfig"), "IPv4Address", value);
    } else if (streq(key, "ip6")) {
        json_set_string(sub_object(endpoint, "IPAMConfig"), "IPv6Address", value);
    } else if (streq(key, "link-local-ip")) {
        json_array_append_new(sub_array(sub_object(endpoint, "IPAMConfig"), "LinkLocalIPs"),
                              json_string(value));
    } else if (streq(key, "mac-address")) {
        json_set_string(endpoint, "MacAddress", value);
    } else if (streq(key, "gw-priority") && parse_i64(value, INT32_MIN, INT32_MAX, &priority)) {
        json_set_int(endpoint, "GwPriority", priority);
    } else if (streq(key, "driver-opt")) {
        const char *equals = strchr(value, '=');
        char *name CLEANUP(cleanup_free) = xstrndup(value, equals ? (size_t)(equals - value) : strlen(value));
        json_set_string(sub_object(endpoint, "DriverOpts"), name, equals ? equals + 1 : "");
    } else {
        return error_set(err, ERROR_INVALID, "invalid key %s", key);
    }
    return 0;
}

// Adds the endpoint; *ret_name (owned) is the network's name.
static int add_network(const struct options *options, const char *spec, json_t *endpoints, char **ret_name,
                       struct error *err)
{
    json_t *endpoint CLEANUP(json_cleanup) = json_object();
    char *name CLEANUP(cleanup_free) = NULL;
    struct error why = { 0 };
    if (!strchr(spec, '=')) {
        name = xstrdup(spec);
    } else {
        char **fields CLEANUP(strv_freep) = create_split_csv(spec);
        for (char **f = fields; *f; f++) {
            char *equals = strchr(*f, '=');
            if (!equals)
                return options_invalid(options, "network", spec, err, "invalid field %s", *f);
            *equals = '\0';
            if (streq(*f, "name"))
                free_and_strdup(&name, equals + 1);
            else if (set_network_key(endpoint, *f, equals + 1, &why) < 0)
                return options_invalid(options, "network", spec, err, "%s", why.message);
        }
    }
    if (str_is_empty(name))
        return options_invalid(options, "network", spec, err, "network name/id is not specified");
    json_object_set(endpoints, name, endpoint);
    *ret_name = TAKE_PTR(name);
    return 0;
}

// The plain options (--ip, --network-alias, ...) that concern the first network.
static void add_endpoint_options(const struct options *options, json_t *endpoint)
{
    static const char *const singles[] = { "ip", "ip6", "mac-address" };
    static const struct {
        const char *option, *key;
    } lists[] = { { "network-alias", "alias" },
                  { "net-alias", "alias" },
                  { "link-local-ip", "link-local-ip" } };
    struct error never;
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        if (options_has(options, singles[i]))
            (void)set_network_key(endpoint, singles[i], options_string(options, singles[i], ""), &never);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (char *const *v = options_list(options, lists[i].option); *v; v++)
            (void)set_network_key(endpoint, lists[i].key, *v, &never);
}

int create_add_networks(const struct options *options, json_t *config, json_t *host, struct error *err)
{
    static const char *const names[] = { "network", "net" };
    json_t *endpoints CLEANUP(json_cleanup) = json_object();
    char *first CLEANUP(cleanup_free) = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (char *const *v = options_list(options, names[i]); *v; v++) {
            char *name CLEANUP(cleanup_free) = NULL;
            if (add_network(options, *v, endpoints, &name, err) < 0)
                return -1;
            if (!first)
                first = TAKE_PTR(name);
        }
    const char *mode = first ? first : "default";
    json_set_string(host, "NetworkMode", mode);
    json_t *endpoint = sub_object(endpoints, mode);
    add_endpoint_options(options, endpoint);
    char *const *links = options_list(options, "link");
    if (*links) {
        json_object_set_new(host, "Links", json_from_strv(links));
        if (first) // on the default bridge links are the container's, elsewhere the endpoint's
            json_object_set_new(endpoint, "Links", json_from_strv(links));
    }
    if (json_object_size(endpoint) || json_object_size(endpoints) > 1) // more to say than the mode
        json_object_set(sub_object(config, "NetworkingConfig"), "EndpointsConfig", endpoints);
    return 0;
}
