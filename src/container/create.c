// Theory of operation. Everything that can be done before the start is done here, because a client waits less
// impatiently for create: the request is checked, the image looked up, the directories and files made, the
// user resolved, the seccomp filter compiled, the OCI document built. The order is crash-safe: a directory
// without a record is garbage that recovery removes; the record is written last, and only then does the
// container exist.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/links.h"
#include "container/names.h"
#include "container/networks.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { GENERATED_NAMES_MAX = 20 };

// --- what must fit together
// The container named in "container:x" must exist; the mode then holds its full id, so that a rename does no
// harm.
static int resolve_mode(struct container *c, struct namespace_mode *mode, struct error *err)
{
    CLEANUP(container_unrefp) struct container *other = NULL;
    if (mode->kind != NS_MODE_CONTAINER)
        return 0;
    if (container_find(c->service, mode->container, &other, err) < 0) // not 404, which would mean the image
        return error_set(err, ERROR_INVALID, "joining namespace of container: No such container: %s",
                         mode->container);
    if (other == c)
        return error_set(err, ERROR_INVALID, "cannot join own namespace");
    free_and_strdup(&mode->container, other->id);
    return 0;
}

static int resolve_modes(struct container *c, struct error *err)
{
    struct namespace_mode *const modes[] = { &c->config.network, &c->config.pid, &c->config.ipc };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (resolve_mode(c, modes[i], err) < 0)
            return -1;
    return 0;
}

// They are looked up again at each start; a name that nobody has is refused now.
static int check_links(struct container *c, struct error *err)
{
    for (size_t i = 0; c->config.links && c->config.links[i]; i++) {
        CLEANUP(cleanup_free) char *name = NULL;
        CLEANUP(cleanup_free) char *alias = NULL;
        CLEANUP(container_unrefp) struct container *other = NULL;
        if (link_parse(c->config.links[i], &name, &alias, err) < 0)
            return -1;
        if (container_find(c->service, name, &other, err) < 0)
            return error_set(err, ERROR_INVALID, "could not get container for %s: No such container: %s",
                             name, name);
    }
    return 0;
}

// The host's user namespace is used where Docker's --userns-remap would refuse or step back as well.
static int choose_userns(struct container *c, struct error *err)
{
    const struct container_config *k = &c->config;
    bool wants_host = k->is_privileged || k->userns.kind == NS_MODE_HOST || k->network.kind == NS_MODE_HOST ||
                      k->pid.kind == NS_MODE_HOST || k->ipc.kind == NS_MODE_HOST ||
                      streq(c->service->options.userns_mode, "host");
    if (wants_host ||
        container_joins_another(c)) // a joined container brings its own range, looked up at start
        return 0;
    c->userns_first_id = userns_allocate(&c->service->userns);
    return c->userns_first_id ? 0 : error_set(err, ERROR_EXHAUSTED, "no free range of user ids is left");
}

// --- create
static void undo(struct container *c)
{
    const struct container_roots roots = container_roots(c->service);
    c->takes_volumes_along = true;
    mounts_release(c);
    mounts_discard(c);
    (void)directories_remove(&roots, c->id);
    storage_release(c);
    userns_release(&c->service->userns, c->userns_first_id);
}

static int enter_with_name(struct container *c, const char *name, struct error *err)
{
    if (!str_is_empty(name)) {
        const char *plain = name[0] == '/' ? name + 1 : name;
        return name_check(plain, err) < 0 ? -1 : container_enter(c, plain, err);
    }
    for (unsigned attempt = 0; attempt < GENERATED_NAMES_MAX; attempt++) {
        CLEANUP(cleanup_free) char *generated = name_generate(attempt);
        if (container_enter(c, generated, err) == 0)
            return 0;
    }
    return container_enter(c, c->id, err);
}

void container_choose_hostname(struct container *c)
{
    char host[256] = "localhost";
    if (*c->config.hostname)
        return;
    gethostname(host, sizeof host - 1);
    bool is_hosts = c->config.uts.kind == NS_MODE_HOST || c->config.network.kind == NS_MODE_HOST;
    free(c->config.hostname);
    c->config.hostname = is_hosts ? xstrdup(host) : xstrndup(c->id, ID_SHORT_LEN);
}

static int take_documents(struct container *c, const json_t *config, const json_t *host_config,
                          const json_t *networking, const struct image *image, char ***warnings,
                          struct error *err)
{
    if (config_merge_image(config, image->config, &c->config_document, err) < 0)
        return -1;
    c->host_config_document = host_config_complete(host_config);
    config_log_default(c->host_config_document, host_config, c->service->options.log_driver,
                       c->service->options.log_options);
    if (container_config_parse(c->config_document, c->host_config_document, &c->config, warnings, err) < 0)
        return -1;
    c->restart = c->config.restart;
    if (config_log_check_address(&c->config, err) < 0 || networks_resolve(c, networking, err) < 0 ||
        resolve_modes(c, err) < 0 || check_links(c, err) < 0)
        return -1;
    container_choose_hostname(c);
    // What inspect shows; where the name is another's, the document must stay as it came, or it would contradict itself.
    if (c->config.uts.kind != NS_MODE_HOST && c->config.network.kind != NS_MODE_CONTAINER)
        json_set_string(c->config_document, "Hostname", c->config.hostname);
    return choose_userns(c, err);
}

static int prepare(struct container *c, const char *name, struct error *err)
{
    const char *parent =
        c->config.cgroup_parent ? c->config.cgroup_parent : c->service->options.cgroup_parent;
    c->cgroup_path = xasprintf("%s/%s", parent, c->id);
    c->config.log.path = container_log_path(c);
    if (storage_limit(c, err) < 0 || mounts_resolve(c, err) < 0)
        return -1;
    if (!container_joins_another(c) && !strv_len(c->config.links) &&
        container_build_spec(c, &c->prepared, err) < 0)
        return -1;
    if (enter_with_name(c, name, err) < 0)
        return -1;
    if (container_save(c, err) == 0)
        return 0;
    container_forget(c);
    return -1;
}

// The id comes with its directories.
static int choose_id(struct container_service *s, char id[static ID_LEN + 1], struct error *err)
{
    const struct container_roots roots = container_roots(s);
    if (spares_take_id(s->spares, id))
        return 0;
    id_new(id);
    return directories_make(&roots, id, err);
}

int container_create(struct container_service *s, const char *name, const json_t *config,
                     const json_t *host_config, const json_t *networking_config, char ret_id[static 65],
                     char ***ret_warnings, struct error *err)
{
    CLEANUP(image_freep) struct image *image = NULL;
    CLEANUP(strv_freep) char **warnings = NULL;
    char id[ID_LEN + 1];
    const char *image_name = json_get_string(config, "Image", "");
    if (!*image_name)
        return error_set(err, ERROR_INVALID, "Config.Image must not be empty");
    if (!str_is_empty(name) && name_check(name[0] == '/' ? name + 1 : name, err) < 0)
        return -1;
    if (image_get(s->images, image_name, &image, err) < 0)
        return -1;
    if (choose_id(s, id, err) < 0)
        return -1;
    CLEANUP(container_unrefp) struct container *c = container_new(s, id);
    c->image_name = xstrdup(image_name);
    memcpy(c->image_id, image->id, sizeof c->image_id);
    c->diff_ids = strv_copy(image->diff_ids);
    if (take_documents(c, config, host_config, networking_config, image, &warnings, err) < 0 ||
        prepare(c, name, err) < 0) {
        undo(c);
        return -1;
    }
    memcpy(ret_id, id, sizeof id);
    if (ret_warnings)
        *ret_warnings = TAKE_PTR(warnings);
    image_note_use(s->images, c->image_id);
    container_event(c, "create", NULL, NULL);
    return 0;
}
