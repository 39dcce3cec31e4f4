#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"
#include "shimproto/shimproto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum { RECORD_MAX = 4096 };

// Printed by hand: the one document that is written while nothing but time is short.
int shim_exit_record_write(const char *state_dir, const struct shim_exit_record *record)
{
    char text[256];
    int n =
        snprintf(text, sizeof(text),
                 "{\"exitCode\":%d,\"finishedNs\":%lld,\"oomKilled\":%s,\"pid\":%d,\"startedNs\":%lld}\n",
                 record->exit_code, (long long)record->finished_ns, record->was_oom_killed ? "true" : "false",
                 (int)record->pid, (long long)record->started_ns);
    CLEANUP(cleanup_close) int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    return file_replace_at(dir, "exit", 0600, text, (size_t)n, false);
}

int shim_exit_record_read(const char *state_dir, struct shim_exit_record *ret)
{
    CLEANUP(cleanup_close) int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    CLEANUP(str_done) struct str text = STR_INIT;
    int r = file_read_at(dir, "exit", RECORD_MAX, &text);
    if (r < 0)
        return r == -ENOENT ? r : -EBADMSG;
    struct error err;
    CLEANUP(json_cleanup) json_t *j = NULL;
    if (json_parse(text.ptr, text.len, &j, &err) < 0 || !json_is_integer(json_object_get(j, "exitCode")) ||
        !json_is_integer(json_object_get(j, "finishedNs")))
        return -EBADMSG;
    *ret = (struct shim_exit_record){
        .exit_code = (int)json_get_int(j, "exitCode", 0),
        .pid = (pid_t)json_get_int(j, "pid", 0),
        .started_ns = json_get_int(j, "startedNs", 0),
        .finished_ns = json_get_int(j, "finishedNs", 0),
        .was_oom_killed = json_get_bool(j, "oomKilled", false),
    };
    return 0;
}
