// image_pull without an engine: pull_by_hand ROOT REFERENCE [PLATFORM]. Progress lines as
// "id|status|current|total", then the image's id; "ERROR kind: message" and exit 1 otherwise.
// MAX_LAYER_BYTES, HANG_UP_AT (the number of the line at which the client goes away) and LANES (that many
// pulls of it at once) in the environment.
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "image/image.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { LANES_MAX = 16 };

struct lane {
    pthread_t thread;
    struct image_service *images;
    const char *reference, *platform;
    uint32_t lines, hang_up_at;
    int result;
    struct error err;
};

static int report(void *context, const struct progress *progress)
{
    struct lane *lane = context;
    printf("%s|%s|%lld|%lld\n", progress->id ? progress->id : "", progress->status,
           (long long)progress->current, (long long)progress->total);
    return ++lane->lines == lane->hang_up_at ? -1 : 0;
}

static void *pull(void *context)
{
    struct lane *lane = context;
    struct progress_sink sink = { .report = report, .context = lane };
    lane->result = image_pull(lane->images, lane->reference, lane->platform, NULL, &sink, &lane->err);
    return NULL;
}

static uint32_t number(const char *name)
{
    uint32_t n = 0;
    return getenv(name) && parse_u32(getenv(name), UINT32_MAX, &n) ? n : 0;
}

static int pull_all(struct image_service *images, const char *reference, const char *platform,
                    struct error *err)
{
    static struct lane lanes[LANES_MAX];
    uint32_t n = number("LANES");
    n = n == 0 ? 1 : n > LANES_MAX ? LANES_MAX : n;
    for (uint32_t i = 0; i < n; i++) {
        lanes[i] = (struct lane){
            .images = images, .reference = reference, .platform = platform, .hang_up_at = number("HANG_UP_AT")
        };
        if (pthread_create(&lanes[i].thread, NULL, pull, &lanes[i]) != 0)
            return error_set(err, ERROR_INTERNAL, "no thread");
    }
    int r = 0;
    for (uint32_t i = 0; i < n; i++) {
        pthread_join(lanes[i].thread, NULL);
        if (lanes[i].result < 0) {
            r = -1;
            *err = lanes[i].err;
        }
    }
    return r;
}

static int run(const char *root, const char *reference, const char *platform, struct error *err)
{
    struct store *store = NULL;
    struct image_service *images = NULL;
    struct image *image = NULL;
    struct image_options options = { .layer_limits.max_bytes = number("MAX_LAYER_BYTES") };
    if (store_open(root, &store, err) < 0)
        return -1;
    int r = image_service_open(store, &options, &images, err);
    if (r == 0) {
        r = pull_all(images, reference, platform, err);
        if (r == 0 && (r = image_get(images, reference, &image, err)) == 0)
            printf("image %s\n", image->id);
        if (image)
            image_free(image);
        image_service_close(images);
    }
    store_close(store);
    return r;
}

int main(int argc, char **argv)
{
    struct error err = { 0 };
    if (argc != 3 && argc != 4)
        return 2;
    int r = run(argv[1], argv[2], argc > 3 ? argv[3] : NULL, &err);
    if (r < 0)
        printf("ERROR %s: %s\n", error_kind_name(err.kind), err.message);
    return r < 0;
}
