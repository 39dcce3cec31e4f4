"""What is counted, not timed: nothing is left of a container that is gone, and a start costs what it costs."""
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from engine import BIN, wait_until

RUNS, LANES, LANE_RUNS = 1000, 16, 200
SYSTEM_CALLS_MAX = 1000  # of skiffd and shim and the container's init together, per start and removal


CGROUPS = f"skiff-leaks-{os.getpid()}"


def status_kb(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1))


def cgroups():
    """Those of containers, and of what is kept ready for the next ones (under names that change)."""
    return sorted(re.sub(r"/spare-\d+$", "/spare", str(p)) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/{CGROUPS}/*/"))


@pytest.fixture
def lone_engine(make_engine):
    """An engine whose cgroups are nobody else's."""
    yield make_engine("--cgroup-parent", f"/{CGROUPS}")
    for parent in pathlib.Path("/sys/fs/cgroup").glob(f"*/{CGROUPS}"):
        try:
            parent.rmdir()
        except OSError:  # the test has failed already
            pass


def descriptors(pid):
    """What each is of; numbers of sockets and the like left out."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            pass


def zombies(parent):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == parent:
            found.append(path.parent.name)
    return found


def exec_entries(engine):
    """Containers' directories below the exec root. os.walk passes over one that goes away meanwhile; Path.rglob fails."""
    return sorted(name for _, dirs, files in os.walk(engine.exec_root) for name in dirs + files
                  if re.fullmatch("[0-9a-f]{64}", name))


def footprint(engine):
    """Everything a leak would show in, by name."""
    pid = engine.pid
    links = engine.run_in_netns("ip", "-o", "link").stdout.decode()
    return drop_spare_database({
        **{f"descriptor of {name}": n for name, n in collections.Counter(descriptors(pid)).items()},
        "threads": status_kb(pid, "Threads"),
        "mounts": pathlib.Path(f"/proc/{pid}/mountinfo").read_text().count(str(engine.root)),
        "cgroups": cgroups(),
        "zombies": len(zombies(pid)),
        "links": len(links.splitlines()),
        "processes": len([p for p in engine.leftover_pids() if p != pid]),
        "containers": len(list((engine.data_root / "containers").iterdir())),
        "exec-root": len(exec_entries(engine)),
        "listed": len(engine.api("GET", "/containers/json?all=1")[2]),
    })


def drop_spare_database(shown):
    """SQLite keeps the file of a closed second connection (the checkpoints') for the next one, as closing it would drop
    the first one's locks: one spare at most, from the first checkpoint on."""
    for name in [n for n in shown if n.endswith("/meta.db")]:
        assert shown.pop(name) <= 2
    return shown


def settle(engine, before):
    """Removal goes on after the answer; wait for it, then compare."""
    deadline = time.monotonic() + 20
    while (now := footprint(engine)) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    different = {key: (before.get(key), now.get(key)) for key in before | now if now.get(key) != before.get(key)}
    assert not different, different


def run_one(engine):
    done = engine.skiff("run", "--rm", "busybox", "true", check=False)
    assert done.returncode == 0, (done.stderr, engine.log())


def test_a_thousand_runs_leave_nothing(lone_engine, busybox_rootfs):
    engine = lone_engine
    engine.import_image(busybox_rootfs)
    for _ in range(50):
        run_one(engine)
    time.sleep(1)
    before, resident = footprint(engine), status_kb(engine.pid, "VmRSS")
    for _ in range(RUNS):
        run_one(engine)
    settle(engine, before)
    grown = status_kb(engine.pid, "VmRSS") - resident
    print(f"resident memory {resident} kB, after {RUNS} runs {grown:+d} kB")
    assert grown < 1024, f"resident memory grew by {grown} kB"
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lambda _: run_one(engine), range(LANE_RUNS)))
    settle(engine, before)
    rows = subprocess.run(["/usr/bin/python3", "-c",
                           "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("
                           "'select count(*) from record where kind = \"containers\"').fetchone()[0])", str(engine.data_root / "meta.db")],
                          capture_output=True, text=True, check=True).stdout.strip()
    assert rows == "0"


def pss_kb(pid, kind="Pss"):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{kind}:\s+(\d+)", text, re.M).group(1))


def test_memory_of_forty_containers(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    engine.import_image(busybox_rootfs)
    for _ in range(40):
        engine.skiff("run", "-d", "busybox", "sleep", "1000")
    time.sleep(1)
    shims = [pid for pid in engine.leftover_pids()
             if pid != engine.pid and os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "skiff-shim"]
    assert len(shims) == 40
    # The second is its own; the first depends on who else has the libraries' pages, and holds for an engine alone.
    print(f"engine: PSS {pss_kb(engine.pid)} kB, of that its own {pss_kb(engine.pid, 'Pss_Anon')} kB")
    assert pss_kb(engine.pid) <= 8 * 1024 and pss_kb(engine.pid, "Pss_Anon") <= 3 * 1024
    assert max(pss_kb(pid) for pid in shims) <= 300


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_system_calls_of_a_start(fresh_engine, busybox_rootfs, tmp_path):
    engine = fresh_engine
    engine.import_image(busybox_rootfs)
    for _ in range(3):
        run_one(engine)
    trace = tmp_path / "trace"
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", trace, "-p", str(engine.pid)], stderr=subprocess.PIPE)
    time.sleep(1)
    runs = 5
    for _ in range(runs):
        run_one(engine)
    time.sleep(1)
    strace.terminate()
    strace.wait(10)
    calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines() if " " in line]
    calls = [call for call in calls if re.match(r"[a-z]\w*\(", call)]
    syncs = [call for call in calls if re.match(r"(fsync|fdatasync|sync|syncfs)\(", call)]
    assert not syncs
    print(f"{len(calls) / runs:.0f} system calls a start and removal, with what is made ready for the next")
    assert len(calls) / runs <= SYSTEM_CALLS_MAX, f"{len(calls) / runs:.0f} system calls a start"
