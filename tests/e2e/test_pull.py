"""Pulling: from Debian's registry as it is used, and from one that lies, breaks off and is slow."""

import base64
import gzip
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse

import pytest

from engine import UnixConnection, json_lines, wait_until
from registry import (DOCKER_INDEX, BadRegistry, DebianRegistry, Image, digest, free_port, index_of, tar_of)


@pytest.fixture(scope="module")
def registry(session_engine):
    if not DebianRegistry.PROGRAM:
        pytest.skip("docker-registry is not installed")
    registry = DebianRegistry(session_engine.in_netns())
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def bad_registry(session_engine):
    registry = BadRegistry(session_engine.in_netns())
    yield registry
    registry.close()


@pytest.fixture
def bad(bad_registry):
    bad_registry.rules()
    return bad_registry


def unique(size=1000):
    return os.urandom(size)


def two_layers(**more):
    return Image([tar_of({"etc": None, "etc/a": unique()}), tar_of({"etc/b": unique(200000)})], **more)


def pull(engine, name, auth=None, platform=None, timeout=60):
    """(status code, lines) of the API's pull."""
    reference, _, tag = name.rpartition(":") if "@" not in name and ":" in name.rpartition("/")[2] else (name, "", "")
    query = {"fromImage": reference, **({"tag": tag} if tag else {}), **({"platform": platform} if platform else {})}
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()} if auth else {}
    status, _, answer = engine.api("POST", "/images/create?" + urllib.parse.urlencode(query), headers=headers, timeout=timeout)
    return status, json_lines(answer)


def error_of(engine, name, **more):
    """The error's text, wherever it came: as the answer itself, or inside a stream that had begun."""
    status, lines = pull(engine, name, **more)
    if status != 200:
        return lines[0]["message"]
    assert "error" in lines[-1], lines
    assert lines[-1]["errorDetail"]["message"] == lines[-1]["error"]
    return lines[-1]["error"]


def statuses(lines):
    return [line["status"] for line in lines if "status" in line]


def on_disk(engine):
    """Every layer, document and staging entry of the store."""
    found = set()
    for folder in ("layers", "blobs/sha256", "tmp"):
        path = engine.data_root / folder
        if path.is_dir():
            found |= {f"{folder}/{e}" for e in os.listdir(path) if e != ".init"}
    return found


@pytest.fixture
def leaves_nothing(engine):
    before, images = on_disk(engine), engine.api("GET", "/images/json?all=1")[2]
    yield
    wait_until(lambda: on_disk(engine) == before, timeout=5)
    assert [i["Id"] for i in engine.api("GET", "/images/json?all=1")[2]] == [i["Id"] for i in images]


# --- as it is used ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["oci", "docker", "plain"])
def test_docker_pull(engine, registry, docker_cli, form):
    image = two_layers(docker=form == "docker", **({"compress": None, "suffix": ""} if form == "plain" else {}))
    name = registry.push(image, f"team/{form}", "v1")
    top = digest(image.manifest_bytes)
    out = engine.docker("pull", name).stdout
    assert f"v1: Pulling from team/{form}" in out
    assert f"Digest: {top}" in out
    assert f"Status: Downloaded newer image for {name}" in out
    assert out.splitlines()[-1] == name
    for layer in image.layers:
        short = layer["digest"][7:19]
        assert f"{short}: Pulling fs layer" in out and f"{short}: Pull complete" in out
    assert f"Status: Image is up to date for {name}" in engine.docker("pull", name).stdout
    shown = json.loads(engine.docker("image", "inspect", name).stdout)[0]
    assert shown["Id"] == image.id
    assert shown["RepoTags"] == [name]
    assert shown["RepoDigests"] == [f"{name.rpartition(':')[0]}@{top}"]
    assert shown["RootFS"]["Layers"] == image.config["rootfs"]["diff_ids"]
    assert shown["Architecture"] == "amd64" and shown["Os"] == "linux"


def test_run_pulls_what_is_missing(engine, registry, busybox_rootfs, docker_cli):
    name = registry.push(Image([busybox_rootfs]), "busybox", "latest")
    done = engine.docker("run", "--rm", name, "echo", "hello")
    assert done.stdout == "hello\n"
    assert "Unable to find image" in done.stderr and "Status: Downloaded newer image" in done.stderr


def test_quiet_prints_the_name(engine, registry, docker_cli):
    name = registry.push(two_layers(), "quiet", "latest")
    assert engine.docker("pull", "-q", name).stdout == name + "\n"


def test_shared_layers_exist_already(engine, registry):
    base = tar_of({"base": unique()})
    first, second = Image([base, tar_of({"one": unique()})]), Image([base, tar_of({"two": unique()})])
    assert "error" not in pull(engine, registry.push(first, "shared", "1"))[1][-1]
    _, lines = pull(engine, registry.push(second, "shared", "2"))
    by_id = {}
    for line in lines:
        by_id.setdefault(line.get("id"), []).append(line["status"])
    assert by_id[second.layers[0]["digest"][7:19]] == ["Already exists"]
    assert by_id[second.layers[1]["digest"][7:19]][-1] == "Pull complete"


def test_progress_has_numbers(engine, registry):
    image = Image([tar_of({"big": unique(3_000_000)})])
    _, lines = pull(engine, registry.push(image, "progress", "latest"))
    size = image.layers[0]["size"]
    seen = [line["progressDetail"] for line in lines if line.get("status") == "Downloading"]
    assert seen and seen[-1] == {"current": size, "total": size}
    words = [line["status"] for line in lines if line.get("id") == image.layers[0]["digest"][7:19]]
    order = [words.index(w) for w in ("Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete",
                                      "Extracting", "Pull complete")]
    assert order == sorted(order)


def test_tag_moves(engine, registry):
    old, new = two_layers(), two_layers()
    name = registry.push(old, "moves", "latest")
    pull(engine, name)
    registry.push(new, "moves", "latest")
    assert f"Status: Downloaded newer image for {name}" in statuses(pull(engine, name)[1])
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == new.id
    assert engine.api("GET", f"/images/{old.id}/json")[2]["RepoTags"] == []


def test_by_digest(engine, registry):
    image = two_layers()
    name = registry.push(image, "bydigest", "latest").rpartition(":")[0]
    wanted = f"{name}@{digest(image.manifest_bytes)}"
    status, lines = pull(engine, wanted)
    assert status == 200 and f"Status: Downloaded newer image for {wanted}" in statuses(lines)
    shown = engine.api("GET", f"/images/{urllib.parse.quote(wanted)}/json")[2]
    assert shown["Id"] == image.id and shown["RepoTags"] == [] and shown["RepoDigests"] == [wanted]


@pytest.mark.parametrize("media_type", [DOCKER_INDEX, None])
def test_index_gives_this_platform(engine, registry, media_type):
    more = {"docker": True} if media_type else {}
    amd, arm = two_layers(**more), two_layers(architecture="arm64", variant="v8", **more)
    kind = media_type or "application/vnd.oci.image.index.v1+json"
    name = registry.push(([arm, amd], index_of([arm, amd], kind), kind), f"index{len(kind)}", "latest")
    mine, other = (amd, "linux/arm64") if os.uname().machine == "x86_64" else (arm, "linux/amd64")
    status, lines = pull(engine, name)
    assert status == 200 and f"Digest: {digest(index_of([arm, amd], kind))}" in statuses(lines)
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == mine.id
    pull(engine, name, platform=other)
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == (arm if mine is amd else amd).id
    assert error_of(engine, name, platform="linux/s390x") == (
        "no matching manifest for linux/s390x in the manifest list entries: no match for platform in manifest: not found")


def test_pull_is_an_event(engine, registry):
    name = registry.push(two_layers(), "events", "latest")
    since = int(time.time()) - 1
    pull(engine, name)
    query = urllib.parse.urlencode({"since": since, "until": int(time.time()) + 1, "filters": json.dumps({"event": ["pull"]})})
    events = json_lines(engine.api("GET", "/events?" + query)[2])
    assert any(e["Actor"]["ID"] == name and e["Actor"]["Attributes"]["name"] == name.rpartition(":")[0] for e in events)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd program")
def test_zstd_layer(engine, registry):
    def compress(tar):
        return subprocess.run(["zstd", "-q", "-c"], input=tar, stdout=subprocess.PIPE, check=True).stdout

    image = two_layers(compress=compress, suffix="+zstd")
    name = registry.push(image, "zstd", "latest")
    pull(engine, name)
    assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == image.id


def test_pulls_at_once(engine, registry):
    base = tar_of({"base": unique(500000)})
    names = [registry.push(Image([base, tar_of({"own": unique()})]), "atonce", str(i)) for i in range(4)]
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(pull(engine, n))) for n in names + names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 8 and all(s == 200 and "error" not in lines[-1] for s, lines in results), results
    assert all(engine.api("GET", f"/images/{n}/json")[0] == 200 for n in names)


# --- credentials --------------------------------------------------------------------------------------------------------
def test_basic_authentication(engine, bad):
    image = two_layers()
    name = bad.put(image, "lib/basic", "latest")
    bad.rules(auth="basic", user="me:secret")
    assert "no basic auth credentials" in error_of(engine, name)
    assert pull(engine, name, auth={"username": "me", "password": "wrong"})[1]
    assert engine.api("GET", f"/images/{name}/json")[0] == 404
    status, lines = pull(engine, name, auth={"username": "me", "password": "secret", "serveraddress": bad.host})
    assert status == 200 and "error" not in lines[-1]


def test_token_authentication(engine, bad):
    name = bad.put(two_layers(), "lib/token", "latest")
    bad.rules(auth="token", gives="worthless")
    assert error_of(engine, name) == (
        f"pull access denied for {name.rpartition(':')[0]}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied")
    bad.rules(auth="token", user="me:secret")
    status, lines = pull(engine, name, auth={"username": "me", "password": "secret"})
    assert status == 200 and "error" not in lines[-1], lines
    assert sum(r["path"].startswith("/token") for r in bad.requests()) == 1


def test_redirect_carries_no_credentials(engine, bad, session_engine):
    image = two_layers()
    name = bad.put(image, "lib/redirect", "latest")
    other = BadRegistry(session_engine.in_netns())
    try:
        other.put(image, "lib/redirect", "latest")
        bad.rules(auth="basic", user="me:secret", blobs={layer["digest"]: "redirect" for layer in image.layers},
                  redirect_to=f"http://{other.host}")
        status, lines = pull(engine, name, auth={"username": "me", "password": "secret"})
        assert status == 200 and "error" not in lines[-1]
        assert [r["authorization"] for r in other.requests()] == [None, None]
    finally:
        other.close()


# --- what goes wrong ----------------------------------------------------------------------------------------------------
def test_unknown(engine, registry, leaves_nothing):
    known = registry.push(two_layers(), "known", "latest").rpartition(":")[0]
    for name in (f"{known}:nosuch", f"{registry.host}/nosuch:latest"):
        status, lines = pull(engine, name)
        assert status == 404
        assert lines[0]["message"] == f"manifest for {name} not found: manifest unknown: manifest unknown"


def test_unreachable(engine, leaves_nothing):
    host = f"127.0.0.1:{free_port()}"
    assert error_of(engine, f"{host}/x:latest") == f'Get "http://{host}/v2/": dial tcp {host}: connect: connection refused'


@pytest.mark.parametrize("name", ["case/UPPER", "a//b", "x:", "x@sha256:123", "http://x/y"])
def test_bad_reference(engine, leaves_nothing, name):
    status, _, answer = engine.api("POST", "/images/create?" + urllib.parse.urlencode({"fromImage": name}))
    assert status == 400, answer


@pytest.mark.parametrize("how,words", [("truncated", "unexpected EOF"), ("short", "unexpected EOF"),
                                       ("wrong", "filesystem layer verification failed for digest")])
@pytest.mark.parametrize("which", [0, 1])
def test_bad_layer(engine, bad, leaves_nothing, how, words, which):
    image = two_layers()
    name = bad.put(image, "lib/badlayer", "latest")
    bad.rules(blobs={image.layers[which]["digest"]: how})
    assert words in error_of(engine, name)


def test_other_diff_id(engine, bad, leaves_nothing):
    image = two_layers()
    image.config["rootfs"]["diff_ids"][1] = "sha256:" + "1" * 64
    config = json.dumps(image.config).encode()
    image.blobs[digest(config)] = config
    image.manifest["config"].update(digest=digest(config), size=len(config))
    assert "failed to register layer" in error_of(engine, bad.put(image, "lib/diffid", "latest"))


def test_layer_count(engine, bad, leaves_nothing):
    image = two_layers()
    image.manifest["layers"].pop()
    assert error_of(engine, bad.put(image, "lib/count", "latest")) == "layers from manifest don't match image configuration"


@pytest.mark.parametrize("how,words", [("huge", "larger than"), ("huge-length", "larger than"), ("deep", "nested deeper"),
                                       ("not-json", "invalid JSON")])
def test_bad_manifest(engine, bad, leaves_nothing, how, words):
    bad.rules(manifest=how)
    began = time.monotonic()
    assert words in error_of(engine, f"{bad.host}/lib/badmanifest:latest")
    assert time.monotonic() - began < 10


def test_two_faced_manifest(engine, bad, leaves_nothing):
    image = two_layers()
    image.manifest["manifests"] = [image.descriptor()]
    assert "of an image and of an index" in error_of(engine, bad.put(image, "lib/twofaced", "latest"))


def test_schema_1(engine, bad, leaves_nothing):
    old = json.dumps({"schemaVersion": 1, "name": "lib/old", "tag": "latest", "fsLayers": [], "history": []}).encode()
    name = bad.put_raw({"lib/old:latest": ("application/vnd.docker.distribution.manifest.v1+prettyjws", old)}, {},
                       f"{bad.host}/lib/old:latest")
    assert "schema 1" in error_of(engine, name)


@pytest.mark.parametrize("path", ["../../escape", "/../escape", "a/../../../escape"])
def test_layer_that_climbs_out(engine, bad, leaves_nothing, path):
    assert error_of(engine, bad.put(Image([tar_of({path: b"out"})]), "lib/climbs", "latest"))
    assert not any("escape" in files for _, _, files in os.walk(engine.root))


def test_layer_that_is_no_tar(engine, bad, leaves_nothing):
    assert error_of(engine, bad.put(Image([unique(5000)]), "lib/notar", "latest"))
    assert error_of(engine, bad.put(Image([tar_of({"a": b"x" * 3000})[:1024]]), "lib/cuttar", "latest"))


def test_layer_with_a_broken_gzip(engine, bad, leaves_nothing):
    image = Image([tar_of({"a": unique(9000)})], compress=lambda tar: gzip.compress(tar)[:-2000])
    assert error_of(engine, bad.put(image, "lib/brokengzip", "latest"))


def test_broken_connection_is_taken_up(engine, bad):
    image = two_layers()
    name = bad.put(image, "lib/breaks", "latest")
    bad.rules(blobs={layer["digest"]: "breaks-once" for layer in image.layers})
    status, lines = pull(engine, name)
    assert status == 200 and "error" not in lines[-1], lines


def test_client_that_goes_away_ends_the_pull(engine, bad, leaves_nothing):
    image = two_layers()
    name = bad.put(image, "lib/slow", "latest")
    bad.rules(blobs={image.layers[1]["digest"]: "slow"})
    connection = UnixConnection(engine.socket)
    connection.request("POST", "/images/create?" + urllib.parse.urlencode({"fromImage": name.rpartition(":")[0], "tag": "latest"}))
    response = connection.getresponse()
    assert b"Pulling from" in response.readline()
    response.close()
    connection.close()
    peers = f"( dport = :{bad.port} )"
    wait_until(lambda: not engine.run_in_netns("ss", "-Htn", "state", "established", peers).stdout.strip(), timeout=15,
               interval=0.1)


def test_kill_in_the_middle(make_engine, busybox_rootfs):
    engine = make_engine()
    registry = BadRegistry(engine.in_netns())
    try:
        image = two_layers()
        name = registry.put(image, "lib/killed", "latest")
        registry.rules(blobs={image.layers[1]["digest"]: "slow"})
        puller = threading.Thread(target=lambda: pytest.raises(Exception, pull, engine, name))
        puller.start()
        wait_until(lambda: any(image.layers[1]["digest"] in r["path"] for r in registry.requests()))
        time.sleep(0.3)
        engine.kill9()
        puller.join(10)
        engine.start()
        wait_until(lambda: not on_disk(engine), timeout=5)
        registry.rules()
        status, lines = pull(engine, name)
        assert status == 200 and "error" not in lines[-1]
        assert engine.api("GET", f"/images/{name}/json")[2]["Id"] == image.id
    finally:
        registry.close()
