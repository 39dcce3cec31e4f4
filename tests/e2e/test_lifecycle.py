"""Restart policies, health checks, --init, stop, update and --rm, also with the engine killed in the middle.

Times are measured and printed (pytest -s), and asserted only where a bound is part of the rule, with much room."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import pytest

from engine import json_lines, wait_until


def inspect(engine, name):
    status, _, document = engine.api("GET", f"/containers/{name}/json")
    return document if status == 200 else None


def state(engine, name):
    return inspect(engine, name)["State"]


def status(engine, name):
    document = inspect(engine, name)
    return document["State"]["Status"] if document else None


def await_status(engine, name, wanted, timeout=20):
    wait_until(lambda: status(engine, name) == wanted, timeout=timeout)


def events_of(engine, name, since):
    query = json.dumps({"container": [name]}, separators=(",", ":"))
    body = engine.api("GET", f"/events?since={since:.9f}&until={time.time():.9f}&filters={query}")[2]
    return json_lines(body) if body else []


def actions_of(engine, name, since):
    return [e["Action"] for e in events_of(engine, name, since)]


def create(engine, name, command, host=None, **config):
    body = {"Image": "busybox", "Cmd": command, "HostConfig": host or {}, **config}
    code, _, answer = engine.api("POST", f"/containers/create?name={name}", body=body)
    assert code == 201, answer
    return answer["Id"]


def start(engine, name):
    code, _, answer = engine.api("POST", f"/containers/{name}/start")
    assert code == 204, answer


def runs(engine, name):
    """How often the command began: it says so on its first line."""
    return engine.docker("logs", name).stdout.count("begin")


# --- restart policies

def test_on_failure_counts_and_gives_up(engine, busybox):
    since = time.time()
    engine.docker("run", "-d", "--name", "failing", "--restart", "on-failure:3", busybox, "sh", "-c", "echo begin; exit 3")
    wait_until(lambda: runs(engine, "failing") == 4 and status(engine, "failing") == "exited", timeout=20)
    document = inspect(engine, "failing")
    assert (document["RestartCount"], document["State"]["ExitCode"]) == (3, 3)
    events = [e for e in events_of(engine, "failing", since) if e["Action"] in ("start", "die")]
    assert [e["Action"] for e in events] == ["start", "die"] * 4
    pauses = [(b["timeNano"] - a["timeNano"]) / 1e6 for a, b in zip(events[1::2], events[2::2])]
    print("pause between die and start, ms (100, 200, 400 by rule):", [round(p, 1) for p in pauses])
    assert all(pause >= rule * 0.95 for pause, rule in zip(pauses, (100, 200, 400)))


def test_on_failure_lets_success_be(engine, busybox):
    engine.docker("run", "-d", "--name", "fine", "--restart", "on-failure", busybox, "true")
    await_status(engine, "fine", "exited")
    time.sleep(0.5)
    assert (status(engine, "fine"), inspect(engine, "fine")["RestartCount"]) == ("exited", 0)


def test_always_restarts_and_shows_it(engine, busybox):
    engine.docker("run", "-d", "--name", "again", "--restart", "always", busybox, "sh", "-c", "echo begin; exit 0")
    wait_until(lambda: inspect(engine, "again")["RestartCount"] >= 4)
    wait_until(lambda: state(engine, "again")["Restarting"])
    shown = state(engine, "again")
    assert (shown["Status"], shown["Running"], shown["Pid"]) == ("restarting", True, 0)
    assert "Restarting (0)" in engine.docker("ps", "--format", "{{.Status}}", "--filter", "status=restarting").stdout
    code, _, answer = engine.api("DELETE", "/containers/again")
    assert code == 409 and "stop the container before removing or force remove" in answer["message"]
    assert engine.api("POST", "/containers/again/start")[0] == 304
    code, _, answer = engine.api("POST", "/containers/again/exec", body={"Cmd": ["true"]})
    assert code == 409
    engine.docker("stop", "again")
    count = runs(engine, "again")
    time.sleep(1)
    assert (status(engine, "again"), runs(engine, "again")) == ("exited", count)
    engine.docker("start", "again")
    assert inspect(engine, "again")["RestartCount"] <= 1
    engine.docker("rm", "-f", "again")
    time.sleep(0.5)
    assert status(engine, "again") is None


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_wished_end_is_final(engine, busybox, how):
    engine.docker("run", "-d", "--name", "wished", "--restart", "always", busybox, "sleep", "1000")
    engine.docker(how, "wished")
    await_status(engine, "wished", "exited")
    time.sleep(0.5)
    assert status(engine, "wished") == "exited"


def test_an_end_from_inside_is_not_wished(engine, busybox):
    engine.docker("run", "-d", "--name", "crash", "--restart", "unless-stopped", busybox, "sleep", "1000")
    began = time.monotonic()
    os.kill(state(engine, "crash")["Pid"], signal.SIGKILL)
    wait_until(lambda: inspect(engine, "crash")["RestartCount"] == 1 and status(engine, "crash") == "running")
    print(f"killed from outside to running again: {(time.monotonic() - began) * 1000:.0f} ms (100 by rule)")


def test_restart_by_request_keeps_policy_and_rm(engine, busybox):
    engine.docker("run", "-d", "--name", "kept", "--rm", busybox, "sleep", "1000")
    engine.docker("restart", "kept")
    assert status(engine, "kept") == "running"
    engine.docker("kill", "kept")
    wait_until(lambda: status(engine, "kept") is None)
    engine.docker("run", "-d", "--name", "policy", "--restart", "always", busybox, "sleep", "1000")
    engine.docker("restart", "policy")
    os.kill(state(engine, "policy")["Pid"], signal.SIGKILL)
    wait_until(lambda: inspect(engine, "policy")["RestartCount"] == 1 and status(engine, "policy") == "running")


def test_conflicts_are_refused_in_dockers_words(engine, busybox):
    cases = [({"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
              "can't create 'AutoRemove' container with restart policy"),
             ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}},
              "maximum retry count can only be used with 'on-failure'"),
             ({"Annotations": {"skiff.on-unhealthy": "shout"}}, "skiff.on-unhealthy")]
    for host, message in cases:
        code, _, answer = engine.api("POST", "/containers/create", body={"Image": "busybox", "Cmd": ["true"], "HostConfig": host})
        assert (code, message in answer["message"]) == (400, True), answer


def test_a_restart_that_cannot_start_is_the_last(engine, busybox, tmp_path):
    source = tmp_path / "mounted"
    source.mkdir()
    mount = {"Type": "bind", "Source": str(source), "Target": "/m"}
    create(engine, "broken", ["sleep", "1"], {"RestartPolicy": {"Name": "always"}, "Mounts": [mount]})
    start(engine, "broken")
    source.rmdir()
    os.kill(state(engine, "broken")["Pid"], signal.SIGKILL)
    await_status(engine, "broken", "exited")
    assert state(engine, "broken")["Error"]


# --- with the engine killed

def own_engine(make_engine, rootfs, *options):
    engine = make_engine(*options)
    engine.import_image(rootfs)
    return engine


def test_policies_after_kill_9(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    for name, policy in (("always", "always"), ("unless", "unless-stopped"), ("failure", "on-failure:5"),
                         ("stopped", "unless-stopped"), ("halted", "always"), ("none", "no"), ("runs", "always")):
        engine.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
    engine.docker("create", "--name", "fresh", "--restart", "always", "busybox", "sleep", "1000")
    engine.docker("stop", "-t", "1", "stopped", "halted")
    pids = {name: state(engine, name)["Pid"] for name in ("always", "unless", "failure", "none", "runs")}
    engine.kill9()
    for name in ("always", "unless", "failure", "none"):
        os.kill(pids[name], signal.SIGKILL)
    for name in ("always", "unless", "failure", "none"):
        wait_until(lambda name=name: not pathlib.Path(f"/proc/{pids[name]}").exists())
    began = time.monotonic()
    engine.start()
    for name in ("always", "unless", "failure", "halted"):
        await_status(engine, name, "running")
    print(f"four restarts after the start of the engine: {(time.monotonic() - began) * 1000:.0f} ms")
    assert (status(engine, "stopped"), status(engine, "fresh")) == ("exited", "created")
    assert (status(engine, "none"), state(engine, "none")["ExitCode"]) == ("exited", 137)
    assert state(engine, "runs")["Pid"] == pids["runs"]
    assert inspect(engine, "failure")["RestartCount"] == 1


def test_a_pending_restart_survives_kill_9(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "loop", "--restart", "on-failure:8", "busybox", "sh", "-c", "echo begin; exit 1")
    for _ in range(3):
        time.sleep(0.25)
        engine.kill9()
        engine.start()
    wait_until(lambda: status(engine, "loop") == "exited" and inspect(engine, "loop")["RestartCount"] == 8, timeout=60)
    assert runs(engine, "loop") in (9, 10)  # a start that was just being begun may have been counted, or not


def test_a_stop_survives_kill_9_in_its_middle(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "slow", "--restart", "unless-stopped", "busybox", "sh", "-c",
                  "trap 'sleep 1; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    wait_until(lambda: "ready" in engine.docker("logs", "slow").stdout)
    stopping = threading.Thread(target=lambda: engine.docker("stop", "slow", check=False))
    since = time.time()
    stopping.start()
    wait_until(lambda: "kill" in actions_of(engine, "slow", since))
    engine.kill9()
    stopping.join()
    time.sleep(1.5)
    engine.start()
    time.sleep(0.5)
    assert (status(engine, "slow"), state(engine, "slow")["ExitCode"]) == ("exited", 0)


def test_policies_after_a_reboot(make_engine, busybox_rootfs):
    """A reboot as far as the engine can tell: everything is gone but the data root."""
    engine = own_engine(make_engine, busybox_rootfs)
    for name, policy in (("always", "always"), ("unless", "unless-stopped"), ("failure", "on-failure"),
                         ("stopped", "unless-stopped")):
        engine.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
    engine.docker("create", "--name", "fresh", "--restart", "always", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "gone", "--rm", "busybox", "sleep", "1000")
    engine.docker("stop", "stopped")
    time.sleep(0.3)  # what the database learns of a start, it learns a moment later
    engine.kill9()
    for pid in engine.leftover_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not engine.leftover_pids())
    engine.remove_cgroups()
    shutil.rmtree(engine.exec_root)
    engine.start()
    for name in ("always", "unless", "failure"):
        await_status(engine, name, "running")
    assert (status(engine, "stopped"), status(engine, "fresh"), status(engine, "gone")) == ("exited", "created", None)


def test_ended_by_a_reboot_without_a_policy(make_engine, busybox_rootfs):
    """It ran, so it is not shown as created: exited, with the time it had been started; what had ended before is as it was."""
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "again", "busybox", "sh", "-c", "test -e /x && sleep 1000; touch /x; exit 3")
    await_status(engine, "again", "exited")
    engine.docker("start", "again")
    await_status(engine, "again", "running")
    engine.docker("run", "--name", "ended", "busybox", "sh", "-c", "exit 4", check=False)
    engine.docker("create", "--name", "fresh", "busybox", "true")
    time.sleep(0.3)  # the end of "ended" is on record a moment later
    started = {name: state(engine, name)["StartedAt"] for name in ("first", "again", "ended")}
    ended = state(engine, "ended")["FinishedAt"]
    engine.kill9()
    for pid in engine.leftover_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not engine.leftover_pids())
    engine.remove_cgroups()
    shutil.rmtree(engine.exec_root)
    for _ in range(2):  # and it stays so
        engine.start()
        shown = {name: state(engine, name) for name in ("first", "again", "ended", "fresh")}
        assert [(s["Status"], s["ExitCode"]) for s in shown.values()] == [("exited", 255), ("exited", 255), ("exited", 4),
                                                                         ("created", 0)]
        assert {name: shown[name]["StartedAt"] for name in started} == started
        assert shown["first"]["FinishedAt"] > started["first"] and shown["ended"]["FinishedAt"] == ended
        engine.stop()
    engine.start()
    engine.docker("start", "first")
    await_status(engine, "first", "running")


def test_namespace_joiners_are_restarted_after_their_owner(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "owner", "--restart", "always", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "joiner", "--restart", "always", "--network", "container:owner", "busybox",
                  "sleep", "1000")
    pids = [state(engine, name)["Pid"] for name in ("owner", "joiner")]
    engine.kill9()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids))
    engine.start()
    await_status(engine, "owner", "running")
    await_status(engine, "joiner", "running")


@pytest.mark.parametrize("ending", ["exit", "kill", "gap"])
def test_rm_under_every_ending(make_engine, busybox_rootfs, ending):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "1000")
    identity = inspect(engine, "brief")["Id"]
    pid = state(engine, "brief")["Pid"]
    if ending == "exit":
        os.kill(pid, signal.SIGKILL)
        engine.kill9()  # whatever it has come to by now
        engine.start()
    elif ending == "kill":
        engine.docker("kill", "brief")
    else:
        engine.kill9()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists())
        engine.start()
    wait_until(lambda: status(engine, "brief") is None)
    wait_until(lambda: identity not in engine.directory_ids())


def test_rm_after_a_failed_start(engine, busybox):
    done = engine.docker("run", "--rm", "--name", "nope", busybox, "/no/such/program", check=False)
    assert done.returncode == 127
    wait_until(lambda: status(engine, "nope") is None)


def test_out_of_memory_is_told(engine, busybox):
    since = time.time()
    hungry = ["sh", "-c", "exec tail /dev/zero"]
    create(engine, "hungry", hungry, {"Memory": 16 << 20, "MemorySwap": 16 << 20})
    start(engine, "hungry")
    await_status(engine, "hungry", "exited")
    shown = state(engine, "hungry")
    assert (shown["OOMKilled"], shown["ExitCode"]) == (True, 137)
    assert "oom" in actions_of(engine, "hungry", since)
    create(engine, "greedy", hungry, {"Memory": 16 << 20, "MemorySwap": 16 << 20, "AutoRemove": True})
    start(engine, "greedy")
    wait_until(lambda: status(engine, "greedy") is None)


def test_out_of_memory_is_told_while_the_container_lives(make_engine, busybox_rootfs):
    """A victim that is not process 1: the event comes at once, and a later engine hears of what none listened to, once."""
    engine = own_engine(make_engine, busybox_rootfs)
    since = time.time()
    create(engine, "tough", ["sh", "-c", "while :; do test -e /go && rm /go && tail /dev/zero; sleep 0.05; done"],
           {"Memory": 16 << 20, "MemorySwap": 16 << 20})
    start(engine, "tough")
    told = lambda: actions_of(engine, "tough", since).count("oom")
    provoke = lambda: engine.docker("exec", "tough", "touch", "/go")
    kills = lambda: oom_kills(engine, "tough")
    provoke()
    wait_until(lambda: kills() == 1 and told() == 1)
    assert (status(engine, "tough"), state(engine, "tough")["OOMKilled"]) == ("running", True)
    engine.docker("exec", "-d", "tough", "sh", "-c", "sleep 1; touch /go")
    cgroup = oom_file(engine, "tough")
    engine.kill9()
    wait_until(lambda: count_kills(cgroup) == 2)
    since = time.time()
    engine.start()
    wait_until(lambda: told() == 1)
    assert (status(engine, "tough"), state(engine, "tough")["OOMKilled"]) == ("running", True)
    engine.docker("kill", "tough")
    await_status(engine, "tough", "exited")
    assert told() == 1


def oom_file(engine, name):
    pid = state(engine, name)["Pid"]
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return pathlib.Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return pathlib.Path(f"/sys/fs/cgroup{path}/memory.events")


def count_kills(file):
    return int(next(line.split()[1] for line in file.read_text().splitlines() if line.startswith("oom_kill ")))


def oom_kills(engine, name):
    return count_kills(oom_file(engine, name))


# --- health

def health(engine, name):
    return state(engine, name).get("Health")


def test_health_from_starting_to_unhealthy_and_back(engine, busybox):
    since = time.time()
    engine.docker("run", "-d", "--name", "patient", "--health-cmd", "echo looked; test -e /well", "--health-interval", "200ms",
                  "--health-retries", "2", busybox, "sleep", "1000")
    assert health(engine, "patient")["Status"] == "starting"
    assert "(health: starting)" in engine.docker("ps", "--format", "{{.Status}}", "--filter", "name=patient").stdout
    wait_until(lambda: health(engine, "patient")["Status"] == "unhealthy")
    assert "(unhealthy)" in engine.docker("ps", "--format", "{{.Status}}", "--filter", "health=unhealthy").stdout
    began = time.monotonic()
    engine.docker("exec", "patient", "touch", "/well")
    wait_until(lambda: health(engine, "patient")["Status"] == "healthy")
    print(f"cure to healthy: {(time.monotonic() - began) * 1000:.0f} ms (an interval of 200 ms and a probe)")
    assert engine.docker("ps", "-q", "--filter", "health=starting", "--filter", "name=patient").stdout == ""
    wait_until(lambda: len(health(engine, "patient")["Log"]) == 5)
    shown = health(engine, "patient")
    assert shown["FailingStreak"] == 0 and shown["Log"][-1]["ExitCode"] == 0 and shown["Log"][-1]["Output"] == "looked\n"
    actions = actions_of(engine, "patient", since)
    assert [a for a in actions if a.startswith("health_status")] == ["health_status: unhealthy", "health_status: healthy"]
    assert "exec_create: /bin/sh -c echo looked; test -e /well" in actions
    intervals = [e["timeNano"] for e in events_of(engine, "patient", since) if e["Action"].startswith("exec_start") and "looked" in e["Action"]]
    print("between probes, ms:", [round((b - a) / 1e6) for a, b in zip(intervals, intervals[1:])])


def test_probes_leave_no_execs(engine, busybox):
    engine.docker("run", "-d", "--name", "watched", "--health-cmd", "true", "--health-interval", "10ms", busybox, "sleep", "1000")
    wait_until(lambda: len(health(engine, "watched")["Log"]) == 5)
    time.sleep(1)
    assert len(inspect(engine, "watched")["ExecIDs"] or []) <= 1


def test_a_late_probe_is_killed(engine, busybox):
    engine.docker("run", "-d", "--name", "late", "--health-cmd", "echo soon; exec sleep 777", "--health-interval", "50ms",
                  "--health-timeout", "300ms", "--health-retries", "1", busybox, "sleep", "1000")
    wait_until(lambda: health(engine, "late")["Status"] == "unhealthy")
    entry = health(engine, "late")["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "Health check exceeded timeout (300ms): soon\n")
    assert engine.docker("top", "late").stdout.count("sleep 777") <= 1


def test_output_of_a_probe_is_bounded(engine, busybox):
    engine.docker("run", "-d", "--name", "talks", "--health-cmd", "yes | head -c 100000", "--health-interval", "50ms", busybox,
                  "sleep", "1000")
    wait_until(lambda: health(engine, "talks")["Log"])
    output = health(engine, "talks")["Log"][0]["Output"]
    assert len(output) == 4096 + 3 and output.endswith("...")


def test_a_command_that_is_not_there(engine, busybox):
    create(engine, "lost", ["sleep", "1000"], Healthcheck={"Test": ["CMD", "/no/such"], "Interval": 50_000_000, "Retries": 1})
    start(engine, "lost")
    wait_until(lambda: health(engine, "lost")["Status"] == "unhealthy")
    entry = health(engine, "lost")["Log"][0]
    assert entry["ExitCode"] == -1 and "no such file" in entry["Output"]


def test_the_images_check_and_its_refusal(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    engine.import_image(busybox_rootfs, "checked:latest", changes=('CMD ["sleep","1000"]', "HEALTHCHECK --interval=100ms CMD true"))
    engine.docker("run", "-d", "--name", "image", "checked")
    wait_until(lambda: health(engine, "image")["Status"] == "healthy")
    engine.docker("run", "-d", "--name", "refused", "--no-healthcheck", "checked")
    engine.skiff("run", "-d", "--name", "refused2", "--no-healthcheck", "checked")
    engine.docker("run", "-d", "--name", "slower", "--health-interval", "1h", "checked")
    assert inspect(engine, "slower")["Config"]["Healthcheck"]["Test"][0] == "CMD-SHELL"
    time.sleep(0.5)
    assert health(engine, "refused") is None and health(engine, "refused2") is None
    assert health(engine, "slower")["Status"] == "starting"
    assert "refused" in engine.docker("ps", "--filter", "health=none", "--format", "{{.Names}}").stdout.split()


def test_bad_checks_are_refused(engine, busybox):
    for member in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        body = {"Image": "busybox", "Cmd": ["true"], "Healthcheck": {"Test": ["CMD", "true"], member: 1000}}
        code, _, answer = engine.api("POST", "/containers/create", body=body)
        assert (code, answer["message"]) == (400, f"{member} in Healthcheck cannot be less than 1ms")


def test_health_survives_kill_9(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "patient", "--health-cmd", "test -e /well", "--health-interval", "200ms",
                  "--health-retries", "2", "busybox", "sleep", "1000")
    wait_until(lambda: health(engine, "patient")["Status"] == "unhealthy")
    streak = health(engine, "patient")["FailingStreak"]
    engine.kill9()
    engine.start()
    shown = health(engine, "patient")
    assert shown["Status"] == "unhealthy" and shown["FailingStreak"] >= streak and shown["Log"]
    engine.docker("exec", "patient", "touch", "/well")
    wait_until(lambda: health(engine, "patient")["Status"] == "healthy")


def test_a_probe_of_the_killed_engine_is_ended(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "hangs", "--health-cmd", "exec sleep 777", "--health-interval", "100ms", "busybox",
                  "sleep", "1000")
    probes = lambda: engine.docker("top", "hangs").stdout.count("sleep 777")  # noqa: E731
    for _ in range(2):
        wait_until(lambda: probes() == 1)
        engine.kill9()
        engine.start()
    wait_until(lambda: probes() == 1)
    time.sleep(0.5)
    assert probes() == 1


def test_what_the_killed_engine_did_not_come_to(make_engine, busybox_rootfs):
    """It had told that a container is unhealthy, and was killed before it did anything about that."""
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("run", "-d", "--name", "sick", "--annotation", "skiff.on-unhealthy=stop", "--health-cmd", "test -e /well",
                  "--health-interval", "1h", "busybox", "sleep", "1000")
    identity = inspect(engine, "sick")["Id"]
    engine.kill9()
    (engine.exec_root / identity / "health.json").write_text('{"Status":"unhealthy","FailingStreak":3,"Log":[]}')
    engine.start()
    await_status(engine, "sick", "exited")


@pytest.mark.parametrize("action", ["restart", "stop", "kill"])
def test_what_is_done_about_the_unhealthy(engine, busybox, action):
    since = time.time()
    engine.skiff("run", "-d", "--name", "sick", "--restart", "on-failure", "--on-unhealthy", action, "--health-cmd",
                 "false", "--health-interval", "200ms", "--health-retries", "2", busybox, "sh", "-c", "echo begin; exec sleep 1000")
    assert inspect(engine, "sick")["HostConfig"]["Annotations"] == {"skiff.on-unhealthy": action}
    if action == "stop":
        await_status(engine, "sick", "exited")
        time.sleep(0.5)
        assert (status(engine, "sick"), inspect(engine, "sick")["RestartCount"]) == ("exited", 0)
    else:  # a kill is a failure, so the policy restarts it
        wait_until(lambda: inspect(engine, "sick")["RestartCount"] >= 1 and runs(engine, "sick") >= 2)
    events = events_of(engine, "sick", since)
    told = next(e["timeNano"] for e in events if e["Action"] == "health_status: unhealthy")
    done = next(e["timeNano"] for e in events if e["Action"] == ("kill" if action != "restart" else "start") and e["timeNano"] > told)
    print(f"unhealthy to {'start' if action == 'restart' else 'signal'}: {(done - told) / 1e6:.1f} ms")


def test_on_unhealthy_through_dockers_client(engine, busybox):
    engine.docker("run", "-d", "--name", "sick", "--annotation", "skiff.on-unhealthy=restart", "--health-cmd", "false",
                  "--health-interval", "100ms", "--health-retries", "1", busybox, "sleep", "1000")
    wait_until(lambda: inspect(engine, "sick")["RestartCount"] >= 1)
    assert engine.skiff("run", "--on-unhealthy", "pray", busybox, check=False).returncode == 125


def test_one_thread_for_all(make_engine, busybox_rootfs):
    """Ten containers with checks cost one thread, and none costs none."""
    engine = own_engine(make_engine, busybox_rootfs)
    count = lambda: len(os.listdir(f"/proc/{engine.pid}/task"))  # noqa: E731
    engine.docker("run", "-d", "busybox", "sleep", "1000")
    # main, monitor, janitor, checkpoint, spares, images' keeper, the firewall's and skiff-netd's watchers
    wait_until(lambda: count() <= 8)
    before = count()
    for _ in range(10):
        engine.docker("run", "-d", "--health-cmd", "true", "--health-interval", "1h", "busybox", "sleep", "1000")
    wait_until(lambda: count() <= before + 1)


# --- init

def test_init_reaps_and_forwards(engine, busybox):
    engine.docker("run", "-d", "--name", "parent", "--init", busybox, "sh", "-c",
                  "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    wait_until(lambda: "ready" in engine.docker("logs", "parent").stdout)
    engine.docker("exec", "parent", "sh", "-c", "(sleep 0.2 & sleep 0.01) & sleep 0.05")
    time.sleep(0.5)
    listing = engine.docker("exec", "parent", "ps", "-o", "pid,stat,args").stdout
    assert "/sbin/docker-init -- sh" in listing and " Z" not in listing
    engine.docker("stop", "parent")
    assert state(engine, "parent")["ExitCode"] == 9
    assert "asked" in engine.docker("logs", "parent").stdout


def test_init_passes_exit_codes_on(engine, busybox):
    for command, code in ((["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["no-such"], 127), (["/etc"], 126)):
        assert engine.docker("run", "--rm", "--init", busybox, *command, check=False).returncode == code


def test_init_cannot_be_changed_from_inside(engine, busybox):
    program = engine.bin / "skiff-init"
    before = program.read_bytes(), program.stat().st_mode, program.stat().st_mtime
    script = ("mount -o remount,rw,bind /sbin/docker-init 2>/dev/null; for f in /sbin/docker-init /proc/1/exe; do (echo evil > $f) 2>/dev/null && echo written; done; "
              "chmod 777 /sbin/docker-init 2>/dev/null && echo changed; rm -f /sbin/docker-init 2>/dev/null && echo removed; "
              "mv /sbin/docker-init /sbin/other 2>/dev/null && echo moved; touch -d 2001-01-01 /sbin/docker-init 2>/dev/null "
              "&& echo dated; echo end")
    for more in ((), ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")):
        assert engine.docker("run", "--rm", "--init", *more, busybox, "sh", "-c", script).stdout == "end\n"
    assert (program.read_bytes(), program.stat().st_mode, program.stat().st_mtime) == before


def test_init_by_default_of_the_engine(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs, "--init")
    assert "docker-init" in engine.docker("run", "--rm", "busybox", "ps").stdout
    assert "docker-init" not in engine.docker("run", "--rm", "--init=false", "busybox", "ps").stdout


# --- stop

def timed_stop(engine, *arguments):
    began = time.monotonic()
    engine.docker("stop", *arguments)
    return time.monotonic() - began


def test_stop_does_not_wait_for_what_cannot_come(engine, busybox):
    """Process 1 has no handler, so the kernel throws the signal away: killed at once, not after 10 s."""
    engine.docker("run", "-d", "--name", "deaf", busybox, "sleep", "1000")
    time.sleep(1.2)
    took = timed_stop(engine, "deaf")
    print(f"stop of a process 1 without a handler: {took * 1000:.0f} ms")
    assert state(engine, "deaf")["ExitCode"] == 137 and took < 5
    engine.docker("start", "deaf")
    took = timed_stop(engine, "deaf")
    print(f"the same right after the start (a second is waited for a handler): {took * 1000:.0f} ms")
    assert state(engine, "deaf")["ExitCode"] == 137 and 0.5 < took < 6


def test_stop_waits_for_a_late_handler(engine, busybox):
    engine.docker("run", "-d", "--name", "slow", busybox, "sh", "-c",
                  "i=0; while [ $i -lt 4 ]; do i=$((i+1)); sleep 0.1; done; trap 'exit 3' TERM; while :; do sleep 0.1; done")
    timed_stop(engine, "slow")
    assert state(engine, "slow")["ExitCode"] == 3


def test_stop_lets_a_handler_take_its_time(engine, busybox):
    engine.docker("run", "-d", "--name", "busy", busybox, "sh", "-c",
                  "trap 'sleep 2; exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    wait_until(lambda: "ready" in engine.docker("logs", "busy").stdout)
    time.sleep(1)
    timed_stop(engine, "busy")
    assert state(engine, "busy")["ExitCode"] == 4
    engine.docker("start", "busy")
    time.sleep(1.5)
    assert timed_stop(engine, "-t", "1", "busy") < 8
    assert state(engine, "busy")["ExitCode"] == 137


def test_stop_believes_one_who_ignores(engine, busybox):
    """SIG_IGN is a decision of the program's: it has its time, as in Docker."""
    engine.docker("run", "-d", "--name", "stubborn", busybox, "sh", "-c", "trap '' TERM; echo ready; sleep 1000")
    wait_until(lambda: "ready" in engine.docker("logs", "stubborn").stdout)
    time.sleep(1)
    assert timed_stop(engine, "-t", "2", "stubborn") >= 1.9


def test_stop_of_one_in_sigwait(engine, busybox, tmp_path):
    """A process in sigwait takes its signals without a handler, and meanwhile they do not even show as blocked."""
    source = tmp_path / "waits.c"
    source.write_text("#include <signal.h>\n#include <unistd.h>\n"
                      "int main(void){sigset_t s;int n;sigfillset(&s);sigprocmask(SIG_BLOCK,&s,0);"
                      "sigwait(&s,&n);sleep(1);return 20;}\n")
    program = tmp_path / "waits"
    if not shutil.which("cc") or subprocess.run(["cc", "-static", "-o", program, source], check=False).returncode:
        pytest.skip("no static C program can be built here")
    engine.docker("run", "-d", "--name", "waits", "-v", f"{program}:/waits", busybox, "/waits")
    time.sleep(1.2)
    engine.docker("stop", "waits")
    assert state(engine, "waits")["ExitCode"] == 20


# --- update

def cgroup_file(engine, name, v1, v2):
    identity = inspect(engine, name)["Id"]
    root = pathlib.Path("/sys/fs/cgroup")
    controller = v1.split(".")[0]
    path = root / controller / "skiff" / identity / v1
    return (path if path.exists() else root / "skiff" / identity / v2).read_text().strip()


def test_update_of_a_running_container(engine, busybox):
    since = time.time()
    engine.docker("run", "-d", "--name", "sized", "-m", "64m", busybox, "sleep", "1000")
    assert inspect(engine, "sized")["HostConfig"]["MemorySwap"] == 128 << 20
    engine.docker("update", "-m", "256m", "--memory-swap", "512m", "--pids-limit", "17", "--cpus", "0.5", "--cpuset-cpus", "0",
                  "sized")
    host = inspect(engine, "sized")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (256 << 20, 512 << 20, 17)
    assert (host["NanoCpus"], host["CpusetCpus"]) == (500_000_000, "0")
    assert cgroup_file(engine, "sized", "memory.limit_in_bytes", "memory.max") == str(256 << 20)
    assert cgroup_file(engine, "sized", "pids.max", "pids.max") == "17"
    assert cgroup_file(engine, "sized", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert engine.docker("exec", "sized", "grep", "Cpus_allowed_list", "/proc/1/status").stdout.split()[1] == "0"
    engine.skiff("update", "-m", "32m", "--memory-swap", "32m", "--pids-limit", "-1", "sized")  # downwards: the other order
    assert cgroup_file(engine, "sized", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert cgroup_file(engine, "sized", "pids.max", "pids.max") == "max"
    assert actions_of(engine, "sized", since).count("update") == 2
    engine.docker("restart", "sized")  # and it is what the next run has
    assert cgroup_file(engine, "sized", "memory.limit_in_bytes", "memory.max") == str(32 << 20)


def test_update_before_the_first_start_and_over_kill_9(make_engine, busybox_rootfs):
    engine = own_engine(make_engine, busybox_rootfs)
    engine.docker("create", "--name", "planned", "-m", "64m", "busybox", "sleep", "1000")
    engine.docker("update", "--pids-limit", "23", "--restart", "on-failure:2", "planned")
    engine.kill9()
    engine.start()
    engine.docker("start", "planned")
    assert cgroup_file(engine, "planned", "pids.max", "pids.max") == "23"
    assert inspect(engine, "planned")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def test_update_gives_and_takes_a_policy(engine, busybox):
    engine.docker("run", "-d", "--name", "turns", busybox, "sleep", "1000")
    engine.docker("update", "--restart", "always", "turns")
    os.kill(state(engine, "turns")["Pid"], signal.SIGKILL)
    wait_until(lambda: inspect(engine, "turns")["RestartCount"] == 1 and status(engine, "turns") == "running")
    engine.skiff("update", "--restart", "no", "turns")
    os.kill(state(engine, "turns")["Pid"], signal.SIGKILL)
    await_status(engine, "turns", "exited")


def test_update_refuses_in_dockers_words(engine, busybox):
    engine.docker("run", "-d", "--name", "one", "--rm", "-m", "64m", "--cpus", "1", busybox, "sleep", "1000")
    cases = [({"RestartPolicy": {"Name": "always"}}, 409,
              "Restart policy cannot be updated because AutoRemove is enabled for the container"),
             ({"Memory": 256 << 20}, 409, "Memory limit should be smaller than already set memoryswap limit, update the "
                                          "memoryswap at the same time"),
             ({"CpuQuota": 50000}, 409, "CPU Quota cannot be updated as NanoCPUs has already been set"),
             ({"Memory": 1 << 20}, 400, "Minimum memory limit allowed is 6MB"),
             ({"RestartPolicy": {"Name": "maybe"}}, 400, "unknown policy 'maybe'"),
             ({"Devices": [{"PathOnHost": "/dev/null"}]}, 501, "Devices cannot be updated"),
             ({"Privileged": True}, 501, "Privileged cannot be updated")]
    before = inspect(engine, "one")["HostConfig"]
    for body, code, message in cases:
        got, _, answer = engine.api("POST", "/containers/one/update", body=body)
        assert (got, message in answer["message"]) == (code, True), answer
    assert inspect(engine, "one")["HostConfig"] == before
    assert engine.api("POST", "/containers/nobody/update", body={})[0] == 404
    assert engine.skiff("update", "one", check=False).returncode == 1
