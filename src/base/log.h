// The engine's own log: one line per record on standard error, in logfmt ("time=... level=... msg=...").
// Library code logs at debug only; handlers, mains and background jobs log the rest.
#pragma once

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_FATAL,
    LOG_LEVEL_COUNT
};

void log_set_level(enum log_level level);
// "debug", "info", "warn", "error", "fatal"; false otherwise.
bool log_level_parse(const char *name, enum log_level *ret);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_is_enabled(enum log_level level);

#define log_debug(...)                               \
    do {                                             \
        if (log_is_enabled(LOG_LEVEL_DEBUG))         \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
    } while (0)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
