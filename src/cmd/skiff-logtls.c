// skiff-logtls: started by skiff-shim for a container whose log goes to a syslog over TLS, with the messages at its standard
// input. It ends with them.
#include "logtls/relay.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

static const struct option OPTIONS[] = {
    { "host", required_argument, NULL, 'h' },  { "port", required_argument, NULL, 'p' },
    { "name", required_argument, NULL, 'n' },  { "ca", required_argument, NULL, 'a' },
    { "cert", required_argument, NULL, 'c' },  { "key", required_argument, NULL, 'k' },
    { "skip-verify", no_argument, NULL, 's' }, { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
    struct logtls_options o = { 0 };
    struct error err = { 0 };
    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        const char **at = c == 'h'   ? &o.host
                          : c == 'p' ? &o.port
                          : c == 'n' ? &o.name
                          : c == 'a' ? &o.ca
                          : c == 'c' ? &o.certificate
                          : c == 'k' ? &o.key
                                     : NULL;
        if (at)
            *at = optarg;
        else if (c == 's')
            o.skips_verify = true;
        else
            return 2;
    }
    if (optind < argc || !o.host || !o.port || !o.name || !o.certificate != !o.key) {
        fprintf(
            stderr,
            "usage: skiff-logtls --host ADDRESS --port PORT --name NAME [--ca FILE] [--cert FILE --key FILE] "
            "[--skip-verify]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    openlog("skiff-logtls", LOG_PID | LOG_PERROR, LOG_DAEMON);
    if (logtls_relay(STDIN_FILENO, &o, &err) < 0) {
        syslog(LOG_ERR, "%s:%s: %s", o.name, o.port, err.message);
        return 1;
    }
    return 0;
}
