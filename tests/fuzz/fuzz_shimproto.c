// What decodes must encode again and decode to the same message: the codec has one reading of every packet. The same bytes as a
// document: what is accepted is written and read again without a change.
#include "shimproto/shimproto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void change_document(const uint8_t *data, size_t size)
{
    struct shim_change first = { 0 }, second = { 0 };
    struct error err;
    if (shim_change_parse((const char *)data, size, &first, &err) < 0)
        return;
    char *text = shim_change_emit(&first);
    if (!text || shim_change_parse(text, strlen(text), &second, &err) < 0)
        abort();
    char *again = shim_change_emit(&second);
    if (!again || strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
    shim_change_done(&first);
    shim_change_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct shim_message first, second;
    static uint8_t packet[SHIM_PACKET_MAX];
    change_document(data, size);
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
