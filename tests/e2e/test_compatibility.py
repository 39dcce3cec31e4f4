"""docs/compatibility.md tells the truth about skiff."""
import os
import subprocess
import sys

from engine import BIN, ROOT


def test_table():
    done = subprocess.run([sys.executable, ROOT / "tests/conformance/compatibility.py", "--check", ROOT / "docs/compatibility.md"],
                          capture_output=True, text=True, timeout=600, env={**os.environ, "SKIFF_BIN": str(BIN)}, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
