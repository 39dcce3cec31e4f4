"""A registry to push to that misbehaves on request: `python3 push_registry.py` serves on 127.0.0.1, driven over its standard input
like registry.BadRegistry. PushRegistry is the handle.

rules: auth (basic, token) with user "name:password"; token_uses (a token is good for so many requests); refresh (a refresh token that
POST takes); break_at (the connection is cut once when a PATCH has brought so many bytes), patch (status that answers PATCH),
second_patch (the same from the second on), stall (a PATCH is never answered), search (v1 results).
"""

import base64
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from registry import digest


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # --- answers
    def answer(self, status, body=b"", content_type="application/json", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", content_type)
        if status not in (204,):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message="no", **headers):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    # --- who may
    def is_allowed(self):
        state = self.server.state
        rules, authorization = state["rules"], self.headers.get("Authorization")
        if rules.get("auth") == "basic":
            if authorization == "Basic " + base64.b64encode(rules["user"].encode()).decode():
                return True
            self.drain()
            self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="test"')
            return False
        if rules.get("auth") != "token":
            return True
        token = (authorization or "").removeprefix("Bearer ")
        left = state["tokens"].get(token, 0)
        if left > 0:
            state["tokens"][token] = left - 1
            return True
        self.drain()
        realm = rules.get("realm") or f"http://{self.headers['Host']}/token"
        self.error(401, "UNAUTHORIZED", "authentication required",
                   WWW_Authenticate=f'Bearer realm="{realm}",service="test",scope="repository:x:pull"')
        return False

    def drain(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def give_token(self, is_welcome, query):
        state = self.server.state
        if not is_welcome:
            return self.error(401, "UNAUTHORIZED", "incorrect username or password")
        state["scopes"].append(query.get("scope", []))
        token = f"token-{len(state['tokens'])}"
        state["tokens"][token] = state["rules"].get("token_uses", 1 << 30)
        answer = {"token": token, "access_token": token}
        if query.get("offline_token"):
            answer["refresh_token"] = state["rules"].get("refresh", "")
        return self.answer(200, json.dumps(answer).encode())

    # --- methods
    def route(self):
        self.server.state["requests"].append({
            "method": self.command, "path": self.path, "authorization": self.headers.get("Authorization"),
            "length": int(self.headers.get("Content-Length") or 0), "range": self.headers.get("Content-Range")})
        self.plain, _, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        rules = self.server.state["rules"]
        if self.plain == "/token":
            if self.command == "POST":
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                return self.give_token(form.get("refresh_token") == [rules.get("refresh")], form)
            wanted = "Basic " + base64.b64encode(rules.get("user", "").encode()).decode()
            return self.give_token(not rules.get("user") or self.headers.get("Authorization") == wanted, self.query)
        if self.plain == "/v1/search":
            return self.answer(200, json.dumps({"results": rules.get("search", [])}).encode())
        if not self.is_allowed():
            return None
        words = self.plain.split("/")
        if self.plain == "/v2/":
            return self.answer(200, b"{}")
        if "uploads" in words:
            return self.upload("/".join(words[2:words.index("blobs")]), words[-1])
        if words[-2] == "blobs":
            return self.blob("/".join(words[2:-2]), words[-1])
        if words[-2] == "manifests":
            return self.manifest("/".join(words[2:-2]), words[-1])
        return self.error(404, "UNSUPPORTED")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = route

    def blob(self, repository, name):
        state = self.server.state
        if name not in state["blobs"] or repository not in state["places"].get(name, []):
            return self.error(404, "BLOB_UNKNOWN")
        return self.answer(200, state["blobs"][name], "application/octet-stream")

    def manifest(self, repository, name):
        state = self.server.state
        if self.command == "PUT":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            document = json.loads(body)
            for blob in [document["config"], *document["layers"]]:
                data = state["blobs"].get(blob["digest"])
                if data is None or len(data) != blob["size"] or repository not in state["places"][blob["digest"]]:
                    return self.error(400, "MANIFEST_BLOB_UNKNOWN", blob["digest"])
            for key in (name, digest(body)):
                state["manifests"][f"{repository}:{key}"] = (self.headers["Content-Type"], body)
            return self.answer(201, Docker_Content_Digest=digest(body))
        entry = state["manifests"].get(f"{repository}:{name}")
        if not entry:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return self.answer(200, entry[1], entry[0])

    def keep(self, repository, name, data):
        state = self.server.state
        state["blobs"][name] = data
        state["places"].setdefault(name, []).append(repository)

    def upload(self, repository, name):
        state = self.server.state
        if self.command == "POST":
            blob, source = self.query.get("mount", [None])[0], self.query.get("from", [None])[0]
            if blob in state["blobs"] and source in state["places"].get(blob, []):
                self.keep(repository, blob, state["blobs"][blob])
                return self.answer(201, Location=f"/v2/{repository}/blobs/{blob}")
            name = uuid.uuid4().hex
            state["uploads"][name] = bytearray()
        data = state["uploads"].get(name)
        if data is None:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "DELETE":
            del state["uploads"][name]
            return self.answer(204)
        if self.command == "PATCH" and not self.take_patch(data):
            return None
        if self.command == "PUT":
            data += self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if digest(bytes(data)) != self.query["digest"][0]:
                return self.error(400, "DIGEST_INVALID")
            self.keep(repository, self.query["digest"][0], bytes(data))
            del state["uploads"][name]
            return self.answer(201, Location="/elsewhere")
        more = {"Range": f"0-{len(data) - 1}"} if data else {}
        return self.answer(204 if self.command == "GET" else 202, Location=f"/v2/{repository}/blobs/uploads/{name}?state=x", **more)

    def take_patch(self, data):
        rules, left = self.server.state["rules"], int(self.headers["Content-Length"])
        status = rules.get("patch") or (rules.get("second_patch") if data else None)
        if status:
            self.rfile.read(left)
            self.error(status, "UNSUPPORTED")
            return False
        if self.headers.get("Content-Range", "").split("-")[0] != str(len(data)):
            self.rfile.read(left)
            self.error(416, "RANGE")
            return False
        if rules.get("stall"):
            self.rfile.read(left)
            time.sleep(600)
        while left:
            piece = self.rfile.read(min(left, 65536, rules.get("break_at") or 65536))
            data += piece
            left -= len(piece)
            if rules.get("break_at") and len(data) >= rules["break_at"]:
                rules["break_at"] = 0
                self.close_connection = True
                self.connection.shutdown(2)
                return False
        return True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def serve():
    server = Server(("127.0.0.1", 0), Handler)
    server.state = {"rules": {}, "blobs": {}, "places": {}, "manifests": {}, "uploads": {}, "requests": [], "tokens": {}, "scopes": []}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        order = json.loads(line)
        if "tls" in order:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(order["tls"])
            if order.get("client_ca"):
                context.load_verify_locations(order["client_ca"])
                context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True)
        if "rules" in order:
            server.state["rules"] = order["rules"]
            server.state["requests"] = []
        if order.get("empty"):
            for part in ("blobs", "places", "manifests", "uploads", "tokens"):
                server.state[part].clear()
        state = server.state
        print(json.dumps({"port": server.server_address[1], "requests": state["requests"], "uploads": len(state["uploads"]),
                          "scopes": state["scopes"], "blobs": {k: len(v) for k, v in state["blobs"].items()},
                          "manifests": {k: [t, b.decode()] for k, (t, b) in state["manifests"].items()}}), flush=True)


class PushRegistry:
    def __init__(self, prefix=(), **more):
        self.process = subprocess.Popen([*prefix, "/usr/bin/python3", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.port = self.order(**more)["port"]
        self.host = f"127.0.0.1:{self.port}"

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rules(self, **rules):
        self.order(rules=rules)

    def requests(self, *methods):
        return [r for r in self.order()["requests"] if not methods or r["method"] in methods]

    def manifest(self, name):
        media_type, text = self.order()["manifests"][name]
        return media_type, json.loads(text)

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


if __name__ == "__main__":
    serve()
