"""The Docker Engine API as raw requests: framing, versions, statuses and shapes that clients depend on."""

import json
import socket
import struct
from urllib.parse import quote

import pytest

from engine import wait_until


def raw(engine, text, timeout=5):
    """Everything the engine answers to these bytes until it closes or is silent."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(engine.socket))
        s.sendall(text if isinstance(text, bytes) else text.encode())
        s.shutdown(socket.SHUT_WR)
        out = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return out
            out += piece


def frames(data):
    """[(stream, bytes)] of a multiplexed stream."""
    found = []
    while data:
        stream, size = struct.unpack(">BxxxI", data[:8])
        found.append((stream, data[8:8 + size]))
        data = data[8 + size:]
    return found


def test_ping_and_headers(engine):
    status, headers, body = engine.api("GET", "/_ping")
    assert (status, body) == (200, b"OK")
    assert headers["api-version"] == "1.51" and headers["ostype"] == "linux" and headers["docker-experimental"] == "false"
    assert headers["server"].startswith("Docker/")
    assert raw(engine, "HEAD /_ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize("version, status, words", [
    ("1.24", 200, None), ("1.41", 200, None), ("1.51", 200, None),
    ("1.99", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"),
    ("1.20", 400, "client version 1.20 is too old. Minimum supported API version is 1.24"),
])
def test_versions(engine, version, status, words):
    got, _, body = engine.api("GET", f"/v{version}/version")
    assert got == status
    if words:
        assert words in body["message"]


@pytest.mark.parametrize("method, path, status, words", [
    ("GET", "/nothing", 404, "page not found"),
    ("GET", "/containers/nope/json", 404, "No such container: nope"),
    ("POST", "/containers/nope/start", 404, "No such container: nope"),
    ("GET", "/containers/nope/logs?stdout=1", 404, "No such container: nope"),
    ("POST", "/containers/nope/attach?stream=1", 404, "No such container: nope"),
    ("POST", "/containers/nope/wait", 404, "No such container: nope"),
    ("GET", "/images/nope/json", 404, "No such image: nope"),
    ("POST", "/exec/nope/start", 404, "No such exec instance: nope"),
    ("GET", "/networks/nope", 404, "network nope not found"),
    ("POST", "/containers/create", 400, "EOF"),
    ("GET", "/containers/json?filters=x", 400, "invalid filters"),
    ("GET", "/containers/json?filters=%7B%22nope%22%3A%5B%22a%22%5D%7D", 400, "invalid filter 'nope'"),
    ("GET", "/containers/json?limit=x", 400, "limit"),
    ("POST", "/build", 501, "/build"),
    ("GET", "/swarm", 503, "not a swarm manager"),
])
def test_errors_have_dockers_status_and_words(engine, method, path, status, words):
    got, _, body = engine.api(method, path)
    assert got == status, body
    assert words in body["message"]


@pytest.mark.parametrize("body, kind", [
    (b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain"),
    (b'{"a":' * 10000, "application/json"), (b'{"Image":"x","HostConfig":7}', "application/json"),
])
def test_bad_bodies_are_refused(engine, body, kind):
    head = f"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    assert raw(engine, head.encode() + body).startswith(b"HTTP/1.1 400 ")


def test_smuggled_requests_are_not_answered(engine):
    answer = raw(engine, "POST /_ping HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                         "GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 400 ")


def test_a_container_from_create_to_removal(engine, busybox):
    status, _, made = engine.api("POST", "/containers/create?name=api-life",
                                 {"Image": busybox, "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]})
    assert status == 201 and len(made["Id"]) == 64 and made["Warnings"] == []
    assert engine.api("POST", "/containers/create?name=api-life", {"Image": busybox, "Cmd": ["true"]})[0] == 409
    assert engine.api("POST", "/containers/api-life/start")[0] == 204
    status, _, waited = engine.api("POST", "/containers/api-life/wait")
    assert status == 200 and (waited if isinstance(waited, dict) else json.loads(waited))["StatusCode"] == 3
    status, headers, logs = engine.api("GET", "/v1.50/containers/api-life/logs?stdout=1&stderr=1")
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert sorted(frames(logs)) == [(1, b"out\n"), (2, b"err\n")]
    shown = engine.api("GET", "/containers/api-life/json")[2]
    assert shown["Name"] == "/api-life" and shown["Path"] == "sh" and shown["State"]["ExitCode"] == 3
    assert shown["State"]["Status"] == "exited" and shown["State"]["FinishedAt"] > shown["State"]["StartedAt"]
    listed = engine.api("GET", "/containers/json?all=1&filters=" + '{"name":["^/api-life$"]}'.replace('"', "%22").replace("^", "%5E"))[2]
    assert [c["Names"] for c in listed] == [["/api-life"]] and listed[0]["Status"].startswith("Exited (3) ")
    assert engine.api("POST", "/containers/api-life/stop")[0] == 304
    assert engine.api("DELETE", "/containers/api-life")[0] == 204
    assert engine.api("GET", "/containers/api-life/json")[0] == 404


def test_an_exec_that_cannot_start_says_why(engine, busybox):
    engine.docker("run", "-d", "--name", "api-exec", busybox, "sleep", "100")
    got = engine.docker("exec", "api-exec", "nope", check=False)
    assert got.returncode == 127 and 'exec: "nope": executable file not found in $PATH' in got.stdout + got.stderr


def test_images_are_shaped_by_version(engine, busybox):
    old, new = engine.api("GET", "/v1.41/images/json")[2][0], engine.api("GET", "/v1.50/images/json")[2][0]
    assert old["VirtualSize"] == old["Size"] and "VirtualSize" not in new
    assert "Hostname" in engine.api("GET", f"/v1.41/images/{busybox}/json")[2]["Config"]
    assert "Hostname" not in engine.api("GET", f"/v1.50/images/{busybox}/json")[2]["Config"]


def test_events_of_the_past_end(engine, busybox):
    engine.docker("run", "--rm", "--name", "api-events", busybox, "true")

    def actions():
        answer = raw(engine, "GET /events?since=1&until=0s&filters=%7B%22container%22%3A%5B%22api-events%22%5D%7D HTTP/1.0\r\n\r\n")
        found = [json.loads(line)["Action"] for line in answer.split(b"\r\n\r\n", 1)[1].splitlines()]
        return [a for a in found if a in ("create", "start", "die", "destroy")]

    wait_until(lambda: len(actions()) == 4)  # the last one may come after the command's end
    assert actions() == ["create", "start", "die", "destroy"]


def test_a_pull_that_fails_at_once_is_an_ordinary_error(engine):
    status, _, body = engine.api("POST", "/images/create?fromImage=UPPER&tag=x")
    assert status == 400 and "invalid reference format" in body["message"]


def test_memory_stays_small(engine, busybox):
    for _ in range(200):
        assert engine.api("GET", "/containers/json?all=1")[0] == 200
    pss = next(int(line.split()[1]) for line in open(f"/proc/{engine.pid}/smaps_rollup") if line.startswith("Pss:"))
    assert pss < 10 * 1024


def test_images_are_pruned_by_label_and_age(engine, busybox):
    for name, label in (("keep", "tier=gold"), ("drop", "tier=tin")):
        engine.docker("run", "--name", f"prune-{name}", "busybox", "true")
        engine.docker("commit", "--change", f"LABEL {label}", f"prune-{name}", f"prune-{name}:1")
        engine.docker("rm", f"prune-{name}")
    left = lambda: [n for n in ("keep", "drop") if engine.api("GET", f"/images/prune-{n}:1/json")[0] == 200]
    prune = lambda **filters: engine.api("POST", "/images/prune?filters=" + quote(json.dumps({"dangling": ["false"], **filters})))
    assert prune(until=["24h"])[0] == 200 and left() == ["keep", "drop"]
    status, _, report = prune(label=["tier=tin"])
    assert status == 200 and {"Untagged": "prune-drop:1"} in report["ImagesDeleted"] and left() == ["keep"]
    assert prune(**{"label!": ["tier"], "label": ["tier"]})[0] == 200 and left() == ["keep"]
    assert prune(label=["tier"])[0] == 200 and left() == []
