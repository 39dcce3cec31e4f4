// SHA-1, for the handshake of WebSockets only: it protects nothing there.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20 };

void sha1(const void *bytes, size_t n, uint8_t digest[static SHA1_SIZE]);
