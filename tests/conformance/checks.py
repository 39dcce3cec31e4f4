"""What a drop-in engine has to honour, as data: flags of `docker run`, members of Config and HostConfig, endpoints of the API.

A check is a function of a target (see compatibility.py) that returns None when the target does what Docker documents, else a short
text that says what it did instead. The lists name everything; compatibility.py fails when a name of the API is not among them.
"""
import base64
import json
import re
import urllib.parse

IMAGE = "busybox"


def seen(done, pattern):
    """None when the command succeeded and its output matches."""
    if done.returncode:
        return f"exit {done.returncode}: {(done.stderr or done.stdout).strip().splitlines()[-1][:160] if done.stderr or done.stdout else ''}"
    return None if re.search(pattern, done.stdout + done.stderr, re.M) else f"shows {done.stdout.strip()[:100]!r}"


def inside(*options, sh, shows):
    """docker run --rm OPTIONS busybox sh -c SH shows a pattern."""
    return lambda target: seen(target.docker("run", "--rm", *options, IMAGE, "sh", "-c", sh), shows)


def inspected(*options, of, shows, command=("true",)):
    """What inspect shows of a container created with these options."""
    def check(target):
        made = target.docker("create", *options, IMAGE, *command)
        if made.returncode:
            return seen(made, "")
        name = made.stdout.strip().splitlines()[-1]
        shown = target.docker("inspect", "-f", "{{json " + of + "}}", name)
        target.docker("rm", "-f", "-v", name)
        return seen(shown, shows)
    return check


def refused(*options, shows):
    """Docker refuses it with these words."""
    def check(target):
        done = target.docker("run", "--rm", *options, IMAGE, "true")
        if done.returncode == 0:
            return "accepted"
        return None if re.search(shows, done.stderr) else f"says {done.stderr.strip()[:160]!r}"
    return check


def both(*checks):
    def check(target):
        for one in checks:
            found = one(target)
            if found:
                return found
        return None
    return check


def steps(*lines):
    """Docker commands in turn, each (arguments, pattern of what it shows); containers and volumes named t-* are removed at the end."""
    def check(target):
        try:
            for args, shows in lines:
                found = seen(target.docker(*args), shows)
                if found:
                    return f"docker {' '.join(args)[:60]}: {found}"
        finally:
            target.clean()
        return None
    return check


CGROUP = "/sys/fs/cgroup"

# --- docker run ------------------------------------------------------------------------------------------------------
RUN_FLAGS = {
    "--add-host": inside("--add-host", "db:10.1.2.3", sh="cat /etc/hosts", shows=r"10\.1\.2\.3\s+db"),
    "--annotation": inspected("--annotation", "a=b", of=".HostConfig.Annotations", shows='"a":"b"'),
    "--attach": lambda t: seen(t.docker("run", "--rm", "-a", "stdout", IMAGE, "sh", "-c", "echo out; echo err >&2"), r"\Aout\n\Z"),
    "--blkio-weight": inspected("--blkio-weight", "300", of=".HostConfig.BlkioWeight", shows="300"),
    "--blkio-weight-device": inspected("--blkio-weight-device", "/dev/loop0:300", of=".HostConfig.BlkioWeightDevice", shows="300"),
    "--cap-add": inside("--cap-drop", "ALL", "--cap-add", "NET_ADMIN", sh="grep CapEff /proc/self/status", shows="0000000000001000"),
    "--cap-drop": inside("--cap-drop", "ALL", sh="grep CapEff /proc/self/status", shows="0000000000000000"),
    "--cgroup-parent": inspected("--cgroup-parent", "/compat", of=".HostConfig.CgroupParent", shows="/compat"),
    "--cgroupns": inside("--cgroupns", "private", sh="cat /proc/self/cgroup", shows=r":memory:/$"),
    "--cidfile": lambda t: seen(t.docker("run", "--rm", "--cidfile", t.fresh_file("cid"), IMAGE, "true"), "") or
    (None if re.fullmatch("[0-9a-f]{64}", t.last_file_text()) else "no id in the file"),
    "--cpu-period": inside("--cpu-period", "50000", "--cpu-quota", "25000", sh=f"cat {CGROUP}/cpu/cpu.cfs_period_us", shows="^50000$"),
    "--cpu-quota": inside("--cpu-quota", "25000", sh=f"cat {CGROUP}/cpu/cpu.cfs_quota_us", shows="^25000$"),
    "--cpu-rt-period": inspected("--cpu-rt-period", "1000000", of=".HostConfig.CpuRealtimePeriod", shows="1000000"),
    "--cpu-rt-runtime": inspected("--cpu-rt-runtime", "1000", "--cpu-rt-period", "1000000", of=".HostConfig.CpuRealtimeRuntime", shows="1000"),
    "--cpu-shares": inside("--cpu-shares", "512", sh=f"cat {CGROUP}/cpu/cpu.shares", shows="^512$"),
    "--cpus": inside("--cpus", "0.5", sh=f"cat {CGROUP}/cpu/cpu.cfs_quota_us", shows="^50000$"),
    "--cpuset-cpus": inside("--cpuset-cpus", "0", sh="grep Cpus_allowed_list /proc/self/status", shows=r"\s0$"),
    "--cpuset-mems": inside("--cpuset-mems", "0", sh="grep Mems_allowed_list /proc/self/status", shows=r"\s0$"),
    "--detach": steps((("run", "-d", "--name", "t-d", IMAGE, "sleep", "100"), "^[0-9a-f]{64}$"), (("ps",), "t-d")),
    "--detach-keys": lambda t: seen(t.docker("run", "--rm", "--detach-keys", "ctrl-a,a", IMAGE, "true"), ""),
    "--device": inside("--device", "/dev/null:/dev/mine:r", sh="ls -l /dev/mine", shows=r"1,\s+3"),
    "--device-cgroup-rule": inspected("--device-cgroup-rule", "c 42:* rmw", of=".HostConfig.DeviceCgroupRules", shows="c 42:"),
    "--device-read-bps": inspected("--device-read-bps", "/dev/loop0:1mb", of=".HostConfig.BlkioDeviceReadBps", shows="1048576"),
    "--device-read-iops": inspected("--device-read-iops", "/dev/loop0:100", of=".HostConfig.BlkioDeviceReadIOps", shows="100"),
    "--device-write-bps": inside("--device-write-bps", "/dev/loop0:1mb", sh=f"cat {CGROUP}/blkio/blkio.throttle.write_bps_device",
                                 shows="7:0 1048576"),
    "--device-write-iops": inspected("--device-write-iops", "/dev/loop0:100", of=".HostConfig.BlkioDeviceWriteIOps", shows="100"),
    "--dns": inside("--dns", "10.9.8.7", sh="cat /etc/resolv.conf", shows="nameserver 10.9.8.7"),
    "--dns-option": inside("--dns", "10.9.8.7", "--dns-option", "ndots:3", sh="cat /etc/resolv.conf", shows="options.*ndots:3"),
    "--dns-search": inside("--dns", "10.9.8.7", "--dns-search", "example.org", sh="cat /etc/resolv.conf", shows="search example.org"),
    "--domainname": inside("--hostname", "box", "--domainname", "example.org", sh="cat /proc/sys/kernel/domainname", shows="example.org"),
    "--entrypoint": lambda t: seen(t.docker("run", "--rm", "--entrypoint", "echo", IMAGE, "said"), "^said$"),
    "--env": inside("-e", "A=b c", sh="echo $A", shows="^b c$"),
    "--env-file": lambda t: seen(t.docker("run", "--rm", "--env-file", t.file("env", "FROM_FILE=yes\n# a comment\n"), IMAGE, "env"),
                                 "^FROM_FILE=yes$"),
    "--expose": inspected("--expose", "81", of=".Config.ExposedPorts", shows="81/tcp"),
    "--gpus": refused("--gpus", "all", shows="could not select device driver"),
    "--group-add": inside("--group-add", "123", sh="id -G", shows=r"\b123\b"),
    "--health-cmd": steps((("run", "-d", "--name", "t-h", "--health-cmd", "true", "--health-interval", "1s", IMAGE, "sleep", "100"), ""),
                          (("inspect", "-f", "{{json .Config.Healthcheck}}", "t-h"), "CMD-SHELL")),
    "--health-interval": inspected("--health-cmd", "true", "--health-interval", "7s", of=".Config.Healthcheck", shows="7000000000"),
    "--health-retries": inspected("--health-cmd", "true", "--health-retries", "9", of=".Config.Healthcheck", shows='"Retries":9'),
    "--health-start-interval": inspected("--health-cmd", "true", "--health-start-interval", "2s", of=".Config.Healthcheck",
                                         shows='"StartInterval":2000000000'),
    "--health-start-period": inspected("--health-cmd", "true", "--health-start-period", "3s", of=".Config.Healthcheck", shows="3000000000"),
    "--health-timeout": inspected("--health-cmd", "true", "--health-timeout", "4s", of=".Config.Healthcheck", shows="4000000000"),
    "--hostname": inside("-h", "box", sh="hostname", shows="^box$"),
    "--init": inside("--init", sh="cat /proc/1/comm", shows="init"),
    "--interactive": lambda t: seen(t.docker("run", "--rm", "-i", IMAGE, "cat", input="typed\n"), "^typed$"),
    "--ip": refused("--ip", "172.17.0.99", shows="user.*configured|user specified IP address"),
    "--ip6": refused("--ip6", "2001:db8::5", shows="user.*configured|user specified IP address"),
    "--ipc": steps((("run", "-d", "--name", "t-ipc", "--ipc", "shareable", IMAGE, "sh", "-c", "echo in > /dev/shm/f; sleep 100"), ""),
                   (("exec", "t-ipc", "cat", "/dev/shm/f"), "in"),
                   (("run", "--rm", "--ipc", "container:t-ipc", IMAGE, "cat", "/dev/shm/f"), "^in$")),
    "--isolation": inside("--isolation", "default", sh="true", shows=""),
    "--label": inspected("--label", "a=b", of=".Config.Labels", shows='"a":"b"'),
    "--label-file": lambda t: inspected("--label-file", t.file("labels", "from=file\n"), of=".Config.Labels", shows='"from":"file"')(t),
    "--link": steps((("run", "-d", "--name", "t-db", IMAGE, "sleep", "100"), ""),
                    (("run", "--rm", "--link", "t-db:db", IMAGE, "sh", "-c", "cat /etc/hosts; env"), r"172\.\d+\.\d+\.\d+\s+db\b"),
                    (("run", "--rm", "--link", "t-db:db", IMAGE, "env"), "^DB_NAME=")),
    "--link-local-ip": inside("--link-local-ip", "169.254.1.1", sh="true", shows=""),
    "--log-driver": steps((("run", "--name", "t-log", "--log-driver", "none", IMAGE, "echo", "x"), "x"),
                          (("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "t-log"), "none")),
    "--log-opt": inspected("--log-opt", "max-size=1m", "--log-opt", "max-file=2", of=".HostConfig.LogConfig", shows='"max-size":"1m"'),
    "--mac-address": inside("--mac-address", "02:42:ac:11:00:77", sh="ip link show eth0", shows="02:42:ac:11:00:77"),
    "--memory": inside("-m", "32m", sh=f"cat {CGROUP}/memory/memory.limit_in_bytes", shows="^33554432$"),
    "--memory-reservation": inside("--memory-reservation", "16m", sh=f"cat {CGROUP}/memory/memory.soft_limit_in_bytes", shows="^16777216$"),
    "--memory-swap": inside("-m", "32m", "--memory-swap", "48m", sh=f"cat {CGROUP}/memory/memory.memsw.limit_in_bytes", shows="^50331648$"),
    "--memory-swappiness": inside("--memory-swappiness", "7", sh=f"cat {CGROUP}/memory/memory.swappiness", shows="^7$"),
    "--mount": both(inside("--mount", "type=tmpfs,destination=/t,tmpfs-size=1m", sh="grep ' /t ' /proc/mounts", shows="tmpfs.*size=1024k"),
                    inside("--mount", f"type=image,source={IMAGE},destination=/i", sh="ls /i/bin/busybox", shows="^/i/bin/busybox$")),
    "--name": inspected("--name", "t-named", of=".Name", shows="/t-named"),
    "--network": inside("--network", "none", sh="ls /sys/class/net", shows=r"\Alo\n\Z"),
    "--network-alias": refused("--network-alias", "web", shows="network-scoped alias.* supported.* user.defined networks"),
    "--no-healthcheck": inspected("--no-healthcheck", of=".Config.Healthcheck", shows="NONE"),
    "--oom-kill-disable": inside("-m", "32m", "--oom-kill-disable", sh=f"cat {CGROUP}/memory/memory.oom_control", shows="oom_kill_disable 1"),
    "--oom-score-adj": inside("--oom-score-adj", "77", sh="cat /proc/self/oom_score_adj", shows="^77$"),
    "--pid": steps((("run", "-d", "--name", "t-pid", IMAGE, "sleep", "321"), ""),
                   (("run", "--rm", "--pid", "container:t-pid", IMAGE, "ps"), "sleep 321")),
    "--pids-limit": inside("--pids-limit", "50", sh=f"cat {CGROUP}/pids/pids.max", shows="^50$"),
    "--platform": inside("--platform", "linux/amd64", sh="uname -m", shows="x86_64"),
    "--privileged": inside("--privileged", sh="grep CapEff /proc/self/status; ls /dev/loop0", shows="/dev/loop0"),
    "--publish": steps((("run", "-d", "--name", "t-p", "-p", "127.0.0.1:18080:80", IMAGE, "sleep", "100"), ""),
                       (("port", "t-p"), "80/tcp -> 127.0.0.1:18080")),
    "--publish-all": steps((("run", "-d", "--name", "t-P", "-P", "--expose", "80", IMAGE, "sleep", "100"), ""),
                           (("port", "t-P"), r"80/tcp -> 0.0.0.0:\d+")),
    "--pull": refused("--pull", "sometimes", shows="invalid.*pull"),
    "--quiet": inside("-q", sh="echo x", shows="^x$"),
    "--read-only": inside("--read-only", sh="touch /x 2>&1; true", shows="Read-only"),
    "--restart": inspected("--restart", "on-failure:3", of=".HostConfig.RestartPolicy", shows='"MaximumRetryCount":3'),
    "--rm": steps((("run", "--rm", "--name", "t-rm", IMAGE, "true"), ""), (("ps", "-a", "--filter", "name=t-rm", "--format", "{{.Names}}"), r"\A\Z")),
    "--runtime": inspected("--runtime", "runc", of=".HostConfig.Runtime", shows="runc"),
    "--security-opt": inside("--security-opt", "no-new-privileges", sh="grep NoNewPrivs /proc/self/status", shows="1$"),
    "--shm-size": inside("--shm-size", "16m", sh="grep /dev/shm /proc/mounts", shows="size=16384k"),
    "--sig-proxy": inside("--sig-proxy=false", sh="true", shows=""),
    "--stop-signal": inspected("--stop-signal", "SIGUSR1", of=".Config.StopSignal", shows="SIGUSR1"),
    "--stop-timeout": inspected("--stop-timeout", "3", of=".Config.StopTimeout", shows="3"),
    "--storage-opt": refused("--storage-opt", "size=10G", shows="pquota|project quota|storage-opt|not supported"),
    "--sysctl": inside("--sysctl", "net.ipv4.ip_forward=1", sh="cat /proc/sys/net/ipv4/ip_forward", shows="^1$"),
    "--tmpfs": inside("--tmpfs", "/t:size=1m,mode=700", sh="grep ' /t ' /proc/mounts", shows="size=1024k.*mode=700|mode=700.*size=1024k"),
    "--tty": lambda t: seen(t.docker("run", "--rm", "-t", IMAGE, "tty"), "/dev/pts/0"),
    "--ulimit": inside("--ulimit", "nofile=100:200", sh="ulimit -n; ulimit -Hn", shows=r"^100\n200"),
    "--use-api-socket": None,  # the client's own: it mounts its socket and writes its configuration
    "--user": inside("-u", "12:34", sh="id -u; id -g", shows=r"12\n34"),
    "--userns": inside("--userns", "host", sh="cat /proc/self/uid_map", shows=r"0\s+0\s+4294967295"),
    "--uts": inside("--uts", "host", sh="readlink /proc/self/ns/uts", shows=r"uts:"),
    "--volume": steps((("run", "--rm", "-v", "t-vol:/v", IMAGE, "sh", "-c", "echo kept > /v/f"), ""),
                      (("run", "--rm", "-v", "t-vol:/v:ro", IMAGE, "cat", "/v/f"), "^kept$")),
    "--volume-driver": inspected("--volume-driver", "local", of=".HostConfig.VolumeDriver", shows="local"),
    "--volumes-from": steps((("run", "--name", "t-from", "-v", "/v", IMAGE, "sh", "-c", "echo shared > /v/f"), ""),
                            (("run", "--rm", "--volumes-from", "t-from", IMAGE, "cat", "/v/f"), "^shared$")),
    "--workdir": inside("-w", "/new/dir", sh="pwd", shows="^/new/dir$"),
}

# --- Config and HostConfig -------------------------------------------------------------------------------------------
# Member -> (value, what inspect shows of it: None for the value itself, command to run inside or None, what it shows).
CONFIG = {
    "Hostname": ("box", None, "hostname", "^box$"),
    "Domainname": ("example.org", None, "cat /proc/sys/kernel/domainname", "example.org"),
    "User": ("12", None, "id -u", "^12$"),
    "AttachStdin": (True, None, None, None),
    "AttachStdout": (True, None, None, None),
    "AttachStderr": (True, None, None, None),
    "ExposedPorts": ({"81/tcp": {}}, None, None, None),
    "Tty": (True, None, "tty", "/dev/pts/0"),
    "OpenStdin": (True, None, None, None),
    "StdinOnce": (True, None, None, None),
    "Env": (["A=b"], r'"A=b"', "echo $A", "^b\r?$"),
    "Cmd": (["sh", "-c", "echo cmd"], None, None, None),
    "Healthcheck": ({"Test": ["CMD", "true"], "Interval": 1000000000}, None, None, None),
    "ArgsEscaped": (False, "", None, None),
    "Image": (IMAGE, None, None, None),
    "Volumes": ({"/v": {}}, None, "grep ' /v ' /proc/mounts", " /v "),
    "WorkingDir": ("/tmp", None, "pwd", "^/tmp$"),
    "Entrypoint": (["sh", "-c"], None, None, None),
    "NetworkDisabled": (True, None, "ls /sys/class/net", r"\Alo"),
    "MacAddress": ("02:42:ac:11:00:78", "", "ip link show eth0", "02:42:ac:11:00:78"),
    "OnBuild": (None, "", None, None),
    "Labels": ({"a": "b"}, None, None, None),
    "StopSignal": ("SIGUSR1", None, None, None),
    "StopTimeout": (3, None, None, None),
    "Shell": (["/bin/sh", "-c"], None, None, None),
}

GB = 1 << 30
HOST_CONFIG = {
    "Binds": (["/tmp:/host:ro"], None, "grep ' /host ' /proc/mounts", r"\bro\b"),
    "ContainerIDFile": ("/tmp/none", None, None, None),
    "LogConfig": ({"Type": "json-file", "Config": {"max-size": "1m"}}, None, None, None),
    "NetworkMode": ("none", None, "ls /sys/class/net", r"\Alo"),
    "PortBindings": ({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}, None, None, None),
    "RestartPolicy": ({"Name": "on-failure", "MaximumRetryCount": 2}, None, None, None),
    "AutoRemove": (False, None, None, None),
    "VolumeDriver": ("local", None, None, None),
    "VolumesFrom": (None, "null", None, None),
    "Mounts": ([{"Type": "tmpfs", "Target": "/t"}], None, "grep ' /t ' /proc/mounts", "tmpfs"),
    "ConsoleSize": ([40, 100], None, None, None),
    "Annotations": ({"a": "b"}, None, None, None),
    "CapAdd": (["NET_ADMIN"], "NET_ADMIN", "grep CapEff /proc/self/status", "a80435fb"),
    "CapDrop": (["ALL"], None, "grep CapEff /proc/self/status", "0000000000000000"),
    "CgroupnsMode": ("private", None, "cat /proc/self/cgroup", ":memory:/$"),
    "Dns": (["10.9.8.7"], None, "cat /etc/resolv.conf", "10.9.8.7"),
    "DnsOptions": (["ndots:3"], None, "cat /etc/resolv.conf", "ndots:3"),
    "DnsSearch": (["example.org"], None, "cat /etc/resolv.conf", "example.org"),
    "ExtraHosts": (["db:10.1.2.3"], None, "cat /etc/hosts", r"10.1.2.3\s+db"),
    "GroupAdd": (["123"], None, "id -G", "123"),
    "IpcMode": ("private", None, "df /dev/shm", "shm"),
    "Cgroup": ("", None, None, None),
    "Links": (None, "null", None, None),
    "OomScoreAdj": (77, None, "cat /proc/self/oom_score_adj", "^77$"),
    "PidMode": ("host", None, "readlink /proc/self/ns/pid", "pid:"),
    "Privileged": (True, None, "ls /dev/loop0", "loop0"),
    "PublishAllPorts": (True, None, None, None),
    "ReadonlyRootfs": (True, None, "touch /x 2>&1; true", "Read-only"),
    "SecurityOpt": (["no-new-privileges"], None, "grep NoNewPrivs /proc/self/status", "1$"),
    "StorageOpt": (None, "null", None, None),
    "Tmpfs": ({"/t": "size=1m"}, None, "grep ' /t ' /proc/mounts", "size=1024k"),
    "UTSMode": ("host", None, None, None),
    "UsernsMode": ("host", None, "cat /proc/self/uid_map", "4294967295"),
    "ShmSize": (16 << 20, None, "grep /dev/shm /proc/mounts", "size=16384k"),
    "Sysctls": ({"net.ipv4.ip_forward": "1"}, None, "cat /proc/sys/net/ipv4/ip_forward", "^1$"),
    "Runtime": ("runc", None, None, None),
    "Isolation": ("", None, None, None),
    "MaskedPaths": (["/proc/version"], None, "cat /proc/version | wc -c", "^0$"),
    "ReadonlyPaths": (["/tmp"], None, "touch /tmp/x 2>&1; true", "Read-only"),
    "CpuShares": (512, None, f"cat {CGROUP}/cpu/cpu.shares", "^512$"),
    "Memory": (32 << 20, None, f"cat {CGROUP}/memory/memory.limit_in_bytes", "^33554432$"),
    "CgroupParent": ("/compat", None, None, None),
    "BlkioWeight": (300, None, None, None),
    "BlkioWeightDevice": ([{"Path": "/dev/loop0", "Weight": 300}], None, None, None),
    "BlkioDeviceReadBps": ([{"Path": "/dev/loop0", "Rate": 1048576}], None,
                           f"cat {CGROUP}/blkio/blkio.throttle.read_bps_device", "7:0 1048576"),
    "BlkioDeviceWriteBps": ([{"Path": "/dev/loop0", "Rate": 1048576}], None,
                            f"cat {CGROUP}/blkio/blkio.throttle.write_bps_device", "7:0 1048576"),
    "BlkioDeviceReadIOps": ([{"Path": "/dev/loop0", "Rate": 100}], None,
                            f"cat {CGROUP}/blkio/blkio.throttle.read_iops_device", "7:0 100"),
    "BlkioDeviceWriteIOps": ([{"Path": "/dev/loop0", "Rate": 100}], None,
                             f"cat {CGROUP}/blkio/blkio.throttle.write_iops_device", "7:0 100"),
    "CpuPeriod": (50000, None, f"cat {CGROUP}/cpu/cpu.cfs_period_us", "^50000$"),
    "CpuQuota": (25000, None, f"cat {CGROUP}/cpu/cpu.cfs_quota_us", "^25000$"),
    "CpuRealtimePeriod": (1000000, None, None, None),
    "CpuRealtimeRuntime": (1000, None, None, None),
    "CpusetCpus": ("0", None, "grep Cpus_allowed_list /proc/self/status", r"\s0$"),
    "CpusetMems": ("0", None, "grep Mems_allowed_list /proc/self/status", r"\s0$"),
    "Devices": ([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}], None, "ls -l /dev/mine", r"1,\s+3"),
    "DeviceCgroupRules": (["c 42:* rmw"], None, None, None),
    "DeviceRequests": (None, "null|\\[\\]", None, None),
    "MemoryReservation": (16 << 20, None, f"cat {CGROUP}/memory/memory.soft_limit_in_bytes", "^16777216$"),
    "MemorySwap": (-1, None, None, None),
    "MemorySwappiness": (7, None, f"cat {CGROUP}/memory/memory.swappiness", "^7$"),
    "NanoCpus": (500000000, None, f"cat {CGROUP}/cpu/cpu.cfs_quota_us", "^50000$"),
    "OomKillDisable": (True, None, None, None),
    "Init": (True, None, "cat /proc/1/comm", "init"),
    "PidsLimit": (50, None, f"cat {CGROUP}/pids/pids.max", "^50$"),
    "Ulimits": ([{"Name": "nofile", "Soft": 100, "Hard": 200}], None, "ulimit -n", "^100$"),
}
# What a member needs beside itself.
TOGETHER = {"CpuQuota": {}, "MemorySwap": {"Memory": GB}, "OomKillDisable": {"Memory": GB}, "PortBindings": {},
            "CpuRealtimeRuntime": {"CpuRealtimePeriod": 1000000}}
CREATED_ONLY = {"BlkioWeight", "BlkioWeightDevice", "CpuRealtimePeriod", "CpuRealtimeRuntime", "ContainerIDFile", "Image"}


def member(kind, name):
    """Create with this member through the raw API; inspect shows it; it has its effect inside."""
    value, shows, command, effect = (CONFIG if kind == "Config" else HOST_CONFIG)[name]

    def check(target):
        body = {"Image": IMAGE, "Cmd": ["sh", "-c", command] if command else ["sh", "-c", "true"], "HostConfig": {}}
        if name == "Entrypoint":
            body["Cmd"] = ["true"]
        host = body["HostConfig"]
        (body if kind == "Config" else host)[name] = value
        host.update(TOGETHER.get(name, {}))
        status, _, made = target.api("POST", "/containers/create", body)
        if status != 201:
            return f"create: {status} {made.get('message', '')[:160] if isinstance(made, dict) else made}"
        try:
            document = target.api("GET", f"/containers/{made['Id']}/json")[2]
            got = (document["Config"] if kind == "Config" else document["HostConfig"]).get(name)
            if shows is None and got != value:
                return f"inspect shows {json.dumps(got)[:100]}"
            if shows and not re.search(shows, json.dumps(got)):
                return f"inspect shows {json.dumps(got)[:100]}"
            if name in CREATED_ONLY:
                return None
            status, _, answer = target.api("POST", f"/containers/{made['Id']}/start")
            if status != 204:
                return f"start: {status} {answer.get('message', '')[:160] if isinstance(answer, dict) else answer}"
            target.api("POST", f"/containers/{made['Id']}/wait")
            if effect is None:
                return None
            logs = target.docker("logs", made["Id"])
            return None if re.search(effect, logs.stdout + logs.stderr, re.M) else f"inside: {(logs.stdout + logs.stderr).strip()[:100]!r}"
        finally:
            target.api("DELETE", f"/containers/{made['Id']}?force=1&v=1")
    return check


# --- endpoints -------------------------------------------------------------------------------------------------------
def quoted(filters):
    return urllib.parse.quote(json.dumps(filters))


def call(method, path, status, body=None, shows=None, setup=None, headers=None):
    """One request: its status, and a pattern of its answer. {id} in the path: a container that sleeps, made for it; {exec}: an exec in
    it; {stopped}: one that has ended."""
    statuses = status if isinstance(status, tuple) else (status,)

    def check(target):
        try:
            names = target.fixtures(path + (json.dumps(body) if isinstance(body, (dict, list)) else ""))
            text = body
            if isinstance(body, (dict, list)):
                text = json.loads(json.dumps(body).replace("{id}", names.get("id", "")).replace("{stopped}", names.get("stopped", "")))
            if setup:
                setup(target)
            got, _, answer = target.api(method, path.format(**names), text, headers)
            if got not in statuses:
                return f"{got} {answer.get('message', '')[:120] if isinstance(answer, dict) else ''}"
            rendered = answer.decode(errors="replace") if isinstance(answer, bytes) else json.dumps(answer)
            return None if not shows or re.search(shows, rendered) else f"answers {rendered[:100]}"
        finally:
            target.clean()
    return check


def first_of_stream(path, shows):
    """A stream that does not end: its first piece."""
    def check(target):
        try:
            status, piece = target.stream_start(path.format(**target.fixtures(path)))
            if status != 200:
                return f"{status}"
            return None if re.search(shows, piece) else f"begins {piece[:100]!r}"
        finally:
            target.clean()
    return check


def hijacks(method, path, body=None):
    def check(target):
        try:
            status = target.upgrade(method, path.format(**target.fixtures(path)), body)
            return None if status == 101 else f"{status}"
        finally:
            target.clean()
    return check


EMPTY_TAR = bytes(1024)
AUTH = {"X-Registry-Auth": base64.urlsafe_b64encode(b"{}").decode()}
ENDPOINTS = {
    "GET /_ping": call("GET", "/_ping", 200, shows="OK"),
    "HEAD /_ping": call("HEAD", "/_ping", 200),
    "GET /version": call("GET", "/version", 200, shows='"ApiVersion"'),
    "GET /info": call("GET", "/info", 200, shows='"Containers"'),
    "GET /events": call("GET", "/events?since=0&until=1", 200),
    "GET /system/df": call("GET", "/system/df", 200, shows='"Images"|"ImageUsage"|"ImagesDiskUsage"'),
    "GET /containers/json": call("GET", "/containers/json?all=1&size=1&filters=" + quoted({"status": ["running"]}), 200),
    "POST /containers/create": call("POST", "/containers/create?name=t-api", 201, {"Image": IMAGE}, shows='"Id"'),
    "GET /containers/{id}/json": call("GET", "/containers/{id}/json?size=1", 200, shows='"SizeRootFs"'),
    "GET /containers/{id}/top": call("GET", "/containers/{id}/top?ps_args=aux", 200, shows="Processes"),
    "GET /containers/{id}/logs": call("GET", "/containers/{stopped}/logs?stdout=1", 200, shows="said"),
    "GET /containers/{id}/changes": call("GET", "/containers/{stopped}/changes", 200, shows='"/made"'),
    "GET /containers/{id}/export": call("GET", "/containers/{stopped}/export", 200, shows="ustar"),
    "GET /containers/{id}/stats": call("GET", "/containers/{id}/stats?stream=false", 200, shows='"cpu_stats"'),
    "POST /containers/{id}/resize": call("POST", "/containers/{id}/resize?h=40&w=80", (200, 409, 500)),
    "POST /containers/{id}/start": call("POST", "/containers/{id}/start", 304),
    "POST /containers/{id}/stop": call("POST", "/containers/{id}/stop?t=0", 204),
    "POST /containers/{id}/restart": call("POST", "/containers/{id}/restart?t=0", 204),
    "POST /containers/{id}/kill": call("POST", "/containers/{id}/kill?signal=KILL", 204),
    "POST /containers/{id}/update": call("POST", "/containers/{id}/update", 200, {"CpuShares": 512, "RestartPolicy": {"Name": "no"}}, shows="Warnings"),
    "POST /containers/{id}/rename": call("POST", "/containers/{id}/rename?name=t-other", 204),
    "POST /containers/{id}/pause": call("POST", "/containers/{id}/pause", 204),
    "POST /containers/{id}/unpause": call("POST", "/containers/{id}/unpause", 204, setup=lambda t: t.api("POST", f"/containers/{t.made['id']}/pause")),
    "POST /containers/{id}/attach": hijacks("POST", "/containers/{id}/attach?stream=1&stdout=1"),
    "GET /containers/{id}/attach/ws": lambda t: t.websocket_attach(),
    "POST /containers/{id}/wait": call("POST", "/containers/{stopped}/wait", 200, shows='"StatusCode": 0'),
    "DELETE /containers/{id}": call("DELETE", "/containers/{id}?force=1&v=1", 204),
    "HEAD /containers/{id}/archive": call("HEAD", "/containers/{id}/archive?path=/etc/passwd", 200),
    "GET /containers/{id}/archive": call("GET", "/containers/{id}/archive?path=/etc/passwd", 200, shows="ustar"),
    "PUT /containers/{id}/archive": call("PUT", "/containers/{id}/archive?path=/tmp", 200, EMPTY_TAR, headers={"Content-Type": "application/x-tar"}),
    "POST /containers/prune": call("POST", "/containers/prune?filters=" + quoted({"label": ["compat-none"]}), 200, shows="SpaceReclaimed"),
    "POST /containers/{id}/exec": call("POST", "/containers/{id}/exec", 201, {"Cmd": ["true"]}, shows='"Id"'),
    "POST /exec/{id}/start": hijacks("POST", "/exec/{exec}/start", {"Detach": False, "Tty": False}),
    "GET /exec/{id}/json": call("GET", "/exec/{exec}/json", 200, shows='"ContainerID"'),
    "POST /exec/{id}/resize": call("POST", "/exec/{exec}/resize?h=40&w=80", (200, 404, 409, 500)),
    "GET /images/json": call("GET", "/images/json?all=1&shared-size=1", 200, shows="busybox"),
    "POST /images/create": call("POST", "/images/create?fromSrc=-&repo=t-imported&tag=1", 200, EMPTY_TAR, headers={"Content-Type": "application/x-tar"}),
    "GET /images/{name}/json": call("GET", "/images/busybox/json", 200, shows='"Id"'),
    "GET /images/{name}/history": call("GET", "/images/busybox/history", 200, shows="CreatedBy"),
    "POST /images/{name}/push": call("POST", "/images/127.0.0.1:1/t-absent/push?tag=1", (200, 404), headers=AUTH),
    "POST /images/{name}/tag": call("POST", "/images/busybox/tag?repo=t-tagged&tag=1", 201),
    "DELETE /images/{name}": call("DELETE", "/images/t-absent", 404, shows="No such image"),
    "GET /images/search": call("GET", "/images/search?term=x", (200, 500)),
    "POST /images/prune": call("POST", "/images/prune?filters=" + quoted({"label": ["compat-none"]}), 200, shows="SpaceReclaimed"),
    "GET /images/{name}/get": call("GET", "/images/busybox/get", 200, shows="manifest.json"),
    "GET /images/get": call("GET", "/images/get?names=busybox", 200, shows="manifest.json"),
    "POST /images/load": call("POST", "/images/load?quiet=1", (200, 400, 500), EMPTY_TAR, headers={"Content-Type": "application/x-tar"}),
    "GET /distribution/{name}/json": call("GET", "/distribution/127.0.0.1:1/absent/json", (400, 401, 403, 404, 500), headers=AUTH),
    "POST /commit": call("POST", "/commit?container={stopped}&repo=t-committed&tag=1", 201, {}, shows='"Id"'),
    "POST /auth": call("POST", "/auth", (200, 204, 401, 500), {"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"}),
    "POST /build": call("POST", "/build?t=t-built", (200, 400, 500), EMPTY_TAR, headers={"Content-Type": "application/x-tar"}),
    "POST /build/prune": call("POST", "/build/prune", 200, shows="SpaceReclaimed"),
    "POST /build/cancel": call("POST", "/build/cancel?id=absent", (200, 204, 404, 500)),
    "POST /session": None,
    "POST /grpc": None,
    "GET /networks": call("GET", "/networks?filters=" + quoted({"driver": ["bridge"]}), 200, shows='"bridge"'),
    "GET /networks/{id}": call("GET", "/networks/bridge", 200, shows='"IPAM"'),
    "POST /networks/create": call("POST", "/networks/create", 201, {"Name": "t-net"}, shows='"Id"'),
    "POST /networks/{id}/connect": call("POST", "/networks/t-absent/connect", 404, {"Container": "{id}"}),
    "POST /networks/{id}/disconnect": call("POST", "/networks/t-absent/disconnect", 404, {"Container": "{id}"}),
    "POST /networks/prune": call("POST", "/networks/prune?filters=" + quoted({"label": ["compat-none"]}), 200),
    "DELETE /networks/{id}": call("DELETE", "/networks/t-absent", 404, shows="not found"),
    "GET /volumes": call("GET", "/volumes", 200, shows='"Volumes"'),
    "POST /volumes/create": call("POST", "/volumes/create", 201, {"Name": "t-made"}, shows='"Mountpoint"'),
    "GET /volumes/{name}": call("GET", "/volumes/t-absent", 404, shows="no such volume"),
    "POST /volumes/prune": call("POST", "/volumes/prune?filters=" + quoted({"label": ["compat-none"]}), 200, shows="SpaceReclaimed"),
    "DELETE /volumes/{name}": call("DELETE", "/volumes/t-absent", 404, shows="no such volume"),
    "PUT /volumes/{name}": call("PUT", "/volumes/t-absent?version=1", (400, 404, 503), {}),
    "GET /plugins": call("GET", "/plugins", 200),
    "GET /plugins/{name}/json": call("GET", "/plugins/absent/json", 404),
    "GET /containers/{id}/checkpoints": call("GET", "/containers/{id}/checkpoints", (200, 404, 501)),
    "POST /containers/{id}/checkpoints": call("POST", "/containers/{id}/checkpoints", (201, 404, 500, 501), {"CheckpointID": "c"}),
    "GET /swarm": call("GET", "/swarm", 503, shows="not a swarm manager"),
}
