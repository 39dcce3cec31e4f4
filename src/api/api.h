// The Docker Engine API, versions 1.24 to 1.51, over an engine: decode and validate, call, encode.
#pragma once

#include "engine/engine.h"
#include "http/server.h"

struct api;

// The engine is borrowed and must outlive it.
struct api *api_new(struct engine *engine);
void api_free(struct api *api);
// For http_server_new; the context is the api.
struct http_handler api_handler(struct api *api);
