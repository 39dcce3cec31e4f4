// skiff stats. Theory of operation: of all containers the engine sends one pass a second in one stream. For named ones every
// round asks, on the one connection that all calls share, for one sample of each. Each sample is compared with the round
// before; so containers that come and go need no bookkeeping, and the engine reads each container's files once a round.
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
    const struct options *options;
    struct error *err;
    bool is_one, is_live, truncates;
    unsigned count;       // of those that are over
    json_t *before, *now; // id -> document, of the last round and of this one
    json_t *rows;         // of this one
};

static void add_sample(struct rounds *rounds, const char *asked, json_t *sample)
{
    const char *id = json_get_string(sample, "id", asked);
    const json_t *before = json_get_object(rounds->before, id);
    json_array_append_new(rounds->rows, row_of(asked, sample, before, rounds->truncates));
    json_object_set(rounds->now, id, sample);
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

// 1: that was the last one. Processor time has to be compared, so that of --no-stream is the second.
static int end_round(struct rounds *rounds)
{
    bool is_last = rounds->is_one && rounds->count > 0;
    int r = 0;
    if (!rounds->is_one || is_last)
        r = show(rounds->cli, rounds->options, rounds->rows, rounds->is_live, rounds->err);
    rounds->count++;
    json_array_clear(rounds->rows);
    json_decref(rounds->before);
    rounds->before = rounds->now;
    rounds->now = json_object();
    return r < 0 ? r : is_last;
}

static int take_named_round(struct rounds *rounds)
{
    for (char **name = rounds->options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        json_t *sample CLEANUP(json_cleanup) = NULL;
        target_path(&target, "/containers/");
        target_name(&target, *name);
        target_path(&target, "/stats?stream=0&one-shot=1");
        if (cli_call(rounds->cli, "GET", target.text.ptr, NULL, &sample, rounds->err) < 0)
            return -1;
        add_sample(rounds, *name, sample);
    }
    return end_round(rounds);
}

static int follow_named(struct rounds *rounds)
{
    int r;
    while ((r = take_named_round(rounds)) == 0)
        (void)poll(NULL, 0, ROUND_MS);
    return r < 0 ? r : 0;
}

// A pass over all containers ends with an empty object.
static int take_document(void *context, json_t *sample)
{
    struct rounds *rounds = context;
    const char *id = json_get_string(sample, "id", NULL);
    if (!id)
        return end_round(rounds);
    char *asked CLEANUP(cleanup_free) = rows_id(id, rounds->truncates);
    add_sample(rounds, asked, sample);
    return 0;
}

static int follow_all(struct rounds *rounds)
{
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    bool wants_all = options_bool(rounds->options, "all", false);
    int r = cli_connect(rounds->cli, rounds->err);
    if (r == 0)
        r = client_stream_open(&rounds->cli->client, "GET",
                               wants_all ? "/containers/stats?all=1" : "/containers/stats", NULL, NULL,
                               &stream, rounds->err);
    if (r == 0)
        r = client_each_document(stream.body, take_document, rounds, rounds->err);
    return r < 0 ? r : 0;
}

static int run_stats(struct cli *cli, const struct options *options, struct error *err)
{
    bool is_one = options_bool(options, "no-stream", false);
    struct rounds rounds = { .cli = cli,
                             .options = options,
                             .err = err,
                             .is_one = is_one,
                             .is_live = !is_one && isatty(STDOUT_FILENO),
                             .truncates = !options_bool(options, "no-trunc", false),
                             .now = json_object(),
                             .rows = json_array() };
    if (rounds.is_live)
        cli_print(cli, "\033[2J");
    int r = strv_len(options->arguments) ? follow_named(&rounds) : follow_all(&rounds);
    json_decref(rounds.before);
    json_decref(rounds.now);
    json_decref(rounds.rows);
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
