"""A real distribution as an image: Debian by debootstrap, with its package manager, users, interpreters and a daemon."""
import pathlib
import shutil
import subprocess

import pytest

from engine import wait_until

CACHE = pathlib.Path("/var/cache/skiff-tests/debian.tar")


@pytest.fixture(scope="module")
def debian(session_engine):
    if not CACHE.exists():
        if not shutil.which("debootstrap"):
            pytest.skip("debootstrap is not installed")
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        root = CACHE.parent / "root"
        shutil.rmtree(root, ignore_errors=True)
        packages = "nginx-light,iputils-ping,perl-base"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root], check=True,
                       timeout=900, capture_output=True)
        part = CACHE.with_suffix(".part")
        subprocess.run(["tar", "-C", root, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-cf", part, "."], check=True)
        part.rename(CACHE)
        shutil.rmtree(root)
    session_engine.skiff("import", "--change", "CMD [\"bash\"]", CACHE, "debian:12", timeout=300)
    return session_engine


def test_its_programs_run(debian):
    def run(*args):
        return debian.docker("run", "--rm", *args).stdout.strip()

    assert run("debian:12", "apt-get", "--version").startswith("apt 2.")
    assert run("debian:12", "su", "nobody", "-s", "/bin/sh", "-c", "id -un") == "nobody"
    assert "1 received" in run("debian:12", "ping", "-c1", "127.0.0.1")
    assert run("debian:12", "perl", "-e", "print 6*7") == "42"
    assert run("-u", "www-data", "debian:12", "id", "-un") == "www-data"


def test_a_daemon_answers_on_its_published_port(debian):
    debian.docker("run", "-d", "--name", "nginx", "-p", "8090:80", "debian:12", "nginx", "-g", "daemon off;")
    fetch = ("busybox", "wget", "-qO-", "http://127.0.0.1:8090/")
    wait_until(lambda: b"nginx" in debian.run_in_netns(*fetch, check=False).stdout, timeout=15)
    debian.docker("rm", "-f", "nginx")
