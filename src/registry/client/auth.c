#include "registry/client/auth.h"

#include "base/mem.h"
#include "codec/json.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void auth_challenge_done(struct auth_challenge *challenge)
{
    free(challenge->realm);
    free(challenge->service);
    free(challenge->scope);
    free(challenge->error);
    *challenge = (struct auth_challenge){ 0 };
}

static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_spaces(const char *s)
{
    return s + strspn(s, " \t");
}

static const char *read_token(const char *s, char **ret)
{
    const char *end = s;
    while (is_token_char(*end))
        end++;
    *ret = end > s ? xstrndup(s, (size_t)(end - s)) : NULL;
    return end;
}

// A quoted string, or what registries send without quotes: anything up to a comma or space. NULL when
// malformed.
static const char *read_value(const char *s, char **ret)
{
    size_t plain = strcspn(s, " \t,\"");
    if (*s != '"') {
        *ret = plain > 0 ? xstrndup(s, plain) : NULL;
        return s + plain;
    }
    struct str text = STR_INIT;
    for (s++; *s && *s != '"'; s++) {
        if (*s == '\\' && s[1])
            s++;
        str_append_char(&text, *s);
    }
    if (*s != '"') {
        str_done(&text);
        return NULL;
    }
    *ret = str_take(&text);
    return s + 1;
}

static void keep(char **slot, char *value)
{
    if (*slot)
        free(value);
    else
        *slot = value;
}

static void keep_parameter(struct auth_challenge *challenge, bool is_bearer, const char *name, char *value)
{
    if (is_bearer && strcasecmp(name, "realm") == 0)
        keep(&challenge->realm, value);
    else if (is_bearer && strcasecmp(name, "service") == 0)
        keep(&challenge->service, value);
    else if (is_bearer && strcasecmp(name, "scope") == 0)
        keep(&challenge->scope, value);
    else if (is_bearer && strcasecmp(name, "error") == 0)
        keep(&challenge->error, value);
    else
        free(value);
}

// Scheme and parameters share one comma-separated list: a word followed by "=" is a parameter of the last
// scheme, any other word begins a challenge.
void auth_challenge_read(const char *value, struct auth_challenge *challenge)
{
    bool is_bearer = false;
    const char *s = value;
    while (s && *(s += strspn(s, " \t,"))) {
        CLEANUP(cleanup_free) char *word = NULL;
        s = read_token(s, &word);
        if (!word)
            return;
        const char *after = skip_spaces(s);
        if (*after == '=') {
            char *text = NULL;
            s = read_value(skip_spaces(after + 1), &text);
            if (text)
                keep_parameter(challenge, is_bearer, word, text);
            continue;
        }
        is_bearer = strcasecmp(word, "bearer") == 0;
        challenge->has_bearer = challenge->has_bearer || is_bearer;
        challenge->has_basic = challenge->has_basic || strcasecmp(word, "basic") == 0;
    }
}

static void append_base64(struct str *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned a = bytes[i], b = i + 1 < n ? bytes[i + 1] : 0, c = i + 2 < n ? bytes[i + 2] : 0;
        str_append_char(out, digits[a >> 2]);
        str_append_char(out, digits[(a & 3) << 4 | b >> 4]);
        str_append_char(out, i + 1 < n ? digits[(b & 15) << 2 | c >> 6] : '=');
        str_append_char(out, i + 2 < n ? digits[c & 63] : '=');
    }
}

char *auth_basic(const char *username, const char *password)
{
    CLEANUP(cleanup_free) char *pair = xasprintf("%s:%s", username, password ? password : "");
    struct str text = STR_INIT;
    str_append(&text, "Basic ");
    append_base64(&text, (const unsigned char *)pair, strlen(pair));
    return str_take(&text);
}

char *auth_bearer(const char *token)
{
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return NULL;
    return xasprintf("Bearer %s", token);
}

int auth_token_parse(const char *bytes, size_t n, char **ret, char **ret_refresh, struct error *err)
{
    CLEANUP(json_cleanup) json_t *json = NULL;
    if (json_parse(bytes, n, &json, err) < 0)
        return error_wrap(err, "token server's answer");
    const char *token = json_get_string(json, "token", "");
    if (str_is_empty(token))
        token = json_get_string(json, "access_token", "");
    if (str_is_empty(token))
        return error_set(err, ERROR_INVALID, "authorization server did not include a token in the response");
    *ret = xstrdup(token);
    const char *refresh = json_get_string(json, "refresh_token", "");
    if (ret_refresh)
        *ret_refresh = *refresh ? xstrdup(refresh) : NULL;
    return 0;
}

char *auth_error_text(const char *bytes, size_t n, char **ret_code)
{
    struct error ignored;
    CLEANUP(json_cleanup) json_t *json = NULL;
    if (json_parse(bytes, n, &json, &ignored) < 0)
        return NULL;
    const json_t *first = json_array_get(json_get_array(json, "errors"), 0);
    const char *code = json_get_string(first, "code", NULL), *message = json_get_string(first, "message", "");
    if (!code)
        return NULL;
    struct str text = STR_INIT;
    for (const char *c = code; *c; c++)
        str_append_char(&text, *c == '_' ? ' ' : (char)tolower((unsigned char)*c));
    str_append(&text, ": ");
    str_append(&text, message);
    // It ends up on somebody's terminal.
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            text.ptr[i] = ' ';
    if (ret_code)
        *ret_code = xstrdup(code);
    return str_take(&text);
}

void auth_append_escaped(struct str *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c) || strchr("-._~", *c))
            str_append_char(out, *c);
        else
            str_appendf(out, "%%%02X", (unsigned)(unsigned char)*c);
    }
}
