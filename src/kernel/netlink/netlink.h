// Netlink sockets: send requests, collect the kernel's verdicts. Messages are built with libmnl in the
// caller's buffer. All functions return 0 (or a descriptor) or -errno. Thread-safe as long as a socket is
// used by one thread at a time.
#pragma once

#include <stddef.h>

struct nlmsghdr;

// A netlink socket in the calling thread's network namespace (NETLINK_ROUTE, NETLINK_NETFILTER), owned,
// CLOEXEC.
int netlink_open(int protocol);

// Send n bytes holding one or more messages and wait until every message that asked for NLM_F_ACK is
// answered. 0, or the first refusal as -errno (the messages after a refused one are still carried out by
// rtnetlink, and none at all by an nftables batch). -EPROTO on a malformed answer.
int netlink_transact(int fd, const void *messages, size_t n);

// Send one NLM_F_DUMP request and hand every message of the answer to visit; a negative result of visit ends
// the dump and is returned. A request without NLM_F_DUMP must ask for NLM_F_ACK. -EINTR when the kernel says the dump is inconsistent (retry).
int netlink_dump(int fd, const struct nlmsghdr *request,
                 int (*visit)(const struct nlmsghdr *message, void *context), void *context);
