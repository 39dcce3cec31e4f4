// Figures for Prometheus on a listener of their own (--metrics-addr).
#pragma once

#include "engine/engine.h"
#include "http/server.h"

// GET /metrics in the text exposition format, version 0.0.4; anything else is 404. The engine is borrowed and must outlive it.
struct http_handler metrics_handler(struct engine *engine);
