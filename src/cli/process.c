// top and port: what runs in a container and where it is reached.
#include "cli/commands.h"
#include "cli/exposure.h"
#include "cli/format.h"

#include "base/mem.h"
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>

static void append_cells(struct str *text, const json_t *cells)
{
    for (size_t i = 0; i < json_array_size(cells); i++)
        str_appendf(text, "%s%s", i ? "\t" : "", json_string_value(json_array_get(cells, i)));
    str_append_char(text, '\n');
}

static int run_top(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    struct str text CLEANUP(str_done) = STR_INIT;
    char *ps CLEANUP(cleanup_free) = strv_join(options->arguments + 1, " ");
    target_path(&target, "/containers/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/top");
    if (!str_is_empty(ps))
        target_query(&target, "ps_args", ps);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    const json_t *processes = json_get_array(answer, "Processes");
    append_cells(&text, json_get_array(answer, "Titles"));
    for (size_t i = 0; i < json_array_size(processes); i++)
        append_cells(&text, json_array_get(processes, i));
    format_align(&cli->out, text.ptr, 20);
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    long n = strtol(x, NULL, 10), m = strtol(y, NULL, 10);
    return n != m ? (n < m ? -1 : 1) : strcmp(x, y);
}

// chains NULL: as Docker prints it, without the exposure.
static void print_bindings(struct cli *cli, const char *key, const json_t *bindings, const json_t *chains)
{
    for (size_t i = 0; i < json_array_size(bindings); i++) {
        const json_t *binding = json_array_get(bindings, i);
        const char *ip = json_get_string(binding, "HostIp", "");
        bool is_v6 = strchr(ip, ':') != NULL;
        if (key)
            cli_print(cli, "%s -> ", key);
        char *exposure CLEANUP(cleanup_free) = chains ? exposure_of(ip, chains) : xstrdup("");
        cli_print(cli, "%s%s%s:%s%s%s\n", is_v6 ? "[" : "", ip, is_v6 ? "]" : "",
                  json_get_string(binding, "HostPort", ""), chains ? "  " : "", exposure);
    }
}

static int run_port(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *document CLEANUP(json_cleanup) = NULL, *bindings;
    const char *name = options->arguments[0], *wanted = options->arguments[1], *key;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/json");
    if (cli_call(cli, "GET", target.text.ptr, NULL, &document, err) < 0)
        return -1;
    json_t *chains CLEANUP(json_cleanup) = NULL;
    if (options_bool(options, "exposure", false) && exposure_chains(cli, &chains, err) < 0)
        return -1;
    json_t *ports = json_get_object(json_get_object(document, "NetworkSettings"), "Ports");
    if (wanted) {
        char *full CLEANUP(cleanup_free) =
            strchr(wanted, '/') ? xstrdup(wanted) : xasprintf("%s/tcp", wanted);
        bindings = json_get_array(ports, full);
        if (!bindings || json_array_size(bindings) == 0)
            return error_set(err, ERROR_NOT_FOUND, "Error: No public port '%s' published for %s", wanted,
                             name);
        print_bindings(cli, NULL, bindings, chains);
        return 0;
    }
    const char **keys CLEANUP(cleanup_free) = xcalloc(json_object_size(ports) + 1, sizeof *keys);
    size_t n = 0;
    json_object_foreach(ports, key, bindings) keys[n++] = key;
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++)
        print_bindings(cli, keys[i], json_object_get(ports, keys[i]), chains);
    return 0;
}

const struct command command_top = { "top",
                                     "skiff container top, skiff top",
                                     "CONTAINER [ps OPTIONS]",
                                     "Display the running processes of a container",
                                     NULL,
                                     1,
                                     -1,
                                     true,
                                     run_top };
static const struct option port_options[] = {
    { "exposure", 0, OPTION_BOOL, NULL, "Say from where each port can be reached" },
    OPTION_END,
};
const struct command command_port = { "port",
                                      "skiff container port, skiff port",
                                      "[OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]",
                                      "List port mappings or a specific mapping for the container",
                                      port_options,
                                      1,
                                      2,
                                      false,
                                      run_port };
