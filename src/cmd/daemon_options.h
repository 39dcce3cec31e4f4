// skiffd's options, from the command line and from daemon.json, under dockerd's names. Independent of the engine.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/str.h"

#include <stdbool.h>

struct daemon_options {
    char *data_root, *exec_root, *pidfile, *config_file, *group;
    char **hosts; // strv "unix:///path", "tcp://host:port"
    char *bridge, *bip, *default_publish_ip;
    int mtu;
    bool has_icc, has_ip_forward, has_ip_masq, has_init, is_debug, publishes_locally;
    enum log_level log_level;
    char **insecure_registries, **labels, **cdi_directories;
    char *metrics_address;           // "host:port"; NULL: no figures are served
    char *log_driver, **log_options; // of containers that name none; options as "key=value"
    char *seccomp_profile, *cgroup_parent, *userns_mode;
    int stop_timeout_s;
    bool wants_help, wants_version, wants_validate;
};

// Parse argv and then the configuration file: the one named by --config-file (which must exist), else /etc/skiff/daemon.json
// when there is one. A key given in both is ERROR_INVALID, as in dockerd. ret is filled with defaults first and needs
// daemon_options_done also after a failure.
int daemon_options_parse(int argc, char *const *argv, struct daemon_options *ret, struct error *err);
void daemon_options_done(struct daemon_options *options);
// The text of --help, owned.
char *daemon_options_help(void);
