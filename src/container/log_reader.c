#include "container/log_reader.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 65536, ROTATED_MAX = 1000 };

void log_record_done(struct log_record *record)
{
    str_done(&record->text);
    str_done(&record->details);
}

bool log_record_parse(const char *line, size_t n, struct log_record *ret)
{
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
    json_object_foreach(json_get_object(j, "attrs"), key, v) if (json_is_string(v))
        str_appendf(&ret->details, "%s%s=%s", ret->details.len ? "," : "", key, json_string_value(v));
    return true;
}

size_t log_tail_in_memory(const char *text, size_t n, int64_t lines, int64_t *ret_lines)
{
    *ret_lines = 0;
    if (lines <= 0 || n == 0)
        return n;
    size_t begin = n;
    while (begin > 0) {
        // The newline at begin - 1 ends the line that is looked for.
        const char *newline = begin >= 2 ? memrchr(text, '\n', begin - 1) : NULL;
        begin = newline ? (size_t)(newline - text) + 1 : 0;
        if (++*ret_lines == lines)
            break;
    }
    return begin;
}

off_t log_tail_offset(int fd, int64_t lines, int64_t *ret_lines)
{
    CLEANUP(cleanup_free) char *block = xmalloc(BLOCK);
    struct stat st;
    *ret_lines = 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    off_t end = st.st_size;
    if (lines <= 0 || end == 0)
        return end;
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

char **log_rotated_files(const char *path)
{
    char **oldest_first = NULL, **newest_first = NULL;
    for (int i = 1; i <= ROTATED_MAX; i++) {
        char *plain = xasprintf("%s.%d", path, i);
        if (access(plain, R_OK) < 0) {
            free(plain);
            plain = xasprintf("%s.%d.gz", path, i);
        }
        if (access(plain, R_OK) < 0) {
            free(plain);
            break;
        }
        strv_take(&newest_first, plain);
    }
    for (size_t i = strv_len(newest_first); i > 0; i--)
        strv_push(&oldest_first, newest_first[i - 1]);
    strv_free(newest_first);
    return oldest_first;
}

int log_read_rotated(const char *path, size_t max, struct str *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    gzFile file = gzdopen(fd, "r"); // reads plain files as they are
    if (!file) {
        fd_close(fd);
        return -ENOMEM;
    }
    int n = 0, r = 0;
    while (r == 0) {
        char *to = str_reserve(out, BLOCK);
        n = gzread(file, to, BLOCK);
        if (n <= 0)
            break;
        str_added(out, (size_t)n);
        if (out->len > max)
            r = -EFBIG;
    }
    if (n < 0)
        r = -EIO;
    gzclose(file);
    return r;
}
