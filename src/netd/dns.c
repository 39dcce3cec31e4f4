#include "netd/dns.h"

#include "base/str.h"

#include <string.h>

enum {
    FLAG_RESPONSE = 0x8000,
    FLAG_OPCODE = 0x7800,
    FLAG_TRUNCATED = 0x0200,
    FLAG_RECURSION_DESIRED = 0x0100,
    FLAG_RECURSION_AVAILABLE = 0x0080,
    CODE_MASK = 0x000f,
    CLASS_IN = 1,
    LABEL_MAX = 63,
    POINTER = 0xc0,
    QUESTION_NAME_AT = DNS_HEADER, // where compressed names point
    RECORD_FIXED = 10              // type, class, TTL, length
};

// --- names

// One uncompressed name as text, as questions have it. Dots within a label have no text we could look up: they become 0xff.
static bool read_question_name(const uint8_t *m, size_t n, size_t *at, char text[static DNS_NAME_TEXT])
{
    size_t out = 0;
    for (;;) {
        if (*at >= n)
            return false;
        size_t len = m[(*at)++];
        if (len == 0)
            break;
        if (len > LABEL_MAX || n - *at < len || out + len + 1 >= DNS_NAME_TEXT)
            return false;
        if (out > 0)
            text[out++] = '.';
        for (size_t i = 0; i < len; i++) {
            char c = (char)m[(*at)++];
            text[out++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c == '.' || c == '\0' ? (char)0xff : c;
        }
    }
    text[out] = '\0';
    return true;
}

// Past a name, compressed or not.
static bool skip_name(const uint8_t *m, size_t n, size_t *at)
{
    while (*at < n) {
        size_t len = m[*at];
        if ((len & POINTER) == POINTER) {
            *at += 2;
            return *at <= n;
        }
        *at += 1 + len;
        if (len == 0)
            return *at <= n;
        if (len > LABEL_MAX)
            return false;
    }
    return false;
}

// --- questions
struct record {
    uint16_t type, class;
    uint32_t ttl;
    size_t ttl_at, data_at, data_n;
};

static bool read_record(const uint8_t *m, size_t n, size_t *at, struct record *ret)
{
    if (!skip_name(m, n, at) || n - *at < RECORD_FIXED)
        return false;
    *ret = (struct record){ .type = dns_get16(m + *at),
                            .class = dns_get16(m + *at + 2),
                            .ttl = dns_get32(m + *at + 4),
                            .ttl_at = *at + 4,
                            .data_at = *at + RECORD_FIXED,
                            .data_n = dns_get16(m + *at + 8) };
    if (n - ret->data_at < ret->data_n)
        return false;
    *at = ret->data_at + ret->data_n;
    return true;
}

// The OPT record among the additional ones says how much the asker takes.
static void read_edns(const uint8_t *m, size_t n, struct dns_question *q)
{
    size_t at = q->end;
    unsigned count = (unsigned)dns_get16(m + 6) + dns_get16(m + 8) + dns_get16(m + 10);
    struct record r;
    for (unsigned i = 0; i < count && read_record(m, n, &at, &r); i++) // each takes some of the bytes
        if (r.type == DNS_OPT) {
            q->has_edns = true;
            q->has_options = r.data_n > 0;
            q->edns_flags = (uint16_t)r.ttl;
            q->udp_size = r.class < DNS_UDP_PLAIN ? DNS_UDP_PLAIN
                          : r.class > DNS_UDP_MAX ? DNS_UDP_MAX
                                                  : r.class;
        }
}

bool dns_parse_question(const uint8_t *m, size_t n, struct dns_question *ret)
{
    struct dns_question q = { .end = DNS_HEADER, .udp_size = DNS_UDP_PLAIN };
    if (n < DNS_HEADER)
        return false;
    q.id = dns_get16(m);
    q.flags = dns_get16(m + 2);
    if ((q.flags & FLAG_RESPONSE) || dns_get16(m + 4) != 1 || !read_question_name(m, n, &q.end, q.name) ||
        n - q.end < 4)
        return false;
    q.type = dns_get16(m + q.end);
    q.class = dns_get16(m + q.end + 2);
    q.end += 4;
    q.is_supported = (q.flags & FLAG_OPCODE) == 0 && q.class == CLASS_IN;
    read_edns(m, n, &q);
    *ret = q;
    return true;
}

// --- replies
static void write_header(const uint8_t *query, const struct dns_question *q, enum dns_code code, uint8_t *to)
{
    memcpy(to, query, q->end);
    dns_put16(to + 2, (uint16_t)(FLAG_RESPONSE | (q->flags & (FLAG_OPCODE | FLAG_RECURSION_DESIRED)) |
                                 FLAG_RECURSION_AVAILABLE | code));
    dns_put16(to + 6, 0);
    dns_put16(to + 8, 0);
    dns_put16(to + 10, 0);
}

// An asker who spoke EDNS is answered so (RFC 6891 6.1.1). The room for it is kept free by `limit`.
enum { EDNS_RECORD = 11 };

static size_t limit_of(const struct dns_question *q, size_t size)
{
    return q->has_edns ? size - EDNS_RECORD : size;
}

static size_t finish(const struct dns_question *q, uint8_t *to, size_t n)
{
    if (!q->has_edns)
        return n;
    static const uint8_t opt[EDNS_RECORD] = { 0, 0, DNS_OPT, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff };
    memcpy(to + n, opt, sizeof opt);
    dns_put16(to + 10, 1);
    return n + sizeof opt;
}

size_t dns_reply_code(const uint8_t *query, const struct dns_question *q, enum dns_code code, uint8_t *to,
                      size_t size)
{
    (void)size; // a question is at most 12 + 255 + 4 bytes
    write_header(query, q, code, to);
    return finish(q, to, q->end);
}

size_t dns_reply_truncated(const uint8_t *query, const struct dns_question *q, uint8_t *to, size_t size)
{
    size_t n = dns_reply_code(query, q, DNS_NOERROR, to, size);
    dns_put16(to + 2, (uint16_t)(dns_get16(to + 2) | FLAG_TRUNCATED));
    return n;
}

static size_t begin_record(uint8_t *at, uint16_t type, uint32_t ttl_s, size_t data_n)
{
    at[0] = POINTER;
    at[1] = QUESTION_NAME_AT;
    dns_put16(at + 2, type);
    dns_put16(at + 4, CLASS_IN);
    dns_put32(at + 6, ttl_s);
    dns_put16(at + 10, (uint16_t)data_n);
    return 2 + RECORD_FIXED;
}

size_t dns_reply_addresses(const uint8_t *query, const struct dns_question *q,
                           const struct ip_address *addresses, size_t n, uint32_t ttl_s, uint8_t *to,
                           size_t size)
{
    size_t at = q->end, limit = limit_of(q, size);
    uint16_t count = 0;
    write_header(query, q, DNS_NOERROR, to);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = ip_byte_count(&addresses[i]);
        if (limit - at < 2 + RECORD_FIXED + bytes) {
            dns_put16(to + 2, (uint16_t)(dns_get16(to + 2) | FLAG_TRUNCATED));
            break;
        }
        at += begin_record(to + at, addresses[i].family == AF_INET6 ? DNS_AAAA : DNS_A, ttl_s, bytes);
        memcpy(to + at, addresses[i].bytes, bytes);
        at += bytes;
        count++;
    }
    dns_put16(to + 6, count);
    return finish(q, to, at);
}

// "a.b" -> 1 a 1 b 0. 0 when it is no name.
static size_t write_name(const char *text, uint8_t to[static DNS_NAME_TEXT + 1])
{
    size_t out = 0;
    while (*text) {
        size_t len = strcspn(text, ".");
        if (len == 0 || len > LABEL_MAX || out + len + 2 > DNS_NAME_TEXT)
            return 0;
        to[out++] = (uint8_t)len;
        memcpy(to + out, text, len);
        out += len;
        text += len + (text[len] == '.');
    }
    to[out++] = 0;
    return out;
}

size_t dns_reply_name(const uint8_t *query, const struct dns_question *q, const char *name, uint32_t ttl_s,
                      uint8_t *to, size_t size)
{
    uint8_t wire[DNS_NAME_TEXT + 1];
    size_t n = write_name(name, wire), at = q->end;
    if (n == 0 || limit_of(q, size) - at < 2 + RECORD_FIXED + n)
        return dns_reply_code(query, q, DNS_SERVFAIL, to, size);
    write_header(query, q, DNS_NOERROR, to);
    at += begin_record(to + at, DNS_PTR, ttl_s, n);
    memcpy(to + at, wire, n);
    dns_put16(to + 6, 1);
    return finish(q, to, at + n);
}

// --- reverse names
static bool reverse_four(const char *name, struct ip_address *ret)
{
    *ret = (struct ip_address){ .family = AF_INET };
    for (int i = 3; i >= 0; i--) {
        unsigned value = 0;
        size_t digits = strspn(name, "0123456789");
        if (digits == 0 || digits > 3 || name[digits] != '.')
            return false;
        for (size_t k = 0; k < digits; k++)
            value = value * 10 + (unsigned)(name[k] - '0');
        if (value > 255)
            return false;
        ret->bytes[i] = (uint8_t)value;
        name += digits + 1;
    }
    return streq(name, "in-addr.arpa");
}

static bool reverse_six(const char *name, struct ip_address *ret)
{
    *ret = (struct ip_address){ .family = AF_INET6 };
    for (int i = 0; i < 32; i++, name += 2) {
        const char digits[] = "0123456789abcdef", *digit = *name ? strchr(digits, *name) : NULL;
        if (!digit || name[1] != '.')
            return false;
        uint8_t *byte = &ret->bytes[15 - i / 2];
        *byte = (uint8_t)(*byte | (digit - digits) << (i % 2 * 4));
    }
    return streq(name, "ip6.arpa");
}

bool dns_reverse_address(const char *name, struct ip_address *ret)
{
    return reverse_four(name, ret) || reverse_six(name, ret);
}

// --- what others answer
static bool skip_questions(const uint8_t *m, size_t n, size_t *at)
{
    for (unsigned i = dns_get16(m + 4); i > 0; i--) {
        if (!skip_name(m, n, at) || n - *at < 4)
            return false;
        *at += 4;
    }
    return true;
}

// The last number of an SOA: how long its word on what does not exist holds (RFC 2308 5).
static uint32_t negative_ttl(const uint8_t *m, const struct record *r)
{
    return r->data_n < 20 ? 0 : dns_get32(m + r->data_at + r->data_n - 4);
}

bool dns_lifetime(const uint8_t *m, size_t n, struct dns_lifetime *ret)
{
    size_t at = DNS_HEADER;
    if (n < DNS_HEADER || n > UINT16_MAX || dns_get16(m + 4) > 1 || !skip_questions(m, n, &at))
        return false;
    unsigned answers = dns_get16(m + 6), records = answers + dns_get16(m + 8) + dns_get16(m + 10);
    bool is_negative = answers == 0, has_word = !is_negative;
    struct record r;
    *ret = (struct dns_lifetime){ .code = dns_get16(m + 2) & CODE_MASK, .ttl_s = UINT32_MAX };
    if ((dns_get16(m + 2) & FLAG_TRUNCATED) || (ret->code != DNS_NOERROR && ret->code != DNS_NXDOMAIN) ||
        records > DNS_ANSWERS_MAX)
        return false;
    for (unsigned i = 0; i < records; i++) {
        if (!read_record(m, n, &at, &r))
            return false;
        if (r.type == DNS_OPT) // its "TTL" holds flags
            continue;
        uint32_t ttl = r.ttl > INT32_MAX ? 0 : r.ttl; // RFC 2181 8
        if (is_negative && r.type == DNS_SOA) {
            ttl = negative_ttl(m, &r) < ttl ? negative_ttl(m, &r) : ttl;
            has_word = true;
        }
        ret->ttl_s = ttl < ret->ttl_s ? ttl : ret->ttl_s;
        ret->ttl_at[ret->ttl_count++] = (uint16_t)r.ttl_at;
    }
    return has_word && ret->ttl_s > 0 && ret->ttl_s != UINT32_MAX;
}
