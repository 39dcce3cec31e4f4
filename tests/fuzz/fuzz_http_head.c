// A head, however it is cut, is read once: what a prefix already gave must not change, and every field is inside the input.
#include "http/http.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int is_request = 0; is_request < 2; is_request++) {
        struct http_head head, again;
        struct error err;
        size_t used = 0, used_again = 0;
        if (http_head_parse((const char *)data, size, is_request, &head, &used, &err) != 1)
            continue;
        if (used > size || used > HTTP_HEAD_MAX + 2 || head.header_count > HTTP_HEADERS_MAX)
            abort();
        for (size_t i = 0; i < head.header_count; i++)
            if (strpbrk(head.headers[i].name, " \t\r\n:") || strpbrk(head.headers[i].value, "\r\n"))
                abort();
        if (http_head_parse((const char *)data, used, is_request, &again, &used_again, &err) != 1 ||
            used_again != used)
            abort();
        struct http_input input = { .fd = -1, .buffered = STR_INIT };
        struct http_body body;
        (void)http_body_begin(&body, &input, &head, &err);
        if (is_request && head.target && strchr(head.target, '?')) {
            char *value = http_query_get(strchr(head.target, '?') + 1, "filters");
            free(value);
        }
        http_head_done(&head);
        http_head_done(&again);
    }
    return 0;
}
