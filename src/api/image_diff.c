// GET /images/{name}/diff and POST /images/{name}/flatten (skiff's own).
#include "api/request.h"
#include "base/mem.h"
#include "container/diff.h"
#include "image/flatten.h"

#include <errno.h>
#include <stdio.h>

// --- diff: a document a line, {"Type":"file"|"config",...}; none for what is equal
struct diff_stream {
    struct line_stream lines;
    bool is_brief; // one difference is enough
    bool has_found;
};

static const char *kind_name(enum image_difference_kind kind)
{
    return kind == IMAGE_ADDED ? "added" : kind == IMAGE_DELETED ? "deleted" : "changed";
}

static json_t *describe_reasons(unsigned reasons)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = { { IMAGE_DIFFERS_TYPE, "type" },   { IMAGE_DIFFERS_CONTENT, "content" },
                  { IMAGE_DIFFERS_MODE, "mode" },   { IMAGE_DIFFERS_OWNER, "owner" },
                  { IMAGE_DIFFERS_XATTR, "xattr" }, { IMAGE_DIFFERS_TIME, "time" } };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (reasons & names[i].bit)
            json_array_append_new(list, json_string(names[i].name));
    return list;
}

static json_t *describe_file(const struct stat *st)
{
    static const struct {
        mode_t type;
        const char *name;
    } types[] = { { S_IFREG, "file" },         { S_IFDIR, "directory" },
                  { S_IFLNK, "link" },         { S_IFCHR, "character device" },
                  { S_IFBLK, "block device" }, { S_IFIFO, "fifo" } };
    const char *type = "socket";
    if (!st)
        return json_null();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        type = (st->st_mode & S_IFMT) == types[i].type ? types[i].name : type;
    json_t *document = json_object();
    json_set_string(document, "Type", type);
    json_object_set_new(document, "Mode", json_sprintf("%04o", (unsigned)st->st_mode & 07777));
    json_set_int(document, "Uid", st->st_uid);
    json_set_int(document, "Gid", st->st_gid);
    json_set_int(document, "Size", S_ISREG(st->st_mode) ? (int64_t)st->st_size : 0);
    return document;
}

static int put_difference(void *context, const struct image_difference *d)
{
    struct diff_stream *stream = context;
    json_t *document = json_object();
    json_set_string(document, "Type", d->path ? "file" : "config");
    json_set_string(document, "Kind", kind_name(d->kind));
    if (d->path) {
        json_set_text(document, "Path", d->path);
        json_object_set_new(document, "Reasons", describe_reasons(d->reasons));
        json_object_set_new(document, "From", describe_file(d->from));
        json_object_set_new(document, "To", describe_file(d->to));
    } else {
        json_set_string(document, "Field", d->field);
        json_set_string(document, "Key", d->key ? d->key : "");
        json_object_set_new(document, "From", d->old_value ? json_deep_copy(d->old_value) : json_null());
        json_object_set_new(document, "To", d->new_value ? json_deep_copy(d->new_value) : json_null());
    }
    stream->has_found = true;
    int r = line_stream_put(&stream->lines, document);
    return r < 0 || stream->is_brief ? -1 : 0;
}

// "container:x", else an image, else a container.
static int open_other(struct request *request, const char *name, struct image_side *ret, struct error *err)
{
    struct engine *engine = request->engine;
    struct error of_container;
    if (str_has_prefix(name, "container:"))
        return container_side_open(engine->containers, name + 10, ret, err);
    if (image_side_open(engine->images, name, ret, err) == 0)
        return 0;
    bool is_unknown = err->kind == ERROR_NOT_FOUND || err->kind == ERROR_INVALID;
    if (!is_unknown)
        return -1;
    if (container_side_open(engine->containers, name, ret, &of_container) == 0)
        return 0;
    if (of_container.kind != ERROR_NOT_FOUND)
        *err = of_container;
    else
        error_set(err, ERROR_NOT_FOUND, "No such image or container: %.300s", name);
    return -1;
}

int api_image_diff(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *with = request_get(request, "with");
    CLEANUP(image_side_done) struct image_side from = { 0 };
    CLEANUP(image_side_done) struct image_side to = { 0 };
    struct diff_stream stream = { .lines = { .request = request },
                                  .is_brief = request_flag(request, "brief", false) };
    if (str_is_empty(with))
        return error_set(err, ERROR_INVALID, "with: an image or a container is wanted");
    if (image_side_open(request->engine->images, request->name, &from, err) < 0 ||
        open_other(request, with, &to, err) < 0)
        return -1;
    int r = image_diff(&from, &to, request_flag(request, "times", false), put_difference, &stream, err);
    if (r < 0 && !(stream.is_brief && stream.has_found))
        return line_stream_fail(&stream.lines, err);
    return stream.lines.is_begun ? 0 : respond_empty(request, 200);
}

// --- flatten
int api_image_flatten(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *from = request_get(request, "from"), *to = request_get(request, "to");
    CLEANUP(cleanup_free) char *tag = request_get(request, "tag");
    const struct image_flatten flatten = { .name = request->name, .from = from, .to = to, .reference = tag };
    char id[DIGEST_LEN + 1];
    size_t merged = 0;
    if (image_flatten(request->engine->images, &flatten, id, &merged, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Id", id);
    json_set_int(document, "MergedLayers", (int64_t)merged);
    return respond_json(request, 201, document);
}
