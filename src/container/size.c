// How much a container holds on disk.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/tree_size.h"
#include "store/layer.h"

#include <fcntl.h>

uint64_t container_written_bytes(const struct container *c)
{
    CLEANUP(cleanup_free) char *upper = xasprintf("%s/upper", c->directory);
    CLEANUP(cleanup_close) int fd = open(upper, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? 0 : tree_size(fd);
}

int container_size(struct container_service *s, const char *name, uint64_t *ret_written, uint64_t *ret_all,
                   struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    uint64_t written = container_written_bytes(c), all = written;
    for (size_t i = 0; c->diff_ids && c->diff_ids[i]; i++) {
        struct layer_info layer;
        struct error ignored;
        if (layer_get(s->store, c->diff_ids[i], &layer, &ignored) == 0)
            all += layer.size_bytes;
    }
    *ret_written = written;
    *ret_all = all;
    return 0;
}
