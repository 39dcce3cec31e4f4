#include "../test.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static void test_parse(void **state)
{
    (void)state;
    struct log_record r = { .text = STR_INIT, .details = STR_INIT };
    static const char good[] =
        "{\"log\":\"h\\u00e9\\u0000\\\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\",\"b\":\"2\"},"
        "\"time\":\"2026-01-02T03:04:05.000000006Z\"}";
    assert_true(log_record_parse(good, strlen(good), &r));
    assert_int_equal(r.stream, LOG_READER_STDERR);
    assert_int_equal(r.text.len, 7);
    assert_memory_equal(r.text.ptr, "h\xc3\xa9\0\"x\n", 7);
    assert_string_equal(r.details.ptr, "a=1,b=2");
    assert_int_equal(r.time_ns % NS_PER_S, 6);
    static const char *const bad[] = { "",
                                       "x",
                                       "{",
                                       "{\"log\":1,\"time\":\"2026-01-02T03:04:05Z\"}",
                                       "{\"log\":\"x\",\"time\":\"now\"}",
                                       "[]",
                                       "{\"stream\":\"stdout\"}",
                                       NULL };
    for (size_t i = 0; bad[i]; i++)
        if (log_record_parse(bad[i], strlen(bad[i]), &r))
            fail_msg("parsed %s", bad[i]);
    log_record_done(&r);
}

static char folder[] = "/tmp/skiff-test-logs-XXXXXX";

static void check_tail(const char *text, size_t n, int64_t lines, size_t wanted_offset, int64_t wanted_lines)
{
    char path[128];
    int64_t found = -1;
    snprintf(path, sizeof path, "%s/tail", folder);
    assert_int_equal(file_replace_at(AT_FDCWD, path, 0600, text, n, false), 0);
    int fd = open(path, O_RDONLY);
    off_t offset = log_tail_offset(LOG_FORMAT_JSON, fd, lines, &found);
    close(fd);
    if (offset != (off_t)wanted_offset || found != wanted_lines)
        fail_msg("tail %lld of %zu bytes: offset %lld (%zu), lines %lld (%lld)", (long long)lines, n,
                 (long long)offset, wanted_offset, (long long)found, (long long)wanted_lines);
}

static void test_tail(void **state)
{
    (void)state;
    check_tail("", 0, 5, 0, 0);
    check_tail("a\nb\nc\n", 6, 0, 6, 0);
    check_tail("a\nb\nc\n", 6, 1, 4, 1);
    check_tail("a\nb\nc\n", 6, 2, 2, 2);
    check_tail("a\nb\nc\n", 6, 3, 0, 3);
    check_tail("a\nb\nc\n", 6, 9, 0, 3);
    check_tail("a\nb\nc", 5, 1, 4, 1);
    check_tail("\n", 1, 1, 0, 1);
    // Lines that lie across the blocks in which the file is read backwards.
    CLEANUP(str_done) struct str big = STR_INIT;
    size_t offset_of_last_100 = 0;
    for (int i = 0; i < 20000; i++) {
        if (i == 19900)
            offset_of_last_100 = big.len;
        str_appendf(&big, "line %d of the log, padded %0*d\n", i, 1 + i % 37, i);
    }
    check_tail(big.ptr, big.len, 100, offset_of_last_100, 100);
    check_tail(big.ptr, big.len, 20000, 0, 20000);
    check_tail(big.ptr, big.len, 30000, 0, 20000);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    assert_int_equal(file_replace_at(AT_FDCWD, path, 0600, bytes, n, false), 0);
}

static void test_set(void **state)
{
    (void)state;
    char path[128], name[160], text[16];
    struct log_files files;
    snprintf(path, sizeof path, "%s/x-json.log", folder);
    assert_int_equal(log_files_open(path, 0, &files), 0);
    assert_int_equal(files.count, 0);
    write_file(path, "now\n", 4);
    snprintf(name, sizeof name, "%s.1", path);
    write_file(name, "one\n", 4);
    snprintf(name, sizeof name, "%s.2.gz", path);
    gzFile gz = gzopen(name, "w");
    assert_int_equal(gzwrite(gz, "two\n", 4), 4);
    gzclose(gz);
    assert_int_equal(log_files_open(path, 0, &files), 0);
    assert_int_equal(files.count, 3);
    assert_false(files.items[1].is_compressed);
    assert_true(files.items[2].is_compressed);
    assert_int_equal(files.items[2].identity, 0); // not one of the monitor's: it says no inode
    static const char *const wanted[] = { "now\n", "one\n", "two\n" };
    for (size_t i = 0; i < 3; i++) {
        struct log_file_source *source = log_file_source_new(&files.items[i]);
        for (int again = 0; again < 2; again++) {
            ssize_t n = log_file_source_read(source, text, sizeof text);
            assert_int_equal(n, 4);
            assert_memory_equal(text, wanted[i], 4);
            assert_int_equal(log_file_source_read(source, text, sizeof text), 0);
            assert_int_equal(log_file_source_rewind(source), 0);
        }
        log_file_source_free(source);
    }
    log_files_done(&files);
    assert_int_equal(log_files_remove(path), 0);
    assert_int_equal(log_files_open(path, 0, &files), 0);
    assert_int_equal(files.count, 0);
}

// Two records as the monitor's test has them: "hi" on stdout, and a last piece "en" with the attribute a=b on stderr.
static const char LOCAL_FIRST[] =
    "\0\0\0\x16\x0a\x06stdout\x10\x80\x9c\xc4\xea\xe3\x9f\xe7\xcb\x17\x1a\x02hi\0\0\0\x16";
static const char LOCAL_SECOND[] = "\0\0\0\x1c\x0a\x06stderr\x10\x01\x1a\x02\x65n\x20\x01\x2a\x02\x08\x01\x32"
                                   "\x06\x0a\x01\x61\x12\x01\x62\0\0\0\x1c";

static void test_local(void **state)
{
    (void)state;
    struct log_record r = { .text = STR_INIT, .details = STR_INIT };
    bool is_record;
    CLEANUP(str_done) struct str both = STR_INIT;
    str_append_n(&both, LOCAL_FIRST, sizeof LOCAL_FIRST - 1);
    str_append_n(&both, LOCAL_SECOND, sizeof LOCAL_SECOND - 1);
    for (size_t n = 0; n < sizeof LOCAL_FIRST - 1; n++)
        assert_int_equal(log_record_take(LOG_FORMAT_LOCAL, both.ptr, n, &r, &is_record), 0);
    size_t used = log_record_take(LOG_FORMAT_LOCAL, both.ptr, both.len, &r, &is_record);
    assert_true(is_record);
    assert_int_equal(used, sizeof LOCAL_FIRST - 1);
    assert_string_equal(r.text.ptr, "hi\n");
    assert_int_equal(r.stream, LOG_READER_STDOUT);
    assert_int_equal(r.time_ns, INT64_C(1700000000120000000));
    used += log_record_take(LOG_FORMAT_LOCAL, both.ptr + used, both.len - used, &r, &is_record);
    assert_true(is_record);
    assert_int_equal(used, both.len);
    assert_string_equal(r.text.ptr, "en\n");
    assert_string_equal(r.details.ptr, "a=b");
    assert_int_equal(r.stream, LOG_READER_STDERR);
    log_record_done(&r);
}

static void test_local_tail(void **state)
{
    (void)state;
    char path[128];
    int64_t found;
    CLEANUP(str_done) struct str all = STR_INIT;
    for (int i = 0; i < 100; i++)
        str_append_n(&all, LOCAL_FIRST, sizeof LOCAL_FIRST - 1);
    snprintf(path, sizeof path, "%s/local", folder);
    write_file(path, all.ptr, all.len);
    int fd = open(path, O_RDONLY);
    assert_int_equal(log_tail_offset(LOG_FORMAT_LOCAL, fd, 3, &found),
                     all.len - 3 * (sizeof LOCAL_FIRST - 1));
    assert_int_equal(found, 3);
    assert_int_equal(log_tail_offset(LOG_FORMAT_LOCAL, fd, 1000, &found), 0);
    assert_int_equal(found, 100);
    close(fd);
}

// Whatever stands there, something is passed over or more is wanted; a record after rubbish is found.
static void test_torn_local(void **state)
{
    (void)state;
    struct log_record r = { .text = STR_INIT, .details = STR_INIT };
    CLEANUP(str_done) struct str bytes = STR_INIT;
    bool is_record = false;
    str_append_n(&bytes, "\xff\xff\xff\xff", 4);
    str_append_n(&bytes, LOCAL_FIRST, sizeof LOCAL_FIRST - 1);
    size_t at = 0, used;
    while (!is_record &&
           (used = log_record_take(LOG_FORMAT_LOCAL, bytes.ptr + at, bytes.len - at, &r, &is_record)))
        at += used;
    assert_true(is_record);
    assert_string_equal(r.text.ptr, "hi\n");
    log_record_done(&r);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return dir_remove_all_at(AT_FDCWD, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_tail),       cmocka_unit_test(test_set),
        cmocka_unit_test(test_local), cmocka_unit_test(test_local_tail), cmocka_unit_test(test_torn_local)
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
