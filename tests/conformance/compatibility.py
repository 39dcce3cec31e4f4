#!/usr/bin/python3
"""The compatibility table: every check of checks.py against skiffd, and against Debian's dockerd where that is installed.

    compatibility.py --write docs/compatibility.md     both engines (./dev compat)
    compatibility.py --check docs/compatibility.md     skiffd alone; fails when a row is not as the table says
"""
import argparse
import base64
import collections
import itertools
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import checks  # noqa: E402
from differences import DIFFERENCES  # noqa: E402
from engine import Engine, busybox_tar, wait_until  # noqa: E402

CLIENT = next((path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(path)), None)
Row = collections.namedtuple("Row", "section name check")


def rows():
    for flag, check in checks.RUN_FLAGS.items():
        yield Row("docker run", flag, check)
    for name in checks.CONFIG:
        yield Row("Config", name, checks.member("Config", name))
    for name in checks.HOST_CONFIG:
        yield Row("HostConfig", name, checks.member("HostConfig", name))
    for name, check in checks.ENDPOINTS.items():
        yield Row("Endpoint", name, check)


class Target(Engine):
    """An engine as the checks see it."""

    def __init__(self, name):
        super().__init__()
        self.name, self.made, self.numbers, self.last_file = name, {}, itertools.count(), None

    def docker(self, *args, input=None, timeout=60):
        more = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run([CLIENT, *args], capture_output=True, text=True, timeout=timeout, env=self.environment(), check=False, **more)

    # --- files for options
    def fresh_file(self, name):
        self.last_file = self.root / f"{name}-{next(self.numbers)}"
        return str(self.last_file)

    def file(self, name, text):
        path = self.fresh_file(name)
        pathlib.Path(path).write_text(text)
        return path

    def last_file_text(self):
        return self.last_file.read_text() if self.last_file.exists() else ""

    # --- what a request needs
    def fixtures(self, text):
        self.made = {}
        if "{id}" in text or "{exec}" in text:
            self.made["id"] = self.docker("run", "-d", "--name", "t-sleeper", "busybox", "sleep", "1000").stdout.strip()
        if "{exec}" in text:
            self.made["exec"] = self.api("POST", f"/containers/{self.made['id']}/exec", {"Cmd": ["true"], "AttachStdout": True})[2]["Id"]
        if "{stopped}" in text:
            self.docker("run", "--name", "t-stopped", "busybox", "sh", "-c", "echo said; echo x > /made")
            self.made["stopped"] = "t-stopped"
        return self.made

    def clean(self):
        found = self.docker("ps", "-aq", "--filter", "name=t-").stdout.split()
        if found:
            self.docker("rm", "-f", "-v", *found)
        volumes = [v for v in self.docker("volume", "ls", "-q").stdout.split() if v.startswith("t-")]
        if volumes:
            self.docker("volume", "rm", "-f", *volumes)
        for kind, command in (("images", "rmi"), ("networks", "network rm")):
            listing = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}") if kind == "images" else \
                self.docker("network", "ls", "--format", "{{.Name}}")
            names = [n for n in listing.stdout.split() if n.startswith("t-")]
            if names:
                self.docker(*command.split(), *names)

    # --- requests that are no plain exchange
    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(self.socket)
        return connection

    def upgrade(self, method, path, body):
        text = "" if body is None else __import__("json").dumps(body)
        with self.connect() as connection:
            connection.sendall((f"{method} {path} HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
                                f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode())
            return int(connection.recv(4096).split()[1])

    def stream_start(self, path):
        with self.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
            head = connection.recv(65536)
            return int(head.split()[1]), (head + connection.recv(65536)).decode(errors="replace")

    def websocket_attach(self):
        try:
            made = self.fixtures("{id}")
            key = base64.b64encode(os.urandom(16)).decode()
            with self.connect() as connection:
                connection.sendall((f"GET /containers/{made['id']}/attach/ws?stream=1&stdout=1 HTTP/1.1\r\nHost: docker\r\nOrigin: http://docker\r\n"
                                    f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
                status = int(connection.recv(4096).split()[1])
            return None if status == 101 else f"{status}"
        finally:
            self.clean()


class Docker(Target):
    """Debian's dockerd, with directories and a network namespace of its own."""

    def start(self, *_):
        argv = self.in_netns("dockerd", "--data-root", self.data_root, "--exec-root", self.exec_root, "-H", f"unix://{self.socket}",
                             "--pidfile", self.root / "docker.pid", "--containerd-namespace", "compat")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: os.path.exists(self.socket) and self.ping(), timeout=60, interval=0.2)
        return self

    def ping(self):
        try:
            return self.api("GET", "/_ping", timeout=5)[0] == 200
        except OSError:
            return False


def results(target):
    """Row -> None (works) or what was seen instead."""
    found = {}
    try:
        target.start()
        target.import_image(busybox_tar())
        for row in rows():
            if row.check is None:
                found[row[:2]] = "not checked"
                continue
            try:
                outcome = row.check(target)
                if not outcome or "unknown flag" not in outcome: # else the client is older than the option
                    found[row[:2]] = outcome
            except Exception as error:  # a check that trips is a row that fails
                found[row[:2]] = f"{type(error).__name__}: {error}"[:160]
                target.clean()
        version = target.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
    finally:
        target.close()
    return found, version


def cell(text):
    """One line, without what differs from run to run."""
    text = re.sub(r"[0-9a-f]{64}|[0-9a-f]{12}\b", "ID", " ".join(str(text).split()))
    return text.replace("|", "\\|")[:140]


def render(skiff, docker, docker_version):
    lines = ["# Compatibility with Docker", "",
             "Made by `./dev compat`: each row is a check that was run with the unmodified docker command and raw requests, against skiffd and, beside it, against",
             f"Debian's dockerd {docker_version}. *works*: it did what Docker documents. A row that differs says how, and why; the test suite runs skiff's side and fails when",
             "a row is not as this table says. The checks are in `tests/conformance/checks.py`, the reasons in `tests/conformance/differences.py`.", ""]
    sections = collections.defaultdict(list)
    for (section, name), outcome in skiff.items():
        sections[section].append((name, outcome, docker.get((section, name))))
    works = sum(outcome is None for outcome in skiff.values())
    lines += [f"{works} of {len(skiff)} rows work.", ""]
    for section, entries in sections.items():
        lines += [f"## {section}", "", "| name | skiff | dockerd | how and why |", "|---|---|---|---|"]
        for name, outcome, peer in entries:
            why = DIFFERENCES.get(f"{section} {name}", "")
            ours = "works" if outcome is None else "differs"
            theirs = "works" if peer is None else cell(peer)
            lines.append(f"| `{name}` | {ours} | {theirs} | {cell(why) if outcome is not None else ''} |")
        lines.append("")
    return "\n".join(lines)


def verdict(skiff):
    """Complaints: rows that fail without a reason, and reasons for rows that work."""
    for (section, name), outcome in skiff.items():
        known = f"{section} {name}" in DIFFERENCES
        if outcome is not None and not known:
            yield f"{section} {name}: {outcome}"
        elif outcome is None and known:
            yield f"{section} {name}: works, yet differences.py names it"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--check", metavar="FILE")
    arguments = parser.parse_args()
    skiff, _ = results(Target("skiff"))
    complaints = list(verdict(skiff))
    for complaint in complaints:
        print(complaint)
    if arguments.write:
        docker, version = results(Docker("docker")) if shutil.which("dockerd") else ({}, "(not installed)")
        pathlib.Path(arguments.write).write_text(render(skiff, docker, version) + "\n")
    if arguments.check:
        table = pathlib.Path(arguments.check).read_text()
        for (section, name), outcome in skiff.items():
            row = f"| `{name}` | {'works' if outcome is None else 'differs'} |"
            if row not in table:
                complaints.append(f"{section} {name}: not as in {arguments.check}")
                print(complaints[-1])
    print(f"{sum(o is None for o in skiff.values())} of {len(skiff)} rows work, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
