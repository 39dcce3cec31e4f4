"""One published port of several containers: spread, taken over, given up."""
import collections
import json

import pytest

from engine import wait_until

SERVE = "mkdir /www; echo $NAME > /www/index.html; exec httpd -f -p 80 -h /www"
ASK = """
import socket, sys
for i in range({count}):
    try:
        s = socket.create_connection(("127.0.0.1", {port}), 2)
        s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while part := s.recv(4096):
            answer += part
        print(answer.split(b"\\r\\n\\r\\n")[1].decode().strip())
    except OSError as e:
        print("failed", type(e).__name__)
"""


@pytest.fixture
def shop(engine, busybox):
    engine.docker("network", "create", "shop")
    yield engine
    engine.remove_containers()
    engine.docker("network", "rm", "shop")


def ask(engine, count=60, port=8080):
    r = engine.run_in_netns("/usr/bin/python3", "-c", ASK.format(count=count, port=port), text=True)
    return collections.Counter(r.stdout.split("\n")[:-1])


def serve(engine, name, *options, alias="web"):
    engine.docker("run", "-d", "--name", name, "-e", f"NAME={name}", "--network", "shop", "--network-alias", alias, "-p", "8080:80",
                  *options, "busybox", "sh", "-c", SERVE)
    wait_until(lambda: name in engine.docker("exec", name, "sh", "-c", "wget -qO- 127.0.0.1 || true").stdout)


def elements(engine, name):
    found = json.loads(engine.run_in_netns("nft", "-j", "list", "map", "inet", "skiff", name, text=True).stdout)
    return len(found["nftables"][1]["map"].get("elem", []))


def test_three_containers_share_a_port(shop):
    engine = shop
    for name in ("web-a", "web-b", "web-c"):
        serve(engine, name)
    got = ask(engine, 300)
    assert set(got) == {"web-a", "web-b", "web-c"} and min(got.values()) > 60, got
    assert elements(engine, "any_ports4") == 0 and elements(engine, "any_shared4") == 1024
    engine.docker("stop", "-t", "1", "web-b")
    assert set(ask(engine)) == {"web-a", "web-c"}
    engine.docker("start", "web-b")
    wait_until(lambda: set(ask(engine, 20)) == {"web-a", "web-b", "web-c"})
    engine.docker("rm", "-f", "web-a", "web-c")
    assert set(ask(engine)) == {"web-b"}
    engine.docker("rm", "-f", "web-b")
    assert elements(engine, "any_shared4") == 0
    serve(engine, "web-d")
    assert elements(engine, "any_ports4") == 1 and set(ask(engine)) == {"web-d"}


def test_strangers_do_not_share(shop):
    engine = shop
    serve(engine, "web-a")
    for options in (("--network-alias", "other", "--network", "shop"), ()):
        r = engine.docker("run", "-d", "-p", "8080:80", *options, "busybox", "true", check=False)
        assert "port is already allocated" in r.stderr
    r = engine.docker("run", "-d", "--network", "shop", "--network-alias", "twice", "-p", "8081:80", "-p", "8081:81", "busybox", "true", check=False)
    assert "port is already allocated" in r.stderr
    assert set(ask(engine)) == {"web-a"}


def test_the_unhealthy_are_left_out(shop):
    engine = shop
    check = ("--health-cmd", "test ! -e /sick", "--health-interval", "200ms", "--health-retries", "1")
    serve(engine, "web-a", *check)
    serve(engine, "web-b", *check)
    wait_until(lambda: set(ask(engine, 20)) == {"web-a", "web-b"})
    engine.docker("exec", "web-a", "touch", "/sick")
    wait_until(lambda: engine.docker("inspect", "-f", "{{.State.Health.Status}}", "web-a").stdout.strip() == "unhealthy")
    wait_until(lambda: set(ask(engine, 20)) == {"web-b"})
    engine.docker("exec", "web-b", "touch", "/sick")  # where none is fit, all are asked
    wait_until(lambda: set(ask(engine, 20)) == {"web-a", "web-b"})
    engine.docker("exec", "web-a", "rm", "/sick")
    wait_until(lambda: set(ask(engine, 20)) == {"web-a"})


def test_a_new_engine_and_removed_rules_keep_the_spread(shop):
    engine = shop
    for name in ("web-a", "web-b"):
        serve(engine, name)
    engine.kill9()
    engine.start()
    assert set(ask(engine)) == {"web-a", "web-b"}
    engine.run_in_netns("nft", "flush", "ruleset")
    wait_until(lambda: "failed" not in " ".join(ask(engine, 1)), timeout=5)
    assert set(ask(engine)) == {"web-a", "web-b"}
    engine.docker("rm", "-f", "web-a")
    assert set(ask(engine)) == {"web-b"}


def test_a_port_changes_hands_without_a_failed_request(shop):
    """Graceful: out of the spread first, then the signal."""
    engine = shop
    for name in ("web-a", "web-b", "web-c"):
        serve(engine, name)
    engine.docker("stop", "-t", "1", "web-c", "web-b")
    assert ask(engine, 200) == {"web-a": 200}


def test_scale(shop):
    engine = shop
    serve(engine, "web", "--label", "x=y", alias="front")
    assert engine.skiff("scale", "web=4").stdout == "web: 4\n"
    names = set(engine.docker("ps", "--format", "{{.Names}}").stdout.split())
    assert names == {"web", "web-2", "web-3", "web-4"}
    copy = json.loads(engine.docker("inspect", "web-3").stdout)[0]
    assert {"front", "web"} <= set(copy["NetworkSettings"]["Networks"]["shop"]["Aliases"])
    assert copy["Config"]["Labels"] == {"x": "y", "skiff.copy-of": "web"} and copy["Config"]["Env"][0] == "NAME=web"
    slots = engine.run_in_netns("nft", "-j", "list", "map", "inet", "skiff", "any_shared4", text=True).stdout
    for name in names:
        address = json.loads(engine.docker("inspect", name).stdout)[0]["NetworkSettings"]["Networks"]["shop"]["IPAddress"]
        assert 255 <= slots.count(f'"{address}"') <= 257
    engine.docker("rm", "-f", "web-3")  # a gap is filled
    engine.skiff("scale", "web=3")
    assert set(engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()) == {"web", "web-2", "web-3"}
    engine.skiff("scale", "web=1")
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split() == ["web"]
    assert ask(engine, 20) == {"web": 20}
    for wrong in ("web", "web=0", "web=x", "=3"):
        assert "invalid scale" in engine.skiff("scale", wrong, check=False).stderr
    assert "No such container: nosuch" in engine.skiff("scale", "nosuch=2", check=False).stderr
