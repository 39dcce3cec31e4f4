// rtnetlink: links, addresses and routes (IPv4), and entering a network namespace. Everything acts on the
// namespace the socket was opened in. 0 (or a positive index) or -errno. Addresses are in host byte order.
// Source: rtnetlink(7), veth(4).
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct link_veth {
    const char *host_name; // at most 15 characters
    unsigned master;       // index of the bridge the host side joins; 0: none
    int mtu;
    const char *peer_name;   // its name in the namespace below
    const uint8_t *peer_mac; // 6 bytes
    int peer_netns_fd;       // where the peer is born
};
// A veth pair in one message: the host side is up and a port of the bridge, the peer is born in its namespace
// (down). -EEXIST when a name is taken; -ENODEV when the bridge is gone.
int link_add_veth(int fd, const struct link_veth *veth);
// A bridge with a fixed address (without one it takes its lowest port's, and changes it as containers come
// and go), down.
int link_add_bridge(int fd, const char *name, const uint8_t mac[static 6], int mtu);
int link_set_up(int fd, unsigned index);
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

// An address that is there already is success.
int address_add(int fd, unsigned index, uint32_t address, unsigned prefix);
// The first global address of a link; -ENOENT when it has none.
int address_get(int fd, unsigned index, uint32_t *ret_address, unsigned *ret_prefix);

// Bring a link up, give it an address and a default route through gateway (0: none), in one send.
int link_configure(int fd, unsigned index, uint32_t address, unsigned prefix, uint32_t gateway);

// Every unicast IPv4 route of the main table; the default route has prefix 0. index 0: more than one way out.
int route_each(int fd, int (*visit)(uint32_t network, unsigned prefix, unsigned index, void *context),
               void *context);

// Move the calling thread into a network namespace and back. netns_leave aborts the process when the way home
// is barred: a thread left in a container's namespace would make the next container's network there.
int netns_enter(int netns_fd);
void netns_leave(int home_fd);
