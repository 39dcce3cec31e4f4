// What an update changes besides limits: published ports, devices and mounts, also while the container runs. Private to container/.
#pragma once

#include "container/container_internal.h"

// One request's wish, laid over what the container has.
struct update_wish {
    bool has_any;             // ports, devices or mounts are named at all
    bool is_forced;           // ForceUnmount
    char **removed_targets;   // strv, clean
    struct bind_mount *added; // binds and volumes that come; owned
    size_t added_count;
    char **made_volumes;       // strv: names that this request has made
    struct network_port *gone; // of the endpoint, named by the number that was chosen for them; owned
    size_t gone_count;
};

// --- update_wish.c: values only
// The members of `change` that are ours.
bool update_wish_is_member(const char *key);
// Lay them over `host_config` (a copy of the container's, owned by the caller), after checking them against `config` (what the
// container has) and `endpoint` (NULL: it has none now).
// *ret is initialised by the call. ERROR_INVALID names what is not there to be removed, ERROR_CONFLICT what is there already.
int update_wish_parse(const json_t *change, const struct container_config *config,
                      const struct network_endpoint *endpoint, json_t *host_config, struct update_wish *ret,
                      struct error *err);
void update_wish_done(struct update_wish *wish);

// --- update_mounts.c
// fresh->binds become those of the container without the removed ones and with the added ones; volumes are made and held.
// What fails is undone by update_mounts_settle(c, &fresh, &c->config, ...).
int update_mounts_resolve(struct container *c, struct update_wish *wish, struct container_config *fresh,
                          struct error *err);
// Volumes that `from` has and `to` has not are no longer in use.
void update_mounts_settle(struct container *c, const struct container_config *from,
                          const struct container_config *to, const struct update_wish *wish, bool is_failed);
// Binds of `a` that `b` does not have, borrowed from `a`; owned array. The same for tmpfs.
struct bind_mount *update_binds_without(const struct container_config *a, const struct container_config *b,
                                        size_t *ret_count);
struct tmpfs_mount *update_tmpfs_without(const struct container_config *a, const struct container_config *b,
                                         size_t *ret_count);
bool update_has_volume(const struct container_config *config, const char *volume);
// The record's "mounts" of these. Owned.
json_t *update_mounts_document(const struct container_config *config);

// --- update_live.c
// A running container gets from `from` to `to`, all or nothing. is_repeated: it may have been done, or half of it; it goes back, or on
// after a kill, and a mount that is in use meanwhile is no reason to stay in between.
struct update_live {
    struct container *container;
    const struct container_config *from, *to;
    const struct update_wish *wish; // NULL: none
    bool is_repeated;
};
int update_live_apply(const struct update_live *live, struct error *err);

// --- update_recover.c
// What is about to be done, for the next engine, should this one be killed meanwhile. 0 or -errno.
int update_intent_write(struct container *c, const json_t *host_config, const json_t *mounts);
// It has been done, or undone.
void update_intent_forget(struct container *c);
