"""skiff manifest: lists made, annotated, pushed, read; and docker's own command on the same registry."""
import base64
import hashlib
import json
import os

import pytest

import registry
from engine import make_tar


@pytest.fixture(scope="module")
def shared(session_engine):
    if not registry.DebianRegistry.PROGRAM:
        pytest.skip("no docker-registry")
    server = registry.DebianRegistry(session_engine.in_netns())
    yield server
    server.close()


@pytest.fixture
def members(shared, busybox_rootfs):
    """Two images of one program for two platforms, in repositories of their own."""
    amd, arm = (registry.Image([busybox_rootfs, make_tar([("arch", name.encode())])], architecture=name, variant=variant)
                for name, variant in (("amd64", None), ("arm64", "v8")))
    return {"amd64": (shared.push(amd, "parts/amd", "1"), amd), "arm64": (shared.push(arm, "parts/arm", "1"), arm)}


def skiff(engine, *args, **more):
    return engine.skiff("manifest", *args, **more)


def docker(engine, *args, check=True):
    """The docker CLI itself talks to the registry: it must be where that is."""
    return engine.run_in_netns("docker", "manifest", *args, check=check, env=engine.environment())


def test_a_list_from_beginning_to_end(engine, shared, members):
    name = f"{shared.host}/lib/many:v1"
    refs = [ref for ref, _ in members.values()]
    assert skiff(engine, "create", name, *refs).stdout == f"Created manifest list {name}\n"
    again = skiff(engine, "create", name, refs[0], check=False)
    assert again.returncode == 1 and "refusing to amend an existing manifest list with no --amend flag" in again.stderr
    skiff(engine, "create", "--amend", name, refs[0])
    document = json.loads(skiff(engine, "inspect", name).stdout)
    assert document["mediaType"] == registry.OCI_INDEX and document["schemaVersion"] == 2
    assert [(m["platform"], m["digest"], m["size"]) for m in document["manifests"]] == [
        ({"architecture": "amd64", "os": "linux"}, registry.digest(members["amd64"][1].manifest_bytes),
         len(members["amd64"][1].manifest_bytes)),
        ({"architecture": "arm64", "os": "linux", "variant": "v8"}, registry.digest(members["arm64"][1].manifest_bytes),
         len(members["arm64"][1].manifest_bytes))]
    skiff(engine, "annotate", "--variant", "v9", "--os-version", "7", "--os-features", "fast", "--annotation", "a=b=c", name, refs[1])
    document = json.loads(skiff(engine, "inspect", name).stdout)
    assert document["manifests"][1]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v9",
                                                    "os.version": "7", "os.features": ["fast"]}
    assert document["manifests"][1]["annotations"] == {"a": "b=c"}
    # It outlives the engine's process, and is pushed with what it names.
    engine.restart()
    pushed = skiff(engine, "push", "--purge", name).stdout.splitlines()
    digest = pushed[-1]
    assert sorted(line.split("@")[1].split()[0] for line in pushed[:-1]) == \
        sorted(registry.digest(i.manifest_bytes) for _, i in members.values())
    assert skiff(engine, "rm", name, check=False).returncode == 1  # purged
    remote = json.loads(skiff(engine, "inspect", name).stdout)
    assert remote == document
    del document["manifests"][1]["annotations"]  # docker does not show them
    assert json.loads(docker(engine, "inspect", "--insecure", name).stdout) == document
    engine.docker("pull", "-q", name)
    assert engine.docker("run", "--rm", name, "cat", "/arch").stdout == "amd64"
    assert engine.api("GET", f"/images/{name}/json")[2]["RepoDigests"] == [f"{shared.host}/lib/many@{digest}"]
    engine.docker("rmi", "-f", name)


def test_docker_says_the_same(engine, shared, members):
    ref, image = members["amd64"]
    assert skiff(engine, "inspect", ref).stdout.encode() == docker(engine, "inspect", "--insecure", ref).stdout
    ours, theirs = (json.loads(out) for out in (skiff(engine, "inspect", "-v", ref).stdout,
                                                docker(engine, "inspect", "--insecure", "-v", ref).stdout))
    assert ours["Ref"] == theirs["Ref"] == ref
    assert ours["Descriptor"] == {k: v for k, v in theirs["Descriptor"].items()}
    assert ours["OCIManifest"] == theirs["OCIManifest"]
    listed = [f"{shared.host}/lib/{who}:x" for who in ("skiff", "docker")]
    for run, name in ((lambda *a: skiff(engine, *a), listed[0]), (lambda *a: docker(engine, *a), listed[1])):
        insecure = ["--insecure"] if name == listed[1] else []
        run("create", *insecure, name, ref, members["arm64"][0])
        run("annotate", "--arch", "arm", "--variant", "v7", name, members["arm64"][0])
        run("push", *insecure, "--purge", name)
    first, second = (json.loads(skiff(engine, "inspect", name).stdout)["manifests"] for name in listed)
    assert first == second


def test_docker_schema_two_makes_a_docker_list(engine, shared, busybox_rootfs):
    image = registry.Image([busybox_rootfs], docker=True)
    ref = shared.push(image, "parts/schema2", "1")
    name = f"{shared.host}/lib/schema2:list"
    skiff(engine, "create", name, ref)
    assert json.loads(skiff(engine, "inspect", name).stdout)["mediaType"] == registry.DOCKER_INDEX
    skiff(engine, "push", name)
    assert json.loads(docker(engine, "inspect", "--insecure", name).stdout)["mediaType"] == registry.DOCKER_INDEX
    skiff(engine, "rm", name)


def test_what_is_refused(engine, shared, members):
    name = f"{shared.host}/lib/none:v1"
    for arguments, words in (
            (("inspect", name), f"no such manifest: {name}"), (("rm", name), f"No such manifest: {name}"),
            (("push", name), "not found"), (("create", name, f"{shared.host}/no/such:1"), "no such manifest"),
            (("annotate", name, "x"), "No such manifest"), (("create", "UPPER", "x"), "repository name must be lowercase")):
        done = skiff(engine, *arguments, check=False)
        assert done.returncode == 1 and words in done.stderr, (arguments, done.stderr)
    refs = [ref for ref, _ in members.values()]
    skiff(engine, "create", name, *refs)
    done = skiff(engine, "annotate", name, f"{shared.host}/lib/other:1", check=False)
    assert "does not exist in" in done.stderr
    skiff(engine, "push", name)
    nested = skiff(engine, "create", f"{shared.host}/lib/nested:1", name, check=False)
    skiff(engine, "rm", name)
    nested = skiff(engine, "create", f"{shared.host}/lib/nested:1", name, check=False)
    assert nested.returncode == 1 and "is a manifest list" in nested.stderr
    skiff(engine, "create", "docker.io/lib/elsewhere:1", refs[0])
    far = skiff(engine, "push", "docker.io/lib/elsewhere:1", check=False)
    assert "from a different registry" in far.stderr
    skiff(engine, "rm", "docker.io/lib/elsewhere:1")


# --- artifacts

@pytest.mark.parametrize("kind", ["debian", "bad"])
def test_attach_list_and_pull(engine, shared, busybox_rootfs, tmp_path, kind):
    """docker-registry 2.8 has no referrers API: the index is a tag there."""
    image = registry.Image([busybox_rootfs, make_tar([("for", kind.encode())])])
    name = shared.push(image, "lib/attached", kind)
    subject = registry.digest(image.manifest_bytes)
    assert engine.skiff("artifact", "ls", "--format", "json", name).stdout == ""
    (tmp_path / "sbom.json").write_bytes(b'{"bom":1}')
    (tmp_path / "large").write_bytes(os.urandom(9_000_001))
    first = engine.skiff("artifact", "attach", "--type", "application/vnd.example.sbom", "--annotation", "who=me", "--media-type",
                         "application/json", name, tmp_path / "sbom.json").stdout.strip()
    second = engine.skiff("artifact", "attach", "--type", "application/vnd.example.data", f"{shared.host}/lib/attached@{subject}",
                          tmp_path / "large", tmp_path / "sbom.json").stdout.strip()
    bare = engine.skiff("artifact", "attach", "--type", "application/vnd.example.note", "--annotation", "a=b", name).stdout.strip()
    rows = [json.loads(line) for line in engine.skiff("artifact", "ls", "--format", "json", name).stdout.splitlines()]
    assert [(r["Digest"], r["ArtifactType"]) for r in rows] == [
        (first, "application/vnd.example.sbom"), (second, "application/vnd.example.data"), (bare, "application/vnd.example.note")]
    assert rows[0]["Annotations"]["who"] == "me" and rows[0]["Created"]
    only = engine.skiff("artifact", "ls", "--type", "application/vnd.example.data", name).stdout.splitlines()
    assert len(only) == 2 and only[1].startswith(second)
    # The manifest is as the specification has it.
    manifest = json.loads(engine.skiff("manifest", "inspect", f"{shared.host}/lib/attached@{first}").stdout)
    assert manifest["subject"] == {"mediaType": image.media_type, "digest": subject, "size": len(image.manifest_bytes)}
    assert manifest["artifactType"] == "application/vnd.example.sbom" and manifest["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest()}
    assert manifest["layers"] == [{"mediaType": "application/json", "size": 9, "digest": registry.digest(b'{"bom":1}'),
                                   "annotations": {"org.opencontainers.image.title": "sbom.json"}}]
    out = tmp_path / "out"
    out.mkdir()
    engine.skiff("artifact", "pull", "-o", out, f"{shared.host}/lib/attached@{second}")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {n: (tmp_path / n).read_bytes() for n in ("large", "sbom.json")}
    for arguments, words in ((("attach", "--type", "nothing", name), "a media type is wanted"),
                             (("attach", name, tmp_path / "nope"), "open"), (("ls", f"{shared.host}/no/such"), "unknown"),
                             (("pull", "-o", tmp_path / "none", name), "open")):
        done = engine.skiff("artifact", *arguments, check=False)
        assert done.returncode == 1 and words in done.stderr, (arguments, done.stderr)


def test_referrers_of_a_registry_that_has_the_api(engine, busybox_rootfs, tmp_path):
    server = registry.BadRegistry(engine.in_netns())
    try:
        image = registry.Image([busybox_rootfs])
        name = server.put(image, "lib/native", "v1")
        digest, other = registry.digest(image.manifest_bytes), "sha256:" + "5" * 64
        index = {"schemaVersion": 2, "mediaType": registry.OCI_INDEX, "manifests": [
            {"mediaType": registry.OCI_MANIFEST, "digest": other, "size": 5, "artifactType": "a/b", "annotations": {"k": "v"}},
            {"mediaType": registry.OCI_MANIFEST, "digest": "nonsense", "size": 5, "artifactType": "a/b"}]}
        server.order(referrers={digest: json.dumps(index)})
        rows = [json.loads(line) for line in engine.skiff("artifact", "ls", "--format", "json", name).stdout.splitlines()]
        assert [(r["Digest"], r["ArtifactType"], r["Annotations"]) for r in rows] == [(other, "a/b", {"k": "v"})]
        evil = json.dumps({"schemaVersion": 2, "config": {}, "layers": [
            {"mediaType": "x/y", "digest": registry.digest(b"evil"), "size": 4,
             "annotations": {"org.opencontainers.image.title": title}} for title in ("../../escape", "..")]}).encode()
        server.put_raw({"lib/native:evil": (registry.OCI_MANIFEST, evil)}, {registry.digest(b"evil"): b"evil"})
        out = tmp_path / "a/b/out"
        out.mkdir(parents=True)
        engine.skiff("artifact", "pull", "-o", out, f"{server.host}/lib/native:evil")
        assert sorted(p.name for p in out.iterdir()) == sorted(["escape", registry.digest(b"evil")[7:]])
        assert not (tmp_path / "escape").exists() and not (tmp_path / "a/escape").exists()
    finally:
        server.close()


def test_credentials_go_to_the_list_s_registry_only(make_engine, busybox_rootfs):
    engine = make_engine()
    servers = [registry.BadRegistry(engine.in_netns()) for _ in range(2)]
    try:
        image = registry.Image([busybox_rootfs])
        names = [server.put(image, "lib/member", "v1") for server in servers]
        servers[0].rules(auth="basic", user="me:secret")
        config = engine.root / "docker-config"
        config.mkdir(exist_ok=True)
        login = base64.b64encode(b"me:secret").decode()
        (config / "config.json").write_text(json.dumps({"auths": {servers[0].host: {"auth": login}}}))
        engine.skiff("manifest", "create", f"{servers[0].host}/lib/list:1", *names)
        assert any(r["authorization"] == f"Basic {login}" for r in servers[0].requests())
        assert {r["authorization"] for r in servers[1].requests()} == {None}
        assert engine.skiff("artifact", "ls", names[0]).stdout.startswith("DIGEST")
    finally:
        for server in servers:
            server.close()
