// Networks. Shapes: Engine API `/networks`.
#include "api/filters.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

// --- who is attached

static json_t *address_text(const char *ip, unsigned length)
{
    return *ip ? json_sprintf("%s/%u", ip, length) : json_string("");
}

static json_t *endpoint_document(const struct container_info *info, const struct network_endpoint *e)
{
    json_t *entry = json_object();
    json_set_string(entry, "Name", info->name);
    json_set_string(entry, "EndpointID", e->endpoint_id);
    json_set_string(entry, "MacAddress", e->mac);
    json_object_set_new(entry, "IPv4Address", address_text(e->ip, e->prefix_length));
    json_object_set_new(entry, "IPv6Address", address_text(e->ip6, e->prefix6_length));
    return entry;
}

// {"<network id>": {"<container id>": {"Name",...}}} of those that are up.
static json_t *attached(const struct request *request)
{
    json_t *by_network = json_object();
    struct container_info **list = container_list(request->engine->containers, false);
    for (size_t i = 0; list[i]; i++)
        for (size_t k = 0; k < list[i]->endpoint_count; k++) {
            const struct network_endpoint *e = &list[i]->endpoints[k];
            json_t *containers = json_object_get(by_network, e->network_id);
            if (!containers) {
                containers = json_object();
                json_object_set_new(by_network, e->network_id, containers);
            }
            json_object_set_new(containers, list[i]->id, endpoint_document(list[i], e));
        }
    container_list_free(list);
    return by_network;
}

static bool is_predefined(const json_t *network)
{
    return json_get_bool(network, "Builtin", false);
}

// As this version of the API shows it; our own member goes.
static void shape(const struct request *request, json_t *network)
{
    json_object_del(network, "Builtin");
    if (request->version < 147)
        json_object_del(network, "EnableIPv4");
}

// --- list and inspect

static bool network_passes(const struct filters *filters, const json_t *network)
{
    return filters_pass_prefix(filters, "id", json_get_string(network, "Id", "")) &&
           filters_pass_regex(filters, "name", json_get_string(network, "Name", "")) &&
           filters_pass(filters, "driver", json_get_string(network, "Driver", "")) &&
           filters_pass(filters, "scope", json_get_string(network, "Scope", "local")) &&
           filters_pass(filters, "type", is_predefined(network) ? "builtin" : "custom") &&
           filters_pass_labels(filters, "label", json_get_object(network, "Labels"));
}

int api_network_list(struct request *request, struct error *err)
{
    static const char *const accepted[] = {
        "dangling", "driver", "id", "label", "name", "scope", "type", NULL
    };
    CLEANUP(filters_done) struct filters filters;
    bool is_dangling = false;
    if (filters_parse(request->query, accepted, &filters, err) < 0 ||
        filters_bool(&filters, "dangling", false, &is_dangling, err) < 0)
        return -1;
    CLEANUP(json_cleanup) json_t *all = network_list(request->engine->networks);
    CLEANUP(json_cleanup) json_t *used = filters_count(&filters, "dangling") ? attached(request) : NULL;
    json_t *documents = json_array(), *network;
    size_t i;
    json_array_foreach(all, i, network)
    {
        bool dangles = !is_predefined(network) && !json_object_get(used, json_get_string(network, "Id", ""));
        if (!network_passes(&filters, network) || (used && dangles != is_dangling))
            continue;
        shape(request, network);
        json_array_append(documents, network);
    }
    return respond_json(request, 200, documents);
}

int api_network_inspect(struct request *request, struct error *err)
{
    json_t *document = NULL;
    if (network_inspect(request->engine->networks, request->name, &document, err) < 0)
        return -1;
    CLEANUP(json_cleanup) json_t *by_network = attached(request);
    json_t *containers = json_object_get(by_network, json_get_string(document, "Id", ""));
    if (containers)
        json_object_set(document, "Containers", containers);
    shape(request, document);
    return respond_json(request, 200, document);
}

// --- create and remove

int api_network_create(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    CLEANUP(cleanup_free) char *warning = NULL;
    char id[65];
    if (request_json(request, true, &body, err) < 0 ||
        network_create(request->engine->networks, body, id, &warning, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Id", id);
    json_set_string(document, "Warning", warning ? warning : "");
    return respond_json(request, 201, document);
}

int api_network_remove(struct request *request, struct error *err)
{
    if (network_remove(request->engine->networks, request->name, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

struct prune {
    struct filters filters;
    int64_t until_ns; // 0: any
};

static bool keeps(void *context, const json_t *network)
{
    const struct prune *prune = context;
    const json_t *labels = json_get_object(network, "Labels");
    int64_t created_ns = 0;
    time_parse_rfc3339(json_get_string(network, "Created", ""), &created_ns);
    if ((prune->until_ns && created_ns > prune->until_ns) ||
        !filters_pass_labels(&prune->filters, "label", labels))
        return true;
    return filters_count(&prune->filters, "label!") && filters_pass_labels(&prune->filters, "label!", labels);
}

int api_network_prune(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "label", "label!", "until", NULL };
    struct prune prune = { 0 };
    json_t *names = NULL;
    int r = filters_parse(request->query, accepted, &prune.filters, err);
    if (r == 0 && (r = filters_time(&prune.filters, "until", &prune.until_ns, err)) == 0)
        r = network_prune(request->engine->networks, keeps, &prune, &names, err);
    filters_done(&prune.filters);
    if (r < 0)
        return -1;
    json_t *document = json_object();
    json_object_set_new(document, "NetworksDeleted",
                        json_array_size(names) ? json_incref(names) : json_null());
    json_decref(names);
    return respond_json(request, 200, document);
}

// --- connect and disconnect

static int needed_container(const json_t *body, const char **ret, struct error *err)
{
    *ret = json_get_string(body, "Container", "");
    return **ret ? 0 : error_set(err, ERROR_INVALID, "invalid container name or ID: value is empty");
}

int api_network_connect(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    const char *container;
    if (request_json(request, true, &body, err) < 0 || needed_container(body, &container, err) < 0 ||
        container_connect(request->engine->containers, container, request->name,
                          json_get_object(body, "EndpointConfig"), err) < 0)
        return -1;
    return respond_empty(request, 200);
}

int api_network_disconnect(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    const char *container;
    if (request_json(request, true, &body, err) < 0 || needed_container(body, &container, err) < 0)
        return -1;
    int r = container_disconnect(request->engine->containers, container, request->name, err);
    bool is_forced = json_get_bool(body, "Force", false);
    if (r < 0 && !(is_forced && err->kind == ERROR_NOT_FOUND)) // what is gone is disconnected
        return -1;
    return respond_empty(request, 200);
}
