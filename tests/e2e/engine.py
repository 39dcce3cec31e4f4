"""A private skiffd for tests: own network namespace, own directories, own socket; nothing of it outlives close()."""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("SKIFF_BIN", ROOT / "build" / "bin"))
START_TIMEOUT = 20
STOP_TIMEOUT = 20


def run(*argv, check=True, timeout=60, **more):
    return subprocess.run([str(a) for a in argv], check=check, timeout=timeout, capture_output=True, **more)


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path, timeout=60):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


SPARES_MAX = 2  # of each kind (container/spares.c)


class Engine:
    """engine.docker("run", "--rm", "busybox", "true"), engine.skiff(...), engine.api("GET", "/version").

    restart() stops politely and starts again on the same data; kill9() is what it says (start() after it).
    """

    def __init__(self, *options, bin_dir=BIN):
        self.options = [str(o) for o in options]
        self.bin = Path(bin_dir)
        self.root = Path(tempfile.mkdtemp(prefix="skiff-e2e-", dir="/tmp"))
        self.data_root = self.root / "data"
        self.exec_root = self.root / "exec"
        self.socket = str(self.root / "e.sock")
        self.log_path = self.root / "skiffd.log"
        self.netns = "skiff-" + self.root.name.rsplit("-", 1)[1].replace("_", "x")
        self.process = None
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")

    # --- the process ---------------------------------------------------------------------------------------------

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def in_netns(self, *argv):
        """argv prefixed so that it runs in the engine's network namespace (nsenter execs: the pid is the program's)."""
        return ["nsenter", f"--net=/run/netns/{self.netns}", *[str(a) for a in argv]]

    def run_in_netns(self, *argv, check=True, timeout=60, **more):
        return run(*self.in_netns(*argv), check=check, timeout=timeout, **more)

    def start(self, *extra_options):
        assert not self.is_running()
        argv = self.in_netns(self.bin / "skiffd", "--data-root", self.data_root, "--exec-root", self.exec_root,
                             "-H", f"unix://{self.socket}", "--pidfile", self.root / "skiffd.pid",
                             *self.options, *extra_options)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                if self.api("GET", "/_ping", timeout=5)[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError(f"skiffd exited {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"skiffd does not answer:\n{self.log()}")
            time.sleep(0.01)

    def stop(self):
        """SIGTERM and wait; the exit status."""
        if not self.is_running():
            return None
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT)

    def kill9(self):
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)

    def restart(self, *extra_options):
        self.stop()
        return self.start(*extra_options)

    def log(self):
        return self.log_path.read_text(errors="replace")[-8000:] if self.log_path.exists() else ""

    # --- talking to it -------------------------------------------------------------------------------------------

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        env.update(DOCKER_HOST=f"unix://{self.socket}", DOCKER_CONFIG=str(self.root / "docker-config"),
                   DOCKER_CLI_HINTS="false", LC_ALL="C.UTF-8")
        env.update(more)
        return env

    def _command(self, program, args, input, check, timeout, text, env, in_netns=False):
        argv = [str(program), *[str(a) for a in args]]
        # The command joins the namespace only when asked to: the socket is a file and needs none.
        argv = self.in_netns(*argv) if in_netns else argv
        more = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(argv, capture_output=True, timeout=timeout, text=text and not isinstance(input, bytes),
                              env=self.environment(**(env or {})), **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n"
                                 f"stdout: {done.stdout}\nstderr: {done.stderr}\nengine: {self.log()}")
        return done

    def docker(self, *args, input=None, check=True, timeout=60, text=True, env=None):
        """The unmodified docker CLI against this engine. CompletedProcess with text (bytes when the input is bytes)."""
        return self._command(shutil.which("docker"), args, input, check, timeout, text, env)

    def skiff(self, *args, input=None, check=True, timeout=60, text=True, env=None):
        """The project's own client against this engine."""
        return self._command(self.bin / "skiff", args, input, check, timeout, text, env)

    def api(self, method, path, body=None, headers=None, timeout=60):
        """One request: (status, headers as dict with lower-case names, JSON value or bytes). A body that is neither
        bytes, str nor None goes as JSON. JSON streams (one value a line) come back as bytes: see json_lines()."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)) and not hasattr(body, "read"):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = UnixConnection(self.socket, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            payload = response.read()
            got = {k.lower(): v for k, v in response.getheaders()}
            if payload and got.get("content-type", "").startswith("application/json"):
                try:
                    payload = json.loads(payload)
                except ValueError:
                    pass
            return response.status, got, payload
        finally:
            connection.close()

    def import_image(self, tar, reference="busybox:latest", changes=('CMD ["sh"]',)):
        """A root file system tar (bytes) becomes an image through the API; its id."""
        repo, _, tag = reference.partition(":")
        query = [("fromSrc", "-"), ("repo", repo), ("tag", tag or "latest")] + [("changes", c) for c in changes]
        status, _, answer = self.api("POST", "/images/create?" + urllib.parse.urlencode(query), body=tar,
                                     headers={"Content-Type": "application/x-tar"})
        assert status == 200, (status, answer)
        lines = json_lines(answer)
        assert not any("error" in line for line in lines), lines
        return lines[-1].get("status")

    # --- leaving nothing behind ----------------------------------------------------------------------------------

    def remove_containers(self):
        status, _, containers = self.api("GET", "/containers/json?all=1")
        if status != 200:
            return
        for container in containers:
            self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def leftover_pids(self):
        """Processes that name this engine's private directory on their command line (shims and the like)."""
        needle, pids = str(self.root).encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle in (entry / "cmdline").read_bytes():
                        pids.append(int(entry.name))
                except OSError:
                    pass
        return pids

    def spare_ids(self):
        """Of directories that are kept for the next containers: the engine lists none of them, and they are few."""
        folder = self.data_root / "containers"
        listed = {c["Id"] for c in self.api("GET", "/containers/json?all=1")[2]}
        spares = {p.name for p in folder.iterdir()} - listed if folder.is_dir() else set()
        return spares if len(spares) <= SPARES_MAX else set()

    def directory_ids(self):
        return {p.name for d in (self.data_root / "containers", self.exec_root) if d.is_dir() for p in d.iterdir()
                if len(p.name) == 64}

    def container_ids(self):
        """Of every container that has a directory, whatever the engine knows of it; spare ones left out."""
        return self.directory_ids() - self.spare_ids()

    def remove_cgroups(self):
        """Of containers whose shims close() had to kill: nobody else ends them."""
        ids = self.directory_ids()
        left = [p for p in Path("/sys/fs/cgroup").glob("*/*/*/") if p.name in ids]
        for directory in left:
            for _ in range(200):
                try:
                    for pid in (directory / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    directory.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)

    def close(self):
        try:
            if self.is_running():
                self.remove_containers()
                self.stop()
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            if self.is_running():
                self.kill9()
            for pid in self.leftover_pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for _ in range(200):
                if not self.leftover_pids():
                    break
                time.sleep(0.01)
            self.remove_cgroups()
            run("ip", "netns", "del", self.netns, check=False)
            shutil.rmtree(self.root, ignore_errors=True)


def json_lines(payload):
    """The values of a JSON stream (bytes, or the single value api() has decoded already)."""
    if isinstance(payload, (dict, list)):
        return [payload]
    return [json.loads(line) for line in payload.splitlines() if line.strip()]


def wait_until(condition, timeout=10, interval=0.01):
    """The first true value of condition(); AssertionError at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(interval)


def make_tar(entries):
    """A tar (bytes) from (name, content) pairs: bytes = file 0644, None = directory 0755, str = symbolic link, or a
    ready TarInfo in the name's place."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(name, tarfile.TarInfo):
                if content is None:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                elif isinstance(content, str):
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, content, 0o777
                else:
                    info.mode = 0o644
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def busybox_tar():
    """A small root file system out of the distribution's own busybox-static."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    applets = run("busybox", "--list").stdout.decode().split()
    binary = tarfile.TarInfo("bin/busybox")
    binary.mode = 0o755
    tmp = tarfile.TarInfo("tmp")
    tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
    entries = [(d, None) for d in ("bin", "dev", "etc", "home", "proc", "root", "sbin", "sys", "usr", "usr/bin", "var")]
    entries += [(tmp, None), (binary, program)]
    entries += [(f"bin/{a}", "busybox") for a in applets if a != "busybox"]
    entries += [("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"),
                ("etc/group", b"root:x:0:\nusers:x:100:nobody\nnogroup:x:65534:\n")]
    return make_tar(entries)
