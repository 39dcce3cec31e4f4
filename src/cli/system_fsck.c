// skiff system fsck.
#include "cli/commands.h"
#include "cli/human.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct fsck_view {
    struct cli *cli;
    bool is_json, has_bar; // a bar: standard error is a terminal
    int64_t begun_ns, bytes, findings, repaired;
    bool is_complete;
    struct error *err;
};

// The bar is wiped before anything else is printed.
static void wipe_bar(const struct fsck_view *v)
{
    static const char wipe[] = "\r\x1b[2K";
    if (v->has_bar)
        (void)fd_write_all(STDERR_FILENO, wipe, sizeof wipe - 1);
}

static void show_bar(const struct fsck_view *v, int64_t bytes, int64_t total)
{
    static const char equals[] = "==================================================";
    struct str bar CLEANUP(str_done) = STR_INIT;
    char now[HUMAN_MAX], all[HUMAN_MAX], speed[HUMAN_MAX];
    double seconds = (double)(time_monotonic_ns() - v->begun_ns) / NS_PER_S;
    int done = total > 0 ? (int)((double)bytes / (double)total * 50) : 50;
    if (!v->has_bar)
        return;
    human_size((double)bytes, 4, now);
    human_size((double)total, 4, all);
    human_size(seconds > 0 ? (double)bytes / seconds : 0, 3, speed);
    str_appendf(&bar, "\r\x1b[2KVerifying [%.*s%s%*s] %s/%s  %s/s", done, equals, done < 50 ? ">" : "",
                done < 50 ? 49 - done : 0, "", now, all, speed);
    (void)fd_write_all(STDERR_FILENO, bar.ptr, bar.len);
}

static void show_finding(struct fsck_view *v, const json_t *finding)
{
    const char *action = json_get_string(finding, "Action", "");
    char **needed_by CLEANUP(strv_freep) = json_get_strv(finding, "NeededBy");
    char *names CLEANUP(cleanup_free) = needed_by && needed_by[0] ? strv_join(needed_by, ", ") : NULL;
    wipe_bar(v);
    cli_print(v->cli, "%s %s: %s\n", json_get_string(finding, "Kind", ""), json_get_string(finding, "Id", ""),
              json_get_string(finding, "Problem", ""));
    if (names)
        cli_print(v->cli, "  needed by: %s\n", names);
    if (*action)
        cli_print(v->cli, "  %s: %s\n", json_get_bool(finding, "Repaired", false) ? "repaired" : "left",
                  action);
    (void)cli_flush(v->cli);
}

static int show_document(void *context, json_t *document)
{
    struct fsck_view *v = context;
    const char *type = json_get_string(document, "Type", ""),
               *error = json_get_string(document, "error", NULL);
    if (error)
        return error_set(v->err, ERROR_INTERNAL, "%s", error);
    if (streq(type, "progress")) {
        show_bar(v, json_get_int(document, "Bytes", 0), json_get_int(document, "Total", 0));
        return 0;
    }
    if (streq(type, "summary")) {
        v->is_complete = true;
        v->bytes = json_get_int(document, "Bytes", 0);
        v->findings = json_get_int(document, "Findings", 0);
        v->repaired = json_get_int(document, "Repaired", 0);
    }
    if (v->is_json) {
        char *text CLEANUP(cleanup_free) = json_text(document);
        wipe_bar(v);
        cli_print(v->cli, "%s\n", text);
        (void)cli_flush(v->cli);
    } else if (streq(type, "finding")) {
        show_finding(v, document);
    }
    return 0;
}

static void show_summary(const struct fsck_view *v, bool is_quick)
{
    char size[HUMAN_MAX];
    double seconds = (double)(time_monotonic_ns() - v->begun_ns) / NS_PER_S;
    human_size((double)v->bytes, 4, size);
    wipe_bar(v);
    if (v->is_json)
        return;
    cli_print(v->cli, "%s %s of layers in %.1f s: ", is_quick ? "Looked at" : "Verified", size, seconds);
    if (v->findings)
        cli_print(v->cli, "%" PRId64 " finding%s, %" PRId64 " repaired\n", v->findings,
                  v->findings == 1 ? "" : "s", v->repaired);
    else
        cli_print(v->cli, "everything is in order\n");
}

static int run_fsck(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    const char *format = options_string(options, "format", ""),
               *repair = options_string(options, "repair", "no");
    bool is_quick = options_bool(options, "quick", false);
    struct fsck_view view = { .cli = cli,
                              .is_json = streq(format, "json"),
                              .has_bar = isatty(STDERR_FILENO) == 1,
                              .begun_ns = time_monotonic_ns(),
                              .err = err };
    if (*format && !view.is_json)
        return error_set(err, ERROR_INVALID, "--format: only 'json' is known here");
    target_path(&target, "/system/fsck");
    target_query(&target, "repair", repair);
    if (is_quick)
        target_query(&target, "quick", "1");
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "POST", target.text.ptr, NULL, NULL, &stream, err) < 0 ||
        client_each_document(stream.body, show_document, &view, err) < 0)
        return -1;
    if (!view.is_complete)
        return error_set(err, ERROR_IO, "the engine went away before it had looked at everything");
    show_summary(&view, is_quick);
    return view.findings > view.repaired;
}

static const struct option fsck_options[] = {
    { "format", 0, OPTION_STRING, NULL, "Format output: 'json' (a document a line)" },
    { "quick", 0, OPTION_BOOL, NULL, "Only look whether everything is there; do not read layers" },
    { "repair", 0, OPTION_OPTIONAL, "drop",
      "Fetch damaged layers again and remove what belongs to nothing; 'drop' also removes images that stay "
      "damaged" },
    OPTION_END,
};
const struct command command_system_fsck = {
    "fsck", NULL, "[OPTIONS]", "Verify everything that is on disk", fsck_options, 0, 0, false, run_fsck
};
