"""Signature policy: what is pulled must be signed, in cosign's layout, by a key that the policy names."""
import base64
import json
import os
import shutil
import subprocess

import pytest

import registry
from engine import json_lines

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


class Key:
    def __init__(self, folder, name, curve="prime256v1"):
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", self.private], check=True)
        subprocess.run(["openssl", "ec", "-in", self.private, "-pubout", "-out", self.public], check=True, capture_output=True)

    def sign(self, payload):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.private], input=payload, check=True,
                              capture_output=True).stdout


def sign(server, repository, digest, key, name=None, payload=None, damage=lambda s: s):
    """Add cosign's signature manifest of this digest to the registry."""
    payload = payload if payload is not None else json.dumps({
        "critical": {"identity": {"docker-reference": name or f"{server.host}/{repository}"},
                     "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"},
        "optional": None}).encode()
    config = b'{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}'
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": registry.OCI_MANIFEST,
        "config": {"mediaType": registry.OCI_CONFIG, "size": len(config), "digest": registry.digest(config)},
        "layers": [{"mediaType": PAYLOAD, "size": len(payload), "digest": registry.digest(payload),
                    "annotations": {"dev.cosignproject.cosign/signature":
                                    base64.b64encode(damage(key.sign(payload))).decode()}}]}).encode()
    server.put_raw({f"{repository}:{digest.replace(':', '-')}.sig": (registry.OCI_MANIFEST, manifest)},
                   {registry.digest(payload): payload, registry.digest(config): config})


@pytest.fixture
def place(make_engine, tmp_path, busybox_rootfs):
    """An engine with a policy that can be rewritten, a registry in its namespace, two keys."""
    class Place:
        ours, theirs = Key(tmp_path, "ours"), Key(tmp_path, "theirs")
        policy_path = tmp_path / "policy.json"

        def policy(self, scopes, default="reject"):
            self.policy_path.write_text(json.dumps({
                "default": [{"type": default}], "transports": {"docker": {
                    scope: requirements if isinstance(requirements, list) else [requirements]
                    for scope, requirements in scopes.items()}}}))

        def signed(self, **more):
            return {"type": "sigstoreSigned", "keyPath": str(self.ours.public),
                    "signedIdentity": {"type": "matchRepository"}, **more}

        def pull(self, name):
            repository, _, tag = name.rpartition(":") if "@" not in name else name.partition("@")
            status, _, answer = self.engine.api("POST", f"/images/create?fromImage={repository}&tag={tag}")
            lines = json_lines(answer)
            return lines[-1].get("error") or lines[-1].get("message") or lines[-1]["status"].split()[1]

    p = Place()
    p.policy({})
    p.engine = make_engine("--signature-policy", str(p.policy_path))
    p.server = registry.BadRegistry(p.engine.in_netns())
    p.image = registry.Image([busybox_rootfs])
    p.digest = registry.digest(p.image.manifest_bytes)
    p.name = p.server.put(p.image, "lib/box", "v1")
    yield p
    p.server.close()


def is_empty(engine):
    return engine.api("GET", "/images/json?all=1")[2] == [] and not os.listdir(engine.data_root / "blobs/sha256") and \
        os.listdir(engine.data_root / "layers") == [".init"] and not os.listdir(engine.data_root / "tmp")


def test_policy_of_places(place):
    refused = f"{place.name} is refused by the signature policy: its place is rejected"
    accept, reject = {"type": "insecureAcceptAnything"}, {"type": "reject"}
    assert place.pull(place.name) == refused and is_empty(place.engine)
    host = place.server.host
    for scopes, wanted in (({host: accept}, "Downloaded"), ({f"{host}/lib": reject, host: accept}, refused),
                           ({f"{host}/lib/box": accept, f"{host}/lib": reject}, "Downloaded"),
                           ({f"{host}/lib/box:v1": reject, f"{host}/lib/box": accept}, refused),
                           ({f"{host}/lib/bo": accept}, refused), ({"": accept}, "Downloaded"),
                           ({"*.0.0.1" + host[9:]: accept}, "Downloaded")):
        place.policy(scopes)
        assert place.pull(place.name) == wanted if wanted == refused else place.pull(place.name).startswith("Downloaded"), scopes
        place.engine.docker("rmi", "-f", place.name, check=False)


def test_signed_images_come_in(place):
    place.policy({place.server.host: place.signed()})
    why = f"{place.name} is refused by the signature policy: "
    assert place.pull(place.name) == why + "it has no signature" and is_empty(place.engine)
    sign(place.server, "lib/box", place.digest, place.theirs)
    assert place.pull(place.name) == why + "no signature is by a key of the policy" and is_empty(place.engine)
    sign(place.server, "lib/box", place.digest, place.ours)
    assert place.pull(place.name) == "Downloaded"
    assert place.engine.docker("run", "--rm", place.name, "echo", "signed").stdout == "signed\n"
    assert place.pull(place.name) == "Image" or place.pull(place.name)  # up to date
    assert place.pull(f"{place.server.host}/lib/box@{place.digest}")


def test_what_a_signature_is_of(place):
    place.policy({place.server.host: place.signed()})
    why = f"{place.name} is refused by the signature policy: "
    other = why + "what its signatures are of is another image or name"
    sign(place.server, "lib/box", place.digest, place.ours, name="docker.io/library/box")
    assert place.pull(place.name) == other
    forged = json.dumps({"critical": {"identity": {"docker-reference": f"{place.server.host}/lib/box"},
                                      "image": {"docker-manifest-digest": "sha256:" + "0" * 64},
                                      "type": "cosign container image signature"}}).encode()
    for payload, damage, wanted in ((forged, lambda s: s, other), (b"no json", lambda s: s, other),
                                    (b"{}", lambda s: s, other),
                                    (None, lambda s: s[:-1] + bytes([s[-1] ^ 1]), why + "no signature is by a key of the policy"),
                                    (None, lambda s: b"", why + "no signature is by a key of the policy")):
        sign(place.server, "lib/box", place.digest, place.ours, payload=payload, damage=damage)
        assert place.pull(place.name) == wanted
    assert is_empty(place.engine)


def test_identities(place):
    host, repository = place.server.host, f"{place.server.host}/lib/box"
    for identity, name, fits in (
            (None, repository, False), (None, f"{repository}:v1", True), (None, f"{repository}:v2", False),
            ({"type": "matchExact"}, f"{repository}:v1", True), ({"type": "matchExact"}, repository, False),
            ({"type": "matchRepository"}, f"{repository}:v2", True), ({"type": "matchRepository"}, f"{host}/lib/other", False),
            ({"type": "exactRepository", "dockerRepository": "example.com/x"}, "example.com/x:any", True),
            ({"type": "exactReference", "dockerReference": "example.com/x:1"}, "example.com/x:1", True),
            ({"type": "exactReference", "dockerReference": "example.com/x:1"}, "example.com/x:2", False)):
        requirement = {"type": "sigstoreSigned", "keyPath": str(place.ours.public)}
        if identity:
            requirement["signedIdentity"] = identity
        place.policy({host: requirement})
        sign(place.server, "lib/box", place.digest, place.ours, name=name)
        assert ("refused" not in place.pull(place.name)) == fits, (identity, name)
    place.policy({host: {"type": "sigstoreSigned", "keyPath": str(place.ours.public)}})
    sign(place.server, "lib/box", place.digest, place.ours)
    assert "refused" not in place.pull(f"{repository}@{place.digest}")  # by digest the repository is enough


def test_several_requirements_and_keys(place):
    other = {"type": "sigstoreSigned", "keyPath": str(place.theirs.public), "signedIdentity": {"type": "matchRepository"}}
    sign(place.server, "lib/box", place.digest, place.ours)
    place.policy({place.server.host: [place.signed(), other]})
    assert "refused" in place.pull(place.name)  # all must be met
    both = {"type": "sigstoreSigned", "keyPaths": [str(place.theirs.public), str(place.ours.public)],
            "signedIdentity": {"type": "matchRepository"}}
    place.policy({place.server.host: both})
    assert place.pull(place.name) == "Downloaded"
    data = base64.b64encode(place.ours.public.read_bytes()).decode()
    place.engine.docker("rmi", "-f", place.name)
    place.policy({place.server.host: {"type": "sigstoreSigned", "keyData": data, "signedIdentity": {"type": "matchRepository"}}})
    assert place.pull(place.name) == "Downloaded"


def test_an_index_is_signed_for_all_it_names(place):
    place.policy({place.server.host: place.signed()})
    name = place.server.put_index([place.image], "lib/many", "v1")
    sign(place.server, "lib/many", registry.digest(registry.index_of([place.image])), place.ours)
    assert place.pull(name) == "Downloaded"
    name = place.server.put_index([place.image], "lib/one", "v1")
    assert "no signature" in place.pull(name)
    sign(place.server, "lib/one", place.digest, place.ours)
    assert "refused" not in place.pull(name)


@pytest.mark.parametrize("policy, words", [
    ("{", "signature policy"), ("[]", "not a JSON object"), ("{}", "a list of requirements is wanted"),
    ({"default": [{"type": "signedBy"}]}, 'requirement "signedBy" is not offered'),
    ({"default": [{"type": "sigstoreSigned"}]}, "without keyPath"),
    ({"default": [{"type": "sigstoreSigned", "keyPath": "/nope.pub"}]}, "read key /nope.pub"),
    ({"default": [{"type": "sigstoreSigned", "keyData": "!"}]}, "bad base64"),
    ({"default": [{"type": "sigstoreSigned", "keyData": "eA=="}]}, "no public key"),
    ({"default": [{"type": "sigstoreSigned", "fulcio": {}}]}, '"fulcio" is not offered'),
    ({"default": [{"type": "insecureAcceptAnything"}], "extra": 1}, '"extra" is not offered'),
])
def test_a_policy_that_cannot_be_kept_is_refused(make_engine, tmp_path, policy, words):
    path = tmp_path / "policy.json"
    path.write_text(policy if isinstance(policy, str) else json.dumps(policy))
    engine = make_engine("--signature-policy", str(path), is_started=False)
    with pytest.raises(RuntimeError):
        engine.start()
    assert words in engine.log()


def test_other_curves_are_refused(make_engine, tmp_path):
    key, path = Key(tmp_path, "wide", "secp384r1"), tmp_path / "policy.json"
    path.write_text(json.dumps({"default": [{"type": "sigstoreSigned", "keyPath": str(key.public)}]}))
    engine = make_engine("--signature-policy", str(path), is_started=False)
    with pytest.raises(RuntimeError):
        engine.start()
    assert "ECDSA on P-256" in engine.log()


@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
def test_skopeo_agrees(place, tmp_path):
    """The same policy file, the same registry: what skopeo takes and what it refuses."""
    attachments = tmp_path / "registries.d"
    attachments.mkdir()
    (attachments / "all.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
    place.policy({place.server.host: place.signed()})

    def skopeo(n):
        done = place.engine.run_in_netns("skopeo", "--policy", place.policy_path, "--registries.d", attachments, "copy",
                                         "--src-tls-verify=false", f"docker://{place.name}", f"dir:{tmp_path}/copy{n}",
                                         check=False)
        return done.returncode == 0 or done.stderr.decode()
    assert "no signature exists" in skopeo(0) and "refused" in place.pull(place.name)
    sign(place.server, "lib/box", place.digest, place.theirs)
    found = skopeo(1)
    if "sigstore disabled" in found:  # Debian's: it reads the policy and finds the signature, but checks none
        return
    assert found is not True and "refused" in place.pull(place.name)
    sign(place.server, "lib/box", place.digest, place.ours)
    assert skopeo(2) is True and place.pull(place.name) == "Downloaded"
