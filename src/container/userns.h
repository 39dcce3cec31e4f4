// Ranges of user and group ids: each container has 65,536 host ids that no other container has.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define USERNS_FIRST_ID   (1u << 20) // below lie the host's own accounts and subuid ranges
#define USERNS_RANGE_SIZE 65536u
enum {
    USERNS_RANGE_COUNT = 32752
}; // up to 2^31: higher ids are reserved by convention (systemd, containerd)

struct userns_allocator {
    pthread_mutex_t lock; // everything below
    uint64_t used[(USERNS_RANGE_COUNT + 63) / 64];
    uint32_t next; // where to look first: ranges are not reused at once
};

void userns_allocator_init(struct userns_allocator *a);
// First host id of a free range, or 0 when none is left.
uint32_t userns_allocate(struct userns_allocator *a);
// Take a certain range (recovery). False when it is taken or not one of ours.
bool userns_claim(struct userns_allocator *a, uint32_t first_id);
// 0 and foreign values are ignored.
void userns_release(struct userns_allocator *a, uint32_t first_id);
