#include "engine/engine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/project.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

// The service is opened after the images that ask it, so the question goes through the engine.
static bool is_image_in_use(void *context, const char *image_id, char container_id[65], bool *ret_is_running)
{
    struct engine *engine = context;
    return engine->containers &&
           container_uses_image(engine->containers, image_id, container_id, ret_is_running);
}

// Read the data root's identity, or give it one.
static int load_id(struct engine *engine, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/engine-id", store_root(engine->store));
    CLEANUP(str_done) struct str text = STR_INIT;
    int r = file_read_at(AT_FDCWD, path, sizeof engine->id - 1, &text);
    if (r == 0 && text.len == 36) {
        memcpy(engine->id, text.ptr, text.len + 1);
        return 0;
    }
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "read %s", path);
    char hex[33];
    id_random_hex(hex, 32);
    snprintf(engine->id, sizeof engine->id, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    r = file_replace_at(AT_FDCWD, path, 0600, engine->id, strlen(engine->id), false);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int open_services(struct engine *engine, struct error *err)
{
    const struct engine_options *o = &engine->options;
    struct event_sink events = { engine_events_emit, engine->events };
    int r = store_open(o->data_root, &engine->store, err);
    if (r < 0 || (r = load_id(engine, err)) < 0)
        return r;
    struct image_options image_options = {
        .insecure_registries = o->insecure_registries,
        .signature_policy = o->signature_policy,
        .layer_limits = o->layer_limits,
        .registries = o->registries,
        .events = events,
        .is_in_use = is_image_in_use,
        .is_in_use_context = engine,
    };
    if ((r = image_service_open(engine->store, &image_options, &engine->images, err)) < 0)
        return r;
    struct network_options network_options = o->network;
    network_options.events = events;
    network_options.netd_program = o->netd_program;
    network_options.exec_root = o->exec_root;
    if ((r = network_service_open(engine->store, &network_options, &engine->networks, err)) < 0)
        return r;
    if ((r = volume_service_open(engine->store, &events, &engine->volumes, err)) < 0)
        return r;
    struct container_options container_options = {
        .exec_root = o->exec_root,
        .shim_program = o->shim_program,
        .cgroup_parent = o->cgroup_parent,
        .userns_mode = o->userns_mode,
        .seccomp_profile = o->seccomp_profile,
        .cdi_directories = o->cdi_directories,
        .stop_timeout_s = o->stop_timeout_s,
        .init_program = o->init_program,
        .has_init = o->has_init,
        .log_driver = o->log_driver,
        .log_options = o->log_options,
        .events = events,
        .volumes = engine->volumes,
    };
    r = container_service_open(engine->store, engine->images, engine->networks, &container_options,
                               &engine->containers, err);
    if (r == 0) {
        volume_service_settle(engine->volumes);
        project_settle(engine->store);
    }
    if (r == 0 && o->dedups_images)
        engine->dedup = engine_dedup_new(engine->images);
    return r < 0 ? r
                 : engine_gc_start(engine->images, &engine->options.gc, o->gc_interval_s, &engine->gc, err);
}

int engine_open(const struct engine_options *options, struct engine **ret, struct error *err)
{
    struct engine *engine = NEW(struct engine);
    engine->options = *options;
    engine->started_ns = time_now_ns();
    engine->events = engine_events_new();
    int r = dir_make_all(options->exec_root, 0711);
    r = r < 0 ? error_errno(err, r, "make %s", options->exec_root) : open_services(engine, err);
    if (r < 0) {
        engine_close(engine);
        return r;
    }
    *ret = engine;
    return 0;
}

void engine_close(struct engine *engine)
{
    if (!engine)
        return;
    engine_gc_stop(engine->gc);
    engine_dedup_free(engine->dedup);
    if (engine->containers)
        container_service_close(engine->containers);
    volume_service_close(engine->volumes);
    if (engine->networks)
        network_service_close(engine->networks);
    if (engine->images)
        image_service_close(engine->images);
    if (engine->store)
        store_close(engine->store);
    engine_events_free(engine->events);
    free(engine);
}
