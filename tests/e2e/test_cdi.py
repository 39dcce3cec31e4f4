"""Devices by the Container Device Interface, from JSON and YAML files."""
import json

import pytest

ZERO = {"cdiVersion": "0.6.0", "kind": "example.com/zero",
        "containerEdits": {"env": ["COMMON=yes"]},
        "devices": [{"name": "first", "containerEdits": {
            "env": ["ZERO=first"], "deviceNodes": [{"path": "/dev/my-zero", "hostPath": "/dev/zero", "permissions": "r"}],
            "mounts": [{"hostPath": "/etc/debian_version", "containerPath": "/etc/from-the-host", "options": ["ro"]}],
            "additionalGids": [77]}}]}
GPUS = """# as a vendor's tool writes them
cdiVersion: "0.5.0"
kind: example.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [GPU0=yes]
    deviceNodes:
    - {path: /dev/gpu0, type: c, major: 1, minor: 5, fileMode: 0o600}
- name: "1"
  containerEdits:
    env:
      - GPU1=yes
- name: all
  containerEdits: {env: [GPUS=all]}
"""


@pytest.fixture
def cdi_engine(make_engine, busybox_rootfs, tmp_path):
    (tmp_path / "zero.json").write_text(json.dumps(ZERO))
    (tmp_path / "gpus.yaml").write_text(GPUS)
    (tmp_path / "broken.json").write_text("{")
    engine = make_engine("--cdi-spec-dir", tmp_path)
    engine.import_image(busybox_rootfs)
    return engine


def test_a_device_by_its_name(cdi_engine):
    script = "env; head -c 4 /dev/my-zero | wc -c; id -G; cat /etc/from-the-host; (: > /etc/from-the-host) 2>&1 | grep -c Read-only"
    for command in (cdi_engine.docker, cdi_engine.skiff):
        out = command("run", "--rm", "--device", "example.com/zero=first", "busybox", "sh", "-c", script).stdout
        assert "COMMON=yes" in out and "ZERO=first" in out and "\n4\n" in out and " 77\n" in out, out
    info = cdi_engine.api("GET", "/info")[2]
    assert len(info["CDISpecDirs"]) == 1


def test_gpus(cdi_engine):
    one = cdi_engine.docker("run", "--rm", "--gpus", "1", "busybox", "sh", "-c", "env; ls -l /dev/gpu0").stdout
    assert "GPU0=yes" in one and "GPU1" not in one and "crw-------" in one and "1,   5" in one
    every = cdi_engine.docker("run", "--rm", "--gpus", "all", "busybox", "env").stdout
    assert "GPU0=yes" in every and "GPU1=yes" in every and "GPUS=all" not in every
    named = cdi_engine.docker("run", "--rm", "--gpus", "device=1", "busybox", "env").stdout
    assert "GPU1=yes" in named and "GPU0" not in named


@pytest.mark.parametrize("options,words", [
    (("--gpus", "3"), 'could not select device driver "" with capabilities: [[gpu]]'),
    (("--device", "example.com/zero=second"), "unresolvable CDI devices example.com/zero=second"),
])
def test_what_cannot_be_had(cdi_engine, options, words):
    done = cdi_engine.docker("run", "--rm", *options, "busybox", "true", check=False)
    assert done.returncode == 125 and words in done.stderr, done.stderr


def test_no_gpu(engine, busybox):
    done = engine.docker("run", "--rm", "--gpus", "all", "busybox", "true", check=False)
    assert done.returncode == 125 and 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr
