"""update of ports, devices and mounts: on containers that run and on those that do not, also with the engine killed in the middle."""
import calendar
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine import json_lines, wait_until

SERVER = "mkdir -p /www; echo web > /www/index.html; httpd -h /www -p 80; httpd -h /www -p 81; sleep 1000"


def update(engine, name, check=True, **members):
    status, _, answer = engine.api("POST", f"/containers/{name}/update", body=members)
    if check:
        assert status == 200, (status, answer, engine.log())
    return status, answer.get("message", "") if isinstance(answer, dict) else answer


def start(engine, name, *options, command="sleep 1000"):
    engine.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c", command)
    return name


def sh(engine, name, script, check=True):
    return engine.docker("exec", name, "sh", "-c", script, check=check).stdout


FETCH = """import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5)
connection.request("GET", "/")
print(connection.getresponse().read().decode())"""


def fetch(engine, port, address="127.0.0.1"):
    """What a web server answers in the engine's network; "" where nobody does."""
    return engine.run_in_netns(sys.executable, "-c", FETCH, address, port, check=False).stdout.decode().strip()


def inspect(engine, name):
    return engine.api("GET", f"/containers/{name}/json")[2]


def ports_of(engine, name):
    """{"80/tcp": ["8080"]} as the running container has them; each TCP port is at [::] as well, relayed."""
    ports = inspect(engine, name)["NetworkSettings"]["Ports"]
    found = {k: sorted(b["HostPort"] for b in v if b["HostIp"] != "::") for k, v in ports.items() if v}
    relayed = {k: sorted(b["HostPort"] for b in v if b["HostIp"] == "::") for k, v in ports.items() if v}
    anywhere = {k: sorted(b["HostPort"] for b in v if b["HostIp"] == "0.0.0.0") for k, v in ports.items() if v}
    assert relayed == {k: v if k.endswith("/tcp") else [] for k, v in anywhere.items()}
    return found


def table_of(engine):
    """Ports in the kernel's table."""
    rules = engine.run_in_netns("nft", "-j", "list", "table", "ip", "skiff", check=False)
    if rules.returncode != 0:
        rules = engine.run_in_netns("nft", "-j", "list", "ruleset")
    found = set()
    for item in json.loads(rules.stdout)["nftables"]:
        for element in item.get("map", {}).get("elem", []):
            found.add(element[0]["concat"][-1])
    return found


def targets_of(engine, name):
    return sorted(m["Destination"] for m in inspect(engine, name)["Mounts"])


def mounted(engine, name, path):
    return any(line.split()[1] == path for line in sh(engine, name, "cat /proc/mounts").splitlines())


# --- ports

@pytest.fixture
def web(engine, busybox):
    start(engine, "web", "-p", "18080:80", command=SERVER)
    wait_until(lambda: fetch(engine, 18080) == "web")
    return "web"


def test_ports_of_a_running_container(engine, web):
    engine.skiff("update", "--publish-add", "18081:81", "--publish-add", "127.0.0.1:18082:81/tcp", web)
    assert fetch(engine, 18081) == fetch(engine, 18082) == fetch(engine, 18080) == "web"
    assert ports_of(engine, web) == {"80/tcp": ["18080"], "81/tcp": ["18081", "18082"]}
    assert "0.0.0.0:18081->81/tcp" in engine.docker("ps").stdout
    assert "81/tcp -> 127.0.0.1:18082" in engine.docker("port", web).stdout
    bindings = inspect(engine, web)["HostConfig"]["PortBindings"]
    assert bindings["81/tcp"] == [{"HostIp": "", "HostPort": "18081"}, {"HostIp": "127.0.0.1", "HostPort": "18082"}]
    engine.skiff("update", "--publish-rm", "18080:80", "--publish-rm", "127.0.0.1:18082:81", web)
    assert fetch(engine, 18080) == fetch(engine, 18082) == ""
    assert ports_of(engine, web) == {"81/tcp": ["18081"]}
    assert table_of(engine) == {18081}
    engine.docker("restart", "-t", "0", web)
    wait_until(lambda: fetch(engine, 18081) == "web")
    assert ports_of(engine, web) == {"81/tcp": ["18081"]}
    start(engine, "second", "-p", "18080:80", command=SERVER)  # what was given back can be had
    engine.skiff("update", "--publish-rm", "81", web)
    assert table_of(engine) == {18080} and not ports_of(engine, web)


def test_a_host_port_moves_to_another_port_inside(engine, busybox):
    command = "mkdir -p /a /b; echo a > /a/index.html; echo b > /b/index.html; httpd -h /a -p 80; httpd -h /b -p 81; sleep 1000"
    start(engine, "mover", "-p", "18080:80", command=command)
    wait_until(lambda: fetch(engine, 18080) == "a")
    engine.skiff("update", "--publish-rm", "18080:80", "--publish-add", "18080:81", "mover")
    assert fetch(engine, 18080) == "b" and ports_of(engine, "mover") == {"81/tcp": ["18080"]}


def test_ports_chosen_by_the_engine(engine, web):
    engine.skiff("update", "--publish-add", "81", "--publish-add", "81", web)
    first, second = ports_of(engine, web)["81/tcp"]
    assert fetch(engine, first) == fetch(engine, second) == "web"
    engine.skiff("update", "--publish-rm", f"{second}:81", web)
    assert ports_of(engine, web)["81/tcp"] == [first] and fetch(engine, first) == "web"
    engine.skiff("update", "--publish-add", "81", web)
    third = (set(ports_of(engine, web)["81/tcp"]) - {first}).pop()
    engine.skiff("update", "--publish-rm", f"{first}:81", web)
    assert ports_of(engine, web)["81/tcp"] == [third]


def test_ports_of_publish_all(engine, busybox):
    start(engine, "all", "-P", "--expose", "80", command=SERVER)
    status, message = update(engine, "all", check=False, PortBindingsRemove={"80/tcp": []})
    assert status == 400 and "published by --publish-all" in message
    update(engine, "all", PortBindingsAdd={"80/tcp": [{"HostPort": "18080"}]})
    assert ports_of(engine, "all") == {"80/tcp": ["18080"]} and table_of(engine) == {18080}


def test_taken_ports_are_refused_in_dockers_words(engine, web):
    start(engine, "other", "-p", "18090:80")
    status, message = update(engine, web, check=False, PortBindingsAdd={"81/tcp": [{"HostPort": "18091"}, {"HostPort": "18090"}]})
    assert status == 500 and "Bind for 0.0.0.0:18090 failed: port is already allocated" in message
    assert "driver failed programming external connectivity on endpoint web" in message
    assert ports_of(engine, web) == {"80/tcp": ["18080"]} and table_of(engine) == {18080, 18090}
    listener = subprocess.Popen(engine.in_netns(sys.executable, "-c",
                                                "import socket; s = socket.create_server(('', 18092)); print(1, flush=True); s.accept()"),
                                stdout=subprocess.PIPE)
    listener.stdout.readline()
    try:
        status, message = update(engine, web, check=False, PortBindingsAdd={"81/tcp": [{"HostPort": "18092"}]})
    finally:
        listener.kill()
        listener.wait()
    assert status == 500 and "failed to bind host port for 0.0.0.0:18092" in message and "address already in use" in message
    update(engine, web, PortBindingsAdd={"81/tcp": [{"HostPort": "18091"}]})  # claims of refused requests were given back


def test_ports_of_a_container_that_does_not_run(engine, busybox):
    engine.docker("create", "--name", "idle", "-p", "18080:80", "busybox", "sh", "-c", SERVER)
    engine.skiff("update", "--publish-add", "18081:81", "--publish-rm", "18080:80", "idle")
    assert inspect(engine, "idle")["HostConfig"]["PortBindings"] == {"81/tcp": [{"HostIp": "", "HostPort": "18081"}]}
    engine.docker("start", "idle")
    wait_until(lambda: fetch(engine, 18081) == "web")
    assert fetch(engine, 18080) == ""


def test_ports_survive_the_engine(make_engine, busybox_rootfs):
    engine = make_engine()
    engine.import_image(busybox_rootfs)
    start(engine, "web", "-p", "18080:80", command=SERVER)
    engine.skiff("update", "--publish-add", "18081:81", "--publish-rm", "80", "web")
    engine.kill9()
    engine.start()
    assert ports_of(engine, "web") == {"81/tcp": ["18081"]} and table_of(engine) == {18081}
    wait_until(lambda: fetch(engine, 18081) == "web")
    start(engine, "second", "-p", "18080:80")


@pytest.mark.parametrize("mode, words", [("host", "network mode host"), ("none", "network mode none"),
                                         ("container:web", "container type network mode")])
def test_ports_need_a_network(engine, web, mode, words):
    start(engine, "joined", "--network", mode)
    status, message = update(engine, "joined", check=False, PortBindingsAdd={"80/tcp": [{"HostPort": "18099"}]})
    assert status == 400 and "conflicting options: port publishing and the" in message and words in message


# --- devices

def rules_of(engine, name):
    """The device rules in the cgroup, or None on v2."""
    path = Path(f"/sys/fs/cgroup/devices/skiff/{inspect(engine, name)['Id']}/devices.list")
    return set(path.read_text().splitlines()) if path.exists() else None


@pytest.mark.parametrize("options", [[], ["--userns", "host"]], ids=["own-userns", "host-userns"])
def test_devices_of_a_running_container(engine, busybox, options):
    start(engine, "dev", *options)
    before = rules_of(engine, "dev")
    engine.skiff("update", "--device-add", "/dev/fuse", "--device-add", "/dev/loop0:/dev/block/mine:r", "dev")
    assert sh(engine, "dev", "stat -c '%t:%T %u' /dev/fuse /dev/block/mine") == "a:e5 0\n7:0 0\n"
    assert sh(engine, "dev", ": < /dev/fuse && echo open") == "open\n"
    if before is not None:
        assert rules_of(engine, "dev") - before == {"c 10:229 rwm", "b 7:0 r"}
    assert [d["PathInContainer"] for d in inspect(engine, "dev")["HostConfig"]["Devices"]] == ["/dev/fuse", "/dev/block/mine"]
    engine.docker("restart", "-t", "0", "dev")
    assert sh(engine, "dev", ": < /dev/fuse && echo open; stat -c %t:%T /dev/block/mine") == "open\n7:0\n"
    engine.skiff("update", "--device-rm", "/dev/fuse", "--device-rm", "/dev/block/mine", "dev")
    assert sh(engine, "dev", "ls /dev/fuse /dev/block/mine 2>/dev/null | wc -l") == "0\n"
    assert rules_of(engine, "dev") == before
    assert not inspect(engine, "dev")["HostConfig"]["Devices"]


def test_a_device_that_goes_takes_nothing_else_along(engine, busybox):
    """Two names for one device, one of them every container's: the rule goes with the last."""
    start(engine, "dev", "--device", "/dev/fuse:/dev/f1")
    engine.skiff("update", "--device-add", "/dev/null:/dev/nothing", "--device-add", "/dev/fuse:/dev/f2", "dev")
    engine.skiff("update", "--device-rm", "/dev/nothing", "--device-rm", "/dev/f1", "dev")
    assert sh(engine, "dev", "echo x > /dev/null && : < /dev/f2 && echo fine") == "fine\n"
    engine.skiff("update", "--device-rm", "/dev/f2", "dev")
    rules = rules_of(engine, "dev")
    assert rules is None or "c 10:229 rwm" not in rules


def test_a_device_cannot_be_diverted(engine, busybox, tmp_path):
    """What the container has put into /dev is neither followed nor replaced; the rule comes only with the node."""
    os.chmod(tmp_path, 0o777)
    start(engine, "dev", "-v", f"{tmp_path}:/dev/outside")
    before = rules_of(engine, "dev")
    sh(engine, "dev", "echo mine > /dev/taken; ln -s /dev/outside /dev/away; ln -s outside/x /dev/link")
    for spec in ("/dev/fuse:/dev/taken", "/dev/fuse:/dev/away/f", "/dev/fuse:/dev/outside/f", "/dev/fuse:/dev/link"):
        done = engine.skiff("update", "--device-add", spec, "dev", check=False)
        assert done.returncode == 1 and "something else is in its" in done.stderr, (spec, done.stderr)
    assert list(tmp_path.iterdir()) == [] and rules_of(engine, "dev") == before
    assert sh(engine, "dev", "cat /dev/taken") == "mine\n"
    assert not inspect(engine, "dev")["HostConfig"]["Devices"]


def test_devices_of_a_container_that_does_not_run(engine, busybox):
    engine.docker("create", "--name", "idle", "busybox", "sh", "-c", "ls -l /dev/fuse")
    engine.skiff("update", "--device-add", "/dev/fuse", "idle")
    assert "10, 229" in engine.docker("start", "-a", "idle").stdout
    engine.skiff("update", "--device-rm", "/dev/fuse", "idle")
    assert engine.docker("start", "-a", "idle", check=False).returncode == 1
    status, message = update(engine, "idle", check=False, DevicesRemove=["/dev/fuse"])
    assert status == 400 and "the container has no device /dev/fuse" in message


# --- mounts

@pytest.mark.parametrize("options", [[], ["--userns", "host"]], ids=["own-userns", "host-userns"])
def test_mounts_of_a_running_container(engine, busybox, tmp_path, options):
    since = time.time()
    (tmp_path / "file").write_text("from the host\n")
    start(engine, "box", *options, "-v", f"{tmp_path}:/early")
    engine.skiff("update", "--volume-add", f"{tmp_path}:/new/place:ro", "--volume-add", f"{tmp_path}/file:/etc/one",
                 "--volume-add", "livevol:/vol", "--mount-add", "type=tmpfs,dst=/fast,tmpfs-size=1m", "--volume-add", "/anon", "box")
    assert sh(engine, "box", "cat /new/place/file /etc/one; stat -c %u /new/place/file") == "from the host\n" * 2 + "0\n"
    assert sh(engine, "box", "(echo x > /new/place/no) 2>/dev/null || echo refused") == "refused\n"
    sh(engine, "box", "echo kept > /vol/f; echo lost > /fast/f; echo kept > /anon/f")
    assert targets_of(engine, "box") == ["/anon", "/early", "/etc/one", "/fast", "/new/place", "/vol"]
    assert engine.docker("volume", "rm", "livevol", check=False).returncode == 1
    engine.docker("restart", "-t", "0", "box")
    assert sh(engine, "box", "cat /new/place/file /etc/one /vol/f /anon/f") == "from the host\n" * 2 + "kept\n" * 2
    assert mounted(engine, "box", "/fast") and sh(engine, "box", "ls /fast") == ""
    # Some of these were mounted at the start, in another order than here.
    engine.skiff("update", "--mount-rm", "/early", "--mount-rm", "/etc/one", "--volume-rm", "/vol", "--mount-rm", "/fast", "box")
    assert sh(engine, "box", "grep -cE ' (/early|/etc/one|/vol|/fast) ' /proc/mounts; true") == "0\n"
    assert targets_of(engine, "box") == ["/anon", "/new/place"]
    engine.docker("volume", "rm", "livevol")
    engine.docker("restart", "-t", "0", "box")
    assert targets_of(engine, "box") == ["/anon", "/new/place"] and not mounted(engine, "box", "/fast")
    query = f"since={since:.9f}&until={time.time():.9f}&filters=" + json.dumps({"volume": ["livevol"]}, separators=(",", ":"))
    actions = [e["Action"] for e in json_lines(engine.api("GET", f"/events?{query}")[2])]
    assert "mount" in actions and "unmount" in actions and "destroy" in actions


def test_mounts_of_containers_that_do_not_run(engine, busybox, tmp_path):
    (tmp_path / "f").write_text("x")
    engine.docker("create", "--name", "idle", "--tmpfs", "/old", "-v", "/gone", "busybox", "ls", "/data", "/vol")
    engine.skiff("update", "--volume-add", f"{tmp_path}:/data", "--volume-add", "idlevol:/vol", "--mount-rm", "/old/", "--mount-rm", "/gone",
                 "idle")
    assert engine.docker("start", "-a", "idle").stdout.split() == ["/data:", "f", "/vol:"]
    config = inspect(engine, "idle")["HostConfig"]
    assert not config.get("Tmpfs") and config["Binds"] == [f"{tmp_path}:/data", "idlevol:/vol"]
    assert targets_of(engine, "idle") == ["/data", "/vol"]
    for members, words in (({"MountsRemove": ["/gone"]}, "the container has no mount /gone"),
                           ({"BindsAdd": ["/tmp:/data"]}, "Duplicate mount point: /data"),
                           ({"BindsAdd": ["/tmp:/x", "/tmp:/x"]}, "Duplicate mount point: /x"),
                           ({"BindsAdd": ["/tmp:relative"]}, "mount path must be absolute"),
                           ({"MountsAdd": [{"Type": "bind", "Source": "/tmp", "Target": "/"}]}, "destination can't be '/'"),
                           ({"MountsAdd": "x"}, "MountsAdd: wrong type")):
        status, message = update(engine, "idle", check=False, **members)
        assert status == 400 and words in message, (members, message)


def test_an_empty_volume_takes_over_what_the_image_has(engine, busybox):
    start(engine, "box")
    engine.skiff("update", "--volume-add", "homes:/etc", "box")
    assert "root:x:0" in sh(engine, "box", "cat /etc/passwd")
    engine.skiff("update", "--mount-rm", "/etc", "box")
    assert not mounted(engine, "box", "/etc")


def test_a_paused_container(engine, busybox, tmp_path):
    start(engine, "box")
    engine.docker("pause", "box")
    engine.skiff("update", "--volume-add", f"{tmp_path}:/data", "--device-add", "/dev/fuse", "--publish-add", "18080:80", "box")
    engine.docker("unpause", "box")
    assert mounted(engine, "box", "/data") and sh(engine, "box", "ls /dev/fuse") == "/dev/fuse\n"


def test_a_mount_that_is_in_use(engine, busybox, tmp_path):
    start(engine, "box", "-v", f"{tmp_path}:/data", command="cd /data; exec sleep 1000")
    wait_until(lambda: "sleep" in engine.docker("exec", "box", "cat", "/proc/1/comm").stdout)
    status, message = update(engine, "box", check=False, MountsRemove=["/data"])
    pid = inspect(engine, "box")["State"]["Pid"]
    assert status == 409 and f"mount /data is busy: in use by process {pid} (sleep)" in message
    assert mounted(engine, "box", "/data") and targets_of(engine, "box") == ["/data"]
    engine.skiff("update", "--mount-rm", "/data", "--force", "box")
    assert not mounted(engine, "box", "/data") and targets_of(engine, "box") == []


def test_the_same_source_twice(engine, busybox, tmp_path):
    """One that the container has taken off by itself is not looked for in the other's place."""
    start(engine, "box", "--privileged", "-v", f"{tmp_path}:/one", "-v", f"{tmp_path}:/two")
    sh(engine, "box", "umount /one")
    status, message = update(engine, "box", check=False, MountsRemove=["/one"])
    assert status == 409 and "is not there any more" in message and mounted(engine, "box", "/two")
    engine.skiff("update", "--mount-rm", "/two", "--volume-add", f"{tmp_path}:/three", "box")
    assert mounted(engine, "box", "/three") and not mounted(engine, "box", "/two")


def test_trees_of_mounts(engine, busybox, tmp_path):
    """A recursive bind goes as a whole; what lies below another mount of the container's has to go first."""
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tree", below], check=True)
    try:
        start(engine, "box")
        engine.skiff("update", "--volume-add", f"{tmp_path}:/tree", "box")
        assert mounted(engine, "box", "/tree/below")
        engine.skiff("update", "--volume-add", f"{tmp_path}:/tree/below", "box")
        status, message = update(engine, "box", check=False, MountsRemove=["/tree"])
        assert status == 409 and "/tree/below is mounted below it" in message
        engine.skiff("update", "--mount-rm", "/tree/below", "--mount-rm", "/tree", "box")
        assert not mounted(engine, "box", "/tree")
        engine.skiff("update", "--volume-add", f"{tmp_path}:/up/low", "box")
        status, message = update(engine, "box", check=False, BindsAdd=[f"{tmp_path}:/up"])
        assert status == 409 and "/up/low is mounted below it" in message
        engine.skiff("update", "--mount-rm", "/up/low", "--volume-add", f"{tmp_path}:/up", "box")
    finally:
        subprocess.run(["umount", below], check=True)


def test_what_belongs_to_the_system_stays(engine, busybox, tmp_path):
    start(engine, "box")
    for target in ("/proc", "/sys", "/dev", "/dev/shm", "/proc/sys/kernel"):
        status, _ = update(engine, "box", check=False, BindsAdd=[f"{tmp_path}:{target}"])
        assert status in (400, 409), target
    assert targets_of(engine, "box") == []


# --- all or nothing

def test_a_request_that_fails_changes_nothing(engine, web, tmp_path):
    (tmp_path / "f").write_text("x")
    sh(engine, web, "echo > /plain")
    engine.skiff("update", "--mount-add", "type=tmpfs,dst=/keep", web)
    sh(engine, web, "echo precious > /keep/f")
    before = inspect(engine, web)
    rules = rules_of(engine, web)
    good = {"PortBindingsAdd": {"81/tcp": [{"HostPort": "18081"}]}, "PortBindingsRemove": {"80/tcp": []},
            "DevicesAdd": [{"PathOnHost": "/dev/fuse"}], "BindsAdd": [f"{tmp_path}:/one", "brandnew:/two"], "MountsRemove": ["/keep"]}
    bad = [{"BindsAdd": good["BindsAdd"] + [f"{tmp_path}:/plain/below"]},  # fails inside, the last of the mounts
           {"BindsAdd": good["BindsAdd"] + [f"{tmp_path}:/plain"]},
           {"MountsAdd": [{"Type": "bind", "Source": "/nowhere/at/all", "Target": "/three"}]},
           {"DevicesAdd": good["DevicesAdd"] + [{"PathOnHost": "/dev/nowhere"}]},
           {"PortBindingsAdd": {"81/tcp": [{"HostPort": "18081"}], "82/tcp": [{"HostPort": "18081"}]}},
           {"CpusetCpus": "0-4000"}]
    for members in bad:
        status, message = update(engine, web, check=False, **{**good, **members})
        assert status >= 400, members
        assert sh(engine, web, "cat /keep/f; ls /dev/fuse 2>/dev/null; grep -cE ' (/one|/two|/plain) ' /proc/mounts; true") == "precious\n0\n", members
        after = inspect(engine, web)
        for part in ("HostConfig", "Mounts"):
            assert after[part] == before[part], (members, part)
        assert ports_of(engine, web) == {"80/tcp": ["18080"]} and table_of(engine) == {18080} and fetch(engine, 18080) == "web"
        assert rules_of(engine, web) == rules
        assert engine.docker("volume", "inspect", "brandnew", check=False).returncode == 1
    update(engine, web, **good)  # and each part is fine
    assert fetch(engine, 18081) == "web" and mounted(engine, web, "/two") and not mounted(engine, web, "/keep")


def test_lists_and_other_updates_meanwhile(engine, web, tmp_path):
    """Four lanes of updates of one container, and lists and inspects that see whole documents."""
    wrong, is_over = [], threading.Event()

    def lane(number):
        add = {"PortBindingsAdd": {"81/tcp": [{"HostPort": str(18100 + number)}]}, "BindsAdd": [f"{tmp_path}:/lane{number}"]}
        remove = {"PortBindingsRemove": {"81/tcp": [{"HostPort": str(18100 + number)}]}, "MountsRemove": [f"/lane{number}"]}
        for _ in range(25):
            for members in (add, remove):
                status, message = update(engine, web, check=False, **members)
                if status != 200:
                    wrong.append(message)

    def look():
        while not is_over.is_set():
            document = inspect(engine, web)
            binds = {b.split(":")[1] for b in document["HostConfig"]["Binds"] or []}
            if binds != {m["Destination"] for m in document["Mounts"]}:
                wrong.append((binds, document["Mounts"]))
            engine.api("GET", "/containers/json")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    lanes = [threading.Thread(target=lane, args=(i,)) for i in range(4)]
    for thread in lookers + lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    is_over.set()
    for thread in lookers:
        thread.join()
    assert wrong == []
    assert ports_of(engine, web) == {"80/tcp": ["18080"]} and targets_of(engine, web) == [] and table_of(engine) == {18080}


def test_other_clients_notice_nothing(engine, busybox):
    start(engine, "box")
    engine.docker("update", "--pids-limit", "55", "box")
    status, message = update(engine, "box", check=False, Devices=[{"PathOnHost": "/dev/fuse"}])
    assert status == 501 and "Devices cannot be updated" in message
    assert "--publish-add list" in engine.skiff("update", "--help").stdout


# --- the engine dies

class Rebuilt:
    """A container before (A) and after (B) an update, with what an engine killed in the middle would have left."""

    def __init__(self, engine, tmp_path):
        self.engine = engine
        (tmp_path / "f").write_text("x")
        start(engine, "box", "-p", "18080:80", "--device", "/dev/loop0", "-v", f"{tmp_path}:/old", command=SERVER)
        self.id = inspect(engine, "box")["Id"]
        whole, fraction = inspect(engine, "box")["State"]["StartedAt"].rstrip("Z").split(".")
        seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
        self.started_ns = seconds * 10**9 + int(fraction.ljust(9, "0"))
        self.state = engine.exec_root / self.id
        self.a = self.record()
        self.run_a = (self.state / "run.json").read_text()
        self.change = {"PortBindingsAdd": {"81/tcp": [{"HostPort": "18081"}]}, "PortBindingsRemove": {"80/tcp": []},
                       "DevicesAdd": [{"PathOnHost": "/dev/fuse"}], "DevicesRemove": ["/dev/loop0"],
                       "BindsAdd": [f"{tmp_path}:/new", "midvol:/vol"], "MountsRemove": ["/old"]}

    def database(self):
        return next(p for p in self.engine.data_root.rglob("*.db"))

    def record(self):
        with sqlite3.connect(self.database()) as db:
            return json.loads(db.execute("select document from record where key = ?", (self.id,)).fetchone()[0])

    def put(self, record):
        with sqlite3.connect(self.database()) as db:
            db.execute("update record set document = ? where key = ?", (json.dumps(record), self.id))

    def side(self, record):
        return {"hostConfig": record["hostConfig"], "mounts": record["mounts"]}

    def intent(self, a, b):
        (self.state / "update.json").write_text(json.dumps({"startedNs": self.started_ns, "from": self.side(a), "to": self.side(b)}))

    def check(self, is_new):
        """The record and what is real say the same."""
        e = self.engine
        assert not (self.state / "update.json").exists(), self.engine.log()
        wanted = {"81/tcp": ["18081"]} if is_new else {"80/tcp": ["18080"]}
        assert ports_of(e, "box") == wanted
        assert set(inspect(e, "box")["HostConfig"]["PortBindings"]) == set(wanted)
        assert table_of(e) == {int(p[0]) for p in wanted.values()}
        assert targets_of(e, "box") == (["/new", "/vol"] if is_new else ["/old"])
        assert [mounted(e, "box", t) for t in ("/old", "/new", "/vol")] == ([False, True, True] if is_new else [True, False, False])
        nodes = sh(e, "box", "ls /dev/loop0 /dev/fuse 2>/dev/null", check=False).split()
        assert nodes == ["/dev/fuse" if is_new else "/dev/loop0"]
        rules = rules_of(e, "box")
        assert rules is None or ("c 10:229 rwm" in rules, "b 7:0 rwm" in rules) == (is_new, not is_new)
        assert fetch(e, 18081 if is_new else 18080) == "web"


@pytest.fixture
def rebuilt(make_engine, busybox_rootfs, tmp_path):
    engine = make_engine()
    engine.import_image(busybox_rootfs)
    return Rebuilt(engine, tmp_path)


@pytest.mark.parametrize("point", ["noted", "done", "recorded", "ended"])
def test_engine_killed_at_each_step(rebuilt, point):
    r, engine = rebuilt, rebuilt.engine
    if point == "noted":  # the intent is there, nothing else happened
        update(engine, "box", BindsAdd=[])
        engine.kill9()
        b = json.loads(json.dumps(r.a))
        b["hostConfig"]["PortBindings"] = {"81/tcp": [{"HostIp": "", "HostPort": "18081"}]}
        b["mounts"] = []
        r.intent(r.a, b)
        engine.start()
        r.check(False)
        return
    update(engine, "box", **r.change)
    engine.kill9()
    b = r.record()
    if point == "done":  # all is real, the record is not written
        r.put(r.a)
    if point in ("done", "recorded"):  # the run's file has the former endpoint
        (r.state / "run.json").write_text(r.run_a)
    r.intent(r.a, b)
    engine.start()
    r.check(point != "done")
    engine.docker("restart", "-t", "0", "box")
    wait_until(lambda: fetch(engine, 18080 if point == "done" else 18081) == "web")
    r.check(point != "done")


def test_an_intent_of_a_former_run_means_nothing(rebuilt):
    r, engine = rebuilt, rebuilt.engine
    update(engine, "box", **r.change)
    r.intent(r.record(), r.a)
    engine.docker("restart", "-t", "0", "box")
    engine.kill9()
    engine.start()
    wait_until(lambda: fetch(engine, 18081) == "web")
    r.check(True)


def test_engine_killed_anywhere(rebuilt):
    """Whenever it dies, the next one and the container agree, and a request that was answered has been carried out."""
    r, engine = rebuilt, rebuilt.engine
    back = {"PortBindingsAdd": {"80/tcp": [{"HostPort": "18080"}]}, "PortBindingsRemove": {"81/tcp": []},
            "DevicesAdd": [{"PathOnHost": "/dev/loop0"}], "DevicesRemove": ["/dev/fuse"],
            "BindsAdd": [r.a["hostConfig"]["Binds"][0]], "MountsRemove": ["/new", "/vol"]}
    is_new, outcomes = False, set()
    for attempt in range(24):
        answer = []

        def ask():
            try:
                answer.append(engine.api("POST", "/containers/box/update", body=back if is_new else r.change, timeout=20)[0])
            except OSError:
                pass

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(attempt * 0.0006)
        engine.kill9()
        thread.join()
        engine.start()
        was_new, is_new = is_new, "81/tcp" in inspect(engine, "box")["HostConfig"]["PortBindings"]
        outcomes.add(was_new != is_new)
        assert answer != [200] or was_new != is_new
        r.check(is_new)
    assert outcomes == {False, True}  # the sweep met both sides


# --- hostile containers

def test_a_mount_cannot_be_taken_off_in_anothers_place(engine, busybox, tmp_path):
    """The container leads the name of a mount to a mask, or away from the mount."""
    start(engine, "box", "-v", f"{tmp_path}:/d/kcore", "--tmpfs", "/t/firmware")
    sh(engine, "box", "mv /d /hidden; ln -s /proc /d; mv /t /away; ln -s /sys /t")
    for force in (False, True):
        status, message = update(engine, "box", check=False, MountsRemove=["/t/firmware"], ForceUnmount=force)
        assert status == 409 and "is not there any more" in message, message
    assert targets_of(engine, "box") == ["/d/kcore"]
    engine.skiff("update", "--mount-rm", "/d/kcore", "box")  # found where it has been hidden
    assert not mounted(engine, "box", "/hidden/kcore") and targets_of(engine, "box") == []
    assert sh(engine, "box", "cat /proc/kcore | wc -c; ls /sys/firmware | wc -l") == "0\n0\n"
    sh(engine, "box", "rm /t; mv /away /t")
    engine.skiff("update", "--mount-rm", "/t/firmware", "box")
    assert not mounted(engine, "box", "/t/firmware")


def test_rename_storm(engine, busybox, tmp_path):
    """A process of the container swaps directories and links on the way to the destination all the time."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "sentinel").write_text("untouched")
    source = tmp_path / "source"
    source.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    start(engine, "storm", command="mkdir -p /a/b /c/d; while :; do mv /a /x; ln -s /../../../../" + str(host)[1:] +
          " /a; rm /a; ln -s /proc/self /a; rm /a; ln -s /sys /a; rm /a; mv /x /a; mv /c/d /c/e; ln -s /proc/sys /c/d; rm /c/d; mv /c/e /c/d; done")
    outcomes = {True: 0, False: 0}
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        members = {"BindsAdd": [f"{source}:/a/b/deep", f"{other}:/c/d/deep"], "DevicesAdd": [{"PathOnHost": "/dev/fuse"}]}
        status, message = update(engine, "storm", check=False, **members)
        assert status in (200, 400, 409, 500), message
        outcomes[status == 200] += 1
        if status != 200:
            assert targets_of(engine, "storm") == []
            continue
        for _ in range(100):  # they are found wherever they are, but for one that is just being moved
            status, message = update(engine, "storm", check=False, MountsRemove=["/a/b/deep", "/c/d/deep"], DevicesRemove=["/dev/fuse"])
            assert status in (200, 409, 500), message
            if status == 200:
                break
        else:
            pid = inspect(engine, "storm")["State"]["Pid"]
            where = [line for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if "pytest" in line]
            pytest.fail(f"could not take the mounts off: {message} {where}")
    assert outcomes[True] > 0, outcomes
    assert (host / "sentinel").read_text() == "untouched" and [p.name for p in host.iterdir()] == ["sentinel"]
    assert list(source.iterdir()) == list(other.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert sh(engine, "storm", "cat /proc/kcore | wc -c") == "0\n"
    assert engine.api("GET", "/_ping")[0] == 200
