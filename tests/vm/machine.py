"""A small virtual machine with cgroup v2: Debian's cloud kernel under software emulation, with an initramfs of ours."""
import gzip
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "overlay",
           "veth", "llc", "stp", "bridge", "nfnetlink", "nf_tables", "libcrc32c", "nf_conntrack", "nf_nat", "nf_defrag_ipv4",
           "nf_defrag_ipv6", "nft_chain_nat", "nft_masq", "nft_ct", "nft_nat", "nft_fib", "nft_fib_ipv4", "nft_fib_inet",
           "crc32c_generic", "xfs", "quota_v2", "quota_tree")


def fetch_kernel(cache):
    """Unpack the distribution's kernel package below `cache`; (vmlinuz, modules folder)."""
    found = sorted(cache.glob("boot/vmlinuz-*"))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        ask = ["apt-cache", "depends", "linux-image-cloud-amd64"]
        depends = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
        if "Depends:" not in depends:  # no package lists yet
            subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)
            depends = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends).group(1)
        subprocess.run(["apt-get", "download", "-q", package], cwd=cache, check=True, capture_output=True)
        for archive in cache.glob("linux-image-*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, cache], check=True)
            archive.unlink()
        found = sorted(cache.glob("boot/vmlinuz-*"))
    return found[-1], next(cache.glob("lib/modules/*"))


def copy_program(program, root):
    """A program with the shared libraries it needs."""
    shutil.copy2(program, root / "skiff" / pathlib.Path(program).name)
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", listing):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(library, target)


def busybox_archive(path, programs=()):
    """A busybox root file system, with these static programs, as a tar."""
    root = path.with_suffix(".root")
    (root / "bin").mkdir(parents=True)
    for folder in ("tmp", "etc", "root"):
        (root / folder).mkdir()
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    for program in programs:
        shutil.copy2(program, root / "bin")
    for applet in ("sh", "cat", "echo", "sleep", "head", "tail", "mknod", "grep", "wc", "true", "awk", "dd", "df", "mkdir", "mv",
                   "rm", "stat", "touch"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-cf", path, "."], check=True)
    shutil.rmtree(root)


def make_initramfs(work, programs, modules, checks, image_programs=()):
    root = work / "initramfs"
    for folder in ("bin", "skiff", "proc", "sys", "dev", "etc"):
        (root / folder).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for program in programs:
        copy_program(program, root)
    target = root / "lib/modules" / modules.name
    target.mkdir(parents=True, exist_ok=True)
    for module in modules.rglob("*.ko"):
        if module.stem in MODULES:
            shutil.copy2(module, target / module.name)
    for name in ("modules.builtin", "modules.order"):
        shutil.copy2(modules / name, target / name)
    subprocess.run(["/bin/busybox", "depmod", "-b", root, modules.name], check=True)
    busybox_archive(root / "busybox.tar", image_programs)
    shutil.copy2(HERE / "init", root / "init")
    os.chmod(root / "init", 0o755)
    shutil.copy2(checks, root / "checks")
    archive = work / "initramfs.gz"
    names = subprocess.run(["find", ".", "-print0"], cwd=root, capture_output=True, check=True).stdout
    cpio = subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet"], cwd=root, input=names, capture_output=True,
                          check=True).stdout
    archive.write_bytes(gzip.compress(cpio, 1))
    return archive


def run(work, programs, cache, checks=HERE / "checks", timeout=300, disks=(), image_programs=()):
    """Boot, run the checks, and return what the console showed. disks: image files, from /dev/vdb on. image_programs: static ones
    that are in the image, too."""
    kernel, modules = fetch_kernel(pathlib.Path(cache))
    initramfs = make_initramfs(work, [*programs, *image_programs], modules, checks, image_programs)
    disk = work / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", disk], check=True)
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", "2", "-nographic",
               "-no-reboot", "-nic", "none", "-kernel", kernel, "-initrd", initramfs,
               "-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]
    for image in (disk, *disks):
        command += ["-drive", f"file={image},if=virtio,format=raw"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    return done.stdout.decode(errors="replace")
