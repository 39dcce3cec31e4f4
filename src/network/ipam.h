// Addresses: which range a network takes, and which address a container. Values and pure functions. Not locked.
#pragma once

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One subnet. Addresses are handed out in rising order, wrapping at the end (next fit), so that one that came back is not
// given to the next container while peers still know it under its old owner. The subnet's first address and, of IPv4, its
// last are never given. They come from `range`, a part of the subnet, and of a range wider than 65,536 addresses from its
// first 65,536; any other address of the subnet can be taken by name.
struct ipam {
    struct ip_prefix subnet, range;
    uint32_t count; // addresses in the bitmap
    uint32_t next;  // where the search begins
    uint32_t used;
    uint64_t *bits;
    struct ip_address *others; // taken outside the bitmap
    size_t other_count;
};

// range NULL: the whole subnet; otherwise a network inside it.
void ipam_init(struct ipam *ipam, const struct ip_prefix *subnet, const struct ip_prefix *range);
void ipam_done(struct ipam *ipam);
// False when the range is used up.
bool ipam_take(struct ipam *ipam, struct ip_address *ret);
// A given address; false when it is taken, outside, or one that is never given.
bool ipam_take_this(struct ipam *ipam, const struct ip_address *address);
// Giving back what is not taken is harmless.
void ipam_give_back(struct ipam *ipam, const struct ip_address *address);

// Where subnets come from: networks of `length` bits out of `base` (dockerd's --default-address-pool).
struct address_pool {
    struct ip_prefix base;
    uint8_t length;
};
// For the default bridge: 172.17.0.0/16 ... 172.31.0.0/16, then 192.168.0.0/20 ..., 10.0.0.0/16 ... and /24.
extern const struct address_pool bridge_pools[];
extern const size_t bridge_pool_count;
// The first network of the pools that meets none of `taken` (the host's routes but the default one, our networks). False when
// every one does.
bool ipam_choose(const struct address_pool *pools, size_t pool_count, const struct ip_prefix *taken,
                 size_t taken_count, struct ip_prefix *ret);
