// HostConfig.LogConfig: which driver writes the container's log, and how. One table says which driver takes which option;
// wording of the errors is Docker's (daemon/logger/factory.go and the drivers).
#include "container/config.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REGEX_TEXT_MAX = 256, BUFFER_DEFAULT = 1 << 20, FACILITY_DAEMON = 3 };

static const char file_options[] = "max-file max-size compress labels labels-regex env env-regex tag";
static const struct log_driver {
    const char *name;
    enum shim_log_driver driver;
    const char *options; // space-separated; NULL: any, unseen
    const char *unknown; // what to say of another
} drivers[] = {
    { "json-file", SHIM_LOG_JSON_FILE, file_options, "unknown log opt '%s' for json-file log driver" },
    { "local", SHIM_LOG_LOCAL, file_options, "unknown log opt '%s' for log driver local" },
    { "syslog", SHIM_LOG_SYSLOG,
      "env env-regex labels labels-regex syslog-address syslog-facility syslog-tls-ca-cert syslog-tls-cert "
      "syslog-tls-key syslog-tls-skip-verify tag syslog-format",
      "unknown log opt '%s' for syslog log driver" },
    { "journald", SHIM_LOG_JOURNALD, "labels labels-regex env env-regex tag",
      "unknown log opt '%s' for journald log driver" },
    { "none", SHIM_LOG_NONE, NULL, NULL },
};

static const struct log_driver *driver_of(const char *name)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (streq(drivers[i].name, name))
            return &drivers[i];
    return NULL;
}

const char *config_log_driver_name(enum shim_log_driver driver)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (drivers[i].driver == driver)
            return drivers[i].name;
    return "none";
}

json_t *config_log_driver_names(void)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        json_array_append_new(names, json_string(drivers[i].name));
    return names;
}

// --- values

// Powers of 1000, as Docker takes the sizes of log files: "10m" is ten million.
static bool parse_decimal_size(const char *text, int64_t *ret)
{
    static const char units[] = "kmgtp";
    int64_t binary;
    if (!parse_size_bytes(text, &binary))
        return false;
    double size = (double)binary;
    const char *letter = text + strspn(text, "0123456789. ");
    const char *unit = *letter ? strchr(units, *letter | 0x20) : NULL;
    for (const char *u = units; unit && u <= unit; u++)
        size = size / 1024 * 1000;
    *ret = (int64_t)(size + 0.5);
    return true;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const words[] = { "1", "t", "T", "TRUE",  "true",  "True",
                                         "0", "f", "F", "FALSE", "false", "False" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (streq(text, words[i])) {
            *ret = i < 6;
            return true;
        }
    return false;
}

static int parse_max_size(const char *text, struct shim_log_options *log, struct error *err)
{
    int64_t size;
    if (streq(text, "-1")) {
        log->max_size_bytes = -1;
        return 0;
    }
    if (!parse_decimal_size(text, &size))
        return error_set(err, ERROR_INVALID, "invalid value for max-size: %s: invalid size: '%s'", text,
                         text);
    if (size <= 0)
        return error_set(err, ERROR_INVALID, "max-size must be a positive number");
    log->max_size_bytes = size;
    return 0;
}

static int parse_regex(const char *key, const char *text, struct error *err)
{
    regex_t regex;
    int r = strlen(text) > REGEX_TEXT_MAX || strchr(text, '{')
                ? REG_BADPAT
                : regcomp(&regex, text, REG_EXTENDED | REG_NOSUB);
    if (r != 0)
        return error_set(err, ERROR_INVALID, "invalid value for %s: error parsing regexp: `%s`", key, text);
    regfree(&regex);
    return 0;
}

static int parse_file_options(const json_t *options, struct shim_log_options *log, struct error *err)
{
    const char *max_size = json_get_string(options, "max-size", NULL),
               *max_file = json_get_string(options, "max-file", NULL);
    const char *compress = json_get_string(options, "compress", NULL);
    uint32_t files;
    if (max_size && parse_max_size(max_size, log, err) < 0)
        return -1;
    if (max_file) {
        if (!parse_u32(max_file, 1000, &files))
            return error_set(err, ERROR_INVALID, "invalid value for max-file: %s", max_file);
        if (files < 1)
            return error_set(err, ERROR_INVALID, "max-file cannot be less than 1");
        log->max_files = (int)files;
    }
    if (compress && !parse_bool(compress, &log->wants_compression))
        return error_set(err, ERROR_INVALID, "invalid value for compress: %s", compress);
    bool has_rotation = log->max_files > 1 && log->max_size_bytes > 0;
    if (compress && log->wants_compression && !has_rotation)
        return error_set(err, ERROR_INVALID,
                         "compress cannot be true when max-file is less than 2 or max-size is not set");
    log->wants_compression = log->wants_compression && has_rotation;
    return 0;
}

// --- syslog
static int parse_address(const char *text, struct log_choice *choice, struct error *err)
{
    if (str_is_empty(text))
        return 0;
    bool is_unix = str_has_prefix(text, "unix://") || str_has_prefix(text, "unixgram://");
    const char *network = str_has_prefix(text, "tcp://")       ? "tcp"
                          : str_has_prefix(text, "udp://")     ? "udp"
                          : str_has_prefix(text, "tcp+tls://") ? "tls"
                                                               : NULL;
    if (!is_unix && !network)
        return error_set(err, ERROR_INVALID, "syslog-address should be in form proto://address, got %s",
                         text);
    const char *rest = strstr(text, "://") + 3;
    if (is_unix) {
        choice->address = xasprintf("unix:%s", rest);
        return 0;
    }
    const char *bracket = strrchr(rest, ']'), *colon = strrchr(rest, ':');
    bool has_port = colon && colon[1] && (!bracket || colon > bracket);
    if (!*rest || rest == colon)
        return error_set(err, ERROR_INVALID, "syslog-address should be in form proto://address, got %s",
                         text);
    choice->address = xasprintf("%s:%s%s", network, rest, has_port ? "" : ":514");
    return 0;
}

// Files of the host, read when a message is to go out (skiff-logtls): what is not there is better known before.
static int check_tls_files(const struct shim_log_tls *tls, struct error *err)
{
    if (!tls->cert != !tls->key)
        return error_set(err, ERROR_INVALID,
                         "Could not load X509 key pair: syslog-tls-cert and syslog-tls-key go together");
    if (tls->ca && !tls->skips_verify && access(tls->ca, R_OK) < 0)
        return error_set(err, ERROR_INVALID, "could not read CA certificate \"%s\": open %s: %s", tls->ca,
                         tls->ca, errno == ENOENT ? "no such file or directory" : "cannot be read");
    const char *const pair[] = { tls->cert, tls->key };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        if (pair[i] && access(pair[i], R_OK) < 0)
            return error_set(err, ERROR_INVALID, "Could not load X509 key pair: open %s: %s", pair[i],
                             errno == ENOENT ? "no such file or directory" : "cannot be read");
    return 0;
}

int config_log_check_address(const struct container_config *c, struct error *err)
{
    if (c->log_choice.address && str_has_prefix(c->log_choice.address, "tls:"))
        return check_tls_files(&c->log.tls, err);
    struct stat st;
    const char *path = str_has_prefix(c->log_choice.address ? c->log_choice.address : "", "unix:")
                           ? c->log_choice.address + strlen("unix:")
                           : NULL;
    if (!path || stat(path, &st) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, "stat %s: %s", path,
                     errno == ENOENT ? "no such file or directory" : "cannot be read");
}

static int parse_facility(const char *text, int *ret, struct error *err)
{
    static const char *const names[] = { "kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                         "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                         "",       "",       "",       "",       "local0",   "local1",
                                         "local2", "local3", "local4", "local5", "local6",   "local7" };
    uint32_t number;
    *ret = FACILITY_DAEMON;
    if (str_is_empty(text))
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (streq(names[i], text)) {
            *ret = (int)i;
            return 0;
        }
    if (!parse_u32(text, 23, &number))
        return error_set(err, ERROR_INVALID, "invalid syslog facility");
    *ret = (int)number;
    return 0;
}

// Docker skips verification for the option's presence, whatever it says; here "false" is heard.
static int parse_tls(const json_t *options, struct shim_log_tls *tls, struct error *err)
{
    const struct {
        const char *key;
        char **at;
    } files[] = { { "syslog-tls-ca-cert", &tls->ca },
                  { "syslog-tls-cert", &tls->cert },
                  { "syslog-tls-key", &tls->key } };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = json_get_string(options, files[i].key, "");
        if (*path && *path != '/')
            return error_set(err, ERROR_INVALID, "invalid value for %s: %s is not an absolute path",
                             files[i].key, path);
        *files[i].at = *path ? xstrdup(path) : NULL;
    }
    const char *skip = json_get_string(options, "syslog-tls-skip-verify", NULL);
    if (skip && !*skip)
        tls->skips_verify = true;
    else if (skip && !parse_bool(skip, &tls->skips_verify))
        return error_set(err, ERROR_INVALID, "invalid value for syslog-tls-skip-verify: %s", skip);
    return 0;
}

static int parse_syslog_options(const json_t *options, struct container_config *c, struct error *err)
{
    const char *format = json_get_string(options, "syslog-format", "");
    if (*format && !streq(format, "rfc3164") && !streq(format, "rfc5424") && !streq(format, "rfc5424micro"))
        return error_set(err, ERROR_INVALID, "Invalid syslog format");
    c->log.format = *format ? xstrdup(format) : NULL;
    if (parse_address(json_get_string(options, "syslog-address", ""), &c->log_choice, err) < 0 ||
        parse_tls(options, &c->log.tls, err) < 0)
        return -1;
    return parse_facility(json_get_string(options, "syslog-facility", ""), &c->log.facility, err);
}

// --- together

// What the engine itself looks at, whatever the driver.
static int parse_mode(const json_t *options, struct shim_log_options *log, struct error *err)
{
    const char *mode = json_get_string(options, "mode", ""),
               *size = json_get_string(options, "max-buffer-size", NULL);
    if (*mode && !streq(mode, "blocking") && !streq(mode, "non-blocking"))
        return error_set(err, ERROR_INVALID, "logger: logging mode not supported: %s", mode);
    log->is_nonblocking = streq(mode, "non-blocking");
    log->max_buffer_bytes = BUFFER_DEFAULT;
    if (!size)
        return 0;
    if (!log->is_nonblocking)
        return error_set(err, ERROR_INVALID,
                         "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    if (!parse_size_bytes(size, &log->max_buffer_bytes) || log->max_buffer_bytes < 0)
        return error_set(err, ERROR_INVALID, "error parsing option max-buffer-size: invalid size: '%s'",
                         size);
    return 0;
}

static int check_keys(const json_t *options, const struct log_driver *driver, struct error *err)
{
    CLEANUP(strv_freep) char **known = strv_split(driver->options, " ", false);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
    {
        if (streq(key, "mode") || streq(key, "max-buffer-size"))
            continue;
        if (!strv_contains(known, key))
            return error_set(err, ERROR_INVALID, driver->unknown, key);
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, "invalid value for %s: a string is wanted", key);
    }
    return 0;
}

static int parse_choice(const json_t *options, struct log_choice *choice, struct error *err)
{
    const char *labels = json_get_string(options, "labels", ""), *env = json_get_string(options, "env", "");
    const char *labels_regex = json_get_string(options, "labels-regex", ""),
               *env_regex = json_get_string(options, "env-regex", "");
    const char *tag = json_get_string(options, "tag", "");
    if ((*labels_regex && parse_regex("labels-regex", labels_regex, err) < 0) ||
        (*env_regex && parse_regex("env-regex", env_regex, err) < 0))
        return -1;
    choice->labels = *labels ? strv_split(labels, ",", false) : NULL;
    choice->env = *env ? strv_split(env, ",", false) : NULL;
    choice->labels_regex = *labels_regex ? xstrdup(labels_regex) : NULL;
    choice->env_regex = *env_regex ? xstrdup(env_regex) : NULL;
    choice->tag = *tag ? xstrdup(tag) : NULL;
    return config_log_tag_check(tag, err);
}

// Bounded where Docker's json-file is not: 20 MB in five files, rotated ones compressed, unless the client says otherwise.
int config_parse_log(const json_t *host_config, struct container_config *c, struct error *err)
{
    const json_t *config = json_get_object(host_config, "LogConfig"),
                 *options = json_get_object(config, "Config");
    const char *type = json_get_string(config, "Type", "");
    const struct log_driver *driver = driver_of(*type ? type : "json-file");
    c->log = (struct shim_log_options){
        .driver = SHIM_LOG_JSON_FILE, .max_size_bytes = 20LL << 20, .max_files = 5, .wants_compression = true
    };
    if (driver && driver->driver == SHIM_LOG_NONE) {
        c->log.driver = SHIM_LOG_NONE;
        return 0;
    }
    if (parse_mode(options, &c->log, err) < 0)
        return -1;
    if (!driver)
        return error_set(err, ERROR_INVALID, "logger: no log driver named '%s' is registered", type);
    c->log.driver = driver->driver;
    if (check_keys(options, driver, err) < 0 || parse_choice(options, &c->log_choice, err) < 0)
        return -1;
    if (driver->driver == SHIM_LOG_SYSLOG)
        return parse_syslog_options(options, c, err);
    return driver->driver == SHIM_LOG_JOURNALD ? 0 : parse_file_options(options, &c->log, err);
}

void config_log_done(struct container_config *c)
{
    struct log_choice *choice = &c->log_choice;
    char *texts[] = { choice->tag, choice->labels_regex, choice->env_regex, choice->address };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    strv_free(choice->labels);
    strv_free(choice->env);
    *choice = (struct log_choice){ 0 };
    shim_log_options_done(&c->log);
}

void config_log_default(json_t *host_config, const json_t *given, const char *driver, char *const *options)
{
    const char *type = json_get_string(json_get_object(given, "LogConfig"), "Type", "");
    json_t *log = json_get_object(host_config, "LogConfig");
    if (str_is_empty(driver))
        driver = "json-file";
    if (*type && !streq(type, driver))
        return;
    json_set_string(log, "Type", driver);
    json_t *config = json_get_object(log, "Config");
    for (size_t i = 0; config && options && options[i]; i++) {
        const char *equals = strchr(options[i], '=');
        CLEANUP(cleanup_free)
        char *key = xstrndup(options[i], equals ? (size_t)(equals - options[i]) : strlen(options[i]));
        if (!json_object_get(config, key))
            json_set_string(config, key, equals ? equals + 1 : "");
    }
}
