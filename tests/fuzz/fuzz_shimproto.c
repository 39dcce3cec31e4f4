// What decodes must encode again and decode to the same message: the codec has one reading of every packet.
#include "shimproto/shimproto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct shim_message first, second;
    static uint8_t packet[SHIM_PACKET_MAX];
    if (shimproto_decode(data, size, &first) < 0)
        return 0;
    ssize_t n = shimproto_encode(&first, packet);
    if (n < 0 || shimproto_decode(packet, (size_t)n, &second) < 0)
        abort();
    // Members after a string's NUL and padding are zero in both: decode clears the whole struct.
    if (memcmp(&first, &second, sizeof first) != 0)
        abort();
    return 0;
}
