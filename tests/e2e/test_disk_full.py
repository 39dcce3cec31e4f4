"""A full disk: a clear error, nothing left behind, and an engine that goes on when there is room again. The data root is an ext4
file system of its own, 64 MiB in a file."""
import contextlib
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import time

import pytest

from engine import json_lines, run, wait_until

DISK_MIB = 64


@pytest.fixture
def small_engine(make_engine, busybox_rootfs):
    if not shutil.which("mkfs.ext4"):
        pytest.skip("e2fsprogs is not installed")
    engine = make_engine(is_started=False)
    disk = engine.root / "disk"
    with open(disk, "wb") as file:
        file.truncate(DISK_MIB << 20)
    run("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", disk)
    engine.data_root.mkdir()
    run("mount", "-o", "loop", disk, engine.data_root)
    try:
        engine.start()
        engine.import_image(busybox_rootfs)
        yield engine
    finally:
        with contextlib.suppress(OSError, AssertionError):
            engine.remove_containers()
        engine.stop()
        wait_until(lambda: subprocess.run(["umount", engine.data_root], check=False, capture_output=True).returncode == 0)


def layer_of(size, block):
    """Four files of blocks of 64 KiB; block() makes one."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(4):
            info = tarfile.TarInfo(f"filling{i}")
            info.size = size // 4
            tar.addfile(info, io.BytesIO(b"".join(block() for _ in range(info.size >> 16))))
    return out.getvalue()


def used_kb(engine):
    st = os.statvfs(engine.data_root)
    return (st.f_blocks - st.f_bfree) * st.f_frsize // 1024


def import_error(engine, archive, name):
    status, _, answer = engine.api("POST", f"/images/create?fromSrc=-&repo={name}&tag=1", body=archive,
                                   headers={"Content-Type": "application/x-tar"}, timeout=120)
    if status != 200:
        return answer["message"]
    return next((line["errorDetail"]["message"] for line in json_lines(answer) if "errorDetail" in line), None)


@pytest.mark.parametrize("archive", ["plain", "bomb"])
def test_an_image_that_does_not_fit(small_engine, archive):
    engine = small_engine
    before = used_kb(engine)
    text = layer_of(80 << 20, lambda: os.urandom(1 << 16)) if archive == "plain" else \
        gzip.compress(layer_of(256 << 20, lambda: b"x" * (1 << 16)), 6)
    assert archive == "plain" or len(text) < 1 << 20
    message = import_error(engine, text, "toobig")
    assert message and "no space left on device" in message, message
    assert engine.api("GET", "/images/toobig:1/json")[0] == 404
    wait_until(lambda: used_kb(engine) <= before + 512)
    assert engine.docker("run", "--rm", "busybox", "echo", "still good").stdout == "still good\n"


def test_a_container_that_fills_the_disk(small_engine):
    engine = small_engine
    before = used_kb(engine)
    done = engine.docker("run", "--name", "filler", "busybox", "sh", "-c", "head -c 100m /dev/urandom > /big; echo $?", check=False)
    assert done.stdout.strip() == "1" and done.stderr.startswith("head:")
    # With no room at all: the engine answers, and what needs room is refused with the reason.
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split() == ["filler"]
    status, _, answer = engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})
    assert status in (201, 500) and (status == 201 or "no space left on device" in answer["message"].lower()), answer
    engine.docker("rm", "-f", "filler")
    if status == 201:
        engine.docker("rm", answer["Id"])
    engine.restart()
    assert not engine.docker("ps", "-aq").stdout
    wait_until(lambda: used_kb(engine) <= before + 2048)
    assert engine.docker("run", "--rm", "busybox", "echo", "room again").stdout == "room again\n"


def test_output_is_not_held_up_by_a_full_disk(small_engine):
    """The log loses lines, the container and its client do not notice."""
    engine = small_engine
    with open(engine.data_root / "filling", "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    os.sync()
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -n 100000 | wc -c; "
                         "yes 0123456789 | head -n 20000", check=False, timeout=120)
    os.remove(engine.data_root / "filling")
    if done.returncode == 0:
        assert done.stdout.count("\n") == 20001
    else:  # not even its directories found room
        assert done.returncode == 125 and "no space left on device" in done.stderr.lower(), done.stderr
    time.sleep(0.2)
    assert engine.docker("run", "--rm", "busybox", "echo", "room again").stdout == "room again\n"
