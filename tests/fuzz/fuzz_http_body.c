// A chunked body gives the same bytes and ends at the same place whether it was read ahead or not, and in whatever portions.
#include "http/http.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_body(const uint8_t *data, size_t size, size_t portion, struct str *out, size_t *ret_rest)
{
    struct http_input input = { .fd = -1, .buffered = STR_INIT }; // past what is buffered: EBADF
    struct http_body body = { .input = &input, .framing = HTTP_BODY_CHUNKED };
    struct reader reader = http_body_reader(&body);
    char buffer[512];
    ssize_t n;
    str_append_n(&input.buffered, data, size);
    while ((n = reader.read(reader.context, buffer, portion)) > 0)
        str_append_n(out, buffer, (size_t)n);
    *ret_rest = input.buffered.len;
    str_done(&input.buffered);
    return (int)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str first = STR_INIT, second = STR_INIT;
    size_t rest = 0, rest_again = 0;
    int r = read_body(data, size, 512, &first, &rest), again = read_body(data, size, 7, &second, &rest_again);
    if (r != again || (r == 0 && (rest != rest_again || first.len != second.len ||
                                  memcmp(first.ptr, second.ptr, first.len) != 0)))
        abort();
    if (first.len > size)
        abort();
    str_done(&first);
    str_done(&second);
    return 0;
}
