// network create, connect, disconnect, rm.
#include "cli/commands.h"
#include "cli/create.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

// --- create

// Which of the subnets an address or range belongs to is the engine's to say; here they are told apart by family, then by
// order, as Docker's client does.
static bool is_six(const char *text)
{
    return strchr(text, ':') != NULL;
}

static json_t *config_for(json_t *configs, const char *text, const char *key)
{
    json_t *config;
    size_t i;
    json_array_foreach(configs, i,
                       config) if (is_six(json_get_string(config, "Subnet", "")) == is_six(text) &&
                                   !json_object_get(config, key)) return config;
    return NULL;
}

static int add_to_subnets(const struct options *options, const char *name, const char *key, json_t *configs,
                          struct error *err)
{
    for (char *const *v = options_list(options, name); *v; v++) {
        json_t *config = config_for(configs, *v, key);
        if (!config && json_array_size(configs) == 0) { // a subnet is missing: the engine says so
            config = json_object();
            json_array_append_new(configs, config);
        }
        if (!config)
            return error_set(err, ERROR_INVALID, "no matching subnet for %s %s", name, *v);
        json_set_string(config, key, *v);
    }
    return 0;
}

// --aux-address router=10.0.0.5
static int add_reserved(const struct options *options, json_t *configs, struct error *err)
{
    for (char *const *v = options_list(options, "aux-address"); *v; v++) {
        const char *equals = strchr(*v, '=');
        json_t *config = equals ? config_for(configs, equals + 1, "") : NULL;
        if (!config)
            return error_set(err, ERROR_INVALID, "no matching subnet for aux-address %s", *v);
        char *name CLEANUP(cleanup_free) = xstrndup(*v, (size_t)(equals - *v));
        if (!json_get_object(config, "AuxiliaryAddresses"))
            json_object_set_new(config, "AuxiliaryAddresses", json_object());
        json_set_string(json_get_object(config, "AuxiliaryAddresses"), name, equals + 1);
    }
    return 0;
}

static json_t *ipam_of(const struct options *options, struct error *err)
{
    json_t *ipam CLEANUP(json_cleanup) = json_object(), *configs = json_array();
    json_object_set_new(ipam, "Config", configs);
    json_set_string(ipam, "Driver", options_string(options, "ipam-driver", "default"));
    for (char *const *v = options_list(options, "subnet"); *v; v++) {
        json_t *config = json_object();
        json_set_string(config, "Subnet", *v);
        json_array_append_new(configs, config);
    }
    if (add_to_subnets(options, "ip-range", "IPRange", configs, err) < 0 ||
        add_to_subnets(options, "gateway", "Gateway", configs, err) < 0 ||
        add_reserved(options, configs, err) < 0 ||
        create_add_map(options, "ipam-opt", ipam, "Options", err) < 0)
        return NULL;
    return TAKE_PTR(ipam);
}

static int run_network_create(struct cli *cli, const struct options *options, struct error *err)
{
    static const struct {
        const char *option, *member;
    } switches[] = { { "attachable", "Attachable" }, { "config-only", "ConfigOnly" },
                     { "ingress", "Ingress" },       { "internal", "Internal" },
                     { "ipv4", "EnableIPv4" },       { "ipv6", "EnableIPv6" } };
    json_t *body CLEANUP(json_cleanup) = json_object(), *answer CLEANUP(json_cleanup) = NULL;
    json_t *ipam = ipam_of(options, err);
    if (!ipam)
        return -1;
    json_object_set_new(body, "IPAM", ipam);
    json_set_string(body, "Name", options->arguments[0]);
    json_set_string(body, "Driver", options_string(options, "driver", "bridge"));
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (options_has(options, switches[i].option))
            json_set_bool(body, switches[i].member, options_bool(options, switches[i].option, false));
    if (options_has(options, "scope"))
        json_set_string(body, "Scope", options_string(options, "scope", ""));
    if (create_add_map(options, "opt", body, "Options", err) < 0 ||
        create_add_map(options, "label", body, "Labels", err) < 0 ||
        cli_call(cli, "POST", "/networks/create", body, &answer, err) < 0)
        return -1;
    const char *warning = json_get_string(answer, "Warning", "");
    if (!str_is_empty(warning))
        cli_complain("WARNING: %s", warning);
    cli_print(cli, "%s\n", json_get_string(answer, "Id", ""));
    return 0;
}

static const struct option create_options_of_network[] = {
    { "attachable", 0, OPTION_BOOL, NULL, "Enable manual container attachment" },
    { "aux-address", 0, OPTION_LIST, "name=ip", "Addresses that no container may get (router=10.0.0.5)" },
    { "config-only", 0, OPTION_BOOL, NULL, "" },
    { "driver", 'd', OPTION_STRING, NULL, "Driver: bridge (default), macvlan or ipvlan" },
    { "gateway", 0, OPTION_LIST, "ip", "IPv4 or IPv6 gateway of a subnet" },
    { "ingress", 0, OPTION_BOOL, NULL, "" },
    { "internal", 0, OPTION_BOOL, NULL, "Restrict external access to the network" },
    { "ip-range", 0, OPTION_LIST, "cidr", "Give containers addresses of this part of the subnet" },
    { "ipam-driver", 0, OPTION_STRING, NULL, "" },
    { "ipam-opt", 0, OPTION_LIST, "key=value", "" },
    { "ipv4", 0, OPTION_BOOL, NULL, "Give containers IPv4 addresses (default true)" },
    { "ipv6", 0, OPTION_BOOL, NULL, "Give containers IPv6 addresses" },
    { "label", 0, OPTION_LIST, "key=value", "Set metadata on the network" },
    { "opt", 'o', OPTION_LIST, "key=value",
      "Driver option: com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade, "
      ".host_binding_ipv4, "
      "com.docker.network.driver.mtu, parent, macvlan_mode, ipvlan_mode, ipvlan_flag" },
    { "scope", 0, OPTION_STRING, NULL, "" },
    { "subnet", 0, OPTION_LIST, "cidr",
      "Subnet in CIDR format (default: one that no route of the host meets)" },
    OPTION_END,
};

// --- connect and disconnect

static json_t *endpoint_of(const struct options *options, struct error *err)
{
    json_t *endpoint CLEANUP(json_cleanup) = json_object(), *ipam = json_object();
    static const char *const addresses[][2] = { { "ip", "IPv4Address" }, { "ip6", "IPv6Address" } };
    static const char *const lists[][2] = { { "alias", "Aliases" }, { "link", "Links" } };
    json_object_set_new(endpoint, "IPAMConfig", ipam);
    for (size_t i = 0; i < 2; i++)
        if (options_has(options, addresses[i][0]))
            json_set_string(ipam, addresses[i][1], options_string(options, addresses[i][0], ""));
    if (*options_list(options, "link-local-ip"))
        json_object_set_new(ipam, "LinkLocalIPs", json_from_strv(options_list(options, "link-local-ip")));
    for (size_t i = 0; i < 2; i++)
        if (*options_list(options, lists[i][0]))
            json_object_set_new(endpoint, lists[i][1], json_from_strv(options_list(options, lists[i][0])));
    if (options_has(options, "gw-priority"))
        json_set_int(endpoint, "GwPriority", options_number(options, "gw-priority", 0));
    if (create_add_map(options, "driver-opt", endpoint, "DriverOpts", err) < 0)
        return NULL;
    return TAKE_PTR(endpoint);
}

static int post(struct cli *cli, const char *network, const char *what, const json_t *body, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/networks/");
    target_name(&target, network);
    target_path(&target, what);
    return cli_call(cli, "POST", target.text.ptr, body, NULL, err);
}

static int run_network_connect(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object(), *endpoint = endpoint_of(options, err);
    if (!endpoint)
        return -1;
    json_set_string(body, "Container", options->arguments[1]);
    json_object_set_new(body, "EndpointConfig", endpoint);
    return post(cli, options->arguments[0], "/connect", body, err);
}

static int run_network_disconnect(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object();
    json_set_string(body, "Container", options->arguments[1]);
    json_set_bool(body, "Force", options_bool(options, "force", false));
    return post(cli, options->arguments[0], "/disconnect", body, err);
}

static const struct option connect_options[] = {
    { "alias", 0, OPTION_LIST, NULL, "Add network-scoped alias for the container" },
    { "driver-opt", 0, OPTION_LIST, "key=value",
      "Driver options for the endpoint (com.docker.network.endpoint.sysctls, .ifname)" },
    { "gw-priority", 0, OPTION_INT, NULL,
      "The network with the highest priority provides the default gateway" },
    { "ip", 0, OPTION_STRING, NULL, "IPv4 address (e.g., \"172.30.100.104\")" },
    { "ip6", 0, OPTION_STRING, NULL, "IPv6 address (e.g., \"2001:db8::33\")" },
    { "link", 0, OPTION_LIST, NULL, "Add link to another container" },
    { "link-local-ip", 0, OPTION_LIST, NULL, "Add a link-local address for the container" },
    OPTION_END,
};
static const struct option disconnect_options[] = {
    { "force", 'f', OPTION_BOOL, NULL, "Succeed when the container is gone already" },
    OPTION_END,
};

// --- rm

static int run_network_rm(struct cli *cli, const struct options *options, struct error *err)
{
    int code = 0;
    (void)err;
    for (char **name = options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        struct error failure = { 0 };
        target_path(&target, "/networks/");
        target_name(&target, *name);
        bool is_done = cli_call(cli, "DELETE", target.text.ptr, NULL, NULL, &failure) == 0;
        if (is_done || (options_bool(options, "force", false) && failure.kind == ERROR_NOT_FOUND)) {
            cli_print(cli, "%s\n", *name);
            (void)cli_flush(cli);
            continue;
        }
        cli_complain("%s", failure.message);
        code = 1;
        if (cli->client.unreachable)
            break;
    }
    return code;
}

static const struct option rm_options[] = {
    { "force", 'f', OPTION_BOOL, NULL, "Do not fail when a network does not exist" },
    OPTION_END,
};

const struct command command_network_create = {
    "create", NULL,  "[OPTIONS] NETWORK", "Create a network", create_options_of_network, 1,
    1,        false, run_network_create
};
const struct command command_network_connect = { "connect",
                                                 NULL,
                                                 "[OPTIONS] NETWORK CONTAINER",
                                                 "Connect a container to a network, while it runs, too",
                                                 connect_options,
                                                 2,
                                                 2,
                                                 false,
                                                 run_network_connect };
const struct command command_network_disconnect = { "disconnect",
                                                    NULL,
                                                    "[OPTIONS] NETWORK CONTAINER",
                                                    "Disconnect a container from a network",
                                                    disconnect_options,
                                                    2,
                                                    2,
                                                    false,
                                                    run_network_disconnect };
const struct command command_network_rm = { "rm",
                                            "skiff network rm, skiff network remove",
                                            "NETWORK [NETWORK...]",
                                            "Remove one or more networks",
                                            rm_options,
                                            1,
                                            -1,
                                            false,
                                            run_network_rm };
