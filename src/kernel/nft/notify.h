// Notifications of nf_tables: who changed the namespace's tables, told once for each transaction.
// Source: linux/netfilter/nfnetlink.h (NFNLGRP_NFTABLES), linux/netfilter/nf_tables.h (NFT_MSG_NEWGEN).
#pragma once

#include <stdint.h>

// A socket on which every committed transaction of the calling thread's network namespace arrives as one message (the
// new generation); what the transaction changed stays in the kernel. Owned, non-blocking, CLOEXEC; or -errno.
int nft_notify_open(void);
// The next transaction's author: *ret_port is the port id of the netlink socket it came through. 1, or 0 when there is
// none, or -errno; -ENOBUFS: some were lost.
int nft_notify_read(int fd, uint32_t *ret_port);
// The port id of a netlink socket of ours, 0 for one that is not bound yet (or FD_NONE).
uint32_t nft_port_id(int fd);
