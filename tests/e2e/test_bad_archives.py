"""Archives that are not what they say, through the engine: a clear error, and nothing left behind."""
import hashlib
import io
import json
import os
import tarfile

import pytest

from engine import json_lines, make_tar, wait_until


def tree(engine):
    """Everything the store holds, but for the database's own files and what is kept for the next containers."""
    paths = sorted(os.path.relpath(os.path.join(folder, name), engine.data_root)
                   for folder, folders, names in os.walk(engine.data_root) for name in folders + names
                   if not name.startswith("meta.db"))
    spares = tuple(f"containers/{name}" for name in engine.spare_ids())
    return [path for path in paths if not path.startswith(spares)]


def saved(layer, diff_id=None):
    """A `docker save` archive with one layer; diff_id: what its configuration claims."""
    diff_id = diff_id or "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["bad:1"], "Layers": ["layer.tar"]}]).encode()
    return make_tar([("manifest.json", manifest), ("config.json", config), ("layer.tar", layer)])


def layer_with(name, link=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
        info = tarfile.TarInfo(name)
        info.size = 5
        tar.addfile(info, io.BytesIO(b"pwned"))
    return out.getvalue()


GOOD = layer_with("etc/fine")
DEEP = b"[" * 10000 + b"]" * 10000
CASES = {
    "not an archive": b"garbage" * 1000,
    "empty": b"",
    "cut in the layer": saved(GOOD)[:4000],
    "digest mismatch": saved(GOOD, "sha256:" + "0" * 64),
    "dot dot": saved(layer_with("../../../../tmp/skiff-escape")),
    "through a link": saved(layer_with("out/skiff-escape", link=("out", "/tmp"))),
    "through a relative link": saved(layer_with("out/skiff-escape", link=("out", "../../../../../../tmp"))),
    "layer is no tar": saved(b"x" * 2000),
    "no manifest": make_tar([("nothing", b"here")]),
    "deep manifest": make_tar([("manifest.json", DEEP)]),
    "corrupt gzip": b"\x1f\x8b\x08\x00" + os.urandom(3000),
    "path in the manifest": make_tar([("manifest.json", b'[{"Config":"../../../etc/passwd","RepoTags":null,"Layers":[]}]')]),
}


def has_error(status, answer):
    if status >= 400:
        return bool(answer.get("message"))
    return any(line.get("errorDetail", {}).get("message") for line in json_lines(answer))


@pytest.mark.parametrize("case", CASES)
def test_load(engine, busybox, case):
    before = tree(engine)
    status, _, answer = engine.api("POST", "/images/load?quiet=1", body=CASES[case], headers={"Content-Type": "application/x-tar"})
    assert has_error(status, answer), (status, answer)
    wait_until(lambda: tree(engine) == before)
    assert not os.path.exists("/tmp/skiff-escape")
    assert engine.api("GET", "/images/bad:1/json")[0] == 404


@pytest.mark.parametrize("case", ["not an archive", "corrupt gzip"])
def test_import(engine, busybox, case):
    before = tree(engine)
    status, _, answer = engine.api("POST", "/images/create?fromSrc=-&repo=bad&tag=1", body=CASES[case],
                                   headers={"Content-Type": "application/x-tar"})
    assert has_error(status, answer), (status, answer)
    wait_until(lambda: tree(engine) == before)


@pytest.mark.parametrize("body,status", [(DEEP, 400), (b"{", 400), (b'{"Image":"busybox","Image":"x"}', 400),
                                         (b'{"Image":"busybox","HostConfig":{"Memory":-5}}', 400),
                                         (b'{"Image":"busybox","HostConfig":{"Memory":1000}}', 400),
                                         (b'{"Image":"no such ref!"}', 400), (b'{"Image":"absent"}', 404)])
def test_create(engine, busybox, body, status):
    before = tree(engine)
    got = engine.api("POST", "/containers/create", body=body, headers={"Content-Type": "application/json"})
    assert got[0] == status and got[2]["message"], got
    wait_until(lambda: tree(engine) == before)
