#include "cli/rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/human.h"
#include "cli/template_funcs.h"
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>

char *rows_id(const char *id, bool truncates)
{
    const char *colon = strchr(id, ':');
    if (!truncates)
        return xstrdup(id);
    return xstrndup(colon ? colon + 1 : id, 12);
}

char *rows_labels(const json_t *labels)
{
    struct str text = STR_INIT;
    if (json_is_object(labels)) {
        const char **keys CLEANUP(cleanup_free) = template_sorted_keys(labels);
        for (size_t i = 0; keys[i]; i++)
            str_appendf(&text, "%s%s=%s", i ? "," : "", keys[i], json_get_string(labels, keys[i], ""));
    }
    return str_take(&text);
}

char *rows_since(int64_t created)
{
    char text[HUMAN_MAX];
    human_duration(time_now_ns() - created * NS_PER_S, text);
    return xasprintf("%s ago", text);
}

struct port {
    const char *ip, *protocol;
    int64_t inside, outside;
};

static int compare_ports(const void *left, const void *right)
{
    const struct port *a = left, *b = right;
    if (a->inside != b->inside)
        return a->inside < b->inside ? -1 : 1;
    int r = strcmp(a->ip, b->ip);
    if (r)
        return r;
    if (a->outside != b->outside)
        return a->outside < b->outside ? -1 : 1;
    return strcmp(a->protocol, b->protocol);
}

static void append_address(struct str *text, const char *ip)
{
    str_appendf(text, strchr(ip, ':') ? "[%s]:" : "%s:", ip);
}

// One entry for ports first..last, published from outside on (0: not published).
static void append_range(struct str *text, const struct port *first, int64_t last)
{
    int64_t width = last - first->inside;
    str_append(text, text->len ? ", " : "");
    if (first->outside) {
        append_address(text, first->ip);
        str_appendf(text, "%lld", (long long)first->outside);
        if (width)
            str_appendf(text, "-%lld", (long long)(first->outside + width));
        str_append(text, "->");
    }
    str_appendf(text, "%lld", (long long)first->inside);
    if (width)
        str_appendf(text, "-%lld", (long long)last);
    str_appendf(text, "/%s", first->protocol);
}

// Runs of one protocol and address with equal distances are one entry; those that are not published come
// first, as Docker's list has them.
static void append_runs(struct str *text, const struct port *ports, size_t n, bool published)
{
    bool *used CLEANUP(cleanup_free) = xcalloc(n + 1, sizeof *used);
    for (size_t i = 0; i < n; i++) {
        if (used[i] || (ports[i].outside != 0) != published)
            continue;
        int64_t last = ports[i].inside;
        for (size_t k = i + 1; k < n; k++) {
            const struct port *p = &ports[k];
            bool follows = p->inside == last + 1 && streq(p->protocol, ports[i].protocol) &&
                           (published ? streq(p->ip, ports[i].ip) &&
                                            p->outside == ports[i].outside + (p->inside - ports[i].inside)
                                      : p->outside == 0);
            if (!used[k] && follows) {
                used[k] = true;
                last = p->inside;
            }
        }
        append_range(text, &ports[i], last);
    }
}

char *rows_ports(const json_t *list)
{
    size_t n = json_array_size(list);
    struct port *ports CLEANUP(cleanup_free) = xcalloc(n + 1, sizeof *ports);
    struct str text = STR_INIT;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        ports[i] = (struct port){ .ip = json_get_string(item, "IP", ""),
                                  .protocol = json_get_string(item, "Type", "tcp"),
                                  .inside = json_get_int(item, "PrivatePort", 0),
                                  .outside = json_get_int(item, "PublicPort", 0) };
    }
    qsort(ports, n, sizeof *ports, compare_ports);
    append_runs(&text, ports, n, false);
    append_runs(&text, ports, n, true);
    return str_take(&text);
}
