"""Files of containers from outside: cp, diff, export, commit; with every docker CLI on this machine and with skiff's own."""
import base64
import ctypes
import hashlib
import http.client
import io
import json
import os
import random
import subprocess
import tarfile
import threading
import time
import urllib.parse

import pytest

from engine import busybox_tar, make_tar, wait_until

CLIENTS = sorted({os.path.realpath(p) for p in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(p)}) + ["skiff"]
STATES = ["created", "running", "running-host-ids", "exited"]


@pytest.fixture(params=CLIENTS, ids=lambda path: path if path == "skiff" else path.split("/")[2])
def cli(request, engine, busybox):
    program = engine.bin / "skiff" if request.param == "skiff" else request.param

    def run(*args, check=True, text=True, timeout=120, **more):
        if "input" not in more and "stdin" not in more:
            more["stdin"] = subprocess.DEVNULL
        done = subprocess.run([str(program), *map(str, args)], capture_output=True, text=text, timeout=timeout,
                              env=engine.environment(), **more)
        if check and done.returncode:
            raise AssertionError(f"{args}: exit {done.returncode}: {done.stdout}{done.stderr}\n{engine.log()}")
        return done
    return run


def make(engine, state, *options, command=("sleep", "1000")):
    """A container of busybox in that state; its id."""
    if state == "running-host-ids":
        options = ("--userns", "host", *options)
    made = engine.docker("create", *options, "busybox", *command).stdout.strip()
    if state != "created":
        engine.docker("start", made)
    if state == "exited":
        engine.docker("kill", made)
        engine.docker("wait", made)
    return made


def stat_path(engine, container, path):
    status, headers, _ = engine.api("HEAD", f"/containers/{container}/archive?" + urllib.parse.urlencode({"path": path}))
    return status, json.loads(base64.b64decode(headers.get("x-docker-container-path-stat", "bnVsbA==")))


def get(engine, container, path):
    """The members of the archive by name, each with its contents in .data."""
    status, _, body = engine.api("GET", f"/containers/{container}/archive?" + urllib.parse.urlencode({"path": path}))
    assert status == 200, body
    return read_tar(body)


class Member(tarfile.TarInfo):
    data = None


def read_tar(body):
    found = {}
    with tarfile.open(fileobj=io.BytesIO(body), tarinfo=Member) as tar:
        for member in tar:
            member.data = tar.extractfile(member).read() if member.isreg() else None
            found[member.name] = member
    return found


def put(engine, container, path, tar, **query):
    query["path"] = path
    status, _, body = engine.api("PUT", f"/containers/{container}/archive?" + urllib.parse.urlencode(query), body=tar,
                                 headers={"Content-Type": "application/x-tar"})
    return status, body


def entry(name, mode=0o644, uid=0, gid=0, kind=tarfile.REGTYPE, link="", mtime=1000000000):
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.type, info.linkname, info.mtime = mode, uid, gid, kind, link, mtime
    return info


# --- cp, by every client and in every state


@pytest.mark.parametrize("state", STATES)
def test_copy_there_and_back(engine, cli, tmp_path, state):
    container = make(engine, state)
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("contents")
    (tree / "file").chmod(0o4751)
    (tree / "sub" / "empty").write_text("")
    (tree / "sub" / "ünïcode").write_text("ü")
    os.link(tree / "file", tree / "sub" / "hard")
    (tree / "link").symlink_to("sub/empty")
    (tree / "absolute").symlink_to("/etc/passwd")
    os.chown(tree / "sub", 12, 34)
    os.utime(tree / "file", (1, 1234567890))
    cli("cp", tree, f"{container}:/opt")  # becomes /opt: it is not there
    cli("cp", tree, f"{container}:/root/")
    cli("cp", f"{tree}/.", f"{container}:/home")
    for where in ("/opt", "/root/tree", "/home"):
        members = get(engine, container, where)
        base = where.rsplit("/", 1)[1]
        file = members[f"{base}/file"]
        assert (file.data, file.mode, file.uid, file.gid, file.mtime) == (b"contents", 0o4751, 0, 0, 1234567890)
        assert (members[f"{base}/sub"].uid, members[f"{base}/sub"].gid) == (12, 34)
        assert members[f"{base}/sub/hard"].islnk() and members[f"{base}/sub/hard"].linkname == f"{base}/file"
        assert members[f"{base}/link"].linkname == "sub/empty"
        assert members[f"{base}/absolute"].linkname == "/etc/passwd"
        assert members[f"{base}/sub/ünïcode"].data == "ü".encode()
    cli("cp", f"{container}:/opt", tmp_path / "back")
    assert (tmp_path / "back" / "file").read_text() == "contents"
    assert (tmp_path / "back" / "file").stat().st_mode & 0o7777 == 0o4751
    assert (tmp_path / "back" / "file").stat().st_mtime == 1234567890
    assert (tmp_path / "back" / "file").stat().st_ino == (tmp_path / "back" / "sub" / "hard").stat().st_ino
    assert os.readlink(tmp_path / "back" / "absolute") == "/etc/passwd"
    cli("cp", f"{container}:/opt/.", tmp_path / "back2")
    assert sorted(p.name for p in (tmp_path / "back2").iterdir()) == ["absolute", "file", "link", "sub"]
    (tmp_path / "here").mkdir()
    cli("cp", f"{container}:/opt", tmp_path / "here")
    cli("cp", f"{container}:/opt/file", tmp_path / "here")
    cli("cp", f"{container}:/opt/file", tmp_path / "here" / "renamed")
    assert (tmp_path / "here" / "opt" / "sub" / "empty").exists()
    assert (tmp_path / "here" / "renamed").read_text() == (tmp_path / "here" / "file").read_text() == "contents"


@pytest.mark.parametrize("state", ["created", "running"])
def test_tar_streams(engine, cli, state):
    container = make(engine, state)
    tar = make_tar([("d", None), ("d/x", b"1"), ("y", b"2")])
    cli("cp", "-", f"{container}:/home", input=tar, text=False)
    out = read_tar(cli("cp", f"{container}:/home", "-", text=False).stdout)
    assert out["home/d/x"].data == b"1" and out["home/y"].data == b"2"
    refused = cli("cp", "-", f"{container}:/home/y", input=tar, text=False, check=False)
    assert refused.returncode == 1 and b"must be a directory" in refused.stderr


@pytest.mark.parametrize("state", ["created", "running"])
def test_links_lead_inside(engine, cli, tmp_path, state):
    """/var/run -> /run and the like must work (moby#52653), and mean the container's."""
    container = make(engine, state)
    links = [(entry("run", 0o755, kind=tarfile.DIRTYPE), None), ("var/run", "/run"), ("up", "../../../../../../run"),
             ("file", "/run/real"), ("dangling", "/run/new"), ("run/real", b"real")]
    assert put(engine, container, "/", make_tar(links))[0] == 200
    source = tmp_path / "source"
    source.write_text("new")
    for path in ("/var/run/a", "/up/b", "/var/run/"):
        cli("cp", source, f"{container}:{path}")
    cli("cp", source, f"{container}:/file")  # what the link leads to is replaced
    cli("cp", source, f"{container}:/dangling")
    members = get(engine, container, "/run")
    assert {n: m.data for n, m in members.items() if m.isreg()} == {
        f"run/{n}": b"new" for n in ("a", "b", "source", "real", "new")}
    assert get(engine, container, "/var/run")["run"].issym()
    assert get(engine, container, "/var/run/")["run/a"].data == b"new"
    cli("cp", "-L", f"{container}:/file", tmp_path / "followed")
    assert (tmp_path / "followed").read_text() == "new" and not (tmp_path / "followed").is_symlink()
    cli("cp", "-L", f"{container}:/var/run", tmp_path / "folder")
    assert (tmp_path / "folder" / "a").read_text() == "new"
    cli("cp", f"{container}:/file", tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "/run/real"


def test_follow_local_link(engine, cli, tmp_path):
    container = make(engine, "created")
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    cli("cp", tmp_path / "link", f"{container}:/home/plain")
    cli("cp", "-L", tmp_path / "link", f"{container}:/home/")
    members = get(engine, container, "/home")
    assert members["home/plain"].issym() and members["home/link"].data == b"x"


def test_refusals_of_the_clients(engine, cli, tmp_path):
    container = make(engine, "created")
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    for args, text in [((f"{container}:/etc", f"{container}:/x"), "copying between containers is not supported"),
                       (("/etc", "/tmp"), "must specify at least one container source"),
                       ((tmp_path / "dir", f"{container}:/etc/passwd"), "cannot copy directory"),
                       ((tmp_path / "file", f"{container}:/nowhere/"), "no such directory"),
                       ((tmp_path / "file", f"{container}:/no/where"), ("Could not find the file /no in container", "No such container:path")),
                       ((tmp_path / "nothing", f"{container}:/home"), "no such file or directory"),
                       ((f"{container}:/nothing", tmp_path), ("Could not find the file /nothing in container", "No such container:path")),
                       ((f"{container}:/etc", tmp_path / "file"), "cannot copy directory"),
                       ((f"{container}:/etc/passwd", tmp_path / "no" / "x"), "does not exist"),
                       (("nobody:/x", tmp_path), ("No such container: nobody", "No such container:path"))]:
        done = cli("cp", *args, check=False)
        texts = (text,) if isinstance(text, str) else text  # 20.10 words a 404 itself
        assert done.returncode == 1 and any(t in done.stderr for t in texts), (args, done.stderr)


def test_names_with_colons(engine, cli, tmp_path):
    container = make(engine, "created")
    (tmp_path / "a:b").write_text("x")
    cli("cp", "./a:b", f"{container}:/home/c:d", cwd=tmp_path)
    assert get(engine, container, "/home/c:d")["c:d"].data == b"x"


# --- the calls themselves


@pytest.mark.parametrize("state", STATES)
def test_path_stat(engine, busybox, state):
    container = make(engine, state)
    assert stat_path(engine, container, "/") [1]["name"] == "/"
    assert stat_path(engine, container, "/etc/.")[1]["name"] == "."
    status, passwd = stat_path(engine, container, "etc/../etc//passwd")
    assert (status, passwd["name"], passwd["mode"], passwd["mtime"]) == (200, "passwd", 0o644, "1970-01-01T00:00:00Z")
    assert passwd["size"] == len(b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    tmp = stat_path(engine, container, "/tmp")[1]
    assert tmp["mode"] == 1 << 31 | 1 << 20 | 0o777 and tmp["linkTarget"] == ""
    shell = stat_path(engine, container, "/bin/sh")[1]
    assert shell["mode"] == 1 << 27 | 0o777 and shell["linkTarget"] == "/bin/busybox"
    put(engine, container, "/home", make_tar([("l1", "../home/l2"), ("l2", "/no/such"), ("l3", "l3"), ("out", "../../../../etc/passwd")]))
    assert stat_path(engine, container, "/home/l1")[1]["linkTarget"] == "/no/such"
    assert stat_path(engine, container, "/home/out")[1]["linkTarget"] == "/etc/passwd"
    assert stat_path(engine, container, "/home/l3")[0] == 200
    assert stat_path(engine, container, "/home/l3/")[0] == 400
    assert stat_path(engine, container, "/nothing")[0] == 404
    assert stat_path(engine, container, "/etc/passwd/")[0] == 400
    assert stat_path(engine, container, "")[0] == 400
    assert engine.api("HEAD", "/containers/nobody/archive?path=/")[0] == 404


@pytest.mark.parametrize("state", STATES)
def test_owners_modes_kinds_and_attributes(engine, busybox, state):
    """What is put in is what comes out, in the container's ids."""
    container = make(engine, state)
    capability = entry("cap", 0o755)
    raw = bytes.fromhex("0100000200040000000000000000000000000000")
    capability.pax_headers = {"SCHILY.xattr.security.capability": raw.decode("latin-1"), "SCHILY.xattr.user.note": "n"}
    entries = [(entry("mine", 0o2755, 1000, 1001), b"x"), (entry("fifo", 0o622, 5, 6, tarfile.FIFOTYPE), None),
               (entry("sub", 0o1711, 7, 8, tarfile.DIRTYPE), None), (capability, b"c"),
               (entry("link", 0o777, 9, 10, tarfile.SYMTYPE, "mine"), None), (entry("last", 0o600, 65535, 65535), b"")]
    assert put(engine, container, "/home", make_tar(entries)) == (200, b"")
    members = get(engine, container, "/home")
    for info, _ in entries:
        found = members["home/" + info.name]
        assert (found.uid, found.gid, found.type, found.mtime) == (info.uid, info.gid, info.type, info.mtime), info.name
        assert found.mode == info.mode or info.issym()
    headers = members["home/cap"].pax_headers
    assert headers["SCHILY.xattr.user.note"] == "n"
    assert headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape") == raw
    if state.startswith("running"):
        listed = engine.docker("exec", container, "stat", "-c", "%n %u %g %a", "/home/mine", "/home/sub", "/home/last").stdout
        assert listed.split("\n")[:3] == ["/home/mine 1000 1001 2755", "/home/sub 7 8 1711", "/home/last 65535 65535 600"]


def test_ids_that_the_container_has_not_are_refused(engine, busybox):
    container = make(engine, "running")
    status, body = put(engine, container, "/home", make_tar([(entry("x", uid=70000), b"")]))
    assert status == 400 and 'write "x": its owner cannot be mapped to a host ID' in body["message"]


def test_owner_by_user(engine, cli, tmp_path):
    container = make(engine, "created", "--user", "nobody")
    (tmp_path / "f").write_text("x")
    cli("cp", "-a", tmp_path / "f", f"{container}:/home/")
    found = get(engine, container, "/home/f")["f"]
    assert (found.uid, found.gid) == (65534, 65534)


@pytest.mark.parametrize("state", ["created", "running"])
def test_put_errors(engine, busybox, state):
    container = make(engine, state)
    assert put(engine, container, "/", make_tar([("opt", None)]))[0] == 200
    file, folder = make_tar([("opt", b"x")]), make_tar([("passwd", None), ("passwd/x", b"")])
    assert put(engine, container, "/etc/passwd", file) == (400, {"message": "extraction point is not a directory"})
    assert put(engine, container, "/nowhere", file) == (404, {"message": f"Could not find the file /nowhere in container {container}"})
    status, body = put(engine, container, "/", file, noOverwriteDirNonDir="1")
    assert status == 400 and 'cannot overwrite directory "opt" with non-directory' in body["message"]
    status, body = put(engine, container, "/etc", folder, noOverwriteDirNonDir="1")
    assert status == 400 and 'cannot overwrite non-directory "passwd" with directory' in body["message"]
    assert put(engine, container, "/etc", folder)[0] == 200  # replaced
    assert "passwd/x" in get(engine, container, "/etc/passwd")
    for broken in (b"garbage", file[:700]):
        status, body = put(engine, container, "/", broken)
        assert status == 400 and body["message"].startswith("Error processing tar file: "), body
    climbing = make_tar([("../../../etc/cp-climbed", b"x")])
    status, body = put(engine, container, "/home", climbing)
    assert status == 400 and "leads outside" in body["message"]
    assert not os.path.exists("/etc/cp-climbed")


def test_compressed_archives(engine, busybox):
    container = make(engine, "created")
    plain = make_tar([("z", b"z" * 100000)])
    import gzip
    assert put(engine, container, "/home", gzip.compress(plain))[0] == 200
    assert get(engine, container, "/home/z")["z"].data == b"z" * 100000


def test_read_only(engine, busybox, tmp_path):
    tar = make_tar([("x", b"x")])
    for state in ("created", "running"):
        locked = make(engine, state, "--read-only", "-v", f"{tmp_path}:/rw", "-v", f"{tmp_path}:/ro:ro", "--tmpfs", "/run")
        assert put(engine, locked, "/etc", tar) == (403, {"message": "container rootfs is marked read-only"})
        assert put(engine, locked, "/ro", tar) == (403, {"message": "mounted volume is marked read-only"})
        assert put(engine, locked, "/rw", tar)[0] == 200
        assert (tmp_path / "x").read_bytes() == b"x"


@pytest.mark.parametrize("state", ["created", "running", "exited"])
def test_binds_are_in_view(engine, cli, tmp_path, state):
    """In and out of what is mounted, also where the container has never run and the place is below a link."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "given").write_text("given")
    os.chown(tmp_path / "in" / "given", 3, 4)
    (tmp_path / "one").write_text("one")
    container = make(engine, state, "-v", f"{tmp_path}/in:/data/deep", "-v", f"{tmp_path}/one:/etc/one")
    found = get(engine, container, "/data/deep")["deep/given"]
    assert (found.data, found.uid, found.gid) == (b"given", 3, 4)
    assert get(engine, container, "/etc/one")["one"].data == b"one"
    cli("cp", tmp_path / "one", f"{container}:/data/deep/put")
    assert (tmp_path / "in" / "put").read_text() == "one" and (tmp_path / "in" / "put").stat().st_uid == 0
    busy = put(engine, container, "/etc", make_tar([("one", b"replaced")]))
    assert busy[0] >= 400 and "busy" in busy[1]["message"] and (tmp_path / "one").read_text() == "one"
    assert "deep/put" not in " ".join(engine.docker("diff", container).stdout.split())


def test_a_process_that_has_changed_its_root(engine, busybox):
    """The view is the container's, whatever its first process calls its root."""
    container = make(engine, "running", command=("sh", "-c", "mkdir -p /jail/bin; cp /bin/busybox /jail/bin; exec chroot /jail /bin/busybox sleep 1000"))
    wait_until(lambda: stat_path(engine, container, "/jail/bin/busybox")[0] == 200)
    time.sleep(0.2)
    assert stat_path(engine, container, "/etc/passwd")[0] == 200


def test_nothing_is_left_on_the_host(engine, busybox, tmp_path):
    """No mount, no descriptor, no thread of an archive call outlives it."""
    container = make(engine, "created", "-v", f"{tmp_path}:/data")
    running = make(engine, "running")
    tar = make_tar([("x", b"x" * 1000)])

    def calls():
        for c in (container, running):
            assert put(engine, c, "/home", tar)[0] == 200
            assert put(engine, c, "/home", b"broken")[0] == 400
            assert stat_path(engine, c, "/nothing")[0] == 404
            get(engine, c, "/home")
            engine.api("GET", f"/containers/{c}/export")
            engine.api("GET", f"/containers/{c}/changes")

    calls()
    proc = f"/proc/{engine.pid}"


    def mounts():
        return [line for pid in ("self", engine.pid) for line in open(f"/proc/{pid}/mountinfo", encoding="utf-8")
                if "overlay" in line or str(engine.root) in line]
    before = mounts()
    descriptors = len(os.listdir(f"{proc}/fd"))
    for _ in range(10):
        calls()
    assert mounts() == before
    wait_until(lambda: len(os.listdir(f"{proc}/fd")) <= descriptors + 2)


# --- much, and at once


def peak_kb(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("state", ["created", "running"])
def test_big_file_is_streamed(engine, cli, tmp_path, state):
    container = make(engine, state)
    size = 100 << 20
    block = random.Random(1).randbytes(1 << 20)
    with open(tmp_path / "big", "wb") as big:
        for _ in range(size >> 20):
            big.write(block)
    before = peak_kb(engine.pid)
    cli("cp", tmp_path / "big", f"{container}:/home/big")
    cli("cp", f"{container}:/home/big", tmp_path / "back")
    assert peak_kb(engine.pid) - before < 8 << 10
    with open(tmp_path / "big", "rb") as a, open(tmp_path / "back", "rb") as b:
        assert hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest() \
            if hasattr(hashlib, "file_digest") else a.read() == b.read()


def test_start_while_something_is_copied(engine, busybox):
    """A start during copies neither fails nor loses what was copied before it."""
    container = make(engine, "created")
    stop = threading.Event()
    done = []

    def copy():
        while not stop.is_set():
            done.append(put(engine, container, "/home", make_tar([(f"f{len(done)}", b"x" * 10000)]))[0])
    threads = [threading.Thread(target=copy) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(5):
            wait_until(lambda n=len(done): len(done) > n + 3)
            engine.docker("start", container)
            engine.docker("kill", container)
            engine.docker("wait", container)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert set(done) == {200}


STORM = """
while :; do
  rm -rf /home/d; mv /home/real /home/d; mv /home/d /home/real
  rm -rf /home/d; ln -s %s /home/d; rm -f /home/d
  [ -d /home/real ] || { mkdir /home/real; echo inside > /home/real/sentinel; echo inside > /home/real/shadow; }
done 2>/dev/null
"""
RENAME_EXCHANGE = 2


class Exchange(threading.Thread):
    """Swaps a directory and a link of the container for one another as fast as the kernel can."""

    def __init__(self, pid):
        super().__init__()
        self.paths = [f"/proc/{pid}/root/home/{name}".encode() for name in ("x", "y")]
        self.ends = threading.Event()
        self.count = 0

    def run(self):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        while not self.ends.is_set():
            self.count += rename(-100, self.paths[0], -100, self.paths[1], RENAME_EXCHANGE) == 0


@pytest.mark.parametrize("ids", ["own-ids", "host-ids"])
def test_rename_storm(engine, busybox, tmp_path, ids):
    """CVE-2018-15664, moby 2026-42306 and their kin: directories of the container turn into links to a directory of the
    host and back, by a process inside and by the fastest swap there is, while hundreds of copies run both ways."""
    secret = tmp_path / "host"
    secret.mkdir()
    (secret / "sentinel").write_text("host's")
    (secret / "shadow").write_text("host's secret")
    secret.chmod(0o777)
    options = ("--userns", "host") if ids == "host-ids" else ()
    container = engine.docker("run", "-d", *options, "busybox", "sh", "-c", STORM % secret).stdout.strip()
    engine.docker("exec", container, "sh", "-c",
                  f"mkdir /home/x; echo inside > /home/x/shadow; ln -s {secret} /home/y")
    pid = json.loads(engine.docker("inspect", container).stdout)[0]["State"]["Pid"]
    exchange = Exchange(pid)
    exchange.start()
    tar = make_tar([("sentinel", b"copied"), ("new", b"copied"), ("d", None), ("d/deep", b"copied"), ("x/deep", b"copied")])
    puts, gets = [], []
    try:
        for i in range(200):
            into = ("/home/d", "/home/x", "/home/y", "/home/d/.", "/home/x/d", "/home")[i % 6]
            puts.append(put(engine, container, into, tar)[0])
            path = ("/home/d", "/home/x/", "/home/d/shadow", "/home/y/shadow", "/home/x/.", "/home")[i % 6]
            status, _, body = engine.api("GET", f"/containers/{container}/archive?path={path}")
            gets.append(status)
            assert status in (200, 400, 404), body
            assert status != 200 or b"host's" not in body
            stat_path(engine, container, "/home/y/sentinel")
    finally:
        exchange.ends.set()
        exchange.join()
    assert sorted(os.listdir(secret)) == ["sentinel", "shadow"]
    assert (secret / "sentinel").read_text() == "host's" and (secret / "shadow").read_text() == "host's secret"
    assert exchange.count > 1000
    assert {200, 404} <= set(puts) and {200, 404} <= set(gets)  # both sides of the race were met


def test_magic_links_and_devices(engine, busybox):
    """/proc's links lead nowhere, and nothing that is not a file is opened."""
    container = make(engine, "running", "--pid", "host")
    for path in ("/proc/1/root/etc/hostname", "/proc/self/root/etc/hostname", f"/proc/{engine.pid}/cwd/"):
        assert engine.api("GET", f"/containers/{container}/archive?path={path}")[0] in (400, 403, 404), engine.api("GET", f"/containers/{container}/archive?path={path}")
    engine.docker("exec", container, "mkfifo", "/home/fifo")
    assert get(engine, container, "/home/fifo")["fifo"].isfifo()
    assert get(engine, container, "/dev/zero")["zero"].ischr()


# --- diff, export, commit

CHANGES = ("mkdir -p /new/sub; echo x > /new/sub/f; chmod 700 /home; echo hi >> /etc/passwd; rm -r /usr/bin; rm /etc/group; "
           "touch /bin/busybox; rm -rf /d; mkdir /d; cp /etc/passwd /d/keep; rm -rf /e; echo > /e; rm /f; mkdir /f; echo > /f/z; "
           "chmod 711 /g; echo >> /g/h/i; mkdir /g/h/n; ln -s a /root/l; touch /var/gone; rm /var/gone; cat /g/same > /dev/null; "
           "chown 3:4 /g/owned; mkfifo /new/p; ln /new/sub/f /new/hard")
EXPECTED = """C /bin\nC /bin/busybox\nC /d\nC /d/keep\nD /d/old\nC /e\nC /etc\nD /etc/group\nC /etc/passwd\nC /f\nA /f/z\nC /g
C /g/h\nC /g/h/i\nA /g/h/n\nC /g/owned\nC /home\nA /new\nA /new/hard\nA /new/p\nA /new/sub\nA /new/sub/f\nC /root\nA /root/l
C /usr\nD /usr/bin"""


def joined(*archives):
    """One tar out of several."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as new:
        for archive in archives:
            with tarfile.open(fileobj=io.BytesIO(archive)) as old:
                for member in old:
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return out.getvalue()


@pytest.fixture
def changed(engine, busybox_rootfs):
    """A container that has made CHANGES and ended."""
    if engine.api("GET", "/images/tree:latest/json")[0] != 200:
        extra = make_tar([("d", None), ("d/old", b"1"), ("d/keep", b"2"), ("e", None), ("e/x", b"1"), ("f", b"1"), ("g", None),
                          ("g/h", None), ("g/h/i", b"1"), ("g/same", b"s"), ("g/owned", b"o")])
        engine.import_image(joined(busybox_rootfs, extra), "tree:latest")
    container = engine.docker("create", "tree", "sh", "-c", CHANGES).stdout.strip()
    engine.docker("start", "-a", container)
    return container


def test_diff(engine, cli, changed):
    lines = cli("diff", changed).stdout.strip().split("\n")
    assert lines == EXPECTED.split("\n")
    untouched = make(engine, "created")
    assert cli("diff", untouched).stdout == "" and engine.api("GET", f"/containers/{untouched}/changes")[2] is None
    running = make(engine, "running")
    engine.docker("exec", running, "touch", "/home/x")
    assert cli("diff", running).stdout.split("\n") == ["C /home", "A /home/x", ""]
    missing = cli("diff", "nobody", check=False)
    assert missing.returncode == 1 and "No such container: nobody" in missing.stderr


def contents(members):
    return {n.rstrip("/"): (m.type, m.mode, m.uid, m.gid, m.linkname, m.data) for n, m in members.items()}


def test_export(engine, cli, changed, tmp_path):
    exported = read_tar(cli("export", changed, text=False).stdout)
    cli("export", "-o", tmp_path / "out.tar", changed)
    assert contents(read_tar((tmp_path / "out.tar").read_bytes())) == contents(exported)
    assert exported["new/sub/f"].data == b"x\n" or exported["new/hard"].data == b"x\n"
    assert "etc/group" not in exported and "usr/bin" not in exported and "d/old" not in exported
    assert exported["e"].isreg() and exported["f"].isdir() and exported["g/owned"].uid == 3
    assert not any(name.startswith((".wh.", "/")) or "/.wh." in name for name in exported)
    # what a running one has mounted is left out, and its ids are its own
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "secret").write_text("x")
    running = make(engine, "running", "-v", f"{tmp_path}/v:/vol")
    engine.docker("exec", running, "sh", "-c", "echo y > /home/y; chown 8:9 /home/y")
    live = read_tar(cli("export", running, text=False).stdout)
    assert live["home/y"].data == b"y\n" and (live["home/y"].uid, live["home/y"].gid) == (8, 9)
    assert live["vol"].isdir() and not any(n.startswith(("vol/", "proc/", "sys/")) for n in live)
    assert live["etc/hosts"].size == 0
    engine.docker("kill", running)
    engine.docker("wait", running)
    assert contents(read_tar(cli("export", running, text=False).stdout)) == contents(live)


def root_of(engine, image):
    made = engine.docker("create", image, "x").stdout.strip()
    return contents(read_tar(engine.api("GET", f"/containers/{made}/export")[2]))


def test_commit(engine, cli, changed):
    name = f"committed:{random.getrandbits(40):x}"
    given = cli("commit", "-a", "An Author <a@example.org>", "-m", "a message", "-c", 'CMD ["cat", "/new/hard"]', "-c", "ENV A=1",
                "-c", "LABEL k=v", changed, name).stdout.strip()
    assert given.startswith("sha256:") and len(given) == 71
    image = engine.api("GET", f"/images/{name}/json")[2]
    assert image["Id"] == given and image["Author"] == "An Author <a@example.org>" and image["Comment"] == "a message"
    assert image["Config"]["Cmd"] == ["cat", "/new/hard"] and "A=1" in image["Config"]["Env"]
    assert image["Config"]["Labels"] == {"k": "v"}
    base = engine.api("GET", "/images/tree:latest/json")[2]
    assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    history = engine.api("GET", f"/images/{name}/history")[2]
    assert len(history) == 2 and history[0]["CreatedBy"].startswith("sh -c mkdir") and history[0]["Comment"] == "a message"
    assert engine.docker("run", "--rm", name).stdout == "x\n"
    exported = contents(read_tar(engine.api("GET", f"/containers/{changed}/export")[2]))
    assert root_of(engine, name) == exported
    # saved and loaded it is the same: the layer is a layer like any other
    saved = engine.api("GET", f"/images/{name}/get")[2]
    assert engine.api("DELETE", f"/images/{name}?force=1")[0] == 200
    assert engine.api("POST", "/images/load", body=saved, headers={"Content-Type": "application/x-tar"})[0] == 200
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == given and root_of(engine, name) == exported
    engine.api("DELETE", f"/images/{name}?force=1")


def test_commit_without_a_change_makes_no_layer(engine, cli):
    container = make(engine, "created")
    image = engine.api("GET", f"/images/{cli('commit', container).stdout.strip()}/json")[2]
    assert image["RootFS"] == engine.api("GET", "/images/busybox/json")[2]["RootFS"] and image["RepoTags"] == []
    assert image["Config"]["Cmd"] == ["sleep", "1000"]


def test_commit_of_a_running_one(engine, busybox):
    container = make(engine, "running")
    engine.docker("exec", container, "sh", "-c", "echo data > /home/data; chown 1000 /home/data; rm -rf /usr")
    since = time.time()
    status, _, answer = engine.api("POST", f"/commit?container={container}&repo=live&tag=1", body={"Cmd": ["true"], "User": "nobody"})
    assert status == 201
    assert engine.docker("inspect", "-f", "{{.State.Status}}", container).stdout.strip() == "running"
    config = engine.api("GET", "/images/live:1/json")[2]["Config"]
    assert config["Cmd"] == ["true"] and config["User"] == "nobody"
    out = engine.docker("run", "--rm", "live:1", "sh", "-c", "stat -c %u /home/data; ls /").stdout.split()
    assert out[0] == "1000" and "usr" not in out
    events = engine.docker("events", "--since", f"{since - 1:.0f}", "--until", f"{time.time() + 1:.0f}", "--format",
                           "{{.Type}} {{.Action}} {{.Actor.Attributes.imageID}}").stdout.split("\n")
    assert f"container commit {answer['Id']}" in events
    assert [e.split()[1] for e in events if e.startswith("container ") and e.split()[1] in ("pause", "unpause")] == ["pause", "unpause"]
    engine.api("DELETE", "/images/live:1?force=1")


def test_commit_squashed(engine, cli, changed):
    """All files in one layer on nothing: what a container of it shows is what the committed one shows."""
    name = f"squashed:{random.getrandbits(40):x}"
    since = engine.api("GET", f"/containers/{changed}/export")[2]
    engine.skiff("commit", "--squash", "-m", "all in one", "-c", "LABEL k=v", changed, name)
    image = engine.api("GET", f"/images/{name}/json")[2]
    base = engine.api("GET", "/images/tree:latest/json")[2]
    assert len(image["RootFS"]["Layers"]) == 1 and image["RootFS"]["Layers"] != base["RootFS"]["Layers"][:1]
    history = engine.api("GET", f"/images/{name}/history")[2]
    assert len(history) == 1 and history[0]["Comment"] == "all in one" and history[0]["Size"] == image["Size"]
    assert image["Config"]["Labels"] == {"k": "v"} and image["Config"]["Cmd"] == engine.api(
        "GET", f"/containers/{changed}/json")[2]["Config"]["Cmd"]
    assert root_of(engine, name) == contents(read_tar(since))
    # The layer itself: no whiteout, none of the places that only the runtime needs, and a tar that says the same once more.
    saved = engine.api("GET", f"/images/{name}/get")[2]
    layer = layers_of(saved)
    assert len(layer) == 1 and not [m for m in layer[0] if "/.wh." in m or m.startswith(".wh.") or m == "etc/resolv.conf"]
    assert engine.api("DELETE", f"/images/{name}?force=1")[0] == 200
    assert engine.api("POST", "/images/load", body=saved, headers={"Content-Type": "application/x-tar"})[0] == 200
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == image["Id"]
    engine.api("DELETE", f"/images/{name}?force=1")


def layers_of(saved):
    """Names in each layer of a `docker save` archive, the lowest first."""
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        return [tarfile.open(fileobj=io.BytesIO(archive.extractfile(path).read())).getnames() for path in manifest[0]["Layers"]]


def test_squash_merges_layers_as_they_are_seen(engine, busybox):
    """Several layers that take away, replace and reveal; links, attributes, holes, owners; of a running container too."""
    engine.skiff("run", "--name", "lower", "busybox", "sh", "-c",
                 "mkdir -p /d/sub /gone; echo 1 > /d/a; echo 1 > /d/sub/x; echo 1 > /gone/y; ln /d/a /d/linked")
    engine.skiff("commit", "lower", "parts:1")
    engine.skiff("run", "-d", "--name", "upper", "parts:1", "sh", "-c",
                 "rm -r /gone /d/sub; mkdir /d/sub; echo 2 > /d/sub/z; rm /bin/zcat; chown 12:34 /d/sub/z; chmod 4750 /d/sub/z; "
                 "echo h > /h1; ln /h1 /h2; ln -s /nowhere /broken; mkfifo /fifo; "
                 "dd if=/dev/zero of=/holes bs=1 count=1 seek=5000000 2>/dev/null; sleep 1000")
    wait_until(lambda: engine.docker("exec", "upper", "test", "-s", "/holes", check=False).returncode == 0)
    status, _, answer = engine.api("POST", "/commit?container=upper&repo=parts&tag=flat&squash=1")
    assert status == 201, answer
    assert engine.docker("inspect", "-f", "{{.State.Status}}", "upper").stdout.strip() == "running"
    image = engine.api("GET", "/images/parts:flat/json")[2]
    assert len(image["RootFS"]["Layers"]) == 1
    script = ("ls -d /gone /d/sub/x /bin/zcat 2>/dev/null; cat /d/sub/z /d/linked; stat -c '%u:%g %a %n' /d/sub/z; stat -c '%s %h' /holes /h1 "
              "/d/a; test /h1 -ef /h2 && echo same; readlink /broken; test -p /fifo && echo fifo; du -k /holes | cut -f1")
    seen = engine.docker("run", "--rm", "parts:flat", "sh", "-c", script).stdout.splitlines()
    assert seen[:9] == ["2", "1", "12:34 4750 /d/sub/z", "5000001 1", "2 2", "2 2", "same", "/nowhere", "fifo"], seen
    names = layers_of(engine.api("GET", "/images/parts:flat/get")[2])[0]
    assert not [n for n in names if ".wh." in n] and not [n for n in names if n.startswith("gone")]
    # squash says nothing about the plain commit
    engine.skiff("commit", "upper", "parts:2")
    assert len(engine.api("GET", "/images/parts:2/json")[2]["RootFS"]["Layers"]) == 3
    for tag in ("1", "2", "flat"):
        engine.api("DELETE", f"/images/parts:{tag}?force=1")


def test_squash_of_nothing(engine, busybox):
    engine.docker("import", "-", "hollow", input=make_tar([]))
    made = engine.docker("create", "hollow", "x").stdout.strip()
    engine.skiff("commit", "--squash", made, "hollow:flat")
    assert layers_of(engine.api("GET", "/images/hollow:flat/get")[2]) in ([], [[]])
    engine.docker("rm", made)
    for tag in ("flat", "latest"):
        engine.api("DELETE", f"/images/hollow:{tag}?force=1")


def test_squash_keeps_attributes(engine, busybox, tmp_path):
    image = "attributes:1"
    plain = tarfile.TarInfo("f")
    plain.size, plain.pax_headers = 1, {"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.security.capability":
                                        "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
    engine.import_image(joined(busybox_tar(), make_tar([(plain, b"x")])), image)
    made = engine.docker("create", image, "x").stdout.strip()
    engine.skiff("commit", "-s", made, "attributes:flat")
    saved = engine.api("GET", "/images/attributes:flat/get")[2]
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        layer = archive.extractfile(json.load(archive.extractfile("manifest.json"))[0]["Layers"][0]).read()
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        headers = tar.getmember("f").pax_headers
    assert headers["SCHILY.xattr.user.note"] == "kept" and "SCHILY.xattr.security.capability" in headers
    engine.docker("rm", made)
    for tag in ("flat", "1"):
        engine.api("DELETE", f"/images/attributes:{tag}?force=1")


def test_commit_errors(engine, busybox):
    container = make(engine, "created")
    assert engine.api("POST", "/commit?container=nobody")[0] == 404
    assert engine.api("POST", "/commit")[0] == 400
    status, _, body = engine.api("POST", f"/commit?container={container}&changes=RUN+x")
    assert status == 400 and "RUN is not a valid change command" in body["message"]
    status, _, body = engine.api("POST", f"/commit?container={container}&repo=UPPER")
    assert status == 400 and "must be lowercase" in body["message"]


def test_commit_costs_the_change(fresh_engine):
    """Ten files on top of a hundred megabytes in ten thousand files, against the same ten files on top of busybox."""
    engine = fresh_engine
    small = busybox_tar()
    engine.import_image(small)
    bulk = make_tar([(f"bulk/{i}", os.urandom(10000)) for i in range(10000)])
    engine.import_image(joined(small, bulk), "large:latest")
    seconds = {}
    for image in ("busybox", "large"):
        container = engine.docker("create", image, "sh", "-c", "for i in 0 1 2 3 4 5 6 7 8 9; do echo $i > /tmp/$i; done").stdout.strip()
        engine.docker("start", "-a", container)
        best = []
        for i in range(5):
            began = time.monotonic()
            assert engine.api("POST", f"/commit?container={container}&repo=cost&tag={image}{i}")[0] == 201
            best.append(time.monotonic() - began)
        seconds[image] = min(best)
        size = engine.api("GET", f"/images/cost:{image}0/history")[2][0]["Size"]
        assert size == 20
    print({k: f"{v * 1000:.1f} ms" for k, v in seconds.items()})
    assert seconds["large"] < 5 * seconds["busybox"] + 0.05


@pytest.mark.parametrize("levels,answers", [(500, True), (2000, False)])
def test_no_nesting_harms_the_engine(engine, busybox, levels, answers):
    # Walks of a tree that a container made run on the engine's small stacks.
    name = f"nested-{levels}"
    engine.skiff("run", "--name", name, "-v", f"{name}:/v", "busybox", "sh", "-c",
                 f"for base in /x /v; do mkdir -p $base; cd $base; i=0; while [ $i -lt {levels} ]; do mkdir d; cd d; i=$((i+1)); done; done")
    pid = engine.pid
    for path in ("/containers/json?all=1&size=1", "/system/df"):
        assert engine.api("GET", path)[0] == 200
    assert engine.api("GET", f"/containers/{name}/changes")[0] == (200 if answers else 500)
    for path in ("export", "archive?path=/x"):
        try:
            assert engine.api("GET", f"/containers/{name}/{path}")[0] == 200 and answers
        except http.client.IncompleteRead:
            assert not answers
    committed = engine.skiff("commit", name, f"{name}:1", check=False)
    assert (committed.returncode == 0) == answers, committed.stderr
    engine.skiff("volume", "clone", name, f"{name}-clone", check=False)
    engine.skiff("rm", "-v", name)
    engine.skiff("volume", "rm", name)
    assert engine.pid == pid and engine.is_running() and engine.api("GET", "/_ping")[0] == 200
    wait_until(lambda: not [p for p in (engine.data_root / "volumes").iterdir() if p.name == name])
