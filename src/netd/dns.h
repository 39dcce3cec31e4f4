// DNS messages as far as a resolver of container names needs them: one question in, answers out; of what others answer, where the
// times to live are. Every byte is foreign: bounded, never followed in circles. Pure functions. Source: RFC 1035 4, RFC 6891.
#pragma once

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_HEADER = 12,
    DNS_NAME_TEXT = 254,     // as text, with its NUL
    DNS_UDP_PLAIN = 512,     // what everybody takes
    DNS_UDP_MAX = 4096,      // what we send at most in a datagram
    DNS_MESSAGE_MAX = 65535, // over TCP
    DNS_ANSWERS_MAX = 64
};
enum dns_type { DNS_A = 1, DNS_SOA = 6, DNS_PTR = 12, DNS_AAAA = 28, DNS_OPT = 41, DNS_ANY = 255 };
enum {
    DNS_FLAGS_OF_ASKER = 0x0130
}; // recursion desired, authentic data, checking disabled: what a reply depends on
enum dns_code {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5
};

struct dns_question {
    uint16_t id;
    uint16_t flags;
    char name[DNS_NAME_TEXT]; // lower case, no final dot; "" is the root
    uint16_t type, class;
    size_t end;        // where the question section ends
    size_t udp_size;   // what the asker takes in a datagram
    bool is_supported; // a plain query of class IN
    bool has_edns;
    bool has_options;    // cookies and the like: the reply is for this asker alone
    uint16_t edns_flags; // DO
};

// A query with one question. false: not even an error can be answered to it.
bool dns_parse_question(const uint8_t *message, size_t n, struct dns_question *ret);

// Answers to a query, whose question is copied from it. Each returns the length, at most `size` (>= DNS_UDP_PLAIN); what does not fit
// is left out and the truncation bit set.
size_t dns_reply_code(const uint8_t *query, const struct dns_question *q, enum dns_code code, uint8_t *to,
                      size_t size);
// Nothing but the question, truncated: ask again over TCP.
size_t dns_reply_truncated(const uint8_t *query, const struct dns_question *q, uint8_t *to, size_t size);
size_t dns_reply_addresses(const uint8_t *query, const struct dns_question *q,
                           const struct ip_address *addresses, size_t n, uint32_t ttl_s, uint8_t *to,
                           size_t size);
size_t dns_reply_name(const uint8_t *query, const struct dns_question *q, const char *name, uint32_t ttl_s,
                      uint8_t *to, size_t size);

// The address that a name below in-addr.arpa or ip6.arpa stands for.
bool dns_reverse_address(const char *name, struct ip_address *ret);

// What a reply says of its own life: its code, the smallest TTL of its records (of a negative one what its SOA allows), and where
// they are. false: malformed, or nothing that may be kept.
struct dns_lifetime {
    enum dns_code code;
    uint32_t ttl_s;
    uint16_t ttl_at[DNS_ANSWERS_MAX];
    size_t ttl_count;
};
bool dns_lifetime(const uint8_t *reply, size_t n, struct dns_lifetime *ret);

static inline uint16_t dns_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t dns_get32(const uint8_t *at)
{
    return (uint32_t)dns_get16(at) << 16 | dns_get16(at + 2);
}
static inline void dns_put16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}
static inline void dns_put32(uint8_t *at, uint32_t v)
{
    dns_put16(at, (uint16_t)(v >> 16));
    dns_put16(at + 2, (uint16_t)v);
}
