#include "kernel/cgroup.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };

int cgroup_open_base(bool *ret_is_v2)
{
    int fd = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statfs st;
    if (fd < 0 || fstatfs(fd, &st) < 0) {
        int r = -errno;
        fd_close(fd);
        return r;
    }
    *ret_is_v2 = st.f_type == CGROUP2_SUPER_MAGIC;
    return fd;
}

static int join(char out[static PATH_MAX], const char *top, const char *path)
{
    while (*path == '/')
        path++;
    int n = snprintf(out, PATH_MAX, "%s%s%s", top, *top ? "/" : "", path);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int cgroup_make(int base_fd, const char *top, const char *path)
{
    char full[PATH_MAX];
    int r = join(full, top, path);
    if (r < 0)
        return r;
    if (mkdirat(base_fd, full, 0755) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT || (*top && faccessat(base_fd, top, F_OK, 0) < 0))
        return -errno;
    for (char *slash = full + strlen(top) + (*top ? 1 : 0); (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdirat(base_fd, full, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdirat(base_fd, full, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int cgroup_write(int base_fd, const char *directory, const char *file, const char *value)
{
    char full[PATH_MAX];
    int n = snprintf(full, sizeof full, "%s/%s", directory, file);
    return n < 0 || n >= (int)sizeof full ? -ENAMETOOLONG : file_write_existing_at(base_fd, full, value);
}

static int read_file(int base_fd, const char *directory, const char *file, struct str *out)
{
    char full[PATH_MAX];
    int n = snprintf(full, sizeof full, "%s%s%s", directory, *directory ? "/" : "", file);
    return n < 0 || n >= (int)sizeof full ? -ENAMETOOLONG : file_read_at(base_fd, full, FILE_MAX, out);
}

static void enable_in(int base_fd, const char *directory, const char *const *controllers)
{
    struct str enabled CLEANUP(str_done) = STR_INIT;
    if (read_file(base_fd, directory, "cgroup.subtree_control", &enabled) < 0)
        return;
    char **have CLEANUP(strv_freep) = strv_split(enabled.ptr, " \n", false);
    for (; *controllers; controllers++) {
        char text[64];
        if (strv_contains(have, *controllers))
            continue;
        snprintf(text, sizeof text, "+%s", *controllers);
        (void)cgroup_write(base_fd, *directory ? directory : ".", "cgroup.subtree_control", text);
    }
}

int cgroup_enable_controllers(int base_fd, const char *path, const char *const *controllers)
{
    char full[PATH_MAX];
    int r = join(full, "", path);
    if (r < 0)
        return r;
    enable_in(base_fd, "", controllers);
    for (char *slash = full; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        enable_in(base_fd, full, controllers);
        *slash = '/';
    }
    return 0;
}

static int inherit_file(int base_fd, const char *parent, const char *directory, const char *file)
{
    struct str own CLEANUP(str_done) = STR_INIT, inherited CLEANUP(str_done) = STR_INIT;
    int r = read_file(base_fd, directory, file, &own);
    if (r < 0 || (own.len > 0 && own.ptr[0] != '\n'))
        return r;
    r = read_file(base_fd, parent, file, &inherited);
    return r < 0 ? r : cgroup_write(base_fd, directory, file, inherited.ptr);
}

int cgroup_inherit_cpuset(int base_fd, const char *path)
{
    char full[PATH_MAX], parent[PATH_MAX];
    int r = join(full, "cpuset", path);
    for (char *slash = full + strlen("cpuset"); r == 0 && slash;) {
        char *next = strchr(slash + 1, '/');
        memcpy(parent, full, (size_t)(slash - full));
        parent[slash - full] = 0;
        if (next)
            *next = 0;
        r = inherit_file(base_fd, parent, full, "cpuset.cpus");
        if (r == 0)
            r = inherit_file(base_fd, parent, full, "cpuset.mems");
        if (next)
            *next = '/';
        slash = next;
    }
    return r;
}

int cgroup_kill(int base_fd, const char *directory)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    if (read_file(base_fd, directory, "cgroup.procs", &text) < 0)
        return 0;
    char **pids CLEANUP(strv_freep) = strv_split(text.ptr, "\n", false);
    int found = 0;
    for (size_t i = 0; pids && pids[i]; i++) {
        uint32_t pid;
        if (!parse_u32(pids[i], INT32_MAX, &pid) || pid <= 1 || (pid_t)pid == getpid())
            continue;
        kill((pid_t)pid, SIGKILL);
        found++;
    }
    return found;
}

int cgroup_remove(int base_fd, const char *directory)
{
    return unlinkat(base_fd, directory, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

// --- device rules

// The
// program gets struct bpf_cgroup_dev_ctx: { access_type = access << 16 | type; major; minor }. Rules are
// compiled from the last to the first, each as "not this one: jump to the next; else return its verdict".

enum { INSNS_PER_RULE = 9, INSNS_MAX = 4096 };

static struct bpf_insn insn(uint8_t code, unsigned dst, unsigned src, int16_t off, int32_t imm)
{
    struct bpf_insn i = { .code = code, .off = off, .imm = imm };
    i.dst_reg = dst & 15u;
    i.src_reg = src & 15u;
    return i;
}

static size_t emit_rule(struct bpf_insn *out, const struct cgroup_device_rule *rule)
{
    size_t n = 0, jumps[4], jump_count = 0;
    bool is_all_access = rule->access == (CGROUP_DEVICE_MKNOD | CGROUP_DEVICE_READ | CGROUP_DEVICE_WRITE);
    if (rule->type != 'a') {
        jumps[jump_count++] = n;
        out[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
                        rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    }
    if (!is_all_access) { // an allow must cover all that is asked; a deny need only touch it
        out[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, 6, 3, 0, 0);
        out[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, 6, 0, 0,
                        (int32_t)(rule->is_allow ? ~rule->access & 7 : rule->access));
        jumps[jump_count++] = n;
        out[n++] = insn(BPF_JMP | (rule->is_allow ? BPF_JNE : BPF_JEQ) | BPF_K, 6, 0, 0, 0);
    }
    if (rule->major >= 0) {
        jumps[jump_count++] = n;
        out[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)rule->major);
    }
    if (rule->minor >= 0) {
        jumps[jump_count++] = n;
        out[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)rule->minor);
    }
    out[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, rule->is_allow);
    out[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (size_t i = 0; i < jump_count; i++)
        out[jumps[i]].off = (int16_t)(n - jumps[i] - 1);
    return n;
}

static bool is_catch_all(const struct cgroup_device_rule *rule)
{
    return rule->type == 'a' && rule->major < 0 && rule->minor < 0 && rule->access == 7;
}

static int load_device_program(const struct bpf_insn *program, size_t count)
{
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)program,
        .insn_cnt = (uint32_t)count,
        .license = (uintptr_t) "Apache-2.0",
    };
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    return fd < 0 ? -errno : fd;
}

// The program of these rules, loaded. The descriptor, or -errno.
static int compile_device_rules(const struct cgroup_device_rule *rules, size_t count)
{
    if (count > (INSNS_MAX - 10) / INSNS_PER_RULE)
        return -E2BIG;
    struct bpf_insn *p CLEANUP(cleanup_free) = xcalloc(count * INSNS_PER_RULE + 10, sizeof *p);
    size_t n = 0;
    p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 2, 1, 0, 0);
    p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
    p[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
    p[n++] = insn(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
    p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 4, 1, 4, 0);
    p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 5, 1, 8, 0);
    bool is_closed = false; // code behind a catch-all is unreachable, which the verifier refuses
    for (size_t i = count; i > 0 && !is_closed; i--) {
        n += emit_rule(p + n, &rules[i - 1]);
        is_closed = is_catch_all(&rules[i - 1]);
    }
    if (!is_closed) {
        p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
        p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    }
    return load_device_program(p, n);
}

// replaced_fd: the program whose place it takes, or FD_NONE.
static int attach_device_program(int cgroup_fd, int fd, int replaced_fd)
{
    union bpf_attr attr = {
        .target_fd = (uint32_t)cgroup_fd,
        .attach_bpf_fd = (uint32_t)fd,
        .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI | (replaced_fd >= 0 ? BPF_F_REPLACE : 0u),
        .replace_bpf_fd = replaced_fd >= 0 ? (uint32_t)replaced_fd : 0u,
    };
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr) < 0 ? -errno : 0;
}

int cgroup_attach_device_rules(int cgroup_fd, const struct cgroup_device_rule *rules, size_t count)
{
    int fd CLEANUP(cleanup_close) = compile_device_rules(rules, count);
    return fd < 0 ? fd : attach_device_program(cgroup_fd, fd, FD_NONE);
}

// The one program that is attached to the cgroup itself; FD_NONE: there is none.
static int attached_device_program(int cgroup_fd)
{
    uint32_t ids[2] = { 0 };
    union bpf_attr query = { .query = { .target_fd = (uint32_t)cgroup_fd,
                                        .attach_type = BPF_CGROUP_DEVICE,
                                        .prog_ids = (uintptr_t)ids,
                                        .prog_cnt = 2 } };
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &query, sizeof query) < 0)
        return errno == ENOSPC ? -EBUSY : -errno; // more than two: not ours alone
    if (query.query.prog_cnt > 1)
        return -EBUSY;
    if (query.query.prog_cnt == 0)
        return FD_NONE;
    union bpf_attr attr = { .prog_id = ids[0] };
    int fd = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof attr);
    return fd < 0 ? -errno : fd;
}

int cgroup_replace_device_rules(int cgroup_fd, const struct cgroup_device_rule *rules, size_t count)
{
    int former CLEANUP(cleanup_close) = attached_device_program(cgroup_fd);
    if (former < 0 && former != FD_NONE)
        return former;
    int fd CLEANUP(cleanup_close) = compile_device_rules(rules, count);
    return fd < 0 ? fd : attach_device_program(cgroup_fd, fd, former);
}
