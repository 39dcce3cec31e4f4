// What the files of this folder share: the volume object and the service's table.
#pragma once

#include "base/map.h"
#include "store/meta.h"
#include "volume/backing.h"
#include "volume/volume.h"

#include <pthread.h>

// Guarded by service->lock. `is_busy` says that a thread is at work on the volume's directory or record: it alone may then free the
// volume, and does its I/O without the lock; others that want to work on the volume wait for `changed`. Name and labels never change,
// options by the busy thread with the lock held; holders come only while the volume is not busy, and go at any time.
struct volume {
    char *name;
    json_t *labels, *options;
    int64_t created_ns;
    bool is_busy, is_hidden; // hidden: not yet, or no longer, to be seen
    char **holders;          // strv of container ids
    char *retirer;           // the container that took it out of sight, until it discards it
    char **mounters;         // strv of those that run; of the busy thread
    bool has_former_data;    // containers run on what a restore took the place of; of the busy thread
    char *snapshot_of;       // the volume that it is a snapshot of, NULL: none; never changes
    uint32_t project_id;     // of its directory, 0: not limited; never changes once it is made
};

struct volume_service {
    struct store *store;
    struct event_sink events;
    char *directory; // <store root>/volumes
    int fd;          // of it
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct map by_name;
};

// --- volume.c
// The volume of that name once nobody is at work on it, NULL when there is none. The lock is held (and let go while waiting).
struct volume *volume_await(struct volume_service *s, const char *name);
// The same, and mark it busy. ERROR_NOT_FOUND. The lock is taken and released.
int volume_begin(struct volume_service *s, const char *name, struct volume **ret, struct error *err);
void volume_end(struct volume_service *s, struct volume *v);
// Put a new, busy volume into the table; never waits. ERROR_CONFLICT when the name is taken.
int volume_reserve(struct volume_service *s, const char *name, const json_t *labels, const json_t *options,
                   struct volume **ret, struct error *err);
// A reserved volume is there now / is given up (and freed).
void volume_publish(struct volume_service *s, struct volume *v);
void volume_abandon(struct volume_service *s, struct volume *v);
void volume_event(struct volume_service *s, const char *name, const char *action);

// --- use.c
// Parsed again; volume_backing_done is the caller's.
struct volume_backing volume_backing_of(const struct volume *v);
// Unmount whatever is mounted on the volume's directory.
void volume_take_off(const struct volume_service *s, const char *name);

// --- directory.c: the volume's directory. No lock is held.
int volume_directory_make(struct volume_service *s, const char *name, struct error *err);
int volume_directory_remove(struct volume_service *s, const char *name, struct error *err);
// O_PATH descriptor of "_data". Descriptor, or -1 with *err.
int volume_directory_open(struct volume_service *s, const char *name, struct error *err);
// Read all records into the table, then remove directories without one.
int volume_recover(struct volume_service *s, struct error *err);

// --- limit.c: the option "size". The volume is busy.
// Its directory, just made, gets an id and the limit, if it is to have one. ERROR_INVALID where the file system has no quotas.
int volume_limit_begin(struct volume_service *s, struct volume *v, struct error *err);
// Its directory is gone.
void volume_limit_end(struct volume_service *s, struct volume *v);
// A new engine has read the record.
void volume_limit_recover(struct volume_service *s, const struct volume *v);
// Lift the limit for a while (false), put it back (true).
int volume_limit_set(struct volume_service *s, const struct volume *v, bool is_on, struct error *err);
// Whether the calling thread is held by the volume's limit, which root passes on some file systems.
void volume_limit_obey(const struct volume *v, bool obeys);

// --- copy.c
// Remove what restores left to the containers that ran then.
void volume_former_data_remove(struct volume_service *s, struct volume *v);
// Remove a copy-up that was cut short; note what a restore left, on which containers may run.
void volume_copies_recover(struct volume_service *s, struct volume *v);

// --- rename.c
int volume_record_put(struct volume_service *s, const struct volume *v, struct error *err);
// Bring renames that were cut short to their end; before the records are read.
int volume_finish_renames(struct volume_service *s, struct error *err);
