// What decodes must encode again, and decode to the same packet: the codec has one reading of every message.
#include "netdproto/netdproto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[NETD_PACKET_MAX], second[NETD_PACKET_MAX];
    struct netd_message m;
    if (size > NETD_PACKET_MAX || !netd_decode(data, size, &m))
        return 0;
    size_t n = netd_encode(&m, first);
    netd_message_done(&m);
    if (n == 0 || n > size || !netd_decode(first, n, &m)) // unknown fields are left out, nothing is added
        abort();
    if (netd_encode(&m, second) != n || memcmp(first, second, n) != 0)
        abort();
    netd_message_done(&m);
    return 0;
}
