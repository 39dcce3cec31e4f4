#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "shimproto/shimproto.h"

static const char *const LOG_DRIVERS[] = { "json-file", "local", "none", "syslog", "journald" };
_Static_assert(sizeof(LOG_DRIVERS) / sizeof(LOG_DRIVERS[0]) == SHIM_LOG_DRIVER_COUNT,
               "a name for each driver");

void shim_log_options_done(struct shim_log_options *options)
{
    char *texts[] = { options->path,   options->attributes, options->address,
                      options->tag,    options->format,     options->tls.server_name,
                      options->tls.ca, options->tls.cert,   options->tls.key };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    *options = (struct shim_log_options){ 0 };
}

void shim_create_done(struct shim_create *create)
{
    free(create->id);
    free(create->socket_path);
    free(create->state_dir);
    free(create->cgroup_path);
    free(create->layers_dir);
    strv_free(create->lower);
    free(create->upper_parent);
    shim_log_options_done(&create->log);
    json_decref(create->oci_config);
    *create = (struct shim_create){ 0 };
}

void shim_exec_done(struct shim_exec *exec)
{
    free(exec->exec_id);
    json_decref(exec->process);
    *exec = (struct shim_exec){ 0 };
}

void shim_change_done(struct shim_change *change)
{
    strv_free(change->kept);
    json_decref(change->from);
    json_decref(change->to);
    *change = (struct shim_change){ 0 };
}

static json_t *tls_emit(const struct shim_log_tls *tls)
{
    json_t *j = json_object();
    json_set_string(j, "serverName", tls->server_name);
    json_set_string(j, "ca", tls->ca);
    json_set_string(j, "cert", tls->cert);
    json_set_string(j, "key", tls->key);
    json_set_bool(j, "skipVerify", tls->skips_verify);
    return j;
}

static json_t *log_emit(const struct shim_log_options *log)
{
    json_t *j = json_object();
    json_set_string(j, "driver", LOG_DRIVERS[log->driver]);
    json_set_string(j, "path", log->path);
    json_set_int(j, "maxSize", log->max_size_bytes);
    json_set_int(j, "maxFiles", log->max_files);
    json_set_bool(j, "compress", log->wants_compression);
    json_set_string(j, "attributes", log->attributes);
    if (log->driver != SHIM_LOG_SYSLOG && log->driver != SHIM_LOG_JOURNALD)
        return j;
    json_set_string(j, "address", log->address);
    json_set_string(j, "tag", log->tag);
    json_set_string(j, "format", log->format);
    json_set_int(j, "facility", log->facility);
    json_set_bool(j, "nonblocking", log->is_nonblocking);
    json_set_int(j, "maxBuffer", log->max_buffer_bytes);
    if (log->tls.server_name)
        json_object_set_new(j, "tls", tls_emit(&log->tls));
    return j;
}

char *shim_create_emit(const struct shim_create *create)
{
    CLEANUP(json_cleanup) json_t *j = json_object();
    json_set_int(j, "version", SHIM_PROTOCOL_VERSION);
    json_set_string(j, "id", create->id);
    json_set_string(j, "socketPath", create->socket_path);
    json_set_string(j, "stateDir", create->state_dir);
    json_set_string(j, "cgroupPath", create->cgroup_path);
    json_set_string(j, "layersDir", create->layers_dir);
    json_object_set_new(j, "lower", json_from_strv(create->lower));
    json_set_string(j, "upperParent", create->upper_parent);
    json_set_bool(j, "volatile", create->is_volatile);
    json_set_bool(j, "stdin", create->has_stdin);
    json_set_bool(j, "stdinOnce", create->is_stdin_once);
    json_object_set_new(j, "log", log_emit(&create->log));
    json_object_set(j, "config", create->oci_config);
    return json_text(j);
}

char *shim_exec_emit(const struct shim_exec *exec)
{
    CLEANUP(json_cleanup) json_t *j = json_object();
    json_set_string(j, "execId", exec->exec_id);
    json_set_bool(j, "stdin", exec->has_stdin);
    json_object_set(j, "process", exec->process);
    return json_text(j);
}

char *shim_change_emit(const struct shim_change *change)
{
    CLEANUP(json_cleanup) json_t *j = json_object();
    json_set_bool(j, "forced", change->is_forced);
    json_set_bool(j, "repeated", change->is_repeated);
    json_object_set_new(j, "kept", json_from_strv(change->kept));
    json_object_set(j, "from", change->from);
    json_object_set(j, "to", change->to);
    return json_text(j);
}

static void tls_parse(const json_t *j, struct shim_log_tls *tls)
{
    tls->server_name = xstrdup(json_get_string(j, "serverName", NULL));
    tls->ca = xstrdup(json_get_string(j, "ca", NULL));
    tls->cert = xstrdup(json_get_string(j, "cert", NULL));
    tls->key = xstrdup(json_get_string(j, "key", NULL));
    tls->skips_verify = json_get_bool(j, "skipVerify", false);
}

static int log_parse(const json_t *j, struct shim_log_options *log, struct error *err)
{
    const char *driver = json_get_string(j, "driver", "none");
    log->driver = SHIM_LOG_DRIVER_COUNT;
    for (int i = 0; i < SHIM_LOG_DRIVER_COUNT; i++)
        if (streq(driver, LOG_DRIVERS[i]))
            log->driver = (enum shim_log_driver)i;
    if (log->driver == SHIM_LOG_DRIVER_COUNT)
        return error_set(err, ERROR_INVALID, "shim document: unknown log driver %s", driver);
    log->path = xstrdup(json_get_string(j, "path", NULL));
    log->max_size_bytes = json_get_int(j, "maxSize", -1);
    int64_t files = json_get_int(j, "maxFiles", 1);
    log->max_files = files < 1 ? 1 : files > 1000 ? 1000 : (int)files;
    log->wants_compression = json_get_bool(j, "compress", false);
    log->attributes = xstrdup(json_get_string(j, "attributes", NULL));
    log->address = xstrdup(json_get_string(j, "address", NULL));
    tls_parse(json_get_object(j, "tls"), &log->tls);
    log->tag = xstrdup(json_get_string(j, "tag", NULL));
    log->format = xstrdup(json_get_string(j, "format", NULL));
    log->facility = (int)json_get_int(j, "facility", 0);
    log->is_nonblocking = json_get_bool(j, "nonblocking", false);
    log->max_buffer_bytes = json_get_int(j, "maxBuffer", 1 << 20);
    bool is_file = log->driver == SHIM_LOG_JSON_FILE || log->driver == SHIM_LOG_LOCAL;
    if (is_file && str_is_empty(log->path))
        return error_set(err, ERROR_INVALID, "shim document: the log has no path");
    if (!is_file && log->driver != SHIM_LOG_NONE && str_is_empty(log->address))
        return error_set(err, ERROR_INVALID, "shim document: the log has no address");
    if (log->address && str_has_prefix(log->address, "tls:") && str_is_empty(log->tls.server_name))
        return error_set(err, ERROR_INVALID, "shim document: the log's server has no name");
    return 0;
}

static int create_from_json(const json_t *j, struct shim_create *create, struct error *err)
{
    create->id = xstrdup(json_get_string(j, "id", NULL));
    create->socket_path = xstrdup(json_get_string(j, "socketPath", NULL));
    create->state_dir = xstrdup(json_get_string(j, "stateDir", NULL));
    create->cgroup_path = xstrdup(json_get_string(j, "cgroupPath", NULL));
    create->layers_dir = xstrdup(json_get_string(j, "layersDir", NULL));
    create->lower = json_get_strv(j, "lower");
    create->upper_parent = xstrdup(json_get_string(j, "upperParent", NULL));
    create->is_volatile = json_get_bool(j, "volatile", false);
    create->has_stdin = json_get_bool(j, "stdin", false);
    create->is_stdin_once = json_get_bool(j, "stdinOnce", false);
    create->oci_config = json_incref(json_get_object(j, "config"));
    if (str_is_empty(create->id) || str_is_empty(create->socket_path) || str_is_empty(create->state_dir))
        return error_set(err, ERROR_INVALID, "shim document: id, socketPath and stateDir are needed");
    if (!create->oci_config)
        return error_set(err, ERROR_INVALID, "shim document: no config");
    return log_parse(json_get_object(j, "log"), &create->log, err);
}

int shim_create_parse(const char *text, size_t size, struct shim_create *ret, struct error *err)
{
    CLEANUP(json_cleanup) json_t *j = NULL;
    if (json_parse(text, size, &j, err) < 0)
        return -1;
    if (!json_is_object(j))
        return error_set(err, ERROR_INVALID, "shim document: not an object");
    struct shim_create create = { 0 };
    if (create_from_json(j, &create, err) < 0) {
        shim_create_done(&create);
        return -1;
    }
    *ret = create;
    return 0;
}

int shim_exec_parse(const char *text, size_t size, struct shim_exec *ret, struct error *err)
{
    CLEANUP(json_cleanup) json_t *j = NULL;
    if (json_parse(text, size, &j, err) < 0)
        return -1;
    const char *id = json_get_string(j, "execId", NULL);
    json_t *process = json_get_object(j, "process");
    if (str_is_empty(id) || strlen(id) >= SHIM_EXEC_ID_MAX || !process)
        return error_set(err, ERROR_INVALID, "shim document: execId and process are needed");
    *ret = (struct shim_exec){ .exec_id = xstrdup(id),
                               .has_stdin = json_get_bool(j, "stdin", false),
                               .process = json_incref(process) };
    return 0;
}

int shim_change_parse(const char *text, size_t size, struct shim_change *ret, struct error *err)
{
    CLEANUP(json_cleanup) json_t *j = NULL;
    if (json_parse(text, size, &j, err) < 0)
        return -1;
    json_t *from = json_get_object(j, "from"), *to = json_get_object(j, "to");
    if (!from || !to)
        return error_set(err, ERROR_INVALID, "shim document: from and to are needed");
    *ret = (struct shim_change){ .is_forced = json_get_bool(j, "forced", false),
                                 .is_repeated = json_get_bool(j, "repeated", false),
                                 .kept = json_get_strv(j, "kept"),
                                 .from = json_incref(from),
                                 .to = json_incref(to) };
    return 0;
}
