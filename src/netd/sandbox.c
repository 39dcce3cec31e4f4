// Theory of operation: from here on the process holds sockets that others made for it, and talks to name servers. It is nobody, can
// never become anybody, and the kernel ends it at the first system call that this file does not list. Source: seccomp(2),
// capabilities(7).
#include "netd/netd_internal.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#else
#error "which AUDIT_ARCH_* is this?"
#endif

#ifdef __SANITIZE_ADDRESS__
enum { HAS_FILTER = 0 }; // the sanitizer's run-time has needs of its own
#else
enum { HAS_FILTER = 1 };
#endif

enum { NOBODY = 65534 };

static const long allowed[] = {
    // the loop and its sockets
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_accept4,
    SYS_socket,
    SYS_connect,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_sendto,
    SYS_close,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_shutdown,
    SYS_splice,
    SYS_pipe2,
    // memory, time, chance, and the end
    SYS_brk,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_mprotect,
    SYS_clock_gettime,
    SYS_getrandom,
    SYS_write,
    SYS_futex,
    SYS_rt_sigreturn,
    SYS_rt_sigprocmask,
    SYS_gettid,
    SYS_getpid,
    SYS_tgkill,
    SYS_exit,
    SYS_exit_group,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
};
enum { ALLOWED = sizeof allowed / sizeof *allowed };

static int enter_filter(void)
{
    struct sock_filter code[2 * ALLOWED + 8];
    unsigned n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < ALLOWED; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    const struct sock_fprog program = { (unsigned short)n, code };
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int sandbox_enter(void)
{
    const struct rlimit no_files = { 0, 0 };
    if (geteuid() == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            return -errno; // with the last id go all capabilities
    }
    if (setrlimit(RLIMIT_CORE, &no_files) < 0 || setrlimit(RLIMIT_NPROC, &no_files) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    prctl(PR_SET_DUMPABLE, 0);
    return HAS_FILTER ? enter_filter() : 0;
}
