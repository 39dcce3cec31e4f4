#include "cli/cp_path.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

void cp_split(const char *argument, char **ret_container, char **ret_path)
{
    const char *colon = strchr(argument, ':');
    bool is_local = argument[0] == '/' || argument[0] == '.' || !colon || colon == argument;
    *ret_container = is_local ? NULL : xstrndup(argument, (size_t)(colon - argument));
    *ret_path = xstrdup(is_local ? argument : colon + 1);
}

char *cp_clean(const char *path)
{
    char **parts CLEANUP(strv_freep) = strv_split(path, "/", false), **kept CLEANUP(strv_freep) = NULL;
    bool is_absolute = path[0] == '/';
    for (size_t i = 0; parts && parts[i]; i++) {
        size_t n = strv_len(kept);
        if (streq(parts[i], "."))
            continue;
        if (!streq(parts[i], "..") || (!is_absolute && (n == 0 || streq(kept[n - 1], ".."))))
            strv_push(&kept, parts[i]);
        else if (n > 0)
            free(TAKE_PTR(kept[n - 1]));
    }
    char *joined CLEANUP(cleanup_free) = kept && kept[0] ? strv_join(kept, "/") : xstrdup("");
    if (is_absolute)
        return xasprintf("/%s", joined);
    return *joined ? TAKE_PTR(joined) : xstrdup(".");
}

static bool ends_with_dot(const char *path)
{
    return streq(path, ".") || str_has_suffix(path, "/.");
}

char *cp_clean_keeping_end(const char *path)
{
    char *clean CLEANUP(cleanup_free) = cp_clean(path);
    const char *slash = str_has_suffix(clean, "/") ? "" : "/";
    if (ends_with_dot(path) && !ends_with_dot(clean))
        return xasprintf("%s%s.", clean, slash);
    if (str_has_suffix(path, "/") && *slash)
        return xasprintf("%s/", clean);
    return TAKE_PTR(clean);
}

char *cp_base(const char *path)
{
    if (ends_with_dot(path))
        return xstrdup(".");
    char *clean CLEANUP(cleanup_free) = cp_clean(path);
    const char *slash = strrchr(clean, '/');
    return xstrdup(slash && slash[1] ? slash + 1 : clean);
}

char *cp_directory(const char *path)
{
    char *clean CLEANUP(cleanup_free) = cp_clean(path);
    if (ends_with_dot(path))
        return TAKE_PTR(clean);
    const char *slash = strrchr(clean, '/');
    return !slash ? xstrdup(".") : slash == clean ? xstrdup("/") : xstrndup(clean, (size_t)(slash - clean));
}

void cp_plan_done(struct cp_plan *plan)
{
    free(plan->directory);
    free(plan->name);
    *plan = (struct cp_plan){ 0 };
}

int cp_plan(const struct cp_end *source, const char *source_name, const struct cp_end *destination,
            struct cp_plan *ret, struct error *err)
{
    if (destination->exists && destination->is_directory) {
        *ret = (struct cp_plan){ xstrdup(destination->path), xstrdup(source_name) };
        return 0;
    }
    if (destination->exists && source->is_directory)
        return error_set(err, ERROR_INVALID, "cannot copy directory");
    if (!destination->exists && !source->is_directory &&
        (str_has_suffix(destination->path, "/") || ends_with_dot(destination->path)))
        return error_set(err, ERROR_INVALID, "no such directory");
    *ret = (struct cp_plan){ cp_directory(destination->path), cp_base(destination->path) };
    return 0;
}
