// The running kernel's version, for features that cannot be asked for.
#pragma once

#include <stdbool.h>

bool kernel_is_at_least(unsigned major, unsigned minor);
