#include "cli/options.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/exit.h"

#include "../test.h"

static const struct option table[] = {
    { "all", 'a', OPTION_BOOL, NULL, "All" },
    { "interactive", 'i', OPTION_BOOL, NULL, "In" },
    { "env", 'e', OPTION_LIST, NULL, "Env" },
    { "name", 0, OPTION_STRING, NULL, "Name" },
    { "memory", 'm', OPTION_BYTES, NULL, "Memory" },
    { "last", 'n', OPTION_INT, NULL, "Last" },
    { "wait", 'w', OPTION_DURATION, NULL, "Wait" },
    { "cpus", 0, OPTION_DECIMAL, NULL, "CPUs" },
    OPTION_END,
};

static int parse(struct options *o, const char *words, bool stops, struct error *err)
{
    char **argv CLEANUP(strv_freep) = strv_split(words, " ", false);
    static char *none[] = { NULL };
    bool help;
    int r = options_parse(o, table, argv ? argv : none, stops, &help, err);
    return r == 0 && help ? 1 : r;
}

static void every_way_to_say_it(void **state)
{
    (void)state;
    struct error err = { 0 };
    struct options o CLEANUP(options_done) = { 0 };
    assert_int_equal(parse(&o,
                           "-ai -eA=B -e C --env=D=E --name x -m=64m --last 3 -w1m30s --cpus 1.5 one -- -two",
                           false, &err),
                     0);
    assert_true(options_bool(&o, "all", false));
    assert_true(options_bool(&o, "interactive", false));
    char *env CLEANUP(cleanup_free) = strv_join(options_list(&o, "env"), " ");
    assert_string_equal(env, "A=B C D=E");
    assert_string_equal(options_string(&o, "name", ""), "x");
    assert_int_equal(options_number(&o, "memory", 0), 64 << 20);
    assert_int_equal(options_number(&o, "last", 0), 3);
    assert_int_equal(options_number(&o, "wait", 0), 90000000000LL);
    assert_int_equal(options_number(&o, "cpus", 0), 1500000000LL);
    char *rest CLEANUP(cleanup_free) = strv_join(o.arguments, " ");
    assert_string_equal(rest, "one -two");
    assert_false(options_has(&o, "not-in-the-table"));
}

static void the_first_argument_may_end_it(void **state)
{
    (void)state;
    struct error err = { 0 };
    struct options o CLEANUP(options_done) = { 0 }, p CLEANUP(options_done) = { 0 };
    assert_int_equal(parse(&o, "-a image ls -l --all", true, &err), 0);
    char *rest CLEANUP(cleanup_free) = strv_join(o.arguments, " ");
    assert_string_equal(rest, "image ls -l --all");
    assert_int_equal(parse(&p, "one -a two --all=false", false, &err), 0);
    assert_int_equal(strv_len(p.arguments), 2);
    assert_false(options_bool(&p, "all", true));
}

static void help_is_found(void **state)
{
    (void)state;
    static const char *const words[] = { "--help", "-h", "-ah", "x --help" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct error err = { 0 };
        struct options o CLEANUP(options_done) = { 0 };
        assert_int_equal(parse(&o, words[i], false, &err), 1);
    }
}

static void mistakes_in_pflags_words(void **state)
{
    (void)state;
    static const struct {
        const char *words, *message;
    } cases[] = {
        { "--foo", "unknown flag: --foo" },
        { "--foo=1", "unknown flag: --foo" },
        { "--al", "unknown flag: --al" },
        { "-axb", "unknown shorthand flag: 'x' in -xb" },
        { "--name", "flag needs an argument: --name" },
        { "-ae", "flag needs an argument: 'e' in -e" },
        { "--=x", "bad flag syntax: --=x" },
        { "--all=x",
          "invalid argument \"x\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"x\": invalid syntax" },
        { "-n x",
          "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax" },
        { "-m x", "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'" },
        { "--cpus 1.2.3",
          "invalid argument \"1.2.3\" for \"--cpus\" flag: failed to parse 1.2.3 as a rational number" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct options o CLEANUP(options_done) = { 0 };
        assert_int_equal(parse(&o, cases[i].words, false, &err), -1);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void exit_codes_of_start_errors(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_start_error("exec: \"x\": executable file not found in $PATH"), 127);
    assert_int_equal(exit_code_of_start_error("exec: \"/x\": stat /x: no such file or directory: unknown"),
                     127);
    assert_int_equal(exit_code_of_start_error("exec: \"/etc/passwd\": permission denied"), 126);
    assert_int_equal(exit_code_of_start_error("exec: \"/\": is a directory"), 126);
    assert_int_equal(exit_code_of_start_error("exec /x: exec format error"), 126);
    assert_int_equal(exit_code_of_start_error("Conflict. The name is in use"), 125);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_say_it),
        cmocka_unit_test(the_first_argument_may_end_it),
        cmocka_unit_test(help_is_found),
        cmocka_unit_test(mistakes_in_pflags_words),
        cmocka_unit_test(exit_codes_of_start_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
