// -p, --expose: port specifications into ExposedPorts and PortBindings.
#include "cli/create.h"

#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct range {
    uint32_t first, last; // first 0: not given
};

static bool parse_range(const char *text, struct range *ret)
{
    char *first CLEANUP(cleanup_free) = xstrndup(text, strcspn(text, "-"));
    const char *dash = strchr(text, '-');
    struct range r = { 0 };
    if (!parse_u32(first, 65535, &r.first) || !parse_u32(dash ? dash + 1 : first, 65535, &r.last) ||
        r.last < r.first)
        return false;
    *ret = r;
    return true;
}

// "80/tcp" -> "80" in *ret (owned) and the protocol; false for one that is not tcp, udp or sctp.
static bool split_protocol(const char *text, char **ret, const char **ret_protocol)
{
    static const char *const known[] = { "tcp", "udp", "sctp" };
    const char *slash = strrchr(text, '/');
    *ret_protocol = "tcp";
    *ret = xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));
    if (!slash)
        return true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(slash + 1, known[i]) == 0) {
            *ret_protocol = known[i];
            return true;
        }
    return false;
}

static void expose(json_t *exposed, uint32_t port, const char *protocol)
{
    char key[32];
    snprintf(key, sizeof key, "%u/%s", port, protocol);
    json_object_set_new(exposed, key, json_object());
}

static void bind_port(json_t *bindings, uint32_t port, const char *protocol, const char *ip,
                      const char *host_port)
{
    char key[32];
    snprintf(key, sizeof key, "%u/%s", port, protocol);
    json_t *list = json_object_get(bindings, key);
    if (!list) {
        list = json_array();
        json_object_set_new(bindings, key, list);
    }
    json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", ip, "HostPort", host_port));
}

// [ip:]host:container -> its three parts, each owned; ip may be in brackets.
static void split_spec(char *spec, const char **ip, const char **host, const char **container)
{
    *ip = *host = "";
    char *colon = strrchr(spec, ':');
    *container = colon ? colon + 1 : spec;
    if (!colon)
        return;
    *colon = '\0';
    *host = spec;
    if (spec[0] == '[') {
        char *end = strchr(spec, ']');
        if (end && end[1] == ':') {
            *end = '\0';
            *ip = spec + 1;
            *host = end + 2;
            return;
        }
    }
    if ((colon = strrchr(spec, ':'))) {
        *colon = '\0';
        *ip = spec;
        *host = colon + 1;
    }
}

static bool is_address(const char *ip)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, ip, bytes) == 1 || inet_pton(AF_INET6, ip, bytes) == 1;
}

int create_publish(const char *text, json_t *exposed, json_t *bindings, struct error *err)
{
    char *spec CLEANUP(cleanup_free) = NULL;
    const char *protocol, *ip, *host, *container;
    struct range inside, outside = { 0 };
    if (!split_protocol(text, &spec, &protocol))
        return error_set(err, ERROR_INVALID, "invalid proto: %s", strrchr(text, '/') + 1);
    split_spec(spec, &ip, &host, &container);
    if (!*container)
        return error_set(err, ERROR_INVALID, "no port specified: %s<empty>", text);
    if (*ip && !is_address(ip))
        return error_set(err, ERROR_INVALID, "invalid IP address: %s", ip);
    if (!parse_range(container, &inside) || inside.first == 0)
        return error_set(err, ERROR_INVALID, "invalid containerPort: %s", container);
    if (*host && !parse_range(host, &outside))
        return error_set(err, ERROR_INVALID, "invalid hostPort: %s", host);
    bool spans = *host && outside.last - outside.first != inside.last - inside.first;
    if (spans && inside.first != inside.last)
        return error_set(err, ERROR_INVALID,
                         "invalid ranges specified for container and host Ports: %s and %s", container, host);
    for (uint32_t port = inside.first; port <= inside.last; port++) {
        char number[32] = "";
        if (spans) // one port inside, any of a range outside
            snprintf(number, sizeof number, "%u-%u", outside.first, outside.last);
        else if (*host)
            snprintf(number, sizeof number, "%u", outside.first + (port - inside.first));
        expose(exposed, port, protocol);
        bind_port(bindings, port, protocol, ip, number);
    }
    return 0;
}

static int expose_range(const struct options *options, const char *text, json_t *exposed, struct error *err)
{
    char *ports CLEANUP(cleanup_free) = NULL;
    const char *protocol;
    struct range range;
    if (strchr(text, ':'))
        return error_set(err, ERROR_INVALID, "invalid port format for --expose: %s", text);
    if (!split_protocol(text, &ports, &protocol) || !parse_range(ports, &range))
        return error_set(err, ERROR_INVALID, "invalid range format for --expose: %s", text);
    for (uint32_t port = range.first; port <= range.last; port++)
        expose(exposed, port, protocol);
    (void)options;
    return 0;
}

int create_add_ports(const struct options *options, json_t *config, json_t *host, struct error *err)
{
    char *const *published = options_list(options, "publish"), *const *exposed_list =
                                                                   options_list(options, "expose");
    if (options_bool(options, "publish-all", false))
        json_object_set_new(host, "PublishAllPorts", json_true());
    if (!*published && !*exposed_list)
        return 0;
    json_t *exposed = json_object(), *bindings = json_object();
    json_object_set_new(config, "ExposedPorts", exposed);
    json_object_set_new(host, "PortBindings", bindings);
    for (; *published; published++)
        if (create_publish(*published, exposed, bindings, err) < 0)
            return -1;
    for (; *exposed_list; exposed_list++)
        if (expose_range(options, *exposed_list, exposed, err) < 0)
            return -1;
    return 0;
}
