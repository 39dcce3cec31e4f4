// IPv4 addresses: which range a network takes, and which address a container. Values and pure functions but
// for ipam_choose_pool, which reads the host's routes. Addresses in host byte order. Not locked.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IP_TEXT_MAX = 16 };

// "172.17.0.2" <-> number. Leading zeros, spaces and short forms are refused.
bool ip_parse(const char *text, uint32_t *ret);
void ip_format(uint32_t address, char text[static IP_TEXT_MAX]);
// "172.17.0.1/16": the address and the prefix length.
bool cidr_parse(const char *text, uint32_t *ret_address, unsigned *ret_prefix);
bool cidr_overlaps(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix);

// One address range. Addresses are handed out in rising order, wrapping at the end (next fit), so that one
// that came back is not given to the next container while peers still know it under its old owner. Network
// and broadcast address are never given; of a range wider than /16 only the first 65,536 addresses are.
struct ipam {
    uint32_t network;
    unsigned prefix;
    uint32_t count; // addresses in the bitmap
    uint32_t next;  // where the search begins
    uint32_t used;
    uint64_t *bits;
};

// prefix 8 to 30.
void ipam_init(struct ipam *ipam, uint32_t network, unsigned prefix);
void ipam_done(struct ipam *ipam);
// False when the range is used up.
bool ipam_take(struct ipam *ipam, uint32_t *ret_address);
// A given address; false when it is taken or outside.
bool ipam_take_this(struct ipam *ipam, uint32_t address);
// Giving back what is not taken is harmless.
void ipam_give_back(struct ipam *ipam, uint32_t address);

struct route {
    uint32_t network;
    unsigned prefix;
};
// The first of 172.17.0.0/16 ... 172.31.0.0/16, 192.168.0.0/20 ..., 10.0.0.0/16 ..., that meets no route but
// a default one. False when every one does.
bool ipam_choose_pool(const struct route *routes, size_t n, uint32_t *ret_network, unsigned *ret_prefix);
