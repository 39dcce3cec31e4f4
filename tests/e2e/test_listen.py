"""Where the engine listens, and that a session over TCP is as good as one over the unix socket."""
import os
import stat
import subprocess


def docker_over_tcp(engine, address, *args, **more):
    environment = engine.environment(DOCKER_HOST=address)
    return subprocess.run(engine.in_netns("docker", *args), env=environment, capture_output=True, text=True, timeout=60,
                          check=False, **more)


def test_tcp_on_request(make_engine, busybox_rootfs):
    engine = make_engine("-H", "tcp://127.0.0.1:2375")
    engine.import_image(busybox_rootfs)
    address = "tcp://127.0.0.1:2375"
    done = docker_over_tcp(engine, address, "run", "--rm", "-i", "busybox", "cat", input="over tcp\n")
    assert (done.returncode, done.stdout) == (0, "over tcp\n"), done.stderr
    assert docker_over_tcp(engine, address, "run", "--rm", "busybox", "sh", "-c", "exit 6").returncode == 6


def test_the_socket_is_for_root_only(fresh_engine):
    mode = os.stat(fresh_engine.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660


def test_a_data_root_has_one_engine(fresh_engine):
    again = fresh_engine.run_in_netns(fresh_engine.bin / "skiffd", "--data-root", fresh_engine.data_root, "--exec-root",
                                      fresh_engine.root / "other", "-H", f"unix://{fresh_engine.root}/other.sock", "--pidfile", fresh_engine.root / "other.pid",
                                      check=False)
    assert again.returncode != 0 and b"in use" in again.stderr


def test_data_directories_are_closed(fresh_engine, busybox_rootfs):
    """Only the way to the layers may be passed by others, and none can be listed."""
    fresh_engine.import_image(busybox_rootfs)
    for folder in (fresh_engine.data_root, *fresh_engine.data_root.iterdir()):
        if folder.is_dir():
            assert stat.S_IMODE(folder.stat().st_mode) in (0o700, 0o711), folder
    for file in fresh_engine.data_root.glob("meta.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
