"""Names of containers: 127.0.0.11 on networks of users' own, answered by skiff-netd."""
import os
import pathlib
import signal
import struct
import time

import pytest

import dns
from engine import wait_until
from test_networks import add_wire, in_netns, networks, settings  # noqa: F401 (networks is a fixture)

UPSTREAMS = ("198.51.100.53", "198.51.100.54")


def pid_of(engine, name):
    return int(engine.docker("inspect", "-f", "{{.State.Pid}}", name).stdout)


def client(engine, name):
    return dns.Client(pid_of(engine, name))


def address(engine, name, network):
    return settings(engine, name)["Networks"][network]["IPAddress"]


def netd_pid(engine):
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"skiff-netd") and os.readlink(path.parent / "ns/net") == os.readlink(
                    f"/proc/{engine.pid}/ns/net"):
                return int(path.parent.name)
        except OSError:
            continue
    return None


@pytest.fixture
def upstream(networks):  # noqa: F811
    """A wire with two addresses that name servers may listen at; upstream(zone, i) starts one."""
    add_wire(networks, "names0", *(f"{a}/24" for a in UPSTREAMS))
    servers = []

    def start(zone, i=0, **more):
        servers.append(dns.Upstream(networks.netns, UPSTREAMS[i], zone, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    in_netns(networks, "ip", "link", "del", "names0")


def run(engine, name, network, *options):
    engine.docker("run", "-d", "--name", name, "--network", network, *options, "busybox", "sleep", "1000")


def test_names_ids_aliases_and_reverse(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "web", "shop", "--network-alias", "www", "--network-alias", "Front")
    run(engine, "cc", "shop")
    web = address(engine, "web", "shop")
    asks = client(engine, "cc")
    ident = engine.docker("inspect", "-f", "{{.Id}}", "web").stdout[:12]
    for name in ("web", "WEB", "web.shop", "www", "front", "front.shop", ident):
        assert asks.addresses(name) == [web], name
    assert asks.ask("web", dns.AAAA) == {"code": 0, "truncated": False, "answers": []}
    assert asks.ask(".".join(reversed(web.split("."))) + ".in-addr.arpa", dns.PTR)["answers"][0][2] == "web.shop"
    assert [a[2] for a in asks.ask_tcp("web")["answers"]] == [web]
    resolv = engine.docker("exec", "cc", "cat", "/etc/resolv.conf").stdout
    assert resolv.startswith("nameserver 127.0.0.11\n") and "ndots:0" in resolv
    assert "1 packets received" in engine.docker("exec", "cc", "ping", "-c1", "-W2", "web").stdout
    engine.docker("rename", "web", "site")
    assert asks.addresses("site") == [web] and asks.addresses("www") == [web]
    assert asks.ask("web")["answers"] == []
    engine.docker("rm", "-f", "site")
    assert asks.ask("site")["answers"] == []


def test_names_belong_to_their_network(networks, busybox):  # noqa: F811
    engine = networks
    for name in ("front", "back"):
        engine.docker("network", "create", name)
    run(engine, "aa", "front")
    run(engine, "bb", "back")
    run(engine, "both", "front", "--network", "back")
    assert client(engine, "aa").ask("bb")["answers"] == []
    assert client(engine, "aa").addresses("both") == [address(engine, "both", "front")]
    assert client(engine, "bb").addresses("both") == [address(engine, "both", "back")]
    both = client(engine, "both")
    assert both.addresses("aa") == [address(engine, "aa", "front")] and both.addresses("bb") == [address(engine, "bb", "back")]
    engine.docker("network", "disconnect", "back", "both")
    assert both.ask("bb")["answers"] == [] and client(engine, "bb").ask("both")["answers"] == []
    engine.docker("network", "connect", "--alias", "again", "back", "both")
    assert client(engine, "bb").addresses("again") == [address(engine, "both", "back")]
    # A container of the default bridge learns to ask when it comes to a network that has names.
    engine.docker("run", "-d", "--name", "late", "busybox", "sleep", "1000")
    engine.docker("network", "connect", "front", "late")
    assert client(engine, "late").addresses("aa") == [address(engine, "aa", "front")]
    assert "127.0.0.11" in engine.docker("exec", "late", "cat", "/etc/resolv.conf").stdout


def test_replicas_take_turns(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    for name in ("w1", "w2", "w3"):
        run(engine, name, "shop", "--network-alias", "web")
    run(engine, "cc", "shop")
    asks = client(engine, "cc")
    wanted = {address(engine, name, "shop") for name in ("w1", "w2", "w3")}
    answers = [asks.addresses("web") for _ in range(6)]
    assert all(set(a) == wanted for a in answers)
    assert {a[0] for a in answers} == wanted
    engine.docker("stop", "-t", "0", "w2")
    assert len(asks.addresses("web")) == 2


def test_links_on_a_network(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "db", "shop")
    run(engine, "cc", "shop", "--link", "db:database")
    run(engine, "dd", "shop")
    assert client(engine, "cc").addresses("database") == [address(engine, "db", "shop")]
    assert client(engine, "dd").ask("database")["answers"] == []


def test_ipv6_names(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "--ipv6", "--subnet", "fd00:88::/64", "six")
    run(engine, "web", "six")
    run(engine, "cc", "six")
    asks = client(engine, "cc")
    assert asks.addresses("web", dns.AAAA) == ["fd00:88::2"]
    assert asks.addresses("web") == [address(engine, "web", "six")]
    reverse = ".".join(reversed("fd000088000000000000000000000002")) + ".ip6.arpa"
    assert asks.ask(reverse, dns.PTR)["answers"][0][2] == "web.six"


def test_the_rest_is_forwarded_and_kept(networks, upstream, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "out")
    server = upstream({"example.test": "192.0.2.80"}, ttl=60)
    run(engine, "cc", "out", "--dns", UPSTREAMS[0])
    asks = client(engine, "cc")
    assert asks.addresses("example.test") == ["192.0.2.80"]
    assert asks.addresses("EXAMPLE.test") == ["192.0.2.80"]
    assert server.asked == [("example.test", dns.A, "udp")]  # the second answer was kept
    assert asks.ask("nosuch.test")["code"] == 3 and asks.ask("nosuch.test")["code"] == 3
    assert len(server.asked) == 2
    assert asks.ask("example.test", dns.AAAA)["answers"] == []
    assert [a[2] for a in asks.ask_tcp("example.test")["answers"]] == ["192.0.2.80"]


def test_large_answers_go_over_tcp(networks, upstream, busybox):  # noqa: F811
    engine = networks

    def large(message, is_tcp):
        end = dns.skip_name(message, 12) + 4
        if not is_tcp:
            return message[:2] + struct.pack("!5H", 0x8380, 1, 0, 0, 0) + message[12:end]
        records = b"".join(b"\xc0\x0c" + struct.pack("!2HIH", dns.A, 1, 60, 4) + bytes([10, 0, i // 256, i % 256]) for i in range(300))
        return message[:2] + struct.pack("!5H", 0x8180, 1, 300, 0, 0) + message[12:end] + records

    engine.docker("network", "create", "out")
    server = upstream({"large.test": large})
    run(engine, "cc", "out", "--dns", UPSTREAMS[0])
    asks = client(engine, "cc")
    assert asks.ask("large.test")["truncated"]
    assert len(asks.ask_tcp("large.test")["answers"]) == 300
    assert [how for _, _, how in server.asked] == ["udp", "tcp"]


def test_a_dead_upstream_costs_one_pause(networks, upstream, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "out")
    zone = {f"n{i}.test": "192.0.2.1" for i in range(50)}
    upstream({name: (lambda message, is_tcp: None) for name in zone}, 0)
    alive = upstream(zone, 1)
    run(engine, "cc", "out", "--dns", UPSTREAMS[0], "--dns", UPSTREAMS[1])
    asks = client(engine, "cc")
    begin = time.monotonic()
    for name in zone:
        assert asks.addresses(name) == ["192.0.2.1"], name
    assert len(alive.asked) == 50
    assert time.monotonic() - begin < 10  # it would be fifty pauses of a quarter of a second, or of five seconds with a libc's own


def test_nobody_answers(networks, upstream, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "out")
    upstream({"silent.test": lambda message, is_tcp: None})
    run(engine, "cc", "out", "--dns", UPSTREAMS[0])
    assert client(engine, "cc").ask("silent.test", timeout=8)["code"] == 2


def test_an_internal_network_asks_nobody(networks, upstream, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "--internal", "inside")
    server = upstream({"example.test": "192.0.2.80"})
    run(engine, "cc", "inside", "--dns", UPSTREAMS[0])
    run(engine, "dd", "inside")
    asks = client(engine, "cc")
    assert asks.ask("example.test")["code"] == 3
    assert asks.addresses("dd") == [address(engine, "dd", "inside")]
    assert server.asked == []


def test_containers_keep_port_53(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "web", "shop")
    engine.docker("run", "-d", "--name", "cc", "--network", "shop", "busybox", "nc", "-l", "-p", "53")
    wait_until(lambda: ":53 " in engine.docker("exec", "cc", "netstat", "-ltn").stdout)
    assert client(engine, "cc").addresses("web") == [address(engine, "web", "shop")]


def test_names_without_the_engine_and_without_the_program(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "web", "shop", "--restart", "always")
    run(engine, "cc", "shop")
    web, asks = address(engine, "web", "shop"), client(engine, "cc")
    before = netd_pid(engine)
    assert before
    engine.kill9()
    assert asks.addresses("web") == [web]
    engine.start()
    assert netd_pid_is(engine, before) and asks.addresses("web") == [web]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: netd_pid(engine) not in (None, before))
    assert wait_until(lambda: try_ask(asks, "web")) == [web]
    engine.kill9()
    os.kill(netd_pid_of_cmd(engine), signal.SIGKILL)
    engine.start()
    assert wait_until(lambda: try_ask(asks, "web")) == [web]


def netd_pid_is(engine, pid):
    return netd_pid(engine) == pid


def netd_pid_of_cmd(engine):
    """While the engine is down: by the namespace of its name."""
    wanted = os.stat(f"/run/netns/{engine.netns}").st_ino
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"skiff-netd") and os.stat(path.parent / "ns/net").st_ino == wanted:
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError("no skiff-netd")


def try_ask(asks, name):
    try:
        return asks.ask(name, timeout=1)["answers"] and asks.addresses(name)
    except OSError:
        return None


def test_the_program_is_nobody(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "cc", "shop")
    status = pathlib.Path(f"/proc/{netd_pid(engine)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4 and fields["CapEff"] == fields["CapPrm"] == "0" * 16
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert int(fields["VmRSS"].split()[0]) < 4000


def test_malformed_questions(networks, busybox):  # noqa: F811
    import random
    import socket

    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "cc", "shop")
    asks, before = client(engine, "cc"), netd_pid(engine)
    rng = random.Random(7)
    with dns.socket_in(asks.path, socket.SOCK_DGRAM) as s:
        s.connect((asks.server, 53))
        good = dns.query("cc", edns=1232)
        for i in range(3000):
            bad = bytearray(good)
            for _ in range(rng.randrange(1, 6)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            s.send(bytes(bad[:rng.randrange(len(bad) + 1)]))
    # What comes while the queue is full is lost, as UDP is; a client asks again.
    assert wait_until(lambda: try_ask(asks, "cc")) == [address(engine, "cc", "shop")] and netd_pid(engine) == before


def test_a_client_that_never_reads(networks, busybox):  # noqa: F811
    """It is not read from either, once its answers fill what the kernel holds: nothing piles up in the program."""
    import socket

    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "cc", "shop")
    asks, most, sent = client(engine, "cc"), 64 << 20, 0
    message = dns.query("cc")
    questions = (struct.pack("!H", len(message)) + message) * 1000
    with dns.socket_in(asks.path, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        s.connect((asks.server, 53))
        try:
            while sent < most:
                sent += s.send(questions)
        except OSError:  # no room, or refused
            pass
        assert sent < most
        assert asks.addresses("cc") == [address(engine, "cc", "shop")]
        status = pathlib.Path(f"/proc/{netd_pid(engine)}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 6000
