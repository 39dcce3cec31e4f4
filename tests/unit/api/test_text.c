#include "api/text.h"
#include "base/clock.h"

#include "../test.h"

#include <signal.h>
#include <stdlib.h>

static void durations_read_as_dockers(void **state)
{
    (void)state;
    static const struct {
        long long seconds;
        const char *text;
    } cases[] = {
        { -5, "Less than a second" }, { 0, "Less than a second" }, { 1, "1 second" },
        { 59, "59 seconds" },         { 60, "About a minute" },    { 119, "About a minute" },
        { 120, "2 minutes" },         { 3599, "59 minutes" },      { 3600, "About an hour" },
        { 5399, "About an hour" },    { 5400, "2 hours" },         { 47 * 3600, "47 hours" },
        { 48 * 3600, "2 days" },      { 14 * 86400LL, "2 weeks" }, { 60 * 86400LL, "2 months" },
        { 730 * 86400LL, "2 years" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[HUMAN_DURATION_MAX];
        human_duration(cases[i].seconds * NS_PER_S, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void commands_are_one_line(void **state)
{
    (void)state;
    char *const args[] = { (char[]){ "-c" }, (char[]){ "sleep 1" }, NULL };
    char *text = command_line_text("sh", args);
    assert_string_equal(text, "sh -c 'sleep 1'");
    free(text);
    text = command_line_text(NULL, NULL);
    assert_string_equal(text, "");
    free(text);
}

static void signals_by_name_and_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int number;
    } cases[] = {
        { "KILL", 9 },       { "SIGKILL", 9 },      { "sigterm", 15 },  { "9", 9 },
        { "USR1", SIGUSR1 }, { "WINCH", SIGWINCH }, { "CLD", SIGCHLD }, { "0", -1 },
        { "65", -1 },        { "-9", -1 },          { "", -1 },         { "SIG", -1 },
        { "NOPE", -1 },      { "9x", -1 },          { "RTMIN+99", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(api_signal_parse(cases[i].text), cases[i].number);
    assert_int_equal(api_signal_parse("RTMIN"), SIGRTMIN);
    assert_int_equal(api_signal_parse("SIGRTMIN+3"), SIGRTMIN + 3);
    assert_int_equal(api_signal_parse("RTMAX-1"), SIGRTMAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_read_as_dockers),
        cmocka_unit_test(commands_are_one_line),
        cmocka_unit_test(signals_by_name_and_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
