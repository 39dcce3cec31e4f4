// Theory of operation. The grammar is that of distribution's reference package:
//
//   reference  = name [ ":" tag ] [ "@" digest ]
//   name       = [ domain "/" ] path-component *( "/" path-component )
//   domain     = component *( "." component ) [ ":" port ]  or  "[" IPv6 "]" [ ":" port ]
//   component  = alphanumeric, '-' inside;   path-component = [a-z0-9]+ joined by ".", "_", "__" or dashes
//   tag        = [A-Za-z0-9_][A-Za-z0-9_.-]{0,127};  digest = "sha256:" 64 hex
//
// and Docker's normalisation: what stands before the first slash is a domain only when it has a '.' or ':', is
// "localhost", or has capitals; otherwise it is docker.io, and a single component there is below library/.
#include "image/reference.h"

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/content.h"

#include <fnmatch.h>
#include <stdbool.h>
#include <string.h>

enum { NAME_LENGTH_MAX = 255, TAG_LENGTH_MAX = 128 };

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_letter_or_digit(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

// [a-z0-9]+ ( ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ )*
static bool path_component_is_valid(const char *s, size_t n)
{
    size_t i = 0;
    for (;;) {
        size_t start = i;
        while (i < n && is_lower_or_digit(s[i]))
            i++;
        if (i == start)
            return false;
        if (i == n)
            return true;
        if (s[i] == '.') {
            i++;
        } else if (s[i] == '_') {
            i += i + 1 < n && s[i + 1] == '_' ? 2 : 1;
        } else if (s[i] == '-') {
            while (i < n && s[i] == '-')
                i++;
        } else {
            return false;
        }
    }
}

static bool path_is_valid(const char *s)
{
    for (;;) {
        size_t n = strcspn(s, "/");
        if (!path_component_is_valid(s, n))
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}

static bool port_is_valid(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

static bool host_is_valid(const char *s, size_t n)
{
    size_t label = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i == n || s[i] == '.') {
            if (i == label || s[label] == '-' || s[i - 1] == '-')
                return false;
            label = i + 1;
        } else if (!is_letter_or_digit(s[i]) && s[i] != '-') {
            return false;
        }
    }
    return true;
}

static bool domain_is_valid(const char *s)
{
    if (*s == '[') {
        const char *end = strchr(s, ']');
        if (!end || end == s + 1 || strspn(s + 1, "0123456789abcdefABCDEF:") != (size_t)(end - s - 1))
            return false;
        return !end[1] || (end[1] == ':' && port_is_valid(end + 2));
    }
    const char *colon = strchr(s, ':');
    if (colon && !port_is_valid(colon + 1))
        return false;
    return host_is_valid(s, colon ? (size_t)(colon - s) : strlen(s));
}

static bool tag_is_valid(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > TAG_LENGTH_MAX || !(is_letter_or_digit(s[0]) || s[0] == '_'))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!is_letter_or_digit(s[i]) && !strchr("_.-", s[i]))
            return false;
    return true;
}

static bool has_capital(const char *s)
{
    for (; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            return true;
    return false;
}

// Is what stands before the first slash a domain?
static bool is_domain(const char *first)
{
    return strpbrk(first, ".:") || streq(first, "localhost") || has_capital(first);
}

static void split_domain(const char *name, struct reference *r)
{
    const char *slash = strchr(name, '/');
    char *first CLEANUP(cleanup_free) = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;
    if (first && is_domain(first)) {
        r->domain = streq(first, "index.docker.io") ? xstrdup("docker.io") : TAKE_PTR(first);
        r->repository = xstrdup(slash + 1);
    } else {
        r->domain = xstrdup("docker.io");
        r->repository = xstrdup(name);
    }
    if (streq(r->domain, "docker.io") && !strchr(r->repository, '/')) {
        char *below = xasprintf("library/%s", r->repository);
        free(r->repository);
        r->repository = below;
    }
}

static int invalid(struct error *err, const char *message)
{
    return error_set(err, ERROR_INVALID, "%s", message);
}

// Cut "@digest" and ":tag" off the end of text.
static int take_suffixes(char *text, struct reference *r, struct error *err)
{
    char *at = strchr(text, '@');
    if (at) {
        *at = 0;
        if (!digest_is_valid(at + 1))
            return invalid(err, "invalid reference format");
        r->digest = xstrdup(at + 1);
    }
    char *slash = strrchr(text, '/');
    char *colon = strrchr(slash ? slash : text, ':');
    if (colon) {
        *colon = 0;
        if (!tag_is_valid(colon + 1))
            return invalid(err, "invalid reference format");
        r->tag = xstrdup(colon + 1);
    }
    return 0;
}

static int parse(const char *text, struct reference *r, struct error *err)
{
    char *name CLEANUP(cleanup_free) = xstrdup(text);
    if (take_suffixes(name, r, err) < 0)
        return -1;
    split_domain(name, r);
    if (!domain_is_valid(r->domain))
        return invalid(err, "invalid reference format");
    if (has_capital(r->repository))
        return invalid(err, "invalid reference format: repository name must be lowercase");
    if (!path_is_valid(r->repository))
        return invalid(err, "invalid reference format");
    if (strlen(r->domain) + 1 + strlen(r->repository) > NAME_LENGTH_MAX)
        return invalid(err, "repository name must not be more than 255 characters");
    return 0;
}

int reference_parse(const char *text, int default_tag, struct reference *ret, struct error *err)
{
    struct reference r = { 0 };
    if (str_is_empty(text))
        return invalid(err, "invalid reference format");
    if (id_is_full(text))
        return error_set(err, ERROR_INVALID,
                         "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);
    if (parse(text, &r, err) < 0) {
        reference_done(&r);
        return -1;
    }
    if (default_tag && !r.tag && !r.digest)
        r.tag = xstrdup("latest");
    *ret = r;
    return 0;
}

void reference_done(struct reference *r)
{
    free(r->domain);
    free(r->repository);
    free(r->tag);
    free(r->digest);
    *r = (struct reference){ 0 };
}

static char *with_suffixes(const char *name, const struct reference *r)
{
    return xasprintf("%s%s%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "", r->digest ? "@" : "",
                     r->digest ? r->digest : "");
}

char *reference_full(const struct reference *r)
{
    char *name CLEANUP(cleanup_free) = xasprintf("%s/%s", r->domain, r->repository);
    return with_suffixes(name, r);
}

char *reference_familiar_name(const struct reference *r)
{
    if (!streq(r->domain, "docker.io"))
        return xasprintf("%s/%s", r->domain, r->repository);
    if (!str_has_prefix(r->repository, "library/") || strchr(r->repository + strlen("library/"), '/'))
        return xstrdup(r->repository);
    return xstrdup(r->repository + strlen("library/"));
}

char *reference_familiar(const struct reference *r)
{
    char *name CLEANUP(cleanup_free) = reference_familiar_name(r);
    return with_suffixes(name, r);
}

bool reference_matches(const char *pattern, const char *familiar)
{
    const char *slash = strrchr(familiar, '/');
    size_t n = strcspn(slash ? slash : familiar, ":@") + (slash ? (size_t)(slash - familiar) : 0);
    char *name CLEANUP(cleanup_free) = xstrndup(familiar, n);
    return fnmatch(pattern, familiar, FNM_PATHNAME) == 0 || fnmatch(pattern, name, FNM_PATHNAME) == 0;
}
