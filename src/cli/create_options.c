// The options of create and run, by name.
#include "cli/create.h"

#define CREATE_OPTIONS                                                                                       \
    { "add-host", 0, OPTION_LIST, NULL, "Add a custom host-to-IP mapping (host:ip)" },                       \
        { "annotation", 0, OPTION_LIST, "map",                                                               \
          "Add an annotation to the container (passed through to the OCI runtime)" },                        \
        { "attach", 'a', OPTION_LIST, NULL, "Attach to STDIN, STDOUT or STDERR" },                           \
        { "blkio-weight", 0, OPTION_INT, "uint16",                                                           \
          "Block IO (relative weight), between 10 and 1000, or 0 to disable" },                              \
        { "blkio-weight-device", 0, OPTION_LIST, NULL, "Block IO weight of a device (path:weight)" },        \
        { "cap-add", 0, OPTION_LIST, NULL, "Add Linux capabilities" },                                       \
        { "cap-drop", 0, OPTION_LIST, NULL, "Drop Linux capabilities" },                                     \
        { "cgroup-parent", 0, OPTION_STRING, NULL, "Optional parent cgroup for the container" },             \
        { "cgroupns", 0, OPTION_STRING, NULL, "Cgroup namespace to use: host or private" },                  \
        { "cidfile", 0, OPTION_STRING, NULL, "Write the container ID to the file" },                         \
        { "cpu-period", 0, OPTION_INT, NULL,                                                                 \
          "Limit CPU CFS (Completely Fair Scheduler) period, in microseconds" },                             \
        { "cpu-quota", 0, OPTION_INT, NULL,                                                                  \
          "Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds" },                              \
        { "cpu-rt-period", 0, OPTION_INT, NULL, "Limit CPU real-time period in microseconds" },              \
        { "cpu-rt-runtime", 0, OPTION_INT, NULL, "Limit CPU real-time runtime in microseconds" },            \
        { "cpu-shares", 'c', OPTION_INT, NULL, "CPU shares (relative weight)" },                             \
        { "cpus", 0, OPTION_DECIMAL, NULL, "Number of CPUs" },                                               \
        { "cpuset-cpus", 0, OPTION_STRING, NULL, "CPUs in which to allow execution (0-3, 0,1)" },            \
        { "cpuset-mems", 0, OPTION_STRING, NULL, "Memory nodes in which to allow execution (0-3, 0,1)" },    \
        { "device", 0, OPTION_LIST, NULL, "Add a host device to the container (host[:container[:rwm]])" },   \
        { "device-cgroup-rule", 0, OPTION_LIST, NULL, "Add a rule to the cgroup allowed devices list" },     \
        { "device-read-bps", 0, OPTION_LIST, NULL, "Limit read rate (bytes per second) from a device" },     \
        { "device-read-iops", 0, OPTION_LIST, NULL, "Limit read rate (IO per second) from a device" },       \
        { "device-write-bps", 0, OPTION_LIST, NULL, "Limit write rate (bytes per second) to a device" },     \
        { "device-write-iops", 0, OPTION_LIST, NULL, "Limit write rate (IO per second) to a device" },       \
        { "disable-content-trust", 0, OPTION_BOOL, NULL, "" },                                               \
        { "dns", 0, OPTION_LIST, NULL, "Set custom DNS servers" },                                           \
        { "dns-option", 0, OPTION_LIST, NULL, "Set DNS options" }, { "dns-opt", 0, OPTION_LIST, NULL, "" },  \
        { "dns-search", 0, OPTION_LIST, NULL, "Set custom DNS search domains" },                             \
        { "domainname", 0, OPTION_STRING, NULL, "Container NIS domain name" },                               \
        { "entrypoint", 0, OPTION_STRING, NULL, "Overwrite the default ENTRYPOINT of the image" },           \
        { "env", 'e', OPTION_LIST, NULL, "Set environment variables" },                                      \
        { "env-file", 0, OPTION_LIST, NULL, "Read in a file of environment variables" },                     \
        { "expose", 0, OPTION_LIST, NULL, "Expose a port or a range of ports" },                             \
        { "gpus", 0, OPTION_STRING, "gpu-request",                                                           \
          "GPU devices to add to the container ('all' to pass all GPUs)" },                                  \
        { "group-add", 0, OPTION_LIST, NULL, "Add additional groups to join" },                              \
        { "health-cmd", 0, OPTION_STRING, NULL, "Command to run to check health" },                          \
        { "health-interval", 0, OPTION_DURATION, NULL, "Time between running the check (ms|s|m|h)" },        \
        { "health-retries", 0, OPTION_INT, NULL, "Consecutive failures needed to report unhealthy" },        \
        { "health-start-interval", 0, OPTION_DURATION, NULL,                                                 \
          "Time between running the check during the start period (ms|s|m|h)" },                             \
        { "health-start-period", 0, OPTION_DURATION, NULL,                                                   \
          "Start period for the container to initialize before starting health-retries countdown "           \
          "(ms|s|m|h)" },                                                                                    \
        { "health-timeout", 0, OPTION_DURATION, NULL, "Maximum time to allow one check to run (ms|s|m|h)" }, \
        { "hostname", 'h', OPTION_STRING, NULL, "Container host name" },                                     \
        { "init", 0, OPTION_BOOL, NULL,                                                                      \
          "Run an init inside the container that forwards signals and reaps processes" },                    \
        { "interactive", 'i', OPTION_BOOL, NULL, "Keep STDIN open even if not attached" },                   \
        { "ip", 0, OPTION_STRING, NULL, "IPv4 address (e.g., 172.30.100.104)" },                             \
        { "ip6", 0, OPTION_STRING, NULL, "IPv6 address (e.g., 2001:db8::33)" },                              \
        { "ipc", 0, OPTION_STRING, NULL,                                                                     \
          "IPC mode to use: private, shareable, host, none or container:NAME" },                             \
        { "isolation", 0, OPTION_STRING, NULL, "Container isolation technology" },                           \
        { "kernel-memory", 0, OPTION_BYTES, NULL, "Kernel memory limit" },                                   \
        { "label", 'l', OPTION_LIST, NULL, "Set meta data on a container" },                                 \
        { "label-file", 0, OPTION_LIST, NULL, "Read in a line delimited file of labels" },                   \
        { "link", 0, OPTION_LIST, NULL, "Add link to another container" },                                   \
        { "link-local-ip", 0, OPTION_LIST, NULL, "Container IPv4/IPv6 link-local addresses" },               \
        { "log-driver", 0, OPTION_STRING, NULL, "Logging driver for the container" },                        \
        { "log-opt", 0, OPTION_LIST, NULL, "Log driver options" },                                           \
        { "mac-address", 0, OPTION_STRING, NULL, "Container MAC address (e.g., 92:d0:c6:0a:29:33)" },        \
        { "memory", 'm', OPTION_BYTES, NULL, "Memory limit" },                                               \
        { "memory-reservation", 0, OPTION_BYTES, NULL, "Memory soft limit" },                                \
        { "memory-swap", 0, OPTION_BYTES, NULL,                                                              \
          "Swap limit equal to memory plus swap: '-1' to enable unlimited swap" },                           \
        { "memory-swappiness", 0, OPTION_INT, NULL,                                                          \
          "Tune container memory swappiness (0 to 100, default -1)" },                                       \
        { "mount", 0, OPTION_LIST, "mount", "Attach a filesystem mount to the container" },                  \
        { "name", 0, OPTION_STRING, NULL, "Assign a name to the container" },                                \
        { "net", 0, OPTION_LIST, NULL, "" }, { "net-alias", 0, OPTION_LIST, NULL, "" },                      \
        { "network", 0, OPTION_LIST, "network",                                                              \
          "Connect a container to a network: bridge, none, host, container:NAME or a network" },             \
        { "network-alias", 0, OPTION_LIST, NULL, "Add network-scoped alias for the container" },             \
        { "no-healthcheck", 0, OPTION_BOOL, NULL, "Disable any container-specified HEALTHCHECK" },           \
        { "on-unhealthy", 0, OPTION_STRING, "action",                                                        \
          "What to do when the container becomes unhealthy: none, restart, stop or kill" },                  \
        { "oom-kill-disable", 0, OPTION_BOOL, NULL, "Disable OOM Killer" },                                  \
        { "oom-score-adj", 0, OPTION_INT, NULL, "Tune host's OOM preferences (-1000 to 1000)" },             \
        { "pid", 0, OPTION_STRING, NULL, "PID namespace to use: host or container:NAME" },                   \
        { "pids-limit", 0, OPTION_INT, NULL, "Tune container pids limit (set -1 for unlimited)" },           \
        { "platform", 0, OPTION_STRING, NULL, "Set platform if server is multi-platform capable" },          \
        { "privileged", 0, OPTION_BOOL, NULL, "Give extended privileges to this container" },                \
        { "publish", 'p', OPTION_LIST, NULL,                                                                 \
          "Publish a container's port(s) to the host ([[ip:]host:]container[/proto])" },                     \
        { "publish-all", 'P', OPTION_BOOL, NULL, "Publish all exposed ports to random ports" },              \
        { "pull", 0, OPTION_STRING, NULL,                                                                    \
          "Pull image before running (always, missing, never) (default missing)" },                          \
        { "quiet", 'q', OPTION_BOOL, NULL, "Suppress the pull output" },                                     \
        { "read-only", 0, OPTION_BOOL, NULL, "Mount the container's root filesystem as read only" },         \
        { "restart", 0, OPTION_STRING, NULL,                                                                 \
          "Restart policy to apply when a container exits: no, on-failure[:max], always, unless-stopped "    \
          "(default no)" },                                                                                  \
        { "rm", 0, OPTION_BOOL, NULL,                                                                        \
          "Automatically remove the container and its associated anonymous volumes when it exits" },         \
        { "runtime", 0, OPTION_STRING, NULL, "Runtime to use for this container" },                          \
        { "security-opt", 0, OPTION_LIST, NULL, "Security Options" },                                        \
        { "shm-size", 0, OPTION_BYTES, NULL, "Size of /dev/shm" },                                           \
        { "stop-signal", 0, OPTION_STRING, NULL, "Signal to stop the container" },                           \
        { "stop-timeout", 0, OPTION_INT, NULL, "Timeout (in seconds) to stop a container" },                 \
        { "storage-opt", 0, OPTION_LIST, NULL, "Storage driver options for the container" },                 \
        { "sysctl", 0, OPTION_LIST, "map", "Sysctl options" },                                               \
        { "tmpfs", 0, OPTION_LIST, NULL, "Mount a tmpfs directory" },                                        \
        { "tty", 't', OPTION_BOOL, NULL, "Allocate a pseudo-TTY" },                                          \
        { "ulimit", 0, OPTION_LIST, "ulimit", "Ulimit options (name=soft[:hard])" },                         \
        { "user", 'u', OPTION_STRING, NULL, "Username or UID (format: <name|uid>[:<group|gid>])" },          \
        { "userns", 0, OPTION_STRING, NULL, "User namespace to use: host or private" },                      \
        { "uts", 0, OPTION_STRING, NULL, "UTS namespace to use" },                                           \
        { "volume", 'v', OPTION_LIST, NULL, "Bind mount a volume" },                                         \
        { "volume-driver", 0, OPTION_STRING, NULL, "Optional volume driver for the container" },             \
        { "volumes-from", 0, OPTION_LIST, NULL, "Mount volumes from the specified container(s)" },           \
    {                                                                                                        \
        "workdir", 'w', OPTION_STRING, NULL, "Working directory inside the container"                        \
    }

const struct option create_options[] = { CREATE_OPTIONS, OPTION_END };
const struct option run_options[] = {
    { "detach", 'd', OPTION_BOOL, NULL, "Run container in background and print container ID" },
    { "detach-keys", 0, OPTION_STRING, NULL, "Override the key sequence for detaching a container" },
    { "sig-proxy", 0, OPTION_BOOL, NULL, "Proxy received signals to the process (default true)" },
    CREATE_OPTIONS,
    OPTION_END,
};
