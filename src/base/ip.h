// IP addresses and prefixes as values, both families alike. Pure functions. Text: RFC 4291 2.2, RFC 5952, RFC 4632.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { IP_BYTES_MAX = 16, IP_TEXT_MAX = 46, IP_PREFIX_TEXT_MAX = 50 };

// All zero: none. Otherwise AF_INET (four bytes, the rest zero) or AF_INET6; network byte order.
struct ip_address {
    uint8_t family;
    uint8_t bytes[IP_BYTES_MAX];
};

// An address with the length of its network's part; of a network, the other bits are zero.
struct ip_prefix {
    struct ip_address ip;
    uint8_t length;
};

// "172.17.0.2", "fd00::2". Short IPv4 forms, leading zeros, zones and spaces are refused; *ret stays.
bool ip_parse(const char *text, struct ip_address *ret);
// "" for none.
void ip_format(const struct ip_address *ip, char text[static IP_TEXT_MAX]);
// "172.17.0.1/16": host bits are kept.
bool ip_prefix_parse(const char *text, struct ip_prefix *ret);
void ip_prefix_format(const struct ip_prefix *prefix, char text[static IP_PREFIX_TEXT_MAX]);

static inline bool ip_is_none(const struct ip_address *ip)
{
    return ip->family == 0;
}
static inline unsigned ip_byte_count(const struct ip_address *ip)
{
    return ip->family == AF_INET6 ? 16 : 4;
}
static inline unsigned ip_bit_count(const struct ip_address *ip)
{
    return 8 * ip_byte_count(ip);
}
bool ip_equals(const struct ip_address *a, const struct ip_address *b);
// Order: IPv4 before IPv6, then by value. As qsort's.
int ip_compare(const struct ip_address *a, const struct ip_address *b);
bool ip_is_any(const struct ip_address *ip); // 0.0.0.0, ::
bool ip_is_loopback(const struct ip_address *ip);
bool ip_is_multicast(const struct ip_address *ip);
bool ip_is_link_local(const struct ip_address *ip); // 169.254.0.0/16, fe80::/10

// The network an address with a prefix length is in: host bits cleared.
struct ip_prefix ip_network(const struct ip_prefix *prefix);
// False between families.
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *ip);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_equals(const struct ip_prefix *a, const struct ip_prefix *b);
// How many addresses; UINT64_MAX when they do not fit.
uint64_t ip_prefix_count(const struct ip_prefix *prefix);
// The n-th address from the network's first (which is 0). False outside.
bool ip_prefix_at(const struct ip_prefix *prefix, uint64_t n, struct ip_address *ret);
// The other way; UINT64_MAX when it is outside or does not fit.
uint64_t ip_prefix_index(const struct ip_prefix *prefix, const struct ip_address *ip);
// The last address: IPv4's broadcast address.
struct ip_address ip_prefix_last(const struct ip_prefix *prefix);

// Returns the length.
socklen_t ip_to_sockaddr(const struct ip_address *ip, uint16_t port, struct sockaddr_storage *ret);
// False for another family; an IPv4-mapped IPv6 address becomes IPv4.
bool ip_from_sockaddr(const struct sockaddr *address, struct ip_address *ret, uint16_t *ret_port);
