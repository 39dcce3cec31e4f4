// Theory of operation. shim_log_write takes what one read(2) of a pipe brought, turns every finished line
// into a record and writes all records with one write(2). A line without an end waits in lines[stream]; when
// it reaches LOG_PIECE_MAX a piece goes out (never cutting a UTF-8 sequence), later pieces carry the time of
// the first. Files and their rotation are log_file.c's affair; for syslog and journald every record is a message
// (log_message.c) that goes to a socket or waits for it (log_sink.c).
#include "shim/log.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/mem.h"
#include "codec/json.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH_KEEP_MAX = 64 * 1024 };

static const char *const STREAM_NAMES[] = { "stdout", "stderr" };
_Static_assert(sizeof(STREAM_NAMES) / sizeof(STREAM_NAMES[0]) == LOG_STREAM_COUNT, "a name for each stream");

static void local_attributes(struct shim_log *log);

static bool is_file(const struct shim_log *log)
{
    return log->options.driver == SHIM_LOG_JSON_FILE || log->options.driver == SHIM_LOG_LOCAL;
}

static bool is_sink(const struct shim_log *log)
{
    return log->options.driver == SHIM_LOG_SYSLOG || log->options.driver == SHIM_LOG_JOURNALD;
}

int shim_log_reopen(struct shim_log *log)
{
    return is_file(log) ? log_file_reopen(&log->file, &log->options) : 0;
}

int shim_log_open(struct shim_log *log, struct shim_log_options *options)
{
    *log = (struct shim_log){ .options = *options, .file = { .fd = FD_NONE } };
    *options = (struct shim_log_options){ 0 };
    for (int i = 0; i < LOG_STREAM_COUNT; i++)
        str_init(&log->lines[i].text, 0);
    str_init(&log->batch, 0);
    str_init(&log->local_attributes, 0);
    if (log->options.driver == SHIM_LOG_LOCAL)
        local_attributes(log);
    if (is_sink(log))
        log_sink_init(&log->sink, &log->options);
    return shim_log_reopen(log);
}

void shim_log_listen(struct shim_log *log, struct loop *loop, void (*on_room)(void *context), void *context)
{
    if (is_sink(log))
        log_sink_listen(&log->sink, loop, on_room, context);
}

void shim_log_close(struct shim_log *log)
{
    log->file.fd = fd_close(log->file.fd);
    if (is_sink(log))
        log_sink_done(&log->sink);
    for (int i = 0; i < LOG_STREAM_COUNT; i++)
        str_done(&log->lines[i].text);
    str_done(&log->batch);
    str_done(&log->local_attributes);
    shim_log_options_done(&log->options);
}

bool shim_log_reaped(struct shim_log *log, pid_t pid, int status)
{
    return is_file(log) && log_file_reaped(&log->file, &log->options, pid, status);
}

bool shim_log_is_congested(const struct shim_log *log)
{
    return is_sink(log) && log_sink_is_congested(&log->sink);
}

bool shim_log_is_busy(const struct shim_log *log)
{
    return log->file.compressor > 0 || (is_sink(log) && log->sink.queue.len > 0);
}

int64_t shim_log_deadline_ns(const struct shim_log *log)
{
    return is_sink(log) ? log->sink.retry_ns : 0;
}

void shim_log_tick(struct shim_log *log, int64_t now_ns)
{
    if (is_sink(log) && log->sink.retry_ns && now_ns >= log->sink.retry_ns)
        log_sink_push(&log->sink);
}

static void batch_out(struct shim_log *log)
{
    if (log->batch.len == 0)
        return;
    log_file_append(&log->file, &log->options, log->batch.ptr, log->batch.len);
    if (log->batch.cap > BATCH_KEEP_MAX)
        str_done(&log->batch);
    else
        str_clear(&log->batch);
}

// A file is no longer than its limit by a batch that came at once: when the last record would pass it, those before go out now,
// and that one begins the next file.
static void keep_to_limit(struct shim_log *log, size_t before)
{
    int64_t max = log->options.max_size_bytes;
    if (max <= 0 || before == 0 || log->file.size + (int64_t)log->batch.len <= max)
        return;
    log_file_append(&log->file, &log->options, log->batch.ptr, before);
    str_consume(&log->batch, before);
}

static void json_record(struct shim_log *log, enum log_stream stream, const char *text, size_t n,
                        int64_t time_ns)
{
    struct str *out = &log->batch;
    if (time_ns != log->time_ns || !log->time_text[0]) { // all lines of one read have the same
        time_format_rfc3339(time_ns, log->time_text);
        log->time_ns = time_ns;
    }
    str_append(out, "{\"log\":");
    json_append_quoted(out, text, n);
    str_append(out, ",\"stream\":\"");
    str_append(out, STREAM_NAMES[stream]);
    str_append_char(out, '"');
    if (log->options.attributes) {
        str_append(out, ",\"attrs\":");
        str_append(out, log->options.attributes);
    }
    str_append(out, ",\"time\":\"");
    str_append(out, log->time_text);
    str_append(out, "\"}\n");
}

// --- protobuf, as far as LogEntry needs it
static void put_varint(struct str *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        str_append_char(out, (char)(v | 0x80));
    str_append_char(out, (char)v);
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static void put_bytes(struct str *out, unsigned field, const char *bytes, size_t n)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, n);
    str_append_n(out, bytes, n);
}

// LogEntry { string source = 1; int64 time_nano = 2; bytes line = 3; bool partial = 4;
//            PartialLogEntryMetadata { bool last = 1; string id = 2; int32 ordinal = 3; }
//            partial_log_metadata = 5; repeated Attribute { string key = 1; string value = 2; } = 6; }
// The last one is ours: Docker's reader passes over it.
static void local_attributes(struct shim_log *log)
{
    struct error ignored;
    json_t *j CLEANUP(json_cleanup) = NULL, *value;
    const char *key;
    if (!log->options.attributes ||
        json_parse(log->options.attributes, strlen(log->options.attributes), &j, &ignored) < 0)
        return;
    json_object_foreach(j, key, value)
    {
        struct str pair CLEANUP(str_done) = STR_INIT;
        put_bytes(&pair, 1, key, strlen(key));
        put_bytes(&pair, 2, json_string_value(value), json_string_length(value));
        put_bytes(&log->local_attributes, 6, pair.ptr, pair.len);
    }
}

static void local_record(struct shim_log *log, enum log_stream stream, const char *text, size_t n,
                         bool is_last)
{
    struct log_line *line = &log->lines[stream];
    bool is_partial = !is_last || line->ordinal > 0;
    size_t source_size = strlen(STREAM_NAMES[stream]);
    size_t id_size = strlen(line->partial_id);
    size_t meta_size = (is_last ? 2u : 0u) + 2 + id_size + 1 + varint_size(line->ordinal + 1);
    size_t size = 2 + source_size + 1 + varint_size((uint64_t)line->time_ns) + 1 + varint_size(n) + n +
                  (is_partial ? 2 + 2 + meta_size : 0) + log->local_attributes.len;
    struct str *out = &log->batch;
    uint32_t frame = htobe32((uint32_t)size);
    str_append_n(out, &frame, sizeof frame);
    put_bytes(out, 1, STREAM_NAMES[stream], source_size);
    put_varint(out, 2 << 3);
    put_varint(out, (uint64_t)line->time_ns);
    put_bytes(out, 3, text, n);
    if (is_partial) {
        put_varint(out, 4 << 3);
        put_varint(out, 1);
        put_varint(out, 5 << 3 | 2);
        put_varint(out, meta_size);
        if (is_last) {
            put_varint(out, 1 << 3);
            put_varint(out, 1);
        }
        put_bytes(out, 2, line->partial_id, id_size);
        put_varint(out, 3 << 3);
        put_varint(out, line->ordinal + 1);
    }
    str_append_n(out, log->local_attributes.ptr, log->local_attributes.len);
    str_append_n(out, &frame, sizeof frame);
}

static void sink_record(struct shim_log *log, enum log_stream stream, const char *text, size_t n,
                        bool is_last)
{
    struct log_line *line = &log->lines[stream];
    const struct log_message m = { .stream = stream,
                                   .text = text,
                                   .size = n,
                                   .time_ns = line->time_ns,
                                   .is_partial = !is_last || line->ordinal > 0,
                                   .is_last = is_last,
                                   .partial_id = line->partial_id,
                                   .ordinal = line->ordinal + 1 };
    struct str packet CLEANUP(str_done) = STR_INIT;
    log_message_format(&log->options, &m, &packet);
    log_sink_add(&log->sink, packet.ptr, packet.len);
}

// One record: a whole line or its last piece (text ends with the newline then), or a piece of one.
static void record(struct shim_log *log, enum log_stream stream, const char *text, size_t n)
{
    struct log_line *line = &log->lines[stream];
    bool is_last = n > 0 && text[n - 1] == '\n';
    size_t before = log->batch.len;
    if (!is_last && line->ordinal == 0)
        id_random_hex(line->partial_id, 16);
    if (log->options.driver == SHIM_LOG_JSON_FILE)
        json_record(log, stream, text, n, line->time_ns);
    else if (is_sink(log))
        sink_record(log, stream, text, is_last ? n - 1 : n, is_last);
    else
        local_record(log, stream, text, is_last ? n - 1 : n, is_last);
    keep_to_limit(log, before);
    line->ordinal = is_last ? 0 : line->ordinal + 1;
}

// How many of n bytes to take so that no UTF-8 sequence is cut (bytes that are not UTF-8 are cut anywhere).
static size_t cut_before_sequence(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back < n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return length > back ? n - back : n;
    }
    return n;
}

// Take one record's worth from the front; how many bytes were used up.
static size_t take_piece(struct shim_log *log, enum log_stream stream, const char *bytes, size_t n,
                         int64_t now_ns)
{
    struct log_line *line = &log->lines[stream];
    if (line->text.len == 0 && line->ordinal == 0)
        line->time_ns = now_ns;
    const char *newline = memchr(bytes, '\n', n);
    size_t length = newline ? (size_t)(newline - bytes) + 1 : n;
    size_t room = LOG_PIECE_MAX - line->text.len;
    if (length > room + (newline ? 1 : 0)) {
        str_append_n(&line->text, bytes, room);
        size_t cut = cut_before_sequence(line->text.ptr, line->text.len);
        record(log, stream, line->text.ptr, cut);
        str_consume(&line->text, cut);
        return room;
    }
    if (newline && line->text.len == 0) {
        record(log, stream, bytes, length);
    } else {
        str_append_n(&line->text, bytes, length);
        if (newline) {
            record(log, stream, line->text.ptr, line->text.len);
            str_done(&line->text);
        }
    }
    return length;
}

void shim_log_write(struct shim_log *log, enum log_stream stream, const char *bytes, size_t n, int64_t now_ns)
{
    if (log->options.driver == SHIM_LOG_NONE)
        return;
    while (n > 0) {
        size_t used = take_piece(log, stream, bytes, n, now_ns);
        bytes += used;
        n -= used;
    }
    batch_out(log);
}

void shim_log_flush(struct shim_log *log)
{
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        struct log_line *line = &log->lines[i];
        if (line->text.len > 0)
            record(log, (enum log_stream)i, line->text.ptr, line->text.len);
        str_done(&line->text);
    }
    batch_out(log);
}
