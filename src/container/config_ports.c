// ExposedPorts, PortBindings and PublishAllPorts of a create request.
#include "container/config.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <arpa/inet.h>
#include <string.h>

int config_parse_port(const char *text, uint16_t *ret_port, enum network_protocol *ret_protocol,
                      struct error *err)
{
    static const struct {
        const char *name;
        enum network_protocol protocol;
    } protocols[] = { { "tcp", NETWORK_TCP }, { "udp", NETWORK_UDP }, { "sctp", NETWORK_SCTP } };
    CLEANUP(strv_freep) char **parts = strv_split(text, "/", true);
    size_t n = strv_len(parts), k = 0;
    uint32_t port;
    if (n < 1 || n > 2 || !parse_u32(parts[0], 65535, &port) || port == 0)
        return error_set(err, ERROR_INVALID, "invalid port specification: \"%s\"", text);
    for (; n == 2 && k < 3 && strcasecmp(parts[1], protocols[k].name) != 0; k++)
        ;
    if (k == 3)
        return error_set(err, ERROR_INVALID, "invalid port specification: \"%s\"", text);
    *ret_port = (uint16_t)port;
    *ret_protocol = protocols[k].protocol;
    return 0;
}

static int parse_binding(const json_t *binding, struct network_port *p, struct error *err)
{
    const char *ip = json_get_string(binding, "HostIp", ""), *text = json_get_string(binding, "HostPort", "");
    unsigned char address[16];
    if (*ip && inet_pton(AF_INET, ip, address) != 1 && inet_pton(AF_INET6, ip, address) != 1)
        return error_set(err, ERROR_INVALID, "invalid IP address: %s", ip);
    memcpy(p->host_ip, ip, strlen(ip) + 1); // an address that inet_pton takes fits
    CLEANUP(strv_freep) char **range = strv_split(text, "-", true);
    size_t n = strv_len(range);
    uint32_t first = 0, last = 0;
    if (str_is_empty(text))
        return 0;
    if (n < 1 || n > 2 || !parse_u32(range[0], 65535, &first) ||
        (n == 2 && !parse_u32(range[1], 65535, &last)) || (n == 2 && (last < first || first == 0)))
        return error_set(err, ERROR_INVALID, "invalid port specification: \"%s\"", text);
    p->host_port = (uint16_t)first;
    p->last_host_port = n == 2 && last > first ? (uint16_t)last : 0;
    return 0;
}

static void push(struct container_config *c, const struct network_port *p)
{
    c->ports = xreallocarray(c->ports, c->port_count + 1, sizeof *c->ports);
    c->ports[c->port_count++] = *p;
}

static bool is_bound(const struct container_config *c, const struct network_port *p)
{
    for (size_t i = 0; i < c->port_count; i++)
        if (c->ports[i].container_port == p->container_port && c->ports[i].protocol == p->protocol)
            return true;
    return false;
}

int config_parse_ports(const json_t *config, const json_t *host_config, struct container_config *ret,
                       struct error *err)
{
    const char *key;
    json_t *v, *binding;
    size_t i;
    json_object_foreach(json_get_object(host_config, "PortBindings"), key, v)
    {
        struct network_port p = { 0 };
        if (config_parse_port(key, &p.container_port, &p.protocol, err) < 0)
            return -1;
        if (!json_array_size(v))
            push(ret, &p);
        json_array_foreach(v, i, binding)
        {
            struct network_port one = p;
            if (parse_binding(binding, &one, err) < 0)
                return -1;
            push(ret, &one);
        }
    }
    json_object_foreach(json_get_object(config, "ExposedPorts"), key, v)
    {
        struct network_port p = { 0 };
        if (config_parse_port(key, &p.container_port, &p.protocol, err) < 0)
            return -1;
        if (ret->publishes_all && !is_bound(ret, &p))
            push(ret, &p);
    }
    return 0;
}
