#include "kernel/nft/policy.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/netlink/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

enum { MESSAGE_BYTES = 256 };

static bool concerns_ipv4(const struct nftnl_chain *c)
{
    uint32_t family = nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY);
    return family == NFPROTO_INET || family == NFPROTO_IPV4;
}

static int visit_chain(const struct nlmsghdr *h, void *context)
{
    bool *drops = context;
    struct nftnl_chain *c = nftnl_chain_alloc();
    if (c == NULL)
        return -ENOMEM;
    bool is_base = nftnl_chain_nlmsg_parse(h, c) == 0 && nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM) &&
                   nftnl_chain_is_set(c, NFTNL_CHAIN_POLICY);
    if (is_base && concerns_ipv4(c) && nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) == NF_INET_LOCAL_IN)
        *drops |= nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_DROP;
    nftnl_chain_free(c);
    return 0;
}

int nft_drops_input(void)
{
    _Alignas(struct nlmsghdr) char request[MESSAGE_BYTES];
    bool drops = false;
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, 0);
    int rc = netlink_dump(fd, h, visit_chain, &drops);
    return rc < 0 ? rc : drops;
}
