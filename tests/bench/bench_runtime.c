// What the runtime alone charges for one container, from the first call to the removed cgroup, beside tools'
// kernel floor. usage: bench_runtime ROOTFS WORKDIR [ROUNDS] [userns|host]; ROOTFS needs a /bin/true and
// empty /proc, /sys, /dev, /tmp.
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"
#include "runtime/runtime.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char text[] =
    "{ \"ociVersion\": \"1.1.0\", \"hostname\": \"bench\","
    "  \"process\": { \"cwd\": \"/\", \"args\": [\"/bin/true\"], \"env\": [\"PATH=/bin\"], \"user\": { "
    "\"uid\": 0, \"gid\": 0 },"
    "    \"capabilities\": { \"bounding\": [\"CAP_CHOWN\"], \"effective\": [\"CAP_CHOWN\"], \"permitted\": "
    "[\"CAP_CHOWN\"] } },"
    "  \"mounts\": ["
    "    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\", \"options\": [\"nosuid\", "
    "\"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", \"options\": [\"nosuid\", "
    "\"mode=755\", \"size=65536k\"] },"
    "    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\", \"options\": "
    "[\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\"] },"
    "    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\", \"options\": [\"nosuid\", "
    "\"noexec\", \"nodev\", \"ro\"] },"
    "    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\", \"options\": "
    "[\"ro\", \"nosuid\", \"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\", \"options\": "
    "[\"nosuid\", \"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\", \"options\": "
    "[\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\"] } ],"
    "  \"linux\": { \"namespaces\": [ {\"type\": \"pid\"}, {\"type\": \"network\"}, {\"type\": \"ipc\"}, "
    "{\"type\": \"uts\"}, {\"type\": \"mount\"}, {\"type\": \"cgroup\"} ],"
    "    \"resources\": { \"devices\": [ { \"allow\": false, \"access\": \"rwm\" } ] },"
    "    \"maskedPaths\": [\"/proc/acpi\", \"/proc/asound\", \"/proc/interrupts\", \"/proc/kcore\", "
    "\"/proc/keys\", \"/proc/latency_stats\","
    "      \"/proc/timer_list\", \"/proc/timer_stats\", \"/proc/sched_debug\", \"/proc/scsi\", "
    "\"/sys/firmware\", \"/sys/devices/virtual/powercap\"],"
    "    \"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", "
    "\"/proc/sysrq-trigger\"] } }";

enum { STEPS = 5 };
static const char *const steps[STEPS] = { "plan and begin", "until ready", "until execve", "until exit",
                                          "destroy" };

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int run_one(const struct runtime_spec *spec, int64_t at[static STEPS + 1])
{
    struct error err = { 0 };
    struct runtime_plan *plan CLEANUP(runtime_plan_freep) = NULL;
    struct runtime_container c;
    siginfo_t info;
    at[0] = time_monotonic_ns();
    int r = runtime_plan_new(spec, &plan, &err);
    if (r == 0)
        r = runtime_create_begin(plan, NULL, FD_NONE, &c, &err);
    at[1] = time_monotonic_ns();
    if (r == 0)
        r = runtime_create_finish(plan, &c, &err);
    at[2] = time_monotonic_ns();
    if (r == 0)
        r = runtime_start(&c, &err);
    at[3] = time_monotonic_ns();
    if (r == 0)
        (void)waitid((idtype_t)P_PIDFD, (id_t)c.pidfd, &info, WEXITED);
    at[4] = time_monotonic_ns();
    if (r == 0)
        r = runtime_destroy(&c, &err);
    at[5] = time_monotonic_ns();
    if (r < 0)
        fprintf(stderr, "bench_runtime: %s\n", err.message);
    return r;
}

static void print_line(const char *name, int64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, by_value);
    printf("%-42s min %6.2f  median %6.2f  p90 %6.2f ms\n", name, (double)ns[0] / 1e6,
           (double)ns[n / 2] / 1e6, (double)ns[n * 9 / 10] / 1e6);
}

static int bench(const char *rootfs, const char *workdir, uint32_t rounds, const json_t *document)
{
    struct oci_runtime_config config;
    struct error err;
    int64_t *ns = xcalloc((STEPS + 1) * (size_t)rounds, sizeof *ns), at[STEPS + 1];
    char *lower[] = { (char[]){ "rootfs" }, NULL };
    char *parent = xasprintf("%.*s", (int)(strrchr(rootfs, '/') - rootfs), rootfs),
         *upper = xasprintf("%s/c", workdir);
    char *upper_dir = xasprintf("%s/upper", upper), *work_dir = xasprintf("%s/work", upper);
    lower[0] = strrchr(rootfs, '/') + 1;
    if (oci_runtime_config_parse(document, &config, &err) < 0)
        return fprintf(stderr, "bench_runtime: %s\n", err.message), 1;
    for (uint32_t i = 0; i < rounds; i++) {
        struct runtime_rootfs root = {
            .layers_dir = parent, .lower = lower, .upper_parent = upper, .is_volatile = true
        };
        struct runtime_spec spec = { .config = &config,
                                     .rootfs = &root,
                                     .bundle = workdir,
                                     .cgroup_path = "/skiff-bench/one",
                                     .seccomp_fd = FD_NONE,
                                     .stdio = { FD_NONE, FD_NONE, FD_NONE } };
        (void)dir_remove_all_at(AT_FDCWD, upper);
        if (dir_make_all(upper_dir, 0755) < 0 || dir_make_all(work_dir, 0755) < 0 || run_one(&spec, at) < 0)
            return 1;
        for (int s = 0; s < STEPS; s++)
            ns[(size_t)s * rounds + i] = at[s + 1] - at[s];
        ns[(size_t)STEPS * rounds + i] = at[STEPS] - at[0];
    }
    for (int s = 0; s < STEPS; s++)
        print_line(steps[s], ns + (size_t)s * rounds, rounds);
    print_line("all", ns + (size_t)STEPS * rounds, rounds);
    return 0;
}

int main(int argc, char **argv)
{
    struct error err;
    json_t *document = NULL;
    uint32_t rounds = 40;
    if (argc < 3 || (argc > 3 && !parse_u32(argv[3], 1000, &rounds)) || rounds == 0)
        return fprintf(stderr, "usage: bench_runtime ROOTFS WORKDIR [ROUNDS] [userns|host]\n"), 2;
    if (json_parse(text, strlen(text), &document, &err) < 0)
        return fprintf(stderr, "bench_runtime: %s\n", err.message), 1;
    if (argc < 5 || streq(argv[4], "userns")) {
        json_t *linux_object = json_object_get(document, "linux");
        json_array_append_new(json_object_get(linux_object, "namespaces"),
                              json_pack("{s:s}", "type", "user"));
        json_object_set_new(linux_object, "uidMappings",
                            json_pack("[{s:i,s:i,s:i}]", "containerID", 0, "hostID", 300000, "size", 65536));
        json_object_set_new(linux_object, "gidMappings",
                            json_pack("[{s:i,s:i,s:i}]", "containerID", 0, "hostID", 300000, "size", 65536));
    }
    return bench(argv[1], argv[2], rounds, document);
}
