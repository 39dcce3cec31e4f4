"""Ways out of a container that other engines had to close (the CVE of each is named), tried on ours."""
import io
import tarfile

import pytest

from engine import busybox_tar


def run(engine, *args, check=True):
    return engine.docker("run", "--rm", *args, check=check)


@pytest.mark.parametrize("options", [[], ["--userns", "host"]], ids=["own-userns", "host-userns"])
class TestInside:
    def test_working_directory_is_never_a_descriptor_of_ours(self, engine, busybox, options):
        """CVE-2024-21626: WORKDIR /proc/self/fd/N led to the host through a descriptor left open."""
        for number in range(0, 33):
            done = run(engine, *options, "-w", f"/proc/self/fd/{number}", "busybox", "cat", "../../../../etc/hostname",
                       check=False)
            host = open("/etc/hostname", encoding="utf-8").read()
            assert not host.strip() or host not in done.stdout, number

    def test_no_descriptor_is_inherited(self, engine, busybox, options):
        """CVE-2016-9962."""
        listed = run(engine, *options, "busybox", "sh", "-c", "ls /proc/self/fd").stdout.split()
        assert set(listed) <= {"0", "1", "2", "3"}  # 3 is ls's own

    def test_the_runtime_cannot_be_executed_or_written(self, engine, busybox, options):
        """CVE-2019-5736: the entrypoint /proc/self/exe was the host's runtime."""
        done = run(engine, *options, "--entrypoint", "/proc/self/exe", "busybox", check=False)
        assert done.returncode != 0

    def test_no_inheritable_or_ambient_capability(self, engine, busybox, options):
        """CVE-2022-24769 and its kin."""
        script = "grep -E 'Cap(Inh|Amb)' /proc/self/status"
        for user in ("0", "1000"):
            for line in run(engine, *options, "-u", user, "busybox", "sh", "-c", script).stdout.splitlines():
                assert int(line.split()[1], 16) == 0, line
        status = run(engine, *options, "-u", "1000", "busybox", "grep", "CapEff", "/proc/self/status").stdout
        assert int(status.split()[1], 16) == 0

    def test_kernel_knobs_are_out_of_reach(self, engine, busybox, options):
        """Masked files are empty, read-only ones refuse."""
        script = ("cat /proc/kcore /proc/timer_list 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l; "
                  "(echo h > /proc/sysrq-trigger) 2>/dev/null && echo WROTE; "
                  "(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo WROTE; "
                  "mount -t tmpfs x /tmp 2>/dev/null && echo MOUNTED; true")
        assert run(engine, *options, "busybox", "sh", "-c", script).stdout.split() == ["0", "0"]

    def test_the_cgroup_cannot_be_written(self, engine, busybox, options):
        """CVE-2022-0492, CVE-2023-25809."""
        script = "for f in $(find /sys/fs/cgroup -name cgroup.procs | head -5); do (echo 1 > $f) 2>/dev/null && echo WROTE; done; true"
        assert run(engine, *options, "busybox", "sh", "-c", script).stdout == ""


def hostile_rootfs(links):
    """busybox with these paths replaced by symbolic links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as old, tarfile.open(fileobj=out, mode="w") as new:
        for entry in old:
            if not any(entry.name == path or entry.name.startswith(path + "/") for path in links):
                new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
        for path, target in links.items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            new.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("links", [{"dev": "/tmp"}, {"proc": "/tmp"}, {"sys": "/etc"}, {"etc": "/tmp"},
                                   {"etc/hosts": "/etc/passwd"}, {"dev": "../../../../tmp"}],
                         ids=lambda links: ",".join(f"{k}->{v}" for k, v in links.items()))
def test_mount_targets_that_are_links(engine, tmp_path, links):
    """CVE-2019-18837, CVE-2021-30465, CVE-2025-31133: whatever the image makes of /dev, /proc, /sys or /etc, the mounts stay
    inside, and masks hold where the container runs at all."""
    engine.import_image(hostile_rootfs(links), "hostile:1")
    done = engine.docker("run", "--rm", "hostile:1", "/bin/sh", "-c",
                         "/bin/cat /proc/kcore 2>/dev/null | /bin/wc -c; (echo h > /proc/sysrq-trigger) 2>/dev/null && echo WROTE",
                         check=False)
    if "failed to create" not in done.stderr:
        assert "WROTE" not in done.stdout and done.stdout.split()[:1] in (["0"], []), done
    engine.docker("rmi", "-f", "hostile:1")


def test_sockets_are_not_reachable_from_the_host_network(engine, busybox):
    """CVE-2020-15257: the monitor listened on an abstract socket."""
    engine.docker("run", "-d", "--name", "other", "busybox", "sleep", "100")
    sockets = run(engine, "--network", "host", "busybox", "cat", "/proc/net/unix").stdout
    assert "@" not in "".join(line.split()[-1] for line in sockets.splitlines()[1:] if "skiff" in line)
