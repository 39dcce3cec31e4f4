// A head says the same however much follows it, never claims more than there is, and what we write is read back the same.
#include "http/websocket.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct websocket_head head, again;
    uint8_t written[WEBSOCKET_HEAD_MAX];
    int used = websocket_head_parse(data, size, &head);
    if (used <= 0)
        return 0;
    if ((size_t)used > size || used > WEBSOCKET_HEAD_MAX || head.size > INT64_MAX)
        abort();
    if (head.opcode >= WEBSOCKET_CLOSE && (head.size > WEBSOCKET_CONTROL_MAX || !head.is_final))
        abort();
    for (int n = 0; n < used; n++)
        if (websocket_head_parse(data, (size_t)n, &again) != 0)
            abort();
    size_t n = websocket_head_write(head.opcode, head.size, written);
    if (websocket_head_parse(written, n, &again) != (int)n || again.size != head.size ||
        again.opcode != head.opcode || again.is_masked || !again.is_final)
        abort();
    return 0;
}
