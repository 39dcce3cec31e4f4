"""Synthetic images for the benchmarks: equal arguments give equal images, as `docker save` archives.

The default is like a distribution with a language's run time on it: 606 MB of 25,000 files in 4 layers, which gzip brings to
somewhat less than half.
"""
import hashlib
import io
import json
import random
import tarfile

POOL_BYTES = 1 << 20
WORDS = ("return", "static", "const", "struct", "error", "license", "version", "module", "import", "class", "float", "value")


class Content:
    """File contents of which `share` does not compress."""

    def __init__(self, seed, share=0.15):
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
