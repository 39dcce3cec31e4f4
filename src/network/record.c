// A network as a value; its record, which is a create request with nothing left open; its document.
#include "network/service.h"

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

struct network *network_new(void)
{
    struct network *n = NEW(struct network);
    n->has_ipv4 = n->has_masquerade = n->is_inter_container_allowed = true;
    return n;
}

void network_free(struct network *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->pool_count; i++) {
        ipam_done(&n->pools[i].ipam);
        json_decref(n->pools[i].reserved);
    }
    json_decref(n->options);
    json_decref(n->labels);
    json_decref(n->ipam_options);
    free(n->name);
    free(n);
}

static json_t *pool_document(const struct network_pool *pool)
{
    char text[IP_PREFIX_TEXT_MAX];
    json_t *d = json_object();
    ip_prefix_format(&pool->subnet, text);
    json_set_string(d, "Subnet", text);
    if (pool->range.length > 0) {
        ip_prefix_format(&pool->range, text);
        json_set_string(d, "IPRange", text);
    }
    if (!ip_is_none(&pool->gateway)) {
        ip_format(&pool->gateway, text);
        json_set_string(d, "Gateway", text);
    }
    if (json_object_size(pool->reserved) > 0)
        json_object_set(d, "AuxiliaryAddresses", pool->reserved);
    return d;
}

static json_t *ipam_document(const struct network *n)
{
    json_t *ipam = json_object(), *configs = json_array();
    for (size_t i = 0; i < n->pool_count; i++)
        json_array_append_new(configs, pool_document(&n->pools[i]));
    json_set_string(ipam, "Driver", "default");
    json_object_set_new(ipam, "Options", n->ipam_options ? json_incref(n->ipam_options) : json_null());
    if (n->driver == NETWORK_HOST || n->driver == NETWORK_NULL) {
        json_decref(configs);
        configs = json_null();
    }
    json_object_set_new(ipam, "Config", configs);
    return ipam;
}

// The members that the record and the document have in common.
static json_t *common_document(const struct network *n)
{
    json_t *d = json_object();
    json_set_string(d, "Name", n->name);
    json_set_string(d, "Id", n->id);
    json_set_string(d, "Created", n->created);
    json_set_string(d, "Scope", "local");
    json_set_string(d, "Driver", network_driver_name(n->driver));
    json_set_bool(d, "EnableIPv4", n->has_ipv4);
    json_set_bool(d, "EnableIPv6", n->has_ipv6);
    json_object_set_new(d, "IPAM", ipam_document(n));
    json_set_bool(d, "Internal", n->is_internal);
    json_set_bool(d, "Attachable", n->is_attachable);
    json_set_bool(d, "Ingress", false);
    return d;
}

json_t *network_document(const struct network *n)
{
    json_t *d = common_document(n), *from = json_object();
    json_set_string(from, "Network", "");
    json_object_set_new(d, "ConfigFrom", from);
    json_set_bool(d, "ConfigOnly", false);
    json_object_set_new(d, "Containers", json_object());
    json_object_set_new(d, "Options", json_copy(n->options));
    json_object_set_new(d, "Labels", json_copy(n->labels));
    json_set_bool(d, "Builtin", n->is_predefined);
    return d;
}

json_t *network_record(const struct network *n)
{
    json_t *d = common_document(n);
    json_object_set(d, "Options", n->options);
    json_object_set(d, "Labels", n->labels);
    json_set_bool(d, "HasOwnPool", n->has_own_pool);
    json_set_bool(d, "IsBridgeForeign", n->is_bridge_foreign);
    return d;
}

int network_from_record(const char *id, const json_t *record, struct network **ret, struct error *err)
{
    struct network *n;
    if (!id_is_full(id))
        return error_set(err, ERROR_INVALID, "network record %.80s: not an id", id);
    if (network_config_parse(record, &n, err) < 0)
        return -1;
    n->is_bridge_foreign = json_get_bool(record, "IsBridgeForeign", false);
    snprintf(n->id, sizeof n->id, "%s", id);
    snprintf(n->created, sizeof n->created, "%s", json_get_string(record, "Created", ""));
    if (network_apply_options(n, err) < 0) {
        network_free(n);
        return -1;
    }
    *ret = n;
    return 0;
}
