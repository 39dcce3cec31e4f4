#include "../test.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "store/meta.h"
#include "volume/volume.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char *root;
    struct store *store;
    struct volume_service *volumes;
    struct str events;
};

static void note(void *context, const struct event *event)
{
    struct place *p = context;
    str_appendf(&p->events, "%s %s %s\n", event->type, event->action, event->actor_id);
}

static void open_all(struct place *p)
{
    struct error err;
    const struct event_sink sink = { note, p };
    if (store_open(p->root, &p->store, &err) < 0 ||
        volume_service_open(p->store, &sink, &p->volumes, &err) < 0)
        fail_msg("%s", err.message);
}

static void close_all(struct place *p)
{
    volume_service_close(p->volumes);
    store_close(p->store);
}

static int set_up(void **state)
{
    struct place *p = NEW(struct place);
    p->root = xstrdup("/tmp/skiff-test-XXXXXX");
    p->events = STR_INIT;
    assert_non_null(mkdtemp(p->root));
    open_all(p);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    close_all(p);
    int r = dir_remove_all_at(AT_FDCWD, p->root);
    str_done(&p->events);
    free(p->root);
    free(p);
    return r;
}

static void create(struct place *p, const char *name, const char *holder)
{
    struct error err;
    const struct volume_request request = { .name = name, .holder = holder };
    if (volume_create(p->volumes, &request, NULL, &err) < 0)
        fail_msg("%s", err.message);
}

static void refused(struct place *p, const char *name, const char *driver, enum error_kind kind,
                    const char *part)
{
    struct error err = { 0 };
    const struct volume_request request = { .name = name, .driver = driver };
    assert_int_equal(volume_create(p->volumes, &request, NULL, &err), -1);
    if (err.kind != kind || !strstr(err.message, part))
        fail_msg("%s: \"%s\" (%s)", name, err.message, error_kind_name(err.kind));
}

static bool is_there(struct place *p, const char *name)
{
    struct error err;
    struct volume_info *info CLEANUP(volume_info_freep) = NULL;
    return volume_get(p->volumes, name, &info, &err) == 0;
}

static bool has_directory(const struct place *p, const char *name)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/volumes/%s", p->root, name);
    return access(path, F_OK) == 0;
}

static void write_into(const struct place *p, const char *name, const char *file)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/volumes/%s/_data/%s", p->root, name, file);
    assert_int_equal(file_replace_at(AT_FDCWD, path, 0644, "12345", 5, false), 0);
}

static void test_names(void **state)
{
    struct place *p = *state;
    create(p, "ab.c-d_E9", NULL);
    refused(p, "a", NULL, ERROR_INVALID, "too short");
    static const char *const bad[] = { "../x", ".x", "-x", "a/b", "a b", "_x", "/abs" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(p, bad[i], NULL, ERROR_INVALID, "includes invalid characters for a local volume name");
    char *long_name CLEANUP(cleanup_free) = xasprintf("%0300d", 1);
    refused(p, long_name, NULL, ERROR_INVALID, "too long");
    refused(p, "ok", "nfs", ERROR_NOT_FOUND, "plugin \"nfs\" not found");
}

static void test_create_list_remove(void **state)
{
    struct place *p = *state;
    struct error err;
    struct volume_info *info CLEANUP(volume_info_freep) = NULL;
    const struct volume_request anonymous = { 0 };
    create(p, "bb", NULL);
    create(p, "aa", NULL);
    create(p, "aa", NULL); // there already
    assert_int_equal(volume_create(p->volumes, &anonymous, &info, &err), 0);
    assert_true(id_is_full(info->name) && volume_is_anonymous(info));
    struct volume_info **list = volume_list(p->volumes);
    size_t n = 0;
    while (list[n])
        n++;
    assert_int_equal(n, 3);
    volume_list_free(list);
    assert_int_equal(volume_remove(p->volumes, "aa", false, &err), 0);
    assert_false(is_there(p, "aa") || has_directory(p, "aa"));
    assert_int_equal(volume_remove(p->volumes, "aa", false, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    assert_string_equal(err.message, "get aa: no such volume");
    assert_int_equal(volume_remove(p->volumes, "aa", true, &err), 0);
    assert_true(str_has_prefix(p->events.ptr, "volume create bb\nvolume create aa\n"));
    assert_non_null(strstr(p->events.ptr, "volume destroy aa\n"));
}

static void test_users_keep_it(void **state)
{
    struct place *p = *state;
    struct error err;
    create(p, "held", "c1");
    assert_int_equal(volume_hold(p->volumes, "held", "c2", &err), 0);
    assert_int_equal(volume_remove(p->volumes, "held", true, &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_string_equal(err.message, "remove held: volume is in use - [c1, c2]");
    volume_release(p->volumes, "held", "c1");
    assert_false(volume_retire(p->volumes, "held", "c1"));
    assert_true(volume_retire(p->volumes, "held", "c2"));
    assert_false(is_there(p, "held"));
    assert_true(has_directory(p, "held"));
    volume_discard(p->volumes, "held", "c1"); // not its business
    assert_true(has_directory(p, "held"));
    volume_discard(p->volumes, "held", "c2");
    assert_false(has_directory(p, "held"));
}

static bool keeps_named(void *context, const struct volume_info *info)
{
    (void)context;
    return !volume_is_anonymous(info);
}

static void test_prune(void **state)
{
    struct place *p = *state;
    struct error err;
    struct volume_info *loose CLEANUP(volume_info_freep) = NULL, *held CLEANUP(volume_info_freep) = NULL;
    const struct volume_request one = { 0 }, two = { .holder = "c1" };
    char **names CLEANUP(strv_freep) = NULL;
    uint64_t bytes;
    create(p, "named", NULL);
    assert_int_equal(volume_create(p->volumes, &one, &loose, &err), 0);
    assert_int_equal(volume_create(p->volumes, &two, &held, &err), 0);
    write_into(p, loose->name, "f");
    assert_int_equal(volume_prune(p->volumes, keeps_named, NULL, &names, &bytes, &err), 0);
    assert_int_equal(strv_len(names), 1);
    assert_string_equal(names[0], loose->name);
    assert_int_equal(bytes, 5);
    assert_true(is_there(p, "named") && is_there(p, held->name));
}

static void test_restart(void **state)
{
    struct place *p = *state;
    char *garbage CLEANUP(cleanup_free) = xasprintf("%s/volumes/garbage", p->root);
    char *half CLEANUP(cleanup_free) = xasprintf("%s/volumes/kept/_fill", p->root);
    struct volume_info *info CLEANUP(volume_info_freep) = NULL;
    struct error err;
    json_t *labels CLEANUP(json_cleanup) = json_pack("{s:s}", "k", "v");
    const struct volume_request request = { .name = "kept", .labels = labels };
    assert_int_equal(volume_create(p->volumes, &request, NULL, &err), 0);
    write_into(p, "kept", "f");
    assert_true(mkdir(garbage, 0700) == 0 && mkdir(half, 0700) == 0);
    close_all(p);
    open_all(p);
    assert_int_equal(volume_get(p->volumes, "kept", &info, &err), 0);
    assert_string_equal(json_get_string(info->labels, "k", ""), "v");
    uint64_t bytes = 0;
    assert_int_equal(volume_size(p->volumes, "kept", &bytes, &err), 0);
    assert_int_equal(bytes, 5);
    assert_false(has_directory(p, "garbage") || has_directory(p, "kept/_fill"));
}

static void test_fill_and_clone(void **state)
{
    struct place *p = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    create(p, "from", NULL);
    create(p, "empty", NULL);
    write_into(p, "from", "f");
    char *path CLEANUP(cleanup_free) = xasprintf("%s/volumes/from/_data", p->root);
    char *to CLEANUP(cleanup_free) = xasprintf("%s/volumes/empty/_data", p->root);
    struct stat st;
    assert_true(chown(path, 3, 4) == 0 && chmod(path, 01770) == 0);
    int fd CLEANUP(cleanup_close) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(volume_fill(p->volumes, "empty", fd, &err), 0);
    assert_true(has_directory(p, "empty/_data/f") && !has_directory(p, "empty/_fill"));
    assert_true(stat(to, &st) == 0 && st.st_uid == 3 && st.st_gid == 4 && (st.st_mode & 07777) == 01770);
    write_into(p, "from", "g");
    assert_int_equal(volume_fill(p->volumes, "empty", fd, &err), 0); // no longer empty: left alone
    assert_false(has_directory(p, "empty/_data/g"));
    assert_int_equal(volume_clone(p->volumes, "from", "copy", &err), 0);
    assert_true(has_directory(p, "copy/_data/g"));
    assert_int_equal(volume_clone(p->volumes, "from", "copy", &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_int_equal(volume_remove(p->volumes, "from", false, &err), 0); // no user is left behind
}

// "name/_data/file" holds the five bytes of write_into.
static void make_snapshot(struct place *p, const char *name, const char *snapshot)
{
    struct error err;
    char *got CLEANUP(cleanup_free) = NULL;
    assert_int_equal(volume_snapshot(p->volumes, name, snapshot, &got, &err), 0);
    if (snapshot)
        assert_string_equal(got, snapshot);
    else
        assert_true(str_has_prefix(got, name) && got[strlen(name)] == '.');
}

static void restore_refused(struct place *p, const char *name, const char *snapshot, bool is_forced,
                            enum error_kind kind, const char *part)
{
    struct error err;
    assert_int_equal(volume_restore(p->volumes, name, snapshot, is_forced, &err), -1);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.message, part))
        fail_msg("%s", err.message);
}

static void test_snapshot(void **state)
{
    struct place *p = *state;
    struct error err;
    struct volume_info *info CLEANUP(volume_info_freep) = NULL;
    char *source CLEANUP(cleanup_free) = NULL, **names CLEANUP(strv_freep) = NULL;
    bool is_read_only;
    uint64_t bytes;
    if (geteuid() != 0)
        skip();
    create(p, "data", NULL);
    create(p, "other", NULL);
    write_into(p, "data", "first");
    make_snapshot(p, "data", "snap");
    make_snapshot(p, "data", NULL);
    write_into(p, "data", "second");
    close_all(p);
    open_all(p);
    assert_int_equal(volume_get(p->volumes, "snap", &info, &err), 0);
    assert_string_equal(info->snapshot_of, "data");
    assert_int_equal(volume_source(p->volumes, "snap", &source, &is_read_only, &err), 0);
    assert_true(is_read_only);
    restore_refused(p, "data", "other", false, ERROR_INVALID, "other is no snapshot");
    restore_refused(p, "data", "none", false, ERROR_NOT_FOUND, "no such volume");
    restore_refused(p, "other", "snap", false, ERROR_CONFLICT, "snap is a snapshot of data");
    restore_refused(p, "snap", "snap", true, ERROR_CONFLICT, "snap is a snapshot, which never changes");
    assert_int_equal(volume_restore(p->volumes, "data", "snap", false, &err), 0);
    assert_true(has_directory(p, "data/_data/first") && !has_directory(p, "data/_data/second"));
    assert_false(has_directory(p, "data/_restore") || has_directory(p, "data/_former"));
    assert_int_equal(volume_restore(p->volumes, "other", "snap", true, &err), 0);
    assert_true(has_directory(p, "other/_data/first"));
    assert_int_equal(volume_remove(p->volumes, "data", false, &err), 0); // no user is left behind
    assert_int_equal(volume_prune(p->volumes, NULL, NULL, &names, &bytes, &err), 0);
    assert_true(is_there(p, "snap") && !is_there(p, "other")); // snapshots are not pruned
}

static void test_restore_under_a_container(void **state)
{
    struct place *p = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    create(p, "data", "c1");
    make_snapshot(p, "data", "snap");
    write_into(p, "data", "late");
    char *path CLEANUP(cleanup_free) = xasprintf("%s/volumes/data/_data", p->root);
    int fd CLEANUP(cleanup_close) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); // as the container has it
    assert_int_equal(volume_mount(p->volumes, "data", "c1", &err), 0);
    restore_refused(p, "data", "snap", false, ERROR_CONFLICT, "in use by running containers - [c1]");
    for (int i = 0; i < 2; i++)
        assert_int_equal(volume_restore(p->volumes, "data", "snap", true, &err), 0);
    assert_false(has_directory(p, "data/_data/late"));
    assert_int_equal(faccessat(fd, "late", F_OK, 0), 0);
    close_all(p); // and over the end of an engine
    open_all(p);
    assert_int_equal(volume_mount(p->volumes, "data", "c1", &err), 0);
    volume_service_settle(p->volumes);
    assert_int_equal(faccessat(fd, "late", F_OK, 0), 0);
    volume_unmount(p->volumes, "data", "c1");
    assert_int_equal(faccessat(fd, "late", F_OK, 0), -1);
    assert_false(has_directory(p, "data/_former"));
}

// An engine that ended just after the exchange: nobody knows whether a container runs on what is in "_restore".
static void test_restore_cut_short(void **state)
{
    struct place *p = *state;
    struct error err;
    char *aside CLEANUP(cleanup_free) = xasprintf("%s/volumes/data/_restore", p->root);
    create(p, "data", NULL);
    for (int is_mounted = 0; is_mounted < 2; is_mounted++) {
        assert_int_equal(mkdir(aside, 0700), 0);
        close_all(p);
        open_all(p);
        if (is_mounted)
            assert_int_equal(volume_mount(p->volumes, "data", "c1", &err), 0);
        volume_service_settle(p->volumes);
        assert_int_equal(has_directory(p, "data/_restore"), is_mounted);
    }
    volume_unmount(p->volumes, "data", "c1");
    assert_false(has_directory(p, "data/_restore"));
}

static void put_record(struct place *p, const char *name, const char *renamed_from)
{
    struct error err;
    json_t *record CLEANUP(json_cleanup) = json_pack("{s:I}", "createdNs", (json_int_t)7);
    if (renamed_from)
        json_set_string(record, "renamedFrom", renamed_from);
    assert_int_equal(meta_put(p->store, META_VOLUMES, name, record, &err), 0);
}

static void test_rename(void **state)
{
    struct place *p = *state;
    struct error err;
    struct volume_info *info CLEANUP(volume_info_freep) = NULL, *renamed CLEANUP(volume_info_freep) = NULL;
    const struct volume_request anonymous = { .holder = "c1" };
    assert_int_equal(volume_create(p->volumes, &anonymous, &info, &err), 0);
    create(p, "taken", NULL);
    write_into(p, info->name, "f");
    assert_int_equal(volume_rename(p->volumes, info->name, "new", &err), -1);
    assert_non_null(strstr(err.message, "volume is in use - [c1]"));
    volume_release(p->volumes, info->name, "c1");
    assert_int_equal(volume_rename(p->volumes, info->name, "taken", &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_int_equal(volume_rename(p->volumes, info->name, "new", &err), 0);
    close_all(p);
    open_all(p);
    assert_false(is_there(p, info->name) || has_directory(p, info->name));
    assert_int_equal(volume_get(p->volumes, "new", &renamed, &err), 0);
    assert_false(volume_is_anonymous(renamed));
    assert_int_equal(renamed->created_ns, info->created_ns);
    assert_true(has_directory(p, "new/_data/f"));
}

// Each moment at which a crash may come.
static void test_rename_cut_short(void **state)
{
    struct place *p = *state;
    create(p, "old-1", NULL); // before the directory moved
    write_into(p, "old-1", "f");
    put_record(p, "new-1", "old-1");
    create(p, "old-2", NULL); // after it
    write_into(p, "old-2", "f");
    put_record(p, "new-2", "old-2");
    char *from CLEANUP(cleanup_free) = xasprintf("%s/volumes/old-2", p->root);
    char *to CLEANUP(cleanup_free) = xasprintf("%s/volumes/new-2", p->root);
    assert_int_equal(rename(from, to), 0);
    for (int i = 0; i < 2; i++) { // the second time there is nothing left to be done
        close_all(p);
        open_all(p);
        assert_false(is_there(p, "old-1") || is_there(p, "old-2"));
        assert_true(has_directory(p, "new-1/_data/f") && has_directory(p, "new-2/_data/f"));
        assert_true(is_there(p, "new-1") && is_there(p, "new-2"));
    }
}

enum { THREADS = 4, ROUNDS = 50 };

static void *churn(void *context)
{
    struct place *p = context;
    for (int i = 0; i < ROUNDS; i++) {
        struct error err;
        const struct volume_request request = { .name = "shared" };
        if (volume_create(p->volumes, &request, NULL, &err) < 0)
            return xstrdup("create failed");
        if (volume_remove(p->volumes, "shared", true, &err) < 0)
            return xstrdup("remove failed");
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    struct place *p = *state;
    pthread_t threads[THREADS];
    struct event_sink none = { 0 };
    struct error err;
    volume_service_close(p->volumes);
    assert_int_equal(volume_service_open(p->store, &none, &p->volumes, &err), 0); // note() is not for threads
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, p), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failure = NULL;
        pthread_join(threads[i], &failure);
        if (failure)
            fail_msg("%s", (const char *)failure);
    }
    assert_false(is_there(p, "shared") || has_directory(p, "shared"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_list_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users_keep_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prune, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fill_and_clone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restore_under_a_container, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restore_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rename, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rename_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
