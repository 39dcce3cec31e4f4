#include "container/hostfiles.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>

enum { HOST_FILE_MAX = 1 << 20 };

void hostfile_hosts(const struct container_config *config, const char *hostname, char *const *addresses,
                    const char *gateway, struct str *out)
{
    if (config->network.kind == NS_MODE_HOST)
        file_read_at(AT_FDCWD, "/etc/hosts", HOST_FILE_MAX, out);
    else
        str_append(out,
                   "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
                   "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
    if (out->len && out->ptr[out->len - 1] != '\n')
        str_append_char(out, '\n');
    for (size_t i = 0; i < config->extra_host_count; i++) {
        const struct extra_host *h = &config->extra_hosts[i];
        const char *address = streq(h->ip, "host-gateway") ? gateway : h->ip;
        if (!str_is_empty(address))
            str_appendf(out, "%s\t%s\n", address, h->name);
    }
    for (size_t i = 0; addresses && addresses[i]; i++) {
        if (config->domainname && *config->domainname)
            str_appendf(out, "%s\t%s.%s %s\n", addresses[i], hostname, config->domainname, hostname);
        else
            str_appendf(out, "%s\t%s\n", addresses[i], hostname);
    }
}

static bool is_loopback(const char *address)
{
    return str_has_prefix(address, "127.") || streq(address, "::1");
}

struct resolver {
    char **servers, **search, **options;
};

static void read_resolver(const char *text, bool keeps_loopback, struct resolver *r)
{
    CLEANUP(strv_freep) char **lines = strv_split(text, "\n", false);
    for (size_t i = 0; lines && lines[i]; i++) {
        CLEANUP(strv_freep) char **words = strv_split(lines[i], " \t\r", false);
        if (strv_len(words) < 2 || words[0][0] == '#' || words[0][0] == ';')
            continue;
        bool is_search = streq(words[0], "search") || streq(words[0], "domain");
        if (is_search) { // the last one counts
            strv_free(r->search);
            r->search = NULL;
        }
        for (size_t k = 1; words[k]; k++) {
            if (is_search)
                strv_push(&r->search, words[k]);
            else if (streq(words[0], "options"))
                strv_push(&r->options, words[k]);
            else if (streq(words[0], "nameserver") && k == 1 && (keeps_loopback || !is_loopback(words[k])))
                strv_push(&r->servers, words[k]);
        }
    }
}

static void append_line(struct str *out, const char *keyword, char *const *words)
{
    if (!strv_len(words))
        return;
    str_append(out, keyword);
    for (size_t i = 0; words[i]; i++)
        str_appendf(out, " %s", words[i]);
    str_append_char(out, '\n');
}

static void resolver_done(struct resolver *r)
{
    strv_free(r->servers);
    strv_free(r->search);
    strv_free(r->options);
}

// What counts: the container's own settings, else the host's, else public servers.
static void settle(const struct container_config *config, const char *host_text, bool keeps_loopback,
                   struct resolver *r)
{
    char **const own[] = { config->dns, config->dns_search, config->dns_options },
                 ***const members[] = { &r->servers, &r->search, &r->options };
    read_resolver(host_text, keeps_loopback, r);
    for (size_t i = 0; i < 3; i++)
        if (strv_len(own[i])) {
            strv_free(*members[i]);
            *members[i] = strv_copy(own[i]);
        }
    if (!strv_len(r->servers)) {
        strv_push(&r->servers, "8.8.8.8");
        strv_push(&r->servers, "8.8.4.4");
    }
}

static void append_resolver(const struct resolver *r, struct str *out)
{
    for (size_t i = 0; r->servers[i]; i++)
        str_appendf(out, "nameserver %s\n", r->servers[i]);
    if (!(strv_len(r->search) == 1 && streq(r->search[0], "."))) // "--dns-search ." asks for none
        append_line(out, "search", r->search);
    append_line(out, "options", r->options);
}

void hostfile_resolv_conf(const struct container_config *config, const char *host_text, bool keeps_loopback,
                          struct str *out)
{
    struct resolver r CLEANUP(resolver_done) = { 0 };
    settle(config, host_text, keeps_loopback, &r);
    append_resolver(&r, out);
}

// Names of containers have no dots, and are asked as they are.
static void allow_bare_names(struct resolver *r)
{
    bool has_ndots = false;
    for (size_t i = 0; r->options && r->options[i]; i++)
        has_ndots |= str_has_prefix(r->options[i], "ndots:");
    if (!has_ndots)
        strv_push(&r->options, "ndots:0");
}

void hostfile_resolv_conf_of_names(const struct container_config *config, const char *host_text,
                                   const char *resolver, struct str *out)
{
    struct resolver r CLEANUP(resolver_done) = { 0 };
    settle(config, host_text, true, &r);
    strv_free(r.servers);
    r.servers = NULL;
    strv_push(&r.servers, resolver);
    allow_bare_names(&r);
    append_resolver(&r, out);
}

void hostfile_resolv_conf_of_bridge(const struct container_config *config, const char *host_text,
                                    const char *first, struct str *out)
{
    enum { SERVERS_MAX = 3 }; // resolv.conf(5): what is beyond is not asked
    struct resolver r CLEANUP(resolver_done) = { 0 };
    char **others, **servers = NULL;
    settle(config, host_text, false, &r);
    others = r.servers;
    strv_push(&servers, first);
    for (size_t i = 0; others[i] && i + 1 < SERVERS_MAX; i++)
        strv_push(&servers, others[i]);
    strv_free(others);
    r.servers = servers;
    allow_bare_names(&r);
    append_resolver(&r, out);
}

size_t hostfile_upstreams(const struct container_config *config, const char *host_text,
                          struct ip_address *list, size_t max)
{
    struct resolver r CLEANUP(resolver_done) = { 0 };
    size_t n = 0;
    settle(config, host_text, true, &r);
    for (size_t i = 0; r.servers[i] && n < max; i++)
        if (ip_parse(r.servers[i], &list[n]))
            n++;
    return n;
}

void hostfile_read_resolv_conf(struct str *out)
{
    if (file_read_at(AT_FDCWD, "/etc/resolv.conf", HOST_FILE_MAX, out) < 0)
        return;
    struct resolver r = { 0 };
    read_resolver(out->ptr, false, &r);
    if (!strv_len(r.servers) && strstr(out->ptr, "127.0.0.53")) {
        CLEANUP(str_done) struct str upstream = STR_INIT;
        if (file_read_at(AT_FDCWD, "/run/systemd/resolve/resolv.conf", HOST_FILE_MAX, &upstream) == 0) {
            str_clear(out);
            str_append_n(out, upstream.ptr, upstream.len);
        }
    }
    resolver_done(&r);
}
