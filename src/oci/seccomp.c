// Theory of operation. libseccomp turns the profile into BPF, exported through a memfd. Two things are added
// to what it does by itself:
//  - the program begins with a stub that answers ENOSYS to system calls with a higher number than any the
//  profile names.
//    A profile cannot name what was invented after it; EPERM would tell libc "forbidden" where ENOSYS says
//    "too old a kernel, use the older call". Jumps in BPF are relative, so the stub can be put in front of
//    any program.
//  - arguments: conditions on different arguments are one rule (and); an argument that is named twice makes
//  each
//    condition a rule of its own (or). That is how the spec's writers mean it.
// Spec: runtime-spec config-linux.md "Seccomp".
#include "oci/seccomp.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARCH_MAX = 8, X32_BIT = 0x40000000 };

struct compiler {
    scmp_filter_ctx ctx;
    uint32_t arches[ARCH_MAX];
    int highest[ARCH_MAX]; // highest system call number that the profile names, by architecture
    size_t arch_count;
    uint32_t default_action;
    struct error *err;
};

static bool action_parse(const char *name, int64_t errno_ret, uint32_t *ret)
{
    static const struct {
        const char *name;
        uint32_t action;
    } table[] = {
        { "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },
        { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
        { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
        { "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
        { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
        { "SCMP_ACT_LOG", SCMP_ACT_LOG },
    };
    if (streq(name, "SCMP_ACT_ERRNO")) {
        *ret = SCMP_ACT_ERRNO((uint32_t)errno_ret);
        return true;
    }
    if (streq(name, "SCMP_ACT_TRACE")) {
        *ret = SCMP_ACT_TRACE((uint32_t)errno_ret);
        return true;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (streq(name, table[i].name)) {
            *ret = table[i].action;
            return true;
        }
    return false;
}

static bool operator_parse(const char *name, enum scmp_compare *ret)
{
    static const struct {
        const char *name;
        enum scmp_compare op;
    } table[] = {
        { "SCMP_CMP_NE", SCMP_CMP_NE },
        { "SCMP_CMP_LT", SCMP_CMP_LT },
        { "SCMP_CMP_LE", SCMP_CMP_LE },
        { "SCMP_CMP_EQ", SCMP_CMP_EQ },
        { "SCMP_CMP_GE", SCMP_CMP_GE },
        { "SCMP_CMP_GT", SCMP_CMP_GT },
        { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (streq(name, table[i].name)) {
            *ret = table[i].op;
            return true;
        }
    return false;
}

// "SCMP_ARCH_X86_64" -> token. 0: unknown to libseccomp.
static uint32_t arch_parse(const char *name)
{
    char lower[32];
    size_t n = 0;
    if (!str_has_prefix(name, "SCMP_ARCH_"))
        return 0;
    for (name += strlen("SCMP_ARCH_"); name[n] && n < sizeof lower - 1; n++)
        lower[n] = name[n] >= 'A' && name[n] <= 'Z' ? (char)(name[n] - 'A' + 'a') : name[n];
    lower[n] = 0;
    return seccomp_arch_resolve_name(lower);
}

static int add_arches(struct compiler *c, const json_t *seccomp)
{
    char **names CLEANUP(strv_freep) = json_get_strv(seccomp, "architectures");
    c->arches[c->arch_count++] = seccomp_arch_native();
    for (size_t i = 0; names && names[i]; i++) {
        uint32_t token = arch_parse(names[i]);
        if (token == 0)
            return error_set(c->err, ERROR_INVALID, "seccomp: unknown architecture %s", names[i]);
        int r = seccomp_arch_add(c->ctx, token);
        if (r == -EEXIST || r == -EDOM) // there already; of the other byte order: cannot run here
            continue;
        if (r < 0 || c->arch_count == ARCH_MAX)
            return error_errno(c->err, r < 0 ? r : E2BIG, "seccomp: add architecture %s", names[i]);
        c->arches[c->arch_count++] = token;
    }
    return 0;
}

static void note_highest(struct compiler *c, const char *name)
{
    for (size_t i = 0; i < c->arch_count; i++) {
        int nr = seccomp_syscall_resolve_name_arch(c->arches[i], name);
        if (nr > c->highest[i])
            c->highest[i] = nr;
    }
}

struct rule {
    uint32_t action;
    struct scmp_arg_cmp args[6];
    unsigned arg_count;
    bool is_any; // an argument appears twice: conditions are alternatives
};

static int parse_args(struct compiler *c, const json_t *syscall_rule, struct rule *rule)
{
    const json_t *array = json_get_array(syscall_rule, "args");
    bool seen[6] = { false };
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *o = json_array_get(array, i);
        int64_t index = json_get_int(o, "index", -1);
        enum scmp_compare op;
        if (index < 0 || index > 5 || rule->arg_count == 6)
            return error_set(c->err, ERROR_INVALID, "seccomp: argument index out of range");
        if (!operator_parse(json_get_string(o, "op", ""), &op))
            return error_set(c->err, ERROR_INVALID, "seccomp: unknown operator \"%s\"",
                             json_get_string(o, "op", ""));
        rule->is_any |= seen[index];
        seen[index] = true;
        rule->args[rule->arg_count++] = (struct scmp_arg_cmp){
            .arg = (unsigned)index,
            .op = op,
            .datum_a = (scmp_datum_t)json_get_int(o, "value", 0),
            .datum_b = (scmp_datum_t)json_get_int(o, "valueTwo", 0),
        };
    }
    return 0;
}

static int add_rule(struct compiler *c, const char *name, const struct rule *rule)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR)
        return 0;
    note_highest(c, name);
    if (rule->action == c->default_action)
        return 0;
    int r = 0;
    if (!rule->is_any)
        r = seccomp_rule_add_array(c->ctx, rule->action, nr, rule->arg_count, rule->args);
    for (unsigned i = 0; rule->is_any && i < rule->arg_count && r == 0; i++)
        r = seccomp_rule_add_array(c->ctx, rule->action, nr, 1, &rule->args[i]);
    if (r < 0 && r != -EEXIST)
        return error_errno(c->err, r, "seccomp: rule for %s", name);
    return 0;
}

static int add_rules(struct compiler *c, const json_t *seccomp)
{
    const json_t *rules = json_get_array(seccomp, "syscalls");
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *o = json_array_get(rules, i);
        char **names CLEANUP(strv_freep) = json_get_strv(o, "names");
        struct rule rule = { 0 };
        const char *action = json_get_string(o, "action", "");
        if (!action_parse(action, json_get_int(o, "errnoRet", EPERM), &rule.action))
            return error_set(c->err, ERROR_INVALID, "seccomp: unknown or unsupported action \"%s\"", action);
        if (parse_args(c, o, &rule) < 0)
            return -1;
        for (size_t k = 0; names && names[k]; k++)
            if (add_rule(c, names[k], &rule) < 0)
                return -1;
    }
    return 0;
}

static void emit(struct str *out, struct sock_filter instruction)
{
    str_append_n(out, &instruction, sizeof instruction);
}

// For one architecture: when it is this one and the number is beyond the profile's highest, answer ENOSYS.
static void emit_stub(struct str *out, uint32_t arch, int highest)
{
    bool is_x32 = arch == SCMP_ARCH_X32, is_x86_64 = arch == SCMP_ARCH_X86_64;
    uint32_t audit_arch = is_x32 ? AUDIT_ARCH_X86_64 : arch;
    uint32_t limit = (uint32_t)highest | (is_x32 ? X32_BIT : 0u);
    emit(out, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    emit(out, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_arch, 0, is_x86_64 ? 4 : 3));
    emit(out, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    if (is_x86_64) // x32 calls share the architecture and are not this table's
        emit(out, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0));
    emit(out, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, limit, 0, 1));
    emit(out, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

static int export_program(struct compiler *c, void **ret_program, size_t *ret_size)
{
    struct str out = STR_INIT;
    bool wants_stub = c->default_action != SCMP_ACT_ALLOW && c->default_action != SCMP_ACT_LOG;
    for (size_t i = 0; wants_stub && i < c->arch_count; i++)
        if (c->highest[i] > 0)
            emit_stub(&out, c->arches[i], c->highest[i]);
    int fd CLEANUP(cleanup_close) = memfd_create("seccomp", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : seccomp_export_bpf(c->ctx, fd);
    struct stat st = { 0 };
    if (r == 0 && fstat(fd, &st) < 0)
        r = -errno;
    size_t size = (size_t)st.st_size;
    char *at = r == 0 ? str_reserve(&out, size) : NULL;
    if (at && pread(fd, at, size, 0) != (ssize_t)size)
        r = -EIO;
    if (r == 0)
        str_added(&out, size);
    if (r == 0 && out.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
        r = -E2BIG;
    if (r < 0) {
        str_done(&out);
        return error_errno(c->err, r, "seccomp: export the filter");
    }
    *ret_size = out.len;
    *ret_program = str_take(&out);
    return 0;
}

static int compile(struct compiler *c, const json_t *seccomp, void **ret_program, size_t *ret_size)
{
    // no_new_privs is the runtime's business; a binary tree costs each system call about 9 comparisons
    // instead of 360
    (void)seccomp_attr_set(c->ctx, SCMP_FLTATR_CTL_NNP, 0);
    (void)seccomp_attr_set(c->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (add_arches(c, seccomp) < 0 || add_rules(c, seccomp) < 0)
        return -1;
    return export_program(c, ret_program, ret_size);
}

int oci_seccomp_compile(const json_t *seccomp, void **ret_program, size_t *ret_size, struct error *err)
{
    struct compiler c = { .err = err };
    const char *action = json_get_string(seccomp, "defaultAction", "");
    if (json_get_string(seccomp, "listenerPath", NULL))
        return error_set(err, ERROR_UNSUPPORTED, "seccomp: listenerPath is not supported");
    if (!action_parse(action, json_get_int(seccomp, "defaultErrnoRet", EPERM), &c.default_action))
        return error_set(err, ERROR_INVALID, "seccomp: unknown or unsupported default action \"%s\"", action);
    c.ctx = seccomp_init(c.default_action);
    if (!c.ctx)
        return error_set(err, ERROR_INTERNAL, "seccomp: cannot start a filter");
    int r = compile(&c, seccomp, ret_program, ret_size);
    seccomp_release(c.ctx);
    return r;
}
