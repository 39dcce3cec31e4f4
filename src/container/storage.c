// Theory of operation. What a container writes lies in two directories, "upper" and "work", and files move from one to the other, so
// both carry the same project id and share one limit; logs and host files lie beside them and do not count. The id is claimed and set
// while both are empty, so that everything made later inherits it, and the limit is the file system's from then on: it needs nothing of
// the engine, and holds over restarts of both.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "store/project.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int config_parse_storage(const json_t *host_config, struct container_config *ret, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_get_object(host_config, "StorageOpt"), key, value)
    {
        int64_t size;
        const char *text = json_is_string(value) ? json_string_value(value) : "";
        if (strcasecmp(key, "size") != 0)
            return error_set(err, ERROR_INVALID, "unknown option %s", key);
        if (!parse_size_bytes(text, &size) || size < 0)
            return error_set(err, ERROR_INVALID, "invalid size: '%s'", text);
        ret->storage_size_bytes = (uint64_t)size;
    }
    return 0;
}

static int apply(const struct container *c, struct error *err)
{
    CLEANUP(cleanup_close) int fd = open(c->directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open %s", c->directory);
    return project_apply(fd, "upper", c->project_id, err) < 0 ? -1
                                                              : project_apply(fd, "work", c->project_id, err);
}

int storage_limit(struct container *c, struct error *err)
{
    struct store *store = c->service->store;
    if (c->config.storage_size_bytes == 0)
        return 0;
    if (!project_is_offered(store))
        return error_set(err, ERROR_INVALID,
                         "--storage-opt is supported only for overlay over xfs with 'pquota' mount option or "
                         "ext4 with 'prjquota' mount option: " PROJECT_HELP);
    if (project_claim(store, c->config.storage_size_bytes, &c->project_id, err) < 0)
        return -1;
    return apply(c, err); // the caller's undo releases it
}

int storage_resize(struct container *c, uint64_t former_bytes, uint64_t size_bytes, struct error *err)
{
    if (size_bytes == former_bytes)
        return 0;
    if (!c->project_id)
        return error_set(err, ERROR_CONFLICT,
                         "--storage-opt can be updated only for a container that was created with a size");
    return project_limit(c->service->store, c->project_id, size_bytes, err);
}

void storage_release(struct container *c)
{
    project_release(c->service->store, c->project_id);
}

void storage_recover(struct container *c, const json_t *record)
{
    struct error err;
    c->project_id = (uint32_t)json_get_int(record, "projectId", 0);
    if (!c->project_id)
        return;
    project_keep(c->service->store, c->project_id);
    // A change may have been cut short. One whose record could not be read keeps the limit it has.
    if (c->state.status != CONTAINER_DEAD &&
        project_limit(c->service->store, c->project_id, c->config.storage_size_bytes, &err) < 0)
        log_warn("container %s: its size is not limited: %s", c->id, err.message);
}
