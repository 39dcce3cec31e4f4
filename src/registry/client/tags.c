// The list of a repository's tags, which comes in pages: a Link header names the next one.
#include "base/mem.h"
#include "codec/json.h"
#include "registry/client/session.h"

#include <string.h>

enum { PAGES_MAX = 1000, PAGE_TAGS = 1000 };

static bool is_tag(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t n = strlen(text);
    return n > 0 && n <= 128 && strspn(text, allowed) == n && *text != '.' && *text != '-';
}

static int read_page(struct transfer *transfer, char ***tags, struct error *err)
{
    CLEANUP(str_done) struct str body = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    if (transfer_read_all(transfer, OCI_DOCUMENT_MAX_BYTES, &body, err) < 0 ||
        json_parse(body.ptr, body.len, &document, err) < 0)
        return error_wrap(err, "list of tags");
    const json_t *list = json_get_array(document, "tags");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *tag = json_string_value(json_array_get(list, i));
        if (!tag || !is_tag(tag))
            return error_set(err, ERROR_INVALID, "list of tags: one is no tag");
        if (strv_len(*tags) >= REGISTRY_TAGS_MAX)
            return error_set(err, ERROR_INVALID, "list of tags: more than %d", REGISTRY_TAGS_MAX);
        strv_push(tags, tag);
    }
    return 0;
}

// Of `</v2/x/tags/list?n=1&last=a>; rel="next"` the query, below our own path: a registry need not send us elsewhere. NULL: the
// last page.
static char *next_path(const struct transfer *transfer, const char *path)
{
    const char *link = transfer->link, *end = link ? strchr(link, '>') : NULL;
    const char *query = link && *link == '<' ? strchr(link, '?') : NULL;
    if (!end || !query || query > end || !strstr(end, "next"))
        return NULL;
    return xasprintf("%s%.*s", path, (int)(end - query), query);
}

int registry_tags(struct registry_repository *repository, char ***ret, struct error *err)
{
    CLEANUP(strv_freep) char **tags = NULL;
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/tags/list", repository->name);
    CLEANUP(cleanup_free) char *page = xasprintf("%s?n=%d", path, PAGE_TAGS);
    struct transfer *transfer = session_take_transfer(repository);
    int r = 0;
    for (int i = 0; r == 0 && page && i < PAGES_MAX; i++) {
        r = session_get_patiently(repository, transfer, page, NULL, err);
        if (r == 0)
            r = read_page(transfer, &tags, err);
        free(page);
        page = r == 0 ? next_path(transfer, path) : NULL;
    }
    session_give_transfer(repository, transfer);
    if (r == 0)
        *ret = TAKE_PTR(tags);
    return r < 0 ? -1 : 0;
}
