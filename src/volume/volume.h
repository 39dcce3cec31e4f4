// Volumes: named directories that outlive containers, as Docker's "local" driver keeps them. Thread-safe; lists and lookups
// read snapshots and wait for nothing, other calls wait only for one that is at work on the same volume.
//
// On disk, below the store's root: volumes/<name>/_data holds what containers see, with plain owners; the record (labels,
// options, time) is in the store's table "volumes". The directory is made before the record; a directory without a record is
// garbage that the next start removes.
#pragma once

#include "base/error.h"
#include "base/event.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct volume_service;

// Docker's mark on volumes that nobody gave a name: plain `volume prune` removes those only.
#define VOLUME_ANONYMOUS_LABEL "com.docker.volume.anonymous"

// Opens and recovers: removes directories without a record. events: "volume" create and destroy.
int volume_service_open(struct store *store, const struct event_sink *events, struct volume_service **ret,
                        struct error *err);
// The containers that survived a former engine have been told of (volume_hold, volume_mount): take off what is mounted for nobody.
void volume_service_settle(struct volume_service *volumes);
void volume_service_close(struct volume_service *volumes);

// An immutable snapshot.
struct volume_info {
    char *name;
    json_t *labels;  // object of strings, never NULL
    json_t *options; // the driver's, object of strings; NULL: none
    int64_t created_ns;
    char *snapshot_of; // the volume that it is a snapshot of, NULL: it is none
    char *mountpoint;  // absolute: .../volumes/<name>/_data
    char **holders;    // strv: ids of the containers that use it, running or not
};
void volume_info_free(struct volume_info *info);
void volume_info_freep(struct volume_info **info);
bool volume_is_anonymous(const struct volume_info *info);

struct volume_request {
    const char *name;      // NULL or "": 64 random hex digits and VOLUME_ANONYMOUS_LABEL
    const char *driver;    // NULL, "" or "local"
    const json_t *labels;  // object of strings, or NULL
    const json_t *options; // the driver's, or NULL
    const char *holder;    // a container that uses it from the first moment, or NULL
};
// A volume of that name that is there already is given as it is, as Docker does. ERROR_INVALID for names and options,
// ERROR_NOT_FOUND for a driver that is not there, all in Docker's words. *ret (may be NULL) is owned.
int volume_create(struct volume_service *volumes, const struct volume_request *request,
                  struct volume_info **ret, struct error *err);
// ERROR_NOT_FOUND "get x: no such volume".
int volume_get(struct volume_service *volumes, const char *name, struct volume_info **ret, struct error *err);
// NULL-terminated, by name.
struct volume_info **volume_list(struct volume_service *volumes);
void volume_list_free(struct volume_info **list);
// ERROR_CONFLICT in Docker's words while a container uses it. is_forced: one that is not there is success.
int volume_remove(struct volume_service *volumes, const char *name, bool is_forced, struct error *err);
// Remove those that no container uses, that are no snapshots, and for which keep() (NULL: none) is false. *ret_names: strv, owned. *ret_bytes: what their
// files held.
int volume_prune(struct volume_service *volumes, bool (*keep)(void *context, const struct volume_info *info),
                 void *context, char ***ret_names, uint64_t *ret_bytes, struct error *err);
// Bytes of the files in it, for disk usage; walks the tree.
int volume_size(struct volume_service *volumes, const char *name, uint64_t *ret, struct error *err);
// ERROR_CONFLICT while a container uses it or when the new name is taken. A volume that had no name loses VOLUME_ANONYMOUS_LABEL.
int volume_rename(struct volume_service *volumes, const char *name, const char *new_name, struct error *err);
// A new volume with the same labels and what `name` holds now: data is shared by reflink where the file system can, else copied.
// A container that writes meanwhile is not stopped. ERROR_CONFLICT when the new name is taken; ERROR_UNSUPPORTED for a volume
// whose data lies elsewhere ("type", "device"). A size limit is taken over.
int volume_clone(struct volume_service *volumes, const char *name, const char *new_name, struct error *err);
// Change the option "size" of a volume that was made with one; what it holds already may be more. options: object of strings with
// nothing but "size". ERROR_CONFLICT, ERROR_INVALID.
int volume_update(struct volume_service *volumes, const char *name, const json_t *options, struct error *err);

// --- snapshots: volumes that are read-only wherever they are mounted, and know what they are of. They have no size limit, are removed
// like any volume (but never pruned), and stay when their volume goes or changes its name.

// As volume_clone. snapshot NULL or "": "<name>.<YYYYMMDD-HHMMSS.mmm>", UTC. *ret_name is owned.
int volume_snapshot(struct volume_service *volumes, const char *name, const char *snapshot, char **ret_name,
                    struct error *err);
// The volume holds again what the snapshot does: at once and whole, also over a crash. ERROR_CONFLICT while a container that runs has
// it mounted, or when the snapshot is another volume's, unless is_forced; such a container keeps what it has mounted until it ends.
// ERROR_UNSUPPORTED as volume_clone; ERROR_CONFLICT when the volume is a snapshot itself.
int volume_restore(struct volume_service *volumes, const char *name, const char *snapshot, bool is_forced,
                   struct error *err);

// --- for containers

// The container is (no longer) a user: as long as there is one, the volume cannot be removed. Not written to disk: the containers'
// own records say it.
int volume_hold(struct volume_service *volumes, const char *name, const char *container_id,
                struct error *err);
void volume_release(struct volume_service *volumes, const char *name, const char *container_id);
// Release it, and when nobody else uses it take it out of sight at once (true): then volume_discard by the same container removes
// it, however long that takes.
bool volume_retire(struct volume_service *volumes, const char *name, const char *container_id);
void volume_discard(struct volume_service *volumes, const char *name, const char *container_id);
// What to bind into a container. *ret_path is owned and absolute.
int volume_source(struct volume_service *volumes, const char *name, char **ret_path, bool *ret_is_read_only,
                  struct error *err);
// A container is about to run with it / has ended: mounts and unmounts what the driver options ask for. Repeats are harmless.
// ERROR_IO, ERROR_NOT_FOUND for a device that is not there.
int volume_mount(struct volume_service *volumes, const char *name, const char *container_id,
                 struct error *err);
void volume_unmount(struct volume_service *volumes, const char *name, const char *container_id);
// Copy-up: an empty volume takes over what the directory `from_fd` (borrowed) holds, and its owner and mode. One that holds something
// stays as it is, and so does one whose file system is only mounted while containers run.
int volume_fill(struct volume_service *volumes, const char *name, int from_fd, struct error *err);

// The rule for names. ERROR_INVALID in Docker's words.
int volume_name_check(const char *name, struct error *err);
