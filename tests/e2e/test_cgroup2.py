"""Resource limits on cgroup v2, which this machine may not have: in a virtual machine."""
import pathlib
import shutil
import sys

import pytest

from engine import BIN

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vm"))
import machine  # noqa: E402

EXPECTED_CHECKS = 29


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")
def test_limits_hold_on_cgroup_v2(tmp_path):
    programs = [BIN / name for name in ("skiff", "skiffd", "skiff-shim", "skiff-init")]
    console = machine.run(tmp_path, programs, BIN.parent / "vm-kernel")
    lines = [line.strip() for line in console.splitlines()]
    wrong = [line for line in lines if line.startswith("not ok")]
    assert not wrong and "# end of checks" in lines, console
    assert sum(line.startswith("ok ") for line in lines) == EXPECTED_CHECKS, console
