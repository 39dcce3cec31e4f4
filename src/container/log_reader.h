// Reading container logs in Docker's json-file form: one JSON object a line,
// {"log":"text\n","stream":"stdout","time":"RFC 3339"}.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum log_reader_stream { LOG_READER_STDOUT = 1, LOG_READER_STDERR = 2 };

struct log_record {
    enum log_reader_stream stream;
    int64_t time_ns;
    struct str text;    // with its newline, when the line was complete
    struct str details; // "key=value,..." of "attrs"
};

// Parse one line (without its newline). False when it is not a record: torn by a crash, or foreign.
bool log_record_parse(const char *line, size_t n, struct log_record *ret);
void log_record_done(struct log_record *record);

// Where the last `lines` lines of an open file begin, found from its end backwards; *ret_lines: how many
// there are (<= lines). Offset, or -errno.
off_t log_tail_offset(int fd, int64_t lines, int64_t *ret_lines);
// The same for text in memory.
size_t log_tail_in_memory(const char *text, size_t n, int64_t lines, int64_t *ret_lines);

// The rotated files of a log, oldest first, as owned paths ("path.3.gz", "path.2", "path.1"); owned strv,
// NULL for none.
char **log_rotated_files(const char *path);
// A rotated file's text, decompressed; at most max bytes (-EFBIG). 0 or -errno.
int log_read_rotated(const char *path, size_t max, struct str *out);
