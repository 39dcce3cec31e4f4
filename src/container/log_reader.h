// Reading container logs: records in Docker's json-file form (one JSON object a line,
// {"log":"text\n","stream":"stdout","time":"RFC 3339"}) and in its local form (length, LogEntry, length), and the set of files
// they are in.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum log_reader_stream { LOG_READER_STDOUT = 1, LOG_READER_STDERR = 2 };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_LOCAL };

struct log_record {
    enum log_reader_stream stream;
    int64_t time_ns;
    struct str text;    // with its newline, when the line was complete
    struct str details; // "key=value,..." of the attributes, both sides percent-encoded as in a URL's query
};

// Take one record from the front of n bytes. Bytes used; 0: none is complete there. *ret_is_record false: what was passed over
// is no record (torn by a crash, or foreign).
size_t log_record_take(enum log_format format, const char *bytes, size_t n, struct log_record *ret,
                       bool *ret_is_record);
// The same without looking into it.
size_t log_record_skip(enum log_format format, const char *bytes, size_t n);
// Parse one line of the JSON form (without its newline).
bool log_record_parse(const char *line, size_t n, struct log_record *ret);
void log_record_done(struct log_record *record);

// Where the last `records` records of an open file begin, found from its end backwards; *ret_records: how many
// there are (<= records). Offset, or -errno.
off_t log_tail_offset(enum log_format format, int fd, int64_t records, int64_t *ret_records);

// --- the set of files

struct log_file_open {
    int fd; // owned
    uint64_t
        identity; // inode number of the file as it was written, also when this one is its compressed form
    bool is_compressed;
};
// The newest first: [0] is the one being written, the others are rotated away and complete.
struct log_files {
    struct log_file_open *items;
    size_t count;
};
// Open all of them, at one moment between two rotations: under the shared lock of the directory, which a rotation takes
// exclusively (shim/log_file.c); those that are newer than the one with identity `known`, where that is not 0. None there is
// success. 0 or -errno.
int log_files_open(const char *path, uint64_t known, struct log_files *ret);
void log_files_done(struct log_files *files);
// Remove all of them, under the exclusive lock; whoever writes must open anew. 0 or -errno.
int log_files_remove(const char *path);

// A rotated file's bytes, decompressed where need be, from its beginning. At most n bytes; 0: the end; or -errno.
struct log_file_source;
struct log_file_source *
log_file_source_new(struct log_file_open *file); // takes its descriptor; NULL: no memory
ssize_t log_file_source_read(struct log_file_source *source, void *bytes, size_t n);
int log_file_source_rewind(struct log_file_source *source);
void log_file_source_free(struct log_file_source *source);
