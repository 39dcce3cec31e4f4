#include "base/thread.h"

int thread_start(pthread_t *ret, size_t stack_bytes, void *(*run)(void *context), void *context)
{
    pthread_attr_t attributes;
    pthread_t detached;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    if (!ret)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int r = pthread_create(ret ? ret : &detached, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    return -r;
}
