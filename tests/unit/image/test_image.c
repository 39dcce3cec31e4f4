#include "../layer_fixture.h"

#include "base/file.h"
#include "base/map.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "image/image.h"
#include "store/meta.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

struct place {
    char *folder;
    struct store *store;
    struct image_service *images;
    const char *used_id; // a container was made from this one
    bool is_running;
    struct str events;
};

static bool is_in_use(void *context, const char *image_id, char container_id[65], bool *ret_is_running)
{
    struct place *p = context;
    if (!streq(p->used_id, image_id))
        return false;
    snprintf(container_id, 65, "%064d", 0);
    *ret_is_running = p->is_running;
    return true;
}

static void emit(void *context, const struct event *event)
{
    struct place *p = context;
    str_appendf(&p->events, "%s %s;", event->action, event->actor_id);
}

static void open_place(struct place *p)
{
    struct error err;
    char *root CLEANUP(cleanup_free) = xasprintf("%s/root", p->folder);
    struct image_options options = { .events = { emit, p }, .is_in_use = is_in_use, .is_in_use_context = p };
    if (store_open(root, &p->store, &err) < 0 || image_service_open(p->store, &options, &p->images, &err) < 0)
        fail_msg("%s", err.message);
}

static void close_place(struct place *p)
{
    image_service_close(p->images);
    store_close(p->store);
}

static int set_up(void **state)
{
    struct place *p = NEW(struct place);
    p->events = STR_INIT;
    p->folder = xstrdup("/tmp/skiff-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    open_place(p);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    close_place(p);
    str_done(&p->events);
    int r = dir_remove_all_at(AT_FDCWD, p->folder);
    free(p->folder);
    free(p);
    return r;
}

static int count_files(struct place *p, const char *below)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", store_root(p->store), below);
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void make_tar(struct str *tar, const char *text)
{
    tar_add(tar, TAR_REGULAR, "file", NULL, text);
    tar_write_end(writer_to_str(tar));
}

static void import(struct place *p, const char *text, const char *reference, char id[DIGEST_LEN + 1])
{
    struct str tar CLEANUP(str_done) = STR_INIT;
    struct error err;
    make_tar(&tar, text);
    struct memory m = { tar.ptr, tar.len, 0, 0 };
    char *changes[] = { (char[]){ "CMD [\"/bin/true\"]" }, (char[]){ "ENV a=b" }, NULL };
    if (image_import(p->images, memory_reader(&m), reference, "a message", NULL, changes, id, &err) < 0)
        fail_msg("%s", err.message);
}

static struct image *get(struct place *p, const char *name)
{
    struct image *image = NULL;
    struct error err;
    if (image_get(p->images, name, &image, &err) < 0)
        fail_msg("%s", err.message);
    return image;
}

static void expect_missing(struct place *p, const char *name, const char *message)
{
    struct image *image = NULL;
    struct error err;
    assert_int_equal(image_get(p->images, name, &image, &err), -1);
    assert_string_equal(err.message, message);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
}

static char *remove_image(struct place *p, const char *name, bool is_forced)
{
    json_t *report = NULL;
    struct error err;
    if (image_remove(p->images, name, is_forced, &report, &err) < 0)
        return xstrdup(err.message);
    char *text = json_text(report);
    json_decref(report);
    return text;
}

static void imported_images_are_found(void **state)
{
    needs_root();
    struct place *p = *state;
    char id[DIGEST_LEN + 1], other[DIGEST_LEN + 1];
    import(p, "one", "busybox", id);
    import(p, "two", NULL, other);
    const char *names[] = { "busybox", "busybox:latest", "docker.io/library/busybox", id, id + 7, NULL };
    char *prefix CLEANUP(cleanup_free) = xstrndup(id + 7, 12);
    for (int i = 0; names[i]; i++) {
        struct image *image CLEANUP(image_freep) = get(p, names[i]);
        assert_string_equal(image->id, id);
    }
    struct image *image CLEANUP(image_freep) = get(p, prefix);
    assert_string_equal(image->tags[0], "busybox:latest");
    assert_null(image->tags[1]);
    assert_int_equal(image->size_bytes, 3);
    assert_true(image->created_ns > 0 && image->last_tagged_ns > 0);
    const json_t *config = json_get_object(image->config, "config");
    assert_string_equal(json_string_value(json_array_get(json_get_array(config, "Cmd"), 0)), "/bin/true");
    expect_missing(p, "nosuch", "No such image: nosuch:latest");
    expect_missing(p, "a/b:c", "No such image: a/b:c");
    expect_missing(p, "busybox:other", "No such image: busybox:other");
    struct image *none = NULL;
    struct error err;
    assert_int_equal(image_get(p->images, "Bad Name", &none, &err), -1);
    assert_int_equal(err.kind, ERROR_INVALID);
    struct image **list = NULL;
    assert_int_equal(image_list(p->images, &list, &err), 0);
    assert_string_equal(list[0]->id, other); // newest first
    assert_string_equal(list[1]->id, id);
    assert_null(list[2]);
    image_list_free(list);
}

static void images_outlive_a_restart(void **state)
{
    needs_root();
    struct place *p = *state;
    char id[DIGEST_LEN + 1];
    import(p, "one", "busybox", id);
    close_place(p);
    open_place(p);
    struct image *image CLEANUP(image_freep) = get(p, "busybox");
    assert_string_equal(image->id, id);
    // layers gone behind our back: the image is dropped, not shown broken
    char *layer CLEANUP(cleanup_free) =
        xasprintf("%s/layers/%s", store_root(p->store), digest_hex(image->diff_ids[0]));
    assert_int_equal(dir_remove_all_at(AT_FDCWD, layer), 0);
    close_place(p);
    open_place(p);
    expect_missing(p, "busybox", "No such image: busybox:latest");
    assert_int_equal(count_files(p, "blobs/sha256"), 0);
}

static void tags_move_and_go(void **state)
{
    needs_root();
    struct place *p = *state;
    char one[DIGEST_LEN + 1], two[DIGEST_LEN + 1];
    struct error err;
    import(p, "one", "a", one);
    import(p, "two", "b", two);
    assert_int_equal(image_tag(p->images, "a", "reg.example/x/y:1", &err), 0);
    assert_int_equal(image_tag(p->images, "b", "a", &err), 0);
    struct image *first CLEANUP(image_freep) = get(p, one);
    assert_string_equal(first->tags[0], "reg.example/x/y:1");
    assert_null(first->tags[1]);
    assert_int_equal(image_tag(p->images, "a", "Bad", &err), -1);
    assert_string_equal(err.message, "invalid reference format: repository name must be lowercase");
    assert_int_equal(image_tag(p->images, "nosuch", "x", &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    char *report CLEANUP(cleanup_free) = remove_image(p, "a", false);
    assert_string_equal(report, "[{\"Untagged\":\"a:latest\"}]"); // b is still there
    char *conflict CLEANUP(cleanup_free) = NULL;
    assert_int_equal(image_tag(p->images, "b", "c", &err), 0);
    conflict = remove_image(p, two, false);
    char *expected CLEANUP(cleanup_free) = xasprintf(
        "conflict: unable to delete %.12s (must be forced) - image is referenced in multiple repositories",
        two + 7);
    assert_string_equal(conflict, expected);
    assert_int_equal(count_files(p, "layers"), 2);
    char *gone CLEANUP(cleanup_free) = remove_image(p, two, true);
    assert_non_null(strstr(gone, "{\"Untagged\":\"b:latest\"},{\"Untagged\":\"c:latest\"},{\"Deleted\":"));
    assert_int_equal(count_files(p, "layers"), 1);
    char *last CLEANUP(cleanup_free) = remove_image(p, "reg.example/x/y:1", false);
    assert_non_null(strstr(last, "Deleted"));
    assert_int_equal(count_files(p, "layers"), 0);
    assert_int_equal(count_files(p, "blobs/sha256"), 0);
    assert_int_equal(count_files(p, "tmp"), 0);
    char *missing CLEANUP(cleanup_free) = remove_image(p, "a", false);
    assert_string_equal(missing, "No such image: a:latest");
    assert_non_null(strstr(p->events.ptr, "tag sha256:"));
    assert_non_null(strstr(p->events.ptr, "untag sha256:"));
    assert_non_null(strstr(p->events.ptr, "delete sha256:"));
}

static void containers_hold_their_image(void **state)
{
    needs_root();
    struct place *p = *state;
    char id[DIGEST_LEN + 1];
    import(p, "one", "a", id);
    p->used_id = id;
    char *expected CLEANUP(cleanup_free) = xasprintf("conflict: unable to remove repository reference \"a\" "
                                                     "(must force) - container 000000000000 is using its "
                                                     "referenced image %.12s",
                                                     id + 7);
    char *by_name CLEANUP(cleanup_free) = remove_image(p, "a", false);
    assert_string_equal(by_name, expected);
    char *by_id CLEANUP(cleanup_free) = remove_image(p, id, false);
    assert_non_null(
        strstr(by_id, "(must be forced) - image is being used by stopped container 000000000000"));
    p->is_running = true;
    char *running CLEANUP(cleanup_free) = remove_image(p, id, true);
    assert_non_null(
        strstr(running, "(cannot be forced) - image is being used by running container 000000000000"));
    char *untagged CLEANUP(cleanup_free) = remove_image(p, "a", true); // stays, without a name
    assert_string_equal(untagged, "[{\"Untagged\":\"a:latest\"}]");
    p->is_running = false;
    char *forced CLEANUP(cleanup_free) = remove_image(p, id, true);
    assert_non_null(strstr(forced, "Deleted"));
    assert_int_equal(count_files(p, "layers"), 1); // the container can still start
    struct image **list = NULL;
    struct error err;
    assert_int_equal(image_list(p->images, &list, &err), 0);
    assert_null(list[0]);
    image_list_free(list);
    image_free(get(p, id));
    p->used_id = NULL; // the container is removed; the next prune finds out
    json_t *report CLEANUP(json_cleanup) = NULL;
    uint64_t bytes = 0;
    assert_int_equal(image_prune(p->images, false, NULL, NULL, &report, &bytes, &err), 0);
    assert_true(bytes > 0 && bytes % 512 == 0); // blocks on disk
    assert_int_equal(count_files(p, "layers"), 0);
}

static void pruning(void **state)
{
    needs_root();
    struct place *p = *state;
    char tagged[DIGEST_LEN + 1], used[DIGEST_LEN + 1], dangling[DIGEST_LEN + 1];
    import(p, "1", "a", tagged);
    import(p, "22", NULL, used);
    import(p, "4444", NULL, dangling);
    p->used_id = used;
    json_t *report = NULL;
    uint64_t bytes = 0;
    struct error err;
    assert_int_equal(image_prune(p->images, false, NULL, NULL, &report, &bytes, &err), 0);
    json_decref(report);
    assert_true(bytes > 0 && bytes % 512 == 0); // blocks on disk
    assert_int_equal(count_files(p, "layers"), 2);
    assert_int_equal(image_prune(p->images, true, NULL, NULL, &report, &bytes, &err), 0);
    json_decref(report);
    assert_true(bytes > 0 && bytes % 512 == 0); // blocks on disk
    image_free(get(p, used));
}

static void save(struct place *p, char *const *names, struct str *out)
{
    struct error err;
    if (image_save(p->images, names, writer_to_str(out), &err) < 0)
        fail_msg("%s", err.message);
}

static int load(struct place *p, const struct str *archive, char ***names, struct error *err)
{
    struct memory m = { archive->ptr, archive->len, 0, 1000 };
    return image_load(p->images, memory_reader(&m), NULL, names, err);
}

static void saved_images_come_back(void **state)
{
    needs_root();
    struct place *p = *state;
    char one[DIGEST_LEN + 1], two[DIGEST_LEN + 1];
    struct error err;
    import(p, "one", "a:1", one);
    assert_int_equal(image_tag(p->images, "a:1", "a:2", &err), 0);
    import(p, "two", NULL, two);
    struct str archive CLEANUP(str_done) = STR_INIT, again CLEANUP(str_done) = STR_INIT,
                       zstd CLEANUP(str_done) = STR_INIT;
    char *names[] = { (char[]){ "a" }, two, NULL };
    save(p, names, &archive);
    save(p, names, &again);
    assert_int_equal(archive.len, again.len);
    assert_memory_equal(archive.ptr, again.ptr, again.len);
    struct encoder *e CLEANUP(encoder_freep) = encoder_new(COMPRESSION_ZSTD, writer_to_str(&zstd));
    assert_int_equal(encoder_writer(e).write(encoder_writer(e).context, archive.ptr, archive.len), 0);
    assert_int_equal(encoder_finish(e), 0);
    free(remove_image(p, one, true));
    free(remove_image(p, two, true));
    assert_int_equal(count_files(p, "layers"), 0);
    char **loaded CLEANUP(strv_freep) = NULL;
    if (load(p, &zstd, &loaded, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(loaded[0], "a:1");
    assert_string_equal(loaded[1], "a:2");
    assert_string_equal(loaded[2], two);
    assert_null(loaded[3]);
    struct image *image CLEANUP(image_freep) = get(p, "a:2");
    assert_string_equal(image->id, one);
    str_clear(&again);
    save(p, names, &again);
    assert_int_equal(archive.len, again.len);
    assert_memory_equal(archive.ptr, again.ptr, again.len);
}

// --- archives made by hand
static char *config_for(const struct str *layer)
{
    char diff_id[DIGEST_LEN + 1];
    digest_of(layer->ptr, layer->len, diff_id);
    return xasprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]},\"rootfs\":{"
                     "\"type\":\"layers\","
                     "\"diff_ids\":[\"%s\",\"%s\"]}}",
                     diff_id, diff_id);
}

static void add_bytes(struct str *tar, const char *path, const char *bytes, size_t n)
{
    char *p = xstrdup(path), empty[1] = "";
    struct tar_entry e = { .type = TAR_REGULAR, .path = p, .link = empty, .mode = 0644, .size = n };
    tar_write_header(writer_to_str(tar), &e);
    str_append_n(tar, bytes, n);
    tar_write_padding(writer_to_str(tar), n);
    free(p);
}

static void old_docker_archives_load(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str layer CLEANUP(str_done) = STR_INIT, archive CLEANUP(str_done) = STR_INIT;
    make_tar(&layer, "shared");
    char *config CLEANUP(cleanup_free) = config_for(&layer);
    tar_add(&archive, TAR_DIRECTORY, "aaa/", NULL, NULL);
    tar_add(&archive, TAR_REGULAR, "aaa/VERSION", NULL, "1.0");
    tar_add(&archive, TAR_REGULAR, "aaa/json", NULL, "{}");
    add_bytes(&archive, "aaa/layer.tar", layer.ptr, layer.len);
    tar_add(&archive, TAR_SYMLINK, "bbb/layer.tar", "../aaa/layer.tar", NULL);
    tar_add(&archive, TAR_REGULAR, "c.json", NULL, config);
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL,
            "[{\"Config\":\"c.json\",\"RepoTags\":[\"old:1\"],\"Layers\":[\"aaa/layer.tar\",\"bbb/"
            "layer.tar\"]}]");
    tar_write_end(writer_to_str(&archive));
    char **loaded CLEANUP(strv_freep) = NULL;
    struct error err;
    if (load(p, &archive, &loaded, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(loaded[0], "old:1");
    struct image *image CLEANUP(image_freep) = get(p, "old:1");
    assert_int_equal(strv_len(image->diff_ids), 2);
}

static char *add_blob(struct str *archive, const char *bytes, size_t n)
{
    char digest[DIGEST_LEN + 1];
    digest_of(bytes, n, digest);
    char *path CLEANUP(cleanup_free) = xasprintf("blobs/sha256/%s", digest_hex(digest));
    add_bytes(archive, path, bytes, n);
    return xstrdup(digest);
}

// An OCI layout with an index in the index, one manifest for another machine, and gzip layers; documents before layers.
static void oci_layouts_load(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str layer CLEANUP(str_done) = STR_INIT, gz CLEANUP(str_done) = STR_INIT,
                     archive CLEANUP(str_done) = STR_INIT;
    make_tar(&layer, "oci");
    struct encoder *e CLEANUP(encoder_freep) = encoder_new(COMPRESSION_GZIP, writer_to_str(&gz));
    assert_int_equal(encoder_writer(e).write(encoder_writer(e).context, layer.ptr, layer.len), 0);
    assert_int_equal(encoder_finish(e), 0);
    char *config_text CLEANUP(cleanup_free) = config_for(&layer);
    char *config CLEANUP(cleanup_free) = add_blob(&archive, config_text, strlen(config_text));
    char gz_digest[DIGEST_LEN + 1];
    digest_of(gz.ptr, gz.len, gz_digest);
    char *manifest_text CLEANUP(cleanup_free) =
        xasprintf("{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\"},\"layers\":[{\"digest\":\"%s\"},{"
                  "\"digest\":\"%s\"}]}",
                  config, gz_digest, gz_digest);
    char *manifest CLEANUP(cleanup_free) = add_blob(&archive, manifest_text, strlen(manifest_text));
    char *inner_text CLEANUP(cleanup_free) =
        xasprintf("{\"manifests\":[{\"digest\":\"sha256:%064d\",\"platform\":{\"os\":\"linux\","
                  "\"architecture\":\"s390x\"}},"
                  "{\"digest\":\"%s\"}]}",
                  1, manifest);
    char *inner CLEANUP(cleanup_free) = add_blob(&archive, inner_text, strlen(inner_text));
    char *index CLEANUP(cleanup_free) = xasprintf("{\"manifests\":[{\"digest\":\"%s\",\"annotations\":{\"io."
                                                  "containerd.image.name\":\"docker.io/library/oci:9\"}}]}",
                                                  inner);
    tar_add(&archive, TAR_REGULAR, "index.json", NULL, index);
    free(add_blob(&archive, gz.ptr, gz.len));
    tar_write_end(writer_to_str(&archive));
    char **loaded CLEANUP(strv_freep) = NULL;
    struct error err;
    if (load(p, &archive, &loaded, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(loaded[0], "oci:9");
    struct image *image CLEANUP(image_freep) = get(p, "oci:9");
    assert_string_equal(image->id, config);
    assert_string_equal(image->manifest_digest, manifest);
}

static void expect_bad_archive(struct place *p, struct str *archive, const char *part)
{
    char **loaded = NULL;
    struct error err = { 0 };
    tar_write_end(writer_to_str(archive));
    assert_int_equal(load(p, archive, &loaded, &err), -1);
    if (!strstr(err.message, part))
        fail_msg("expected \"%s\" in \"%s\"", part, err.message);
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_int_equal(count_files(p, "layers"), 0);
    assert_int_equal(count_files(p, "tmp"), 0);
    str_done(archive);
}

static void bad_archives_leave_nothing(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str layer CLEANUP(str_done) = STR_INIT, archive = STR_INIT, other CLEANUP(str_done) = STR_INIT;
    make_tar(&layer, "x");
    make_tar(&other, "y");
    char *config CLEANUP(cleanup_free) = config_for(&layer);
    static const char manifest[] = "[{\"Config\":\"c\",\"Layers\":[\"l\",\"l\"]}]";
    expect_bad_archive(p, &archive, "neither manifest.json nor index.json");
    str_append(&archive, "this is no archive at all");
    expect_bad_archive(p, &archive, "invalid");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, "[{");
    expect_bad_archive(p, &archive, "invalid JSON");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, manifest);
    expect_bad_archive(p, &archive, "\"c\" is missing");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, manifest);
    tar_add(&archive, TAR_REGULAR, "c", NULL, config);
    expect_bad_archive(p, &archive, "layer \"l\" is missing");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, manifest);
    tar_add(&archive, TAR_REGULAR, "c", NULL, config);
    add_bytes(&archive, "l", other.ptr, other.len);
    expect_bad_archive(p, &archive, "invalid diffID for layer 0");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]");
    tar_add(&archive, TAR_REGULAR, "c", NULL, config);
    add_bytes(&archive, "l", layer.ptr, layer.len);
    expect_bad_archive(p, &archive, "layers length mismatch: expected 2, got 1");
    tar_add(&archive, TAR_REGULAR, "manifest.json", NULL, manifest);
    tar_add(&archive, TAR_REGULAR, "c", NULL, "{\"rootfs\":{\"diff_ids\":[\"sha256:../../../x\"]}}");
    expect_bad_archive(p, &archive, "invalid digest");
    tar_add(&archive, TAR_SYMLINK, "manifest.json", "manifest.json", NULL);
    expect_bad_archive(p, &archive, "neither manifest.json nor index.json");
    struct str deep CLEANUP(str_done) = STR_INIT;
    for (int i = 0; i < 10000; i++)
        str_append_char(&deep, '[');
    add_bytes(&archive, "manifest.json", deep.ptr, deep.len);
    expect_bad_archive(p, &archive, "nested deeper");
    char *wrong CLEANUP(cleanup_free) = xasprintf("blobs/sha256/%064d", 3);
    add_bytes(&archive, wrong, layer.ptr, layer.len);
    expect_bad_archive(p, &archive, "digest mismatch");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(imported_images_are_found),
        TEST(images_outlive_a_restart),
        TEST(tags_move_and_go),
        TEST(containers_hold_their_image),
        TEST(pruning),
        TEST(saved_images_come_back),
        TEST(old_docker_archives_load),
        TEST(oci_layouts_load),
        TEST(bad_archives_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
