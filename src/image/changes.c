#include "image/changes.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>
#include <strings.h>

enum { CHANGE_MAX_BYTES = 64 * 1024 };
static const char blanks[] = " \t";

static int bad(struct error *err, const char *instruction, const char *why)
{
    return error_set(err, ERROR_INVALID, "%s: %s", instruction, why);
}

// One word: blanks end it, quotes hold it together and go, a backslash keeps the next character (in single quotes: itself).
static char *next_word(const char **at, bool *ret_is_open)
{
    struct str s = STR_INIT;
    const char *p = *at + strspn(*at, blanks);
    char quote = 0;
    bool is_word = *p;
    for (; *p && (quote || !strchr(blanks, *p)); p++) {
        if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
        else if (quote && *p == quote)
            quote = 0;
        else if (*p == '\\' && quote != '\'' && p[1])
            str_append_char(&s, *++p);
        else
            str_append_char(&s, *p);
    }
    *at = p;
    *ret_is_open = quote;
    if (is_word)
        return str_take(&s);
    str_done(&s);
    return NULL;
}

// The JSON form ["a", "b"], or NULL when it is not that.
static json_t *json_form(const char *rest)
{
    json_t *v = NULL;
    struct error ignored;
    if (*rest != '[' || json_parse(rest, strlen(rest), &v, &ignored) < 0)
        return NULL;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i))) {
            json_decref(v);
            return NULL;
        }
    return v;
}

static json_t *command_form(const char *rest)
{
    json_t *v = json_form(rest);
    return v ? v : json_pack("[s, s, s]", "/bin/sh", "-c", rest);
}

static void set_env(json_t *config, const char *key, const char *value)
{
    json_t *env = json_get_array(config, "Env");
    char *line CLEANUP(cleanup_free) = xasprintf("%s=%s", key, value);
    if (!env) {
        json_object_set_new(config, "Env", json_array());
        env = json_get_array(config, "Env");
    }
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *old = json_string_value(json_array_get(env, i));
        if (old && str_has_prefix(old, key) && old[strlen(key)] == '=') {
            json_array_set_new(env, i, json_string(line));
            return;
        }
    }
    json_array_append_new(env, json_string(line));
}

static json_t *need_object(json_t *config, const char *key)
{
    if (!json_get_object(config, key))
        json_object_set_new(config, key, json_object());
    return json_get_object(config, key);
}

static void set_pair(json_t *config, bool is_env, const char *key, const char *value)
{
    if (is_env)
        set_env(config, key, value);
    else
        json_set_string(need_object(config, "Labels"), key, value);
}

// "k=v k2='v 2'", or the old form "k the rest".
static int change_pairs(json_t *config, const char *rest, const char *name, struct error *err)
{
    bool is_env = streq(name, "ENV"), is_open;
    const char *at = rest;
    for (bool is_first = true;; is_first = false) {
        char *word CLEANUP(cleanup_free) = next_word(&at, &is_open);
        if (is_open)
            return bad(err, name, "unterminated quote");
        if (!word)
            return is_first ? bad(err, name, "requires at least one argument") : 0;
        char *equals = strchr(word, '=');
        if (!equals && is_first) {
            at += strspn(at, blanks);
            if (!*at)
                return bad(err, name, "must have two arguments");
            set_pair(config, is_env, word, at);
            return 0;
        }
        if (!equals || equals == word)
            return bad(err, name, "names can not be blank, and need a value: name=value");
        *equals = 0;
        set_pair(config, is_env, word, equals + 1);
    }
}

static int change_command(json_t *config, const char *rest, const char *name, struct error *err)
{
    (void)err;
    bool is_cmd = streq(name, "CMD");
    json_object_set_new(config, is_cmd ? "Cmd" : "Entrypoint", *rest ? command_form(rest) : json_array());
    if (!is_cmd)
        json_object_del(config, "Cmd"); // one set before belongs to another entrypoint
    return 0;
}

static bool port_is_valid(const char *text, char **ret)
{
    char *copy CLEANUP(cleanup_free) = xstrdup(text);
    char *slash = strchr(copy, '/');
    const char *protocol = slash ? slash + 1 : "tcp";
    if (slash)
        *slash = 0;
    char *dash = strchr(copy, '-');
    uint32_t from, to;
    if (dash)
        *dash = 0;
    if (!parse_u32(copy, 65535, &from) || (dash && (!parse_u32(dash + 1, 65535, &to) || to < from)) ||
        (!streq(protocol, "tcp") && !streq(protocol, "udp") && !streq(protocol, "sctp")))
        return false;
    *ret = dash ? xasprintf("%u-%u/%s", from, to, protocol) : xasprintf("%u/%s", from, protocol);
    return true;
}

static int change_expose(json_t *config, const char *rest, const char *name, struct error *err)
{
    bool is_open;
    const char *at = rest;
    for (char *word; (word = next_word(&at, &is_open));) {
        char *port = NULL;
        bool ok = !is_open && port_is_valid(word, &port);
        if (ok)
            json_object_set_new(need_object(config, "ExposedPorts"), port, json_object());
        else
            error_set(err, ERROR_INVALID, "invalid containerPort: %.100s", word);
        free(port);
        free(word);
        if (!ok)
            return -1;
    }
    return json_get_object(config, "ExposedPorts") ? 0 : bad(err, name, "requires at least one argument");
}

static int change_volume(json_t *config, const char *rest, const char *name, struct error *err)
{
    json_t *list CLEANUP(json_cleanup) = json_form(rest);
    if (!list) {
        bool is_open;
        const char *at = rest;
        list = json_array();
        for (char *word; (word = next_word(&at, &is_open)); free(word))
            json_array_append_new(list, json_string(word));
    }
    if (json_array_size(list) == 0)
        return bad(err, name, "requires at least one argument");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *path = json_string_value(json_array_get(list, i));
        if (!path || !*path)
            return bad(err, name, "specified can not be an empty string");
        json_object_set_new(need_object(config, "Volumes"), path, json_object());
    }
    return 0;
}

static int change_text(json_t *config, const char *rest, const char *name, struct error *err)
{
    bool is_open;
    const char *at = rest;
    char *word CLEANUP(cleanup_free) = next_word(&at, &is_open);
    if (!word || is_open || at[strspn(at, blanks)])
        return bad(err, name, "requires exactly one argument");
    json_set_string(config, streq(name, "USER") ? "User" : "StopSignal", word);
    return 0;
}

static int change_workdir(json_t *config, const char *rest, const char *name, struct error *err)
{
    const char *before = json_get_string(config, "WorkingDir", "/");
    if (!*rest)
        return bad(err, name, "requires exactly one argument");
    char *path CLEANUP(cleanup_free) =
        *rest == '/' ? xstrdup(rest)
                     : xasprintf("%s%s%s", before, str_has_suffix(before, "/") ? "" : "/", rest);
    json_set_string(config, "WorkingDir", path);
    return 0;
}

static int change_onbuild(json_t *config, const char *rest, const char *name, struct error *err)
{
    if (!*rest)
        return bad(err, name, "requires at least one argument");
    if (!json_get_array(config, "OnBuild"))
        json_object_set_new(config, "OnBuild", json_array());
    json_array_append_new(json_get_array(config, "OnBuild"), json_string(rest));
    return 0;
}

static bool health_flag(json_t *check, const char *flag)
{
    static const struct {
        const char *flag, *key;
    } times[] = { { "--interval=", "Interval" },
                  { "--timeout=", "Timeout" },
                  { "--start-period=", "StartPeriod" },
                  { "--start-interval=", "StartInterval" } };
    int64_t ns;
    uint32_t retries;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (str_has_prefix(flag, times[i].flag)) {
            if (!duration_parse(flag + strlen(times[i].flag), &ns) || ns < 0)
                return false;
            json_set_int(check, times[i].key, ns);
            return true;
        }
    if (!str_has_prefix(flag, "--retries=") || !parse_u32(flag + strlen("--retries="), 1000000, &retries))
        return false;
    json_set_int(check, "Retries", retries);
    return true;
}

static int change_healthcheck(json_t *config, const char *rest, const char *name, struct error *err)
{
    json_t *check CLEANUP(json_cleanup) = json_object();
    const char *at = rest;
    for (;;) {
        bool is_open;
        char *word CLEANUP(cleanup_free) = next_word(&at, &is_open);
        if (!word || is_open)
            return bad(err, name, "requires at least one argument");
        if (str_has_prefix(word, "--")) {
            if (!health_flag(check, word))
                return error_set(err, ERROR_INVALID, "HEALTHCHECK: invalid flag %.100s", word);
            continue;
        }
        at += strspn(at, blanks);
        if (strcasecmp(word, "NONE") == 0 && !*at) {
            json_object_set_new(check, "Test", json_pack("[s]", "NONE"));
            break;
        }
        if (strcasecmp(word, "CMD") != 0 || !*at)
            return bad(err, name, "expects NONE or CMD and a command");
        json_t *test = json_form(at);
        if (test)
            json_array_insert_new(test, 0, json_string("CMD"));
        json_object_set_new(check, "Test", test ? test : json_pack("[s, s]", "CMD-SHELL", at));
        break;
    }
    json_object_set(config, "Healthcheck", check);
    return 0;
}

static const struct {
    const char *name;
    int (*apply)(json_t *config, const char *rest, const char *name, struct error *err);
} instructions[] = {
    { "CMD", change_command },     { "ENTRYPOINT", change_command },      { "ENV", change_pairs },
    { "EXPOSE", change_expose },   { "HEALTHCHECK", change_healthcheck }, { "LABEL", change_pairs },
    { "ONBUILD", change_onbuild }, { "STOPSIGNAL", change_text },         { "USER", change_text },
    { "VOLUME", change_volume },   { "WORKDIR", change_workdir },
};

int image_change_apply(json_t *config, const char *line, struct error *err)
{
    line += strspn(line, blanks);
    if (strlen(line) > CHANGE_MAX_BYTES)
        return error_set(err, ERROR_INVALID, "instruction is longer than %d bytes", (int)CHANGE_MAX_BYTES);
    size_t n = strcspn(line, blanks), end = strlen(line);
    while (end > n && strchr(blanks, line[end - 1]))
        end--;
    char *rest CLEANUP(cleanup_free) = xstrndup(line + n, end - n);
    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++)
        if (strlen(instructions[i].name) == n && strncasecmp(line, instructions[i].name, n) == 0)
            return instructions[i].apply(config, rest + strspn(rest, blanks), instructions[i].name, err);
    return error_set(err, ERROR_INVALID, "%.*s is not a valid change command", (int)(n < 100 ? n : 100),
                     line);
}
