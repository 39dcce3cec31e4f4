#include "cli/credential_helper.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOKEN_USERNAME "<token>" // of a helper's entry whose secret is an identity token
#define NOT_FOUND      "credentials not found in native keychain"

enum { ANSWER_MAX = 1 << 20 };

// A name is part of a program's name, never a path.
static int program_of(const char *name, char **ret, struct error *err)
{
    if (strchr(name, '/'))
        return error_set(err, ERROR_INVALID, "credential helper \"%s\": not the name of a helper", name);
    *ret = xasprintf("docker-credential-%s", name);
    return 0;
}

static int spawn(const char *program, const char *verb, int input, int output, pid_t *ret)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    char *program_copy CLEANUP(cleanup_free) = xstrdup(program),
                       *verb_copy CLEANUP(cleanup_free) = xstrdup(verb);
    int r =
        posix_spawnp(ret, program, &actions, NULL, (char *const[]){ program_copy, verb_copy, NULL }, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

// Run it with `input`; its output is appended to out. The exit status, or -1 with *err when it could not be run.
static int run(const char *name, const char *verb, const char *input, struct str *out, struct error *err)
{
    char *program CLEANUP(cleanup_free) = NULL;
    int ends[2], status = 0;
    pid_t pid;
    if (program_of(name, &program, err) < 0)
        return -1;
    int in CLEANUP(cleanup_close) = fd_from_bytes("credentials", input, strlen(input));
    if (in < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, in < 0 ? in : errno, "run %s", program);
    int r = spawn(program, verb, in, ends[1], &pid);
    fd_close(ends[1]);
    if (r < 0) {
        fd_close(ends[0]);
        error_set(err, ERROR_UNAVAILABLE, "exec: \"%s\": %s", program,
                  r == -ENOENT ? "executable file not found in $PATH" : strerrordesc_np(-r));
        return -1;
    }
    r = file_read_fd(ends[0], ANSWER_MAX, out);
    fd_close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (r < 0)
        return error_errno(err, r, "read %s", program);
    while (out->len > 0 && strchr(" \t\r\n", out->ptr[out->len - 1]))
        out->ptr[--out->len] = '\0';
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int failed(const char *doing, int status, const struct str *out, struct error *err)
{
    return error_set(err, ERROR_UNAVAILABLE, "error %s credentials - err: exit status %d, out: `%.300s`",
                     doing, status, out->ptr);
}

int credential_helper_get(const char *name, const char *server, struct login *ret, struct error *err)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    *ret = (struct login){ 0 };
    int status = run(name, "get", server, &out, err);
    if (status < 0)
        return error_wrap(err, "error getting credentials - err");
    if (status > 0)
        return strstr(out.ptr, NOT_FOUND) ? 0 : failed("getting", status, &out, err);
    int r = json_parse(out.ptr, out.len, &answer, err);
    explicit_bzero(out.ptr, out.len);
    if (r < 0)
        return error_wrap(err, "error getting credentials - err");
    const char *username = json_get_string(answer, "Username", ""),
               *secret = json_get_string(answer, "Secret", "");
    if (streq(username, TOKEN_USERNAME)) {
        ret->identity_token = xstrdup(secret);
    } else {
        ret->username = xstrdup(username);
        ret->password = xstrdup(secret);
    }
    return 0;
}

int credential_helper_store(const char *name, const char *server, const struct login *login,
                            struct error *err)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    json_t *document CLEANUP(json_cleanup) = json_object();
    json_set_string(document, "ServerURL", server);
    json_set_string(document, "Username", login->identity_token ? TOKEN_USERNAME : login->username);
    json_set_string(document, "Secret", login->identity_token ? login->identity_token : login->password);
    char *text = json_text(document);
    int status = run(name, "store", text, &out, err);
    explicit_bzero(text, strlen(text));
    free(text);
    if (status < 0)
        return error_wrap(err, "error storing credentials - err");
    return status > 0 ? failed("storing", status, &out, err) : 0;
}

int credential_helper_erase(const char *name, const char *server, struct error *err)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    int status = run(name, "erase", server, &out, err);
    if (status < 0)
        return error_wrap(err, "error erasing credentials - err");
    return status > 0 && !strstr(out.ptr, NOT_FOUND) ? failed("erasing", status, &out, err) : 0;
}
