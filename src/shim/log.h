// The container's log: Docker's json-file or local format, bounded by rotation, written in batches without
// fsync. Spec: moby daemon/logger/jsonfilelog (a JSON object a line) and daemon/logger/local (length,
// LogEntry, length).
#pragma once

#include "base/str.h"
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

struct shim_log {
    struct shim_log_options options; // owned
    int fd;
    int64_t size;
    struct log_line lines[LOG_STREAM_COUNT];
    struct str batch;
    pid_t compressor; // 0: none at work
};

// Takes the options' strings. A log that cannot be opened loses its lines, never the container; -errno says
// so.
int shim_log_open(struct shim_log *log, struct shim_log_options *options);
void shim_log_close(struct shim_log *log);
// Whole lines and full pieces go out in one write; the rest waits for its end.
void shim_log_write(struct shim_log *log, enum log_stream stream, const char *bytes, size_t n,
                    int64_t now_ns);
// Write out a last line without its newline.
void shim_log_flush(struct shim_log *log);
// Open the file anew: somebody moved or emptied it. 0 or -errno.
int shim_log_reopen(struct shim_log *log);
// A child was reaped; true when it was the log's compressor.
bool shim_log_reaped(struct shim_log *log, pid_t pid);
