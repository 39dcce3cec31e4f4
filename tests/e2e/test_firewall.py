"""The table of nftables beside the host's own rules: it comes back when somebody removes it."""
import time

import pytest

from engine import wait_until

SERVER = "while true; do echo hello | nc -l -p 80; done"


@pytest.fixture
def published(engine, busybox):
    engine.docker("run", "-d", "--name", "fw", "-p", "8091:80", "busybox", "sh", "-c", SERVER)
    wait_until(lambda: answers(engine))
    yield engine
    engine.remove_containers()


def in_netns(engine, *argv, check=True):
    return engine.run_in_netns(*argv, check=check, text=True)


def answers(engine, port=8091):
    """Through the table: nobody on the host listens there."""
    program = f"import socket; s = socket.create_connection(('127.0.0.1', {port}), 0.3); s.settimeout(0.5); print(s.recv(5).decode())"
    return in_netns(engine, "/usr/bin/python3", "-c", program, check=False).stdout.strip() == "hello"


def rules(engine):
    return in_netns(engine, "nft", "list", "table", "inet", "skiff", check=False).stdout


@pytest.mark.parametrize("deed", ["flush ruleset", "flush table inet skiff", "delete table inet skiff"])
def test_removed_rules_come_back(published, deed):
    engine, before = published, rules(published)
    assert "8091" in before
    in_netns(engine, "nft", *deed.split())
    removed = time.monotonic()
    wait_until(lambda: rules(engine) == before)
    took = time.monotonic() - removed
    assert answers(engine)
    assert took < 1, f"the rules were away for {took:.2f} s"


def test_other_tables_are_left_alone(published):
    engine = published
    in_netns(engine, "nft", "add table inet mine; add chain inet mine c { type filter hook input priority 0; policy accept; }")
    handle = in_netns(engine, "nft", "-a", "list", "table", "inet", "skiff").stdout
    in_netns(engine, "nft", "add", "rule", "inet", "mine", "c", "counter")
    time.sleep(0.4)  # longer than a change is left to settle
    assert in_netns(engine, "nft", "-a", "list", "table", "inet", "skiff").stdout == handle
    in_netns(engine, "nft", "delete", "table", "inet", "mine")


def test_own_changes_wake_no_rebuild(published):
    """A rebuild would give every rule another handle."""
    engine = published
    before = in_netns(engine, "nft", "-a", "list", "chain", "inet", "skiff", "forward").stdout
    for i in range(3):
        engine.docker("run", "--rm", "-p", f"{8100 + i}:80", "busybox", "true")
    time.sleep(0.4)
    assert in_netns(engine, "nft", "-a", "list", "chain", "inet", "skiff", "forward").stdout == before


def exposure(engine, name="fw"):
    shown = engine.skiff("ps", "--filter", f"name={name}", "--format", "{{.Exposure}}").stdout.strip()
    listed = engine.skiff("port", "--exposure", name).stdout.splitlines()
    return shown, listed


def test_exposure_is_told(published):
    engine = published
    engine.docker("run", "-d", "--name", "here", "-p", "127.0.0.1:8092:80", "busybox", "sleep", "1000")
    assert exposure(engine) == ("0.0.0.0:8091/tcp world, [::]:8091/tcp world", ["80/tcp -> 0.0.0.0:8091  world", "80/tcp -> [::]:8091  world"])
    assert exposure(engine, "here") == ("127.0.0.1:8092/tcp host", ["80/tcp -> 127.0.0.1:8092  host"])
    assert engine.skiff("port", "fw").stdout == engine.docker("port", "fw").stdout == "80/tcp -> 0.0.0.0:8091\n80/tcp -> [::]:8091\n"


def test_a_dropping_firewall_is_named(published):
    engine = published
    in_netns(engine, "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
             "add table ip6 six; add chain ip6 six f { type filter hook forward priority 0; policy drop; }")
    why = "world (may be blocked by table ip filter, chain FORWARD: policy drop)"
    why6 = "world (may be blocked by table ip6 six, chain f: policy drop)"
    try:
        assert exposure(engine) == (f"0.0.0.0:8091/tcp {why}, [::]:8091/tcp {why6}",
                                    [f"80/tcp -> 0.0.0.0:8091  {why}", f"80/tcp -> [::]:8091  {why6}"])
    finally:
        in_netns(engine, "nft", "delete table ip filter; delete table ip6 six")
    assert exposure(engine)[0] == "0.0.0.0:8091/tcp world, [::]:8091/tcp world"


def test_publish_local(make_engine, busybox_rootfs):
    engine = make_engine("--publish-local")
    engine.import_image(busybox_rootfs)
    engine.skiff("run", "-d", "--name", "fw", "-p", "8091:80", "-p", "0.0.0.0:8092:80", "busybox", "sleep", "1000")
    assert sorted(engine.docker("port", "fw").stdout.split()) == sorted("80/tcp -> 0.0.0.0:8092 80/tcp -> 127.0.0.1:8091".split())
