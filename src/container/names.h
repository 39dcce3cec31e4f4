// Container names: generated ones and the rule for given ones.
#pragma once

#include "base/error.h"

#include <stdbool.h>

enum { NAME_MAX_LEN = 255 };

// "adjective_surname"; attempt > 0 gets a digit appended, as a second try after a clash. Owned.
char *name_generate(unsigned attempt);
// Docker's rule [a-zA-Z0-9][a-zA-Z0-9_.-]+ ; ERROR_INVALID in its words. `name` without leading "/".
int name_check(const char *name, struct error *err);
