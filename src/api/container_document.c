#include "api/container_document.h"

#include "api/text.h"
#include "base/clock.h"
#include "base/mem.h"
#include "container/links.h"

#include <string.h>

static bool is_up(const struct container_info *info)
{
    return info->status == CONTAINER_RUNNING || info->status == CONTAINER_PAUSED ||
           info->status == CONTAINER_RESTARTING;
}

char *container_status_text(const struct container_info *info, int64_t now_ns)
{
    char since_start[HUMAN_DURATION_MAX], since_end[HUMAN_DURATION_MAX];
    human_duration(now_ns - info->started_ns, since_start);
    human_duration(now_ns - info->finished_ns, since_end);
    switch (info->status) {
    case CONTAINER_RUNNING:
        if (info->health) {
            const char *health = json_get_string(info->health, "Status", "");
            return xasprintf("Up %s (%s%s)", since_start, streq(health, "starting") ? "health: " : "",
                             health);
        }
        return xasprintf("Up %s", since_start);
    case CONTAINER_PAUSED:
        return xasprintf("Up %s (Paused)", since_start);
    case CONTAINER_RESTARTING:
        return xasprintf("Restarting (%d) %s ago", info->exit_code, since_end);
    case CONTAINER_REMOVING:
        return xstrdup("Removal In Progress");
    case CONTAINER_DEAD:
        return xstrdup("Dead");
    case CONTAINER_CREATED:
        return xstrdup("Created");
    case CONTAINER_EXITED:
    case CONTAINER_STATUS_COUNT:
        break;
    }
    return info->finished_ns ? xasprintf("Exited (%d) %s ago", info->exit_code, since_end)
                             : xstrdup("Created");
}

const char *container_network_mode(const struct container_info *info)
{
    const char *mode = json_get_string(info->host_config, "NetworkMode", "");
    return !*mode || streq(mode, "default") ? "bridge" : mode;
}

// --- networks and ports

static const char *protocol_name(enum network_protocol protocol)
{
    switch (protocol) {
    case NETWORK_UDP:
        return "udp";
    case NETWORK_SCTP:
        return "sctp";
    case NETWORK_TCP:
        break;
    }
    return "tcp";
}

static const char *host_ip_of(const struct network_port *port)
{
    return *port->host_ip ? port->host_ip : "0.0.0.0";
}

// A Go nat.Port: "80/tcp", "80" (tcp), "8000-8010/udp". False when malformed.
static bool split_port(const char *text, int *ret_first, int *ret_last, const char **ret_protocol)
{
    char *end;
    long first = strtol(text, &end, 10), last = first;
    if (*end == '-')
        last = strtol(end + 1, &end, 10);
    if (first < 1 || last > 65535 || last < first || (*end && *end != '/'))
        return false;
    *ret_first = (int)first;
    *ret_last = (int)last;
    *ret_protocol = *end ? end + 1 : "tcp";
    return true;
}

// The published ports of all endpoints, one after another; *at begins with 0.
static const struct network_port *next_port(const struct container_info *info, size_t *at)
{
    size_t n = (*at)++;
    for (size_t i = 0; i < info->endpoint_count; i++) {
        if (n < info->endpoints[i].port_count)
            return &info->endpoints[i].ports[n];
        n -= info->endpoints[i].port_count;
    }
    return NULL;
}

static bool is_published(const struct container_info *info, int port, const char *protocol)
{
    const struct network_port *p;
    for (size_t at = 0; (p = next_port(info, &at));)
        if (p->container_port == port && streq(protocol_name(p->protocol), protocol))
            return true;
    return false;
}

static json_t *summary_ports(const struct container_info *info)
{
    json_t *ports = json_array();
    if (!is_up(info))
        return ports;
    const struct network_port *published;
    for (size_t at = 0; (published = next_port(info, &at));)
        json_array_append_new(ports, json_pack("{s:s, s:i, s:i, s:s}", "IP", host_ip_of(published),
                                               "PrivatePort", (int)published->container_port, "PublicPort",
                                               (int)published->host_port, "Type",
                                               protocol_name(published->protocol)));
    const char *key, *protocol;
    json_t *value;
    int first, last;
    json_object_foreach(json_get_object(info->config, "ExposedPorts"), key, value)
    {
        if (!split_port(key, &first, &last, &protocol))
            continue;
        for (int port = first; port <= last; port++)
            if (!is_published(info, port, protocol))
                json_array_append_new(ports, json_pack("{s:i, s:s}", "PrivatePort", port, "Type", protocol));
    }
    return ports;
}

static json_t *inspect_ports(const struct container_info *info)
{
    json_t *ports = json_object();
    if (!is_up(info))
        return ports;
    const char *key, *protocol;
    json_t *value;
    int first, last;
    json_object_foreach(json_get_object(info->config, "ExposedPorts"), key, value)
    {
        for (int port = split_port(key, &first, &last, &protocol) ? first : 65536;
             port < 65536 && port <= last; port++) {
            CLEANUP(cleanup_free) char *name = xasprintf("%d/%s", port, protocol);
            json_object_set_new(ports, name, json_null());
        }
    }
    const struct network_port *port;
    for (size_t at = 0; (port = next_port(info, &at));) {
        CLEANUP(cleanup_free)
        char *name = xasprintf("%u/%s", port->container_port, protocol_name(port->protocol));
        CLEANUP(cleanup_free) char *host_port = xasprintf("%u", port->host_port);
        if (!json_is_array(json_object_get(ports, name)))
            json_object_set_new(ports, name, json_array());
        json_array_append_new(json_object_get(ports, name),
                              json_pack("{s:s, s:s}", "HostIp", host_ip_of(port), "HostPort", host_port));
    }
    return ports;
}

static void set_addresses(json_t *object, const struct network_endpoint *endpoint)
{
    json_set_string(object, "EndpointID", endpoint ? endpoint->endpoint_id : "");
    json_set_string(object, "Gateway", endpoint ? endpoint->gateway : "");
    json_set_string(object, "IPAddress", endpoint ? endpoint->ip : "");
    json_set_int(object, "IPPrefixLen", endpoint ? endpoint->prefix_length : 0);
    json_set_string(object, "IPv6Gateway", endpoint ? endpoint->gateway6 : "");
    json_set_string(object, "GlobalIPv6Address", endpoint ? endpoint->ip6 : "");
    json_set_int(object, "GlobalIPv6PrefixLen", endpoint ? endpoint->prefix6_length : 0);
    json_set_string(object, "MacAddress", endpoint ? endpoint->mac : "");
}

static const struct network_endpoint *find_endpoint(const struct container_info *info, const char *network)
{
    for (size_t i = 0; is_up(info) && i < info->endpoint_count; i++)
        if (streq(info->endpoints[i].network_name, network))
            return &info->endpoints[i];
    return NULL;
}

static const struct network_endpoint *default_bridge_endpoint(const struct container_info *info)
{
    return find_endpoint(info, "bridge");
}

static void copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    json_object_set_new(to, key, value ? json_incref(value) : json_null());
}

// The names under which the container is found on a network of a user's own.
static json_t *dns_names(const struct container_info *info, const json_t *config)
{
    json_t *names = json_array(), *alias;
    size_t i;
    json_array_append_new(names, json_string(info->name));
    json_array_foreach(json_get_array(config, "Aliases"), i, alias) json_array_append(names, alias);
    json_array_append_new(names, json_sprintf("%.12s", info->id));
    return names;
}

static json_t *endpoint_document(const struct request *request, const struct container_info *info,
                                 const char *network, const json_t *config)
{
    static const char *const given[] = { "IPAMConfig", "Links", "Aliases", "DriverOpts" };
    const struct network_endpoint *endpoint = find_endpoint(info, network);
    struct network_info n = { 0 };
    struct error ignored;
    bool is_found = network_find(request->engine->networks, network, &n, &ignored) == 0;
    json_t *entry = json_object();
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        copy_member(entry, config, given[i]);
    if (request->version >= 148)
        json_set_int(entry, "GwPriority", json_get_int(config, "GwPriority", 0));
    json_set_string(entry, "NetworkID", endpoint ? endpoint->network_id : n.id);
    set_addresses(entry, endpoint);
    if (request->version >= 144)
        json_object_set_new(entry, "DNSNames",
                            is_found && !n.is_predefined ? dns_names(info, config) : json_null());
    return entry;
}

// {"bridge": {...}}; empty for a container that shares another's network.
static json_t *networks_document(const struct request *request, const struct container_info *info)
{
    json_t *networks = json_object(), *config;
    const char *mode = container_network_mode(info), *name;
    if (streq(mode, "host") || streq(mode, "none"))
        json_object_set_new(networks, mode, endpoint_document(request, info, mode, NULL));
    json_object_foreach(info->networks, name, config)
        json_object_set_new(networks, name, endpoint_document(request, info, name, config));
    return networks;
}

// --- mounts

// What the container service says of a bind or volume, without its own members.
static json_t *mount_document(const json_t *mount)
{
    static const char *const keys[] = { "Type",   "Name", "Source", "Destination",
                                        "Driver", "Mode", "RW",     "Propagation" };
    json_t *document = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(mount, keys[i]))
            json_object_set(document, keys[i], json_object_get(mount, keys[i]));
    return document;
}

static json_t *tmpfs_document(const json_t *mount)
{
    json_t *document = json_object();
    json_set_string(document, "Type", "tmpfs");
    json_set_string(document, "Source", "");
    json_set_string(document, "Destination", json_get_string(mount, "Target", ""));
    json_set_string(document, "Mode", "");
    json_set_bool(document, "RW", !json_get_bool(mount, "ReadOnly", false));
    json_set_string(document, "Propagation", "");
    return document;
}

json_t *container_mounts_document(const struct container_info *info)
{
    json_t *mounts = json_array(), *item;
    size_t i;
    json_array_foreach(info->mounts, i, item) json_array_append_new(mounts, mount_document(item));
    json_array_foreach(json_get_array(info->host_config, "Mounts"), i,
                       item) if (streq(json_get_string(item, "Type", ""), "tmpfs"))
        json_array_append_new(mounts, tmpfs_document(item));
    return mounts;
}

// --- list

json_t *container_summary_document(const struct request *request, const struct container_info *info,
                                   const char *image_text)
{
    json_t *document = json_object(), *names = json_array(), *host = json_object(), *settings = json_object();
    CLEANUP(cleanup_free) char *status = container_status_text(info, time_now_ns());
    CLEANUP(cleanup_free) char *command = command_line_text(info->path, info->args);
    json_set_string(document, "Id", info->id);
    json_array_append_new(names, json_sprintf("/%s", info->name));
    json_object_set_new(document, "Names", names);
    json_set_string(document, "Image", image_text);
    json_set_string(document, "ImageID", info->image_id);
    json_set_string(document, "Command", command);
    json_set_int(document, "Created", info->created_ns / NS_PER_S);
    json_object_set_new(document, "Ports", summary_ports(info));
    json_t *labels = json_get_object(info->config, "Labels");
    json_object_set_new(document, "Labels", labels ? json_copy(labels) : json_object());
    json_set_string(document, "State", container_status_name(info->status));
    json_set_string(document, "Status", status);
    json_set_string(host, "NetworkMode", container_network_mode(info));
    json_t *annotations = json_get_object(info->host_config, "Annotations");
    if (request->version >= 146 && annotations)
        json_object_set(host, "Annotations", annotations);
    json_object_set_new(document, "HostConfig", host);
    json_object_set_new(settings, "Networks", networks_document(request, info));
    json_object_set_new(document, "NetworkSettings", settings);
    json_object_set_new(document, "Mounts", container_mounts_document(info));
    return document;
}

void container_add_sizes(const struct request *request, const struct container_info *info, json_t *document)
{
    uint64_t written, all;
    struct error ignored; // removed meanwhile
    if (container_size(request->engine->containers, info->id, &written, &all, &ignored) < 0)
        return;
    json_set_int(document, "SizeRw", (int64_t)written);
    json_set_int(document, "SizeRootFs", (int64_t)all);
}

// --- inspect

// What Docker shows for what was not given.
static const char host_config_defaults[] =
    "{\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{}},"
    "\"NetworkMode\":\"bridge\","
    "\"PortBindings\":{},\"RestartPolicy\":{\"Name\":\"no\",\"MaximumRetryCount\":0},\"AutoRemove\":false,"
    "\"VolumeDriver\":\"\","
    "\"VolumesFrom\":null,\"ConsoleSize\":[0,0],\"CapAdd\":null,\"CapDrop\":null,\"CgroupnsMode\":"
    "\"private\",\"Dns\":[],"
    "\"DnsOptions\":[],\"DnsSearch\":[],\"ExtraHosts\":null,\"GroupAdd\":null,\"IpcMode\":\"private\","
    "\"Cgroup\":\"\","
    "\"Links\":null,\"OomScoreAdj\":0,\"PidMode\":\"\",\"Privileged\":false,\"PublishAllPorts\":false,"
    "\"ReadonlyRootfs\":false,"
    "\"SecurityOpt\":null,\"UTSMode\":\"\",\"UsernsMode\":\"\",\"ShmSize\":67108864,\"Runtime\":\"skiff\","
    "\"Isolation\":\"\","
    "\"CpuShares\":0,\"Memory\":0,\"NanoCpus\":0,\"CgroupParent\":\"\",\"BlkioWeight\":0,"
    "\"BlkioWeightDevice\":[],"
    "\"BlkioDeviceReadBps\":[],\"BlkioDeviceWriteBps\":[],\"BlkioDeviceReadIOps\":[],"
    "\"BlkioDeviceWriteIOps\":[],"
    "\"CpuPeriod\":0,\"CpuQuota\":0,\"CpuRealtimePeriod\":0,\"CpuRealtimeRuntime\":0,\"CpusetCpus\":\"\","
    "\"CpusetMems\":\"\","
    "\"Devices\":[],\"DeviceCgroupRules\":null,\"DeviceRequests\":null,\"MemoryReservation\":0,"
    "\"MemorySwap\":0,"
    "\"MemorySwappiness\":null,\"OomKillDisable\":false,\"PidsLimit\":null,\"Ulimits\":[],\"CpuCount\":0,"
    "\"CpuPercent\":0,"
    "\"IOMaximumIOps\":0,\"IOMaximumBandwidth\":0,\"MaskedPaths\":[],\"ReadonlyPaths\":[]}";

static const char config_defaults[] =
    "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
    "\"AttachStderr\":false,"
    "\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":[],\"Cmd\":null,\"Image\":\"\","
    "\"Volumes\":null,"
    "\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":{}}";

// `given` over the defaults; strings that are empty and members that are null count as not given.
static json_t *over_defaults(const char *defaults, const json_t *given)
{
    json_t *document = json_loads(defaults, 0, NULL);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)given, key, value)
    {
        bool is_empty = json_is_null(value) || (json_is_string(value) && !*json_string_value(value));
        if (!is_empty || !json_object_get(document, key))
            json_object_set_new(document, key, json_deep_copy(value));
    }
    return document;
}

static json_t *state_document(const struct container_info *info)
{
    json_t *state = json_object();
    char started[TIME_TEXT_MAX], finished[TIME_TEXT_MAX];
    time_format_rfc3339(info->started_ns, started);
    time_format_rfc3339(info->finished_ns, finished);
    json_set_string(state, "Status", container_status_name(info->status));
    json_set_bool(state, "Running", is_up(info));
    json_set_bool(state, "Paused", info->status == CONTAINER_PAUSED);
    json_set_bool(state, "Restarting", info->status == CONTAINER_RESTARTING);
    json_set_bool(state, "OOMKilled", info->was_oom_killed);
    json_set_bool(state, "Dead", info->status == CONTAINER_DEAD);
    json_set_int(state, "Pid", info->pid);
    json_set_int(state, "ExitCode", info->exit_code);
    json_set_string(state, "Error", info->error ? info->error : "");
    json_set_string(state, "StartedAt", started);
    json_set_string(state, "FinishedAt", finished);
    if (info->health)
        json_object_set(state, "Health", info->health);
    return state;
}

static json_t *network_settings_document(const struct request *request, const struct container_info *info)
{
    json_t *settings = json_object();
    json_set_string(settings, "Bridge", "");
    json_set_string(settings, "SandboxID", is_up(info) ? info->id : "");
    if (is_up(info) && info->pid)
        json_object_set_new(settings, "SandboxKey", json_sprintf("/proc/%d/ns/net", (int)info->pid));
    else
        json_set_string(settings, "SandboxKey", "");
    json_object_set_new(settings, "Ports", inspect_ports(info));
    json_set_bool(settings, "HairpinMode", false);
    json_set_string(settings, "LinkLocalIPv6Address", "");
    json_set_int(settings, "LinkLocalIPv6PrefixLen", 0);
    json_object_set_new(settings, "SecondaryIPAddresses", json_null());
    json_object_set_new(settings, "SecondaryIPv6Addresses", json_null());
    set_addresses(settings,
                  default_bridge_endpoint(info)); // Docker's members of before there were several networks
    json_object_set_new(settings, "Networks", networks_document(request, info));
    return settings;
}

// overlay's directories, for the tools that look into a container from outside.
static json_t *graph_driver_document(const struct request *request, const struct container_info *info)
{
    const char *root = store_root(request->engine->store);
    json_t *data = json_object(), *driver = json_object();
    struct image *image = NULL;
    struct error ignored;
    if (image_get(request->engine->images, info->image_id, &image, &ignored) == 0) {
        struct str lower = STR_INIT;
        for (size_t i = strv_len(image->diff_ids); i-- > 0;)
            str_appendf(&lower, "%s%s/%s/fs", lower.len ? ":" : "", layer_directory(request->engine->store),
                        digest_hex(image->diff_ids[i]));
        json_set_string(data, "LowerDir", lower.ptr);
        str_done(&lower);
        image_free(image);
    }
    static const char *const names[][2] = { { "UpperDir", "upper" }, { "WorkDir", "work" } };
    for (size_t i = 0; i < 2; i++)
        json_object_set_new(data, names[i][0],
                            json_sprintf("%s/containers/%s/%s", root, info->id, names[i][1]));
    json_set_string(driver, "Name", "overlay2");
    json_object_set_new(driver, "Data", data);
    return driver;
}

// "db:database" as inspect has it: "/db:/web/database".
static void show_links(json_t *host_config, const char *container_name)
{
    json_t *shown = json_array(), *entry;
    size_t i;
    json_array_foreach(json_get_array(host_config, "Links"), i, entry)
    {
        CLEANUP(cleanup_free) char *name = NULL;
        CLEANUP(cleanup_free) char *alias = NULL;
        struct error ignored;
        if (!json_is_string(entry) || link_parse(json_string_value(entry), &name, &alias, &ignored) < 0)
            continue;
        CLEANUP(cleanup_free) char *text = xasprintf("/%s:/%s/%s", name, container_name, alias);
        json_array_append_new(shown, json_string(text));
    }
    if (json_array_size(shown))
        json_object_set(host_config, "Links", shown);
    json_decref(shown);
}

static void add_configs(const struct container_info *info, json_t *document)
{
    json_t *host_config = over_defaults(host_config_defaults, info->host_config);
    json_set_string(host_config, "NetworkMode", container_network_mode(info));
    if (!*json_get_string(json_get_object(host_config, "LogConfig"), "Type", ""))
        json_set_string(json_get_object(host_config, "LogConfig"), "Type", "json-file");
    if (!*json_get_string(json_get_object(host_config, "RestartPolicy"), "Name", ""))
        json_set_string(json_get_object(host_config, "RestartPolicy"), "Name", "no");
    show_links(host_config, info->name);
    json_object_set_new(document, "HostConfig", host_config);
    json_t *config = over_defaults(config_defaults, info->config);
    if (!*json_get_string(config, "Hostname", "") &&
        !str_has_prefix(container_network_mode(info), "container:"))
        json_object_set_new(config, "Hostname", json_stringn(info->id, 12));
    json_object_set_new(document, "Config", config);
}

json_t *container_inspect_document(const struct request *request, const struct container_info *info)
{
    json_t *document = json_object();
    char created[TIME_TEXT_MAX];
    time_format_rfc3339(info->created_ns, created);
    json_set_string(document, "Id", info->id);
    json_set_string(document, "Created", created);
    json_set_string(document, "Path", info->path ? info->path : "");
    json_object_set_new(document, "Args", json_from_strv(info->args));
    json_object_set_new(document, "State", state_document(info));
    json_set_string(document, "Image", info->image_id);
    json_set_string(document, "ResolvConfPath", info->resolv_conf_path ? info->resolv_conf_path : "");
    json_set_string(document, "HostnamePath", info->hostname_path ? info->hostname_path : "");
    json_set_string(document, "HostsPath", info->hosts_path ? info->hosts_path : "");
    json_set_string(document, "LogPath", info->log_path ? info->log_path : "");
    json_object_set_new(document, "Name", json_sprintf("/%s", info->name));
    json_set_int(document, "RestartCount", info->restart_count);
    json_set_string(document, "Driver", "overlay2");
    json_set_string(document, "Platform", "linux");
    json_set_string(document, "MountLabel", "");
    json_set_string(document, "ProcessLabel", "");
    json_set_string(document, "AppArmorProfile", "");
    json_object_set_new(document, "ExecIDs",
                        info->exec_ids && *info->exec_ids ? json_from_strv(info->exec_ids) : json_null());
    add_configs(info, document);
    json_object_set_new(document, "GraphDriver", graph_driver_document(request, info));
    json_object_set_new(document, "Mounts", container_mounts_document(info));
    json_object_set_new(document, "NetworkSettings", network_settings_document(request, info));
    return document;
}
