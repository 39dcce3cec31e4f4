#include "oci/registries.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

enum { RULES_MAX = 1000, MIRRORS_MAX = 16 };

static void mirror_done(struct registry_mirror *mirror)
{
    free(mirror->url);
    free(mirror->host);
    free(mirror->username);
    free(mirror->password_file);
    *mirror = (struct registry_mirror){ 0 };
}

void registry_rules_done(struct registry_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        struct registry_rule *rule = &rules->rules[i];
        for (size_t k = 0; k < rule->mirror_count; k++)
            mirror_done(&rule->mirrors[k]);
        free(rule->mirrors);
        free(rule->name);
    }
    free(rules->rules);
    *rules = (struct registry_rules){ 0 };
}

// --- reading
static bool is_host(const char *text, size_t n)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
    return n > 0 && n < 256 && strspn(text, allowed) >= n;
}

// A password in a URL would end in every log, and a query in front of the path is nobody's mirror.
static int read_url(const char *url, struct registry_mirror *ret, struct error *err)
{
    size_t scheme = str_has_prefix(url, "https://") ? 8 : str_has_prefix(url, "http://") ? 7 : 0;
    const char *host = url + scheme;
    size_t n = strcspn(host, "/"), length = strlen(url);
    if (!scheme)
        return error_set(err, ERROR_INVALID, "invalid mirror: unsupported scheme in \"%s\"", url);
    if (strpbrk(url, "?#"))
        return error_set(err, ERROR_INVALID, "invalid mirror: query or fragment at end of the URI \"%s\"",
                         url);
    if (strchr(url, '@'))
        return error_set(err, ERROR_INVALID,
                         "invalid mirror: username/password not allowed in URI of host \"%s\"",
                         strrchr(url, '@') + 1);
    if (!is_host(host, n) || strpbrk(url, " \t\r\n\\"))
        return error_set(err, ERROR_INVALID, "invalid mirror: \"%s\" has no host", url);
    while (url[length - 1] == '/')
        length--;
    ret->url = xstrndup(url, length);
    ret->host = xstrndup(host, n);
    return 0;
}

static int refuse_unknown(const json_t *object, const char *const *known, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (known[i] && !streq(known[i], key))
            i++;
        if (!known[i])
            return error_set(err, ERROR_INVALID, "unknown member \"%s\"", key);
    }
    return 0;
}

static int read_mirror(const json_t *json, struct registry_mirror *ret, struct error *err)
{
    static const char *const known[] = { "url", "username", "password-file", NULL };
    if (json_is_string(json))
        return read_url(json_string_value(json), ret, err);
    if (!json_is_object(json) || !json_is_string(json_object_get(json, "url")))
        return error_set(err, ERROR_INVALID, "a mirror is a URL, or an object with a \"url\"");
    const char *username = json_get_string(json, "username", NULL),
               *file = json_get_string(json, "password-file", NULL);
    if (refuse_unknown(json, known, err) < 0)
        return -1;
    if (!username != !file || (file && *file != '/'))
        return error_set(err, ERROR_INVALID,
                         "credentials of a mirror are a \"username\" and a \"password-file\" (absolute)");
    if (read_url(json_get_string(json, "url", ""), ret, err) < 0)
        return -1;
    ret->username = xstrdup(username);
    ret->password_file = xstrdup(file);
    return 0;
}

static int add_mirror(struct registry_rule *rule, const json_t *json, struct error *err)
{
    struct registry_mirror mirror = { 0 };
    if (rule->mirror_count == MIRRORS_MAX)
        return error_set(err, ERROR_INVALID, "more than %d mirrors", MIRRORS_MAX);
    if (read_mirror(json, &mirror, err) < 0)
        return -1;
    rule->mirrors = xreallocarray(rule->mirrors, rule->mirror_count + 1, sizeof *rule->mirrors);
    rule->mirrors[rule->mirror_count++] = mirror;
    return 0;
}

static int read_flag(const json_t *json, const char *key, bool *ret, struct error *err)
{
    const json_t *value = json_object_get(json, key);
    if (value && !json_is_boolean(value))
        return error_set(err, ERROR_INVALID, "\"%s\" is not a boolean", key);
    *ret = json_is_true(value);
    return 0;
}

// Into a rule that belongs to the list already, so that a failure leaves nothing behind.
static int read_rule(const json_t *json, struct registry_rule *rule, struct error *err)
{
    static const char *const known[] = { "mirrors", "insecure", "blocked", NULL };
    const json_t *mirrors = json_object_get(json, "mirrors");
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "not an object");
    if (refuse_unknown(json, known, err) < 0 || read_flag(json, "insecure", &rule->is_insecure, err) < 0 ||
        read_flag(json, "blocked", &rule->is_blocked, err) < 0)
        return -1;
    if (rule->is_insecure && strpbrk(rule->name, "*/"))
        return error_set(err, ERROR_INVALID, "\"insecure\" is a matter of one host");
    if (mirrors && !json_is_array(mirrors))
        return error_set(err, ERROR_INVALID, "\"mirrors\" is not a list");
    for (size_t i = 0; i < json_array_size(mirrors); i++)
        if (add_mirror(rule, json_array_get(mirrors, i), err) < 0)
            return -1;
    return 0;
}

static bool is_rule_name(const char *name)
{
    size_t n = strcspn(name, "/");
    const char *host = str_has_prefix(name, "*.") ? name + 2 : name;
    size_t host_n = n - (size_t)(host - name);
    return is_host(host, host_n) && !str_has_suffix(name, "/") && !strpbrk(name, " \t\r\n\\@");
}

static struct registry_rule *add_rule(struct registry_rules *rules, const char *name)
{
    rules->rules = xreallocarray(rules->rules, rules->count + 1, sizeof *rules->rules);
    struct registry_rule *rule = &rules->rules[rules->count++];
    *rule = (struct registry_rule){ .name = xstrdup(streq(name, "index.docker.io") ? "docker.io" : name) };
    return rule;
}

static struct registry_rule *find_named(const struct registry_rules *rules, const char *name)
{
    for (size_t i = 0; i < rules->count; i++)
        if (streq(rules->rules[i].name, name))
            return &rules->rules[i];
    return NULL;
}

int registry_rules_add(struct registry_rules *rules, const json_t *document, struct error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(document))
        return error_set(err, ERROR_INVALID, "registries: not an object");
    json_object_foreach((json_t *)(uintptr_t)document, name, value)
    {
        if (!is_rule_name(name))
            return error_set(err, ERROR_INVALID, "registries: \"%s\" is no name of a registry", name);
        if (rules->count == RULES_MAX || find_named(rules, name))
            return error_set(err, ERROR_INVALID, "registries: %s: given twice, or too many", name);
        if (read_rule(value, add_rule(rules, name), err) < 0)
            return error_wrap(err, "registries: %s", name);
    }
    return 0;
}

int registry_rules_add_mirror(struct registry_rules *rules, const char *url, struct error *err)
{
    CLEANUP(json_cleanup) json_t *json = json_string(url);
    struct registry_rule *rule = find_named(rules, "docker.io");
    return add_mirror(rule ? rule : add_rule(rules, "docker.io"), json, err);
}

// --- looking up
// "quay.io" fits quay.io and all in it; "quay.io/team" the repositories below team/ (and one of that very name);
// "*.corp.example" any host that ends so.
static bool fits(const char *name, const char *domain, const char *repository)
{
    size_t n = strcspn(name, "/"), domain_n = strlen(domain);
    if (name[0] == '*') {
        if (domain_n < n || memcmp(domain + domain_n - (n - 1), name + 1, n - 1) != 0)
            return false;
    } else if (domain_n != n || memcmp(domain, name, n) != 0) {
        return false;
    }
    if (name[n] == '\0')
        return true;
    const char *prefix = name + n + 1;
    size_t prefix_n = strlen(prefix);
    return str_has_prefix(repository, prefix) &&
           (repository[prefix_n] == '\0' || repository[prefix_n] == '/');
}

static bool is_more_specific(const char *a, const char *b)
{
    bool has_star = a[0] == '*', other_has = b[0] == '*';
    return has_star != other_has ? other_has : strlen(a) > strlen(b);
}

const struct registry_rule *registry_rules_find(const struct registry_rules *rules, const char *domain,
                                                const char *repository)
{
    const struct registry_rule *best = NULL;
    for (size_t i = 0; i < rules->count; i++) {
        const struct registry_rule *rule = &rules->rules[i];
        if (fits(rule->name, domain, repository) && (!best || is_more_specific(rule->name, best->name)))
            best = rule;
    }
    return best;
}

bool registry_rules_forbid(const struct registry_rules *rules, const char *domain, const char *repository)
{
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rules[i].is_blocked && fits(rules->rules[i].name, domain, repository))
            return true;
    return false;
}
