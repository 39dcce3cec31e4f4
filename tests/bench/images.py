"""Synthetic images for the benchmarks: equal arguments give equal images, as `docker save` archives.

The default is like a distribution with a language's run time on it: 606 MB of 25,000 files in 4 layers, which gzip brings to
somewhat less than half.
"""
import concurrent.futures
import gzip
import hashlib
import io
import json
import pathlib
import random
import tarfile

POOL_BYTES = 1 << 20
WORDS = ("return", "static", "const", "struct", "error", "license", "version", "module", "import", "class", "float", "value")


class Content:
    """File contents of which `share` does not compress."""

    def __init__(self, seed, share=0.25):
        self.random = random.Random(seed)
        self.share = share
        self.noise = self.random.randbytes(POOL_BYTES)
        words = (self.random.choice(WORDS) + str(self.random.randrange(1000)) for _ in range(POOL_BYTES // 6))
        self.text = " ".join(words).encode()[:POOL_BYTES]

    def piece(self, pool, n):
        at = self.random.randrange(len(pool) - n) if n < len(pool) else 0
        return pool[at:at + n]

    def file(self, n):
        out = bytearray()
        while len(out) < n:
            k = min(n - len(out), 64 * 1024)
            is_noise = self.random.random() < self.share
            out += self.random.randbytes(k) if is_noise else self.piece(self.text, k)
        return bytes(out)


def layer_tar(seed, files, size):
    """A layer's tar of about `size` bytes."""
    content = Content(seed)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        weights = [content.random.paretovariate(1.2) for _ in range(files)]
        scale = size / sum(weights)
        for i, weight in enumerate(weights):
            info = tarfile.TarInfo(f"usr/lib/layer{seed}/dir{i // 100}/file{i}")
            info.size, info.mode, info.mtime = int(weight * scale), 0o644, 1700000000
            tar.addfile(info, io.BytesIO(content.file(info.size)))
    return out.getvalue()


def layer_shares(layers):
    """How the bytes are spread: the bottom layer has half, each further one half of what is left."""
    shares = [0.5 ** (i + 1) for i in range(layers)]
    shares[-1] *= 2
    return shares


def write_archive(path, name, megabytes=606, files=25000, layers=4, seed=1, base_seed=None):
    """A `docker save` archive of one image called `name`. With base_seed all layers but the last are those of that seed's
    image: two such images share them."""
    diff_ids, names = [], []
    with tarfile.open(path, "w") as archive:

        def add(member, data):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for i, share in enumerate(layer_shares(layers)):
            own = seed if base_seed is None or i == layers - 1 else base_seed
            tar = layer_tar(own * 1000 + i, max(1, int(files * share)), int(megabytes * 1e6 * share))
            digest = hashlib.sha256(tar).hexdigest()
            diff_ids.append(f"sha256:{digest}")
            names.append(f"{digest}/layer.tar")
            add(names[-1], tar)
        config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                             "config": {"Cmd": ["/bin/true"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
                             "history": [{"created": "2026-01-01T00:00:00Z"} for _ in diff_ids]}).encode()
        add(f"{hashlib.sha256(config).hexdigest()}.json", config)
        add("manifest.json", json.dumps([{"Config": f"{hashlib.sha256(config).hexdigest()}.json", "RepoTags": [name],
                                          "Layers": names}]).encode())


MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def packed_layer(directory, seed, files, size):
    """Write one layer, compressed as docker would, below its digest: (diff id, descriptor)."""
    tar = layer_tar(seed, files, size)
    blob = gzip.compress(tar, 6, mtime=0)
    name = hashlib.sha256(blob).hexdigest()
    (pathlib.Path(directory) / name).write_bytes(blob)
    return (f"sha256:{hashlib.sha256(tar).hexdigest()}",
            {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(blob), "digest": f"sha256:{name}"})


def write_directory(path, megabytes=606, files=25000, layers=4, seed=1, base_seed=None):
    """The same image in pieces (skopeo's "dir:"), layers compressed; gives the paths of the blobs, bottom first."""
    path = pathlib.Path(path)
    path.mkdir(parents=True)
    jobs = []
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for i, share in enumerate(layer_shares(layers)):
            own = seed if base_seed is None or i == layers - 1 else base_seed
            jobs.append(pool.submit(packed_layer, path, own * 1000 + i, max(1, int(files * share)), int(megabytes * 1e6 * share)))
    made = [job.result() for job in jobs]
    config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                         "config": {"Cmd": ["/bin/true"]}, "rootfs": {"type": "layers", "diff_ids": [d for d, _ in made]},
                         "history": [{"created": "2026-01-01T00:00:00Z"} for _ in made]}).encode()
    name = hashlib.sha256(config).hexdigest()
    (path / name).write_bytes(config)
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_text(json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [d for _, d in made],
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": f"sha256:{name}"}}))
    return [path / d["digest"][7:] for _, d in made]


def blobs_of(path):
    """What write_directory gave, of a directory made earlier."""
    path = pathlib.Path(path)
    return [path / layer["digest"][7:] for layer in json.loads((path / "manifest.json").read_text())["layers"]]
