// Small networks to test in: this process in a namespace of its own as the host, more namespaces as
// containers and as the world outside. Nothing reaches the machine's own network.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Move this process into a fresh network namespace with lo up; false when the privileges are missing.
bool world_enter(void);
// A fresh namespace with lo up, owned descriptor; closing the last one ends it.
int world_new_netns(void);
// A veth pair between the host and a namespace, both sides up with these /24 addresses.
void world_connect(int netns_fd, const char *name, const char *host_ip, const char *netns_ip);

// A socket bound to ip:port in a namespace, listening when it is TCP, owned. -1: the host. Text addresses.
int world_listen(int netns_fd, int type, const char *ip, uint16_t port);
// Connect from a namespace. A connected socket, owned, or -errno (-ETIMEDOUT within timeout_ms).
int world_connect_tcp(int netns_fd, const char *ip, uint16_t port, int timeout_ms);
// Whether a connection from `from` to ip:port arrives at the listener; *ret_peer (16 bytes, may be NULL) is
// who it seems to be.
bool world_reaches(int from, const char *ip, uint16_t port, int listener, char *ret_peer);
// Send a datagram to ip:port and get it back from the responder behind it; *ret_peer as above.
bool world_echoes(int from, const char *ip, uint16_t port, int responder, char *ret_peer);
// The interfaces of the host's side, lo not counted.
int world_count_links(void);
