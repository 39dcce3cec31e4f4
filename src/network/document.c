// Docker's network documents. Shapes: Engine API `GET /networks` and `GET /networks/{id}`.
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "network/service.h"

#include <stdio.h>
#include <string.h>

static json_t *ipam_document(const struct network_service *s, enum network_kind kind)
{
    json_t *ipam = json_object();
    json_set_string(ipam, "Driver", "default");
    json_object_set_new(ipam, "Options", json_null());
    if (kind != NETWORK_BRIDGE) {
        json_object_set_new(ipam, "Config", json_null());
        return ipam;
    }
    char subnet[IP_PREFIX_TEXT_MAX], gateway[IP_TEXT_MAX];
    struct ip_prefix network = ip_network(&s->gateway);
    ip_prefix_format(&network, subnet);
    ip_format(&s->gateway.ip, gateway);
    json_t *config = json_object();
    json_set_string(config, "Subnet", subnet);
    json_set_string(config, "Gateway", gateway);
    json_t *configs = json_array();
    json_array_append_new(configs, config);
    json_object_set_new(ipam, "Config", configs);
    return ipam;
}

static json_t *options_document(const struct network_service *s, enum network_kind kind)
{
    json_t *options = json_object();
    if (kind != NETWORK_BRIDGE)
        return options;
    char mtu[16], publish_ip[IP_TEXT_MAX];
    snprintf(mtu, sizeof mtu, "%d", s->mtu);
    ip_format(&s->default_publish_ip, publish_ip);
    json_set_string(options, "com.docker.network.bridge.default_bridge", "true");
    json_set_string(options, "com.docker.network.bridge.enable_icc",
                    s->is_inter_container_allowed ? "true" : "false");
    json_set_string(options, "com.docker.network.bridge.enable_ip_masquerade",
                    s->has_masquerade ? "true" : "false");
    json_set_string(options, "com.docker.network.bridge.host_binding_ipv4", publish_ip);
    json_set_string(options, "com.docker.network.bridge.name", s->bridge);
    json_set_string(options, "com.docker.network.driver.mtu", mtu);
    return options;
}

static json_t *containers_document(struct network_service *s)
{
    json_t *containers = json_object();
    size_t at = 0;
    const struct map_entry *entry;
    pthread_mutex_lock(&s->lock);
    while ((entry = map_next(&s->attachments, &at)) != NULL) {
        const struct network_endpoint *e = &((const struct attachment *)entry->value)->endpoint;
        char address[sizeof e->ip + 4];
        snprintf(address, sizeof address, "%s/%u", e->ip, e->prefix_length);
        json_t *c = json_object();
        json_set_string(c, "Name", e->container_name);
        json_set_string(c, "EndpointID", e->endpoint_id);
        json_set_string(c, "MacAddress", e->mac);
        json_set_string(c, "IPv4Address", address);
        json_set_string(c, "IPv6Address", "");
        json_object_set_new(containers, e->container_id, c);
    }
    pthread_mutex_unlock(&s->lock);
    return containers;
}

static json_t *network_document(struct network_service *s, enum network_kind kind, bool has_containers)
{
    static const char *const drivers[] = { "bridge", "host", "null" };
    json_t *d = json_object();
    json_set_string(d, "Name", network_kind_name(kind));
    json_set_string(d, "Id", s->records[kind].id);
    json_set_string(d, "Created", s->records[kind].created);
    json_set_string(d, "Scope", "local");
    json_set_string(d, "Driver", drivers[kind]);
    json_set_bool(d, "EnableIPv4", true);
    json_set_bool(d, "EnableIPv6", false);
    json_object_set_new(d, "IPAM", ipam_document(s, kind));
    json_set_bool(d, "Internal", false);
    json_set_bool(d, "Attachable", false);
    json_set_bool(d, "Ingress", false);
    json_t *from = json_object();
    json_set_string(from, "Network", "");
    json_object_set_new(d, "ConfigFrom", from);
    json_set_bool(d, "ConfigOnly", false);
    bool is_shown = has_containers && kind == NETWORK_BRIDGE;
    json_object_set_new(d, "Containers", is_shown ? containers_document(s) : json_object());
    json_object_set_new(d, "Options", options_document(s, kind));
    json_object_set_new(d, "Labels", json_object());
    return d;
}

static bool is_there(const struct network_service *s, enum network_kind kind)
{
    return kind != NETWORK_BRIDGE || s->is_enabled;
}

json_t *network_list(struct network_service *s)
{
    json_t *list = json_array();
    for (int kind = 0; kind < NETWORK_KIND_COUNT; kind++)
        if (is_there(s, kind))
            json_array_append_new(list, network_document(s, kind, false));
    return list;
}

// By full name or id first, then by the beginning of an id.
static int find(const struct network_service *s, const char *name, struct error *err)
{
    int found = -1, hits = 0;
    for (int kind = 0; kind < NETWORK_KIND_COUNT; kind++)
        if (is_there(s, kind) && (streq(name, network_kind_name(kind)) || streq(name, s->records[kind].id)))
            return kind;
    for (int kind = 0; kind < NETWORK_KIND_COUNT; kind++)
        if (is_there(s, kind) && id_is_prefix(name) && str_has_prefix(s->records[kind].id, name)) {
            found = kind;
            hits++;
        }
    if (hits == 0)
        return error_set(err, ERROR_NOT_FOUND, "network %s not found", name);
    if (hits > 1)
        return error_set(err, ERROR_INVALID, "network %s is ambiguous (%d matches found based on ID prefix)",
                         name, hits);
    return found;
}

int network_inspect(struct network_service *s, const char *name, json_t **ret, struct error *err)
{
    int kind = find(s, name, err);
    if (kind < 0)
        return -1;
    *ret = network_document(s, kind, true);
    return 0;
}

const char *network_id(struct network_service *s, const char *name)
{
    struct error ignored;
    int kind = find(s, name, &ignored);
    return kind < 0 ? NULL : s->records[kind].id;
}
