#include "container/userns.h"

#include <string.h>

static bool range_index(uint32_t first_id, uint32_t *ret)
{
    if (first_id < USERNS_FIRST_ID || (first_id - USERNS_FIRST_ID) % USERNS_RANGE_SIZE != 0)
        return false;
    *ret = (first_id - USERNS_FIRST_ID) / USERNS_RANGE_SIZE;
    return *ret < USERNS_RANGE_COUNT;
}

static bool is_used(const struct userns_allocator *a, uint32_t i)
{
    return a->used[i / 64] >> (i % 64) & 1;
}

void userns_allocator_init(struct userns_allocator *a)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
}

uint32_t userns_allocate(struct userns_allocator *a)
{
    uint32_t first_id = 0;
    pthread_mutex_lock(&a->lock);
    for (uint32_t k = 0; k < USERNS_RANGE_COUNT && !first_id; k++) {
        uint32_t i = (a->next + k) % USERNS_RANGE_COUNT;
        if (is_used(a, i))
            continue;
        a->used[i / 64] |= 1ULL << (i % 64);
        a->next = i + 1;
        first_id = USERNS_FIRST_ID + i * USERNS_RANGE_SIZE;
    }
    pthread_mutex_unlock(&a->lock);
    return first_id;
}

bool userns_claim(struct userns_allocator *a, uint32_t first_id)
{
    uint32_t i;
    if (!range_index(first_id, &i))
        return false;
    pthread_mutex_lock(&a->lock);
    bool is_free = !is_used(a, i);
    a->used[i / 64] |= 1ULL << (i % 64);
    pthread_mutex_unlock(&a->lock);
    return is_free;
}

void userns_release(struct userns_allocator *a, uint32_t first_id)
{
    uint32_t i;
    if (!range_index(first_id, &i))
        return;
    pthread_mutex_lock(&a->lock);
    a->used[i / 64] &= ~(1ULL << (i % 64));
    pthread_mutex_unlock(&a->lock);
}
