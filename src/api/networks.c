// Networks, as far as this version has them: the predefined ones.
#include "api/filters.h"
#include "api/request.h"
#include "base/mem.h"

#include <string.h>

static bool network_passes(const struct filters *filters, const json_t *network)
{
    bool is_predefined = true; // bridge, host, none: there are no others yet
    return filters_pass_prefix(filters, "id", json_get_string(network, "Id", "")) &&
           filters_pass_regex(filters, "name", json_get_string(network, "Name", "")) &&
           filters_pass(filters, "driver", json_get_string(network, "Driver", "")) &&
           filters_pass(filters, "scope", json_get_string(network, "Scope", "local")) &&
           filters_pass(filters, "type", is_predefined ? "builtin" : "custom") &&
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
    json_t *documents = json_array(), *network;
    size_t i;
    json_array_foreach(all, i, network) if (network_passes(&filters, network) &&
                                            !is_dangling) // the predefined ones never dangle
        json_array_append(documents, network);
    return respond_json(request, 200, documents);
}

// {"<container id>": {"Name",...}} of those that are attached and up.
static json_t *attached(const struct request *request, const char *network_id)
{
    json_t *map = json_object();
    struct container_info **list = container_list(request->engine->containers, false);
    for (size_t i = 0; list[i]; i++) {
        const struct network_endpoint *endpoint = list[i]->endpoint;
        if (!endpoint || !streq(endpoint->network_id, network_id))
            continue;
        json_t *entry = json_object();
        json_set_string(entry, "Name", list[i]->name);
        json_set_string(entry, "EndpointID", endpoint->endpoint_id);
        json_set_string(entry, "MacAddress", endpoint->mac);
        json_object_set_new(entry, "IPv4Address",
                            *endpoint->ip ? json_sprintf("%s/%u", endpoint->ip, endpoint->prefix_length)
                                          : json_string(""));
        json_set_string(entry, "IPv6Address", "");
        json_object_set_new(map, list[i]->id, entry);
    }
    container_list_free(list);
    return map;
}

int api_network_inspect(struct request *request, struct error *err)
{
    json_t *document = NULL;
    if (network_inspect(request->engine->networks, request->name, &document, err) < 0)
        return -1;
    json_object_set_new(document, "Containers", attached(request, json_get_string(document, "Id", "")));
    return respond_json(request, 200, document);
}

// The predefined networks are never pruned, and there are no others yet.
int api_network_prune(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "label", "label!", "until", NULL };
    CLEANUP(filters_done) struct filters filters;
    if (filters_parse(request->query, accepted, &filters, err) < 0)
        return -1;
    return respond_json(request, 200, json_pack("{s:n}", "NetworksDeleted"));
}
