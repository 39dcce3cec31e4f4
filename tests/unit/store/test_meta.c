#include "../test.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"
#include "store/content.h"
#include "store/meta.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char *root;
    struct store *store;
};

static void open_store(struct place *p)
{
    struct error err;
    if (store_open(p->root, &p->store, &err) < 0)
        fail_msg("%s", err.message);
}

static int set_up(void **state)
{
    struct place *p = NEW(struct place);
    p->root = xstrdup("/tmp/skiff-test-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    open_store(p);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    store_close(p->store);
    int r = dir_remove_all_at(AT_FDCWD, p->root);
    free(p->root);
    free(p);
    return r;
}

static void put(struct place *p, const char *key, int value)
{
    struct error err;
    json_t *document CLEANUP(json_cleanup) = json_object();
    json_set_int(document, "n", value);
    if (meta_put(p->store, META_IMAGES, key, document, &err) < 0)
        fail_msg("%s", err.message);
}

// -1: not there
static int64_t get(struct place *p, const char *key)
{
    struct error err;
    json_t *document CLEANUP(json_cleanup) = NULL;
    if (meta_get(p->store, META_IMAGES, key, &document, &err) < 0) {
        assert_int_equal(err.kind, ERROR_NOT_FOUND);
        return -1;
    }
    return json_get_int(document, "n", -2);
}

static int collect(void *context, const char *key, const json_t *document)
{
    str_appendf(context, "%s=%d ", key, (int)json_get_int(document, "n", -2));
    return 0;
}

static int stop_at_once(void *context, const char *key, const json_t *document)
{
    (void)key;
    (void)document;
    ++*(int *)context;
    return -7;
}

static void records_are_kept_in_order(void **state)
{
    struct place *p = *state;
    struct error err;
    struct str s CLEANUP(str_done) = STR_INIT;
    int visits = 0;
    put(p, "b", 2);
    put(p, "a", 1);
    put(p, "it's \"quoted\"; --", 3);
    put(p, "b", 4);
    assert_int_equal(get(p, "b"), 4);
    assert_int_equal(get(p, "missing"), -1);
    assert_int_equal(meta_each(p->store, META_IMAGES, collect, &s, &err), 0);
    assert_string_equal(s.ptr, "a=1 b=4 it's \"quoted\"; --=3 ");
    assert_int_equal(meta_each(p->store, META_IMAGES, stop_at_once, &visits, &err), -7);
    assert_int_equal(visits, 1);
    assert_int_equal(meta_each(p->store, META_TAGS, stop_at_once, &visits, &err), 0); // another table
    assert_int_equal(meta_delete(p->store, META_IMAGES, "b", &err), 0);
    assert_int_equal(meta_delete(p->store, META_IMAGES, "b", &err), 0);
    assert_int_equal(get(p, "b"), -1);
}

static void transactions_are_all_or_nothing(void **state)
{
    struct place *p = *state;
    struct error err;
    put(p, "a", 1);
    assert_int_equal(meta_begin(p->store, &err), 0);
    put(p, "a", 2);
    put(p, "b", 2);
    assert_int_equal(get(p, "a"), 2);
    meta_rollback(p->store);
    assert_int_equal(get(p, "a"), 1);
    assert_int_equal(get(p, "b"), -1);
    assert_int_equal(meta_begin(p->store, &err), 0);
    put(p, "b", 3);
    assert_int_equal(meta_commit(p->store, &err), 0);
    assert_int_equal(meta_sync(p->store, &err), 0);
    assert_int_equal(get(p, "b"), 3);
}

// What was committed is there after the process is killed, without any sync of ours.
static void a_killed_process_loses_nothing(void **state)
{
    struct place *p = *state;
    store_close(p->store);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err;
        if (store_open(p->root, &p->store, &err) < 0)
            _exit(1);
        for (int i = 0; i < 300; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            json_t *document = json_object();
            json_set_int(document, "n", i);
            if (meta_put(p->store, META_IMAGES, key, document, &err) < 0)
                _exit(2);
        }
        (void)meta_begin(p->store, &err); // and one that is not finished
        (void)meta_delete(p->store, META_IMAGES, "k0", &err);
        raise(SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    open_store(p);
    assert_int_equal(get(p, "k0"), 0);
    assert_int_equal(get(p, "k299"), 299);
}

static void *write_many(void *context)
{
    for (int i = 0; i < 200; i++) {
        char key[40];
        snprintf(key, sizeof key, "%lx-%d", (unsigned long)pthread_self(), i);
        put(context, key, i);
        if (get(context, key) != i)
            return context;
    }
    return NULL;
}

static int count(void *context, const char *key, const json_t *document)
{
    (void)key;
    (void)document;
    ++*(int *)context;
    return 0;
}

static void threads_share_it(void **state)
{
    struct place *p = *state;
    struct error err;
    pthread_t threads[4];
    void *failed = NULL;
    int rows = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, p), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(meta_each(p->store, META_IMAGES, count, &rows, &err), 0);
    assert_int_equal(rows, 800);
}

// The thread of the checkpoint moves a grown WAL into the database, so that the file does not grow for ever.
static void the_log_is_moved_into_the_database(void **state)
{
    struct place *p = *state;
    char *database CLEANUP(cleanup_free) = xasprintf("%s/meta.db", p->root);
    struct stat before, after = { 0 };
    assert_int_equal(stat(database, &before), 0);
    for (int i = 0; i < 2000; i++) {
        char key[40];
        snprintf(key, sizeof key, "a key that takes some room %d", i);
        put(p, key, i);
    }
    int64_t deadline = time_monotonic_ns() + 10 * NS_PER_S;
    while (time_monotonic_ns() < deadline && after.st_size <= before.st_size) {
        assert_int_equal(stat(database, &after), 0);
        usleep(1000);
    }
    assert_true(after.st_size > before.st_size);
}

static void documents_are_verified(void **state)
{
    struct place *p = *state;
    char digest[DIGEST_LEN + 1];
    struct error err;
    struct str s CLEANUP(str_done) = STR_INIT;
    assert_int_equal(content_put(p->store, "abc", 3, digest, &err), 0);
    assert_string_equal(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(content_has(p->store, digest));
    assert_int_equal(content_get(p->store, digest, &s, &err), 0);
    assert_string_equal(s.ptr, "abc");
    char *path CLEANUP(cleanup_free) = xasprintf("%s/blobs/sha256/%s", p->root, digest_hex(digest));
    assert_int_equal(file_write_existing_at(AT_FDCWD, path, "abd"), 0);
    assert_int_equal(content_get(p->store, digest, &s, &err), -1);
    assert_int_equal(err.kind, ERROR_IO);
    assert_int_equal(content_delete(p->store, digest, &err), 0);
    assert_int_equal(content_get(p->store, digest, &s, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    const char *bad[] = { "",
                          "sha256:",
                          "sha256:../../../../etc/passwd",
                          "md5:abc",
                          "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                          "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(content_get(p->store, bad[i], &s, &err), -1);
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_false(content_has(p->store, bad[i]));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(records_are_kept_in_order),          TEST(transactions_are_all_or_nothing),
        TEST(a_killed_process_loses_nothing),     TEST(threads_share_it),
        TEST(the_log_is_moved_into_the_database), TEST(documents_are_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
