#include "network/ipam.h"

#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { ADDRESSES_MAX = 65536, BITS = 64 };

bool ip_parse(const char *text, uint32_t *ret)
{
    struct in_addr a;
    if (inet_pton(AF_INET, text, &a) != 1)
        return false;
    *ret = ntohl(a.s_addr);
    return true;
}

void ip_format(uint32_t a, char text[static IP_TEXT_MAX])
{
    snprintf(text, IP_TEXT_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

bool cidr_parse(const char *text, uint32_t *ret_address, unsigned *ret_prefix)
{
    char address[IP_TEXT_MAX];
    const char *slash = strchr(text, '/');
    uint32_t prefix;
    if (slash == NULL || (size_t)(slash - text) >= sizeof address || !parse_u32(slash + 1, 32, &prefix))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (!ip_parse(address, ret_address))
        return false;
    *ret_prefix = prefix;
    return true;
}

static uint32_t mask_of(unsigned prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool cidr_overlaps(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix)
{
    uint32_t mask = mask_of(a_prefix < b_prefix ? a_prefix : b_prefix);
    return (a & mask) == (b & mask);
}

// --- addresses of one range
static bool is_taken(const struct ipam *ipam, uint32_t at)
{
    return (ipam->bits[at / BITS] >> at % BITS & 1) != 0;
}

static void take(struct ipam *ipam, uint32_t at)
{
    ipam->bits[at / BITS] |= UINT64_C(1) << at % BITS;
    ipam->used++;
}

void ipam_init(struct ipam *ipam, uint32_t network, unsigned prefix)
{
    uint64_t size = UINT64_C(1) << (32 - prefix);
    *ipam = (struct ipam){ .network = network & mask_of(prefix), .prefix = prefix };
    ipam->count = size > ADDRESSES_MAX ? ADDRESSES_MAX : (uint32_t)size;
    ipam->bits = xcalloc((ipam->count + BITS - 1) / BITS, sizeof *ipam->bits);
    take(ipam, 0); // the network itself
    if (size <= ADDRESSES_MAX)
        take(ipam, ipam->count - 1); // broadcast
    ipam->next = 1;
}

void ipam_done(struct ipam *ipam)
{
    free(ipam->bits);
    ipam->bits = NULL;
}

bool ipam_take(struct ipam *ipam, uint32_t *ret_address)
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
    *ret_address = ipam->network + at;
    return true;
}

bool ipam_take_this(struct ipam *ipam, uint32_t address)
{
    uint32_t at = address - ipam->network;
    if (address < ipam->network || at >= ipam->count || is_taken(ipam, at))
        return false;
    take(ipam, at);
    return true;
}

void ipam_give_back(struct ipam *ipam, uint32_t address)
{
    uint32_t at = address - ipam->network;
    bool is_edge = at == 0 || (ipam->prefix >= 16 && at == ipam->count - 1);
    if (address < ipam->network || at >= ipam->count || is_edge || !is_taken(ipam, at))
        return;
    ipam->bits[at / BITS] &= ~(UINT64_C(1) << at % BITS);
    ipam->used--;
}

// --- ranges
static bool is_free(uint32_t network, unsigned prefix, const struct route *routes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (routes[i].prefix > 0 && cidr_overlaps(network, prefix, routes[i].network, routes[i].prefix))
            return false;
    return true;
}

bool ipam_choose_pool(const struct route *routes, size_t n, uint32_t *ret_network, unsigned *ret_prefix)
{
    static const struct {
        uint32_t first;
        unsigned prefix, count;
    } pools[] = {
        { 0xac110000, 16, 15 },    // 172.17.0.0/16 ... 172.31.0.0/16
        { 0xc0a80000, 20, 16 },    // 192.168.0.0/20 ...
        { 0x0a000000, 16, 256 },   // 10.0.0.0/16 ...
        { 0x0a000000, 24, 65536 }, // 10.0.0.0/24 ...: hosts whose sixteens are all touched somewhere
    };
    for (size_t p = 0; p < sizeof pools / sizeof *pools; p++) {
        for (unsigned i = 0; i < pools[p].count; i++) {
            uint32_t network = pools[p].first + (i << (32 - pools[p].prefix));
            if (!is_free(network, pools[p].prefix, routes, n))
                continue;
            *ret_network = network;
            *ret_prefix = pools[p].prefix;
            return true;
        }
    }
    return false;
}
