#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/lexer.h"

#include <string.h>

static struct dockerfile_tokens read_text(const char *text)
{
    struct dockerfile_tokens tokens;
    struct dockerfile_error err;
    if (dockerfile_tokens_read(text, strlen(text), &tokens, &err) < 0)
        fail_msg("%s: line %zu: %s", text, err.lines.first, err.cause.message);
    return tokens;
}

static void refuse(const char *text, size_t first, size_t last, const char *message)
{
    struct dockerfile_tokens tokens;
    struct dockerfile_error err;
    if (dockerfile_tokens_read(text, strlen(text), &tokens, &err) == 0)
        fail_msg("taken: %s", text);
    assert_int_equal(err.cause.kind, ERROR_INVALID);
    assert_string_equal(err.cause.message, message);
    assert_int_equal(err.lines.first, first);
    assert_int_equal(err.lines.last, last);
}

static void statement(const struct dockerfile_tokens *tokens, size_t i, size_t first, size_t last,
                      const char *keyword, const char *rest)
{
    assert_true(i < tokens->count);
    assert_string_equal(tokens->nodes[i].keyword, keyword);
    assert_string_equal(tokens->nodes[i].rest, rest);
    assert_int_equal(tokens->nodes[i].lines.first, first);
    assert_int_equal(tokens->nodes[i].lines.last, last);
}

static void lines_and_continuation(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = read_text(
        "\xef\xbb\xbf# a comment\r\n\r\nFROM  alpine \r\n  run a \\\r\n  # inside\r\n   b \\  \n\tc\n"
        "RUN x\\\\\nCMD y \\\n\n z\nLABEL a=b \\");
    assert_int_equal(tokens.count, 5);
    statement(&tokens, 0, 3, 3, "FROM", "alpine");
    statement(&tokens, 1, 4, 7, "run", "a    b \tc");
    assert_string_equal(tokens.nodes[1].original, "run a    b \tc");
    statement(&tokens, 2, 8, 8, "RUN", "x\\\\");
    statement(&tokens, 3, 9, 11, "CMD", "y  z");
    statement(&tokens, 4, 12, 12, "LABEL", "a=b");
    assert_int_equal(tokens.empty_continuation_count, 1);
    assert_int_equal(tokens.empty_continuations[0].first, 11);
}

static void directives(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens =
        read_text("# syntax=docker/dockerfile:1\n#  ESCAPE = ` \n# check=skip=all;error=true\nFROM a\nCOPY a "
                  "`\n b C:\\\n");
    assert_string_equal(tokens.directives.syntax, "docker/dockerfile:1");
    assert_string_equal(tokens.directives.check, "skip=all;error=true");
    assert_int_equal(tokens.directives.check_lines.first, 3);
    assert_int_equal(tokens.directives.escape, '`');
    statement(&tokens, 1, 5, 6, "COPY", "a  b C:\\");

    // After a comment, an empty line or an unknown directive they are comments.
    static const char *const late[] = { "# hello\n# escape=`\nFROM a", "\n# escape=`\nFROM a",
                                        "# what=ever\n# escape=`\nFROM a", "FROM a\n# escape=`\n" };
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) t = read_text(late[i]);
        assert_int_equal(t.directives.escape, '\\');
    }
    refuse("# escape=x\nFROM a", 1, 1, "invalid escape token 'x' does not match ` or \\");
    refuse("# escape=`\n# escape=\\\nFROM a", 2, 2, "only one escape parser directive can be used");
    refuse("# syntax=a\n# Syntax=b\nFROM a", 2, 2, "only one syntax parser directive can be used");
}

static void comments(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens =
        read_text("# syntax=x\n# above\n#\n# base is this\n# check=skip=all\nFROM a AS base\nARG x\n");
    char *joined CLEANUP(cleanup_free) = strv_join(tokens.nodes[0].comments, "|");
    assert_string_equal(joined, "base is this|check=skip=all");
    assert_null(tokens.nodes[1].comments);
    assert_null(tokens.directives.check);
}

static void flags(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = read_text(
        "RUN --mount=type=cache,target='/a b' --x=\"q\\\"q\" -- --not-a-flag\nCOPY --link\nRUN -x --y");
    char *joined CLEANUP(cleanup_free) = strv_join(tokens.nodes[0].flags, "|");
    assert_string_equal(joined, "--mount=type=cache,target=/a b|--x=q\"q");
    statement(&tokens, 0, 1, 1, "RUN", "--not-a-flag");
    statement(&tokens, 1, 2, 2, "COPY", "");
    statement(&tokens, 2, 3, 3, "RUN", "-x --y");
}

static void json_form(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens =
        read_text("RUN [\"a b\", \"\\u00e9\"]\nRUN ['a']\nCMD []\nHEALTHCHECK CMD [\"x\"]\nUSER [\"x\"]\nRUN "
                  "[ -f x ] && y");
    assert_true(tokens.nodes[0].is_json);
    assert_string_equal(tokens.nodes[0].json[0], "a b");
    assert_string_equal(tokens.nodes[0].json[1], "\xc3\xa9");
    assert_false(tokens.nodes[1].is_json);
    assert_true(tokens.nodes[2].is_json);
    assert_null(tokens.nodes[2].json);
    assert_true(tokens.nodes[3].is_json);
    assert_false(tokens.nodes[4].is_json);
    assert_false(tokens.nodes[5].is_json);
    refuse("FROM a\nRUN [\"a\", 1]\n", 2, 2,
           "when using JSON array syntax, arrays must be comprised of strings only");
}

static void heredocs(void **state)
{
    (void)state;
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = read_text(
        "RUN <<EOF\necho 1\n# no comment\n\nEOF\nCOPY <<-\"a b\" 3<<END /x/\n\t\tone \\\n\ta b\ntwo\r\nEND\n"
        "ONBUILD RUN cat << EOF\nthree\nEOF\nCMD <<EOF\nRUN [\"<<EOF\"]\nRUN x <<< y\n");
    assert_int_equal(tokens.count, 6);
    const struct dockerfile_node *n = &tokens.nodes[0];
    assert_int_equal(n->heredoc_count, 1);
    assert_string_equal(n->heredocs[0].content, "echo 1\n# no comment\n\n");
    assert_true(n->heredocs[0].expands);
    assert_int_equal(n->lines.last, 5);
    n = &tokens.nodes[1];
    assert_int_equal(n->heredoc_count, 2);
    assert_string_equal(n->heredocs[0].name, "a b");
    assert_false(n->heredocs[0].expands);
    assert_true(n->heredocs[0].chomps);
    assert_string_equal(n->heredocs[0].content, "\t\tone \\\n");
    char *text CLEANUP(cleanup_free) = dockerfile_heredoc_text(&n->heredocs[0]);
    assert_string_equal(text, "one \\\n");
    assert_string_equal(n->heredocs[1].name, "END");
    assert_int_equal(n->heredocs[1].descriptor, 3);
    assert_string_equal(n->heredocs[1].content, "two\r\n");
    assert_int_equal(tokens.nodes[2].heredoc_count, 1);
    assert_string_equal(tokens.nodes[2].heredocs[0].content, "three\n");
    for (size_t i = 3; i < 6; i++)
        assert_int_equal(tokens.nodes[i].heredoc_count, 0);
    refuse("FROM a\nRUN <<EOF\nx\n", 2, 3, "unterminated heredoc");
    refuse("FROM a\nRUN <<EOF\nx\n EOF\n", 2, 4, "unterminated heredoc");
}

static void bounds(void **state)
{
    (void)state;
    struct str text CLEANUP(str_done) = STR_INIT;
    refuse("", 0, 0, "the Dockerfile cannot be empty");
    refuse("# only\n\n", 2, 2, "file with no instructions");
    struct dockerfile_tokens tokens;
    struct dockerfile_error err;
    assert_int_equal(dockerfile_tokens_read("FROM a\nRUN \0x", 13, &tokens, &err), -1);
    assert_string_equal(err.cause.message, "the Dockerfile holds a NUL byte");
    assert_int_equal(err.lines.first, 2);

    str_append(&text, "FROM a\nRUN ");
    for (int i = 0; i < DOCKERFILE_LINE_MAX; i++)
        str_append_char(&text, 'x');
    refuse(text.ptr, 2, 2, "dockerfile line greater than max allowed size of 65535");

    str_clear(&text);
    for (int i = 0; i <= DOCKERFILE_INSTRUCTIONS_MAX; i++)
        str_append(&text, "ARG a\n");
    refuse(text.ptr, 10001, 10001, "dockerfile has more than 10000 instructions");

    str_clear(&text);
    str_append(&text, "FROM a\nRUN <<E\n");
    for (int i = 0; i < DOCKERFILE_HEREDOC_MAX / 64 + 1; i++)
        str_append(&text, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n");
    refuse(text.ptr, 2, 2, "heredoc E is larger than 1048576 bytes");
}

static void excerpts(void **state)
{
    (void)state;
    const char *text = "FROM a\nRUN 1\r\nRUN 2\nRUN 3\nRUN 4\n";
    struct str out CLEANUP(str_done) = STR_INIT;
    struct dockerfile_error err;
    (void)dockerfile_error_set(&err, (struct dockerfile_lines){ 4, 4 }, "it is %s", "wrong");
    dockerfile_error_print(&err, "Dockerfile", text, strlen(text), &out);
    assert_string_equal(out.ptr,
                        "Dockerfile:4\n--------------------\n   2 |     RUN 1\n   3 |     RUN 2\n"
                        "   4 | >>> RUN 3\n   5 |     RUN 4\n--------------------\nERROR: it is wrong\n");
    str_clear(&out);
    dockerfile_excerpt((struct dockerfile_lines){ 1, 2 }, "D", text, strlen(text), &out);
    assert_string_equal(out.ptr,
                        "D:1\n--------------------\n   1 | >>> FROM a\n   2 | >>> RUN 1\n   3 |     RUN 2\n"
                        "--------------------\n");
    str_clear(&out);
    dockerfile_excerpt((struct dockerfile_lines){ 9, 9 }, "D", text, strlen(text), &out);
    dockerfile_excerpt((struct dockerfile_lines){ 0, 0 }, "D", text, strlen(text), &out);
    assert_int_equal(out.len, 0);
}

static void suggestions(void **state)
{
    (void)state;
    const char *const options[] = { "mount", "network", "security", NULL };
    assert_string_equal(dockerfile_suggest("muont", options), "mount");
    assert_string_equal(dockerfile_suggest("netwok", options), "network");
    assert_null(dockerfile_suggest("mount", options));
    assert_null(dockerfile_suggest("chown", options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_continuation),
        cmocka_unit_test(directives),
        cmocka_unit_test(comments),
        cmocka_unit_test(flags),
        cmocka_unit_test(json_form),
        cmocka_unit_test(heredocs),
        cmocka_unit_test(bounds),
        cmocka_unit_test(excerpts),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
