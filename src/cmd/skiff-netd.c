// skiff-netd: started by skiffd, once per engine, with a listening socket as descriptor 3.
#include "netd/netd.h"

#include <signal.h>
#include <sys/resource.h>

int main(void)
{
    enum { LISTEN_FD = 3 };
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { // two a container, one a question under way
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return netd_run(LISTEN_FD);
}
