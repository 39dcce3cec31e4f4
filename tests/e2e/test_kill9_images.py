"""kill -9 of the engine at every step of what changes images. What is there afterwards is what was there before, or the whole of
the new; nothing is left behind, and the same works again. The steps are the calls that change files: a preloaded library
(kill_at.c) ends the engine before the n-th of them."""
import http.client
import json
import os
import shutil
import subprocess
import struct
import urllib.parse
from pathlib import Path

import pytest

from engine import json_lines, wait_until
from registry import BadRegistry, Image, digest, tar_of

IS_LONG = os.environ.get("SKIFF_LONG") == "1"
POINTS = 200 if IS_LONG else 20  # per operation, at most


class Killer:
    """What kill_at.c shares with the engine."""

    def __init__(self, folder):
        library, self.path = folder / "kill_at.so", folder / "numbers"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("kill_at.c"), "-ldl"], check=True)
        self.path.write_bytes(bytes(12))
        self.environment = {"LD_PRELOAD": str(library), "SKIFF_KILL_AT": str(self.path)}

    def set(self, is_armed, kill_at=0):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("=III", is_armed, 0, kill_at))

    def count(self):
        return struct.unpack("=III", self.path.read_bytes())[1]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    from engine import Engine, busybox_tar
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    killer = Killer(tmp_path_factory.mktemp("killer"))
    engine = Engine()
    registry, before = None, dict(os.environ)
    os.environ.update(killer.environment)
    try:
        engine.start()
        registry = BadRegistry(engine.in_netns())
        engine.import_image(busybox_tar())
        engine.docker("run", "--name", "source", "busybox", "sh", "-c", "mkdir /made; for i in 1 2 3 4 5; do echo $i >/made/$i; done")
        yield engine, registry, busybox_tar(), killer
    finally:
        os.environ.clear()
        os.environ.update(before)
        engine.close()
        if registry:
            registry.close()


def store(engine):
    """Layers and documents on disk, and the images listed with their names."""
    root = engine.data_root
    images = engine.api("GET", "/images/json?all=1")[2]
    return (sorted(e for e in os.listdir(root / "layers") if e != ".init"), sorted(os.listdir(root / "blobs/sha256")),
            os.listdir(root / "tmp"), sorted((i["Id"], tuple(sorted(i["RepoTags"] or []))) for i in images))


def layer(text):
    return tar_of({f"data/{i}": f"{text} {i}".encode() for i in range(10)})


def operation_pull(engine, registry, rootfs):
    name = registry.put(Image([rootfs, layer("pulled")]), "lib/killed", "latest")
    query = urllib.parse.urlencode({"fromImage": name.rpartition(":")[0], "tag": "latest"})
    return name, lambda: engine.api("POST", f"/images/create?{query}")


def operation_load(engine, registry, rootfs):
    image = Image([rootfs, layer("loaded")], compress=None)
    blobs = [image.blobs[d["digest"]] for d in image.layers]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["loaded:1"], "Layers": ["0.tar", "1.tar"]}]).encode()
    archive = tar_of({"c.json": image.config_bytes, "manifest.json": manifest, "0.tar": blobs[0], "1.tar": blobs[1]})
    return "loaded:1", lambda: engine.api("POST", "/images/load?quiet=1", body=archive)


def operation_import(engine, registry, rootfs):
    return "imported:1", lambda: engine.api("POST", "/images/create?fromSrc=-&repo=imported&tag=1", body=layer("imported"))


def operation_commit(engine, registry, rootfs):
    return "committed:1", lambda: engine.api("POST", "/commit?container=source&repo=committed&tag=1", {})


def operation_tag(engine, registry, rootfs):
    return "tagged:1", lambda: engine.api("POST", "/images/busybox/tag?repo=tagged&tag=1")


def operation_remove(engine, registry, rootfs):
    archive = tar_of({"only": b"here"})
    engine.api("POST", "/images/create?fromSrc=-&repo=removed&tag=1", body=archive)
    return "removed:1", lambda: engine.api("DELETE", "/images/removed:1")


OPERATIONS = {name[10:]: value for name, value in globals().items() if name.startswith("operation_")}


def run_until(engine, killer, act, kill_at):
    """Its answer; None when the engine died of it."""
    killer.set(1, kill_at)
    try:
        return act()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        if kill_at and killer.count() >= kill_at:
            engine.process.wait(10)
        killer.set(0)


def count_steps(engine, killer, act):
    killer.set(1)
    answer = act()
    wait_until(lambda: not os.listdir(engine.data_root / "tmp"))
    steps = killer.count()
    killer.set(0)
    assert answer[0] < 300, answer
    return steps


def undo(engine, name, kind, act):
    """Back to how it was before the operation."""
    if kind != "remove":
        engine.api("DELETE", f"/images/{name}")
    else:
        engine.api("POST", "/images/create?fromSrc=-&repo=removed&tag=1", body=tar_of({"only": b"here"}))


def content(state):
    """Of a store, what does not depend on the moment an image was made in."""
    layers, documents, staging, images = state
    return layers, len(documents), staging, sorted(tags for _, tags in images)


@pytest.mark.parametrize("kind", list(OPERATIONS))
def test_kill(killed, kind):
    engine, registry, rootfs, killer = killed
    name, act = OPERATIONS[kind](engine, registry, rootfs)
    before = content(store(engine))
    steps = count_steps(engine, killer, act)
    wait_until(lambda: not store(engine)[2])
    after = content(store(engine))
    assert before != after and steps >= 3
    undo(engine, name, kind, act)
    died, points = 0, min(POINTS, steps)
    for point in sorted({1 + i * (steps - 1) // max(points - 1, 1) for i in range(points)}):
        assert content(store(engine)) == before
        run_until(engine, killer, act, point)
        died += not engine.is_running()
        if not engine.is_running():
            engine.start()
        wait_until(lambda: not os.listdir(engine.data_root / "tmp"), timeout=10)
        found = content(store(engine))
        assert found in (before, after), f"killed at step {point} of {steps}"
        if found == after:
            undo(engine, name, kind, act)
        answer = act()
        assert answer[0] < 300, f"after a kill at step {point}: {answer}"
        wait_until(lambda: content(store(engine)) == after)
        undo(engine, name, kind, act)
    assert died >= points // 2
    assert engine.docker("run", "--rm", "busybox", "echo", "fine").stdout == "fine\n"
