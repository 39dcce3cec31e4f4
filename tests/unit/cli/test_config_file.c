#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/config_file.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

static void write_config(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", directory);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void load(const char *text, struct config_file *ret)
{
    struct error err;
    write_config(text);
    assert_int_equal(config_file_load(directory, ret, &err), 0);
}

static void assert_login(const char *text, const char *server, const char *username, const char *password)
{
    struct error err;
    struct config_file config CLEANUP(config_file_done) = { 0 };
    struct login login CLEANUP(login_done) = { 0 };
    load(text, &config);
    assert_int_equal(config_file_get(&config, server, &login, &err), 0);
    assert_true(streq(login.username, username));
    assert_true(streq(login.password, password));
}

static void entries_are_found_by_host(void **state)
{
    (void)state;
    static const char text[] = "{\"auths\":{\"https://host:1/v1/\":{\"auth\":\"am9lOnM6Mw==\"},"
                               "\"plain\":{\"username\":\"ann\",\"password\":\"pw\"},"
                               "\"https://index.docker.io/v1/\":{\"auth\":\"aHViOng=\"}}}";
    assert_login(text, "host:1", "joe", "s:3"); // the first colon parts them
    assert_login(text, "plain", "ann", "pw");
    assert_login(text, CONFIG_HUB_SERVER, "hub", "x");
    assert_login(text, "host:2", NULL, NULL);
    assert_login(text, "host", NULL, NULL);
    assert_login("{}", "host", NULL, NULL);
    assert_login("", "host", NULL, NULL);
}

static void tokens_are_read(void **state)
{
    (void)state;
    struct error err;
    struct config_file config CLEANUP(config_file_done) = { 0 };
    struct login login CLEANUP(login_done) = { 0 };
    load("{\"auths\":{\"h\":{\"auth\":\"am9lOg==\",\"identitytoken\":\"it\",\"registrytoken\":\"rt\"}}}",
         &config);
    assert_int_equal(config_file_get(&config, "h", &login, &err), 0);
    assert_string_equal(login.identity_token, "it");
    assert_string_equal(login.registry_token, "rt");
}

static void what_is_malformed_is_named(void **state)
{
    (void)state;
    static const char *const texts[] = { "{", "[]", "{\"auths\":1,\"auths\":2}", "nonsense" };
    struct error err;
    struct config_file config = { 0 };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_config(texts[i]);
        assert_int_equal(config_file_load(directory, &config, &err), -1);
        assert_non_null(strstr(err.message, "Error loading config file"));
    }
    struct config_file good CLEANUP(config_file_done) = { 0 };
    struct login login;
    load("{\"auths\":{\"h\":{\"auth\":\"%%%\"}}}", &good);
    assert_int_equal(config_file_get(&good, "h", &login, &err), -1);
}

static void helpers_are_chosen_by_server(void **state)
{
    (void)state;
    struct config_file config CLEANUP(config_file_done) = { 0 };
    load("{\"credsStore\":\"all\",\"credHelpers\":{\"host:1\":\"one\"}}", &config);
    assert_string_equal(config_file_helper(&config, "host:1"), "one");
    assert_string_equal(config_file_helper(&config, "host:2"), "all");
    struct config_file none CLEANUP(config_file_done) = { 0 };
    load("{\"credsStore\":\"\"}", &none);
    assert_null(config_file_helper(&none, "host:2"));
}

static void a_helper_is_a_name_and_no_path(void **state)
{
    (void)state;
    struct error err;
    struct login login;
    struct config_file config CLEANUP(config_file_done) = { 0 };
    load("{\"credsStore\":\"../../bin/true\"}", &config);
    assert_int_equal(config_file_get(&config, "h", &login, &err), -1);
    assert_non_null(strstr(err.message, "not the name of a helper"));
}

static void what_is_unknown_is_kept(void **state)
{
    (void)state;
    struct error err;
    struct stat st;
    char path[96];
    struct config_file config CLEANUP(config_file_done) = { 0 }, again CLEANUP(config_file_done) = { 0 };
    struct login login = { .username = (char[]){ "u" }, .password = (char[]){ "p" } };
    load("{\"plugins\":{\"x\":{\"y\":\"z\"}},\"auths\":{\"a\":{}}}", &config);
    assert_int_equal(config_file_store(&config, "b:1", &login, &err), 0);
    assert_int_equal(config_file_load(directory, &again, &err), 0);
    assert_string_equal(
        json_get_string(json_get_object(json_get_object(again.root, "plugins"), "x"), "y", ""), "z");
    assert_string_equal(
        json_get_string(json_get_object(json_get_object(again.root, "auths"), "b:1"), "auth", ""), "dTpw");
    assert_int_equal(config_file_erase(&again, "b:1", &err), 0);
    assert_int_equal(json_object_size(json_get_object(again.root, "auths")), 1);
    snprintf(path, sizeof path, "%s/config.json", directory);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void servers_of_references(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "busybox", CONFIG_HUB_SERVER },           { "a/b", CONFIG_HUB_SERVER },
        { "docker.io/a/b", CONFIG_HUB_SERVER },     { "localhost/a", "localhost" },
        { "localhost:5000/a", "localhost:5000" },   { "quay.io/a/b:t", "quay.io" },
        { "index.docker.io/a", CONFIG_HUB_SERVER }, { "Host/a", "Host" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *server CLEANUP(cleanup_free) = config_server_of(pairs[i][0]);
        assert_string_equal(server, pairs[i][1]);
    }
}

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/skiff-config-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", directory);
    (void)unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_host),      cmocka_unit_test(tokens_are_read),
        cmocka_unit_test(what_is_malformed_is_named),     cmocka_unit_test(helpers_are_chosen_by_server),
        cmocka_unit_test(a_helper_is_a_name_and_no_path), cmocka_unit_test(what_is_unknown_is_kept),
        cmocka_unit_test(servers_of_references),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
