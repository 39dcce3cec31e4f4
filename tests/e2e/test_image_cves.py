"""Flaws of other engines that an image, a layer, a registry or a copy set off, tried on ours. docs/security.md lists them all,
those that are proved elsewhere too."""
import gzip
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time

import pytest

from engine import make_tar
from registry import BadRegistry, Image, digest, tar_of
from test_bad_archives import has_error
from test_pull import error_of, pull


def special(name, kind, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def append(tar, *entries):
    """A root file system with more entries at its end: they win."""
    out = io.BytesIO(tar)
    with tarfile.open(fileobj=out, mode="a") as archive:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                if not isinstance(name, tarfile.TarInfo):
                    info.mode = 0o755
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.addfile(info)
    return out.getvalue()


@pytest.fixture
def image(engine, busybox_rootfs):
    """Make an image of busybox with more entries; it is removed afterwards."""
    engine.api("DELETE", "/images/cve:1?force=1")

    def make(*entries, changes=('CMD ["sh"]',)):
        engine.import_image(append(busybox_rootfs, *entries), "cve:1", changes)
        return "cve:1"

    yield make
    engine.remove_containers()
    engine.api("DELETE", "/images/cve:1?force=1")


@pytest.fixture
def victim(tmp_path):
    """A file and a directory of the host that must stay as they are."""
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.write_text("alive")
    file.chmod(0o600)
    directory.mkdir(mode=0o700)
    yield tmp_path
    assert file.read_text() == "alive" and stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_uid == os.getuid()
    assert file.stat().st_nlink == 1
    assert os.listdir(directory) == [] and stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def import_layer(engine, tar):
    """An image of one layer; whether it was taken is not the question."""
    engine.api("POST", "/images/create?fromSrc=-&repo=cve&tag=layer", body=tar)
    engine.api("DELETE", "/images/cve:layer?force=1")


MARKER = "tmp/skiff-pwned"


def assert_not_pwned(engine, container):
    """Neither on the host nor, by something of ours that had changed its root, in the container."""
    assert not os.path.exists("/" + MARKER)
    assert "/" + MARKER not in engine.docker("diff", container).stdout


@pytest.fixture(scope="module")
def evil_library(tmp_path_factory):
    """bytes of a shared library that leaves a mark where it is loaded."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("evil")
    (folder / "evil.c").write_text("#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void evil(void)"
                                   f'{{ (void)!close(open("/{MARKER}", O_CREAT | O_WRONLY, 0600)); }}\n')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "evil.so", folder / "evil.c"], check=True, capture_output=True)
    return (folder / "evil.so").read_bytes()


# --- copying ------------------------------------------------------------------------------------------------------------
def test_cve_2019_14271_no_library_of_the_container_is_loaded(engine, image, tmp_path, evil_library):
    """docker cp's helper loaded libnss from the container it had changed its root to."""
    evil = [(f"{folder}/libnss_{name}.so.2", evil_library) for folder in ("lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu",
                                                                         "usr/lib/x86_64-linux-gnu") for name in ("files", "dns", "compat")]
    for state in ("created", "running"):
        engine.docker("create", "--name", state, image(*evil, ("etc/nsswitch.conf", b"passwd: files\ngroup: files\n")), "sleep", "60")
        if state == "running":
            engine.docker("start", state)
        engine.docker("cp", f"{state}:/etc/passwd", tmp_path / "passwd")
        engine.docker("cp", "-a", tmp_path / "passwd", f"{state}:/etc/copied")
        assert engine.docker("export", state, text=False).stdout
        engine.docker("exec", "-u", "nobody", state, "true", check=state == "running")
        assert "/etc/copied" in engine.docker("diff", state).stdout
        assert_not_pwned(engine, state)


@pytest.mark.parametrize("program", ["xz", "unpigz", "gzip", "bzip2", "zstd"])
def test_cve_2026_41567_no_program_of_the_container_unpacks(engine, image, program):
    """PUT archive looked for xz in the container, and ran it as the host's root."""
    packed = {"xz": b"\xfd7zXZ\0" + bytes(100), "bzip2": b"BZh9" + bytes(100)}.get(program, gzip.compress(tar_of({"x": b"y"})))
    script = f"#!/bin/sh\n>/{MARKER}\n".encode()
    engine.docker("create", "--name", "xz", image(*[(f"{f}/{program}", script) for f in ("bin", "usr/bin", "usr/local/bin")]),
                  "sleep", "60")
    for _ in range(2):
        engine.api("PUT", "/containers/xz/archive?path=/", body=packed, headers={"Content-Type": "application/x-tar"})
        assert_not_pwned(engine, "xz")
        engine.docker("start", "xz")


# --- unpacking ----------------------------------------------------------------------------------------------------------
LINKS = ["{}/file", "../../../../../../../../../..{}/file"]


@pytest.mark.parametrize("link", LINKS)
def test_cve_2021_41089_modes_are_not_set_through_links(engine, victim, link):
    """A hard link to a symbolic link, given a mode, an owner, a time, attributes: the host's file got them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(special("soft", tarfile.SYMTYPE, link.format(victim)))
        hard = special("hard", tarfile.LNKTYPE, "soft", 0o4777)
        hard.uid, hard.mtime, hard.pax_headers = 1234, 1, {"SCHILY.xattr.user.evil": "1"}
        tar.addfile(hard)
        again = special("soft", tarfile.SYMTYPE, link.format(victim), 0o4777)
        again.uid = 1234
        tar.addfile(again)
    import_layer(engine, out.getvalue())
    assert not os.listxattr(victim / "file")


def test_cve_2021_32760_files_are_not_made_through_links(engine, victim):
    """The same by way of a directory that is a link: files, directories, devices, whiteouts behind it."""
    for kind, name in ((tarfile.REGTYPE, "d/new"), (tarfile.DIRTYPE, "d/new"), (tarfile.FIFOTYPE, "d/new"), (tarfile.CHRTYPE, "d/new"),
                       (tarfile.REGTYPE, "d/.wh.file"), (tarfile.REGTYPE, "d/.wh..wh..opq"), (tarfile.LNKTYPE, "d/new"),
                       (tarfile.DIRTYPE, "d/directory"), (tarfile.REGTYPE, "d/file")):
        for link in (str(victim), "../../../../../../.." + str(victim)):
            import_layer(engine, make_tar([(special("d", tarfile.SYMTYPE, link), None),
                                           (special("own", tarfile.REGTYPE), b""),
                                           (special(name, kind, "own", 0o777), b"" if kind == tarfile.REGTYPE else None)]))


def test_cve_2025_47290_a_directory_turned_link_while_unpacking(engine, victim):
    """First a directory, with a file so that it is looked up, then in its place a link, then another file in it."""
    for link in (str(victim), "../../../../../../.." + str(victim)):
        import_layer(engine, make_tar([("d", None), ("d/a", b"1"), (special("d", tarfile.SYMTYPE, link), None), ("d/new", b"2"),
                                       ("d/directory/new", b"3")]))
    # And nobody else gets at what is unpacked: its folder is closed to all but root.
    assert stat.S_IMODE((engine.data_root / "tmp").stat().st_mode) == 0o700


def test_cve_2021_41091_layers_are_closed_to_the_hosts_users(engine, image):
    """A set-user-id program of an image could be run by the host's users, and its files be read."""
    engine.docker("run", "-d", "--name", "open", image((special("root-shell", tarfile.REGTYPE, mode=0o4755), b"#!/bin/sh\n")),
                  "sleep", "600")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    found = [os.path.join(folder, "root-shell") for folder, _, names in os.walk(engine.data_root) if "root-shell" in names]
    assert found
    os.chmod(engine.root, 0o755)  # the test's own folder is not what must protect it
    try:
        for path in found:
            assert subprocess.run([*nobody, "cat", path], check=False, capture_output=True).returncode != 0, path
            assert subprocess.run([*nobody, "test", "-e", path], check=False, capture_output=True).returncode != 0, path
    finally:
        os.chmod(engine.root, 0o700)


def test_cve_2021_20291_a_damaged_layer_holds_no_lock(engine):
    """A layer that fails in its unpacking left the store locked for everybody."""
    registry = BadRegistry(engine.in_netns())
    try:
        layer = tar_of({"a": os.urandom(100000)})
        broken = Image([layer], compress=lambda tar: gzip.compress(tar)[:-3000])
        good = Image([tar_of({"b": os.urandom(1000)})])
        for _ in range(5):
            assert error_of(engine, registry.put(broken, "cve", "broken"), timeout=30)
        name = registry.put(good, "cve", "good")
        status, lines = pull(engine, name, timeout=30)
        assert status == 200 and "error" not in lines[-1]
        engine.docker("rmi", name)
    finally:
        registry.close()


# --- what an image says -------------------------------------------------------------------------------------------------
def test_cve_2026_53488_labels_are_only_data(engine, image):
    """A label of the image became where the log went: binary:///..., run as the host's root."""
    uri = "binary:///bin/touch?/" + MARKER
    labels = ["containerd.io/restart.loguri", "io.containerd.shim.loguri", "nerdctl/log-uri", "skiff.log", "skiff.log-driver",
              "io.skiff.log", "io.kubernetes.cri-o.LogPath", "com.docker.log-driver", "log-driver", "LogPath"]
    name = image(changes=[f'LABEL "{label}"="{uri}"' for label in labels])
    assert engine.docker("run", "--name", "labelled", name, "echo", "said").stdout == "said\n"
    assert_not_pwned(engine, "labelled")
    shown = json.loads(engine.docker("inspect", "labelled").stdout)[0]
    assert shown["HostConfig"]["LogConfig"]["Type"] == "json-file"
    assert shown["Config"]["Labels"] == {label: uri for label in labels}
    assert engine.docker("logs", "labelled").stdout == "said\n"


def test_cve_2026_55686_the_working_directory_stays_inside(engine, image, victim):
    """WORKDIR through a link of the image made, and gave away, directories of the host."""
    for link in (str(victim), "../../../../../../../../.." + str(victim)):
        name = image((special("a", tarfile.SYMTYPE, link), None), changes=["WORKDIR /a/new", "USER nobody"])
        done = engine.docker("run", "--rm", name, "pwd", check=False)
        assert done.returncode == 0 and done.stdout.strip().endswith("/new") or done.returncode in (125, 126, 127), done


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.SYMTYPE])
def test_cve_2024_9676_a_password_file_that_never_ends(engine, image, kind, name):
    """/etc/passwd as a fifo held the engine up for good; as /dev/zero it took all memory."""
    info = special(name, kind, "/dev/zero")
    info.devmajor, info.devminor = 1, 5
    began = time.monotonic()
    engine.docker("run", "--rm", "-u", "nobody:nogroup", image((info, None)), "true", check=False, timeout=50)
    assert time.monotonic() - began < 40
    assert engine.api("GET", "/_ping", timeout=5)[0] == 200


def test_cve_2024_3727_a_digest_is_no_path(engine, victim):
    """Digests out of documents, in every place that has one, before any path is made of them."""
    evil = "sha256:../../../../../../.." + str(victim)
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [evil]}}).encode()
    name = digest(config)[7:]
    for document in ([{"Config": "c.json", "RepoTags": ["cve:2"], "Layers": ["l.tar"]}],
                     [{"Config": evil, "RepoTags": None, "Layers": [evil]}]):
        archive = make_tar([("manifest.json", json.dumps(document).encode()), ("c.json", config), ("l.tar", tar_of({"a": b""}))])
        assert has_error(*engine.api("POST", "/images/load", body=archive)[::2])
    for descriptor in (evil, digest(config)):
        manifest = json.dumps({"schemaVersion": 2, "config": {"digest": descriptor, "size": 1}, "layers": [{"digest": evil}]}).encode()
        index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": digest(manifest), "size": len(manifest)}]}).encode()
        archive = make_tar([("index.json", index), (f"blobs/sha256/{digest(manifest)[7:]}", manifest), (f"blobs/sha256/{name}", config)])
        assert has_error(*engine.api("POST", "/images/load", body=archive)[::2])
    assert engine.api("GET", f"/images/{evil.replace('/', '%2F')}/json")[0] in (400, 404)
