"""Pushing: to Debian's registry and back by other programs, and to one that breaks off, forgets tokens and takes no pieces."""

import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import time
import urllib.parse

import pytest

from engine import json_lines, wait_until
from push_registry import PushRegistry
from registry import DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST, DebianRegistry, Image, digest, tar_of

PIECE = 5 << 20
CERTS = "/etc/docker/certs.d"


@pytest.fixture(scope="module")
def registry(session_engine):
    if not DebianRegistry.PROGRAM:
        pytest.skip("docker-registry is not installed")
    registry = DebianRegistry(session_engine.in_netns())
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def registries(session_engine):
    """Two that do as they are told."""
    both = [PushRegistry(session_engine.in_netns()) for _ in range(2)]
    yield both
    for one in both:
        one.close()


@pytest.fixture
def target(registries):
    for one in registries:
        one.order(empty=True, rules={})
    return registries[0]


@pytest.fixture
def other(registries, target):
    return registries[1]


@pytest.fixture
def image(engine):
    """A fresh image of one layer that does not compress and is larger than one piece; its name."""
    return new_image(engine, PIECE * 2 + 12345)


def new_image(engine, size=1000):
    name = f"pushed-{os.urandom(4).hex()}"
    engine.import_image(tar_of({"etc": None, "etc/noise": os.urandom(size), "etc/zeros": bytes(3 << 20)}), f"{name}:latest")
    return name


def push(engine, name, tag="latest", auth=None, **query):
    """(status code, lines) of the API's push; tag None: all."""
    query = {**({"tag": tag} if tag else {}), **query}
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth or {}).encode()).decode().rstrip("=")}
    status, _, answer = engine.api("POST", f"/images/{name}/push?" + urllib.parse.urlencode(query), headers=headers)
    return status, json_lines(answer)


def push_ok(engine, name, tag="latest", **more):
    status, lines = push(engine, name, tag, **more)
    assert status == 200 and "error" not in lines[-1], lines
    return lines


def error_of(engine, name, tag="latest", **more):
    _, lines = push(engine, name, tag, **more)
    return lines[-1].get("error") or lines[-1]["message"]


def statuses(lines):
    return [line["status"] for line in lines if "id" in line and "Pushing" not in line["status"]]


def layer_ids(engine, name):
    return engine.api("GET", f"/images/{name}/json")[2]["RootFS"]["Layers"]


def tagged(engine, image, name, tag="latest"):
    assert engine.api("POST", f"/images/{image}/tag?" + urllib.parse.urlencode({"repo": name, "tag": tag}))[0] == 201
    return name


def auths(engine, servers):
    """A config.json's directory."""
    directory = engine.root / f"config-{os.urandom(3).hex()}"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"auths": {s: {"auth": base64.b64encode(u.encode()).decode()}
                                                                for s, u in servers.items()}}))
    return {"DOCKER_CONFIG": str(directory)}


# --- words and documents
def test_stream_words_and_record(engine, registry, image):
    name = tagged(engine, image, f"{registry.host}/words/a", "one")
    lines = push_ok(engine, name, "one")
    short = layer_ids(engine, image)[0][7:19]
    assert lines[0] == {"status": f"The push refers to repository [{name}]"}
    assert lines[1] == {"status": "Preparing", "progressDetail": {}, "id": short}
    assert statuses(lines) == ["Preparing", "Pushed"]
    pushing = [line["progressDetail"] for line in lines if line["status" if "status" in line else "aux"] == "Pushing"]
    assert all(0 < p["current"] <= p["total"] for p in pushing)
    aux = lines[-1]["aux"]
    assert lines[-2]["status"] == f"one: digest: {aux['Digest']} size: {aux['Size']}" and aux["Tag"] == "one"
    assert f"{name}@{aux['Digest']}" in engine.api("GET", f"/images/{name}:one/json")[2]["RepoDigests"]


def test_push_is_an_event(engine, registry, busybox):
    name = tagged(engine, busybox, f"{registry.host}/event", "x")
    since = time.time()
    push_ok(engine, name, "x")
    until = time.time() + 1
    events = engine.api("GET", f"/events?since={since:.6f}&until={until:.6f}&" + urllib.parse.urlencode(
        {"filters": json.dumps({"event": ["push"]})}))[2]
    event = json_lines(events)[0]
    assert (event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]["name"]) == ("push", f"{name}:x", name)


def test_errors_in_dockers_words(engine, registry, busybox):
    name = tagged(engine, busybox, f"{registry.host}/words/b", "here")
    assert error_of(engine, name, "gone") == f"tag does not exist: {name}:gone"
    assert error_of(engine, "no/such") == "An image does not exist locally with the tag: no/such"
    assert "invalid reference format" in error_of(engine, "a/UPPER")
    assert "platform" in error_of(engine, name, "here", platform="linux/arm64")
    assert "invalid compression" in error_of(engine, name, "here", compression="xz")
    assert "has 1 to 3" in error_of(engine, name, "here", compression="gzip", compressionLevel=9)


@pytest.mark.parametrize("docker", ["/usr/local/bin/docker", "/usr/bin/docker"])
def test_docker_push_unmodified(engine, registry, image, docker):
    if not os.path.exists(docker):
        pytest.skip(f"no {docker}")
    name = tagged(engine, image, f"{registry.host}/cli/{image}")
    done = subprocess.run([docker, "push", name], env=engine.environment(), capture_output=True, text=True, timeout=60, check=True)
    assert "Pushed" in done.stdout and f"The push refers to repository [{name}]" in done.stdout, done.stdout
    again = subprocess.run([docker, "push", name], env=engine.environment(), capture_output=True, text=True, timeout=60, check=True)
    assert "Layer already exists" in again.stdout
    quiet = subprocess.run([docker, "push", "-q", name], env=engine.environment(), capture_output=True, text=True, timeout=60, check=True)
    assert quiet.stdout == f"{name}:latest\n"


def test_skiff_push_all_tags(engine, target, busybox):
    name = f"{target.host}/all/tags"
    for tag in ("a", "b"):
        tagged(engine, busybox, name, tag)
    done = engine.skiff("push", "--all-tags", name)
    assert done.stdout.count("digest: sha256:") == 2
    assert {k for k in target.order()["manifests"] if "sha256" not in k} == {"all/tags:a", "all/tags:b"}
    assert engine.skiff("push", "-q", name + ":a").stdout == f"{name}:a\n"
    assert "tag can't be used" in engine.skiff("push", "-a", name + ":a", check=False).stderr


# --- there and back
def test_pulled_back_by_everybody(engine, make_engine, registry, image):
    engine.docker("run", "--name", "maker", image, "x", check=False)
    name = f"{registry.host}/back/{image}"
    tagged(engine, image, name)
    push_ok(engine, name)
    ids = layer_ids(engine, image)
    engine.api("DELETE", f"/images/{image}?force=1")
    engine.api("DELETE", f"/images/{name}?force=1")
    engine.skiff("pull", name)
    assert layer_ids(engine, name) == ids
    prefix = engine.in_netns()
    if shutil.which("skopeo"):
        shown = subprocess.run([*prefix, "skopeo", "inspect", "--tls-verify=false", "--config", f"docker://{name}"], capture_output=True,
                               check=True, text=True, timeout=60)
        assert json.loads(shown.stdout)["rootfs"]["diff_ids"] == ids
        subprocess.run([*prefix, "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}",
                        f"docker-archive:{engine.root}/copied.tar"], check=True, capture_output=True, timeout=60)
    if shutil.which("podman"):
        podman = [*prefix, "podman", "--root", engine.root / "podman", "--runroot", engine.root / "podman-run", "--storage-driver=vfs"]
        subprocess.run([*podman, "pull", "-q", "--tls-verify=false", name], check=True, capture_output=True, timeout=120)
        shown = subprocess.run([*podman, "image", "inspect", name], check=True, capture_output=True, text=True, timeout=60)
        assert json.loads(shown.stdout)[0]["RootFS"]["Layers"] == ids


def test_zstd_goes_as_oci(engine, target, image):
    name = tagged(engine, image, f"{target.host}/zstd")
    engine.skiff("push", "--compression", "zstd", "--compression-level", "5", name)
    media_type, manifest = target.manifest("zstd:latest")
    assert media_type == OCI_MANIFEST and manifest["config"]["mediaType"] == OCI_CONFIG
    assert manifest["layers"][0]["mediaType"].endswith("tar+zstd")
    ids = layer_ids(engine, image)
    engine.api("DELETE", f"/images/{image}?force=1")
    engine.api("DELETE", f"/images/{name}?force=1")
    engine.skiff("pull", name)
    assert layer_ids(engine, name) == ids


def test_new_manifest_is_dockers(engine, target, busybox):
    push_ok(engine, tagged(engine, busybox, f"{target.host}/schema"))
    media_type, manifest = target.manifest("schema:latest")
    assert media_type == manifest["mediaType"] == DOCKER_MANIFEST
    assert manifest["layers"][0]["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"


# --- never what is there
def test_second_push_sends_nothing(engine, target, image):
    name = tagged(engine, image, f"{target.host}/twice")
    push_ok(engine, name)
    target.rules()
    lines = push_ok(engine, name)
    assert statuses(lines) == ["Preparing", "Layer already exists"]
    assert [r["method"] for r in target.requests("POST", "PATCH", "PUT")] == ["PUT"]  # the manifest


def test_mounted_from_another_repository(engine, target, image):
    push_ok(engine, tagged(engine, image, f"{target.host}/first"))
    target.rules()
    lines = push_ok(engine, tagged(engine, image, f"{target.host}/second"))
    assert "Mounted from first" in statuses(lines)
    assert not target.requests("PATCH") and sum(r["length"] for r in target.requests("PUT", "POST")) < 10000


def pulled(engine, registry, **more):
    image = Image([tar_of({"a": os.urandom(20000)}), tar_of({"b": os.urandom(3000)})], **more)
    tag = f"t{os.urandom(3).hex()}"
    name = registry.push(image, "origin", tag)
    engine.skiff("pull", name)
    return image, name


@pytest.mark.parametrize("docker", [True, False])
def test_pulled_layers_go_on_byte_for_byte(engine, registry, target, docker):
    image, name = pulled(engine, registry, docker=docker)
    lines = push_ok(engine, tagged(engine, name, f"{target.host}/onwards"))
    assert lines[-1]["aux"]["Digest"] == digest(image.manifest_bytes)
    assert all(d in target.order()["blobs"] for d in image.blobs)


def test_source_out_of_reach_means_compressing(engine, session_engine, target):
    source = DebianRegistry(session_engine.in_netns())
    image, name = pulled(engine, source, docker=True)
    source.close()
    lines = push_ok(engine, tagged(engine, name, f"{target.host}/orphan"))
    assert lines[-1]["aux"]["Digest"] != digest(image.manifest_bytes)
    assert target.manifest("orphan:latest")[0] == DOCKER_MANIFEST


def test_compression_is_the_same_each_time(engine, target, other, image):
    first = push_ok(engine, tagged(engine, image, f"{target.host}/same"))
    second = push_ok(engine, tagged(engine, image, f"{other.host}/same"))
    assert first[-1]["aux"]["Digest"] == second[-1]["aux"]["Digest"]
    assert other.requests("PATCH")  # compressed again: what was made here is not fetched


# --- broken registries
def test_cut_connection_is_taken_up(engine, target, image):
    target.rules(break_at=PIECE + (1 << 20))
    push_ok(engine, tagged(engine, image, f"{target.host}/cut"))
    patches = target.requests("PATCH")
    assert [r["range"].split("-")[0] for r in patches] == ["0", str(PIECE), str(PIECE + (1 << 20))]
    assert any(r["method"] == "GET" and "/uploads/" in r["path"] for r in target.requests())


@pytest.mark.parametrize("rule", [{"patch": 405}, {"second_patch": 416}])
def test_registry_that_takes_no_pieces(engine, target, image, rule):
    target.rules(**rule)
    push_ok(engine, tagged(engine, image, f"{target.host}/whole"))
    puts = [r for r in target.requests("PUT") if "/uploads/" in r["path"]]
    assert max(r["length"] for r in puts) > 2 * PIECE
    assert target.order()["uploads"] == 0


def test_client_that_goes_away_leaves_nothing(engine, target, image):
    target.rules(stall=True)
    name = tagged(engine, image, f"{target.host}/gone")
    client = socket.socket(socket.AF_UNIX)
    client.connect(engine.socket)
    client.sendall(f"POST /images/{name}/push?tag=latest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    wait_until(lambda: target.requests("PATCH"), timeout=30)
    client.close()
    wait_until(lambda: target.order()["uploads"] == 0, timeout=30)
    assert target.requests("DELETE") and not target.order()["manifests"]
    target.rules()
    push_ok(engine, name)


# --- who may
def test_basic_credentials(engine, target, busybox):
    target.rules(auth="basic", user="joe:s3cret")
    name = tagged(engine, busybox, f"{target.host}/closed")
    assert error_of(engine, name) == "no basic auth credentials"
    assert error_of(engine, name, auth={"username": "joe", "password": "x"}) == "unauthorized: authentication required"
    push_ok(engine, name, auth={"username": "joe", "password": "s3cret"})
    engine.skiff("push", name, env=auths(engine, {target.host: "joe:s3cret"}))


def test_tokens_are_renewed_in_the_middle(engine, target, image):
    target.rules(auth="token", user="joe:s3cret", token_uses=3)
    push_ok(engine, tagged(engine, image, f"{target.host}/short/lived"), auth={"username": "joe", "password": "s3cret"})
    asked = [r for r in target.requests() if r["path"].startswith("/token")]
    assert len(asked) > 2
    assert any("repository:short/lived:pull,push" in scope for scopes in target.order()["scopes"] for scope in scopes)


def test_identity_token_by_post(engine, target, busybox):
    target.rules(auth="token", user="joe:s3cret", refresh="r3fresh")
    name = tagged(engine, busybox, f"{target.host}/identity")
    status, _, answer = engine.api("POST", "/auth", {"username": "joe", "password": "s3cret", "serveraddress": target.host})
    assert (status, answer) == (200, {"IdentityToken": "r3fresh", "Status": "Login Succeeded"})
    push_ok(engine, name, auth={"identitytoken": "r3fresh"})
    assert [r for r in target.requests("POST") if r["path"] == "/token"]


def test_credentials_stay_with_their_registry(engine, target, other, image):
    """The layer is known at another registry, which is asked without credentials."""
    push_ok(engine, tagged(engine, image, f"{other.host}/known"))
    for one in (target, other):
        one.rules(auth="basic", user="joe:s3cret")
    push_ok(engine, tagged(engine, image, f"{target.host}/known"), auth={"username": "joe", "password": "s3cret"})
    assert all(r["authorization"] is None for r in other.requests())


def test_token_server_in_the_clear_gets_nothing(engine, target, other, busybox):
    """A registry may name only a token server that may be spoken to: not one by plain HTTP on a host that is not loopback."""
    target.rules(auth="token", user="joe:s3cret", realm="http://192.0.2.1/token")
    assert "in the clear" in error_of(engine, tagged(engine, busybox, f"{target.host}/clear"),
                                      auth={"username": "joe", "password": "s3cret"})


@pytest.fixture
def authority(engine, tmp_path):
    """ca.crt, server.pem and client.cert, client.key of a private authority."""
    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, cwd=tmp_path)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", 2, "-subj", "/CN=ca")
    (tmp_path / "names").write_text("subjectAltName=DNS:registry.test,IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-out",
                f"{who}.cert", "-extfile", "names")
    (tmp_path / "server.pem").write_text((tmp_path / "server.cert").read_text() + (tmp_path / "server.key").read_text())
    return tmp_path


def test_private_authority_and_client_certificate(engine, authority, busybox):
    registry = PushRegistry(engine.in_netns(), tls=str(authority / "server.pem"), client_ca=str(authority / "ca.crt"))
    certificates = f"{CERTS}/{registry.host}"
    try:
        name = tagged(engine, busybox, f"{registry.host}/secure")
        assert push(engine, name)[1][-1].get("error"), "no client certificate"
        os.makedirs(certificates)
        for file in ("ca.crt", "client.cert", "client.key"):
            shutil.copy(authority / file, certificates)
        push_ok(engine, name)
    finally:
        shutil.rmtree(certificates, ignore_errors=True)
        registry.close()


# --- config.json
def test_login_writes_as_docker_does(engine, target, tmp_path):
    target.rules(auth="basic", user="joe:s3cret")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"HttpHeaders": {"X": "y"}, "auths": {"other.example": {"auth": "YTpi"}}}))
    env = {"DOCKER_CONFIG": str(tmp_path)}
    refused = engine.skiff("login", "-u", "joe", "--password-stdin", target.host, input="wrong", env=env, check=False)
    assert refused.returncode == 1 and "401 Unauthorized" in refused.stderr
    done = engine.skiff("login", "-u", "joe", "--password-stdin", target.host, input="s3cret\n", env=env)
    assert done.stdout == "Login Succeeded\n" and "stored unencrypted" in done.stderr
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    auth = base64.b64encode(b"joe:s3cret").decode()
    assert config.read_text() == ('{\n\t"HttpHeaders": {\n\t\t"X": "y"\n\t},\n\t"auths": {\n\t\t"other.example": {\n\t\t\t"auth": '
                                  '"YTpi"\n\t\t},\n\t\t"%s": {\n\t\t\t"auth": "%s"\n\t\t}\n\t}\n}' % (target.host, auth))
    again = engine.skiff("login", target.host, env=env)
    assert "Authenticating with existing credentials" in again.stdout
    assert engine.skiff("logout", target.host, env=env).stdout == f"Removing login credentials for {target.host}\n"
    assert json.loads(config.read_text()) == {"HttpHeaders": {"X": "y"}, "auths": {"other.example": {"auth": "YTpi"}}}


def test_login_options(engine, tmp_path):
    env = {"DOCKER_CONFIG": str(tmp_path)}
    for argv, words in ((["--password-stdin"], "requires --username"), (["-p", "x", "--password-stdin", "-u", "z"], "conflicting options"),
                        (["-u", "a"], "non TTY")):
        done = engine.skiff("login", *argv, env=env, check=False)
        assert done.returncode == 1 and words in done.stderr, done


HELPER = """#!/usr/bin/python3
import json, os, sys
path = os.path.join(os.path.dirname(__file__), "kept.json")
kept = json.load(open(path)) if os.path.exists(path) else {}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(kept[text]))
elif sys.argv[1] == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = entry
elif sys.argv[1] == "erase":
    kept.pop(text, None)
json.dump(kept, open(path, "w"))
"""


@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
def test_credential_helper(engine, target, busybox, tmp_path, member):
    target.rules(auth="basic", user="joe:s3cret")
    helper = tmp_path / "docker-credential-box"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({member: "box" if member == "credsStore" else {target.host: "box"}}))
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    name = tagged(engine, busybox, f"{target.host}/helped")
    assert "no basic auth credentials" in engine.skiff("push", name, env=env, check=False).stderr
    done = engine.skiff("login", "-u", "joe", "--password-stdin", target.host, input="s3cret", env=env)
    assert "unencrypted" not in done.stderr
    assert json.loads((tmp_path / "kept.json").read_text())[target.host]["Secret"] == "s3cret"
    assert json.loads(config.read_text())["auths"] == {target.host: {}} and "s3cret" not in config.read_text()
    engine.skiff("push", name, env=env)
    engine.skiff("logout", target.host, env=env)
    assert json.loads((tmp_path / "kept.json").read_text()) == {}


# --- questions
def test_search(engine, target):
    target.rules(search=[{"name": "a/b", "description": "x" * 60, "star_count": 7, "is_official": True, "is_automated": False},
                         {"name": "c", "description": "", "star_count": 1, "is_official": False, "is_automated": False}])
    status, _, found = engine.api("GET", f"/images/search?term={target.host}/word&limit=3")
    assert status == 200 and [r["name"] for r in found] == ["a/b", "c"]
    assert [r["path"] for r in target.requests() if "search" in r["path"]][-1] == "/v1/search?q=word&n=3"
    assert engine.skiff("search", "--filter", "stars=3", f"{target.host}/word").stdout == (
        "NAME      DESCRIPTION                                     STARS     OFFICIAL\n"
        "a/b       " + "x" * 44 + "…   7         [OK]\n")
    assert engine.api("GET", f"/images/search?term=x&limit=101")[0] == 400
    assert "a/b" in engine.docker("search", f"{target.host}/word").stdout


def test_distribution(engine, registry):
    image = Image([tar_of({"a": b"x"})], docker=True)
    name = registry.push(image, "described", "v1")
    status, _, shown = engine.api("GET", f"/distribution/{name}/json")
    assert status == 200 and shown == {"Descriptor": {"mediaType": DOCKER_MANIFEST, "digest": digest(image.manifest_bytes),
                                                      "size": len(image.manifest_bytes)},
                                       "Platforms": [{"architecture": "amd64", "os": "linux"}]}
    assert engine.api("GET", f"/distribution/{registry.host}/described:none/json")[0] == 404
