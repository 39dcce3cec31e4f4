#include "api/host.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

const char *host_go_architecture(void)
{
    static const char *const names[][2] = {
        { "x86_64", "amd64" },    { "aarch64", "arm64" },       { "armv7l", "arm" },
        { "i686", "386" },        { "riscv64", "riscv64" },     { "s390x", "s390x" },
        { "ppc64le", "ppc64le" }, { "loongarch64", "loong64" },
    };
    struct utsname host;
    uname(&host);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (streq(host.machine, names[i][0]))
            return names[i][1];
    return "unknown";
}

// The value of NAME="value" in os-release text, owned; NULL when absent.
static char *os_release_get(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, name, n) != 0 || line[n] != '=')
            continue;
        const char *value = line + n + 1;
        size_t m = strcspn(value, "\n");
        if (m >= 2 && (*value == '"' || *value == '\'') && value[m - 1] == *value) {
            value++;
            m -= 2;
        }
        return xstrndup(value, m);
    }
    return NULL;
}

static void add_system(json_t *info)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    if (file_read_at(AT_FDCWD, "/etc/os-release", 65536, &text) < 0)
        (void)file_read_at(AT_FDCWD, "/usr/lib/os-release", 65536, &text);
    CLEANUP(cleanup_free) char *name = os_release_get(text.ptr, "PRETTY_NAME");
    CLEANUP(cleanup_free) char *version = os_release_get(text.ptr, "VERSION_ID");
    json_set_string(info, "OperatingSystem", name ? name : "Linux");
    json_set_string(info, "OSVersion", version ? version : "");
    struct sysinfo memory;
    if (sysinfo(&memory) == 0)
        json_set_int(info, "MemTotal", (int64_t)memory.totalram * memory.mem_unit);
    json_set_int(info, "NCPU", sysconf(_SC_NPROCESSORS_ONLN));
    int64_t open_files = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        open_files++;
    if (directory)
        closedir(directory);
    json_set_int(info, "NFd",
                 open_files > 3 ? open_files - 3 : 0); // without ".", ".." and the directory itself
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += n)
        if ((at == text || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ' || at[n] == '\n'))
            return true;
    return false;
}

static void add_limits_v2(json_t *info)
{
    CLEANUP(str_done) struct str controllers = STR_INIT;
    (void)file_read_at(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096, &controllers);
    bool has_memory = has_word(controllers.ptr, "memory"), has_cpu = has_word(controllers.ptr, "cpu");
    json_set_bool(info, "MemoryLimit", has_memory);
    json_set_bool(info, "SwapLimit", has_memory);
    json_set_bool(info, "CpuCfsPeriod", has_cpu);
    json_set_bool(info, "CpuCfsQuota", has_cpu);
    json_set_bool(info, "CPUShares", has_cpu);
    json_set_bool(info, "CPUSet", has_word(controllers.ptr, "cpuset"));
    json_set_bool(info, "PidsLimit", has_word(controllers.ptr, "pids"));
    json_set_bool(info, "OomKillDisable", false);
}

static void add_limits_v1(json_t *info)
{
    json_set_bool(info, "MemoryLimit",
                  exists("/sys/fs/cgroup/memory/memory.limit_in_bytes") ||
                      exists("/sys/fs/cgroup/memory/cgroup.procs"));
    json_set_bool(info, "SwapLimit", exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"));
    json_set_bool(info, "CpuCfsPeriod", exists("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
    json_set_bool(info, "CpuCfsQuota", exists("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
    json_set_bool(info, "CPUShares", exists("/sys/fs/cgroup/cpu/cpu.shares"));
    json_set_bool(info, "CPUSet", exists("/sys/fs/cgroup/cpuset/cpuset.cpus"));
    json_set_bool(info, "PidsLimit", exists("/sys/fs/cgroup/pids/cgroup.procs"));
    json_set_bool(info, "OomKillDisable", exists("/sys/fs/cgroup/memory/memory.oom_control"));
}

static const char *file_system_name(const char *path)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } names[] = {
        { EXT4_SUPER_MAGIC, "extfs" },          { XFS_SUPER_MAGIC, "xfs" },
        { BTRFS_SUPER_MAGIC, "btrfs" },         { TMPFS_MAGIC, "tmpfs" },
        { OVERLAYFS_SUPER_MAGIC, "overlayfs" },
    };
    struct statfs fs;
    if (statfs(path, &fs) == 0)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if ((unsigned long)fs.f_type == names[i].magic)
                return names[i].name;
    return "<unknown>";
}

static bool sysctl_is_on(const char *path)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    return file_read_at(AT_FDCWD, path, 64, &text) == 0 && text.ptr[0] == '1';
}

void host_describe(const char *data_root, json_t *info)
{
    struct statfs fs;
    bool is_v2 = statfs("/sys/fs/cgroup", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
    add_system(info);
    json_set_string(info, "CgroupVersion", is_v2 ? "2" : "1");
    if (is_v2)
        add_limits_v2(info);
    else
        add_limits_v1(info);
    json_set_bool(info, "IPv4Forwarding", sysctl_is_on("/proc/sys/net/ipv4/ip_forward"));
    json_set_bool(info, "BridgeNfIptables", sysctl_is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"));
    json_set_bool(info, "BridgeNfIp6tables", sysctl_is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"));
    json_object_set_new(info, "DriverStatus",
                        json_pack("[[s,s]]", "Backing Filesystem", file_system_name(data_root)));
}
