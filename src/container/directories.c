#include "container/directories.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int remove_below(const char *root, const char *id)
{
    int fd CLEANUP(cleanup_close) = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : dir_remove_all_at(fd, id);
}

int directories_remove(const struct container_roots *roots, const char *id)
{
    int r = remove_below(roots->data, id);
    return r < 0 ? r : remove_below(roots->state, id);
}

static int make(const struct container_roots *roots, const char *id)
{
    char *data CLEANUP(cleanup_free) = xasprintf("%s/%s", roots->data, id);
    char *state CLEANUP(cleanup_free) = xasprintf("%s/%s", roots->state, id);
    if (mkdir(data, 0711) < 0 || mkdir(state, 0711) < 0)
        return -errno;
    int dir CLEANUP(cleanup_close) = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 || mkdirat(dir, "upper", 0755) < 0 || mkdirat(dir, "work", 0711) < 0 ? -errno : 0;
}

int directories_make(const struct container_roots *roots, const char *id, struct error *err)
{
    int r = make(roots, id);
    if (r == 0)
        return 0;
    (void)directories_remove(roots, id);
    return error_errno(err, r, "make directories for a container");
}

static const char run_attribute[] = "trusted.skiff.run";

int directories_note_run(const char *data_directory, int64_t started_ns)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64, started_ns);
    return setxattr(data_directory, run_attribute, text, (size_t)n, 0) < 0 ? -errno : 0;
}

int64_t directories_noted_run(const char *data_directory)
{
    char text[32];
    int64_t started_ns = 0;
    ssize_t n = getxattr(data_directory, run_attribute, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = 0;
    (void)parse_i64(text, 0, INT64_MAX, &started_ns);
    return started_ns;
}
