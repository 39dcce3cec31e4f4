// Error kind to HTTP status: the only place.
#pragma once

#include "base/error.h"

int api_status_of(enum error_kind kind);
