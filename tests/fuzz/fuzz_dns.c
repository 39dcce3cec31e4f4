// A question that is read can be answered in every way within the bytes given; as a reply, the same bytes keep their times to live
// within themselves.
#include "netd/dns.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct dns_question *q, const uint8_t *reply, size_t n, size_t most)
{
    struct dns_question again;
    static uint8_t question[DNS_MESSAGE_MAX];
    if (n < q->end || n > most || !(reply[2] & 0x80))
        abort();
    memcpy(question, reply, n);
    question[2] &= 0x7f;
    if (!dns_parse_question(question, n, &again) || strcmp(again.name, q->name) != 0 ||
        again.type != q->type || again.has_edns != q->has_edns)
        abort();
}

static void answer(const uint8_t *query, const struct dns_question *q)
{
    struct ip_address list[DNS_ANSWERS_MAX], address;
    const size_t sizes[] = { DNS_UDP_PLAIN, q->udp_size };
    for (size_t i = 0; i < DNS_ANSWERS_MAX; i++)
        list[i] = (struct ip_address){ .family = i % 2 ? AF_INET6 : AF_INET };
    (void)dns_reverse_address(q->name, &address);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *to = malloc(sizes[i]); // exact, so that a sanitizer sees a byte too many
        if (!to)
            abort();
        check(q, to, dns_reply_code(query, q, DNS_SERVFAIL, to, sizes[i]), sizes[i]);
        check(q, to, dns_reply_truncated(query, q, to, sizes[i]), sizes[i]);
        check(q, to, dns_reply_addresses(query, q, list, DNS_ANSWERS_MAX, 5, to, sizes[i]), sizes[i]);
        check(q, to, dns_reply_name(query, q, q->name, 5, to, sizes[i]), sizes[i]);
        free(to);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_question q;
    struct dns_lifetime life;
    if (dns_parse_question(data, size, &q))
        answer(data, &q);
    if (dns_lifetime(data, size, &life))
        for (size_t i = 0; i < life.ttl_count; i++)
            if (life.ttl_at[i] < DNS_HEADER || life.ttl_at[i] + 4u > size)
                abort();
    return 0;
}
