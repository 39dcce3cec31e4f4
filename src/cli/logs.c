#include "cli/commands.h"
#include "cli/frames.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

static int container_has_tty(struct cli *cli, const char *name, bool *ret, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *document CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/json");
    if (cli_call(cli, "GET", target.text.ptr, NULL, &document, err) < 0)
        return -1;
    *ret = json_get_bool(json_get_object(document, "Config"), "Tty", false);
    return 0;
}

static void build_target(struct target *target, const struct options *options)
{
    target_path(target, "/containers/");
    target_name(target, options->arguments[0]);
    target_path(target, "/logs?stdout=1&stderr=1");
    target->has_query = true;
    if (options_bool(options, "follow", false))
        target_query(target, "follow", "1");
    if (options_bool(options, "timestamps", false))
        target_query(target, "timestamps", "1");
    if (options_bool(options, "details", false))
        target_query(target, "details", "1");
    static const char *const times[] = { "since", "until" };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (options_has(options, times[i]))
            target_query_time(target, times[i], options_string(options, times[i], ""));
    if (options_has(options, "tail"))
        target_query(target, "tail", options_string(options, "tail", ""));
}

static int clear_logs(struct cli *cli, const char *name, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/logs");
    return cli_call(cli, "DELETE", target.text.ptr, NULL, NULL, err);
}

static int run_logs(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    struct frames frames = { 0 };
    char bytes[32768];
    bool is_raw;
    if (options_bool(options, "clear", false))
        return clear_logs(cli, options->arguments[0], err);
    build_target(&target, options);
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "GET", target.text.ptr, NULL, NULL, &stream, err) < 0)
        return -1;
    if (strstr(stream.content_type, "multiplexed-stream")) // engines older than API 1.42 do not say
        is_raw = false;
    else if (container_has_tty(cli, options->arguments[0], &is_raw, err) < 0)
        return -1;
    for (;;) {
        ssize_t n = stream.body.read(stream.body.context, bytes, sizeof bytes);
        if (n < 0)
            return error_errno(err, (int)n, "read the logs");
        if (n == 0)
            return 0;
        int r =
            is_raw ? frames_write(1, bytes, (size_t)n) : frames_show(&frames, bytes, (size_t)n, frames_write);
        if (r < 0)
            return error_errno(err, r, "write the logs");
    }
}

static const struct option logs_options[] = {
    { "clear", 0, OPTION_BOOL, NULL, "Forget the output so far instead of showing it" },
    { "details", 0, OPTION_BOOL, NULL, "Show extra details provided to logs" },
    { "follow", 'f', OPTION_BOOL, NULL, "Follow log output" },
    { "since", 0, OPTION_STRING, NULL,
      "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)" },
    { "tail", 'n', OPTION_STRING, NULL,
      "Number of lines to show from the end of the logs (default \"all\")" },
    { "timestamps", 't', OPTION_BOOL, NULL, "Show timestamps" },
    { "until", 0, OPTION_STRING, NULL,
      "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 "
      "minutes)" },
    OPTION_END,
};
const struct command command_logs = { "logs",
                                      "skiff container logs, skiff logs",
                                      "[OPTIONS] CONTAINER",
                                      "Fetch the logs of a container",
                                      logs_options,
                                      1,
                                      1,
                                      false,
                                      run_logs };
