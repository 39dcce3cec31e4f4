"""Syslog over TLS: a container's lines at a TLS server in the engine's network namespace, and what becomes of them when the
server, its certificate or the engine is not what it should be."""

import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import run, wait_until

eventually = functools.partial(wait_until, timeout=60)  # a busy machine is no failure

PORTS = itertools.count(6514)  # one a test: a helper tries for seconds to bring its last lines home, to whoever is at its port
SPEAK = "while :; do sleep 0.1; i=$((i+1)); echo line-$i; done"

# Prints "ready", then what comes, connection by connection; arguments: certificate, key, authority of clients or "", port.
SERVER = """
import socket, ssl, sys, threading
certificate, key, clients, port = sys.argv[1:5]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
if clients:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients)
context.sni_callback = lambda sock, name, _: print('sni', name, flush=True)
listener = socket.create_server(('', int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready', flush=True)

def serve(plain):
    try:
        with context.wrap_socket(plain, server_side=True) as s:
            print('connected', s.version(), flush=True)
            for line in s.makefile('rb'):
                print('got', line.decode(), end='', flush=True)
            print('closed', flush=True)
    except OSError as problem:
        print('problem', problem, flush=True)

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Server:
    def __init__(self, engine, log, port, *certificate, clients=""):
        self.log = log
        self.process = subprocess.Popen(engine.in_netns(sys.executable, "-c", SERVER, *certificate, clients, str(port)),
                                        stdout=open(log, "w", encoding="utf-8"))
        eventually(lambda: "ready" in self.lines())

    def lines(self):
        return self.log.read_text().splitlines()

    def got(self):
        return [line[4:] for line in self.lines() if line.startswith("got ")]

    def close(self):
        self.process.kill()
        self.process.wait()


def openssl(*arguments):
    run("openssl", *arguments)


def authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key",
            "-out", folder / f"{name}.crt", "-days", "2", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")


def certificate(folder, name, ca, alternative):
    """(certificate, key), signed by `ca`."""
    key, request, cert, extensions = (folder / f"{name}.{e}" for e in ("key", "csr", "crt", "ext"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", request,
            "-subj", f"/CN={name}")
    extensions.write_text(f"subjectAltName={alternative}\n")
    openssl("x509", "-req", "-in", request, "-CA", folder / f"{ca}.crt", "-CAkey", folder / f"{ca}.key", "-CAcreateserial",
            "-out", cert, "-days", "2", "-extfile", extensions)
    return cert, key


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A folder with two authorities, and what they signed."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "ca")
    authority(folder, "stranger")
    certificate(folder, "server", "ca", "DNS:localhost,IP:127.0.0.1,IP:::1")
    certificate(folder, "misnamed", "ca", "DNS:elsewhere.example")
    certificate(folder, "client", "ca", "DNS:client")
    return folder


@pytest.fixture
def port():
    return next(PORTS)


@pytest.fixture
def serve(engine, pki, tmp_path, port):
    servers = []

    def start(name="server", clients=""):
        servers.append(Server(engine, tmp_path / f"server-{len(servers)}", port, pki / f"{name}.crt", pki / f"{name}.key",
                              clients=clients))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def options(pki, port, *more, host="localhost", ca="ca"):
    pairs = [f"syslog-address=tcp+tls://{host}:{port}", *([f"syslog-tls-ca-cert={pki}/{ca}.crt"] if ca else []), *more]
    return ["--log-driver", "syslog", *[word for pair in pairs for word in ("--log-opt", pair)]]


def start(engine, command, log_options):
    return engine.docker("run", "-d", *log_options, "busybox", "sh", "-c", command).stdout.strip()


def helpers(engine, container):
    """Process ids of the container's skiff-logtls: children of its monitor."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if (entry / "comm").read_text() == "skiff-logtls\n" and \
                    str(engine.exec_root).encode() in Path(f"/proc/{parent}/cmdline").read_bytes() and \
                    container[:12].encode() in Path(f"/proc/{parent}/cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_messages_arrive_as_the_plain_drivers(engine, busybox, pki, port, serve, host):
    server = serve()
    short = start(engine, "echo to-out; echo to-err >&2", options(pki, port, host=host))
    engine.docker("wait", short)
    eventually(lambda: "closed" in server.lines())  # the helper has ended too, and said so
    stamp = rf"[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d {short[:12]}\[\d+\]: "
    out, err = sorted(server.got(), reverse=True)
    assert re.fullmatch(rf"<30>{stamp}to-out", out) and re.fullmatch(rf"<27>{stamp}to-err", err), server.lines()
    assert f"sni {'localhost' if host == 'localhost' else None}" in server.lines()
    assert "connected TLSv1.3" in server.lines()


def test_rfc5424_goes_behind_its_length(engine, busybox, pki, port, serve):
    server = serve()
    start(engine, "echo hello; echo again", options(pki, port, "syslog-format=rfc5424", "tag={{.Name}}/x"))
    eventually(lambda: len(server.got()) == 2)
    for line, text in zip(server.got(), ["hello", "again"]):
        size, message = line.split(" ", 1)
        assert int(size) == len(message) + 1, line
        assert re.fullmatch(rf"<30>1 \S+ \S+ \S+/x \d+ \S+/x - {text}", message), line


@pytest.mark.parametrize("name, ca", [("server", "stranger"), ("server", None), ("misnamed", "ca")])
def test_a_server_that_is_not_trusted_gets_nothing(engine, busybox, pki, port, serve, name, ca):
    server = serve(name)
    container = start(engine, SPEAK, options(pki, port, ca=ca))
    eventually(lambda: sum(line.startswith("problem") for line in server.lines()) >= 2)  # it tries, and tries again
    assert server.got() == [] and not any(line.startswith("connected") for line in server.lines())
    assert engine.docker("inspect", "-f", "{{.State.Running}}", container).stdout == "true\n"
    eventually(lambda: helpers(engine, container))
    engine.docker("rm", "-f", container)


def test_why_nothing_arrives_is_said(engine, pki, port, serve, tmp_path):
    serve()
    argv = engine.in_netns(engine.bin / "skiff-logtls", "--host", "127.0.0.1", "--port", port, "--name", "localhost")
    with subprocess.Popen([*argv, "--ca", pki / "stranger.crt"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as helper:
        assert f"localhost:{port}: unable to get local issuer certificate" in helper.stderr.readline()
        helper.stdin.close()  # with nothing left to send it ends
        assert helper.wait(timeout=20) == 0
    (tmp_path / "bad").write_text("this is no certificate")
    failed = run(*argv, "--ca", tmp_path / "bad", check=False, text=True)
    assert failed.returncode == 1 and "could not read CA certificate" in failed.stderr, failed


def test_nothing_of_a_burst_is_lost(engine, busybox, pki, port, serve):
    """Not while the first connection is made, and not at the container's end."""
    server = serve()
    start(engine, "seq 1 20000; printf '%020000d\\n' 0; echo end", options(pki, port))
    eventually(lambda: "closed" in server.lines())
    texts = [line.split("]: ", 1)[1] for line in server.got()]
    assert texts[:20000] == [str(i) for i in range(1, 20001)]
    assert texts[20000:] == ["0" * 16384, "0" * (20000 - 16384), "end"]


def test_skip_verify(engine, busybox, pki, port, serve):
    server = serve("misnamed")
    start(engine, "echo hello", options(pki, port, "syslog-tls-skip-verify=true", ca="stranger"))
    eventually(lambda: any(line.endswith(": hello") for line in server.got()))


def test_the_server_may_ask_for_a_certificate(engine, busybox, pki, port, serve):
    server = serve(clients=pki / "ca.crt")
    nobody = start(engine, SPEAK, options(pki, port))
    eventually(lambda: any(line.startswith("problem") for line in server.lines()))
    assert server.got() == []
    engine.docker("rm", "-f", nobody)
    start(engine, "echo hello", options(pki, port, f"syslog-tls-cert={pki}/client.crt", f"syslog-tls-key={pki}/client.key"))
    eventually(lambda: any(line.endswith(": hello") for line in server.got()))


def test_lines_go_on_when_the_server_comes_back(engine, busybox, pki, port, serve):
    first = serve()
    container = start(engine, SPEAK, options(pki, port))
    eventually(lambda: len(first.got()) > 2)
    first.close()
    time.sleep(1)
    second = serve()
    eventually(lambda: len(second.got()) > 5)
    numbers = [int(re.fullmatch(r"<30>.*: line-(\d+)", line)[1]) for line in second.got()]  # whole lines only
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    engine.docker("rm", "-f", container)


def test_a_server_that_is_away_does_not_hold_up_the_container(engine, busybox, pki, port, serve):
    server = serve()
    container = start(engine, "echo first; until [ -e /go ]; do sleep 0.1; done; seq 1 200000; touch /done; sleep 1000", options(pki, port))
    eventually(lambda: server.got())
    server.close()
    engine.docker("exec", container, "touch", "/go")
    eventually(lambda: engine.docker("exec", container, "test", "-e", "/done", check=False).returncode == 0, interval=0.2)
    engine.docker("rm", "-f", container)


def test_the_engine_is_not_needed(engine, busybox, pki, port, serve):
    server = serve()
    container = start(engine, SPEAK, options(pki, port))
    eventually(lambda: server.got())
    engine.kill9()
    try:
        count = len(server.got())
        eventually(lambda: len(server.got()) > count + 5)
    finally:
        engine.start()
    engine.docker("rm", "-f", container)


def test_the_helper_is_replaced_and_ends_with_the_container(engine, busybox, pki, port, serve):
    server = serve()
    container = start(engine, SPEAK, options(pki, port))
    eventually(lambda: server.got())
    (helper,) = helpers(engine, container)
    assert re.search(r"^Uid:\s+65534\s+65534\s+65534", Path(f"/proc/{helper}/status").read_text(), re.M)
    os.kill(helper, signal.SIGKILL)
    count = len(server.got())
    eventually(lambda: len(server.got()) > count + 5)
    (other,) = helpers(engine, container)
    assert other != helper
    engine.docker("rm", "-f", container)
    eventually(lambda: not Path(f"/proc/{other}").exists())


def test_what_is_missing_is_said_at_create(engine, busybox, pki, port):
    for more, message in [
            (["syslog-tls-ca-cert=/nowhere/ca"], 'could not read CA certificate "/nowhere/ca": open /nowhere/ca: no such file'),
            ([f"syslog-tls-cert={pki}/client.crt", "syslog-tls-key=/nowhere/key"],
             "Could not load X509 key pair: open /nowhere/key: no such file"),
            ([f"syslog-tls-cert={pki}/client.crt"], "syslog-tls-cert and syslog-tls-key go together"),
            (["syslog-tls-skip-verify=perhaps"], "invalid value for syslog-tls-skip-verify: perhaps")]:
        failed = engine.docker("create", *options(pki, port, *more, ca=None), "busybox", "true", check=False)
        assert failed.returncode == 1 and message in failed.stderr, failed.stderr
    # With nobody there the container does not start, as with a plain address.
    failed = engine.docker("run", "--rm", *options(pki, port), "busybox", "true", check=False)
    assert failed.returncode == 125 and "failed to initialize logging driver: dial tcp" in failed.stderr, failed.stderr
