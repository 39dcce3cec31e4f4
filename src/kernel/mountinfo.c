#include "kernel/mountinfo.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

enum { TEXT_MAX = 16 << 20 };

// Space, tab, newline and backslash are written as three octal digits.
static char *unescape(const char *text)
{
    struct str s = STR_INIT;
    for (; *text; text++) {
        char digits[4] = "";
        uint32_t byte;
        if (*text == '\\' && strlen(text) > 3) {
            memcpy(digits, text + 1, 3);
            if (parse_octal(digits, 255, &byte)) {
                str_append_char(&s, (char)byte);
                text += 3;
                continue;
            }
        }
        str_append_char(&s, *text);
    }
    return str_take(&s);
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the optional fields end with "-".
static void parse_line(const char *line, struct mount_table *t)
{
    char **w CLEANUP(strv_freep) = strv_split(line, " ", true);
    size_t n = strv_len(w), dash = 6;
    struct mount_entry e = { 0 };
    while (dash < n && !streq(w[dash], "-"))
        dash++;
    if (dash + 1 >= n || !parse_u64(w[0], UINT64_MAX, &e.id) || !parse_u64(w[1], UINT64_MAX, &e.parent))
        return;
    e.path = unescape(w[4]);
    e.type = unescape(w[dash + 1]);
    t->entries = xreallocarray(t->entries, t->count + 1, sizeof *t->entries);
    t->entries[t->count++] = e;
}

void mount_table_parse(const char *text, struct mount_table *ret)
{
    char **lines CLEANUP(strv_freep) = strv_split(text, "\n", false);
    *ret = MOUNT_TABLE_INIT;
    for (size_t i = 0; lines && lines[i]; i++)
        parse_line(lines[i], ret);
}

int mount_table_read(int fd, struct mount_table *ret)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    int r = file_read_fd(fd, TEXT_MAX, &text);
    if (r == 0)
        mount_table_parse(text.ptr, ret);
    return r;
}

void mount_table_done(struct mount_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->entries[i].path);
        free(t->entries[i].type);
    }
    free(t->entries);
    *t = MOUNT_TABLE_INIT;
}

const struct mount_entry *mount_table_find(const struct mount_table *t, uint64_t id)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->entries[i].id == id)
            return &t->entries[i];
    return NULL;
}
