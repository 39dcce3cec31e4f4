"""Volumes and mounts: the docker CLI and raw requests against skiffd."""
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from engine import busybox_tar, make_tar, wait_until

DOCKERS = sorted({os.path.realpath(p) for p in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(p)})


@pytest.fixture
def clean(engine, busybox):
    """The engine without volumes, before and after."""
    def remove_all():
        engine.remove_containers()
        for volume in engine.api("GET", "/volumes")[2]["Volumes"]:
            engine.api("DELETE", f"/volumes/{volume['Name']}?force=1")
    remove_all()
    yield engine
    remove_all()


@pytest.fixture(params=DOCKERS, ids=lambda path: path.split("/")[2])
def docker(request, clean):
    def run(*args, check=True):
        done = subprocess.run([request.param, *map(str, args)], capture_output=True, text=True, timeout=60,
                              env=clean.environment(), stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise AssertionError(f"docker {args}: exit {done.returncode}: {done.stdout}{done.stderr}\n{clean.log()}")
        return done
    run.is_old = "/usr/bin/" in request.param
    return run


def out(done):
    return done.stdout.strip()


def names(engine):
    return {v["Name"] for v in engine.api("GET", "/volumes")[2]["Volumes"]}


def image_of(engine, name, entries, changes=()):
    """busybox with these entries (make_tar's) on top."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as new:
        for source in (busybox_tar(), make_tar(entries)):
            with tarfile.open(fileobj=io.BytesIO(source)) as old:
                for member in old:
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
    engine.import_image(tar.getvalue(), f"{name}:latest", changes=('CMD ["sh"]', *changes))
    return name


def entry(name, mode, uid=0, gid=0, **more):
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, 1_000_000_000
    for key, value in more.items():
        setattr(info, key, value)
    return info


# --- life of a volume

def test_create_list_inspect_remove(docker, clean):
    assert out(docker("volume", "create", "--label", "a=b", "--label", "c", "named")) == "named"
    anonymous = out(docker("volume", "create"))
    assert len(anonymous) == 64 and int(anonymous, 16) >= 0
    assert set(out(docker("volume", "ls", "-q")).split()) == {"named", anonymous}
    assert out(docker("volume", "ls", "-q", "-f", "label=a=b")) == "named"
    assert out(docker("volume", "ls", "-q", "-f", "name=^nam")) == "named"
    assert out(docker("volume", "ls", "-q", "-f", "driver=nfs")) == ""
    assert out(docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}", "-f", "name=named")) == "local named"
    document = json.loads(out(docker("volume", "inspect", "named")))[0]
    assert document["Labels"] == {"a": "b", "c": ""} and document["Scope"] == "local" and document["Driver"] == "local"
    assert document["Mountpoint"] == f"{clean.data_root}/volumes/named/_data" and os.path.isdir(document["Mountpoint"])
    assert out(docker("volume", "create", "named")) == "named"  # again: the same one
    assert out(docker("volume", "rm", "named", anonymous)).split() == ["named", anonymous]
    assert not os.path.exists(document["Mountpoint"]) and not names(clean)
    gone = docker("volume", "rm", "named", check=False)
    assert gone.returncode == 1 and "named" in gone.stderr and "no such volume" in gone.stderr.lower()
    docker("volume", "rm", "-f", "named")


@pytest.mark.parametrize("body, status, words", [
    ({"Name": "a/b"}, 400, 'create a/b: "a/b" includes invalid characters for a local volume name'),
    ({"Name": "x"}, 400, "volume name is too short"),
    ({"Name": "vol", "Driver": "nope"}, 404, 'error looking up volume plugin nope: plugin "nope" not found'),
    ({"Name": "vol", "DriverOpts": {"foo": "1"}}, 400, 'create vol: invalid option: "foo"'),
    ({"Name": "vol", "DriverOpts": {"size": "1g"}}, 400, "quota size requested but no quota support"),
    ({"Name": "vol", "DriverOpts": {"type": "tmpfs"}}, 400, 'missing required option: "device"'),
    ({"Name": "vol", "Labels": {"a": 1}}, 400, "Labels must be an object of strings"),
    ({"Name": "vol", "ClusterVolumeSpec": {"Group": "g"}}, 501, "ClusterVolumeSpec"),
])
def test_refused_creates(clean, body, status, words):
    got, _, answer = clean.api("POST", "/v1.44/volumes/create", body=body)
    assert got == status and words in answer["message"], answer
    assert not names(clean)


def test_documents(clean):
    status, _, created = clean.api("POST", "/v1.44/volumes/create", body={})
    assert status == 201 and created["Labels"] == {"com.docker.volume.anonymous": ""}
    assert created["Options"] is None and created["CreatedAt"].endswith("Z") and "." not in created["CreatedAt"]
    status, _, document = clean.api("GET", "/v1.41/volumes")
    assert status == 200 and document["Warnings"] is None and [v["Name"] for v in document["Volumes"]] == [created["Name"]]
    assert clean.api("DELETE", f"/v1.44/volumes/{created['Name']}")[0] == 204
    status, _, answer = clean.api("GET", "/v1.44/volumes/nope")
    assert status == 404 and answer["message"] == "get nope: no such volume"
    assert clean.api("PUT", "/v1.44/volumes/nope", body={})[0] == 503  # cluster volumes: no swarm
    assert clean.api("GET", '/v1.44/volumes?filters={"nope":["1"]}')[0] == 400


def test_in_use_is_a_conflict(docker, clean):
    docker("run", "--name", "user", "-v", "held:/d", "busybox", "true")
    container = out(docker("inspect", "-f", "{{.Id}}", "user"))
    refused = docker("volume", "rm", "held", check=False)
    assert refused.returncode == 1 and f"remove held: volume is in use - [{container}]" in refused.stderr
    assert docker("volume", "rm", "-f", "held", check=False).returncode == 1
    assert out(docker("volume", "ls", "-q", "-f", "dangling=true")) == ""
    assert out(docker("volume", "ls", "-q", "-f", "dangling=false")) == "held"
    docker("rm", "user")
    assert out(docker("volume", "ls", "-q", "-f", "dangling=true")) == "held"
    docker("volume", "rm", "held")


def test_prune_by_version(clean):
    def prepare():
        for name in ("one", "two"):
            clean.api("POST", "/volumes/create", body={"Name": name, "Labels": {"n": name}})
        anonymous = clean.api("POST", "/volumes/create", body={})[2]["Name"]
        with open(f"{clean.data_root}/volumes/{anonymous}/_data/f", "w", encoding="ascii") as f:
            f.write("12345")
        return anonymous
    anonymous = prepare()
    assert clean.api("POST", "/v1.44/volumes/prune")[2] == {"VolumesDeleted": [anonymous], "SpaceReclaimed": 5}
    assert names(clean) == {"one", "two"}
    answer = clean.api("POST", '/v1.44/volumes/prune?filters={"all":["true"],"label!":["n=one"]}')[2]
    assert answer["VolumesDeleted"] == ["two"]
    anonymous = prepare()
    assert set(clean.api("POST", "/v1.41/volumes/prune")[2]["VolumesDeleted"]) == {"one", "two", anonymous}
    assert clean.api("POST", '/v1.41/volumes/prune?filters={"all":["true"]}')[0] == 400


def test_restart_keeps_volumes(make_engine, busybox_rootfs):
    engine = make_engine()
    engine.import_image(busybox_rootfs)
    engine.docker("run", "-d", "--name", "keeper", "-v", "data:/d", "-v", "/anon", "busybox",
                  "sh", "-c", "echo one > /d/f; echo two > /anon/f; exec sleep 1000")
    wait_until(lambda: os.path.exists(f"{engine.data_root}/volumes/data/_data/f"))
    before = json.loads(engine.docker("inspect", "keeper").stdout)[0]["Mounts"]
    os.mkdir(f"{engine.data_root}/volumes/half-made")
    engine.kill9()
    engine.start()
    assert json.loads(engine.docker("inspect", "keeper").stdout)[0]["Mounts"] == before
    assert len(names(engine)) == 2 and not os.path.exists(f"{engine.data_root}/volumes/half-made")
    assert engine.docker("volume", "rm", "data", check=False).returncode == 1  # it knows who uses it
    assert engine.docker("exec", "keeper", "cat", "/d/f", "/anon/f").stdout == "one\ntwo\n"
    engine.docker("restart", "-t", "0", "keeper")
    assert engine.docker("exec", "keeper", "cat", "/d/f").stdout == "one\n"
    engine.docker("rm", "-f", "-v", "keeper")
    assert names(engine) == {"data"}


# --- in containers

def test_data_outlives_the_container(docker, clean):
    docker("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo hello > /d/f; chown 7:8 /d/f")
    st = os.stat(f"{clean.data_root}/volumes/data/_data/f")
    assert (st.st_uid, st.st_gid) == (7, 8)  # plain owners on disk
    assert out(docker("run", "--rm", "-v", "data:/e:ro", "busybox", "sh", "-c", "cat /e/f; stat -c %u:%g /e/f; "
                      "echo x > /e/g || echo refused")) == "hello\n7:8\nrefused"
    assert out(docker("run", "--rm", "--mount", "type=volume,src=data,dst=/e,readonly", "busybox", "sh", "-c",
                      "cat /e/f; touch /e/f 2>/dev/null || echo refused")) == "hello\nrefused"
    docker("volume", "rm", "data")


def test_mounts_of_inspect(docker, clean):
    docker("create", "--name", "box", "-v", "v1:/a", "-v", "v2:/b:ro", "-v", "/anon", "-v", "/tmp:/host:ro,rslave",
           "--mount", "type=volume,src=v3,dst=/m,volume-label=k=v", "--mount", "type=tmpfs,dst=/t", "busybox")
    mounts = {m["Destination"]: m for m in json.loads(out(docker("inspect", "box")))[0]["Mounts"]}
    root = f"{clean.data_root}/volumes"
    assert mounts["/a"] == {"Type": "volume", "Name": "v1", "Source": f"{root}/v1/_data", "Destination": "/a",
                            "Driver": "local", "Mode": "z", "RW": True, "Propagation": ""}
    assert (mounts["/b"]["Mode"], mounts["/b"]["RW"]) == ("ro", False)
    assert len(mounts["/anon"]["Name"]) == 64 and mounts["/anon"]["Mode"] == ""
    assert mounts["/host"] == {"Type": "bind", "Source": "/tmp", "Destination": "/host", "Mode": "ro,rslave",
                               "RW": False, "Propagation": "rslave"}
    assert mounts["/m"]["Name"] == "v3" and mounts["/t"]["Type"] == "tmpfs"
    assert json.loads(out(docker("volume", "inspect", "v3")))[0]["Labels"] == {"k": "v"}
    assert out(docker("ps", "-aq", "-f", "volume=v1")) and not out(docker("ps", "-aq", "-f", "volume=nope"))


def test_anonymous_ones_go_with_the_container(docker, clean):
    docker("run", "--rm", "-v", "/anon", "-v", "named:/n", "busybox", "true")
    assert names(clean) == {"named"}
    wait_until(lambda: os.listdir(f"{clean.data_root}/volumes") == ["named"] and not clean.container_ids())
    docker("run", "--name", "box", "-v", "/anon", "busybox", "true")
    docker("rm", "box")
    left = names(clean) - {"named"}
    assert len(left) == 1
    docker("volume", "rm", *left)
    docker("run", "--name", "box", "-v", "/anon", "-v", "named:/n", "busybox", "true")
    docker("rm", "-v", "box")
    assert names(clean) == {"named"}
    failed = docker("create", "-v", "/anon", "-v", "bad name:/x", "busybox", check=False)
    assert failed.returncode != 0 and "includes invalid characters" in failed.stderr
    assert names(clean) == {"named"}  # a failed create leaves none


def test_volume_is_free_as_soon_as_run_rm_returns(docker, clean):
    for _ in range(10):
        docker("run", "--rm", "-v", "quick:/d", "busybox", "true")
        docker("volume", "rm", "quick")


def test_volumes_from(docker, clean):
    docker("run", "--name", "source", "-v", "v1:/a", "-v", "/anon", "-v", "v2:/own", "busybox", "sh", "-c",
           "echo 1 > /a/f; echo 2 > /anon/f; echo 3 > /own/f")
    assert out(docker("run", "--rm", "--volumes-from", "source", "busybox", "cat", "/a/f", "/anon/f")) == "1\n2"
    assert out(docker("run", "--rm", "--volumes-from", "source:ro", "-v", "other:/own", "busybox", "sh", "-c",
                      "ls /own; touch /a/g 2>/dev/null || echo refused")) == "refused"
    assert {"v1", "v2", "other"} < names(clean) and len(names(clean)) == 4  # --rm of a borrower takes nothing
    missing = docker("run", "--rm", "--volumes-from", "nobody", "busybox", "true", check=False)
    assert missing.returncode == 125 and "No such container: nobody" in missing.stderr


# --- copy-up

@pytest.fixture
def rich(clean):
    if clean.api("GET", "/images/rich:latest/json")[0] != 200:
        image_of(clean, "rich", [
            (entry("srv", 0o1770, 3, 4, type=tarfile.DIRTYPE), None),
            (entry("srv/file", 0o4751, 12, 34, size=5), b"hello"),
            (entry("srv/again", 0o4751, 12, 34, type=tarfile.LNKTYPE, linkname="srv/file"), None),
            (entry("srv/link", 0o777, 5, 6, type=tarfile.SYMTYPE, linkname="/etc/passwd"), None),
            (entry("srv/fifo", 0o600, 9, 9, type=tarfile.FIFOTYPE), None),
            (entry("srv/noted", 0o644, size=1, pax_headers={"SCHILY.xattr.user.note": "kept"}), b"x"),
            (entry("srv/deep/er/still", 0o600, 1, 1, size=2), b"hi"),
        ], changes=("VOLUME /srv",))
    return "rich"


LIST = "cd /srv && stat -c '%n %a %u:%g %h %F' . file again link fifo deep/er/still && readlink link && cat file"
LISTED = (". 1770 3:4 3 directory\nfile 4751 12:34 2 regular file\nagain 4751 12:34 2 regular file\n"
          "link 777 5:6 1 symbolic link\nfifo 600 9:9 1 fifo\ndeep/er/still 600 1:1 1 regular file\n/etc/passwd\nhello")


@pytest.mark.parametrize("options", [["-v", "v1:/srv"], ["-v", "/srv"], [], ["--mount", "type=volume,src=v1,dst=/srv"],
                                     ["-v", "v1:/srv", "--userns=host"]],
                         ids=["named", "anonymous", "declared", "mount", "host-userns"])
def test_an_empty_volume_takes_over_the_images_content(docker, clean, rich, options):
    assert out(docker("run", "--rm", *options, rich, "sh", "-c", LIST)) == LISTED
    if "v1" in names(clean):
        data = f"{clean.data_root}/volumes/v1/_data"
        assert os.getxattr(f"{data}/noted", "user.note") == b"kept"
        assert os.stat(f"{data}/file").st_mtime == 1_000_000_000
        assert not os.path.exists(f"{clean.data_root}/volumes/v1/_fill")
    assert {n for n in names(clean) if len(n) == 64} == set()


def test_copy_up_happens_once_and_can_be_refused(docker, clean, rich):
    docker("run", "--rm", "-v", "v1:/srv", rich, "sh", "-c", "rm -r /srv/deep; echo mine > /srv/own")
    assert out(docker("run", "--rm", "-v", "v1:/srv", rich, "sh", "-c", "ls /srv")) == "again\nfifo\nfile\nlink\nnoted\nown"
    assert out(docker("run", "--rm", "-v", "v2:/srv:nocopy", rich, "ls", "/srv")) == ""
    assert out(docker("run", "--rm", "--mount", "type=volume,src=v3,dst=/srv,volume-nocopy", rich, "ls", "/srv")) == ""
    os.symlink("/etc", f"{clean.data_root}/volumes/v2/_data/evil")
    assert out(docker("run", "--rm", "-v", "v2:/srv", rich, "ls", "/srv")) == "evil"


def test_subpath(clean, busybox):
    clean.docker("run", "--rm", "-v", "v1:/d", "busybox", "sh", "-c",
                 "mkdir -p /d/a/b; echo inside > /d/a/b/f; ln -s /etc /d/out; ln -s ../../../../etc /d/up; ln -s a/b /d/fine")
    def run(subpath, *more):
        return clean.docker("run", "--rm", "--mount", f"type=volume,src=v1,dst=/m,volume-subpath={subpath}", "busybox",
                            "sh", "-c", "cat /m/f", check=False)
    assert run("a/b").stdout == "inside\n" and run("fine").stdout == "inside\n"
    for subpath in ("out", "up", "missing"):  # links end at the volume's root: there is no /etc in it
        refused = run(subpath)
        assert refused.returncode != 0 and "no such file or directory" in refused.stderr, subpath
    refused = run("../x")
    assert refused.returncode == 125 and "subpath must be a relative path within the volume" in refused.stderr


# --- driver options

def test_bind_and_tmpfs_volumes(docker, clean, tmp_path):
    (tmp_path / "f").write_text("from the host\n")
    docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "bound")
    assert out(docker("run", "--rm", "-v", "bound:/d", "busybox", "cat", "/d/f")) == "from the host"
    docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1777", "mem")
    mountpoint = f"{clean.data_root}/volumes/mem/_data"
    docker("run", "-d", "--name", "one", "-v", "mem:/d", "busybox", "sh", "-c", "echo shared > /d/f; exec sleep 1000")
    wait_until(lambda: os.path.exists(f"{mountpoint}/f"))
    assert os.path.ismount(mountpoint)
    script = "cat /d/f; df -k /d | tail -1 | awk '{print $2}'"
    assert out(docker("run", "--rm", "-v", "mem:/d", "busybox", "sh", "-c", script)) == "shared\n1024"
    assert os.path.ismount(mountpoint)  # the first container still has it
    clean.kill9()
    clean.start()
    assert os.path.ismount(mountpoint)
    docker("rm", "-f", "one")
    wait_until(lambda: not os.path.ismount(mountpoint))
    docker("volume", "rm", "mem", "bound")
    assert (tmp_path / "f").exists()
    docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/such", "lost")
    lost = docker("run", "--rm", "-v", "lost:/d", "busybox", "true", check=False)
    assert lost.returncode != 0 and "failed to mount local volume" in lost.stderr and "no such file or directory" in lost.stderr


# --- binds

def test_read_only_binds_are_recursive(clean, busybox, tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", below], check=True)
    try:
        def write(*options):
            return clean.docker("run", "--rm", *options, "busybox", "sh", "-c",
                                "touch /b/below/f 2>/dev/null && echo wrote || echo refused").stdout.strip()
        bind = f"type=bind,src={tmp_path},dst=/b"
        assert write("-v", f"{tmp_path}:/b:ro", "--userns=host") == "refused"
        assert write("--mount", f"{bind},readonly", "--userns=host") == "refused"
        assert write("--mount", f"{bind},readonly,bind-recursive=writable", "--userns=host") == "wrote"
        assert write("--mount", f"{bind},readonly,bind-recursive=readonly,bind-propagation=rprivate") == "refused"
        assert clean.docker("run", "--rm", "--mount", f"{bind},bind-recursive=disabled", "busybox", "sh", "-c",
                            "grep -c ' /b/below ' /proc/self/mounts || true").stdout.strip() == "0"
    finally:
        subprocess.run(["umount", below], check=True)


def test_tmpfs_mount(clean, busybox):
    shown = clean.docker("run", "--rm", "--mount", "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700", "busybox", "sh", "-c",
                         "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'").stdout.split()
    assert shown == ["700", "2048"]


# --- hostile images

@pytest.mark.parametrize("path, where", [("../../etc", "/etc"), ("/a/../../../b", "/b"), ("relative/x", "/relative/x")])
def test_declared_volumes_stay_inside(clean, path, where):
    """CVE-2022-23648: an image's VOLUME named places of the host."""
    image_of(clean, "odd", [("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nours:x:1:1::/:/bin/sh\n")])
    status, _, created = clean.api("POST", "/containers/create", body={
        "Image": "odd", "Cmd": ["sh", "-c", f"grep ' {where} ' /proc/self/mounts | wc -l; cat /etc/passwd"], "Volumes": {path: {}}})
    assert status == 201, created
    shown = clean.docker("start", "-a", created["Id"]).stdout
    assert shown.startswith("1\n") and "ours:x" in shown  # copy-up was of the image's own /etc
    mounts = clean.api("GET", f"/containers/{created['Id']}/json")[2]["Mounts"]
    assert [m["Destination"] for m in mounts] == [where]


@pytest.mark.parametrize("path", ["", "/", ".", "../.."])
def test_the_root_is_no_volume(clean, path):
    status, _, answer = clean.api("POST", "/containers/create", body={"Image": "busybox", "Cmd": ["true"], "Volumes": {path: {}}})
    assert status == 400 and "destination can't be '/'" in answer["message"]
    assert not names(clean)


@pytest.mark.parametrize("options", [[], ["--userns=host"]], ids=["own-userns", "host-userns"])
def test_links_lead_nowhere(clean, tmp_path, options):
    """A target that is a link, or lies behind one, is found inside the container's root; nothing of the host is copied or covered."""
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("of the host")
    image_of(clean, "linked", [("data", f"../../../../../..{tmp_path}"), ("abs", str(tmp_path)), (str(tmp_path)[1:] + "/ours", b"x"), ("loop", "loop"), ("nowhere", "/not/there"), ("to-proc", "/proc/self"),
                               ("proc-2", "proc")])
    for target in ("/data", "/abs", "/data/sub"):
        shown = clean.docker("run", "--rm", *options, "-v", f"v1:{target}", "linked", "sh", "-c", f"ls -A {target}; touch {target}/made")
        assert shown.stdout == ("" if target == "/data/sub" else "ours\n")  # the image's, not the host's
        assert os.listdir(tmp_path) == ["sentinel"]
        clean.docker("volume", "rm", "v1")
    for target in ("/loop", "/nowhere"):
        refused = clean.docker("run", "--rm", *options, "-v", f"v1:{target}", "linked", "true", check=False)
        assert refused.returncode != 0 and f"create mount point {target}" in refused.stderr
    for target in ("/proc", "/to-proc", "/proc-2", "/proc/sys", "/to-proc/attr", "/proc/self/fd"):  # CVE-2019-16884 and its kin
        refused = clean.docker("run", "--rm", *options, "-v", f"v1:{target}", "linked", "true", check=False)
        assert refused.returncode != 0 and "cannot be mounted because it is inside /proc" in refused.stderr, target
        refused = clean.docker("run", "--rm", *options, "--tmpfs", target, "linked", "true", check=False)
        assert refused.returncode != 0, target


def test_targets_swapped_for_links(clean, busybox, tmp_path):
    """CVE-2021-30465: another container swaps the target, inside a shared volume, for a link while it is mounted on."""
    (tmp_path / "sentinel").write_text("of the host")
    swap = f"while :; do mkdir /v/t; mv /v/t /v/old; ln -s {tmp_path} /v/t; rm -rf /v/t /v/old; done 2>/dev/null"
    clean.docker("run", "-d", "--name", "racer", "-v", "shared:/v", "busybox", "sh", "-c", swap)
    started = 0
    for _ in range(30):
        done = clean.docker("run", "--rm", "-v", "shared:/m", "-v", "second:/m/t", "busybox", "sh", "-c",
                            "ls -A /m/t 2>/dev/null; touch /m/t/made 2>/dev/null; true", check=False)
        started += done.returncode == 0
        assert "sentinel" not in done.stdout and os.listdir(tmp_path) == ["sentinel"]
    assert started > 0  # else the race was none


def test_a_volume_over_a_file(clean, busybox):
    declared = clean.api("POST", "/containers/create", body={"Image": "busybox", "Cmd": ["true"], "Volumes": {"/etc/passwd": {}}})
    assert declared[0] == 400 and "cannot mount volume over existing file, file exists /etc/passwd" in declared[2]["message"]
    assert not names(clean)
    named = clean.docker("run", "--rm", "-v", "v1:/etc/passwd", "busybox", "true", check=False)
    assert named.returncode != 0 and "not a directory" in named.stderr


# --- events, and skiff's own client

def test_events(clean, busybox):
    since = clean.api("GET", "/info")[2]["SystemTime"]
    clean.docker("run", "--rm", "-v", "ev:/d:ro", "busybox", "true")
    clean.docker("volume", "rm", "ev")
    wait_until(lambda: clean.api("GET", "/containers/json?all=1")[2] == [])
    def seen():
        lines = clean.docker("events", "--since", since, "--until", clean.api("GET", "/info")[2]["SystemTime"], "-f", "type=volume",
                             "-f", "volume=ev", "--format", "{{json .}}").stdout.splitlines()
        return [json.loads(line) for line in lines]
    wait_until(lambda: len(seen()) >= 4)
    events = seen()
    assert sorted(e["Action"] for e in events) == ["create", "destroy", "mount", "unmount"]
    mount = next(e for e in events if e["Action"] == "mount")["Actor"]
    assert mount["ID"] == "ev" and mount["Attributes"]["destination"] == "/d" and mount["Attributes"]["read/write"] == "false"


def test_skiffs_own_client(clean, busybox):
    skiff = clean.skiff
    assert skiff("volume", "create", "--label", "k=v", "mine").stdout == "mine\n"
    assert skiff("volume", "ls").stdout.split("\n")[:2] == ["DRIVER    VOLUME NAME", "local     mine"]
    assert skiff("volume", "ls", "--format", "{{.Name}} {{.Labels}} {{.Label \"k\"}}").stdout == "mine k=v v\n"
    skiff("run", "--rm", "-v", "mine:/d", "busybox", "sh", "-c", "echo x > /d/f; ln /d/f /d/g")
    assert skiff("volume", "clone", "mine", "copy").stdout == "copy\n"
    assert skiff("run", "--rm", "-v", "copy:/d:ro", "busybox", "stat", "-c", "%h", "/d/g").stdout == "2\n"
    assert skiff("volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "copy", "mine").stdout == "copy local\nmine local\n"
    assert skiff("inspect", "--type", "volume", "-f", "{{.Labels.k}}", "copy").stdout == "v\n"
    taken = skiff("volume", "clone", "mine", "copy", check=False)
    assert taken.returncode == 1 and "a volume named copy already exists" in taken.stderr
    skiff("volume", "rename", "copy", "moved")
    assert skiff("run", "--rm", "-v", "moved:/d:ro", "busybox", "cat", "/d/f").stdout == "x\n"
    skiff("volume", "rename", "moved", "copy")
    assert "Total reclaimed space: 0B" in skiff("volume", "prune", "-f").stdout
    assert skiff("volume", "prune", "-af").stdout.split("\n")[:3] == ["Deleted Volumes:", "copy", "mine"]
    assert skiff("volume", "rm", "mine", check=False).stderr.strip().endswith("get mine: no such volume")
    mixed = skiff("run", "--rm", "--mount", "type=bind,src=/tmp,dst=/x,volume-nocopy", "busybox", "true", check=False)
    assert mixed.returncode == 125 and "cannot mix 'volume-*' options with mount type 'bind'" in mixed.stderr


def test_snapshots(docker, clean, busybox):
    skiff = clean.skiff
    docker("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo first > /d/f; chmod 1770 /d")
    assert skiff("volume", "snapshot", "data", "snap").stdout == "snap\n"
    unnamed = skiff("volume", "snapshot", "data").stdout.strip()
    assert re.fullmatch(r"data\.\d{8}-\d{6}\.\d{3}", unnamed)
    assert skiff("volume", "snapshots", "-q", "data").stdout.split() == ["snap", unnamed]
    header, row, *_ = skiff("volume", "snapshots", "data").stdout.split("\n")
    assert header.split() == ["SNAPSHOT", "CREATED", "AT"] and row.startswith("snap ")
    assert {"data", "snap", unnamed} <= set(out(docker("volume", "ls", "-q")).split())
    assert json.loads(out(docker("volume", "inspect", "snap")))[0]["Status"] == {"SnapshotOf": "data"}
    # Read-only wherever it is mounted.
    assert out(docker("run", "--rm", "-v", "snap:/d", "busybox", "cat", "/d/f")) == "first"
    refused = docker("run", "--rm", "-v", "snap:/d", "busybox", "touch", "/d/f", check=False)
    assert refused.returncode == 1 and "Read-only file system" in refused.stderr
    # Back again, but under no container that runs.
    docker("run", "-d", "--name", "user", "-v", "data:/d", "busybox", "sh", "-c", "echo second > /d/f; rm -f /d/none; sleep 1000")
    wait_until(lambda: out(docker("exec", "user", "cat", "/d/f")) == "second")
    busy = skiff("volume", "restore", "data", "snap", check=False)
    assert busy.returncode == 1 and "restore data: volume is in use by running containers" in busy.stderr
    docker("stop", "-t", "0", "user")
    skiff("volume", "restore", "data", "snap")
    assert out(docker("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "cat /d/f; stat -c %a /d")).split() == ["first", "1770"]
    # By force: who runs keeps what he has, over a new engine too, and gets the restored data with his next start.
    docker("run", "-d", "--name", "other", "-v", "data:/d", "busybox", "sh", "-c", "cat /d/f; echo third > /d/f; sleep 1000")
    wait_until(lambda: out(docker("exec", "other", "cat", "/d/f")) == "third")
    skiff("volume", "restore", "--force", "data", unnamed)
    clean.kill9()
    clean.start()
    assert out(docker("exec", "other", "cat", "/d/f")) == "third"
    docker("restart", "-t", "0", "other")
    wait_until(lambda: out(docker("logs", "other")).split() == ["first", "first"])
    assert os.listdir(clean.data_root / "volumes" / "data") == ["_data"]
    docker("rm", "-f", "user", "other")
    assert "snap" not in out(docker("volume", "prune", "-f"))
    docker("volume", "rm", "snap", unnamed)


@pytest.mark.parametrize("method, path, body, status, words", [
    ("POST", "/volumes/none/snapshot", None, 404, "get none: no such volume"),
    ("POST", "/volumes/plain/snapshot?name=a/b", None, 400, "includes invalid characters"),
    ("POST", "/volumes/plain/snapshot?name=plain", None, 409, "a volume named plain already exists"),
    ("POST", "/volumes/bound/snapshot?name=snap", None, 501, "snapshot bound: not for volumes with the driver options type"),
    ("POST", "/volumes/plain/restore", None, 400, "which snapshot?"),
    ("POST", "/volumes/plain/restore?snapshot=none", None, 404, "get none: no such volume"),
    ("POST", "/volumes/plain/restore?snapshot=bound", None, 400, "bound is no snapshot"),
    ("POST", "/volumes/plain/update", {"DriverOpts": {"size": "1g"}}, 409, "only a volume that was made with a size"),
    ("POST", "/volumes/plain/update", {"DriverOpts": {"o": "ro"}}, 400, 'option "o" of a volume cannot be updated'),
    ("POST", "/volumes/plain/update", {}, 400, "no option to update is given"),
])
def test_refused_snapshots_and_sizes(clean, method, path, body, status, words):
    clean.api("POST", "/volumes/create", body={"Name": "plain"})
    clean.api("POST", "/volumes/create", body={"Name": "bound", "DriverOpts": {"type": "none", "o": "bind", "device": "/tmp"}})
    got, _, answer = clean.api(method, path, body=body)
    assert (got, words in answer["message"]) == (status, True), answer
    assert names(clean) == {"plain", "bound"}


@pytest.mark.parametrize("kind, mkfs", [("xfs", ["mkfs.xfs", "-q", "-m", "reflink=1"]), ("btrfs", ["mkfs.btrfs", "-q"])])
def test_snapshots_share_blocks(make_engine, busybox_rootfs, kind, mkfs):
    """Where the file system has reflinks, a snapshot and a restore take next to no room."""
    with open("/proc/filesystems", encoding="ascii") as known:
        if kind not in known.read().split() or not shutil.which(mkfs[0]):
            pytest.skip(f"no {kind} here")
    engine = make_engine(is_started=False)
    disk = engine.root / "disk"
    with open(disk, "wb") as file:
        file.truncate(512 << 20)
    subprocess.run([*mkfs, disk], check=True, capture_output=True)
    engine.data_root.mkdir()
    subprocess.run(["mount", "-o", "loop", disk, engine.data_root], check=True)

    def used():
        os.sync()
        st = os.statvfs(engine.data_root)
        return (st.f_blocks - st.f_bfree) * st.f_frsize
    try:
        engine.start()
        engine.import_image(busybox_rootfs)
        before = used()
        engine.docker("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "head -c 64m /dev/urandom > /d/f; md5sum /d/f > /d/sum")
        written = used()
        engine.skiff("volume", "snapshot", "data", "snap")
        engine.docker("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo x > /d/f2")
        engine.skiff("volume", "restore", "data", "snap")
        shared = used()
        print(f"{kind}: 64 MiB took {(written - before) >> 10} KiB, snapshot and restore {(shared - written) >> 10} KiB more")
        assert written - before > 60 << 20 and shared - written < 8 << 20
        engine.docker("run", "--rm", "-v", "data:/d", "busybox", "md5sum", "-c", "/d/sum")
    finally:
        engine.stop()
        wait_until(lambda: subprocess.run(["umount", engine.data_root], check=False, capture_output=True).returncode == 0)
