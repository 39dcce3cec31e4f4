"""Names under load, and what is left of two thousand connects. SKIFF_LONG=1: the full numbers."""
import os
import pathlib
import socket
import struct
import time

import dns
from engine import wait_until
from test_names import UPSTREAMS, address, client, netd_pid, run, upstream  # noqa: F401 (upstream is a fixture)
from test_networks import in_netns, networks  # noqa: F401 (networks is a fixture)

IS_LONG = os.environ.get("SKIFF_LONG") == "1"


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def rss_kb(pid):
    return int(status(pid)["VmRSS"].split()[0])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_answers_one_after_another(networks, busybox):  # noqa: F811
    """The issue asks for 20,000 a second with p99 below 2 ms. Here the bounds are what a busy machine keeps; SKIFF_LONG asks for it all."""
    engine = networks
    engine.docker("network", "create", "shop")
    run(engine, "web", "shop")
    run(engine, "cc", "shop")
    wanted = socket.inet_aton(address(engine, "web", "shop"))
    count, times = (200000 if IS_LONG else 5000), []
    with dns.socket_in(client(engine, "cc").path, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect(("127.0.0.11", 53))
        message = dns.query("web", ident=7)
        begin = time.perf_counter()
        for _ in range(count):
            sent = time.perf_counter()
            s.send(message)
            reply = s.recv(4096)
            times.append(time.perf_counter() - sent)
            assert reply.endswith(wanted)
        rate = count / (time.perf_counter() - begin)
    p99 = sorted(times)[count * 99 // 100]
    print(f"{rate:.0f} answers a second, p99 {p99 * 1e6:.0f} us")
    assert p99 < (0.002 if IS_LONG else 0.05)
    if IS_LONG:
        assert rate > 20000


def test_lookups_with_a_dead_upstream(networks, upstream, busybox):  # noqa: F811
    """Every name is another one, so that each is forwarded; a few are under way at a time."""
    engine = networks
    engine.docker("network", "create", "out")

    def answer(message, is_tcp):
        end = dns.skip_name(message, 12) + 4
        record = b"\xc0\x0c" + struct.pack("!2HIH", dns.A, 1, 60, 4) + b"\xc0\x00\x02\x01"
        return message[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + message[12:end] + record

    class Everything(dict):
        def get(self, name, default=None):
            return answer

    class Nothing(dict):
        def get(self, name, default=None):
            return lambda message, is_tcp: None

    upstream(Nothing(), 0)
    upstream(Everything(), 1)
    run(engine, "cc", "out", "--dns", UPSTREAMS[0], "--dns", UPSTREAMS[1])
    count, window, next_ident, waiting, slowest = (100000 if IS_LONG else 2000), 16, 0, {}, 0
    with dns.socket_in(client(engine, "cc").path, socket.SOCK_DGRAM) as s:
        s.settimeout(5)  # a C library's patience
        s.connect(("127.0.0.11", 53))
        while next_ident < count or waiting:
            while next_ident < count and len(waiting) < window:
                s.send(dns.query(f"n{next_ident}.test", ident=next_ident % 65536))
                waiting[next_ident % 65536] = time.monotonic()
                next_ident += 1
            reply = s.recv(4096)
            slowest = max(slowest, time.monotonic() - waiting.pop(struct.unpack_from("!H", reply)[0]))
            assert dns.parse(reply)["answers"] == [(dns.A, 60, "192.0.2.1")]
    print(f"slowest {slowest * 1e3:.0f} ms")


def test_nothing_stays_of_connects_and_disconnects(networks, busybox):  # noqa: F811
    engine = networks
    engine.docker("network", "create", "home")
    engine.docker("network", "create", "guest")
    run(engine, "stays", "guest")
    run(engine, "goes", "home", "--restart", "always")
    asks = client(engine, "stays")
    rounds, kill_every = (2000, 100) if IS_LONG else (100, 25)
    pid, before = netd_pid(engine), None
    for i in range(rounds):
        engine.docker("network", "connect", "--alias", f"a{i}", "guest", "goes")
        if i % kill_every == kill_every - 1:
            engine.kill9()
            assert asks.addresses(f"a{i}"), "names are answered while the engine is away"
            engine.start()
        elif i % 10 == 0:
            assert asks.addresses(f"a{i}")
        engine.docker("network", "disconnect", "guest", "goes")
        if i % 10 == 0 or i % kill_every == kill_every - 1:
            assert asks.ask(f"a{i}")["answers"] == [] and asks.ask("goes")["answers"] == []
        if i == rounds // 4:
            before = rss_kb(pid), descriptors(pid)
    assert netd_pid(engine) == pid
    wait_until(lambda: descriptors(pid) <= before[1])
    assert rss_kb(pid) <= before[0] + 128, (before, rss_kb(pid))
    assert status(pid)["Threads"].strip() == "1"
    engine.docker("rm", "-f", "stays", "goes")
    # The listening socket, the control connection, the epoll set, standard streams: no container's.
    wait_until(lambda: descriptors(pid) <= 6)
