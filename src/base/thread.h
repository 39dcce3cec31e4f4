// Threads whose stack is as large as their work needs. Source: pthread_attr_setstacksize(3).
#pragma once

#include <pthread.h>
#include <stddef.h>

// Run run(context) on a thread of its own with stack_bytes of stack: address space, only pages that are touched count. ret NULL:
// detached, else to be joined. 0 or -errno.
int thread_start(pthread_t *ret, size_t stack_bytes, void *(*run)(void *context), void *context);
