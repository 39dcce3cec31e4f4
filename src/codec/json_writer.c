#include "codec/json_writer.h"

#include "codec/json.h"

#include <string.h>

static void begin(struct json_writer *w, const char *key)
{
    if (w->has_member)
        str_append_char(w->out, ',');
    w->has_member = true;
    if (!key)
        return;
    json_append_quoted(w->out, key, strlen(key));
    str_append_char(w->out, ':');
}

void json_write_open(struct json_writer *w, const char *key, char bracket)
{
    begin(w, key);
    str_append_char(w->out, bracket);
    w->has_member = false;
}

void json_write_close(struct json_writer *w, char bracket)
{
    str_append_char(w->out, bracket);
    w->has_member = true;
}

void json_write_uint(struct json_writer *w, const char *key, uint64_t value)
{
    char digits[20], *at = digits + sizeof digits;
    begin(w, key);
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    str_append_n(w->out, at, (size_t)(digits + sizeof digits - at));
}

void json_write_string(struct json_writer *w, const char *key, const char *value)
{
    begin(w, key);
    json_append_quoted(w->out, value, strlen(value));
}

void json_write_null(struct json_writer *w, const char *key)
{
    begin(w, key);
    str_append(w->out, "null");
}
