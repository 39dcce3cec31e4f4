#include "container.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char busybox[] = "/bin/busybox";

bool container_is_possible(void)
{
    return geteuid() == 0 && access(busybox, X_OK) == 0;
}

static const char base_config[] =
    "{ \"ociVersion\": \"1.1.0\", \"hostname\": \"tester\", \"root\": { \"path\": \"plain\" },"
    "  \"process\": { \"cwd\": \"/\", \"args\": [\"/bin/true\"], \"env\": [\"PATH=/bin:/sbin\", "
    "\"HOME=/root\"],"
    "    \"user\": { \"uid\": 0, \"gid\": 0 }, \"capabilities\": {"
    "      \"bounding\": [\"CAP_CHOWN\", \"CAP_KILL\", \"CAP_SETUID\", \"CAP_SETGID\", \"CAP_MKNOD\", "
    "\"CAP_DAC_OVERRIDE\"],"
    "      \"effective\": [\"CAP_CHOWN\", \"CAP_KILL\", \"CAP_SETUID\", \"CAP_SETGID\", \"CAP_MKNOD\", "
    "\"CAP_DAC_OVERRIDE\"],"
    "      \"permitted\": [\"CAP_CHOWN\", \"CAP_KILL\", \"CAP_SETUID\", \"CAP_SETGID\", \"CAP_MKNOD\", "
    "\"CAP_DAC_OVERRIDE\"] } },"
    "  \"mounts\": ["
    "    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\", \"options\": [\"nosuid\", "
    "\"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", \"options\": [\"nosuid\", "
    "\"strictatime\", \"mode=755\", \"size=65536k\"] },"
    "    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\", \"options\": "
    "[\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\", \"gid=5\"] },"
    "    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\", \"options\": [\"nosuid\", "
    "\"noexec\", \"nodev\", \"ro\"] },"
    "    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\", \"options\": "
    "[\"ro\", \"nosuid\", \"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\", \"options\": "
    "[\"nosuid\", \"noexec\", \"nodev\"] },"
    "    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\", \"options\": "
    "[\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"] } ],"
    "  \"linux\": { \"namespaces\": [ {\"type\": \"pid\"}, {\"type\": \"network\"}, {\"type\": \"ipc\"}, "
    "{\"type\": \"uts\"}, {\"type\": \"mount\"}, {\"type\": \"cgroup\"} ],"
    "    \"resources\": { \"devices\": [ { \"allow\": false, \"access\": \"rwm\" } ] },"
    "    \"maskedPaths\": [\"/proc/acpi\", \"/proc/kcore\", \"/proc/keys\", \"/proc/timer_list\", "
    "\"/sys/firmware\", \"/proc/nothing\"],"
    "    \"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", "
    "\"/proc/sysrq-trigger\"] } }";

static void make_folder(const struct container *c, const char *name)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", c->folder, name);
    assert_int_equal(dir_make_all(path, 0755), 0);
}

static void copy_busybox(const char *to)
{
    struct str bytes = STR_INIT;
    assert_int_equal(file_read_at(AT_FDCWD, busybox, 16 << 20, &bytes), 0);
    assert_int_equal(file_replace_at(AT_FDCWD, to, 0755, bytes.ptr, bytes.len, false), 0);
    str_done(&bytes);
}

static void make_root(const struct container *c, const char *name)
{
    static const char *const applets[] = { "sh",       "true", "cat",   "id",    "ls",    "echo",
                                           "mount",    "stat", "sleep", "touch", "mkdir", "ip",
                                           "hostname", "grep", "pwd",   "tty",   "mknod", "chown",
                                           "kill",     "wc",   "dd",    "umask", "test" };
    static const char *const folders[] = { "bin", "proc", "dev", "sys", "etc", "root", "tmp" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", name, folders[i]);
        make_folder(c, path);
    }
    char *target CLEANUP(cleanup_free) = xasprintf("%s/%s/bin/busybox", c->folder, name);
    copy_busybox(target);
    for (size_t i = 0; i < sizeof applets / sizeof *applets; i++) {
        char *link_path CLEANUP(cleanup_free) = xasprintf("%s/%s/bin/%s", c->folder, name, applets[i]);
        assert_int_equal(symlink("busybox", link_path), 0);
    }
}

void container_init(struct container *c)
{
    struct error err;
    char id[13];
    *c = (struct container){ .has_layers = true,
                             .seccomp_fd = FD_NONE,
                             .out_fd = FD_NONE,
                             .folder = xstrdup("/tmp/skiff-runtime-XXXXXX") };
    c->process.pidfd = c->process.report_fd = c->process.terminal_fd = FD_NONE;
    c->process.late_fds[0] = c->process.late_fds[1] = FD_NONE;
    assert_non_null(mkdtemp(c->folder));
    assert_int_equal(chmod(c->folder, 0700),
                     0); // nobody but the host's root may pass: the container must not need to
    make_root(c, "layers/base");
    make_folder(c, "layers/extra/etc");
    make_folder(c, "c/upper");
    make_folder(c, "c/work");
    char *marker CLEANUP(cleanup_free) = xasprintf("%s/layers/extra/etc/marker", c->folder);
    assert_int_equal(file_replace_at(AT_FDCWD, marker, 0644, "extra\n", 6, false), 0);
    if (json_parse(base_config, strlen(base_config), &c->document, &err) < 0)
        fail_msg("%s", err.message);
    id_random_hex(id, 12);
    snprintf(c->cgroup_path, sizeof c->cgroup_path, "/skiff-test/%s", id);
}

void container_done(struct container *c)
{
    struct error err;
    fd_close(c->out_fd);
    fd_close(c->seccomp_fd);
    (void)runtime_destroy(&c->process, &err);
    json_decref(c->document);
    assert_int_equal(dir_remove_all_at(AT_FDCWD, c->folder), 0);
    free(c->folder);
    static const char *const tops[] = {
        "memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio", "."
    };
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
        char *parent CLEANUP(cleanup_free) = xasprintf("/sys/fs/cgroup/%s/skiff-test", tops[i]);
        (void)rmdir(parent); // another test may be using it
    }
}

json_t *container_process(struct container *c)
{
    return json_object_get(c->document, "process");
}

json_t *container_linux(struct container *c)
{
    return json_object_get(c->document, "linux");
}

void container_set_args(struct container *c, const char *first, ...)
{
    json_t *args = json_array();
    va_list ap;
    va_start(ap, first);
    for (const char *s = first; s; s = va_arg(ap, const char *))
        json_array_append_new(args, json_string(s));
    va_end(ap);
    json_object_set_new(container_process(c), "args", args);
}

void container_set_shell(struct container *c, const char *command)
{
    container_set_args(c, "/bin/sh", "-c", command, NULL);
}

void container_add_mount(struct container *c, const char *type, const char *source, const char *destination,
                         const char *options)
{
    char **list = strv_split(options, ",", false);
    json_t *mount = json_pack("{s:s, s:s, s:o}", "destination", destination, "type", type, "options",
                              json_from_strv(list));
    if (source)
        json_object_set_new(mount, "source", json_string(source));
    json_array_append_new(json_object_get(c->document, "mounts"), mount);
    strv_free(list);
}

void container_remove_namespace(struct container *c, const char *type, const char *path)
{
    json_t *list = json_object_get(container_linux(c), "namespaces"), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (!streq(json_string_value(json_object_get(item, "type")), type))
            continue;
        if (path)
            json_object_set_new(item, "path", json_string(path));
        else
            json_array_remove(list, i);
        return;
    }
}

static void add_userns(struct container *c)
{
    json_t *linux_object = container_linux(c);
    json_array_append_new(json_object_get(linux_object, "namespaces"), json_pack("{s:s}", "type", "user"));
    json_object_set_new(linux_object, "uidMappings",
                        json_pack("[{s:i,s:i,s:i}]", "containerID", 0, "hostID", 300000, "size", 65536));
    json_object_set_new(linux_object, "gidMappings",
                        json_pack("[{s:i,s:i,s:i}]", "containerID", 0, "hostID", 300000, "size", 65536));
}

static int input_pipe(const char *text)
{
    int in[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    if (text)
        assert_int_equal(fd_write_all(in[1], text, strlen(text)), 0);
    fd_close(in[1]);
    return in[0];
}

// The configuration with what belongs to it; in the embryo, another process, it is made anew from the document.
struct setting {
    struct oci_runtime_config config;
    struct runtime_rootfs rootfs;
    char *lower[3];
    struct runtime_spec spec;
};

static int setting_init(struct setting *s, const struct container *c, const json_t *document,
                        struct error *err)
{
    static char extra[] = "extra", base[] = "base";
    *s = (struct setting){ .lower = { extra, base, NULL } };
    s->rootfs = (struct runtime_rootfs){ .layers_dir = xasprintf("%s/layers", c->folder),
                                         .lower = s->lower,
                                         .upper_parent = xasprintf("%s/c", c->folder),
                                         .is_volatile = true };
    if (oci_runtime_config_parse(document, &s->config, err) < 0)
        return -1;
    s->spec = (struct runtime_spec){ .config = &s->config,
                                     .rootfs = c->has_layers ? &s->rootfs : NULL,
                                     .bundle = c->folder,
                                     .cgroup_path = c->cgroup_path,
                                     .seccomp_fd = FD_NONE,
                                     .stdio = { FD_NONE, FD_NONE, FD_NONE } };
    return 0;
}

static void setting_done(struct setting *s)
{
    free(s->rootfs.layers_dir);
    free(s->rootfs.upper_parent);
    oci_runtime_config_done(&s->config);
}

static const struct container *embryo_container; // a fork remembers it

static int replan(int document_fd, struct runtime_plan **ret, struct error *err)
{
    static struct setting setting;
    struct str text = STR_INIT;
    json_t *document = NULL;
    if (file_read_fd(document_fd, 1 << 20, &text) < 0 || json_parse(text.ptr, text.len, &document, err) < 0 ||
        setting_init(&setting, embryo_container, document, err) < 0)
        return -1;
    return runtime_plan_new(&setting.spec, ret, err);
}

static int create_and_start(struct container *c, struct runtime_plan *plan, struct error *err)
{
    struct runtime_embryo embryo = { .pidfd = FD_NONE, .report_fd = FD_NONE };
    char *text CLEANUP(cleanup_free) = json_dumps(c->document, 0);
    int document CLEANUP(cleanup_close) = fd_from_bytes("document", text, strlen(text));
    embryo_container = c;
    if (c->has_embryo && runtime_embryo_new("/skiff-test/embryo", replan, &embryo, err) < 0)
        return -1;
    assert_int_equal(runtime_embryo_suits(&embryo, plan), c->has_embryo && c->wants_userns);
    int r = runtime_create_begin(plan, &embryo, document, &c->process, err);
    runtime_embryo_done(&embryo); // nothing is left of one that suited
    if (r < 0 || runtime_create_finish(plan, &c->process, err) < 0)
        return -1;
    if (runtime_start(&c->process, err) == 0)
        return 0;
    struct error ignored;
    (void)runtime_destroy(&c->process, &ignored);
    return -1;
}

int container_begin(struct container *c, struct error *err)
{
    struct setting setting CLEANUP(setting_done) = { 0 };
    int out[2];
    if (c->wants_userns)
        add_userns(c);
    if (!c->has_layers && access(c->folder, F_OK) == 0)
        json_object_set_new(json_object_get(c->document, "root"), "path", json_string("layers/base"));
    if (setting_init(&setting, c, c->document, err) < 0)
        return -1;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    int in = input_pipe(c->input);
    setting.spec.seccomp_fd = c->seccomp_fd;
    setting.spec.stdio[0] = in;
    setting.spec.stdio[1] = setting.spec.stdio[2] = out[1];
    struct runtime_plan *plan = NULL;
    int r = runtime_plan_new(&setting.spec, &plan, err);
    if (r == 0)
        r = create_and_start(c, plan, err);
    runtime_plan_free(plan);
    fd_close(in);
    fd_close(out[1]);
    if (r < 0)
        fd_close(out[0]);
    else
        c->out_fd = out[0];
    return r;
}

int container_end(struct container *c, char **ret_output)
{
    struct str out = STR_INIT;
    struct error err;
    siginfo_t info = { 0 };
    assert_int_equal(file_read_fd(c->out_fd, 1 << 20, &out), 0);
    c->out_fd = fd_close(c->out_fd);
    assert_int_equal(waitid((idtype_t)P_PIDFD, (id_t)c->process.pidfd, &info, WEXITED), 0);
    if (runtime_destroy(&c->process, &err) < 0)
        fail_msg("destroy: %s", err.message);
    *ret_output = str_take(&out);
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

char *container_run(struct container *c, int *ret_status)
{
    struct error err;
    char *output = NULL;
    if (container_begin(c, &err) < 0)
        fail_msg("start: %s", err.message);
    int status = container_end(c, &output);
    if (ret_status)
        *ret_status = status;
    return output;
}
