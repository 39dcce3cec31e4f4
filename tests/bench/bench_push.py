"""Push, side by side in one run: skiff, docker, podman, skopeo, and the floor, which is the work itself.

Everybody has the same image (tests/bench/images.py) in a store of his own and pushes it to a docker-registry on loopback that is
empty each time. What a store remembers of earlier pushes must not help: every push goes to a new registry under a new port, and nobody is
asked to mount. The floor is `igzip < layer.tar` of the layers all at once, then curl with the whole blob: without a digest, which
the registry takes on its own. skopeo copies the same layers, unpacked, from a directory. Rounds are interleaved. Medians and ratios
are printed; no verdict.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tarfile
import tempfile

import images
from bench import timed
from bench_pull import Daemon, Netns, Registry

UPLOAD = """
blob={work}/$1.gz
igzip -c < {work}/$1.tar > $blob
digest=$(sha256sum < $blob | cut -d' ' -f1)
place=$(curl -sf -X POST -D - -o /dev/null http://{host}/v2/floor/blobs/uploads/ | sed -n 's/^[Ll]ocation: *//p' | tr -d '\\r')
curl -sf -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' -T $blob "$place&digest=sha256:$digest"
"""


class Floor:
    """igzip, sha256sum and curl, all layers at once."""

    name = "floor"

    def __init__(self, netns, work, archive):
        self.enter, self.work = netns.enter, work / "floor"
        self.work.mkdir()
        with tarfile.open(archive) as tar:
            layers = json.load(tar.extractfile("manifest.json"))[0]["Layers"]
            for i, layer in enumerate(layers):
                with open(self.work / f"{i}.tar", "wb") as out:
                    shutil.copyfileobj(tar.extractfile(layer), out)
        self.count = len(layers)

    def push(self, host):
        (self.work / "push").write_text("set -e\n" + UPLOAD.format(work=self.work, host=host))
        jobs = "".join(f"sh {self.work}/push {i} & " for i in range(self.count))
        return timed([*self.enter, "sh", "-c", jobs + "wait"])

    def close(self):
        pass


class Pusher:
    """skiff or docker."""

    def __init__(self, name, daemon, archive):
        self.name, self.daemon = name, daemon
        daemon.start()
        subprocess.run(daemon.cli + ["load", "-q", "-i", str(archive)], check=True, capture_output=True)

    @property
    def peak_kb(self):
        with open(f"/proc/{self.daemon.engine.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    def push(self, host):
        subprocess.run(self.daemon.cli + ["tag", "bench:latest", f"{host}/bench"], check=True)
        return timed(self.daemon.cli + ["push", "-q", f"{host}/bench"])

    def close(self):
        self.daemon.forget() if hasattr(self.daemon, "forget") else self.daemon.stop()


class Command:
    """podman or skopeo: the command is the engine."""

    def __init__(self, name, netns, work, prepare, push):
        self.name, self.work, self.enter, self.push_command = name, work / name, netns.enter, push
        self.work.mkdir()
        if prepare:
            subprocess.run([a.format(work=self.work) for a in prepare], check=True, capture_output=True)

    def push(self, host):
        return timed(self.enter + [a.format(work=self.work, host=host) for a in self.push_command])

    def close(self):
        subprocess.run(["umount", "-R", str(self.work / "root")], check=False, capture_output=True)


def pushers(arguments, netns, work, archive):
    build = pathlib.Path(arguments.build).resolve()
    everybody = [Floor(netns, work, archive),
                 Pusher("skiff", Daemon("skiff", netns, work, [build / "bin/skiffd", "--log-level", "warn"], build / "bin/skiff"), archive)]
    if not arguments.peers:
        return everybody
    if shutil.which("dockerd"):
        docker = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else "docker"
        everybody.append(Pusher("docker", Daemon("docker", netns, work, ["dockerd", "--iptables=false", "--containerd-namespace",
                                                                         "bench-push"], docker), archive))
    if shutil.which("podman"):
        podman = ["podman", "--root", "{work}/root", "--runroot", "{work}/run", "--events-backend=file"]
        everybody.append(Command("podman", netns, work, podman + ["load", "-q", "-i", str(archive)],
                                 podman + ["push", "-q", "--tls-verify=false", "localhost/bench:latest", "{host}/bench"]))
    if shutil.which("skopeo"):
        everybody.append(Command("skopeo", netns, work, ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{archive}",
                                                         "dir:{work}/image"],
                                 ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-compress",
                                  "dir:{work}/image", "docker://{host}/bench"]))
    return everybody


def cold(pusher, netns, work):
    """One push to an empty registry, with nothing of anybody else's left to write."""
    place = work / "target"
    place.mkdir()
    registry = Registry(netns, place)
    try:
        os.sync()
        return pusher.push(registry.host)
    finally:
        registry.close()
        shutil.rmtree(place)


def report(samples):
    median = {name: statistics.median(values) for name, values in samples.items()}
    print(f"{'':16}{'median s':>9}{'best s':>9}{'x floor':>9}")
    for name, value in median.items():
        print(f"{name:16}{value / 1e3:9.2f}{min(samples[name]) / 1e3:9.2f}{value / median['floor']:9.2f}")
    for name in ("docker", "podman", "skopeo"):
        if name in median:
            print(f"skiff is {median[name] / median['skiff']:.1f} x faster than {name}")


def run(arguments):
    work = pathlib.Path(tempfile.mkdtemp(prefix="skiff-bench-push."))
    archive, netns, everybody = work / "image.tar", Netns(), []
    try:
        images.write_archive(archive, "bench:latest", arguments.megabytes, arguments.files)
        everybody = pushers(arguments, netns, work, archive)
        samples = {pusher.name: [] for pusher in everybody}
        for _ in range(arguments.rounds):
            for pusher in everybody:
                samples[pusher.name].append(cold(pusher, netns, work))
        print(f"{arguments.megabytes} MB in {arguments.files} files, 4 layers")
        report(samples)
        print(f"skiffd's peak {everybody[1].peak_kb / 1024:.1f} MB (load and {arguments.rounds} pushes)")
    finally:
        for pusher in everybody:
            pusher.close()
        netns.close()
        shutil.rmtree(work, ignore_errors=True)
