// The mounts of a namespace as /proc/PID/mountinfo lists them. Source: proc_pid_mountinfo(5).
#pragma once

#include <stddef.h>
#include <stdint.h>

struct mount_entry {
    uint64_t id, parent;
    char *path; // where it lies, from the root of the process whose file was read; owned
    char *type; // file system; owned
};

struct mount_table {
    struct mount_entry *entries; // in the order of mounting
    size_t count;
};
#define MOUNT_TABLE_INIT ((struct mount_table){ 0 })

// The text of such a file. Lines that are not understood are passed over. *ret is released with mount_table_done.
void mount_table_parse(const char *text, struct mount_table *ret);
// The file itself, by a descriptor opened for reading, offset 0. 0 or -errno.
int mount_table_read(int fd, struct mount_table *ret);
void mount_table_done(struct mount_table *table);
// Borrowed; NULL: no such mount.
const struct mount_entry *mount_table_find(const struct mount_table *table, uint64_t id);
