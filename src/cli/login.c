// login and logout.
#include "cli/commands.h"
#include "cli/credentials.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 * 1024 };

#define STORE_WARNING                                                                                       \
    "\nWARNING! Your credentials are stored unencrypted in '%s'.\nConfigure a credential helper to remove " \
    "this warning. See\nhttps://docs.docker.com/go/credential-store/\n"

// "https://host/v1/" -> "host"; none or Docker Hub's names -> CONFIG_HUB_SERVER. Owned.
static char *server_of(const struct options *options)
{
    const char *argument = options->arguments ? options->arguments[0] : NULL;
    if (str_is_empty(argument) || streq(argument, "docker.io") || streq(argument, CONFIG_HUB_SERVER))
        return xstrdup(CONFIG_HUB_SERVER);
    const char *scheme = strstr(argument, "://"), *host = scheme ? scheme + 3 : argument;
    return xstrndup(host, strcspn(host, "/"));
}

// --- asking
static char *read_line(void)
{
    struct str line = STR_INIT;
    char c;
    while (line.len < ANSWER_MAX && read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        str_append_char(&line, c);
    while (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.ptr[--line.len] = '\0';
    return str_take(&line);
}

static char *ask_password(void)
{
    struct termios usual, silent;
    bool is_changed = tcgetattr(STDIN_FILENO, &usual) == 0;
    silent = usual;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (is_changed)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &silent);
    char *password = read_line();
    if (is_changed)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &usual);
    (void)fd_write_all(STDOUT_FILENO, "\n", 1);
    return password;
}

static int read_password_stdin(char **ret, struct error *err)
{
    struct str text = STR_INIT;
    int r = file_read_fd(STDIN_FILENO, ANSWER_MAX, &text);
    if (r < 0) {
        str_done(&text);
        return error_errno(err, r, "read the password from standard input");
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.ptr[--text.len] = '\0';
    *ret = str_take(&text);
    return 0;
}

// What the command line does not say is asked for on the terminal.
static int ask(struct cli *cli, const char *known_username, struct login *login, struct error *err)
{
    if (!isatty(STDIN_FILENO))
        return error_set(err, ERROR_INVALID,
                         "Error: Cannot perform an interactive login from a non TTY device");
    if (!login->username) {
        cli_print(cli, known_username ? "Username (%s): " : "Username: ", known_username);
        (void)cli_flush(cli);
        char *line CLEANUP(cleanup_free) = read_line();
        login->username = xstrdup(*line ? line : known_username);
    }
    if (str_is_empty(login->username))
        return error_set(err, ERROR_INVALID, "Error: Non-null Username Required");
    if (!login->password) {
        cli_print(cli, "Password: ");
        (void)cli_flush(cli);
        login->password = ask_password();
    }
    return *login->password ? 0 : error_set(err, ERROR_INVALID, "Error: Password Required");
}

// --- login
static int authenticate(struct cli *cli, const char *server, struct login *login, char **ret_status,
                        struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object(), *answer CLEANUP(json_cleanup) = NULL;
    json_set_string(body, "serveraddress", server);
    json_set_string(body, "username", login->username ? login->username : "");
    json_set_string(body, "password", login->password ? login->password : "");
    if (login->identity_token)
        json_set_string(body, "identitytoken", login->identity_token);
    if (cli_call(cli, "POST", "/auth", body, &answer, err) < 0)
        return -1;
    const char *token = json_get_string(answer, "IdentityToken", "");
    if (*token)
        free_and_strdup(&login->identity_token, token);
    *ret_status = xstrdup(json_get_string(answer, "Status", ""));
    return 0;
}

static int keep(struct config_file *config, const char *server, const struct login *login, struct error *err)
{
    if (config_file_store(config, server, login, err) < 0)
        return -1;
    if (!config_file_helper(config, server))
        cli_complain(STORE_WARNING, config->path);
    return 0;
}

// With what is known already, unless a user was named.
static bool login_again(struct cli *cli, struct config_file *config, const char *server, struct login *login)
{
    struct error err;
    char *status CLEANUP(cleanup_free) = NULL;
    if (!login->identity_token && !(login->username && login->password))
        return false;
    if (login->username)
        cli_print(cli, "Authenticating with existing credentials... [Username: %s]\n", login->username);
    else
        cli_print(cli, "Authenticating with existing credentials...\n");
    (void)cli_flush(cli);
    if (authenticate(cli, server, login, &status, &err) < 0) {
        cli_complain("Login did not succeed, error: %s", err.message);
        return false;
    }
    if (config_file_store(config, server, login, &err) < 0) {
        cli_complain("%s", err.message);
        return false;
    }
    cli_print(cli, "%s\n", status);
    return true;
}

static int check_options(const struct options *options, struct error *err)
{
    bool has_password = options_has(options, "password"),
         from_stdin = options_bool(options, "password-stdin", false);
    if (has_password && from_stdin)
        return error_set(err, ERROR_INVALID,
                         "conflicting options: cannot specify both --password and --password-stdin");
    if (from_stdin && str_is_empty(options_string(options, "username", NULL)))
        return error_set(err, ERROR_INVALID, "the --password-stdin option requires --username to be set");
    if (has_password)
        cli_complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    return 0;
}

static int run_login(struct cli *cli, const struct options *options, struct error *err)
{
    struct config_file config CLEANUP(config_file_done) = { 0 };
    struct login known CLEANUP(login_done) = { 0 }, login CLEANUP(login_done) = { 0 };
    char *server CLEANUP(cleanup_free) = server_of(options), *status CLEANUP(cleanup_free) = NULL;
    struct error ignored;
    if (check_options(options, err) < 0 || config_file_load(cli->config_directory, &config, err) < 0)
        return -1;
    login.username = xstrdup(options_string(options, "username", NULL));
    login.password = xstrdup(options_string(options, "password", NULL));
    if (options_bool(options, "password-stdin", false) && read_password_stdin(&login.password, err) < 0)
        return -1;
    (void)config_file_get(&config, server, &known, &ignored);
    if (!login.username && !login.password && login_again(cli, &config, server, &known))
        return 0;
    if ((str_is_empty(login.username) || str_is_empty(login.password)) &&
        ask(cli, known.username, &login, err) < 0)
        return -1;
    if (authenticate(cli, server, &login, &status, err) < 0 || keep(&config, server, &login, err) < 0)
        return -1;
    cli_print(cli, "%s\n", status);
    return 0;
}

static int run_logout(struct cli *cli, const struct options *options, struct error *err)
{
    struct config_file config CLEANUP(config_file_done) = { 0 };
    char *server CLEANUP(cleanup_free) = server_of(options);
    if (config_file_load(cli->config_directory, &config, err) < 0)
        return -1;
    cli_print(cli, "Removing login credentials for %s\n", server);
    if (config_file_erase(&config, server, err) < 0)
        return error_wrap(err, "WARNING: could not erase credentials:\n%s", server);
    return 0;
}

static const struct option login_options[] = {
    { "password", 'p', OPTION_STRING, NULL, "Password or Personal Access Token (PAT)" },
    { "password-stdin", 0, OPTION_BOOL, NULL, "Take the Password or Personal Access Token (PAT) from stdin" },
    { "username", 'u', OPTION_STRING, NULL, "Username" },
    OPTION_END,
};
const struct command command_login = {
    "login", NULL, "[OPTIONS] [SERVER]", "Authenticate to a registry", login_options, 0, 1, false, run_login
};
const struct command command_logout = { "logout", NULL,  "[SERVER]", "Log out from a registry", NULL, 0,
                                        1,        false, run_logout };
