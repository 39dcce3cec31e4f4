// Base64 (RFC 4648): decoding takes the standard and the URL alphabet, with or without padding.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

// Append the decoded bytes; false when text is not base64 (out then holds a part).
bool base64_decode(struct str *out, const char *text);
// Append n bytes as text with padding: '+' and '/', or '-' and '_' when is_url.
void base64_encode(struct str *out, const void *bytes, size_t n, bool is_url);
