// Options out of an argument vector, by table, with the habits of Docker's command line (Go's pflag):
// --name=value, --name value, -n value, -nvalue, -abc bundles of switches, --switch=false, repeats, "--".
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_BOOL,     // a switch; its value, when given, only as --name=value
    OPTION_STRING,   // the last one counts
    OPTION_LIST,     // all of them count
    OPTION_INT,      // decimal, signed
    OPTION_BYTES,    // "512m"; "-1" too
    OPTION_DURATION, // "1m30s"
    OPTION_DECIMAL,  // "1.5"
    OPTION_OPTIONAL, // a switch that may have a value, as --name=value; its text is "yes" without one
    OPTION_KIND_COUNT
};

struct option {
    const char *name;
    char letter; // 0: none
    enum option_kind kind;
    const char *value_name; // shown in the help ("list", "string", ...); NULL: by kind
    const char *help;       // "" hides the option
};
#define OPTION_END   \
    {                \
        .name = NULL \
    }

struct option_value {
    bool is_set;
    const char *text; // of the last one; "true" / "false" for switches
    char **list;      // strv of all, owned
    int64_t number;   // INT, BYTES, DURATION (ns), DECIMAL (billionths), BOOL (0, 1)
};

struct options {
    const struct option *table;
    struct option_value *values; // as many as the table
    char **arguments;            // strv of what is not an option, owned array and strings
};

// Parse argv (after the command's name). stops_at_argument: the first plain argument ends the options (run,
// exec). ERROR_INVALID in pflag's words. *help is set when --help (or -h, unless the table has that letter)
// is met.
int options_parse(struct options *ret, const struct option *table, char *const *argv, bool stops_at_argument,
                  bool *help, struct error *err);
void options_done(struct options *options);

// Lookups by name. A name that is not in the table counts as not given (create shares code with run).
bool options_has(const struct options *options, const char *name);
bool options_bool(const struct options *options, const char *name, bool otherwise);
const char *options_string(const struct options *options, const char *name, const char *otherwise);
int64_t options_number(const struct options *options, const char *name, int64_t otherwise);
char *const *options_list(const struct options *options, const char *name); // never NULL
// 'invalid argument "x" for "-m, --memory" flag: ...'; returns -1.
int options_invalid(const struct options *options, const char *name, const char *value, struct error *err,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
// "1.5" as billionths. False when malformed or too large.
bool decimal_parse(const char *text, int64_t *ret);
