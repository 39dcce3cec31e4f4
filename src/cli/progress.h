// Progress documents of pull, load and import ({"id","status","progressDetail",...}) shown as Docker shows
// them.
#pragma once

#include "cli/cli.h"

// Show the stream on fd until it ends. A line with "error" ends it: ERROR_INTERNAL with that text.
// is_quiet: nothing is shown, errors still count. A document with "stream" prints as it is.
int progress_show(const struct client_stream *stream, int fd, bool is_quiet, struct error *err);
