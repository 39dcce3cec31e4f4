"""A store that looks after itself: fsck, garbage collection, disk usage, deduplication, flatten, diff."""
import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import time

import pytest

import registry
from engine import json_lines, make_tar, wait_until


@contextlib.contextmanager
def loop_file_system(kind, folder, size=600 << 20):
    """A new file system of this kind, mounted; skips where kernel or tools have none."""
    tool = shutil.which(f"mkfs.{kind}")
    if not tool or kind not in open("/proc/filesystems").read().split():
        pytest.skip(f"no {kind} here")
    disk, mounted = folder / f"{kind}.img", folder / kind
    mounted.mkdir()
    with open(disk, "wb") as f:
        f.truncate(size)
    subprocess.run([tool, "-q", disk], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", disk, mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)  # whoever failed may have an engine on it


def sync(path):
    subprocess.run(["sync", "-f", str(path)], check=True)


def statfs_used(path):
    st = os.statvfs(path)
    return (st.f_blocks - st.f_bfree) * st.f_frsize


def fsck(engine, **query):
    text = "&".join(f"{k}={v}" for k, v in query.items())
    status, _, answer = engine.api("POST", f"/system/fsck?{text}")
    assert status == 200, answer
    lines = json_lines(answer)
    assert lines[-1]["Type"] == "summary", lines
    return [line for line in lines if line["Type"] == "finding"], lines[-1]


def import_files(engine, reference, files, changes=()):
    return engine.import_image(make_tar(files), reference, changes)


def layers_of(engine, reference):
    return engine.api("GET", f"/images/{reference}/json")[2]["RootFS"]["Layers"]


def layer_path(engine, diff_id):
    return engine.data_root / "layers" / diff_id.split(":")[1]


@pytest.fixture
def stocked(fresh_engine, busybox_rootfs):
    """An engine of its own with busybox and an image of a few files."""
    fresh_engine.import_image(busybox_rootfs)
    import_files(fresh_engine, "few:latest", [("a", b"A" * 5000), ("d", None), ("d/b", b"B" * 70000), ("l", "a")])
    return fresh_engine


# --- fsck

def test_fsck_of_a_whole_store(stocked):
    stocked.docker("run", "--name", "cc", "busybox", "true")
    for query in ({}, {"quick": 1}, {"repair": "yes"}, {"repair": "drop"}):
        findings, summary = fsck(stocked, **query)
        assert findings == [] and summary["Findings"] == summary["Repaired"] == 0
        assert summary["Bytes"] > 75000
    done = stocked.skiff("system", "fsck")
    assert "everything is in order" in done.stdout and done.stderr == ""
    assert json_lines(stocked.skiff("system", "fsck", "--format", "json").stdout.encode())[-1]["Findings"] == 0
    assert stocked.api("POST", "/system/fsck?repair=maybe")[0] == 400
    assert stocked.docker("start", "cc").returncode == 0


@pytest.mark.parametrize("harm, is_seen_quickly", [
    ("flip", False), ("cut", True), ("lose", True), ("split", True), ("directory", True)])
def test_fsck_finds_a_damaged_layer(stocked, harm, is_seen_quickly):
    diff_id, = layers_of(stocked, "few")
    layer = layer_path(stocked, diff_id)
    victim = layer / "fs/d/b"
    if harm == "flip":
        with open(victim, "r+b") as f:
            f.seek(69999)
            f.write(b"b")
    elif harm == "cut":
        os.truncate(victim, 69999)
    elif harm == "lose":
        victim.unlink()
    elif harm == "split":
        (layer / "split").write_bytes((layer / "split").read_bytes()[:-20])
    else:
        shutil.rmtree(layer)
    findings, _ = fsck(stocked, quick=1)
    assert bool(findings) == is_seen_quickly
    findings, summary = fsck(stocked)
    assert [(f["Kind"], f["Id"], f["NeededBy"]) for f in findings if f["Kind"] == "layer"] == \
        [("layer", diff_id, ["few:latest"])]
    assert [f["Id"] for f in findings if f["Kind"] == "image"] == ["few:latest"]
    assert summary["Repaired"] == 0
    done = stocked.skiff("system", "fsck", check=False)
    assert done.returncode == 1 and f"layer {diff_id}: " in done.stdout and "needed by: few:latest" in done.stdout
    # Nobody knows where it came from: it is told, and goes only when that is wished.
    findings, _ = fsck(stocked, repair="yes")
    assert "no registry is known" in next(f for f in findings if f["Kind"] == "layer")["Action"]
    assert stocked.api("GET", "/images/few/json")[0] == 200
    findings, _ = fsck(stocked, repair="drop")
    assert [(f["Id"], f["Action"]) for f in findings if f["Kind"] == "image"] == [("few:latest", "removed")]
    assert stocked.api("GET", "/images/few/json")[0] == 404 and not layer.exists()
    assert fsck(stocked) == ([], {**fsck(stocked)[1]})
    stocked.docker("run", "--rm", "busybox", "true")


def test_a_damaged_configuration_is_no_end(stocked):
    """The other images are listed and used, and the damaged one can be removed by hand."""
    identity = stocked.api("GET", "/images/few/json")[2]["Id"]
    (stocked.data_root / "blobs/sha256" / identity[7:]).write_bytes(b"{}")
    assert tags(stocked) == {"busybox", "few"} and "few" in stocked.docker("images").stdout
    assert stocked.api("GET", "/system/df")[0] == 200
    stocked.docker("run", "--rm", "busybox", "true")
    assert [(f["Kind"], f["Id"]) for f in fsck(stocked)[0]] == [("document", identity), ("image", "few:latest")]
    stocked.docker("rmi", "few")
    assert tags(stocked) == {"busybox"} and fsck(stocked)[0] == []


def test_fsck_leaves_an_image_that_a_container_uses(stocked):
    stocked.docker("create", "--name", "cc", "few", "a")
    diff_id, = layers_of(stocked, "few")
    (layer_path(stocked, diff_id) / "fs/a").write_bytes(b"other")
    findings, _ = fsck(stocked, repair="drop")
    image = next(f for f in findings if f["Kind"] == "image")
    assert not image["Repaired"] and "is made from it" in image["Action"]
    assert stocked.api("GET", "/images/few/json")[0] == 200


def test_fsck_fetches_a_damaged_layer_again(make_engine, busybox_rootfs):
    engine = make_engine()
    image = registry.Image([busybox_rootfs, make_tar([("etc/x", b"X" * 9000)])])
    server = registry.BadRegistry(engine.in_netns())
    try:
        name = server.put(image, "lib/box", "v1")
        engine.docker("pull", "-q", name)
        engine.docker("run", "-d", "--name", "runs", name, "sleep", "1000")
        low, high = layers_of(engine, name)
        (layer_path(engine, high) / "fs/etc/x").write_bytes(b"x" * 9000)
        (layer_path(engine, low) / "fs/bin/busybox").unlink()
        identity = engine.api("GET", f"/images/{name}/json")[2]["Id"]
        (engine.data_root / "blobs/sha256" / identity[7:]).write_bytes(b"{}")
        findings, summary = fsck(engine, repair="yes")
        assert {(f["Kind"], f["Id"]) for f in findings} == {("layer", low), ("layer", high), ("document", identity)}
        assert all(f["Repaired"] for f in findings) and summary["Repaired"] == 3, findings
        assert "keeps the damaged copy until it is started again" in findings[-1]["Action"]
        assert fsck(engine)[0] == []
        assert engine.docker("run", "--rm", name, "cat", "/etc/x").stdout == "X" * 9000
        engine.docker("restart", "-t", "0", "runs")
        assert engine.docker("exec", "runs", "head", "-c", "3", "/etc/x").stdout == "XXX"
        # What comes back is believed only when it has the digest.
        (layer_path(engine, high) / "fs/etc/x").unlink()
        server.rules(blobs={image.layers[1]["digest"]: "wrong"})
        findings, _ = fsck(engine, repair="yes")
        assert findings and not any(f["Repaired"] for f in findings)
        assert "cannot be fetched again" in findings[0]["Action"]
    finally:
        server.close()


def test_fsck_finds_what_belongs_to_nothing(stocked):
    data = stocked.data_root
    stocked.docker("volume", "create", "vol")
    stray, document = data / "layers" / ("e" * 64), data / "blobs/sha256" / ("d" * 64)
    (stray / "fs").mkdir(parents=True)
    document.write_bytes(b"{}")
    (data / "volumes/ghost/_data").mkdir(parents=True)
    shutil.rmtree(data / "volumes/vol")
    (data / "containers" / ("c" * 64)).mkdir()
    (data / "layers/.init/fs/etc/hosts").write_bytes(b"127.0.0.1 evil\n")
    findings, _ = fsck(stocked)
    assert {(f["Kind"], f["Id"].split(":")[-1]) for f in findings} == {
        ("layer", "e" * 64), ("document", "d" * 64), ("volume", "ghost"), ("volume", "vol"), ("container", "c" * 64),
        ("init layer", ".init/fs")}
    assert stray.exists() and document.exists()
    findings, _ = fsck(stocked, repair="yes")
    assert {f["Kind"]: f["Repaired"] for f in findings if f["Id"] not in ("ghost", "c" * 64)} == {
        "layer": True, "document": True, "volume": True, "init layer": True}
    assert not stray.exists() and not document.exists() and (data / "volumes/vol/_data").is_dir()
    assert {f["Id"] for f in fsck(stocked)[0]} == {"ghost", "c" * 64}
    stocked.restart()
    assert fsck(stocked)[0] == []
    stocked.docker("run", "--rm", "-v", "vol:/v", "busybox", "true")


def test_fsck_beside_a_working_engine(stocked):
    """Containers come and go, images come and go, and neither is taken for damage nor held up."""
    import threading
    stop, failures = threading.Event(), []

    def work():
        n = 0
        while not stop.is_set():
            n += 1
            try:
                stocked.docker("run", "--rm", "-v", f"w{n}:/w", "busybox", "true")
                import_files(stocked, f"t{n}:latest", [("f", os.urandom(50000))])
                stocked.docker("rmi", f"t{n}")
            except AssertionError as e:
                failures.append(e)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(25):
            assert fsck(stocked)[0] == []
    finally:
        stop.set()
        thread.join()
    assert not failures


# --- sizes

def du(*paths):
    """Bytes on disk of files and trees, each inode once."""
    seen, total = set(), 0
    for path in paths:
        for st in [os.lstat(path)] + [os.lstat(os.path.join(d, n)) for d, names, files in os.walk(path)
                                      for n in names + files]:
            if st.st_ino not in seen:
                seen.add(st.st_ino)
                total += st.st_blocks * 512
    return total


def on_disk(engine):
    """What belongs to images: every layer but the init layer, and every document."""
    layers, blobs = engine.data_root / "layers", engine.data_root / "blobs/sha256"
    return du(*[p for p in layers.iterdir() if p.name != ".init"], *blobs.iterdir())


def odd_files(seed):
    """Small and large files, directories with many names, links, and long attributes: whatever takes blocks."""
    linked = tarfile.TarInfo("again")
    linked.type, linked.linkname = tarfile.LNKTYPE, "large"
    noted = tarfile.TarInfo("noted")
    noted.pax_headers = {"SCHILY.xattr.user.note": "n" * 3000}
    return [("large", os.urandom(300_001)), (linked, None), (noted, b"x"), ("seed", seed), ("link", "large"),
            ("longlink", "x/" * 400), ("dir", None)] + \
        [(f"dir/{'name' * 20}{n}", b"%d" % n * (n % 7)) for n in range(300)]


def test_system_df_is_exact(stocked):
    image = registry.Image([make_tar(odd_files(b"low")), make_tar([("top", b"T" * 10000)])])
    other = registry.Image([make_tar(odd_files(b"low")), make_tar([("top", b"other")])])
    server = registry.BadRegistry(stocked.in_netns())
    try:
        low, = set(image.config["rootfs"]["diff_ids"]) & set(other.config["rootfs"]["diff_ids"]) or [None]
        for tag, one in (("one", image), ("two", other)):
            stocked.docker("pull", "-q", server.put(one, "lib/x", tag))
    finally:
        server.close()
    for _ in range(2):  # measured, and remembered
        df = stocked.api("GET", "/v1.44/system/df")[2]
        assert df["LayersSize"] == on_disk(stocked) == df["LayersReclaimable"]
    stocked.docker("create", "--name", "holds", f"{server.host}/lib/x:one", "sh")
    df = stocked.api("GET", "/v1.44/system/df")[2]
    by_tag = {tag: i for i in df["Images"] for tag in i["RepoTags"]}
    one, two = by_tag[f"{server.host}/lib/x:one"], by_tag[f"{server.host}/lib/x:two"]
    blobs = stocked.data_root / "blobs/sha256"
    if low:
        assert one["SharedSize"] == two["SharedSize"] == du(layer_path(stocked, low))
    assert df["LayersReclaimable"] == df["LayersSize"] - one["Size"]
    assert one["Size"] == du(*[layer_path(stocked, d) for d in image.config["rootfs"]["diff_ids"]],
                             blobs / one["Id"][7:], blobs / registry.digest(image.manifest_bytes)[7:])
    summary = stocked.api("GET", "/v1.52/system/df?verbose=1")
    assert summary[0] in (200, 400)


def test_prune_reports_what_it_frees(stocked):
    import_files(stocked, "odd:latest", odd_files(b"1"))
    import_files(stocked, "odd:latest", odd_files(b"2"))  # the first one dangles now
    for arguments, wanted in ((("-f",), 1), (("-a", "-f"), 3)):
        before = on_disk(stocked)
        expected = [i for i in stocked.api("GET", "/images/json?all=1")[2]]
        answer = stocked.api("POST", "/images/prune?filters=" +
                             ('{"dangling":["false"]}' if "-a" in arguments else "{}"))[2]
        assert len([d for d in answer["ImagesDeleted"] if "Untagged" not in d]) >= wanted
        assert answer["SpaceReclaimed"] == before - on_disk(stocked) > 0
        assert len(expected) > len(stocked.api("GET", "/images/json?all=1")[2])
    assert on_disk(stocked) == 0


def test_prune_frees_as_much_of_the_file_system(make_engine, busybox_rootfs, tmp_path):
    """The same against statfs, on a file system of its own."""
    with loop_file_system("ext4", tmp_path) as mounted:
        engine = make_engine("--data-root", mounted / "data")
        import_files(engine, "odd:latest", odd_files(b"1"))

        def used():  # the records' own file grows by writing down that they are gone
            sync(mounted)
            return statfs_used(mounted) - du(*(mounted / "data").glob("meta.db*"))
        before = used()
        status, _, answer = engine.api("POST", '/images/prune?filters={"dangling":["false"]}')
        assert status == 200 and answer["SpaceReclaimed"] == before - used() > 300_000


# --- garbage collection by policy

DAY = 86400


def age(engine, **days):
    """Make images look as if they came, and were used last, so many days ago. The engine is stopped meanwhile."""
    ids = {name: engine.api("GET", f"/images/{name}/json")[2]["Id"] for name in days}
    engine.stop()
    with contextlib.closing(sqlite3.connect(engine.data_root / "meta.db")) as database, database:
        for name, n in days.items():
            where = "kind = 'images' AND key = ?", (ids[name],)
            document = json.loads(database.execute(f"SELECT document FROM record WHERE {where[0]}", where[1]).fetchone()[0])
            then = int((time.time() - n * DAY) * 1e9)
            document.update({k: then for k in ("added", "lastTagged", "lastUsed") if document.get(k)})
            database.execute(f"UPDATE record SET document = ? WHERE {where[0]}", (json.dumps(document), *where[1]))
    engine.start()


def gc(engine, **query):
    text = "&".join(f"{k.replace('_', '-')}={v}" for k, v in query.items())
    status, _, answer = engine.api("POST", f"/images/gc?{text}")
    assert status == 200, answer
    verdicts = {tag.removesuffix(":latest"): (i["Removed"], i["Reason"]) for i in answer["Images"] for tag in i["RepoTags"]}
    return verdicts, answer


def tags(engine):
    return {tag.removesuffix(":latest") for i in engine.api("GET", "/images/json")[2] for tag in i["RepoTags"] or []}


def some_images(engine, *names, changes=()):
    for name in names:
        import_files(engine, name, [("name", name.encode() * 5000)], changes)


def test_gc_of_what_nobody_uses(stocked):
    some_images(stocked, "old", "young", "kept", "holding", "fresh")
    some_images(stocked, "labelled", changes=("LABEL keep=yes",))
    stocked.docker("create", "--name", "holder", "holding", "x")
    age(stocked, old=31, young=29, kept=99, holding=99, labelled=99, few=400)
    rule = {"unused_days": 30, "keep": "kept*&keep=label=keep=yes"}
    planned, answer = gc(stocked, dry_run=1, **rule)
    assert {n for n, v in planned.items() if v[0]} == {"old", "few"}
    assert planned["old"][1] == "unused for 31 days" and planned["kept"][1] == "kept by kept*"
    assert planned["labelled"][1] == "kept by label=keep=yes" and "is made from it" in planned["holding"][1]
    assert planned["young"][1] == "used 29 days ago" and "ten minutes" in planned["fresh"][1]
    assert answer["Report"] == [] and "old" in tags(stocked)
    before, since = on_disk(stocked), time.time()
    done, really = gc(stocked, **rule)
    assert done == planned and really["SpaceReclaimed"] == answer["SpaceReclaimed"] == before - on_disk(stocked) > 0
    assert tags(stocked) == {"busybox", "young", "kept", "holding", "fresh", "labelled"}
    events = stocked.docker("events", "--since", str(since - 1), "--until", str(time.time() + 1), "--format",
                            "{{.Action}} {{.Actor.ID}}").stdout.split("\n")
    for id in (i["Id"] for i in answer["Images"] if i["Removed"]):
        assert f"untag {id}" in events and f"delete {id}" in events
    assert fsck(stocked)[0] == []


def test_gc_knows_when_an_image_was_used(stocked):
    some_images(stocked, "never")
    age(stocked, busybox=50, never=50)
    stocked.docker("run", "--rm", "busybox", "true")
    stocked.kill9()
    stocked.start()
    verdicts, answer = gc(stocked, unused_days=30, dry_run=1)
    assert not verdicts["busybox"][0] and verdicts["never"][0]
    used = next(i["LastUsed"] for i in answer["Images"] if i["RepoTags"] == ["busybox:latest"])
    assert used[:13] == time.strftime("%Y-%m-%dT%H", time.gmtime()) or time.gmtime().tm_min == 0


def test_gc_keeps_the_last_of_each_repository(stocked):
    for n in range(5):
        some_images(stocked, f"app:{n}", f"other:{n}")
    age(stocked, busybox=100, few=100, **{f"app:{n}": 50 - n for n in range(5)}, **{f"other:{n}": 60 - n for n in range(3)})
    verdicts, _ = gc(stocked, keep_last=2)
    assert {n for n, v in verdicts.items() if v[0]} == {"app:0", "app:1", "app:2", "other:0", "other:1", "other:2"}
    assert verdicts["app:4"][1] == "among the last 2 of app" and "busybox" in tags(stocked)
    # With an age as well both must say so.
    age(stocked, **{"app:3": 9, "app:4": 8})
    verdicts, _ = gc(stocked, keep_last=1, unused_days=30)
    assert not verdicts["app:3"][0]
    verdicts, _ = gc(stocked, keep_last=1, unused_days=9)
    assert verdicts["app:3"][0] and not verdicts["app:4"][0]


def test_gc_when_the_disk_is_full(make_engine, busybox_rootfs, tmp_path):
    with loop_file_system("ext4", tmp_path) as mounted:
        engine = make_engine("--data-root", mounted / "data")
        engine.data_root = mounted / "data"
        for n in range(8):
            import_files(engine, f"big:{n}", [("data", os.urandom(50 << 20))])
        age(engine, **{f"big:{n}": 8 - n for n in range(8)})
        percent = gc(engine, disk_high=99, dry_run=1)[1]["DiskUsedPercent"]
        high, low = int(percent) - 5, int(percent) - 15
        verdicts, answer = gc(engine, disk_high=high, disk_low=low)
        assert {n for n, v in verdicts.items() if v[0]} == {"big:0", "big:1"}, (percent, verdicts)
        assert "used longest ago" in verdicts["big:0"][1]
        assert gc(engine, disk_high=high, dry_run=1)[1]["DiskUsedPercent"] < high
        assert not any(v[0] for v in gc(engine, disk_high=high, disk_low=low)[0].values())


def test_gc_on_its_own(make_engine, busybox_rootfs):
    engine = make_engine("--image-gc-unused-days", "30", "--image-gc-interval", "1", "--image-gc-keep", "kept")
    engine.import_image(busybox_rootfs)
    some_images(engine, "old", "kept")
    age(engine, old=31, kept=31, busybox=29)
    wait_until(lambda: tags(engine) == {"busybox", "kept"})
    assert "image old:latest is removed: unused for 31 days" in engine.log()
    shown = engine.skiff("image", "gc", "--dry-run").stdout.splitlines()
    assert shown[0].split()[:2] == ["IMAGE", "ID"] and any("stays" in line and "kept by kept" in line for line in shown)
    assert shown[-1] == "Would reclaim: 0B"


def test_gc_without_a_policy(stocked):
    assert stocked.api("POST", "/images/gc")[0] == 400
    assert stocked.api("POST", "/images/gc?disk-high=50&disk-low=60")[0] == 400
    assert stocked.api("POST", "/images/gc?unused-days=1&keep=")[0] == 400
    assert "no policy" in stocked.skiff("image", "gc", check=False).stderr


# --- deduplication

def dedup_images(engine):
    """Two images whose only layers hold the same large files, and some of their own."""
    common = os.urandom(3_000_001)
    for n in range(2):
        owner = tarfile.TarInfo("owned")
        owner.uid, owner.mode, owner.mtime = 1000 + n, 0o640 + n, 1_000_000 + n
        import_files(engine, f"d:{n}", [("big", common), (owner, common[:500_000]), ("own", os.urandom(200_000)),
                                        ("same/size", bytes([n]) * 100_000), ("tiny", b"t" * 100)])
    return common


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_dedup_shares_blocks(make_engine, tmp_path, kind):
    with loop_file_system(kind, tmp_path) as mounted:
        engine = make_engine("--data-root", mounted / "data")
        engine.data_root = mounted / "data"
        common = dedup_images(engine)
        paths = [layer_path(engine, layers_of(engine, f"d:{n}")[0]) / "fs" for n in range(2)]
        before = [os.lstat(p / "owned") for p in paths]
        size = engine.api("GET", "/v1.44/system/df")[2]["LayersSize"]
        assert size == on_disk(engine)
        planned = engine.api("POST", "/images/dedup?dry-run=1")[2]
        sync(mounted)
        used = statfs_used(mounted)
        done = engine.api("POST", "/images/dedup")[2]
        assert done == planned and done["CanShare"] and done["FileSystem"] == kind and done["Files"] == 2
        assert 3_500_000 <= done["SpaceSaved"] <= 3_600_000
        for _ in range(100):  # the file system frees in the background
            sync(mounted)
            freed = used - statfs_used(mounted)
            if freed >= done["SpaceSaved"] - 200_000:
                break
            time.sleep(0.1)
        assert abs(freed - done["SpaceSaved"]) < 300_000, (freed, done)
        # Nothing else is another than before.
        assert [(p / "big").read_bytes() == common for p in paths] == [True, True]
        after = [os.lstat(p / "owned") for p in paths]
        fields = ("st_ino", "st_uid", "st_mode", "st_mtime_ns", "st_nlink")
        assert [[getattr(s, f) for f in fields] for s in before] == [[getattr(s, f) for f in fields] for s in after]
        assert fsck(engine)[0] == []
        # The sizes know of it, du does not.
        df = engine.api("GET", "/v1.44/system/df")[2]
        assert df["LayersSize"] == size - done["SpaceSaved"] < on_disk(engine)
        assert {i["SharedSize"] for i in df["Images"]} == {done["SpaceSaved"]}
        assert engine.api("POST", "/images/dedup")[2]["Files"] == 0  # again: there is nothing left
        # The first one to go frees only what is its own, the second one the rest.
        engine.docker("create", "--name", "holder", "d:1", "x")
        first = engine.api("POST", '/images/prune?filters={"dangling":["false"]}')[2]["SpaceReclaimed"]
        assert 300_000 <= first <= 400_000
        engine.docker("rm", "holder")
        second = engine.api("POST", '/images/prune?filters={"dangling":["false"]}')[2]["SpaceReclaimed"]
        assert first + second == df["LayersSize"]
        engine.stop()


def test_dedup_after_a_pull(make_engine, tmp_path):
    with loop_file_system("xfs", tmp_path) as mounted:
        engine = make_engine("--data-root", mounted / "data", "--image-dedup")
        content = os.urandom(1 << 20)
        server = registry.BadRegistry(engine.in_netns())
        try:
            for n in range(2):
                image = registry.Image([make_tar([("big", content), ("n", b"%d" % n)])])
                engine.docker("pull", "-q", server.put(image, "lib/x", f"v{n}"))
        finally:
            server.close()
        wait_until(lambda: "1 files share blocks, which saves 1048576 bytes" in engine.log())
        engine.stop()


def test_dedup_where_the_file_system_cannot(make_engine, tmp_path):
    with loop_file_system("ext4", tmp_path) as mounted:
        engine = make_engine("--data-root", mounted / "data")
        dedup_images(engine)
        status, _, answer = engine.api("POST", "/images/dedup")
        assert status == 501 and "(ext4) cannot share blocks between files: xfs and btrfs can" in answer["message"]
        shown = engine.skiff("image", "dedup", "--dry-run").stdout
        assert "2 files could share blocks with equal ones, which would save: 3.5" in shown and "(ext4) cannot" in shown
        assert engine.skiff("image", "dedup", check=False).returncode == 1
        engine.stop()


# --- images of layers made by hand

def entry(name, content=None, **more):
    """A TarInfo and its contents for make_tar."""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if content is None else 0o644
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def load_layers(engine, reference, layers, config=None, history=None):
    """An image of these layers (make_tar's entries), through an archive as docker save makes it."""
    image = registry.Image([make_tar(layer) for layer in layers], compress=None, config=config)
    if history:
        image.config["history"] = history
    config = json.dumps(image.config).encode()
    names = [f"{n}.tar" for n in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": names}]
    archive = make_tar([(n, make_tar(layer)) for n, layer in zip(names, layers)] +
                       [("config.json", config), ("manifest.json", json.dumps(manifest).encode())])
    engine.docker("load", "-q", input=archive)
    return reference


def contents(engine, image):
    """Every file of a container made from the image, as the kernel's overlay shows it."""
    name = engine.docker("create", image, "x").stdout.strip()
    exported = engine.docker("export", name, text=False, input=b"").stdout
    engine.docker("rm", name)
    files, links = {}, {}
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        for m in tar:
            data = tar.extractfile(m).read() if m.isreg() else b""
            files[m.name] = (m.type if not m.islnk() else tarfile.REGTYPE, m.mode, m.uid, m.gid, m.mtime,
                             data, m.linkname if m.issym() else "", m.devmajor, m.devminor,
                             {k: v for k, v in m.pax_headers.items() if "xattr" in k})
            if m.islnk():
                links[m.name] = m.linkname
    for name, target in links.items():
        files[name] = files[target]
    return files, links


LAYERS = [
    [entry("./", mode=0o711), entry("etc"), entry("etc/a", b"a"), entry("etc/b", b"b", uid=5), entry("gone"),
     entry("gone/x", b"x"), entry("opaque"), entry("opaque/low", b"low"), entry("dir2file"), entry("dir2file/x", b"x"),
     entry("file2dir", b"file"), entry("twice", b"1"), entry("hard1", b"linked" * 1000),
     entry("hard2", type=tarfile.LNKTYPE, linkname="hard1"), entry("back"), entry("back/old", b"old")],
    [entry("etc", mode=0o700), entry("etc/a", b"changed"), entry("etc/.wh.b", b""), entry(".wh.gone", b""),
     entry("opaque"), entry("opaque/.wh..wh..opq", b""), entry("opaque/mid", b"mid"), entry("dir2file", b"now a file"),
     entry("file2dir"), entry("file2dir/in", b"in"), entry("twice", b"2"), entry(".wh.back", b"")],
    [entry("etc/b", b"back again", mode=0o4755), entry("back"), entry("back/new", b"new"), entry("twice", b"3"),
     entry("node", type=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("pipe", type=tarfile.FIFOTYPE),
     entry("sym", type=tarfile.SYMTYPE, linkname="../x"),
     entry("capable", b"c", pax_headers={"SCHILY.xattr.user.k": "v", "mtime": "1234567890.123456789"})],
    [entry("top", b"top"), entry(".wh.twice", b""), entry("opaque/top", b"top"), entry(".wh.file2dir", b"")],
]
HISTORY = [{"created_by": "layer 1"}, {"created_by": "ENV a=b", "empty_layer": True}, {"created_by": "layer 2"},
           {"created_by": "layer 3"}, {"created_by": "CMD", "empty_layer": True}, {"created_by": "layer 4"}]


# --- flatten

@pytest.mark.parametrize("first, last", [(1, 4), (1, 2), (2, 3), (2, 4), (3, 4), (1, 3)])
def test_flatten_keeps_the_contents(engine, first, last):
    load_layers(engine, "lay:ers", LAYERS, history=HISTORY)
    id = engine.skiff("image", "flatten", "--from", first, "--to", last, "lay:ers", f"flat:{first}{last}").stdout.strip()
    before, after = (engine.api("GET", f"/images/{n}/json")[2] for n in ("lay:ers", f"flat:{first}{last}"))
    assert after["Id"] == id and after["Config"] == before["Config"]
    old, new = before["RootFS"]["Layers"], after["RootFS"]["Layers"]
    assert new[:first - 1] == old[:first - 1] and new[first:] == old[last:] and len(new) == 4 - (last - first)
    assert contents(engine, "lay:ers") == contents(engine, f"flat:{first}{last}")
    assert engine.skiff("image", "diff", "--times", "lay:ers", f"flat:{first}{last}").stdout == ""
    history = engine.api("GET", f"/images/flat:{first}{last}/history")[2]
    assert len(history) == len(HISTORY) + 1
    merged, = [h for h in history if h["CreatedBy"] == "skiff image flatten"]
    assert merged["Comment"] == f"merge of layers {first} to {last}"
    named = {h["CreatedBy"]: h["Size"] for h in history}
    for n in range(1, 5):
        assert (named[f"layer {n}"] > 0) == (n < first or n > last), named
    assert fsck(engine)[0] == []
    engine.docker("rmi", f"flat:{first}{last}", "lay:ers")


def test_flatten_of_random_layers(engine):
    import random
    for seed in range(12):
        rng = random.Random(seed)
        layers, names = [], [f"{a}/{b}/{c}" for a in "ab" for b in "xy" for c in "12"]
        for _ in range(5):
            layer, made = [], set()
            for path in rng.sample(names, 4):
                parts = path.split("/")[:rng.randint(1, 3)]
                full = "/".join(parts)
                if any(full == m or full.startswith(m + "/") or m.startswith(full + "/") for m in made):
                    continue
                made.add(full)
                what = rng.choice(["file", "file", "dir", "whiteout", "opaque", "link"])
                folder, last = full.rpartition("/")[::2]
                if what == "file":
                    layer.append(entry(full, rng.choice([b"1", b"22", b"x" * 5000]), mtime=rng.randint(1, 9), uid=rng.randint(0, 2)))
                elif what == "dir":
                    layer.append(entry(full, mode=rng.choice([0o755, 0o700])))
                elif what == "whiteout":
                    layer.append(entry(f"{folder}/.wh.{last}".lstrip("/"), b""))
                elif what == "opaque":
                    layer += [entry(full), entry(f"{full}/.wh..wh..opq", b""), entry(f"{full}/{rng.randint(1, 3)}", b"o")]
                else:
                    layer.append(entry(full, type=tarfile.SYMTYPE, linkname=str(rng.randint(1, 3))))
            layers.append(layer)
        load_layers(engine, f"rnd:{seed}", layers)
        first = rng.randint(1, 4)
        last = rng.randint(first + 1, 5)
        engine.skiff("image", "flatten", "--from", first, "--to", last, f"rnd:{seed}", "rnd:flat")
        one, other = contents(engine, f"rnd:{seed}"), contents(engine, "rnd:flat")
        # A directory that no tar names has the time of its making.
        assert {k: v if v[0] != tarfile.DIRTYPE else v[:4] for k, v in one[0].items()} == \
            {k: v if v[0] != tarfile.DIRTYPE else v[:4] for k, v in other[0].items()}, (seed, first, last, layers)
        assert engine.skiff("image", "diff", "--times", f"rnd:{seed}", "rnd:flat").returncode == 0
        engine.docker("rmi", "-f", f"rnd:{seed}", "rnd:flat")


def test_flatten_of_what_one_image_adds(engine):
    load_layers(engine, "base:1", LAYERS[:2])
    load_layers(engine, "base:2", LAYERS)
    id = engine.skiff("image", "flatten", "base:1..base:2").stdout.strip()
    layers = engine.api("GET", f"/images/{id}/json")[2]["RootFS"]["Layers"]
    assert layers[:2] == layers_of(engine, "base:1") and len(layers) == 3
    assert contents(engine, id) == contents(engine, "base:2")
    diff_id = layers_of(engine, "base:2")[2]
    assert engine.skiff("image", "flatten", "--from", diff_id[7:19], "base:2").stdout.strip()[7:]
    # One layer is what it is already.
    same = engine.skiff("image", "flatten", "--from", "4", "base:2", "named:one").stdout.strip()
    assert same == engine.api("GET", "/images/base:2/json")[2]["Id"] == engine.api("GET", "/images/named:one/json")[2]["Id"]
    for arguments, words in ((("base:2..base:1",), "is not made from"), (("--from", "5", "base:2"), "no such layer 5"),
                             (("--from", "3", "--to", "2", "base:2"), "lies above"), (("nope..base:2",), "No such image"),
                             (("base:2", "UPPER:x"), "invalid reference format"), (("base:2..base:2",), "no layer on top"),
                             (("--from", "1", "base:1..base:2"), "cannot be given")):
        done = engine.skiff("image", "flatten", *arguments, check=False)
        assert done.returncode == 1 and words in done.stderr, (arguments, done.stderr)
    engine.docker("rmi", "-f", "base:1", "base:2", "named:one", id)


# --- diff

def lines(done):
    return done.stdout.splitlines()


def test_diff_of_two_images(engine):
    load_layers(engine, "da:1", LAYERS[:2], config={"Env": ["PATH=/bin", "GONE=1", "SAME=x"], "Cmd": ["sh"],
                                                    "Labels": {"l": "1"}})
    load_layers(engine, "da:2", LAYERS, config={"Env": ["PATH=/usr/bin", "SAME=x", "NEW=a=b"], "Cmd": ["sh", "-c"],
                                                "Labels": {"l": "1"}, "User": "me"})
    done = engine.skiff("image", "diff", "da:1", "da:2", check=False)
    assert done.returncode == 1
    assert lines(done) == [
        "C config Env PATH: /bin -> /usr/bin", "D config Env GONE: 1", "A config Env NEW: a=b",
        'C config Cmd: ["sh"] -> ["sh","-c"]', "A config User: me",
        "A /back", "A /back/new", "A /capable", "C /etc (mode)", "A /etc/b", "D /file2dir", "D /file2dir/in", "A /node", "A /opaque/top",
        "A /pipe", "A /sym", "A /top", "D /twice"]
    back = engine.skiff("image", "diff", "da:2", "da:1", check=False)
    swap = {"A": "D", "D": "A", "C": "C"}
    assert [swap[line[0]] + line[1:] for line in lines(back) if "config" not in line] == lines(done)[5:]
    same = engine.skiff("image", "diff", "da:1", "da:1")
    assert same.returncode == 0 and same.stdout == ""
    quiet = engine.skiff("image", "diff", "-q", "da:1", "da:2", check=False)
    assert quiet.returncode == 1 and quiet.stdout == quiet.stderr == ""
    trouble = engine.skiff("image", "diff", "-q", "da:1", "nope", check=False)
    assert trouble.returncode == 2 and "No such image or container: nope" in trouble.stderr
    status, _, answer = engine.api("GET", "/images/da:1/diff?with=da:2")
    documents = json_lines(answer)
    assert status == 200 and documents[0] == {"Type": "config", "Kind": "changed", "Field": "Env", "Key": "PATH",
                                              "From": "/bin", "To": "/usr/bin"}
    assert next(d for d in documents if d.get("Path") == "/etc/b") == {
        "Type": "file", "Kind": "added", "Path": "/etc/b", "Reasons": [], "From": None,
        "To": {"Type": "file", "Mode": "4755", "Uid": 0, "Gid": 0, "Size": 10}}
    assert json_lines(engine.skiff("image", "diff", "--format", "json", "da:1", "da:2", check=False).stdout.encode()) == documents
    assert lines(engine.skiff("image", "diff", "--format", "{{.Kind}} {{.Path}}", "da:1", "da:2", check=False))[-1] == \
        "deleted /twice"
    assert engine.api("GET", "/images/da:1/diff")[0] == 400
    engine.docker("rmi", "da:1", "da:2")


def test_diff_says_why(engine):
    first = [entry("./"), entry("content", b"aaaa"), entry("mode", b"x"), entry("owner", b"x"), entry("xattr", b"x"),
             entry("type", b"x"), entry("link", type=tarfile.SYMTYPE, linkname="a"), entry("time", b"x", mtime=1),
             entry("node", type=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("dir"), entry("all", b"x"), entry("same", b"x")]
    second = [entry("./"), entry("content", b"aaab"), entry("mode", b"x", mode=0o600), entry("owner", b"x", gid=9),
              entry("xattr", b"x", pax_headers={"SCHILY.xattr.user.k": "v"}), entry("type"),
              entry("link", type=tarfile.SYMTYPE, linkname="b"), entry("time", b"x", mtime=2),
              entry("node", type=tarfile.CHRTYPE, devmajor=1, devminor=5), entry("dir", mode=0o711),
              entry("all", b"y", mode=0o600, uid=1, pax_headers={"SCHILY.xattr.user.k": "v"}), entry("same", b"x")]
    load_layers(engine, "why:1", [first])
    load_layers(engine, "why:2", [second])
    wanted = ["C /all (content, mode, owner, xattr)", "C /content (content)", "C /dir (mode)", "C /link (content)",
              "C /mode (mode)", "C /node (content)", "C /owner (owner)", "C /type (type)", "C /xattr (xattr)"]
    assert lines(engine.skiff("image", "diff", "why:1", "why:2", check=False)) == wanted
    with_times = lines(engine.skiff("image", "diff", "--times", "why:1", "why:2", check=False))
    assert set(with_times) - set(wanted) == {"C /time (time)"}
    engine.docker("rmi", "why:1", "why:2")


def test_diff_of_an_image_and_a_container(engine, busybox):
    engine.docker("run", "--name", "changed", "-e", "X=1", "busybox", "sh", "-c",
                  "echo x > /etc/new; rm /etc/group; chmod 600 /etc/passwd; rm -r /home; mkdir /home; touch /home/f")
    got = lines(engine.skiff("image", "diff", "busybox", "changed", check=False))
    assert [line for line in got if " config " not in line] == [
        "D /etc/group", "A /etc/new", "C /etc/passwd (mode)", "A /home/f"]
    assert "A config Env X: 1" in got
    running = engine.docker("run", "-d", "--name", "untouched", "busybox", "sleep", "1000").stdout.strip()
    for name in ("untouched", running[:12], f"container:{running}"):
        got = lines(engine.skiff("image", "diff", "busybox", name, check=False))
        assert [line for line in got if " config " not in line] == [], got
    engine.remove_containers()


def test_diff_looks_only_at_layers_that_differ(engine):
    """A layer below that both have may be damaged: it is not read."""
    low = [entry(f"d{n}/f{k}", b"%d" % k) for n in range(20) for k in range(20)]
    load_layers(engine, "cheap:1", [low, [entry("a", b"1")]])
    load_layers(engine, "cheap:2", [low, [entry("a", b"2")]])
    shutil.rmtree(layer_path(engine, layers_of(engine, "cheap:1")[0]) / "fs/d7")
    assert lines(engine.skiff("image", "diff", "cheap:1", "cheap:2", check=False)) == ["C /a (content)"]
    engine.docker("rmi", "cheap:1", "cheap:2")
