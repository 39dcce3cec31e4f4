"""The skiff command against a running engine: what people type and what they see."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from engine import BIN

LIMIT = 20


def wait_for(condition, what, seconds=LIMIT):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.01)


class Terminal:
    """A skiff command on a pseudo-terminal of its own."""

    def __init__(self, engine, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(BIN / "skiff", ["skiff", *args], engine.environment(TERM="xterm"))
        self.seen = b""

    def read_until(self, text):
        deadline = time.monotonic() + LIMIT
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:
                    data = b""
                assert data, f"ended without {text!r}: {self.seen!r}"
                self.seen += data

    def type(self, text):
        os.write(self.fd, text)

    def finish(self):
        deadline = time.monotonic() + LIMIT
        while True:
            if select.select([self.fd], [], [], 0.01)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                pytest.fail(f"does not end: {self.seen!r}")


def popen(engine, *args, **more):
    return subprocess.Popen([BIN / "skiff", *args], env=engine.environment(), text=True,
                            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})


def test_output_and_exit_code(engine, busybox):
    done = engine.skiff("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert engine.skiff("ps", "-aq").stdout == ""


@pytest.mark.parametrize("command, code", [("/nope", 127), ("/etc", 126)])
def test_commands_that_cannot_run(engine, busybox, command, code):
    done = engine.skiff("run", "--rm", busybox, command, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("skiff: Error response from daemon: ")
    assert "Run 'skiff run --help' for more information" in done.stderr


def test_refusals_have_exit_code_125(engine, busybox):
    assert engine.skiff("run", "--name", "not valid!", busybox, "true", check=False).returncode == 125
    assert engine.skiff("run", "--no-such-option", busybox, check=False).returncode == 125
    engine.skiff("create", "--name", "taken", busybox)
    clash = engine.skiff("run", "--name", "taken", busybox, "true", check=False)
    assert clash.returncode == 125 and "already in use" in clash.stderr


def test_standard_input_is_passed_and_closed(engine, busybox):
    data = os.urandom(3_000_000)
    done = engine.skiff("run", "--rm", "-i", busybox, "cat", input=data)
    assert done.stdout == data


def test_life_of_a_container(engine, busybox):
    cid = engine.skiff("run", "-d", "--name", "life", "-l", "team=red", busybox, "sh", "-c",
                       "echo one; trap 'exit 3' TERM; while :; do sleep 0.05; done").stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", cid)
    row = engine.skiff("ps", "--format", '{{.ID}} {{.Names}} {{.State}} {{.Label "team"}}').stdout
    assert row == f"{cid[:12]} life running red\n"
    assert engine.skiff("ps").stdout.splitlines()[0].split() == \
        ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    wait_for(lambda: engine.skiff("logs", "life").stdout == "one\n", "the line in the log")
    assert engine.skiff("exec", "life", "echo", "hello").stdout == "hello\n"
    assert engine.skiff("exec", "life", "sh", "-c", "exit 9", check=False).returncode == 9
    assert engine.skiff("exec", "-i", "life", "cat", input="typed").stdout == "typed"
    assert engine.skiff("exec", "-e", "A=B", "-w", "/tmp", "life", "sh", "-c", "echo $A $PWD").stdout == "B /tmp\n"
    assert "PID" in engine.skiff("top", "life").stdout
    engine.skiff("pause", "life")
    assert "(Paused)" in engine.skiff("ps").stdout
    engine.skiff("unpause", "life")
    engine.skiff("rename", "life", "death")
    assert engine.skiff("stop", "-t", "5", "death").stdout == "death\n"
    assert engine.skiff("wait", "death").stdout == "3\n"
    assert engine.skiff("inspect", "-f", "{{.State.ExitCode}} {{.State.Running}}", "death").stdout == "3 false\n"
    engine.skiff("start", "death")
    engine.skiff("kill", "death")
    assert engine.skiff("wait", "death").stdout == "137\n"
    assert engine.skiff("rm", "death").stdout == "death\n"
    gone = engine.skiff("inspect", "death", check=False)
    assert gone.returncode == 1 and gone.stdout == "[]\n" and "No such object: death" in gone.stderr


def test_start_attached(engine, busybox):
    engine.skiff("create", "--name", "again", busybox, "sh", "-c", "echo once more; exit 4")
    for _ in range(2):
        done = engine.skiff("start", "-a", "again", check=False)
        assert (done.returncode, done.stdout) == (4, "once more\n")


def test_signals_are_proxied(engine, busybox):
    process = popen(engine, "run", "--rm", "--name", "sig", busybox, "sh", "-c",
                    "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (5, "got\n")


def test_logs_follow_until_the_end(engine, busybox):
    engine.skiff("run", "-d", "--name", "talk", busybox, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert engine.skiff("logs", "-f", "talk").stdout == "1\n2\n3\n"
    assert engine.skiff("logs", "-n", "1", "talk").stdout == "3\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z 3\n", engine.skiff("logs", "-t", "--tail=1", "talk").stdout)


def test_a_terminal(engine, busybox):
    terminal = Terminal(engine, "run", "-it", "--rm", busybox, "sh")
    terminal.type(b"tty; echo $((6*7)); exit 3\n")
    terminal.read_until(b"/dev/pts/")
    terminal.read_until(b"42")
    assert terminal.finish() == 3


def test_detach_keys(engine, busybox):
    terminal = Terminal(engine, "run", "-it", "--name", "left", busybox, "sh", "-c", "echo ready; exec sleep 1000")
    terminal.read_until(b"ready")
    terminal.type(b"\x10\x11")
    assert terminal.finish() == 0
    assert engine.skiff("inspect", "-f", "{{.State.Status}}", "left").stdout == "running\n"


def test_a_terminal_is_needed_for_it(engine, busybox):
    done = engine.skiff("run", "-it", "--rm", busybox, "true", check=False)
    assert done.returncode == 1 and "the input device is not a TTY" in done.stderr


def test_images(engine, busybox, tmp_path):
    engine.skiff("tag", busybox, "other.example/b:v1")
    rows = engine.skiff("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.splitlines()
    assert "busybox:latest" in rows and "other.example/b:v1" in rows
    image = engine.skiff("images", "-q", "--no-trunc", "other.example/b").stdout.strip()
    assert image.startswith("sha256:")
    engine.skiff("save", "-o", tmp_path / "b.tar", "other.example/b:v1")
    assert engine.skiff("rmi", "other.example/b:v1").stdout == "Untagged: other.example/b:v1\n"
    assert "other.example/b:v1" in engine.skiff("load", "-i", tmp_path / "b.tar").stdout
    assert engine.skiff("inspect", "--type", "image", "-f", "{{.Id}}", "other.example/b:v1").stdout.strip() == image
    assert engine.skiff("inspect", "-f", "{{.Id}}", "other.example/b:v1").stdout.strip() == image  # asked as a container's name first
    assert "IMAGE" in engine.skiff("history", "other.example/b:v1").stdout.splitlines()[0]
    engine.skiff("image", "rm", "other.example/b:v1")


def test_documents(engine, busybox):
    assert json.loads(engine.skiff("info", "-f", "{{json .}}").stdout)["ServerVersion"]
    assert engine.skiff("version", "--format", "{{.Server.Version}}").stdout.strip()
    networks = engine.skiff("network", "ls", "--format", "{{.Name}}").stdout.split()
    assert {"bridge", "host", "none"} <= set(networks)
    missing = engine.skiff("inspect", "-f", "{{.Nope}}", busybox, check=False)
    assert missing.returncode == 1 and "template parsing error" in missing.stderr


def test_events(engine, busybox):
    since = str(int(time.time()))
    engine.skiff("run", "--name", "ev", busybox, "true")
    done = engine.skiff("events", "--since", since, "--until", str(int(time.time()) + 1), "-f", "container=ev",
                        "--format", "{{.Action}}")
    actions = done.stdout.split("\n")
    for action in ("create", "start", "die"):
        assert action in actions


def test_prune_asks(engine, busybox):
    engine.skiff("run", "--name", "old", busybox, "true")
    refused = engine.skiff("container", "prune", input="n\n", check=False)
    assert refused.returncode == 1 and engine.skiff("ps", "-aq").stdout
    assert "Total reclaimed space:" in engine.skiff("container", "prune", "-f").stdout
    assert engine.skiff("ps", "-aq").stdout == ""


def test_help_is_complete(engine):
    commands = re.findall(r"^  (\w+) {2,}", engine.skiff("--help").stdout, re.M)
    assert {"run", "ps", "exec", "logs", "system"} <= set(commands)
    for name in commands:
        text = engine.skiff(name, "--help").stdout
        assert text.startswith(f"Usage:  skiff {name} ")
        for option in re.findall(r"^ {2,6}(?:-\w, )?--[\w-]+.*$", text, re.M):
            assert re.search(r"--[\w-]+( [\w-]+)? {2,}\S", option), option


def test_nobody_there():
    done = subprocess.run([BIN / "skiff", "-H", "unix:///nonexistent/x.sock", "ps"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Cannot connect to the skiff daemon at unix:///nonexistent/x.sock" in done.stderr


def test_few_system_calls(engine, busybox):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    done = subprocess.run(["strace", "-f", "-o", "/dev/stdout", str(BIN / "skiff"), "run", "--rm", busybox, "true"],
                          env=engine.environment(), capture_output=True, text=True, timeout=LIMIT)
    calls = [line for line in done.stdout.splitlines() if "(" in line]
    assert len(calls) <= 60, "\n".join(calls)


def test_starts_an_engine_when_none_answers(tmp_path):
    """The daily form, with a skiffd beside the client that uses private directories and its own network."""
    if os.path.exists("/run/skiff"):
        pytest.skip("an engine of this machine uses /run/skiff")
    netns = f"skiff-auto-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    shutil.copy(BIN / "skiff", tmp_path / "skiff")
    (tmp_path / "skiffd").write_text(f"""#!/bin/sh
exec nsenter --net=/run/netns/{netns} {BIN}/skiffd --data-root {tmp_path}/data --exec-root {tmp_path}/exec \\
    --pidfile {tmp_path}/pid -H unix:///run/skiff/skiff.sock
""")
    (tmp_path / "skiffd").chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k not in ("DOCKER_HOST", "SKIFF_HOST")}
    pid = None
    try:
        done = subprocess.run([tmp_path / "skiff", "ps", "-q"], env=environment, capture_output=True, text=True,
                              timeout=LIMIT)
        line = re.fullmatch(r"skiff: started skiffd \(pid (\d+)\), log /run/skiff/skiffd.log\n", done.stderr)
        assert line and done.returncode == 0 and done.stdout == "", done
        pid = int(line[1])
        again = subprocess.run([tmp_path / "skiff", "ps", "-q"], env=environment, capture_output=True, text=True,
                               timeout=LIMIT)
        assert (again.returncode, again.stderr) == (0, "")
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not os.path.exists(f"/proc/{pid}") or " Z " in open(f"/proc/{pid}/stat").read(), "its end")
        shutil.rmtree("/run/skiff", ignore_errors=True)
        subprocess.run(["ip", "netns", "del", netns], check=False)
