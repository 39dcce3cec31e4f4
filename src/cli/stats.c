// skiff stats. Theory of operation: every round asks, on the one connection that all calls share, for the list (unless
// containers are named) and for one sample of each container, and compares it with the round before; so containers
// that come and go need no bookkeeping, and the engine reads each container's files once a round.
#include "cli/stats.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/rows.h"

#include "base/mem.h"
#include "codec/json.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROUND_MS = 1000 };

static const struct format_column fields[] = {
    { "Container", "CONTAINER" },
    { "ID", "CONTAINER ID" },
    { "Name", "NAME" },
    { "CPUPerc", "CPU %" },
    { "MemUsage", "MEM USAGE / LIMIT" },
    { "MemPerc", "MEM %" },
    { "NetIO", "NET I/O" },
    { "BlockIO", "BLOCK I/O" },
    { "PIDs", "PIDS" },
    { NULL, NULL },
};

static double number(const json_t *object, const char *key)
{
    return (double)json_get_int(object, key, 0);
}

double stats_cpu_percent(const json_t *now, const json_t *before)
{
    const json_t *cpu = json_get_object(now, "cpu_stats"), *last = json_get_object(before, "cpu_stats");
    double used = number(json_get_object(cpu, "cpu_usage"), "total_usage") -
                  number(json_get_object(last, "cpu_usage"), "total_usage");
    double all = number(cpu, "system_cpu_usage") - number(last, "system_cpu_usage");
    double online = number(cpu, "online_cpus");
    return used > 0 && all > 0 ? used / all * online * 100 : 0;
}

double stats_memory_used(const json_t *now)
{
    const json_t *memory = json_get_object(now, "memory_stats"), *values = json_get_object(memory, "stats");
    double usage = number(memory, "usage");
    // What the kernel gives back as soon as somebody asks is not used: v1 has it for the whole tree.
    double idle = number(values, json_object_get(values, "total_inactive_file") ? "total_inactive_file"
                                                                                : "inactive_file");
    return idle < usage ? usage - idle : usage;
}

static char *pair_text(double in, double out)
{
    char left[HUMAN_MAX], right[HUMAN_MAX];
    human_size(in, 3, left);
    human_size(out, 3, right);
    return xasprintf("%s / %s", left, right);
}

static char *network_text(const json_t *now)
{
    double in = 0, out = 0;
    const char *name;
    json_t *counters;
    json_object_foreach(json_get_object(now, "networks"), name, counters)
    {
        in += number(counters, "rx_bytes");
        out += number(counters, "tx_bytes");
    }
    return pair_text(in, out);
}

static char *block_text(const json_t *now)
{
    double in = 0, out = 0;
    size_t i;
    json_t *entry;
    json_array_foreach(json_get_array(json_get_object(now, "blkio_stats"), "io_service_bytes_recursive"), i,
                       entry)
    {
        char op = json_get_string(entry, "op", " ")[0];
        in += op == 'r' || op == 'R' ? number(entry, "value") : 0;
        out += op == 'w' || op == 'W' ? number(entry, "value") : 0;
    }
    return pair_text(in, out);
}

static void set_owned(json_t *row, const char *key, char *text)
{
    json_set_string(row, key, text);
    free(text);
}

static json_t *row_of(const char *asked, const json_t *now, const json_t *before, bool truncates)
{
    json_t *row = json_object();
    const json_t *memory = json_get_object(now, "memory_stats");
    const char *name = json_get_string(now, "name", "");
    char used[HUMAN_MAX], limit[HUMAN_MAX];
    double bytes = stats_memory_used(now), most = number(memory, "limit");
    human_size_1024(bytes, used);
    human_size_1024(most, limit);
    set_owned(row, "ID", rows_id(json_get_string(now, "id", ""), truncates));
    json_set_string(row, "Container", asked);
    json_set_string(row, "Name", *name == '/' ? name + 1 : name);
    set_owned(row, "CPUPerc", before ? xasprintf("%.2f%%", stats_cpu_percent(now, before)) : xstrdup("--"));
    set_owned(row, "MemUsage", xasprintf("%s / %s", used, limit));
    set_owned(row, "MemPerc", xasprintf("%.2f%%", most > 0 ? bytes / most * 100 : 0));
    set_owned(row, "NetIO", network_text(now));
    set_owned(row, "BlockIO", block_text(now));
    set_owned(row, "PIDs",
              xasprintf("%lld", (long long)json_get_int(json_get_object(now, "pids_stats"), "current", 0)));
    return row;
}

// --- rounds
struct rounds {
    struct cli *cli;
    char *const *named; // NULL: all that run
    bool wants_all, truncates;
    json_t *before; // id -> document of the last round
};

static int names_of_round(struct rounds *rounds, char ***ret, struct error *err)
{
    json_t *list CLEANUP(json_cleanup) = NULL;
    if (rounds->named) {
        *ret = strv_copy(rounds->named);
        return 0;
    }
    if (cli_call(rounds->cli, "GET", rounds->wants_all ? "/containers/json?all=1" : "/containers/json", NULL,
                 &list, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++)
        strv_push(ret, json_get_string(json_array_get(list, i), "Id", ""));
    return 0;
}

// One sample of each. A container that went away between list and sample has no row; a named one that is not there fails.
static int take_round(struct rounds *rounds, json_t *rows, struct error *err)
{
    char **names CLEANUP(strv_freep) = NULL;
    json_t *seen = json_object();
    int r = names_of_round(rounds, &names, err);
    for (size_t i = 0; r == 0 && names && names[i]; i++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        json_t *now CLEANUP(json_cleanup) = NULL;
        target_path(&target, "/containers/");
        target_name(&target, names[i]);
        target_path(&target, "/stats?stream=0&one-shot=1");
        r = cli_call(rounds->cli, "GET", target.text.ptr, NULL, &now, err);
        if (r < 0 && !rounds->named && rounds->cli->client.status == 404) {
            r = 0;
            continue;
        }
        const char *id = json_get_string(now, "id", names[i]);
        char *asked CLEANUP(cleanup_free) =
            rounds->named ? xstrdup(names[i]) : rows_id(id, rounds->truncates);
        if (r == 0) {
            json_array_append_new(rows,
                                  row_of(asked, now, json_get_object(rounds->before, id), rounds->truncates));
            json_object_set(seen, id, now);
        }
    }
    json_decref(rounds->before);
    rounds->before = seen;
    return r;
}

// Over the last table: home, each line cleared to its end, then the rest of the screen.
static void put_in_place(struct cli *cli)
{
    struct str screen = STR_INIT;
    str_append(&screen, "\033[H");
    for (const char *p = cli->out.ptr; *p; p++) {
        if (*p == '\n')
            str_append(&screen, "\033[K");
        str_append_char(&screen, *p);
    }
    str_append(&screen, "\033[J");
    str_done(&cli->out);
    cli->out = screen;
}

static int show(struct cli *cli, const struct options *options, const json_t *rows, bool is_live,
                struct error *err)
{
    static const char *const columns[] = { "ID",    "Name",    "CPUPerc", "MemUsage", "MemPerc",
                                           "NetIO", "BlockIO", "PIDs",    NULL };
    if (format_rows(cli, options_string(options, "format", NULL), rows, fields, columns, err) < 0)
        return -1;
    if (is_live)
        put_in_place(cli);
    int r = cli_flush(cli);
    return r < 0 ? error_errno(err, r, "write") : 0;
}

static int run_stats(struct cli *cli, const struct options *options, struct error *err)
{
    bool is_one = options_bool(options, "no-stream", false), is_live = !is_one && isatty(STDOUT_FILENO);
    struct rounds rounds = { .cli = cli,
                             .named = strv_len(options->arguments) ? options->arguments : NULL,
                             .wants_all = options_bool(options, "all", false),
                             .truncates = !options_bool(options, "no-trunc", false) };
    int r = 0;
    if (is_live)
        cli_print(cli, "\033[2J");
    for (unsigned round = 0; r == 0; round++) {
        json_t *rows CLEANUP(json_cleanup) = json_array();
        if (round > 0)
            (void)poll(NULL, 0, ROUND_MS);
        r = take_round(&rounds, rows, err);
        if (r == 0 && (!is_one || round > 0))
            r = show(cli, options, rows, is_live, err);
        if (is_one && round > 0)
            break;
    }
    json_decref(rounds.before);
    return r;
}

static const struct option stats_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Show all containers (default shows just running)" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .Container .ID "
      ".Name "
      ".CPUPerc .MemUsage .MemPerc .NetIO .BlockIO .PIDs" },
    { "no-stream", 0, OPTION_BOOL, NULL, "Disable streaming stats and only pull the first result" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Do not truncate output" },
    OPTION_END,
};
const struct command command_stats = { "stats",
                                       "skiff container stats, skiff stats",
                                       "[OPTIONS] [CONTAINER...]",
                                       "Display a live stream of container(s) resource usage statistics",
                                       stats_options,
                                       0,
                                       -1,
                                       false,
                                       run_stats };
