// container prune, image prune, network prune, volume prune, system prune.
#include "cli/commands.h"
#include "cli/human.h"

#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_confirmed(struct cli *cli, const struct options *options, const char *question)
{
    char answer[16] = "";
    if (options_bool(options, "force", false))
        return true;
    cli_print(cli, "%s\nAre you sure you want to continue? [y/N] ", question);
    (void)cli_flush(cli);
    ssize_t n = read(STDIN_FILENO, answer, sizeof answer - 1);
    return n > 0 && (answer[0] == 'y' || answer[0] == 'Y') &&
           (n == 1 || answer[1] == '\n' || answer[1] == '\r');
}

// POST /WHAT/prune; `dangling` (NULL: the engine's default) says how much: "dangling" of images, "all" of volumes; adds to *reclaimed and prints what is gone.
static int prune(struct cli *cli, const struct options *options, const char *what, const char *dangling,
                 int64_t *reclaimed, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err),
                    *answer CLEANUP(json_cleanup) = NULL;
    if (!filters)
        return -1;
    if (dangling)
        json_object_set_new(filters, streq(what, "volumes") ? "all" : "dangling", json_pack("[s]", dangling));
    target_path(&target, "/");
    target_path(&target, what);
    target_path(&target, "/prune");
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    if (cli_call(cli, "POST", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    *reclaimed += json_get_int(answer, "SpaceReclaimed", 0);
    static const struct {
        const char *key, *title;
    } lists[] = { { "ContainersDeleted", "Deleted Containers:" },
                  { "NetworksDeleted", "Deleted Networks:" },
                  { "VolumesDeleted", "Deleted Volumes:" },
                  { "ImagesDeleted", "Deleted Images:" } };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *list = json_get_array(answer, lists[i].key);
        if (json_array_size(list))
            cli_print(cli, "%s\n", lists[i].title);
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *item = json_array_get(list, k);
            const char *deleted = json_get_string(item, "Deleted", NULL),
                       *untagged = json_get_string(item, "Untagged", NULL);
            if (json_is_string(item))
                cli_print(cli, "%s\n", json_string_value(item));
            else
                cli_print(cli, "%s: %s\n", deleted ? "deleted" : "untagged",
                          deleted    ? deleted
                          : untagged ? untagged
                                     : "");
        }
        if (json_array_size(list))
            cli_print(cli, "\n");
    }
    return 0;
}

static void print_reclaimed(struct cli *cli, int64_t bytes)
{
    char size[HUMAN_MAX];
    human_size((double)bytes, 4, size);
    cli_print(cli, "Total reclaimed space: %s\n", size);
}

static int run_container_prune(struct cli *cli, const struct options *options, struct error *err)
{
    int64_t bytes = 0;
    if (!is_confirmed(cli, options, "WARNING! This will remove all stopped containers."))
        return error_set(err, ERROR_CANCELLED, "container prune has been cancelled");
    if (prune(cli, options, "containers", NULL, &bytes, err) < 0)
        return -1;
    print_reclaimed(cli, bytes);
    return 0;
}

static int run_image_prune(struct cli *cli, const struct options *options, struct error *err)
{
    bool all = options_bool(options, "all", false);
    int64_t bytes = 0;
    if (!is_confirmed(
            cli, options,
            all ? "WARNING! This will remove all images without at least one container associated to them."
                : "WARNING! This will remove all dangling images."))
        return error_set(err, ERROR_CANCELLED, "image prune has been cancelled");
    if (prune(cli, options, "images", all ? "false" : "true", &bytes, err) < 0)
        return -1;
    print_reclaimed(cli, bytes);
    return 0;
}

static int run_network_prune(struct cli *cli, const struct options *options, struct error *err)
{
    int64_t bytes = 0;
    if (!is_confirmed(cli, options,
                      "WARNING! This will remove all custom networks not used by at least one container."))
        return error_set(err, ERROR_CANCELLED, "network prune has been cancelled");
    return prune(cli, options, "networks", NULL, &bytes, err);
}

static int run_volume_prune(struct cli *cli, const struct options *options, struct error *err)
{
    bool all = options_bool(options, "all", false);
    int64_t bytes = 0;
    if (!is_confirmed(
            cli, options,
            all ? "WARNING! This will remove all local volumes not used by at least one container."
                : "WARNING! This will remove anonymous local volumes not used by at least one container."))
        return error_set(err, ERROR_CANCELLED, "volume prune has been cancelled");
    if (prune(cli, options, "volumes", all ? "true" : NULL, &bytes, err) < 0)
        return -1;
    print_reclaimed(cli, bytes);
    return 0;
}

// A kind of object the engine does not prune (yet) is no failure of the others.
static int prune_if_offered(struct cli *cli, const struct options *options, const char *what, int64_t *bytes,
                            struct error *err)
{
    int r = prune(cli, options, what, NULL, bytes, err);
    bool is_missing =
        r < 0 && (cli->client.status == 404 || cli->client.status == 501 || cli->client.status == 405);
    return is_missing ? 0 : r;
}

static int run_system_prune(struct cli *cli, const struct options *options, struct error *err)
{
    bool all = options_bool(options, "all", false), volumes = options_bool(options, "volumes", false);
    int64_t bytes = 0;
    char *question CLEANUP(cleanup_free) = xasprintf(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one "
        "container\n%s"
        "  - %s\n",
        volumes ? "  - all anonymous volumes not used by at least one container\n" : "",
        all ? "all images without at least one container associated to them" : "all dangling images");
    if (!is_confirmed(cli, options, question))
        return error_set(err, ERROR_CANCELLED, "system prune has been cancelled");
    if (prune(cli, options, "containers", NULL, &bytes, err) < 0 ||
        prune_if_offered(cli, options, "networks", &bytes, err) < 0 ||
        (volumes && prune_if_offered(cli, options, "volumes", &bytes, err) < 0) ||
        prune(cli, options, "images", all ? "false" : "true", &bytes, err) < 0)
        return -1;
    print_reclaimed(cli, bytes);
    return 0;
}

#define FILTER_OPTION                                                                            \
    {                                                                                            \
        "filter", 0, OPTION_LIST, "filter", "Provide filter values (e.g. \"until=<timestamp>\")" \
    }
#define FORCE_OPTION                                                      \
    {                                                                     \
        "force", 'f', OPTION_BOOL, NULL, "Do not prompt for confirmation" \
    }
static const struct option container_prune_options[] = { FILTER_OPTION, FORCE_OPTION, OPTION_END };
static const struct option image_prune_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Remove all unused images, not just dangling ones" },
    FILTER_OPTION,
    FORCE_OPTION,
    OPTION_END,
};
static const struct option volume_prune_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Remove all unused volumes, not just anonymous ones" },
    FILTER_OPTION,
    FORCE_OPTION,
    OPTION_END,
};
static const struct option system_prune_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Remove all unused images not just dangling ones" },
    FILTER_OPTION,
    FORCE_OPTION,
    { "volumes", 0, OPTION_BOOL, NULL, "Prune anonymous volumes" },
    OPTION_END,
};
const struct command command_container_prune = {
    "prune", NULL,  "[OPTIONS]",        "Remove all stopped containers", container_prune_options, 0,
    0,       false, run_container_prune
};
const struct command command_image_prune = {
    "prune", NULL, "[OPTIONS]", "Remove unused images", image_prune_options, 0, 0, false, run_image_prune
};
const struct command command_network_prune = {
    "prune", NULL,  "[OPTIONS]",      "Remove all unused networks", container_prune_options, 0,
    0,       false, run_network_prune
};
const struct command command_system_prune = {
    "prune", NULL, "[OPTIONS]", "Remove unused data", system_prune_options, 0, 0, false, run_system_prune
};
const struct command command_volume_prune = {
    "prune", NULL,  "[OPTIONS]",     "Remove unused local volumes", volume_prune_options, 0,
    0,       false, run_volume_prune
};
