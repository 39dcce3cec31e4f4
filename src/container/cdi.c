// Theory of operation. Each use reads the files anew: they are few, small, and change when drivers are installed. A file is one
// document {cdiVersion, kind, devices: [{name, containerEdits}], containerEdits}; the edits of a device and, once for each file,
// those common to its devices go into the OCI configuration. Files are written by the host's root, so paths in them are
// trusted as -v and --device of a command are.
#include "container/cdi.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "container/spec_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { FILE_BYTES_MAX = 4 << 20, FILES_MAX = 1000 };

// --- names
static bool is_word(const char *text, size_t n, const char *more)
{
    if (n == 0 || !isalnum((unsigned char)text[0]) || !isalnum((unsigned char)text[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr(more, text[i]))
            return false;
    return true;
}

static bool is_kind(const char *text, size_t n)
{
    const char *slash = memchr(text, '/', n);
    size_t vendor = slash ? (size_t)(slash - text) : 0;
    return slash && is_word(text, vendor, "._-") && is_word(slash + 1, n - vendor - 1, "_-");
}

bool cdi_is_device_name(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals && is_kind(text, (size_t)(equals - text)) &&
           is_word(equals + 1, strlen(equals + 1), "._-:");
}

// --- files
static json_t *read_spec(const char *path, const char *name)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    json_t *document = NULL;
    struct error ignored;
    bool is_json = str_has_suffix(name, ".json");
    if ((!is_json && !str_has_suffix(name, ".yaml")) ||
        file_read_at(AT_FDCWD, path, FILE_BYTES_MAX, &text) < 0)
        return NULL;
    int r = is_json ? json_parse(text.ptr, text.len, &document, &ignored)
                    : yaml_parse(text.ptr, text.len, &document, &ignored);
    const char *kind = r == 0 ? json_get_string(document, "kind", "") : "";
    if (r == 0 && is_kind(kind, strlen(kind)))
        return document;
    json_decref(document);
    return NULL;
}

// Array of documents, those of later directories first.
static json_t *read_specs(char *const *directories)
{
    json_t *specs = json_array();
    for (size_t i = strv_len(directories); i > 0; i--) {
        DIR *dir = opendir(directories[i - 1]);
        for (struct dirent *e; dir && (e = readdir(dir)) && json_array_size(specs) < FILES_MAX;) {
            CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", directories[i - 1], e->d_name);
            json_t *spec = read_spec(path, e->d_name);
            if (spec)
                json_array_append_new(specs, spec);
        }
        if (dir)
            closedir(dir);
    }
    return specs;
}

static const json_t *find_device(const json_t *specs, const char *name, const json_t **ret_spec)
{
    const char *equals = strchr(name, '=');
    size_t i, k;
    json_t *spec, *device;
    json_array_foreach(specs, i, spec)
    {
        const char *kind = json_get_string(spec, "kind", "");
        if (!equals || strlen(kind) != (size_t)(equals - name) || strncmp(kind, name, strlen(kind)) != 0)
            continue;
        json_array_foreach(json_get_array(spec, "devices"), k, device)
        {
            if (!streq(json_get_string(device, "name", ""), equals + 1))
                continue;
            *ret_spec = spec;
            return device;
        }
    }
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **cdi_device_names(char *const *directories)
{
    json_t *specs CLEANUP(json_cleanup) = read_specs(directories), *spec, *device;
    char **names = NULL;
    size_t i, k;
    json_array_foreach(specs, i, spec) json_array_foreach(json_get_array(spec, "devices"), k, device)
    {
        CLEANUP(cleanup_free)
        char *name =
            xasprintf("%s=%s", json_get_string(spec, "kind", ""), json_get_string(device, "name", ""));
        if (cdi_is_device_name(name) && !strv_contains(names, name))
            strv_push(&names, name);
    }
    if (names)
        qsort(names, strv_len(names), sizeof *names, by_text);
    return names;
}

// --- edits
static int add_node(const json_t *node, struct oci_runtime_config *c, struct error *err)
{
    const char *path = json_get_string(node, "path", ""), *host = json_get_string(node, "hostPath", path);
    const char *type = json_get_string(node, "type", ""),
               *access = json_get_string(node, "permissions", "rwm");
    struct stat st = { .st_mode = S_IFCHR | 0666 };
    bool is_given = *type && json_object_get(node, "major");
    if (!is_given && stat(host, &st) < 0)
        return error_errno(err, errno, "CDI device injection failed: device node %s", host);
    if (is_given) {
        st.st_mode = (*type == 'b' ? S_IFBLK : S_IFCHR) | 0666;
        st.st_rdev =
            makedev((unsigned)json_get_int(node, "major", 0), (unsigned)json_get_int(node, "minor", 0));
    }
    if (json_object_get(node, "fileMode"))
        st.st_mode = (st.st_mode & S_IFMT) | ((mode_t)json_get_int(node, "fileMode", 0666) & 07777);
    st.st_uid = (uid_t)json_get_int(node, "uid", st.st_uid);
    st.st_gid = (gid_t)json_get_int(node, "gid", st.st_gid);
    if (*path != '/' || strspn(access, "rwm") != strlen(access) || strlen(access) > 3 ||
        !spec_add_device(c, &st, path))
        return error_set(err, ERROR_INVALID, "CDI device injection failed: device node %s is not usable",
                         path);
    spec_add_device_rule(&c->resources, true, S_ISBLK(st.st_mode) ? 'b' : 'c', major(st.st_rdev),
                         minor(st.st_rdev), *access ? access : "rwm");
    return 0;
}

static int add_mount(const json_t *mount, struct oci_runtime_config *c, struct error *err)
{
    const char *host = json_get_string(mount, "hostPath", ""),
               *inside = json_get_string(mount, "containerPath", "");
    const char *type = json_get_string(mount, "type", "bind");
    char **words CLEANUP(strv_freep) = json_get_strv(mount, "options");
    if (*host != '/' || *inside != '/')
        return error_set(err, ERROR_INVALID, "CDI device injection failed: mount %s is not usable", inside);
    if (streq(type, "bind") && !strv_contains(words, "bind") && !strv_contains(words, "rbind"))
        strv_push(&words, "rbind");
    char *options CLEANUP(cleanup_free) = strv_join(words, ",");
    spec_add_mount(c, inside, type, host, options);
    return 0;
}

static void add_group(const json_t *gid, struct oci_runtime_config *c)
{
    struct oci_user *user = &c->process.user;
    uint32_t id = (uint32_t)json_integer_value(gid);
    for (size_t i = 0; i < user->additional_gid_count; i++)
        if (user->additional_gids[i] == id)
            return;
    user->additional_gids =
        xreallocarray(user->additional_gids, user->additional_gid_count + 1, sizeof *user->additional_gids);
    user->additional_gids[user->additional_gid_count++] = id;
}

static int add_hook(const json_t *hook, const char *name, struct oci_runtime_config *c, struct error *err)
{
    const char *where = json_get_string(hook, "hookName", ""), *path = json_get_string(hook, "path", "");
    int point = oci_hook_number(where);
    int64_t timeout_s = json_get_int(hook, "timeout", 0);
    if (point < 0)
        return error_set(err, ERROR_INVALID, "CDI device injection failed: %s: invalid hook name \"%s\"",
                         name, where);
    if (*path != '/' || timeout_s < 0 || timeout_s > INT_MAX)
        return error_set(err, ERROR_INVALID, "CDI device injection failed: %s: %s hook %s is not usable",
                         name, where, path);
    struct oci_hook **hooks = &c->hooks[point].hooks;
    size_t n = c->hooks[point].count++;
    *hooks = xreallocarray(*hooks, n + 1, sizeof **hooks);
    (*hooks)[n] = (struct oci_hook){ .path = xstrdup(path),
                                     .args = json_get_strv(hook, "args"),
                                     .env = json_get_strv(hook, "env"),
                                     .timeout_s = (int)timeout_s };
    return 0;
}

// What it asks for that cannot be had is refused by its name.
static int check_edits(const json_t *edits, const char *name, struct error *err)
{
    static const char *const known[] = { "env", "deviceNodes", "hooks", "mounts", "additionalGids", NULL };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)edits, key, v)
    {
        bool is_known = json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
                        (json_is_object(v) && json_object_size(v) == 0);
        for (size_t i = 0; known[i]; i++)
            is_known |= streq(known[i], key);
        if (!is_known)
            return error_set(err, ERROR_UNSUPPORTED,
                             "CDI device injection failed: %s needs %s, which is not supported", name, key);
    }
    return 0;
}

static int apply_edits(const json_t *edits, const char *name, struct oci_runtime_config *c, struct error *err)
{
    size_t i;
    json_t *v;
    if (check_edits(edits, name, err) < 0)
        return -1;
    json_array_foreach(json_get_array(edits, "env"), i,
                       v) if (json_is_string(v) && strchr(json_string_value(v), '='))
        strv_push(&c->process.env, json_string_value(v));
    json_array_foreach(json_get_array(edits, "deviceNodes"), i, v) if (add_node(v, c, err) < 0) return -1;
    json_array_foreach(json_get_array(edits, "mounts"), i, v) if (add_mount(v, c, err) < 0) return -1;
    json_array_foreach(json_get_array(edits, "hooks"), i, v) if (add_hook(v, name, c, err) < 0) return -1;
    json_array_foreach(json_get_array(edits, "additionalGids"), i, v) add_group(v, c);
    return 0;
}

int cdi_inject(char *const *directories, char *const *devices, struct oci_runtime_config *config,
               struct error *err)
{
    if (!strv_len(devices))
        return 0;
    json_t *specs CLEANUP(json_cleanup) = read_specs(directories),
                  *common CLEANUP(json_cleanup) = json_array(), *spec;
    size_t i;
    for (char *const *name = devices; *name; name++) {
        const json_t *owner = NULL, *device = find_device(specs, *name, &owner);
        if (!device)
            return error_set(err, ERROR_INVALID, "CDI device injection failed: unresolvable CDI devices %s",
                             *name);
        if (apply_edits(json_get_object(device, "containerEdits"), *name, config, err) < 0)
            return -1;
        bool is_known = false;
        json_array_foreach(common, i, spec) is_known |= spec == owner;
        if (!is_known)
            json_array_append(common, (json_t *)(uintptr_t)owner);
    }
    json_array_foreach(common, i,
                       spec) if (apply_edits(json_get_object(spec, "containerEdits"),
                                             json_get_string(spec, "kind", ""), config, err) < 0) return -1;
    return 0;
}

// --- requests
static bool wants_gpu(const json_t *request)
{
    size_t i, k;
    json_t *group, *word;
    json_array_foreach(json_get_array(request, "Capabilities"), i, group) json_array_foreach(
        group, k, word) if (json_is_string(word) && streq(json_string_value(word), "gpu")) return true;
    return false;
}

static int no_driver(const json_t *request, struct error *err)
{
    CLEANUP(str_done) struct str groups = STR_INIT;
    size_t i;
    json_t *group;
    json_array_foreach(json_get_array(request, "Capabilities"), i, group)
    {
        CLEANUP(json_cleanup) json_t *holder = json_pack("{s:O}", "words", group);
        CLEANUP(strv_freep) char **words = json_get_strv(holder, "words");
        CLEANUP(cleanup_free) char *line = strv_join(words, " ");
        str_appendf(&groups, "%s[%s]", i ? " " : "", line);
    }
    return error_set(err, ERROR_INVALID, "could not select device driver \"%s\" with capabilities: [%s]",
                     json_get_string(request, "Driver", ""), groups.len ? groups.ptr : "");
}

// The host's devices of a class "gpu": of the vendor in `driver` when it names one; numbers 0, 1, ... or by their names.
static int take_gpus(char *const *available, const json_t *request, char ***names, struct error *err)
{
    const char *driver = json_get_string(request, "Driver", "");
    int64_t count = json_get_int(request, "Count", 0), taken = 0;
    char **wanted CLEANUP(strv_freep) = json_get_strv(request, "DeviceIDs");
    for (size_t i = 0; available && available[i]; i++) {
        const char *name = strchr(available[i], '=') + 1, *class = strchr(available[i], '/') + 1;
        bool is_gpu = str_has_prefix(class, "gpu="), is_vendor = str_has_prefix(available[i], driver);
        bool is_numbered = strspn(name, "0123456789") == strlen(name);
        if (!is_gpu || !is_vendor || (strv_len(wanted) ? !strv_contains(wanted, name) : !is_numbered))
            continue;
        if (!strv_len(wanted) && count >= 0 && taken >= count)
            break;
        strv_push(names, available[i]);
        taken++;
    }
    bool is_enough = strv_len(wanted) ? taken == (int64_t)strv_len(wanted)
                     : count < 0      ? taken > 0
                                      : taken == count;
    return is_enough && taken ? 0 : no_driver(request, err);
}

int cdi_resolve_requests(char *const *directories, const json_t *requests, char ***names, struct error *err)
{
    char **available CLEANUP(strv_freep) = json_array_size(requests) ? cdi_device_names(directories) : NULL;
    size_t i;
    json_t *request;
    json_array_foreach(requests, i, request)
    {
        if (streq(json_get_string(request, "Driver", ""), "cdi")) {
            char **ids CLEANUP(strv_freep) = json_get_strv(request, "DeviceIDs");
            for (size_t k = 0; ids && ids[k]; k++)
                strv_push(names, ids[k]);
        } else if (!wants_gpu(request)) {
            return no_driver(request, err);
        } else if (take_gpus(available, request, names, err) < 0) {
            return -1;
        }
    }
    return 0;
}
