// skiff manifest: lists of manifests, one name for several platforms.
#include "cli/commands.h"

#include "base/mem.h"
#include "cli/credentials.h"
#include "cli/pull.h"
#include "codec/json.h"

#include <string.h>

// With the credentials for the registry of `name`.
static int call(struct cli *cli, const char *name, const char *method, const char *target, const json_t *body,
                json_t **ret, struct error *err)
{
    if (cli_connect(cli, err) < 0)
        return -1;
    credentials_send(cli, name);
    return cli_call(cli, method, target, body, ret, err);
}

static void path_of(struct target *target, const char *name, const char *verb)
{
    target_path(target, "/manifests/");
    target_name(target, name);
    target_path(target, verb);
}

// As Docker prints it: indented by tabs.
static void print_json(struct cli *cli, const json_t *document)
{
    char *text CLEANUP(cleanup_free) = json_dumps(document, JSON_INDENT(1) | JSON_ENCODE_ANY);
    for (const char *line = text; line && *line;) {
        size_t n = strcspn(line, "\n"), indent = strspn(line, " ");
        for (size_t i = 0; i < indent; i++)
            cli_print(cli, "\t");
        cli_print(cli, "%.*s\n", (int)(n - indent), line + indent);
        line += n + (line[n] == '\n');
    }
}

// --- inspect

// {"Ref","Descriptor","...Manifest"} as `docker manifest inspect -v` has it.
static json_t *verbose_document(const json_t *member)
{
    const char *type = json_get_string(member, "MediaType", "");
    json_t *descriptor =
        json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", json_get_string(member, "Digest", ""),
                  "size", (json_int_t)json_get_int(member, "Size", 0));
    if (json_get_object(member, "Platform"))
        json_object_set(descriptor, "platform", json_get_object(member, "Platform"));
    json_t *document = json_object();
    json_set_string(document, "Ref", json_get_string(member, "Ref", ""));
    json_object_set_new(document, "Descriptor", descriptor);
    json_object_set(document, strstr(type, "oci") ? "OCIManifest" : "SchemaV2Manifest",
                    json_object_get(member, "Document"));
    return document;
}

static int run_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    bool is_verbose = options_bool(options, "verbose", false);
    const char *name =
        options->arguments[1] ? options->arguments[1] : options->arguments[0]; // LIST MANIFEST, or one
    path_of(&target, name, "/json");
    if (is_verbose)
        target_query(&target, "verbose", "1");
    if (call(cli, name, "GET", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    const json_t *members = json_get_array(answer, "Members");
    if (!is_verbose) {
        print_json(cli, json_object_get(answer, "Document"));
        return 0;
    }
    json_t *verbose CLEANUP(json_cleanup) =
        json_array_size(members) ? json_array() : verbose_document(answer);
    for (size_t i = 0; i < json_array_size(members); i++)
        json_array_append_new(verbose, verbose_document(json_array_get(members, i)));
    print_json(cli, verbose);
    return 0;
}

// --- create, annotate, push, rm
static char *full_name(const char *name)
{
    char *familiar CLEANUP(cleanup_free) = pull_familiar_name(name);
    return pull_canonical_name(familiar);
}

static int run_create(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *body CLEANUP(json_cleanup) = json_object();
    char *name CLEANUP(cleanup_free) = full_name(options->arguments[0]);
    json_object_set_new(body, "Manifests", json_from_strv(options->arguments + 1));
    json_set_bool(body, "Amend", options_bool(options, "amend", false));
    path_of(&target, options->arguments[0], "/create");
    if (call(cli, options->arguments[0], "POST", target.text.ptr, body, NULL, err) < 0)
        return -1;
    cli_print(cli, "Created manifest list %s\n", name);
    return 0;
}

static int run_annotate(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const texts[][2] = {
        { "arch", "Architecture" }, { "os", "OS" }, { "variant", "Variant" }, { "os-version", "OSVersion" }
    };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *body CLEANUP(json_cleanup) = json_object();
    json_set_string(body, "Manifest", options->arguments[1]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (options_has(options, texts[i][0]))
            json_set_string(body, texts[i][1], options_string(options, texts[i][0], ""));
    json_object_set_new(body, "OSFeatures", json_from_strv(options_list(options, "os-features")));
    json_object_set_new(body, "Annotations", json_from_strv(options_list(options, "annotation")));
    path_of(&target, options->arguments[0], "/annotate");
    return cli_call(cli, "POST", target.text.ptr, body, NULL, err);
}

static int run_push(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    path_of(&target, options->arguments[0], "/push");
    if (options_bool(options, "purge", false))
        target_query(&target, "purge", "1");
    if (call(cli, options->arguments[0], "POST", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    char **pushed CLEANUP(strv_freep) = json_get_strv(answer, "Pushed");
    for (size_t i = 0; pushed && pushed[i]; i++)
        cli_print(cli, "Pushed ref %s with digest: %s\n", pushed[i], strchr(pushed[i], '@') + 1);
    cli_print(cli, "%s\n", json_get_string(answer, "Digest", ""));
    return 0;
}

static int run_rm(struct cli *cli, const struct options *options, struct error *err)
{
    int code = 0;
    for (char **name = options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        path_of(&target, *name, "");
        if (cli_call(cli, "DELETE", target.text.ptr, NULL, NULL, err) == 0)
            continue;
        cli_complain("%s", err->message);
        code = 1;
    }
    return code;
}

#define INSECURE                             \
    {                                        \
        "insecure", 0, OPTION_BOOL, NULL, "" \
    } // for scripts written for Docker: which registries are insecure the engine knows
static const struct option inspect_options[] = {
    INSECURE,
    { "verbose", 'v', OPTION_BOOL, NULL, "Output additional info including layers and platform" },
    OPTION_END,
};
static const struct option create_options[] = {
    { "amend", 'a', OPTION_BOOL, NULL, "Amend an existing manifest list" },
    INSECURE,
    OPTION_END,
};
static const struct option annotate_options[] = {
    { "annotation", 0, OPTION_LIST, NULL, "Set an annotation (key=value)" },
    { "arch", 0, OPTION_STRING, NULL, "Set architecture" },
    { "os", 0, OPTION_STRING, NULL, "Set operating system" },
    { "os-features", 0, OPTION_LIST, "strings", "Set operating system feature" },
    { "os-version", 0, OPTION_STRING, NULL, "Set operating system version" },
    { "variant", 0, OPTION_STRING, NULL, "Set architecture variant" },
    OPTION_END,
};
static const struct option push_options[] = {
    INSECURE,
    { "purge", 'p', OPTION_BOOL, NULL, "Remove the local manifest list after push" },
    OPTION_END,
};
const struct command command_manifest_inspect = { "inspect",
                                                  NULL,
                                                  "[OPTIONS] [MANIFEST_LIST] MANIFEST",
                                                  "Display an image manifest, or manifest list",
                                                  inspect_options,
                                                  1,
                                                  2,
                                                  false,
                                                  run_inspect };
const struct command command_manifest_create = {
    "create",
    NULL,
    "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
    "Create a local manifest list for annotating and pushing to a registry",
    create_options,
    2,
    -1,
    false,
    run_create
};
const struct command command_manifest_annotate = { "annotate",
                                                   NULL,
                                                   "[OPTIONS] MANIFEST_LIST MANIFEST",
                                                   "Add additional information to a local image manifest",
                                                   annotate_options,
                                                   2,
                                                   2,
                                                   false,
                                                   run_annotate };
const struct command command_manifest_push = {
    "push", NULL,    "[OPTIONS] MANIFEST_LIST", "Push a manifest list to a repository", push_options, 1, 1,
    false,  run_push
};
const struct command command_manifest_rm = { "rm",
                                             NULL,
                                             "MANIFEST_LIST [MANIFEST_LIST...]",
                                             "Delete one or more manifest lists from local storage",
                                             NULL,
                                             1,
                                             -1,
                                             false,
                                             run_rm };
