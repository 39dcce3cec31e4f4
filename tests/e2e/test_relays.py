"""Ports that the kernel cannot translate: ::1, and IPv6 addresses for containers that have IPv4 only. skiff-netd relays them."""
import hashlib
import os
import pathlib
import signal
import socket
import threading

import pytest

import dns
from engine import wait_until
from test_names import netd_pid, pid_of
from test_networks import in_netns, networks  # noqa: F401 (networks is a fixture)


def connect(engine, port, host="::1", timeout=10):
    with dns.Netns(f"/run/netns/{engine.netns}"):
        s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect((host, port))
    return s


def everything(s):
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


class Echo:
    """A server in a container's network namespace that sends back what it is sent, until no more comes."""

    def __init__(self, pid, port=80):
        with dns.Netns(f"/proc/{pid}/ns/net"):
            self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    @staticmethod
    def _serve(s):
        try:
            with s:
                while part := s.recv(1 << 16):
                    s.sendall(part)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def echo():
    servers = []

    def start(engine, name, *options):
        engine.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
        servers.append(Echo(pid_of(engine, name)))

    yield start
    for server in servers:
        server.close()


def try_echo(engine, port, text=b"hello", host="::1"):
    try:
        with connect(engine, port, host) as s:
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
            return everything(s)
    except OSError:
        return None


def test_loopback_of_both_families(networks, echo, busybox):  # noqa: F811
    engine = networks
    echo(engine, "web", "-p", "8080:80")
    assert try_echo(engine, 8080) == b"hello"
    assert try_echo(engine, 8080, host="::ffff:127.0.0.1") == b"hello"
    assert "[::]:8080" in engine.docker("port", "web").stdout
    engine.docker("rm", "-f", "web")
    assert try_echo(engine, 8080) is None
    echo(engine, "again", "-p", "8080:80")  # the port is free at once
    assert try_echo(engine, 8080) == b"hello"


def test_an_ipv6_address_for_ipv4_only(networks, echo, busybox):  # noqa: F811
    engine = networks
    in_netns(engine, "ip", "address", "add", "2001:db8::9/128", "dev", "lo", "nodad")
    echo(engine, "web", "-p", "[2001:db8::9]:8081:80")
    assert try_echo(engine, 8081, host="2001:db8::9") == b"hello"
    assert try_echo(engine, 8081) is None  # only there
    in_netns(engine, "ip", "address", "del", "2001:db8::9/128", "dev", "lo")


def test_much_both_ways_at_once(networks, echo, busybox):  # noqa: F811
    """More than pipes and sockets hold, read late: what is not taken waits, and nothing is lost."""
    engine = networks
    echo(engine, "web", "-p", "8080:80")
    data = os.urandom(1 << 20) * 16
    with connect(engine, 8080, timeout=60) as s:
        def send():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        got = everything(s)
        thread.join()
    assert len(got) == len(data) and hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


def test_nothing_stays_of_connections(networks, echo, busybox):  # noqa: F811
    engine = networks
    echo(engine, "web", "-p", "8080:80")
    assert try_echo(engine, 8080) == b"hello"
    fds = pathlib.Path(f"/proc/{netd_pid(engine)}/fd")
    before = len(list(fds.iterdir()))
    for i in range(200):
        s = connect(engine, 8080)
        if i % 2:
            s.send(b"and away")
        if i % 4 == 0:  # a reset
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    wait_until(lambda: len(list(fds.iterdir())) <= before)
    assert try_echo(engine, 8080) == b"hello"


def test_without_the_engine_and_without_the_program(networks, echo, busybox):  # noqa: F811
    engine = networks
    echo(engine, "web", "-p", "8080:80", "--restart", "always")
    with connect(engine, 8080) as s:
        s.sendall(b"one")
        assert s.recv(3) == b"one"
        engine.kill9()
        s.sendall(b"two")
        assert s.recv(3) == b"two"
        assert try_echo(engine, 8080) == b"hello"
        engine.start()
        s.sendall(b"six")
        assert s.recv(3) == b"six"
    assert try_echo(engine, 8080) == b"hello"
    os.kill(netd_pid(engine), signal.SIGKILL)
    assert wait_until(lambda: try_echo(engine, 8080)) == b"hello"


def test_more_connections_than_are_relayed(networks, echo, busybox):  # noqa: F811
    """1,024 of one port at a time: the others wait, and are served when there is room."""
    engine = networks
    echo(engine, "web", "-p", "8080:80")
    held = []
    for _ in range(1024):
        held.append(connect(engine, 8080))
        held[-1].sendall(b"x")
        assert held[-1].recv(1) == b"x"
    late = connect(engine, 8080, timeout=0.3)
    late.sendall(b"late")
    with pytest.raises(TimeoutError):
        late.recv(4)
    late.settimeout(10)
    held.pop().close()
    assert late.recv(4) == b"late"
    for s in (late, *held):
        s.close()
    wait_until(lambda: try_echo(engine, 8080) == b"hello")
