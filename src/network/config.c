// From a create request (or a record, which has the same shape) to a network.
// Source: Engine API NetworkCreateRequest; the options of Docker's bridge, macvlan and ipvlan drivers.
#include "network/service.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const driver_names[] = { [NETWORK_BRIDGE] = "bridge",
                                            [NETWORK_HOST] = "host",
                                            [NETWORK_NULL] = "null",
                                            [NETWORK_MACVLAN] = "macvlan",
                                            [NETWORK_IPVLAN] = "ipvlan" };
enum { DRIVERS = sizeof driver_names / sizeof *driver_names };

const char *network_driver_name(enum network_driver driver)
{
    return driver_names[driver];
}

// --- what a request says in plain members
static int parse_name(const json_t *request, struct network *n, struct error *err)
{
    const char *name = json_get_string(request, "Name", "");
    if (str_is_empty(name) || strspn(name, " \t\n") == strlen(name))
        return error_set(err, ERROR_INVALID, "invalid name: name is empty");
    if (strlen(name) > NETWORK_NAME_MAX || strchr(name, '/'))
        return error_set(err, ERROR_INVALID, "invalid name: %.300s: at most %d characters, no '/'", name,
                         NETWORK_NAME_MAX);
    free_and_strdup(&n->name, name);
    return 0;
}

static int parse_driver(const json_t *request, struct network *n, struct error *err)
{
    const char *name = json_get_string(request, "Driver", "");
    if (str_is_empty(name) || streq(name, "default"))
        name = "bridge";
    for (int i = 0; i < DRIVERS; i++)
        if (streq(name, driver_names[i])) {
            n->driver = (enum network_driver)i;
            return 0;
        }
    return error_set(err, ERROR_NOT_FOUND, "plugin \"%s\" not found", name);
}

static int refuse_swarm(const json_t *request, struct error *err)
{
    const char *scope = json_get_string(request, "Scope", "");
    if (json_get_bool(request, "Ingress", false))
        return error_set(err, ERROR_UNSUPPORTED, "ingress networks need a swarm, which skiff does not have");
    if (json_get_bool(request, "ConfigOnly", false) ||
        !str_is_empty(json_get_string(json_get_object(request, "ConfigFrom"), "Network", "")))
        return error_set(err, ERROR_UNSUPPORTED,
                         "configuration-only networks (ConfigOnly, ConfigFrom) are not supported");
    if (!str_is_empty(scope) && !streq(scope, "local"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "networks of scope %s need a swarm, which skiff does not have", scope);
    return 0;
}

// An object of texts, copied. Absent: empty.
static int parse_texts(const json_t *request, const char *key, json_t **ret, struct error *err)
{
    json_t *from = json_get_object(request, key), *value;
    const char *name;
    json_object_foreach(from, name, value) if (!json_is_string(value)) return error_set(
        err, ERROR_INVALID, "invalid network: %s.%s is not a string", key, name);
    *ret = from ? json_deep_copy(from) : json_object();
    return 0;
}

// --- subnets
static int parse_address(const char *text, const struct ip_prefix *subnet, const char *what,
                         struct ip_address *ret, struct error *err)
{
    if (!ip_parse(text, ret))
        return error_set(err, ERROR_INVALID, "invalid network config:\ninvalid %s %s: not an IP address",
                         what, text);
    if (!ip_prefix_contains(subnet, ret)) {
        char own[IP_PREFIX_TEXT_MAX];
        ip_prefix_format(subnet, own);
        return error_set(
            err, ERROR_INVALID,
            "invalid network config:\ninvalid %s %s: parent subnet %s doesn't contain this address", what,
            text, own);
    }
    return 0;
}

static int parse_prefix(const char *text, const char *what, struct ip_prefix *ret, struct error *err)
{
    char should[IP_PREFIX_TEXT_MAX];
    if (!ip_prefix_parse(text, ret))
        return error_set(err, ERROR_INVALID,
                         "invalid network config:\ninvalid %s %s: invalid CIDR block notation", what, text);
    struct ip_prefix network = ip_network(ret);
    ip_prefix_format(&network, should);
    if (!ip_prefix_equals(ret, &network))
        return error_set(err, ERROR_INVALID, "invalid network config:\ninvalid %s %s: it should be %s", what,
                         text, should);
    return 0;
}

// Room for the network's own addresses, a gateway and one container.
static int check_size(const struct ip_prefix *subnet, const char *text, struct error *err)
{
    unsigned most = ip_bit_count(&subnet->ip) - 2, least = subnet->ip.family == AF_INET ? 8 : 16;
    if (subnet->length > most || subnet->length < least)
        return error_set(err, ERROR_INVALID,
                         "invalid network config:\ninvalid subnet %s: its length must be %u to %u", text,
                         least, most);
    return 0;
}

static int parse_range(const char *text, struct network_pool *pool, struct error *err)
{
    if (parse_prefix(text, "ip-range", &pool->range, err) < 0)
        return -1;
    if (pool->range.length < pool->subnet.length || !ip_prefix_contains(&pool->subnet, &pool->range.ip)) {
        char own[IP_PREFIX_TEXT_MAX];
        ip_prefix_format(&pool->subnet, own);
        return error_set(
            err, ERROR_INVALID,
            "invalid network config:\ninvalid ip-range %s: parent subnet %s doesn't contain ip-range", text,
            own);
    }
    return 0;
}

static int parse_reserved(const json_t *config, struct network_pool *pool, struct error *err)
{
    json_t *list = json_get_object(config, "AuxiliaryAddresses"), *value;
    const char *name;
    struct ip_address ignored;
    if (!list)
        list = json_get_object(config, "AuxAddress"); // API 1.2x
    json_object_foreach(list, name,
                        value) if (parse_address(json_is_string(value) ? json_string_value(value) : "",
                                                 &pool->subnet, "auxiliary address", &ignored,
                                                 err) < 0) return -1;
    pool->reserved = list ? json_deep_copy(list) : NULL;
    return 0;
}

static int parse_pool(const json_t *config, struct network *n, struct error *err)
{
    const char *subnet = json_get_string(config, "Subnet", ""),
               *range = json_get_string(config, "IPRange", ""),
               *gateway = json_get_string(config, "Gateway", "");
    struct network_pool *pool = &n->pools[n->pool_count];
    if (str_is_empty(subnet)) {
        if (str_is_empty(range) && str_is_empty(gateway))
            return 0; // as good as no configuration
        return error_set(
            err, ERROR_INVALID,
            "invalid network config:\ninvalid subnet : a subnet is needed with an ip-range or gateway");
    }
    if (n->pool_count == NETWORK_POOLS_MAX)
        return error_set(err, ERROR_INVALID, "invalid network config:\nmore than %d subnets",
                         NETWORK_POOLS_MAX);
    if (parse_prefix(subnet, "subnet", &pool->subnet, err) < 0 || check_size(&pool->subnet, subnet, err) < 0)
        return -1;
    n->pool_count++; // from here on network_free looks at it
    if (!str_is_empty(range) && parse_range(range, pool, err) < 0)
        return -1;
    if (!str_is_empty(gateway) && parse_address(gateway, &pool->subnet, "gateway", &pool->gateway, err) < 0)
        return -1;
    return parse_reserved(config, pool, err);
}

static int parse_ipam(const json_t *request, struct network *n, struct error *err)
{
    json_t *ipam = json_get_object(request, "IPAM"), *config;
    const char *driver = json_get_string(ipam, "Driver", "");
    size_t i;
    if (!str_is_empty(driver) && !streq(driver, "default"))
        return error_set(err, ERROR_NOT_FOUND, "plugin \"%s\" not found", driver);
    json_array_foreach(json_get_array(ipam, "Config"), i,
                       config) if (parse_pool(config, n, err) < 0) return -1;
    if (json_get_object(ipam, "Options"))
        n->ipam_options = json_deep_copy(json_get_object(ipam, "Options"));
    n->has_own_pool = json_get_bool(request, "HasOwnPool", n->pool_count > 0);
    for (i = 0; i < n->pool_count; i++) {
        bool is_six = n->pools[i].subnet.ip.family == AF_INET6;
        if (is_six ? !n->has_ipv6 : !n->has_ipv4) {
            char text[IP_PREFIX_TEXT_MAX];
            ip_prefix_format(&n->pools[i].subnet, text);
            return error_set(
                err, ERROR_INVALID,
                "invalid network config:\ninvalid subnet %s: IPv%d has not been enabled for this network",
                text, is_six ? 6 : 4);
        }
    }
    return 0;
}

int network_config_parse(const json_t *request, struct network **ret, struct error *err)
{
    struct network *n = network_new();
    json_t *ipv4 = json_object_get(request, "EnableIPv4");
    n->has_ipv4 = !json_is_boolean(ipv4) || json_is_true(ipv4);
    n->has_ipv6 = json_get_bool(request, "EnableIPv6", false);
    n->is_internal = json_get_bool(request, "Internal", false);
    n->is_attachable = json_get_bool(request, "Attachable", false);
    if (parse_name(request, n, err) < 0 || parse_driver(request, n, err) < 0 ||
        refuse_swarm(request, err) < 0 || parse_texts(request, "Options", &n->options, err) < 0 ||
        parse_texts(request, "Labels", &n->labels, err) < 0 || parse_ipam(request, n, err) < 0) {
        network_free(n);
        return -1;
    }
    if (!n->has_ipv4 && !n->has_ipv6 && (n->driver == NETWORK_BRIDGE)) {
        network_free(n);
        return error_set(err, ERROR_INVALID, "invalid network config:\nIPv4 or IPv6 must be enabled");
    }
    *ret = n;
    return 0;
}

// --- what the options say
static int parse_switch(const char *key, const char *value, bool *ret, struct error *err)
{
    static const char *const yes[] = { "1", "t", "true" }, *const no[] = { "0", "f", "false" };
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return *ret = true, 0;
        if (strcasecmp(value, no[i]) == 0)
            return *ret = false, 0;
    }
    return error_set(err, ERROR_INVALID, "invalid value for option %s: %s: not true or false", key, value);
}

static int parse_interface(const char *key, const char *value, char *ret, struct error *err)
{
    if (str_is_empty(value) || strlen(value) >= IFNAMSIZ || strpbrk(value, "/ \t\n:") != NULL)
        return error_set(err, ERROR_INVALID,
                         "invalid value for option %s: %.100s: interface names have 1 to %d characters", key,
                         value, IFNAMSIZ - 1);
    snprintf(ret, IFNAMSIZ, "%s", value);
    return 0;
}

static int parse_mtu(const char *key, const char *value, int *ret, struct error *err)
{
    uint32_t mtu;
    if (!parse_u32(value, 65535, &mtu) || mtu < 68)
        return error_set(err, ERROR_INVALID, "invalid value for option %s: %s: 68 to 65535", key, value);
    *ret = (int)mtu;
    return 0;
}

static int apply_bridge_option(struct network *n, const char *key, const char *value, struct error *err)
{
    if (streq(key, "com.docker.network.bridge.name"))
        return parse_interface(key, value, n->bridge, err);
    if (streq(key, "com.docker.network.bridge.enable_icc"))
        return parse_switch(key, value, &n->is_inter_container_allowed, err);
    if (streq(key, "com.docker.network.bridge.enable_ip_masquerade"))
        return parse_switch(key, value, &n->has_masquerade, err);
    if (streq(key, "com.docker.network.bridge.host_binding_ipv4")) {
        if (!ip_parse(value, &n->publish_ip) || n->publish_ip.family != AF_INET)
            return error_set(err, ERROR_INVALID, "invalid value for option %s: %s: not an IPv4 address", key,
                             value);
        return 0;
    }
    bool is_mode = streq(key, "com.docker.network.bridge.gateway_mode_ipv4") ||
                   streq(key, "com.docker.network.bridge.gateway_mode_ipv6");
    if (is_mode && !str_is_empty(value) && !streq(value, "nat"))
        return error_set(err, ERROR_UNSUPPORTED, "option %s=%s is not supported: only nat is", key, value);
    return 0;
}

static int choose(const char *key, const char *value, const char *const *names, const uint32_t *modes,
                  size_t n, uint32_t *ret, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (streq(value, names[i]))
            return *ret = modes[i], 0;
    return error_set(err, ERROR_INVALID, "invalid value for option %s: requested %s is not valid", key,
                     value);
}

static int apply_macvlan_option(struct network *n, const char *key, const char *value, struct error *err)
{
    static const char *const names[] = { "", "bridge", "private", "vepa", "passthru" };
    static const uint32_t modes[] = { MACVLAN_MODE_BRIDGE, MACVLAN_MODE_BRIDGE, MACVLAN_MODE_PRIVATE,
                                      MACVLAN_MODE_VEPA, MACVLAN_MODE_PASSTHRU };
    if (streq(key, "parent"))
        return parse_interface(key, value, n->parent, err);
    return streq(key, "macvlan_mode") ? choose(key, value, names, modes, 5, &n->mode, err) : 0;
}

static int apply_ipvlan_option(struct network *n, const char *key, const char *value, struct error *err)
{
    static const char *const modes[] = { "", "l2", "l3", "l3s" }, *const flags[] = { "", "bridge", "private",
                                                                                     "vepa" };
    static const uint32_t mode_numbers[] = { IPVLAN_MODE_L2, IPVLAN_MODE_L2, IPVLAN_MODE_L3,
                                             IPVLAN_MODE_L3S },
                          flag_numbers[] = { 0, 0, IPVLAN_F_PRIVATE, IPVLAN_F_VEPA };
    uint32_t flag = n->flags;
    if (streq(key, "parent"))
        return parse_interface(key, value, n->parent, err);
    if (streq(key, "ipvlan_mode"))
        return choose(key, value, modes, mode_numbers, 4, &n->mode, err);
    if (streq(key, "ipvlan_flag") && choose(key, value, flags, flag_numbers, 4, &flag, err) < 0)
        return -1;
    n->flags = (uint16_t)flag;
    return 0;
}

int network_apply_options(struct network *n, struct error *err)
{
    const char *key;
    json_t *value;
    n->mode = n->driver == NETWORK_MACVLAN ? MACVLAN_MODE_BRIDGE : IPVLAN_MODE_L2;
    json_object_foreach(n->options, key, value)
    {
        const char *text = json_string_value(value);
        int r = 0;
        if (streq(key, "com.docker.network.driver.mtu"))
            r = parse_mtu(key, text, &n->mtu, err);
        else if (n->driver == NETWORK_BRIDGE)
            r = apply_bridge_option(n, key, text, err);
        else if (n->driver == NETWORK_MACVLAN)
            r = apply_macvlan_option(n, key, text, err);
        else if (n->driver == NETWORK_IPVLAN)
            r = apply_ipvlan_option(n, key, text, err);
        if (r < 0)
            return -1;
    }
    if (n->driver == NETWORK_BRIDGE && n->bridge[0] == '\0')
        snprintf(n->bridge, sizeof n->bridge, "br-%.12s", n->id);
    return 0;
}
