// Archives that the engine sends, into a file or standard output.
#pragma once

#include "cli/cli.h"

// GET target into the file at path (NULL: standard output, which must not be a terminal). The file's name appears when the
// archive is whole. verb: "save", for messages.
int output_tar(struct cli *cli, const char *target, const char *path, const char *verb, struct error *err);
