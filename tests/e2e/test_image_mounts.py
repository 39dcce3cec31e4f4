"""Mounts of type image: a read-only view of an image's layers (API 1.48)."""
import json
import os

import pytest

from engine import make_tar
from test_volumes import entry, image_of

DOCKER = "/usr/local/bin/docker"


@pytest.fixture
def tools(engine, busybox):
    """An image of one layer with owners, modes and a link that leads out, and one with a second layer that takes away and replaces."""
    one = make_tar([("opt", None), ("opt/a", b"first\n"), ("opt/gone", b"x"), (entry("opt/owned", 0o640, 33, 33), b"www\n"),
                    ("opt/inner", None), ("opt/inner/deep", b"deep\n"), ("out", "../../../../etc"), ("etc", None),
                    ("etc/hostname", b"of the image\n"), ("single", b"a file\n")])
    engine.import_image(one, "tools:one", changes=())
    container = engine.docker("create", "--name", "second", "tools:one", "x").stdout.strip()
    engine.docker("cp", "-", "second:/opt", input=make_tar([("a", b"second\n"), ("new", b"new\n")]))
    engine.docker("commit", "second", "tools:two")
    engine.docker("rm", "second")
    assert container
    yield engine
    engine.remove_containers()
    for tag in ("tools:two", "tools:one", "tools:gone"):
        engine.api("DELETE", f"/images/{tag}?force=1")


def run(engine, mount, *command, options=(), check=True):
    return engine.docker("run", "--rm", *options, "--mount", mount, "busybox", *command, check=check)


def test_one_layer_and_several(tools):
    script = "cat /x/opt/a; stat -c '%u:%g %a' /x/opt/owned; cat /x/etc/hostname; ls /x; touch /x/new 2>&1; grep ' /x ' /proc/mounts"
    one = run(tools, "type=image,source=tools:one,target=/x", "sh", "-c", script).stdout
    assert "first\n33:33 640\nof the image\netc\nopt\nout\nsingle\n" in one, one
    assert "Read-only file system" in one and " overlay ro," in one, one
    two = run(tools, "type=image,source=tools:two,target=/x", "sh", "-c", "cat /x/opt/a /x/opt/new /x/opt/inner/deep").stdout
    assert two == "second\nnew\ndeep\n"
    ours = tools.skiff("run", "--rm", "--mount", "type=image,src=tools:two,dst=/x", "busybox", "cat", "/x/opt/new").stdout
    assert ours == "new\n"


@pytest.mark.parametrize("options", [(), ("--privileged",), ("--userns", "host"), ("--read-only",)])
def test_nobody_writes(tools, options):
    script = "mount -o remount,rw /x 2>/dev/null; echo bad > /x/opt/a; cat /x/opt/a"
    done = run(tools, "type=image,source=tools:one,target=/x", "sh", "-c", script,
               options=(*options, "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"))
    assert done.stdout == "first\n" and "Read-only file system" in done.stderr, done.stderr
    assert run(tools, "type=image,source=tools:one,target=/x", "cat", "/x/opt/a").stdout == "first\n"


def test_an_image_without_layers(engine, busybox):
    engine.docker("import", "-", "hollow", input=make_tar([]))
    try:
        assert run(engine, "type=image,source=hollow,target=/x", "sh", "-c", "ls -A /x | wc -l").stdout == "0\n"
    finally:
        engine.docker("rmi", "hollow")


def test_subpaths_stay_in_the_image(tools):
    def at(subpath, *command, check=True):
        return run(tools, f"type=image,source=tools:two,target=/x,image-subpath={subpath}", *command, check=check)
    assert at("opt", "cat", "/x/new").stdout == "new\n"
    assert at("opt/inner", "ls", "/x").stdout == "deep\n"
    assert at("single", "cat", "/x").stdout == "a file\n"
    assert at("out", "cat", "/x/hostname").stdout == "of the image\n"  # the link leads out: to the image's own /etc
    assert "Read-only" in at("opt", "sh", "-c", "touch /x/y 2>&1 || true").stdout
    missing = at("nowhere", "true", check=False)
    assert missing.returncode != 0 and "nowhere" in missing.stderr
    outside = at("../etc", "true", check=False)
    assert outside.returncode == 125 and "subpath must be a relative path" in outside.stderr


def test_what_is_refused(tools):
    def create(mount):
        return tools.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Mounts": [mount]}})
    base = {"Type": "image", "Target": "/x"}
    status, _, answer = create({**base, "Source": "nosuch"})
    assert status == 404 and "No such image: nosuch" in answer["message"]
    status, _, answer = create(base)
    assert status == 400 and answer["message"] == \
        'invalid mount config for type "image": field Source must not be empty'
    status, _, answer = create({**base, "Source": "tools:one", "BindOptions": {"Propagation": "rshared"}})
    assert status == 400 and "BindOptions must not be specified" in answer["message"]
    status, _, answer = create({**base, "Target": "x", "Source": "tools:one"})
    assert status == 400 and "mount path must be absolute" in answer["message"]


def test_inspect(tools):
    tools.docker("create", "--name", "seen", "--mount", "type=image,source=tools:two,target=/x", "busybox", "true")
    image = tools.api("GET", "/images/tools:two/json")[2]["Id"]
    mounts = json.loads(tools.docker("inspect", "-f", "{{json .Mounts}}", "seen").stdout)
    assert mounts == [{"Type": "image", "Name": "tools:two", "Source": image, "Destination": "/x", "Mode": "", "RW": False,
                       "Propagation": "rprivate"}]
    wanted = json.loads(tools.docker("inspect", "-f", "{{json .HostConfig.Mounts}}", "seen").stdout)
    assert wanted == [{"Type": "image", "Source": "tools:two", "Target": "/x"}]


def test_the_image_is_in_use(tools):
    tools.docker("tag", "tools:two", "tools:gone")
    tools.docker("run", "-d", "--name", "user", "--mount", "type=image,source=tools:two,target=/x", "busybox", "sleep", "600")
    tools.docker("rmi", "tools:two")  # it has another name
    image = tools.api("GET", "/images/tools:gone/json")[2]["Id"]
    status, _, answer = tools.api("DELETE", f"/images/{image}?force=1")
    assert status == 409 and "image is being used by running container" in answer["message"], answer
    assert tools.docker("rmi", "tools:gone", check=False).returncode == 1
    tools.docker("kill", "user")
    tools.docker("wait", "user")
    status, _, answer = tools.api("DELETE", f"/images/{image}")
    assert status == 409 and "image is being used by stopped container" in answer["message"], answer
    # By force it goes from sight; the container still has its layers.
    assert tools.api("DELETE", f"/images/{image}?force=1")[0] == 200
    tools.docker("start", "user")
    assert tools.docker("exec", "user", "cat", "/x/opt/new").stdout == "new\n"
    tools.docker("rm", "-f", "user")


def test_it_stays_through_restarts(make_engine, busybox_rootfs):
    engine = make_engine()
    engine.import_image(busybox_rootfs)
    engine.import_image(make_tar([("f", b"kept\n")]), "data:1", changes=())
    engine.docker("run", "-d", "--name", "first", "--mount", "type=image,source=data:1,target=/x", "busybox", "sleep", "600")
    engine.docker("create", "--name", "heir", "--volumes-from", "first", "busybox", "cat", "/x/f")
    # Another image takes the name: the containers keep theirs.
    engine.import_image(make_tar([("f", b"other\n")]), "data:1", changes=())
    for step in (lambda: engine.docker("restart", "-t", "0", "first"), engine.restart, lambda: (engine.kill9(), engine.start())):
        step()
        engine.docker("start", "first")
        assert engine.docker("exec", "first", "cat", "/x/f").stdout == "kept\n"
        engine.docker("image", "prune", "-f")
    assert engine.docker("start", "-a", "heir").stdout == "kept\n"


def test_copies_see_it(tools, tmp_path):
    tools.docker("create", "--name", "still", "--mount", "type=image,source=tools:two,target=/x,image-subpath=opt", "busybox",
                 "sleep", "600")
    for _ in ("stopped", "running"):
        tools.docker("cp", "still:/x/new", str(tmp_path / "new"))
        assert (tmp_path / "new").read_text() == "new\n"
        done = tools.docker("cp", str(tmp_path / "new"), "still:/x/put", check=False)
        assert done.returncode != 0 and "read-only" in done.stderr.lower(), done.stderr
        tools.docker("start", "still")


def test_nothing_is_mounted_on_the_host(tools):
    with open("/proc/self/mountinfo", encoding="ascii") as f:
        before = f.read().count(str(tools.root))
    tools.docker("run", "-d", "--name", "quiet", "--mount", "type=image,source=tools:two,target=/x", "busybox", "sleep", "600")
    with open(f"/proc/{os.getpid()}/mountinfo", encoding="ascii") as f:
        assert f.read().count(str(tools.root)) == before
    with open(f"/proc/{tools.pid}/mountinfo", encoding="ascii") as f:
        assert f.read().count("/x ") == 0
