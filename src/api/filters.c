#include "api/filters.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "http/http.h"

#include <regex.h>
#include <string.h>

static int add_values(json_t *array, json_t *values, struct error *err)
{
    const char *value;
    json_t *item;
    size_t i;
    if (json_is_object(values)) {
        json_object_foreach(values, value, item) if (json_is_true(item))
            json_array_append_new(array, json_string(value));
        return 0;
    }
    if (!json_is_array(values))
        return error_set(err, ERROR_INVALID, "invalid filters: a list of values is wanted");
    json_array_foreach(values, i, item)
    {
        if (!json_is_string(item))
            return error_set(err, ERROR_INVALID, "invalid filters: values must be strings");
        json_array_append(array, item);
    }
    return 0;
}

static bool is_accepted(const char *const *accepted, const char *key)
{
    for (; *accepted; accepted++)
        if (strcmp(*accepted, key) == 0)
            return true;
    return false;
}

int filters_parse(const char *query, const char *const *accepted, struct filters *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *text = http_query_get(query, "filters");
    CLEANUP(json_cleanup) json_t *document = NULL;
    *ret = (struct filters){ 0 };
    if (str_is_empty(text))
        return 0;
    if (json_parse(text, strlen(text), &document, err) < 0)
        return error_wrap(err, "invalid filters");
    if (!json_is_object(document))
        return json_is_null(document) ? 0
                                      : error_set(err, ERROR_INVALID, "invalid filters: an object is wanted");
    CLEANUP(json_cleanup) json_t *map = json_object();
    const char *key;
    json_t *values;
    json_object_foreach(document, key, values)
    {
        if (!is_accepted(accepted, key))
            return error_set(err, ERROR_INVALID, "invalid filter '%s'", key);
        json_t *array = json_array();
        json_object_set_new(map, key, array);
        if (add_values(array, values, err) < 0)
            return -1;
    }
    ret->map = TAKE_PTR(map);
    return 0;
}

void filters_done(struct filters *filters)
{
    json_decref(filters->map);
    filters->map = NULL;
}

size_t filters_count(const struct filters *filters, const char *key)
{
    return json_array_size(json_object_get(filters->map, key));
}

const char *filters_at(const struct filters *filters, const char *key, size_t i)
{
    return json_string_value(json_array_get(json_object_get(filters->map, key), i));
}

bool filters_pass(const struct filters *filters, const char *key, const char *value)
{
    size_t n = filters_count(filters, key);
    for (size_t i = 0; i < n; i++)
        if (streq(filters_at(filters, key, i), value))
            return true;
    return n == 0;
}

bool filters_pass_prefix(const struct filters *filters, const char *key, const char *value)
{
    size_t n = filters_count(filters, key);
    for (size_t i = 0; i < n; i++)
        if (str_has_prefix(value, filters_at(filters, key, i)))
            return true;
    return n == 0;
}

// Docker's filters are Go regular expressions, matched in linear time. POSIX ones are near enough for names; those that
// can take exponential memory or deep recursion to compile are compared as plain text.
static bool regex_matches(const char *pattern, const char *value)
{
    regex_t regex;
    if (strlen(pattern) > 256 || strchr(pattern, '{') ||
        regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return strstr(value, pattern) != NULL;
    bool r = regexec(&regex, value, 0, NULL, 0) == 0;
    regfree(&regex);
    return r;
}

bool filters_pass_regex(const struct filters *filters, const char *key, const char *value)
{
    size_t n = filters_count(filters, key);
    for (size_t i = 0; i < n; i++)
        if (regex_matches(filters_at(filters, key, i), value))
            return true;
    return n == 0;
}

bool filters_pass_labels(const struct filters *filters, const char *key, const json_t *labels)
{
    size_t n = filters_count(filters, key);
    for (size_t i = 0; i < n; i++) {
        const char *text = filters_at(filters, key, i), *equals = strchr(text, '=');
        CLEANUP(cleanup_free) char *name = xstrndup(text, equals ? (size_t)(equals - text) : strlen(text));
        const char *value = labels ? json_get_string(labels, name, NULL) : NULL;
        if (!value || (equals && strcmp(value, equals + 1) != 0))
            return false;
    }
    return true;
}

int filters_bool(const struct filters *filters, const char *key, bool otherwise, bool *ret, struct error *err)
{
    size_t n = filters_count(filters, key);
    bool r = otherwise;
    for (size_t i = 0; i < n; i++) {
        const char *value = filters_at(filters, key, i);
        bool is_true = streq(value, "1") || streq(value, "true"),
             is_false = streq(value, "0") || streq(value, "false");
        if ((!is_true && !is_false) || (i > 0 && r != is_true))
            return error_set(err, ERROR_INVALID, "invalid filter '%s=%s'", key, value);
        r = is_true;
    }
    *ret = r;
    return 0;
}

int filters_time(const struct filters *filters, const char *key, int64_t *ret_ns, struct error *err)
{
    size_t n = filters_count(filters, key);
    if (n == 0)
        return 0;
    if (n > 1)
        return error_set(err, ERROR_INVALID, "more than one %s filter specified", key);
    if (!time_parse_docker(filters_at(filters, key, 0), time_now_ns(), ret_ns))
        return error_set(err, ERROR_INVALID, "invalid filter '%s=%s'", key, filters_at(filters, key, 0));
    return 0;
}
