// The members by which an update names ports, devices and mounts. They are this engine's own: POST /containers/{id}/update of Docker
// has none, and other clients never send them. Each adds to or takes from the HostConfig that a create request would have had, so that
// what comes of it is parsed, kept and shown as if it had been so from the beginning:
//
//   PortBindingsAdd     {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, as HostConfig.PortBindings
//   PortBindingsRemove  the same; what is left empty fits any, an empty list takes all of that port
//   DevicesAdd          [{"PathOnHost", "PathInContainer", "CgroupPermissions"}], as HostConfig.Devices
//   DevicesRemove       ["/dev/x"], paths in the container
//   BindsAdd, MountsAdd as HostConfig.Binds and HostConfig.Mounts
//   MountsRemove        ["/data"], destinations in the container
//   ForceUnmount        take mounts off that are in use
#include "container/update.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

static const struct {
    const char *name;
    json_type type;
} members[] = {
    { "PortBindingsAdd", JSON_OBJECT }, { "PortBindingsRemove", JSON_OBJECT },
    { "DevicesAdd", JSON_ARRAY },       { "DevicesRemove", JSON_ARRAY },
    { "BindsAdd", JSON_ARRAY },         { "MountsAdd", JSON_ARRAY },
    { "MountsRemove", JSON_ARRAY },     { "ForceUnmount", JSON_TRUE },
};

bool update_wish_is_member(const char *key)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (streq(key, members[i].name))
            return true;
    return false;
}

static int check_types(const json_t *change, struct error *err)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const json_t *v = json_object_get(change, members[i].name);
        bool is_switch = members[i].type == JSON_TRUE;
        if (v && !json_is_null(v) && (is_switch ? !json_is_boolean(v) : json_typeof(v) != members[i].type))
            return error_set(err, ERROR_INVALID, "%s: wrong type", members[i].name);
    }
    return 0;
}

static const char *text_of(const json_t *v)
{
    return json_is_string(v) ? json_string_value(v) : "";
}

// The member of HostConfig, made when it is missing or null.
static json_t *member(json_t *host_config, const char *key, bool is_array)
{
    json_t *v = json_object_get(host_config, key);
    if (is_array ? json_is_array(v) : json_is_object(v))
        return v;
    v = is_array ? json_array() : json_object();
    json_object_set_new(host_config, key, v);
    return v;
}

static void extend(json_t *host_config, const char *key, const json_t *added)
{
    if (json_array_size(added))
        json_array_extend(member(host_config, key, true), (json_t *)(uintptr_t)added);
}

// --- ports
struct port_key {
    uint16_t port;
    enum network_protocol protocol;
    const char *ip, *host_port; // "": any
};

static bool fits_endpoint(const struct network_port *p, const struct port_key *k)
{
    uint32_t port;
    return p->container_port == k->port && p->protocol == k->protocol &&
           (!*k->ip || streq(p->host_ip, k->ip)) &&
           (!*k->host_port || (parse_u32(k->host_port, 65535, &port) && p->host_port == port));
}

static bool is_address_of(const json_t *binding, const struct port_key *k)
{
    const char *ip = json_get_string(binding, "HostIp", "");
    return !*k->ip || streq(ip, k->ip) || (!*ip && streq(k->ip, "0.0.0.0"));
}

// A binding that leaves the choice ("" or a range) and was given this port.
static bool is_choice(const json_t *binding, const struct port_key *k)
{
    const char *text = json_get_string(binding, "HostPort", "");
    return (!*text || streq(text, "0") || strchr(text, '-')) && is_address_of(binding, k);
}

static void note_gone(struct update_wish *wish, const struct network_port *port)
{
    wish->gone = xreallocarray(wish->gone, wish->gone_count + 1, sizeof *wish->gone);
    wish->gone[wish->gone_count++] = *port;
}

// Bindings of one list that the key fits go. How many there were.
static size_t remove_bindings(json_t *bindings, const struct port_key *k,
                              const struct network_endpoint *endpoint, struct update_wish *wish)
{
    size_t found = 0;
    for (size_t i = json_array_size(bindings); i > 0; i--) {
        const json_t *b = json_array_get(bindings, i - 1);
        if (is_address_of(b, k) &&
            (!*k->host_port || streq(json_get_string(b, "HostPort", ""), k->host_port))) {
            json_array_remove(bindings, i - 1);
            found++;
        }
    }
    for (size_t p = 0; found == 0 && endpoint && p < endpoint->port_count; p++) {
        if (!*k->host_port || !fits_endpoint(&endpoint->ports[p], k))
            continue;
        for (size_t i = 0; i < json_array_size(bindings) && found == 0; i++)
            if (is_choice(json_array_get(bindings, i), k)) {
                json_array_remove(bindings, i);
                note_gone(wish, &endpoint->ports[p]);
                found++;
            }
    }
    return found;
}

static int remove_port(json_t *host_config, const char *key, const json_t *binding,
                       const struct network_endpoint *endpoint, struct update_wish *wish, struct error *err)
{
    struct port_key k = { .ip = json_get_string(binding, "HostIp", ""),
                          .host_port = json_get_string(binding, "HostPort", "") };
    if (config_parse_port(key, &k.port, &k.protocol, err) < 0)
        return -1;
    json_t *all = member(host_config, "PortBindings", false), *bindings = NULL, *v;
    const char *name;
    json_object_foreach(all, name, v)
    {
        uint16_t port;
        enum network_protocol protocol;
        struct error ignored;
        if (config_parse_port(name, &port, &protocol, &ignored) == 0 && port == k.port &&
            protocol == k.protocol)
            bindings = v;
        if (bindings == v)
            break;
    }
    size_t found = remove_bindings(bindings, &k, endpoint, wish);
    if (bindings &&
        json_array_size(bindings) == 0) { // a port that is bound to nothing would be published on any
        json_object_del(all, name);
        found++;
    }
    if (found > 0)
        return 0;
    for (size_t i = 0; endpoint && i < endpoint->port_count; i++)
        if (fits_endpoint(&endpoint->ports[i], &k))
            return error_set(err, ERROR_INVALID,
                             "port %s is published by --publish-all: it goes only with that", key);
    return error_set(err, ERROR_INVALID, "port %s is not published%s%s%s%s", key,
                     *k.ip || *k.host_port ? " on " : "", k.ip, *k.ip && *k.host_port ? ":" : "",
                     k.host_port);
}

static int remove_ports(json_t *host_config, const json_t *removed, const struct network_endpoint *endpoint,
                        struct update_wish *wish, struct error *err)
{
    const char *key;
    json_t *bindings, *binding;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)removed, key, bindings)
    {
        if (json_array_size(bindings) == 0 && remove_port(host_config, key, NULL, endpoint, wish, err) < 0)
            return -1;
        json_array_foreach(bindings, i, binding)
        {
            if (remove_port(host_config, key, binding, endpoint, wish, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int add_ports(json_t *host_config, const json_t *added, struct error *err)
{
    const char *key;
    json_t *bindings;
    uint16_t port;
    enum network_protocol protocol;
    json_object_foreach((json_t *)(uintptr_t)added, key, bindings)
    {
        CLEANUP(json_cleanup) json_t *any = json_pack("[{s:s,s:s}]", "HostIp", "", "HostPort", "");
        if (config_parse_port(key, &port, &protocol, err) < 0)
            return -1;
        extend(member(host_config, "PortBindings", false), key, json_array_size(bindings) ? bindings : any);
    }
    return 0;
}

static int check_network(const struct container_config *config, struct error *err)
{
    if (config->network.kind == NS_MODE_CONTAINER)
        return error_set(err, ERROR_INVALID,
                         "conflicting options: port publishing and the container type network mode");
    if (config->network.kind != NS_MODE_PRIVATE)
        return error_set(err, ERROR_INVALID, "conflicting options: port publishing and the network mode %s",
                         config->network.kind == NS_MODE_HOST ? "host" : "none");
    return 0;
}

// --- devices
static int remove_devices(json_t *host_config, const json_t *removed, struct error *err)
{
    json_t *devices = member(host_config, "Devices", true), *v;
    size_t i;
    json_array_foreach(removed, i, v)
    {
        size_t before = json_array_size(devices);
        for (size_t k = before; k > 0; k--) {
            const json_t *d = json_array_get(devices, k - 1);
            const char *inside = json_get_string(d, "PathInContainer", "");
            if (streq(*inside ? inside : json_get_string(d, "PathOnHost", ""), text_of(v)))
                json_array_remove(devices, k - 1);
        }
        if (json_array_size(devices) == before)
            return error_set(err, ERROR_INVALID, "the container has no device %s", text_of(v));
    }
    return 0;
}

static int check_devices(const json_t *host_config, const json_t *added, struct error *err)
{
    const json_t *have = json_get_array(host_config, "Devices"), *v, *d;
    size_t i, k;
    json_array_foreach(added, i, v)
    {
        const char *inside = json_get_string(v, "PathInContainer", "");
        inside = *inside ? inside : json_get_string(v, "PathOnHost", "");
        json_array_foreach(have, k, d)
        {
            const char *other = json_get_string(d, "PathInContainer", "");
            if (streq(inside, *other ? other : json_get_string(d, "PathOnHost", "")))
                return error_set(err, ERROR_CONFLICT, "the container has a device %s already", inside);
        }
    }
    return 0;
}

// --- mounts
static bool is_clean_target(const char *text, const char *target)
{
    struct error ignored;
    CLEANUP(cleanup_free) char *clean = NULL;
    return config_clean_target(text, &clean, &ignored) == 0 && streq(clean, target);
}

static void remove_binds(json_t *binds, const char *target)
{
    for (size_t i = json_array_size(binds); i > 0; i--) {
        struct bind_mount b;
        struct error ignored;
        if (config_parse_bind(text_of(json_array_get(binds, i - 1)), &b, &ignored) < 0)
            continue;
        if (streq(b.target, target))
            json_array_remove(binds, i - 1);
        bind_mount_done(&b);
    }
}

static void remove_mount(json_t *host_config, const char *target)
{
    json_t *mounts = json_get_array(host_config, "Mounts"), *tmpfs = json_get_object(host_config, "Tmpfs"),
           *v;
    const char *key;
    void *next;
    remove_binds(json_get_array(host_config, "Binds"), target);
    for (size_t i = json_array_size(mounts); i > 0; i--)
        if (is_clean_target(json_get_string(json_array_get(mounts, i - 1), "Target", ""), target))
            json_array_remove(mounts, i - 1);
    json_object_foreach_safe(tmpfs, next, key, v)
    {
        if (is_clean_target(key, target))
            json_object_del(tmpfs, key);
    }
}

static int remove_mounts(json_t *host_config, const json_t *removed, const struct container_config *config,
                         struct update_wish *wish, struct error *err)
{
    size_t i;
    json_t *v;
    json_array_foreach(removed, i, v)
    {
        CLEANUP(cleanup_free) char *target = NULL;
        if (config_clean_target(text_of(v), &target, err) < 0)
            return -1;
        if (!config_has_target(config, target) || strv_contains(wish->removed_targets, target))
            return error_set(err, ERROR_INVALID, "the container has no mount %s", target);
        remove_mount(host_config, target);
        strv_push(&wish->removed_targets, target);
    }
    return 0;
}

// Against what the container has of others (volumes-from, the image's volumes), which HostConfig does not name.
static int check_target(const struct container_config *config, const struct update_wish *wish,
                        const char *target, struct error *err)
{
    if (config_has_target(config, target) && !strv_contains(wish->removed_targets, target))
        return error_set(err, ERROR_INVALID, "Duplicate mount point: %s", target);
    return 0;
}

static int add_mounts(json_t *host_config, const json_t *change, const struct container_config *config,
                      struct update_wish *wish, struct error *err)
{
    struct container_config added = { 0 };
    CLEANUP(json_cleanup) json_t *part = json_object();
    extend(part, "Binds", json_get_array(change, "BindsAdd"));
    extend(part, "Mounts", json_get_array(change, "MountsAdd"));
    int r = config_parse_mounts(part, &added, err);
    for (size_t i = 0; i < added.bind_count && r == 0; i++)
        r = check_target(config, wish, added.binds[i].target, err);
    for (size_t i = 0; i < added.tmpfs_count && r == 0; i++)
        r = check_target(config, wish, added.tmpfs[i].target, err);
    wish->added = TAKE_PTR(added.binds);
    wish->added_count = added.bind_count;
    added.bind_count = 0;
    container_config_done(&added);
    if (r < 0)
        return -1;
    extend(host_config, "Binds", json_get_array(change, "BindsAdd"));
    extend(host_config, "Mounts", json_get_array(change, "MountsAdd"));
    return 0;
}

// --- all
static bool names_any(const json_t *change)
{
    bool has_any = false;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const json_t *v = json_object_get(change, members[i].name);
        has_any |= json_is_array(v) ? json_array_size(v) > 0 : json_object_size(v) > 0;
    }
    return has_any;
}

static int parse(const json_t *change, const struct container_config *config,
                 const struct network_endpoint *endpoint, json_t *host_config, struct update_wish *wish,
                 struct error *err)
{
    const json_t *gone = json_get_object(change, "PortBindingsRemove"),
                 *come = json_get_object(change, "PortBindingsAdd"),
                 *devices = json_get_array(change, "DevicesAdd");
    if ((json_object_size(gone) || json_object_size(come)) && check_network(config, err) < 0)
        return -1;
    if (remove_ports(host_config, gone, endpoint, wish, err) < 0 || add_ports(host_config, come, err) < 0)
        return -1;
    if (remove_devices(host_config, json_get_array(change, "DevicesRemove"), err) < 0 ||
        check_devices(host_config, devices, err) < 0)
        return -1;
    extend(host_config, "Devices", devices);
    if (remove_mounts(host_config, json_get_array(change, "MountsRemove"), config, wish, err) < 0)
        return -1;
    return add_mounts(host_config, change, config, wish, err);
}

int update_wish_parse(const json_t *change, const struct container_config *config,
                      const struct network_endpoint *endpoint, json_t *host_config, struct update_wish *ret,
                      struct error *err)
{
    *ret = (struct update_wish){ .has_any = names_any(change),
                                 .is_forced = json_get_bool(change, "ForceUnmount", false) };
    if (check_types(change, err) < 0)
        return -1;
    if (!ret->has_any)
        return 0;
    if (parse(change, config, endpoint, host_config, ret, err) == 0)
        return 0;
    update_wish_done(ret);
    return -1;
}

void update_wish_done(struct update_wish *wish)
{
    strv_free(wish->removed_targets);
    strv_free(wish->made_volumes);
    for (size_t i = 0; i < wish->added_count; i++)
        bind_mount_done(&wish->added[i]);
    free(wish->added);
    free(wish->gone);
    *wish = (struct update_wish){ 0 };
}
