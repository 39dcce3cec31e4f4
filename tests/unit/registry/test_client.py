"""The registry client (through fetch.c) against a registry in Python that misbehaves on request. argv[1]: the program."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e"))
from registry import BadRegistry, Image, OCI_INDEX, digest, free_port, tar_of  # noqa: E402

PROGRAM = sys.argv.pop(1)


def fetch(host, name="latest", *credentials, repository="lib/x", **env):
    done = subprocess.run([PROGRAM, host, repository, name, *credentials], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **env})
    return done.returncode, done.stdout


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.registry = BadRegistry()
        cls.addClassCleanup(cls.registry.close)

    def setUp(self):
        self.registry.rules()
        self.image = Image([tar_of({"a": os.urandom(1 << 20)}), tar_of({"b": b"second"})])
        self.registry.put(self.image, "lib/x", "latest")
        self.layer = self.image.layers[0]["digest"]

    def succeeds(self, *credentials, **env):
        code, text = fetch(self.registry.host, "latest", *credentials, **env)
        self.assertEqual(code, 0, text)
        self.assertEqual(text.split()[1::2], [digest(self.image.manifest_bytes), self.image.id,
                                              *[layer["digest"] for layer in self.image.layers]])

    def fails(self, *words, name="latest", credentials=(), host=None, **env):
        code, text = fetch(host or self.registry.host, name, *credentials, **env)
        self.assertEqual(code, 1, text)
        error = [line for line in text.splitlines() if line.startswith("ERROR")][0]
        for word in words:
            self.assertIn(word, error)

    def test_anonymous(self):
        self.succeeds()

    def test_by_digest(self):
        good = digest(self.image.manifest_bytes)
        self.assertEqual(fetch(self.registry.host, good)[0], 0)
        other = "sha256:" + "0" * 64
        self.registry.put_raw({f"lib/x:{other}": (self.image.media_type, self.image.manifest_bytes)}, {})
        self.fails("invalid", "manifest verification failed", name=other)

    def test_unknown(self):
        self.fails("not found: manifest unknown: manifest unknown", name="nosuch")

    def test_basic(self):
        self.registry.rules(auth="basic", user="me:secret")
        self.succeeds("me", "secret")
        self.fails("no basic auth credentials")
        self.fails("unauthorised", "unauthorized: authentication required", credentials=("me", "wrong"))

    def test_token(self):
        self.registry.rules(auth="token")
        self.succeeds()
        self.assertEqual(sum(r["path"].startswith("/token") for r in self.registry.requests()), 1)
        self.registry.rules(auth="token", user="me:secret")
        self.succeeds("me", "secret")
        self.fails("denied", "incorrect username or password", credentials=("me", "wrong"))
        self.registry.rules(auth="token", gives="worthless")
        self.fails("denied: requested access to the resource is denied")

    def test_token_that_is_none(self):
        self.registry.rules(auth="token", gives="a\r\nX-Evil: yes")
        self.fails("no token")

    def test_token_server_in_the_clear_elsewhere(self):
        self.registry.rules(auth="token", realm="http://auth.test/token", user="me:secret")
        self.fails("refused", credentials=("me", "secret"))
        self.registry.rules(auth="token", realm="file:///etc/passwd")
        self.fails("no usable token server")

    def test_redirect_carries_no_credentials(self):
        other = BadRegistry()
        self.addCleanup(other.close)
        other.put(self.image, "lib/x", "latest")
        self.registry.rules(auth="basic", user="me:secret", blobs={self.layer: "redirect"},
                            redirect_to=f"http://{other.host}")
        self.succeeds("me", "secret")
        asked = other.requests()
        self.assertEqual([r["authorization"] for r in asked], [None])

    def test_redirect_to_nowhere(self):
        for target in ("file:///etc/passwd?", "http://plain.test", "ftp://127.0.0.1"):
            self.registry.rules(blobs={self.layer: "redirect"}, redirect_to=target)
            self.fails("redirected")
        self.registry.rules(blobs={self.layer: "redirect"}, redirect_to=f"http://{self.registry.host}")
        self.fails("stopped after 10 redirects")

    def test_broken_connection_is_taken_up(self):
        self.registry.rules(blobs={self.layer: "breaks-once"})
        self.succeeds()

    def test_truncated(self):
        self.registry.rules(blobs={self.layer: "truncated"})
        self.fails("unavailable", "unexpected EOF")
        self.registry.rules(blobs={self.layer: "short"})
        self.fails("invalid", "unexpected EOF")

    def test_wrong_digest(self):
        self.registry.rules(blobs={self.layer: "wrong"})
        self.fails("invalid", f"filesystem layer verification failed for digest {self.layer}")

    def test_larger_than_said(self):
        self.image.manifest["layers"][0]["size"] -= 1
        self.registry.put(self.image, "lib/x", "latest")
        self.fails("invalid", "larger than")

    def test_missing_blob(self):
        self.image.manifest["layers"][0]["digest"] = "sha256:" + "1" * 64
        self.registry.put(self.image, "lib/x", "latest")
        self.fails("not found", "blob unknown")

    def test_huge_manifest(self):
        for how in ("huge", "huge-length"):
            began = time.monotonic()
            self.registry.rules(manifest=how)
            self.fails("invalid", "larger than")
            self.assertLess(time.monotonic() - began, 5)

    def test_deep_manifest(self):
        self.registry.rules(manifest="deep")
        self.fails("invalid", "nested deeper")
        self.registry.rules(manifest="not-json")
        self.fails("invalid", "JSON")

    def test_server_errors(self):
        self.registry.rules(manifest="error", status=503)
        self.fails("unavailable", "received unexpected HTTP status 503")
        self.registry.rules(manifest="error", status=429, body="slow down")
        self.fails("toomanyrequests")

    def test_two_faced_manifest(self):
        self.image.manifest["manifests"] = []
        self.registry.put(self.image, "lib/x", "latest")
        self.fails("image and of an index")
        del self.image.manifest["manifests"]
        self.registry.put_raw({"lib/x:latest": (OCI_INDEX, self.image.manifest_bytes)}, {})
        self.fails("the registry says")

    def test_unreachable(self):
        port = free_port()
        self.fails(f'unavailable: Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused',
                   host=f"127.0.0.1:{port}")
        self.fails('Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid', "no such host", host="nosuch.invalid")

    def test_slow(self):
        self.registry.rules(blobs={self.layer: "slow"})
        began = time.monotonic()
        self.fails("cancelled: context canceled", CANCEL_MS="500")
        self.assertLess(time.monotonic() - began, 3)

    def test_tls(self):
        with tempfile.TemporaryDirectory() as root:
            both = f"{root}/both.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                            "1", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=IP:::ffff:127.0.0.1", "-keyout", f"{root}/key.pem", "-out", f"{root}/cert.pem"], check=True,
                           capture_output=True)
            Path(both).write_text(Path(f"{root}/key.pem").read_text() + Path(f"{root}/cert.pem").read_text())
            registry = BadRegistry(certificate=both)
            self.addCleanup(registry.close)
            registry.put(self.image, "lib/x", "latest")
            self.assertEqual(fetch(registry.host)[0], 0)  # loopback: any certificate will do
            # The same place by a name that is not taken for loopback: the certificate must be one that is trusted.
            host = f"[::ffff:127.0.0.1]:{registry.port}"
            self.fails(f'Get "https://{host}/v2/": tls: failed to verify certificate', host=host)
            self.assertEqual(fetch(host, INSECURE=host)[0], 0)
            os.makedirs(f"{root}/certs/{host}")
            shutil.copy(f"{root}/cert.pem", f"{root}/certs/{host}/ca.crt")
            self.assertEqual(fetch(host, CERTIFICATES=f"{root}/certs")[0], 0)


if __name__ == "__main__":
    unittest.main()
