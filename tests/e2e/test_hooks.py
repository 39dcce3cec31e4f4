"""Hooks of CDI devices: run where and when the OCI runtime specification says."""
import json
import os

import pytest

from engine import wait_until

POINTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
# What a hook says of itself: its point, its namespaces, the state it was given.
SCRIPT = """#!/bin/sh
{ printf '%s %s ' "$1" "$VAR"
  for ns in mnt user pid net; do printf '%s ' "$(readlink /proc/self/ns/$ns)"; done
  printf '%s ' "$(id -u)"
  cat; echo; } >> {log}
"""


@pytest.fixture
def hooked(make_engine, busybox_rootfs, tmp_path):
    """An engine with a folder of CDI files; hooked.device(name, hooks) adds one, hooked.said() is what hooks have said."""
    folder = tmp_path / "cdi"
    folder.mkdir()
    engine = make_engine("--cdi-spec-dir", folder)
    engine.import_image(busybox_rootfs)
    os.chmod(engine.root, 0o711)  # as /run is: the container's root, which is nobody on the host, looks for the bundle
    log, script = engine.root / "said", engine.root / "hook"
    log.write_text("")
    os.chmod(log, 0o666)
    script.write_text(SCRIPT.replace("{log}", str(log)))
    os.chmod(script, 0o755)

    def device(name, hooks, **edits):
        document = {"cdiVersion": "0.6.0", "kind": "example.com/hooked",
                    "devices": [{"name": name, "containerEdits": {"hooks": hooks, **edits}}]}
        (folder / f"{name}.json").write_text(json.dumps(document))
        return f"example.com/hooked={name}"

    def said():
        words = ("point", "var", "mnt", "user", "pidns", "net", "uid")
        lines = [line.split(" ", 7) for line in log.read_text().splitlines() if line]
        return [dict(zip(words, line), state=json.loads(line[7])) for line in lines]
    engine.device, engine.said, engine.script = device, said, str(script)
    return engine


def hook(engine, point, **more):
    return {"hookName": point, "path": engine.script, "args": ["hook", point], "env": [f"VAR=of-{point}", "PATH=/bin:/usr/bin"], **more}


@pytest.mark.parametrize("options", [(), ("--privileged",), ("--userns", "host"), ("--network", "none")])
def test_every_point_in_its_namespaces(hooked, options):
    # startContainer is looked up inside: a program of the image
    start = {"hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state; id -u > /tmp/uid"]}
    device = hooked.device("all", [start if p == "startContainer" else hook(hooked, p) for p in POINTS])
    script = "cat /tmp/state; echo; cat /tmp/uid; for ns in mnt user pid net; do readlink /proc/self/ns/$ns; done"
    out = hooked.docker("run", "--rm", "--name", "seen", *options, "--device", device, "--annotation", "k=v", "busybox", "sh", "-c",
                        script).stdout.splitlines()
    inside = dict(zip(("mnt", "user", "pidns", "net"), out[2:]))
    started = json.loads(out[0])
    assert started["status"] == "created" and started["pid"] == 1 and out[1] == "0"
    said = wait_until(lambda: len(hooked.said()) >= 5 and hooked.said())
    assert [s["point"] for s in said] == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    own = {n: os.readlink(f"/proc/self/ns/{n}") for n in ("mnt", "user")}
    for s in said:
        state = s["state"]
        assert s["var"] == f"of-{s['point']}" and s["uid"] == "0"
        assert state["id"] == started["id"] and state["annotations"]["k"] == "v" and state["bundle"].endswith(state["id"])
        if s["point"] == "createContainer":
            assert {k: s[k] for k in inside} == inside and state["pid"] == 1
        else:
            assert s["mnt"] == own["mnt"] and s["user"] == own["user"] and s["net"] != inside["net"]
    by_point = {s["point"]: s["state"] for s in said}
    assert [by_point[p]["status"] for p in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")] == \
        ["creating", "creating", "creating", "running", "stopped"]
    assert by_point["createRuntime"]["pid"] == by_point["poststart"]["pid"] > 1 and "pid" not in by_point["poststop"]


def test_the_root_is_where_the_bundle_says(hooked):
    """What vendors' hooks do: read config.json, change files of the root, mount into it."""
    script = hooked.root / "vendor"
    script.write_text("""#!/usr/bin/python3
import json, os, subprocess, sys
state = json.load(sys.stdin)
config = json.load(open(os.path.join(state["bundle"], "config.json")))
root = os.path.join(state["bundle"], config["root"]["path"])
os.symlink("libx.so.1", root + "/lib-link")
open(root + "/made-by-hook", "w").write(config["hostname"])
subprocess.run(["mount", "-t", "tmpfs", "vendor", root + "/tmp"], check=True)
subprocess.run(["/usr/sbin/chroot", root, "/bin/busybox", "touch", "/from-inside"], check=True, env={})
""")
    os.chmod(script, 0o755)
    device = hooked.device("vendor", [{"hookName": "createContainer", "path": str(script), "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}])
    shown = "readlink /lib-link; cat /made-by-hook; echo; ls -l /made-by-hook /from-inside; grep ' /tmp ' /proc/mounts"
    for options in ((), ("--privileged",)):
        out = hooked.docker("run", "--rm", "--hostname", "box", *options, "--device", device, "busybox", "sh", "-c", shown).stdout
        assert "libx.so.1\nbox\n" in out and out.count(" root ") >= 2 and "vendor /tmp tmpfs" in out, out
    # nothing of it on the host
    assert not [p for p in hooked.exec_root.glob("*/rootfs/*")]
    with open(f"/proc/{hooked.pid}/mountinfo", encoding="ascii") as f:
        assert "vendor" not in f.read()


@pytest.mark.parametrize("point", ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"))
def test_a_failure_fails_the_start_and_says_which(hooked, point):
    bad = {"hookName": point, "path": "/bin/sh", "args": ["sh", "-c", "echo out of luck >&2; exit 3"]}
    device = hooked.device("bad", [{**bad, "args": ["sh", "-c", "true"]}, bad, hook(hooked, "poststop")])
    done = hooked.docker("run", "--name", "bad", "--device", device, "busybox", "sleep", "600", check=False)
    assert done.returncode != 0
    assert f"error running {point} hook #1 (/bin/sh): exit status 3, output: out of luck" in done.stderr, done.stderr
    state = hooked.api("GET", "/containers/bad/json")[2]["State"]
    assert not state["Running"] and f"{point} hook #1" in state["Error"]
    assert [s["point"] for s in hooked.said()] == ["poststop"]  # what was made is taken down as ever
    # the next start tries again
    hooked.device("bad", [{**bad, "args": ["sh", "-c", "true"]}])
    hooked.docker("start", "bad")
    assert hooked.api("GET", "/containers/bad/json")[2]["State"]["Running"]


@pytest.mark.parametrize("point", ("createRuntime", "createContainer", "startContainer"))
def test_timeout(hooked, point):
    device = hooked.device("slow", [{"hookName": point, "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}])
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert done.returncode != 0 and f"error running {point} hook #0 (/bin/sleep): timed out after 1 s" in done.stderr, done.stderr


def test_what_cannot_be_run(hooked):
    device = hooked.device("absent", [{"hookName": "createRuntime", "path": "/nowhere/hook"}])
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert "createRuntime hook #0 (/nowhere/hook): exit status 127, output: No such file or directory" in done.stderr
    # A path of the host means nothing inside: nothing of the host is executed there.
    device = hooked.device("inside", [{"hookName": "startContainer", "path": hooked.script}])
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert f"startContainer hook #0 ({hooked.script}): exit status 127" in done.stderr
    # ... neither is the runtime itself, by whatever name
    device = hooked.device("self", [{"hookName": "startContainer", "path": "/proc/self/exe"}])
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert "startContainer hook #0 (/proc/self/exe): exit status 127, output: Permission denied" in done.stderr


def test_the_user_runs_what_starts_in_the_container(hooked):
    device = hooked.device("user", [{"hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", "id > /tmp/id; grep CapEff "
                                                                                        "/proc/self/status >> /tmp/id"]}])
    out = hooked.docker("run", "--rm", "--user", "12:34", "--device", device, "busybox", "cat", "/tmp/id").stdout
    assert "uid=12 gid=34" in out and "0000000000000000" in out


def test_poststop_follows_every_end_and_stops_nothing(hooked):
    broken = {"hookName": "poststop", "path": "/bin/false"}
    device = hooked.device("post", [broken, hook(hooked, "poststop")])
    hooked.docker("run", "--rm", "--device", device, "busybox", "true")
    wait_until(lambda: len(hooked.said()) == 1)
    hooked.docker("run", "-d", "--name", "killed", "--device", device, "busybox", "sleep", "600")
    hooked.kill9()  # who ends it is not the engine
    hooked.start()
    hooked.docker("rm", "-f", "killed")
    wait_until(lambda: len(hooked.said()) == 2)


def test_an_endless_babble_is_no_harm(hooked):
    device = hooked.device("loud", [{"hookName": "createRuntime", "path": "/bin/sh",
                                     "args": ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo the end; exit 1"]}])
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert "the end" in done.stderr and len(done.stderr) < 3000


@pytest.mark.parametrize("edits,words", [
    ({"intelRdt": {"closID": "a"}}, "needs intelRdt"),
    ({"netDevices": [{"hostInterfaceName": "eth9", "name": "eth9"}]}, "needs netDevices"),
    ({"hooks": [{"hookName": "whenever", "path": "/bin/true"}]}, 'invalid hook name "whenever"'),
    ({"hooks": [{"hookName": "prestart", "path": "true"}]}, "prestart hook true is not usable"),
    ({"hooks": [{"hookName": "prestart", "path": "/bin/true", "timeout": -1}]}, "prestart hook /bin/true is not usable"),
])
def test_refused_by_name(hooked, edits, words):
    device = hooked.device("refused", edits.pop("hooks", []), **edits)
    done = hooked.docker("run", "--rm", "--device", device, "busybox", "true", check=False)
    assert done.returncode == 125 and words in done.stderr, done.stderr
