// Theory of operation. A profile (built in, or a file's contents given by the client) is one document in
// Docker's format: a default action and a list of rules, some of which count only with or without a
// capability, on some architectures, or from a kernel version on. Resolving drops the rules that do not count
// here and leaves the OCI's form, which oci_seccomp_compile turns into BPF. The program depends on nothing
// but (profile, capabilities), since the machine does not change while we run: that pair is the cache's key.
// Custom profiles are few; the cache is cleared when it holds CACHE_MAX programs that nobody else remembers.
#include "container/seccomp.h"

#include "base/fd.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/version.h"
#include "oci/seccomp.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/utsname.h>

enum { CACHE_MAX = 256 };

static json_t *words(const char *text)
{
    char **v = strv_split(text, " ", false);
    json_t *array = json_from_strv(v);
    strv_free(v);
    return array;
}

static json_t *conditions(const char *cap, const char *arches, const char *min_kernel)
{
    json_t *j = json_object();
    if (cap)
        json_object_set_new(j, "caps", json_pack("[s]", cap));
    if (arches)
        json_object_set_new(j, "arches", words(arches));
    if (min_kernel)
        json_set_string(j, "minKernel", min_kernel);
    return j;
}

static json_t *default_rule(const struct seccomp_rule *r)
{
    json_t *rule = json_object();
    json_object_set_new(rule, "names", words(r->calls));
    json_set_string(rule, "action", r->errno_value ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW");
    if (r->errno_value)
        json_set_int(rule, "errnoRet", r->errno_value);
    if (r->op)
        json_object_set_new(rule, "args",
                            json_pack("[{s:i,s:I,s:I,s:s}]", "index", (int)r->argument, "value",
                                      (json_int_t)r->value, "valueTwo", (json_int_t)0, "op", r->op));
    json_object_set_new(rule, "includes", conditions(r->with_cap, r->with_arches, r->min_kernel));
    json_object_set_new(rule, "excludes", conditions(r->without_cap, r->without_arches, NULL));
    return rule;
}

json_t *seccomp_default_profile(void)
{
    json_t *profile = json_object(), *rules = json_array(), *arches = json_array();
    json_set_string(profile, "defaultAction", "SCMP_ACT_ERRNO");
    json_set_int(profile, "defaultErrnoRet", EPERM);
    for (const struct seccomp_arch *a = seccomp_default_arches; a->name; a++) {
        json_t *arch = json_object();
        json_set_string(arch, "architecture", a->name);
        json_object_set_new(arch, "subArchitectures", words(a->subs));
        json_array_append_new(arches, arch);
    }
    json_object_set_new(profile, "archMap", arches);
    for (const struct seccomp_rule *r = seccomp_default_rules; r->calls; r++)
        json_array_append_new(rules, default_rule(r));
    json_object_set_new(profile, "syscalls", rules);
    return profile;
}

// This machine's names: Go's and libseccomp's.
static const char *machine_arch(const char **ret_scmp)
{
    static const struct {
        const char *machine, *go, *scmp;
    } known[] = {
        { "x86_64", "amd64", "SCMP_ARCH_X86_64" },
        { "aarch64", "arm64", "SCMP_ARCH_AARCH64" },
        { "riscv64", "riscv64", "SCMP_ARCH_RISCV64" },
        { "s390x", "s390x", "SCMP_ARCH_S390X" },
        { "ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE" },
        { "i686", "x86", "SCMP_ARCH_X86" },
        { "loongarch64", "loong64", "SCMP_ARCH_LOONGARCH64" },
        { "armv7l", "arm", "SCMP_ARCH_ARM" },
    };
    struct utsname u;
    if (uname(&u) < 0)
        u.machine[0] = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (streq(known[i].machine, u.machine)) {
            *ret_scmp = known[i].scmp;
            return known[i].go;
        }
    *ret_scmp = NULL;
    return u.machine[0] ? "unknown" : "";
}

static bool kernel_has_version(const char *wanted)
{
    unsigned major = 0, minor = 0;
    return sscanf(wanted, "%u.%u", &major, &minor) >= 1 && kernel_is_at_least(major, minor);
}

static bool array_has(const json_t *array, const char *s)
{
    size_t i;
    json_t *v;
    json_array_foreach(array, i, v) if (json_is_string(v) && streq(json_string_value(v), s)) return true;
    return false;
}

static bool has_cap(oci_capset caps, const json_t *name)
{
    int n = json_is_string(name) ? oci_capability_number(json_string_value(name)) : -1;
    return n >= 0 && (caps >> n & 1);
}

// Every listed capability must be held, the architecture be listed, the kernel be new enough.
static bool includes_hold(const json_t *includes, oci_capset caps, const char *arch)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(includes, "caps"), i, v) if (!has_cap(caps, v)) return false;
    const json_t *arches = json_get_array(includes, "arches");
    if (json_array_size(arches) && !array_has(arches, arch))
        return false;
    const char *min_kernel = json_get_string(includes, "minKernel", NULL);
    return !min_kernel || kernel_has_version(min_kernel);
}

static bool excludes_hold(const json_t *excludes, oci_capset caps, const char *arch)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(excludes, "caps"), i, v) if (has_cap(caps, v)) return true;
    if (array_has(json_get_array(excludes, "arches"), arch))
        return true;
    const char *min_kernel = json_get_string(excludes, "minKernel", NULL);
    return min_kernel && kernel_has_version(min_kernel);
}

static json_t *resolved_arches(const json_t *profile, const char *scmp)
{
    json_t *arches = json_array();
    size_t i, k;
    json_t *map, *sub;
    json_array_foreach(json_get_array(profile, "archMap"), i,
                       map) if (streq(json_get_string(map, "architecture", NULL), scmp) && scmp)
    {
        json_array_append_new(arches, json_string(scmp));
        json_array_foreach(json_get_array(map, "subArchitectures"), k, sub) json_array_append(arches, sub);
    }
    return arches;
}

int seccomp_resolve(const json_t *profile, oci_capset bounding, json_t **ret, struct error *err)
{
    const char *scmp, *arch = machine_arch(&scmp);
    if (!json_is_object(profile) || !json_get_string(profile, "defaultAction", NULL))
        return error_set(err, ERROR_INVALID, "Decoding seccomp profile failed: it has no defaultAction");
    CLEANUP(json_cleanup) json_t *seccomp = json_object();
    static const char *const kept[] = { "defaultAction", "defaultErrnoRet", "flags", "listenerPath",
                                        "listenerMetadata" };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (json_object_get(profile, kept[i]))
            json_object_set(seccomp, kept[i], json_object_get(profile, kept[i]));
    if (json_array_size(json_get_array(profile, "architectures")))
        json_object_set(seccomp, "architectures", json_get_array(profile, "architectures"));
    else
        json_object_set_new(seccomp, "architectures", resolved_arches(profile, scmp));

    json_t *rules = json_array(), *rule;
    json_object_set_new(seccomp, "syscalls", rules);
    size_t i;
    json_array_foreach(json_get_array(profile, "syscalls"), i, rule)
    {
        if (!includes_hold(json_get_object(rule, "includes"), bounding, arch) ||
            excludes_hold(json_get_object(rule, "excludes"), bounding, arch))
            continue;
        json_t *one = json_object();
        json_t *names = json_get_array(rule, "names");
        const char *name = json_get_string(rule, "name", NULL); // the format before 2017
        json_object_set_new(one, "names",
                            names  ? json_incref(names)
                            : name ? json_pack("[s]", name)
                                   : json_array());
        if (json_object_get(rule, "action"))
            json_object_set(one, "action", json_object_get(rule, "action"));
        if (json_object_get(rule, "errnoRet"))
            json_object_set(one, "errnoRet", json_object_get(rule, "errnoRet"));
        if (json_array_size(json_get_array(rule, "args")))
            json_object_set(one, "args", json_get_array(rule, "args"));
        json_array_append_new(rules, one);
    }
    *ret = TAKE_PTR(seccomp);
    return 0;
}

struct seccomp_cache {
    pthread_mutex_t lock; // programs, owned fds
    struct map programs;  // key -> descriptor + 1 as a pointer
};

struct seccomp_cache *seccomp_cache_new(void)
{
    struct seccomp_cache *cache = NEW(struct seccomp_cache);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void seccomp_cache_free(struct seccomp_cache *cache)
{
    if (!cache)
        return;
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&cache->programs, &at));)
        fd_close((int)(intptr_t)e->value - 1);
    map_done(&cache->programs);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static uint64_t fnv(const char *s, uint64_t h)
{
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

// Two hashes and the length: 128 bits over a document that only its own container's owner chose.
static char *cache_key(const json_t *profile, oci_capset bounding)
{
    if (!profile)
        return xasprintf("default %llx", (unsigned long long)bounding);
    CLEANUP(cleanup_free) char *text = json_text(profile);
    return xasprintf("%zu %llx %llx %llx", strlen(text), (unsigned long long)fnv(text, 14695981039346656037u),
                     (unsigned long long)fnv(text, 0x9e3779b97f4a7c15u), (unsigned long long)bounding);
}

static int compile(const json_t *profile, oci_capset bounding, int *ret_fd, struct error *err)
{
    CLEANUP(json_cleanup) json_t *built_in = profile ? NULL : seccomp_default_profile();
    CLEANUP(json_cleanup) json_t *resolved = NULL;
    CLEANUP(cleanup_free) void *program = NULL;
    size_t size;
    if (seccomp_resolve(profile ? profile : built_in, bounding, &resolved, err) < 0 ||
        oci_seccomp_compile(resolved, &program, &size, err) < 0)
        return -1;
    int fd = fd_from_bytes("seccomp", program, size);
    if (fd < 0)
        return error_errno(err, fd, "keep seccomp program");
    *ret_fd = fd;
    return 0;
}

int seccomp_cache_get(struct seccomp_cache *cache, const json_t *profile, oci_capset bounding, int *ret_fd,
                      struct error *err)
{
    CLEANUP(cleanup_free) char *key = cache_key(profile, bounding);
    int fd = -1, r = 0;
    // Compiled under the lock: a second caller with the same key waits for the first one's result instead of
    // repeating it.
    pthread_mutex_lock(&cache->lock);
    void *found = map_get(&cache->programs, key);
    if (found)
        fd = (int)(intptr_t)found - 1;
    else if (cache->programs.len >= CACHE_MAX)
        r = error_set(err, ERROR_EXHAUSTED, "more than %d different seccomp profiles are in use", CACHE_MAX);
    else if ((r = compile(profile, bounding, &fd, err)) == 0)
        map_put(&cache->programs, key, (void *)(intptr_t)(fd + 1));
    pthread_mutex_unlock(&cache->lock);
    if (r < 0)
        return r;
    *ret_fd = fd;
    return 0;
}
