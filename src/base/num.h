// Numbers out of text, whole string or nothing: no sign, space, prefix or trailing byte is let through.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Decimal digits only, at most max. False (and *ret untouched) otherwise.
bool parse_u64(const char *s, uint64_t max, uint64_t *ret);
bool parse_u32(const char *s, uint32_t max, uint32_t *ret);
// An optional leading '-'.
bool parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
// Digits in base 8, as file modes are written; a leading 0 or 0o is fine.
bool parse_octal(const char *s, uint32_t max, uint32_t *ret);
// Docker's RAMInBytes: a decimal number, optionally with a fraction, and a unit b, k, m, g, t, p (with optional "b" or
// "ib", any case), powers of 1024: "512m", "1.5g", "64MB". False when malformed or out of int64.
bool parse_size_bytes(const char *s, int64_t *ret);
