// Sizes and times for people, worded as Docker's (docker/go-units), and text cut to a width.
#pragma once

#include "base/str.h"

#include <stdint.h>

enum { HUMAN_MAX = 48 };

// "Less than a second", "5 seconds", "About a minute", "3 hours", "2 weeks", ...
void human_duration(int64_t ns, char text[static HUMAN_MAX]);
// Powers of 1000 with this many significant digits: "4.57MB" (3), "12.35MB" (4).
void human_size(double bytes, int digits, char text[static HUMAN_MAX]);
// Powers of 1024 with four digits: "7.451GiB".
void human_size_1024(double bytes, char text[static HUMAN_MAX]);
// At most `columns` characters (UTF-8), the last one an ellipsis when cut. Owned.
char *human_cut(const char *text, size_t columns);
// Characters in a UTF-8 text.
size_t human_width(const char *text, size_t n);
// "2026-01-02 03:04:05 +0000 UTC", in the local zone as Go's Time.String() without fraction.
void human_time(int64_t seconds, char text[static HUMAN_MAX]);
