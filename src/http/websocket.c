#include "http/websocket.h"

#include <errno.h>
#include <string.h>

enum {
    BIT_FINAL = 0x80,
    BITS_RESERVED = 0x70,
    BITS_OPCODE = 0x0f,
    BIT_MASK = 0x80,
    SIZE_16 = 126,
    SIZE_64 = 127
};

static bool is_known(unsigned opcode)
{
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

static uint64_t big_endian(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

int websocket_head_parse(const uint8_t *bytes, size_t n, struct websocket_head *ret)
{
    if (n < 2)
        return 0;
    unsigned opcode = bytes[0] & BITS_OPCODE, size = bytes[1] & ~(unsigned)BIT_MASK;
    struct websocket_head head = { .is_final = bytes[0] & BIT_FINAL,
                                   .is_masked = bytes[1] & BIT_MASK,
                                   .opcode = (enum websocket_opcode)opcode,
                                   .size = size };
    bool is_control = opcode >= WEBSOCKET_CLOSE;
    if (bytes[0] & BITS_RESERVED || !is_known(opcode) ||
        (is_control && (!head.is_final || size > WEBSOCKET_CONTROL_MAX)))
        return -EPROTO;
    size_t more = size == SIZE_16 ? 2 : size == SIZE_64 ? 8 : 0, used = 2 + more + (head.is_masked ? 4 : 0);
    if (n < used)
        return 0;
    if (more) {
        head.size = big_endian(bytes + 2, more);
        if (head.size <= (more == 2 ? WEBSOCKET_CONTROL_MAX : UINT16_MAX) || head.size > INT64_MAX)
            return -EPROTO;
    }
    if (head.is_masked)
        memcpy(head.mask, bytes + 2 + more, 4);
    *ret = head;
    return (int)used;
}

size_t websocket_head_write(enum websocket_opcode opcode, uint64_t size,
                            uint8_t head[static WEBSOCKET_HEAD_MAX])
{
    size_t more = size <= WEBSOCKET_CONTROL_MAX ? 0 : size <= UINT16_MAX ? 2 : 8;
    head[0] = (uint8_t)(BIT_FINAL | opcode);
    head[1] = more == 0 ? (uint8_t)size : more == 2 ? SIZE_16 : SIZE_64;
    for (size_t i = 0; i < more; i++)
        head[2 + i] = (uint8_t)(size >> (8 * (more - 1 - i)));
    return 2 + more;
}

void websocket_mask(uint8_t *bytes, size_t n, const uint8_t mask[static 4], uint64_t offset)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] ^= mask[(offset + i) % 4];
}
