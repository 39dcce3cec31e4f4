#include "shim/log.h"

#include "base/clock.h"
#include "base/mem.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PRIORITY_ERROR = 3, PRIORITY_INFO = 6, NANOSECONDS_A_MICROSECOND = 1000 };

static int priority(const struct log_message *m)
{
    return m->stream == LOG_STDERR ? PRIORITY_ERROR : PRIORITY_INFO;
}

static const char *host_name(void)
{
    static char name[256];
    if (!name[0] && (gethostname(name, sizeof name - 1) < 0 || !name[0]))
        memcpy(name, "localhost", sizeof "localhost");
    return name;
}

// RFC 3164: "Jan  2 15:04:05", local.
static void append_stamp(struct str *out, int64_t ns)
{
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        str_appendf(out, "%s %2d %02d:%02d:%02d", months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min,
                    tm.tm_sec);
}

static void append_syslog(const struct shim_log_options *options, const struct log_message *m,
                          struct str *out)
{
    const char *format = options->format ? options->format : "", *tag = options->tag ? options->tag : "";
    str_appendf(out, "<%d>", options->facility << 3 | priority(m));
    if (str_has_prefix(format, "rfc5424")) {
        char time[TIME_TEXT_MAX];
        time_format_local(m->time_ns, streq(format, "rfc5424micro") ? 6 : 0, time);
        str_appendf(out, "1 %s %s %s %d %s - ", time, host_name(), tag, (int)getpid(), tag);
    } else {
        append_stamp(out, m->time_ns);
        if (streq(format, "rfc3164"))
            str_appendf(out, " %s", host_name());
        str_appendf(out, " %s[%d]: ", tag, (int)getpid());
    }
    str_append_n(out, m->text, m->size);
    str_append_char(out, '\n');
}

// RFC 5425, 4.3: over TLS an RFC 5424 message goes behind its length. The newline, counted with it, stays: as Docker has it,
// and for the relay, to which messages end with it.
static void append_framed(const struct shim_log_options *options, const struct log_message *m,
                          struct str *out)
{
    struct str message CLEANUP(str_done) = STR_INIT;
    if (!str_has_prefix(options->address, "tls:") || !options->format ||
        !str_has_prefix(options->format, "rfc5424")) {
        append_syslog(options, m, out);
        return;
    }
    append_syslog(options, m, &message);
    str_appendf(out, "%zu ", message.len);
    str_append_n(out, message.ptr, message.len);
}

// A value with a newline in it goes behind its length, any other as KEY=value.
static void append_field(struct str *out, const char *key, const char *value, size_t n)
{
    str_append(out, key);
    if (memchr(value, '\n', n)) {
        uint64_t size = htole64(n);
        str_append_char(out, '\n');
        str_append_n(out, &size, sizeof size);
    } else {
        str_append_char(out, '=');
    }
    str_append_n(out, value, n);
    str_append_char(out, '\n');
}

// options->attributes are the fields that every message of the container has, in this form already.
static void append_journald(const struct shim_log_options *options, const struct log_message *m,
                            struct str *out)
{
    char text[24];
    append_field(out, "MESSAGE", m->text, m->size);
    append_field(out, "PRIORITY", m->stream == LOG_STDERR ? "3" : "6", 1);
    snprintf(text, sizeof text, "%" PRId64, m->time_ns / NANOSECONDS_A_MICROSECOND);
    append_field(out, "SYSLOG_TIMESTAMP", text, strlen(text));
    if (options->attributes)
        str_append(out, options->attributes);
    if (!m->is_partial)
        return;
    if (!m->is_last)
        append_field(out, "CONTAINER_PARTIAL_MESSAGE", "true", 4);
    append_field(out, "CONTAINER_PARTIAL_ID", m->partial_id, strlen(m->partial_id));
    snprintf(text, sizeof text, "%u", m->ordinal);
    append_field(out, "CONTAINER_PARTIAL_ORDINAL", text, strlen(text));
    append_field(out, "CONTAINER_PARTIAL_LAST", m->is_last ? "true" : "false", m->is_last ? 4 : 5);
}

void log_message_format(const struct shim_log_options *options, const struct log_message *m, struct str *out)
{
    if (options->driver == SHIM_LOG_JOURNALD)
        append_journald(options, m, out);
    else
        append_framed(options, m, out);
}
