// Theory of operation
//
// The body says only what the command line says: a member that is not there is the engine's default, which
// for every member here is what Docker's client writes out in full. tests/unit/cli compares the two.
#include "cli/create.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/pull.h"
#include "cli/session.h"
#include "codec/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIST_FILE_MAX = 4 * 1024 * 1024 };

// Lines of --env-file and --label-file: "K=V", "K" (from our environment, when has_environment), "#"
// comments.
static int read_pairs(const char *path, bool has_environment, char ***out, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    int r = file_read_at(AT_FDCWD, path, LIST_FILE_MAX, &text);
    if (r < 0) {
        error_errno(err, r, "open %s", path);
        return -1;
    }
    char **lines CLEANUP(strv_freep) = strv_split(text.ptr, "\n", false);
    for (size_t i = 0; lines && lines[i]; i++) {
        char *line = lines[i] + strspn(lines[i], " \t");
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r')
            line[n - 1] = '\0';
        if (!*line || *line == '#')
            continue;
        char *equals = strchr(line, '=');
        size_t key = equals ? (size_t)(equals - line) : strlen(line);
        if (key == 0)
            return error_set(err, ERROR_INVALID, "invalid environment file: no variable name on line '%s'",
                             line);
        if (memchr(line, ' ', key) || memchr(line, '\t', key))
            return error_set(err, ERROR_INVALID, "variable '%.*s' contains whitespaces", (int)key, line);
        const char *value = !equals && has_environment ? getenv(line) : NULL;
        if (equals || !has_environment)
            strv_push(out, line);
        else if (value)
            strv_take(out, xasprintf("%s=%s", line, value));
    }
    return 0;
}

int create_add_environment(const struct options *options, json_t *config, struct error *err)
{
    char **env CLEANUP(strv_freep) = NULL;
    for (char *const *file = options_list(options, "env-file"); *file; file++)
        if (read_pairs(*file, true, &env, err) < 0)
            return -1;
    for (char *const *v = options_list(options, "env"); *v; v++) {
        const char *value = strchr(*v, '=') ? NULL : getenv(*v);
        if (**v == '=' || !**v)
            return options_invalid(options, "env", *v, err, "invalid environment variable: %s", *v);
        if (value)
            strv_take(&env, xasprintf("%s=%s", *v, value));
        else
            strv_push(&env, *v);
    }
    if (env)
        json_object_set_new(config, "Env", json_from_strv(env));
    return 0;
}

static void set_pair(json_t *object, const char *pair)
{
    const char *equals = strchr(pair, '=');
    char *key CLEANUP(cleanup_free) = xstrndup(pair, equals ? (size_t)(equals - pair) : strlen(pair));
    json_set_string(object, key, equals ? equals + 1 : "");
}

int create_add_map(const struct options *options, const char *name, json_t *object, const char *key,
                   struct error *err)
{
    char *const *list = options_list(options, name);
    json_t *map = *list ? json_object() : NULL;
    if (map)
        json_object_set_new(object, key, map);
    for (; *list; list++) {
        if (!strchr(*list, '=') || **list == '=')
            return options_invalid(options, name, *list, err, "invalid argument: %s", *list);
        set_pair(map, *list);
    }
    return 0;
}

static int add_labels(const struct options *options, json_t *config, struct error *err)
{
    char **labels CLEANUP(strv_freep) = NULL;
    for (char *const *file = options_list(options, "label-file"); *file; file++)
        if (read_pairs(*file, false, &labels, err) < 0)
            return -1;
    for (char *const *v = options_list(options, "label"); *v; v++) {
        if (!**v || **v == '=')
            return options_invalid(options, "label", *v, err, "invalid label '%s': empty name", *v);
        strv_push(&labels, *v);
    }
    json_t *map = labels ? json_object() : NULL;
    if (map)
        json_object_set_new(config, "Labels", map);
    for (size_t i = 0; labels && labels[i]; i++)
        set_pair(map, labels[i]);
    return 0;
}

static int add_streams(const struct options *options, json_t *config, struct error *err)
{
    char *const *attach = options_list(options, "attach");
    bool in = false, out = false, error = false;
    bool interactive = options_bool(options, "interactive", false),
         detach = options_bool(options, "detach", false);
    if (*attach && detach)
        return error_set(err, ERROR_INVALID,
                         "conflicting options: cannot specify both --attach and --detach");
    for (char *const *v = attach; *v; v++) {
        bool known = true;
        if (strcasecmp(*v, "stdin") == 0)
            in = true;
        else if (strcasecmp(*v, "stdout") == 0)
            out = true;
        else if (strcasecmp(*v, "stderr") == 0)
            error = true;
        else
            known = false;
        if (!known)
            return options_invalid(options, "attach", *v, err, "valid streams are STDIN, STDOUT and STDERR");
    }
    if (!*attach && !detach) {
        out = error = true;
        in = interactive;
    }
    json_set_bool(config, "AttachStdin", in);
    json_set_bool(config, "AttachStdout", out);
    json_set_bool(config, "AttachStderr", error);
    json_set_bool(config, "Tty", options_bool(options, "tty", false));
    json_set_bool(config, "OpenStdin", interactive);
    json_set_bool(config, "StdinOnce", interactive && in);
    return 0;
}

static int add_health(const struct options *options, json_t *config, struct error *err)
{
    static const struct {
        const char *option, *field;
    } numbers[] = { { "health-interval", "Interval" },
                    { "health-timeout", "Timeout" },
                    { "health-start-period", "StartPeriod" },
                    { "health-start-interval", "StartInterval" },
                    { "health-retries", "Retries" } };
    const char *command = options_string(options, "health-cmd", NULL);
    json_t *health CLEANUP(json_cleanup) = json_object();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (options_has(options, numbers[i].option))
            json_set_int(health, numbers[i].field, options_number(options, numbers[i].option, 0));
    if (command)
        json_object_set_new(health, "Test", json_pack("[s, s]", "CMD-SHELL", command));
    if (options_bool(options, "no-healthcheck", false)) {
        if (json_object_size(health))
            return error_set(err, ERROR_INVALID, "--no-healthcheck conflicts with --health-* options");
        json_object_set_new(health, "Test", json_pack("[s]", "NONE"));
    }
    if (json_object_size(health))
        json_object_set(config, "Healthcheck", health);
    return 0;
}

// A seccomp profile is a file of the client's machine: its content travels.
static int add_security(const struct options *options, json_t *host, struct error *err)
{
    json_t *list CLEANUP(json_cleanup) = json_array();
    for (char *const *v = options_list(options, "security-opt"); *v; v++) {
        const char *profile =
            str_has_prefix(*v, "seccomp=") || str_has_prefix(*v, "seccomp:") ? *v + 8 : NULL;
        if (streq(*v, "systempaths=unconfined")) {
            json_object_set_new(host, "MaskedPaths", json_array());
            json_object_set_new(host, "ReadonlyPaths", json_array());
            continue;
        }
        if (!profile || streq(profile, "unconfined") || streq(profile, "builtin")) {
            json_array_append_new(list, json_string(*v));
            continue;
        }
        struct str text CLEANUP(str_done) = STR_INIT;
        json_t *document CLEANUP(json_cleanup) = NULL;
        int r = file_read_at(AT_FDCWD, profile, LIST_FILE_MAX, &text);
        if (r < 0)
            return error_errno(err, r, "opening seccomp profile (%s) failed", profile);
        if (json_parse(text.ptr, text.len, &document, err) < 0)
            return error_wrap(err, "compacting json for seccomp profile (%s) failed", profile);
        char *compact CLEANUP(cleanup_free) = json_text(document);
        char *option CLEANUP(cleanup_free) = xasprintf("seccomp=%s", compact);
        json_array_append_new(list, json_string(option));
    }
    if (json_array_size(list))
        json_object_set(host, "SecurityOpt", list);
    return 0;
}

// Skiff's own, in a member that Docker's clients can send as well: an annotation of the container's.
static int add_unhealthy(const struct options *options, json_t *host, struct error *err)
{
    static const char *const actions[] = { "none", "restart", "stop", "kill" };
    const char *action = options_string(options, "on-unhealthy", NULL);
    if (!action)
        return 0;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (streq(action, actions[i])) {
            if (!json_get_object(host, "Annotations"))
                json_object_set_new(host, "Annotations", json_object());
            json_set_string(json_get_object(host, "Annotations"), "skiff.on-unhealthy", action);
            return 0;
        }
    return options_invalid(options, "on-unhealthy", action, err, "must be none, restart, stop or kill");
}

int create_restart_policy(const char *text, json_t **ret, struct error *err)
{
    const char *colon = strchr(text, ':');
    char *name CLEANUP(cleanup_free) = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    char *end = NULL;
    long retries = colon ? strtol(colon + 1, &end, 10) : 0;
    if (colon && (!colon[1] || *end))
        return error_set(err, ERROR_INVALID,
                         "invalid restart policy format: maximum retry count must be an integer");
    *ret = json_pack("{s:s, s:I}", "Name", *name ? name : "no", "MaximumRetryCount", (json_int_t)retries);
    return 0;
}

static int add_restart(const struct options *options, json_t *host, struct error *err)
{
    json_t *policy = NULL;
    bool removes = options_bool(options, "rm", false);
    if (create_restart_policy(options_string(options, "restart", "no"), &policy, err) < 0)
        return -1;
    json_object_set_new(host, "RestartPolicy", policy);
    if (removes && !streq(json_get_string(policy, "Name", "no"), "no"))
        return error_set(err, ERROR_INVALID, "conflicting options: cannot specify both --restart and --rm");
    if (removes)
        json_object_set_new(host, "AutoRemove", json_true());
    return 0;
}

static const struct text_field {
    const char *option, *field;
} config_texts[] = {
    { "hostname", "Hostname" }, { "domainname", "Domainname" },   { "user", "User" },
    { "workdir", "WorkingDir" }, { "stop-signal", "StopSignal" }, { NULL, NULL },
}, host_texts[] = {
    { "cgroup-parent", "CgroupParent" }, { "cgroupns", "CgroupnsMode" },
    { "cidfile", "ContainerIDFile" },    { "ipc", "IpcMode" },
    { "isolation", "Isolation" },        { "pid", "PidMode" },
    { "runtime", "Runtime" },            { "userns", "UsernsMode" },
    { "uts", "UTSMode" },                { "volume-driver", "VolumeDriver" },
    { NULL, NULL },
}, host_lists[] = {
    { "device-cgroup-rule", "DeviceCgroupRules" }, { "dns", "Dns" },
    { "dns-option", "DnsOptions" },  { "dns-opt", "DnsOptions" },
    { "dns-search", "DnsSearch" },   { "group-add", "GroupAdd" },
    { NULL, NULL },
}, host_switches[] = {
    { "init", "Init" },           { "oom-kill-disable", "OomKillDisable" },
    { "privileged", "Privileged" }, { "read-only", "ReadonlyRootfs" },
    { NULL, NULL },
};

static void add_plain(const struct options *options, json_t *config, json_t *host)
{
    for (const struct text_field *f = config_texts; f->option; f++)
        if (options_has(options, f->option))
            json_set_string(config, f->field, options_string(options, f->option, ""));
    for (const struct text_field *f = host_texts; f->option; f++)
        if (options_has(options, f->option))
            json_set_string(host, f->field, options_string(options, f->option, ""));
    for (const struct text_field *f = host_lists; f->option; f++)
        if (*options_list(options, f->option))
            json_object_set_new(host, f->field, json_from_strv(options_list(options, f->option)));
    for (const struct text_field *f = host_switches; f->option; f++)
        if (options_has(options, f->option))
            json_set_bool(host, f->field, options_bool(options, f->option, false));
    if (options_has(options, "stop-timeout"))
        json_set_int(config, "StopTimeout", options_number(options, "stop-timeout", 0));
}

// "net_admin" -> "CAP_NET_ADMIN", as Docker's client sends it; "ALL" stays.
static void add_capabilities(const struct options *options, const char *name, const char *field, json_t *host)
{
    json_t *list CLEANUP(json_cleanup) = json_array();
    for (char *const *v = options_list(options, name); *v; v++) {
        char *upper CLEANUP(cleanup_free) = xstrdup(*v);
        for (char *p = upper; *p; p++)
            *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
        bool is_whole = streq(upper, "ALL") || str_has_prefix(upper, "CAP_");
        char *full CLEANUP(cleanup_free) = xasprintf("%s%s", is_whole ? "" : "CAP_", upper);
        json_array_append_new(list, json_string(full));
    }
    if (json_array_size(list))
        json_object_set(host, field, list);
}

static int add_hosts(const struct options *options, json_t *host, struct error *err)
{
    json_t *list CLEANUP(json_cleanup) = json_array();
    for (char *const *v = options_list(options, "add-host"); *v; v++) {
        size_t n = strcspn(*v, "=:");
        if (n == 0 || !(*v)[n] || !(*v)[n + 1])
            return options_invalid(options, "add-host", *v, err, "bad format for add-host: \"%s\"", *v);
        char *entry CLEANUP(cleanup_free) = xstrdup(*v);
        entry[n] = ':';
        json_array_append_new(list, json_string(entry));
    }
    if (json_array_size(list))
        json_object_set(host, "ExtraHosts", list);
    return 0;
}

static void add_command(const struct options *options, json_t *config)
{
    char **arguments = options->arguments;
    if (arguments[1])
        json_object_set_new(config, "Cmd", json_from_strv(arguments + 1));
    if (options_has(options, "entrypoint")) // "" empties the image's
        json_object_set_new(config, "Entrypoint",
                            json_pack("[s]", options_string(options, "entrypoint", "")));
    json_set_string(config, "Image", arguments[0]);
}

static void add_console(const struct options *options, json_t *host)
{
    unsigned rows, columns;
    if (options_bool(options, "tty", false) && terminal_size(&rows, &columns))
        json_object_set_new(host, "ConsoleSize", json_pack("[i, i]", (int)rows, (int)columns));
}

json_t *create_body(const struct options *options, struct error *err)
{
    json_t *config CLEANUP(json_cleanup) = json_object();
    json_t *host = json_object(), *log = json_object();
    add_command(options, config);
    json_object_set_new(config, "HostConfig", host);
    add_plain(options, config, host);
    add_capabilities(options, "cap-add", "CapAdd", host);
    add_capabilities(options, "cap-drop", "CapDrop", host);
    add_console(options, host);
    if (add_streams(options, config, err) < 0 || create_add_environment(options, config, err) < 0 ||
        add_labels(options, config, err) < 0 || add_health(options, config, err) < 0 ||
        add_restart(options, host, err) < 0 || add_security(options, host, err) < 0 ||
        add_hosts(options, host, err) < 0 || create_add_resources(options, host, err) < 0 ||
        create_add_ports(options, config, host, err) < 0 ||
        create_add_volumes(options, config, host, err) < 0 ||
        create_add_networks(options, config, host, err) < 0 ||
        create_add_map(options, "annotation", host, "Annotations", err) < 0 ||
        add_unhealthy(options, host, err) < 0 ||
        create_add_map(options, "sysctl", host, "Sysctls", err) < 0 ||
        create_add_map(options, "storage-opt", host, "StorageOpt", err) < 0 ||
        create_add_map(options, "log-opt", log, "Config", err) < 0) {
        json_decref(log);
        return NULL;
    }
    if (options_has(options, "log-driver"))
        json_set_string(log, "Type", options_string(options, "log-driver", ""));
    if (json_object_size(log))
        json_object_set(host, "LogConfig", log);
    json_decref(log);
    return TAKE_PTR(config);
}

static int check_pull_policy(const struct options *options, struct error *err)
{
    const char *policy = options_string(options, "pull", "missing");
    if (streq(policy, "always") || streq(policy, "missing") || streq(policy, "never") || streq(policy, ""))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"",
                     policy);
}

static int pull_first(struct cli *cli, const struct options *options, const char *image, struct error *err)
{
    return pull_image(cli, image, options_string(options, "platform", NULL),
                      options_bool(options, "quiet", false), STDERR_FILENO, err);
}

// Open --cidfile before anything is made: it must not exist.
static int open_cidfile(const struct options *options, int *ret_fd, struct error *err)
{
    const char *path = options_string(options, "cidfile", NULL);
    if (!path)
        return 0;
    *ret_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (*ret_fd >= 0)
        return 0;
    if (access(path, F_OK) == 0)
        return error_set(err, ERROR_CONFLICT,
                         "container ID file found, make sure the other container isn't running or delete %s",
                         path);
    error_errno(err, errno, "failed to create the container ID file %s", path);
    return -1;
}

static void show_warnings(const json_t *answer)
{
    char **warnings CLEANUP(strv_freep) = json_get_strv(answer, "Warnings");
    for (size_t i = 0; warnings && warnings[i]; i++)
        cli_complain("WARNING: %s", warnings[i]);
}

int create_container(struct cli *cli, const struct options *options, json_t *body, char **ret_id,
                     struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    int cidfile CLEANUP(cleanup_close) = FD_NONE;
    const char *image = options->arguments[0], *policy = options_string(options, "pull", "missing");
    target_path(&target, "/containers/create");
    if (options_has(options, "name"))
        target_query(&target, "name", options_string(options, "name", ""));
    if (options_has(options, "platform"))
        target_query(&target, "platform", options_string(options, "platform", ""));
    if (check_pull_policy(options, err) < 0 || open_cidfile(options, &cidfile, err) < 0)
        return -1;
    if (streq(policy, "always") && pull_first(cli, options, image, err) < 0)
        return -1;
    int r = cli_call(cli, "POST", target.text.ptr, body, &answer, err);
    if (r < 0 && cli->client.status == 404 && strcasestr(err->message, "No such image") &&
        !streq(policy, "never")) {
        char *shown CLEANUP(cleanup_free) = pull_familiar_name(image);
        if (!options_bool(options, "quiet", false))
            cli_complain("Unable to find image '%s' locally", shown);
        if (pull_first(cli, options, image, err) < 0)
            return -1;
        r = cli_call(cli, "POST", target.text.ptr, body, &answer, err);
    }
    const char *id = json_get_string(answer, "Id", NULL);
    if (r == 0 && !id)
        return error_set(err, ERROR_INTERNAL, "the daemon created a container without an id");
    if (r < 0) {
        if (cidfile >= 0)
            (void)unlink(options_string(options, "cidfile", ""));
        return r;
    }
    show_warnings(answer);
    if (cidfile >= 0)
        (void)fd_write_all(cidfile, id, strlen(id));
    *ret_id = xstrdup(id);
    return 0;
}

static int run_create(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = create_body(options, err);
    char *id CLEANUP(cleanup_free) = NULL;
    if (!body) {
        cli_complain("%s\n\nRun 'skiff create --help' for more information", err->message);
        return EXIT_ENGINE_ERROR;
    }
    if (create_container(cli, options, body, &id, err) < 0)
        return -1;
    cli_print(cli, "%s\n", id);
    return 0;
}

const struct command command_create = { "create",
                                        "skiff container create, skiff create",
                                        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
                                        "Create a new container",
                                        create_options,
                                        1,
                                        -1,
                                        true,
                                        run_create };
