// A tree to a tar and back, and what a hostile archive or tree may not do.
#include "archive/archive.h"
#include "archive/stream.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include "../layer_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

struct world {
    char *path;
    int from, to; // directories
};

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    w->path = xstrdup("/tmp/skiff-archive-XXXXXX");
    if (!mkdtemp(w->path))
        return -1;
    int dir CLEANUP(cleanup_close) = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(dir, "from", 0755) || mkdirat(dir, "to", 0755) ||
        file_replace_at(dir, "secret", 0644, "host", 4, false))
        return -1;
    w->from = openat(dir, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->to = openat(dir, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    fd_close(w->from);
    fd_close(w->to);
    int r = dir_remove_all_at(AT_FDCWD, w->path);
    free(w->path);
    free(w);
    return r;
}

static void put_file(int dir, const char *name, const char *text)
{
    assert_int_equal(file_replace_at(dir, name, 0644, text, strlen(text), false), 0);
}

static char *text_of(int dir, const char *name)
{
    struct str out = STR_INIT;
    if (file_read_at(dir, name, 1 << 20, &out) < 0)
        str_append(&out, "(none)");
    return str_take(&out);
}

static void assert_text(int dir, const char *name, const char *expected)
{
    char *text CLEANUP(cleanup_free) = text_of(dir, name);
    assert_string_equal(text, expected);
}

static int unpack(const struct world *w, const struct str *tar, const struct archive_unpack *options,
                  struct error *err)
{
    struct memory memory = { .bytes = tar->ptr, .n = tar->len };
    struct tar_reader *reader CLEANUP(tar_reader_freep) =
        tar_reader_new((struct reader){ memory_read, &memory }, (struct writer){ 0 });
    return archive_unpack(w->to, reader, options, err);
}

static void pack(const struct world *w, const struct archive_pack *options, struct str *ret)
{
    struct error err = { 0 };
    struct writer to = writer_to_str(ret);
    assert_int_equal(archive_pack(w->from, options, to, &err), 0);
    assert_int_equal(tar_write_end(to), 0);
}

// "path>link" of every entry, one a line.
static char *listing(const struct str *tar)
{
    struct memory memory = { .bytes = tar->ptr, .n = tar->len };
    struct tar_reader *reader CLEANUP(tar_reader_freep) =
        tar_reader_new((struct reader){ memory_read, &memory }, (struct writer){ 0 });
    struct str out = STR_INIT;
    const struct tar_entry *e;
    while (tar_reader_next(reader, &e) == 1)
        str_appendf(&out, "%s%s%s\n", e->path, *e->link ? ">" : "", e->link);
    return str_take(&out);
}

static void add(struct str *tar, enum tar_type type, const char *path, const char *link, const char *data)
{
    char *p CLEANUP(cleanup_free) = xstrdup(path), *l CLEANUP(cleanup_free) = xstrdup(link);
    const struct tar_entry e = {
        .type = type, .path = p, .link = l, .mode = 0755, .size = data ? strlen(data) : 0
    };
    struct writer to = writer_to_str(tar);
    assert_int_equal(tar_write_header(to, &e), 0);
    if (data) {
        str_append(tar, data);
        assert_int_equal(tar_write_padding(to, e.size), 0);
    }
}

static void a_tree_comes_back(void **state)
{
    struct world *w = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    struct error err = { 0 };
    put_file(w->from, "b", "contents");
    assert_int_equal(mkdirat(w->from, "a", 0700), 0);
    assert_int_equal(symlinkat("/etc/passwd", w->from, "a/link"), 0);
    assert_int_equal(linkat(w->from, "b", w->from, "c", 0), 0);
    assert_int_equal(mkfifoat(w->from, "fifo", 0600), 0);
    pack(w, &(struct archive_pack){ .name = "top" }, &tar);
    char *names CLEANUP(cleanup_free) = listing(&tar);
    assert_string_equal(names, "top/\ntop/a/\ntop/a/link>/etc/passwd\ntop/b\ntop/c>top/b\ntop/fifo\n");
    const struct archive_unpack renamed = { .from = "top", .to = "here/deep" };
    assert_int_equal(unpack(w, &tar, &renamed, &err), 0);
    assert_text(w->to, "here/deep/c", "contents");
    struct stat b, c, fifo;
    assert_int_equal(fstatat(w->to, "here/deep/b", &b, 0), 0);
    assert_int_equal(fstatat(w->to, "here/deep/c", &c, 0), 0);
    assert_int_equal(fstatat(w->to, "here/deep/fifo", &fifo, 0), 0);
    assert_int_equal(b.st_ino, c.st_ino);
    assert_true(S_ISFIFO(fifo.st_mode));
    char link[32] = "";
    assert_int_equal(readlinkat(w->to, "here/deep/a/link", link, sizeof link), 11);
    assert_string_equal(link, "/etc/passwd");
}

static void names_by_the_top(void **state)
{
    struct world *w = *state;
    put_file(w->from, "x", "");
    static const struct {
        struct archive_pack options;
        const char *expected;
    } cases[] = {
        { { .name = "/" }, "/\n/x\n" },
        { { .name = "." }, "./\n./x\n" },
        { { .name = "", .leaves_top_out = true }, "x\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str tar CLEANUP(str_done) = STR_INIT;
        pack(w, &cases[i].options, &tar);
        char *names CLEANUP(cleanup_free) = listing(&tar);
        assert_string_equal(names, cases[i].expected);
    }
}

static void nothing_leaves(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *entries[3][2]; // path, link target; NULL target: a file
        const char *why;
    } cases[] = {
        { { { "../secret", NULL } }, "leads outside" },
        { { { "a/../../secret", NULL } }, "leads outside" },
        { { { "l", "../" }, { "l/x/secret", NULL } }, NULL }, // inside: the link means the top
        { { { "up", "../.." }, { "up/secret", NULL } }, NULL },
        { { { "abs", "/tmp" }, { "abs/secret", NULL } }, NULL }, // made inside, as /tmp there
        { { { "self", "self" }, { "self/x", NULL } }, "leads outside" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str tar CLEANUP(str_done) = STR_INIT;
        struct error err = { 0 };
        for (size_t k = 0; k < 3 && cases[i].entries[k][0]; k++) {
            const char *target = cases[i].entries[k][1];
            add(&tar, target ? TAR_SYMLINK : TAR_REGULAR, cases[i].entries[k][0], target ? target : "",
                target ? NULL : "evil");
        }
        assert_int_equal(tar_write_end(writer_to_str(&tar)), 0);
        int r = unpack(w, &tar, &(struct archive_unpack){ 0 }, &err);
        if (cases[i].why) {
            assert_int_equal(r, -1);
            assert_int_equal(err.kind, ERROR_INVALID);
            assert_non_null(strstr(err.message, cases[i].why));
        }
        char *secret CLEANUP(cleanup_free) = xasprintf("%s/secret", w->path);
        assert_text(AT_FDCWD, secret, "host");
        assert_int_equal(access("/tmp/secret", F_OK), -1);
    }
}

static void links_are_replaced_not_followed(void **state)
{
    struct world *w = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    struct error err = { 0 };
    char *secret CLEANUP(cleanup_free) = xasprintf("%s/secret", w->path);
    assert_int_equal(symlinkat(secret, w->to, "file"), 0);
    assert_int_equal(symlinkat(w->path, w->to, "dir"), 0);
    add(&tar, TAR_REGULAR, "file", "", "new");
    add(&tar, TAR_DIRECTORY, "dir", "", NULL);
    add(&tar, TAR_REGULAR, "dir/secret", "", "new");
    assert_int_equal(tar_write_end(writer_to_str(&tar)), 0);
    assert_int_equal(unpack(w, &tar, &(struct archive_unpack){ .keeps_kinds = false }, &err), 0);
    assert_text(w->to, "file", "new");
    assert_text(w->to, "dir/secret", "new");
    assert_text(AT_FDCWD, secret, "host");
}

static void kinds_are_kept(void **state)
{
    struct world *w = *state;
    struct str file CLEANUP(str_done) = STR_INIT, directory CLEANUP(str_done) = STR_INIT;
    struct error err = { 0 };
    const struct archive_unpack keeps = { .keeps_kinds = true }, replaces = { 0 };
    add(&file, TAR_REGULAR, "x", "", "f");
    add(&directory, TAR_DIRECTORY, "x", "", NULL);
    assert_int_equal(tar_write_end(writer_to_str(&file)), 0);
    assert_int_equal(tar_write_end(writer_to_str(&directory)), 0);
    assert_int_equal(unpack(w, &directory, &keeps, &err), 0);
    assert_int_equal(unpack(w, &directory, &keeps, &err), 0);
    assert_int_equal(unpack(w, &file, &keeps, &err), -1);
    assert_string_equal(err.message, "cannot overwrite directory \"x\" with non-directory");
    assert_int_equal(unpack(w, &file, &replaces, &err), 0);
    assert_int_equal(unpack(w, &directory, &keeps, &err), -1);
    assert_string_equal(err.message, "cannot overwrite non-directory \"x\" with directory");
}

static void ids_are_translated(void **state)
{
    struct world *w = *state;
    struct str tar CLEANUP(str_done) = STR_INIT, foreign CLEANUP(str_done) = STR_INIT;
    struct error err = { 0 };
    const struct archive_ids ids = { .first = 1000000, .count = 65536 };
    if (geteuid() != 0)
        skip();
    put_file(w->from, "mine", "");
    put_file(w->from, "others", "");
    assert_int_equal(fchownat(w->from, "mine", 1000005, 1065535, 0), 0);
    assert_int_equal(fchownat(w->from, "others", 999999, 1065536, 0), 0);
    pack(w, &(struct archive_pack){ .leaves_top_out = true, .ids = ids }, &tar);
    assert_int_equal(unpack(w, &tar, &(struct archive_unpack){ 0 }, &err), 0);
    struct stat st;
    assert_int_equal(fstatat(w->to, "mine", &st, 0), 0);
    assert_int_equal(st.st_uid, 5);
    assert_int_equal(st.st_gid, 65535);
    assert_int_equal(fstatat(w->to, "others", &st, 0), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_gid, 65534);
    assert_int_equal(unpack(w, &tar, &(struct archive_unpack){ .ids = ids }, &err), 0);
    assert_int_equal(fstatat(w->to, "mine", &st, 0), 0);
    assert_int_equal(st.st_uid, 1000005);
    const struct tar_entry e = { .type = TAR_REGULAR, .path = (char[]){ "x" }, .mode = 0644, .uid = 65536 };
    assert_int_equal(tar_write_header(writer_to_str(&foreign), &e), 0);
    assert_int_equal(tar_write_end(writer_to_str(&foreign)), 0);
    assert_int_equal(unpack(w, &foreign, &(struct archive_unpack){ .ids = ids }, &err), -1);
}

static void an_upper_directory_becomes_a_layer(void **state)
{
    struct world *w = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    if (mknodat(w->from, "gone", S_IFCHR, 0) < 0)
        skip(); // not root
    assert_int_equal(mkdirat(w->from, "new", 0755), 0);
    int dir CLEANUP(cleanup_close) = openat(w->from, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put_file(dir, "f", "x");
    assert_int_equal(fsetxattr(dir, "trusted.overlay.opaque", "y", 1, 0), 0);
    assert_int_equal(fsetxattr(dir, "user.kept", "v", 1, 0), 0);
    const struct archive_pack options = { .leaves_top_out = true, .is_layer = true };
    pack(w, &options, &tar);
    char *names CLEANUP(cleanup_free) = listing(&tar);
    assert_string_equal(names, ".wh.gone\nnew/\nnew/.wh..wh..opq\nnew/f\n");
    assert_non_null(memmem(tar.ptr, tar.len, "SCHILY.xattr.user.kept=v", 24));
    assert_null(memmem(tar.ptr, tar.len, "trusted.overlay", 15));
    // what a layer cannot say is refused, never dropped
    struct error err = { 0 };
    assert_int_equal(fsetxattr(dir, "trusted.overlay.redirect", "/old", 4, 0), 0);
    assert_int_equal(archive_pack(w->from, &options, writer_to_str(&tar), &err), -1);
    assert_int_equal(err.kind, ERROR_UNSUPPORTED);
}

static void a_stream_fails_rather_than_ends_early(void **state)
{
    struct world *w = *state;
    struct error err = { 0 };
    char buffer[4096];
    ssize_t n;
    int at CLEANUP(cleanup_close) = fcntl(w->from, F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i <= ARCHIVE_DEPTH_MAX; i++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd_close(at);
        at = next;
        assert_true(at >= 0);
    }
    const struct archive_pack options = { .name = "top" };
    struct archive_stream *stream CLEANUP(archive_stream_freep) = NULL;
    assert_int_equal(archive_stream_new(w->from, &options, &stream, &err), 0);
    struct reader reader = archive_stream_reader(stream);
    while ((n = reader.read(reader.context, buffer, sizeof buffer)) > 0)
        ;
    assert_int_equal(n, -EIO);
    assert_int_equal(archive_stream_end(stream, &err), -1);
    assert_int_equal(err.kind, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "nested deeper"));
}

static void a_reader_may_leave(void **state)
{
    struct world *w = *state;
    struct error err = { 0 };
    char byte;
    put_file(w->from, "f", "x");
    int big CLEANUP(cleanup_close) = openat(w->from, "big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(big, 64 << 20), 0);
    const struct archive_pack options = { .name = "top" };
    struct archive_stream *stream CLEANUP(archive_stream_freep) = NULL;
    assert_int_equal(archive_stream_new(w->from, &options, &stream, &err), 0);
    struct reader reader = archive_stream_reader(stream);
    assert_int_equal(reader.read(reader.context, &byte, 1), 1);
    assert_int_equal(archive_stream_end(stream, &err), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_tree_comes_back),
        TEST(names_by_the_top),
        TEST(nothing_leaves),
        TEST(links_are_replaced_not_followed),
        TEST(kinds_are_kept),
        TEST(ids_are_translated),
        TEST(an_upper_directory_becomes_a_layer),
        TEST(a_stream_fails_rather_than_ends_early),
        TEST(a_reader_may_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
