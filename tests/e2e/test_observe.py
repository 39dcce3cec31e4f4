"""What one sees of containers: figures, logs and their drivers, lists, events, disk usage, attaching over a WebSocket."""

import base64
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

import pytest

from engine import UnixConnection, json_lines, make_tar, wait_until


def start(engine, *command, options=(), image="busybox"):
    """A container's id, running."""
    return engine.docker("run", "-d", *options, image, *command).stdout.strip()


def ended(engine, *command, options=(), image="busybox"):
    container = start(engine, *command, options=options, image=image)
    engine.docker("wait", container)
    return container


def log_files(engine, container):
    return sorted(p.name for p in (engine.data_root / "containers" / container).iterdir() if ".log" in p.name)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_stats_once_compared_and_streamed(engine, busybox):
    container = start(engine, "sh", "-c", "while :; do :; done", options=["-m", "64m", "--name", "spin"])
    status, _, once = engine.api("GET", "/containers/spin/stats?stream=0&one-shot=1")
    assert status == 200 and once["id"] == container and once["name"] == "/spin"
    assert once["preread"].startswith("0001-") and "system_cpu_usage" not in once["precpu_stats"]
    assert once["memory_stats"]["limit"] == 64 << 20 and 0 < once["memory_stats"]["usage"] <= 64 << 20
    assert once["memory_stats"]["stats"] and once["pids_stats"]["current"] >= 1
    assert set(once["networks"]) == {"eth0"} and once["cpu_stats"]["online_cpus"] == os.cpu_count()
    _, _, compared = engine.api("GET", "/containers/spin/stats?stream=false")
    used, before = compared["cpu_stats"], compared["precpu_stats"]
    assert used["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert used["system_cpu_usage"] > before["system_cpu_usage"] > 0
    connection = UnixConnection(engine.socket)
    connection.request("GET", "/v1.41/containers/spin/stats")
    answer = connection.getresponse()
    first, second = json.loads(answer.readline()), json.loads(answer.readline())
    assert second["preread"] == first["read"] and second["read"] > first["read"]
    engine.docker("rm", "-f", "spin")
    while answer.readline():  # the stream ends with the container
        pass
    connection.close()


def test_stats_of_what_does_not_run(engine, busybox):
    container = ended(engine, "true")
    status, _, stopped = engine.api("GET", f"/containers/{container}/stats?stream=0")
    assert status == 200 and stopped["read"].startswith("0001-") and "usage" not in stopped["memory_stats"]
    assert engine.api("GET", "/containers/nobody/stats")[0] == 404
    status, _, answer = engine.api("GET", f"/containers/{container}/stats?one-shot=1")
    assert status == 400 and answer["message"] == "cannot have stream=true and one-shot=true"


def test_stats_share_one_sampler(engine, busybox):
    start(engine, "sleep", "1000", options=["--name", "shared"])
    threads = lambda: len(os.listdir(f"/proc/{engine.pid}/task"))
    connections = []
    for _ in range(5):
        connection = UnixConnection(engine.socket)
        connection.request("GET", "/containers/shared/stats")
        connections.append((connection, connection.getresponse()))
    reads = [{json.loads(answer.readline())["read"] for _ in range(3)} for _, answer in connections]
    for a in reads[1:]:  # all are shown the same samples
        assert a & reads[0]
    busy = threads()
    for connection, _ in connections:
        connection.close()
    wait_until(lambda: threads() < busy)


def test_stats_by_both_clients(engine, busybox):
    start(engine, "sleep", "1000", options=["--name", "one"])
    ended(engine, "true", options=["--name", "gone"])
    for command in (engine.docker, engine.skiff):
        table = command("stats", "--no-stream").stdout.splitlines()
        assert re.split(r" {2,}", table[0].strip()) == ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %",
                                                        "NET I/O", "BLOCK I/O", "PIDS"]
        assert [re.split(r" {2,}", line)[1] for line in table[1:]] == ["one"]
        every = command("stats", "--no-stream", "--all", "--format", "{{.Name}} {{.PIDs}}").stdout.split("\n")
        assert {"one 1", "gone 0"} <= set(every)
    row = json.loads(engine.skiff("stats", "--no-stream", "--no-trunc", "--format", "json", "one").stdout)
    assert row["Name"] == row["Container"] == "one" and len(row["ID"]) == 64 and row["CPUPerc"].endswith("%")
    failed = engine.skiff("stats", "--no-stream", "nobody", check=False)
    assert failed.returncode == 1 and "No such container: nobody" in failed.stderr


def test_metrics(make_engine, busybox_rootfs):
    engine = make_engine("--metrics-addr", "127.0.0.1:9323")
    engine.import_image(busybox_rootfs)
    start(engine, "sleep", "1000", options=["--name", "seen"])
    text = engine.run_in_netns("python3", "-c", "import urllib.request as u; r = u.urlopen('http://127.0.0.1:9323/metrics');"
                               "print(r.headers['Content-Type']); print(r.read().decode())").stdout.decode()
    assert text.startswith("text/plain; version=0.0.4")
    assert 'engine_daemon_container_states_containers{state="running"} 1' in text
    sample = re.search(r'skiff_container_memory_usage_bytes\{id="[0-9a-f]{64}",name="seen",image="busybox"\} (\d+)', text)
    assert int(sample.group(1)) > 0
    names = set()
    for line in text.splitlines()[1:]:
        if line.startswith("# TYPE"):
            names.add(line.split()[2])
        elif line and line[0] != "#":
            assert re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+', line), line
            assert re.match("[a-z_]+", line).group() in names
    engine.stop()


# --- logs ------------------------------------------------------------------------------------------------------------

LINES = 20000
COUNT = f"sleep 0.3; i=0; while [ $i -lt {LINES} ]; do echo line-$i; i=$((i+1)); done"


@pytest.mark.parametrize("driver, compress", [("json-file", "true"), ("json-file", "false"), ("local", "true")])
def test_no_line_is_lost_or_doubled_by_rotation(engine, busybox, driver, compress):
    """More than a hundred rotations under a reader's eyes; none of the files falls off the end."""
    container = start(engine, "sh", "-c", COUNT, options=["--log-driver", driver, "--log-opt", "max-size=8k", "--log-opt",
                                                        "max-file=900", "--log-opt", f"compress={compress}"])
    followed = []
    follower = threading.Thread(
        target=lambda: followed.extend(engine.docker("logs", "-f", container, timeout=120).stdout.split()))
    follower.start()
    expected = [f"line-{i}" for i in range(LINES)]
    seen = []
    while follower.is_alive():
        seen = engine.docker("logs", container).stdout.split()
        assert seen == expected[:len(seen)]
    follower.join()
    assert followed == expected
    assert engine.docker("logs", container).stdout.split() == expected
    for tail in (1, 99, 1000, 15000):
        assert engine.docker("logs", "--tail", str(tail), container).stdout.split() == expected[-tail:]
    assert len(log_files(engine, container)) > 50
    compressed = lambda: [n for n in log_files(engine, container) if n.endswith(".gz")]
    if compress == "true":
        wait_until(compressed)
    else:
        assert not compressed()


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_logs_are_bounded(engine, busybox, driver):
    container = ended(engine, "sh", "-c", COUNT, options=["--log-driver", driver, "--log-opt", "max-size=20k",
                                                        "--log-opt", "max-file=3"])
    names = {n.removesuffix(".gz") for n in log_files(engine, container) if not n.endswith(".tmp")}
    assert len(names) == 3  # the compressor may still be at work
    left = engine.docker("logs", container).stdout.split()
    assert 0 < len(left) < LINES and left == [f"line-{i}" for i in range(LINES - len(left), LINES)]


def test_local_driver_keeps_what_was_written(engine, busybox):
    script = "echo out; echo err >&2; printf '%020000d\\n' 7; printf unended"
    container = ended(engine, "sh", "-c", script, options=["--log-driver", "local", "--log-opt", "tag=T/{{.Name}}",
                                                       "--name", "kept"])
    shown = engine.docker("logs", container)
    assert shown.stderr == "err\n"
    assert shown.stdout == "out\n" + "7".rjust(20000, "0") + "\nunended"
    assert engine.docker("logs", "--details", "--tail", "1", container).stdout == "tag=T%2Fkept unended"
    inspected = json.loads(engine.docker("inspect", container).stdout)[0]
    assert inspected["HostConfig"]["LogConfig"]["Type"] == "local" and inspected["LogPath"] == ""


def test_details_are_labels_and_environment(engine, busybox):
    container = ended(engine, "echo", "x", options=["--label", "a=1", "--label", "com.b=2 3", "--label", "c=no", "-e", "E=4",
                                                  "--log-opt", "labels=a", "--log-opt", "labels-regex=^com", "--log-opt",
                                                  "env=E", "--log-opt", "tag={{.ImageName}}"])
    assert engine.docker("logs", "--details", container).stdout == "E=4,a=1,com.b=2+3,tag=busybox x\n"


def test_logs_are_cleared(engine, busybox):
    container = start(engine, "sh", "-c", "echo before; read x; echo after; sleep 1000", options=["-i", "--name", "cleared"])
    wait_until(lambda: engine.docker("logs", container).stdout == "before\n")
    engine.skiff("logs", "--clear", "cleared")
    assert engine.docker("logs", container).stdout == ""
    with attach_ws(engine, container, "stdin=1") as ws:
        ws.send(2, b"\n")
        wait_until(lambda: engine.docker("logs", container).stdout == "after\n")
    assert engine.api("DELETE", "/containers/nobody/logs")[0] == 404


def test_bad_log_options_are_refused(engine, busybox):
    for options, message in [
            (["--log-driver", "gelf"], "logger: no log driver named 'gelf' is registered"),
            (["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
            (["--log-driver", "syslog", "--log-opt", "max-size=1m"], "unknown log opt 'max-size' for syslog log driver"),
            (["--log-opt", "max-buffer-size=1m"], "max-buffer-size option is only supported with 'mode=non-blocking'")]:
        failed = engine.docker("run", "--rm", *options, "busybox", "true", check=False)
        assert failed.returncode == 125 and message in failed.stderr


def receive_until(sock, wanted):
    got = b""
    while wanted not in got:
        got += sock.recv(65536)
    return got.decode()


def test_syslog_over_a_unix_socket(engine, busybox, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(20)
        container = ended(engine, "sh", "-c", "echo to-out; echo to-err >&2",
                          options=["--name", "sys", "--log-driver", "syslog", "--log-opt", f"syslog-address=unix://{tmp_path}/log",
                                   "--log-opt", "syslog-facility=local1", "--log-opt", "syslog-format=rfc5424", "--log-opt",
                                   "tag={{.Name}}"])
        lines = sorted(log.recv(4096).decode() for _ in range(2))
        assert re.fullmatch(r"<139>1 \S+ \S+ sys \d+ sys - to-err\n", lines[0]), lines
        assert re.fullmatch(r"<142>1 \S+ \S+ sys \d+ sys - to-out\n", lines[1]), lines
    failed = engine.docker("logs", container, check=False)
    assert failed.returncode == 1 and "configured logging driver does not support reading" in failed.stderr
    # With nobody there the container does not start, and says why.
    os.unlink(tmp_path / "log")
    failed = engine.docker("start", container, check=False)
    assert "failed to initialize logging driver" in failed.stderr


@pytest.mark.parametrize("proto, kind", [("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)])
def test_syslog_over_the_network(make_engine, busybox_rootfs, proto, kind):
    engine = make_engine()
    engine.import_image(busybox_rootfs)
    # The engine's network namespace is its own: the listener is a process in it.
    program = ("import socket,sys; s = socket.socket(socket.AF_INET, socket.%s); s.bind(('127.0.0.1', 5514)); s.settimeout(30)\n"
               "if %r == 'tcp':\n  s.listen(); print('ready', flush=True); s.accept(); s = s.accept()[0]\n"
               "else: print('ready', flush=True)\n"
               "print(s.recv(65536).decode(), end='', flush=True)" % (kind.name, proto))
    listener = subprocess.Popen(engine.in_netns("python3", "-c", program), stdout=subprocess.PIPE, text=True)
    assert listener.stdout.readline() == "ready\n"
    start(engine, "sh", "-c", "echo over-the-net; sleep 1000",
          options=["--log-driver", "syslog", "--log-opt", f"syslog-address={proto}://localhost:5514"])
    got = listener.communicate(timeout=40)[0]
    assert re.match(r"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [0-9a-f]{12}\[\d+\]: over-the-net\n", got), got


def test_a_stuck_syslog_does_not_hold_up_nonblocking_mode(engine, busybox, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:  # that nobody reads
        log.bind(str(tmp_path / "log"))
        options = ["--log-driver", "syslog", "--log-opt", f"syslog-address=unix://{tmp_path}/log"]
        free = start(engine, "sh", "-c", COUNT, options=[*options, "--log-opt", "mode=non-blocking", "--log-opt",
                                                      "max-buffer-size=16k"])
        engine.docker("wait", free, timeout=60)
        held = start(engine, "sh", "-c", COUNT + "; echo end", options=options)
        got = 0
        log.settimeout(20)
        lines = set()
        while b"end" not in lines:  # reading lets it go on, and nothing is lost
            line = log.recv(65536).rsplit(b": ", 1)[1].strip()
            lines.add(line)
            got += 1
        assert {f"line-{i}".encode() for i in range(LINES)} <= lines
        engine.docker("wait", held, timeout=60)


def test_defaults_of_the_engine(make_engine, busybox_rootfs):
    engine = make_engine("--log-driver", "local", "--log-opt", "max-size=1m", "--log-opt", "max-file=2")
    engine.import_image(busybox_rootfs)
    container = ended(engine, "echo", "x")
    config = engine.api("GET", f"/containers/{container}/json")[2]["HostConfig"]["LogConfig"]
    assert config == {"Type": "local", "Config": {"max-size": "1m", "max-file": "2"}}
    assert engine.docker("logs", container).stdout == "x\n"
    assert engine.docker("info", "--format", "{{.LoggingDriver}} {{.Plugins.Log}}").stdout == \
        "local [json-file local syslog journald none]\n"
    other = ended(engine, "true", options=["--log-driver", "json-file"])
    assert engine.api("GET", f"/containers/{other}/json")[2]["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}
    engine.restart()
    assert engine.docker("logs", container).stdout == "x\n"
    bad = make_engine("--log-driver", "local", "--log-opt", "nonsense=1", is_started=False)
    with pytest.raises(RuntimeError, match="failed to set log opts: unknown log opt 'nonsense' for log driver local"):
        bad.start()


# --- lists and events ------------------------------------------------------------------------------------------------


def listed(engine, all=1, **filters):
    query = urllib.parse.urlencode({"all": all, "filters": json.dumps({k: [v] for k, v in filters.items()})})
    status, _, answer = engine.api("GET", f"/containers/json?{query}")
    return {c["Names"][0][1:] for c in answer} if status == 200 else (status, answer["message"])


def test_every_filter_of_the_list(engine, busybox):
    up = start(engine, "sleep", "1000", options=["--name", "up", "--label", "k=v", "-p", "18080:80", "--expose", "90/udp",
                                                "-v", "/tmp:/mnt"])
    ended(engine, "sh", "-c", "exit 3", options=["--name", "down"])
    engine.docker("create", "--name", "new", "busybox", "true")
    everything = {"up", "down", "new"}
    for filters, wanted in [
            ({"ancestor": "busybox"}, everything), ({"ancestor": "nothing"}, set()), ({"before": "down"}, {"up"}),
            ({"since": "down"}, {"new"}), ({"exited": "3"}, {"down"}), ({"exited": "0"}, set()),
            ({"expose": "90/udp"}, {"up"}), ({"expose": "85-95/udp"}, {"up"}), ({"publish": "18080"}, {"up"}),
            ({"publish": "80"}, set()), ({"health": "none"}, everything), ({"id": up[:12]}, {"up"}), ({"id": up[5:20]}, {"up"}),
            ({"is-task": "false"}, everything), ({"is-task": "true"}, set()), ({"label": "k"}, {"up"}),
            ({"label": "k=v"}, {"up"}), ({"label": "k=w"}, set()), ({"name": "^/up$"}, {"up"}), ({"name": "w"}, {"down", "new"}),
            ({"network": "bridge"}, everything), ({"network": "host"}, set()), ({"status": "created"}, {"new"}),
            ({"status": "running"}, {"up"}), ({"volume": "/mnt"}, {"up"}), ({"volume": "/tmp"}, {"up"}),
            ({"volume": "/etc"}, set())]:
        assert listed(engine, **filters) == wanted, filters
    assert listed(engine, all=0, status="exited") == {"down"}  # a state asked for needs no `all`
    for filters, message in [
            ({"nonsense": "1"}, "invalid filter 'nonsense'"), ({"status": "dozing"}, "invalid filter 'status=dozing'"),
            ({"exited": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'), ({"health": "ill"}, "invalid filter 'health=ill'"),
            ({"publish": ":80"}, "filter for 'publish' should not contain ':': :80"), ({"is-task": "x"}, "invalid filter 'is-task=x'")]:
        assert listed(engine, **filters) == (400, message)
    assert listed(engine, before="nobody") == (404, "No such container: nobody")
    assert [c["Names"] for c in engine.api("GET", "/containers/json?limit=2")[2]] == [["/new"], ["/down"]]


def test_events_are_filtered_and_shaped(engine, busybox):
    since = time.time() - 0.001
    container = ended(engine, "true", options=["--label", "color=blue", "--name", "told"])

    def events(accept=None, **filters):
        query = urllib.parse.urlencode({"since": f"{since:.9f}", "until": f"{time.time():.9f}",
                                        "filters": json.dumps({k: v for k, v in filters.items()})})
        _, headers, body = engine.api("GET", f"/events?{query}", headers={"Accept": accept} if accept else {})
        return headers["content-type"], body

    def actions(**filters):
        body = events(**filters)[1]
        return [e["Action"] for e in (json_lines(body) if body else [])]

    assert {"create", "start", "die"} <= set(actions(container=["told"]))
    assert {"create", "start", "die"} <= set(actions(label=["color=blue"], type=["container"]))
    assert actions(event=["die"], container=[container[:12]]) == ["die"]
    for kind in ("node", "service", "secret", "plugin", "config", "volume"):
        assert actions(**{kind: ["told"]}) == []
    assert actions(scope=["swarm"]) == [] and actions(image=["nothing"]) == []
    assert set(actions(image=["busybox"], event=["start"])) == {"start"}
    kind, body = events(accept="application/json-seq", container=["told"], event=["die"])
    assert kind == "application/json-seq" and body.startswith(b"\x1e{") and body.endswith(b"}\n")
    for wanted in ("application/x-ndjson", "application/jsonl"):
        kind, body = events(accept=wanted, container=["told"], event=["die"])
        assert kind == wanted and json_lines(body)[0]["Action"] == "die"
    assert engine.api("GET", "/events?filters=" + urllib.parse.quote('{"moon":["x"]}'))[2]["message"] == "invalid filter 'moon'"


# --- disk ------------------------------------------------------------------------------------------------------------


def test_sizes(engine, busybox):
    container = ended(engine, "sh", "-c", "head -c 3000000 /dev/zero > /a; ln /a /b; ln -s /a /c; rm /bin/ls",
                      options=["--name", "sized"])
    image = engine.api("GET", "/images/busybox/json")[2]["Size"]
    shown = engine.api("GET", "/containers/json?all=1&size=1")[2][0]
    assert shown["SizeRw"] == 3000000 + len("/a") and shown["SizeRootFs"] == image + shown["SizeRw"]
    assert "SizeRw" not in engine.api("GET", "/containers/json?all=1")[2][0]
    inspected = engine.api("GET", f"/containers/{container}/json?size=1")[2]
    assert inspected["SizeRw"] == shown["SizeRw"]
    assert "3MB (virtual" in engine.docker("ps", "-a", "-s").stdout
    pruned = engine.docker("container", "prune", "-f").stdout
    assert container in pruned and "Total reclaimed space: 3MB" in pruned


def test_system_df(fresh_engine, busybox_rootfs):
    engine = fresh_engine
    engine.import_image(busybox_rootfs)
    engine.docker("tag", "busybox", "other")
    engine.import_image(busybox_rootfs, "shares", changes=("CMD [\"other\"]",))  # another image of the same layer
    start(engine, "sh", "-c", "head -c 1000000 /dev/zero > /a; sleep 1000", options=["--name", "runs"])
    wait_until(lambda: engine.api("GET", "/system/df?type=container")[2]["Containers"][0].get("SizeRw") == 1000000)
    status, _, df = engine.api("GET", "/v1.41/system/df")
    assert status == 200 and df["BuildCache"] == [] and df["BuilderSize"] == 0
    (shared,) = {i["SharedSize"] for i in df["Images"]}  # the layer; what each has for itself is its configuration
    own = [i["Size"] - shared for i in df["Images"]]
    assert df["LayersSize"] == shared + sum(own) and all(0 < n <= 8192 for n in own)
    assert df["LayersReclaimable"] == next(i["Size"] - shared for i in df["Images"] if not i["Containers"])
    assert sorted(i["Containers"] for i in df["Images"]) == [0, 1]
    only = engine.api("GET", "/system/df?type=image&type=volume")[2]
    assert only["Containers"] is None and only["Volumes"] == [] and len(only["Images"]) == 2
    assert engine.api("GET", "/system/df?type=moon")[2]["message"] == "unknown object type: moon"
    ours, theirs = engine.skiff("system", "df").stdout, engine.docker("system", "df").stdout
    ours, theirs = ([re.split(r" {2,}", line.strip()) for line in text.splitlines()] for text in (ours, theirs))
    assert ours[1][:4] == theirs[1][:4] and ours[:1] + ours[2:] == theirs[:1] + theirs[2:]
    assert ours[1][4].endswith("(0%)") and theirs[1][4].endswith("(99%)")  # docker guesses from what is not shared
    for command in (engine.skiff, engine.docker):
        shown = command("system", "df", "-v").stdout
        assert "runs" in shown and "1MB" in shown and "Build cache usage: 0B" in shown


def test_shared_size_is_exact(fresh_engine):
    engine = fresh_engine
    tars = {name: make_tar([(name, name.encode() * n)]) for name, n in (("a", 1000), ("b", 200), ("c", 30))}
    engine.import_image(tars["a"], "one:1", changes=())
    for tag, name in (("two", "b"), ("three", "c")):  # both on the layer of `one`
        made = engine.docker("create", "one:1", "x").stdout.strip()
        engine.docker("cp", "-", f"{made}:/", input=tars[name])
        engine.skiff("commit", made, f"{tag}:1")
        engine.docker("rm", made)
    engine.import_image(make_tar([("z", b"z" * 7)]), "alone:1", changes=())
    expected = {"one:1": (1000, 1000), "two:1": (1200, 1000), "three:1": (1030, 1000), "alone:1": (7, 0)}

    def sizes(path):
        images = engine.api("GET", path)[2]
        images = images["Images"] if "Images" in images else images
        return {i["RepoTags"][0]: (i["Size"], i["SharedSize"]) for i in images}
    for path in ("/images/json?shared-size=1", "/v1.42/images/json?shared-size=true"):
        assert sizes(path) == expected, path
    for path in ("/images/json", "/v1.41/images/json?shared-size=1", "/images/json?shared-size=0"):
        assert {shared for _, shared in sizes(path).values()} == {-1}, path
    # what a filter leaves out is shared all the same
    filters = urllib.parse.quote(json.dumps({"reference": ["two"]}))
    assert sizes(f"/images/json?shared-size=1&filters={filters}") == {"two:1": (1200, 1000)}
    on_disk = sizes("/v1.51/system/df")  # in blocks (test_store_care.py holds it against du), shared by the same images
    assert on_disk["alone:1"][1] == 0 and len({on_disk[name][1] for name in ("one:1", "two:1", "three:1")} - {0}) == 1
    engine.docker("rmi", "two:1", "three:1")
    assert sizes("/images/json?shared-size=1") == {"one:1": (1000, 0), "alone:1": (7, 0)}


# --- attach over a WebSocket -----------------------------------------------------------------------------------------


class WebSocket:
    KEY = "dGhlIHNhbXBsZSBub25jZQ=="

    def __init__(self, engine, path, headers=None):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(engine.socket)
        fields = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": self.KEY,
                  "Sec-WebSocket-Version": "13", **(headers or {})}
        head = "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v)
        self.sock.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.sock.recv(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, opcode, payload, is_final=True, masks=True):
        mask = os.urandom(4)
        n = len(payload)
        size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
        size = bytes([size[0] | (0x80 if masks else 0)]) + size[1:]
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masks else payload
        self.sock.sendall(bytes([opcode | (0x80 if is_final else 0)]) + size + (mask if masks else b"") + body)

    def exactly(self, n):
        got = b""
        while len(got) < n:
            more = self.sock.recv(n - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def receive(self):
        first, n = self.exactly(2)
        assert not n & 0x80  # a server does not mask
        if n == 126:
            n = struct.unpack(">H", self.exactly(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.exactly(8))[0]
        return first & 15, self.exactly(n)

    def receive_bytes(self, n):
        got = b""
        while len(got) < n:
            opcode, payload = self.receive()
            assert opcode == 2
            got += payload
        return got


def attach_ws(engine, container, query):
    return WebSocket(engine, f"/v1.41/containers/{container}/attach/ws?stream=1&{query}")


def test_websocket_echo(engine, busybox):
    container = start(engine, "cat", options=["-i"])
    with attach_ws(engine, container, "stdin=1&stdout=1") as ws:
        wanted = base64.b64encode(hashlib.sha1(WebSocket.KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert ws.head.startswith(b"HTTP/1.1 101") and b"Sec-WebSocket-Accept: " + wanted in ws.head
        ws.send(1, b"text\n")
        assert ws.receive_bytes(5) == b"text\n"
        ws.send(2, b"in ", is_final=False)
        ws.send(9, b"are you there")  # a ping between the pieces of a message
        ws.send(0, b"pieces\n")
        pongs, echoed = [], b""
        while len(echoed) < 10 or not pongs:  # which comes first is open: a piece is handed on as it comes
            opcode, payload = ws.receive()
            pongs += [payload] if opcode == 10 else []
            echoed += payload if opcode == 2 else b""
        assert pongs == [b"are you there"] and echoed == b"in pieces\n"
        big = os.urandom(300000)
        threading.Thread(target=ws.send, args=(2, big)).start()
        assert ws.receive_bytes(len(big)) == big
        ws.send(8, struct.pack(">H", 1000))
        assert ws.receive() == (8, struct.pack(">H", 1000))
        with pytest.raises(EOFError):
            ws.receive()
    assert engine.docker("inspect", "--format", "{{.State.Running}}", container).stdout == "true\n"


def test_websocket_ends_with_the_container(engine, busybox):
    container = engine.docker("create", "busybox", "sh", "-c", "echo out; echo err >&2").stdout.strip()
    with attach_ws(engine, container, "stdout=1&stderr=1") as ws:  # before the start
        engine.docker("start", container)
        got = ws.receive_bytes(8)
        assert sorted(got.split()) == [b"err", b"out"]
        assert ws.receive() == (8, struct.pack(">H", 1000))
    engine.docker("wait", container)
    with attach_ws(engine, container, "stdout=1&logs=1") as ws:  # what was said before
        assert ws.receive_bytes(4) == b"out\n"


def test_websocket_protocol_errors(engine, busybox):
    container = start(engine, "cat", options=["-i"])
    for bad in (lambda ws: ws.send(2, b"x", masks=False), lambda ws: ws.send(0, b"x"), lambda ws: ws.send(3, b"x"),
                lambda ws: ws.send(9, b"x", is_final=False)):
        with attach_ws(engine, container, "stdin=1&stdout=1") as ws:
            bad(ws)
            assert ws.receive() == (8, struct.pack(">H", 1002))
    path = f"/containers/{container}/attach/ws"
    for headers in ({"Upgrade": ""}, {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "short"}):
        with WebSocket(engine, path, headers) as ws:
            assert ws.head.startswith(b"HTTP/1.1 400")
    with WebSocket(engine, "/containers/nobody/attach/ws") as ws:
        assert ws.head.startswith(b"HTTP/1.1 404")


def test_checkpoints_are_not_offered(engine, busybox):
    container = start(engine, "sleep", "1000")
    for method, path in (("GET", "checkpoints"), ("POST", "checkpoints"), ("DELETE", "checkpoints/x")):
        status, _, answer = engine.api(method, f"/containers/{container}/{path}")
        assert status == 501 and "checkpoints are not offered" in answer["message"]


def test_link_counters_are_the_containers_own(engine, busybox):
    """The host's end of a link counts for the container, asked for alone and, with many watched, all at once."""
    container = start(engine, "sh", "-c", "while ! ping -c 3 -s 1000 $(ip route | cut -d' ' -f3 | head -n 1); do sleep 0.1; done; "
                                          "sleep 1000")
    others = [start(engine, "sleep", "1000") for _ in range(8)]

    def inside():
        columns = engine.docker("exec", container, "grep", "eth0", "/proc/net/dev").stdout.split(":")[1].split()
        return {"rx_bytes": int(columns[0]), "rx_packets": int(columns[1]), "tx_bytes": int(columns[8]), "tx_packets": int(columns[9])}

    def agrees(document, at_least=1000):
        counted = inside()
        shown = document["networks"]["eth0"]
        return counted["rx_bytes"] > at_least and shown["rx_bytes"] != 0 and counted == {k: shown[k] for k in counted}

    wait_until(lambda: agrees(engine.api("GET", f"/containers/{container}/stats?one-shot=1&stream=0")[2]))
    connection = UnixConnection(engine.socket)
    connection.request("GET", "/containers/stats")
    answer = connection.getresponse()
    wait_until(lambda: agrees(next(d for d in pass_of(answer) if d["id"] == container)))
    connection.close()
    engine.docker("rm", "-f", container, *others)


def pass_of(answer):
    documents = []
    while (document := json.loads(answer.readline())) != {}:
        documents.append(document)
    return documents


def test_stats_of_all_in_one_stream(engine, busybox):
    """Skiff's own route: whole passes, over containers that come and go."""
    first, second = start(engine, "sleep", "1000", options=["--name", "first"]), start(engine, "sleep", "1000")
    stopped = ended(engine, "true")
    connections = [UnixConnection(engine.socket) for _ in range(2)]
    for connection, query in zip(connections, ("", "?all=1")):
        connection.request("GET", "/containers/stats" + query)
    running, every = [connection.getresponse() for connection in connections]
    ids = [d["id"] for d in pass_of(running)]
    assert ids.index(second) < ids.index(first) and stopped not in ids
    assert {first, second, stopped} <= {d["id"] for d in pass_of(every)}
    shown = next(d for d in pass_of(running) if d["id"] == first)
    assert shown["name"] == "/first" and shown["memory_stats"]["usage"] > 0 and set(shown["networks"]) == {"eth0"}
    later = start(engine, "sleep", "1000")
    engine.docker("rename", "first", "renamed")
    engine.docker("rm", "-f", second)
    pass_of(running)  # it may have begun before
    found = {}
    wait_until(lambda: found.update({d["id"]: d["name"] for d in pass_of(running)}) or later in found)
    latest = {d["id"]: d["name"] for d in pass_of(running)}
    assert latest[first] == "/renamed" and second not in latest and later in latest
    connections[1].close()
    assert first in {d["id"] for d in pass_of(running)}
    connections[0].close()
    wait_until(lambda: len(os.listdir(f"/proc/{engine.pid}/task")) <= 10)
    engine.docker("rm", "-f", first, later)


def test_stats_streams_cost_few_calls_and_no_threads(engine, busybox):
    """Counted: at most 11 reads a container and second, and one thread for all streams."""
    count, seconds = 10, 3
    for i in range(count):
        start(engine, "sleep", "1000", options=["--name", f"counted{i}"])
    threads = lambda: len(os.listdir(f"/proc/{engine.pid}/task"))
    reads = lambda: int(next(line.split()[1] for line in open(f"/proc/{engine.pid}/io") if line.startswith("syscr:")))
    connections = []
    for i in range(count):
        connection = UnixConnection(engine.socket)
        connection.request("GET", f"/containers/counted{i}/stats")
        connections.append((connection, connection.getresponse()))
    next_lines = lambda: [json.loads(answer.readline()) for _, answer in connections]
    for _ in range(2):  # files are opened with the first
        documents = next_lines()
    assert documents[0]["memory_stats"]["limit"] > 64 << 20
    engine.docker("update", "-m", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "77", "counted0")
    wait_until(lambda: threads() <= 10)  # spare threads of the requests have gone
    before = reads()
    for _ in range(seconds):
        documents = next_lines()
    spent = (reads() - before) / (seconds + 1) / count  # a pass may have begun before the first count
    print(f"{spent:.1f} reads a container and second, {threads()} threads")
    assert spent <= 11 and [d["name"] for d in documents] == [f"/counted{i}" for i in range(count)]
    assert documents[0]["memory_stats"]["limit"] == 64 << 20 and documents[0]["pids_stats"]["limit"] == 77
    for connection, answer in connections:
        answer.close()
        connection.close()
