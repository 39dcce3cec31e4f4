// ONE table of the Docker Engine API's routes: it drives dispatch in skiffd, the paths of the client, the documentation and
// the API tests. Source: Docker Engine API reference 1.24 to 1.51.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

// Versions as 100 * major + minor: 1.41 is 141.
enum { WIRE_VERSION_MIN = 124, WIRE_VERSION_MAX = 151 };
#define WIRE_VERSION_MIN_TEXT "1.24"
#define WIRE_VERSION_MAX_TEXT "1.51"

enum wire_route_id {
    WIRE_PING,
    WIRE_VERSION,
    WIRE_INFO,
    WIRE_EVENTS,
    WIRE_CONTAINER_LIST,
    WIRE_CONTAINER_CREATE,
    WIRE_CONTAINER_INSPECT,
    WIRE_CONTAINER_TOP,
    WIRE_CONTAINER_LOGS,
    WIRE_CONTAINER_START,
    WIRE_CONTAINER_STOP,
    WIRE_CONTAINER_RESTART,
    WIRE_CONTAINER_KILL,
    WIRE_CONTAINER_PAUSE,
    WIRE_CONTAINER_UNPAUSE,
    WIRE_CONTAINER_RENAME,
    WIRE_CONTAINER_UPDATE,
    WIRE_CONTAINER_RESIZE,
    WIRE_CONTAINER_WAIT,
    WIRE_CONTAINER_ATTACH,
    WIRE_CONTAINER_REMOVE,
    WIRE_CONTAINER_PRUNE,
    WIRE_CONTAINER_STATS,
    WIRE_CONTAINER_STATS_ALL, // of skiff's own
    WIRE_CONTAINER_LOGS_CLEAR,
    WIRE_CONTAINER_ATTACH_WS,
    WIRE_CONTAINER_CHECKPOINT, // answered as not offered
    WIRE_SYSTEM_DF,
    WIRE_SYSTEM_FSCK, // of skiff's own
    WIRE_CONTAINER_CHANGES,
    WIRE_CONTAINER_EXPORT,
    WIRE_CONTAINER_ARCHIVE_STAT,
    WIRE_CONTAINER_ARCHIVE_GET,
    WIRE_CONTAINER_ARCHIVE_PUT,
    WIRE_COMMIT,
    WIRE_EXEC_CREATE,
    WIRE_EXEC_START,
    WIRE_EXEC_INSPECT,
    WIRE_EXEC_RESIZE,
    WIRE_IMAGE_LIST,
    WIRE_IMAGE_CREATE,
    WIRE_IMAGE_INSPECT,
    WIRE_IMAGE_HISTORY,
    WIRE_IMAGE_TAG,
    WIRE_IMAGE_REMOVE,
    WIRE_IMAGE_SAVE_ONE,
    WIRE_IMAGE_SAVE,
    WIRE_IMAGE_LOAD,
    WIRE_IMAGE_PRUNE,
    WIRE_IMAGE_PUSH,
    WIRE_IMAGE_GC,    // of skiff's own
    WIRE_IMAGE_DEDUP, // the same
    WIRE_IMAGE_DIFF,
    WIRE_IMAGE_FLATTEN,
    WIRE_MANIFEST_INSPECT, // all of skiff's own
    WIRE_MANIFEST_CREATE,
    WIRE_MANIFEST_ANNOTATE,
    WIRE_MANIFEST_PUSH,
    WIRE_MANIFEST_REMOVE,
    WIRE_ARTIFACT_LIST, // the same
    WIRE_ARTIFACT_ATTACH,
    WIRE_ARTIFACT_PULL,
    WIRE_IMAGE_SEARCH,
    WIRE_DISTRIBUTION,
    WIRE_AUTH,
    WIRE_NETWORK_LIST,
    WIRE_NETWORK_INSPECT,
    WIRE_NETWORK_PRUNE,
    WIRE_NETWORK_CREATE,
    WIRE_NETWORK_REMOVE,
    WIRE_NETWORK_CONNECT,
    WIRE_NETWORK_DISCONNECT,
    WIRE_VOLUME_LIST,
    WIRE_VOLUME_INSPECT,
    WIRE_VOLUME_PRUNE,
    WIRE_VOLUME_CREATE,
    WIRE_VOLUME_REMOVE,
    WIRE_VOLUME_CLONE,  // of skiff's own
    WIRE_VOLUME_RENAME, // the same
    WIRE_VOLUME_UPDATE,
    WIRE_VOLUME_SNAPSHOT,
    WIRE_VOLUME_SNAPSHOTS,
    WIRE_VOLUME_RESTORE,
    WIRE_PLUGIN_LIST,
    WIRE_PLUGIN_INSPECT,
    WIRE_BUILD_PRUNE,
    WIRE_SWARM,   // answered as a node that is no swarm manager does
    WIRE_NOT_YET, // known to Docker's API, not offered by this version: 501
    WIRE_ROUTE_COUNT
};

struct wire_route {
    enum wire_route_id id;
    const char *method;  // "GET"; GET routes answer HEAD as well where Docker does
    const char *pattern; // "/containers/{name}/json"; a "{name...}" takes further segments too (image names)
    int since;           // version, 0: always there
    const char *summary; // one line
};

// All routes; *ret_count of them.
const struct wire_route *wire_routes(size_t *ret_count);

struct wire_match {
    const struct wire_route *route; // NULL: none
    bool is_path_known;             // another method has this path
    char *parameters[2];            // owned, decoded: what stood for the pattern's {..}, in order
};
// `path` is as sent, without version prefix and query. False when an escape in it is malformed.
bool wire_match(const char *method, const char *path, struct wire_match *ret);
void wire_match_done(struct wire_match *match);

// The path of a route with its parameters filled in (encoded), below the newest version's prefix: "/v1.51/containers/x/json".
// Owned.
char *wire_path(enum wire_route_id id, const char *parameter, const char *second);
const struct wire_route *wire_route_of(enum wire_route_id id);

// "1.41" -> 141; -1 when malformed.
int wire_version_parse(const char *text);
