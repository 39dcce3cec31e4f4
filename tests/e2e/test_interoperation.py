"""Images of other programs run here, and ours there, with the same content: docker, podman, buildah, skopeo, umoci, in the forms
each of them writes. Content is compared file by file as a container sees it: kinds, modes, owners, times, bytes, links, devices,
extended attributes (capabilities too). A program that is not installed skips its tests."""
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
import urllib.parse
from pathlib import Path

import pytest

from engine import Engine, wait_until
from registry import digest, tar_of

CAPABILITY = b"\x01\0\0\x02\0\x20\0\0" + bytes(12)  # cap_net_raw=ep
# The engines make these themselves, and with them the folders they are in.
MADE = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "dev", "proc", "sys", ".dockerenv", "run/.containerenv"}
TOUCHED = {"", "etc", "run"}


# --- an image with everything -------------------------------------------------------------------------------------------
class Layer:
    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")

    def add(self, name, content=None, kind=None, mode=0o644, owner=(0, 0), link="", device=(0, 0), mtime=1600000000, xattrs=None):
        info = tarfile.TarInfo(os.fsdecode(name))
        info.type = kind or (tarfile.REGTYPE if content is not None else tarfile.DIRTYPE)
        info.mode = 0o755 if info.type == tarfile.DIRTYPE and mode == 0o644 else mode
        info.uid, info.gid = owner
        info.linkname, info.mtime = link, mtime
        info.devmajor, info.devminor = device
        info.pax_headers = {f"SCHILY.xattr.{k}": v.decode("utf-8", "surrogateescape") for k, v in (xattrs or {}).items()}
        info.size = len(content or b"")
        self.tar.addfile(info, io.BytesIO(content or b""))
        return self

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def base_layer(rootfs):
    layer = Layer()
    with tarfile.open(fileobj=io.BytesIO(rootfs)) as old:
        for member in old:
            layer.tar.addfile(member, old.extractfile(member) if member.isfile() else None)
    layer.add("t").add("t/plain", b"plain", mtime=1234567890)
    layer.add("t/setuid", b"x", mode=0o4755).add("t/setgid", b"x", mode=0o2755, owner=(1000, 50)).add("t/none", b"x", mode=0)
    layer.add("t/sticky", mode=0o1777).add("t/sgid-dir", mode=0o2775, owner=(1234, 5678))
    layer.add("t/owned", b"y", owner=(1234, 5678), mode=0o640)
    layer.add("t/hard-a", b"linked").add("t/sgid-dir/hard-b", kind=tarfile.LNKTYPE, link="t/hard-a")
    layer.add("t/soft", kind=tarfile.SYMTYPE, link="plain", mode=0o777).add("t/dangling", kind=tarfile.SYMTYPE, link="/no/such", mode=0o777)
    layer.add("t/fifo", kind=tarfile.FIFOTYPE, mode=0o600, owner=(7, 7))
    layer.add("t/char", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666).add("t/block", kind=tarfile.BLKTYPE, device=(7, 200), mode=0o660)
    layer.add(b"t/caf\xe9-\xff", b"no UTF-8").add("t/übergröße", b"UTF-8").add("t/ spaces\tand\nlines ", b"odd")
    layer.add("t/" + "n" * 255, b"longest name")
    for depth in range(1, 5):
        layer.add("t/" + "/".join(["d" * 100] * depth))
    layer.add("t/" + "/".join(["d" * 100] * 5), b"long path")
    layer.add("t/capable", b"#!/bin/sh\n", mode=0o755, xattrs={"security.capability": CAPABILITY})
    layer.add("t/attributes", b"z", xattrs={"user.one": b"1", "user.two": b"with spaces"})
    layer.add("t/holes", bytes(1 << 20) + b"end")
    layer.add("t/removed", b"1").add("t/replaced", b"old", mode=0o600).add("t/becomes-dir", b"file").add("t/becomes-file").add("t/becomes-file/x", b"")
    layer.add("t/opaque").add("t/opaque/old", b"").add("t/opaque/sub").add("t/opaque/sub/old", b"").add("t/kept").add("t/kept/old", b"o")
    return layer.bytes()


def upper_layer():
    layer = Layer()
    layer.add("t", mtime=1600000001).add("t/.wh.removed", b"").add("t/replaced", b"new", mode=0o755, owner=(5, 6))
    layer.add("t/becomes-dir").add("t/becomes-dir/in", b"1").add("t/becomes-file", b"file")
    layer.add("t/opaque", mode=0o700).add("t/opaque/.wh..wh..opq", b"").add("t/opaque/new", b"n")
    layer.add("t/kept").add("t/kept/new", b"n").add("t/.wh.hard-a", b"")
    return layer.bytes()


def top_layer():
    """Brings back, under what the layer below hid."""
    layer = Layer().add("t").add("t/opaque", mode=0o700)
    return layer.add("t/removed").add("t/removed/again", b"2").add("t/opaque/sub").add("t/opaque/sub/new", b"3").add("t/.wh.fifo", b"").bytes()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, busybox_rootfs):
    """Path of a `docker save` archive of the image, reference interop:1."""
    layers = [base_layer(busybox_rootfs), upper_layer(), top_layer()]
    config = json.dumps({"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
                         "created": "2026-01-02T03:04:05Z",
                         "config": {"Cmd": ["sleep", "600"], "Env": ["PATH=/bin", "GREETING=hello"], "Labels": {"a": "b"}},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
                         "history": [{"created_by": f"layer {i}"} for i in range(len(layers))]}).encode()
    files = {f"{i}.tar": layer for i, layer in enumerate(layers)}
    files[f"{digest(config)[7:]}.json"] = config
    files["manifest.json"] = json.dumps([{"Config": f"{digest(config)[7:]}.json", "RepoTags": ["interop:1"],
                                          "Layers": [f"{i}.tar" for i in range(len(layers))]}]).encode()
    path = tmp_path_factory.mktemp("interop") / "image.tar"
    path.write_bytes(tar_of(files))
    return path


# --- what a container sees ----------------------------------------------------------------------------------------------
def tree(root):
    """{path: everything about it} of a directory, on one file system; names are bytes."""
    root = os.fsencode(str(root)) + b"/"
    device, found, inodes = os.stat(root).st_dev, {}, {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            key = path[len(root):]
            if os.fsdecode(key) in MADE or (st.st_dev != device and stat.S_ISDIR(st.st_mode)):
                if name in folders:
                    folders.remove(name)
                continue
            fact = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns}
            if stat.S_ISREG(st.st_mode):
                fact["content"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
                if st.st_nlink > 1:
                    inodes.setdefault(st.st_ino, []).append(key)
            elif stat.S_ISLNK(st.st_mode):
                fact["link"] = os.readlink(path)
            elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                fact["device"] = (os.major(st.st_rdev), os.minor(st.st_rdev))
            if not stat.S_ISLNK(st.st_mode):
                fact["xattrs"] = {k: os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)
                                  if k.startswith("user.") and not k.startswith("user.overlay") or k == "security.capability"}
            if os.fsdecode(key) in TOUCHED:
                del fact["mtime"]
            found[key] = fact
    for keys in inodes.values():
        for key in keys if len(keys) > 1 else []:
            found[key]["same as"] = sorted(keys)
    return found


def assert_same(ours, theirs, ignore=()):
    """Every difference at once."""
    different = [f"only here: {p}" for p in sorted(set(ours) - set(theirs))] + [f"only there: {p}" for p in sorted(set(theirs) - set(ours))]
    for path in sorted(set(ours) & set(theirs)):
        different += [f"{path}: {k}: here {ours[path].get(k)!r}, there {theirs[path].get(k)!r}" for k in ours[path].keys() | theirs[path].keys()
                      if k not in ignore and ours[path].get(k) != theirs[path].get(k)]
    assert not different, "\n".join(different[:40])


class Skiff:
    def __init__(self, engine):
        self.engine = engine

    def load(self, path):
        """Id of the only image of an archive."""
        out = self.engine.docker("load", "-q", "-i", path).stdout
        return out.split(": ", 1)[1].split("\n")[0].strip()

    def tree(self, name):
        cid = self.engine.docker("run", "-d", "--userns", "host", "--network", "none", name, "sleep", "600").stdout.strip()
        try:
            pid = self.engine.docker("inspect", "-f", "{{.State.Pid}}", cid).stdout.strip()
            return tree(f"/proc/{pid}/root")
        finally:
            self.engine.docker("rm", "-f", cid)


@pytest.fixture(scope="module")
def skiff():
    """With an engine of its own, where every image is one of these tests'."""
    engine = Engine()
    try:
        yield Skiff(engine.start())
    finally:
        engine.close()


class Peers(Engine):
    """Debian's dockerd, with directories and a network namespace of its own."""

    def start(self, *_):
        argv = self.in_netns("dockerd", "--data-root", self.data_root, "--exec-root", self.exec_root, "-H", f"unix://{self.socket}",
                             "--pidfile", self.root / "docker.pid", "--containerd-namespace", "interop", "--iptables=false",
                             "--ip6tables=false", "--bridge=none")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: os.path.exists(self.socket) and self.ping(), timeout=60, interval=0.2)
        return self

    def ping(self):
        try:
            return self.api("GET", "/_ping", timeout=5)[0] == 200
        except OSError:
            return False

    def docker(self, *args, **more):
        older = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else shutil.which("docker")
        return self._command(older, args, more.get("input"), more.get("check", True), 120, more.get("text", True), None)

    def spare_ids(self):
        return set()


@pytest.fixture(scope="module")
def docker():
    if not shutil.which("dockerd"):
        pytest.skip("dockerd is not installed")
    peer = Peers()
    try:
        peer.start()
    except AssertionError:
        peer.close()
        pytest.skip(f"dockerd does not start here: {peer.log()[-300:]}")
    yield Skiff(peer)
    peer.close()


@pytest.fixture(scope="module")
def containers_root(tmp_path_factory):
    """Storage of podman and buildah of its own: the options that say so."""
    folder = tmp_path_factory.mktemp("storage")
    yield ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]
    subprocess.run(f"grep -o '{folder}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", shell=True, check=False)


def tool(name, *args, **more):
    """Output of a program; skips where it is not installed."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([name, *map(str, args)], capture_output=True, text=True, timeout=180, check=False, **more)
    if done.returncode != 0 and "is too old. Minimum supported API version" in done.stderr:
        pytest.skip(f"{name} speaks an API that Docker of today refuses, too")
    assert done.returncode == 0, f"{name} {args}: {done.stderr[-800:]}"
    return done.stdout.strip()


def podman_tree(options, name):
    mount = tool("podman", *options, "image", "mount", name)
    try:
        return tree(mount)
    finally:
        tool("podman", *options, "image", "umount", name)


def tar_folder(folder, path):
    with tarfile.open(path, "w") as out:
        for entry in sorted(os.listdir(folder)):
            out.add(Path(folder) / entry, arcname=entry)
    return path


@pytest.fixture(scope="module")
def ours(skiff, archive):
    """The content as skiff shows it, checked by hand against what the layers say."""
    skiff.load(archive)
    seen = skiff.tree("interop:1")
    assert seen[b"t/setuid"]["mode"] == "0o104755" and seen[b"t/sticky"]["mode"] == "0o41777"
    assert seen[b"t/owned"]["owner"] == (1234, 5678) and seen[b"t/plain"]["mtime"] == 1234567890 * 10**9
    assert seen[b"t/capable"]["xattrs"] == {"security.capability": CAPABILITY}
    assert seen[b"t/attributes"]["xattrs"] == {"user.one": b"1", "user.two": b"with spaces"}
    assert seen[b"t/char"]["device"] == (1, 3) and seen[b"t/block"]["device"] == (7, 200)
    assert b"t/caf\xe9-\xff" in seen and b"t/removed/again" in seen and b"t/opaque/new" in seen and b"t/kept/old" in seen
    assert not {b"t/fifo", b"t/hard-a", b"t/opaque/old", b"t/opaque/sub/old", b"t/becomes-file/x"} & set(seen)
    assert seen[b"t/sgid-dir/hard-b"]["content"] == hashlib.sha256(b"linked").hexdigest()
    return seen


# --- theirs, here -------------------------------------------------------------------------------------------------------
def test_docker_sees_the_same(docker, archive, ours):
    docker.load(archive)
    assert_same(ours, docker.tree("interop:1"))


def test_docker_save_and_commit(skiff, docker, archive, ours, tmp_path):
    docker.load(archive)
    cid = docker.engine.docker("run", "-d", "--network", "none", "interop:1", "sh", "-c",
                               "rm -r /t/kept /t/plain; echo changed >/t/replaced; chmod 2711 /t/sticky; mkdir /t/new; ln /t/setgid /t/new/link;"
                               "mknod /t/new/fifo p; ln -s x /t/new/soft; touch /made; exec sleep 600").stdout.strip()
    wait_until(lambda: docker.engine.docker("exec", cid, "test", "-e", "/made", check=False).returncode == 0)
    docker.engine.docker("commit", cid, "interop:docker")
    docker.engine.docker("rm", "-f", cid)
    docker.engine.docker("save", "-o", tmp_path / "saved.tar", "interop:docker")
    assert skiff.load(tmp_path / "saved.tar") == "interop:docker"
    assert_same(skiff.tree("interop:docker"), docker.tree("interop:docker"))


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_podman_save_and_commit(skiff, containers_root, archive, tmp_path, form):
    tool("podman", *containers_root, "load", "-i", archive)
    cid = tool("buildah", *containers_root, "from", "localhost/interop:1" if "localhost" in tool(
        "podman", *containers_root, "images", "--format", "{{.Repository}}") else "interop:1")
    mount = Path(tool("buildah", *containers_root, "mount", cid))
    (mount / "t/plain").unlink()
    shutil.rmtree(mount / "t/kept")
    (mount / "t/new").mkdir(mode=0o711)
    (mount / "t/new/file").write_text("from buildah")
    os.setxattr(mount / "t/new/file", "user.made", b"by buildah")
    os.chown(mount / "t/new/file", 77, 88)
    tool("buildah", *containers_root, "umount", cid)
    tool("buildah", *containers_root, "commit", cid, f"interop-{form}:1")
    tool("buildah", *containers_root, "rm", cid)
    target = tmp_path / "saved"
    tool("podman", *containers_root, "save", "--format", form, "-o", target, f"localhost/interop-{form}:1")
    name = skiff.load(tar_folder(target, tmp_path / "saved.tar") if form == "oci-dir" else target)
    seen = skiff.tree(name.replace("sha256:", "") if name.startswith("sha256:") else name)
    assert seen[b"t/new/file"]["owner"] == (77, 88) and b"t/plain" not in seen and b"t/kept" not in seen
    assert_same(seen, podman_tree(containers_root, f"localhost/interop-{form}:1"))


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci", "docker-daemon"])
def test_skopeo_copies(skiff, archive, ours, tmp_path, form):
    target = tmp_path / "copy"
    if form == "docker-daemon":
        tool("skopeo", "copy", "--dest-daemon-host", f"unix://{skiff.engine.socket}", f"docker-archive:{archive}",
             "docker-daemon:skopeo-daemon:1")
        name = "skopeo-daemon:1"
    else:
        reference = f"{form}:{target}" + (":skopeo:1" if form == "docker-archive" else ":1")
        tool("skopeo", "copy", f"docker-archive:{archive}", reference)
        name = skiff.load(tar_folder(target, tmp_path / "copy.tar") if form == "oci" else target)
    assert_same(skiff.tree(name.replace("sha256:", "")), ours)


def test_umoci_repacks(skiff, archive, ours, tmp_path):
    layout, bundle = tmp_path / "layout", tmp_path / "bundle"
    tool("skopeo", "copy", f"docker-archive:{archive}", f"oci:{layout}:1")
    tool("umoci", "unpack", "--image", f"{layout}:1", bundle)
    rootfs = bundle / "rootfs"
    (rootfs / "t/plain").unlink()
    (rootfs / "t/new").mkdir()
    (rootfs / "t/new/file").write_text("from umoci")
    tool("umoci", "repack", "--image", f"{layout}:2", bundle)
    tool("umoci", "rm", "--image", f"{layout}:1")
    seen = skiff.tree(skiff.load(tar_folder(layout, tmp_path / "layout.tar")).replace("sha256:", ""))
    assert b"t/plain" not in seen and seen[b"t/new/file"]["content"] == hashlib.sha256(b"from umoci").hexdigest()
    theirs = tree(rootfs)
    for path in (b"t", b"t/new", b"t/new/file"):  # what was changed by hand; umoci writes whole seconds
        seen[path].pop("mtime"), theirs[path].pop("mtime")
    assert_same(seen, theirs)


# --- ours, there --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def made_here(skiff, archive, ours, tmp_path_factory):
    """An image committed and saved by skiff on top of the loaded one: (archive, its content here)."""
    engine = skiff.engine
    cid = engine.docker("run", "-d", "--userns", "host", "--network", "none", "interop:1", "sh", "-c",
                        "rm -r /t/opaque; mkdir /t/opaque; echo n >/t/opaque/third; rm /t/soft; chmod 4711 /t/plain; chown 9:9 /t/owned;"
                        "ln /t/setgid /t/hard-c; mknod /t/fifo-2 p; mknod /t/null c 1 3; mkdir -m 3775 /t/set; touch /made; exec sleep 600").stdout.strip()
    wait_until(lambda: engine.docker("exec", cid, "test", "-e", "/made", check=False).returncode == 0)
    engine.docker("commit", "-c", "ENV MORE=1", cid, "interop:ours")
    engine.docker("rm", "-f", cid)
    path = tmp_path_factory.mktemp("ours") / "ours.tar"
    engine.docker("save", "-o", path, "interop:ours")
    return path, skiff.tree("interop:ours")


def test_ours_in_docker(docker, made_here):
    path, seen = made_here
    docker.load(path)
    assert_same(seen, docker.tree("interop:ours"))
    assert docker.engine.docker("run", "--rm", "--network", "none", "interop:ours", "sh", "-c", "echo $GREETING $MORE").stdout == "hello 1\n"


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_ours_in_podman(containers_root, made_here, transport):
    path, seen = made_here
    image = tool("podman", *containers_root, "pull", "-q", f"{transport}:{path}").splitlines()[-1]
    assert_same(seen, podman_tree(containers_root, image))


def test_ours_in_umoci(made_here, tmp_path):
    path, seen = made_here
    tool("skopeo", "copy", f"oci-archive:{path}", f"oci:{tmp_path}/layout:1")
    tool("umoci", "unpack", "--image", f"{tmp_path}/layout:1", tmp_path / "bundle")
    assert_same(seen, tree(tmp_path / "bundle/rootfs"))


def test_skopeo_takes_from_our_daemon(skiff, made_here, docker, tmp_path):
    skopeo = tmp_path / "from-daemon.tar"
    tool("skopeo", "copy", "--src-daemon-host", f"unix://{skiff.engine.socket}", "docker-daemon:interop:ours",
         f"docker-archive:{skopeo}:interop:via-skopeo")
    docker.load(skopeo)
    assert_same(made_here[1], docker.tree("interop:via-skopeo"))


def test_imported_here_exported_there(skiff, docker, busybox_rootfs, tmp_path):
    """A root file system through import, save, load and export: the same files."""
    skiff.engine.import_image(base_layer(busybox_rootfs), "interop:imported", ('CMD ["sleep", "600"]',))
    skiff.engine.docker("save", "-o", tmp_path / "imported.tar", "interop:imported")
    docker.load(tmp_path / "imported.tar")
    assert_same(skiff.tree("interop:imported"), docker.tree("interop:imported"))


def test_debian(skiff, docker, tmp_path):
    """A whole distribution: the cache of test_debian.py, where it is."""
    cache = Path("/var/cache/skiff-tests/debian.tar")
    if not cache.exists() or os.environ.get("SKIFF_LONG") != "1":
        pytest.skip("SKIFF_LONG=1, and Debian's root file system, are wanted")
    skiff.engine.skiff("import", cache, "interop:debian", timeout=300)
    skiff.engine.docker("save", "-o", tmp_path / "debian.tar", "interop:debian", timeout=300)
    docker.load(tmp_path / "debian.tar")
    assert_same(skiff.tree("interop:debian"), docker.tree("interop:debian"))
