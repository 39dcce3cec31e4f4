// skiffd's options, from the command line and from daemon.json, under dockerd's names. Independent of the engine.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/str.h"
#include "oci/registries.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon_options {
    char *data_root, *exec_root, *pidfile, *config_file, *group;
    char **hosts; // strv "unix:///path", "tcp://host:port"
    char *bridge, *bip, *default_publish_ip;
    int mtu;
    bool has_bridge_names, publishes_locally;
    bool has_icc, has_ip_forward, has_ip_masq, has_init, is_debug;
    enum log_level log_level;
    struct registry_rules registries;       // from the file and from registry-mirrors, together
    char *registries_file;                  // that they were read from, or NULL
    char **registry_mirrors, **hub_mirrors; // as given; all of docker.io's as /info shows them
    char **insecure_registries, **labels, **cdi_directories;
    char *metrics_address;           // "host:port"; NULL: no figures are served
    char *log_driver, **log_options; // of containers that name none; options as "key=value"
    char *seccomp_profile, *cgroup_parent, *userns_mode;
    int stop_timeout_s;
    int image_gc_unused_days, image_gc_keep_last, image_gc_disk_high, image_gc_disk_low; // 0: no such rule
    int image_gc_interval_s;
    char **image_gc_keeps;
    bool dedups_images;
    char *signature_policy;   // NULL: none
    uint64_t layer_max_bytes; // unpacked; 0: no limit
    int layer_max_entries;    // 0: no limit
    bool wants_help, wants_version, wants_validate;
};

// Parse argv and then the configuration file: the one named by --config-file (which must exist), else /etc/skiff/daemon.json
// when there is one. A key given in both is ERROR_INVALID, as in dockerd. ret is filled with defaults first and needs
// daemon_options_done also after a failure.
int daemon_options_parse(int argc, char *const *argv, struct daemon_options *ret, struct error *err);
void daemon_options_done(struct daemon_options *options);
// The text of --help, owned.
char *daemon_options_help(void);
