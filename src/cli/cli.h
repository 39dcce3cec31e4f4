// The skiff command: what every command gets, and how it is described.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "cli/options.h"
#include "client/client.h"

#include <jansson.h>
#include <stdbool.h>

enum { EXIT_ENGINE_ERROR = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

struct cli {
    struct client client;
    const char *host;             // where the engine is
    bool host_is_default;         // nobody named it: an engine may be started there
    const char *config_directory; // of config.json; NULL: the usual one
    bool debug;
    struct str out; // standard output, written by cli_flush
};

struct command {
    const char *name;      // "run"
    const char *aliases;   // "skiff container run, skiff run"; NULL: none
    const char *arguments; // "[OPTIONS] IMAGE [COMMAND] [ARG...]"
    const char *summary;
    const struct option *options;     // NULL: none
    int min_arguments, max_arguments; // max < 0: any number
    bool stops_at_argument;           // options end at the first argument
    // The exit code; negative: *err is printed as it stands and the exit code is 1.
    int (*run)(struct cli *cli, const struct options *options, struct error *err);
};

// The whole program: global options, dispatch, errors. The exit code.
int cli_main(int argc, char **argv);

// Connect to the engine; as root, with the default host and nobody there, start one (autostart.c).
int cli_connect(struct cli *cli, struct error *err);
// client_call behind cli_connect.
int cli_call(struct cli *cli, const char *method, const char *target, const json_t *body, json_t **ret,
             struct error *err);

// Add to standard output; written when it grows, by cli_flush and at the end.
void cli_print(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_flush(struct cli *cli);
// One line to standard error, in one write.
void cli_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// Call METHOD "/containers/NAME/VERB?QUERY" for each argument; print the argument when it went well, the
// error when not. 0, or 1 when any failed.
int cli_each_container(struct cli *cli, const struct options *options, const char *method, const char *verb,
                       const char *query);
// "--filter k=v" repeated, as the API's JSON object of lists; an empty object when none. Owned.
json_t *cli_filters(const struct options *options, const char *name, struct error *err);

// --- building targets ("/containers/x/stop?t=3"): percent-encoded where needed
struct target {
    struct str text;
    bool has_query;
};
#define TARGET_INIT ((struct target){ .text = STR_INIT })
void target_done(struct target *target);
void target_path(struct target *target, const char *fixed); // as it stands
void target_name(struct target *target, const char *name);  // encoded, '/' and ':' kept
void target_query(struct target *target, const char *key, const char *value);
// A point in time as people write it ("10m", RFC 3339, seconds) as seconds.nanoseconds; what is none travels as it is.
void target_query_time(struct target *target, const char *key, const char *value);
void target_query_json(struct target *target, const char *key, const json_t *value);
