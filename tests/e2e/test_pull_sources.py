"""Pulling from mirrors, by rules, from registries in trouble; all tags; and pulls that share a layer."""

import json
import os
import pty
import shutil
import subprocess
import threading
import time
import urllib.parse

import pytest

from engine import busybox_tar, UnixConnection, wait_until
from registry import BadRegistry, Image, digest, free_port, tar_of
from test_pull import error_of, pull, two_layers, unique


@pytest.fixture
def world(make_engine):
    """An engine that is not started yet, and registries in its namespace."""

    class World:
        def __init__(self):
            self.engine, self.registries = make_engine(is_started=False), []

        def registry(self):
            self.registries.append(BadRegistry(self.engine.in_netns()))
            return self.registries[-1]

        def start(self, rules=None, *options):
            if rules is not None:
                (self.engine.root / "registries.json").write_text(json.dumps(rules))
                options = (*options, "--registries", self.engine.root / "registries.json")
            self.engine.start(*options)
            return self.engine

    made = World()
    yield made
    for registry in made.registries:
        registry.close()


def blobs_asked(registry):
    return [r["path"].rpartition("/")[2] for r in registry.requests() if "/blobs/" in r["path"]]


# --- mirrors ------------------------------------------------------------------------------------------------------------
def test_mirror_of_docker_hub(world):
    mirror = world.registry()
    image = two_layers()
    mirror.put(image, "library/box", "latest")
    engine = world.start(None, "--registry-mirror", f"http://{mirror.host}")
    status, lines = pull(engine, "box:latest", auth={"username": "me", "password": "secret"})
    assert status == 200 and "error" not in lines[-1], lines
    shown = engine.api("GET", "/images/box:latest/json")[2]
    assert shown["Id"] == image.id and shown["RepoTags"] == ["box:latest"]
    assert shown["RepoDigests"] == [f"box@{digest(image.manifest_bytes)}"]
    assert {r["authorization"] for r in mirror.requests()} == {None}
    assert engine.api("GET", "/info")[2]["RegistryConfig"]["Mirrors"] == [f"http://{mirror.host}/"]


def test_mirrors_in_order_then_the_registry(world):
    origin, empty, good = world.registry(), world.registry(), world.registry()
    image, other = two_layers(), two_layers()
    good.put(image, "team/app", "1")
    name, second = origin.put(image, "team/app", "1"), origin.put(other, "team/other", "1")
    engine = world.start({origin.host: {"mirrors": [f"http://127.0.0.1:{free_port()}", f"http://{empty.host}", f"http://{good.host}"]}})
    assert "error" not in pull(engine, name)[1][-1]
    assert any("/manifests/" in r["path"] for r in empty.requests())
    assert set(blobs_asked(good)) == set(image.blobs) and not origin.requests()
    assert engine.api("GET", f"/images/{name}/json")[2]["RepoTags"] == [name]
    assert "error" not in pull(engine, second)[1][-1]
    assert set(blobs_asked(origin)) == set(other.blobs)


def test_mirror_that_lies(world):
    origin, liar = world.registry(), world.registry()
    image = two_layers()
    name = origin.put(image, "team/app", "1")
    liar.put(image, "team/app", "1")
    liar.rules(blobs={image.layers[1]["digest"]: "wrong"})
    engine = world.start({origin.host: {"mirrors": [f"http://{liar.host}"]}})
    status, lines = pull(engine, name)
    assert status == 200 and "error" not in lines[-1], lines
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == image.id
    assert image.layers[1]["digest"] in blobs_asked(origin)


def test_prefix_of_a_mirror(world):
    mirror = world.registry()
    image = two_layers()
    mirror.put(image, "team/app", "1")
    engine = world.start({"quay.example": {"mirrors": [f"http://{mirror.host}/cache"]}})
    error_of(engine, "quay.example/team/app:1")
    assert mirror.requests()[0]["path"] == "/cache/v2/"


def test_credentials_stay_where_they_belong(world):
    origin, mirror = world.registry(), world.registry()
    image = two_layers()
    name = origin.put(image, "team/app", "1")
    mirror.put(image, "team/app", "1")
    mirror.rules(auth="basic", user="robot:mirror-secret")
    origin.rules(auth="basic", user="me:secret")
    (world.engine.root / "password").write_text("mirror-secret\n")
    engine = world.start({origin.host: {"mirrors": [{"url": f"http://{mirror.host}", "username": "robot",
                                                     "password-file": str(world.engine.root / "password")}]}})
    assert "error" not in pull(engine, name, auth={"username": "me", "password": "secret"})[1][-1]
    assert not origin.requests()
    mirror.rules(auth="basic", user="nobody:else")
    other = origin.put(two_layers(), "team/app", "2")
    origin.rules(auth="basic", user="me:secret")
    assert "error" not in pull(engine, other, auth={"username": "me", "password": "secret"})[1][-1]
    mine = "Basic bWU6c2VjcmV0"
    assert mine not in {r["authorization"] for r in mirror.requests()}
    assert mine in {r["authorization"] for r in origin.requests()}


def test_blocked(world):
    origin = world.registry()
    name, fine = origin.put(two_layers(), "bad/app", "1"), origin.put(two_layers(), "good/app", "1")
    engine = world.start({f"{origin.host}/bad": {"blocked": True}})
    origin.rules()
    status, lines = pull(engine, name)
    refusal = f"{origin.host}/bad/app refused: the registry is blocked by this engine's configuration"
    assert status == 403 and lines[0]["message"] == refusal
    engine.import_image(busybox_tar(), name)  # nothing goes there either
    pushed = engine.skiff("push", name, check=False)
    assert pushed.returncode == 1 and refusal in pushed.stderr
    assert engine.api("GET", f"/distribution/{name}/json")[0] == 403
    assert not origin.requests()
    assert "error" not in pull(engine, fine)[1][-1]


def test_rules_that_make_no_sense(world):
    (world.engine.root / "registries.json").write_text('{"quay.io": {"mirrors": ["quay.io"]}}')
    done = subprocess.run([world.engine.bin / "skiffd", "--validate", "--registries", world.engine.root / "registries.json"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'registries: quay.io: invalid mirror: unsupported scheme in "quay.io"' in done.stderr


# --- trouble ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bad_registry(session_engine):
    registry = BadRegistry(session_engine.in_netns())
    yield registry
    registry.close()


@pytest.fixture
def bad(bad_registry):
    bad_registry.rules()
    return bad_registry


@pytest.mark.parametrize("path", ["/v2/", "/manifests/", "/blobs/"])
@pytest.mark.parametrize("trouble", [500, 502, 503, 429, 0])
def test_trouble_that_passes(engine, bad, path, trouble):
    name = bad.put(two_layers(), "lib/trouble", f"t{trouble}{path.strip('/')}")
    bad.rules(trouble=[{"path": path, "status": trouble, "times": 2}])
    status, lines = pull(engine, name)
    assert status == 200 and "error" not in lines[-1], lines


def test_trouble_that_stays(engine, bad):
    name = bad.put(two_layers(), "lib/trouble", "stays")
    bad.rules(trouble=[{"path": "/manifests/", "status": 503, "times": 1000}])
    assert "in trouble" in error_of(engine, name)
    assert 2 <= sum("/manifests/" in r["path"] for r in bad.requests()) <= 10
    bad.rules(trouble=[{"path": "/manifests/", "status": 404, "times": 1000}])
    error_of(engine, name)
    assert sum("/manifests/" in r["path"] for r in bad.requests()) == 1


def test_retry_after(engine, bad):
    name = bad.put(two_layers(), "lib/trouble", "after")
    bad.rules(trouble=[{"path": "/manifests/", "status": 429, "times": 1, "headers": {"Retry-After": "2"}}])
    began = time.monotonic()
    assert "error" not in pull(engine, name)[1][-1]
    assert time.monotonic() - began >= 2
    bad.rules(trouble=[{"path": "/manifests/", "status": 429, "times": 1, "headers": {"Retry-After": "86400"}}])
    began = time.monotonic()
    assert "in trouble" in error_of(engine, name)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_token_that_expires(engine, bad, uses):
    name = bad.put(two_layers(), "lib/expires", f"u{uses}")
    bad.rules(auth="token", uses=uses)
    status, lines = pull(engine, name)
    assert status == 200 and "error" not in lines[-1], lines
    assert sum(r["path"].startswith("/token") for r in bad.requests()) > 1


def test_foreign_layer(engine, bad):
    image = two_layers()
    image.manifest["layers"][1]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    image.manifest["layers"][1]["urls"] = ["http://127.0.0.1/secret"]
    assert error_of(engine, bad.put(image, "lib/foreign", "1")) == (
        f"layer {image.layers[1]['digest']} is foreign (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip): "
        "layers that may not be distributed are not supported")


# --- all tags -----------------------------------------------------------------------------------------------------------
def test_all_tags(engine, bad):
    images = {f"v{i}": two_layers() for i in range(5)}
    server = bad
    for tag, image in images.items():
        server.put_raw({f"lib/many:{tag}": (image.media_type, image.manifest_bytes)}, image.blobs)
    name = f"{bad.host}/lib/many"
    bad.rules(page=2)
    status, lines = pull(engine, name)
    said = [line.get("status") for line in lines]
    assert status == 200 and said[-1] == f"Status: Downloaded newer image for {name}", said
    assert sum("/tags/list" in r["path"] for r in bad.requests()) == 3
    for tag, image in images.items():
        assert engine.api("GET", f"/images/{name}:{tag}/json")[2]["Id"] == image.id
        assert {"status": "Pulling from lib/many", "id": tag}.items() <= next(l for l in lines if l.get("id") == tag).items()
    again = engine.docker("pull", "-a", name).stdout
    assert f"Status: Image is up to date for {name}" in again and again.count("Digest: ") == 5
    assert engine.skiff("pull", "-q", "--all-tags", name).stdout == f"{name}\n"


def test_all_tags_of_nothing(engine, bad):
    bad.rules(trouble=[{"path": "/tags/list", "status": 404, "times": 1}])
    assert error_of(engine, f"{bad.host}/lib/nothing")


# --- sharing ------------------------------------------------------------------------------------------------------------
def start_pull(engine, name):
    results = []
    thread = threading.Thread(target=lambda: results.append(pull(engine, name)))
    thread.start()
    return thread, results


def test_two_pulls_share_a_layer(engine, bad):
    base = tar_of({"base": unique(50000)})
    images = [Image([base, tar_of({"own": unique()})]) for _ in range(2)]
    names = [bad.put(image, "lib/share", str(i)) for i, image in enumerate(images)]
    shared = images[0].layers[0]["digest"]
    bad.rules(blobs={shared: "held"})
    first, second = start_pull(engine, names[0]), start_pull(engine, names[1])
    wait_until(lambda: set(blobs_asked(bad)) >= {i.layers[1]["digest"] for i in images})
    time.sleep(0.5)
    assert blobs_asked(bad).count(shared) == 1
    bad.order(rules={})
    for thread, results in (first, second):
        thread.join(30)
        assert results and "error" not in results[0][1][-1], results
    assert blobs_asked(bad).count(shared) == 1


def test_the_second_takes_over(engine, bad):
    image = Image([tar_of({"base": unique(50000)})])
    names = [bad.put(image, "lib/over", str(i)) for i in range(2)]
    shared = image.layers[0]["digest"]
    bad.rules(blobs={shared: "held"})
    connection = UnixConnection(engine.socket)
    connection.request("POST", "/images/create?" + urllib.parse.urlencode({"fromImage": names[0][:-2], "tag": "0"}))
    response = connection.getresponse()
    assert b"Pulling from" in response.readline()
    wait_until(lambda: blobs_asked(bad).count(shared) == 1)
    thread, results = start_pull(engine, names[1])
    wait_until(lambda: sum(r["path"].endswith("/manifests/1") for r in bad.requests()) == 1)
    response.close()
    connection.close()
    wait_until(lambda: blobs_asked(bad).count(shared) == 2, timeout=20)
    bad.order(rules={})
    thread.join(30)
    assert results and "error" not in results[0][1][-1], results
    assert engine.api("GET", f"/images/{names[0]}/json")[0] == 404


# --- what people see ----------------------------------------------------------------------------------------------------
def on_terminal(argv, environment):
    """What a command writes to a terminal of 140 columns."""
    master, slave = pty.openpty()
    subprocess.run(["stty", "cols", "140", "rows", "40"], stdin=slave, check=True)
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(master)
    assert process.wait(30) == 0, out
    return out.decode()


@pytest.mark.parametrize("client", ["skiff", "docker"])
def test_bars_on_a_terminal(engine, bad, client):
    program = shutil.which("docker") if client == "docker" else engine.bin / "skiff"
    if not program:
        pytest.skip("no docker command")
    image = Image([tar_of({"big": unique(3_000_000)})])
    name = bad.put(image, f"lib/bars-{client}", "1")
    out = on_terminal([program, "-H", f"unix://{engine.socket}", "pull", name], engine.environment())
    short = image.layers[0]["digest"][7:19]
    assert f"1: Pulling from lib/bars-{client}" in out
    assert f"{short}: Extracting [{'=' * 50}>]  3.00" in out
    assert f"{short}: Pull complete" in out and "\x1b[1A" in out


def test_plain_lines_in_a_pipe(engine, bad):
    image = Image([tar_of({"big": unique(3_000_000)})])
    out = engine.skiff("pull", bad.put(image, "lib/pipe", "1")).stdout
    short = image.layers[0]["digest"][7:19]
    assert [line for line in out.splitlines() if line.startswith(short)] == [
        f"{short}: {what}" for what in ("Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete")]
    assert "\x1b" not in out


def test_progress_costs_little(engine, bad):
    """At most ten lines a second for a layer, however it comes."""
    image = Image([tar_of({"big": unique(20_000_000)})])
    name = bad.put(image, "lib/lines", "1")
    began = time.monotonic()
    _, lines = pull(engine, name)
    assert sum(line.get("status") == "Downloading" for line in lines) <= (time.monotonic() - began) * 10 + 2
