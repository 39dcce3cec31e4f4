// Frames of the WebSocket protocol, without I/O. Spec: RFC 6455, section 5.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};
enum { WEBSOCKET_HEAD_MAX = 14, WEBSOCKET_CONTROL_MAX = 125 };
enum websocket_close {
    WEBSOCKET_CLOSE_NORMAL = 1000,
    WEBSOCKET_CLOSE_PROTOCOL = 1002,
    WEBSOCKET_CLOSE_INTERNAL = 1011
};

struct websocket_head {
    bool is_final, is_masked;
    enum websocket_opcode opcode;
    uint64_t size; // of the payload
    uint8_t mask[4];
};

// Parse the head of a frame. Bytes of it (2 to 14); 0: more are needed; -EPROTO: no extension has been agreed on, so reserved
// bits and opcodes are errors, as are control frames that are long or in pieces, and lengths not in their shortest form.
int websocket_head_parse(const uint8_t *bytes, size_t n, struct websocket_head *ret);
// A server's head (unmasked, final). Its size.
size_t websocket_head_write(enum websocket_opcode opcode, uint64_t size,
                            uint8_t head[static WEBSOCKET_HEAD_MAX]);
// Mask or unmask n bytes that begin `offset` bytes into their payload.
void websocket_mask(uint8_t *bytes, size_t n, const uint8_t mask[static 4], uint64_t offset);
