"""Limits of writable layers and volumes by project quota, on ext4 and xfs: in a virtual machine, because few kernels have the quotas of
both. What needs no quota (snapshots, refusals) is in test_volumes.py."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from engine import BIN

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vm"))
import machine  # noqa: E402

EXPECTED_CHECKS = 87
DISK_MIB = 512  # mkfs.xfs makes nothing smaller than 300


def make_disk(path, *command):
    with open(path, "wb") as file:
        file.truncate(DISK_MIB << 20)
    subprocess.run([*command, path], check=True, capture_output=True)
    return path


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")
@pytest.mark.skipif(not os.path.exists("/sbin/mkfs.xfs"), reason="xfsprogs is not installed")
def test_project_quotas(tmp_path):
    tool = tmp_path / "quota_tool"
    subprocess.run(["cc", "-static", "-O1", "-D_GNU_SOURCE", "-o", tool, machine.HERE / "quota_tool.c"], check=True)
    disks = [make_disk(tmp_path / "ext4.img", "/sbin/mkfs.ext4", "-q", "-O", "quota,project"),
             make_disk(tmp_path / "xfs.img", "/sbin/mkfs.xfs", "-q")]
    programs = [BIN / name for name in ("skiff", "skiffd", "skiff-shim", "skiff-init")]
    console = machine.run(tmp_path, programs, BIN.parent / "vm-kernel", checks=machine.HERE / "quota", timeout=900, disks=disks,
                          image_programs=[tool])
    lines = [line.strip() for line in console.splitlines()]
    print("\n".join(line for line in lines if re.match(r"(not )?ok |# ", line)))
    assert not [line for line in lines if line.startswith("not ok")] and "# end of checks" in lines, console
    assert sum(line.startswith("ok ") for line in lines) == EXPECTED_CHECKS, console
