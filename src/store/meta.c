// Theory of operation. One SQLite file in WAL mode behind one connection and one recursive lock: a transaction
// (meta_begin .. meta_commit) is the lock held over several calls by one thread. With synchronous=NORMAL a commit is a
// write to the WAL and no fsync. Automatic checkpoints are off, because they would sync on the thread of whoever commits:
// a thread of our own, with a connection it opens for the purpose, moves the WAL into the database when it has grown or
// has not been moved for a while. A crash of the process loses nothing; a crash of the machine may lose the last commits,
// never their order (meta_sync is for those that must not be lost).
#include "store/meta.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "codec/json.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHECKPOINT_PAGES = 256, CHECKPOINT_IDLE_S = 30, CHECKPOINT_STACK = 256 * 1024, BUSY_MS = 10000 };

enum statement { PUT, GET, DELETE, EACH, BEGIN, COMMIT, ROLLBACK, STATEMENT_COUNT };
static const char *const statement_text[] = {
    [PUT] = "INSERT OR REPLACE INTO record (kind, key, document) VALUES (?1, ?2, ?3)",
    [GET] = "SELECT document FROM record WHERE kind = ?1 AND key = ?2",
    [DELETE] = "DELETE FROM record WHERE kind = ?1 AND key = ?2",
    [EACH] = "SELECT key, document FROM record WHERE kind = ?1 ORDER BY key",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};
_Static_assert(sizeof statement_text / sizeof *statement_text == STATEMENT_COUNT,
               "every statement has its text");

struct meta {
    char *path;
    pthread_mutex_t lock; // recursive; guards everything up to `statements`
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    pthread_t thread;
    pthread_mutex_t wake_lock; // guards the rest
    pthread_cond_t wake;
    bool is_dirty, is_large, is_closing;
    bool has_thread;
};

static int database_error(struct meta *m, struct error *err, const char *what)
{
    int code = sqlite3_errcode(m->database);
    if (code == SQLITE_FULL)
        return error_errno(err, ENOSPC, "%s: database", what);
    enum error_kind kind = code == SQLITE_NOMEM ? ERROR_EXHAUSTED : ERROR_IO;
    return error_set(err, kind, "%s: database: %s", what, sqlite3_errmsg(m->database));
}

static int on_commit(void *context, sqlite3 *database, const char *name, int pages)
{
    (void)database;
    (void)name;
    struct meta *m = context;
    pthread_mutex_lock(&m->wake_lock);
    bool wakes = !m->is_dirty || (pages >= CHECKPOINT_PAGES && !m->is_large);
    m->is_dirty = true;
    m->is_large = pages >= CHECKPOINT_PAGES;
    if (wakes)
        pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->wake_lock);
    return SQLITE_OK;
}

// The records hold containers' environments, and others may pass the data root on their way to the layers: the database is
// for its owner alone. SQLite gives its -wal and -shm files the database's own mode.
static int close_to_others(const char *path)
{
    int fd CLEANUP(cleanup_close) = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 || fchmod(fd, 0600) < 0 ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int open_database(const char *path, sqlite3 **ret)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int code = close_to_others(path);
    if (code == SQLITE_OK)
        code = sqlite3_open_v2(path, ret, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(*ret, BUSY_MS);
    if (code == SQLITE_OK)
        code =
            sqlite3_exec(*ret,
                         "PRAGMA cache_size=-128; PRAGMA mmap_size=0; PRAGMA journal_mode=WAL;"
                         "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA trusted_schema=OFF",
                         NULL, NULL, NULL);
    return code;
}

static void checkpoint(struct meta *m)
{
    sqlite3 *database = NULL;
    int code = open_database(m->path, &database);
    if (code == SQLITE_OK)
        code = sqlite3_wal_checkpoint_v2(database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code != SQLITE_OK)
        log_debug("checkpoint: %s", sqlite3_errstr(code));
    sqlite3_close(database);
}

static void *checkpoint_thread(void *context)
{
    struct meta *m = context;
    pthread_mutex_lock(&m->wake_lock);
    while (!m->is_closing) {
        if (!m->is_dirty) {
            pthread_cond_wait(&m->wake, &m->wake_lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += CHECKPOINT_IDLE_S;
        while (!m->is_closing && !m->is_large &&
               pthread_cond_timedwait(&m->wake, &m->wake_lock, &until) != ETIMEDOUT)
            ;
        if (m->is_closing)
            break;
        m->is_dirty = m->is_large = false;
        pthread_mutex_unlock(&m->wake_lock);
        checkpoint(m);
        pthread_mutex_lock(&m->wake_lock);
    }
    pthread_mutex_unlock(&m->wake_lock);
    return NULL;
}

static int start_thread(struct meta *m, struct error *err)
{
    int r = thread_start(&m->thread, CHECKPOINT_STACK, checkpoint_thread, m);
    if (r < 0)
        return error_errno(err, r, "start checkpoint thread");
    m->has_thread = true;
    return 0;
}

static void init_locks(struct meta *m)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&m->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&m->wake_lock, NULL);
}

int meta_open(struct store *store, struct error *err)
{
    struct meta *m = NEW(struct meta);
    store->meta = m; // meta_close takes a half-built one
    m->path = xasprintf("%s/meta.db", store->root);
    init_locks(m);
    if (open_database(m->path, &m->database) != SQLITE_OK)
        return database_error(m, err, "open");
    if (sqlite3_exec(m->database,
                     "CREATE TABLE IF NOT EXISTS record (kind TEXT NOT NULL, key TEXT NOT NULL, document "
                     "TEXT NOT NULL,"
                     " PRIMARY KEY (kind, key)) WITHOUT ROWID",
                     NULL, NULL, NULL) != SQLITE_OK)
        return database_error(m, err, "open");
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(m->database, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &m->statements[i], NULL) != SQLITE_OK)
            return database_error(m, err, "open");
    sqlite3_wal_hook(m->database, on_commit, m);
    return start_thread(m, err);
}

void meta_close(struct store *store)
{
    struct meta *m = store->meta;
    if (!m)
        return;
    pthread_mutex_lock(&m->wake_lock);
    m->is_closing = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->wake_lock);
    if (m->has_thread)
        pthread_join(m->thread, NULL);
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(m->statements[i]);
    sqlite3_close(m->database);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->wake_lock);
    pthread_cond_destroy(&m->wake);
    free(m->path);
    free(m);
    store->meta = NULL;
}

// Bind up to three texts and step once. SQLITE_ROW leaves the row to be read; the caller resets with `done`.
static int step(struct meta *m, enum statement s, const char *a, const char *b, const char *c)
{
    const char *texts[] = { a, b, c };
    sqlite3_stmt *statement = m->statements[s];
    for (int i = 0; i < 3 && texts[i]; i++)
        if (sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC) != SQLITE_OK)
            return SQLITE_ERROR;
    return sqlite3_step(statement);
}

static void done(struct meta *m, enum statement s)
{
    sqlite3_reset(m->statements[s]);
    sqlite3_clear_bindings(m->statements[s]);
}

static int run(struct store *store, enum statement s, const char *a, const char *b, const char *c,
               const char *what, struct error *err)
{
    struct meta *m = store->meta;
    pthread_mutex_lock(&m->lock);
    int r = step(m, s, a, b, c) == SQLITE_DONE ? 0 : database_error(m, err, what);
    done(m, s);
    pthread_mutex_unlock(&m->lock);
    return r;
}

int meta_put(struct store *store, const char *table, const char *key, const json_t *document,
             struct error *err)
{
    char *text CLEANUP(cleanup_free) = json_text(document);
    return run(store, PUT, table, key, text, "write record", err);
}

int meta_delete(struct store *store, const char *table, const char *key, struct error *err)
{
    return run(store, DELETE, table, key, NULL, "delete record", err);
}

int meta_get(struct store *store, const char *table, const char *key, json_t **ret, struct error *err)
{
    struct meta *m = store->meta;
    char *text CLEANUP(cleanup_free) = NULL;
    int r = 0;
    pthread_mutex_lock(&m->lock);
    int code = step(m, GET, table, key, NULL);
    if (code == SQLITE_ROW)
        text = xstrdup((const char *)sqlite3_column_text(m->statements[GET], 0));
    else if (code == SQLITE_DONE)
        r = error_set(err, ERROR_NOT_FOUND, "no such record: %s %s", table, key);
    else
        r = database_error(m, err, "read record");
    done(m, GET);
    pthread_mutex_unlock(&m->lock);
    return r < 0 ? r : json_parse(text, strlen(text), ret, err);
}

// All rows are taken before the first visit, so that visitors may use the database.
int meta_each(struct store *store, const char *table,
              int (*visit)(void *context, const char *key, const json_t *document), void *context,
              struct error *err)
{
    struct meta *m = store->meta;
    char **rows CLEANUP(strv_freep) = NULL; // key, document, key, ...
    size_t n = 0, cap = 0;
    int code, r = 0;
    pthread_mutex_lock(&m->lock);
    for (code = step(m, EACH, table, NULL, NULL); code == SQLITE_ROW;
         code = sqlite3_step(m->statements[EACH])) {
        if (n + 3 > cap)
            rows = xreallocarray(rows, cap = cap ? 2 * cap : 64, sizeof *rows);
        rows[n++] = xstrdup((const char *)sqlite3_column_text(m->statements[EACH], 0));
        rows[n++] = xstrdup((const char *)sqlite3_column_text(m->statements[EACH], 1));
        rows[n] = NULL;
    }
    if (code != SQLITE_DONE)
        r = database_error(m, err, "read records");
    done(m, EACH);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; r == 0 && i < n; i += 2) {
        json_t *document CLEANUP(json_cleanup) = NULL;
        r = json_parse(rows[i + 1], strlen(rows[i + 1]), &document, err);
        if (r == 0)
            r = visit(context, rows[i], document);
    }
    return r;
}

int meta_begin(struct store *store, struct error *err)
{
    struct meta *m = store->meta;
    pthread_mutex_lock(&m->lock);
    int r = step(m, BEGIN, NULL, NULL, NULL) == SQLITE_DONE ? 0 : database_error(m, err, "begin");
    done(m, BEGIN);
    if (r < 0)
        pthread_mutex_unlock(&m->lock);
    return r;
}

int meta_commit(struct store *store, struct error *err)
{
    struct meta *m = store->meta;
    int r = step(m, COMMIT, NULL, NULL, NULL) == SQLITE_DONE ? 0 : database_error(m, err, "commit");
    done(m, COMMIT);
    if (r < 0) {
        (void)step(m, ROLLBACK, NULL, NULL, NULL);
        done(m, ROLLBACK);
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

void meta_rollback(struct store *store)
{
    struct meta *m = store->meta;
    (void)step(m, ROLLBACK, NULL, NULL, NULL);
    done(m, ROLLBACK);
    pthread_mutex_unlock(&m->lock);
}

int meta_sync(struct store *store, struct error *err)
{
    int fd CLEANUP(cleanup_close) = openat(store->root_fd, "meta.db-wal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 0; // nothing was written since the last checkpoint
    return fd < 0 || fsync(fd) < 0 ? error_errno(err, errno, "sync database") : 0;
}
