// What a log's options come to at a start: the tag and the attributes with the container's own names in them, and the
// address in numbers. Nothing is computed, and nobody connected to, for containers that ask for none of it.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/log_options.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <regex.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { CONNECT_TIMEOUT_MS = 5000 };
#define DEFAULT_TAG     "{{.ID}}"
#define JOURNALD_SOCKET "/run/systemd/journal/socket"

// --- tag: "{{.Name}}/{{.ID}}". Docker's are Go templates; here a field may be named, and nothing else.
static char *tag_field(const char *field, const struct log_tag_names *n)
{
    const char *image_id = strchr(n->image_id, ':') ? strchr(n->image_id, ':') + 1 : n->image_id;
    if (streq(field, "ID"))
        return xstrndup(n->id, ID_SHORT_LEN);
    if (streq(field, "FullID") || streq(field, "ContainerID"))
        return xstrdup(n->id);
    if (streq(field, "Name"))
        return xstrdup(n->name);
    if (streq(field, "ContainerName"))
        return xasprintf("/%s", n->name);
    if (streq(field, "ImageID"))
        return xstrndup(image_id, ID_SHORT_LEN);
    if (streq(field, "ImageFullID") || streq(field, "ContainerImageID"))
        return xstrdup(n->image_id);
    if (streq(field, "ImageName") || streq(field, "ContainerImageName"))
        return xstrdup(n->image_name);
    if (streq(field, "DaemonName"))
        return xstrdup("docker");
    if (streq(field, "Command"))
        return strv_join(n->arguments, " ");
    return NULL;
}

int log_tag_expand(const char *template, const struct log_tag_names *names, char **ret, struct error *err)
{
    CLEANUP(str_done) struct str out = STR_INIT;
    for (const char *p = template; *p;) {
        const char *open = strstr(p, "{{"), *close = open ? strstr(open, "}}") : NULL;
        str_append_n(&out, p, open ? (size_t)(open - p) : strlen(p));
        if (!open)
            break;
        if (!close)
            return error_set(err, ERROR_INVALID,
                             "failed to parse log tag: template: log-tag: unclosed action");
        CLEANUP(cleanup_free) char *inside = xstrndup(open + 2, (size_t)(close - open) - 2);
        CLEANUP(strv_freep) char **words = strv_split(inside, " \t", false);
        const char *field = strv_len(words) == 1 && words[0][0] == '.' ? words[0] + 1 : "";
        CLEANUP(cleanup_free) char *value = tag_field(field, names);
        if (!value)
            return error_set(err, ERROR_INVALID,
                             "failed to parse log tag: template: log-tag: \"%s\" is not a field of a log tag",
                             inside);
        str_append(&out, value);
        p = close + 2;
    }
    *ret = str_take(&out);
    return 0;
}

int config_log_tag_check(const char *template, struct error *err)
{
    const struct log_tag_names none = { "", "", "", "", NULL };
    CLEANUP(cleanup_free) char *ignored = NULL;
    return log_tag_expand(template, &none, &ignored, err);
}

// --- attributes
static bool matches(const regex_t *regex, const char *key)
{
    return regex && regexec(regex, key, 0, NULL, 0) == 0;
}

// regcomp of a pattern that was checked at create; NULL for none.
static regex_t *compile(const char *pattern, regex_t *at)
{
    return pattern && regcomp(at, pattern, REG_EXTENDED | REG_NOSUB) == 0 ? at : NULL;
}

json_t *log_attributes(const struct log_choice *choice, const json_t *labels, char *const *env)
{
    json_t *attributes = json_object(), *value;
    regex_t storage[2];
    regex_t *labels_regex = compile(choice->labels_regex, &storage[0]),
            *env_regex = compile(choice->env_regex, &storage[1]);
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        if (json_is_string(value) && (strv_contains(choice->labels, key) || matches(labels_regex, key)))
            json_object_set(attributes, key, value);
    }
    for (size_t i = 0; env && env[i]; i++) {
        const char *equals = strchr(env[i], '=');
        if (!equals)
            continue;
        CLEANUP(cleanup_free) char *name = xstrndup(env[i], (size_t)(equals - env[i]));
        if (strv_contains(choice->env, name) || matches(env_regex, name))
            json_set_string(attributes, name, equals + 1);
    }
    if (labels_regex)
        regfree(labels_regex);
    if (env_regex)
        regfree(env_regex);
    return attributes;
}

// journald's field names are capitals, digits and underscores, and begin with no underscore.
static void journald_field(struct str *out, const char *key, const char *value)
{
    while (*key && !isalpha((unsigned char)*key))
        key++;
    if (!*key)
        return;
    for (; *key; key++)
        str_append_char(out, isalnum((unsigned char)*key) ? (char)toupper((unsigned char)*key) : '_');
    str_append_char(out, '=');
    for (; *value; value++) // a newline would end the field
        str_append_char(out, *value == '\n' ? ' ' : *value);
    str_append_char(out, '\n');
}

static char *journald_attributes(const struct log_tag_names *names, const char *tag, const json_t *attributes)
{
    struct str out = STR_INIT;
    char short_id[ID_SHORT_LEN + 1] = "";
    const char *key;
    json_t *value;
    memcpy(short_id, names->id, strnlen(names->id, ID_SHORT_LEN));
    journald_field(&out, "CONTAINER_ID", short_id);
    journald_field(&out, "CONTAINER_ID_FULL", names->id);
    journald_field(&out, "CONTAINER_NAME", names->name);
    journald_field(&out, "CONTAINER_TAG", tag);
    journald_field(&out, "IMAGE_NAME", names->image_name);
    journald_field(&out, "SYSLOG_IDENTIFIER", tag);
    json_object_foreach((json_t *)(uintptr_t)attributes, key, value)
        journald_field(&out, key, json_string_value(value));
    return str_take(&out);
}

// --- addresses

// Is somebody there? Docker's dial: a container whose log has no listener does not start. `at` is what the message names.
static int try_connect(const struct sockaddr *address, socklen_t size, int type, const char *network,
                       const char *at, struct error *err)
{
    CLEANUP(cleanup_close) int fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int problem = fd < 0 || (connect(fd, address, size) < 0 && errno != EINPROGRESS) ? errno : 0;
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    socklen_t n = sizeof problem;
    if (problem == 0 && type == SOCK_STREAM && poll(&p, 1, CONNECT_TIMEOUT_MS) == 0)
        problem = ETIMEDOUT;
    else if (problem == 0)
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &n);
    if (problem == 0)
        return 0;
    error_errno(err, problem, "dial %s %s: connect", network, at);
    err->kind = problem == EPROTOTYPE ? ERROR_UNSUPPORTED : ERROR_INTERNAL;
    return -1;
}

static int try_unix(const char *path, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_INVALID, "the socket's path is too long: %s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int r = try_connect((struct sockaddr *)&address, sizeof address, SOCK_DGRAM, "unixgram", path, err);
    return r < 0 && err->kind == ERROR_UNSUPPORTED
               ? try_connect((struct sockaddr *)&address, sizeof address, SOCK_STREAM, "unix", path, err)
               : r;
}

// "host:514", "[::1]:514" -> what stands before the port. Owned.
static char *host_of(const char *text)
{
    bool is_bracketed = *text == '[';
    return xstrndup(text + is_bracketed, (size_t)(strrchr(text, ':') - text) - 2u * is_bracketed);
}

// "udp:host:514" -> "udp:192.0.2.1:514": the monitor cannot look up names.
static int resolve(const char *address, char **ret, struct error *err)
{
    const char *rest = address + 4, *colon = strrchr(rest, ':');
    bool is_tcp = !str_has_prefix(address, "udp:");
    CLEANUP(cleanup_free) char *host = host_of(rest);
    struct addrinfo hints = { .ai_socktype = is_tcp ? SOCK_STREAM : SOCK_DGRAM }, *found = NULL;
    char number[NI_MAXHOST], service[NI_MAXSERV];
    int r = getaddrinfo(host, colon + 1, &hints, &found);
    if (r != 0)
        return error_set(err, ERROR_INTERNAL, "dial %.3s: lookup %s: %s", address, host, gai_strerror(r));
    r = getnameinfo(found->ai_addr, found->ai_addrlen, number, sizeof number, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    if (r != 0)
        r = error_set(err, ERROR_INTERNAL, "dial %.3s: lookup %s: %s", address, host, gai_strerror(r));
    else if (is_tcp)
        r = try_connect(found->ai_addr, found->ai_addrlen, SOCK_STREAM, "tcp", rest, err);
    if (r == 0)
        *ret = xasprintf(strchr(number, ':') ? "%.4s[%s]:%s" : "%.4s%s:%s", address, number, service);
    freeaddrinfo(found);
    return r;
}

static int syslog_address(const char *address, char **ret, struct error *err)
{
    static const char *const local[] = { "/dev/log", "/var/run/syslog", "/var/run/log" };
    if (address && !str_has_prefix(address, "unix:"))
        return resolve(address, ret, err);
    if (address) {
        *ret = xstrdup(address);
        return try_unix(address + 5, err);
    }
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (try_unix(local[i], err) == 0) {
            *ret = xasprintf("unix:%s", local[i]);
            return 0;
        }
    return error_set(err, ERROR_INTERNAL, "Unix syslog delivery error");
}

// --- together
static int fill_sink(const struct log_choice *choice, const struct log_tag_names *names,
                     const json_t *attributes, struct shim_log_options *log, struct error *err)
{
    if (log_tag_expand(choice->tag ? choice->tag : DEFAULT_TAG, names, &log->tag, err) < 0)
        return -1;
    if (log->driver == SHIM_LOG_SYSLOG)
        return syslog_address(choice->address, &log->address, err);
    log->attributes = journald_attributes(names, log->tag, attributes);
    log->address = xasprintf("unix:" JOURNALD_SOCKET);
    if (try_unix(JOURNALD_SOCKET, err) == 0)
        return 0;
    return error_set(err, ERROR_INTERNAL, "journald is not enabled on this host");
}

static struct shim_log_tls tls_for_start(const struct container_config *k)
{
    const struct shim_log_tls *tls = &k->log.tls;
    const char *address = k->log_choice.address;
    if (!address || !str_has_prefix(address, "tls:"))
        return (struct shim_log_tls){ 0 };
    return (struct shim_log_tls){ .server_name = host_of(address + 4),
                                  .ca = xstrdup(tls->ca),
                                  .cert = xstrdup(tls->cert),
                                  .key = xstrdup(tls->key),
                                  .skips_verify = tls->skips_verify };
}

int log_options_for_start(struct container *c, struct shim_log_options *ret, struct error *err)
{
    const struct container_config *k = &c->config;
    const struct log_choice *choice = &k->log_choice;
    struct shim_log_options log = k->log;
    log.path = xstrdup(k->log.path);
    log.format = xstrdup(k->log.format);
    log.tls = tls_for_start(k);
    bool is_sink = log.driver == SHIM_LOG_SYSLOG || log.driver == SHIM_LOG_JOURNALD;
    bool has_choice =
        choice->tag || choice->labels || choice->labels_regex || choice->env || choice->env_regex;
    int r = 0;
    if (is_sink || has_choice) {
        pthread_mutex_lock(&c->lock);
        CLEANUP(cleanup_free) char *name = xstrdup(c->name);
        pthread_mutex_unlock(&c->lock);
        const struct log_tag_names names = { c->id, name, c->image_id, c->image_name, k->args };
        CLEANUP(json_cleanup)
        json_t *attributes = log_attributes(choice, json_get_object(c->config_document, "Labels"), k->env);
        if (is_sink)
            r = fill_sink(choice, &names, attributes, &log, err);
        else if (choice->tag && (r = log_tag_expand(choice->tag, &names, &log.tag, err)) == 0)
            json_set_string(attributes, "tag", log.tag);
        if (!is_sink && json_object_size(attributes))
            log.attributes = json_dumps(attributes, JSON_COMPACT | JSON_SORT_KEYS);
    }
    if (r < 0) {
        shim_log_options_done(&log);
        return error_wrap(err, "failed to create task for container: failed to initialize logging driver");
    }
    *ret = log;
    return 0;
}
