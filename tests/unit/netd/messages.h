// DNS messages for the tests of netd/, made by hand.
#pragma once

#include "netd/dns.h"

#include <string.h>

struct message {
    uint8_t bytes[DNS_UDP_MAX];
    size_t n;
};

static inline void add(struct message *m, const void *bytes, size_t n)
{
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static inline void add16(struct message *m, unsigned v)
{
    dns_put16(m->bytes + m->n, (uint16_t)v);
    m->n += 2;
}

static inline void add_name(struct message *m, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        m->bytes[m->n++] = (uint8_t)n;
        add(m, name, n);
        name += n + (name[n] == '.');
    }
    m->bytes[m->n++] = 0;
}

// A header and a question.
static inline struct message query_of(const char *name, unsigned type)
{
    struct message m = { .n = 0 };
    add(&m, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", DNS_HEADER);
    add_name(&m, name);
    add16(&m, type);
    add16(&m, 1);
    return m;
}

// The question's own name again, type, class IN, TTL, data.
static inline void add_record(struct message *m, unsigned type, unsigned long ttl, const void *data, size_t n)
{
    add(m, "\xc0\x0c", 2);
    add16(m, type);
    add16(m, 1);
    dns_put32(m->bytes + m->n, (uint32_t)ttl);
    m->n += 4;
    add16(m, (unsigned)n);
    add(m, data, n);
}

static inline void add_edns(struct message *m, unsigned size, unsigned flags, unsigned option_bytes)
{
    static const uint8_t options[64];
    m->bytes[m->n++] = 0;
    add16(m, DNS_OPT);
    add16(m, size);
    add16(m, 0);
    add16(m, flags);
    add16(m, option_bytes);
    add(m, options, option_bytes);
    dns_put16(m->bytes + 10, (uint16_t)(dns_get16(m->bytes + 10) + 1));
}

// The reply to it: flags, and how many records of each kind follow.
static inline struct message reply_to(const struct message *query, unsigned flags, unsigned answers,
                                      unsigned authorities)
{
    struct message m = *query;
    dns_put16(m.bytes + 2, (uint16_t)flags);
    dns_put16(m.bytes + 6, (uint16_t)answers);
    dns_put16(m.bytes + 8, (uint16_t)authorities);
    return m;
}
