"""Fixtures of the end-to-end tests. Run: python3 -m pytest tests/e2e (as root, after a build).

engine        a running private engine, shared by the session; containers a test leaves are removed after it
fresh_engine  one of the test's own: empty at its start, gone after it
make_engine   a factory for more, with options of skiffd: make_engine("--bip", "10.9.0.1/24")
busybox       the tag of an image of busybox-static in `engine` ("busybox:latest"); root file system: busybox_rootfs
"""

import os
import shutil

import pytest

from engine import BIN, Engine, busybox_tar


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root", returncode=4)
    for program in ("ip", "nsenter", "busybox"):
        if not shutil.which(program):
            pytest.exit(f"the end-to-end tests need {program}", returncode=4)
    if not (BIN / "skiffd").exists():
        pytest.exit(f"{BIN}/skiffd is not built", returncode=4)


@pytest.fixture(scope="session")
def busybox_rootfs():
    """bytes of a tar"""
    return busybox_tar()


@pytest.fixture(scope="session")
def session_engine():
    engine = Engine()
    try:
        yield engine.start()
    finally:
        engine.close()


@pytest.fixture
def engine(session_engine):
    if not session_engine.is_running():
        session_engine.start()
    yield session_engine
    if session_engine.is_running():
        session_engine.remove_containers()


@pytest.fixture
def make_engine():
    engines = []

    def make(*options, is_started=True):
        engine = Engine(*options)
        engines.append(engine)
        return engine.start() if is_started else engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def fresh_engine(make_engine):
    return make_engine()


@pytest.fixture
def busybox(engine, busybox_rootfs):
    if engine.api("GET", "/images/busybox:latest/json")[0] != 200:
        engine.import_image(busybox_rootfs)
    return "busybox:latest"


@pytest.fixture
def docker_cli():
    """Skips a test where the docker CLI is not installed."""
    path = shutil.which("docker")
    if not path:
        pytest.skip("no docker CLI")
    return path
