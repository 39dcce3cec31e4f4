"""Names on the default bridge, asked at its gateway's address: unlike Docker, and behind --bridge-names."""
import socket

import pytest

import dns
from engine import wait_until
from test_names import pid_of
from test_networks import in_netns, networks, settings  # noqa: F401 (networks is a fixture)


def gateway(engine):
    return engine.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge").stdout.strip()


def client(engine, name):
    return dns.Client(pid_of(engine, name), gateway(engine))


def run(engine, name, *options):
    engine.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")


def address(engine, name):
    return settings(engine, name)["Networks"]["bridge"]["IPAddress"]


def servers(engine, name):
    lines = engine.docker("exec", name, "cat", "/etc/resolv.conf").stdout.splitlines()
    return [line.split()[1] for line in lines if line.startswith("nameserver")]


def test_names_on_the_default_bridge(networks, busybox):  # noqa: F811
    engine = networks
    run(engine, "web", "--restart", "always")
    run(engine, "cc", "--restart", "always")
    web, asks = address(engine, "web"), client(engine, "cc")
    ident = engine.docker("inspect", "-f", "{{.Id}}", "web").stdout[:12]
    for name in ("web", "WEB", ident, "web.bridge"):
        assert asks.addresses(name) == [web], name
    assert [a[2] for a in asks.ask_tcp("web")["answers"]] == [web]
    assert asks.ask(".".join(reversed(web.split("."))) + ".in-addr.arpa", dns.PTR)["answers"][0][2] == "web.bridge"
    assert servers(engine, "cc")[0] == gateway(engine) and len(servers(engine, "cc")) > 1
    assert "1 packets received" in engine.docker("exec", "cc", "ping", "-c1", "-W2", "web").stdout
    engine.docker("rename", "web", "site")
    assert asks.addresses("site") == [web] and asks.ask("web", timeout=8)["answers"] == []
    engine.kill9()
    assert asks.addresses("site") == [web]
    engine.start()
    assert asks.addresses("site") == [web]
    engine.docker("rm", "-f", "site")
    assert asks.ask("site", timeout=8)["answers"] == []


def test_only_the_bridge_is_answered(networks, busybox):  # noqa: F811
    engine = networks
    run(engine, "web")
    server = gateway(engine)
    assert client(engine, "web").addresses("web")
    in_netns(engine, "ip", "address", "add", "192.0.2.9/32", "dev", "lo")
    with dns.socket_in(f"/run/netns/{engine.netns}", socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.bind(("192.0.2.9", 0))
        s.connect((server, 53))
        s.send(dns.query("web"))
        try:
            s.recv(512)
            raise AssertionError("an asker from elsewhere was answered")
        except TimeoutError:
            pass


def test_own_name_servers_are_kept(networks, busybox):  # noqa: F811
    engine = networks
    run(engine, "own", "--dns", "192.0.2.53")
    assert servers(engine, "own") == ["192.0.2.53"]


@pytest.fixture
def anew(networks):  # noqa: F811
    """Whether the bridge can have names is found out once in an engine's life: anew(options) begins another one."""
    engine = networks

    def start(*options):
        engine.remove_containers()
        engine.restart(*options)
        wait_until(lambda: not in_netns(engine, "ss", "-Hulpn", "sport = :53").stdout)

    yield start
    start()


def test_a_name_server_of_the_host_keeps_its_port(networks, anew, busybox):  # noqa: F811
    engine = networks
    anew()
    with dns.socket_in(f"/run/netns/{engine.netns}", socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 53))
        run(engine, "plain")
        assert gateway(engine) not in servers(engine, "plain")


def test_a_firewall_that_drops_is_not_waited_for(networks, anew, busybox):  # noqa: F811
    engine = networks
    anew()
    in_netns(engine, "nft", "add table inet host; add chain inet host input { type filter hook input priority 0; policy drop; }")
    run(engine, "plain")
    in_netns(engine, "nft", "delete table inet host")
    assert gateway(engine) not in servers(engine, "plain")


def test_switched_off(networks, anew, busybox):  # noqa: F811
    engine = networks
    anew("--bridge-names=false")
    run(engine, "plain")
    assert gateway(engine) not in servers(engine, "plain")
