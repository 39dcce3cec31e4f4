// Ping, version, info, events, and the parts of Docker's API that a single engine without swarm and plugins answers shortly.
#include "api/filters.h"
#include "api/host.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wire/routes.h"

#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

int api_ping(struct request *request, struct error *err)
{
    (void)err;
    http_exchange_add_header(request->http, "Swarm", "inactive");
    http_exchange_add_header(request->http, "Cache-Control", "no-cache, no-store, must-revalidate");
    http_exchange_add_header(request->http, "Pragma", "no-cache");
    http_reply(request->http, 200, "text/plain; charset=utf-8", "OK", 2);
    return 0;
}

int api_version(struct request *request, struct error *err)
{
    (void)err;
    struct utsname host;
    uname(&host);
    const char *arch = host_go_architecture();
    json_t *details = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "ApiVersion", WIRE_VERSION_MAX_TEXT,
                                "MinAPIVersion", WIRE_VERSION_MIN_TEXT, "Arch", arch, "Os", "linux",
                                "KernelVersion", host.release, "Experimental", "false");
    json_t *engine =
        json_pack("{s:s, s:s, s:o}", "Name", "Engine", "Version", SKIFF_VERSION, "Details", details);
    json_t *document =
        json_pack("{s:{s:s}, s:[o], s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Platform", "Name",
                  "skiff", "Components", engine, "Version", SKIFF_VERSION, "ApiVersion",
                  WIRE_VERSION_MAX_TEXT, "MinAPIVersion", WIRE_VERSION_MIN_TEXT, "GitCommit", "", "GoVersion",
                  "", "Os", "linux", "Arch", arch, "KernelVersion", host.release, "BuildTime", "");
    return respond_json(request, 200, document);
}

static void add_counts(struct engine *engine, json_t *info)
{
    unsigned running = 0, paused = 0, stopped = 0;
    container_counts(engine->containers, &running, &paused, &stopped);
    json_set_int(info, "Containers", (int64_t)running + paused + stopped);
    json_set_int(info, "ContainersRunning", running);
    json_set_int(info, "ContainersPaused", paused);
    json_set_int(info, "ContainersStopped", stopped);
    struct image **images = NULL;
    struct error err;
    int64_t n = 0;
    if (image_list(engine->images, &images, &err) == 0)
        while (images[n])
            n++;
    image_list_free(images);
    json_set_int(info, "Images", n);
}

static json_t *registry_config(const struct engine *engine)
{
    json_t *mirrors = json_from_strv(engine->options.registry_mirrors), *cidrs = json_array(),
           *indexes = json_object();
    json_array_append_new(cidrs, json_string("::1/128"));
    json_array_append_new(cidrs, json_string("127.0.0.0/8"));
    json_object_set_new(indexes, "docker.io",
                        json_pack("{s:s, s:O, s:b, s:b}", "Name", "docker.io", "Mirrors", mirrors, "Secure",
                                  1, "Official", 1));
    for (size_t i = 0; engine->options.insecure_registries && engine->options.insecure_registries[i]; i++) {
        const char *name = engine->options.insecure_registries[i];
        if (strchr(name, '/'))
            json_array_append_new(cidrs, json_string(name));
        else
            json_object_set_new(
                indexes, name,
                json_pack("{s:s, s:[], s:b, s:b}", "Name", name, "Mirrors", "Secure", 0, "Official", 0));
    }
    return json_pack("{s:o, s:o, s:o}", "IndexConfigs", indexes, "InsecureRegistryCIDRs", cidrs, "Mirrors",
                     mirrors);
}

static json_t *security_options(const struct engine *engine)
{
    json_t *options = json_array();
    const char *profile = engine->options.seccomp_profile;
    if (!streq(profile, "unconfined"))
        json_array_append_new(options,
                              json_sprintf("name=seccomp,profile=%s", profile ? profile : "builtin"));
    if (!streq(engine->options.userns_mode, "host"))
        json_array_append_new(options, json_string("name=userns"));
    json_array_append_new(options, json_string("name=cgroupns"));
    return options;
}

static void add_names(const struct request *request, json_t *info)
{
    const struct engine *engine = request->engine;
    struct utsname host;
    uname(&host);
    json_set_string(info, "ID", engine->id);
    json_set_string(info, "Name", host.nodename);
    json_set_string(info, "ServerVersion", SKIFF_VERSION);
    json_set_string(info, "KernelVersion", host.release);
    json_set_string(info, "Architecture", host.machine);
    json_set_string(info, "OSType", "linux");
    json_set_string(info, "DockerRootDir", store_root(engine->store));
    json_set_string(info, "Driver", "overlay2");
    json_set_string(info, "LoggingDriver",
                    engine->options.log_driver ? engine->options.log_driver : "json-file");
    json_set_string(info, "CgroupDriver", "cgroupfs");
    json_set_string(info, "IndexServerAddress", "https://index.docker.io/v1/");
    json_set_string(info, "DefaultRuntime", "skiff");
    json_set_string(info, "Isolation", "");
    json_set_string(info, "InitBinary", "");
    json_set_string(info, "HttpProxy", "");
    json_set_string(info, "HttpsProxy", "");
    json_set_string(info, "NoProxy", "");
    json_object_set_new(info, "Labels", json_from_strv(engine->options.labels));
}

int api_info(struct request *request, struct error *err)
{
    (void)err;
    struct engine *engine = request->engine;
    json_t *info = json_object();
    char now[TIME_TEXT_MAX];
    time_format_rfc3339(time_now_ns(), now);
    add_names(request, info);
    add_counts(engine, info);
    host_describe(store_root(engine->store), info);
    json_set_string(info, "SystemTime", now);
    json_set_bool(info, "Debug", engine->options.is_debug);
    json_set_bool(info, "ExperimentalBuild", false);
    json_set_bool(info, "LiveRestoreEnabled", true); // what runs does not depend on the engine
    json_set_int(info, "NEventsListener", 0);
    json_set_int(info, "NGoroutines", 0);
    json_object_set_new(info, "Plugins",
                        json_pack("{s:[s], s:[s,s,s], s:n, s:o}", "Volume", "local", "Network", "bridge",
                                  "host", "null", "Authorization", "Log", container_log_driver_names()));
    json_object_set_new(info, "Runtimes",
                        json_pack("{s:{s:s}}", "skiff", "path", engine->options.shim_program));
    json_object_set_new(info, "Swarm",
                        json_pack("{s:s, s:s, s:s, s:b, s:s, s:n}", "NodeID", "", "NodeAddr", "",
                                  "LocalNodeState", "inactive", "ControlAvailable", 0, "Error", "",
                                  "RemoteManagers"));
    static const char *const commits[] = { "ContainerdCommit", "RuncCommit", "InitCommit" };
    for (size_t i = 0; i < 3; i++)
        json_object_set_new(info, commits[i],
                            request->version < 149 ? json_pack("{s:s, s:s}", "ID", "", "Expected", "")
                                                   : json_pack("{s:s}", "ID", ""));
    json_object_set_new(info, "RegistryConfig", registry_config(engine));
    json_object_set_new(info, "SecurityOptions", security_options(engine));
    json_object_set_new(info, "GenericResources", json_null());
    json_object_set_new(info, "Warnings", json_array());
    // Ours, not Docker's: what may keep the world from published ports.
    json_object_set_new(info, "ForwardDroppedBy", network_dropping_chains(engine->networks));
    if (request->version >= 144)
        json_object_set_new(info, "CDISpecDirs", json_from_strv(engine->options.cdi_directories));
    return respond_json(request, 200, info);
}

// --- events

static const char *event_attribute(const struct engine_event *event, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; event->attributes[i]; i++)
        if (strncmp(event->attributes[i], key, n) == 0 && event->attributes[i][n] == '=')
            return event->attributes[i] + n + 1;
    return NULL;
}

static json_t *event_document(const struct engine_event *event)
{
    json_t *attributes = json_object(), *actor = json_object(), *document = json_object();
    for (size_t i = 0; event->attributes[i]; i++) {
        const char *equals = strchr(event->attributes[i], '=');
        json_object_setn_new(attributes, event->attributes[i], (size_t)(equals - event->attributes[i]),
                             json_string(equals + 1));
    }
    bool is_container = streq(event->type, "container");
    if (is_container || streq(event->type, "image")) { // from before events had types
        json_set_string(document, "status", event->action);
        json_set_string(document, "id", event->actor_id);
        if (is_container && event_attribute(event, "image"))
            json_set_string(document, "from", event_attribute(event, "image"));
    }
    json_set_string(document, "Type", event->type);
    json_set_string(document, "Action", event->action);
    json_set_string(actor, "ID", event->actor_id);
    json_object_set_new(actor, "Attributes", attributes);
    json_object_set_new(document, "Actor", actor);
    json_set_string(document, "scope", "local");
    json_set_int(document, "time", event->time_ns / NS_PER_S);
    json_set_int(document, "timeNano", event->time_ns);
    return document;
}

// "exec_create: sh" is asked for as "exec_create", too.
static bool action_passes(const struct filters *filters, const char *action)
{
    size_t n = filters_count(filters, "event");
    for (size_t i = 0; i < n; i++) {
        const char *wanted = filters_at(filters, "event", i);
        size_t m = strlen(wanted);
        if (strncmp(action, wanted, m) == 0 && (!action[m] || action[m] == ':'))
            return true;
    }
    return n == 0;
}

// An object of one type, asked for by id, beginning of the id, or name.
static bool actor_passes(const struct filters *filters, const struct engine_event *event, const char *key)
{
    if (!filters_count(filters, key))
        return true;
    const char *name = event_attribute(event, "name");
    return streq(event->type, key) &&
           (filters_pass_prefix(filters, key, event->actor_id) || (name && filters_pass(filters, key, name)));
}

// An image by reference or id, also as what a container was made from; a tag may be left out.
static bool image_passes(const struct filters *filters, const struct engine_event *event)
{
    size_t n = filters_count(filters, "image");
    const char *names[] = { event->actor_id,
                            event_attribute(event, streq(event->type, "container") ? "image" : "name") };
    for (size_t i = 0; i < n; i++) {
        const char *wanted = filters_at(filters, "image", i);
        for (size_t k = streq(event->type, "image") ? 0 : 1; k < 2; k++) {
            size_t m = strlen(wanted);
            if (names[k] && strncmp(names[k], wanted, m) == 0 &&
                (!names[k][m] || (names[k][m] == ':' && !strchr(names[k] + m, '/'))))
                return true;
        }
    }
    return n == 0;
}

static bool labels_pass(const struct filters *filters, const struct engine_event *event)
{
    size_t n = filters_count(filters, "label");
    for (size_t i = 0; i < n; i++) {
        const char *wanted = filters_at(filters, "label", i);
        bool is_found = strchr(wanted, '=') ? strv_contains(event->attributes, wanted)
                                            : event_attribute(event, wanted) != NULL;
        if (!is_found)
            return false;
    }
    return true;
}

// A filter for a kind of object lets pass events of such objects only; some kinds never have any here.
static bool actors_pass(const struct filters *filters, const struct engine_event *event)
{
    static const char *const kinds[] = { "container", "network", "volume", "daemon", "plugin",
                                         "service",   "node",    "secret", "config" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!actor_passes(filters, event, kinds[i]))
            return false;
    return true;
}

static bool event_passes(const struct filters *filters, const struct engine_event *event)
{
    return filters_pass(filters, "type", event->type) && action_passes(filters, event->action) &&
           filters_pass(filters, "scope", "local") && actors_pass(filters, event) &&
           image_passes(filters, event) && labels_pass(filters, event);
}

static int time_parameter(const struct request *request, const char *name, int64_t *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *text = request_get(request, name);
    if (str_is_empty(text) || time_parse_docker(text, time_now_ns(), ret))
        return 0;
    return error_set(err, ERROR_INVALID, "invalid value for %s: %s", name, text);
}

// The form a client asks for by name (API 1.52: the first two, 1.53: all), else what the answer has always been called.
static const char *events_media_type(const char *accept)
{
    static const char *const types[] = { "application/x-ndjson", "application/json-seq",
                                         "application/jsonl" };
    const char *chosen = "application/json";
    size_t best = SIZE_MAX;
    for (size_t i = 0; accept && i < sizeof types / sizeof *types; i++) {
        const char *at = strstr(accept, types[i]);
        if (at && (size_t)(at - accept) < best) {
            best = (size_t)(at - accept);
            chosen = types[i];
        }
    }
    return chosen;
}

int api_events(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "config", "container", "daemon", "event",  "image",
                                            "label",  "network",   "node",   "plugin", "scope",
                                            "secret", "service",   "type",   "volume", NULL };
    CLEANUP(filters_done) struct filters filters;
    int64_t since = 0, until = 0;
    if (filters_parse(request->query, accepted, &filters, err) < 0 ||
        time_parameter(request, "since", &since, err) < 0 ||
        time_parameter(request, "until", &until, err) < 0)
        return -1;
    if (until && until < since)
        return error_set(err, ERROR_INVALID, "`since` time (%lld) cannot be after `until` time (%lld)",
                         (long long)(since / NS_PER_S), (long long)(until / NS_PER_S));
    struct engine_subscription *subscription = engine_events_subscribe(request->engine->events, since);
    if (!subscription)
        return error_set(err, ERROR_EXHAUSTED, "out of file descriptors");
    const char *type = events_media_type(http_exchange_header(request->http, "Accept"));
    const char *mark = streq(type, "application/json-seq") ? "\x1e" : ""; // RFC 7464: before each text
    struct writer out = http_reply_stream(request->http, 200, type);
    struct engine_event event;
    int r = 0;
    while (r == 0 && engine_events_next(subscription, until, http_exchange_fd(request->http), &event) == 1) {
        if (event_passes(&filters, &event)) {
            json_t *document = event_document(&event);
            char *text = json_text(document);
            CLEANUP(cleanup_free) char *line = xasprintf("%s%s\n", mark, text);
            r = out.write(out.context, line, strlen(line));
            free(text);
            json_decref(document);
        }
        engine_event_done(&event);
    }
    engine_events_unsubscribe(subscription);
    return 0;
}

// --- short answers

int api_no_swarm(struct request *request, struct error *err)
{
    (void)err;
    json_t *document = json_object();
    json_set_string(document, "message",
                    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
                    "connect this node to "
                    "swarm and try again.");
    return respond_json(request, 503, document);
}

int api_plugin_inspect(struct request *request, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "plugin \"%s\" not found", request->name);
}

int api_plugin_list(struct request *request, struct error *err)
{
    (void)err;
    return respond_json(request, 200, json_array());
}

// There is no build cache before there are builds, so nothing is what can be freed.
int api_build_prune(struct request *request, struct error *err)
{
    (void)err;
    return respond_json(request, 200, json_pack("{s:[], s:i}", "CachesDeleted", "SpaceReclaimed", 0));
}
