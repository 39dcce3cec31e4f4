#include "oci/image.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include "../test.h"

#include <string.h>

#define A64    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG "\"config\":{\"mediaType\":\"" OCI_MEDIA_CONFIG "\",\"digest\":\"sha256:" A64 "\",\"size\":7}"
#define LAYER  "{\"mediaType\":\"" OCI_MEDIA_LAYER "+gzip\",\"digest\":\"sha256:" B64 "\",\"size\":9}"
#define ENTRY(os, arch, more, c)                                       \
    "{\"mediaType\":\"" OCI_MEDIA_MANIFEST "\",\"digest\":\"sha256:" c \
    "\",\"size\":9,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" more "}}"

static int parse(const char *text, const char *type, struct oci_document *ret, struct error *err)
{
    return oci_document_parse(text, strlen(text), type, ret, err);
}

static void manifest_goes_round(void **state)
{
    (void)state;
    struct error err;
    struct oci_document d, e;
    assert_int_equal(
        parse("{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "," LAYER "],\"x\":1}", NULL, &d, &err),
        0);
    assert_int_equal(d.kind, OCI_DOCUMENT_MANIFEST);
    assert_string_equal(d.media_type, OCI_MEDIA_MANIFEST);
    assert_int_equal(d.count, 2);
    assert_string_equal(d.config.digest, "sha256:" A64);
    assert_int_equal(d.descriptors[1].size_bytes, 9);
    CLEANUP(json_cleanup) json_t *json = oci_document_emit(&d);
    CLEANUP(cleanup_free) char *text = json_text(json);
    assert_int_equal(parse(text, OCI_MEDIA_MANIFEST "; charset=utf-8", &e, &err), 0);
    CLEANUP(json_cleanup) json_t *again = oci_document_emit(&e);
    assert_true(json_equal(json, again));
    oci_document_done(&d);
    oci_document_done(&e);
}

static void lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *type;
        enum error_kind kind;
        const char *says;
    } bad[] = {
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"manifests\":[]}", NULL, ERROR_INVALID,
          "image and of an index" },
        { "{\"schemaVersion\":2,\"manifests\":[]," CONFIG "}", NULL, ERROR_INVALID, "image and of an index" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", OCI_MEDIA_INDEX, ERROR_INVALID,
          "members are not those" },
        { "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MEDIA_MANIFEST "\"," CONFIG ",\"layers\":[]}",
          DOCKER_MEDIA_MANIFEST, ERROR_INVALID, "the registry says" },
        { "{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}", NULL, ERROR_UNSUPPORTED, "schema 1" },
        { "{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", ERROR_UNSUPPORTED, "schema 1" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"fsLayers\":[]}", NULL, ERROR_INVALID, "schema 1" },
        { "{\"schemaVersion\":2}", NULL, ERROR_INVALID, "neither" },
        { "{" CONFIG ",\"layers\":[]}", NULL, ERROR_INVALID, "schemaVersion" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", NULL, ERROR_INVALID, "layers is not a list" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[7]}", NULL, ERROR_INVALID, "not a descriptor" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"sha256:../../etc\",\"size\":1}]}", NULL,
          ERROR_INVALID, "digest" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"sha256:" A64 "\",\"size\":-1}]}", NULL,
          ERROR_INVALID, "size" },
        { "{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"sha256:" A64
          "\",\"size\":1,\"mediaType\":\"text/x\"}]}",
          NULL, ERROR_UNSUPPORTED, "layer media type text/x" },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
          "vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:" A64 "\",\"size\":1},\"layers\":[]}",
          NULL, ERROR_UNSUPPORTED, "helm" },
        { "{\"schemaVersion\":2,\"schemaVersion\":2," CONFIG ",\"layers\":[]}", NULL, ERROR_INVALID, "JSON" },
        { "[]", NULL, ERROR_INVALID, "not an object" },
        { "", NULL, ERROR_INVALID, "JSON" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct oci_document d;
        struct error err = { 0 };
        assert_int_equal(parse(bad[i].text, bad[i].type, &d, &err), -1);
        assert_int_equal(err.kind, bad[i].kind);
        assert_non_null(strstr(err.message, bad[i].says));
    }
}

static void bounds_hold(void **state)
{
    (void)state;
    struct error err;
    struct oci_document d;
    CLEANUP(str_done) struct str text = STR_INIT;
    for (int i = 0; i < 10000; i++)
        str_append(&text, "[");
    assert_int_equal(parse(text.ptr, NULL, &d, &err), -1);
    assert_non_null(strstr(err.message, "nested deeper"));
    str_clear(&text);
    str_append(&text, "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER);
    for (int i = 0; i < OCI_LAYERS_MAX; i++)
        str_append(&text, "," LAYER);
    str_append(&text, "]}");
    assert_int_equal(parse(text.ptr, NULL, &d, &err), -1);
    assert_non_null(strstr(err.message, "126 layers"));
    str_clear(&text);
    while (text.len <= OCI_DOCUMENT_MAX_BYTES)
        str_append(&text, "                                                                                ");
    assert_int_equal(parse(text.ptr, NULL, &d, &err), -1);
    assert_non_null(strstr(err.message, "larger than"));
}

static void index_gives_the_right_entry(void **state)
{
    (void)state;
    static const char text[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" DOCKER_MEDIA_INDEX "\",\"manifests\":[" ENTRY(
            "unknown", "unknown", "",
            "000000000000000000000000000000000000000000000000000000000000000"
            "0") "," ENTRY("linux", "arm", ",\"variant\":\"v6\"",
                           "1111111111111111111111111111111111111111111111111"
                           "111111111111111") "," ENTRY("linux", "arm", ",\"variant\":\"v7\"",
                                                        "22222222222222222222"
                                                        "22222222222222222222"
                                                        "22222222222222222222"
                                                        "2222") "," ENTRY("li"
                                                                          "nu"
                                                                          "x",
                                                                          "ar"
                                                                          "m6"
                                                                          "4",
                                                                          ","
                                                                          "\""
                                                                          "va"
                                                                          "ri"
                                                                          "an"
                                                                          "t"
                                                                          "\""
                                                                          ":"
                                                                          "\""
                                                                          "v8"
                                                                          "\"",
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "33"
                                                                          "3"
                                                                          "3") "," ENTRY("windows", "amd64",
                                                                                         "",
                                                                                         "4444444444444444444"
                                                                                         "4444444444444444444"
                                                                                         "4444444444444444444"
                                                                                         "4444444") "," ENTRY("linux",
                                                                                                              "amd64",
                                                                                                              "",
                                                                                                              "5555555555555555555555555555555555555555555555555555555555555555") "]}";
    static const struct {
        const char *wish;
        char digit; // '-': none
    } cases[] = { { "linux/amd64", '5' },    { "linux/x86_64", '5' }, { "linux/arm64", '3' },
                  { "linux/arm64/v8", '3' }, { "linux/arm/v7", '2' }, { "linux/arm", '2' },
                  { "linux/arm/v6", '1' },   { "linux/arm/v5", '-' }, { "linux/s390x", '-' },
                  { "windows/amd64", '4' },  { "arm64", '3' } };
    struct error err;
    struct oci_document d;
    assert_int_equal(parse(text, DOCKER_MEDIA_INDEX, &d, &err), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oci_platform wish;
        assert_int_equal(oci_platform_parse(cases[i].wish, &wish, &err), 0);
        const struct oci_descriptor *got = oci_index_choose(&d, &wish);
        assert_int_equal(got ? got->digest[10] : '-', cases[i].digit);
        oci_platform_done(&wish);
    }
    oci_document_done(&d);
    struct oci_platform wish;
    assert_int_equal(oci_platform_parse("linux/amd64/v1/x", &wish, &err), -1);
    assert_int_equal(oci_platform_parse("linux//", &wish, &err), -1);
    assert_int_equal(oci_platform_parse("", &wish, &err), -1);
}

static int diff_ids(const char *text, char ***ret)
{
    struct error err;
    CLEANUP(json_cleanup) json_t *json = NULL;
    assert_int_equal(json_parse(text, strlen(text), &json, &err), 0);
    return oci_config_diff_ids(json, ret, &err);
}

static void configuration_names_its_layers(void **state)
{
    (void)state;
    CLEANUP(strv_freep) char **ids = NULL;
    char **none = NULL;
    assert_int_equal(diff_ids("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" A64
                              "\",\"sha256:" B64 "\"]}}",
                              &ids),
                     0);
    assert_int_equal(strv_len(ids), 2);
    assert_string_equal(ids[1], "sha256:" B64);
    assert_int_equal(diff_ids("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:zz\"]}}", &none), -1);
    assert_int_equal(diff_ids("{\"rootfs\":{\"type\":\"other\",\"diff_ids\":[]}}", &none), -1);
    assert_int_equal(diff_ids("{\"rootfs\":{\"diff_ids\":[3]}}", &none), -1);
    assert_int_equal(diff_ids("{\"rootfs\":{\"diff_ids\":3}}", &none), -1);
    assert_int_equal(diff_ids("[]", &none), -1);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_goes_round),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(index_gives_the_right_entry),
        cmocka_unit_test(configuration_names_its_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
