"""Power cuts. The data root is a file system on a disk that records its writes and flushes (recording_disk.py) while images are
pulled, loaded, imported, committed, tagged and removed. Then the engine is started on the disk as a cut at chosen moments would
have left it: what the client saw end well is there, every image listed is whole by digest and runs, and nothing else is left.

SKIFF_POWER_CUTS: how many moments (10; SKIFF_LONG=1: 200); SKIFF_SEED: of the choice, printed by each run."""

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from pathlib import Path

import pytest

from engine import json_lines, run, wait_until
from recording_disk import RecordingDisk, Replay
from registry import BadRegistry, Image, digest, tar_of

IS_LONG = os.environ.get("SKIFF_LONG") == "1"
CUTS = int(os.environ.get("SKIFF_POWER_CUTS", "200" if IS_LONG else "10"))
OPERATIONS = 60 if IS_LONG else 16
MAKE_FILE_SYSTEM = {"ext4": (96, ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]),
                    "xfs": (320, ["mkfs.xfs", "-q", "-K"])}


MOUNT_OPTIONS = {"xfs": ["-o", "nouuid"]}


def unmount(path, disk):
    """Until the file behind it is nobody's any more; a new mount namespace somewhere may hold on to it for a moment."""
    wait_until(lambda: subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0)
    wait_until(lambda: not run("losetup", "-j", disk).stdout.strip())


class Journal:
    """What the client asked for and when it was told so, in positions of the disk's log."""

    def __init__(self, disk):
        self.disk, self.entries = disk, []  # (begin, end, tag, id or None when removed)

    def note(self, tag, act):
        begin = self.disk.position()
        image_id = act()
        self.entries.append((begin, self.disk.position(), tag, image_id))

    def expected(self, moment):
        """{tag: (ids it may stand for, whether it may be missing)} after a cut."""
        found = {}
        for begin, end, tag, image_id in self.entries:
            if begin > moment:
                continue
            ids, may_miss = found.get(tag, (set(), True))
            if image_id is None:  # a removal need not be on disk when it is confirmed
                found[tag] = (ids, True)
            elif end <= moment:
                # what a removal not yet on disk leaves may be replaced only by this
                found[tag] = ({image_id}, False)
            else:
                found[tag] = (ids | {image_id}, may_miss)
        return found


class Workload:
    def __init__(self, engine, registry, journal, rootfs, rng):
        self.engine, self.registry, self.journal, self.rootfs, self.rng = engine, registry, journal, rootfs, rng
        self.tags, self.count = [], 0

    def unique_layer(self):
        files = {"data": None}
        for i in range(self.rng.randrange(1, 40)):
            files[f"data/{self.count}-{i}"] = self.rng.randbytes(self.rng.choice([0, 10, 5000, 70000]))
        return tar_of(files)

    def id_of(self, tag):
        return self.engine.api("GET", f"/images/{tag}/json")[2]["Id"]

    def set(self, tag, act):
        def work():
            act()
            return self.id_of(tag)

        self.journal.note(tag, work)
        if tag not in self.tags:
            self.tags.append(tag)

    def pull(self):
        image = Image([self.rootfs] + [self.unique_layer() for _ in range(self.rng.randrange(1, 3))])
        name = self.registry.put(image, "cut/pulled", str(self.rng.randrange(3)))

        def act():
            repository, _, tag = name.rpartition(":")
            query = urllib.parse.urlencode({"fromImage": repository, "tag": tag})
            lines = json_lines(self.engine.api("POST", f"/images/create?{query}")[2])
            assert "error" not in lines[-1], lines

        self.set(name, act)

    def load(self):
        image, tag = Image([self.rootfs, self.unique_layer()], compress=None), f"loaded:{self.rng.randrange(3)}"
        manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["0.tar", "1.tar"]}]
        layers = [image.blobs[layer["digest"]] for layer in image.layers]
        archive = tar_of({"config.json": image.config_bytes, "manifest.json": json.dumps(manifest).encode(),
                          "0.tar": layers[0], "1.tar": layers[1]})

        def act():
            status, _, answer = self.engine.api("POST", "/images/load?quiet=1", body=archive,
                                                headers={"Content-Type": "application/x-tar"})
            assert status == 200 and b"errorDetail" not in (answer if isinstance(answer, bytes) else json.dumps(answer).encode()), answer

        self.set(tag, act)

    def import_(self):
        out = io.BytesIO(self.rootfs)
        with tarfile.open(fileobj=out, mode="a") as tar:
            info = tarfile.TarInfo(f"imported-{self.count}")
            info.size = 100000
            tar.addfile(info, io.BytesIO(self.rng.randbytes(100000)))
        tag = f"imported:{self.rng.randrange(3)}"
        self.set(tag, lambda: self.engine.import_image(out.getvalue(), tag))

    def commit(self):
        tag = f"committed:{self.rng.randrange(3)}"
        name = f"from{self.count}"
        self.engine.docker("run", "--name", name, self.rng.choice(self.tags), "sh", "-c", f"echo {self.count} >/made; rm -rf /home")
        self.set(tag, lambda: self.engine.docker("commit", name, tag))
        self.engine.docker("rm", name)

    def tag(self):
        tag = f"tagged:{self.rng.randrange(3)}"
        source = self.rng.choice(self.tags)
        self.set(tag, lambda: self.engine.docker("tag", source, tag))

    def remove(self):
        tag = self.tags.pop(self.rng.randrange(len(self.tags)))
        self.journal.note(tag, lambda: self.engine.docker("rmi", tag) and None)

    def prune(self):
        self.engine.docker("image", "prune", "-f")

    def run(self, operations):
        self.import_()
        kinds = [self.pull, self.load, self.import_, self.commit, self.tag, self.remove, self.prune]
        for i in range(operations):
            self.count += 1
            kind = kinds[i % len(kinds)] if i < len(kinds) else self.rng.choice(kinds)
            if len(self.tags) > 1 or kind not in (self.remove, self.prune):
                kind()


@pytest.fixture
def place():
    """A folder for disks; in memory, where there is room."""
    shm = Path("/dev/shm")
    st = os.statvfs(shm) if shm.is_dir() else None
    folder = tempfile.mkdtemp(prefix="skiff-cut-", dir=shm if st and st.f_bavail * st.f_frsize > 2 << 30 else "/tmp")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def record(engine, place, rootfs, file_system, seed):
    """Run the workload; (base, log, journal)."""
    size, make = MAKE_FILE_SYSTEM[file_system]
    image = place / "disk"
    with open(image, "wb") as file:
        file.truncate(size << 20)
    run(*make, image)
    registry = BadRegistry(engine.in_netns())
    disk = RecordingDisk(image, place)
    try:
        engine.data_root.mkdir()
        run("mount", "-o", "loop", disk.path, engine.data_root)
        try:
            engine.start()
            journal = Journal(disk)
            Workload(engine, registry, journal, rootfs, random.Random(seed)).run(OPERATIONS)
            engine.stop()
        finally:
            if engine.is_running():
                engine.kill9()
            unmount(engine.data_root, disk.path)
    finally:
        disk.close()
        registry.close()
        image.unlink()
    return disk.base, disk.log, journal


def choose(log, journal, rng):
    """Moments to cut at: any, and for a third of them just when the client was told that all is well."""
    moments = Replay.moments(log)
    told = [end for _, end, _, image_id in journal.entries if image_id]
    return sorted(rng.choice(told) if i % 3 == 0 else rng.choice(moments) for i in range(CUTS))


def check_image(engine, image):
    """Saved, its configuration and layers have the digests that name them."""
    status, _, archive = engine.api("GET", f"/images/{image['Id']}/get", timeout=120)
    assert status == 200, archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        config = tar.extractfile(manifest["Config"]).read()
        assert digest(config) == image["Id"]
        wanted = json.loads(config)["rootfs"]["diff_ids"]
        assert ["sha256:" + hashlib.sha256(tar.extractfile(name).read()).hexdigest() for name in manifest["Layers"]] == wanted
    engine.docker("run", "--rm", "--network", "none", image["Id"], "true")
    return wanted


def check_cut(engine, expected):
    images = engine.api("GET", "/images/json?all=1")[2]
    tags = {tag: image["Id"] for image in images for tag in image["RepoTags"] or []}
    for tag, (ids, may_miss) in expected.items():
        if tag in tags:
            assert not ids or tags[tag] in ids, f"{tag} is {tags[tag]}, may be {ids}"
        else:
            assert may_miss, f"{tag} is lost: {ids}; there are {tags}"
    needed = set()
    for image in images:
        needed |= {d[7:] for d in check_image(engine, image)}
    there = {e for e in os.listdir(engine.data_root / "layers") if e != ".init"}
    assert there == needed, f"layers of no image: {there - needed}, missing: {needed - there}"
    wait_until(lambda: not os.listdir(engine.data_root / "tmp"), timeout=5)
    for name in os.listdir(engine.data_root / "blobs/sha256"):
        assert hashlib.sha256((engine.data_root / "blobs/sha256" / name).read_bytes()).hexdigest() == name


def restart_after(engine, image, options, expected):
    shutil.rmtree(engine.exec_root, ignore_errors=True)  # was in memory
    run("mount", *options, "-o", "loop", image, engine.data_root)
    try:
        engine.start()
        check_cut(engine, expected)
        engine.remove_containers()
    finally:
        engine.stop()
        unmount(engine.data_root, image)


@pytest.mark.parametrize("file_system", list(MAKE_FILE_SYSTEM) if IS_LONG else ["ext4"])
def test_power_cut(make_engine, place, busybox_rootfs, docker_cli, file_system):
    if not os.path.exists("/dev/fuse") or not shutil.which(MAKE_FILE_SYSTEM[file_system][1][0]):
        pytest.skip(f"no /dev/fuse, or no mkfs.{file_system}")
    if run("mknod", place / "probe", "b", "7", "0", check=False).returncode != 0:
        pytest.skip("no loop devices")
    seed = int(os.environ.get("SKIFF_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"SKIFF_SEED={seed} SKIFF_POWER_CUTS={CUTS} ({file_system})")
    engine = make_engine(is_started=False)
    base, log, journal = record(engine, place, busybox_rootfs, file_system, seed)
    replay, failures = Replay(base, log, place), []
    try:
        for i, moment in enumerate(choose(log, journal, random.Random(seed))):
            image = replay.cut(moment, seed + i)
            try:
                restart_after(engine, image, MOUNT_OPTIONS.get(file_system, []), journal.expected(moment))
            except AssertionError as error:
                failures.append(f"cut {i} at {moment} of {os.stat(log).st_size}: {error}")
    finally:
        replay.close()
    assert not failures, f"SKIFF_SEED={seed}: {len(failures)} of {CUTS}\n" + "\n".join(failures)
