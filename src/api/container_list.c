// GET /containers/json: filters and the list.
#include "api/container_document.h"
#include "api/filters.h"
#include "base/mem.h"
#include "base/num.h"
#include "wire/routes.h"

#include <string.h>

static const char *const accepted[] = { "ancestor", "before",    "exited", "expose", "health",  "id",
                                        "is-task",  "isolation", "label",  "name",   "network", "publish",
                                        "since",    "status",    "volume", NULL };

struct port_filter {
    long first, last;
    const char *protocol;
};

// "80", "80/tcp", "80-90/udp".
static bool port_filter_parse(const char *text, struct port_filter *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    ret->first = ret->last = strtol(text, &end, 10);
    if (*end == '-') {
        const char *second = end + 1;
        ret->last = *second >= '0' && *second <= '9' ? strtol(second, &end, 10) : -1;
    }
    ret->protocol = *end == '/' ? end + 1 : "tcp";
    return (*end == 0 || *end == '/') && ret->first <= ret->last && ret->last <= 65535;
}

static int check_ports(const struct filters *filters, struct error *err)
{
    static const char *const keys[] = { "expose", "publish" };
    struct port_filter ignored;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < filters_count(filters, keys[k]); i++) {
            const char *text = filters_at(filters, keys[k], i);
            if (strchr(text, ':'))
                return error_set(err, ERROR_INVALID, "filter for '%s' should not contain ':': %s", keys[k],
                                 text);
            if (!port_filter_parse(text, &ignored))
                return error_set(err, ERROR_INVALID, "error while looking up for %s %s: invalid port",
                                 keys[k], text);
        }
    return 0;
}

static int check(const struct filters *filters, struct error *err)
{
    static const char *const healths[] = { "healthy", "none", "starting", "unhealthy", NULL };
    for (size_t i = 0; i < filters_count(filters, "status"); i++) {
        const char *value = filters_at(filters, "status", i);
        bool is_known = false;
        for (int s = 0; s < CONTAINER_STATUS_COUNT; s++)
            is_known = is_known || streq(value, container_status_name((enum container_status)s));
        if (!is_known)
            return error_set(err, ERROR_INVALID, "invalid filter 'status=%s'", value);
    }
    for (size_t i = 0; i < filters_count(filters, "health"); i++) {
        bool is_known = false;
        for (size_t k = 0; healths[k]; k++)
            is_known = is_known || streq(filters_at(filters, "health", i), healths[k]);
        if (!is_known)
            return error_set(err, ERROR_INVALID, "invalid filter 'health=%s'",
                             filters_at(filters, "health", i));
    }
    for (size_t i = 0; i < filters_count(filters, "exited"); i++) {
        int64_t code;
        const char *text = filters_at(filters, "exited", i);
        if (!parse_i64(text, INT32_MIN, INT32_MAX, &code))
            return error_set(err, ERROR_INVALID, "strconv.Atoi: parsing \"%s\": invalid syntax", text);
    }
    bool ignored;
    return filters_bool(filters, "is-task", false, &ignored, err) < 0 ? -1 : check_ports(filters, err);
}

// Image ids that `ancestor` allows: the named images and those built on them (whose layers begin with theirs). Owned.
static char **ancestors(const struct request *request, const struct filters *filters)
{
    char **ids = NULL;
    struct error ignored;
    for (size_t i = 0; i < filters_count(filters, "ancestor"); i++) {
        struct image *base = NULL, **all = NULL;
        if (image_get(request->engine->images, filters_at(filters, "ancestor", i), &base, &ignored) < 0)
            continue;
        strv_push(&ids, base->id);
        size_t n = strv_len(base->diff_ids);
        if (n && image_list(request->engine->images, &all, &ignored) == 0) {
            for (size_t k = 0; all[k]; k++) {
                size_t same = 0;
                while (same < n && all[k]->diff_ids[same] &&
                       streq(all[k]->diff_ids[same], base->diff_ids[same]))
                    same++;
                if (same == n && strv_len(all[k]->diff_ids) > n)
                    strv_push(&ids, all[k]->id);
            }
            image_list_free(all);
        }
        image_free(base);
    }
    return ids;
}

static bool exited_passes(const struct filters *filters, const struct container_info *info)
{
    char text[16];
    snprintf(text, sizeof text, "%d", info->exit_code);
    return !filters_count(filters, "exited") ||
           (info->status == CONTAINER_EXITED && filters_pass(filters, "exited", text));
}

static bool network_passes(const struct filters *filters, const struct container_info *info)
{
    if (!filters_count(filters, "network"))
        return true;
    const char *mode = container_network_mode(info), *name;
    json_t *config;
    bool passes = filters_pass(filters, "network", mode);
    json_object_foreach(info->networks, name, config) passes |= filters_pass(filters, "network", name);
    for (size_t i = 0; i < info->endpoint_count; i++)
        passes |= filters_pass_prefix(filters, "network", info->endpoints[i].network_id);
    return passes;
}

static bool volume_passes(const struct filters *filters, const struct container_info *info)
{
    if (!filters_count(filters, "volume"))
        return true;
    CLEANUP(json_cleanup) json_t *mounts = container_mounts_document(info);
    json_t *mount;
    size_t i;
    json_array_foreach(mounts, i, mount)
    {
        const char *keys[] = { "Name", "Source", "Destination" };
        for (size_t k = 0; k < 3; k++)
            if (json_get_string(mount, keys[k], NULL) &&
                filters_pass(filters, "volume", json_get_string(mount, keys[k], "")))
                return true;
    }
    return false;
}

static bool any_port_passes(const struct filters *filters, const char *key, const char *port_key,
                            const json_t *ports)
{
    for (size_t i = 0; i < filters_count(filters, key); i++) {
        struct port_filter wanted;
        size_t k;
        json_t *port;
        if (!port_filter_parse(filters_at(filters, key, i), &wanted))
            continue;
        json_array_foreach(ports, k, port)
        {
            int64_t number = json_get_int(port, port_key, -1);
            if (number >= wanted.first && number <= wanted.last &&
                streq(json_get_string(port, "Type", ""), wanted.protocol))
                return true;
        }
    }
    return false;
}

// As in Docker one port that is exposed or published as asked for is enough, when both are asked for, too.
static bool ports_pass(const struct filters *filters, const json_t *ports)
{
    if (!filters_count(filters, "expose") && !filters_count(filters, "publish"))
        return true;
    return any_port_passes(filters, "expose", "PrivatePort", ports) ||
           any_port_passes(filters, "publish", "PublicPort", ports);
}

static bool passes(const struct filters *filters, const struct container_info *info,
                   char *const *ancestor_ids)
{
    char with_slash[300];
    bool wants_tasks = false;
    struct error checked; // by check()
    (void)filters_bool(filters, "is-task", false, &wants_tasks, &checked);
    snprintf(with_slash, sizeof with_slash, "/%s", info->name);
    // No health checks and no swarm tasks yet: every container has health "none" and is no task.
    return filters_pass_regex(filters, "id", info->id) &&
           (filters_pass_regex(filters, "name", info->name) ||
            filters_pass_regex(filters, "name", with_slash)) &&
           filters_pass(filters, "status", container_status_name(info->status)) &&
           exited_passes(filters, info) &&
           filters_pass_labels(filters, "label", json_get_object(info->config, "Labels")) &&
           network_passes(filters, info) && volume_passes(filters, info) &&
           filters_pass(filters, "health", json_get_string(info->health, "Status", "none")) && !wants_tasks &&
           filters_pass(filters, "isolation", "") &&
           (!filters_count(filters, "ancestor") || strv_contains(ancestor_ids, info->image_id));
}

// The times between which a container must have been created, by `before` and `since`.
static int bounds(const struct request *request, const struct filters *filters, int64_t *ret_before,
                  int64_t *ret_since, struct error *err)
{
    const char *keys[] = { "before", "since" };
    int64_t *times[] = { ret_before, ret_since };
    for (size_t i = 0; i < 2; i++) {
        if (filters_count(filters, keys[i]) > 1)
            return error_set(err, ERROR_INVALID, "more than one %s filter specified", keys[i]);
        if (!filters_count(filters, keys[i]))
            continue;
        CLEANUP(container_info_freep) struct container_info *info = NULL;
        if (container_get(request->engine->containers, filters_at(filters, keys[i], 0), &info, err) < 0)
            return -1;
        *times[i] = info->created_ns;
    }
    return 0;
}

// The name it was made from while that still means the same image, else the id. `known` remembers answers: name -> id.
static const char *image_text(const struct request *request, const struct container_info *info, json_t *known)
{
    const char *id = json_get_string(known, info->image_name, NULL);
    if (!id) {
        struct image *image = NULL;
        struct error ignored;
        bool is_found = image_get(request->engine->images, info->image_name, &image, &ignored) == 0;
        json_set_string(known, info->image_name, is_found ? image->id : "");
        image_free(image);
        id = json_get_string(known, info->image_name, "");
    }
    return streq(id, info->image_id) ? info->image_name : info->image_id;
}

// Which containers, and how many at most (0: all).
struct selection {
    struct filters filters;
    int64_t limit, before_ns, since_ns;
    bool wants_sizes; // the walk takes time
};

// Where summaries go, one by one: a list of hundreds needs the memory of one. Takes the document.
typedef void summary_taker(void *context, json_t *document);

static void summarize(const struct request *request, const struct selection *selection,
                      struct container_info **list, summary_taker *take, void *context)
{
    CLEANUP(strv_freep) char **ancestor_ids = ancestors(request, &selection->filters);
    CLEANUP(json_cleanup) json_t *known = json_object();
    int64_t count = 0;
    for (size_t i = 0; list[i] && (selection->limit <= 0 || count < selection->limit); i++) {
        const struct container_info *info = list[i];
        if ((selection->before_ns && info->created_ns >= selection->before_ns) ||
            (selection->since_ns && info->created_ns <= selection->since_ns) ||
            !passes(&selection->filters, info, ancestor_ids))
            continue;
        json_t *document = container_summary_document(request, info, image_text(request, info, known));
        if (!ports_pass(&selection->filters, json_get_array(document, "Ports"))) {
            json_decref(document);
            continue;
        }
        if (selection->wants_sizes)
            container_add_sizes(request, info, document);
        take(context, document);
        count++;
    }
}

static void take_for_array(void *context, json_t *document)
{
    json_array_append_new(context, document);
}

static void take_for_text(void *context, json_t *document)
{
    struct str *text = context;
    if (text->len > 1)
        str_append_char(text, ',');
    json_append(text, document);
    json_decref(document);
}

json_t *container_summaries(const struct request *request)
{
    const struct selection all = { .wants_sizes = true };
    struct container_info **list = container_list(request->engine->containers, true);
    json_t *documents = json_array();
    summarize(request, &all, list, take_for_array, documents);
    container_list_free(list);
    return documents;
}

static int parse_selection(const struct request *request, struct selection *ret, struct error *err)
{
    if (filters_parse(request->query, accepted, &ret->filters, err) < 0 || check(&ret->filters, err) < 0 ||
        request_int(request, "limit", INT32_MIN, INT32_MAX, &ret->limit, err) < 0 ||
        bounds(request, &ret->filters, &ret->before_ns, &ret->since_ns, err) < 0)
        return -1;
    ret->wants_sizes = request_flag(request, "size", false);
    return 0;
}

static void selection_done(struct selection *selection)
{
    filters_done(&selection->filters);
}

int api_container_list(struct request *request, struct error *err)
{
    CLEANUP(selection_done) struct selection selection = { 0 };
    CLEANUP(str_done) struct str text = STR_INIT;
    if (parse_selection(request, &selection, err) < 0)
        return -1;
    bool wants_all = request_flag(request, "all", false) || selection.limit > 0 || selection.before_ns ||
                     selection.since_ns || filters_count(&selection.filters, "status") ||
                     filters_count(&selection.filters, "exited");
    struct container_info **list = container_list(request->engine->containers, wants_all);
    str_append_char(&text, '[');
    summarize(request, &selection, list, take_for_text, &text);
    container_list_free(list);
    str_append_char(&text, ']');
    return respond_json_text(request, 200, &text);
}
