// rtnetlink: links, addresses and routes of both families, and entering a network namespace. Everything acts on the
// namespace the socket was opened in. 0 (or a positive index) or -errno.
// Source: rtnetlink(7), veth(4), linux/if_link.h.
#pragma once

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_veth {
    const char *host_name; // at most 15 characters
    unsigned master;       // index of the bridge the host side joins; 0: none
    int mtu;
    const char *peer_name;   // its name in the namespace below
    const uint8_t *peer_mac; // 6 bytes; NULL: the kernel's choice
    int peer_netns_fd;       // where the peer is born
};
// A veth pair in one message: the host side is up and a port of the bridge, the peer is born in its namespace
// (down). -EEXIST when a name is taken; -ENODEV when the bridge is gone.
int link_add_veth(int fd, const struct link_veth *veth);
// A bridge with a fixed address (without one it takes its lowest port's, and changes it as containers come
// and go), down.
int link_add_bridge(int fd, const char *name, const uint8_t mac[static 6], int mtu);

enum link_child_kind { LINK_MACVLAN, LINK_IPVLAN, LINK_VLAN, LINK_DUMMY };
struct link_child {
    enum link_child_kind kind;
    const char *name;
    unsigned parent;    // index of the link it sits on; 0 for LINK_DUMMY
    uint32_t mode;      // MACVLAN_MODE_*, IPVLAN_MODE_*; LINK_VLAN: the VLAN's id
    uint16_t flags;     // IPVLAN_F_*
    const uint8_t *mac; // 6 bytes or NULL
    int mtu;            // 0: the parent's
    int netns_fd;       // where it is born, -1: here
};
int link_add_child(int fd, const struct link_child *child);
int link_set_up(int fd, unsigned index);
// A link that is there joins a bridge; master 0: leaves it.
int link_set_master(int fd, unsigned index, unsigned master);
// How a bridge treats this port. is_isolated: no frame passes to or from other isolated ports; is_hairpin:
// frames may leave by the port they came in.
int link_set_port(int fd, unsigned index, bool is_isolated, bool is_hairpin);
// Let the kernel act now on a change of carrier it would otherwise act on in the background: a bridge port
// forwards, and an interface sends, only after that. 1: the link has a carrier; 0: it has none; or -errno.
int link_settle(int fd, const char *name);
int link_delete(int fd, unsigned index);
// The link's index (> 0), or -ENODEV.
int link_index(int fd, const char *name);

struct link_info {
    unsigned index, master; // master 0: none
    const char *name;       // borrowed for the call
    bool is_bridge;
};
int link_each(int fd, int (*visit)(const struct link_info *link, void *context), void *context);

// What has gone over a link, seen from the namespace of the socket.
struct link_direction {
    uint64_t bytes, packets, errors, dropped;
};
struct link_counters {
    unsigned index;
    struct link_direction received, sent;
};
// Of every link / of one (-ENODEV: there is none). Source: RTM_GETSTATS, IFLA_STATS_LINK_64 of linux/if_link.h.
int link_counters_each(int fd, int (*visit)(const struct link_counters *counters, void *context),
                       void *context);
int link_counters_get(int fd, unsigned index, struct link_counters *ret);

// An address that is there already is success. IPv6 addresses are usable at once (no duplicate detection: we gave it).
int address_add(int fd, unsigned index, const struct ip_prefix *address);
int address_delete(int fd, unsigned index, const struct ip_prefix *address);
// The first global address of that family of a link; -ENOENT when it has none.
int address_get(int fd, unsigned index, int family, struct ip_prefix *ret);
// Every address of every link, both families, link-local ones too.
int address_each(int fd, int (*visit)(unsigned index, const struct ip_prefix *address, void *context),
                 void *context);

enum { LINK_ADDRESSES_MAX = 8, LINK_GATEWAYS_MAX = 2 };
struct link_setup {
    struct ip_prefix addresses[LINK_ADDRESSES_MAX];
    size_t address_count;
    struct ip_address gateways[LINK_GATEWAYS_MAX]; // default routes through them
    size_t gateway_count;
};
// Bring a link up, give it its addresses and default routes, in one send.
int link_configure(int fd, unsigned index, const struct link_setup *setup);

struct route {
    struct ip_prefix destination; // length 0: the default route
    struct ip_address gateway;    // none: on the link itself
    unsigned index;               // 0: more than one way out
};
// Replaces a route to the same destination.
int route_add(int fd, const struct route *route);
int route_delete(int fd, const struct route *route);
// Every unicast route of a family outside the local table.
int route_each(int fd, int family, int (*visit)(const struct route *route, void *context), void *context);

// Move the calling thread into a network namespace and back. netns_leave aborts the process when the way home
// is barred: a thread left in a container's namespace would make the next container's network there.
int netns_enter(int netns_fd);
void netns_leave(int home_fd);
