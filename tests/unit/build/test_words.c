#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/pattern.h"
#include "build/dockerfile/words.h"

#include <string.h>

static char *values[] = { (char[]){ "PWD=/home" },  (char[]){ "SHELL=bash" },
                          (char[]){ "EMPTY=" },     (char[]){ "P=foo-bar-foo" },
                          (char[]){ "F=a.tar.gz" }, (char[]){ "U=\xc3\xa9t\xc3\xa9" },
                          (char[]){ "STAR=a*b" },   (char[]){ "LIST=one two  three" },
                          (char[]){ "NL=a\nb" },    (char[]){ "TWICE=1" },
                          (char[]){ "TWICE=2" },    NULL };

static const struct words_rules plain = { .escape = '\\', .values = values };

struct word_case {
    const char *text, *want; // of a fault: what the message holds
};

static void check(const struct words_rules *rules, const struct word_case *cases, size_t count,
                  bool are_faults)
{
    for (size_t i = 0; i < count; i++) {
        char *got CLEANUP(cleanup_free) = NULL;
        struct error err = { 0 };
        int r = words_expand(cases[i].text, rules, &got, &err);
        if (r < 0 && !(are_faults && strstr(err.message, cases[i].want)))
            fail_msg("%s: %s", cases[i].text, err.message);
        if (r == 0 && (are_faults || !streq(got, cases[i].want)))
            fail_msg("%s gave %s", cases[i].text, got);
        if (r < 0)
            assert_int_equal(err.kind, ERROR_INVALID);
    }
}

#define CHECK(rules, cases, are_faults) check(rules, cases, sizeof(cases) / sizeof *(cases), are_faults)

static void quotes_and_escapes(void **state)
{
    (void)state;
    const struct word_case cases[] = {
        { "plain", "plain" },
        { "two words", "two words" },
        { "un'quo'ted", "unquoted" },
        { "un\\'quoted", "un'quoted" },
        { "tab\\t", "tabt" },
        { "\"tab\\t\"", "tab\\t" },
        { "\"a\\\\b\"", "a\\b" },
        { "'a\\\\b'", "a\\\\b" },
        { "end\\", "end" },
        { "end\\\\", "end\\" },
        { "\"say \\\"x\\\"\"", "say \"x\"" },
        { "\"it's\"", "it's" },
        { "'$PWD'", "$PWD" },
        { "\"$PWD\"", "/home" },
        { "\"'$PWD'\"", "'/home'" },
        { "\\$PWD", "$PWD" },
        { "\\\\$PWD", "\\/home" },
        { "a<b", "a<b" },
    };
    CHECK(&plain, cases, false);
    const struct word_case faults[] = {
        { "'open", "matching single-quote" },
        { "\"open", "matching double-quote" },
        { "\"open\\\"", "matching double-quote" },
    };
    CHECK(&plain, faults, true);
    const struct word_case backtick[] = {
        { "C:\\dir\\$PWD", "C:\\dir\\/home" },
        { "a`$b", "a$b" },
        { "\"a`\"b\"", "a\"b" },
    };
    const struct words_rules rules = { .escape = '`', .values = values };
    CHECK(&rules, backtick, false);
}

static void variables(void **state)
{
    (void)state;
    const struct word_case cases[] = {
        { "$PWD", "/home" },
        { "${PWD}x", "/homex" },
        { "$PWDx", "" },
        { "$TWICE", "2" },
        { "a$1x", "ax" },
        { "a$12x", "ax" },
        { "a$@b", "ab" },
        { "$$", "" },
        { "a$.b", "a$.b" },
        { "a$", "a$" },
        { "$U", "\xc3\xa9t\xc3\xa9" },
        { "${none:-w}", "w" },
        { "${EMPTY:-w}", "w" },
        { "${EMPTY-w}", "" },
        { "${none-w}", "w" },
        { "${PWD:-w}", "/home" },
        { "${PWD:+w}", "w" },
        { "${EMPTY:+w}", "" },
        { "${EMPTY+w}", "w" },
        { "${none:+w}", "" },
        { "${none+w}", "" },
        { "${PWD:?w}", "/home" },
        { "${EMPTY?w}", "" },
        { "${none:-$PWD}", "/home" },
        { "${none:-${x:-y}}", "y" },
        { "${none:-\"a b\"}", "a b" },
        { "${none:-a\\}b}", "a}b" },
        { "${PWD}}", "/home}" },
        { "${none:-{x}", "{x" },
    };
    CHECK(&plain, cases, false);
    const struct word_case faults[] = {
        { "${none:?}", "none: is not allowed to be unset" },
        { "${none?gone}", "none: gone" },
        { "${EMPTY:?}", "EMPTY: is not allowed to be empty" },
        { "${PWD", "missing '}'" },
        { "${PWD:-x", "missing '}'" },
        { "${", "missing '}'" },
        { "${}", "bad substitution" },
        { "${:x}", "bad substitution" },
        { "${{x}}", "bad substitution" },
        { "${.}", "unsupported modifier (.)" },
        { "${PWD:=x}", "unsupported modifier (:=)" },
        { "${PWD:#x}", "unsupported modifier (:#)" },
        { "${PWD:x}", "unsupported modifier (:x) in substitution" },
        { "x${PWD:=x}", "failed to process \"x${PWD:=x}\": " },
    };
    CHECK(&plain, faults, true);
}

static void patterns(void **state)
{
    (void)state;
    const struct word_case cases[] = {
        { "${P#foo}", "-bar-foo" },
        { "${P#bar}", "foo-bar-foo" },
        { "${P#*-}", "bar-foo" },
        { "${P##*-}", "foo" },
        { "${P%foo}", "foo-bar-" },
        { "${P%-*}", "foo-bar" },
        { "${P%%-*}", "foo" },
        { "${P#?oo}", "-bar-foo" },
        { "${P%o?}", "foo-bar-f" },
        { "${P%*}", "foo-bar-foo" },
        { "${P%%*}", "" },
        { "${P#*}", "foo-bar-foo" },
        { "${P##*}", "" },
        { "${F%.*}", "a.tar" },
        { "${F%%.*}", "a" },
        { "${F##*.}", "gz" },
        { "${U#?}", "t\xc3\xa9" },
        { "${U%?}", "\xc3\xa9t" },
        { "${STAR#a\\*}", "b" },
        { "${STAR%\\*b}", "a" },
        { "${P#$PWD}", "foo-bar-foo" },
        { "${P/foo/x}", "x-bar-foo" },
        { "${P//foo/x}", "x-bar-x" },
        { "${P/bar/}", "foo--foo" },
        { "${P//o/}", "f-bar-f" },
        { "${P/b*r/[]}", "foo-[]-foo" },
        { "${P/-*-/+}", "foo+foo" },
        { "${P//?oo/$PWD}", "/home-bar-/home" },
        { "${PWD/\\//_}", "_home" },
        { "${PWD//\\//}", "home" },
        { "${P/*/all}", "all" },
        { "${P//*/all}", "all" },
        { "${none/a/b}", "" },
        { "${NL#*b}", "a\nb" },
        { "${NL/?/x}", "x\nb" },
    };
    CHECK(&plain, cases, false);
    const struct word_case faults[] = {
        { "${P#\\x}", "invalid pattern (\\x) in substitution: invalid escape" },
        { "${P/foo}", "missing '/' in ${}" },
        { "${P/foo/x", "missing '}'" },
    };
    CHECK(&plain, faults, true);
}

// The leftmost match, the longest of those: held against trying every place.
static void pattern_search_agrees_with_trying_all(void **state)
{
    (void)state;
    const char *patterns[] = { "a", "ab", "a*b", "*b", "b*", "?b", "a?*b", "*", "aa", "a*a" };
    const char *letters = "ab";
    for (unsigned bits = 0; bits < 256; bits++) {
        char text[9] = { 0 };
        for (unsigned i = 0; i < 8; i++)
            text[i] = letters[bits >> i & 1];
        for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
            struct str got CLEANUP(str_done) = STR_INIT, want CLEANUP(str_done) = STR_INIT;
            struct error err;
            assert_int_equal(pattern_replace(patterns[p], text, "_", false, &got, &err), 0);
            for (size_t at = 0; at <= 8 && !want.len; at++) {
                struct str rest CLEANUP(str_done) = STR_INIT, whole CLEANUP(str_done) = STR_INIT;
                assert_int_equal(pattern_trim_start(patterns[p], text + at, true, &rest, &err), 0);
                bool matches_nothing = rest.len == 8 - at;
                if (matches_nothing && !streq(patterns[p], "*"))
                    continue;
                str_append_n(&want, text, at);
                str_append_char(&want, '_');
                str_append(&want, rest.ptr);
            }
            assert_string_equal(got.ptr, want.len ? want.ptr : text);
        }
    }
}

static void split(const char *text, const struct words_rules *rules, const char *want)
{
    char **words CLEANUP(strv_freep) = NULL;
    struct error err;
    assert_int_equal(words_split(text, rules, &words, &err), 0);
    char *joined CLEANUP(cleanup_free) = words ? strv_join(words, "|") : xstrdup("");
    assert_string_equal(joined, want);
}

static void splitting(void **state)
{
    (void)state;
    split("  a  b\tc ", &plain, "a|b|c");
    split("a 'b c' d\\ e", &plain, "a|b c|d e");
    split("$LIST", &plain, "one|two|three");
    split("x$LIST-y", &plain, "xone|two|three-y");
    split("\"$LIST\"", &plain, "one two  three");
    split("a${none:-b}c d", &plain, "abc|d");
    split("", &plain, "");
    const struct words_rules raw = {
        .escape = '\\', .keeps_quotes = true, .keeps_escapes = true, .keeps_unset = true
    };
    split("cat << EOF '<<x' \"a b\" \\$x ${y:-z} $w", &raw, "cat|<< EOF|'<<x'|\"a b\"|\\$x|${y:-z}|$w");
}

static void names_are_reported(void **state)
{
    (void)state;
    char **used CLEANUP(strv_freep) = NULL, **missing CLEANUP(strv_freep) = NULL;
    struct words_rules rules = { .escape = '\\', .values = values, .used = &used, .missing = &missing };
    char *got CLEANUP(cleanup_free) = NULL;
    struct error err;
    assert_int_equal(words_expand("$PWD$PWD${a:-$b} '$c' ${EMPTY}$a", &rules, &got, &err), 0);
    char *u CLEANUP(cleanup_free) = strv_join(used, ","), *m CLEANUP(cleanup_free) = strv_join(missing, ",");
    assert_string_equal(u, "PWD,EMPTY");
    assert_string_equal(m, "b,a");
}

static void quotes_as_text(void **state)
{
    (void)state;
    const struct words_rules rules = { .escape = '\\', .ignores_quotes = true, .values = values };
    const struct word_case cases[] = {
        { "it's \"$PWD\"\n", "it's \"/home\"\n" },
        { "a\\$PWD \\\\n", "a$PWD \\n" },
    };
    CHECK(&rules, cases, false);
}

static void bounds(void **state)
{
    (void)state;
    struct str deep CLEANUP(str_done) = STR_INIT;
    char *got CLEANUP(cleanup_free) = NULL;
    struct error err;
    for (int i = 0; i < WORDS_DEPTH_MAX + 1; i++)
        str_append(&deep, "${x:-");
    for (int i = 0; i < WORDS_DEPTH_MAX + 1; i++)
        str_append(&deep, "}");
    assert_int_equal(words_expand(deep.ptr, &plain, &got, &err), -1);
    assert_non_null(strstr(err.message, "nested too deeply"));

    struct str value CLEANUP(str_done) = STR_INIT, text CLEANUP(str_done) = STR_INIT;
    str_append(&value, "X=");
    for (int i = 0; i < 1 << 16; i++)
        str_append(&value, "0123456789abcdef");
    char *large[] = { value.ptr, NULL };
    const struct words_rules rules = { .escape = '\\', .values = large };
    for (int i = 0; i < 5; i++)
        str_append(&text, "$X");
    assert_int_equal(words_expand(text.ptr, &rules, &got, &err), -1);
    assert_non_null(strstr(err.message, "longer than"));
    assert_int_equal(words_expand("${X#0}", &rules, &got, &err), -1);
    assert_non_null(strstr(err.message, "too long for a pattern"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_and_escapes), cmocka_unit_test(variables),
        cmocka_unit_test(patterns),           cmocka_unit_test(pattern_search_agrees_with_trying_all),
        cmocka_unit_test(splitting),          cmocka_unit_test(names_are_reported),
        cmocka_unit_test(quotes_as_text),     cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
