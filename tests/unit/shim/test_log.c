#include "shim/log.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"

#include "../test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/skiff-log-XXXXXX";
static char *path;
static const int64_t NOW = INT64_C(1700000000120000000);

static struct shim_log open_log(enum shim_log_driver driver, int64_t max_size, int max_files,
                                bool wants_compression)
{
    struct shim_log log;
    struct shim_log_options options = { .driver = driver,
                                        .path = xstrdup(path),
                                        .max_size_bytes = max_size,
                                        .max_files = max_files,
                                        .wants_compression = wants_compression };
    assert_int_equal(shim_log_open(&log, &options), 0);
    return log;
}

static struct str slurp(const char *suffix)
{
    struct str text = STR_INIT;
    char *file CLEANUP(cleanup_free) = xasprintf("%s%s", path, suffix);
    (void)file_read_at(AT_FDCWD, file, 1 << 24, &text);
    return text;
}

static bool exists(const char *suffix)
{
    char *file CLEANUP(cleanup_free) = xasprintf("%s%s", path, suffix);
    return access(file, F_OK) == 0;
}

static int setup(void **state)
{
    (void)state;
    const char *suffixes[] = { "", ".1", ".2", ".3", ".1.gz", ".2.gz" };
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *file CLEANUP(cleanup_free) = xasprintf("%s%s", path, suffixes[i]);
        (void)unlink(file);
    }
    return 0;
}

static void write_text(struct shim_log *log, enum log_stream stream, const char *text)
{
    shim_log_write(log, stream, text, strlen(text), NOW);
}

static void lines_are_docker_records(void **state)
{
    (void)state;
    struct shim_log log = open_log(SHIM_LOG_JSON_FILE, -1, 1, false);
    log.options.attributes = xstrdup("{\"a\":\"b\"}");
    write_text(&log, LOG_STDOUT, "hello \"you\"\nsecond");
    write_text(&log, LOG_STDERR, "e\n");
    write_text(&log, LOG_STDOUT, " half\nrest");
    shim_log_flush(&log);
    struct str text CLEANUP(str_done) = slurp("");
    assert_string_equal(
        text.ptr,
        "{\"log\":\"hello "
        "\\\"you\\\"\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20.12Z\"}"
        "\n"
        "{\"log\":\"e\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20."
        "12Z\"}\n"
        "{\"log\":\"second "
        "half\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20.12Z\"}\n"
        "{\"log\":\"rest\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20."
        "12Z\"}\n");
    shim_log_close(&log);
}

// Whatever the sizes of the reads, the records put together are the bytes that came; no record is longer than
// a piece.
static void long_lines_are_cut_and_lose_nothing(void **state)
{
    (void)state;
    enum { TOTAL = 100000 };
    char *bytes CLEANUP(cleanup_free) = xmalloc(TOTAL);
    for (size_t i = 0; i + 4 <= TOTAL; i += 4)
        memcpy(bytes + i, i % 3 ? "\xe2\x82\xac-" : "\xc3\xa9zz", 4); // never on a piece's boundary in step
    bytes[1] = '-';                                                   // shift the sequences by one
    bytes[0] = 'x';
    bytes[40000] = '\n';
    memcpy(bytes + 40001, "abc", 3);
    for (size_t chunk = 1000; chunk <= 40000; chunk += 13000) {
        struct shim_log log = open_log(SHIM_LOG_JSON_FILE, -1, 1, false);
        for (size_t at = 0; at < TOTAL; at += chunk)
            shim_log_write(&log, LOG_STDOUT, bytes + at, TOTAL - at < chunk ? TOTAL - at : chunk, NOW);
        shim_log_flush(&log);
        struct str text CLEANUP(str_done) = slurp(""), all CLEANUP(str_done) = STR_INIT;
        for (char *line = text.ptr, *end; (end = strchr(line, '\n')); line = end + 1) {
            struct error err;
            json_t *j CLEANUP(json_cleanup) = NULL;
            assert_int_equal(json_parse(line, (size_t)(end - line), &j, &err), 0);
            const char *piece = json_get_string(j, "log", "");
            assert_true(strlen(piece) <= LOG_PIECE_MAX + 1);
            str_append(&all, piece);
        }
        assert_int_equal(all.len, TOTAL);
        assert_memory_equal(all.ptr, bytes, TOTAL);
        shim_log_close(&log);
        assert_int_equal(unlink(path), 0);
    }
}

static void rotation_bounds_the_files(void **state)
{
    (void)state;
    struct shim_log log = open_log(SHIM_LOG_JSON_FILE, 2000, 3, false);
    for (int i = 0; i < 200; i++)
        write_text(&log, LOG_STDOUT, "a line of thirty characters ..\n");
    struct str now CLEANUP(str_done) = slurp(""), one CLEANUP(str_done) = slurp(".1"),
                   two CLEANUP(str_done) = slurp(".2");
    assert_in_range(now.len, 1, 2000);
    assert_in_range(one.len, 1800, 2000);
    assert_in_range(two.len, 1800, 2000);
    assert_false(exists(".3"));
    shim_log_close(&log);
}

// What the monitor does when a child ends: one file after the other.
static void finish_compressing(struct shim_log *log)
{
    int status;
    for (pid_t pid; (pid = log->file.compressor) > 0;) {
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(shim_log_reaped(log, pid, status));
    }
}

static void rotated_files_are_compressed(void **state)
{
    (void)state;
    struct shim_log log = open_log(SHIM_LOG_JSON_FILE, 2000, 3, true);
    for (int i = 0; i < 100; i++)
        write_text(&log, LOG_STDOUT, "a line of thirty characters ..\n");
    finish_compressing(&log);
    assert_true(exists(".1.gz") && exists(".2.gz"));
    assert_false(exists(".1") || exists(".2") || exists(".3.gz"));
    struct str zipped CLEANUP(str_done) = slurp(".1.gz");
    assert_in_range(zipped.len, 20, 500);
    assert_memory_equal(zipped.ptr, "\x1f\x8b", 2);
    shim_log_close(&log);
}

static void a_single_file_starts_over(void **state)
{
    (void)state;
    struct shim_log log = open_log(SHIM_LOG_JSON_FILE, 1000, 1, false);
    for (int i = 0; i < 100; i++)
        write_text(&log, LOG_STDOUT, "a line of thirty characters ..\n");
    struct str text CLEANUP(str_done) = slurp("");
    assert_in_range(text.len, 1, 1000);
    assert_memory_equal(text.ptr, "{\"log\":", 7); // no hole in front
    assert_false(exists(".1"));
    shim_log_close(&log);
}

static void local_records_are_framed(void **state)
{
    (void)state;
    struct shim_log log = open_log(SHIM_LOG_LOCAL, -1, 1, false);
    write_text(&log, LOG_STDOUT, "hi\n");
    write_text(&log, LOG_STDERR, "open");
    shim_log_flush(&log);
    struct str text CLEANUP(str_done) = slurp("");
    // length, source = "stdout", time_nano (varint of NOW), line = "hi", length
    static const char FIRST[] =
        "\0\0\0\x16\x0a\x06stdout\x10\x80\x9c\xc4\xea\xe3\x9f\xe7\xcb\x17\x1a\x02hi\0\0\0\x16";
    assert_true(text.len > sizeof FIRST - 1);
    assert_memory_equal(text.ptr, FIRST, sizeof FIRST - 1);
    const unsigned char *second = (const unsigned char *)text.ptr + sizeof FIRST - 1;
    size_t size = (size_t)second[2] << 8 | second[3];
    assert_int_equal(text.len, sizeof FIRST - 1 + size + 8);
    assert_memory_equal(second, second + 4 + size, 4);                    // the same length behind
    assert_non_null(memmem(second, size, "\x1a\x04open\x20\x01\x2a", 9)); // line, partial = true, metadata
    shim_log_close(&log);
}

// --- messages

static int listen_at(const char *name, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", dir, name);
    (void)unlink(address.sun_path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static struct shim_log open_sink(enum shim_log_driver driver, const char *name, const char *format,
                                 int64_t max_buffer)
{
    struct shim_log log;
    struct shim_log_options options = { .driver = driver,
                                        .address = xasprintf("unix:%s/%s", dir, name),
                                        .tag = xstrdup("web"),
                                        .format = xstrdup(format),
                                        .facility = 3,
                                        .is_nonblocking = max_buffer > 0,
                                        .max_buffer_bytes = max_buffer };
    assert_int_equal(shim_log_open(&log, &options), 0);
    return log;
}

static char *received(int fd)
{
    static char packet[32768];
    ssize_t n = recv(fd, packet, sizeof packet - 1, 0);
    assert_true(n >= 0);
    packet[n] = 0;
    return packet;
}

static void syslog_messages_have_the_formats_asked_for(void **state)
{
    (void)state;
    int fd = listen_at("log", SOCK_DGRAM);
    char host[256], *wanted;
    assert_int_equal(gethostname(host, sizeof host), 0);
    (void)setenv("TZ", "UTC", 1);
    const char *const formats[] = { NULL, "rfc3164", "rfc5424", "rfc5424micro" };
    for (size_t i = 0; i < 4; i++) {
        struct shim_log log = open_sink(SHIM_LOG_SYSLOG, "log", formats[i], 0);
        write_text(&log, i % 2 ? LOG_STDERR : LOG_STDOUT, "hello\n");
        int pri = 3 << 3 | (i % 2 ? 3 : 6), pid = (int)getpid();
        wanted = i == 0   ? xasprintf("<%d>Nov 14 22:13:20 web[%d]: hello\n", pri, pid)
                 : i == 1 ? xasprintf("<%d>Nov 14 22:13:20 %s web[%d]: hello\n", pri, host, pid)
                 : i == 2
                     ? xasprintf("<%d>1 2023-11-14T22:13:20Z %s web %d web - hello\n", pri, host, pid)
                     : xasprintf("<%d>1 2023-11-14T22:13:20.120000Z %s web %d web - hello\n", pri, host, pid);
        assert_string_equal(received(fd), wanted);
        free(wanted);
        shim_log_close(&log);
    }
    close(fd);
}

static void over_tls_a_message_goes_behind_its_length(void **state)
{
    (void)state;
    char address[] = "tls:192.0.2.1:6514", format[] = "rfc5424", old[] = "rfc3164", tag[] = "web";
    struct shim_log_options options = {
        .driver = SHIM_LOG_SYSLOG, .address = address, .format = format, .tag = tag, .facility = 3
    };
    const struct log_message m = { .stream = LOG_STDOUT, .text = "hello", .size = 5, .time_ns = NS_PER_S };
    struct str out CLEANUP(str_done) = STR_INIT;
    char *rest;
    log_message_format(&options, &m, &out);
    str_append_char(&out, 0);
    unsigned long size = strtoul(out.ptr, &rest, 10);
    assert_int_equal(size, strlen(rest + 1));
    assert_true(str_has_prefix(rest, " <30>1 ") && str_has_suffix(rest, " web - hello\n"));
    str_clear(&out);
    options.format = old; // which has no such frame
    log_message_format(&options, &m, &out);
    assert_memory_equal(out.ptr, "<30>", 4);
}

// No relay stands beside the test: its absence costs lines and nothing else, and it is looked for once a second.
static void a_missing_relay_costs_lines_only(void **state)
{
    (void)state;
    struct shim_log log;
    struct shim_log_options options = { .driver = SHIM_LOG_SYSLOG,
                                        .address = xasprintf("tls:192.0.2.1:6514"),
                                        .tls = { .server_name = xasprintf("log.example") },
                                        .tag = xasprintf("web") };
    assert_int_equal(shim_log_open(&log, &options), 0);
    write_text(&log, LOG_STDOUT, "one\n");
    int64_t first = log.sink.relay_ns;
    assert_true(first > 0);
    for (int i = 0; i < 2000 && time_monotonic_ns() < first + NS_PER_S / 2; i++)
        write_text(&log, LOG_STDOUT,
                   "0123456789012345678901234567890123456789012345678901234567890123456789\n");
    assert_int_equal(log.sink.relay_ns, first);
    assert_int_equal(shim_log_deadline_ns(&log), first + NS_PER_S);
    assert_false(shim_log_is_congested(&log));
    shim_log_tick(&log, first + NS_PER_S);
    shim_log_close(&log);
}

static void journald_gets_fields(void **state)
{
    (void)state;
    int fd = listen_at("journal", SOCK_DGRAM);
    struct shim_log log = open_sink(SHIM_LOG_JOURNALD, "journal", NULL, 0);
    log.options.attributes = xstrdup("CONTAINER_NAME=x\n");
    write_text(&log, LOG_STDERR, "hello\n");
    assert_string_equal(received(fd),
                        "MESSAGE=hello\nPRIORITY=3\nSYSLOG_TIMESTAMP=1700000000120000\nCONTAINER_NAME=x\n");
    shim_log_close(&log);
    close(fd);
}

// Nobody reads: in blocking mode the monitor is told to stop reading and nothing is lost; in non-blocking mode it never is.
static void a_slow_socket_congests_or_drops(void **state)
{
    (void)state;
    int fd = listen_at("slow", SOCK_DGRAM);
    struct shim_log log = open_sink(SHIM_LOG_SYSLOG, "slow", NULL, 0);
    int written = 0, got = 0;
    for (; !shim_log_is_congested(&log) && written < 100000; written++)
        write_text(&log, LOG_STDOUT, "one of many lines that nobody takes for now, and which wait\n");
    assert_in_range(written, 100, 99999);
    assert_int_equal(log.sink.dropped_count, 0);
    char packet[256];
    while (got < written && recv(fd, packet, sizeof packet, 0) > 0) {
        got++;
        log_sink_push(&log.sink);
    }
    assert_int_equal(got, written);
    assert_false(shim_log_is_congested(&log) || shim_log_is_busy(&log));
    shim_log_close(&log);

    log = open_sink(SHIM_LOG_SYSLOG, "slow", NULL, 4096);
    for (int i = 0; i < written; i++) {
        write_text(&log, LOG_STDOUT, "one of many lines that nobody takes for now, and which are dropped\n");
        assert_false(shim_log_is_congested(&log));
    }
    assert_in_range(log.sink.queue.len, 1, 4096 + 200);
    assert_in_range(log.sink.dropped_count, 1, written);
    shim_log_close(&log);
    close(fd);
}

static void a_syslog_that_is_down_holds_nobody_up(void **state)
{
    (void)state;
    struct shim_log log = open_sink(SHIM_LOG_SYSLOG, "nobody", NULL, 0);
    for (int i = 0; i < 5000; i++)
        write_text(&log, LOG_STDOUT, "a line for a socket that is not there, which is dropped in the end\n");
    assert_false(shim_log_is_congested(&log));
    assert_in_range(log.sink.dropped_count, 1, 5000);
    shim_log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_are_docker_records, setup),
        cmocka_unit_test_setup(long_lines_are_cut_and_lose_nothing, setup),
        cmocka_unit_test_setup(rotation_bounds_the_files, setup),
        cmocka_unit_test_setup(rotated_files_are_compressed, setup),
        cmocka_unit_test_setup(a_single_file_starts_over, setup),
        cmocka_unit_test_setup(local_records_are_framed, setup),
        cmocka_unit_test(syslog_messages_have_the_formats_asked_for),
        cmocka_unit_test(over_tls_a_message_goes_behind_its_length),
        cmocka_unit_test(a_missing_relay_costs_lines_only),
        cmocka_unit_test(journald_gets_fields),
        cmocka_unit_test(a_slow_socket_congests_or_drops),
        cmocka_unit_test(a_syslog_that_is_down_holds_nobody_up),
    };
    if (!mkdtemp(dir))
        return 1;
    path = xasprintf("%s/x-json.log", dir);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)dir_remove_all_at(AT_FDCWD, dir);
    free(path);
    return r;
}
