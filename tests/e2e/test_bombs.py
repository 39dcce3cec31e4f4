"""Archives made to exhaust the engine: it says what is too much, leaves nothing behind, and its memory stays small."""
import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import tarfile
import urllib.parse
import zlib
from pathlib import Path

import pytest

from engine import UnixConnection, json_lines, make_tar, wait_until
from registry import BadRegistry, Image, digest, tar_of
from test_bad_archives import tree
from test_pull import pull

IS_LONG = os.environ.get("SKIFF_LONG") == "1"
MEMORY_KIB = 64 << 10
LIMIT = 256 << 20


@pytest.fixture(scope="module")
def bomb_engine():
    from engine import Engine
    engine = Engine("--image-layer-max-size", str(LIMIT), "--image-layer-max-entries", "20000")
    try:
        yield engine.start()
    finally:
        engine.close()


def peak_kib(engine):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{engine.pid}/status").read_text())[1])


@pytest.fixture
def stays_small(bomb_engine):
    """The engine, whose peak memory may grow by MEMORY_KIB, and whose store must look as it did."""
    engine = bomb_engine
    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")  # the peak begins anew
    before, files, pid = peak_kib(engine), tree(engine), engine.pid
    yield engine
    assert engine.pid == pid and engine.is_running()
    grown = peak_kib(engine) - before
    wait_until(lambda: tree(engine) == files, timeout=60)
    assert grown <= MEMORY_KIB, f"peak memory grew by {grown} KiB"


def post(engine, path, chunks):
    """The error's text of a request whose body is made as it is sent; the engine may answer before it has all of it."""
    connection = UnixConnection(engine.socket, timeout=300)
    try:
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", "application/x-tar")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        try:
            for chunk in chunks:
                if chunk:
                    connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            connection.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        response = connection.getresponse()
        lines = json_lines(response.read())
        return next((line.get("message") or line.get("error") for line in lines if "message" in line or "error" in line), None)
    finally:
        connection.close()


def import_error(engine, chunks):
    return post(engine, "/images/create?fromSrc=-&repo=bomb&tag=1", chunks)


def load_error(engine, chunks):
    return post(engine, "/images/load?quiet=1", chunks)


def header(name, size, kind=b"0", magic=b"ustar\x0000"):
    """A tar header with any size: beyond 8 GiB in base 256."""
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108], h[108:116], h[116:124], h[136:148] = b"0000644\0", b"0000000\0", b"0000000\0", b"00000000000\0"
    h[124:136] = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    h[156:157], h[257:265] = kind, magic
    h[148:156] = b" " * 8
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def zeros_in_gzip(size, first=b""):
    """gzip of `first` and `size` zeros, in no time: the same deflated megabyte again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + deflate.compress(first) + deflate.flush(zlib.Z_FULL_FLUSH)
    one = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    for _ in range(size >> 20):
        yield one


def repeated(block, size):
    block = block * ((1 << 20) // len(block))
    for _ in range(size // len(block)):
        yield block


# --- size ---------------------------------------------------------------------------------------------------------------
def test_ten_gigabytes_of_zeros_in_ten_megabytes(stays_small):
    chunks = list(zeros_in_gzip(10 << 30, header(b"zeros", 10 << 30)))
    assert sum(map(len, chunks)) < 12 << 20
    assert f"layer is larger than the limit of {LIMIT} bytes" in import_error(stays_small, chunks)


def test_zeros_pulled(stays_small):
    """The same through a registry, where the descriptor names the small size."""
    engine = stays_small
    packed = b"".join(zeros_in_gzip(1 << 30, header(b"zeros", 1 << 30)))
    registry = BadRegistry(engine.in_netns())
    try:
        image = Image([b""])
        image.blobs[digest(packed)] = packed
        image.manifest["layers"] = [dict(image.layers[0], digest=digest(packed), size=len(packed))]
        _, lines = pull(engine, registry.put(image, "bomb", "latest"))
        assert "larger than the limit" in lines[-1]["error"], lines
    finally:
        registry.close()


def test_cve_2017_14992_zeros_behind_the_end(stays_small):
    """Zeros that are no file's, but behind the end mark: they belong to the layer, too."""
    assert f"layer is larger than the limit of {LIMIT} bytes" in import_error(stays_small, list(zeros_in_gzip(2 << 30)))


@pytest.mark.parametrize("case", ["zeros", "window"])
@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd program")
def test_zstd(stays_small, case):
    if case == "zeros":
        tar = header(b"zeros", 1 << 30) + bytes(1 << 20)
        packed = subprocess.run(["zstd", "-q", "-c"], input=tar, stdout=subprocess.PIPE, check=True).stdout
        more = subprocess.run(["zstd", "-q", "-c"], input=bytes(64 << 20), stdout=subprocess.PIPE, check=True).stdout
        assert "larger than the limit" in import_error(stays_small, [packed] + [more] * 16)
    else:  # a frame that asks for a window of 2 GiB
        frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + struct.pack("<I", 1 << 3 | 1 << 1)[:3] + b"x"
        assert "zstd" in import_error(stays_small, [frame])


# --- number -------------------------------------------------------------------------------------------------------------
def test_a_million_files(stays_small):
    def files():
        for first in range(0, 1000000, 1000):
            yield b"".join(header(b"f/%d/%d" % (first, first + i), 0) for i in range(1000))

    assert "layer has more than 20000 entries" in import_error(stays_small, files())


@pytest.mark.skipif(not IS_LONG, reason="writes a million files (SKIFF_LONG=1)")
def test_a_million_files_that_are_allowed(make_engine):
    engine = make_engine()
    before = peak_kib(engine)

    def files():
        for first in range(0, 1000000, 1000):
            yield b"".join(header(b"f/%d/%d" % (first, first + i), 0) for i in range(1000))
        yield bytes(1024)

    assert import_error(engine, files()) is None
    assert peak_kib(engine) - before <= MEMORY_KIB
    engine.docker("rmi", "bomb:1", timeout=300)


def test_many_layers(stays_small):
    """501 are too many; that many descriptors cost nothing."""
    engine = stays_small
    layer = tar_of({"a": b"x"})
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer)] * 501}}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["bomb:1"], "Layers": ["l.tar"] * 501}]).encode()
    assert "more than 500 layers" in load_error(engine, [make_tar([("manifest.json", manifest), ("c.json", config), ("l.tar", layer)])])


def test_many_tags(stays_small):
    """Names are a list in a document of bounded size; they come and go with the image."""
    engine = stays_small
    layer = tar_of({"a": b"many tags"})
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    tags = [f"bomb:{i}" for i in range(300)]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": ["l.tar"]}]).encode()
    assert load_error(engine, [make_tar([("manifest.json", manifest), ("c.json", config), ("l.tar", layer)])]) is None
    image = engine.api("GET", "/images/bomb:7/json")[2]
    assert sorted(image["RepoTags"]) == sorted(tags)
    assert engine.api("DELETE", f"/images/{image['Id']}?force=1")[0] == 200


def test_many_files_beside_the_image(stays_small):
    archive = (b"".join(header(b"junk/%d" % (first + i), 0) for i in range(1000)) for first in range(0, 1000000, 1000))
    assert "more than" in load_error(stays_small, archive)


# --- headers ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_a_gigabyte(stays_small, kind):
    def archive():
        yield header(b"pax", 1 << 30, kind)
        yield b"1073741824 path="
        yield from repeated(b"a", 1 << 30)

    assert import_error(stays_small, archive())


def test_a_path_of_a_megabyte(stays_small):
    def record(key, value):
        body = b" " + key + b"=" + value + b"\n"
        n = len(body)
        while len(b"%d" % n) + len(body) != n:
            n = len(b"%d" % n) + len(body)
        return b"%d" % n + body

    for path in (b"a" * (1 << 19), b"a/" * (1 << 18)):
        pax = record(b"path", path)
        archive = header(b"pax", len(pax), b"x") + pax + bytes(-len(pax) % 512) + header(b"x", 0) + bytes(1024)
        assert import_error(stays_small, [archive])


def test_deep_directories(stays_small):
    """Each entry one directory deeper, by names that are short."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for depth in range(1, 2000, 100):
            info = tarfile.TarInfo("d/" * depth)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
    message = import_error(stays_small, [out.getvalue()])
    assert "invalid path" in message and len(message) < 2000


def test_giant_attributes(stays_small):
    def archive(count, size):
        info = tarfile.TarInfo("x")
        info.pax_headers = {f"SCHILY.xattr.user.a{i}": "v" * size for i in range(count)}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(info)
        return out.getvalue()

    assert import_error(stays_small, [archive(1, 512 << 10)])  # larger than any file system takes
    assert import_error(stays_small, [archive(1000, 2000)])


@pytest.mark.parametrize("case", ["size", "many", "overlap"])
def test_sparse_files(stays_small, case):
    """Pieces without number, beyond the end, over one another, and a file of exabytes."""
    sparse_map = {"size": "1\n0\n4\n", "many": f"{1 << 40}\n" + "0\n1\n" * 200000, "overlap": "2\n0\n4\n2\n4\n"}[case]
    info = tarfile.TarInfo("GNUSparseFile.0/x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x",
                        "GNU.sparse.realsize": str((1 << 63) - 1 if case == "size" else 100)}
    data = sparse_map.encode()
    data += bytes(-len(data) % 512) + b"data"
    info.size = len(data)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(data))
    assert import_error(stays_small, [out.getvalue()])


# --- documents ----------------------------------------------------------------------------------------------------------
def test_cve_2020_1702_a_manifest_of_a_hundred_megabytes(stays_small):
    def archive():
        yield header(b"manifest.json", 100 << 20)
        yield from repeated(b"[", 100 << 20)
        yield bytes(1024)

    assert "neither manifest.json nor index.json" in load_error(stays_small, archive())


def test_cve_2023_25153_documents_without_end(stays_small):
    def archive():
        for i in range(100):
            yield header(b"blobs/sha256/%064d" % i, 4 << 20)
            yield from repeated(b"[", 4 << 20)

    assert "bytes of documents" in load_error(stays_small, archive())


@pytest.mark.parametrize("document", [b"[" * 1000000, b'{"a":' * 300000, b'[{"Layers":' + b"[" * 500000])
def test_deep_documents(stays_small, document):
    assert load_error(stays_small, [make_tar([("manifest.json", document)])])


def test_an_index_that_names_itself(stays_small):
    """A layout's index.json has no digest; below it a document would have to hold its own. The nearest: each names the next."""
    documents, inner = [], {"schemaVersion": 2, "manifests": []}
    for _ in range(50):
        data = json.dumps(inner).encode()
        documents.append((f"blobs/sha256/{digest(data)[7:]}", data))
        inner = {"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", "size": len(data),
                                                    "digest": digest(data)}] * 30}
    archive = make_tar([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", json.dumps(inner).encode()), *documents])
    assert "nested deeper" in load_error(stays_small, [archive])


def test_an_index_that_fans_out(stays_small):
    """Within the depth allowed, each names the next a hundred times: the visits are what must be bounded."""
    data, documents = json.dumps({"schemaVersion": 2, "manifests": []}).encode(), []
    for _ in range(4):
        documents.append((f"blobs/sha256/{digest(data)[7:]}", data))
        data = json.dumps({"schemaVersion": 2, "manifests": [{"size": len(data), "digest": digest(data)}] * 1000}).encode()
    archive = make_tar([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", data), *documents])
    assert "name one another too often" in load_error(stays_small, [archive])


def test_one_configuration_named_without_end(stays_small):
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                         "filling": "x" * 1000000}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": []}] * 50000).encode()
    archive = make_tar([("manifest.json", manifest), ("c.json", config)])
    assert "name one another too often" in load_error(stays_small, [archive])
    stays_small.docker("rmi", digest(config))  # what was loaded before the error stays, as it does with Docker


def test_names_of_files_beside_the_image(stays_small):
    archive = (header(b"././@LongLink", 60000, b"L") + b"n" * 60000 + bytes(-60000 % 512) + header(b"n", 0) for _ in range(2000))
    assert load_error(stays_small, archive)


def test_the_engine_goes_on(bomb_engine, busybox_rootfs):
    bomb_engine.import_image(busybox_rootfs)
    assert bomb_engine.docker("run", "--rm", "busybox", "echo", "fine").stdout == "fine\n"
