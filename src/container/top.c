// The processes of a container as ps shows them, from the host's /proc. No program of the image is run
// (CVE-2022-1227), and pids are the host's, as in Docker.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PROC_FILE_MAX = 1 << 20, COLUMNS_MAX = 32 };

struct process_facts {
    pid_t pid, ppid, pgid, sid;
    uid_t uid;
    gid_t gid;
    char state;
    int tty, nice, threads, priority;
    unsigned long long ticks, start_ticks, virtual_bytes;
    long long resident_pages;
    char *comm, *command;
};

// /proc/<pid>/stat: pid (comm) state ppid pgrp session tty ... ; comm may hold anything, so the last ")" ends
// it.
static bool parse_stat(char *text, struct process_facts *f)
{
    char *open_bracket = strchr(text, '('), *close_bracket = strrchr(text, ')');
    unsigned long long utime, stime;
    if (!open_bracket || !close_bracket || close_bracket < open_bracket)
        return false;
    f->comm = xstrndup(open_bracket + 1, (size_t)(close_bracket - open_bracket - 1));
    return sscanf(close_bracket + 1,
                  " %c %d %d %d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %d %d %d %*d %llu %llu %lld",
                  &f->state, &f->ppid, &f->pgid, &f->sid, &f->tty, &utime, &stime, &f->priority, &f->nice,
                  &f->threads, &f->start_ticks, &f->virtual_bytes, &f->resident_pages) == 13 &&
           ((f->ticks = utime + stime), true);
}

static char *read_command(int dir, const char *comm)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    if (file_read_at(dir, "cmdline", PROC_FILE_MAX, &text) < 0 || text.len == 0)
        return xasprintf("[%s]", comm); // a kernel thread or a zombie
    for (size_t i = 0; i + 1 < text.len; i++)
        if (!text.ptr[i])
            text.ptr[i] = ' ';
    return xstrdup(text.ptr);
}

static void facts_done(struct process_facts *f)
{
    free(f->comm);
    free(f->command);
}

static bool read_facts(pid_t pid, struct process_facts *f)
{
    char path[32];
    struct stat st;
    CLEANUP(str_done) struct str text = STR_INIT;
    snprintf(path, sizeof path, "/proc/%d", pid);
    CLEANUP(cleanup_close) int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *f = (struct process_facts){ .pid = pid };
    if (dir < 0 || fstat(dir, &st) < 0 || file_read_at(dir, "stat", PROC_FILE_MAX, &text) < 0 ||
        !parse_stat(text.ptr, f))
        return false;
    f->uid = st.st_uid;
    f->gid = st.st_gid;
    // The directory of a process that is not dumpable belongs to root; its status tells the truth.
    str_clear(&text);
    if (file_read_at(dir, "status", PROC_FILE_MAX, &text) == 0) {
        const char *uid = strstr(text.ptr, "\nUid:"), *gid = strstr(text.ptr, "\nGid:");
        unsigned real, effective;
        if (uid && sscanf(uid, "\nUid: %u %u", &real, &effective) == 2)
            f->uid = effective;
        if (gid && sscanf(gid, "\nGid: %u %u", &real, &effective) == 2)
            f->gid = effective;
    }
    f->command = read_command(dir, f->comm);
    return true;
}

// --- columns
struct host_facts {
    long ticks_per_s, page_bytes;
    int64_t boot_ns, now_ns;
    uint64_t memory_bytes;
};

static void append_user(struct str *out, uid_t uid)
{
    struct passwd entry, *found = NULL;
    char buffer[2048];
    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
        str_append(out, found->pw_name);
    else
        str_appendf(out, "%u", uid);
}

static void append_tty(struct str *out, int tty)
{
    unsigned device_major = major((dev_t)tty), device_minor = minor((dev_t)tty);
    if (tty == 0)
        str_append(out, "?");
    else if (device_major >= 136 && device_major <= 143)
        str_appendf(out, "pts/%u", device_minor + (device_major - 136) * 256);
    else if (device_major == 4)
        str_appendf(out, "tty%u", device_minor);
    else
        str_append(out, "?");
}

static int64_t started_ns(const struct process_facts *f, const struct host_facts *h)
{
    return h->boot_ns + (int64_t)(f->start_ticks * (unsigned long long)(NS_PER_S / h->ticks_per_s));
}

static void append_start(struct str *out, const struct process_facts *f, const struct host_facts *h)
{
    time_t at = started_ns(f, h) / NS_PER_S;
    struct tm tm;
    char text[32];
    localtime_r(&at, &tm);
    strftime(text, sizeof text, h->now_ns / NS_PER_S - at < 86400 ? "%H:%M" : "%b%d", &tm);
    str_append(out, text);
}

static void append_time(struct str *out, unsigned long long s, bool is_elapsed)
{
    if (s >= 86400)
        str_appendf(out, "%llu-", s / 86400);
    if (is_elapsed && s < 3600)
        str_appendf(out, "%02llu:%02llu", s / 60, s % 60);
    else
        str_appendf(out, "%02llu:%02llu:%02llu", s / 3600 % 24, s / 60 % 60, s % 60);
}

// CPU use in percent of the life so far.
static double cpu_percent(const struct process_facts *f, const struct host_facts *h)
{
    double life_s = (double)(h->now_ns - started_ns(f, h)) / (double)NS_PER_S;
    return life_s <= 0 ? 0 : 100.0 * (double)f->ticks / (double)h->ticks_per_s / life_s;
}

static void append_column(struct str *out, const char *column, const struct process_facts *f,
                          const struct host_facts *h)
{
    uint64_t resident = (uint64_t)f->resident_pages * (uint64_t)h->page_bytes;
    if (streq(column, "UID") || streq(column, "USER") || streq(column, "EUSER") || streq(column, "RUSER"))
        append_user(out, f->uid);
    else if (streq(column, "EUID"))
        str_appendf(out, "%u", f->uid);
    else if (streq(column, "GID") || streq(column, "EGID"))
        str_appendf(out, "%u", f->gid);
    else if (streq(column, "PID"))
        str_appendf(out, "%d", f->pid);
    else if (streq(column, "PPID"))
        str_appendf(out, "%d", f->ppid);
    else if (streq(column, "PGID") || streq(column, "PGRP"))
        str_appendf(out, "%d", f->pgid);
    else if (streq(column, "SID") || streq(column, "SESS"))
        str_appendf(out, "%d", f->sid);
    else if (streq(column, "C"))
        str_appendf(out, "%d", (int)cpu_percent(f, h));
    else if (streq(column, "%CPU"))
        str_appendf(out, "%.1f", cpu_percent(f, h));
    else if (streq(column, "%MEM"))
        str_appendf(out, "%.1f", h->memory_bytes ? 100.0 * (double)resident / (double)h->memory_bytes : 0);
    else if (streq(column, "STIME") || streq(column, "START"))
        append_start(out, f, h);
    else if (streq(column, "TTY") || streq(column, "TT"))
        append_tty(out, f->tty);
    else if (streq(column, "TIME"))
        append_time(out, f->ticks / (unsigned long long)h->ticks_per_s, false);
    else if (streq(column, "ELAPSED"))
        append_time(out, (unsigned long long)((h->now_ns - started_ns(f, h)) / NS_PER_S), true);
    else if (streq(column, "VSZ"))
        str_appendf(out, "%llu", f->virtual_bytes / 1024);
    else if (streq(column, "RSS"))
        str_appendf(out, "%llu", (unsigned long long)(resident / 1024));
    else if (streq(column, "STAT") || streq(column, "S"))
        str_appendf(out, "%c", f->state);
    else if (streq(column, "NI"))
        str_appendf(out, "%d", f->nice);
    else if (streq(column, "PRI"))
        str_appendf(out, "%d", f->priority);
    else if (streq(column, "NLWP"))
        str_appendf(out, "%d", f->threads);
    else
        str_append(out, f->command); // CMD, COMMAND
}

// --- arguments
static const struct {
    const char *word, *title;
} ps_words[] = {
    { "pid", "PID" },    { "ppid", "PPID" },    { "pgid", "PGID" },
    { "pgrp", "PGRP" },  { "sid", "SID" },      { "sess", "SESS" },
    { "user", "USER" },  { "euser", "EUSER" },  { "ruser", "RUSER" },
    { "uname", "USER" }, { "uid", "EUID" },     { "euid", "EUID" },
    { "gid", "GID" },    { "egid", "EGID" },    { "c", "C" },
    { "pcpu", "%CPU" },  { "%cpu", "%CPU" },    { "pmem", "%MEM" },
    { "%mem", "%MEM" },  { "stime", "STIME" },  { "start", "START" },
    { "tty", "TT" },     { "tt", "TT" },        { "tname", "TTY" },
    { "time", "TIME" },  { "cputime", "TIME" }, { "etime", "ELAPSED" },
    { "vsz", "VSZ" },    { "vsize", "VSZ" },    { "rss", "RSS" },
    { "rssize", "RSS" }, { "stat", "STAT" },    { "state", "S" },
    { "s", "S" },        { "ni", "NI" },        { "nice", "NI" },
    { "pri", "PRI" },    { "nlwp", "NLWP" },    { "thcount", "NLWP" },
    { "cmd", "CMD" },    { "args", "COMMAND" }, { "command", "COMMAND" },
    { "comm", "COMM" },
};

static int add_words(const char *list, char ***columns, struct error *err)
{
    CLEANUP(strv_freep) char **words = strv_split(list, ", ", false);
    for (size_t i = 0; words && words[i]; i++) {
        words[i][strcspn(words[i], "=")] = 0; // "pid=TITLE": our own title is kept
        size_t k = 0, n = sizeof ps_words / sizeof *ps_words;
        for (; k < n && !streq(ps_words[k].word, words[i]); k++)
            ;
        if (k == n)
            return error_set(err, ERROR_INVALID, "ps: unknown user-defined format specifier \"%s\"",
                             words[i]);
        strv_push(columns, ps_words[k].title);
    }
    return 0;
}

// "-ef", "aux", "-o pid,user", "-eo pid,comm": the forms people use. Others are refused, not guessed at.
static int parse_ps_args(const char *text, char ***ret, struct error *err)
{
    static const char full[] = "UID PID PPID C STIME TTY TIME CMD";
    static const char bsd[] = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
    static const char plain[] = "PID TTY TIME CMD";
    CLEANUP(strv_freep) char **words = strv_split(text, " \t", false);
    CLEANUP(strv_freep) char **columns = NULL;
    const char *format = plain;
    for (size_t i = 0; words && words[i]; i++) {
        const char *w = words[i], *o = w[0] == '-' ? strchr(w, 'o') : NULL;
        if (o && strspn(w + 1, "eAax") == (size_t)(o - w - 1)) {
            const char *list = o[1] ? o + 1 : words[i + 1] ? words[++i] : "";
            if (add_words(list, &columns, err) < 0)
                return -1;
        } else if (streq(w, "o") && words[i + 1]) {
            if (add_words(words[++i], &columns, err) < 0)
                return -1;
        } else if (w[0] == '-' && w[1] && strspn(w + 1, "eAafw") == strlen(w + 1)) {
            format = strchr(w, 'f') ? full : format;
        } else if (w[0] != '-' && strspn(w, "auxw") == strlen(w)) {
            format = strchr(w, 'u') ? bsd : format;
        } else {
            return error_set(err, ERROR_INVALID, "ps: option \"%s\" is not supported", w);
        }
    }
    *ret = columns ? TAKE_PTR(columns) : strv_split(strv_len(words) ? format : full, " ", false);
    return 0;
}

static void read_host(struct host_facts *h)
{
    struct timespec boot;
    h->ticks_per_s = sysconf(_SC_CLK_TCK);
    h->page_bytes = sysconf(_SC_PAGESIZE);
    h->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)h->page_bytes;
    h->now_ns = time_now_ns();
    clock_gettime(CLOCK_BOOTTIME, &boot);
    h->boot_ns = h->now_ns - (boot.tv_sec * NS_PER_S + boot.tv_nsec);
}

static json_t *process_row(const struct process_facts *f, char *const *columns, const struct host_facts *h)
{
    json_t *row = json_array();
    for (size_t i = 0; columns[i]; i++) {
        CLEANUP(str_done) struct str cell = STR_INIT;
        if (streq(columns[i], "COMM"))
            str_append(&cell, f->comm);
        else
            append_column(&cell, columns[i], f, h);
        CLEANUP(str_done) struct str quoted = STR_INIT; // a command line is any bytes
        json_append_quoted(&quoted, cell.ptr, cell.len);
        json_t *text = json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY, NULL);
        json_array_append_new(row, text ? text : json_string("?"));
    }
    return row;
}

int container_top(struct container_service *s, const char *name, const char *ps_args, json_t **ret,
                  struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(strv_freep) char **columns = NULL;
    CLEANUP(cleanup_free) pid_t *pids = NULL;
    size_t count = 0;
    struct host_facts host;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
    pid_t pid = c->state.pid;
    pthread_mutex_unlock(&c->lock);
    if (!is_running)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", c->id);
    if (parse_ps_args(str_is_empty(ps_args) ? "-ef" : ps_args, &columns, err) < 0)
        return -1;
    int r = cgroup_pids(c->cgroup_path, pid, &pids, &count);
    if (r < 0)
        return error_errno(err, r, "list processes of container %s", c->id);
    read_host(&host);
    json_t *rows = json_array(), *titles = json_array();
    for (size_t i = 0; i < count; i++) {
        struct process_facts f;
        if (read_facts(pids[i], &f))
            json_array_append_new(rows, process_row(&f, columns, &host));
        facts_done(&f);
    }
    for (size_t i = 0; columns[i]; i++)
        json_array_append_new(titles, json_string(streq(columns[i], "COMM") ? "COMMAND" : columns[i]));
    *ret = json_object();
    json_object_set_new(*ret, "Titles", titles);
    json_object_set_new(*ret, "Processes", rows);
    container_event(c, "top", NULL, NULL);
    return 0;
}
