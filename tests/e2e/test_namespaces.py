"""Containers that share: namespaces, names, links."""
import pytest


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


def test_namespaces_of_two_containers_need_one_user_namespace(engine, busybox):
    for name, options in (("one", ()), ("two", ()), ("host-one", ("--userns=host",)), ("host-two", ("--userns=host",))):
        engine.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
    refused = engine.docker("run", "--rm", "--network", "container:one", "--pid", "container:two", "busybox", "true", check=False)
    assert refused.returncode == 125 and "user namespaces of their own" in refused.stderr
    both = engine.docker("run", "--rm", "--network", "container:host-one", "--pid", "container:host-two", "busybox", "ps").stdout
    assert "sleep 1000" in both


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
