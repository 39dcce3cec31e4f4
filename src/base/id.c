#include "base/id.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void id_random_hex(char *text, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[64];
    if (n > sizeof bytes * 2 || getrandom(bytes, n / 2, 0) != (ssize_t)(n / 2))
        abort();
    for (size_t i = 0; i < n / 2; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[n] = 0;
}

void id_new(char id[static ID_LEN + 1])
{
    do
        id_random_hex(id, ID_LEN);
    while (strspn(id, "0123456789") >= ID_SHORT_LEN);
}

bool id_is_prefix(const char *s)
{
    size_t n = strlen(s);
    return n >= 1 && n <= ID_LEN && strspn(s, "0123456789abcdef") == n;
}

bool id_is_full(const char *s)
{
    return strlen(s) == ID_LEN && id_is_prefix(s);
}
