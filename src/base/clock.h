// Clock and time text. Times are int64 nanoseconds since 1970 UTC; 0 stands for Go's zero time, as Docker's API shows
// times that have not happened ("0001-01-01T00:00:00Z").
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { TIME_TEXT_MAX = 48 };
#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL

int64_t time_now_ns(void);       // CLOCK_REALTIME
int64_t time_monotonic_ns(void); // CLOCK_MONOTONIC
// As the kernel takes them: tv_nsec is never negative.
struct timespec time_to_timespec(int64_t ns);

// RFC 3339 in UTC with nanoseconds, trailing zeros cut as Go's RFC3339Nano does: "2026-01-02T03:04:05.678Z".
void time_format_rfc3339(int64_t ns, char text[static TIME_TEXT_MAX]);
// In the local zone, with 0 to 9 digits of the second: "2026-01-02T03:04:05.678+02:00", "Z" where that is UTC. "" when the year is
// out of reach.
void time_format_local(int64_t ns, unsigned digits, char text[static TIME_TEXT_MAX]);
// The first with all nine digits, as container logs show it.
void time_format_rfc3339_fixed(int64_t ns, char text[static TIME_TEXT_MAX]);
// RFC 3339 with or without fraction, with Z or an offset. False when malformed.
bool time_parse_rfc3339(const char *text, int64_t *ret_ns);
// A Docker API timestamp (since=, until=): "1700000000", "1700000000.123456789", RFC 3339 (also without zone or time:
// then UTC), or a Go duration before now ("10m", "1h30m").
bool time_parse_docker(const char *text, int64_t now_ns, int64_t *ret_ns);
// A Go duration: "1h30m", "1.5s", "100ms", "-2us", "0".
bool duration_parse(const char *text, int64_t *ret_ns);
