"""image_pull (through pull_by_hand.c) with a real store, from a registry that misbehaves on request. argv[1]: the program."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e"))
from registry import BadRegistry, Image, digest, tar_of  # noqa: E402

PROGRAM = sys.argv.pop(1)


class Pull(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.registry = BadRegistry()
        cls.addClassCleanup(cls.registry.close)

    def setUp(self):
        self.registry.rules()
        self.root = tempfile.mkdtemp(prefix="skiff-pull-")
        self.addCleanup(shutil.rmtree, self.root)
        self.image = Image([tar_of({"etc": None, "etc/a": os.urandom(1000)}), tar_of({"b": os.urandom(1 << 20)})])
        self.name = self.registry.put(self.image, "lib/x", "latest")

    def pull(self, name=None, *platform, **env):
        done = subprocess.run([PROGRAM, self.root, name or self.name, *platform], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **env})
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def store(self):
        return sorted(f"{folder}/{e}" for folder in ("layers", "blobs/sha256", "tmp")
                      for e in os.listdir(f"{self.root}/{folder}") if e != ".init")

    def fails(self, words, *arguments, **env):
        code, lines = self.pull(*arguments, **env)
        self.assertEqual(code, 1, lines)
        self.assertIn(words, lines[-1])
        self.assertEqual(self.store(), [])

    def test_an_image_comes_whole(self):
        code, lines = self.pull()
        self.assertEqual((code, lines[-1]), (0, f"image {self.image.id}"))
        self.assertEqual(lines[0], "latest|Pulling from lib/x|0|0")
        for layer in self.image.layers:
            short, size = layer["digest"][7:19], layer["size"]
            mine = [line.split("|")[1] for line in lines if line.startswith(short)]
            self.assertEqual(list(dict.fromkeys(mine)), ["Pulling fs layer", "Downloading", "Verifying Checksum",
                                                         "Download complete", "Extracting", "Pull complete"])
            self.assertIn(f"{short}|Downloading|{size}|{size}", lines)
        self.assertIn(f"|Digest: {digest(self.image.manifest_bytes)}|0|0", lines)
        self.assertIn(f"|Status: Downloaded newer image for {self.name}|0|0", lines)
        self.assertEqual(len(self.store()), 4)  # two layers, manifest, configuration
        again = self.pull()[1]
        self.assertEqual(again[2], f"|Status: Image is up to date for {self.name}|0|0")

    def test_a_layer_that_is_there_is_not_asked_for(self):
        other = Image([tar_of({"new": b"x"})])
        other.manifest["layers"] = self.image.layers + other.layers
        other.config["rootfs"]["diff_ids"] = self.image.config["rootfs"]["diff_ids"] + other.config["rootfs"]["diff_ids"]
        config = json.dumps(other.config).encode()
        other.manifest["config"].update(digest=digest(config), size=len(config))
        other.blobs[digest(config)] = config
        name = self.registry.put(other, "lib/more", "latest")
        self.pull()
        self.registry.rules()
        code, lines = self.pull(name)
        self.assertEqual(code, 0, lines)
        asked = {r["path"].rpartition("/")[2] for r in self.registry.requests() if "/blobs/" in r["path"]}
        self.assertEqual(asked, {digest(config), other.manifest["layers"][2]["digest"]})
        self.assertEqual(sum("|Already exists|" in line for line in lines), 2)

    def test_bad_layers_leave_nothing(self):
        for how, words in (("truncated", "unexpected EOF"), ("short", "unexpected EOF"),
                           ("wrong", "filesystem layer verification failed for digest")):
            self.registry.rules(blobs={self.image.layers[1]["digest"]: how})
            self.fails(words)

    def test_bomb(self):
        bomb = Image([tar_of({"zeros": bytes(64 << 20)})])
        name = self.registry.put(bomb, "lib/bomb", "latest")
        self.assertLess(bomb.layers[0]["size"], 1 << 20)
        self.fails("limit", name, MAX_LAYER_BYTES="1000000")

    def test_bad_manifests_leave_nothing(self):
        for how, words in (("huge", "larger than"), ("deep", "nested deeper")):
            self.registry.rules(manifest=how)
            self.fails(words)

    def test_client_goes_away(self):
        self.fails("cancelled: context canceled", HANG_UP_AT="3")

    def test_platforms(self):
        arm = Image([tar_of({"arm": b"x"})], architecture="arm64", variant="v8")
        amd = Image([tar_of({"amd": b"x"})])
        name = self.registry.put_index([arm, amd], "lib/index", "latest")
        self.fails("ERROR not found: no matching manifest for linux/s390x in the manifest list entries: "
                   "no match for platform in manifest: not found", name, "linux/s390x")
        self.assertEqual(self.pull(name, "linux/amd64")[1][-1], f"image {amd.id}")
        self.assertEqual(self.pull(name, "linux/arm64")[1][-1], f"image {arm.id}")
        self.assertIn("does not match the specified platform (linux/s390x)", self.pull(None, "linux/s390x")[1][-1])

    def test_docker_words(self):
        host = self.name.partition("/")[0]
        self.fails(f"ERROR not found: manifest for {host}/lib/x:no not found: manifest unknown: manifest unknown", f"{host}/lib/x:no")
        self.registry.rules(auth="token", gives="worthless")
        self.fails(f"ERROR not found: pull access denied for {host}/lib/x, repository does not exist or may require "
                   "'docker login': denied: requested access to the resource is denied")

    def test_the_same_at_once(self):
        many = Image([tar_of({"f": os.urandom(200000)}) for _ in range(6)])
        name = self.registry.put(many, "lib/many", "latest")
        code, lines = self.pull(name, LANES="6")
        self.assertEqual((code, lines[-1]), (0, f"image {many.id}"))
        self.assertEqual(len(self.store()), 8)


if __name__ == "__main__":
    unittest.main()
