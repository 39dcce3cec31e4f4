// Theory of operation
//
// `skiff [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]`. Everything is found in tables: the command by its
// name, its options by its option table; the same tables print the help. Exit codes are Docker's: 125 for a
// bad option and for an engine that refused run, 1 for other failures; a container's own code passes through.
#include "cli/cli.h"

#include "base/fd.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "codec/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_HOST "unix:///run/skiff/skiff.sock"

static const struct command *const common[] = { &command_run,  &command_exec,   &command_ps,
                                                &command_pull, &command_images, &command_version,
                                                &command_info };
static const struct command *const others[] = {
    &command_attach,  &command_commit,  &command_cp,     &command_create,  &command_diff, &command_events,
    &command_export,  &command_history, &command_import, &command_inspect, &command_kill, &command_load,
    &command_login,   &command_logout,  &command_logs,   &command_pause,   &command_port, &command_push,
    &command_rename,  &command_restart, &command_rm,     &command_rmi,     &command_save, &command_scale,
    &command_search,  &command_start,   &command_stats,  &command_stop,    &command_tag,  &command_top,
    &command_unpause, &command_update,  &command_wait,
};

struct member {
    const char *name;
    const struct command *command;
};
static const struct member container_members[] = {
    { "attach", &command_attach },
    { "commit", &command_commit },
    { "cp", &command_cp },
    { "create", &command_create },
    { "diff", &command_diff },
    { "exec", &command_exec },
    { "export", &command_export },
    { "inspect", &command_container_inspect },
    { "kill", &command_kill },
    { "logs", &command_logs },
    { "ls", &command_ps },
    { "pause", &command_pause },
    { "port", &command_port },
    { "prune", &command_container_prune },
    { "rename", &command_rename },
    { "restart", &command_restart },
    { "rm", &command_rm },
    { "run", &command_run },
    { "start", &command_start },
    { "stats", &command_stats },
    { "stop", &command_stop },
    { "top", &command_top },
    { "unpause", &command_unpause },
    { "update", &command_update },
    { "wait", &command_wait },
    { "list", &command_ps },
    { "ps", &command_ps },
    { "remove", &command_rm },
    { NULL, NULL },
};
static const struct member image_members[] = {
    { "dedup", &command_image_dedup },
    { "diff", &command_image_diff },
    { "flatten", &command_image_flatten },
    { "gc", &command_image_gc },
    { "history", &command_history },
    { "import", &command_import },
    { "inspect", &command_image_inspect },
    { "load", &command_load },
    { "ls", &command_images },
    { "prune", &command_image_prune },
    { "pull", &command_pull },
    { "push", &command_push },
    { "rm", &command_rmi },
    { "save", &command_save },
    { "tag", &command_tag },
    { "list", &command_images },
    { "remove", &command_rmi },
    { NULL, NULL },
};
static const struct member artifact_members[] = { { "attach", &command_artifact_attach },
                                                  { "ls", &command_artifact_ls },
                                                  { "pull", &command_artifact_pull },
                                                  { "list", &command_artifact_ls },
                                                  { NULL, NULL } };
static const struct member manifest_members[] = { { "annotate", &command_manifest_annotate },
                                                  { "create", &command_manifest_create },
                                                  { "inspect", &command_manifest_inspect },
                                                  { "push", &command_manifest_push },
                                                  { "rm", &command_manifest_rm },
                                                  { NULL, NULL } };
static const struct member network_members[] = {
    { "connect", &command_network_connect },
    { "create", &command_network_create },
    { "disconnect", &command_network_disconnect },
    { "inspect", &command_network_inspect },
    { "ls", &command_network_ls },
    { "prune", &command_network_prune },
    { "rm", &command_network_rm },
    { "list", &command_network_ls },
    { "remove", &command_network_rm },
    { NULL, NULL },
};
static const struct member system_members[] = {
    { "df", &command_system_df }, { "events", &command_events },      { "fsck", &command_system_fsck },
    { "info", &command_info },    { "prune", &command_system_prune }, { NULL, NULL }
};
static const struct member volume_members[] = { { "clone", &command_volume_clone },
                                                { "create", &command_volume_create },
                                                { "inspect", &command_volume_inspect },
                                                { "ls", &command_volume_ls },
                                                { "prune", &command_volume_prune },
                                                { "rename", &command_volume_rename },
                                                { "rm", &command_volume_rm },
                                                { "list", &command_volume_ls },
                                                { "remove", &command_volume_rm },
                                                { "restore", &command_volume_restore },
                                                { "snapshot", &command_volume_snapshot },
                                                { "snapshots", &command_volume_snapshots },
                                                { "update", &command_volume_update },
                                                { NULL, NULL } };
static const struct group {
    const char *name, *summary;
    const struct member *members;
} groups[] = {
    { "artifact", "Manage what is attached to images", artifact_members },
    { "container", "Manage containers", container_members },
    { "image", "Manage images", image_members },
    { "manifest", "Manage image manifests and manifest lists", manifest_members },
    { "network", "Manage networks", network_members },
    { "system", "Manage skiff", system_members },
    { "volume", "Manage volumes", volume_members },
};

static const struct option global_options[] = {
    { "debug", 'D', OPTION_BOOL, NULL, "Say more when something goes wrong" },
    { "host", 'H', OPTION_STRING, "string",
      "Engine to talk to: unix:///path or tcp://host:port (default: SKIFF_HOST, DOCKER_HOST, " DEFAULT_HOST
      ")" },
    { "version", 'v', OPTION_BOOL, NULL, "Print version information and quit" },
    { "config", 0, OPTION_STRING, NULL,
      "Directory of config.json with registry credentials (default: DOCKER_CONFIG, ~/.docker)" },
    { "context", 'c', OPTION_STRING, NULL, "" }, // accepted for scripts written for Docker
    { "log-level", 'l', OPTION_STRING, NULL, "" },
    OPTION_END,
};

void cli_print(struct cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    str_vappendf(&cli->out, fmt, ap);
    va_end(ap);
    if (cli->out.len > 64 * 1024)
        (void)cli_flush(cli);
}

int cli_flush(struct cli *cli)
{
    int r = cli->out.len ? fd_write_all(STDOUT_FILENO, cli->out.ptr, cli->out.len) : 0;
    str_clear(&cli->out);
    return r;
}

void cli_complain(const char *fmt, ...)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    va_list ap;
    va_start(ap, fmt);
    str_vappendf(&text, fmt, ap);
    va_end(ap);
    str_append_char(&text, '\n');
    (void)fd_write_all(STDERR_FILENO, text.ptr, text.len);
}

static void print_commands(struct str *out, const char *title, const struct command *const *list, size_t n)
{
    str_appendf(out, "\n%s:\n", title);
    for (size_t i = 0; i < n; i++)
        str_appendf(out, "  %-12s%s\n", list[i]->name, list[i]->summary);
}

static void print_help(struct cli *cli)
{
    struct str *out = &cli->out;
    str_append(out, "Usage:  skiff [OPTIONS] COMMAND\n\nRuns containers: the client of the skiff engine\n");
    print_commands(out, "Common Commands", common, sizeof common / sizeof *common);
    str_append(out, "\nManagement Commands:\n");
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        str_appendf(out, "  %-12s%s\n", groups[i].name, groups[i].summary);
    print_commands(out, "Commands", others, sizeof others / sizeof *others);
    str_append(out, "\nGlobal Options:\n");
    help_options(out, global_options, help_columns());
    str_append(out,
               "\nEnvironment:\n  SKIFF_HOST, DOCKER_HOST   The engine to talk to when --host is not given\n"
               "\nRun 'skiff COMMAND --help' for more information on a command.\n");
}

static void print_group_help(struct cli *cli, const struct group *group)
{
    cli_print(cli, "Usage:  skiff %s COMMAND\n\n%s\n\nCommands:\n", group->name, group->summary);
    for (const struct member *m = group->members; m->name; m++)
        cli_print(cli, "  %-12s%s\n", m->name, m->command->summary);
    cli_print(cli, "\nRun 'skiff %s COMMAND --help' for more information on a command.\n", group->name);
}

static bool count_is_fine(const struct command *command, const char *path, size_t n)
{
    int min = command->min_arguments, max = command->max_arguments;
    if ((int)n >= min && (max < 0 || (int)n <= max))
        return true;
    const char *word = "See";
    char wants[64];
    if (max == 0)
        snprintf(wants, sizeof wants, "accepts no arguments");
    else if (min == max)
        snprintf(wants, sizeof wants, "requires %d argument%s", min, min == 1 ? "" : "s");
    else if ((int)n < min)
        snprintf(wants, sizeof wants, "requires at least %d argument%s", min, min == 1 ? "" : "s");
    else
        snprintf(wants, sizeof wants, "requires at most %d argument%s", max, max == 1 ? "" : "s");
    if (max == 0 || min == max)
        word = "Run";
    cli_complain("skiff: 'skiff %s' %s\n\nUsage:  skiff %s %s\n\n%s 'skiff %s --help' for more information",
                 path, wants, path, command->arguments, word, path);
    return false;
}

static int run_command(struct cli *cli, const struct command *command, const char *group, char *const *argv)
{
    struct options options CLEANUP(options_done) = { 0 };
    struct error err = { 0 };
    bool help;
    char *path CLEANUP(cleanup_free) =
        xasprintf("%s%s%s", group ? group : "", group ? " " : "", command->name);
    if (options_parse(&options, command->options, argv, command->stops_at_argument, &help, &err) < 0) {
        cli_complain("%s\n\nUsage:  skiff %s %s\n\nRun 'skiff %s --help' for more information", err.message,
                     path, command->arguments, path);
        return EXIT_ENGINE_ERROR;
    }
    if (help) {
        help_command(&cli->out, command, group, help_columns());
        return 0;
    }
    if (!count_is_fine(command, path, strv_len(options.arguments)))
        return 1;
    int code = command->run(cli, &options, &err);
    if (code >= 0)
        return code;
    (void)cli_flush(cli);
    cli_complain("%s", err.message);
    return 1;
}

static int run_group(struct cli *cli, const struct group *group, char *const *argv)
{
    if (!argv[0] || streq(argv[0], "--help") || streq(argv[0], "-h")) {
        print_group_help(cli, group);
        return 0;
    }
    for (const struct member *m = group->members; m->name; m++)
        if (streq(m->name, argv[0])) {
            struct command named = *m->command;
            named.name = m->name;
            return run_command(cli, &named, group->name, argv + 1);
        }
    cli_complain(
        "skiff: unknown command: skiff %s %s\n\nUsage:  skiff %s COMMAND\n\nRun 'skiff %s --help' for more "
        "information",
        group->name, argv[0], group->name, group->name);
    return 1;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (streq(common[i]->name, name))
            return common[i];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (streq(others[i]->name, name))
            return others[i];
    return NULL;
}

static int dispatch(struct cli *cli, char *const *arguments)
{
    const char *name = arguments[0];
    if (streq(name, "help"))
        return arguments[1] ? dispatch(cli, (char *const[]){ arguments[1], (char[]){ "--help" }, NULL })
                            : (print_help(cli), 0);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (streq(groups[i].name, name))
            return run_group(cli, &groups[i], arguments + 1);
    const struct command *command = find_command(name);
    if (command)
        return run_command(cli, command, NULL, arguments + 1);
    cli_complain("skiff: unknown command: skiff %s\n\nRun 'skiff --help' for more information", name);
    return 1;
}

static const char *environment_host(void)
{
    static const char *const names[] = { "SKIFF_HOST", "DOCKER_HOST" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (!str_is_empty(value))
            return value;
    }
    return NULL;
}

int cli_main(int argc, char **argv)
{
    struct options globals CLEANUP(options_done) = { 0 };
    struct error err = { 0 };
    bool help;
    (void)argc;
    if (options_parse(&globals, global_options, argv + 1, true, &help, &err) < 0) {
        cli_complain("%s\n\nUsage:  skiff [OPTIONS] COMMAND\n\nRun 'skiff --help' for more information",
                     err.message);
        return EXIT_ENGINE_ERROR;
    }
    const char *host = options_string(&globals, "host", environment_host());
    struct cli cli = { .host = host ? host : DEFAULT_HOST,
                       .host_is_default = !host,
                       .config_directory = options_string(&globals, "config", NULL),
                       .debug = options_bool(&globals, "debug", false),
                       .out = STR_INIT };
    client_init(&cli.client, cli.host);
    int code = 0;
    if (options_bool(&globals, "version", false))
        cli_print(&cli, "skiff version %s\n", SKIFF_VERSION);
    else if (help || !globals.arguments)
        print_help(&cli);
    else
        code = dispatch(&cli, globals.arguments);
    if (cli_flush(&cli) < 0 && code == 0)
        code = 1;
    client_done(&cli.client);
    str_done(&cli.out);
    return code;
}
