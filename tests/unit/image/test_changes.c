#include "../test.h"

#include "base/mem.h"
#include "codec/json.h"
#include "image/changes.h"

static void apply_all(const char *const *lines, const char *expected)
{
    json_t *config CLEANUP(json_cleanup) = json_object();
    struct error err;
    for (size_t i = 0; lines[i]; i++)
        if (image_change_apply(config, lines[i], &err) < 0)
            fail_msg("%s: %s", lines[i], err.message);
    char *text CLEANUP(cleanup_free) = json_text(config);
    assert_string_equal(text, expected);
}

static void instructions_change_the_configuration(void **state)
{
    (void)state;
    apply_all((const char *[]){ "CMD [\"a\", \"b c\"]", NULL }, "{\"Cmd\":[\"a\",\"b c\"]}");
    apply_all((const char *[]){ "cmd echo \"$x\"", NULL },
              "{\"Cmd\":[\"/bin/sh\",\"-c\",\"echo \\\"$x\\\"\"]}");
    apply_all((const char *[]){ "CMD a", "ENTRYPOINT [\"/e\"]", NULL }, "{\"Entrypoint\":[\"/e\"]}");
    apply_all(
        (const char *[]){ "ENV a=1 b=\"two words\" c=d\\ e", "ENV a=2", "ENV old the rest of it", NULL },
        "{\"Env\":[\"a=2\",\"b=two words\",\"c=d e\",\"old=the rest of it\"]}");
    apply_all((const char *[]){ "LABEL k='v \"q\"'", NULL }, "{\"Labels\":{\"k\":\"v \\\"q\\\"\"}}");
    apply_all((const char *[]){ "EXPOSE 80 53/udp 1-3", NULL },
              "{\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{},\"1-3/tcp\":{}}}");
    apply_all((const char *[]){ "VOLUME [\"/a\", \"/b\"]", "VOLUME /c", NULL },
              "{\"Volumes\":{\"/a\":{},\"/b\":{},\"/c\":{}}}");
    apply_all(
        (const char *[]){ "WORKDIR /a", "WORKDIR b", "USER me:us ", "STOPSIGNAL SIGINT", "ONBUILD RUN x",
                          NULL },
        "{\"WorkingDir\":\"/a/b\",\"User\":\"me:us\",\"StopSignal\":\"SIGINT\",\"OnBuild\":[\"RUN x\"]}");
    apply_all((const char *[]){ "HEALTHCHECK --interval=5s --retries=3 CMD true", NULL },
              "{\"Healthcheck\":{\"Interval\":5000000000,\"Retries\":3,\"Test\":[\"CMD-SHELL\",\"true\"]}}");
    apply_all((const char *[]){ "HEALTHCHECK NONE", NULL }, "{\"Healthcheck\":{\"Test\":[\"NONE\"]}}");
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = { "",
                                         "RUN x",
                                         "FROM y",
                                         "ENV",
                                         "ENV a",
                                         "ENV =x",
                                         "ENV a='b",
                                         "EXPOSE",
                                         "EXPOSE x",
                                         "EXPOSE 70000",
                                         "EXPOSE 80/icmp",
                                         "VOLUME",
                                         "VOLUME [\"\"]",
                                         "USER",
                                         "USER a b",
                                         "WORKDIR",
                                         "HEALTHCHECK",
                                         "HEALTHCHECK --interval=x CMD y",
                                         "HEALTHCHECK CMD",
                                         "CMDX a" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        json_t *config CLEANUP(json_cleanup) = json_object();
        struct error err;
        if (image_change_apply(config, lines[i], &err) == 0)
            fail_msg("\"%s\" was taken", lines[i]);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(instructions_change_the_configuration),
                                        cmocka_unit_test(nonsense_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
