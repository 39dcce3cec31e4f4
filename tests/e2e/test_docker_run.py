"""The unmodified docker command against skiffd: every docker found on this machine (28 here, 20.10 from Debian)."""
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time

import pytest

from engine import wait_until

DOCKERS = sorted({os.path.realpath(p) for p in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(p)})


@pytest.fixture(params=DOCKERS, ids=lambda path: path.split("/")[2])
def docker(request, engine, busybox):
    def run(*args, input=None, check=True, timeout=60):
        done = subprocess.run([request.param, *map(str, args)], capture_output=True, text=True, timeout=timeout,
                              env=engine.environment(), **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}))
        if check and done.returncode:
            raise AssertionError(f"docker {args}: exit {done.returncode}: {done.stdout}{done.stderr}\n{engine.log()}")
        return done
    run.path = request.param
    run.engine = engine
    return run


def output(done):
    return done.stdout.strip()


def test_run_prints_and_exits(docker):
    assert output(docker("run", "--rm", "busybox", "echo", "hello")) == "hello"
    assert docker("run", "--rm", "busybox", "sh", "-c", "exit 42", check=False).returncode == 42
    killed = docker("run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?", check=False)
    assert killed.returncode == 137
    both = docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")


def test_interactive_stdin_reaches_its_end(docker):
    assert output(docker("run", "--rm", "-i", "busybox", "cat", input="one\ntwo\n")) == "one\ntwo"
    big = "x" * 3_000_000
    assert len(docker("run", "--rm", "-i", "busybox", "cat", input=big).stdout) == len(big)


def test_environment_directory_user_entrypoint(docker):
    assert output(docker("run", "--rm", "-e", "A=b c", "busybox", "sh", "-c", "echo $A")) == "b c"
    assert output(docker("run", "--rm", "-w", "/new/dir", "busybox", "pwd")) == "/new/dir"
    assert output(docker("run", "--rm", "-u", "nobody", "busybox", "id", "-u")) == "65534"
    assert output(docker("run", "--rm", "-u", "12:34", "busybox", "id")).startswith("uid=12 gid=34")
    assert output(docker("run", "--rm", "--entrypoint", "echo", "busybox", "x")) == "x"
    assert output(docker("run", "--rm", "-h", "box", "busybox", "hostname")) == "box"


def test_command_errors(docker):
    missing = docker("run", "--rm", "busybox", "no-such-program", check=False)
    assert missing.returncode == 127 and "executable file not found in $PATH" in missing.stderr
    denied = docker("run", "--rm", "busybox", "/etc/passwd", check=False)
    assert denied.returncode == 126 and "permission denied" in denied.stderr
    unknown = docker("run", "--rm", "--pull", "never", "no-such-image", check=False)
    assert unknown.returncode == 125 and "No such image" in unknown.stderr
    assert not output(docker("ps", "-aq"))


def test_detached_logs_wait_stop_rm(docker):
    name = "life"
    container = output(docker("run", "-d", "--name", name, "busybox", "sh", "-c",
                              "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done"))
    assert len(container) == 64
    wait_until(lambda: "up" in docker("logs", name).stdout)
    assert name in docker("ps").stdout
    taken = docker("run", "--name", name, "busybox", check=False)
    assert taken.returncode == 125 and "is already in use by container" in taken.stderr
    assert name in docker("top", name, check=True).stdout or "sleep" in docker("top", name).stdout
    docker("stop", name)
    assert output(docker("wait", name)) == "7"
    assert docker("logs", name).stdout == "up\nbye\n"
    assert output(docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)) == "exited 7"
    assert "Exited (7)" in docker("ps", "-a").stdout
    docker("start", name)
    assert output(docker("inspect", "-f", "{{.State.Running}}", name)) == "true"
    docker("rm", "-f", name)
    assert "No such" in docker("inspect", name, check=False).stderr


def test_logs_follow_ends_with_the_container(docker):
    docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    assert docker("logs", "-f", "talker").stdout.split() == ["1", "2", "3", "4", "5"]
    assert docker("logs", "--tail", "2", "talker").stdout.split() == ["4", "5"]
    stamped = docker("logs", "-t", "--tail", "1", "talker").stdout
    assert stamped.startswith("20") and stamped.strip().endswith("Z 5")


def test_binds_show_the_same_owner_on_both_sides(docker, tmp_path):
    (tmp_path / "in").write_text("from the host")
    os.chown(tmp_path / "in", 0, 0)
    script = "cat /data/in; echo made > /data/out; stat -c %u /data/in"
    assert output(docker("run", "--rm", "-v", f"{tmp_path}:/data", "busybox", "sh", "-c", script)) == "from the host0"
    assert (tmp_path / "out").read_text() == "made\n" and (tmp_path / "out").stat().st_uid == 0
    read_only = docker("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/x", check=False)
    assert read_only.returncode != 0 and "Read-only" in read_only.stderr


def test_limits_are_set(docker):
    done = docker("run", "--rm", "-m", "32m", "--pids-limit", "50", "--cpus", "0.5", "busybox", "sh", "-c",
                  "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max "
                  "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    assert done.stdout.split() == ["33554432", "50", "50000"]
    assert output(docker("run", "--rm", "-m", "6m", "busybox", "echo", "small")) == "small"
    hog = docker("run", "--name", "hog", "-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c",
                 "head -c 64m /dev/zero | tail", check=False)
    assert hog.returncode == 137
    assert output(docker("inspect", "-f", "{{.State.OOMKilled}}", "hog")) == "true"


def test_read_only_root_and_capabilities(docker):
    refused = docker("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False)
    assert refused.returncode == 1 and "Read-only" in refused.stderr
    caps = "sed -n 's/CapEff:.//p' /proc/self/status"
    assert int(output(docker("run", "--rm", "busybox", "sh", "-c", caps)), 16) == 0xA80425FB
    assert int(output(docker("run", "--rm", "--cap-drop", "ALL", "busybox", "sh", "-c", caps)), 16) == 0
    assert int(output(docker("run", "--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", caps)),
               16) == 1 << 12
    assert int(output(docker("run", "--rm", "--privileged", "busybox", "sh", "-c", caps)), 16) > 0xA80425FB


def test_a_container_has_a_user_namespace_of_its_own(docker):
    inside, outside, count = output(docker("run", "--rm", "busybox", "cat", "/proc/self/uid_map")).split()
    assert inside == "0" and int(outside) >= 65536 and count == "65536"
    host = output(docker("run", "--rm", "--userns", "host", "busybox", "cat", "/proc/self/uid_map")).split()
    assert host == ["0", "0", "4294967295"]


def test_networks(docker):
    assert "eth0" not in docker("run", "--rm", "--network", "none", "busybox", "ip", "link").stdout
    mine = docker.engine.run_in_netns("ip", "-o", "link").stdout.decode().count("\n")
    theirs = docker("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link").stdout.count("\n")
    assert theirs == mine or theirs == mine - 1
    assert "inet 172." in docker("run", "--rm", "busybox", "ip", "addr", "show", "eth0").stdout
    docker("run", "-d", "--name", "first", "busybox", "sleep", "100")
    address = output(docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "first"))
    shared = docker("run", "--rm", "--network", "container:first", "busybox", "ip", "addr", "show", "eth0").stdout
    assert address and address in shared
    assert "1 packets received" in docker("run", "--rm", "busybox", "ping", "-c1", "-W2", address).stdout
    assert address in docker("exec", "first", "cat", "/etc/hosts").stdout


def test_published_port_answers(docker):
    docker("run", "-d", "--name", "www", "-p", "127.0.0.1:8088:80", "-p", "8089:80", "busybox", "sh", "-c",
           "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www")
    fetch = ("busybox", "wget", "-qO-")
    for url in ("http://127.0.0.1:8088/", "http://127.0.0.1:8089/"):
        wait_until(lambda: docker.engine.run_in_netns(*fetch, url, check=False).stdout == b"served\n")
    assert "127.0.0.1:8088->80/tcp" in docker("ps").stdout
    assert "127.0.0.1:8088" in docker("port", "www").stdout
    clash = docker("run", "-d", "-p", "8089:81", "busybox", "true", check=False)
    assert clash.returncode == 125 and "port is already allocated" in clash.stderr


def test_exec(docker):
    docker("run", "-d", "--name", "target", "-e", "FROM=container", "busybox", "sleep", "100")
    assert output(docker("exec", "target", "sh", "-c", "echo $FROM; exit 0")) == "container"
    assert docker("exec", "target", "sh", "-c", "exit 9", check=False).returncode == 9
    assert output(docker("exec", "-i", "target", "cat", input="through\n")) == "through"
    assert output(docker("exec", "-u", "12", "-w", "/tmp", "-e", "X=y", "target", "sh", "-c", "id -u; pwd; echo $X")).split() == \
        ["12", "/tmp", "y"]
    assert docker("exec", "target", "no-such", check=False).returncode == 127
    docker("exec", "-d", "target", "touch", "/made")
    wait_until(lambda: docker("exec", "target", "ls", "/made", check=False).returncode == 0)


def test_pause_kill_restart_rename(docker):
    docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    docker("pause", "one")
    assert "(Paused)" in docker("ps").stdout
    docker("unpause", "one")
    docker("rename", "one", "two")
    before = output(docker("inspect", "-f", "{{.State.Pid}}", "two"))
    docker("restart", "-t", "0", "two")
    assert output(docker("inspect", "-f", "{{.State.Pid}}", "two")) != before
    docker("kill", "-s", "KILL", "two")
    assert output(docker("wait", "two")) == "137"
    assert "is not running" in docker("kill", "two", check=False).stderr


class Terminal:
    """A command on a pseudo terminal."""

    def __init__(self, argv, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)
        self.seen = b""

    def expect(self, text, timeout=15):
        deadline = time.monotonic() + timeout
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError as error:
                raise AssertionError(f"ended without {text!r}: {self.seen!r}") from error

    def send(self, data):
        os.write(self.fd, data)

    def exit_status(self, timeout=15):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"still there: {self.seen!r}")


def test_terminal(docker):
    shell = Terminal([docker.path, "run", "--rm", "-it", "busybox", "sh"], docker.engine.environment())
    shell.expect("# ")
    shell.send(b"tty; stty size; echo mark$((1+1))\n")
    shell.expect("/dev/pts/0")
    shell.expect("mark2")
    shell.send(b"exit 3\n")
    assert shell.exit_status() == 3


def test_detach_and_attach_again(docker):
    shell = Terminal([docker.path, "run", "-it", "--name", "session", "busybox", "sh"], docker.engine.environment())
    shell.expect("# ")
    shell.send(b"\x10\x11")
    shell.exit_status()
    assert output(docker("inspect", "-f", "{{.State.Running}}", "session")) == "true"
    again = Terminal([docker.path, "attach", "session"], docker.engine.environment())
    again.send(b"echo back$((2+2))\n")
    again.expect("back4")
    again.send(b"exit 5\n")
    assert again.exit_status() == 5


def test_exec_with_a_terminal(docker):
    docker("run", "-d", "--name", "host", "busybox", "sleep", "100")
    shell = Terminal([docker.path, "exec", "-it", "host", "sh"], docker.engine.environment())
    shell.expect("# ")
    shell.send(b"echo mark$((3+3)); exit 4\n")
    shell.expect("mark6")
    assert shell.exit_status() == 4


def test_events_tell_the_story(docker):
    events = subprocess.Popen([docker.path, "events", "--format", "{{json .}}", "--filter", "type=container"],
                              stdout=subprocess.PIPE, text=True, env=docker.engine.environment())
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(events.stdout.readline, "")), daemon=True)
    reader.start()
    time.sleep(0.3)
    docker("run", "--rm", "--name", "story", "busybox", "true")
    try:
        wait_until(lambda: any('"destroy"' in line for line in lines))
    finally:
        events.terminate()
        events.wait(10)
    actions = [json.loads(line)["Action"] for line in lines]
    for action in ("create", "attach", "start", "die", "destroy"):
        assert action in actions, actions
    assert actions.index("create") < actions.index("start") < actions.index("die") < actions.index("destroy")


def test_images(docker, tmp_path):
    assert "busybox" in docker("images").stdout
    docker("tag", "busybox", "example.com/other:v1")
    assert "example.com/other" in docker("images").stdout
    archive = tmp_path / "image.tar"
    docker("save", "-o", archive, "example.com/other:v1")
    docker("rmi", "example.com/other:v1")
    assert "example.com/other" not in docker("images").stdout
    assert "Loaded image" in docker("load", "-i", archive).stdout
    assert output(docker("run", "--rm", "example.com/other:v1", "echo", "again")) == "again"
    docker("rmi", "example.com/other:v1")
    docker("run", "--name", "user", "busybox", "true")
    conflict = docker("rmi", "busybox", check=False)
    assert conflict.returncode == 1 and "must force" in conflict.stderr
    assert output(docker("inspect", "-f", "{{.Os}}", "busybox")) == "linux"


def test_import(docker, busybox_rootfs, tmp_path):
    archive = tmp_path / "root.tar"
    archive.write_bytes(busybox_rootfs)
    assert output(docker("import", "--change", "CMD echo imported", archive, "imported:1")).startswith("sha256:")
    assert output(docker("run", "--rm", "imported:1")) == "imported"
    docker("rmi", "imported:1")


def test_version_and_info(docker):
    assert "Engine:" in docker("version").stdout
    info = docker("info").stdout
    assert "Storage Driver: overlay" in info and "Cgroup" in info
