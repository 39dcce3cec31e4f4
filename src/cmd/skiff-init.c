// skiff-init: process 1 of a container that asks for one (HostConfig.Init). It runs the container's command as its child,
// hands every signal on to it, reaps whatever falls to it, and ends with the child's exit code (128 + n for signal n).
// Usage: skiff-init [--] COMMAND [ARGUMENT...]. Static, and mounted read-only at /sbin/docker-init, where Docker has its own.
//
// All signals but those that a fault of our own raises are blocked and read one by one from a signalfd: no handlers, no races,
// and /proc/1/status says truly that none is lost (while a process is in sigwait it says that they are not blocked).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127, EXIT_OWN_FAILURE = 125 };

static void block_signals(sigset_t *ret_blocked, sigset_t *ret_former)
{
    static const int faults[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS };
    sigfillset(ret_blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(ret_blocked, faults[i]);
    sigprocmask(SIG_SETMASK, ret_blocked, ret_former);
}

// In the child: a process group of its own, in front on the terminal if there is one, so that job control works in it.
static _Noreturn void run_command(char **command, const sigset_t *mask)
{
    setpgid(0, 0);
    if (isatty(STDIN_FILENO))
        (void)tcsetpgrp(STDIN_FILENO, getpgrp()); // SIGTTOU is blocked here
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    int code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
    fprintf(stderr, "skiff-init: exec %s: %s\n", command[0], strerror(errno));
    _exit(code);
}

// Every child that has ended. The command's exit code, or -1 while it runs.
static int reap(pid_t command)
{
    int code = -1, status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == command)
            code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return code;
}

int main(int argc, char **argv)
{
    char **command = argv + (argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1);
    sigset_t blocked, former;
    if (argc < 2 || !*command) {
        fprintf(stderr, "usage: skiff-init [--] COMMAND [ARGUMENT...]\n");
        return EXIT_OWN_FAILURE;
    }
    block_signals(&blocked, &former);
    int signals = signalfd(-1, &blocked, SFD_CLOEXEC);
    pid_t pid = signals < 0 ? -1 : fork();
    if (pid < 0) {
        fprintf(stderr, "skiff-init: signalfd or fork: %s\n", strerror(errno));
        return EXIT_OWN_FAILURE;
    }
    if (pid == 0)
        run_command(command, &former);
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int signal = (int)info.ssi_signo, code = signal == SIGCHLD ? reap(pid) : -1;
        if (code >= 0)
            return code;
        if (signal != SIGCHLD)
            kill(pid, signal); // it is not reaped yet, so the number is still its own
    }
    return EXIT_OWN_FAILURE;
}
