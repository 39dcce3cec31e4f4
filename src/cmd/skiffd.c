// skiffd: the engine. Options, sockets, the engine, and serving until SIGTERM or SIGINT; containers run on without it.
#include "api/api.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/daemon_listen.h"
#include "cmd/daemon_options.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, MAX_METRICS_CONNECTIONS = 64, GRACE_MS = 500 };

static int stop_fd = FD_NONE;

static void on_stop(int signal)
{
    (void)signal;
    int saved = errno;
    (void)!write(stop_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    errno = saved;
}

static void on_pipe(int signal)
{
    (void)signal;
}

// Handlers, not SIG_IGN and not a blocked mask: those would be inherited by what is spawned. And a process that holds
// 40 containers must stay small: one arena for all threads, freed memory given back.
static void prepare_process(void)
{
    struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESTART },
                     ignored = { .sa_handler = on_pipe, .sa_flags = SA_RESTART };
    struct rlimit files;
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignored, NULL);
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    umask(0022);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

// Another of our programs: it stands beside skiffd. Owned.
static char *path_beside(const char *program)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    return xasprintf("%.*s/%s", slash ? (int)(slash - self) : 0, self, program);
}

// --ip is an address somebody chose: it counts more.
static const char *publish_address(const struct daemon_options *o)
{
    return o->publishes_locally && str_is_empty(o->default_publish_ip) ? "127.0.0.1" : o->default_publish_ip;
}

static struct engine_options engine_options_of(const struct daemon_options *o, const char *shim,
                                               const char *init, const char *netd)
{
    return (struct engine_options){
        .data_root = o->data_root,
        .exec_root = o->exec_root,
        .shim_program = shim,
        .cgroup_parent = o->cgroup_parent,
        .userns_mode = o->userns_mode,
        .seccomp_profile = o->seccomp_profile,
        .insecure_registries = o->insecure_registries,
        .layer_limits = { .max_bytes = o->layer_max_bytes, .max_entries = (uint64_t)o->layer_max_entries },
        .registry_mirrors = o->hub_mirrors,
        .registries = &o->registries,
        .cdi_directories = o->cdi_directories,
        .stop_timeout_s = o->stop_timeout_s,
        .init_program = init,
        .netd_program = netd,
        .has_init = o->has_init,
        .labels = o->labels,
        .log_driver = o->log_driver,
        .log_options = o->log_options,
        .is_debug = o->log_level == LOG_LEVEL_DEBUG,
        .gc = { .unused_ns = o->image_gc_unused_days * 86400 * NS_PER_S,
                .keep_last = (unsigned)o->image_gc_keep_last,
                .disk_high = (unsigned)o->image_gc_disk_high,
                .disk_low = (unsigned)o->image_gc_disk_low,
                .keeps = o->image_gc_keeps },
        .gc_interval_s = o->image_gc_interval_s,
        .dedups_images = o->dedups_images,
        .signature_policy = o->signature_policy,
        .network = { .bridge = o->bridge,
                     .bip = o->bip,
                     .mtu = o->mtu,
                     .has_masquerade = o->has_ip_masq,
                     .has_ip_forward = o->has_ip_forward,
                     .default_publish_ip = publish_address(o),
                     .is_inter_container_allowed = o->has_icc,
                     .has_bridge_names = o->has_bridge_names },
    };
}

static int listen_all(const struct daemon_options *o, int *sockets, struct error *err)
{
    for (size_t i = 0; o->hosts[i]; i++) {
        if (daemon_listen(o->hosts[i], o->group, &sockets[i], err) < 0)
            return -1;
        if (str_has_prefix(o->hosts[i], "tcp://"))
            log_warn("the API at %s is neither encrypted nor authenticated: whoever reaches it is root here",
                     o->hosts[i]);
    }
    return 0;
}

// Figures for Prometheus have a listener and a server of their own, so that whoever may read them may do nothing else.
struct metrics {
    int socket; // FD_NONE: none wanted
    struct http_server *server;
    pthread_t thread;
    bool is_running;
};

static void *metrics_run(void *context)
{
    struct metrics *m = context;
    (void)http_server_run(m->server, &m->socket, 1, stop_fd, GRACE_MS);
    return NULL;
}

static int metrics_start(struct metrics *m, const struct daemon_options *o, struct engine *engine,
                         struct error *err)
{
    if (!o->metrics_address)
        return 0;
    CLEANUP(cleanup_free) char *url = xasprintf("tcp://%s", o->metrics_address);
    int r = daemon_listen(url, NULL, &m->socket, err);
    if (r < 0)
        return r;
    r = http_server_new(metrics_handler(engine), MAX_METRICS_CONNECTIONS, &m->server);
    if (r == 0)
        r = -pthread_create(&m->thread, NULL, metrics_run, m);
    m->is_running = r == 0;
    return r < 0 ? error_errno(err, r, "serve metrics at %s", o->metrics_address) : 0;
}

// stop_fd is readable.
static void metrics_stop(struct metrics *m)
{
    if (m->is_running)
        pthread_join(m->thread, NULL);
    http_server_free(m->server);
    fd_close(m->socket);
}

static int serve(const struct daemon_options *o, struct error *err)
{
    int64_t begun_ns = time_monotonic_ns();
    size_t count = strv_len(o->hosts);
    CLEANUP(cleanup_free) int *sockets = xcalloc(count, sizeof *sockets);
    CLEANUP(cleanup_free) char *shim = path_beside("skiff-shim");
    CLEANUP(cleanup_free) char *init = path_beside("skiff-init");
    CLEANUP(cleanup_free) char *netd = path_beside("skiff-netd");
    struct engine_options options = engine_options_of(o, shim, init, netd);
    struct engine *engine = NULL;
    struct api *api = NULL;
    struct http_server *server = NULL;
    struct metrics metrics = { .socket = FD_NONE };
    bool has_pidfile = false;
    for (size_t i = 0; i < count; i++)
        sockets[i] = FD_NONE;
    int r = daemon_pidfile_write(o->pidfile, err);
    has_pidfile = r == 0;
    if (r == 0)
        r = engine_open(&options, &engine, err);
    if (r == 0)
        r = listen_all(o, sockets, err);
    if (r == 0) {
        api = api_new(engine);
        r = http_server_new(api_handler(api), MAX_CONNECTIONS, &server);
        if (r < 0)
            error_errno(err, r, "start the server");
    }
    if (r == 0)
        r = metrics_start(&metrics, o, engine, err);
    if (r == 0) {
        log_info("skiffd %s serves %s after %lld ms", SKIFF_VERSION, o->hosts[0],
                 (long long)((time_monotonic_ns() - begun_ns) / NS_PER_MS));
        bool is_quiet = http_server_run(server, sockets, count, stop_fd, GRACE_MS) == 0;
        log_info("skiffd ends; containers run on");
        for (size_t i = 0; i < count; i++)
            daemon_unlisten(o->hosts[i]);
        daemon_pidfile_remove(o->pidfile);
        if (!is_quiet) // handlers still use the engine: leave it to the end of the process
            _exit(0);
        has_pidfile = false;
    }
    if (has_pidfile)
        daemon_pidfile_remove(o->pidfile);
    metrics_stop(&metrics);
    http_server_free(server);
    api_free(api);
    engine_close(engine);
    for (size_t i = 0; i < count; i++)
        fd_close(sockets[i]);
    return r;
}

int main(int argc, char **argv)
{
    struct daemon_options options;
    struct error err;
    int r = daemon_options_parse(argc, argv, &options, &err);
    if (r == 0 && options.wants_help) {
        CLEANUP(cleanup_free) char *help = daemon_options_help();
        fputs(help, stdout);
    } else if (r == 0 && options.wants_version) {
        printf("skiffd version %s\n", SKIFF_VERSION);
    } else if (r == 0 && options.wants_validate) {
        puts("configuration OK");
    } else if (r == 0) {
        log_set_level(options.log_level);
        prepare_process();
        r = serve(&options, &err);
    }
    if (r < 0)
        fprintf(stderr, "skiffd: %s\n", err.message);
    daemon_options_done(&options);
    return r < 0 ? 1 : 0;
}
