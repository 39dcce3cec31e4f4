#include "cli/config_file.h"

#include "cli/credential_helper.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_MAX_BYTES = 4 << 20 };

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void login_done(struct login *login)
{
    free(login->username);
    forget(login->password);
    forget(login->identity_token);
    forget(login->registry_token);
    *login = (struct login){ 0 };
}

// --- the file
static char *default_directory(void)
{
    const char *named = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    if (!str_is_empty(named))
        return xstrdup(named);
    return xasprintf("%s/.docker", str_is_empty(home) ? "/root" : home);
}

int config_file_load(const char *directory, struct config_file *ret, struct error *err)
{
    char *usual CLEANUP(cleanup_free) = str_is_empty(directory) ? default_directory() : xstrdup(directory);
    struct config_file config = { .path = xasprintf("%s/config.json", usual) };
    struct str text CLEANUP(str_done) = STR_INIT;
    int r = file_read_at(AT_FDCWD, config.path, CONFIG_MAX_BYTES, &text);
    if (r == -ENOENT || (r == 0 && text.len == 0))
        config.root = json_object();
    else if (r < 0)
        error_errno(err, r, "open %s", config.path);
    else if (json_parse(text.ptr, text.len, &config.root, err) == 0 && !json_is_object(config.root))
        error_set(err, ERROR_INVALID, "not an object");
    if (json_is_object(config.root)) {
        *ret = config;
        return 0;
    }
    struct error why = *err;
    error_set(err, ERROR_INVALID, "Error loading config file: %s: %s", config.path, why.message);
    config_file_done(&config);
    return -1;
}

void config_file_done(struct config_file *config)
{
    free(config->path);
    json_decref(config->root);
    *config = (struct config_file){ 0 };
}

// As Go's MarshalIndent with tabs: jansson indents by one space a level here.
static char *indented(const json_t *root)
{
    char *text CLEANUP(cleanup_free) = json_dumps(root, JSON_INDENT(1));
    struct str out = STR_INIT;
    bool is_margin = true;
    for (const char *c = text; c && *c; c++) {
        is_margin = is_margin && *c == ' ';
        str_append_char(&out, is_margin ? '\t' : *c);
        is_margin = is_margin || *c == '\n';
    }
    return str_take(&out);
}

int config_file_save(const struct config_file *config, struct error *err)
{
    char *real CLEANUP(cleanup_free) = realpath(config->path, NULL);
    const char *path = real ? real : config->path;
    char *directory CLEANUP(cleanup_free) = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    char *text CLEANUP(cleanup_free) = indented(config->root);
    int r = dir_make_all(directory, 0700);
    if (r == 0)
        r = file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false);
    explicit_bzero(text, strlen(text));
    return r < 0 ? error_errno(err, r, "error saving credentials: write %s", path) : 0;
}

// --- servers
// "https://host:1/v1/" -> "host:1". Owned.
static char *host_of(const char *server)
{
    const char *scheme = strstr(server, "://");
    const char *host = scheme ? scheme + 3 : server;
    return xstrndup(host, strcspn(host, "/"));
}

char *config_server_of(const char *reference)
{
    size_t n = strcspn(reference, "/");
    char *first CLEANUP(cleanup_free) = xstrndup(reference, n);
    bool has_capital = false;
    for (const char *c = first; *c; c++)
        has_capital = has_capital || (*c >= 'A' && *c <= 'Z');
    if (!reference[n] || !(strpbrk(first, ".:") || streq(first, "localhost") || has_capital) ||
        streq(first, "docker.io") || streq(first, "index.docker.io"))
        return xstrdup(CONFIG_HUB_SERVER);
    return TAKE_PTR(first);
}

// The key under which the server stands: its own name, or one that names the same host.
static const char *find_key(const json_t *map, const char *server)
{
    const char *key;
    json_t *value;
    if (json_object_get(map, server))
        return server;
    char *wanted CLEANUP(cleanup_free) = host_of(server);
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        char *host CLEANUP(cleanup_free) = host_of(key);
        if (streq(host, wanted))
            return key;
    }
    return NULL;
}

const char *config_file_helper(const struct config_file *config, const char *server)
{
    const json_t *helpers = json_get_object(config->root, "credHelpers");
    char *host CLEANUP(cleanup_free) = host_of(server);
    const char *helper = json_get_string(helpers, server, json_get_string(helpers, host, NULL));
    if (!helper)
        helper = json_get_string(config->root, "credsStore", NULL);
    return str_is_empty(helper) ? NULL : helper;
}

// --- reading
static char *member(const json_t *entry, const char *key)
{
    const char *value = json_get_string(entry, key, "");
    return *value ? xstrdup(value) : NULL;
}

static int read_entry(const char *server, const json_t *entry, struct login *ret, struct error *err)
{
    struct str pair CLEANUP(str_done) = STR_INIT;
    const char *auth = json_get_string(entry, "auth", "");
    *ret = (struct login){ .username = member(entry, "username"),
                           .password = member(entry, "password"),
                           .identity_token = member(entry, "identitytoken"),
                           .registry_token = member(entry, "registrytoken") };
    if (!*auth)
        return 0;
    char *colon = base64_decode(&pair, auth) ? strchr(pair.ptr, ':') : NULL;
    if (!colon) {
        login_done(ret);
        return error_set(err, ERROR_INVALID, "Invalid auth configuration file: auth of %s", server);
    }
    free(ret->username);
    forget(ret->password);
    ret->username = xstrndup(pair.ptr, (size_t)(colon - pair.ptr));
    ret->password = xstrdup(colon + 1);
    explicit_bzero(pair.ptr, pair.len);
    return 0;
}

int config_file_get(const struct config_file *config, const char *server, struct login *ret,
                    struct error *err)
{
    const char *helper = config_file_helper(config, server);
    *ret = (struct login){ 0 };
    if (helper)
        return credential_helper_get(helper, server, ret, err);
    const json_t *auths = json_get_object(config->root, "auths");
    const char *key = find_key(auths, server);
    return key ? read_entry(key, json_object_get(auths, key), ret, err) : 0;
}

// --- changing
static json_t *auths_of(struct config_file *config)
{
    json_t *auths = json_get_object(config->root, "auths");
    if (!auths) {
        auths = json_object();
        json_object_set_new(config->root, "auths", auths);
    }
    return auths;
}

int config_file_store(struct config_file *config, const char *server, const struct login *login,
                      struct error *err)
{
    const char *helper = config_file_helper(config, server);
    json_t *entry = json_object();
    struct str pair CLEANUP(str_done) = STR_INIT, text CLEANUP(str_done) = STR_INIT;
    json_object_set_new(auths_of(config), server, entry); // with a helper: only that there is something
    if (helper)
        return credential_helper_store(helper, server, login, err) < 0 ? -1 : config_file_save(config, err);
    str_appendf(&pair, "%s:%s", login->username ? login->username : "",
                login->password && !login->identity_token ? login->password : "");
    base64_encode(&text, pair.ptr, pair.len, false);
    json_set_string(entry, "auth", text.ptr);
    if (login->identity_token)
        json_set_string(entry, "identitytoken", login->identity_token);
    explicit_bzero(pair.ptr, pair.len);
    explicit_bzero(text.ptr, text.len);
    return config_file_save(config, err);
}

int config_file_erase(struct config_file *config, const char *server, struct error *err)
{
    const char *helper = config_file_helper(config, server);
    json_t *auths = json_get_object(config->root, "auths");
    int r = helper ? credential_helper_erase(helper, server, err) : 0;
    for (const char *key; (key = find_key(auths, server));) {
        char *gone CLEANUP(cleanup_free) = xstrdup(key);
        json_object_del(auths, gone);
    }
    struct error save_error;
    if (config_file_save(config, r < 0 ? &save_error : err) < 0)
        return -1;
    return r;
}
