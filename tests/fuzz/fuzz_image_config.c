// Image configurations: what is taken has valid diff ids only, and its changes apply or fail without harm.
#include "base/mem.h"
#include "codec/json.h"
#include "image/changes.h"
#include "image/image_internal.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config CLEANUP(json_cleanup) = NULL;
    char **diff_ids CLEANUP(strv_freep) = NULL;
    struct error err;
    char *line CLEANUP(cleanup_free) = xstrndup((const char *)data, size);
    json_t *changed CLEANUP(json_cleanup) = json_object();
    (void)image_change_apply(changed, line, &err);
    if (image_config_parse(data, size, &config, &diff_ids, &err) < 0)
        return 0;
    for (size_t i = 0; diff_ids[i]; i++)
        if (!digest_is_valid(diff_ids[i]))
            abort();
    return 0;
}
