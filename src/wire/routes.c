#include "wire/routes.h"

#include "base/mem.h"

#include <string.h>

static const struct wire_route routes[] = {
    // --- system
    { WIRE_PING, "GET", "/_ping", 0, "Is the engine there, and which API version does it speak" },
    { WIRE_PING, "HEAD", "/_ping", 140, "The same without a body" },
    { WIRE_VERSION, "GET", "/version", 0, "Versions of engine, API, kernel" },
    { WIRE_INFO, "GET", "/info", 0, "Counts, limits and settings of the engine and its host" },
    { WIRE_EVENTS, "GET", "/events", 0, "Stream of what happens; since, until, filters" },
    { WIRE_AUTH, "POST", "/auth", 0, "Check registry credentials" },
    { WIRE_SYSTEM_DF, "GET", "/system/df", 125, "Disk space by kind of object; type, verbose" },
    { WIRE_SYSTEM_FSCK, "POST", "/system/fsck", 0,
      "Verify everything that is on disk (skiff's own); quick, repair" },
    // --- containers
    { WIRE_CONTAINER_LIST, "GET", "/containers/json", 0, "List; all, limit, filters" },
    { WIRE_CONTAINER_CREATE, "POST", "/containers/create", 0, "Create; name" },
    { WIRE_CONTAINER_PRUNE, "POST", "/containers/prune", 125, "Remove stopped ones; filters until, label" },
    { WIRE_CONTAINER_INSPECT, "GET", "/containers/{name...}/json", 0,
      "Everything about one; a client that looks an image up asks here first, with its slashes" },
    { WIRE_CONTAINER_TOP, "GET", "/containers/{name}/top", 0, "Processes; ps_args" },
    { WIRE_CONTAINER_LOGS, "GET", "/containers/{name}/logs", 0,
      "Output so far or as it comes; follow, since, until, tail" },
    { WIRE_CONTAINER_LOGS_CLEAR, "DELETE", "/containers/{name}/logs", 0,
      "Forget the output so far (not in Docker's API)" },
    { WIRE_CONTAINER_START, "POST", "/containers/{name}/start", 0, "Start; 304 when running" },
    { WIRE_CONTAINER_STOP, "POST", "/containers/{name}/stop", 0, "Stop signal, then kill; signal, t" },
    { WIRE_CONTAINER_RESTART, "POST", "/containers/{name}/restart", 0, "Stop and start; signal, t" },
    { WIRE_CONTAINER_KILL, "POST", "/containers/{name}/kill", 0, "Send a signal" },
    { WIRE_CONTAINER_PAUSE, "POST", "/containers/{name}/pause", 0, "Freeze" },
    { WIRE_CONTAINER_UNPAUSE, "POST", "/containers/{name}/unpause", 0, "Thaw" },
    { WIRE_CONTAINER_RENAME, "POST", "/containers/{name}/rename", 0, "Give another name; name" },
    { WIRE_CONTAINER_RESIZE, "POST", "/containers/{name}/resize", 0, "Terminal size; h, w" },
    { WIRE_CONTAINER_WAIT, "POST", "/containers/{name}/wait", 0, "Wait for the exit; condition" },
    { WIRE_CONTAINER_ATTACH, "POST", "/containers/{name}/attach", 0,
      "Standard streams over this connection (hijack)" },
    { WIRE_CONTAINER_CHANGES, "GET", "/containers/{name}/changes", 0, "Changed files" },
    { WIRE_CONTAINER_EXPORT, "GET", "/containers/{name}/export", 0, "File system as a tar archive" },
    { WIRE_CONTAINER_ARCHIVE_STAT, "HEAD", "/containers/{name}/archive", 0, "Stat a path; path" },
    { WIRE_CONTAINER_ARCHIVE_GET, "GET", "/containers/{name}/archive", 0, "Copy out; path" },
    { WIRE_CONTAINER_ARCHIVE_PUT, "PUT", "/containers/{name}/archive", 0,
      "Copy in; path, noOverwriteDirNonDir, copyUIDGID" },
    { WIRE_CONTAINER_STATS, "GET", "/containers/{name}/stats", 0, "Resource use; stream, one-shot" },
    { WIRE_CONTAINER_STATS_ALL, "GET", "/containers/stats", 0,
      "Passes over all containers' resource use (skiff's own); all" },
    { WIRE_CONTAINER_UPDATE, "POST", "/containers/{name}/update", 0, "Change limits, policy, ports, mounts" },
    { WIRE_CONTAINER_ATTACH_WS, "GET", "/containers/{name}/attach/ws", 0,
      "Standard streams over a WebSocket" },
    { WIRE_CONTAINER_CHECKPOINT, "GET", "/containers/{name}/checkpoints", 125, "List checkpoints" },
    { WIRE_CONTAINER_CHECKPOINT, "POST", "/containers/{name}/checkpoints", 125, "Checkpoint" },
    { WIRE_CONTAINER_CHECKPOINT, "DELETE", "/containers/{name}/checkpoints/{checkpoint}", 125,
      "Delete a checkpoint" },
    // Last: its pattern has room for a link's two names, so it fits the other DELETEs, too.
    { WIRE_CONTAINER_REMOVE, "DELETE", "/containers/{name...}", 0,
      "Remove; force, v; link: a link, container/alias" },
    // --- exec
    { WIRE_EXEC_CREATE, "POST", "/containers/{name}/exec", 0, "Prepare a further process" },
    { WIRE_EXEC_START, "POST", "/exec/{id}/start", 0, "Run it, streams over this connection (hijack)" },
    { WIRE_EXEC_INSPECT, "GET", "/exec/{id}/json", 0, "State and exit code of a further process" },
    { WIRE_EXEC_RESIZE, "POST", "/exec/{id}/resize", 0, "Terminal size; h, w" },
    // --- images
    { WIRE_IMAGE_LIST, "GET", "/images/json", 0, "List; all, filters, shared-size" },
    { WIRE_IMAGE_CREATE, "POST", "/images/create", 0,
      "Pull (fromImage, tag, platform) or import (fromSrc=-)" },
    { WIRE_IMAGE_LOAD, "POST", "/images/load", 0, "Load an archive of images" },
    { WIRE_IMAGE_PRUNE, "POST", "/images/prune", 125, "Remove unused ones; filters dangling" },
    { WIRE_IMAGE_GC, "POST", "/images/gc", 0,
      "Remove by policy (skiff's own); dry-run, unused-days, keep-last, disk-high, disk-low, keep" },
    { WIRE_IMAGE_DEDUP, "POST", "/images/dedup", 0, "Let equal files share blocks (skiff's own); dry-run" },
    { WIRE_IMAGE_SAVE, "GET", "/images/get", 0, "Several images as one archive; names" },
    { WIRE_IMAGE_SEARCH, "GET", "/images/search", 0, "Search a registry; term, limit, filters" },
    { WIRE_IMAGE_SAVE_ONE, "GET", "/images/{name...}/get", 0, "One image as an archive" },
    { WIRE_IMAGE_INSPECT, "GET", "/images/{name...}/json", 0, "Everything about one" },
    { WIRE_IMAGE_HISTORY, "GET", "/images/{name...}/history", 0, "How its layers came to be" },
    { WIRE_IMAGE_TAG, "POST", "/images/{name...}/tag", 0, "Give a further name; repo, tag" },
    { WIRE_IMAGE_PUSH, "POST", "/images/{name...}/push", 0,
      "Push to a registry; tag (all tags without), compression, level" },
    { WIRE_IMAGE_DIFF, "GET", "/images/{name...}/diff", 0,
      "Compare with an image or container (skiff's own); with, times, brief" },
    { WIRE_IMAGE_FLATTEN, "POST", "/images/{name...}/flatten", 0,
      "Merge layers (skiff's own); from, to, tag" },
    { WIRE_IMAGE_REMOVE, "DELETE", "/images/{name...}", 0, "Untag or remove; force" },
    { WIRE_DISTRIBUTION, "GET", "/distribution/{name...}/json", 130,
      "Digest and platforms from the registry" },
    { WIRE_COMMIT, "POST", "/commit", 0,
      "Image from a container; container, repo, tag, comment, author, pause, changes; ours: squash" },
    // --- manifest lists (skiff's own)
    { WIRE_MANIFEST_INSPECT, "GET", "/manifests/{name...}/json", 0,
      "A manifest or list, from here or its registry; verbose" },
    { WIRE_MANIFEST_CREATE, "POST", "/manifests/{name...}/create", 0, "Make or amend a list" },
    { WIRE_MANIFEST_ANNOTATE, "POST", "/manifests/{name...}/annotate", 0, "Say more of a member" },
    { WIRE_MANIFEST_PUSH, "POST", "/manifests/{name...}/push", 0, "Push a list; purge" },
    { WIRE_MANIFEST_REMOVE, "DELETE", "/manifests/{name...}", 0, "Forget a list" },
    { WIRE_ARTIFACT_LIST, "GET", "/artifacts/{name...}/referrers", 0,
      "What is attached to an image (skiff's own); type" },
    { WIRE_ARTIFACT_ATTACH, "POST", "/artifacts/{name...}/attach", 0,
      "Attach the files of a tar (skiff's own); type, mediaType, annotation" },
    { WIRE_ARTIFACT_PULL, "GET", "/artifacts/{name...}/get", 0,
      "The files of an artifact as a tar (skiff's own)" },
    // --- build
    { WIRE_NOT_YET, "POST", "/build", 0, "Build an image" },
    { WIRE_BUILD_PRUNE, "POST", "/build/prune", 131, "Empty the build cache" },
    { WIRE_NOT_YET, "POST", "/build/cancel", 131, "Cancel a build" },
    { WIRE_NOT_YET, "POST", "/session", 0, "BuildKit session" },
    { WIRE_NOT_YET, "POST", "/grpc", 0, "BuildKit control" },
    // --- networks
    { WIRE_NETWORK_LIST, "GET", "/networks", 0, "List; filters" },
    { WIRE_NETWORK_INSPECT, "GET", "/networks/{name}", 0, "Everything about one" },
    { WIRE_NETWORK_PRUNE, "POST", "/networks/prune", 125, "Remove unused ones" },
    { WIRE_NETWORK_CREATE, "POST", "/networks/create", 0, "Make one" },
    { WIRE_NETWORK_REMOVE, "DELETE", "/networks/{name}", 0, "Remove one that no container is up on" },
    { WIRE_NETWORK_CONNECT, "POST", "/networks/{name}/connect", 0, "Put a container on it, live" },
    { WIRE_NETWORK_DISCONNECT, "POST", "/networks/{name}/disconnect", 0, "Take a container off it, live" },
    { WIRE_NOT_YET, "POST", "/networks/create", 0, "Create" },
    { WIRE_NOT_YET, "POST", "/networks/{name}/connect", 0, "Connect a container" },
    { WIRE_NOT_YET, "POST", "/networks/{name}/disconnect", 0, "Disconnect a container" },
    { WIRE_NOT_YET, "DELETE", "/networks/{name}", 0, "Remove" },
    // --- volumes
    { WIRE_VOLUME_LIST, "GET", "/volumes", 0, "List; filters" },
    { WIRE_VOLUME_PRUNE, "POST", "/volumes/prune", 125, "Remove unused ones" },
    { WIRE_VOLUME_CREATE, "POST", "/volumes/create", 0, "Create" },
    { WIRE_VOLUME_INSPECT, "GET", "/volumes/{name}", 0, "Everything about one" },
    { WIRE_SWARM, "PUT", "/volumes/{name}", 142, "Update a cluster volume" },
    { WIRE_VOLUME_REMOVE, "DELETE", "/volumes/{name}", 0, "Remove; force" },
    { WIRE_VOLUME_CLONE, "POST", "/volumes/{name}/clone", 0, "Copy under a new name (skiff's own); name" },
    { WIRE_VOLUME_RENAME, "POST", "/volumes/{name}/rename", 0, "Give another name (skiff's own); name" },
    { WIRE_VOLUME_UPDATE, "POST", "/volumes/{name}/update", 0, "Change the size (skiff's own)" },
    { WIRE_VOLUME_SNAPSHOT, "POST", "/volumes/{name}/snapshot", 0,
      "Take a read-only copy (skiff's own); name" },
    { WIRE_VOLUME_SNAPSHOTS, "GET", "/volumes/{name}/snapshots", 0, "List its snapshots (skiff's own)" },
    { WIRE_VOLUME_RESTORE, "POST", "/volumes/{name}/restore", 0,
      "Put a snapshot back (skiff's own); snapshot, force" },
    // --- plugins
    { WIRE_PLUGIN_LIST, "GET", "/plugins", 125, "List (there are none)" },
    { WIRE_PLUGIN_INSPECT, "GET", "/plugins/{name...}/json", 125, "Everything about one" },
    { WIRE_NOT_YET, "GET", "/plugins/{name...}", 125, "Plugins" },
    { WIRE_NOT_YET, "POST", "/plugins/{name...}", 125, "Plugins" },
    { WIRE_NOT_YET, "DELETE", "/plugins/{name...}", 125, "Plugins" },
// --- swarm
#define SWARM(path)                                                                              \
    { WIRE_SWARM, "GET", path, 0, "Swarm mode" }, { WIRE_SWARM, "POST", path, 0, "Swarm mode" }, \
    {                                                                                            \
        WIRE_SWARM, "DELETE", path, 0, "Swarm mode"                                              \
    }
    SWARM("/swarm"),
    SWARM("/swarm/{name...}"),
    SWARM("/services"),
    SWARM("/services/{name...}"),
    SWARM("/nodes"),
    SWARM("/nodes/{name...}"),
    SWARM("/tasks"),
    SWARM("/tasks/{name...}"),
    SWARM("/secrets"),
    SWARM("/secrets/{name...}"),
    SWARM("/configs"),
    SWARM("/configs/{name...}"),
#undef SWARM
};

const struct wire_route *wire_routes(size_t *ret_count)
{
    *ret_count = sizeof routes / sizeof *routes;
    return routes;
}

const struct wire_route *wire_route_of(enum wire_route_id id)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].id == id)
            return &routes[i];
    return NULL;
}

// Match from the pattern's current position; parameter texts (still encoded) go to `found` by (start, length).
struct span {
    const char *start;
    size_t n;
};

static bool match_from(const char *pattern, const char *path, struct span *found)
{
    while (*pattern && *pattern != '{') {
        if (*pattern++ != *path++)
            return false;
    }
    if (!*pattern)
        return !*path;
    const char *end = strchr(pattern, '}');
    bool takes_all = end - pattern > 3 && memcmp(end - 3, "...", 3) == 0;
    size_t n = takes_all ? strlen(path) : strcspn(path, "/");
    // The longest piece that lets the rest match: an image may be called "a/json".
    for (; n > 0; n--) {
        *found = (struct span){ path, n };
        if (match_from(end + 1, path + n, found + 1))
            return true;
        if (!takes_all)
            return false;
    }
    return false;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static char *decode(const struct span *span)
{
    struct str out = STR_INIT;
    for (size_t i = 0; i < span->n; i++) {
        char c = span->start[i];
        if (c == '%') {
            int high = span->n - i > 2 ? hex_digit(span->start[i + 1]) : -1;
            int low = span->n - i > 2 ? hex_digit(span->start[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                str_done(&out);
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        str_append_char(&out, c);
    }
    return str_take(&out);
}

bool wire_match(const char *method, const char *path, struct wire_match *ret)
{
    struct wire_match match = { 0 };
    struct span found[3] = { 0 };
    char *plain = xstrdup(path); // without a trailing slash, which Docker's router lets pass
    size_t n = strlen(plain);
    if (n > 1 && plain[n - 1] == '/')
        plain[n - 1] = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && !match.route; i++) {
        struct span spans[3] = { 0 };
        if (!match_from(routes[i].pattern, plain, spans))
            continue;
        match.is_path_known = true;
        if (strcmp(routes[i].method, method) == 0) {
            match.route = &routes[i];
            memcpy(found, spans, sizeof found);
        }
    }
    bool is_fine = true;
    for (size_t i = 0; i < 2 && found[i].n; i++)
        is_fine = is_fine && (match.parameters[i] = decode(&found[i]));
    free(plain);
    if (!is_fine) {
        wire_match_done(&match);
        return false;
    }
    *ret = match;
    return true;
}

void wire_match_done(struct wire_match *match)
{
    free(match->parameters[0]);
    free(match->parameters[1]);
    *match = (struct wire_match){ 0 };
}

static void append_encoded(struct str *out, const char *text, bool keeps_slashes)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        strchr("-._~:@", *p) || (*p == '/' && keeps_slashes);
        if (is_plain)
            str_append_char(out, (char)*p);
        else
            str_appendf(out, "%%%02X", *p);
    }
}

char *wire_path(enum wire_route_id id, const char *parameter, const char *second)
{
    const char *values[] = { parameter, second };
    size_t used = 0;
    struct str out = STR_INIT;
    str_append(&out, "/v" WIRE_VERSION_MAX_TEXT);
    for (const char *p = wire_route_of(id)->pattern; *p;) {
        if (*p != '{') {
            str_append_char(&out, *p++);
            continue;
        }
        const char *end = strchr(p, '}');
        if (used < 2 && values[used])
            append_encoded(&out, values[used], end[-1] == '.');
        used++;
        p = end + 1;
    }
    return str_take(&out);
}

int wire_version_parse(const char *text)
{
    int major = 0, minor = 0;
    const char *p = text;
    if (*p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        if ((major = major * 10 + (*p - '0')) > 99)
            return -1;
    if (*p++ != '.' || *p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        if ((minor = minor * 10 + (*p - '0')) > 99)
            return -1;
    return *p ? -1 : major * 100 + minor;
}
