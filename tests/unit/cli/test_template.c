#include "cli/template.h"

#include "base/mem.h"
#include "codec/json.h"

#include "../test.h"

#include <string.h>

static const char document[] =
    "{\"Id\":\"abc\",\"State\":{\"Pid\":12,\"Running\":true,\"Dead\":false},\"HostConfig\":{\"Binds\":null,"
    "\"PidsLimit\":null,\"PortBindings\":null},\"Config\":{\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"b\":\"x<"
    "y\",\"a\":\"1\"},"
    "\"Cmd\":[]},\"NetworkSettings\":{\"Ports\":{\"80/"
    "tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}],\"443/tcp\":null}},"
    "\"Size\":1.5}";

static char *run(const char *text, struct error *err)
{
    struct template *t = NULL;
    struct str out = STR_INIT;
    json_t *root CLEANUP(json_cleanup) = NULL;
    json_t *labels CLEANUP(json_cleanup) = json_pack("{s:s}", "team", "red");
    assert_int_equal(json_parse(document, strlen(document), &root, err), 0);
    if (template_parse(text, &t, err) < 0)
        return NULL;
    int r = template_execute(t, (struct template_data){ .root = root, .labels = labels }, &out, err);
    template_free(t);
    if (r == 0)
        return str_take(&out);
    str_done(&out);
    return NULL;
}

static void prints_as_go_does(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        { "plain", "plain" },
        { "{{.State.Pid}} {{.State.Running}}", "12 true" },
        { "{{.ID}}", "abc" }, // Go's field name
        { "{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}}", "[A=1 B=2] map[a:1 b:x<y] []" },
        { "{{.HostConfig.Binds}} {{.HostConfig.PidsLimit}} {{.HostConfig.PortBindings}}", "[] <nil> map[]" },
        { "{{.State.Nope}}", "<no value>" },
        { "{{json .Config.Labels}}", "{\"b\":\"x<y\",\"a\":\"1\"}" },
        { "{{.Config.Labels | json}}", "{\"b\":\"x<y\",\"a\":\"1\"}" },
        { "{{join .Config.Env \",\"}}", "A=1,B=2" },
        { "{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n" },
        { "{{range $i, $e := .Config.Env}}{{$i}}:{{$e}} {{end}}", "0:A=1 1:B=2 " },
        { "{{range $k, $v := .NetworkSettings.Ports}}{{$k}}={{range "
          "$v}}{{.HostPort}}{{else}}-{{end}};{{end}}",
          "443/tcp=-;80/tcp=8080;" },
        { "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080" },
        { "{{index .Config.Labels \"b\"}}|{{index .Config.Labels \"zz\"}}", "x<y|" },
        { "{{if .State.Running}}up{{else}}down{{end}}", "up" },
        { "{{if .State.Dead}}a{{else if eq .State.Pid 12}}b{{else}}c{{end}}", "b" },
        { "{{if and .State.Running (not .State.Dead)}}yes{{end}}", "yes" },
        { "{{if or .State.Dead (gt .State.Pid 100)}}yes{{else}}no{{end}}", "no" },
        { "{{with .State}}{{.Pid}}{{end}}", "12" },
        { "{{with .Config.Cmd}}x{{else}}none{{end}}", "none" },
        { "{{range .Config.Env}}{{$.ID}}{{end}}", "abcabc" },
        { "{{$p := .State.Pid}}{{$p}}", "12" },
        { "a {{- .Id -}} b", "aabcb" },
        { "{{/* nothing */}}x", "x" },
        { "{{upper .Id}} {{lower \"ABC\"}} {{title \"ab cd\"}}", "ABC abc Ab Cd" },
        { "{{len .Config.Env}} {{len .Id}}", "2 3" },
        { "{{printf \"%s-%d %5d|%-4s|%q\" .Id .State.Pid 7 \"x\" \"y\"}}", "abc-12     7|x   |\"y\"" },
        { "{{truncate .Id 2}}{{pad \"x\" 1 2}}.", "ab x  ." },
        { "{{slice .Id 1 3}}", "bc" },
        { "{{range split \"a,b\" \",\"}}[{{.}}]{{end}}", "[a][b]" },
        { "{{.Label \"team\"}}|{{.Label \"no\"}}", "red|" },
        { "{{`raw`}} {{\"q\\n\"}}", "raw q\n" },
        { "{{.Size}} {{true}} {{false}}", "1.5 true false" },
        { "{{ne .Id \"abc\"}} {{le 1 1}} {{lt 2 1}}", "false true false" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        char *text CLEANUP(cleanup_free) = run(cases[i].text, &err);
        if (!text)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_string_equal(text, cases[i].wanted);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad[] = { "{{",
                                       "{{.Id",
                                       "{{if .Id}}",
                                       "{{end}}",
                                       "{{else}}",
                                       "{{nope 1}}",
                                       "{{.Foo}}",
                                       "{{.Id.Foo}}",
                                       "{{index .Config.Env 9}}",
                                       "{{$x}}",
                                       "{{(.Id}}",
                                       "{{\"x}}",
                                       "{{}}",
                                       "{{join .Id}}",
                                       "{{.Id 1}}",
                                       "{{/* x }}",
                                       "{{range .State.Pid}}{{end}}",
                                       "{{.Id | }}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = { 0 };
        char *text CLEANUP(cleanup_free) = run(bad[i], &err);
        if (text)
            fail_msg("%s was taken: %s", bad[i], text);
        assert_true(str_has_prefix(err.message, "template parsing error: template: :1:"));
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    struct str text CLEANUP(str_done) = STR_INIT;
    struct template *t = NULL;
    struct error err = { 0 };
    for (int i = 0; i < 100000; i++)
        str_append(&text, "{{if 1}}");
    assert_int_equal(template_parse(text.ptr, &t, &err), -1);
    str_clear(&text);
    str_append(&text, "{{");
    for (int i = 0; i < 100000; i++)
        str_append(&text, "(");
    assert_int_equal(template_parse(text.ptr, &t, &err), -1);
}

static void rows_escape_html(void **state)
{
    (void)state;
    struct str out CLEANUP(str_done) = STR_INIT;
    json_t *row CLEANUP(json_cleanup) = json_pack("{s:s, s:s}", "b", "->", "a", "&<");
    template_append_json(&out, row, true, true);
    assert_string_equal(out.ptr, "{\"a\":\"\\u0026\\u003c\",\"b\":\"-\\u003e\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_as_go_does),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(rows_escape_html),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
