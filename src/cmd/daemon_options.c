// One table describes every option: its command-line names, its key in daemon.json, its type and where it goes. Command line
// and file go through the same setters, so that they cannot differ in what they accept.
#include "cmd/daemon_options.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#define DEFAULT_CONFIG_FILE     "/etc/skiff/daemon.json"
#define DEFAULT_REGISTRIES_FILE "/etc/skiff/registries.json"
enum { CONFIG_MAX_BYTES = 1 << 20 };

enum option_type {
    OPTION_STRING,
    OPTION_STRINGS,
    OPTION_BOOL,
    OPTION_INT,
    OPTION_SIZE,
    OPTION_LEVEL,
    OPTION_PAIRS,
    OPTION_RULES
};

struct option {
    const char *name; // long name
    char letter;      // 0: none
    const char *key;  // in daemon.json; NULL: command line only
    enum option_type type;
    size_t offset;
    const char *argument, *help;
};

#define AT(member) offsetof(struct daemon_options, member)
static const struct option options[] = {
    { "bip", 0, "bip", OPTION_STRING, AT(bip), "cidr",
      "Address and prefix of the default bridge (default: one no route overlaps)" },
    { "bridge", 'b', "bridge", OPTION_STRING, AT(bridge), "name",
      "Default bridge (default skiff0); \"none\" for no bridge network" },
    { "bridge-names", 0, "bridge-names", OPTION_BOOL, AT(has_bridge_names), NULL,
      "Containers on the default bridge find each other by name (default true)" },
    { "cdi-spec-dir", 0, "cdi-spec-dirs", OPTION_STRINGS, AT(cdi_directories), "folder",
      "Where CDI device files are (default /etc/cdi and /var/run/cdi);\nmay be repeated" },
    { "cgroup-parent", 0, "cgroup-parent", OPTION_STRING, AT(cgroup_parent), "path",
      "Parent of all containers' cgroups (default /skiff)" },
    { "config-file", 0, NULL, OPTION_STRING, AT(config_file), "file",
      "Configuration file (default " DEFAULT_CONFIG_FILE ")" },
    { "data-root", 0, "data-root", OPTION_STRING, AT(data_root), "dir",
      "Images, containers and their state (default /var/lib/skiff)" },
    { "debug", 'D', "debug", OPTION_BOOL, AT(is_debug), NULL, "Log at level debug" },
    { "default-stop-timeout", 0, "default-stop-timeout", OPTION_INT, AT(stop_timeout_s), "seconds",
      "Between stop signal and kill (default 10)" },
    { "exec-root", 0, "exec-root", OPTION_STRING, AT(exec_root), "dir",
      "Sockets and state of what runs (default /run/skiff)" },
    { "group", 'G', "group", OPTION_STRING, AT(group), "name",
      "Group of the unix socket (default: docker or skiff if there is one, else root)" },
    { "help", 'h', NULL, OPTION_BOOL, AT(wants_help), NULL, "Print this" },
    { "host", 'H', "hosts", OPTION_STRINGS, AT(hosts), "url",
      "Listen here: unix:///path or tcp://host:port; may be repeated\n(default "
      "unix:///run/skiff/skiff.sock)" },
    { "icc", 0, "icc", OPTION_BOOL, AT(has_icc), NULL,
      "Containers on the default bridge reach each other (default true)" },
    { "image-dedup", 0, "image-dedup", OPTION_BOOL, AT(dedups_images), NULL,
      "After a pull let equal files of layers share their blocks, where the\nfile system can (xfs, btrfs; "
      "default false)" },
    { "image-gc-disk-high", 0, "image-gc-disk-high", OPTION_INT, AT(image_gc_disk_high), "percent",
      "Remove images used longest ago above so much of the disk in use" },
    { "image-gc-disk-low", 0, "image-gc-disk-low", OPTION_INT, AT(image_gc_disk_low), "percent",
      "... until it is below this (default: 5 less)" },
    { "image-gc-interval", 0, "image-gc-interval", OPTION_INT, AT(image_gc_interval_s), "seconds",
      "Between two image garbage collections (default 3600)" },
    { "image-gc-keep", 0, "image-gc-keep", OPTION_STRINGS, AT(image_gc_keeps), "pattern",
      "Never remove these: a reference pattern, label=key or\nlabel=key=value; may be repeated" },
    { "image-gc-keep-last", 0, "image-gc-keep-last", OPTION_INT, AT(image_gc_keep_last), "number",
      "Keep the last so many images of each repository" },
    { "image-gc-unused-days", 0, "image-gc-unused-days", OPTION_INT, AT(image_gc_unused_days), "days",
      "Remove images that no container used for so long" },
    { "image-layer-max-entries", 0, "image-layer-max-entries", OPTION_INT, AT(layer_max_entries), "number",
      "Refuse layers of more files (default 1500000; 0: no limit)" },
    { "image-layer-max-size", 0, "image-layer-max-size", OPTION_SIZE, AT(layer_max_bytes), "size",
      "Refuse layers that are larger unpacked: 512m, 20g (default 64g; 0: no limit)" },
    { "init", 0, "init", OPTION_BOOL, AT(has_init), NULL,
      "Run an init in containers that do not say whether (default false)" },
    { "insecure-registry", 0, "insecure-registries", OPTION_STRINGS, AT(insecure_registries), "host",
      "Registry that may be spoken to without TLS; may be repeated" },
    { "ip", 0, "ip", OPTION_STRING, AT(default_publish_ip), "address",
      "Where published ports bind by default (default 0.0.0.0)" },
    { "ip-forward", 0, "ip-forward", OPTION_BOOL, AT(has_ip_forward), NULL,
      "Enable net.ipv4.ip_forward (default true)" },
    { "ip-masq", 0, "ip-masq", OPTION_BOOL, AT(has_ip_masq), NULL,
      "Masquerade what leaves the bridge (default true)" },
    { "label", 0, "labels", OPTION_STRINGS, AT(labels), "key=value",
      "Label of the engine, shown by info; may be repeated" },
    { "log-driver", 0, "log-driver", OPTION_STRING, AT(log_driver), "name",
      "Log driver of containers that name none (default json-file)" },
    { "log-opt", 0, "log-opts", OPTION_PAIRS, AT(log_options), "key=value",
      "Option of that driver; may be repeated" },
    { "log-level", 'l', "log-level", OPTION_LEVEL, AT(log_level), "level",
      "debug, info, warn, error or fatal (default info)" },
    { "metrics-addr", 0, "metrics-addr", OPTION_STRING, AT(metrics_address), "host:port",
      "Serve figures for Prometheus here, at /metrics (default: nowhere)" },
    { "mtu", 0, "mtu", OPTION_INT, AT(mtu), "bytes", "MTU of the default bridge (default 1500)" },
    { "pidfile", 'p', "pidfile", OPTION_STRING, AT(pidfile), "file",
      "Write the process id here (default /run/skiff/skiffd.pid)" },
    { "publish-local", 0, "publish-local", OPTION_BOOL, AT(publishes_locally), NULL,
      "Ports published without an address are open to this host only (default false)" },
    { "registries", 0, "registries", OPTION_RULES, AT(registries_file), "file",
      "Mirrors, insecure and blocked registries (default " DEFAULT_REGISTRIES_FILE
      ");\nin the configuration file: "
      "its contents, or its name" },
    { "registry-mirror", 0, "registry-mirrors", OPTION_STRINGS, AT(registry_mirrors), "url",
      "Ask here for what docker.io has, first; may be repeated" },
    { "seccomp-profile", 0, "seccomp-profile", OPTION_STRING, AT(seccomp_profile), "file",
      "Default seccomp profile; \"unconfined\" for none (default: built in)" },
    { "signature-policy", 0, "signature-policy", OPTION_STRING, AT(signature_policy), "file",
      "Which keys must have signed the images that are pulled: as\ncontainers-policy.json(5) has it "
      "(default: none)" },
    { "userns-mode", 0, "userns-mode", OPTION_STRING, AT(userns_mode), "mode",
      "User namespace of containers: private (default) or host" },
    { "validate", 0, NULL, OPTION_BOOL, AT(wants_validate), NULL, "Check the configuration and exit" },
    { "version", 'v', NULL, OPTION_BOOL, AT(wants_version), NULL, "Print the version and exit" },
};
#undef AT
enum { OPTION_COUNT = sizeof options / sizeof *options };

static void set_defaults(struct daemon_options *o)
{
    *o = (struct daemon_options){
        .has_bridge_names = true,
        .has_icc = true,
        .has_ip_forward = true,
        .has_ip_masq = true,
        .log_level = LOG_LEVEL_INFO,
        .stop_timeout_s = 10,
        .image_gc_interval_s = 3600,
        .layer_max_entries = 1500 * 1000,
        .layer_max_bytes = 64ull << 30,
    };
}

void daemon_options_done(struct daemon_options *o)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        void *at = (char *)o + options[i].offset;
        if (options[i].type == OPTION_STRING || options[i].type == OPTION_RULES)
            free(*(char **)at);
        else if (options[i].type == OPTION_STRINGS || options[i].type == OPTION_PAIRS)
            strv_free(*(char ***)at);
    }
    registry_rules_done(&o->registries);
    strv_free(o->hub_mirrors);
    *o = (struct daemon_options){ 0 };
}

// Go's strconv.ParseBool, which dockerd takes.
static bool parse_bool(const char *s, bool *ret)
{
    static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" }, *const no[] = {
        "0", "f", "F", "FALSE", "false", "False"
    };
    for (size_t i = 0; i < 6; i++) {
        if (streq(s, yes[i]) || streq(s, no[i])) {
            *ret = streq(s, yes[i]);
            return true;
        }
    }
    return false;
}

static int set_text(struct daemon_options *o, const struct option *option, const char *text,
                    struct error *err)
{
    void *at = (char *)o + option->offset;
    int64_t number;
    switch (option->type) {
    case OPTION_STRING:
    case OPTION_RULES:
        free_and_strdup(at, text);
        return 0;
    case OPTION_PAIRS:
        if (!strchr(text, '=') || *text == '=')
            return error_set(err, ERROR_INVALID, "invalid argument \"%s\" for \"--%s\": key=value is wanted",
                             text, option->name);
        strv_push(at, text);
        return 0;
    case OPTION_STRINGS:
        strv_push(at, text);
        return 0;
    case OPTION_BOOL:
        if (!parse_bool(text, at))
            return error_set(err, ERROR_INVALID, "invalid argument \"%s\" for \"--%s\": not a boolean", text,
                             option->name);
        return 0;
    case OPTION_INT:
        if (!parse_i64(text, 0, INT32_MAX, &number))
            return error_set(err, ERROR_INVALID,
                             "invalid argument \"%s\" for \"--%s\": not a number in range", text,
                             option->name);
        *(int *)at = (int)number;
        return 0;
    case OPTION_SIZE:
        if (!parse_size_bytes(text, &number) || number < 0)
            return error_set(err, ERROR_INVALID, "invalid argument \"%s\" for \"--%s\": not a size", text,
                             option->name);
        *(uint64_t *)at = (uint64_t)number;
        return 0;
    case OPTION_LEVEL:
        if (!log_level_parse(text, at))
            return error_set(err, ERROR_INVALID, "invalid logging level: %s", text);
        return 0;
    }
    return error_set(err, ERROR_INTERNAL, "option --%s has no type", option->name);
}

// --- command line

static const struct option *find_long(const char *name, size_t n)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0)
            return &options[i];
    return NULL;
}

static const struct option *find_letter(char letter)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (options[i].letter == letter)
            return &options[i];
    return NULL;
}

// value NULL: not joined to the option; then a boolean is true and another takes the next argument.
static int take(struct daemon_options *o, const struct option *option, const char *value, char *const *argv,
                int argc, int *at, bool *is_given, struct error *err)
{
    if (!value && option->type == OPTION_BOOL)
        value = "true";
    if (!value && *at + 1 == argc)
        return error_set(err, ERROR_INVALID, "flag needs an argument: --%s", option->name);
    if (!value)
        value = argv[++*at];
    is_given[option - options] = true;
    return set_text(o, option, value, err);
}

static int parse_letters(struct daemon_options *o, char *const *argv, int argc, int *at, bool *is_given,
                         struct error *err)
{
    for (const char *p = argv[*at] + 1; *p; p++) {
        const struct option *option = find_letter(*p);
        if (!option)
            return error_set(err, ERROR_INVALID, "unknown shorthand flag: '%c' in %s", *p, argv[*at]);
        if (option->type == OPTION_BOOL && p[1] != '=') {
            int r = take(o, option, NULL, argv, argc, at, is_given, err);
            if (r < 0)
                return r;
            continue;
        }
        const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;
        return take(o, option, value, argv, argc, at, is_given, err);
    }
    return 0;
}

static int parse_arguments(struct daemon_options *o, int argc, char *const *argv, bool *is_given,
                           struct error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        int r;
        if (str_has_prefix(text, "--") && text[2]) {
            size_t n = strcspn(text + 2, "=");
            const struct option *option = find_long(text + 2, n);
            if (!option)
                return error_set(err, ERROR_INVALID, "unknown flag: --%.*s", (int)n, text + 2);
            r = take(o, option, text[2 + n] ? text + 3 + n : NULL, argv, argc, &i, is_given, err);
        } else if (*text == '-' && text[1]) {
            r = parse_letters(o, argv, argc, &i, is_given, err);
        } else {
            r = error_set(err, ERROR_INVALID, "\"skiffd\" accepts no arguments: %s", text);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

// --- daemon.json

static int set_json(struct daemon_options *o, const struct option *option, const json_t *value,
                    struct error *err)
{
    void *at = (char *)o + option->offset;
    bool is_fine = false;
    switch (option->type) {
    case OPTION_RULES:
        if (json_is_object(value))
            return registry_rules_add(&o->registries, value, err);
        __attribute__((fallthrough)); // a file's name
    case OPTION_STRING:
    case OPTION_LEVEL:
        if ((is_fine = json_is_string(value)))
            return set_text(o, option, json_string_value(value), err);
        break;
    case OPTION_BOOL:
        if ((is_fine = json_is_boolean(value)))
            *(bool *)at = json_is_true(value);
        break;
    case OPTION_INT:
        if ((is_fine = json_is_integer(value) && json_integer_value(value) >= 0 &&
                       json_integer_value(value) <= INT32_MAX))
            *(int *)at = (int)json_integer_value(value);
        break;
    case OPTION_SIZE: // "20g", or a number of bytes
        if (json_is_string(value))
            return set_text(o, option, json_string_value(value), err);
        if ((is_fine = json_is_integer(value) && json_integer_value(value) >= 0))
            *(uint64_t *)at = (uint64_t)json_integer_value(value);
        break;
    case OPTION_PAIRS: { // {"max-size": "10m"}
        const char *key;
        json_t *item;
        is_fine = json_is_object(value);
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            if ((is_fine = is_fine && json_is_string(item)))
                strv_take(at, xasprintf("%s=%s", key, json_string_value(item)));
        }
        break;
    }
    case OPTION_STRINGS:
        is_fine = json_is_array(value);
        for (size_t i = 0; is_fine && i < json_array_size(value); i++)
            if ((is_fine = json_is_string(json_array_get(value, i))))
                strv_push(at, json_string_value(json_array_get(value, i)));
        break;
    }
    return is_fine ? 0
                   : error_set(err, ERROR_INVALID, "\"%s\" has a value of the wrong type or out of range",
                               option->key);
}

static int apply_document(struct daemon_options *o, json_t *document, const bool *is_given, struct error *err)
{
    if (!json_is_object(document))
        return error_set(err, ERROR_INVALID, "not a JSON object");
    const char *key;
    json_t *value;
    json_object_foreach(document, key, value)
    {
        const struct option *option = NULL;
        for (size_t i = 0; i < OPTION_COUNT && !option; i++)
            if (options[i].key && streq(options[i].key, key))
                option = &options[i];
        if (!option)
            return error_set(err, ERROR_INVALID,
                             "the following directives don't match any configuration option: %s", key);
        if (is_given[option - options])
            return error_set(
                err, ERROR_INVALID,
                "the following directives are specified both as a flag and in the configuration file: %s",
                key);
        int r = set_json(o, option, value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int apply_file(struct daemon_options *o, const bool *is_given, struct error *err)
{
    const char *path = o->config_file ? o->config_file : DEFAULT_CONFIG_FILE;
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    int r = file_read_at(AT_FDCWD, path, CONFIG_MAX_BYTES, &text);
    if (r == -ENOENT && !o->config_file)
        return 0;
    if (r < 0)
        return error_errno(err, r, "unable to configure the engine with file %s", path);
    if (text.len == 0)
        return 0;
    if (json_parse(text.ptr, text.len, &document, err) < 0 || apply_document(o, document, is_given, err) < 0)
        return error_wrap(err, "unable to configure the engine with file %s", path);
    return 0;
}

// --- registries

static int read_registries_file(struct daemon_options *o, const char *path, struct error *err)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    int r = file_read_at(AT_FDCWD, path, CONFIG_MAX_BYTES, &text);
    if (r == -ENOENT && !o->registries_file)
        return 0;
    if (r < 0)
        return error_errno(err, r, "unable to read %s", path);
    if (json_parse(text.ptr, text.len, &document, err) < 0 ||
        registry_rules_add(&o->registries, document, err) < 0)
        return error_wrap(err, "unable to use %s", path);
    return 0;
}

// The file is read unless the configuration has the rules itself; then the mirrors of the command line are added, and what other
// parts want to know is drawn out.
static int settle_registries(struct daemon_options *o, struct error *err)
{
    if ((o->registries_file || o->registries.count == 0) &&
        read_registries_file(o, o->registries_file ? o->registries_file : DEFAULT_REGISTRIES_FILE, err) < 0)
        return -1;
    for (size_t i = 0; o->registry_mirrors && o->registry_mirrors[i]; i++)
        if (registry_rules_add_mirror(&o->registries, o->registry_mirrors[i], err) < 0)
            return -1;
    for (size_t i = 0; i < o->registries.count; i++) {
        const struct registry_rule *rule = &o->registries.rules[i];
        if (rule->is_insecure)
            strv_push(&o->insecure_registries, rule->name);
        for (size_t k = 0; k < rule->mirror_count && streq(rule->name, "docker.io"); k++)
            strv_take(&o->hub_mirrors, xasprintf("%s/", rule->mirrors[k].url));
    }
    return 0;
}

// --- together

static void default_string(char **p, const char *value)
{
    if (!*p)
        *p = xstrdup(value);
}

static int check(struct daemon_options *o, struct error *err)
{
    for (size_t i = 0; o->hosts && o->hosts[i]; i++) {
        const char *host = o->hosts[i];
        bool is_unix = str_has_prefix(host, "unix://") && host[7] == '/';
        bool is_tcp = str_has_prefix(host, "tcp://") && host[6];
        if (!is_unix && !is_tcp)
            return error_set(err, ERROR_INVALID,
                             "invalid -H value %s: unix:///path or tcp://host:port is wanted", host);
    }
    for (size_t i = 0; o->labels && o->labels[i]; i++)
        if (!strchr(o->labels[i], '=') || *o->labels[i] == '=')
            return error_set(err, ERROR_INVALID, "bad attribute format: %s", o->labels[i]);
    if (!streq(o->userns_mode, "private") && !streq(o->userns_mode, "host"))
        return error_set(err, ERROR_INVALID, "invalid --userns-mode %s: private or host is wanted",
                         o->userns_mode);
    if (*o->data_root != '/' || *o->exec_root != '/')
        return error_set(err, ERROR_INVALID, "--data-root and --exec-root must be absolute paths");
    if (o->mtu && (o->mtu < 68 || o->mtu > 65535))
        return error_set(err, ERROR_INVALID, "invalid --mtu %d", o->mtu);
    if (o->image_gc_disk_high > 100 ||
        (o->image_gc_disk_low && o->image_gc_disk_low >= o->image_gc_disk_high))
        return error_set(
            err, ERROR_INVALID,
            "invalid --image-gc-disk-high %d, --image-gc-disk-low %d: percentages, the low one below "
            "the high one",
            o->image_gc_disk_high, o->image_gc_disk_low);
    if (o->image_gc_interval_s < 1)
        return error_set(err, ERROR_INVALID, "invalid --image-gc-interval %d", o->image_gc_interval_s);
    return 0;
}

int daemon_options_parse(int argc, char *const *argv, struct daemon_options *o, struct error *err)
{
    bool is_given[OPTION_COUNT] = { 0 };
    set_defaults(o);
    int r = parse_arguments(o, argc, argv, is_given, err);
    if (r < 0 || o->wants_help || o->wants_version)
        return r;
    if ((r = apply_file(o, is_given, err)) < 0 || (r = settle_registries(o, err)) < 0)
        return r;
    default_string(&o->data_root, "/var/lib/skiff");
    default_string(&o->exec_root, "/run/skiff");
    default_string(&o->pidfile, "/run/skiff/skiffd.pid");
    default_string(&o->bridge, "skiff0");
    default_string(&o->cgroup_parent, "/skiff");
    default_string(&o->userns_mode, "private");
    if (!o->cdi_directories) {
        strv_push(&o->cdi_directories, "/etc/cdi");
        strv_push(&o->cdi_directories, "/var/run/cdi");
    }
    if (!o->hosts)
        strv_push(&o->hosts, "unix:///run/skiff/skiff.sock");
    if (o->is_debug)
        o->log_level = LOG_LEVEL_DEBUG;
    return check(o, err);
}

char *daemon_options_help(void)
{
    struct str out = STR_INIT;
    str_append(&out, "Usage: skiffd [OPTIONS]\n\nThe engine of skiff: runs containers and serves the Docker "
                     "Engine API.\n\nOptions:\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        char left[64], letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, o->name, o->argument ? o->argument : "");
        const char *help = o->help;
        for (const char *head = left; help; head = "") {
            size_t n = strcspn(help, "\n");
            str_appendf(&out, "  %-34s %.*s\n", head, (int)n, help);
            help = help[n] ? help + n + 1 : NULL;
        }
    }
    str_append(&out, "\nEvery option but --config-file, --help, --validate and --version may also stand in "
                     "the configuration file (JSON),\n"
                     "under the same name; lists are called hosts, insecure-registries, cdi-spec-dirs and "
                     "labels there, and log-opts is an object.\n");
    return str_take(&out);
}
