"""Containers that share: namespaces, names, links."""
import os

import pytest

from engine import wait_until


def test_ipc_is_shared_with_its_memory(engine, busybox):
    engine.docker("run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sh", "-c", "echo in > /dev/shm/f; sleep 1000")
    shown = engine.docker("run", "--rm", "--ipc", "container:donor", "busybox", "sh", "-c", "cat /dev/shm/f; echo back > /dev/shm/g; "
                          "stat -c %u /dev/shm/g; readlink /proc/self/ns/ipc").stdout.split()
    assert shown[:2] == ["in", "0"]
    assert engine.docker("exec", "donor", "readlink", "/proc/self/ns/ipc").stdout.strip() == shown[2]
    assert engine.docker("exec", "donor", "cat", "/dev/shm/g").stdout == "back\n"
    engine.docker("run", "-d", "--name", "private", "busybox", "sleep", "1000")
    refused = engine.docker("run", "--rm", "--ipc", "container:private", "busybox", "true", check=False)
    assert refused.returncode == 125 and "non-shareable IPC" in refused.stderr


def test_one_container_joins_three_namespaces_of_another(engine, busybox):
    engine.docker("run", "-d", "--name", "all", "--ipc", "shareable", "-h", "host-of-all", "busybox", "sleep", "1234")
    joined = engine.docker("run", "--rm", *[f"--{kind}=container:all" for kind in ("network", "pid", "ipc")], "busybox", "sh", "-c",
                           "hostname; ps; tail -n 1 /etc/hosts").stdout
    assert joined.startswith("host-of-all\n") and "sleep 1234" in joined and joined.rstrip().endswith("host-of-all")


KINDS = ("pid", "network", "ipc")
DONORS = {"own-a": (), "own-b": (), "own-c": (), "hosts": ("--userns=host",)}
LOOK = """for ns in pid net ipc user; do readlink /proc/self/ns/$ns; done; ls /proc/1/task >/dev/null && echo proc; ls /sys/class/net | tr '\n' ' '; echo;
touch /dev/shm/$1 && stat -c %u /dev/shm/$1; touch /dev/mqueue/$1 2>/dev/null; ls -d /dev/mqueue; cat /proc/sys/kernel/hostname >/dev/null && echo read"""


@pytest.fixture
def donors(engine, busybox):
    for name, options in DONORS.items():
        engine.docker("run", "-d", "--name", name, "--ipc", "shareable", *options, "busybox", "sh", "-c",
                      f"echo of-{name} > /dev/shm/mark; exec sleep 12{len(name)}{name[-1].encode()[0]}")
    return engine


def namespaces(engine, name, kinds=("pid", "net", "ipc", "user")):
    return {k: engine.docker("exec", name, "readlink", f"/proc/self/ns/{k}").stdout.strip() for k in kinds}


@pytest.mark.parametrize("pid", [None, "own-a", "hosts"])
@pytest.mark.parametrize("network", [None, "own-a", "own-b", "hosts", "host"])
@pytest.mark.parametrize("ipc", [None, "own-a", "own-c", "hosts"])
def test_any_namespaces_of_any_containers(donors, pid, network, ipc):
    wanted = dict(zip(KINDS, (pid, network, ipc)))
    options = [f"--{k}={d if d == 'host' else 'container:' + d}" for k, d in wanted.items() if d]
    out = donors.docker("run", "--rm", *options, "busybox", "sh", "-c", LOOK, "sh", "mine").stdout.splitlines()
    seen = dict(zip(("pid", "net", "ipc", "user"), out[:4]))
    assert "proc" in out[4] and " lo" in " " + out[5] and out[6:] == ["0", "/dev/mqueue", "read"], out
    for kind, ns in (("pid", "pid"), ("network", "net"), ("ipc", "ipc")):
        if wanted[kind] and wanted[kind] != "host":
            assert seen[ns] == namespaces(donors, wanted[kind], (ns,))[ns]
    if ipc:  # its memory, with the same owners on both sides
        assert donors.docker("exec", ipc, "stat", "-c", "%u", "/dev/shm/mine").stdout.strip() == "0"
    # The user namespace is the first one's that has one of its own.
    owner = next((d for d in (pid, network, ipc) if d and d.startswith("own")), None)
    if owner:
        assert seen["user"] == namespaces(donors, owner, ("user",))["user"]


def test_processes_of_one_on_the_network_of_another(donors):
    """What the two are for: looking at the one's processes, serving on the other's address."""
    options = ("--pid=container:own-a", "--network=container:own-b")
    donors.docker("run", "-d", "--name", "both", *options, "busybox", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
    shown = donors.docker("exec", "both", "sh", "-c", "ps; cat /proc/1/cmdline | tr '\\0' ' '; grep of- /proc/1/root/dev/shm/mark").stdout
    assert "sleep 12597" in shown and "of-own-a" in shown, shown
    # a port below 1024, though it has no capability over the network
    got = wait_until(lambda: donors.docker("exec", "own-b", "sh", "-c", "nc -w 2 127.0.0.1 80 < /dev/null", check=False).stdout)
    assert got == "served\n"
    # ... which is what keeps it from changing it, whatever it is allowed elsewhere
    refused = donors.docker("run", "--rm", *options, "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo", "down", check=False)
    assert refused.returncode != 0 and "not permitted" in refused.stderr
    assert "UP" in donors.docker("exec", "own-b", "ip", "link", "show", "lo").stdout
    # With the network's owner first it may, as it may in Docker.
    donors.docker("run", "--rm", "--network=container:own-b", "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo", "down")
    donors.docker("run", "--rm", "--network=container:own-b", "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo", "up")
    # It lives in the one's pid namespace, so it ends with it.
    donors.docker("kill", "own-a")
    wait_until(lambda: donors.docker("inspect", "-f", "{{.State.Running}}", "both").stdout.strip() == "false")


def test_no_capability_over_what_is_anothers(donors):
    """sysfs and mqueue of others are seen, not owned; whoever may mount cannot make them writable."""
    out = donors.docker("run", "--rm", "--pid=container:own-a", "--network=container:own-b", "--ipc=container:own-c", "--cap-add", "SYS_ADMIN",
                        "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined", "busybox", "sh", "-c",
                        "mount -o remount,rw /sys; echo 1400 > /sys/class/net/lo/mtu; cat /sys/class/net/lo/mtu; "
                        "kill -0 1 && echo may; nsenter -t 1 -n true || echo no").stdout
    assert "65536" in out and "1400" not in out.split()


def test_a_chain_of_joins_never_leads_to_the_host(engine, busybox):
    """Who joins one that has joined itself gets the first one's user namespace, not the host's."""
    engine.docker("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "second", "--network", "container:first", "busybox", "sleep", "1000")
    expected = namespaces(engine, "first", ("user",))["user"]
    for kind in ("network", "pid"):
        assert engine.docker("run", "--rm", f"--{kind}", "container:second", "busybox", "readlink", "/proc/self/ns/user").stdout.strip() == expected
    assert engine.docker("run", "--rm", "--network", "container:second", "busybox", "cat", "/proc/self/uid_map").stdout.split()[1] != "0"


@pytest.mark.parametrize("options", [(), ("--network", "none"), ("--userns", "host")])
def test_low_ports_and_pings_need_no_capability(engine, busybox, options):
    engine.docker("run", "-d", "--name", "served", *options, "--user", "1000", "--cap-drop", "ALL", "busybox", "sh", "-c",
                  "while :; do echo low | nc -l -p 80; done")
    wait_until(lambda: engine.docker("exec", "served", "sh", "-c", "nc -w 2 127.0.0.1 80 < /dev/null", check=False).stdout == "low\n")
    joined = ("--network", "container:served", "--user", "1001", "--cap-drop", "ALL", "busybox")
    # A ping socket; busybox's own ping knows raw ones only.
    python = os.path.realpath("/usr/bin/python3")
    host = [f"-v={d}:{d}:ro" for d in ("/usr", "/lib", "/lib64") if os.path.isdir(d)]
    socket = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print('may ping')"
    assert engine.docker("run", "--rm", *host, *joined, python, "-c", socket).stdout == "may ping\n"
    engine.docker("run", "-d", "--name", "beside", *joined, "sh", "-c", "while :; do echo beside | nc -l -p 81; done")
    wait_until(lambda: engine.docker("exec", "served", "sh", "-c", "nc -w 2 127.0.0.1 81 < /dev/null", check=False).stdout == "beside\n")
    # Whoever says otherwise is heard.
    own = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=1024")
    done = engine.docker("run", "--rm", *options, *own, "--user", "1000", "busybox", "nc", "-l", "-p", "80", check=False)
    assert done.returncode != 0 and "Permission denied" in done.stderr


def test_links(engine, busybox):
    engine.docker("run", "-d", "--name", "db", "-e", "SECRET=x", "--expose", "5432", "busybox", "sleep", "1000")
    out = engine.docker("run", "--rm", "--name", "web", "--link", "db:database", "busybox", "sh", "-c",
                        "env; grep database /etc/hosts; ping -c1 -W2 database").stdout
    address = engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").stdout.strip()
    for part in (f"DATABASE_PORT_5432_TCP=tcp://{address}:5432", "DATABASE_NAME=/web/database", "DATABASE_ENV_SECRET=x",
                 f"{address}\tdatabase ", "1 packets received"):
        assert part in out, out
    engine.docker("create", "--name", "linked", "--link", "db", "busybox", "true")
    assert engine.docker("inspect", "-f", "{{json .HostConfig.Links}}", "linked").stdout.strip() == '["/db:/linked/db"]'
    engine.docker("stop", "-t", "0", "db")
    stopped = engine.docker("start", "linked", check=False)
    assert stopped.returncode == 1 and "Cannot link to a non running container: /db AS /linked/db" in stopped.stderr
    engine.docker("rm", "--link", "linked/db")
    engine.docker("start", "linked")
    assert engine.docker("inspect", "-f", "{{json .HostConfig.Links}}", "linked").stdout.strip() == "null"
    unknown = engine.docker("create", "--link", "nobody", "busybox", check=False)
    assert unknown.returncode == 1 and "could not get container for nobody" in unknown.stderr


@pytest.mark.parametrize("option,words", [("apparmor=mine", "has no AppArmor"), ("nonsense=1", "invalid --security-opt")])
def test_security_options_that_cannot_be_honoured(engine, busybox, option, words):
    done = engine.docker("run", "--rm", "--security-opt", option, "busybox", "true", check=False)
    assert done.returncode == 125 and words in done.stderr
