#include "base/clock.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t time_now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t time_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

// Seconds and the non-negative nanoseconds within it.
static time_t split_ns(int64_t ns, long *ret_fraction)
{
    int64_t s = ns / NS_PER_S, f = ns % NS_PER_S;
    if (f < 0)
        s--, f += NS_PER_S;
    *ret_fraction = (long)f;
    return (time_t)s;
}

// Days since 1970-01-01 -> year, month, day in the proleptic Gregorian calendar. Years begin with March here, so that the leap
// day is the last one; an era is 400 years, 146,097 days.
static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468; // from 0000-03-01
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153; // March is 0
    *ret_day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *ret_month = shifted < 10 ? shifted + 3 : shifted - 9;
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

struct timespec time_to_timespec(int64_t ns)
{
    int64_t seconds = ns / NS_PER_S, rest = ns % NS_PER_S;
    return rest < 0 ? (struct timespec){ seconds - 1, rest + NS_PER_S } : (struct timespec){ seconds, rest };
}

void time_format_local(int64_t ns, unsigned digits, char text[static TIME_TEXT_MAX])
{
    const struct timespec time = time_to_timespec(ns);
    struct tm tm;
    char date[24], fraction[12], zone[8];
    text[0] = 0;
    if (!localtime_r(&time.tv_sec, &tm) || !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) ||
        !strftime(zone, sizeof zone, "%z", &tm))
        return;
    snprintf(fraction, sizeof fraction, ".%09ld", time.tv_nsec);
    fraction[digits ? digits + 1 : 0] = 0;
    if (tm.tm_gmtoff == 0)
        snprintf(text, TIME_TEXT_MAX, "%s%sZ", date, fraction);
    else
        snprintf(text, TIME_TEXT_MAX, "%s%s%.3s:%s", date, fraction, zone, zone + 3);
}

// By hand: gmtime_r takes a lock and, the first time, reads the time zone from disk, for a time that has none.
static int format_seconds(time_t seconds, char *text)
{
    int64_t days = seconds / 86400, rest = seconds % 86400, year;
    unsigned month, day;
    if (rest < 0)
        days--, rest += 86400;
    civil_from_days(days, &year, &month, &day);
    return snprintf(text, TIME_TEXT_MAX, "%04lld-%02u-%02uT%02u:%02u:%02u", (long long)year, month, day,
                    (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

void time_format_rfc3339(int64_t ns, char text[static TIME_TEXT_MAX])
{
    if (ns == 0) {
        snprintf(text, TIME_TEXT_MAX, "0001-01-01T00:00:00Z");
        return;
    }
    long fraction;
    int n = format_seconds(split_ns(ns, &fraction), text);
    if (fraction) {
        n += snprintf(text + n, (size_t)(TIME_TEXT_MAX - n), ".%09ld", fraction);
        while (text[n - 1] == '0')
            n--;
    }
    snprintf(text + n, (size_t)(TIME_TEXT_MAX - n), "Z");
}

void time_format_rfc3339_fixed(int64_t ns, char text[static TIME_TEXT_MAX])
{
    long fraction;
    int n = format_seconds(split_ns(ns, &fraction), text);
    snprintf(text + n, (size_t)(TIME_TEXT_MAX - n), ".%09ldZ", fraction);
}

// ".123" -> nanoseconds; *at moves behind it. No point: 0.
static int64_t parse_fraction(const char **at)
{
    int64_t ns = 0, unit = NS_PER_S / 10;
    if (**at != '.')
        return 0;
    for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
        ns += (**at - '0') * unit;
    return ns;
}

static bool parse_zone(const char *at, int64_t *ret_offset_s)
{
    int hours, minutes, used = 0;
    *ret_offset_s = 0;
    if (!*at || strcmp(at, "Z") == 0 || strcmp(at, "z") == 0)
        return true;
    if ((*at != '+' && *at != '-') || sscanf(at + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
        at[1 + used])
        return false;
    *ret_offset_s = (*at == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

// wants_zone: RFC 3339 proper; else Docker's laxer forms too.
static bool parse_calendar(const char *text, bool wants_zone, int64_t *ret_ns)
{
    struct tm tm = { 0 };
    int64_t fraction = 0, offset;
    const char *at = strptime(text, "%Y-%m-%d", &tm);
    if (!at || (wants_zone && *at != 'T' && *at != 't'))
        return false;
    if (*at == 'T' || *at == 't') {
        const char *rest = strptime(at + 1, "%H:%M:%S", &tm);
        if (!rest && !wants_zone)
            rest = strptime(at + 1, "%H:%M", &tm);
        if (!rest)
            return false;
        at = rest;
        fraction = parse_fraction(&at);
    }
    if ((wants_zone && !*at) || !parse_zone(at, &offset))
        return false;
    *ret_ns = ((int64_t)timegm(&tm) - offset) * NS_PER_S + fraction;
    return true;
}

bool time_parse_rfc3339(const char *text, int64_t *ret_ns)
{
    if (strcmp(text, "0001-01-01T00:00:00Z") == 0) {
        *ret_ns = 0;
        return true;
    }
    return parse_calendar(text, true, ret_ns);
}

static bool parse_unix(const char *text, int64_t *ret_ns)
{
    char seconds[24];
    int64_t value;
    size_t n = strcspn(text, ".");
    if (n == 0 || n >= sizeof seconds)
        return false;
    memcpy(seconds, text, n);
    seconds[n] = 0;
    const char *at = text + n;
    if (!parse_i64(seconds, -9000000000, 9000000000, &value))
        return false;
    int64_t fraction = parse_fraction(&at);
    *ret_ns = value * NS_PER_S + fraction;
    return *at == 0;
}

bool time_parse_docker(const char *text, int64_t now_ns, int64_t *ret_ns)
{
    int64_t ns;
    if (parse_unix(text, ret_ns) || parse_calendar(text, false, ret_ns))
        return true;
    if (!duration_parse(text, &ns))
        return false;
    *ret_ns = now_ns - ns;
    return true;
}

static int64_t unit_ns(const char *s, size_t n)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = { { "ns", 1 },       { "us", 1000 },         { "\302\265s", 1000 },   { "ms", NS_PER_MS },
                  { "s", NS_PER_S }, { "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S } };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == n && memcmp(units[i].name, s, n) == 0)
            return units[i].ns;
    return 0;
}

bool duration_parse(const char *text, int64_t *ret_ns)
{
    bool is_negative = *text == '-';
    double total = 0;
    if (*text == '-' || *text == '+')
        text++;
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return true;
    }
    if (!*text)
        return false;
    while (*text) {
        size_t digits = strspn(text, "0123456789.");
        double value, scale = 1;
        bool seen_point = false;
        value = 0;
        for (size_t i = 0; i < digits; i++) {
            if (text[i] == '.') {
                if (seen_point)
                    return false;
                seen_point = true;
                continue;
            }
            value = value * 10 + (text[i] - '0');
            scale *= seen_point ? 10 : 1;
        }
        size_t n = strcspn(text + digits, "0123456789.");
        int64_t unit = unit_ns(text + digits, n);
        if (!digits || !unit)
            return false;
        total += value / scale * (double)unit;
        text += digits + n;
    }
    if (total > 9.2e18)
        return false;
    *ret_ns = is_negative ? -(int64_t)total : (int64_t)total;
    return true;
}
