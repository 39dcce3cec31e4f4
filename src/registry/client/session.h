// The open repository, as the files of registry/client share it.
#pragma once

#include "registry/client/client.h"
#include "registry/client/transfer.h"

#include <pthread.h>

struct registry_repository {
    char *base; // "https://host:port", no slash at the end
    char *name;
    char *username, *password, *identity_token, *registry_token;
    char *ca_file; // NULL: the system's only
    char **insecure;
    bool is_unverified; // this registry is in the list
    struct registry_options options;

    pthread_mutex_t
        auth_lock;       // guards the two below; held while a token is fetched, so that it is fetched once
    char *authorization; // NULL: none yet
    unsigned authorization_count; // how often it was made

    pthread_mutex_t pool_lock; // guards idle
    struct transfer *idle;     // with their connections
};

struct transfer *session_take_transfer(struct registry_repository *repository);
void session_give_transfer(struct registry_repository *repository, struct transfer *transfer);

// GET base + path with authorization and redirects; the head is there when this returns 0 and `status` is
// 2xx. Other statuses are errors, in the words of the registry's own error document where it sent one.
// headers: strv, may be NULL; range_from > 0 asks for a part.
int session_get(struct registry_repository *repository, struct transfer *transfer, const char *path,
                char *const *headers, uint64_t range_from, struct error *err);
