"""Programs that use dockerode and testcontainers, unmodified, against skiffd. The packages come from npm, once, into a cache."""
import pathlib
import shutil
import subprocess

import pytest

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "conformance" / "sdk"
CACHE = pathlib.Path("/var/cache/skiff-tests/sdk")


@pytest.fixture(scope="module")
def packages():
    """The folder with node_modules, beside copies of the programs."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    CACHE.mkdir(parents=True, exist_ok=True)
    manifest = (SOURCES / "package.json").read_text()
    if not (CACHE / "node_modules/testcontainers").exists() or (CACHE / "package.json").read_text() != manifest:
        (CACHE / "package.json").write_text(manifest)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=CACHE, check=True, capture_output=True,
                       timeout=600)
    for program in SOURCES.glob("*.mjs"):
        shutil.copy(program, CACHE / program.name)
    return CACHE


@pytest.mark.parametrize("program,parts", [("dockerode", 13), ("testcontainers", 8)])
def test_program(engine, busybox, packages, program, parts):
    # In the engine's network namespace, as published ports are asked for on its loopback. The cleaner of testcontainers is an image of
    # its own, from a registry that is out of reach.
    done = engine.run_in_netns("node", f"{program}.mjs", cwd=packages, check=False, timeout=300,
                               env=engine.environment(TESTCONTAINERS_RYUK_DISABLED="true"))
    said = done.stdout.decode()
    assert done.returncode == 0, f"{said}{done.stderr.decode()[-3000:]}\n{engine.log()}"
    assert sum(line.startswith("ok ") for line in said.splitlines()) == parts, said
