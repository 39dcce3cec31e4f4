// Theory of operation
//
// A head is parsed once, from bytes that are already in memory, into borrowed strings of one owned buffer. The parser
// is deliberately narrower than RFC 9112 allows recipients to be, because every leniency is a way for two parsers on
// one connection to disagree (request smuggling):
//  1. Lines end with CRLF. A lone CR, a lone LF or a NUL anywhere refuses the message.
//  2. Field names are tokens directly followed by ':'. Folded lines are refused.
//  3. Only HTTP/1.0 and HTTP/1.1 are spoken.
//  4. Sizes are bounded before anything is allocated (HTTP_HEAD_MAX, HTTP_HEADERS_MAX).
#include "http/http.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

// RFC 9110 5.6.2 tchar
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!is_token_char((unsigned char)*s))
            return false;
    return true;
}

// Where the head ends (just after its empty line), 0: not yet, -1: a byte that has no place in a head.
static ssize_t find_end(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == 0)
            return -1;
        if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r'))
            return -1;
        if (bytes[i] == '\r') {
            if (i + 1 == n)
                return 0;
            if (bytes[i + 1] != '\n')
                return -1;
            if (i >= 2 && bytes[i - 1] == '\n')
                return (ssize_t)(i + 2);
        }
    }
    return 0;
}

static bool parse_version(const char *s, int *ret_minor)
{
    if (strcmp(s, "HTTP/1.1") == 0)
        *ret_minor = 1;
    else if (strcmp(s, "HTTP/1.0") == 0)
        *ret_minor = 0;
    else
        return false;
    return true;
}

static bool target_is_fine(const char *s)
{
    if (*s != '/' && strcmp(s, "*") != 0 && strncasecmp(s, "http://", 7) != 0 &&
        strncasecmp(s, "https://", 8) != 0)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || *s == 0x7f)
            return false;
    return true;
}

static int parse_request_line(char *line, struct http_head *head, struct error *err)
{
    char *target = strchr(line, ' ');
    if (!target)
        return error_set(err, ERROR_INVALID, "malformed HTTP request line");
    *target++ = 0;
    char *version = strchr(target, ' ');
    if (!version)
        return error_set(err, ERROR_INVALID, "malformed HTTP request line");
    *version++ = 0;
    if (!is_token(line) || !target_is_fine(target))
        return error_set(err, ERROR_INVALID, "malformed HTTP request line");
    if (!parse_version(version, &head->minor))
        return error_set(err, ERROR_INVALID, "unsupported HTTP version");
    head->method = line;
    head->target = target;
    return 0;
}

static int parse_status_line(char *line, struct http_head *head, struct error *err)
{
    char *status = strchr(line, ' ');
    if (!status)
        return error_set(err, ERROR_INVALID, "malformed HTTP status line");
    *status++ = 0;
    if (!parse_version(line, &head->minor))
        return error_set(err, ERROR_INVALID, "unsupported HTTP version");
    for (int i = 0; i < 3; i++)
        if (status[i] < '0' || status[i] > '9')
            return error_set(err, ERROR_INVALID, "malformed HTTP status line");
    if (status[3] != 0 && status[3] != ' ')
        return error_set(err, ERROR_INVALID, "malformed HTTP status line");
    head->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
    if (head->status < 100)
        return error_set(err, ERROR_INVALID, "malformed HTTP status line");
    return 0;
}

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = 0;
    return s;
}

static int parse_field(char *line, struct http_head *head, struct error *err)
{
    if (head->header_count == HTTP_HEADERS_MAX)
        return error_set(err, ERROR_INVALID, "more than %d HTTP header fields", HTTP_HEADERS_MAX);
    if (*line == ' ' || *line == '\t')
        return error_set(err, ERROR_INVALID, "folded HTTP header field");
    char *colon = strchr(line, ':');
    if (!colon)
        return error_set(err, ERROR_INVALID, "malformed HTTP header field");
    *colon = 0;
    if (!is_token(line))
        return error_set(err, ERROR_INVALID, "malformed HTTP header field name");
    char *value = trim(colon + 1);
    for (const char *p = value; *p; p++)
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
            return error_set(err, ERROR_INVALID, "control character in HTTP header field");
    head->headers[head->header_count++] = (struct http_header){ .name = line, .value = value };
    return 0;
}

static int parse_lines(char *text, struct http_head *head, struct error *err)
{
    bool is_first = true;
    for (char *line = text, *end; (end = strstr(line, "\r\n")) && end != line; line = end + 2) {
        *end = 0;
        int r = !is_first          ? parse_field(line, head, err)
                : head->is_request ? parse_request_line(line, head, err)
                                   : parse_status_line(line, head, err);
        if (r < 0)
            return r;
        is_first = false;
    }
    return is_first ? error_set(err, ERROR_INVALID, "empty HTTP head") : 0;
}

int http_head_parse(const char *bytes, size_t n, bool is_request, struct http_head *ret, size_t *ret_used,
                    struct error *err)
{
    // RFC 9112 2.2: an empty line in front of a request is to be skipped (old clients sent one after a body).
    size_t skipped = is_request && n >= 2 && bytes[0] == '\r' && bytes[1] == '\n' ? 2 : 0;
    ssize_t used = find_end(bytes + skipped, n - skipped);
    if (used < 0)
        return error_set(err, ERROR_INVALID, "malformed HTTP head: bare line end or NUL");
    if (used > HTTP_HEAD_MAX || (used == 0 && n >= HTTP_HEAD_MAX))
        return error_set(err, ERROR_INVALID, "HTTP head larger than %d bytes", HTTP_HEAD_MAX);
    if (used == 0)
        return 0;
    struct http_head head = { .is_request = is_request, .buffer = xstrndup(bytes + skipped, (size_t)used) };
    if (parse_lines(head.buffer, &head, err) < 0) {
        http_head_done(&head);
        return -1;
    }
    *ret = head;
    *ret_used = (size_t)used + skipped;
    return 1;
}

void http_head_done(struct http_head *head)
{
    free(head->buffer);
    *head = (struct http_head){ 0 };
}

const char *http_head_get(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (strcasecmp(head->headers[i].name, name) == 0)
            return head->headers[i].value;
    return NULL;
}
