#include "container/diff.h"

#include "base/fd.h"
#include "base/mem.h"
#include "container/container_internal.h"

#include <errno.h>
#include <fcntl.h>

int container_side_open(struct container_service *s, const char *name, struct image_side *ret,
                        struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/upper", c->directory);
    int upper = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0)
        return error_errno(err, errno, "open the changes of container %s", c->id);
    if (image_side_open(s->images, c->image_id, ret, err) < 0) {
        fd_close(upper);
        return -1;
    }
    image_side_push(ret, upper, c->id, c->config_document);
    free_and_strdup(&ret->name, name);
    return 0;
}
