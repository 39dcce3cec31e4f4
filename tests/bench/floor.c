// The kernel's own price of one container, with no engine in between: what `skiff run --rm IMAGE true` is held against.
//
// Usage (root): floor ROOTFS WORKDIR [ROUNDS]. ROOTFS has a static /bin/true and empty /proc, /sys, /dev; WORKDIR can hold an
// overlay's upper layer. Each round is one clone3 with the pid, mount, ipc, uts and cgroup namespaces, an overlay root with
// proc, dev and sys, five cgroup v1 controllers where the machine has them, a network namespace, and, in the second row, a
// veth pair whose peer is born inside it. Timed from the first call to the reaped child, cleaning up included.
// Prints "none MEDIAN" and "bridge MEDIAN" in milliseconds.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 1000 };

static const char *const controllers[] = { "memory", "pids", "cpu", "devices", "freezer" };
enum { CONTROLLERS = sizeof controllers / sizeof *controllers };

struct bench {
    const char *rootfs, *workdir;
    int netlink;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// --- one netlink message
struct message {
    struct nlmsghdr head;
    struct ifinfomsg link;
    char attributes[512];
};

static struct rtattr *message_end(struct message *m)
{
    return (struct rtattr *)(void *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));
}

static struct rtattr *add(struct message *m, unsigned short type, const void *bytes, size_t n)
{
    struct rtattr *a = message_end(m);
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(n);
    if (n)
        memcpy(RTA_DATA(a), bytes, n);
    m->head.nlmsg_len = (unsigned)(NLMSG_ALIGN(m->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
    return a;
}

static void close_nest(struct message *m, struct rtattr *nest)
{
    nest->rta_len = (unsigned short)((char *)message_end(m) - (char *)nest);
}

static int make_veth(int netlink, pid_t child, int round)
{
    struct message m = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                                   .nlmsg_type = RTM_NEWLINK,
                                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK },
                         .link = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP } };
    char name[IFNAMSIZ], reply[1024];
    struct ifinfomsg peer = { 0 };
    snprintf(name, sizeof name, "floor%d", round);
    add(&m, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = add(&m, IFLA_LINKINFO, NULL, 0);
    add(&m, IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = add(&m, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *other = add(&m, VETH_INFO_PEER, &peer, sizeof peer);
    add(&m, IFLA_IFNAME, "eth0", 5);
    add(&m, IFLA_NET_NS_PID, &child, sizeof child);
    close_nest(&m, other);
    close_nest(&m, data);
    close_nest(&m, info);
    if (send(netlink, &m, m.head.nlmsg_len, 0) < 0 || recv(netlink, reply, sizeof reply, 0) < 0)
        return -errno;
    return ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)(void *)reply))->error;
}

// --- one container
static void child(const struct bench *bench, const char *dir, int go)
{
    char options[1400], root[320], byte;
    if (go >= 0)
        (void)!read(go, &byte, 1);
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    snprintf(root, sizeof root, "%s/m", dir);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/u,workdir=%s/w", bench->rootfs, dir, dir);
    if (mount("overlay", root, "overlay", 0, options) || chdir(root) || syscall(SYS_pivot_root, ".", "."))
        _exit(11);
    umount2(".", MNT_DETACH);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmpfs", "/dev", "tmpfs", 0, "size=64k");
    mount("sysfs", "/sys", "sysfs", MS_RDONLY, NULL);
    execl("/bin/true", "true", NULL);
    _exit(12);
}

static void cgroup_path(char path[static 128], int controller, int round, const char *file)
{
    snprintf(path, 128, "/sys/fs/cgroup/%s/floor%d%s", controllers[controller], round, file);
}

static void enter_cgroups(pid_t pid, int round)
{
    char path[128], text[16];
    int n = snprintf(text, sizeof text, "%d", pid);
    for (int k = 0; k < CONTROLLERS; k++) {
        cgroup_path(path, k, round, "/cgroup.procs");
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        (void)!write(fd, text, (size_t)n);
        close(fd);
    }
}

static void clean(const char *dir, int round)
{
    char path[512];
    for (int k = 0; k < CONTROLLERS; k++) {
        cgroup_path(path, k, round, "");
        for (int n = 0; n < 200 && rmdir(path) && errno == EBUSY; n++)
            usleep(100);
    }
    static const char *const parts[] = { "/w/work", "/u", "/w", "/m", "" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s%s", dir, parts[i]);
        rmdir(path);
    }
}

static int run_one(const struct bench *bench, int has_network, int round)
{
    char dir[256], path[512];
    int go[2] = { -1, -1 }, status = -1;
    snprintf(dir, sizeof dir, "%s/c%d", bench->workdir, round);
    mkdir(dir, 0755);
    for (const char *s = "uwm"; *s; s++) {
        snprintf(path, sizeof path, "%s/%c", dir, *s);
        mkdir(path, 0755);
    }
    for (int k = 0; k < CONTROLLERS; k++) {
        cgroup_path(path, k, round, "");
        mkdir(path, 0755);
    }
    if (has_network && pipe2(go, O_CLOEXEC))
        return -1;
    unsigned long flags =
        CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET;
    struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close(go[1]);
        child(bench, dir, go[0]);
    }
    if (pid < 0)
        return -1;
    enter_cgroups(pid, round);
    int failed = has_network && make_veth(bench->netlink, pid, round) != 0;
    close(go[0]);
    close(go[1]);
    waitpid(pid, &status, 0);
    clean(dir, round);
    return failed || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: floor ROOTFS WORKDIR [ROUNDS]\n", stderr);
        return 2;
    }
    long rounds = argc > 3 ? strtol(argv[3], NULL, 10) : 40;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fputs("floor: ROUNDS is 1 to 1000\n", stderr);
        return 2;
    }
    struct bench bench = { argv[1], argv[2], socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) };
    static const char *const rows[] = { "none", "bridge" };
    static double ms[ROUNDS_MAX];
    mkdir(bench.workdir, 0755);
    for (int row = 0; row < 2; row++) {
        for (long i = 0; i < rounds; i++) {
            double start = now_ms();
            int r = run_one(&bench, row, (int)i);
            ms[i] = now_ms() - start;
            if (r) {
                fprintf(stderr, "floor: row '%s' failed with %d\n", rows[row], r);
                return 1;
            }
        }
        qsort(ms, (size_t)rounds, sizeof *ms, compare);
        printf("%s %.3f\n", rows[row], ms[rounds / 2]);
    }
    rmdir(bench.workdir);
    return 0;
}
