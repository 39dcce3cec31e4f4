"""A disk that remembers what was written to it and when it was flushed, so that a power cut can be replayed at any moment.

RecordingDisk is a file served through FUSE, to be used by a loop device. Each write and each flush that reaches it is appended
to a log; `position()` is the log's length, a moment in the disk's life. Replay gives the disk as a cut at such a moment would
have left it: all that was written before the last flush, and of what came after it whatever a seed chooses, down to single
sectors of one write. That is what a disk with a volatile cache promises, and no more.

The server is a process of its own: `python3 recording_disk.py MOUNTPOINT IMAGE LOG`. It speaks the kernel's protocol itself
(include/uapi/linux/fuse.h), about one file.
"""

import ctypes
import errno
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

SECTOR = 512
WRITE_MAX = 1 << 20
RECORD = struct.Struct("<QI")  # offset, length; the data follows
FLUSH = RECORD.pack((1 << 64) - 1, 0)

# --- the server ---------------------------------------------------------------------------------------------------------
ROOT, DISK = 1, 2  # node ids
LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH_FILE, INIT = 1, 2, 3, 14, 15, 16, 17, 18, 20, 25, 26
OPENDIR, READDIR, RELEASEDIR, DESTROY, BATCH_FORGET = 27, 28, 29, 38, 42
IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
CAPABILITIES = 1 << 5 | 1 << 22  # big writes, max_pages
FOREVER = 1 << 30


class Server:
    def __init__(self, mountpoint, image, log):
        self.disk = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.disk).st_size
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        self.buffer = bytearray(WRITE_MAX + 8192)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"recording-disk", os.fsencode(mountpoint), b"fuse", 2 | 4, options) < 0:  # nosuid, nodev
            raise OSError(ctypes.get_errno(), "mount")

    def attributes(self, node):
        mode, size = (stat.S_IFDIR | 0o700, 0) if node == ROOT else (stat.S_IFREG | 0o600, self.size)
        return struct.pack("<6Q10I", node, size, size // SECTOR, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(self, opcode, node, body):
        """Bytes of the answer, or an error number."""
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, CAPABILITIES, 16, 12, WRITE_MAX, 1, WRITE_MAX // 4096, 0, 0, *[0] * 7)
        if opcode == LOOKUP:
            if bytes(body).rstrip(b"\0") != b"disk":
                return errno.ENOENT
            return struct.pack("<QQQQII", DISK, 0, FOREVER, FOREVER, 0, 0) + self.attributes(DISK)
        if opcode == GETATTR:
            return struct.pack("<QII", FOREVER, 0, 0) + self.attributes(node)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.disk, size, offset)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40:40 + size]
            os.pwrite(self.disk, data, offset)
            os.writev(self.log, [RECORD.pack(offset, size), data])
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            os.write(self.log, FLUSH)
            return b""
        if opcode == STATFS:
            return struct.pack("<5Q4I6I", self.size // 4096, 0, 0, 1, 0, 4096, 255, 4096, 0, *[0] * 6)
        if opcode in (READDIR, RELEASE, RELEASEDIR, FLUSH_FILE, DESTROY):
            return b""
        return errno.ENOSYS

    def serve(self):
        view = memoryview(self.buffer)
        while True:
            try:
                length = os.readv(self.fd, [self.buffer])
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _, opcode, unique, node, *_ = IN_HEADER.unpack_from(self.buffer)
            if opcode in (FORGET, BATCH_FORGET):
                continue
            answer = self.answer(opcode, node, view[IN_HEADER.size:length])
            error, payload = (-answer, b"") if isinstance(answer, int) else (0, answer)
            os.writev(self.fd, [OUT_HEADER.pack(OUT_HEADER.size + len(payload), error, unique), payload])


# --- for tests ----------------------------------------------------------------------------------------------------------
class RecordingDisk:
    """`path` is the file to give to `mount -o loop`; `base` is the disk as it was before the first record."""

    def __init__(self, image, folder):
        self.folder = Path(folder)
        self.base, self.log = self.folder / "base", self.folder / "log"
        mountpoint = self.folder / "recording"
        mountpoint.mkdir()
        shutil.copyfile(image, self.base)
        self.process = subprocess.Popen(["/usr/bin/python3", __file__, mountpoint, image, self.log])
        self.path = mountpoint / "disk"
        deadline = time.monotonic() + 10
        while not self.path.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, "the recording disk does not appear"
            time.sleep(0.01)

    def position(self):
        return os.stat(self.log).st_size

    def close(self):
        subprocess.run(["umount", "-l", self.path.parent], check=False)
        self.process.terminate()
        self.process.wait(10)


class Replay:
    """The disk after a cut at moments that only go forward."""

    def __init__(self, base, log, work):
        self.work = Path(work)
        self.stable = self.work / "stable"
        subprocess.run(["cp", "--sparse=always", base, self.stable], check=True)
        self.log = open(log, "rb")
        self.pending = []  # (offset, data) since the last flush
        self.at, self.cuts = 0, 0

    @staticmethod
    def moments(log):
        """The positions between any two records."""
        found, at, end = [0], 0, os.stat(log).st_size
        with open(log, "rb") as file:
            while at + RECORD.size <= end:
                file.seek(at)
                offset, length = RECORD.unpack(file.read(RECORD.size))
                at += RECORD.size + length
                found.append(at)
        return found

    def _advance(self, position):
        with open(self.stable, "r+b") as disk:
            while self.at < position:
                header = self.log.read(RECORD.size)
                offset, length = RECORD.unpack(header)
                self.at += RECORD.size + length
                if header == FLUSH:
                    for where, data in self.pending:
                        disk.seek(where)
                        disk.write(data)
                    self.pending = []
                else:
                    self.pending.append((offset, self.log.read(length)))

    def cut(self, position, seed):
        """Path of the disk as it is found after a cut there."""
        self._advance(position)
        rng = random.Random(seed)
        chance = rng.choice([0, 0.1, 0.5, 0.9, 1])
        kept = [write for write in self.pending if rng.random() < chance]
        # A new file each time: what was mounted from the last one may live on in another's mount namespace for a moment.
        (self.work / f"cut-{self.cuts}").unlink(missing_ok=True)
        self.cuts += 1
        image = self.work / f"cut-{self.cuts}"
        subprocess.run(["cp", "--sparse=always", self.stable, image], check=True)
        torn = rng.randrange(len(kept)) if kept else None
        with open(image, "r+b") as disk:
            for i, (offset, data) in enumerate(kept):
                if i == torn:
                    data = data[:rng.randrange(len(data) // SECTOR + 1) * SECTOR]
                disk.seek(offset)
                disk.write(data)
        return image

    def close(self):
        self.log.close()


if __name__ == "__main__":
    Server(*sys.argv[1:4]).serve()
