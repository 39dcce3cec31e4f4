"""What is repeated must not pile up: attach and abort, exec. SKIFF_REPEAT multiplies the counts (10 gives the ten thousand of a
release's check)."""
import json
import os
import socket
import time

import pytest

from engine import wait_until
from test_leaks import descriptors, status_kb

REPEAT = int(os.environ.get("SKIFF_REPEAT", "1"))
GROWTH_KB = 1024


class Raw:
    """One request on a connection of its own, hijacked or not."""

    def __init__(self, engine, method, path, body=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(engine.socket)
        text = b"" if body is None else json.dumps(body).encode()
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(text)}\r\n\r\n".encode() + text)

    def read_all(self):
        out = b""
        while piece := self.socket.recv(65536):
            out += piece
        return out

    def abort(self):
        self.socket.close()


def shim_pid(engine, container):
    for pid in engine.leftover_pids():
        if pid != engine.pid and container.encode() in open(f"/proc/{pid}/cmdline", "rb").read():
            return pid
    raise AssertionError("no shim")


def figures(engine, shim):
    return {"engine descriptors": len(list(descriptors(engine.pid))), "shim descriptors": len(list(descriptors(shim))),
            "threads": status_kb(engine.pid, "Threads"), "processes": len(engine.leftover_pids())}


@pytest.fixture
def sleeper(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    engine.import_image(busybox_rootfs)
    container = engine.docker("run", "-d", "-i", "busybox", "cat").stdout.strip()
    return engine, container, shim_pid(engine, container)


def check_flat(engine, shim, once, count):
    for _ in range(100):
        once()
    time.sleep(1)  # spare threads end, the last exec is cleared away
    before, memory = figures(engine, shim), (status_kb(engine.pid, "VmRSS"), status_kb(shim, "VmRSS"))
    for _ in range(count):
        once()
    try:
        wait_until(lambda: figures(engine, shim) == before, timeout=20)
    except AssertionError as error:
        raise AssertionError(f"{before} became {figures(engine, shim)}") from error
    grown = status_kb(engine.pid, "VmRSS") - memory[0], status_kb(shim, "VmRSS") - memory[1]
    print(f"{count} times: engine {grown[0]:+d} kB, shim {grown[1]:+d} kB")
    assert max(grown) < GROWTH_KB


def test_attach_and_abort(sleeper):
    engine, container, shim = sleeper

    def once():
        client = Raw(engine, "POST", f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1")
        assert client.socket.recv(4096).startswith(b"HTTP/1.1 101")
        client.abort()

    check_flat(engine, shim, once, 1000 * REPEAT)


def test_exec(sleeper):
    engine, container, shim = sleeper

    def once():
        made = engine.api("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "x"], "AttachStdout": True})[2]["Id"]
        client = Raw(engine, "POST", f"/exec/{made}/start", {"Detach": False, "Tty": False})
        assert client.read_all().endswith(b"x\n")
        client.abort()

    check_flat(engine, shim, once, 300 * REPEAT)
