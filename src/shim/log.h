// The container's log: Docker's json-file or local format, bounded by rotation, written in batches without
// fsync; or messages to syslog or journald. Spec: moby daemon/logger/jsonfilelog (a JSON object a line) and
// daemon/logger/local (length, LogEntry, length); docs/logs.md.
#pragma once

#include "base/clock.h"
#include "base/str.h"
#include "shim/log_sink.h"
#include "shimproto/shimproto.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum log_stream { LOG_STDOUT, LOG_STDERR, LOG_STREAM_COUNT };
// A longer line is cut into pieces of at most this size, as Docker does.
enum { LOG_PIECE_MAX = 16384 };

struct log_line {
    struct str text;  // of the line that has not ended yet
    int64_t time_ns;  // of its first byte
    unsigned ordinal; // pieces of it that are written already
    char partial_id[17];
};

// The current file, and the child that compresses a rotated one.
struct log_file {
    int fd;
    int64_t size;
    pid_t compressor; // 0: none at work
    ino_t compressed_inode;
    int compressed_index; // which path.N it reads; 0: its result is of no use any more
};

struct shim_log {
    struct shim_log_options options; // owned
    struct log_file file;
    struct log_sink sink;
    struct log_line lines[LOG_STREAM_COUNT];
    struct str batch;
    struct str local_attributes; // as every local record ends
    int64_t time_ns;             // that time_text says
    char time_text[TIME_TEXT_MAX];
};

// Takes the options. A log that cannot be opened loses its lines, never the container; -errno says so.
int shim_log_open(struct shim_log *log, struct shim_log_options *options);
void shim_log_close(struct shim_log *log);
// From now on a socket that is slow is waited for in `loop`; on_room is called when a congestion ends.
void shim_log_listen(struct shim_log *log, struct loop *loop, void (*on_room)(void *context), void *context);
// Whole lines and full pieces go out in one write; the rest waits for its end.
void shim_log_write(struct shim_log *log, enum log_stream stream, const char *bytes, size_t n,
                    int64_t now_ns);
// Write out a last line without its newline.
void shim_log_flush(struct shim_log *log);
// Open the file anew: somebody moved or removed it. 0 or -errno.
int shim_log_reopen(struct shim_log *log);
// A child was reaped; true when it was the log's compressor.
bool shim_log_reaped(struct shim_log *log, pid_t pid, int status);
// More waits for a socket than blocking mode allows: read no more output until on_room.
bool shim_log_is_congested(const struct shim_log *log);
// Something is left to do that an ending monitor should wait for (a while).
bool shim_log_is_busy(const struct shim_log *log);
// When shim_log_tick has something to do; 0: nothing is due.
int64_t shim_log_deadline_ns(const struct shim_log *log);
void shim_log_tick(struct shim_log *log, int64_t now_ns);

// --- log_file.c
// Append whole records; rotates before the batch that would pass the limit. What the disk does not take is lost whole.
void log_file_append(struct log_file *file, const struct shim_log_options *options, const char *bytes,
                     size_t n);
int log_file_reopen(struct log_file *file, const struct shim_log_options *options);
bool log_file_reaped(struct log_file *file, const struct shim_log_options *options, pid_t pid, int status);

// --- log_message.c
struct log_message {
    enum log_stream stream;
    const char *text; // without newline
    size_t size;
    int64_t time_ns;
    bool is_partial, is_last; // a piece of a longer line, the last piece of one
    const char *partial_id;
    unsigned ordinal; // from 1
};
// Append the message as the driver sends it: a syslog line (RFC 3164 or RFC 5424), or journald's fields.
// Spec: systemd, "Native Journal Protocol".
void log_message_format(const struct shim_log_options *options, const struct log_message *m, struct str *out);
