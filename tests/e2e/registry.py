"""Registries for tests: Debian's docker-registry, and one in Python that misbehaves on request.

Both listen on 127.0.0.1 of the network namespace of the `prefix` given (["nsenter", "--net=/run/netns/x"], [] for the
caller's own), so the misbehaving one is a process too: `python3 registry.py serve`, told what to do on its standard input.
"""

import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """A layer's tar from {path: bytes | None (directory)}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Image:
    """Blobs and manifest of an image made of layer tars."""

    def __init__(self, tars, docker=False, architecture="amd64", os_name="linux", compress=gzip.compress, suffix=None,
                 config=None, variant=None):
        suffix = suffix if suffix is not None else (".gzip" if docker else "+gzip")
        layer_type = (DOCKER_LAYER if docker else OCI_LAYER) + suffix
        packed = [compress(t) if compress else t for t in tars]
        self.config = {"architecture": architecture, "os": os_name, "created": "2026-01-02T03:04:05Z",
                       "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"], **(config or {})},
                       "rootfs": {"type": "layers", "diff_ids": [digest(t) for t in tars]},
                       "history": [{"created_by": f"layer {i}"} for i in range(len(tars))]}
        if variant:
            self.config["variant"] = variant
        self.config_bytes = json.dumps(self.config).encode()
        self.blobs = {digest(b): b for b in [self.config_bytes, *packed]}
        self.layers = [{"mediaType": layer_type, "size": len(b), "digest": digest(b)} for b in packed]
        self.media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        self.manifest = {"schemaVersion": 2, "mediaType": self.media_type,
                         "config": {"mediaType": DOCKER_CONFIG if docker else OCI_CONFIG, "size": len(self.config_bytes),
                                    "digest": digest(self.config_bytes)},
                         "layers": self.layers}
        self.platform = {"architecture": architecture, "os": os_name, **({"variant": variant} if variant else {})}

    @property
    def manifest_bytes(self):
        return json.dumps(self.manifest, indent=3).encode()

    @property
    def id(self):
        return digest(self.config_bytes)

    def descriptor(self):
        return {"mediaType": self.media_type, "size": len(self.manifest_bytes), "digest": digest(self.manifest_bytes),
                "platform": self.platform}


def index_of(images, media_type=OCI_INDEX):
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [i.descriptor() for i in images]}).encode()


def image_from_directory(directory, **more):
    """One layer with everything below a directory, as it is there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, entry), arcname=entry)
    return Image([out.getvalue()], **more)


def wait_for_port(port, prefix, process, timeout=15):
    """Until something accepts on 127.0.0.1:port of the namespace."""
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1).close()"
    deadline = time.monotonic() + timeout
    while subprocess.run([*prefix, "/usr/bin/python3", "-c", probe], capture_output=True).returncode != 0:
        assert process.poll() is None, f"registry exited {process.returncode}"
        assert time.monotonic() < deadline, "registry does not listen"
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class DebianRegistry:
    """docker-registry on a directory of its own; `host` is what goes before the repository's name."""

    PROGRAM = shutil.which("docker-registry")

    def __init__(self, prefix=(), htpasswd=None):
        self.prefix = list(prefix)
        self.root = Path(tempfile.mkdtemp(prefix="skiff-registry-", dir="/tmp"))
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        auth = ""
        if htpasswd:
            (self.root / "htpasswd").write_text(htpasswd + "\n")
            auth = f"auth: {{htpasswd: {{realm: test, path: {self.root}/htpasswd}}}}\n"
        (self.root / "config.yml").write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n" + auth +
            f"storage: {{filesystem: {{rootdirectory: {self.root}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}'}}\n")
        with open(self.root / "log", "wb") as log:
            self.process = subprocess.Popen([*self.prefix, self.PROGRAM, "serve", self.root / "config.yml"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for_port(self.port, self.prefix, self.process)

    def push(self, image, repository, tag, authorization=None):
        """Put an Image (or (images, index bytes, media type)) there by HTTP, from inside the namespace."""
        job = self.root / "push.json"
        images, top, media_type = image if isinstance(image, tuple) else ([image], image.manifest_bytes, image.media_type)
        blobs, manifests = {}, []
        for i in images:
            blobs.update(i.blobs)
            if isinstance(image, tuple):
                manifests.append((digest(i.manifest_bytes), i.media_type, base64.b64encode(i.manifest_bytes).decode()))
        manifests.append((tag, media_type, base64.b64encode(top).decode()))
        job.write_text(json.dumps({"port": self.port, "repository": repository, "authorization": authorization,
                                   "blobs": {d: base64.b64encode(b).decode() for d, b in blobs.items()},
                                   "manifests": manifests}))
        subprocess.run([*self.prefix, "/usr/bin/python3", __file__, "push", job], check=True, timeout=120)
        return f"{self.host}/{repository}:{tag}"

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.root, ignore_errors=True)


def push_job(job):
    job = json.loads(Path(job).read_text())
    connection = http.client.HTTPConnection("127.0.0.1", job["port"], timeout=60)
    headers = {"Authorization": job["authorization"]} if job["authorization"] else {}

    def ask(method, path, body=b"", **more):
        connection.request(method, path, body=body, headers={**headers, **more})
        response = connection.getresponse()
        answer = response.read()
        assert response.status in (200, 201, 202), (method, path, response.status, answer)
        return response

    base = f"/v2/{job['repository']}"
    for name, data in job["blobs"].items():
        where = urllib.parse.urlsplit(ask("POST", f"{base}/blobs/uploads/").getheader("Location"))
        ask("PUT", f"{where.path}?{where.query}&digest={name}", base64.b64decode(data),
            **{"Content-Type": "application/octet-stream"})
    for name, media_type, data in job["manifests"]:
        ask("PUT", f"{base}/manifests/{name}", base64.b64decode(data), **{"Content-Type": media_type})


# --- the misbehaving one ------------------------------------------------------------------------------------------------
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "test"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", content_type="application/json", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, code, message, **headers):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def is_allowed(self):
        rules, authorization = self.server.rules, self.headers.get("Authorization")
        if rules.get("auth") == "basic":
            wanted = "Basic " + base64.b64encode(rules["user"].encode()).decode()
            if authorization != wanted:
                self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="test"')
                return False
        if rules.get("auth") == "token":
            if not rules.get("realm"):
                rules["realm"] = f"http://{self.headers['Host']}/token"
            challenge = f'Bearer realm="{rules["realm"]}",service="test, \\"quoted\\""'
            if authorization == "Bearer " + rules.get("token", "t0k.en") and self.token_is_used_up():
                self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge + ',error="invalid_token"')
                return False
            if authorization != "Bearer " + rules.get("token", "t0k.en"):
                if authorization:
                    challenge += ',error="insufficient_scope"'
                self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
                return False
        return True

    def token_is_used_up(self):
        """A token is good for rules["uses"] requests."""
        rules = self.server.rules
        rules["left"] = rules.get("left", rules.get("uses", 1 << 30)) - 1
        return rules["left"] < 0

    def has_trouble(self):
        """rules["trouble"]: what the next requests get whose path has `path` in it: a status with headers, or a hang-up (0)."""
        for trouble in self.server.rules.get("trouble", []):
            if trouble["path"] in self.path and trouble["times"] > 0:
                trouble["times"] -= 1
                if trouble["status"] == 0:
                    self.close_connection = True
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                else:
                    self.error(trouble["status"], "TROUBLE", "in trouble", **trouble.get("headers", {}))
                return True
        return False

    def tags(self, repository, query):
        """In pages of rules["page"], however many are asked for."""
        names = sorted(n.rpartition(":")[2] for n in self.server.manifests
                       if n.rpartition(":")[0] == repository)
        last = query.get("last", [""])[0]
        page = [n for n in names if n > last][:self.server.rules.get("page", 1000)]
        more = {"Link": f'</v2/{repository}/tags/list?last={page[-1]}&n=1>; rel="next"'} if page and page[-1] != names[-1] else {}
        self.answer(200, json.dumps({"name": repository, "tags": page}).encode(), **more)

    def token(self, query):
        rules = self.server.rules
        rules.pop("left", None)
        rules["token_requests"] = rules.get("token_requests", 0) + 1
        wanted = "Basic " + base64.b64encode(rules["user"].encode()).decode() if rules.get("user") else None
        if wanted and self.headers.get("Authorization") != wanted:
            return self.error(401, "UNAUTHORIZED", "incorrect username or password")
        assert query["service"] == ['test, "quoted"'] and query["scope"][0].startswith("repository:"), query
        self.answer(200, json.dumps({"token": rules.get("gives", rules.get("token", "t0k.en"))}).encode())

    def blob(self, name):
        rules, data = self.server.rules, self.server.blobs.get(name)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        how = rules.get("blobs", {}).get(name)
        while how == "held" and self.server.rules.get("blobs", {}).get(name) == "held":
            time.sleep(0.05)
        if how == "redirect":
            return self.answer(307, Location=rules["redirect_to"] + self.path)
        if how == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:] if len(data) < 20 else data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        if how == "long":  # more than the descriptor says, under an honest Content-Length
            data += b"more"
        if how == "loop":
            return self.answer(302, Location=self.path)
        if how == "short":
            data = data[:len(data) // 2]
        first = 0
        status, more = 200, {}
        if how in ("breaks-once", "slow") and self.headers.get("Range"):
            first = int(self.headers["Range"].split("=")[1].split("-")[0])
            status, more = 206, {"Content_Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        self.send_response(status)
        for key, value in more.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if how == "stall":
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            return time.sleep(3600)
        if how == "truncated" or (how == "breaks-once" and not first):
            self.wfile.write(data[:len(data) // 2])
            self.close_connection = True
        elif how == "slow":
            for at in range(first, len(data)):
                self.wfile.write(data[at:at + 1])
                self.wfile.flush()
                time.sleep(0.2)
        else:
            self.wfile.write(data[first:])

    def manifest(self, repository, name):
        rules = self.server.rules
        how = rules.get("manifest")
        if how == "huge":  # 100 MB, without a length
            self.send_response(200)
            self.send_header("Content-Type", OCI_MANIFEST)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            for _ in range(1600):
                self.wfile.write(b" " * 65536)
            return
        if how == "huge-length":
            self.send_response(200)
            self.send_header("Content-Type", OCI_MANIFEST)
            self.send_header("Content-Length", str(100 << 20))
            self.end_headers()
            self.close_connection = True
            return
        if how == "deep":
            return self.answer(200, b"[" * 10000 + b"]" * 10000, OCI_MANIFEST)
        if how == "not-json":
            return self.answer(200, b"<html>hello</html>", "text/html")
        if how == "loop":
            return self.answer(307, Location=self.path)
        if how == "redirect":
            return self.answer(307, Location=rules["redirect_to"] + self.path)
        if how == "error":
            return self.answer(rules["status"], rules.get("body", "").encode(), "text/plain")
        entry = self.server.manifests.get(f"{repository}:{name}")
        if not entry:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        self.answer(200, entry[1], rules.get("manifest_type", entry[0]))

    def do_GET(self):
        self.server.requests.append({"path": self.path, "authorization": self.headers.get("Authorization")})
        path, _, query = self.path.partition("?")
        if path == "/token":
            return self.token(urllib.parse.parse_qs(query))
        if self.has_trouble():
            return None
        if path.startswith("/v2/") and not self.is_allowed():
            return None
        words = path.split("/")
        if path == "/v2/":
            return self.answer(200, b"{}")
        if len(words) > 4 and words[-2] == "blobs":
            return self.blob(words[-1])
        if len(words) > 4 and words[-2] == "manifests":
            return self.manifest("/".join(words[2:-2]), words[-1])
        if len(words) > 4 and words[-2] == "referrers" and words[-1] in self.server.referrers:
            return self.answer(200, self.server.referrers[words[-1]].encode(), OCI_INDEX)
        if path.endswith("/tags/list"):
            return self.tags("/".join(words[2:-2]), urllib.parse.parse_qs(query))
        return self.error(404, "UNSUPPORTED", "what?")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that hang up are the point


def serve():
    """Standard input: JSON lines; each is answered by one on standard output."""
    server = Server((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", 0), Handler)
    server.rules, server.blobs, server.manifests, server.requests = {}, {}, {}, []
    server.referrers = {}  # digest -> index: the referrers API
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        order = json.loads(line)
        if "tls" in order:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(order["tls"])
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.referrers.update(order.get("referrers", {}))
        if "rules" in order:
            server.rules = order["rules"]
        for name, data in order.get("blobs", {}).items():
            server.blobs[name] = base64.b64decode(data)
        for name, (media_type, data) in order.get("manifests", {}).items():
            server.manifests[name] = (media_type, base64.b64decode(data))
        print(json.dumps({"port": server.server_address[1], "requests": server.requests}), flush=True)
        if order.get("forget"):
            server.requests = []


class BadRegistry:
    """rules: auth (basic, token), user "name:password", realm, token, gives; manifest (huge, huge-length, deep, not-json,
    error + status + body, loop, redirect), manifest_type; blobs {digest: truncated, short, long, wrong, stall, breaks-once, slow, held,
    loop, redirect} + redirect_to; trouble [{path, status, times, headers}]; uses (requests a token is good for); page (tags in one)."""

    def __init__(self, prefix=(), certificate=None, address="127.0.0.1"):
        self.process = subprocess.Popen([*prefix, "/usr/bin/python3", __file__, "serve", address], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = self.order(**({"tls": str(certificate)} if certificate else {}))["port"]
        self.host = f"{address}:{self.port}"

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rules(self, **rules):
        self.order(rules=rules, forget=True)

    def requests(self):
        return self.order()["requests"]

    def put(self, image, repository, tag):
        return self.put_raw({f"{repository}:{tag}": (image.media_type, image.manifest_bytes),
                             f"{repository}:{digest(image.manifest_bytes)}": (image.media_type, image.manifest_bytes)},
                            image.blobs, f"{self.host}/{repository}:{tag}")

    def put_index(self, images, repository, tag, media_type=OCI_INDEX):
        for image in images:
            self.put(image, repository, "x")
        top = index_of(images, media_type)
        return self.put_raw({f"{repository}:{tag}": (media_type, top), f"{repository}:{digest(top)}": (media_type, top)}, {},
                            f"{self.host}/{repository}:{tag}")

    def put_raw(self, manifests, blobs, name=None):
        self.order(manifests={k: (t, base64.b64encode(b).decode()) for k, (t, b) in manifests.items()},
                   blobs={k: base64.b64encode(b).decode() for k, b in blobs.items()})
        return name

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


if __name__ == "__main__":
    push_job(sys.argv[2]) if sys.argv[1] == "push" else serve()
