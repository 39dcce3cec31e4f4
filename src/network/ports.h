// Which host ports are ours: claims by protocol, address and port, and the question whether a process of the
// host listens there. Thread-safe.
#pragma once

#include "base/error.h"
#include "base/ip.h"
#include "network/network.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { PORT_BUCKETS = 1024, PROTOCOL_COUNT = 3 };

struct port_claim {
    struct port_claim *next;
    struct ip_address host_ip; // 0.0.0.0 or ::: every address of its family
    uint16_t port;
    enum network_protocol protocol;
    unsigned holders;
    char **sharers; // owned strv: who may hold it too is known by one of these; NULL: nobody may
};

struct port_table {
    pthread_mutex_t lock; // guards all below
    struct port_claim *buckets[PORT_BUCKETS];
    uint16_t next_random; // where the search for a free port begins
    uint16_t first_random, last_random;
    size_t count;
};

// The range of ports to choose from is the kernel's (ip_local_port_range), 32768-60999 when that cannot be
// read.
void ports_init(struct port_table *table);
void ports_done(struct port_table *table);

// Claim the host port that `want` asks for (one, one of a range, any), in host_ip. *ret_port is what was
// given. is_recovered: the port is our own from before a restart; whether a process listens there is not
// asked. `sharers` (strv or NULL): a claim on one port that has one of them in common is joined, and both are given back in
// their turn. Errors, to be wrapped by the caller: "Bind for 0.0.0.0:80 failed: port is already allocated" (ours),
// "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use" (a process's).
int ports_claim(struct port_table *table, const struct network_port *want, const struct ip_address *host_ip,
                const char *container_ip, bool is_recovered, char *const *sharers, uint16_t *ret_port,
                struct error *err);
// Is it held more than once?
bool ports_is_shared(struct port_table *table, enum network_protocol protocol,
                     const struct ip_address *host_ip, uint16_t port);
void ports_give_back(struct port_table *table, enum network_protocol protocol,
                     const struct ip_address *host_ip, uint16_t port);

const char *network_protocol_name(enum network_protocol protocol); // "tcp", "udp", "sctp"
uint8_t network_protocol_number(enum network_protocol protocol);   // IPPROTO_*
