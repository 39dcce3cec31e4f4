#include "../layer_fixture.h"

#include "base/fd.h"
#include "base/file.h"
#include "codec/compress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

struct place {
    char *folder; // everything of the test is below
    struct store *store;
};

static int set_up(void **state)
{
    struct place *p = NEW(struct place);
    struct error err;
    p->folder = xstrdup("/tmp/skiff-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    char *root CLEANUP(cleanup_free) = xasprintf("%s/root", p->folder);
    assert_int_equal(store_open(root, &p->store, &err), 0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    store_close(p->store);
    int r = dir_remove_all_at(AT_FDCWD, p->folder);
    free(p->folder);
    free(p);
    return r;
}

static char *in_layer(struct place *p, const struct layer_info *info, const char *path)
{
    char *relative CLEANUP(cleanup_free) = layer_relative_path(info->diff_id);
    return xasprintf("%s/%s/%s", layer_directory(p->store), relative, path);
}

static int count_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void assert_nothing_left(struct place *p)
{
    char *tmp CLEANUP(cleanup_free) = xasprintf("%s/tmp", store_root(p->store));
    assert_int_equal(count_entries(tmp), 0);
    assert_int_equal(count_entries(layer_directory(p->store)), 0);
}

static void assert_packs_to(struct place *p, const struct layer_info *info, const struct str *tar)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    struct error err;
    if (layer_pack(p->store, info->diff_id, writer_to_str(&out), &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(out.len, tar->len);
    assert_memory_equal(out.ptr, tar->ptr, tar->len);
    assert_int_equal(info->tar_bytes, tar->len);
}

static void expect_failure(struct place *p, const struct str *tar, const char *part)
{
    struct layer_info info;
    struct error err = { 0 };
    assert_int_equal(unpack_text(p->store, tar, NULL, &info, &err), -1);
    if (!strstr(err.message, part))
        fail_msg("expected \"%s\" in \"%s\"", part, err.message);
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_nothing_left(p);
}

static void owners_times_and_modes_come_through(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    struct tar_xattr xattrs[] = { { (char[]){ "user.colour" }, (char[]){ 'r', 0, 'd' }, 3 },
                                  { (char[]){ "trusted.overlay.redirect" }, (char[]){ "/x" }, 2 },
                                  { (char[]){ "security.capability" },
                                    (char[]){ 1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
                                    20 } };
    char path[] = "d/tool", link[] = "";
    struct tar_entry e = { .type = TAR_REGULAR,
                           .path = path,
                           .link = link,
                           .mode = 04755,
                           .uid = 3000000,
                           .gid = 5,
                           .size = 3,
                           .mtime_ns = 987654321987654321,
                           .xattrs = xattrs,
                           .xattr_count = 3 };
    tar_add(&tar, TAR_DIRECTORY, "d/", NULL, NULL);
    assert_int_equal(tar_write_header(writer_to_str(&tar), &e), 0);
    str_append(&tar, "abc");
    tar_write_padding(writer_to_str(&tar), 3);
    tar_add(&tar, TAR_SYMLINK, "d/l", "../../../etc/passwd", NULL);
    tar_add(&tar, TAR_HARDLINK, "hard", "d/tool", NULL);
    tar_add(&tar, TAR_FIFO, "fifo", NULL, NULL);
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    assert_int_equal(unpack_text(p->store, &tar, NULL, &info, &err), 0);
    assert_int_equal(info.size_bytes, 3);
    struct stat st, other;
    char value[32];
    char *tool CLEANUP(cleanup_free) = in_layer(p, &info, "d/tool"),
               *hard CLEANUP(cleanup_free) = in_layer(p, &info, "hard");
    char *dir CLEANUP(cleanup_free) = in_layer(p, &info, "d"),
              *sym CLEANUP(cleanup_free) = in_layer(p, &info, "d/l");
    char *fifo CLEANUP(cleanup_free) = in_layer(p, &info, "fifo");
    assert_int_equal(stat(tool, &st), 0);
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(st.st_uid, 3000000);
    assert_int_equal(st.st_gid, 5);
    assert_int_equal(st.st_mtim.tv_sec, 987654321);
    assert_int_equal(st.st_mtim.tv_nsec, 987654321);
    assert_int_equal(getxattr(tool, "security.capability", value, sizeof value), 20);
    assert_int_equal(getxattr(tool, "trusted.overlay.redirect", value, sizeof value), -1);
    ssize_t n = getxattr(tool, "user.colour", value, sizeof value);
    assert_true(n == 3 || (n < 0 && errno == ENOTSUP));
    assert_int_equal(stat(hard, &other), 0);
    assert_int_equal(other.st_ino, st.st_ino);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mtim.tv_nsec, 123456789);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(lstat(sym, &st), 0);
    assert_true(S_ISLNK(st.st_mode) && st.st_uid == 7 && st.st_mtim.tv_nsec == 123456789);
    assert_int_equal(lstat(fifo, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_packs_to(p, &info, &tar);
}

static void whiteouts_take_overlay_form(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_DIRECTORY, "etc/", NULL, NULL);
    tar_add(&tar, TAR_REGULAR, "etc/.wh.gone", NULL, NULL);
    tar_add(&tar, TAR_REGULAR, "var/.wh..wh..opq", NULL, NULL);
    tar_add(&tar, TAR_REGULAR, ".wh.again", NULL, NULL);
    tar_add(&tar, TAR_DIRECTORY, "again/", NULL, NULL);
    tar_add(&tar, TAR_REGULAR, "again/new", NULL, "n");
    tar_add(&tar, TAR_REGULAR, "kept", NULL, "k");
    tar_add(&tar, TAR_REGULAR, ".wh.kept", NULL, NULL);
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    if (unpack_text(p->store, &tar, NULL, &info, &err) < 0)
        fail_msg("%s", err.message);
    struct stat st;
    char value[8];
    char *gone CLEANUP(cleanup_free) = in_layer(p, &info, "etc/gone"),
               *var CLEANUP(cleanup_free) = in_layer(p, &info, "var");
    char *again CLEANUP(cleanup_free) = in_layer(p, &info, "again"),
                *kept CLEANUP(cleanup_free) = in_layer(p, &info, "kept");
    char *etc CLEANUP(cleanup_free) = in_layer(p, &info, "etc");
    assert_int_equal(lstat(gone, &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    assert_int_equal(getxattr(var, "trusted.overlay.opaque", value, sizeof value), 1);
    assert_int_equal(getxattr(again, "trusted.overlay.opaque", value, sizeof value), 1);
    assert_int_equal(getxattr(etc, "trusted.overlay.opaque", value, sizeof value), -1);
    assert_int_equal(lstat(kept, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_packs_to(p, &info, &tar);
}

static void devices_are_made(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    char path[] = "null", link[] = "";
    struct tar_entry e = {
        .type = TAR_CHAR, .path = path, .link = link, .mode = 0666, .major = 1, .minor = 3
    };
    assert_int_equal(tar_write_header(writer_to_str(&tar), &e), 0);
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    assert_int_equal(unpack_text(p->store, &tar, NULL, &info, &err), 0);
    struct stat st;
    char *null CLEANUP(cleanup_free) = in_layer(p, &info, "null");
    assert_int_equal(stat(null, &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) && (st.st_mode & 07777) == 0666);
}

static void what_leads_outside_fails_and_touches_nothing(void **state)
{
    needs_root();
    struct place *p = *state;
    char *victim CLEANUP(cleanup_free) = xasprintf("%s/victim", p->folder);
    char *victim_file CLEANUP(cleanup_free) = xasprintf("%s/file", victim);
    assert_int_equal(mkdir(victim, 0700), 0);
    assert_int_equal(file_replace_at(AT_FDCWD, victim_file, 0600, "same", 4, false), 0);
    struct stat before, after;
    assert_int_equal(stat(victim, &before), 0);
    const struct {
        const char *link_path, *link, *path, *hard;
    } cases[] = {
        { NULL, NULL, "../victim", NULL },
        { NULL, NULL, "a/../../../../victim/x", NULL },
        { NULL, NULL, "/../victim/x", NULL },
        { "l", victim, "l/x", NULL },
        { "l", "../../../../victim", "l/x", NULL },
        { "a/b/l", "../../..", "a/b/l/x", NULL },
        { "l", victim, "l/.wh.file", NULL },
        { "l", victim, "l/.wh..wh..opq", NULL },
        { "l", victim, "stolen", "l/file" },
        { NULL, NULL, "stolen", "../victim/file" },
        { "l", "m", "l/x", NULL }, // a dangling one is no way out either
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str tar CLEANUP(str_done) = STR_INIT;
        if (cases[i].link_path)
            tar_add(&tar, TAR_SYMLINK, cases[i].link_path, cases[i].link, NULL);
        tar_add(&tar, cases[i].hard ? TAR_HARDLINK : TAR_REGULAR, cases[i].path, cases[i].hard,
                cases[i].hard ? NULL : "evil");
        tar_write_end(writer_to_str(&tar));
        expect_failure(p, &tar, "layer");
    }
    assert_int_equal(stat(victim, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(count_entries(victim), 1);
}

static void a_link_over_a_file_is_not_followed(void **state)
{
    needs_root();
    struct place *p = *state;
    char *victim CLEANUP(cleanup_free) = xasprintf("%s/victim", p->folder);
    assert_int_equal(file_replace_at(AT_FDCWD, victim, 0600, "same", 4, false), 0);
    struct str tar CLEANUP(str_done) = STR_INIT, kept CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_SYMLINK, "f", victim, NULL);
    tar_add(&tar, TAR_REGULAR, "f", NULL, "evil");
    tar_add(&tar, TAR_SYMLINK, "g", victim, NULL);
    tar_add(&tar, TAR_HARDLINK, "h", "g", NULL);
    tar_add(&tar, TAR_REGULAR, "h", NULL, "evil too");
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    assert_int_equal(unpack_text(p->store, &tar, NULL, &info, &err), 0);
    assert_int_equal(file_read_at(AT_FDCWD, victim, 100, &kept), 0);
    assert_string_equal(kept.ptr, "same");
    assert_packs_to(p, &info, &tar);
}

// The same path several times, replaced directories, links to files that are replaced later: the tar comes back all the same.
static void duplicates_are_rebuilt(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT, now CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_REGULAR, "f", NULL, "first");
    tar_add(&tar, TAR_HARDLINK, "alias", "f", NULL);
    tar_add(&tar, TAR_REGULAR, "./f", NULL, "second, longer");
    tar_add(&tar, TAR_REGULAR, "f", NULL, "third");
    tar_add(&tar, TAR_REGULAR, "alias", NULL, "alias is its own now");
    tar_add(&tar, TAR_HARDLINK, "f", "f", NULL);
    tar_add(&tar, TAR_REGULAR, "d/x/y", NULL, "deep");
    tar_add(&tar, TAR_SYMLINK, "d", "e", NULL);
    tar_add(&tar, TAR_DIRECTORY, "e", NULL, NULL);
    tar_add(&tar, TAR_REGULAR, "d/through", NULL, "through a link that stays inside");
    tar_add(&tar, TAR_REGULAR, "d", NULL, "a file in the end");
    tar_add(&tar, TAR_REGULAR, ".wh..wh.plnk", NULL, "aufs payload");
    str_append_n(&tar, (char[1024]){ 0 }, 1024);
    str_append(&tar, "what stands behind the end mark");
    struct layer_info info;
    struct error err;
    if (unpack_text(p->store, &tar, NULL, &info, &err) < 0)
        fail_msg("%s", err.message);
    assert_packs_to(p, &info, &tar);
    char *f CLEANUP(cleanup_free) = in_layer(p, &info, "f");
    assert_int_equal(file_read_at(AT_FDCWD, f, 100, &now), 0);
    assert_string_equal(now.ptr, "third");
}

static void digest_decides(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_REGULAR, "f", NULL, "x");
    tar_write_end(writer_to_str(&tar));
    char right[DIGEST_LEN + 1], wrong[DIGEST_LEN + 1];
    digest_of(tar.ptr, tar.len, right);
    digest_of("", 0, wrong);
    struct layer_info info;
    struct error err;
    assert_int_equal(unpack_text(p->store, &tar, wrong, &info, &err), -1);
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_non_null(strstr(err.message, "digest mismatch"));
    assert_nothing_left(p);
    assert_int_equal(unpack_text(p->store, &tar, "sha256:../../x", &info, &err), -1);
    assert_int_equal(unpack_text(p->store, &tar, right, &info, &err), 0);
    assert_string_equal(info.diff_id, right);
    assert_true(layer_has(p->store, right));
    // once there, the stream is still checked
    assert_int_equal(unpack_text(p->store, &tar, right, &info, &err), 0);
    tar.ptr[0] ^= 1;
    assert_int_equal(unpack_text(p->store, &tar, right, &info, &err), -1);
    assert_int_equal(layer_delete(p->store, right, &err), 0);
    assert_false(layer_has(p->store, right));
    assert_nothing_left(p);
}

static void compress_into(enum compression how, const struct str *plain, struct str *out)
{
    struct encoder *e CLEANUP(encoder_freep) = encoder_new(how, writer_to_str(out));
    struct writer w = encoder_writer(e);
    assert_int_equal(w.write(w.context, plain->ptr, plain->len), 0);
    assert_int_equal(encoder_finish(e), 0);
}

static void damaged_streams_fail(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT, gz CLEANUP(str_done) = STR_INIT,
                   zstd CLEANUP(str_done) = STR_INIT;
    char *text CLEANUP(cleanup_free) = xcalloc(1, 100001);
    for (int i = 0; i < 100000; i++)
        text[i] = (char)('a' + i % 1009 * (i % 1013) % 23);
    tar_add(&tar, TAR_REGULAR, "f", NULL, text);
    tar_write_end(writer_to_str(&tar));
    compress_into(COMPRESSION_GZIP, &tar, &gz);
    compress_into(COMPRESSION_ZSTD, &tar, &zstd);
    const struct {
        struct str *s;
        size_t cut;
        const char *part;
    } cuts[] = { { &tar, 700, "unexpected EOF" }, { &tar, 50000, "unexpected EOF" },
                 { &tar, 100, "unexpected EOF" }, { &gz, 1, "unexpected EOF" },
                 { &gz, 8, "unexpected EOF" },    { &gz, gz.len - 200, "unexpected EOF" },
                 { &zstd, 1, "unexpected EOF" } };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct str cut = *cuts[i].s;
        cut.len = i < 3 ? cuts[i].cut : cut.len - cuts[i].cut;
        expect_failure(p, &cut, cuts[i].part);
    }
    gz.ptr[gz.len - 5] ^= 1; // crc
    expect_failure(p, &gz, "gzip: invalid checksum");
    tar.ptr[148] ^= 1; // header checksum
    expect_failure(p, &tar, "invalid tar header");
}

// More than are kept in memory: their times wait in a file.
static void many_directories_get_their_times(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    struct layer_info info;
    struct error err;
    struct stat st;
    char name[256];
    enum { MANY = 4000 }; // of some 220 bytes each
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%0200d", i);
        tar_add(&tar, TAR_DIRECTORY, name, NULL, NULL);
    }
    tar_write_end(writer_to_str(&tar));
    struct memory m = { tar.ptr, tar.len, 0, 1 << 16 };
    assert_int_equal(layer_unpack(p->store, memory_reader(&m), NULL, NULL, &info, &err), 0);
    char *relative CLEANUP(cleanup_free) = layer_relative_path(info.diff_id);
    for (int i = 0; i < MANY; i++) {
        char *path CLEANUP(cleanup_free) = xasprintf("%s/%s/%0200d", layer_directory(p->store), relative, i);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mtime, 1234567890);
    }
    assert_int_equal(layer_delete(p->store, info.diff_id, &err), 0);
}

static void limits_hold(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_REGULAR, "a", NULL, "12345");
    tar_add(&tar, TAR_REGULAR, "b", NULL, "12345");
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    // Headers, padding and the end mark count, too.
    const struct layer_limits limits[] = { { .max_bytes = 9 },
                                           { .max_bytes = tar.len - 1 },
                                           { .max_entries = 1 } };
    for (int i = 0; i < 3; i++) {
        struct memory m = { tar.ptr, tar.len, 0, 7 };
        assert_int_equal(layer_unpack(p->store, memory_reader(&m), NULL, &limits[i], &info, &err), -1);
        assert_int_equal(err.kind, ERROR_EXHAUSTED);
        assert_nothing_left(p);
    }
    struct memory m = { tar.ptr, tar.len, 0, 7 };
    assert_int_equal(
        layer_unpack(p->store, memory_reader(&m), NULL, &(struct layer_limits){ tar.len, 2 }, &info, &err),
        0);
}

extern char **environ;

static void run(char *const argv[])
{
    pid_t pid;
    int status = 0;
    assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

// What other programs write: GNU tar in its formats with sparse files and long names, and Python's pax.
static void other_tars_are_rebuilt(void **state)
{
    needs_root();
    struct place *p = *state;
    char *tree CLEANUP(cleanup_free) = xasprintf("%s/tree", p->folder),
               *file CLEANUP(cleanup_free) = xasprintf("%s/out.tar", p->folder);
    char long_name[200];
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    char *deep CLEANUP(cleanup_free) = xasprintf("%s/%s", tree, long_name),
               *sparse CLEANUP(cleanup_free) = xasprintf("%s/sparse", tree);
    assert_int_equal(mkdir(tree, 0755), 0);
    assert_int_equal(file_replace_at(AT_FDCWD, deep, 0600, "long", 4, false), 0);
    int fd CLEANUP(cleanup_close) = open(sparse, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; i < 40; i++)
        assert_int_equal(pwrite(fd, "data", 4, (off_t)i * 1000000), 4);
    assert_int_equal(ftruncate(fd, 50000000), 0);
    const char *formats[] = { "--format=gnu",         "--format=oldgnu",      "--format=pax",
                              "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0" };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct str tar CLEANUP(str_done) = STR_INIT;
        char *how = xstrdup(formats[i]);
        bool is_version = strstr(how, "version");
        run((char *const[]){ (char[]){ "tar" }, (char[]){ "-cSf" }, file, how,
                             is_version ? (char[]){ "--format=pax" } : how, (char[]){ "-C" }, tree,
                             (char[]){ "." }, NULL });
        free(how);
        assert_int_equal(file_read_at(AT_FDCWD, file, 64 << 20, &tar), 0);
        assert_true(tar.len < 1 << 20); // it is sparse
        struct layer_info info;
        struct error err;
        if (unpack_text(p->store, &tar, NULL, &info, &err) < 0)
            fail_msg("%s: %s", formats[i], err.message);
        assert_packs_to(p, &info, &tar);
        struct stat st;
        char found[5] = "";
        char *made CLEANUP(cleanup_free) = in_layer(p, &info, "sparse");
        int made_fd CLEANUP(cleanup_close) = open(made, O_RDONLY | O_CLOEXEC);
        assert_int_equal(fstat(made_fd, &st), 0);
        assert_int_equal(st.st_size, 50000000);
        assert_true(st.st_blocks * 512 < 2000000);
        assert_int_equal(pread(made_fd, found, 4, 39000000), 4);
        assert_string_equal(found, "data");
    }
}

static void leavings_are_removed_at_start(void **state)
{
    needs_root();
    struct place *p = *state;
    struct str tar CLEANUP(str_done) = STR_INIT;
    tar_add(&tar, TAR_REGULAR, "f", NULL, "x");
    tar_write_end(writer_to_str(&tar));
    struct layer_info info;
    struct error err;
    assert_int_equal(unpack_text(p->store, &tar, NULL, &info, &err), 0);
    char *root CLEANUP(cleanup_free) = xstrdup(store_root(p->store));
    char *staged CLEANUP(cleanup_free) = xasprintf("%s/tmp/layer-1/fs/x", root);
    char *stray CLEANUP(cleanup_free) = xasprintf("%s/layers/%064d/fs", root, 7);
    assert_int_equal(dir_make_all(staged, 0755), 0);
    assert_int_equal(dir_make_all(stray, 0755), 0);
    struct store *second;
    assert_int_equal(store_open(root, &second, &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "is in use by pid"));
    store_close(p->store);
    assert_int_equal(store_open(root, &p->store, &err), 0);
    assert_int_equal(count_entries(layer_directory(p->store)), 1);
    assert_int_equal(access(staged, F_OK), -1);
    assert_true(layer_has(p->store, info.diff_id));
    assert_packs_to(p, &info, &tar);
}

// In a mount namespace of its own: a store on a file system of 3 MB is given a layer of 8 MB.
static int fill_small_disk(struct place *p)
{
    char *disk CLEANUP(cleanup_free) = xasprintf("%s/disk", p->folder),
               *tmp CLEANUP(cleanup_free) = xasprintf("%s/tmp", disk);
    struct store *store;
    struct layer_info info;
    struct error err = { 0 };
    struct str tar CLEANUP(str_done) = STR_INIT;
    char *text CLEANUP(cleanup_free) = xmalloc((8 << 20) + 1);
    memset(text, 'x', 8 << 20);
    text[8 << 20] = 0;
    tar_add(&tar, TAR_REGULAR, "big", NULL, text);
    tar_write_end(writer_to_str(&tar));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mkdir(disk, 0700) < 0 || mount("tmpfs", disk, "tmpfs", 0, "size=3m") < 0)
        return 2;
    if (store_open(disk, &store, &err) < 0)
        return 3;
    if (unpack_text(store, &tar, NULL, &info, &err) == 0 || err.kind != ERROR_EXHAUSTED ||
        !strstr(err.message, "no space left on device"))
        return 4;
    if (count_entries(tmp) != 0 || count_entries(layer_directory(store)) != 0)
        return 5;
    str_clear(&tar); // and there is room again
    tar_add(&tar, TAR_REGULAR, "small", NULL, "x");
    tar_write_end(writer_to_str(&tar));
    if (unpack_text(store, &tar, NULL, &info, &err) < 0)
        return 6;
    store_close(store);
    return 0;
}

static void a_full_disk_is_said_and_cleaned_up(void **state)
{
    needs_root();
#ifdef __SANITIZE_THREAD__
    skip(); // cannot follow a fork that starts threads of its own
#endif
    pid_t pid = fork();
    int status = 0;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fill_small_disk(*state));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2)
        skip(); // no mounts here
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(owners_times_and_modes_come_through, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whiteouts_take_overlay_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(devices_are_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_leads_outside_fails_and_touches_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_over_a_file_is_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(duplicates_are_rebuilt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(digest_decides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_streams_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_directories_get_their_times, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_tars_are_rebuilt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said_and_cleaned_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leavings_are_removed_at_start, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
