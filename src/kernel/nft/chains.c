#include "kernel/nft/chains.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/netlink/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

struct walk {
    int (*visit)(const struct nft_base_chain *chain, void *context);
    void *context;
};

static int visit_message(const struct nlmsghdr *message, void *context)
{
    const struct walk *w = context;
    struct nftnl_chain *c = nftnl_chain_alloc();
    int rc = 0;
    if (!c)
        return -ENOMEM;
    if (nftnl_chain_nlmsg_parse(message, c) >= 0 && nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM)) {
        const struct nft_base_chain chain = { .family = (uint8_t)nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY),
                                              .table = nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE),
                                              .name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME),
                                              .hook = nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM),
                                              .drops =
                                                  nftnl_chain_is_set(c, NFTNL_CHAIN_POLICY) &&
                                                  nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_DROP };
        rc = w->visit(&chain, w->context);
    }
    nftnl_chain_free(c);
    return rc;
}

int nft_each_base_chain(int (*visit)(const struct nft_base_chain *chain, void *context), void *context)
{
    _Alignas(struct nlmsghdr) char request[256];
    struct walk walk = { visit, context };
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    const struct nlmsghdr *h =
        nftnl_nlmsg_build_hdr(request, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, 0);
    return netlink_dump(fd, h, visit_message, &walk);
}
