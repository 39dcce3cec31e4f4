// One published port of several containers: RULESET_SLOTS slots are dealt out evenly among those that serve, and the rules send
// new connections to one slot after the other. Established ones stay where they are (connection tracking). When a member
// comes or goes only the slots that change hands are touched. All functions: setup_lock held.
#pragma once

#include "network/service.h"

// The endpoint is marked plugged: its ports into the table, those that others share into their spread. 0 or -errno, -ENOENT: the
// table is not as it was.
int spread_publish(struct network_service *networks, const struct network_endpoint *endpoint);
// It is marked unplugged: the other way. As far as they are there.
void spread_unpublish(struct network_service *networks, const struct network_endpoint *endpoint);
// Which members serve has changed: every spread is dealt anew where it must be.
int spread_refresh_all(struct network_service *networks);
// For a table that is made from nothing: of all mappings those that are not shared stay in `ports` (*n is how many), the others
// become slots, owned array.
struct port_slot *spread_rebuild(struct network_service *networks, struct port_mapping *ports, size_t *n,
                                 size_t *ret_slot_count);
bool spread_is_shared(struct network_service *networks, const struct port_mapping *ports, size_t n);
void spread_free_all(struct network_service *networks);
