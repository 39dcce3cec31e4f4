// Theory of operation. First a plan: every image gets a verdict and its reason, from the records alone. The disk rule is part of
// the plan: it adds images, used longest ago first, until what they would free is enough. Then the plan is carried out, image
// by image under the service's lock, where it is asked again whether a container uses it.
#include "image/gc.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"
#include "store/usage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

enum { DISK_LOW_BELOW_HIGH = 5 };
#define GRACE_NS (600 * NS_PER_S)
#define DAY_NS   (86400 * NS_PER_S)

struct candidate {
    const struct image *image;
    int64_t seen_ns; // last use, or when it was tagged or came: what is later
    bool goes, is_protected;
    char reason[160];
};

struct plan {
    struct image_service *images;
    const struct image_gc_policy *policy;
    int64_t now_ns;
    struct image **list;
    struct candidate *all;      // used longest ago first
    struct usage_group *groups; // the same order
    size_t count;
    double disk_percent;
    uint64_t bytes; // that would come free
};

bool image_gc_policy_is_set(const struct image_gc_policy *policy)
{
    return policy->unused_ns || policy->keep_last || policy->disk_high;
}

int image_gc_policy_check(const struct image_gc_policy *policy, struct error *err)
{
    if (policy->disk_high > 100 || policy->disk_low > 100)
        return error_set(err, ERROR_INVALID,
                         "image garbage collection: a disk threshold is no more than 100 percent");
    if (policy->disk_low && (!policy->disk_high || policy->disk_low >= policy->disk_high))
        return error_set(err, ERROR_INVALID,
                         "image garbage collection: the low disk threshold must be below the high one");
    for (size_t i = 0; policy->keeps && policy->keeps[i]; i++)
        if (str_is_empty(policy->keeps[i]) || streq(policy->keeps[i], "label="))
            return error_set(
                err, ERROR_INVALID,
                "image garbage collection: \"%s\" names nothing to keep: a reference pattern, label=key "
                "or label=key=value is wanted",
                policy->keeps[i]);
    return 0;
}

// --- what protects
static bool label_matches(const char *wanted, const struct image *image)
{
    const char *equals = strchr(wanted, '=');
    char *key CLEANUP(cleanup_free) = equals ? xstrndup(wanted, (size_t)(equals - wanted)) : xstrdup(wanted);
    const char *value =
        json_get_string(json_get_object(json_get_object(image->config, "config"), "Labels"), key, NULL);
    return value && (!equals || streq(value, equals + 1));
}

static const char *keeper_of(const struct plan *p, const struct image *image)
{
    for (size_t i = 0; p->policy->keeps && p->policy->keeps[i]; i++) {
        const char *keep = p->policy->keeps[i];
        if (str_has_prefix(keep, "label=")) {
            if (label_matches(keep + 6, image))
                return keep;
            continue;
        }
        for (size_t k = 0; image->tags && image->tags[k]; k++)
            if (reference_matches(keep, image->tags[k]))
                return keep;
        for (size_t k = 0; image->repo_digests && image->repo_digests[k]; k++)
            if (reference_matches(keep, image->repo_digests[k]))
                return keep;
    }
    return NULL;
}

static int64_t tagged_ns(const struct image *image)
{
    return image->last_tagged_ns > image->added_ns ? image->last_tagged_ns : image->added_ns;
}

static char *repository_of(const char *familiar)
{
    struct reference reference;
    struct error ignored;
    if (reference_parse(familiar, 0, &reference, &ignored) < 0)
        return xstrdup(familiar);
    char *name = reference_familiar_name(&reference);
    reference_done(&reference);
    return name;
}

static bool is_of_repository(const struct image *image, const char *repository)
{
    char *const *const lists[] = { image->tags, image->repo_digests };
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; lists[l] && lists[l][i]; i++) {
            char *name CLEANUP(cleanup_free) = repository_of(lists[l][i]);
            if (streq(name, repository))
                return true;
        }
    return false;
}

// One of the last keep_last of one of its repositories? Then *ret_repository (owned) is that one.
static bool is_among_last(const struct plan *p, const struct image *image, char **ret_repository)
{
    char *const *const lists[] = { image->tags, image->repo_digests };
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; lists[l] && lists[l][i]; i++) {
            char *name CLEANUP(cleanup_free) = repository_of(lists[l][i]);
            size_t newer = 0;
            for (size_t k = 0; k < p->count; k++)
                newer += p->list[k] != image && tagged_ns(p->list[k]) > tagged_ns(image) &&
                         is_of_repository(p->list[k], name);
            if (newer < p->policy->keep_last) {
                *ret_repository = TAKE_PTR(name);
                return true;
            }
        }
    return false;
}

#define SAY(c, ...) snprintf((c)->reason, sizeof(c)->reason, __VA_ARGS__)

static bool is_protected(const struct plan *p, struct candidate *c)
{
    const struct image_options *o = &p->images->options;
    char container[65] = "";
    bool is_running = false;
    char *repository CLEANUP(cleanup_free) = NULL;
    const char *keeper = keeper_of(p, c->image);
    if (o->is_in_use && o->is_in_use(o->is_in_use_context, c->image->id, container, &is_running))
        SAY(c, "container %.12s is made from it", container);
    else if (keeper)
        SAY(c, "kept by %.100s", keeper);
    else if (p->now_ns - c->seen_ns < GRACE_NS)
        SAY(c, "used or made less than ten minutes ago");
    else if (p->policy->keep_last && is_among_last(p, c->image, &repository))
        SAY(c, "among the last %u of %.90s", p->policy->keep_last, repository);
    else
        return false;
    return true;
}

// --- the rules
static void judge(const struct plan *p, struct candidate *c)
{
    const struct image_gc_policy *policy = p->policy;
    long long days = (p->now_ns - c->seen_ns) / DAY_NS;
    c->is_protected = is_protected(p, c);
    if (c->is_protected)
        return;
    bool is_old = policy->unused_ns && p->now_ns - c->seen_ns >= policy->unused_ns;
    c->goes = policy->unused_ns ? is_old : policy->keep_last > 0;
    if (c->goes && is_old)
        SAY(c, "unused for %lld day%s", days, days == 1 ? "" : "s");
    else if (c->goes)
        SAY(c, "not among the last %u of its repository", policy->keep_last);
    else if (policy->unused_ns)
        SAY(c, "used %lld day%s ago", days, days == 1 ? "" : "s");
    else
        SAY(c, "the disk is not full enough");
}

// Bytes on disk that would come free. Groups are held that stay.
static int estimate(struct plan *p, struct error *err)
{
    struct usage_total total;
    for (size_t i = 0; i < p->count; i++)
        p->groups[i].is_held = !p->all[i].goes;
    if (store_usage(p->images->store, p->groups, p->count, &total, err) < 0)
        return -1;
    p->bytes = total.reclaimable_bytes;
    return 0;
}

// As df says it: what is reserved for root counts neither as used nor as free.
static int read_disk(struct plan *p, uint64_t *ret_all, uint64_t *ret_used, struct error *err)
{
    struct statfs fs;
    if (fstatfs(store_root_fd(p->images->store), &fs) < 0)
        return error_errno(err, errno, "statfs %s", store_root(p->images->store));
    *ret_used = (fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
    *ret_all = *ret_used + fs.f_bavail * (uint64_t)fs.f_bsize;
    p->disk_percent = *ret_all ? 100.0 * (double)*ret_used / (double)*ret_all : 0;
    return 0;
}

static int apply_disk_rule(struct plan *p, struct error *err)
{
    uint64_t all = 0, used = 0;
    unsigned high = p->policy->disk_high, low = p->policy->disk_low;
    if (read_disk(p, &all, &used, err) < 0 || estimate(p, err) < 0)
        return -1;
    if (!high || p->disk_percent <= high)
        return 0;
    low = low ? low : high > DISK_LOW_BELOW_HIGH ? high - DISK_LOW_BELOW_HIGH : 0;
    for (size_t i = 0; i < p->count; i++) {
        double percent = 100.0 * ((double)used - (double)p->bytes) / (double)all;
        struct candidate *c = &p->all[i];
        if (percent < low)
            break;
        if (c->goes || c->is_protected)
            continue;
        c->goes = true;
        SAY(c, "disk %.0f%% full, used longest ago", percent);
        if (estimate(p, err) < 0)
            return -1;
    }
    return 0;
}

// --- the plan
static int longest_ago_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->seen_ns != y->seen_ns ? (x->seen_ns < y->seen_ns ? -1 : 1) : strcmp(x->image->id, y->image->id);
}

static char **digests_of(const struct image *image)
{
    char **digests = NULL;
    strv_push(&digests, image->id);
    if (image->manifest_digest)
        strv_push(&digests, image->manifest_digest);
    return digests;
}

static int make_plan(struct plan *p, struct error *err)
{
    if (image_list(p->images, &p->list, err) < 0)
        return -1;
    while (p->list[p->count])
        p->count++;
    p->all = xcalloc(p->count + 1, sizeof *p->all);
    p->groups = xcalloc(p->count + 1, sizeof *p->groups);
    for (size_t i = 0; i < p->count; i++) {
        const struct image *image = p->list[i];
        int64_t seen = tagged_ns(image) > image->last_used_ns ? tagged_ns(image) : image->last_used_ns;
        p->all[i] = (struct candidate){ .image = image, .seen_ns = seen };
    }
    qsort(p->all, p->count, sizeof *p->all, longest_ago_first);
    for (size_t i = 0; i < p->count; i++) {
        p->groups[i] = (struct usage_group){ .diff_ids = p->all[i].image->diff_ids,
                                             .digests = digests_of(p->all[i].image) };
        judge(p, &p->all[i]);
    }
    return apply_disk_rule(p, err);
}

static void plan_done(struct plan *p)
{
    for (size_t i = 0; p->groups && i < p->count; i++)
        strv_free((char **)(uintptr_t)p->groups[i].digests);
    free(p->groups);
    free(p->all);
    image_list_free(p->list);
}

static void carry_out(struct plan *p, json_t *report)
{
    struct error err;
    for (size_t i = 0; i < p->count; i++) {
        struct candidate *c = &p->all[i];
        bool is_removed = false;
        if (!c->goes)
            continue;
        if (image_remove_if_unused(p->images, c->image->id, report, &is_removed, &err) < 0)
            log_debug("image garbage collection: %s: %s", c->image->id, err.message);
        c->goes = is_removed;
        if (is_removed)
            log_info("image %s is removed: %s", strv_len(c->image->tags) ? c->image->tags[0] : c->image->id,
                     c->reason);
        else
            SAY(c, "used meanwhile");
    }
    p->bytes = 0;
    image_sweep(p->images, report, &p->bytes);
}

static json_t *describe(const struct plan *p, size_t i)
{
    const struct candidate *c = &p->all[i];
    json_t *document = json_object();
    char used[TIME_TEXT_MAX];
    time_format_rfc3339(c->image->last_used_ns, used);
    json_set_string(document, "Id", c->image->id);
    json_object_set_new(document, "RepoTags", json_from_strv(c->image->tags));
    json_set_int(document, "Size", (int64_t)(p->groups[i].bytes - p->groups[i].shared_bytes));
    json_set_string(document, "LastUsed", used);
    json_set_bool(document, "Removed", c->goes);
    json_set_string(document, "Reason", c->reason);
    return document;
}

int image_gc(struct image_service *images, const struct image_gc_policy *policy, bool is_dry, json_t **ret,
             struct error *err)
{
    CLEANUP(plan_done)
    struct plan plan = { .images = images, .policy = policy, .now_ns = time_now_ns() };
    if (make_plan(&plan, err) < 0)
        return -1;
    json_t *document = json_object(), *list = json_array(), *report = json_array();
    if (!is_dry)
        carry_out(&plan, report);
    for (size_t i = 0; i < plan.count; i++)
        json_array_append_new(list, describe(&plan, i));
    json_object_set_new(document, "Images", list);
    json_object_set_new(document, "Report", report);
    json_set_int(document, "SpaceReclaimed", (int64_t)plan.bytes);
    json_object_set_new(document, "DiskUsedPercent", json_real(plan.disk_percent));
    *ret = document;
    return 0;
}
