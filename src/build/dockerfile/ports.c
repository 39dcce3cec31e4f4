#include "build/dockerfile/ports.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "build/dockerfile/word_list.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { PORT_MAX = 65535 };

// "80" or "80-90".
static bool read_range(const char *text, unsigned *ret_first, unsigned *ret_last)
{
    const char *dash = strchr(text, '-');
    char *first CLEANUP(cleanup_free) = xstrndup(text, dash ? (size_t)(dash - text) : strlen(text));
    if (!parse_u32(first, PORT_MAX, ret_first))
        return false;
    *ret_last = *ret_first;
    return !dash || (parse_u32(dash + 1, PORT_MAX, ret_last) && *ret_last >= *ret_first);
}

static bool address_is_valid(const char *text)
{
    struct in6_addr address;
    size_t n = strlen(text);
    bool has_brackets = n > 2 && *text == '[' && text[n - 1] == ']';
    char *bare CLEANUP(cleanup_free) = has_brackets ? xstrndup(text + 1, n - 2) : xstrdup(text);
    return inet_pton(AF_INET, bare, &address) == 1 || inet_pton(AF_INET6, bare, &address) == 1;
}

static int read_protocol(const char *text, const char *port, struct dockerfile_port *ret, struct error *err)
{
    static const char *const names[] = { "tcp", "udp", "sctp" };
    ret->protocol = names[0];
    if (!*text)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(names[i], text) == 0) {
            ret->protocol = names[i];
            ret->has_protocol_casing = !streq(names[i], text);
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "invalid port: \"%s\": invalid proto: %s", port, text);
}

// What precedes the port: "ip:host" or "host".
static int check_host_part(const char *text, const struct dockerfile_port *port, const char *range,
                           struct error *err)
{
    const char *colon = strrchr(text, ':');
    const char *host = colon ? colon + 1 : text;
    char *address CLEANUP(cleanup_free) = colon ? xstrndup(text, (size_t)(colon - text)) : NULL;
    unsigned first, last;
    if (!str_is_empty(address) && !address_is_valid(address))
        return error_set(err, ERROR_INVALID, "invalid IP address: %s", address);
    if (!*host)
        return 0;
    if (!read_range(host, &first, &last))
        return error_set(err, ERROR_INVALID, "invalid hostPort: %s", host);
    if (last - first != port->last - port->first && port->last != port->first)
        return error_set(err, ERROR_INVALID,
                         "invalid ranges specified for container and host Ports: %s and %s", range, host);
    return 0;
}

int dockerfile_port_read(const char *text, struct dockerfile_port *ret, struct error *err)
{
    struct dockerfile_port port = { 0 };
    const char *colon = strrchr(text, ':');
    const char *own = colon ? colon + 1 : text;
    size_t n = strcspn(own, "/");
    char *range CLEANUP(cleanup_free) = xstrndup(own, n);
    if (!n)
        return error_set(err, ERROR_INVALID, "invalid port: \"%s\": no port specified", text);
    if (read_protocol(own[n] ? own + n + 1 : "", text, &port, err) < 0)
        return -1;
    if (!read_range(range, &port.first, &port.last))
        return error_set(err, ERROR_INVALID, "invalid containerPort: %s", range);
    if (colon) {
        char *host CLEANUP(cleanup_free) = xstrndup(text, (size_t)(colon - text));
        port.has_host_part = *host && !streq(host, ":");
        if (check_host_part(host, &port, range, err) < 0)
            return -1;
    }
    *ret = port;
    return 0;
}

// The ports listed so far; each is there once, however often and in whatever ranges it is named.
struct port_list {
    struct word_list ports;
    unsigned char seen[PORT_MAX + 1]; // a bit for each protocol
};

static void list_port(struct port_list *list, unsigned number, const char *protocol)
{
    unsigned char bit = *protocol == 't' ? 1 : *protocol == 'u' ? 2 : 4;
    if (list->seen[number] & bit)
        return;
    list->seen[number] |= bit;
    word_list_take(&list->ports, xasprintf("%u/%s", number, protocol));
}

int dockerfile_ports_list(char *const *words, char ***ret, struct error *err)
{
    struct port_list *list CLEANUP(cleanup_free) = NEW(struct port_list);
    for (; words && *words; words++) {
        struct dockerfile_port port;
        if (dockerfile_port_read(*words, &port, err) < 0) {
            strv_free(list->ports.words);
            return -1;
        }
        for (unsigned number = port.first; number <= port.last; number++)
            list_port(list, number, port.protocol);
    }
    *ret = list->ports.words;
    return 0;
}
