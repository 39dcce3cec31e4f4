"""Pull, side by side in one run: skiff, docker, podman, skopeo, and the floor, which is the work itself.

One docker-registry on loopback serves an image like a distribution with a language's run time on it (tests/bench/images.py);
everybody pulls it into an empty store on a file system that is made anew for each pull: ext4 passes over inodes that were deleted
less than half a minute ago, one by one, so that whoever comes after somebody's clean-up would pay several times his own cost. The
floor is `igzip -d < blob | tar -x` of the same blobs, one after
another and all at once, without network, digests, progress or a sync. skiff syncs what it pulled before it reports success; the
floor is also given with a sync. Rounds are interleaved. Medians and ratios are printed; no verdict.
"""
import hashlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import images
from bench import Engine, timed

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from registry import free_port, wait_for_port  # noqa: E402

MANY = 16


class Netns:
    """One network namespace for the registry and everybody who pulls from it."""

    def __init__(self):
        self.name = f"bench-pull-{os.getpid()}"
        self.enter = ["nsenter", f"--net=/run/netns/{self.name}"]
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


class Registry:
    """docker-registry on 127.0.0.1 of the namespace."""

    def __init__(self, netns, work):
        self.netns, self.root, port = netns, work / "registry", free_port()
        self.root.mkdir()
        self.host = f"127.0.0.1:{port}"
        (self.root / "config.yml").write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.root}/data}}}}\nhttp: {{addr: '{self.host}'}}\n")
        with open(self.root / "log", "wb") as log:
            self.process = subprocess.Popen(netns.enter + ["docker-registry", "serve", self.root / "config.yml"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for_port(port, netns.enter, self.process)

    def push(self, directory, name):
        subprocess.run(self.netns.enter + ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                                           f"dir:{directory}", f"docker://{self.host}/{name}"], check=True)
        return f"{self.host}/{name}"

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Disk:
    """An ext4 on a loop device, made anew each time."""

    def __init__(self, work, gigabytes=6):
        self.file, self.place, self.loop = work / "disk", work / "store", None
        self.place.mkdir()
        subprocess.run(["fallocate", "-l", f"{gigabytes}G", self.file], check=True)

    def renew(self):
        self.remove()
        self.loop = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", self.file], check=True, capture_output=True,
                                   text=True).stdout.strip()
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1", self.loop], check=True)
        subprocess.run(["mount", "-o", "noinit_itable", self.loop, self.place], check=True)

    def remove(self):
        if self.loop:
            subprocess.run(["umount", "-R", self.place], check=True)
            subprocess.run(["losetup", "--detach", self.loop], check=True)
        self.loop = None


# --- who pulls: each has start(), pull(name) in milliseconds, and stop()
class Daemon:
    """skiff or docker: one daemon, a fresh data root for each pull."""

    def __init__(self, name, netns, work, daemon, client):
        self.name, self.netns, self.work, self.daemon, self.client = name, netns, work / name, daemon, client
        self.peak_kb, self.engine = 0, None

    def start(self):
        self.work.mkdir()
        socket = self.work / "sock"
        command = [*self.daemon, "--data-root", self.work / "data", "--exec-root", self.work / "exec", "-H", f"unix://{socket}",
                   "--pidfile", self.work / "pid", "--bridge", "none"]
        self.engine = Engine(self.name, [str(c) for c in command], socket, netns=self.netns)
        self.cli = [self.client, "-H", f"unix://{socket}"]
        if not self.engine.wait(self.cli + ["version"]):
            raise RuntimeError(f"{self.name} did not start: {pathlib.Path(f'{socket}.log').read_text()[-400:]}")

    def pull(self, image):
        milliseconds = timed(self.cli + ["pull", "-q", image])
        with open(f"/proc/{self.engine.process.pid}/status", encoding="ascii") as status:
            self.peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return milliseconds

    def stop(self):
        if self.engine:
            self.engine.stop()
        self.engine = None


class Command:
    """podman and skopeo: no daemon."""

    def __init__(self, name, netns, work, command):
        self.name, self.netns, self.work, self.command = name, netns, work / name, command

    def start(self):
        self.work.mkdir()

    def pull(self, image):
        return timed(self.netns.enter + [word.format(work=self.work, image=image) for word in self.command])

    def stop(self):
        pass


class Floor:
    """The work itself."""

    def __init__(self, name, work, blobs, at_once=False, syncs=False):
        self.name, self.work, self.blobs, self.at_once, self.syncs = name, work / "floor", blobs, at_once, syncs

    def start(self):
        for i in range(len(self.blobs)):
            (self.work / str(i)).mkdir(parents=True)

    def pull(self, _):
        end = " &" if self.at_once else ";"
        script = "".join(f"igzip -d < {blob} | tar -x -C {self.work}/{i}{end}" for i, blob in enumerate(self.blobs))
        return timed(["sh", "-c", script + "wait" + (f"; sync -f {self.work}" if self.syncs else "")])

    def stop(self):
        pass


def pullers(arguments, netns, work, blobs):
    build = pathlib.Path(arguments.build).resolve()
    everybody = [Floor("floor, in turn", work, blobs), Floor("floor, at once", work, blobs, at_once=True),
                 Floor("floor, at once + sync", work, blobs, at_once=True, syncs=True),
                 Daemon("skiff", netns, work, [build / "bin/skiffd", "--log-level", "warn"], build / "bin/skiff")]
    if not arguments.peers:
        return everybody
    if shutil.which("dockerd"):
        docker = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else "docker"
        everybody.append(Daemon("docker", netns, work, ["dockerd", "--iptables=false", "--containerd-namespace", "bench-pull"], docker))
    if shutil.which("podman"):
        everybody.append(Command("podman", netns, work, ["podman", "--root", "{work}/root", "--runroot", "{work}/run",
                                                         "--events-backend=file", "pull", "-q", "--tls-verify=false", "{image}"]))
    everybody.append(Command("skopeo (no unpacking)", netns, work, ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
                                                                    "docker://{image}", "dir:{work}/image"]))
    return everybody


def cold(puller, disk, image):
    """One pull into an empty store, with nothing of anybody else's left to write."""
    disk.renew()
    puller.start()
    try:
        os.sync()
        return puller.pull(image)
    finally:
        puller.stop()


def sha256_cost(blobs):
    start = time.perf_counter()
    for blob in blobs:
        with open(blob, "rb") as data:
            hashlib.file_digest(data, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(data.read())
    return (time.perf_counter() - start) * 1e3


def report(samples):
    median = {name: statistics.median(values) for name, values in samples.items()}
    floor = median["floor, at once"]
    print(f"{'':24}{'median s':>9}{'best s':>9}{'x floor in turn':>17}{'at once':>9}")
    for name, value in median.items():
        print(f"{name:24}{value / 1e3:9.2f}{min(samples[name]) / 1e3:9.2f}{value / median['floor, in turn']:17.2f}{value / floor:9.2f}")
    for name in ("docker", "podman"):
        if name in median:
            print(f"skiff is {median[name] / median['skiff']:.1f} x faster than {name}")


def shared_layers(skiff, disk, first, second):
    """The second image has three of its four layers in common with the first."""
    disk.renew()
    skiff.start()
    try:
        whole, rest = skiff.pull(first), skiff.pull(second)
        print(f"a second image that shares 3 of 4 layers: {rest / 1e3:.2f} s after {whole / 1e3:.2f} s "
              f"({rest / whole:.0%}); skiffd's peak {skiff.peak_kb / 1024:.1f} MB")
    finally:
        skiff.stop()


def many_at_once(skiff, disk, names):
    """As many pulls as names, all different images, at the same time."""
    disk.renew()
    skiff.start()
    try:
        threads = [threading.Thread(target=skiff.pull, args=(name,)) for name in names]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{len(names)} images at once: {time.perf_counter() - start:.2f} s; skiffd's peak {skiff.peak_kb / 1024:.1f} MB")
    finally:
        skiff.stop()


def make_images(arguments, root):
    """Directories of all images, made once: root may be kept for the next run."""
    megabytes, files = arguments.megabytes, arguments.files
    if not (root / "first").exists():
        images.write_directory(root / "first", megabytes, files, seed=1)
    if not (root / "second").exists():
        images.write_directory(root / "second", megabytes, files, seed=2, base_seed=1)
    for i in range(MANY):
        if not (root / f"many{i}").exists():
            images.write_directory(root / f"many{i}", megabytes / MANY, files // MANY, seed=100 + i)


def run(arguments):
    work = pathlib.Path(tempfile.mkdtemp(prefix="skiff-bench-pull."))
    root = pathlib.Path(arguments.images).resolve() if arguments.images else work / "images"
    make_images(arguments, root)
    netns, disk = Netns(), Disk(work)
    registry = None
    try:
        registry = Registry(netns, work)
        first, second = registry.push(root / "first", "first:1"), registry.push(root / "second", "second:1")
        many = [registry.push(root / f"many{i}", f"many{i}:1") for i in range(MANY)]
        blobs = images.blobs_of(root / "first")
        everybody = pullers(arguments, netns, disk.place, blobs)
        print(f"{arguments.megabytes} MB in {arguments.files} files, {sum(b.stat().st_size for b in blobs) / 1e6:.0f} MB compressed, "
              f"{len(blobs)} layers; SHA-256 of the blobs alone: {sha256_cost(blobs):.0f} ms on one core")
        samples = {puller.name: [] for puller in everybody}
        for _ in range(arguments.rounds):
            for puller in everybody:
                samples[puller.name].append(cold(puller, disk, first))
        report(samples)
        skiff = next(p for p in everybody if p.name == "skiff")
        print(f"skiffd's peak in one pull {skiff.peak_kb / 1024:.1f} MB")
        shared_layers(skiff, disk, first, second)
        many_at_once(skiff, disk, many)
    finally:
        if registry:
            registry.close()
        disk.remove()
        netns.close()
        shutil.rmtree(work, ignore_errors=True)
