#include "codec/base64.h"

#include <stdint.h>
#include <string.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(struct str *out, const char *text)
{
    size_t n = strlen(text), padding = 0;
    while (padding < 2 && n && text[n - 1] == '=') {
        n--;
        padding++;
    }
    if (n % 4 == 1 || (padding && (n + padding) % 4 != 0))
        return false;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        int v = value_of(text[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        count += 6;
        if (count >= 8) {
            count -= 8;
            str_append_char(out, (char)(bits >> count & 0xff));
        }
    }
    return true;
}

void base64_encode(struct str *out, const void *bytes, size_t n, bool is_url)
{
    const char *alphabet = is_url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                                  : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits =
            (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
        str_append_char(out, alphabet[bits >> 18]);
        str_append_char(out, alphabet[bits >> 12 & 63]);
        str_append_char(out, left > 1 ? alphabet[bits >> 6 & 63] : '=');
        str_append_char(out, left > 2 ? alphabet[bits & 63] : '=');
    }
}
