"""Start-up time side by side, in one run: the kernel's floor, skiff, and the peers that are installed.

Every engine runs in a network namespace of its own with private directories; what is /run on an ordinary machine (exec
roots) is on a tmpfs for all of them. Blocks are interleaved (floor, skiff, peers, floor, ...), so that a machine whose speed
drifts slows everybody alike; within a block runs follow each other at once. A second table times single runs after a pause, when
the kernel's lazily kept state has gone cold for the floor, too. Medians and ratios are printed; no verdict.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))
import machine  # noqa: E402


BLOCK, PEER_BLOCK, PAUSE_S = 10, 2, 0.3


class Engine:
    """A daemon in its own network namespace."""

    def __init__(self, name, command, socket, environment=None, netns=None):
        self.name, self.socket = name, socket
        self.netns, self.owns_netns = netns.name if netns else f"bench-{name}-{os.getpid()}", not netns
        self.enter = ["nsenter", f"--net=/run/netns/{self.netns}"]
        if self.owns_netns:
            subprocess.run(["ip", "netns", "add", self.netns], check=True)
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
        if self.owns_netns:
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
    engine = Engine("skiff", [build / "bin/skiffd", "--data-root", work / "skiff-data", "--exec-root", work / "run/skiff",
                              "-H", f"unix://{socket}", "--pidfile", work / "skiff.pid", "--log-level", "warn"], socket)
    engine.client = [str(build / "bin/skiff"), "-H", f"unix://{socket}"]
    return engine


def start_docker(work):
    socket = work / "docker.sock"
    engine = Engine("docker", [shutil.which("dockerd"), "--data-root", work / "docker-data", "--exec-root",
                               work / "run/docker", "-H", f"unix://{socket}", "--pidfile", work / "docker.pid",
                               "--containerd-namespace", "bench"], socket)
    engine.client = ["docker", "-H", f"unix://{socket}"]
    return engine


def podman_rows(work, archive, netns):
    """podman has no daemon: each command is the engine. This machine may lack CAP_SYS_RESOURCE: no limit is to be raised."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    podman = ["podman", "--root", str(work / "podman"), "--runroot", str(work / "run/podman"), "--cgroup-manager=cgroupfs",
              "--events-backend=file"]
    import_image(podman, archive)
    run = ["run", "--rm", "--ulimit", f"nofile={hard}:{hard}", "--ulimit", "nproc=1000:1000"]
    return {"podman, no network": podman + run + ["--network", "none", "localhost/busybox", "true"],
            "podman, bridge": ["nsenter", f"--net=/run/netns/{netns}"] + podman + run + ["localhost/busybox", "true"]}


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
        rows.update(podman_rows(work, archive, skiff.netns))
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


def floor_medians(floor, rounds):
    lines = subprocess.run(floor + [str(rounds)], capture_output=True, text=True, check=True).stdout.splitlines()
    return {kind: float(value) for kind, value in map(str.split, lines)}


def measure(rows, floor, rounds):
    """Blocks of runs that follow each other at once: (samples by row, block medians of the floor by kind)."""
    samples = {name: [] for name in rows}
    floors = {"none": [], "bridge": []}
    for _ in range(rounds):
        for kind, value in floor_medians(floor, BLOCK).items():
            floors[kind].append(value)
        for name, command in rows.items():
            samples[name] += [timed(command) for _ in range(BLOCK if name.startswith("skiff") else PEER_BLOCK)]
    return samples, floors


def measure_cold(rows, floor, rounds):
    """Single runs after a pause. The floor's first kind is the one that finds the machine cold."""
    samples = {name: [] for name in rows if name.startswith("skiff")}
    floors = {"none": []}
    for _ in range(rounds):
        time.sleep(PAUSE_S)
        floors["none"].append(floor_medians(floor, 1)["none"])
        for name in samples:
            time.sleep(PAUSE_S)
            samples[name].append(timed(rows[name]))
    return samples, floors


def report(title, samples, floors):
    base = {kind: statistics.median(values) for kind, values in floors.items()}
    labels = {"none": "no network", "bridge": "bridge"}
    print(f"{title:24}{'median ms':>10}{'x floor':>9}")
    for kind, value in base.items():
        print(f"{'floor, ' + labels[kind]:24}{value:10.2f}{1:9.2f}")
    for name, values in samples.items():
        median = statistics.median(values)
        print(f"{name:24}{median:10.2f}{median / base['bridge' if 'bridge' in name and 'bridge' in base else 'none']:9.2f}")
    for label in labels.values():
        for peer in ("docker", "podman"):
            if samples.get(f"{peer}, {label}"):
                ratio = statistics.median(samples[f"{peer}, {label}"]) / statistics.median(samples[f"skiff, {label}"])
                print(f"skiff is {ratio:.1f} x faster than {peer} ({label})")


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


def hide_unified_cgroups():
    """crun and podman refuse a hybrid layout whose v2 part has a controller. In a mount namespace of our own it is covered up; the
    machine's is left alone."""
    if "BENCH_NAMESPACE" not in os.environ:
        os.environ["BENCH_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv)
    unified = pathlib.Path("/sys/fs/cgroup/unified")
    if unified.is_dir():
        subprocess.run(["mount", "-t", "tmpfs", "none", unified], check=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("what", choices=["start", "net", "pull", "push"])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=8, help="interleaved rounds (default 8)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="skiff and the floor only")
    parser.add_argument("--megabytes", type=int, default=606, help="pull, push: size of the image, unpacked")
    parser.add_argument("--files", type=int, default=25000, help="pull, push: number of its files")
    parser.add_argument("--images", help="pull: keep the images in this directory, and take them from there next time")
    arguments = parser.parse_args()
    if arguments.what == "pull":
        import bench_pull
        hide_unified_cgroups()
        return bench_pull.run(arguments)
    if arguments.what == "push":
        import bench_push
        hide_unified_cgroups()
        return bench_push.run(arguments)
    build = pathlib.Path(arguments.build).resolve()
    if arguments.what == "net":
        import bench_net  # which imports this file
        bench_net.report(build, arguments.rounds, arguments.peers)
        return
    hide_unified_cgroups()
    work = pathlib.Path(tempfile.mkdtemp(prefix="skiff-bench."))
    (work / "run").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", work / "run"], check=True)
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
        floor = [build / "tests/bench/floor", root, work / "floor"]
        report("one after another", *measure(rows, floor, arguments.rounds))
        report(f"after {PAUSE_S} s of rest", *measure_cold(rows, floor, arguments.rounds * 3))
        times = {engine.name: detached_forty(engine) for engine in engines}
        if "docker" in times:
            print(f"40 detached: skiff is {times['docker'] / times['skiff']:.1f} x faster than docker")
    finally:
        for engine in engines:
            engine.stop()
        subprocess.run(["umount", "--lazy", work / "run"], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
