"""What networks cost, skiff beside docker in one run: starts, published ports, names, throughput.

Each engine is in a network namespace of its own; clients that need a program are run from the host inside a container's network
namespace. Medians and figures are printed; no verdict. docker gets fewer ports: it needs seconds for what skiff is asked for.
"""
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench

SERVER = "iperf3 -s"
PORTS_SKIFF, PORTS_DOCKER = 1000, 50


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def median_ms(command, rounds):
    return 1000 * statistics.median(seconds(command) for _ in range(rounds))


def row(engine, what, value):
    print(f"{engine.name:8} {what:58} {value}", flush=True)


def run(engine, *options):
    return subprocess.run(engine.client + ["run", "-d", *options, "busybox", "sleep", "100000"], capture_output=True, text=True,
                          check=True).stdout.strip()


def remove(engine, *names):
    subprocess.run(engine.client + ["rm", "-f", *names], stdout=subprocess.DEVNULL, check=True)


def inspect(engine, name):
    shown = subprocess.run(engine.client + ["inspect", name], capture_output=True, check=True).stdout
    return json.loads(shown)[0]


def starts(engine, rounds):
    base = engine.client + ["run", "--rm"]
    none = median_ms(base + ["--network", "none", "busybox", "true"], rounds)
    bridge = median_ms(base + ["busybox", "true"], rounds)
    row(engine, "start, run and remove: none, bridge, difference", f"{none:.1f} ms, {bridge:.1f} ms, {bridge - none:.1f} ms")


def timed_ports(engine, count, first=20000):
    """Beyond a start without ports."""
    def once(*options):
        start = time.perf_counter()
        name = run(engine, *options)
        took = time.perf_counter() - start
        remove(engine, name)
        return took
    plain = statistics.median(once() for _ in range(3))
    last = first + count - 1
    published = statistics.median(once("-p", f"{first}-{last}:{first}-{last}") for _ in range(3 if count > 100 else 1))
    row(engine, f"publish {count} ports on one container", f"{1000 * (published - plain):.1f} ms")


def one_more_port(engine):
    figures, names = [], []
    for many in (10, 10000):
        have = 10 if names else 0
        for first in range(20000 + have, 20000 + many, 1000):
            last = min(first + 999, 20000 + many - 1)
            names.append(run(engine, "-p", f"{first}-{last}:{first}-{last}"))
        plain, published = [], []
        for i in range(15):
            for samples, options in ((plain, ()), (published, ("-p", f"{19000 + i}:80"))):
                start = time.perf_counter()
                name = run(engine, *options)
                samples.append(time.perf_counter() - start)
                remove(engine, name)
        figures.append(1000 * (statistics.median(published) - statistics.median(plain)))
    remove(engine, *names)
    row(engine, "one more port, with 10 and with 10,000 published", f"{figures[0]:.2f} ms, {figures[1]:.2f} ms")


ASK = """
import socket, struct, sys, time
name, total, window = sys.argv[1], int(sys.argv[2]), 64
question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\\0" + struct.pack(">HH", 1, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.11", 53))
s.settimeout(2)
sent, times, lost, begin = {}, [], 0, time.perf_counter()
asked = answered = 0
while answered + lost < total:
    while asked < total and len(sent) < window:
        s.send(struct.pack(">6H", asked & 0xffff, 0x100, 1, 0, 0, 0) + question)
        sent[asked & 0xffff] = time.perf_counter()
        asked += 1
    try:
        answer = s.recv(512)
    except TimeoutError:
        lost += len(sent)
        sent.clear()
        continue
    at = sent.pop(answer[0] << 8 | answer[1], None)
    if at:
        times.append(time.perf_counter() - at)
        answered += 1
took = time.perf_counter() - begin
times.sort()
print(f"{answered / took:.0f}/s, p99 {1000 * times[len(times) * 99 // 100]:.2f} ms, {lost} lost (64 under way, one client)")
"""


def inside(engine, name):
    return ["nsenter", f"--net=/proc/{inspect(engine, name)['State']['Pid']}/ns/net"]


def names(engine, total):
    subprocess.run(engine.client + ["network", "create", "shop"], stdout=subprocess.DEVNULL, check=True)
    run(engine, "--name", "asked", "--network", "shop")
    run(engine, "--name", "asking", "--network", "shop")
    answer = subprocess.run(inside(engine, "asking") + [sys.executable, "-c", ASK, "asked", str(total)], capture_output=True, text=True,
                            check=False)
    row(engine, "DNS answers to one container", (answer.stdout or answer.stderr[-100:]).strip())
    remove(engine, "asked", "asking")
    subprocess.run(engine.client + ["network", "rm", "shop"], stdout=subprocess.DEVNULL, check=True)


def iperf(enter, address, port):
    done = subprocess.run(enter + ["iperf3", "-J", "-t", "2", "-c", address, "-p", str(port)], capture_output=True, text=True, check=False)
    try:
        return f"{json.loads(done.stdout)['end']['sum_received']['bits_per_second'] / 1e9:.1f} Gbit/s"
    except (KeyError, ValueError):
        return "failed: " + (done.stdout + done.stderr)[-80:].replace("\n", " ")


def add_neighbour(engine):
    """Another machine on the wire."""
    name = f"{engine.netns}-far"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(engine.enter + ["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", name], check=True)
    for enter, address in ((engine.enter, "192.0.2.1/24"), (["nsenter", f"--net=/run/netns/{name}"], "192.0.2.2/24")):
        subprocess.run(enter + ["ip", "addr", "add", address, "dev", "wire"], check=True)
        subprocess.run(enter + ["ip", "link", "set", "wire", "up"], check=True)
    return name


def throughput(engine):
    run(engine, "--name", "server", "-p", "5201:5201")
    run(engine, "--name", "client")
    address = inspect(engine, "server")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    server = subprocess.Popen(inside(engine, "server") + SERVER.split(), stdout=subprocess.DEVNULL)
    far = add_neighbour(engine)
    time.sleep(0.5)
    row(engine, "iperf3, container to container", iperf(inside(engine, "client"), address, 5201))
    row(engine, "iperf3, from another namespace to a published port", iperf(["nsenter", f"--net=/run/netns/{far}"], "192.0.2.1", 5201))
    row(engine, "iperf3, from 127.0.0.1 to a published port", iperf(engine.enter, "127.0.0.1", 5201))
    server.terminate()
    server.wait()
    subprocess.run(["ip", "netns", "del", far], check=True)
    remove(engine, "server", "client")


def measure(engine, is_skiff, rounds):
    starts(engine, rounds if is_skiff else 3)
    timed_ports(engine, PORTS_SKIFF if is_skiff else PORTS_DOCKER)
    if is_skiff:
        one_more_port(engine)
    names(engine, 40000 if is_skiff else 10000)
    throughput(engine)


def report(build, rounds, has_peers):
    with tempfile.TemporaryDirectory(prefix="skiff-bench-net-") as directory, \
            tempfile.TemporaryDirectory(prefix="skiff-bench-net-", dir="/dev/shm") as fast:
        work = pathlib.Path(directory)
        (work / "run").symlink_to(fast)
        archive = work / "busybox.tar"
        bench.machine.busybox_archive(archive)
        makers = [(bench.start_skiff, (build, work), True)]
        if has_peers and shutil.which("dockerd"):
            makers.append((bench.start_docker, (work,), False))
        for make, given, is_skiff in makers:
            engine = make(*given)
            try:
                if engine.wait(engine.client + ["version"]):
                    bench.import_image(engine.client, archive)
                    measure(engine, is_skiff, rounds)
                else:
                    print(f"{engine.name} did not start", file=sys.stderr)
            finally:
                engine.stop()
