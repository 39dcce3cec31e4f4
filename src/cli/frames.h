// The multiplexed stream of attach, exec and logs: frames of [stream, 0, 0, 0, length (u32, big endian)] and
// payload. Spec: Docker Engine API, "Attach to a container", stream format.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct frames { // the state between reads; zeroed at the beginning
    unsigned char head[8];
    size_t head_len;
    uint32_t left;
    int stream;
};

// Take bytes as they come, give payload to `write` (stream 1 or 2). 0 or what write returned when negative.
int frames_show(struct frames *frames, const char *bytes, size_t n,
                int (*write)(int stream, const char *bytes, size_t n));
// To this process's own standard output (1) or error (2). 0 or -errno.
int frames_write(int stream, const char *bytes, size_t n);
