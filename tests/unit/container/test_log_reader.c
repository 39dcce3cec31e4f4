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
    off_t offset = log_tail_offset(fd, lines, &found);
    close(fd);
    if (offset != (off_t)wanted_offset || found != wanted_lines)
        fail_msg("tail %lld of %zu bytes: offset %lld (%zu), lines %lld (%lld)", (long long)lines, n,
                 (long long)offset, wanted_offset, (long long)found, (long long)wanted_lines);
    size_t in_memory = log_tail_in_memory(text, n, lines, &found);
    if (in_memory != wanted_offset || found != wanted_lines)
        fail_msg("in memory: tail %lld of %zu bytes: offset %zu, lines %lld", (long long)lines, n, in_memory,
                 (long long)found);
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

static void test_rotated(void **state)
{
    (void)state;
    char path[128], name[160];
    snprintf(path, sizeof path, "%s/x-json.log", folder);
    assert_null(log_rotated_files(path));
    snprintf(name, sizeof name, "%s.1", path);
    assert_int_equal(file_replace_at(AT_FDCWD, name, 0600, "one\n", 4, false), 0);
    snprintf(name, sizeof name, "%s.2.gz", path);
    gzFile gz = gzopen(name, "w");
    assert_int_equal(gzwrite(gz, "two\n", 4), 4);
    gzclose(gz);
    CLEANUP(strv_freep) char **files = log_rotated_files(path);
    assert_int_equal(strv_len(files), 2);
    CLEANUP(str_done) struct str text = STR_INIT;
    for (size_t i = 0; files[i]; i++)
        assert_int_equal(log_read_rotated(files[i], 1 << 20, &text), 0);
    assert_string_equal(text.ptr, "two\none\n");
    assert_int_equal(log_read_rotated(files[0], 2, &text), -EFBIG);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_tail),
                                        cmocka_unit_test(test_rotated) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
