#include "container/links.h"

#include "base/mem.h"
#include "base/str.h"

#include "../test.h"

#include <string.h>

static void names_and_aliases(void **state)
{
    static const struct {
        const char *text, *name, *alias;
    } rows[] = { { "db", "db", "db" },
                 { "db:database", "db", "database" },
                 { "/db:/web/database", "db", "database" }, // as inspect shows it, and compose gives it back
                 { "", NULL, NULL },
                 { "db:", NULL, NULL },
                 { ":x", NULL, NULL },
                 { "a:b:c", NULL, NULL } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *name CLEANUP(cleanup_free) = NULL, *alias CLEANUP(cleanup_free) = NULL;
        struct error err;
        assert_int_equal(link_parse(rows[i].text, &name, &alias, &err), rows[i].name ? 0 : -1);
        if (rows[i].name) {
            assert_string_equal(name, rows[i].name);
            assert_string_equal(alias, rows[i].alias);
        } else {
            assert_int_equal(err.kind, ERROR_INVALID);
        }
    }
}

static void hosts_and_variables(void **state)
{
    (void)state;
    char *other_env[] = { (char[]){ "SECRET=x y" }, (char[]){ "PATH=/bin" }, (char[]){ "HOME=/root" }, NULL };
    struct network_port ports[] = { { .protocol = NETWORK_TCP, .container_port = 80 },
                                    { .protocol = NETWORK_UDP, .container_port = 53 } };
    struct link link = { .alias = (char[]){ "my-db" },
                         .ip = (char[]){ "172.17.0.9" },
                         .hostname = (char[]){ "0123456789ab" },
                         .name = (char[]){ "db" },
                         .env = other_env,
                         .ports = ports,
                         .port_count = 2 };
    struct links links = { &link, 1 };
    struct str hosts CLEANUP(str_done) = STR_INIT;
    links_hosts(&links, &hosts);
    assert_string_equal(hosts.ptr, "172.17.0.9\tmy-db 0123456789ab db\n");
    char **env CLEANUP(strv_freep) = NULL;
    links_environment(&links, "web", &env);
    char *joined CLEANUP(cleanup_free) = strv_join(env, "\n");
    assert_string_equal(joined, "MY_DB_PORT=tcp://172.17.0.9:80\n"
                                "MY_DB_PORT_80_TCP=tcp://172.17.0.9:80\nMY_DB_PORT_80_TCP_ADDR=172.17.0.9\n"
                                "MY_DB_PORT_80_TCP_PORT=80\nMY_DB_PORT_80_TCP_PROTO=tcp\n"
                                "MY_DB_PORT_53_UDP=udp://172.17.0.9:53\nMY_DB_PORT_53_UDP_ADDR=172.17.0.9\n"
                                "MY_DB_PORT_53_UDP_PORT=53\nMY_DB_PORT_53_UDP_PROTO=udp\n"
                                "MY_DB_NAME=/web/my-db\nMY_DB_ENV_SECRET=x y");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(names_and_aliases),
                                        cmocka_unit_test(hosts_and_variables) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
