"""kill -9 of skiffd at any moment loses nothing: containers run on, logs have no gap, exits are known afterwards."""
import contextlib
import json
import os
import pathlib
import random
import signal
import sqlite3
import threading
import time

from engine import wait_until


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def import_busybox(engine, rootfs):
    engine.import_image(rootfs)


def test_containers_outlive_the_engine(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    import_busybox(engine, busybox_rootfs)
    counting = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    engine.docker("run", "-d", "--name", "counter", "busybox", "sh", "-c", counting)
    engine.docker("run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 1; exit 33")
    engine.docker("run", "-d", "-it", "--name", "shell", "busybox", "sh")
    pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", "counter").stdout)
    engine.kill9()
    died = time.time()
    time.sleep(2)
    assert alive(pid)
    engine.start()
    assert int(engine.docker("inspect", "-f", "{{.State.Pid}}", "counter").stdout) == pid
    state = engine.api("GET", "/containers/short/json")[2]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 33)
    finished = time.mktime(time.strptime(state["FinishedAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert died - 1 <= finished <= died + 2
    numbers = [int(n) for n in engine.docker("logs", "counter").stdout.split()]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 80
    assert engine.docker("exec", "counter", "echo", "hello").stdout == "hello\n"
    assert "counter" in engine.docker("ps").stdout
    assert engine.docker("exec", "shell", "echo", "there").stdout == "there\n"
    waited = []
    waiter = threading.Thread(target=lambda: waited.append(engine.docker("wait", "counter").stdout.strip()))
    waiter.start()
    time.sleep(0.2)
    engine.docker("stop", "-t", "1", "counter")
    waiter.join(10)
    assert waited and waited[0] in ("137", "143")
    engine.docker("rm", "-f", "counter", "short", "shell")


def test_removed_on_exit_even_when_the_exit_was_in_the_gap(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    import_busybox(engine, busybox_rootfs)
    engine.docker("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1")
    engine.kill9()
    time.sleep(1.5)
    engine.start()
    wait_until(lambda: not engine.docker("ps", "-aq").stdout.strip())
    wait_until(lambda: not engine.container_ids())


def test_state_is_consistent_after_kills_at_random_points(fresh_engine, busybox_rootfs):
    """200 kills in the midst of create, start, stop and remove; every container listed afterwards can be inspected and
    removed, every shim belongs to a listed container, and no directory is left."""
    engine = fresh_engine
    import_busybox(engine, busybox_rootfs)
    chance = random.Random(7)
    for cycle in range(200):
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                try:
                    status, _, made = engine.api("POST", "/containers/create",
                                                 {"Image": "busybox", "Cmd": ["sleep", "100"]}, timeout=10)
                    if status != 201:
                        continue
                    engine.api("POST", f"/containers/{made['Id']}/start", timeout=10)
                    engine.api("POST", f"/containers/{made['Id']}/stop?t=0", timeout=10)
                    engine.api("DELETE", f"/containers/{made['Id']}?force=1", timeout=10)
                except (OSError, ValueError, EOFError):
                    return
                except Exception as error:  # http.client's own
                    if type(error).__module__ == "http.client":
                        return
                    raise

        worker = threading.Thread(target=churn)
        worker.start()
        time.sleep(chance.uniform(0.0, 0.08))
        os.kill(engine.pid, signal.SIGKILL)
        engine.process.wait(10)
        stop.set()
        worker.join(15)
        engine.start()
        status, _, listed = engine.api("GET", "/containers/json?all=1")
        assert status == 200
        for container in listed:
            assert engine.api("GET", f"/containers/{container['Id']}/json")[0] == 200, (cycle, engine.log())
            removed = engine.api("DELETE", f"/containers/{container['Id']}?force=1")
            assert removed[0] in (204, 404, 409), (cycle, removed, engine.log())
    wait_until(lambda: engine.api("GET", "/containers/json?all=1")[2] == [])
    wait_until(lambda: not engine.container_ids())
    wait_until(lambda: [p for p in engine.leftover_pids() if p != engine.pid] == [])
    assert engine.docker("run", "--rm", "busybox", "echo", "still good").stdout == "still good\n"


def cgroups_of(container):
    return list(pathlib.Path("/sys/fs/cgroup").glob(f"*/skiff/{container}/"))


def shim_of(engine, container):
    shims = [p for p in engine.leftover_pids() if p != engine.pid
             and container in pathlib.Path(f"/proc/{p}/cmdline").read_text()]
    assert len(shims) == 1
    return shims[0]


def assert_was_killed(engine, container, pid):
    wait_until(lambda: engine.api("GET", f"/containers/{container}/json")[2]["State"]["Status"] == "exited")
    state = engine.api("GET", f"/containers/{container}/json")[2]["State"]
    assert state["ExitCode"] == 137 and "monitor" in state["Error"] and state["FinishedAt"] > state["StartedAt"] > "2"
    wait_until(lambda: not alive(pid) or state_letter(pid) == "Z")
    wait_until(lambda: not cgroups_of(container))


def state_letter(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return "Z"


def test_a_killed_shim_takes_its_container_along(fresh_engine, busybox_rootfs):
    """With the engine there and without; the container can be started again and removed."""
    engine = fresh_engine
    import_busybox(engine, busybox_rootfs)
    for is_engine_there in (True, False):
        container = engine.skiff("run", "-d", "busybox", "sleep", "1000").stdout.strip()
        pid = engine.api("GET", f"/containers/{container}/json")[2]["State"]["Pid"]
        shim = shim_of(engine, container)
        assert cgroups_of(container)
        if not is_engine_there:
            engine.kill9()
        os.kill(shim, signal.SIGKILL)
        if not is_engine_there:
            engine.start()
        assert_was_killed(engine, container, pid)
        if is_engine_there:
            wait_until(lambda: not pathlib.Path(f"/proc/{shim}").exists())  # reaped
        engine.restart()
        assert_was_killed(engine, container, pid)
        assert engine.api("POST", f"/containers/{container}/start")[0] == 204
        assert engine.api("GET", f"/containers/{container}/json")[2]["State"]["Error"] == ""
        assert engine.api("DELETE", f"/containers/{container}?force=1")[0] == 204
        assert not cgroups_of(container)


def test_a_record_that_makes_no_sense_is_listed_as_dead(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    import_busybox(engine, busybox_rootfs)
    container = engine.skiff("run", "-d", "--name", "odd", "busybox", "sleep", "1000").stdout.strip()
    engine.stop()
    with contextlib.closing(sqlite3.connect(engine.data_root / "meta.db")) as db:
        text = db.execute("select document from record where key = ?", (container,)).fetchone()[0]
        record = json.loads(text)
        record["hostConfig"]["PidMode"] = "of another version"
        db.execute("update record set document = ? where key = ?", (json.dumps(record), container))
        db.commit()
    engine.start()
    listed = engine.api("GET", "/containers/json?all=1")[2]
    assert [(c["Names"], c["State"]) for c in listed] == [(["/odd"], "dead")], engine.log()
    status, _, document = engine.api("GET", "/containers/odd/json")
    assert status == 200 and document["State"]["Dead"] and document["State"]["Error"]
    assert engine.api("POST", "/containers/odd/start")[0] == 409
    assert engine.api("DELETE", "/containers/odd?force=1")[0] == 204
    assert engine.api("GET", "/containers/json?all=1")[2] == []
    wait_until(lambda: not cgroups_of(container))
    wait_until(lambda: [p for p in engine.leftover_pids() if p != engine.pid] == [])
    wait_until(lambda: not engine.container_ids())


def test_a_stale_pid_file_blocks_no_start(fresh_engine):
    """Of a zombie, and of a process that is no skiffd."""
    engine = fresh_engine
    first = engine.process
    first.kill()
    wait_until(lambda: state_letter(first.pid) == "Z")
    assert int((engine.root / "skiffd.pid").read_text()) == first.pid
    engine.process = None
    engine.start()
    first.wait()
    engine.kill9()
    (engine.root / "skiffd.pid").write_text(f"{os.getpid()}\n")
    engine.start()
