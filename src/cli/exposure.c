#include "cli/exposure.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>

int exposure_chains(struct cli *cli, json_t **ret, struct error *err)
{
    json_t *info CLEANUP(json_cleanup) = NULL;
    if (cli_call(cli, "GET", "/info", NULL, &info, err) < 0)
        return -1;
    json_t *chains = json_get_array(info, "ForwardDroppedBy");
    *ret = chains ? json_incref(chains) : json_array();
    return 0;
}

static bool is_loopback(const char *ip)
{
    return str_has_prefix(ip, "127.") || streq(ip, "::1");
}

static bool concerns(const json_t *chain, bool is_six)
{
    const char *family = json_get_string(chain, "Family", "");
    return streq(family, "inet") || streq(family, is_six ? "ip6" : "ip");
}

char *exposure_of(const char *host_ip, const json_t *chains)
{
    struct str text = STR_INIT;
    bool is_six = strchr(host_ip, ':') != NULL, is_any = false;
    if (is_loopback(host_ip))
        return xstrdup("host");
    str_append(&text, "world");
    for (size_t i = 0; i < json_array_size(chains); i++) {
        const json_t *chain = json_array_get(chains, i);
        if (!concerns(chain, is_six))
            continue;
        str_appendf(&text, "%stable %s %s, chain %s: policy drop", is_any ? "; " : " (may be blocked by ",
                    json_get_string(chain, "Family", ""), json_get_string(chain, "Table", ""),
                    json_get_string(chain, "Chain", ""));
        is_any = true;
    }
    if (is_any)
        str_append_char(&text, ')');
    return str_take(&text);
}

char *exposure_of_ports(const json_t *ports, const json_t *chains)
{
    struct str text = STR_INIT;
    str_append(&text, "");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        const char *ip = json_get_string(port, "IP", "");
        int64_t outside = json_get_int(port, "PublicPort", 0);
        bool is_six = strchr(ip, ':') != NULL;
        if (outside == 0)
            continue;
        char *exposure CLEANUP(cleanup_free) = exposure_of(ip, chains);
        str_appendf(&text, "%s%s%s%s:%" PRId64 "/%s %s", text.len ? ", " : "", is_six ? "[" : "", ip,
                    is_six ? "]" : "", outside, json_get_string(port, "Type", "tcp"), exposure);
    }
    return str_take(&text);
}
