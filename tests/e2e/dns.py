"""A small DNS client and upstream server for the tests: messages made by hand, sockets in the network namespace they are told."""
import os
import random
import socket
import struct
import threading

A, PTR, AAAA, TXT = 1, 12, 28, 16


class Netns:
    """with Netns(path): the calling thread's sockets are made there."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        import ctypes

        self.libc = ctypes.CDLL(None, use_errno=True)
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        assert self.libc.setns(there, 0) == 0
        os.close(there)

    def __exit__(self, *_):
        assert self.libc.setns(self.home, 0) == 0
        os.close(self.home)


def socket_in(path, kind):
    with Netns(path):
        return socket.socket(socket.AF_INET, kind)


def query(name, kind=A, ident=None, edns=0):
    ident = random.randrange(65536) if ident is None else ident
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    message = struct.pack("!6H", ident, 0x0100, 1, 0, 0, 1 if edns else 0) + labels + b"\0" + struct.pack("!2H", kind, 1)
    return message + (b"\0" + struct.pack("!2HIH", 41, edns, 0, 0) if edns else b"")


def skip_name(message, at):
    while True:
        n = message[at]
        if n & 0xC0:
            return at + 2
        at += 1 + n
        if not n:
            return at


def name_at(message, at):
    parts = []
    while message[at]:
        if message[at] & 0xC0:
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            continue
        parts.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(parts)


def parse(message):
    """{"code", "truncated", "answers": [(type, ttl, value)]}"""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    at = 12
    for _ in range(questions):
        at = skip_name(message, at) + 4
    found = []
    for _ in range(answers):
        at = skip_name(message, at)
        kind, _, ttl, size = struct.unpack_from("!2HIH", message, at)
        data = message[at + 10:at + 10 + size]
        value = {4: lambda: socket.inet_ntoa(data), 16: lambda: socket.inet_ntop(socket.AF_INET6, data)}.get(size, lambda: data)()
        found.append((kind, ttl, name_at(message, at + 10) if kind == PTR else value))
        at += 10 + size
    return {"code": flags & 15, "truncated": bool(flags & 0x200), "answers": found}


class Client:
    """Asks 127.0.0.11 in the network namespace of a process."""

    def __init__(self, pid, server="127.0.0.11"):
        self.path, self.server = f"/proc/{pid}/ns/net", server

    def ask(self, name, kind=A, timeout=6, edns=0):
        with socket_in(self.path, socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            s.connect((self.server, 53))
            message = query(name, kind, edns=edns)
            s.send(message)
            reply = s.recv(65535)
        assert reply[:2] == message[:2]
        return parse(reply)

    def ask_tcp(self, name, kind=A, timeout=6):
        with socket_in(self.path, socket.SOCK_STREAM) as s:
            s.settimeout(timeout)
            s.connect((self.server, 53))
            message = query(name, kind)
            s.sendall(struct.pack("!H", len(message)) + message)
            size = struct.unpack("!H", self._exactly(s, 2))[0]
            return parse(self._exactly(s, size))

    @staticmethod
    def _exactly(s, n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            assert part, "closed too early"
            data += part
        return data

    def addresses(self, name, kind=A):
        return [value for got, _, value in self.ask(name, kind)["answers"] if got == kind]


class Upstream:
    """A name server in a network namespace. zone: name -> address, or a function of the query that gives the whole reply (None: silence).
    What it does not know does not exist."""

    def __init__(self, netns, address, zone, ttl=60):
        self.zone, self.ttl, self.asked = zone, ttl, []
        path = f"/run/netns/{netns}"
        self.udp, self.tcp = socket_in(path, socket.SOCK_DGRAM), socket_in(path, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for s in (self.udp, self.tcp):
            s.bind((address, 53))
        self.tcp.listen()
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def _reply(self, message, is_tcp):
        name = name_at(message, 12).lower()
        end = skip_name(message, 12) + 4
        kind = struct.unpack_from("!H", message, end - 4)[0]
        self.asked.append((name, kind, "tcp" if is_tcp else "udp"))
        value = self.zone.get(name)
        if callable(value):
            return value(message, is_tcp)
        if value is None:
            soa = b"\0\0" + struct.pack("!5I", 1, 1, 1, 1, 30)
            authority = b"\0" + struct.pack("!2HIH", 6, 1, 30, len(soa)) + soa
            return message[:2] + struct.pack("!5H", 0x8183, 1, 0, 1, 0) + message[12:end] + authority
        answer = b"\xc0\x0c" + struct.pack("!2HIH", A, 1, self.ttl, 4) + socket.inet_aton(value)
        count = 1 if kind == A else 0
        return message[:2] + struct.pack("!5H", 0x8180, 1, count, 0, 0) + message[12:end] + (answer if count else b"")

    def _serve_udp(self):
        while True:
            try:
                message, sender = self.udp.recvfrom(65535)
            except OSError:
                return
            if not message:  # closed
                return
            reply = self._reply(message, False)
            if reply:
                self.udp.sendto(reply, sender)

    def _serve_tcp(self):
        while True:
            try:
                s, _ = self.tcp.accept()
            except OSError:
                return
            with s:
                size = struct.unpack("!H", Client._exactly(s, 2))[0]
                reply = self._reply(Client._exactly(s, size), True)
                if reply:
                    s.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
