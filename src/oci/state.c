#include "oci/state.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

char *oci_state_text(const struct oci_state *state)
{
    json_t *o CLEANUP(json_cleanup) = json_object(), *annotations = json_object();
    json_set_string(o, "ociVersion", state->oci_version ? state->oci_version : "1.0.2");
    json_set_string(o, "id", state->id);
    json_set_string(o, "status", state->status);
    if (state->pid > 0)
        json_set_int(o, "pid", state->pid);
    json_set_string(o, "bundle", state->bundle);
    for (size_t i = 0; state->annotations && state->annotations[i]; i++) {
        const char *pair = state->annotations[i], *equals = strchr(pair, '=');
        char *key CLEANUP(cleanup_free) = xstrndup(pair, equals ? (size_t)(equals - pair) : strlen(pair));
        json_set_string(annotations, key, equals ? equals + 1 : "");
    }
    json_object_set_new(o, "annotations", annotations);
    return json_text(o);
}
