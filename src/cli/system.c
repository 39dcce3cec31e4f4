// version and info.
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"

#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

static json_t *client_version(void)
{
    struct utsname host;
    (void)uname(&host);
    bool is_amd64 = streq(host.machine, "x86_64"), is_arm64 = streq(host.machine, "aarch64");
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "Version", SKIFF_VERSION, "ApiVersion",
                     "the engine's newest", "Os", "linux", "Arch",
                     is_amd64   ? "amd64"
                     : is_arm64 ? "arm64"
                                : host.machine,
                     "Context", "default");
}

static void print_field(struct cli *cli, const char *indent, const char *label, const char *value)
{
    char named[64];
    snprintf(named, sizeof named, "%s:", label);
    if (!str_is_empty(value))
        cli_print(cli, "%s%-18s%s\n", indent, named, value);
}

static void print_client(struct cli *cli, const json_t *client)
{
    cli_print(cli, "Client:\n");
    print_field(cli, " ", "Version", json_get_string(client, "Version", ""));
    cli_print(cli, " %-18s%s/%s\n", "OS/Arch:", json_get_string(client, "Os", ""),
              json_get_string(client, "Arch", ""));
}

static void print_component(struct cli *cli, const json_t *component)
{
    const json_t *details = json_get_object(component, "Details");
    const char *api = json_get_string(details, "ApiVersion", NULL);
    cli_print(cli, " %s:\n", json_get_string(component, "Name", ""));
    print_field(cli, "  ", "Version", json_get_string(component, "Version", ""));
    if (api)
        cli_print(cli, "  %-18s%s (minimum version %s)\n", "API version:", api,
                  json_get_string(details, "MinAPIVersion", ""));
    print_field(cli, "  ", "Git commit", json_get_string(details, "GitCommit", ""));
    print_field(cli, "  ", "Built", json_get_string(details, "BuildTime", ""));
    if (json_get_string(details, "Os", NULL))
        cli_print(cli, "  %-18s%s/%s\n", "OS/Arch:", json_get_string(details, "Os", ""),
                  json_get_string(details, "Arch", ""));
    print_field(cli, "  ", "Kernel", json_get_string(details, "KernelVersion", ""));
}

static void print_server(struct cli *cli, const json_t *server)
{
    const json_t *components = json_get_array(server, "Components");
    const char *platform = json_get_string(json_get_object(server, "Platform"), "Name", "");
    cli_print(cli, "\nServer:%s%s\n", *platform ? " " : "", platform);
    for (size_t i = 0; i < json_array_size(components); i++)
        print_component(cli, json_array_get(components, i));
    if (json_array_size(components) == 0) {
        json_t *engine CLEANUP(json_cleanup) =
            json_pack("{s:s, s:s}", "Name", "Engine", "Version", json_get_string(server, "Version", ""));
        json_object_set(engine, "Details", (json_t *)(uintptr_t)server);
        print_component(cli, engine);
    }
}

static int run_version(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *server CLEANUP(json_cleanup) = NULL, *client CLEANUP(json_cleanup) = client_version();
    const char *format = options_string(options, "format", NULL);
    int r = cli_call(cli, "GET", "/version", NULL, &server, err);
    if (format) {
        json_t *both CLEANUP(json_cleanup) = json_object();
        struct error failure = *err;
        json_object_set(both, "Client", client);
        json_object_set(both, "Server", server ? server : json_null());
        if (format_document(cli, format, both, err) < 0)
            return -1;
        if (r < 0)
            *err = failure;
        return r;
    }
    print_client(cli, client);
    if (r == 0 && server)
        print_server(cli, server);
    return r;
}

static void print_joined(struct cli *cli, const char *label, char *const *values)
{
    char *text CLEANUP(cleanup_free) = strv_join(values, " ");
    if (!str_is_empty(text))
        cli_print(cli, "%s%s\n", label, text);
}

static void print_counts(struct cli *cli, const json_t *info)
{
    cli_print(cli,
              " Containers: %" PRId64 "\n  Running: %" PRId64 "\n  Paused: %" PRId64 "\n  Stopped: %" PRId64
              "\n",
              json_get_int(info, "Containers", 0), json_get_int(info, "ContainersRunning", 0),
              json_get_int(info, "ContainersPaused", 0), json_get_int(info, "ContainersStopped", 0));
    cli_print(cli, " Images: %" PRId64 "\n", json_get_int(info, "Images", 0));
}

static void print_plugins(struct cli *cli, const json_t *info)
{
    static const char *const kinds[] = { "Volume", "Network", "Authorization", "Log" };
    const json_t *plugins = json_get_object(info, "Plugins");
    if (!plugins)
        return;
    cli_print(cli, " Plugins:\n");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char **names CLEANUP(strv_freep) = json_get_strv(plugins, kinds[i]);
        char label[32];
        snprintf(label, sizeof label, "  %s: ", kinds[i]);
        print_joined(cli, label, names);
    }
}

static void print_runtimes(struct cli *cli, const json_t *info)
{
    struct str names CLEANUP(str_done) = STR_INIT;
    const char *name;
    json_t *ignored, *runtimes = json_get_object(info, "Runtimes");
    json_object_foreach(runtimes, name, ignored) str_appendf(&names, " %s", name);
    if (names.len)
        cli_print(cli, " Runtimes:%s\n", names.ptr);
}

// "name=seccomp,profile=builtin" -> seccomp, and its keys below.
static void print_security(struct cli *cli, const json_t *info)
{
    char **options CLEANUP(strv_freep) = json_get_strv(info, "SecurityOptions");
    if (!options || !options[0])
        return;
    cli_print(cli, " Security Options:\n");
    for (char **o = options; *o; o++) {
        char **parts CLEANUP(strv_freep) = strv_split(*o, ",", false);
        for (size_t i = 0; parts && parts[i]; i++) {
            char *equals = strchr(parts[i], '=');
            if (!equals || str_has_prefix(parts[i], "name=")) {
                cli_print(cli, "  %s\n", equals ? equals + 1 : parts[i]);
                continue;
            }
            *equals = '\0';
            cli_print(cli, "   %c%s: %s\n",
                      parts[i][0] >= 'a' && parts[i][0] <= 'z' ? parts[i][0] - 32 : parts[i][0], parts[i] + 1,
                      equals + 1);
        }
    }
}

struct info_line {
    const char *label, *key;
};

static void print_lines(struct cli *cli, const json_t *info, const struct info_line *lines)
{
    for (; lines->key; lines++) {
        const json_t *value = json_object_get(info, lines->key);
        if (json_is_string(value) && json_string_length(value))
            cli_print(cli, " %s: %s\n", lines->label, json_string_value(value));
        else if (json_is_integer(value))
            cli_print(cli, " %s: %lld\n", lines->label, (long long)json_integer_value(value));
        else if (json_is_boolean(value))
            cli_print(cli, " %s: %s\n", lines->label, json_is_true(value) ? "true" : "false");
    }
}

static void print_info(struct cli *cli, const json_t *info)
{
    static const struct info_line head[] = { { "Server Version", "ServerVersion" },
                                             { "Storage Driver", "Driver" },
                                             { NULL, NULL } };
    static const struct info_line drivers[] = { { "Logging Driver", "LoggingDriver" },
                                                { "Cgroup Driver", "CgroupDriver" },
                                                { "Cgroup Version", "CgroupVersion" },
                                                { NULL, NULL } };
    static const struct info_line middle[] = { { "Default Runtime", "DefaultRuntime" },
                                               { "Init Binary", "InitBinary" },
                                               { NULL, NULL } };
    static const struct info_line host[] = {
        { "Kernel Version", "KernelVersion" },
        { "Operating System", "OperatingSystem" },
        { "OSType", "OSType" },
        { "Architecture", "Architecture" },
        { "CPUs", "NCPU" },
        { NULL, NULL },
    };
    static const struct info_line tail[] = {
        { "Name", "Name" },
        { "ID", "ID" },
        { "Docker Root Dir", "DockerRootDir" },
        { "Debug Mode", "Debug" },
        { "HTTP Proxy", "HttpProxy" },
        { "HTTPS Proxy", "HttpsProxy" },
        { "No Proxy", "NoProxy" },
        { "Experimental", "ExperimentalBuild" },
        { "Live Restore Enabled", "LiveRestoreEnabled" },
        { NULL, NULL },
    };
    const json_t *status = json_get_array(info, "DriverStatus");
    char memory[HUMAN_MAX];
    print_counts(cli, info);
    print_lines(cli, info, head);
    for (size_t i = 0; i < json_array_size(status); i++) {
        const json_t *pair = json_array_get(status, i);
        const char *key = json_string_value(json_array_get(pair, 0)),
                   *value = json_string_value(json_array_get(pair, 1));
        cli_print(cli, "  %s: %s\n", key ? key : "", value ? value : "");
    }
    print_lines(cli, info, drivers);
    print_plugins(cli, info);
    print_runtimes(cli, info);
    print_lines(cli, info, middle);
    print_security(cli, info);
    print_lines(cli, info, host);
    human_size_1024((double)json_get_int(info, "MemTotal", 0), memory);
    cli_print(cli, " Total Memory: %s\n", memory);
    print_lines(cli, info, tail);
}

static void print_registries(struct cli *cli, const json_t *info)
{
    char **insecure CLEANUP(strv_freep) =
        json_get_strv(json_get_object(info, "RegistryConfig"), "InsecureRegistryCIDRs");
    if (insecure && insecure[0])
        cli_print(cli, " Insecure Registries:\n");
    for (size_t i = 0; insecure && insecure[i]; i++)
        cli_print(cli, "  %s\n", insecure[i]);
}

static int run_info(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *info CLEANUP(json_cleanup) = NULL, *client CLEANUP(json_cleanup) = client_version();
    const char *format = options_string(options, "format", NULL);
    if (cli_call(cli, "GET", "/info", NULL, &info, err) < 0)
        return -1;
    if (!json_is_object(info))
        return error_set(err, ERROR_INTERNAL, "the daemon did not describe itself");
    if (format) {
        json_object_set(info, "ClientInfo", client);
        return format_document(cli, format, info, err);
    }
    cli_print(cli, "Client:\n Version:    %s\n Debug Mode: %s\n\nServer:\n", SKIFF_VERSION,
              cli->debug ? "true" : "false");
    print_info(cli, info);
    print_registries(cli, info);
    char **warnings CLEANUP(strv_freep) = json_get_strv(info, "Warnings");
    (void)cli_flush(cli);
    for (size_t i = 0; warnings && warnings[i]; i++)
        cli_complain("%s", warnings[i]);
    return 0;
}

static const struct option format_options[] = {
    { "format", 'f', OPTION_STRING, NULL, "Format output: 'json', or a Go TEMPLATE over the document" },
    OPTION_END
};
const struct command command_version = {
    "version", NULL,  "[OPTIONS]", "Show the skiff version information", format_options, 0,
    0,         false, run_version
};
const struct command command_info = { "info",
                                      "skiff system info, skiff info",
                                      "[OPTIONS]",
                                      "Display system-wide information",
                                      format_options,
                                      0,
                                      0,
                                      false,
                                      run_info };
