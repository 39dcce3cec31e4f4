#include "container/log_reader.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// FRAME: the length before and behind a record of the local form. What claims to be longer than RECORD_MAX is none.
enum { BLOCK = 65536, FRAME = 4, RECORD_MAX = 1 << 20 };

void log_record_done(struct log_record *record)
{
    str_done(&record->text);
    str_done(&record->details);
}

// application/x-www-form-urlencoded, as Docker prints details.
static void append_encoded(struct str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("-_.~", c)))
            str_append_char(out, (char)c);
        else if (c == ' ')
            str_append_char(out, '+');
        else
            str_appendf(out, "%%%02X", c);
    }
}

static void append_detail(struct str *out, const char *key, size_t key_size, const char *value,
                          size_t value_size)
{
    if (out->len)
        str_append_char(out, ',');
    append_encoded(out, key, key_size);
    str_append_char(out, '=');
    append_encoded(out, value, value_size);
}

// --- json-file

// The string at *at, which stands behind its opening quote; *at is moved behind the closing one. False for what the monitor
// does not write: then the line is parsed as any JSON.
static bool take_string(const char **at, const char *end, struct str *out)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *p = *at;
    while (p < end) {
        const char *plain = p;
        while (p < end && *p != '"' && *p != '\\')
            p++;
        str_append_n(out, plain, (size_t)(p - plain));
        if (p == end || *p == '"')
            break;
        const char *letter = p + 1 < end && p[1] ? strchr(letters, p[1]) : NULL;
        if (!letter)
            return false;
        str_append_char(out, meant[letter - letters]);
        p += 2;
    }
    *at = p + 1;
    return p < end;
}

static bool take_text(const char **at, const char *end, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(end - *at) < n || memcmp(*at, text, n) != 0)
        return false;
    *at += n;
    return true;
}

// {"log":"...","stream":"...","time":"..."}, as most lines are: three times as fast as by a tree.
static bool parse_plainly(const char *line, size_t n, struct log_record *ret)
{
    const char *at = line, *end = line + n;
    char time[TIME_TEXT_MAX];
    str_clear(&ret->text);
    if (!take_text(&at, end, "{\"log\":\"") || !take_string(&at, end, &ret->text) ||
        !take_text(&at, end, ",\"stream\":\"std"))
        return false;
    bool is_error = take_text(&at, end, "err\"");
    if ((!is_error && !take_text(&at, end, "out\"")) || !take_text(&at, end, ",\"time\":\""))
        return false;
    size_t size = (size_t)(end - at);
    if (size < 3 || size - 2 >= sizeof time || memcmp(end - 2, "\"}", 2) != 0)
        return false;
    memcpy(time, at, size - 2);
    time[size - 2] = 0;
    if (!time_parse_rfc3339(time, &ret->time_ns))
        return false;
    ret->stream = is_error ? LOG_READER_STDERR : LOG_READER_STDOUT;
    str_clear(&ret->details);
    return true;
}

bool log_record_parse(const char *line, size_t n, struct log_record *ret)
{
    if (parse_plainly(line, n, ret))
        return true;
    struct error ignored;
    CLEANUP(json_cleanup) json_t *j = NULL;
    if (n == 0 || line[0] != '{' || json_parse(line, n, &j, &ignored) < 0)
        return false;
    const json_t *text = json_object_get(j, "log");
    const char *stream = json_get_string(j, "stream", ""), *time = json_get_string(j, "time", ""), *key;
    int64_t time_ns;
    if (!json_is_string(text) || !time_parse_rfc3339(time, &time_ns))
        return false;
    ret->time_ns = time_ns;
    ret->stream = streq(stream, "stderr") ? LOG_READER_STDERR : LOG_READER_STDOUT;
    str_clear(&ret->text);
    str_append_n(&ret->text, json_string_value(text), json_string_length(text));
    str_clear(&ret->details);
    json_t *v;
    json_object_foreach(json_get_object(j, "attrs"), key, v)
    {
        if (json_is_string(v))
            append_detail(&ret->details, key, strlen(key), json_string_value(v), json_string_length(v));
    }
    return true;
}

// --- local: protobuf, as far as LogEntry needs it (shim/log.c writes it)
struct proto {
    const unsigned char *at, *end;
};

struct proto_field {
    unsigned number;
    uint64_t value;     // wire type 0
    struct proto bytes; // wire type 2
};

static bool proto_varint(struct proto *p, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; p->at < p->end && shift < 64; shift += 7) {
        unsigned char c = *p->at++;
        value |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

// The next field; false at the end and when malformed (then p->at is not p->end).
static bool proto_next(struct proto *p, struct proto_field *ret)
{
    uint64_t key, size;
    if (p->at == p->end || !proto_varint(p, &key))
        return false;
    *ret = (struct proto_field){ .number = (unsigned)(key >> 3) };
    if ((key & 7) == 0)
        return proto_varint(p, &ret->value);
    if ((key & 7) != 2 || !proto_varint(p, &size) || size > (uint64_t)(p->end - p->at))
        return false;
    ret->bytes = (struct proto){ p->at, p->at + size };
    p->at += size;
    return true;
}

static size_t proto_size(const struct proto *p)
{
    return (size_t)(p->end - p->at);
}

static void local_attribute(struct proto bytes, struct log_record *ret)
{
    struct proto key = { 0 }, value = { 0 };
    struct proto_field f;
    while (proto_next(&bytes, &f))
        *(f.number == 1 ? &key : &value) = f.bytes;
    if (key.at)
        append_detail(&ret->details, (const char *)key.at, proto_size(&key),
                      value.at ? (const char *)value.at : "", proto_size(&value));
}

static bool local_parse(const char *bytes, size_t n, struct log_record *ret)
{
    struct proto p = { (const unsigned char *)bytes, (const unsigned char *)bytes + n };
    struct proto_field f, meta;
    bool is_partial = false, is_last = false;
    ret->stream = LOG_READER_STDOUT;
    ret->time_ns = 0;
    str_clear(&ret->text);
    str_clear(&ret->details);
    while (proto_next(&p, &f)) {
        if (f.number == 1)
            ret->stream = proto_size(&f.bytes) == 6 && memcmp(f.bytes.at, "stderr", 6) == 0
                              ? LOG_READER_STDERR
                              : LOG_READER_STDOUT;
        else if (f.number == 2)
            ret->time_ns = (int64_t)f.value;
        else if (f.number == 3)
            str_append_n(&ret->text, f.bytes.at, proto_size(&f.bytes));
        else if (f.number == 4)
            is_partial = f.value != 0;
        else if (f.number == 5)
            while (proto_next(&f.bytes, &meta))
                is_last |= meta.number == 1 && meta.value != 0;
        else if (f.number == 6)
            local_attribute(f.bytes, ret);
    }
    if (!is_partial || is_last)
        str_append_char(&ret->text, '\n');
    return p.at == p.end;
}

static uint32_t frame_size(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

// --- both
size_t log_record_skip(enum log_format format, const char *bytes, size_t n)
{
    if (format == LOG_FORMAT_JSON) {
        const char *newline = memchr(bytes, '\n', n);
        return newline ? (size_t)(newline - bytes) + 1 : 0;
    }
    if (n < FRAME)
        return 0;
    size_t size = frame_size(bytes);
    if (size > RECORD_MAX) // no record begins here
        return 1;
    return n >= size + 2 * FRAME ? size + 2 * FRAME : 0;
}

size_t log_record_take(enum log_format format, const char *bytes, size_t n, struct log_record *ret,
                       bool *ret_is_record)
{
    size_t used = log_record_skip(format, bytes, n);
    *ret_is_record = false;
    if (used == 0)
        return 0;
    if (format == LOG_FORMAT_JSON)
        *ret_is_record = log_record_parse(bytes, used - 1, ret);
    else if (used > 2 * FRAME && memcmp(bytes, bytes + used - FRAME, FRAME) == 0)
        *ret_is_record = local_parse(bytes + FRAME, used - 2 * FRAME, ret);
    else
        used = 1; // torn: look for the next one
    return used;
}

static off_t json_tail(int fd, off_t end, int64_t lines, int64_t *ret_lines)
{
    CLEANUP(cleanup_free) char *block = xmalloc(BLOCK);
    for (off_t at = end; at > 0;) {
        size_t n = at > BLOCK ? BLOCK : (size_t)at;
        at -= (off_t)n;
        ssize_t got = pread(fd, block, n, at);
        if (got < 0)
            return -errno;
        for (ssize_t i = got - 1; i >= 0; i--) {
            if (block[i] != '\n' || at + i == end - 1) // the file's last newline ends a line, it begins none
                continue;
            if (++*ret_lines == lines)
                return at + i + 1;
        }
    }
    ++*ret_lines; // the first line of the file has no newline before it
    return 0;
}

// From length to length. Where that ends before the file's beginning, a record is torn: then what is before it is left out.
static off_t local_tail(int fd, off_t end, int64_t records, int64_t *ret_records)
{
    char frame[FRAME];
    while (end >= 2 * FRAME && *ret_records < records) {
        if (pread(fd, frame, sizeof frame, end - FRAME) != FRAME)
            return -EIO;
        off_t size = (off_t)frame_size(frame) + 2 * FRAME;
        if (size > end)
            break;
        end -= size;
        ++*ret_records;
    }
    return end;
}

off_t log_tail_offset(enum log_format format, int fd, int64_t records, int64_t *ret_records)
{
    struct stat st;
    *ret_records = 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (records <= 0 || st.st_size == 0)
        return st.st_size;
    return format == LOG_FORMAT_JSON ? json_tail(fd, st.st_size, records, ret_records)
                                     : local_tail(fd, st.st_size, records, ret_records);
}
