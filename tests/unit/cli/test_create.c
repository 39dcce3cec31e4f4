// The options of create against what Docker's own client (28.2) sends for the same command line: recorded from it, with
// null, empty, zero and false members left out, as an engine reads them alike.
#include "cli/create.h"

#include "base/mem.h"
#include "codec/json.h"

#include "../test.h"

#include <string.h>

enum { ARGUMENTS_MAX = 24 };

static const struct {
    const char *argv[ARGUMENTS_MAX];
    const char *document;
} recorded[] = {
    { { "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--name", "n", "-it", "busybox", "sh" },
      "{\"AttachStdin\":true,\"AttachStdout\":true,\"AttachStderr\":true,\"Tty\":true,\"OpenStdi"
      "n\":true,\"StdinOnce\":true,\"Cmd\":[\"sh\"],\"Image\":\"busybox\",\"HostConfig\":{\"NetworkMo"
      "de\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-e", "A=B", "-e", "C=", "-e", "NOT_SET_ANYWHERE", "busybox", "env" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Env\":[\"A=B\",\"C=\",\"NOT_SET_ANYWHERE\"],\""
      "Cmd\":[\"env\"],\"Image\":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPol"
      "icy\":{\"Name\":\"no\"}}}" },
    { { "-l", "a=b", "-l", "c", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"Labels\":{\"a\":\"b\"},\"H"
      "ostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-p", "80", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"PortBindings\":{\"80/tcp\":[{}]},\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-p", "8080:80/udp", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"PortBindings\":{\"80/udp\":[{\"HostPort\":\"8080\"}]},\"RestartPolicy\""
      ":{\"Name\":\"no\"}}}" },
    { { "-p", "127.0.0.1:8000-8002:9000-9002", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"PortBindings\":{\"9000/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8"
      "000\"}],\"9001/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8001\"}],\"9002/tcp\":[{\"HostI"
      "p\":\"127.0.0.1\",\"HostPort\":\"8002\"}]},\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-p", "8080-8090:80", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"8080-8090\"}]},\"RestartPo"
      "licy\":{\"Name\":\"no\"}}}" },
    { { "-p", "[::1]:53:53/sctp", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"PortBindings\":{\"53/sctp\":[{\"HostIp\":\"::1\",\"HostPort\":\"53\"}]},\""
      "RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-P", "--expose", "1-3", "--expose", "9/udp", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"PublishAllPorts\":true}}" },
    { { "-v", "/a:/b:ro", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Binds\""
      ":[\"/a:/b:ro\"],\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-v", "vol:/v", "-v", "/anon", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Binds\""
      ":[\"vol:/v\"],\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--mount", "type=bind,src=/s,dst=/d,readonly,bind-propagation=rslave", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Mounts\":[{\"Type\":\"bind\",\"Source\""
      ":\"/s\",\"Target\":\"/d\",\"ReadOnly\":true,\"BindOptions\":{\"Propagation\":\"rslave\"}}]}}" },
    { { "--mount", "type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Mounts\":[{\"Type\":\"tmpfs\",\"Target"
      "\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":67108864,\"Mode\":1016}}]}}" },
    { { "--mount", "type=volume,src=v2,dst=/vv,volume-nocopy,volume-opt=a=b,volume-label=x=y", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Mounts\":[{\"Type\":\"volume\",\"Sourc"
      "e\":\"v2\",\"Target\":\"/vv\",\"VolumeOptions\":{\"NoCopy\":true,\"Labels\":{\"x\":\"y\"},\"Driver"
      "Config\":{\"Options\":{\"a\":\"b\"}}}}]}}" },
    { { "--mount", "src=v,target=/x,ro=false", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Mounts\":[{\"Type\":\"volume\",\"Sourc"
      "e\":\"v\",\"Target\":\"/x\"}]}}" },
    { { "--tmpfs", "/tt:size=1m", "--tmpfs", "/uu", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Tmpfs\":{\"/tt\":\"size=1m\"}}}" },
    { { "-m", "64m", "--memory-swap", "-1", "--memory-reservation", "32m", "--memory-swappiness", "5",
        "--oom-kill-disable", "--oom-score-adj", "100", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"OomScoreAdj\":100,\"Memory\":671088"
      "64,\"MemoryReservation\":33554432,\"MemorySwap\":-1,\"MemorySwappiness\":5,\"OomKillDis"
      "able\":true}}" },
    { { "--cpus", "1.5", "--cpu-shares", "512", "--cpuset-cpus", "0-1", "--cpuset-mems", "0", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"CpuShares\":512,\"NanoCpus\":150000"
      "0000,\"CpusetCpus\":\"0-1\",\"CpusetMems\":\"0\"}}" },
    { { "--cpu-period", "100000", "--cpu-quota", "50000", "--pids-limit", "7", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"CpuPeriod\":100000,\"CpuQuota\":500"
      "00,\"PidsLimit\":7}}" },
    { { "--ulimit", "core=-1", "--ulimit", "nofile=1024:2048", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Ulimits\":[{\"Name\":\"core\",\"Hard\":"
      "-1,\"Soft\":-1},{\"Name\":\"nofile\",\"Hard\":2048,\"Soft\":1024}]}}" },
    { { "--device", "/dev/null:/dev/xx:r", "--device", "/dev/zero", "--device", "/dev/full:rw", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Devices\":[{\"PathOnHost\":\"/dev/nu"
      "ll\",\"PathInContainer\":\"/dev/xx\",\"CgroupPermissions\":\"r\"},{\"PathOnHost\":\"/dev/zer"
      "o\",\"PathInContainer\":\"/dev/zero\",\"CgroupPermissions\":\"rwm\"},{\"PathOnHost\":\"/dev/"
      "full\",\"PathInContainer\":\"/dev/full\",\"CgroupPermissions\":\"rw\"}]}}" },
    { { "--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "64m", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"ShmSize\":67108864,\"Sysctls\":{\"ne"
      "t.ipv4.ip_forward\":\"1\"}}}" },
    { { "--restart", "on-failure:3", "--init", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"on-failure\",\"MaximumRetryCount\":3},\"In"
      "it\":true}}" },
    { { "--restart", "always", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"always\"}}}" },
    { { "--rm", "--read-only", "--privileged", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"AutoRemove\":true,\"Privileged\":tr"
      "ue,\"ReadonlyRootfs\":true}}" },
    { { "--log-driver", "json-file", "--log-opt", "max-size=1m", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"LogCon"
      "fig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1m\"}},\"NetworkMode\":\"default\",\"Re"
      "startPolicy\":{\"Name\":\"no\"}}}" },
    { { "--add-host", "x:1.2.3.4", "--add-host", "y=5.6.7.8", "--dns", "1.1.1.1", "--dns-search", "a.b",
        "--dns-option", "ndots:1", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Dns\":[\"1.1.1.1\"],\"DnsOptions\":[\""
      "ndots:1\"],\"DnsSearch\":[\"a.b\"],\"ExtraHosts\":[\"x:1.2.3.4\",\"y:5.6.7.8\"]}}" },
    { { "--network", "foo", "--network-alias", "q", "--ip", "1.2.3.4", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"foo\",\"RestartPolicy\":{\"Name\":\"no\"}},\"NetworkingConfig\":{\"EndpointsConfig"
      "\":{\"foo\":{\"IPAMConfig\":{\"IPv4Address\":\"1.2.3.4\"},\"Aliases\":[\"q\"]}}}}" },
    { { "--network", "name=foo,alias=a1,ip=1.2.3.5,mac-address=02:42:ac:11:00:02", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"foo\",\"RestartPolicy\":{\"Name\":\"no\"}},\"NetworkingConfig\":{\"EndpointsConfig"
      "\":{\"foo\":{\"IPAMConfig\":{\"IPv4Address\":\"1.2.3.5\"},\"Aliases\":[\"a1\"],\"MacAddress\":\""
      "02:42:ac:11:00:02\"}}}}" },
    { { "--network", "host", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"host\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--network", "none", "--hostname", "h", "--domainname", "d", "-u", "1:2", "-w", "/w", "busybox" },
      "{\"Hostname\":\"h\",\"Domainname\":\"d\",\"User\":\"1:2\",\"AttachStdout\":true,\"AttachStderr\""
      ":true,\"Image\":\"busybox\",\"WorkingDir\":\"/w\",\"HostConfig\":{\"NetworkMode\":\"none\",\"Re"
      "startPolicy\":{\"Name\":\"no\"}}}" },
    { { "--mac-address", "02:42:ac:11:00:02", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}},\"NetworkingConfig\":{\"EndpointsCo"
      "nfig\":{\"default\":{\"MacAddress\":\"02:42:ac:11:00:02\"}}}}" },
    { { "--pid", "host", "--ipc", "host", "--uts", "host", "--userns", "host", "--cgroupns", "host",
        "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"CgroupnsMode\":\"host\",\"IpcMode\":\""
      "host\",\"PidMode\":\"host\",\"UTSMode\":\"host\",\"UsernsMode\":\"host\"}}" },
    { { "--cap-add", "NET_ADMIN", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--group-add",
        "5", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"CapAdd\":[\"CAP_NET_ADMIN\"],\"CapDr"
      "op\":[\"ALL\"],\"GroupAdd\":[\"5\"],\"SecurityOpt\":[\"no-new-privileges\"]}}" },
    { { "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"SecurityOpt\":[\"seccomp=unconfine"
      "d\"]}}" },
    { { "--health-cmd", "true", "--health-interval", "5s", "--health-timeout", "1m", "--health-retries", "3",
        "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"tru"
      "e\"],\"Interval\":5000000000,\"Timeout\":60000000000,\"Retries\":3},\"Image\":\"busybox\",\""
      "HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--no-healthcheck", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Healthcheck\":{\"Test\":[\"NONE\"]},\"Image\""
      ":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--entrypoint", "a b", "busybox", "x", "y" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Cmd\":[\"x\",\"y\"],\"Image\":\"busybox\",\"Entr"
      "ypoint\":[\"a b\"],\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"n"
      "o\"}}}" },
    { { "--entrypoint", "", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"Entrypoint\":[\"\"],\"Ho"
      "stConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--stop-signal", "TERM", "--stop-timeout", "3", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"StopSignal\":\"TERM\",\""
      "StopTimeout\":3,\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no"
      "\"}}}" },
    { { "--blkio-weight", "300", "--blkio-weight-device", "/dev/vda:100", "--device-read-bps", "/dev/vda:1mb",
        "--device-write-iops", "/dev/vda:10", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"BlkioWeight\":300,\"BlkioWeightDev"
      "ice\":[{\"Path\":\"/dev/vda\",\"Weight\":100}],\"BlkioDeviceReadBps\":[{\"Path\":\"/dev/vda\""
      ",\"Rate\":1048576}],\"BlkioDeviceWriteIOps\":[{\"Path\":\"/dev/vda\",\"Rate\":10}]}}" },
    { { "--gpus", "all", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"DeviceRequests\":[{\"Count\":-1,\"Ca"
      "pabilities\":[[\"gpu\"]]}]}}" },
    { { "--storage-opt", "size=1g", "--annotation", "x=y", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Annotations\":{\"x\":\"y\"},\"StorageO"
      "pt\":{\"size\":\"1g\"}}}" },
    { { "--volumes-from", "c:ro", "--volume-driver", "local", "--cgroup-parent", "p", "--runtime", "r",
        "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"VolumeDriver\":\"local\",\"VolumesFr"
      "om\":[\"c:ro\"],\"Runtime\":\"r\",\"CgroupParent\":\"p\"}}" },
    { { "-a", "stdout", "-a", "STDERR", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "-i", "-a", "stdin", "busybox", "cat" },
      "{\"AttachStdin\":true,\"OpenStdin\":true,\"StdinOnce\":true,\"Cmd\":[\"cat\"],\"Image\":\"bus"
      "ybox\",\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"}}}" },
    { { "--link", "x:y", "busybox" },
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"Image\":\"busybox\",\"HostConfig\":{\"Networ"
      "kMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},\"Links\":[\"x:y\"]}}" },
    { { "-eA=B", "-it", "--name=q", "-m64m", "busybox", "ls", "-l", "--all", "-e", "X" },
      "{\"AttachStdin\":true,\"AttachStdout\":true,\"AttachStderr\":true,\"Tty\":true,\"OpenStdi"
      "n\":true,\"StdinOnce\":true,\"Env\":[\"A=B\"],\"Cmd\":[\"ls\",\"-l\",\"--all\",\"-e\",\"X\"],\"Image"
      "\":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"default\",\"RestartPolicy\":{\"Name\":\"no\"},"
      "\"Memory\":67108864}}" },
};

static bool says_nothing(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           ((json_is_object(value) || json_is_array(value)) &&
            json_object_size(value) + json_array_size(value) == 0);
}

// Without the members that say nothing, all the way down.
static json_t *pruned(const json_t *value)
{
    const char *key;
    json_t *member, *kept;
    if (json_is_array(value)) {
        kept = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(kept, pruned(json_array_get(value, i)));
        return kept;
    }
    if (!json_is_object(value))
        return json_deep_copy(value);
    kept = json_object();
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        json_t *small = pruned(member);
        if (says_nothing(small))
            json_decref(small);
        else
            json_object_set_new(kept, key, small);
    }
    return kept;
}

static json_t *body_of(const char *const *words, struct error *err)
{
    char **argv CLEANUP(strv_freep) = NULL;
    struct options options CLEANUP(options_done) = { 0 };
    bool help;
    for (; *words; words++)
        strv_push(&argv, *words);
    if (options_parse(&options, create_options, argv, true, &help, err) < 0)
        return NULL;
    return create_body(&options, err);
}

static void sends_what_docker_sends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        struct error err = { 0 };
        json_t *full CLEANUP(json_cleanup) = body_of(recorded[i].argv, &err);
        if (!full)
            fail_msg("case %zu (%s): %s", i, recorded[i].argv[0], err.message);
        json_t *ours CLEANUP(json_cleanup) = pruned(full);
        json_t *wanted CLEANUP(json_cleanup) = NULL;
        assert_int_equal(json_parse(recorded[i].document, strlen(recorded[i].document), &wanted, &err), 0);
        if (!json_equal(ours, wanted)) {
            char *text CLEANUP(cleanup_free) = json_text(ours);
            fail_msg("case %zu (%s): sent %s, not %s", i, recorded[i].argv[0], text, recorded[i].document);
        }
    }
}

static void refuses_in_dockers_words(void **state)
{
    (void)state;
    static const struct {
        const char *argv[5], *message;
    } bad[] = {
        { { "-p", "x", "b" }, "invalid containerPort: x" },
        { { "-p", "1:2:3:4", "b" }, "invalid IP address: 1:2" },
        { { "-p", "8000-8001:1-3", "b" },
          "invalid ranges specified for container and host Ports: 1-3 and 8000-8001" },
        { { "-p", "70000", "b" }, "invalid containerPort: 70000" },
        { { "-p", "80/xyz", "b" }, "invalid proto: xyz" },
        { { "-v", "/a:/b:foo:bar", "b" }, "invalid spec: /a:/b:foo:bar: too many colons" },
        { { "-v", "", "b" }, "invalid empty volume spec" },
        { { "-e", "=x", "b" },
          "invalid argument \"=x\" for \"-e, --env\" flag: invalid environment variable: =x" },
        { { "-l", "", "b" }, "invalid argument \"\" for \"-l, --label\" flag: invalid label '': empty name" },
        { { "-a", "d", "b" },
          "invalid argument \"d\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR" },
        { { "--ulimit", "x", "b" },
          "invalid argument \"x\" for \"--ulimit\" flag: invalid ulimit argument: x" },
        { { "-m", "x", "b" }, "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'" },
        { { "--cpus", "x", "b" },
          "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number" },
        { { "--rm", "--restart=always", "b" },
          "conflicting options: cannot specify both --restart and --rm" },
        { { "--mount", "type=bind,b", "x" },
          "invalid argument \"type=bind,b\" for \"--mount\" flag: invalid field 'b' must be a "
          "key=value pair" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = { 0 };
        json_t *body CLEANUP(json_cleanup) = body_of(bad[i].argv, &err);
        assert_null(body);
        assert_string_equal(err.message, bad[i].message);
    }
}

static void csv_keeps_quoted_commas(void **state)
{
    (void)state;
    char **fields CLEANUP(strv_freep) = create_split_csv("a=1,\"src=/a,b\",\"q=\"\"x\"");
    assert_int_equal(strv_len(fields), 3);
    assert_string_equal(fields[1], "src=/a,b");
    assert_string_equal(fields[2], "q=\"x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_what_docker_sends),
        cmocka_unit_test(refuses_in_dockers_words),
        cmocka_unit_test(csv_keeps_quoted_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
