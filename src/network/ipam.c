#include "network/ipam.h"

#include "base/mem.h"

#include <string.h>

enum { ADDRESSES_MAX = 65536, BITS = 64 };

// --- addresses of one subnet
static bool is_taken(const struct ipam *ipam, uint32_t at)
{
    return (ipam->bits[at / BITS] >> at % BITS & 1) != 0;
}

static void take(struct ipam *ipam, uint32_t at)
{
    ipam->bits[at / BITS] |= UINT64_C(1) << at % BITS;
    ipam->used++;
}

// The subnet's own addresses: its first, and IPv4's broadcast.
static bool is_edge(const struct ipam *ipam, const struct ip_address *address)
{
    struct ip_address last = ip_prefix_last(&ipam->subnet);
    return ip_equals(address, &ipam->subnet.ip) || (address->family == AF_INET && ip_equals(address, &last));
}

// Where an address is in the bitmap; ADDRESSES_MAX: not in it.
static uint32_t place(const struct ipam *ipam, const struct ip_address *address)
{
    uint64_t at = ip_prefix_index(&ipam->range, address);
    return at < ipam->count ? (uint32_t)at : ADDRESSES_MAX;
}

static void take_edge(struct ipam *ipam, const struct ip_address *address)
{
    uint32_t at = place(ipam, address);
    if (at < ADDRESSES_MAX && is_edge(ipam, address) && !is_taken(ipam, at))
        take(ipam, at);
}

void ipam_init(struct ipam *ipam, const struct ip_prefix *subnet, const struct ip_prefix *range)
{
    *ipam = (struct ipam){ .subnet = ip_network(subnet), .range = ip_network(range ? range : subnet) };
    uint64_t size = ip_prefix_count(&ipam->range);
    ipam->count = size > ADDRESSES_MAX ? ADDRESSES_MAX : (uint32_t)size;
    ipam->bits = xcalloc((ipam->count + BITS - 1) / BITS, sizeof *ipam->bits);
    struct ip_address last = ip_prefix_last(&ipam->subnet);
    take_edge(ipam, &ipam->subnet.ip);
    take_edge(ipam, &last);
}

void ipam_done(struct ipam *ipam)
{
    free(ipam->bits);
    free(ipam->others);
    ipam->bits = NULL;
    ipam->others = NULL;
}

bool ipam_take(struct ipam *ipam, struct ip_address *ret)
{
    if (ipam->used >= ipam->count)
        return false;
    uint32_t at = ipam->next;
    while (is_taken(ipam, at)) {
        bool is_word_full = at % BITS == 0 && at + BITS <= ipam->count && ipam->bits[at / BITS] == UINT64_MAX;
        at = (at + (is_word_full ? BITS : 1)) % ipam->count;
    }
    take(ipam, at);
    ipam->next = (at + 1) % ipam->count;
    return ip_prefix_at(&ipam->range, at, ret);
}

static size_t find_other(const struct ipam *ipam, const struct ip_address *address)
{
    size_t i = 0;
    while (i < ipam->other_count && !ip_equals(&ipam->others[i], address))
        i++;
    return i;
}

bool ipam_take_this(struct ipam *ipam, const struct ip_address *address)
{
    uint32_t at = place(ipam, address);
    if (!ip_prefix_contains(&ipam->subnet, address) || is_edge(ipam, address))
        return false;
    if (at < ADDRESSES_MAX) {
        if (is_taken(ipam, at))
            return false;
        take(ipam, at);
        return true;
    }
    if (find_other(ipam, address) < ipam->other_count)
        return false;
    ipam->others = xreallocarray(ipam->others, ipam->other_count + 1, sizeof *ipam->others);
    ipam->others[ipam->other_count++] = *address;
    return true;
}

void ipam_give_back(struct ipam *ipam, const struct ip_address *address)
{
    uint32_t at = place(ipam, address);
    size_t other = find_other(ipam, address);
    if (other < ipam->other_count) {
        ipam->others[other] = ipam->others[--ipam->other_count];
        return;
    }
    if (at >= ADDRESSES_MAX || is_edge(ipam, address) || !is_taken(ipam, at))
        return;
    ipam->bits[at / BITS] &= ~(UINT64_C(1) << at % BITS);
    ipam->used--;
}

// --- subnets
const struct address_pool bridge_pools[] = {
    { { { AF_INET, { 172, 17 } }, 16 }, 16 }, // Docker's own first
    { { { AF_INET, { 172, 18 } }, 15 }, 16 },
    { { { AF_INET, { 172, 20 } }, 14 }, 16 },
    { { { AF_INET, { 172, 24 } }, 13 }, 16 },
    { { { AF_INET, { 192, 168 } }, 16 }, 20 },
    { { { AF_INET, { 10 } }, 8 }, 16 },
    { { { AF_INET, { 10 } }, 8 }, 24 }, // hosts whose sixteens are all touched somewhere
};
const size_t bridge_pool_count = sizeof bridge_pools / sizeof *bridge_pools;

static bool is_free(const struct ip_prefix *subnet, const struct ip_prefix *taken, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ip_prefix_overlaps(subnet, &taken[i]))
            return false;
    return true;
}

// The n-th subnet of a pool. Its number goes into the bits between the two lengths.
static struct ip_prefix subnet_at(const struct address_pool *pool, uint64_t n)
{
    struct ip_prefix subnet = { pool->base.ip, pool->length };
    for (unsigned bit = pool->length; bit-- > pool->base.length && n > 0; n >>= 1)
        if (n & 1)
            subnet.ip.bytes[bit / 8] = (uint8_t)(subnet.ip.bytes[bit / 8] | 0x80 >> bit % 8);
    return subnet;
}

bool ipam_choose(const struct address_pool *pools, size_t pool_count, const struct ip_prefix *taken,
                 size_t taken_count, struct ip_prefix *ret)
{
    for (size_t p = 0; p < pool_count; p++) {
        unsigned bits = pools[p].length - pools[p].base.length;
        uint64_t count = bits >= 16 ? 65536 : UINT64_C(1) << bits; // more are never looked at
        for (uint64_t i = 0; i < count; i++) {
            struct ip_prefix subnet = subnet_at(&pools[p], i);
            if (!is_free(&subnet, taken, taken_count))
                continue;
            *ret = subnet;
            return true;
        }
    }
    return false;
}
