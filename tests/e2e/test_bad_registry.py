"""Registries that stall, lie, send elsewhere, refuse and cannot prove who they are: a clear error, nothing left behind, and
credentials never reach another host. (Layers that are cut short or wrong and bad manifests: test_pull.py.)"""
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from engine import UnixConnection, run, wait_until
from registry import OCI_INDEX, OCI_MANIFEST, BadRegistry, Image, digest, index_of, tar_of
from test_pull import bad, bad_registry, error_of, leaves_nothing, pull, two_layers, unique  # noqa: F401 (fixtures)

OUTSIDE = "10.213.77.1"  # not loopback, where no certificate is asked for
SECRET = {"username": "me", "password": "secret"}


@pytest.fixture
def other(session_engine):
    registry = BadRegistry(session_engine.in_netns())
    yield registry
    registry.close()


# --- lengths ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("which", [0, 1])
def test_a_layer_longer_than_its_descriptor(engine, bad, leaves_nothing, which):
    image = two_layers()
    name = bad.put(image, "lib/long", "latest")
    bad.rules(blobs={image.layers[which]["digest"]: "long"})
    assert error_of(engine, name)


@pytest.mark.parametrize("by", [-1, 1, 1 << 40])
def test_a_descriptor_that_lies_about_the_size(engine, bad, leaves_nothing, by):
    image = two_layers()
    image.manifest["layers"] = [dict(image.layers[0]), dict(image.layers[1], size=image.layers[1]["size"] + by)]
    assert error_of(engine, bad.put(image, "lib/size", "latest"))


@pytest.mark.parametrize("size", [-1, 1.5, "12", None, 1 << 63])
def test_a_size_that_is_no_size(engine, bad, leaves_nothing, size):
    image = two_layers()
    image.manifest["layers"] = [dict(image.layers[0], size=size)]
    assert error_of(engine, bad.put(image, "lib/nosize", "latest"))


@pytest.mark.parametrize("name", ["sha256:../../../../etc/passwd", "sha256:" + "A" * 64, "sha256:12", "md5:" + "0" * 32, "", None])
def test_cve_2024_3727_a_digest_that_is_no_digest(engine, bad, leaves_nothing, name):
    image = two_layers()
    image.manifest["layers"] = [dict(image.layers[0], digest=name)]
    assert error_of(engine, bad.put(image, "lib/nodigest", "latest"))


def test_a_manifest_that_is_not_the_one_asked_for(engine, bad, leaves_nothing):
    asked, given = two_layers(), two_layers()
    bad.put_raw({f"lib/other:{digest(asked.manifest_bytes)}": (OCI_MANIFEST, given.manifest_bytes)}, given.blobs)
    assert digest(asked.manifest_bytes) in error_of(engine, f"{bad.host}/lib/other@{digest(asked.manifest_bytes)}")


# --- types and indexes --------------------------------------------------------------------------------------------------
def test_an_index_served_as_a_manifest(engine, bad, leaves_nothing):
    name = bad.put_index([two_layers()], "lib/typed", "latest")
    bad.rules(manifest_type=OCI_MANIFEST)
    assert error_of(engine, name)


def test_a_manifest_served_as_an_index(engine, bad, leaves_nothing):
    name = bad.put(two_layers(), "lib/typed2", "latest")
    bad.rules(manifest_type=OCI_INDEX)
    assert error_of(engine, name)


def test_an_index_of_an_index(engine, bad, leaves_nothing):
    """An index cannot hold its own digest; one that holds another is as near as it comes, and depth is refused at once."""
    inner = index_of([two_layers()])
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_INDEX, "size": len(inner), "digest": digest(inner),
         "platform": {"os": "linux", "architecture": Image([b""]).platform["architecture"]}}]}).encode()
    name = bad.put_raw({"lib/nested:latest": (OCI_INDEX, outer), f"lib/nested:{digest(inner)}": (OCI_INDEX, inner)}, {},
                       f"{bad.host}/lib/nested:latest")
    assert "index" in error_of(engine, name)


def test_cve_2020_15157_foreign_urls_are_not_fetched(engine, bad, other, leaves_nothing):
    """A layer's "urls" had the registry's credentials sent to them."""
    image = two_layers()
    missing = image.layers[1]["digest"]
    image.manifest["layers"] = [image.layers[0], dict(image.layers[1], urls=[f"http://{other.host}/v2/lib/foreign/blobs/{missing}"])]
    name = bad.put(image, "lib/foreign", "latest")
    bad.order(blobs={})
    other.put(image, "lib/foreign", "latest")
    bad.rules(auth="basic", user="me:secret", blobs={missing: "wrong"})
    assert error_of(engine, name, auth=SECRET)
    assert other.requests() == []


# --- redirects ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["manifest", "layer"])
def test_a_redirect_that_never_ends(engine, bad, leaves_nothing, what):
    image = two_layers()
    name = bad.put(image, "lib/loops", "latest")
    bad.rules(**({"manifest": "loop"} if what == "manifest" else {"blobs": {image.layers[0]["digest"]: "loop"}}))
    began = time.monotonic()
    assert "redirects" in error_of(engine, name)
    assert time.monotonic() - began < 30


def test_a_redirected_manifest_carries_no_credentials(engine, bad, other):
    image = two_layers()
    name = bad.put(image, "lib/moved", "latest")
    other.put(image, "lib/moved", "latest")
    bad.rules(auth="basic", user="me:secret", manifest="redirect", redirect_to=f"http://{other.host}")
    pull(engine, name, auth=SECRET)
    assert other.requests() and all(r["authorization"] is None for r in other.requests())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1:1", "ftp://127.0.0.1", "//", "http://user:pw@:0"])
def test_a_redirect_to_no_web_address(engine, bad, leaves_nothing, target):
    image = two_layers()
    name = bad.put(image, "lib/scheme", "latest")
    bad.rules(blobs={image.layers[0]["digest"]: "redirect"}, redirect_to=target)
    assert "root:" not in error_of(engine, name)


# --- refusals -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
def test_a_registry_that_only_refuses(engine, bad, leaves_nothing, status):
    bad.rules(manifest="error", status=status, body="<html>no\x1b[31m</html>")
    message = error_of(engine, f"{bad.host}/lib/refused:latest", timeout=120)
    assert message and "\x1b" not in message and "html" not in message, message


def test_a_layer_that_stalls_can_be_given_up(engine, bad, leaves_nothing):
    """The client's going away ends it; another pull is not held up meanwhile."""
    image, good = two_layers(), two_layers()
    name, fine = bad.put(image, "lib/stalls", "latest"), bad.put(good, "lib/fine", "latest")
    bad.rules(blobs={image.layers[1]["digest"]: "stall"})
    connection = UnixConnection(engine.socket)
    query = urllib.parse.urlencode({"fromImage": name.rpartition(":")[0], "tag": "latest"})
    connection.request("POST", f"/images/create?{query}")
    response = connection.getresponse()
    response.readline()
    status, lines = pull(engine, fine)
    assert status == 200 and "error" not in lines[-1]
    engine.docker("rmi", fine)
    response.close()
    connection.close()
    peers = f"( dport = :{bad.port} )"
    wait_until(lambda: not engine.run_in_netns("ss", "-Htn", "state", "established", peers).stdout.strip(), timeout=15,
               interval=0.1)


@pytest.mark.skipif(os.environ.get("SKIFF_LONG") != "1", reason="takes the engine's minute of patience (SKIFF_LONG=1)")
def test_a_layer_that_stalls_for_good(engine, bad, leaves_nothing):
    image = two_layers()
    name = bad.put(image, "lib/stalls", "latest")
    bad.rules(blobs={image.layers[1]["digest"]: "stall"})
    assert "timeout" in error_of(engine, name, timeout=900)


# --- certificates -------------------------------------------------------------------------------------------------------
def openssl(*arguments):
    run("openssl", *arguments)


def make_certificate(folder, name, address, days="2"):
    """A certificate for an address with its own authority: (what the server needs, the authority)."""
    ca, key, request, cert = (folder / f"{name}.{e}" for e in ("ca", "key", "csr", "crt"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / f"{name}.cakey", "-out", ca, "-days", "2",
            "-subj", f"/CN=authority of {name}", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=test")
    (folder / f"{name}.ext").write_text(f"subjectAltName=IP:{address}\n")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", folder / f"{name}.cakey", "-CAcreateserial", "-out", cert,
            "-days", days, "-extfile", folder / f"{name}.ext")
    server = folder / f"{name}.pem"
    server.write_bytes(cert.read_bytes() + key.read_bytes())
    return server, ca


@contextlib.contextmanager
def trusted(host, authority):
    folder = Path("/etc/docker/certs.d") / host
    made = next(p for p in [*reversed(folder.parents), folder] if not p.exists())
    folder.mkdir(parents=True)
    try:
        shutil.copy(authority, folder / "ca.crt")
        yield
    finally:
        shutil.rmtree(made)


@pytest.fixture
def tls_registry(session_engine, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    session_engine.run_in_netns("ip", "addr", "replace", f"{OUTSIDE}/32", "dev", "lo")
    registries = []

    def make(name, address=OUTSIDE, days="2"):
        server, authority = make_certificate(tmp_path, name, address, days)
        registry = BadRegistry(session_engine.in_netns(), certificate=server, address=OUTSIDE)
        registries.append(registry)
        return registry, authority

    yield make
    for registry in registries:
        registry.close()


def test_a_private_authority(engine, tls_registry):
    registry, authority = tls_registry("good")
    name = registry.put(two_layers(), "lib/tls", "latest")
    with trusted(registry.host, authority):
        status, lines = pull(engine, name)
    assert status == 200 and "error" not in lines[-1], lines


@pytest.mark.parametrize("case", ["unknown authority", "another's authority", "expired", "another address"])
def test_a_bad_certificate(engine, tls_registry, leaves_nothing, case):
    """Refused before anything is asked, above all before credentials are sent; never tried again in the clear."""
    registry, authority = tls_registry("bad", "10.213.77.2" if case == "another address" else OUTSIDE,
                                       "-1" if case == "expired" else "2")
    name = registry.put(two_layers(), "lib/tls", "latest")
    if case == "another's authority":
        authority = tls_registry("other")[1]
    with contextlib.nullcontext() if case == "unknown authority" else trusted(registry.host, authority):
        message = error_of(engine, name, auth=SECRET)
    assert "certificate" in message, message
    assert registry.requests() == []


def test_https_does_not_redirect_to_http(engine, tls_registry, other, leaves_nothing):
    registry, authority = tls_registry("down")
    image = two_layers()
    name = registry.put(image, "lib/down", "latest")
    other.put(image, "lib/down", "latest")
    registry.rules(blobs={image.layers[0]["digest"]: "redirect"}, redirect_to=f"http://{other.host}")
    with trusted(registry.host, authority):
        assert "plain HTTP" in error_of(engine, name, auth=SECRET)
    assert other.requests() == []
