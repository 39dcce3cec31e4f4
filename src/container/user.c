#include "container/user.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

enum { FIELDS_MAX = 8, GROUPS_MAX = 4096 };

struct record {
    char *field[FIELDS_MAX];
    size_t count;
};

// The next "a:b:c" line of *text, split in place into *line; false at the end.
static bool next_record(const char **text, struct str *line, struct record *r)
{
    while (**text) {
        size_t n = strcspn(*text, "\n");
        str_clear(line);
        str_append_n(line, *text, n);
        *text += n + ((*text)[n] == '\n');
        if (line->len == 0 || line->ptr[0] == '#' || strlen(line->ptr) != line->len)
            continue;
        r->count = 0;
        for (char *p = line->ptr; p && r->count < FIELDS_MAX; r->count++) {
            r->field[r->count] = p;
            p = strchr(p, ':');
            if (p)
                *p++ = 0;
        }
        return true;
    }
    return false;
}

static bool parse_id(const char *text, uint32_t *ret)
{
    return parse_u32(text, USER_ID_MAX, ret);
}

static bool is_all_digits(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

void user_identity_done(struct user_identity *user)
{
    free(user->additional_gids);
    free(user->home);
    *user = (struct user_identity){ 0 };
}

static void add_group(struct user_identity *u, uint32_t gid)
{
    for (size_t i = 0; i < u->additional_gid_count; i++)
        if (u->additional_gids[i] == gid)
            return;
    if (u->additional_gid_count >= GROUPS_MAX)
        return;
    u->additional_gids =
        xreallocarray(u->additional_gids, u->additional_gid_count + 1, sizeof *u->additional_gids);
    u->additional_gids[u->additional_gid_count++] = gid;
}

// passwd: name:password:uid:gid:gecos:home:shell. A number is always a number, also when a user is named so.
static int find_user(const char *passwd, const char *name, struct user_identity *u, char **ret_name,
                     struct error *err)
{
    CLEANUP(str_done) struct str line = STR_INIT;
    struct record r;
    uint32_t wanted = 0, uid, gid;
    bool by_number = !*name || parse_id(name, &wanted);
    if (!by_number && is_all_digits(name))
        return error_set(err, ERROR_INVALID, "uids and gids must be in range 0-2147483647");
    while (next_record(&passwd, &line, &r)) {
        if (r.count < 4 || !parse_id(r.field[2], &uid) || !parse_id(r.field[3], &gid))
            continue;
        if (by_number ? uid != wanted : !streq(r.field[0], name))
            continue;
        u->uid = uid;
        u->gid = gid;
        u->home = r.count > 5 && r.field[5][0] ? xstrdup(r.field[5]) : NULL;
        *ret_name = xstrdup(r.field[0]);
        return 0;
    }
    if (!by_number)
        return error_set(err, ERROR_INVALID, "unable to find user %s: no matching entries in passwd file",
                         name);
    u->uid = wanted;
    return 0;
}

// group: name:password:gid:member,member
static int find_group(const char *group, const char *name, uint32_t *ret, struct error *err)
{
    CLEANUP(str_done) struct str line = STR_INIT;
    struct record r;
    uint32_t gid;
    if (parse_id(name, ret))
        return 0;
    if (is_all_digits(name))
        return error_set(err, ERROR_INVALID, "uids and gids must be in range 0-2147483647");
    while (next_record(&group, &line, &r))
        if (r.count >= 3 && streq(r.field[0], name) && parse_id(r.field[2], &gid)) {
            *ret = gid;
            return 0;
        }
    return error_set(err, ERROR_INVALID, "unable to find group %s: no matching entries in group file", name);
}

static void add_memberships(const char *group, const char *name, struct user_identity *u)
{
    CLEANUP(str_done) struct str line = STR_INIT;
    struct record r;
    uint32_t gid;
    while (next_record(&group, &line, &r)) {
        if (r.count < 4 || !parse_id(r.field[2], &gid))
            continue;
        CLEANUP(strv_freep) char **members = strv_split(r.field[3], ",", false);
        if (strv_contains(members, name))
            add_group(u, gid);
    }
}

int user_lookup(const char *passwd, const char *group, const char *spec, char *const *group_add,
                struct user_identity *ret, struct error *err)
{
    CLEANUP(user_identity_done) struct user_identity u = { 0 };
    CLEANUP(cleanup_free) char *name = NULL;
    const char *colon = strchr(spec, ':');
    CLEANUP(cleanup_free) char *user_part = colon ? xstrndup(spec, (size_t)(colon - spec)) : xstrdup(spec);
    const char *group_part = colon ? colon + 1 : "";
    if (find_user(passwd, user_part, &u, &name, err) < 0)
        return -1;
    if (*group_part && find_group(group, group_part, &u.gid, err) < 0)
        return -1;
    add_group(&u, u.gid);
    if (name && !*group_part) // a group given by hand stands alone
        add_memberships(group, name, &u);
    for (size_t i = 0; group_add && group_add[i]; i++) {
        uint32_t gid;
        if (find_group(group, group_add[i], &gid, err) < 0)
            return -1;
        add_group(&u, gid);
    }
    if (!u.home)
        u.home = xstrdup("/");
    *ret = u;
    u = (struct user_identity){ 0 };
    return 0;
}

static int read_optional(const struct rootfs *root, const char *path, struct str *out, struct error *err)
{
    int r = rootfs_read(root, path, out);
    if (r < 0 && r != -ENOENT && r != -EINVAL)
        return error_errno(err, r, "read %s of the container", path);
    return 0;
}

int user_lookup_in_root(const struct rootfs *root, const char *spec, char *const *group_add,
                        struct user_identity *ret, struct error *err)
{
    CLEANUP(str_done) struct str passwd = STR_INIT;
    CLEANUP(str_done) struct str group = STR_INIT;
    if (read_optional(root, "/etc/passwd", &passwd, err) < 0 ||
        read_optional(root, "/etc/group", &group, err) < 0)
        return -1;
    return user_lookup(passwd.ptr, group.ptr, spec, group_add, ret, err);
}
