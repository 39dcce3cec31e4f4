#include "cli/credentials.h"

#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <string.h>

static void set(json_t *document, const char *key, const char *value)
{
    if (!str_is_empty(value))
        json_set_string(document, key, value);
}

char *credentials_encode(const struct login *login, const char *server)
{
    json_t *document CLEANUP(json_cleanup) = json_object();
    struct str out = STR_INIT;
    set(document, "username", login->username);
    set(document, "password", login->password);
    set(document, "identitytoken", login->identity_token);
    set(document, "registrytoken", login->registry_token);
    set(document, "serveraddress", server);
    char *text = json_text(document);
    base64_encode(&out, text, strlen(text), true);
    explicit_bzero(text, strlen(text));
    free(text);
    return str_take(&out);
}

void credentials_send(struct cli *cli, const char *reference)
{
    struct error err;
    struct config_file config CLEANUP(config_file_done) = { 0 };
    struct login login CLEANUP(login_done) = { 0 };
    char *server CLEANUP(cleanup_free) = config_server_of(reference);
    if (config_file_load(cli->config_directory, &config, &err) < 0) {
        cli_complain("WARNING: %s", err.message);
        return;
    }
    if (config_file_get(&config, server, &login, &err) < 0) {
        if (cli->debug)
            cli_complain("%s", err.message);
        return;
    }
    if (!login.username && !login.identity_token && !login.registry_token)
        return;
    char *value CLEANUP(cleanup_free) = credentials_encode(&login, server);
    free(cli->client.next_header);
    cli->client.next_header = xasprintf("X-Registry-Auth: %s", value);
}
