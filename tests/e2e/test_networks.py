"""Networks that users make: the docker command's own use, skiff's, and the kernel's view of it."""
import json
import time

import pytest

from engine import wait_until


@pytest.fixture
def networks(engine):
    """Engine; networks a test leaves are removed after it."""
    yield engine
    engine.remove_containers()
    for name in engine.docker("network", "ls", "-q", "--filter", "type=custom").stdout.split():
        engine.docker("network", "rm", name)


def in_netns(engine, *argv, check=True):
    return engine.run_in_netns(*argv, check=check, text=True)


def add_wire(engine, name, *addresses):
    """An interface of the host that swallows what it is given."""
    in_netns(engine, "ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}x")
    for address in addresses:
        in_netns(engine, "ip", "addr", "add", address, "dev", name, *(("nodad",) if ":" in address else ()))
    for end in (name, f"{name}x"):
        in_netns(engine, "ip", "link", "set", end, "up")


def inspect(engine, name):
    return json.loads(engine.docker("network", "inspect", name).stdout)[0]


def settings(engine, name):
    return json.loads(engine.docker("inspect", name).stdout)[0]["NetworkSettings"]


def links(engine):
    return {link["ifname"] for link in json.loads(in_netns(engine, "ip", "-j", "link").stdout)}


def table(engine):
    return in_netns(engine, "nft", "list", "table", "inet", "skiff", check=False).stdout


def reaches(engine, source, address, expected=True):
    r = engine.docker("exec", source, "ping", "-c1", "-W1", address, check=False)
    assert (r.returncode == 0) == expected, r.stdout + r.stderr


def test_create_list_inspect_remove(networks, busybox):
    engine = networks
    new = engine.docker("network", "create", "--label", "x=y", "--subnet", "10.77.0.0/16", "--ip-range", "10.77.5.0/24", "--gateway",
                        "10.77.0.254", "--aux-address", "router=10.77.5.0", "-o", "com.docker.network.driver.mtu=1400", "shop").stdout.strip()
    shown = inspect(engine, "shop")
    assert shown["Id"] == new and shown["Driver"] == "bridge" and shown["Labels"] == {"x": "y"}
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/16", "IPRange": "10.77.5.0/24", "Gateway": "10.77.0.254",
                                        "AuxiliaryAddresses": {"router": "10.77.5.0"}}]
    assert "shop" in engine.docker("network", "ls", "--filter", "label=x=y", "--format", "{{.Name}}").stdout
    before = links(engine)
    engine.docker("run", "-d", "--name", "web", "--network", "shop", "busybox", "sleep", "1000")
    bridge = f"br-{new[:12]}"
    assert bridge in links(engine) - before
    web = settings(engine, "web")["Networks"]["shop"]
    assert web["IPAddress"] == "10.77.5.1" and web["Gateway"] == "10.77.0.254" and web["NetworkID"] == new
    assert engine.docker("exec", "web", "cat", "/sys/class/net/eth0/mtu").stdout == "1400\n"
    assert inspect(engine, "shop")["Containers"][engine.docker("inspect", "-f", "{{.Id}}", "web").stdout.strip()]["Name"] == "web"
    busy = engine.docker("network", "rm", "shop", check=False)
    assert busy.returncode == 1 and 'network shop has active endpoints (name:"web" id:"' in busy.stderr
    engine.docker("rm", "-f", "web")
    assert engine.docker("network", "rm", "shop").stdout == "shop\n"
    wait_until(lambda: links(engine) <= before)
    assert bridge not in table(engine)
    assert "network shop not found" in engine.docker("network", "inspect", "shop", check=False).stderr


def test_networks_are_apart_and_containers_on_both_are_not(networks, busybox):
    engine = networks
    for name in ("front", "back"):
        engine.docker("network", "create", name)
    engine.docker("run", "-d", "--name", "ca", "--network", "front", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "cb", "--network", "back", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "both", "--network", "front", "--network", "back", "busybox", "sleep", "1000")
    a, b, both = (settings(engine, n)["Networks"] for n in ("ca", "cb", "both"))
    reaches(engine, "ca", b["back"]["IPAddress"], False)
    reaches(engine, "cb", a["front"]["IPAddress"], False)
    reaches(engine, "ca", both["front"]["IPAddress"])
    reaches(engine, "cb", both["back"]["IPAddress"])
    reaches(engine, "both", a["front"]["IPAddress"])
    reaches(engine, "both", b["back"]["IPAddress"])
    routes = engine.docker("exec", "both", "ip", "route").stdout
    assert routes.count("default") == 1 and f"default via {both['back']['Gateway']}" in routes  # the first by name
    assert sorted(both) == ["back", "front"]
    hosts = engine.docker("exec", "both", "cat", "/etc/hosts").stdout
    assert both["front"]["IPAddress"] in hosts and both["back"]["IPAddress"] in hosts


def test_connect_and_disconnect_live(networks, busybox):
    engine = networks
    engine.docker("network", "create", "--subnet", "10.78.0.0/24", "one")
    engine.docker("network", "create", "--subnet", "10.79.0.0/24", "two")
    engine.docker("run", "-d", "--name", "cc", "--network", "one", "-p", "127.0.0.1:8088:80", "busybox", "httpd", "-f", "-p", "80")
    engine.docker("network", "connect", "--ip", "10.79.0.77", "--alias", "other", "two", "cc")
    assert "10.79.0.77/24" in engine.docker("exec", "cc", "ip", "-4", "addr", "show", "eth1").stdout
    assert settings(engine, "cc")["Networks"]["two"]["Aliases"] == ["other"]
    again = engine.docker("network", "connect", "two", "cc", check=False)
    assert again.returncode == 1 and "endpoint with name cc already exists in network two" in again.stderr
    # Its way out and its port go with the network that is left.
    fetch = ("busybox", "wget", "-q", "-O-", "http://127.0.0.1:8088/")
    engine.docker("exec", "cc", "sh", "-c", "echo yes > /index.html")
    assert in_netns(engine, *fetch).stdout == "yes\n"
    engine.docker("network", "disconnect", "one", "cc")
    assert engine.docker("exec", "cc", "ls", "/sys/class/net").stdout.split() == ["eth1", "lo"]
    assert "default via 10.79.0.1" in engine.docker("exec", "cc", "ip", "route").stdout
    assert in_netns(engine, *fetch).stdout == "yes\n"
    gone = engine.docker("network", "disconnect", "one", "cc", check=False)
    assert gone.returncode == 1 and "is not connected to network one" in gone.stderr
    # All of it survives the engine, and the container's restart.
    engine.kill9()
    engine.start()
    assert in_netns(engine, *fetch).stdout == "yes\n"
    engine.docker("restart", "-t", "0", "cc")
    assert list(settings(engine, "cc")["Networks"]) == ["two"]
    assert settings(engine, "cc")["Networks"]["two"]["IPAddress"] == "10.79.0.77"
    assert in_netns(engine, *fetch).stdout == "yes\n"
    engine.docker("network", "disconnect", "two", "cc")
    assert engine.docker("exec", "cc", "ls", "/sys/class/net").stdout.split() == ["lo"]
    engine.docker("network", "connect", "one", "cc")
    assert in_netns(engine, *fetch).stdout == "yes\n"


def test_stopped_containers_change_networks_too(networks, busybox):
    engine = networks
    engine.docker("network", "create", "later")
    engine.docker("create", "--name", "cc", "busybox", "sleep", "1000")
    engine.docker("network", "connect", "later", "cc")
    engine.docker("network", "disconnect", "bridge", "cc")
    engine.docker("start", "cc")
    assert list(settings(engine, "cc")["Networks"]) == ["later"]
    engine.docker("stop", "-t", "0", "cc")
    engine.docker("network", "rm", "later")
    lost = engine.docker("start", "cc", check=False)
    assert lost.returncode == 1 and "network later not found" in lost.stderr


def test_fixed_addresses(networks, busybox):
    engine = networks
    engine.docker("network", "create", "--subnet", "10.80.0.0/24", "fixed")
    engine.docker("network", "create", "pool")
    engine.docker("run", "-d", "--name", "cc", "--network", "fixed", "--ip", "10.80.0.50", "busybox", "sleep", "1000")
    for options, message in (
            (("--network", "fixed", "--ip", "10.80.0.50"), "Address already in use"),
            (("--network", "fixed", "--ip", "10.81.0.50"), "no configured subnet or ip-range contain the IP address 10.81.0.50"),
            (("--network", "fixed", "--ip", "10.80.0.1"), "Address already in use"),
            (("--network", "pool", "--ip", "10.80.0.9"), "user specified IP address is supported only when connecting to networks with user configured subnets"),
            (("--ip", "172.17.0.9"), "user specified IP address is supported on user defined networks only"),
            (("--network", "nosuch"), "network nosuch not found"),
    ):
        refused = engine.docker("run", "--rm", *options, "busybox", "true", check=False)
        assert refused.returncode == 125 and message in refused.stderr, refused.stderr
    engine.docker("run", "--rm", "--network", "name=fixed,ip=10.80.0.51,mac-address=02:00:00:00:00:51", "busybox", "sh", "-c",
                  "ip addr show eth0 | grep 10.80.0.51/24 && grep 02:00:00:00:00:51 /sys/class/net/eth0/address")


def test_link_local_addresses(networks, busybox):
    engine = networks
    shown = engine.docker("run", "--rm", "--link-local-ip", "169.254.7.7", "busybox", "ip", "addr", "show", "eth0").stdout
    assert "169.254.7.7/16" in shown and "172.17." in shown
    refused = engine.docker("run", "--rm", "--link-local-ip", "10.0.0.9", "busybox", "true", check=False)
    assert refused.returncode == 125 and "invalid link-local IP address: 10.0.0.9" in refused.stderr


def test_ipv6(networks, busybox):
    engine = networks
    engine.docker("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six")
    assert [c["Subnet"] for c in inspect(engine, "six")["IPAM"]["Config"]][0] == "fd00:77::/64"
    engine.docker("run", "-d", "--name", "ca", "--network", "six", "-p", "8089:80", "busybox", "sh", "-c",
                  "echo six > /index.html; httpd -f -p [::]:80")
    engine.docker("run", "-d", "--name", "cb", "--network", "six", "busybox", "sleep", "1000")
    a = settings(engine, "ca")["Networks"]["six"]
    assert a["GlobalIPv6Address"] == "fd00:77::2" and a["GlobalIPv6PrefixLen"] == 64 and a["IPv6Gateway"] == "fd00:77::1"
    reaches(engine, "cb", "fd00:77::2")
    assert "default via fd00:77::1" in engine.docker("exec", "cb", "ip", "-6", "route").stdout
    assert engine.docker("port", "ca").stdout.splitlines() == ["80/tcp -> 0.0.0.0:8089", "80/tcp -> [::]:8089"]
    # From the host, by an address of its own: the any_ports6 map.
    add_wire(engine, "wire6", "fd00:99::9/64")
    wait_until(lambda: in_netns(engine, "busybox", "wget", "-q", "-O-", "http://[fd00:99::9]:8089/", check=False).stdout == "six\n")
    in_netns(engine, "ip", "link", "del", "wire6")
    only = engine.docker("network", "create", "--ipv4=false", "--ipv6", "only6", check=False)
    if only.returncode == 0:  # docker 28 knows the option
        out = engine.docker("run", "--rm", "--network", "only6", "busybox", "ip", "addr", "show", "eth0").stdout
        assert "inet6 fd" in out and "inet " not in out


def test_internal_networks_send_nothing_out(networks, busybox):
    engine = networks
    engine.docker("network", "create", "--internal", "inside")
    engine.docker("run", "-d", "--name", "ca", "--network", "inside", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "cb", "--network", "inside", "busybox", "sleep", "1000")
    reaches(engine, "ca", settings(engine, "cb")["Networks"]["inside"]["IPAddress"])
    assert "default" not in engine.docker("exec", "ca", "ip", "route").stdout
    # Even with a route, the host forwards nothing.
    add_wire(engine, "out", "198.51.100.1/24")
    in_netns(engine, "nft", "add table inet probe; add chain inet probe out { type filter hook postrouting priority 300; }; "
             "add rule inet probe out ip daddr 198.51.100.0/24 counter")

    def sent():
        return json.loads(in_netns(engine, "nft", "-j", "list", "chain", "inet", "probe", "out").stdout)["nftables"][-1]["rule"]["expr"][-1]["counter"][
            "packets"]

    engine.docker("run", "-d", "--name", "free", "--cap-add", "NET_ADMIN", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "sly", "--cap-add", "NET_ADMIN", "--network", "inside", "busybox", "sleep", "1000")
    gateway = inspect(engine, "inside")["IPAM"]["Config"][0]["Gateway"]
    engine.docker("exec", "sly", "ip", "route", "add", "default", "via", gateway)
    before = sent()
    engine.docker("exec", "sly", "sh", "-c", "ping -c1 -W1 198.51.100.7; true")
    assert sent() == before
    in_netns(engine, "ip", "neigh", "add", "198.51.100.7", "lladdr", "02:00:00:00:00:99", "dev", "out")
    engine.docker("exec", "sly", "sh", "-c", "ping -c1 -W1 198.51.100.7; true")
    assert sent() == before
    engine.docker("exec", "free", "sh", "-c", "ping -c1 -W1 198.51.100.7; true")  # the measurement measures
    assert sent() > before
    in_netns(engine, "nft", "delete", "table", "inet", "probe")
    in_netns(engine, "ip", "link", "del", "out")


def test_containers_kept_apart_on_one_network(networks, busybox):
    engine = networks
    engine.docker("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart")
    engine.docker("run", "-d", "--name", "ca", "--network", "apart", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "cb", "--network", "apart", "busybox", "sleep", "1000")
    reaches(engine, "ca", settings(engine, "cb")["Networks"]["apart"]["IPAddress"], False)
    reaches(engine, "ca", inspect(engine, "apart")["IPAM"]["Config"][0]["Gateway"])


def test_macvlan_and_ipvlan(networks, busybox):
    engine = networks
    add_wire(engine, "wire0")
    for driver, options in (("macvlan", ()), ("ipvlan", ()), ("ipvlan", ("-o", "ipvlan_mode=l3"))):
        engine.docker("network", "create", "-d", driver, "-o", "parent=wire0", *options, "--subnet", "10.90.0.0/24", "lan")
        first = engine.docker("run", "-d", "--name", "ca", "--network", "lan", "busybox", "sleep", "1000", check=False)
        if driver == "ipvlan" and "operation not supported" in first.stderr:  # a kernel without it
            engine.docker("rm", "ca")
            engine.docker("network", "rm", "lan")
            continue
        assert first.returncode == 0, first.stderr
        engine.docker("run", "-d", "--name", "cb", "--network", "lan", "-p", "8090:80", "busybox", "sleep", "1000")
        reaches(engine, "ca", settings(engine, "cb")["Networks"]["lan"]["IPAddress"])
        assert engine.docker("port", "cb").stdout == ""
        engine.docker("rm", "-f", "ca", "cb")
        engine.docker("network", "rm", "lan")
    engine.docker("network", "create", "-d", "macvlan", "-o", "parent=wire0.50", "--subnet", "10.91.0.0/24", "tagged")
    made = engine.docker("run", "--rm", "--network", "tagged", "busybox", "true", check=False)
    assert made.returncode == 0 or "not supported" in made.stderr  # kernels without 802.1Q
    engine.docker("network", "create", "-d", "macvlan", "-o", "parent=nosuch0", "lost")
    lost = engine.docker("run", "--rm", "--network", "lost", "busybox", "true", check=False)
    assert lost.returncode == 125 and "parent interface nosuch0" in lost.stderr
    in_netns(engine, "ip", "link", "del", "wire0")


def test_bad_requests(networks, busybox):
    engine = networks
    engine.docker("network", "create", "--subnet", "10.92.0.0/24", "taken")
    for options, message in (
            (("--subnet", "10.92.0.0/25", "x"), "Pool overlaps with other one on this address space"),
            (("--subnet", "10.93.0.9/24", "x"), "it should be 10.93.0.0/24"),
            (("taken",), "network with name taken already exists"),
            (("host",), "operation is not permitted on predefined host network"),
            (("-d", "overlay2", "x"), 'plugin "overlay2" not found'),
            (("-o", "com.docker.network.bridge.name=skiff0", "x"), "networks have same bridge name"),
            (("-o", "com.docker.network.bridge.name=much-too-long-name", "x"), "interface names have 1 to 15 characters"),
    ):
        refused = engine.docker("network", "create", *options, check=False)
        assert refused.returncode == 1 and message in refused.stderr, refused.stderr
    assert "pre-defined network and cannot be removed" in engine.docker("network", "rm", "bridge", check=False).stderr
    engine.docker("run", "-d", "--name", "ch", "--network", "host", "busybox", "sleep", "1000")
    for verb in ("connect", "disconnect"):
        refused = engine.docker("network", verb, "host" if verb == "disconnect" else "taken", "ch", check=False)
        assert refused.returncode == 1 and "host network" in refused.stderr, refused.stderr
    missing = engine.docker("network", "connect", "taken", "nobody", check=False)
    assert missing.returncode == 1 and "No such container: nobody" in missing.stderr


def test_prune_and_events(networks, busybox):
    engine = networks
    since = engine.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    engine.docker("network", "create", "used")
    engine.docker("network", "create", "--label", "keep", "kept")
    engine.docker("network", "create", "idle")
    engine.docker("run", "-d", "--name", "cc", "--network", "used", "busybox", "sleep", "1000")
    out = engine.docker("network", "prune", "-f", "--filter", "label!=keep").stdout
    assert "idle" in out and "used" not in out and "kept" not in out
    engine.docker("rm", "-f", "cc")
    assert "kept" in engine.skiff("network", "prune", "-f").stdout
    events = engine.docker("events", "--since", since, "--until", f"{int(time.time()) + 1}", "--filter", "type=network", "--format",
                           "{{.Action}} {{.Actor.Attributes.name}}").stdout.split("\n")
    assert "create used" in events and "connect used" in events and "disconnect used" in events and "destroy idle" in events


def test_skiffs_own_commands(networks, busybox):
    engine = networks
    new = engine.skiff("network", "create", "--subnet", "10.94.0.0/24", "--ipv6", "--subnet", "fd00:94::/64", "--gateway", "10.94.0.7", "--gateway",
                       "fd00:94::7", "own").stdout.strip()
    assert [(c["Subnet"], c["Gateway"]) for c in inspect(engine, new)["IPAM"]["Config"]] == [
        ("10.94.0.0/24", "10.94.0.7"), ("fd00:94::/64", "fd00:94::7")]
    engine.skiff("run", "-d", "--name", "cc", "busybox", "sleep", "1000")
    engine.skiff("network", "connect", "--ip", "10.94.0.9", "--ip6", "fd00:94::9", "own", "cc")
    assert "10.94.0.9/24" in engine.skiff("exec", "cc", "ip", "addr", "show", "eth1").stdout
    engine.skiff("network", "disconnect", "own", "cc")
    assert engine.skiff("network", "rm", "own", "nosuch", check=False).returncode == 1
    assert engine.skiff("network", "rm", "-f", "nosuch").stdout == "nosuch\n"


def test_flushed_rules_and_deleted_bridges_come_back(networks, busybox):
    engine = networks
    engine.docker("network", "create", "mended")
    engine.docker("run", "-d", "--name", "ca", "--network", "mended", "busybox", "sleep", "1000")
    in_netns(engine, "nft", "flush", "ruleset")
    engine.docker("run", "-d", "--name", "cb", "--network", "mended", "-p", "8091:80", "busybox", "sleep", "1000")
    rules = table(engine)
    assert inspect(engine, "mended")["Id"][:12] in rules and "8091" in rules


def test_many_networks_leave_nothing(networks, busybox):
    engine = networks
    engine.docker("run", "-d", "--name", "cc", "busybox", "sleep", "1000")
    links_before, table_before = links(engine), table(engine)
    for i in range(40):
        engine.docker("network", "create", f"n{i}")
        engine.docker("network", "connect", f"n{i}", "cc")
        if i % 10 == 5:
            engine.kill9()
            engine.start()
        engine.docker("network", "disconnect", f"n{i}", "cc")
        engine.docker("network", "rm", f"n{i}")
    wait_until(lambda: links(engine) <= links_before)
    assert table(engine) == table_before
    assert engine.docker("exec", "cc", "ls", "/sys/class/net").stdout.split() == ["eth0", "lo"]
