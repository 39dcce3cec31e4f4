// The open repository, as the files of registry/client share it.
#pragma once

#include "registry/client/client.h"
#include "registry/client/transfer.h"

#include <pthread.h>

struct registry_repository {
    char *base; // "https://host:port", no slash at the end
    char *name; // NULL: no repository in particular (login)
    char *username, *password, *identity_token, *registry_token;
    char *ca_file;                  // NULL: the system's only
    char *client_cert, *client_key; // both or none
    char **insecure;
    char *mirror_url;   // what options.mirror_url points at
    bool is_unverified; // this registry is in the list
    char **mount_from;
    char *given_identity_token; // by a token server that was asked without a repository; guarded by auth_lock
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

// Something failed in a way that may pass: wait before the try after `tries` failed ones. False: not again (too often, told to wait
// too long, or cancelled).
bool session_wait(struct registry_repository *repository, const struct transfer *transfer, unsigned tries);

// GET base + path with authorization and redirects; the head is there when this returns 0 and `status` is
// 2xx. Other statuses are errors, in the words of the registry's own error document where it sent one.
// headers: strv, may be NULL; range_from > 0 asks for a part.
int session_get(struct registry_repository *repository, struct transfer *transfer, const char *path,
                char *const *headers, uint64_t range_from, struct error *err);

struct session_request {
    const char *method;
    const char *path;     // from the registry's root, or a whole URL as a Location gave it
    char *const *headers; // strv, may be NULL
    const void *body;
    size_t body_n;
    const struct reader *stream; // see struct transfer_request
    void (*on_sent)(void *context, uint64_t n);
    void *sent_context;
    bool is_unconditional; // sent even when the work it belongs to has been cancelled
};
// The same, tried again while it fails in a way that may pass.
int session_get_patiently(struct registry_repository *repository, struct transfer *transfer, const char *path,
                          char *const *headers, struct error *err);
// The same for any method and with a body; 2xx is success, redirects are followed. A stream is never sent
// twice: a challenge or redirect in its midst is an error. *ret_url (may be NULL): owned, where the answer came from.
int session_send(struct registry_repository *repository, struct transfer *transfer,
                 const struct session_request *what, char **ret_url, struct error *err);
