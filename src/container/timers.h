// What is to be done to containers at a time: restarts and health probes of all of them, by one thread that sleeps until the
// first is due. Work runs on a thread of its own, made for it and ended with it, because it waits for others (a start, a
// probe); a container that waits for its time costs no thread. Nothing is made before the first timer is set.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct container;
struct container_service;
struct timers;

enum timer_kind { TIMER_RESTART, TIMER_HEALTH, TIMER_KIND_COUNT };

// Part of each container; guarded by the lock of timers.
struct timer {
    struct timer *next;          // in the order of due_ns, while it is set
    struct container *container; // a reference, while it is set; else NULL
    int64_t due_ns;              // CLOCK_MONOTONIC
};

typedef void timer_work(struct container *c);
// works: what to run for each kind.
struct timers *timers_new(timer_work *const works[static TIMER_KIND_COUNT]);
// No timer fires any more; waits for work that is under way.
void timers_stop(struct timers *timers);
// Becomes readable when that begins, so that work that waits can give up. Borrowed.
int timers_closing_fd(const struct timers *timers);
void timers_free(struct timers *timers);

// Set, or set anew / take back. Taking back does not wait for work that has begun: that has to look whether it is still wanted.
void timers_set(struct container *c, enum timer_kind kind, int64_t due_ns);
void timers_clear(struct container *c, enum timer_kind kind);
// Run this work on a thread of its own now.
void timers_run(struct container *c, timer_work *work);
