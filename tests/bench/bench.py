"""Start-up time side by side, in one run: the kernel's floor, skiff, and the peers that are installed.

Every engine runs in a network namespace of its own with private directories. Rounds are interleaved (floor, skiff, peers,
floor, ...), so that a machine whose speed drifts slows everybody alike. Medians and ratios are printed; no verdict.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))
import machine  # noqa: E402


class Engine:
    """A daemon in its own network namespace."""

    def __init__(self, name, command, socket, environment=None):
        self.name, self.socket = name, socket
        self.netns = f"bench-{name}-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        self.enter = ["nsenter", f"--net=/run/netns/{self.netns}"]
        subprocess.run(self.enter + ["ip", "link", "set", "lo", "up"], check=True)
        self.log = open(f"{socket}.log", "wb")
        self.process = subprocess.Popen(self.enter + command, stderr=self.log, stdout=self.log, env=environment)

    def wait(self, client):
        for _ in range(300):
            if subprocess.run(client, capture_output=True, check=False).returncode == 0:
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.1)
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        subprocess.run(["ip", "netns", "del", self.netns], check=False)


def timed(command):
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip()}")
    return (time.perf_counter() - start) * 1e3


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def children(pid):
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"PPid:\t{pid}\n" in (entry / "status").read_text():
                yield int(entry.name)
        except OSError:
            continue


def import_image(client, archive):
    subprocess.run(client + ["import", str(archive), "busybox"], check=True, capture_output=True)


def start_skiff(build, work):
    socket = work / "skiff.sock"
    engine = Engine("skiff", [build / "bin/skiffd", "--data-root", work / "skiff-data", "--exec-root", work / "skiff-exec",
                              "-H", f"unix://{socket}", "--pidfile", work / "skiff.pid", "--log-level", "warn"], socket)
    engine.client = [str(build / "bin/skiff"), "-H", f"unix://{socket}"]
    return engine


def start_docker(work):
    socket = work / "docker.sock"
    engine = Engine("docker", [shutil.which("dockerd"), "--data-root", work / "docker-data", "--exec-root",
                               work / "docker-exec", "-H", f"unix://{socket}", "--pidfile", work / "docker.pid",
                               "--containerd-namespace", "bench"], socket)
    engine.client = ["docker", "-H", f"unix://{socket}"]
    return engine


def start_rows(arguments, build, work, archive):
    """name -> command that starts, runs and removes one container of busybox true."""
    rows, engines = {}, []
    skiff = start_skiff(build, work)
    engines.append(skiff)
    if not skiff.wait(skiff.client + ["version"]):
        raise RuntimeError(f"skiffd did not start, see {skiff.socket}.log")
    import_image(skiff.client, archive)
    rows["skiff, no network"] = skiff.client + ["run", "--rm", "--network", "none", "busybox", "true"]
    rows["skiff, bridge"] = skiff.client + ["run", "--rm", "busybox", "true"]
    if arguments.peers and shutil.which("dockerd"):
        docker = start_docker(work)
        engines.append(docker)
        if docker.wait(docker.client + ["version"]):
            import_image(docker.client, archive)
            rows["docker, no network"] = docker.client + ["run", "--rm", "--network", "none", "busybox", "true"]
            rows["docker, bridge"] = docker.client + ["run", "--rm", "busybox", "true"]
        else:
            print(f"dockerd did not start: {pathlib.Path(f'{docker.socket}.log').read_text()[-400:]}", file=sys.stderr)
    if arguments.peers and shutil.which("podman"):
        podman = ["podman", "--root", str(work / "podman"), "--runroot", str(work / "podman-run"), "--cgroup-manager=cgroupfs",
                  "--events-backend=file"]
        try:
            import_image(podman, archive)
            # This machine may lack CAP_SYS_RESOURCE: podman is not to raise limits.
            command = podman + ["run", "--rm", "--network", "none", "--ulimit", "host", "localhost/busybox", "true"]
            timed(command)
            rows["podman, no network"] = command
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"podman is left out: {error}", file=sys.stderr)
    return rows, engines


def crun_row(work, root):
    """crun alone on a bundle: a runtime without an engine."""
    bundle = work / "bundle"
    bundle.mkdir()
    os.symlink(root, bundle / "rootfs")
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"], config["process"]["terminal"] = ["/bin/true"], False
    config["process"].pop("rlimits", None)
    (bundle / "config.json").write_text(json.dumps(config))
    return ["crun", "--cgroup-manager=disabled", "--root", str(work / "crun"), "run", "-b", str(bundle), "bench"]


def measure(rows, floor, rounds):
    samples = {name: [] for name in rows}
    floors = {"none": [], "bridge": []}
    for _ in range(rounds):
        for line in subprocess.run(floor, capture_output=True, text=True, check=True).stdout.splitlines():
            kind, value = line.split()
            floors[kind].append(float(value))
        for name, command in rows.items():
            samples[name].append(timed(command))
    return samples, floors


def report(samples, floors):
    base = {kind: statistics.median(values) for kind, values in floors.items()}
    print(f"{'':24}{'median ms':>10}{'x floor':>9}")
    print(f"{'floor, no network':24}{base['none']:10.2f}{1:9.2f}")
    print(f"{'floor, bridge':24}{base['bridge']:10.2f}{1:9.2f}")
    for name, values in samples.items():
        median = statistics.median(values)
        print(f"{name:24}{median:10.2f}{median / base['bridge' if 'bridge' in name else 'none']:9.2f}")
    for kind, label in (("none", "no network"), ("bridge", "bridge")):
        if samples.get(f"docker, {label}"):
            ratio = statistics.median(samples[f"docker, {label}"]) / statistics.median(samples[f"skiff, {label}"])
            print(f"skiff is {ratio:.1f} x faster than docker ({label})")


def detached_forty(engine):
    start = time.perf_counter()
    for _ in range(40):
        subprocess.run(engine.client + ["run", "-d", "busybox", "sleep", "1000"], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    time.sleep(0.5)
    print(f"{engine.name}: 40 detached containers in {seconds:.2f} s")
    if engine.name == "skiff":
        daemon = engine.process.pid
        shims = [pss_kb(pid) for pid in children(daemon)]
        print(f"skiffd PSS {pss_kb(daemon) / 1024:.1f} MB; {len(shims)} shims, PSS median "
              f"{statistics.median(shims):.0f} kB, maximum {max(shims)} kB")
    ids = subprocess.run(engine.client + ["ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(engine.client + ["rm", "-f"] + ids, check=True, capture_output=True)
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("what", choices=["start"])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds (default 20)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="skiff and the floor only")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="skiff-bench."))
    engines = []
    try:
        archive, root = work / "busybox.tar", work / "rootfs"
        machine.busybox_archive(archive)
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", archive], check=True)
        for folder in ("proc", "sys", "dev"):
            (root / folder).mkdir(exist_ok=True)
        rows, engines = start_rows(arguments, build, work, archive)
        if arguments.peers and shutil.which("crun"):
            rows["crun alone"] = crun_row(work, root)
        for name, command in list(rows.items()):
            try:
                timed(command)
            except RuntimeError as error:
                if name.startswith("skiff"):
                    raise
                print(f"{name} is left out: {error}", file=sys.stderr)
                del rows[name]
        floor = [build / "tests/bench/floor", root, work / "floor", "5"]
        report(*measure(rows, floor, arguments.rounds))
        times = {engine.name: detached_forty(engine) for engine in engines}
        if "docker" in times:
            print(f"40 detached: skiff is {times['docker'] / times['skiff']:.1f} x faster than docker")
    finally:
        for engine in engines:
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
