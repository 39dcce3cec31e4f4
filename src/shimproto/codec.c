// Theory of operation. A packet is a header of four bytes (a magic byte, the protocol version, the type as
// little-endian u16) and fields: tag (u8), length (little-endian u16), bytes. Members that are zero are not
// sent. Whatever arrives is checked here, once, before anything is dispatched:
//   1. a field lies within the packet, and a known field has the length its kind prescribes;
//   2. a known field comes at most once; an unknown one is skipped (a newer peer may say more);
//   3. strings hold no NUL, booleans are 0 or 1, and a port of numbers into narrower members is
//   range-checked.
// The table below is the protocol: tags are never reused.
#include "shimproto/shimproto.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum { HEADER_SIZE = 4, FIELD_HEADER_SIZE = 3, MAGIC = 0xA5 };

enum field_kind { FIELD_U16, FIELD_U32, FIELD_I64, FIELD_BOOL, FIELD_STRING, FIELD_BYTES };

struct field {
    uint8_t tag;
    enum field_kind kind;
    size_t offset;
    size_t capacity;     // of strings (with the NUL) and byte arrays
    size_t count_offset; // of byte arrays: the uint32_t that counts
};

#define AT(member) offsetof(struct shim_message, member)
static const struct field FIELDS[] = {
    { 1, FIELD_STRING, AT(exec_id), SHIM_EXEC_ID_MAX, 0 },
    { 2, FIELD_U32, AT(pid), 0, 0 },
    { 3, FIELD_U32, AT(signal), 0, 0 },
    { 4, FIELD_U32, AT(exit_code), 0, 0 },
    { 5, FIELD_U32, AT(flags), 0, 0 },
    { 6, FIELD_U16, AT(rows), 0, 0 },
    { 7, FIELD_U16, AT(columns), 0, 0 },
    { 8, FIELD_BOOL, AT(is_running), 0, 0 },
    { 9, FIELD_BOOL, AT(was_oom_killed), 0, 0 },
    { 10, FIELD_I64, AT(started_ns), 0, 0 },
    { 11, FIELD_I64, AT(finished_ns), 0, 0 },
    { 12, FIELD_BYTES, AT(detach_keys), SHIM_DETACH_KEYS_MAX, AT(detach_key_count) },
    { 13, FIELD_BYTES, AT(leading), SHIM_LEADING_MAX, AT(leading_size) },
    { 14, FIELD_U32, AT(error_kind), 0, 0 },
    { 15, FIELD_U32, AT(error_errno), 0, 0 },
    { 16, FIELD_STRING, AT(error_message), ERROR_MESSAGE_MAX, 0 },
};
enum { FIELD_COUNT = sizeof(FIELDS) / sizeof(FIELDS[0]) };

_Static_assert(sizeof(enum error_kind) == sizeof(uint32_t), "error_kind travels as u32");
_Static_assert(HEADER_SIZE + FIELD_COUNT * (FIELD_HEADER_SIZE + 8) + SHIM_EXEC_ID_MAX + SHIM_DETACH_KEYS_MAX +
                       SHIM_LEADING_MAX + ERROR_MESSAGE_MAX <=
                   SHIM_PACKET_MAX,
               "every message fits into a packet");

// The field's bytes as they travel. Size; 0: the member is zero and stays at home; -EMSGSIZE: it breaks its
// bounds.
static ssize_t field_encode(const struct field *field, const struct shim_message *message, uint8_t *to)
{
    const uint8_t *from = (const uint8_t *)message + field->offset;
    switch (field->kind) {
    case FIELD_U16: {
        uint16_t v;
        memcpy(&v, from, sizeof(v));
        uint16_t le = htole16(v);
        memcpy(to, &le, sizeof(le));
        return v ? (ssize_t)sizeof(v) : 0;
    }
    case FIELD_U32: {
        uint32_t v;
        memcpy(&v, from, sizeof(v));
        uint32_t le = htole32(v);
        memcpy(to, &le, sizeof(le));
        return v ? (ssize_t)sizeof(v) : 0;
    }
    case FIELD_I64: {
        uint64_t v;
        memcpy(&v, from, sizeof(v));
        uint64_t le = htole64(v);
        memcpy(to, &le, sizeof(le));
        return v ? (ssize_t)sizeof(v) : 0;
    }
    case FIELD_BOOL: {
        bool v;
        memcpy(&v, from, sizeof(v));
        to[0] = 1;
        return v ? 1 : 0;
    }
    case FIELD_STRING: {
        size_t n = strnlen((const char *)from, field->capacity);
        if (n == field->capacity)
            return -EMSGSIZE;
        memcpy(to, from, n);
        return (ssize_t)n;
    }
    case FIELD_BYTES: {
        uint32_t n;
        memcpy(&n, (const uint8_t *)message + field->count_offset, sizeof(n));
        if (n > field->capacity)
            return -EMSGSIZE;
        memcpy(to, from, n);
        return (ssize_t)n;
    }
    }
    return -EMSGSIZE;
}

ssize_t shimproto_encode(const struct shim_message *message, uint8_t packet[static SHIM_PACKET_MAX])
{
    if (message->type == 0 || message->type > UINT16_MAX)
        return -EMSGSIZE;
    packet[0] = MAGIC;
    packet[1] = SHIM_PROTOCOL_VERSION;
    packet[2] = (uint8_t)message->type;
    packet[3] = (uint8_t)(message->type >> 8);
    size_t at = HEADER_SIZE;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        ssize_t n = field_encode(&FIELDS[i], message, packet + at + FIELD_HEADER_SIZE);
        if (n < 0)
            return n;
        if (n == 0)
            continue;
        packet[at] = FIELDS[i].tag;
        packet[at + 1] = (uint8_t)n;
        packet[at + 2] = (uint8_t)(n >> 8);
        at += FIELD_HEADER_SIZE + (size_t)n;
    }
    return (ssize_t)at;
}

static int field_decode(const struct field *field, const uint8_t *from, size_t n,
                        struct shim_message *message)
{
    uint8_t *to = (uint8_t *)message + field->offset;
    switch (field->kind) {
    case FIELD_U16: {
        uint16_t v;
        if (n != sizeof(v))
            return -EPROTO;
        memcpy(&v, from, sizeof(v));
        v = le16toh(v);
        memcpy(to, &v, sizeof(v));
        return 0;
    }
    case FIELD_U32: {
        uint32_t v;
        if (n != sizeof(v))
            return -EPROTO;
        memcpy(&v, from, sizeof(v));
        v = le32toh(v);
        memcpy(to, &v, sizeof(v));
        return 0;
    }
    case FIELD_I64: {
        uint64_t v;
        if (n != sizeof(v))
            return -EPROTO;
        memcpy(&v, from, sizeof(v));
        v = le64toh(v);
        memcpy(to, &v, sizeof(v));
        return 0;
    }
    case FIELD_BOOL: {
        if (n != 1 || from[0] > 1)
            return -EPROTO;
        bool v = from[0] == 1;
        memcpy(to, &v, sizeof(v));
        return 0;
    }
    case FIELD_STRING:
        if (n >= field->capacity || memchr(from, 0, n))
            return -EPROTO;
        memcpy(to, from, n);
        to[n] = 0;
        return 0;
    case FIELD_BYTES: {
        if (n > field->capacity)
            return -EPROTO;
        memcpy(to, from, n);
        uint32_t count = (uint32_t)n;
        memcpy((uint8_t *)message + field->count_offset, &count, sizeof(count));
        return 0;
    }
    }
    return -EPROTO;
}

static const struct field *field_find(uint8_t tag)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].tag == tag)
            return &FIELDS[i];
    return NULL;
}

int shimproto_decode(const uint8_t *packet, size_t size, struct shim_message *message)
{
    memset(message, 0, sizeof(*message));
    if (size < HEADER_SIZE || size > SHIM_PACKET_MAX || packet[0] != MAGIC || packet[1] == 0)
        return -EPROTO;
    message->type = (uint32_t)packet[2] | (uint32_t)packet[3] << 8;
    if (message->type == 0)
        return -EPROTO;
    uint64_t seen[4] = { 0 };
    for (size_t at = HEADER_SIZE; at < size;) {
        if (size - at < FIELD_HEADER_SIZE)
            return -EPROTO;
        uint8_t tag = packet[at];
        size_t n = (size_t)packet[at + 1] | (size_t)packet[at + 2] << 8;
        at += FIELD_HEADER_SIZE;
        if (n > size - at)
            return -EPROTO;
        const struct field *field = field_find(tag);
        if (field) {
            if (seen[tag / 64] & UINT64_C(1) << tag % 64)
                return -EPROTO;
            seen[tag / 64] |= UINT64_C(1) << tag % 64;
            if (field_decode(field, packet + at, n, message) < 0)
                return -EPROTO;
        }
        at += n;
    }
    // A kind that only a newer peer knows is still an error.
    if ((uint32_t)message->error_kind >= ERROR_KIND_COUNT)
        message->error_kind = ERROR_INTERNAL;
    return 0;
}
