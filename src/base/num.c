#include "base/num.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return false;
    }
    if (value > max)
        return false;
    *ret = value;
    return true;
}

bool parse_u32(const char *s, uint32_t max, uint32_t *ret)
{
    uint64_t value;
    if (!parse_u64(s, max, &value))
        return false;
    *ret = (uint32_t)value;
    return true;
}

bool parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    bool is_negative = *s == '-';
    uint64_t magnitude;
    if (!parse_u64(s + is_negative, (uint64_t)INT64_MAX + is_negative, &magnitude))
        return false;
    int64_t value = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max)
        return false;
    *ret = value;
    return true;
}

bool parse_octal(const char *s, uint32_t max, uint32_t *ret)
{
    uint64_t value = 0;
    if (s[0] == '0' && s[1] == 'o')
        s += 2;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '7')
            return false;
        value = value * 8 + (uint64_t)(*s - '0');
        if (value > max)
            return false;
    }
    *ret = (uint32_t)value;
    return true;
}

bool parse_size_bytes(const char *s, int64_t *ret)
{
    if (!isdigit((unsigned char)*s) && *s != '.')
        return false;
    size_t digits = strspn(s, "0123456789.");
    if (digits > 30)
        return false;
    char number[32], *end;
    memcpy(number, s, digits);
    number[digits] = 0;
    double value = strtod(number, &end);
    if (*end)
        return false;
    const char *unit = s + digits, *powers = "bkmgtp";
    while (*unit == ' ')
        unit++;
    if (*unit) {
        const char *p = strchr(powers, tolower((unsigned char)*unit));
        if (!p)
            return false;
        value *= pow(1024, (double)(p - powers));
        unit++;
        if (p != powers && tolower((unsigned char)*unit) == 'i')
            unit++;
        if (p != powers && tolower((unsigned char)*unit) == 'b')
            unit++;
        if (*unit)
            return false;
    }
    if (!(value < 9.2e18))
        return false;
    *ret = (int64_t)value;
    return true;
}
