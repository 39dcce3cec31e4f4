#include "base/ip.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

// --- text
bool ip_parse(const char *text, struct ip_address *ret)
{
    struct ip_address ip = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
    if (inet_pton(ip.family, text, ip.bytes) != 1)
        return false;
    *ret = ip;
    return true;
}

void ip_format(const struct ip_address *ip, char text[static IP_TEXT_MAX])
{
    if (ip_is_none(ip) || !inet_ntop(ip->family, ip->bytes, text, IP_TEXT_MAX))
        text[0] = '\0';
}

bool ip_prefix_parse(const char *text, struct ip_prefix *ret)
{
    char address[IP_TEXT_MAX];
    const char *slash = strchr(text, '/');
    struct ip_address ip;
    uint32_t length;
    if (!slash || (size_t)(slash - text) >= sizeof address)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (!ip_parse(address, &ip) || !parse_u32(slash + 1, ip_bit_count(&ip), &length))
        return false;
    *ret = (struct ip_prefix){ ip, (uint8_t)length };
    return true;
}

void ip_prefix_format(const struct ip_prefix *prefix, char text[static IP_PREFIX_TEXT_MAX])
{
    ip_format(&prefix->ip, text);
    size_t n = strlen(text);
    if (n > 0)
        snprintf(text + n, IP_PREFIX_TEXT_MAX - n, "/%u", prefix->length);
}

// --- what an address is
bool ip_equals(const struct ip_address *a, const struct ip_address *b)
{
    return ip_compare(a, b) == 0;
}

int ip_compare(const struct ip_address *a, const struct ip_address *b)
{
    if (a->family != b->family)
        return (int)a->family - (int)b->family;
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool ip_is_any(const struct ip_address *ip)
{
    static const uint8_t zero[IP_BYTES_MAX];
    return !ip_is_none(ip) && memcmp(ip->bytes, zero, sizeof zero) == 0;
}

bool ip_is_loopback(const struct ip_address *ip)
{
    static const struct ip_address v6 = { AF_INET6, { [15] = 1 } };
    return ip->family == AF_INET ? ip->bytes[0] == 127 : ip_equals(ip, &v6);
}

bool ip_is_multicast(const struct ip_address *ip)
{
    return ip->family == AF_INET ? (ip->bytes[0] & 0xf0) == 0xe0 : !ip_is_none(ip) && ip->bytes[0] == 0xff;
}

bool ip_is_link_local(const struct ip_address *ip)
{
    return ip->family == AF_INET ? ip->bytes[0] == 169 && ip->bytes[1] == 254
                                 : ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

// --- prefixes
static bool shares_bits(const struct ip_address *a, const struct ip_address *b, unsigned n)
{
    unsigned whole = n / 8, rest = n % 8;
    return a->family == b->family && memcmp(a->bytes, b->bytes, whole) == 0 &&
           (rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0);
}

// Host bits to 0 or 1.
static struct ip_address with_host_bits(const struct ip_prefix *prefix, bool is_set)
{
    struct ip_address ip = prefix->ip;
    for (unsigned bit = prefix->length; bit < ip_bit_count(&ip); bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);
        ip.bytes[bit / 8] = (uint8_t)(is_set ? ip.bytes[bit / 8] | mask : ip.bytes[bit / 8] & ~mask);
    }
    return ip;
}

struct ip_prefix ip_network(const struct ip_prefix *prefix)
{
    return (struct ip_prefix){ with_host_bits(prefix, false), prefix->length };
}

struct ip_address ip_prefix_last(const struct ip_prefix *prefix)
{
    return with_host_bits(prefix, true);
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *ip)
{
    return shares_bits(&prefix->ip, ip, prefix->length);
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return shares_bits(&a->ip, &b->ip, a->length < b->length ? a->length : b->length);
}

bool ip_prefix_equals(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->length == b->length && ip_equals(&a->ip, &b->ip);
}

uint64_t ip_prefix_count(const struct ip_prefix *prefix)
{
    unsigned host_bits = ip_bit_count(&prefix->ip) - prefix->length;
    return host_bits >= 64 ? UINT64_MAX : UINT64_C(1) << host_bits;
}

bool ip_prefix_at(const struct ip_prefix *prefix, uint64_t n, struct ip_address *ret)
{
    if (n >= ip_prefix_count(prefix))
        return false;
    struct ip_address ip = with_host_bits(prefix, false);
    for (unsigned i = ip_byte_count(&ip); i-- > 0 && n > 0; n >>= 8)
        ip.bytes[i] = (uint8_t)(ip.bytes[i] | (n & 0xff));
    *ret = ip;
    return true;
}

uint64_t ip_prefix_index(const struct ip_prefix *prefix, const struct ip_address *ip)
{
    struct ip_address first = with_host_bits(prefix, false);
    uint64_t n = 0;
    if (!ip_prefix_contains(prefix, ip))
        return UINT64_MAX;
    for (unsigned i = 0; i < ip_byte_count(ip); i++) {
        if (n >> 56 != 0)
            return UINT64_MAX;
        n = n << 8 | (uint8_t)(ip->bytes[i] ^ first.bytes[i]);
    }
    return n;
}

// --- sockets
socklen_t ip_to_sockaddr(const struct ip_address *ip, uint16_t port, struct sockaddr_storage *ret)
{
    *ret = (struct sockaddr_storage){ 0 };
    if (ip->family == AF_INET6) {
        struct sockaddr_in6 *to = (struct sockaddr_in6 *)ret;
        to->sin6_family = AF_INET6;
        to->sin6_port = htons(port);
        memcpy(&to->sin6_addr, ip->bytes, 16);
        return sizeof *to;
    }
    struct sockaddr_in *to = (struct sockaddr_in *)ret;
    to->sin_family = AF_INET;
    to->sin_port = htons(port);
    memcpy(&to->sin_addr, ip->bytes, 4);
    return sizeof *to;
}

bool ip_from_sockaddr(const struct sockaddr *address, struct ip_address *ret, uint16_t *ret_port)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in from;
        memcpy(&from, address, sizeof from);
        *ret = (struct ip_address){ .family = AF_INET };
        memcpy(ret->bytes, &from.sin_addr, 4);
        *ret_port = ntohs(from.sin_port);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 from;
    memcpy(&from, address, sizeof from);
    bool is_mapped = IN6_IS_ADDR_V4MAPPED(&from.sin6_addr);
    *ret = (struct ip_address){ .family = is_mapped ? AF_INET : AF_INET6 };
    memcpy(ret->bytes, from.sin6_addr.s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 16);
    *ret_port = ntohs(from.sin6_port);
    return true;
}
