#include "codec/yaml.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader_state {
    yaml_parser_t parser;
    struct error *err;
};

static int problem(struct reader_state *r, const char *what)
{
    return error_set(r->err, ERROR_INVALID, "yaml: line %zu: %s", r->parser.mark.line + 1, what);
}

static int next(struct reader_state *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    return problem(r, r->parser.problem ? r->parser.problem : "cannot be read");
}

static json_t *plain_scalar(const char *text)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    int64_t number;
    char *end;
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (streq(text, nulls[i]))
            return json_null();
    if (streq(text, "true") || streq(text, "True") || streq(text, "TRUE"))
        return json_true();
    if (streq(text, "false") || streq(text, "False") || streq(text, "FALSE"))
        return json_false();
    if (parse_i64(text, INT64_MIN, INT64_MAX, &number))
        return json_integer(number);
    if (text[0] == '0' && text[1] == 'o' && text[2]) {
        long long octal = strtoll(text + 2, &end, 8);
        if (!*end)
            return json_integer(octal);
    }
    if (strspn(text, "+-.0123456789eE") == strlen(text) && strpbrk(text, "0123456789")) {
        double real = strtod(text, &end);
        if (!*end)
            return json_real(real);
    }
    return json_string(text);
}

static int node(struct reader_state *r, const yaml_event_t *event, unsigned depth, json_t **ret);

static int sequence(struct reader_state *r, unsigned depth, json_t *array)
{
    for (;;) {
        yaml_event_t event;
        json_t *item = NULL;
        if (next(r, &event) < 0)
            return -1;
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
        int result = is_end ? 0 : node(r, &event, depth, &item);
        yaml_event_delete(&event);
        if (result < 0 || is_end)
            return result;
        json_array_append_new(array, item);
    }
}

static int pair(struct reader_state *r, const yaml_event_t *key, unsigned depth, json_t *object)
{
    yaml_event_t value;
    json_t *item = NULL;
    if (key->type != YAML_SCALAR_EVENT)
        return problem(r, "a key must be a string");
    const char *name = (const char *)key->data.scalar.value;
    if (json_object_get(object, name))
        return problem(r, "a key stands twice");
    if (next(r, &value) < 0)
        return -1;
    int result = node(r, &value, depth, &item);
    yaml_event_delete(&value);
    if (result == 0 && json_object_set_new(object, name, item) < 0)
        return problem(r, "a key is not UTF-8");
    return result;
}

static int mapping(struct reader_state *r, unsigned depth, json_t *object)
{
    for (;;) {
        yaml_event_t event;
        if (next(r, &event) < 0)
            return -1;
        bool is_end = event.type == YAML_MAPPING_END_EVENT;
        int result = is_end ? 0 : pair(r, &event, depth, object);
        yaml_event_delete(&event);
        if (result < 0 || is_end)
            return result;
    }
}

// *ret is set on success only.
static int node(struct reader_state *r, const yaml_event_t *event, unsigned depth, json_t **ret)
{
    json_t *value CLEANUP(json_cleanup) = NULL;
    int result = 0;
    if (depth > JSON_DEPTH_MAX)
        return problem(r, "nested too deeply");
    switch (event->type) {
    case YAML_SCALAR_EVENT: {
        const char *text = (const char *)event->data.scalar.value;
        value = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(text) : json_string(text);
        break;
    }
    case YAML_SEQUENCE_START_EVENT:
        value = json_array();
        result = sequence(r, depth + 1, value);
        break;
    case YAML_MAPPING_START_EVENT:
        value = json_object();
        result = mapping(r, depth + 1, value);
        break;
    default: // an alias could make little text grow without bound
        return problem(r, "aliases are not taken");
    }
    if (result < 0)
        return -1;
    if (!value)
        return problem(r, "a string is not UTF-8");
    *ret = TAKE_PTR(value);
    return 0;
}

static int document(struct reader_state *r, json_t **ret)
{
    yaml_event_t event;
    for (;;) { // stream start, document start
        if (next(r, &event) < 0)
            return -1;
        if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT)
            break;
        yaml_event_delete(&event);
    }
    int result = event.type == YAML_STREAM_END_EVENT ? problem(r, "no document") : node(r, &event, 0, ret);
    yaml_event_delete(&event);
    return result;
}

int yaml_parse(const char *text, size_t n, json_t **ret, struct error *err)
{
    struct reader_state r = { .err = err };
    if (!yaml_parser_initialize(&r.parser))
        abort(); // out of memory
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    int result = document(&r, ret);
    yaml_parser_delete(&r.parser);
    return result;
}
