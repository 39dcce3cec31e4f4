// Random identifiers as Docker prints them.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { ID_LEN = 64, ID_SHORT_LEN = 12 };

// 64 random lower-case hex digits, NUL-terminated. An id whose first 12 digits are all decimal is never given out
// (host names made of digits only are not valid).
void id_new(char id[static ID_LEN + 1]);
// Random hex of n digits (n even, <= 128), NUL-terminated into text[n + 1].
void id_random_hex(char *text, size_t n);
// 64 lower-case hex digits.
bool id_is_full(const char *s);
// 1 to 64 lower-case hex digits: may be the beginning of an id.
bool id_is_prefix(const char *s);
