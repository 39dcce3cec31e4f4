// skiff scale NAME=N: copies of a container, called NAME-2, NAME-3, ... A copy has the container's configuration and NAME as an
// alias on each of its networks, so that it answers to the name and shares the published ports. The label tells it from a
// container that only happens to be called so. The engine takes a container that is stopped out of the spread before its signal.
#include "cli/commands.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_LABEL "skiff.copy-of"
enum { COPIES_MAX = 4096 };

// --- what a copy is made of
static bool is_predefined(const char *network)
{
    return streq(network, "bridge") || streq(network, "default") || streq(network, "host") ||
           streq(network, "none");
}

// Its endpoint on one network: nothing that only one container can have.
static json_t *endpoint_for_copy(const char *network, const char *name, const json_t *endpoint)
{
    static const char *const kept[] = { "Links", "DriverOpts", "GwPriority" };
    json_t *copy = json_object();
    if (is_predefined(network))
        return copy;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (json_object_get(endpoint, kept[i]))
            json_object_set(copy, kept[i], json_object_get(endpoint, kept[i]));
    char **aliases CLEANUP(strv_freep) = json_get_strv(endpoint, "Aliases");
    if (!strv_contains(aliases, name))
        strv_push(&aliases, name);
    json_object_set_new(copy, "Aliases", json_from_strv(aliases));
    return copy;
}

// The create request, owned.
static json_t *request_for_copy(const json_t *document, const char *name)
{
    json_t *request = json_deep_copy(json_get_object(document, "Config")), *endpoints = json_object(),
           *endpoint;
    json_t *networks = json_get_object(json_get_object(document, "NetworkSettings"), "Networks");
    const char *network, *hostname = json_get_string(request, "Hostname", "");
    if (*hostname && str_has_prefix(json_get_string(document, "Id", ""), hostname))
        json_object_del(request, "Hostname"); // it was made from the id
    json_object_del(request, "MacAddress");
    if (!json_is_object(json_object_get(request, "Labels")))
        json_object_set_new(request, "Labels", json_object());
    json_set_string(json_get_object(request, "Labels"), COPY_LABEL, name);
    json_object_foreach(networks, network, endpoint)
        json_object_set_new(endpoints, network, endpoint_for_copy(network, name, endpoint));
    json_object_set(request, "HostConfig", json_get_object(document, "HostConfig"));
    json_object_set_new(request, "NetworkingConfig", json_pack("{s:o}", "EndpointsConfig", endpoints));
    return request;
}

// --- requests
static int post(struct cli *cli, const char *container, const char *deed, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *ignored CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/containers/");
    target_name(&target, container);
    target_path(&target, deed);
    return cli_call(cli, "POST", target.text.ptr, NULL, &ignored, err);
}

static int remove_copy(struct cli *cli, const char *container, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *ignored CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/containers/");
    target_name(&target, container);
    target_query(&target, "v", "1");
    return cli_call(cli, "DELETE", target.text.ptr, NULL, &ignored, err);
}

static int create_copy(struct cli *cli, const json_t *request, const char *copy, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *ignored CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/containers/create");
    target_query(&target, "name", copy);
    return cli_call(cli, "POST", target.text.ptr, request, &ignored, err);
}

static int inspect(struct cli *cli, const char *name, json_t **ret, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/json");
    return cli_call(cli, "GET", target.text.ptr, NULL, ret, err);
}

// --- the copies there are
struct copies {
    const char *name;             // borrowed
    char *states[COPIES_MAX + 1]; // by number: owned "running", ...; NULL: there is none
};

static void copies_done(struct copies *copies)
{
    for (size_t i = 0; i <= COPIES_MAX; i++)
        free(copies->states[i]);
}

static void note(struct copies *copies, const json_t *container)
{
    const char *own = json_string_value(json_array_get(json_get_array(container, "Names"), 0));
    size_t n = strlen(copies->name);
    uint32_t number;
    if (!own || strncmp(own + 1, copies->name, n) != 0 || own[n + 1] != '-' ||
        !parse_u32(own + n + 2, COPIES_MAX, &number) || copies->states[number])
        return;
    copies->states[number] = xstrdup(json_get_string(container, "State", ""));
}

static int find_copies(struct cli *cli, struct copies *copies, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *list CLEANUP(json_cleanup) = NULL, *filters CLEANUP(json_cleanup) = json_object();
    char *label CLEANUP(cleanup_free) = xasprintf("%s=%s", COPY_LABEL, copies->name);
    json_object_set_new(filters, "label", json_pack("[s]", label));
    target_path(&target, "/containers/json");
    target_query(&target, "all", "1");
    target_query_json(&target, "filters", filters);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++)
        note(copies, json_array_get(list, i));
    return 0;
}

// --- the deed
static int ensure(struct cli *cli, const json_t *request, struct copies *copies, uint32_t number,
                  struct error *err)
{
    char *copy CLEANUP(cleanup_free) = xasprintf("%s-%u", copies->name, number);
    const char *state = copies->states[number];
    if (!state && create_copy(cli, request, copy, err) < 0)
        return -1;
    if (state && streq(state, "running"))
        return 0;
    if (post(cli, copy, "/start", err) == 0)
        return 0;
    struct error ignored;
    if (!state)
        remove_copy(cli, copy, &ignored); // what could not be started is not left behind
    return -1;
}

static int drop(struct cli *cli, const struct copies *copies, uint32_t number, struct error *err)
{
    char *copy CLEANUP(cleanup_free) = xasprintf("%s-%u", copies->name, number);
    if (streq(copies->states[number], "running") && post(cli, copy, "/stop", err) < 0)
        return -1;
    struct error gone;
    if (remove_copy(cli, copy, &gone) == 0 || gone.kind == ERROR_NOT_FOUND) // --rm was quicker
        return 0;
    *err = gone;
    return -1;
}

static int scale(struct cli *cli, const char *name, uint32_t wanted, struct error *err)
{
    json_t *document CLEANUP(json_cleanup) = NULL, *request CLEANUP(json_cleanup) = NULL;
    struct copies *copies CLEANUP(cleanup_free) = NEW(struct copies);
    if (inspect(cli, name, &document, err) < 0)
        return -1;
    const char *own = json_get_string(document, "Name", "/");
    copies->name = *own == '/' ? own + 1 : own;
    request = request_for_copy(document, copies->name);
    int rc = find_copies(cli, copies, err);
    if (rc == 0 && !json_get_bool(json_get_object(document, "State"), "Running", false))
        rc = post(cli, copies->name, "/start", err);
    for (uint32_t i = 2; i <= wanted && rc == 0; i++)
        rc = ensure(cli, request, copies, i, err);
    for (uint32_t i = COPIES_MAX; i > wanted && i > 1 && rc == 0; i--)
        if (copies->states[i])
            rc = drop(cli, copies, i, err);
    if (rc == 0)
        cli_print(cli, "%s: %u\n", copies->name, wanted);
    copies_done(copies);
    return rc;
}

static int run_scale(struct cli *cli, const struct options *options, struct error *err)
{
    for (size_t i = 0; options->arguments[i]; i++) {
        const char *text = options->arguments[i], *equals = strrchr(text, '=');
        uint32_t wanted;
        if (!equals || equals == text || !parse_u32(equals + 1, COPIES_MAX, &wanted) || wanted == 0)
            return error_set(err, ERROR_INVALID,
                             "invalid scale \"%s\": NAME=N with N from 1 to %d, the container itself counts",
                             text, COPIES_MAX);
        char *name CLEANUP(cleanup_free) = xstrndup(text, (size_t)(equals - text));
        if (scale(cli, name, wanted, err) < 0)
            return -1;
    }
    return 0;
}

const struct command command_scale = { "scale",
                                       "skiff scale",
                                       "NAME=N [NAME=N...]",
                                       "Start and stop copies of containers, so that there are N of each",
                                       NULL,
                                       1,
                                       -1,
                                       false,
                                       run_scale };
