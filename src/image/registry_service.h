// Questions to registries that bring no image: are credentials good, what is there, what is it.
#pragma once

#include "image/image.h"

// `server` as clients name it: "", "https://index.docker.io/v1/", "localhost:5000", "https://host/path". *ret_identity_token: owned or
// NULL. ERROR_UNAUTHORISED when the credentials are refused.
int image_registry_login(struct image_service *images, const char *server, const struct registry_auth *auth,
                         char **ret_identity_token, struct error *err);

struct image_search {
    const char *term;              // "[host/]words"
    unsigned limit;                // 1 to 100
    int is_official, is_automated; // 1, 0; -1: either
    int64_t min_stars;
};
// *ret: JSON array of {"name","description","star_count","is_official","is_automated"}, owned.
int image_registry_search(struct image_service *images, const struct image_search *search,
                          const struct registry_auth *auth, json_t **ret, struct error *err);

// What a reference stands for at its registry: {"Descriptor":{..},"Platforms":[..]}, owned. Source: API `GET /distribution/{name}/json`.
int image_registry_inspect(struct image_service *images, const char *reference,
                           const struct registry_auth *auth, json_t **ret, struct error *err);
