#include "cli/commands.h"
#include "cli/template.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/template_funcs.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct watch {
    struct cli *cli;
    struct template *template;
    bool is_json;
    struct error *err;
};

static void append_line(struct str *out, const json_t *event)
{
    const json_t *actor = json_get_object(event, "Actor"), *attributes = json_get_object(actor, "Attributes");
    char time[TIME_TEXT_MAX];
    time_format_local(json_get_int(event, "timeNano", json_get_int(event, "time", 0) * NS_PER_S), 9, time);
    str_appendf(out, "%s %s %s %s", time, json_get_string(event, "Type", ""),
                json_get_string(event, "Action", ""), json_get_string(actor, "ID", ""));
    if (json_object_size(attributes)) {
        const char **keys CLEANUP(cleanup_free) = template_sorted_keys(attributes);
        for (size_t i = 0; keys[i]; i++)
            str_appendf(out, "%s%s=%s", i ? ", " : " (", keys[i], json_get_string(attributes, keys[i], ""));
        str_append(out, ")");
    }
}

static int show_event(void *context, json_t *event)
{
    struct watch *watch = context;
    struct str line CLEANUP(str_done) = STR_INIT;
    if (watch->is_json)
        template_append_json(&line, event, false, false);
    else if (!watch->template)
        append_line(&line, event);
    else if (template_execute(watch->template, (struct template_data){ .root = event }, &line, watch->err) <
             0)
        return -1;
    cli_print(watch->cli, "%s\n", line.ptr);
    int r = cli_flush(watch->cli);
    return r < 0 ? error_errno(watch->err, r, "write") : 0;
}

static int run_events(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    const char *format = options_string(options, "format", NULL);
    struct watch watch = { .cli = cli, .is_json = streq(format, "json"), .err = err };
    if (!filters)
        return -1;
    target_path(&target, "/events");
    if (options_has(options, "since"))
        target_query_time(&target, "since", options_string(options, "since", ""));
    if (options_has(options, "until"))
        target_query_time(&target, "until", options_string(options, "until", ""));
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    if (!str_is_empty(format) && !watch.is_json && template_parse(format, &watch.template, err) < 0)
        return -1;
    int r = cli_connect(cli, err);
    if (r == 0)
        r = client_stream_open(&cli->client, "GET", target.text.ptr, NULL, NULL, &stream, err);
    if (r == 0)
        r = client_each_document(stream.body, show_event, &watch, err);
    template_free(watch.template);
    return r;
}

static const struct option events_options[] = {
    { "filter", 'f', OPTION_LIST, "filter", "Filter output based on conditions provided (key=value)" },
    { "format", 0, OPTION_STRING, NULL, "Format output: 'json', or a Go TEMPLATE over the event" },
    { "since", 0, OPTION_STRING, NULL, "Show all events created since timestamp" },
    { "until", 0, OPTION_STRING, NULL, "Stream events until this timestamp" },
    OPTION_END,
};
const struct command command_events = { "events",
                                        "skiff system events, skiff events",
                                        "[OPTIONS]",
                                        "Get real time events from the server",
                                        events_options,
                                        0,
                                        0,
                                        false,
                                        run_events };
