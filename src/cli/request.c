// Targets, filters and calls that many commands share.
#include "cli/cli.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "http/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void target_done(struct target *target)
{
    str_done(&target->text);
}

void target_path(struct target *target, const char *fixed)
{
    str_append(&target->text, fixed);
}

void target_name(struct target *target, const char *name)
{
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/:@");
        char *part CLEANUP(cleanup_free) = xstrndup(p, n);
        http_url_encode(&target->text, part);
        p += n;
        if (*p)
            str_append_char(&target->text, *p++);
    }
}

void target_query(struct target *target, const char *key, const char *value)
{
    str_appendf(&target->text, "%c%s=", target->has_query ? '&' : '?', key);
    http_url_encode(&target->text, value);
    target->has_query = true;
}

void target_query_time(struct target *target, const char *key, const char *value)
{
    char text[48];
    int64_t ns;
    if (!time_parse_docker(value, time_now_ns(), &ns) || ns < 0) {
        target_query(target, key, value); // the engine says what is wrong with it
        return;
    }
    snprintf(text, sizeof text, "%" PRId64 ".%09" PRId64, (int64_t)(ns / NS_PER_S), (int64_t)(ns % NS_PER_S));
    target_query(target, key, text);
}

void target_query_json(struct target *target, const char *key, const json_t *value)
{
    char *text CLEANUP(cleanup_free) = json_text(value);
    target_query(target, key, text);
}

int cli_call(struct cli *cli, const char *method, const char *target, const json_t *body, json_t **ret,
             struct error *err)
{
    if (ret)
        *ret = NULL;
    return cli_connect(cli, err) < 0 ? -1 : client_call(&cli->client, method, target, body, ret, err);
}

int cli_each_container(struct cli *cli, const struct options *options, const char *method, const char *verb,
                       const char *query)
{
    int code = 0;
    for (char **name = options->arguments; name && *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        struct error err = { 0 };
        target_path(&target, "/containers/");
        target_name(&target, *name);
        target_path(&target, verb);
        target_path(&target, query);
        if (cli_call(cli, method, target.text.ptr, NULL, NULL, &err) == 0) {
            cli_print(cli, "%s\n", *name);
            (void)cli_flush(cli);
            continue;
        }
        cli_complain("%s", err.message);
        code = 1;
        if (cli->client.unreachable)
            break;
    }
    return code;
}

json_t *cli_filters(const struct options *options, const char *name, struct error *err)
{
    json_t *filters = json_object();
    for (char *const *v = options_list(options, name); *v; v++) {
        const char *equals = strchr(*v, '=');
        if (!equals) {
            json_decref(filters);
            options_invalid(options, name, *v, err, "invalid filter '%s'", *v);
            return NULL;
        }
        char *key CLEANUP(cleanup_free) = xstrndup(*v, (size_t)(equals - *v));
        json_t *values = json_object_get(filters, key);
        if (!values) {
            values = json_array();
            json_object_set_new(filters, key, values);
        }
        json_array_append_new(values, json_string(equals + 1));
    }
    return filters;
}
