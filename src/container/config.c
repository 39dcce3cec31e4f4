// Theory of operation. A create request comes in two JSON objects with some hundred members. One table names
// every member of HostConfig and what we do with it: HONOURED (parsed below), DEFAULT_ONLY (refused by name
// unless it holds its default), or CLIENT_ONLY (means nothing to an engine). A member that is not in the
// table is refused too, so that nothing a client asks for is dropped in silence. Parsing then goes concern by
// concern into struct container_config; what spec.c reads is that struct only.
#include "container/config.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/links.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum field_rule { HONOURED, DEFAULT_ONLY, CLIENT_ONLY };

static const struct {
    const char *name;
    enum field_rule rule;
} host_fields[] = {
    { "Binds", HONOURED },
    { "ContainerIDFile", CLIENT_ONLY },
    { "LogConfig", HONOURED },
    { "NetworkMode", HONOURED },
    { "PortBindings", HONOURED },
    { "RestartPolicy", HONOURED },
    { "AutoRemove", HONOURED },
    { "VolumeDriver", HONOURED },
    { "VolumesFrom", HONOURED },
    { "Mounts", HONOURED },
    { "ConsoleSize", HONOURED },
    { "Annotations", HONOURED },
    { "CapAdd", HONOURED },
    { "CapDrop", HONOURED },
    { "CgroupnsMode", HONOURED },
    { "Dns", HONOURED },
    { "DnsOptions", HONOURED },
    { "DnsSearch", HONOURED },
    { "ExtraHosts", HONOURED },
    { "GroupAdd", HONOURED },
    { "IpcMode", HONOURED },
    { "Cgroup", DEFAULT_ONLY },
    { "Links", HONOURED },
    { "OomScoreAdj", HONOURED },
    { "PidMode", HONOURED },
    { "Privileged", HONOURED },
    { "PublishAllPorts", HONOURED },
    { "ReadonlyRootfs", HONOURED },
    { "SecurityOpt", HONOURED },
    { "StorageOpt", HONOURED },
    { "Tmpfs", HONOURED },
    { "UTSMode", HONOURED },
    { "UsernsMode", HONOURED },
    { "ShmSize", HONOURED },
    { "Sysctls", HONOURED },
    { "Runtime", HONOURED },
    { "Isolation", HONOURED },
    { "MaskedPaths", HONOURED },
    { "ReadonlyPaths", HONOURED },
    { "CpuShares", HONOURED },
    { "Memory", HONOURED },
    { "CgroupParent", HONOURED },
    { "BlkioWeight", HONOURED },
    { "BlkioWeightDevice", HONOURED },
    { "BlkioDeviceReadBps", HONOURED },
    { "BlkioDeviceWriteBps", HONOURED },
    { "BlkioDeviceReadIOps", HONOURED },
    { "BlkioDeviceWriteIOps", HONOURED },
    { "CpuPeriod", HONOURED },
    { "CpuQuota", HONOURED },
    { "CpuRealtimePeriod", HONOURED },
    { "CpuRealtimeRuntime", HONOURED },
    { "CpusetCpus", HONOURED },
    { "CpusetMems", HONOURED },
    { "Devices", HONOURED },
    { "DeviceCgroupRules", HONOURED },
    { "DeviceRequests", HONOURED },
    { "KernelMemory", DEFAULT_ONLY },    // API 1.41 and before
    { "KernelMemoryTCP", DEFAULT_ONLY }, // API 1.41 and before
    { "MemoryReservation", HONOURED },
    { "MemorySwap", HONOURED },
    { "MemorySwappiness", HONOURED },
    { "NanoCpus", HONOURED },
    { "OomKillDisable", HONOURED },
    { "Init", HONOURED },
    { "PidsLimit", HONOURED },
    { "Ulimits", HONOURED },
    // Windows: what clients send by default
    { "CpuCount", DEFAULT_ONLY },
    { "CpuPercent", DEFAULT_ONLY },
    { "IOMaximumIOps", DEFAULT_ONLY },
    { "IOMaximumBandwidth", DEFAULT_ONLY },
};

// Go's zero values: what a client sends that did not ask for anything.
static bool is_default(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL:
    case JSON_FALSE:
        return true;
    case JSON_INTEGER:
        return json_integer_value(v) == 0;
    case JSON_REAL:
        return json_real_value(v) == 0;
    case JSON_STRING:
        return !*json_string_value(v);
    case JSON_ARRAY:
        return json_array_size(v) == 0;
    case JSON_OBJECT:
        return json_object_size(v) == 0;
    case JSON_TRUE:
        break;
    }
    return false;
}

static int check_host_fields(const json_t *h, struct error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)h, key, v)
    {
        size_t i = 0, n = sizeof host_fields / sizeof *host_fields;
        for (; i < n && !streq(host_fields[i].name, key); i++)
            ;
        if ((i == n || host_fields[i].rule == DEFAULT_ONLY) && !is_default(v))
            return error_set(err, ERROR_UNSUPPORTED, "HostConfig.%s is not supported yet", key);
    }
    return 0;
}

// --- signals
static const char *const signal_names[] = {
    [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT",   [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",
    [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",     [SIGKILL] = "KILL", [SIGUSR1] = "USR1",
    [SIGSEGV] = "SEGV",     [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE",   [SIGALRM] = "ALRM", [SIGTERM] = "TERM",
    [SIGSTKFLT] = "STKFLT", [SIGCHLD] = "CHLD", [SIGCONT] = "CONT",   [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP",
    [SIGTTIN] = "TTIN",     [SIGTTOU] = "TTOU", [SIGURG] = "URG",     [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
    [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH", [SIGIO] = "IO",     [SIGPWR] = "PWR",
    [SIGSYS] = "SYS",
};
// The kernel's numbers of the real-time signals as Docker counts them: RTMIN is 34, RTMAX 64.
enum { SIGNAL_RTMIN = 34, SIGNAL_RTMAX = 64 };

int signal_parse(const char *text)
{
    uint32_t n;
    if (str_is_empty(text))
        return 0;
    if (parse_u32(text, SIGNAL_RTMAX, &n))
        return (int)n;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 1; i < sizeof signal_names / sizeof *signal_names; i++)
        if (signal_names[i] && strcasecmp(signal_names[i], text) == 0)
            return (int)i;
    if (strcasecmp(text, "CLD") == 0)
        return SIGCHLD;
    if (strcasecmp(text, "POLL") == 0)
        return SIGIO;
    if (strcasecmp(text, "IOT") == 0)
        return SIGABRT;
    if (strncasecmp(text, "RTMIN", 5) == 0)
        return !text[5]                                        ? SIGNAL_RTMIN
               : text[5] == '+' && parse_u32(text + 6, 15, &n) ? SIGNAL_RTMIN + (int)n
                                                               : 0;
    if (strncasecmp(text, "RTMAX", 5) == 0)
        return !text[5]                                        ? SIGNAL_RTMAX
               : text[5] == '-' && parse_u32(text + 6, 14, &n) ? SIGNAL_RTMAX - (int)n
                                                               : 0;
    return 0;
}

const char *signal_name(int number)
{
    return number > 0 && (size_t)number < sizeof signal_names / sizeof *signal_names ? signal_names[number]
                                                                                     : NULL;
}

// --- Config
static int check_host_name(const char *name, struct error *err)
{
    size_t n = strlen(name);
    if (n > 63)
        return error_set(err, ERROR_INVALID, "invalid hostname format: %s", name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-._", name[i]))
            return error_set(err, ERROR_INVALID, "invalid hostname format: %s", name);
    return 0;
}

static char **string_or_list(const json_t *o, const char *key)
{
    const char *s = json_get_string(o, key, NULL);
    if (!s)
        return json_get_strv(o, key);
    char **v = NULL;
    strv_push(&v, s);
    return v;
}

static int parse_config(const json_t *config, struct container_config *c, struct error *err)
{
    c->hostname = xstrdup(json_get_string(config, "Hostname", ""));
    c->domainname = xstrdup(json_get_string(config, "Domainname", ""));
    c->user = xstrdup(json_get_string(config, "User", ""));
    c->working_dir = xstrdup(json_get_string(config, "WorkingDir", ""));
    c->env = json_get_strv(config, "Env");
    c->has_tty = json_get_bool(config, "Tty", false);
    c->has_stdin = json_get_bool(config, "OpenStdin", false);
    c->is_stdin_once = json_get_bool(config, "StdinOnce", false);
    c->stop_timeout_s = (int)json_get_int(config, "StopTimeout", -1);
    const char *stop_signal = json_get_string(config, "StopSignal", "");
    c->stop_signal_name = xstrdup(*stop_signal ? stop_signal : "SIGTERM");
    c->stop_signal = signal_parse(c->stop_signal_name);
    if (c->stop_signal == 0)
        return error_set(err, ERROR_INVALID, "invalid signal: %s", stop_signal);
    for (size_t i = 0; c->env && c->env[i]; i++)
        if (c->env[i][0] == '=' || !c->env[i][0])
            return error_set(err, ERROR_INVALID, "invalid environment variable: %s", c->env[i]);
    if (*c->working_dir && c->working_dir[0] != '/')
        return error_set(err, ERROR_INVALID,
                         "the working directory '%s' is invalid, it needs to be an absolute path",
                         c->working_dir);
    char **entrypoint = string_or_list(config, "Entrypoint"), **cmd = string_or_list(config, "Cmd");
    for (size_t i = 0; entrypoint && entrypoint[i]; i++)
        strv_push(&c->args, entrypoint[i]);
    for (size_t i = 0; cmd && cmd[i]; i++)
        strv_push(&c->args, cmd[i]);
    strv_free(entrypoint);
    strv_free(cmd);
    if (!c->args || !c->args[0])
        return error_set(err, ERROR_INVALID, "no command specified");
    if (check_host_name(c->hostname, err) < 0)
        return -1;
    c->has_no_network = json_get_bool(config, "NetworkDisabled", false);
    return 0;
}

// --- namespaces
static int parse_mode(const char *what, const char *text, const char *privates, struct namespace_mode *ret,
                      struct error *err)
{
    *ret = (struct namespace_mode){ .kind = NS_MODE_PRIVATE };
    CLEANUP(strv_freep) char **words = strv_split(privates, " ", false);
    if (!*text || strv_contains(words, text))
        return 0;
    if (streq(text, "host")) {
        ret->kind = NS_MODE_HOST;
        return 0;
    }
    bool takes_container = streq(what, "NetworkMode") || streq(what, "PidMode") || streq(what, "IpcMode");
    if (takes_container && str_has_prefix(text, "container:") && text[10]) {
        ret->kind = NS_MODE_CONTAINER;
        ret->container = xstrdup(text + 10);
        return 0;
    }
    return error_set(err, ERROR_INVALID, "invalid %s: %s", what, text);
}

static int parse_network_mode(const json_t *h, struct container_config *c, struct error *err)
{
    const char *mode = json_get_string(h, "NetworkMode", "");
    c->is_network_mode_explicit = *mode && !streq(mode, "default");
    if (streq(mode, "none") || c->has_no_network) {
        c->network.kind = NS_MODE_NONE;
        return 0;
    }
    if (streq(mode, "host") || str_has_prefix(mode, "container:"))
        return parse_mode("NetworkMode", mode, "", &c->network, err);
    c->network.kind = NS_MODE_PRIVATE;
    c->network_name = xstrdup(!*mode || streq(mode, "default") ? "bridge" : mode);
    return 0;
}

static int parse_modes(const json_t *h, struct container_config *c, struct error *err)
{
    const char *ipc = json_get_string(h, "IpcMode", ""), *cgroupns = json_get_string(h, "CgroupnsMode", "");
    if (parse_network_mode(h, c, err) < 0 ||
        parse_mode("PidMode", json_get_string(h, "PidMode", ""), "", &c->pid, err) < 0 ||
        parse_mode("IpcMode", ipc, "private shareable none", &c->ipc, err) < 0 ||
        parse_mode("UTSMode", json_get_string(h, "UTSMode", ""), "", &c->uts, err) < 0 ||
        parse_mode("UsernsMode", json_get_string(h, "UsernsMode", ""), "private", &c->userns, err) < 0)
        return -1;
    if (streq(ipc, "none"))
        c->ipc.kind = NS_MODE_NONE;
    c->has_shareable_ipc = streq(ipc, "shareable");
    if (*cgroupns && !streq(cgroupns, "private") && !streq(cgroupns, "host"))
        return error_set(err, ERROR_INVALID, "invalid CgroupnsMode: %s", cgroupns);
    c->has_private_cgroupns = !streq(cgroupns, "host") && !(c->is_privileged && !*cgroupns);
    if (c->network.kind == NS_MODE_CONTAINER && *c->hostname)
        return error_set(err, ERROR_INVALID, "conflicting options: hostname and the network mode");
    if (c->uts.kind == NS_MODE_HOST && *c->hostname)
        return error_set(err, ERROR_INVALID, "conflicting options: hostname and the UTS mode");
    return 0;
}

// --- security
static int parse_seccomp_option(const char *value, struct container_config *c, struct error *err)
{
    if (streq(value, "unconfined")) {
        c->is_seccomp_unconfined = true;
        return 0;
    }
    c->has_seccomp_profile = true;
    if (streq(value, "builtin"))
        return 0;
    json_decref(c->seccomp_profile);
    c->seccomp_profile = NULL;
    if (json_parse(value, strlen(value), &c->seccomp_profile, err) < 0)
        return error_wrap(err, "Decoding seccomp profile failed");
    return 0;
}

static int parse_security_option(const char *option, struct container_config *c, struct error *err)
{
    if (streq(option, "no-new-privileges")) {
        c->has_no_new_privileges = true;
        return 0;
    }
    // "key=value"; "key:value" is the form of old clients.
    size_t n = strcspn(option, "=:");
    if (!option[n])
        return error_set(err, ERROR_INVALID, "invalid --security-opt 1: \"%s\"", option);
    CLEANUP(cleanup_free) char *key = xstrndup(option, n);
    const char *value = option + n + 1;
    if (streq(key, "seccomp"))
        return parse_seccomp_option(value, c, err);
    if (streq(key, "no-new-privileges")) {
        if (!streq(value, "true") && !streq(value, "false"))
            return error_set(err, ERROR_INVALID, "invalid --security-opt 2: \"%s\"", option);
        c->has_no_new_privileges = streq(value, "true");
        return 0;
    }
    // Labels mean something to SELinux only, as in Docker.
    if ((streq(key, "apparmor") && streq(value, "unconfined")) ||
        (streq(key, "label") && (streq(value, "disable") || access("/sys/fs/selinux/enforce", F_OK) < 0)))
        return 0;
    if (streq(key, "apparmor") && access("/sys/kernel/security/apparmor", F_OK) < 0)
        return error_set(err, ERROR_INVALID,
                         "AppArmor profile \"%s\" cannot be applied: the host's kernel has no AppArmor",
                         value);
    if (streq(key, "apparmor") || streq(key, "label") || streq(key, "writable-cgroups") ||
        streq(key, "systempaths"))
        return error_set(err, ERROR_UNSUPPORTED, "HostConfig.SecurityOpt \"%s\" is not supported yet",
                         option);
    return error_set(err, ERROR_INVALID, "invalid --security-opt 2: \"%s\"", option);
}

static int parse_security(const json_t *h, struct container_config *c, struct error *err)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(h, "SecurityOpt"), i,
                       v) if (parse_security_option(json_is_string(v) ? json_string_value(v) : "", c, err) <
                              0) return -1;
    c->has_masked_paths = json_get_array(h, "MaskedPaths") != NULL;
    c->has_readonly_paths = json_get_array(h, "ReadonlyPaths") != NULL;
    c->masked_paths = json_get_strv(h, "MaskedPaths");
    c->readonly_paths = json_get_strv(h, "ReadonlyPaths");
    int64_t score = json_get_int(h, "OomScoreAdj", 0);
    if (score < -1000 || score > 1000)
        return error_set(err, ERROR_INVALID, "Invalid value %lld, range for oom score adj is [-1000, 1000]",
                         (long long)score);
    c->oom_score_adj = (int)score;
    c->group_add = json_get_strv(h, "GroupAdd");
    return 0;
}

// A sysctl must belong to a namespace that the container has for itself: all others are the host's.
static int check_sysctl(const char *key, const struct container_config *c, struct error *err)
{
    static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb",          "kernel.msgmni",
                                       "kernel.sem",    "kernel.shmall",          "kernel.shmmax",
                                       "kernel.shmmni", "kernel.shm_rmid_forced", NULL };
    bool is_ipc = str_has_prefix(key, "fs.mqueue."), is_net = str_has_prefix(key, "net.");
    for (size_t i = 0; ipc[i]; i++)
        is_ipc |= streq(ipc[i], key);
    for (const char *p = key; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
            return error_set(err, ERROR_INVALID, "sysctl \"%s\" is not a valid name", key);
    if (strstr(key, "..") || strstr(key, "./") || strstr(key, "/.") || strstr(key, "//"))
        return error_set(err, ERROR_INVALID, "sysctl \"%s\" is not a valid name", key);
    bool is_own = (is_ipc && c->ipc.kind != NS_MODE_HOST) || (is_net && c->network.kind != NS_MODE_HOST);
    if (!is_own)
        return error_set(err, ERROR_INVALID, "sysctl \"%s\" is not in a separate kernel namespace", key);
    return 0;
}

static int parse_sysctls(const json_t *h, struct container_config *c, struct error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(json_get_object(h, "Sysctls"), key, v)
    {
        if (check_sysctl(key, c, err) < 0)
            return -1;
        c->sysctls = xreallocarray(c->sysctls, c->sysctl_count + 1, sizeof *c->sysctls);
        c->sysctls[c->sysctl_count++] =
            (struct oci_sysctl){ .key = xstrdup(key),
                                 .value = xstrdup(json_is_string(v) ? json_string_value(v) : "") };
    }
    return 0;
}

// --- name resolution
static int parse_names(const json_t *h, struct container_config *c, struct error *err)
{
    size_t i;
    json_t *v;
    unsigned char address[16];
    json_array_foreach(json_get_array(h, "ExtraHosts"), i, v)
    {
        const char *text = json_is_string(v) ? json_string_value(v) : "";
        size_t n = strcspn(text, ":=");
        const char *ip = text[n] ? text + n + 1 : "";
        if (n == 0 || !*ip ||
            (!streq(ip, "host-gateway") && inet_pton(AF_INET, ip, address) != 1 &&
             inet_pton(AF_INET6, ip, address) != 1))
            return error_set(err, ERROR_INVALID, "bad format for add-host: \"%s\"", text);
        if (memchr(text, '\n', n) || memchr(text, ' ', n) || memchr(text, '\t', n))
            return error_set(err, ERROR_INVALID, "bad format for add-host: \"%s\"", text);
        c->extra_hosts = xreallocarray(c->extra_hosts, c->extra_host_count + 1, sizeof *c->extra_hosts);
        c->extra_hosts[c->extra_host_count++] =
            (struct extra_host){ .name = xstrndup(text, n), .ip = xstrdup(ip) };
    }
    c->links = json_get_strv(h, "Links");
    for (i = 0; c->links && c->links[i]; i++) {
        CLEANUP(cleanup_free) char *name = NULL;
        CLEANUP(cleanup_free) char *alias = NULL;
        if (link_parse(c->links[i], &name, &alias, err) < 0)
            return -1;
    }
    c->dns = json_get_strv(h, "Dns");
    c->dns_search = json_get_strv(h, "DnsSearch");
    c->dns_options = json_get_strv(h, "DnsOptions");
    for (i = 0; c->dns && c->dns[i]; i++)
        if (inet_pton(AF_INET, c->dns[i], address) != 1 && inet_pton(AF_INET6, c->dns[i], address) != 1)
            return error_set(err, ERROR_INVALID, "%s is not an ip address", c->dns[i]);
    for (i = 0; c->dns_search && c->dns_search[i]; i++)
        if (strpbrk(c->dns_search[i], " \t\n"))
            return error_set(err, ERROR_INVALID, "%s is not a valid domain", c->dns_search[i]);
    for (i = 0; c->dns_options && c->dns_options[i]; i++)
        if (strpbrk(c->dns_options[i], "\n"))
            return error_set(err, ERROR_INVALID, "invalid DNS option");
    return 0;
}

// --- the rest
static int parse_choices(const json_t *h, struct container_config *c, struct error *err)
{
    const char *runtime = json_get_string(h, "Runtime", ""), *isolation = json_get_string(h, "Isolation", "");
    const char *volume_driver = json_get_string(h, "VolumeDriver", ""),
               *parent = json_get_string(h, "CgroupParent", "");
    if (*runtime && !streq(runtime, "runc") && !streq(runtime, "skiff") &&
        !streq(runtime, "io.containerd.runc.v2"))
        return error_set(err, ERROR_INVALID, "unknown or invalid runtime name: %s", runtime);
    if (*isolation && !streq(isolation, "default"))
        return error_set(err, ERROR_INVALID, "invalid isolation \"%s\" on linux", isolation);
    if (*volume_driver && !streq(volume_driver, "local"))
        return error_set(err, ERROR_UNSUPPORTED, "HostConfig.VolumeDriver \"%s\" is not supported yet",
                         volume_driver);
    if (strstr(parent, "..") || strlen(parent) > 200)
        return error_set(err, ERROR_INVALID, "invalid cgroup parent: %s", parent);
    if (*parent)
        c->cgroup_parent = xasprintf("%s%s", parent[0] == '/' ? "" : "/", parent);
    return 0;
}

static int parse_simple(const json_t *config, const json_t *h, struct container_config *c, struct error *err)
{
    c->is_privileged = json_get_bool(h, "Privileged", false);
    c->is_auto_remove = json_get_bool(h, "AutoRemove", false);
    c->is_read_only = json_get_bool(h, "ReadonlyRootfs", false);
    c->publishes_all = json_get_bool(h, "PublishAllPorts", false);
    c->device_requests = json_incref(json_get_array(h, "DeviceRequests"));
    c->shm_size_bytes = json_get_int(h, "ShmSize", 0);
    if (c->shm_size_bytes < 0)
        return error_set(err, ERROR_INVALID, "SHM size can not be less than 0");
    if (c->shm_size_bytes == 0)
        c->shm_size_bytes = 64LL << 20;
    const char *mac = json_get_string(config, "MacAddress", "");
    c->mac_address = *mac ? xstrdup(mac) : NULL;
    const json_t *console = json_get_array(h, "ConsoleSize"); // [height, width]
    c->console_rows = (unsigned)json_integer_value(json_array_get(console, 0)) & 0xffff;
    c->console_columns = (unsigned)json_integer_value(json_array_get(console, 1)) & 0xffff;
    const char *key;
    json_t *v;
    json_object_foreach(json_get_object(h, "Annotations"), key, v)
        strv_take(&c->annotations, xasprintf("%s=%s", key, json_is_string(v) ? json_string_value(v) : ""));
    return 0;
}

static int parse_lifecycle(const json_t *config, const json_t *h, struct container_config *c,
                           struct error *err)
{
    const json_t *init = json_object_get(h, "Init");
    c->init = json_is_true(init) ? INIT_YES : json_is_false(init) ? INIT_NO : INIT_DEFAULT;
    if (restart_policy_parse(json_get_object(h, "RestartPolicy"), &c->restart, err) < 0)
        return -1;
    if (c->is_auto_remove && c->restart.kind != RESTART_NO)
        return error_set(err, ERROR_INVALID, "can't create 'AutoRemove' container with restart policy");
    return health_check_parse(config, h, &c->health, err);
}

static int check_together(struct container_config *c, char ***warnings, struct error *err)
{
    if (c->network.kind == NS_MODE_CONTAINER && c->port_count)
        return error_set(err, ERROR_INVALID,
                         "conflicting options: port publishing and the container type network mode");
    if (c->network.kind == NS_MODE_CONTAINER && (strv_len(c->dns) || c->extra_host_count))
        return error_set(err, ERROR_INVALID, "conflicting options: %s and the network mode",
                         c->extra_host_count ? "custom host-to-IP mapping" : "dns");
    if ((c->network.kind == NS_MODE_HOST || c->network.kind == NS_MODE_CONTAINER) && strv_len(c->links))
        return error_set(
            err, ERROR_INVALID,
            "conflicting options: %s type networking can't be used with links. This would result in "
            "undefined behavior",
            c->network.kind == NS_MODE_HOST ? "host" : "container");
    if (c->network.kind == NS_MODE_HOST && c->port_count)
        strv_push(warnings, "Published ports are discarded when using host network mode");
    if (c->network.kind != NS_MODE_PRIVATE)
        c->port_count = 0;
    return 0;
}

int container_config_parse(const json_t *config, const json_t *host_config, struct container_config *ret,
                           char ***warnings, struct error *err)
{
    struct container_config c = { .stop_timeout_s = -1 };
    if (check_host_fields(host_config, err) == 0 && parse_config(config, &c, err) == 0 &&
        parse_simple(config, host_config, &c, err) == 0 && parse_modes(host_config, &c, err) == 0 &&
        parse_security(host_config, &c, err) == 0 && parse_sysctls(host_config, &c, err) == 0 &&
        parse_names(host_config, &c, err) == 0 && config_parse_log(host_config, &c, err) == 0 &&
        parse_choices(host_config, &c, err) == 0 && parse_lifecycle(config, host_config, &c, err) == 0 &&
        config_parse_resources(host_config, &c, warnings, err) == 0 &&
        config_parse_storage(host_config, &c, err) == 0 && config_parse_mounts(host_config, &c, err) == 0 &&
        config_parse_declared_volumes(config, &c, err) == 0 &&
        config_parse_ports(config, host_config, &c, err) == 0 && check_together(&c, warnings, err) == 0) {
        *ret = c;
        return 0;
    }
    container_config_done(&c);
    *ret = (struct container_config){ 0 };
    return -1;
}

static void lists_done(struct container_config *c)
{
    for (size_t i = 0; i < c->bind_count; i++)
        bind_mount_done(&c->binds[i]);
    for (size_t i = 0; i < c->tmpfs_count; i++) {
        free(c->tmpfs[i].target);
        free(c->tmpfs[i].options);
    }
    for (size_t i = 0; i < c->device_count; i++) {
        free(c->devices[i].host_path);
        free(c->devices[i].container_path);
    }
    for (size_t i = 0; i < c->sysctl_count; i++) {
        free(c->sysctls[i].key);
        free(c->sysctls[i].value);
    }
    for (size_t i = 0; i < c->extra_host_count; i++) {
        free(c->extra_hosts[i].name);
        free(c->extra_hosts[i].ip);
    }
}

void container_config_done(struct container_config *c)
{
    lists_done(c);
    health_check_done(&c->health);
    config_log_done(c);
    void *plain[] = {
        c->hostname,          c->domainname,    c->user,          c->working_dir,   c->stop_signal_name,
        c->network.container, c->pid.container, c->ipc.container, c->uts.container, c->userns.container,
        c->network_name,      c->cgroup_parent, c->mac_address,   c->cpuset_cpus,   c->cpuset_mems,
        c->rlimits,           c->binds,         c->tmpfs,         c->devices,       c->device_rules,
        c->sysctls,           c->extra_hosts,   c->ports
    };
    char **lists[] = { c->env,         c->args,        c->group_add,        c->dns,
                       c->dns_search,  c->dns_options, c->masked_paths,     c->readonly_paths,
                       c->annotations, c->links,       c->declared_volumes, c->volumes_from };
    json_t *documents[] = { c->blkio_weight_devices, c->blkio_read_bps,   c->blkio_write_bps,
                            c->blkio_read_iops,      c->blkio_write_iops, c->seccomp_profile,
                            c->device_requests };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        free(plain[i]);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        strv_free(lists[i]);
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        json_decref(documents[i]);
    *c = (struct container_config){ 0 };
}
